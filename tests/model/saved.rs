// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines that are saved, and go on.

use super::crashes::processes;
use super::{Lab, begin, pairs, support};
use std::path::PathBuf;
use support::wait_for;
use virtualpc::virtual_pc::enums::MachineState;
use virtualpc::virtual_pc::hresult;
use virtualpc::virtual_pc::machine::VirtualMachine;
use virtualpc::virtual_pc::vmc::Value;

/// A machine whose guest counts rounds on a disk, with undo disks.
fn counting(lab: &Lab) -> VirtualMachine {
    let machine = lab.guest("m", &support::firmware("rounds"));
    let disk = lab.text("disk.vhd");
    vhd::create::dynamic(&disk, 16 << 20, &vhd::CreateOptions::new()).unwrap();
    machine.add_hard_disk_connection(&disk, 0, 0).unwrap();
    let debug = Value::String(lab.text("debug"));
    machine
        .set_configuration_value("virtualpc/debug_console", &debug)
        .unwrap();
    machine.set_undoable(true).unwrap();
    machine
}

/// The rounds that the guest has told of since the machine's process began.
fn rounds(lab: &Lab) -> Vec<u64> {
    told(&std::fs::read_to_string(lab.path("debug")).unwrap_or_default())
}

/// The rounds in what a guest has said.
fn told(text: &str) -> Vec<u64> {
    assert!(!text.contains("wrong") && !text.contains("failed"), "{text}");
    let whole = &text[..text.rfind('\n').unwrap_or(0)];
    let rows = whole.lines().filter_map(|line| line.strip_prefix("round "));
    rows.map(|row| u64::from_str_radix(row.split(' ').next().unwrap(), 16).unwrap())
        .collect()
}

fn wait_for_rounds(lab: &Lab, count: usize) {
    wait_for("the guest to work", || (rounds(lab).len() >= count).then_some(()));
}

fn state_file(machine: &VirtualMachine) -> PathBuf {
    machine.path().with_extension("vsv")
}

#[test]
fn a_session() {
    let lab = Lab::new();
    let machine = counting(&lab);
    lab.refused(&["save", "m"], hresult::VM_E_VM_NOT_RUNNING);
    lab.refused(&["stop", "m", "--discard-saved"], hresult::VM_E_VM_NO_SAVED_STATE);
    lab.ok(&["start", "m"]);
    // A line may be cut in two by the move.
    let mut said = String::new();
    for _ in 0..3 {
        wait_for_rounds(&lab, 2);
        lab.ok(&["save", "m"]);
        said += &std::fs::read_to_string(lab.path("debug")).unwrap();
        let seen = told(&said);
        let expected: Vec<_> = (1..=seen.len() as u64).map(|n| 16 * n).collect();
        assert_eq!(seen, expected, "no round is missing, none is done twice");

        assert_eq!(machine.state().unwrap(), MachineState::Saved);
        assert_eq!(machine.saved_state_file_path().unwrap(), state_file(&machine));
        pairs!(VM_E_PREF_VM_ACTIVE: "IVMVirtualMachine::Memory" => machine.set_memory(8));
        pairs!(VM_E_VM_NOT_RUNNING: "IVMVirtualMachine::Save" => machine.save());
        lab.refused(&["stop", "m"], hresult::VM_E_VM_NOT_RUNNING);
        assert!(
            machine.path().with_file_name("m_0_0.vud").exists(),
            "the undo disk is kept"
        );
        // A process of its own starts it, and one that went on is not saved any more.
        lab.ok(&["start", "m"]);
        assert_eq!(machine.state().unwrap(), MachineState::Running);
        assert!(!state_file(&machine).exists());
    }
    wait_for_rounds(&lab, 1);
    pairs!(S_OK: "IVMVirtualMachine::Save" => begin(|| machine.save()));
    pairs!(S_OK: "IVMVirtualMachine::Startup" => begin(|| machine.startup()));
    machine.pause().unwrap();
    pairs!(S_OK: "IVMVirtualMachine::Save" => begin(|| machine.save()));
    lab.ok(&["stop", "m", "--discard-saved"]);
    assert_eq!(machine.state().unwrap(), MachineState::TurnedOff);
    assert!(!state_file(&machine).exists());
    let events = lab.ok(&["events", "m", "--json"]);
    for state in ["saving", "saved", "restoring", "running"] {
        assert!(events.contains(&format!("\"{state}\"")), "{state}: {events}");
    }
}

