// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::bus::Device;
use crate::pci::config::{ConfigSpace, Identity, reg};
use proptest::prelude::*;

/// A function with a port and a memory base address that remembers its cycles.
struct Probe {
    config: ConfigSpace,
    cycles: Vec<(u64, Vec<u8>)>,
    config_writes: Vec<(usize, usize)>,
}

impl Probe {
    fn new(device: u16) -> Arc<Mutex<Self>> {
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1af4,
            device,
            ..Identity::default()
        });
        config.add_bar(0, Space::Io, 16);
        config.add_bar(1, Space::Memory, 4096);
        Arc::new(Mutex::new(Self {
            config,
            cycles: Vec::new(),
            config_writes: Vec::new(),
        }))
    }
}

impl Device for Probe {
    fn read_byte(&mut self, offset: u64) -> u8 {
        offset as u8
    }
    fn write(&mut self, offset: u64, data: &[u8]) {
        self.cycles.push((offset, data.to_vec()));
    }
}

impl Function for Probe {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }
    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }
    fn config_written(&mut self, offset: usize, len: usize) {
        self.config_writes.push((offset, len));
    }
}

/// The device behind port CF9h.
#[derive(Default)]
struct ResetControl(u8);

impl Device for ResetControl {
    fn read_byte(&mut self, offset: u64) -> u8 {
        self.0 | offset as u8
    }
    fn write_byte(&mut self, offset: u64, value: u8) {
        self.0 = value | offset as u8;
    }
}

struct Bench {
    root: Arc<PciRoot>,
    ports: Arc<ConfigPorts>,
    a: Arc<Mutex<Probe>>,
    b: Arc<Mutex<Probe>>,
    reset_control: Arc<Mutex<ResetControl>>,
}

/// Two functions: A at 3.0, B at 3.1.
fn bench() -> Bench {
    let (a, b) = (Probe::new(0xa), Probe::new(0xb));
    let reset_control = Arc::new(Mutex::new(ResetControl::default()));
    let root = PciRoot::new(vec![((3, 1), b.clone()), ((3, 0), a.clone())]);
    Bench {
        ports: Arc::new(root.config_ports(reset_control.clone())),
        root,
        a,
        b,
        reset_control,
    }
}

fn confadd(device: u32, function: u32, register: u32) -> u32 {
    0x8000_0000 | device << 11 | function << 8 | register
}

impl Bench {
    fn select(&self, device: u32, function: u32, register: u32) {
        self.ports
            .write(0, &confadd(device, function, register).to_le_bytes());
    }

    fn read32(&self, device: u32, function: u32, register: u32) -> u32 {
        self.select(device, function, register);
        let mut data = [0; 4];
        self.ports.read(4, &mut data);
        u32::from_le_bytes(data)
    }

    fn write32(&self, device: u32, function: u32, register: u32, value: u32) {
        self.select(device, function, register);
        self.ports.write(4, &value.to_le_bytes());
    }
}

