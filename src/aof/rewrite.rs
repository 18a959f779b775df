//! A key as the shortest commands that make it again, for append-only files without an RDB preamble and for slot
//! snapshots (spec page rdb.md, section 7); all at once, or in pieces.

use crate::effects::encode_command;
use crate::keyspace::{Entry, ValueRef};
use crate::types::Item;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::number::f64_text;
use crate::types::set::Set;
use crate::types::stream::{Group, StreamData, StreamId};
use crate::types::zset::ZSet;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::ControlFlow;

/// Elements one command carries.
const ELEMENTS_PER_COMMAND: usize = 64;
/// A string is not cut into shorter pieces than this, bytes.
const STRING_PIECE_BYTES: usize = 1 << 20;

/// Appends the commands that make this key in the selected database.
pub fn entry(out: &mut Vec<u8>, entry: &Entry) {
    let is_done = Progress::default().step(out, entry, usize::MAX);
    debug_assert!(is_done, "there is room for everything");
}

/// Of a group or a consumer.
type Name = Box<[u8]>;

/// How far the commands that make one key are. The key's value must not change from the first step to the last.
#[derive(Debug, Default)]
pub struct Progress {
    place: Place,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Start,
    /// The next element of a list or sorted set, the next byte of a string.
    Index(usize),
    /// Of a scan over a set or hash.
    Cursor(u64),
    /// Entries of a stream from this id on.
    Entries(StreamId),
    /// Groups behind this one.
    Groups(Option<Name>),
    /// Consumers of a group behind this one.
    Consumers(Name, Option<Name>),
    /// What a consumer of a group has not acknowledged, behind this id.
    Pending(Name, Name, StreamId),
}

/// What is left of a step.
struct Budget {
    end: usize,
}

impl Budget {
    fn is_spent(&self, out: &[u8]) -> bool {
        out.len() >= self.end
    }
}

impl Progress {
    /// Appends the next commands, about `bytes_max` bytes of them; true if they were the last.
    pub fn step(&mut self, out: &mut Vec<u8>, entry: &Entry, bytes_max: usize) -> bool {
        let key = entry.key();
        let budget = Budget { end: out.len().saturating_add(bytes_max) };
        let next = match entry.value() {
            ValueRef::Int(n) => {
                encode_command(out, &[b"SET", key, itoa::Buffer::new().format(n).as_bytes()]);
                None
            }
            ValueRef::Str(text) => of_string(out, key, text, self.index(), bytes_max),
            ValueRef::List(list) => of_list(out, key, &list, self.index(), &budget),
            ValueRef::Set(set) => of_set(out, key, &set, self.cursor(), &budget),
            ValueRef::ZSet(zset) => of_zset(out, key, &zset, self.index(), &budget),
            ValueRef::Hash(hash) => of_hash(out, key, &hash, self.cursor(), &budget),
            ValueRef::Stream(stream) => {
                of_stream(out, key, &stream, std::mem::take(&mut self.place), &budget)
            }
        };
        if let Some(place) = next {
            self.place = place;
            return false;
        }
        if let Some(deadline) = entry.expiry() {
            encode_command(out, &[b"PEXPIREAT", key, itoa::Buffer::new().format(deadline).as_bytes()]);
        }
        true
    }

    fn index(&self) -> usize {
        if let Place::Index(index) = self.place { index } else { 0 }
    }

    fn cursor(&self) -> u64 {
        if let Place::Cursor(cursor) = self.place { cursor } else { 0 }
    }
}

/// Collects words and sends them off as commands of a bounded number of elements.
struct Words<'o> {
    out: &'o mut Vec<u8>,
    head: [&'o [u8]; 2],
    words: Vec<Vec<u8>>,
    words_max: usize,
}

impl<'o> Words<'o> {
    fn new(out: &'o mut Vec<u8>, name: &'o [u8], key: &'o [u8], words_per_element: usize) -> Self {
        Self {
            out,
            head: [name, key],
            words: Vec::new(),
            words_max: ELEMENTS_PER_COMMAND * words_per_element,
        }
    }

    fn push(&mut self, word: Item<'_>) {
        self.words.push(word.to_vec());
    }

