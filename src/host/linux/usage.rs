// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this process has used.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Processor time of all threads, the kernel's work for them included.
///
/// # Errors
/// What the host says.
pub fn processor_time() -> io::Result<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` has room for the result.
    check(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) })?;
    // SAFETY: it was zeroed, and the call succeeded.
    let time = unsafe { time.assume_init() };
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
}

/// The most memory that was resident, in bytes; zero if the host does not tell.
#[must_use]
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Bytes that a process has in memory, its share of what it shares with others, without mappings of `below` bytes and more; `None` if the
/// host does not tell.
#[must_use]
pub fn memory_of(process: u32, below: u64) -> Option<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
    let (mut total, mut size) = (0, 0);
    for line in maps.lines() {
        let bytes = |rest: &str| Some(rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10);
        if let Some(rest) = line.strip_prefix("Size:") {
            size = bytes(rest)?;
        } else if let Some(rest) = line.strip_prefix("Pss:")
            && size < below
        {
            total += bytes(rest)?;
        }
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let before = processor_time().unwrap();
        let mut sum = 0u64;
        while processor_time().unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(peak_memory() > 1 << 20);
    }

    #[test]
    fn large_mappings_can_be_left_out() {
        let all = memory_of(std::process::id(), u64::MAX).unwrap();
        let small = memory_of(std::process::id(), 1 << 20).unwrap();
        assert!(0 < small && small < all, "{small} {all}");
    }
}
