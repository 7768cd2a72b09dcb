// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An ATA hard disk: the commands of ATA/ATAPI-6, chapter 8, for a device without the PACKET feature set.

mod geometry;
mod snapshot;
mod transfer;

pub use snapshot::Saved;

use self::transfer::{ReadEnd, Reads, Straight, Writes};
use super::drive::{AtaDevice, Cabling, Fault, Next, Start};
use super::identify::{self, DiskFacts, Identity};
use super::registers::{Addressing, TaskFile};
use super::spec::{
    ATA_SIGNATURE, Command, DataProtocol, DeviceHead, Error, Extent, Feature, LBA28_SECTORS, SECTOR,
    SMART_KEY, Signature, SmartCommand, Status,
};
use super::transfer_mode::DmaMode;
use crate::block::{Chs, Completion, Data, Medium, Operation, Request, Segment};
use serde::{Deserialize, Serialize};

/// The most sectors for one DRQ of READ and WRITE MULTIPLE. It is also the power-on setting: libata takes what it finds.
const MAX_MULTIPLE: u8 = 128;

/// Reads that the medium may have to do at a time, those that nobody waits for any more included: a guest that resets the device
/// again and again while its medium is slow makes no heap of them.
const MAX_READS_UNDER_WAY: usize = 8;

/// Buffers kept from one command to the next.
const SPARE_BUFFERS: usize = 2;

/// The power mode, as CHECK POWER MODE tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Power {
    ActiveOrIdle,
    Standby,
    /// Only a reset wakes the device.
    Sleep,
}

/// What drivers can set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The CHS translation in force.
    translation: Chs,
    multiple: u8,
    dma_mode: DmaMode,
    smart: bool,
    write_cache: bool,
    look_ahead: bool,
    power_level: Option<u8>,
    /// A software reset brings the defaults back (SET FEATURES CCh).
    revert_on_reset: bool,
}

impl Settings {
    fn new(geometry: Chs) -> Self {
        Self {
            translation: geometry,
            multiple: MAX_MULTIPLE,
            dma_mode: DmaMode::default(),
            smart: true,
            write_cache: true,
            look_ahead: true,
            power_level: None,
            revert_on_reset: false,
        }
    }
}

/// The command that runs.
#[derive(Default)]
enum Work {
    #[default]
    None,
    /// One sector of the device's own for the host (IDENTIFY DEVICE, SMART).
    Sector(Vec<u8>),
    /// That sector has been handed over.
    SectorTaken,
    Read(Reads),
    Write(Writes),
    Straight(Box<Straight>),
}

struct State {
    settings: Settings,
    power: Power,
    work: Work,
}

/// A hard disk on a [`Medium`].
pub struct HardDisk {
    // Configuration.
    identity: Identity,
    sectors: u64,
    geometry: Chs,
    cabling: Cabling,
    // Dependencies.
    medium: Box<dyn Medium>,
    // Book-keeping: a reset does not call back what the medium has already been asked for.
    /// Tag of the running command's requests. Completions with another tag belong to commands that a reset ended.
    tag: u64,
    /// Reads into buffers, which a reset forgets.
    reads_under_way: usize,
    /// Everything else, which a reset waits for.
    others_under_way: usize,
    spare: Vec<Vec<u8>>,
    // Volatile state.
    state: State,
}

impl HardDisk {
    /// A disk that has just been switched on. Its serial number is the medium's own, if that has one, else the one in `identity`; its
    /// geometry likewise.
    pub fn new(medium: Box<dyn Medium>, mut identity: Identity) -> Self {
        let info = medium.info();
        let sectors = info.len / SECTOR as u64;
        let geometry = geometry::of(sectors, info.geometry);
        if let Some(serial) = &info.serial {
            identity.serial.clone_from(serial);
        }
        Self {
            identity,
            sectors,
            geometry,
            cabling: Cabling::default(),
            medium,
            tag: 0,
            reads_under_way: 0,
            others_under_way: 0,
            spare: Vec::new(),
            state: State {
                settings: Settings::new(geometry),
                power: Power::ActiveOrIdle,
                work: Work::None,
            },
        }
    }

