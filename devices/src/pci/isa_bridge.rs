// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ISA bridge of the 82371AB (PIIX4, function 0), with its router for the PCI interrupts.
//!
//! Four wires, PIRQA# to PIRQD#, collect the interrupt pins of all slots; a register each says which ISA interrupt it drives, so that
//! PCI devices work on the two 8259A. On a board with an I/O APIC the wires lead to four inputs there as well, whatever the registers
//! say: an operating system uses the one or the other and masks the rest.
//!
//! Chip selects, DMA and other registers keep what is written to them: what they would switch is either always there or never.

use super::Function;
use super::config::{ConfigSpace, Identity, command, reg};
use super::snapshot::SavedIsaBridge;
use crate::bus::{Device, lock};
use crate::line::{IrqLine, Wire};
use crate::snapshot::BadState;
use std::sync::{Arc, Mutex};

/// Intel 82371AB PCI-to-ISA/IDE Xcelerator (PIIX4) data sheet (290562), section 4.1.
pub mod spec {
    /// Vendor: Intel.
    pub const VENDOR: u16 = 0x8086;
    /// Device: 82371AB, function 0.
    pub const DEVICE: u16 = 0x7110;
    /// The A-1 stepping.
    pub const REVISION: u8 = 0x01;
    /// ISA bridge.
    pub const CLASS: u32 = 0x06_01_00;
    /// PCI status after reset: medium DEVSEL# timing, fast back-to-back.
    pub const STATUS: u16 = 0x0280;
    /// PIRQRCA-PIRQRCD, PIRQx route control.
    pub const PIRQRC: usize = 0x60;
    /// PIRQRC: the wire is not routed.
    pub const PIRQ_DISABLE: u8 = 1 << 7;
    /// PIRQRC: the number of the ISA interrupt.
    pub const PIRQ_IRQ: u8 = 0x0f;
    /// ISA interrupts that a PIRQ may drive; the other values are reserved.
    pub const PIRQ_ROUTABLE: u16 = 0b1101_1110_1111_1000;

    /// A register besides the header and PIRQRC: offset, values after reset, bits that software may write.
    pub const PLAIN: [(usize, &[u8], &[u8]); 12] = [
        // IORT, ISA I/O recovery timer.
        (0x4c, &[0x4d], &[0x7f]),
        // XBCS, X-bus chip select.
        (0x4e, &[0x03, 0x00], &[0xff, 0x07]),
        // SERIRQC, serial interrupts.
        (0x64, &[0x10], &[0xff]),
        // TOM, top of memory that ISA masters reach.
        (0x69, &[0x02], &[0xfe]),
        // MSTAT, miscellaneous status.
        (0x6a, &[0x00, 0x00], &[0x02, 0x80]),
        // MBDMA0 and MBDMA1, motherboard device DMA.
        (0x76, &[0x04, 0x04], &[0x8f, 0x8f]),
        // APICBASE, the chip select for an I/O APIC. The one of this machine stands at its default address.
        (0x80, &[0x00], &[0x7f]),
        // DLC, deterministic latency control.
        (0x82, &[0x00], &[0x0f]),
        // PDMACFG, PCI DMA.
        (0x90, &[0x00, 0x00], &[0xff, 0xff]),
        // DDMABP, distributed DMA base pointers.
        (0x92, &[0x00; 4], &[0xc0, 0xff, 0xc0, 0xff]),
        // GENCFG, general configuration.
        (0xb0, &[0x00; 4], &[0xff; 4]),
        // RTCCFG, real-time clock.
        (0xcb, &[0x21], &[0x3d]),
    ];
}

/// Where one PIRQ wire leads.
struct Pirq {
    level: bool,
    /// The ISA interrupt that the route register names, if it does.
    isa: Option<(u8, IrqLine)>,
    apic: IrqLine,
}

/// The router behind the four wires. It has a lock of its own, below the wires': an interrupt must not wait for the bridge.
struct Router {
    isa: [Wire; 16],
    pirqs: [Pirq; 4],
}

