// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines with several processors.

use super::support::{Log, firmware};
use super::{BOTH, numbers, run_alone, seabios, spec};
use virtualpc::hypervisor::Irqchip;
use virtualpc::machine::control::{Answer, Command, End, Screen};
use virtualpc::machine::{Error, Machine, Spec};

#[test]
fn all_processors_start() {
    for irqchip in BOTH {
        for cpus in [1, 2, 4, 8] {
            let log = Log::default();
            let end = run_alone(Spec {
                cpus,
                ..spec(firmware("smp"), irqchip, &log)
            });
            assert!(matches!(end, End::PoweredOff), "{end:?}");
            assert_eq!(numbers(&log, "processors "), [[u64::from(cpus)]]);
        }
    }
}

#[test]
fn firmware_finds_all_processors_and_nothing_to_boot() {
    let log = Log::default();
    let mut machine = super::build(Spec {
        cpus: 2,
        ..seabios(Irqchip::Kernel, &log)
    });
    let (remote, heard) = (machine.remote(), log.clone());
    let end = super::run(&mut machine, move || {
        heard.wait_for("No bootable device");
        let shown = remote.command(Command::Screen {}).unwrap();
        assert!(
            matches!(&shown, Answer::Screen { screen: Screen::Text(rows) } if rows.contains("SeaBIOS (version")),
            "{shown:?}"
        );
        remote.command(Command::Quit {}).unwrap();
    });
    assert!(matches!(end, End::Quit), "{end:?}");
    assert!(log.text().contains("Found 2 cpu(s)"), "{}", log.text());
    let screen = machine.screen().to_string();
    assert!(screen.contains("SeaBIOS (version"), "{screen}");
}

#[test]
fn a_machine_has_one_to_eight() {
    let hypervisor = virtualpc::hypervisor::open().unwrap();
    for cpus in [0, 9, 255] {
        let spec = Spec {
            cpus,
            ..spec(firmware("cycle"), Irqchip::Kernel, &Log::default())
        };
        assert!(matches!(Machine::new(spec, &*hypervisor), Err(Error::Cpus(n)) if n == cpus));
    }
}
