// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::panic)]
use super::super::{IdePosition, Ram};
use super::*;
use devices::rtc::FloppyType;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

fn small() -> FirmwareSpec {
    let ram = Ram {
        below_4g: 64 << 20,
        above_4g: 0,
    };
    FirmwareSpec::new(ram, 1)
}

/// A machine with one of everything.
fn full(pci_interrupts: PciInterrupts) -> FirmwareSpec {
    let ram = Ram {
        below_4g: 0xc000_0000,
        above_4g: 1 << 30,
    };
    FirmwareSpec {
        pci_interrupts,
        floppies: [FloppyType::High35, FloppyType::High525],
        serial_ports: [true; 4],
        parallel_port: true,
        mouse: true,
        boot_order: vec![super::super::BootDevice::Ide(IdePosition { channel: 0, unit: 0 })],
        ..FirmwareSpec::new(ram, 255)
    }
}

fn variants() -> Vec<FirmwareSpec> {
    vec![
        small(),
        full(PciInterrupts::Routed),
        full(PciInterrupts::Pins(16)),
    ]
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Guest memory from `base` on, read as an operating system reads tables.
struct Memory {
    base: u32,
    bytes: Vec<u8>,
}

impl Memory {
    fn table(&self, at: u32) -> &[u8] {
        let at = (at - self.base) as usize;
        let len = u32_at(&self.bytes, at + 4) as usize;
        &self.bytes[at..at + len]
    }

    /// All tables by signature, found from the RSDT; each must add up.
    fn tables(&self, rsdt: u32) -> HashMap<[u8; 4], &[u8]> {
        let mut found = HashMap::new();
        let rsdt = self.table(rsdt);
        let mut addresses: Vec<_> = rsdt[HEADER..].chunks_exact(4).map(|e| u32_at(e, 0)).collect();
        assert_eq!(sum(rsdt), 0);
        while let Some(address) = addresses.pop() {
            let table = self.table(address);
            let signature: [u8; 4] = table[..4].try_into().unwrap();
            if signature == *b"FACP" {
                addresses.extend([u32_at(table, FADT_FACS), u32_at(table, FADT_DSDT)]);
            }
            if signature == *b"FACS" {
                assert!(address.is_multiple_of(64));
            } else {
                assert_eq!(sum(table), 0, "{}", String::from_utf8_lossy(&signature));
                assert_eq!(table[8], 1, "revision of ACPI 1.0");
            }
            found.insert(signature, table);
        }
        found
    }
}

#[test]
fn placed_tables_are_found_from_their_root_pointer() {
    for spec in variants() {
        for at in [0xe_0000, 0xe_0010, 0x7ffe_0004] {
            let placed = Tables::new(&spec).place(at);
            let rsdp = &placed.bytes[(placed.rsdp as u32 - at) as usize..][..20];
            assert_eq!(&rsdp[..8], b"RSD PTR ");
            assert_eq!(sum(rsdp), 0);
            assert_eq!(rsdp[15], 0, "revision of ACPI 1.0");
            let rsdt = u32_at(rsdp, 16);
            let memory = Memory {
                base: at,
                bytes: placed.bytes,
            };
            let mut names: Vec<_> = memory.tables(rsdt).into_keys().collect();
            names.sort_unstable();
            assert_eq!(names, [*b"APIC", *b"DSDT", *b"FACP", *b"FACS"]);
        }
    }
}

/// Carries the script out as SeaBIOS does. Gives the contents of files by address.
fn run_script(files: &[(&str, Vec<u8>)]) -> HashMap<String, (u32, Vec<u8>)> {
    let contents: HashMap<_, _> = files.iter().cloned().collect();
    let mut memory: HashMap<String, (u32, Vec<u8>)> = HashMap::new();
    let mut free = 0x0ff0_0000u32;
    let name = |bytes: &[u8]| {
        assert_eq!(bytes[55], 0);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    };
    let script = &contents["etc/table-loader"];
    assert_eq!(script.len() % 128, 0);
    for command in script.chunks_exact(128) {
        let file = name(&command[4..60]);
        match u32_at(command, 0) {
            1 => {
                let (alignment, zone) = (u32_at(command, 60), command[64]);
                assert!(alignment.is_power_of_two());
                let at = if zone == 2 {
                    0xf_5a60
                } else {
                    free.next_multiple_of(alignment)
                };
                assert!(at.is_multiple_of(alignment));
                let bytes = contents[file.as_str()].clone();
                free = at + bytes.len() as u32;
                memory.insert(file, (at, bytes));
            }
            2 => {
                let source = memory[&name(&command[60..116])].0;
                let (offset, size) = (u32_at(command, 116) as usize, command[120]);
                assert_eq!(size, 4);
                let (_, bytes) = memory.get_mut(&file).unwrap();
                let value = u32_at(bytes, offset) + source;
                bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            }
            3 => {
                let (offset, start, len) = (
                    u32_at(command, 60) as usize,
                    u32_at(command, 64) as usize,
                    u32_at(command, 68) as usize,
                );
                let (_, bytes) = memory.get_mut(&file).unwrap();
                let sum = sum(&bytes[start..start + len]);
                bytes[offset] = bytes[offset].wrapping_sub(sum);
            }
            other => panic!("command {other}"),
        }
    }
    memory
}

#[test]
fn firmware_that_follows_the_script_gets_the_same_tables() {
    for spec in variants() {
        let tables = Tables::new(&spec);
        let memory = run_script(&tables.loader_files());
        let (at, rsdp) = &memory["etc/acpi/rsdp"];
        assert!((0xf_0000..0x10_0000).contains(at));
        assert_eq!(sum(rsdp), 0);
        let (base, bytes) = memory["etc/acpi/tables"].clone();
        let by_firmware = Memory { base, bytes };
        let found = by_firmware.tables(u32_at(rsdp, 16));
        assert_eq!(found.len(), 4);

        let placed = tables.place(base - ALIGNMENT as u32);
        assert_eq!(placed.bytes[ALIGNMENT..], by_firmware.bytes);
    }
}

#[test]
fn the_fadt_names_the_ports_of_the_chip() {
    let fadt = fadt(0, 0);
    assert_eq!(fadt.len(), 116);
    assert_eq!(fadt[46..48], [9, 0]);
    assert_eq!(u32_at(&fadt, 48), 0xb2);
    assert_eq!(fadt[52..54], [0xf1, 0xf0]);
    assert_eq!(u32_at(&fadt, 56), 0x600);
    assert_eq!(u32_at(&fadt, 64), 0x604);
    assert_eq!(u32_at(&fadt, 76), 0x608);
    assert_eq!(u32_at(&fadt, 80), 0x60c);
    assert_eq!(fadt[88..93], [4, 2, 0, 4, 4]);
    assert_eq!(fadt[108], 0x32);
    assert_eq!(u32_at(&fadt, 112), 0x65);
}

/// The MADT's entries.
fn entries(madt: &[u8]) -> Vec<&[u8]> {
    let mut rest = &madt[HEADER + 8..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (entry, next) = rest.split_at(usize::from(rest[1]));
        all.push(entry);
        rest = next;
    }
    all
}

#[test]
fn the_madt_lists_processors_and_overrides() {
    let mut spec = small();
    spec.cpus = 3;
    let madt_of = |spec: &FirmwareSpec| madt(spec);
    let table = madt_of(&spec);
    let all = entries(&table);
    let processors: Vec<_> = all.iter().filter(|e| e[0] == 0).map(|e| e[3]).collect();
    assert_eq!(processors, [0, 1, 2]);
    let io_apics: Vec<_> = all.iter().filter(|e| e[0] == 1).collect();
    assert_eq!(io_apics.len(), 1);
    assert_eq!(u32_at(io_apics[0], 4), 0xfec0_0000);
    let overrides = |table: &[u8]| -> Vec<_> {
        entries(table)
            .iter()
            .filter(|e| e[0] == 2)
            .map(|e| (e[3], u32_at(e, 4), e[8]))
            .collect()
    };
    assert_eq!(
        overrides(&table),
        [(0, 2, 0), (9, 9, 0xd), (5, 5, 0xf), (10, 10, 0xf), (11, 11, 0xf)]
    );
    spec.pci_interrupts = PciInterrupts::Pins(16);
    assert_eq!(overrides(&madt_of(&spec)), [(0, 2, 0), (9, 9, 0xd)]);
}

/// Runs a tool of ACPICA on a DSDT; `None` where the tools are not installed.
fn acpica(tool: &str, folder: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("{tool} cannot be run ({error}): this test needs the package acpica-tools");
            None
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// ACPICA, which Linux and others interpret AML with, reads our bytes as what we meant, and its compiler has no complaint about that.
#[test]
fn acpica_disassembles_and_compiles_the_dsdt() {
    for spec in variants() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dsdt.aml"), dsdt::table(&spec)).unwrap();
        let Some(output) = acpica("iasl", folder.path(), &["-d", "dsdt.aml"]) else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output));
        let source = std::fs::read_to_string(folder.path().join("dsdt.dsl")).unwrap();
        for part in [
            "PNP0A03",
            "Device (LNKD)",
            "_S5",
            "FindSetRightBit",
            "Processor (CP00, 0x00, 0x00000000, 0x00)",
        ] {
            assert!(source.contains(part), "{part} is missing in\n{source}");
        }
        // The compiler would rather have newer objects than ACPI 1.0's for processors.
        const OLD_PROCESSORS: &str = "3168";
        let output = acpica("iasl", folder.path(), &["-tc", "-vw", OLD_PROCESSORS, "dsdt.dsl"]).unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            text(&output).contains("0 Errors, 0 Warnings, 0 Remarks"),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn acpica_finds_no_fault_in_the_other_tables() {
    let spec = full(PciInterrupts::Routed);
    for (name, table) in [("fadt.aml", fadt(0x40, 0x80)), ("madt.aml", madt(&spec))] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), table).unwrap();
        let Some(output) = acpica("iasl", folder.path(), &["-d", name]) else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output));
        for complaint in ["Warning", "Error", "Invalid", "Unknown"] {
            assert!(!text(&output).contains(complaint), "{}", text(&output));
        }
    }
}

