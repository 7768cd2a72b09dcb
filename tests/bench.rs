// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench` as its users see it. What was measured is looked at, how long it took is not.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder to work in.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vpc"));
        command
            .env_remove("VPC_LOG")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command.args(words.split_whitespace());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().unwrap()
    }

    fn ok(&self, words: &str) -> String {
        let done = self.run(words);
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "vpc {words}: {error}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs a benchmark, and gives its one job.
    fn job(&self, words: &str) -> Value {
        let report: Value = serde_json::from_str(&self.ok(&format!("bench disk {words} --json"))).unwrap();
        report["jobs"][0].clone()
    }

    /// Runs what must be refused with exit code 2, in one line with these words.
    fn refused(&self, words: &str, reason: &str) {
        let done = self.run(words);
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "vpc {words}: {error}");
        assert!(
            done.stdout.is_empty() && error.lines().count() == 1,
            "vpc {words}: {error}"
        );
        assert!(
            error.starts_with("vpc: ") && error.contains(reason),
            "vpc {words}: {error}"
        );
    }

    /// A new dynamic disk of 4 MiB.
    fn disk(&self, name: &str) {
        self.ok(&format!("disk create {name} --type dynamic --size 4M"));
    }

    /// Writes bytes into a disk, as nobody should.
    fn damage(&self, image: &str, offset: u64) {
        let mut command = self.command(&format!("disk write {image} --offset {offset}"));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"damaged").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

const LEVELS: [&str; 4] = ["layer", "ide", "ide --pio", "virtio --iodepth 8"];

#[test]
fn what_one_level_writes_every_level_reads() {
    for level in LEVELS {
        let lab = Lab::new();
        lab.disk("disk.vhd");
        let job = lab.job(&format!(
            "disk.vhd --level {level} --rw randwrite --bs 8K --size 256K --verify"
        ));
        assert_eq!(job["write"]["total_ios"], 32, "{level}: {job}");
        assert_eq!(job["read"]["total_ios"], 0);
        assert_eq!(job["vpc"]["verified_sectors"], 512, "{level}");
        for other in LEVELS {
            let job = lab.job(&format!(
                "disk.vhd --level {other} --rw read --bs 4K --size 256K --verify"
            ));
            assert_eq!(job["read"]["total_ios"], 64, "{level}, {other}");
        }
    }
}

#[test]
fn a_wrong_byte_is_found_at_every_level() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    lab.job("disk.vhd --rw write --bs 4K --size 128K --verify");
    lab.damage("disk.vhd", 20 * 512 + 100);
    for level in LEVELS {
        let words = format!("bench disk disk.vhd --level {level} --rw randread --size 128K --verify");
        lab.refused(&words, "verify: sector 20 is damaged from its byte 100 on");
        // Another seed's content is not there at all.
        lab.refused(
            &format!("{words} --seed 7"),
            "holds nothing that was written with this seed",
        );
        // Without --verify nobody looks.
        lab.job(&format!("disk.vhd --level {level} --rw read --size 128K"));
    }
}

#[test]
fn results_have_the_fields_of_fio_and_our_own() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    for level in LEVELS {
        let job = lab.job(&format!(
            "disk.vhd --level {level} --rw randrw --bs 4K --size 512K --verify --destroy"
        ));
        let (read, write) = (&job["read"], &job["write"]);
        assert_eq!(
            number(&read["total_ios"]) + number(&write["total_ios"]),
            128.0,
            "{level}"
        );
        for direction in [read, write] {
            assert_eq!(
                number(&direction["io_bytes"]),
                4096.0 * number(&direction["total_ios"])
            );
            assert!(number(&direction["iops"]) > 0.0 && number(&direction["bw"]) > 0.0);
            let latency = &direction["clat_ns"];
            let of = |name: &str| number(&latency[name]);
            assert!(
                of("min") > 0.0 && of("min") <= of("mean") && of("mean") <= of("max"),
                "{level}: {latency}"
            );
            assert_eq!(latency["N"], direction["total_ios"]);
            let percentiles = ["50.000000", "90.000000", "99.000000", "99.990000"];
            let percentiles = percentiles.map(|percent| number(&latency["percentile"][percent]));
            assert!(
                percentiles.is_sorted() && percentiles[3] <= of("max"),
                "{level}: {latency}"
            );
        }
        assert_eq!(job["job options"]["rw"], "randrw");
        let own = &job["vpc"];
        assert!(number(&own["seconds"]) > 0.0 && number(&own["cpu_us_per_io"]) > 0.0);
        assert!(number(&own["peak_memory_bytes"]) > 1e6);
        let exits = &own["exits_per_io"];
        match level {
            "layer" => assert!(exits.is_null() && own["ring"].is_string()),
            // The registers of one command, at least.
            "ide" | "ide --pio" => assert!(number(&exits["port_writes"]) >= 7.0, "{exits}"),
            _ => assert!(number(&exits["total"]) > 0.0, "{exits}"),
        }
    }
}

