// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A partition: its memory and its local APICs.

use super::super::processor::hide;
use super::super::{Access, CpuidProfile, Error, Message, Result, Unavailable, Vcpu, Vm};
use super::api::{Api, call};
use super::vcpu::WhpVcpu;
use devices::bus::lock;
use std::arch::x86_64::__cpuid_count;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Mutex};
use windows_sys::Win32::System::Hypervisor as whv;
use windows_sys::Win32::System::Hypervisor::{
    WHV_INTERRUPT_CONTROL, WHV_PARTITION_HANDLE, WHV_X64_CPUID_RESULT,
};

/// `WHV_EXTENDED_VM_EXITS`: CPUID.
const CPUID_EXITS: u64 = 1;
/// Leaves whose results depend on the processor's number, which WHP does not get right for our topology.
pub const TOPOLOGY_LEAVES: [u32; 3] = [1, 0xb, 0x1f];

/// A partition's handle.
pub struct Partition {
    pub api: &'static Api,
    pub handle: WHV_PARTITION_HANDLE,
}

impl Drop for Partition {
    fn drop(&mut self) {
        // SAFETY: the handle is a partition's, and nobody else has it any more.
        let result = unsafe { (self.api.delete_partition)(self.handle) };
        if let Err(error) = call("WHvDeletePartition", result) {
            log::error!("a partition stays with the hypervisor: {error}");
        }
    }
}

impl Partition {
    /// Sets a property before the partition is set up.
    fn set<T: Copy>(&self, call_name: &'static str, code: i32, values: &[T]) -> Result<()> {
        // SAFETY: the buffer is valid for its length, and holds what the property is documented to be.
        let result = unsafe {
            (self.api.set_partition_property)(
                self.handle,
                code,
                values.as_ptr().cast(),
                size_of_val(values) as u32,
            )
        };
        call(call_name, result)
    }
}

/// A piece of guest memory.
struct Piece {
    address: u64,
    len: u64,
    host: *mut u8,
    access: Access,
}

// SAFETY: the pointer is to memory that `Vm::map`'s caller keeps mapped, and it is used for raw copies only.
unsafe impl Send for Piece {}

/// Guest memory as it is mapped now.
#[derive(Default)]
pub struct Pieces(Mutex<BTreeMap<u32, Piece>>);

impl Pieces {
    /// Copies from guest memory; `false` where none is mapped.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        let pieces = lock(&self.0);
        let Some((host, _)) = find(&pieces, address, data.len()) else {
            return false;
        };
        // SAFETY: the range lies in a mapped piece, which stays mapped while the table is locked. The guest may change it meanwhile,
        // which a copy of bytes bears.
        unsafe { ptr::copy(host, data.as_mut_ptr(), data.len()) };
        true
    }

    /// Copies to guest memory; `false` where none is mapped that may be written.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        let pieces = lock(&self.0);
        let Some((host, Access::ReadWrite)) = find(&pieces, address, data.len()) else {
            return false;
        };
        // SAFETY: as in `read`.
        unsafe { ptr::copy(data.as_ptr(), host, data.len()) };
        true
    }
}

fn find(pieces: &BTreeMap<u32, Piece>, address: u64, len: usize) -> Option<(*mut u8, Access)> {
    pieces.values().find_map(|piece| {
        let at = address.checked_sub(piece.address)?;
        (at < piece.len && len as u64 <= piece.len - at)
            .then(|| (piece.host.wrapping_add(at as usize), piece.access))
    })
}

/// A machine.
pub struct WhpVm {
    partition: Arc<Partition>,
    pieces: Arc<Pieces>,
    profile: CpuidProfile,
}

