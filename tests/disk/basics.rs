// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images are made, written, read, shown and compared.

use crate::lab::{Lab, pattern};
use serde_json::Value;

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn every_type_is_made_with_its_exact_size() {
    let lab = Lab::new();
    lab.ok("create fixed.vhd --type fixed --size 10M");
    lab.ok("create new/folder/dynamic.vhd --type dynamic --size 10485760 --block-size 512K");
    lab.ok("create child.vhd --type differencing --parent new/folder/dynamic.vhd");
    for (path, format) in [
        ("fixed.vhd", "fixed"),
        ("new/folder/dynamic.vhd", "dynamic"),
        ("child.vhd", "differencing"),
    ] {
        let info = json(&lab.ok(&format!("info {path} --json")));
        assert_eq!(info["format"], format);
        assert_eq!(info["virtual-size"], 10 << 20);
        assert_eq!(info["notices"], Value::Array(vec![]));
    }
    let chain = json(&lab.ok("info child.vhd --chain --json"));
    assert_eq!(chain.as_array().unwrap().len(), 2);
    assert_eq!(chain[0]["blocks"]["size"], 2 << 20);
    assert_eq!(chain[0]["parent"]["name"], "dynamic.vhd");
    assert_eq!(chain[1]["blocks"]["size"], 512 << 10);
    assert_eq!(chain[1]["blocks"]["total"], 20);

    let text = String::from_utf8(lab.ok("info child.vhd --chain")).unwrap();
    for word in [
        "child.vhd",
        "└─ ",
        "dynamic.vhd",
        "10 MiB (10485760 bytes)",
        "differencing",
    ] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
}

#[test]
fn what_is_written_is_read_and_shows_through_children() {
    let lab = Lab::new();
    lab.ok("create base.vhd --type dynamic --size 64M");
    let long = pattern(5 << 20, 1);
    lab.write("base.vhd", 1000, &long);
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    let short = pattern(700, 2);
    lab.write("child.vhd", 2000, &short);

    let mut expected = vec![0; 64 << 20];
    expected[1000..1000 + long.len()].copy_from_slice(&long);
    assert_eq!(lab.ok("read base.vhd"), expected);
    expected[2000..2700].copy_from_slice(&short);
    assert_eq!(lab.ok("read child.vhd --offset 0 --length 64M"), expected);
    assert_eq!(lab.read("child.vhd", 1999, 702), expected[1999..2701]);
    assert!(lab.read("child.vhd", 64 << 20, 0).is_empty());
}

#[test]
fn disks_compare_across_formats() {
    let lab = Lab::new();
    lab.ok("create dynamic.vhd --type dynamic --size 8M");
    lab.ok("create fixed.vhd --type fixed --size 8M");
    let bytes = pattern(100_000, 3);
    lab.write("dynamic.vhd", 3_000_000, &bytes);
    let differ = lab.disk("compare dynamic.vhd fixed.vhd");
    assert_eq!(differ.code, 1);
    assert_eq!(
        String::from_utf8(differ.stdout).unwrap(),
        "the disks differ, first at offset 3000000\n"
    );
    lab.write("fixed.vhd", 3_000_000, &bytes);
    lab.ok("compare dynamic.vhd fixed.vhd");

    let mut raw = lab.ok("read fixed.vhd");
    raw.resize(9 << 20, 0);
    std::fs::write(lab.path("larger.raw"), &raw).unwrap();
    lab.ok("compare dynamic.vhd larger.raw");
    assert_eq!(lab.disk("compare --strict dynamic.vhd larger.raw").code, 1);
    *raw.last_mut().unwrap() = 1;
    std::fs::write(lab.path("larger.raw"), &raw).unwrap();
    assert_eq!(lab.disk("compare larger.raw dynamic.vhd").code, 1);
}

#[test]
fn qemu_reads_what_is_written() {
    let lab = Lab::new();
    for kind in ["fixed", "dynamic"] {
        lab.ok(&format!("create {kind}.vhd --type {kind} --size 33M"));
        lab.write(&format!("{kind}.vhd"), 12_345, &pattern(3 << 20, 4));
        std::fs::write(lab.path("all.raw"), lab.ok(&format!("read {kind}.vhd"))).unwrap();
        let options = "driver=vpc,force_size_calc=current_size,file.filename";
        let words = format!("compare --image-opts {options}={kind}.vhd driver=raw,file.filename=all.raw");
        let Some(done) = lab.qemu_img(&words) else { return };
        assert_eq!(done.code, 0, "{}", done.stderr);
        // Its own way back, which rounds sizes to a geometry.
        let words = format!("convert -f raw -O vpc -o subformat={kind} all.raw theirs-{kind}.vhd");
        assert_eq!(lab.qemu_img(&words).unwrap().code, 0);
        lab.ok(&format!("compare {kind}.vhd theirs-{kind}.vhd"));
    }
}
