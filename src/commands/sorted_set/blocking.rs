//! BZPOPMIN, BZPOPMAX, BZMPOP: the commands on sorted sets that wait for a member.

use super::pop::{Extreme, Shape, parse_mpop, pop_first, pop_range};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::commands::waiting::{deadline_of, wait_for};
use crate::effects::AwaitedType;

/// `BZPOPMIN key [key ...] timeout`
pub fn bzpopmin(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, Extreme::Min)
}

/// `BZPOPMAX key [key ...] timeout`
pub fn bzpopmax(ctx: &mut Context<'_>) -> Outcome {
    pop(ctx, Extreme::Max)
}

fn pop(ctx: &mut Context<'_>, end: Extreme) -> Outcome {
    let args = ctx.args;
    let keys = &args[1..args.len() - 1];
    let deadline = deadline_of(ctx, args[args.len() - 1])?;
    for key in keys {
        if pop_range(ctx, key, end, 1, Shape::KeyAndFlat)?.is_some() {
            ctx.db.rewrite(&[end.command(), key]);
            return Ok(());
        }
    }
    wait_for(ctx, keys, AwaitedType::SortedSet, deadline, |ctx| ctx.reply.null_array())
}

/// `BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count]`
pub fn bzmpop(ctx: &mut Context<'_>) -> Outcome {
    let (keys, end, count) = parse_mpop(ctx, 2)?;
    let deadline = deadline_of(ctx, ctx.arg(1))?;
    if pop_first(ctx, keys, end, count)? {
        return Ok(());
    }
    wait_for(ctx, keys, AwaitedType::SortedSet, deadline, |ctx| ctx.reply.null_array())
}