#[test]
fn a_state_whose_disk_was_changed_is_refused_and_kept() {
    let lab = Lab::new();
    let machine = counting(&lab);
    lab.start(&machine);
    wait_for_rounds(&lab, 1);
    begin(|| machine.save()).unwrap();
    let undo = machine.path().with_file_name("m_0_0.vud");
    let good = std::fs::read(&undo).unwrap();
    let changed = std::fs::metadata(&undo).unwrap().modified().unwrap();
    {
        let _undisturbed = support::alone();
        let disk = vhd::Disk::open(&undo, &vhd::OpenOptions::new()).unwrap();
        disk.write_at(0, &[1; 512]).unwrap();
        disk.close().unwrap();
    }
    pairs!(DISP_E_EXCEPTION: "IVMVirtualMachine::Startup" => begin(|| machine.startup()));
    let error = begin(|| machine.startup()).unwrap_err();
    assert!(
        error.cause().contains("m_0_0.vud: the image was changed"),
        "{error}"
    );
    assert_eq!(machine.state().unwrap(), MachineState::Saved);
    // Put back, it goes on.
    std::fs::write(&undo, &good).unwrap();
    let file = std::fs::File::options().write(true).open(&undo).unwrap();
    file.set_modified(changed).unwrap();
    drop(file);
    lab.start(&machine);
    wait_for_rounds(&lab, 1);
}

#[test]
fn a_state_that_is_damaged_is_refused_and_can_be_discarded() {
    let lab = Lab::new();
    let machine = counting(&lab);
    lab.start(&machine);
    begin(|| machine.save()).unwrap();
    let mut bytes = std::fs::read(state_file(&machine)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(state_file(&machine), &bytes).unwrap();
    let error = begin(|| machine.startup()).unwrap_err();
    assert!(error.cause().contains("is damaged"), "{error}");
    machine.discard_saved_state().unwrap();
    lab.start(&machine);
}

#[test]
fn a_state_that_cannot_be_written_lets_the_machine_go_on() {
    let lab = Lab::new();
    let machine = counting(&lab);
    lab.start(&machine);
    // A folder that is not empty stands where the state would get its name.
    std::fs::create_dir_all(state_file(&machine).with_extension("vsv.draft").join("x")).unwrap();
    pairs!(E_FAIL: "IVMVirtualMachine::Save" => begin(|| machine.save()));
    assert_eq!(machine.state().unwrap(), MachineState::Running);
    let before = rounds(&lab).len();
    wait_for_rounds(&lab, before + 2);
}

#[test]
fn killed_while_it_is_saved() {
    let lab = Lab::new();
    let machine = counting(&lab);
    let mut saved = 0;
    for round in 0..24 {
        lab.start(&machine);
        wait_for_rounds(&lab, 1);
        let mut saving = {
            let _undisturbed = support::alone();
            lab.vpc(&["save", "m"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        // Not a synchronisation: any moment will do.
        std::thread::sleep(std::time::Duration::from_millis(round * 9));
        for id in processes(&lab) {
            let _undisturbed = support::alone();
            let mut kill = std::process::Command::new("kill");
            // It may have ended just now.
            let _ = kill.args(["-9", &id.to_string()]).output();
        }
        saving.wait().unwrap();
        // It goes on at the next turn, or starts anew.
        let ended = [MachineState::Saved, MachineState::TurnedOff];
        let state = wait_for("the end", || {
            let state = machine.state().unwrap();
            ended.contains(&state).then_some(state)
        });
        assert_eq!(state == MachineState::Saved, state_file(&machine).exists());
        saved += usize::from(state == MachineState::Saved);
    }
    eprintln!("{saved} of 24 were saved before they were killed");
}
