// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The firmware's images: where they are on a host, and whether they are what they should be.

use std::io;
use std::path::{Path, PathBuf};

/// Names a folder to look in before all others.
pub const FOLDER_VARIABLE: &str = "VPC_FIRMWARE_DIR";

/// Where distributions install SeaBIOS, alone or as part of an emulator.
const FOLDERS: [&str; 5] = [
    "/usr/share/seabios",
    "/usr/share/qemu",
    "/usr/share/qemu-kvm",
    "/usr/local/share/seabios",
    "/usr/local/share/qemu",
];

/// What kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The system BIOS.
    System,
    /// The VGA's option ROM.
    Vga,
}

impl Kind {
    /// File names, the best one first.
    fn names(self) -> &'static [&'static str] {
        match self {
            // The smaller one lacks drivers, not features of this machine.
            Self::System => &["bios-256k.bin", "bios.bin"],
            Self::Vga => &["vgabios-isavga.bin"],
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::System => "the system BIOS",
            Self::Vga => "the VGA BIOS",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::System => "--firmware",
            Self::Vga => "--vga-bios",
        }
    }

    fn check(self, image: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::System => check_system(image),
            Self::Vga => check_option_rom(image),
        }
    }
}

/// An image that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is in none of the usual places.
    #[error(
        "{} ({}) was not found in {}: install the package `seabios`, or name the file with {}",
        kind.title(), kind.names().join(" or "), places(folders), kind.option()
    )]
    NotFound {
        /// What was looked for.
        kind: Kind,
        /// Where.
        folders: Vec<PathBuf>,
    },
    /// It cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path}: cannot be {}: {problem}", kind.title())]
    Unsuitable {
        /// Which.
        path: PathBuf,
        /// What it was to be.
        kind: Kind,
        /// Why not.
        problem: &'static str,
    },
}

fn places(folders: &[PathBuf]) -> String {
    let names: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    names.join(", ")
}

/// A checked image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it was found.
    pub path: PathBuf,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Loads the image at `chosen`, or else the best one that the host has.
pub fn load(kind: Kind, chosen: Option<&Path>) -> Result<Image, Error> {
    let folders = std::env::var_os(FOLDER_VARIABLE)
        .map(PathBuf::from)
        .into_iter()
        .chain(FOLDERS.map(PathBuf::from))
        .collect();
    load_from(kind, chosen, folders)
}

fn load_from(kind: Kind, chosen: Option<&Path>, folders: Vec<PathBuf>) -> Result<Image, Error> {
    let path = match chosen {
        Some(path) => path.to_owned(),
        None => find(kind, &folders).ok_or(Error::NotFound { kind, folders })?,
    };
    let failed = |source| Error::Read {
        path: path.clone(),
        source,
    };
    // The longest image is short: a file that is much longer is refused before it is read.
    const MUCH: u64 = 1 << 20;
    let found = std::fs::metadata(&path).map_err(failed)?;
    // Opening a pipe may wait for ever.
    if !found.is_file() && !found.is_dir() {
        return Err(failed(io::Error::other("it is no ordinary file")));
    }
    let bytes = if found.len() > MUCH {
        Vec::new()
    } else {
        std::fs::read(&path).map_err(failed)?
    };
    match kind.check(&bytes) {
        Ok(()) => Ok(Image { path, bytes }),
        Err(problem) => Err(Error::Unsuitable { path, kind, problem }),
    }
}

fn find(kind: Kind, folders: &[PathBuf]) -> Option<PathBuf> {
    folders
        .iter()
        .flat_map(|folder| kind.names().iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file())
}

/// The image ends right below 4 GiB; the processor starts 16 bytes before its end.
fn check_system(image: &[u8]) -> Result<(), &'static str> {
    const RESET_VECTOR: usize = 16;
    if ![128 << 10, 256 << 10].contains(&image.len()) {
        return Err("an image has 128 or 256 KiB");
    }
    let reset = image.len() - RESET_VECTOR;
    match image.get(reset) {
        None | Some(0 | 0xff) => Err("there is no code where a processor starts"),
        Some(_) => Ok(()),
    }
}

