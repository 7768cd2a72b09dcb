// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long operations as tasks: with an ID, a description, a percentage, and the means to cancel and to wait.
//!
//! An operation takes a [`Watch`], tells it how far it is, and asks it whether to go on. [`Task::start`] runs one on a
//! thread of its own. The parts of a task are those that `IVMTask` of the Virtual PC API has.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::Disk;
use crate::error::{Error, Kind, Result};

/// How far an operation is, and whether it is to go on. All copies speak of the same operation.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes, or whatever the operation counts; zero until it knows.
    total: AtomicU64,
    done: AtomicU64,
    cancelled: AtomicBool,
}

impl Watch {
    /// Asks the operation to stop. It ends with [`Kind::Cancelled`], unless it is past the point of no return.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// How much there is to do, and how much of it is done; in bytes, for all operations on disks' content.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let total = self.shared.total.load(Ordering::Relaxed);
        (self.shared.done.load(Ordering::Relaxed).min(total), total)
    }

    /// From 0 to 100. An operation of several parts starts again with each.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let (done, total) = self.progress();
        // The quotient is at most 100; without work to do there is none.
        (u128::from(done) * 100)
            .checked_div(u128::from(total))
            .unwrap_or(0) as u8
    }

    /// Says how much there is to do, and that nothing of it is done.
    pub fn begin(&self, total: u64) {
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    /// Says that so much more is done.
    pub fn advance(&self, amount: u64) {
        self.shared.done.fetch_add(amount, Ordering::Relaxed);
    }

    /// The error with which a cancelled operation on a disk ends.
    pub(crate) fn check(&self, disk: &Disk) -> Result<()> {
        self.check_path(disk.path())
    }

    /// The error with which a cancelled operation on a file ends.
    ///
    /// # Errors
    /// [`Kind::Cancelled`], when it was asked to stop.
    pub fn check_path(&self, path: &Path) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, path));
        }
        Ok(())
    }
}

/// An operation that runs on a thread of its own. Dropping it neither stops nor waits.
pub struct Task<T> {
    id: u64,
    description: String,
    watch: Watch,
    outcome: Arc<Outcome<T>>,
}

struct Outcome<T> {
    result: Mutex<Stage<T>>,
    changed: Condvar,
}

enum Stage<T> {
    Running,
    Done(Result<T>),
    /// The result was taken.
    Taken,
}

impl<T: Send + 'static> Task<T> {
    /// Starts an operation.
    ///
    /// # Errors
    /// What the host says when it has no thread left.
    pub fn start(
        description: impl Into<String>,
        operation: impl FnOnce(&Watch) -> Result<T> + Send + 'static,
    ) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let task = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            description: description.into(),
            watch: Watch::default(),
            outcome: Arc::new(Outcome {
                result: Mutex::new(Stage::Running),
                changed: Condvar::new(),
            }),
        };
        let watch = task.watch.clone();
        let outcome = Arc::clone(&task.outcome);
        std::thread::Builder::new()
            .name(format!("task {}", task.id))
            .spawn(move || {
                let end = End(&outcome);
                let result = operation(&watch);
                *outcome.stage() = Stage::Done(result);
                drop(end);
            })?;
        Ok(task)
    }
}

/// Wakes those who wait, also when the operation panics: then there is no result, and they are told that.
struct End<'a, T>(&'a Outcome<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        let mut stage = self.0.stage();
        if matches!(*stage, Stage::Running) {
            let panic = std::io::Error::other("the operation panicked");
            *stage = Stage::Done(Err(Error::io(panic, Path::new("the task"), "running")));
        }
        drop(stage);
        self.0.changed.notify_all();
    }
}

impl<T> Task<T> {
    /// A number that no other task of this process has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it does, for people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How far it is; also the means to cancel it from elsewhere.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// From 0 to 100.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.watch.percent()
    }

    /// Asks it to stop; [`Task::wait`] tells when it has.
    pub fn cancel(&self) {
        self.watch.cancel();
    }

    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !matches!(*self.outcome.stage(), Stage::Running)
    }

    /// Waits for its end, so long at most; tells whether it has come.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let running = |stage: &mut Stage<T>| matches!(stage, Stage::Running);
        let waited = self
            .outcome
            .changed
            .wait_timeout_while(self.outcome.stage(), timeout, running);
        let (_stage, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        !timed_out.timed_out()
    }

    /// Waits for its end, and gives what came of it.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn finish(self) -> Result<T> {
        let mut stage = self.outcome.stage();
        loop {
            match std::mem::replace(&mut *stage, Stage::Taken) {
                Stage::Done(result) => return result,
                // Only this takes a result, and it consumes the task.
                Stage::Running | Stage::Taken => *stage = Stage::Running,
            }
            stage = self
                .outcome
                .changed
                .wait(stage)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Outcome<T> {
    fn stage(&self) -> std::sync::MutexGuard<'_, Stage<T>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("description", &self.description)
            .field("percent", &self.percent())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_task_tells_how_far_it_is() {
        let (go, gate) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel::<()>();
        let task = Task::start("counting", move |watch| {
            watch.begin(200);
            watch.advance(50);
            tell.send(()).unwrap();
            gate.recv().unwrap();
            watch.advance(1000);
            Ok(7)
        })
        .unwrap();
        told.recv().unwrap();
        assert_eq!((task.percent(), task.is_complete()), (25, false));
        assert_eq!(task.description(), "counting");
        assert!(!task.wait(Duration::ZERO));
        go.send(()).unwrap();
        assert!(task.wait(Duration::MAX));
        assert_eq!((task.percent(), task.is_complete()), (100, true));
        assert_eq!(task.finish().unwrap(), 7);
    }

    #[test]
    fn a_cancelled_task_says_so() {
        let (go, gate) = mpsc::channel::<()>();
        let task = Task::start("nothing", move |watch| {
            gate.recv().unwrap();
            watch.check_path(Path::new("a.vhd"))
        })
        .unwrap();
        let other = Task::start("nothing", |_| Ok(())).unwrap();
        assert_ne!(task.id(), other.id());
        task.cancel();
        go.send(()).unwrap();
        assert_eq!(task.finish().unwrap_err().kind(), &Kind::Cancelled);
        other.finish().unwrap();
    }

    #[test]
    fn whoever_waits_for_a_task_that_panics_is_woken() {
        let task: Task<()> = Task::start("falling over", |_| panic!("as this test wants it")).unwrap();
        assert_eq!(task.finish().unwrap_err().kind(), &Kind::Io);
    }

    #[test]
    fn without_work_there_is_no_percentage() {
        let watch = Watch::default();
        assert_eq!((watch.percent(), watch.progress()), (0, (0, 0)));
        watch.begin(u64::MAX);
        watch.advance(u64::MAX / 2);
        assert_eq!(watch.percent(), 49);
    }
}
