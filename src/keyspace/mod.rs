//! Databases of slots of entries.
//!
//! ```text
//! Keyspace --> Part (one per shard it spans) --> Database (made lazily) --> SlotTable (one per slot) --> Entry
//! ```
//!
//! A shard owns a `Keyspace` of one part: the slots `s` with `s % workers == index`. A unit over several shards puts
//! the parts that those shards moved out to it side by side; the same command code runs on both.
//!
//! Invariant: a slot table is in exactly one part at any time.

pub mod access;
mod edit_string;
pub mod entry;
pub mod part;
mod slots;
mod string_kind;
pub mod table;

pub use access::{Access, ExpiryRules, Lookup, Touch, Treatment};
pub use entry::{Entry, NewValue, StringKind, Type, Value, ValueRef};
pub use part::{Database, DatabaseAtCut, Part, SlotTable};

use crate::slot::Slot;

/// The slot tables a command can reach.
pub struct Keyspace {
    /// Either the one part of a shard, or `workers` parts indexed by `slot % workers`.
    parts: Vec<Part>,
}

impl Keyspace {
    /// The keyspace of one shard.
    pub fn of_shard(part: Part) -> Self {
        Self { parts: vec![part] }
    }

    /// The keyspace of a unit: one part per worker, in worker order.
    pub fn of_unit(parts: Vec<Part>) -> Self {
        debug_assert!(parts.iter().enumerate().all(|(i, p)| usize::from(p.index()) == i));
        Self { parts }
    }

    /// The parts, to hand them back to their shards.
    pub fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn parts_mut(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    #[inline]
    pub fn part_mut(&mut self, slot: Slot) -> &mut Part {
        match self.parts.len() {
            1 => &mut self.parts[0],
            n => &mut self.parts[slot.index() % n],
        }
    }

    #[inline]
    pub fn part(&self, slot: Slot) -> &Part {
        match self.parts.len() {
            1 => &self.parts[0],
            n => &self.parts[slot.index() % n],
        }
    }

    /// Keys in a database, expired ones not yet removed included.
    pub fn keys(&self, db: u32) -> u64 {
        self.parts.iter().map(|p| p.database(db).map_or(0, Database::keys)).sum()
    }

    /// Keys with a deadline in a database.
    pub fn expires(&self, db: u32) -> u64 {
        self.parts.iter().map(|p| p.database(db).map_or(0, Database::expires)).sum()
    }

    /// Exchanges two databases in every part.
    pub fn swap_databases(&mut self, a: u32, b: u32) {
        for part in &mut self.parts {
            part.swap_databases(a, b);
        }
    }
}
