// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A processor of KVM: run it, carry out its I/O, say why it stopped.

use super::super::saved::CpuState;
use super::super::{Exit, Fault, FlatEntry, IoHandler, Irqchip, Kick, Registers, Result, Segment, Vcpu};
use super::saved::SavedCpu;
use super::state::{VcpuState, write_msrs};
use super::{call, kick, mtrr, probe};
use kvm_bindings as kb;
use kvm_ioctls::{VcpuExit, VcpuFd};

/// Bytes of code in a register dump.
const CODE_BYTES: u64 = 16;

/// A processor.
pub struct KvmVcpu {
    fd: VcpuFd,
    index: u8,
    irqchip: Irqchip,
    /// The width of a physical address.
    address_bits: u32,
    /// What it was made with: a reset goes back to it.
    initial: VcpuState,
    /// The PIC's vector that KVM was given last, unless it is known that the guest has got it: no register shows it.
    offered: Option<u8>,
    // What it can be saved by.
    cpuid: kb::CpuId,
    msrs: kb::MsrList,
}

impl KvmVcpu {
    pub(super) fn new(
        fd: VcpuFd,
        index: u8,
        irqchip: Irqchip,
        address_bits: u32,
        cpuid: kb::CpuId,
        msrs: &kb::MsrList,
    ) -> Result<Self> {
        let initial = VcpuState::read(&fd, msrs)?;
        Ok(Self {
            fd,
            index,
            irqchip,
            address_bits,
            initial,
            offered: None,
            cpuid,
            msrs: msrs.clone(),
        })
    }

    /// Gives the PIC's interrupt to processor 0, or asks KVM to say when it can take one.
    fn offer_interrupt(&mut self, io: &dyn IoHandler) -> Result<()> {
        if self.irqchip != Irqchip::Split || self.index != 0 {
            return Ok(());
        }
        let pending = io.interrupt_pending();
        let run = self.fd.get_kvm_run();
        let ready = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
        run.request_interrupt_window = u8::from(pending && !ready);
        if pending && ready {
            let vector = io.acknowledge_interrupt();
            call("KVM_INTERRUPT", interrupt(&self.fd, vector))?;
            self.offered = Some(vector);
        }
        Ok(())
    }

    fn fault(&self, io: &dyn IoHandler, reason: String, host_limit: Option<String>) -> Box<Fault> {
        let registers = self.registers().ok();
        let code = registers
            .as_ref()
            .map(|r| self.code_at(io, r))
            .unwrap_or_default();
        Box::new(Fault {
            cpu: self.index,
            reason,
            host_limit,
            registers,
            code,
        })
    }

    fn code_at(&self, io: &dyn IoHandler, registers: &Registers) -> Vec<u8> {
        let linear = registers.segments[0].base.wrapping_add(registers.rip);
        let mut code = Vec::new();
        for at in (0..CODE_BYTES).map(|i| linear.wrapping_add(i)) {
            let mut byte = [0];
            match self.fd.translate_gva(at) {
                Ok(t) if t.valid != 0 && io.peek(t.physical_address, &mut byte) => code.push(byte[0]),
                _ => break,
            }
        }
        code
    }
}

/// `KVM_INTERRUPT`, which kvm-ioctls does not wrap.
fn interrupt(fd: &VcpuFd, vector: u8) -> std::result::Result<(), kvm_ioctls::Error> {
    use vmm_sys_util::ioctl::ioctl_with_ref;
    vmm_sys_util::ioctl_iow_nr!(KVM_INTERRUPT, kb::KVMIO, 0x86, kb::kvm_interrupt);
    let interrupt = kb::kvm_interrupt {
        irq: u32::from(vector),
    };
    // SAFETY: the descriptor is a processor's, and the kernel only reads the structure.
    if unsafe { ioctl_with_ref(fd, KVM_INTERRUPT(), &interrupt) } == 0 {
        Ok(())
    } else {
        Err(kvm_ioctls::Error::last())
    }
}