    fn start(&mut self, command: Command, registers: &mut TaskFile) -> Result<Start, Fault> {
        match command {
            Command::Read(protocol, extent) => self.read(protocol, extent, registers),
            Command::Write {
                protocol,
                extent,
                fua,
            } => self.write(protocol, extent, fua, registers),
            Command::ReadVerify(extent) => {
                let (addressing, first, count) = self.range(extent, registers)?;
                self.start_reads(Reads::new(addressing, first, count, ReadEnd::Verify));
                Ok(Start::NonData)
            }
            Command::Seek => {
                let addressing = registers.addressing(Extent::Bits28);
                self.locate(addressing, 1, registers)?;
                self.state.power = Power::ActiveOrIdle;
                Ok(Start::End(Ok(())))
            }
            Command::Recalibrate | Command::SecurityFreezeLock => Ok(Start::End(Ok(()))),
            Command::InitializeDeviceParameters => self.initialize_parameters(registers),
            Command::SetMultipleMode => self.set_multiple(registers.count.current),
            Command::SetFeatures => self.set_features(registers),
            Command::FlushCache => Ok(self.flush()),
            Command::Idle => {
                self.state.power = Power::ActiveOrIdle;
                Ok(Start::End(Ok(())))
            }
            Command::Standby => {
                self.state.power = Power::Standby;
                Ok(self.flush())
            }
            Command::Sleep => {
                self.state.power = Power::Sleep;
                Ok(self.flush())
            }
            Command::CheckPowerMode => {
                registers.count.current = match self.state.power {
                    Power::ActiveOrIdle => 0xff,
                    Power::Standby | Power::Sleep => 0x00,
                };
                Ok(Start::End(Ok(())))
            }
            Command::IdentifyDevice => Ok(self.sector(self.identify())),
            Command::Smart => self.smart(registers),
            Command::ReadNativeMaxAddress(extent) => {
                self.read_native_max(extent, registers);
                Ok(Start::End(Ok(())))
            }
            Command::Nop
            | Command::DeviceReset
            | Command::Packet
            | Command::IdentifyPacketDevice
            | Command::ExecuteDeviceDiagnostic => Err(Fault::aborted()),
        }
    }

    /// Where a command begins, checked to lie wholly on the disk. If it does not, the registers show the first sector that is not there.
    fn locate(&self, addressing: Addressing, count: u64, registers: &mut TaskFile) -> Result<u64, Fault> {
        let translation = self.state.settings.translation;
        let missing = Fault::new(Error::IDNF);
        let first = registers.lba(addressing, translation).ok_or(missing)?;
        if first >= self.sectors || self.sectors - first < count {
            registers.set_lba(addressing, translation, first.max(self.sectors));
            return Err(missing);
        }
        Ok(first)
    }

    fn range(&self, extent: Extent, registers: &mut TaskFile) -> Result<(Addressing, u64, u64), Fault> {
        let addressing = registers.addressing(extent);
        let count = registers.sectors(extent);
        let first = self.locate(addressing, count, registers)?;
        Ok((addressing, first, count))
    }

    /// The length of a DRQ block in bytes; READ and WRITE MULTIPLE are refused while multiple mode is off.
    fn block(&self, protocol: DataProtocol) -> Result<usize, Fault> {
        match (protocol, self.state.settings.multiple) {
            (DataProtocol::Multiple, 0) => Err(Fault::aborted()),
            (DataProtocol::Multiple, count) => Ok(usize::from(count) * SECTOR),
            (DataProtocol::Pio | DataProtocol::Dma, _) => Ok(SECTOR),
        }
    }

    fn read(
        &mut self,
        protocol: DataProtocol,
        extent: Extent,
        registers: &mut TaskFile,
    ) -> Result<Start, Fault> {
        let block = self.block(protocol)?;
        let (addressing, first, count) = self.range(extent, registers)?;
        let (end, start) = match protocol {
            DataProtocol::Dma => (ReadEnd::Interrupt, Start::DmaIn),
            DataProtocol::Pio | DataProtocol::Multiple => (ReadEnd::Silent, Start::PioIn { block }),
        };
        self.start_reads(Reads::new(addressing, first, count, end));
        Ok(start)
    }

    fn start_reads(&mut self, reads: Reads) {
        self.state.power = Power::ActiveOrIdle;
        self.state.work = Work::Read(reads);
    }

    fn write(
        &mut self,
        protocol: DataProtocol,
        extent: Extent,
        fua: bool,
        registers: &mut TaskFile,
    ) -> Result<Start, Fault> {
        let block = self.block(protocol)?;
        if self.medium.info().read_only {
            return Err(Fault::new(Error::WP | Error::ABRT));
        }
        let (addressing, first, count) = self.range(extent, registers)?;
        let durable = fua || !self.state.settings.write_cache;
        self.state.power = Power::ActiveOrIdle;
        self.state.work = Work::Write(Writes::new(addressing, first, count, durable));
        Ok(match protocol {
            DataProtocol::Dma => Start::DmaOut,
            DataProtocol::Pio | DataProtocol::Multiple => Start::PioOut {
                block,
                first_interrupt: false,
            },
        })
    }

