//! RDB files, written and read piece by piece (spec page rdb.md, sections 1 and 2).
//!
//! ```text
//! magic │ aux ... │ functions ... │ { database │ sizes │ { [deadline] [use] type key value } ... } ... │ FF │ CRC-64
//! ```
//! Neither side does I/O: the writer hands out bytes, the reader is given them.

use super::checksum::Checksum;
use super::read::Reader;
use super::{Compression, DecodeError, Limits, ValueType, decode_value, encode_value, value_type, write};
use crate::config::RdbVersionCheck;
use crate::keyspace::{Entry, Value};

/// The bytes that introduce what is no key.
pub mod opcode {
    pub const SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const OLD_FUNCTION: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const SIZES: u8 = 251;
    pub const DEADLINE_MS: u8 = 252;
    pub const DEADLINE_S: u8 = 253;
    pub const DATABASE: u8 = 254;
    pub const END: u8 = 255;
}

const MAGIC: &[u8; 9] = b"VALKEY080";
/// Before this version files had no checksum.
const FIRST_WITH_CHECKSUM: u32 = 5;
/// The newest version that other servers share, and the first and current of Valkey's own.
const SHARED_VERSION_MAX: u32 = 11;
const OWN_VERSION: u32 = 80;
/// Types and opcodes that a file of another server cannot mean as Valkey does.
const FOREIGN: std::ops::RangeInclusive<u8> = 22..=243;

/// How recently or how often a key was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    #[default]
    Unsaid,
    /// Seconds since the last use.
    Idle(u64),
    /// The logarithmic counter.
    Frequency(u8),
}

/// A key as it stands in a file.
pub fn write_entry(out: &mut Vec<u8>, entry: &Entry, usage: Usage, compression: Compression) {
    write_entry_head(out, entry, usage, compression);
    encode_value(out, &entry.value(), compression);
}

/// The part of [`write_entry`] in front of the value.
pub fn write_entry_head(out: &mut Vec<u8>, entry: &Entry, usage: Usage, compression: Compression) {
    if let Some(deadline) = entry.expiry() {
        out.push(opcode::DEADLINE_MS);
        write::milliseconds(out, deadline);
    }
    match usage {
        Usage::Unsaid => {}
        Usage::Idle(seconds) => {
            out.push(opcode::IDLE);
            write::length(out, seconds);
        }
        Usage::Frequency(counter) => out.extend_from_slice(&[opcode::FREQUENCY, counter]),
    }
    out.push(value_type(&entry.value()) as u8);
    write::string(out, entry.key(), compression);
}

/// Makes a file. What was written collects in a buffer until [`FileWriter::take`] hands it out, so that the caller
/// decides how much is held and when it goes out.
pub struct FileWriter {
    buffer: Vec<u8>,
    /// Of all that was handed out; `None` writes zero, which means "not checked" (`rdbchecksum no`).
    sum: Option<Checksum>,
    compression: Compression,
}

impl FileWriter {
    /// Begins a file in the version this server writes.
    pub fn new(compression: Compression, checksum: bool) -> Self {
        FileWriter { buffer: MAGIC.to_vec(), sum: checksum.then(Checksum::new), compression }
    }

    /// Bytes waiting to be taken.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Hands out what was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        if let Some(sum) = &mut self.sum {
            sum.update(&self.buffer);
        }
        std::mem::take(&mut self.buffer)
    }

    /// A field about the file, such as `valkey-ver`.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        write_aux(&mut self.buffer, name, value, self.compression);
    }

    /// The source of a function library.
    pub fn function(&mut self, code: &[u8]) {
        self.buffer.push(opcode::FUNCTION);
        write::string(&mut self.buffer, code, self.compression);
    }

    /// An import of slots under way: its job name and ranges of slots, ends included.
    pub fn slot_import(&mut self, name: &[u8], ranges: &[(u16, u16)]) {
        self.buffer.push(opcode::SLOT_IMPORT);
        write::string(&mut self.buffer, name, self.compression);
        write::count(&mut self.buffer, ranges.len());
        for (first, last) in ranges {
            write::length(&mut self.buffer, (*first).into());
            write::length(&mut self.buffer, (*last).into());
        }
    }

    /// Begins a database, which has so many keys, so many of them with a deadline.
    pub fn database(&mut self, number: u32, keys: u64, deadlines: u64) {
        self.buffer.push(opcode::DATABASE);
        write::length(&mut self.buffer, number.into());
        self.buffer.push(opcode::SIZES);
        write::length(&mut self.buffer, keys);
        write::length(&mut self.buffer, deadlines);
    }

    /// A key of the current database.
    pub fn entry(&mut self, entry: &Entry, usage: Usage) {
        write_entry(&mut self.buffer, entry, usage, self.compression);
    }

    /// Goes on with a database that was begun before.
    pub fn reselect(&mut self, number: u32) {
        self.buffer.push(opcode::DATABASE);
        write::length(&mut self.buffer, number.into());
    }

    /// Keys that [`write_entry`] encoded.
    pub fn encoded(&mut self, keys: &[u8]) {
        self.buffer.extend_from_slice(keys);
    }

    /// Ends the file and hands out the rest of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.buffer.push(opcode::END);
        let mut rest = self.take();
        let sum = self.sum.map_or(0, Checksum::value);
        rest.extend_from_slice(&sum.to_le_bytes());
        rest
    }
}

