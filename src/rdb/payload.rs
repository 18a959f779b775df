//! DUMP payloads: `type, value, version (u16), CRC-64 of all before it (u64)`, little endian (spec page rdb.md,
//! section 6).

use super::checksum::Checksum;
use super::read::Reader;
use super::{
    Compression, DecodeError, FIRST_FOREIGN_TYPE, Limits, ValueType, decode_value, encode_value, value_type,
};
use crate::config::{Config, RdbVersionCheck};
use crate::keyspace::{Value, ValueRef};

/// The version this server writes.
pub const VERSION: u16 = 80;
/// Versions of other servers that share the older ones.
const FOREIGN_VERSIONS: std::ops::RangeInclusive<u16> = 12..=79;
const FOOTER: usize = 2 + 8;

/// Why a payload is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The footer: too short, a version not to be read, or a checksum that does not fit.
    #[error("wrong version or checksum")]
    Footer,
    /// A type that only Valkey has, in a version of another server.
    #[error("type {0} in a foreign version")]
    ForeignType(u8),
    #[error(transparent)]
    Value(#[from] DecodeError),
}

/// A value as DUMP answers it.
pub fn dump(value: &ValueRef<'_>, compression: Compression) -> Vec<u8> {
    let mut out = vec![value_type(value) as u8];
    encode_value(&mut out, value, compression);
    seal(&mut out, VERSION);
    out
}

/// Appends the footer to a type and value.
pub fn seal(out: &mut Vec<u8>, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let sum = Checksum::of(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What is demanded of a footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    pub versions: RdbVersionCheck,
    /// The checksum is taken for right.
    pub skip_checksum: bool,
}

impl Footer {
    pub fn of(config: &Config) -> Self {
        Footer { versions: config.rdb_version_check, skip_checksum: config.skip_checksums }
    }
}

impl From<RdbVersionCheck> for Footer {
    fn from(versions: RdbVersionCheck) -> Self {
        Footer { versions, skip_checksum: false }
    }
}

/// Checks the footer of a payload; what is before it is left.
pub fn verify(payload: &[u8], check: impl Into<Footer>) -> Result<&[u8], PayloadError> {
    checked(payload, check.into()).map(|(body, _)| body)
}

/// What is before the footer, and whether another server wrote it.
fn checked(payload: &[u8], check: Footer) -> Result<(&[u8], bool), PayloadError> {
    let (body, footer) =
        payload.len().checked_sub(FOOTER).map(|at| payload.split_at(at)).ok_or(PayloadError::Footer)?;
    let (version, sum) = footer.split_first_chunk().ok_or(PayloadError::Footer)?;
    let version = u16::from_le_bytes(*version);
    let foreign = FOREIGN_VERSIONS.contains(&version);
    let unusual = foreign || version > VERSION;
    if version == 0 || (unusual && check.versions == RdbVersionCheck::Strict) {
        return Err(PayloadError::Footer);
    }
    if !check.skip_checksum && sum != Checksum::of(&payload[..payload.len() - 8]).to_le_bytes() {
        return Err(PayloadError::Footer);
    }
    Ok((body, foreign))
}

/// Checks a payload and reads its value. Bytes between value and footer are ignored, and a value that is too short goes on
/// in the footer, as for Valkey: with a checksum that fits only somebody's invention can be like that.
pub fn restore(payload: &[u8], check: impl Into<Footer>, limits: &Limits) -> Result<Value, PayloadError> {
    let (_, foreign) = checked(payload, check.into())?;
    let mut reader = Reader::new(payload);
    let number = reader.byte()?;
    let kind = ValueType::from_number(number).ok_or(DecodeError::UnknownType(number))?;
    if foreign && number >= FIRST_FOREIGN_TYPE {
        return Err(PayloadError::ForeignType(number));
    }
    Ok(decode_value(kind, &mut reader, limits)?)
}
