// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The DSDT: what is on the board that an operating system cannot find by itself.
//!
//! ```text
//! \_PIC                  the operating system says which interrupt controllers it uses
//! \_S5                   soft off
//! \_PR.CPxx              processors
//! \_SB.PCI0              bus 0, with its windows and the interrupts of its slots
//! \_SB.PCI0.ISA          the ISA bridge with its route registers, and what is behind it
//! \_SB.LNKA - LNKD       PIRQA# - PIRQD#
//! \_SB.LNKS              the system control interrupt, which cannot be routed
//! ```

use super::super::{FirmwareSpec, PciInterrupts, platform};
use super::aml::{CreateWordField, Dma, Encoded, FindSetRightBit, Irq, Processor};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, BufferData, Device, EISAName, Else, Equal, Field,
    FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, Local, Method, Name, OpRegion,
    OpRegionSpace, Or, Package, PackageBuilder, Path, ResourceTemplate, Return, Scope, ShiftLeft, Store,
    Subtract, ZERO,
};
use acpi_tables::{Aml, AmlSink};
use devices::acpi_pm::SOFT_OFF;
use devices::pci::isa_bridge::{IsaBridge, spec as piix};
use devices::rtc::FloppyType;

/// Status of a device: present, enabled, shown, working.
const WORKS: u8 = 0x0f;
/// The same, but not shown to people.
const WORKS_UNSEEN: u8 = 0x0b;
/// Present and working, but not enabled.
const DISABLED: u8 = 0x09;

/// The names of the route registers and of the links that they belong to.
const ROUTES: [(&str, &str); 4] = [
    ("PRQA", "LNKA"),
    ("PRQB", "LNKB"),
    ("PRQC", "LNKC"),
    ("PRQD", "LNKD"),
];

/// The table.
pub(super) fn table(spec: &FirmwareSpec) -> Vec<u8> {
    let mut body = Vec::new();
    interrupt_model().to_aml_bytes(&mut body);
    let soft_off = SOFT_OFF;
    Name::new(
        "_S5_".into(),
        &Package::new(vec![&soft_off, &soft_off, &ZERO, &ZERO]),
    )
    .to_aml_bytes(&mut body);
    let processors: Vec<_> = (0..spec.cpus).map(Processor).collect();
    Scope::new(
        "\\_PR_".into(),
        processors.iter().map(|p| p as &dyn Aml).collect(),
    )
    .to_aml_bytes(&mut body);
    let links: Vec<_> = (1..).zip(ROUTES).map(|(uid, route)| link(uid, route)).collect();
    let mut children: Vec<&dyn Aml> = Vec::new();
    let pci = pci_root(spec);
    children.push(&pci);
    children.extend(links.iter().map(|link| link as &dyn Aml));
    let sci = sci_link(5);
    children.push(&sci);
    Scope::new("\\_SB_".into(), children).to_aml_bytes(&mut body);
    super::table(*b"DSDT", &body)
}

/// `\PICF` is one when the operating system uses the I/O APIC.
fn interrupt_model() -> Encoded {
    let flag: Path = "PICF".into();
    Encoded::new(&[
        &Name::new("PICF".into(), &ZERO),
        &Method::new("_PIC".into(), 1, false, vec![&Store::new(&flag, &Arg(0))]),
    ])
}

fn id(name: &str) -> Name {
    Name::new("_HID".into(), &EISAName::new(name))
}

fn uid(number: u8) -> Name {
    Name::new("_UID".into(), &number)
}

fn status(value: u8) -> Name {
    Name::new("_STA".into(), &value)
}

fn resources(children: Vec<&dyn Aml>) -> Name {
    Name::new("_CRS".into(), &ResourceTemplate::new(children))
}

fn pci_root(spec: &FirmwareSpec) -> Encoded {
    const WRITABLE: bool = true;
    let windows = resources(vec![
        &AddressSpace::<u16>::new_bus_number(0, 0xff),
        &IO::new(0xcf8, 0xcf8, 1, 8),
        &AddressSpace::<u16>::new_io(0x0000, 0x0cf7, None),
        &AddressSpace::<u16>::new_io(0x0d00, 0xffff, None),
        &AddressSpace::<u32>::new_memory(
            AddressSpaceCacheable::Cacheable,
            WRITABLE,
            0xa_0000,
            0xb_ffff,
            None,
        ),
        &AddressSpace::<u32>::new_memory(
            AddressSpaceCacheable::NotCacheable,
            WRITABLE,
            spec.ram.pci_memory_start(),
            platform::PCI_MEMORY_LAST,
            None,
        ),
    ]);
    Encoded::new(&[&Device::new(
        "PCI0".into(),
        vec![
            &id("PNP0A03"),
            &uid(0),
            &windows,
            &slot_interrupts(spec.pci_interrupts),
            &isa_bridge(spec),
        ],
    )])
}

