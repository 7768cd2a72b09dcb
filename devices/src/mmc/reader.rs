// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes of a medium, fetched in pieces: the drive's buffer.
//!
//! One request fetches what the running command needs next. While the transport moves a piece, another request fetches the piece after
//! it; past the end of a command only if the command went on where the last one ended. A reader belongs to one medium and goes with it, so
//! nothing of an old disc can outlive it.
//!
//! What goes straight to guest memory passes this buffer by.

use super::spec::SECTOR_BYTES;
use crate::block::{Completion, Data, Medium, Operation, Request, Segment};
use std::collections::VecDeque;

/// Bytes that one request fetches at most.
pub const PIECE: u64 = 128 * 1024;
/// Pieces kept.
const PIECES: usize = 4;
/// Buffers kept for later.
const SPARE: usize = 2;
/// Requests that a medium may hold: one demanded, one ahead, and as many again of commands that were given up.
const REQUESTS: usize = 4;

struct Piece {
    offset: u64,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

#[derive(Clone, Copy)]
struct Fetch {
    tag: u64,
    offset: u64,
    end: u64,
    /// Read for the running command, not ahead of it.
    demanded: bool,
}

/// What [`Reader::fill`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// All that was wanted.
    Complete,
    /// The medium is at work.
    Pending,
    /// The medium failed at the first byte that is not there.
    Failed,
}

/// A medium and what was read from it.
pub struct Reader {
    medium: Box<dyn Medium>,
    len: u64,
    pieces: VecDeque<Piece>,
    /// Buffers for requests to come. What is in them is written over before anybody reads it.
    spare: Vec<Vec<u8>>,
    fetches: Vec<Fetch>,
    /// Requests that go to guest memory, those of commands that were given up included.
    straight: Vec<u64>,
    /// How the last of them to end went.
    straight_end: Option<(u64, bool)>,
    /// A demanded range that could not be read.
    failed: Option<Fetch>,
    next_tag: u64,
    /// Where the running command ends, and whether it went on where the one before had ended.
    command_end: u64,
    sequential: bool,
    /// After a failure the rest of a command is fetched sector by sector, to find the one that is bad.
    careful: bool,
}

impl Reader {
    /// A reader that has read nothing yet.
    pub fn new(medium: Box<dyn Medium>) -> Self {
        Self {
            len: medium.info().len,
            medium,
            pieces: VecDeque::with_capacity(PIECES),
            spare: Vec::with_capacity(SPARE),
            fetches: Vec::with_capacity(REQUESTS),
            straight: Vec::new(),
            straight_end: None,
            failed: None,
            next_tag: 0,
            command_end: u64::MAX,
            sequential: false,
            careful: false,
        }
    }

    /// Gives the medium back. What it has not completed is no concern of ours any more.
    pub fn into_medium(self) -> Box<dyn Medium> {
        self.medium
    }

    /// Whether the medium has nothing to do for this reader.
    pub fn is_idle(&mut self) -> bool {
        self.collect();
        self.fetches.is_empty() && self.straight.is_empty()
    }

