// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine becomes a saved state, and one becomes a machine.

use super::board::{self, IdeDrive};
use super::control::{Happening, Notice, RunState};
use super::cpu::{Order, Stopped};
use super::{Boot, Machine, Spec};
use crate::hypervisor::saved::{CpuState, VmState};
use crate::hypervisor::{Exit, Hypervisor};
use crate::saved_state::file::Kind;
use crate::saved_state::{Description, Draft, Error, Result, Saved, irqchip_name, ram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long media may take to end what they were asked for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// What of a machine a state depends on, and the files of its disks.
pub(super) fn describe(spec: &Spec) -> (Description, Vec<PathBuf>) {
    let drive = |drive: &Option<IdeDrive>| match drive {
        None => "nothing".to_owned(),
        Some(IdeDrive::Disk(image)) => format!("a disk of {} bytes", image.info().len),
        Some(IdeDrive::Dvd(_)) => "a DVD drive".to_owned(),
    };
    let description = Description {
        memory: spec.memory,
        cpus: spec.cpus,
        irqchip: irqchip_name(spec.irqchip),
        firmware: match &spec.boot {
            Boot::Firmware { image, .. } => Some(image.len() as u64),
            Boot::Kernel(_) => None,
        },
        ide: spec.ide.each_ref().map(drive),
        floppies: spec.floppies.each_ref().map(Option::is_some),
        serial: spec.serial.each_ref().map(Option::is_some),
        parallel: spec.parallel.is_some(),
        virtio: spec.virtio.len(),
    };
    let disks = spec.ide.iter().flatten().filter_map(|drive| match drive {
        IdeDrive::Disk(image) => Some(image),
        IdeDrive::Dvd(_) => None,
    });
    let files = disks.chain(&spec.virtio).flat_map(|image| image.files());
    (description, files.collect())
}

impl Machine {
    /// What is kept as its configuration in a saved state, for people.
    pub fn set_configuration(&mut self, bytes: Vec<u8>) {
        self.configuration = bytes;
    }

    /// A machine that goes on where another was saved. It does not run yet.
    ///
    /// # Errors
    /// As [`Machine::new`], and what does not fit.
    pub fn restored(
        spec: Spec,
        hypervisor: &dyn Hypervisor,
        saved: &Saved,
    ) -> std::result::Result<Self, super::Error> {
        let machine = Self::new(spec, hypervisor)?;
        saved.check_machine(&machine.description, &machine.images())?;
        machine.take_over(saved)?;
        Ok(machine)
    }

    fn take_over(&self, saved: &Saved) -> Result<()> {
        let board: board::BoardState = saved.part(Kind::Chips)?;
        let processors: Vec<CpuState> = saved.part(Kind::Processors)?;
        let vm: VmState = saved.part(Kind::Hypervisor)?;
        let fresh = self.kernel.is_none();
        ram::restore(self.memory.ram(), self.memory.layout(), saved.reader(), fresh)?;
        self.board
            .restore(board)
            .map_err(|(chip, error)| saved.impossible(chip, error))?;
        // The hypervisor's clock and chips first: local APICs look at both.
        self.vm.restore(&vm)?;
        self.gate.restore(processors)?;
        Ok(())
    }

    /// All files of its images, as they are now.
    fn images(&self) -> Vec<PathBuf> {
        let media = self.board.drives().into_iter().filter_map(|drive| drive.medium);
        self.disks.iter().cloned().chain(media).collect()
    }

    /// Stops the machine to save it. False if there is something that has to be dealt with first, because the guest has done it already;
    /// it is the next notice then.
    pub(super) fn stop_to_save(&mut self) -> bool {
        self.gate.order(Order::Park);
        self.board.pause();
        let waiting: Vec<_> = self.notices.try_iter().collect();
        let urgent = |notice: &Notice| {
            !matches!(
                notice,
                Notice::Command(..) | Notice::Processor(Stopped::Exit(Exit::Kicked))
            )
        };
        let ready = !waiting.iter().any(urgent);
        let (first, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(urgent);
        for notice in first.into_iter().chain(rest) {
            // Cannot fail: the receiver is ours.
            let _ = self.remote.0.send(notice);
        }
        ready
    }

    /// Writes the state of the machine that was stopped for it. After an error it goes on as before.
    pub(super) fn save(&mut self, path: &Path, watch: &mut dyn FnMut(Happening)) -> Result<Draft> {
        watch(Happening::Saving);
        let saved = self.write(path);
        if saved.is_err() {
            watch(Happening::NotSaved { state: self.state });
            if self.state == RunState::Running {
                self.go_on();
            }
        }
        saved
    }

    fn write(&self, path: &Path) -> Result<Draft> {
        let mut draft = Draft::create(path, &self.configuration, &self.description)?;
        self.settle()?;
        let (processors, vm, board) = {
            // Before the processors: what comes in over a serial port must not reach a local APIC that was read already.
            let mut quiet = self.board.quiet();
            let processors = self.gate.save()?;
            // Nothing is under way by now, so nothing has changed since `settle`.
            let board = self.board.snapshot(&mut quiet).map_err(|_| Error::Restless(0))?;
            (processors, self.vm.save()?, board)
        };
        draft.part(Kind::Processors, &processors)?;
        draft.part(Kind::Hypervisor, &vm)?;
        draft.part(Kind::Chips, &board)?;
        ram::save(self.memory.ram(), self.memory.layout(), draft.writer())?;
        // What cannot be written any more is found out while the machine can still go on.
        self.board.flush()?;
        draft.images(self.images())?;
        Ok(draft)
    }

    /// Waits until no medium works for a chip: what it was asked for is then in memory, or in the chip.
    fn settle(&self) -> Result<()> {
        self.board.settle_timers();
        let begun = Instant::now();
        while self.board.snapshot(&mut self.board.quiet()).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(Error::Restless(PATIENCE.as_secs()));
            }
            std::thread::sleep(LOOK);
        }
        self.memory.settle();
        Ok(())
    }
}
