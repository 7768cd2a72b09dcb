// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk serve`

use super::{files, nbd::Session};
use crate::cli::{Error, exit};
use crate::host::{self, LocalListener, LocalStream};
use std::io;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;

/// Serves a disk over NBD on a Unix socket, to as many clients at once as there are, until Ctrl-C.
///
/// For example: qemu-img info 'nbd+unix:///?socket=PATH'
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// Socket to make
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Refuse writes; others may read the image at the same time
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    opening: files::Opening,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = Arc::new(if self.read_only {
            self.opening.read(&self.path)?
        } else {
            self.opening.open(&self.path, &self.opening.for_writing())?
        });
        // From before the socket is there, or a signal could leave it behind.
        let (told, end) = mpsc::channel();
        let tell = move |_signal| {
            let _ = told.send(());
        };
        host::on_end(tell).map_err(|e| Error::host(&e))?;
        let listener = listen(&self.socket).map_err(|e| {
            Error::Use(format!(
                "the socket `{}` cannot be made: {e}",
                self.socket.display()
            ))
        })?;
        let clients = Arc::new(Clients::default());
        let (served, seen) = (Arc::downgrade(&disk), Arc::clone(&clients));
        std::thread::Builder::new()
            .name("nbd".to_owned())
            .spawn(move || accept(&listener, &served, &seen))
            .map_err(|e| Error::host(&e))?;
        // Waits for a signal; the thread above runs until the process ends.
        let _ = end.recv();
        let _ = std::fs::remove_file(&self.socket);
        clients.close();
        match Arc::into_inner(disk) {
            Some(disk) => disk.close(),
            // A client connects at this very moment, and is cut off when the process ends: the disk has flushed by then.
            None => Ok(()),
        }
        .map_err(|e| Error::wrong(&e))?;
        Ok(exit::DONE)
    }
}

/// The clients that are connected.
#[derive(Default)]
struct Clients {
    list: Mutex<Vec<(LocalStream, JoinHandle<()>)>>,
}

impl Clients {
    fn list(&self) -> MutexGuard<'_, Vec<(LocalStream, JoinHandle<()>)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one more, on a thread of its own.
    fn add(&self, stream: LocalStream, disk: Arc<vhd::Disk>) -> io::Result<()> {
        let handle = stream.try_clone()?;
        let thread = std::thread::Builder::new()
            .name("nbd client".to_owned())
            .spawn(move || {
                if let Err(error) = Session::new(&stream, &disk).serve() {
                    log::debug!("an NBD client was cut off: {error}");
                }
                // The list has another handle to it, so that dropping this one would not end the connection.
                let _ = stream.shutdown(Shutdown::Both);
            })?;
        let mut list = self.list();
        list.retain(|(_, thread)| !thread.is_finished());
        list.push((handle, thread));
        Ok(())
    }

    /// Cuts all of them off, as a power cut would: what they flushed is durable. Requests under way are finished first.
    fn close(&self) {
        for (stream, thread) in self.list().drain(..) {
            // It may have left on its own.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

/// Makes the socket. One that a server has left behind when it was killed is replaced; anything else is not.
fn listen(path: &Path) -> io::Result<LocalListener> {
    match LocalListener::bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let dead =
                LocalStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            let socket = host::is_socket(&std::fs::symlink_metadata(path)?);
            if !(dead && socket) {
                return Err(e);
            }
            std::fs::remove_file(path)?;
            LocalListener::bind(path)
        }
        result => result,
    }
}

/// Takes clients for as long as there is a disk.
fn accept(listener: &LocalListener, disk: &Weak<vhd::Disk>, clients: &Clients) {
    for stream in listener.incoming() {
        let Some(disk) = disk.upgrade() else { return };
        if let Err(error) = stream.and_then(|stream| clients.add(stream, disk)) {
            log::warn!("an NBD client cannot be served: {error}");
        }
    }
}
