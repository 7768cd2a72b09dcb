// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The data protocols (ATA/ATAPI-6, chapter 9), from the devices' side.

use super::{Channel, Unit};
use crate::ide::bus_master::{Claim, Direction};
use crate::ide::drive::{AtaDevice, Next, Start};
use crate::ide::registers::TaskFile;
use crate::ide::spec::Status;
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Bytes in a command packet.
const PACKET: usize = 12;

/// Bytes of a device's buffer, at most.
const LONGEST: usize = 256 << 10;

/// What the selected device is doing.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Protocol {
    /// Nothing: BSY and DRQ are 0.
    #[default]
    Idle,
    /// A reset: both devices are busy.
    Reset,
    /// A command without data is waiting for the medium.
    NonData,
    /// Data to the host through the data register.
    PioIn(Blocks),
    /// Data from the host through the data register.
    PioOut {
        blocks: Blocks,
        /// The next DRQ interrupts.
        interrupts: bool,
    },
    /// Data by DMA. Nothing has moved, and it is not decided yet who moves it.
    Dma(Direction),
    /// Data by DMA, which the device's medium moves.
    #[serde(skip)]
    Straight(Direction, Claim),
    /// Data to the host by DMA, which the channel moves.
    DmaIn(Piece),
    /// Data from the host by DMA, which the channel moves.
    DmaOut(Piece),
    /// The host writes the packet of a PACKET command.
    Packet { packet: [u8; PACKET], received: usize },
}

/// A device's buffer and how much of it has moved. An empty one means that the device has been asked and is busy.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    #[serde(with = "crate::snapshot::hex")]
    buffer: Vec<u8>,
    moved: usize,
}

impl Piece {
    fn is_possible(&self) -> bool {
        self.moved <= self.buffer.len() && self.buffer.len() <= LONGEST
    }

    fn new(buffer: Vec<u8>) -> Self {
        Self { buffer, moved: 0 }
    }

    fn is_through(&self) -> bool {
        self.moved == self.buffer.len()
    }
}

/// A device's buffer, cut into DRQ blocks.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Blocks {
    piece: Piece,
    /// Where the DRQ block at hand ends.
    end: usize,
    /// The length of a block.
    block: usize,
}

impl Blocks {
    fn new(block: usize) -> Self {
        Self {
            piece: Piece::default(),
            end: 0,
            block,
        }
    }

    /// The part of the buffer that DRQ stands for. Empty: the device is busy.
    fn drq(&self) -> Range<usize> {
        self.piece.moved..self.end
    }

    fn load(&mut self, buffer: Vec<u8>) {
        self.piece = Piece::new(buffer);
        self.end = 0;
    }

    /// Raises DRQ for the next block of the buffer, if one is left.
    fn next_block(&mut self) -> bool {
        let len = self.piece.buffer.len();
        self.end = self.piece.moved.saturating_add(self.block).min(len);
        !self.drq().is_empty()
    }
}

impl From<Start> for Protocol {
    fn from(start: Start) -> Self {
        match start {
            Start::End(_) | Start::Reset | Start::Ignored => Self::Idle,
            Start::NonData => Self::NonData,
            Start::PioIn { block } => Self::PioIn(Blocks::new(block)),
            Start::PioOut {
                block,
                first_interrupt,
            } => Self::PioOut {
                blocks: Blocks::new(block),
                interrupts: first_interrupt,
            },
            Start::DmaIn => Self::Dma(Direction::ToMemory),
            Start::DmaOut => Self::Dma(Direction::FromMemory),
            Start::Packet => Self::Packet {
                packet: [0; PACKET],
                received: 0,
            },
        }
    }
}

impl Protocol {
    /// The medium itself is at work.
    pub(super) fn is_straight(&self) -> bool {
        matches!(self, Self::Straight(..))
    }

    /// Refuses what no channel can be in.
    pub(super) fn check(&self) -> Result<(), BadState> {
        let good = match self {
            Self::Idle | Self::Reset | Self::NonData | Self::Dma(_) => true,
            Self::Straight(..) => false,
            Self::PioIn(blocks) | Self::PioOut { blocks, .. } => {
                blocks.piece.is_possible()
                    && (blocks.piece.moved..=blocks.piece.buffer.len()).contains(&blocks.end)
                    && blocks.block > 0
            }
            Self::DmaIn(piece) | Self::DmaOut(piece) => piece.is_possible(),
            Self::Packet { packet: _, received } => *received < PACKET,
        };
        must(good, "a step of a protocol that no IDE channel comes to")
    }

