// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every chip is used at random, saved, restored into a fresh one, and used on: both must answer alike. And states that were tampered
//! with are either refused, or leave a chip that can be used without a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use devices::acpi_pm::PowerManagement;
use devices::block::Chs;
use devices::bus::{Device, lock};
use devices::clock::{Clock, Nanos, Timed};
use devices::dma8237::{ChannelNumber, Dma8237, DmaChannel};
use devices::fdc::media::{DriveType, Format};
use devices::fdc::{self, DriveId, Fdc};
use devices::fw_cfg::{FwCfg, FwCfgBuilder, key};
use devices::i8042::{I8042, Key, MouseButtons, Wiring};
use devices::ide::{Channel, Drive, HardDisk, Identity, PacketDrive, PiixIde};
use devices::ioapic::{InterruptSink, Ioapic, Message};
use devices::line::IrqLine;
use devices::mmc::{self, DvdDrive};
use devices::parallel::ParallelPort;
use devices::pci::Function;
use devices::pci::host_bridge::{HostBridge, ShadowControl};
use devices::pci::isa_bridge::IsaBridge;
use devices::pic::Pic;
use devices::pit::Pit;
use devices::rtc::{CmosSetup, Rtc};
use devices::snapshot::{Busy, Snapshot};
use devices::system_control::{FastControl, ResetControl, SpeakerPort};
use devices::testing::{TestClock, TestMedium, TestPower, TestRam, TestTimer, TestWire};
use devices::vga::Vga;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::{Arc, Mutex};

const RAM: usize = 1 << 17;
const DISK: usize = 256 * 512;
const DISC: usize = 64 * 2048;
const DISKETTE: usize = 1_474_560;

/// What surrounds a chip.
struct World {
    clock: Arc<TestClock>,
    timer: TestTimer,
    wires: [TestWire; 4],
    ram: Arc<TestRam>,
    disk: TestMedium,
    disc: TestMedium,
    diskette: TestMedium,
    /// What chips told their sinks.
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let pattern = |len: usize| {
            let mut data = vec![0; len];
            for (at, byte) in data.iter_mut().enumerate().take(0x1_0000) {
                *byte = (at / 512 * 31 + at) as u8;
            }
            data
        };
        Self::of(0, &pattern(RAM), [DISK, DISC, DISKETTE].map(pattern))
    }

    fn of(now: Nanos, ram: &[u8], [disk, disc, diskette]: [Vec<u8>; 3]) -> Self {
        let clock = TestClock::new();
        clock.set(now);
        let memory = TestRam::new(RAM);
        memory.put(0, ram);
        Self {
            clock,
            timer: TestTimer::new(),
            wires: std::array::from_fn(|_| TestWire::new()),
            disk: TestMedium::new(disk).with_info(|info| {
                info.geometry = Some(Chs {
                    cylinders: 4,
                    heads: 4,
                    sectors: 16,
                });
            }),
            disc: TestMedium::new(disc).with_info(|info| info.read_only = true),
            diskette: TestMedium::new(diskette),
            ram: memory,
            told: Arc::default(),
        }
    }

    /// The same, for a restored chip.
    fn like(other: &Self) -> Self {
        let media = [&other.disk, &other.disc, &other.diskette].map(TestMedium::data);
        Self::of(other.clock.now(), &other.ram.get(0, RAM), media)
    }

    fn line(&self, at: usize) -> IrqLine {
        self.wires[at].wire.driver()
    }

    fn timer(&self) -> Box<TestTimer> {
        Box::new(self.timer.clone())
    }

    fn told(&self) -> Arc<Mutex<Vec<String>>> {
        self.told.clone()
    }

    /// All that a guest or a host could see of it.
    fn look(&self) -> (Vec<(bool, usize)>, Vec<String>) {
        let wires = self.wires.iter().map(|wire| (wire.level(), wire.take_rises()));
        let told = std::mem::take(&mut *lock(&self.told));
        (wires.collect(), told)
    }
}

/// One access or whatever else happens to a chip.
type Op = (u8, u8, u32);

/// A chip in its world.
trait Bench: Sized {
    /// The timer stands as it stood. Others look once more than they would have.
    const TIMED: bool = false;

