// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual hard disk images: fixed, dynamic and differencing VHD chains, and raw disks.
//!
//! ```no_run
//! # fn main() -> vhd::Result<()> {
//! vhd::create::dynamic("/vm/base.vhd", 10 << 30, &vhd::CreateOptions::default())?;
//! vhd::create::differencing("/vm/child.vhd", "/vm/base.vhd", &vhd::CreateOptions::default())?;
//! let disk = vhd::Disk::open("/vm/child.vhd", &vhd::OpenOptions::new())?;
//! disk.write_at(0, b"boot")?;
//! disk.flush()?;
//! # Ok(())
//! # }
//! ```
//!
//! Source: Microsoft, Virtual Hard Disk Image Format Specification, version 1.0.
//!
//! What a reader of the code wants to know first: [`mod@format`] has the structures; `image` says what makes an image
//! sound; `chain` finds, reads and writes the disk's content, and its `flush` part has the order of all writes.
#![forbid(unsafe_code)]

mod buffer;
mod chain;
pub mod check;
pub mod compact;
pub mod compare;
pub mod convert;
pub mod create;
mod disk;
mod draft;
mod error;
pub mod format;
mod geometry;
mod image;
pub mod map;
pub mod merge;
pub mod relink;
pub mod resize;
mod rewrite;
pub mod rules;
pub mod storage;
pub mod task;
pub mod testing;
mod transfer;

pub use chain::ReadGuard;
pub use chain::extent::{Extent, Source};
pub use chain::write::{WriteExtent, WriteTicket};
pub use create::CreateOptions;
pub use disk::{Disk, Layer, OpenOptions};
pub use error::{Damage, Error, Kind, Result, Structure};
pub use geometry::Geometry;
pub use image::{Format, Notice};
pub use merge::MergeOptions;
pub use storage::Storage;
pub use task::{Task, Watch};