impl Router {
    fn set_level(&mut self, index: usize, high: bool) {
        if let Some(pirq) = self.pirqs.get_mut(index) {
            pirq.level = high;
            if let Some((_, line)) = &mut pirq.isa {
                line.set(high);
            }
            pirq.apic.set(high);
        }
    }

    /// Lets a wire drive an ISA interrupt with a level that the interrupt controllers know of already.
    fn restore(&mut self, index: usize, level: bool, irq: Option<u8>) {
        if let Some(pirq) = self.pirqs.get_mut(index) {
            pirq.level = level;
            pirq.apic.restore(level);
            if let Some((_, line)) = &mut pirq.isa {
                line.restore(false);
            }
            pirq.isa = irq.and_then(|irq| {
                let mut line = self.isa.get(usize::from(irq))?.driver();
                line.restore(level);
                Some((irq, line))
            });
        }
    }

    /// Lets a wire drive another ISA interrupt, from now on and with the level that it has.
    fn route(&mut self, index: usize, irq: Option<u8>) {
        let Some(pirq) = self.pirqs.get_mut(index) else {
            return;
        };
        if pirq.isa.as_ref().map(|(irq, _)| *irq) == irq {
            return;
        }
        // Dropping the old line lets go of the old interrupt.
        pirq.isa = irq.and_then(|irq| {
            let mut line = self.isa.get(usize::from(irq))?.driver();
            line.set(pirq.level);
            Some((irq, line))
        });
    }
}

/// The ISA interrupt that a route register names.
fn routed_to(register: u8) -> Option<u8> {
    let irq = register & spec::PIRQ_IRQ;
    let valid = register & spec::PIRQ_DISABLE == 0 && spec::PIRQ_ROUTABLE & 1 << irq != 0;
    valid.then_some(irq)
}

/// The 82371AB's function 0.
pub struct IsaBridge {
    // Dependencies.
    router: Arc<Mutex<Router>>,
    pirqs: [Wire; 4],
    // Volatile state.
    config: ConfigSpace,
}

impl IsaBridge {
    /// A bridge in front of the wires to the interrupt inputs IRQ0-IRQ15, after power-on.
    pub fn new(isa: &[Wire; 16]) -> Self {
        Self::wired(isa, std::array::from_fn(|_| IrqLine::detached()))
    }

    /// The same on a board whose I/O APIC has inputs for PIRQA#-PIRQD#: `apic` are the wires to those.
    pub fn with_apic(isa: &[Wire; 16], apic: &[Wire; 4]) -> Self {
        Self::wired(isa, apic.each_ref().map(Wire::driver))
    }

    fn wired(isa: &[Wire; 16], apic: [IrqLine; 4]) -> Self {
        let router = Arc::new(Mutex::new(Router {
            isa: isa.clone(),
            pirqs: apic.map(|apic| Pirq {
                level: false,
                isa: None,
                apic,
            }),
        }));
        let pirqs = std::array::from_fn(|index| {
            let router = router.clone();
            Wire::new(move |high| lock(&router).set_level(index, high))
        });
        Self {
            router,
            pirqs,
            config: power_on(),
        }
    }

    /// The interrupt output for `pin` (1 = INTA#) of the function in slot `device`.
    pub fn interrupt(&self, device: u8, pin: u8) -> IrqLine {
        self.pirqs
            .get(Self::wire_of(device, pin))
            .map_or_else(IrqLine::detached, Wire::driver)
    }

    /// Which PIRQ wire (0 = PIRQA#) the board joins to `pin` (1 = INTA#) of slot `device`: the slots take turns, and slot 1 starts.
    /// Firmware and ACPI tables must say the same.
    pub fn wire_of(device: u8, pin: u8) -> usize {
        usize::from(device.wrapping_sub(1).wrapping_add(pin.max(1) - 1) & 3)
    }

    /// PCIRST#: all registers as after power-on; nothing is routed.
    pub fn reset(&mut self) {
        self.config = power_on();
        self.sync_routes();
    }

    /// See [`crate::snapshot`].
    pub(super) fn save(&self) -> SavedIsaBridge {
        let Self {
            router,
            pirqs: _,
            config,
        } = self;
        SavedIsaBridge {
            config: config.save(),
            pirqs: lock(router).pirqs.each_ref().map(|pirq| pirq.level),
        }
    }

