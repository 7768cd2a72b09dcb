// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starting a kernel without firmware: Linux's bzImage by its 32-bit boot protocol, and ELF kernels by PVH.
//!
//! Where things lie in guest memory:
//!
//! | address | what |
//! | --- | --- |
//! | 6000h | PVH start information, its list of modules |
//! | 7000h | Linux's boot parameters, or PVH's memory map |
//! | 20000h | the command line |
//! | E0000h | ACPI, multiprocessor and SMBIOS tables ([`crate::firmware::direct`]) |
//! | 100000h | the kernel, where its image says |
//! | top of RAM below 3 GiB | the initial RAM disk |

use crate::boot::{DirectKernel, Error};
use crate::hypervisor::FlatEntry;
use crate::memory::{FOUR_GIB, Layout, MIB};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const START_INFO: u64 = 0x6000;
const MODULES: u64 = 0x6100;
const BOOT_PARAMS: u64 = 0x7000;
const MEMORY_MAP: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x2_0000;
/// End of conventional memory: the last KiB belongs to the extended BIOS data area, as ever.
const CONVENTIONAL_END: u64 = 0x9_fc00;
const KERNEL: u64 = MIB;
/// The longest command line that any kernel takes.
const COMMAND_LINE_MOST: usize = 4096;

/// Lays the kernel, its RAM disk and what the boot protocol asks for into memory. `rsdp` is the address of the ACPI root pointer.
pub fn load(
    ram: &GuestMemoryMmap,
    layout: Layout,
    direct: &DirectKernel,
    rsdp: Option<u64>,
) -> Result<FlatEntry, Error> {
    let path = &direct.kernel;
    let mut file = open(path)?;
    let len = file.metadata().map_err(|e| read_error(path, e))?.len();
    let format = Format::of(&mut file).map_err(|e| read_error(path, e))?;
    // A loader that runs out of guest memory says the same as one that runs out of file.
    let failed = |detail: String| {
        let needed = KERNEL.saturating_add(len);
        check_fits(path, needed, layout).err().unwrap_or(Error::Damaged {
            path: path.clone(),
            detail,
        })
    };
    match format {
        Some(Format::Linux) => {
            let loaded = BzImage::load(ram, None, &mut file, Some(GuestAddress(KERNEL)))
                .map_err(|e| failed(e.to_string()))?;
            let said = image_len(&loaded.setup_header.unwrap_or_default());
            if len < said {
                return Err(failed(format!("it has {len} bytes of {said}")));
            }
            start_linux(ram, layout, direct, &loaded, rsdp)
        }
        Some(Format::Elf) => {
            let loaded = Elf::load(ram, None, &mut file, None).map_err(|e| failed(e.to_string()))?;
            start_pvh(ram, layout, direct, &loaded, rsdp)
        }
        None => Err(Error::NotAKernel {
            path: path.clone(),
            detail: "it has the signature of neither".to_owned(),
        }),
    }
}

/// Finds out whether a kernel can be started on a machine with this memory, without the machine.
pub fn rehearse(layout: Layout, direct: &DirectKernel) -> Result<(), Error> {
    let range = (GuestAddress(0), layout.below_4g as usize);
    let ram = GuestMemoryMmap::from_ranges(&[range])
        .map_err(|error| read_error(&direct.kernel, io::Error::other(error.to_string())))?;
    load(&ram, layout, direct, None).map(drop)
}

/// What a kernel's file is.
enum Format {
    Linux,
    Elf,
}

impl Format {
    /// By its signature. Linux's own format first: its images may carry other formats inside.
    fn of(file: &mut File) -> io::Result<Option<Self>> {
        const SIGNATURE: usize = 0x202;
        let mut start = Vec::new();
        file.take(SIGNATURE as u64 + 4).read_to_end(&mut start)?;
        file.rewind()?;
        Ok(if start.get(SIGNATURE..) == Some(b"HdrS") {
            Some(Self::Linux)
        } else if start.starts_with(b"\x7fELF") {
            Some(Self::Elf)
        } else {
            None
        })
    }
}

