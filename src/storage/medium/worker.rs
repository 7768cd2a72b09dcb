// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The thread of an image that is open.

use super::shortcut::Lent;
use super::{Done, Waker};
use crate::host::Notifier;
use crate::host::ring::Buffer;
use crate::memory::Dma;
use crate::storage::chain;
use crate::storage::engine::{self, Engine};
use devices::block::{MediumError, MediumInfo, Operation, Request};
use devices::bus::lock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Lines in the log for failures: a guest that hits a broken disk retries without end.
const LINES: u32 = 8;

/// Turns of doing nothing between two looks at an attended drive: less than a microsecond.
const BREATH: u32 = 16;

/// How the thread is told that there is something in its queue: the queue itself wakes it, but not while it waits for transfers.
pub(super) struct Door {
    wake: Arc<Notifier>,
    waits_for_transfers: AtomicBool,
    /// The drive wants the thread to call its controller: see [`Attendance`](super::attendance::Attendance).
    wanted: AtomicBool,
    /// The thread does that.
    attends: AtomicBool,
}

/// What the thread is told to do.
pub(super) enum Order {
    Do(Request),
    /// To call the drive's controller for as long as that wants it.
    Attend,
}

impl Door {
    pub(super) fn new(wake: Arc<Notifier>) -> Self {
        Self {
            wake,
            waits_for_transfers: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            attends: AtomicBool::new(false),
        }
    }

    /// The drive wants to be attended, or not any more. Whether the thread has to be told.
    pub(super) fn want(&self, wanted: bool) -> bool {
        self.wanted.store(wanted, Ordering::SeqCst);
        wanted && !self.attends.load(Ordering::SeqCst)
    }

    /// The thread was told to attend.
    fn come(&self) {
        self.attends.store(true, Ordering::SeqCst);
    }

    /// Calls the controller if the drive wants it. One that has forgotten that it was attended, by a reset, is left.
    fn attend(&self, call: &Waker) -> bool {
        if !self.attends.load(Ordering::Relaxed) {
            return false;
        }
        self.wanted.store(false, Ordering::SeqCst);
        call();
        if !self.wanted.load(Ordering::SeqCst) {
            self.attends.store(false, Ordering::SeqCst);
            // Either this thread sees now that it is wanted again, or the drive sees that it has to be told.
            if self.wanted.load(Ordering::SeqCst) {
                self.come();
            }
        }
        true
    }

    /// Something was put into the queue.
    pub(super) fn knock(&self) {
        // Either this thread sees that the other one waits, or the other one sees what is in the queue before it does.
        fence(Ordering::SeqCst);
        if self.waits_for_transfers.load(Ordering::SeqCst) {
            self.wake.notify();
        }
    }
}

/// How long to look for the next request before sleeping.
///
/// To wake a thread costs more than most requests do. So a thread whose requests come one soon after the other looks for the next one a
/// little while; one that looked in vain sleeps at once the next time. Where there is one processor only, looking would keep the guest
/// from running.
struct Patience {
    now: Duration,
    most: Duration,
}

impl Patience {
    /// What is tried first when requests come fast.
    const LEAST: Duration = Duration::from_micros(8);
    /// About what waking costs on a slow host.
    const MOST: Duration = Duration::from_micros(64);

    fn new() -> Self {
        let alone = std::thread::available_parallelism().is_ok_and(|n| n.get() < 2);
        Self {
            now: Duration::ZERO,
            most: if alone { Duration::ZERO } else { Self::MOST },
        }
    }

    /// The next request.
    fn receive<T>(&mut self, queue: &mpsc::Receiver<T>) -> Result<T, mpsc::RecvError> {
        let start = Instant::now();
        while start.elapsed() < self.now {
            match queue.try_recv() {
                Ok(request) => return Ok(request),
                Err(mpsc::TryRecvError::Disconnected) => return Err(mpsc::RecvError),
                Err(mpsc::TryRecvError::Empty) => std::hint::spin_loop(),
            }
        }
        let slept = Instant::now();
        let request = queue.recv();
        self.learn(slept.elapsed());
        request
    }

