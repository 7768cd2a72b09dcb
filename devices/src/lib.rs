// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual hardware of a PC.
#![forbid(unsafe_code)]
