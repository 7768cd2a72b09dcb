// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results as fio writes them (`--output-format=json`, fio's HOWTO, "JSON output"), so that whatever reads those reads ours. What fio has no
//! field for stands in each job's `vpc`. Reading is lenient: of fio's own results only what is compared is looked at.

use super::Outcome;
use super::histogram::{Histogram, middle};
use super::job::Job;
use crate::machine::exits::ExitCounts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parts of a million that percentiles are told for: fio's list.
pub const PERCENTILES: [u64; 17] = [
    10_000, 50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 800_000, 900_000, 950_000,
    990_000, 995_000, 999_000, 999_500, 999_900,
];

/// A file of results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Who made it.
    #[serde(rename = "fio version")]
    pub version: String,
    /// When, in seconds since 1970.
    pub timestamp: i64,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// When, in words.
    pub time: String,
    /// The results; ours have one, for all jobs together.
    pub jobs: Vec<JobReport>,
}

/// A job's results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobReport {
    /// Its name.
    pub jobname: String,
    /// fio's group.
    pub groupid: u32,
    /// 0, or fio's error.
    pub error: i32,
    /// Seconds that it took.
    pub elapsed: u64,
    /// What it was told to do, in fio's words.
    #[serde(rename = "job options")]
    pub options: BTreeMap<String, String>,
    /// Reads.
    pub read: Direction,
    /// Writes.
    pub write: Direction,
    /// What fio does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Own>,
}

/// Reads, or writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Direction {
    /// Bytes that were moved.
    pub io_bytes: u64,
    /// The same in KiB.
    pub io_kbytes: u64,
    /// Bytes a second.
    pub bw_bytes: u64,
    /// KiB a second.
    pub bw: u64,
    /// Requests a second.
    pub iops: f64,
    /// Milliseconds.
    pub runtime: u64,
    /// Requests.
    pub total_ios: u64,
    /// Requests that moved less than they should: none, or the job fails.
    pub short_ios: u64,
    /// Requests that were dropped: none.
    pub drop_ios: u64,
    /// From submission to completion.
    pub clat_ns: Latency,
    /// The same here: submission is not told apart.
    pub lat_ns: Latency,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation; of ours, from classes of the histogram.
    pub stddev: f64,
    /// How many.
    #[serde(rename = "N")]
    pub count: u64,
    /// By percent, with six places.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub percentile: BTreeMap<String, u64>,
}

/// What fio has no field for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// `layer`, `ide` or `virtio`.
    pub level: String,
    /// The image.
    pub image: String,
    /// Seconds, with the flush after writes.
    pub seconds: f64,
    /// Microseconds of this process's processor time a request; it includes the guest's.
    pub cpu_us_per_io: f64,
    /// What the guest left for, a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exits_per_io: Option<Exits>,
    /// Sectors that were read again after writes, and were right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_sectors: Option<u64>,
    /// How transfers were done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// The most memory that this process had, in bytes.
    pub peak_memory_bytes: u64,
    /// Bytes of a process with a machine that are not its guest's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_beside_guest_bytes: Option<u64>,
    /// Requests a second, by seconds since the begin.
    pub iops_over_time: Vec<(f64, f64)>,
}

/// Exits to this program, a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exits {
    /// All.
    pub total: f64,
    /// `IN`, `INS`.
    pub port_reads: f64,
    /// `OUT`, `OUTS`.
    pub port_writes: f64,
    /// Loads from devices.
    pub memory_reads: f64,
    /// Stores to devices.
    pub memory_writes: f64,
}

impl Latency {
    /// Of a histogram.
    pub fn new(histogram: &Histogram) -> Self {
        let count = histogram.count();
        if count == 0 {
            return Self::default();
        }
        let mean = histogram.sum() as f64 / count as f64;
        let squares = histogram.classes().map(|(class, count)| {
            let distance = middle(class) as f64 - mean;
            distance * distance * count as f64
        });
        let percentile = PERCENTILES.map(|parts| (percent(parts), histogram.percentile(parts)));
        Self {
            min: histogram.min(),
            max: histogram.max(),
            mean,
            stddev: (squares.sum::<f64>() / count as f64).sqrt(),
            count,
            percentile: percentile.into(),
        }
    }

