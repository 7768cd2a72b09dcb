// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root of the PCI bus: configuration mechanism 1 (PCI 2.1, 3.7.4.1), and the decoders that software may move.
//!
//! [`ConfigPorts`] answers at CF8h–CFFh. [`PciRoot::ports`] and [`PciRoot::memory`] hang behind the fall-backs of the two buses and
//! pass a cycle to the function that claims its address at present; nobody else's is left for them.

use super::{Function, Space};
use crate::bus::{SharedDevice, lock};
use std::sync::{Arc, Mutex};

/// A function on the bus.
pub type SharedFunction = Arc<Mutex<dyn Function>>;

/// Where CF9h, in the middle of CONFADD's bytes, is the reset control register of the PIIX.
const RESET_CONTROL: u64 = 1;
const CONFIG_ADDRESS: u64 = 0;
const CONFIG_DATA: u64 = 4;
const ENABLE: u32 = 1 << 31;

struct Route {
    first: u64,
    last: u64,
    base: u64,
    function: SharedFunction,
}

#[derive(Default)]
struct Routes {
    ports: Vec<Route>,
    memory: Vec<Route>,
}

impl Routes {
    fn of(&self, space: Space) -> &[Route] {
        match space {
            Space::Io => &self.ports,
            Space::Memory => &self.memory,
        }
    }
}

/// Bus 0 and what is on it. Functions are added before it is used.
pub struct PciRoot {
    functions: Vec<(u8, SharedFunction)>,
    routes: Mutex<Routes>,
    address: Mutex<u32>,
}

impl PciRoot {
    /// A bus with `functions` at (device, function).
    pub fn new(functions: Vec<((u8, u8), SharedFunction)>) -> Arc<Self> {
        let functions = functions
            .into_iter()
            .map(|((device, number), f)| (device << 3 | number & 7, f))
            .collect();
        let root = Self {
            functions,
            routes: Mutex::default(),
            address: Mutex::new(0),
        };
        root.rebuild_routes();
        Arc::new(root)
    }

    /// Forgets the address that software latched, and looks at all functions anew: for after they have been reset.
    pub fn reset(&self) {
        *lock(&self.address) = 0;
        self.rebuild_routes();
    }

    /// The port cycles that no fixed decoder claims, with absolute addresses.
    pub fn ports(self: &Arc<Self>) -> Arc<dyn SharedDevice> {
        Arc::new(Decoder {
            root: self.clone(),
            space: Space::Io,
        })
    }

    /// The memory cycles that no fixed decoder claims, with absolute addresses.
    pub fn memory(self: &Arc<Self>) -> Arc<dyn SharedDevice> {
        Arc::new(Decoder {
            root: self.clone(),
            space: Space::Memory,
        })
    }

    /// The ports CF8h–CFFh. Byte cycles at CF9h go to `reset_control`.
    pub fn config_ports(self: &Arc<Self>, reset_control: Arc<dyn SharedDevice>) -> ConfigPorts {
        ConfigPorts {
            root: self.clone(),
            reset_control,
        }
    }

    fn function(&self, device_function: u8) -> Option<&SharedFunction> {
        self.functions
            .iter()
            .find(|(at, _)| *at == device_function)
            .map(|(_, f)| f)
    }

    /// The function and the register that the latched address selects for a cycle at CFCh + `lane`.
    fn selected(&self, lane: usize) -> Option<(&SharedFunction, usize)> {
        let address = *lock(&self.address);
        let bus = address >> 16 & 0xff;
        if address & ENABLE == 0 || bus != 0 {
            return None;
        }
        let function = self.function((address >> 8) as u8)?;
        Some((function, (address & 0xfc) as usize + lane))
    }

