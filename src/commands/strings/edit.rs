//! Changing a part of a string: APPEND and SETRANGE.

use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, StringKind, Type, Value};

/// Refuses a string that would be `size + more` bytes long, if that is beyond `proto-max-bulk-len`.
pub fn check_length(ctx: &Context<'_>, size: u64, more: u64) -> Outcome {
    match size.checked_add(more) {
        Some(total) if total <= ctx.config.proto_max_bulk_len => Ok(()),
        _ => Err(CommandError::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// APPEND key value
pub fn append(ctx: &mut Context<'_>) -> Outcome {
    let (key, tail) = (ctx.args[1], ctx.args[2]);
    let old_len = match ctx.db.write(key) {
        None => None,
        Some(entry) if entry.kind() == Type::String => Some(entry.string_len()),
        Some(_) => return Err(CommandError::WrongType),
    };
    match old_len {
        None => ctx.db.set(key, NewValue::string(tail), Expiry::Drop),
        Some(len) => {
            check_length(ctx, len as u64, tail.len() as u64)?;
            ctx.db.again(key).expect("found above").append(tail);
        }
    }
    ctx.db.changed(class::STRING, "append", key);
    ctx.reply.integer((old_len.unwrap_or(0) + tail.len()) as i64);
    Ok(())
}

/// SETRANGE key offset value
pub fn setrange(ctx: &mut Context<'_>) -> Outcome {
    let (key, patch) = (ctx.args[1], ctx.args[3]);
    let offset = ctx.integer(2)?;
    let Ok(offset) = u64::try_from(offset) else { return Err(CommandError::OffsetOutOfRange) };
    let old_len = match ctx.db.write(key) {
        None => None,
        Some(entry) if entry.kind() == Type::String => Some(entry.string_len()),
        Some(_) => return Err(CommandError::WrongType),
    };
    if patch.is_empty() {
        ctx.reply.integer(old_len.unwrap_or(0) as i64);
        return Ok(());
    }
    check_length(ctx, offset, patch.len() as u64)?;
    // The sum is within proto-max-bulk-len, so neither overflows.
    let (from, to) = (offset as usize, offset as usize + patch.len());
    let len = match old_len {
        None => {
            let mut bytes = vec![0; to];
            bytes[from..].copy_from_slice(patch);
            ctx.db.set(key, NewValue::Owned(Value::Str(bytes, StringKind::Raw)), Expiry::Drop);
            to
        }
        Some(len) => {
            ctx.db.again(key).expect("found above").grow_raw(to)[from..to].copy_from_slice(patch);
            len.max(to)
        }
    };
    ctx.db.changed(class::STRING, "setrange", key);
    ctx.reply.integer(len as i64);
    Ok(())
}
