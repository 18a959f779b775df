//! Commands on sorted sets.
//!
//! Taking members off is a function of its own in [`pop`], for the commands here and for clients that waited. Results
//! that are stored under a key go through [`store`], which the geo commands share, as they share [`add`].

pub mod add;
pub mod algebra;
pub mod blocking;
mod bounds;
pub mod pop;
pub mod random;
pub mod range;
pub mod read;
pub mod remove;
pub mod scan;

#[cfg(test)]
mod tests;

use crate::commands::list::reply_item;
use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::entry::{Ref, RefMut};
use crate::keyspace::{Entry, NewValue, Value, ValueRef};
use crate::resp::Reply;
use crate::types::Item;
use crate::types::number::F64Buffer;
use crate::types::zset::{ZSet, ZSetLimits};
use std::ops::{ControlFlow, Range};

/// The directives that shape sorted sets.
#[inline]
pub(crate) fn limits(config: &Config) -> ZSetLimits {
    ZSetLimits {
        listpack_entries_max: usize::try_from(config.zset_max_listpack_entries).unwrap_or(usize::MAX),
        listpack_value_max: usize::try_from(config.zset_max_listpack_value).unwrap_or(usize::MAX),
    }
}

/// The sorted set for reading; other types are refused.
#[inline]
pub(crate) fn zset_of(entry: &Entry) -> Result<Ref<'_, ZSet>, CommandError> {
    match entry.value() {
        ValueRef::ZSet(zset) => Ok(zset),
        _ => Err(CommandError::WrongType),
    }
}

/// The sorted set for changing; other types are refused.
#[inline]
fn zset_of_mut(entry: &mut Entry) -> Result<RefMut<'_, ZSet>, CommandError> {
    entry.zset_mut().ok_or(CommandError::WrongType)
}

/// Looks a key up for reading. `None` if it is missing.
#[inline]
pub(crate) fn read_zset<'c>(
    ctx: &'c mut Context<'_>,
    key: &[u8],
) -> Result<Option<Ref<'c, ZSet>>, CommandError> {
    ctx.db.read(key).map(zset_of).transpose()
}

/// A score as a double.
#[inline]
pub(crate) fn reply_score(reply: &mut Reply, score: f64) {
    reply.double_text(F64Buffer::new().format(score));
}

/// How members and scores follow each other in a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Members only.
    Members,
    /// Member, score, member, score ... in one array.
    Flat,
    /// An array of two for each member.
    Nested,
}

impl Form {
    /// What WITHSCORES gives: nested in RESP3, flat in RESP2.
    pub(crate) fn with_scores(reply: &Reply, with_scores: bool) -> Self {
        match (with_scores, reply.is_resp3()) {
            (false, _) => Form::Members,
            (true, false) => Form::Flat,
            (true, true) => Form::Nested,
        }
    }

    /// Head of the array for `members` members.
    #[inline]
    fn head(self, reply: &mut Reply, members: usize) {
        reply.array(if self == Form::Flat { members.saturating_mul(2) } else { members });
    }

    #[inline]
    fn element(self, reply: &mut Reply, member: Item<'_>, score: f64) {
        if self == Form::Nested {
            reply.array(2);
        }
        reply_item(reply, member);
        if self != Form::Members {
            reply_score(reply, score);
        }
    }

    /// The whole array for a range of ranks.
    fn ranks(self, reply: &mut Reply, zset: &ZSet, ranks: Range<usize>, reverse: bool) {
        self.head(reply, ranks.len());
        self.elements(reply, zset, ranks, reverse);
    }

    /// The elements for a range of ranks, lowest or (`reverse`) highest first.
    fn elements(self, reply: &mut Reply, zset: &ZSet, ranks: Range<usize>, reverse: bool) {
        zset.visit(ranks, reverse, |member, score| {
            self.element(reply, member, score);
            ControlFlow::Continue(())
        });
    }
}

/// Records `changes` changes of a sorted set, one event for all of them.
fn changed(ctx: &mut Context<'_>, event: &'static str, key: &[u8], changes: usize) {
    ctx.db.effects.dirty += changes as u64;
    ctx.db.modified(key);
    ctx.db.notify(class::ZSET, event, key);
}

/// Removes a sorted set that has become empty.
fn remove_empty(ctx: &mut Context<'_>, key: &[u8]) {
    ctx.db.remove(key);
    ctx.db.notify(class::GENERIC, "del", key);
}

/// Makes `result` the value of `key`, counted as `changes` changes; if it is empty the key is removed.
pub(crate) fn store(ctx: &mut Context<'_>, key: &[u8], result: ZSet, event: &'static str, changes: usize) {
    if result.is_empty() {
        if ctx.db.remove(key) {
            ctx.db.changed(class::GENERIC, "del", key);
        }
        return;
    }
    ctx.db.write_and_set(key, NewValue::Owned(Value::ZSet(result)), Expiry::Drop);
    changed(ctx, event, key, changes);
}