/// Where the pin of a slot leads.
#[derive(Clone, Copy)]
enum Destination {
    Link(&'static str),
    Pin(u8),
}

/// `_PRT` by `destination` of a PIRQ. The power management function's INTA# is the system control interrupt, and not on a PIRQ.
fn routing(destination: impl Fn(usize) -> Destination, sci: Destination) -> PackageBuilder {
    const POWER_MANAGEMENT: u8 = 1;
    const ALL_FUNCTIONS: u32 = 0xffff;
    let mut slots = PackageBuilder::new();
    for (device, pin) in (0u8..32).flat_map(|device| (0u8..4).map(move |pin| (device, pin))) {
        let to = match (device, pin) {
            (POWER_MANAGEMENT, 0) => sci,
            _ => destination(IsaBridge::wire_of(device, pin + 1)),
        };
        let address = u32::from(device) << 16 | ALL_FUNCTIONS;
        match to {
            Destination::Link(name) => {
                slots.add_element(&Package::new(vec![&address, &pin, &Path::new(name), &ZERO]));
            }
            Destination::Pin(gsi) => {
                slots.add_element(&Package::new(vec![&address, &pin, &ZERO, &gsi]));
            }
        }
    }
    slots
}

fn slot_interrupts(how: PciInterrupts) -> Encoded {
    let by_link = routing(
        |pirq| Destination::Link(ROUTES.get(pirq).map_or("LNKA", |(_, link)| link)),
        Destination::Link("LNKS"),
    );
    match how {
        PciInterrupts::Routed => Encoded::new(&[&Name::new("_PRT".into(), &by_link)]),
        PciInterrupts::Pins(first) => {
            let by_pin = routing(
                |pirq| Destination::Pin(first.wrapping_add(pirq as u8)),
                Destination::Pin(platform::SCI),
            );
            let (flag, links, pins): (Path, Path, Path) = ("\\PICF".into(), "PRTL".into(), "PRTP".into());
            Encoded::new(&[
                &Name::new("PRTL".into(), &by_link),
                &Name::new("PRTP".into(), &by_pin),
                &Method::new(
                    "_PRT".into(),
                    0,
                    false,
                    vec![
                        &If::new(&flag, vec![&Return::new(&pins)]),
                        &Else::new(vec![&Return::new(&links)]),
                    ],
                ),
            ])
        }
    }
}

/// The link device of one PIRQ: its route register, as an operating system sees it.
fn link(number: u8, (register, name): (&str, &str)) -> Encoded {
    /// Of the interrupt descriptor: the mask.
    const MASK: u8 = 1;
    let route = Path::new(&format!("\\_SB_.PCI0.ISA_.{register}"));
    let (buffer, mask): (Path, Path) = ("BUFF".into(), "IRQM".into());
    let off = And::new(&ZERO, &route, &piix::PIRQ_DISABLE);
    let irq = And::new(&ZERO, &route, &piix::PIRQ_IRQ);
    let switch_off = Or::new(&route, &route, &piix::PIRQ_DISABLE);
    Encoded::new(&[&Device::new(
        name.into(),
        vec![
            &id("PNP0C0F"),
            &uid(number),
            &Name::new(
                "_PRS".into(),
                &ResourceTemplate::new(vec![&Irq::pci(&platform::PIRQ_CHOICES)]),
            ),
            &Name::new("BUFF".into(), &ResourceTemplate::new(vec![&Irq::pci(&[])])),
            &Method::new(
                "_STA".into(),
                0,
                false,
                vec![
                    &If::new(&off, vec![&Return::new(&DISABLED)]),
                    &Else::new(vec![&Return::new(&WORKS_UNSEEN)]),
                ],
            ),
            &Method::new("_DIS".into(), 0, false, vec![&switch_off]),
            &Method::new(
                "_CRS".into(),
                0,
                true,
                vec![
                    &CreateWordField {
                        buffer: &buffer,
                        index: MASK,
                        name: &mask,
                    },
                    &Store::new(&mask, &ZERO),
                    &If::new(&Equal::new(&off, &ZERO), vec![&ShiftLeft::new(&mask, &1u8, &irq)]),
                    &Return::new(&buffer),
                ],
            ),
            &Method::new(
                "_SRS".into(),
                1,
                true,
                vec![
                    &CreateWordField {
                        buffer: &Arg(0),
                        index: MASK,
                        name: &mask,
                    },
                    &FindSetRightBit {
                        value: &mask,
                        target: &Local(0),
                    },
                    &If::new(&Local(0), vec![&Subtract::new(&route, &Local(0), &1u8)]),
                    &Else::new(vec![&switch_off]),
                ],
            ),
        ],
    )])
}

/// The system control interrupt as a link that has no choice.
fn sci_link(number: u8) -> Encoded {
    let fixed = Irq::pci(&[platform::SCI]);
    Encoded::new(&[&Device::new(
        "LNKS".into(),
        vec![
            &id("PNP0C0F"),
            &uid(number),
            &status(WORKS_UNSEEN),
            &Name::new("_PRS".into(), &ResourceTemplate::new(vec![&fixed])),
            &resources(vec![&fixed]),
            &Method::new("_DIS".into(), 0, false, Vec::new()),
            &Method::new("_SRS".into(), 1, false, Vec::new()),
        ],
    )])
}

fn isa_bridge(spec: &FirmwareSpec) -> Encoded {
    const ADDRESS: u32 = 1 << 16;
    let offset = piix::PIRQRC as u8;
    let registers = ROUTES
        .into_iter()
        .filter_map(|(name, _)| {
            name.as_bytes()
                .first_chunk()
                .map(|name| FieldEntry::Named(*name, 8))
        })
        .collect();
    let mut devices = vec![
        Encoded::new(&[&Name::new("_ADR".into(), &ADDRESS)]),
        Encoded::new(&[
            &OpRegion::new("PIRQ".into(), OpRegionSpace::PCIConfig, &offset, &4u8),
            &Field::new(
                "PIRQ".into(),
                FieldAccessType::Byte,
                FieldLockRule::NoLock,
                FieldUpdateRule::Preserve,
                registers,
            ),
        ]),
    ];
    devices.extend(board_devices());
    devices.push(keyboard());
    if spec.mouse {
        devices.push(isa_device("MOUS", "PNP0F13", None, vec![&Irq::isa(12)]));
    }
    devices.extend(floppy_controller(spec.floppies));
    devices.extend(serial_ports(spec.serial_ports));
    if spec.parallel_port {
        devices.push(isa_device(
            "LPT1",
            "PNP0400",
            Some(1),
            vec![&IO::new(0x378, 0x378, 0, 8), &Irq::isa(7)],
        ));
    }
    Encoded::new(&[&Device::new(
        "ISA_".into(),
        devices.iter().map(|d| d as &dyn Aml).collect(),
    )])
}

fn isa_device(name: &str, hid: &str, number: Option<u8>, claims: Vec<&dyn Aml>) -> Encoded {
    let number = Encoded::new(&number.map(uid).iter().map(|u| u as &dyn Aml).collect::<Vec<_>>());
    Encoded::new(&[&Device::new(
        name.into(),
        vec![&id(hid), &number, &resources(claims)],
    )])
}

/// What every PC has.
fn board_devices() -> Vec<Encoded> {
    let port = |first: u16, len: u8| IO::new(first, first, 0, len);
    vec![
        isa_device(
            "PIC_",
            "PNP0000",
            None,
            vec![&port(0x20, 2), &port(0xa0, 2), &Irq::isa(2)],
        ),
        isa_device("TIMR", "PNP0100", None, vec![&port(0x40, 4), &Irq::isa(0)]),
        isa_device(
            "DMAC",
            "PNP0200",
            None,
            vec![
                &port(0x00, 0x10),
                &port(0x81, 0x0f),
                &port(0xc0, 0x20),
                &Dma {
                    channel: 4,
                    words: true,
                },
            ],
        ),
        isa_device("RTC_", "PNP0B00", None, vec![&port(0x70, 4), &Irq::isa(8)]),
        isa_device("SPKR", "PNP0800", None, vec![&port(0x61, 1)]),
        isa_device("FPU_", "PNP0C04", None, vec![&port(0xf0, 0x10), &Irq::isa(13)]),
        // Ports that nobody else may be given.
        isa_device(
            "MBRD",
            "PNP0C02",
            Some(1),
            vec![
                &port(0x80, 1),
                &port(0x92, 1),
                &port(platform::APM_CONTROL, 2),
                &port(0x402, 1),
                &port(0x4d0, 2),
                &port(0x510, 12),
                &port(platform::PM_BASE, 0x40),
                &port(platform::SMBUS_BASE, 0x10),
            ],
        ),
    ]
}

fn keyboard() -> Encoded {
    isa_device(
        "KBD_",
        "PNP0303",
        None,
        vec![
            &IO::new(0x60, 0x60, 0, 1),
            &IO::new(0x64, 0x64, 0, 1),
            &Irq::isa(1),
        ],
    )
}

fn serial_ports(present: [bool; 4]) -> Vec<Encoded> {
    const PORTS: [(&str, u16, u8); 4] = [
        ("COM1", 0x3f8, 4),
        ("COM2", 0x2f8, 3),
        ("COM3", 0x3e8, 4),
        ("COM4", 0x2e8, 3),
    ];
    (1..)
        .zip(PORTS)
        .zip(present)
        .filter(|(_, present)| *present)
        .map(|((number, (name, port, irq)), _)| {
            isa_device(
                name,
                "PNP0501",
                Some(number),
                vec![&IO::new(port, port, 0, 8), &Irq::isa(irq)],
            )
        })
        .collect()
}

/// The controller and its drives (ACPI 2.0, 10.9); none without drives.
fn floppy_controller(drives: [FloppyType; 2]) -> Option<Encoded> {
    const NAMES: [&str; 2] = ["FLPA", "FLPB"];
    const NO_TAPE: u32 = 2;
    if drives.iter().all(|d| *d == FloppyType::None) {
        return None;
    }
    let mut present = Vec::new();
    for drive in 0..4 {
        let there = drives.get(drive).is_some_and(|d| *d != FloppyType::None);
        present.dword(u32::from(there));
    }
    present.dword(NO_TAPE);
    let children: Vec<_> = (0u8..)
        .zip(NAMES)
        .zip(drives)
        .filter_map(|((number, name), drive)| {
            let info = floppy_information(number, drive)?;
            Some(Encoded::new(&[&Device::new(
                name.into(),
                vec![&Name::new("_ADR".into(), &number), &info],
            )]))
        })
        .collect();
    let (enumeration, claims) = (
        Name::new("_FDE".into(), &BufferData::new(present)),
        resources(vec![
            &IO::new(0x3f2, 0x3f2, 0, 4),
            &IO::new(0x3f7, 0x3f7, 0, 1),
            &Irq::isa(6),
            &Dma {
                channel: 2,
                words: false,
            },
        ]),
    );
    let (hid, works) = (id("PNP0700"), status(WORKS));
    let mut parts: Vec<&dyn Aml> = vec![&hid, &works, &claims, &enumeration];
    parts.extend(children.iter().map(|c| c as &dyn Aml));
    Some(Encoded::new(&[&Device::new("FDC0".into(), parts)]))
}

/// `_FDI`: the answer of INT 13h AH=08h, and the diskette parameter table.
fn floppy_information(number: u8, drive: FloppyType) -> Option<Name> {
    let (last_cylinder, sectors): (u8, u8) = match drive {
        FloppyType::None => return None,
        FloppyType::Double525 => (39, 9),
        FloppyType::High525 => (79, 15),
        FloppyType::Double35 => (79, 9),
        FloppyType::High35 => (79, 18),
        FloppyType::Extended35 => (79, 36),
    };
    const LAST_HEAD: u8 = 1;
    // Step rate and head times, motor-off delay, 512-byte sectors.
    const SPECIFY: [u8; 4] = [0xaf, 0x02, 0x25, 0x02];
    // Gap, data length, gap when formatting, fill byte, head settle and motor start times.
    const FORMAT: [u8; 6] = [0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08];
    let mut package = PackageBuilder::new();
    let fields = [number, drive as u8, last_cylinder, sectors, LAST_HEAD]
        .into_iter()
        .chain(SPECIFY)
        .chain([sectors])
        .chain(FORMAT);
    for field in fields {
        package.add_element(&field);
    }
    Some(Name::new("_FDI".into(), &package))
}
