// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtual processor of WHP: run it, carry out what its exits report, say why it stopped.

use super::super::emulator::{self, Outcome, Outside};
use super::super::processor::hide;
use super::super::{CpuidProfile, Exit, Fault, FlatEntry, IoHandler, Kick, Registers, Result, Segment, Vcpu};
use super::api::call;
use super::registers::{self as regs, as_number, number};
use super::vm::{Partition, Pieces, TOPOLOGY_LEAVES};
use std::arch::x86_64::CpuidResult;
use std::sync::Arc;
use windows_sys::Win32::System::Hypervisor as whv;
use windows_sys::Win32::System::Hypervisor::{
    WHV_REGISTER_NAME, WHV_REGISTER_VALUE, WHV_RUN_VP_EXIT_CONTEXT, WHV_TRANSLATE_GVA_RESULT,
};

/// Bytes of code in a register dump.
const CODE_BYTES: usize = 16;
/// A local APIC's registers, as WHP hands them out.
const APIC_PAGE: usize = 4096;
/// RFLAGS: interrupts are enabled.
const INTERRUPTS: u64 = 1 << 9;
/// `WHV_X64_VP_EXECUTION_STATE`.
mod state {
    pub const CPL: u16 = 3;
    pub const INTERRUPTION_PENDING: u16 = 1 << 6;
    pub const INTERRUPT_SHADOW: u16 = 1 << 12;
}
/// CR0: paging.
const PAGING: u64 = 1 << 31;

/// The window in which the guest takes the PIC's next interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// Not known: the processor has not run, or its registers were changed.
    Unknown,
    /// Asked for: an exit will tell.
    Asked,
    /// Open since the last exit.
    Open,
}

/// A processor.
pub struct WhpVcpu {
    partition: Arc<Partition>,
    pieces: Arc<Pieces>,
    index: u8,
    profile: CpuidProfile,
    /// What it was made with: a reset goes back to it.
    initial: Initial,
    window: Window,
}

struct Initial {
    registers: Registers,
    others: Vec<WHV_REGISTER_VALUE>,
    apic: Vec<u8>,
}

impl WhpVcpu {
    pub(super) fn new(
        partition: &Arc<Partition>,
        pieces: &Arc<Pieces>,
        index: u8,
        profile: &CpuidProfile,
    ) -> Result<Self> {
        // SAFETY: the handle is a partition's that is set up.
        call("WHvCreateVirtualProcessor", unsafe {
            (partition.api.create_virtual_processor)(partition.handle, u32::from(index), 0)
        })?;
        let mut vcpu = Self {
            partition: partition.clone(),
            pieces: pieces.clone(),
            index,
            profile: profile.clone(),
            initial: Initial {
                registers: Registers::default(),
                others: Vec::new(),
                apic: vec![0; APIC_PAGE],
            },
            window: Window::Unknown,
        };
        vcpu.initial.registers = vcpu.registers()?;
        // WHP starts a processor at F000:FFF0 with the base that the selector would give; the first instruction lies below 4 GiB (SDM
        // volume 3, "First Instruction Executed").
        if let Some(code) = vcpu.initial.registers.segments.first_mut() {
            code.base = 0xffff_0000;
        }
        vcpu.initial.others = vcpu.get(&regs::OTHERS)?;
        vcpu.read_apic()?;
        vcpu.write_initial()?;
        Ok(vcpu)
    }

    fn get(&self, names: &[WHV_REGISTER_NAME]) -> Result<Vec<WHV_REGISTER_VALUE>> {
        let mut values = vec![WHV_REGISTER_VALUE::default(); names.len()];
        // SAFETY: both arrays have the length given.
        let result = unsafe {
            (self.partition.api.get_registers)(
                self.partition.handle,
                u32::from(self.index),
                names.as_ptr(),
                names.len() as u32,
                values.as_mut_ptr(),
            )
        };
        call("WHvGetVirtualProcessorRegisters", result).map(|()| values)
    }

