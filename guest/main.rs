// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The benchmark guest: a kernel for PVH's direct boot that measures disks and exits from the inside, without an operating system. Its
//! command line says what to do (`mode=disk` with the words of [`job`], `mode=machine`, `mode=hello`), and what it found comes out of the
//! firmware's debug port, under vpc and under QEMU alike. `build.rs` compiles it; `src/bench.rs` carries it.
#![no_std]
#![no_main]

mod console;
mod cpu;
mod disk;
mod exits;
mod ide;
mod pci;
mod platform;
mod virtio;

// Part of the program, too, which uses more of them.
#[allow(dead_code)]
mod histogram;
#[allow(dead_code)]
mod job;
#[allow(dead_code)]
mod pattern;
#[allow(dead_code)]
mod sequence;

use disk::{Disk, Failure};
use job::{Device, Job};
use platform::{Clock, StartInfo};

core::arch::global_asm!(include_str!("entry.s"));

/// Where `entry.s` goes, with what the loader handed over.
#[unsafe(no_mangle)]
extern "C" fn main(start_info: u32) -> ! {
    // SAFETY: the loader's structure.
    let info = unsafe { StartInfo::new(start_info) };
    let line = info.command_line();
    let words = || {
        line.split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
    };
    let mode = words()
        .find(|(key, _)| *key == "mode")
        .map_or("hello", |(_, value)| value);
    if mode == "hello" {
        say!("hello");
    } else {
        platform::set_up_interrupts();
        cpu::open_interrupts();
        let mut clock = Clock::new();
        if mode == "machine" {
            let count = words()
                .find(|(key, _)| *key == "count")
                .and_then(|(_, value)| value.parse().ok());
            exits::measure(&clock, count.unwrap_or(10_000));
            say!("done");
        } else {
            match measure_disk(line, &info, &mut clock) {
                Ok(()) => say!("done"),
                Err(Failure::Device(what)) => say!("failed {what}"),
                Err(Failure::Request(code)) => {
                    say!("failed the device answered a request with error {code:#x}")
                }
                Err(Failure::Memory) => {
                    say!("failed the machine has too little memory for the requests' buffers")
                }
                Err(Failure::Small) => say!("failed the disk is too small"),
                Err(Failure::Content(sector, wrong)) => say!("failed verify: sector {sector} {wrong}"),
            }
        }
    }
    if words().any(|(key, value)| key == "end" && value == "halt") {
        loop {
            cpu::wait(cpu::interrupts());
        }
    }
    platform::power_off()
}

fn measure_disk(line: &str, info: &StartInfo, clock: &mut Clock) -> Result<(), Failure> {
    let job = Job::parse(line).map_err(|_| Failure::Device("a word of the command line has no meaning"))?;
    let memory = info.memory();
    if memory.len() <= virtio::MEMORY {
        return Err(Failure::Memory);
    }
    let (own, buffers) = (
        memory.part(0, virtio::MEMORY),
        virtio::MEMORY.next_multiple_of(0x1_0000),
    );
    if memory.len() <= buffers {
        return Err(Failure::Memory);
    }
    let buffers = memory.part(buffers, memory.len() - buffers);
    match job.device {
        Device::Virtio => run(&job, &mut virtio::Virtio::new(job.jobs, &own)?, &buffers, clock),
        device => run(&job, &mut ide::Ide::new(device, job.poll, &own)?, &buffers, clock),
    }
}

fn run(job: &Job, disk: &mut dyn Disk, buffers: &cpu::Area, clock: &mut Clock) -> Result<(), Failure> {
    disk::run(job, disk, buffers, clock)
}

/// Where `entry.s` goes when the processor finds a fault.
#[unsafe(no_mangle)]
extern "C" fn fault(vector: u64, error: u64, instruction: u64, address: u64) -> ! {
    say!("failed exception {vector} error {error:#x} at {instruction:#x} address {address:#x}");
    platform::power_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("failed {}", info.message());
    platform::power_off()
}
