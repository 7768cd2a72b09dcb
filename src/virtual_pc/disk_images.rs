// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making hard disks' images: the members of `IVMVirtualPC` that make them. Their rules stand in [`vhd::rules`], their codes in
//! [`super::image_rules`].

use super::application::VirtualPc;
use super::error::{Error, Result};
use super::hresult::HResult;
use super::task::{Cancelling, Task};
use crate::storage;
use vhd::rules::{Application, Factory, Plan, Refusal};

fn refused(refusal: &Refusal) -> Error {
    Error::new(HResult::from(refusal), storage::chain(refusal))
}

impl VirtualPc {
    /// `IVMVirtualPC::CreateDynamicVirtualHardDisk`: makes an image that grows, of a disk of `megabytes`. Its folder is made if it is not there.
    ///
    /// # Errors
    /// At once the documented ones; by the task what the host says meanwhile.
    pub fn create_dynamic_virtual_hard_disk(&self, path: Option<&str>, megabytes: i32) -> Result<Task> {
        self.make(factory().dynamic(path, megabytes))
    }

    /// `IVMVirtualPC::CreateFixedVirtualHardDisk`: makes an image that has its full size from the start.
    ///
    /// # Errors
    /// As [`Self::create_dynamic_virtual_hard_disk`].
    pub fn create_fixed_virtual_hard_disk(&self, path: Option<&str>, megabytes: i32) -> Result<Task> {
        self.make(factory().fixed(path, megabytes))
    }

    /// `IVMVirtualPC::CreateDifferencingVirtualHardDisk`: makes an image that holds what differs from its parent. One of the paths may be
    /// relative, to the folder of the other.
    ///
    /// # Errors
    /// As [`Self::create_dynamic_virtual_hard_disk`].
    pub fn create_differencing_virtual_hard_disk(
        &self,
        path: Option<&str>,
        parent: Option<&str>,
    ) -> Result<Task> {
        self.make(factory().differencing(path, parent))
    }

    fn make(&self, plan: std::result::Result<Plan, Refusal>) -> Result<Task> {
        let plan = plan.map_err(|refusal| refused(&refusal))?;
        let description = format!("create {}", plan.image().display());
        let task = Task::start(self.places(), description, Cancelling::Impossible, move |_| {
            plan.create().map_err(|refusal| refused(&refusal))
        })?;
        self.keep(&task);
        Ok(task)
    }
}

/// Images are made with or without virtualization: only machines need it.
fn factory() -> Factory {
    Factory::new(Application::Running, storage::file_system())
}
