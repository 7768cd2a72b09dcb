// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The object model: each documented result that it can produce, sessions with the built program, and what kills leave behind.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unit_arg
)]

#[path = "model/api.rs"]
mod api;
#[path = "model/coverage.rs"]
mod coverage;
#[path = "model/crashes.rs"]
mod crashes;
#[path = "model/pairs_application.rs"]
mod pairs_application;
#[path = "model/pairs_broken.rs"]
mod pairs_broken;
#[path = "model/pairs_disks.rs"]
mod pairs_disks;
#[path = "model/pairs_drives.rs"]
mod pairs_drives;
#[path = "model/pairs_machine.rs"]
mod pairs_machine;
#[path = "model/pairs_stuck.rs"]
mod pairs_stuck;
#[path = "model/pairs_tasks.rs"]
mod pairs_tasks;
#[path = "model/saved.rs"]
mod saved;
#[path = "model/sessions.rs"]
mod sessions;
#[allow(dead_code)]
#[path = "support/support.rs"]
mod support;
#[path = "model/volumes.rs"]
mod volumes;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use virtualpc::virtual_pc::hresult::{HResult, S_OK};
use virtualpc::virtual_pc::machine::VirtualMachine;
use virtualpc::virtual_pc::places::Places;
use virtualpc::virtual_pc::task::Task;
use virtualpc::virtual_pc::vmc::Value;
use virtualpc::virtual_pc::{Error, VirtualPc};

/// The documented API (tests/data/README.md).
fn documented() -> serde_json::Value {
    serde_json::from_str(include_str!("data/virtual-pc-api.json")).unwrap()
}

/// Whether the documents name a result for a member.
fn is_documented(member: &str, result: HResult) -> bool {
    let (interface, name) = member.split_once("::").unwrap();
    let returns = &documented()["interfaces"][interface]["members"][name]["returns"];
    let returns = returns
        .as_array()
        .unwrap_or_else(|| panic!("there is no {member}"));
    returns.iter().any(|name| name == result.name)
}

/// Asserts that a member gives a result, and that it is a documented one.
#[track_caller]
fn check<T>(member: &str, result: HResult, outcome: Result<T, Error>) {
    assert!(
        is_documented(member, result),
        "{member}: {result} is not documented"
    );
    match outcome {
        Ok(_) => assert_eq!(result, S_OK, "{member}"),
        Err(error) => assert_eq!(error.result(), result, "{member}: {error}"),
    }
}

/// Pairs of members and results, each checked. `coverage.rs` counts them in the source: each literal name is a pair that is tested.
macro_rules! pairs {
    ($result:ident: $($member:literal => $call:expr),* $(,)?) => {
        $($crate::check($member, virtualpc::virtual_pc::hresult::$result, $call);)*
    };
}
pub(crate) use pairs;

/// A user's folders, and a program that runs machines.
struct Lab {
    folder: tempfile::TempDir,
    app: VirtualPc,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variable = |name: &str| folder.path().join(name).join("virtualpc");
        let places = Places {
            config: variable("config"),
            data: variable("data"),
            state: variable("state"),
            runtime: variable("run"),
        };
        let app = VirtualPc::new(places, env!("CARGO_BIN_EXE_vpc").into());
        Self { folder, app }
    }

    /// A path in the lab.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    fn text(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    /// A file of zeros in the lab.
    fn file(&self, name: &str, size: usize) -> String {
        std::fs::write(self.path(name), vec![0; size]).unwrap();
        self.text(name)
    }

    /// A machine of 4 MB.
    fn machine(&self, name: &str) -> VirtualMachine {
        let machine = self
            .app
            .create_virtual_machine(name, &self.text("machines"))
            .unwrap();
        machine.set_memory(4).unwrap();
        machine
    }

    /// A machine of 4 MB whose guest is this firmware.
    fn guest(&self, name: &str, firmware: &[u8]) -> VirtualMachine {
        let image = self.path("firmware.rom");
        std::fs::write(&image, firmware).unwrap();
        let machine = self.machine(name);
        let image = Value::String(text(&image).to_owned());
        machine
            .set_configuration_value("virtualpc/firmware", &image)
            .unwrap();
        machine
    }

    /// Starts a machine.
    fn start(&self, machine: &VirtualMachine) {
        begin(|| machine.startup()).unwrap();
    }

    /// `vpc` with these folders.
    fn vpc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vpc"));
        command.env_remove("VPC_LOG").args(arguments).stdin(Stdio::null());
        for (name, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(name, self.path(folder));
        }
        command.current_dir(self.folder.path());
        command
    }

    /// Runs `vpc` to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        let _undisturbed = support::alone();
        self.vpc(arguments).output().unwrap()
    }

    /// Runs `vpc`, which must succeed; gives what it printed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `vpc`, which must be refused with this result.
    #[track_caller]
    fn refused(&self, arguments: &[&str], result: HResult) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {error}");
        assert!(
            error.starts_with(&format!("vpc: {result}: ")),
            "{arguments:?}: {error}"
        );
        assert!(error.contains("to mend it, "), "{error}");
    }
}

/// Waits for a task that starts a machine, while no test looks at locks.
fn begin(task: impl FnOnce() -> Result<Task, Error>) -> Result<(), Error> {
    let _undisturbed = support::alone();
    task()?.finish()
}

impl Drop for Lab {
    /// No test leaves a machine behind, also when it fails.
    fn drop(&mut self) {
        for machine in self.app.virtual_machines().into_iter().flatten() {
            if let Ok(task) = machine.turn_off() {
                let _ = task.finish();
            }
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
