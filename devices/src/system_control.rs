// SPDX-License-Identifier: Apache-2.0 OR MIT
//! System control ports 61h, 92h and CF9h.