impl WhpVm {
    pub(super) fn new(api: &'static Api, profile: &CpuidProfile) -> Result<Self> {
        let mut handle = 0;
        // SAFETY: the call writes a handle.
        let result = unsafe { (api.create_partition)(&mut handle) };
        call("WHvCreatePartition", result).map_err(|error| match error {
            Error::Call { call, source } => Error::Unavailable(Unavailable::PartitionRefused {
                detail: format!("{call}: {source}"),
            }),
            error => error,
        })?;
        let partition = Partition { api, handle };
        partition.set(
            "WHvSetPartitionProperty(ProcessorCount)",
            whv::WHvPartitionPropertyCodeProcessorCount,
            &[u32::from(profile.cpus)],
        )?;
        partition.set(
            "WHvSetPartitionProperty(LocalApicEmulationMode)",
            whv::WHvPartitionPropertyCodeLocalApicEmulationMode,
            &[whv::WHvX64LocalApicEmulationModeXApic],
        )?;
        set_cpuid(&partition, profile)?;
        // SAFETY: the handle is a partition's.
        call("WHvSetupPartition", unsafe {
            (api.setup_partition)(partition.handle)
        })?;
        Ok(Self {
            partition: Arc::new(partition),
            pieces: Arc::default(),
            profile: profile.clone(),
        })
    }
}

/// CPUID must be settled before the partition is set up. Where the hypervisor lets us answer it, we do (see the processor's exits);
/// elsewhere only features can be hidden.
fn set_cpuid(partition: &Partition, profile: &CpuidProfile) -> Result<()> {
    let exits: u64 = partition
        .api
        .capability(whv::WHvCapabilityCodeExtendedVmExits)
        .unwrap_or(0);
    let mut leaves: Vec<u32> = profile.without.iter().map(|f| f.leaf).collect();
    if exits & CPUID_EXITS != 0 {
        leaves.extend(TOPOLOGY_LEAVES);
        leaves.sort_unstable();
        leaves.dedup();
        partition.set(
            "WHvSetPartitionProperty(ExtendedVmExits)",
            whv::WHvPartitionPropertyCodeExtendedVmExits,
            &[CPUID_EXITS],
        )?;
        return partition.set(
            "WHvSetPartitionProperty(CpuidExitList)",
            whv::WHvPartitionPropertyCodeCpuidExitList,
            &leaves,
        );
    }
    leaves.sort_unstable();
    leaves.dedup();
    let results: Vec<WHV_X64_CPUID_RESULT> = leaves
        .into_iter()
        .map(|leaf| {
            let mut result = __cpuid_count(leaf, 0);
            hide(&mut result, leaf, 0, &profile.without);
            WHV_X64_CPUID_RESULT {
                Function: leaf,
                Reserved: [0; 3],
                Eax: result.eax,
                Ebx: result.ebx,
                Ecx: result.ecx,
                Edx: result.edx,
            }
        })
        .collect();
    if results.is_empty() {
        return Ok(());
    }
    partition.set(
        "WHvSetPartitionProperty(CpuidResultList)",
        whv::WHvPartitionPropertyCodeCpuidResultList,
        &results,
    )
}

impl Vm for WhpVm {
    unsafe fn map(&self, slot: u32, address: u64, host: *mut u8, len: usize, access: Access) -> Result<()> {
        self.unmap(slot)?;
        let mut flags = whv::WHvMapGpaRangeFlagRead | whv::WHvMapGpaRangeFlagExecute;
        if access == Access::ReadWrite {
            flags |= whv::WHvMapGpaRangeFlagWrite;
        }
        let len = len as u64;
        let mut pieces = lock(&self.pieces.0);
        // SAFETY: the caller keeps the memory mapped for as long as the slot stands.
        call("WHvMapGpaRange", unsafe {
            (self.partition.api.map_gpa_range)(self.partition.handle, host.cast(), address, len, flags)
        })?;
        pieces.insert(
            slot,
            Piece {
                address,
                len,
                host,
                access,
            },
        );
        Ok(())
    }

    fn unmap(&self, slot: u32) -> Result<()> {
        let mut pieces = lock(&self.pieces.0);
        let Some(piece) = pieces.remove(&slot) else {
            return Ok(());
        };
        // SAFETY: the handle is a partition's; the range is one that was mapped.
        call("WHvUnmapGpaRange", unsafe {
            (self.partition.api.unmap_gpa_range)(self.partition.handle, piece.address, piece.len)
        })
    }

    fn create_vcpu(&self, index: u8) -> Result<Box<dyn Vcpu>> {
        let vcpu = WhpVcpu::new(&self.partition, &self.pieces, index, &self.profile)?;
        Ok(Box::new(vcpu))
    }

