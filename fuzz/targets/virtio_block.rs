// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any driver of a virtio disk: rings and descriptors of any content, doorbells and resets at any time, and a medium that waits and fails.
#![no_main]

use devices::block::MediumError;
use devices::bus::Device;
use devices::line::Wire;
use devices::pci::Function;
use devices::pci::config::{command, reg};
use devices::testing::{MappedRam, TestMedium};
use devices::virtio::Ram;
use devices::virtio::block::{Block, spec};
use devices::virtio::pci::VirtioPci;
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

const RAM: usize = 0x4_0000;
/// Where the parts of the first queue stand in most runs: sixteen descriptors, the rings, and what descriptors lead to.
const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const BUFFERS: u64 = 0x4000;
/// The modern registers, as the bus passes them on.
const COMMON: u64 = 4 << 32;
const DOORBELL: u64 = COMMON + 0x3000;
const QUEUE: u16 = 16;

fn put(ram: &Ram, address: u64, bytes: &[u8]) {
    let _ = ram.write_slice(bytes, GuestAddress(address));
}

/// Descriptor number `index` of the first queue.
fn describe(ram: &Ram, index: u64, (address, len, flags): (u64, u32, u16), next: u16) {
    let at = TABLE + 16 * index;
    put(ram, at, &address.to_le_bytes());
    put(ram, at + 8, &len.to_le_bytes());
    put(ram, at + 12, &flags.to_le_bytes());
    put(ram, at + 14, &next.to_le_bytes());
}

/// What a driver does first.
fn start(device: &mut VirtioPci<Block>, features: u64) {
    let mut set = |at: u64, data: &[u8]| device.write(COMMON + at, data);
    set(20, &[0]);
    set(20, &[3]);
    for half in [0, 1] {
        set(8, &u32::to_le_bytes(half));
        set(12, &((features >> (32 * half)) as u32).to_le_bytes());
    }
    set(20, &[11]);
    for queue in 0..2_u16 {
        set(22, &queue.to_le_bytes());
        set(24, &QUEUE.to_le_bytes());
        for (at, address) in [(32, TABLE), (40, AVAILABLE), (48, USED)] {
            set(at, &(address + u64::from(queue) * 0x200).to_le_bytes());
        }
        set(28, &[1, 0]);
    }
    set(20, &[15]);
}

