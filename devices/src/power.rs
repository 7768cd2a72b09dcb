// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a chip may ask of the machine around it.

/// A request to the machine. The machine carries it out after the access that caused it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRequest {
    /// Restart the whole machine: chips and processors (RSTDRV).
    Reset(ResetCause),
    /// Switch off (ACPI S5).
    Off,
}

/// Who pulled the reset line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetCause {
    /// Reset control register CF9h of the PIIX.
    ResetControl,
    /// Port 92h bit 0.
    FastReset,
    /// The keyboard controller's output port (command FEh and its kin).
    KeyboardController,
}

/// The machine, as a chip sees it.
pub trait PowerControl: Send + Sync {
    /// Asks; returns at once.
    fn request(&self, request: PowerRequest);
}

impl<F: Fn(PowerRequest) + Send + Sync> PowerControl for F {
    fn request(&self, request: PowerRequest) {
        self(request);
    }
}
