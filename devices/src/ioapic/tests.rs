// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::bus::lock;
use proptest::prelude::*;
use std::sync::Mutex;

#[derive(Default)]
struct Recorder {
    messages: Mutex<Vec<Message>>,
    routes: Mutex<Vec<(u8, Route)>>,
}

impl InterruptSink for Recorder {
    fn deliver(&self, message: Message) {
        lock(&self.messages).push(message);
    }
    fn route_changed(&self, pin: u8, route: Route) {
        lock(&self.routes).push((pin, route));
    }
}

struct Fixture {
    ioapic: Ioapic,
    sink: Arc<Recorder>,
}

const LEVEL: u32 = 0x8000;
const MASKED: u32 = 0x1_0000;
const REMOTE_IRR: u32 = 0x4000;

impl Fixture {
    fn new() -> Self {
        let sink = Arc::new(Recorder::default());
        Self {
            ioapic: Ioapic::new(sink.clone()),
            sink,
        }
    }

    fn get(&mut self, index: u8) -> u32 {
        let mut data = [0; 4];
        self.ioapic.write(0, &[index, 0, 0, 0]);
        self.ioapic.read(0x10, &mut data);
        u32::from_le_bytes(data)
    }

    fn put(&mut self, index: u8, value: u32) {
        self.ioapic.write(0, &[index, 0, 0, 0]);
        self.ioapic.write(0x10, &value.to_le_bytes());
    }

    fn low(&mut self, pin: u8) -> u32 {
        self.get(0x10 + 2 * pin)
    }

    fn set_low(&mut self, pin: u8, value: u32) {
        self.put(0x10 + 2 * pin, value);
    }

    /// Vectors that were sent since the last call.
    fn vectors(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.sink.messages))
            .into_iter()
            .map(|message| message.vector)
            .collect()
    }
}

#[test]
fn values_after_reset() {
    let mut f = Fixture::new();
    assert_eq!(f.get(0x00), 0);
    assert_eq!(f.get(0x01), 0x0017_0020);
    assert_eq!(f.get(0x02), 0);
    for pin in 0..24 {
        assert_eq!(f.get(0x10 + 2 * pin), MASKED);
        assert_eq!(f.get(0x11 + 2 * pin), 0);
    }
    for index in [0x03, 0x0f, 0x40, 0xff] {
        f.put(index, u32::MAX);
        assert_eq!(f.get(index), 0);
    }
    assert_eq!(
        f.ioapic.routes()[0],
        Route {
            masked: true,
            message: None
        }
    );
}

#[test]
fn read_only_bits() {
    let mut f = Fixture::new();
    f.put(0x00, 0xffff_ffff);
    assert_eq!((f.get(0x00), f.get(0x02)), (0x0f00_0000, 0x0f00_0000));
    f.put(0x01, 0);
    assert_eq!(f.get(0x01), 0x0017_0020);
    f.put(0x02, 0);
    assert_eq!(f.get(0x02), 0x0f00_0000);
    f.set_low(3, 0xffff_ffff);
    f.put(0x17, 0xffff_ffff);
    assert_eq!(f.low(3), 0x0001_afff, "neither remote IRR nor delivery status");
    assert_eq!(f.get(0x17), 0xff00_0000);
}

#[test]
fn an_edge_sends_one_message() {
    let mut f = Fixture::new();
    f.put(0x13, 0x0300_0000);
    f.set_low(1, 0x0931);
    f.ioapic.set_irq(1, true);
    f.ioapic.set_irq(1, true);
    assert_eq!(
        std::mem::take(&mut *lock(&f.sink.messages)),
        [Message {
            destination: 3,
            logical: true,
            mode: DeliveryMode::LowestPriority,
            vector: 0x31,
            level_triggered: false
        }]
    );
    assert_eq!(f.low(1), 0x0931);
    f.ioapic.set_irq(1, false);
    f.ioapic.set_irq(1, true);
    assert_eq!(f.vectors(), [0x31]);
    // The end of an edge is nothing to us.
    f.ioapic.end_of_interrupt(0x31);
    assert_eq!(f.vectors(), []);
}