    fn build(world: &World) -> Self;
    /// Does something; the answer.
    fn act(&mut self, world: &World, op: Op) -> Vec<u8>;
    fn save(&mut self) -> Result<Value, Busy>;
    fn load(&mut self, state: Value) -> Result<(), String>;
    fn expire(&mut self) {}
}

fn run<B: Bench>(bench: &mut B, world: &World, ops: &[Op]) -> Vec<Vec<u8>> {
    let act = |op: &Op| {
        if op.0.is_multiple_of(8) {
            // From a microsecond to some seconds.
            world.clock.advance(u64::from(op.2) >> (op.1 % 20));
            if world.timer.deadline().is_some_and(|at| at <= world.clock.now()) {
                world.timer.fire();
                bench.expire();
            }
            return vec![];
        }
        bench.act(world, *op)
    };
    ops.iter().map(act).collect()
}

fn goes_on_alike<B: Bench>(before: &[Op], after: &[Op]) {
    let world = World::new();
    let mut first = B::build(&world);
    run(&mut first, &world, before);
    let saved = first.save().expect("media answer at once");
    world.look();

    let other = World::like(&world);
    let mut second = B::build(&other);
    let text = serde_json::to_string(&saved).unwrap();
    second.load(serde_json::from_str(&text).unwrap()).unwrap();
    for (at, (one, two)) in world.wires.iter().zip(&other.wires).enumerate() {
        assert_eq!(one.level(), two.level(), "wire {at}");
    }
    assert_eq!(
        second.save().unwrap(),
        saved,
        "what was restored is what was saved"
    );
    other.look();

    assert_eq!(run(&mut first, &world, after), run(&mut second, &other, after));
    assert_eq!(world.look(), other.look());
    if B::TIMED {
        assert_eq!(world.timer.deadline(), other.timer.deadline());
    }
    assert_eq!(world.ram.get(0, RAM), other.ram.get(0, RAM));
    assert_eq!(world.disk.data(), other.disk.data());
    assert_eq!(world.diskette.data(), other.diskette.data());
}

/// Changes one value of a state, which `at` chooses.
fn tamper(state: &mut Value, at: u64, with: u64) {
    match state {
        Value::Object(map) if !map.is_empty() => {
            let nth = at as usize % map.len();
            let inner = map.values_mut().nth(nth).unwrap();
            tamper(inner, at / 7 + 1, with);
        }
        Value::Array(list) if !list.is_empty() && !with.is_multiple_of(11) => {
            let nth = at as usize % list.len();
            tamper(&mut list[nth], at / 7 + 1, with);
        }
        Value::Array(list) => list.push(Value::from(with)),
        Value::Bool(bit) => *bit = !*bit,
        Value::Number(_) => {
            let choices = [
                0,
                1,
                7,
                255,
                256,
                65_535,
                65_536,
                u64::from(u32::MAX),
                1 << 40,
                u64::MAX,
            ];
            *state = Value::from(choices[with as usize % choices.len()]);
        }
        Value::String(text) if with.is_multiple_of(3) => text.truncate(text.len() / 4 * 2),
        Value::String(text) if with % 3 == 1 => text.push_str("00"),
        Value::String(text) => *text = text.replace('0', "f"),
        Value::Null => *state = Value::from(with % 300),
        Value::Object(_) => {}
    }
}

fn does_not_panic<B: Bench>(before: &[Op], changes: &[(u64, u64)], after: &[Op]) {
    let world = World::new();
    let mut bench = B::build(&world);
    run(&mut bench, &world, before);
    let mut state = bench.save().unwrap();
    for (at, with) in changes {
        tamper(&mut state, *at, *with);
    }
    let other = World::like(&world);
    let mut bench = B::build(&other);
    if bench.load(state).is_ok() {
        run(&mut bench, &other, after);
        let _ = bench.save();
    }
}

fn to_json<C: Snapshot>(chip: &mut C) -> Result<Value, Busy> {
    chip.snapshot().map(|state| serde_json::to_value(state).unwrap())
}

fn from_json<C: Snapshot>(chip: &mut C, state: Value) -> Result<(), String> {
    let state = serde_json::from_value(state).map_err(|error| error.to_string())?;
    chip.restore(state).map_err(|error| error.to_string())
}

/// A byte access to one of some offsets.
fn byte<D: Device>(device: &mut D, offsets: &[u64], op: Op) -> Vec<u8> {
    let offset = offsets[usize::from(op.1) % offsets.len()];
    if op.0 & 1 == 0 {
        vec![device.read_byte(offset)]
    } else {
        device.write_byte(offset, op.2 as u8);
        vec![]
    }
}

