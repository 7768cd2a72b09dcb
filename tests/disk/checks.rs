// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Damage is found, named and repaired.

use crate::lab::{Lab, pattern};

/// An image with eight used blocks of 4 KiB, and the file offset of its table.
fn image(lab: &Lab) -> (Vec<u8>, usize) {
    lab.ok("create disk.vhd --type dynamic --size 3M --block-size 4K");
    lab.write("disk.vhd", 0, &pattern(32_768, 1));
    let bytes = std::fs::read(lab.path("disk.vhd")).unwrap();
    let field = bytes[512 + 16..][..8].try_into().unwrap();
    (bytes, u64::from_be_bytes(field) as usize)
}

fn entry(bytes: &[u8], table: usize, block: usize) -> u32 {
    u32::from_be_bytes(bytes[table + block * 4..][..4].try_into().unwrap())
}

#[test]
fn a_sound_chain_has_no_damage() {
    let lab = Lab::new();
    image(&lab);
    lab.ok("create child.vhd --type differencing --parent disk.vhd");
    lab.ok("create fixed.vhd --type fixed --size 3M");
    for name in ["disk.vhd", "child.vhd", "fixed.vhd"] {
        let text = String::from_utf8(lab.ok(&format!("check {name}"))).unwrap();
        assert_eq!(text, format!("{name}: no damage\n"));
    }
}

/// Blocks that the table has lost, and what stands behind the last block, are named and are no damage.
#[test]
fn space_that_nothing_points_to_is_a_note() {
    let lab = Lab::new();
    let (mut bytes, table) = image(&lab);
    let place = |block| entry(&bytes, table, block) as usize * 512;
    let (third, last) = (place(3), place(7));
    for block in [3, 7] {
        bytes[table + block * 4..][..4].fill(0xff);
    }
    std::fs::write(lab.path("disk.vhd"), &bytes).unwrap();
    let found = lab.disk("check disk.vhd");
    let text = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.code, 0, "{text}");
    for words in [
        "note: nothing points to",
        "in 2 places",
        "as 2 blocks take",
        "disk.vhd: no damage",
    ] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }

    let json: serde_json::Value = serde_json::from_slice(&lab.ok("check disk.vhd --json")).unwrap();
    assert_eq!((&json["damages"], &json["repaired"]), (&0.into(), &0.into()));
    assert_eq!(json["findings"][0]["damage"], false);
    assert_eq!(json["unused"]["blocks"], 2);
    let pieces = json["unused"]["pieces"].as_array().unwrap();
    let inside = |piece: &serde_json::Value, place: usize| {
        let offset = piece["offset"].as_u64().unwrap() as usize;
        (offset..offset + piece["length"].as_u64().unwrap() as usize).contains(&place)
    };
    assert!(inside(&pieces[0], third) && inside(&pieces[1], last), "{json}");
    let sum: u64 = pieces.iter().map(|piece| piece["length"].as_u64().unwrap()).sum();
    assert_eq!(json["unused"]["bytes"], sum);

    lab.ok("compact disk.vhd --zeros-only");
    let json: serde_json::Value = serde_json::from_slice(&lab.ok("check disk.vhd --json")).unwrap();
    assert_eq!(json["unused"]["bytes"], 0);
    assert_eq!(json["findings"], serde_json::json!([]));
}

#[test]
fn damage_is_told_as_json() {
    let lab = Lab::new();
    let (mut bytes, table) = image(&lab);
    bytes[table + 4..][..4].copy_from_slice(&0x7fff_fff0u32.to_be_bytes());
    std::fs::write(lab.path("disk.vhd"), &bytes).unwrap();
    let done = lab.disk("check disk.vhd --json");
    assert_eq!(done.code, 1);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["damages"], &json["repaired"]), (&1.into(), &0.into()));
    let damage = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["damage"] == true);
    assert!(
        damage.unwrap()["remedy"].as_str().unwrap().contains("block 1"),
        "{json}"
    );
    let done = lab.disk("check disk.vhd --repair --json");
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.code, &json["repaired"]), (0, &1.into()));
}

#[test]
fn every_damaged_block_is_named_and_taken_out() {
    let lab = Lab::new();
    let (mut bytes, table) = image(&lab);
    let mut set = |block: usize, sector: u32| {
        bytes[table + block * 4..][..4].copy_from_slice(&sector.to_be_bytes());
    };
    set(1, 0x7fff_fff0);
    set(2, 1);
    set(700, 0xffff_fffe);
    let fourth = entry(&std::fs::read(lab.path("disk.vhd")).unwrap(), table, 4);
    set(5, fourth + 1);
    std::fs::write(lab.path("disk.vhd"), &bytes).unwrap();

    let found = lab.disk("check disk.vhd");
    let text = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.code, 1, "{text}");
    for words in [
        "block 1 at",
        "block 2 overlaps",
        "block 700 at",
        "blocks 4 and 5 overlap",
    ] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
    // What was in them is in the file still.
    assert!(text.contains("note: nothing points to"), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    let dry = lab.disk("check disk.vhd --repair --dry-run");
    assert_eq!(dry.code, 1);
    assert!(
        String::from_utf8(dry.stdout)
            .unwrap()
            .contains("a repair would take block 1 out")
    );
    assert!(
        std::fs::read(lab.path("disk.vhd")).unwrap() == bytes,
        "nothing is written so far"
    );

    lab.ok("check disk.vhd --repair");
    lab.ok("check disk.vhd");
    let mut content = pattern(32_768, 1);
    for block in [1, 2, 5] {
        content[block * 4096..][..4096].fill(0);
    }
    assert!(lab.read("disk.vhd", 0, 32_768) == content);
}

#[test]
fn footers_are_written_again_from_their_copies() {
    let lab = Lab::new();
    let (sound, _) = image(&lab);
    let last = sound.len() - 512;
    for (what, offset) in [("end", last + 100), ("copy", 100)] {
        let mut bytes = sound.clone();
        bytes[offset] ^= 1;
        std::fs::write(lab.path("disk.vhd"), &bytes).unwrap();
        assert_eq!(lab.disk("check disk.vhd").code, 1, "{what}");
        lab.ok("check disk.vhd --repair");
        let text = String::from_utf8(lab.ok("check disk.vhd")).unwrap();
        assert_eq!(text, "disk.vhd: no damage\n", "{what}");
        assert!(lab.read("disk.vhd", 0, 32_768) == pattern(32_768, 1), "{what}");
    }
}

#[test]
fn what_cannot_be_repaired_says_so() {
    let lab = Lab::new();
    let (mut bytes, _) = image(&lab);
    lab.ok("create child.vhd --type differencing --parent disk.vhd");
    bytes[512 + 100] ^= 1;
    std::fs::write(lab.path("disk.vhd"), &bytes).unwrap();
    for (image, reason) in [("disk.vhd", "dynamic disk header"), ("child.vhd", "disk.vhd")] {
        let done = lab.disk(&format!("check --repair {image}"));
        let text = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.code, 1, "{text}");
        assert!(text.contains(reason) && text.contains("not repaired"), "{text}");
    }
    assert!(std::fs::read(lab.path("disk.vhd")).unwrap() == bytes);
}
