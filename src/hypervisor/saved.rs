// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of its hypervisor: processors, its clock, and interrupt controllers of its own.
//!
//! The registers are in the form of the hypervisor that ran the machine, and go back to no other.

use serde::{Deserialize, Serialize};

/// A processor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum CpuState {
    /// Of KVM.
    #[cfg(target_os = "linux")]
    Kvm(Box<super::kvm::SavedCpu>),
}

/// The rest of the machine.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum VmState {
    /// Of KVM.
    #[cfg(target_os = "linux")]
    Kvm(Box<super::kvm::SavedVm>),
}
