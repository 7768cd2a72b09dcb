// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::testing::TestWire;
use proptest::prelude::*;

const MASTER: u64 = 0;
const SLAVE: u64 = 2;
const TRIGGER: u64 = 4;

struct Fixture {
    pic: Pic,
    intr: TestWire,
}

impl Fixture {
    fn power_on() -> Self {
        let intr = TestWire::new();
        Self {
            pic: Pic::new(intr.wire.driver()),
            intr,
        }
    }

    /// Initialised as a BIOS does: vectors 8 and 70h.
    fn new() -> Self {
        let mut f = Self::power_on();
        f.initialise(0x01, 0x01);
        f
    }

    fn initialise(&mut self, master_icw4: u8, slave_icw4: u8) {
        for (base, words) in [
            (MASTER, [0x11, 0x08, 0x04, master_icw4]),
            (SLAVE, [0x11, 0x70, 0x02, slave_icw4]),
        ] {
            self.out(base, words[0]);
            for word in &words[1..] {
                self.out(base + 1, *word);
            }
        }
    }

    fn out(&mut self, offset: u64, value: u8) -> &mut Self {
        self.pic.write_byte(offset, value);
        assert_eq!(self.intr.level(), self.pic.pending());
        self
    }

    fn inp(&mut self, offset: u64) -> u8 {
        self.pic.read_byte(offset)
    }

    fn irr(&mut self, base: u64) -> u8 {
        self.out(base, 0x0a).inp(base)
    }

    fn isr(&mut self, base: u64) -> u8 {
        self.out(base, 0x0b).inp(base)
    }

    fn set(&mut self, irq: u8, high: bool) -> &mut Self {
        self.pic.set_irq(irq, high);
        assert_eq!(self.intr.level(), self.pic.pending());
        self
    }

    fn pulse(&mut self, irq: u8) -> &mut Self {
        self.set(irq, true).set(irq, false)
    }

    /// The vector, if INTR is high.
    fn take(&mut self) -> Option<u8> {
        self.pic.pending().then(|| self.pic.acknowledge())
    }
}

#[test]
fn nothing_happens_before_initialisation() {
    let mut f = Fixture::power_on();
    for irq in 0..20 {
        f.set(irq, true);
    }
    assert!(!f.pic.pending());
    assert_eq!((f.inp(TRIGGER), f.inp(TRIGGER + 1)), (0, 0));
    // An edge before ICW1 is forgotten by it, a wire that is still high makes none.
    f.initialise(1, 1);
    assert!(!f.pic.pending());
    assert_eq!(f.irr(MASTER), 0);
    f.set(3, false).set(3, true);
    assert_eq!(f.take(), Some(0x0b));
}

#[test]
fn initialisation_without_icw3_and_icw4() {
    let mut f = Fixture::power_on();
    f.out(MASTER, 0x12).out(MASTER + 1, 0x23);
    f.pulse(1);
    assert_eq!(f.take(), Some(0x21), "only five bits of the vector are written");
    // ICW1 clears the mask, what is in service and automatic EOI.
    f.out(MASTER + 1, 0xff);
    assert_eq!(f.isr(MASTER), 0x02);
    f.initialise(0x03, 1);
    f.initialise(0x01, 1);
    assert_eq!((f.inp(MASTER + 1), f.isr(MASTER)), (0, 0));
    f.pulse(1).take();
    assert_eq!(f.isr(MASTER), 0x02);
}

#[test]
fn nothing_happens_during_initialisation() {
    let mut f = Fixture::new();
    f.out(MASTER, 0x11);
    f.pulse(1);
    for word in [0x08, 0x04] {
        f.out(MASTER + 1, word);
        assert!(!f.pic.pending());
    }
    f.out(MASTER + 1, 0x01);
    assert!(f.pic.pending());
}

#[test]
fn priorities_and_end_of_interrupt() {
    let mut f = Fixture::new();
    f.pulse(5).pulse(3);
    assert_eq!(f.irr(MASTER), 0x28);
    assert_eq!(f.take(), Some(0x0b));
    assert_eq!((f.irr(MASTER), f.isr(MASTER)), (0x20, 0x08));
    assert_eq!(f.take(), None, "5 waits for 3");
    f.pulse(1);
    assert_eq!(f.take(), Some(0x09), "1 nests in 3");
    f.out(MASTER, 0x20);
    assert_eq!(f.isr(MASTER), 0x08, "the most urgent level ends");
    f.out(MASTER, 0x20);
    assert_eq!(f.take(), Some(0x0d));
    f.out(MASTER, 0x63);
    assert_eq!(f.isr(MASTER), 0x20, "another level is named");
    f.out(MASTER, 0x65);
    assert_eq!(f.isr(MASTER), 0x00);
}

