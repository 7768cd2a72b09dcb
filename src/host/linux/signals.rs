// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that ask the process to end.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// From now on SIGINT, SIGTERM and SIGHUP do not end the process: `handler` is called with their number, on a thread of its own.
pub fn on_end(mut handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                handler(signal);
            }
        })?;
    Ok(())
}

/// From now on SIGINT and SIGTERM raise `flag` and do not end the process.
pub fn raise_on_end(flag: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}
