// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual machine of KVM: memory slots and interrupt controllers.

use super::super::saved::VmState;
use super::super::{Access, CpuidProfile, Irqchip, Message, Result, Vcpu, Vm};
use super::saved::SavedVm;
use super::state::ChipState;
use super::vcpu::KvmVcpu;
use super::{call, cpuid};
use kvm_bindings as kb;
use kvm_ioctls::{Cap, Kvm, VmFd};
use std::sync::Arc;

/// Pages that KVM needs for itself on some Intel processors: right below the largest firmware.
const TSS_ADDRESS: usize = 0xfffb_d000;
const IDENTITY_MAP_ADDRESS: u64 = 0xfffb_c000;
/// Inputs of the I/O APIC.
const IOAPIC_PINS: u64 = 24;
/// The PIC's input that its second half is cascaded to. On the I/O APIC the timer, ISA interrupt 0, has this pin.
const CASCADE: u32 = 2;

/// A machine.
pub struct KvmVm {
    fd: Arc<VmFd>,
    supported: kb::CpuId,
    msrs: kb::MsrList,
    tsc_deadline: bool,
    irqchip: Irqchip,
    profile: CpuidProfile,
    /// The in-kernel chips as they were made.
    chips: Option<ChipState>,
}

impl KvmVm {
    pub(super) fn new(kvm: &Kvm, irqchip: Irqchip, profile: &CpuidProfile) -> Result<Self> {
        let fd = call("KVM_CREATE_VM", kvm.create_vm())?;
        call("KVM_SET_TSS_ADDR", fd.set_tss_address(TSS_ADDRESS))?;
        call(
            "KVM_SET_IDENTITY_MAP_ADDR",
            fd.set_identity_map_address(IDENTITY_MAP_ADDRESS),
        )?;
        let chips = match irqchip {
            Irqchip::Kernel => {
                call("KVM_CREATE_IRQCHIP", fd.create_irq_chip())?;
                let config = kb::kvm_pit_config {
                    flags: kb::KVM_PIT_SPEAKER_DUMMY,
                    ..Default::default()
                };
                call("KVM_CREATE_PIT2", fd.create_pit2(config))?;
                set_routes(&fd, &in_kernel_wiring())?;
                Some(ChipState::read(&fd)?)
            }
            Irqchip::Split => {
                let mut cap = kb::kvm_enable_cap {
                    cap: kb::KVM_CAP_SPLIT_IRQCHIP,
                    ..Default::default()
                };
                cap.args[0] = IOAPIC_PINS;
                call("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)", fd.enable_cap(&cap))?;
                None
            }
        };
        let tsc_deadline = kvm.check_extension(Cap::TscDeadlineTimer);
        let supported = call(
            "KVM_GET_SUPPORTED_CPUID",
            kvm.get_supported_cpuid(kb::KVM_MAX_CPUID_ENTRIES),
        )?;
        let msrs = call("KVM_GET_MSR_INDEX_LIST", kvm.get_msr_index_list())?;
        Ok(Self {
            fd: Arc::new(fd),
            supported,
            msrs,
            tsc_deadline,
            irqchip,
            profile: profile.clone(),
            chips,
        })
    }
}

impl Vm for KvmVm {
    unsafe fn map(&self, slot: u32, address: u64, host: *mut u8, len: usize, access: Access) -> Result<()> {
        // A slot that changes its flags must go first.
        self.unmap(slot)?;
        let region = kb::kvm_userspace_memory_region {
            slot,
            flags: if access == Access::ReadOnly {
                kb::KVM_MEM_READONLY
            } else {
                0
            },
            guest_phys_addr: address,
            memory_size: len as u64,
            userspace_addr: host as u64,
        };
        // SAFETY: the caller keeps the memory mapped for as long as the slot stands.
        call("KVM_SET_USER_MEMORY_REGION", unsafe {
            self.fd.set_user_memory_region(region)
        })
    }

    fn unmap(&self, slot: u32) -> Result<()> {
        let region = kb::kvm_userspace_memory_region {
            slot,
            ..Default::default()
        };
        // SAFETY: an empty region takes the slot away and refers to no memory.
        match unsafe { self.fd.set_user_memory_region(region) } {
            // There was nothing to take away.
            Err(error) if error.errno() == libc::EINVAL => Ok(()),
            result => call("KVM_SET_USER_MEMORY_REGION", result),
        }
    }

    fn create_vcpu(&self, index: u8) -> Result<Box<dyn Vcpu>> {
        let fd = call("KVM_CREATE_VCPU", self.fd.create_vcpu(u64::from(index)))?;
        let mut cpuid = self.supported.clone();
        cpuid::for_vcpu(&mut cpuid, index, self.tsc_deadline, &self.profile);
        call("KVM_SET_CPUID2", fd.set_cpuid2(&cpuid))?;
        let address_bits = cpuid::address_bits(&cpuid);
        let vcpu = KvmVcpu::new(fd, index, self.irqchip, address_bits, cpuid, &self.msrs)?;
        Ok(Box::new(vcpu))
    }