macro_rules! bench {
    ($chip:ty, $build:expr, $act:expr) => {
        bench!($chip, $build, $act, |_: &mut $chip| {}, true);
    };
    ($chip:ty, $build:expr, $act:expr, $expire:expr, $timed:expr) => {
        impl Bench for $chip {
            const TIMED: bool = $timed;

            fn build(world: &World) -> Self {
                let build: fn(&World) -> Self = $build;
                build(world)
            }

            fn act(&mut self, world: &World, op: Op) -> Vec<u8> {
                let act: fn(&mut Self, &World, Op) -> Vec<u8> = $act;
                act(self, world, op)
            }

            fn save(&mut self) -> Result<Value, Busy> {
                to_json(self)
            }

            fn load(&mut self, state: Value) -> Result<(), String> {
                from_json(self, state)
            }

            fn expire(&mut self) {
                let expire: fn(&mut Self) = $expire;
                expire(self);
            }
        }
    };
}

bench!(
    Pic,
    |world| Pic::new(world.line(0)),
    |pic, _, op| match op.0 % 4 {
        2 => {
            pic.set_irq(op.1 % 16, op.2 & 1 != 0);
            vec![]
        }
        3 if op.1 & 1 != 0 && pic.pending() => vec![pic.acknowledge()],
        // Initialisation words lead further than what is written at random.
        3 => {
            let base = u64::from(op.1 & 2);
            for (at, value) in [(0, 0x11), (1, 0x08), (1, 0x04), (1, op.2 as u8 & 0x12)] {
                pic.write_byte(base + at, value);
            }
            vec![]
        }
        _ => byte(pic, &[0, 1, 2, 3, 4, 5], (op.1 >> 7, op.1, op.2)),
    }
);
bench!(
    Pit,
    |world| Pit::new(world.clock.clone(), world.timer(), world.line(0)),
    |pit, _, op| byte(pit, &[0, 1, 2, 3, 0, 3], op),
    Timed::expire,
    true
);
bench!(
    Rtc,
    |world| {
        let setup = CmosSetup {
            base_memory: 640,
            ram_below_4g: 1 << 24,
            ram_above_4g: 0,
            floppies: Default::default(),
            disks: [None; 2],
            translations: Default::default(),
            mouse: true,
            boot_order: [None; 3],
            skip_floppy_signature: false,
            processors: 1,
        };
        Rtc::new(
            world.clock.clone(),
            world.timer(),
            world.line(0),
            1_000_000_000,
            &setup,
        )
    },
    |rtc, _, op| {
        rtc.write_byte(0, op.1 % 16);
        byte(rtc, &[1, 1, 2, 3], (op.0, (op.2 >> 8) as u8, op.2))
    },
    Timed::expire,
    true
);

struct Told(Arc<Mutex<Vec<String>>>);

impl InterruptSink for Told {
    fn deliver(&self, message: Message) {
        lock(&self.0).push(format!("{message:?}"));
    }
}

impl ShadowControl for Told {
    fn set(&self, segment: std::ops::Range<u64>, reads_ram: bool, writes_ram: bool) {
        lock(&self.0).push(format!("{segment:?} {reads_ram} {writes_ram}"));
    }
}

