// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench machine`

use super::stop::{Goal, Stop};
use crate::bench::Watch;
use crate::bench::guest::{self, Setup};
use crate::bench::histogram::Histogram;
use crate::bench::plot;
use crate::bench::report::{JobReport, Report};
use crate::cli::{Error, exit};
use crate::firmware::image::{self, Kind};
use crate::{host, hypervisor};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Measures what a machine costs: to start, to leave the guest, to interrupt it, and in memory.
///
/// A guest without an operating system, which this program carries, times its own exits. Starts are timed from the start of a
/// process of this program to the guest's first byte. Nothing is measured that needs more than the hypervisor, but for the row of SeaBIOS,
/// which is left out where that is not installed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Times that each kind of exit is taken
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    count: u32,
    /// Times that a machine is started
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Start machines by direct boot only, not by SeaBIOS
    #[arg(long)]
    without_seabios: bool,
    /// Print JSON, in fio's fields
    #[arg(long)]
    json: bool,
    /// Draw the latencies: FILE.svg or FILE.png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// The guest's histograms, in the order in which they are shown, and what they are.
const ROWS: [(&str, &str); 9] = [
    ("nothing", "an empty measurement"),
    ("port-write", "OUT to port 80h, which this program answers"),
    (
        "port-read",
        "IN from the IDE's alternate status, which this program answers",
    ),
    (
        "memory-read",
        "a load from the VGA's planes, which this program answers",
    ),
    ("memory-write", "a store to them"),
    ("cpuid", "CPUID, which the hypervisor answers"),
    (
        "self-interrupt",
        "from sending this processor an interrupt to its handler",
    ),
    (
        "timer-running",
        "from the moment a timer is due to the handler, the guest running",
    ),
    (
        "timer-halted",
        "from the moment a timer is due to the instruction after HLT",
    ),
];

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        if let Some(path) = &self.plot {
            plot::check(path).map_err(|e| Error::wrong(&e))?;
        }
        let kernel = guest::file().map_err(|e| Error::wrong(&e))?;
        let hypervisor = hypervisor::open().map_err(Error::Unavailable)?;
        let stop = Stop::heed(Goal::Requests(u64::from(self.rounds) * 3), "machine".to_owned())?;
        let setup = Setup {
            command_line: format!("mode=machine count={}", self.count),
            buffers: 0,
            cpus: 1,
            irqchip: hypervisor.default_irqchip(),
            image: None,
        };
        let told = guest::run(setup, &*hypervisor, &stop);
        let measured = told.map_err(|e| Error::wrong(&e)).and_then(|told| {
            let mut rows: Vec<(String, &str, Histogram)> = Vec::new();
            for (name, what) in ROWS {
                rows.push((name.to_owned(), what, told.reader.histogram(name)));
            }
            let memory = self.starts(kernel.path(), &mut rows, &stop)?;
            Ok((rows, memory))
        });
        stop.end()?;
        let (rows, memory) = measured?;
        let report = Report::of_machine(
            rows.iter()
                .map(|(name, what, histogram)| (name.as_str(), *what, histogram)),
            memory,
        );
        if let Some(path) = &self.plot {
            plot::save(path, &[("", &report)]).map_err(|e| super::unwritable(path, &e))?;
        }
        if self.json {
            crate::cli::print_json(&report)?;
        } else {
            print(&report.jobs, memory);
        }
        Ok(exit::DONE)
    }

    /// Starts machines in processes of their own: adds rows, and gives the bytes of memory beside the guest's.
    fn starts(
        &self,
        kernel: &Path,
        rows: &mut Vec<(String, &str, Histogram)>,
        stop: &Stop,
    ) -> Result<Option<u64>, Error> {
        const RAM: u64 = 256 << 20;
        let direct = |line: &str| {
            let mut command = vpc()?;
            command
                .arg("--kernel")
                .arg(kernel)
                .args(["--cmdline", line, "--debug-console", "stdio"]);
            Ok::<_, Error>(command)
        };
        let (mut boots, mut firmware_boots) = (Histogram::new(), Histogram::new());
        let mut memory = Vec::new();
        let disk = boot_disk()?;
        let firmware = !self.without_seabios
            && image::load(Kind::System, None).is_ok()
            && image::load(Kind::Vga, None).is_ok();
        for round in 0..self.rounds {
            if stop.stopped() {
                break;
            }
            boots.add(Started::new(direct("mode=hello")?)?.took);
            stop.progress(Duration::ZERO, u64::from(round) * 3 + 1);
            // Half of the guest's memory is more than any other mapping has.
            let halted = Started::new(direct("mode=hello end=halt")?)?;
            memory.extend(host::memory_of(halted.child.id(), RAM / 2));
            drop(halted);
            if firmware {
                let mut command = vpc()?;
                command
                    .arg("--hda")
                    .arg(disk.path())
                    .args(["--boot", "c", "--serial", "stdio"]);
                firmware_boots.add(Started::new(command)?.took);
            }
            stop.progress(Duration::ZERO, u64::from(round) * 3 + 3);
        }
        rows.push((
            "start-direct".to_owned(),
            "from exec to the guest's first byte, by direct boot",
            boots,
        ));
        rows.push((
            "start-seabios".to_owned(),
            "from exec to the boot sector's first byte, by SeaBIOS",
            firmware_boots,
        ));
        memory.sort_unstable();
        Ok(memory.get(memory.len() / 2).copied())
    }
}