#[test]
fn an_edge_is_one_interrupt() {
    let mut f = Fixture::new();
    f.set(4, true);
    assert_eq!(f.take(), Some(0x0c));
    f.out(MASTER, 0x20).set(4, true);
    assert_eq!(f.take(), None);
    f.set(4, false).set(4, true);
    assert_eq!(f.take(), Some(0x0c));
    // A masked edge waits.
    f.out(MASTER, 0x20).out(MASTER + 1, 0x10);
    f.set(4, false).pulse(4);
    assert_eq!(f.take(), None);
    f.out(MASTER + 1, 0x00);
    assert_eq!(f.take(), Some(0x0c));
}

#[test]
fn a_level_interrupts_until_it_falls() {
    let mut f = Fixture::new();
    f.out(TRIGGER, 0xff).out(TRIGGER + 1, 0xff);
    assert_eq!((f.inp(TRIGGER), f.inp(TRIGGER + 1)), (0xf8, 0xde));
    f.set(11, true);
    for _ in 0..3 {
        assert_eq!(f.take(), Some(0x73));
        f.out(SLAVE, 0x20).out(MASTER, 0x20);
    }
    f.set(11, false);
    assert_eq!(f.take(), None);
    assert_eq!(f.irr(SLAVE), 0);
    // A level that becomes an edge input is not an edge.
    f.set(10, true).out(TRIGGER + 1, 0);
    assert_eq!(f.take(), None);
}

