// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compiles the benchmark guest (`guest/`), a freestanding program that the Linux builds carry.

use std::path::PathBuf;
use std::process::{Command, exit};

fn main() {
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default();
    // Elsewhere no kernel starts without firmware.
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let script = root.join("guest/link.ld");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.arg(root.join("guest/main.rs"));
    rustc.args([
        "--crate-name",
        "guest",
        "--crate-type",
        "bin",
        "--edition",
        "2024",
        "--target",
    ]);
    rustc.arg(variable("TARGET"));
    // One address for all, no operating system, the same bytes from every folder.
    for option in [
        "opt-level=2",
        "codegen-units=1",
        "panic=abort",
        "relocation-model=static",
        "strip=symbols",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-no-pie",
        "link-arg=-Wl,--build-id=none",
        "link-arg=-Wl,-z,max-page-size=4096",
    ] {
        rustc.args(["-C", option]);
    }
    if let Some(linker) = std::env::var_os("RUSTC_LINKER") {
        rustc
            .arg("-C")
            .arg(format!("linker={}", PathBuf::from(linker).display()));
    }
    rustc
        .arg("-C")
        .arg(format!("link-arg=-Wl,-T,{}", script.display()));
    rustc.arg(format!("--remap-path-prefix={}=.", root.display()));
    rustc
        .arg("-o")
        .arg(PathBuf::from(variable("OUT_DIR")).join("guest.elf"));
    match rustc.status() {
        Ok(status) if status.success() => {}
        outcome => {
            eprintln!("the benchmark guest cannot be compiled: {rustc:?}: {outcome:?}");
            exit(1);
        }
    }
}
