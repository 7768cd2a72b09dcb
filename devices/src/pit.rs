// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Intel 8254 programmable interval timer of a PC: three channels at 1,193,182 Hz. Channel 0 drives IRQ 0, channel 1 once timed
//! the memory refresh, channel 2 makes the tone of the speaker and is gated by port 61h.
//!
//! Every channel is a function of the tick counter (module `channel`): nothing runs between accesses. Only channel 0 has a [`Timer`],
//! armed for its next rising edge. Deadlines come from tick counts, so they do not drift.
//!
//! # When the host is late
//!
//! Guests count the edges of channel 0 to keep the time of day, but several edges at once are one to an interrupt controller. So edges
//! that came due while the host looked elsewhere are made up for one by one, in the middle between the regular ones: the guest's clock
//! catches up at double speed. At most [`CATCH_UP_LIMIT`] edges are owed at any time, older ones are lost; a guest that reprograms the
//! channel is owed nothing. Edges are never closer than [`SHORTEST_WAIT`], whatever count the guest programs.

mod channel;
mod snapshot;
mod spec;

use crate::bus::Device;
use crate::clock::{self, Clock, Nanos, Timed, Timer};
use crate::line::IrqLine;
use channel::Channel;
use serde::{Deserialize, Serialize};
use spec::{Command, Port};
use std::sync::Arc;

pub use spec::FREQUENCY;

/// Edges that a late host owes the guest at most.
pub const CATCH_UP_LIMIT: u64 = 32;
/// Least time between two edges of channel 0.
pub const SHORTEST_WAIT: Nanos = 25_000;

/// The timer chip. Base 0 is port 40h.
pub struct Pit {
    // Dependencies.
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    irq: IrqLine,
    // Book-keeping.
    armed: Option<Nanos>,
    debt: Debt,
    // Volatile state.
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    channels: [Channel; 3],
}

/// Edges of channel 0 that came due and were not delivered.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Debt {
    edges: u64,
    /// When the last edge was delivered.
    last_edge: Option<Nanos>,
}

impl State {
    /// The 8254 has no reset input and comes up undefined. Here the channels wait for a control word with their outputs high, so that
    /// programming them makes no edge. Gates 0 and 1 are tied high; gate 2 is low, as port 61h is after reset.
    fn new(tick: u64) -> Self {
        Self {
            channels: [true, true, false].map(|gate| Channel::new(gate, tick)),
        }
    }
}

impl Pit {
    /// A timer whose channel 0 drives `irq`.
    pub fn new(clock: Arc<dyn Clock>, timer: Box<dyn Timer>, irq: IrqLine) -> Self {
        let state = State::new(clock::ticks(clock.now(), FREQUENCY));
        let mut pit = Self {
            clock,
            timer,
            irq,
            armed: None,
            debt: Debt::default(),
            state,
        };
        pit.update_outputs();
        pit
    }

    /// As after power-on.
    pub fn reset(&mut self) {
        self.state = State::new(self.tick());
        self.debt = Debt::default();
        self.update_outputs();
    }

    /// Drives the gate of channel 2 (port 61h bit 0).
    pub fn set_speaker_gate(&mut self, high: bool) {
        let tick = self.tick();
        let [_, _, channel] = &mut self.state.channels;
        channel.evaluate(tick);
        channel.set_gate(high, tick);
    }

    /// The output of channel 2 (port 61h bit 5).
    pub fn speaker_output(&mut self) -> bool {
        let tick = self.tick();
        let [_, _, channel] = &mut self.state.channels;
        channel.evaluate(tick);
        channel.output(tick)
    }

    fn tick(&self) -> u64 {
        clock::ticks(self.clock.now(), FREQUENCY)
    }

    /// Brings all channels up to the present and delivers the edges of channel 0.
    fn evaluate(&mut self) -> u64 {
        let tick = self.tick();
        let [interrupt, others @ ..] = &mut self.state.channels;
        let rises = interrupt.evaluate(tick);
        for channel in others {
            channel.evaluate(tick);
        }
        self.settle(rises);
        tick
    }

