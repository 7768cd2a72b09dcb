// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image at work in a drive.
//!
//! A request that the host's page cache can answer is done at once, on the thread that brings it, because it costs less than telling
//! another thread. Everything that might wait for a disk goes to the medium's own thread, which keeps many requests under way at a
//! time ([`Engine`](super::engine::Engine)); when some are done, their completions are put where the drive finds them, and the drive's
//! controller is called. So a processor never waits for a disk, and a slow image holds up nobody else.
//!
//! Requests that name guest memory are moved there by the host's kernel, without a copy on the way.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`attendance`] | when the thread looks after the drive |
//! | [`live`] | an image that is open: its thread, and the ways to it |
//! | [`shortcut`] | what the page cache answers |
//! | [`worker`] | the thread |

use super::{Error, Image};
use crate::memory::Dma;
use devices::block::{Completion, Medium, MediumError, MediumInfo, Request};
use devices::bus::lock;
use live::Live;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

mod attendance;
mod live;
mod shortcut;
#[cfg(test)]
mod tests;
mod worker;

/// Called when a medium has completed something: tells the drive's controller to look. It runs on the medium's thread, and may
/// take the controller's lock.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

type Done = Arc<Mutex<VecDeque<Completion>>>;

/// An image in a drive. Dropping it carries out what is still queued, flushes, and closes the image; that may take a while and must
/// not happen under the controller's lock.
pub struct DiskMedium {
    info: MediumInfo,
    seat: Arc<Seat>,
}

/// What a medium and its [`Handle`] share.
struct Seat {
    path: PathBuf,
    dma: Option<Arc<Dma>>,
    waker: Waker,
    done: Done,
    state: Mutex<State>,
}

enum State {
    /// The image is open.
    Live(Live),
    /// The image is closed to be changed as a whole; these wait until it is open again.
    Closed(Vec<Request>),
    /// There is no image any more.
    Gone,
}

impl DiskMedium {
    pub(super) fn new(image: Image, waker: Waker) -> Result<Self, Error> {
        let info = image.info.clone();
        let path = image.path.clone();
        let dma = image.dma.clone();
        let done = Done::default();
        let live = Live::start(image, &done, &waker)?;
        let seat = Seat {
            path,
            dma,
            waker,
            done,
            state: Mutex::new(State::Live(live)),
        };
        Ok(Self {
            info,
            seat: Arc::new(seat),
        })
    }

    /// For what is done to the image while it is in the drive.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.seat))
    }
}

impl Medium for DiskMedium {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn reaches_memory(&self) -> bool {
        self.seat.dma.is_some()
    }

    fn submit(&mut self, request: Request) {
        self.seat.submit(request);
    }

    fn attend(&mut self, found: usize) -> bool {
        match &mut *lock(&self.seat.state) {
            State::Live(live) => live.attend(found),
            State::Closed(_) | State::Gone => false,
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        let completion = lock(&self.seat.done).pop_front();
        if completion.is_none()
            && let State::Live(live) = &mut *lock(&self.seat.state)
        {
            live.looked_at();
        }
        completion
    }
}

impl Drop for DiskMedium {
    fn drop(&mut self) {
        self.seat.leave();
    }
}

impl Seat {
    fn submit(&self, request: Request) {
        let refused = match &mut *lock(&self.state) {
            State::Live(live) => live.submit(request, self.dma.as_deref(), &self.done),
            State::Closed(waiting) => {
                waiting.push(request);
                None
            }
            State::Gone => Some(request),
        };
        if let Some(request) = refused {
            lock(&self.done).push_back(request.complete(Err(MediumError::Io)));
        }
    }

    /// Closes the image, for good.
    fn leave(&self) {
        // Not under the lock: to close takes a while.
        let state = std::mem::replace(&mut *lock(&self.state), State::Gone);
        match state {
            State::Live(live) => drop(live),
            State::Closed(waiting) => self.refuse(waiting),
            State::Gone => {}
        }
    }

    fn refuse(&self, requests: Vec<Request>) {
        let refused = requests.into_iter().map(|r| r.complete(Err(MediumError::Io)));
        lock(&self.done).extend(refused);
    }

    /// Puts a state in the place of [`State::Closed`], and does what waited.
    fn open(&self, state: State) {
        let before = {
            let mut place = lock(&self.state);
            match *place {
                State::Closed(_) => std::mem::replace(&mut *place, state),
                // The medium has left the drive meanwhile. What is dropped here closes the image again.
                State::Live(_) | State::Gone => state,
            }
        };
        if let State::Closed(waiting) = before {
            waiting.into_iter().for_each(|request| self.submit(request));
            (self.waker)();
        }
    }
}

/// A medium as those see it who do something to its image while it is in a drive.
#[derive(Clone)]
pub struct Handle(Weak<Seat>);

impl Handle {
    /// Makes all that the drive has written durable, while it does not write. Waits for the host's disk.
    ///
    /// # Errors
    /// [`Error::Flush`].
    pub fn flush(&self) -> Result<(), Error> {
        let Some(seat) = self.0.upgrade() else {
            return Ok(());
        };
        let flushed = match &*lock(&seat.state) {
            State::Live(live) => live.flush(),
            State::Closed(_) | State::Gone => Ok(()),
        };
        flushed.map_err(|source| Error::Flush {
            path: seat.path.clone(),
            source: Box::new(source),
        })
    }

    /// Makes the disk larger, to `size` bytes, and says how it is now. Requests that come meanwhile wait: for raw and dynamic images a few
    /// milliseconds, for others until they are written anew.
    ///
    /// # Errors
    /// [`Error::Smaller`], [`Error::Resize`], [`Error::Left`], and the disk is as it was; [`Error::Open`] or [`Error::Thread`] if the image
    /// cannot be opened again, and then all requests fail.
    pub fn grow(&self, size: u64) -> Result<MediumInfo, Error> {
        let Some(seat) = self.0.upgrade() else {
            return Err(Error::Left);
        };
        let path = seat.path.clone();
        let refused = |source| Error::Resize {
            path: path.clone(),
            source: Box::new(source),
        };
        let live = {
            let mut state = lock(&seat.state);
            match std::mem::replace(&mut *state, State::Closed(Vec::new())) {
                State::Live(live) if live.len() < size => live,
                State::Live(live) => {
                    let len = live.len();
                    *state = State::Live(live);
                    return Err(Error::Smaller { path, len });
                }
                other => {
                    *state = other;
                    return Err(Error::Left);
                }
            }
        };
        // What is under way ends, and the drive hears of it; then the image is closed.
        drop(live);
        let grown = vhd::resize::resize(&path, size, &super::options(), &vhd::Watch::default());
        let again = Image::open(&path, super::Purpose::HardDisk).and_then(|mut image| {
            image.dma = seat.dma.clone();
            let info = image.info.clone();
            Ok((info, Live::start(image, &seat.done, &seat.waker)?))
        });
        match again {
            Ok((info, live)) => {
                seat.open(State::Live(live));
                grown.map(|()| info).map_err(refused)
            }
            Err(error) => {
                seat.open(State::Gone);
                Err(error)
            }
        }
    }
}
