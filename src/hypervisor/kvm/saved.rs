// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Saving KVM's processors and chips.

use super::super::{Error, Result};
use super::call;
use super::state::{ChipState, VcpuState, each_batch, write_msrs};
use kvm_bindings as kb;
use kvm_ioctls::{VcpuFd, VmFd};
use serde::{Deserialize, Serialize};

/// The time stamp counter and its offset, which a reset leaves alone and a restore does not; in the order in which they are written.
const TIME_STAMP: [u32; 2] = [0x3b, 0x10];
/// The deadline of the local APIC's timer: of no meaning before the local APIC is restored.
const TSC_DEADLINE: u32 = 0x6e0;
/// Leaves of CPUID whose registers are sets of features: leaf, sub-leaf, and which of EAX to EDX.
const FEATURE_LEAVES: &[(u32, u32, [bool; 4])] = &[
    (1, 0, [false, false, true, true]),
    (7, 0, [false, true, true, true]),
    (7, 1, [true, false, false, true]),
    (0xd, 0, [true, false, false, true]),
    (0xd, 1, [true, false, false, false]),
    (0x8000_0001, 0, [false, false, true, true]),
];

/// A processor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedCpu {
    cpuid: Vec<kb::kvm_cpuid_entry2>,
    registers: VcpuState,
    xsave: kb::kvm_xsave,
    time: Vec<kb::kvm_msr_entry>,
    /// The vector that our PIC has given and the guest has not got yet.
    offered: Option<u8>,
}

/// The clock that guests read from memory, and the chips of KVM's own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedVm {
    clock: Option<kb::kvm_clock_data>,
    chips: Option<ChipState>,
}

impl SavedCpu {
    /// Reads a processor. `cpuid` is what it was given, `offered` a vector that the guest may not have got.
    pub(super) fn read(
        fd: &VcpuFd,
        msrs: &kb::MsrList,
        cpuid: &kb::CpuId,
        offered: Option<u8>,
    ) -> Result<Self> {
        let registers = VcpuState::read(fd, msrs)?;
        let mut time = Vec::new();
        let wanted = TIME_STAMP.map(|index| kb::kvm_msr_entry {
            index,
            ..Default::default()
        });
        each_batch(&wanted, |batch| {
            let count = fd.get_msrs(batch).unwrap_or(0);
            time.extend_from_slice(&batch.as_slice()[..count.min(batch.as_slice().len())]);
            count
        });
        Ok(Self {
            cpuid: cpuid.as_slice().to_vec(),
            // The processor could take it when it was offered. If it still can, and KVM would take no other, it is still with KVM.
            offered: offered.filter(|_| registers.takes_interrupts()),
            registers,
            xsave: call("KVM_GET_XSAVE", fd.get_xsave())?,
            time,
        })
    }

    /// The vector to give to KVM again.
    pub(super) fn offered(&self) -> Option<u8> {
        self.offered
    }

    /// Writes it to a processor that was made with `cpuid`, and gives what that has now.
    pub(super) fn write(&self, fd: &VcpuFd, cpuid: &kb::CpuId) -> Result<kb::CpuId> {
        check_features(&self.cpuid, cpuid.as_slice())?;
        let entries = kb::CpuId::from_entries(&self.cpuid)
            .map_err(|_| Error::Incompatible("the saved processor has too many CPUID leaves".into()))?;
        call("KVM_SET_CPUID2", fd.set_cpuid2(&entries))?;
        write_msrs(fd, &self.time);
        self.registers.write(fd)?;
        // SAFETY: the structure is as long as the kernel reads: the larger one belongs to a call of its own, for features that a process has
        // to ask for, which this one does not.
        call("KVM_SET_XSAVE", unsafe { fd.set_xsave(&self.xsave) })?;
        let deadline: Vec<_> = self.registers.msrs(TSC_DEADLINE);
        write_msrs(fd, &deadline);
        // Guests with KVM's clock learn that they stood still. Who has not got that clock is refused, which is as well.
        let _ = fd.kvmclock_ctrl();
        Ok(entries)
    }
}

impl SavedVm {
    pub(super) fn read(fd: &VmFd, in_kernel: bool) -> Result<Self> {
        Ok(Self {
            clock: fd.get_clock().ok(),
            chips: if in_kernel {
                Some(ChipState::read(fd)?)
            } else {
                None
            },
        })
    }

    pub(super) fn write(&self, fd: &VmFd, in_kernel: bool) -> Result<()> {
        if let Some(clock) = &self.clock {
            let clock = kb::kvm_clock_data {
                clock: clock.clock,
                ..Default::default()
            };
            call("KVM_SET_CLOCK", fd.set_clock(&clock))?;
        }
        match (&self.chips, in_kernel) {
            (Some(chips), true) => chips.write(fd),
            (None, false) => Ok(()),
            _ => Err(Error::Incompatible(
                "its interrupt controllers were played by somebody else".into(),
            )),
        }
    }
}

/// A guest goes on only where everything is that it has found.
fn check_features(then: &[kb::kvm_cpuid_entry2], now: &[kb::kvm_cpuid_entry2]) -> Result<()> {
    let find = |list: &[kb::kvm_cpuid_entry2], leaf, subleaf| {
        let found = list.iter().find(|e| (e.function, e.index) == (leaf, subleaf));
        found.map_or([0; 4], |e| [e.eax, e.ebx, e.ecx, e.edx])
    };
    let [_, vendor @ ..] = find(then, 0, 0);
    if vendor != find(now, 0, 0)[1..] {
        return Err(Error::Incompatible(
            "the machine was saved on a processor of another make".into(),
        ));
    }
    for (leaf, subleaf, registers) in FEATURE_LEAVES {
        let (then, now) = (find(then, *leaf, *subleaf), find(now, *leaf, *subleaf));
        for ((then, now), (name, matters)) in then
            .into_iter()
            .zip(now)
            .zip(["eax", "ebx", "ecx", "edx"].into_iter().zip(registers))
        {
            let missing = then & !now;
            // What the guest switches on itself shows in these two bits.
            let own = if *leaf == 1 && name == "ecx" { 1 << 27 } else { 0 }
                | if *leaf == 7 && name == "ecx" { 1 << 4 } else { 0 };
            if *matters && missing & !own != 0 {
                return Err(Error::Incompatible(format!(
                    "this processor lacks features that the guest has found: CPUID {leaf:#x}.{subleaf} {name}, bits {missing:#010x}"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(function: u32, ebx: u32, ecx: u32) -> kb::kvm_cpuid_entry2 {
        kb::kvm_cpuid_entry2 {
            function,
            ebx,
            ecx,
            ..Default::default()
        }
    }

    #[test]
    fn a_guest_goes_on_where_all_is_that_it_has_found() {
        let then = [entry(0, 0x756e_6547, 0x6c65_746e), entry(1, 7, 0x0000_0201)];
        let more = [entry(0, 0x756e_6547, 0x6c65_746e), entry(1, 9, 0x0000_0a01)];
        assert!(check_features(&then, &then).is_ok());
        assert!(
            check_features(&then, &more).is_ok(),
            "what is new, the guest does not see"
        );
        let error = check_features(&more, &then).unwrap_err();
        assert!(error.to_string().contains("CPUID 0x1.0 ecx"), "{error}");
        let other = [entry(0, 0x6874_7541, 0x444d_4163), entry(1, 7, 0x0000_0201)];
        assert!(check_features(&then, &other).is_err());
    }
}
