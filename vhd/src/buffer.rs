// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory for large reads and writes.

use std::ops::{Deref, DerefMut};

/// What hosts' pages, and the copies of whole pages that a file's cache does, are aligned to.
const PAGE: usize = 4096;

/// Bytes that begin on a page. Copying to and from a file's cache takes half the time that it takes with bytes that begin
/// just behind a border, as those of large vectors do.
#[derive(Debug)]
pub(crate) struct PageBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl PageBuffer {
    /// With so many bytes, all of them zero.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        // Where the border cannot be told, any start is as good as another.
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self { bytes, start, len }
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.start..self.start + self.len)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_on_a_page_and_has_its_length() {
        for len in [0, 1, 4095, 4096, 1 << 20] {
            let mut buffer = PageBuffer::new(len);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % PAGE), (len, 0));
            buffer.fill(7);
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
    }
}
