// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Structured replies, and where the disk has nothing.

use super::spec::{self, Chunk};
use super::{Request, Session, number};
use std::io::{self, Read, Write};
use std::ops::Range;
use vhd::Source;

/// Bytes that are resolved at a time, which bounds the memory that a client can ask for.
const STEP: u64 = 64 << 20;
/// Extents that are told in one reply; the client asks again for the rest.
const MAX_EXTENTS: usize = 8192;

/// A range of the disk, and whether it reads as zeros because nothing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    range: Range<u64>,
    hole: bool,
}

impl<S: Read + Write> Session<'_, S> {
    /// Answers a read whose data is there: what has no data is told as a hole.
    pub(super) fn answer_read(&mut self, request: &Request, data: &[u8]) -> io::Result<bool> {
        let whole = request.offset..request.offset + data.len() as u64;
        let mut pieces = match request.flags & spec::DF {
            0 => self.pieces(whole.clone(), usize::MAX).unwrap_or_default(),
            _ => Vec::new(),
        };
        // The data was read before: what was written meanwhile may be told either way, but a hole must be zeros in both.
        let at =
            |range: &Range<u64>| (range.start - whole.start) as usize..(range.end - whole.start) as usize;
        for piece in &mut pieces {
            let bytes = data.get(at(&piece.range)).unwrap_or_default();
            piece.hole &= bytes.iter().all(|&byte| byte == 0);
        }
        if pieces.is_empty() {
            pieces.push(Piece {
                range: whole.clone(),
                hole: false,
            });
        }
        let last = pieces.len() - 1;
        for (index, Piece { range, hole }) in pieces.into_iter().enumerate() {
            let done = if index == last { spec::DONE } else { 0 };
            let offset = range.start.to_be_bytes();
            if hole {
                let len = ((range.end - range.start) as u32).to_be_bytes();
                self.chunk(request, done, Chunk::Hole, &[&offset, &len])?;
            } else {
                let bytes = data.get(at(&range)).unwrap_or_default();
                self.chunk(request, done, Chunk::Data, &[&offset, bytes])?;
            }
        }
        Ok(true)
    }

    /// The payload of a reply that says where the disk has something.
    pub(super) fn block_status(&self, request: &Request) -> Result<Vec<u8>, u32> {
        let end = request.offset.checked_add(u64::from(request.length));
        let end = end.filter(|&end| end <= self.disk.len()).ok_or(spec::EINVAL)?;
        if !self.allocation || request.length == 0 {
            return Err(spec::EINVAL);
        }
        let most = if request.flags & spec::REQ_ONE == 0 {
            MAX_EXTENTS
        } else {
            1
        };
        let pieces = self
            .pieces(request.offset..end, most)
            .map_err(|error| number(&error, false))?;
        let mut payload = spec::ALLOCATION_ID.to_be_bytes().to_vec();
        for piece in pieces {
            let state = if piece.hole {
                spec::STATE_HOLE | spec::STATE_ZERO
            } else {
                0
            };
            payload.extend(((piece.range.end - piece.range.start) as u32).to_be_bytes());
            payload.extend(state.to_be_bytes());
        }
        Ok(payload)
    }

    /// The range in pieces, neighbours joined; only the first `most` of them.
    fn pieces(&self, range: Range<u64>, most: usize) -> vhd::Result<Vec<Piece>> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut extents = Vec::new();
        let mut at = range.start;
        while at < range.end && pieces.len() <= most {
            let end = (at + STEP).min(range.end);
            extents.clear();
            drop(self.disk.resolve_read(at..end, &mut extents)?);
            for extent in &extents {
                let hole = extent.source == Source::Zero;
                let end = extent.offset + extent.len;
                match pieces.last_mut() {
                    Some(last) if last.hole == hole => last.range.end = end,
                    _ => pieces.push(Piece {
                        range: extent.offset..end,
                        hole,
                    }),
                }
            }
            at = end;
        }
        pieces.truncate(most);
        Ok(pieces)
    }

    /// Sends one chunk of a reply, with its payload in parts.
    pub(super) fn chunk(
        &mut self,
        request: &Request,
        flags: u16,
        kind: Chunk,
        payload: &[&[u8]],
    ) -> io::Result<bool> {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        let mut head = spec::STRUCTURED_REPLY_MAGIC.to_vec();
        head.extend(flags.to_be_bytes());
        head.extend((kind as u16).to_be_bytes());
        head.extend(request.cookie);
        head.extend((len as u32).to_be_bytes());
        self.stream.write_all(&head)?;
        for part in payload {
            self.stream.write_all(part)?;
        }
        Ok(true)
    }
}

/// The queries in the data of an option about metadata contexts: the export's name, a count, and so many strings.
pub(super) fn queries(data: &[u8]) -> Option<Vec<&[u8]>> {
    let (_export, data) = string(data)?;
    let (count, mut data) = data.split_first_chunk::<4>()?;
    let mut queries = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (query, rest) = string(data)?;
        queries.push(query);
        data = rest;
    }
    data.is_empty().then_some(queries)
}

fn string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

/// Whether the queries ask for the one context there is. A list may be asked for by the name space, or by nothing.
pub(super) fn wants_allocation(queries: &[&[u8]], set: bool) -> bool {
    let all = !set && (queries.is_empty() || queries.contains(&&b"base:"[..]));
    all || queries.contains(&spec::ALLOCATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_apart_and_bad_ones_refused() {
        let mut data = vec![0, 0, 0, 1, b'x', 0, 0, 0, 2, 0, 0, 0, 5];
        data.extend(b"base:");
        data.extend(15_u32.to_be_bytes());
        data.extend(spec::ALLOCATION);
        assert_eq!(queries(&data), Some(vec![&b"base:"[..], spec::ALLOCATION]));
        for len in 0..data.len() {
            assert_eq!(queries(&data[..len]), None, "cut at {len}");
        }
        data.push(0);
        assert_eq!(queries(&data), None);
        assert!(wants_allocation(&[], false) && !wants_allocation(&[], true));
        assert!(wants_allocation(&[b"base:"], false) && !wants_allocation(&[b"base:"], true));
        assert!(wants_allocation(&[b"x:y", spec::ALLOCATION], true));
    }
}
