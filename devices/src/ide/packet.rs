// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The packet transport (ATA/ATAPI-6: the PACKET command and the PACKET protocol): moves the packets and data of a [`PacketDevice`] across the cable.

mod snapshot;

pub use snapshot::Saved;

use super::drive::{AtaDevice, Cabling, Fault, Next, Start};
use super::identify::{self, Identity};
use super::registers::{Pair, TaskFile};
use super::spec::{
    Command, Feature, InterruptReason, PACKET_SIGNATURE, PacketFeatures, SECTOR, Signature, Status,
};
use super::transfer_mode::DmaMode;
use crate::block::Segment;
use crate::packet::{self, PacketDevice, Pull, Reply};
use serde::{Deserialize, Serialize};

/// Bytes asked of the device at a time when data moves by DMA.
const DMA_PIECE: usize = 128 * 1024;

/// The most bytes that a data-out command may announce.
const MAX_DATA_OUT: usize = 0x1_0000;

/// How a command's data moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Pace {
    /// By DMA.
    Dma,
    /// Through the data register, at most this many bytes for each DRQ: the host's byte count limit.
    Pio(u16),
}

impl Pace {
    /// How long the next piece is when `left` bytes are to come. Only the last piece may be odd. 0: the limit lets nothing through.
    fn piece(self, left: u64) -> usize {
        let most = match self {
            Self::Dma => DMA_PIECE,
            // FFFFh stands for FFFEh, as every odd limit stands for the even one below it.
            Self::Pio(limit) if left > u64::from(limit) || limit == u16::MAX => usize::from(limit & !1),
            Self::Pio(limit) => usize::from(limit),
        };
        usize::try_from(left).unwrap_or(usize::MAX).min(most)
    }
}

/// The command that runs.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Work {
    #[default]
    None,
    /// IDENTIFY PACKET DEVICE.
    Sector(#[serde(with = "crate::snapshot::hex")] Vec<u8>),
    /// That sector has been handed over.
    SectorTaken,
    /// PACKET was accepted; the packet is on its way.
    AwaitPacket(Pace),
    DataIn {
        pace: Pace,
        left: u64,
    },
    DataOut {
        pace: Pace,
        #[serde(with = "crate::snapshot::hex")]
        data: Vec<u8>,
        expected: usize,
    },
}

/// Volatile state.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    dma_mode: DmaMode,
    asleep: bool,
    /// CHECK POWER MODE says standby.
    standby: bool,
    work: Work,
}

/// An ATAPI drive: the transport in front of a command set.
///
/// A host that changes media keeps a second handle on the device: `Arc<Mutex<T>>` is a [`PacketDevice`] for every `T` that is one.
pub struct PacketDrive {
    // Configuration.
    identity: Identity,
    cabling: Cabling,
    // Dependencies.
    device: Box<dyn PacketDevice>,
    // Volatile state.
    state: State,
}

impl PacketDrive {
    /// A drive that has just been switched on.
    pub fn new(device: Box<dyn PacketDevice>, identity: Identity) -> Self {
        Self {
            identity,
            cabling: Cabling::default(),
            device,
            state: State::default(),
        }
    }

    fn start(&mut self, command: Command, registers: &mut TaskFile) -> Result<Start, Fault> {
        match command {
            Command::Packet => self.start_packet(registers),
            Command::DeviceReset => {
                self.soft_reset();
                Ok(Start::Reset)
            }
            Command::IdentifyPacketDevice => {
                let data = identify::packet(&self.identity, self.cabling, self.state.dma_mode);
                self.state.work = Work::Sector(data);
                Ok(Start::PioIn { block: SECTOR })
            }
            Command::SetFeatures => self.set_features(registers),
            Command::CheckPowerMode => {
                registers.count.current = if self.state.standby { 0x00 } else { 0xff };
                Ok(Start::End(Ok(())))
            }
            Command::Idle | Command::Standby => {
                self.state.standby = command == Command::Standby;
                Ok(Start::End(Ok(())))
            }
            Command::Sleep => {
                self.state.asleep = true;
                Ok(Start::End(Ok(())))
            }
            // These two abort with the signature, by which a driver sees what it is talking to.
            Command::IdentifyDevice | Command::Read(..) => {
                registers.set_signature(PACKET_SIGNATURE);
                Err(Fault::aborted())
            }
            _ => Err(Fault::aborted()),
        }
    }

