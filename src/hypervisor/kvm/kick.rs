// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Getting a processor out of `KVM_RUN`.
//!
//! A signal to the thread ends a running `KVM_RUN`, but one that arrives just before the call would be lost. So its handler
//! sets `immediate_exit` in the processor's shared page: then the call returns at once, whenever the signal came.

use super::super::{Error, Kick, Result};
use std::cell::Cell;
use std::ptr;
use std::sync::Once;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

thread_local! {
    /// `immediate_exit` of the processor that this thread runs. A constant initialiser and no destructor: safe to use in a
    /// signal handler.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let flag = IMMEDIATE_EXIT.get();
    if !flag.is_null() {
        // SAFETY: `attach` set the pointer to a byte of the shared page of this thread's processor, and `Attachment` clears it before
        // the page is unmapped. A byte store is atomic, and the kernel reads it at any time.
        unsafe { ptr::write_volatile(flag, 1) };
    }
}

/// A processor thread that can be kicked.
struct Thread(libc::pthread_t);

impl Kick for Thread {
    fn kick(&self) {
        // SAFETY: the machine joins its processor threads only after it has dropped their kicks, so the thread's handle is valid.
        unsafe { libc::pthread_kill(self.0, SIGRTMIN()) };
    }
}

/// Makes the calling thread kickable; `immediate_exit` must stay valid until [`detach`] is called on this thread.
pub(super) fn attach(immediate_exit: *mut u8) -> Result<Box<dyn Kick>> {
    static HANDLER: Once = Once::new();
    let mut registered = Ok(());
    HANDLER.call_once(|| registered = register_signal_handler(SIGRTMIN(), on_kick));
    registered.map_err(|error| Error::Call {
        call: "sigaction",
        source: error.into(),
    })?;
    IMMEDIATE_EXIT.set(immediate_exit);
    // SAFETY: no precondition.
    Ok(Box::new(Thread(unsafe { libc::pthread_self() })))
}

/// The calling thread runs this processor no more.
pub(super) fn detach(immediate_exit: *mut u8) {
    if IMMEDIATE_EXIT.get() == immediate_exit {
        IMMEDIATE_EXIT.set(ptr::null_mut());
    }
}