    fn set(&self, names: &[WHV_REGISTER_NAME], values: &[WHV_REGISTER_VALUE]) -> Result<()> {
        debug_assert_eq!(names.len(), values.len());
        // SAFETY: both arrays have the length given.
        let result = unsafe {
            (self.partition.api.set_registers)(
                self.partition.handle,
                u32::from(self.index),
                names.as_ptr(),
                names.len().min(values.len()) as u32,
                values.as_ptr(),
            )
        };
        call("WHvSetVirtualProcessorRegisters", result)
    }

    fn read_apic(&mut self) -> Result<()> {
        let mut written = 0;
        // SAFETY: the buffer is valid for its length.
        let result = unsafe {
            (self.partition.api.get_interrupt_controller)(
                self.partition.handle,
                u32::from(self.index),
                self.initial.apic.as_mut_ptr().cast(),
                self.initial.apic.len() as u32,
                &mut written,
            )
        };
        call("WHvGetVirtualProcessorInterruptControllerState2", result)?;
        self.initial.apic.truncate(written as usize);
        Ok(())
    }

    fn write_initial(&mut self) -> Result<()> {
        self.set(&regs::names(), &regs::to_values(&self.initial.registers))?;
        self.set(&regs::OTHERS, &self.initial.others)?;
        // SAFETY: the buffer is valid for its length.
        let result = unsafe {
            (self.partition.api.set_interrupt_controller)(
                self.partition.handle,
                u32::from(self.index),
                self.initial.apic.as_ptr().cast(),
                self.initial.apic.len() as u32,
            )
        };
        call("WHvSetVirtualProcessorInterruptControllerState2", result)?;
        // All but the first processor wait for INIT and SIPI.
        const STARTUP_SUSPEND: u64 = 1;
        let activity = if self.index == 0 { 0 } else { STARTUP_SUSPEND };
        let events = [
            (whv::WHvRegisterPendingInterruption, 0),
            (whv::WHvRegisterInterruptState, 0),
            (whv::WHvX64RegisterDeliverabilityNotifications, 0),
            (whv::WHvRegisterInternalActivityState, activity),
        ];
        self.set(&events.map(|e| e.0), &events.map(|e| number(e.1)))?;
        self.window = Window::Unknown;
        Ok(())
    }

    /// Gives the PIC's interrupt to processor 0, or asks WHP to say when it can take one.
    fn offer_interrupt(&mut self, io: &dyn IoHandler) -> Result<()> {
        if self.index != 0 || self.window == Window::Asked || !io.interrupt_pending() {
            return Ok(());
        }
        if self.window == Window::Unknown {
            const INTERRUPT_NOTIFICATION: u64 = 1 << 1;
            self.window = Window::Asked;
            return self.set(
                &[whv::WHvX64RegisterDeliverabilityNotifications],
                &[number(INTERRUPT_NOTIFICATION)],
            );
        }
        let vector = u64::from(io.acknowledge_interrupt());
        self.window = Window::Unknown;
        // Pending, type, vector in bits 8–15 (WHV_X64_PENDING_EXT_INT_EVENT). The processor may stand in HLT, which only an interrupt
        // that WHP itself delivers would end.
        let event = 1 | (whv::WHvX64PendingEventExtInt as u64) << 1 | vector << 8;
        self.set(
            &[
                whv::WHvRegisterPendingEvent,
                whv::WHvRegisterInternalActivityState,
            ],
            &[number(event), number(0)],
        )
    }

    /// After an exit: can the guest take an interrupt now?
    fn see_window(&mut self, exit: &WHV_RUN_VP_EXIT_CONTEXT) {
        if self.window == Window::Asked {
            return;
        }
        // SAFETY: both members of the union are the same sixteen bits.
        let execution = unsafe { exit.VpContext.ExecutionState.AsUINT16 };
        let blocked = execution & (state::INTERRUPTION_PENDING | state::INTERRUPT_SHADOW) != 0;
        self.window = if exit.VpContext.Rflags & INTERRUPTS != 0 && !blocked {
            Window::Open
        } else {
            Window::Unknown
        };
    }

    fn fault(&self, io: &dyn IoHandler, reason: String) -> Box<Fault> {
        let registers = self.registers().ok();
        let code = registers
            .as_ref()
            .map(|registers| self.code_at(io, registers, CODE_BYTES))
            .unwrap_or_default();
        Box::new(Fault {
            cpu: self.index,
            reason,
            host_limit: None,
            registers,
            code,
        })
    }

