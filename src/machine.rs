// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine.

pub mod cpu;
pub mod timers;
