// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet transport in front of a fake device.
use super::*;

/// COD and IO of the interrupt reason.
const TO_HOST: u8 = 0x02;
const COMPLETE: u8 = 0x03;

/// Issues PACKET with a byte count limit and sends the packet.
fn packet(host: &mut Host, features: u8, limit: u16) {
    start(host, features, limit);
    host.outsw(&[0x28, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0]);
}

fn start(host: &mut Host, features: u8, limit: u16) {
    let [mid, high] = limit.to_le_bytes();
    host.outb(FEATURES, features);
    host.outb(MID, mid);
    host.outb(HIGH, high);
    host.outb(COMMAND, 0xa0);
}

fn byte_count(host: &mut Host) -> u16 {
    u16::from_le_bytes([host.inb(MID), host.inb(HIGH)])
}

fn counted(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|i| i as u8).collect()
}

/// A fake with `len` bytes to give.
fn with_data(len: usize) -> (Host, Arc<Mutex<FakePacket>>) {
    let (host, fake) = Host::with_packet();
    {
        let mut fake = fake.lock().unwrap();
        fake.reply = Some(Reply::DataIn { len: len as u64 });
        fake.stream = len;
    }
    (host, fake)
}

#[test]
fn a_command_without_data() {
    let (mut host, fake) = Host::with_packet();
    start(&mut host, 0, 0);
    host.quiet();
    assert_eq!(host.alternate(), DATA);
    assert_eq!(host.inb(COUNT), 1, "command, from the host");
    host.outsw(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(host.interrupted(), READY);
    assert_eq!((host.inb(COUNT), host.inb(ERROR)), (COMPLETE, 0));
    assert_eq!(
        fake.lock().unwrap().packets,
        [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
    );
}

#[test]
fn the_packet_may_come_in_any_width() {
    for width in [1, 2, 4] {
        let (mut host, fake) = Host::with_packet();
        start(&mut host, 0, 0);
        for element in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].chunks(width) {
            host.channel.write(0, element);
        }
        assert_eq!(host.interrupted(), READY);
        assert_eq!(fake.lock().unwrap().packets[0][11], 12);
    }
}

#[test]
fn check_condition_shows_the_sense_key() {
    let (mut host, fake) = Host::with_packet();
    fake.lock().unwrap().reply = Some(Reply::Done(Status::CheckCondition { sense_key: 6 }));
    packet(&mut host, 0, 0);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!((host.inb(ERROR), host.inb(COUNT)), (0x64, COMPLETE));
}

#[test]
fn pio_data_in_pieces_under_the_limit() {
    let (mut host, fake) = with_data(5000);
    packet(&mut host, 0, 2048);
    for range in [0..2048, 2048..4096, 4096..5000] {
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(host.inb(COUNT), TO_HOST);
        assert_eq!(usize::from(byte_count(&mut host)), range.len());
        assert_eq!(host.insw(range.len()), counted(range));
    }
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.inb(COUNT), COMPLETE);
    assert_eq!(fake.lock().unwrap().asked[..3], [2048, 2048, 904]);
}

#[test]
fn an_odd_limit_and_an_odd_length() {
    let (mut host, _) = with_data(15);
    packet(&mut host, 0, 11);
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(byte_count(&mut host), 10);
    assert_eq!(host.insw(10), counted(0..10));
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(byte_count(&mut host), 5);
    assert_eq!(host.insw(6), [10, 11, 12, 13, 14, 0], "the last word is padded");
    assert_eq!(host.interrupted(), READY);
}

#[test]
fn limits_at_the_edges() {
    // More than there is, and the value that stands for the one below it.
    for (limit, len, count) in [
        (0xffff, 100_000, 0xfffe),
        (0xfffe, 100_000, 0xfffe),
        (0xffff, 40, 40),
    ] {
        let (mut host, _) = with_data(len);
        packet(&mut host, 0, limit);
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(byte_count(&mut host), count);
    }
    // A limit that lets nothing through.
    for limit in [0, 1] {
        let (mut host, fake) = with_data(40);
        packet(&mut host, 0, limit);
        assert_eq!(host.interrupted(), FAILED);
        assert_eq!((host.inb(ERROR), host.inb(COUNT)), (0x04, COMPLETE));
        assert_eq!(fake.lock().unwrap().aborts, 1);
    }
}

#[test]
fn a_device_that_is_at_work_keeps_the_channel_busy() {
    let (mut host, fake) = with_data(100);
    fake.lock().unwrap().pulls = VecDeque::from([Pull::Pending, Pull::Pending]);
    packet(&mut host, 0, 64);
    host.quiet();
    assert_eq!(host.alternate(), READY | BSY);
    host.channel.service();
    host.quiet();
    assert_eq!(host.insw(2), [0xff; 2]);
    host.channel.service();
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(host.insw(64), counted(0..64));
    assert_eq!(
        fake.lock().unwrap().asked,
        [64, 64, 64, 36],
        "the same length again"
    );
}

#[test]
fn data_that_ends_early_ends_with_its_status() {
    let (mut host, fake) = with_data(100);
    {
        let mut fake = fake.lock().unwrap();
        fake.stream = 50;
        fake.end = Some(Status::CheckCondition { sense_key: 3 });
    }
    packet(&mut host, 0, 50);
    assert_eq!(host.interrupted(), DATA);
    host.insw(50);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!((host.inb(ERROR), host.inb(COUNT)), (0x34, COMPLETE));
}

