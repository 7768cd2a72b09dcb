// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sizes of memory.

use super::support::{Log, firmware};
use super::{BOTH, MIB, run_alone, spec};
use virtualpc::hypervisor::Irqchip;
use virtualpc::machine::control::End;
use virtualpc::machine::{Error, Machine, Spec};

#[cfg(unix)]
const GIB: u64 = 1 << 30;

/// The guest wants 64 GiB, which Windows would take from the host at once.
#[cfg(unix)]
#[test]
fn memory_above_4_gib_is_there() {
    for irqchip in BOTH {
        let log = Log::default();
        let end = run_alone(Spec {
            memory: 64 * GIB,
            ..spec(firmware("highmem"), irqchip, &log)
        });
        assert!(matches!(end, End::PoweredOff), "{end:?}");
        assert_eq!(log.text(), "high memory ok\r\n");
    }
}

#[test]
fn one_mebibyte_is_enough_for_firmware() {
    for irqchip in BOTH {
        let log = Log::default();
        let end = run_alone(Spec {
            memory: MIB,
            ..spec(firmware("cycle"), irqchip, &log)
        });
        assert!(matches!(end, End::PoweredOff), "{end:?}");
        assert_eq!(log.text(), "!");
    }
}

#[test]
fn odd_sizes_are_refused() {
    let hypervisor = virtualpc::hypervisor::open().unwrap();
    let new = |spec| Machine::new(spec, &*hypervisor).map(drop).unwrap_err();
    for memory in [0, MIB - 1, MIB + 1, 1 << 41, u64::MAX] {
        let spec = Spec {
            memory,
            ..spec(firmware("cycle"), Irqchip::Kernel, &Log::default())
        };
        assert!(matches!(new(spec), Error::Memory(_)), "{memory:#x}");
    }
}
