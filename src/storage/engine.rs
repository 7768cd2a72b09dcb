// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests on a disk, many at once.
//!
//! [`vhd::Disk`] says where the bytes of a request are; a [`Ring`] moves them between there and the request's own memory. What the
//! chain has in one piece of a file is one transfer, whatever blocks it is made of; zeros are none. Reads hold a guard and writes a
//! ticket while they are under way, so the rules of [`vhd`] on what may be reused when, and what a flush writes in which order, hold
//! here as they do for [`vhd::Disk::read_at`] and [`vhd::Disk::write_at`].
//!
//! A flush makes durable what was *completed* before it was pushed. With nothing under way it is done at once; otherwise a thread
//! of its own does it, so that transfers go on meanwhile, and those that wait for it share one. The same goes for what else has no
//! transfers: zeroing and discarding.
//!
//! # Past the page cache
//!
//! With [`Caching::Direct`] the payload goes past the page cache, and the image's structures still go through it. The two must not
//! meet in one page: the kernel would write the cached one back over what was written directly. So writes are direct only into
//! images whose data starts on pages, as this library makes them, and where the host takes single sectors; into others they are
//! cached. Reads are direct wherever the host's alignment allows. Memory that is not aligned costs a copy.

use crate::host::ring::{Buffer, Caching, DirectFile, Kind, Operation as Move, Ring, RingFile, Slices};
use crate::host::{Notifier, open_again, open_direct};
pub use devices::block::Operation;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use vhd::format::spec::SECTOR;

#[cfg(test)]
mod tests;

/// What the cache of the host works in.
const PAGE: u64 = 4096;

/// A request; all of it comes back in its [`Completion`].
#[derive(Debug)]
pub struct Request<T> {
    /// The sender's own.
    pub tag: T,
    /// What to do.
    pub operation: Operation,
    /// First byte on the disk.
    pub offset: u64,
    /// Where the data goes or comes from; its length is the request's.
    pub memory: Slices,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion<T> {
    /// The request; the ring does not use its memory any more.
    pub request: Request<T>,
    /// How it went. After a failed read the memory's content means nothing.
    pub result: vhd::Result<()>,
}

/// The files of one layer, as indices into the ring's.
#[derive(Debug)]
struct LayerFiles {
    cached: usize,
    direct: Option<Direct>,
}

#[derive(Debug, Clone, Copy)]
struct Direct {
    file: usize,
    offset_alignment: u64,
    memory_alignment: usize,
}

/// A request that transfers are under way for.
struct Active<T> {
    request: Request<T>,
    hold: Hold,
    /// Stands in for the request's memory, which is not aligned.
    bounce: Option<Buffer>,
    left: usize,
    /// The first failure, with its layer.
    failure: Option<(usize, io::Error)>,
}

/// What keeps the places of a request's data as they are.
enum Hold {
    Read(vhd::ReadGuard),
    Write(vhd::WriteTicket),
}

/// See the [module](self). It belongs to one thread.
pub struct Engine<T> {
    // Configuration.
    disk: Arc<vhd::Disk>,
    layers: Vec<LayerFiles>,
    /// The leaf can be written past the page cache.
    direct_writes: bool,
    wake: Arc<Notifier>,
    // State.
    ring: Ring,
    active: Vec<Option<Active<T>>>,
    free: Vec<usize>,
    /// Transfers that the ring has no room for yet.
    backlog: VecDeque<(u64, Move)>,
    done: VecDeque<Completion<T>>,
    aside: Option<Aside<T>>,
    /// Requests that another thread has.
    put_aside: usize,
    /// Kept for its room.
    extents: Vec<vhd::Extent>,
}

impl<T: Send + 'static> Engine<T> {
    /// An engine for a disk, with a ring for about `depth` requests at once.
    ///
    /// # Errors
    /// The host has no descriptors left. A volume that has no direct transfers is no error: see [`Engine::caching`].
    pub fn new(disk: Arc<vhd::Disk>, caching: Caching, depth: u16) -> io::Result<Self> {
        Self::with(disk, caching, |files| Ring::new(depth.saturating_mul(2), files))
    }

