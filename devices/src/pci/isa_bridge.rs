// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ISA bridge of the PIIX4 (82371AB), function 0: it routes the four PCI interrupt wires to ISA interrupts.
//!
//! The wires are OR-ed with whatever else drives the interrupt, and follow the route registers 60h–63h (82371AB data sheet, 4.1.10) when
//! software changes them.

use super::Function;
use super::config::{ConfigSpace, Identity, reg};
use crate::bus::{Device, lock};
use crate::line::{IrqLine, Wire};
use std::sync::{Arc, Mutex};

/// First of the route registers PIRQRCA to PIRQRCD.
const PIRQ_ROUTE: usize = 0x60;
/// The wire is not routed.
const NOT_ROUTED: u8 = 0x80;
const WIRES: usize = 4;
/// ISA interrupts that a PCI wire may be routed to (the others are reserved).
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// The four PCI interrupt wires and where they lead.
struct Router {
    /// The drivers of this bridge on the sixteen ISA interrupts, one a PCI wire.
    isa: [Vec<IrqLine>; WIRES],
    route: [Option<usize>; WIRES],
    high: [bool; WIRES],
}

impl Router {
    fn drive(&mut self, wire: usize) {
        let (route, high) = (self.route[wire], self.high[wire]);
        for (irq, line) in self.isa[wire].iter_mut().enumerate() {
            line.set(high && route == Some(irq));
        }
    }

    fn set_level(&mut self, wire: usize, high: bool) {
        self.high[wire] = high;
        self.drive(wire);
    }

    fn set_route(&mut self, wire: usize, register: u8) {
        let irq = register & 0xf;
        let routed = register & NOT_ROUTED == 0 && ROUTABLE & 1 << irq != 0;
        self.route[wire] = routed.then_some(usize::from(irq));
        self.drive(wire);
    }
}

/// The ISA bridge.
pub struct IsaBridge {
    router: Arc<Mutex<Router>>,
    wires: [Wire; WIRES],
    config: ConfigSpace,
}

impl IsaBridge {
    /// A bridge in front of the sixteen ISA interrupts `isa`.
    pub fn new(isa: &[Wire; 16]) -> Self {
        let router = Arc::new(Mutex::new(Router {
            isa: std::array::from_fn(|_| isa.iter().map(Wire::driver).collect()),
            route: [None; WIRES],
            high: [false; WIRES],
        }));
        let wires = std::array::from_fn(|wire| {
            let router = router.clone();
            Wire::new(move |high| lock(&router).set_level(wire, high))
        });
        Self {
            router,
            wires,
            config: power_on(),
        }
    }

    /// The interrupt output for `pin` (1 = INTA#) of a device. Boards turn the wires by one a slot, so that devices with one pin spread
    /// over all four.
    pub fn interrupt(&self, device: u8, pin: u8) -> IrqLine {
        self.wires[Self::wire_of(device, pin)].driver()
    }

    /// The number of the wire (0 = PIRQA#) that `pin` (1 = INTA#) of a device drives: firmware and ACPI tables must say the same.
    pub fn wire_of(device: u8, pin: u8) -> usize {
        (usize::from(device) + WIRES - 1 + usize::from(pin.max(1)) - 1) % WIRES
    }

    /// Back to power-on: nothing is routed.
    pub fn reset(&mut self) {
        self.config = power_on();
        self.apply_routes();
    }

    fn apply_routes(&mut self) {
        let mut router = lock(&self.router);
        for wire in 0..WIRES {
            router.set_route(wire, self.config.u8(PIRQ_ROUTE + wire));
        }
    }
}

fn power_on() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7110,
        revision: 2,
        class: 0x06_01_00,
        multifunction: true,
        ..Identity::default()
    });
    // The bridge is always on: command bits 0 to 3 read as ones.
    config.set_u16(reg::COMMAND, 0x000f);
    config.set_u16(reg::STATUS, 0x0280);
    config.allow(PIRQ_ROUTE, &[0x8f; WIRES]);
    for wire in 0..WIRES {
        config.set_u8(PIRQ_ROUTE + wire, NOT_ROUTED);
    }
    // ISA recovery timer, X-bus chip selects, serial interrupts, top of memory, general configuration, real-time clock: kept.
    for (offset, mask) in [
        (0x4c, &[0xff][..]),
        (0x4e, &[0xff, 0x07]),
        (0x64, &[0xff]),
        (0x69, &[0xfe]),
        (0x6a, &[0xff, 0x80]),
        (0x70, &[0xcf, 0xcf]),
        (0x82, &[0x0f]),
        (0xb0, &[0xff; 4]),
        (0xcb, &[0x3d]),
    ] {
        config.allow(offset, mask);
    }
    config.set_u8(0x4c, 0x4d);
    config.set_u8(0x4e, 0x03);
    config.set_u8(0x69, 0x02);
    config.set_u8(0x82, 0x02);
    config.set_u8(0xcb, 0x21);
    config
}

impl Device for IsaBridge {}

impl Function for IsaBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        if offset < PIRQ_ROUTE + WIRES && offset.saturating_add(len) > PIRQ_ROUTE {
            self.apply_routes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bridge: &mut IsaBridge, offset: usize, data: &[u8]) {
        bridge.config_mut().write(offset, data);
        bridge.config_written(offset, data.len());
    }

    fn wires() -> [Wire; 16] {
        std::array::from_fn(|_| Wire::new(|_| {}))
    }

    #[test]
    fn a_wire_follows_its_route() {
        let isa = wires();
        let mut bridge = IsaBridge::new(&isa);
        let mut line = bridge.interrupt(3, 1);
        line.set(true);
        assert!(isa.iter().all(|w| !w.level()), "nothing is routed yet");
        // Device 3, INTA#: PIRQC#.
        write(&mut bridge, 0x62, &[11]);
        assert!(isa[11].level());
        write(&mut bridge, 0x60, &[10, 10, 9, 10]);
        assert!(isa[9].level() && !isa[11].level() && !isa[10].level());
        write(&mut bridge, 0x62, &[0x89]);
        assert!(!isa[9].level());
        write(&mut bridge, 0x62, &[8]);
        assert!(!isa[8].level(), "IRQ 8 is reserved");
        write(&mut bridge, 0x62, &[5]);
        bridge.reset();
        assert!(!isa[5].level());
    }

    #[test]
    fn wires_that_share_an_interrupt_are_or_ed() {
        let isa = wires();
        let mut bridge = IsaBridge::new(&isa);
        write(&mut bridge, 0x60, &[11, 11, 11, 11]);
        let (mut a, mut b) = (bridge.interrupt(1, 1), bridge.interrupt(1, 4));
        a.set(true);
        b.set(true);
        a.set(false);
        assert!(isa[11].level());
        b.set(false);
        assert!(!isa[11].level());
    }

    #[test]
    fn the_board_turns_the_wires_by_slot() {
        assert_eq!(
            (1..=4).map(|pin| IsaBridge::wire_of(1, pin)).collect::<Vec<_>>(),
            [0, 1, 2, 3]
        );
        assert_eq!(IsaBridge::wire_of(0, 1), 3);
        assert_eq!(IsaBridge::wire_of(4, 2), 0);
    }
}
