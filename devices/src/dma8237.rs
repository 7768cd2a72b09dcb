// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two 8237A DMA controllers of a PC.
