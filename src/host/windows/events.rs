// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The event loop, on `WaitForMultipleObjects`: a machine has some ten sources, and 64 are the most.

use super::super::{AsSource, Subscriber};
use super::wait::{Interest, Notifier, wait};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Waits for the sources of its subscribers and tells them.
pub struct EventLoop<S> {
    subscribers: Vec<S>,
    wake: Arc<Notifier>,
}

/// Gets an [`EventLoop`] out of its wait, from any thread.
pub struct Waker<S>(Arc<Notifier>, PhantomData<fn(S)>);

impl<S: Subscriber> EventLoop<S> {
    /// A loop that serves `subscribers`.
    pub fn new(subscribers: Vec<S>) -> io::Result<Self> {
        Ok(Self {
            subscribers,
            wake: Arc::new(Notifier::new()?),
        })
    }

    /// For the thread that ends the loop.
    pub fn waker(&self) -> Waker<S> {
        Waker(self.wake.clone(), PhantomData)
    }

    /// Waits until something is ready, for `timeout` at most, and serves it. Gives the number of ready sources.
    pub fn run(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut places = Vec::new();
        let mut sources = vec![(self.wake.as_source(), Interest::Read)];
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            for (index, source) in subscriber.sources().into_iter().enumerate() {
                places.push((number, index));
                sources.push((source, Interest::Read));
            }
        }
        let ready = wait(&sources, timeout)?;
        let (woken, ready) = ready.split_first().map_or((false, &[][..]), |(w, r)| (*w, r));
        if woken {
            self.wake.clear();
        }
        let ready: Vec<_> = places
            .into_iter()
            .zip(ready)
            .filter_map(|(place, ready)| ready.then_some(place))
            .collect();
        for (number, index) in &ready {
            if let Some(subscriber) = self.subscribers.get_mut(*number) {
                subscriber.ready(*index);
            }
        }
        Ok(ready.len())
    }
}

impl<S: Subscriber> Waker<S> {
    /// Wakes the loop.
    pub fn wake(&self) {
        self.0.notify();
    }
}