    /// A percentile, by parts of a million.
    pub fn at(&self, parts: u64) -> Option<u64> {
        self.percentile.get(&percent(parts)).copied()
    }
}

/// As fio writes it: 99.900000.
fn percent(parts: u64) -> String {
    format!("{}.{:06}", parts / 10_000, parts % 10_000 * 100)
}

impl Direction {
    fn new(histogram: &Histogram, block: u32, seconds: f64) -> Self {
        let count = histogram.count();
        if count == 0 {
            return Self::default();
        }
        let bytes = count.saturating_mul(u64::from(block));
        let rate = bytes as f64 / seconds;
        let latency = Latency::new(histogram);
        Self {
            io_bytes: bytes,
            io_kbytes: bytes >> 10,
            bw_bytes: rate as u64,
            bw: (rate / 1024.0) as u64,
            iops: count as f64 / seconds,
            runtime: (seconds * 1e3) as u64,
            total_ios: count,
            short_ios: 0,
            drop_ios: 0,
            lat_ns: Latency {
                percentile: BTreeMap::new(),
                ..latency.clone()
            },
            clat_ns: latency,
        }
    }
}

impl Exits {
    fn new(counts: &ExitCounts, requests: u64) -> Self {
        let each = |count: u64| count as f64 / requests.max(1) as f64;
        Self {
            total: each(counts.total()),
            port_reads: each(counts.port_reads),
            port_writes: each(counts.port_writes),
            memory_reads: each(counts.memory_reads),
            memory_writes: each(counts.memory_writes),
        }
    }
}

impl Report {
    /// One job's.
    pub fn new(job: &Job, outcome: &Outcome, level: &str, image: &str, direct: bool) -> Self {
        let now = jiff::Zoned::now();
        let seconds = outcome.elapsed.as_secs_f64().max(1e-9);
        let requests = outcome.requests();
        let options = [
            ("filename", image.to_owned()),
            ("rw", job.operation.name().to_owned()),
            ("bs", job.block.to_string()),
            ("iodepth", job.depth.to_string()),
            ("numjobs", job.jobs.to_string()),
            ("size", job.size.to_string()),
            ("direct", u8::from(direct).to_string()),
            ("end_fsync", u8::from(!job.operation.only_reads()).to_string()),
        ];
        let own = Own {
            level: level.to_owned(),
            image: image.to_owned(),
            seconds,
            cpu_us_per_io: outcome.processor.as_secs_f64() * 1e6 / requests.max(1) as f64,
            exits_per_io: outcome.exits.as_ref().map(|counts| Exits::new(counts, requests)),
            verified_sectors: outcome.verified,
            ring: outcome.ring.map(str::to_owned),
            peak_memory_bytes: crate::host::peak_memory(),
            memory_beside_guest_bytes: None,
            iops_over_time: rates(outcome),
        };
        Self {
            version: format!("vpc-{}", env!("CARGO_PKG_VERSION")),
            timestamp: now.timestamp().as_second(),
            timestamp_ms: now.timestamp().as_millisecond(),
            time: now.strftime("%a %b %d %H:%M:%S %Y").to_string(),
            jobs: vec![JobReport {
                jobname: format!("{}-{level}", job.operation.name()),
                groupid: 0,
                error: 0,
                elapsed: seconds.ceil() as u64,
                options: options.map(|(key, value)| (key.to_owned(), value)).into(),
                read: Direction::new(&outcome.reads, job.block, seconds),
                write: Direction::new(&outcome.writes, job.block, seconds),
                vpc: Some(own),
            }],
        }
    }
}

