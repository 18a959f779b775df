//! HGETEX and HGETDEL.

use super::setex::deadline_of;
use super::{Sight, changed, fields, hash_of, hash_of_mut, remove_empty, reply_value};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::commands::strings::options::{Grammar, Lifetime, Options};
use crate::types::hash::Hash;

/// What HGETEX does to the fields it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Persist,
    /// Unix milliseconds.
    Expire(i64),
    /// The deadline is over.
    Remove,
}

/// `HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS numfields field [field ...]`
pub fn hgetex(ctx: &mut Context<'_>) -> Outcome {
    let args = ctx.args;
    let at = fields::position(args, 1).ok_or(fields::COUNT_MISMATCH)?;
    let options = Options::parse(args.get(2..at).unwrap_or_default(), Grammar::GetEx)?;
    let names = fields::counted(args, at + 1, 1, fields::COUNT_MISMATCH)?;
    let (key, sight) = (args[1], Sight::of(ctx));
    let exists = ctx.db.read(key).map(hash_of).transpose()?.is_some();
    let change = match deadline_of(ctx, &options)? {
        Some(when) if sight.is_past(when) => Change::Remove,
        Some(when) => Change::Expire(when),
        None if options.lifetime == Lifetime::Persist => Change::Persist,
        None => Change::Nothing,
    };
    ctx.reply.array(names.len());
    let Some(entry) = ctx.db.again(key).filter(|_| exists) else {
        names.iter().for_each(|_| ctx.reply.null());
        return Ok(());
    };
    let mut hash = hash_of_mut(entry)?;
    let had_deadline = hash.earliest_deadline_ms();
    let mut done: Vec<&[u8]> = Vec::new();
    for name in names {
        let field = sight.get(&hash, name);
        let had = field.map(|field| field.deadline_ms);
        reply_value(ctx.reply, field);
        if had.is_some_and(|had| change_one(&mut hash, name, had, change)) {
            done.push(name);
        }
    }
    let (has_deadline, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
    drop(hash);
    ctx.db.note_fields(key, had_deadline, has_deadline);
    if !done.is_empty() {
        record(ctx, key, change, &done);
        if emptied {
            remove_empty(ctx, key);
        }
    }
    Ok(())
}

/// Changes a field that is there and had the deadline `had`; false if there is nothing to change.
fn change_one(hash: &mut Hash, name: &[u8], had: Option<i64>, change: Change) -> bool {
    match change {
        Change::Nothing => false,
        Change::Persist => had.is_some() && hash.set_deadline(name, None),
        Change::Expire(when) => hash.set_deadline(name, Some(when)),
        Change::Remove => hash.remove(name),
    }
}

/// Records what happened to the fields `done`, and propagates that.
fn record(ctx: &mut Context<'_>, key: &[u8], change: Change, done: &[&[u8]]) {
    let (mut digits, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format(done.len()).as_bytes();
    let (event, mut words): (_, Vec<&[u8]>) = match change {
        Change::Expire(when) => {
            ("hexpire", vec![b"HPEXPIREAT", key, digits.format(when).as_bytes(), b"FIELDS", count])
        }
        Change::Persist => ("hpersist", vec![b"HPERSIST", key, b"FIELDS", count]),
        Change::Remove | Change::Nothing => {
            ctx.db.effects.counters.expired_fields += done.len() as u64;
            ("hexpired", vec![b"HDEL", key])
        }
    };
    words.extend_from_slice(done);
    changed(ctx, event, key, done.len(), 0);
    ctx.db.rewrite(&words);
}

/// `HGETDEL key FIELDS numfields field [field ...]`
pub fn hgetdel(ctx: &mut Context<'_>) -> Outcome {
    let names = fields::without_options(ctx.args, fields::COUNT_MISMATCH)?;
    let (key, sight) = (ctx.arg(1), Sight::of(ctx));
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.array(names.len());
        names.iter().for_each(|_| ctx.reply.null());
        return Ok(());
    };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    ctx.reply.array(names.len());
    let mut removed = 0;
    for name in names {
        let field = sight.get(&hash, name);
        let there = field.is_some();
        reply_value(ctx.reply, field);
        if there {
            hash.remove(name);
            removed += 1;
        }
    }
    let (has, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
    drop(hash);
    ctx.db.note_fields(key, had, has);
    if removed > 0 {
        changed(ctx, "hdel", key, removed, 0);
        if emptied {
            remove_empty(ctx, key);
        }
    }
    Ok(())
}
