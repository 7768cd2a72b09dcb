// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Exit codes of `vpc`. They are part of its interface: README.md lists them.

use crate::hypervisor::Unavailable;
use crate::machine::control::End;
use crate::virtual_pc::hresult;

/// Done; the guest switched off, or the machine was told to quit.
pub const DONE: u8 = 0;
/// A difference or damage was found (`vpc disk`).
pub const FOUND: u8 = 1;
/// Wrong use, or a file that cannot be used.
pub const USE: u8 = 2;
/// The host failed while a machine was running.
pub const HOST: u8 = 3;
/// A known machine, or one of its parts, does not do what was asked; standard error names the result code.
pub const REFUSED: u8 = 4;
/// There is no hypervisor device, or on Windows no hypervisor platform.
pub const NO_DEVICE: u8 = 10;
/// The hypervisor may not be used by this user.
pub const NOT_PERMITTED: u8 = 11;
/// The processor has no hardware virtualization.
pub const UNSUPPORTED: u8 = 12;
/// Hardware virtualization is switched off, hidden, or refused.
pub const DISABLED: u8 = 13;
/// The hypervisor's interface has another version.
pub const API_VERSION: u8 = 14;
/// The hypervisor lacks a capability.
pub const CAPABILITY: u8 = 15;
/// `vpc host`: machines run, but ordinary 64-bit kernels do not.
pub const SOFTWARE_KVM: u8 = 16;
/// The guest reset the machine (`--no-reboot`).
pub const RESET: u8 = 20;
/// A processor triple-faulted (`--no-reboot`).
pub const TRIPLE_FAULT: u8 = 21;
/// The hypervisor could not go on with a processor.
pub const FAULT: u8 = 22;

/// The code for a host that cannot run machines.
pub fn unavailable(cause: &Unavailable) -> u8 {
    match cause {
        Unavailable::NoDevice { .. } | Unavailable::NoPlatform { .. } => NO_DEVICE,
        Unavailable::NotPermitted { .. } => NOT_PERMITTED,
        Unavailable::NoProcessorSupport => UNSUPPORTED,
        Unavailable::NotNested
        | Unavailable::Disabled { .. }
        | Unavailable::Refused { .. }
        | Unavailable::NotLaunched { .. }
        | Unavailable::PartitionRefused { .. } => DISABLED,
        Unavailable::ApiVersion { .. } => API_VERSION,
        Unavailable::MissingCapability { .. } => CAPABILITY,
    }
}

/// The code for an error of the object model.
pub fn model(error: &crate::virtual_pc::Error) -> u8 {
    match error.result() {
        hresult::VM_E_UNSUPPORTED_HARDWARE => UNSUPPORTED,
        hresult::VM_E_HARDWARE_VIRTUALIZATION_DISABLED => DISABLED,
        hresult::DISP_E_EXCEPTION => HOST,
        _ => REFUSED,
    }
}

/// The code for an end by a signal: 128 and its number, as shells have it.
pub fn signal(number: i32) -> u8 {
    u8::try_from(number).map_or(USE, |number| number.saturating_add(128))
}

/// The code for the end of a machine.
pub fn end(end: &End) -> u8 {
    match end {
        End::PoweredOff | End::Quit | End::Saved(_) => DONE,
        End::Reset => RESET,
        End::TripleFault(_) => TRIPLE_FAULT,
        End::Fault(_) => FAULT,
        End::Host(_) => HOST,
    }
}
