// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The SMBIOS structures of a machine (System Management BIOS Reference Specification 2.8): what inventory tools and activation of operating
//! systems look at.

use super::{FirmwareSpec, Ram};

/// The longest text in a structure.
pub(super) const TEXT_MOST: usize = 64;
const ENTRY_POINT: usize = 31;
const MAKER: &str = "virtualpc";
const PRODUCT: &str = "Virtual PC (440FX, PIIX4)";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A memory module has this much at most: the size field of older readers counts MiB in 15 bits.
const MODULE_MOST: u64 = 16 << 30;
const MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 4 << 30;

/// Structure types and their handles: the type in the upper byte, a count in the lower.
mod kind {
    pub const BIOS: u8 = 0;
    pub const SYSTEM: u8 = 1;
    pub const CHASSIS: u8 = 3;
    pub const PROCESSOR: u8 = 4;
    pub const MEMORY_ARRAY: u8 = 16;
    pub const MEMORY_DEVICE: u8 = 17;
    pub const MEMORY_RANGE: u8 = 19;
    pub const BOOT: u8 = 32;
    pub const END: u8 = 127;
}

/// "Unknown" in most of the enumerations.
const UNKNOWN: u8 = 2;
/// "Other" in most of the enumerations.
const OTHER: u8 = 1;
/// No such structure.
const NO_HANDLE: u16 = 0xfffe;
const NONE: u16 = 0xffff;

fn handle(kind: u8, count: u16) -> u16 {
    u16::from(kind) << 8 | count & 0xff
}

/// One structure in the making.
struct Structure {
    fields: Vec<u8>,
    texts: Vec<u8>,
    text_count: u8,
}

impl Structure {
    fn new(kind: u8, count: u16) -> Self {
        // The length is known at the end.
        let [low, high] = handle(kind, count).to_le_bytes();
        Self {
            fields: vec![kind, 0, low, high],
            texts: Vec::new(),
            text_count: 0,
        }
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.fields.extend_from_slice(bytes);
        self
    }

