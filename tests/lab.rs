// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real guests: Debian's kernels, GRUB, memtest86+ and iPXE on the media of `scripts/guests`, whose folder is in `VPC_GUESTS`.
//!
//! They need a KVM that runs ordinary kernels, so they are `#[ignore]`d here and run by `scripts/test`: on this host if it can, else in
//! `scripts/lab`. Tests named `no_svm…` want a host without hardware virtualization.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "lab/boot.rs"]
mod boot;
#[path = "lab/guest.rs"]
mod guest;
#[path = "lab/linux.rs"]
mod linux;
#[path = "lab/no_svm.rs"]
mod no_svm;
#[path = "lab/session.rs"]
mod session;
