// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Virtual PC object model.

pub mod enums;
pub mod hresult;
#[cfg(test)]
mod reference;
