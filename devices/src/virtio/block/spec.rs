// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the block device (VIRTIO 1.2, section 5.2).

/// Device type.
pub const DEVICE_TYPE: u16 = 2;
/// Bytes of a sector, whatever the block size.
pub const SECTOR: u64 = 512;
/// Bytes of a request's header: type, reserved, sector.
pub const HEADER: usize = 16;
/// Bytes of the identity that [`request::GET_ID`] gives.
pub const ID: usize = 20;
/// Bytes of a range in a discard or write-zeroes request.
pub const RANGE: usize = 16;
/// Ranges in such a request.
pub const RANGES: u32 = 16;
/// Sectors in such a range: 1 GiB.
pub const RANGE_SECTORS: u32 = 1 << 21;
/// Flag of a write-zeroes range: space may be given back.
pub const UNMAP: u32 = 1;

/// Feature bits (5.2.3).
pub mod feature {
    /// The most segments in a request is told.
    pub const SEG_MAX: u64 = 1 << 2;
    /// A geometry is told.
    pub const GEOMETRY: u64 = 1 << 4;
    /// The disk cannot be written.
    pub const READ_ONLY: u64 = 1 << 5;
    /// The block size is told.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// There is a cache, and a command that flushes it.
    pub const FLUSH: u64 = 1 << 9;
    /// Sizes that suit the disk are told.
    pub const TOPOLOGY: u64 = 1 << 10;
    /// The cache can be switched off and on.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// There are several queues.
    pub const MQ: u64 = 1 << 12;
    /// Sectors can be discarded.
    pub const DISCARD: u64 = 1 << 13;
    /// Sectors can be zeroed.
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Request types (5.2.6).
pub mod request {
    /// Read.
    pub const IN: u32 = 0;
    /// Write.
    pub const OUT: u32 = 1;
    /// Make completed writes durable.
    pub const FLUSH: u32 = 4;
    /// Tell the serial number.
    pub const GET_ID: u32 = 8;
    /// Forget sectors.
    pub const DISCARD: u32 = 11;
    /// Zero sectors.
    pub const WRITE_ZEROES: u32 = 13;
}

/// How a request ended.
pub mod status {
    /// Well.
    pub const OK: u8 = 0;
    /// It failed.
    pub const IOERR: u8 = 1;
    /// The device does not know such requests.
    pub const UNSUPP: u8 = 2;
}

/// Offsets in the configuration (5.2.4).
pub mod config {
    /// Capacity in sectors, 64 bit.
    pub const CAPACITY: usize = 0;
    /// Segments in a request, 32 bit.
    pub const SEG_MAX: usize = 12;
    /// Cylinders (16 bit), heads, sectors.
    pub const GEOMETRY: usize = 16;
    /// Block size, 32 bit.
    pub const BLK_SIZE: usize = 20;
    /// Physical block as a power of two of logical ones.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// Suitable least transfer in blocks, 16 bit.
    pub const MIN_IO_SIZE: usize = 26;
    /// 1: there is a write-back cache.
    pub const WRITEBACK: usize = 32;
    /// Queues, 16 bit.
    pub const NUM_QUEUES: usize = 34;
    /// Sectors in a discard range, 32 bit; then ranges, then alignment in sectors.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// Sectors in a write-zeroes range, 32 bit; then ranges; then whether it may unmap, 8 bit.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// Bytes of the configuration.
    pub const LEN: usize = 60;
}