    fn start_packet(&mut self, registers: &mut TaskFile) -> Result<Start, Fault> {
        let features = PacketFeatures::from_bits_retain(registers.features.current);
        if features.contains(PacketFeatures::OVL) {
            return Err(Fault::aborted());
        }
        let pace = if features.contains(PacketFeatures::DMA) {
            Pace::Dma
        } else {
            Pace::Pio(registers.byte_count())
        };
        self.state.standby = false;
        self.state.work = Work::AwaitPacket(pace);
        show_reason(registers, InterruptReason::COD);
        Ok(Start::Packet)
    }

    fn set_features(&mut self, registers: &TaskFile) -> Result<Start, Fault> {
        match Feature::decode(registers.features.current) {
            Some(Feature::TransferMode) if self.state.dma_mode.set(registers.count.current) => {}
            // There is no setting that a software reset would change.
            Some(Feature::RevertToDefaults(_)) => {}
            _ => return Err(Fault::aborted()),
        }
        Ok(Start::End(Ok(())))
    }

    fn next_in(&mut self, pace: Pace, left: u64, registers: &mut TaskFile) -> Next {
        // A device that has more than it announced is asked until it ends: the transport carries, the command set counts.
        let piece = pace.piece(left.max(1));
        match self.device.pull(piece) {
            // A piece is never empty: one that was would let a DMA transfer go round for ever.
            Pull::Data(data) if !data.is_empty() => {
                self.state.work = Work::DataIn {
                    pace,
                    left: left.saturating_sub(data.len() as u64),
                };
                show_reason(registers, InterruptReason::IO);
                show_piece(registers, pace, data.len());
                Next::Buffer(data)
            }
            Pull::Data(_) | Pull::Pending => {
                self.state.work = Work::DataIn { pace, left };
                Next::Pending
            }
            Pull::InPieces => {
                self.state.work = Work::DataIn { pace, left };
                Next::InPieces
            }
            Pull::End(status) => end(registers, status),
        }
    }

    fn next_out(&mut self, pace: Pace, data: Vec<u8>, expected: usize, registers: &mut TaskFile) -> Next {
        let left = expected.saturating_sub(data.len());
        if left == 0 {
            let status = self.device.push(&data);
            return end(registers, status);
        }
        let piece = pace.piece(left as u64);
        self.state.work = Work::DataOut { pace, data, expected };
        show_reason(registers, InterruptReason::empty());
        show_piece(registers, pace, piece);
        Next::Buffer(vec![0; piece])
    }
}

impl AtaDevice for PacketDrive {
    fn attach(&mut self, cabling: Cabling) {
        self.cabling = cabling;
    }

    fn execute(&mut self, command: u8, registers: &mut TaskFile) -> Start {
        let command = Command::decode(command);
        if self.state.asleep && command != Some(Command::DeviceReset) {
            return Start::Ignored;
        }
        self.state.work = Work::None;
        command
            .ok_or(Fault::aborted())
            .and_then(|command| self.start(command, registers))
            .unwrap_or_else(|fault| Start::End(Err(fault)))
    }

    fn packet(&mut self, packet: &[u8; 12], registers: &mut TaskFile) -> Start {
        let Work::AwaitPacket(pace) = std::mem::take(&mut self.state.work) else {
            return Start::End(Err(Fault::aborted()));
        };
        let dma = pace == Pace::Dma;
        let (work, start) = match self.device.execute(packet) {
            Reply::Done(status) => {
                show_reason(registers, InterruptReason::COD | InterruptReason::IO);
                return Start::End(outcome(status));
            }
            Reply::DataIn { len } => {
                let work = Work::DataIn { pace, left: len };
                let block = usize::MAX;
                (work, if dma { Start::DmaIn } else { Start::PioIn { block } })
            }
            Reply::DataOut { len } => {
                let work = Work::DataOut {
                    pace,
                    data: Vec::new(),
                    expected: len.min(MAX_DATA_OUT),
                };
                let pio = Start::PioOut {
                    block: usize::MAX,
                    first_interrupt: true,
                };
                (work, if dma { Start::DmaOut } else { pio })
            }
        };
        // A limit that lets no data through refuses every command that has some.
        if matches!(pace, Pace::Pio(0 | 1)) && pace.piece(work.left()) == 0 {
            self.device.abort();
            show_reason(registers, InterruptReason::COD | InterruptReason::IO);
            return Start::End(Err(Fault::aborted()));
        }
        self.state.work = work;
        start
    }

