//! SADD, SREM, SMOVE.

use super::{limits, remove, set_of, set_of_mut};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::effects::class;
use crate::keyspace::{Lookup, NewValue, Value};
use crate::types::set::Set;

/// `SADD key member [member ...]`
pub fn sadd(ctx: &mut Context<'_>) -> Outcome {
    let (key, members) = (ctx.arg(1), &ctx.args[2..]);
    let limits = limits(ctx.config);
    let add = |set: &mut Set| members.iter().filter(|member| set.add(member, &limits)).count();
    let added = match ctx.db.write(key) {
        Some(entry) => {
            let mut set = set_of_mut(entry)?;
            set.prepare_add(members.len(), &limits);
            add(&mut set)
        }
        None => {
            let mut set = Set::for_members(members[0], members.len(), &limits);
            let added = add(&mut set);
            ctx.db.insert(key, NewValue::Owned(Value::Set(set)), None);
            added
        }
    };
    if added > 0 {
        ctx.db.effects.dirty += added as u64;
        ctx.db.modified(key);
        ctx.db.notify(class::SET, "sadd", key);
    }
    ctx.reply.integer(added as i64);
    Ok(())
}

/// `SREM key member [member ...]`
pub fn srem(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut set = set_of_mut(entry)?;
    let removed = ctx.args[2..].iter().filter(|member| set.remove(member)).count();
    let emptied = set.is_empty();
    drop(set);
    if removed > 0 {
        ctx.db.effects.dirty += removed as u64;
        ctx.db.modified(key);
        ctx.db.notify(class::SET, "srem", key);
        if emptied {
            remove(ctx, key);
        }
    }
    ctx.reply.integer(removed as i64);
    Ok(())
}

/// A lookup after the one that counts as access.
const AGAIN: Lookup = Lookup { no_touch: true, ..Lookup::WRITE };

/// `SMOVE source destination member`
pub fn smove(ctx: &mut Context<'_>) -> Outcome {
    let (source, target, member) = (ctx.arg(1), ctx.arg(2), ctx.arg(3));
    let source_type = ctx.db.write(source).map(|entry| set_of(entry).map(drop));
    let target_type = ctx.db.write(target).map(|entry| set_of(entry).map(drop));
    let Some(source_type) = source_type else {
        ctx.reply.integer(0);
        return Ok(());
    };
    source_type?;
    let target_exists = target_type.transpose()?.is_some();
    let Some(entry) = ctx.db.lookup(source, AGAIN) else { return Ok(()) };
    if source == target {
        let there = set_of(entry)?.contains(member);
        ctx.reply.integer(i64::from(there));
        return Ok(());
    }
    let mut set = set_of_mut(entry)?;
    let removed = set.remove(member);
    let emptied = set.is_empty();
    drop(set);
    if !removed {
        ctx.reply.integer(0);
        return Ok(());
    }
    ctx.db.notify(class::SET, "srem", source);
    if emptied {
        remove(ctx, source);
    }
    let limits = limits(ctx.config);
    ctx.db.effects.dirty += 1;
    let added = match ctx.db.lookup(target, AGAIN) {
        Some(entry) if target_exists => set_of_mut(entry)?.add(member, &limits),
        _ => {
            let mut set = Set::for_members(member, 1, &limits);
            set.add(member, &limits);
            ctx.db.insert(target, NewValue::Owned(Value::Set(set)), None);
            true
        }
    };
    ctx.db.modified(source);
    if added {
        ctx.db.changed(class::SET, "sadd", target);
    }
    ctx.reply.integer(1);
    Ok(())
}
