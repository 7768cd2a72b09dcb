// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hardware virtualization, without saying whose.
//!
//! A back end implements [`Hypervisor`], [`Vm`] and [`Vcpu`]. During [`Vcpu::run`] it *calls back* into the machine for each port and
//! memory cycle ([`IoHandler`]): an instruction emulator may need several cycles in one exit, and KVM's shared page never
//! leaks out. What comes back as an [`Exit`] is only what is not I/O.
//!
//! The interrupt controllers are either the hypervisor's ([`Irqchip::Kernel`]) or the machine's own with a local APIC by the hypervisor
//! ([`Irqchip::Split`]).

pub mod emulator;
#[cfg(target_os = "linux")]
pub mod kvm;
pub mod processor;
pub mod saved;
#[cfg(target_os = "windows")]
pub mod whp;

use std::fmt;

/// Why this host cannot run machines. Each is a different thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The processor has neither VT-x nor AMD-V.
    #[error("this processor has neither Intel VT-x nor AMD-V")]
    NoProcessorSupport,
    /// The host is itself a virtual machine, and its processor shows no VT-x or AMD-V.
    #[error("this host is itself a virtual machine whose hypervisor does not offer VT-x or AMD-V")]
    NotNested,
    /// The processor could, but the firmware or the kernel has it switched off.
    #[error("hardware virtualization is switched off: {detail}")]
    Disabled {
        /// What was seen.
        detail: String,
    },
    /// The processor could, but there is no `/dev/kvm`.
    #[error("{path} does not exist: the kernel module {module} is not loaded")]
    NoDevice {
        /// The device.
        path: String,
        /// `kvm_intel` or `kvm_amd`.
        module: &'static str,
    },
    /// The device may not be opened by this user.
    #[error("{path} may not be opened by this user (it belongs to group {group})")]
    NotPermitted {
        /// The device.
        path: String,
        /// The group to join.
        group: String,
    },
    /// The hypervisor speaks another version of its interface.
    #[error("the hypervisor speaks version {found} of its interface, and version {needed} is needed")]
    ApiVersion {
        /// Found.
        found: i32,
        /// Needed.
        needed: i32,
    },
    /// The hypervisor lacks something that a PC needs.
    #[error("the hypervisor lacks the capability {name}")]
    MissingCapability {
        /// Its name in the hypervisor's documentation.
        name: &'static str,
    },
    /// The hypervisor is there and refuses to make a machine.
    #[error("the hypervisor refused to create a machine: {detail}")]
    Refused {
        /// Its answer.
        detail: String,
    },
    /// Windows' hypervisor interface is not installed.
    #[error(
        "{dll} cannot be loaded ({detail}): the Windows feature \"Windows Hypervisor Platform\" is not installed"
    )]
    NoPlatform {
        /// The library.
        dll: &'static str,
        /// What loading it said.
        detail: String,
    },
    /// Windows' hypervisor interface is there, and no hypervisor behind it.
    #[error("Windows runs without its hypervisor: {detail}")]
    NotLaunched {
        /// What was seen.
        detail: String,
    },
    /// Windows' hypervisor is there and refuses a partition.
    #[error("Windows' hypervisor refused to make a machine: {detail}")]
    PartitionRefused {
        /// Its answer.
        detail: String,
    },
}

impl Unavailable {
    /// What the user can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoProcessorSupport => "run on a machine whose processor has VT-x or AMD-V".into(),
            Self::NotNested => {
                "enable nested virtualization in the outer hypervisor (for QEMU/KVM: `-cpu host` and kvm_intel/kvm_amd nested=1), or run on the physical host".into()
            }
            Self::Disabled { .. } => {
                "enable VT-x (\"Intel Virtualization Technology\") or AMD-V (\"SVM Mode\") in the firmware set-up, then switch the machine fully off and on".into()
            }
            Self::NoDevice { module, .. } => format!("load it with `sudo modprobe {module}`; in a container, pass the device in"),
            Self::NotPermitted { group, .. } => {
                format!("join the group with `sudo usermod -aG {group} $USER` and log in again")
            }
            Self::ApiVersion { .. } | Self::MissingCapability { .. } => "run a newer kernel (Linux 5.15 or later)".into(),
            Self::Refused { .. } => "see the kernel log (`dmesg`); another virtualization product may hold the processor".into(),
            Self::NoPlatform { .. } => {
                "run as administrator `dism /online /enable-feature /featurename:HypervisorPlatform /all` and restart Windows".into()
            }
            Self::NotLaunched { .. } => {
                "enable VT-x or AMD-V in the firmware set-up, run as administrator `bcdedit /set hypervisorlaunchtype auto`, and restart Windows; in a virtual machine, enable nested virtualization outside"
                    .into()
            }
            Self::PartitionRefused { .. } => {
                "run as administrator `dism /online /enable-feature /featurename:VirtualMachinePlatform /all` and restart Windows; end other virtualization products, which may hold the processor".into()
            }
        }
    }
}

