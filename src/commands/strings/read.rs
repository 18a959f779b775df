//! Commands that read strings, some of them removing the key or changing its deadline: GET, GETEX, GETDEL, DELIFEQ,
//! MGET, STRLEN, GETRANGE.

use super::options::{Grammar, Lifetime, Options};
use super::set::{delete_as_expired, is_past};
use super::{reply_string, string_equals, string_of};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::effects::class;
use crate::keyspace::ValueRef;

/// GET key
pub fn get(ctx: &mut Context<'_>) -> Outcome {
    match ctx.db.read(ctx.args[1]) {
        Some(entry) => reply_string(ctx.reply, entry),
        None => {
            ctx.reply.null();
            Ok(())
        }
    }
}

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub fn getex(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.args[1];
    let options = Options::parse(&ctx.args[2..], Grammar::GetEx)?;
    let deadline = options.deadline(ctx)?;
    let Some(entry) = ctx.db.read(key) else {
        ctx.reply.null();
        return Ok(());
    };
    reply_string(ctx.reply, entry)?;
    let had = entry.expiry();
    match deadline {
        Some(at) if is_past(ctx, at) => delete_as_expired(ctx, key),
        Some(at) => {
            ctx.db.set_expiry(key, Some(at));
            ctx.db.rewrite(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at).as_bytes()]);
            ctx.db.changed(class::GENERIC, "expire", key);
        }
        None if options.lifetime == Lifetime::Persist && had.is_some() => {
            ctx.db.set_expiry(key, None);
            ctx.db.rewrite(&[b"PERSIST", key]);
            ctx.db.changed(class::GENERIC, "persist", key);
        }
        None => {}
    }
    Ok(())
}

/// GETDEL key
pub fn getdel(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.args[1];
    match ctx.db.read(key) {
        Some(entry) => reply_string(ctx.reply, entry)?,
        None => ctx.reply.null(),
    }
    // An expired key that a reader does not see may still lie there; it goes too (spec key-lifetime.md, 1.3).
    if ctx.db.remove(key) {
        ctx.db.rewrite(&[b"DEL", key]);
        ctx.db.changed(class::GENERIC, "del", key);
    }
    Ok(())
}

/// DELIFEQ key value
pub fn delifeq(ctx: &mut Context<'_>) -> Outcome {
    let (key, value) = (ctx.args[1], ctx.args[2]);
    let equal = match ctx.db.write(key) {
        Some(entry) => string_equals(entry, value)?,
        None => false,
    };
    if equal && ctx.db.remove(key) {
        ctx.db.rewrite(&[b"DEL", key]);
        ctx.db.changed(class::GENERIC, "del", key);
    }
    ctx.reply.integer(i64::from(equal));
    Ok(())
}

/// MGET key [key ...]
pub fn mget(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.array(ctx.args.len() - 1);
    for key in &ctx.args[1..] {
        match ctx.db.read(key).map(|entry| entry.value()) {
            Some(ValueRef::Str(bytes)) => ctx.reply.bulk(bytes),
            Some(ValueRef::Int(n)) => ctx.reply.bulk_integer(n),
            Some(_) | None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// STRLEN key
pub fn strlen(ctx: &mut Context<'_>) -> Outcome {
    let len = match ctx.db.read(ctx.args[1]) {
        Some(entry) => string_of(entry, &mut itoa::Buffer::new())?.len(),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

/// GETRANGE key start end, and SUBSTR
pub fn getrange(ctx: &mut Context<'_>) -> Outcome {
    let (start, end) = (ctx.integer(2)?, ctx.integer(3)?);
    match ctx.db.read(ctx.args[1]) {
        Some(entry) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string_of(entry, &mut digits)?;
            ctx.reply.bulk(inclusive_range(bytes, start, end));
        }
        None => ctx.reply.bulk(b""),
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included and negative ones counted from the end.
fn inclusive_range(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let from_end = |i: i64| if i < 0 { len.saturating_add(i).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end || len == 0 { b"" } else { &bytes[start as usize..=end as usize] }
}
