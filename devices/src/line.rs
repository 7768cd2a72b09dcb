// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupt wires.
//!
//! A [`Wire`] leads to one input of the interrupt controllers; any number of chips may drive it, each through an [`IrqLine`] of its
//! own. The input sees the OR of all drivers, as PCI and chained ISA lines do, and is told only of changes.

use crate::bus::lock;
use std::sync::{Arc, Mutex};

/// The far end of a wire: an input of an interrupt controller.
pub trait LineSink: Send + Sync {
    /// The wire changed its level.
    fn set_level(&self, high: bool);
}

impl<F: Fn(bool) + Send + Sync> LineSink for F {
    fn set_level(&self, high: bool) {
        self(high);
    }
}

/// A wire to one interrupt input.
#[derive(Clone)]
pub struct Wire(Arc<Shared>);

struct Shared {
    /// How many drivers pull the wire up. Held while the sink is called, so that the sink sees changes in their order.
    drivers: Mutex<u32>,
    sink: Box<dyn LineSink>,
}

impl Wire {
    /// A wire at low level that ends in `sink`.
    pub fn new(sink: impl LineSink + 'static) -> Self {
        Self(Arc::new(Shared {
            drivers: Mutex::new(0),
            sink: Box::new(sink),
        }))
    }

    /// One more driver on this wire, at low level.
    pub fn driver(&self) -> IrqLine {
        IrqLine {
            wire: Some(self.clone()),
            high: false,
        }
    }

    /// The level that the sink sees.
    pub fn level(&self) -> bool {
        *lock(&self.0.drivers) > 0
    }

    fn change(&self, high: bool, tell: bool) {
        let mut drivers = lock(&self.0.drivers);
        let before = *drivers > 0;
        *drivers = if high {
            drivers.saturating_add(1)
        } else {
            drivers.saturating_sub(1)
        };
        let after = *drivers > 0;
        if tell && before != after {
            self.0.sink.set_level(after);
        }
    }
}

/// A chip's interrupt output. Dropping it lets go of the wire.
pub struct IrqLine {
    wire: Option<Wire>,
    high: bool,
}

impl IrqLine {
    /// An output that leads nowhere.
    pub fn detached() -> Self {
        Self {
            wire: None,
            high: false,
        }
    }

    /// Drives the wire high or low. Repeating a level does nothing.
    pub fn set(&mut self, high: bool) {
        self.drive(high, true);
    }

    /// Low, high, low: one edge for an edge-triggered input.
    pub fn pulse(&mut self) {
        self.set(false);
        self.set(true);
        self.set(false);
    }

    /// Sets the level of a restored machine: the controllers' own state already knows of it, so no edge is made.
    pub fn restore(&mut self, high: bool) {
        self.drive(high, false);
    }

    /// The level this output drives.
    pub fn level(&self) -> bool {
        self.high
    }

    fn drive(&mut self, high: bool, tell: bool) {
        if self.high != high {
            self.high = high;
            if let Some(wire) = &self.wire {
                wire.change(high, tell);
            }
        }
    }
}

impl Drop for IrqLine {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> (Wire, Arc<Mutex<Vec<bool>>>) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        (Wire::new(move |high| lock(&sink).push(high)), log)
    }

    #[test]
    fn a_shared_wire_is_the_or_of_its_drivers() {
        let (wire, log) = recorded();
        let (mut a, mut b) = (wire.driver(), wire.driver());
        a.set(true);
        b.set(true);
        b.set(true);
        a.set(false);
        assert_eq!(*lock(&log), [true]);
        b.set(false);
        assert_eq!(*lock(&log), [true, false]);
    }

    #[test]
    fn restore_makes_no_edge() {
        let (wire, log) = recorded();
        let mut a = wire.driver();
        a.restore(true);
        assert!(lock(&log).is_empty());
        assert!(wire.level());
        a.set(false);
        assert_eq!(*lock(&log), [false]);
    }

    #[test]
    fn a_dropped_driver_lets_go() {
        let (wire, log) = recorded();
        let mut a = wire.driver();
        a.set(true);
        drop(a);
        assert_eq!(*lock(&log), [true, false]);
    }

    #[test]
    fn a_pulse_is_one_edge() {
        let (wire, log) = recorded();
        wire.driver().pulse();
        assert_eq!(*lock(&log), [true, false]);
    }
}