    fn with(
        disk: Arc<vhd::Disk>,
        caching: Caching,
        ring: impl FnOnce(Vec<RingFile>) -> Ring,
    ) -> io::Result<Self> {
        let mut files = Vec::new();
        let mut layers = Vec::new();
        for index in 0..disk.layers().len() {
            let storage = disk.storage(index);
            // Images that are in memory have no file, and are read and written by the disk itself.
            let Some(file) = storage.as_ref().and_then(|storage| storage.file()) else {
                layers.clear();
                break;
            };
            let write = index == 0 && !disk.read_only();
            let direct = match caching {
                Caching::Direct => open_direct(file, write)?,
                Caching::Cached => None,
            };
            let cached = files.len();
            files.push(RingFile {
                // A host without /proc has only the handle that there is.
                file: open_again(file, write).or_else(|_| file.try_clone())?,
                caching: Caching::Cached,
            });
            let direct = direct.map(|direct| {
                let DirectFile {
                    file,
                    offset_alignment,
                    memory_alignment,
                } = direct;
                files.push(RingFile {
                    file,
                    caching: Caching::Direct,
                });
                Direct {
                    file: files.len() - 1,
                    offset_alignment,
                    memory_alignment,
                }
            });
            layers.push(LayerFiles { cached, direct });
        }
        let pages = disk
            .layers()
            .next()
            .and_then(|leaf| leaf.block_size())
            .is_none_or(|size| size.is_multiple_of(PAGE));
        let sectors = layers
            .first()
            .and_then(|leaf| leaf.direct)
            .is_some_and(|direct| direct.offset_alignment <= SECTOR);
        Ok(Self {
            disk,
            layers,
            direct_writes: pages && sectors,
            wake: Arc::new(Notifier::new()?),
            ring: ring(files),
            active: Vec::new(),
            free: Vec::new(),
            backlog: VecDeque::new(),
            done: VecDeque::new(),
            aside: None,
            put_aside: 0,
            extents: Vec::new(),
        })
    }

    /// Whether the payload goes past the page cache, as far as alignment allows.
    #[must_use]
    pub fn caching(&self) -> Caching {
        match self.layers.iter().all(|layer| layer.direct.is_some()) && !self.layers.is_empty() {
            true => Caching::Direct,
            false => Caching::Cached,
        }
    }

