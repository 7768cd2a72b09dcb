// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers of a virtio function: one decoder for modern drivers, one for legacy drivers.

use super::VirtioPci;
use crate::virtio::transport::{Area, Kind, QUEUE_SIZE};
use virtio_queue::QueueT;

/// Bytes of each window.
pub const WINDOW_LEN: u32 = 0x1000;
/// Bytes of the modern registers.
pub const MODERN_LEN: u32 = 4 * WINDOW_LEN;
/// Ports of the legacy registers.
pub const LEGACY_LEN: u32 = 0x80;
/// Bytes from one queue's doorbell to the next.
pub const NOTIFY_MULTIPLIER: u32 = 4;
/// What a modern device's queue says of its address in the legacy way: pages of 4 KiB.
const PAGE: u64 = 4096;

/// The parts of the modern registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Common,
    Isr,
    Device,
    Notify,
}

impl Window {
    pub const fn start(self) -> u32 {
        self as u32 * WINDOW_LEN
    }

    fn at(offset: u64) -> (Self, u64) {
        let window = match offset / u64::from(WINDOW_LEN) {
            0 => Self::Common,
            1 => Self::Isr,
            2 => Self::Device,
            _ => Self::Notify,
        };
        (window, offset % u64::from(WINDOW_LEN))
    }
}

/// Fields of the common configuration (4.1.4.3), by offset and width. Of the 64-bit fields each half is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modern {
    DeviceFeatureSelect,
    DeviceFeature,
    DriverFeatureSelect,
    DriverFeature,
    ConfigVector,
    NumQueues,
    DeviceStatus,
    ConfigGeneration,
    QueueSelect,
    QueueSize,
    QueueVector,
    QueueEnable,
    QueueNotifyOff,
    /// A queue's address: which part of it, and whether the upper half.
    Queue(Area, bool),
}

impl Modern {
    /// The field that begins at an offset, and its width.
    fn decode(offset: u64) -> Option<(Self, usize)> {
        Some(match offset {
            0 => (Self::DeviceFeatureSelect, 4),
            4 => (Self::DeviceFeature, 4),
            8 => (Self::DriverFeatureSelect, 4),
            12 => (Self::DriverFeature, 4),
            16 => (Self::ConfigVector, 2),
            18 => (Self::NumQueues, 2),
            20 => (Self::DeviceStatus, 1),
            21 => (Self::ConfigGeneration, 1),
            22 => (Self::QueueSelect, 2),
            24 => (Self::QueueSize, 2),
            26 => (Self::QueueVector, 2),
            28 => (Self::QueueEnable, 2),
            30 => (Self::QueueNotifyOff, 2),
            32 => (Self::Queue(Area::Descriptors, false), 4),
            36 => (Self::Queue(Area::Descriptors, true), 4),
            40 => (Self::Queue(Area::Driver, false), 4),
            44 => (Self::Queue(Area::Driver, true), 4),
            48 => (Self::Queue(Area::Device, false), 4),
            52 => (Self::Queue(Area::Device, true), 4),
            _ => return None,
        })
    }
}

/// Legacy registers (4.1.4.8); the device's configuration follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legacy {
    DeviceFeatures,
    DriverFeatures,
    QueueAddress,
    QueueSize,
    QueueSelect,
    QueueNotify,
    DeviceStatus,
    Isr,
    ConfigVector,
    QueueVector,
    /// The device's configuration, from this byte on.
    Device(u64),
}

impl Legacy {
    /// The vectors are there only while MSI-X is in use.
    fn decode(offset: u64, msix: bool) -> Option<(Self, usize)> {
        Some(match offset {
            0 => (Self::DeviceFeatures, 4),
            4 => (Self::DriverFeatures, 4),
            8 => (Self::QueueAddress, 4),
            12 => (Self::QueueSize, 2),
            14 => (Self::QueueSelect, 2),
            16 => (Self::QueueNotify, 2),
            18 => (Self::DeviceStatus, 1),
            19 => (Self::Isr, 1),
            20 if msix => (Self::ConfigVector, 2),
            22 if msix => (Self::QueueVector, 2),
            24.. if msix => (Self::Device(offset - 24), 8),
            20.. if !msix => (Self::Device(offset - 20), 8),
            _ => return None,
        })
    }
}

