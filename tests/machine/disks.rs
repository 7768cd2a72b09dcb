// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SeaBIOS boots disks and discs of every kind of image, and the guest reads what is in them.

use super::support::{Log, alone, checksum, guest};
use super::{run_alone, seabios};
use std::path::Path;
use virtualpc::hypervisor::Irqchip;
use virtualpc::machine::control::End;
use virtualpc::machine::{BootLetter, IdeDrive};
use virtualpc::storage::{Image, Purpose};

/// Sectors that the guest reads of the disk: fewer than it could, since firmware takes its time.
const SECTORS: u32 = 2048;

/// A disk's content: the guest, which finds the number of sectors to read at 1F0h, and noise.
fn content() -> Vec<u8> {
    let mut bytes = std::fs::read(guest("disksum.img")).unwrap();
    bytes[0x1f0..0x1f4].copy_from_slice(&SECTORS.to_le_bytes());
    bytes
}

/// Where a disk is connected.
#[derive(Clone, Copy)]
enum Place {
    Ide(usize),
    Virtio,
}

fn sums(path: &Path, place: Place, irqchip: Irqchip) {
    let bytes = content();
    let sum = checksum(&bytes[..SECTORS as usize * 512]);
    let log = Log::default();
    let mut spec = seabios(irqchip, &log);
    spec.boot_order = vec![BootLetter::HardDisk];
    let image = Image::open(path, Purpose::HardDisk).unwrap();
    match place {
        Place::Ide(place) => spec.ide[place] = Some(IdeDrive::Disk(image)),
        Place::Virtio => spec.virtio.push(image),
    }
    let end = run_alone(spec);
    assert!(matches!(end, End::PoweredOff), "{end:?}\n{}", log.text());
    let words = format!("disksum {sum:08X} ok\r\n");
    assert!(log.text().ends_with(&words), "{words}{}", log.text());
    // The machine has let go of the image, and has not changed it.
    let _undisturbed = alone();
    let disk = vhd::Disk::open(path, &vhd::OpenOptions::new()).unwrap();
    let mut now = vec![0; bytes.len()];
    disk.read_at(0, &mut now).unwrap();
    assert!(now == bytes);
}

fn fill(path: &Path, from: usize, bytes: &[u8]) {
    let disk = vhd::Disk::open(path, &vhd::OpenOptions::new()).unwrap();
    disk.write_at(from as u64, bytes).unwrap();
    disk.close().unwrap();
}

#[test]
fn a_raw_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, content()).unwrap();
    sums(&path, Place::Ide(0), Irqchip::Kernel);
}

#[test]
#[cfg_attr(windows, ignore = "virtio disks are Linux'")]
fn a_virtio_disk() {
    let folder = tempfile::tempdir().unwrap();
    for irqchip in [Irqchip::Kernel, Irqchip::Split] {
        let path = folder.path().join("disk.img");
        std::fs::write(&path, content()).unwrap();
        sums(&path, Place::Virtio, irqchip);
    }
}

#[test]
fn a_fixed_vhd_on_the_secondary_slave() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vhd");
    let bytes = content();
    let undisturbed = alone();
    vhd::create::fixed(&path, bytes.len() as u64, &vhd::CreateOptions::new()).unwrap();
    fill(&path, 0, &bytes);
    drop(undisturbed);
    sums(&path, Place::Ide(3), Irqchip::Split);
}

#[test]
fn a_dynamic_vhd() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vhd");
    let bytes = content();
    let undisturbed = alone();
    vhd::create::dynamic(&path, 64 << 20, &vhd::CreateOptions::new()).unwrap();
    fill(&path, 0, &bytes);
    drop(undisturbed);
    sums(&path, Place::Ide(0), Irqchip::Split);
}

#[test]
fn a_differencing_vhd() {
    let folder = tempfile::tempdir().unwrap();
    let (base, child) = (folder.path().join("base.vhd"), folder.path().join("child.vhd"));
    let bytes = content();
    let undisturbed = alone();
    vhd::create::dynamic(&base, 64 << 20, &vhd::CreateOptions::new()).unwrap();
    let middle = SECTORS as usize / 2 * 512 + 3 * 512;
    fill(&base, 0, &bytes[..middle]);
    vhd::create::differencing(&child, &base, &vhd::CreateOptions::new()).unwrap();
    fill(&child, middle, &bytes[middle..]);
    drop(undisturbed);
    let before = std::fs::read(&base).unwrap();
    sums(&child, Place::Ide(0), Irqchip::Kernel);
    assert!(std::fs::read(&base).unwrap() == before, "the parent was changed");
}

#[test]
fn a_dvd() {
    for irqchip in super::BOTH {
        let log = Log::default();
        let iso = guest("dvdsum.iso");
        let sum = checksum(&std::fs::read(&iso).unwrap());
        let mut spec = seabios(irqchip, &log);
        spec.boot_order = vec![BootLetter::HardDisk, BootLetter::Dvd];
        spec.ide[2] = Some(IdeDrive::Dvd(Some(Image::open(&iso, Purpose::Dvd).unwrap())));
        let end = run_alone(spec);
        assert!(matches!(end, End::PoweredOff), "{end:?}\n{}", log.text());
        assert!(
            log.text().ends_with(&format!("dvdsum {sum:08X} ok\r\n")),
            "{}",
            log.text()
        );
    }
}
