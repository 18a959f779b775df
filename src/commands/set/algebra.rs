//! SINTER, SUNION, SDIFF, their STORE forms, and SINTERCARD.
//!
//! A result is put together as a set of its own, except where it can go straight to the client: which encoding a
//! stored result ends up with depends on how it came about, and Valkey's way is followed here.

use super::{limits, remove, set_of};
use crate::commands::argument_values::integer_in;
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::entry::Ref;
use crate::keyspace::{Access, NewValue, Value, ValueRef};
use crate::types::intset::Intset;
use crate::types::listpack::Listpack;
use crate::types::set::{Set, SetLimits};
use crate::types::{Item, ItemBuffer};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::slice::SliceIndex;

/// `SINTER key [key ...]`
pub fn sinter(ctx: &mut Context<'_>) -> Outcome {
    let sources = Sources::look_up(ctx, 1..)?;
    let Some(sets) = sources.all(&ctx.db) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let head = ctx.reply.deferred_array();
    let mut found = 0;
    intersect(sets, |member| {
        reply_item(ctx.reply, member);
        found += 1;
        ControlFlow::Continue(())
    });
    ctx.reply.finish_set(head, found);
    Ok(())
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
pub fn sintercard(ctx: &mut Context<'_>) -> Outcome {
    let numkeys = integer_in(ctx.arg(1), 1, i64::MAX)
        .ok_or(CommandError::fixed("ERR numkeys should be greater than 0"))?;
    let keys_end = usize::try_from(numkeys)
        .ok()
        .and_then(|n| n.checked_add(2))
        .filter(|end| *end <= ctx.args.len())
        .ok_or(CommandError::fixed("ERR Number of keys can't be greater than number of args"))?;
    let mut limit = 0;
    let mut options = ctx.args[keys_end..].iter();
    while let Some(word) = options.next() {
        let value = options.next().filter(|_| word.eq_ignore_ascii_case(b"LIMIT"));
        limit = integer_in(value.ok_or(CommandError::Syntax)?, 0, i64::MAX)
            .ok_or(CommandError::fixed("ERR LIMIT can't be negative"))?;
    }
    let sources = Sources::look_up(ctx, 2..keys_end)?;
    let mut found = 0;
    if let Some(sets) = sources.all(&ctx.db) {
        intersect(sets, |_| {
            found += 1;
            if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    ctx.reply.integer(found);
    Ok(())
}

/// `SINTERSTORE destination key [key ...]`
pub fn sinterstore(ctx: &mut Context<'_>) -> Outcome {
    let limits = limits(ctx.config);
    let sources = Sources::look_up(ctx, 2..)?;
    let result = sources.all(&ctx.db).map(|sets| intersection(sets, &limits)).unwrap_or_default();
    store(ctx, result, "sinterstore")
}

/// `SUNION key [key ...]`
pub fn sunion(ctx: &mut Context<'_>) -> Outcome {
    let limits = limits(ctx.config);
    let sources = Sources::look_up(ctx, 1..)?;
    let result = union(&sources.present(&ctx.db), &limits);
    reply_set(ctx, result)
}

/// `SUNIONSTORE destination key [key ...]`
pub fn sunionstore(ctx: &mut Context<'_>) -> Outcome {
    let limits = limits(ctx.config);
    let sources = Sources::look_up(ctx, 2..)?;
    let result = union(&sources.present(&ctx.db), &limits);
    store(ctx, result, "sunionstore")
}

/// `SDIFF key [key ...]`
pub fn sdiff(ctx: &mut Context<'_>) -> Outcome {
    let limits = limits(ctx.config);
    let sources = Sources::look_up(ctx, 1..)?;
    let result = sources.difference(&ctx.db, &limits);
    reply_set(ctx, result)
}

/// `SDIFFSTORE destination key [key ...]`
pub fn sdiffstore(ctx: &mut Context<'_>) -> Outcome {
    let limits = limits(ctx.config);
    let sources = Sources::look_up(ctx, 2..)?;
    let result = sources.difference(&ctx.db, &limits);
    store(ctx, result, "sdiffstore")
}

/// The keys of a command, and which of them hold a set.
struct Sources<'a> {
    keys: &'a [&'a [u8]],
    exists: Vec<bool>,
}

impl<'a> Sources<'a> {
    /// Looks all keys up in order, with all that reading them entails; the first of another type is refused.
    fn look_up(
        ctx: &mut Context<'a>,
        keys: impl SliceIndex<[&'a [u8]], Output = [&'a [u8]]>,
    ) -> Result<Self, CommandError> {
        let keys = &ctx.args[keys];
        let mut exists = Vec::with_capacity(keys.len());
        for key in keys {
            exists.push(match ctx.db.read(key) {
                Some(entry) => set_of(entry).map(|_| true)?,
                None => false,
            });
        }
        Ok(Self { keys, exists })
    }

    fn set<'d>(&self, db: &'d Access<'_>, index: usize) -> Option<Ref<'d, Set>> {
        match db.peek(db.db, self.keys[index]).filter(|_| self.exists[index])?.value() {
            ValueRef::Set(set) => Some(set),
            _ => None,
        }
    }

    /// The sets that exist, in the order of their keys.
    fn present<'d>(&self, db: &'d Access<'_>) -> Vec<Ref<'d, Set>> {
        (0..self.keys.len()).filter_map(|index| self.set(db, index)).collect()
    }

    /// All sets, or `None` if one is missing. A set that is named twice is in the list once.
    fn all<'d>(&self, db: &'d Access<'_>) -> Option<Vec<Ref<'d, Set>>> {
        let mut seen = HashSet::new();
        let indices = (0..self.keys.len()).filter(|&index| seen.insert(self.keys[index]));
        indices.map(|index| self.set(db, index)).collect()
    }

    /// The members of the first set that no other has.
    fn difference(&self, db: &Access<'_>, limits: &SetLimits) -> Set {
        let Some(first) = self.set(db, 0) else { return Set::new() };
        if self.keys[1..].contains(&self.keys[0]) {
            return Set::new();
        }
        let mut others: Vec<Ref<'_, Set>> =
            (1..self.keys.len()).filter_map(|index| self.set(db, index)).collect();
        // Either look each member of the first set up in all others, or take the members of all others away one by
        // one. Looking up has the better constant, and stops at the first hit.
        let all_members = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
        let look_ups = first.len().saturating_mul(1 + others.len()) / 2;
        let mut result = Set::new();
        if look_ups <= all_members {
            others.sort_by_key(|set| std::cmp::Reverse(set.len()));
            first.visit(|member| {
                if !others.iter().any(|set| set.contains_item(member)) {
                    add(&mut result, member, limits);
                }
                ControlFlow::Continue(())
            });
            return result;
        }
        first.visit(|member| {
            add(&mut result, member, limits);
            ControlFlow::Continue(())
        });
        for set in others {
            set.visit(|member| {
                result.remove(member.text(&mut ItemBuffer::new()));
                if result.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        result
    }
}

fn add(set: &mut Set, member: Item<'_>, limits: &SetLimits) {
    set.add(member.text(&mut ItemBuffer::new()), limits);
}

/// Calls `f` with each member that all sets have, until it breaks.
fn intersect(mut sets: Vec<Ref<'_, Set>>, mut f: impl FnMut(Item<'_>) -> ControlFlow<()>) {
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    smallest.visit(|member| {
        if others.iter().all(|set| set.contains_item(member)) { f(member) } else { ControlFlow::Continue(()) }
    });
}

/// What SINTERSTORE stores. It starts as an intset if the smallest set is one, else as a listpack, and becomes an intset
/// at the end if it can.
fn intersection(sets: Vec<Ref<'_, Set>>, limits: &SetLimits) -> Set {
    // The smallest as `intersect` will find it: the first of several.
    let smallest = sets.iter().min_by_key(|set| set.len());
    let mut result = match smallest.map(|set| &**set) {
        Some(Set::Intset(_)) | None => Set::Intset(Intset::new()),
        Some(Set::Listpack(_) | Set::Table(_)) => Set::Listpack(Listpack::new()),
    };
    let mut only_integers = true;
    intersect(sets, |member| {
        only_integers = only_integers && member.as_int().is_some();
        add(&mut result, member, limits);
        ControlFlow::Continue(())
    });
    if only_integers && !matches!(result, Set::Intset(_)) && result.len() <= limits.intset_entries_max {
        let mut intset = Intset::new();
        result.visit(|member| {
            intset.insert(member.as_int().unwrap_or_default());
            ControlFlow::Continue(())
        });
        result = Set::Intset(intset);
    }
    result
}

fn union(sets: &[Ref<'_, Set>], limits: &SetLimits) -> Set {
    let mut result = Set::new();
    for set in sets {
        set.visit(|member| {
            add(&mut result, member, limits);
            ControlFlow::Continue(())
        });
    }
    result
}

/// Replies with the members; a large result is freed by the reaper.
fn reply_set(ctx: &mut Context<'_>, set: Set) -> Outcome {
    ctx.reply.set(set.len());
    set.visit(|member| {
        reply_item(ctx.reply, member);
        ControlFlow::Continue(())
    });
    ctx.db.discard(Value::Set(set));
    Ok(())
}

/// Puts a result in place of whatever argument 1 names, and replies with its size. An empty result is no key.
fn store(ctx: &mut Context<'_>, result: Set, event: &'static str) -> Outcome {
    let (target, len) = (ctx.arg(1), result.len());
    if len > 0 {
        ctx.db.write_and_set(target, NewValue::Owned(Value::Set(result)), Expiry::Drop);
        ctx.db.changed(class::SET, event, target);
    } else if remove(ctx, target) {
        ctx.db.effects.dirty += 1;
        ctx.db.modified(target);
    }
    ctx.reply.integer(len as i64);
    Ok(())
}
