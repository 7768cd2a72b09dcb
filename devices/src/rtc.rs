// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MC146818 real-time clock and its CMOS memory.
