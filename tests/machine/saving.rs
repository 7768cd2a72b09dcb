// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines that are saved in the midst of their work, and go on from the file.

use super::support::{Log, alone, firmware};
use super::{BOTH, MIB, build, numbers, run, spec};
use std::path::{Path, PathBuf};
use virtualpc::hypervisor::{self, Irqchip};
use virtualpc::machine::control::{Command, CommandError, End};
use virtualpc::machine::{self, IdeDrive, Machine, Spec};
use virtualpc::saved_state::{Error, Saved};
use virtualpc::storage::{Image, Purpose};

/// How often a machine moves from file to file.
const MOVES: usize = 20;

/// A folder with a disk and a place for a state.
struct House {
    folder: tempfile::TempDir,
    log: Log,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk.vhd");
        vhd::create::dynamic(&disk, 16 * MIB, &vhd::CreateOptions::new()).unwrap();
        Self {
            folder,
            log: Log::default(),
        }
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk.vhd")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("machine.vsv")
    }

    fn spec(&self, irqchip: Irqchip) -> Spec {
        let mut spec = spec(firmware("rounds"), irqchip, &self.log);
        let _undisturbed = alone();
        let image = Image::open(&self.disk(), Purpose::HardDisk).unwrap();
        spec.ide[0] = Some(IdeDrive::Disk(image));
        spec
    }

    /// Runs a machine for some more rounds and saves it.
    fn save(&self, mut machine: Machine, rounds: usize) {
        let (remote, log, path) = (machine.remote(), self.log.clone(), self.state());
        let before = lines(&self.log);
        let end = run(&mut machine, move || {
            wait_for_lines(&log, before + rounds);
            remote.command(Command::Save { path }).unwrap();
        });
        drop(machine);
        match end {
            End::Saved(draft) => draft.finish().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn restore(&self, spec: Spec) -> Result<Machine, machine::Error> {
        let hypervisor = hypervisor::open().unwrap();
        let saved = Saved::open(&self.state())?;
        Machine::restored(spec, &*hypervisor, &saved)
    }
}

fn lines(log: &Log) -> usize {
    log.text().matches('\n').count()
}

fn wait_for_lines(log: &Log, count: usize) {
    super::support::wait_for("the guest to work", || {
        assert!(
            !log.text().contains("wrong") && !log.text().contains("failed"),
            "{}",
            log.text()
        );
        (lines(log) >= count).then_some(())
    });
}

#[test]
fn a_guest_notices_nothing() {
    for irqchip in BOTH {
        let house = House::new();
        house.save(build(house.spec(irqchip)), 2);
        for round in 1..MOVES {
            Saved::open(&house.state()).unwrap().check_images().unwrap();
            let machine = house.restore(house.spec(irqchip)).unwrap();
            // Sometimes at once, sometimes after a while.
            house.save(machine, round % 4);
        }
        let mut machine = house.restore(house.spec(irqchip)).unwrap();
        let (remote, log) = (machine.remote(), house.log.clone());
        let before = lines(&log);
        let end = run(&mut machine, move || {
            wait_for_lines(&log, before + 4);
            remote.command(Command::Quit {}).unwrap();
        });
        assert!(matches!(end, End::Quit), "{end:?}");

        let rows = numbers(&house.log, "round ");
        let rounds: Vec<_> = rows.iter().map(|row| row[0]).collect();
        let expected: Vec<_> = (1..=rows.len() as u64).map(|n| n * 16).collect();
        assert_eq!(rounds, expected, "no round is missing, none is done twice");
        let ticks: Vec<_> = rows.iter().map(|row| row[1]).collect();
        assert!(ticks.is_sorted(), "{ticks:?}");
        let moved = rows.len() - 4;
        assert!(
            ticks[rows.len() - 1] > ticks[moved],
            "the timer goes on: {ticks:?}"
        );
    }
}

type Change = fn(&mut Spec);

#[test]
fn what_does_not_fit_is_refused_and_the_state_is_kept() {
    let house = House::new();
    house.save(build(house.spec(Irqchip::Split)), 1);
    let refusals: [(&str, Change); 4] = [
        ("its memory were 16 MiB and are 17 MiB", |spec| spec.memory += MIB),
        ("its processors", |spec| spec.cpus = 2),
        ("its interrupt controllers", |spec| spec.irqchip = Irqchip::Kernel),
        ("its IDE drives", |spec| spec.ide[0] = None),
    ];
    for (words, change) in refusals {
        let mut spec = house.spec(Irqchip::Split);
        change(&mut spec);
        let error = house.restore(spec).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(house.restore(house.spec(Irqchip::Split)).is_ok());
}

#[test]
fn a_disk_that_was_written_meanwhile_is_noticed() {
    let house = House::new();
    house.save(build(house.spec(Irqchip::Kernel)), 1);
    let saved = Saved::open(&house.state()).unwrap();
    saved.check_images().unwrap();
    let _undisturbed = alone();
    let disk = vhd::Disk::open(house.disk(), &vhd::OpenOptions::new()).unwrap();
    disk.write_at(8 * MIB, &[1; 512]).unwrap();
    disk.close().unwrap();
    let error = saved.check_images().unwrap_err();
    assert!(matches!(error, Error::Medium { .. }), "{error}");
    std::fs::remove_file(house.disk()).unwrap();
    assert!(saved.check_images().is_err());
}

#[test]
fn a_state_that_cannot_be_written_lets_the_machine_go_on() {
    let house = House::new();
    let mut machine = build(house.spec(Irqchip::Kernel));
    let (remote, log) = (machine.remote(), house.log.clone());
    // A file where the folder should be; and a device that is always full.
    let places = [
        house.disk().join("state"),
        Path::new("/dev/full/state").to_owned(),
    ];
    let end = run(&mut machine, move || {
        for path in places {
            let before = lines(&log);
            wait_for_lines(&log, before + 1);
            let error = remote.command(Command::Save { path }).unwrap_err();
            assert!(matches!(error, CommandError::Save { .. }), "{error:?}");
            wait_for_lines(&log, lines(&log) + 2);
        }
        remote.command(Command::Quit {}).unwrap();
    });
    assert!(matches!(end, End::Quit), "{end:?}");
}

/// A part of the file may be anything: it is refused, or what it makes can be run and ended.
#[test]
fn damaged_states_do_no_harm() {
    let house = House::new();
    house.save(build(house.spec(Irqchip::Split)), 1);
    let good = std::fs::read(house.state()).unwrap();
    let step = good.len() / 300 + 1;
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(house.state(), &bad).unwrap();
        let refused = Saved::open(&house.state()).is_err() || {
            let spec = house.spec(Irqchip::Split);
            house.restore(spec).is_err()
        };
        assert!(refused, "byte {at} of {}", good.len());
    }
    std::fs::write(house.state(), &good).unwrap();
    assert!(house.restore(house.spec(Irqchip::Split)).is_ok());
}
