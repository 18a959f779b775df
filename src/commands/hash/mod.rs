//! Commands on hashes.
//!
//! Fields may have deadlines of their own. A field past its deadline is never removed by being met: it is hidden (see
//! [`Sight`]) until a command writes over it or the background removes it
//! ([`Access::expire_fields`](crate::keyspace::Access::expire_fields)). Every command that may change a deadline tells
//! [`Access::note_fields`](crate::keyspace::Access::note_fields), which keeps the time index. Spec page key-lifetime.md, section 4.

pub mod counter;
pub mod deadline;
pub mod edit;
pub mod fields;
pub mod getex;
pub mod random;
pub mod read;
pub mod setex;

#[cfg(test)]
mod tests;

use crate::commands::list::reply_item;
use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::effects::{Freeing, class};
use crate::keyspace::entry::{Ref, RefMut};
use crate::keyspace::{Entry, Treatment, ValueRef};
use crate::resp::Reply;
use crate::types::hash::{Deadline, FieldValue, Hash, HashLimits};

/// The directives that shape hashes.
#[inline]
pub(crate) fn limits(config: &Config) -> HashLimits {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    HashLimits {
        listpack_entries_max: count(config.hash_max_listpack_entries),
        listpack_value_max: count(config.hash_max_listpack_value),
    }
}

/// The hash for reading; other types are refused.
#[inline]
fn hash_of(entry: &Entry) -> Result<Ref<'_, Hash>, CommandError> {
    match entry.value() {
        ValueRef::Hash(hash) => Ok(hash),
        _ => Err(CommandError::WrongType),
    }
}

/// The hash for changing; other types are refused.
#[inline]
fn hash_of_mut(entry: &mut Entry) -> Result<RefMut<'_, Hash>, CommandError> {
    entry.hash_mut().ok_or(CommandError::WrongType)
}

/// What this command takes for a field whose deadline has passed (spec page key-lifetime.md, 0.3, 0.4 and 1.5).
#[derive(Clone, Copy)]
pub struct Sight {
    now: i64,
    shows_expired: bool,
    store_past: bool,
}

impl Sight {
    #[inline]
    pub fn of(ctx: &Context<'_>) -> Self {
        Self {
            now: ctx.db.now,
            shows_expired: ctx.db.rules.read == Treatment::Show,
            store_past: ctx.db.rules.store_past,
        }
    }

    /// Whether a field with this deadline is there: it lives through its last millisecond.
    #[inline]
    pub fn sees(self, deadline_ms: Option<i64>) -> bool {
        deadline_ms.is_none_or(|deadline| self.shows_expired || self.now <= deadline)
    }

    /// Whether all fields are there.
    #[inline]
    fn sees_all(self, hash: &Hash) -> bool {
        self.sees(hash.earliest_deadline_ms())
    }

    /// The field, if it is there.
    #[inline]
    fn get<'h>(self, hash: &'h Hash, name: &[u8]) -> Option<FieldValue<'h>> {
        hash.get(name).filter(|field| self.sees(field.deadline_ms))
    }

    /// Removes the field, if it is there.
    fn remove(self, hash: &mut Hash, name: &[u8]) -> bool {
        (hash.deadline_count() == 0 || self.get(hash, name).is_some()) && hash.remove(name)
    }

    /// Whether the field is there no matter who looks, for random picks.
    #[inline]
    fn is_alive(self, deadline_ms: Option<i64>) -> bool {
        deadline_ms.is_none_or(|deadline| self.now <= deadline)
    }

    /// Whether a deadline that is given to a field, or that a field has which is written over, is over.
    #[inline]
    fn is_past(self, deadline_ms: i64) -> bool {
        deadline_ms <= self.now && !self.store_past
    }

    /// Sets a field. One that has expired is as good as new, and its deadline is not kept.
    #[inline]
    fn set(self, hash: &mut Hash, name: &[u8], value: &[u8], deadline: Deadline, limits: &HashLimits) -> Set {
        if hash.deadline_count() == 0 {
            return if hash.set(name, value, deadline, limits) { Set::Added } else { Set::Replaced };
        }
        let had = hash.get(name).and_then(|field| field.deadline_ms);
        if had.is_some_and(|deadline| self.is_past(deadline)) {
            let deadline = if deadline == Deadline::Keep { Deadline::Clear } else { deadline };
            hash.set(name, value, deadline, limits);
            return Set::ReplacedExpired;
        }
        if hash.set(name, value, deadline, limits) { Set::Added } else { Set::Replaced }
    }
}

/// What setting a field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Added,
    Replaced,
    /// A field that had expired was still there.
    ReplacedExpired,
}

/// The value of a field, or null.
#[inline]
fn reply_value(reply: &mut Reply, field: Option<FieldValue<'_>>) {
    match field {
        Some(field) => reply_item(reply, field.value),
        None => reply.null(),
    }
}

/// Records `changes` changes of a hash, one event for all of them, preceded by `hexpired` if `expired` fields were
/// written over.
#[inline]
fn changed(ctx: &mut Context<'_>, event: &'static str, key: &[u8], changes: usize, expired: usize) {
    ctx.db.effects.dirty += changes as u64;
    ctx.db.modified(key);
    if expired > 0 {
        ctx.db.effects.counters.expired_fields += expired as u64;
        ctx.db.notify(class::HASH, "hexpired", key);
    }
    ctx.db.notify(class::HASH, event, key);
}

/// Removes a hash that has become empty.
fn remove_empty(ctx: &mut Context<'_>, key: &[u8]) {
    if let Some(entry) = ctx.db.take(key) {
        ctx.db.discard_entry_as(entry, Freeing::counted_if(ctx.config.lazyfree_lazy_server_del));
    }
    ctx.db.notify(class::GENERIC, "del", key);
}
