// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The instruction emulator against KVM: the same instruction on the same state, once by KVM, which lets us answer its bus cycles, and
//! once by ours. Registers, memory and the cycles themselves must be the same.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use virtualpc::hypervisor::emulator::{Outcome, Outside, emulate};
use virtualpc::hypervisor::{
    self, CpuidProfile, Exit, FlatEntry, IoHandler, Irqchip, Kick, Registers, Vcpu, Vm,
};
use virtualpc::memory::{Layout, MIB, Memory};
use vm_memory::{Bytes, GuestAddress};

/// Where no memory is mapped.
const DEVICE: std::ops::Range<u64> = 0xa_0000..0xb_0000;
/// Memory that instructions use.
const DATA: u64 = 0x2_0000;
const DATA_LEN: usize = 0x2000;
const CODE: u64 = 0x1000;
/// Ports at which a program stands still: before the instruction in question, and after it.
const BEFORE: u16 = 0xf4;
const AFTER: u16 = 0xf5;

/// A cycle on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cycle {
    Load(u64, Vec<u8>),
    Store(u64, Vec<u8>),
    In(u16, usize, Vec<u8>),
    Out(u16, usize, Vec<u8>),
}

/// Devices that answer each load with what depends on the address alone, and each port read with a count.
#[derive(Default)]
struct Devices {
    cycles: Vec<Cycle>,
    ports: u8,
}

impl Devices {
    fn load(&mut self, address: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(address..) {
            *byte = (at as u8).wrapping_mul(73).wrapping_add((at >> 8) as u8 ^ 0x85);
        }
        self.cycles.push(Cycle::Load(address, data.to_vec()));
    }

    fn store(&mut self, address: u64, data: &[u8]) {
        self.cycles.push(Cycle::Store(address, data.to_vec()));
    }

    /// String instructions may come in runs of any length.
    fn input(&mut self, port: u16, width: usize, data: &mut [u8]) {
        for byte in data.iter_mut() {
            self.ports = self.ports.wrapping_add(1);
            *byte = self.ports;
        }
        if let Some(Cycle::In(p, w, all)) = self.cycles.last_mut()
            && (*p, *w) == (port, width)
        {
            return all.extend_from_slice(data);
        }
        self.cycles.push(Cycle::In(port, width, data.to_vec()));
    }

    fn output(&mut self, port: u16, width: usize, data: &[u8]) {
        if let Some(Cycle::Out(p, w, all)) = self.cycles.last_mut()
            && (*p, *w) == (port, width)
        {
            return all.extend_from_slice(data);
        }
        self.cycles.push(Cycle::Out(port, width, data.to_vec()));
    }
}

/// KVM's side.
struct Board {
    devices: Mutex<Devices>,
    kick: Mutex<Option<Box<dyn Kick>>>,
    stopped: Mutex<Option<u16>>,
}

impl IoHandler for Board {
    fn port_read(&self, port: u16, width: usize, data: &mut [u8]) {
        self.devices.lock().unwrap().input(port, width, data);
    }

    fn port_write(&self, port: u16, width: usize, data: &[u8]) {
        if port == BEFORE || port == AFTER {
            *self.stopped.lock().unwrap() = Some(port);
            self.kick.lock().unwrap().as_ref().unwrap().kick();
        } else {
            self.devices.lock().unwrap().output(port, width, data);
        }
    }

    fn memory_read(&self, address: u64, data: &mut [u8]) {
        self.devices.lock().unwrap().load(address, data);
    }

    fn memory_write(&self, address: u64, data: &[u8]) {
        self.devices.lock().unwrap().store(address, data);
    }

    fn interrupt_pending(&self) -> bool {
        false
    }

    fn acknowledge_interrupt(&self) -> u8 {
        0
    }

    fn end_of_interrupt(&self, _vector: u8) {}

    fn peek(&self, _address: u64, _data: &mut [u8]) -> bool {
        false
    }
}

/// Ours.
struct Ours {
    devices: Devices,
    ram: Vec<u8>,
}

impl Ours {
    fn ram(&mut self, address: u64, len: usize) -> &mut [u8] {
        let at = (address - DATA) as usize;
        &mut self.ram[at..at + len]
    }
}

