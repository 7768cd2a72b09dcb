// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 82077AA floppy disk controller with two drives.
//!
//! Every command goes through three phases: its bytes are collected (`command`), it is executed (`execute`, `seek`, `transfer`,
//! `format_track`), and its result is read. Execution never happens inside the access that starts it: it begins when the [`Timer`]
//! expires, waits for the medium as long as that takes, and only then raises the interrupt.
//!
//! What differs from hardware, on purpose:
//! * everything is about a hundred times faster (`spec::timing`);
//! * a command for a drive without diskette or with its motor off ends with a missing address mark. A real chip waits for an index
//!   pulse that never comes, and leaves it to the host to lose patience;
//! * a multi-track command passes from the end of side 0 to side 1 also where EOT lies beyond the track (see `transfer`).
//!
//! Sources: Intel 82077AA data sheet (order number 290166); NEC µPD765A data sheet (scan commands).

mod command;
mod diskette;
mod drive;
mod execute;
mod fifo;
mod format_track;
pub mod media;
mod registers;
mod seek;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod transfer;

use crate::block::Medium;
use crate::clock::{Clock, Nanos, Timed, Timer};
use crate::isa_dma::IsaDma;
use crate::line::IrqLine;
use command::{LONGEST, SectorId, Target};
use diskette::Diskette;
use drive::{Drive, Track};
use format_track::FormatTrack;
use media::{DriveType, Format};
use seek::Seek;
use serde::{Deserialize, Serialize};
use spec::{Configure, Dor, St0, St1, St2, UNITS, timing};
use std::sync::Arc;
use transfer::Transfer;

pub use spec::DataRate;

/// Bytes of the longest result (DUMPREG).
const LONGEST_RESULT: usize = 10;

/// The drives that a PC board wires to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveId {
    /// Drive 0.
    A,
    /// Drive 1.
    B,
}

/// What the controller is wired to.
pub struct Wiring {
    /// Guest time.
    pub clock: Arc<dyn Clock>,
    /// The controller's own timer; its expiry calls [`Timed::expire`].
    pub timer: Box<dyn Timer>,
    /// The DMA channel (2 in a PC).
    pub dma: Box<dyn IsaDma>,
    /// The interrupt (IRQ 6 in a PC).
    pub irq: IrqLine,
}

/// A diskette that was not taken, given back.
#[derive(thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// Why.
    pub reason: RejectReason,
    /// The medium.
    pub medium: Box<dyn Medium>,
}

impl std::fmt::Debug for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rejected({:?})", self.reason)
    }
}

/// Why a diskette was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// There is no such drive.
    #[error("the machine has no such diskette drive")]
    NoDrive,
    /// A 5.25" diskette for a 3.5" drive, or the other way round.
    #[error("a {format} diskette does not fit into a {drive}")]
    DoesNotFit {
        /// The diskette.
        format: Format,
        /// The drive.
        drive: DriveType,
    },
}

/// A drive, as its owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveStatus {
    /// What drive it is.
    pub kind: DriveType,
    /// The diskette in it.
    pub diskette: Option<Format>,
    /// The diskette cannot be written (nor can an empty drive).
    pub write_protected: bool,
    /// The motor turns.
    pub motor: bool,
}

/// The controller and its drives.
pub struct Fdc {
    // Dependencies.
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    dma: Box<dyn IsaDma>,
    irq: IrqLine,
    // What hangs on the cable; a reset of the controller does not touch it.
    drives: [Option<Drive>; 2],
    // Book-keeping.
    /// The deadline that the timer knows.
    armed: Option<Nanos>,
    /// Diskettes inserted so far.
    insertions: u32,
    // Volatile state.
    state: State,
}

/// Everything that the RESET pin clears.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    dor: Dor,
    tdr: u8,
    rate: DataRate,
    /// The two bytes of SPECIFY: step rate and head unload time; head load time and ND.
    specify: [u8; 2],
    options: Configure,
    pretrk: u8,
    lock: bool,
    /// PERPENDICULAR MODE: D3-D0 in bits 5-2, GAP and WGATE in bits 1-0.
    perpendicular: u8,
    /// Present cylinder numbers.
    pcn: [u8; UNITS],
    /// EOT or SC of the last command that had one.
    eot: u8,
    /// Last step direction, for SRA.
    inwards: bool,
    /// Last selected head, for SRA.
    head: u8,
    /// Turns with each piece of data read, for SRB.
    read_toggle: bool,
    /// Turns with each piece of data written, for SRB.
    write_toggle: bool,
    readiness: Readiness,
    poll: Poll,
    seeks: [Seek; UNITS],
    phase: Phase,
}

/// Whether the chip is out of reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Readiness {
    /// The reset bit of the DOR is low.
    Held,
    /// Reset has just ended; the drive poll comes at the given time.
    Starting(Nanos),
    /// Takes commands.
    Ready,
}

