// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sessions with the built program.

use super::{Lab, support, text};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use support::wait_for;
use virtualpc::virtual_pc::hresult;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn show(lab: &Lab) -> serde_json::Value {
    json(&lab.ok(&["show", "Pc", "--json"]))
}

/// A machine named Pc with this firmware, made by the program itself.
fn create(lab: &Lab, firmware: &[u8]) {
    std::fs::write(lab.path("rom"), firmware).unwrap();
    let firmware = format!("virtualpc/firmware={}", lab.text("rom"));
    let debug = format!("virtualpc/debug_console={}", lab.text("debug"));
    let made = lab.ok(&[
        "create", "Pc", "--memory", "8", "--value", &firmware, "--value", &debug,
    ]);
    assert!(made.trim().ends_with("/Pc.vmc"), "{made}");
}

#[test]
fn from_create_to_delete() {
    let lab = Lab::new();
    create(&lab, &support::firmware("counter"));
    lab.refused(&["create", "PC"], hresult::VM_E_CONFIG_DUPLICATE_NAME);
    lab.refused(&["create", "a/b"], hresult::VM_E_CONFIG_NAME_INVALID_CHAR);
    lab.refused(&["create", ""], hresult::VM_E_CONFIG_NO_NAME);
    lab.refused(&["create", "other", "--memory", "1"], hresult::E_INVALIDARG);
    lab.refused(&["show", "other"], hresult::S_FALSE);
    lab.refused(&["stop", "Pc"], hresult::VM_E_VM_NOT_RUNNING);
    lab.ok(&["set", "Pc", "--notes", "for tests"]);
    assert_eq!(show(&lab)["notes"], "for tests");
    assert_eq!(
        lab.ok(&["show", "Pc", "--value", "hardware/memory/ram_size"]),
        "8\n"
    );

    lab.ok(&["start", "pc"]);
    lab.refused(&["start", "Pc"], hresult::VM_E_VM_RUNNING);
    lab.refused(&["delete", "Pc"], hresult::VM_E_VM_RUNNING);
    assert_eq!(show(&lab)["state"], "running");
    lab.file("a.iso", 40 << 10);
    lab.file("a.img", 1440 << 10);
    // A relative path counts from where the command is given.
    lab.ok(&["dvd", "Pc", "attach", "a.iso"]);
    lab.refused(&["dvd", "Pc", "attach", "a.iso"], hresult::VM_E_DRIVE_IN_USE);
    lab.refused(
        &["dvd", "Pc", "--at", "0:0", "attach", "a.iso"],
        hresult::VM_E_DRIVE_INVALID,
    );
    lab.ok(&["floppy", "Pc", "attach", "a.img"]);
    let drives = show(&lab)["drives"].clone();
    assert_eq!(drives[0]["file"], text(&lab.path("a.iso")), "{drives}");
    assert_eq!(drives[1]["file"], text(&lab.path("a.img")), "{drives}");
    lab.ok(&["dvd", "Pc", "release"]);
    lab.refused(
        &["dvd", "Pc", "release", "--host"],
        hresult::VM_E_MEDIA_WRONG_TYPE,
    );
    lab.ok(&["floppy", "Pc", "release"]);
    lab.refused(&["floppy", "Pc", "release"], hresult::VM_E_NO_MEDIA_CAPTURED);

    lab.ok(&["pause", "Pc"]);
    assert_eq!(show(&lab)["state"], "paused");
    lab.refused(&["pause", "Pc"], hresult::E_FAIL);
    let debug = || std::fs::metadata(lab.path("debug")).unwrap().len();
    let before = debug();
    lab.ok(&["resume", "Pc"]);
    wait_for("the guest to go on", || (debug() > before).then_some(()));
    lab.ok(&["reset", "Pc"]);
    lab.ok(&["stop", "Pc"]);
    assert_eq!(show(&lab)["state"], "turned-off");
    let events = lab.ok(&["events", "pc", "--json"]);
    let kinds: Vec<_> = events
        .lines()
        .map(json)
        .filter(|event| event["event"] != "configuration-changed")
        .map(|event| {
            event["state"]
                .as_str()
                .or(event["event"].as_str())
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "turning-on",
            "running",
            "media-insert",
            "media-insert",
            "media-eject",
            "media-eject",
            "paused",
            "running",
            "reset",
            "turning-off",
            "turned-off"
        ]
    );
    let tasks = json(&lab.ok(&["tasks", "--json"]));
    assert_eq!(tasks.as_array().unwrap().len(), 3, "{tasks}");
    lab.ok(&["delete", "Pc"]);
    assert_eq!(lab.ok(&["list", "--json"]).trim(), "[]");
}

