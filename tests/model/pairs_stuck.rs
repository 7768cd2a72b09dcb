// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine whose process answers wrongly, or not at all. The test plays that process.

use super::{Lab, pairs};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use virtualpc::virtual_pc::enums::MachineState;
use virtualpc::virtual_pc::instance::{Instance, Tenure};
use virtualpc::virtual_pc::machine::VirtualMachine;
use virtualpc::virtual_pc::vmc::Value;

/// Becomes the machine's process: answers each request with what `answer` gives, and keeps the connection if that is nothing.
fn play(lab: &Lab, machine: &VirtualMachine, answer: fn(&str) -> Option<String>) -> Tenure {
    let instance = Instance::of(lab.app.places(), machine.path());
    let tenure = instance.enter().unwrap();
    let listener = UnixListener::bind(instance.control()).unwrap();
    tenure.note(MachineState::Running).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    tenure
}

fn serve(mut stream: UnixStream, answer: fn(&str) -> Option<String>) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(answer) = answer(&line) {
            let _ = stream.write_all(format!("{answer}\n").as_bytes());
        }
    }
}

fn status(state: &str) -> String {
    format!(
        r#"{{"ok":{{"state":"{state}","seconds":1.0,"resets":0,"cpus":1,"memory":4194304,"post_code":0,"drives":[]}}}}"#
    )
}

#[test]
fn a_machine_that_refuses_everything() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let key = "hardware/pci_bus/ide_adapter/ide_controller[@id=1]/location[@id=0]/pathname/absolute";
    machine
        .set_configuration_value(key, &Value::String("/dev/sr0".into()))
        .unwrap();
    let _tenure = play(&lab, &machine, |request| {
        let refused = r#"{"failed":{"cause":{"error":"malformed","detail":"no"},"message":"no"}}"#;
        Some(if request.contains("status") {
            status("running")
        } else {
            refused.into()
        })
    });
    assert_eq!(machine.state().unwrap(), MachineState::Running);
    let drives = machine.dvd_drives().unwrap();
    let dvd = drives.item(1).unwrap();
    pairs!(E_FAIL: "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive());
    assert!(dvd.host_drive().is_ok(), "what failed has changed nothing");
    pairs!(E_FAIL: "IVMVirtualMachine::Pause" => machine.pause());
}

#[test]
fn a_machine_that_does_not_answer() {
    let lab = Lab::new();
    let [runs, paused] = ["runs", "paused"].map(|name| lab.machine(name));
    let _first = play(&lab, &runs, |request| {
        request.contains("status").then(|| status("running"))
    });
    let _second = play(&lab, &paused, |request| {
        request.contains("status").then(|| status("paused"))
    });
    // Both at once: each takes the model's patience.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pairs!(VM_E_TIMED_OUT: "IVMVirtualMachine::Pause" => runs.pause());
        });
        scope.spawn(|| {
            pairs!(VM_E_TIMED_OUT: "IVMVirtualMachine::Resume" => paused.resume());
        });
    });
}

#[test]
fn a_machine_that_says_nonsense_is_taken_for_one_that_is_ending() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let _tenure = play(&lab, &machine, |_| Some("nonsense".into()));
    assert_eq!(machine.state().unwrap(), MachineState::TurningOff);
    pairs!(VM_E_VM_NOT_RUNNING: "IVMVirtualMachine::Pause" => machine.pause());
    pairs!(VM_E_VM_RUNNING: "IVMVirtualMachine::Startup" => machine.startup());
}