fn status(device: &mut VirtioPci<Block>) -> u8 {
    let mut status = [0];
    device.read(COMMON + 20, &mut status);
    status[0]
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let ram = Ram::from_ranges(&[(GuestAddress(0), RAM)]).expect("some memory");
    let mut medium = TestMedium::new(vec![5; 256 * 512]);
    let mode = choices.byte();
    if mode & 1 != 0 {
        medium = medium.with_ram(Arc::new(MappedRam(ram.clone())));
    }
    let wire = Wire::new(|_| {});
    let block = Block::new(Box::new(medium.clone()), "fuzz", 2);
    let mut device = VirtioPci::new(
        spec::DEVICE_TYPE,
        0x01_00_00,
        block,
        ram.clone(),
        wire.driver(),
        Arc::new(|_, _| {}),
    );
    let enabled = (command::IO | command::MEMORY).to_le_bytes();
    device.config_mut().write(reg::COMMAND, &enabled);
    // All features, or fewer.
    let features = if mode & 2 == 0 {
        u64::MAX >> 31
    } else {
        u64::from(choices.long()) | 1 << 32
    };
    let mut offered = 0;
    for half in [0_u32, 1] {
        device.write(COMMON, &half.to_le_bytes());
        let mut bits = [0; 4];
        device.read(COMMON + 4, &mut bits);
        offered |= u64::from(u32::from_le_bytes(bits)) << (32 * half);
    }
    start(&mut device, features & offered);
    let mut steps = 0;
    while !choices.is_empty() && steps < 400 {
        steps += 1;
        let what = choices.byte();
        let index = u64::from(what >> 4);
        match what % 8 {
            0 => {
                // A descriptor: mostly a place in memory, a length that fits, and a next one that exists.
                let wild = choices.byte();
                let address = u64::from(choices.long());
                let near = BUFFERS + address % (RAM as u64 - BUFFERS);
                let address = if wild & 1 == 0 {
                    near
                } else {
                    address << (wild >> 2)
                };
                let len = u32::from(choices.short());
                let len = if wild & 2 == 0 { len % 2048 } else { len << 16 };
                let flags = choices.short() % 8;
                describe(&ram, index, (address, len, flags), choices.short() % (QUEUE + 1));
            }
            1 => {
                // A whole request: header, data, status.
                let kind = [0, 1, 4, 8, 11, 13, u32::from(choices.byte())][usize::from(choices.byte() % 7)];
                let header = [kind, 0, u32::from(choices.short()) % 300, 0];
                let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
                put(&ram, BUFFERS, &header);
                let len = u32::from(choices.byte()) * 512;
                let writes = if kind == 0 || kind == 8 { 2 } else { 0 };
                describe(&ram, 0, (BUFFERS, 16, 1), 1);
                describe(&ram, 1, (BUFFERS + 0x1000, len, 1 | writes), 2);
                describe(&ram, 2, (BUFFERS + 0x100, 1, 2), 0);
            }
            2 => {
                // The available ring: an entry, and how far it goes.
                let entry = (choices.short() % (QUEUE + 2)).to_le_bytes();
                put(&ram, AVAILABLE + 4 + 2 * index, &entry);
                put(&ram, AVAILABLE + 2, &choices.short().to_le_bytes());
            }
            3 => {
                // One more of what the ring holds.
                let mut next = [0; 2];
                let _ = ram.read_slice(&mut next, GuestAddress(AVAILABLE + 2));
                let next = u16::from_le_bytes(next);
                let place = AVAILABLE + 4 + 2 * u64::from(next % QUEUE);
                put(&ram, place, &(u16::from(what >> 4) % 3).to_le_bytes());
                put(&ram, AVAILABLE + 2, &next.wrapping_add(1).to_le_bytes());
                device.write(DOORBELL, &[0, 0]);
            }
            4 => device.write(DOORBELL + 4 * (index % 4), &[0, 0]),
            5 => {
                let window = [0, 1 << 32, COMMON, COMMON + 0x2000][usize::from(what >> 4 & 3)];
                let at = window + u64::from(choices.byte());
                let width = [1, 2, 4, 8][usize::from(choices.byte() % 4)];
                match what >> 6 {
                    0 | 1 => device.write(at, &choices.array::<8>()[..width]),
                    _ => device.read(at, &mut [0; 8][..width]),
                }
            }
            6 => {
                // Through configuration space.
                let at = usize::from(choices.byte());
                let bytes = choices.array::<4>();
                device.config_mut().write(at, &bytes);
                device.config_written(at, 4);
                device.config_reading(at, 4);
            }
            _ => match choices.byte() % 8 {
                0 => medium.hold(),
                1 => medium.release(),
                2 => medium.fail(Some(MediumError::Io)),
                3 => medium.fail(None),
                4 => device.reset(),
                5 => start(&mut device, features & offered),
                6 => device.write(COMMON + 20, &[0]),
                _ => device.service(),
            },
        }
    }
    medium.fail(None);
    medium.release();
    device.service();
    device.config_mut().write(reg::COMMAND, &enabled);
    device.write(COMMON + 20, &[0]);
    assert_eq!(
        status(&mut device),
        0,
        "a reset is over when the medium has let go"
    );
    // What the guest left in memory must not matter to a driver that starts anew.
    put(&ram, 0, &[0; RAM]);
    start(&mut device, features & offered);
    describe(&ram, 0, (BUFFERS, 16, 1), 1);
    describe(&ram, 1, (BUFFERS + 512, 512, 3), 2);
    describe(&ram, 2, (BUFFERS + 2048, 1, 2), 0);
    put(&ram, BUFFERS + 2048, &[0xff]);
    put(&ram, AVAILABLE + 2, &[1, 0]);
    device.write(DOORBELL, &[0, 0]);
    let mut ended = [0xff];
    let _ = ram.read_slice(&mut ended, GuestAddress(BUFFERS + 2048));
    assert_eq!(ended, [0], "a reset always helps");
});
