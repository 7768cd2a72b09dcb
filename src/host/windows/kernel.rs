// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernels without firmware: the crate that reads them does not build on Windows, so machines here start by firmware.

use crate::boot::{DirectKernel, Error};
use crate::hypervisor::FlatEntry;
use crate::memory::Layout;
use vm_memory::GuestMemoryMmap;

/// Fails.
pub fn load(
    _ram: &GuestMemoryMmap,
    _layout: Layout,
    direct: &DirectKernel,
    _rsdp: Option<u64>,
) -> Result<FlatEntry, Error> {
    Err(no_loader(direct))
}

/// Fails.
pub fn rehearse(_layout: Layout, direct: &DirectKernel) -> Result<(), Error> {
    Err(no_loader(direct))
}

fn no_loader(direct: &DirectKernel) -> Error {
    Error::NoLoader {
        path: direct.kernel.clone(),
    }
}
