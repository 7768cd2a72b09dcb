// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;
use devices::bus::Device;
use devices::fw_cfg::FwCfg;
use devices::testing::TestRam;
use std::collections::BTreeMap;

fn spec() -> FirmwareSpec {
    let ram = Ram {
        below_4g: 0xc000_0000,
        above_4g: 0x4000_0000,
    };
    FirmwareSpec {
        uuid: [0x5a; 16],
        ..FirmwareSpec::new(ram, 4)
    }
}

fn item(device: &mut FwCfg, key: u16, len: usize) -> Vec<u8> {
    device.write(0, &key.to_le_bytes());
    let mut bytes = vec![0; len];
    device.read_string(1, 1, &mut bytes);
    bytes
}

/// The files, as firmware reads them through the ports.
fn files(device: &mut FwCfg) -> BTreeMap<String, Vec<u8>> {
    let count = item(device, key::FILE_DIRECTORY, 4);
    let count = u32::from_be_bytes(count.try_into().unwrap()) as usize;
    let directory = item(device, key::FILE_DIRECTORY, 4 + 64 * count);
    directory[4..]
        .chunks_exact(64)
        .map(|entry| {
            let len = u32::from_be_bytes(entry[..4].try_into().unwrap()) as usize;
            let key = u16::from_be_bytes([entry[4], entry[5]]);
            let name = entry[8..].split(|byte| *byte == 0).next().unwrap();
            (String::from_utf8(name.to_vec()).unwrap(), item(device, key, len))
        })
        .collect()
}

#[test]
fn firmware_finds_what_it_needs_through_the_ports() {
    let vga: Arc<[u8]> = vec![0x55; 4096].into();
    let mut device = configuration(&spec(), Some(vga.clone()))
        .unwrap()
        .build(TestRam::new(16));
    assert_eq!(item(&mut device, key::SIGNATURE, 4), b"QEMU");
    assert_eq!(item(&mut device, key::CPUS, 2), [4, 0]);
    assert_eq!(item(&mut device, key::MAX_CPUS, 2), [4, 0]);
    assert_eq!(item(&mut device, key::UUID, 16), [0x5a; 16]);
    assert_eq!(item(&mut device, key::RAM_SIZE, 8), (4u64 << 30).to_le_bytes());
    assert_eq!(item(&mut device, key::BOOT_MENU, 2), [0, 0]);
    assert_eq!(item(&mut device, key::IRQ0_OVERRIDE, 1), [1]);
    let files = files(&mut device);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "etc/acpi/rsdp",
            "etc/acpi/tables",
            "etc/boot-fail-wait",
            "etc/boot-menu-wait",
            "etc/e820",
            "etc/smbios/smbios-anchor",
            "etc/smbios/smbios-tables",
            "etc/table-loader",
            "vgaroms/vgabios.bin",
        ]
    );
    assert_eq!(files["vgaroms/vgabios.bin"], *vga);
    assert_eq!(files["etc/smbios/smbios-anchor"].len(), 31);
}

#[test]
fn machines_that_tables_cannot_describe_are_refused() {
    let with = |change: fn(&mut FirmwareSpec)| {
        let mut spec = spec();
        change(&mut spec);
        let by_firmware = configuration(&spec, None).err();
        assert_eq!(by_firmware, direct::tables(&spec).err());
        by_firmware
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|s| s.cpus = 0), Some(Error::NoProcessor));
    assert_eq!(with(|s| s.ram.below_4g = 0), Some(Error::Ram(0)));
    assert_eq!(
        with(|s| s.ram.below_4g = 0xe000_0000),
        Some(Error::Ram(0xe000_0000))
    );
    for wrong in ["a\0b", "line\n", "größe"] {
        let mut spec = spec();
        spec.serial_number = wrong.to_owned();
        assert!(matches!(configuration(&spec, None), Err(Error::SerialNumber(_))));
    }
    assert!(with(|s| s.serial_number = "x".repeat(65)).is_some());
    assert_eq!(with(|s| s.serial_number = "x".repeat(64)), None);
}

#[test]
fn pci_memory_starts_where_seabios_starts_it() {
    let start = |below_4g| {
        Ram {
            below_4g,
            above_4g: 0,
        }
        .pci_memory_start()
    };
    assert_eq!(start(1 << 20), 0x8000_0000);
    assert_eq!(start(0x8000_0000), 0x8000_0000);
    assert_eq!(start(0x8010_0000), 0xc000_0000);
    assert_eq!(start(0xc000_0000), 0xc000_0000);
}
