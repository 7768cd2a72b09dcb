// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole machines with tiny guests on this host's hypervisor: KVM with both kinds of interrupt controllers, WHP with ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "machine/disks.rs"]
mod disks;
#[path = "machine/endings.rs"]
mod endings;
#[cfg(unix)]
#[path = "machine/kernels.rs"]
mod kernels;
#[path = "machine/memory.rs"]
mod memory;
#[path = "machine/processors.rs"]
mod processors;
#[path = "machine/remote.rs"]
mod remote;
#[cfg(unix)]
#[path = "machine/saving.rs"]
mod saving;
#[path = "support/support.rs"]
mod support;

use support::{Log, SEABIOS, VGA_BIOS};
#[cfg(unix)]
use virtualpc::boot::DirectKernel;
use virtualpc::hypervisor::{self, Irqchip};
use virtualpc::machine::control::{Command, CommandError, End};
use virtualpc::machine::{Boot, Machine, Spec};

#[cfg(unix)]
const BOTH: [Irqchip; 2] = [Irqchip::Kernel, Irqchip::Split];
#[cfg(windows)]
const BOTH: [Irqchip; 1] = [Irqchip::Split];
const MIB: u64 = 1 << 20;

/// A machine that boots this firmware, and nothing else in it.
fn spec(image: Vec<u8>, irqchip: Irqchip, log: &Log) -> Spec {
    Spec {
        memory: 16 * MIB,
        cpus: 1,
        without: vec![],
        irqchip: if cfg!(windows) { Irqchip::Split } else { irqchip },
        boot: Boot::Firmware {
            image,
            vga_bios: None,
        },
        boot_order: vec![],
        date: 0,
        reboot: false,
        serial: [None, None, None, None],
        parallel: None,
        floppies: [None, None],
        ide: [None, None, None, None],
        virtio: vec![],
        debug_console: Some(log.sink()),
    }
}

/// A machine with SeaBIOS.
fn seabios(irqchip: Irqchip, log: &Log) -> Spec {
    let mut spec = spec(
        std::fs::read(SEABIOS).expect("install the package `seabios`"),
        irqchip,
        log,
    );
    if let Boot::Firmware { vga_bios, .. } = &mut spec.boot {
        *vga_bios = Some(std::fs::read(VGA_BIOS).expect("install the package `seabios`"));
    }
    spec
}

/// A machine that starts the kernel `pvh.elf`, which prints what it was handed.
#[cfg(unix)]
fn pvh(irqchip: Irqchip, log: &Log) -> Spec {
    Spec {
        boot: Boot::Kernel(DirectKernel {
            kernel: support::guest("pvh.elf"),
            initrd: None,
            command_line: "one two".into(),
        }),
        ..spec(vec![], irqchip, log)
    }
}

fn build(spec: Spec) -> Machine {
    let hypervisor = hypervisor::open().expect("these tests need a hypervisor");
    Machine::new(spec, &*hypervisor).unwrap()
}

/// Runs a machine while `steer` does something with it from another thread. A machine that does not end is an error.
fn run(machine: &mut Machine, steer: impl FnOnce() + Send + 'static) -> End {
    let remote = machine.remote();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let timeout = end.recv_timeout(support::PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if timeout {
            remote.post(Command::Quit {});
        }
        timeout
    });
    let steer = std::thread::spawn(steer);
    let end = machine.run().unwrap();
    drop(ended);
    let timed_out = watch.join().unwrap();
    steer.join().unwrap();
    assert!(!timed_out, "the machine did not end");
    end
}

/// Runs a machine whose guest ends it.
fn run_alone(spec: Spec) -> End {
    run(&mut build(spec), || {})
}

/// The numbers that a guest printed after `name`, one list a line.
fn numbers(log: &Log, name: &str) -> Vec<Vec<u64>> {
    let text = log.text();
    let rows = text.lines().filter_map(|line| line.strip_prefix(name));
    rows.map(|row| {
        row.split_whitespace()
            .map(|word| u64::from_str_radix(word, 16).unwrap())
            .collect()
    })
    .collect()
}

#[test]
fn a_command_to_a_machine_that_is_gone_says_so() {
    let remote = build(spec(support::firmware("cycle"), Irqchip::Kernel, &Log::default())).remote();
    assert_eq!(remote.command(Command::Status {}), Err(CommandError::Ended));
}