/// A key read from a file.
pub struct FileKey {
    pub key: Vec<u8>,
    pub value: Value,
    /// Unix milliseconds; whether it has passed is for the caller to judge, and so for fields of hashes.
    pub deadline: Option<i64>,
    pub usage: Usage,
}

/// What a file holds, in its order.
pub enum FileItem {
    Aux {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Function(Vec<u8>),
    SlotImport {
        name: Vec<u8>,
        ranges: Vec<(u64, u64)>,
    },
    Database(u64),
    Sizes {
        keys: u64,
        deadlines: u64,
    },
    Key(Box<FileKey>),
    /// A collection without elements under this key, which is not to be created.
    Skipped(Vec<u8>),
    /// The end, with a checksum that fits or none.
    End,
}

/// Why a file cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    #[error("Can't handle foreign type or opcode {0} in RDB with version {1}")]
    ForeignOpcode(u8, u32),
    #[error("Pre-release function format not supported")]
    OldFunction,
    #[error("The RDB file contains AUX module data I can't load")]
    ModuleAux,
    #[error("Wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now.")]
    Checksum { expected: u64, found: u64 },
    #[error(transparent)]
    Value(#[from] DecodeError),
}

/// The name of the field that announces the keys of a slot.
pub const SLOT_HINT: &[u8] = b"slot-info";

/// Appends a field that says something about the file.
pub fn write_aux(out: &mut Vec<u8>, name: &[u8], value: &[u8], compression: Compression) {
    out.push(opcode::AUX);
    write::string(out, name, compression);
    write::string(out, value, compression);
}

/// Reads a file that comes in pieces of any size.
///
/// An item is read when all of it is there. Trying again with every piece would make large values quadratic, so after a
/// vain attempt the reader waits until it has twice as much, or knows that nothing will follow.
pub struct FileReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read already.
    start: usize,
    /// Bytes behind `start` that make another attempt worthwhile.
    wanted: usize,
    complete: bool,
    /// Bytes read, since the beginning of the file.
    offset: u64,
    version: Option<u32>,
    sum: Checksum,
    check: RdbVersionCheck,
    verify: bool,
    limits: Limits,
}

