// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this host's KVM can do, found by asking and by trying.

use super::super::processor::{ProcessorSupport, processor_support};
use super::super::{CpuidProfile, Hypervisor, Irqchip, Survey, Unavailable};
use super::state::OPTIONAL;
use super::{Kvm, vm};
use kvm_bindings as kb;
use kvm_ioctls::VcpuExit;
use std::fs;
use std::sync::OnceLock;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Said of a host whose KVM emulates what it should run.
pub const SOFTWARE_KVM: &str = "the host's KVM emulates kernel-mode code in software and does not know all instructions: \
    it runs firmware, boot loaders and small guests, but not ordinary 64-bit kernels";

/// What `vpc host` shows.
pub fn survey() -> Survey {
    let kvm = Kvm::open().and_then(|kvm| try_machine(&kvm).map(|()| kvm));
    Survey {
        processor: processor_support().words(),
        capabilities: kvm.as_ref().map_or(Vec::new(), optional_capabilities),
        limit: (kvm.is_ok() && !runs_ordinary_code()).then_some(SOFTWARE_KVM),
        hypervisor: kvm.map(|kvm| Box::new(kvm) as Box<dyn Hypervisor>),
    }
}

/// Why `/dev/kvm` could not be opened.
pub(super) fn explain_open(errno: i32) -> Unavailable {
    explain(errno, processor_support(), Kvm::PATH, || group_of(Kvm::PATH))
}

fn explain(errno: i32, support: ProcessorSupport, path: &str, group: impl FnOnce() -> String) -> Unavailable {
    match (errno, support) {
        (libc::EACCES | libc::EPERM, _) => Unavailable::NotPermitted {
            path: path.to_owned(),
            group: group(),
        },
        // The device node outlives its driver: the module is there and found the extension switched off.
        (libc::ENODEV | libc::ENXIO, ProcessorSupport::Vmx | ProcessorSupport::Svm) => {
            Unavailable::Disabled {
                detail: format!("{path} exists, but no driver answers behind it"),
            }
        }
        (libc::ENOENT | libc::ENODEV | libc::ENXIO, ProcessorSupport::None) => {
            Unavailable::NoProcessorSupport
        }
        (libc::ENOENT | libc::ENODEV | libc::ENXIO, ProcessorSupport::NoneInGuest) => Unavailable::NotNested,
        (libc::ENOENT, ProcessorSupport::Vmx) => missing_device(path, "kvm_intel"),
        (libc::ENOENT, ProcessorSupport::Svm) => missing_device(path, "kvm_amd"),
        (errno, _) => Unavailable::Refused {
            detail: format!(
                "{path} cannot be opened: {}",
                std::io::Error::from_raw_os_error(errno)
            ),
        },
    }
}

fn missing_device(path: &str, module: &'static str) -> Unavailable {
    // Firmware that locks the feature away leaves the flag in CPUID, and the kernel says so when the module is loaded.
    if fs::exists(format!("/sys/module/{module}")).unwrap_or(false) {
        return Unavailable::Disabled {
            detail: format!("{module} is loaded but made no {path}"),
        };
    }
    Unavailable::NoDevice {
        path: path.to_owned(),
        module,
    }
}

/// The name of the group that a file belongs to.
fn group_of(path: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(gid) = fs::metadata(path).map(|m| m.gid()) else {
        return "kvm".to_owned();
    };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| gid.to_string())
}

/// The optional capabilities of this KVM, and whether each is there.
pub fn optional_capabilities(kvm: &Kvm) -> Vec<(&'static str, bool)> {
    OPTIONAL
        .iter()
        .map(|&(cap, name)| (name, vm::capability(&kvm.kvm, cap) > 0))
        .collect()
}

/// Whether this KVM runs ordinary 64-bit kernels. Found by running an instruction that every one of them uses in kernel mode and that
/// a KVM which emulates kernel mode does not know. `true` when in doubt. The answer is kept.
pub fn runs_ordinary_code() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| try_cmpxchg16b().unwrap_or(true))
}

