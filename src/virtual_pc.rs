// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Virtual PC object model: machines, drives, disks, ports, tasks and events, by the rules and with the result codes of Microsoft's
//! Virtual PC API.
//!
//! It is daemonless. [`VirtualPc`] and all that it gives are views of files: the list of machines and the options, a `.vmc` file a machine,
//! and a folder with locks and sockets for each machine that runs. A running machine is a process of its own. Each docstring names the
//! API's own name of the member; docs/api-coverage.md, which is made from them, lists what is there and what is not.

pub mod enums;
pub mod error;
pub mod hresult;
pub mod image_rules;
pub mod not_available;
#[cfg(test)]
mod reference;
pub mod vmc;

#[cfg(target_os = "linux")]
pub mod accountant;
#[cfg(target_os = "linux")]
pub mod application;
#[cfg(target_os = "linux")]
pub mod collection;
#[cfg(target_os = "linux")]
pub mod disk_images;
#[cfg(target_os = "linux")]
pub mod dvd;
#[cfg(target_os = "linux")]
pub mod event;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
pub mod floppy;
#[cfg(target_os = "linux")]
pub mod floppy_image;
#[cfg(target_os = "linux")]
pub mod hard_disk;
#[cfg(target_os = "linux")]
pub mod host_info;
#[cfg(target_os = "linux")]
pub mod instance;
#[cfg(target_os = "linux")]
pub mod machine;
#[cfg(target_os = "linux")]
mod media;
#[cfg(target_os = "linux")]
pub mod paths;
#[cfg(target_os = "linux")]
pub mod place;
#[cfg(target_os = "linux")]
pub mod places;
#[cfg(target_os = "linux")]
pub mod ports;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
mod space;
#[cfg(target_os = "linux")]
pub mod task;
#[cfg(target_os = "linux")]
pub mod view;

#[cfg(target_os = "linux")]
pub use application::VirtualPc;
pub use error::{Error, Result};
