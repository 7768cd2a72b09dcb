// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One channel of the 8254.
//!
//! A counter is known by its period, the tick at which it was loaded and its mode: level, count and edges follow by arithmetic.
//! A count that is written takes effect at a later tick ([`Load`]), so [`Channel::evaluate`] must see each access before the channel
//! does.

use super::spec::{Access, Control, Mode, Number, STATUS_NULL_COUNT, STATUS_OUTPUT};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// State of a channel.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    control: Control,
    gate: bool,
    /// The tick of the last evaluation.
    seen: u64,
    /// Count register: ticks that the last complete write stands for.
    count_register: u64,
    load: Load,
    counter: Counter,
    write: WriteState,
    /// The next byte that a read in [`Access::Both`] gives.
    next_read: Half,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

/// When the count register goes into the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Load {
    /// It has no count since the control word.
    Never,
    /// With the next rise of the gate.
    OnTrigger,
    /// At this tick.
    At { tick: u64, half: Half },
    /// It is there.
    Done,
}

/// Low or high byte of a count; first or second half of a square wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Half {
    First,
    Second,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum WriteState {
    /// The next byte begins a count.
    Idle,
    /// The low byte is here, the high byte is to come.
    Low(u8),
}

/// The counting element.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Counter {
    /// Stands at a count, with the output as the control word put it.
    Halted { count: u64 },
    /// `elapsed` ticks of `period` had passed at tick `since`.
    Counting { period: u64, since: u64, elapsed: u64 },
    /// The gate is low.
    Paused { period: u64, elapsed: u64 },
}

impl Channel {
    /// Refuses what no channel can be in.
    pub fn check(&self) -> Result<(), BadState> {
        let most = Number::Binary.modulus();
        let periods = [
            Some(self.count_register),
            match self.counter {
                Counter::Halted { .. } => None,
                Counter::Counting { period, .. } | Counter::Paused { period, .. } => Some(period),
            },
        ];
        let good = |period: u64| (1..=most).contains(&period);
        must(
            periods.into_iter().flatten().all(good),
            "a count that the 8254 does not have",
        )?;
        must(
            self.control.0 <= 0x3f,
            "a control word that the 8254 does not have",
        )
    }

    /// A channel that waits for its control word.
    pub fn new(gate: bool, tick: u64) -> Self {
        Self {
            control: Control::UNPROGRAMMED,
            gate,
            seen: tick,
            count_register: Number::Binary.modulus(),
            load: Load::Never,
            counter: Counter::Halted { count: 0 },
            write: WriteState::Idle,
            next_read: Half::First,
            latched_count: None,
            latched_status: None,
        }
    }

    /// Brings the channel from the last evaluation to `tick`; how often the output rose on the way.
    pub fn evaluate(&mut self, tick: u64) -> u64 {
        let (mut from, mut rises) = (self.seen, 0);
        if let Load::At { tick: at, half } = self.load
            && at <= tick
        {
            rises += self.counter.rises(self.mode(), from, at);
            from = at;
            self.counter = self.loaded(at, half);
            self.load = Load::Done;
        }
        rises += self.counter.rises(self.mode(), from, tick);
        self.seen = tick;
        rises
    }

    /// Level of the output at `tick`, up to which the channel was evaluated.
    pub fn output(&self, tick: u64) -> bool {
        let mode = self.mode();
        match self.counter {
            Counter::Halted { .. } => mode != Mode::InterruptOnTerminalCount,
            Counter::Paused { .. } if mode.periodic() => true,
            Counter::Paused { period, .. } | Counter::Counting { period, .. } => {
                mode.output(period, self.counter.elapsed(tick))
            }
        }
    }

    /// The first tick after `tick` at which the output rises by counting.
    pub fn next_rise(&self, tick: u64) -> Option<u64> {
        let mode = self.mode();
        let rise = self.counter.next_rise(mode, tick);
        match self.load {
            Load::At { tick: at, half } => rise
                .filter(|rise| *rise <= at)
                .or_else(|| self.loaded(at, half).next_rise(mode, at)),
            _ => rise,
        }
    }

    /// Ticks between two rises, in the periodic modes.
    pub fn period(&self) -> Option<u64> {
        match self.counter {
            Counter::Counting { period, .. } if self.mode().periodic() => Some(period),
            _ => None,
        }
    }

