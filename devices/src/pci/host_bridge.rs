// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 82441FX host bridge ("440FX PMC", function 0 of device 0).
//!
//! What a guest can notice of it is the shadowing of the upper memory area: seven registers say, segment by segment, whether reads and
//! writes of the processors go to memory or on to the PCI bus, where the firmware's ROM is. The bridge translates them into calls of
//! [`ShadowControl`]. Memory timing and buffering registers keep what is written to them and have no other effect.
//!
//! The SMRAM register is such a register too: this machine has no system management mode, so that nothing ever hides behind the
//! video memory.

use super::Function;
use super::config::{ConfigSpace, Identity, SavedConfig, command, reg};
use crate::bus::Device;
use crate::snapshot::BadState;
use std::ops::Range;
use std::sync::Arc;

/// Intel 440FX PCIset, 82441FX PCI and Memory Controller (PMC) data sheet (290549), section 3.2.
pub mod spec {
    /// Vendor: Intel.
    pub const VENDOR: u16 = 0x8086;
    /// Device: 82441FX.
    pub const DEVICE: u16 = 0x1237;
    /// The last stepping.
    pub const REVISION: u8 = 0x02;
    /// Host bridge.
    pub const CLASS: u32 = 0x06_00_00;
    /// The data sheet has no subsystem registers. SeaBIOS knows a virtual machine, whose memory it finds by fw_cfg, by these values.
    pub const SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);
    /// PCI status after reset: medium DEVSEL# timing, fast back-to-back.
    pub const STATUS: u16 = 0x0280;
    /// PAM0-PAM6, programmable attribute map.
    pub const PAM0: usize = 0x59;
    /// The number of PAM registers.
    pub const PAM_COUNT: usize = 7;
    /// PAM: reads of the segment go to memory.
    pub const PAM_READ: u8 = 1 << 0;
    /// PAM: writes of the segment go to memory.
    pub const PAM_WRITE: u8 = 1 << 1;
    /// Segments with attributes of their own.
    pub const SEGMENTS: usize = 13;
    /// SMRAM, system management RAM control.
    pub const SMRAM: usize = 0x72;

    /// A register besides the header and PAM: offset, values after reset, bits that software may write.
    pub const PLAIN: [(usize, &[u8], &[u8]); 13] = [
        // PMCCFG: the host clock straps are read-only.
        (0x50, &[0x00, 0x01], &[0xf0, 0xf6]),
        // DETURBO counter.
        (0x52, &[0x00], &[0xff]),
        // DBC, data buffer control.
        (0x53, &[0x80], &[0xe3]),
        // AXC, auxiliary control.
        (0x54, &[0x00], &[0x82]),
        // DRT, DRAM row type.
        (0x55, &[0x00, 0x00], &[0xff, 0xff]),
        // DRAMC and DRAMT, DRAM control and timing.
        (0x57, &[0x01, 0x10], &[0x77, 0x7f]),
        // DRB0-DRB7, DRAM row boundaries.
        (0x60, &[0x01; 8], &[0xff; 8]),
        // FDHC, fixed DRAM hole control.
        (0x68, &[0x00], &[0xc0]),
        // MTT, multi-transaction timer.
        (0x70, &[0x20], &[0xf8]),
        // CLT, CPU latency timer.
        (0x71, &[0x10], &[0x1f]),
        // SMRAM: bits 2-0 always read 010b, the segment at A0000h.
        (SMRAM, &[0x02], &[0x78]),
        // ERRCMD.
        (0x90, &[0x00], &[0x1b]),
        // TRC, turbo reset control: its reset bits never take effect, so they do not stick either.
        (0x93, &[0x00], &[0x00]),
    ];
}

pub use spec::PAM0;

/// The machine's memory map, as the bridge sees it.
pub trait ShadowControl: Send + Sync {
    /// Sends the processors' reads and writes of `segment` (16 KiB, or 64 KiB for F0000h) to memory, or to whatever is behind the PCI bus
    /// there. Called with the bridge's lock held, and only for segments that changed; after power-on all segments are on the PCI bus.
    fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool);
}

/// The addresses of segment `index`: segment 0 is the BIOS area (PAM0's upper half), 1 to 12 rise from C0000h (PAM1-PAM6).
fn segment(index: usize) -> Range<u64> {
    match index {
        0 => 0xf_0000..0x10_0000,
        _ => {
            let start = 0xc_0000 + 0x4000 * (index as u64 - 1);
            start..start + 0x4000
        }
    }
}

/// Where the cycles of one segment go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Attributes {
    reads_ram: bool,
    writes_ram: bool,
}

