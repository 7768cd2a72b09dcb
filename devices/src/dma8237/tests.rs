// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::testing::TestRam;
use proptest::prelude::*;

const RAM: usize = 1 << 20;

struct Rig {
    dma: Arc<Mutex<Dma8237>>,
    ram: Arc<TestRam>,
}

impl Rig {
    /// Controllers whose cascade is open.
    fn new() -> Self {
        let mut dma = Dma8237::new();
        dma.cascade_as_firmware_does();
        Self {
            dma: Arc::new(Mutex::new(dma)),
            ram: TestRam::new(RAM),
        }
    }

    fn out(&self, port: u64, value: u8) {
        lock(&self.dma).write(port, &[value]);
    }

    fn inp(&self, port: u64) -> u8 {
        lock(&self.dma).read_byte(port)
    }

    fn channel(&self, number: ChannelNumber) -> DmaChannel {
        DmaChannel::new(self.dma.clone(), self.ram.clone(), number)
    }

    /// Programs channel 2 and unmasks it.
    fn program2(&self, mode: u8, page: u8, address: u16, count: u16) -> DmaChannel {
        self.out(0x0a, 0x06);
        self.out(0x0c, 0);
        self.out(0x0b, mode | 2);
        for byte in address.to_le_bytes() {
            self.out(0x04, byte);
        }
        for byte in count.to_le_bytes() {
            self.out(0x05, byte);
        }
        self.out(0x81, page);
        self.out(0x0a, 0x02);
        self.channel(ChannelNumber::Dma2)
    }

    /// Programs channel 5 (words) and unmasks it.
    fn program5(&self, mode: u8, page: u8, address: u16, count: u16) -> DmaChannel {
        self.out(0xd4, 0x05);
        self.out(0xd8, 0);
        self.out(0xd6, mode | 1);
        for byte in address.to_le_bytes() {
            self.out(0xc4, byte);
        }
        for byte in count.to_le_bytes() {
            self.out(0xc6, byte);
        }
        self.out(0x8b, page);
        self.out(0xd4, 0x01);
        self.channel(ChannelNumber::Dma5)
    }

    /// Current address and count of channel 2.
    fn current2(&self) -> (u16, u16) {
        self.out(0x0c, 0);
        let read = |port| u16::from_le_bytes([self.inp(port), self.inp(port)]);
        (read(0x04), read(0x05))
    }
}

/// Mode bits 7-2: single mode with a direction, an address order and autoinitialization.
const TO_MEMORY: u8 = 0x44;
const FROM_MEMORY: u8 = 0x48;
const VERIFY: u8 = 0x40;
const AUTO: u8 = 0x10;
const DOWN: u8 = 0x20;

fn moved(count: usize, terminal_count: bool) -> Transfer {
    Transfer {
        count,
        terminal_count,
    }
}

#[test]
fn after_reset_all_channels_are_masked_and_the_rest_is_clear() {
    let mut dma = Dma8237::new();
    for (mask, status, temporary) in [(0x0f, 0x08, 0x0d), (0xde, 0xd0, 0xda)] {
        assert_eq!(dma.read_byte(mask), 0x0f);
        assert_eq!(dma.read_byte(status), 0);
        assert_eq!(dma.read_byte(temporary), 0);
    }
    assert!((0..8).all(|n| !dma.ready(n)));
}

#[test]
fn a_device_writes_memory_and_reads_it_back() {
    let rig = Rig::new();
    let mut channel = rig.program2(TO_MEMORY, 0x05, 0x1234, 3);
    assert!(channel.ready());
    assert_eq!(channel.write_memory(&[1, 2, 3, 4, 5, 6]), moved(4, true));
    assert_eq!(rig.ram.get(0x5_1234, 6), [1, 2, 3, 4, 0, 0]);
    assert!(!channel.ready(), "the terminal count masks the channel");
    assert_eq!(channel.write_memory(&[9]), moved(0, false));

    let mut channel = rig.program2(FROM_MEMORY, 0x05, 0x1235, 0xff);
    let mut buffer = [0xee; 2];
    assert_eq!(channel.read_memory(&mut buffer), moved(2, false));
    assert_eq!(buffer, [2, 3]);
    assert_eq!(rig.current2(), (0x1237, 0xfd));
}

