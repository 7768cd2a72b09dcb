// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ACPI tables of the 440FX/PIIX4 machine.
//!
//! They are those of ACPI 1.0: RSDP, RSDT, FADT (revision 1), FACS, MADT, DSDT. Windows 2000 stops with a blue screen at a FADT of ACPI 2.0
//! on this kind of machine, and nothing that the later revisions add is needed here: reset goes through port CF9h or the keyboard
//! controller, as it did when these chips were new.
//!
//! [`Tables`] holds them with addresses that count from the block's start, and knows where those stand. Firmware puts the block anywhere and
//! mends it by a script ([`Tables::loader_files`]); without firmware [`Tables::place`] does.

mod aml;
mod dsdt;
mod loader;

use super::{FirmwareSpec, PciInterrupts, platform};
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use devices::acpi_pm::{ACPI_DISABLE, ACPI_ENABLE};
use std::ops::Range;

const OEM: [u8; 6] = *b"VIRTPC";
const OEM_TABLE: [u8; 8] = *b"440FX   ";
const OEM_REVISION: u32 = 1;
/// The revision of all tables here.
const REVISION: u8 = 1;
/// The length of a system description table's header.
const HEADER: usize = 36;
/// Where a table's checksum stands in it.
const CHECKSUM: usize = 9;
/// The FACS is the one table with an alignment of its own.
const ALIGNMENT: usize = 64;

/// The tables as one block whose addresses count from its start, and the root pointer to it.
#[derive(Debug, Clone)]
pub struct Tables {
    block: Vec<u8>,
    /// Where the block holds 32-bit addresses of its own parts.
    pointers: Vec<usize>,
    /// The tables whose checksums cover such addresses.
    checksums: Vec<Range<usize>>,
    rsdt: u32,
}

/// Tables at a fixed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What to put there.
    pub bytes: Vec<u8>,
    /// The address of the root pointer.
    pub rsdp: u64,
}

impl Tables {
    /// The tables of a machine.
    pub fn new(spec: &FirmwareSpec) -> Self {
        let mut tables = Self {
            block: Vec::new(),
            pointers: Vec::new(),
            checksums: Vec::new(),
            rsdt: 0,
        };
        let facs = tables.append(&bytes(&FACS::new()));
        let dsdt = tables.append(&dsdt::table(spec));
        let fadt = tables.append(&fadt(facs, dsdt));
        let madt = tables.append(&madt(spec));
        tables.rsdt = tables.append(&rsdt(&[fadt, madt]));

        let (fadt, rsdt) = (fadt as usize, tables.rsdt as usize);
        tables.pointers = vec![
            fadt + FADT_FACS,
            fadt + FADT_DSDT,
            rsdt + HEADER,
            rsdt + HEADER + 4,
        ];
        tables.checksums = vec![fadt..fadt + FADT_LEN, rsdt..rsdt + HEADER + 2 * 4];
        tables
    }

    /// Adds a part; gives its offset.
    fn append(&mut self, part: &[u8]) -> u32 {
        self.block.resize(self.block.len().next_multiple_of(ALIGNMENT), 0);
        let at = self.block.len();
        self.block.extend_from_slice(part);
        at as u32
    }

    /// The tables with their root pointer, for guest address `at`, which the caller keeps free. The root pointer comes first.
    pub fn place(&self, at: u32) -> Placed {
        let start = at.next_multiple_of(ALIGNMENT as u32);
        let base = start + ALIGNMENT as u32;
        let mut block = self.block.clone();
        for pointer in &self.pointers {
            if let Some(field) = block.get_mut(*pointer..).and_then(<[u8]>::first_chunk_mut) {
                *field = (u32::from_le_bytes(*field) + base).to_le_bytes();
            }
        }
        for range in &self.checksums {
            if let Some(table) = block.get_mut(range.clone()) {
                set_checksum(table, CHECKSUM);
            }
        }
        let mut bytes = vec![0; (start - at) as usize];
        bytes.extend_from_slice(&rsdp(self.rsdt + base));
        bytes.resize((base - at) as usize, 0);
        bytes.append(&mut block);
        Placed {
            bytes,
            rsdp: u64::from(start),
        }
    }
}

/// Makes `table` add up to zero.
fn set_checksum(table: &mut [u8], at: usize) {
    if let Some(byte) = table.get_mut(at) {
        *byte = 0;
    }
    let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(byte) = table.get_mut(at) {
        *byte = 0u8.wrapping_sub(sum);
    }
}

