//! Commands on strings.

pub mod counter;
pub mod edit;
pub mod lcs;
pub mod many;
pub mod options;
pub mod read;
pub mod set;

#[cfg(test)]
mod tests;

use crate::commands::CommandError;
use crate::keyspace::{Entry, ValueRef};
use crate::resp::Reply;

/// Writes a string value as a bulk string; other types are refused.
#[inline]
pub(super) fn reply_string(reply: &mut Reply, entry: &Entry) -> Result<(), CommandError> {
    match entry.value() {
        ValueRef::Str(bytes) => reply.bulk(bytes),
        ValueRef::Int(n) => reply.bulk_integer(n),
        _ => return Err(CommandError::WrongType),
    }
    Ok(())
}

/// The bytes of a string value, integers as text in `digits`; other types are refused.
#[inline]
pub(in crate::commands) fn string_of<'e>(
    entry: &'e Entry,
    digits: &'e mut itoa::Buffer,
) -> Result<&'e [u8], CommandError> {
    match entry.value() {
        ValueRef::Str(bytes) => Ok(bytes),
        ValueRef::Int(n) => Ok(digits.format(n).as_bytes()),
        _ => Err(CommandError::WrongType),
    }
}

/// Whether a string value is exactly these bytes; other types are refused.
fn string_equals(entry: &Entry, bytes: &[u8]) -> Result<bool, CommandError> {
    Ok(string_of(entry, &mut itoa::Buffer::new())? == bytes)
}