/// An option ROM says in its third byte how long it is, in 512 bytes, and its bytes add up to zero (Plug and Play BIOS Specification
/// 1.0a, 3.2). SeaBIOS runs no other.
fn check_option_rom(image: &[u8]) -> Result<(), &'static str> {
    let [0x55, 0xaa, blocks, ..] = *image else {
        return Err("it does not start with the signature 55h AAh");
    };
    let Some(rom) = image.get(..usize::from(blocks) * 512).filter(|r| !r.is_empty()) else {
        return Err("it is shorter than it says");
    };
    if rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
        return Err("its checksum is wrong");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn system(len: usize) -> Vec<u8> {
        let mut image = vec![0; len];
        image[len - 16] = 0xea;
        image
    }

    fn option_rom() -> Vec<u8> {
        let mut rom = vec![0; 1024];
        rom[..3].copy_from_slice(&[0x55, 0xaa, 2]);
        rom[1023] = 0u8.wrapping_sub(0x55u8.wrapping_add(0xaa).wrapping_add(2));
        rom
    }

    #[test]
    fn the_first_folder_and_the_best_name_win() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = vec![a.path().to_owned(), b.path().to_owned()];
        std::fs::write(b.path().join("bios-256k.bin"), system(256 << 10)).unwrap();
        let found = load_from(Kind::System, None, folders.clone()).unwrap();
        assert_eq!(found.path, b.path().join("bios-256k.bin"));
        std::fs::write(a.path().join("bios.bin"), system(128 << 10)).unwrap();
        let found = load_from(Kind::System, None, folders.clone()).unwrap();
        assert_eq!(found.path, a.path().join("bios.bin"));
        std::fs::write(a.path().join("bios-256k.bin"), system(256 << 10)).unwrap();
        let found = load_from(Kind::System, None, folders).unwrap();
        assert_eq!(found.bytes.len(), 256 << 10);
    }

    #[test]
    fn what_is_missing_names_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let error = load_from(Kind::Vga, None, vec![folder.path().to_owned()]).unwrap_err();
        let text = error.to_string();
        for part in ["vgabios-isavga.bin", "package `seabios`", "--vga-bios"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.contains(&folder.path().display().to_string()));
        let error = load_from(Kind::System, Some(Path::new("/nonexistent")), Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Read { .. }));
    }

    #[test]
    fn sizes_and_the_reset_vector() {
        assert_eq!(check_system(&system(128 << 10)), Ok(()));
        assert_eq!(check_system(&system(256 << 10)), Ok(()));
        for len in [16, 64 << 10, (128 << 10) + 1, 512 << 10] {
            assert!(check_system(&system(len)).is_err(), "{len}");
        }
        assert!(check_system(&[]).is_err());
        assert!(check_system(&vec![0xff; 128 << 10]).is_err());
    }

    #[test]
    fn option_roms() {
        assert_eq!(check_option_rom(&option_rom()), Ok(()));
        // What follows the ROM in the file does not count.
        let mut long = option_rom();
        long.extend([1, 2, 3]);
        assert_eq!(check_option_rom(&long), Ok(()));
        assert!(check_option_rom(&option_rom()[..1023]).is_err());
        assert!(check_option_rom(&[0x55, 0xaa]).is_err());
        assert!(check_option_rom(&[0x55, 0xaa, 0]).is_err());
        let mut broken = option_rom();
        broken[700] = 1;
        assert!(check_option_rom(&broken).is_err());
        let mut unsigned = option_rom();
        unsigned[0] = 0;
        assert!(check_option_rom(&unsigned).is_err());
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = load_from(Kind::System, Some(&path), Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Unsuitable { .. }));
    }
}
