// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VGA: registers, planes and text memory.
