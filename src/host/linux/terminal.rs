// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Raw mode of the terminal that the program was started on, and the ways back.
//!
//! A terminal that is left raw is useless to its user, so the old mode comes back on each way out: when the guard is dropped, in the
//! panic hook (before a panic aborts), and in handlers of the signals that end a process. The handlers do not get in the way of
//! anyone who handles such a signal himself: they are put in only where the default action stood, and they end in it.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Signals by which others end a process. After the terminal is restored the signal is raised again.
const ENDING: [libc::c_int; 5] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGABRT,
];

/// Faults. After the terminal is restored the instruction faults again, into the handler that was there before (the standard
/// library's, which tells of stack overflows).
const FAULTS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// The terminal that is raw now, for handlers; null if none is. What it points to is never freed, because a handler on another
/// thread may be reading it: one such block stays behind each time a terminal is taken.
static TAKEN: AtomicPtr<Taken> = AtomicPtr::new(ptr::null_mut());

/// What handlers need.
struct Taken {
    terminal: OwnedFd,
    before: libc::termios,
    raw: libc::termios,
}

/// While it lives, a terminal is raw. Output processing stays on, so that log lines begin at the left margin.
#[derive(Debug)]
pub struct RawMode(&'static TakenRef);

/// Hides the settings from `Debug`.
struct TakenRef(Taken);

impl std::fmt::Debug for TakenRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.terminal.fmt(f)
    }
}

impl RawMode {
    /// Takes `terminal`. There can be one at a time.
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let before = get(terminal)?;
        let mut raw = before;
        // SAFETY: `raw` is a valid `termios`, which is all that `cfmakeraw` touches.
        unsafe { libc::cfmakeraw(&mut raw) };
        raw.c_oflag = before.c_oflag;
        let taken: &'static TakenRef = Box::leak(Box::new(TakenRef(Taken {
            terminal: terminal.try_clone_to_owned()?,
            before,
            raw,
        })));
        install();
        let pointer = ptr::from_ref(&taken.0).cast_mut();
        TAKEN
            .compare_exchange(ptr::null_mut(), pointer, Ordering::AcqRel, Ordering::Relaxed)
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "a terminal is in raw mode already"))?;
        let guard = Self(taken);
        set(terminal, &taken.0.raw)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let taken = &self.0.0;
        // The terminal may be gone, and then there is nothing to restore.
        let _ = set(taken.terminal.as_fd(), &taken.before);
        TAKEN.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Makes a terminal raw for good: for the far end of a pseudo-terminal, which is a plain wire.
pub(super) fn make_raw(terminal: &impl AsFd) -> io::Result<()> {
    let mut mode = get(terminal.as_fd())?;
    // SAFETY: `mode` is a valid `termios`, which is all that `cfmakeraw` touches.
    unsafe { libc::cfmakeraw(&mut mode) };
    set(terminal.as_fd(), &mode)
}

fn get(terminal: BorrowedFd<'_>) -> io::Result<libc::termios> {
    let mut mode = MaybeUninit::uninit();
    // SAFETY: `mode` has room for a `termios`, and the descriptor is open.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), mode.as_mut_ptr()) })?;
    // SAFETY: `tcgetattr` succeeded, so it filled `mode`.
    Ok(unsafe { mode.assume_init() })
}

/// Safe in signal handlers, as `tcsetattr` is.
fn set(terminal: BorrowedFd<'_>, mode: &libc::termios) -> io::Result<()> {
    // SAFETY: `mode` is a valid `termios`, and the descriptor is open.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, mode) }).map(drop)
}

fn taken() -> Option<&'static Taken> {
    // SAFETY: the pointer is null or leads to a block that is never freed nor changed.
    unsafe { TAKEN.load(Ordering::Acquire).as_ref() }
}

/// Puts the old mode back, without taking the terminal from its guard. Safe in signal handlers.
fn restore() {
    if let Some(taken) = taken() {
        let _ = set(taken.terminal.as_fd(), &taken.before);
    }
}

/// Puts the panic hook and the signal handlers in, once in a process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            next(info);
        }));
        for signal in ENDING {
            handle_default(signal, on_end);
        }
        for signal in FAULTS {
            handle_fault(signal);
        }
        // A shell takes the terminal back while a job is stopped; when the job goes on, it is raw again.
        handle_default(libc::SIGCONT, on_continue);
    });
}

extern "C" fn on_end(signal: libc::c_int) {
    restore();
    set_default(signal);
    // SAFETY: takes no pointers and is safe in signal handlers. The handler allows its own signal (SA_NODEFER), so the default action
    // happens at once.
    unsafe { libc::raise(signal) };
}

extern "C" fn on_continue(_signal: libc::c_int) {
    if let Some(taken) = taken() {
        let _ = set(taken.terminal.as_fd(), &taken.raw);
    }
}

/// What handled a fault before; null while there is no handler of ours.
static FAULT_BEFORE: [AtomicPtr<libc::sigaction>; FAULTS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; FAULTS.len()];

extern "C" fn on_fault(signal: libc::c_int) {
    restore();
    let before = FAULTS
        .iter()
        .position(|fault| *fault == signal)
        .map_or(ptr::null_mut(), |at| FAULT_BEFORE[at].load(Ordering::Acquire));
    if before.is_null() {
        set_default(signal);
    } else {
        // SAFETY: `before` leads to a `sigaction` that is never freed; `sigaction` is safe in signal handlers.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    }
}

fn action(handler: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask and the default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_NODEFER | libc::SA_ONSTACK | libc::SA_RESTART;
    action
}

/// Safe in signal handlers.
fn set_default(signal: libc::c_int) {
    // SAFETY: the action is valid, and the old one is not asked for.
    unsafe { libc::sigaction(signal, &action(libc::SIG_DFL), ptr::null_mut()) };
}

/// Handles `signal` unless someone else does.
fn handle_default(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    let mut before = action(libc::SIG_DFL);
    // SAFETY: `before` has room for the action; nothing is changed.
    unsafe { libc::sigaction(signal, ptr::null(), &mut before) };
    if before.sa_sigaction == libc::SIG_DFL {
        let ours = action(handler as *const () as libc::sighandler_t);
        // SAFETY: the handler only calls functions that are safe in signal handlers.
        unsafe { libc::sigaction(signal, &ours, ptr::null_mut()) };
    }
}

fn handle_fault(signal: libc::c_int) {
    let Some(slot) = FAULTS
        .iter()
        .position(|fault| *fault == signal)
        .map(|at| &FAULT_BEFORE[at])
    else {
        return;
    };
    // Never freed: a fault may come at any time. There is one for each kind of fault.
    let before = Box::leak(Box::new(action(libc::SIG_DFL)));
    // SAFETY: `before` has room for the action; nothing is changed.
    unsafe { libc::sigaction(signal, ptr::null(), before) };
    slot.store(before, Ordering::Release);
    let ours = action(on_fault as *const () as libc::sighandler_t);
    // SAFETY: the handler only calls functions that are safe in signal handlers.
    unsafe { libc::sigaction(signal, &ours, ptr::null_mut()) };
}

#[cfg(test)]
mod tests;
