// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 8254 programmable interval timer.
