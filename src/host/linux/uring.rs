// SPDX-License-Identifier: Apache-2.0 OR MIT
//! io_uring.
//!
//! Soundness rests on one rule: a request's slices stay in its slot from the moment it is pushed to the kernel until the kernel's
//! completion of it was seen. Nothing else frees a slot; and if completions cannot be had any more, the slots are leaked.

use super::poll::Notifier;
use super::transfer;
use crate::host::ring::{Completion, Direction, Progress, Request, RingFile};
use io_uring::{IoUring, opcode, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// User data of the request that waits for the notifier.
const WAKE: u64 = u64::MAX;

/// With many requests under way the next ones are submitted together: each submission of its own is a call into the host of a
/// virtual disk, or a doorbell of a real one. So a wait is for a part of what is under way, but not for long.
const PART: usize = 4;
const MOST_TOGETHER: usize = 8;
const TOGETHER: Duration = Duration::from_micros(50);

/// The most bytes of one transfer; the kernel's own limit is just below 2 GiB.
const MAX_TRANSFER: usize = 1 << 30;

/// A ring of the kernel, with the requests that it has.
pub struct Uring {
    // Configuration.
    ring: IoUring,
    // State.
    slots: Vec<Slot>,
    free: Vec<u32>,
    under_way: usize,
    /// A poll of the notifier is under way.
    watching: bool,
    /// The kernel was told that one thread uses the ring.
    _thread: PhantomData<*const ()>,
}

#[derive(Default)]
struct Slot {
    request: Option<Request>,
    /// Kept from request to request for its room.
    vectors: Vec<libc::iovec>,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uring({} under way)", self.under_way)
    }
}