    /// Code at the instruction pointer, as far as it can be read.
    fn code_at(&self, io: &dyn IoHandler, registers: &Registers, most: usize) -> Vec<u8> {
        let linear = emulator::code_address(registers);
        let mut code = Vec::new();
        for at in (0..most as u64).map(|i| linear.wrapping_add(i)) {
            let mut byte = [0];
            match self.translate(registers, at, false) {
                Some(physical) if self.pieces.read(physical, &mut byte) || io.peek(physical, &mut byte) => {
                    code.push(byte[0]);
                }
                _ => break,
            }
        }
        code
    }

    /// The physical address of a linear one, by the guest's page tables.
    fn translate(&self, registers: &Registers, linear: u64, write: bool) -> Option<u64> {
        if registers.control[0] & PAGING == 0 {
            return Some(linear);
        }
        let flags = if write {
            whv::WHvTranslateGvaFlagValidateWrite
        } else {
            whv::WHvTranslateGvaFlagValidateRead
        } | whv::WHvTranslateGvaFlagSetPageTableBits;
        let mut result = WHV_TRANSLATE_GVA_RESULT::default();
        let mut physical = 0;
        // SAFETY: the call writes the two variables.
        let code = unsafe {
            (self.partition.api.translate_gva)(
                self.partition.handle,
                u32::from(self.index),
                linear,
                flags,
                &mut result,
                &mut physical,
            )
        };
        (code >= 0 && result.ResultCode == whv::WHvTranslateGvaResultSuccess).then_some(physical)
    }

    /// `IN` or `OUT`.
    fn port(&mut self, io: &dyn IoHandler, exit: &WHV_RUN_VP_EXIT_CONTEXT) -> Result<Option<Exit>> {
        const WRITE: u32 = 1;
        const STRING: u32 = 1 << 4;
        // SAFETY: for this exit the hypervisor filled this member, all of whose bits are plain numbers.
        let access = unsafe { exit.Anonymous.IoPortAccess };
        // SAFETY: as above.
        let info = unsafe { access.AccessInfo.AsUINT32 };
        let (port, width) = (access.PortNumber, (info >> 1 & 7) as usize);
        let len = u64::from(exit.VpContext._bitfield & 0xf);
        if info & STRING != 0 || len == 0 || !matches!(width, 1 | 2 | 4) {
            let given = usize::from(access.InstructionByteCount);
            let code = access.InstructionBytes.get(..given).unwrap_or_default();
            return self.emulate(io, exit, code);
        }
        let mut data = (access.Rax as u32).to_le_bytes();
        let data = data.get_mut(..width).unwrap_or_default();
        self.end_shadow(exit)?;
        let next = (
            whv::WHvX64RegisterRip,
            number(exit.VpContext.Rip.wrapping_add(len)),
        );
        if info & WRITE != 0 {
            io.port_write(port, width, data);
            self.set(&[next.0], &[next.1])?;
        } else {
            io.port_read(port, width, data);
            let value = emulator::number(data);
            let rax = match width {
                4 => value,
                _ => access.Rax & !((1 << (8 * width)) - 1) | value,
            };
            self.set(&[next.0, whv::WHvX64RegisterRax], &[next.1, number(rax)])?;
        }
        Ok(None)
    }

    /// An access to where no memory is mapped, or a write to what may only be read.
    fn memory(&mut self, io: &dyn IoHandler, exit: &WHV_RUN_VP_EXIT_CONTEXT) -> Result<Option<Exit>> {
        const EXECUTE: u32 = 2;
        // SAFETY: for this exit the hypervisor filled this member, all of whose bits are plain numbers.
        let access = unsafe { exit.Anonymous.MemoryAccess };
        // SAFETY: as above.
        let info = unsafe { access.AccessInfo.AsUINT32 };
        if info & 3 == EXECUTE {
            let reason = format!(
                "an instruction was fetched at {:#x}, where no memory is",
                access.Gpa
            );
            return Ok(Some(Exit::Fault(self.fault(io, reason))));
        }
        let given = usize::from(access.InstructionByteCount);
        let code = access.InstructionBytes.get(..given).unwrap_or_default();
        self.emulate(io, exit, code)
    }

