// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 82077AA floppy disk controller.