    /// A flush is a write of nothing that has to be durable.
    fn flush(&mut self) -> Start {
        self.state.work = Work::Write(Writes::new(Addressing::Lba48, 0, 0, true));
        Start::NonData
    }

    fn sector(&mut self, data: Vec<u8>) -> Start {
        self.state.work = Work::Sector(data);
        Start::PioIn { block: SECTOR }
    }

    fn initialize_parameters(&mut self, registers: &TaskFile) -> Result<Start, Fault> {
        let heads = u32::from((registers.device & DeviceHead::HEAD).bits()) + 1;
        let sectors = u32::from(registers.count.current);
        self.state.settings.translation =
            geometry::translate(self.sectors, heads, sectors).ok_or(Fault::aborted())?;
        Ok(Start::End(Ok(())))
    }

    fn set_multiple(&mut self, count: u8) -> Result<Start, Fault> {
        let good = count == 0 || (count <= MAX_MULTIPLE && count.is_power_of_two());
        // A refused count turns multiple mode off (ATA-1).
        self.state.settings.multiple = if good { count } else { 0 };
        if good {
            Ok(Start::End(Ok(())))
        } else {
            Err(Fault::aborted())
        }
    }

    fn set_features(&mut self, registers: &TaskFile) -> Result<Start, Fault> {
        let settings = &mut self.state.settings;
        let value = registers.count.current;
        match Feature::decode(registers.features.current).ok_or(Fault::aborted())? {
            Feature::WriteCache(false) => {
                settings.write_cache = false;
                // What the cache held must be on the medium when this ends.
                return Ok(self.flush());
            }
            Feature::WriteCache(true) => settings.write_cache = true,
            Feature::LookAhead(on) => settings.look_ahead = on,
            Feature::TransferMode => {
                if !settings.dma_mode.set(value) {
                    return Err(Fault::aborted());
                }
            }
            Feature::EnablePowerManagement if matches!(value, 0x00 | 0xff) => return Err(Fault::aborted()),
            Feature::EnablePowerManagement => settings.power_level = Some(value),
            Feature::DisablePowerManagement => settings.power_level = None,
            Feature::RevertToDefaults(on) => settings.revert_on_reset = on,
        }
        Ok(Start::End(Ok(())))
    }

    fn smart(&mut self, registers: &TaskFile) -> Result<Start, Fault> {
        let key = [registers.lba_mid.current, registers.lba_high.current];
        let command = SmartCommand::decode(registers.features.current).ok_or(Fault::aborted())?;
        let settings = &mut self.state.settings;
        if key != SMART_KEY || (!settings.smart && command != SmartCommand::Enable) {
            return Err(Fault::aborted());
        }
        match command {
            SmartCommand::Enable => settings.smart = true,
            SmartCommand::Disable => settings.smart = false,
            // Nothing is saved, and no threshold can be exceeded: the key stays in the registers, which says "good".
            SmartCommand::AttributeAutosave | SmartCommand::ReturnStatus => {}
            SmartCommand::ReadData => return Ok(self.sector(smart_sector(&[(362, 0x02), (368, 0x03)]))),
            SmartCommand::ReadThresholds => return Ok(self.sector(smart_sector(&[]))),
        }
        Ok(Start::End(Ok(())))
    }

    fn read_native_max(&self, extent: Extent, registers: &mut TaskFile) {
        let last = self.sectors.saturating_sub(1);
        let (addressing, last) = match extent {
            Extent::Bits28 => (Addressing::Lba28, last.min(LBA28_SECTORS)),
            Extent::Bits48 => (Addressing::Lba48, last),
        };
        registers.set_lba(addressing, self.geometry, last);
    }

    fn identify(&self) -> Vec<u8> {
        let settings = &self.state.settings;
        identify::disk(&DiskFacts {
            identity: &self.identity,
            cabling: self.cabling,
            sectors: self.sectors,
            geometry: self.geometry,
            translation: settings.translation,
            max_multiple: MAX_MULTIPLE,
            multiple: settings.multiple,
            dma_mode: settings.dma_mode,
            smart: settings.smart,
            write_cache: settings.write_cache,
            look_ahead: settings.look_ahead,
            power_level: settings.power_level,
        })
    }