bench!(
    Ioapic,
    |world| Ioapic::new(Arc::new(Told(world.told()))),
    |ioapic, _, op| match op.0 % 4 {
        1 => {
            ioapic.set_irq(op.1 % 24, op.2 & 1 != 0);
            vec![]
        }
        2 => {
            ioapic.end_of_interrupt(op.2 as u8);
            vec![]
        }
        n => {
            ioapic.write(0, &[op.1 % 0x40]);
            let mut data = op.2.to_le_bytes();
            if n == 3 {
                // Unmasked, of a vector that is often the same.
                data[2] = 0;
                data[0] = 0x20 | data[0] & 3;
                ioapic.write(0x10, &data);
            } else {
                ioapic.read(0x10, &mut data);
            }
            data.to_vec()
        }
    }
);
bench!(
    I8042,
    |world| I8042::new(Wiring {
        keyboard_irq: world.line(0),
        mouse_irq: world.line(1),
        power: TestPower::new(),
        clock: world.clock.clone(),
        timer: world.timer(),
    }),
    |controller, _, op| {
        const COMMANDS: [u8; 12] = [
            0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xad, 0xae, 0xd0, 0xd1, 0xd3, 0xd4,
        ];
        match op.0 % 8 {
            1 => controller.write_byte(4, COMMANDS[usize::from(op.1) % COMMANDS.len()]),
            2 => {
                // To the mouse: wake it and set it up.
                controller.write_byte(4, 0xd4);
                controller.write_byte(0, [0xf4, 0xf3, 0xe8, 0xeb, op.2 as u8][usize::from(op.1) % 5]);
            }
            3 => controller.mouse(
                op.2 as i8 as i32,
                op.1 as i8 as i32,
                1,
                MouseButtons::from_bits_truncate(op.1),
            ),
            4 => {
                let _ = controller.key(Key::LeftAlt, op.1 & 1 != 0);
            }
            5 => {
                let _ = controller.scan_codes(&[op.1, op.2 as u8]);
            }
            n => return byte(controller, &[0, 4, 0], (n, op.1, op.2)),
        }
        vec![]
    },
    Timed::expire,
    false
);
bench!(Dma8237, |_| Dma8237::new(), |dma, _, op| byte(
    dma,
    &[0, 1, 4, 5, 8, 0xa, 0xb, 0xc, 0xf, 0x81, 0xc0, 0xd0, 0xd4, 0xd6],
    op
));
bench!(
    PowerManagement,
    |world| PowerManagement::new(
        world.clock.clone(),
        world.timer(),
        world.line(0),
        TestPower::new()
    ),
    |pm, _, op| match op.0 % 4 {
        3 if op.1 == 0 => {
            pm.press_power_button();
            vec![]
        }
        n => {
            // ACPI, SMBus and APM.
            let base = [1u64 << 32, 1 << 32, 2 << 32, 7 << 32, 3 << 32][usize::from(op.1) % 5];
            byte(pm, &[base + u64::from(op.2 >> 8 & 0x3f)], (n, 0, op.2))
        }
    },
    Timed::expire,
    false
);
bench!(
    HostBridge,
    |world| HostBridge::new(Arc::new(Told(world.told()))),
    |bridge, _, op| {
        bridge.config_mut().write(usize::from(op.1), &[op.2 as u8]);
        bridge.config_written(usize::from(op.1), 1);
        vec![bridge.config().u8(usize::from(op.1))]
    }
);

/// The bridge with functions behind it.
struct Interrupts {
    bridge: IsaBridge,
    lines: [IrqLine; 4],
}

impl Bench for Interrupts {
    fn build(world: &World) -> Self {
        let isa = std::array::from_fn(|at| world.wires[at % 4].wire.clone());
        let bridge = IsaBridge::new(&isa);
        let lines = std::array::from_fn(|at| bridge.interrupt(at as u8, 1));
        Self { bridge, lines }
    }

    fn act(&mut self, _: &World, op: Op) -> Vec<u8> {
        if op.0 & 1 == 0 {
            self.lines[usize::from(op.1 % 4)].set(op.2 & 1 != 0);
        } else {
            let at = 0x60 + usize::from(op.1 % 4);
            self.bridge.config_mut().write(at, &[op.2 as u8 & 0x8f]);
            self.bridge.config_written(at, 1);
        }
        vec![]
    }

    fn save(&mut self) -> Result<Value, Busy> {
        let levels = self.lines.each_ref().map(IrqLine::level);
        Ok(serde_json::json!([to_json(&mut self.bridge)?, levels]))
    }

    fn load(&mut self, state: Value) -> Result<(), String> {
        let (bridge, levels): (Value, [bool; 4]) =
            serde_json::from_value(state).map_err(|error| error.to_string())?;
        from_json(&mut self.bridge, bridge)?;
        for (line, level) in self.lines.iter_mut().zip(levels) {
            line.restore(level);
        }
        Ok(())
    }
}

/// The three ports, with the timer that one of them gates.
struct Ports {
    pit: Arc<Mutex<Pit>>,
    speaker: SpeakerPort,
    fast: FastControl,
    reset: ResetControl,
}

impl Bench for Ports {
    fn build(world: &World) -> Self {
        let pit = Arc::new(Mutex::new(Pit::build(world)));
        Self {
            speaker: SpeakerPort::new(world.clock.clone(), pit.clone()),
            pit,
            fast: FastControl::new(TestPower::new()),
            reset: ResetControl::new(TestPower::new()),
        }
    }