#[test]
fn the_flip_flop_tells_low_from_high() {
    let rig = Rig::new();
    rig.program2(TO_MEMORY, 0, 0xabcd, 0x1122);
    rig.out(0x0c, 0);
    assert_eq!(rig.inp(0x04), 0xcd);
    assert_eq!(rig.inp(0x05), 0x11, "one flip-flop serves all registers");
    assert_eq!(rig.inp(0x05), 0x22);
    rig.out(0x0c, 0);
    assert_eq!(rig.inp(0x05), 0x22);
}

#[test]
fn an_address_wraps_inside_its_64_kib_page() {
    let rig = Rig::new();
    let data: Vec<u8> = (1..=8).collect();
    let mut channel = rig.program2(TO_MEMORY, 0x03, 0xfffd, 7);
    assert_eq!(channel.write_memory(&data), moved(8, true));
    assert_eq!(rig.ram.get(0x3_fffd, 3), [1, 2, 3]);
    assert_eq!(rig.ram.get(0x3_0000, 6), [4, 5, 6, 7, 8, 0]);
    assert_eq!(rig.ram.get(0x4_0000, 3), [0; 3]);

    let mut buffer = [0; 8];
    let mut channel = rig.program2(FROM_MEMORY, 0x03, 0xfffd, 7);
    assert_eq!(channel.read_memory(&mut buffer), moved(8, true));
    assert_eq!(buffer[..], data);
}

#[test]
fn a_full_64_kib_comes_back_to_where_it_began() {
    let rig = Rig::new();
    let data: Vec<u8> = (0..0x1_0000).map(|n| (n % 251) as u8).collect();
    let mut channel = rig.program2(TO_MEMORY, 0x02, 0x8000, 0xffff);
    assert_eq!(channel.write_memory(&data), moved(0x1_0000, true));
    assert_eq!(rig.current2(), (0x8000, 0xffff));
    assert_eq!(rig.ram.get(0x2_8000, 0x8000), data[..0x8000]);
    assert_eq!(rig.ram.get(0x2_0000, 0x8000), data[0x8000..]);
}

#[test]
fn addresses_can_count_down() {
    let rig = Rig::new();
    let mut channel = rig.program2(TO_MEMORY | DOWN, 0x01, 0x0002, 4);
    assert_eq!(channel.write_memory(&[1, 2, 3, 4, 5]), moved(5, true));
    assert_eq!(rig.ram.get(0x1_0000, 3), [3, 2, 1]);
    assert_eq!(rig.ram.get(0x1_fffe, 2), [5, 4]);

    let mut buffer = [0; 5];
    let mut channel = rig.program2(FROM_MEMORY | DOWN, 0x01, 0x0002, 4);
    assert_eq!(channel.read_memory(&mut buffer), moved(5, true));
    assert_eq!(buffer, [1, 2, 3, 4, 5]);
}

#[test]
fn word_channels_step_in_words_and_ignore_page_bit_0() {
    let rig = Rig::new();
    let mut channel = rig.program5(TO_MEMORY, 0x05, 0xffff, 1);
    // An odd byte is not a transfer.
    assert_eq!(channel.write_memory(&[1, 2, 3]), moved(2, false));
    assert_eq!(channel.write_memory(&[3, 4, 5, 6]), moved(2, true));
    assert_eq!(rig.ram.get(0x5_fffe, 2), [1, 2]);
    assert_eq!(
        rig.ram.get(0x4_0000, 2),
        [3, 4],
        "128 KiB wrap, page 5 means page 4"
    );

    let mut channel = rig.program5(TO_MEMORY | DOWN, 0x04, 0x0011, 1);
    assert_eq!(channel.write_memory(&[1, 2, 3, 4]), moved(4, true));
    assert_eq!(rig.ram.get(0x4_0020, 4), [3, 4, 1, 2]);
    let mut buffer = [0; 4];
    let mut channel = rig.program5(FROM_MEMORY | DOWN, 0x04, 0x0011, 1);
    assert_eq!(channel.read_memory(&mut buffer), moved(4, true));
    assert_eq!(buffer, [1, 2, 3, 4]);
}