#[test]
fn pio_data_out() {
    let (mut host, fake) = Host::with_packet();
    fake.lock().unwrap().reply = Some(Reply::DataOut { len: 24 });
    packet(&mut host, 0, 16);
    assert_eq!(host.interrupted(), DATA);
    assert_eq!((host.inb(COUNT), byte_count(&mut host)), (0, 16));
    host.outsw(&counted(0..16));
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(byte_count(&mut host), 8);
    host.outsw(&counted(16..24));
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.inb(COUNT), COMPLETE);
    assert_eq!(fake.lock().unwrap().pushed, [counted(0..24)]);
}

#[test]
fn dma_in_and_out() {
    let (mut host, _) = with_data(300_000);
    let regions: Vec<_> = (0..5).map(|i| (BUFFER + i * 60_000, 60_000)).collect();
    host.regions(&regions);
    packet(&mut host, 1, 0);
    assert_eq!(host.alternate(), DATA);
    host.start_engine(true);
    assert_eq!(host.engine_status(), 0x04);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.inb(COUNT), COMPLETE);
    assert_eq!(host.ram.get(BUFFER, 300_000), counted(0..300_000));

    let (mut host, fake) = Host::with_packet();
    fake.lock().unwrap().reply = Some(Reply::DataOut { len: 24 });
    host.ram.put(BUFFER, &counted(0..24));
    host.regions(&[(BUFFER, 24)]);
    packet(&mut host, 1, 0);
    host.start_engine(false);
    assert_eq!(host.engine_status(), 0x04);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(fake.lock().unwrap().pushed, [counted(0..24)]);
}

#[test]
fn dma_with_less_data_than_the_table_takes() {
    let (mut host, fake) = with_data(96);
    fake.lock().unwrap().stream = 36;
    host.regions(&[(BUFFER, 96)]);
    packet(&mut host, 1, 0);
    host.start_engine(true);
    assert_eq!(host.engine_status(), 0x05);
    assert_eq!(host.interrupted(), READY);
}

#[test]
fn a_device_that_gives_nothing_does_not_hang_the_host() {
    let (mut host, fake) = with_data(96);
    fake.lock().unwrap().pulls = VecDeque::from([Pull::Data(Vec::new())]);
    host.regions(&[(BUFFER, 96)]);
    packet(&mut host, 1, 0);
    assert_eq!(host.alternate(), READY | BSY);
    host.start_engine(true);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.ram.get(BUFFER, 96), counted(0..96));
}

#[test]
fn identify_device_is_refused_with_the_signature() {
    for command in [0xec, 0x20, 0x24] {
        let (mut host, _) = Host::with_packet();
        for register in [COUNT, LOW, MID, HIGH] {
            host.outb(register, 0x99);
        }
        host.outb(COMMAND, command);
        assert_eq!(host.interrupted(), FAILED, "{command:#x}");
        assert_eq!(host.inb(ERROR), 0x04);
        assert_eq!([COUNT, LOW, MID, HIGH].map(|r| host.inb(r)), [1, 1, 0x14, 0xeb]);
    }
}

#[test]
fn identify_packet_device() {
    let (mut host, _) = Host::with_packet();
    host.outb(FEATURES, 0x03);
    host.outb(COUNT, 0x42);
    host.outb(COMMAND, 0xef);
    assert_eq!(host.interrupted(), READY);
    host.outb(COMMAND, 0xa1);
    assert_eq!(host.interrupted(), DATA);
    let words = host.insw(512);
    assert_eq!(host.alternate(), READY);
    host.quiet();
    assert_eq!([0, 88].map(|i| word(&words, i)), [0x85c0, 0x043f]);
}

#[test]
fn device_reset_is_heard_at_any_time() {
    let (mut host, fake) = with_data(100);
    packet(&mut host, 0, 64);
    assert_eq!(host.interrupted(), DATA);
    host.outb(DEVICE, 0xb0);
    host.outb(COMMAND, 0x08);
    host.quiet();
    assert_eq!(host.inb(STATUS), 0);
    assert_eq!(
        [ERROR, COUNT, LOW, MID, HIGH].map(|r| host.inb(r)),
        [1, 1, 1, 0x14, 0xeb]
    );
    assert_eq!(fake.lock().unwrap().aborts, 1);
    packet(&mut host, 0, 64);
    assert_eq!(host.interrupted(), DATA);
}

#[test]
fn commands_that_a_packet_device_knows_and_refuses() {
    let (mut host, _) = Host::with_packet();
    for command in [0xe0, 0xe1, 0xe5] {
        host.outb(COMMAND, command);
        assert_eq!(host.interrupted(), READY, "{command:#x}");
    }
    for command in [0x00, 0x10, 0x30, 0x91, 0xa2, 0xc8, 0xca, 0xda, 0xe7, 0xf5, 0xf8] {
        host.outb(COMMAND, command);
        assert_eq!(host.interrupted(), FAILED, "{command:#x}");
        assert_eq!(host.inb(ERROR), 0x04);
    }
    start(&mut host, 0x02, 64);
    assert_eq!(host.interrupted(), FAILED, "overlap");
}

#[test]
fn a_sleeping_drive_wakes_by_device_reset() {
    let (mut host, _) = Host::with_packet();
    host.outb(COMMAND, 0xe6);
    assert_eq!(host.interrupted(), READY);
    host.outb(COMMAND, 0xa1);
    host.quiet();
    host.outb(COMMAND, 0x08);
    host.outb(COMMAND, 0xa1);
    assert_eq!(host.interrupted(), DATA);
}
