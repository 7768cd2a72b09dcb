// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The wiring table: which chip answers at which address, on which interrupt, DMA channel and PCI slot. No other module knows these
//! numbers.

mod buses;
mod floppy;
mod ide;
mod interrupts;
mod ports;
mod snapshot;

use super::control::Remote;
use super::control::{Drive, DriveStatus};
use super::cpu::Gate;
use super::events::EventLoop;
use super::media::{Bay, Cord, DvdBay, FloppyBay};
use super::timers::{MachineClock, Timers};
use crate::console::{Backend, Drain, Output, SerialPort};
use crate::firmware::direct;
use crate::host::virtio;
use crate::hypervisor::{self, Irqchip, Vm};
use crate::memory::{Memory, SHADOW_RANGE};
use crate::storage::{self, Image};
pub use buses::Buses;
use devices::acpi_pm::{self, PowerManagement};
use devices::bus::{BusBuilder, Overlap, SharedDevice, lock};
use devices::clock::Clock;
use devices::debug_port::{DebugConsole, PostCode};
use devices::dma8237::{ChannelNumber, Dma8237, DmaChannel};
use devices::fdc::{self, Fdc};
use devices::fw_cfg::{self, FwCfg, FwCfgBuilder};
use devices::i8042::{I8042, Wiring};
use devices::ide::{Channel, PiixIde};
use devices::line::{IrqLine, Wire};
use devices::parallel::ParallelPort;
use devices::pci::config;
use devices::pci::host_bridge::{HostBridge, PAM0};
use devices::pci::isa_bridge::IsaBridge;
use devices::pci::root::{PciRoot, SharedFunction};
use devices::pit::Pit;
use devices::power::PowerControl;
use devices::ram::GuestRam;
use devices::rtc::{CmosSetup, Rtc};
use devices::system_control::{FastControl, ResetControl, SpeakerPort};
use devices::vga::{self, Vga};
pub use floppy::{FloppyDrive, cmos_type};
pub use ide::IdeDrive;
pub use interrupts::PIRQ_PIN;
use ports::{PARALLEL, SERIAL};
/// The PCI slot of the first virtio disk.
pub use slot::VIRTIO as FIRST_VIRTIO;
pub use snapshot::BoardState;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// ISA interrupts.
mod irq {
    pub const TIMER: usize = 0;
    pub const KEYBOARD: usize = 1;
    pub const FLOPPY: usize = 6;
    pub const RTC: usize = 8;
    pub const SCI: usize = 9;
    pub const MOUSE: usize = 12;
    pub const IDE: [usize; 2] = [14, 15];
}

/// The ISA DMA channel of the floppy controller.
const FLOPPY_DMA: ChannelNumber = ChannelNumber::Dma2;

/// PCI device numbers; the PIIX4's functions share one.
mod slot {
    pub const HOST_BRIDGE: (u8, u8) = (0, 0);
    pub const ISA_BRIDGE: (u8, u8) = (1, 0);
    pub const IDE: (u8, u8) = (1, 1);
    pub const POWER: (u8, u8) = (1, 3);
    /// Virtio disks, from here on. Slot 2 is where a PC of this kind has its display.
    pub const VIRTIO: u8 = 3;
}

/// Where firmware puts the bus master registers of the IDE function.
const IDE_BUS_MASTER: u32 = 0xc000;
/// Where firmware puts the registers of virtio disks: ports and memory, and how far apart the disks are.
const VIRTIO_PORTS: (u32, u32) = (0xc080, 0x80);
const VIRTIO_MEMORY: (u32, u32) = (0xfe00_0000, 0x8000);

/// What the board is made from.
pub struct Parts {
    pub vm: Arc<dyn Vm>,
    pub irqchip: Irqchip,
    pub memory: Arc<Memory>,
    pub gate: Arc<Gate>,
    pub power: Arc<dyn PowerControl>,
    pub cmos: CmosSetup,
    /// The date at power-on, in seconds since 1970.
    pub date: i64,
    pub firmware_files: FwCfgBuilder,
    /// Where the firmware's debug console goes.
    pub debug_console: Option<Sink>,
    /// Primary master and slave, secondary master and slave.
    pub ide: [Option<IdeDrive>; 4],
    /// Diskette drives A and B.
    pub floppies: [Option<FloppyDrive>; 2],
    /// Virtio disks.
    pub virtio: Vec<Image>,
    /// Processors: a virtio disk has a queue for each.
    pub cpus: u8,
    /// COM1 to COM4.
    pub serial: [Option<Backend>; 4],
    /// What LPT1 prints.
    pub parallel: Option<Sink>,
    /// Where a user at a serial port asks for the end of the machine, and drives tell of their trays.
    pub remote: Remote,
}