/// A failure of the hypervisor while a machine is built or runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host cannot run machines at all.
    #[error("hardware virtualization is not available")]
    Unavailable(#[from] Unavailable),
    /// The machine of one hypervisor does not go on with another, nor on a processor that lacks something.
    #[error("the saved processors do not fit this host: {0}")]
    Incompatible(String),
    /// This back end cannot save machines.
    #[error("this hypervisor cannot save a running machine")]
    NotSaved,
    /// A call failed.
    #[error("the hypervisor call {call} failed")]
    Call {
        /// Its name in the hypervisor's documentation.
        call: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

/// Result of a hypervisor call.
pub type Result<T> = std::result::Result<T, Error>;

/// Who plays PIC, I/O APIC and PIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Irqchip {
    /// The hypervisor: fastest.
    #[default]
    Kernel,
    /// This program; the hypervisor keeps the local APICs.
    Split,
}

/// What may be done to a piece of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads, writes and execution go to memory.
    ReadWrite,
    /// Reads and execution go to memory; writes come out as I/O.
    ReadOnly,
}

/// Opens machines.
pub trait Hypervisor: Send + Sync {
    /// An empty machine, which will have the processors of `profile`: not every hypervisor can change its mind about them later.
    fn create_vm(&self, irqchip: Irqchip, profile: &CpuidProfile) -> Result<std::sync::Arc<dyn Vm>>;
    /// What this host's hypervisor is, for people.
    fn describe(&self) -> String;
    /// The most processors a machine may have.
    fn max_vcpus(&self) -> usize;
    /// Who plays the interrupt controllers best.
    fn default_irqchip(&self) -> Irqchip {
        Irqchip::Kernel
    }
}

/// A message-signalled interrupt, in the format of the processor's manual (SDM volume 3, "Message Signalled Interrupts").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Address, 0xFEExxxxx.
    pub address: u64,
    /// Data.
    pub data: u32,
}

/// A machine: memory, processors, interrupt inputs.
pub trait Vm: Send + Sync {
    /// Lays `len` bytes at `host` into guest memory at `address` as piece number `slot`, replacing what that slot held.
    ///
    /// # Safety
    /// The memory at `host` must stay mapped until the slot is unmapped or the machine is gone, and may be used only through volatile or
    /// raw accesses, since the guest changes it at any time.
    unsafe fn map(&self, slot: u32, address: u64, host: *mut u8, len: usize, access: Access) -> Result<()>;
    /// Takes piece number `slot` out of guest memory.
    fn unmap(&self, slot: u32) -> Result<()>;
    /// Processor `index` in reset state. Processor 0 starts at the reset vector, the others wait for INIT and SIPI.
    fn create_vcpu(&self, index: u8) -> Result<Box<dyn Vcpu>>;
    /// Sets an input of the hypervisor's interrupt controllers ([`Irqchip::Kernel`]).
    fn set_irq_line(&self, input: u32, high: bool) -> Result<()>;
    /// Sets which inputs of the hypervisor's PIC are level-triggered, a bit each ([`Irqchip::Kernel`]): what firmware leaves in the
    /// edge/level control registers.
    fn set_level_triggered(&self, inputs: u16) -> Result<()>;
    /// Delivers a message to the local APICs.
    fn deliver(&self, message: Message) -> Result<()>;
    /// Tells the hypervisor which level-triggered messages the machine's I/O APIC may send, so that it reports the ends of those
    /// interrupts ([`Irqchip::Split`]).
    fn set_ioapic_routes(&self, routes: &[Option<Message>]) -> Result<()>;
    /// Puts the hypervisor's own chips into reset state. No processor runs meanwhile.
    fn reset(&self) -> Result<()>;
    /// The state of what is not a processor. No processor runs meanwhile.
    fn save(&self) -> Result<saved::VmState> {
        Err(Error::NotSaved)
    }
    /// Takes such a state over, before any processor has run.
    fn restore(&self, state: &saved::VmState) -> Result<()> {
        let _ = state;
        Err(Error::NotSaved)
    }
}

/// What processors see of the host's features, and how many they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuidProfile {
    /// Processors in the machine.
    pub cpus: u8,
    /// Features taken away from the host's.
    pub without: Vec<crate::hypervisor::CpuFeature>,
}

