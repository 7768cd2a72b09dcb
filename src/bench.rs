// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Benchmarks: jobs on a disk at three levels, and what a machine itself costs.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`job`], [`sequence`], [`pattern`], [`histogram`] | what a job does and what is counted; the benchmark guest (`guest/`) is compiled from the same files |
//! | [`layer`] | jobs on an image's chain alone |
//! | [`guest`] | jobs in a machine, by the benchmark guest |
//! | [`protocol`] | the lines that the guest writes |
//! | [`report`] | results as fio writes them |
//! | [`plot`], [`canvas`] | charts as SVG and PNG |

pub mod canvas;
pub mod guest;
#[path = "../guest/histogram.rs"]
pub mod histogram;
#[path = "../guest/job.rs"]
pub mod job;
pub mod layer;
#[path = "../guest/pattern.rs"]
pub mod pattern;
pub mod plot;
pub mod protocol;
pub mod report;
#[path = "../guest/sequence.rs"]
pub mod sequence;

use crate::machine::exits::ExitCounts;
use histogram::Histogram;
use std::time::Duration;

/// What a job came to.
#[derive(Clone, Default)]
pub struct Outcome {
    /// How long reads took.
    pub reads: Histogram,
    /// How long writes took.
    pub writes: Histogram,
    /// From the first request's begin to the end of the last one, and of the flush after writes.
    pub elapsed: Duration,
    /// Requests that were done, at times since the begin.
    pub timeline: Vec<(Duration, u64)>,
    /// Processor time of this process meanwhile.
    pub processor: Duration,
    /// What the guest's processors came out for meanwhile.
    pub exits: Option<ExitCounts>,
    /// Sectors that were read again after writes, and were right.
    pub verified: Option<u64>,
    /// How transfers were done: a ring's kind, for the layer alone.
    pub ring: Option<&'static str>,
}

impl Outcome {
    /// Requests that were done.
    pub fn requests(&self) -> u64 {
        self.reads.count() + self.writes.count()
    }
}

/// How a benchmark is watched and stopped.
pub trait Watch: Sync {
    /// So many requests are done since the begin.
    fn progress(&self, elapsed: Duration, requests: u64);
    /// It is to end now.
    fn stopped(&self) -> bool;
}
