// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 82093AA I/O APIC.
