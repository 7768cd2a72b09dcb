// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The benchmark guest: no kernel starts without firmware here ([`super::kernel`]), so there is none.

/// None.
pub const BENCH_GUEST: Option<&[u8]> = None;