fn bytes(part: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.to_aml_bytes(&mut bytes);
    bytes
}

fn table(signature: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(signature, HEADER as u32, REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(body);
    table.as_slice().to_vec()
}

const RSDP_LEN: usize = 20;
/// Where the root pointer holds the RSDT's address.
const RSDP_RSDT: usize = 16;
const RSDP_CHECKSUM: usize = 8;

/// The root pointer of ACPI 1.0, which has no length and no extended table.
fn rsdp(rsdt: u32) -> [u8; RSDP_LEN] {
    let mut rsdp = [0; RSDP_LEN];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(&OEM);
    rsdp[RSDP_RSDT..].copy_from_slice(&rsdt.to_le_bytes());
    set_checksum(&mut rsdp, RSDP_CHECKSUM);
    rsdp
}

fn rsdt(entries: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    table(*b"RSDT", &body)
}

/// The length of a FADT of ACPI 1.0: that of later revisions starts with the same fields.
const FADT_LEN: usize = 116;
const FADT_FACS: usize = 36;
const FADT_DSDT: usize = 40;

fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    /// More than 100 microseconds, more than 1000: the processor has no power state C2, no C3.
    const NOT_OFFERED: u16 = 0xfff;
    /// Where the clock's memory keeps the century.
    const CENTURY: u8 = 0x32;
    const INTERRUPT_MODEL: usize = 44;
    const SEVERAL_APICS: u8 = 1;
    let port = |offset: u16| u32::from(platform::PM_BASE + offset).into();
    let mut fields = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_32(dsdt)
        .firmware_ctrl_32(facs)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // There is a power button, as the registers have it, and no sleep button. The clock's alarm is not in the registers.
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc);
    fields.sci_int = u16::from(platform::SCI).into();
    fields.smi_cmd = u32::from(platform::APM_CONTROL).into();
    fields.acpi_enable = ACPI_ENABLE;
    fields.acpi_disable = ACPI_DISABLE;
    (fields.pm1a_evt_blk, fields.pm1_evt_len) = (port(0x0), 4);
    (fields.pm1a_cnt_blk, fields.pm1_cnt_len) = (port(0x4), 2);
    (fields.pm_tmr_blk, fields.pm_tmr_len) = (port(0x8), 4);
    (fields.gpe0_blk, fields.gpe0_blk_len) = (port(0xc), 4);
    fields.p_lvl2_lat = NOT_OFFERED.into();
    fields.p_lvl3_lat = NOT_OFFERED.into();
    fields.century = CENTURY;
    let mut fields = bytes(&fields.finalize());
    if let Some(model) = fields.get_mut(INTERRUPT_MODEL) {
        *model = SEVERAL_APICS;
    }
    table(*b"FACP", fields.get(HEADER..FADT_LEN).unwrap_or_default())
}

/// Polarity and trigger of an interrupt (ACPI 1.0b, 5.2.8.3.1).
mod inti {
    pub const CONFORMS: u16 = 0;
    pub const HIGH_LEVEL: u16 = 0b11_01;
    pub const LOW_LEVEL: u16 = 0b11_11;
}

fn madt(spec: &FirmwareSpec) -> Vec<u8> {
    const HAS_8259: u32 = 1;
    let mut body = Vec::new();
    body.dword(platform::LOCAL_APIC);
    body.dword(HAS_8259);
    for cpu in 0..spec.cpus {
        ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    IoApic::new(platform::IO_APIC_ID, platform::IO_APIC, 0).to_aml_bytes(&mut body);
    let mut source_override = |source: u8, input: u8, flags: u16| {
        const ISA: u8 = 0;
        body.vec(&[2, 10, ISA, source]);
        body.dword(u32::from(input));
        body.word(flags);
    };
    source_override(0, platform::TIMER_PIN, inti::CONFORMS);
    source_override(platform::SCI, platform::SCI, inti::HIGH_LEVEL);
    if spec.pci_interrupts == PciInterrupts::Routed {
        for irq in platform::PIRQ_CHOICES {
            source_override(irq, irq, inti::LOW_LEVEL);
        }
    }
    // NMI is at LINT1 of all processors.
    const ALL: u8 = 0xff;
    body.vec(&[4, 6, ALL]);
    body.word(inti::CONFORMS);
    body.byte(1);
    table(*b"APIC", &body)
}

#[cfg(test)]
mod tests;
