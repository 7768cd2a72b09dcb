// SPDX-License-Identifier: Apache-2.0 OR MIT
//! KVM.

mod cpuid;
mod kick;
mod mtrr;
pub mod probe;
mod saved;
mod state;
mod vcpu;
mod vm;

pub use saved::{SavedCpu, SavedVm};

use super::{CpuidProfile, Error, Hypervisor, Irqchip, Result, Unavailable, Vm};
use kvm_ioctls::Cap;
use std::ffi::CString;
use std::sync::Arc;

/// The only version of the interface there has ever been.
const API_VERSION: i32 = 12;

/// What a machine cannot do without.
const NEEDED: &[(Cap, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::Pit2, "KVM_CAP_PIT2"),
    (Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::MpState, "KVM_CAP_MP_STATE"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"),
];

/// An open `/dev/kvm`.
pub struct Kvm {
    kvm: kvm_ioctls::Kvm,
}

impl Kvm {
    /// Where the device is.
    pub const PATH: &str = "/dev/kvm";

    /// Opens `/dev/kvm` and checks that it can run a PC.
    pub fn open() -> std::result::Result<Self, Unavailable> {
        let path = CString::new(Self::PATH).map_err(|e| Unavailable::Refused {
            detail: e.to_string(),
        })?;
        let kvm = kvm_ioctls::Kvm::new_with_path(path).map_err(|error| probe::explain_open(error.errno()))?;
        let found = kvm.get_api_version();
        if found != API_VERSION {
            return Err(Unavailable::ApiVersion {
                found,
                needed: API_VERSION,
            });
        }
        if let Some(&(_, name)) = NEEDED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(Unavailable::MissingCapability { name });
        }
        Ok(Self { kvm })
    }
}

impl Hypervisor for Kvm {
    fn create_vm(&self, irqchip: Irqchip, profile: &CpuidProfile) -> Result<Arc<dyn Vm>> {
        Ok(Arc::new(vm::KvmVm::new(&self.kvm, irqchip, profile)?))
    }

    fn describe(&self) -> String {
        format!("KVM, API version {}", self.kvm.get_api_version())
    }

    fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }
}

/// Gives a failed ioctl its name.
fn call<T>(call: &'static str, result: std::result::Result<T, kvm_ioctls::Error>) -> Result<T> {
    result.map_err(|error| Error::Call {
        call,
        source: error.into(),
    })
}
