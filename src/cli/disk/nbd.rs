// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server's side of the NBD protocol, for one client.
//!
//! Source: the NBD protocol (doc/proto.md of the reference implementation): fixed newstyle negotiation, simple and
//! structured replies, and the metadata context `base:allocation`.

use std::io::{self, Read, Write};

mod spec;
mod structured;

use spec::{Command, OptionKind, Reply};

/// Payload that is accepted in one request; also what the server announces as its maximum.
const MAX_PAYLOAD: u32 = 32 << 20;
/// The longest option that is read: names have 4096 bytes at most.
const MAX_OPTION: u32 = 16 << 10;

/// A client that is served.
pub struct Session<'a, S> {
    stream: S,
    disk: &'a vhd::Disk,
    read_only: bool,
    /// Reads are answered in chunks.
    structured: bool,
    /// The client wants to know where there is nothing.
    allocation: bool,
}

/// How a negotiation ended.
#[derive(Debug, PartialEq, Eq)]
enum Negotiated {
    Transmission,
    Abort,
}

/// A request of the transmission phase.
struct Request {
    flags: u16,
    command: u16,
    cookie: [u8; 8],
    offset: u64,
    length: u32,
}

impl<'a, S: Read + Write> Session<'a, S> {
    /// For a client that has just connected.
    pub fn new(stream: S, disk: &'a vhd::Disk) -> Self {
        Self {
            stream,
            disk,
            read_only: disk.read_only(),
            structured: false,
            allocation: false,
        }
    }

    /// Serves the client until it leaves.
    pub fn serve(mut self) -> io::Result<()> {
        match self.negotiate()? {
            Negotiated::Abort => Ok(()),
            Negotiated::Transmission => {
                let mut buffer = Vec::new();
                while self.request(&mut buffer)? {}
                Ok(())
            }
        }
    }

    fn negotiate(&mut self) -> io::Result<Negotiated> {
        self.stream.write_all(&spec::MAGIC)?;
        self.stream.write_all(&spec::OPTION_MAGIC)?;
        self.stream
            .write_all(&(spec::FIXED_NEWSTYLE | spec::NO_ZEROES).to_be_bytes())?;
        let flags = u32::from_be_bytes(self.take()?);
        if flags & u32::from(spec::FIXED_NEWSTYLE) == 0 {
            return Err(broken("the client does not know fixed newstyle negotiation"));
        }
        let zeroes = flags & u32::from(spec::NO_ZEROES) == 0;
        loop {
            if self.take()? != spec::OPTION_MAGIC {
                return Err(broken("an option has the wrong magic"));
            }
            let option = u32::from_be_bytes(self.take()?);
            let length = u32::from_be_bytes(self.take()?);
            if length > MAX_OPTION {
                return Err(broken("an option is too long"));
            }
            let mut data = vec![0; length as usize];
            self.stream.read_exact(&mut data)?;
            match OptionKind::decode(option) {
                // There is one export, which has every name.
                Some(OptionKind::ExportName) => {
                    self.stream.write_all(&self.disk.len().to_be_bytes())?;
                    self.stream.write_all(&self.flags().to_be_bytes())?;
                    if zeroes {
                        self.stream.write_all(&[0; 124])?;
                    }
                    return Ok(Negotiated::Transmission);
                }
                Some(OptionKind::Abort) => {
                    // The client may be gone already, as it may.
                    let _ = self.reply(option, Reply::Ack, &[]);
                    return Ok(Negotiated::Abort);
                }
                Some(OptionKind::List) => {
                    // One export with an empty name: the default one.
                    self.reply(option, Reply::Server, &[0; 4])?;
                    self.reply(option, Reply::Ack, &[])?;
                }
                Some(kind @ (OptionKind::Info | OptionKind::Go)) => {
                    if !info_is_sound(&data) {
                        self.reply(option, Reply::Invalid, &[])?;
                        continue;
                    }
                    self.send_info(option)?;
                    if kind == OptionKind::Go {
                        return Ok(Negotiated::Transmission);
                    }
                }
                Some(OptionKind::StructuredReply) if !data.is_empty() => {
                    self.reply(option, Reply::Invalid, &[])?
                }
                Some(OptionKind::StructuredReply) => {
                    self.structured = true;
                    self.reply(option, Reply::Ack, &[])?;
                }
                Some(kind @ (OptionKind::ListMetaContext | OptionKind::SetMetaContext)) => {
                    let set = kind == OptionKind::SetMetaContext;
                    let queries = structured::queries(&data).filter(|_| self.structured);
                    let Some(queries) = queries else {
                        self.reply(option, Reply::Invalid, &[])?;
                        continue;
                    };
                    let wanted = structured::wants_allocation(&queries, set);
                    if set {
                        self.allocation = wanted;
                    }
                    if wanted {
                        let id = if set { spec::ALLOCATION_ID } else { 0 };
                        let context = [&id.to_be_bytes(), spec::ALLOCATION].concat();
                        self.reply(option, Reply::MetaContext, &context)?;
                    }
                    self.reply(option, Reply::Ack, &[])?;
                }
                None => self.reply(option, Reply::Unsupported, &[])?,
            }
        }
    }

