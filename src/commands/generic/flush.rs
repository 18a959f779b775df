//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.

use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::{DatabaseChange, Freeing};

/// `DBSIZE`: expired keys that are still there included.
pub fn dbsize(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.integer(ctx.db.keys() as i64);
    Ok(())
}

/// Whether the client waits until the memory is free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    /// SYNC: the reply comes when the reaper is done; meanwhile others are served.
    Yes,
}

impl Wait {
    fn parse(ctx: &Context<'_>) -> Result<Self, CommandError> {
        match ctx.args.len() {
            1 if ctx.config.lazyfree_lazy_user_flush => Ok(Self::No),
            1 => Ok(Self::Yes),
            2 if ctx.is_word(1, "sync") => Ok(Self::Yes),
            2 if ctx.is_word(1, "async") => Ok(Self::No),
            _ => Err(CommandError::Syntax),
        }
    }
}

/// `FLUSHDB [ASYNC | SYNC]`
pub fn flushdb(ctx: &mut Context<'_>) -> Outcome {
    let wait = Wait::parse(ctx)?;
    let db = ctx.db.db;
    ctx.db.effects.databases.push(DatabaseChange::Flushed(db));
    flush(ctx, db..db + 1, wait);
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]`
pub fn flushall(ctx: &mut Context<'_>) -> Outcome {
    let wait = Wait::parse(ctx)?;
    let databases = ctx.db.keyspace.parts().iter().map(|part| part.databases()).max().unwrap_or(0);
    ctx.db.effects.databases.push(DatabaseChange::AllFlushed);
    flush(ctx, 0..databases, wait);
    Ok(())
}

fn flush(ctx: &mut Context<'_>, databases: std::ops::Range<u32>, wait: Wait) {
    let freeing = Freeing::counted_if(wait == Wait::No);
    for db in databases {
        ctx.db.effects.dirty += ctx.db.flush(db, freeing);
    }
    ctx.session.await_reaper |= wait == Wait::Yes;
    ctx.db.effects.force();
    ctx.reply.ok();
}

/// `SWAPDB index1 index2`
pub fn swapdb(ctx: &mut Context<'_>) -> Outcome {
    if ctx.config.cluster_enabled {
        return Err(CommandError::fixed("ERR SWAPDB is not allowed in cluster mode"));
    }
    let number = |at: usize, error: &'static str| ctx.int(at).map_err(|_| CommandError::fixed(error));
    let a = number(1, "ERR invalid first DB index")?;
    let b = number(2, "ERR invalid second DB index")?;
    let (Some(a), Some(b)) = (ctx.database_number(a), ctx.database_number(b)) else {
        return Err(CommandError::DbOutOfRange);
    };
    if a != b {
        ctx.db.keyspace.swap_databases(a, b);
        ctx.db.effects.databases.push(DatabaseChange::Swapped(a, b));
    }
    ctx.db.effects.dirty += 1;
    ctx.reply.ok();
    Ok(())
}