impl Report {
    /// A machine's: a job for each kind of event, with its name and what it is. Events read, for want of a better word.
    pub fn of_machine<'a>(
        events: impl Iterator<Item = (&'a str, &'a str, &'a Histogram)>,
        memory: Option<u64>,
    ) -> Self {
        let base = Self::new(&Job::default(), &Outcome::default(), "machine", "", false);
        let jobs = events.filter(|(_, _, histogram)| histogram.count() != 0);
        let jobs = jobs.map(|(name, what, histogram)| JobReport {
            jobname: name.to_owned(),
            options: [("description".to_owned(), what.to_owned())].into(),
            read: Direction::new(histogram, 0, histogram.sum().max(1) as f64 / 1e9),
            vpc: Some(Own {
                level: "machine".to_owned(),
                seconds: histogram.sum() as f64 / 1e9,
                memory_beside_guest_bytes: memory,
                ..Own::default()
            }),
            ..JobReport::default()
        });
        Self {
            jobs: jobs.collect(),
            ..base
        }
    }
}

/// Requests a second between the steps of the timeline.
fn rates(outcome: &Outcome) -> Vec<(f64, f64)> {
    let end = (outcome.elapsed, outcome.requests());
    let mut rates = Vec::new();
    let mut before = (std::time::Duration::ZERO, 0);
    for &(at, done) in outcome.timeline.iter().chain([&end]) {
        let step = at.saturating_sub(before.0).as_secs_f64();
        if step > 1e-6 {
            rates.push((at.as_secs_f64(), done.saturating_sub(before.1) as f64 / step));
            before = (at, done);
        }
    }
    rates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::job::Operation;
    use std::time::Duration;

    fn report() -> Report {
        let mut outcome = Outcome {
            elapsed: Duration::from_secs(2),
            processor: Duration::from_millis(10),
            timeline: vec![(Duration::from_secs(1), 400)],
            exits: Some(ExitCounts {
                port_reads: 2000,
                port_writes: 6000,
                ..ExitCounts::default()
            }),
            ..Outcome::default()
        };
        (1..=1000).for_each(|micros| outcome.reads.add(micros * 1000));
        let job = Job {
            operation: Operation::RandRead,
            depth: 4,
            ..Job::default()
        };
        Report::new(&job, &outcome, "ide", "disk.vhd", false)
    }

    #[test]
    fn the_figures_add_up() {
        let report = report();
        let job = &report.jobs[0];
        let (read, own) = (&job.read, job.vpc.as_ref().unwrap());
        assert_eq!(
            (read.total_ios, read.io_bytes, read.runtime),
            (1000, 4_096_000, 2000)
        );
        assert_eq!((read.bw_bytes, read.bw), (2_048_000, 2000));
        assert!((read.iops - 500.0).abs() < 1e-6);
        assert!((read.clat_ns.mean - 500_500.0).abs() < 1e-6);
        // Of a uniform distribution: its width by the root of twelve.
        assert!(
            (read.clat_ns.stddev / 288_675.0 - 1.0).abs() < 0.01,
            "{}",
            read.clat_ns.stddev
        );
        assert!(read.clat_ns.at(500_000).unwrap().abs_diff(500_000) < 5000);
        assert_eq!(job.write, Direction::default());
        assert!((own.cpu_us_per_io - 10.0).abs() < 1e-6);
        assert!((own.exits_per_io.unwrap().total - 8.0).abs() < 1e-6);
        assert_eq!(own.iops_over_time, [(1.0, 400.0), (2.0, 600.0)]);
    }

    #[test]
    fn the_names_are_those_of_fio() {
        let json = serde_json::to_value(report()).unwrap();
        let read = &json["jobs"][0]["read"];
        for field in [
            "iops",
            "bw",
            "bw_bytes",
            "io_bytes",
            "io_kbytes",
            "runtime",
            "total_ios",
        ] {
            assert!(read[field].is_number(), "{field}");
        }
        for field in ["min", "max", "mean", "stddev", "N"] {
            assert!(
                read["clat_ns"][field].is_number() && read["lat_ns"][field].is_number(),
                "{field}"
            );
        }
        for percent in [
            "1.000000",
            "50.000000",
            "99.000000",
            "99.900000",
            "99.950000",
            "99.990000",
        ] {
            assert!(read["clat_ns"]["percentile"][percent].is_number(), "{percent}");
        }
        assert_eq!(json["jobs"][0]["job options"]["rw"], "randread");
        let again: Report = serde_json::from_value(json).unwrap();
        assert_eq!(again.jobs[0].read.total_ios, 1000);
    }
}
