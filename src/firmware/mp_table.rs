// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The multiprocessor table (Intel MultiProcessor Specification 1.4) for kernels that start without firmware and know no ACPI. SeaBIOS makes
//! its own.

use super::{FirmwareSpec, PciInterrupts, platform};
use devices::pci::isa_bridge::IsaBridge;

const FLOATING_POINTER: usize = 16;
const HEADER: usize = 44;
const SPECIFICATION: u8 = 4;
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;

/// Types of interrupts.
mod interrupt {
    pub const VECTORED: u8 = 0;
    pub const NMI: u8 = 1;
    pub const EXTERNAL: u8 = 3;
}

/// Entry types.
mod entry {
    pub const PROCESSOR: u8 = 0;
    pub const BUS: u8 = 1;
    pub const IO_APIC: u8 = 2;
    pub const IO_INTERRUPT: u8 = 3;
    pub const LOCAL_INTERRUPT: u8 = 4;
}

/// The floating pointer and, right after it, the table, for guest address `at`, a multiple of 16 in F0000h-FFFFFh.
pub(super) fn place(spec: &FirmwareSpec, at: u32) -> Vec<u8> {
    let mut floating = b"_MP_".to_vec();
    floating.extend_from_slice(&(at + FLOATING_POINTER as u32).to_le_bytes());
    // Length in 16 bytes, version, checksum, features: there is a table, and no PIC mode to leave.
    floating.extend_from_slice(&[1, SPECIFICATION, 0, 0, 0, 0, 0, 0]);
    const FLOATING_CHECKSUM: usize = 10;
    set_checksum(&mut floating, FLOATING_CHECKSUM);
    floating.append(&mut table(spec));
    floating
}

fn table(spec: &FirmwareSpec) -> Vec<u8> {
    let entries = entries(spec);
    let body = entries.concat();
    let mut table = b"PCMP".to_vec();
    table.extend_from_slice(&((HEADER + body.len()) as u16).to_le_bytes());
    table.extend_from_slice(&[SPECIFICATION, 0]);
    table.extend_from_slice(b"VIRTPC  440FX       ");
    table.extend_from_slice(&[0; 6]);
    table.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    table.extend_from_slice(&platform::LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&[0; 4]);
    table.extend_from_slice(&body);
    const TABLE_CHECKSUM: usize = 7;
    set_checksum(&mut table, TABLE_CHECKSUM);
    table
}

fn set_checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = byte.wrapping_sub(sum);
    }
}

fn entries(spec: &FirmwareSpec) -> Vec<Vec<u8>> {
    const APIC_VERSION: u8 = 0x14;
    const IO_APIC_VERSION: u8 = 0x11;
    const ENABLED: u8 = 1;
    const BOOTSTRAP: u8 = 2;
    // Family 6 with FPU and APIC: kernels ask CPUID itself.
    const SIGNATURE: [u8; 4] = 0x600u32.to_le_bytes();
    const FEATURES: [u8; 4] = 0x201u32.to_le_bytes();
    let mut all: Vec<Vec<u8>> = (0..spec.cpus)
        .map(|id| {
            let flags = ENABLED | if id == 0 { BOOTSTRAP } else { 0 };
            let mut processor = vec![entry::PROCESSOR, id, APIC_VERSION, flags];
            processor.extend_from_slice(&SIGNATURE);
            processor.extend_from_slice(&FEATURES);
            processor.extend_from_slice(&[0; 8]);
            processor
        })
        .collect();
    for (bus, name) in [(PCI_BUS, b"PCI   "), (ISA_BUS, b"ISA   ")] {
        let mut entry = vec![entry::BUS, bus];
        entry.extend_from_slice(name);
        all.push(entry);
    }
    let mut io_apic = vec![entry::IO_APIC, platform::IO_APIC_ID, IO_APIC_VERSION, ENABLED];
    io_apic.extend_from_slice(&platform::IO_APIC.to_le_bytes());
    all.push(io_apic);
    all.extend(isa_interrupts(spec.pci_interrupts));
    all.extend(pci_interrupts(spec.pci_interrupts));
    const ALL: u8 = 0xff;
    all.push(interrupt_entry(
        entry::LOCAL_INTERRUPT,
        interrupt::EXTERNAL,
        0,
        (ISA_BUS, 0),
        (0, 0),
    ));
    all.push(interrupt_entry(
        entry::LOCAL_INTERRUPT,
        interrupt::NMI,
        0,
        (ISA_BUS, 0),
        (ALL, 1),
    ));
    all
}

fn interrupt_entry(kind: u8, interrupt: u8, flags: u8, source: (u8, u8), to: (u8, u8)) -> Vec<u8> {
    vec![kind, interrupt, flags, 0, source.0, source.1, to.0, to.1]
}

