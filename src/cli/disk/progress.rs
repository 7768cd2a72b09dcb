// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long operations at a terminal: a bar, and signals that stop them.

use crate::cli::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vhd::{Kind, Watch};

/// How often the bar moves.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs an operation as a task, with a bar on standard error if that is a terminal. A signal to end, such as that of Ctrl-C, cancels the
/// task, which then leaves nothing half-done; one that comes too late for that changes nothing.
pub fn run<T: Send + 'static>(
    description: &'static str,
    operation: impl FnOnce(&Watch) -> vhd::Result<T> + Send + 'static,
) -> Result<T, Error> {
    // From before the task begins, or a signal could leave a draft behind.
    let stop = Stop::heed()?;
    let task = vhd::Task::start(description, operation).map_err(|e| Error::host(&e))?;
    stop.cancels(task.watch());
    let bar = ProgressBar::new(0);
    let layout = "{msg} [{bar:30}] {percent}% {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    // Without a style the bar is plainer, which is no reason to fail.
    if let Ok(style) = ProgressStyle::with_template(layout) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(task.description().to_owned());
    while !task.wait(PERIOD) {
        let (done, total) = task.watch().progress();
        bar.set_length(total);
        bar.set_position(done);
    }
    bar.finish_and_clear();
    task.finish()
        .map_err(|error| match (error.kind(), stop.signal()) {
            (Kind::Cancelled, Some(signal)) => Error::Stopped {
                signal,
                what: crate::storage::chain(&error),
            },
            _ => Error::wrong(&error),
        })
}

/// From now on signals to end do not end the process, but stop the next task, or the one that runs. Called before anything is made that a
/// signal could leave behind.
pub fn heed_signals() -> Result<(), Error> {
    Stop::heed().map(drop)
}

/// The signals that stop tasks.
struct Stop {
    /// The first one that came; zero before that.
    signal: AtomicI32,
    /// The task that runs.
    watch: Mutex<Option<Watch>>,
}

static STOP: Stop = Stop {
    signal: AtomicI32::new(0),
    watch: Mutex::new(None),
};

impl Stop {
    fn heed() -> Result<&'static Self, Error> {
        static HEEDED: Mutex<bool> = Mutex::new(false);
        let mut heeded = HEEDED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*heeded {
            crate::host::on_stop(|number| STOP.stop(number)).map_err(|e| Error::host(&e))?;
            *heeded = true;
        }
        Ok(&STOP)
    }

    fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, number: i32) {
        let _ = self
            .signal
            .compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
        if let Some(watch) = &*self.watch() {
            watch.cancel();
        }
    }

    /// From now on a signal cancels this task; one that came before does too.
    fn cancels(&self, watch: &Watch) {
        *self.watch() = Some(watch.clone());
        if self.signal().is_some() {
            watch.cancel();
        }
    }

    fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }
}
