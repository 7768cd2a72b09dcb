// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Windows Hypervisor Platform.
//!
//! WHP has local APICs and nothing else of a PC: PIC, I/O APIC and PIT are ours ([`Irqchip::Split`]). Its exits come before the
//! instruction is carried out. A plain port access is two registers' work; string and memory accesses go through
//! [`super::emulator`], so WinHvEmulation.dll is not needed.
//!
//! Sources: Microsoft's "Windows Hypervisor Platform API" reference, and docs/whp.md for what has been seen where.

mod api;
mod registers;
mod vcpu;
mod vm;

use super::processor::processor_support;
use super::{CpuidProfile, Error, Hypervisor, Irqchip, Result, Survey, Unavailable, Vm};
use api::Api;
use std::sync::Arc;
use windows_sys::Win32::System::Hypervisor::{WHvCapabilityCodeFeatures, WHvCapabilityCodeHypervisorPresent};

/// Bits of `WHV_CAPABILITY_FEATURES` that a PC needs.
const FEATURES: [(u32, &str); 2] = [(0, "PartialUnmap"), (1, "LocalApicEmulation")];

/// WHP, loaded and found alive.
pub struct Whp {
    api: &'static Api,
}

impl Whp {
    /// Loads WHP and asks whether there is a hypervisor behind it.
    pub fn open() -> std::result::Result<Self, Unavailable> {
        let api = Api::get()?;
        let present: u32 = api
            .capability(WHvCapabilityCodeHypervisorPresent)
            .map_err(|error| Unavailable::NotLaunched {
                detail: error.to_string(),
            })?;
        if present == 0 {
            return Err(Unavailable::NotLaunched {
                detail: "it is not present".to_owned(),
            });
        }
        let features: u64 =
            api.capability(WHvCapabilityCodeFeatures)
                .map_err(|error| Unavailable::Refused {
                    detail: format!("WHvGetCapability(Features): {error}"),
                })?;
        if let Some((_, name)) = FEATURES.iter().find(|(bit, _)| features >> bit & 1 == 0) {
            return Err(Unavailable::MissingCapability { name });
        }
        Ok(Self { api })
    }
}

impl Hypervisor for Whp {
    fn create_vm(&self, irqchip: Irqchip, profile: &CpuidProfile) -> Result<Arc<dyn Vm>> {
        if irqchip != Irqchip::Split {
            let name = "interrupt controllers of its own (use --irqchip split)";
            return Err(Error::Unavailable(Unavailable::MissingCapability { name }));
        }
        Ok(Arc::new(vm::WhpVm::new(self.api, profile)?))
    }

    fn describe(&self) -> String {
        if self.api.is_stand_in() {
            "a test stand-in for the Windows Hypervisor Platform".to_owned()
        } else {
            "Windows Hypervisor Platform".to_owned()
        }
    }

    fn max_vcpus(&self) -> usize {
        // WHP has no question for it; Hyper-V's limit is far above a PC's.
        64
    }

    fn default_irqchip(&self) -> Irqchip {
        Irqchip::Split
    }
}

/// What `vpc host` shows.
pub fn survey() -> Survey {
    let hypervisor = Whp::open().and_then(|whp| {
        // Only making one shows whether a machine can be made.
        match vm::WhpVm::new(
            whp.api,
            &CpuidProfile {
                cpus: 1,
                without: vec![],
            },
        ) {
            Ok(_) => Ok(Box::new(whp) as Box<dyn Hypervisor>),
            Err(Error::Unavailable(cause)) => Err(cause),
            Err(error) => Err(Unavailable::PartitionRefused {
                detail: crate::storage::chain(&error),
            }),
        }
    });
    Survey {
        processor: processor_support().words(),
        hypervisor,
        capabilities: Api::get().map_or(Vec::new(), Api::optional),
        limit: None,
    }
}
