// SPDX-License-Identifier: Apache-2.0 OR MIT
//! WinHvPlatform.dll, found at run time: a program that links to it does not start where the Windows feature is not installed.

use super::super::{Error, Result, Unavailable};
use std::ffi::{CStr, c_void};
use std::io;
use std::mem::size_of;
use std::ptr;
use std::sync::OnceLock;
use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::Hypervisor::{
    WHV_CAPABILITY_CODE, WHV_INTERRUPT_CONTROL, WHV_MAP_GPA_RANGE_FLAGS, WHV_PARTITION_HANDLE,
    WHV_PARTITION_PROPERTY_CODE, WHV_REGISTER_NAME, WHV_REGISTER_VALUE, WHV_TRANSLATE_GVA_FLAGS,
    WHV_TRANSLATE_GVA_RESULT,
};
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};
use windows_sys::core::HRESULT;

/// The library.
pub const DLL: &str = "WinHvPlatform.dll";

type Partition = WHV_PARTITION_HANDLE;

/// The functions that are used.
pub struct Api {
    pub get_capability: unsafe extern "system" fn(WHV_CAPABILITY_CODE, *mut c_void, u32, *mut u32) -> HRESULT,
    pub create_partition: unsafe extern "system" fn(*mut Partition) -> HRESULT,
    pub delete_partition: unsafe extern "system" fn(Partition) -> HRESULT,
    pub set_partition_property:
        unsafe extern "system" fn(Partition, WHV_PARTITION_PROPERTY_CODE, *const c_void, u32) -> HRESULT,
    pub setup_partition: unsafe extern "system" fn(Partition) -> HRESULT,
    pub map_gpa_range:
        unsafe extern "system" fn(Partition, *const c_void, u64, u64, WHV_MAP_GPA_RANGE_FLAGS) -> HRESULT,
    pub unmap_gpa_range: unsafe extern "system" fn(Partition, u64, u64) -> HRESULT,
    pub translate_gva: unsafe extern "system" fn(
        Partition,
        u32,
        u64,
        WHV_TRANSLATE_GVA_FLAGS,
        *mut WHV_TRANSLATE_GVA_RESULT,
        *mut u64,
    ) -> HRESULT,
    pub create_virtual_processor: unsafe extern "system" fn(Partition, u32, u32) -> HRESULT,
    pub delete_virtual_processor: unsafe extern "system" fn(Partition, u32) -> HRESULT,
    pub run_virtual_processor: unsafe extern "system" fn(Partition, u32, *mut c_void, u32) -> HRESULT,
    pub cancel_run_virtual_processor: unsafe extern "system" fn(Partition, u32, u32) -> HRESULT,
    pub get_registers: unsafe extern "system" fn(
        Partition,
        u32,
        *const WHV_REGISTER_NAME,
        u32,
        *mut WHV_REGISTER_VALUE,
    ) -> HRESULT,
    pub set_registers: unsafe extern "system" fn(
        Partition,
        u32,
        *const WHV_REGISTER_NAME,
        u32,
        *const WHV_REGISTER_VALUE,
    ) -> HRESULT,
    pub request_interrupt: unsafe extern "system" fn(Partition, *const WHV_INTERRUPT_CONTROL, u32) -> HRESULT,
    pub get_interrupt_controller:
        unsafe extern "system" fn(Partition, u32, *mut c_void, u32, *mut u32) -> HRESULT,
    pub set_interrupt_controller: unsafe extern "system" fn(Partition, u32, *const c_void, u32) -> HRESULT,
    /// Windows 10 20H1 and later.
    pub reset_partition: Option<unsafe extern "system" fn(Partition) -> HRESULT>,
    module: Module,
}

/// A loaded library. It stays for the life of the process.
struct Module(HMODULE);

// SAFETY: a module handle is a number that names the library to calls that any thread may make.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// The address of a function.
    fn find(&self, name: &CStr) -> Option<unsafe extern "system" fn() -> isize> {
        // SAFETY: the library is loaded, and the name ends in a zero.
        unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }
    }

    /// A function that there must be.
    ///
    /// # Safety
    /// `F` is the type of the function pointer that the library documents under this name.
    unsafe fn need<F: Copy>(&self, name: &'static CStr) -> std::result::Result<F, Unavailable> {
        // SAFETY: as the caller says.
        unsafe { self.optional(name) }.ok_or(Unavailable::MissingCapability {
            name: name.to_str().unwrap_or("a function of WinHvPlatform.dll"),
        })
    }

    /// A function that newer versions have.
    ///
    /// # Safety
    /// As for [`need`](Self::need).
    unsafe fn optional<F: Copy>(&self, name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        let function = self.find(name)?;
        // SAFETY: both are function pointers, and the caller says that the type is right.
        Some(unsafe { transmute_copy(function) })
    }
}

