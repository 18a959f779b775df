//! BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH: the commands on lists that wait for an element.
//!
//! What is propagated is always the command that does not wait.

use super::moving::move_element;
use super::pop::{parse_mpop, pop_first, pop_one};
use super::{parse_end, reply_item};
use crate::commands::context::Outcome;
use crate::commands::waiting::{deadline_of, wait_for};
use crate::commands::{CommandError, Context};
use crate::effects::AwaitedType;
use crate::types::list::End;

/// `BLPOP key [key ...] timeout`
pub fn blpop(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, End::Head)
}

/// `BRPOP key [key ...] timeout`
pub fn brpop(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, End::Tail)
}

fn pop(ctx: &mut Context<'_>, end: End) -> Outcome {
    let args = ctx.args;
    let keys = &args[1..args.len() - 1];
    let deadline = deadline_of(ctx, args[args.len() - 1])?;
    for key in keys {
        if let Some(item) = pop_one(ctx, key, end)? {
            ctx.reply.array(2);
            ctx.reply.bulk(key);
            reply_item(ctx.reply, item.as_item());
            let name: &[u8] = if end == End::Head { b"LPOP" } else { b"RPOP" };
            ctx.db.rewrite(&[name, key]);
            return Ok(());
        }
    }
    wait_for(ctx, keys, AwaitedType::List, deadline, |ctx| ctx.reply.null_array())
}

/// `BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]`
pub fn blmpop(ctx: &mut Context<'_>) -> Outcome {
    let (keys, end, count) = parse_mpop(ctx, 2)?;
    let deadline = deadline_of(ctx, ctx.arg(1))?;
    if pop_first(ctx, keys, end, count)? {
        return Ok(());
    }
    wait_for(ctx, keys, AwaitedType::List, deadline, |ctx| ctx.reply.null_array())
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
pub fn blmove(ctx: &mut Context<'_>) -> Outcome {
    let (from, to) = (parse_end(ctx.arg(3))?, parse_end(ctx.arg(4))?);
    let (source, target) = (ctx.arg(1), ctx.arg(2));
    let deadline = deadline_of(ctx, ctx.arg(5))?;
    if move_now(ctx, source, target, (from, to))? {
        ctx.db.rewrite(&[b"LMOVE", source, target, ctx.arg(3), ctx.arg(4)]);
        return Ok(());
    }
    wait_for(ctx, &[source], AwaitedType::List, deadline, |ctx| ctx.reply.null())
}

/// `BRPOPLPUSH source destination timeout`
pub fn brpoplpush(ctx: &mut Context<'_>) -> Outcome {
    let (source, target) = (ctx.arg(1), ctx.arg(2));
    let deadline = deadline_of(ctx, ctx.arg(3))?;
    if move_now(ctx, source, target, (End::Tail, End::Head))? {
        ctx.db.rewrite(&[b"RPOPLPUSH", source, target]);
        return Ok(());
    }
    wait_for(ctx, &[source], AwaitedType::List, deadline, |ctx| ctx.reply.null())
}

/// Moves an element and replies with it; false if there is none.
fn move_now(
    ctx: &mut Context<'_>,
    source: &[u8],
    target: &[u8],
    (from, to): (End, End),
) -> Result<bool, CommandError> {
    let moved = move_element(ctx, source, target, from, to)?;
    if let Some(item) = &moved {
        reply_item(ctx.reply, item.as_item());
    }
    Ok(moved.is_some())
}
