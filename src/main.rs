// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `vpc` program.
fn main() {}
