// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A thousand machines one after another in one process leave nothing behind. Alone in its program, so that nobody else opens files.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "support/support.rs"]
mod support;

use support::{Log, firmware};
use virtualpc::hypervisor::{self, Irqchip};
use virtualpc::machine::control::End;
use virtualpc::machine::{Boot, IdeDrive, Machine, Spec};

/// What a process has: descriptors, threads, KiB of resident memory.
#[derive(Debug)]
struct Usage {
    descriptors: usize,
    threads: usize,
    resident: u64,
}

fn usage() -> Usage {
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    Usage {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        resident: line.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

#[test]
fn a_thousand_power_cycles() {
    let hypervisor = hypervisor::open().unwrap();
    let image = firmware("cycle");
    let cycle = |n: u32| {
        let log = Log::default();
        let spec = Spec {
            memory: 1 << 20,
            cpus: 1 + (n % 2) as u8,
            without: vec![],
            irqchip: if n % 4 < 2 {
                Irqchip::Kernel
            } else {
                Irqchip::Split
            },
            boot: Boot::Firmware {
                image: image.clone(),
                vga_bios: None,
            },
            boot_order: vec![],
            date: 0,
            reboot: false,
            serial: [None, None, None, None],
            parallel: None,
            ide: [Some(IdeDrive::Dvd(None)), None, None, None],
            floppies: [None, None],
            virtio: vec![],
            debug_console: Some(log.sink()),
        };
        let mut machine = Machine::new(spec, &*hypervisor).unwrap();
        let end = machine.run().unwrap();
        assert!(matches!(end, End::PoweredOff), "{n}: {end:?}");
        assert_eq!(log.text(), "!");
    };
    // The first ones fill the allocator's and the kernel's pools.
    (0..100).for_each(cycle);
    let before = usage();
    (0..1000).for_each(cycle);
    let after = usage();
    assert_eq!(after.descriptors, before.descriptors, "{before:?} {after:?}");
    assert_eq!(after.threads, before.threads, "{before:?} {after:?}");
    // A page lost a machine would be 4000 KiB.
    assert!(after.resident < before.resident + 2048, "{before:?} {after:?}");
}
