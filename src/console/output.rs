// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way out: a bounded queue that a thread empties.
//!
//! A processor that writes to a port only appends to the queue and never waits for the far end. When the queue is full the oldest
//! bytes go and are counted: the end of a log tells more than its beginning.

use crate::host::Notifier;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait for the far end.
const LIMIT: usize = 256 * 1024;

/// Bytes that the thread takes at a time.
const CHUNK: usize = 4096;

/// How long [`Drain`] waits at the end for a far end that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The far end, as the writer thread sees it.
pub(super) trait Sink: Send {
    /// Writes some of `bytes` and says how many. It may wait for the far end as long as `end` lets it.
    fn write(&mut self, bytes: &[u8], end: &End) -> Result<usize, Failure>;
}

/// Why a [`Sink`] wrote nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The end has come.
    Stopped,
    /// These bytes cannot be written.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How the writer thread is told to end.
pub(super) struct End {
    /// Nothing more will come: whoever waits for a far end that is not there need not wait any longer.
    pub closing: Notifier,
    /// No more waiting.
    pub stop: Notifier,
}

/// Where a port writes to. Clones write to the same far end; each write stays in one piece.
#[derive(Clone, Default)]
pub struct Output(Option<Arc<Shared>>);

struct Shared {
    queue: Mutex<Queue>,
    /// There are bytes, or the end has come.
    work: Condvar,
    /// The thread has ended.
    ended: Condvar,
    end: End,
}

struct Queue {
    bytes: VecDeque<u8>,
    phase: Phase,
    dropped: u64,
    /// The thread waits for work.
    idle: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The thread ends when the queue is empty.
    Closing,
    /// The thread has ended: what is written now is dropped.
    Ended,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// An output that forgets what is written.
    pub fn null() -> Self {
        Self::default()
    }

    /// Appends `bytes` without waiting.
    pub fn push(&self, bytes: &[u8]) {
        let Some(shared) = &self.0 else {
            return;
        };
        let mut queue = shared.lock();
        if queue.phase == Phase::Ended {
            queue.dropped += bytes.len() as u64;
            return;
        }
        queue.bytes.extend(bytes);
        let excess = queue.bytes.len().saturating_sub(LIMIT);
        queue.bytes.drain(..excess);
        queue.dropped += excess as u64;
        if std::mem::take(&mut queue.idle) {
            shared.work.notify_one();
        }
    }

    /// Bytes that never reached the far end: the queue was full, or the far end failed.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.lock().dropped)
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: a guest must not wait for the far end. [`Drain`] flushes when the machine ends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Owns the writer thread. Dropping it sends what the queue still holds, waiting a second at most for a far end that does not
/// read.
pub struct Drain {
    shared: Arc<Shared>,
    name: String,
    thread: Option<thread::JoinHandle<()>>,
    patience: Duration,
}

/// Starts the writer thread for `sink`. `name` is for the thread and for messages.
pub(super) fn spawn(name: &str, sink: impl Sink + 'static) -> io::Result<(Output, Drain)> {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            bytes: VecDeque::new(),
            phase: Phase::Running,
            dropped: 0,
            idle: false,
        }),
        work: Condvar::new(),
        ended: Condvar::new(),
        end: End {
            closing: Notifier::new()?,
            stop: Notifier::new()?,
        },
    });
    let writer = Writer {
        shared: shared.clone(),
        name: name.to_owned(),
        failed: false,
    };
    let thread = thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || writer.run(sink))?;
    let drain = Drain {
        shared: shared.clone(),
        name: name.to_owned(),
        thread: Some(thread),
        patience: PATIENCE,
    };
    Ok((Output(Some(shared)), drain))
}

impl Drop for Drain {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        if queue.phase == Phase::Running {
            queue.phase = Phase::Closing;
        }
        self.shared.work.notify_one();
        self.shared.end.closing.notify();
        queue = wait_until_ended(&self.shared, queue, self.patience);
        if queue.phase != Phase::Ended {
            self.shared.end.stop.notify();
            queue = wait_until_ended(&self.shared, queue, PATIENCE);
        }
        let (ended, dropped) = (queue.phase == Phase::Ended, queue.dropped);
        drop(queue);
        if dropped > 0 {
            log::warn!("{}: {dropped} bytes of output were dropped", self.name);
        }
        if let Some(thread) = self.thread.take() {
            if ended {
                let _ = thread.join();
            } else {
                // It hangs in a write that nothing interrupts (a stopped terminal) and ends with the process.
                log::warn!("{}: output does not end", self.name);
            }
        }
    }
}

fn wait_until_ended<'a>(
    shared: &'a Shared,
    queue: MutexGuard<'a, Queue>,
    patience: Duration,
) -> MutexGuard<'a, Queue> {
    shared
        .ended
        .wait_timeout_while(queue, patience, |queue| queue.phase != Phase::Ended)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// The writer thread.
struct Writer {
    shared: Arc<Shared>,
    name: String,
    /// A failure was reported.
    failed: bool,
}

impl Writer {
    fn run(mut self, mut sink: impl Sink) {
        let mut chunk = Vec::with_capacity(CHUNK);
        while self.take(&mut chunk) {
            if !self.send(&mut sink, &chunk) {
                break;
            }
        }
        let mut queue = self.shared.lock();
        queue.dropped += queue.bytes.len() as u64;
        queue.bytes = VecDeque::new();
        queue.phase = Phase::Ended;
        self.shared.ended.notify_all();
    }

