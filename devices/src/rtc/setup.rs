// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bytes by which firmware learns what is in the machine. The layout is the IBM AT's, with the additions that Bochs made and
//! SeaBIOS reads.

use super::spec::BANK_SIZE;

mod layout {
    //! Byte indices.
    pub const FLOPPY_TYPES: usize = 0x10;
    pub const DISK_TYPES: usize = 0x12;
    pub const EQUIPMENT: usize = 0x14;
    pub const BASE_MEMORY: usize = 0x15;
    pub const EXTENDED_MEMORY: usize = 0x17;
    pub const EXTENDED_DISK_TYPES: usize = 0x19;
    pub const DISK_GEOMETRY: [usize; 2] = [0x1b, 0x24];
    /// High byte first, over the bytes from `FLOPPY_TYPES` to before this.
    pub const CHECKSUM: usize = 0x2e;
    pub const EXTENDED_MEMORY_COPY: usize = 0x30;
    pub const MEMORY_ABOVE_16M: usize = 0x34;
    pub const BOOT_THIRD: usize = 0x38;
    pub const TRANSLATION: usize = 0x39;
    pub const BOOT_FIRST_SECOND: usize = 0x3d;
    pub const MEMORY_ABOVE_4G: usize = 0x5b;
    pub const PROCESSORS: usize = 0x5f;

    /// Of `DISK_TYPES`: the type is in the extended byte.
    pub const EXTENDED_TYPE: u8 = 0x0f;
    /// "User defined": look at the geometry bytes.
    pub const USER_TYPE: u8 = 47;

    pub const EQUIPMENT_FLOPPY: u8 = 0x01;
    pub const EQUIPMENT_FPU: u8 = 0x02;
    pub const EQUIPMENT_MOUSE: u8 = 0x04;
    pub const EQUIPMENT_SECOND_FLOPPY: u8 = 0x40;

    pub const SKIP_FLOPPY_SIGNATURE: u8 = 0x01;
}

/// Type of a floppy drive, with its code.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum FloppyType {
    /// No drive.
    #[default]
    None = 0,
    /// 5.25 inch, 360 KB.
    Double525 = 1,
    /// 5.25 inch, 1.2 MB.
    High525 = 2,
    /// 3.5 inch, 720 KB.
    Double35 = 3,
    /// 3.5 inch, 1.44 MB.
    High35 = 4,
    /// 3.5 inch, 2.88 MB.
    Extended35 = 5,
}

/// Geometry of a hard disk as its firmware tables have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskGeometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors of a track.
    pub sectors: u8,
}

/// How the BIOS turns its INT 13h cylinders, heads and sectors into those of an ATA disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    /// Not at all: only 1024 cylinders can be reached.
    None = 0,
    /// By logical block addresses ("LBA assisted").
    #[default]
    Lba = 1,
    /// By shifting bits from cylinders to heads ("Large").
    Large = 2,
    /// "Large" with 15 heads.
    RevisedEchs = 3,
}

/// A place to boot from, with its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// First floppy drive.
    Floppy = 1,
    /// First hard disk.
    HardDisk = 2,
    /// CD or DVD drive.
    Optical = 3,
    /// Network card.
    Network = 4,
}

/// What a board tells its firmware through the CMOS memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmosSetup {
    /// Conventional memory in KiB, at most 640.
    pub base_memory: u16,
    /// Bytes of RAM from address 0 up to at most 4 GiB, without the hole there.
    pub ram_below_4g: u64,
    /// Bytes of RAM from 4 GiB.
    pub ram_above_4g: u64,
    /// Floppy drives A and B.
    pub floppies: [FloppyType; 2],
    /// Hard disks 0 and 1 of the AT, which are the ATA disks of the primary channel.
    pub disks: [Option<DiskGeometry>; 2],
    /// For the four ATA disks: primary master, primary slave, secondary master, secondary slave.
    pub translations: [Translation; 4],
    /// A PS/2 mouse is there.
    pub mouse: bool,
    /// Where to look for a system, in this order.
    pub boot_order: [Option<BootDevice>; 3],
    /// Boot a floppy without the signature AA55h, as old boot disks need.
    pub skip_floppy_signature: bool,
    /// Processors, from 1.
    pub processors: u8,
}

