// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host bridge of the 440FX (82441FX), function 0 of device 0.
//!
//! What software uses of it is PAM: seven registers that decide, for thirteen segments between C0000h and FFFFFh, whether reads and writes
//! go to RAM or to the PCI bus (82441FX data sheet, 3.2.18). The other registers keep what is written to them.

use super::Function;
use super::config::{ConfigSpace, Identity};
use crate::bus::Device;
use std::ops::Range;
use std::sync::Arc;

/// First of the PAM registers.
pub const PAM0: usize = 0x59;
const PAM_COUNT: usize = 7;
/// System management RAM control.
const SMRAM: usize = 0x72;
/// Reads go to RAM.
const READ_ENABLE: u8 = 1;
/// Writes go to RAM.
const WRITE_ENABLE: u8 = 2;

/// Turns segments of the last 256 KiB of the first megabyte to RAM or away from it.
pub trait ShadowControl: Send + Sync {
    /// From now on reads (writes) of `segment` go to RAM, or to the bus, where the firmware's ROM answers.
    fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool);
}

/// The segment of nibble `nibble`, counted from the low half of PAM0. PAM0's low half is reserved.
fn segment(nibble: usize) -> Option<Range<u64>> {
    const STEP: u64 = 0x4000;
    match nibble {
        1 => Some(0xf_0000..0x10_0000),
        2..14 => {
            let start = 0xc_0000 + (nibble as u64 - 2) * STEP;
            Some(start..start + STEP)
        }
        _ => None,
    }
}

/// The host bridge.
pub struct HostBridge {
    shadow: Arc<dyn ShadowControl>,
    config: ConfigSpace,
    /// The PAM registers as `shadow` knows them.
    applied: [u8; PAM_COUNT],
}

impl HostBridge {
    /// A bridge after power-on: all segments on the bus.
    pub fn new(shadow: Arc<dyn ShadowControl>) -> Self {
        Self {
            shadow,
            config: power_on(),
            applied: [0; PAM_COUNT],
        }
    }

    /// Back to power-on.
    pub fn reset(&mut self) {
        self.config = power_on();
        self.apply();
    }

    fn apply(&mut self) {
        for register in 0..PAM_COUNT {
            let (old, new) = (self.applied[register], self.config.u8(PAM0 + register));
            for half in 0..2 {
                let bits = |value: u8| value >> (4 * half) & (READ_ENABLE | WRITE_ENABLE);
                if let Some(segment) = segment(2 * register + half).filter(|_| bits(old) != bits(new)) {
                    let bits = bits(new);
                    self.shadow
                        .set(segment, bits & READ_ENABLE != 0, bits & WRITE_ENABLE != 0);
                }
            }
            self.applied[register] = new;
        }
    }
}

fn power_on() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x1237,
        revision: 2,
        class: 0x06_00_00,
        // The subsystem by which SeaBIOS knows that it may use PAM and fw_cfg.
        subsystem: (0x1af4, 0x1100),
        ..Identity::default()
    });
    const STATUS_MEDIUM_TIMING: u16 = 0x0280;
    config.set_u16(super::config::reg::STATUS, STATUS_MEDIUM_TIMING);
    const COMMAND_MEMORY_AND_MASTER: u16 = 6;
    config.set_u16(super::config::reg::COMMAND, COMMAND_MEMORY_AND_MASTER);
    config.allow(0x50, &[0xff; PAM0 - 0x50]);
    config.allow(PAM0, &[0x33; PAM_COUNT]);
    config.allow(PAM0 + PAM_COUNT, &[0xff; SMRAM - PAM0 - PAM_COUNT]);
    // D_OPEN, D_CLS, D_LCK, G_SMRAME are kept and have no effect: this machine has no system management mode.
    config.allow(SMRAM, &[0x78]);
    config.set_u8(SMRAM, 2);
    config.allow(0x90, &[0xff; 4]);
    config
}

impl Device for HostBridge {}

impl Function for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        if offset < PAM0 + PAM_COUNT && offset.saturating_add(len) > PAM0 {
            self.apply();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::lock;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Record(Mutex<Vec<(Range<u64>, bool, bool)>>);

    impl ShadowControl for Record {
        fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool) {
            lock(&self.0).push((segment, reads_ram, writes_ram));
        }
    }

    fn write(bridge: &mut HostBridge, offset: usize, data: &[u8]) {
        bridge.config_mut().write(offset, data);
        bridge.config_written(offset, data.len());
    }

    #[test]
    fn segments_change_alone_and_only_when_they_change() {
        let record = Arc::new(Record::default());
        let mut bridge = HostBridge::new(record.clone());
        write(&mut bridge, 0x59, &[0x30]);
        write(&mut bridge, 0x59, &[0x30]);
        assert_eq!(*lock(&record.0), [(0xf_0000..0x10_0000, true, true)]);
        lock(&record.0).clear();
        write(&mut bridge, 0x58, &0x2130_0000u32.to_le_bytes());
        write(&mut bridge, 0x5f, &[0xff]);
        let seen = std::mem::take(&mut *lock(&record.0));
        assert_eq!(
            seen,
            [
                (0xf_0000..0x10_0000, false, false),
                (0xc_4000..0xc_8000, true, true),
                (0xc_8000..0xc_c000, true, false),
                (0xc_c000..0xd_0000, false, true),
                (0xe_8000..0xe_c000, true, true),
                (0xe_c000..0xf_0000, true, true),
            ]
        );
    }

    #[test]
    fn reset_gives_everything_back_to_the_bus() {
        let record = Arc::new(Record::default());
        let mut bridge = HostBridge::new(record.clone());
        write(&mut bridge, 0x5c, &[0x11]);
        bridge.reset();
        let seen = lock(&record.0).clone();
        assert_eq!(seen.len(), 4);
        assert!(seen[2..].iter().all(|(_, r, w)| !r && !w));
        assert_eq!(bridge.config().u32(0), 0x1237_8086);
        assert_eq!(bridge.config().u32(0x2c), 0x1100_1af4);
    }
}
