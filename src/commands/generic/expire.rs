//! Deadlines of keys: EXPIRE and its family, TTL and its family, PERSIST.
//!
//! Deadlines travel to replicas as absolute milliseconds, whatever the client said: their clocks and their delay would
//! make something else of a relative time. Spec page key-lifetime.md, sections 1.4 and 3.3.

use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::{Freeing, class};
use crate::keyspace::Lookup;

/// What the time argument counts and from when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

/// `NX`, `XX`, `GT`, `LT`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    pub(crate) fn parse(words: &[&[u8]]) -> Result<Self, CommandError> {
        let mut c = Self::default();
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => c.nx = true,
                b"xx" => c.xx = true,
                b"gt" => c.gt = true,
                b"lt" => c.lt = true,
                _ => return Err(CommandError::quoting("ERR Unsupported option ", word, "")),
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(CommandError::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if c.gt && c.lt {
            return Err(CommandError::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// Whether a key (or field) whose deadline is `current` may get the deadline `new`. No deadline counts as infinitely late.
    pub(crate) fn allow(self, current: Option<i64>, new: i64) -> bool {
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|current| new <= current)
            || self.lt && current.is_some_and(|current| new >= current))
    }
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub fn expire(ctx: &mut Context<'_>) -> Outcome {
    set_deadline(ctx, Unit::Seconds)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub fn pexpire(ctx: &mut Context<'_>) -> Outcome {
    set_deadline(ctx, Unit::Milliseconds)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub fn expireat(ctx: &mut Context<'_>) -> Outcome {
    set_deadline(ctx, Unit::UnixSeconds)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub fn pexpireat(ctx: &mut Context<'_>) -> Outcome {
    set_deadline(ctx, Unit::UnixMilliseconds)
}

/// The deadline in Unix milliseconds. Times before 1970 are 1970: the only negative number that means something to
/// files and replicas is -1, "no deadline".
fn deadline(ctx: &Context<'_>, argument: i64, unit: Unit) -> Option<i64> {
    let ms = match unit {
        Unit::Seconds | Unit::UnixSeconds => argument.checked_mul(1000)?,
        Unit::Milliseconds | Unit::UnixMilliseconds => argument,
    };
    let base = match unit {
        Unit::Seconds | Unit::Milliseconds => ctx.db.now,
        Unit::UnixSeconds | Unit::UnixMilliseconds => 0,
    };
    Some(ms.checked_add(base)?.max(0))
}

fn set_deadline(ctx: &mut Context<'_>, unit: Unit) -> Outcome {
    let key = ctx.arg(1);
    let conditions = Conditions::parse(&ctx.args[3..])?;
    let argument = ctx.integer(2)?;
    let when = deadline(ctx, argument, unit).ok_or(CommandError::InvalidExpire(ctx.spec.name))?;
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    if !conditions.allow(entry.expiry(), when) {
        ctx.reply.integer(0);
        return Ok(());
    }
    if when <= ctx.db.now && !ctx.db.rules.store_past {
        let lazy = ctx.db.lazy_expire;
        if let Some(entry) = ctx.db.take(key) {
            ctx.db.discard_entry_as(entry, Freeing::counted_if(lazy));
        }
        ctx.db.effects.counters.expired_keys += 1;
        let verb: &[u8] = if lazy { b"UNLINK" } else { b"DEL" };
        ctx.db.rewrite(&[verb, key]);
        ctx.db.changed(class::EXPIRED, "expired", key);
    } else {
        ctx.db.set_expiry(key, Some(when));
        // As typed if it is absolute milliseconds already, a negative number included.
        if unit != Unit::UnixMilliseconds {
            let mut digits = itoa::Buffer::new();
            let mut words: Vec<&[u8]> = vec![b"PEXPIREAT", key, digits.format(when).as_bytes()];
            words.extend_from_slice(&ctx.args[3..]);
            ctx.db.rewrite(&words);
        }
        ctx.db.changed(class::GENERIC, "expire", key);
    }
    ctx.reply.integer(1);
    Ok(())
}

/// `PERSIST key`
pub fn persist(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let had = ctx.db.write(key).is_some_and(|entry| entry.expiry().is_some());
    if had {
        ctx.db.set_expiry(key, None);
        ctx.db.changed(class::GENERIC, "persist", key);
    }
    ctx.reply.integer(i64::from(had));
    Ok(())
}

/// `TTL key`
pub fn ttl(ctx: &mut Context<'_>) -> Outcome {
    tell_deadline(ctx, Unit::Seconds)
}

/// `PTTL key`
pub fn pttl(ctx: &mut Context<'_>) -> Outcome {
    tell_deadline(ctx, Unit::Milliseconds)
}

/// `EXPIRETIME key`
pub fn expiretime(ctx: &mut Context<'_>) -> Outcome {
    tell_deadline(ctx, Unit::UnixSeconds)
}

/// `PEXPIRETIME key`
pub fn pexpiretime(ctx: &mut Context<'_>) -> Outcome {
    tell_deadline(ctx, Unit::UnixMilliseconds)
}

/// -2 without a key, -1 without a deadline. Seconds are rounded to the nearest.
fn tell_deadline(ctx: &mut Context<'_>, unit: Unit) -> Outcome {
    let now = ctx.db.now;
    let answer = match ctx.db.lookup(ctx.arg(1), Lookup::READ_NO_TOUCH).map(|entry| entry.expiry()) {
        None => -2,
        Some(None) => -1,
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
    };
    ctx.reply.integer(answer);
    Ok(())
}