#[test]
fn functions_are_found_and_absent_ones_read_as_ones() {
    let bench = bench();
    assert_eq!(bench.read32(3, 0, 0), 0x000a_1af4);
    assert_eq!(bench.read32(3, 1, 0), 0x000b_1af4);
    assert_eq!(bench.read32(3, 2, 0), u32::MAX);
    assert_eq!(bench.read32(0, 0, 0), u32::MAX);
    // Bus 1 is not there.
    bench.ports.write(0, &(confadd(3, 0, 0) | 1 << 16).to_le_bytes());
    let mut data = [0; 4];
    bench.ports.read(4, &mut data);
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn a_slot_holds_one_function() {
    let root = PciRoot::new(vec![((31, 7), Probe::new(1)), ((31, 7), Probe::new(2))]);
    let mut data = [0; 2];
    root.config_read(31, 7, 2, &mut data);
    assert_eq!(data, [1, 0]);
}

#[test]
fn only_a_double_word_latches_the_address() {
    let bench = bench();
    bench.ports.write(0, &0xffff_ffffu32.to_le_bytes());
    assert_eq!(bench.root.config_address(), 0x80ff_fffc);
    bench.ports.write(0, &[1]);
    bench.ports.write(0, &[1, 2]);
    bench.ports.write(2, &[1, 2]);
    bench.ports.write(3, &[0]);
    assert_eq!(bench.root.config_address(), 0x80ff_fffc);
    let mut data = [0; 2];
    bench.ports.read(0, &mut data);
    assert_eq!(data, [0xff; 2]);
    bench.root.reset();
    assert_eq!(bench.root.config_address(), 0);
}

#[test]
fn without_the_enable_bit_there_is_no_configuration_cycle() {
    let bench = bench();
    bench
        .ports
        .write(0, &(confadd(3, 0, 0) & !spec::ENABLE).to_le_bytes());
    let mut data = [0; 4];
    bench.ports.read(4, &mut data);
    assert_eq!(data, [0xff; 4]);
    bench.ports.write(4, &[0; 4]);
    assert!(lock(&bench.a).config_writes.is_empty());
}

#[test]
fn a_byte_cycle_to_cf9_is_the_reset_control_register() {
    let bench = bench();
    bench.select(3, 0, 0x3c);
    bench.ports.write(1, &[0x06]);
    assert_eq!(lock(&bench.reset_control).0, 0x06);
    let mut data = [0];
    bench.ports.read(1, &mut data);
    assert_eq!(data, [0x06]);
    assert_eq!(bench.root.config_address(), confadd(3, 0, 0x3c));
}

#[test]
fn bytes_and_words_of_the_data_register() {
    let bench = bench();
    bench.select(3, 0, 0);
    let mut word = [0; 2];
    bench.ports.read(6, &mut word);
    assert_eq!(u16::from_le_bytes(word), 0xa);
    bench.select(3, 0, 0x3c);
    bench.ports.write(4, &[11]);
    assert_eq!(bench.read32(3, 0, 0x3c), 11);
    assert_eq!(lock(&bench.a).config_writes, [(0x3c, 1)]);
    // Across the end of CONFADD: nothing at CFBh, then the first byte of the data register.
    bench.ports.write(3, &[0x55, 12]);
    assert_eq!(bench.read32(3, 0, 0x3c), 12);
    bench.ports.read(3, &mut word);
    assert_eq!(word, [0xff, 12]);
}

#[test]
fn base_addresses_move() {
    let bench = bench();
    let (ports, memory) = (bench.root.ports(), bench.root.memory());
    let mut data = [0; 2];
    bench.write32(3, 0, 0x10, 0xc000);
    ports.read(0xc004, &mut data);
    assert_eq!(data, [0xff; 2], "ports are not enabled yet");
    bench.write32(3, 0, 0x04, 1);
    ports.read(0xc004, &mut data);
    assert_eq!(data, [4, 5]);
    ports.write(0xc00f, &[7]);
    assert_eq!(lock(&bench.a).cycles, [(0x0f, vec![7])]);
    bench.write32(3, 0, 0x10, 0xd000);
    ports.read(0xc004, &mut data);
    assert_eq!(data, [0xff; 2]);
    ports.read(0xd00e, &mut data);
    assert_eq!(data, [14, 15]);

    bench.write32(3, 1, 0x14, 0xfebf_f000);
    bench.write32(3, 1, 0x04, 2);
    memory.write(0xfebf_f010, &[1, 2, 3, 4]);
    assert_eq!(lock(&bench.b).cycles, [(1 << 32 | 0x10, vec![1, 2, 3, 4])]);
    // Ports and memory are two spaces.
    ports.read(0xf010, &mut data);
    assert_eq!(data, [0xff; 2]);
}

#[test]
fn a_cycle_across_the_edge_of_a_claim_is_split_into_bytes() {
    let bench = bench();
    let ports = bench.root.ports();
    bench.write32(3, 0, 0x10, 0xc000);
    bench.write32(3, 0, 0x04, 1);
    bench.write32(3, 1, 0x10, 0xc010);
    bench.write32(3, 1, 0x04, 1);
    let mut data = [0; 4];
    ports.read(0xc00e, &mut data);
    assert_eq!(data, [14, 15, 0, 1]);
    ports.read(0xbffe, &mut data);
    assert_eq!(data, [0xff, 0xff, 0, 1]);
    ports.write(0xc01f, &[1, 2]);
    assert_eq!(lock(&bench.b).cycles, [(15, vec![1])]);
}

#[test]
fn of_overlapping_claims_the_lower_slot_wins() {
    let bench = bench();
    let ports = bench.root.ports();
    for function in [1, 0] {
        bench.write32(3, function, 0x10, 0xc000);
        bench.write32(3, function, 0x04, 1);
    }
    ports.write(0xc000, &[1]);
    assert_eq!(lock(&bench.a).cycles.len(), 1);
    assert!(lock(&bench.b).cycles.is_empty());
}

#[test]
fn strings_reach_the_function_in_one_call() {
    let bench = bench();
    let ports = bench.root.ports();
    bench.write32(3, 0, 0x10, 0xc000);
    bench.write32(3, 0, 0x04, 1);
    ports.write_string(0xc000, 2, &[1, 2, 3, 4]);
    assert_eq!(lock(&bench.a).cycles, [(0, vec![1, 2]), (0, vec![3, 4])]);
    let mut data = [0; 4];
    ports.read_string(0xc00f, 2, &mut data);
    assert_eq!(data, [15, 0xff, 15, 0xff]);
}

#[test]
fn a_reset_function_gives_up_its_ranges() {
    let bench = bench();
    bench.write32(3, 0, 0x10, 0xc000);
    bench.write32(3, 0, 0x04, 1);
    lock(&bench.a).config.set_u16(reg::COMMAND, 0);
    bench.root.reset();
    let mut data = [0];
    bench.root.ports().read(0xc000, &mut data);
    assert_eq!(data, [0xff]);
}

#[test]
fn a_base_address_at_the_top_of_the_space() {
    let bench = bench();
    bench.write32(3, 0, 0x14, 0xffff_f000);
    bench.write32(3, 0, 0x04, 2);
    let memory = bench.root.memory();
    let mut data = [0; 8];
    memory.read(0xffff_fffc, &mut data);
    assert_eq!(data, [0xfc, 0xfd, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
    memory.read(u64::MAX - 2, &mut data);
    assert_eq!(data, [0xff; 8]);
}

proptest! {
    /// No sequence of cycles panics, and the views never lose their way.
    #[test]
    fn any_cycles(cycles in prop::collection::vec((0u8..6, any::<u64>(), any::<u64>(), 0usize..4), 1..64)) {
        let bench = bench();
        let views: [Arc<dyn SharedDevice>; 3] = [bench.ports.clone(), bench.root.ports(), bench.root.memory()];
        for (what, address, value, width) in cycles {
            let view = &views[usize::from(what % 3)];
            let address = match what % 3 {
                0 => address % 8,
                1 => address & 0xffff,
                _ => address,
            };
            let len = 1 << width;
            if what < 3 {
                view.write(address, &value.to_le_bytes()[..len]);
                view.write_string(address, len, &[0x5a; 16]);
            } else {
                view.read(address, &mut [0; 8][..len]);
                view.read_string(address, len, &mut [0; 16]);
            }
        }
    }
}