/// Size of one element of a port exit. kvm-ioctls gives string I/O as one run of bytes and hides where the elements end, which a disk's
/// data port must know.
fn port_width(page: *const kb::kvm_run) -> usize {
    // SAFETY: the page belongs to the processor that just ran, and outlives its exit; the exit's data lies behind this structure.
    let run = unsafe { &*page };
    // SAFETY: for a port exit the kernel filled the `io` member, all of whose bits are plain numbers.
    usize::from(unsafe { run.__bindgen_anon_1.io.size })
}

/// Why KVM gave up.
fn suberror(page: *const kb::kvm_run) -> u32 {
    // SAFETY: as in `port_width`.
    let run = unsafe { &*page };
    // SAFETY: for an internal error the kernel filled the `internal` member.
    unsafe { run.__bindgen_anon_1.internal.suberror }
}

impl Vcpu for KvmVcpu {
    fn attach(&mut self) -> Result<Box<dyn Kick>> {
        kick::attach(&raw mut self.fd.get_kvm_run().immediate_exit)
    }

    fn run(&mut self, io: &dyn IoHandler) -> Result<Exit> {
        loop {
            self.offer_interrupt(io)?;
            let page: *const kb::kvm_run = self.fd.get_kvm_run();
            let exit = match self.fd.run() {
                Ok(exit) => {
                    self.offered = None;
                    exit
                }
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {
                    self.fd.set_kvm_immediate_exit(0);
                    if self.fd.get_kvm_run().ready_for_interrupt_injection != 0 {
                        self.offered = None;
                    }
                    return Ok(Exit::Kicked);
                }
                Err(error) => {
                    let reason = format!("KVM_RUN failed: {error}");
                    return Ok(Exit::Fault(self.fault(io, reason, None)));
                }
            };
            match exit {
                VcpuExit::IoIn(number, data) => io.port_read(number, port_width(page), data),
                VcpuExit::IoOut(number, data) => io.port_write(number, port_width(page), data),
                VcpuExit::MmioRead(address, data) => io.memory_read(address, data),
                VcpuExit::MmioWrite(address, data) => io.memory_write(address, data),
                VcpuExit::IoapicEoi(vector) => io.end_of_interrupt(vector),
                VcpuExit::IrqWindowOpen => {}
                VcpuExit::Intr => return Ok(Exit::Kicked),
                VcpuExit::Hlt => {
                    // Only a processor without a local APIC halts here, and ours always have one.
                    let reason = "halted outside its local APIC".to_owned();
                    return Ok(Exit::Fault(self.fault(io, reason, None)));
                }
                VcpuExit::Shutdown => {
                    return Ok(Exit::Shutdown(self.fault(io, "triple fault".to_owned(), None)));
                }
                VcpuExit::InternalError => {
                    let suberror = suberror(page);
                    let limit = (suberror == kb::KVM_INTERNAL_ERROR_EMULATION
                        && !probe::runs_ordinary_code())
                    .then(|| probe::SOFTWARE_KVM.to_owned());
                    let reason = internal_error(suberror);
                    return Ok(Exit::Fault(self.fault(io, reason, limit)));
                }
                VcpuExit::FailEntry(reason, cpu) => {
                    let reason = format!(
                        "the host processor {cpu} refused to enter the guest (hardware reason {reason:#x})"
                    );
                    return Ok(Exit::Fault(self.fault(io, reason, None)));
                }
                other => {
                    let reason = format!("an exit that this program does not know: {other:?}");
                    return Ok(Exit::Fault(self.fault(io, reason, None)));
                }
            }
        }
    }

    fn reset(&mut self) -> Result<()> {
        let run = self.fd.get_kvm_run();
        run.immediate_exit = 0;
        run.request_interrupt_window = 0;
        self.initial.write(&self.fd)
    }

    fn set_up_without_firmware(&mut self) -> Result<()> {
        let registers = mtrr::as_firmware_leaves_them(self.address_bits);
        // A processor whose memory type registers the user has hidden refuses them, which is what he wants.
        write_msrs(&self.fd, &registers);
        Ok(())
    }