#[test]
fn a_masked_edge_is_lost_and_a_masked_level_waits() {
    let mut f = Fixture::new();
    f.set_low(1, MASKED | 0x31);
    f.ioapic.set_irq(1, true);
    f.set_low(1, 0x31);
    assert_eq!(f.vectors(), []);
    f.set_low(10, MASKED | LEVEL | 0x3a);
    f.ioapic.set_irq(10, true);
    assert_eq!(f.vectors(), []);
    f.set_low(10, LEVEL | 0x3a);
    assert_eq!(f.vectors(), [0x3a]);
}

#[test]
fn a_level_interrupts_again_after_its_end() {
    let mut f = Fixture::new();
    f.set_low(11, LEVEL | 0x40);
    f.ioapic.set_irq(11, true);
    assert_eq!(f.low(11), REMOTE_IRR | LEVEL | 0x40);
    // Neither a new assertion nor a write sends it a second time.
    f.ioapic.set_irq(11, false);
    f.ioapic.set_irq(11, true);
    f.set_low(11, LEVEL | 0x40);
    assert_eq!(f.vectors(), [0x40]);
    f.ioapic.end_of_interrupt(0x41);
    assert_eq!(f.low(11) & REMOTE_IRR, REMOTE_IRR);
    f.ioapic.end_of_interrupt(0x40);
    assert_eq!(f.vectors(), [0x40]);
    f.ioapic.set_irq(11, false);
    f.ioapic.end_of_interrupt(0x40);
    assert_eq!(f.low(11), LEVEL | 0x40);
    assert_eq!(f.vectors(), []);
}

#[test]
fn an_end_while_masked_clears_remote_irr() {
    let mut f = Fixture::new();
    f.set_low(11, LEVEL | 0x40);
    f.ioapic.set_irq(11, true);
    f.set_low(11, MASKED | LEVEL | 0x40);
    // By way of the EOI register.
    f.ioapic.write(0x40, &[0x40, 0, 0, 0]);
    assert_eq!(f.low(11), MASKED | LEVEL | 0x40);
    assert_eq!(f.vectors(), [0x40]);
    f.set_low(11, LEVEL | 0x40);
    assert_eq!(f.vectors(), [0x40]);
}

#[test]
fn an_entry_that_becomes_an_edge_forgets_its_remote_irr() {
    let mut f = Fixture::new();
    f.set_low(11, LEVEL | 0x40);
    f.ioapic.set_irq(11, true);
    f.set_low(11, MASKED | 0x40);
    assert_eq!(f.low(11), MASKED | 0x40);
    f.set_low(11, LEVEL | 0x40);
    assert_eq!(f.vectors(), [0x40, 0x40]);
}

#[test]
fn two_pins_with_one_vector() {
    let mut f = Fixture::new();
    for pin in [10, 11] {
        f.set_low(pin, LEVEL | 0x40);
        f.ioapic.set_irq(pin, true);
    }
    f.ioapic.set_irq(10, false);
    f.vectors();
    f.ioapic.end_of_interrupt(0x40);
    assert_eq!(f.vectors(), [0x40], "the one that is still asserted");
}

#[test]
fn polarity_is_kept_and_changes_nothing() {
    let mut f = Fixture::new();
    f.set_low(11, LEVEL | 0x2000 | 0x40);
    assert_eq!(f.vectors(), []);
    f.ioapic.set_irq(11, true);
    assert_eq!(f.vectors(), [0x40]);
    assert_eq!(f.low(11) & 0x2000, 0x2000);
}

#[test]
fn what_does_not_exist_is_never_sent() {
    let mut f = Fixture::new();
    // Vectors of exceptions; reserved delivery modes.
    for low in [0x0000, 0x000f, 0x0100, LEVEL, 0x0340, 0x0640] {
        f.set_low(5, low);
        f.ioapic.set_irq(5, false);
        f.ioapic.set_irq(5, true);
        assert_eq!(f.low(5) & REMOTE_IRR, 0);
        assert_eq!(f.ioapic.routes()[5].message, None);
    }
    assert_eq!(f.vectors(), []);
    // The others need no vector, and are edges.
    for (low, mode) in [
        (0x0200, DeliveryMode::Smi),
        (0x0400, DeliveryMode::Nmi),
        (0x8500, DeliveryMode::Init),
        (0x8700, DeliveryMode::ExtInt),
    ] {
        f.set_low(5, low);
        f.ioapic.set_irq(5, false);
        f.ioapic.set_irq(5, true);
        assert_eq!(f.low(5), low);
        let sent = std::mem::take(&mut *lock(&f.sink.messages));
        assert_eq!(
            sent.iter()
                .map(|m| (m.mode, m.level_triggered))
                .collect::<Vec<_>>(),
            [(mode, false)]
        );
    }
    // Nor are there more inputs.
    f.ioapic.set_irq(24, true);
    f.ioapic.set_irq(255, true);
    assert_eq!(f.vectors(), []);
}

