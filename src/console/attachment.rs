// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way in: from the far end to a port, in an event loop.

use super::backend::{Input, Received};
use crate::host::{AsSource, Notifier, Source, Subscriber};
use devices::bus::lock;
use std::sync::{Arc, Mutex};

/// Takes characters from a far end.
pub trait Receiver: Send {
    /// Takes as many of `bytes` as there is room for and says how many. After it took less than all, it tells when there is room
    /// again, by the means that it was made with.
    fn receive(&mut self, bytes: &[u8]) -> usize;
}

/// Bytes taken from the far end at a time. What a port has no room for stays here, and everything after it in the far end.
const CHUNK: usize = 64;

/// What a person can type ahead while the guest reads nothing.
const TYPE_AHEAD: usize = 4096;

/// Reads in one turn of the event loop, so that a busy far end leaves time for others.
const TURNS: usize = 16;

/// Feeds an [`Input`] to a [`Receiver`]. It is for the event loop of the machine's I/O thread.
pub struct Attachment {
    receiver: Arc<Mutex<dyn Receiver>>,
    input: Box<dyn Input>,
    /// Raised by the receiver when there is room again.
    room: Arc<Notifier>,
    quit: Box<dyn FnMut() + Send>,
    /// What was read and not yet taken: a chunk, or what was typed ahead.
    pending: Vec<u8>,
    phase: Phase,
}

/// What the event loop waits for on the far end's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for room.
    Idle,
    /// Waiting for input.
    Watching,
    /// Nothing will come any more.
    Ended,
}

impl Attachment {
    /// Joins `input` to `receiver`, which raises `room`. `quit` is called in the event loop when the user asks to end the machine.
    pub fn new(
        input: Box<dyn Input>,
        receiver: Arc<Mutex<dyn Receiver>>,
        room: Arc<Notifier>,
        quit: impl FnMut() + Send + 'static,
    ) -> Self {
        Self {
            receiver,
            input,
            room,
            quit: Box::new(quit),
            pending: Vec::with_capacity(CHUNK),
            phase: Phase::Watching,
        }
    }

    /// Moves what is there, and waits for more or for room.
    fn serve(&mut self) {
        for _ in 0..TURNS {
            if !self.deliver() && !self.input.interactive() {
                self.phase = Phase::Idle;
                return;
            }
            let mut buffer = [0; CHUNK];
            match self.input.read(&mut buffer) {
                Ok(Received::Bytes(count)) => {
                    let room = TYPE_AHEAD.saturating_sub(self.pending.len());
                    self.pending.extend(buffer.iter().take(count.min(room)));
                }
                Ok(Received::Nothing) => break,
                Ok(Received::Quit) => (self.quit)(),
                Ok(Received::End) => {
                    self.phase = Phase::Ended;
                    return;
                }
                Err(error) => {
                    log::warn!("console input ends: {error}");
                    self.phase = Phase::Ended;
                    return;
                }
            }
        }
        self.phase = if self.deliver() || self.input.interactive() {
            Phase::Watching
        } else {
            Phase::Idle
        };
    }

    /// Hands on what is pending; `false` if the receiver has no room for it.
    fn deliver(&mut self) -> bool {
        if !self.pending.is_empty() {
            let taken = lock(&self.receiver).receive(&self.pending);
            self.pending.drain(..taken.min(self.pending.len()));
        }
        self.pending.is_empty()
    }
}

/// The places of the sources.
const ROOM: usize = 0;

impl Subscriber for Attachment {
    fn sources(&self) -> Vec<Source<'_>> {
        let mut sources = vec![self.room.as_source()];
        if self.phase == Phase::Watching {
            sources.push(self.input.as_source());
        }
        sources
    }

    fn ready(&mut self, index: usize) {
        let room = index == ROOM;
        if room {
            self.room.clear();
        }
        match self.phase {
            Phase::Idle if !room => {}
            Phase::Idle | Phase::Watching => self.serve(),
            // The last of what was typed ahead.
            Phase::Ended => {
                self.deliver();
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
