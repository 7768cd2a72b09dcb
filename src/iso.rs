// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images of discs from folders: ISO 9660 with Joliet names for Windows and Rock Ridge ones for Unix.
//!
//! The crate `hadris-iso` lays the image out and writes it from its start to its end. What is here is the choice of what goes in: names,
//! times and links, so that the same folder gives the same image wherever it is made. Files are read while the image is written, a piece
//! at a time.
//!
//! Source: ECMA-119; the Joliet specification; IEEE P1281 and P1282 (Rock Ridge); the El Torito specification.

use hadris_fs::{
    Content, DateTime, Node, Owner, PathError, Permissions, SetAttr, Tree, Warning, WarningKind,
};
use hadris_iso::{BootEntry, BootInfo, ElTorito, Emulation, IsoId, IsoLevel, IsoOptions};
use hadris_storage::{BlockIndex, BlockSize};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a sector of a disc.
const SECTOR: u64 = 2048;
/// The same, as the crate has it.
const BLOCK: BlockSize = match BlockSize::new(SECTOR as u32) {
    Some(size) => size,
    None => unreachable!(),
};
/// Folders within folders that are followed.
const DEEPEST: usize = 128;
/// Joliet's volume names are 16 characters.
const LONGEST_LABEL: usize = 16;

/// What can be chosen about a disc.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The volume's name; `DISC` without one.
    pub label: Option<String>,
    /// An image to boot from, by the BIOS.
    pub boot: Option<PathBuf>,
    /// Whether where the boot image is, and its sum, are written into it, as ISOLINUX and GRUB want.
    pub boot_info_table: bool,
}

/// A disc that cannot be made: which file is the reason, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A disc that was laid out and not written yet.
pub struct Disc {
    tree: Tree,
    options: IsoOptions,
    size: u64,
    notes: Vec<String>,
}

impl Disc {
    /// Lays a disc out, with a file or with all that is in a folder. Contents are not read yet.
    ///
    /// # Errors
    /// When something cannot be read, or cannot be put on a disc.
    pub fn plan(from: &Path, choice: &Choice) -> Result<Self, Error> {
        let mut reader = Reader {
            tree: Tree::new(),
            newest: 0,
        };
        let found = std::fs::metadata(from).map_err(|e| cannot_read(from, &e))?;
        if found.is_dir() {
            let root = Node::dir().with_attrs(reader.attributes(&found));
            reader.insert("/", root, from, true)?;
            reader.folder(from, "", 0)?;
        } else {
            reader.entry(from, "")?;
        }
        let mut options = IsoOptions::new()
            .with_level(IsoLevel::L3)
            .with_joliet()
            .with_rock_ridge()
            .with_id(IsoId::Volume, &label(choice.label.as_deref())?)
            .with_id(IsoId::Application, "VIRTUALPC");
        if let Some(image) = &choice.boot {
            options = options.with_el_torito(reader.boot(from, image, choice.boot_info_table)?);
        }
        let Reader { tree, newest } = reader;
        if let Some(newest) = time(newest) {
            options = options.with_time(newest);
        }
        let failed = |e: PathError| Error(explain(from, &e));
        let report = hadris_iso::plan(&tree, &options).map_err(failed)?;
        // Folders that are far down are moved, which readers undo.
        let told = |warning: &&Warning| warning.kind() != WarningKind::Relocated;
        let notes = report.warnings().iter().filter(told).filter_map(|warning| {
            let path = String::from_utf8_lossy(warning.path()?).into_owned();
            Some(format!("`{}`: {}", printable(&path), warning.message()))
        });
        Ok(Self {
            size: report.size(),
            notes: notes.collect(),
            tree,
            options,
        })
    }

    /// The size of the image, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What is not on the disc as it is in the folder, a line each: names that Windows will show otherwise.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the image, from the start of an empty file to its end.
    ///
    /// # Errors
    /// What the host says; when a file is not as long any more as it was; when the watch is cancelled.
    pub fn write(&self, file: &dyn vhd::Storage, watch: &vhd::Watch) -> io::Result<()> {
        watch.begin(self.size);
        let output = Output {
            file,
            watch,
            blocks: self.size / SECTOR,
        };
        let written = hadris_iso::sync::write(output, &self.tree, &self.options);
        written
            .map(drop)
            .map_err(|e| io::Error::other(explain(Path::new("/"), &e)))
    }
}

