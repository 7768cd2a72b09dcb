// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What all virtio devices have in common, whatever bus they stand on: status, features and queues (VIRTIO 1.2, chapter 2).

use super::{Broken, Ram};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueState, QueueT};

/// Bits of the device status (2.1).
pub mod status {
    /// The driver knows how to drive the device.
    pub const DRIVER_OK: u8 = 4;
    /// The driver has chosen its features.
    pub const FEATURES_OK: u8 = 8;
    /// The device cannot go on before it is reset.
    pub const NEEDS_RESET: u8 = 0x40;
}

/// Feature bits that are no device's own (chapter 6).
pub mod feature {
    /// Any layout of descriptors: of meaning to legacy drivers only.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// A descriptor may stand for a table of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say at which index they want to be told.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The device is used by a modern driver.
    pub const VERSION_1: u64 = 1 << 32;
}

/// Descriptors in a queue, at most and unless the driver wants fewer.
pub const QUEUE_SIZE: u16 = 256;

/// What makes a device the kind that it is.
pub trait Kind: Send {
    /// The feature bits that it offers, beside those of all.
    fn features(&self) -> u64;
    /// How many queues it has.
    fn queues(&self) -> u16;
    /// Reads its configuration; behind its end are zeros.
    fn read_config(&self, offset: u64, data: &mut [u8]);
    /// Writes its configuration, where it may be written.
    fn write_config(&mut self, offset: u64, data: &[u8]);
    /// The driver is ready, and has chosen these of all features.
    fn start(&mut self, features: u64);
    /// Forgets the driver. Until the device has [settled](Kind::settled), requests of a modern driver may still move data.
    fn reset(&mut self);
    /// Forgets the requests of a driver that broke the rules: they will never be handed back.
    fn reset_requests(&mut self);
    /// After a reset: whether nothing that was under way touches memory any more.
    fn settled(&mut self) -> bool;
    /// Takes the requests that a queue holds.
    fn serve(&mut self, index: u16, queue: &mut Queue, ram: &Ram) -> Result<(), Broken>;
    /// Hands back what is done. The queues whose driver wants to hear of it are bits of the result.
    fn settle(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<u64, Broken>;
}

/// Why the driver is to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interrupts {
    /// Queues with used buffers, a bit each.
    pub queues: u64,
    /// The configuration or the status changed.
    pub config: bool,
}

/// A part of a queue in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table.
    Descriptors,
    /// What the driver offers: the available ring.
    Driver,
    /// What the device returns: the used ring.
    Device,
}

struct State {
    status: u8,
    /// Counts changes of the configuration that the driver did not make.
    generation: u8,
    /// The status before the reset that is not over yet; 0 if none is under way.
    left: u8,
    driver_features: u64,
    queues: Vec<Queue>,
}

impl State {
    fn new(left: u8, queue_count: u16) -> Self {
        Self {
            status: 0,
            generation: 0,
            left,
            driver_features: 0,
            // The size is a power of two in range, which is all that can be wrong.
            queues: (0..queue_count)
                .filter_map(|_| Queue::new(QUEUE_SIZE).ok())
                .collect(),
        }
    }
}

/// A device between its driver and its bus.
pub struct Transport<K> {
    // Dependencies.
    ram: Ram,
    kind: K,
    // Volatile state.
    state: State,
}

/// What a saved machine keeps of a device and its queues.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTransport<S> {
    kind: S,
    status: u8,
    driver_features: u64,
    queues: Vec<SavedQueue>,
    generation: u8,
}

/// A queue. Descriptors and rings are in memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedQueue {
    next_avail: u16,
    next_used: u16,
    event_idx: bool,
    size: u16,
    ready: bool,
    descriptors: u64,
    available: u64,
    used: u64,
}