/// Runs `lock cmpxchg16b; hlt` in long mode, ring 0. `None`: the trial itself could not be made.
fn try_cmpxchg16b() -> Option<bool> {
    const PML4: u64 = 0x1000;
    const PDPT: u64 = 0x2000;
    const DIRECTORY: u64 = 0x3000;
    const CODE: u64 = 0x4000;
    const OPERAND: u64 = 0x5000;
    const PROGRAM: [u8; 6] = [0xf0, 0x48, 0x0f, 0xc7, 0x0f, 0xf4]; // lock cmpxchg16b [rdi]; hlt
    const PRESENT_WRITABLE: u64 = 3;
    const PAGE_SIZE: u64 = 1 << 7;
    const LEN: usize = 0x10000;

    let kvm = Kvm::open().ok()?;
    let fd = kvm.kvm.create_vm().ok()?;
    let ram = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), LEN)]).ok()?;
    for (at, value) in [
        (PML4, PDPT | PRESENT_WRITABLE),
        (PDPT, DIRECTORY | PRESENT_WRITABLE),
        (DIRECTORY, PAGE_SIZE | PRESENT_WRITABLE),
    ] {
        ram.write_obj(value, GuestAddress(at)).ok()?;
    }
    ram.write_slice(&PROGRAM, GuestAddress(CODE)).ok()?;
    let region = kb::kvm_userspace_memory_region {
        memory_size: LEN as u64,
        userspace_addr: ram.get_host_address(GuestAddress(0)).ok()? as u64,
        ..Default::default()
    };
    // SAFETY: `ram` outlives the virtual machine, which is dropped before it at the end of this function.
    unsafe { fd.set_user_memory_region(region) }.ok()?;
    let mut vcpu = fd.create_vcpu(0).ok()?;
    let cpuid = kvm.kvm.get_supported_cpuid(kb::KVM_MAX_CPUID_ENTRIES).ok()?;
    vcpu.set_cpuid2(&cpuid).ok()?;
    let mut special = vcpu.get_sregs().ok()?;
    let segment = kb::kvm_segment {
        limit: u32::MAX,
        selector: 8,
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    special.cs = segment;
    let data = kb::kvm_segment {
        selector: 16,
        type_: 3,
        l: 0,
        db: 1,
        ..segment
    };
    (special.ds, special.es, special.ss) = (data, data, data);
    special.cr3 = PML4;
    special.cr4 |= 1 << 5;
    special.cr0 |= 1 << 31 | 1;
    special.efer |= 1 << 8 | 1 << 10;
    vcpu.set_sregs(&special).ok()?;
    vcpu.set_regs(&kb::kvm_regs {
        rip: CODE,
        rdi: OPERAND,
        rflags: 2,
        ..Default::default()
    })
    .ok()?;
    match vcpu.run().ok()? {
        VcpuExit::Hlt => Some(true),
        VcpuExit::InternalError => Some(false),
        _ => None,
    }
}

/// A machine can really be made: the last thing that can be wrong with a host.
pub fn try_machine(kvm: &Kvm) -> Result<(), Unavailable> {
    let refused = |error: super::Error| {
        let source = std::error::Error::source(&error)
            .map(|s| format!(": {s}"))
            .unwrap_or_default();
        Unavailable::Refused {
            detail: format!("{error}{source}"),
        }
    };
    let profile = CpuidProfile {
        cpus: 1,
        without: vec![],
    };
    let vm = kvm.create_vm(Irqchip::Kernel, &profile).map_err(refused)?;
    vm.create_vcpu(0).map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_apart() {
        use ProcessorSupport::{None, NoneInGuest, Svm, Vmx};
        let why = |errno, support| explain(errno, support, "/nonexistent/kvm", || "kvm".to_owned());
        assert_eq!(why(libc::ENOENT, None), Unavailable::NoProcessorSupport);
        assert_eq!(why(libc::ENOENT, NoneInGuest), Unavailable::NotNested);
        assert!(matches!(why(libc::EACCES, Vmx), Unavailable::NotPermitted { group, .. } if group == "kvm"));
        assert!(matches!(why(libc::ENODEV, Svm), Unavailable::Disabled { .. }));
        assert!(matches!(why(libc::EBUSY, Svm), Unavailable::Refused { .. }));
    }
}
