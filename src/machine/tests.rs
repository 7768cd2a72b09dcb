// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A whole board against a hostile guest: the guest's bus cycles, without a guest.
#![allow(clippy::unwrap_used)]

use super::board::FloppyDrive;
use super::*;
use crate::hypervisor::IoHandler;

/// Xorshift, 64 bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn machine(irqchip: Irqchip) -> Machine {
    let mut image = vec![0; 128 << 10];
    image[(128 << 10) - 16] = 0xf4;
    let spec = Spec {
        memory: 2 << 20,
        cpus: 1,
        without: vec![],
        irqchip,
        boot: Boot::Firmware {
            image,
            vga_bios: None,
        },
        boot_order: vec![],
        date: 0,
        reboot: true,
        serial: [None, None, None, None],
        parallel: Some(Box::new(|_| {})),
        ide: [Some(IdeDrive::Dvd(None)), None, Some(IdeDrive::Dvd(None)), None],
        virtio: vec![],
        floppies: [Some(FloppyDrive { image: None }), None],
        debug_console: Some(Box::new(|_| {})),
    };
    Machine::new(spec, &*hypervisor::open().unwrap()).unwrap()
}

#[test]
fn any_cycle_at_any_address_is_survived() {
    for (irqchip, seed) in [
        (Irqchip::Kernel, 0x9e37_79b9_7f4a_7c15),
        (Irqchip::Split, 0xd1b5_4a32_d192_ed03),
    ] {
        let machine = machine(irqchip);
        machine.board.resume();
        let buses = &machine.board.buses;
        let mut random = Random(seed);
        for n in 0..500_000 {
            let (where_, what, how) = (random.next(), random.next(), random.next());
            // Most ports of a PC lie low, or are the PCI configuration ports.
            let port = match how % 4 {
                0 => where_ as u16,
                1 => 0xcf8 + (where_ % 8) as u16,
                _ => (where_ % 0x800) as u16,
            };
            let width = 1 << (how >> 8 & 3).min(2);
            let count = if how >> 16 & 15 == 0 {
                1 + (what % 64) as usize
            } else {
                1
            };
            let mut data: Vec<u8> = (0..count * width).map(|_| random.next() as u8).collect();
            match how >> 24 & 7 {
                0..=2 => buses.port_write(port, width, &data),
                3..=5 => buses.port_read(port, width, &mut data),
                _ => {
                    let base = [0xa_0000, 0xc_0000, 0xfec0_0000, 0xe000_0000][(how >> 32 & 3) as usize];
                    let address = base + where_ % 0x2_0000;
                    let len = 1 << (what & 3);
                    let mut word = [what as u8; 8];
                    if what & 4 == 0 {
                        buses.memory_write(address, &word[..len]);
                    } else {
                        buses.memory_read(address, &mut word[..len]);
                    }
                }
            }
            if n % 50_000 == 49_999 {
                machine.board.reset();
            }
            // What the director would hear is thrown away, as after a reset.
            if n % 1000 == 0 {
                machine.notices.try_iter().for_each(drop);
            }
        }
        // The chips live: the PCI host bridge says who it is.
        machine.board.reset();
        buses.port_write(0xcf8, 4, &0x8000_0000u32.to_le_bytes());
        let mut identity = [0; 4];
        buses.port_read(0xcfc, 4, &mut identity);
        assert_eq!(u32::from_le_bytes(identity), 0x1237_8086);
    }
}
