// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The mouse.
use super::*;

const NONE: MouseButtons = MouseButtons::empty();

/// A mouse that reports.
fn enabled() -> Bench {
    let mut bench = Bench::new();
    assert_eq!(bench.mouse(&[0xf4]), [ACK]);
    bench.clock.advance(BYTE_TIME);
    bench
}

fn knock(bench: &mut Bench, rates: [u8; 3]) -> u8 {
    let [a, b, c] = rates;
    assert_eq!(bench.mouse(&[0xf3, a, 0xf3, b, 0xf3, c]), [ACK; 6]);
    bench.mouse(&[0xf2])[1]
}

#[test]
fn commands() {
    let mut bench = Bench::new();
    assert_eq!(bench.mouse(&[0xff]), [ACK, 0xaa, 0x00]);
    assert_eq!(bench.mouse(&[0xf2]), [ACK, 0x00]);
    assert_eq!(bench.mouse(&[0xe9]), [ACK, 0x00, 2, 100]);
    assert_eq!(bench.mouse(&[0xe8, 3, 0xf3, 40, 0xe7, 0xf4, 0xf0]), [ACK; 7]);
    bench.chip.mouse(0, 0, 0, MouseButtons::LEFT);
    assert_eq!(bench.mouse(&[0xe9]), [ACK, 0x74, 3, 40]);
    bench
        .chip
        .mouse(0, 0, 0, MouseButtons::RIGHT | MouseButtons::MIDDLE);
    assert_eq!(bench.mouse(&[0xe9]), [ACK, 0x73, 3, 40]);
    bench.chip.mouse(0, 0, 0, NONE);
    assert_eq!(bench.mouse(&[0xf6]), [ACK]);
    assert_eq!(bench.mouse(&[0xe9]), [ACK, 0x00, 2, 100]);
}

#[test]
fn what_is_not_understood() {
    let mut bench = Bench::new();
    for byte in [0x00, 0xe1, 0xed, 0xef, 0xf1, 0xf7, 0xfd] {
        assert_eq!(bench.mouse(&[byte]), [RESEND]);
    }
    assert_eq!(bench.mouse(&[0xe8, 4]), [ACK, RESEND]);
    assert_eq!(bench.mouse(&[0xf3, 99]), [ACK, RESEND]);
    assert_eq!(bench.mouse(&[0xe9]), [ACK, 0, 2, 100]);
}

#[test]
fn the_last_answer_again() {
    let mut bench = Bench::new();
    bench.mouse(&[0xe9]);
    assert_eq!(bench.mouse(&[0xfe]), [ACK, 0, 2, 100]);
    bench.mouse(&[0xf4]);
    bench.chip.mouse(1, 2, 0, NONE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 1, 2]);
    assert_eq!(bench.mouse(&[0xfe]), [0x08, 1, 2]);
}

#[test]
fn reports() {
    let mut bench = enabled();
    bench.set_command_byte(0x02);
    bench.chip.mouse(5, -3, 0, MouseButtons::LEFT);
    assert_eq!(bench.mouse_irq.take_rises(), 1);
    assert_eq!(bench.listen(AUX_FULL), [0x29, 5, 0xfd]);
    assert_eq!(bench.mouse_irq.take_rises(), 2);
    bench
        .chip
        .mouse(-1, 0, 0, MouseButtons::RIGHT | MouseButtons::MIDDLE);
    assert_eq!(bench.listen(AUX_FULL), [0x1e, 0xff, 0]);
    // Nothing new is no report; neither is a wheel that the driver has not found.
    bench
        .chip
        .mouse(0, 0, 3, MouseButtons::RIGHT | MouseButtons::MIDDLE);
    assert_eq!(bench.listen(AUX_FULL), []);
}

#[test]
fn nothing_is_reported_before_it_is_enabled() {
    let mut bench = Bench::new();
    bench.chip.mouse(5, 5, 0, MouseButtons::LEFT);
    assert_eq!(bench.listen(AUX_FULL), []);
    bench.mouse(&[0xf4]);
    assert_eq!(bench.listen(AUX_FULL), []);
    bench.chip.mouse(1, 0, 0, MouseButtons::LEFT);
    assert_eq!(bench.listen(AUX_FULL), [0x09, 1, 0]);
    bench.mouse(&[0xf5]);
    bench.chip.mouse(1, 0, 0, MouseButtons::LEFT);
    assert_eq!(bench.listen(AUX_FULL), []);
}

#[test]
fn long_movements_take_several_reports() {
    let mut bench = enabled();
    bench.chip.mouse(600, -256, 0, NONE);
    assert_eq!(
        bench.listen(AUX_FULL),
        [0x28, 255, 1, 0x28, 255, 255, 0x08, 90, 0]
    );
}

#[test]
fn movement_adds_up_and_clicks_do_not_get_lost() {
    let mut bench = enabled();
    bench.command(0xa7);
    for _ in 0..1000 {
        bench.chip.mouse(1, 0, 0, NONE);
        bench.chip.mouse(-1, 1, 0, NONE);
    }
    bench.chip.mouse(0, 0, 0, MouseButtons::LEFT);
    bench.chip.mouse(0, 0, 0, NONE);
    bench.chip.mouse(7, 0, 0, NONE);
    bench.command(0xa8);
    let bytes = bench.listen(AUX_FULL);
    let reports: Vec<_> = bytes.chunks(3).map(|r| (r[0] & 7, r[1], r[2])).collect();
    assert_eq!(
        reports,
        [
            (0, 0, 255),
            (0, 0, 255),
            (0, 0, 255),
            (0, 0, 235),
            (1, 0, 0),
            (0, 7, 0)
        ]
    );
}

