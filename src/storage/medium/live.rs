// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image that is open: its thread, and the ways to it.

use super::attendance::Attendance;
use super::shortcut::Shortcut;
use super::worker::{Door, Order, Worker};
use super::{Done, Waker};
use crate::host::ring::Caching;
use crate::memory::Dma;
use crate::storage::engine::Engine;
use crate::storage::{Error, Image};
use devices::block::{Operation, Request};
use devices::bus::lock;
use std::io;
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

/// Bytes that are read at once before the drive has looked at what is done. More goes to the thread even if the page cache has it: what
/// telling it costs is little beside the copy, and the processor has better things to do, such as taking interrupts.
const AT_ONCE: u64 = 256 << 10;

/// Transfers under way at a time; further ones wait in the engine.
const DEPTH: u16 = 64;

/// Dropping it carries out what is queued, flushes, and closes the image.
pub(super) struct Live {
    /// Bytes of the disk.
    len: u64,
    /// The thread's, which has to be the last one that has it.
    disk: Weak<vhd::Disk>,
    shortcut: Option<Shortcut>,
    /// What is left of [`AT_ONCE`].
    allowance: u64,
    attendance: Attendance,
    orders: Option<mpsc::Sender<Order>>,
    door: Arc<Door>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts the image's thread. Completions go to `done`; `waker` is called after those that come later than [`Live::submit`].
    pub(super) fn start(image: Image, done: &Done, waker: &Waker) -> Result<Self, Error> {
        let Image {
            disk,
            path,
            info,
            dma,
        } = image;
        let len = info.len;
        let disk = Arc::new(disk);
        let weak = Arc::downgrade(&disk);
        let (orders, queue) = mpsc::channel();
        let failed = |source| Error::Thread {
            path: path.clone(),
            source,
        };
        let shortcut = Shortcut::new(&disk).map_err(failed)?;
        let mut worker = Worker::new(disk, info, dma, done.clone(), waker.clone());
        // The engine belongs to its thread, which therefore makes it.
        let (ready, made) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(
                move || match Engine::new(worker.disk().clone(), Caching::Cached, DEPTH) {
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
            len,
            disk: weak,
            shortcut,
            allowance: AT_ONCE,
            attendance: Attendance::new(Instant::now()),
            orders: Some(orders),
            door,
            thread: Some(thread),
        })
    }

    /// Bytes of the disk.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Makes all completed writes durable, on this thread.
    pub(super) fn flush(&self) -> vhd::Result<()> {
        self.disk.upgrade().map_or(Ok(()), |disk| disk.flush())
    }

    /// Does a request, or has it done. It comes back if the thread is gone, which only a panic in it can cause.
    pub(super) fn submit(&mut self, mut request: Request, dma: Option<&Dma>, done: &Done) -> Option<Request> {
        let len = request.data.len();
        let short = request.operation == Operation::Read && (1..=self.allowance).contains(&len);
        let shortcut = self.shortcut.as_mut().filter(|_| short);
        match shortcut.map(|shortcut| shortcut.carry_out(&mut request, dma)) {
            Some(Ok(true)) => {
                self.allowance -= len;
                lock(done).push_back(request.complete(Ok(())));
                return None;
            }
            Some(Err(error)) => {
                log::debug!("{request:?}: reads of this medium are never done at once: {error}");
                self.shortcut = None;
            }
            Some(Ok(false)) | None => {}
        }
        match self.send(Order::Do(request)) {
            Some(Order::Do(request)) => Some(request),
            Some(Order::Attend) | None => None,
        }
    }

    /// Tells the thread; an order that it cannot be told comes back.
    fn send(&self, order: Order) -> Option<Order> {
        let Some(orders) = &self.orders else {
            return Some(order);
        };
        match orders.send(order) {
            Ok(()) => {
                self.door.knock();
                None
            }
            Err(mpsc::SendError(order)) => Some(order),
        }
    }

    /// The drive has found some requests, or none, and would like to be attended. Whether it is.
    pub(super) fn attend(&mut self, found: usize) -> bool {
        let attends = self.attendance.ask(found, Instant::now());
        // A thread that cannot be told is gone, and does not attend.
        if self.door.want(attends) && self.send(Order::Attend).is_some() {
            return false;
        }
        attends
    }

    /// The drive has looked at all that is done.
    pub(super) fn looked_at(&mut self) {
        self.allowance = AT_ONCE;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The thread closes the image, for which it has to be the last one that has it.
        self.shortcut = None;
        self.orders = None;
        self.door.knock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