/// One bit of CPUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CpuFeature {
    /// Leaf (EAX).
    pub leaf: u32,
    /// Sub-leaf (ECX).
    pub subleaf: u32,
    /// Register that holds the bit.
    pub register: CpuidRegister,
    /// Bit number.
    pub bit: u8,
}

/// A result register of CPUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum CpuidRegister {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Features by the names that `/proc/cpuinfo` uses.
const FEATURES: &[(&str, u32, u32, CpuidRegister, u8)] = {
    use CpuidRegister::{Ebx, Ecx, Edx};
    &[
        ("sse3", 1, 0, Ecx, 0),
        ("pclmulqdq", 1, 0, Ecx, 1),
        ("ssse3", 1, 0, Ecx, 9),
        ("fma", 1, 0, Ecx, 12),
        ("cx16", 1, 0, Ecx, 13),
        ("pcid", 1, 0, Ecx, 17),
        ("sse4_1", 1, 0, Ecx, 19),
        ("sse4_2", 1, 0, Ecx, 20),
        ("x2apic", 1, 0, Ecx, 21),
        ("movbe", 1, 0, Ecx, 22),
        ("popcnt", 1, 0, Ecx, 23),
        ("tsc_deadline", 1, 0, Ecx, 24),
        ("aes", 1, 0, Ecx, 25),
        ("xsave", 1, 0, Ecx, 26),
        ("avx", 1, 0, Ecx, 28),
        ("f16c", 1, 0, Ecx, 29),
        ("rdrand", 1, 0, Ecx, 30),
        ("hypervisor", 1, 0, Ecx, 31),
        ("pse", 1, 0, Edx, 3),
        ("tsc", 1, 0, Edx, 4),
        ("pae", 1, 0, Edx, 6),
        ("apic", 1, 0, Edx, 9),
        ("sep", 1, 0, Edx, 11),
        ("mtrr", 1, 0, Edx, 12),
        ("pge", 1, 0, Edx, 13),
        ("mca", 1, 0, Edx, 14),
        ("pat", 1, 0, Edx, 16),
        ("mmx", 1, 0, Edx, 23),
        ("sse", 1, 0, Edx, 25),
        ("sse2", 1, 0, Edx, 26),
        ("ht", 1, 0, Edx, 28),
        ("fsgsbase", 7, 0, Ebx, 0),
        ("bmi1", 7, 0, Ebx, 3),
        ("avx2", 7, 0, Ebx, 5),
        ("smep", 7, 0, Ebx, 7),
        ("bmi2", 7, 0, Ebx, 8),
        ("erms", 7, 0, Ebx, 9),
        ("invpcid", 7, 0, Ebx, 10),
        ("avx512f", 7, 0, Ebx, 16),
        ("rdseed", 7, 0, Ebx, 18),
        ("smap", 7, 0, Ebx, 20),
        ("sha_ni", 7, 0, Ebx, 29),
        ("umip", 7, 0, Ecx, 2),
        ("pku", 7, 0, Ecx, 3),
        ("la57", 7, 0, Ecx, 16),
        ("syscall", 0x8000_0001, 0, Edx, 11),
        ("nx", 0x8000_0001, 0, Edx, 20),
        ("pdpe1gb", 0x8000_0001, 0, Edx, 26),
        ("rdtscp", 0x8000_0001, 0, Edx, 27),
        ("lm", 0x8000_0001, 0, Edx, 29),
        ("svm", 0x8000_0001, 0, Ecx, 2),
        ("vmx", 1, 0, Ecx, 5),
    ]
};

impl std::str::FromStr for CpuFeature {
    type Err = String;

    /// A name from `/proc/cpuinfo`, or `LEAF[.SUBLEAF]:REGISTER:BIT` with numbers in C notation (`0x80000001:ecx:6`).
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(&(_, leaf, subleaf, register, bit)) = FEATURES.iter().find(|f| f.0 == text) {
            return Ok(Self {
                leaf,
                subleaf,
                register,
                bit,
            });
        }
        let number = |s: &str| match s.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => s.parse().ok(),
        };
        let parse = || {
            let mut parts = text.split(':');
            let leaf = parts.next()?;
            let (leaf, subleaf) = leaf.split_once('.').unwrap_or((leaf, "0"));
            let register = match parts.next()?.to_ascii_lowercase().as_str() {
                "eax" => CpuidRegister::Eax,
                "ebx" => CpuidRegister::Ebx,
                "ecx" => CpuidRegister::Ecx,
                "edx" => CpuidRegister::Edx,
                _ => return None,
            };
            let bit = parts.next()?.parse().ok().filter(|bit| *bit < 32)?;
            if parts.next().is_some() {
                return None;
            }
            Some(Self {
                leaf: number(leaf)?,
                subleaf: number(subleaf)?,
                register,
                bit,
            })
        };
        parse().ok_or_else(|| {
            let names: Vec<_> = FEATURES.iter().map(|f| f.0).collect();
            format!(
                "`{text}` is no processor feature; known names: {}; or LEAF[.SUBLEAF]:REGISTER:BIT",
                names.join(", ")
            )
        })
    }
}

