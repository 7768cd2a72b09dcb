// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A DVD drive's command set (SPC/MMC).
