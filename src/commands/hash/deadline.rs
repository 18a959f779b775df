//! Deadlines of fields: HEXPIRE and its family, HPERSIST, HTTL and its family.

use super::{Sight, changed, fields, hash_of, hash_of_mut, remove_empty};
use crate::commands::context::Outcome;
use crate::commands::generic::expire::Conditions;
use crate::commands::{CommandError, Context};
use crate::resp::decode::parse_integer;
use crate::types::hash::Hash;

/// What a time counts and from when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

/// Reads a deadline: not negative, and in milliseconds within 64 bits. Returns Unix milliseconds.
pub fn deadline(ctx: &Context<'_>, text: &[u8], unit: Unit) -> Result<i64, CommandError> {
    let amount = parse_integer(text).ok_or(CommandError::NotInteger)?;
    let in_ms = match unit {
        Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1000),
        Unit::Milliseconds | Unit::UnixMilliseconds => Some(amount),
    };
    let from = match unit {
        Unit::Seconds | Unit::Milliseconds => ctx.db.now,
        Unit::UnixSeconds | Unit::UnixMilliseconds => 0,
    };
    in_ms
        .filter(|_| amount >= 0)
        .and_then(|ms| ms.checked_add(from))
        .ok_or(CommandError::InvalidExpire(ctx.spec.name))
}

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub fn hexpire(ctx: &mut Context<'_>) -> Outcome {
    set_deadlines(ctx, Unit::Seconds)
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub fn hpexpire(ctx: &mut Context<'_>) -> Outcome {
    set_deadlines(ctx, Unit::Milliseconds)
}

/// `HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub fn hexpireat(ctx: &mut Context<'_>) -> Outcome {
    set_deadlines(ctx, Unit::UnixSeconds)
}

/// `HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub fn hpexpireat(ctx: &mut Context<'_>) -> Outcome {
    set_deadlines(ctx, Unit::UnixMilliseconds)
}

/// What was asked for each field, as replied.
mod answer {
    pub const MISSING: i64 = -2;
    pub const NO_DEADLINE: i64 = -1;
    pub const NOT_MET: i64 = 0;
    pub const DONE: i64 = 1;
    pub const REMOVED: i64 = 2;
}