fn isa_interrupts(pci: PciInterrupts) -> Vec<Vec<u8>> {
    /// Active high, level-triggered.
    const LEVEL_HIGH: u8 = 0b11_01;
    let is_pci = |irq: &u8| pci == PciInterrupts::Routed && platform::PIRQ_ROUTES.contains(irq);
    (0u8..16)
        // The cascade is not an interrupt.
        .filter(|irq| *irq != 2 && !is_pci(irq))
        .map(|irq| {
            let flags = if irq == platform::SCI { LEVEL_HIGH } else { 0 };
            let pin = if irq == 0 { platform::TIMER_PIN } else { irq };
            interrupt_entry(
                entry::IO_INTERRUPT,
                interrupt::VECTORED,
                flags,
                (ISA_BUS, irq),
                (platform::IO_APIC_ID, pin),
            )
        })
        .collect()
}

fn pci_interrupts(how: PciInterrupts) -> Vec<Vec<u8>> {
    (0u8..32)
        .flat_map(|device| (0u8..4).map(move |pin| (device, pin)))
        .map(|(device, pin)| {
            let pirq = IsaBridge::wire_of(device, pin + 1);
            let to = match how {
                PciInterrupts::Routed => platform::PIRQ_ROUTES.get(pirq).copied().unwrap_or(0),
                PciInterrupts::Pins(first) => first.wrapping_add(pirq as u8),
            };
            // Flags 0: as on its bus, active low and level-triggered.
            interrupt_entry(
                entry::IO_INTERRUPT,
                interrupt::VECTORED,
                0,
                (PCI_BUS, device << 2 | pin),
                (platform::IO_APIC_ID, to),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Ram;
    use super::*;

    fn spec(cpus: u8, pci_interrupts: PciInterrupts) -> FirmwareSpec {
        let ram = Ram {
            below_4g: 64 << 20,
            above_4g: 0,
        };
        FirmwareSpec {
            pci_interrupts,
            ..FirmwareSpec::new(ram, cpus)
        }
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// The entries, cut as a kernel cuts them.
    fn parse(table: &[u8]) -> Vec<&[u8]> {
        let mut rest = &table[HEADER..];
        let mut all = Vec::new();
        while !rest.is_empty() {
            let (entry, next) = rest.split_at(if rest[0] == entry::PROCESSOR { 20 } else { 8 });
            all.push(entry);
            rest = next;
        }
        all
    }

    #[test]
    fn pointer_and_table_add_up() {
        for cpus in [1, 8, 255] {
            let bytes = place(&spec(cpus, PciInterrupts::Routed), 0xf_0000);
            assert_eq!(sum(&bytes[..16]), 0);
            assert_eq!(sum(&bytes[16..]), 0);
            assert_eq!(bytes[4..8], 0xf_0010u32.to_le_bytes());
            let len = usize::from(u16::from_le_bytes([bytes[20], bytes[21]]));
            assert_eq!(len, bytes.len() - 16);
            let count = usize::from(u16::from_le_bytes([bytes[50], bytes[51]]));
            assert_eq!(count, parse(&bytes[16..]).len());
        }
    }

    #[test]
    fn one_processor_starts_the_others() {
        let bytes = table(&spec(3, PciInterrupts::Routed));
        let flags: Vec<_> = parse(&bytes)
            .into_iter()
            .filter(|e| e[0] == entry::PROCESSOR)
            .map(|e| (e[1], e[3]))
            .collect();
        assert_eq!(flags, [(0, 3), (1, 1), (2, 1)]);
    }

    #[test]
    fn the_timer_arrives_at_input_2_and_nothing_else_does() {
        for how in [PciInterrupts::Routed, PciInterrupts::Pins(16)] {
            let bytes = table(&spec(1, how));
            let at_two: Vec<_> = parse(&bytes)
                .into_iter()
                .filter(|e| e[0] == entry::IO_INTERRUPT && e[7] == 2)
                .map(|e| (e[4], e[5]))
                .collect();
            assert_eq!(at_two, [(ISA_BUS, 0)]);
        }
    }

    #[test]
    fn slots_go_where_their_pirq_goes() {
        let to = |how, device: u8| {
            let bytes = table(&spec(1, how));
            let entry = parse(&bytes)
                .into_iter()
                .find(|e| e[0] == entry::IO_INTERRUPT && e[4] == PCI_BUS && e[5] == device << 2)
                .map(<[u8]>::to_vec);
            entry.map(|e| e[7])
        };
        assert_eq!(to(PciInterrupts::Routed, 2), Some(10));
        assert_eq!(to(PciInterrupts::Routed, 3), Some(11));
        assert_eq!(to(PciInterrupts::Pins(16), 3), Some(18));
    }
}
