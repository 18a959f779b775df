//! Streams: an append-only log of entries with ascending ids, in listpacks of many entries each, with Valkey's bytes.

use super::Collection;
use super::listpack::Listpack;
pub use super::stream_group::{Consumer, ConsumerKey, Group, Pending};
use super::stream_node::{self as node, Entry as NodeEntry};
use super::stream_nodes::Nodes;
use super::{Payload, extrapolated};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Deref, DerefMut};

/// An entry as visitors see it.
pub type StreamEntry<'a> = NodeEntry<'a>;

/// The id of an entry: milliseconds and a sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The next greater id.
    pub fn successor(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The next smaller id.
    pub fn predecessor(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// 16 bytes, big endian, as in RDB.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        let value = u128::from_be_bytes(*bytes);
        StreamId { ms: (value >> 64) as u64, seq: value as u64 }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The directives that shape the nodes; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// `stream-node-max-bytes`
    pub node_bytes_max: usize,
    /// `stream-node-max-entries`
    pub node_entries_max: i64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits { node_bytes_max: 4096, node_entries_max: 100 }
    }
}

/// No node grows beyond this many bytes, whatever the configuration says.
const NODE_BYTES_MAX: usize = 1 << 30;

/// Why an entry was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("The ID specified in XADD is equal or smaller than the target stream top item")]
    IdNotGreater,
    #[error("Elements are too large to be stored")]
    TooLarge,
}

/// What trimming keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// At most this many entries.
    MaxLen(u64),
    /// Entries with at least this id.
    MinId(StreamId),
}

/// The value of a stream key. One machine word.
#[derive(Clone, Default)]
pub struct Stream(Box<StreamData>);

impl Deref for Stream {
    type Target = StreamData;

    fn deref(&self) -> &StreamData {
        &self.0
    }
}

impl DerefMut for Stream {
    fn deref_mut(&mut self) -> &mut StreamData {
        &mut self.0
    }
}

/// A stream's content. The fields that commands may set freely are public.
#[derive(Clone, Default)]
pub struct StreamData {
    nodes: Nodes,
    len: u64,
    /// The greatest id ever added, or set by XSETID.
    pub last_id: StreamId,
    /// The id of the first live entry; 0-0 if there is none.
    pub first_id: StreamId,
    /// The greatest id removed by XDEL.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
    /// Consumer groups by name.
    pub groups: BTreeMap<Box<[u8]>, Group>,
}

impl StreamData {
    /// Number of live entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of nodes (XINFO shows it as radix-tree keys).
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes of the radix tree that Valkey would index the nodes with (XINFO).
    pub fn radix_node_count(&self) -> usize {
        super::stream_radix::node_count(self.nodes.iter().map(|(id, _)| id))
    }

    /// The nodes as they are dumped: master id and listpack bytes.
    pub fn nodes(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.nodes.iter().map(|(id, lp)| (id, lp.as_bytes()))
    }

    /// Takes over a node from a dump. `None` if the listpack is not a sound, non-empty node or the id is not greater
    /// than that of the node before. Counts its live entries; the caller compares [`StreamData::len`] with the length
    /// it was told.
    pub fn push_node(&mut self, id: StreamId, lp: Listpack) -> Option<()> {
        if !node::is_sound(&lp) || self.nodes.last().is_some_and(|(last, _)| last >= id) {
            return None;
        }
        self.len += u64::try_from(node::master(&lp)?.count).ok()?;
        self.nodes.push(id, lp);
        Some(())
    }