impl Outside for Ours {
    fn translate(&mut self, linear: u64, _write: bool) -> Option<u64> {
        Some(linear)
    }

    fn read(&mut self, physical: u64, data: &mut [u8]) {
        if DEVICE.contains(&physical) {
            self.devices.load(physical, data);
        } else {
            data.copy_from_slice(self.ram(physical, data.len()));
        }
    }

    fn write(&mut self, physical: u64, data: &[u8]) {
        if DEVICE.contains(&physical) {
            self.devices.store(physical, data);
        } else {
            self.ram(physical, data.len()).copy_from_slice(data);
        }
    }

    fn port_read(&mut self, port: u16, width: usize, data: &mut [u8]) {
        self.devices.input(port, width, data);
    }

    fn port_write(&mut self, port: u16, width: usize, data: &[u8]) {
        self.devices.output(port, width, data);
    }
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Bench {
    vcpu: Box<dyn Vcpu>,
    board: Arc<Board>,
    memory: Memory,
    _vm: Arc<dyn Vm>,
}

impl Bench {
    fn new() -> Self {
        let hypervisor = hypervisor::open().expect("this test needs /dev/kvm");
        let profile = CpuidProfile {
            cpus: 1,
            without: vec![],
        };
        let vm = hypervisor.create_vm(Irqchip::Split, &profile).unwrap();
        let memory = Memory::new(vm.clone(), Layout::new(MIB).unwrap(), None).unwrap();
        let mut vcpu = vm.create_vcpu(0).unwrap();
        let kick = vcpu.attach().unwrap();
        let board = Arc::new(Board {
            devices: Mutex::default(),
            kick: Mutex::new(Some(kick)),
            stopped: Mutex::default(),
        });
        Self {
            vcpu,
            board,
            memory,
            _vm: vm,
        }
    }

