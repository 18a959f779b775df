//! Geospatial commands: sorted sets whose scores are geohashes.

mod arguments;
pub mod members;
pub mod search;
mod search_options;

#[cfg(test)]
mod tests;

use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::keyspace::{Entry, Type, ValueRef};
use crate::types::geohash::{Point, decode};
use crate::types::zset::ZSetLimits;

fn limits(config: &Config) -> ZSetLimits {
    ZSetLimits {
        listpack_entries_max: config.zset_max_listpack_entries as usize,
        listpack_value_max: config.zset_max_listpack_value as usize,
    }
}

/// Refuses everything but sorted sets.
fn check_type(entry: &Entry) -> Outcome {
    if entry.kind() == Type::ZSet { Ok(()) } else { Err(CommandError::WrongType) }
}

/// The score of a member of a key that a lookup of this command has found and tested.
fn score(ctx: &Context<'_>, key: &[u8], member: &[u8]) -> Option<f64> {
    match ctx.db.visible(key)?.value() {
        ValueRef::ZSet(zset) => zset.score(member),
        _ => None,
    }
}

/// The geohash in a score. Scores that are none, which ZADD can make, turn into bits as Valkey's processor turns them.
fn hash_of(score: f64) -> u64 {
    const TOP: f64 = (1u64 << 63) as f64;
    let truncated = |value: f64| {
        let fits = (-TOP..TOP).contains(&value);
        if fits { value as i64 as u64 } else { 1 << 63 }
    };
    if score < TOP { truncated(score) } else { truncated(score - TOP) ^ 1 << 63 }
}

/// The place a score stands for.
fn place(score: f64) -> Point {
    decode(hash_of(score))
}