#[test]
fn autoinitialization_starts_over_and_stays_unmasked() {
    let rig = Rig::new();
    let mut channel = rig.program2(TO_MEMORY | AUTO, 0, 0x100, 1);
    assert_eq!(channel.write_memory(&[1, 2, 3]), moved(2, true));
    assert_eq!(rig.current2(), (0x100, 1));
    assert_eq!(channel.write_memory(&[3]), moved(1, false));
    assert_eq!(rig.ram.get(0x100, 3), [3, 2, 0]);
    assert_eq!(rig.inp(0x08) & 0x0f, 0x04);
}

#[test]
fn verify_counts_but_moves_nothing() {
    let rig = Rig::new();
    let mut channel = rig.program2(VERIFY, 0, 0x100, 3);
    assert_eq!(channel.write_memory(&[1, 2, 3]), moved(3, false));
    assert_eq!(rig.current2(), (0x103, 0));
    let mut buffer = [7; 4];
    assert_eq!(channel.read_memory(&mut buffer), moved(1, true));
    assert_eq!(buffer, [7; 4]);
    assert_eq!(rig.ram.get(0x100, 4), [0; 4]);
}

#[test]
fn a_channel_with_the_other_direction_moves_nothing() {
    let rig = Rig::new();
    let mut channel = rig.program2(FROM_MEMORY, 0, 0x100, 0xff);
    channel.write_memory(&[1]);
    assert_eq!(rig.ram.get(0x100, 1), [0]);
}

#[test]
fn the_status_shows_terminal_counts_until_it_is_read() {
    let rig = Rig::new();
    rig.program2(TO_MEMORY, 0, 0, 0).write_memory(&[1]);
    rig.program5(TO_MEMORY, 0, 0, 0).write_memory(&[1, 2]);
    assert_eq!(rig.inp(0x08), 0x04);
    assert_eq!(rig.inp(0x08), 0x00);
    assert_eq!(rig.inp(0xd0), 0x02);
    assert_eq!(rig.inp(0xd0), 0x00);
}

#[test]
fn masks_and_the_disable_bit_stop_a_channel() {
    let rig = Rig::new();
    let channel = rig.program2(TO_MEMORY, 0, 0, 9);
    let stops = |port, on, off| {
        rig.out(port, on);
        assert!(!channel.ready());
        rig.out(port, off);
        assert!(channel.ready());
    };
    stops(0x0a, 0x06, 0x02);
    stops(0x0f, 0x04, 0x0b);
    stops(0x08, 0x04, 0x00);
    // The way to the processor leads through channel 4.
    stops(0xd4, 0x04, 0x00);
    stops(0xd0, 0x04, 0x00);
    stops(0xd6, 0x40, 0xc0);
    rig.out(0x0f, 0x0f);
    rig.out(0x0e, 0);
    assert!(channel.ready());
    rig.out(0x0b, 0xc2);
    assert!(!channel.ready(), "a channel in cascade mode moves no data itself");
}

#[test]
fn master_clear_masks_all_but_keeps_addresses() {
    let rig = Rig::new();
    let mut channel = rig.program2(TO_MEMORY, 0, 0x55aa, 0x10);
    channel.write_memory(&[1; 0x11]);
    rig.program2(TO_MEMORY, 0, 0x55aa, 0x10);
    rig.inp(0x04);
    rig.out(0x09, 0x05);
    rig.out(0x0d, 0);
    assert_eq!(rig.inp(0x0f), 0x0f);
    assert_eq!(rig.inp(0x08), 0x00);
    assert_eq!(
        (rig.inp(0x04), rig.inp(0x04)),
        (0xaa, 0x55),
        "the flip-flop is clear"
    );
}