    fn set_irq_line(&self, _input: u32, _high: bool) -> Result<()> {
        Err(no_controllers())
    }

    fn set_level_triggered(&self, _inputs: u16) -> Result<()> {
        Err(no_controllers())
    }

    fn deliver(&self, message: Message) -> Result<()> {
        let Some(control) = interrupt_of(message) else {
            return Ok(());
        };
        // SAFETY: the structure is valid for its size.
        let result = unsafe {
            (self.partition.api.request_interrupt)(
                self.partition.handle,
                &control,
                size_of::<WHV_INTERRUPT_CONTROL>() as u32,
            )
        };
        call("WHvRequestInterrupt", result)
    }

    fn set_ioapic_routes(&self, _routes: &[Option<Message>]) -> Result<()> {
        // WHP takes the trigger mode from each request, and reports the ends of those that are level-triggered.
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        // Older versions lack it: there the processors put back what they know (`Vcpu::reset`).
        match self.partition.api.reset_partition {
            // SAFETY: the handle is a partition's, and no processor runs.
            Some(reset) => call("WHvResetPartition", unsafe { reset(self.partition.handle) }),
            None => Ok(()),
        }
    }
}

fn no_controllers() -> Error {
    Error::Call {
        call: "an interrupt input of the hypervisor",
        source: std::io::ErrorKind::Unsupported.into(),
    }
}

/// WHP's form of a message; `None` for what no local APIC would take: the vector of an entry that was never programmed, which
/// WHP refuses as an error.
fn interrupt_of(message: Message) -> Option<WHV_INTERRUPT_CONTROL> {
    const LOWEST_VECTOR: u32 = 16;
    const FIXED: u64 = 0;
    const LOWEST_PRIORITY: u64 = 1;
    let (address, data) = (message.address, message.data);
    // SDM volume 3, "Message Address Register Format" and "Message Data Register Format".
    let vector = data & 0xff;
    let delivery = u64::from(data >> 8 & 7);
    let level = u64::from(data >> 15 & 1);
    let logical = address >> 2 & 1;
    if matches!(delivery, FIXED | LOWEST_PRIORITY) && vector < LOWEST_VECTOR {
        return None;
    }
    Some(WHV_INTERRUPT_CONTROL {
        // Type in bits 0–7, destination mode in 8–11, trigger mode in 12–15.
        _bitfield: delivery | logical << 8 | level << 12,
        Destination: (address >> 12 & 0xff) as u32,
        Vector: vector,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_become_requests() {
        let message = Message {
            address: 0xfee0_3004,
            data: 0x8151,
        };
        let control = interrupt_of(message).unwrap();
        assert_eq!(
            (control._bitfield, control.Destination, control.Vector),
            (1 | 1 << 8 | 1 << 12, 3, 0x51)
        );
        let unprogrammed = Message {
            address: 0xfee0_0000,
            data: 0,
        };
        assert!(interrupt_of(unprogrammed).is_none());
        // An NMI has no vector.
        let nmi = Message {
            address: 0xfee0_0000,
            data: 0x400,
        };
        assert_eq!(interrupt_of(nmi).unwrap()._bitfield, 4);
    }

    #[test]
    fn memory_is_found_by_piece() {
        let pieces = Pieces::default();
        let mut bytes = [0u8; 16];
        let host = bytes.as_mut_ptr();
        let piece = |address, access| Piece {
            address,
            len: 8,
            host: host.wrapping_add((address % 16) as usize),
            access,
        };
        let (ram, rom) = (piece(0x1000, Access::ReadWrite), piece(0x1008, Access::ReadOnly));
        lock(&pieces.0).insert(0, ram);
        lock(&pieces.0).insert(1, rom);
        assert!(pieces.write(0x1002, &[1, 2]) && !pieces.write(0x1008, &[1]));
        let mut data = [0; 4];
        assert!(pieces.read(0x1001, &mut data));
        assert_eq!(data, [0, 1, 2, 0]);
        assert!(
            pieces.read(0x1008, &mut data)
                && !pieces.read(0x1006, &mut data)
                && !pieces.read(0xfff, &mut data)
        );
    }
}
