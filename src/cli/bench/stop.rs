// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A benchmark at a terminal: a bar, and signals that end it.

use crate::bench::Watch;
use crate::cli::Error;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// What is under way. Its clones are the same.
#[derive(Clone)]
pub struct Stop {
    signal: Arc<AtomicI32>,
    bar: ProgressBar,
    goal: Goal,
}

/// What the bar runs to.
#[derive(Clone, Copy)]
pub enum Goal {
    /// So many requests.
    Requests(u64),
    /// So much time.
    Time(Duration),
}

impl Stop {
    /// From now on a signal to end, such as that of Ctrl-C, stops the benchmark. There is a bar if standard error is a terminal.
    pub fn heed(goal: Goal, what: String) -> Result<Self, Error> {
        let signal: Arc<AtomicI32> = Arc::default();
        let seen = signal.clone();
        crate::host::on_stop(move |number| {
            // The first one counts.
            let _ = seen.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
        })
        .map_err(|e| Error::host(&e))?;
        let bar = ProgressBar::new(match goal {
            Goal::Requests(requests) => requests,
            Goal::Time(time) => time.as_millis() as u64,
        });
        // Without a style the bar is plainer, which is no reason to fail.
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {percent}% {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        Ok(Self { signal, bar, goal })
    }

    /// The bar goes, before anything is printed. A signal is an error, which says what is left behind.
    pub fn end(&self) -> Result<(), Error> {
        self.bar.finish_and_clear();
        match self.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Error::Stopped {
                signal,
                what: "the benchmark has no result".to_owned(),
            }),
        }
    }
}

impl Watch for Stop {
    fn progress(&self, elapsed: Duration, requests: u64) {
        self.bar.set_position(match self.goal {
            Goal::Requests(_) => requests,
            Goal::Time(_) => elapsed.as_millis() as u64,
        });
        if !elapsed.is_zero() {
            self.bar
                .set_message(format!("{:.0} IOPS", requests as f64 / elapsed.as_secs_f64()));
        }
    }

    fn stopped(&self) -> bool {
        self.signal.load(Ordering::SeqCst) != 0
    }
}