impl Uring {
    /// A ring for `depth` requests.
    pub fn new(depth: u16, files: &[RingFile]) -> io::Result<Self> {
        // One entry more, for the notifier. Completions always fit: there are twice as many of them.
        let entries = (u32::from(depth) + 1).next_power_of_two();
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .build(entries)
            // Kernels before 6.1 do not know all of these.
            .or_else(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => IoUring::new(entries),
                _ => Err(error),
            })?;
        let descriptors: Vec<_> = files.iter().map(|file| file.file.as_raw_fd()).collect();
        ring.submitter().register_files(&descriptors)?;
        Ok(Self {
            ring,
            slots: (0..depth).map(|_| Slot::default()).collect(),
            free: (0..u32::from(depth)).rev().collect(),
            under_way: 0,
            watching: false,
            _thread: PhantomData,
        })
    }

    /// Requests that were pushed and are not completed.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Takes a request, for which the caller has seen that there is room.
    pub fn push(&mut self, request: Request) {
        let Some(index) = self.free.pop() else {
            debug_assert!(false, "the caller pushes no more than there is room for");
            return;
        };
        self.under_way += 1;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.request = Some(request);
        }
        self.enqueue(index);
    }

    /// Puts what is left of a slot's request into the submission queue.
    fn enqueue(&mut self, index: u32) {
        let Some(Slot {
            request: Some(request),
            vectors,
        }) = self.slots.get_mut(index as usize)
        else {
            return;
        };
        let entry = build(request, vectors).user_data(u64::from(index));
        // SAFETY: the memory that the entry names is the request's slices and the slot's vectors. Both stay as they are until the
        // completion: slots are neither moved nor changed while they hold a request.
        unsafe { self.put(&entry) };
    }

    /// Queues an entry. There is one for each slot and one for the notifier, and none of them is queued twice at a time.
    ///
    /// # Safety
    /// The memory that the entry names stays as it is until its completion.
    unsafe fn put(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        let put = unsafe { self.ring.submission().push(entry) };
        debug_assert!(
            put.is_ok(),
            "the queue has an entry for everything that can be in it"
        );
    }

    /// Hands everything to the kernel.
    pub fn submit(&mut self, ready: &mut VecDeque<Completion>) -> io::Result<()> {
        if !self.ring.submission().is_empty() {
            self.enter(0)?;
        }
        self.reap(ready);
        Ok(())
    }

    /// Submits, and waits for some completions, or for a short time.
    fn enter_for_several(&mut self, want: usize) -> io::Result<()> {
        let time = types::Timespec::from(TOGETHER);
        let arguments = types::SubmitArgs::new().timespec(&time);
        match self.ring.submitter().submit_with_args(want, &arguments) {
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            result => calm(result),
        }
    }

    fn enter(&mut self, want: usize) -> io::Result<()> {
        calm(self.ring.submit_and_wait(want))
    }

    /// Takes the completions that are there.
    pub fn reap(&mut self, ready: &mut VecDeque<Completion>) {
        loop {
            let Some(entry) = self.ring.completion().next() else {
                return;
            };
            if entry.user_data() == WAKE {
                self.watching = false;
                continue;
            }
            let index = entry.user_data() as u32;
            let Some(slot) = self.slots.get_mut(index as usize) else {
                continue;
            };
            let Some(request) = &mut slot.request else {
                continue;
            };
            match request.step(moved(entry.result())) {
                Progress::Again => self.enqueue(index),
                Progress::Complete(result) => {
                    ready.push_back(Completion {
                        token: request.token,
                        result,
                    });
                    // The kernel is done with the memory.
                    slot.request = None;
                    self.free.push(index);
                    self.under_way -= 1;
                }
            }
        }
    }

    /// Waits until there is a completion, or until `wake` is raised.
    pub fn wait(&mut self, wake: Option<&Notifier>, ready: &mut VecDeque<Completion>) -> io::Result<()> {
        if let Some(wake) = wake
            && !self.watching
        {
            let poll = opcode::PollAdd::new(types::Fd(wake.as_raw_fd()), libc::POLLIN as u32);
            let entry = poll.build().user_data(WAKE);
            self.watching = true;
            // SAFETY: the entry names no memory.
            unsafe { self.put(&entry) };
        }
        let several = (self.under_way / PART).min(MOST_TOGETHER);
        if several > 1 && self.ring.params().is_feature_ext_arg() {
            self.enter_for_several(several)?;
        }
        loop {
            self.reap(ready);
            let woken = wake.is_some() && !self.watching;
            if !ready.is_empty() || self.under_way == 0 || woken {
                return Ok(());
            }
            self.enter(1)?;
        }
    }

    /// Waits for all that is under way. What cannot be waited for is never freed.
    pub fn drain(&mut self) {
        let mut dropped = VecDeque::new();
        while self.under_way > 0 {
            self.reap(&mut dropped);
            dropped.clear();
            if self.under_way > 0
                && let Err(error) = self.enter(1)
            {
                log::error!("requests under way cannot be waited for: {error}");
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
        }
    }
}

/// The bytes that a request has moved, from what the kernel says: that, or −errno.
fn moved(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Makes an end of a call that is no failure a good one: a signal, or that the kernel wants completions to be taken first. The
/// callers' loops do that.
fn calm(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)
            ) =>
        {
            Ok(())
        }
        result => result.map(drop),
    }
}

/// The entry for what is left of a request.
fn build(request: &Request, vectors: &mut Vec<libc::iovec>) -> squeue::Entry {
    let Some((direction, file, offset, slices)) = request.transfer() else {
        let file = types::Fixed(request.file() as u32);
        return opcode::Fsync::new(file)
            .flags(types::FsyncFlags::DATASYNC)
            .build();
    };
    let file = types::Fixed(file as u32);
    transfer::vectors(slices, request.done, vectors);
    match (direction, vectors.as_slice()) {
        (Direction::Read, [one]) => {
            let len = one.iov_len.min(MAX_TRANSFER) as u32;
            opcode::Read::new(file, one.iov_base.cast(), len)
                .offset(offset)
                .build()
        }
        (Direction::Write, [one]) => {
            let len = one.iov_len.min(MAX_TRANSFER) as u32;
            opcode::Write::new(file, one.iov_base.cast(), len)
                .offset(offset)
                .build()
        }
        (Direction::Read, all) => opcode::Readv::new(file, all.as_ptr(), all.len() as u32)
            .offset(offset)
            .build(),
        (Direction::Write, all) => opcode::Writev::new(file, all.as_ptr(), all.len() as u32)
            .offset(offset)
            .build(),
    }
}
