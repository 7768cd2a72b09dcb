// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine has used: `IVMAccountant`.

use super::error::{Error, Result};
use super::hresult;
use super::instance::Instance;

/// The accountant of a machine: `IVMAccountant`.
#[derive(Debug, Clone)]
pub struct Accountant {
    instance: Instance,
}

impl Accountant {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance }
    }

    /// `IVMAccountant::UpTime`: for how many seconds the machine runs, by its own clock, which stands still while it is paused.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn up_time(&self) -> Result<u64> {
        let status = self.instance.status().map_err(|error| not_running(&error))?;
        Ok(status.seconds as u64)
    }

    /// `IVMAccountant::NetworkBytesReceived`: bytes that its network adapters have received: it has none.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn network_bytes_received(&self) -> Result<u64> {
        self.up_time().map(|_| 0)
    }

    /// `IVMAccountant::NetworkBytesSent`: bytes that its network adapters have sent: it has none.
    ///
    /// # Errors
    /// `S_FALSE` if it does not run.
    pub fn network_bytes_sent(&self) -> Result<u64> {
        self.up_time().map(|_| 0)
    }
}

fn not_running(error: &Error) -> Error {
    Error::new(hresult::S_FALSE, error.cause())
}
