//! OBJECT: how a value is stored and when it was used.

use crate::commands::context::{CommandError, Context, Outcome};
use crate::keyspace::access::lfu_decayed;
use crate::keyspace::{Entry, Lookup};

/// Writes what `f` says about the key, or null.
fn about(ctx: &mut Context<'_>, f: impl FnOnce(&Entry) -> i64) {
    match ctx.db.lookup(ctx.arg(2), Lookup::QUIET).map(|entry| f(entry)) {
        Some(n) => ctx.reply.integer(n),
        None => ctx.reply.null(),
    }
}

/// `OBJECT ENCODING key`
pub fn encoding(ctx: &mut Context<'_>) -> Outcome {
    match ctx.db.lookup(ctx.arg(2), Lookup::QUIET).map(|entry| entry.encoding_name()) {
        Some(name) => ctx.reply.bulk(name.as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// `OBJECT REFCOUNT key`: values are never shared.
pub fn refcount(ctx: &mut Context<'_>) -> Outcome {
    about(ctx, |_| 1);
    Ok(())
}

/// `OBJECT IDLETIME key`: seconds.
pub fn idletime(ctx: &mut Context<'_>) -> Outcome {
    let touch = ctx.db.touch;
    if touch.lfu && ctx.db.lookup(ctx.arg(2), Lookup::QUIET).is_some() {
        return Err(CommandError::fixed(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    about(ctx, |entry| i64::from(touch.clock.wrapping_sub(entry.access_word()) & 0xff_ffff));
    Ok(())
}

/// `OBJECT FREQ key`
pub fn freq(ctx: &mut Context<'_>) -> Outcome {
    let touch = ctx.db.touch;
    if !touch.lfu && ctx.db.lookup(ctx.arg(2), Lookup::QUIET).is_some() {
        return Err(CommandError::fixed(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    about(ctx, |entry| i64::from(lfu_decayed(entry.access_word() & 0xff_ffff, touch)));
    Ok(())
}
