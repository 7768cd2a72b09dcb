// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which result code of the Virtual PC API belongs to what the `vhd` crate refuses, or fails at. The one place that knows.

use super::hresult::{self, HResult};
use vhd::Kind;
use vhd::rules::Refusal;

impl From<&Refusal> for HResult {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Missing(_) => hresult::E_POINTER,
            Refusal::SizeNotPositive(_) => hresult::E_INVALIDARG,
            Refusal::PathNotFound(_) => hresult::ERROR_PATH_NOT_FOUND,
            Refusal::OpticalDrive(_) => hresult::ERROR_INVALID_DRIVE,
            Refusal::InvalidCharacter { .. } => hresult::ERROR_INVALID_NAME,
            Refusal::NotAbsolute(_) => hresult::ERROR_BAD_PATHNAME,
            Refusal::PathTooLong { .. } => hresult::ERROR_BUFFER_OVERFLOW,
            Refusal::AlreadyExists(_) => hresult::ERROR_ALREADY_EXISTS,
            Refusal::DiskFull { .. } => hresult::ERROR_DISK_FULL,
            Refusal::SizeTooLarge(_) => hresult::VM_E_IMAGE_SIZE_TOO_LARGE,
            Refusal::SizeTooSmall(_) => hresult::VM_E_IMAGE_SIZE_TOO_SMALL,
            Refusal::FileTooLarge { .. } => hresult::VM_E_FILE_TOO_LARGE_FOR_VOLUME,
            Refusal::ShuttingDown => hresult::VM_E_APP_SHUTTING_DOWN,
            Refusal::VirtualizationDisabled => hresult::VM_E_HARDWARE_VIRTUALIZATION_DISABLED,
            Refusal::Unexpected(_) => hresult::DISP_E_EXCEPTION,
        }
    }
}

impl From<&vhd::Error> for HResult {
    /// The codes of `IVMHardDisk`, whose members document more than those that make images.
    fn from(error: &vhd::Error) -> Self {
        match error.kind() {
            Kind::NotFound => hresult::ERROR_FILE_NOT_FOUND,
            Kind::FolderNotFound => hresult::ERROR_PATH_NOT_FOUND,
            Kind::PermissionDenied => hresult::VM_E_HD_IMAGE_ACCESS,
            Kind::AlreadyExists => hresult::ERROR_ALREADY_EXISTS,
            Kind::InvalidName => hresult::ERROR_INVALID_NAME,
            Kind::Locked => hresult::ERROR_SHARING_VIOLATION,
            Kind::ReadOnly | Kind::Latched(_) => hresult::VM_E_FILE_READ_ONLY,
            Kind::HostDiskFull => hresult::ERROR_DISK_FULL,
            Kind::FileTooLarge => hresult::VM_E_FILE_TOO_LARGE_FOR_VOLUME,
            Kind::NotAnImage
            | Kind::InvalidFooter
            | Kind::InvalidHeader
            | Kind::Checksum(_)
            | Kind::UnsupportedVersion { .. }
            | Kind::Corrupt(_)
            | Kind::UnexpectedEnd => hresult::VM_E_INVALID_HD_FILE,
            Kind::WrongFormat => hresult::VM_E_WRONG_HD_IMAGE_TYPE,
            Kind::UnsupportedDiskType(_) => hresult::VM_E_UNSUPPORTED_HD_DISK_TYPE,
            Kind::TooLarge => hresult::VM_E_IMAGE_SIZE_TOO_LARGE,
            Kind::TooSmall => hresult::VM_E_IMAGE_SIZE_TOO_SMALL,
            Kind::InvalidSize | Kind::InvalidBlockSize | Kind::OutOfRange => hresult::E_INVALIDARG,
            Kind::ParentNotFound { .. } => hresult::VM_E_PARENT_PATH_NOT_FOUND,
            Kind::ParentIdMismatch { .. } => hresult::VM_E_PARENT_CHILD_ID_MISMATCH,
            Kind::ParentModified => hresult::VM_E_PARENT_MODIFIED,
            // The documents have no code for these: the cause says what happened.
            _ => hresult::DISP_E_EXCEPTION,
        }
    }
}