/// Takes bytes that a guest writes to a port. It runs on a processor's thread and must not block for long.
pub type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// A board could not be wired.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two chips at one address: a mistake in this module.
    #[error("the board is wired wrongly")]
    Overlap(#[from] Overlap),
    /// The host has no thread or descriptor for it.
    #[error("the host cannot serve the machine's timers and ports")]
    Thread(#[from] std::io::Error),
    /// An image cannot be put into its drive.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// All chips of a machine, and its buses.
pub struct Board {
    /// The first to go: see [`Cord`].
    _cords: Vec<Cord>,
    /// Of the IDE disks.
    images: Vec<storage::Handle>,
    // What the guest wrote is flushed while the far ends are still open; then goes the event loop, then the ports that it serves.
    _drains: Vec<Drain>,
    _events: Option<EventLoop>,
    serial_ports: Vec<Shared<SerialPort<Output>>>,
    parallel: Option<Shared<ParallelPort>>,
    vm: Arc<dyn Vm>,
    pub buses: Arc<Buses>,
    pub clock: Arc<MachineClock>,
    pub vga: Shared<Vga>,
    pub power: Shared<PowerManagement>,
    pub pci: Arc<PciRoot>,
    timers: Timers,
    host_bridge: Shared<HostBridge>,
    isa_bridge: Shared<IsaBridge>,
    rtc: Shared<Rtc>,
    pit: Option<(Shared<Pit>, Shared<SpeakerPort>)>,
    fw_cfg: Shared<FwCfg>,
    dma: Shared<Dma8237>,
    ide: Shared<PiixIde>,
    ide_channels: [Shared<Channel>; 2],
    virtio: Vec<virtio::Disk>,
    fdc: Shared<Fdc>,
    dvds: Vec<DvdBay>,
    floppies: [Option<FloppyBay>; 2],
    i8042: Shared<I8042>,
    post_code: Shared<PostCode>,
    fast_control: Shared<FastControl>,
    reset_control: Shared<ResetControl>,
}

type Shared<T> = Arc<Mutex<T>>;

fn shared<T>(chip: T) -> Shared<T> {
    Arc::new(Mutex::new(chip))
}

impl Board {
    /// Makes and wires all chips.
    pub fn new(parts: Parts) -> Result<Self, Error> {
        let Parts {
            vm,
            irqchip,
            memory,
            gate,
            power,
            cmos,
            date,
            firmware_files,
            debug_console,
            ide,
            floppies,
            virtio,
            cpus,
            serial,
            parallel,
            remote,
        } = parts;
        let clock = Arc::new(MachineClock::new());
        let guest_clock: Arc<dyn Clock> = clock.clone();
        let ram: Arc<dyn GuestRam> = memory.clone();
        let timers = Timers::new(clock.clone())?;
        let interrupts::Wires {
            isa,
            pirq,
            controllers,
        } = interrupts::wire(&vm, irqchip, &gate);
        let line = |irq: usize| -> IrqLine { isa.get(irq).map_or_else(IrqLine::detached, Wire::driver) };
        let mut ports = BusBuilder::new();
        let mut memory_bus = BusBuilder::new();

        let (timer, socket) = timers.create();
        let rtc = shared(Rtc::new(guest_clock.clone(), timer, line(irq::RTC), date, &cmos));
        socket.connect(&rtc);
        ports.map(0x70..=0x73, 0, rtc.clone())?;

        let pit = match &controllers {
            Some(controllers) => {
                ports.map(0x20..=0x21, 0, controllers.pic.clone())?;
                ports.map(0xa0..=0xa1, 2, controllers.pic.clone())?;
                ports.map(0x4d0..=0x4d1, 4, controllers.pic.clone())?;
                memory_bus.map(0xfec0_0000..=0xfec0_0fff, 0, controllers.ioapic.clone())?;
                let (timer, socket) = timers.create();
                let pit = shared(Pit::new(guest_clock.clone(), timer, line(irq::TIMER)));
                socket.connect(&pit);
                let speaker = shared(SpeakerPort::new(guest_clock.clone(), pit.clone()));
                ports.map(0x40..=0x43, 0, pit.clone())?;
                ports.map(0x61..=0x61, 0, speaker.clone())?;
                Some((pit, speaker))
            }
            None => None,
        };

        let dma = shared(Dma8237::new());
        ports.map(0x00..=0x0f, 0x00, dma.clone())?;
        ports.map(0x81..=0x8f, 0x81, dma.clone())?;
        ports.map(0xc0..=0xdf, 0xc0, dma.clone())?;
        let post_code = shared(PostCode::new());
        ports.map(0x80..=0x80, 0, post_code.clone())?;
        if let Some(sink) = debug_console {
            ports.map(0x402..=0x402, 0, shared(DebugConsole::new(sink)))?;
        }

        let (timer, socket) = timers.create();
        let i8042 = shared(I8042::new(Wiring {
            keyboard_irq: line(irq::KEYBOARD),
            mouse_irq: line(irq::MOUSE),
            power: power.clone(),
            clock: guest_clock.clone(),
            timer,
        }));
        socket.connect(&i8042);
        ports.map(0x60..=0x60, 0, i8042.clone())?;
        ports.map(0x64..=0x64, 4, i8042.clone())?;

        let fast_control = shared(FastControl::new(power.clone()));
        ports.map(0x92..=0x92, 0, fast_control.clone())?;
        let reset_control = shared(ResetControl::new(power.clone()));

        let vga = shared(Vga::new(ram.clone(), guest_clock.clone()));
        for range in vga::PORTS {
            ports.map(range.clone(), *range.start(), vga.clone())?;
        }
        memory_bus.map(vga::WINDOW, *vga::WINDOW.start(), vga.clone())?;
        memory_bus.map(SHADOW_RANGE, *SHADOW_RANGE.start(), memory.clone())?;

        let fw_cfg = shared(firmware_files.build(ram.clone()));
        ports.map(fw_cfg::PORTS, 0, fw_cfg.clone())?;

        let mut serial_ports = Vec::new();
        let mut attachments = Vec::new();
        let mut drains = Vec::new();
        for ((first, irq), backend) in SERIAL.into_iter().zip(serial) {
            let Some(backend) = backend else { continue };
            let wired = ports::serial(backend, line(irq), &remote)?;
            ports.map(first..=first + 7, 0, wired.port.clone())?;
            serial_ports.push(wired.port);
            attachments.extend(wired.attachment);
            drains.extend(wired.drain);
        }
        let events = EventLoop::start(attachments)?;
        let parallel = match parallel {
            Some(sink) => {
                let (first, irq) = PARALLEL;
                let port = shared(ParallelPort::new(line(irq), sink));
                ports.map(first..=first + 2, 0, port.clone())?;
                Some(port)
            }
            None => None,
        };

        let mut cords = Vec::new();
        let mut images = Vec::new();
        let mut dvds = Vec::new();
        let mut channels = Vec::new();
        let [a, b, c, d] = ide;
        for (number, drives) in [[a, b], [c, d]].into_iter().enumerate() {
            let wired = ide::wire(number, drives, line(irq::IDE[number]), &memory.dma(), &remote)?;
            let (command, control) = [(0x1f0, 0x3f6), (0x170, 0x376)][number];
            ports.map(
                command..=command + 7,
                devices::ide::COMMAND_BLOCK,
                wired.channel.clone(),
            )?;
            ports.map(
                control..=control,
                devices::ide::CONTROL_BLOCK,
                wired.channel.clone(),
            )?;
            dvds.extend(wired.dvds);
            cords.push(wired.cord);
            images.extend(wired.images);
            channels.push(wired.channel);
        }
        let ide_channels = [channels[0].clone(), channels[1].clone()];
        let ide = shared(PiixIde::new(ide_channels.clone()));

        let (timer, socket) = timers.create();
        let channel = DmaChannel::new(dma.clone(), ram.clone(), FLOPPY_DMA);
        let wiring = fdc::Wiring {
            clock: guest_clock.clone(),
            timer,
            dma: Box::new(channel),
            irq: line(irq::FLOPPY),
        };
        let floppy::Wired {
            fdc,
            bays: floppies,
            cord,
        } = floppy::wire(wiring, floppies)?;
        cords.push(cord);
        socket.connect(&fdc);
        ports.map(0x3f0..=0x3f5, 0, fdc.clone())?;
        // 3F6h between them is the IDE controller's.
        ports.map(0x3f7..=0x3f7, 7, fdc.clone())?;

        let host_bridge = shared(HostBridge::new(memory.clone()));
        let isa_bridge = shared(IsaBridge::with_apic(&isa, &pirq));
        let (timer, socket) = timers.create();
        let power_management = shared(PowerManagement::new(guest_clock, timer, line(irq::SCI), power));
        socket.connect(&power_management);
        ports.map(0xb2..=0xb3, acpi_pm::APM, power_management.clone())?;

        let mut virtio_disks = Vec::new();
        for (number, image) in (0..).zip(virtio) {
            let irq = lock(&isa_bridge).interrupt(slot::VIRTIO + number, 1);
            let image = image.reaching(memory.dma());
            virtio_disks.push(virtio::wire(number, image, cpus, memory.ram().clone(), irq, &vm)?);
        }
        let mut functions: Vec<((u8, u8), SharedFunction)> = vec![
            (slot::HOST_BRIDGE, host_bridge.clone()),
            (slot::ISA_BRIDGE, isa_bridge.clone()),
            (slot::IDE, ide.clone()),
            (slot::POWER, power_management.clone()),
        ];
        for (number, disk) in (slot::VIRTIO..).zip(&virtio_disks) {
            functions.push(((number, 0), disk.function.clone()));
        }
        let pci = PciRoot::new(functions);
        let reset_register: Arc<dyn SharedDevice> = reset_control.clone();
        ports.map(0xcf8..=0xcff, 0, Arc::new(pci.config_ports(reset_register)))?;
        ports.fallback(pci.ports());
        memory_bus.fallback(pci.memory());

        let buses = Arc::new(Buses {
            ports: ports.build(),
            memory_bus: memory_bus.build(),
            memory,
            controllers,
        });
        Ok(Self {
            _cords: cords,
            images,
            _events: events,
            serial_ports,
            parallel,
            _drains: drains,
            vm,
            buses,
            clock,
            vga,
            power: power_management,
            pci,
            timers,
            host_bridge,
            isa_bridge,
            rtc,
            pit,
            fw_cfg,
            dma,
            ide,
            ide_channels,
            virtio: virtio_disks,
            fdc,
            dvds,
            floppies,
            i8042,
            post_code,
            fast_control,
            reset_control,
        })
    }

    /// Puts all chips into reset state. No processor runs meanwhile.
    pub fn reset(&self) {
        // Devices first, so that their interrupts are down when the controllers start anew.
        self.serial_ports.iter().for_each(|port| lock(port).reset());
        self.parallel.iter().for_each(|port| lock(port).reset());
        lock(&self.vga).reset();
        lock(&self.fdc).reset();
        lock(&self.ide).reset();
        self.ide_channels.iter().for_each(|channel| lock(channel).reset());
        self.virtio.iter().for_each(|disk| lock(&disk.function).reset());
        lock(&self.rtc).reset();
        lock(&self.power).reset();
        lock(&self.fw_cfg).reset();
        lock(&self.dma).reset();
        lock(&self.i8042).reset();
        lock(&self.post_code).reset();
        lock(&self.fast_control).reset();
        lock(&self.reset_control).reset();
        lock(&self.isa_bridge).reset();
        lock(&self.host_bridge).reset();
        self.pci.reset();
        if let Some((pit, speaker)) = &self.pit {
            lock(speaker).reset();
            lock(pit).reset();
        }
        if let Some(controllers) = &self.buses.controllers {
            controllers.reset();
        }
    }

    /// Leaves the chips as firmware would, for machines that start a kernel without it.
    pub fn set_up_without_firmware(&self) -> hypervisor::Result<()> {
        const READ_AND_WRITE: u8 = 0x33;
        let (device, function) = slot::HOST_BRIDGE;
        self.pci
            .config_write(device, function, PAM0, &[READ_AND_WRITE; 7]);
        let (device, function) = slot::IDE;
        self.pci.config_write(
            device,
            function,
            config::reg::BAR0 + 4 * 4,
            &IDE_BUS_MASTER.to_le_bytes(),
        );
        for number in 0..self.virtio.len() as u8 {
            let device = slot::VIRTIO + number;
            let set = |offset, value: u32| self.pci.config_write(device, 0, offset, &value.to_le_bytes());
            let nth = |(first, step): (u32, u32)| first + step * u32::from(number);
            set(config::reg::BAR0, nth(VIRTIO_PORTS));
            set(config::reg::BAR0 + 4, nth(VIRTIO_MEMORY));
            set(
                config::reg::BAR0 + 4 * 4,
                nth(VIRTIO_MEMORY) + VIRTIO_MEMORY.1 / 2,
            );
            let line = direct::interrupt_line(IsaBridge::wire_of(device, 1));
            self.pci
                .config_write(device, 0, config::reg::INTERRUPT_LINE, &[line]);
        }
        for write in direct::PIIX4_SETUP {
            self.pci
                .config_write(write.device, write.function, write.offset, write.bytes);
        }
        let [(low_port, low), (high_port, high)] = direct::TRIGGERS;
        match &self.buses.controllers {
            Some(_) => {
                self.buses.ports.write(u64::from(low_port), &[low]);
                self.buses.ports.write(u64::from(high_port), &[high]);
            }
            None => self.vm.set_level_triggered(u16::from_le_bytes([low, high]))?,
        }
        lock(&self.dma).cascade_as_firmware_does();
        for write in direct::KEYBOARD_SETUP {
            self.buses.ports.write(u64::from(write.0), &[write.1]);
        }
        Ok(())
    }

    /// The drive of a name.
    pub fn bay(&mut self, drive: Drive) -> Option<&mut dyn Bay> {
        match drive {
            Drive::Dvd(n) => self.dvds.get_mut(usize::from(n)).map(|bay| bay as &mut dyn Bay),
            Drive::Floppy(n) => {
                let bay = self.floppies.get_mut(usize::from(n))?;
                bay.as_mut().map(|bay| bay as &mut dyn Bay)
            }
        }
    }

    /// Makes durable what the hard disks have written, while no processor runs and nothing is under way.
    pub fn flush(&self) -> Result<(), storage::Error> {
        self.images.iter().try_for_each(storage::Handle::flush)?;
        self.virtio.iter().try_for_each(virtio::Disk::flush)
    }

    /// The virtio disk of a number.
    pub fn virtio_disk(&self, number: u8) -> Option<&virtio::Disk> {
        self.virtio.get(usize::from(number))
    }

    /// All drives whose media can be changed.
    pub fn drives(&self) -> Vec<DriveStatus> {
        let dvds = (0..).zip(&self.dvds).map(|(n, bay)| bay.status(Drive::Dvd(n)));
        let floppies = (0..)
            .zip(&self.floppies)
            .filter_map(|(n, bay)| Some(bay.as_ref()?.status(Drive::Floppy(n))));
        dvds.chain(floppies).collect()
    }

    /// The DVD drives whose trays the guest has opened since the last call, with a medium in it.
    pub fn opened_trays(&self) -> Vec<(Drive, PathBuf)> {
        let dvds = (0..).zip(&self.dvds);
        dvds.filter_map(|(n, bay)| Some((Drive::Dvd(n), bay.opened()?)))
            .collect()
    }

    /// The last code that was shown on port 80h.
    pub fn post_code(&self) -> u8 {
        lock(&self.post_code).last().unwrap_or(0)
    }

    /// Lets guest time go on.
    pub fn resume(&self) {
        self.clock.resume();
        self.timers.clock_changed();
    }

    /// Stops guest time.
    pub fn pause(&self) {
        self.clock.pause();
        self.timers.clock_changed();
    }
}
