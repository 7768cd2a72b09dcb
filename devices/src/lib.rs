// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtual hardware of a 440FX/PIIX4 PC.
//!
//! This crate knows no hypervisor, file, socket, thread or wall clock. A chip is made by `new` from the few things that
//! it is wired to, and these are the only ways out of it:
//!
//! | way | module | what it is |
//! | --- | --- | --- |
//! | port and memory cycles in | [`bus`] | a [`bus::Bus`] routes each access of a processor to one [`bus::Device`] |
//! | interrupts out | [`line`] | a chip drives an [`line::IrqLine`] and never learns its number |
//! | guest memory | [`ram`] | [`ram::GuestRam`], for bus masters |
//! | ISA DMA | [`isa_dma`] | a channel of the 8237, as the device on it sees it |
//! | disks and discs | [`block`] | what a drive holds: owned requests go in, completions come back |
//! | time | [`clock`] | the clock and one-shot timers |
//! | reset and power | [`power`] | what a chip may ask of the machine around it |
//!
//! Every byte that a guest writes is hostile: no access may panic, loop without bound or write the log full.
#![forbid(unsafe_code)]

pub mod block;
pub mod bus;
pub mod clock;
pub mod isa_dma;
pub mod line;
pub mod packet;
pub mod power;
pub mod ram;
pub mod snapshot;
pub mod testing;

pub mod acpi_pm;
pub mod debug_port;
pub mod dma8237;
pub mod fdc;
pub mod fw_cfg;
pub mod i8042;
pub mod ide;
pub mod ioapic;
pub mod mmc;
pub mod parallel;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod rtc;
pub mod system_control;
pub mod vga;
#[cfg(feature = "virtio")]
pub mod virtio;
