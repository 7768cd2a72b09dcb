// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one error of the object model: a documented result code, the cause in words, and what to do.

use super::hresult::{self, HResult};
use std::fmt;
use std::path::Path;

/// Why a call did not do what was asked.
///
/// The codes of success that mean "no" ([`hresult::S_FALSE`]) come this way too: there is no value to give with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    result: HResult,
    cause: String,
    remedy: Option<String>,
}

/// What a member of the object model gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A result with what happened, and to what.
    pub fn new(result: HResult, cause: impl Into<String>) -> Self {
        Self {
            result,
            cause: cause.into(),
            remedy: None,
        }
    }

    /// A result about a file.
    pub fn of_file(result: HResult, path: &Path, what: impl fmt::Display) -> Self {
        Self::new(result, format!("{}: {what}", path.display()))
    }

    /// Something that no member documents: `DISP_E_EXCEPTION`.
    pub fn unexpected(path: &Path, error: &dyn std::error::Error) -> Self {
        Self::of_file(hresult::DISP_E_EXCEPTION, path, crate::storage::chain(error))
    }

    /// A member that is documented and cannot be served yet: `E_NOTIMPL`.
    pub fn not_available(member: &str, why: &str) -> Self {
        Self::new(
            hresult::E_NOTIMPL,
            format!("{member} is not available yet: {why}"),
        )
    }

    /// What to do, where the code's own words are too general.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The code.
    pub fn result(&self) -> HResult {
        self.result
    }

    /// What happened, and to what.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        self.remedy.as_deref().unwrap_or(self.result.remedy)
    }

    /// The error of another process, from its parts.
    pub fn from_parts(name: &str, cause: String, remedy: String) -> Self {
        let result = HResult::by_name(name).unwrap_or(hresult::DISP_E_EXCEPTION);
        Self::new(result, cause).with_remedy(remedy)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}