    fn act(&mut self, _: &World, op: Op) -> Vec<u8> {
        match op.1 % 4 {
            0 => byte(&mut *lock(&self.pit), &[2, 3], (op.0, op.1 >> 2, op.2)),
            1 => byte(&mut self.fast, &[0], op),
            2 => byte(&mut self.reset, &[0], op),
            _ => byte(&mut self.speaker, &[0], op),
        }
    }

    fn save(&mut self) -> Result<Value, Busy> {
        Ok(serde_json::json!([
            to_json(&mut *lock(&self.pit))?,
            to_json(&mut self.speaker)?,
            to_json(&mut self.fast)?,
            to_json(&mut self.reset)?,
        ]))
    }

    fn load(&mut self, state: Value) -> Result<(), String> {
        let [pit, speaker, fast, reset]: [Value; 4] =
            serde_json::from_value(state).map_err(|error| error.to_string())?;
        from_json(&mut *lock(&self.pit), pit)?;
        from_json(&mut self.speaker, speaker)?;
        from_json(&mut self.fast, fast)?;
        from_json(&mut self.reset, reset)
    }
}

bench!(
    Vga,
    |world| Vga::new(world.ram.clone(), world.clock.clone()),
    |vga, _, op| {
        let window = 0xa_0000 + u64::from(op.2 >> 8 & 0xffff);
        let port = 0x3c0 + u64::from(op.2 >> 8 & 0x1f);
        match op.0 % 4 {
            // Memory answers when it is on.
            3 => vga.write_byte(0x3c2, 3),
            n if op.1 < 100 => return byte(vga, &[window], (n, 0, op.2)),
            n => return byte(vga, &[port], (n, 0, op.2)),
        }
        vec![]
    }
);
bench!(
    FwCfg,
    |world| {
        let mut builder = FwCfgBuilder::new();
        builder.add_item(key::CPUS, [2, 0]);
        builder.add_file("etc/file", vec![9; 5000]).unwrap();
        builder.build(world.ram.clone())
    },
    |device, _, op| {
        let mut data = [0; 4];
        match op.0 % 4 {
            1 => device.write(0, &[[0, 5, 0x19, 0x20, op.2 as u8][usize::from(op.1) % 5], 0]),
            2 => device.write(4, &op.2.to_be_bytes()),
            3 => device.write(8, &(op.2 & 0x1ffff).to_be_bytes()),
            _ => device.read(1, &mut data[..1]),
        }
        data.to_vec()
    }
);
bench!(
    ParallelPort,
    |world| {
        let told = world.told();
        ParallelPort::new(world.line(0), move |bytes| lock(&told).push(format!("{bytes:?}")))
    },
    |port, _, op| byte(port, &[0, 1, 2, 2], op)
);

/// Disk and DVD drive on one channel, behind their PCI function.
struct Ide {
    channel: Arc<Mutex<Channel>>,
    function: PiixIde,
    dvd: Arc<Mutex<DvdDrive>>,
}

impl Bench for Ide {
    fn build(world: &World) -> Self {
        let name = |model: &str| Identity {
            model: model.into(),
            firmware: "1".into(),
            serial: "S".into(),
        };
        let disk = HardDisk::new(Box::new(world.disk.clone()), name("disk"));
        let identity = mmc::Identity {
            vendor: "V".into(),
            product: "P".into(),
            revision: "1".into(),
            serial: "S".into(),
        };
        let dvd = Arc::new(Mutex::new(DvdDrive::new(
            identity,
            Some(Box::new(world.disc.clone())),
        )));
        let drives = [
            Drive::from(disk),
            Drive::from(PacketDrive::new(Box::new(dvd.clone()), name("DVD"))),
        ];
        let channel = |drives, line| Arc::new(Mutex::new(Channel::new(drives, world.ram.clone(), line)));
        let channel = channel(drives, world.line(0));
        let empty = Channel::new(
            [Drive::Empty, Drive::Empty],
            world.ram.clone(),
            IrqLine::detached(),
        );
        let mut function = PiixIde::new([channel.clone(), Arc::new(Mutex::new(empty))]);
        function.config_mut().write(0x40, &[0, 0x80]);
        function.config_mut().write(4, &[5, 0]);
        function.config_written(4, 2);
        function.config_written(0x40, 2);
        Self {
            channel,
            function,
            dvd,
        }
    }

