// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The enumerations of the Virtual PC API, with their documented values.
//!
//! Variant names are the API's without their prefix; [`std::fmt::Display`] and `FromStr` use words for people (`turned-off`), which are also
//! the words of the command line and of JSON.

macro_rules! enumeration {
    ($(#[$meta:meta])* $name:ident $prefix:literal { $($variant:ident = $value:literal $word:literal $doc:literal)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[repr(i32)]
        pub enum $name {
            $(#[doc = $doc] #[serde(rename = $word)] $variant = $value,)*
        }

        impl $name {
            /// All values, in the documents' order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number in the API.
            pub const fn value(self) -> i32 {
                self as i32
            }

            /// The name in the API.
            pub const fn api_name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($prefix, stringify!($variant)),)*
                }
            }

            /// The value of a number in the API.
            pub fn from_value(value: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|this| this.value() == value)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }

        // The derive macro does not see words that come through another macro.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let words: &[&str] = &[$($word),*];
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(words.iter().copied()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is none of: {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

enumeration! {
    /// What a machine is doing: `VMVMState`.
    MachineState "vmVMState_" {
        Invalid = 0 "invalid" "Its configuration cannot be used."
        TurnedOff = 1 "turned-off" "It is off."
        Saved = 2 "saved" "It is off, and has a saved state."
        TurningOn = 3 "turning-on" "It is being built."
        Restoring = 4 "restoring" "It is being built from its saved state."
        Running = 5 "running" "Guest code runs."
        Paused = 6 "paused" "Guest time stands still."
        Saving = 7 "saving" "Its state is being saved."
        TurningOff = 8 "turning-off" "It is being taken down."
        MergingDrives = 9 "merging-drives" "Its undo disks are being merged."
        DeleteMachine = 10 "delete-machine" "It is being deleted."
    }
}
enumeration! {
    /// What is in a DVD drive: `VMDVDDriveAttachmentType`.
    DvdAttachment "vmDVDDrive_" {
        None = 0 "none" "Nothing."
        Image = 1 "image" "An ISO image."
        HostDrive = 2 "host-drive" "A drive of the host."
    }
}
enumeration! {
    /// What is in a floppy drive: `VMFloppyDriveAttachmentType`.
    FloppyAttachment "vmFloppyDrive_" {
        None = 0 "none" "Nothing."
        Image = 1 "image" "An image."
        HostDrive = 2 "host-drive" "A drive of the host."
    }
}
enumeration! {
    /// What is at a place of an IDE bus: `VMDriveType`.
    DriveType "vmDriveType_" {
        Null = 0 "none" "Nothing."
        HardDisk = 1 "hard-disk" "A hard disk."
        DVD = 2 "dvd" "A DVD drive."
    }
}
enumeration! {
    /// The kind of bus that a drive is on: `VMDriveBusType`.
    DriveBusType "vmDriveBusType_" {
        Invalid = -1 "invalid" "None that is known."
        IDE = 0 "ide" "IDE."
        SCSI = 1 "scsi" "SCSI."
    }
}
enumeration! {
    /// What a DVD drive tells: `VMDVDDriveEvent`.
    DvdDriveEvent "vmDVDDriveEvent_" {
        OnInsert = 1 "insert" "A medium was put in."
        OnEject = 2 "eject" "The medium was taken out."
    }
}
enumeration! {
    /// What a floppy drive tells: `vmFloppyDriveEvent`.
    FloppyDriveEvent "vmFloppyDriveEvent_" {
        OnInsert = 1 "insert" "A diskette was put in."
        OnEject = 2 "eject" "The diskette was taken out."
    }
}
enumeration! {
    /// An end of a communication channel: `VMEndpointType`.
    EndpointType "vmEndpoint_" {
        NamedPipe = 0 "named-pipe" "A named pipe."
        TCPIP = 1 "tcp-ip" "A TCP port."
    }
}
enumeration! {
    /// The kind of a diskette's image: `VMFloppyDiskImageType`.
    FloppyImageType "vmFloppyDiskImage_" {
        Unknown = 0 "unknown" "None that is known."
        LowDensity = 1 "low-density" "720 KB."
        HighDensity = 2 "high-density" "1.44 MB."
        DMF = 3 "dmf" "1.68 MB, Microsoft's distribution format."
        LowDensitySingleSided = 4 "low-density-single-sided" "360 KB."
        MediumDensity = 5 "medium-density" "1.2 MB."
        HighDensityMSS = 6 "high-density-mss" "1.44 MB with mixed sector sizes."
    }
}
enumeration! {
    /// The kind of a hard disk's image: `VMHardDiskType`.
    HardDiskType "vmDiskType_" {
        Dynamic = 0 "dynamic" "It grows as it is written."
        FixedSize = 1 "fixed" "It has its full size from the start."
        Differencing = 2 "differencing" "It holds what differs from its parent."
    }
}
enumeration! {
    /// How a user of the guest is logged off: `VMLogoffType`.
    LogoffType "vmLogoff_" {
        Normal = 0 "normal" "By asking."
        Forced = 1 "forced" "Without asking."
        External = 2 "external" "From outside of the guest."
    }
}
enumeration! {
    /// A mouse's button: `VMMouseButton`.
    MouseButton "vmMouseButton_" {
        Left = 1 "left" "The left one."
        Right = 2 "right" "The right one."
        Center = 3 "center" "The one between."
    }
}
enumeration! {
    /// The far end of a serial port: `VMSerialPortType`.
    SerialPortType "vmSerialPort_" {
        HostPort = 0 "host-port" "A serial port of the host."
        TextFile = 1 "file" "A file."
        NamedPipe = 2 "pipe" "A named pipe; here: a Unix socket."
        Null = 3 "null" "Nothing."
    }
}
enumeration! {
    /// What happens to a running machine when the program ends: `VMShutdownAction`.
    ShutdownAction "vmShutdownAction_" {
        Save = 0 "save" "Its state is saved."
        TurnOff = 1 "turn-off" "It is turned off."
        Shutdown = 2 "shutdown" "Its guest is asked to shut down."
    }
}
enumeration! {
    /// How a machine is started: `VMStartupOption`.
    StartupOption "vmStartupOption_" {
        Normal = 0 "normal" "A changed parent disk is refused."
        FixParentTimestampMismatch = 1 "fix-parent-timestamp" "A parent disk with another time than its child notes is taken all the same."
    }
}
enumeration! {
    /// How a task ended: `VMTaskResult`.
    TaskResult "vmTaskResult_" {
        Success = 0 "success" "Well."
        Cancelled = 1 "cancelled" "It was cancelled."
        UnexpectedError = 2 "unexpected-error" "By something unexpected."
        OutOfMemoryError = 3 "out-of-memory" "The host has too little memory."
        DiskRelatedError = 4 "disk-error" "A disk could not be read or written."
        IncompatibleSavedStateError = 5 "incompatible-saved-state" "The saved state does not fit."
        TimeOutError = 6 "timed-out" "It took too long."
        IllegalValueError = 7 "illegal-value" "The configuration has a value that is not allowed."
        ThreadCrashError = 8 "thread-crash" "Its thread or process broke off."
        ShutdownAbort = 9 "shutdown-abort" "The guest's shutdown was called off."
    }
}
enumeration! {
    /// What becomes of undo disks when a machine is turned off: `VMUndoAction`.
    UndoAction "vmUndoAction_" {
        Discard = 0 "discard" "What was written is forgotten."
        Keep = 1 "keep" "It is kept beside the disks, for the next start."
        Commit = 2 "commit" "It is written to the disks."
    }
}
enumeration! {
    /// What a machine tells: `VMVirtualMachineEvents`.
    MachineEvent "vmVirtualMachineEvent_" {
        StateChanged = 1 "state-changed" "Its state is another one."
        RequestShutdown = 2 "request-shutdown" "It is asked to shut down."
        Reset = 3 "reset" "It was reset."
        TripleFault = 4 "triple-fault" "A processor could not go on."
        HeartbeatStopped = 5 "heartbeat-stopped" "The guest gives no sign of life."
        ConfigurationChanged = 6 "configuration-changed" "A configuration value is another one."
        EnhancedVideoModeChanged = 7 "enhanced-video-mode-changed" "The video mode is another one."
        AdditionsUninstalled = 8 "additions-uninstalled" "The integration components were removed."
        AdditionsAvailable = 9 "additions-available" "The integration components are there."
        GuestShutdown = 10 "guest-shutdown" "The guest is shutting down."
        GuestLogoff = 11 "guest-logoff" "The guest's user is logged off."
        DiskOutOfSpace = 12 "disk-out-of-space" "A volume of the host is nearly full."
    }
}
enumeration! {
    /// What the application tells: `VMVirtualPCEvent`.
    ApplicationEvent "vmVirtualPCEvent_" {
        VMStateChange = 2 "machine-state-changed" "A machine's state is another one."
        EventLogged = 3 "event-logged" "Something was noted."
    }
}
enumeration! {
    /// What a display shows: `VMDisplayVideoMode`.
    VideoMode "vmVideoMode_" {
        TextMode = 0 "text" "Text."
        CGAMode = 1 "cga" "CGA graphics."
        VGAMode = 2 "vga" "VGA graphics."
        SVGAMode = 3 "svga" "Graphics beyond VGA."
    }
}
enumeration! {
    /// The class of a USB device: `VMUSBDeviceClassEnum`.
    UsbDeviceClass "vmUSBDeviceClass_" {
        InterfaceDescriptor = 0 "by-interface" "Each interface has its own."
        Audio = 1 "audio" "Sound."
        Communication = 2 "communication" "Modems and their like."
        HID = 3 "hid" "Keyboards, mice."
        Physical = 5 "physical" "Devices with force feedback."
        Image = 6 "image" "Cameras and scanners."
        Printer = 7 "printer" "Printers."
        MassStorage = 8 "mass-storage" "Disks."
        Hub = 9 "hub" "Hubs."
        CDCData = 10 "cdc-data" "Data of communication devices."
        SmartCard = 11 "smart-card" "Smart cards."
        ContentSecurity = 13 "content-security" "Protection of contents."
        Video = 14 "video" "Moving pictures."
        PersonalHealthcare = 15 "personal-healthcare" "Health."
        DiagnosticDevice = 220 "diagnostic-device" "Diagnosis."
        WirelessController = 224 "wireless-controller" "Radio."
        Miscellaneous = 239 "miscellaneous" "Others."
        ApplicationSpecific = 254 "application-specific" "What the application says."
        VendorSpecific = 255 "vendor-specific" "What the vendor says."
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::virtual_pc::reference;

    #[test]
    fn names_and_values_are_the_documented_ones() {
        macro_rules! ours {
            ($($api:literal $name:ident)*) => {
                [$(($api, $name::ALL.iter().map(|v| (v.api_name(), i64::from(v.value()))).collect::<Vec<_>>())),*]
            };
        }
        let ours = ours! {
            "VMDisplayVideoMode" VideoMode "VMDriveBusType" DriveBusType "VMDriveType" DriveType
            "VMDVDDriveAttachmentType" DvdAttachment "VMDVDDriveEvent" DvdDriveEvent "VMEndpointType" EndpointType
            "VMFloppyDiskImageType" FloppyImageType "VMFloppyDriveAttachmentType" FloppyAttachment
            "vmFloppyDriveEvent" FloppyDriveEvent "VMHardDiskType" HardDiskType "VMLogoffType" LogoffType
            "VMMouseButton" MouseButton "VMSerialPortType" SerialPortType "VMShutdownAction" ShutdownAction
            "VMStartupOption" StartupOption "VMTaskResult" TaskResult "VMUndoAction" UndoAction
            "VMUSBDeviceClassEnum" UsbDeviceClass "VMVirtualMachineEvents" MachineEvent
            "VMVirtualPCEvent" ApplicationEvent "VMVMState" MachineState
        };
        let documented = reference::api()["enums"].as_object().unwrap();
        assert_eq!(ours.len(), documented.len());
        for (name, values) in ours {
            let documented = documented[name].as_object().unwrap();
            assert_eq!(values.len(), documented.len(), "{name}");
            for (value, number) in values {
                assert_eq!(documented[value].as_i64(), Some(number), "{value}");
            }
        }
    }

    #[test]
    fn words_lead_back_to_their_values() {
        for state in MachineState::ALL {
            assert_eq!(state.to_string().parse(), Ok(*state));
            assert_eq!(MachineState::from_value(state.value()), Some(*state));
        }
        assert_eq!(MachineState::from_value(11), None);
        assert!("off".parse::<UndoAction>().unwrap_err().contains("discard"));
    }
}