impl fmt::Debug for Disc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disc")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What goes onto the disc.
struct Reader {
    tree: Tree,
    /// The latest time of anything, in seconds since 1970: when the disc was made, as far as its content tells.
    newest: i64,
}

impl Reader {
    fn folder(&mut self, folder: &Path, name: &str, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error(format!(
                "`{}` is more than {DEEPEST} folders down: leave it out",
                folder.display()
            )));
        }
        let entries = std::fs::read_dir(folder).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<PathBuf>>>()
        });
        let mut paths = entries.map_err(|e| cannot_read(folder, &e))?;
        // The same folder gives the same image.
        paths.sort();
        for path in paths {
            if let Some(inner) = self.entry(&path, name)? {
                self.folder(&path, &inner, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Puts one thing into a folder of the disc; gives its name there if it is a folder itself.
    fn entry(&mut self, path: &Path, folder: &str) -> Result<Option<String>, Error> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            Error(format!(
                "`{}` has a name that is no text, which a disc cannot hold: rename it",
                path.display()
            ))
        })?;
        let place = format!("{folder}/{name}");
        // Links are kept as such, so that nothing from elsewhere gets onto the disc unseen.
        let found = std::fs::symlink_metadata(path).map_err(|e| cannot_read(path, &e))?;
        let kind = found.file_type();
        let (node, is_folder) = if kind.is_dir() {
            (Node::dir(), true)
        } else if kind.is_file() {
            (Node::file(content(path)?), false)
        } else if kind.is_symlink() {
            let target = std::fs::read_link(path).map_err(|e| cannot_read(path, &e))?;
            let target = target.to_str().ok_or_else(|| {
                Error(format!(
                    "`{}` leads to a name that is no text: leave it out",
                    path.display()
                ))
            })?;
            (Node::symlink(target), false)
        } else {
            return Err(Error(format!(
                "`{}` is neither a file, a folder nor a link: leave it out",
                path.display()
            )));
        };
        let node = node.with_attrs(self.attributes(&found));
        self.insert(&place, node, path, false)?;
        Ok(is_folder.then_some(place))
    }

    fn insert(&mut self, place: &str, node: Node, path: &Path, replace: bool) -> Result<(), Error> {
        let done = if replace {
            self.tree.replace(place, node)
        } else {
            self.tree.insert(place, node)
        };
        done.map_err(|e| Error(explain(path, &e)))
    }

    /// What is kept of a file: when it was changed, and whether it is a program. Who owned it, and when it was last read, would make
    /// images differ that are of the same content.
    fn attributes(&mut self, found: &Metadata) -> SetAttr {
        let modified = found.modified().ok();
        let seconds = modified
            .and_then(|time| jiff::Timestamp::try_from(time).ok())
            .map_or(0, jiff::Timestamp::as_second);
        self.newest = self.newest.max(seconds);
        let mode = if found.is_dir() || crate::host::is_executable(found) {
            0o755
        } else {
            0o644
        };
        let attributes = SetAttr::new()
            .with_permissions(Permissions::new(mode))
            .with_owner(Owner::new(0, 0));
        match time(seconds) {
            Some(time) => attributes.with_modified(time),
            None => attributes,
        }
    }

    /// A boot image: one in the folder stays where it is, another one becomes `/boot.img`.
    fn boot(&mut self, from: &Path, image: &Path, table: bool) -> Result<ElTorito, Error> {
        let full = |path: &Path| path.canonicalize().map_err(|e| cannot_read(path, &e));
        let (root, own) = (full(from)?, full(image)?);
        let found = std::fs::metadata(&own).map_err(|e| cannot_read(image, &e))?;
        if !found.is_file() || found.len() == 0 {
            return Err(Error(format!(
                "`{}` is no boot image: give a file",
                image.display()
            )));
        }
        let inside = own.strip_prefix(&root).ok().and_then(Path::to_str);
        let place = match inside.filter(|inside| self.tree.get(format!("/{inside}")).is_some()) {
            Some(inside) => format!("/{inside}"),
            None => {
                let place = "/boot.img".to_owned();
                if self.tree.get(&place).is_some() {
                    return Err(Error(format!(
                        "`{}` has a file `boot.img`, which is the name of the boot image on the disc: rename it",
                        from.display()
                    )));
                }
                let node = Node::file(content(&own)?).with_attrs(self.attributes(&found));
                self.insert(&place, node, image, false)?;
                place
            }
        };
        let emulation = match found.len() >> 10 {
            _ if table => Emulation::NoEmulation,
            1200 => Emulation::Floppy12,
            1440 => Emulation::Floppy144,
            2880 => Emulation::Floppy288,
            _ => Emulation::NoEmulation,
        };
        let mut entry = BootEntry::bios(&place).with_emulation(emulation);
        if table {
            // Such an image loads the rest of itself.
            entry = entry.with_boot_info(BootInfo::Table).with_load_size(4);
        }
        Ok(ElTorito::new().with_entry(entry).with_catalog_path("/boot.cat"))
    }
}

