// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What passes through the FIFO in non-DMA mode.
//!
//! The host finds RQM set as long as there is something to move; what the FIFO's depth and threshold do is cut the transfer into
//! pieces, each with an interrupt of its own.

/// Which way the host moves bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Direction {
    /// The host reads.
    In,
    /// The host writes.
    Out,
}

/// A piece of data and how much of it has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FifoBuffer {
    direction: Direction,
    #[serde(with = "crate::snapshot::hex")]
    data: Vec<u8>,
    passed: usize,
}

use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

impl FifoBuffer {
    /// Refuses a buffer that is not of `len` bytes.
    pub fn check(&self, len: usize) -> Result<(), BadState> {
        must(
            self.data.len() == len && self.passed <= len,
            "a buffer of another size than the floppy controller's",
        )
    }

    /// `data` for the host to read.
    pub fn to_host(data: Vec<u8>) -> Self {
        Self {
            direction: Direction::In,
            data,
            passed: 0,
        }
    }

    /// Room for `len` bytes from the host.
    pub fn from_host(len: usize) -> Self {
        Self {
            direction: Direction::Out,
            data: vec![0; len],
            passed: 0,
        }
    }

    /// Which way the next byte goes; `None` when all have passed.
    pub fn wants(&self) -> Option<Direction> {
        (!self.is_done()).then_some(self.direction)
    }

    /// All bytes have passed.
    pub fn is_done(&self) -> bool {
        self.passed >= self.data.len()
    }

    /// Bytes that have passed.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// The next byte for the host.
    pub fn take(&mut self) -> u8 {
        let byte = self.data.get(self.passed).copied().unwrap_or(0);
        self.passed += 1;
        byte
    }

    /// The next byte from the host.
    pub fn put(&mut self, byte: u8) {
        if let Some(place) = self.data.get_mut(self.passed) {
            *place = byte;
        }
        self.passed += 1;
    }

    /// What the host has written.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}
