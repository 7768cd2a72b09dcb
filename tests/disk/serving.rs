// SPDX-License-Identifier: Apache-2.0 OR MIT
//! NBD clients see the disk, with qemu's programs as the clients.

use crate::lab::{Lab, pattern};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A server that is told to end when the test is over.
struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    fn start(lab: &Lab, image: &str, words: &[&str]) -> Self {
        let socket = lab.path("disk.sock");
        let mut child = Command::new(env!("CARGO_BIN_EXE_vpc"))
            .args(["disk", "serve"])
            .arg(lab.path(image))
            .arg("--socket")
            .arg(&socket)
            .args(words)
            .spawn()
            .unwrap();
        while UnixStream::connect(&socket).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the server has ended");
            std::thread::yield_now();
        }
        Self { child, socket }
    }

    /// Ends it as a user or a service manager does; it must end well.
    fn end(mut self) {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        assert!(self.child.wait().unwrap().success());
        assert!(!self.socket.exists());
    }
}

const URL: &str = "nbd+unix:///?socket=disk.sock";

#[test]
fn qemu_reads_and_writes_a_chain() {
    let lab = Lab::new();
    lab.ok("create base.vhd --type dynamic --size 16M");
    lab.write("base.vhd", 0, &pattern(3 << 20, 1));
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    lab.write("child.vhd", 1 << 20, &pattern(70_000, 2));
    let content = lab.ok("read child.vhd");
    std::fs::write(lab.path("all.raw"), &content).unwrap();
    if !Lab::installed("qemu-io") {
        return;
    }
    let server = Server::start(&lab, "child.vhd", &[]);
    let done = lab
        .qemu_img(&format!("compare -f raw -F raw all.raw {URL}"))
        .unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let done = lab.run_words(
        "qemu-io",
        &[
            "-f",
            "raw",
            "-c",
            "write -P 7 5M 100k",
            "-c",
            "write -z 1M 65k",
            "-c",
            "discard 8M 4M",
            "-c",
            "flush",
            URL,
        ],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        lab.disk("info child.vhd").code,
        2,
        "it is locked while it is served"
    );
    server.end();

    let mut expected = content;
    expected[5 << 20..(5 << 20) + 102_400].fill(7);
    expected[1 << 20..(1 << 20) + 66_560].fill(0);
    assert!(lab.ok("read child.vhd") == expected);
    lab.ok("check child.vhd");
}

#[test]
fn a_served_disk_can_be_read_only() {
    let lab = Lab::new();
    lab.ok("create disk.vhd --type dynamic --size 16M");
    if !Lab::installed("qemu-io") {
        return;
    }
    let server = Server::start(&lab, "disk.vhd", &["--read-only"]);
    let done = lab.run_words("qemu-io", &["-f", "raw", "-c", "write 0 4k", URL]);
    assert_ne!(done.code, 0);
    lab.ok("info disk.vhd");
    server.end();
}

#[test]
fn clients_that_talk_nonsense_are_cut_off_alone() {
    let lab = Lab::new();
    lab.ok("create disk.vhd --type dynamic --size 16M");
    let server = Server::start(&lab, "disk.vhd", &[]);
    for nonsense in [
        &[0xff; 64][..],
        b"\0\0\0\x03IHAVEOPT\0\0\0\x07\xff\xff\xff\xff",
        b"\0\0\0\x03",
    ] {
        let mut stream = UnixStream::connect(&server.socket).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // The end comes as an end or as a reset; what counts is that it comes.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let mut stream = UnixStream::connect(&server.socket).unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    // EXPORT_NAME, then a read beyond the end, then a read of the last four bytes.
    stream.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\0").unwrap();
    let mut export = [0; 10];
    stream.read_exact(&mut export).unwrap();
    assert_eq!(export[..8], (16_u64 << 20).to_be_bytes());
    let mut ask = |offset: u64, length: u32| {
        let mut request = 0x2560_9513_u32.to_be_bytes().to_vec();
        request.extend([0, 0, 0, 0]);
        request.extend(*b"a cookie");
        request.extend(offset.to_be_bytes());
        request.extend(length.to_be_bytes());
        stream.write_all(&request).unwrap();
        let mut reply = [0; 16];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply[8..], b"a cookie");
        u32::from_be_bytes(reply[4..8].try_into().unwrap())
    };
    assert_eq!(ask(u64::MAX, 4), 22);
    assert_eq!(ask(0, u32::MAX), 22);
    assert_eq!(ask((16 << 20) - 4, 4), 0);
    server.end();
}

#[test]
fn clients_learn_where_there_is_nothing() {
    let lab = Lab::new();
    lab.ok("create base.vhd --type dynamic --size 64M --block-size 512K");
    lab.write("base.vhd", 8 << 20, &pattern(1 << 20, 1));
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    lab.write("child.vhd", 32 << 20, &pattern(4096, 2));
    let content = lab.ok("read child.vhd");
    if !Lab::installed("nbdinfo") || !Lab::installed("nbdcopy") {
        return;
    }
    let server = Server::start(&lab, "child.vhd", &[]);
    let info = lab.run_words("nbdinfo", &[URL]);
    assert_eq!(info.code, 0, "{}", info.stderr);
    let info = String::from_utf8(info.stdout).unwrap();
    assert!(info.contains("base:allocation"), "{info}");
    assert!(info.contains("can_multi_conn: true"), "{info}");
    assert!(info.contains("structured"), "{info}");

    let map = lab.run_words("nbdinfo", &["--map", URL]);
    assert_eq!(map.code, 0, "{}", map.stderr);
    let map: Vec<Vec<u64>> = String::from_utf8(map.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            line.split_whitespace()
                .take(3)
                .map(|word| word.parse().unwrap())
                .collect()
        })
        .collect();
    let mib = 1 << 20;
    assert_eq!(
        map,
        [
            [0, 8 * mib, 3],
            [8 * mib, mib, 0],
            [9 * mib, 23 * mib, 3],
            [32 * mib, 4096, 0],
            [32 * mib + 4096, 32 * mib - 4096, 3],
        ]
    );
    let map = lab.qemu_img(&format!("map --output=json -f raw {URL}")).unwrap();
    let map = String::from_utf8(map.stdout).unwrap();
    assert_eq!(map.matches("\"zero\": true").count(), 3, "{map}");

    // Several connections at once, each with many requests under way.
    let done = lab.run_words("nbdcopy", &["--connections=4", "--requests=32", URL, "copy.raw"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(std::fs::read(lab.path("copy.raw")).unwrap() == content);
    std::fs::write(lab.path("new.raw"), pattern(64 << 20, 9)).unwrap();
    let done = lab.run_words("nbdcopy", &["--connections=4", "--flush", "new.raw", URL]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    server.end();
    assert!(lab.ok("read child.vhd") == pattern(64 << 20, 9));
}
