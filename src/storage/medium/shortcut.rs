// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the page cache answers at once, and a request's data as memory for transfers.

use crate::host::open_again;
use crate::host::ring::{Buffer, CachedFile, Slices};
use crate::memory::Dma;
use devices::block::{Data, Request};
use std::io;
use std::sync::Arc;

/// Reads from the page cache.
pub(super) struct Shortcut {
    disk: Arc<vhd::Disk>,
    /// One a layer.
    files: Vec<CachedFile>,
    /// Kept for its room.
    extents: Vec<vhd::Extent>,
}

impl Shortcut {
    /// `None` for images without files.
    pub(super) fn new(disk: &Arc<vhd::Disk>) -> io::Result<Option<Self>> {
        let mut files = Vec::new();
        for layer in 0..disk.layers().len() {
            let storage = disk.storage(layer);
            let Some(file) = storage.as_ref().and_then(|storage| storage.file()) else {
                return Ok(None);
            };
            files.push(CachedFile::new(
                open_again(file, false).or_else(|_| file.try_clone())?,
            ));
        }
        Ok(Some(Self {
            disk: disk.clone(),
            files,
            extents: Vec::new(),
        }))
    }

    /// Does a read if that needs nothing but memory; false if not, and then part of its data may have changed. An error if it is the same
    /// for all requests.
    pub(super) fn carry_out(&mut self, request: &mut Request, dma: Option<&Dma>) -> io::Result<bool> {
        let Some(lent) = Lent::of(&mut request.data, dma) else {
            return Ok(false);
        };
        let done = self.read(request.offset, &lent.memory);
        lent.give_back(&mut request.data);
        done
    }

    fn read(&mut self, start: u64, memory: &Slices) -> io::Result<bool> {
        self.extents.clear();
        let end = start.saturating_add(memory.len() as u64);
        // What cannot be is the thread's to say.
        let Ok(Some(_guard)) = self.disk.resolve_known(start..end, &mut self.extents) else {
            return Ok(false);
        };
        if let [whole] = self.extents.as_slice() {
            return self.read_extent(whole, memory);
        }
        for extent in &self.extents {
            let from = (extent.offset - start) as usize;
            if !self.read_extent(extent, &memory.part(from..from + extent.len as usize))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_extent(&self, extent: &vhd::Extent, memory: &Slices) -> io::Result<bool> {
        match extent.source {
            vhd::Source::Zero => {
                memory.zero();
                Ok(true)
            }
            vhd::Source::File { layer, offset } => match self.files.get(layer) {
                Some(file) => file.read(offset, memory),
                None => Ok(false),
            },
        }
    }
}

/// A request's data as memory that transfers can use.
pub(super) struct Lent {
    pub(super) memory: Slices,
    /// What the memory is a part of, if it is the request's own.
    pub(super) buffer: Option<Buffer>,
}

impl Lent {
    /// `None` if the data lies where there is no memory.
    pub(super) fn of(data: &mut Data, dma: Option<&Dma>) -> Option<Self> {
        match data {
            Data::Buffer(buffer) => {
                let buffer = Buffer::from(std::mem::take(buffer));
                Some(Self {
                    memory: buffer.slices(),
                    buffer: Some(buffer),
                })
            }
            Data::Memory(segments) => Some(Self {
                memory: dma?.slices(segments)?,
                buffer: None,
            }),
        }
    }

    /// Transfers do not use it any more.
    pub(super) fn give_back(self, data: &mut Data) {
        drop(self.memory);
        if let Some(buffer) = self.buffer {
            *data = Data::Buffer(buffer.into_vec().unwrap_or_default());
        }
    }
}
