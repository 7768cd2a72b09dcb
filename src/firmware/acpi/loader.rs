// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables as files for firmware, with the script that says where to put them and what to mend then (`etc/table-loader`, QEMU's
//! `hw/acpi/bios-linker-loader.c`, which SeaBIOS and OVMF carry out).

use super::{ALIGNMENT, CHECKSUM, RSDP_CHECKSUM, RSDP_LEN, RSDP_RSDT, Tables, rsdp};

const TABLES: &str = "etc/acpi/tables";
const RSDP: &str = "etc/acpi/rsdp";
const SCRIPT: &str = "etc/table-loader";

/// Bytes of a command.
const COMMAND: usize = 128;
/// Bytes of a file name.
const NAME: usize = 56;

/// Where a file goes.
#[derive(Clone, Copy)]
enum Zone {
    /// Anywhere below 4 GiB.
    High = 1,
    /// F0000h-FFFFFh, where an operating system looks for the root pointer.
    FSegment = 2,
}

enum Command {
    Allocate {
        file: &'static str,
        alignment: u32,
        zone: Zone,
    },
    /// Adds the address of `source` to the 32-bit value at `offset` of `file`.
    AddPointer {
        file: &'static str,
        source: &'static str,
        offset: u32,
    },
    /// Makes `len` bytes from `start` add up to zero, by the byte at `offset`.
    AddChecksum {
        file: &'static str,
        offset: u32,
        start: u32,
        len: u32,
    },
}

impl Command {
    fn encode(&self) -> [u8; COMMAND] {
        let mut fields = Vec::with_capacity(COMMAND);
        let number = |fields: &mut Vec<u8>, value: u32| fields.extend_from_slice(&value.to_le_bytes());
        let name = |fields: &mut Vec<u8>, name: &str| {
            let end = fields.len() + NAME;
            fields.extend_from_slice(name.as_bytes());
            fields.resize(end, 0);
        };
        match *self {
            Self::Allocate {
                file,
                alignment,
                zone,
            } => {
                number(&mut fields, 1);
                name(&mut fields, file);
                number(&mut fields, alignment);
                fields.push(zone as u8);
            }
            Self::AddPointer { file, source, offset } => {
                number(&mut fields, 2);
                name(&mut fields, file);
                name(&mut fields, source);
                number(&mut fields, offset);
                fields.push(4);
            }
            Self::AddChecksum {
                file,
                offset,
                start,
                len,
            } => {
                number(&mut fields, 3);
                name(&mut fields, file);
                number(&mut fields, offset);
                number(&mut fields, start);
                number(&mut fields, len);
            }
        }
        let mut command = [0; COMMAND];
        for (to, from) in command.iter_mut().zip(fields) {
            *to = from;
        }
        command
    }
}

impl Tables {
    /// The three files: tables, root pointer, script.
    pub fn loader_files(&self) -> [(&'static str, Vec<u8>); 3] {
        [
            (TABLES, self.block.clone()),
            (RSDP, rsdp(self.rsdt).to_vec()),
            (SCRIPT, self.script()),
        ]
    }

    fn script(&self) -> Vec<u8> {
        let mut commands = vec![
            Command::Allocate {
                file: TABLES,
                alignment: ALIGNMENT as u32,
                zone: Zone::High,
            },
            Command::Allocate {
                file: RSDP,
                alignment: 16,
                zone: Zone::FSegment,
            },
        ];
        commands.extend(self.pointers.iter().map(|offset| Command::AddPointer {
            file: TABLES,
            source: TABLES,
            offset: *offset as u32,
        }));
        commands.push(Command::AddPointer {
            file: RSDP,
            source: TABLES,
            offset: RSDP_RSDT as u32,
        });
        // Checksums last: they cover the addresses.
        commands.extend(self.checksums.iter().map(|table| Command::AddChecksum {
            file: TABLES,
            offset: (table.start + CHECKSUM) as u32,
            start: table.start as u32,
            len: table.len() as u32,
        }));
        commands.push(Command::AddChecksum {
            file: RSDP,
            offset: RSDP_CHECKSUM as u32,
            start: 0,
            len: RSDP_LEN as u32,
        });
        commands.iter().flat_map(Command::encode).collect()
    }
}