    /// Takes a buffer back that came out of [`fill`](Self::fill), or another one of its size.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE && (PIECE / 4..=PIECE).contains(&(buffer.capacity() as u64)) {
            self.spare.push(buffer);
        }
    }

    /// A command starts that will read from `start` to `end`.
    pub fn begin(&mut self, start: u64, end: u64) {
        self.sequential = start == self.command_end;
        self.command_end = end;
        self.careful = false;
        self.failed = None;
        for fetch in &mut self.fetches {
            fetch.demanded = false;
        }
    }

    /// Whether the medium has all of a range, and can move it to guest memory.
    pub fn can_go_straight(&self, end: u64) -> bool {
        end <= self.len && self.medium.reaches_memory() && self.straight.is_empty()
    }

    /// Has the medium move a range to guest memory; gives a tag for [`arrived`](Self::arrived).
    pub fn go_straight(&mut self, offset: u64, segments: Vec<Segment>) -> u64 {
        let tag = self.new_tag();
        self.straight.push(tag);
        self.medium
            .submit(Request::new(Operation::Read, offset, segments, tag));
        tag
    }

    /// Whether what went to guest memory is there, or could not be read; `None` while the medium is at work.
    pub fn arrived(&mut self, tag: u64) -> Option<bool> {
        self.collect();
        self.straight_end
            .take_if(|(ended, _)| *ended == tag)
            .map(|(_, good)| good)
    }

    /// Whether nothing is on its way to guest memory.
    pub fn settled(&mut self) -> bool {
        self.collect();
        self.straight.is_empty()
    }

    /// Appends to `out`, which then ends at `*at` on the medium, until it holds `target` bytes. Beyond its end the medium reads as zeros.
    pub fn fill(&mut self, at: &mut u64, out: &mut Vec<u8>, target: usize) -> Filled {
        while let Some(want) = target.checked_sub(out.len()).filter(|want| *want > 0) {
            if *at >= self.len {
                out.resize(target, 0);
                *at = at.saturating_add(want as u64);
                break;
            }
            self.collect();
            if let Some(index) = self.pieces.iter().position(|p| p.offset <= *at && *at < p.end()) {
                *at += self.take(index, *at, out, want) as u64;
                continue;
            }
            if self.fetches.iter().any(|f| f.offset <= *at && *at < f.end) {
                self.read_ahead(*at);
                return Filled::Pending;
            }
            match self.failed.take() {
                Some(fetch) if fetch.offset == *at => {
                    if fetch.end - fetch.offset <= SECTOR_BYTES {
                        return Filled::Failed;
                    }
                    self.careful = true;
                }
                _ => {}
            }
            if !self.demand(*at) {
                return Filled::Pending;
            }
        }
        self.read_ahead(*at);
        Filled::Complete
    }

    /// Moves up to `want` bytes at `at` out of a piece; a piece that is wanted whole is not copied.
    fn take(&mut self, index: usize, at: u64, out: &mut Vec<u8>, want: usize) -> usize {
        let whole = self
            .pieces
            .get(index)
            .is_some_and(|p| p.offset == at && p.data.len() <= want);
        if whole && out.is_empty() {
            *out = self.pieces.remove(index).map(|p| p.data).unwrap_or_default();
            return out.len();
        }
        let rest = self
            .pieces
            .get(index)
            .and_then(|p| p.data.get((at - p.offset) as usize..))
            .unwrap_or_default();
        let taken = &rest[..rest.len().min(want)];
        out.extend_from_slice(taken);
        taken.len()
    }

    /// Fetches what the command needs at `at`, up to the next byte that is here or on its way.
    fn demand(&mut self, at: u64) -> bool {
        if self.fetches.len() >= REQUESTS {
            return false;
        }
        let most = if self.careful {
            SECTOR_BYTES - at % SECTOR_BYTES
        } else {
            PIECE
        };
        let end = self.command_end.min(self.len).min(at + most);
        let end = self
            .starts()
            .filter(|start| *start > at)
            .fold(end, u64::min)
            .max(at + 1);
        self.submit(at, end, true);
        true
    }

    /// Fetches the piece after what is here, if half a piece or less is left of it.
    fn read_ahead(&mut self, at: u64) {
        self.collect();
        if self.careful || self.fetches.len() >= 2 {
            return;
        }
        let mut end = at;
        while let Some(next) = self.ends_of(end) {
            end = next;
        }
        let limit = if self.sequential {
            self.len
        } else {
            self.command_end.min(self.len)
        };
        if end < limit && end - at <= PIECE / 2 {
            let stop = limit.min(end + PIECE);
            let stop = self.starts().filter(|start| *start > end).fold(stop, u64::min);
            self.submit(end, stop, false);
        }
    }

    /// First bytes of all that is here or on its way.
    fn starts(&self) -> impl Iterator<Item = u64> + '_ {
        let pieces = self.pieces.iter().map(|p| p.offset);
        pieces.chain(self.fetches.iter().map(|f| f.offset))
    }

    /// The end of what is here or on its way and holds the byte at `at`.
    fn ends_of(&self, at: u64) -> Option<u64> {
        let pieces = self.pieces.iter().map(|p| (p.offset, p.end()));
        pieces
            .chain(self.fetches.iter().map(|f| (f.offset, f.end)))
            .find(|(start, end)| *start <= at && at < *end)
            .map(|(_, end)| end)
    }

    fn submit(&mut self, offset: u64, end: u64, demanded: bool) {
        let tag = self.new_tag();
        self.fetches.push(Fetch {
            tag,
            offset,
            end,
            demanded,
        });
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize((end - offset) as usize, 0);
        self.medium
            .submit(Request::new(Operation::Read, offset, buffer, tag));
    }

    fn new_tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }

    /// Takes in what the medium has finished.
    fn collect(&mut self) {
        while let Some(completion) = self.medium.completed() {
            if let Data::Memory(_) = completion.data {
                self.straight.retain(|tag| *tag != completion.tag);
                self.straight_end = Some((completion.tag, completion.result.is_ok()));
                continue;
            }
            let Some(index) = self.fetches.iter().position(|f| f.tag == completion.tag) else {
                log::error!("a medium completed a request that it was not given");
                continue;
            };
            let fetch = self.fetches.swap_remove(index);
            let Completion { data, result, .. } = completion;
            let buffer = data.into_buffer();
            match result {
                Ok(()) if buffer.len() as u64 == fetch.end - fetch.offset => {
                    if self.pieces.len() >= PIECES {
                        let oldest = self.pieces.pop_front();
                        oldest.into_iter().for_each(|piece| self.recycle(piece.data));
                    }
                    self.pieces.push_back(Piece {
                        offset: fetch.offset,
                        data: buffer,
                    });
                }
                result => {
                    log::debug!("reading {} to {}: {result:?}", fetch.offset, fetch.end);
                    // What was read ahead in vain is read again when it is needed.
                    if fetch.demanded {
                        self.failed = Some(fetch);
                    }
                }
            }
        }
    }
}