#[test]
fn the_cascade() {
    let mut f = Fixture::new();
    f.pulse(14).pulse(8);
    assert_eq!(f.irr(MASTER), 0x04);
    assert_eq!(f.take(), Some(0x70));
    assert_eq!((f.isr(MASTER), f.isr(SLAVE)), (0x04, 0x01));
    // Slave inputs are between 1 and 3.
    f.pulse(3);
    assert_eq!(f.take(), None);
    f.pulse(1);
    assert_eq!(f.take(), Some(0x09));
    f.out(MASTER, 0x20);
    f.out(SLAVE, 0x20).out(MASTER, 0x20);
    assert_eq!(f.take(), Some(0x76));
    // Input 2 of the master takes no wire.
    f.out(SLAVE, 0x20).out(MASTER, 0x20).out(MASTER, 0x63);
    assert_eq!(f.take(), Some(0x0b));
    f.out(MASTER, 0x20).pulse(2);
    assert_eq!(f.take(), None);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_in_again() {
    for (icw4, nests) in [(0x01, None), (0x11, Some(0x70))] {
        let mut f = Fixture::new();
        f.initialise(icw4, 0x01);
        f.pulse(12);
        assert_eq!(f.take(), Some(0x74));
        f.pulse(8);
        assert_eq!(f.take(), nests);
        // Less urgent ones of the master wait in either mode.
        f.pulse(5);
        assert_eq!(f.take(), None);
    }
}

#[test]
fn spurious_interrupts() {
    let mut f = Fixture::new();
    // Masked between INTR and INTA.
    f.pulse(5);
    f.out(MASTER + 1, 0x20);
    assert_eq!(f.pic.acknowledge(), 0x0f);
    assert_eq!(f.isr(MASTER), 0, "no level is in service");
    f.out(MASTER + 1, 0x00);
    assert_eq!(f.take(), Some(0x0d));
    f.out(MASTER, 0x20);
    // A level of the slave that goes away takes the master's request along.
    f.out(TRIGGER + 1, 0x08).set(11, true);
    assert!(f.pic.pending());
    f.set(11, false);
    assert!(!f.pic.pending());
    assert_eq!(f.pic.acknowledge(), 0x0f);
}

#[test]
fn automatic_eoi_and_its_rotation() {
    let mut f = Fixture::new();
    f.initialise(0x03, 0x03);
    f.pulse(0).pulse(1).pulse(15).pulse(9);
    assert_eq!(f.take(), Some(0x08));
    assert_eq!(f.isr(MASTER), 0);
    assert_eq!(
        [f.take(), f.take(), f.take(), f.take()],
        [Some(0x09), Some(0x71), Some(0x77), None]
    );
    f.out(MASTER, 0x80);
    f.pulse(0).pulse(1);
    assert_eq!(f.take(), Some(0x08));
    f.pulse(0);
    assert_eq!(f.take(), Some(0x09), "0 has become the least urgent");
    assert_eq!(f.take(), Some(0x08));
    f.out(MASTER, 0x00);
}

#[test]
fn rotation_on_eoi_and_set_priority() {
    let mut f = Fixture::new();
    f.pulse(3);
    f.take();
    f.out(MASTER, 0xa0);
    f.pulse(3).pulse(7).pulse(0);
    assert_eq!(f.take(), Some(0x0f));
    f.out(MASTER, 0x20);
    assert_eq!(f.take(), Some(0x08));
    f.out(MASTER, 0xe0);
    // 0 is the least urgent now: 3 is before it, and 1 before 3.
    f.pulse(0).pulse(1);
    assert_eq!(f.take(), Some(0x09));
    f.out(MASTER, 0x20);
    assert_eq!(f.take(), Some(0x0b));
    f.out(MASTER, 0x20);
    assert_eq!(f.take(), Some(0x08));
    f.out(MASTER, 0x20);
    // 4 is the least urgent, 5 the most.
    f.out(MASTER, 0xc4).pulse(4).pulse(5).pulse(0);
    assert_eq!(f.take(), Some(0x0d));
}

#[test]
fn special_mask_mode() {
    let mut f = Fixture::new();
    f.pulse(1);
    f.take();
    f.pulse(6);
    assert_eq!(f.take(), None);
    f.out(MASTER + 1, 0x02);
    assert_eq!(f.take(), None);
    f.out(MASTER, 0x68);
    assert_eq!(f.take(), Some(0x0e), "a masked level inhibits nobody");
    f.out(MASTER, 0x20);
    assert_eq!(f.isr(MASTER), 0x02);
    f.out(MASTER, 0x20);
    assert_eq!(f.isr(MASTER), 0x02, "nor does a plain EOI end it");
    f.out(MASTER, 0x48).out(MASTER, 0x20);
    assert_eq!(f.isr(MASTER), 0x00);
}

#[test]
fn poll_acknowledges() {
    let mut f = Fixture::new();
    f.out(MASTER, 0x0c);
    assert_eq!(f.inp(MASTER), 0x00);
    f.pulse(6).pulse(9);
    f.out(MASTER, 0x0c);
    assert_eq!(f.inp(MASTER), 0x82);
    f.out(SLAVE, 0x0c);
    assert_eq!(f.inp(SLAVE + 1), 0x81, "either port");
    assert_eq!((f.isr(MASTER), f.isr(SLAVE)), (0x04, 0x02));
    f.out(SLAVE, 0x20).out(MASTER, 0x20).out(MASTER, 0x0c);
    assert_eq!(f.inp(MASTER), 0x86);
    assert!(!f.intr.level());
    // The poll was for one read.
    assert_eq!(f.inp(MASTER), 0x40);
}

#[test]
fn reset_keeps_the_wires() {
    let mut f = Fixture::new();
    f.out(TRIGGER, 0x20).set(5, true);
    assert!(f.pic.pending());
    f.pic.reset();
    assert!(!f.intr.level());
    assert_eq!(f.inp(TRIGGER), 0);
    f.initialise(1, 1);
    f.out(TRIGGER, 0x20);
    assert_eq!(f.take(), Some(0x0d));
}

proptest! {
    #[test]
    fn no_access_panics(accesses in prop::collection::vec((0_u64..7, any::<u8>(), 0_u8..4), 0..300)) {
        let mut f = Fixture::power_on();
        for (offset, value, action) in accesses {
            match action {
                0 => drop(f.inp(offset)),
                1 => drop(f.out(offset, value)),
                2 => drop(f.set(value & 0x1f, value & 0x80 != 0)),
                _ => {
                    f.pic.acknowledge();
                }
            }
            prop_assert_eq!(f.intr.level(), f.pic.pending());
        }
        // Whatever was done, initialisation makes the pair usable.
        f.initialise(1, 1);
        f.out(TRIGGER, 0).out(TRIGGER + 1, 0);
        while f.take().is_some() {
            f.out(MASTER, 0x20).out(SLAVE, 0x20);
        }
        f.set(15, false).set(15, true);
        prop_assert_eq!(f.take(), Some(0x77));
    }
}
