// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Steering a running machine.

use super::support::{Log, firmware, guest, loader, wait_for};
use super::{BOTH, build, run, spec};
use std::path::Path;
use virtualpc::hypervisor::Irqchip;
use virtualpc::machine::IdeDrive;
use virtualpc::machine::control::{Answer, Command, CommandError, Drive, End, Remote, RunState, Status};

fn status(remote: &Remote) -> Status {
    match remote.command(Command::Status {}) {
        Ok(Answer::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paused_machine_stands_still() {
    for irqchip in BOTH {
        let log = Log::default();
        let mut machine = build(spec(firmware("counter"), irqchip, &log));
        let remote = machine.remote();
        let end = run(&mut machine, move || {
            log.wait_for(".");
            assert_eq!(status(&remote).state, RunState::Running);
            remote.command(Command::Pause {}).unwrap();
            let (before, count) = (status(&remote), log.text().len());
            assert_eq!(before.state, RunState::Paused);
            // Twice is as good as once.
            remote.command(Command::Pause {}).unwrap();
            // Something that takes time, and is not sleep.
            drop(build(spec(firmware("cycle"), irqchip, &Log::default())));
            let after = status(&remote);
            assert_eq!(after.seconds, before.seconds, "guest time");
            assert_eq!(log.text().len(), count);

            remote.command(Command::Resume {}).unwrap();
            wait_for("the guest to go on", || (log.text().len() > count).then_some(()));
            assert!(status(&remote).seconds > before.seconds);

            // A reset does not wake a paused machine.
            remote.command(Command::Pause {}).unwrap();
            remote.command(Command::Reset {}).unwrap();
            let paused = status(&remote);
            assert_eq!((paused.state, paused.resets), (RunState::Paused, 1));
            assert_eq!(paused.post_code, 0);
            let count = log.text().len();
            remote.command(Command::Resume {}).unwrap();
            wait_for("the guest to start anew", || {
                (log.text().len() > count).then_some(())
            });
            remote.command(Command::Quit {}).unwrap();
        });
        assert!(matches!(end, End::Quit), "{end:?}");
    }
}

#[test]
fn resets_one_after_another() {
    let log = Log::default();
    let mut machine = build(spec(firmware("counter"), Irqchip::Split, &log));
    let remote = machine.remote();
    let end = run(&mut machine, move || {
        for _ in 0..50 {
            remote.command(Command::Reset {}).unwrap();
        }
        assert_eq!(status(&remote).resets, 50);
        let count = log.text().len();
        wait_for("the guest to live", || (log.text().len() > count).then_some(()));
        remote.command(Command::Quit {}).unwrap();
    });
    assert!(matches!(end, End::Quit), "{end:?}");
}

#[test]
fn discs_come_and_go() {
    let log = Log::default();
    let mut spec = spec(loader("ending-idle.img"), Irqchip::Kernel, &log);
    spec.ide[2] = Some(IdeDrive::Dvd(None));
    let mut machine = build(spec);
    let remote = machine.remote();
    let end = run(&mut machine, move || {
        let dvd = Drive::Dvd(0);
        let insert = |path: &Path| {
            remote.command(Command::Insert {
                drive: dvd,
                path: path.to_owned(),
                force: false,
            })
        };
        let eject = |drive| remote.command(Command::Eject { drive, force: false });
        assert_eq!(eject(dvd), Err(CommandError::Empty { drive: dvd }));
        let iso = guest("dvdsum.iso");
        for _ in 0..3 {
            insert(&iso).unwrap();
            assert_eq!(status(&remote).drives[0].medium.as_deref(), Some(&*iso));
        }
        // What cannot be used leaves what is there.
        for bad in [
            Path::new("/nonexistent.iso"),
            Path::new("/"),
            Path::new("/dev/null"),
        ] {
            let error = insert(bad).unwrap_err();
            assert!(
                matches!(&error, CommandError::Image { detail } if detail.contains(bad.to_str().unwrap())),
                "{error}"
            );
            assert_eq!(status(&remote).drives[0].medium.as_deref(), Some(&*iso));
        }
        eject(dvd).unwrap();
        assert_eq!(status(&remote).drives[0].medium, None);
        let drive = Drive::Dvd(1);
        assert_eq!(eject(drive), Err(CommandError::NoSuchDrive { drive }));
        remote.command(Command::Quit {}).unwrap();
    });
    assert!(matches!(end, End::Quit), "{end:?}");
}
