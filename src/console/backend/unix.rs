// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Unix socket. One client at a time is served, and the next one in the line after it has gone. What the guest writes while no
//! client is there waits in the queue, so that one who comes late sees the latest of it.

use super::{Backend, End, Failure, Input, OpenError, Received, Remove, Sink, Spec, wait_to_write};
use crate::host::{self, AsSource, Interest, LocalListener, LocalStream, Notifier, PollSet, Source, wait};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) fn open(spec: &Spec, path: &Path) -> Result<Backend, OpenError> {
    let failed = |source| OpenError::Socket {
        path: path.to_owned(),
        source,
    };
    make_way(path)?;
    let listener = LocalListener::bind(path).map_err(failed)?;
    let remove = Remove::new(path).map_err(failed)?;
    let link = Arc::new(Link {
        client: Mutex::new(None),
        connected: Notifier::new().map_err(failed)?,
    });
    let input = Socket::new(listener, link.clone(), remove).map_err(failed)?;
    let mut backend = Backend::with_writer(spec, ClientSink(link))?;
    backend.input = Some(Box::new(input));
    Ok(backend)
}

/// Removes a socket that nobody listens on any more. Anything else at `path` is left alone.
fn make_way(path: &Path) -> Result<(), OpenError> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if !host::is_socket(&metadata) {
        return Err(OpenError::Exists(path.to_owned()));
    }
    match LocalStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| OpenError::Socket {
                path: path.to_owned(),
                source,
            })
        }
        // Gone in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(OpenError::SocketInUse(path.to_owned())),
        Err(source) => Err(OpenError::Socket {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What the event loop's half and the writer thread's half share.
struct Link {
    client: Mutex<Option<Arc<LocalStream>>>,
    /// Raised when a client comes.
    connected: Notifier,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<LocalStream>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Option<Arc<LocalStream>> {
        self.lock().clone()
    }

    fn connect(&self, client: Arc<LocalStream>) {
        *self.lock() = Some(client);
        self.connected.notify();
    }

    /// Forgets `client`, if it is the present one.
    fn disconnect(&self, client: &Arc<LocalStream>) {
        self.lock().take_if(|present| Arc::ptr_eq(present, client));
    }
}

/// The event loop's half: takes clients and reads from them.
struct Socket {
    /// Holds the listener while there is no client, else the client.
    set: PollSet,
    listener: LocalListener,
    state: State,
    link: Arc<Link>,
    _remove: Remove,
}

enum State {
    Listening,
    Connected(Arc<LocalStream>),
    /// The client will send no more but may still be reading; the set tells when it is gone.
    ReadOnly(Arc<LocalStream>),
}

impl Socket {
    fn new(listener: LocalListener, link: Arc<Link>, remove: Remove) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let set = PollSet::new()?;
        set.add(listener.as_source())?;
        Ok(Self {
            set,
            listener,
            state: State::Listening,
            link,
            _remove: remove,
        })
    }

    fn accept(&mut self) -> io::Result<Received> {
        match self.listener.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(true)?;
                let client = Arc::new(client);
                self.set.remove(self.listener.as_source())?;
                self.set.add(client.as_source())?;
                self.link.connect(client.clone());
                self.state = State::Connected(client);
                Ok(Received::Nothing)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {
                    Ok(Received::Nothing)
                }
                _ => Err(error),
            },
        }
    }

    fn disconnect(&mut self, client: &Arc<LocalStream>) -> io::Result<Received> {
        self.link.disconnect(client);
        self.set.remove(client.as_source())?;
        self.set.add(self.listener.as_source())?;
        self.state = State::Listening;
        Ok(Received::Nothing)
    }
}

impl AsSource for Socket {
    fn as_source(&self) -> Source<'_> {
        self.set.as_source()
    }
}

impl Input for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let client = match &self.state {
            State::Listening => return self.accept(),
            State::Connected(client) => client.clone(),
            State::ReadOnly(client) => {
                let client = client.clone();
                // Something other than input made the set ready, or we were called without need.
                let ready = wait(
                    &[(self.set.as_source(), Interest::Read)],
                    Some(std::time::Duration::ZERO),
                )?;
                return match ready.first() {
                    Some(true) => self.disconnect(&client),
                    _ => Ok(Received::Nothing),
                };
            }
        };
        match (&*client).read(buffer) {
            Ok(0) => {
                self.set.ignore_input(client.as_source())?;
                self.state = State::ReadOnly(client);
                Ok(Received::Nothing)
            }
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Received::Nothing),
                _ => self.disconnect(&client),
            },
        }
    }
}

/// The writer thread's half.
struct ClientSink(Arc<Link>);

impl Sink for ClientSink {
    fn write(&mut self, bytes: &[u8], end: &End) -> Result<usize, Failure> {
        loop {
            let Some(client) = self.0.client() else {
                self.wait_for_client(end)?;
                continue;
            };
            match (&*client).write(bytes) {
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => wait_to_write(client.as_source(), end)?,
                    _ => {
                        // The bytes wait for the next client; the event loop's half sees the shutdown and makes room for one.
                        self.0.disconnect(&client);
                        let _ = client.shutdown(Shutdown::Both);
                    }
                },
            }
        }
    }
}

impl ClientSink {
    fn wait_for_client(&self, end: &End) -> Result<(), Failure> {
        let sources = [
            (self.0.connected.as_source(), Interest::Read),
            (end.closing.as_source(), Interest::Read),
        ];
        if wait(&sources, None)?.get(1) == Some(&true) {
            return Err(Failure::Stopped);
        }
        // Whoever came is in the link already.
        self.0.connected.clear();
        Ok(())
    }
}
