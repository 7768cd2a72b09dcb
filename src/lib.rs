// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Virtual PC for KVM and WHP.

#[cfg(target_os = "linux")]
pub mod boot;
#[cfg(target_os = "linux")]
pub mod cli;
#[cfg(target_os = "linux")]
pub mod console;
#[cfg(target_os = "linux")]
pub mod control_socket;
pub mod firmware;
pub mod host;
pub mod hypervisor;
#[cfg(target_os = "linux")]
pub mod machine;
#[cfg(target_os = "linux")]
pub mod memory;
pub mod storage;
pub mod virtual_pc;