    /// Ends an element; breaks if that ended a command, too, and the budget is spent.
    fn end(&mut self, budget: &Budget) -> ControlFlow<()> {
        if self.words.len() >= self.words_max {
            self.flush();
            if budget.is_spent(self.out) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) {
        if !self.words.is_empty() {
            let words: Vec<&[u8]> =
                self.head.iter().copied().chain(self.words.iter().map(Vec::as_slice)).collect();
            encode_command(self.out, &words);
            self.words.clear();
        }
    }
}

fn of_string(out: &mut Vec<u8>, key: &[u8], text: &[u8], from: usize, bytes_max: usize) -> Option<Place> {
    let name: &[u8] = if from == 0 { b"SET" } else { b"APPEND" };
    let end = text.len().min(from.saturating_add(bytes_max.max(STRING_PIECE_BYTES)));
    encode_command(out, &[name, key, &text[from..end]]);
    (end < text.len()).then_some(Place::Index(end))
}

fn of_list(out: &mut Vec<u8>, key: &[u8], list: &List, from: usize, budget: &Budget) -> Option<Place> {
    let mut words = Words::new(out, b"RPUSH", key, 1);
    let mut next = from;
    list.visit(from, true, |element| {
        words.push(element);
        next += 1;
        words.end(budget)
    });
    words.flush();
    (next < list.len()).then_some(Place::Index(next))
}

/// Goes through what a scan finds, bucket by bucket, until the budget is spent: where to go on.
fn scan(mut cursor: u64, mut step: impl FnMut(u64) -> (u64, ControlFlow<()>)) -> Option<Place> {
    loop {
        let (next, flow) = step(cursor);
        cursor = next;
        if cursor == 0 {
            return None;
        }
        if flow.is_break() {
            return Some(Place::Cursor(cursor));
        }
    }
}

fn of_set(out: &mut Vec<u8>, key: &[u8], set: &Set, from: u64, budget: &Budget) -> Option<Place> {
    let mut words = Words::new(out, b"SADD", key, 1);
    let next = scan(from, |cursor| {
        let mut flow = ControlFlow::Continue(());
        let next = set.scan(cursor, |member| {
            words.push(member);
            if words.end(budget).is_break() {
                flow = ControlFlow::Break(());
            }
        });
        (next, flow)
    });
    words.flush();
    next
}

fn of_zset(out: &mut Vec<u8>, key: &[u8], zset: &ZSet, from: usize, budget: &Budget) -> Option<Place> {
    let mut words = Words::new(out, b"ZADD", key, 2);
    let mut next = from;
    zset.visit(from..zset.len(), false, |member, score| {
        words.push(Item::Str(&f64_text(score)));
        words.push(member);
        next += 1;
        words.end(budget)
    });
    words.flush();
    (next < zset.len()).then_some(Place::Index(next))
}

fn of_hash(out: &mut Vec<u8>, key: &[u8], hash: &Hash, from: u64, budget: &Budget) -> Option<Place> {
    let mut with_deadlines = Vec::new();
    let mut words = Words::new(out, b"HMSET", key, 2);
    let next = scan(from, |cursor| {
        let mut flow = ControlFlow::Continue(());
        let next = hash.scan(cursor, |name, field| match field.deadline_ms {
            None => {
                words.push(name);
                words.push(field.value);
                if words.end(budget).is_break() {
                    flow = ControlFlow::Break(());
                }
            }
            Some(deadline) => encode_command(
                &mut with_deadlines,
                &[
                    b"HSETEX",
                    key,
                    b"PXAT",
                    itoa::Buffer::new().format(deadline).as_bytes(),
                    b"FIELDS",
                    b"1",
                    &name.to_vec(),
                    &field.value.to_vec(),
                ],
            ),
        });
        if words.out.len() + with_deadlines.len() >= budget.end {
            flow = ControlFlow::Break(());
        }
        (next, flow)
    });
    words.flush();
    out.extend_from_slice(&with_deadlines);
    next
}

fn id_text(id: StreamId) -> Vec<u8> {
    id.to_string().into_bytes()
}

fn number(n: impl itoa::Integer) -> Vec<u8> {
    itoa::Buffer::new().format(n).as_bytes().to_vec()
}

fn of_stream(
    out: &mut Vec<u8>,
    key: &[u8],
    stream: &StreamData,
    place: Place,
    budget: &Budget,
) -> Option<Place> {
    let mut place = match place {
        Place::Start => Place::Entries(StreamId::MIN),
        place => place,
    };
    if let Place::Entries(from) = place {
        if let Some(next) = of_entries(out, key, stream, from, budget) {
            return Some(Place::Entries(next));
        }
        place = Place::Groups(None);
        if budget.is_spent(out) && !stream.groups.is_empty() {
            return Some(place);
        }
    }
    loop {
        let (name, consumers) = match place {
            Place::Groups(after) => {
                let (name, group) = following(&stream.groups, after.as_deref())?;
                of_group(out, key, name, group);
                (name.into(), (None, None))
            }
            Place::Consumers(name, after) => (name, (after, None)),
            Place::Pending(name, consumer, after) => (name, (None, Some((consumer, after)))),
            // Of another type than the value: nothing was sent.
            _ => return None,
        };
        let group = stream.groups.get(&name)?;
        if let Some(next) = of_consumers(out, (key, &name, group), consumers, budget) {
            return Some(next);
        }
        place = Place::Groups(Some(name));
    }
}

/// The entries of a stream from an id on, and once they are through what else it knows; else where to go on.
fn of_entries(
    out: &mut Vec<u8>,
    key: &[u8],
    stream: &StreamData,
    from: StreamId,
    budget: &Budget,
) -> Option<StreamId> {
    if stream.is_empty() {
        // An entry that is trimmed away at once makes an empty stream.
        encode_command(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let mut next = None;
    stream.visit(from, StreamId::MAX, |entry| {
        if budget.is_spent(out) && entry.id != from {
            next = Some(entry.id);
            return ControlFlow::Break(());
        }
        let mut words = vec![b"XADD".to_vec(), key.to_vec(), id_text(entry.id)];
        entry.for_each(|field, value| words.extend([field.to_vec(), value.to_vec()]));
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode_command(out, &words);
        ControlFlow::Continue(())
    });
    if next.is_none() {
        encode_command(
            out,
            &[
                b"XSETID",
                key,
                &id_text(stream.last_id),
                b"ENTRIESADDED",
                &number(stream.entries_added),
                b"MAXDELETEDID",
                &id_text(stream.max_deleted_id),
            ],
        );
    }
    next
}

fn of_group(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group) {
    let read = group.entries_read.map_or_else(|| b"-1".to_vec(), number);
    encode_command(out, &[b"XGROUP", b"CREATE", key, name, &id_text(group.last_id), b"ENTRIESREAD", &read]);
}

/// The consumers of a group behind one, or the rest of one and those behind it; where to go on if that is too much.
fn of_consumers(
    out: &mut Vec<u8>,
    (key, group_name, group): (&[u8], &[u8], &Group),
    (mut after, mut within): (Option<Name>, Option<(Name, StreamId)>),
    budget: &Budget,
) -> Option<Place> {
    loop {
        let (name, from) = match within.take() {
            Some((name, id)) => (name, Excluded(id)),
            None => {
                let (name, consumer) = following(group.consumers(), after.as_deref())?;
                if consumer.pending().is_empty() {
                    encode_command(out, &[b"XGROUP", b"CREATECONSUMER", key, group_name, name]);
                }
                (name.into(), Unbounded)
            }
        };
        let consumer = group.consumer(&name)?;
        for id in consumer.pending().range((from, Unbounded)) {
            let Some(pending) = group.pending().get(id) else { continue };
            encode_command(
                out,
                &[
                    b"XCLAIM",
                    key,
                    group_name,
                    &name,
                    b"0",
                    &id_text(*id),
                    b"TIME",
                    &number(pending.delivered_ms),
                    b"RETRYCOUNT",
                    &number(pending.deliveries),
                    b"JUSTID",
                    b"FORCE",
                ],
            );
            if budget.is_spent(out) {
                return Some(Place::Pending(group_name.into(), name, *id));
            }
        }
        if budget.is_spent(out) {
            return Some(Place::Consumers(group_name.into(), Some(name)));
        }
        after = Some(name);
    }
}

/// The first thing behind a name.
fn following<'m, T>(map: &'m BTreeMap<Name, T>, after: Option<&[u8]>) -> Option<(&'m [u8], &'m T)> {
    let from = after.map_or(Unbounded, Excluded);
    map.range::<[u8], _>((from, Unbounded)).next().map(|(name, of_it)| (&**name, of_it))
}
