// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images that other programs wrote are read, and what is written here other programs read.
//!
//! Needs `qemu-img` (Debian: `qemu-utils`), and Python 3 with `pyvhdi` (PyPI: `libvhdi-python`).
// They are Linux's.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use vhd::testing::Dice;
use vhd::{CreateOptions, Disk, Format, OpenOptions, Watch, create, resize};

const SECTOR: u64 = 512;

/// Runs a program and returns what it printed. A missing one fails the test with the name of its package.
fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("this test needs `{program}`: install the package {package}")
        }
        other => other.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn qemu_img(arguments: &[&str]) -> String {
    run("qemu-img", "qemu-utils", arguments)
}

/// Reads all of a disk with libvhdi, following the chain by the names in the headers.
fn libvhdi(image: &Path, to: &Path) {
    const SCRIPT: &str = r#"
import os, sys
try:
    import pyvhdi
except ImportError:
    sys.exit("this test needs the Python module pyvhdi: install the package libvhdi-python from PyPI")

kept = []

def opened(path):
    file = pyvhdi.file()
    kept.append(file)
    file.open(path)
    try:
        name = file.get_parent_filename()
    except OSError:
        name = None
    if name:
        file.set_parent(opened(os.path.join(os.path.dirname(path), os.path.basename(name))))
    return file

file = opened(sys.argv[1])
size = file.get_media_size()
with open(sys.argv[2], "wb") as out:
    while out.tell() < size:
        out.write(file.read_buffer_at_offset(min(1 << 20, size - out.tell()), out.tell()))
"#;
    let (image, to) = (image.to_str().unwrap(), to.to_str().unwrap());
    run("python3", "python3", &["-c", SCRIPT, image, to]);
}

