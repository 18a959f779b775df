//! HSET, HMSET, HSETNX, HDEL.

use super::{Set, Sight, changed, hash_of_mut, limits, remove_empty};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::{NewValue, Value};
use crate::types::hash::{Deadline, Hash};

/// `HSET key field value [field value ...]`
pub fn hset(ctx: &mut Context<'_>) -> Outcome {
    let added = set_fields(ctx)?;
    ctx.reply.integer(added as i64);
    Ok(())
}

/// `HMSET key field value [field value ...]`
pub fn hmset(ctx: &mut Context<'_>) -> Outcome {
    set_fields(ctx)?;
    ctx.reply.ok();
    Ok(())
}

/// Sets the fields from argument 2 on and returns how many are new.
fn set_fields(ctx: &mut Context<'_>) -> Result<usize, CommandError> {
    if ctx.args.len() % 2 == 1 {
        return Err(ctx.arity_error());
    }
    let (key, words) = (ctx.arg(1), &ctx.args[2..]);
    let (limits, sight) = (limits(ctx.config), Sight::of(ctx));
    let (mut added, mut expired) = (0, 0);
    let mut set_all = |hash: &mut Hash| {
        if let Hash::Listpack(_) = hash {
            let (longest, bytes) = words
                .iter()
                .fold((0, 0), |(longest, bytes), word| (word.len().max(longest), bytes + word.len()));
            hash.prepare_set(words.len() / 2, longest, bytes, &limits);
        }
        for pair in words.chunks_exact(2) {
            match sight.set(hash, pair[0], pair[1], Deadline::Clear, &limits) {
                Set::Added => added += 1,
                Set::Replaced => {}
                Set::ReplacedExpired => (added, expired) = (added + 1, expired + 1),
            }
        }
    };
    match ctx.db.write(key) {
        Some(entry) => {
            let mut hash = hash_of_mut(entry)?;
            let had = hash.earliest_deadline_ms();
            set_all(&mut hash);
            let has = hash.earliest_deadline_ms();
            drop(hash);
            ctx.db.note_fields(key, had, has);
        }
        None => {
            let mut hash = Hash::new();
            set_all(&mut hash);
            ctx.db.insert(key, NewValue::Owned(Value::Hash(hash)), None);
        }
    }
    changed(ctx, "hset", key, words.len() / 2, expired);
    Ok(added)
}

/// `HSETNX key field value`
pub fn hsetnx(ctx: &mut Context<'_>) -> Outcome {
    let (key, name, value) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let (limits, sight) = (limits(ctx.config), Sight::of(ctx));
    let set = |hash: &mut Hash| {
        hash.prepare_set(1, name.len().max(value.len()), name.len() + value.len(), &limits);
        sight.set(hash, name, value, Deadline::Clear, &limits)
    };
    let (mut had_deadlines, mut done) = (false, Set::Added);
    match ctx.db.write(key) {
        Some(entry) => {
            let mut hash = hash_of_mut(entry)?;
            if sight.get(&hash, name).is_some() {
                ctx.reply.integer(0);
                return Ok(());
            }
            let had = hash.earliest_deadline_ms();
            had_deadlines = had.is_some();
            done = set(&mut hash);
            let has = hash.earliest_deadline_ms();
            drop(hash);
            ctx.db.note_fields(key, had, has);
        }
        None => {
            let mut hash = Hash::new();
            set(&mut hash);
            ctx.db.insert(key, NewValue::Owned(Value::Hash(hash)), None);
        }
    }
    changed(ctx, "hset", key, 1, usize::from(done == Set::ReplacedExpired));
    if had_deadlines {
        // A replica may still see the field, since it does not hide what has expired from its primary.
        ctx.db.rewrite(&[b"HSET", key, name, value]);
    }
    ctx.reply.integer(1);
    Ok(())
}

/// `HDEL key field [field ...]`
pub fn hdel(ctx: &mut Context<'_>) -> Outcome {
    let (key, sight) = (ctx.arg(1), Sight::of(ctx));
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut hash = hash_of_mut(entry)?;
    let had = hash.earliest_deadline_ms();
    let removed = ctx.args[2..].iter().filter(|name| sight.remove(&mut hash, name)).count();
    let (has, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
    drop(hash);
    ctx.db.note_fields(key, had, has);
    if removed > 0 {
        changed(ctx, "hdel", key, removed, 0);
        if emptied {
            remove_empty(ctx, key);
        }
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}
