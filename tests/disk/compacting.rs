// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Space that file systems do not use is given back, and nothing else.

use crate::lab::{Lab, pattern};
use crate::volume::{KINDS, Kind, run};
use std::io::Write;
use std::process::{Command, Stdio};

const MIB: usize = 1 << 20;
/// In front of the first partition, and behind the last one.
const GAP: usize = MIB;

/// Where the partition begins, in bytes, in the styles of tables that there are.
const STYLES: [(&str, usize); 3] = [
    ("dos", GAP),
    // As Windows XP places it: on no page.
    ("dos", 63 * 512),
    ("gpt", GAP),
];

fn type_of(kind: &Kind, style: &str) -> &'static str {
    match (style, &kind.name[..3]) {
        ("gpt", "ext") => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        ("gpt", _) => "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        (_, "ext") => "83",
        (_, "fat") => "0c",
        _ => "7",
    }
}

/// Makes `disk.raw`: a table, old data, the file `part` at `start`, and old data again.
fn assemble(lab: &Lab, style: &str, start: usize, kind: &str) -> Vec<u8> {
    let part = std::fs::read(lab.path("part")).unwrap();
    let mut disk = pattern(start + part.len() + 2 * GAP, 55);
    // What sfdisk takes for tables must not be there.
    disk[..64 * 512.min(start)].fill(0);
    let sectors = part.len() / 512;
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    let script = format!(
        "label: {style}\nstart={}, size={sectors}, type={kind}\n",
        start / 512
    );
    let mut sfdisk = Command::new("sfdisk")
        .args(["-q", "--wipe", "never", "--no-reread", "--no-tell-kernel"])
        .arg(lab.path("disk.raw"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    disk = std::fs::read(lab.path("disk.raw")).unwrap();
    disk[start..start + part.len()].copy_from_slice(&part);
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    disk
}

/// What is outside of the partition is as it was, and the partition is in order.
fn check(lab: &Lab, image: &str, disk: &[u8], start: usize, kind: &Kind, files: &[crate::volume::File]) {
    let after = lab.ok(&format!("read {image}"));
    let end = start + (kind.mib << 20);
    assert!(after.len() == disk.len());
    assert!(
        after[..start] == disk[..start] && after[end..] == disk[end..],
        "{image}"
    );
    std::fs::write(lab.path("part"), &after[start..end]).unwrap();
    kind.check(lab, files);
}

fn file_size(lab: &Lab, name: &str) -> usize {
    std::fs::metadata(lab.path(name)).unwrap().len() as usize
}

/// Bytes that a file takes on the host.
fn allocated(lab: &Lab, name: &str) -> usize {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(lab.path(name)).unwrap().blocks() as usize * 512
}

#[test]
fn unused_space_of_file_systems_is_given_back() {
    if !Lab::installed("sfdisk") {
        return;
    }
    for (index, kind) in KINDS.iter().enumerate().filter(|(_, kind)| kind.is_possible()) {
        let lab = Lab::new();
        let (style, start) = STYLES[index % STYLES.len()];
        let files = kind.make(&lab);
        let disk = assemble(&lab, style, start, type_of(kind, style));
        lab.ok("convert disk.raw dynamic.vhd --to dynamic --block-size 64K");
        lab.ok("convert disk.raw fixed.vhd --to fixed");
        let before = file_size(&lab, "dynamic.vhd");

        // A child that has written to all of the partition, with the same content.
        lab.ok("convert disk.raw chain/base.vhd --to dynamic");
        lab.ok("create chain/child.vhd --type differencing --parent chain/base.vhd --block-size 64K");
        lab.write("chain/child.vhd", start as u64, &disk[start..start + 8 * 65_536]);

        let said = String::from_utf8(lab.ok("compact dynamic.vhd --dry-run")).unwrap();
        assert!(
            said.contains("partition 1: ") && said.contains("would be given back"),
            "{said}"
        );
        assert_eq!(file_size(&lab, "dynamic.vhd"), before, "{}", kind.name);
        lab.ok("compact dynamic.vhd --zeros-only");
        assert!(lab.ok("read dynamic.vhd") == disk, "{}", kind.name);

        for image in ["chain/child.vhd", "dynamic.vhd", "fixed.vhd", "disk.raw"] {
            let said = String::from_utf8(lab.ok(&format!("compact {image}"))).unwrap();
            assert!(
                said.contains("partition 1: ") && !said.contains("left alone"),
                "{said}"
            );
            check(&lab, image, &disk, start, kind, &files);
        }
        // The files, the structures, both gaps, and what shares a block with them.
        let most =
            files.iter().map(|(_, content)| content.len()).sum::<usize>() + 3 * GAP + (kind.mib << 20) / 4;
        let after = file_size(&lab, "dynamic.vhd");
        assert!(
            after < most.min(before),
            "{}: {before} before, {after} after",
            kind.name
        );
        if allocated(&lab, "disk.raw") < disk.len() {
            assert!(allocated(&lab, "disk.raw") < most, "{}", kind.name);
        }
        // There is nothing more to give back.
        lab.ok("compact dynamic.vhd");
        assert_eq!(file_size(&lab, "dynamic.vhd"), after);
    }
}

#[test]
fn a_file_system_may_have_the_whole_disk() {
    for kind in KINDS.iter().filter(|kind| kind.mib <= 16 && kind.is_possible()) {
        let lab = Lab::new();
        let files = kind.make(&lab);
        lab.ok("convert part disk.vhd --to dynamic --block-size 4K");
        let before = file_size(&lab, "disk.vhd");
        let said = String::from_utf8(lab.ok("compact disk.vhd")).unwrap();
        assert!(said.contains("the disk: "), "{said}");
        assert!(file_size(&lab, "disk.vhd") < before, "{}", kind.name);
        std::fs::remove_file(lab.path("part")).unwrap();
        lab.ok("convert disk.vhd part --to raw");
        kind.check(&lab, &files);
    }
}

/// Changes the partition so that it must not be touched; says what is said then.
type Spoil = (&'static str, fn(&mut [u8]), &'static str);

const SPOILED: [Spoil; 16] = [
    ("ext4", |part| part[1024 + 96] |= 4, "superblock"),
    ("ext2", |part| part[1024 + 96] |= 4, "not closed cleanly"),
    ("ext2", |part| part[1024 + 58] = 0, "not closed cleanly"),
    ("ext2", |part| part[1024 + 97] |= 1, "features"),
    ("ext2", |part| part[1024 + 12] ^= 1, "count of free blocks"),
    ("ext2", |part| part[..6].copy_from_slice(b"LUKS\xba\xbe"), "LUKS"),
    ("ext2", |part| part[512..520].copy_from_slice(b"LABELONE"), "LVM"),
    (
        "ext2",
        |part| part[3..11].copy_from_slice(b"-FVE-FS-"),
        "BitLocker",
    ),
    ("fat16", |part| part[37] |= 1, "not closed cleanly"),
    ("fat16", |part| part[4 * 512 + 1] ^= 0x40, "allocation table"),
    ("fat32", |part| part[14] ^= 1, "differs from its copy"),
    ("ntfs", |part| part[0x30] ^= 1, "boot sector"),
    ("ntfs", dirty_ntfs, "not closed cleanly"),
    ("ntfs", |part| part[0x1e00..0x1e10].copy_from_slice(VSS), ""),
    ("ntfs", restore_points, "restore points"),
    ("ntfs", open_log, "not closed cleanly"),
];

const VSS: &[u8] = b"\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52";

fn restore_points(part: &mut [u8]) {
    part[0x1e00..0x1e10].copy_from_slice(VSS);
    part[0x1e00 + 49] = 0x40;
}

/// Where record 0 of the master file table is.
fn master_file_table(part: &[u8]) -> usize {
    let cluster = u16::from_le_bytes([part[11], part[12]]) as usize * usize::from(part[13]);
    u64::from_le_bytes(part[48..56].try_into().unwrap()) as usize * cluster
}

/// Sets the flag in the volume's information: the attribute with type 70h in record 3.
fn dirty_ntfs(part: &mut [u8]) {
    let record = master_file_table(part) + 3 * 1024;
    let mut at = record + usize::from(part[record + 20]);
    while part[at] != 0x70 {
        at += u32::from_le_bytes(part[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    let value = at + usize::from(part[at + 20]);
    part[value + 10] |= 1;
}

/// A log that was in use: in the first page, what is not all ones is no restart page.
fn open_log(part: &mut [u8]) {
    let record = master_file_table(part) + 2 * 1024;
    let mut at = record + usize::from(part[record + 20]);
    while part[at] != 0x80 {
        at += u32::from_le_bytes(part[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    let list = at + usize::from(part[at + 32]);
    let (length, distance) = (usize::from(part[list] & 15), usize::from(part[list] >> 4));
    let mut cluster = [0; 8];
    cluster[..distance].copy_from_slice(&part[list + 1 + length..list + 1 + length + distance]);
    let cluster = u64::from_le_bytes(cluster) as usize;
    let offset = cluster * u16::from_le_bytes([part[11], part[12]]) as usize * usize::from(part[13]);
    part[offset..offset + 4].copy_from_slice(b"RCRD");
}

#[test]
fn what_cannot_be_believed_is_left_alone_and_named() {
    for (name, spoil, words) in SPOILED {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        if !kind.is_possible() {
            continue;
        }
        let lab = Lab::new();
        kind.make(&lab);
        let mut part = std::fs::read(lab.path("part")).unwrap();
        spoil(&mut part);
        std::fs::write(lab.path("part"), &part).unwrap();
        let said = String::from_utf8(lab.ok("compact part")).unwrap();
        if words.is_empty() {
            assert!(!said.contains("left alone"), "{name}: {said}");
            continue;
        }
        assert!(
            said.contains("left alone") && said.contains(words),
            "{name}, {words}: {said}"
        );
        assert!(std::fs::read(lab.path("part")).unwrap() == part, "{name}");
    }
}

#[test]
fn a_hibernated_system_is_left_alone() {
    for name in ["ntfs", "fat32"] {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        if !kind.is_possible() {
            continue;
        }
        for (mark, is_left) in [
            ("hibr", true),
            ("HIBR", true),
            ("wake", false),
            ("\0\0\0\0", false),
        ] {
            let lab = Lab::new();
            kind.make(&lab);
            let mut content = vec![0; 100_000];
            content[..4].copy_from_slice(mark.as_bytes());
            std::fs::write(lab.path("hiberfil.sys"), content).unwrap();
            match name {
                "ntfs" => run(&lab, &["ntfscp", "-f", "part", "hiberfil.sys", "hiberfil.sys"]),
                _ => run(&lab, &["mcopy", "-i", "part", "hiberfil.sys", "::/HIBERFIL.SYS"]),
            };
            let said = String::from_utf8(lab.ok("compact part")).unwrap();
            assert_eq!(said.contains("hibernated"), is_left, "{name}, {mark}: {said}");
        }
    }
}

#[test]
fn other_partitions_and_damaged_tables_are_left_alone() {
    let kind = KINDS[0];
    if !Lab::installed("sfdisk") || !kind.is_possible() {
        return;
    }
    let lab = Lab::new();
    kind.make(&lab);
    for (style, of, words) in [
        ("dos", "8e", "LVM"),
        ("dos", "fd", "RAID"),
        ("dos", "e8", "LUKS"),
        ("dos", "da", "not known"),
        ("gpt", "CA7D7CCB-63ED-4C53-861C-1742536059CC", "LUKS"),
        ("gpt", "E6D6D379-F507-44C2-A23C-238F2A3DF928", "LVM"),
    ] {
        let disk = assemble(&lab, style, GAP, of);
        let said = String::from_utf8(lab.ok("compact disk.raw")).unwrap();
        assert!(
            said.contains("left alone") && said.contains(words),
            "{of}: {said}"
        );
        assert!(std::fs::read(lab.path("disk.raw")).unwrap() == disk);
    }
    // A sum of the table that is wrong, and one partition in another.
    let mut disk = assemble(&lab, "gpt", GAP, "0FC63DAF-8483-4772-8E79-3D69D8477DE4");
    disk[1024 + 40] ^= 1;
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    let said = String::from_utf8(lab.ok("compact disk.raw")).unwrap();
    assert!(said.contains("damaged GUID partition table"), "{said}");
    let mut disk = assemble(&lab, "dos", GAP, "83");
    disk.copy_within(446..462, 462);
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    let said = String::from_utf8(lab.ok("compact disk.raw")).unwrap();
    assert!(said.contains("overlap"), "{said}");
    assert!(std::fs::read(lab.path("disk.raw")).unwrap() == disk);
}

/// A child may use what its parent does not.
#[test]
fn parents_keep_their_content() {
    let kind = KINDS[0];
    if !kind.is_possible() {
        return;
    }
    let lab = Lab::new();
    kind.make(&lab);
    lab.ok("convert part base.vhd --to dynamic --block-size 64K");
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    let before = lab.ok("read child.vhd");
    let said = String::from_utf8(lab.ok("compact base.vhd")).unwrap();
    assert!(
        said.contains("left alone") && said.contains("child.vhd"),
        "{said}"
    );
    assert!(lab.ok("read child.vhd") == before);
    std::fs::create_dir(lab.path("elsewhere")).unwrap();
    std::fs::rename(lab.path("child.vhd"), lab.path("elsewhere/child.vhd")).unwrap();
    let said = String::from_utf8(lab.ok("compact base.vhd --search elsewhere")).unwrap();
    assert!(said.contains("elsewhere/child.vhd"), "{said}");
}

#[test]
fn logical_drives_are_found() {
    let kind = KINDS[0];
    if !Lab::installed("sfdisk") || !kind.is_possible() {
        return;
    }
    let lab = Lab::new();
    let files = kind.make(&lab);
    let part = std::fs::read(lab.path("part")).unwrap();
    let mut disk = vec![0; 40 * MIB];
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    let script = "label: dos\nstart=2048, size=2048, type=83\nstart=4096, type=5\nstart=6144, size=24576, type=83\nstart=40960, size=24576, type=83\n";
    std::fs::write(lab.path("script"), script).unwrap();
    run(
        &lab,
        &[
            "sh",
            "-c",
            "sfdisk -q --no-reread --no-tell-kernel disk.raw < script",
        ],
    );
    disk = std::fs::read(lab.path("disk.raw")).unwrap();
    for start in [6144 * 512, 40960 * 512] {
        disk[start..start + part.len()].copy_from_slice(&part);
    }
    std::fs::write(lab.path("disk.raw"), &disk).unwrap();
    lab.ok("convert disk.raw disk.vhd --to dynamic");
    let said = String::from_utf8(lab.ok("compact disk.vhd")).unwrap();
    for words in [
        "partition 1: 1 MiB, left alone",
        "partition 5: ext",
        "partition 6: ext",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let after = lab.ok("read disk.vhd");
    for start in [6144 * 512, 40960 * 512] {
        std::fs::write(lab.path("part"), &after[start..start + part.len()]).unwrap();
        kind.check(&lab, &files);
    }
}
