// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Character back ends for serial and parallel ports and the debug console.
//!
//! ```text
//!   guest ── SerialPort ── Output ═ bounded queue ═ writer thread ── far end
//!                 ╰────── Attachment (event loop) ── Input ────────── far end
//! ```
//!
//! - A [`Spec`] says where the characters go, as `--serial` takes it.
//! - [`Backend::open`] makes the two halves of it: an [`Output`] to write to, which never makes a processor wait, and, where the far
//!   end can send, an [`Input`].
//! - [`SerialPort`] is a 16550A on a bus and an interrupt wire.
//! - [`Attachment`] feeds an [`Input`] to a port from an event loop, as fast as the guest reads it.

mod attachment;
mod backend;
mod escape;
mod output;
mod serial;
mod spec;

pub use attachment::{Attachment, Receiver};
pub use backend::{Backend, Input, OpenError, Received};
pub use output::{Drain, Output};
pub use serial::SerialPort;
pub use spec::{Spec, SpecError};
