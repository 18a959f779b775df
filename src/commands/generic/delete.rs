//! DEL, UNLINK, EXISTS, TOUCH, TYPE.

use crate::commands::context::{Context, Outcome};
use crate::effects::{Freeing, class};
use crate::keyspace::Lookup;
use crate::slot::slot_of;

/// `DEL key [key ...]`
pub fn del(ctx: &mut Context<'_>) -> Outcome {
    let freeing = Freeing::counted_if(ctx.config.lazyfree_lazy_user_del);
    delete(ctx, freeing)
}

/// `UNLINK key [key ...]`
pub fn unlink(ctx: &mut Context<'_>) -> Outcome {
    delete(ctx, Freeing::Counted)
}

/// An expired key is looked at as a reader would: where readers only hide it, it is still there to be deleted.
fn delete(ctx: &mut Context<'_>, freeing: Freeing) -> Outcome {
    let mut deleted = 0;
    let (db, treatment) = (ctx.db.db, ctx.db.rules.read);
    for &key in &ctx.args[1..] {
        if ctx.db.expire_if_due(db, key, treatment) {
            continue;
        }
        if let Some(entry) = ctx.db.take(key) {
            ctx.db.discard_entry_as(entry, freeing);
            ctx.db.changed(class::GENERIC, "del", key);
            deleted += 1;
        }
    }
    ctx.reply.integer(deleted);
    Ok(())
}

/// `EXISTS key [key ...]`: a key named twice counts twice.
pub fn exists(ctx: &mut Context<'_>) -> Outcome {
    let found = ctx.args[1..].iter().filter(|key| ctx.db.exists(key)).count();
    ctx.reply.integer(found as i64);
    Ok(())
}

/// `TOUCH key [key ...]`: counts as use even for a client that asked for NO-TOUCH.
pub fn touch(ctx: &mut Context<'_>) -> Outcome {
    ctx.db.client_no_touch = false;
    let found = ctx.args[1..].iter().filter(|key| ctx.db.read(key).is_some()).count();
    ctx.reply.integer(found as i64);
    Ok(())
}

/// `TYPE key`
pub fn type_of(ctx: &mut Context<'_>) -> Outcome {
    let kind = ctx.db.lookup(ctx.arg(1), Lookup::READ_NO_TOUCH).map(|entry| entry.kind());
    ctx.reply.simple(kind.map_or("none", |kind| kind.name()));
    Ok(())
}

/// Removes a key that another is about to replace; records nothing but the value to free.
pub(super) fn make_room(ctx: &mut Context<'_>, db: u32, key: &[u8]) {
    let freeing = Freeing::counted_if(ctx.config.lazyfree_lazy_server_del);
    if let Some(entry) = ctx.db.take_in(db, key) {
        ctx.db.discard_entry_as(entry, freeing);
    }
}

/// Records that a key of any database was modified, without event or count.
pub(super) fn modified(ctx: &mut Context<'_>, db: u32, key: &[u8]) {
    ctx.db.effects.modified(db, slot_of(key), key);
}
