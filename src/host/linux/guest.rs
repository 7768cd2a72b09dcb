// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The benchmark guest that this program carries.

/// The guest: a kernel for PVH's direct boot, which `build.rs` makes of `guest/`.
pub const BENCH_GUEST: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/guest.elf")));