/// ACPICA's interpreter runs our methods. Configuration space is memory to it, zero at first.
#[test]
fn links_can_be_routed_by_their_methods() {
    const SCRIPT: &str = "\
        evaluate \\_SB.LNKC._SRS (23000818)\n\
        evaluate \\_SB.PCI0.ISA_.PRQC\n\
        evaluate \\_SB.LNKC._CRS\n\
        evaluate \\_SB.LNKC._DIS\n\
        evaluate \\_SB.LNKC._STA\n\
        evaluate \\_SB.LNKC._CRS\n\
        evaluate \\_PIC 1\n\
        evaluate \\PICF\n\
        quit\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("dsdt.aml"),
        dsdt::table(&full(PciInterrupts::Pins(16))),
    )
    .unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, SCRIPT).unwrap();
    let run = Command::new("acpiexec")
        .arg("dsdt.aml")
        .current_dir(folder.path())
        .stdin(std::fs::File::open(script).unwrap())
        .output();
    let output = match run {
        Ok(output) => text(&output),
        Err(error) => {
            eprintln!("acpiexec cannot be run ({error}): this test needs the package acpica-tools");
            return;
        }
    };
    let results: Vec<_> = output
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("[Integer] = ")
                .or_else(|| line.strip_prefix("[Buffer] Length 06 =     0000: "))
        })
        .map(|result| result.split("  ").next().unwrap().trim())
        .collect();
    assert_eq!(
        results,
        [
            "000000000000000B",
            "23 00 08 18 79 00",
            "0000000000000009",
            "23 00 00 18 79 00",
            "0000000000000001",
        ],
        "{output}"
    );
}
