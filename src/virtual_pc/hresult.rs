// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Result codes of the Virtual PC API (VPCCOMInterfaces.h). No other module knows their numbers.
//!
//! The names and numbers are those of the pages "HRESULT Codes Specific to Windows Virtual PC" and of the members' own pages (Microsoft,
//! Windows Virtual PC reference); the words are this project's. Two slips of those pages are dealt with here:
//!
//! * Some pages print nine hexadecimal digits, with a zero too many (0xA00400728): the codes have eight ([`VM_E_MEDIA_WRONG_TYPE`]).
//! * [`E_INVALIDARG`] is printed as 0x80000003. Clients written after the documents compare with that value, so it is kept;
//!   the rest of Windows uses 0x80070057.

use crate::hypervisor::Unavailable;
use std::fmt;

/// A result code with its name in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HResult {
    /// The code.
    pub code: u32,
    /// The name.
    pub name: &'static str,
    /// What it says, where no cause says it better.
    pub message: &'static str,
    /// What to do about it, where nobody knows better.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($constant:ident $name:literal $code:literal $message:literal $remedy:literal)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $message, ".")]
            pub const $constant: HResult = HResult { code: $code, name: $name, message: $message, remedy: $remedy };
        )*
        /// Every code.
        pub const ALL: &[HResult] = &[$($constant),*];
    };
}