/// The value that a write of any width up to `width` bytes gives a field.
fn value(data: &[u8], width: usize) -> Option<u32> {
    if data.len() > width {
        return None;
    }
    let mut bytes = [0; 4];
    bytes.get_mut(..data.len())?.copy_from_slice(data);
    Some(u32::from_le_bytes(bytes))
}

fn give(data: &mut [u8], value: u32) {
    for (to, from) in data.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
}

impl<K: Kind> VirtioPci<K> {
    pub(super) fn read_modern(&mut self, offset: u64, data: &mut [u8]) {
        match Window::at(offset) {
            (Window::Common, at) => {
                // A 64-bit read of an address is two of its halves.
                if data.len() == 8 {
                    let (low, high) = data.split_at_mut(4);
                    self.read_modern(offset, low);
                    return self.read_modern(offset + 4, high);
                }
                if let Some((field, _)) = Modern::decode(at) {
                    give(data, self.modern(field));
                }
            }
            (Window::Isr, 0) => give(data, u32::from(self.take_isr())),
            (Window::Device, at) => self.transport.read_config(at, data),
            (Window::Isr | Window::Notify, _) => {}
        }
    }

    fn modern(&mut self, field: Modern) -> u32 {
        // Asking moves the end of a reset on.
        let status = self.transport.status();
        let select = self.state.queue_select;
        let queue = self.transport.queue(select);
        let half = |value: u64, select: u32| match select {
            0 => value as u32,
            1 => (value >> 32) as u32,
            _ => 0,
        };
        match field {
            Modern::DeviceFeatureSelect => self.state.device_feature_select,
            Modern::DeviceFeature => half(self.transport.features(), self.state.device_feature_select),
            Modern::DriverFeatureSelect => self.state.driver_feature_select,
            Modern::DriverFeature => half(self.transport.driver_features(), self.state.driver_feature_select),
            Modern::ConfigVector => u32::from(self.state.config_vector),
            Modern::NumQueues => u32::from(self.transport.queues()),
            Modern::DeviceStatus => u32::from(status),
            Modern::ConfigGeneration => u32::from(self.transport.generation()),
            Modern::QueueSelect => u32::from(select),
            Modern::QueueSize => queue.map_or(0, |q| u32::from(q.size())),
            Modern::QueueVector => {
                let vector = self.state.queue_vectors.get(usize::from(select));
                u32::from(vector.copied().unwrap_or(crate::virtio::msix::spec::NO_VECTOR))
            }
            Modern::QueueEnable => queue.map_or(0, |q| u32::from(q.ready())),
            Modern::QueueNotifyOff => queue.map_or(0, |_| u32::from(select)),
            Modern::Queue(area, upper) => queue.map_or(0, |q| {
                let address = match area {
                    Area::Descriptors => q.desc_table(),
                    Area::Driver => q.avail_ring(),
                    Area::Device => q.used_ring(),
                };
                half(address, u32::from(upper))
            }),
        }
    }

    pub(super) fn write_modern(&mut self, offset: u64, data: &[u8]) {
        match Window::at(offset) {
            (Window::Common, at) => {
                if let [a, b, c, d, e, f, g, h] = *data {
                    self.write_modern(offset, &[a, b, c, d]);
                    return self.write_modern(offset + 4, &[e, f, g, h]);
                }
                if let Some((field, width)) = Modern::decode(at)
                    && let Some(value) = value(data, width)
                {
                    self.set_modern(field, value);
                }
            }
            // Which doorbell it is says which queue; the value written is the same number.
            (Window::Notify, at) => self.notify((at / u64::from(NOTIFY_MULTIPLIER)) as u16),
            (Window::Device, at) => self.transport.write_config(at, data),
            (Window::Isr, _) => {}
        }
    }