    /// Waits for bytes and moves some of them to `chunk`; `false` at the end.
    fn take(&self, chunk: &mut Vec<u8>) -> bool {
        let mut queue = self.shared.lock();
        while queue.bytes.is_empty() {
            if queue.phase != Phase::Running {
                return false;
            }
            queue.idle = true;
            queue = self
                .shared
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle = false;
        let count = queue.bytes.len().min(CHUNK);
        chunk.clear();
        chunk.extend(queue.bytes.drain(..count));
        true
    }

    /// Writes all of `chunk`, or counts the rest as dropped; `false` if it was told to stop.
    fn send(&mut self, sink: &mut impl Sink, chunk: &[u8]) -> bool {
        let mut rest = chunk;
        while !rest.is_empty() {
            let failure = match sink.write(rest, &self.shared.end) {
                Ok(0) => Failure::Io(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    continue;
                }
                Err(failure) => failure,
            };
            self.shared.lock().dropped += rest.len() as u64;
            match failure {
                Failure::Stopped => return false,
                Failure::Io(error) if !std::mem::replace(&mut self.failed, true) => {
                    log::warn!("{}: cannot write output: {error}", self.name);
                }
                Failure::Io(_) => {}
            }
            return true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::{AsSource, Interest, wait};
    use std::io::Write;
    use std::sync::mpsc;

    /// Hands each write to the test, which lets it go on by receiving it.
    struct Gate(mpsc::SyncSender<Vec<u8>>);

    impl Sink for Gate {
        fn write(&mut self, bytes: &[u8], _end: &End) -> Result<usize, Failure> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
    }

    /// A far end that never reads.
    struct Stuck;

    impl Sink for Stuck {
        fn write(&mut self, _bytes: &[u8], end: &End) -> Result<usize, Failure> {
            while !wait(&[(end.stop.as_source(), Interest::Read)], None)?[0] {}
            Err(Failure::Stopped)
        }
    }

    /// A far end that takes one byte at a time and fails on each 'X'.
    struct Picky(mpsc::Sender<u8>);

    impl Sink for Picky {
        fn write(&mut self, bytes: &[u8], _end: &End) -> Result<usize, Failure> {
            if bytes[0] == b'X' {
                return Err(io::Error::from(io::ErrorKind::StorageFull).into());
            }
            self.0.send(bytes[0]).map_err(io::Error::other)?;
            Ok(1)
        }
    }

    #[test]
    fn everything_arrives_in_order_and_is_flushed_at_the_end() {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let (output, drain) = spawn("test", Gate(sender)).unwrap();
        let mut other = output.clone();
        for i in 0..50_000_u32 {
            other.write_all(&i.to_le_bytes()).unwrap();
        }
        drop(drain);
        let all: Vec<u8> = receiver.iter().flatten().collect();
        let expected: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        assert!(all == expected);
        assert_eq!(output.dropped(), 0);
        // Nobody takes it any more.
        output.push(b"late");
        assert_eq!(output.dropped(), 4);
    }

    #[test]
    fn a_full_queue_drops_its_oldest_bytes() {
        // The thread holds one chunk, and the channel takes none until the test does.
        let (sender, receiver) = mpsc::sync_channel(0);
        let (output, drain) = spawn("test", Gate(sender)).unwrap();
        let mark = |i: u32| i.to_le_bytes();
        let words = (LIMIT / 4) as u32 + 10_000;
        for i in 0..words {
            output.push(&mark(i));
        }
        let dropped = output.dropped();
        assert!(dropped >= 4 * 10_000 - 2 * CHUNK as u64);
        let reader = thread::spawn(move || receiver.iter().flatten().collect::<Vec<u8>>());
        drop(drain);
        let all = reader.join().unwrap();
        assert_eq!(all.len() as u64 + dropped, u64::from(words) * 4);
        assert!(all.ends_with(&mark(words - 1)));
        // One gap, and no reordering.
        let numbers: Vec<u32> = all
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert!(numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count() <= 1);
        assert!(numbers.is_sorted());
    }

    #[test]
    fn a_far_end_that_never_reads_does_not_hold_up_the_end() {
        let (output, mut drain) = spawn("test", Stuck).unwrap();
        drain.patience = Duration::ZERO;
        output.push(b"lost");
        drop(drain);
        assert_eq!(output.dropped(), 4);
    }

    #[test]
    fn errors_cost_the_chunk_and_no_more() {
        let (sender, receiver) = mpsc::channel();
        let (output, drain) = spawn("test", Picky(sender)).unwrap();
        output.push(b"aXb");
        // Once the first byte is here, the three are in a chunk of their own.
        assert_eq!(receiver.recv(), Ok(b'a'));
        output.push(b"cd");
        drop(drain);
        assert_eq!(receiver.iter().collect::<Vec<u8>>(), b"cd");
        assert_eq!(output.dropped(), 2);
    }

    #[test]
    fn null_forgets() {
        let output = Output::null();
        output.push(b"x");
        assert_eq!(output.dropped(), 0);
    }
}
