// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any guest on an IDE channel with a disk and a DVD: any register, width, value and time, and media that wait and fail.
#![no_main]

use devices::block::MediumError;
use devices::bus::Device;
use devices::ide::{Channel, Drive, HardDisk, Identity, PacketDrive};
use devices::mmc::{self, DvdDrive};
use devices::testing::{TestMedium, TestRam, TestWire};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

const RAM: usize = 0x2_0000;
/// Where the bus master's table stands in most runs.
const TABLE: usize = 0x1000;

fn identity() -> Identity {
    Identity {
        model: "Virtual HD".into(),
        firmware: "1.0".into(),
        serial: "1".into(),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut disk = TestMedium::new(vec![3; 256 * 512]);
    let mut disc = TestMedium::new(vec![4; 64 * 2048]);
    let ram = TestRam::new(RAM);
    let reaching = choices.byte();
    if reaching & 1 != 0 {
        disk = disk.with_ram(ram.clone());
    }
    if reaching & 2 != 0 {
        disc = disc.with_ram(ram.clone());
    }
    let wire = TestWire::new();
    let dvd = DvdDrive::new(mmc::Identity::default(), Some(Box::new(disc.clone())));
    let drives = [
        Drive::from(HardDisk::new(Box::new(disk.clone()), identity())),
        Drive::from(PacketDrive::new(Box::new(dvd), identity())),
    ];
    let mut channel = Channel::new(drives, ram.clone(), wire.wire.driver());
    let mut steps = 0;
    while !choices.is_empty() && steps < 400 {
        steps += 1;
        let what = choices.byte();
        let offset = u64::from(what >> 4) + if what & 8 == 0 { 0 } else { 0x10 };
        let width = [1, 2, 4, 8][usize::from(choices.byte() % 4)];
        match what % 8 {
            0 | 1 => channel.write(offset, &choices.array::<8>()[..width]),
            2 => channel.read(offset, &mut [0; 8][..width]),
            3 => {
                // A whole command: features, count, address, device, command.
                for register in 1..=7 {
                    channel.write(register, &[choices.byte()]);
                }
            }
            4 => {
                let packet = choices.array::<12>();
                channel.write(6, &[0xb0]);
                channel.write(1, &[choices.byte() & 1]);
                channel.write(4, &choices.short().to_le_bytes());
                channel.write(7, &[0xa0]);
                channel.write_string(0, 2, &packet);
            }
            5 => {
                let len = usize::from(choices.short()) % 5000;
                if choices.byte() & 1 == 0 {
                    channel.read_string(0, width, &mut vec![0; len]);
                } else {
                    channel.write_string(0, width, &vec![0x77; len]);
                }
            }
            6 => {
                let at = TABLE + 8 * usize::from(what >> 4);
                let mut entry: [u8; 8] = choices.array();
                entry[2] &= 1;
                entry[3] = 0;
                ram.put(at, &entry);
                channel.write(0x24, &(TABLE as u32).to_le_bytes());
                // The engine, stopped and started one way or the other.
                channel.write(0x20, &[what >> 4 & 8]);
                channel.write(0x20, &[what >> 4 & 8 | 1]);
            }
            _ => match choices.byte() % 8 {
                0 => disk.hold(),
                1 => disc.hold(),
                2 => disk.release(),
                3 => disc.release(),
                4 => disk.fail(Some(MediumError::Io)),
                5 => disc.fail(Some(MediumError::Io)),
                6 => channel.reset(),
                _ => channel.service(),
            },
        }
        let level = wire.level();
        channel.read(0x10, &mut [0]);
        assert_eq!(wire.level(), level, "the alternate status has no effect");
    }
    for medium in [&disk, &disc] {
        medium.fail(None);
        medium.release();
    }
    channel.reset();
    let mut status = [0];
    channel.read(7, &mut status);
    assert_eq!(status, [0x50], "a reset always helps");
});