impl Default for CmosSetup {
    /// 640 KiB in one processor, and nothing to boot from.
    fn default() -> Self {
        Self {
            base_memory: 640,
            ram_below_4g: 640 << 10,
            ram_above_4g: 0,
            floppies: [FloppyType::None; 2],
            disks: [None; 2],
            translations: [Translation::default(); 4],
            mouse: false,
            boot_order: [None; 3],
            skip_floppy_signature: false,
            processors: 1,
        }
    }
}

impl CmosSetup {
    /// The byte 14h: video is left at 0, "has its own ROM".
    fn equipment(&self) -> u8 {
        let mut value = layout::EQUIPMENT_FPU;
        if self.mouse {
            value |= layout::EQUIPMENT_MOUSE;
        }
        match self.floppies.iter().filter(|f| **f != FloppyType::None).count() {
            0 => {}
            1 => value |= layout::EQUIPMENT_FLOPPY,
            _ => value |= layout::EQUIPMENT_FLOPPY | layout::EQUIPMENT_SECOND_FLOPPY,
        }
        value
    }

    /// Writes the bytes; leaves all others alone.
    pub(super) fn store(&self, bytes: &mut [u8; BANK_SIZE]) {
        bytes[layout::FLOPPY_TYPES] = (self.floppies[0] as u8) << 4 | self.floppies[1] as u8;
        bytes[layout::EQUIPMENT] = self.equipment();

        put_word(bytes, layout::BASE_MEMORY, self.base_memory.into());
        let extended = self.ram_below_4g.saturating_sub(1 << 20) >> 10;
        put_word(bytes, layout::EXTENDED_MEMORY, extended);
        put_word(bytes, layout::EXTENDED_MEMORY_COPY, extended);
        let above_16m = self.ram_below_4g.saturating_sub(16 << 20) >> 16;
        put_word(bytes, layout::MEMORY_ABOVE_16M, above_16m);
        let above_4g = (self.ram_above_4g >> 16).min(0xff_ffff).to_le_bytes();
        bytes[layout::MEMORY_ABOVE_4G..][..3].copy_from_slice(&above_4g[..3]);

        let mut types = 0;
        for (i, disk) in self.disks.iter().enumerate() {
            types = types << 4 | disk.map_or(0, |_| layout::EXTENDED_TYPE);
            bytes[layout::EXTENDED_DISK_TYPES + i] = disk.map_or(0, |_| layout::USER_TYPE);
            let at = layout::DISK_GEOMETRY[i];
            bytes[at..at + 9].copy_from_slice(&disk.map_or([0; 9], DiskGeometry::to_bytes));
        }
        bytes[layout::DISK_TYPES] = types;
        bytes[layout::TRANSLATION] = self
            .translations
            .iter()
            .rev()
            .fold(0, |byte, translation| byte << 2 | *translation as u8);

        let boot = self.boot_order.map(|device| device.map_or(0, |d| d as u8));
        bytes[layout::BOOT_FIRST_SECOND] = boot[1] << 4 | boot[0];
        bytes[layout::BOOT_THIRD] = boot[2] << 4
            | if self.skip_floppy_signature {
                layout::SKIP_FLOPPY_SIGNATURE
            } else {
                0
            };
        bytes[layout::PROCESSORS] = self.processors.saturating_sub(1);

        let sum: u16 = bytes[layout::FLOPPY_TYPES..layout::CHECKSUM]
            .iter()
            .map(|byte| u16::from(*byte))
            .sum();
        bytes[layout::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A 16-bit value, low byte first, or the largest there is.
fn put_word(bytes: &mut [u8; BANK_SIZE], at: usize, value: u64) {
    let value = u16::try_from(value).unwrap_or(u16::MAX);
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

impl DiskGeometry {
    /// Cylinders, heads, first cylinder with write precompensation (none), control byte (no retries; more than 8 heads), landing
    /// zone, sectors.
    fn to_bytes(self) -> [u8; 9] {
        let cylinders = self.cylinders.to_le_bytes();
        let control = 0xc0 | if self.heads > 8 { 0x08 } else { 0 };
        [
            cylinders[0],
            cylinders[1],
            self.heads,
            0xff,
            0xff,
            control,
            cylinders[0],
            cylinders[1],
            self.sectors,
        ]
    }
}
