// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine has used: `IVMAccountant`.

use super::error::{Error, Result};
use super::hresult;
use super::instance::Instance;
use std::fs;
use std::time::{Duration, Instant};

/// [`Accountant::cpu_utilization`] looks at what is used in this time.
const SAMPLE: Duration = Duration::from_millis(100);

/// The accountant of a machine: `IVMAccountant`.
#[derive(Debug, Clone)]
pub struct Accountant {
    instance: Instance,
}

impl Accountant {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance }
    }

    /// `IVMAccountant::UpTime`: for how many seconds the machine runs, by its own clock, which stands still while it is paused.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn up_time(&self) -> Result<u64> {
        let status = self.instance.status().map_err(|error| not_running(&error))?;
        Ok(status.seconds as u64)
    }

    /// For how long the machine's processors have run, all together, guest code and what it made the program do.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        let gone = || not_running(&Error::new(hresult::S_FALSE, "the machine is not running"));
        let process = self.instance.process().ok_or_else(gone)?;
        let threads = fs::read_dir(format!("/proc/{process}/task")).map_err(|_| gone())?;
        // A thread that ends meanwhile is none of the processors', which live as long as the machine.
        let of = |thread: fs::DirEntry| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            name.starts_with("vcpu").then_some(())?;
            // The first number is the time on a processor of the host, in nanoseconds (Documentation/scheduler/sched-stats.rst).
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split(' ').next()?.parse::<u64>().ok()
        };
        let nanoseconds: u64 = threads.flatten().filter_map(of).sum();
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// `IVMAccountant::CPUUtilization`: how much of the host's processors the machine's use, in percent: all of them are 100. It is measured
    /// over the tenth of a second that this call takes.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn cpu_utilization(&self) -> Result<u32> {
        let (before, start) = (self.cpu_time()?, Instant::now());
        std::thread::sleep(SAMPLE);
        let used = self.cpu_time()?.saturating_sub(before);
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let share = used.as_secs_f64() / start.elapsed().as_secs_f64() / processors as f64;
        Ok((share * 100.0).round().clamp(0.0, 100.0) as u32)
    }

    /// `IVMAccountant::NetworkBytesReceived`: bytes that its network adapters have received: it has none.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn network_bytes_received(&self) -> Result<u64> {
        self.up_time().map(|_| 0)
    }

    /// `IVMAccountant::NetworkBytesSent`: bytes that its network adapters have sent: it has none.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn network_bytes_sent(&self) -> Result<u64> {
        self.up_time().map(|_| 0)
    }
}

fn not_running(error: &Error) -> Error {
    Error::new(hresult::S_FALSE, error.cause())
}
