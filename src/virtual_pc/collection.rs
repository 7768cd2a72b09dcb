// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Collections: what `IVM...Collection` interfaces give.

use super::error::{Error, Result};
use super::hresult;

/// Items as they were when they were asked for.
///
/// `IVMVirtualMachineCollection::_NewEnum`, `IVMDVDDriveCollection::_NewEnum`, `IVMFloppyDriveCollection::_NewEnum`,
/// `IVMHardDiskConnectionCollection::_NewEnum`, `IVMSerialPortCollection::_NewEnum`, `IVMParallelPortCollection::_NewEnum` and
/// `IVMTaskCollection::_NewEnum` are its [`IntoIterator`].
#[derive(Debug, Clone)]
pub struct Collection<T>(Vec<T>);

impl<T> Collection<T> {
    /// `IVMVirtualMachineCollection::Count`, `IVMDVDDriveCollection::Count`, `IVMFloppyDriveCollection::Count`,
    /// `IVMHardDiskConnectionCollection::Count`, `IVMSerialPortCollection::Count`, `IVMParallelPortCollection::Count`,
    /// `IVMTaskCollection::Count`: how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// `IVMVirtualMachineCollection::Item`, `IVMDVDDriveCollection::Item`, `IVMFloppyDriveCollection::Item`,
    /// `IVMHardDiskConnectionCollection::Item`, `IVMSerialPortCollection::Item`, `IVMParallelPortCollection::Item`,
    /// `IVMTaskCollection::Item`: the item of an index, which counts from 1 as in all of this API's scripts.
    ///
    /// # Errors
    /// `DISP_E_BADINDEX`.
    pub fn item(&self, index: i32) -> Result<&T> {
        let position = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        position.and_then(|position| self.0.get(position)).ok_or_else(|| {
            Error::new(
                hresult::DISP_E_BADINDEX,
                format!("there is no item {index} among {}", self.0.len()),
            )
        })
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T> FromIterator<T> for Collection<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T> IntoIterator for Collection<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Collection<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