    /// DMA, which the channel moves piece by piece.
    fn in_pieces(direction: Direction) -> Self {
        match direction {
            Direction::ToMemory => Self::DmaIn(Piece::default()),
            Direction::FromMemory => Self::DmaOut(Piece::default()),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn is_reset(&self) -> bool {
        matches!(self, Self::Reset)
    }

    /// BSY or DRQ.
    pub(super) fn status(&self) -> Status {
        let waits_for_host = match self {
            Self::Idle => return Status::empty(),
            Self::Reset | Self::NonData | Self::Dma(_) | Self::Straight(..) => false,
            Self::PioIn(blocks) | Self::PioOut { blocks, .. } => !blocks.drq().is_empty(),
            Self::DmaIn(piece) | Self::DmaOut(piece) => !piece.is_through(),
            Self::Packet { .. } => true,
        };
        if waits_for_host { Status::DRQ } else { Status::BSY }
    }
}

/// Asks the selected device what its command does next.
fn ask(unit: &mut Unit, spent: Vec<u8>) -> Next {
    let Unit { drive, registers, .. } = unit;
    match drive.device() {
        Some(device) => turn(device, registers, spent),
        None => Next::EndOfData,
    }
}

fn turn(device: &mut dyn AtaDevice, registers: &mut TaskFile, spent: Vec<u8>) -> Next {
    if !spent.is_empty() {
        device.give_back(spent);
    }
    device.next(registers)
}

impl Channel {
    /// Takes the running command as far as it goes without the host or a medium.
    pub(super) fn advance(&mut self) {
        let selected = self.selected();
        let next = match &mut self.state.protocol {
            Protocol::Idle | Protocol::Packet { .. } => return,
            Protocol::Reset => {
                self.finish_reset();
                return;
            }
            Protocol::NonData => ask(&mut self.units[selected], Vec::new()),
            Protocol::PioIn(blocks) | Protocol::PioOut { blocks, .. } => {
                if !blocks.drq().is_empty() {
                    return;
                }
                if blocks.next_block() {
                    self.block_ready();
                    return;
                }
                ask(
                    &mut self.units[selected],
                    std::mem::take(&mut blocks.piece).buffer,
                )
            }
            Protocol::Dma(_) | Protocol::Straight(..) | Protocol::DmaIn(_) | Protocol::DmaOut(_) => {
                self.advance_dma()
            }
        };
        match next {
            Next::Buffer(buffer) => {
                if let Protocol::PioIn(blocks) | Protocol::PioOut { blocks, .. } = &mut self.state.protocol {
                    blocks.load(buffer);
                    blocks.next_block();
                    self.block_ready();
                }
            }
            Next::Pending | Next::InPieces => {
                if let Protocol::PioIn(blocks) | Protocol::PioOut { blocks, .. } = &mut self.state.protocol {
                    blocks.load(Vec::new());
                }
            }
            Next::End(result) => self.end_command(result),
            Next::EndOfData => self.state.protocol = Protocol::Idle,
        }
    }

    /// DRQ is set for a block. It interrupts, but for the first of a disk's write.
    fn block_ready(&mut self) {
        let selected = self.selected();
        let interrupts = match &mut self.state.protocol {
            Protocol::PioOut { interrupts, .. } => std::mem::replace(interrupts, true),
            _ => true,
        };
        self.units[selected].interrupt |= interrupts;
    }

    /// Moves data between the device and memory until the engine, the guest or a medium has to be waited for. Never gives
    /// [`Next::Buffer`].
    fn advance_dma(&mut self) -> Next {
        let selected = self.selected();
        loop {
            let (piece, to_memory) = match std::mem::take(&mut self.state.protocol) {
                Protocol::Dma(direction) => {
                    let Some(protocol) = self.share_out(direction) else {
                        self.state.protocol = Protocol::Dma(direction);
                        return Next::Pending;
                    };
                    self.state.protocol = protocol;
                    continue;
                }
                Protocol::Straight(direction, claim) => {
                    match ask(&mut self.units[selected], Vec::new()) {
                        Next::InPieces => self.state.protocol = Protocol::in_pieces(direction),
                        Next::Pending => {
                            self.state.protocol = Protocol::Straight(direction, claim);
                            return Next::Pending;
                        }
                        end => {
                            self.bus_master.pay(claim);
                            return end;
                        }
                    }
                    continue;
                }
                protocol => {
                    self.state.protocol = protocol;
                    match &mut self.state.protocol {
                        Protocol::DmaIn(piece) => (piece, true),
                        Protocol::DmaOut(piece) => (piece, false),
                        _ => return Next::Pending,
                    }
                }
            };
            if !piece.is_through() && self.mastering {
                let rest = piece.buffer.get_mut(piece.moved..).unwrap_or_default();
                piece.moved += if to_memory {
                    self.bus_master.write_memory(&*self.ram, rest)
                } else {
                    self.bus_master.read_memory(&*self.ram, rest)
                };
            }
            if !piece.is_through() {
                return Next::Pending;
            }
            match ask(&mut self.units[selected], std::mem::take(piece).buffer) {
                Next::Buffer(buffer) => *piece = Piece::new(buffer),
                end => return end,
            }
        }
    }

    /// Says who moves the data of a DMA command: the medium itself where it can, else the channel. `None`: the engine has to be started
    /// first, because only its table tells where to.
    fn share_out(&mut self, direction: Direction) -> Option<Protocol> {
        let selected = self.selected();
        let pieces = Some(Protocol::in_pieces(direction));
        let Some(device) = self.units[selected].drive.device() else {
            return pieces;
        };
        let Some(len) = device.straight() else {
            return pieces;
        };
        if !self.mastering || !self.bus_master.is_active() {
            return None;
        }
        // A table that does not fit is the channel's: it knows what comes of it.
        let Some((segments, claim)) = self.bus_master.claim(&*self.ram, direction, len) else {
            return pieces;
        };
        device.go_straight(segments);
        Some(Protocol::Straight(direction, claim))
    }

    /// Reads of the data register, `width` bytes each: whole DRQ blocks at a time, and never past what DRQ stands for. A block that ends
    /// within a cycle leaves the rest of that cycle zero; without DRQ nobody drives the bus.
    pub(super) fn read_data(&mut self, width: usize, data: &mut [u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let Protocol::PioIn(blocks) = &mut self.state.protocol else {
                break;
            };
            let drq = blocks.drq();
            let block = blocks.piece.buffer.get(drq).unwrap_or_default();
            if block.is_empty() {
                break;
            }
            let bytes = cycles(block.len(), rest.len(), width);
            let moved = bytes.min(block.len());
            let (now, later) = rest.split_at_mut(bytes);
            let (driven, pad) = now.split_at_mut(moved);
            driven.copy_from_slice(&block[..moved]);
            pad.fill(0);
            rest = later;
            blocks.piece.moved += moved;
            self.advance();
            self.sync_interrupt();
        }
        rest.fill(0xff);
    }

    /// Writes of the data register, likewise. What no DRQ asked for is dropped.
    pub(super) fn write_data(&mut self, width: usize, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let room = match &mut self.state.protocol {
                Protocol::PioOut { blocks, .. } => {
                    let drq = blocks.drq();
                    blocks.piece.buffer.get_mut(drq).unwrap_or_default()
                }
                Protocol::Packet { packet, received } => packet.get_mut(*received..).unwrap_or_default(),
                _ => break,
            };
            if room.is_empty() {
                break;
            }
            let bytes = cycles(room.len(), rest.len(), width);
            let moved = bytes.min(room.len());
            let (now, later) = rest.split_at(bytes);
            room[..moved].copy_from_slice(&now[..moved]);
            rest = later;
            self.data_written(moved);
            self.sync_interrupt();
        }
    }

    fn data_written(&mut self, count: usize) {
        match &mut self.state.protocol {
            Protocol::PioOut { blocks, .. } => {
                blocks.piece.moved += count;
                self.advance();
            }
            Protocol::Packet { packet, received } => {
                *received += count;
                if *received == PACKET {
                    let packet = *packet;
                    self.take_packet(&packet);
                }
            }
            _ => {}
        }
    }

    fn take_packet(&mut self, packet: &[u8; PACKET]) {
        let selected = self.selected();
        let Unit { drive, registers, .. } = &mut self.units[selected];
        if let Some(device) = drive.device() {
            let start = device.packet(packet, registers);
            self.begin(start);
        }
    }
}

/// How many of `asked` bytes, in cycles of `width`, a block of `left` bytes answers: whole cycles, the last of which may reach past the
/// end of the block.
fn cycles(left: usize, asked: usize, width: usize) -> usize {
    let whole = left.min(asked);
    match whole % width.max(1) {
        0 => whole,
        part => (whole - part + width).min(asked),
    }
}