/// What is left of the drive poll after reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Poll {
    /// The INT pin is high for it.
    interrupt: bool,
    /// The next drive whose status SENSE INTERRUPT STATUS tells; all told at [`UNITS`].
    next: Option<usize>,
}

/// Phase of the command in progress.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Phase {
    Idle,
    /// Bytes of a command so far.
    Command {
        bytes: [u8; LONGEST],
        received: usize,
        expected: usize,
    },
    Execution(Job),
    Result(Reply),
}

/// What executes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Job {
    Transfer(Transfer),
    Format(FormatTrack),
    /// READ ID waits for an ID field to come by.
    ReadId {
        at: Nanos,
        mfm: bool,
        target: Target,
    },
    /// The outcome is known, its time has not come.
    Ending {
        at: Nanos,
        reply: Reply,
    },
}

/// Result bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    bytes: [u8; LONGEST_RESULT],
    len: usize,
    read: usize,
    /// The INT pin is high until the first byte is read.
    interrupt: bool,
}

impl Reply {
    /// A result that is there at once, without interrupt.
    fn immediate(result: &[u8]) -> Self {
        let mut bytes = [0; LONGEST_RESULT];
        let len = result.len().min(LONGEST_RESULT);
        bytes[..len].copy_from_slice(&result[..len]);
        Self {
            bytes,
            len,
            read: 0,
            interrupt: false,
        }
    }
}

/// How a command with an ID in its result ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    st0: St0,
    st1: St1,
    st2: St2,
    /// Time that the disk turns in vain.
    after: Nanos,
}

impl End {
    const NORMAL: Self = Self {
        st0: St0::empty(),
        st1: St1::empty(),
        st2: St2::empty(),
        after: 0,
    };

    fn failed(st1: St1) -> Self {
        Self {
            st0: St0::ABNORMAL,
            st1,
            ..Self::NORMAL
        }
    }

    /// Two turns of the disk brought nothing.
    fn not_found(st1: St1, st2: St2) -> Self {
        Self {
            st0: St0::ABNORMAL,
            st1,
            st2,
            after: timing::NOT_FOUND,
        }
    }

    /// The standard seven bytes.
    fn reply(self, target: Target, id: SectorId) -> Reply {
        let st0 = self.st0.bits() | target.bits();
        Reply {
            interrupt: true,
            ..Reply::immediate(&[st0, self.st1.bits(), self.st2.bits(), id.c, id.h, id.r, id.n])
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            dor: Dor::empty(),
            tdr: 0,
            rate: DataRate::Kbps250,
            specify: [0; 2],
            options: Configure::NO_FIFO,
            pretrk: 0,
            lock: false,
            perpendicular: 0,
            pcn: [0; UNITS],
            eot: 0,
            inwards: false,
            head: 0,
            read_toggle: false,
            write_toggle: false,
            readiness: Readiness::Held,
            poll: Poll::default(),
            seeks: [Seek::Idle; UNITS],
            phase: Phase::Idle,
        }
    }

    /// The state after a reset by DOR or DSR (sections 4.2 and 5.2.10 to 5.2.11): LOCK protects the FIFO settings, the drive bits of
    /// PERPENDICULAR MODE stay, and so does what SPECIFY has set. The heads do not move, so their cylinder numbers stay true.
    fn after_software_reset(&self) -> Self {
        let fifo = Configure::NO_FIFO | Configure::FIFO_THRESHOLD;
        let (options, pretrk) = if self.lock {
            (self.options & fifo, self.pretrk)
        } else {
            (Configure::NO_FIFO, 0)
        };
        Self {
            dor: self.dor,
            tdr: self.tdr,
            rate: self.rate,
            specify: self.specify,
            options,
            pretrk,
            lock: self.lock,
            perpendicular: self.perpendicular & 0x3c,
            pcn: self.pcn,
            ..Self::new()
        }
    }

    fn non_dma(&self) -> bool {
        self.specify[1] & 1 != 0
    }
}

impl Fdc {
    /// A controller after power-on with the given drives, empty.
    pub fn new(wiring: Wiring, drives: [Option<DriveType>; 2]) -> Self {
        let Wiring {
            clock,
            timer,
            dma,
            irq,
        } = wiring;
        Self {
            clock,
            timer,
            dma,
            irq,
            drives: drives.map(|kind| kind.map(Drive::new)),
            armed: None,
            insertions: 0,
            state: State::new(),
        }
    }

    /// The RESET pin. Diskettes stay in their drives.
    pub fn reset(&mut self) {
        self.abort();
        self.state = State::new();
        self.settle();
    }

    /// The drive types as CMOS byte 10h tells them.
    pub fn cmos_drive_types(&self) -> u8 {
        let code = |n: usize| self.drives[n].as_ref().map_or(0, |d| d.kind().cmos_code());
        code(0) << 4 | code(1)
    }

    /// What a drive holds and does; `None` if there is no such drive.
    pub fn status(&self, id: DriveId) -> Option<DriveStatus> {
        let unit = id as usize;
        self.drives[unit].as_ref().map(|drive| DriveStatus {
            kind: drive.kind(),
            diskette: drive.diskette().map(Diskette::format),
            write_protected: drive.write_protected(),
            motor: self.state.dor.motor(unit),
        })
    }

