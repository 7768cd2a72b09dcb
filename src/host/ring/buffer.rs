// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that the kernel may use while a request is under way.
//!
//! Requests use [`Slices`]: pieces of a [`Buffer`], or of guest memory. Each piece keeps the memory that it is a part of alive. As long
//! as there is one of a buffer, nobody gets at the buffer's bytes: so the kernel may read and write them at any time until the
//! request's completion, which drops its slices. Guest memory is the guest's as well, at any time, as it is for a real bus master; so
//! nobody ever has a reference to it. Two requests into the same bytes race in the kernel only, as on a real disk controller.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// An allocation that is reached by raw pointers only.
struct Allocation {
    base: NonNull<u8>,
    len: usize,
    layout: Layout,
}

// SAFETY: the allocation is owned by this value and has no thread of its own.
unsafe impl Send for Allocation {}
// SAFETY: shared references give nothing but the address; see `Buffer::bytes` for who may use it.
unsafe impl Sync for Allocation {}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.layout.size() != 0 {
            // SAFETY: `base` was allocated with this layout, and the last owner is going.
            unsafe { dealloc(self.base.as_ptr(), self.layout) }
        }
    }
}

/// Bytes for requests.
pub struct Buffer {
    memory: Arc<Allocation>,
}

impl Buffer {
    /// Zeros, at an address that is a multiple of `alignment`, a power of two.
    ///
    /// # Panics
    /// If the alignment is no power of two, or the length is beyond the address space.
    #[must_use]
    pub fn zeroed(len: usize, alignment: usize) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "callers pass constants and lengths of requests"
        )]
        let layout = Layout::from_size_align(len, alignment).expect("a length that memory has room for");
        let base = if len == 0 {
            layout.dangling_ptr()
        } else {
            // SAFETY: the layout's size is not zero.
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
        };
        let memory = Arc::new(Allocation { base, len, layout });
        Self { memory }
    }

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.len == 0
    }

    /// The bytes; `None` while a request uses any of them.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        let memory = Arc::get_mut(&mut self.memory)?;
        // SAFETY: the memory is initialised, `len` bytes long, and has no other owner, so no request that uses it is under way. The
        // borrow of `self` keeps slices from being made meanwhile.
        Some(unsafe { std::slice::from_raw_parts_mut(memory.base.as_ptr(), memory.len) })
    }

    /// All of it for a request.
    #[must_use]
    pub fn slices(&self) -> Slices {
        Slices::One(Slice {
            keeper: Keeper::Buffer(Arc::clone(&self.memory)),
            base: self.memory.base,
            len: self.memory.len,
        })
    }

    /// The bytes as the vector that the buffer was made from; `None` while a request uses any of them, and for aligned buffers.
    #[must_use]
    pub fn into_vec(self) -> Option<Vec<u8>> {
        let memory = Arc::into_inner(self.memory)?;
        if memory.layout.align() != 1 {
            return None;
        }
        let memory = ManuallyDrop::new(memory);
        // SAFETY: a layout with alignment one comes from a vector of this capacity, whose first `len` bytes are initialised, or from
        // `zeroed`, which allocates in the same way; and nobody frees it any more.
        Some(unsafe { Vec::from_raw_parts(memory.base.as_ptr(), memory.len, memory.layout.size()) })
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = ManuallyDrop::new(bytes);
        #[expect(clippy::expect_used, reason = "a vector of that capacity exists")]
        let layout = Layout::array::<u8>(bytes.capacity()).expect("the layout of a vector");
        let base = NonNull::from(bytes.as_mut_slice()).cast();
        let len = bytes.len();
        let memory = Arc::new(Allocation { base, len, layout });
        Self { memory }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// What a slice is a part of, and keeps alive.
#[derive(Clone)]
#[expect(dead_code, reason = "they are held, not looked at")]
enum Keeper {
    Buffer(Arc<Allocation>),
    Guest(Arc<GuestMemoryMmap>),
}

/// A part of a [`Buffer`], or of guest memory, that a request uses.
pub struct Slice {
    keeper: Keeper,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory that the slice keeps may be used from any thread: see the module. A slice gives nobody a reference to it.
unsafe impl Send for Slice {}
// SAFETY: as above.
unsafe impl Sync for Slice {}

impl Slice {
    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is, for the kernel. What is there is valid for as long as the slice lives.
    pub(in crate::host) fn address(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The bytes from `start` on, `len` of them at most.
    fn part(&self, start: usize, len: usize) -> Self {
        let start = start.min(self.len);
        Self {
            keeper: self.keeper.clone(),
            // SAFETY: `start` is inside of the memory, or at its end.
            base: unsafe { self.base.add(start) },
            len: len.min(self.len - start),
        }
    }

    /// The bytes, for copies that others may get in the way of.
    fn bytes(&self) -> VolatileSlice<'_> {
        // SAFETY: the memory is valid for as long as the slice, which is borrowed, and nobody has a reference to it.
        unsafe { VolatileSlice::new(self.base.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.len)
    }
}

/// The memory of one request, in the order of the file's bytes. One piece is the rule, and costs no allocation.
#[derive(Debug)]
pub enum Slices {
    /// All of it in one piece.
    One(Slice),
    /// In several, or none.
    Many(Vec<Slice>),
}

impl Default for Slices {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Slices {
    /// Pieces of guest memory, by their addresses and lengths in bytes; `None` if a part of them is no memory.
    #[must_use]
    pub fn guest(
        memory: &Arc<GuestMemoryMmap>,
        pieces: impl IntoIterator<Item = (u64, u64)>,
    ) -> Option<Self> {
        let mut slices = Self::default();
        for (address, len) in pieces {
            for slice in memory.get_slices(GuestAddress(address), usize::try_from(len).ok()?) {
                let slice = slice.ok()?;
                slices.push(Slice {
                    keeper: Keeper::Guest(Arc::clone(memory)),
                    base: NonNull::new(slice.ptr_guard_mut().as_ptr())?,
                    len: slice.len(),
                });
            }
        }
        Some(slices)
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().iter().map(Slice::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all addresses, and all lengths, are multiples of `alignment`, or there is but one piece and its address is.
    #[must_use]
    pub fn is_aligned(&self, alignment: usize) -> bool {
        let alignment = alignment.max(1);
        let at = |slice: &Slice| slice.address().addr().is_multiple_of(alignment);
        match self {
            Self::One(slice) => at(slice),
            Self::Many(slices) => slices
                .iter()
                .all(|slice| at(slice) && slice.len.is_multiple_of(alignment)),
        }
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Slice] {
        match self {
            Self::One(slice) => std::slice::from_ref(slice),
            Self::Many(slices) => slices,
        }
    }

    /// One more behind them.
    pub fn push(&mut self, slice: Slice) {
        match std::mem::take(self) {
            Self::Many(slices) if slices.is_empty() => *self = Self::One(slice),
            Self::Many(mut slices) => {
                slices.push(slice);
                *self = Self::Many(slices);
            }
            Self::One(first) => *self = Self::Many(vec![first, slice]),
        }
    }

    /// Some of the bytes; fewer if there are not that many.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        let (mut skip, mut left) = (range.start, range.len());
        for slice in self.as_slice() {
            let lead = skip.min(slice.len);
            skip -= lead;
            let len = left.min(slice.len - lead);
            left -= len;
            if len > 0 {
                part.push(slice.part(lead, len));
            }
        }
        part
    }

    /// Makes all bytes zeros.
    pub fn zero(&self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        for slice in self.as_slice() {
            let bytes = slice.bytes();
            for at in (0..slice.len).step_by(ZEROS.len()) {
                let len = ZEROS.len().min(slice.len - at);
                // Cannot fail: the range is inside.
                let _ = bytes.write_slice(&ZEROS[..len], at);
            }
        }
    }

    /// Fills `buffer`, as far as there are bytes.
    pub fn copy_to(&self, mut buffer: &mut [u8]) {
        for slice in self.as_slice() {
            let (now, later) = buffer.split_at_mut(slice.len.min(buffer.len()));
            let _ = slice.bytes().read_slice(now, 0);
            buffer = later;
        }
    }

    /// Copies `data` here, as far as there is room.
    pub fn copy_from(&self, mut data: &[u8]) {
        for slice in self.as_slice() {
            let (now, later) = data.split_at(slice.len.min(data.len()));
            let _ = slice.bytes().write_slice(now, 0);
            data = later;
        }
    }
}

impl From<Slice> for Slices {
    fn from(slice: Slice) -> Self {
        Self::One(slice)
    }
}
