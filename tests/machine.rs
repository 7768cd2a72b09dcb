// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole machines with tiny guests on this host's `/dev/kvm`.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use virtualpc::hypervisor::{self, Irqchip};
use virtualpc::machine::control::End;
use virtualpc::machine::{Boot, Machine, Spec};

/// What a guest wrote to the debug console.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn spec(image: Vec<u8>, irqchip: Irqchip, log: &Log) -> Spec {
    let log = log.clone();
    Spec {
        memory: 16 << 20,
        cpus: 1,
        without: vec![],
        irqchip,
        boot: Boot::Firmware {
            image,
            vga_bios: std::fs::read("/usr/share/seabios/vgabios-isavga.bin").ok(),
        },
        boot_order: vec![],
        date: 0,
        reboot: false,
        serial: [None, None, None, None],
        parallel: None,
        floppies: [None, None],
        ide: [None, None, None, None],
        debug_console: Box::new(move |bytes| log.0.lock().unwrap().extend_from_slice(bytes)),
    }
}

#[test]
fn seabios_starts() {
    env_logger::init();
    let hypervisor = hypervisor::open().unwrap();
    for irqchip in [Irqchip::Kernel, Irqchip::Split] {
        let log = Log::default();
        let image = std::fs::read("/usr/share/seabios/bios-256k.bin").unwrap();
        let mut machine = Machine::new(spec(image, irqchip, &log), &*hypervisor).unwrap();
        let remote = machine.remote();
        let log2 = log.clone();
        let t = std::thread::spawn(move || {
            for _ in 0..200 {
                std::thread::sleep(std::time::Duration::from_millis(100));
                if log2.text().contains("No bootable device") {
                    break;
                }
            }
            remote
                .command(virtualpc::machine::control::Command::Quit)
                .unwrap();
        });
        let end = machine.run().unwrap();
        t.join().unwrap();
        eprintln!("{irqchip:?} {end:?}\n{}", log.text());
        assert!(matches!(end, End::Quit));
    }
}
