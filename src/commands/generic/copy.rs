//! COPY.

use super::delete::{make_room, modified};
use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::class;
use crate::keyspace::{Lookup, NewValue, Treatment, Value};

/// `COPY source destination [DB destination-db] [REPLACE]`
pub fn copy(ctx: &mut Context<'_>) -> Outcome {
    let (source, target) = (ctx.arg(1), ctx.arg(2));
    let mut target_db = ctx.db.db;
    let mut replace = false;
    let mut at = 3;
    while at < ctx.args.len() {
        if ctx.is_word(at, "replace") {
            replace = true;
        } else if ctx.is_word(at, "db") && at + 1 < ctx.args.len() {
            at += 1;
            target_db = ctx.database(at)?.ok_or(CommandError::DbOutOfRange)?;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if target_db == ctx.db.db && source == target {
        return Err(CommandError::SameObject);
    }
    let copied = ctx.db.read(source).is_some()
        && (ctx.db.lookup_in(target_db, target, Lookup::WRITE).is_none() || replace);
    if copied {
        make_room(ctx, target_db, target);
        let entry = ctx.db.peek(ctx.db.db, source).expect("the source was just read and is not the target");
        let (mut value, expiry) = (entry.duplicate_value(), entry.expiry());
        // Fields that this client does not see are not copied; that may leave a hash without any.
        if let Value::Hash(hash) = &mut value
            && ctx.db.rules.read != Treatment::Show
        {
            hash.remove_due(ctx.db.now, usize::MAX, |_| {});
        }
        ctx.db.insert_in(target_db, target, NewValue::Owned(value), expiry);
        modified(ctx, target_db, target);
        ctx.db.effects.notify(class::GENERIC, "copy_to", target_db, target);
        ctx.db.effects.dirty += 1;
    }
    ctx.reply.integer(i64::from(copied));
    Ok(())
}