    /// A control word: the output goes to its first level at once, counting waits for a count.
    pub fn program(&mut self, control: Control, tick: u64) {
        let count = self.count(tick);
        *self = Self {
            control,
            counter: Counter::Halted { count },
            ..Self::new(self.gate, tick)
        };
    }

    /// Drives the gate.
    pub fn set_gate(&mut self, high: bool, tick: u64) {
        if self.gate == high {
            return;
        }
        self.gate = high;
        let mode = self.mode();
        if mode.triggered() {
            if high && self.load != Load::Never {
                self.load_next(tick);
            }
        } else if high && mode.periodic() {
            if self.load != Load::Never {
                self.load_next(tick);
            }
        } else if high {
            if let Counter::Paused { period, elapsed } = self.counter {
                self.counter = Counter::Counting {
                    period,
                    since: tick,
                    elapsed,
                };
            }
        } else {
            if let Counter::Counting { period, .. } = self.counter {
                self.counter = Counter::Paused {
                    period,
                    elapsed: self.counter.elapsed(tick),
                };
            }
            // A periodic counter is loaded anew by the rise of its gate, whatever waits to be loaded.
            if mode.periodic() && matches!(self.load, Load::At { .. }) {
                self.load = Load::OnTrigger;
            }
        }
    }

    /// A byte to the data port.
    pub fn write(&mut self, value: u8, tick: u64) {
        let access = self.control.access();
        let count = match (access, self.write) {
            (Access::Low, _) => value.into(),
            (Access::High, _) => u16::from(value) << 8,
            (Access::Both, WriteState::Low(low)) => u16::from_le_bytes([low, value]),
            (Access::Both, WriteState::Idle) => {
                self.write = WriteState::Low(value);
                if self.mode() == Mode::InterruptOnTerminalCount {
                    self.halt(tick);
                }
                return;
            }
        };
        self.write = WriteState::Idle;
        self.count_register = self.control.number().decode(count);
        self.schedule_load(tick);
    }

    /// A count is complete: when does it go to work?
    fn schedule_load(&mut self, tick: u64) {
        let mode = self.mode();
        match mode {
            Mode::OneShot | Mode::HardwareStrobe => self.load = Load::OnTrigger,
            Mode::InterruptOnTerminalCount => {
                self.halt(tick);
                self.load_next(tick);
            }
            Mode::SoftwareStrobe => self.load_next(tick),
            Mode::RateGenerator | Mode::SquareWave => match (self.counter, self.load) {
                _ if !self.gate => self.load = Load::OnTrigger,
                // The old count was not even loaded: the new one takes its place.
                (_, Load::At { .. }) => {}
                (Counter::Counting { period, .. }, _) => {
                    let position = self.counter.elapsed(tick) % period;
                    let (end, half) = match mode {
                        Mode::SquareWave if position < first_half(period) => {
                            (first_half(period), Half::Second)
                        }
                        _ => (period, Half::First),
                    };
                    self.load = Load::At {
                        tick: tick.saturating_add(end - position),
                        half,
                    };
                }
                _ => self.load_next(tick),
            },
        }
    }

    fn load_next(&mut self, tick: u64) {
        self.load = Load::At {
            tick: tick.saturating_add(1),
            half: Half::First,
        };
    }

    fn halt(&mut self, tick: u64) {
        self.counter = Counter::Halted {
            count: self.count(tick),
        };
        self.load = Load::Never;
    }

    /// The counter as it is when the count register goes into it at tick `since`.
    fn loaded(&self, since: u64, half: Half) -> Counter {
        let period = self.count_register;
        let elapsed = match half {
            Half::First => 0,
            Half::Second => first_half(period),
        };
        if self.gate || self.mode().triggered() {
            Counter::Counting {
                period,
                since,
                elapsed,
            }
        } else {
            Counter::Paused { period, elapsed }
        }
    }

    fn mode(&self) -> Mode {
        self.control.mode()
    }

    /// The counting element.
    fn count(&self, tick: u64) -> u64 {
        match self.counter {
            Counter::Halted { count } => count,
            Counter::Counting { period, .. } | Counter::Paused { period, .. } => self.mode().count(
                period,
                self.counter.elapsed(tick),
                self.control.number().modulus(),
            ),
        }
    }

