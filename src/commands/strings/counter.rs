//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use super::string_of;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, StringKind, ValueRef};
use crate::types::extended::Extended;
use crate::types::number::parse_i64;

/// INCR key
pub fn incr(ctx: &mut Context<'_>) -> Outcome {
    add(ctx, 1)
}

/// DECR key
pub fn decr(ctx: &mut Context<'_>) -> Outcome {
    add(ctx, -1)
}

/// INCRBY key increment
pub fn incrby(ctx: &mut Context<'_>) -> Outcome {
    let by = ctx.integer(2)?;
    add(ctx, by)
}

/// DECRBY key decrement
pub fn decrby(ctx: &mut Context<'_>) -> Outcome {
    let by = ctx.integer(2)?;
    match by.checked_neg() {
        Some(by) => add(ctx, by),
        None => Err(CommandError::fixed("ERR decrement would overflow")),
    }
}

fn add(ctx: &mut Context<'_>, by: i64) -> Outcome {
    let key = ctx.args[1];
    let entry = ctx.db.write(key);
    let old = match entry.as_ref().map(|entry| entry.value()) {
        None => 0,
        Some(ValueRef::Int(n)) => n,
        Some(ValueRef::Str(bytes)) => parse_i64(bytes).ok_or(CommandError::NotInteger)?,
        Some(_) => return Err(CommandError::WrongType),
    };
    let new = old
        .checked_add(by)
        .ok_or(const { CommandError::fixed("ERR increment or decrement would overflow") })?;
    let in_place = entry.is_some_and(|entry| entry.set_int_in_place(new));
    if !in_place {
        ctx.db.set(key, NewValue::Int(new), Expiry::Keep);
    }
    ctx.db.changed(class::STRING, "incrby", key);
    ctx.reply.integer(new);
    Ok(())
}

/// INCRBYFLOAT key increment
pub fn incrbyfloat(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.args[1];
    let old = match ctx.db.write(key) {
        None => Extended::from_f64(0.0),
        Some(entry) => {
            let mut digits = itoa::Buffer::new();
            Extended::parse(string_of(entry, &mut digits)?).ok_or(CommandError::NotFloat)?
        }
    };
    let by = Extended::parse(ctx.args[2]).ok_or(CommandError::NotFloat)?;
    let new = old
        .plus(by)
        .filter(|sum| sum.is_finite())
        .ok_or(CommandError::fixed("ERR increment would produce NaN or Infinity"))?;
    let text = new.text();
    ctx.db.set(key, NewValue::Str(&text, StringKind::Embstr), Expiry::Keep);
    ctx.db.changed(class::STRING, "incrbyfloat", key);
    // The sum itself is propagated: replicas and later versions must not add differently.
    ctx.db.rewrite(&[b"SET", key, &text, b"KEEPTTL"]);
    ctx.reply.bulk(&text);
    Ok(())
}
