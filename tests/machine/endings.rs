// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How machines end: each way, with each interrupt model.

use super::support::{Log, firmware, loader};
use super::{BOTH, build, run, run_alone, seabios, spec};
use virtualpc::hypervisor::{Fault, Irqchip};
use virtualpc::machine::control::{Answer, Command, End, Remote};
use virtualpc::machine::{BootLetter, IdeDrive};
use virtualpc::storage::{Image, Purpose};

fn resets(remote: &Remote) -> u64 {
    match remote.command(Command::Status {}) {
        Ok(Answer::Status(status)) => status.resets,
        other => panic!("{other:?}"),
    }
}

fn assert_registers(fault: &Fault, code: &[u8]) {
    assert!(fault.code.starts_with(code), "{fault}");
    let text = fault.to_string();
    for part in [
        "processor 0:",
        "rip ",
        "rax ",
        "cs ",
        "gdt ",
        "cr0 ",
        "efer ",
        "\ncode ",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[test]
fn soft_off() {
    for irqchip in BOTH {
        let log = Log::default();
        let end = run_alone(spec(loader("hello.img"), irqchip, &log));
        assert!(matches!(end, End::PoweredOff), "{end:?}");
        assert!(
            log.text().contains("hello from the boot sector"),
            "{}",
            log.text()
        );
    }
}

#[test]
fn a_triple_fault_ends_a_machine_that_must_not_restart() {
    for irqchip in BOTH {
        let log = Log::default();
        match run_alone(spec(loader("ending-triple-fault.img"), irqchip, &log)) {
            // mov ds, ax
            End::TripleFault(fault) => assert_registers(&fault, &[0x8e, 0xd8]),
            other => panic!("{other:?}\n{}", log.text()),
        }
    }
}

#[test]
fn a_triple_fault_restarts_a_machine_that_may() {
    for irqchip in BOTH {
        let log = Log::default();
        let mut machine = build(virtualpc::machine::Spec {
            reboot: true,
            ..spec(loader("ending-triple-fault.img"), irqchip, &log)
        });
        let (remote, log) = (machine.remote(), log.clone());
        let end = run(&mut machine, move || {
            let twice = "ending: triple fault\r\nending: triple fault\r\n";
            log.wait_for(twice);
            assert!(resets(&remote) >= 1);
            remote.command(Command::Quit {}).unwrap();
        });
        assert!(matches!(end, End::Quit), "{end:?}");
    }
}

/// The emulator of this kind of host stops at `ud2`; a processor takes it as a triple fault, having no gates. Both show where.
#[test]
fn a_fatal_exit_shows_registers_and_code() {
    for irqchip in BOTH {
        let fault = match run_alone(spec(firmware("fatal"), irqchip, &Log::default())) {
            End::Fault(fault) | End::TripleFault(fault) => fault,
            other => panic!("{other:?}"),
        };
        assert_registers(&fault, &[0x0f, 0x0b]);
        let registers = fault.registers.unwrap();
        assert_eq!(registers.general[0] as u32, 0x1234_5678, "EAX");
        assert_eq!(registers.control[0] & 1, 1, "CR0.PE");
    }
}

#[test]
fn every_reset_line_resets() {
    for name in [
        "ending-reset-cf9.img",
        "ending-reset-kbc.img",
        "ending-reset-92.img",
    ] {
        for irqchip in BOTH {
            let log = Log::default();
            let end = run_alone(spec(loader(name), irqchip, &log));
            assert!(matches!(end, End::Reset), "{name}: {end:?}\n{}", log.text());
            assert_eq!(log.text(), "ending: reset\r\n", "{name}");

            let log = Log::default();
            let end = run_alone(virtualpc::machine::Spec {
                reboot: true,
                ..spec(loader(name), irqchip, &log)
            });
            assert!(matches!(end, End::PoweredOff), "{name}: {end:?}\n{}", log.text());
            assert_eq!(log.text(), "ending: reset\r\nreset worked\r\n", "{name}");
        }
    }
}

/// A machine that has ended by a reset may be run on.
#[test]
fn a_machine_runs_on_after_its_end() {
    let log = Log::default();
    let mut machine = build(spec(loader("ending-reset-cf9.img"), Irqchip::Kernel, &log));
    assert!(matches!(run(&mut machine, || {}), End::Reset));
    let remote = machine.remote();
    let end = run(&mut machine, move || {
        remote.command(Command::Reset {}).unwrap();
    });
    assert!(matches!(end, End::PoweredOff), "{end:?}\n{}", log.text());
}

#[test]
fn guests_that_do_not_end_are_ended() {
    for (name, words) in [
        ("ending-halt.img", "ending: halt with interrupts off\r\n"),
        ("ending-idle.img", "ending: idle\r\n"),
        ("ending-spin.img", "ending: spin\r\n"),
    ] {
        for irqchip in BOTH {
            let log = Log::default();
            let mut machine = build(spec(loader(name), irqchip, &log));
            let (remote, heard) = (machine.remote(), log.clone());
            let end = run(&mut machine, move || {
                heard.wait_for(words);
                remote.command(Command::Quit {}).unwrap();
            });
            assert!(matches!(end, End::Quit), "{name}: {end:?}");
            assert_eq!(log.text(), words, "{name}");
        }
    }
}

#[test]
fn the_power_button_reaches_the_guest() {
    for irqchip in BOTH {
        let log = Log::default();
        let mut machine = build(spec(loader("ending-power-button.img"), irqchip, &log));
        let (remote, heard) = (machine.remote(), log.clone());
        let end = run(&mut machine, move || {
            heard.wait_for("waiting for the power button\r\n");
            remote.command(Command::PowerButton {}).unwrap();
        });
        assert!(matches!(end, End::PoweredOff), "{end:?}");
        assert!(log.text().ends_with("\r\npower button\r\n"), "{}", log.text());
    }
}

/// With real firmware, too: it finds its way through a reset, and so does its boot sector.
#[test]
fn seabios_comes_back_after_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    std::fs::copy(super::support::guest("ending-reset-kbc.img"), &image).unwrap();
    let log = Log::default();
    let disk = Image::open(&image, Purpose::HardDisk).unwrap();
    let mut spec = seabios(Irqchip::Split, &log);
    spec.reboot = true;
    spec.boot_order = vec![BootLetter::HardDisk];
    spec.ide[0] = Some(IdeDrive::Disk(disk));
    let end = run_alone(spec);
    assert!(matches!(end, End::PoweredOff), "{end:?}\n{}", log.text());
    assert!(log.text().contains("ending: reset\r\n"), "{}", log.text());
    assert!(log.text().contains("reset worked\r\n"), "{}", log.text());
}