fn content(path: &Path) -> Result<Content, Error> {
    hadris_fs::host::file(path).map_err(|e| Error(explain(path, &e)))
}

fn time(seconds: i64) -> Option<DateTime> {
    // What an ISO 9660 date can say: from 1900 to 2155.
    let seconds = seconds.clamp(-2_208_988_800, 5_869_583_999);
    DateTime::from_unix_seconds(seconds).ok()
}

fn label(label: Option<&str>) -> Result<String, Error> {
    let label = label.unwrap_or("DISC").to_ascii_uppercase();
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if label.is_empty() || label.len() > LONGEST_LABEL || !label.chars().all(good) {
        return Err(Error(format!(
            "{label:?} cannot be the name of a disc: use up to {LONGEST_LABEL} letters, digits and underscores"
        )));
    }
    Ok(label)
}

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error(format!("`{}` cannot be read: {error}", path.display()))
}

/// What the crate says, with its causes and the file that it is about.
fn explain(path: &Path, error: &PathError) -> String {
    let place = match (error.host_path(), error.path()) {
        (Some(host), _) => host.display().to_string(),
        (None, Some(place)) => String::from_utf8_lossy(place).into_owned(),
        (None, None) => path.display().to_string(),
    };
    let mut text = format!("`{}`: {}", printable(&place), error.message());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A name of a file, fit for a terminal.
fn printable(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    name.chars().map(shown).collect()
}

/// The image as the crate wants it.
struct Output<'a> {
    file: &'a dyn vhd::Storage,
    watch: &'a vhd::Watch,
    blocks: u64,
}

type DeviceError = hadris_fs::Error<io::Error>;

impl hadris_io::ErrorType for Output<'_> {
    type Error = io::Error;
}

impl hadris_storage::sync::BlockDevice for Output<'_> {
    fn block_size(&self) -> BlockSize {
        BLOCK
    }

    fn block_count(&self) -> u64 {
        self.blocks
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(&mut self, first: BlockIndex, buffer: &mut [u8]) -> Result<(), DeviceError> {
        let offset = first.get().saturating_mul(SECTOR);
        self.file
            .read_at(buffer, offset)
            .map_err(|e| DeviceError::device(e, "the image cannot be read"))
    }

    fn write_blocks(&mut self, first: BlockIndex, buffer: &[u8]) -> Result<(), DeviceError> {
        if self.watch.is_cancelled() {
            return Err(DeviceError::device(io::ErrorKind::Interrupted.into(), "stopped"));
        }
        let offset = first.get().saturating_mul(SECTOR);
        self.file
            .write_at(buffer, offset)
            .map_err(|e| DeviceError::device(e, "the image cannot be written"))?;
        self.watch.advance(buffer.len() as u64);
        Ok(())
    }
}