#[test]
fn the_machine_s_folder_is_its_user_s_alone() {
    let lab = Lab::new();
    create(&lab, &support::firmware("counter"));
    lab.ok(&["start", "Pc"]);
    let instances = std::fs::read_dir(lab.path("run/virtualpc")).unwrap();
    let instance = instances.flatten().next().unwrap().path();
    let mode = |name: &str| {
        std::fs::metadata(instance.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("."), mode("control"), mode("log")), (0o700, 0o600, 0o600));
    // `vpc ctl` speaks to the same socket.
    let control = text(&instance.join("control")).to_owned();
    assert_eq!(
        json(&lab.ok(&["ctl", &control, "--json", "status"]))["memory"],
        8 << 20
    );
    // A machine that ends by itself, as far as the model can see.
    lab.ok(&["ctl", &control, "quit"]);
    wait_for("the end", || (show(&lab)["state"] == "turned-off").then_some(()));
    assert!(!instance.join("control").exists());
}

#[test]
fn a_guest_that_listens_shuts_down_and_one_that_does_not_stays() {
    let lab = Lab::new();
    create(&lab, &support::loader("ending-power-button.img"));
    lab.ok(&["start", "Pc"]);
    let debug = || std::fs::read_to_string(lab.path("debug")).unwrap_or_default();
    wait_for("the guest", || debug().contains("waiting").then_some(()));
    lab.ok(&["shutdown", "Pc"]);
    assert_eq!(show(&lab)["state"], "turned-off");
    assert!(lab.ok(&["events", "--json"]).contains("guest-shutdown"));
    std::fs::write(lab.path("rom"), support::loader("ending-idle.img")).unwrap();
    lab.ok(&["start", "Pc"]);
    lab.refused(&["shutdown", "Pc", "--wait", "0"], hresult::VM_E_TIMED_OUT);
    assert_eq!(show(&lab)["state"], "running");
    lab.ok(&["stop", "Pc"]);
}

#[test]
fn the_console_shows_what_the_guest_says() {
    let lab = Lab::new();
    create(&lab, &support::loader("ending-power-button.img"));
    lab.refused(&["console", "Pc"], hresult::VM_E_VM_NOT_RUNNING);
    lab.ok(&["start", "Pc"]);
    lab.refused(
        &["console", "Pc", "--port", "3"],
        hresult::VM_E_PREF_ILLEGAL_VALUE,
    );
    let mut console = {
        let _undisturbed = support::alone();
        lab.vpc(&["console", "Pc"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut said = String::new();
    let mut out = console.stdout.take().unwrap();
    while !said.contains("waiting for the power button") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{said}");
        said.push(byte[0].into());
    }
    lab.ok(&["shutdown", "Pc"]);
    out.read_to_string(&mut said).unwrap();
    assert!(console.wait().unwrap().success());
    assert!(said.contains("power button\r\n"), "{said}");
}

#[test]
fn undo_disks_are_discarded_kept_and_committed() {
    let lab = Lab::new();
    create(&lab, &support::firmware("write"));
    let disk = lab.path("disk.vhd");
    vhd::create::dynamic(&disk, 8 << 20, &vhd::CreateOptions::new()).unwrap();
    let content = || {
        let mut bytes = vec![0; 8 << 20];
        let disk = vhd::Disk::open(&disk, &vhd::OpenOptions::new().read_only(true)).unwrap();
        disk.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let empty = content();
    lab.ok(&["hd", "Pc", "attach", "disk.vhd"]);
    lab.ok(&["set", "Pc", "--undoable", "yes"]);
    let undo = lab.path("data/virtualpc/machines/Pc_0_0.vud");
    let written = || std::fs::metadata(&undo).is_ok_and(|undo| undo.len() > 1 << 20);
    for (action, stays) in [("discard", false), ("keep", true), ("commit", false)] {
        lab.ok(&["start", "Pc"]);
        wait_for("the guest to write", || written().then_some(()));
        lab.ok(&["stop", "Pc", "--undo", action]);
        assert_eq!(undo.exists(), stays, "{action}");
        assert_eq!(content() == empty, action != "commit", "{action}");
    }
    lab.ok(&["start", "Pc"]);
    lab.ok(&["stop", "Pc", "--undo", "keep"]);
    lab.ok(&["hd", "Pc", "discard-undo"]);
    assert!(!undo.exists());
    // What the default says.
    lab.ok(&["set", "Pc", "--undo-action", "discard"]);
    lab.ok(&["start", "Pc"]);
    lab.ok(&["stop", "Pc"]);
    assert!(!undo.exists());
}

#[test]
fn files_of_virtual_pc_2007_run_and_survive() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("xp")).unwrap();
    vhd::create::dynamic(lab.path("xp/origin.vhd"), 8 << 20, &vhd::CreateOptions::new()).unwrap();
    std::fs::write(lab.path("rom"), support::firmware("counter")).unwrap();
    let rom = lab.text("rom");
    let file = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<!-- Microsoft Virtual Machine Options and Settings -->\r\n\
         <preferences>\r\n\t<version type=\"string\">2.0</version>\r\n\t<hardware>\r\n\t\t<memory>\r\n\t\t\t\
         <ram_size type=\"integer\">16</ram_size>\r\n\t\t</memory>\r\n\t\t<pci_bus>\r\n\t\t\t<ide_adapter>\r\n\
         <ide_controller id=\"0\"><location id=\"0\"><drive_type type=\"integer\">1</drive_type><pathname>\
         <absolute type=\"string\">C:\\VMs\\origin.vhd</absolute><relative type=\"string\">.\\origin.vhd</relative>\
         </pathname><undo_pathname><absolute type=\"string\"/><relative type=\"string\"/></undo_pathname></location></ide_controller>\
         <ide_controller id=\"1\"><location id=\"0\"><drive_type type=\"integer\">2</drive_type><pathname>\
         <absolute type=\"string\"/></pathname></location></ide_controller></ide_adapter></pci_bus></hardware>\
         <integration><microsoft><heartbeat><rate type=\"integer\">10</rate></heartbeat></microsoft></integration>\
         <virtualpc><firmware type=\"string\">{rom}</firmware></virtualpc></preferences>"
    );
    let units = std::iter::once(0xfeff).chain(file.encode_utf16());
    std::fs::write(
        lab.path("xp/XP.vmc"),
        units.flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
    )
    .unwrap();
    assert_eq!(lab.ok(&["register", "xp/XP.vmc"]), "XP\n");
    let shown = json(&lab.ok(&["show", "xp", "--json"]));
    assert_eq!(shown["memory"], 16);
    assert_eq!(
        shown["drives"][0]["file"],
        text(&lab.path("xp/origin.vhd")),
        "{shown}"
    );
    lab.ok(&["start", "XP"]);
    lab.ok(&["stop", "XP"]);
    lab.ok(&["set", "XP", "--memory", "32"]);
    assert_eq!(
        lab.ok(&["show", "XP", "--value", "integration/microsoft/heartbeat/rate"]),
        "10\n"
    );
    lab.ok(&["unregister", "XP"]);
    assert!(lab.path("xp/XP.vmc").exists());
}

