//! LPOP, RPOP, LMPOP, and what waiting clients take.

use super::{changed, limits, list_of_mut, parse_end, remove_empty, reply_item};
use crate::commands::argument_values::{counted_keys_end, integer_in};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::types::OwnedItem;
use crate::types::list::End;
use std::ops::ControlFlow;

pub fn lpop(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, End::Head)
}

pub fn rpop(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, End::Tail)
}

fn pop(ctx: &mut Context<'_>, end: End) -> Outcome {
    let key = ctx.arg(1);
    match ctx.args.len() {
        2 => match pop_one(ctx, key, end)? {
            Some(item) => reply_item(ctx.reply, item.as_item()),
            None => ctx.reply.null(),
        },
        3 => {
            let count = integer_in(ctx.arg(2), 0, i64::MAX).ok_or(CommandError::MustBePositive)?;
            if pop_range(ctx, key, end, count as u64, Head::Elements)?.is_none() {
                ctx.reply.null_array();
            }
        }
        _ => return Err(ctx.arity_error()),
    }
    Ok(())
}

pub fn lmpop(ctx: &mut Context<'_>) -> Outcome {
    let (keys, end, count) = parse_mpop(ctx, 1)?;
    if !pop_first(ctx, keys, end, count)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// Reads `numkeys key [key ...] LEFT|RIGHT [COUNT count]` from argument `at` on.
pub fn parse_mpop<'a>(ctx: &Context<'a>, at: usize) -> Result<(&'a [&'a [u8]], End, u64), CommandError> {
    let args = ctx.args;
    let keys_end = counted_keys_end(args, at, "ERR numkeys should be greater than 0")?;
    let end = parse_end(args.get(keys_end).ok_or(CommandError::Syntax)?)?;
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

/// Takes up to `count` elements off the first list that exists, replies with its name and the elements, and propagates
/// that as LPOP or RPOP. False, with nothing replied, if there is no list.
pub fn pop_first(ctx: &mut Context<'_>, keys: &[&[u8]], end: End, count: u64) -> Result<bool, CommandError> {
    for key in keys {
        if let Some(popped) = pop_range(ctx, key, end, count, Head::KeyAndElements)? {
            let name: &[u8] = if end == End::Head { b"LPOP" } else { b"RPOP" };
            ctx.db.rewrite(&[name, key, itoa::Buffer::new().format(popped).as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes one element off a list, with all effects. `None` if there is no list.
pub fn pop_one(ctx: &mut Context<'_>, key: &[u8], end: End) -> Result<Option<OwnedItem>, CommandError> {
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.write(key) else { return Ok(None) };
    let mut list = list_of_mut(entry)?;
    let item = list.pop(end);
    let emptied = list.is_empty();
    if !emptied {
        list.shrink(&limits);
    }
    drop(list);
    popped(ctx, key, end, 1, emptied);
    Ok(item)
}

/// How [`pop_range`] begins its reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// An array of the elements.
    Elements,
    /// An array of the key's name and the array of the elements.
    KeyAndElements,
}

/// Takes up to `count` elements off a list, with all effects, and replies with them in the order they were taken.
/// Returns how many; `None`, with nothing replied, if there is no list.
pub fn pop_range(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: u64,
    head: Head,
) -> Result<Option<usize>, CommandError> {
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.write(key) else { return Ok(None) };
    let mut list = list_of_mut(entry)?;
    let len = list.len();
    let taken = usize::try_from(count).map_or(len, |count| count.min(len));
    if head == Head::KeyAndElements {
        ctx.reply.array(2);
        ctx.reply.bulk(key);
    }
    ctx.reply.array(taken);
    if taken == 0 {
        return Ok(Some(0));
    }
    let mut left = taken;
    let first = if end == End::Head { 0 } else { len - 1 };
    list.visit(first, end == End::Head, |item| {
        reply_item(ctx.reply, item);
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // A list taken as a whole goes to the reaper with its elements.
    let emptied = taken == len;
    if !emptied {
        list.remove_range(if end == End::Head { 0 } else { len - taken }, taken);
        list.shrink(&limits);
    }
    drop(list);
    popped(ctx, key, end, taken, emptied);
    Ok(Some(taken))
}

/// Records that elements were taken off a list.
pub(super) fn popped(ctx: &mut Context<'_>, key: &[u8], end: End, count: usize, emptied: bool) {
    changed(ctx, if end == End::Head { "lpop" } else { "rpop" }, key, count);
    if emptied {
        remove_empty(ctx, key);
    }
}
