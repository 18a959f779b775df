//! HSETEX.

use super::{Set, Sight, changed, deadline, fields, hash_of, hash_of_mut, limits, remove_empty};
use crate::commands::context::Outcome;
use crate::commands::strings::options::{Condition, Grammar, Lifetime, Options, Unit, is_option};
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::{NewValue, Value};
use crate::types::hash::{Deadline, Hash};

/// Fields in one propagated HDEL, at most.
const HDEL_FIELDS_MAX: usize = 1024;

/// The deadline that EX, PX, EXAT or PXAT gives, Unix milliseconds.
pub(super) fn deadline_of(ctx: &Context<'_>, options: &Options<'_>) -> Result<Option<i64>, CommandError> {
    let Lifetime::Of(unit, amount) = options.lifetime else { return Ok(None) };
    let unit = match unit {
        Unit::Seconds => deadline::Unit::Seconds,
        Unit::Milliseconds => deadline::Unit::Milliseconds,
        Unit::SecondsAt => deadline::Unit::UnixSeconds,
        Unit::MillisecondsAt => deadline::Unit::UnixMilliseconds,
    };
    deadline::deadline(ctx, amount, unit).map(Some)
}

/// `HSETEX key [NX | XX] [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS numfields field value ...`
pub fn hsetex(ctx: &mut Context<'_>) -> Outcome {
    let args = ctx.args;
    let at = fields::position(args, 1).ok_or(fields::COUNT_MISMATCH)?;
    let options = Options::parse(args.get(2..at).unwrap_or_default(), Grammar::HsetEx)?;
    let pairs = fields::counted(args, at + 1, 2, fields::COUNT_MISMATCH)?;
    let (key, sight) = (args[1], Sight::of(ctx));
    let exists = ctx.db.write(key).map(|entry| hash_of(entry).map(drop)).transpose()?.is_some();
    let met = match options.condition {
        Condition::Missing => !exists,
        Condition::Present => exists,
        Condition::Always | Condition::Equals(_) => true,
    };
    if !met {
        ctx.reply.integer(0);
        return Ok(());
    }
    let when = deadline_of(ctx, &options)?;
    if !fields_allow(ctx, key, pairs, options.fields, sight)? {
        ctx.reply.integer(0);
        return Ok(());
    }
    if !exists {
        ctx.db.insert(key, NewValue::Owned(Value::Hash(Hash::new())), None);
    }
    match when {
        Some(when) if sight.is_past(when) => remove_fields(ctx, key, pairs)?,
        _ => set_fields(ctx, at, &options, when, sight)?,
    }
    ctx.reply.integer(1);
    Ok(())
}

/// Tests FNX and FXX: all fields must be missing, or there.
fn fields_allow(
    ctx: &mut Context<'_>,
    key: &[u8],
    pairs: &[&[u8]],
    condition: Condition<'_>,
    sight: Sight,
) -> Result<bool, CommandError> {
    let wanted = match condition {
        Condition::Missing => false,
        Condition::Present => true,
        Condition::Always | Condition::Equals(_) => return Ok(true),
    };
    let hash = ctx.db.again(key).map(|entry| hash_of(entry)).transpose()?;
    let there = |name: &[u8]| hash.as_ref().is_some_and(|hash| sight.get(hash, name).is_some());
    Ok(pairs.chunks_exact(2).all(|pair| there(pair[0]) == wanted))
}

/// Sets the fields of a hash that is there, with all effects. `at` is where FIELDS is.
fn set_fields(
    ctx: &mut Context<'_>,
    at: usize,
    options: &Options<'_>,
    when: Option<i64>,
    sight: Sight,
) -> Outcome {
    let (key, pairs) = (ctx.arg(1), &ctx.args[at + 2..]);
    let keeps = options.lifetime == Lifetime::Keep;
    let deadline = match when {
        Some(when) => Deadline::At(when),
        None if keeps => Deadline::Keep,
        None => Deadline::Clear,
    };
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.again(key) else { return Ok(()) };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    let mut expired: Vec<&[u8]> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        if sight.set(&mut hash, pair[0], pair[1], deadline, &limits) == Set::ReplacedExpired {
            expired.push(pair[0]);
        }
    }
    let has = hash.earliest_deadline_ms();
    drop(hash);
    ctx.db.note_fields(key, had, has);
    changed(ctx, "hset", key, pairs.len() / 2, expired.len());
    if when.is_some() {
        ctx.db.notify(class::HASH, "hexpire", key);
    }
    let db = ctx.db.db;
    if keeps {
        // A replica sees the expired fields, and would keep deadlines that are none any more.
        for names in expired.chunks(HDEL_FIELDS_MAX) {
            let words: Vec<&[u8]> = [&[b"HDEL" as &[u8], key], names].concat();
            ctx.db.effects.also_propagate(db, &words);
        }
    }
    propagate(ctx, at, options, when);
    Ok(())
}

/// Says in the stream what was set until when, without conditions: they have been met here. `at` is where FIELDS is;
/// all else stays as typed.
fn propagate(ctx: &mut Context<'_>, at: usize, options: &Options<'_>, when: Option<i64>) {
    let unconditional = options.condition == Condition::Always && options.fields == Condition::Always;
    let as_typed = when.is_none() || options.is_absolute();
    if unconditional && as_typed {
        return;
    }
    let mut digits = itoa::Buffer::new();
    let is_condition = |word: &[u8]| ["nx", "xx", "fnx", "fxx"].iter().any(|name| is_option(word, name));
    let mut words: Vec<&[u8]> = ctx.args[..2].to_vec();
    match when.filter(|_| !as_typed) {
        // Without KEEPTTL, which excludes a deadline.
        Some(when) => words.extend([b"PXAT", digits.format(when).as_bytes()]),
        None => words.extend(ctx.args[2..at].iter().filter(|word| !is_condition(word))),
    }
    words.extend_from_slice(&ctx.args[at..]);
    ctx.db.rewrite(&words);
}

/// What setting fields with a deadline that is over comes to. The events tell of the setting all the same.
fn remove_fields(ctx: &mut Context<'_>, key: &[u8], pairs: &[&[u8]]) -> Outcome {
    let Some(entry) = ctx.db.again(key) else { return Ok(()) };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    let names = pairs.chunks_exact(2).map(|pair| pair[0]);
    let removed: Vec<&[u8]> = names.filter(|name| hash.remove(name)).collect();
    let (has, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
    drop(hash);
    ctx.db.note_fields(key, had, has);
    ctx.db.effects.counters.expired_fields += (pairs.len() / 2) as u64;
    if !removed.is_empty() {
        ctx.db.effects.dirty += removed.len() as u64;
        ctx.db.modified(key);
        let words: Vec<&[u8]> = [&[b"HDEL" as &[u8], key], &removed[..]].concat();
        ctx.db.rewrite(&words);
    }
    for event in ["hset", "hexpire", "hexpired"] {
        ctx.db.notify(class::HASH, event, key);
    }
    if emptied {
        remove_empty(ctx, key);
    }
    Ok(())
}
