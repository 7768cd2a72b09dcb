// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a comparison with another emulator does not show: pages, and being interrupted. The comparison stands in `tests/emulator.rs`.
#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::BTreeMap;

/// Memory with some pages, each translated to an address 1 MiB higher.
#[derive(Default)]
struct Paged {
    pages: BTreeMap<u64, Vec<u8>>,
    ports: Vec<u8>,
}

const OFFSET: u64 = 1 << 20;

impl Outside for Paged {
    fn translate(&mut self, linear: u64, _write: bool) -> Option<u64> {
        self.pages
            .contains_key(&(linear / 4096))
            .then_some(linear + OFFSET)
    }

    fn read(&mut self, physical: u64, data: &mut [u8]) {
        let linear = physical - OFFSET;
        let at = (linear % 4096) as usize;
        data.copy_from_slice(&self.pages[&(linear / 4096)][at..at + data.len()]);
    }

    fn write(&mut self, physical: u64, data: &[u8]) {
        let linear = physical - OFFSET;
        let at = (linear % 4096) as usize;
        self.pages.get_mut(&(linear / 4096)).unwrap()[at..at + data.len()].copy_from_slice(data);
    }

    fn port_read(&mut self, _port: u16, _width: usize, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn port_write(&mut self, _port: u16, _width: usize, data: &[u8]) {
        self.ports.extend_from_slice(data);
    }
}

fn paged(pages: &[u64]) -> Paged {
    Paged {
        pages: pages.iter().map(|page| (*page, vec![0; 4096])).collect(),
        ports: Vec::new(),
    }
}

/// Flat 32-bit code.
fn registers() -> Registers {
    let mut registers = Registers {
        rip: 0x7000,
        rflags: 2,
        ..Registers::default()
    };
    registers.segments[0].rights = 0xc09b;
    registers
}

const RCX: usize = 2;
const RBX: usize = 1;
const RDX: usize = 3;
const RSI: usize = 4;
const RDI: usize = 5;

#[test]
fn an_access_that_crosses_pages_is_two() {
    let mut outside = paged(&[1, 2]);
    let mut r = registers();
    (r.general[0], r.general[RBX]) = (0x1122_3344, 0x1ffe);
    assert_eq!(emulate(&mut r, &[0x89, 0x03], &mut outside), Outcome::Done);
    assert_eq!(outside.pages[&1][0xffe..], [0x44, 0x33]);
    assert_eq!(outside.pages[&2][..2], [0x22, 0x11]);
    r.general[0] = 0;
    assert_eq!(emulate(&mut r, &[0x8b, 0x03], &mut outside), Outcome::Done);
    assert_eq!((r.general[0], r.rip), (0x1122_3344, 0x7004));
    // The second page is missing: nothing is written to the first.
    let mut outside = paged(&[1]);
    r.general[0] = 0x5555_5555;
    let missing = Outcome::PageFault {
        address: 0x2000,
        write: true,
    };
    let before = r.clone();
    assert_eq!(emulate(&mut r, &[0x89, 0x03], &mut outside), missing);
    assert_eq!((&r, outside.pages[&1][0xffe]), (&before, 0));
}

#[test]
fn a_string_that_meets_a_missing_page_stops_there() {
    for (code, index) in [([0xf3, 0x6c], RDI), ([0xf3, 0xaa], RDI), ([0xf3, 0x6e], RSI)] {
        let mut outside = paged(&[1]);
        let mut r = registers();
        (r.general[RCX], r.general[index], r.general[RDX]) = (100, 0x1ff0, 0x1f0);
        let outcome = emulate(&mut r, &code, &mut outside);
        assert!(
            matches!(outcome, Outcome::PageFault { address: 0x2000, .. }),
            "{outcome:?}"
        );
        assert_eq!((r.rip, r.general[RCX], r.general[index]), (0x7000, 84, 0x2000));
    }
}

#[test]
fn a_long_string_comes_back_for_interrupts() {
    let mut outside = paged(&[1, 2, 3]);
    let mut r = registers();
    (r.general[RCX], r.general[RSI], r.general[RDX]) = (STRING_MOST + 1, 0x1000, 0x402);
    assert_eq!(emulate(&mut r, &[0xf3, 0x6e], &mut outside), Outcome::Done);
    assert_eq!((r.rip, r.general[RCX]), (0x7000, 1));
    assert_eq!(emulate(&mut r, &[0xf3, 0x6e], &mut outside), Outcome::Done);
    assert_eq!((r.rip, r.general[RCX]), (0x7002, 0));
    assert_eq!(outside.ports.len() as u64, STRING_MOST + 1);
}

#[test]
fn sixteen_bit_indices_wrap_within_their_segment() {
    let mut outside = paged(&[0x10, 0x1f]);
    let mut r = registers();
    r.segments[0].rights = 0x9b;
    r.segments[2].base = 0x1_0000;
    (r.general[RCX], r.general[RDI], r.general[RDX]) = (0xffff_0004, 0xffff_fffe, 0x1f0);
    assert_eq!(emulate(&mut r, &[0xf3, 0x6c], &mut outside), Outcome::Done);
    assert_eq!(outside.pages[&0x1f][0xffd..], [0, 0x5a, 0x5a]);
    assert_eq!(outside.pages[&0x10][..3], [0x5a, 0x5a, 0]);
    assert_eq!((r.general[RCX], r.general[RDI]), (0xffff_0000, 0xffff_0002));
}

#[test]
fn long_mode_takes_bases_from_fs_and_gs_only() {
    let mut outside = paged(&[1, 5]);
    let mut r = registers();
    (r.segments[0].rights, r.efer) = (0xa09b, 0x500);
    (r.segments[1].base, r.segments[4].base) = (0x10_0000, 0x4000);
    (r.general[0], r.general[RBX]) = (0x1122_3344_5566_7788, 0x1000);
    assert_eq!(emulate(&mut r, &[0x48, 0x89, 0x03], &mut outside), Outcome::Done);
    assert_eq!(emulate(&mut r, &[0x65, 0x88, 0x03], &mut outside), Outcome::Done);
    assert_eq!(outside.pages[&1][..8], 0x1122_3344_5566_7788u64.to_le_bytes());
    assert_eq!(outside.pages[&5][0], 0x88);
}