    /// A request came after a sleep of this length.
    fn learn(&mut self, slept: Duration) {
        self.now = if slept <= self.most {
            (self.now * 2).max(Self::LEAST).min(self.most)
        } else if self.now > Self::LEAST {
            self.now / 2
        } else {
            Duration::ZERO
        };
    }
}

/// A request in the engine.
pub(super) struct Job {
    request: Request,
    buffer: Option<Buffer>,
}

/// The medium's thread.
pub(super) struct Worker {
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
    pub(super) fn new(
        disk: Arc<vhd::Disk>,
        info: MediumInfo,
        dma: Option<Arc<Dma>>,
        done: Done,
        waker: Waker,
    ) -> Self {
        Self {
            disk,
            info,
            dma,
            done,
            waker,
            news: false,
            lines_left: LINES,
        }
    }

    pub(super) fn disk(&self) -> &Arc<vhd::Disk> {
        &self.disk
    }

    /// Carries out requests until nobody can send any more and all are done.
    pub(super) fn serve(&mut self, mut engine: Engine<Job>, queue: &mpsc::Receiver<Order>, door: &Door) {
        let mut patience = Patience::new();
        loop {
            let received = loop {
                match queue.try_recv() {
                    Ok(order) => self.obey(&mut engine, order, door),
                    Err(end) => break end,
                }
            };
            engine.submit();
            self.deliver(&mut engine);
            let open = received == mpsc::TryRecvError::Empty;
            if open && door.attend(&self.waker) {
                // Whoever else wants the controller's lock gets it in between.
                (0..BREATH).for_each(|_| std::hint::spin_loop());
            } else if engine.under_way() > 0 {
                self.wait(&mut engine, queue, door);
            } else if !open {
                return;
            } else if let Ok(order) = patience.receive(queue) {
                self.obey(&mut engine, order, door);
            }
        }
    }

    /// Waits until transfers are done, or there is something in the queue.
    fn wait(&mut self, engine: &mut Engine<Job>, queue: &mpsc::Receiver<Order>, door: &Door) {
        door.waits_for_transfers.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        match queue.try_recv() {
            Ok(order) => self.obey(engine, order, door),
            Err(_) => {
                if let Err(error) = engine.wait() {
                    self.report(format_args!("its transfers cannot be waited for: {error}"));
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }
        }
        door.waits_for_transfers.store(false, Ordering::SeqCst);
    }

    fn obey(&mut self, engine: &mut Engine<Job>, order: Order, door: &Door) {
        match order {
            Order::Do(request) => self.begin(engine, request),
            Order::Attend => door.come(),
        }
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

    /// Closes the image. What could not be written is told in the log.
    pub(super) fn close(self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_requests_that_come_soon_and_goes_with_others() {
        let mut patience = Patience {
            now: Duration::ZERO,
            most: Patience::MOST,
        };
        let soon = Duration::from_micros(30);
        let seen: Vec<_> = (0..5)
            .map(|_| {
                patience.learn(soon);
                patience.now.as_micros()
            })
            .collect();
        assert_eq!(seen, [8, 16, 32, 64, 64]);
        let late = Duration::from_millis(1);
        let seen: Vec<_> = (0..5)
            .map(|_| {
                patience.learn(late);
                patience.now.as_micros()
            })
            .collect();
        assert_eq!(seen, [32, 16, 8, 0, 0]);
    }

    #[test]
    fn one_processor_is_left_to_the_guest() {
        let mut patience = Patience {
            now: Duration::ZERO,
            most: Duration::ZERO,
        };
        patience.learn(Duration::ZERO);
        patience.learn(Duration::from_nanos(1));
        assert_eq!(patience.now, Duration::ZERO);
    }
}
