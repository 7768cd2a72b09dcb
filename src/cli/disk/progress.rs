// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long operations at a terminal: a bar, and signals that stop them.

use crate::cli::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
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
    let stop = Stop::new()?;
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

/// The signals that stop a task.
struct Stop {
    /// The first one that came; zero before that.
    signal: Arc<AtomicI32>,
    watch: Arc<OnceLock<Watch>>,
}

impl Stop {
    fn new() -> Result<Self, Error> {
        let stop = Self {
            signal: Arc::default(),
            watch: Arc::default(),
        };
        let (signal, watch) = (Arc::clone(&stop.signal), Arc::clone(&stop.watch));
        let handler = move |number| {
            let _ = signal.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
            if let Some(watch) = watch.get() {
                watch.cancel();
            }
        };
        crate::host::on_stop(handler).map_err(|e| Error::host(&e))?;
        Ok(stop)
    }

    /// From now on a signal cancels a task, also one that came before.
    fn cancels(&self, watch: &Watch) {
        let _ = self.watch.set(watch.clone());
        if self.signal().is_some() {
            watch.cancel();
        }
    }

    fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }
}