    /// How the ring does its work.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.ring.kind()
    }

    /// Raised by others to end a [`Engine::wait`].
    #[must_use]
    pub fn waker(&self) -> Arc<Notifier> {
        Arc::clone(&self.wake)
    }

    /// Requests that were pushed and whose completions were not taken yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.active.len() - self.free.len() + self.put_aside + self.done.len()
    }

    /// Takes a request. Its transfers start with the next [`Engine::submit`].
    pub fn push(&mut self, request: Request<T>) {
        match request.operation {
            Operation::Flush | Operation::Discard { .. } | Operation::WriteZeroes { .. } => {
                self.put_aside(request);
            }
            Operation::Read => self.read(request),
            Operation::Write => self.write(request),
        }
    }

    /// Starts the transfers of all requests that were pushed.
    pub fn submit(&mut self) {
        self.refill();
        if let Err(error) = self.ring.submit() {
            // Nothing is lost: it is tried again with the next wait.
            log::error!(
                "{}: the ring takes no requests: {error}",
                self.disk.path().display()
            );
        }
    }

    /// The next completion, if there is one by now.
    #[expect(clippy::should_implement_trait, reason = "there may be more after `None`")]
    pub fn next(&mut self) -> Option<Completion<T>> {
        if self.done.is_empty() {
            self.reap();
        }
        self.done.pop_front()
    }

    /// Waits until there is a completion, or the [waker](Engine::waker) is raised.
    ///
    /// # Errors
    /// The kernel's ring is broken.
    pub fn wait(&mut self) -> io::Result<()> {
        self.reap();
        if self.done.is_empty() {
            self.refill();
            self.ring.wait(Some(&self.wake))?;
            self.wake.clear();
            self.reap();
        }
        Ok(())
    }

    /// Gives the transfers to the ring that it has room for.
    fn refill(&mut self) {
        while let Some((token, transfer)) = self.backlog.pop_front() {
            if let Err(transfer) = self.ring.push(token, transfer) {
                self.backlog.push_front((token, transfer));
                return;
            }
        }
    }

    fn complete(&mut self, request: Request<T>, result: vhd::Result<()>) {
        self.done.push_back(Completion { request, result });
    }

    fn read(&mut self, request: Request<T>) {
        let start = request.offset;
        let end = start.saturating_add(request.memory.len() as u64);
        if self.layers.is_empty() {
            let mut bytes = vec![0; request.memory.len()];
            let result = self.disk.read_at(start, &mut bytes);
            request.memory.copy_from(&bytes);
            return self.complete(request, result);
        }
        let mut extents = std::mem::take(&mut self.extents);
        extents.clear();
        match self.disk.resolve_read(start..end, &mut extents) {
            Ok(guard) => self.read_extents(request, guard, &extents),
            Err(error) => self.complete(request, Err(error)),
        }
        self.extents = extents;
    }

    fn read_extents(&mut self, request: Request<T>, guard: vhd::ReadGuard, extents: &[vhd::Extent]) {
        let start = request.offset;
        let range = |extent: &vhd::Extent| {
            let from = (extent.offset - start) as usize;
            from..from + extent.len as usize
        };
        let mut left = 0;
        for extent in extents {
            match extent.source {
                vhd::Source::Zero => request.memory.part(range(extent)).zero(),
                vhd::Source::File { .. } => left += 1,
            }
        }
        if left == 0 {
            return self.complete(request, Ok(()));
        }
        let bounce = self.bounce(&request.memory);
        let bounced = bounce.as_ref().map(Buffer::slices);
        let memory = bounced.as_ref().unwrap_or(&request.memory);
        // Slices of the memory are made before it moves into its place; they stay good there.
        let transfers: [Option<(usize, u64, Slices)>; 1];
        let many: Vec<(usize, u64, Slices)>;
        let mut pieces = extents.iter().filter_map(|extent| match extent.source {
            vhd::Source::File { layer, offset } => Some((layer, offset, memory.part(range(extent)))),
            vhd::Source::Zero => None,
        });
        let list: &mut dyn Iterator<Item = (usize, u64, Slices)> = if left == 1 {
            transfers = [pieces.next()];
            &mut transfers.into_iter().flatten()
        } else {
            many = pieces.collect();
            &mut many.into_iter()
        };
        let index = self.place(Active {
            request,
            hold: Hold::Read(guard),
            bounce,
            left,
            failure: None,
        });
        for (layer, offset, into) in list {
            let file = self.file(layer, offset, &into, false);
            self.start(index, layer, Move::Read { file, offset, into });
        }
    }

    fn write(&mut self, request: Request<T>) {
        let start = request.offset;
        let end = start.saturating_add(request.memory.len() as u64);
        let whole = start.is_multiple_of(SECTOR) && end.is_multiple_of(SECTOR);
        if self.layers.is_empty() || !whole {
            let mut bytes = vec![0; request.memory.len()];
            request.memory.copy_to(&mut bytes);
            let result = self.disk.write_at(start, &bytes);
            return self.complete(request, result);
        }
        let ticket = match self.disk.begin_write(start..end) {
            Ok(ticket) => ticket,
            Err(error) => return self.complete(request, Err(error)),
        };
        if ticket.extents().is_empty() {
            let result = ticket.commit();
            return self.complete(request, result);
        }
        let mut bounce = if self.direct_writes {
            self.bounce(&request.memory)
        } else {
            None
        };
        if let Some(bounce) = bounce.as_mut().and_then(Buffer::bytes) {
            request.memory.copy_to(bounce);
        }
        let bounced = bounce.as_ref().map(Buffer::slices);
        let memory = bounced.as_ref().unwrap_or(&request.memory);
        let pieces: Vec<(u64, Slices, bool)> = ticket
            .extents()
            .iter()
            .map(|extent| {
                let from = (extent.offset - start) as usize;
                // Data that does not start on pages shares one with the image's structures.
                let pages = extent.file_offset % PAGE == extent.offset % PAGE;
                (
                    extent.file_offset,
                    memory.part(from..from + extent.len as usize),
                    pages,
                )
            })
            .collect();
        let index = self.place(Active {
            request,
            hold: Hold::Write(ticket),
            bounce,
            left: pieces.len(),
            failure: None,
        });
        for (offset, from, pages) in pieces {
            let file = self.file(0, offset, &from, !(self.direct_writes && pages));
            self.start(index, 0, Move::Write { file, offset, from });
        }
    }

    /// A buffer in place of memory that direct transfers cannot use.
    fn bounce(&self, memory: &Slices) -> Option<Buffer> {
        let alignment = self.layers.iter().filter_map(|layer| layer.direct);
        let alignment = alignment.map(|direct| direct.memory_alignment).max()?;
        (!memory.is_aligned(alignment)).then(|| Buffer::zeroed(memory.len(), alignment))
    }

    /// Which of a layer's files a transfer can use.
    fn file(&self, layer: usize, offset: u64, memory: &Slices, cached: bool) -> usize {
        let Some(files) = self.layers.get(layer) else {
            return usize::MAX;
        };
        let fits = |direct: &Direct| {
            offset.is_multiple_of(direct.offset_alignment)
                && (memory.len() as u64).is_multiple_of(direct.offset_alignment)
                && memory.is_aligned(direct.memory_alignment)
        };
        match files.direct.filter(fits) {
            Some(direct) if !cached => direct.file,
            _ => files.cached,
        }
    }

    fn place(&mut self, active: Active<T>) -> usize {
        match self.free.pop() {
            Some(index) => {
                if let Some(slot) = self.active.get_mut(index) {
                    *slot = Some(active);
                }
                index
            }
            None => {
                self.active.push(Some(active));
                self.active.len() - 1
            }
        }
    }

    fn start(&mut self, index: usize, layer: usize, transfer: Move) {
        let token = (layer as u64) << 32 | index as u64;
        let transfer = if self.backlog.is_empty() {
            match self.ring.push(token, transfer) {
                Ok(()) => return,
                Err(transfer) => transfer,
            }
        } else {
            transfer
        };
        self.backlog.push_back((token, transfer));
    }

    /// Takes what the ring and the other thread have completed.
    fn reap(&mut self) {
        while let Some(completion) = self.ring.next() {
            let (layer, index) = (
                (completion.token >> 32) as usize,
                completion.token as u32 as usize,
            );
            let Some(slot) = self.active.get_mut(index) else {
                continue;
            };
            let Some(active) = slot else { continue };
            if let Err(error) = completion.result {
                active.failure.get_or_insert((layer, error));
            }
            active.left -= 1;
            if active.left == 0
                && let Some(active) = slot.take()
            {
                self.free.push(index);
                self.finish(active);
            }
        }
        if let Some(aside) = &self.aside {
            while let Ok(completion) = aside.done.try_recv() {
                self.put_aside -= 1;
                self.done.push_back(completion);
            }
        }
    }

    /// All transfers of a request have ended.
    fn finish(&mut self, active: Active<T>) {
        let Active {
            request,
            hold,
            bounce,
            failure,
            ..
        } = active;
        let result = match (hold, failure) {
            (Hold::Read(guard), Some((layer, error))) => Err(guard.fail(layer, error)),
            (Hold::Read(_), None) => {
                if let Some(mut bounce) = bounce
                    && let Some(read) = bounce.bytes()
                {
                    request.memory.copy_from(read);
                }
                Ok(())
            }
            (Hold::Write(ticket), Some((_, error))) => Err(ticket.fail(error)),
            (Hold::Write(ticket), None) => ticket.commit(),
        };
        self.complete(request, result);
    }

    /// Does what has no transfers: at once if nothing else is under way, otherwise on a thread of its own.
    fn put_aside(&mut self, request: Request<T>) {
        if self.active.len() == self.free.len() && self.put_aside == 0 {
            let result = apart(&self.disk, &request);
            return self.complete(request, result);
        }
        let sent = match self.aside() {
            Ok(aside) => aside
                .jobs
                .send(request)
                .map_err(|mpsc::SendError(request)| request),
            Err(error) => {
                log::warn!(
                    "the host cannot start a thread for flushes, which will hold up other requests: {error}"
                );
                Err(request)
            }
        };
        match sent {
            Ok(()) => self.put_aside += 1,
            Err(request) => {
                let result = apart(&self.disk, &request);
                self.complete(request, result);
            }
        }
    }

    fn aside(&mut self) -> io::Result<&Aside<T>> {
        let aside = match self.aside.take() {
            Some(aside) => aside,
            None => Aside::new(&self.disk, &self.wake)?,
        };
        Ok(self.aside.insert(aside))
    }
}

