// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Diskettes with a FAT file system, made in memory: none has more than 2880 KiB.

use crate::cli::Error;
use fatfs::{Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

/// Bytes of the usual diskette.
pub const USUAL: u64 = 1440 << 10;
/// Folders within folders that are followed.
const DEEPEST: usize = 32;

/// How DOS formats a diskette.
struct Layout {
    size: u64,
    sectors_per_track: u16,
    cluster: u32,
    root_entries: u16,
    media: u8,
}

impl Layout {
    const fn new(kib: u64, sectors_per_track: u16, cluster: u32, root_entries: u16, media: u8) -> Self {
        Self {
            size: kib << 10,
            sectors_per_track,
            cluster,
            root_entries,
            media,
        }
    }
}

/// Source: the BIOS parameter blocks of MS-DOS's FORMAT.
const LAYOUTS: [Layout; 5] = [
    Layout::new(360, 9, 1024, 112, 0xfd),
    Layout::new(720, 9, 1024, 112, 0xf9),
    Layout::new(1200, 15, 512, 224, 0xf9),
    Layout::new(1440, 18, 512, 224, 0xf0),
    Layout::new(2880, 36, 1024, 240, 0xf0),
];

/// A diskette of `size` bytes, with a file, or all that is in a folder.
pub fn image(size: u64, from: Option<&Path>, label: Option<&str>) -> Result<Vec<u8>, Error> {
    let layout = LAYOUTS.iter().find(|layout| layout.size == size);
    let layout = layout.ok_or_else(|| {
        Error::Use(format!(
            "{size} bytes are no size of a floppy: use 360K, 720K, 1200K, 1440K or 2880K"
        ))
    })?;
    let mut bytes = vec![0; size as usize];
    let mut format = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .total_sectors((size / 512) as u32)
        .sectors_per_track(layout.sectors_per_track)
        .heads(2)
        .bytes_per_cluster(layout.cluster)
        .max_root_dir_entries(layout.root_entries)
        .media(layout.media)
        .drive_num(0);
    if let Some(label) = label {
        format = format.volume_label(volume_label(label)?);
    }
    let failed = |e: io::Error| Error::Use(format!("the floppy cannot be formatted: {e}"));
    fatfs::format_volume(Cursor::new(&mut bytes), format).map_err(failed)?;
    let Some(from) = from else { return Ok(bytes) };
    // The file system keeps what it is given, so it gets a cursor that can be taken back through a reference.
    let mut cursor = Cursor::new(bytes);
    {
        let disk = FileSystem::new(&mut cursor, FsOptions::new()).map_err(failed)?;
        let root = disk.root_dir();
        let found = metadata(from)?;
        if found.is_dir() {
            copy_folder(&root, from, 0)?;
        } else {
            copy_file(&root, from, &found)?;
        }
        drop(root);
        disk.unmount().map_err(failed)?;
    }
    let mut bytes = cursor.into_inner();
    mend_folders(&mut bytes);
    Ok(bytes)
}

/// Puts the entries `.` and `..` of each folder where they belong: in the first two slots. fatfs 0.3 writes a long name in front of
/// each, which DOS and fsck take for damage.
fn mend_folders(bytes: &mut [u8]) {
    const ENTRY: usize = 32;
    let short = |at: usize| match bytes.get(at..at + 2) {
        Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])),
        _ => 0,
    };
    let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or(0));
    // The fields of the boot sector that we have just had written.
    let fat = short(14) * 512;
    let root = fat + byte(16) * short(22) * 512;
    let data = root + short(17) * ENTRY;
    let cluster_size = byte(13) * 512;
    let place = |cluster: usize| data + (cluster - 2) * cluster_size;
    let next = |cluster: usize| {
        let pair = short(fat + cluster + cluster / 2);
        if cluster.is_multiple_of(2) {
            pair & 0xfff
        } else {
            pair >> 4
        }
    };
    let mut folders = Vec::new();
    let mut parts = vec![root..data];
    while let Some(part) = parts.pop() {
        for at in part.step_by(ENTRY) {
            let (first, attributes) = (byte(at), byte(at + 11));
            let unused = [0, 0xe5, usize::from(b'.')].contains(&first);
            // Folders, but no volume labels and no pieces of long names.
            if unused || attributes & 0x18 != 0x10 {
                continue;
            }
            let mut cluster = short(at + 26);
            folders.push(cluster);
            // No chain is longer than the table, whatever is in it.
            for _ in 0..4096 {
                if !(2..0xff0).contains(&cluster) {
                    break;
                }
                parts.push(place(cluster)..place(cluster) + cluster_size);
                cluster = next(cluster);
            }
        }
    }
    let places: Vec<usize> = folders.into_iter().map(place).collect();
    for start in places {
        let Some(slots) = bytes.get_mut(start..start + 4 * ENTRY) else {
            continue;
        };
        let (long, dots) = (
            (slots[11], slots[ENTRY + ENTRY + 11]),
            (slots[ENTRY], slots[3 * ENTRY]),
        );
        if (long, dots) == ((0x0f, 0x0f), (b'.', b'.')) {
            slots.copy_within(ENTRY..2 * ENTRY, 0);
            slots.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
            for slot in slots[2 * ENTRY..].chunks_mut(ENTRY) {
                slot.fill(0);
                // Deleted; a zero would end the folder here.
                slot[0] = 0xe5;
            }
        }
    }
}