impl<K: Kind + Snapshot> Transport<K> {
    /// The state.
    pub fn save(&mut self) -> Result<SavedTransport<K::State>, Busy> {
        let runs = self.runs();
        // A reset that is not over yet is over when the medium lets go; what a broken device was asked for nobody waits for.
        if !runs && !self.kind.settled() {
            return Err(Busy);
        }
        let Self { ram: _, kind, state } = self;
        if !runs && state.status & status::DRIVER_OK != 0 {
            kind.reset_requests();
        }
        let State {
            status,
            left: _,
            driver_features,
            queues,
            generation,
        } = state;
        let save = |queue: &Queue| {
            let state = queue.state();
            SavedQueue {
                next_avail: state.next_avail,
                next_used: state.next_used,
                event_idx: state.event_idx_enabled,
                size: state.size,
                ready: state.ready,
                descriptors: state.desc_table,
                available: state.avail_ring,
                used: state.used_ring,
            }
        };
        Ok(SavedTransport {
            kind: kind.snapshot()?,
            status: *status,
            driver_features: *driver_features,
            generation: *generation,
            queues: queues.iter().map(save).collect(),
        })
    }

    /// Takes over what [`save`](Self::save) gave.
    pub fn restore(&mut self, saved: SavedTransport<K::State>) -> Result<(), BadState> {
        let SavedTransport {
            kind,
            status,
            driver_features,
            queues,
            generation,
        } = saved;
        must(
            queues.len() == self.state.queues.len(),
            "queues that the virtio device does not have",
        )?;
        let restore = |saved: &SavedQueue| {
            Queue::try_from(QueueState {
                max_size: QUEUE_SIZE,
                next_avail: saved.next_avail,
                next_used: saved.next_used,
                event_idx_enabled: saved.event_idx,
                size: saved.size,
                ready: saved.ready,
                desc_table: saved.descriptors,
                avail_ring: saved.available,
                used_ring: saved.used,
            })
        };
        let queues: Result<Vec<_>, _> = queues.iter().map(restore).collect();
        let queues = queues.map_err(|_| BadState("a queue that no driver can set up"))?;
        self.kind.restore(kind)?;
        self.state = State {
            status,
            left: 0,
            driver_features,
            queues,
            generation,
        };
        Ok(())
    }
}

impl<K: Kind> Transport<K> {
    /// A device as after reset.
    pub fn new(kind: K, ram: Ram) -> Self {
        let state = State::new(0, kind.queues());
        Self { ram, kind, state }
    }

    /// All that the device offers.
    pub fn features(&self) -> u64 {
        self.kind.features()
            | feature::ANY_LAYOUT
            | feature::INDIRECT_DESC
            | feature::EVENT_IDX
            | feature::VERSION_1
    }

    /// What the driver chose.
    pub fn driver_features(&self) -> u64 {
        self.state.driver_features
    }

    /// The driver chooses 32 of its features, from bit `32 * select` on. It may until it has said that it is done.
    pub fn choose_features(&mut self, select: u32, features: u32) {
        if self.state.status & status::FEATURES_OK == 0 && select < 2 {
            let shift = 32 * select;
            let kept = self.state.driver_features & !(0xffff_ffff << shift);
            self.state.driver_features = kept | u64::from(features) << shift;
        }
    }

    /// The device status. A reset shows what was before it until it is over.
    pub fn status(&mut self) -> u8 {
        if self.state.left != 0 && self.kind.settled() {
            self.state.left = 0;
        }
        self.state.status | self.state.left
    }

    /// The driver sets the status; 0 resets the device.
    pub fn set_status(&mut self, value: u8) -> Interrupts {
        if value == 0 {
            self.reset();
            return Interrupts::default();
        }
        let before = self.state.status;
        // Bits are only ever added, and the device's own is not the driver's to set.
        let mut after = before | value & !status::NEEDS_RESET;
        let unknown = self.state.driver_features & !self.features();
        if after & !before & status::FEATURES_OK != 0 && unknown != 0 {
            after &= !status::FEATURES_OK;
        }
        self.state.status = after;
        if after & !before & status::DRIVER_OK != 0 {
            self.start()
        } else {
            Interrupts::default()
        }
    }