/// Where a processor starts when no firmware runs: flat 32-bit protected mode, paging off, interrupts off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatEntry {
    /// EIP.
    pub ip: u32,
    /// EBX: the PVH start information.
    pub bx: u32,
    /// ESI: Linux's boot parameters.
    pub si: u32,
}

/// The processor's side of the buses: what a processor asks while it runs.
///
/// `width` is the size of one cycle; `data` holds one or, for string instructions, several cycles at the same port.
pub trait IoHandler: Sync {
    /// `IN`, `INS`.
    fn port_read(&self, port: u16, width: usize, data: &mut [u8]);
    /// `OUT`, `OUTS`.
    fn port_write(&self, port: u16, width: usize, data: &[u8]);
    /// A load from where no memory is mapped.
    fn memory_read(&self, address: u64, data: &mut [u8]);
    /// A store to where no writable memory is mapped.
    fn memory_write(&self, address: u64, data: &[u8]);
    /// INTR: the machine's own PIC has an interrupt for processor 0.
    fn interrupt_pending(&self) -> bool;
    /// INTA: takes that interrupt's vector.
    fn acknowledge_interrupt(&self) -> u8;
    /// A processor ended a level-triggered interrupt that the machine's own I/O APIC sent.
    fn end_of_interrupt(&self, vector: u8);
    /// Reads guest memory for a register dump; `false` where there is none.
    fn peek(&self, address: u64, data: &mut [u8]) -> bool;
}

/// Why a processor stopped running, other than for I/O.
#[derive(Debug)]
pub enum Exit {
    /// [`Kick`] was used, or the host interrupted.
    Kicked,
    /// Triple fault.
    Shutdown(Box<Fault>),
    /// The hypervisor cannot go on with this processor.
    Fault(Box<Fault>),
}

/// Gets a processor out of [`Vcpu::run`], from any thread. If it does not run at the moment, its next run ends at once.
pub trait Kick: Send + Sync {
    /// Kicks.
    fn kick(&self);
}

/// A processor. It is made on one thread and then lives on its own.
pub trait Vcpu: Send {
    /// Ties the processor to the calling thread, which is the only one to call [`run`](Vcpu::run) from now on.
    fn attach(&mut self) -> Result<Box<dyn Kick>>;
    /// Runs the guest until something other than I/O happens.
    fn run(&mut self, io: &dyn IoHandler) -> Result<Exit>;
    /// Back to reset state.
    fn reset(&mut self) -> Result<()>;
    /// Makes the processor start at `entry` instead of the reset vector.
    fn enter(&mut self, entry: FlatEntry) -> Result<()>;
    /// Leaves the processor as firmware would, for machines that start a kernel without it: with the memory types of RAM, ROM and devices.
    /// A reset undoes it.
    fn set_up_without_firmware(&mut self) -> Result<()>;
    /// The whole state, between two runs.
    fn save(&self) -> Result<saved::CpuState> {
        Err(Error::NotSaved)
    }
    /// Takes such a state over.
    fn restore(&mut self, state: &saved::CpuState) -> Result<()> {
        let _ = state;
        Err(Error::NotSaved)
    }
    /// The registers now.
    fn registers(&self) -> Result<Registers>;
}

/// The end of a processor: what happened, its registers, and the code it stood at.
#[derive(Debug)]
pub struct Fault {
    /// Processor number.
    pub cpu: u8,
    /// What happened.
    pub reason: String,
    /// The host, not the guest, is to blame: what to tell the user.
    pub host_limit: Option<String>,
    /// Registers, if they could be read.
    pub registers: Option<Registers>,
    /// Bytes at the instruction pointer.
    pub code: Vec<u8>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "processor {}: {}", self.cpu, self.reason)?;
        if let Some(registers) = &self.registers {
            write!(f, "{registers}")?;
        }
        write!(f, "code")?;
        if self.code.is_empty() {
            write!(f, " (unreadable)")?;
        }
        for byte in &self.code {
            write!(f, " {byte:02x}")?;
        }
        match &self.host_limit {
            Some(limit) => write!(f, "\n{limit}"),
            None => Ok(()),
        }
    }
}

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Segment {
    pub selector: u16,
    pub base: u64,
    pub limit: u32,
    /// Access rights: type in bits 0–3, S, DPL, P, then AVL, L, D/B, G in bits 12–15.
    pub rights: u16,
}