    /// See [`crate::snapshot`].
    pub(super) fn take_over(&mut self, saved: SavedIsaBridge) -> Result<(), BadState> {
        let SavedIsaBridge { config, pirqs } = saved;
        self.config.restore(config)?;
        let mut router = lock(&self.router);
        for (index, level) in pirqs.into_iter().enumerate() {
            router.restore(index, level, routed_to(self.config.u8(spec::PIRQRC + index)));
        }
        Ok(())
    }

    fn sync_routes(&mut self) {
        let mut router = lock(&self.router);
        for index in 0..self.pirqs.len() {
            router.route(index, routed_to(self.config.u8(spec::PIRQRC + index)));
        }
    }
}

fn power_on() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: spec::VENDOR,
        device: spec::DEVICE,
        revision: spec::REVISION,
        class: spec::CLASS,
        multifunction: true,
        ..Identity::default()
    });
    // The bridge always answers port and memory cycles and is always a master; it has no interrupt line to note down.
    config.protect(reg::COMMAND, &[0xff, 0xff]);
    config.protect(reg::INTERRUPT_LINE, &[0xff]);
    config.set_u16(reg::COMMAND, command::IO | command::MEMORY | command::BUS_MASTER);
    // Special cycles and SERRE.
    config.allow(reg::COMMAND, &[1 << 3, 1 << 0]);
    config.set_u16(reg::STATUS, spec::STATUS);
    for index in 0..4 {
        config.set_u8(spec::PIRQRC + index, spec::PIRQ_DISABLE);
    }
    config.allow(spec::PIRQRC, &[spec::PIRQ_DISABLE | spec::PIRQ_IRQ; 4]);
    for (offset, values, mask) in spec::PLAIN {
        for (at, value) in (offset..).zip(values) {
            config.set_u8(at, *value);
        }
        config.allow(offset, mask);
    }
    config
}

/// The bridge's ISA side is the board itself: it claims no ranges of its own.
impl Device for IsaBridge {}

impl Function for IsaBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        if offset < spec::PIRQRC + 4 && offset.saturating_add(len) > spec::PIRQRC {
            self.sync_routes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestWire;
    use proptest::prelude::*;

    struct Bench {
        bridge: IsaBridge,
        isa: [TestWire; 16],
        apic: [TestWire; 4],
    }

    fn bench() -> Bench {
        let isa: [TestWire; 16] = std::array::from_fn(|_| TestWire::new());
        let apic: [TestWire; 4] = std::array::from_fn(|_| TestWire::new());
        let inputs = apic.clone().map(|t| t.wire);
        Bench {
            bridge: IsaBridge::with_apic(&isa.clone().map(|t| t.wire), &inputs),
            isa,
            apic,
        }
    }

    impl Bench {
        fn write(&mut self, offset: usize, data: &[u8]) {
            self.bridge.config_mut().write(offset, data);
            self.bridge.config_written(offset, data.len());
        }

        fn high(&self) -> Vec<usize> {
            (0..16).filter(|irq| self.isa[*irq].level()).collect()
        }
    }

    #[test]
    fn reset_values() {
        let bench = bench();
        let config = bench.bridge.config();
        assert_eq!(config.u32(0x00), 0x7110_8086);
        assert_eq!(config.u32(0x04), 0x0280_0007);
        assert_eq!(config.u32(0x08), 0x0601_0001);
        assert_eq!(config.u32(0x0c), 0x0080_0000);
        assert_eq!(config.u32(0x4c), 0x0003_004d);
        assert_eq!(config.u32(0x60), 0x8080_8080);
        assert_eq!(config.u32(0x64), 0x10);
        assert_eq!(config.u32(0x68), 0x0200);
    }

    #[test]
    fn slots_take_turns_on_the_wires() {
        assert_eq!(IsaBridge::wire_of(1, 1), 0);
        assert_eq!(IsaBridge::wire_of(1, 4), 3);
        assert_eq!(IsaBridge::wire_of(2, 1), 1);
        assert_eq!(IsaBridge::wire_of(4, 2), 0);
        assert_eq!(IsaBridge::wire_of(0, 1), 3);
    }