#[test]
fn jobs_share_the_disk() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    for level in ["layer", "virtio"] {
        let job = lab.job(&format!(
            "disk.vhd --level {level} --rw randwrite --bs 4K --jobs 3 --iodepth 4 --size 1M --verify --destroy"
        ));
        // 256 blocks by three.
        assert_eq!(job["write"]["total_ios"], 255, "{level}");
        assert_eq!(job["vpc"]["verified_sectors"], 255 * 8, "{level}");
    }
}

#[test]
fn time_bounds_a_job_and_it_goes_over_the_disk_again() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    for level in ["layer", "virtio"] {
        let job = lab.job(&format!(
            "disk.vhd --level {level} --rw write --bs 64K --iodepth 2 --size 256K --runtime 0.3 --destroy"
        ));
        assert!(number(&job["write"]["total_ios"]) > 4.0, "{level}: {job}");
        // What is verified is written once.
        let job = lab.job(&format!(
            "disk.vhd --level {level} --rw write --bs 64K --iodepth 2 --size 256K --runtime 0.3 --verify --destroy"
        ));
        assert_eq!(job["write"]["total_ios"], 4, "{level}: {job}");
        assert_eq!(job["vpc"]["verified_sectors"], 512, "{level}");
    }
}

#[test]
fn an_image_with_data_is_only_written_when_it_may_be_lost() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    lab.damage("disk.vhd", 1 << 20);
    lab.ok("disk create child.vhd --type differencing --parent disk.vhd");
    std::fs::write(lab.path("disk.raw"), vec![0; 1 << 20]).unwrap();
    let before = std::fs::read(lab.path("disk.vhd")).unwrap();
    for level in LEVELS {
        for image in ["disk.vhd", "child.vhd"] {
            let words = format!("bench disk {image} --level {level} --rw write --size 64K");
            lab.refused(&words, "holds data (the first at byte 1048576 of the disk)");
            lab.refused(&words, image);
        }
    }
    assert!(std::fs::read(lab.path("disk.vhd")).unwrap() == before);
    // Reading changes nothing either.
    for level in LEVELS {
        lab.job(&format!("disk.vhd --level {level} --rw read --size 64K"));
    }
    assert!(std::fs::read(lab.path("disk.vhd")).unwrap() == before);
    lab.job("disk.vhd --rw write --size 64K --destroy");
    // Blocks of zeros are no data.
    lab.job("disk.raw --rw randwrite --size 64K --raw");
}

#[test]
fn requests_may_stride_and_be_counted() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    let job = lab.job("disk.vhd --rw write --bs 4K --iodepth 4 --io-size 400K --step 68K --fsync 10");
    assert_eq!(job["write"]["total_ios"], 100);
    let data = lab.command("disk read disk.vhd").output().unwrap().stdout;
    let written = data
        .chunks(4096)
        .enumerate()
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0));
    let written: Vec<_> = written.map(|(index, _)| index).collect();
    let mut wanted: Vec<_> = (0..100).map(|index| index * 17 % (data.len() / 4096)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!(written, wanted);
}

#[test]
fn wrong_use_is_refused_in_a_line() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    for (words, reason) in [
        ("disk.vhd --level ide --iodepth 2", "--iodepth"),
        ("disk.vhd --level ide --jobs 2", "--jobs"),
        ("disk.vhd --level virtio --direct", "--direct"),
        ("disk.vhd --level virtio --fsync 3", "--fsync"),
        ("disk.vhd --level virtio --pio", "--pio"),
        ("disk.vhd --poll", "--poll"),
        ("disk.vhd --bs 1000", "512"),
        ("disk.vhd --bs 0", "512"),
        ("disk.vhd --level virtio --bs 2M", "1M"),
        ("disk.vhd --bs 8M", "too few"),
        ("disk.vhd --size 8M", "--size"),
        ("disk.vhd --size 4K --bs 4K --jobs 2", "too few"),
        ("disk.vhd --size 8K --iodepth 3 --verify --rw write", "--verify"),
        ("disk.vhd --step 5K", "--step"),
        ("disk.vhd --step 8K --verify", "--verify"),
        ("disk.vhd --iodepth 256 --jobs 2", "256"),
        ("disk.vhd --runtime -1", "-1"),
        ("disk.vhd --runtime 0", "no time"),
        ("disk.vhd --runtime 1 --io-size 1M", "--io-size"),
        ("disk.vhd --rw erase", "erase"),
        ("disk.vhd --plot chart.gif", "FILE.svg or FILE.png"),
        ("gone.vhd", "gone.vhd"),
        (".", "a folder"),
    ] {
        lab.refused(&format!("bench disk {words}"), reason);
    }
    lab.refused("bench --compare gone.json gone.json", "gone.json");
    lab.refused("bench --plot a.svg", "--compare");
}