#[test]
fn sixty_four_machines() {
    let lab = Lab::new();
    std::fs::write(lab.path("rom"), support::loader("ending-idle.img")).unwrap();
    let firmware = format!("virtualpc/firmware={}", lab.text("rom"));
    let names: Vec<_> = (0..64).map(|n| format!("pc{n:02}")).collect();
    for name in &names {
        lab.ok(&["create", name, "--memory", "4", "--value", &firmware]);
    }
    for name in &names {
        lab.ok(&["start", name]);
    }
    let states = |wanted: &str| {
        let list = json(&lab.ok(&["list", "--json"]));
        let list = list.as_array().unwrap().clone();
        assert_eq!(list.len(), 64);
        list.iter().filter(|machine| machine["state"] == wanted).count()
    };
    assert_eq!(states("running"), 64);
    for name in &names {
        lab.ok(&["stop", name]);
    }
    assert_eq!(states("turned-off"), 64);
}

#[test]
fn a_thousand_media_swaps() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("counter"));
    lab.start(&machine);
    let discs = [lab.file("a.iso", 40 << 10), lab.file("b.iso", 60 << 10)];
    let disks = [lab.file("a.img", 1440 << 10), lab.file("b.img", 1440 << 10)];
    let drives = machine.dvd_drives().unwrap();
    let floppies = machine.floppy_drives().unwrap();
    let (dvd, floppy) = (drives.item(1).unwrap(), floppies.item(1).unwrap());
    for n in 0..500 {
        dvd.attach_image(&discs[n % 2]).unwrap();
        floppy.attach_image(&disks[n % 2]).unwrap();
        dvd.release_image(false).unwrap();
        floppy.release_image().unwrap();
    }
    assert_eq!(machine.state().unwrap().to_string(), "running");
    // Nothing is held: the files can be had for writing.
    let _undisturbed = support::alone();
    for path in discs.iter().chain(&disks) {
        std::fs::File::open(path).unwrap().try_lock().unwrap();
    }
}

#[test]
fn completions_and_manuals() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(lab.ok(&["completions", shell]).contains("shutdown"), "{shell}");
    }
    lab.ok(&["man", "man"]);
    for page in ["vpc.1", "vpc-start.1", "vpc-dvd-attach.1"] {
        let text = std::fs::read_to_string(lab.path("man").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}
