//! Commands on sets.

pub mod algebra;
pub mod edit;
pub mod random;
pub mod read;

#[cfg(test)]
mod tests;

use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::effects::{Freeing, class};
use crate::keyspace::entry::{Ref, RefMut};
use crate::keyspace::{Entry, ValueRef};
use crate::types::set::{Set, SetLimits};

/// The directives that shape sets.
#[inline]
pub(crate) fn limits(config: &Config) -> SetLimits {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    SetLimits {
        intset_entries_max: count(config.set_max_intset_entries),
        listpack_entries_max: count(config.set_max_listpack_entries),
        listpack_value_max: count(config.set_max_listpack_value),
    }
}

/// The set for reading; other types are refused.
#[inline]
fn set_of(entry: &Entry) -> Result<Ref<'_, Set>, CommandError> {
    match entry.value() {
        ValueRef::Set(set) => Ok(set),
        _ => Err(CommandError::WrongType),
    }
}

/// The set for changing; other types are refused.
#[inline]
fn set_of_mut(entry: &mut Entry) -> Result<RefMut<'_, Set>, CommandError> {
    entry.set_mut().ok_or(CommandError::WrongType)
}

/// Removes a set that has become empty or is replaced by nothing; false if there was none.
fn remove(ctx: &mut Context<'_>, key: &[u8]) -> bool {
    let freeing = Freeing::counted_if(ctx.config.lazyfree_lazy_server_del);
    let removed = match ctx.db.take(key) {
        Some(entry) => {
            ctx.db.discard_entry_as(entry, freeing);
            true
        }
        None => false,
    };
    if removed {
        ctx.db.notify(class::GENERIC, "del", key);
    }
    removed
}