    #[test]
    fn a_routed_wire_reaches_its_interrupt() {
        let mut bench = bench();
        let mut line = bench.bridge.interrupt(3, 1);
        line.set(true);
        assert!(bench.high().is_empty(), "not routed after reset");
        bench.write(0x62, &[11]);
        assert_eq!(bench.high(), [11], "routed while it is high");
        line.set(false);
        assert!(bench.high().is_empty());
        line.set(true);
        assert_eq!(bench.high(), [11]);
    }

    #[test]
    fn a_route_moves_with_its_level() {
        let mut bench = bench();
        let mut line = bench.bridge.interrupt(1, 1);
        bench.write(0x60, &[10]);
        line.set(true);
        bench.write(0x60, &[5]);
        assert_eq!(bench.high(), [5]);
        bench.write(0x60, &[0x85]);
        assert!(bench.high().is_empty());
        bench.write(0x60, &[9]);
        assert_eq!(bench.high(), [9]);
        // The same route again makes no edge.
        bench.isa[9].take_rises();
        bench.write(0x60, &[9]);
        assert_eq!(bench.isa[9].take_rises(), 0);
    }

    #[test]
    fn wires_that_share_an_interrupt_are_ored() {
        let mut bench = bench();
        bench.write(0x60, &[10, 10, 11, 11]);
        let mut a = bench.bridge.interrupt(1, 1);
        let mut also_a = bench.bridge.interrupt(5, 1);
        let mut b = bench.bridge.interrupt(2, 1);
        a.set(true);
        also_a.set(true);
        b.set(true);
        a.set(false);
        also_a.set(false);
        assert_eq!(bench.high(), [10]);
        b.set(false);
        assert!(bench.high().is_empty());
        assert_eq!(bench.isa[10].take_rises(), 1);
    }

    #[test]
    fn reserved_interrupts_are_not_routed() {
        let mut bench = bench();
        let mut line = bench.bridge.interrupt(1, 1);
        line.set(true);
        for reserved in [0, 1, 2, 8, 13] {
            bench.write(0x60, &[reserved]);
            assert!(bench.high().is_empty(), "IRQ{reserved}");
        }
        for irq in [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15] {
            bench.write(0x60, &[irq]);
            assert_eq!(bench.high(), [usize::from(irq)]);
        }
    }

    #[test]
    fn the_io_apic_sees_the_wires_unrouted() {
        let mut bench = bench();
        let mut line = bench.bridge.interrupt(3, 2);
        line.set(true);
        assert!(bench.apic[3].level());
        bench.write(0x63, &[11]);
        line.set(false);
        assert!(!bench.apic[3].level());
        assert_eq!(bench.apic[3].take_rises(), 1);
    }

    #[test]
    fn reset_lets_go_of_the_interrupts() {
        let mut bench = bench();
        let mut line = bench.bridge.interrupt(1, 1);
        bench.write(0x60, &[10]);
        line.set(true);
        bench.bridge.reset();
        assert!(bench.high().is_empty());
        assert_eq!(bench.bridge.config().u8(0x60), 0x80);
    }

    proptest! {
        /// After any writes, exactly the interrupts that a high wire is routed to are high.
        #[test]
        fn any_writes(writes in prop::collection::vec((0usize..260, any::<u32>(), 1usize..5, 0u8..4), 1..64)) {
            let mut bench = bench();
            let mut lines: [IrqLine; 4] =
                std::array::from_fn(|index| bench.bridge.interrupt(index as u8 + 1, 1));
            for (offset, value, len, line) in writes {
                bench.write(offset, &value.to_le_bytes()[..len]);
                let line = &mut lines[usize::from(line)];
                line.set(!line.level());
            }
            let mut wanted: Vec<usize> = (0..4)
                .filter(|index| lines[*index].level())
                .filter_map(|index| routed_to(bench.bridge.config().u8(0x60 + index)))
                .map(usize::from)
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(bench.high(), wanted);
        }
    }
}
