// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The documented API as data (tests/data/README.md), which tests compare the model with.

#![allow(clippy::expect_used)]
use serde_json::Value;
use std::sync::OnceLock;

/// The whole file.
pub fn api() -> &'static Value {
    static API: OnceLock<Value> = OnceLock::new();
    API.get_or_init(|| {
        serde_json::from_str(include_str!("../../tests/data/virtual-pc-api.json")).expect("the file is JSON")
    })
}
