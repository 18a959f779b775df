//! SET and the older commands it replaced: SETNX, SETEX, PSETEX, GETSET.

use super::options::{Condition, Grammar, Options, Unit, deadline, is_option};
use super::{reply_string, string_equals};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::effects::class;
use crate::keyspace::NewValue;
use crate::keyspace::access::Expiry;

/// SET key value [NX | XX | IFEQ value] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
pub fn set(ctx: &mut Context<'_>) -> Outcome {
    let (key, value) = (ctx.args[1], ctx.args[2]);
    if ctx.args.len() == 3 {
        ctx.db.write_and_set(key, NewValue::string(value), Expiry::Drop);
        ctx.db.changed(class::STRING, "set", key);
        ctx.reply.ok();
        return Ok(());
    }
    let options = Options::parse(&ctx.args[3..], Grammar::Set)?;
    let deadline = options.deadline(ctx)?;
    if options.get {
        match ctx.db.read(key) {
            Some(entry) => reply_string(ctx.reply, entry)?,
            None => ctx.reply.null(),
        }
    }
    let found = ctx.db.write(key);
    let exists = found.is_some();
    let met = match (options.condition, found) {
        (Condition::Always, _) => true,
        (Condition::Missing, found) => found.is_none(),
        (Condition::Present, found) => found.is_some(),
        (Condition::Equals(_), None) => false,
        (Condition::Equals(value), Some(entry)) => string_equals(entry, value)?,
    };
    if !met {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(());
    }
    if let Some(at) = deadline
        && is_past(ctx, at)
    {
        if exists {
            delete_as_expired(ctx, key);
        }
    } else {
        ctx.db.set(key, NewValue::string(value), options.expiry(deadline));
        ctx.db.changed(class::STRING, "set", key);
        if let Some(at) = deadline {
            ctx.db.notify(class::GENERIC, "expire", key);
            if !options.is_absolute() {
                // A request of this very shape keeps the client's spelling of the name.
                let name = if ctx.args.len() == 5 { ctx.args[0] } else { b"SET" };
                propagate_set(ctx, name, key, value, at);
            }
        } else if options.get {
            propagate_without_get(ctx);
        }
    }
    if !options.get {
        ctx.reply.ok();
    }
    Ok(())
}

/// Whether a deadline argument means "delete now" (spec key-lifetime.md, 0.4).
pub(super) fn is_past(ctx: &Context<'_>, deadline: i64) -> bool {
    deadline <= ctx.db.now && !ctx.db.rules.store_past
}

/// Removes a key that was given a deadline in the past. In the stream that is the deletion and nothing else.
pub(super) fn delete_as_expired(ctx: &mut Context<'_>, key: &[u8]) {
    ctx.db.remove(key);
    ctx.db.effects.counters.expired_keys += 1;
    let name: &[u8] = if ctx.db.lazy_expire { b"UNLINK" } else { b"DEL" };
    ctx.db.rewrite(&[name, key]);
    ctx.db.changed(class::EXPIRED, "expired", key);
}

/// Says in the stream what was set until when, whatever the client said. `name` is the word for the command.
fn propagate_set(ctx: &mut Context<'_>, name: &[u8], key: &[u8], value: &[u8], deadline: i64) {
    ctx.db.rewrite(&[name, key, value, b"PXAT", itoa::Buffer::new().format(deadline).as_bytes()]);
}

/// Replicas have no use for the old value, so every GET behind the value is left out of the stream.
fn propagate_without_get(ctx: &mut Context<'_>) {
    if ctx.db.effects.listening.propagation {
        let mut kept = ctx.args[..3].to_vec();
        let mut words = ctx.args[3..].iter();
        while let Some(word) = words.next() {
            if !is_option(word, "get") {
                kept.push(word);
            }
            if is_option(word, "ifeq") {
                kept.extend(words.next());
            }
        }
        ctx.db.rewrite(&kept);
    }
}

/// SETNX key value
pub fn setnx(ctx: &mut Context<'_>) -> Outcome {
    let (key, value) = (ctx.args[1], ctx.args[2]);
    let missing = ctx.db.write(key).is_none();
    if missing {
        ctx.db.set(key, NewValue::string(value), Expiry::Drop);
        ctx.db.changed(class::STRING, "set", key);
    }
    ctx.reply.integer(i64::from(missing));
    Ok(())
}

/// SETEX key seconds value
pub fn setex(ctx: &mut Context<'_>) -> Outcome {
    set_with_lifetime(ctx, Unit::Seconds)
}

/// PSETEX key milliseconds value
pub fn psetex(ctx: &mut Context<'_>) -> Outcome {
    set_with_lifetime(ctx, Unit::Milliseconds)
}

fn set_with_lifetime(ctx: &mut Context<'_>, unit: Unit) -> Outcome {
    let (key, value) = (ctx.args[1], ctx.args[3]);
    let at = deadline(ctx, unit, ctx.args[2])?;
    ctx.db.write_and_set(key, NewValue::string(value), Expiry::At(at));
    ctx.db.changed(class::STRING, "set", key);
    ctx.db.notify(class::GENERIC, "expire", key);
    propagate_set(ctx, b"SET", key, value, at);
    ctx.reply.ok();
    Ok(())
}

/// GETSET key value
pub fn getset(ctx: &mut Context<'_>) -> Outcome {
    let (key, value) = (ctx.args[1], ctx.args[2]);
    match ctx.db.read(key) {
        Some(entry) => reply_string(ctx.reply, entry)?,
        None => ctx.reply.null(),
    }
    ctx.db.write_and_set(key, NewValue::string(value), Expiry::Drop);
    ctx.db.changed(class::STRING, "set", key);
    ctx.db.rewrite(&[b"SET", key, value]);
    Ok(())
}
