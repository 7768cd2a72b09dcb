// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernels without firmware, and the map of memory that they are given.

use super::support::{Log, guest};
use super::{BOTH, MIB, numbers, pvh, run_alone};
use std::io::Write;
use virtualpc::boot::{self, DirectKernel};
use virtualpc::hypervisor::Irqchip;
use virtualpc::machine::control::End;
use virtualpc::machine::{Boot, Error, Machine, Spec};

const GIB: u64 = 1 << 30;

/// The memory map that a kernel is given: start, length, type.
fn map(memory: u64, irqchip: Irqchip) -> Vec<(u64, u64, u64)> {
    let log = Log::default();
    let end = run_alone(Spec {
        memory,
        ..pvh(irqchip, &log)
    });
    assert!(matches!(end, End::PoweredOff), "{end:?}\n{}", log.text());
    assert!(log.text().ends_with("pvh ok\r\n"), "{}", log.text());
    assert_eq!(numbers(&log, "pvh magic "), [[0x336e_c578]]);
    assert!(log.text().contains("pvh cmdline one two\r\n"), "{}", log.text());
    numbers(&log, "pvh memory ")
        .iter()
        .map(|row| (row[0] << 32 | row[1], row[2] << 32 | row[3], row[4]))
        .collect()
}

#[test]
fn the_memory_map_is_right_for_every_size() {
    let low = [(0, 0x9_fc00, 1), (0x9_fc00, 0x400, 2), (0xe_0000, 0x2_0000, 2)];
    for (memory, above_1m, above_4g) in [
        (2 * MIB, MIB, 0),
        (16 * MIB, 15 * MIB, 0),
        (3 * GIB, 3 * GIB - MIB, 0),
        (3 * GIB + MIB, 3 * GIB - MIB, MIB),
        (64 * GIB, 3 * GIB - MIB, 61 * GIB),
    ] {
        let mut wanted = low.to_vec();
        wanted.push((MIB, above_1m, 1));
        if above_4g > 0 {
            wanted.push((4 * GIB, above_4g, 1));
        }
        for irqchip in BOTH {
            assert_eq!(map(memory, irqchip), wanted, "{memory:#x}");
        }
    }
}

#[test]
fn the_initial_ram_disk_reaches_the_kernel() {
    let mut initrd = tempfile::NamedTempFile::new().unwrap();
    initrd.write_all(b"0707 and more").unwrap();
    let log = Log::default();
    let end = run_alone(Spec {
        boot: Boot::Kernel(DirectKernel {
            kernel: guest("pvh.elf"),
            initrd: Some(initrd.path().to_owned()),
            command_line: String::new(),
        }),
        ..pvh(Irqchip::Kernel, &log)
    });
    assert!(matches!(end, End::PoweredOff), "{end:?}");
    let first = u64::from(u32::from_le_bytes(*b"0707"));
    assert_eq!(numbers(&log, "pvh modules "), [[1, 16 * MIB - 4096, 13, first]]);
}

#[test]
fn a_kernel_that_does_not_fit_is_refused() {
    let hypervisor = virtualpc::hypervisor::open().unwrap();
    let spec = Spec {
        memory: MIB,
        ..pvh(Irqchip::Kernel, &Log::default())
    };
    let error = Machine::new(spec, &*hypervisor).map(drop).unwrap_err();
    assert!(
        matches!(error, Error::Boot(boot::Error::TooLittleMemory { .. })),
        "{error}"
    );
}
