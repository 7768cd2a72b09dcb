// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that the kernel may use while a request is under way.
//!
//! A [`Buffer`] is owned by one place; the parts of it that requests use are [`Slice`]s. Each slice keeps the memory alive, and as
//! long as there is one, nobody gets at the bytes: so the kernel may read and write them at any time until the request's
//! completion, which drops its slices. Two requests into the same bytes race in the kernel only, as on a real disk controller.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// An allocation that is reached by raw pointers only.
struct Memory {
    base: NonNull<u8>,
    len: usize,
    layout: Layout,
}

// SAFETY: the allocation is owned by this value and has no thread of its own.
unsafe impl Send for Memory {}
// SAFETY: shared references give nothing but the address; see `Buffer::bytes` for who may use it.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.layout.size() != 0 {
            // SAFETY: `base` was allocated with this layout, and the last owner is going.
            unsafe { dealloc(self.base.as_ptr(), self.layout) }
        }
    }
}

/// Bytes for requests.
pub struct Buffer {
    memory: Arc<Memory>,
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
        let memory = Arc::new(Memory { base, len, layout });
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

    /// Whether its address is a multiple of `alignment`.
    #[must_use]
    pub fn is_aligned(&self, alignment: usize) -> bool {
        self.memory.base.addr().get().is_multiple_of(alignment.max(1))
    }

    /// The bytes; `None` while a request uses any of them.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        let memory = Arc::get_mut(&mut self.memory)?;
        // SAFETY: the memory is initialised, `len` bytes long, and has no other owner, so no request that uses it is under way. The
        // borrow of `self` keeps slices from being made meanwhile.
        Some(unsafe { std::slice::from_raw_parts_mut(memory.base.as_ptr(), memory.len) })
    }

    /// A part of it for a request; `None` if it does not have that part.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Slice> {
        (range.start <= range.end && range.end <= self.memory.len).then(|| Slice {
            memory: Arc::clone(&self.memory),
            start: range.start,
            len: range.end - range.start,
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
        let memory = Arc::new(Memory { base, len, layout });
        Self { memory }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

/// A part of a [`Buffer`] that a request uses.
pub struct Slice {
    memory: Arc<Memory>,
    start: usize,
    len: usize,
}

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

    /// Whether its address is a multiple of `alignment`.
    #[must_use]
    pub fn is_aligned(&self, alignment: usize) -> bool {
        self.address().addr().is_multiple_of(alignment.max(1))
    }

    /// Where it is, for the kernel. What is there is valid for as long as the slice lives.
    pub(in crate::host) fn address(&self) -> *mut u8 {
        // SAFETY: `start` is inside of the allocation, or at its end.
        unsafe { self.memory.base.as_ptr().add(self.start) }
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({}+{})", self.start, self.len)
    }
}

/// The slices of one request, in the order of the file's bytes. One is the rule, and costs no allocation.
#[derive(Debug)]
pub enum Slices {
    /// All of it in one piece.
    One(Slice),
    /// In several.
    Many(Vec<Slice>),
}

impl Slices {
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
        match self {
            Self::Many(slices) => slices.push(slice),
            Self::One(_) => {
                let Self::One(first) = std::mem::replace(self, Self::Many(Vec::with_capacity(8))) else {
                    return;
                };
                if let Self::Many(slices) = self {
                    slices.extend([first, slice]);
                }
            }
        }
    }
}

impl From<Slice> for Slices {
    fn from(slice: Slice) -> Self {
        Self::One(slice)
    }
}
