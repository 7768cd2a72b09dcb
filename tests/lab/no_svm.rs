// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `vpc` says on a host without usable virtualization.

use crate::guest::VPC;
use std::process::{Command, Output};

/// VM_E_HARDWARE_VIRTUALIZATION_DISABLED.
const DISABLED: i32 = 13;

fn vpc(words: &[&str]) -> Output {
    Command::new(VPC).args(words).output().expect("vpc starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[ignore = "needs a host without hardware virtualization: scripts/test"]
fn no_svm_run_names_cause_and_remedy() {
    let output = vpc(&["run", "--memory", "64M"]);
    assert_eq!(output.status.code(), Some(DISABLED), "{output:?}");
    assert!(output.stdout.is_empty());
    let errors = text(&output.stderr);
    for wanted in [
        "VM_E_HARDWARE_VIRTUALIZATION_DISABLED (0xA0040951)",
        "hypervisor does not offer VT-x or AMD-V",
        "enable nested virtualization",
    ] {
        assert!(errors.contains(wanted), "`{wanted}` is missing in {errors}");
    }
}

#[test]
#[ignore = "needs a host without hardware virtualization: scripts/test"]
fn no_svm_host_tells_people_and_programs() {
    let words = vpc(&["host"]);
    assert_eq!(words.status.code(), Some(DISABLED));
    assert!(text(&words.stdout).contains("VM_E_HARDWARE_VIRTUALIZATION_DISABLED (0xA0040951)"));

    let json = vpc(&["host", "--json"]);
    assert_eq!(json.status.code(), Some(DISABLED));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(report["available"], false);
    assert_eq!(report["ordinary_kernels"], false);
    assert_eq!(report["exit_code"], DISABLED);
    assert_eq!(report["result"]["name"], "VM_E_HARDWARE_VIRTUALIZATION_DISABLED");
    assert_eq!(report["result"]["code"], "0xA0040951");
    for field in ["cause", "remedy"] {
        assert!(
            report[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
}

#[test]
#[ignore = "needs a host without hardware virtualization: scripts/test"]
fn no_svm_leaves_files_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("screen");
    let socket = folder.path().join("control");
    let output = Command::new(VPC)
        .arg("run")
        .arg("--text-dump")
        .arg(&dump)
        .arg("--control")
        .arg(&socket)
        .output()
        .expect("vpc starts");
    assert_eq!(output.status.code(), Some(DISABLED));
    assert!(!dump.exists() && !socket.exists());
}