    fn byte(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    fn word(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn dword(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn qword(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A text field: the number of a text after the fields, 0 for none.
    fn text(mut self, text: &str) -> Self {
        if text.is_empty() {
            return self.byte(0);
        }
        self.text_count += 1;
        self.texts.extend_from_slice(text.as_bytes());
        self.texts.push(0);
        let number = self.text_count;
        self.byte(number)
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.fields.len() as u8;
        if let Some(field) = self.fields.get_mut(1) {
            *field = len;
        }
        // Texts end with an empty one; without texts there are two zeros.
        if self.texts.is_empty() {
            self.texts.push(0);
        }
        self.texts.push(0);
        self.fields.append(&mut self.texts);
        self.fields
    }
}

/// The structures and what their entry point says of them.
pub(super) struct Tables {
    /// All structures, one after the other.
    pub structures: Vec<u8>,
    count: u16,
    longest: u16,
}

impl Tables {
    /// The structures of a machine.
    pub fn new(spec: &FirmwareSpec) -> Self {
        let mut all = vec![bios(), system(spec), chassis(spec)];
        all.extend((0..spec.cpus).map(processor));
        all.extend(memory(spec.ram));
        all.push(boot());
        all.push(Structure::new(kind::END, 0).finish());
        Self {
            count: all.len() as u16,
            longest: all.iter().map(Vec::len).max().unwrap_or(0) as u16,
            structures: all.concat(),
        }
    }

    /// The entry point for structures at guest address `at`. Firmware puts its own address and checksums in.
    pub fn entry_point(&self, at: u32) -> Vec<u8> {
        const LEN: u8 = ENTRY_POINT as u8;
        const DMI: usize = 16;
        let mut entry = Vec::with_capacity(ENTRY_POINT);
        entry.extend_from_slice(b"_SM_");
        entry.extend_from_slice(&[0, LEN, 2, 8]);
        entry.extend_from_slice(&self.longest.to_le_bytes());
        entry.extend_from_slice(&[0; 6]);
        entry.extend_from_slice(b"_DMI_\0");
        entry.extend_from_slice(&(self.structures.len() as u16).to_le_bytes());
        entry.extend_from_slice(&at.to_le_bytes());
        entry.extend_from_slice(&self.count.to_le_bytes());
        entry.push(0x28);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        let inner = sum(entry.get(DMI..).unwrap_or_default());
        if let Some(checksum) = entry.get_mut(DMI + 5) {
            *checksum = 0u8.wrapping_sub(inner);
        }
        let whole = sum(&entry);
        if let Some(checksum) = entry.get_mut(4) {
            *checksum = 0u8.wrapping_sub(whole);
        }
        entry
    }
}

fn bios() -> Vec<u8> {
    // PCI, boot from CD, selectable boot, enhanced disk drives.
    const CHARACTERISTICS: u64 = 1 << 7 | 1 << 15 | 1 << 16 | 1 << 19;
    // ACPI; targeted content distribution, and this is a virtual machine.
    const EXTENSION: [u8; 2] = [1 << 0, 1 << 2 | 1 << 4];
    const NOT_THERE: u8 = 0xff;
    Structure::new(kind::BIOS, 0)
        .text("SeaBIOS")
        .text(VERSION)
        .word(0xe800)
        .text("01/01/2026")
        // 128 KiB at 1 MiB: 64 KiB times one more than this.
        .byte(1)
        .qword(CHARACTERISTICS)
        .bytes(&EXTENSION)
        .bytes(&[0, 0, NOT_THERE, NOT_THERE])
        .finish()
}

fn system(spec: &FirmwareSpec) -> Vec<u8> {
    const POWER_SWITCH: u8 = 6;
    // The first three fields of a UUID are little-endian here.
    let [a, b, c, d, e, f, g, h, rest @ ..] = spec.uuid;
    Structure::new(kind::SYSTEM, 0)
        .text(MAKER)
        .text(PRODUCT)
        .text(VERSION)
        .text(&spec.serial_number)
        .bytes(&[d, c, b, a, f, e, h, g])
        .bytes(&rest)
        .byte(POWER_SWITCH)
        .text("")
        .text("")
        .finish()
}

fn chassis(spec: &FirmwareSpec) -> Vec<u8> {
    const SAFE: u8 = 3;
    Structure::new(kind::CHASSIS, 0)
        .text(MAKER)
        .byte(OTHER)
        .text("")
        .text(&spec.serial_number)
        .text("")
        .bytes(&[SAFE, SAFE, SAFE, UNKNOWN])
        .dword(0)
        // Height, cords, contained elements, their length, SKU.
        .bytes(&[0, 0, 0, 0, 0])
        .finish()
}

fn processor(number: u8) -> Vec<u8> {
    const CENTRAL: u8 = 3;
    // Populated, and enabled.
    const STATUS: u8 = 1 << 6 | 1;
    Structure::new(kind::PROCESSOR, u16::from(number))
        .text(&format!("CPU {number}"))
        .bytes(&[CENTRAL, OTHER])
        .text(MAKER)
        // Identification: what CPUID says differs from host to host.
        .qword(0)
        .text("")
        // Voltage; external clock, most and current speed.
        .byte(0)
        .word(0)
        .word(0)
        .word(0)
        .bytes(&[STATUS, OTHER])
        // Caches are not described.
        .word(NONE)
        .word(NONE)
        .word(NONE)
        .text("")
        .text("")
        .text("")
        // Cores, enabled cores, threads.
        .bytes(&[1, 1, 1])
        .word(1 << 2)
        .word(1)
        .finish()
}

fn memory(ram: Ram) -> Vec<Vec<u8>> {
    let size = ram.size();
    // As many as have a handle: four TiB of them.
    let modules = size.div_ceil(MODULE_MOST).clamp(1, 0xff) as u16;
    const MAIN_BOARD: u8 = 3;
    const SYSTEM_MEMORY: u8 = 3;
    const NO_CORRECTION: u8 = 3;
    // A capacity that 32 bits of KiB do not hold is in the field that follows the others.
    const BIG: u32 = 0x8000_0000;
    let kib = u32::try_from(size >> 10).ok().filter(|kib| *kib < BIG);
    let mut all = vec![
        Structure::new(kind::MEMORY_ARRAY, 0)
            .bytes(&[MAIN_BOARD, SYSTEM_MEMORY, NO_CORRECTION])
            .dword(kib.unwrap_or(BIG))
            .word(NO_HANDLE)
            .word(modules)
            .qword(if kib.is_some() { 0 } else { size })
            .finish(),
    ];
    all.extend((0..modules).map(|number| {
        let start = u64::from(number) * MODULE_MOST;
        module(number, (size - start.min(size)).min(MODULE_MOST))
    }));
    let ranges = [(0, ram.below_4g), (FOUR_GIB, ram.above_4g)];
    all.extend(
        (0..)
            .zip(ranges)
            .filter(|(_, (_, len))| *len > 0)
            .map(|(number, (start, len))| range(number, start, len)),
    );
    all
}

fn module(number: u16, size: u64) -> Vec<u8> {
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    // Sizes from 32 GiB - 1 MiB on do not fit in this field; modules are smaller.
    let mib = (size / MIB) as u16;
    Structure::new(kind::MEMORY_DEVICE, number)
        .word(handle(kind::MEMORY_ARRAY, 0))
        .word(NO_HANDLE)
        // Total and data width are not known.
        .word(NONE)
        .word(NONE)
        .word(mib)
        .bytes(&[DIMM, 0])
        .text(&format!("DIMM {number}"))
        .text("")
        .byte(RAM)
        .word(1 << 1)
        .word(0)
        .text(MAKER)
        .text("")
        .text("")
        .text("")
        .byte(0)
        // Extended size; configured speed; voltages.
        .dword(0)
        .word(0)
        .word(0)
        .word(0)
        .word(0)
        .finish()
}

fn range(number: u16, start: u64, len: u64) -> Vec<u8> {
    let end = start + len;
    // Addresses in KiB, or all ones and then in bytes.
    let in_kib = |address: u64| u32::try_from(address >> 10).ok().filter(|kib| *kib != u32::MAX);
    let structure = Structure::new(kind::MEMORY_RANGE, number);
    match (in_kib(start), in_kib(end - 1)) {
        (Some(first), Some(last)) => structure
            .dword(first)
            .dword(last)
            .word(handle(kind::MEMORY_ARRAY, 0))
            .byte(1)
            .qword(0)
            .qword(0),
        _ => structure
            .dword(u32::MAX)
            .dword(u32::MAX)
            .word(handle(kind::MEMORY_ARRAY, 0))
            .byte(1)
            .qword(start)
            .qword(end - 1),
    }
    .finish()
}

fn boot() -> Vec<u8> {
    const NO_ERRORS: u8 = 0;
    Structure::new(kind::BOOT, 0)
        .bytes(&[0; 6])
        .byte(NO_ERRORS)
        .finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(below_4g: u64, above_4g: u64, cpus: u8) -> FirmwareSpec {
        FirmwareSpec::new(Ram { below_4g, above_4g }, cpus)
    }

    /// All structures as (type, handle, fields, texts).
    fn parse(mut bytes: &[u8]) -> Vec<(u8, u16, Vec<u8>, Vec<String>)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let len = usize::from(bytes[1]);
            let fields = bytes[..len].to_vec();
            bytes = &bytes[len..];
            let end = bytes.windows(2).position(|pair| pair == [0, 0]).unwrap();
            let texts = bytes[..end]
                .split(|byte| *byte == 0)
                .filter(|text| !text.is_empty())
                .map(|text| String::from_utf8(text.to_vec()).unwrap())
                .collect();
            bytes = &bytes[end + 2..];
            all.push((
                fields[0],
                u16::from_le_bytes([fields[2], fields[3]]),
                fields,
                texts,
            ));
        }
        all
    }

    #[test]
    fn lengths_are_those_of_version_2_8() {
        let tables = Tables::new(&spec(0xc000_0000, 0x4000_0000, 2));
        let all = parse(&tables.structures);
        let lengths: Vec<_> = all.iter().map(|s| (s.0, s.2.len())).collect();
        assert_eq!(
            lengths,
            [
                (0, 0x18),
                (1, 0x1b),
                (3, 0x16),
                (4, 0x2a),
                (4, 0x2a),
                (16, 0x17),
                (17, 0x28),
                (19, 0x1f),
                (19, 0x1f),
                (32, 0x0b),
                (127, 4)
            ]
        );
        assert_eq!(usize::from(tables.count), all.len());
    }

    #[test]
    fn handles_are_unique() {
        let all = parse(&Tables::new(&spec(0xc000_0000, 1 << 40, 255)).structures);
        let mut handles: Vec<_> = all.iter().map(|s| s.1).collect();
        handles.sort_unstable();
        handles.dedup();
        assert_eq!(handles.len(), all.len());
    }

    #[test]
    fn the_entry_point_adds_up() {
        let tables = Tables::new(&spec(64 << 20, 0, 1));
        let entry = tables.entry_point(0xf_4000);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
        assert_eq!(entry.len(), 31);
        assert_eq!(sum(&entry), 0);
        assert_eq!(sum(&entry[16..]), 0);
        assert_eq!(entry[24..28], 0xf_4000u32.to_le_bytes());
        assert_eq!(
            usize::from(u16::from_le_bytes([entry[22], entry[23]])),
            tables.structures.len()
        );
        assert_eq!(entry[30], 0x28);
    }

    #[test]
    fn uuid_and_serial_number() {
        let mut spec = spec(64 << 20, 0, 1);
        spec.uuid = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        spec.serial_number = "A-17".into();
        let all = parse(&Tables::new(&spec).structures);
        let (.., fields, texts) = &all[1];
        assert_eq!(
            fields[8..24],
            *b"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
        );
        assert_eq!(texts[usize::from(fields[7]) - 1], "A-17");
    }

    #[test]
    fn modules_and_ranges_add_up_to_the_memory() {
        let (below, above) = (0xc000_0000, 37 << 30);
        let all = parse(&Tables::new(&spec(below, above, 1)).structures);
        let modules: Vec<_> = all
            .iter()
            .filter(|s| s.0 == kind::MEMORY_DEVICE)
            .map(|s| u64::from(u16::from_le_bytes([s.2[12], s.2[13]])))
            .collect();
        assert_eq!(modules, [16 << 10, 16 << 10, 8 << 10]);
        let ranges: Vec<_> = all
            .iter()
            .filter(|s| s.0 == kind::MEMORY_RANGE)
            .map(|s| {
                let at = |i: usize| u64::from(u32::from_le_bytes(s.2[i..i + 4].try_into().unwrap())) << 10;
                (at(4), at(8) + 1024)
            })
            .collect();
        assert_eq!(ranges, [(0, below), (FOUR_GIB, FOUR_GIB + above)]);
    }

    #[test]
    fn a_terabyte_is_described_in_the_wide_fields() {
        let all = parse(&Tables::new(&spec(0xc000_0000, 5 << 40, 1)).structures);
        let array = all.iter().find(|s| s.0 == kind::MEMORY_ARRAY).unwrap();
        assert_eq!(array.2[7..11], 0x8000_0000u32.to_le_bytes());
        assert_eq!(array.2[15..23], ((5u64 << 40) + 0xc000_0000).to_le_bytes());
        let range = all.iter().rfind(|s| s.0 == kind::MEMORY_RANGE).unwrap();
        assert_eq!(range.2[4..12], [0xff; 8]);
        assert_eq!(range.2[15..23], FOUR_GIB.to_le_bytes());
    }
}