    fn act(&mut self, world: &World, op: Op) -> Vec<u8> {
        let mut channel = lock(&self.channel);
        let [sector, count, choice, _] = op.2.to_le_bytes();
        let mut command = |device: u8, code: u8| {
            channel.write_byte(6, 0xe0 | device << 4);
            for (register, value) in [(2, count % 6 + 1), (3, sector), (4, 0), (5, 0)] {
                channel.write_byte(register, value);
            }
            channel.write_byte(7, code);
        };
        match op.0 % 8 {
            1 => command(
                0,
                [0x20, 0x30, 0xc4, 0xc5, 0xec, 0x40, 0xe7, 0xc8, 0xca][usize::from(choice) % 9],
            ),
            2 => {
                let features = u8::from(choice & 1 != 0);
                channel.write_byte(6, 0xb0);
                for (register, value) in [(1, features), (4, count), (5, 1)] {
                    channel.write_byte(register, value);
                }
                channel.write_byte(7, 0xa0);
                let mut packet = [0; 12];
                packet[0] =
                    [0x28, 0x12, 0x5a, 0x43, 0x03, 0x00, 0xbe, 0x1b, 0x55, 0x4a][usize::from(op.1) % 10];
                packet[5] = sector % 64;
                packet[8] = count % 8;
                packet[4] = choice;
                packet[9] = 0x10;
                channel.write_string(0, 2, &packet);
            }
            3 => {
                // A table of two regions, and the bus master told to go.
                for (at, word) in [0x8000u32, 600, 0x9000, 0x8000_4000].into_iter().enumerate() {
                    world.ram.put(0x2000 + 4 * at, &word.to_le_bytes());
                }
                drop(channel);
                for (register, value) in (4..).zip(0x2000u32.to_le_bytes()) {
                    self.function.write_byte(4 << 32 | register, value);
                }
                self.function
                    .write_byte(4 << 32, [0, 1, 8, 9, 9, 1][usize::from(op.1) % 6]);
            }
            4 => {
                let mut data = vec![0; usize::from(op.1) * 4];
                channel.read_string(0, 2, &mut data);
                return data;
            }
            5 => {
                let data: Vec<u8> = (0..usize::from(op.1) * 4).map(|at| at as u8 ^ choice).collect();
                channel.write_string(0, 2, &data);
            }
            6 => return (1..8).map(|register| channel.read_byte(register)).collect(),
            _ if op.1 < 40 => command(
                op.1 & 1,
                [0xef, 0x91, 0xc6, 0xe5, 0xb0, 0x08, 0x90][usize::from(choice) % 7],
            ),
            _ => {}
        }
        vec![]
    }

    fn save(&mut self) -> Result<Value, Busy> {
        Ok(serde_json::json!([
            to_json(&mut self.function)?,
            to_json(&mut *lock(&self.channel))?,
            to_json(&mut *lock(&self.dvd))?,
        ]))
    }

    fn load(&mut self, state: Value) -> Result<(), String> {
        let [function, channel, dvd]: [Value; 3] =
            serde_json::from_value(state).map_err(|error| error.to_string())?;
        from_json(&mut self.function, function)?;
        from_json(&mut *lock(&self.channel), channel)?;
        from_json(&mut *lock(&self.dvd), dvd)?;
        lock(&self.channel).service();
        Ok(())
    }
}

/// The floppy controller on its DMA channel.
struct Floppy {
    fdc: Fdc,
    dma: Arc<Mutex<Dma8237>>,
}

impl Bench for Floppy {
    const TIMED: bool = true;

    fn build(world: &World) -> Self {
        let dma = Arc::new(Mutex::new(Dma8237::new()));
        let wiring = fdc::Wiring {
            clock: world.clock.clone(),
            timer: world.timer(),
            dma: Box::new(DmaChannel::new(
                dma.clone(),
                world.ram.clone(),
                ChannelNumber::Dma2,
            )),
            irq: world.line(0),
        };
        let mut fdc = Fdc::new(wiring, [Some(DriveType::Inch3High), None]);
        let format = Format::detect(DISKETTE as u64, &[], None).unwrap();
        fdc.insert(DriveId::A, Box::new(world.diskette.clone()), format)
            .unwrap();
        Self { fdc, dma }
    }

