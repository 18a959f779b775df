//! ZPOPMIN, ZPOPMAX, ZMPOP, and what waiting clients take.

use super::{Form, changed, remove_empty, zset_of_mut};
use crate::commands::argument_values::{counted_keys_end, integer_in};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};

/// The end of the order that members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The lowest scores.
    Min,
    /// The highest.
    Max,
}

impl Extreme {
    /// The event of taking from this end.
    fn event(self) -> &'static str {
        match self {
            Extreme::Min => "zpopmin",
            Extreme::Max => "zpopmax",
        }
    }

    /// The command that is propagated.
    pub(super) fn command(self) -> &'static [u8] {
        match self {
            Extreme::Min => b"ZPOPMIN",
            Extreme::Max => b"ZPOPMAX",
        }
    }

    /// `MIN` or `MAX`.
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        if word.eq_ignore_ascii_case(b"MIN") {
            Ok(Extreme::Min)
        } else if word.eq_ignore_ascii_case(b"MAX") {
            Ok(Extreme::Max)
        } else {
            Err(CommandError::Syntax)
        }
    }
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, Extreme::Min)
}

/// `ZPOPMAX key [count]`
pub fn zpopmax(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, Extreme::Max)
}

fn pop(ctx: &mut Context<'_>, end: Extreme) -> Outcome {
    let (count, shape) = match ctx.args.len() {
        2 => (1, Shape::Flat),
        3 => {
            let count = integer_in(ctx.arg(2), 0, i64::MAX).ok_or(CommandError::MustBePositive)?;
            (count as u64, if ctx.reply.is_resp3() { Shape::Nested } else { Shape::Flat })
        }
        _ => return Err(CommandError::Syntax),
    };
    if pop_range(ctx, ctx.arg(1), end, count, shape)?.is_none() {
        ctx.reply.array(0);
    }
    Ok(())
}

/// `ZMPOP numkeys key [key ...] MIN|MAX [COUNT count]`
pub fn zmpop(ctx: &mut Context<'_>) -> Outcome {
    let (keys, end, count) = parse_mpop(ctx, 1)?;
    if !pop_first(ctx, keys, end, count)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// Reads `numkeys key [key ...] MIN|MAX [COUNT count]` from argument `at` on.
pub fn parse_mpop<'a>(ctx: &Context<'a>, at: usize) -> Result<(&'a [&'a [u8]], Extreme, u64), CommandError> {
    let args = ctx.args;
    let keys_end = counted_keys_end(args, at, "ERR numkeys should be greater than 0")?;
    let end = Extreme::parse(args[keys_end])?;
    let count = match &args[keys_end + 1..] {
        [] => 1,
        [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"COUNT") => {
            let count = integer_in(count, 1, i64::MAX)
                .ok_or(CommandError::fixed("ERR count should be greater than 0"))?;
            if !rest.is_empty() {
                return Err(CommandError::Syntax);
            }
            count as u64
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok((&args[at + 1..keys_end], end, count))
}

/// Takes up to `count` members off the first sorted set that exists, replies with its name and the members, and
/// propagates that as ZPOPMIN or ZPOPMAX. False, with nothing replied, if there is no sorted set.
pub fn pop_first(
    ctx: &mut Context<'_>,
    keys: &[&[u8]],
    end: Extreme,
    count: u64,
) -> Result<bool, CommandError> {
    for key in keys {
        if let Some(popped) = pop_range(ctx, key, end, count, Shape::KeyAndNested)? {
            ctx.db.rewrite(&[end.command(), key, itoa::Buffer::new().format(popped).as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// The reply of [`pop_range`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Member, score, member, score ...
    Flat,
    /// An array of member and score for each.
    Nested,
    /// Key, member, score (BZPOPMIN and BZPOPMAX).
    KeyAndFlat,
    /// Key, and an array as of [`Shape::Nested`].
    KeyAndNested,
}

/// Takes up to `count` members off a sorted set, with all effects, and replies with them in the order they were taken.
/// Returns how many; `None`, with nothing replied, if there is no sorted set.
pub fn pop_range(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: Extreme,
    count: u64,
    shape: Shape,
) -> Result<Option<usize>, CommandError> {
    let Some(entry) = ctx.db.write(key) else { return Ok(None) };
    let mut zset = zset_of_mut(entry)?;
    let len = zset.len();
    let taken = usize::try_from(count).map_or(len, |count| count.min(len));
    let ranks = match end {
        Extreme::Min => 0..taken,
        Extreme::Max => len - taken..len,
    };
    let form = match shape {
        Shape::Flat | Shape::KeyAndFlat => Form::Flat,
        Shape::Nested | Shape::KeyAndNested => Form::Nested,
    };
    match shape {
        Shape::Flat | Shape::Nested => form.head(ctx.reply, taken),
        Shape::KeyAndFlat => {
            ctx.reply.array(taken * 2 + 1);
            ctx.reply.bulk(key);
        }
        Shape::KeyAndNested => {
            ctx.reply.array(2);
            ctx.reply.bulk(key);
            form.head(ctx.reply, taken);
        }
    }
    if taken == 0 {
        return Ok(Some(0));
    }
    form.elements(ctx.reply, &zset, ranks.clone(), end == Extreme::Max);
    // A set taken as a whole goes to the reaper with its members.
    let emptied = taken == len;
    if !emptied {
        zset.remove_ranks(ranks, |_, _| ());
    }
    drop(zset);
    changed(ctx, end.event(), key, taken);
    if emptied {
        remove_empty(ctx, key);
    }
    Ok(Some(taken))
}