// The paths of the cases are Linux'.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::reference;
    use super::*;
    use std::collections::BTreeSet;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;
    use vhd::rules::{Application, Factory};
    use vhd::storage::{FileSystem, HostCalls, HostFileSystem, Volume, VolumeCall};

    const ROOMY: VolumeCall = |_| volume(1 << 50, None, false);

    #[allow(clippy::unnecessary_wraps, reason = "it is what a volume call gives")]
    fn volume(free: u64, largest_file: Option<u64>, optical: bool) -> io::Result<Volume> {
        Ok(Volume {
            free,
            largest_file,
            optical,
        })
    }

    fn files(volume: VolumeCall) -> Arc<dyn FileSystem> {
        Arc::new(HostFileSystem::new(HostCalls {
            volume: Some(volume),
            ..HostCalls::default()
        }))
    }

    /// One call: how the application is, what the volume says, and the arguments.
    struct Case {
        application: Application,
        volume: VolumeCall,
        image: Option<String>,
        parent: Option<String>,
        size: i32,
    }

    /// A folder, and a call in it that goes well.
    fn good(folder: &Path) -> Case {
        let path = |name: &str| Some(folder.join(name).to_str().unwrap().to_owned());
        Case {
            application: Application::Running,
            volume: ROOMY,
            image: path("new.vhd"),
            parent: path("parent.vhd"),
            size: 100,
        }
    }

    impl Case {
        fn run(self, method: &str) -> HResult {
            let factory = Factory::new(self.application, files(self.volume));
            let image = self.image.as_deref();
            let plan = match method {
                "CreateDifferencingVirtualHardDisk" => factory.differencing(image, self.parent.as_deref()),
                "CreateDynamicVirtualHardDisk" => factory.dynamic(image, self.size),
                _ => factory.fixed(image, self.size),
            };
            plan.and_then(|plan| {
                let task = plan.start()?;
                Ok(task.finish()?)
            })
            .map_or_else(|refusal| (&refusal).into(), |()| hresult::S_OK)
        }
    }

    /// Everything that is documented for the three methods, and nothing else.
    #[test]
    fn each_documented_result_of_each_method_comes_from_its_cause() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let host = files(ROOMY);
        let options = vhd::CreateOptions::new().file_system(Arc::clone(&host));
        vhd::create::dynamic(within("parent.vhd"), 100 << 20, &options).unwrap();
        std::fs::write(within("file"), [1; 512]).unwrap();
        // A parent of another program, larger and smaller than the API makes them: both open.
        for (name, size) in [("large.vhd", (2040_u64 << 30) + 512), ("small.vhd", 1 << 20)] {
            foreign(&within(name), size);
        }
        for method in [
            "CreateDifferencingVirtualHardDisk",
            "CreateDynamicVirtualHardDisk",
            "CreateFixedVirtualHardDisk",
        ] {
            let differencing = method == "CreateDifferencingVirtualHardDisk";
            let mut seen = BTreeSet::new();
            let mut expect = |expected: HResult, change: &dyn Fn(&mut Case)| {
                let mut case = good(folder.path());
                change(&mut case);
                let before = std::fs::read_dir(folder.path()).unwrap().count();
                let found = case.run(method);
                assert_eq!(found, expected, "{method}");
                seen.insert(expected.name);
                if expected != hresult::S_OK {
                    let after = std::fs::read_dir(folder.path()).unwrap().count();
                    assert_eq!(before, after, "{method}: {} leaves nothing", expected.name);
                }
            };
            expect(hresult::E_POINTER, &|case| case.image = None);
            if differencing {
                expect(hresult::E_POINTER, &|case| case.parent = None);
            } else {
                expect(hresult::E_INVALIDARG, &|case| case.size = 0);
                expect(hresult::E_INVALIDARG, &|case| case.size = i32::MIN);
            }
            expect(hresult::ERROR_PATH_NOT_FOUND, &|case| {
                case.image = Some(within("file/new.vhd"));
            });
            if differencing {
                for parent in ["missing.vhd", "missing/parent.vhd"] {
                    expect(hresult::ERROR_PATH_NOT_FOUND, &|case| {
                        case.parent = Some(within(parent));
                    });
                }
            }
            expect(hresult::ERROR_INVALID_DRIVE, &|case| {
                case.volume = |_| volume(1 << 50, None, true);
            });
            for name in [
                "a*", "a?", "a:", "a<", "a>", "a|", "a\"", "a\n", "a\0", "x*/a", "C:\\a",
            ] {
                expect(hresult::ERROR_INVALID_NAME, &|case| {
                    case.image = Some(within(name));
                });
                if differencing {
                    expect(hresult::ERROR_INVALID_NAME, &|case| {
                        case.parent = Some(within(name));
                    });
                }
            }
            for path in ["", "new.vhd", "../new.vhd", "x/y.vhd"] {
                expect(hresult::ERROR_BAD_PATHNAME, &|case| {
                    case.image = Some(path.to_owned());
                    case.parent = Some("parent.vhd".to_owned());
                });
            }
            expect(hresult::ERROR_BAD_PATHNAME, &|case| {
                case.image = Some("/".to_owned());
            });
            expect(hresult::ERROR_BUFFER_OVERFLOW, &|case| {
                case.image = Some(format!("/{}", "x".repeat(259)));
            });
            if differencing {
                // The parent, an empty one, and a pair that is too long only together.
                expect(hresult::ERROR_BUFFER_OVERFLOW, &|case| {
                    case.parent = Some(format!("/{}", "x".repeat(259)));
                });
                expect(hresult::ERROR_BAD_PATHNAME, &|case| {
                    case.parent = Some(String::new());
                });
                expect(hresult::ERROR_BUFFER_OVERFLOW, &|case| {
                    case.image = Some("y".repeat(255));
                });
            }
            expect(hresult::ERROR_ALREADY_EXISTS, &|case| {
                case.image = Some(within("file"));
            });
            if method == "CreateFixedVirtualHardDisk" {
                expect(hresult::ERROR_DISK_FULL, &|case| {
                    case.volume = |_| volume(100 << 20, None, false);
                });
                expect(hresult::VM_E_FILE_TOO_LARGE_FOR_VOLUME, &|case| {
                    case.volume = |_| volume(1 << 50, Some((1 << 32) - 1), false);
                    case.size = 4096;
                });
            } else {
                expect(hresult::ERROR_DISK_FULL, &|case| {
                    case.volume = |_| volume((8 << 20) - 1, None, false);
                });
                expect(hresult::VM_E_FILE_TOO_LARGE_FOR_VOLUME, &|case| {
                    case.volume = |_| volume(1 << 50, Some(100 << 20), false);
                });
            }
            expect(hresult::VM_E_IMAGE_SIZE_TOO_LARGE, &|case| {
                case.size = 2_088_961;
                case.parent = Some(within("large.vhd"));
            });
            expect(hresult::VM_E_IMAGE_SIZE_TOO_SMALL, &|case| {
                case.size = 2;
                case.parent = Some(within("small.vhd"));
            });
            expect(hresult::VM_E_APP_SHUTTING_DOWN, &|case| {
                case.application = Application::ShuttingDown;
            });
            expect(hresult::VM_E_HARDWARE_VIRTUALIZATION_DISABLED, &|case| {
                case.application = Application::WithoutVirtualization;
            });
            // A parent that is no image, or a volume that cannot be asked.
            expect(hresult::DISP_E_EXCEPTION, &|case| {
                case.parent = Some(within("file"));
                case.volume = |_| Err(io::ErrorKind::Other.into());
            });
            let new = within("a/b/new.vhd");
            expect(hresult::S_OK, &|case| case.image = Some(new.clone()));
            std::fs::remove_file(&new).unwrap();
            std::fs::remove_dir_all(within("a")).unwrap();

            let documented: BTreeSet<&str> = reference::api()
                .pointer(&format!("/interfaces/IVMVirtualPC/members/{method}/returns"))
                .and_then(|returns| returns.as_array())
                .expect("the reference has the method")
                .iter()
                .filter_map(|name| name.as_str())
                .collect();
            assert_eq!(seen, documented, "{method}");
        }
    }

    /// A dynamic image of any size, with no blocks: the header and table of one that we make, and another size.
    fn foreign(path: &str, size: u64) {
        use zerocopy::{FromBytes, IntoBytes};
        let options = vhd::CreateOptions::new().block_size(2 << 20);
        vhd::create::dynamic(path, 2040 << 30, &options).unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        // One more entry of the table is unused space behind it, which reads as "unused" too.
        let mut header = vhd::format::Header::read_from_bytes(&bytes[512..1536]).unwrap();
        header.max_table_entries = (header.max_table_entries.get() + 1).into();
        header.seal();
        bytes[512..1536].copy_from_slice(header.as_bytes());
        let mut footer = vhd::format::Footer::read_from_bytes(&bytes[..512]).unwrap();
        footer.current_size = size.into();
        footer.seal();
        bytes[..512].copy_from_slice(footer.as_bytes());
        let end = bytes.len() - 512;
        let _ = bytes.splice(end.., [0xff; 4096].into_iter().chain(footer.as_bytes().to_vec()));
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_relative_path_is_relative_to_the_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let factory = Factory::new(Application::Running, files(ROOMY));
        factory
            .dynamic(Some(&within("bases/base.vhd")), 10)
            .unwrap()
            .create()
            .unwrap();
        let base = within("bases/base.vhd");
        let plan = factory
            .differencing(Some("../sub/child.vhd"), Some(&base))
            .unwrap();
        assert!(plan.image().ends_with("bases/../sub/child.vhd"));
        plan.create().unwrap();
        let child = within("sub/child.vhd");
        let opened = vhd::Disk::open(&child, &vhd::OpenOptions::new()).unwrap();
        assert_eq!(opened.layers().len(), 2);
        drop(opened);
        let plan = factory
            .differencing(Some(&within("bases/other.vhd")), Some("base.vhd"))
            .unwrap();
        plan.create().unwrap();
        assert!(folder.path().join("bases/other.vhd").exists());
        // Exactly as large as the API has them.
        for size in [3, 2_088_960] {
            let path = within(&format!("{size}.vhd"));
            factory.dynamic(Some(&path), size).unwrap().create().unwrap();
            let disk = vhd::Disk::open(&path, &vhd::OpenOptions::new()).unwrap();
            assert_eq!(disk.len(), u64::from(size.unsigned_abs()) << 20);
        }
    }

    #[test]
    fn failures_of_images_have_the_codes_of_hard_disks() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        let options = vhd::CreateOptions::new();
        let open = |name: &str| {
            let opened = vhd::Disk::open(within(name), &vhd::OpenOptions::new());
            opened.map_or_else(|error| HResult::from(&error), |_| hresult::S_OK)
        };
        vhd::create::dynamic(within("base.vhd"), 10 << 20, &options).unwrap();
        vhd::create::differencing(within("child.vhd"), within("base.vhd"), &options).unwrap();
        assert_eq!(open("missing.vhd"), hresult::ERROR_FILE_NOT_FOUND);
        assert_eq!(open("child.vhd"), hresult::S_OK);
        let held = vhd::Disk::open(within("base.vhd"), &vhd::OpenOptions::new()).unwrap();
        assert_eq!(open("base.vhd"), hresult::ERROR_SHARING_VIOLATION);
        drop(held);
        std::fs::rename(within("base.vhd"), within("away.vhd")).unwrap();
        assert_eq!(open("child.vhd"), hresult::VM_E_PARENT_PATH_NOT_FOUND);
        vhd::create::dynamic(within("base.vhd"), 10 << 20, &options).unwrap();
        assert_eq!(open("child.vhd"), hresult::VM_E_PARENT_CHILD_ID_MISMATCH);
        std::fs::write(within("text"), "no image").unwrap();
        assert_eq!(open("text"), hresult::VM_E_INVALID_HD_FILE);
    }
}
