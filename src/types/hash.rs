//! Hashes: few short fields in a listpack, else a table of field records. Fields with deadlines live in tables only,
//! where an ordered index finds the next one due.

use super::item::Item;
use super::listpack::{Listpack, Pos};
use super::ranktree::RankTree;
use super::record::{Field, FieldAlias};
use super::{Collection, Payload, extrapolated};
use crate::hash::hash;
use crate::keyspace::table::Table;
use std::ops::ControlFlow;

/// The directives that choose a hash's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// `hash-max-listpack-entries`
    pub listpack_entries_max: usize,
    /// `hash-max-listpack-value`, bytes
    pub listpack_value_max: usize,
}

impl Default for HashLimits {
    fn default() -> Self {
        HashLimits { listpack_entries_max: 512, listpack_value_max: 64 }
    }
}

/// What setting a field does to its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// It ends when it ended before (HINCRBY).
    Keep,
    /// It has none (HSET).
    Clear,
    /// Unix time in milliseconds (HSETEX).
    At(i64),
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldValue<'a> {
    pub value: Item<'a>,
    /// Unix time in milliseconds at which the field ends. Whether that is past is for the caller to decide.
    pub deadline_ms: Option<i64>,
}

/// An entry of the deadline index, ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    deadline_ms: i64,
    field: FieldAlias,
}

impl Due {
    fn of(field: &Field) -> Option<Due> {
        Some(Due { deadline_ms: field.deadline_ms()?, field: field.address() })
    }
}

/// The fields of a large hash. Invariant: the index holds exactly the fields of the table that have a deadline.
#[derive(Default)]
pub struct FieldTable {
    fields: Table<Field>,
    deadlines: RankTree<Due>,
}

impl FieldTable {
    fn index(&mut self, due: Option<Due>) {
        if let Some(due) = due {
            self.deadlines.insert(due, |other| other.cmp(&due));
        }
    }

    fn unindex(&mut self, due: Option<Due>) {
        if let Some(due) = due {
            let rank = self.deadlines.partition_point(|other| *other < due);
            debug_assert!(self.deadlines.get(rank) == Some(due));
            self.deadlines.remove_at(rank);
        }
    }

    /// Puts a record in place of the one with the same name, or adds it; true if added.
    fn put(&mut self, record: Field) -> bool {
        let due = Due::of(&record);
        let hash = hash(record.field());
        let old = match self.fields.find_mut(hash, record.field()) {
            Some(slot) => {
                let old = std::mem::replace(slot, record);
                self.unindex(Due::of(&old));
                Some(old)
            }
            None => {
                self.fields.insert_new(hash, record);
                None
            }
        };
        self.index(due);
        old.is_none()
    }

    fn remove(&mut self, name: &[u8]) -> Option<Field> {
        let field = self.fields.remove(hash(name), name)?;
        self.unindex(Due::of(&field));
        Some(field)
    }
}

/// The value of a hash key.
pub enum Hash {
    Listpack(Listpack),
    Table(Box<FieldTable>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds a field of a listpack: the positions of its name and value.
fn find_in(lp: &Listpack, name: &[u8]) -> Option<(Pos, Pos)> {
    let at = lp.find(lp.first(), name, 1)?;
    Some((at, lp.next(at)?))
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Hash::Listpack(Listpack::new())
    }

    /// Takes over a listpack from a dump; `None` unless it holds pairs of distinct fields and values.
    pub fn from_listpack(lp: Listpack, limits: &HashLimits) -> Option<Self> {
        if !lp.len().is_multiple_of(2) || !lp.is_distinct(2) {
            return None;
        }
        let mut hash = Hash::Listpack(lp);
        if hash.len() > limits.listpack_entries_max {
            hash.convert_to_table();
        }
        Some(hash)
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Hash::Listpack(_) => "listpack",
            Hash::Table(_) => "hashtable",
        }
    }

