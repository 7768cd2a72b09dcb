// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk` as its users see it: the built program, its output, its exit codes and what it leaves on the host. Where qemu-img is
//! installed it is the second opinion; it is independent of this project.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "disk/lab.rs"]
mod lab;

#[path = "disk/bad_hosts.rs"]
mod bad_hosts;
#[path = "disk/bad_use.rs"]
mod bad_use;
#[path = "disk/basics.rs"]
mod basics;
#[path = "disk/checks.rs"]
mod checks;
#[path = "disk/compacting.rs"]
mod compacting;
#[path = "disk/damaged_volumes.rs"]
mod damaged_volumes;
#[path = "disk/discs.rs"]
mod discs;
#[path = "disk/floppies.rs"]
mod floppies;
#[path = "disk/operations.rs"]
mod operations;
#[path = "disk/qcow2.rs"]
mod qcow2;
#[path = "disk/serving.rs"]
mod serving;
#[path = "disk/signals.rs"]
mod signals;
#[path = "disk/volume.rs"]
mod volume;
