//! Commands on lists.
//!
//! Taking elements off a list and moving them between lists are functions of their own in [`pop`] and [`moving`], for
//! the commands here and for clients that waited. They record every effect; a client that waited also replaces the
//! command that is propagated.

pub mod blocking;
pub mod edit;
pub mod moving;
pub mod pop;
pub mod push;
pub mod read;

#[cfg(test)]
mod tests;

use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::effects::class;
use crate::keyspace::entry::{Ref, RefMut};
use crate::keyspace::{Entry, ValueRef};
use crate::resp::Reply;
use crate::types::Item;
use crate::types::list::{End, List, ListLimits};

/// The directives that shape lists.
#[inline]
pub(crate) fn limits(config: &Config) -> ListLimits {
    ListLimits {
        max_listpack_size: config.list_max_listpack_size,
        compress_depth: config.list_compress_depth,
        packed_threshold: config.quicklist_packed_threshold,
    }
}

/// The list for reading; other types are refused.
#[inline]
fn list_of(entry: &Entry) -> Result<Ref<'_, List>, CommandError> {
    match entry.value() {
        ValueRef::List(list) => Ok(list),
        _ => Err(CommandError::WrongType),
    }
}

/// The list for changing; other types are refused.
#[inline]
fn list_of_mut(entry: &mut Entry) -> Result<RefMut<'_, List>, CommandError> {
    entry.list_mut().ok_or(CommandError::WrongType)
}

/// `LEFT` or `RIGHT`.
pub fn parse_end(word: &[u8]) -> Result<End, CommandError> {
    if word.eq_ignore_ascii_case(b"LEFT") {
        Ok(End::Head)
    } else if word.eq_ignore_ascii_case(b"RIGHT") {
        Ok(End::Tail)
    } else {
        Err(CommandError::Syntax)
    }
}

/// An element as a bulk string.
#[inline]
pub(crate) fn reply_item(reply: &mut Reply, item: Item<'_>) {
    match item {
        Item::Int(n) => reply.bulk_integer(n),
        Item::Str(text) => reply.bulk(text),
    }
}

/// Records `changes` changes of a list, one event for all of them.
fn changed(ctx: &mut Context<'_>, event: &'static str, key: &[u8], changes: usize) {
    ctx.db.effects.dirty += changes as u64;
    ctx.db.modified(key);
    ctx.db.notify(class::LIST, event, key);
}

/// Removes a list that has become empty.
fn remove_empty(ctx: &mut Context<'_>, key: &[u8]) {
    ctx.db.remove(key);
    ctx.db.notify(class::GENERIC, "del", key);
}

/// An index counted from the head, if `index` (negative: from the tail, -1 being the last) is inside the list.
fn position(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// First element and length of the range from `start` to `stop`, both included, negative ones counted from the tail.
/// `None` if it holds no element.
fn span(start: i64, stop: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    let start = if start < 0 { start.saturating_add(len).max(0) } else { start };
    let stop = if stop < 0 { stop.saturating_add(len) } else { stop.min(len - 1) };
    (start <= stop && start < len).then(|| (start as usize, (stop - start + 1) as usize))
}
