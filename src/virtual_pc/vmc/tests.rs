// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// Laid out as Virtual PC 2007 did; the values are made up.
const FILE: &str = r#"<?xml version="1.0" encoding="UTF-16"?>
<!-- Microsoft Virtual Machine Options and Settings -->
<preferences>
	<version type="string">2.0</version>
	<hardware>
		<memory>
			<ram_size type="integer">128</ram_size>
		</memory>
		<pci_bus>
			<ide_adapter>
				<ide_controller id="0">
					<location id="0">
						<drive_type type="integer">1</drive_type>
						<pathname>
							<absolute type="string">C:\VMs\xp &amp; co.vhd</absolute>
							<relative type="string">.\xp &amp; co.vhd</relative>
						</pathname>
					</location>
				</ide_controller>
				<ide_controller id="1">
					<location id="0">
						<drive_type type="integer">2</drive_type>
						<pathname>
							<absolute type="string" />
						</pathname>
					</location>
				</ide_controller>
			</ide_adapter>
			<!-- a comment -->
		</pci_bus>
		<bios><cmos type="bytes">00FF10</cmos><bios_serial_number type="string"> 12 34 </bios_serial_number></bios>
	</hardware>
	<future odd="a&quot;b"><thing type="quaternion">1 2 3 4</thing></future>
</preferences>
"#;

#[test]
fn values_of_all_types() {
    let vmc = Vmc::parse(FILE.as_bytes()).unwrap();
    assert_eq!(
        vmc.get(&key("hardware/memory/ram_size")),
        Some(Value::Integer(128))
    );
    let disk = "hardware/pci_bus/ide_adapter/ide_controller[@id=0]/location[@id=\"0\"]/pathname/relative";
    assert_eq!(vmc.text(disk).as_deref(), Some(".\\xp & co.vhd"));
    let dvd = "hardware/pci_bus/ide_adapter/ide_controller[@id=1]/location[@id=0]/pathname/absolute";
    assert_eq!(vmc.get(&key(dvd)), Some(Value::String(String::new())));
    assert_eq!(
        vmc.get(&key("hardware/bios/cmos")),
        Some(Value::Bytes(vec![0, 0xff, 0x10]))
    );
    // White space inside of a value is the value's.
    assert_eq!(
        vmc.text("hardware/bios/bios_serial_number").as_deref(),
        Some(" 12 34 ")
    );
    assert_eq!(vmc.text("future/thing").as_deref(), Some("1 2 3 4"));
    for none in [
        "hardware",
        "hardware/memory/ram_size/more",
        "nothing",
        "hardware/memory[@id=1]/ram_size",
    ] {
        assert_eq!(vmc.get(&key(none)), None, "{none}");
    }
    assert_eq!(
        vmc.ids(&key("hardware/pci_bus/ide_adapter"), "ide_controller"),
        [0, 1]
    );
}

#[test]
fn what_is_unknown_survives_a_rewrite() {
    let mut vmc = Vmc::parse(FILE.as_bytes()).unwrap();
    assert_eq!(Vmc::parse(&vmc.to_bytes()).unwrap(), vmc);
    let lines = |vmc: &Vmc| {
        vmc.to_string()
            .lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let before = lines(&vmc);
    vmc.put("hardware/memory/ram_size", &Value::Integer(256));
    let after = lines(&Vmc::parse(&vmc.to_bytes()).unwrap());
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert_eq!(before.len(), after.len());
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(after.iter().any(|line| line.contains("a comment")));
    assert!(after.iter().any(|line| line.contains("odd=\"a&quot;b\"")));
}

#[test]
fn set_and_remove() {
    let mut vmc = Vmc::default();
    for value in [
        Value::String("ä < b & \"c\" \r\n\t]]>".into()),
        Value::String(String::new()),
        Value::Integer(-5),
        Value::Boolean(true),
        Value::Bytes(vec![1, 2, 255]),
    ] {
        let key = key("alpha/bravo/delta[@id=1]/echo[@id=0]/golf");
        vmc.set(&key, &value).unwrap();
        let read = Vmc::parse(&vmc.to_bytes()).unwrap();
        assert_eq!(read.get(&key), Some(value));
        assert_eq!(read, vmc);
    }
    assert_eq!(
        vmc.set(&key("alpha/bravo"), &Value::Integer(1)),
        Err(SetError::Group(key("alpha/bravo")))
    );
    assert_eq!(
        vmc.set(&key("x"), &Value::String("\u{7}".into())),
        Err(SetError::Control)
    );
    assert!(!vmc.remove(&key("alpha/bravo")), "a group is no value");
    assert!(vmc.remove(&key("alpha/bravo/delta[@id=1]/echo[@id=0]/golf")));
    assert!(!vmc.remove(&key("alpha/bravo/delta[@id=1]/echo[@id=0]/golf")));
    assert!(vmc.remove_tree(&key("alpha")));
    assert_eq!(vmc, Vmc::default());
}

#[test]
fn other_encodings() {
    let vmc = Vmc::parse(FILE.as_bytes()).unwrap();
    let be: Vec<u8> = FILE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let le: Vec<u8> = FILE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    for bytes in [
        be.clone(),
        le.clone(),
        with(b"\xfe\xff", &be),
        with(b"\xff\xfe", &le),
        with(b"\xef\xbb\xbf", FILE.as_bytes()),
    ] {
        assert_eq!(Vmc::parse(&bytes).unwrap(), vmc);
    }
    assert!(vmc.to_bytes().starts_with(b"\xff\xfe<\0"));
}

#[test]
fn malformed_files_are_refused() {
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let bomb = "<!DOCTYPE p [<!ENTITY a \"xx\"><!ENTITY b \"&a;&a;\">]><preferences>&b;</preferences>";
    let many = format!("<preferences>{}</preferences>", "<a/>".repeat(100_001));
    for bad in [
        "",
        "<preferences>",
        "<preferences></hardware>",
        "<other/>",
        "<preferences/><preferences/>",
        "text",
        "<preferences/>text",
        "<preferences>&unknown;</preferences>",
        "<preferences>&#0;</preferences>",
        "<preferences a=1/>",
        "<preferences a='1' a='2'/>",
        "<preferences><!-- </preferences>",
        "<?php x ?><preferences/>",
        bomb,
        &deep,
        &many,
    ] {
        let start: String = bad.chars().take(60).collect();
        assert!(Vmc::parse(bad.as_bytes()).is_err(), "{start}");
    }
    assert!(Vmc::parse(b"\xff\xfe<").is_err());
    assert!(Vmc::parse(b"\xff\xfe\x00\xd8").is_err());
    assert!(Vmc::parse(b"\xc3\x28").is_err());
    // Cut anywhere, it is refused or read, never a panic.
    let bytes = Vmc::parse(FILE.as_bytes()).unwrap().to_bytes();
    for end in 0..bytes.len() {
        let _ = Vmc::parse(&bytes[..end]);
    }
}

#[test]
fn keys() {
    for good in ["a", "a/b", "a[@id=3]/b", "/a/b/"] {
        assert!(good.parse::<Key>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "/",
        "a//b",
        "a[@id=]",
        "a[id=1]",
        "a[@id=1",
        "<a>",
        "a b",
        "1a",
        "a[@id=\"]",
        "a/../b\0",
    ] {
        assert!(bad.parse::<Key>().is_err(), "{bad}");
    }
    assert!("a/".repeat(40).parse::<Key>().is_err());
    assert_eq!(key("a[@id=\"3\"]/b").to_string(), "a[@id=3]/b");
}
