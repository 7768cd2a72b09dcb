// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files that steer SeaBIOS's boot. Devices have Open Firmware paths, as its `boot.c` composes them from the slots that it found:
//! an entry of ours must equal the path that it looks for.

use super::{BootDevice, FirmwareSpec, IdePosition};
use std::time::Duration;

/// The last entry of a boot order that is complete: nothing else is tried.
const NOTHING_ELSE: &str = "HALT";
const COM1: u16 = 0x3f8;

/// The files that `spec` asks for. Numbers are little-endian, times in milliseconds.
pub(super) fn files(spec: &FirmwareSpec) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![
        (
            "etc/boot-menu-wait",
            milliseconds(spec.boot_menu.unwrap_or_default())
                .to_le_bytes()
                .to_vec(),
        ),
        (
            "etc/boot-fail-wait",
            // All ones: never.
            spec.boot_retry
                .map_or(u32::MAX, milliseconds)
                .to_le_bytes()
                .to_vec(),
        ),
    ];
    let mut order: Vec<_> = spec.boot_order.iter().map(|device| device.path()).collect();
    if spec.boot_nothing_else {
        order.push(NOTHING_ELSE.to_owned());
    }
    if !order.is_empty() {
        files.push(("bootorder", lines(&order)));
    }
    let geometries: Vec<_> = spec
        .disk_geometries
        .iter()
        .map(|(position, geometry)| {
            format!(
                "{} {} {} {}",
                position.path(),
                geometry.cylinders,
                geometry.heads,
                geometry.sectors
            )
        })
        .collect();
    if !geometries.is_empty() {
        files.push(("bios-geometry", lines(&geometries)));
    }
    if spec.serial_console {
        files.push(("etc/sercon-port", COM1.to_le_bytes().to_vec()));
    }
    files
}

/// The most that is not "never".
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis())
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}

fn lines(lines: &[String]) -> Vec<u8> {
    let mut text = lines.join("\n").into_bytes();
    text.push(0);
    text
}

impl BootDevice {
    fn path(self) -> String {
        match self {
            Self::Floppy(unit) => format!("/pci@i0cf8/isa@1/fdc@03f0/floppy@{unit:x}"),
            Self::Ide(position) => position.path(),
            Self::Virtio(slot) => format!("/pci@i0cf8/scsi@{slot:x}/disk@0,0"),
        }
    }
}

impl IdePosition {
    fn path(self) -> String {
        format!("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", self.channel, self.unit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Ram;
    use super::*;
    use devices::rtc::DiskGeometry;

    fn spec() -> FirmwareSpec {
        let ram = Ram {
            below_4g: 64 << 20,
            above_4g: 0,
        };
        FirmwareSpec::new(ram, 1)
    }

    fn file(spec: &FirmwareSpec, name: &str) -> Option<Vec<u8>> {
        files(spec).into_iter().find(|(n, _)| *n == name).map(|(_, b)| b)
    }

    #[test]
    fn boot_order_has_the_paths_that_seabios_looks_for() {
        let mut spec = spec();
        assert_eq!(file(&spec, "bootorder"), None);
        spec.boot_order = vec![
            BootDevice::Floppy(0),
            BootDevice::Ide(IdePosition { channel: 1, unit: 0 }),
            BootDevice::Ide(IdePosition { channel: 0, unit: 1 }),
        ];
        assert_eq!(
            file(&spec, "bootorder").unwrap(),
            b"/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n\
              /pci@i0cf8/ide@1,1/drive@1/disk@0\n\
              /pci@i0cf8/ide@1,1/drive@0/disk@1\0"
        );
        spec.boot_order.truncate(1);
        spec.boot_nothing_else = true;
        assert_eq!(
            file(&spec, "bootorder").unwrap(),
            b"/pci@i0cf8/isa@1/fdc@03f0/floppy@0\nHALT\0"
        );
    }

    #[test]
    fn times_are_32_bit_milliseconds() {
        let mut spec = spec();
        assert_eq!(file(&spec, "etc/boot-menu-wait").unwrap(), [0; 4]);
        assert_eq!(file(&spec, "etc/boot-fail-wait").unwrap(), [0xff; 4]);
        spec.boot_menu = Some(Duration::from_millis(2500));
        spec.boot_retry = Some(Duration::MAX);
        assert_eq!(file(&spec, "etc/boot-menu-wait").unwrap(), 2500u32.to_le_bytes());
        assert_eq!(
            file(&spec, "etc/boot-fail-wait").unwrap(),
            i32::MAX.to_le_bytes(),
            "long, but not never"
        );
    }

    #[test]
    fn geometry_and_serial_console_on_request() {
        let mut spec = spec();
        assert_eq!(file(&spec, "bios-geometry"), None);
        assert_eq!(file(&spec, "etc/sercon-port"), None);
        let first = IdePosition { channel: 0, unit: 0 };
        let geometry = DiskGeometry {
            cylinders: 1023,
            heads: 255,
            sectors: 63,
        };
        spec.disk_geometries.push((first, geometry));
        spec.serial_console = true;
        assert_eq!(
            file(&spec, "bios-geometry").unwrap(),
            b"/pci@i0cf8/ide@1,1/drive@0/disk@0 1023 255 63\0"
        );
        assert_eq!(file(&spec, "etc/sercon-port").unwrap(), [0xf8, 3]);
    }
}