    /// Latches the count, unless a latched one is still unread.
    pub fn latch_count(&mut self, tick: u64) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.control.number().encode(self.count(tick)));
        }
    }

    /// Latches the status, unless a latched one is still unread.
    pub fn latch_status(&mut self, tick: u64) {
        if self.latched_status.is_some() {
            return;
        }
        let mut status = self.control.0;
        if self.output(tick) {
            status |= STATUS_OUTPUT;
        }
        if self.load != Load::Done {
            status |= STATUS_NULL_COUNT;
        }
        self.latched_status = Some(status);
    }

    /// A byte from the data port: latched status, latched count, or the count as it runs.
    pub fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let count = self
            .latched_count
            .unwrap_or_else(|| self.control.number().encode(self.count(tick)));
        let [low, high] = count.to_le_bytes();
        let (value, last) = match (self.control.access(), self.next_read) {
            (Access::Low, _) => (low, true),
            (Access::High, _) => (high, true),
            (Access::Both, Half::First) => {
                self.next_read = Half::Second;
                (low, false)
            }
            (Access::Both, Half::Second) => {
                self.next_read = Half::First;
                (high, true)
            }
        };
        if last {
            self.latched_count = None;
        }
        value
    }
}

/// Ticks for which a square wave is high.
fn first_half(period: u64) -> u64 {
    period.div_ceil(2)
}

impl Counter {
    /// Ticks since the load.
    fn elapsed(self, tick: u64) -> u64 {
        match self {
            Self::Halted { .. } => 0,
            Self::Paused { elapsed, .. } => elapsed,
            Self::Counting { since, elapsed, .. } => elapsed.saturating_add(tick.saturating_sub(since)),
        }
    }

    /// Rises of the output in the ticks after `from` up to and with `to`.
    fn rises(self, mode: Mode, from: u64, to: u64) -> u64 {
        let Self::Counting { period, .. } = self else {
            return 0;
        };
        mode.rises(period, self.elapsed(to))
            .saturating_sub(mode.rises(period, self.elapsed(from)))
    }

    fn next_rise(self, mode: Mode, tick: u64) -> Option<u64> {
        let Self::Counting { period, .. } = self else {
            return None;
        };
        let elapsed = self.elapsed(tick);
        let rise = mode.next_rise(period, elapsed)?;
        tick.checked_add(rise - elapsed)
    }
}

/// The wave forms: functions of the period and of the ticks since the load.
impl Mode {
    fn output(self, period: u64, elapsed: u64) -> bool {
        match self {
            Self::InterruptOnTerminalCount | Self::OneShot => elapsed >= period,
            Self::RateGenerator => elapsed % period != period - 1,
            Self::SquareWave => elapsed % period < first_half(period),
            Self::SoftwareStrobe | Self::HardwareStrobe => elapsed != period,
        }
    }

    fn count(self, period: u64, elapsed: u64, modulus: u64) -> u64 {
        match self {
            Self::RateGenerator => period - elapsed % period,
            Self::SquareWave => {
                // Counts by two, down from an even number, in each half.
                let position = elapsed % period;
                let even = period & !1;
                even - 2 * (position % first_half(period).max(1)).min(even / 2)
            }
            _ => (period + modulus - elapsed % modulus) % modulus,
        }
    }

    /// Rises from the load up to and with tick `elapsed`.
    fn rises(self, period: u64, elapsed: u64) -> u64 {
        match self {
            Self::InterruptOnTerminalCount | Self::OneShot => (elapsed >= period).into(),
            // A period of 1 is illegal: the output does not move.
            Self::RateGenerator | Self::SquareWave if period == 1 => 0,
            Self::RateGenerator | Self::SquareWave => elapsed / period,
            Self::SoftwareStrobe | Self::HardwareStrobe => (elapsed > period).into(),
        }
    }

    /// The first rise after tick `elapsed`.
    fn next_rise(self, period: u64, elapsed: u64) -> Option<u64> {
        match self {
            Self::InterruptOnTerminalCount | Self::OneShot => Some(period),
            Self::RateGenerator | Self::SquareWave if period == 1 => None,
            Self::RateGenerator | Self::SquareWave => (elapsed / period + 1).checked_mul(period),
            Self::SoftwareStrobe | Self::HardwareStrobe => Some(period + 1),
        }
        .filter(|rise| *rise > elapsed)
    }
}
