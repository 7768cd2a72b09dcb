// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starting a kernel without firmware. The formats are read by the crate linux-loader, which is for Unix-like hosts only, so what
//! loads a kernel stands in the host layer ([`load`]).

pub use crate::host::kernel::{load, rehearse};
use std::io;
use std::path::PathBuf;

/// A kernel to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectKernel {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The command line.
    pub command_line: String,
}

/// A kernel could not be laid into memory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{path}: cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no kernel.
    #[error("{path}: neither a Linux bzImage nor an ELF kernel with a PVH entry ({detail})")]
    NotAKernel {
        /// Which.
        path: PathBuf,
        /// What the loaders said.
        detail: String,
    },
    /// The file is a kernel, but not all of it.
    #[error("{path}: the kernel is damaged or cut short ({detail})")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// It does not fit.
    #[error(
        "{path}: needs {needed} MiB of memory below 3 GiB, and the machine has {have} MiB (see --memory)"
    )]
    TooLittleMemory {
        /// Kernel or initial RAM disk.
        path: PathBuf,
        /// Needed, in MiB.
        needed: u64,
        /// There is.
        have: u64,
    },
    /// The command line is too long.
    #[error("the kernel's command line has {len} bytes; {path} takes at most {most}")]
    CommandLine {
        /// The kernel.
        path: PathBuf,
        /// Its length.
        len: usize,
        /// The kernel's limit.
        most: usize,
    },
    /// This host's back end has no loader.
    #[error(
        "{path}: a kernel cannot be started without firmware on this system: put it on a disk or a diskette that can be booted"
    )]
    NoLoader {
        /// Which.
        path: PathBuf,
    },
    /// A write to guest memory failed, which the checks above rule out.
    #[error("guest memory cannot be written")]
    Memory(#[from] vm_memory::GuestMemoryError),
}
