//! Setting several strings at once: MSET, MSETNX, MSETEX.

use super::options::{Condition, Grammar, Options, is_option};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::NewValue;
use crate::keyspace::access::Expiry;

/// MSET key value [key value ...]
pub fn mset(ctx: &mut Context<'_>) -> Outcome {
    let pairs = pairs(ctx)?;
    set_all(ctx, pairs, None, Expiry::Drop);
    ctx.reply.ok();
    Ok(())
}

/// MSETNX key value [key value ...]
pub fn msetnx(ctx: &mut Context<'_>) -> Outcome {
    let pairs = pairs(ctx)?;
    let met = holds_for_all(ctx, pairs, Condition::Missing);
    if met {
        set_all(ctx, pairs, None, Expiry::Drop);
    }
    ctx.reply.integer(i64::from(met));
    Ok(())
}

/// MSETEX numkeys key value [key value ...] [NX | XX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
pub fn msetex(ctx: &mut Context<'_>) -> Outcome {
    let numkeys = ctx.integer(1).ok().and_then(|n| i32::try_from(n).ok()).filter(|&n| n > 0);
    let Some(numkeys) = numkeys else {
        return Err(CommandError::fixed("ERR invalid numkeys value or out of range"));
    };
    let options_at = 2 + numkeys as usize * 2;
    let Some(pairs) = ctx.args.get(2..options_at) else { return Err(CommandError::Syntax) };
    let options = Options::parse(&ctx.args[options_at..], Grammar::MsetEx)?;
    let deadline = options.deadline(ctx)?;
    let met = holds_for_all(ctx, pairs, options.condition);
    if met {
        set_all(ctx, pairs, deadline, options.expiry(deadline));
        if let Some(at) = deadline
            && !options.is_absolute()
        {
            propagate_with_deadline(ctx, options_at, at);
        }
    }
    ctx.reply.integer(i64::from(met));
    Ok(())
}

fn pairs<'a>(ctx: &Context<'a>) -> Result<&'a [&'a [u8]], CommandError> {
    let pairs = &ctx.args[1..];
    if pairs.len().is_multiple_of(2) { Ok(pairs) } else { Err(ctx.arity_error()) }
}

fn holds_for_all(ctx: &mut Context<'_>, pairs: &[&[u8]], condition: Condition<'_>) -> bool {
    match condition {
        Condition::Always | Condition::Equals(_) => true,
        Condition::Missing => pairs.chunks_exact(2).all(|pair| ctx.db.write(pair[0]).is_none()),
        Condition::Present => pairs.chunks_exact(2).all(|pair| ctx.db.write(pair[0]).is_some()),
    }
}

fn set_all(ctx: &mut Context<'_>, pairs: &[&[u8]], deadline: Option<i64>, expiry: Expiry) {
    for pair in pairs.chunks_exact(2) {
        ctx.db.write_and_set(pair[0], NewValue::string(pair[1]), expiry);
        ctx.db.changed(class::STRING, "set", pair[0]);
        if deadline.is_some() {
            ctx.db.notify(class::GENERIC, "expire", pair[0]);
        }
    }
}

/// Propagates the request with its deadline as PXAT. Where the client repeated the option, only the last stays, which
/// is the one that counted.
fn propagate_with_deadline(ctx: &mut Context<'_>, options_at: usize, at: i64) {
    let mut digits = itoa::Buffer::new();
    let mut args = ctx.args[..options_at].to_vec();
    let mut place = args.len();
    let mut words = ctx.args[options_at..].iter();
    while let Some(word) = words.next() {
        if is_option(word, "nx") || is_option(word, "xx") {
            args.push(word);
        } else {
            words.next();
            place = args.len();
        }
    }
    args.splice(place..place, [&b"PXAT"[..], digits.format(at).as_bytes()]);
    ctx.db.rewrite(&args);
}