    fn act(&mut self, _: &World, op: Op) -> Vec<u8> {
        let [a, b, c, _] = op.2.to_le_bytes();
        let (head, sector) = (a & 1, b % 18 + 1);
        let command: &[u8] = match op.1 % 12 {
            0 | 1 => &[0xe6, head << 2, 0, head, sector, 2, 18, 27, 0xff],
            2 => &[0xc5, head << 2, 0, head, sector, 2, 18, 27, 0xff],
            3 => &[0x0f, 0, a % 80],
            4 => &[0x07, 0],
            5 => &[0x08],
            6 => &[0x4d, head << 2, 2, 2, 27, c],
            7 => &[0x4a, head << 2],
            8 => &[0x03, 0xdf, 2 | c & 1],
            9 => &[0x51, head << 2, 0, head, sector, 2, 18, 27, 2],
            10 => &[0xc9, head << 2, 0, head, sector, 2, 18, 27, 0xff],
            _ => &[0x96, head << 2, 0, head, sector, 2, 18, 27, 1],
        };
        match op.0 % 8 {
            1 | 2 => {
                // As a driver does it, motor on and 500 kbit/s.
                self.fdc.write_byte(2, 0x1c);
                self.fdc.write_byte(7, 0);
                command.iter().for_each(|byte| self.fdc.write_byte(5, *byte));
            }
            3 => {
                let mut dma = lock(&self.dma);
                let mode = if a & 1 == 0 { 0x46 } else { 0x4a };
                for (port, value) in [
                    (0x0a, 6),
                    (0x0c, 0),
                    (0x0b, mode),
                    (0x04, 0),
                    (0x04, 0x40),
                    (0x81, 1),
                    (0x05, 0xff),
                    (0x05, b % 16),
                    (0xd6, 0xc0),
                    (0xd4, 0),
                    (0x0a, 2),
                ] {
                    dma.write_byte(port, value);
                }
                drop(dma);
                self.fdc.service();
            }
            4 => return (0..a).map(|_| self.fdc.read_byte(5)).collect(),
            5 => (0..a).for_each(|at| self.fdc.write_byte(5, at ^ b)),
            n => return byte(&mut self.fdc, &[0, 1, 2, 3, 4, 5, 7], (n, a, u32::from(b))),
        }
        vec![]
    }

    fn save(&mut self) -> Result<Value, Busy> {
        Ok(serde_json::json!([
            to_json(&mut *lock(&self.dma))?,
            to_json(&mut self.fdc)?
        ]))
    }

    fn load(&mut self, state: Value) -> Result<(), String> {
        let [dma, fdc]: [Value; 2] = serde_json::from_value(state).map_err(|error| error.to_string())?;
        from_json(&mut *lock(&self.dma), dma)?;
        from_json(&mut self.fdc, fdc)
    }

    fn expire(&mut self) {
        Timed::expire(&mut self.fdc);
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<Op>(), 0..80)
}

macro_rules! both {
    ($($name:ident: $bench:ty,)*) => {
        mod alike {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(96))]
                $(#[test]
                fn $name(before in ops(), after in ops()) {
                    goes_on_alike::<$bench>(&before, &after);
                })*
            }
        }

        mod tampered {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(96))]
                $(#[test]
                fn $name(
                    before in ops(),
                    changes in prop::collection::vec(any::<(u64, u64)>(), 1..4),
                    after in ops(),
                ) {
                    does_not_panic::<$bench>(&before, &changes, &after);
                })*
            }
        }
    };
}

both! {
    pic: Pic,
    pit: Pit,
    rtc: Rtc,
    ioapic: Ioapic,
    i8042: I8042,
    dma8237: Dma8237,
    power_management: PowerManagement,
    host_bridge: HostBridge,
    isa_bridge: Interrupts,
    system_control: Ports,
    vga: Vga,
    fw_cfg: FwCfg,
    parallel: ParallelPort,
    ide: Ide,
    floppy: Floppy,
}

#[test]
fn a_disk_that_is_at_work_is_busy() {
    let world = World::new();
    let mut ide = Ide::build(&world);
    world.disk.hold();
    ide.act(&world, (1, 0, 0));
    assert_eq!(ide.save(), Err(Busy));
    world.disk.release();
    assert!(ide.save().is_ok());
}
