// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Places on the IDE buses, and the pairs of paths by which a configuration names files.

use super::error::{Error, Result};
use super::hresult;
use super::vmc::{Value, Vmc};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place on an IDE bus: bus 0 is the primary one, device 0 the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    bus: u8,
    device: u8,
}

impl Place {
    /// Bus 1, device 0.
    pub const SECONDARY_MASTER: Self = Self { bus: 1, device: 0 };

    /// All four.
    pub const ALL: [Self; 4] = [
        Self { bus: 0, device: 0 },
        Self { bus: 0, device: 1 },
        Self::SECONDARY_MASTER,
        Self { bus: 1, device: 1 },
    ];

    /// The place of two numbers.
    ///
    /// # Errors
    /// `E_INVALIDARG` if one is neither 0 nor 1.
    pub fn new(bus: i32, device: i32) -> Result<Self> {
        match (u8::try_from(bus), u8::try_from(device)) {
            (Ok(bus @ 0..=1), Ok(device @ 0..=1)) => Ok(Self { bus, device }),
            _ => Err(Error::new(
                hresult::E_INVALIDARG,
                format!("there is no place {bus}:{device}: a bus is 0 or 1, and so is a device"),
            )),
        }
    }

    /// The bus.
    pub fn bus(self) -> u8 {
        self.bus
    }

    /// The device on the bus.
    pub fn device(self) -> u8 {
        self.device
    }

    /// Its number, in the order of [`Self::ALL`].
    pub fn index(self) -> usize {
        usize::from(self.bus) * 2 + usize::from(self.device)
    }

    /// The group of its values in a configuration.
    pub(super) fn key(self) -> String {
        format!(
            "hardware/pci_bus/ide_adapter/ide_controller[@id={}]/location[@id={}]",
            self.bus, self.device
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.bus, self.device))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text
            .split_once(':')
            .and_then(|(bus, device)| Some((bus.parse().ok()?, device.parse().ok()?)));
        numbers
            .and_then(|(bus, device)| Self::new(bus, device).ok())
            .ok_or_else(|| format!("`{text}` is no place: use 0:0, 0:1, 1:0 or 1:1 (bus:device)"))
    }
}

/// The file that `GROUP/absolute` and `GROUP/relative` name, if they name one.
///
/// Virtual PC writes both. A path of another kind of host is no path here; then the relative one counts, from the configuration's folder.
pub(super) fn file(vmc: &Vmc, group: &str, folder: &Path) -> Option<PathBuf> {
    let absolute = vmc.text(&format!("{group}/absolute"));
    let relative = vmc.text(&format!("{group}/relative"));
    let host = absolute
        .as_deref()
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from);
    if let Some(path) = host.as_ref().filter(|path| path.exists()) {
        return Some(path.clone());
    }
    let beside = relative.as_deref().map(|path| {
        let path = path.replace('\\', "/");
        folder.join(path.strip_prefix("./").unwrap_or(&path))
    });
    match (host, beside) {
        (_, Some(beside)) if beside.exists() => Some(beside),
        (Some(host), _) => Some(host),
        (None, Some(beside)) => Some(beside),
        // A Windows path alone: its last part may lie beside the configuration.
        (None, None) => {
            let name = absolute?.rsplit(['\\', '/']).next().map(str::to_owned)?;
            Some(folder.join(name))
        }
    }
}

/// Writes both paths of a file; none, and they are empty.
pub(super) fn put_file(vmc: &mut Vmc, group: &str, file: Option<&Path>, folder: &Path) {
    let absolute = file
        .map(|file| file.to_string_lossy().into_owned())
        .unwrap_or_default();
    let relative = file
        .and_then(|file| file.strip_prefix(folder).ok())
        .filter(|_| folder != Path::new("/"))
        .map(|file| format!(".\\{}", file.to_string_lossy().replace('/', "\\")))
        .unwrap_or_default();
    vmc.put(&format!("{group}/absolute"), &Value::String(absolute));
    vmc.put(&format!("{group}/relative"), &Value::String(relative));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_by_both_paths() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut vmc = Vmc::default();
        assert_eq!(file(&vmc, "disk", folder), None);
        put_file(&mut vmc, "disk", Some(&folder.join("sub/a.vhd")), folder);
        assert_eq!(vmc.text("disk/relative").as_deref(), Some(".\\sub\\a.vhd"));
        assert_eq!(file(&vmc, "disk", folder), Some(folder.join("sub/a.vhd")));
        // The folder has moved: the relative path finds it.
        let moved = tempfile::tempdir().unwrap();
        std::fs::create_dir(moved.path().join("sub")).unwrap();
        std::fs::write(moved.path().join("sub/a.vhd"), "").unwrap();
        assert_eq!(
            file(&vmc, "disk", moved.path()),
            Some(moved.path().join("sub/a.vhd"))
        );
        // As Virtual PC wrote it.
        vmc.put("disk/absolute", &Value::String("C:\\VMs\\sub\\a.vhd".into()));
        assert_eq!(
            file(&vmc, "disk", moved.path()),
            Some(moved.path().join("sub/a.vhd"))
        );
        vmc.put("disk/relative", &Value::String(String::new()));
        assert_eq!(file(&vmc, "disk", folder), Some(folder.join("a.vhd")));
        put_file(&mut vmc, "disk", None, folder);
        assert_eq!(file(&vmc, "disk", folder), None);
    }

    #[test]
    fn places() {
        for place in Place::ALL {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "0", "2:0", "0:2", "-1:0", "a:b", "0:0:0"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
