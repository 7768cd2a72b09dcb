// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that ask the process to end.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;

/// From now on SIGINT, SIGTERM and SIGHUP do not end the process: `handler` is called with their number, on a thread of its own.
pub fn on_end(handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    handle(&[SIGINT, SIGTERM, SIGHUP], handler)
}

/// As [`on_end`], but what the process was started to ignore it still ignores: whoever starts long work with `nohup`, or in the
/// background of a script, means that.
pub fn on_stop(handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let heeded: Vec<i32> = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|&signal| !is_ignored(signal))
        .collect();
    handle(&heeded, handler)
}

fn handle(signals: &[i32], mut handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                handler(signal);
            }
        })?;
    Ok(())
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` has room for what is told; nothing is changed.
    let told = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    told == 0 && action.sa_sigaction == libc::SIG_IGN
}
