// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The IDE controller of the PIIX4: two channels, four drives.