    fn start(&mut self) -> Interrupts {
        // A legacy driver has no way to say that it is done, and cannot be refused.
        let features = self.state.driver_features & self.features();
        for queue in &mut self.state.queues {
            queue.set_event_idx(features & feature::EVENT_IDX != 0);
        }
        self.kind.start(features);
        // A driver may have filled its queues before.
        (0..self.kind.queues()).fold(Interrupts::default(), |sum, index| {
            let more = self.notify(index);
            Interrupts {
                queues: sum.queues | more.queues,
                config: sum.config | more.config,
            }
        })
    }

    /// Puts the device into reset state.
    pub fn reset(&mut self) {
        self.kind.reset();
        let left = if self.kind.settled() {
            0
        } else {
            self.state.status | self.state.left
        };
        self.state = State::new(left, self.kind.queues());
    }

    /// How many queues there are.
    pub fn queues(&self) -> u16 {
        self.kind.queues()
    }

    /// A queue, if there is one of that number.
    pub fn queue(&self, index: u16) -> Option<&Queue> {
        self.state.queues.get(usize::from(index))
    }

    /// A queue that the driver may still set up.
    pub fn queue_mut(&mut self, index: u16) -> Option<&mut Queue> {
        self.state
            .queues
            .get_mut(usize::from(index))
            .filter(|queue| !queue.ready())
    }

    /// A legacy driver takes a queue away; what it held is forgotten.
    pub fn release(&mut self, index: u16) {
        if let Some(queue) = self.state.queues.get_mut(usize::from(index)) {
            queue.reset();
        }
    }

    /// The driver says where a part of a queue lies; the halves that are `None` stay.
    pub fn place(&mut self, index: u16, area: Area, low: Option<u32>, high: Option<u32>) {
        if let Some(queue) = self.queue_mut(index) {
            match area {
                Area::Descriptors => queue.set_desc_table_address(low, high),
                Area::Driver => queue.set_avail_ring_address(low, high),
                Area::Device => queue.set_used_ring_address(low, high),
            }
        }
    }

    /// The driver has put something into a queue.
    pub fn notify(&mut self, index: u16) -> Interrupts {
        if !self.runs() {
            return Interrupts::default();
        }
        let Some(queue) = self.state.queues.get_mut(usize::from(index)) else {
            return Interrupts::default();
        };
        if !queue.ready() {
            return Interrupts::default();
        }
        let served = self.kind.serve(index, queue, &self.ram);
        self.settle(served)
    }

    /// Something may be done.
    pub fn service(&mut self) -> Interrupts {
        if self.runs() {
            self.settle(Ok(()))
        } else {
            Interrupts::default()
        }
    }

    fn runs(&self) -> bool {
        self.state.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    fn settle(&mut self, served: Result<(), Broken>) -> Interrupts {
        let settled = served.and_then(|()| self.kind.settle(&mut self.state.queues, &self.ram));
        match settled {
            Ok(queues) => Interrupts {
                queues,
                config: false,
            },
            Err(why) => {
                log::debug!("a virtio device needs a reset: {why}");
                self.state.status |= status::NEEDS_RESET;
                Interrupts {
                    queues: 0,
                    config: true,
                }
            }
        }
    }

    /// Changes the device's configuration from outside. A driver that is ready is to be told.
    pub fn configure(&mut self, change: impl FnOnce(&mut K)) -> Interrupts {
        change(&mut self.kind);
        self.state.generation = self.state.generation.wrapping_add(1);
        Interrupts {
            queues: 0,
            config: self.runs(),
        }
    }

    /// Changes between two reads of a configuration that is in pieces.
    pub fn generation(&self) -> u8 {
        self.state.generation
    }

    /// The device's configuration.
    pub fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.kind.read_config(offset, data);
    }

    /// The device's configuration.
    pub fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.kind.write_config(offset, data);
    }
}