    fn set_irq_line(&self, input: u32, high: bool) -> Result<()> {
        call("KVM_IRQ_LINE", self.fd.set_irq_line(input, high))
    }

    fn set_level_triggered(&self, inputs: u16) -> Result<()> {
        for (chip_id, elcr) in [kb::KVM_IRQCHIP_PIC_MASTER, kb::KVM_IRQCHIP_PIC_SLAVE]
            .into_iter()
            .zip(inputs.to_le_bytes())
        {
            let mut chip = kb::kvm_irqchip {
                chip_id,
                ..Default::default()
            };
            call("KVM_GET_IRQCHIP", self.fd.get_irqchip(&mut chip))?;
            chip.chip.pic.elcr = elcr;
            call("KVM_SET_IRQCHIP", self.fd.set_irqchip(&chip))?;
        }
        Ok(())
    }

    fn deliver(&self, message: Message) -> Result<()> {
        let [address_lo, address_hi] = split(message.address);
        let msi = kb::kvm_msi {
            address_lo,
            address_hi,
            data: message.data,
            ..Default::default()
        };
        // A message that no processor accepts is not an error: it is lost, as on the bus.
        call("KVM_SIGNAL_MSI", self.fd.signal_msi(msi)).map(|_| ())
    }

    fn set_ioapic_routes(&self, routes: &[Option<Message>]) -> Result<()> {
        let entries: Vec<_> = (0u32..)
            .zip(routes)
            .filter_map(|(gsi, message)| {
                let message = (*message)?;
                let [address_lo, address_hi] = split(message.address);
                let mut entry = kb::kvm_irq_routing_entry {
                    gsi,
                    type_: kb::KVM_IRQ_ROUTING_MSI,
                    ..Default::default()
                };
                entry.u.msi = kb::kvm_irq_routing_msi {
                    address_lo,
                    address_hi,
                    data: message.data,
                    ..Default::default()
                };
                Some(entry)
            })
            .collect();
        set_routes(&self.fd, &entries)
    }

    fn save(&self) -> Result<VmState> {
        let saved = SavedVm::read(&self.fd, self.irqchip == Irqchip::Kernel)?;
        Ok(VmState::Kvm(Box::new(saved)))
    }

    fn restore(&self, state: &VmState) -> Result<()> {
        let VmState::Kvm(saved) = state;
        saved.write(&self.fd, self.irqchip == Irqchip::Kernel)
    }

    fn reset(&self) -> Result<()> {
        match &self.chips {
            Some(chips) => chips.write(&self.fd),
            None => Ok(()),
        }
    }
}

/// How a PC's interrupts reach the in-kernel chips. KVM's own table leaves the timer at pin 0 of the I/O APIC, where no PC has it.
fn in_kernel_wiring() -> Vec<kb::kvm_irq_routing_entry> {
    let entry = |gsi: u32, irqchip: u32, pin: u32| {
        let mut entry = kb::kvm_irq_routing_entry {
            gsi,
            type_: kb::KVM_IRQ_ROUTING_IRQCHIP,
            ..Default::default()
        };
        entry.u.irqchip = kb::kvm_irq_routing_irqchip { irqchip, pin };
        entry
    };
    let pic = |irq: u32| match irq {
        0..8 => entry(irq, kb::KVM_IRQCHIP_PIC_MASTER, irq),
        _ => entry(irq, kb::KVM_IRQCHIP_PIC_SLAVE, irq - 8),
    };
    let ioapic = |input: u32| {
        entry(
            input,
            kb::KVM_IRQCHIP_IOAPIC,
            if input == 0 { CASCADE } else { input },
        )
    };
    let wired = |input: &u32| *input != CASCADE;
    let to_pic = (0..16).filter(wired).map(pic);
    let to_ioapic = (0..IOAPIC_PINS as u32).filter(wired).map(ioapic);
    to_pic.chain(to_ioapic).collect()
}

fn set_routes(fd: &VmFd, entries: &[kb::kvm_irq_routing_entry]) -> Result<()> {
    // Never more than the wrapper takes: an interrupt controller has some dozens of inputs.
    let Ok(table) = kb::KvmIrqRouting::from_entries(entries) else {
        return Ok(());
    };
    call("KVM_SET_GSI_ROUTING", fd.set_gsi_routing(&table))
}

fn split(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

/// Whether a capability is there, as a number (0 = absent).
pub(super) fn capability(kvm: &Kvm, cap: Cap) -> i32 {
    kvm.check_extension_int(cap)
}
