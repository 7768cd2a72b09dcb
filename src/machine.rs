// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine: built whole from a [`Spec`], run until it ends, steered by [`control`].
//!
//! [`Machine::run`] is the director: it waits for notices from chips (reset, power off), processors (faults) and [`Remote`]s (commands),
//! and is the only one who stops and starts processors.

mod board;
pub mod control;
pub mod cpu;
mod events;
pub mod exits;
pub(crate) mod media;
mod saving;
pub mod timers;

use crate::boot::{self, DirectKernel};
use crate::console::Backend;
use crate::firmware::{self, FirmwareSpec, IdePosition, PciInterrupts, Ram, direct};
use crate::hypervisor::{self, CpuFeature, CpuidProfile, Exit, FlatEntry, Hypervisor, Irqchip, Vm};
use crate::memory::{self, Layout, Memory};
use crate::saved_state::Description;
use crate::storage::{Image, chain};
use board::{Board, Parts};
pub use board::{FloppyDrive, IdeDrive, Sink};
use control::{
    Answer, Command, CommandError, Drive, End, Happening, Notice, Remote, Reply, RunState, Screen, Status,
};
use cpu::{Gate, Order, Processors, Stopped, Surroundings};
use devices::bus::lock;
use devices::clock::{Clock, SECOND};
use devices::power::{PowerControl, PowerRequest};
use devices::rtc::{self, CmosSetup, FloppyType};
use media::Bay;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use vm_memory::{Bytes, GuestAddress};

/// How a machine starts.
#[derive(Debug, Clone)]
pub enum Boot {
    /// By firmware: its image, and the VGA's.
    Firmware {
        /// The system BIOS.
        image: Vec<u8>,
        /// The VGA BIOS.
        vga_bios: Option<Vec<u8>>,
    },
    /// A kernel without firmware.
    Kernel(DirectKernel),
}

/// What a machine is made of.
pub struct Spec {
    /// Bytes of RAM, in whole MiB.
    pub memory: u64,
    /// Processors, 1 to [`CPUS_MOST`].
    pub cpus: u8,
    /// Features of the host's processor that the guest does not see.
    pub without: Vec<CpuFeature>,
    /// Who plays the interrupt controllers.
    pub irqchip: Irqchip,
    /// How it starts.
    pub boot: Boot,
    /// What firmware boots from, in this order.
    pub boot_order: Vec<BootLetter>,
    /// The date at power-on, in seconds since 1970 of whatever zone the guest keeps its clock in.
    pub date: i64,
    /// A reset restarts the machine; otherwise it ends it.
    pub reboot: bool,
    /// COM1 to COM4.
    pub serial: [Option<Backend>; 4],
    /// What LPT1 prints.
    pub parallel: Option<Sink>,
    /// Where the firmware's debug console (port 402h) goes. Without one firmware finds no console, and spares its words: each byte is an
    /// exit.
    pub debug_console: Option<Sink>,
    /// Primary master and slave, secondary master and slave.
    pub ide: [Option<IdeDrive>; 4],
    /// Diskette drives A and B.
    pub floppies: [Option<FloppyDrive>; 2],
    /// Virtio disks, at most [`VIRTIO_MOST`].
    pub virtio: Vec<Image>,
}

/// A place to boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLetter {
    /// The first floppy drive.
    Floppy,
    /// The first hard disk.
    HardDisk,
    /// The first DVD drive.
    Dvd,
}

/// The most processors a machine has.
pub const CPUS_MOST: u8 = 8;
/// The most virtio disks a machine has.
pub const VIRTIO_MOST: usize = 8;

