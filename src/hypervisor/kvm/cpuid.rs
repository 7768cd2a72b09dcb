// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest processor says of itself: the host's CPUID as KVM can offer it, less what the user masked, with the machine's own
//! topology (all processors are cores of one package) in the leaves that carry it.

use super::super::{CpuidProfile, CpuidRegister};
use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Intel: deterministic cache parameters; cores a package in EAX 31–26.
const CACHE: u32 = 4;
/// Intel: extended topology.
const TOPOLOGY: u32 = 0xb;
/// Intel: V2 extended topology; left out, since leaf 0xB says it all.
const TOPOLOGY_V2: u32 = 0x1f;
/// Sizes: physical address width in EAX 7–0; AMD: cores a package in ECX 7–0, width of the core field of the APIC identity in ECX 15–12.
const AMD_SIZES: u32 = 0x8000_0008;
/// AMD: extended APIC identity.
const AMD_TOPOLOGY: u32 = 0x8000_001e;

/// Fits the host's CPUID to processor `index` of a machine.
pub(super) fn for_vcpu(cpuid: &mut CpuId, index: u8, tsc_deadline: bool, profile: &CpuidProfile) {
    cpuid.retain(|entry| entry.function != TOPOLOGY_V2);
    let cpus = u32::from(profile.cpus.max(1));
    // Bits of the APIC identity that number cores.
    let width = cpus.next_power_of_two().trailing_zeros();
    let id = u32::from(index);
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => {
                entry.ebx = entry.ebx & 0xffff | cpus << 16 | id << 24;
                // KVM leaves these two for us to say. A guest that does not know that it is one finds neither KVM's clock nor its
                // other aids; and the local APICs, which are always KVM's here, have the deadline timer.
                const HYPERVISOR: u32 = 1 << 31;
                const TSC_DEADLINE: u32 = 1 << 24;
                entry.ecx |= HYPERVISOR | if tsc_deadline { TSC_DEADLINE } else { 0 };
                const HTT: u32 = 1 << 28;
                entry.edx = if cpus > 1 {
                    entry.edx | HTT
                } else {
                    entry.edx & !HTT
                };
            }
            CACHE if entry.eax & 0x1f != 0 => {
                // Caches of the first two levels are a core's own, the third is shared by the package.
                let sharing = if entry.eax >> 5 & 7 >= 3 {
                    (1 << width) - 1
                } else {
                    0
                };
                entry.eax = entry.eax & 0x3fff | sharing << 14 | ((1 << width) - 1) << 26;
            }
            TOPOLOGY => set_topology(entry, width, cpus, id),
            AMD_SIZES => entry.ecx = entry.ecx & !0xf0ff | (cpus - 1) | width << 12,
            AMD_TOPOLOGY => {
                entry.eax = id;
                entry.ebx = id;
                entry.ecx = 0;
            }
            _ => {}
        }
    }
    for feature in &profile.without {
        for entry in cpuid.as_mut_slice() {
            if entry.function == feature.leaf && entry.index == feature.subleaf {
                let register = match feature.register {
                    CpuidRegister::Eax => &mut entry.eax,
                    CpuidRegister::Ebx => &mut entry.ebx,
                    CpuidRegister::Ecx => &mut entry.ecx,
                    CpuidRegister::Edx => &mut entry.edx,
                };
                *register &= !(1 << feature.bit);
            }
        }
    }
}

/// The width of a physical address (leaf 80000008h); 36 bits where the processor does not say.
pub(super) fn address_bits(cpuid: &CpuId) -> u32 {
    let sizes = cpuid.as_slice().iter().find(|entry| entry.function == AMD_SIZES);
    sizes.map_or(36, |entry| entry.eax & 0xff)
}

/// Leaf 0xB: level 0 is the thread, of which a core has one; level 1 the core.
fn set_topology(entry: &mut kvm_cpuid_entry2, width: u32, cpus: u32, id: u32) {
    const THREAD: u32 = 1;
    const CORE: u32 = 2;
    (entry.eax, entry.ebx, entry.ecx) = match entry.index {
        0 => (0, 1, THREAD << 8),
        1 => (width, cpus, CORE << 8 | 1),
        other => (0, 0, other & 0xff),
    };
    entry.edx = id;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            ..kvm_cpuid_entry2::default()
        }
    }

    #[test]
    fn topology_of_three_cores() {
        let mut cpuid = CpuId::from_entries(&[
            entry(1, 0),
            entry(0xb, 0),
            entry(0xb, 1),
            entry(0x1f, 0),
            entry(AMD_SIZES, 0),
        ])
        .unwrap();
        for_vcpu(
            &mut cpuid,
            2,
            true,
            &CpuidProfile {
                cpus: 3,
                without: vec![],
            },
        );
        let entries = cpuid.as_slice();
        assert_eq!(entries.len(), 4, "leaf 1Fh is gone");
        assert_eq!(entries[0].ebx >> 16, 0x0203);
        assert_eq!(entries[0].edx, 1 << 28);
        assert_eq!(entries[0].ecx, 1 << 31 | 1 << 24);
        assert_eq!((entries[1].eax, entries[1].ebx, entries[1].edx), (0, 1, 2));
        assert_eq!((entries[2].eax, entries[2].ebx, entries[2].ecx), (2, 3, 0x201));
        assert_eq!(entries[3].ecx, 2 | 2 << 12);
    }

    #[test]
    fn masked_features_are_gone() {
        let mut cpuid = CpuId::from_entries(&[kvm_cpuid_entry2 {
            ecx: u32::MAX,
            ..entry(1, 0)
        }])
        .unwrap();
        for_vcpu(
            &mut cpuid,
            0,
            false,
            &CpuidProfile {
                cpus: 1,
                without: vec!["avx".parse().unwrap()],
            },
        );
        assert_eq!(cpuid.as_slice()[0].ecx, !(1 << 28));
        assert_eq!(cpuid.as_slice()[0].edx, 0, "one processor: no HTT");
    }
}
