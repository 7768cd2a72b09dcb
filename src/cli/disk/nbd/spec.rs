// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The numbers of the NBD protocol. All of them are big-endian on the wire.

/// Starts the server's greeting.
pub const MAGIC: [u8; 8] = *b"NBDMAGIC";
/// Follows it, and starts every option of the client.
pub const OPTION_MAGIC: [u8; 8] = *b"IHAVEOPT";
/// Starts every reply to an option.
pub const OPTION_REPLY_MAGIC: [u8; 8] = 0x0003_e889_0455_65a9_u64.to_be_bytes();
/// Starts every request.
pub const REQUEST_MAGIC: [u8; 4] = 0x2560_9513_u32.to_be_bytes();
/// Starts every reply to a request.
pub const SIMPLE_REPLY_MAGIC: [u8; 4] = 0x6744_6698_u32.to_be_bytes();
/// Starts every chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: [u8; 4] = 0x668e_33ef_u32.to_be_bytes();

/// Handshake flag: unknown options get a reply.
pub const FIXED_NEWSTYLE: u16 = 1 << 0;
/// Handshake flag: no 124 zeros after EXPORT_NAME.
pub const NO_ZEROES: u16 = 1 << 1;

/// Transmission flag: the others are valid.
pub const HAS_FLAGS: u16 = 1 << 0;
/// Transmission flag: writes are refused.
pub const READ_ONLY: u16 = 1 << 1;
/// Transmission flag: FLUSH is known.
pub const SEND_FLUSH: u16 = 1 << 2;
/// Transmission flag: FUA is known.
pub const SEND_FUA: u16 = 1 << 3;
/// Transmission flag: TRIM is known.
pub const SEND_TRIM: u16 = 1 << 5;
/// Transmission flag: WRITE_ZEROES is known.
pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
/// Transmission flag: a read can ask for its data in one piece.
pub const SEND_DF: u16 = 1 << 7;
/// Transmission flag: what one connection flushed is durable and seen by all.
pub const CAN_MULTI_CONN: u16 = 1 << 8;

/// Command flag: durable before the reply.
pub const FUA: u16 = 1 << 0;
/// Command flag: the data in one piece.
pub const DF: u16 = 1 << 2;
/// Command flag: one extent is enough.
pub const REQ_ONE: u16 = 1 << 3;

/// The one metadata context that is served.
pub const ALLOCATION: &[u8] = b"base:allocation";
/// Its number in replies.
pub const ALLOCATION_ID: u32 = 1;
/// Extent flag of it: no space is taken.
pub const STATE_HOLE: u32 = 1 << 0;
/// Extent flag of it: it reads as zeros.
pub const STATE_ZERO: u32 = 1 << 1;

/// Chunk flag: the last of its reply.
pub const DONE: u16 = 1 << 0;

/// What a chunk of a structured reply has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Chunk {
    Data = 1,
    Hole = 2,
    BlockStatus = 5,
    Error = 0x8001,
}

/// Information: size and transmission flags.
pub const INFO_EXPORT: u16 = 0;
/// Information: minimum, preferred and maximum block size.
pub const INFO_BLOCK_SIZE: u16 = 3;

/// Error: not permitted.
pub const EPERM: u32 = 1;
/// Error: input or output failed.
pub const EIO: u32 = 5;
/// Error: the request makes no sense.
pub const EINVAL: u32 = 22;
/// Error: no space left, and writes beyond the end.
pub const ENOSPC: u32 = 28;

/// Options of the negotiation that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    ExportName,
    Abort,
    List,
    Info,
    Go,
    StructuredReply,
    ListMetaContext,
    SetMetaContext,
}

impl OptionKind {
    pub fn decode(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::ExportName,
            2 => Self::Abort,
            3 => Self::List,
            6 => Self::Info,
            7 => Self::Go,
            8 => Self::StructuredReply,
            9 => Self::ListMetaContext,
            10 => Self::SetMetaContext,
            _ => return None,
        })
    }
}

/// Replies to options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reply {
    Ack = 1,
    Server = 2,
    Info = 3,
    MetaContext = 4,
    Unsupported = 0x8000_0001,
    Invalid = 0x8000_0003,
}

/// Commands of the transmission phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    WriteZeroes,
    BlockStatus,
}

impl Command {
    pub fn decode(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            6 => Self::WriteZeroes,
            7 => Self::BlockStatus,
            _ => return None,
        })
    }
}