fn volume_label(label: &str) -> Result<[u8; 11], Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || " !#$%&'()-@^_`{}~".contains(c);
    if label.is_empty() || label.len() > 11 || !label.chars().all(good) {
        return Err(Error::Use(format!(
            "{label:?} cannot be a volume label: use up to 11 letters, digits and spaces"
        )));
    }
    let mut padded = [b' '; 11];
    for (to, from) in padded.iter_mut().zip(label.to_ascii_uppercase().bytes()) {
        *to = from;
    }
    Ok(padded)
}

/// What a path is; links are not followed, so that nothing from elsewhere gets onto the floppy unseen.
fn metadata(path: &Path) -> Result<Metadata, Error> {
    let found = std::fs::symlink_metadata(path).map_err(|e| cannot(path, "be read", &e))?;
    if !found.is_file() && !found.is_dir() {
        return Err(Error::Use(format!(
            "`{}` is neither a file nor a folder: leave it out",
            path.display()
        )));
    }
    Ok(found)
}

fn cannot(path: &Path, what: &str, error: &io::Error) -> Error {
    // fatfs says so in words only.
    let full = error.kind() == io::ErrorKind::WriteZero || error.to_string().starts_with("No space");
    let hint = if full {
        "the floppy is full: choose a larger one, or fewer files".to_owned()
    } else {
        error.to_string()
    };
    Error::Use(format!("`{}` cannot {what}: {hint}", path.display()))
}

fn name(path: &Path) -> Result<&str, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| {
        Error::Use(format!(
            "`{}` has a name that FAT cannot hold: rename it",
            path.display()
        ))
    })
}

fn copy_folder<T: fatfs::ReadWriteSeek>(to: &Dir<'_, T>, from: &Path, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(Error::Use(format!(
            "`{}` is more than {DEEPEST} folders down: leave it out",
            from.display()
        )));
    }
    let entries = std::fs::read_dir(from).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<PathBuf>>>()
    });
    let mut paths = entries.map_err(|e| cannot(from, "be read", &e))?;
    // The same folder gives the same image.
    paths.sort();
    let mut taken = HashSet::new();
    for path in paths {
        let name = name(&path)?;
        // FAT knows no case: a second name would get into the first one's file.
        if !taken.insert(name.to_lowercase()) {
            return Err(Error::Use(format!(
                "`{}` has a name that differs from another one's by case only, which FAT cannot hold: rename it",
                path.display()
            )));
        }
        let found = metadata(&path)?;
        if found.is_dir() {
            let folder = to
                .create_dir(name)
                .map_err(|e| cannot(&path, "be put on the floppy", &e))?;
            copy_folder(&folder, &path, depth + 1)?;
        } else {
            copy_file(to, &path, &found)?;
        }
    }
    Ok(())
}

fn copy_file<T: fatfs::ReadWriteSeek>(to: &Dir<'_, T>, from: &Path, found: &Metadata) -> Result<(), Error> {
    // Looked at before it is read: a file larger than any floppy has no place in memory.
    if found.len() > 2880 << 10 {
        return Err(cannot(
            from,
            "be put on the floppy",
            &io::ErrorKind::WriteZero.into(),
        ));
    }
    let content = std::fs::read(from).map_err(|e| cannot(from, "be read", &e))?;
    let written = to.create_file(name(from)?).and_then(|mut file| {
        file.write_all(&content)?;
        if let Some(time) = found.modified().ok().and_then(fat_time) {
            #[expect(deprecated, reason = "the provider that is to be used instead knows no file")]
            file.set_modified(time);
        }
        file.flush()
    });
    written.map_err(|e| cannot(from, "be put on the floppy", &e))
}

/// FAT's times have no zone: they are given in UTC, so that an image does not depend on where it was made.
fn fat_time(time: std::time::SystemTime) -> Option<DateTime> {
    let time = jiff::Timestamp::try_from(time)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u16::from(number.unsigned_abs());
    let year = u16::try_from(time.year()).ok()?;
    (1980..=2107).contains(&year).then(|| DateTime {
        date: Date {
            year,
            month: part(time.month()),
            day: part(time.day()),
        },
        time: Time {
            hour: part(time.hour()),
            min: part(time.minute()),
            sec: part(time.second()),
            millis: 0,
        },
    })
}