    /// Puts a diskette in. A diskette that was there comes back; it should be dropped where no lock is held, as closing an image may
    /// take time.
    pub fn insert(
        &mut self,
        id: DriveId,
        medium: Box<dyn Medium>,
        format: Format,
    ) -> Result<Option<Box<dyn Medium>>, Rejected> {
        let reason = match &self.drives[id as usize] {
            None => RejectReason::NoDrive,
            Some(drive) if !format.fits(drive.kind()) => RejectReason::DoesNotFit {
                format,
                drive: drive.kind(),
            },
            Some(_) => {
                self.insertions = self.insertions.wrapping_add(1);
                let diskette = Diskette::new(medium, format, self.insertions);
                return Ok(self.exchange(id, Some(diskette)));
            }
        };
        Err(Rejected { reason, medium })
    }

    /// Takes a diskette out. A command that was using it ends as if the disk had vanished under the heads.
    pub fn eject(&mut self, id: DriveId) -> Option<Box<dyn Medium>> {
        self.exchange(id, None)
    }

    fn exchange(&mut self, id: DriveId, diskette: Option<Diskette>) -> Option<Box<dyn Medium>> {
        let unit = id as usize;
        let out = self.drives[unit].as_mut()?.exchange(diskette);
        self.diskette_gone(unit);
        self.advance();
        self.settle();
        out.map(Diskette::into_medium)
    }

    /// A medium has completed something.
    pub fn service(&mut self) {
        for drive in self.drives.iter_mut().flatten() {
            if let Some(diskette) = drive.diskette_mut() {
                diskette.service();
            }
        }
        self.advance();
        self.settle();
    }

    /// Does what time and media allow.
    fn advance(&mut self) {
        let now = self.clock.now();
        if let Readiness::Starting(at) = self.state.readiness
            && now >= at
        {
            self.state.readiness = Readiness::Ready;
            if !self.state.options.contains(Configure::NO_POLL) {
                self.state.poll = Poll {
                    interrupt: true,
                    next: Some(0),
                };
            }
        }
        self.finish_seeks(now);
        self.execute(now);
    }

    /// Brings the timer and the interrupt line in line with the state.
    fn settle(&mut self) {
        let deadline = self.deadline();
        if deadline != self.armed {
            match deadline {
                Some(at) => self.timer.arm(at),
                None => self.timer.disarm(),
            }
            self.armed = deadline;
        }
        let gate = self.state.dor.contains(Dor::DMA_GATE);
        self.irq.set(gate && self.interrupt());
    }

    /// When something happens by itself next.
    fn deadline(&self) -> Option<Nanos> {
        let reset = match self.state.readiness {
            Readiness::Starting(at) => Some(at),
            Readiness::Held | Readiness::Ready => None,
        };
        let job = match &self.state.phase {
            Phase::Execution(job) => job.deadline(),
            _ => None,
        };
        let seeks = self.state.seeks.iter().filter_map(Seek::deadline);
        seeks.chain(reset).chain(job).min()
    }

    /// The INT pin.
    fn interrupt(&self) -> bool {
        let phase = match &self.state.phase {
            Phase::Execution(job) => job.fifo_direction().is_some(),
            Phase::Result(reply) => reply.interrupt,
            Phase::Idle | Phase::Command { .. } => false,
        };
        phase || self.state.poll.interrupt || self.state.seeks.iter().any(|s| matches!(s, Seek::Ended(_)))
    }

    /// There is one more reason for an interrupt: lets the line fall first, so that an edge-triggered input sees it even where the
    /// reason before was never acknowledged.
    fn new_interrupt(&mut self) {
        self.irq.set(false);
    }

    /// The command in progress is given up.
    fn abort(&mut self) {
        for drive in self.drives.iter_mut().flatten() {
            if let Some(diskette) = drive.diskette_mut() {
                diskette.abort();
            }
        }
    }

    fn drive(&self, unit: usize) -> Option<&Drive> {
        self.drives.get(unit)?.as_ref()
    }

    fn drive_mut(&mut self, unit: usize) -> Option<&mut Drive> {
        self.drives.get_mut(unit)?.as_mut()
    }

    fn diskette_mut(&mut self, unit: usize) -> Option<&mut Diskette> {
        self.drive_mut(unit)?.diskette_mut()
    }

    /// The track under a head, if its address marks can be found now.
    fn track(&self, target: Target, mfm: bool) -> Option<Track> {
        let drive = self.drive(target.unit)?;
        if !self.state.dor.motor(target.unit) {
            return None;
        }
        drive.track(target.head, mfm, self.state.rate)
    }
}

impl Timed for Fdc {
    fn expire(&mut self) {
        // A one-shot timer that has fired knows no deadline any more.
        self.armed = None;
        self.advance();
        self.settle();
    }
}