// Name, name in the documents, number; what it says; what to do.
#[rustfmt::skip]
codes! {
    S_OK "S_OK" 0
        "done" "nothing"
    S_FALSE "S_FALSE" 1
        "there is no such thing, or nothing to tell" "look at the machine's state, or at the list of what there is"
    E_NOTIMPL "E_NOTIMPL" 0x8000_4001
        "this member of the API is not available yet" "see docs/api-coverage.md for what is"
    E_POINTER "E_POINTER" 0x8000_4003
        "an argument is missing" "give all arguments"
    E_FAIL "E_FAIL" 0x8000_4005
        "the call failed" "see the cause; try again"
    E_INVALIDARG "E_INVALIDARG" 0x8000_0003
        "an argument is not one of the values allowed" "give one of the values that the cause names"
    E_ACCESSDENIED "E_ACCESSDENIED" 0x8007_0005
        "the file may not be changed by this user" "change the file's permissions or its owner"
    E_HANDLE "E_HANDLE" 0x8007_0006
        "a parent disk is in use" "turn off the machine that uses it"
    DISP_E_BADINDEX "DISP_E_BADINDEX" 0x8002_000B
        "the collection has no item of this index" "count from 1 to the collection's count"
    DISP_E_EXCEPTION "DISP_E_EXCEPTION" 0x8002_0009
        "something unexpected happened" "see the cause and the machine's log; it may be worth a report"

    ERROR_FILE_NOT_FOUND "HRESULT_FROM_WIN32(ERROR_FILE_NOT_FOUND)" 0x8007_0002
        "there is no such file" "check the path"
    ERROR_PATH_NOT_FOUND "HRESULT_FROM_WIN32(ERROR_PATH_NOT_FOUND)" 0x8007_0003
        "there is no such folder" "check the path, or make the folder"
    ERROR_ACCESS_DENIED "HRESULT_FROM_WIN32(ERROR_ACCESS_DENIED)" 0x8007_0005
        "the machine may not be steered by this user" "give this user read and write permission to the machine's file"
    ERROR_INVALID_HANDLE "HRESULT_FROM_WIN32(ERROR_INVALID_HANDLE)" 0x8007_0006
        "a handle is not valid" "open the object anew"
    ERROR_OUTOFMEMORY "HRESULT_FROM_WIN32(ERROR_OUTOFMEMORY)" 0x8007_000E
        "there is not enough memory on the host" "close programs or other machines"
    ERROR_INVALID_DRIVE "HRESULT_FROM_WIN32(ERROR_INVALID_DRIVE)" 0x8007_000F
        "the file is on a CD or DVD, which cannot be written" "name a place on a hard disk"
    ERROR_NOT_READY "HRESULT_FROM_WIN32(ERROR_NOT_READY)" 0x8007_0015
        "the channel's service is starting" "try again in a moment"
    ERROR_SHARING_VIOLATION "HRESULT_FROM_WIN32(ERROR_SHARING_VIOLATION)" 0x8007_0020
        "the disk image is in use" "turn off the machine that uses it, or end the operation on it"
    ERROR_BUFFER_OVERFLOW "HRESULT_FROM_WIN32(ERROR_BUFFER_OVERFLOW)" 0x8007_006F
        "the path is too long" "use a path of fewer than 260 characters"
    ERROR_DISK_FULL "HRESULT_FROM_WIN32(ERROR_DISK_FULL)" 0x8007_0070
        "the host's volume is full" "make room, or name a place on another volume"
    ERROR_INVALID_NAME "HRESULT_FROM_WIN32(ERROR_INVALID_NAME)" 0x8007_007B
        "the path has a character that is not allowed" "leave out * ? < > | \" : and control characters"
    ERROR_BAD_PATHNAME "HRESULT_FROM_WIN32(ERROR_BAD_PATHNAME)" 0x8007_00A1
        "the path is empty or relative" "give an absolute path"
    ERROR_ALREADY_EXISTS "HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS)" 0x8007_00B7
        "a file of this name exists already" "choose another name, or remove the file"
    ERROR_PIPE_BUSY "HRESULT_FROM_WIN32(ERROR_PIPE_BUSY)" 0x8007_00E7
        "all channels are being closed" "try again in a moment"
    ERROR_MAX_SESSIONS_REACHED "HRESULT_FROM_WIN32(ERROR_MAX_SESSIONS_REACHED)" 0x8007_0161
        "all channels are in use" "close one"
    ERROR_REVISION_MISMATCH "HRESULT_FROM_WIN32(ERROR_REVISION_MISMATCH)" 0x8007_051A
        "host and guest speak different versions" "install matching integration components in the guest"

    VM_E_TIMED_OUT "VM_E_TIMED_OUT" 0xA004_0202
        "the machine did not answer in time" "try again; see the machine's log"
    VM_E_OUT_OF_RESOURCE "VM_E_OUT_OF_RESOURCE" 0xA004_0203
        "the host has too little memory, threads or descriptors" "turn off other machines, or give this one less memory"
    VM_E_TOO_MANY_VMS "VM_E_TOO_MANY_VMS" 0xA004_0204
        "too many machines are running" "turn one off"
    VM_E_VM_NOT_RUNNING "VM_E_VM_NOT_RUNNING" 0xA004_0206
        "the machine is not running" "start it"
    VM_E_VM_UNKNOWN "VM_E_VM_UNKNOWN" 0xA004_0207
        "the machine's configuration cannot be found or read" "see `vpc list`; register the machine's .vmc file, or mend it"
    VM_E_APP_SHUTTING_DOWN "VM_E_APP_SHUTTING_DOWN" 0xA004_0209
        "the program is shutting down" "try again when it runs again"
    VM_E_VM_RUNNING_OR_SAVED "VM_E_VM_RUNNING_OR_SAVED" 0xA004_020B
        "the machine is running or has a saved state" "turn it off, or discard its saved state"
    VM_E_PREF_NOT_FOUND "VM_E_PREF_NOT_FOUND" 0xA004_0300
        "there is no such configuration value" "check the key: names separated by /, as hardware/memory/ram_size"
    VM_E_PREF_ILLEGAL_VALUE "VM_E_PREF_ILLEGAL_VALUE" 0xA004_0301
        "the configuration value is not allowed" "give another value"
    VM_E_PREF_VM_ACTIVE "VM_E_PREF_VM_ACTIVE" 0xA004_0302
        "this cannot be changed while the machine is running or saved" "turn it off, or discard its saved state"
    VM_E_CONFIG_NO_NAME "VM_E_CONFIG_NO_NAME" 0xA004_0400
        "the machine's name is empty" "give a name"
    VM_E_CONFIG_NAME_TOO_LONG "VM_E_CONFIG_NAME_TOO_LONG" 0xA004_0401
        "the machine's name is too long" "use 80 characters at most"
    VM_E_CONFIG_NAME_INVALID_CHAR "VM_E_CONFIG_NAME_INVALID_CHAR" 0xA004_0402
        "the machine's name has a character that is not allowed" "leave out * ? : < > / | \" \\ and control characters"
    VM_E_CONFIG_DUPLICATE_NAME "VM_E_CONFIG_DUPLICATE_NAME" 0xA004_0403
        "there is a machine of this name already" "choose another name; upper and lower case are the same"
    VM_E_VM_RUNNING "VM_E_VM_RUNNING" 0xA004_0500
        "the machine is running" "turn it off first"
    VM_E_VM_NO_SAVED_STATE "VM_E_VM_NO_SAVED_STATE" 0xA004_0501
        "the machine has no saved state" "nothing is to be done"
    VM_E_DRIVE_INVALID "VM_E_DRIVE_INVALID" 0xA004_0502
        "there is no such drive at this place of the machine's buses" "see `vpc show NAME` for its drives"
    VM_E_DRIVE_BUS_LOC_IN_USE "VM_E_DRIVE_BUS_LOC_IN_USE" 0xA004_0503
        "another drive has this place on the bus" "choose a free one, or remove the drive"
    VM_E_ADDITIONS_NOT_AVAIL "VM_E_ADDITIONS_NOT_AVAIL" 0xA004_0504
        "the guest has no integration components" "use the guest's own network or console"
    VM_E_ADDITIONS_FEATURE_NOT_AVAIL "VM_E_ADDITIONS_FEATURE_NOT_AVAIL" 0xA004_0505
        "the guest's integration components lack this feature" "use the guest's own network or console"
    VM_E_VM_PAUSED "VM_E_VM_PAUSED" 0xA004_0507
        "the machine is paused" "resume it"
    VM_E_MEDIA_UNMOUNT_FAIL "VM_E_MEDIA_UNMOUNT_FAIL" 0xA004_0508
        "the guest does not let go of the medium" "eject it in the guest, or use --force"
    VM_E_IMAGE_CAPTURE_FAIL "VM_E_IMAGE_CAPTURE_FAIL" 0xA004_0650
        "the image cannot be put into the drive" "see the cause: it must be an image of a diskette that nobody else writes"
    VM_E_NO_MEDIA_CAPTURED "VM_E_NO_MEDIA_CAPTURED" 0xA004_0652
        "the drive is empty" "nothing is to be done"
    VM_E_PARENT_PATH_NOT_FOUND "VM_E_PARENT_PATH_NOT_FOUND" 0xA004_0677
        "the disk's parent cannot be found" "put the parent back, or relink the disk with `vpc disk relink`"
    VM_E_FILE_TOO_LARGE_FOR_VOLUME "VM_E_FILE_TOO_LARGE_FOR_VOLUME" 0xA004_0679
        "the host's file system cannot hold a file of this size" "use a volume with another file system"
    VM_E_FILE_READ_ONLY "VM_E_FILE_READ_ONLY" 0xA004_067A
        "the file is read-only" "make it writable"
    VM_E_WRONG_HD_IMAGE_TYPE "VM_E_WRONG_HD_IMAGE_TYPE" 0xA004_067B
        "the disk image is not of the type that this needs" "see `vpc disk info`; convert the image"
    VM_E_HD_IMAGE_OPEN_FAIL "VM_E_HD_IMAGE_OPEN_FAIL" 0xA004_067C
        "the disk image cannot be opened" "see the cause; `vpc disk check` tells more"
    VM_E_HD_IMAGE_ACCESS "VM_E_HD_IMAGE_ACCESS" 0xA004_0681
        "the disk image cannot be read" "see the cause; `vpc disk check` tells more"
    VM_E_INVALID_HD_FILE "VM_E_INVALID_HD_FILE" 0xA004_0682
        "the file is no disk image that can be used here" "see `vpc disk check`; an IDE disk holds 127 GB at most"
    VM_E_IMAGE_SIZE_TOO_LARGE "VM_E_IMAGE_SIZE_TOO_LARGE" 0xA004_0683
        "the disk is too large" "stay below 2,088,960 MB"
    VM_E_IMAGE_SIZE_TOO_SMALL "VM_E_IMAGE_SIZE_TOO_SMALL" 0xA004_0684
        "the disk is too small" "give it 3 MB at least"
    VM_E_PARENT_CHILD_ID_MISMATCH "VM_E_PARENT_CHILD_ID_MISMATCH" 0xA004_0685
        "the parent is another disk than the one this disk was made from" "name the parent that the disk was made from"
    VM_E_UNSUPPORTED_HD_DISK_TYPE "VM_E_UNSUPPORTED_HD_DISK_TYPE" 0xA004_0686
        "the disk is linked to a host's physical disk, which a machine cannot use" "convert it to an image"
    VM_E_PARENT_MODIFIED "VM_E_PARENT_MODIFIED" 0xA004_0687
        "the disk's parent was changed after the disk was made" "if it only seems so, start with --fix-parent-timestamp"
    VM_E_ADAPTER_NOT_FOUND "VM_E_ADAPTER_NOT_FOUND" 0xA004_0700
        "the host's network adapter is gone" "choose another adapter"
    VM_E_INVALID_VIRTUAL_NETWORK_ID "VM_E_INVALID_VIRTUAL_NETWORK_ID" 0xA004_0702
        "there is no such virtual network" "choose one that exists"
    VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS "VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS" 0xA004_070A
        "the network address is generated, so it cannot be set" "make the address a fixed one first"
    VM_E_DRIVE_IN_USE "VM_E_DRIVE_IN_USE" 0xA004_0727
        "something is in the drive already, or another machine has the host's drive" "release it first"
    VM_E_MEDIA_WRONG_TYPE "VM_E_MEDIA_WRONG_TYPE" 0xA004_0728
        "the drive holds another kind of medium" "see `vpc show NAME` for what it holds"
    VM_E_MOUSE_NOT_ACTIVE "VM_E_MOUSE_NOT_ACTIVE" 0xA004_0800
        "the guest does not use its mouse" "load the mouse's driver in the guest"
    VM_E_USING_ABSOLUTE_COORDINATES "VM_E_USING_ABSOLUTE_COORDINATES" 0xA004_0801
        "the mouse reports absolute positions" "give an absolute position"
    VM_E_USING_RELATIVE_COORDINATES "VM_E_USING_RELATIVE_COORDINATES" 0xA004_0802
        "the mouse reports relative movements" "give a relative movement"
    VM_E_SET_EXCLUSIVE_MODE_FAIL "VM_E_SET_EXCLUSIVE_MODE_FAIL" 0xA004_0825
        "another client has the keyboard for itself" "wait until it lets go"
    VM_E_NO_DISPLAY "VM_E_NO_DISPLAY" 0xA004_0850
        "the machine has no display" "use the text screen or the serial console"
    VM_E_USB_CONNECTOR_DRIVER_ERROR "VM_E_USB_CONNECTOR_DRIVER_ERROR" 0xA004_0925
        "the host's USB driver failed" "plug the device in again"
    VM_E_USB_ATTACH_FAILED "VM_E_USB_ATTACH_FAILED" 0xA004_0926
        "the USB device cannot be attached" "plug the device in again"
    VM_E_USB_DETACH_FAILED "VM_E_USB_DETACH_FAILED" 0xA004_0927
        "the USB device cannot be detached" "release it in the guest"
    VM_E_USB_EXTERNAL_VM "VM_E_USB_EXTERNAL_VM" 0xA004_0929
        "another user's machine has the USB device" "release it there"
    VM_E_USB_ENUMERATION_FAILED_MORE_DEVICES "VM_E_USB_ENUMERATION_FAILED_MORE_DEVICES" 0xA004_0930
        "the host has more than 16 USB devices" "unplug some"
    VM_E_USB_ATTACH_FAILED_MORE_DEVICES "VM_E_USB_ATTACH_FAILED_MORE_DEVICES" 0xA004_0931
        "the machine takes no more USB devices" "detach one"
    VM_E_USB_ATTACH_FAILED_GP_ERROR "VM_E_USB_ATTACH_FAILED_GP_ERROR" 0xA004_0932
        "the host's policy forbids USB devices in machines" "ask the host's administrator"
    VM_E_USB_ATTACH_FAILED_ALREADY_ASSIGNED "VM_E_USB_ATTACH_FAILED_ALREADY_ASSIGNED" 0xA004_0933
        "someone else has the USB device" "release it there"
    VM_E_UNSUPPORTED_HARDWARE "VM_E_UNSUPPORTED_HARDWARE" 0xA004_0950
        "the processor has no hardware virtualization" "see `vpc host`"
    VM_E_HARDWARE_VIRTUALIZATION_DISABLED "VM_E_HARDWARE_VIRTUALIZATION_DISABLED" 0xA004_0951
        "the processor's hardware virtualization is switched off, or cannot be used" "see `vpc host`"
    VM_E_VMVIRTUALPC_OLDER_VERSION "VM_E_VMVIRTUALPC_OLDER_VERSION" 0xA004_0952
        "an older Virtual PC is installed beside this one" "remove one of them"
    VM_E_OTHER_VIRTUALIZATION_SOFTWARE "VM_E_OTHER_VIRTUALIZATION_SOFTWARE" 0xA004_0953
        "another program uses the processor's virtualization" "end that program"
}

