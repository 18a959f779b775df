//! Commands on strings as arrays of bits. Bit 0 is the highest of the first byte.

pub mod combine;
pub mod field;
pub mod range;
pub mod single;

#[cfg(test)]
mod tests;

use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, StringKind, Type, Value};
use crate::types::number::parse_i64;

/// Reads a bit offset; it must lie in a string within `proto-max-bulk-len`.
fn bit_offset(ctx: &Context<'_>, arg: &[u8]) -> Result<u64, CommandError> {
    checked_offset(ctx, parse_i64(arg))
}

fn checked_offset(ctx: &Context<'_>, offset: Option<i64>) -> Result<u64, CommandError> {
    offset
        .and_then(|n| u64::try_from(n).ok())
        .filter(|n| n >> 3 < ctx.config.proto_max_bulk_len)
        .ok_or(CommandError::fixed("ERR bit offset is not an integer or out of range"))
}

/// How a write found its string.
struct Room {
    /// The string was made longer, or was made.
    grown: bool,
}

/// Sees to it that the string is there and at least `len` bytes long, filled up with zeros.
fn make_room(ctx: &mut Context<'_>, key: &[u8], len: usize) -> Result<Room, CommandError> {
    let grown = match ctx.db.write(key) {
        None => {
            let zeros = Value::Str(vec![0; len], StringKind::Raw);
            ctx.db.set(key, NewValue::Owned(zeros), Expiry::Drop);
            true
        }
        Some(entry) if entry.kind() == Type::String => {
            let old = entry.string_len();
            entry.grow_raw(len);
            old < len
        }
        Some(_) => return Err(CommandError::WrongType),
    };
    Ok(Room { grown })
}

/// The bytes of a string that [`make_room`] prepared.
fn prepared<'c>(ctx: &'c mut Context<'_>, key: &[u8]) -> &'c mut [u8] {
    let entry = ctx.db.again(key).expect("room was made in it");
    entry.string_bytes_mut().expect("room was made in it, so it is a string of bytes")
}

/// Refuses a key that holds something else than a string.
fn check_string(ctx: &mut Context<'_>, key: &[u8]) -> Outcome {
    match ctx.db.read(key) {
        Some(entry) if entry.kind() != Type::String => Err(CommandError::WrongType),
        _ => Ok(()),
    }
}
