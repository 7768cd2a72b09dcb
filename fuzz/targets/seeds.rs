// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes the seed corpus: `seeds FOLDER`. The images in it are small, sound, and of each kind once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use vhd::storage::MemoryFileSystem;
use vhd::{CreateOptions, Disk, create};

const SIZE: u64 = 3 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give the folder of the corpus")?;
    let folder = Path::new(&folder);
    let files = MemoryFileSystem::new();
    let options = |id: u8| {
        CreateOptions::new()
            .unique_id([id; 16])
            .time(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .file_system(Arc::new(files.clone()))
    };
    create::dynamic("/d/empty.vhd", SIZE, &options(1))?;
    create::dynamic("/d/large.vhd", 4 << 30, &options(2))?;
    create::dynamic("/d/base.vhd", SIZE, &options(3).block_size(4096))?;
    create::differencing("/d/child.vhd", "/d/base.vhd", &options(4).block_size(4096))?;
    for (name, offsets) in [("/d/base.vhd", [0, 8192]), ("/d/child.vhd", [512, 1 << 20])] {
        let disk = Disk::open(name, &fuzz::opening(&files).grow_ahead(0))?;
        for offset in offsets {
            disk.write_at(offset, &[offset as u8 | 1; 1024])?;
        }
        disk.close()?;
    }
    let content = |name: &str| files.content(name).unwrap_or_default();
    let with_mode = |bytes: Vec<u8>| [vec![0], bytes].concat();
    let write = |target: &str, name: &str, bytes: Vec<u8>| -> std::io::Result<()> {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join(name), bytes)
    };
    for target in ["image_open", "check_repair"] {
        for name in ["empty", "large", "base", "child"] {
            write(target, name, with_mode(content(&format!("/d/{name}.vhd"))))?;
        }
        write(target, "raw", vec![0; 1025])?;
        let cut = content("/d/base.vhd");
        write(
            target,
            "no-end",
            with_mode(cut.split_at(cut.len() - 512).0.to_vec()),
        )?;
        let mut short = content("/d/base.vhd");
        short.pop();
        write(target, "511", with_mode(short))?;
        // A fixed disk of one sector, which other programs make.
        let mut fixed = cut.split_at(cut.len() - 512).1.to_vec();
        fixed[60..64].copy_from_slice(&2_u32.to_be_bytes());
        fixed[48..56].copy_from_slice(&512_u64.to_be_bytes());
        write(target, "fixed", [vec![0; 1 + 512], fixed].concat())?;
    }
    let child = content("/d/child.vhd");
    let mut chain = vec![0];
    chain.extend((child.len() as u16).to_le_bytes());
    chain.extend(child);
    chain.extend(content("/d/base.vhd"));
    write("chain_open", "chain", chain)?;
    // Sequences with each operation in them.
    for kind in 0..2_u8 {
        let mut steps = vec![kind];
        for what in [0, 5, 11, 1, 7, 8, 9, 11, 2, 12, 15, 3, 14, 4, 13, 6] {
            steps.extend([what, what, 3, 1, 0, 20, what]);
        }
        write("disk_operations", &format!("each-{kind}"), steps)?;
    }
    let mut ide = Vec::new();
    for (command, count) in [
        (0xec, 1),
        (0x20, 2),
        (0x30, 1),
        (0xc8, 4),
        (0xca, 4),
        (0xe7, 0),
        (0xc4, 3),
    ] {
        ide.extend([3, 0, 0, count, 1, 0, 0, 0xe0, command]);
        ide.extend([5, 1, 0, 2, 0, 7, 0, 7]);
    }
    write("ide_channel", "disk", ide)?;
    let mut dvd = Vec::new();
    for packet in [0x00, 0x03, 0x12, 0x25, 0x28, 0x43, 0x46, 0x4a, 0x5a] {
        dvd.extend([4, 0, packet, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 8]);
        dvd.extend([5, 1, 0, 8, 0]);
    }
    write("ide_channel", "dvd", dvd)?;
    let mut floppy = vec![7, 6];
    for command in [
        &[0x07_u8, 0][..],
        &[0x08],
        &[0x0f, 0, 5],
        &[0x46, 0, 0, 0, 1, 2, 18, 27, 255],
        &[0x4a, 0],
    ] {
        floppy.push(2);
        floppy.extend(command);
        floppy.extend([4, 255, 255, 255, 63, 5, 6, 0, 8]);
    }
    write("floppy", "read", floppy)?;
    // Each kind of request, rung once.
    let mut virtio = vec![1];
    for kind in 0..6_u8 {
        virtio.extend([1, kind, 8, 0, 2, 3]);
    }
    write("virtio_block", "each", virtio)?;
    write(
        "fw_cfg",
        "walk",
        vec![
            4, 0x19, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 2, 0, 16, 10, 0, 32, 0, 16, 0, 0, 0, 0, 1, 0, 0,
        ],
    )?;
    Ok(())
}
