// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image at work in a drive.
//!
//! A request that the host's page cache can answer is done at once, on the thread that brings it, because it costs less than telling
//! another thread. Everything that might wait for a disk goes to the medium's own thread, which keeps many requests under way at a
//! time ([`Engine`]); when some are done, their completions are put where the drive finds them, and the drive's controller is called.
//! So a processor never waits for a disk, and a slow image holds up nobody else.
//!
//! Requests that name guest memory are moved there by the host's kernel, without a copy on the way.

use super::engine::{self, Engine};
use super::{Error, Image, chain};
use crate::host::ring::{Buffer, CachedFile, Caching, Slices};
use crate::host::{Notifier, open_again};
use crate::memory::Dma;
use devices::block::{Completion, Data, Medium, MediumError, MediumInfo, Operation, Request};
use devices::bus::lock;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

#[cfg(test)]
mod tests;

/// Called when a medium has completed something: tells the drive's controller to look. It runs on the medium's thread, and may
/// take the controller's lock.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Bytes that are read at once before the drive has looked at what is done. More goes to the thread even if the page cache has it: what
/// telling it costs is little beside the copy, and the processor has better things to do, such as taking interrupts.
const AT_ONCE: u64 = 256 << 10;

/// Transfers under way at a time; further ones wait in the engine.
const DEPTH: u16 = 64;

/// Lines in the log for failures: a guest that hits a broken disk retries without end.
const LINES: u32 = 8;

type Done = Arc<Mutex<VecDeque<Completion>>>;

/// An image in a drive. Dropping it carries out what is still queued, flushes, and closes the image; that may take a while and must
/// not happen under the controller's lock.
pub struct DiskMedium {
    info: MediumInfo,
    dma: Option<Arc<Dma>>,
    shortcut: Option<Shortcut>,
    /// What is left of [`AT_ONCE`].
    allowance: u64,
    requests: Option<mpsc::Sender<Request>>,
    door: Arc<Door>,
    done: Done,
    thread: Option<JoinHandle<()>>,
}

impl DiskMedium {
    pub(super) fn new(image: Image, waker: Waker) -> Result<Self, Error> {
        let Image {
            disk,
            path,
            info,
            dma,
        } = image;
        let disk = Arc::new(disk);
        let done = Done::default();
        let (requests, queue) = mpsc::channel();
        let failed = |source| Error::Thread {
            path: path.clone(),
            source,
        };
        let shortcut = Shortcut::new(&disk).map_err(failed)?;
        let mut worker = Worker {
            disk,
            info: info.clone(),
            dma: dma.clone(),
            done: done.clone(),
            waker,
            news: false,
            lines_left: LINES,
        };
        // The engine belongs to its thread, which therefore makes it.
        let (ready, made) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(
                move || match Engine::new(worker.disk.clone(), Caching::Cached, DEPTH) {
                    Ok(engine) => {
                        let door = Arc::new(Door::new(engine.waker()));
                        let _ = ready.send(Ok(door.clone()));
                        worker.serve(engine, &queue, &door);
                        worker.close();
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                },
            )
            .map_err(failed)?;
        let door = made
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("its thread has ended")))
            .map_err(failed)?;
        Ok(Self {
            info,
            dma,
            shortcut,
            allowance: AT_ONCE,
            requests: Some(requests),
            door,
            done,
            thread: Some(thread),
        })
    }

    /// The thread is gone, which only a panic in it can cause.
    fn refuse(&self, request: Request) {
        lock(&self.done).push_back(request.complete(Err(MediumError::Io)));
    }
}

impl Medium for DiskMedium {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn reaches_memory(&self) -> bool {
        self.dma.is_some()
    }