/// Does a request that has no transfers.
fn apart<T>(disk: &vhd::Disk, request: &Request<T>) -> vhd::Result<()> {
    match request.operation {
        Operation::Discard { len } => disk.discard(request.offset, len),
        Operation::WriteZeroes { len } => disk.write_zeroes(request.offset, len),
        Operation::Flush | Operation::Read | Operation::Write => disk.flush(),
    }
}

/// A thread for what has no transfers and may take long.
struct Aside<T> {
    jobs: mpsc::Sender<Request<T>>,
    done: mpsc::Receiver<Completion<T>>,
    /// Ends when the sender is dropped.
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Aside<T> {
    fn new(disk: &Arc<vhd::Disk>, wake: &Arc<Notifier>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Request<T>>();
        let (results, done) = mpsc::channel();
        let (disk, wake) = (Arc::clone(disk), Arc::clone(wake));
        let thread = std::thread::Builder::new().name("flush".into()).spawn(move || {
            for request in queue {
                // Flushes that wait here find nothing left to write after the first of them.
                let result = apart(&disk, &request);
                if results.send(Completion { request, result }).is_err() {
                    return;
                }
                wake.notify();
            }
        })?;
        Ok(Self { jobs, done, thread })
    }
}

impl<T> Drop for Engine<T> {
    fn drop(&mut self) {
        // The other thread holds the disk: whoever closes it next must be the last one.
        if let Some(Aside { jobs, done, thread }) = self.aside.take() {
            drop((jobs, done));
            let _ = thread.join();
        }
    }
}
