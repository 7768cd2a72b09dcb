// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must be true of an image's header before anything is allocated or read by it.

use super::Error;
use std::path::Path;
use vhd::Storage;
use vhd::format::spec;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The header of version 3; version 2 ends before `incompatible_features`.
///
/// Source: QEMU, docs/interop/qcow2.rst, "Header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub magic: [u8; 4],
    pub version: U32,
    pub backing_file_offset: U64,
    pub backing_file_size: U32,
    pub cluster_bits: U32,
    pub size: U64,
    pub crypt_method: U32,
    pub l1_size: U32,
    pub l1_table_offset: U64,
    pub refcount_table_offset: U64,
    pub refcount_table_clusters: U32,
    pub nb_snapshots: U32,
    pub snapshots_offset: U64,
    pub incompatible_features: U64,
    pub compatible_features: U64,
    pub autoclear_features: U64,
    pub refcount_order: U32,
    pub header_length: U32,
}

const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Where the fields of version 3 begin.
const V2_LENGTH: usize = 72;
/// The most that QEMU takes for an L1 table.
const MAX_L1_BYTES: u64 = 32 << 20;

/// Incompatible features, by bit.
mod feature {
    pub const DIRTY: u64 = 1 << 0;
    pub const CORRUPT: u64 = 1 << 1;
    pub const EXTERNAL_DATA: u64 = 1 << 2;
    pub const COMPRESSION_TYPE: u64 = 1 << 3;
    pub const EXTENDED_L2: u64 = 1 << 4;
}

/// Whether the file begins as an image does, and does not end as a VHD does.
pub(super) fn recognised(file: &dyn Storage) -> bool {
    let mut start = [0; 8];
    let begins = file.read_at(&mut start, 0).is_ok();
    let [magic @ .., _, _, _, _] = start;
    begins && magic == MAGIC && !ends_as_vhd(file)
}

/// Early versions of Virtual PC left the last byte of the footer out.
fn ends_as_vhd(file: &dyn Storage) -> bool {
    let len = file.len().unwrap_or(0);
    [spec::SECTOR, spec::SECTOR - 1].into_iter().any(|footer| {
        let mut cookie = [0; 8];
        let at = len.checked_sub(footer);
        at.is_some_and(|at| file.read_at(&mut cookie, at).is_ok() && cookie == spec::FOOTER_COOKIE)
    })
}

impl Header {
    pub fn read(file: &dyn Storage, path: &Path) -> Result<Checked, Error> {
        let host = |e| Error::host(path, e);
        let len = file.len().map_err(host)?;
        let mut header = Self::new_zeroed();
        let bytes = usize::try_from(len).map_or(size_of::<Self>(), |len| len.min(size_of::<Self>()));
        let buffer = header.as_mut_bytes().get_mut(..bytes).unwrap_or_default();
        file.read_at(buffer, 0).map_err(host)?;
        if header.version.get() < 3 {
            // What is there is no header any more.
            let rest = header.as_mut_bytes().get_mut(V2_LENGTH..).unwrap_or_default();
            rest.fill(0);
        }
        Ok(Checked { header, len })
    }
}

/// A header, and the length of its file.
#[derive(Debug)]
pub(super) struct Checked {
    header: Header,
    len: u64,
}

impl Checked {
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        self.check_features(path)?;
        self.damage().map_or(Ok(()), |what| {
            Err(Error::Damaged {
                path: path.to_owned(),
                what: what.to_owned(),
            })
        })
    }

    fn check_features(&self, path: &Path) -> Result<(), Error> {
        let header = &self.header;
        let features = header.incompatible_features.get();
        let has = |feature: u64| features & feature != 0;
        let known = feature::DIRTY
            | feature::CORRUPT
            | feature::EXTERNAL_DATA
            | feature::COMPRESSION_TYPE
            | feature::EXTENDED_L2;
        let what = match header.version.get() {
            version if header.magic != MAGIC || !(2..=3).contains(&version) => {
                format!(
                    "is a qcow2 image of version {version}, and only 2 and 3 are known: convert it with `qemu-img convert`"
                )
            }
            _ if header.crypt_method.get() != 0 => {
                "is encrypted: decrypt it with `qemu-img convert` first, which asks for the secret".to_owned()
            }
            _ if has(feature::CORRUPT) => {
                "is marked as corrupt: mend it with `qemu-img check -r all` first".to_owned()
            }
            _ if has(feature::DIRTY) => {
                "was not closed, or is in use: close it there, or mend it with `qemu-img check -r all`".to_owned()
            }
            _ if has(feature::EXTERNAL_DATA) => {
                "has its data in another file, which is not supported: convert it with `qemu-img convert` first".to_owned()
            }
            _ if has(feature::COMPRESSION_TYPE) => {
                "is compressed with zstd, which is not supported: convert it with `qemu-img convert` first".to_owned()
            }
            _ if has(feature::EXTENDED_L2) => {
                "has subclusters (extended L2 entries), which are not supported: convert it with `qemu-img convert` first"
                    .to_owned()
            }
            _ if features & !known != 0 => format!(
                "has features that are not known (incompatible bits {:#x}): convert it with the program that made it",
                features & !known
            ),
            _ => return Ok(()),
        };
        let path = path.to_owned();
        Err(Error::Feature { path, what })
    }

    /// What is wrong with the numbers, if anything is.
    fn damage(&self) -> Option<&'static str> {
        let header = &self.header;
        let bits = header.cluster_bits.get();
        if !(9..=21).contains(&bits) {
            return Some("it has an impossible cluster size");
        }
        let l1_bytes = u64::from(header.l1_size.get()) * 8;
        let l1_end = header.l1_table_offset.get().checked_add(l1_bytes);
        if l1_bytes > MAX_L1_BYTES || l1_end.is_none_or(|end| end > self.len) {
            return Some("its L1 table is not inside of the file");
        }
        // An L1 entry stands for one cluster of 8-byte L2 entries.
        let covered = u128::from(header.l1_size.get()) << (2 * bits - 3);
        if u128::from(header.size.get()) > covered {
            return Some("its L1 table is too short for its size");
        }
        let size = header.size.get();
        if size == 0 || !size.is_multiple_of(spec::SECTOR) {
            return Some("its disk is not of whole sectors");
        }
        None
    }
}
