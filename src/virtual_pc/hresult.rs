// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Result codes of the Virtual PC API (VPCCOMInterfaces.h). No other module knows their numbers.

use crate::hypervisor::Unavailable;
use std::fmt;

/// A result code with its name in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HResult {
    /// The code.
    pub code: u32,
    /// The name.
    pub name: &'static str,
}

/// The processor has no hardware virtualization.
pub const VM_E_UNSUPPORTED_HARDWARE: HResult = HResult {
    code: 0xa004_0950,
    name: "VM_E_UNSUPPORTED_HARDWARE",
};
/// The processor's hardware virtualization is switched off, or cannot be used.
pub const VM_E_HARDWARE_VIRTUALIZATION_DISABLED: HResult = HResult {
    code: 0xa004_0951,
    name: "VM_E_HARDWARE_VIRTUALIZATION_DISABLED",
};

impl fmt::Display for HResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:08X})", self.name, self.code)
    }
}

impl From<&Unavailable> for HResult {
    fn from(cause: &Unavailable) -> Self {
        match cause {
            Unavailable::NoProcessorSupport => VM_E_UNSUPPORTED_HARDWARE,
            // The API has no finer codes: whatever keeps an able processor from being used is "disabled".
            Unavailable::NotNested
            | Unavailable::Disabled { .. }
            | Unavailable::NoDevice { .. }
            | Unavailable::NotPermitted { .. }
            | Unavailable::ApiVersion { .. }
            | Unavailable::MissingCapability { .. }
            | Unavailable::Refused { .. }
            | Unavailable::NoPlatform { .. }
            | Unavailable::NotLaunched { .. }
            | Unavailable::PartitionRefused { .. } => VM_E_HARDWARE_VIRTUALIZATION_DISABLED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_the_documents_have_them() {
        assert_eq!(
            HResult::from(&Unavailable::NotNested).to_string(),
            "VM_E_HARDWARE_VIRTUALIZATION_DISABLED (0xA0040951)"
        );
        assert_eq!(
            HResult::from(&Unavailable::NoProcessorSupport).to_string(),
            "VM_E_UNSUPPORTED_HARDWARE (0xA0040950)"
        );
    }
}
