// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 8042 keyboard controller with its keyboard and mouse.
