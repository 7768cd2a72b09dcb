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
/// Transmission flag: what one connection flushed is durable and seen by all.
pub const CAN_MULTI_CONN: u16 = 1 << 8;

/// Command flag: durable before the reply.
pub const FUA: u16 = 1 << 0;

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
}

impl OptionKind {
    pub fn decode(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::ExportName,
            2 => Self::Abort,
            3 => Self::List,
            6 => Self::Info,
            7 => Self::Go,
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
            _ => return None,
        })
    }
}
