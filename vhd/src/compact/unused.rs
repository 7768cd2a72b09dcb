// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What of a disk is of no use, and which blocks of an image can be left out because of that.

use std::ops::Range;

use crate::chain::extent::{Extent, Source};
use crate::disk::Disk;
use crate::error::Result;
use crate::task::Watch;

/// Bytes that are looked at in one step.
const STEP: u64 = 1 << 20;

/// Puts ranges in order, joins those that touch, and cuts off what is beyond the end of the disk.
pub(super) fn in_order(mut ranges: Vec<Range<u64>>, len: u64) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end && range.start < len);
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let end = range.end.min(len);
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(end),
            _ => joined.push(range.start..end),
        }
    }
    joined
}

/// The ranges, of those in order, that touch one.
pub(super) fn within<'a>(ranges: &'a [Range<u64>], part: &Range<u64>) -> &'a [Range<u64>] {
    let first = ranges.partition_point(|range| range.end <= part.start);
    let rest = ranges.get(first..).unwrap_or_default();
    let count = rest.partition_point(|range| range.start < part.end);
    rest.get(..count).unwrap_or_default()
}

/// An extent in pieces, of which those that are of no use are zeros.
pub(crate) fn without(extent: Extent, unused: &[Range<u64>]) -> Vec<Extent> {
    let end = extent.offset + extent.len;
    let mut pieces = Vec::new();
    let mut at = extent.offset;
    let mut push = |from: u64, to: u64, zero: bool| {
        if from < to {
            pieces.push(Extent {
                offset: from,
                len: to - from,
                source: match extent.source {
                    Source::File { layer, offset } if !zero => Source::File {
                        layer,
                        offset: offset + (from - extent.offset),
                    },
                    Source::File { .. } | Source::Zero => Source::Zero,
                },
            });
        }
    };
    for range in within(unused, &(extent.offset..end)) {
        let (start, stop) = (range.start.max(at), range.end.min(end));
        push(at, start, false);
        push(start, stop, true);
        at = stop;
    }
    push(at, end, false);
    pieces
}

/// The blocks of a size that have nothing but what is of no use, and zeros; joined where they touch.
pub(super) fn blocks(
    disk: &Disk,
    unused: &[Range<u64>],
    size: u64,
    watch: &Watch,
) -> Result<Vec<Range<u64>>> {
    let mut free = Vec::new();
    // Blocks that a range covers in part, which other ranges or zeros may complete; in order, and each once.
    let mut borders: Vec<u64> = Vec::new();
    let mut border = |at: u64| {
        if !at.is_multiple_of(size) && at < disk.len() && borders.last() != Some(&(at / size)) {
            borders.push(at / size);
        }
    };
    for range in unused {
        let start = range.start.next_multiple_of(size);
        let end = if range.end == disk.len() {
            range.end
        } else {
            range.end / size * size
        };
        if start < end {
            free.push(start..end);
        }
        border(range.start);
        border(range.end);
    }
    for block in borders {
        watch.check(disk)?;
        let range = block * size..((block + 1) * size).min(disk.len());
        if rest_is_zero(disk, unused, &range)? {
            free.push(range);
        }
    }
    Ok(in_order(free, disk.len()))
}

/// Whether a range has nothing but zeros beside what is of no use.
pub(super) fn rest_is_zero(disk: &Disk, unused: &[Range<u64>], range: &Range<u64>) -> Result<bool> {
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let end = (at + STEP).min(range.end);
        let mut extents = Vec::new();
        let guard = disk.resolve_read(at..end, &mut extents)?;
        drop(guard);
        let pieces = extents.into_iter().flat_map(|extent| without(extent, unused));
        for piece in pieces.filter(|piece| piece.source != Source::Zero) {
            buffer.resize(piece.len as usize, 0);
            disk.read_at(piece.offset, &mut buffer)?;
            if buffer.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
        at = end;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_cut() {
        let ranges = vec![50..60, 0..10, 10..20, 15..18, 90..200, 300..400, 7..7];
        assert_eq!(in_order(ranges, 100), [0..20, 50..60, 90..100]);
    }

    #[test]
    fn an_extent_is_cut_where_it_is_of_no_use() {
        let source = |offset| Source::File { layer: 1, offset };
        let extent = Extent {
            offset: 100,
            len: 100,
            source: source(1000),
        };
        let pieces = without(extent, &[0..110, 120..130, 190..300, 400..500]);
        let pieces: Vec<_> = pieces.iter().map(|e| (e.offset, e.len, e.source)).collect();
        let expected = [
            (100, 10, Source::Zero),
            (110, 10, source(1010)),
            (120, 10, Source::Zero),
            (130, 60, source(1030)),
            (190, 10, Source::Zero),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(without(extent, &[0..50, 200..300]), [extent]);
    }
}
