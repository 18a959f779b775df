//! Looking at a sorted set: ZCARD, ZCOUNT, ZLEXCOUNT, ZSCORE, ZMSCORE, ZRANK, ZREVRANK.

use super::bounds::{lex_range, score_range};
use super::{read_zset, reply_score, zset_of};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::types::zset::ZSet;

/// `ZCARD key`
pub fn zcard(ctx: &mut Context<'_>) -> Outcome {
    count(ctx, ZSet::len)
}

/// `ZCOUNT key min max`
pub fn zcount(ctx: &mut Context<'_>) -> Outcome {
    let range = score_range(ctx.arg(2), ctx.arg(3))?;
    count(ctx, |zset| zset.ranks_by_score(&range).len())
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(ctx: &mut Context<'_>) -> Outcome {
    let range = lex_range(ctx.arg(2), ctx.arg(3))?;
    count(ctx, |zset| zset.ranks_by_lex(&range, false).len())
}

fn count(ctx: &mut Context<'_>, of: impl Fn(&ZSet) -> usize) -> Outcome {
    let count = read_zset(ctx, ctx.arg(1))?.map_or(0, |zset| of(&zset));
    ctx.reply.integer(count as i64);
    Ok(())
}

/// `ZSCORE key member`
pub fn zscore(ctx: &mut Context<'_>) -> Outcome {
    let member = ctx.arg(2);
    match read_zset(ctx, ctx.arg(1))?.and_then(|zset| zset.score(member)) {
        Some(score) => reply_score(ctx.reply, score),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// `ZMSCORE key member [member ...]`
pub fn zmscore(ctx: &mut Context<'_>) -> Outcome {
    let zset = ctx.db.read(ctx.args[1]).map(zset_of).transpose()?;
    let members = &ctx.args[2..];
    ctx.reply.array(members.len());
    for member in members {
        match zset.as_ref().and_then(|zset| zset.score(member)) {
            Some(score) => reply_score(ctx.reply, score),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
pub fn zrank(ctx: &mut Context<'_>) -> Outcome {
    rank(ctx, |rank, _| rank)
}

/// `ZREVRANK key member [WITHSCORE]`
pub fn zrevrank(ctx: &mut Context<'_>) -> Outcome {
    rank(ctx, |rank, len| len - 1 - rank)
}

/// `place` makes of rank and length what the client is told.
fn rank(ctx: &mut Context<'_>, place: fn(usize, usize) -> usize) -> Outcome {
    let with_score = match ctx.args.len() {
        3 => false,
        4 if ctx.is_word(3, "withscore") => true,
        4 => return Err(CommandError::Syntax),
        _ => return Err(ctx.arity_error()),
    };
    let member = ctx.arg(2);
    let found = read_zset(ctx, ctx.arg(1))?
        .and_then(|zset| zset.rank(member).map(|(rank, score)| (place(rank, zset.len()), score)));
    match (found, with_score) {
        (Some((rank, _)), false) => ctx.reply.integer(rank as i64),
        (Some((rank, score)), true) => {
            ctx.reply.array(2);
            ctx.reply.integer(rank as i64);
            reply_score(ctx.reply, score);
        }
        (None, false) => ctx.reply.null(),
        (None, true) => ctx.reply.null_array(),
    }
    Ok(())
}