#[test]
fn results_are_compared_and_drawn() {
    let lab = Lab::new();
    lab.disk("disk.vhd");
    for (name, words) in [
        (
            "a",
            "--level layer --iodepth 4 --rw randread --runtime 0.25 --plot a.svg",
        ),
        (
            "b",
            "--level virtio --iodepth 4 --rw randread --runtime 0.25 --plot b.png",
        ),
    ] {
        let text = lab.ok(&format!("bench disk disk.vhd {words} --json"));
        std::fs::write(lab.path(&format!("{name}.json")), text).unwrap();
    }
    let text = lab.ok("bench --compare a.json b.json --plot both.svg");
    assert!(
        text.contains("read IOPS") && text.contains("99.9 %, us") && text.contains("B / A"),
        "{text}"
    );
    let rows: Value =
        serde_json::from_str(&lab.ok("bench --compare a.json b.json --json --plot both.png")).unwrap();
    let read =
        |name: &str| -> Value { serde_json::from_slice(&std::fs::read(lab.path(name)).unwrap()).unwrap() };
    let iops = |report: &Value| number(&report["jobs"][0]["read"]["iops"]);
    let wanted = iops(&read("b.json")) / iops(&read("a.json"));
    assert!((number(&rows[0]["ratio"]) / wanted - 1.0).abs() < 1e-6);
    for name in ["a.svg", "both.svg"] {
        let text = std::fs::read_to_string(lab.path(name)).unwrap();
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut lines = 0;
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Empty(element) if element.name().as_ref() == b"polyline" => {
                    lines += 1;
                }
                _ => {}
            }
        }
        assert!(
            lines > 2 && text.contains("Latency") && text.contains("Requests a second"),
            "{name}"
        );
    }
    for name in ["b.png", "both.png"] {
        let decoder = png::Decoder::new(std::io::BufReader::new(
            std::fs::File::open(lab.path(name)).unwrap(),
        ));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1000, 720));
        // Lines and letters on white.
        let dark = pixels
            .chunks(3)
            .filter(|pixel| pixel.iter().all(|part| *part < 64))
            .count();
        let colored = pixels
            .chunks(3)
            .filter(|pixel| pixel[0].abs_diff(pixel[2]) > 100)
            .count();
        assert!(
            dark > 300 && colored > 300 && pixels.chunks(3).filter(|p| **p == [255; 3]).count() > 100_000,
            "{name}"
        );
    }
}

#[test]
fn a_machine_is_measured() {
    let lab = Lab::new();
    let text = lab.ok("bench machine --count 50 --rounds 2 --without-seabios --json --plot machine.svg");
    let report: Value = serde_json::from_str(&text).unwrap();
    let jobs = report["jobs"].as_array().unwrap();
    let counts: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                job["jobname"].as_str().unwrap(),
                job["read"]["clat_ns"]["N"].as_u64().unwrap(),
            )
        })
        .collect();
    let kinds = [
        "nothing",
        "port-write",
        "port-read",
        "memory-read",
        "memory-write",
        "cpuid",
        "self-interrupt",
        "timer-running",
        "timer-halted",
    ];
    let wanted: Vec<_> = kinds
        .map(|kind| (kind, 50))
        .into_iter()
        .chain([("start-direct", 2)])
        .collect();
    assert_eq!(counts, wanted);
    // An exit takes longer than none.
    let median = |index: usize| number(&jobs[index]["read"]["clat_ns"]["percentile"]["50.000000"]);
    assert!(median(0) < median(1));
    let memory = number(&jobs[0]["vpc"]["memory_beside_guest_bytes"]);
    assert!((1e5..1e8).contains(&memory), "{memory}");
    assert!(lab.path("machine.svg").exists());
}

#[test]
fn the_guest_can_be_had_as_a_file() {
    let lab = Lab::new();
    lab.ok("bench guest --out guest.elf");
    let bytes = std::fs::read(lab.path("guest.elf")).unwrap();
    assert!(bytes.starts_with(b"\x7fELF"));
    lab.refused("bench guest --out guest.elf", "never overwritten");
    // It says what is wrong, and switches off.
    let text = lab.ok(
        "run --kernel guest.elf --cmdline mode=disk --memory 32M --dvd none --fda none --debug-console stdio",
    );
    assert_eq!(text, "vpcbench failed there is no virtio disk\n");
    let text = lab.ok("run --kernel guest.elf --memory 32M --dvd none --fda none --debug-console stdio");
    assert_eq!(text, "vpcbench hello\n");
}

/// Waits until a process has a thread of this name.
fn wait_for_thread(child: &Child, name: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    let folder = format!("/proc/{}/task", child.id());
    let has = || {
        let tasks = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.into_iter().any(|found| found.trim() == name)
    };
    while !has() {
        assert!(Instant::now() < end, "no thread {name}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_ends_it_and_leaves_the_image_whole() {
    for (level, thread) in [("layer", "signals"), ("ide", "vcpu0"), ("virtio", "vcpu0")] {
        let lab = Lab::new();
        lab.disk("disk.vhd");
        let mut command = lab.command(&format!(
            "bench disk disk.vhd --level {level} --rw randwrite --runtime 1000"
        ));
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_thread(&child, thread);
        let killed = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let done = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(130), "{level}: {error}");
        assert!(
            error.contains("stopped by signal 2") && done.stdout.is_empty(),
            "{level}: {error}"
        );
        lab.ok("disk check disk.vhd");
    }
}
