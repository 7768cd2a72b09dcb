// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hosts that cannot do what is asked: a full volume, and one that cannot be written. Both are made of memory, in a name space of the
//! test's own; where the host allows no such thing the test says so and is left out.

use crate::lab::{Lab, pattern};

/// Runs a shell script where `small` is a volume of 6 MiB, and `$VPC` the program.
fn in_small_volume(lab: &Lab, script: &str) -> Option<(i32, String)> {
    std::fs::create_dir_all(lab.path("small")).unwrap();
    let allowed = lab.run_words(
        "unshare",
        &["-rm", "sh", "-c", "mount -t tmpfs -o size=6M none small"],
    );
    if allowed.code != 0 {
        eprintln!(
            "no volume of one's own here ({}): left out",
            allowed.stderr.trim()
        );
        return None;
    }
    let whole = format!(
        "set -e; VPC='{}'; mount -t tmpfs -o size=6M none small; {script}",
        env!("CARGO_BIN_EXE_vpc")
    );
    let done = lab.run_words("unshare", &["-rm", "sh", "-c", &whole]);
    Some((
        done.code,
        String::from_utf8_lossy(&done.stdout).into_owned() + &done.stderr,
    ))
}

#[test]
fn a_full_volume_loses_nothing_that_was_done_before() {
    let lab = Lab::new();
    std::fs::write(lab.path("first"), pattern(1 << 20, 1)).unwrap();
    std::fs::write(lab.path("more"), pattern(12 << 20, 2)).unwrap();
    let Some((code, text)) = in_small_volume(
        &lab,
        "$VPC disk create small/d.vhd --type dynamic --size 64M --block-size 512K
         $VPC disk write small/d.vhd --offset 0 < first
         if $VPC disk write small/d.vhd --offset 16M < more; then echo it fits; exit 9; fi
         # As after a power cut: the copy of the footer serves, and the end footer comes back with the next write.
         $VPC disk read small/d.vhd --offset 0 --length 1M | cmp - first
         if $VPC disk convert small/d.vhd small/x.vhd --to fixed; then exit 8; fi
         ls -A small
         mount -o remount,size=64M small
         $VPC disk write small/d.vhd --offset 16M < more
         $VPC disk check small/d.vhd
         $VPC disk read small/d.vhd --offset 0 --length 1M | cmp - first
         $VPC disk read small/d.vhd --offset 16M --length 12M | cmp - more",
    ) else {
        return;
    };
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("full") && text.contains("Free space"), "{text}");
    assert!(text.contains("no damage"), "{text}");
    assert!(text.starts_with("d.vhd\n") && !text.contains(".new"), "{text}");
    assert!(text.contains("so `small/x.vhd` cannot grow"), "{text}");
}

#[test]
fn a_volume_that_cannot_be_written_is_read() {
    let lab = Lab::new();
    std::fs::write(lab.path("first"), pattern(1 << 20, 1)).unwrap();
    let Some((code, text)) = in_small_volume(
        &lab,
        "$VPC disk create small/d.vhd --type dynamic --size 64M --block-size 512K
         $VPC disk write small/d.vhd --offset 0 < first
         mount -o remount,ro small
         $VPC disk read small/d.vhd --offset 0 --length 1M | cmp - first
         $VPC disk check small/d.vhd
         $VPC disk info small/d.vhd > /dev/null
         for words in 'write small/d.vhd --offset 0' 'compact small/d.vhd' 'resize small/d.vhd 70M' 'check small/d.vhd --repair'; do
           if $VPC disk $words < first; then echo \"$words works\"; exit 9; fi
         done",
    ) else {
        return;
    };
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("refuses access").count(), 4, "{text}");
}