    /// An instruction that we carry out ends the interrupt shadow of the one before it (`STI`, `MOV SS`), as it would on a processor.
    fn end_shadow(&self, exit: &WHV_RUN_VP_EXIT_CONTEXT) -> Result<()> {
        const SHADOW: u64 = 1;
        // SAFETY: both members of the union are the same sixteen bits.
        let execution = unsafe { exit.VpContext.ExecutionState.AsUINT16 };
        if execution & state::INTERRUPT_SHADOW == 0 {
            return Ok(());
        }
        let names = [whv::WHvRegisterInterruptState];
        let now = self.get(&names)?.first().map_or(0, as_number);
        self.set(&names, &[number(now & !SHADOW)])
    }

    /// Carries out the instruction that the processor stands at.
    fn emulate(
        &mut self,
        io: &dyn IoHandler,
        exit: &WHV_RUN_VP_EXIT_CONTEXT,
        given: &[u8],
    ) -> Result<Option<Exit>> {
        let mut registers = self.registers()?;
        let fetched;
        let code = if given.is_empty() {
            fetched = self.code_at(io, &registers, emulator::LONGEST);
            &fetched
        } else {
            given
        };
        let before = registers.clone();
        let mut outside = Surroundings {
            vcpu: self,
            registers: &before,
            io,
        };
        let outcome = emulator::emulate(&mut registers, code, &mut outside);
        if registers != before {
            let count = regs::GENERAL.len() + 2;
            let (names, values) = (regs::names(), regs::to_values(&registers));
            self.set(
                names.get(..count).unwrap_or_default(),
                values.get(..count).unwrap_or_default(),
            )?;
        }
        match outcome {
            Outcome::Done => self.end_shadow(exit).map(|()| None),
            Outcome::PageFault { address, write } => {
                self.page_fault(&registers, address, write)?;
                Ok(None)
            }
            Outcome::Unknown => {
                let reason =
                    format!("an instruction on a device that this program does not know: {code:02x?}");
                Ok(Some(Exit::Fault(self.fault(io, reason))))
            }
        }
    }

    /// Lets the guest see that a page is missing.
    fn page_fault(&self, registers: &Registers, address: u64, write: bool) -> Result<()> {
        const VECTOR: u64 = 14;
        const WITH_CODE: u64 = 1 << 4;
        const USER: u64 = 1 << 2;
        let user = registers
            .segments
            .first()
            .map_or(0, |cs| cs.selector & state::CPL)
            == 3;
        let code = u64::from(write) << 1 | if user { USER } else { 0 };
        let event = 1 | (whv::WHvX64PendingException as u64) << 1 | WITH_CODE | VECTOR << 16 | code << 32;
        self.set(
            &[whv::WHvX64RegisterCr2, whv::WHvRegisterPendingInterruption],
            &[number(address), number(event)],
        )
    }

    /// `CPUID`, where the hypervisor asks us: its answer, with our topology and without what is hidden.
    fn cpuid(&self, exit: &WHV_RUN_VP_EXIT_CONTEXT) -> Result<()> {
        // SAFETY: for this exit the hypervisor filled this member, all of whose bits are plain numbers.
        let asked = unsafe { exit.Anonymous.CpuidAccess };
        let (leaf, subleaf) = (asked.Rax as u32, asked.Rcx as u32);
        let mut result = CpuidResult {
            eax: asked.DefaultResultRax as u32,
            ebx: asked.DefaultResultRbx as u32,
            ecx: asked.DefaultResultRcx as u32,
            edx: asked.DefaultResultRdx as u32,
        };
        set_topology(&mut result, leaf, subleaf, self.index, self.profile.cpus);
        hide(&mut result, leaf, subleaf, &self.profile.without);
        let len = u64::from(exit.VpContext._bitfield & 0xf);
        self.set(
            &[
                whv::WHvX64RegisterRax,
                whv::WHvX64RegisterRbx,
                whv::WHvX64RegisterRcx,
                whv::WHvX64RegisterRdx,
                whv::WHvX64RegisterRip,
            ],
            &[
                number(u64::from(result.eax)),
                number(u64::from(result.ebx)),
                number(u64::from(result.ecx)),
                number(u64::from(result.edx)),
                number(exit.VpContext.Rip.wrapping_add(len)),
            ],
        )
    }
}

