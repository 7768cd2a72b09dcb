// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pair of 8259A interrupt controllers.