    /// Runs to a port at which the program stands still.
    fn run_to(&mut self, port: u16) -> Registers {
        loop {
            match self.vcpu.run(&*self.board).unwrap() {
                Exit::Kicked => {
                    if self.board.stopped.lock().unwrap().take() == Some(port) {
                        return self.vcpu.registers().unwrap();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Runs one instruction both ways on registers (EAX, ECX, EDX, EBX, ESI, EDI) and flags.
    fn compare(&mut self, code: &[u8], registers: [u32; 6], flags: u32, flags_defined: u64, ram: &[u8]) {
        let mut program = Vec::new();
        for (opcode, value) in [0xb8, 0xb9, 0xba, 0xbb, 0xbe, 0xbf].into_iter().zip(registers) {
            program.push(opcode);
            program.extend(value.to_le_bytes());
        }
        program.extend([0xbc, 0, 0x80, 0, 0, 0x68]); // mov esp, 8000h; push flags
        program.extend(flags.to_le_bytes());
        program.extend([0x9d, 0xe6, BEFORE as u8]); // popfd; out
        program.extend(code);
        program.extend([0xe6, AFTER as u8, 0xf4]);
        self.memory
            .ram()
            .write_slice(&program, GuestAddress(CODE))
            .unwrap();
        self.memory.ram().write_slice(ram, GuestAddress(DATA)).unwrap();
        *self.board.devices.lock().unwrap() = Devices::default();
        self.vcpu.reset().unwrap();
        let entry = FlatEntry {
            ip: CODE as u32,
            bx: 0,
            si: 0,
        };
        self.vcpu.enter(entry).unwrap();
        let mut ours = self.run_to(BEFORE);
        let theirs = self.run_to(AFTER);
        let mut outside = Ours {
            devices: Devices::default(),
            ram: ram.to_vec(),
        };
        let what = || format!("{code:02x?} on {registers:x?}, flags {flags:x}");
        let start = ours.rip;
        // A long string comes back to the processor in between.
        loop {
            assert_eq!(
                emulate(&mut ours, code, &mut outside),
                Outcome::Done,
                "{}",
                what()
            );
            if ours.rip != start {
                break;
            }
        }
        const OUT_LEN: u64 = 2;
        assert_eq!(ours.general, theirs.general, "registers after {}", what());
        assert_eq!(ours.rip, theirs.rip - OUT_LEN, "{}", what());
        assert_eq!(
            ours.rflags & flags_defined,
            theirs.rflags & flags_defined,
            "flags after {}",
            what()
        );
        let cycles = &self.board.devices.lock().unwrap().cycles;
        assert_eq!(&outside.devices.cycles, cycles, "cycles of {}", what());
        let mut after = vec![0; DATA_LEN];
        self.memory
            .ram()
            .read_slice(&mut after, GuestAddress(DATA))
            .unwrap();
        assert!(outside.ram == after, "memory after {}", what());
    }
}

const STATUS: u64 = 0x8d5;
const ADJUST: u64 = 0x10;
const CARRY: u64 = 1;
const DIRECTION: u32 = 0x400;

/// What an instruction is tried with.
#[derive(Clone, Copy)]
enum Shape {
    /// `[ebx]` is a device; ECX is anything.
    Device,
    /// `[ebx]` is in the middle of a device; ECX is a bit's number nearby.
    Bits,
    /// A string instruction: ESI and EDI point to memory or to a device, ECX is small.
    String,
    /// A port string instruction, within memory.
    PortString,
}

fn try_all(cases: &[Vec<u8>], shape: Shape, flags_defined: u64, rounds: usize) {
    let mut bench = Bench::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for code in cases {
        for _ in 0..rounds {
            let ram: Vec<u8> = (0..DATA_LEN).map(|_| dice.roll() as u8).collect();
            let mut values: [u32; 6] = std::array::from_fn(|_| dice.roll() as u32);
            let mut flags = dice.roll() as u32 & STATUS as u32 | 2;
            let device = DEVICE.start as u32 + 0x800 + dice.roll() as u32 % 64;
            let memory = DATA as u32 + 0x800 + dice.roll() as u32 % 64;
            values[3] = device;
            match shape {
                Shape::Device => {
                    // Sometimes the accumulator is what the device holds.
                    if dice.roll() & 1 == 0 {
                        let mut data = [0; 4];
                        Devices::default().load(u64::from(device), &mut data);
                        values[0] = u32::from_le_bytes(data);
                    }
                }
                Shape::Bits => values[1] = (dice.roll() as u32 % 1024).wrapping_sub(512),
                Shape::String => {
                    values[1] = dice.roll() as u32 % 20;
                    (values[4], values[5]) = match dice.roll() % 3 {
                        0 => (memory, device),
                        1 => (device, memory),
                        _ => (device, device + 0x100),
                    };
                    flags |= dice.roll() as u32 & DIRECTION;
                }
                Shape::PortString => {
                    values[1] = dice.roll() as u32 % 600;
                    values[2] = 0x1f0;
                    (values[4], values[5]) = (memory, memory + 0x20);
                    flags |= dice.roll() as u32 & DIRECTION;
                    if flags & DIRECTION != 0 {
                        values[1] %= 200;
                    }
                }
            }
            bench.compare(code, values, flags, flags_defined, &ram);
        }
    }
}

fn cases<const N: usize>(list: [&[u8]; N]) -> Vec<Vec<u8>> {
    list.map(<[u8]>::to_vec).to_vec()
}

#[test]
fn moves() {
    let list = cases([
        &[0x88, 0x03],
        &[0x66, 0x89, 0x03],
        &[0x89, 0x03],
        &[0x8a, 0x03],
        &[0x8a, 0x23],
        &[0x88, 0x23],
        &[0x66, 0x8b, 0x03],
        &[0x8b, 0x03],
        &[0xc6, 0x03, 0x5a],
        &[0x66, 0xc7, 0x03, 0x34, 0x12],
        &[0xc7, 0x03, 0x78, 0x56, 0x34, 0x92],
        &[0xa0, 0x10, 0x01, 0x0a, 0x00],
        &[0xa1, 0x10, 0x01, 0x0a, 0x00],
        &[0xa2, 0x10, 0x01, 0x0a, 0x00],
        &[0xa3, 0x10, 0x01, 0x0a, 0x00],
        &[0x0f, 0xb6, 0x0b],
        &[0x66, 0x0f, 0xb6, 0x0b],
        &[0x0f, 0xb7, 0x0b],
        &[0x0f, 0xbe, 0x0b],
        &[0x66, 0x0f, 0xbe, 0x0b],
        &[0x0f, 0xbf, 0x0b],
        &[0x86, 0x03],
        &[0x87, 0x03],
        &[0x66, 0x87, 0x0b],
    ]);
    try_all(&list, Shape::Device, STATUS, 10);
}

#[test]
fn arithmetic() {
    let mut sums = Vec::new();
    let mut logic = Vec::new();
    for operation in 0..8u8 {
        let list = if matches!(operation, 1 | 4 | 6) {
            &mut logic
        } else {
            &mut sums
        };
        for form in 0..4 {
            list.push(vec![operation << 3 | form, 0x03]);
            list.push(vec![0x66, operation << 3 | form, 0x0b]);
        }
        list.push(vec![0x80, 0x03 | operation << 3, 0x9c]);
        list.push(vec![0x83, 0x03 | operation << 3, 0x9c]);
        list.push(vec![0x66, 0x83, 0x03 | operation << 3, 0xfc]);
        list.push(vec![0x81, 0x03 | operation << 3, 0x34, 0x56, 0x78, 0x9a]);
    }
    sums.extend(cases([
        &[0xfe, 0x03],
        &[0xff, 0x03],
        &[0xfe, 0x0b],
        &[0xff, 0x0b],
        &[0xf6, 0x13],
        &[0xf7, 0x13],
        &[0xf6, 0x1b],
        &[0xf7, 0x1b],
        &[0xf0, 0xff, 0x03],
    ]));
    logic.extend(cases([
        &[0x84, 0x03],
        &[0x85, 0x03],
        &[0xf6, 0x03, 0x81],
        &[0xf7, 0x03, 0x01, 0x00, 0x00, 0x80],
    ]));
    try_all(&sums, Shape::Device, STATUS, 8);
    // The adjust flag is undefined after logic.
    try_all(&logic, Shape::Device, STATUS & !ADJUST, 8);
}

#[test]
fn bit_tests() {
    let list = cases([
        &[0x0f, 0xa3, 0x0b],
        &[0x0f, 0xab, 0x0b],
        &[0x0f, 0xb3, 0x0b],
        &[0x0f, 0xbb, 0x0b],
        &[0xf0, 0x0f, 0xab, 0x0b],
        &[0x0f, 0xba, 0x23, 0x1d],
        &[0x0f, 0xba, 0x2b, 0x3d],
        &[0x0f, 0xba, 0x33, 0x05],
        &[0x66, 0x0f, 0xba, 0x3b, 0x1d],
    ]);
    try_all(&list, Shape::Bits, CARRY, 20);
}

#[test]
fn strings() {
    let plain = [0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xa7, 0xae, 0xaf];
    let mut list = Vec::new();
    for opcode in plain {
        list.push(vec![opcode]);
        list.push(vec![0xf3, opcode]);
        list.push(vec![0x66, 0xf3, opcode]);
        list.push(vec![0xf2, opcode]);
    }
    // F2h with moves is not defined.
    list.retain(|code| code[0] != 0xf2 || code[1] & 0xf6 == 0xa6);
    try_all(&list, Shape::String, STATUS, 12);
}

#[test]
fn port_strings() {
    let mut list = Vec::new();
    for opcode in [0x6c, 0x6d, 0x6e, 0x6f] {
        list.push(vec![opcode]);
        list.push(vec![0xf3, opcode]);
        list.push(vec![0xf3, 0x66, opcode]);
    }
    try_all(&list, Shape::PortString, STATUS, 12);
}

#[test]
fn what_is_not_known_changes_nothing() {
    for code in [&[0x0f, 0x10, 0x03][..], &[0xff, 0x23], &[0x0f, 0x0b], &[0x0f]] {
        let mut registers = Registers {
            rip: 0x7c00,
            ..Registers::default()
        };
        let before = registers.clone();
        let mut outside = Ours {
            devices: Devices::default(),
            ram: vec![0; DATA_LEN],
        };
        assert_eq!(
            emulate(&mut registers, code, &mut outside),
            Outcome::Unknown,
            "{code:x?}"
        );
        assert_eq!((registers, outside.devices.cycles), (before, vec![]));
    }
}
