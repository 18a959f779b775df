//! Consumer groups of a stream: who was given which entry, when, and how often.
//!
//! Invariant: an id is in a consumer's set exactly when the group's pending list names that consumer for it.

use super::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};

/// A consumer within its group; not reused while the group lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerKey(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: ConsumerKey,
    /// Unix time of the last delivery, milliseconds.
    pub delivered_ms: i64,
    pub deliveries: u64,
}

/// A reader of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    pub key: ConsumerKey,
    /// Last attempted interaction, Unix time in milliseconds.
    pub seen_ms: i64,
    /// Last successful interaction, Unix time in milliseconds; -1 if there was none.
    pub active_ms: i64,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// The ids this consumer has not acknowledged.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    pub last_id: StreamId,
    /// Entries read so far; `None` if unknown (-1 in RDB).
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: BTreeMap<Box<[u8]>, Consumer>,
    names: BTreeMap<ConsumerKey, Box<[u8]>>,
    keys_used: u32,
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Group {
            last_id,
            entries_read,
            pending: BTreeMap::new(),
            consumers: BTreeMap::new(),
            names: BTreeMap::new(),
            keys_used: 0,
        }
    }

    /// All pending entries by id.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// All consumers by name.
    pub fn consumers(&self) -> &BTreeMap<Box<[u8]>, Consumer> {
        &self.consumers
    }

    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    pub fn consumer_mut(&mut self, name: &[u8]) -> Option<&mut Consumer> {
        self.consumers.get_mut(name)
    }

    /// The name of a consumer; empty if it was removed.
    pub fn name_of(&self, key: ConsumerKey) -> &[u8] {
        self.names.get(&key).map_or(&[], |name| name)
    }

    /// Adds a consumer seen now and never active; `None` if the name is taken.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> Option<ConsumerKey> {
        if self.consumers.contains_key(name) {
            return None;
        }
        let key = ConsumerKey(self.keys_used);
        self.keys_used += 1;
        self.names.insert(key, name.into());
        let consumer = Consumer { key, seen_ms: now_ms, active_ms: -1, pending: BTreeSet::new() };
        self.consumers.insert(name.into(), consumer);
        Some(key)
    }

    fn consumer_by_key(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers.get_mut(self.names.get(&key)?)
    }

    /// Gives an entry to a consumer, taking it from another if need be. `None`: no such consumer.
    pub fn assign(&mut self, id: StreamId, pending: Pending) -> Option<()> {
        self.consumer_by_key(pending.consumer)?.pending.insert(id);
        if let Some(old) = self.pending.insert(id, pending)
            && old.consumer != pending.consumer
            && let Some(consumer) = self.consumer_by_key(old.consumer)
        {
            consumer.pending.remove(&id);
        }
        Some(())
    }

    /// Acknowledges an entry; false if it was not pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(old) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumer_by_key(old.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// Removes a consumer with its pending entries and returns how many those were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        self.names.remove(&consumer.key);
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Drops up to `budget` pending entries; returns what is left of the budget.
    pub(super) fn drop_some(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0 && self.pending.pop_first().is_some() {
            left -= 1;
        }
        while left > 0
            && let Some(mut consumer) = self.consumers.first_entry()
        {
            while left > 0 && consumer.get_mut().pending.pop_first().is_some() {
                left -= 1;
            }
            if left > 0 {
                consumer.remove();
            }
        }
        left
    }

    /// Bytes of heap, estimated: B-tree nodes are about three quarters full.
    pub(super) fn heap_bytes(&self) -> usize {
        let per_pending = (size_of::<(StreamId, Pending)>() + size_of::<StreamId>()) * 4 / 3;
        let per_consumer = |name: &[u8]| 2 * name.len() + size_of::<(Box<[u8]>, Consumer)>() * 4 / 3 + 32;
        size_of::<Group>()
            + self.pending.len() * per_pending
            + self.consumers.keys().map(|name| per_consumer(name)).sum::<usize>()
    }
}