    fn next(&mut self, registers: &mut TaskFile) -> Next {
        match std::mem::take(&mut self.state.work) {
            Work::None | Work::AwaitPacket(_) => Next::End(Err(Fault::aborted())),
            Work::Sector(data) => {
                self.state.work = Work::SectorTaken;
                Next::Buffer(data)
            }
            Work::SectorTaken => Next::EndOfData,
            Work::DataIn { pace, left } => self.next_in(pace, left, registers),
            Work::DataOut { pace, data, expected } => self.next_out(pace, data, expected, registers),
        }
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        match &mut self.state.work {
            Work::DataOut { data, .. } if data.is_empty() => *data = buffer,
            Work::DataOut { data, .. } => data.extend_from_slice(&buffer),
            Work::DataIn { .. } => self.device.give_back(buffer),
            _ => {}
        }
    }

    fn straight(&self) -> Option<u64> {
        match self.state.work {
            Work::DataIn { pace: Pace::Dma, .. } => self.device.straight(),
            _ => None,
        }
    }

    fn go_straight(&mut self, segments: Vec<Segment>) {
        self.device.go_straight(segments);
    }

    fn settle(&mut self) -> bool {
        self.device.settled()
    }

    fn soft_reset(&mut self) {
        self.device.abort();
        self.state = State {
            dma_mode: self.state.dma_mode,
            ..State::default()
        };
    }

    fn hard_reset(&mut self) {
        self.device.reset();
        self.state = State::default();
    }

    fn signature(&self) -> Signature {
        PACKET_SIGNATURE
    }

    fn reset_status(&self) -> Status {
        Status::empty()
    }
}

impl Work {
    /// Bytes that the command still has to move.
    fn left(&self) -> u64 {
        match self {
            Self::DataIn { left, .. } => *left,
            Self::DataOut { data, expected, .. } => expected.saturating_sub(data.len()) as u64,
            _ => 0,
        }
    }
}

fn outcome(status: packet::Status) -> Result<(), Fault> {
    match status {
        packet::Status::Good => Ok(()),
        packet::Status::CheckCondition { sense_key } => Err(Fault::sense(sense_key)),
    }
}

fn end(registers: &mut TaskFile, status: packet::Status) -> Next {
    show_reason(registers, InterruptReason::COD | InterruptReason::IO);
    Next::End(outcome(status))
}

fn show_reason(registers: &mut TaskFile, reason: InterruptReason) {
    registers.count = Pair {
        current: reason.bits(),
        previous: 0,
    };
}

/// By PIO the host learns the length of each piece from the byte count registers.
fn show_piece(registers: &mut TaskFile, pace: Pace, len: usize) {
    if pace != Pace::Dma {
        registers.set_byte_count(u16::try_from(len).unwrap_or(u16::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_under_a_byte_count_limit() {
        let piece = |limit, left| Pace::Pio(limit).piece(left);
        assert_eq!(piece(2048, 10_000), 2048);
        assert_eq!(piece(2048, 100), 100);
        assert_eq!(piece(2049, 10_000), 2048, "an odd limit is the even one below");
        assert_eq!(piece(2049, 2049), 2049, "but the last piece may be odd");
        assert_eq!(piece(0xffff, u64::MAX), 0xfffe);
        assert_eq!(piece(0xffff, 0xffff), 0xfffe);
        assert_eq!(piece(0, 1), 0);
        assert_eq!(piece(1, 2), 0);
        assert_eq!(piece(1, 1), 1);
        assert_eq!(Pace::Dma.piece(u64::MAX), DMA_PIECE);
    }
}