/// A processor's registers, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Registers {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, R8 to R15.
    pub general: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    /// CS, DS, ES, FS, GS, SS, TR, LDT.
    pub segments: [Segment; 8],
    /// Base and limit of GDT and IDT.
    pub gdt: (u64, u16),
    pub idt: (u64, u16),
    /// CR0, CR2, CR3, CR4, CR8.
    pub control: [u64; 5],
    pub efer: u64,
    pub apic_base: u64,
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GENERAL: [&str; 16] = [
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8 ", "r9 ", "r10", "r11", "r12", "r13",
            "r14", "r15",
        ];
        const SEGMENTS: [&str; 8] = ["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt"];
        for (row, names) in self.general.chunks(4).zip(GENERAL.chunks(4)) {
            let line: Vec<_> = row
                .iter()
                .zip(names)
                .map(|(value, name)| format!("{name} {value:016x}"))
                .collect();
            writeln!(f, "{}", line.join("  "))?;
        }
        writeln!(f, "rip {:016x}  rflags {:08x}", self.rip, self.rflags)?;
        for (segment, name) in self.segments.iter().zip(SEGMENTS) {
            writeln!(
                f,
                "{name:<3} {:04x}  base {:016x}  limit {:08x}  rights {:04x}",
                segment.selector, segment.base, segment.limit, segment.rights
            )?;
        }
        writeln!(
            f,
            "gdt {:016x}/{:04x}  idt {:016x}/{:04x}",
            self.gdt.0, self.gdt.1, self.idt.0, self.idt.1
        )?;
        let [cr0, cr2, cr3, cr4, cr8] = self.control;
        writeln!(
            f,
            "cr0 {cr0:08x}  cr2 {cr2:016x}  cr3 {cr3:016x}  cr4 {cr4:08x}  cr8 {cr8:x}"
        )?;
        writeln!(f, "efer {:x}  apic base {:x}", self.efer, self.apic_base)
    }
}

/// Opens this host's hypervisor.
pub fn open() -> std::result::Result<Box<dyn Hypervisor>, Unavailable> {
    #[cfg(target_os = "linux")]
    return Ok(Box::new(kvm::Kvm::open()?));
    #[cfg(target_os = "windows")]
    return Ok(Box::new(whp::Whp::open()?));
}

/// What a host can do, found by asking and by trying.
pub struct Survey {
    /// The processor's hardware virtualization.
    pub processor: &'static str,
    /// The hypervisor, if machines can run.
    pub hypervisor: std::result::Result<Box<dyn Hypervisor>, Unavailable>,
    /// What some hypervisors have, and whether this one does.
    pub capabilities: Vec<(&'static str, bool)>,
    /// Why only firmware and small guests run, if that is so.
    pub limit: Option<&'static str>,
}

/// Looks at this host.
pub fn survey() -> Survey {
    #[cfg(target_os = "linux")]
    return kvm::probe::survey();
    #[cfg(target_os = "windows")]
    return whp::survey();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn features_by_name_and_by_number() {
        let nx: CpuFeature = "nx".parse().unwrap();
        assert_eq!(nx, "0x80000001:edx:20".parse().unwrap());
        assert_eq!("7.1:eax:4".parse::<CpuFeature>().unwrap().subleaf, 1);
        for bad in ["", "warp", "1:ecx", "1:ecx:32", "1:efx:0", "x:ecx:1", "1:ecx:1:1"] {
            assert!(
                bad.parse::<CpuFeature>()
                    .unwrap_err()
                    .contains("is no processor feature"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_fault_shows_registers_and_code() {
        let fault = Fault {
            cpu: 1,
            reason: "triple fault".into(),
            host_limit: None,
            registers: Some(Registers {
                rip: 0x7c00,
                ..Registers::default()
            }),
            code: vec![0xf4, 0xeb],
        };
        let text = fault.to_string();
        assert!(text.starts_with("processor 1: triple fault\nrax 0"), "{text}");
        assert!(text.contains("rip 0000000000007c00"), "{text}");
        assert!(text.ends_with("code f4 eb"), "{text}");
    }
}