/// Reads all of a chain of dynamic and differencing images, the leaf first, by nothing but the specification.
fn by_the_book(layers: &[PathBuf], to: &Path) {
    const SCRIPT: &str = r#"
import struct, sys

layers = []
for path in sys.argv[2:]:
    data = open(path, "rb").read()
    footer = data[-512:]
    header = struct.unpack(">Q", footer[16:24])[0]
    table, _, entries, block = struct.unpack(">QIII", data[header + 16:header + 36])
    layers.append((data, struct.unpack(f">{entries}I", data[table:table + 4 * entries]), block // 512))
    size = struct.unpack(">Q", footer[48:56])[0]

def sector(number):
    for data, table, per_block in layers:
        first, inside = table[number // per_block], number % per_block
        if first != 0xffffffff and data[first * 512 + inside // 8] >> (7 - inside % 8) & 1:
            at = first * 512 + (per_block // 8 + 511) // 512 * 512 + inside * 512
            return data[at:at + 512]
    return bytes(512)

open(sys.argv[1], "wb").write(b"".join(map(sector, range(size // 512))))
"#;
    let paths = [to.to_path_buf()].into_iter().chain(layers.iter().cloned());
    let paths: Vec<_> = paths.map(|path| path.to_str().unwrap().to_owned()).collect();
    let arguments: Vec<_> = ["-c", SCRIPT]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    run("python3", "python3", &arguments);
}

/// Says where two contents differ, not what they are.
fn compare(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let sectors = found
        .chunks(SECTOR as usize)
        .zip(expected.chunks(SECTOR as usize));
    let differing: Vec<_> = (0..)
        .zip(sectors)
        .filter(|(_, (one, other))| one != other)
        .map(|(at, _)| at)
        .collect();
    let (first, last): (Option<&u64>, _) = (differing.first(), differing.last());
    assert!(
        first.is_none(),
        "{what}: {} sectors differ, from {first:?} to {last:?}",
        differing.len()
    );
}

/// Random content in runs of sectors, over parts of the disk.
///
/// A run starts anywhere and ends with a byte of the bitmap: libvhdi (20210425 and 20260901) takes the sectors
/// behind a run, up to the end of that byte, for zeros of the child, where the parent's content has to show.
fn scribble(disk: &Disk, expected: &mut [u8], dice: &mut Dice) {
    let sectors = disk.len() / SECTOR;
    for _ in 0..60 {
        let start = dice.roll(sectors);
        let len = (start + 1 + dice.roll(200)).next_multiple_of(8).min(sectors) - start;
        let bytes: Vec<u8> = (0..len * SECTOR).map(|_| dice.roll(256) as u8).collect();
        disk.write_at(start * SECTOR, &bytes).unwrap();
        expected[(start * SECTOR) as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    let start = (dice.roll(sectors / 16) * 8 + 4) * SECTOR;
    disk.write_zeroes(start, 100 * SECTOR).unwrap();
    expected[start as usize..][..100 * SECTOR as usize].fill(0);
}

fn content(disk: &Disk) -> Vec<u8> {
    let mut content = vec![0xee; disk.len() as usize];
    disk.read_at(0, &mut content).unwrap();
    content
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn qemu_reads_what_is_written_here() {
    // Sizes that are no whole number of blocks or cylinders: readers that trust the geometry would see less.
    for size in [3 << 20, (5 << 20) + SECTOR, (40 << 20) + 7 * SECTOR] {
        for format in [Format::Fixed, Format::Dynamic] {
            let place = Place::new();
            let path = place.at("disk.vhd");
            match format {
                Format::Fixed => create::fixed(&path, size, &CreateOptions::new()).unwrap(),
                _ => create::dynamic(&path, size, &CreateOptions::new()).unwrap(),
            }
            let mut expected = vec![0; size as usize];
            let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
            scribble(&disk, &mut expected, &mut Dice::new(size));
            // As it is in the middle of use, with space grown ahead, and as it is when closed.
            disk.flush().unwrap();
            fs::copy(&path, place.at("copy.vhd")).unwrap();
            let (copy, raw) = (place.text("copy.vhd"), place.text("copy.img"));
            let info = qemu_img(&["info", "--output=json", "-f", "vpc", &copy]);
            assert!(
                info.contains(&format!("\"virtual-size\": {size}")),
                "{format}: {info}"
            );
            qemu_img(&["convert", "-f", "vpc", "-O", "raw", &copy, &raw]);
            compare(
                &fs::read(raw).unwrap(),
                &expected,
                &format!("{format}, open, {size}"),
            );
            scribble(&disk, &mut expected, &mut Dice::new(size + 1));
            disk.close().unwrap();
            let (image, raw) = (place.text("disk.vhd"), place.text("disk.img"));
            qemu_img(&["convert", "-f", "vpc", "-O", "raw", &image, &raw]);
            assert!(
                fs::read(place.at("disk.img")).unwrap() == expected,
                "{format}, closed, {size}"
            );
            // (libvhdi takes the size at creation for the disk's.)
            let size = size + (40 << 20) + 3 * SECTOR;
            expected.resize(size as usize, 0);
            resize::resize(&path, size, &OpenOptions::new(), &Watch::default()).unwrap();
            qemu_img(&["convert", "-f", "vpc", "-O", "raw", &image, &raw]);
            if format == Format::Dynamic {
                let grown = place.at("grown.img");
                by_the_book(std::slice::from_ref(&path), &grown);
                compare(&fs::read(&grown).unwrap(), &expected, "grown, by the book");
            }
            assert!(
                fs::read(place.at("disk.img")).unwrap() == expected,
                "{format}, grown, {size}"
            );
        }
    }
}

#[test]
fn what_qemu_wrote_is_read_and_written_here() {
    for (subformat, format) in [("fixed", Format::Fixed), ("dynamic", Format::Dynamic)] {
        let place = Place::new();
        let size = 20 << 20;
        let mut dice = Dice::new(1);
        let mut expected = vec![0; size];
        for _ in 0..20 {
            let start = dice.roll(size as u64 - 100_000) as usize;
            expected[start..start + 50_000].fill_with(|| dice.roll(256) as u8);
        }
        fs::write(place.at("disk.img"), &expected).unwrap();
        let (raw, image) = (place.text("disk.img"), place.text("disk.vhd"));
        let options = format!("subformat={subformat},force_size=on");
        qemu_img(&["convert", "-f", "raw", "-O", "vpc", "-o", &options, &raw, &image]);
        let disk = Disk::open(&image, &OpenOptions::new()).unwrap();
        assert_eq!((disk.format(), disk.len()), (format, size as u64));
        assert!(content(&disk) == expected, "{subformat}");
        scribble(&disk, &mut expected, &mut dice);
        disk.discard(4 << 20, 4 << 20).unwrap();
        disk.read_at(4 << 20, &mut expected[4 << 20..8 << 20]).unwrap();
        disk.close().unwrap();
        qemu_img(&["convert", "-f", "vpc", "-O", "raw", &image, &raw]);
        assert!(
            fs::read(&raw).unwrap() == expected,
            "{subformat}, after writing here"
        );
        // And a child over it.
        create::differencing(place.at("child.vhd"), &image, &CreateOptions::new()).unwrap();
        let disk = Disk::open(place.at("child.vhd"), &OpenOptions::new()).unwrap();
        scribble(&disk, &mut expected, &mut dice);
        disk.close().unwrap();
        libvhdi(&place.at("child.vhd"), &place.at("child.img"));
        assert!(
            fs::read(place.at("child.img")).unwrap() == expected,
            "{subformat}, child"
        );
    }
}

/// Makes a chain, and after each layer hands its images over, the leaf first, with what the disk holds.
fn grow_chain(place: &Place, block_sizes: &[u32], mut each: impl FnMut(&[PathBuf], &[u8])) {
    let size = (6 << 20) + 3 * SECTOR;
    let mut dice = Dice::new(3);
    let mut expected = vec![0; size as usize];
    let mut layers: Vec<PathBuf> = Vec::new();
    for (depth, &block_size) in block_sizes.iter().enumerate() {
        let path = place.at(&format!("{depth}.vhd"));
        let options = CreateOptions::new().block_size(block_size);
        match layers.first() {
            None => create::dynamic(&path, size, &options).unwrap(),
            Some(parent) => create::differencing(&path, parent, &options).unwrap(),
        }
        let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
        scribble(&disk, &mut expected, &mut dice);
        disk.close().unwrap();
        layers.insert(0, path);
        each(&layers, &expected);
    }
}

#[test]
fn libvhdi_reads_chains_that_are_written_here() {
    let place = Place::new();
    let out = place.at("out.img");
    // Of 2 MiB: with 512 KiB libvhdi shows zeros for parts of a parent; the next test shows who is right.
    grow_chain(&place, &[2 << 20; 6], |layers, expected| {
        libvhdi(&layers[0], &out);
        compare(
            &fs::read(&out).unwrap(),
            expected,
            &format!("chain of {}", layers.len()),
        );
    });
}

#[test]
fn chains_are_what_the_specification_says() {
    let place = Place::new();
    let out = place.at("out.img");
    let block_sizes = [
        512 << 10,
        2 << 20,
        512 << 10,
        64 << 10,
        4 << 20,
        16 << 20,
        4 << 10,
    ];
    grow_chain(&place, &block_sizes, |layers, expected| {
        by_the_book(layers, &out);
        compare(
            &fs::read(&out).unwrap(),
            expected,
            &format!("chain of {}", layers.len()),
        );
    });
}

#[test]
fn vhdiinfo_finds_nothing_wrong() {
    let place = Place::new();
    create::dynamic(place.at("base.vhd"), 10 << 20, &CreateOptions::new()).unwrap();
    create::differencing(place.at("child.vhd"), place.at("base.vhd"), &CreateOptions::new()).unwrap();
    let info = run("vhdiinfo", "libvhdi-utils", &[&place.text("child.vhd")]);
    for line in [
        "Disk type : Differential",
        "Media size : 10 MiB",
        "Parent filename : base.vhd",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&info).contains(line), "{line}: {info}");
    }
}

#[test]
fn locks_hold_between_programs() {
    let place = Place::new();
    create::dynamic(place.at("base.vhd"), 10 << 20, &CreateOptions::new()).unwrap();
    create::differencing(place.at("child.vhd"), place.at("base.vhd"), &CreateOptions::new()).unwrap();
    let can_lock = |how: &str, name: &str| {
        let arguments = ["--nonblock", how, &place.text(name), "true"].map(str::to_owned);
        let status = Command::new("flock").args(arguments).status();
        status
            .expect("this test needs `flock`: install the package util-linux")
            .success()
    };
    let disk = Disk::open(place.at("child.vhd"), &OpenOptions::new()).unwrap();
    let found =
        ["child.vhd", "base.vhd"].map(|name| (can_lock("--shared", name), can_lock("--exclusive", name)));
    assert_eq!(found, [(false, false), (true, false)]);
    disk.close().unwrap();
    assert!(can_lock("--exclusive", "child.vhd") && can_lock("--exclusive", "base.vhd"));
}