/// A machine could not be built, or not be reset.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The number of processors is out of range.
    #[error("{0} processors: a machine has 1 to {CPUS_MOST}")]
    Cpus(u8),
    /// There are too many virtio disks.
    #[error("{0} virtio disks: a machine has {VIRTIO_MOST} at most")]
    VirtioDisks(usize),
    /// Memory.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// The hypervisor.
    #[error(transparent)]
    Hypervisor(#[from] hypervisor::Error),
    /// The kernel to start.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// What firmware is told.
    #[error(transparent)]
    Firmware(#[from] firmware::Error),
    /// The board.
    #[error(transparent)]
    Board(#[from] board::Error),
    /// Its saved state is not taken.
    #[error(transparent)]
    SavedState(#[from] crate::saved_state::Error),
    /// The host has no thread for a processor.
    #[error("the host cannot start a thread for a processor")]
    Thread(#[from] std::io::Error),
}

/// A machine.
pub struct Machine {
    // Dropped in this order: no guest code runs when the chips go, no chip is left when memory and the hypervisor's machine go.
    processors: Processors,
    gate: Arc<Gate>,
    board: Board,
    memory: Arc<Memory>,
    vm: Arc<dyn Vm>,
    notices: mpsc::Receiver<Notice>,
    remote: Remote,
    kernel: Option<(DirectKernel, direct::Layout)>,
    reboot: bool,
    cpus: u8,
    state: RunState,
    /// It is paused for want of room on the host, not by its user.
    held: bool,
    resets: u64,
    // What it can be saved by.
    description: Description,
    disks: Vec<PathBuf>,
    configuration: Vec<u8>,
}

impl Machine {
    /// Builds a machine. No guest code runs yet.
    pub fn new(mut spec: Spec, hypervisor: &dyn Hypervisor) -> Result<Self, Error> {
        if spec.cpus == 0 || spec.cpus > CPUS_MOST {
            return Err(Error::Cpus(spec.cpus));
        }
        if spec.virtio.len() > VIRTIO_MOST {
            return Err(Error::VirtioDisks(spec.virtio.len()));
        }
        let layout = Layout::new(spec.memory)?;
        let (description, disks) = saving::describe(&spec);
        let profile = CpuidProfile {
            cpus: spec.cpus,
            without: std::mem::take(&mut spec.without),
        };
        let vm = hypervisor.create_vm(spec.irqchip, &profile)?;
        let firmware = match &spec.boot {
            Boot::Firmware { image, .. } => Some(image.as_slice()),
            Boot::Kernel(_) => None,
        };
        let memory = Arc::new(Memory::new(vm.clone(), layout, firmware)?);
        let vga_bios = match &mut spec.boot {
            Boot::Firmware { vga_bios, .. } => vga_bios.take().map(Arc::from),
            Boot::Kernel(_) => None,
        };
        let mut floppies = [FloppyType::None; 2];
        for (kind, drive) in floppies.iter_mut().zip(&spec.floppies) {
            if let Some(drive) = drive {
                *kind = board::cmos_type(drive.kind().map_err(board::Error::from)?);
            }
        }
        let firmware_spec = firmware_spec(&spec, layout, floppies);
        let gate = Gate::new();
        let (sender, notices) = mpsc::channel();
        let power = power_control(&gate, &sender);
        let board = Board::new(Parts {
            vm: vm.clone(),
            irqchip: spec.irqchip,
            memory: memory.clone(),
            gate: gate.clone(),
            power,
            cmos: cmos(&spec, layout, floppies),
            date: spec.date,
            firmware_files: firmware::configuration(&firmware_spec, vga_bios)?,
            ide: std::mem::take(&mut spec.ide),
            floppies: std::mem::take(&mut spec.floppies),
            virtio: std::mem::take(&mut spec.virtio),
            cpus: spec.cpus,
            serial: std::mem::take(&mut spec.serial),
            parallel: spec.parallel.take(),
            remote: Remote(sender.clone()),
            debug_console: spec.debug_console.take(),
        })?;
        let kernel = match spec.boot {
            Boot::Kernel(kernel) => Some((kernel, direct::tables(&firmware_spec)?)),
            Boot::Firmware { .. } => None,
        };
        let place =
            |(kernel, tables): &(DirectKernel, direct::Layout)| place_kernel(&board, &memory, kernel, tables);
        let entry = kernel.as_ref().map(place).transpose()?;
        let vcpus = (0..spec.cpus)
            .map(|i| vm.create_vcpu(i))
            .collect::<hypervisor::Result<_>>()?;
        let surroundings = Surroundings {
            io: board.buses.clone(),
            reports: sender.clone(),
            report: Notice::Processor,
            entry,
        };
        let processors = Processors::start(&gate, vcpus, &surroundings)?;
        Ok(Self {
            processors,
            gate,
            board,
            memory,
            vm,
            notices,
            remote: Remote(sender),
            kernel,
            reboot: spec.reboot,
            cpus: spec.cpus,
            state: RunState::Running,
            held: false,
            resets: 0,
            description,
            disks,
            configuration: Vec::new(),
        })
    }

    /// For commands from other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Counts of what each processor left the guest for; they go on counting.
    pub fn exits(&self) -> Vec<Arc<exits::Exits>> {
        self.processors.exits()
    }

    /// What the screen shows.
    pub fn screen(&self) -> Screen {
        lock(&self.board.vga).text_screen().into()
    }

    /// Runs the machine until it ends. It may be run again after [`End::Reset`] and its like: it then goes on where it stood.
    pub fn run(&mut self) -> Result<End, Error> {
        self.run_watched(&mut |_| {})
    }

    /// As [`Self::run`]; `watch` is told what happens, on this thread, after it has happened.
    pub fn run_watched(&mut self, watch: &mut dyn FnMut(Happening)) -> Result<End, Error> {
        self.state = RunState::Running;
        // What waited for a medium in a saved machine. Not before: images that were written belong to no saved state any more.
        self.board.go_on_with_media();
        self.go_on();
        let end = self.direct(watch);
        self.gate.order(Order::Park);
        self.board.pause();
        end
    }

    fn direct(&mut self, watch: &mut dyn FnMut(Happening)) -> Result<End, Error> {
        loop {
            // The machine itself holds a sender, so this does not fail.
            let Ok(notice) = self.notices.recv() else {
                return Ok(End::Quit);
            };
            match notice {
                Notice::Power(PowerRequest::Off) => {
                    watch(Happening::PoweredOff);
                    return Ok(End::PoweredOff);
                }
                Notice::Power(PowerRequest::Reset(cause)) => {
                    log::debug!("the guest reset the machine ({cause:?})");
                    if !self.reboot {
                        return Ok(End::Reset);
                    }
                    self.reset()?;
                    watch(Happening::Reset);
                }
                Notice::Processor(Stopped::Failed(error)) => return Ok(End::Host(error)),
                Notice::Processor(Stopped::Exit(Exit::Fault(fault))) => return Ok(End::Fault(fault)),
                Notice::Processor(Stopped::Exit(Exit::Shutdown(fault))) => {
                    watch(Happening::TripleFault);
                    if !self.reboot {
                        return Ok(End::TripleFault(fault));
                    }
                    // A guest can do this without end: it is told once.
                    let level = if self.resets == 0 {
                        log::Level::Warn
                    } else {
                        log::Level::Debug
                    };
                    log::log!(level, "triple fault; the machine restarts\n{fault}");
                    self.reset()?;
                    watch(Happening::Reset);
                }
                Notice::Processor(Stopped::Exit(Exit::Kicked)) => {}
                Notice::Tray => {
                    for (drive, path) in self.board.opened_trays() {
                        watch(Happening::TrayOpened { drive, path });
                    }
                }
                Notice::Command(Command::Quit {}, reply) => {
                    let _ = reply.send(Ok(Answer::Done {}));
                    return Ok(End::Quit);
                }
                Notice::Command(command @ Command::Save { .. }, reply) if !self.stop_to_save() => {
                    // After what the guest has done already.
                    let _ = self.remote.0.send(Notice::Command(command, reply));
                }
                Notice::Command(Command::Save { path }, reply) => match self.save(&path, watch) {
                    Ok(draft) => {
                        let _ = reply.send(Ok(Answer::Done {}));
                        return Ok(End::Saved(draft));
                    }
                    Err(error) => {
                        let detail = format!("{}; {}", chain(&error), error.remedy());
                        let _ = reply.send(Err(CommandError::Save { detail }));
                    }
                },
                Notice::Command(command, reply) => {
                    let before = self.state;
                    let answer = self.command(&command)?;
                    if answer.is_ok() {
                        let happened = match command {
                            Command::Pause {} | Command::Hold {} if before != self.state => {
                                Some(Happening::Paused)
                            }
                            Command::Resume {} | Command::Release {} if before != self.state => {
                                Some(Happening::Resumed)
                            }
                            Command::Reset {} => Some(Happening::Reset),
                            Command::PowerButton {} => Some(Happening::PowerButton),
                            _ => None,
                        };
                        happened.into_iter().for_each(&mut *watch);
                    }
                    // Who asked may have gone.
                    let _ = reply.send(answer);
                }
            }
        }
    }

    /// Carries out a command. The outer error is the machine's end.
    fn command(&mut self, command: &Command) -> Result<Reply, Error> {
        let done = Ok(Answer::Done {});
        Ok(match command {
            Command::Status {} => Ok(Answer::Status(Box::new(self.status()))),
            Command::Screen {} => Ok(Answer::Screen {
                screen: self.screen(),
            }),
            Command::Insert { drive, path, force } => {
                self.bay(*drive, |bay| bay.insert(*drive, path, *force))
            }
            Command::Eject { drive, force } => self.bay(*drive, |bay| bay.eject(*drive, *force)),
            Command::Grow { disk, size } => {
                let grown = match self.board.virtio_disk(*disk) {
                    None => Err(CommandError::NoSuchDisk { disk: *disk }),
                    Some(disk) => disk.grow(*size).map_err(|error| CommandError::Image {
                        detail: chain(&error),
                    }),
                };
                grown.map(|()| Answer::Done {})
            }
            Command::Reset {} => {
                self.reset()?;
                done
            }
            Command::PowerButton {} => {
                lock(&self.board.power).press_power_button();
                done
            }
            Command::Pause {} => {
                self.held = false;
                self.pause();
                done
            }
            Command::Resume {} => {
                self.held = false;
                self.resume();
                done
            }
            Command::Hold {} => {
                self.held |= self.state == RunState::Running;
                self.pause();
                done
            }
            Command::Release {} => {
                if std::mem::take(&mut self.held) {
                    self.resume();
                }
                done
            }
            // The director's own.
            Command::Quit {} | Command::Save { .. } => done,
        })
    }

    /// Does something with the drive of a name.
    fn bay(&mut self, drive: Drive, act: impl FnOnce(&mut dyn Bay) -> Result<(), CommandError>) -> Reply {
        let bay = self.board.bay(drive).ok_or(CommandError::NoSuchDrive { drive })?;
        act(bay).map(|()| Answer::Done {})
    }

    fn status(&self) -> Status {
        Status {
            state: self.state,
            held: self.held,
            seconds: self.board.clock.now() as f64 / SECOND as f64,
            resets: self.resets,
            cpus: self.cpus,
            memory: self.memory.layout().size(),
            post_code: self.board.post_code(),
            drives: self.board.drives(),
        }
    }

    fn pause(&mut self) {
        if self.state == RunState::Running {
            self.state = RunState::Paused;
            self.gate.order(Order::Park);
            self.board.pause();
        }
    }

    fn resume(&mut self) {
        if self.state == RunState::Paused {
            self.state = RunState::Running;
            self.go_on();
        }
    }

    fn go_on(&self) {
        self.board.resume();
        self.gate.order(Order::Run);
    }

    /// Pulls the reset line: processors and chips start anew, memory stays.
    fn reset(&mut self) -> Result<(), Error> {
        self.gate.order(Order::Park);
        self.board.reset();
        // What disks still move there must not land in what comes next.
        self.memory.settle();
        self.vm.reset()?;
        if let Some((kernel, tables)) = &self.kernel {
            place_kernel(&self.board, &self.memory, kernel, tables)?;
        }
        self.gate.order(Order::Reset);
        self.forget_stale_notices();
        self.resets += 1;
        if self.state == RunState::Running {
            self.go_on();
        }
        Ok(())
    }

    /// A guest that pulled several lines at once is reset once. What has nothing to do with the processors is kept.
    fn forget_stale_notices(&mut self) {
        let waiting: Vec<_> = self.notices.try_iter().collect();
        for notice in waiting
            .into_iter()
            .filter(|notice| matches!(notice, Notice::Command(..) | Notice::Tray))
        {
            // Cannot fail: the receiver is ours.
            let _ = self.remote.0.send(notice);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // While everything they use is still there.
        self.processors.stop();
    }
}

/// Reset and power requests of chips: the processors stop before their next instruction, then the director is told.
fn power_control(gate: &Arc<Gate>, sender: &mpsc::Sender<Notice>) -> Arc<dyn PowerControl> {
    let (gate, sender) = (gate.clone(), sender.clone());
    Arc::new(move |request| {
        gate.post(Order::Park);
        // Nobody listens when the machine is being taken down.
        let _ = sender.send(Notice::Power(request));
    })
}

/// Lays the kernel and the tables that firmware would make into memory, on chips as firmware would leave them.
fn place_kernel(
    board: &Board,
    memory: &Arc<Memory>,
    kernel: &DirectKernel,
    tables: &direct::Layout,
) -> Result<FlatEntry, Error> {
    board.set_up_without_firmware()?;
    for piece in &tables.pieces {
        memory
            .ram()
            .write_slice(&piece.bytes, GuestAddress(piece.address))
            .map_err(boot::Error::from)?;
    }
    Ok(boot::load(
        memory.ram(),
        memory.layout(),
        kernel,
        Some(tables.rsdp),
    )?)
}

fn cmos(spec: &Spec, layout: Layout, floppies: [FloppyType; 2]) -> CmosSetup {
    let boot = |n: usize| {
        spec.boot_order.get(n).map(|letter| match letter {
            BootLetter::Floppy => rtc::BootDevice::Floppy,
            BootLetter::HardDisk => rtc::BootDevice::HardDisk,
            BootLetter::Dvd => rtc::BootDevice::Optical,
        })
    };
    CmosSetup {
        ram_below_4g: layout.below_4g,
        ram_above_4g: layout.above_4g,
        floppies,
        mouse: true,
        boot_order: std::array::from_fn(boot),
        skip_floppy_signature: true,
        processors: spec.cpus,
        ..CmosSetup::default()
    }
}

fn firmware_spec(spec: &Spec, layout: Layout, floppies: [FloppyType; 2]) -> FirmwareSpec {
    let mut firmware = FirmwareSpec::new(
        Ram {
            below_4g: layout.below_4g,
            above_4g: layout.above_4g,
        },
        spec.cpus,
    );
    firmware.pci_interrupts = PciInterrupts::Pins(board::PIRQ_PIN);
    firmware.mouse = true;
    firmware.floppies = floppies;
    firmware.serial_ports = spec.serial.each_ref().map(Option::is_some);
    firmware.parallel_port = spec.parallel.is_some();
    firmware.boot_order = spec
        .boot_order
        .iter()
        .filter_map(|letter| match letter {
            BootLetter::Floppy => Some(firmware::BootDevice::Floppy(0)),
            BootLetter::HardDisk => {
                let virtio =
                    || (!spec.virtio.is_empty()).then_some(firmware::BootDevice::Virtio(board::FIRST_VIRTIO));
                position(&spec.ide, |drive| matches!(drive, IdeDrive::Disk(_))).or_else(virtio)
            }
            BootLetter::Dvd => position(&spec.ide, |drive| matches!(drive, IdeDrive::Dvd(_))),
        })
        .collect();
    firmware.boot_nothing_else = true;
    firmware
}

/// The first drive of a kind.
fn position(ide: &[Option<IdeDrive>; 4], kind: impl Fn(&IdeDrive) -> bool) -> Option<firmware::BootDevice> {
    let n = ide.iter().position(|drive| drive.as_ref().is_some_and(&kind))? as u8;
    Some(firmware::BootDevice::Ide(IdePosition {
        channel: n / 2,
        unit: n % 2,
    }))
}

#[cfg(test)]
mod tests;
