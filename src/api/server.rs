// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets and connections.
//!
//! A client can be slow, mute or hostile, and costs no more than its connection: heads have a size and a time, bodies too
//! ([`super::admission`]), connections are counted, and those that wait for one wait in the kernel.

use super::admission::{self, Token};
use super::{Api, Scope};
use crate::control_socket::{self, SocketPath};
use crate::virtual_pc::VirtualPc;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// Connections of a socket at a time.
const CONNECTIONS: usize = 64;
/// A head that has not come after so long, also of a connection's next request, does not come.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// An answer of which nothing was taken for so long is not wanted.
const TAKE_PATIENCE: Duration = Duration::from_secs(15);
/// A head takes no more room than this.
const HEAD_MOST: usize = 32 << 10;
/// Headers of a request.
const HEADERS_MOST: usize = 64;
/// What is being answered at the end may take so long.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// Threads that may wait for the model.
const WAITING: usize = 16;

/// Ends servers.
#[derive(Clone)]
pub struct Ending(Arc<watch::Sender<bool>>);

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Ending {
    /// No more requests are taken; streams of events end.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    fn has_begun(&self) -> bool {
        *self.0.borrow()
    }
}

/// A server of all machines of a user, which listens and serves nobody yet.
pub struct Server {
    unix: UnixListener,
    path: SocketPath,
    tcp: Option<(TcpListener, Token)>,
}

impl Server {
    /// Listens on a Unix socket, for this user only.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (unix, path) = control_socket::bind(path)?;
        Ok(Self {
            unix,
            path,
            tcp: None,
        })
    }

    /// Listens on a TCP port too, for who knows the token.
    pub fn and_tcp(&mut self, listener: TcpListener, token: Token) {
        self.tcp = Some((listener, token));
    }

    /// Serves until the end begins, and what is asked by then.
    pub fn run(self, app: &VirtualPc, ending: &Ending) -> io::Result<()> {
        let api = Api::new(app.clone(), Scope::User, ending.0.subscribe());
        let runtime = runtime()?;
        let done = runtime.block_on(async {
            let router = router(&api);
            let graceful = GracefulShutdown::new();
            let unix = async {
                let listener = unix_listener(self.unix)?;
                let guests = Guests::new(router.clone(), &graceful, ending);
                accept(listener, guests).await;
                io::Result::Ok(())
            };
            let tcp = async {
                let Some((listener, token)) = self.tcp else {
                    return Ok(());
                };
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let router = router.clone().layer(from_fn_with_state(token, admission::token));
                accept(listener, Guests::new(router, &graceful, ending)).await;
                Ok(())
            };
            let done = tokio::try_join!(unix, tcp);
            finish(graceful).await;
            done
        });
        runtime.shutdown_timeout(END_PATIENCE);
        drop(self.path);
        done.map(|_| ())
    }
}

/// The socket of one machine. Until somebody connects it is a thread that sleeps; the runtime comes with the first client.
pub struct MachineSocket {
    name: PathBuf,
    _path: SocketPath,
    ending: Ending,
    thread: Option<JoinHandle<()>>,
}

impl MachineSocket {
    /// Listens on `path`, for this user only, and serves what `scope` shows. Dropping it ends that.
    pub fn open(path: &Path, app: &VirtualPc, scope: Scope) -> io::Result<Self> {
        let name = path.to_owned();
        let (listener, path) = control_socket::bind(path)?;
        let ending = Ending::default();
        let api = Api::new(app.clone(), scope, ending.0.subscribe());
        let told = ending.clone();
        let thread = std::thread::Builder::new().name("api".into()).spawn(move || {
            let Ok((first, _)) = listener.accept() else { return };
            if told.has_begun() {
                return;
            }
            if let Err(error) = serve_machine(listener, first, &api, &told) {
                log::warn!("the machine's API ended: {error}");
            }
        })?;
        Ok(Self {
            name,
            _path: path,
            ending,
            thread: Some(thread),
        })
    }
}

impl Drop for MachineSocket {
    fn drop(&mut self) {
        self.ending.begin();
        // Wakes the thread out of its wait for the first client; one that serves is woken by the end itself.
        let woken = UnixStream::connect(&self.name).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn serve_machine(listener: UnixListener, first: UnixStream, api: &Api, ending: &Ending) -> io::Result<()> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let graceful = GracefulShutdown::new();
        let guests = Guests::new(router(api), &graceful, ending);
        first.set_nonblocking(true)?;
        guests.receive(
            tokio::net::UnixStream::from_std(first)?,
            guests.places.clone().try_acquire_owned().ok(),
        );
        accept(unix_listener(listener)?, guests).await;
        finish(graceful).await;
        Ok(())
    });
    runtime.shutdown_timeout(END_PATIENCE);
    done
}

/// One thread, and a few that may wait.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WAITING)
        .thread_name("api call")
        .build()
}

fn router(api: &Api) -> Router {
    api.router().layer(from_fn(admission::whole_body))
}

fn unix_listener(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

async fn finish(graceful: GracefulShutdown) {
    if tokio::time::timeout(END_PATIENCE, graceful.shutdown())
        .await
        .is_err()
    {
        log::warn!("clients that had not gone were cut off");
    }
}

/// The clients of one socket.
struct Guests<'a> {
    router: Router,
    graceful: &'a GracefulShutdown,
    places: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

impl<'a> Guests<'a> {
    fn new(router: Router, graceful: &'a GracefulShutdown, ending: &Ending) -> Self {
        Self {
            router,
            graceful,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            ending: ending.0.subscribe(),
        }
    }

    /// Serves a connection until it ends.
    fn receive<S>(&self, stream: S, place: Option<OwnedSemaphorePermit>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_headers(HEADERS_MOST)
            .max_buf_size(HEAD_MOST)
            .serve_connection(
                TokioIo::new(Impatient { stream, waits: None }),
                TowerToHyperService::new(self.router.clone()),
            );
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
}

/// A stream whose far end has to take something of what is written within [`TAKE_PATIENCE`]: one that asks and does not read must not
/// keep its place for ever.
struct Impatient<S> {
    stream: S,
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Impatient<S> {
    fn patience<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waits = None;
            return done;
        }
        let waits = self
            .waits
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(TAKE_PATIENCE)));
        let over = waits.as_mut().poll(context);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patience(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.patience(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.patience(context, done)
    }
}

/// Takes clients in, until the end begins.
async fn accept<L: Listener>(mut listener: L, guests: Guests<'_>) {
    let mut ending = guests.ending.clone();
    let come = async {
        loop {
            let place = guests.places.clone().acquire_owned().await.ok();
            // Errors that pass, such as too many open files, are waited for in there.
            let (stream, _) = listener.accept().await;
            guests.receive(stream, place);
        }
    };
    tokio::select! {
        () = come => {}
        _ = ending.wait_for(|begun| *begun) => {}
    }
    guests.places.close();
}

/// The socket of `vpc serve` where none is named.
pub fn default_path(app: &VirtualPc) -> PathBuf {
    app.places().runtime.join("api")
}
