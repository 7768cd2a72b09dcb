// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control socket: commands to a running machine, one JSON object a line each way, over a Unix socket (on Windows: a named pipe).
//!
//! A request is a [`Command`]; the answer is `{"ok": …}` or `{"failed": {"cause": {"error": …, …}, "message": text}}`. One connection may send any
//! number of commands.

use crate::host::{self, LocalListener, LocalStream};
use crate::machine::control::{Answer, Command, CommandError, Remote, Reply};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest request.
const LINE_MOST: u64 = 64 << 10;
/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 16;
/// A client that says nothing for so long is let go.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Envelope {
    Ok(Answer),
    Failed {
        cause: CommandError,
        /// The cause in words.
        message: String,
    },
}

/// Sends one command and waits for its answer.
pub fn call(path: &Path, command: &Command) -> io::Result<Reply> {
    exchange(LocalStream::connect(path)?, command)
}

/// As [`call`], but a machine that says nothing for `patience` gives [`io::ErrorKind::WouldBlock`].
pub fn call_within(path: &Path, command: &Command, patience: Duration) -> io::Result<Reply> {
    let stream = LocalStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    exchange(stream, command)
}

fn exchange(mut stream: LocalStream, command: &Command) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).take(LINE_MOST).read_line(&mut answer)?;
    Ok(match serde_json::from_str(&answer)? {
        Envelope::Ok(answer) => Ok(answer),
        Envelope::Failed { cause, .. } => Err(cause),
    })
}

/// A control socket that listens, and serves nobody yet. Dropping it closes and removes it.
pub struct ControlListener {
    listener: LocalListener,
    path: SocketPath,
}

impl ControlListener {
    /// Listens on `path`, for this user only. A socket that a machine left behind is replaced; one that is alive is not.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (listener, path) = bind(path)?;
        Ok(Self { listener, path })
    }

    /// Passes on what clients want, also those who came before.
    pub fn serve(self, remote: Remote) -> io::Result<ControlSocket> {
        let stop = Arc::new(AtomicBool::new(false));
        let (listener, stopped) = (self.listener, stop.clone());
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &remote, &stopped))?;
        Ok(ControlSocket {
            path: self.path,
            stop,
            thread: Some(thread),
        })
    }
}

/// Listens on `path`, for this user only. A socket that was left behind is replaced; one that somebody listens on is not.
pub(crate) fn bind(path: &Path) -> io::Result<(LocalListener, SocketPath)> {
    if LocalStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        ));
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !host::is_socket(&metadata) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file of that name exists and is no socket",
            ));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = LocalListener::bind(path)?;
    let path = SocketPath(path.to_owned());
    host::restrict(&path.0)?;
    Ok((listener, path))
}

/// The name of a socket, which goes with it.
pub(crate) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A served control socket. Dropping it closes and removes it.
pub struct ControlSocket {
    path: SocketPath,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread out of its wait for clients.
        let woken = LocalStream::connect(&self.path.0).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &LocalListener, remote: &Remote, stop: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if open.load(Ordering::Acquire) >= CONNECTIONS {
            continue;
        }
        open.fetch_add(1, Ordering::AcqRel);
        let (remote, open_now) = (remote.clone(), open.clone());
        let spawned = std::thread::Builder::new()
            .name("control client".into())
            .spawn(move || {
                if let Err(error) = converse(&stream, &remote) {
                    log::debug!("a control connection ended: {error}");
                }
                open_now.fetch_sub(1, Ordering::AcqRel);
            });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn converse(stream: &LocalStream, remote: &Remote) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if reader.by_ref().take(LINE_MOST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let reply = match serde_json::from_slice(&line) {
            Ok(command) if whole => remote.command(command),
            Ok(_) => Err(CommandError::Malformed {
                detail: format!("a request has at most {LINE_MOST} bytes and ends in a line end"),
            }),
            Err(error) => Err(CommandError::Malformed {
                detail: error.to_string(),
            }),
        };
        let envelope = match reply {
            Ok(answer) => Envelope::Ok(answer),
            Err(cause) => Envelope::Failed {
                message: cause.to_string(),
                cause,
            },
        };
        let mut text = serde_json::to_vec(&envelope)?;
        text.push(b'\n');
        (&*stream).write_all(&text)?;
        if !whole {
            return Ok(());
        }
    }
}