/// `vpc run`, with 256 MiB and no drives.
fn vpc() -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(|e| Error::host(&e))?;
    let mut command = Command::new(program);
    command.args([
        "run",
        "--memory",
        "256M",
        "--dvd",
        "none",
        "--fda",
        "none",
        "--no-reboot",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Ok(command)
}

/// A disk whose boot sector sends a byte to COM1 and halts.
fn boot_disk() -> Result<tempfile::NamedTempFile, Error> {
    // mov dx, 3F8h; mov al, 'B'; out dx, al; hlt; jmp to the hlt
    const CODE: [u8; 9] = [0xba, 0xf8, 0x03, 0xb0, b'B', 0xee, 0xf4, 0xeb, 0xfd];
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let file = tempfile::NamedTempFile::new().map_err(|e| Error::host(&e))?;
    std::fs::write(file.path(), sector)
        .and_then(|()| file.as_file().set_len(1 << 20))
        .map_err(|e| Error::host(&e))?;
    Ok(file)
}

/// A machine in a process of its own, whose guest has written something. It ends when this is dropped.
struct Started {
    child: Child,
    /// Nanoseconds to its first byte.
    took: u64,
}

impl Started {
    fn new(mut command: Command) -> Result<Self, Error> {
        let begin = Instant::now();
        let child = command.spawn().map_err(|e| Error::host(&e))?;
        let mut started = Self { child, took: 0 };
        let mut byte = [0];
        let read = started
            .child
            .stdout
            .as_mut()
            .map(|output| output.read_exact(&mut byte));
        started.took = begin.elapsed().as_nanos() as u64;
        match read {
            Some(Ok(())) => Ok(started),
            _ => Err(Error::Host(
                "a machine ended before its guest said anything: try `vpc host`".to_owned(),
            )),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // How it ends is not what is measured.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn print(jobs: &[JobReport], memory: Option<u64>) {
    println!(
        "{:16} {:>12} {:>12} {:>12} {:>12}",
        "", "median", "99 %", "least", "most"
    );
    for job in jobs {
        let latency = &job.read.clat_ns;
        let micros = |nanos: u64| match nanos {
            0..10_000_000 => format!("{:.2} us", nanos as f64 / 1e3),
            _ => format!("{:.1} ms", nanos as f64 / 1e6),
        };
        println!(
            "{:16} {:>12} {:>12} {:>12} {:>12}  {}",
            job.jobname,
            micros(latency.at(500_000).unwrap_or(0)),
            micros(latency.at(990_000).unwrap_or(0)),
            micros(latency.min),
            micros(latency.max),
            job.options.get("description").map_or("", String::as_str)
        );
    }
    if let Some(memory) = memory {
        println!(
            "memory beside the guest's: {:.1} MiB",
            memory as f64 / f64::from(1 << 20)
        );
    }
}