/// A function pointer as one of another type.
///
/// # Safety
/// `F` is a function pointer type that the function has.
unsafe fn transmute_copy<F: Copy>(function: unsafe extern "system" fn() -> isize) -> F {
    // SAFETY: the sizes are equal (asserted by the caller), and the caller vouches for the type.
    unsafe { std::mem::transmute_copy(&function) }
}

impl Api {
    /// The library, loaded once.
    pub fn get() -> std::result::Result<&'static Self, Unavailable> {
        static API: OnceLock<std::result::Result<Api, Unavailable>> = OnceLock::new();
        API.get_or_init(Self::load).as_ref().map_err(Clone::clone)
    }

    fn load() -> std::result::Result<Self, Unavailable> {
        let name: Vec<u16> = DLL.encode_utf16().chain([0]).collect();
        // From the system's folder only: a file of this name beside the program or in the current folder is not Windows'.
        // SAFETY: the name ends in a zero, and the library's initialisation has no conditions.
        let module = unsafe { LoadLibraryExW(name.as_ptr(), ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        if module.is_null() {
            return Err(Unavailable::NoPlatform {
                dll: DLL,
                detail: io::Error::last_os_error().to_string(),
            });
        }
        let module = Module(module);
        macro_rules! need {
            ($name:literal) => {
                // SAFETY: the field's type is the one in Microsoft's reference, as windows-sys has it.
                unsafe { module.need($name)? }
            };
        }
        Ok(Self {
            get_capability: need!(c"WHvGetCapability"),
            create_partition: need!(c"WHvCreatePartition"),
            delete_partition: need!(c"WHvDeletePartition"),
            set_partition_property: need!(c"WHvSetPartitionProperty"),
            setup_partition: need!(c"WHvSetupPartition"),
            map_gpa_range: need!(c"WHvMapGpaRange"),
            unmap_gpa_range: need!(c"WHvUnmapGpaRange"),
            translate_gva: need!(c"WHvTranslateGva"),
            create_virtual_processor: need!(c"WHvCreateVirtualProcessor"),
            delete_virtual_processor: need!(c"WHvDeleteVirtualProcessor"),
            run_virtual_processor: need!(c"WHvRunVirtualProcessor"),
            cancel_run_virtual_processor: need!(c"WHvCancelRunVirtualProcessor"),
            get_registers: need!(c"WHvGetVirtualProcessorRegisters"),
            set_registers: need!(c"WHvSetVirtualProcessorRegisters"),
            request_interrupt: need!(c"WHvRequestInterrupt"),
            get_interrupt_controller: need!(c"WHvGetVirtualProcessorInterruptControllerState2"),
            set_interrupt_controller: need!(c"WHvSetVirtualProcessorInterruptControllerState2"),
            // SAFETY: as above.
            reset_partition: unsafe { module.optional(c"WHvResetPartition") },
            module,
        })
    }

    /// Whether this is the tests' stand-in, which says so by a function that Windows does not have.
    pub fn is_stand_in(&self) -> bool {
        self.module.find(c"VirtualpcTestStandIn").is_some()
    }

    /// What newer versions have, and whether this one does.
    pub fn optional(&self) -> Vec<(&'static str, bool)> {
        vec![("WHvResetPartition", self.reset_partition.is_some())]
    }

    /// A capability that is a plain number.
    pub fn capability<T: Number>(&self, code: WHV_CAPABILITY_CODE) -> io::Result<T> {
        let mut value = T::default();
        let mut written = 0;
        // SAFETY: the buffer is as large as said, and any bits are a number.
        let result = unsafe {
            (self.get_capability)(code, (&raw mut value).cast(), size_of::<T>() as u32, &mut written)
        };
        check(result).map(|()| value)
    }
}

/// What a capability may be.
pub trait Number: Default + Copy {}
impl Number for u32 {}
impl Number for u64 {}

/// A result code as an error.
fn check(result: HRESULT) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::other(format!("HRESULT 0x{result:08X}")))
    } else {
        Ok(())
    }
}

/// Gives a failed call its name.
pub fn call(call: &'static str, result: HRESULT) -> Result<()> {
    check(result).map_err(|source| Error::Call { call, source })
}