impl Attributes {
    /// PAM0 uses its upper half only; each other register serves two segments, the lower one in its lower half.
    fn of_segment(index: usize, config: &ConfigSpace) -> Self {
        let half = config.u8(spec::PAM0 + index.div_ceil(2)) >> if index.is_multiple_of(2) { 4 } else { 0 };
        Self {
            reads_ram: half & spec::PAM_READ != 0,
            writes_ram: half & spec::PAM_WRITE != 0,
        }
    }
}

/// The 82441FX.
pub struct HostBridge {
    // Dependencies.
    shadow: Arc<dyn ShadowControl>,
    // Book-keeping: what `shadow` was told last.
    told: [Attributes; spec::SEGMENTS],
    // Volatile state.
    config: ConfigSpace,
}

impl HostBridge {
    /// A bridge after power-on.
    pub fn new(shadow: Arc<dyn ShadowControl>) -> Self {
        Self {
            shadow,
            told: [Attributes::default(); spec::SEGMENTS],
            config: power_on(),
        }
    }

    /// PCIRST#: all registers as after power-on, all segments back on the PCI bus.
    pub fn reset(&mut self) {
        self.config = power_on();
        self.sync_shadow();
    }

    /// See [`crate::snapshot`].
    pub(super) fn save(&self) -> SavedConfig {
        let Self {
            shadow: _,
            told: _,
            config,
        } = self;
        config.save()
    }

    /// See [`crate::snapshot`].
    pub(super) fn take_over(&mut self, config: SavedConfig) -> Result<(), BadState> {
        self.config.restore(config)?;
        self.sync_shadow();
        Ok(())
    }

    fn sync_shadow(&mut self) {
        for (index, told) in self.told.iter_mut().enumerate() {
            let wanted = Attributes::of_segment(index, &self.config);
            if *told != wanted {
                *told = wanted;
                self.shadow
                    .set(segment(index), wanted.reads_ram, wanted.writes_ram);
            }
        }
    }
}

fn power_on() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: spec::VENDOR,
        device: spec::DEVICE,
        revision: spec::REVISION,
        class: spec::CLASS,
        subsystem: spec::SUBSYSTEM,
        ..Identity::default()
    });
    // The bridge always answers memory cycles, never port cycles, and is always a master; it has no interrupt line to note down.
    config.protect(reg::COMMAND, &[0xff, 0xff]);
    config.protect(reg::INTERRUPT_LINE, &[0xff]);
    config.set_u16(reg::COMMAND, command::MEMORY | command::BUS_MASTER);
    // PERRE and SERRE.
    config.allow(reg::COMMAND, &[1 << 6, 1 << 0]);
    config.set_u16(reg::STATUS, spec::STATUS);
    // MLT, the latency timer.
    config.allow(0x0d, &[0xf8]);
    config.allow(spec::PAM0, &[0x30]);
    config.allow(spec::PAM0 + 1, &[0x33; spec::PAM_COUNT - 1]);
    for (offset, values, mask) in spec::PLAIN {
        for (at, value) in (offset..).zip(values) {
            config.set_u8(at, *value);
        }
        config.allow(offset, mask);
    }
    // ERRSTS.
    config.clear_on_one(0x91, &[0x11]);
    config
}

/// The bridge claims no ranges of its own.
impl Device for HostBridge {}

