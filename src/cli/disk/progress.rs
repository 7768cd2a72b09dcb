// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Long operations at a terminal: a bar, and Ctrl-C.

use crate::cli::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the bar moves, and Ctrl-C is looked for.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs an operation as a task, with a bar on standard error if that is a terminal. Ctrl-C, or a wish to end from elsewhere,
/// cancels the task, which then leaves nothing half-done.
pub fn run<T: Send + 'static>(
    description: &'static str,
    operation: impl FnOnce(&vhd::Watch) -> vhd::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let wanted = Arc::new(AtomicBool::new(false));
    crate::host::raise_on_end(&wanted).map_err(|e| Error::host(&e))?;
    let task = vhd::Task::start(description, operation).map_err(|e| Error::host(&e))?;
    let bar = ProgressBar::new(0);
    let layout = "{msg} [{bar:30}] {percent}% {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    // Without a style the bar is plainer, which is no reason to fail.
    if let Ok(style) = ProgressStyle::with_template(layout) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(task.description().to_owned());
    while !task.wait(PERIOD) {
        if wanted.load(Ordering::Relaxed) {
            task.cancel();
        }
        let (done, total) = task.watch().progress();
        bar.set_length(total);
        bar.set_position(done);
    }
    bar.finish_and_clear();
    task.finish().map_err(|e| Error::wrong(&e))
}
