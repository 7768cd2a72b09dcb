// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The machine's event loop: one thread that brings what comes from outside (terminals, sockets) to the ports.

use crate::console::Attachment;
use crate::host::{EventLoop as HostLoop, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The event loop. Dropping it ends the thread and closes what it watched.
pub struct EventLoop {
    waker: Waker<Attachment>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EventLoop {
    /// Starts the thread, if there is anything to watch.
    pub fn start(attachments: Vec<Attachment>) -> io::Result<Option<Self>> {
        if attachments.is_empty() {
            return Ok(None);
        }
        let mut inner = HostLoop::new(attachments)?;
        let waker = inner.waker();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let serve = move || {
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = inner.run(None) {
                    log::error!("input from outside has ended: {error}");
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("events".into()).spawn(serve)?;
        Ok(Some(Self {
            waker,
            stop,
            thread: Some(thread),
        }))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
