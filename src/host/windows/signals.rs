// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The console's signals: Ctrl-C, Ctrl-Break, and the end of the console, of the session or of the host.

use super::check;
use std::io;
use std::sync::{Mutex, PoisonError};
use windows_sys::Win32::System::Console::{
    CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

/// The numbers that exit codes are made from, as on other systems.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

type Handler = Box<dyn FnMut(i32) + Send>;

static HANDLERS: Mutex<Vec<Handler>> = Mutex::new(Vec::new());

/// Windows calls it on a thread of its own.
unsafe extern "system" fn on_event(event: u32) -> BOOL {
    let signal = if event == CTRL_C_EVENT { SIGINT } else { SIGTERM };
    for handler in HANDLERS.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
        handler(signal);
    }
    if matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT) {
        // The process is ended when this returns, or after some seconds: those are the machine's, to end cleanly.
        std::thread::park();
    }
    1
}

/// From now on the console's signals do not end the process: `handler` is called with the number that Unix has for them.
pub fn on_end(handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let mut handlers = HANDLERS.lock().unwrap_or_else(PoisonError::into_inner);
    if handlers.is_empty() {
        // SAFETY: the function stays for the life of the process, and calls nothing that a thread of its own may not.
        check(unsafe { SetConsoleCtrlHandler(Some(on_event), 1) })?;
    }
    handlers.push(Box::new(handler));
    Ok(())
}

/// As [`on_end`]: there is nothing here that a process was started to ignore.
pub fn on_stop(handler: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    on_end(handler)
}