    /// Delivers one of the edges that are due, at most, and remembers the others.
    fn settle(&mut self, rises: u64) {
        let now = self.clock.now();
        let owed = if rises > 0 {
            rises
        } else if self.debt.edges > 0 && self.repayment().is_some_and(|at| at <= now) {
            self.debt.edges -= 1;
            1
        } else {
            return;
        };
        let [interrupt, ..] = &self.state.channels;
        let backlog = if interrupt.period().is_some() { owed - 1 } else { 0 };
        self.debt.edges = self.debt.edges.saturating_add(backlog).min(CATCH_UP_LIMIT);
        self.debt.last_edge = Some(now);
        self.irq.set(false);
        self.irq.set(true);
    }

    /// When an owed edge may be delivered: half a period after the last one.
    fn repayment(&self) -> Option<Nanos> {
        let [interrupt, ..] = &self.state.channels;
        let half = clock::ticks_to_nanos(interrupt.period()? / 2, FREQUENCY);
        Some(self.debt.last_edge?.saturating_add(half.max(SHORTEST_WAIT)))
    }

    /// Line and timer, from state.
    fn update_outputs(&mut self) {
        let tick = self.tick();
        let [interrupt, ..] = &self.state.channels;
        self.irq.set(interrupt.output(tick));
        let next = interrupt
            .next_rise(tick)
            .map(|rise| clock::ticks_to_nanos(rise, FREQUENCY));
        let owed = self.repayment().filter(|_| self.debt.edges > 0);
        let earliest = self
            .debt
            .last_edge
            .map_or(0, |last| last.saturating_add(SHORTEST_WAIT));
        let deadline = next
            .into_iter()
            .chain(owed)
            .min()
            .map(|deadline| deadline.max(earliest));
        if deadline != self.armed {
            match deadline {
                Some(deadline) => self.timer.arm(deadline),
                None => self.timer.disarm(),
            }
            self.armed = deadline;
        }
    }

    fn write_command(&mut self, value: u8, tick: u64) {
        match Command::decode(value) {
            Command::Program { channel, control } => {
                if let Some(channel) = self.state.channels.get_mut(channel) {
                    channel.program(control, tick);
                }
                self.forgive(channel);
            }
            Command::Latch { channel } => {
                if let Some(channel) = self.state.channels.get_mut(channel) {
                    channel.latch_count(tick);
                }
            }
            Command::ReadBack {
                channels,
                count,
                status,
            } => {
                for (channel, selected) in self.state.channels.iter_mut().zip(channels) {
                    if selected && count {
                        channel.latch_count(tick);
                    }
                    if selected && status {
                        channel.latch_status(tick);
                    }
                }
            }
        }
    }

    /// A guest that programs channel 0 starts to count anew.
    fn forgive(&mut self, channel: usize) {
        if channel == 0 {
            self.debt.edges = 0;
        }
    }
}

impl Device for Pit {
    fn read_byte(&mut self, offset: u64) -> u8 {
        let Some(Port::Counter(index)) = Port::from_offset(offset) else {
            // The command register is write-only.
            return 0xff;
        };
        let tick = self.evaluate();
        let value = self
            .state
            .channels
            .get_mut(index)
            .map_or(0xff, |channel| channel.read(tick));
        self.update_outputs();
        value
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let Some(port) = Port::from_offset(offset) else {
            return;
        };
        let tick = self.evaluate();
        match port {
            Port::Command => self.write_command(value, tick),
            Port::Counter(index) => {
                if let Some(channel) = self.state.channels.get_mut(index) {
                    channel.write(value, tick);
                }
                self.forgive(index);
            }
        }
        self.update_outputs();
    }
}

impl Timed for Pit {
    fn expire(&mut self) {
        self.armed = None;
        self.evaluate();
        self.update_outputs();
    }
}

#[cfg(test)]
mod tests;
