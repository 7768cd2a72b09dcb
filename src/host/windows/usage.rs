// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this process has used.

use super::check;
use std::io;
use std::mem::size_of;
use std::time::Duration;
use windows_sys::Win32::Foundation::{FILETIME, HANDLE};
use windows_sys::Win32::System::ProcessStatus::{GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessTimes};

/// Processor time of all threads, the kernel's work for them included.
///
/// # Errors
/// What the host says.
pub fn processor_time() -> io::Result<Duration> {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    let process = this_process();
    // SAFETY: the handle stands for this process, and all results have room.
    check(unsafe { GetProcessTimes(process, &mut created, &mut ended, &mut kernel, &mut user) })?;
    // In units of 100 ns.
    let units = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Ok(Duration::from_nanos(
        (units(kernel) + units(user)).saturating_mul(100),
    ))
}

/// The most memory that was resident, in bytes; zero if the host does not tell.
#[must_use]
pub fn peak_memory() -> u64 {
    let size = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut counters = PROCESS_MEMORY_COUNTERS {
        cb: size,
        ..Default::default()
    };
    // SAFETY: the handle stands for this process, and the result has room for `size` bytes.
    match check(unsafe { GetProcessMemoryInfo(this_process(), &mut counters, size) }) {
        Ok(()) => counters.PeakWorkingSetSize as u64,
        Err(_) => 0,
    }
}

fn this_process() -> HANDLE {
    // SAFETY: takes nothing; the handle is a constant that needs no closing.
    unsafe { GetCurrentProcess() }
}

/// This host does not tell what of a process is which mapping's.
#[must_use]
pub fn memory_of(_process: u32, _below: u64) -> Option<u64> {
    None
}