impl FileReader {
    /// `verify`: whether the checksum is looked at (`rdbchecksum`).
    pub fn new(check: RdbVersionCheck, verify: bool, limits: Limits) -> Self {
        FileReader {
            buffer: Vec::new(),
            start: 0,
            wanted: MAGIC.len(),
            complete: false,
            offset: 0,
            version: None,
            sum: Checksum::new(),
            check,
            verify,
            limits,
        }
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: &[u8]) {
        // Moving the unread part down costs as much as what was read before, at most.
        if self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// Says that no more pieces will come.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Bytes that were added and not read: what follows the end of the file.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Where in the file the next item begins, or the one that could not be read: bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The version of the file, once its first bytes are read.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The next item; `None` if more bytes are needed for it. Not to be called again after an error or the end.
    pub fn next_item(&mut self) -> Result<Option<FileItem>, FileError> {
        if self.rest().len() < self.wanted && !self.complete {
            return Ok(None);
        }
        let version = match self.version {
            Some(version) => version,
            None => match self.magic() {
                Err(FileError::Value(DecodeError::Truncated)) if !self.complete => return Ok(None),
                other => other?,
            },
        };
        let available = self.rest().len();
        let mut reader = Reader::new(self.rest());
        match self.item(version, &mut reader) {
            Err(FileError::Value(DecodeError::Truncated)) if !self.complete => {
                self.wanted = (2 * available).max(1);
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(item) => {
                let taken = available - reader.remaining();
                self.sum.update(&self.buffer[self.start..self.start + taken]);
                self.start += taken;
                self.offset += taken as u64;
                self.wanted = 1;
                Ok(Some(item))
            }
        }
    }

    fn magic(&mut self) -> Result<u32, FileError> {
        let magic: [u8; 9] = Reader::new(self.rest()).array()?;
        let digits = |text: &[u8]| {
            let number = || std::str::from_utf8(text).ok()?.parse().ok();
            if text.iter().all(u8::is_ascii_digit) { number() } else { None }
        };
        let (own, version) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', version @ ..] => (false, digits(version)),
            [b'V', b'A', b'L', b'K', b'E', b'Y', version @ ..] => (true, digits(version)),
            _ => return Err(FileError::Signature),
        };
        let version: u32 = version.ok_or(FileError::Signature)?;
        let relaxed = self.check == RdbVersionCheck::Relaxed;
        let readable = match (own, version) {
            (false, 1..=SHARED_VERSION_MAX) | (true, OWN_VERSION) => true,
            (false, 1..OWN_VERSION) => relaxed,
            (true, newer) if newer > OWN_VERSION => relaxed,
            _ => false,
        };
        if !readable {
            return Err(FileError::Version(version));
        }
        self.sum.update(&magic);
        self.start += magic.len();
        self.offset += magic.len() as u64;
        self.version = Some(version);
        self.wanted = 1;
        Ok(version)
    }

    fn item(&self, version: u32, reader: &mut Reader<'_>) -> Result<FileItem, FileError> {
        let mut deadline = None;
        let mut usage = Usage::Unsaid;
        loop {
            let byte = reader.byte()?;
            if version < OWN_VERSION && FOREIGN.contains(&byte) {
                return Err(FileError::ForeignOpcode(byte, version));
            }
            return Ok(match byte {
                opcode::DEADLINE_MS => {
                    deadline = Some(reader.milliseconds()?);
                    continue;
                }
                opcode::DEADLINE_S => {
                    deadline = Some(i64::from(i32::from_le_bytes(reader.array()?)) * 1000);
                    continue;
                }
                opcode::IDLE => {
                    usage = Usage::Idle(reader.length()?);
                    continue;
                }
                opcode::FREQUENCY => {
                    usage = Usage::Frequency(reader.byte()?);
                    continue;
                }
                opcode::SLOT_INFO => {
                    for _ in 0..3 {
                        reader.length()?;
                    }
                    continue;
                }
                opcode::AUX => FileItem::Aux {
                    name: reader.string()?.into_owned(),
                    value: reader.string()?.into_owned(),
                },
                opcode::FUNCTION => FileItem::Function(reader.string()?.into_owned()),
                opcode::SLOT_IMPORT => {
                    let name = reader.string()?.into_owned();
                    let count = reader.count(2)?;
                    let range = |_| Ok((reader.length()?, reader.length()?));
                    let ranges = (0..count).map(range).collect::<Result<_, DecodeError>>()?;
                    FileItem::SlotImport { name, ranges }
                }
                opcode::DATABASE => FileItem::Database(reader.length()?),
                opcode::SIZES => FileItem::Sizes { keys: reader.length()?, deadlines: reader.length()? },
                opcode::OLD_FUNCTION => return Err(FileError::OldFunction),
                opcode::MODULE_AUX => return Err(FileError::ModuleAux),
                opcode::END => self.end(version, reader)?,
                number => self.key(number, deadline, usage, reader)?,
            });
        }
    }

    fn key(
        &self,
        number: u8,
        deadline: Option<i64>,
        usage: Usage,
        reader: &mut Reader<'_>,
    ) -> Result<FileItem, FileError> {
        let kind = ValueType::from_number(number).ok_or(DecodeError::UnknownType(number))?;
        let key = reader.string()?.into_owned();
        Ok(match decode_value(kind, reader, &self.limits) {
            Err(DecodeError::Empty) => FileItem::Skipped(key),
            value => FileItem::Key(Box::new(FileKey { key, value: value?, deadline, usage })),
        })
    }

    /// The opcode has been read; the checksum covers it.
    fn end(&self, version: u32, reader: &mut Reader<'_>) -> Result<FileItem, FileError> {
        if version >= FIRST_WITH_CHECKSUM {
            let before = self.rest().len() - reader.remaining();
            let found = u64::from_le_bytes(reader.array()?);
            let mut sum = self.sum;
            sum.update(&self.rest()[..before]);
            let expected = sum.value();
            if self.verify && found != 0 && expected != found {
                return Err(FileError::Checksum { expected, found });
            }
        }
        Ok(FileItem::End)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