    fn send_info(&mut self, option: u32) -> io::Result<()> {
        let mut export = spec::INFO_EXPORT.to_be_bytes().to_vec();
        export.extend(self.disk.len().to_be_bytes());
        export.extend(self.flags().to_be_bytes());
        self.reply(option, Reply::Info, &export)?;
        let mut sizes = spec::INFO_BLOCK_SIZE.to_be_bytes().to_vec();
        // Any byte can be addressed, pages are best.
        for size in [1, 4096, MAX_PAYLOAD] {
            sizes.extend(size.to_be_bytes());
        }
        self.reply(option, Reply::Info, &sizes)?;
        self.reply(option, Reply::Ack, &[])
    }

    fn reply(&mut self, option: u32, reply: Reply, data: &[u8]) -> io::Result<()> {
        let mut bytes = spec::OPTION_REPLY_MAGIC.to_vec();
        bytes.extend(option.to_be_bytes());
        bytes.extend((reply as u32).to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        self.stream.write_all(&bytes)
    }

    fn flags(&self) -> u16 {
        let mut always = spec::HAS_FLAGS | spec::SEND_FLUSH | spec::SEND_FUA | spec::CAN_MULTI_CONN;
        if self.structured {
            always |= spec::SEND_DF;
        }
        if self.read_only {
            always | spec::READ_ONLY
        } else {
            always | spec::SEND_TRIM | spec::SEND_WRITE_ZEROES
        }
    }

    /// Does one request; `false` when the client says good-bye.
    fn request(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let magic: [u8; 4] = match self.take() {
            // Clients that just hang up between requests are in the right too.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            magic => magic?,
        };
        if magic != spec::REQUEST_MAGIC {
            return Err(broken("a request has the wrong magic"));
        }
        let request = Request {
            flags: u16::from_be_bytes(self.take()?),
            command: u16::from_be_bytes(self.take()?),
            cookie: self.take()?,
            offset: u64::from_be_bytes(self.take()?),
            length: u32::from_be_bytes(self.take()?),
        };
        let command = Command::decode(request.command);
        if command == Some(Command::Disconnect) {
            return Ok(false);
        }
        buffer.clear();
        let payload = matches!(command, Some(Command::Read | Command::Write));
        if payload && request.length > MAX_PAYLOAD {
            // What follows a write cannot be told from requests any more.
            if command == Some(Command::Write) {
                return Err(broken("a write is too long"));
            }
            return self.answer(&request, spec::EINVAL, &[]);
        }
        if payload {
            buffer.resize(request.length as usize, 0);
        }
        if command == Some(Command::Write) {
            self.stream.read_exact(buffer)?;
        }
        let result = match command {
            Some(Command::BlockStatus) => {
                return match self.block_status(&request) {
                    Ok(extents) => self.chunk(&request, spec::DONE, spec::Chunk::BlockStatus, &[&extents]),
                    Err(error) => self.answer(&request, error, &[]),
                };
            }
            Some(command) => self.perform(command, &request, buffer),
            None => Err(spec::EINVAL),
        };
        match result {
            Ok(()) if command == Some(Command::Read) && self.structured => self.answer_read(&request, buffer),
            Ok(()) if command == Some(Command::Read) => self.answer(&request, 0, buffer),
            Ok(()) => self.answer(&request, 0, &[]),
            Err(error) => self.answer(&request, error, &[]),
        }
    }

    fn perform(&self, command: Command, request: &Request, buffer: &mut [u8]) -> Result<(), u32> {
        let Request {
            flags,
            offset,
            length,
            ..
        } = *request;
        let writes = matches!(command, Command::Write | Command::Trim | Command::WriteZeroes);
        if writes && self.read_only {
            return Err(spec::EPERM);
        }
        let done = match command {
            Command::Read => self.disk.read_at(offset, buffer),
            Command::Write => self.disk.write_at(offset, buffer),
            Command::Flush => self.disk.flush(),
            Command::Trim => self.disk.discard(offset, u64::from(length)),
            Command::WriteZeroes => write_zeroes(self.disk, offset, u64::from(length)),
            // Both are dealt with before.
            Command::Disconnect | Command::BlockStatus => Ok(()),
        };
        let durable = done.and_then(|()| {
            if writes && flags & spec::FUA != 0 {
                self.disk.flush()
            } else {
                Ok(())
            }
        });
        durable.map_err(|error| {
            log::debug!("{command:?} at {offset}, {length} bytes: {error}");
            number(&error, writes)
        })
    }

    fn answer(&mut self, request: &Request, error: u32, data: &[u8]) -> io::Result<bool> {
        let chunked = matches!(
            Command::decode(request.command),
            Some(Command::Read | Command::BlockStatus)
        );
        if self.structured && chunked {
            // An error with no words.
            let payload = [&error.to_be_bytes()[..], &[0; 2]];
            return self.chunk(request, spec::DONE, spec::Chunk::Error, &payload);
        }
        let mut head = spec::SIMPLE_REPLY_MAGIC.to_vec();
        head.extend(error.to_be_bytes());
        head.extend(request.cookie);
        self.stream.write_all(&head)?;
        self.stream.write_all(data)?;
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The protocol's number for a failure.
fn number(error: &vhd::Error, writes: bool) -> u32 {
    match error.kind() {
        vhd::Kind::OutOfRange if writes => spec::ENOSPC,
        vhd::Kind::OutOfRange => spec::EINVAL,
        vhd::Kind::ReadOnly => spec::EPERM,
        vhd::Kind::HostDiskFull => spec::ENOSPC,
        _ => spec::EIO,
    }
}

/// Disks zero whole sectors; parts of them at the ends of the range are written.
fn write_zeroes(disk: &vhd::Disk, offset: u64, length: u64) -> vhd::Result<()> {
    const SECTOR: u64 = vhd::format::spec::SECTOR;
    // A range that overflows is refused by the disk, as it is.
    let Some(end) = offset.checked_add(length).filter(|&end| end <= disk.len()) else {
        return disk.write_zeroes(offset, length);
    };
    let first = offset.next_multiple_of(SECTOR).min(end);
    let last = (end - end % SECTOR).max(first);
    let zeros = [0; SECTOR as usize];
    let part = |length: u64| zeros.get(..length as usize).unwrap_or_default();
    disk.write_at(offset, part(first - offset))?;
    disk.write_zeroes(first, last - first)?;
    disk.write_at(last, part(end - last))
}

/// Whether the data of an INFO or GO option is what it should be: a name with its length, and a list with its length.
fn info_is_sound(data: &[u8]) -> bool {
    let sound = || {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let (_name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        (rest.len() == usize::from(u16::from_be_bytes(*count)) * 2).then_some(())
    };
    sound().is_some()
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
