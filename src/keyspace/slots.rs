//! The tables of a shard's slots: 32 bytes per slot, for those slots only that are near one with keys.
//!
//! ```text
//!   chunks: [ptr, keys][nil, 0][ptr, keys] ...     two words per CHUNK slots
//!             |                  |
//!           [table x CHUNK]      made with the first key, given back after the last
//! ```
//!
//! A database with a handful of keys thus takes a few KiB instead of half a MiB, and eviction gets back what keys took.

use super::part::SlotTable;

/// Slots per chunk: 1 KiB, which is a size that allocators have.
const CHUNK: usize = 32;
/// Chunks that are kept though their last key has gone, so that a key which comes and goes costs no allocation.
const SPARE_CHUNKS: usize = 4;

#[derive(Default)]
struct Chunk {
    tables: Option<Box<[SlotTable; CHUNK]>>,
    /// Entries in all of them.
    keys: usize,
}

fn new_tables() -> Box<[SlotTable; CHUNK]> {
    Box::new(std::array::from_fn(|_| SlotTable::default()))
}

/// The tables of all slots of a shard, by `slot / workers`.
pub(super) struct DenseSlots {
    chunks: Box<[Chunk]>,
    /// How many slots there are.
    len: usize,
    /// Chunks without keys.
    spare: usize,
}

impl DenseSlots {
    pub(super) fn new(len: usize) -> Self {
        Self { chunks: (0..len.div_ceil(CHUNK)).map(|_| Chunk::default()).collect(), len, spare: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, local: usize) -> Option<&SlotTable> {
        self.chunks[local / CHUNK].tables.as_ref().map(|tables| &tables[local % CHUNK])
    }

    /// The table, for changes that add or remove no entries.
    #[inline]
    pub(super) fn get_mut(&mut self, local: usize) -> Option<&mut SlotTable> {
        self.chunks[local / CHUNK].tables.as_mut().map(|tables| &mut tables[local % CHUNK])
    }

    /// The table, to which the caller adds so many entries.
    #[inline]
    pub(super) fn for_adding(&mut self, local: usize, keys: usize) -> &mut SlotTable {
        let chunk = &mut self.chunks[local / CHUNK];
        match &chunk.tables {
            Some(_) if chunk.keys == 0 && keys > 0 => self.spare -= 1,
            Some(_) => {}
            None if keys == 0 => self.spare += 1,
            None => {}
        }
        chunk.keys += keys;
        &mut chunk.tables.get_or_insert_with(new_tables)[local % CHUNK]
    }

    /// So many entries have been removed from the table. What is left of an empty table, marks of exports, means nothing
    /// without entries.
    #[inline]
    pub(super) fn removed(&mut self, local: usize, keys: usize) {
        if keys == 0 {
            return;
        }
        let chunk = &mut self.chunks[local / CHUNK];
        chunk.keys -= keys;
        if chunk.keys == 0 {
            if self.spare < SPARE_CHUNKS {
                self.spare += 1;
            } else {
                chunk.tables = None;
            }
        }
    }

    /// The tables with entries, and their places.
    pub(super) fn used(&mut self) -> impl Iterator<Item = &mut SlotTable> {
        let chunks = self.chunks.iter_mut().filter(|chunk| chunk.keys > 0);
        let tables = chunks.filter_map(|chunk| chunk.tables.as_mut());
        tables.flat_map(|tables| tables.iter_mut()).filter(|table| !table.is_empty())
    }

    /// The tables with entries.
    pub(super) fn into_used(self) -> impl Iterator<Item = SlotTable> {
        let chunks = self.chunks.into_iter().filter(|chunk| chunk.keys > 0);
        let tables = chunks.filter_map(|chunk| chunk.tables);
        tables.flat_map(|tables| *tables).filter(|table| !table.is_empty())
    }

    /// Bytes of all this, without entries.
    pub(super) fn heap_bytes(&self) -> usize {
        let own = |tables: &[SlotTable; CHUNK]| {
            size_of_val(tables) + tables.iter().map(|t| t.table().heap_bytes()).sum::<usize>()
        };
        let chunks = self.chunks.iter().filter_map(|chunk| chunk.tables.as_deref());
        size_of_val(&*self.chunks) + chunks.map(own).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::Part;
    use super::super::{Entry, NewValue};
    use crate::slot::Slot;

    #[test]
    fn a_few_keys_take_little_and_their_place_is_given_back() {
        let mut part = Part::new(0, 1);
        let place = |number: u16| {
            let key = number.to_string().into_bytes();
            (Slot(number * 100), crate::hash::hash(&key), key)
        };
        let empty = part.database_or_new(0).table_bytes();
        for (slot, hash, key) in (0..100).map(place) {
            part.database_or_new(0).insert(slot, hash, Entry::new(&key, NewValue::Int(1), None));
        }
        let full = part.database_or_new(0).table_bytes();
        assert!(empty < 9 * 1024 && full >= empty + 100 * 1024, "{empty} {full}");
        for (slot, hash, key) in (0..100).map(place) {
            assert!(part.database_or_new(0).remove(slot, hash, &key).is_some());
            assert!(part.database_or_new(0).remove(slot, hash, &key).is_none());
        }
        let left = part.database_or_new(0).table_bytes();
        assert!(left < empty + 5 * 1100, "{left}");
        let (slot, hash, key) = place(7);
        part.database_or_new(0).insert(slot, hash, Entry::new(&key, NewValue::Int(2), None));
        let taken = part.database_or_new(0).take_slot(slot);
        assert_eq!((taken.len(), part.database_or_new(0).keys()), (1, 0));
        assert!(part.database_or_new(0).next_used_slot(Slot(0), 0).is_none());
    }
}
