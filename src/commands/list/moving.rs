//! LMOVE and RPOPLPUSH.

use super::pop::popped;
use super::push::event;
use super::{changed, limits, list_of, list_of_mut, parse_end, reply_item};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::{Lookup, NewValue, Value};
use crate::types::list::{End, List};
use crate::types::{ItemBuffer, OwnedItem};

pub fn lmove(ctx: &mut Context<'_>) -> Outcome {
    let from = parse_end(ctx.arg(3))?;
    let to = parse_end(ctx.arg(4))?;
    reply_moved(ctx, from, to)
}

pub fn rpoplpush(ctx: &mut Context<'_>) -> Outcome {
    reply_moved(ctx, End::Tail, End::Head)
}

fn reply_moved(ctx: &mut Context<'_>, from: End, to: End) -> Outcome {
    let (source, target) = (ctx.arg(1), ctx.arg(2));
    match move_element(ctx, source, target, from, to)? {
        Some(item) => reply_item(ctx.reply, item.as_item()),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// A lookup after the one that counts as access.
const AGAIN: Lookup = Lookup { no_touch: true, ..Lookup::WRITE };

/// Moves an element from the end `from` of one list to the end `to` of another (or the same), with all effects, and
/// returns it. `None` if there is no source.
pub fn move_element(
    ctx: &mut Context<'_>,
    source: &[u8],
    target: &[u8],
    from: End,
    to: End,
) -> Result<Option<OwnedItem>, CommandError> {
    let Some(entry) = ctx.db.write(source) else { return Ok(None) };
    list_of(entry)?;
    let target_exists = match ctx.db.write(target) {
        Some(entry) => list_of(entry).map(|_| true)?,
        None => false,
    };
    let limits = limits(ctx.config);
    let Some(entry) = ctx.db.lookup(source, AGAIN) else { return Ok(None) };
    let mut list = list_of_mut(entry)?;
    let Some(item) = list.pop(from) else { return Ok(None) };
    let mut buffer = ItemBuffer::new();
    let text = item.as_item().text(&mut buffer);
    // A list that is rotated is never empty when it counts.
    let emptied = source != target && list.is_empty();
    if source == target {
        list.prepare_push(text.len(), 1, &limits);
        list.push(text, to);
    }
    if !emptied {
        list.shrink(&limits);
    }
    drop(list);
    if source != target {
        let add = |list: &mut List| {
            list.prepare_push(text.len(), 1, &limits);
            list.push(text, to);
        };
        match ctx.db.lookup(target, AGAIN) {
            Some(entry) if target_exists => add(&mut *list_of_mut(entry)?),
            _ => {
                let mut list = List::new();
                add(&mut list);
                ctx.db.insert(target, NewValue::Owned(Value::List(list)), None);
            }
        }
    }
    changed(ctx, event(to), target, 0);
    popped(ctx, source, from, 1, emptied);
    Ok(Some(item))
}
