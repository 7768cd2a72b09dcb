// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The firmware's debug console (port 402h) and the POST code port (80h).