    fn enter(&mut self, entry: FlatEntry) -> Result<()> {
        let mut special = call("KVM_GET_SREGS", self.fd.get_sregs())?;
        let flat = |selector, type_| kb::kvm_segment {
            base: 0,
            limit: 0xffff_ffff,
            selector,
            type_,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..Default::default()
        };
        // The selectors of Linux's and PVH's boot protocols; the guest loads its own descriptor table before it reloads them.
        special.cs = flat(0x10, 0xb);
        for segment in [
            &mut special.ds,
            &mut special.es,
            &mut special.fs,
            &mut special.gs,
            &mut special.ss,
        ] {
            *segment = flat(0x18, 0x3);
        }
        const PROTECTION: u64 = 1;
        const EXTENSION_TYPE: u64 = 1 << 4;
        special.cr0 = PROTECTION | EXTENSION_TYPE;
        call("KVM_SET_SREGS", self.fd.set_sregs(&special))?;
        let general = kb::kvm_regs {
            rip: u64::from(entry.ip),
            rbx: u64::from(entry.bx),
            rsi: u64::from(entry.si),
            rflags: 2,
            ..Default::default()
        };
        call("KVM_SET_REGS", self.fd.set_regs(&general))
    }

    fn save(&self) -> Result<CpuState> {
        let saved = SavedCpu::read(&self.fd, &self.msrs, &self.cpuid, self.offered)?;
        Ok(CpuState::Kvm(Box::new(saved)))
    }

    fn restore(&mut self, state: &CpuState) -> Result<()> {
        let CpuState::Kvm(saved) = state;
        // What the guest has found is what it keeps, wherever it goes next.
        self.cpuid = saved.write(&self.fd, &self.cpuid)?;
        if let Some(vector) = saved.offered() {
            call("KVM_INTERRUPT", interrupt(&self.fd, vector))?;
            self.offered = Some(vector);
        }
        Ok(())
    }

    fn registers(&self) -> Result<Registers> {
        let g = call("KVM_GET_REGS", self.fd.get_regs())?;
        let s = call("KVM_GET_SREGS", self.fd.get_sregs())?;
        Ok(Registers {
            general: [
                g.rax, g.rbx, g.rcx, g.rdx, g.rsi, g.rdi, g.rsp, g.rbp, g.r8, g.r9, g.r10, g.r11, g.r12,
                g.r13, g.r14, g.r15,
            ],
            rip: g.rip,
            rflags: g.rflags,
            segments: [s.cs, s.ds, s.es, s.fs, s.gs, s.ss, s.tr, s.ldt].map(|segment| segment_of(&segment)),
            gdt: (s.gdt.base, s.gdt.limit),
            idt: (s.idt.base, s.idt.limit),
            control: [s.cr0, s.cr2, s.cr3, s.cr4, s.cr8],
            efer: s.efer,
            apic_base: s.apic_base,
        })
    }
}

impl Drop for KvmVcpu {
    fn drop(&mut self) {
        kick::detach(&raw mut self.fd.get_kvm_run().immediate_exit);
    }
}

fn segment_of(s: &kb::kvm_segment) -> Segment {
    let flags = [
        (s.s, 4),
        (s.present, 7),
        (s.avl, 12),
        (s.l, 13),
        (s.db, 14),
        (s.g, 15),
    ];
    let rights = flags
        .iter()
        .fold(u16::from(s.type_) | u16::from(s.dpl) << 5, |all, (bit, at)| {
            all | u16::from(*bit) << at
        });
    Segment {
        selector: s.selector,
        base: s.base,
        limit: s.limit,
        rights,
    }
}

fn internal_error(suberror: u32) -> String {
    let what = match suberror {
        kb::KVM_INTERNAL_ERROR_EMULATION => "it could not emulate the instruction at the instruction pointer",
        kb::KVM_INTERNAL_ERROR_SIMUL_EX => "exceptions came at the same time",
        kb::KVM_INTERNAL_ERROR_DELIVERY_EV => "an event could not be delivered",
        kb::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => {
            "the processor gave an exit reason that it does not know"
        }
        _ => "it gave no reason",
    };
    format!("KVM internal error, suberror {suberror}: {what}")
}