/// One package of `cpus` cores with a thread each; a processor's number is its APIC's (SDM volume 2, "CPUID").
fn set_topology(result: &mut CpuidResult, leaf: u32, subleaf: u32, index: u8, cpus: u8) {
    const HYPER_THREADING: u32 = 1 << 28;
    const X2APIC: u32 = 1 << 21;
    let [features, extended, extended_2] = TOPOLOGY_LEAVES;
    let width = u32::from(cpus).next_power_of_two().trailing_zeros();
    if leaf == features {
        result.ebx = result.ebx & 0xffff | (1 << width) << 16 | u32::from(index) << 24;
        // The partition's local APICs are set up without it.
        result.ecx &= !X2APIC;
        result.edx = result.edx & !HYPER_THREADING | if cpus > 1 { HYPER_THREADING } else { 0 };
    } else if leaf == extended || leaf == extended_2 {
        const THREAD: u32 = 1;
        const CORE: u32 = 2;
        let (shift, count, kind) = match subleaf {
            0 => (0, 1, THREAD),
            1 => (width, u32::from(cpus), CORE),
            _ => (0, 0, 0),
        };
        *result = CpuidResult {
            eax: shift,
            ebx: count,
            ecx: subleaf & 0xff | kind << 8,
            edx: u32::from(index),
        };
    }
}

/// What an emulated instruction reaches.
struct Surroundings<'a> {
    vcpu: &'a WhpVcpu,
    registers: &'a Registers,
    io: &'a dyn IoHandler,
}

impl Outside for Surroundings<'_> {
    fn translate(&mut self, linear: u64, write: bool) -> Option<u64> {
        self.vcpu.translate(self.registers, linear, write)
    }

    fn read(&mut self, physical: u64, data: &mut [u8]) {
        if !self.vcpu.pieces.read(physical, data) {
            self.io.memory_read(physical, data);
        }
    }

    fn write(&mut self, physical: u64, data: &[u8]) {
        if !self.vcpu.pieces.write(physical, data) {
            self.io.memory_write(physical, data);
        }
    }

    fn port_read(&mut self, port: u16, width: usize, data: &mut [u8]) {
        self.io.port_read(port, width, data);
    }

    fn port_write(&mut self, port: u16, width: usize, data: &[u8]) {
        self.io.port_write(port, width, data);
    }
}

/// Cancels a processor's run. WHP keeps a cancellation that comes between runs for the next one.
struct Cancel {
    partition: Arc<Partition>,
    index: u32,
}

impl Kick for Cancel {
    fn kick(&self) {
        // SAFETY: the partition lives as long as `self`; a processor that is gone is an error and nothing more.
        unsafe { (self.partition.api.cancel_run_virtual_processor)(self.partition.handle, self.index, 0) };
    }
}

impl Vcpu for WhpVcpu {
    fn attach(&mut self) -> Result<Box<dyn Kick>> {
        Ok(Box::new(Cancel {
            partition: self.partition.clone(),
            index: u32::from(self.index),
        }))
    }

