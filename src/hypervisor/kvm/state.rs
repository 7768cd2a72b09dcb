// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Register state of KVM's processors and chips, read and written whole. A reset writes back what was read when they were made.

use super::super::Result;
use super::call;
use kvm_bindings as kb;
use kvm_ioctls::{Cap, VcpuFd, VmFd};
use serde::{Deserialize, Serialize};

/// The in-kernel PIC pair, I/O APIC and PIT.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChipState {
    chips: [kb::kvm_irqchip; 3],
    pit: kb::kvm_pit_state2,
}

impl ChipState {
    pub(super) fn read(fd: &VmFd) -> Result<Self> {
        let mut chips = [
            kb::KVM_IRQCHIP_PIC_MASTER,
            kb::KVM_IRQCHIP_PIC_SLAVE,
            kb::KVM_IRQCHIP_IOAPIC,
        ]
        .map(|chip_id| kb::kvm_irqchip {
            chip_id,
            ..Default::default()
        });
        for chip in &mut chips {
            call("KVM_GET_IRQCHIP", fd.get_irqchip(chip))?;
        }
        Ok(Self {
            chips,
            pit: call("KVM_GET_PIT2", fd.get_pit2())?,
        })
    }

    pub(super) fn write(&self, fd: &VmFd) -> Result<()> {
        for chip in &self.chips {
            call("KVM_SET_IRQCHIP", fd.set_irqchip(chip))?;
        }
        call("KVM_SET_PIT2", fd.set_pit2(&self.pit))
    }
}

/// The registers of one processor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VcpuState {
    general: kb::kvm_regs,
    special: kb::kvm_sregs,
    /// A saved processor has its extended state beside.
    #[serde(skip)]
    fpu: Option<kb::kvm_fpu>,
    extended: Option<kb::kvm_xcrs>,
    debug: kb::kvm_debugregs,
    events: kb::kvm_vcpu_events,
    lapic: kb::kvm_lapic_state,
    run_state: kb::kvm_mp_state,
    msrs: Vec<kb::kvm_msr_entry>,
}

/// The time stamp counter: it goes on through a reset here, so that guests never see it run at two paces.
const IA32_TSC: u32 = 0x10;
const IA32_TSC_ADJUST: u32 = 0x3b;

impl VcpuState {
    pub(super) fn read(fd: &VcpuFd, msrs: &kb::MsrList) -> Result<Self> {
        Ok(Self {
            general: call("KVM_GET_REGS", fd.get_regs())?,
            special: call("KVM_GET_SREGS", fd.get_sregs())?,
            fpu: Some(call("KVM_GET_FPU", fd.get_fpu())?),
            extended: fd.get_xcrs().ok(),
            debug: call("KVM_GET_DEBUGREGS", fd.get_debug_regs())?,
            events: call("KVM_GET_VCPU_EVENTS", fd.get_vcpu_events())?,
            lapic: call("KVM_GET_LAPIC", fd.get_lapic())?,
            run_state: call("KVM_GET_MP_STATE", fd.get_mp_state())?,
            msrs: read_msrs(fd, msrs),
        })
    }

    /// Interrupts are on, and none is being delivered.
    pub(super) fn takes_interrupts(&self) -> bool {
        const INTERRUPT: u64 = 1 << 9;
        let events = &self.events.interrupt;
        self.general.rflags & INTERRUPT != 0 && events.injected == 0 && events.shadow == 0
    }

    /// The MSRs of a number.
    pub(super) fn msrs(&self, index: u32) -> Vec<kb::kvm_msr_entry> {
        self.msrs
            .iter()
            .filter(|msr| msr.index == index)
            .copied()
            .collect()
    }

    pub(super) fn write(&self, fd: &VcpuFd) -> Result<()> {
        // Halted or waiting first, so that nothing written below starts the processor.
        call("KVM_SET_MP_STATE", fd.set_mp_state(self.run_state))?;
        call("KVM_SET_REGS", fd.set_regs(&self.general))?;
        call("KVM_SET_SREGS", fd.set_sregs(&self.special))?;
        if let Some(fpu) = &self.fpu {
            call("KVM_SET_FPU", fd.set_fpu(fpu))?;
        }
        if let Some(extended) = &self.extended {
            call("KVM_SET_XCRS", fd.set_xcrs(extended))?;
        }
        call("KVM_SET_DEBUGREGS", fd.set_debug_regs(&self.debug))?;
        write_msrs(fd, &self.msrs);
        call("KVM_SET_LAPIC", fd.set_lapic(&self.lapic))?;
        call("KVM_SET_VCPU_EVENTS", fd.set_vcpu_events(&self.events))
    }
}

/// The MSRs of the list that this processor has. KVM's list holds some that it then refuses to read: each is skipped alone.
fn read_msrs(fd: &VcpuFd, list: &kb::MsrList) -> Vec<kb::kvm_msr_entry> {
    let wanted: Vec<_> = list
        .as_slice()
        .iter()
        .filter(|index| !matches!(**index, IA32_TSC | IA32_TSC_ADJUST))
        .map(|&index| kb::kvm_msr_entry {
            index,
            ..Default::default()
        })
        .collect();
    let mut found = Vec::new();
    each_batch(&wanted, |batch| {
        let count = fd.get_msrs(batch).unwrap_or(0);
        found.extend_from_slice(&batch.as_slice()[..count.min(batch.as_slice().len())]);
        count
    });
    found
}

pub(super) fn write_msrs(fd: &VcpuFd, msrs: &[kb::kvm_msr_entry]) {
    each_batch(msrs, |batch| fd.set_msrs(batch).unwrap_or(0));
}

/// Hands over `msrs` in batches. `transfer` answers how many it took before one failed; the next batch starts behind that one.
pub(super) fn each_batch(msrs: &[kb::kvm_msr_entry], mut transfer: impl FnMut(&mut kb::Msrs) -> usize) {
    let mut rest = msrs;
    while !rest.is_empty() {
        let Ok(mut batch) = kb::Msrs::from_entries(&rest[..rest.len().min(kb::KVM_MAX_MSR_ENTRIES)]) else {
            return;
        };
        let len = batch.as_slice().len();
        let done = transfer(&mut batch).min(len);
        let step = if done < len { done + 1 } else { done };
        rest = rest.get(step..).unwrap_or_default();
    }
}

/// What this kernel lets a virtual machine do beyond the least: `vpc host` shows it.
pub(super) const OPTIONAL: &[(Cap, &str)] = &[
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::SyncRegs, "synchronised registers"),
    (Cap::X2ApicApi, "x2APIC"),
    (Cap::TscDeadlineTimer, "TSC deadline timer"),
    (Cap::Xsave, "XSAVE state"),
    (Cap::CoalescedMmio, "coalesced memory I/O"),
];
