// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether two disks have the same content, whatever the formats of their images.

use crate::chain::extent::{Extent, Source};
use crate::disk::Disk;
use crate::error::Result;
use crate::task::Watch;

/// Bytes that are looked at in one step: the most that a cancelled comparison still does.
const STEP: u64 = 4 << 20;

/// Finds the first byte at which two disks differ, in bytes from their start. What one of them has beyond the end
/// of the other differs where it is not zero.
///
/// What is nowhere in the images is not read: two sparse disks compare as fast as their extents.
///
/// # Errors
/// As [`Disk::read_at`]; [`crate::Kind::Cancelled`].
pub fn compare(a: &Disk, b: &Disk, watch: &Watch) -> Result<Option<u64>> {
    let (shorter, longer) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    watch.begin(longer.len());
    let mut left = Window::new(shorter);
    let mut right = Window::new(longer);
    let mut at = 0;
    while at < longer.len() {
        watch.check(shorter)?;
        let end = (at + STEP).min(longer.len());
        let inside = end.min(shorter.len()).max(at);
        left.fill(at, inside)?;
        right.fill(at, end)?;
        let found = first_difference(&mut left, &mut right);
        if let Some(distance) = found {
            return Ok(Some(at + distance));
        }
        watch.advance(end - at);
        at = end;
    }
    Ok(None)
}

/// Both windows begin at the same byte, and the right one is at least as long.
fn first_difference(left: &mut Window<'_>, right: &mut Window<'_>) -> Option<u64> {
    if left.zero && right.zero {
        return None;
    }
    left.fill_zeros();
    right.fill_zeros();
    let zeros = std::iter::repeat(&0);
    // Slices compare as fast as memory is; bytes are looked at only where it is known that there is a difference.
    let (common, rest) = right.bytes.split_at_checked(left.bytes.len())?;
    if common == left.bytes.as_slice() && rest.iter().all(|&byte| byte == 0) {
        return None;
    }
    let pairs = left.bytes.iter().chain(zeros).zip(&right.bytes);
    let distance = pairs.take_while(|(a, b)| a == b).count();
    (distance < right.bytes.len()).then_some(distance as u64)
}

/// A part of a disk's content.
struct Window<'a> {
    disk: &'a Disk,
    extents: Vec<Extent>,
    bytes: Vec<u8>,
    len: usize,
    /// All of it is nowhere in the images; the bytes are not filled in then.
    zero: bool,
}

impl<'a> Window<'a> {
    fn new(disk: &'a Disk) -> Self {
        Self {
            disk,
            extents: Vec::new(),
            bytes: Vec::new(),
            len: 0,
            zero: false,
        }
    }

    /// Fills in what is nowhere in the images.
    fn fill_zeros(&mut self) {
        if self.zero {
            self.bytes.clear();
            self.bytes.resize(self.len, 0);
        }
    }

    fn fill(&mut self, start: u64, end: u64) -> Result<()> {
        self.extents.clear();
        if start >= end {
            // Beyond the end of the shorter disk.
            self.bytes.clear();
            self.len = 0;
            self.zero = true;
            return Ok(());
        }
        let _guard = self.disk.resolve_read(start..end, &mut self.extents)?;
        self.zero = self.extents.iter().all(|extent| extent.source == Source::Zero);
        self.len = (end - start) as usize;
        if self.zero {
            return Ok(());
        }
        self.bytes.resize(self.len, 0);
        self.disk.read_at(start, &mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOptions, OpenOptions, create};

    fn disk(folder: &tempfile::TempDir, name: &str, size: u64) -> Disk {
        let path = folder.path().join(name);
        create::dynamic(&path, size, &CreateOptions::new()).unwrap();
        Disk::open(&path, &OpenOptions::new()).unwrap()
    }

    #[test]
    fn the_first_difference_is_found_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let a = disk(&folder, "a.vhd", 16 << 20);
        let b = disk(&folder, "b.vhd", 16 << 20);
        let watch = Watch::default();
        assert_eq!(compare(&a, &b, &watch).unwrap(), None);
        b.write_at(5 << 20, &[0; 512]).unwrap();
        assert_eq!(compare(&a, &b, &watch).unwrap(), None, "written zeros are zeros");
        for at in [(16 << 20) - 1, (4 << 20) + 1, 4 << 20, (4 << 20) - 1, 0] {
            b.write_at(at, &[7]).unwrap();
            assert_eq!(compare(&a, &b, &watch).unwrap(), Some(at));
            assert_eq!(compare(&b, &a, &watch).unwrap(), Some(at));
        }
    }

    #[test]
    fn what_is_beyond_the_end_counts_unless_it_is_zero() {
        let folder = tempfile::tempdir().unwrap();
        let a = disk(&folder, "a.vhd", (6 << 20) + 512);
        let b = disk(&folder, "b.vhd", 16 << 20);
        a.write_at(6 << 20, &[1; 512]).unwrap();
        b.write_at(6 << 20, &[1; 512]).unwrap();
        let watch = Watch::default();
        assert_eq!(compare(&a, &b, &watch).unwrap(), None);
        b.write_at((16 << 20) - 1, &[9]).unwrap();
        assert_eq!(compare(&a, &b, &watch).unwrap(), Some((16 << 20) - 1));
        b.write_at((6 << 20) + 512, &[9]).unwrap();
        assert_eq!(compare(&b, &a, &watch).unwrap(), Some((6 << 20) + 512));
    }

    #[test]
    fn a_comparison_can_be_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let a = disk(&folder, "a.vhd", 16 << 20);
        let watch = Watch::default();
        watch.cancel();
        let error = compare(&a, &a, &watch).unwrap_err();
        assert_eq!(error.kind(), &crate::Kind::Cancelled);
    }
}
