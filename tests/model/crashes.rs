// SPDX-License-Identifier: Apache-2.0 OR MIT
//! kill -9: what is left must be usable.

use super::{Lab, support};
use std::process::Stdio;
use support::wait_for;
use virtualpc::virtual_pc::enums::MachineState;

/// The processes that run a configuration file.
pub fn processes(lab: &Lab) -> Vec<u32> {
    let folder = lab.folder.path().to_str().unwrap().to_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.contains("machine-process") && line.contains(&folder)
    })
    .collect()
}

fn kill(id: u32) {
    let _undisturbed = support::alone();
    let killed = std::process::Command::new("kill")
        .args(["-9", &id.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

#[test]
fn a_killed_machine_is_off_and_starts_again() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("counter"));
    let disc = lab.file("a.iso", 40 << 10);
    for _ in 0..3 {
        lab.start(&machine);
        let drives = machine.dvd_drives().unwrap();
        let dvd = drives.item(1).unwrap();
        dvd.attach_image(&disc).unwrap();
        let [id] = processes(&lab)[..] else {
            panic!("one process a machine")
        };
        kill(id);
        wait_for("the end", || {
            (machine.state().unwrap() == MachineState::TurnedOff).then_some(())
        });
        // Its sockets are still there, and nobody takes them for a machine.
        assert_eq!(machine.pause().unwrap_err().result().name, "VM_E_VM_NOT_RUNNING");
        // What was in its drives is what its configuration says.
        dvd.release_image(false).unwrap();
    }
    lab.start(&machine);
    assert_eq!(machine.state().unwrap(), MachineState::Running);
}

/// Starts a command and kills it after some time, which differs from round to round. No outcome is wrong; what must hold afterwards is
/// tested by the caller.
fn killed_in_between(lab: &Lab, arguments: &[&str], round: u64) {
    let mut child = {
        let _undisturbed = support::alone();
        lab.vpc(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Not a synchronisation: any moment will do.
    std::thread::sleep(std::time::Duration::from_micros(round * 700));
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn killed_commands_leave_a_list_and_files_that_can_be_used() {
    let lab = Lab::new();
    let keeper = lab.machine("keeper");
    let disc = lab.file("a.iso", 40 << 10);
    let drives = keeper.dvd_drives().unwrap();
    let dvd = drives.item(1).unwrap();
    for round in 0..30 {
        killed_in_between(&lab, &["create", "new"], round);
        killed_in_between(&lab, &["dvd", "keeper", "attach", &disc], round);
        killed_in_between(
            &lab,
            &["set", "keeper", "--notes", &format!("round {round}")],
            round,
        );
        for machine in lab.app.virtual_machines().unwrap() {
            machine.memory().unwrap();
            if machine.name().unwrap() == "new" {
                lab.app.delete_virtual_machine(&machine).unwrap();
            }
        }
        // A file that no list knows is in nobody's way for long: its name is told, and it can be removed or registered.
        let orphan = lab.path("data/virtualpc/machines/new.vmc");
        if orphan.exists() {
            lab.app
                .register_virtual_machine("", orphan.to_str().unwrap())
                .unwrap();
            let machine = lab.app.find_virtual_machine("new").unwrap();
            lab.app.delete_virtual_machine(&machine).unwrap();
        }
        // The drive holds the disc or does not; either way it can be emptied and filled.
        let _ = dvd.release_image(false);
        dvd.attach_image(&disc).unwrap();
        dvd.release_image(false).unwrap();
    }
}

#[test]
fn a_commit_that_was_killed_is_finished_at_the_next_start() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("write"));
    let disk = lab.path("disk.vhd");
    vhd::create::dynamic(&disk, 8 << 20, &vhd::CreateOptions::new()).unwrap();
    let connection = machine
        .add_hard_disk_connection(disk.to_str().unwrap(), 0, 0)
        .unwrap();
    machine.set_undoable(true).unwrap();
    for round in 0..6 {
        lab.start(&machine);
        let undo = connection.undo_hard_disk().unwrap();
        wait_for("the guest to write", || {
            (undo.size_on_host().unwrap() > 1 << 20).then_some(())
        });
        machine.turn_off().unwrap().finish().unwrap();
        killed_in_between(&lab, &["hd", "m", "merge-undo"], round * 8);
        wait_for("the end", || {
            (machine.state().unwrap() == MachineState::TurnedOff).then_some(())
        });
        let mut sector = [0; 512];
        let merged = connection.undo_hard_disk().is_err();
        lab.start(&machine);
        machine.turn_off().unwrap().finish().unwrap();
        let _undisturbed = support::alone();
        machine.merge_undo_disks().unwrap().finish().unwrap();
        assert!(connection.undo_hard_disk().is_err(), "merged before: {merged}");
        let content = vhd::Disk::open(&disk, &vhd::OpenOptions::new().read_only(true)).unwrap();
        content.read_at(0, &mut sector).unwrap();
        content.close().unwrap();
    }
}
