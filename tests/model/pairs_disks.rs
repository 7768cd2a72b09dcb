// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results of hard disks, their connections and their undo disks.

use super::{Lab, begin, pairs, support, text};
use vhd::CreateOptions;
use virtualpc::virtual_pc::enums::HardDiskType;

const MIB: u64 = 1 << 20;

fn dynamic(lab: &Lab, name: &str, size: u64) -> String {
    vhd::create::dynamic(lab.path(name), size, &CreateOptions::new()).unwrap();
    lab.text(name)
}

fn child(lab: &Lab, name: &str, parent: &str) -> String {
    vhd::create::differencing(lab.path(name), parent, &CreateOptions::new()).unwrap();
    lab.text(name)
}

#[test]
fn images() {
    let lab = Lab::new();
    let get = |path: &str| lab.app.hard_disk(path);
    let parent = dynamic(&lab, "parent.vhd", 8 * MIB);
    let diff = child(&lab, "child.vhd", &parent);
    pairs!(ERROR_FILE_NOT_FOUND: "IVMVirtualPC::GetHardDisk" => get(&lab.text("none.vhd")));
    pairs!(ERROR_PATH_NOT_FOUND: "IVMVirtualPC::GetHardDisk" => get(&lab.text("none/none.vhd")));
    pairs!(ERROR_INVALID_NAME: "IVMVirtualPC::GetHardDisk" => get("/a*"));
    pairs!(ERROR_BAD_PATHNAME: "IVMVirtualPC::GetHardDisk" => get("parent.vhd"));
    pairs!(ERROR_BUFFER_OVERFLOW: "IVMVirtualPC::GetHardDisk" => get(&format!("/{}", "x".repeat(260))));
    let (base, top) = (get(&parent).unwrap(), get(&diff).unwrap());
    pairs!(S_OK:
        "IVMVirtualPC::GetHardDisk" => get(&parent),
        "IVMHardDisk::File" => Ok(assert_eq!(text(base.file()), parent)),
        "IVMHardDisk::Type" => top.kind().map(|kind| assert_eq!(kind, HardDiskType::Differencing)),
        "IVMHardDisk::SizeInGuest" => top.size_in_guest().map(|size| assert_eq!(size, 8 * MIB)),
        "IVMHardDisk::SizeOnHost" => base.size_on_host().map(|size| assert!(size < MIB)),
        "IVMHardDisk::HostFreeDiskSpace" => base.host_free_disk_space().map(|free| assert!(free > 0)),
        "IVMHardDisk::Parent" => top.parent().map(|found| assert_eq!(text(found.file()), parent)),
    );
    pairs!(S_FALSE: "IVMHardDisk::Parent" => base.parent());
    let raw = get(&lab.file("raw.img", 8 << 20)).unwrap();
    pairs!(VM_E_DRIVE_INVALID: "IVMHardDisk::Type" => raw.kind());

    // The parent moves away, comes back elsewhere, and another disk takes its name.
    std::fs::rename(&parent, lab.path("moved.vhd")).unwrap();
    pairs!(ERROR_PATH_NOT_FOUND: "IVMHardDisk::Parent" => top.parent());
    pairs!(VM_E_HD_IMAGE_OPEN_FAIL:
        "IVMHardDisk::Type" => top.kind(),
        "IVMHardDisk::SizeInGuest" => top.size_in_guest(),
    );
    pairs!(VM_E_PARENT_PATH_NOT_FOUND:
        "IVMHardDisk::Merge" => top.merge(),
        "IVMHardDisk::MergeTo" => top.merge_to(&lab.text("new.vhd"), HardDiskType::Dynamic),
        "IVMHardDisk::Convert" => top.convert(&lab.text("new.vhd"), HardDiskType::Dynamic),
    );
    pairs!(S_OK: "IVMHardDisk::Parent" => top.set_parent(&get(&lab.text("moved.vhd")).unwrap()));
    assert_eq!(top.parent().unwrap().file(), lab.path("moved.vhd"));
    let other = dynamic(&lab, "parent.vhd", 8 * MIB);
    pairs!(VM_E_PARENT_CHILD_ID_MISMATCH: "IVMHardDisk::Parent" => top.set_parent(&get(&other).unwrap()));
    std::fs::remove_file(&diff).unwrap();
    pairs!(ERROR_FILE_NOT_FOUND:
        "IVMHardDisk::Type" => top.kind(),
        "IVMHardDisk::SizeInGuest" => top.size_in_guest(),
        "IVMHardDisk::SizeOnHost" => top.size_on_host(),
        "IVMHardDisk::Parent" => top.parent(),
    );
    // An image that contradicts itself: a table beyond the end of the file.
    let mut bytes = std::fs::read(&other).unwrap();
    let end = bytes.len();
    bytes.truncate(end - 512);
    bytes.drain(1024..);
    std::fs::write(lab.path("cut.vhd"), bytes).unwrap();
    let cut = get(&lab.text("cut.vhd")).unwrap();
    assert!(cut.kind().is_err());
    let gone = get(&lab.file("gone.vhd", 512)).unwrap();
    drop(gone);
    std::fs::create_dir(lab.path("folder")).unwrap();
    let lost = dynamic(&lab, "folder/lost.vhd", 8 * MIB);
    let lost = get(&lost).unwrap();
    std::fs::remove_dir_all(lab.path("folder")).unwrap();
    pairs!(ERROR_BAD_PATHNAME: "IVMHardDisk::HostFreeDiskSpace" => lost.host_free_disk_space());
}

