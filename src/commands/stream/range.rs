//! XLEN, XRANGE, XREVRANGE.

use super::id::{parse_end, parse_start};
use super::{reply_entry, stream_of};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::types::stream::StreamEntry;
use std::ops::ControlFlow;

pub fn xlen(ctx: &mut Context<'_>) -> Outcome {
    let len = match ctx.db.read(ctx.arg(1)) {
        Some(entry) => stream_of(entry)?.len(),
        None => 0,
    };
    ctx.reply.integer(len as i64);
    Ok(())
}

pub fn xrange(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Direction::Forward)
}

pub fn xrevrange(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Direction::Backward)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

fn range(ctx: &mut Context<'_>, direction: Direction) -> Outcome {
    let (start, end) = if direction == Direction::Forward { (2, 3) } else { (3, 2) };
    let start = parse_start(ctx.arg(start))?;
    let end = parse_end(ctx.arg(end))?;
    let count = parse_count(ctx)?;
    let Some(entry) = ctx.db.read(ctx.arg(1)) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let stream = stream_of(entry)?;
    if count == Some(0) {
        ctx.reply.null_array();
        return Ok(());
    }
    let array = ctx.reply.deferred_array();
    let (mut written, count) = (0u64, count.unwrap_or(u64::MAX));
    let write = |entry: &StreamEntry<'_>| {
        reply_entry(ctx.reply, entry);
        written += 1;
        if written == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match direction {
        Direction::Forward => stream.visit(start, end, write),
        Direction::Backward => stream.visit_back(start, end, write),
    }
    ctx.reply.finish_array(array, written as usize);
    Ok(())
}

/// `COUNT n`, any number of times; below 0 counts as 0.
fn parse_count(ctx: &Context<'_>) -> Result<Option<u64>, CommandError> {
    let mut count = None;
    for option in ctx.args[4..].chunks(2) {
        match option {
            [word, value] if word.eq_ignore_ascii_case(b"COUNT") => {
                let value = crate::resp::decode::parse_integer(value).ok_or(CommandError::NotInteger)?;
                count = Some(value.max(0) as u64);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(count)
}