    /// The id an entry added at `now_ms` gets; `None` when ids are exhausted.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms {
            Some(StreamId { ms: now_ms, seq: 0 })
        } else {
            self.last_id.successor()
        }
    }

    /// Adds an entry: `pairs` is field, value, field, value, ... and not empty.
    pub fn append<T: AsRef<[u8]>>(
        &mut self,
        id: StreamId,
        pairs: &[T],
        limits: &StreamLimits,
    ) -> Result<(), AppendError> {
        if id <= self.last_id {
            return Err(AppendError::IdNotGreater);
        }
        let bytes: usize = pairs.iter().map(|text| text.as_ref().len()).sum();
        if bytes > NODE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        let bytes_max = match limits.node_bytes_max {
            0 => NODE_BYTES_MAX,
            limit => limit.min(NODE_BYTES_MAX),
        };
        let has_room = |lp: &Listpack| {
            let full = || node::master(lp).is_none_or(|m| m.count + m.deleted >= limits.node_entries_max);
            lp.as_bytes().len() + bytes < bytes_max && !(limits.node_entries_max > 0 && full())
        };
        match self.nodes.last_mut().filter(|(_, last)| has_room(last)) {
            Some((master_id, last)) => node::append(last, master_id, id, pairs),
            None => self.nodes.push(id, node::create(pairs)),
        }
        self.len += 1;
        // A foreign payload may claim any number; Valkey's counter wraps around, too.
        self.entries_added = self.entries_added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    /// Calls `f` with the live entries with ids from `start` to `end`, both included, ascending, until it breaks.
    pub fn visit(
        &self,
        start: StreamId,
        end: StreamId,
        mut f: impl FnMut(&StreamEntry<'_>) -> ControlFlow<()>,
    ) {
        for (id, lp) in self.nodes.holding(start, end) {
            let flow = node::walk(lp, id, &mut |entry| {
                if entry.id > end {
                    return ControlFlow::Break(());
                }
                if entry.id < start || entry.is_deleted() { ControlFlow::Continue(()) } else { f(entry) }
            });
            if flow.is_break() {
                return;
            }
        }
    }

    /// As [`StreamData::visit`], descending.
    pub fn visit_back(
        &self,
        start: StreamId,
        end: StreamId,
        mut f: impl FnMut(&StreamEntry<'_>) -> ControlFlow<()>,
    ) {
        for (id, lp) in self.nodes.back_from(end) {
            let flow = node::walk_back(lp, id, &mut |entry| {
                if entry.id < start {
                    return ControlFlow::Break(());
                }
                if entry.id > end || entry.is_deleted() { ControlFlow::Continue(()) } else { f(entry) }
            });
            if flow.is_break() {
                return;
            }
        }
    }

    /// Whether a live entry has this id.
    pub fn contains(&self, id: StreamId) -> bool {
        let mut found = false;
        self.visit(id, id, |_| {
            found = true;
            ControlFlow::Break(())
        });
        found
    }

    /// The id of the first live entry.
    pub fn first_live_id(&self) -> Option<StreamId> {
        let mut first = None;
        self.visit(StreamId::MIN, StreamId::MAX, |entry| {
            first = Some(entry.id);
            ControlFlow::Break(())
        });
        first
    }

    /// The id of the first entry, deleted or not, that is still stored.
    pub fn first_stored_id(&self) -> Option<StreamId> {
        let (master_id, lp) = self.nodes.first()?;
        let mut first = None;
        _ = node::walk(lp, master_id, &mut |entry| {
            first = Some(entry.id);
            ControlFlow::Break(())
        });
        first
    }

    /// The id of the last live entry.
    pub fn last_live_id(&self) -> Option<StreamId> {
        let mut last = None;
        self.visit_back(StreamId::MIN, StreamId::MAX, |entry| {
            last = Some(entry.id);
            ControlFlow::Break(())
        });
        last
    }

    /// Removes an entry, as XDEL does: also keeps `first_id` and `max_deleted_id`.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((master_id, lp)) = self.nodes.holder_mut(id) else { return false };
        let marked = node::mark_deleted(lp, master_id, |entry| match entry.id.cmp(&id) {
            std::cmp::Ordering::Less => Some(false),
            std::cmp::Ordering::Equal => Some(!entry.is_deleted()),
            std::cmp::Ordering::Greater => None,
        });
        if marked == 0 {
            return false;
        }
        if node::master(lp).is_none_or(|m| m.count == 0) {
            self.nodes.remove(master_id);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id || self.len == 0 {
            self.first_id = self.first_live_id().unwrap_or_default();
        }
        true
    }

    /// Removes entries from the start and returns how many. `approximate` removes whole nodes only; with `limit`, no
    /// node is touched that would bring the number removed above it.
    pub fn trim(&mut self, keep: Trim, approximate: bool, limit: Option<u64>) -> u64 {
        let mut removed = 0u64;
        while let Some((master_id, first)) = self.nodes.first_mut() {
            if matches!(keep, Trim::MaxLen(max) if self.len <= max) {
                break;
            }
            let count = node::master(first).map_or(0, |m| m.count.max(0) as u64);
            if limit.is_some_and(|limit| removed + count > limit) {
                break;
            }
            let whole = match keep {
                Trim::MaxLen(max) => self.len.saturating_sub(count) >= max,
                Trim::MinId(min) => node::last_id(first, master_id).is_none_or(|last| last < min),
            };
            if whole {
                self.nodes.pop_first();
                self.len = self.len.saturating_sub(count);
                removed += count;
                continue;
            }
            if approximate {
                break;
            }
            let mut len = self.len;
            let marked = node::mark_deleted(first, master_id, |entry| {
                let stop = match keep {
                    Trim::MaxLen(max) => len <= max,
                    Trim::MinId(min) => entry.id >= min,
                };
                if stop {
                    return None;
                }
                len -= u64::from(!entry.is_deleted());
                Some(!entry.is_deleted())
            });
            self.len = len;
            removed += marked as u64;
            break;
        }
        if removed > 0 {
            self.first_id = self.first_live_id().unwrap_or_default();
        }
        removed
    }

    /// How many entries were ever added up to `id`; `None` if that cannot be told (something was deleted ahead of it,
    /// or the id is in the future).
    pub fn entries_read_at(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        let unbroken = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if !unbroken || id > self.first_id {
            return None;
        }
        Some(self.entries_added - self.len + u64::from(id == self.first_id))
    }

    /// Whether XDEL removed something that a reader from `start` on would have seen, even if all before it is gone too.
    pub fn has_deleted_from(&self, start: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && start <= self.max_deleted_id
    }

    /// Entries that a group has not been given yet; `None` if that cannot be told. Below 0 if a client made the group
    /// believe that it has read more than there ever was.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_deleted_from(group.last_id) => Some(read),
            _ => self.entries_read_at(group.last_id),
        };
        read.map(|read| self.entries_added.wrapping_sub(read) as i64)
    }

    /// Moves a group's position to an entry that it is given, if that is ahead, and keeps its count of entries read.
    pub fn advance(&self, group: &mut Group, id: StreamId) {
        if id <= group.last_id {
            return;
        }
        // From a position before the first entry, or before a deleted one, nobody knows how many were in between.
        let from = group.last_id;
        let unbroken = from >= self.first_id && !self.has_deleted_from(from);
        match &mut group.entries_read {
            Some(read) if unbroken => *read = read.wrapping_add(1),
            read if self.entries_added > 0 => *read = self.entries_read_at(id),
            _ => {}
        }
        group.last_id = id;
    }

    /// Calls `f` with the stream and one of its groups, which meanwhile has no place among `groups`' contents. `None`
    /// if there is no such group.
    pub fn with_group<R>(&mut self, name: &[u8], f: impl FnOnce(&Self, &mut Group) -> R) -> Option<R> {
        let slot = self.groups.get_mut(name)?;
        let mut group = std::mem::replace(slot, Group::new(StreamId::MIN, None));
        let result = f(self, &mut group);
        if let Some(slot) = self.groups.get_mut(name) {
            *slot = group;
        }
        Some(result)
    }

    /// Adds a group; false if the name is taken.
    pub fn create_group(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), Group::new(last_id, entries_read));
        true
    }

    /// Whether the ids of all entries, deleted ones included, rise from node to node: what finding and appending rely
    /// on. The caller of [`StreamData::push_node`] checks this once at the end.
    pub fn is_ordered(&self) -> bool {
        let mut before: Option<StreamId> = None;
        self.nodes.iter().all(|(master, lp)| {
            let mut ordered = before.is_none_or(|before| before < master);
            _ = node::walk(lp, master, &mut |entry| {
                ordered &= entry.id >= master && before.is_none_or(|before| before < entry.id);
                before = Some(entry.id);
                if ordered { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            ordered
        }) && before.is_none_or(|last| last <= self.last_id)
    }

    /// Sets the number of live entries from a dump whose nodes have been checked against it.
    pub fn has_len(&self, len: u64) -> bool {
        self.len == len
    }
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding_name(&self) -> &'static str {
        "stream"
    }
}

impl Collection for Stream {
    fn free_effort(&self) -> usize {
        // A radix tree has about two nodes per key.
        let pending = self.groups.values().next().map_or(0, |g| g.pending().len());
        1 + 2 * self.nodes.len() + self.groups.len() * (1 + pending)
    }

    fn drop_some(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 && self.nodes.pop_first().is_some() {
            left -= 1;
        }
        while left > 0
            && let Some(mut group) = self.groups.first_entry()
        {
            left = group.get_mut().drop_some(left);
            if left > 0 {
                group.remove();
            }
        }
        self.nodes.is_empty() && self.groups.is_empty()
    }

    fn heap_bytes_sampled(&self, samples: usize) -> usize {
        // B-tree nodes are about three quarters full.
        let index = self.nodes.len().saturating_sub(1) * (size_of::<(StreamId, Listpack)>() * 4 / 3);
        size_of::<StreamData>()
            + index
            + extrapolated(self.nodes.iter().map(|(_, lp)| lp.heap_bytes()), self.nodes.len(), samples)
            + self.groups.iter().map(|(name, group)| name.len() + group.heap_bytes()).sum::<usize>()
    }
}

impl Payload for Stream {
    fn into_raw(self) -> (u8, usize) {
        (0, Box::into_raw(self.0).expose_provenance())
    }

    unsafe fn from_raw(_encoding: u8, word: usize) -> Self {
        // SAFETY: the caller promises a word from `into_raw`, which is a box of the stream's data.
        Stream(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) })
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
