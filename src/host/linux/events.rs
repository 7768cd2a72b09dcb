// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The event loop, on event-manager (epoll).

use super::super::Subscriber;
use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint, SubscriberOps,
};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Waits for the sources of its subscribers and tells them.
pub struct EventLoop<S>(EventManager<Adapter<S>>);

/// Gets an [`EventLoop`] out of its wait, from any thread.
pub struct Waker<S>(RemoteEndpoint<Adapter<S>>);

impl<S: Subscriber> EventLoop<S> {
    /// A loop that serves `subscribers`.
    pub fn new(subscribers: Vec<S>) -> io::Result<Self> {
        let mut manager = EventManager::new().map_err(|error| failed(&error))?;
        for inner in subscribers {
            manager.add_subscriber(Adapter {
                inner,
                watched: Vec::new(),
            });
        }
        Ok(Self(manager))
    }

    /// For the thread that ends the loop.
    pub fn waker(&self) -> Waker<S> {
        Waker(self.0.remote_endpoint())
    }

    /// Waits until something is ready, for `timeout` at most, and serves it. Gives the number of ready sources.
    pub fn run(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let millis = timeout.map_or(-1, |timeout| timeout.as_millis().try_into().unwrap_or(i32::MAX));
        self.0.run_with_timeout(millis).map_err(|error| failed(&error))
    }
}

impl<S: Subscriber> Waker<S> {
    /// Wakes the loop. A loop that has gone needs no waking.
    pub fn wake(&self) {
        let _ = self.0.kick();
    }
}

fn failed(error: &event_manager::Error) -> io::Error {
    io::Error::other(error.to_string())
}

/// A subscriber with what epoll watches on its behalf.
struct Adapter<S> {
    inner: S,
    watched: Vec<RawFd>,
}

impl<S: Subscriber> Adapter<S> {
    /// Watches what the subscriber names now, and nothing else.
    fn update(&mut self, ops: &mut EventOps<'_>) {
        let wanted: Vec<RawFd> = self.inner.sources().iter().map(AsRawFd::as_raw_fd).collect();
        let mut result = Ok(());
        for fd in self.watched.iter().filter(|fd| !wanted.contains(fd)) {
            result = result.and(ops.remove(Events::new_raw(*fd, EventSet::IN)));
        }
        for fd in wanted.iter().filter(|fd| !self.watched.contains(fd)) {
            result = result.and(ops.add(Events::new_raw(*fd, EventSet::IN)));
        }
        self.watched = wanted;
        if let Err(error) = result {
            log::warn!("an input from outside ends: {error}");
        }
    }
}

impl<S: Subscriber> MutEventSubscriber for Adapter<S> {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        self.update(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        let fd = events.fd();
        if let Some(index) = self.watched.iter().position(|watched| *watched == fd) {
            self.inner.ready(index);
            self.update(ops);
        }
    }
}
