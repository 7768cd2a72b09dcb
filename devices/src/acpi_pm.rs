// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ACPI power management of the PIIX4 (function 3).
