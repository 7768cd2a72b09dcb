// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the API documents and this program cannot serve yet, and why.

use super::error::Error;
use super::hresult::{self, HResult};

/// Members, or whole interfaces, in the order in which they are looked up; the code that stands for them; why.
pub const NOT_AVAILABLE: &[(&str, HResult, &str)] = &[
    (
        "IVMGuestOS",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMDisplay",
        hresult::E_NOTIMPL,
        "the screen cannot be reached from outside yet",
    ),
    (
        "IVMKeyboard",
        hresult::E_NOTIMPL,
        "keys cannot be sent to a running machine yet",
    ),
    (
        "IVMMouse",
        hresult::E_NOTIMPL,
        "the mouse of a running machine cannot be moved yet",
    ),
    (
        "IVMNetworkAdapter",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMNetworkAdapterCollection",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualNetwork",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualNetworkCollection",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    ("IVMUSBDevice", hresult::E_NOTIMPL, "machines have no USB"),
    (
        "IVMUSBDeviceCollection",
        hresult::E_NOTIMPL,
        "machines have no USB",
    ),
    (
        "IVMAccountant::CPUUtilizationHistory",
        hresult::E_NOTIMPL,
        "nobody notes the processors' time while nobody asks",
    ),
    (
        "IVMAccountant::DiskBytesRead",
        hresult::E_NOTIMPL,
        "the machine does not count its disks' bytes yet",
    ),
    (
        "IVMAccountant::DiskBytesWritten",
        hresult::E_NOTIMPL,
        "the machine does not count its disks' bytes yet",
    ),
    (
        "IVMVirtualMachine::AddNetworkAdapter",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualMachine::RemoveNetworkAdapter",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualMachine::NetworkAdapters",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualMachine::AttachUSBDevice",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "machines have no USB",
    ),
    (
        "IVMVirtualMachine::DetachUSBDevice",
        hresult::E_NOTIMPL,
        "machines have no USB",
    ),
    (
        "IVMVirtualMachine::Display",
        hresult::E_NOTIMPL,
        "the screen cannot be reached from outside yet",
    ),
    (
        "IVMVirtualMachine::GuestOS",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachine::Keyboard",
        hresult::E_NOTIMPL,
        "keys cannot be sent to a running machine yet",
    ),
    (
        "IVMVirtualMachine::Mouse",
        hresult::E_NOTIMPL,
        "the mouse of a running machine cannot be moved yet",
    ),
    (
        "IVMVirtualMachine::RdpPipeName",
        hresult::E_NOTIMPL,
        "there is no remote desktop",
    ),
    (
        "IVMVirtualMachine::StartCommunicationChannel",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachineEvents::OnAdditionsAvailable",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachineEvents::OnAdditionsUninstalled",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachineEvents::OnEnhancedVideoModeChanged",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachineEvents::OnGuestLogoff",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualMachineEvents::OnHeartbeatStopped",
        hresult::VM_E_ADDITIONS_NOT_AVAIL,
        "there are no integration components for guests",
    ),
    (
        "IVMVirtualPC::FindVirtualNetwork",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualPC::UnconnectedNetworkAdapters",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualPC::VirtualNetworks",
        hresult::E_NOTIMPL,
        "machines have no network adapters yet",
    ),
    (
        "IVMVirtualPC::USBDeviceCollection",
        hresult::E_NOTIMPL,
        "machines have no USB",
    ),
];

/// The error that stands for a member, such as `IVMMouse::Click`, that cannot be served yet.
pub fn not_available(member: &str) -> Option<Error> {
    let interface = member.split_once("::").map_or(member, |(interface, _)| interface);
    let found = NOT_AVAILABLE
        .iter()
        .find(|(name, ..)| *name == member || *name == interface);
    found.map(|(_, result, why)| Error::new(*result, format!("{member} is not available yet: {why}")))
}