    fn submit(&mut self, mut request: Request) {
        let len = request.data.len();
        let short = request.operation == Operation::Read && (1..=self.allowance).contains(&len);
        let shortcut = self.shortcut.as_mut().filter(|_| short);
        match shortcut.map(|shortcut| shortcut.carry_out(&mut request, self.dma.as_deref())) {
            Some(Ok(true)) => {
                self.allowance -= len;
                lock(&self.done).push_back(request.complete(Ok(())));
                return;
            }
            Some(Err(error)) => {
                log::debug!("{request:?}: reads of this medium are never done at once: {error}");
                self.shortcut = None;
            }
            Some(Ok(false)) | None => {}
        }
        let Some(requests) = &self.requests else {
            return self.refuse(request);
        };
        match requests.send(request) {
            Ok(()) => self.door.knock(),
            Err(mpsc::SendError(request)) => self.refuse(request),
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        let completion = lock(&self.done).pop_front();
        if completion.is_none() {
            self.allowance = AT_ONCE;
        }
        completion
    }
}

impl Drop for DiskMedium {
    fn drop(&mut self) {
        // The thread closes the image, for which it has to be the last one that has it.
        self.shortcut = None;
        self.requests = None;
        self.door.knock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How the thread is told that there is something in its queue: the queue itself wakes it, but not while it waits for transfers.
struct Door {
    wake: Arc<Notifier>,
    waits_for_transfers: AtomicBool,
}

impl Door {
    fn new(wake: Arc<Notifier>) -> Self {
        Self {
            wake,
            waits_for_transfers: AtomicBool::new(false),
        }
    }

    /// Something was put into the queue.
    fn knock(&self) {
        // Either this thread sees that the other one waits, or the other one sees what is in the queue before it does.
        fence(Ordering::SeqCst);
        if self.waits_for_transfers.load(Ordering::SeqCst) {
            self.wake.notify();
        }
    }
}

/// Reads from the page cache.
struct Shortcut {
    disk: Arc<vhd::Disk>,
    /// One a layer.
    files: Vec<CachedFile>,
    /// Kept for its room.
    extents: Vec<vhd::Extent>,
}

impl Shortcut {
    /// `None` for images without files.
    fn new(disk: &Arc<vhd::Disk>) -> io::Result<Option<Self>> {
        let mut files = Vec::new();
        for layer in 0..disk.layers().len() {
            let storage = disk.storage(layer);
            let Some(file) = storage.as_ref().and_then(|storage| storage.file()) else {
                return Ok(None);
            };
            files.push(CachedFile::new(
                open_again(file, false).or_else(|_| file.try_clone())?,
            ));
        }
        Ok(Some(Self {
            disk: disk.clone(),
            files,
            extents: Vec::new(),
        }))
    }

    /// Does a read if that needs nothing but memory; false if not, and then part of its data may have changed. An error if it is the same
    /// for all requests.
    fn carry_out(&mut self, request: &mut Request, dma: Option<&Dma>) -> io::Result<bool> {
        let Some(lent) = Lent::of(&mut request.data, dma) else {
            return Ok(false);
        };
        let done = self.read(request.offset, &lent.memory);
        lent.give_back(&mut request.data);
        done
    }

    fn read(&mut self, start: u64, memory: &Slices) -> io::Result<bool> {
        self.extents.clear();
        let end = start.saturating_add(memory.len() as u64);
        // What cannot be is the thread's to say.
        let Ok(Some(_guard)) = self.disk.resolve_known(start..end, &mut self.extents) else {
            return Ok(false);
        };
        if let [whole] = self.extents.as_slice() {
            return self.read_extent(whole, memory);
        }
        for extent in &self.extents {
            let from = (extent.offset - start) as usize;
            if !self.read_extent(extent, &memory.part(from..from + extent.len as usize))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_extent(&self, extent: &vhd::Extent, memory: &Slices) -> io::Result<bool> {
        match extent.source {
            vhd::Source::Zero => {
                memory.zero();
                Ok(true)
            }
            vhd::Source::File { layer, offset } => match self.files.get(layer) {
                Some(file) => file.read(offset, memory),
                None => Ok(false),
            },
        }
    }
}

/// A request's data as memory that transfers can use.
struct Lent {
    memory: Slices,
    /// What the memory is a part of, if it is the request's own.
    buffer: Option<Buffer>,
}

impl Lent {
    /// `None` if the data lies where there is no memory.
    fn of(data: &mut Data, dma: Option<&Dma>) -> Option<Self> {
        match data {
            Data::Buffer(buffer) => {
                let buffer = Buffer::from(std::mem::take(buffer));
                Some(Self {
                    memory: buffer.slices(),
                    buffer: Some(buffer),
                })
            }
            Data::Memory(segments) => Some(Self {
                memory: dma?.slices(segments)?,
                buffer: None,
            }),
        }
    }

    /// Transfers do not use it any more.
    fn give_back(self, data: &mut Data) {
        drop(self.memory);
        if let Some(buffer) = self.buffer {
            *data = Data::Buffer(buffer.into_vec().unwrap_or_default());
        }
    }
}

/// A request in the engine.
struct Job {
    request: Request,
    buffer: Option<Buffer>,
}

/// The medium's thread.
struct Worker {
    disk: Arc<vhd::Disk>,
    info: MediumInfo,
    dma: Option<Arc<Dma>>,
    done: Done,
    waker: Waker,
    /// There are completions that the drive was not told of.
    news: bool,
    lines_left: u32,
}

impl Worker {
    /// Carries out requests until nobody can send any more and all are done.
    fn serve(&mut self, mut engine: Engine<Job>, queue: &mpsc::Receiver<Request>, door: &Door) {
        let mut open = true;
        loop {
            while open {
                match queue.try_recv() {
                    Ok(request) => self.begin(&mut engine, request),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => open = false,
                }
            }
            engine.submit();
            self.deliver(&mut engine);
            if engine.under_way() > 0 {
                self.wait(&mut engine, queue, door);
            } else if !open {
                return;
            } else {
                match queue.recv() {
                    Ok(request) => self.begin(&mut engine, request),
                    Err(mpsc::RecvError) => open = false,
                }
            }
        }
    }

    /// Waits until transfers are done, or there is something in the queue.
    fn wait(&mut self, engine: &mut Engine<Job>, queue: &mpsc::Receiver<Request>, door: &Door) {
        door.waits_for_transfers.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        match queue.try_recv() {
            Ok(request) => self.begin(engine, request),
            Err(_) => {
                if let Err(error) = engine.wait() {
                    self.report(format_args!("its transfers cannot be waited for: {error}"));
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }
        }
        door.waits_for_transfers.store(false, Ordering::SeqCst);
    }

    fn begin(&mut self, engine: &mut Engine<Job>, mut request: Request) {
        let refused = self.check(&request).err();
        let lent = match refused {
            None => Lent::of(&mut request.data, self.dma.as_deref()),
            Some(_) => None,
        };
        let Some(Lent { memory, buffer }) = lent else {
            return self.end(request, Err(refused.unwrap_or(MediumError::Io)));
        };
        let (operation, offset) = (request.operation, request.offset);
        engine.push(engine::Request {
            tag: Job { request, buffer },
            operation,
            offset,
            memory,
        });
    }

    fn check(&self, request: &Request) -> Result<(), MediumError> {
        let (len, writes) = match request.operation {
            Operation::Discard { len } | Operation::WriteZeroes { len } => (len, true),
            Operation::Write => (request.data.len(), true),
            Operation::Read | Operation::Flush => (request.data.len(), false),
        };
        let end = request.offset.checked_add(len);
        if end.is_none_or(|end| end > self.info.len) {
            Err(MediumError::OutOfRange)
        } else if writes && self.info.read_only {
            Err(MediumError::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Passes on what is done.
    fn deliver(&mut self, engine: &mut Engine<Job>) {
        while let Some(engine::Completion { request, result }) = engine.next() {
            let engine::Request { tag: job, memory, .. } = request;
            let Job { mut request, buffer } = job;
            Lent { memory, buffer }.give_back(&mut request.data);
            let result = result.map_err(|error| {
                self.report(format_args!("{request:?} failed: {}", chain(&error)));
                MediumError::Io
            });
            self.end(request, result);
        }
        if std::mem::take(&mut self.news) {
            (self.waker)();
        }
    }

    fn end(&mut self, request: Request, result: Result<(), MediumError>) {
        self.news = true;
        lock(&self.done).push_back(request.complete(result));
    }

    fn report(&mut self, what: std::fmt::Arguments<'_>) {
        if self.lines_left > 0 {
            self.lines_left -= 1;
            log::error!("{}: {what}", self.disk.path().display());
        }
    }

    fn close(self) {
        let path = self.disk.path().to_owned();
        let result = match Arc::try_unwrap(self.disk) {
            Ok(disk) => disk.close(),
            // Somebody still has it: the last one closes.
            Err(shared) => shared.flush(),
        };
        if let Err(error) = result {
            log::error!(
                "{}: not everything could be written: {}",
                path.display(),
                chain(&error)
            );
        }
    }
}
