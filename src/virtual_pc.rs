// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Virtual PC object model.

pub mod enums;
pub mod error;
pub mod hresult;
pub mod paths;
#[cfg(test)]
mod reference;
pub mod vmc;

pub use error::{Error, Result};