    fn set_modern(&mut self, field: Modern, value: u32) {
        let select = self.state.queue_select;
        match field {
            Modern::DeviceFeatureSelect => self.state.device_feature_select = value,
            Modern::DriverFeatureSelect => self.state.driver_feature_select = value,
            Modern::DriverFeature => self
                .transport
                .choose_features(self.state.driver_feature_select, value),
            Modern::ConfigVector => self.state.config_vector = self.vector(value as u16),
            Modern::DeviceStatus => self.set_status(value as u8),
            Modern::QueueSelect => self.state.queue_select = value as u16,
            Modern::QueueSize => {
                let size = value as u16;
                if let Some(queue) = self.transport.queue_mut(select)
                    && size.is_power_of_two()
                    && size <= QUEUE_SIZE
                {
                    queue.set_size(size);
                }
            }
            Modern::QueueVector => {
                let vector = self.vector(value as u16);
                if let Some(slot) = self.queue_vector() {
                    *slot = vector;
                }
            }
            // A queue is switched off by a reset only (4.1.4.3.2).
            Modern::QueueEnable => {
                if let Some(queue) = self.transport.queue_mut(select).filter(|_| value == 1) {
                    queue.set_ready(true);
                }
            }
            Modern::Queue(area, false) => self.transport.place(select, area, Some(value), None),
            Modern::Queue(area, true) => self.transport.place(select, area, None, Some(value)),
            Modern::DeviceFeature | Modern::NumQueues | Modern::ConfigGeneration | Modern::QueueNotifyOff => {
            }
        }
    }

    pub(super) fn read_legacy(&mut self, offset: u64, data: &mut [u8]) {
        let Some((register, _)) = Legacy::decode(offset, self.msix.enabled()) else {
            return;
        };
        let select = usize::from(self.state.queue_select);
        let value = match register {
            Legacy::DeviceFeatures => self.transport.features() as u32,
            Legacy::DriverFeatures => self.transport.driver_features() as u32,
            Legacy::QueueAddress => self.state.pages.get(select).copied().unwrap_or(0),
            Legacy::QueueSize => self.modern(Modern::QueueSize),
            Legacy::QueueSelect => u32::from(self.state.queue_select),
            Legacy::QueueNotify => 0,
            Legacy::DeviceStatus => u32::from(self.transport.status()),
            Legacy::Isr => u32::from(self.take_isr()),
            Legacy::ConfigVector => u32::from(self.state.config_vector),
            Legacy::QueueVector => self.modern(Modern::QueueVector),
            Legacy::Device(at) => return self.transport.read_config(at, data),
        };
        give(data, value);
    }

    pub(super) fn write_legacy(&mut self, offset: u64, data: &[u8]) {
        let Some((register, width)) = Legacy::decode(offset, self.msix.enabled()) else {
            return;
        };
        if let Legacy::Device(at) = register {
            return self.transport.write_config(at, data);
        }
        let Some(value) = value(data, width) else { return };
        match register {
            Legacy::DriverFeatures => self.transport.choose_features(0, value),
            Legacy::QueueAddress => self.place_legacy(value),
            Legacy::QueueSelect => self.state.queue_select = value as u16,
            Legacy::QueueNotify => self.notify(value as u16),
            Legacy::DeviceStatus => self.set_status(value as u8),
            Legacy::ConfigVector => self.state.config_vector = self.vector(value as u16),
            Legacy::QueueVector => self.set_modern(Modern::QueueVector, value),
            Legacy::DeviceFeatures | Legacy::QueueSize | Legacy::Isr | Legacy::Device(_) => {}
        }
    }

    /// A legacy driver gives the first page of a queue, whose parts follow each other: descriptors, available ring, and from the next page
    /// on the used ring. Page 0 takes the queue away.
    fn place_legacy(&mut self, page: u32) {
        let select = self.state.queue_select;
        let Some(slot) = self.state.pages.get_mut(usize::from(select)) else {
            return;
        };
        *slot = page;
        self.transport.release(select);
        let Some(size) = self
            .transport
            .queue(select)
            .map(|q| u64::from(q.size()))
            .filter(|_| page != 0)
        else {
            return;
        };
        let descriptors = u64::from(page) * PAGE;
        let driver = descriptors + 16 * size;
        let device = (driver + 6 + 2 * size).next_multiple_of(PAGE);
        for (area, address) in [
            (Area::Descriptors, descriptors),
            (Area::Driver, driver),
            (Area::Device, device),
        ] {
            self.transport
                .place(select, area, Some(address as u32), Some((address >> 32) as u32));
        }
        if let Some(queue) = self.transport.queue_mut(select) {
            queue.set_ready(true);
        }
    }
}
