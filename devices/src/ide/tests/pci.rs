// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The PCI function.
use super::*;
use crate::bus::lock;
use crate::ide::PiixIde;
use crate::pci::{Claim, Function, Space};

const BAR4: u64 = 4 << 32;

fn function() -> (PiixIde, [Arc<Mutex<Channel>>; 2], Arc<TestRam>, TestMedium) {
    let medium = medium(64);
    let ram = TestRam::new(0x20_0000);
    let channel = |drives| {
        let line = TestWire::new().wire.driver();
        Arc::new(Mutex::new(Channel::new(drives, ram.clone(), line)))
    };
    let channels = [
        channel([disk(&medium), Drive::Empty]),
        channel([disk(&medium), Drive::Empty]),
    ];
    (PiixIde::new(channels.clone()), channels, ram, medium)
}

fn write(function: &mut PiixIde, offset: usize, data: &[u8]) {
    function.config_mut().write(offset, data);
    function.config_written(offset, data.len());
}

fn read(function: &PiixIde, offset: usize) -> u32 {
    function.config().u32(offset)
}

fn status(channel: &Mutex<Channel>) -> u8 {
    lock(channel).read_byte(STATUS)
}

#[test]
fn reset_values() {
    let (function, ..) = function();
    let values = [
        (0x00, 0x7111_8086),
        (0x04, 0x0280_0000),
        (0x08, 0x0101_8001),
        (0x0c, 0),
        (0x10, 0),
        (0x20, 1),
        (0x3c, 0),
        (0x40, 0),
        (0x44, 0),
        (0x48, 0),
    ];
    for (offset, value) in values {
        assert_eq!(read(&function, offset), value, "{offset:#x}");
    }
    assert!(function.claims().is_empty());
}

#[test]
fn timing_registers_hold_what_exists() {
    let (mut function, ..) = function();
    for offset in (0x40..0x4c).step_by(4) {
        write(&mut function, offset, &[0xff; 4]);
    }
    assert_eq!(read(&function, 0x40), 0xf3ff_f3ff);
    assert_eq!(read(&function, 0x44), 0x0000_00ff);
    assert_eq!(read(&function, 0x48), 0x3333_000f);
    function.reset();
    assert_eq!(read(&function, 0x40), 0);
}

#[test]
fn ports_are_decoded_when_firmware_says_so() {
    let (mut function, [primary, secondary], ..) = function();
    assert_eq!([status(&primary), status(&secondary)], [0xff; 2]);
    write(&mut function, 0x04, &[0x01, 0]);
    assert_eq!([status(&primary), status(&secondary)], [0xff; 2]);
    write(&mut function, 0x40, &[0x00, 0x80]);
    assert_eq!([status(&primary), status(&secondary)], [READY, 0xff]);
    write(&mut function, 0x43, &[0x80]);
    assert_eq!([status(&primary), status(&secondary)], [READY; 2]);
    lock(&secondary).write(COUNT, &[0x21]);
    write(&mut function, 0x04, &[0x00, 0]);
    lock(&secondary).write(COUNT, &[0x42]);
    assert_eq!(lock(&secondary).read_byte(CONTROL_BLOCK), 0xff);
    write(&mut function, 0x04, &[0x01, 0]);
    assert_eq!(lock(&secondary).read_byte(COUNT), 0x21);
}

#[test]
fn base_address_4_reaches_both_channels() {
    let (mut function, [primary, secondary], ..) = function();
    write(&mut function, 0x20, &0xc000u32.to_le_bytes());
    write(&mut function, 0x04, &[0x05, 0]);
    assert_eq!(
        function.claims(),
        [Claim {
            space: Space::Io,
            address: 0xc000,
            len: 16,
            base: BAR4
        }]
    );
    function.write(BAR4 + 4, &0x1234_5678u32.to_le_bytes());
    function.write(BAR4 + 12, &0x9abc_def0u32.to_le_bytes());
    let table = |channel: &Mutex<Channel>| {
        let mut data = [0; 4];
        lock(channel).read(BUS_MASTER + 4, &mut data);
        u32::from_le_bytes(data)
    };
    assert_eq!((table(&primary), table(&secondary)), (0x1234_5678, 0x9abc_def0));
    let mut data = [0; 4];
    function.read(BAR4 + 12, &mut data);
    assert_eq!(u32::from_le_bytes(data), 0x9abc_def0);
    for offset in [0, 5 << 32, BAR4 + 16, u64::MAX] {
        function.write(offset, &[1]);
        assert_eq!(function.read_byte(offset), 0xff, "{offset:#x}");
    }
}

#[test]
fn the_engine_waits_for_the_bus_master_enable() {
    let (mut function, [primary, _], ram, _) = function();
    write(&mut function, 0x04, &[0x01, 0]);
    write(&mut function, 0x40, &[0x00, 0x80]);
    ram.put(TABLE, &(BUFFER as u32).to_le_bytes());
    ram.put(TABLE + 4, &(0x8000_0000u32 | 512).to_le_bytes());
    function.write(BAR4 + 4, &(TABLE as u32).to_le_bytes());
    {
        let mut channel = lock(&primary);
        channel.write(DEVICE, &[0xe0]);
        channel.write(COUNT, &[1]);
        for (register, value) in [(LOW, 9), (MID, 0), (HIGH, 0), (COMMAND, 0xc8)] {
            channel.write(register, &[value]);
        }
    }
    function.write(BAR4, &[0x09]);
    assert_eq!(function.read_byte(BAR4 + 2), 0x01);
    assert_eq!(ram.get(BUFFER, 512), [0; 512]);
    write(&mut function, 0x04, &[0x05, 0]);
    assert_eq!(function.read_byte(BAR4 + 2), 0x04);
    assert_eq!(ram.get(BUFFER, 512), pattern(9));
}
