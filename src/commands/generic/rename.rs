//! RENAME, RENAMENX, MOVE.

use super::delete::{make_room, modified};
use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::class;
use crate::keyspace::{Lookup, NewValue};

/// `RENAME key newkey`
pub fn rename(ctx: &mut Context<'_>) -> Outcome {
    rename_to(ctx, Taken::Replace)
}

/// `RENAMENX key newkey`
pub fn renamenx(ctx: &mut Context<'_>) -> Outcome {
    rename_to(ctx, Taken::Refuse)
}

/// What happens if the new name is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Replace,
    Refuse,
}

fn rename_to(ctx: &mut Context<'_>, taken: Taken) -> Outcome {
    let (source, target) = (ctx.arg(1), ctx.arg(2));
    ctx.db.write(source).ok_or(CommandError::NoSuchKey)?;
    let exists = source == target || ctx.db.write(target).is_some();
    if exists && taken == Taken::Refuse {
        ctx.reply.integer(0);
        return Ok(());
    }
    if source != target {
        let db = ctx.db.db;
        make_room(ctx, db, target);
        move_entry(ctx, db, source, db, target);
        modified(ctx, db, source);
        modified(ctx, db, target);
        ctx.db.notify(class::GENERIC, "rename_from", source);
        ctx.db.notify(class::GENERIC, "rename_to", target);
        ctx.db.effects.dirty += 1;
    }
    match taken {
        Taken::Replace => ctx.reply.ok(),
        Taken::Refuse => ctx.reply.integer(1),
    }
    Ok(())
}

/// `MOVE key db`
pub fn move_key(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let target = ctx.database(2)?.ok_or(CommandError::DbOutOfRange)?;
    let source = ctx.db.db;
    if source == target {
        return Err(CommandError::SameObject);
    }
    if ctx.db.write(key).is_none() || ctx.db.lookup_in(target, key, Lookup::WRITE).is_some() {
        ctx.reply.integer(0);
        return Ok(());
    }
    move_entry(ctx, source, key, target, key);
    modified(ctx, source, key);
    modified(ctx, target, key);
    ctx.db.effects.notify(class::GENERIC, "move_from", source, key);
    ctx.db.effects.notify(class::GENERIC, "move_to", target, key);
    ctx.db.effects.dirty += 1;
    ctx.reply.integer(1);
    Ok(())
}

/// Moves a value with its deadline; it counts as used just now. The target must be free.
fn move_entry(ctx: &mut Context<'_>, from: u32, source: &[u8], to: u32, target: &[u8]) {
    if let Some(entry) = ctx.db.take_in(from, source) {
        let expiry = entry.expiry();
        ctx.db.insert_in(to, target, NewValue::Owned(entry.into_value()), expiry);
    }
}