impl HResult {
    /// Whether it tells of a failure: bit 31 (the severity) is set.
    pub const fn is_failure(self) -> bool {
        self.code >> 31 == 1
    }

    /// The code of a name, as in the documents.
    pub fn by_name(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|result| result.name == name)
    }
}

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
            | Unavailable::NoBackEnd => VM_E_HARDWARE_VIRTUALIZATION_DISABLED,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::virtual_pc::reference;

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

    #[test]
    fn every_documented_code_has_its_documented_number() {
        let documented = reference::api()["hresults"].as_object().unwrap();
        assert_eq!(documented.len(), 82);
        for (name, number) in documented {
            let number = number.as_str().unwrap();
            let code = match number.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            let ours = HResult::by_name(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(ours.code, code.unwrap(), "{name}");
        }
        // Not in that list: one is named only in remarks, the other belongs to COM.
        let more = ALL.iter().filter(|result| !documented.contains_key(result.name));
        let more: Vec<_> = more.map(|result| result.name).collect();
        assert_eq!(more, ["E_NOTIMPL", "VM_E_UNSUPPORTED_HARDWARE"]);
    }

    #[test]
    fn names_are_unique_and_words_are_there() {
        for (n, result) in ALL.iter().enumerate() {
            assert!(
                !result.message.is_empty() && !result.remedy.is_empty(),
                "{result}"
            );
            assert!(ALL[..n].iter().all(|other| other.name != result.name), "{result}");
        }
        assert!(!S_FALSE.is_failure() && E_FAIL.is_failure() && VM_E_DRIVE_IN_USE.is_failure());
    }
}