    /// Software reads configuration space (tests and firmware-less boot use it too).
    pub fn config_read(&self, device: u8, function: u8, offset: usize, data: &mut [u8]) {
        match self.function(device << 3 | function & 7) {
            Some(function) => lock(function).config().read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Software writes configuration space.
    pub fn config_write(&self, device: u8, function: u8, offset: usize, data: &[u8]) {
        if let Some(function) = self.function(device << 3 | function & 7) {
            self.write_function(function, offset, data);
        }
    }

    fn write_function(&self, function: &SharedFunction, offset: usize, data: &[u8]) {
        {
            let mut function = lock(function);
            function.config_mut().write(offset, data);
            function.config_written(offset, data.len());
        }
        self.rebuild_routes();
    }

    fn rebuild_routes(&self) {
        // Held throughout: two processors that write at once leave the later one's routes.
        let mut routes = lock(&self.routes);
        *routes = Routes::default();
        for (_, function) in &self.functions {
            for claim in lock(function).claims() {
                let Some(last) = claim
                    .len
                    .checked_sub(1)
                    .and_then(|n| claim.address.checked_add(n))
                else {
                    continue;
                };
                let route = Route {
                    first: claim.address,
                    last,
                    base: claim.base,
                    function: function.clone(),
                };
                match claim.space {
                    Space::Io => routes.ports.push(route),
                    Space::Memory => routes.memory.push(route),
                }
            }
        }
    }

    /// Who claims all of a cycle, and the offset in its terms. Where two claim it, the first on the bus wins.
    fn route(&self, space: Space, address: u64, len: usize) -> Option<(SharedFunction, u64)> {
        let end = address.checked_add(len.max(1) as u64 - 1)?;
        let routes = lock(&self.routes);
        let route = routes
            .of(space)
            .iter()
            .find(|r| r.first <= address && end <= r.last)?;
        Some((route.function.clone(), route.base + (address - route.first)))
    }
}

struct Decoder {
    root: Arc<PciRoot>,
    space: Space,
}

impl SharedDevice for Decoder {
    fn read(&self, address: u64, data: &mut [u8]) {
        match self.root.route(self.space, address, data.len()) {
            Some((function, offset)) => lock(&function).read(offset, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, address: u64, data: &[u8]) {
        if let Some((function, offset)) = self.root.route(self.space, address, data.len()) {
            lock(&function).write(offset, data);
        }
    }
}

/// The ports of configuration mechanism 1.
pub struct ConfigPorts {
    root: Arc<PciRoot>,
    reset_control: Arc<dyn SharedDevice>,
}

impl SharedDevice for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match (offset, data.len()) {
            (CONFIG_ADDRESS, 4) => data.copy_from_slice(&lock(&self.root.address).to_le_bytes()),
            (RESET_CONTROL, 1) => self.reset_control.read(0, data),
            (CONFIG_DATA..8, len) if offset + len as u64 <= 8 => {
                match self.root.selected((offset - CONFIG_DATA) as usize) {
                    Some((function, register)) => lock(function).config().read(register, data),
                    None => data.fill(0xff),
                }
            }
            // Narrow cycles to CONFADD are ordinary port cycles, which nobody claims.
            _ => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (CONFIG_ADDRESS, &[a, b, c, d]) => {
                *lock(&self.root.address) = u32::from_le_bytes([a, b, c, d]) & 0x80ff_fffc;
            }
            (RESET_CONTROL, &[_]) => self.reset_control.write(0, data),
            (CONFIG_DATA..8, _) if offset + data.len() as u64 <= 8 => {
                if let Some((function, register)) = self.root.selected((offset - CONFIG_DATA) as usize) {
                    self.root.write_function(function, register, data);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{ConfigSpace, Identity};
    use super::*;
    use crate::bus::Device;

    /// A function with one port range that answers its own offsets.
    struct Probe(ConfigSpace);

    impl Probe {
        fn shared(device: u16) -> SharedFunction {
            let mut config = ConfigSpace::new(Identity {
                vendor: 0x8086,
                device,
                ..Identity::default()
            });
            config.add_bar(0, Space::Io, 16);
            Arc::new(Mutex::new(Self(config)))
        }
    }

    impl Device for Probe {
        fn read_byte(&mut self, offset: u64) -> u8 {
            offset as u8
        }
    }

    impl Function for Probe {
        fn config(&self) -> &ConfigSpace {
            &self.0
        }
        fn config_mut(&mut self) -> &mut ConfigSpace {
            &mut self.0
        }
    }

    /// CF9h, which counts what it sees.
    #[derive(Default)]
    struct Counter(Vec<u8>);

    impl Device for Counter {
        fn read_byte(&mut self, _: u64) -> u8 {
            0x42
        }
        fn write_byte(&mut self, _: u64, value: u8) {
            self.0.push(value);
        }
    }

    fn machine() -> (Arc<PciRoot>, ConfigPorts, Arc<Mutex<Counter>>) {
        let root = PciRoot::new(vec![
            ((0, 0), Probe::shared(0x1237)),
            ((1, 1), Probe::shared(0x7111)),
        ]);
        let reset = Arc::new(Mutex::new(Counter::default()));
        let ports = root.config_ports(reset.clone());
        (root, ports, reset)
    }

    fn read32(ports: &ConfigPorts, address: u32) -> u32 {
        ports.write(0, &address.to_le_bytes());
        let mut data = [0; 4];
        ports.read(4, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn identities_by_mechanism_1() {
        let (_, ports, _) = machine();
        assert_eq!(read32(&ports, 0x8000_0000), 0x1237_8086);
        assert_eq!(read32(&ports, 0x8000_0900), 0x7111_8086);
        assert_eq!(read32(&ports, 0x8000_0800), u32::MAX, "no function 0 there");
        assert_eq!(read32(&ports, 0x8001_0000), u32::MAX, "no such bus");
        assert_eq!(read32(&ports, 0), u32::MAX, "not enabled");
    }

    #[test]
    fn narrow_data_cycles_use_their_lane() {
        let (_, ports, _) = machine();
        ports.write(0, &0x8000_0000u32.to_le_bytes());
        let mut data = [0; 2];
        ports.read(6, &mut data);
        assert_eq!(data, [0x37, 0x12]);
        ports.read(7, &mut data);
        assert_eq!(data, [0xff; 2], "across the end of CONFDATA");
    }

    #[test]
    fn the_address_latches_only_whole_and_cf9_is_the_reset_register() {
        let (_, ports, reset) = machine();
        ports.write(0, &0x8000_0003u32.to_le_bytes());
        ports.write(0, &[0]);
        ports.write(1, &[6]);
        ports.write(2, &[1, 1]);
        let mut data = [0; 4];
        ports.read(0, &mut data);
        assert_eq!(data, 0x8000_0000u32.to_le_bytes());
        ports.read(1, &mut data[..1]);
        assert_eq!(data[0], 0x42);
        assert_eq!(lock(&reset).0, [6]);
    }

    #[test]
    fn ranges_move_with_their_base_addresses() {
        let (root, ports, _) = machine();
        let decoder = root.ports();
        let read = |at| {
            let mut data = [0; 2];
            decoder.read(at, &mut data);
            data
        };
        assert_eq!(read(0xc000), [0xff; 2]);
        ports.write(0, &0x8000_0910u32.to_le_bytes());
        ports.write(4, &0xc000u32.to_le_bytes());
        ports.write(0, &0x8000_0904u32.to_le_bytes());
        ports.write(4, &[1, 0]);
        assert_eq!(read(0xc004), [4, 5]);
        assert_eq!(read(0xc00f), [0xff; 2], "across the end");
        ports.write(4, &[0, 0]);
        assert_eq!(read(0xc004), [0xff; 2]);
    }
}
