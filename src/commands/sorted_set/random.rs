//! ZRANDMEMBER.

use super::{Form, zset_of};
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use crate::commands::sampling::{self, Chooser};
use crate::commands::{CommandError, Context};
use crate::resp::Reply;
use crate::rng::Rng;
use crate::types::zset::ZSet;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub fn zrandmember(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    if ctx.args.len() == 2 {
        let Some(entry) = ctx.db.read(key) else {
            ctx.reply.null();
            return Ok(());
        };
        let zset = zset_of(entry)?;
        match zset.random(&mut || ctx.rng.next_u64()) {
            Some((member, _)) => reply_item(ctx.reply, member),
            None => ctx.reply.null(),
        }
        return Ok(());
    }
    let count = sampling::count(ctx.args[2])?;
    let with_scores = ctx.args.len() == 4 && ctx.is_word(3, "withscores");
    if ctx.args.len() > 3 && !with_scores {
        return Err(CommandError::Syntax);
    }
    // Each member takes two places in RESP2's array.
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::fixed("ERR value is out of range"));
    }
    let Some(entry) = ctx.db.read(key) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let zset = zset_of(entry)?;
    let form = Form::with_scores(ctx.reply, with_scores);
    let many = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        with_repetition(ctx.reply, &zset, many, form, ctx.rng);
    } else {
        distinct(ctx.reply, &zset, many, form, ctx.rng);
    }
    Ok(())
}

fn with_repetition(reply: &mut Reply, zset: &ZSet, count: usize, form: Form, rng: &mut Rng) {
    form.head(reply, count);
    for _ in 0..count {
        if let Some((member, score)) = zset.random(&mut || rng.next_u64()) {
            form.element(reply, member, score);
        }
        if reply.is_in_vain() {
            return;
        }
    }
}

/// Different members, in ascending order.
fn distinct(reply: &mut Reply, zset: &ZSet, count: usize, form: Form, rng: &mut Rng) {
    /// A walk over everything is cheaper than so many searches by rank that each finds every third member.
    const SPARSE: usize = 3;
    let len = zset.len();
    if count >= len {
        form.ranks(reply, zset, 0..len, false);
        return;
    }
    form.head(reply, count);
    if matches!(zset, ZSet::Listpack(_)) || count > len / SPARSE {
        let mut chooser = Chooser::new(count, len);
        zset.visit(0..len, false, |member, score| {
            if chooser.take(rng) {
                form.element(reply, member, score);
            }
            if chooser.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        return;
    }
    // Floyd's sampling: as many draws as members.
    let mut ranks = BTreeSet::new();
    for last in len - count..len {
        let rank = rng.below(last as u64 + 1) as usize;
        if !ranks.insert(rank) {
            ranks.insert(last);
        }
    }
    for rank in ranks {
        form.elements(reply, zset, rank..rank + 1, false);
    }
}