/// How long a bzImage is, as it says itself: boot sector, setup code, and the rest in units of 16 bytes.
fn image_len(header: &setup_header) -> u64 {
    let setup = match header.setup_sects {
        0 => 4,
        sectors => u64::from(sectors),
    };
    (setup + 1) * 512 + u64::from(header.syssize) * 16
}

fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        source,
    }
}

/// Looked at before it is opened: opening a pipe may wait for ever.
fn open(path: &Path) -> Result<File, Error> {
    let failed = |source| read_error(path, source);
    let found = std::fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !found.is_file() {
        return Err(failed(io::Error::other("it is no ordinary file")));
    }
    File::open(path).map_err(failed)
}

fn start_linux(
    ram: &GuestMemoryMmap,
    layout: Layout,
    direct: &DirectKernel,
    loaded: &KernelLoaderResult,
    rsdp: Option<u64>,
) -> Result<FlatEntry, Error> {
    let header = loaded.setup_header.unwrap_or_default();
    let kernel_end = needed_end(loaded, &header);
    check_fits(&direct.kernel, kernel_end, layout)?;
    let most = match header.cmdline_size {
        0 => 255,
        size => size as usize,
    };
    put_command_line(ram, direct, most.min(COMMAND_LINE_MOST))?;
    let mut params = boot_params {
        hdr: header,
        acpi_rsdp_addr: rsdp.unwrap_or(0),
        ..boot_params::default()
    };
    const LOADER_UNDEFINED: u8 = 0xff;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = COMMAND_LINE as u32;
    if let Some(path) = &direct.initrd {
        // Kernels before protocol 2.03 do not say, and take 895 MiB.
        let most = if header.initrd_addr_max == 0 {
            0x37ff_ffff
        } else {
            header.initrd_addr_max
        };
        let (address, len) = put_initrd(ram, layout, path, kernel_end, u64::from(most) + 1)?;
        params.hdr.ramdisk_image = address as u32;
        params.hdr.ramdisk_size = len as u32;
    }
    let map = memory_map(layout);
    for (entry, (addr, size, type_)) in params.e820_table.iter_mut().zip(&map) {
        *entry = boot_e820_entry {
            addr: *addr,
            size: *size,
            r#type: *type_,
        };
    }
    params.e820_entries = map.len() as u8;
    ram.write_obj(params, GuestAddress(BOOT_PARAMS))?;
    Ok(FlatEntry {
        ip: loaded.kernel_load.0 as u32,
        bx: 0,
        si: BOOT_PARAMS as u32,
    })
}

/// The end of what the kernel needs before it knows of its memory: room to decompress itself.
fn needed_end(loaded: &KernelLoaderResult, header: &setup_header) -> u64 {
    let start = if header.relocatable_kernel != 0 {
        loaded
            .kernel_load
            .0
            .next_multiple_of(u64::from(header.kernel_alignment.max(1)))
            .max(header.pref_address)
    } else {
        loaded.kernel_load.0
    };
    loaded
        .kernel_end
        .max(start.saturating_add(u64::from(header.init_size)))
}

