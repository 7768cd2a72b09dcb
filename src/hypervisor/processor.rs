// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's processor, as CPUID shows it to programs.

use std::arch::x86_64::{__cpuid, CpuidResult};

/// The processor's virtualization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessorSupport {
    /// VT-x.
    Vmx,
    /// AMD-V.
    Svm,
    /// Neither, and this is a physical machine.
    None,
    /// Neither, and this system runs on a hypervisor.
    NoneInGuest,
}

/// Asks the processor.
pub fn processor_support() -> ProcessorSupport {
    let features = __cpuid(1);
    let extended = __cpuid(0x8000_0000).eax;
    let svm = extended >= 0x8000_0001 && __cpuid(0x8000_0001).ecx & 1 << 2 != 0;
    match (features.ecx & 1 << 5 != 0, svm, features.ecx & 1 << 31 != 0) {
        (true, _, _) => ProcessorSupport::Vmx,
        (_, true, _) => ProcessorSupport::Svm,
        (_, _, true) => ProcessorSupport::NoneInGuest,
        _ => ProcessorSupport::None,
    }
}

impl ProcessorSupport {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Vmx => "Intel VT-x",
            Self::Svm => "AMD-V",
            Self::None => "no hardware virtualization",
            Self::NoneInGuest => "no hardware virtualization offered by the outer hypervisor",
        }
    }
}

/// Takes the features of `leaf` and `subleaf` away that a profile hides.
pub fn hide(result: &mut CpuidResult, leaf: u32, subleaf: u32, without: &[super::CpuFeature]) {
    use super::CpuidRegister;
    for feature in without.iter().filter(|f| (f.leaf, f.subleaf) == (leaf, subleaf)) {
        let register = match feature.register {
            CpuidRegister::Eax => &mut result.eax,
            CpuidRegister::Ebx => &mut result.ebx,
            CpuidRegister::Ecx => &mut result.ecx,
            CpuidRegister::Edx => &mut result.edx,
        };
        *register &= !(1 << feature.bit);
    }
}