fn set_deadlines(ctx: &mut Context<'_>, unit: Unit) -> Outcome {
    let args = ctx.args;
    let at = fields::position(args, 3).ok_or(fields::COUNT_MISMATCH)?;
    let conditions = Conditions::parse(&args[3..at])?;
    let names = fields::counted(args, at + 1, 1, fields::COUNT_MISMATCH)?;
    let when = deadline(ctx, args[2], unit)?;
    let (key, sight) = (args[1], Sight::of(ctx));
    let Some(entry) = ctx.db.write(key) else {
        return reply_missing(ctx, names.len());
    };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    ctx.reply.array(names.len());
    let mut removed: Vec<&[u8]> = Vec::new();
    let mut set = 0;
    for name in names {
        let answer = set_one(&mut hash, name, when, conditions, sight);
        match answer {
            answer::REMOVED => removed.push(name),
            answer::DONE => set += 1,
            _ => {}
        }
        ctx.reply.integer(answer);
    }
    let (has, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
    drop(hash);
    ctx.db.note_fields(key, had, has);
    if !removed.is_empty() {
        ctx.db.effects.counters.expired_fields += removed.len() as u64;
        changed(ctx, "hexpired", key, removed.len(), 0);
        let mut words: Vec<&[u8]> = vec![b"HDEL", key];
        words.append(&mut removed);
        ctx.db.rewrite(&words);
    } else if set > 0 {
        changed(ctx, "hexpire", key, set, 0);
        // As typed if it is absolute milliseconds already.
        if unit != Unit::UnixMilliseconds {
            let mut digits = itoa::Buffer::new();
            let mut words: Vec<&[u8]> = vec![b"HPEXPIREAT", key, digits.format(when).as_bytes()];
            words.extend_from_slice(&args[3..]);
            ctx.db.rewrite(&words);
        }
    }
    if emptied {
        remove_empty(ctx, key);
    }
    Ok(())
}

fn set_one(hash: &mut Hash, name: &[u8], when: i64, conditions: Conditions, sight: Sight) -> i64 {
    let Some(field) = sight.get(hash, name) else { return answer::MISSING };
    if !conditions.allow(field.deadline_ms, when) {
        return answer::NOT_MET;
    }
    if sight.is_past(when) {
        hash.remove(name);
        return answer::REMOVED;
    }
    hash.set_deadline(name, Some(when));
    answer::DONE
}

/// The answer for every field of a key that is not there.
fn reply_missing(ctx: &mut Context<'_>, fields: usize) -> Outcome {
    ctx.reply.array(fields);
    for _ in 0..fields {
        ctx.reply.integer(answer::MISSING);
    }
    Ok(())
}

/// `HPERSIST key FIELDS numfields field [field ...]`
pub fn hpersist(ctx: &mut Context<'_>) -> Outcome {
    let names = fields::without_options(ctx.args, fields::COUNT_MISMATCH)?;
    let (key, sight) = (ctx.arg(1), Sight::of(ctx));
    let Some(entry) = ctx.db.write(key) else {
        return reply_missing(ctx, names.len());
    };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    ctx.reply.array(names.len());
    let mut persisted = 0;
    for name in names {
        ctx.reply.integer(match sight.get(&hash, name).map(|field| field.deadline_ms) {
            None => answer::MISSING,
            Some(None) => answer::NO_DEADLINE,
            Some(Some(_)) => {
                hash.set_deadline(name, None);
                persisted += 1;
                answer::DONE
            }
        });
    }
    let has = hash.earliest_deadline_ms();
    drop(hash);
    ctx.db.note_fields(key, had, has);
    if persisted > 0 {
        changed(ctx, "hpersist", key, persisted, 0);
    }
    Ok(())
}

/// `HTTL key FIELDS numfields field [field ...]`
pub fn httl(ctx: &mut Context<'_>) -> Outcome {
    tell_deadlines(ctx, Unit::Seconds)
}

/// `HPTTL key FIELDS numfields field [field ...]`
pub fn hpttl(ctx: &mut Context<'_>) -> Outcome {
    tell_deadlines(ctx, Unit::Milliseconds)
}

/// `HEXPIRETIME key FIELDS numfields field [field ...]`
pub fn hexpiretime(ctx: &mut Context<'_>) -> Outcome {
    tell_deadlines(ctx, Unit::UnixSeconds)
}

/// `HPEXPIRETIME key FIELDS numfields field [field ...]`
pub fn hpexpiretime(ctx: &mut Context<'_>) -> Outcome {
    tell_deadlines(ctx, Unit::UnixMilliseconds)
}

/// Seconds are rounded to the nearest.
fn tell_deadlines(ctx: &mut Context<'_>, unit: Unit) -> Outcome {
    let names = fields::without_options(ctx.args, CommandError::Syntax)?;
    let (sight, now) = (Sight::of(ctx), ctx.db.now);
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        return reply_missing(ctx, names.len());
    };
    let hash = hash_of(entry)?;
    ctx.reply.array(names.len());
    for name in names {
        ctx.reply.integer(match sight.get(&hash, name).map(|field| field.deadline_ms) {
            None => answer::MISSING,
            Some(None) => answer::NO_DEADLINE,
            Some(Some(when)) => {
                let ms = match unit {
                    Unit::Seconds | Unit::Milliseconds => when.saturating_sub(now).max(0),
                    Unit::UnixSeconds | Unit::UnixMilliseconds => when,
                };
                match unit {
                    // The sum is below 2^63 + 500: too big only while it is signed.
                    Unit::Seconds | Unit::UnixSeconds => ((ms as u64 + 500) / 1000) as i64,
                    Unit::Milliseconds | Unit::UnixMilliseconds => ms,
                }
            }
        });
    }
    Ok(())
}
