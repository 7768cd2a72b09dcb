// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual hard disk images.
#![forbid(unsafe_code)]