    fn run(&mut self, io: &dyn IoHandler) -> Result<Exit> {
        loop {
            self.offer_interrupt(io)?;
            let mut exit = WHV_RUN_VP_EXIT_CONTEXT::default();
            // SAFETY: the buffer is valid for the size given; nobody else runs this processor.
            let result = unsafe {
                (self.partition.api.run_virtual_processor)(
                    self.partition.handle,
                    u32::from(self.index),
                    (&raw mut exit).cast(),
                    size_of::<WHV_RUN_VP_EXIT_CONTEXT>() as u32,
                )
            };
            call("WHvRunVirtualProcessor", result)?;
            if exit.ExitReason == whv::WHvRunVpExitReasonX64InterruptWindow {
                self.window = Window::Unknown;
            }
            self.see_window(&exit);
            let end = match exit.ExitReason {
                whv::WHvRunVpExitReasonX64IoPortAccess => self.port(io, &exit)?,
                whv::WHvRunVpExitReasonMemoryAccess => self.memory(io, &exit)?,
                whv::WHvRunVpExitReasonX64InterruptWindow => None,
                whv::WHvRunVpExitReasonX64ApicEoi => {
                    // SAFETY: for this exit the hypervisor filled this member.
                    let vector = unsafe { exit.Anonymous.ApicEoi.InterruptVector };
                    io.end_of_interrupt(vector as u8);
                    None
                }
                whv::WHvRunVpExitReasonX64Cpuid => {
                    self.cpuid(&exit)?;
                    None
                }
                whv::WHvRunVpExitReasonCanceled => Some(Exit::Kicked),
                whv::WHvRunVpExitReasonUnrecoverableException => {
                    Some(Exit::Shutdown(self.fault(io, "triple fault".to_owned())))
                }
                other => Some(Exit::Fault(self.fault(io, reason_of(other)))),
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    fn reset(&mut self) -> Result<()> {
        self.write_initial()
    }

    fn enter(&mut self, entry: FlatEntry) -> Result<()> {
        const CODE: u16 = 0xc09b;
        const DATA: u16 = 0xc093;
        const PROTECTION: u64 = 1;
        const EXTENSION_TYPE: u64 = 1 << 4;
        let mut r = self.registers()?;
        // The selectors of Linux's and PVH's boot protocols; the guest loads its own descriptor table before it reloads them.
        let flat = |selector, rights| Segment {
            selector,
            base: 0,
            limit: 0xffff_ffff,
            rights,
        };
        for (number, segment) in r.segments.iter_mut().take(6).enumerate() {
            *segment = if number == 0 {
                flat(0x10, CODE)
            } else {
                flat(0x18, DATA)
            };
        }
        r.control[0] = PROTECTION | EXTENSION_TYPE;
        r.general = [0; 16];
        r.general[1] = u64::from(entry.bx);
        r.general[4] = u64::from(entry.si);
        (r.rip, r.rflags) = (u64::from(entry.ip), 2);
        self.set(&regs::names(), &regs::to_values(&r))
    }

    fn set_up_without_firmware(&mut self) -> Result<()> {
        // Machines on Windows start by firmware (see `host::kernel`), which sets the memory types itself.
        Ok(())
    }

    fn registers(&self) -> Result<Registers> {
        Ok(regs::from_values(&self.get(&regs::names())?))
    }
}

impl Drop for WhpVcpu {
    fn drop(&mut self) {
        // SAFETY: the processor is this one's, and does not run.
        let result = unsafe {
            (self.partition.api.delete_virtual_processor)(self.partition.handle, u32::from(self.index))
        };
        if let Err(error) = call("WHvDeleteVirtualProcessor", result) {
            log::error!("a processor stays with the hypervisor: {error}");
        }
    }
}

/// An exit that ends the processor, in words.
fn reason_of(reason: i32) -> String {
    match reason {
        whv::WHvRunVpExitReasonX64Halt => "halted outside its local APIC".to_owned(),
        whv::WHvRunVpExitReasonInvalidVpRegisterValue => {
            "the hypervisor found registers that no processor can have".to_owned()
        }
        whv::WHvRunVpExitReasonUnsupportedFeature => {
            "the guest used something that the hypervisor does not have".to_owned()
        }
        other => format!("an exit that this program does not know: {other:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topology_is_one_package() {
        let mut one = CpuidResult {
            eax: 0,
            ebx: 0x1234_0800,
            ecx: 1 << 21,
            edx: 0,
        };
        set_topology(&mut one, 1, 0, 2, 3);
        assert_eq!((one.ebx, one.ecx, one.edx), (0x0204_0800, 0, 1 << 28));
        set_topology(&mut one, 0xb, 1, 2, 3);
        assert_eq!((one.eax, one.ebx, one.ecx, one.edx), (2, 3, 0x201, 2));
    }
}