    /// A buffer of `len` bytes. Its contents mean nothing.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() > SECTOR {
            self.spare.push(buffer);
        }
    }

    fn under_way(&mut self, operation: Operation, data: &Data) -> &mut usize {
        match (operation, data) {
            (Operation::Read, Data::Buffer(_)) => &mut self.reads_under_way,
            _ => &mut self.others_under_way,
        }
    }

    fn submit(&mut self, operation: Operation, offset: u64, data: impl Into<Data>) {
        let data = data.into();
        *self.under_way(operation, &data) += 1;
        self.medium
            .submit(Request::new(operation, offset, data, self.tag));
    }

    /// Takes what the medium has completed to the command that it belongs to.
    fn collect(&mut self, work: &mut Work) {
        while let Some(completion) = self.medium.completed() {
            let under_way = self.under_way(completion.operation, &completion.data);
            *under_way = under_way.saturating_sub(1);
            let spent = self.deliver(work, completion);
            self.recycle(spent);
        }
    }

    /// Gives back the buffer, if nobody wants it.
    fn deliver(&self, work: &mut Work, completion: Completion) -> Vec<u8> {
        match work {
            Work::Read(reads) if completion.tag == self.tag => reads.completed(completion),
            Work::Write(writes) if completion.tag == self.tag => writes.completed(completion),
            Work::Straight(straight) if completion.tag == self.tag => {
                straight.completed(completion.result);
                Vec::new()
            }
            _ => completion.data.into_buffer(),
        }
    }

    /// What the running command does next.
    fn proceed(&mut self, registers: &mut TaskFile) -> Next {
        match std::mem::take(&mut self.state.work) {
            Work::None => Next::End(Err(Fault::aborted())),
            Work::Sector(data) => {
                self.state.work = Work::SectorTaken;
                Next::Buffer(data)
            }
            Work::SectorTaken => Next::EndOfData,
            work @ Work::Read(_) => self.next_read(work, registers),
            work @ Work::Write(_) => self.next_write(work, registers),
            work @ Work::Straight(_) => self.next_straight(work, registers),
        }
    }

    /// Shows in the registers where a transfer has ended: at its last sector, or at the first that failed.
    fn show_end(&self, registers: &mut TaskFile, addressing: Addressing, lba: u64, left: u64) {
        registers.set_lba(addressing, self.state.settings.translation, lba);
        let [current, previous, ..] = left.to_le_bytes();
        registers.count.current = current;
        if addressing == Addressing::Lba48 {
            registers.count.previous = previous;
        }
    }
}

impl AtaDevice for HardDisk {
    fn attach(&mut self, cabling: Cabling) {
        self.cabling = cabling;
    }

    fn execute(&mut self, command: u8, registers: &mut TaskFile) -> Start {
        self.tag = self.tag.wrapping_add(1);
        self.state.work = Work::None;
        if self.state.power == Power::Sleep {
            return Start::Ignored;
        }
        Command::decode(command)
            .ok_or(Fault::aborted())
            .and_then(|command| self.start(command, registers))
            .unwrap_or_else(|fault| Start::End(Err(fault)))
    }

    fn packet(&mut self, _packet: &[u8; 12], _registers: &mut TaskFile) -> Start {
        Start::End(Err(Fault::aborted()))
    }

    fn next(&mut self, registers: &mut TaskFile) -> Next {
        self.proceed(registers)
    }

    fn straight(&self) -> Option<u64> {
        self.straight_len()
    }

    fn go_straight(&mut self, segments: Vec<Segment>) {
        self.start_straight(segments);
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        match std::mem::take(&mut self.state.work) {
            Work::Write(mut writes) => {
                let offset = writes.hand_over(buffer.len());
                self.submit(Operation::Write, offset, buffer);
                self.state.work = Work::Write(writes);
            }
            work => {
                self.state.work = work;
                self.recycle(buffer);
            }
        }
    }

    fn settle(&mut self) -> bool {
        let mut work = std::mem::take(&mut self.state.work);
        self.collect(&mut work);
        self.state.work = work;
        self.others_under_way == 0
    }

    fn soft_reset(&mut self) {
        self.tag = self.tag.wrapping_add(1);
        let settings = self.state.settings;
        self.state = State {
            settings: if settings.revert_on_reset {
                Settings::new(self.geometry)
            } else {
                settings
            },
            power: Power::ActiveOrIdle,
            work: Work::None,
        };
    }

    fn hard_reset(&mut self) {
        self.tag = self.tag.wrapping_add(1);
        self.state = State {
            settings: Settings::new(self.geometry),
            power: Power::ActiveOrIdle,
            work: Work::None,
        };
    }

    fn signature(&self) -> Signature {
        ATA_SIGNATURE
    }

    fn reset_status(&self) -> Status {
        Status::DRDY | Status::DSC
    }
}

/// A SMART structure: revision 10h, the given bytes, and a sum of zero.
fn smart_sector(bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    for (at, value) in [(0, 0x10)].iter().chain(bytes) {
        sector[*at] = *value;
    }
    let sum = sector.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    sector[SECTOR - 1] = sum.wrapping_neg();
    sector
}