    /// Number of fields, those past their deadline included.
    pub fn len(&self) -> usize {
        match self {
            Hash::Listpack(lp) => lp.len() / 2,
            Hash::Table(table) => table.fields.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes ready for a command that sets `fields` fields whose longest name or value has `longest` bytes, with
    /// `bytes` of them in all: goes to a table at once if they would need one.
    pub fn prepare_set(&mut self, fields: usize, longest: usize, bytes: usize, limits: &HashLimits) {
        if let Hash::Listpack(lp) = self
            && (fields > limits.listpack_entries_max
                || longest > limits.listpack_value_max
                || !lp.may_grow_by(bytes))
        {
            self.convert_to_table();
        }
    }

    /// Goes over to a table, which takes any field.
    pub fn convert_to_table(&mut self) -> &mut FieldTable {
        if let Hash::Listpack(lp) = self {
            let mut table = Box::<FieldTable>::default();
            let mut items = lp.iter();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
                table.put(Field::new(name.text(&mut a), value.text(&mut b), None));
            }
            *self = Hash::Table(table);
        }
        match self {
            Hash::Table(table) => table,
            Hash::Listpack(_) => unreachable!("just converted"),
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<FieldValue<'_>> {
        match self {
            Hash::Listpack(lp) => {
                let (_, value) = find_in(lp, name)?;
                Some(FieldValue { value: lp.get(value), deadline_ms: None })
            }
            Hash::Table(table) => {
                let field = table.fields.find(hash(name), name)?;
                Some(FieldValue { value: Item::Str(field.value()), deadline_ms: field.deadline_ms() })
            }
        }
    }

    /// Sets a field; true if it is new. A deadline, or a text or count beyond the limits, makes the hash a table.
    pub fn set(&mut self, name: &[u8], value: &[u8], deadline: Deadline, limits: &HashLimits) -> bool {
        if let Hash::Listpack(lp) = self {
            let max = limits.listpack_value_max;
            let fits = name.len() <= max && value.len() <= max && lp.may_grow_by(name.len() + value.len());
            if !fits || matches!(deadline, Deadline::At(_)) {
                self.convert_to_table();
            }
        }
        match self {
            Hash::Listpack(lp) => {
                if let Some((_, at)) = find_in(lp, name) {
                    lp.replace(at, Item::parse(value));
                    return false;
                }
                lp.push_all([Item::parse(name), Item::parse(value)].into_iter());
                if lp.len() / 2 > limits.listpack_entries_max {
                    self.convert_to_table();
                }
                true
            }
            Hash::Table(table) => {
                let deadline_ms = match deadline {
                    Deadline::Keep => table.fields.find(hash(name), name).and_then(Field::deadline_ms),
                    Deadline::Clear => None,
                    Deadline::At(ms) => Some(ms),
                };
                table.put(Field::new(name, value, deadline_ms))
            }
        }
    }

    /// Gives an existing field a deadline (Unix time in milliseconds), or takes it away; false if there is no such
    /// field.
    pub fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<i64>) -> bool {
        match self {
            Hash::Listpack(lp) => {
                if find_in(lp, name).is_none() {
                    return false;
                }
                if deadline_ms.is_none() {
                    return true;
                }
                self.convert_to_table();
                self.set_deadline(name, deadline_ms)
            }
            Hash::Table(table) => {
                let Some(field) = table.fields.find(hash(name), name) else { return false };
                if field.deadline_ms() != deadline_ms {
                    let record = Field::new(name, field.value(), deadline_ms);
                    table.put(record);
                }
                true
            }
        }
    }

    /// Removes a field; false if it was not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        match self {
            Hash::Listpack(lp) => match find_in(lp, name) {
                Some((at, _)) => {
                    lp.remove_n(at, 2);
                    true
                }
                None => false,
            },
            Hash::Table(table) => table.remove(name).is_some(),
        }
    }

    /// Calls `f` with each field until it breaks.
    pub fn visit<'h>(&'h self, mut f: impl FnMut(Item<'h>, FieldValue<'h>) -> ControlFlow<()>) {
        match self {
            Hash::Listpack(lp) => {
                let mut items = lp.iter();
                while let (Some(name), Some(value)) = (items.next(), items.next()) {
                    if f(name, FieldValue { value, deadline_ms: None }).is_break() {
                        return;
                    }
                }
            }
            Hash::Table(table) => {
                for field in table.fields.iter() {
                    let value =
                        FieldValue { value: Item::Str(field.value()), deadline_ms: field.deadline_ms() };
                    if f(Item::Str(field.field()), value).is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// One step of HSCAN from `cursor`; a listpack gives all fields at once. Returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(Item<'_>, FieldValue<'_>)) -> u64 {
        if let Hash::Table(table) = self {
            return table.fields.scan(cursor, &mut |field| {
                let value = FieldValue { value: Item::Str(field.value()), deadline_ms: field.deadline_ms() };
                f(Item::Str(field.field()), value);
            });
        }
        self.visit(|name, value| {
            f(name, value);
            ControlFlow::Continue(())
        });
        0
    }

    /// A random field; `rng` gives random words.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<(Item<'_>, FieldValue<'_>)> {
        match self {
            Hash::Listpack(lp) => {
                let index = rng() % (self.len().max(1) as u64);
                let at = lp.seek(2 * index as i64)?;
                let value = lp.get(lp.next(at)?);
                Some((lp.get(at), FieldValue { value, deadline_ms: None }))
            }
            Hash::Table(table) => {
                let field = table.fields.random(rng)?;
                let value = FieldValue { value: Item::Str(field.value()), deadline_ms: field.deadline_ms() };
                Some((Item::Str(field.field()), value))
            }
        }
    }

    /// Number of fields that have a deadline.
    pub fn deadline_count(&self) -> usize {
        match self {
            Hash::Listpack(_) => 0,
            Hash::Table(table) => table.deadlines.len(),
        }
    }

    /// The earliest deadline of any field, Unix time in milliseconds.
    pub fn earliest_deadline_ms(&self) -> Option<i64> {
        match self {
            Hash::Listpack(_) => None,
            Hash::Table(table) => Some(table.deadlines.get(0)?.deadline_ms),
        }
    }

    /// Removes up to `max` fields whose deadline is before `now_ms`, earliest first, and gives each name to `f`.
    /// Returns how many.
    pub fn remove_due(&mut self, now_ms: i64, max: usize, mut f: impl FnMut(&[u8])) -> usize {
        let Hash::Table(table) = self else { return 0 };
        let mut removed = 0;
        while removed < max
            && let Some(due) = table.deadlines.get(0)
            && due.deadline_ms < now_ms
        {
            table.deadlines.remove_at(0);
            // SAFETY: indexed records are in the table, and this one is until `remove` below gives it back.
            let name = unsafe { due.field.field() };
            if let Some(record) = table.fields.remove(hash(name), name) {
                f(record.field());
            }
            removed += 1;
        }
        removed
    }
}

impl Clone for Hash {
    fn clone(&self) -> Self {
        match self {
            Hash::Listpack(lp) => Hash::Listpack(lp.clone()),
            Hash::Table(table) => {
                let mut copy = Box::<FieldTable>::default();
                for field in table.fields.iter() {
                    copy.put(Field::new(field.field(), field.value(), field.deadline_ms()));
                }
                Hash::Table(copy)
            }
        }
    }
}

impl Collection for Hash {
    fn free_effort(&self) -> usize {
        if let Hash::Table(table) = self { table.fields.len() } else { 1 }
    }

    fn drop_some(&mut self, budget: usize) -> bool {
        match self {
            Hash::Table(table) => {
                table.deadlines = RankTree::new();
                !table.fields.take_some(budget, &mut drop)
            }
            Hash::Listpack(_) => true,
        }
    }

    fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self {
            Hash::Listpack(lp) => lp.heap_bytes(),
            Hash::Table(table) => {
                size_of::<FieldTable>()
                    + table.fields.heap_bytes()
                    + table.deadlines.heap_bytes()
                    + extrapolated(table.fields.iter().map(Field::heap_bytes), table.fields.len(), samples)
            }
        }
    }
}

impl Payload for Hash {
    fn into_raw(self) -> (u8, usize) {
        match self {
            Hash::Listpack(lp) => (0, lp.into_word()),
            Hash::Table(table) => (1, Box::into_raw(table).expose_provenance()),
        }
    }

    unsafe fn from_raw(encoding: u8, word: usize) -> Self {
        match encoding {
            // SAFETY: the caller promises a pair from `into_raw`, where this tag goes with a listpack's word.
            0 => Hash::Listpack(unsafe { Listpack::from_word(word) }),
            // SAFETY: and any other with a box of a table.
            _ => Hash::Table(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) }),
        }
    }
}

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
