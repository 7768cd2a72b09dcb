// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What firmware leaves behind, for a kernel that starts without it: tables in memory, and a chip set that is switched on.

use super::acpi::Tables;
use super::{Error, FirmwareSpec, mp_table, platform, smbios};
use devices::pci::config::{command, reg};
use devices::pci::isa_bridge::spec as piix;

/// Configuration registers of the 82371AB's other functions (data sheet 290562, chapters 5 and 7).
mod register {
    /// IDE timing of both channels; bit 15 of each half switches the channel on.
    pub const IDETIM: usize = 0x40;
    /// Base of the power management ports.
    pub const PMBASE: usize = 0x40;
    /// Bit 0 opens the power management ports.
    pub const PMREGMISC: usize = 0x80;
    /// Base of the SMBus ports.
    pub const SMBBA: usize = 0x90;
    /// Bit 0 opens the SMBus ports; bit 3: its interrupt is IRQ9.
    pub const SMBHSTCFG: usize = 0xd2;
}

/// Where the tables go: ACPI first.
pub const ACPI: u32 = 0xe_0000;
/// The multiprocessor table and the SMBIOS entry point, where kernels look for them.
const F_SEGMENT: u32 = 0xf_0000;

/// Bytes for guest memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Guest address.
    pub address: u64,
    /// What to put there.
    pub bytes: Vec<u8>,
}

/// All tables at their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What to put where; all of it lies in E0000h-FFFFFh.
    pub pieces: Vec<Piece>,
    /// The address of the ACPI root pointer.
    pub rsdp: u64,
}

/// Lays out ACPI, multiprocessor and SMBIOS tables.
pub fn tables(spec: &FirmwareSpec) -> Result<Layout, Error> {
    spec.check()?;
    let acpi = Tables::new(spec).place(ACPI);
    let mp = mp_table::place(spec, F_SEGMENT);
    let mut pieces = vec![
        Piece {
            address: u64::from(ACPI),
            bytes: acpi.bytes,
        },
        Piece {
            address: u64::from(F_SEGMENT),
            bytes: mp,
        },
    ];
    // The entry point stands on 16 bytes, and the structures after it.
    const ENTRY_POINT_ROOM: u32 = 32;
    let mp_end = pieces.last().map_or(0, |piece| piece.bytes.len() as u32);
    let at = (F_SEGMENT + mp_end).next_multiple_of(16);
    let smbios = smbios::Tables::new(spec);
    let mut bytes = smbios.entry_point(at + ENTRY_POINT_ROOM);
    bytes.resize(ENTRY_POINT_ROOM as usize, 0);
    bytes.extend_from_slice(&smbios.structures);
    pieces.push(Piece {
        address: u64::from(at),
        bytes,
    });
    Ok(Layout {
        pieces,
        rsdp: acpi.rsdp,
    })
}

/// A write to configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigWrite {
    /// Device on bus 0.
    pub device: u8,
    /// Function.
    pub function: u8,
    /// Offset in configuration space.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'static [u8],
}

const fn write(function: u8, offset: usize, bytes: &'static [u8]) -> ConfigWrite {
    const PIIX4: u8 = 1;
    ConfigWrite {
        device: PIIX4,
        function,
        offset,
        bytes,
    }
}

const ISA: u8 = 0;
const IDE: u8 = 1;
const POWER: u8 = 3;

/// What to write to the PIIX4 after a reset: interrupts routed, both IDE channels decoded, power management and SMBus at the ports
/// that the tables name.
pub const PIIX4_SETUP: [ConfigWrite; 9] = [
    write(ISA, piix::PIRQRC, &platform::PIRQ_ROUTES),
    write(IDE, register::IDETIM, &[0x00, 0x80, 0x00, 0x80]),
    write(IDE, reg::COMMAND, &[(command::IO | command::BUS_MASTER) as u8, 0]),
    write(POWER, register::PMBASE, &(platform::PM_BASE | 1).to_le_bytes()),
    write(POWER, register::PMREGMISC, &[1]),
    write(POWER, register::SMBBA, &(platform::SMBUS_BASE | 1).to_le_bytes()),
    write(POWER, register::SMBHSTCFG, &[0x09]),
    write(POWER, reg::COMMAND, &[command::IO as u8, 0]),
    write(POWER, reg::INTERRUPT_LINE, &[platform::SCI]),
];

