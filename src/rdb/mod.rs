//! The binary form of values that RDB files, DUMP payloads, full synchronisations and migrations share, readable and
//! writable by Valkey 9.1 (spec page rdb.md).
//!
//! ## Code map
//! - [`write`]: lengths and strings, writing
//! - [`read`]: lengths and strings, reading
//! - [`encode`]: a value as Valkey 9.1 would write it
//! - [`decode`]: a value of any type Valkey 9.1 reads; old encodings in `legacy`, streams in `stream`
//! - [`payload`]: DUMP payloads, which are a value with a version and a checksum
//! - [`file`]: RDB files, written and read piece by piece
//! - [`checksum`]: the CRC of files and payloads
//!
//! Invariant: whatever the bytes, decoding ends in a value that obeys the rules of its type or in an error, and
//! allocates in proportion to the bytes (or, for compressed strings, to what they can expand to).

pub mod checksum;
pub mod decode;
pub mod encode;
pub mod file;
mod legacy;
pub mod payload;
pub mod read;
mod stream;
pub mod write;

pub use decode::{Limits, decode_value};
pub use encode::{Progress, encode_value, value_type};

/// How a value is laid out: the byte before the key in a file, and the first byte of a DUMP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    String = 0,
    List = 1,
    Set = 2,
    /// Scores as text.
    ZSetText = 3,
    Hash = 4,
    ZSet = 5,
    Module1 = 6,
    Module = 7,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    ZSetZiplist = 12,
    HashZiplist = 13,
    /// A list of ziplists.
    ListQuicklist1 = 14,
    Stream1 = 15,
    HashListpack = 16,
    ZSetListpack = 17,
    ListQuicklist = 18,
    Stream2 = 19,
    SetListpack = 20,
    Stream = 21,
    /// A hash whose fields may have deadlines.
    HashDeadlines = 22,
}

/// The first type that only files of Valkey itself may hold.
pub const FIRST_FOREIGN_TYPE: u8 = 22;

impl ValueType {
    /// The type of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        use ValueType::*;
        const ALL: [ValueType; 22] = [
            String,
            List,
            Set,
            ZSetText,
            Hash,
            ZSet,
            Module1,
            Module,
            HashZipmap,
            ListZiplist,
            SetIntset,
            ZSetZiplist,
            HashZiplist,
            ListQuicklist1,
            Stream1,
            HashListpack,
            ZSetListpack,
            ListQuicklist,
            Stream2,
            SetListpack,
            Stream,
            HashDeadlines,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Whether strings that get shorter by it are compressed (`rdbcompression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Off,
    On,
}

impl Compression {
    /// From the directive's value.
    pub fn on_if(yes: bool) -> Self {
        if yes { Self::On } else { Self::Off }
    }
}

/// Why bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes are needed than there are.
    #[error("the data ends too early")]
    Truncated,
    #[error("unknown value type {0}")]
    UnknownType(u8),
    /// A value of a module, which no module here can read.
    #[error("the value belongs to module type '{0}'")]
    Module(String),
    #[error("Unknown length encoding {0} in rdbLoadLen()")]
    Length(u8),
    #[error("Unknown RDB string encoding type {0}")]
    StringKind(u8),
    #[error("Invalid LZF compressed string")]
    Compressed,
    /// The parts are there but cannot all be true: what is wrong, in the words that tools look for in the log.
    #[error("{0}")]
    Malformed(&'static str),
    /// A collection without elements, which a loader of files skips.
    #[error("a collection without elements")]
    Empty,
}

#[cfg(test)]
mod tests;
