// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The place of the kernel's ring, which is not used here: all rings are blocking ones.

use super::wait::Notifier;
use crate::host::ring::{Completion, Request, RingFile};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;

/// There is none.
#[derive(Debug)]
pub struct Uring(Infallible);

impl Uring {
    pub fn new(_depth: u16, _files: &[RingFile]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn under_way(&self) -> usize {
        match self.0 {}
    }

    pub fn push(&mut self, _request: Request) {
        match self.0 {}
    }

    pub fn submit(&mut self, _ready: &mut VecDeque<Completion>) -> io::Result<()> {
        match self.0 {}
    }

    pub fn reap(&mut self, _ready: &mut VecDeque<Completion>) {
        match self.0 {}
    }

    pub fn wait(&mut self, _wake: Option<&Notifier>, _ready: &mut VecDeque<Completion>) -> io::Result<()> {
        match self.0 {}
    }

    pub fn drain(&mut self) {
        match self.0 {}
    }
}