#[test]
fn endless_clicks_do_not_pile_up() {
    let mut bench = enabled();
    bench.command(0xa7);
    for _ in 0..1000 {
        bench.chip.mouse(i32::MAX, i32::MIN, 0, MouseButtons::LEFT);
        bench.chip.mouse(i32::MAX, i32::MIN, 0, NONE);
    }
    for _ in 0..2000 {
        bench.chip.mouse(i32::MIN, i32::MAX, 0, NONE);
    }
    bench.mouse(&[0xf4]);
    assert_eq!(bench.listen(AUX_FULL), []);
}

#[test]
fn a_wheel_after_the_knock() {
    let mut bench = Bench::new();
    // Out of order it is no knock.
    assert_eq!(knock(&mut bench, [200, 80, 100]), 0);
    assert_eq!(knock(&mut bench, [200, 200, 80]), 0);
    assert_eq!(knock(&mut bench, [200, 100, 80]), 3);
    bench.mouse(&[0xf4]);
    bench.chip.mouse(1, 1, -2, MouseButtons::SIDE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 1, 1, 0xfe]);
    bench.chip.mouse(0, 0, 10, MouseButtons::SIDE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 0, 0, 7, 0x08, 0, 0, 3]);
    // Defaults keep the wheel, a reset takes it away.
    bench.mouse(&[0xf6]);
    assert_eq!(bench.mouse(&[0xf2]), [ACK, 3]);
    bench.mouse(&[0xff]);
    assert_eq!(bench.mouse(&[0xf2]), [ACK, 0]);
}

#[test]
fn two_more_buttons_after_both_knocks() {
    let mut bench = Bench::new();
    assert_eq!(knock(&mut bench, [200, 100, 80]), 3);
    assert_eq!(knock(&mut bench, [200, 200, 80]), 4);
    assert_eq!(knock(&mut bench, [200, 100, 80]), 4);
    bench.mouse(&[0xf4]);
    bench.chip.mouse(0, 0, -1, MouseButtons::SIDE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 0, 0, 0x1f]);
    bench
        .chip
        .mouse(0, 0, 1, MouseButtons::EXTRA | MouseButtons::LEFT);
    assert_eq!(bench.listen(AUX_FULL), [0x09, 0, 0, 0x21]);
}

#[test]
fn remote_mode_reports_when_asked() {
    let mut bench = enabled();
    bench.mouse(&[0xf0]);
    bench.chip.mouse(3, 4, 0, NONE);
    assert_eq!(bench.listen(AUX_FULL), []);
    assert_eq!(bench.mouse(&[0xeb]), [ACK, 0x08, 3, 4]);
    assert_eq!(bench.mouse(&[0xeb]), [ACK, 0x08, 0, 0]);
    bench.mouse(&[0xea]);
    bench.chip.mouse(3, 4, 0, NONE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 3, 4]);
}

#[test]
fn wrap_mode_echoes() {
    let mut bench = enabled();
    assert_eq!(bench.mouse(&[0xee]), [ACK]);
    bench.chip.mouse(3, 4, 0, NONE);
    assert_eq!(bench.listen(AUX_FULL), []);
    assert_eq!(bench.mouse(&[0x12, 0xf2, 0xf4, 0xee]), [0x12, 0xf2, 0xf4, 0xee]);
    assert_eq!(bench.mouse(&[0xec]), [ACK]);
    assert_eq!(bench.mouse(&[0xf2]), [ACK, 0]);
    bench.mouse(&[0xee]);
    assert_eq!(bench.mouse(&[0xff]), [ACK, 0xaa, 0]);
}

#[test]
fn scaling() {
    let mut bench = enabled();
    bench.mouse(&[0xe7]);
    for (count, expected) in [(1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (6, 12), (200, 255)] {
        bench.chip.mouse(count, -count, 0, NONE);
        assert_eq!(
            bench.listen(AUX_FULL),
            [0x28, expected, 0_u8.wrapping_sub(expected)]
        );
    }
    // Not for those who ask.
    bench.mouse(&[0xf0]);
    bench.chip.mouse(5, 0, 0, NONE);
    assert_eq!(bench.mouse(&[0xeb]), [ACK, 0x08, 5, 0]);
    bench.mouse(&[0xea, 0xe6]);
    bench.chip.mouse(5, 0, 0, NONE);
    assert_eq!(bench.listen(AUX_FULL), [0x08, 5, 0]);
}

#[test]
fn a_command_cuts_a_report_off() {
    let mut bench = enabled();
    bench.chip.mouse(1, 2, 0, NONE);
    assert_eq!(bench.read(), 0x08);
    assert_eq!(bench.mouse(&[0xf2]), [ACK, 0]);
    assert_eq!(bench.listen(AUX_FULL), []);
}