/// The ISA interrupt that PIRQ wire `pirq` is routed to (0 = PIRQA#).
pub fn interrupt_line(pirq: usize) -> u8 {
    platform::PIRQ_ROUTES.get(pirq).copied().unwrap_or(0)
}

/// Ports and what to write there: the keyboard controller's command byte, with scan codes translated, the keyboard's interrupt on and
/// the mouse's port off. A kernel that finds no translation takes the keyboard for a raw one of set 2.
pub const KEYBOARD_SETUP: [(u16, u8); 2] = [(0x64, 0x60), (0x60, 0x65)];

/// Edge/level control registers, ports 4D0h and 4D1h: the PCI interrupts and the system control interrupt are level-triggered.
pub const TRIGGERS: [(u16, u8); 2] = [(0x4d0, 0), (0x4d1, 1 << 1 | 1 << 2 | 1 << 3)];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{PciInterrupts, Ram};
    use super::*;
    use devices::acpi_pm::PowerManagement;
    use devices::line::{IrqLine, Wire};
    use devices::pci::Function;
    use devices::pci::isa_bridge::IsaBridge;
    use devices::testing::{TestClock, TestPower, TestTimer};

    fn spec(cpus: u8) -> FirmwareSpec {
        let ram = Ram {
            below_4g: 0xc000_0000,
            above_4g: 1 << 42,
        };
        FirmwareSpec {
            pci_interrupts: PciInterrupts::Pins(16),
            ..FirmwareSpec::new(ram, cpus)
        }
    }

    #[test]
    fn pieces_lie_apart_below_1_mib() {
        for cpus in [1, 8, 64, 255] {
            let layout = tables(&spec(cpus)).unwrap();
            assert_eq!(layout.rsdp, u64::from(ACPI));
            assert_eq!(layout.pieces.len(), 3, "{cpus} processors");
            let mut free_from = u64::from(ACPI);
            for piece in &layout.pieces {
                assert!(piece.address >= free_from);
                free_from = piece.address + piece.bytes.len() as u64;
            }
            assert!(free_from <= 0x10_0000);
        }
    }

    #[test]
    fn signatures_stand_where_kernels_look() {
        let layout = tables(&spec(4)).unwrap();
        let starts: Vec<_> = layout.pieces.iter().map(|p| &p.bytes[..4]).collect();
        assert_eq!(starts, [b"RSD ", b"_MP_", b"_SM_"]);
        assert!(layout.pieces.iter().all(|p| p.address % 16 == 0));
    }

    #[test]
    fn the_set_up_opens_the_ports_that_the_tables_name() {
        let mut power = PowerManagement::new(
            TestClock::new(),
            Box::new(TestTimer::new()),
            IrqLine::detached(),
            TestPower::new(),
        );
        for write in PIIX4_SETUP.iter().filter(|w| w.function == POWER) {
            power.config_mut().write(write.offset, write.bytes);
        }
        let open: Vec<_> = power.claims().iter().map(|claim| claim.address).collect();
        assert_eq!(
            open,
            [u64::from(platform::PM_BASE), u64::from(platform::SMBUS_BASE)]
        );
    }

    #[test]
    fn the_set_up_routes_the_interrupts() {
        let isa: [Wire; 16] = std::array::from_fn(|_| Wire::new(|_| {}));
        let mut bridge = IsaBridge::new(&isa);
        for write in PIIX4_SETUP.iter().filter(|w| w.function == ISA) {
            bridge.config_mut().write(write.offset, write.bytes);
            bridge.config_written(write.offset, write.bytes.len());
        }
        let mut line = bridge.interrupt(3, 1);
        line.set(true);
        assert!(isa[11].level());
        assert_eq!(TRIGGERS[1].1 & 1 << (11 - 8), 1 << 3);
    }
}
