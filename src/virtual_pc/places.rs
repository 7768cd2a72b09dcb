// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the model keeps its files: the user's XDG folders.

use super::error::{Error, Result};
use super::hresult;
use std::env;
use std::path::{Path, PathBuf};

/// The model's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Options and the list of known machines.
    pub config: PathBuf,
    /// Machines that are made without naming a folder.
    pub data: PathBuf,
    /// Events, tasks and logs.
    pub state: PathBuf,
    /// Sockets and locks of running machines. Lost when the host restarts, as are the machines.
    pub runtime: PathBuf,
}

impl Places {
    /// From `XDG_CONFIG_HOME`, `XDG_DATA_HOME`, `XDG_STATE_HOME` and `XDG_RUNTIME_DIR`, or what stands for them under `HOME`.
    ///
    /// # Errors
    /// `E_FAIL` if there is no `HOME` either.
    pub fn from_environment() -> Result<Self> {
        let absolute = |name: &str| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME");
        let place = |name: &str, under_home: &str| {
            let folder = absolute(name).or_else(|| Some(home.as_ref()?.join(under_home)));
            let folder = folder.ok_or_else(|| {
                Error::new(hresult::E_FAIL, format!("neither {name} nor HOME names a folder"))
                    .with_remedy("set HOME")
            })?;
            Ok::<_, Error>(folder.join("virtualpc"))
        };
        let state = place("XDG_STATE_HOME", ".local/state")?;
        Ok(Self {
            config: place("XDG_CONFIG_HOME", ".config")?,
            data: place("XDG_DATA_HOME", ".local/share")?,
            // Without a session's own folder the sockets stand beside the logs.
            runtime: absolute("XDG_RUNTIME_DIR")
                .map_or_else(|| state.join("run"), |folder| folder.join("virtualpc")),
            state,
        })
    }

    /// The folders, in the order of [`Self::from_arguments`].
    pub(super) fn arguments(&self) -> [&Path; 4] {
        [&self.config, &self.data, &self.state, &self.runtime]
    }

    /// The folders that another process uses, as it names them.
    pub fn from_arguments([config, data, state, runtime]: [PathBuf; 4]) -> Self {
        Self {
            config,
            data,
            state,
            runtime,
        }
    }

    /// All below one folder.
    pub fn under(folder: &Path) -> Self {
        Self {
            config: folder.join("config"),
            data: folder.join("data"),
            state: folder.join("state"),
            runtime: folder.join("run"),
        }
    }
}