#[test]
fn a_routing_table_can_follow() {
    let mut f = Fixture::new();
    f.put(0x25, 0x0100_0000);
    f.set_low(10, LEVEL | 0x40);
    f.set_low(10, LEVEL | 0x40);
    // Remote IRR is no change of the route.
    f.ioapic.set_irq(10, true);
    f.ioapic.end_of_interrupt(0x40);
    f.set_low(10, MASKED | LEVEL | 0x40);
    let message = Some(Message {
        destination: 1,
        logical: false,
        mode: DeliveryMode::Fixed,
        vector: 0x40,
        level_triggered: true,
    });
    let route = |masked, message| (10, Route { masked, message });
    assert_eq!(
        *lock(&f.sink.routes),
        [route(false, message), route(true, message)]
    );
    assert_eq!(f.ioapic.routes()[10].message, message);
    lock(&f.sink.routes).clear();
    f.ioapic.reset();
    assert_eq!(*lock(&f.sink.routes), [route(true, None)]);
}

#[test]
fn the_msi_of_a_message() {
    let message = Message {
        destination: 0x0f,
        logical: true,
        mode: DeliveryMode::LowestPriority,
        vector: 0x41,
        level_triggered: true,
    };
    assert_eq!(message.to_msi(), (0xfee0_f004, 0xc141));
    let message = Message {
        destination: 1,
        logical: false,
        mode: DeliveryMode::Nmi,
        vector: 0,
        level_triggered: false,
    };
    assert_eq!(message.to_msi(), (0xfee0_1000, 0x0400));
}

#[test]
fn widths() {
    let mut f = Fixture::new();
    // A byte selects, part of a dword can be read but not written.
    f.ioapic.write(0, &[0x01]);
    let mut byte = [0];
    f.ioapic.read(0x12, &mut byte);
    assert_eq!(byte, [0x17]);
    let mut word = [0; 8];
    f.ioapic.read(0x10, &mut word);
    assert_eq!(word, [0x20, 0, 0x17, 0, 0, 0, 0, 0]);
    f.ioapic.write(0, &[0x12]);
    f.ioapic.write(0x10, &[0x55]);
    f.ioapic.write(0x11, &[0x55; 4]);
    assert_eq!(f.low(1), MASKED);
    f.ioapic.read(0x00, &mut byte);
    assert_eq!(byte, [0x12]);
}

#[test]
fn reset_keeps_the_wires() {
    let mut f = Fixture::new();
    f.ioapic.set_irq(11, true);
    f.set_low(11, LEVEL | 0x40);
    f.ioapic.reset();
    assert_eq!(f.low(11), MASKED);
    f.vectors();
    f.set_low(11, LEVEL | 0x40);
    assert_eq!(f.vectors(), [0x40]);
}

proptest! {
    #[test]
    fn no_access_panics(accesses in prop::collection::vec((0_u64..0x1000, any::<u64>(), 0_u8..4, 0_u8..4), 0..300)) {
        let mut f = Fixture::new();
        for (offset, value, width, action) in accesses {
            // Half of the accesses hit a register.
            let offset = if value & 1 == 0 { offset } else { [0, 0x10, 0x40, 0x13][width as usize] };
            let mut data = value.rotate_left(8).to_le_bytes();
            let data = &mut data[..1 << width];
            match action {
                0 => f.ioapic.read(offset, data),
                1 => f.ioapic.write(offset, data),
                2 => f.ioapic.set_irq(value as u8 & 0x1f, value & 0x100 != 0),
                _ => f.ioapic.end_of_interrupt(value as u8),
            }
        }
        for message in &*lock(&f.sink.messages) {
            let fixed = matches!(message.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
            prop_assert!(message.vector >= 0x10 || !fixed);
        }
    }
}