fn start_pvh(
    ram: &GuestMemoryMmap,
    layout: Layout,
    direct: &DirectKernel,
    loaded: &KernelLoaderResult,
    rsdp: Option<u64>,
) -> Result<FlatEntry, Error> {
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        let detail = "an ELF file without the note XEN_ELFNOTE_PHYS32_ENTRY".to_owned();
        return Err(Error::NotAKernel {
            path: direct.kernel.clone(),
            detail,
        });
    };
    check_fits(&direct.kernel, loaded.kernel_end, layout)?;
    put_command_line(ram, direct, COMMAND_LINE_MOST)?;
    const MAGIC: u32 = 0x336e_c578;
    let map = memory_map(layout);
    let mut info = hvm_start_info {
        magic: MAGIC,
        version: 1,
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: rsdp.unwrap_or(0),
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..hvm_start_info::default()
    };
    if let Some(path) = &direct.initrd {
        let (paddr, size) = put_initrd(ram, layout, path, loaded.kernel_end, FOUR_GIB)?;
        info.nr_modules = 1;
        info.modlist_paddr = MODULES;
        ram.write_obj(
            hvm_modlist_entry {
                paddr,
                size,
                ..hvm_modlist_entry::default()
            },
            GuestAddress(MODULES),
        )?;
    }
    let size = size_of::<hvm_memmap_table_entry>() as u64;
    for (at, (addr, len, type_)) in (0..).map(|i| MEMORY_MAP + i * size).zip(map) {
        ram.write_obj(
            hvm_memmap_table_entry {
                addr,
                size: len,
                type_,
                reserved: 0,
            },
            GuestAddress(at),
        )?;
    }
    ram.write_obj(info, GuestAddress(START_INFO))?;
    Ok(FlatEntry {
        ip: entry.0 as u32,
        bx: START_INFO as u32,
        si: 0,
    })
}

fn check_fits(path: &Path, end: u64, layout: Layout) -> Result<(), Error> {
    if end <= layout.below_4g {
        return Ok(());
    }
    Err(Error::TooLittleMemory {
        path: path.to_owned(),
        needed: end.div_ceil(MIB),
        have: layout.below_4g / MIB,
    })
}

fn put_command_line(ram: &GuestMemoryMmap, direct: &DirectKernel, most: usize) -> Result<(), Error> {
    let mut line = direct.command_line.clone().into_bytes();
    if line.len() >= most {
        return Err(Error::CommandLine {
            path: direct.kernel.clone(),
            len: line.len(),
            most: most - 1,
        });
    }
    line.push(0);
    Ok(ram.write_slice(&line, GuestAddress(COMMAND_LINE))?)
}

/// Puts the RAM disk as high as the kernel takes it, on a page. Gives its address and length.
fn put_initrd(
    ram: &GuestMemoryMmap,
    layout: Layout,
    path: &Path,
    kernel_end: u64,
    limit: u64,
) -> Result<(u64, u64), Error> {
    const PAGE: u64 = 4096;
    let mut file = open(path)?;
    let failed = |source| read_error(path, source);
    let len = file.metadata().map_err(failed)?.len();
    let top = layout.below_4g.min(limit);
    let address = top
        .checked_sub(len)
        .map(|at| at / PAGE * PAGE)
        .filter(|at| *at >= kernel_end)
        .ok_or_else(|| Error::TooLittleMemory {
            path: path.to_owned(),
            needed: kernel_end.saturating_add(len).div_ceil(MIB),
            have: top / MIB,
        })?;
    ram.read_exact_volatile_from(GuestAddress(address), &mut file, len as usize)
        .map_err(|error| failed(io::Error::other(error.to_string())))?;
    Ok((address, len))
}