#[test]
fn operations() {
    let _undisturbed = support::alone();
    let lab = Lab::new();
    let get = |path: &str| lab.app.hard_disk(path).unwrap();
    let parent = dynamic(&lab, "parent.vhd", 8 * MIB);
    let diff = child(&lab, "child.vhd", &parent);
    let disk = vhd::Disk::open(&diff, &vhd::OpenOptions::new()).unwrap();
    disk.write_at(4096, &[7; 512]).unwrap();
    disk.close().unwrap();
    let (base, top) = (get(&parent), get(&diff));
    let new = lab.text("new.vhd");
    let long = format!("/{}.vhd", "x".repeat(260));
    let dynamic = HardDiskType::Dynamic;
    pairs!(E_INVALIDARG:
        "IVMHardDisk::Convert" => base.convert("", dynamic),
        "IVMHardDisk::Convert" => base.convert("/new.img", dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to("", dynamic),
    );
    pairs!(ERROR_PATH_NOT_FOUND:
        "IVMHardDisk::Convert" => base.convert(&lab.text("none/new.vhd"), dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to(&lab.text("none/new.vhd"), dynamic),
    );
    pairs!(ERROR_INVALID_NAME:
        "IVMHardDisk::Convert" => base.convert("/a*.vhd", dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to("/a*.vhd", dynamic),
    );
    pairs!(ERROR_BAD_PATHNAME:
        "IVMHardDisk::Convert" => base.convert("new.vhd", dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to("new.vhd", dynamic),
    );
    pairs!(ERROR_BUFFER_OVERFLOW:
        "IVMHardDisk::Convert" => base.convert(&long, dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to(&long, dynamic),
    );
    pairs!(ERROR_ALREADY_EXISTS:
        "IVMHardDisk::Convert" => base.convert(&parent, dynamic),
        "IVMHardDisk::MergeTo" => top.merge_to(&parent, dynamic),
    );
    pairs!(VM_E_WRONG_HD_IMAGE_TYPE:
        "IVMHardDisk::Convert" => base.convert(&new, HardDiskType::Differencing),
        "IVMHardDisk::MergeTo" => top.merge_to(&new, HardDiskType::Differencing),
        "IVMHardDisk::MergeTo" => base.merge_to(&new, dynamic),
        "IVMHardDisk::Merge" => base.merge(),
        "IVMHardDisk::Compact" => top.compact(),
    );
    let held = vhd::Disk::open(&diff, &vhd::OpenOptions::new()).unwrap();
    pairs!(ERROR_SHARING_VIOLATION:
        "IVMHardDisk::Convert" => top.convert(&new, dynamic),
        "IVMHardDisk::Merge" => top.merge(),
        "IVMHardDisk::MergeTo" => top.merge_to(&new, dynamic),
        "IVMHardDisk::Compact" => base.compact(),
    );
    held.close().unwrap();
    pairs!(S_OK:
        "IVMHardDisk::MergeTo" => top.merge_to(&new, HardDiskType::FixedSize).and_then(|task| task.finish()),
        "IVMHardDisk::Convert" => get(&new).convert(&lab.text("again.vhd"), dynamic).and_then(|task| task.finish()),
        "IVMHardDisk::Compact" => get(&lab.text("again.vhd")).compact().and_then(|task| task.finish()),
        "IVMHardDisk::Merge" => top.merge().and_then(|task| task.finish()),
    );
    assert_eq!(get(&new).kind().unwrap(), HardDiskType::FixedSize);
    assert!(
        !lab.path("child.vhd").exists(),
        "its content is in the parent now"
    );
    for path in [&parent, &new, &lab.text("again.vhd")] {
        let mut sector = [0; 512];
        let disk = vhd::Disk::open(path, &vhd::OpenOptions::new().read_only(true)).unwrap();
        disk.read_at(4096, &mut sector).unwrap();
        assert_eq!(sector, [7; 512], "{path}");
    }
    let mut permissions = std::fs::metadata(&parent).unwrap().permissions();
    permissions.set_readonly(true);
    let diff = child(&lab, "child.vhd", &parent);
    std::fs::set_permissions(&parent, permissions).unwrap();
    pairs!(VM_E_FILE_READ_ONLY:
        "IVMHardDisk::Merge" => get(&diff).merge(),
        "IVMHardDisk::Compact" => get(&parent).compact(),
    );
}

#[test]
fn connections() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let add = |path: &str, bus, device| machine.add_hard_disk_connection(path, bus, device);
    let (a, b) = (dynamic(&lab, "a.vhd", 8 * MIB), dynamic(&lab, "b.vhd", 8 * MIB));
    pairs!(E_INVALIDARG: "IVMVirtualMachine::AddHardDiskConnection" => add(&a, 0, 2));
    pairs!(ERROR_FILE_NOT_FOUND: "IVMVirtualMachine::AddHardDiskConnection" => add(&lab.text("none"), 0, 0));
    pairs!(ERROR_PATH_NOT_FOUND: "IVMVirtualMachine::AddHardDiskConnection" => add(&lab.text("none/none"), 0, 0));
    pairs!(ERROR_INVALID_NAME: "IVMVirtualMachine::AddHardDiskConnection" => add("/a\"", 0, 0));
    pairs!(ERROR_BAD_PATHNAME: "IVMVirtualMachine::AddHardDiskConnection" => add("", 0, 0));
    pairs!(ERROR_BUFFER_OVERFLOW: "IVMVirtualMachine::AddHardDiskConnection" => add(&format!("/{}", "x".repeat(260)), 0, 0));
    pairs!(VM_E_INVALID_HD_FILE:
        "IVMVirtualMachine::AddHardDiskConnection" => add(&dynamic(&lab, "large.vhd", 128 << 30), 0, 0),
        "IVMVirtualMachine::AddHardDiskConnection" => add(&lab.file("odd", 100), 0, 0),
    );
    pairs!(S_OK: "IVMVirtualMachine::AddHardDiskConnection" => add(&a, 0, 0));
    pairs!(VM_E_DRIVE_BUS_LOC_IN_USE:
        "IVMVirtualMachine::AddHardDiskConnection" => add(&b, 0, 0),
        "IVMVirtualMachine::AddHardDiskConnection" => add(&b, 1, 0),
    );
    pairs!(ERROR_SHARING_VIOLATION: "IVMVirtualMachine::AddHardDiskConnection" => add(&a, 0, 1));
    let second = add(&b, 0, 1).unwrap();
    let all = machine.hard_disk_connections().unwrap();
    let mut first = all.item(1).unwrap().clone();
    pairs!(S_OK:
        "IVMHardDiskConnectionCollection::Count" => Ok(assert_eq!(all.count(), 2)),
        "IVMHardDiskConnectionCollection::Item" => all.item(2),
        "IVMHardDiskConnectionCollection::_NewEnum" => Ok(all.iter().count()),
        "IVMHardDiskConnection::BusNumber" => first.bus_number(),
        "IVMHardDiskConnection::DeviceNumber" => first.device_number(),
        "IVMHardDiskConnection::HardDisk" => first.hard_disk().map(|disk| assert_eq!(text(disk.file()), a)),
    );
    pairs!(DISP_E_BADINDEX: "IVMHardDiskConnectionCollection::Item" => all.item(3));
    pairs!(ERROR_FILE_NOT_FOUND: "IVMHardDiskConnection::UndoHardDisk" => first.undo_hard_disk());
    pairs!(E_INVALIDARG: "IVMHardDiskConnection::SetBusLocation" => first.set_bus_location(-1, 0));
    pairs!(VM_E_DRIVE_BUS_LOC_IN_USE: "IVMHardDiskConnection::SetBusLocation" => first.set_bus_location(0, 1));
    pairs!(S_OK:
        "IVMHardDiskConnection::SetBusLocation" => first.set_bus_location(1, 1),
        "IVMVirtualMachine::RemoveHardDiskConnection" => machine.remove_hard_disk_connection(&first),
    );
    pairs!(VM_E_DRIVE_INVALID:
        "IVMHardDiskConnection::SetBusLocation" => first.set_bus_location(0, 0),
        "IVMHardDiskConnection::BusNumber" => first.bus_number(),
        "IVMHardDiskConnection::DeviceNumber" => first.device_number(),
        "IVMHardDiskConnection::HardDisk" => first.hard_disk(),
        "IVMHardDiskConnection::UndoHardDisk" => first.undo_hard_disk(),
        "IVMVirtualMachine::RemoveHardDiskConnection" => machine.remove_hard_disk_connection(&first),
    );
    assert!(lab.path("a.vhd").exists(), "the image stays");

    // While it runs, nothing of that.
    let rom = lab
        .guest("other", &support::firmware("counter"))
        .configuration_value("virtualpc/firmware")
        .unwrap();
    machine
        .set_configuration_value("virtualpc/firmware", &rom)
        .unwrap();
    lab.start(&machine);
    pairs!(VM_E_VM_RUNNING_OR_SAVED:
        "IVMHardDiskConnection::SetBusLocation" => second.clone().set_bus_location(0, 0),
        "IVMVirtualMachine::RemoveHardDiskConnection" => machine.remove_hard_disk_connection(&second),
    );
    // Another machine may be given the same image; starting it is another thing, for which it waits.
    let rival = lab.app.find_virtual_machine("other").unwrap();
    rival.add_hard_disk_connection(&b, 0, 0).unwrap();
    let error = begin(|| rival.startup()).unwrap_err();
    assert_eq!(
        error.result().name,
        "HRESULT_FROM_WIN32(ERROR_SHARING_VIOLATION)",
        "{error}"
    );
}

#[test]
fn undo_disks() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("counter"));
    let disk = dynamic(&lab, "a.vhd", 8 * MIB);
    let connection = machine.add_hard_disk_connection(&disk, 0, 0).unwrap();
    machine.set_undoable(true).unwrap();
    lab.start(&machine);
    let undo = connection.undo_hard_disk().unwrap();
    pairs!(S_OK: "IVMHardDiskConnection::UndoHardDisk" => connection.undo_hard_disk());
    machine.turn_off().unwrap().finish().unwrap();
    let undisturbed = support::alone();
    let held = vhd::Disk::open(&disk, &vhd::OpenOptions::new().read_only(true)).unwrap();
    pairs!(E_HANDLE: "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks());
    held.close().unwrap();
    let set_read_only = |read_only: bool| {
        let mut permissions = std::fs::metadata(&disk).unwrap().permissions();
        permissions.set_readonly(read_only);
        std::fs::set_permissions(&disk, permissions).unwrap();
    };
    set_read_only(true);
    pairs!(VM_E_FILE_READ_ONLY: "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks());
    set_read_only(false);
    std::fs::rename(&disk, lab.path("away.vhd")).unwrap();
    pairs!(ERROR_PATH_NOT_FOUND: "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks());
    std::fs::rename(lab.path("away.vhd"), &disk).unwrap();
    drop(undisturbed);
    assert!(undo.file().exists(), "what failed has changed nothing");

    // A parent that was written behind the undo disk's back.
    let writer = vhd::Disk::open(&disk, &vhd::OpenOptions::new()).unwrap();
    writer.write_at(0, &[1; 512]).unwrap();
    writer.close().unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(100);
    std::fs::File::options()
        .write(true)
        .open(&disk)
        .unwrap()
        .set_modified(later)
        .unwrap();
    pairs!(VM_E_PARENT_MODIFIED: "IVMVirtualMachine::Startup" => machine.startup());
    pairs!(S_OK: "IVMVirtualMachine::Startup2" => begin(|| machine.startup2(1)));
    machine.turn_off().unwrap().finish().unwrap();
    // What was mended stays mended.
    pairs!(S_OK: "IVMVirtualMachine::Startup" => begin(|| machine.startup()));
    machine.turn_off().unwrap().finish().unwrap();
    let _undisturbed = support::alone();
    pairs!(S_OK:
        "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks().and_then(|task| task.finish()),
        "IVMVirtualMachine::DiscardUndoDisks" => machine.discard_undo_disks(),
    );
    assert!(!undo.file().exists() && connection.undo_hard_disk().is_err());
}

#[test]
fn images_are_made() {
    let lab = Lab::new();
    let app = &lab.app;
    let (dynamic, fixed, child) = (
        lab.text("new/dynamic.vhd"),
        lab.text("fixed.vhd"),
        lab.text("new/child.vhd"),
    );
    pairs!(S_OK:
        "IVMVirtualPC::CreateDynamicVirtualHardDisk" => app.create_dynamic_virtual_hard_disk(Some(&dynamic), 10).and_then(|task| task.finish()),
        "IVMVirtualPC::CreateFixedVirtualHardDisk" => app.create_fixed_virtual_hard_disk(Some(&fixed), 3).and_then(|task| task.finish()),
        "IVMVirtualPC::CreateDifferencingVirtualHardDisk" => app.create_differencing_virtual_hard_disk(Some(&child), Some("dynamic.vhd")).and_then(|task| task.finish()),
    );
    pairs!(E_POINTER:
        "IVMVirtualPC::CreateDynamicVirtualHardDisk" => app.create_dynamic_virtual_hard_disk(None, 10),
        "IVMVirtualPC::CreateFixedVirtualHardDisk" => app.create_fixed_virtual_hard_disk(None, 10),
        "IVMVirtualPC::CreateDifferencingVirtualHardDisk" => app.create_differencing_virtual_hard_disk(Some(&child), None),
    );
    pairs!(ERROR_ALREADY_EXISTS:
        "IVMVirtualPC::CreateDynamicVirtualHardDisk" => app.create_dynamic_virtual_hard_disk(Some(&dynamic), 10),
        "IVMVirtualPC::CreateFixedVirtualHardDisk" => app.create_fixed_virtual_hard_disk(Some(&fixed), 10),
        "IVMVirtualPC::CreateDifferencingVirtualHardDisk" => app.create_differencing_virtual_hard_disk(Some(&child), Some(&dynamic)),
    );
    pairs!(VM_E_IMAGE_SIZE_TOO_SMALL: "IVMVirtualPC::CreateFixedVirtualHardDisk" => app.create_fixed_virtual_hard_disk(Some(&lab.text("x.vhd")), 2));
    assert_eq!(
        text(app.hard_disk(&child).unwrap().parent().unwrap().file()),
        dynamic
    );
    let machine = lab.machine("m");
    machine.add_hard_disk_connection(&child, 0, 0).unwrap();
}