#[test]
fn software_requests_show_in_the_status_and_run_block_mode_channels() {
    let rig = Rig::new();
    rig.out(0x09, 0x05);
    assert_eq!(rig.inp(0x08), 0x20);
    rig.out(0x09, 0x01);
    assert_eq!(rig.inp(0x08), 0x00);
    rig.program2(0x80, 0, 0xfff0, 0x20);
    rig.out(0x09, 0x06);
    assert_eq!(
        rig.inp(0x08),
        0x04,
        "terminal count reached, the request is cleared"
    );
    assert_eq!(rig.current2(), (0x0011, 0xffff));
}

#[test]
fn page_registers_are_the_ones_of_the_at() {
    let rig = Rig::new();
    for port in 0x81..=0x8f {
        rig.out(port, port as u8 ^ 0x5a);
    }
    for port in 0x81..=0x8f {
        assert_eq!(rig.inp(port), port as u8 ^ 0x5a);
    }
    let pages = |n: usize| PAGE_OF_CHANNEL[n] + 0x80;
    assert_eq!([pages(0), pages(1), pages(2), pages(3)], [0x87, 0x83, 0x81, 0x82]);
    assert_eq!([pages(5), pages(6), pages(7)], [0x8b, 0x89, 0x8a]);
}

#[test]
fn the_second_controller_does_not_decode_a0() {
    let rig = Rig::new();
    rig.out(0xd8, 0);
    rig.out(0xc5, 0x34);
    rig.out(0xc4, 0x12);
    rig.out(0xd9, 0);
    assert_eq!((rig.inp(0xc4), rig.inp(0xc5)), (0x34, 0x12));
}

#[test]
fn what_is_not_memory_is_lost_and_reads_as_ones() {
    let rig = Rig::new();
    // RAM ends at 1 MiB: page 0Fh wraps inside, page 10h is nothing at all.
    let mut channel = rig.program2(TO_MEMORY, 0x10, 0, 3);
    assert_eq!(channel.write_memory(&[1, 2, 3, 4]), moved(4, true));
    let mut buffer = [0; 4];
    let mut channel = rig.program2(FROM_MEMORY, 0x10, 0, 3);
    assert_eq!(channel.read_memory(&mut buffer), moved(4, true));
    assert_eq!(buffer, [0xff; 4]);
}

#[test]
fn a_run_that_leaves_memory_half_way_moves_the_first_half() {
    let dma = Arc::new(Mutex::new(Dma8237::new()));
    lock(&dma).cascade_as_firmware_does();
    let rig = Rig {
        dma,
        ram: TestRam::new(0x1_8000),
    };
    let mut channel = rig.program2(TO_MEMORY, 0x01, 0x7ffe, 3);
    assert_eq!(channel.write_memory(&[1, 2, 3, 4]), moved(4, true));
    assert_eq!(rig.ram.get(0x1_7ffe, 2), [1, 2]);
    let mut channel = rig.program2(FROM_MEMORY, 0x01, 0x7ffe, 3);
    let mut buffer = [0; 4];
    channel.read_memory(&mut buffer);
    assert_eq!(buffer, [1, 2, 0xff, 0xff]);
}

proptest! {
    /// Whatever is written where, nothing panics, and no transfer reports more than was asked for.
    #[test]
    fn no_register_value_panics(
        accesses in proptest::collection::vec((0u64..0x100, any::<u8>(), any::<bool>()), 0..200),
        len in 0usize..3000,
    ) {
        let rig = Rig::new();
        for (n, (port, value, write)) in accesses.into_iter().enumerate() {
            if write { rig.out(port, value) } else { rig.inp(port); }
            let number = [ChannelNumber::Dma0, ChannelNumber::Dma2, ChannelNumber::Dma5, ChannelNumber::Dma7][n % 4];
            let mut buffer = vec![0; len];
            let mut channel = rig.channel(number);
            prop_assert!(channel.read_memory(&mut buffer).count <= len);
            prop_assert!(channel.write_memory(&buffer).count <= len);
        }
    }
}