/// The memory map in e820 terms: address, length, type.
fn memory_map(layout: Layout) -> Vec<(u64, u64, u32)> {
    const RAM: u32 = 1;
    const RESERVED: u32 = 2;
    let mut map = vec![
        (0, CONVENTIONAL_END, RAM),
        (CONVENTIONAL_END, 0xa_0000 - CONVENTIONAL_END, RESERVED),
        (0xe_0000, MIB - 0xe_0000, RESERVED),
    ];
    if layout.below_4g > MIB {
        map.push((MIB, layout.below_4g - MIB, RAM));
    }
    if layout.above_4g > 0 {
        map.push((FOUR_GIB, layout.above_4g, RAM));
    }
    map
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn ram(mib: u64) -> (GuestMemoryMmap, Layout) {
        let layout = Layout::new(mib * MIB).unwrap();
        (
            GuestMemoryMmap::from_ranges(&[(GuestAddress(0), layout.below_4g as usize)]).unwrap(),
            layout,
        )
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// The least that the boot protocol calls a bzImage: header, one setup sector, a byte of kernel.
    fn bzimage() -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x201] = 0x66;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
        image[0x211] = 1;
        image[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
        image[0x22c..0x230].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        image[0x238..0x23c].copy_from_slice(&100u32.to_le_bytes());
        image[1024..].fill(0xf4);
        image
    }

    #[test]
    fn a_bzimage_with_ram_disk_and_command_line() {
        let (ram, layout) = ram(16);
        let (kernel, initrd) = (file(&bzimage()), file(b"cpio"));
        let direct = DirectKernel {
            kernel: kernel.path().to_owned(),
            initrd: Some(initrd.path().to_owned()),
            command_line: "console=ttyS0".into(),
        };
        let entry = load(&ram, layout, &direct, Some(0xe_0000)).unwrap();
        assert_eq!(
            entry,
            FlatEntry {
                ip: 0x10_0000,
                bx: 0,
                si: 0x7000
            }
        );
        let params: boot_params = ram.read_obj(GuestAddress(0x7000)).unwrap();
        let (initrd_at, line_at, map, rsdp) = (
            params.hdr.ramdisk_image,
            params.hdr.cmd_line_ptr,
            params.e820_entries,
            params.acpi_rsdp_addr,
        );
        assert_eq!(
            (initrd_at, line_at, map, rsdp),
            (15 << 20 | 0xf_f000, 0x2_0000, 4, 0xe_0000)
        );
        let mut text = [0; 14];
        ram.read_slice(&mut text, GuestAddress(0x2_0000)).unwrap();
        assert_eq!(&text, b"console=ttyS0\0");
        ram.read_slice(&mut text[..4], GuestAddress(u64::from(initrd_at)))
            .unwrap();
        assert_eq!(&text[..4], b"cpio");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (ram, layout) = ram(1);
        let kernel = file(&bzimage());
        let direct = DirectKernel {
            kernel: kernel.path().to_owned(),
            initrd: None,
            command_line: String::new(),
        };
        assert!(load(&ram, layout, &direct, None).is_err());
        let (ram, layout) = self::ram(2);
        let long = DirectKernel {
            command_line: "x".repeat(100),
            ..direct.clone()
        };
        assert!(matches!(
            load(&ram, layout, &long, None),
            Err(Error::CommandLine {
                len: 100,
                most: 99,
                ..
            })
        ));
        let initrd = file(&vec![0; MIB as usize]);
        let large = DirectKernel {
            initrd: Some(initrd.path().to_owned()),
            ..direct
        };
        assert!(matches!(
            load(&ram, layout, &large, None),
            Err(Error::TooLittleMemory { .. })
        ));
    }

    #[test]
    fn kernels_that_are_cut_short() {
        let (ram, layout) = ram(4);
        let mut image = bzimage();
        image[0x1f4..0x1f8].copy_from_slice(&2u32.to_le_bytes());
        for bytes in [&image[..], &image[..0x208], b"\x7fELF"] {
            let kernel = file(bytes);
            let direct = DirectKernel {
                kernel: kernel.path().to_owned(),
                initrd: None,
                command_line: String::new(),
            };
            let error = load(&ram, layout, &direct, None).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn other_files_are_no_kernels() {
        let (ram, layout) = ram(2);
        for bytes in [&b""[..], b"\x7fELD", &[0; 4096]] {
            let kernel = file(bytes);
            let direct = DirectKernel {
                kernel: kernel.path().to_owned(),
                initrd: None,
                command_line: String::new(),
            };
            assert!(
                matches!(load(&ram, layout, &direct, None), Err(Error::NotAKernel { .. })),
                "{bytes:?}"
            );
        }
        let direct = DirectKernel {
            kernel: "/".into(),
            initrd: None,
            command_line: String::new(),
        };
        assert!(matches!(
            load(&ram, layout, &direct, None),
            Err(Error::Read { .. })
        ));
    }

    #[test]
    fn memory_above_4_gib_is_in_the_map() {
        let map = memory_map(Layout::new(64 << 30).unwrap());
        assert_eq!(map.last(), Some(&(FOUR_GIB, 61 << 30, 1)));
        assert_eq!(map[3], (MIB, (3 << 30) - MIB, 1));
    }
}