impl Function for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        if offset < spec::PAM0 + spec::PAM_COUNT && offset.saturating_add(len) > spec::PAM0 {
            self.sync_shadow();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::lock;
    use proptest::prelude::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(Range<u64>, bool, bool)>>);

    impl ShadowControl for Recorder {
        fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool) {
            lock(&self.0).push((segment, reads_ram, writes_ram));
        }
    }

    impl Recorder {
        fn take(&self) -> Vec<(Range<u64>, bool, bool)> {
            std::mem::take(&mut *lock(&self.0))
        }
    }

    fn bridge() -> (HostBridge, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::default());
        (HostBridge::new(recorder.clone()), recorder)
    }

    fn write(bridge: &mut HostBridge, offset: usize, data: &[u8]) {
        bridge.config_mut().write(offset, data);
        bridge.config_written(offset, data.len());
    }

    #[test]
    fn reset_values() {
        let (bridge, recorder) = bridge();
        let config = bridge.config();
        assert_eq!(config.u32(0x00), 0x1237_8086);
        assert_eq!(config.u32(0x04), 0x0280_0006);
        assert_eq!(config.u32(0x08), 0x0600_0002);
        assert_eq!(config.u32(0x0c), 0);
        assert_eq!(config.u32(0x2c), 0x1100_1af4);
        assert_eq!(config.u32(0x50), 0x8000_0100);
        assert_eq!(config.u32(0x54), 0x0100_0000);
        assert_eq!(config.u32(0x58), 0x10);
        assert_eq!(config.u32(0x5c), 0);
        assert_eq!(config.u32(0x60), 0x0101_0101);
        assert_eq!(config.u32(0x70), 0x0002_1020);
        assert!(
            recorder.take().is_empty(),
            "nothing is shadowed after power-on, and nobody need be told"
        );
    }

    #[test]
    fn the_command_register_is_mostly_wired() {
        let (mut bridge, _) = bridge();
        write(&mut bridge, reg::COMMAND, &[0xff, 0xff]);
        assert_eq!(bridge.config().command(), 0x0146);
        write(&mut bridge, reg::COMMAND, &[0, 0]);
        assert_eq!(bridge.config().command(), 0x0006);
    }

    #[test]
    fn each_half_of_a_pam_register_is_a_segment() {
        let (mut bridge, recorder) = bridge();
        write(&mut bridge, 0x59, &[0x10]);
        assert_eq!(recorder.take(), [(0xf_0000..0x10_0000, true, false)]);
        write(&mut bridge, 0x5a, &[0x01]);
        assert_eq!(recorder.take(), [(0xc_0000..0xc_4000, true, false)]);
        write(&mut bridge, 0x5a, &[0x21]);
        assert_eq!(recorder.take(), [(0xc_4000..0xc_8000, false, true)]);
        write(&mut bridge, 0x5f, &[0x33]);
        assert_eq!(
            recorder.take(),
            [(0xe_8000..0xe_c000, true, true), (0xe_c000..0xf_0000, true, true)]
        );
    }

    #[test]
    fn the_segments_cover_the_upper_memory_area_once() {
        let mut all: Vec<_> = (0..spec::SEGMENTS).map(segment).collect();
        all.sort_by_key(|s| s.start);
        assert_eq!(all.first().map(|s| s.start), Some(0xc_0000));
        assert_eq!(all.last().map(|s| s.end), Some(0x10_0000));
        assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn the_lower_half_of_pam0_is_reserved() {
        let (mut bridge, recorder) = bridge();
        write(&mut bridge, 0x59, &[0xff]);
        assert_eq!(bridge.config().u8(0x59), 0x30);
        assert_eq!(recorder.take(), [(0xf_0000..0x10_0000, true, true)]);
    }

    #[test]
    fn firmware_turns_shadowing_on_with_two_double_words() {
        let (mut bridge, recorder) = bridge();
        write(&mut bridge, 0x58, &[0x10, 0x30, 0x33, 0x33]);
        assert_eq!(recorder.take().len(), 5);
        write(&mut bridge, 0x5c, &[0x33; 4]);
        assert_eq!(recorder.take().len(), 8);
        // Writing the same again changes nothing.
        write(&mut bridge, 0x5c, &[0x33; 4]);
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn reset_gives_the_segments_back() {
        let (mut bridge, recorder) = bridge();
        write(&mut bridge, 0x59, &[0x30, 0x03]);
        write(&mut bridge, spec::SMRAM, &[0x4a]);
        recorder.take();
        bridge.reset();
        assert_eq!(
            recorder.take(),
            [
                (0xf_0000..0x10_0000, false, false),
                (0xc_0000..0xc_4000, false, false)
            ]
        );
        assert_eq!(bridge.config().u8(spec::SMRAM), 0x02);
    }

    #[test]
    fn smram_keeps_its_segment_bits() {
        let (mut bridge, _) = bridge();
        write(&mut bridge, spec::SMRAM, &[0xff]);
        assert_eq!(bridge.config().u8(spec::SMRAM), 0x7a);
        write(&mut bridge, spec::SMRAM, &[0x00]);
        assert_eq!(bridge.config().u8(spec::SMRAM), 0x02);
    }

    proptest! {
        /// Whatever is written, what the map was told is what the registers say.
        #[test]
        fn any_writes(writes in prop::collection::vec((0usize..260, any::<u32>(), 1usize..5), 1..64)) {
            let (mut bridge, recorder) = bridge();
            let mut map = std::collections::BTreeMap::new();
            for (offset, value, len) in writes {
                write(&mut bridge, offset, &value.to_le_bytes()[..len]);
                for (segment, reads, writes) in recorder.take() {
                    map.insert(segment.start, (reads, writes));
                }
            }
            prop_assert_eq!(bridge.config().u32(0), 0x1237_8086);
            for index in 0..spec::SEGMENTS {
                let wanted = Attributes::of_segment(index, bridge.config());
                let told = map.get(&segment(index).start).copied().unwrap_or_default();
                prop_assert_eq!(told, (wanted.reads_ram, wanted.writes_ram));
            }
        }
    }
}
