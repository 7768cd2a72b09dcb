// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images of diskettes: `IVMVirtualPC::CreateFloppyDiskImage` and `IVMVirtualPC::GetFloppyDiskImageType`.

use super::application::VirtualPc;
use super::enums::FloppyImageType;
use super::error::{Error, Result};
use super::{files, hresult, paths};

/// The sizes of images, in KiB, and what they are.
const SIZES: [(u64, FloppyImageType); 5] = [
    (360, FloppyImageType::LowDensitySingleSided),
    (720, FloppyImageType::LowDensity),
    (1200, FloppyImageType::MediumDensity),
    (1440, FloppyImageType::HighDensity),
    (1680, FloppyImageType::DMF),
];

impl VirtualPc {
    /// `IVMVirtualPC::CreateFloppyDiskImage`: makes an unformatted image, which appears whole or not at all.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a type other than low density (1) and high density (2); `ERROR_PATH_NOT_FOUND`, `ERROR_ALREADY_EXISTS`,
    /// `ERROR_DISK_FULL`, and the documented ones for the path.
    pub fn create_floppy_disk_image(&self, path: &str, kind: i32) -> Result<()> {
        let kibibytes = match FloppyImageType::from_value(kind) {
            Some(FloppyImageType::LowDensity) => 720,
            Some(FloppyImageType::HighDensity) => 1440,
            _ => {
                return Err(Error::new(
                    hresult::E_INVALIDARG,
                    format!("an image of type {kind} cannot be made: use 1 (720 KB) or 2 (1.44 MB)"),
                ));
            }
        };
        let path = paths::check(path)?;
        match path.parent() {
            Some(folder) if folder.is_dir() => files::create(&path, &vec![0; kibibytes << 10]),
            _ => Err(Error::of_file(
                hresult::ERROR_PATH_NOT_FOUND,
                &path,
                "its folder does not exist",
            )),
        }
    }

    /// `IVMVirtualPC::GetFloppyDiskImageType`: the type of an image, by its size.
    ///
    /// # Errors
    /// `ERROR_FILE_NOT_FOUND`, `ERROR_PATH_NOT_FOUND`, and the documented ones for the path.
    pub fn floppy_disk_image_type(&self, path: &str) -> Result<FloppyImageType> {
        let path = paths::check(path)?;
        paths::must_exist(&path)?;
        let size = std::fs::metadata(&path)
            .map_err(|error| files::failed(&path, &error))?
            .len();
        let found = SIZES.iter().find(|(kibibytes, _)| kibibytes << 10 == size);
        Ok(found.map_or(FloppyImageType::Unknown, |(_, kind)| *kind))
    }
}
