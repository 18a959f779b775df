//! ZREM and ZREMRANGEBYRANK, -SCORE, -LEX.

use super::bounds::{lex_range, score_range};
use super::range::inclusive_ranks;
use super::{changed, remove_empty, zset_of_mut};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::types::zset::ZSet;
use std::ops::Range;

/// `ZREM key member [member ...]`
pub fn zrem(ctx: &mut Context<'_>) -> Outcome {
    let (key, members) = (ctx.arg(1), &ctx.args[2..]);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut zset = zset_of_mut(entry)?;
    let mut removed = 0;
    for member in members {
        removed += usize::from(zset.remove(member).is_some());
        if zset.is_empty() {
            break;
        }
    }
    let emptied = zset.is_empty();
    drop(zset);
    finish(ctx, "zrem", key, removed, emptied);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
pub fn zremrangebyrank(ctx: &mut Context<'_>) -> Outcome {
    let (start, stop) = (ctx.integer(2)?, ctx.integer(3)?);
    remove_range(ctx, "zremrangebyrank", |zset| inclusive_ranks(start, stop, zset.len()))
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(ctx: &mut Context<'_>) -> Outcome {
    let range = score_range(ctx.arg(2), ctx.arg(3))?;
    remove_range(ctx, "zremrangebyscore", |zset| zset.ranks_by_score(&range))
}

/// `ZREMRANGEBYLEX key min max`
pub fn zremrangebylex(ctx: &mut Context<'_>) -> Outcome {
    let range = lex_range(ctx.arg(2), ctx.arg(3))?;
    remove_range(ctx, "zremrangebylex", |zset| zset.ranks_by_lex(&range, false))
}

fn remove_range(
    ctx: &mut Context<'_>,
    event: &'static str,
    ranks: impl Fn(&ZSet) -> Range<usize>,
) -> Outcome {
    let key = ctx.arg(1);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut zset = zset_of_mut(entry)?;
    let ranks = ranks(&zset);
    let removed = ranks.len();
    // A set removed as a whole goes to the reaper with its members.
    let emptied = removed == zset.len();
    if !emptied {
        zset.remove_ranks(ranks, |_, _| ());
    }
    drop(zset);
    finish(ctx, event, key, removed, emptied);
    Ok(())
}

/// Records a removal and replies with the number of members removed.
fn finish(ctx: &mut Context<'_>, event: &'static str, key: &[u8], removed: usize, emptied: bool) {
    if removed > 0 {
        changed(ctx, event, key, removed);
    }
    if emptied {
        remove_empty(ctx, key);
    }
    ctx.reply.integer(removed as i64);
}
