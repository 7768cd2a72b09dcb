// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Virtual PC for KVM and WHP.

#[cfg(target_os = "linux")]
pub mod api;
pub mod bench;
pub mod boot;
pub mod cli;
pub mod console;
pub mod control_socket;
pub mod firmware;
pub mod host;
pub mod hypervisor;
pub mod iso;
pub mod machine;
pub mod memory;
pub mod qcow2;
pub mod saved_state;
pub mod storage;
pub mod virtual_pc;
pub mod volumes;
