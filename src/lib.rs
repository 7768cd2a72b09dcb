// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Virtual PC for KVM and WHP.
