// SPDX-License-Identifier: Apache-2.0 OR MIT
//! docs/api-coverage.md: made from the documented API, the docstrings of `src/virtual_pc` and the pairs that these tests check.
//!
//! `UPDATE_COVERAGE=1 cargo test --test model coverage` writes the file anew.

use super::documented;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use virtualpc::virtual_pc::hresult;
use virtualpc::virtual_pc::not_available::{NOT_AVAILABLE, not_available};

const TESTS: [&str; 8] = [
    include_str!("pairs_application.rs"),
    include_str!("pairs_broken.rs"),
    include_str!("pairs_disks.rs"),
    include_str!("pairs_drives.rs"),
    include_str!("pairs_machine.rs"),
    include_str!("pairs_stuck.rs"),
    include_str!("pairs_tasks.rs"),
    include_str!("volumes.rs"),
];

/// Every text in a file between `before` and `after` that looks like a member's name.
fn names(text: &str, before: char) -> impl Iterator<Item = &str> {
    text.split(before).filter(|word| {
        word.starts_with("IVM")
            && word.contains("::")
            && word.chars().all(|c| c.is_alphanumeric() || c == ':' || c == '_')
    })
}

/// The members that docstrings name.
fn served(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            served(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let docs = text.lines().filter(|line| line.trim_start().starts_with("///"));
            let docs: String = docs.collect::<Vec<_>>().join(" ");
            found.extend(names(&docs, '`').map(str::to_owned));
        }
    }
}

/// The pairs in `pairs!(CODE: "MEMBER" => …)`.
fn tested() -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    // A test of src/virtual_pc/image_rules.rs brings about every documented result of these.
    for member in [
        "CreateDifferencingVirtualHardDisk",
        "CreateDynamicVirtualHardDisk",
        "CreateFixedVirtualHardDisk",
    ] {
        for code in documented()["interfaces"]["IVMVirtualPC"]["members"][member]["returns"]
            .as_array()
            .unwrap()
        {
            let result = hresult::HResult::by_name(code.as_str().unwrap()).unwrap();
            found.insert((format!("IVMVirtualPC::{member}"), result.name));
        }
    }
    for text in TESTS {
        for block in text.split("pairs!(").skip(1) {
            let (code, rest) = block.split_once(':').unwrap();
            let result = hresult::ALL.iter().find(|result| constant(result.name) == code);
            let result = result.unwrap_or_else(|| panic!("{code} is no result"));
            found.extend(names(rest, '"').map(|name| (name.to_owned(), result.name)));
        }
    }
    found
}

/// The name of a code's constant.
fn constant(name: &str) -> &str {
    let inner = name.strip_prefix("HRESULT_FROM_WIN32(");
    inner.and_then(|name| name.strip_suffix(')')).unwrap_or(name)
}

/// Why a pair of a member that is served is not tested.
fn reason(code: &str) -> &'static str {
    match code {
        "E_POINTER" => "a missing argument cannot be said in Rust",
        "DISP_E_EXCEPTION" => "something unexpected: there is no way to bring it about",
        "VM_E_HARDWARE_VIRTUALIZATION_DISABLED" => {
            "machines and disks can be managed without virtualization; only the task of starting one tells"
        }
        "VM_E_APP_SHUTTING_DOWN" => "there is no application that shuts down",
        "VM_E_VMVIRTUALPC_OLDER_VERSION" | "VM_E_OTHER_VIRTUALIZATION_SOFTWARE" => "KVM has no such conflict",
        "HRESULT_FROM_WIN32(ERROR_ACCESS_DENIED)" | "E_ACCESSDENIED" => {
            "tested only where the tests do not run as root, so not counted"
        }
        "HRESULT_FROM_WIN32(ERROR_DISK_FULL)"
        | "HRESULT_FROM_WIN32(ERROR_OUTOFMEMORY)"
        | "VM_E_OUT_OF_RESOURCE" => "needs a host without room; not tested yet",
        "VM_E_TIMED_OUT" => "needs a machine that hangs; not tested yet",
        _ => "not tested yet, or cannot occur here",
    }
}

fn report() -> String {
    let api = documented();
    let tested = tested();
    let mut found = BTreeSet::new();
    served(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/virtual_pc"),
        &mut found,
    );
    let interfaces = api["interfaces"].as_object().unwrap();
    let (mut members, mut served, mut pairs, mut proven) = (0, 0, 0, 0);
    let mut table = String::new();
    let mut left = String::new();
    let mut untested: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of_missing = 0;
    for (interface, description) in interfaces {
        let mut row = [0; 4];
        for (member, description) in description["members"].as_object().unwrap() {
            let name = format!("{interface}::{member}");
            let missing = not_available(&name);
            let is_served = missing.is_none() && found.contains(&name);
            assert!(
                is_served || missing.is_some(),
                "{name} is neither served nor listed as not available"
            );
            row[0] += usize::from(is_served);
            row[1] += 1;
            for code in description["returns"].as_array().unwrap() {
                let code = code.as_str().unwrap();
                row[3] += 1;
                if tested.contains(&(name.clone(), code)) {
                    row[2] += 1;
                } else if is_served {
                    *untested.entry(code).or_default() += 1;
                } else {
                    of_missing += 1;
                }
            }
        }
        members += row[1];
        served += row[0];
        proven += row[2];
        pairs += row[3];
        writeln!(
            table,
            "| {interface} | {} / {} | {} / {} |",
            row[0], row[1], row[2], row[3]
        )
        .unwrap();
    }
    assert_eq!((members, pairs), (295, 1405), "the reference file has changed");
    for (member, result, why) in NOT_AVAILABLE {
        writeln!(left, "| {member} | {} | {why} |", result.name).unwrap();
    }
    let mut reasons: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for (code, count) in untested {
        let entry = reasons.entry(reason(code)).or_default();
        entry.0 += count;
        entry.1.push(code);
    }
    let mut why = String::new();
    for (reason, (count, codes)) in reasons {
        writeln!(why, "| {count} | {reason} | {} |", codes.join(", ")).unwrap();
    }
    format!(
        "# Coverage of the Virtual PC API\n\n\
         Made by `tests/model/coverage.rs`; do not edit (`UPDATE_COVERAGE=1 cargo test --test model coverage` makes it anew). A member is\n\
         done when a docstring in `src/virtual_pc` names it and the table of what is not available does not. A pair of a member and a result is\n\
         tested when a test in `tests/model` calls the member and asserts that result; those of the three members that make hard disks are tested\n\
         in `src/virtual_pc/image_rules.rs`, where the rules and their codes meet.\n\n\
         **Members done: {served} / 295. Pairs tested: {proven} / 1,405.**\n\n\
         | interface | members done | pairs tested |\n| --- | --- | --- |\n{table}\n\
         ## Members that are not available yet\n\n\
         | member or interface | result | why |\n| --- | --- | --- |\n{left}\n\
         ## Pairs that are not tested\n\n\
         {of_missing} pairs belong to members that are not available. Of the members that are done:\n\n\
         | pairs | why | codes |\n| --- | --- | --- |\n{why}"
    )
}

#[test]
fn coverage_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api-coverage.md");
    let report = report();
    if std::env::var_os("UPDATE_COVERAGE").is_some() {
        std::fs::write(&path, &report).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        present == report,
        "docs/api-coverage.md is stale: run UPDATE_COVERAGE=1 cargo test --test model coverage"
    );
}

#[test]
fn every_pair_that_is_counted_is_documented() {
    for (member, code) in tested() {
        let result = hresult::HResult::by_name(code).unwrap();
        assert!(super::is_documented(&member, result), "{member}: {code}");
    }
}
