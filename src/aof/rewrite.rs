//! A key as the shortest commands that make it again, for append-only files without an RDB preamble and for slot
//! snapshots (spec page rdb.md, section 7).

use crate::effects::encode_command;
use crate::keyspace::{Entry, ValueRef};
use crate::types::Item;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::number::f64_text;
use crate::types::set::Set;
use crate::types::stream::{Group, StreamData, StreamId};
use crate::types::zset::ZSet;
use std::ops::ControlFlow;

/// Elements one command carries.
const ELEMENTS_PER_COMMAND: usize = 64;

/// Appends the commands that make this key in the selected database.
pub fn entry(out: &mut Vec<u8>, entry: &Entry) {
    let key = entry.key();
    match entry.value() {
        ValueRef::Int(n) => encode_command(out, &[b"SET", key, itoa::Buffer::new().format(n).as_bytes()]),
        ValueRef::Str(text) => encode_command(out, &[b"SET", key, text]),
        ValueRef::List(list) => of_list(out, key, &list),
        ValueRef::Set(set) => of_set(out, key, &set),
        ValueRef::ZSet(zset) => of_zset(out, key, &zset),
        ValueRef::Hash(hash) => of_hash(out, key, &hash),
        ValueRef::Stream(stream) => of_stream(out, key, &stream),
    }
    if let Some(deadline) = entry.expiry() {
        encode_command(out, &[b"PEXPIREAT", key, itoa::Buffer::new().format(deadline).as_bytes()]);
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

    /// Ends an element.
    fn end(&mut self) {
        if self.words.len() >= self.words_max {
            self.flush();
        }
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

fn of_list(out: &mut Vec<u8>, key: &[u8], list: &List) {
    let mut words = Words::new(out, b"RPUSH", key, 1);
    list.visit(0, true, |element| {
        words.push(element);
        words.end();
        ControlFlow::Continue(())
    });
    words.flush();
}

fn of_set(out: &mut Vec<u8>, key: &[u8], set: &Set) {
    let mut words = Words::new(out, b"SADD", key, 1);
    set.visit(|member| {
        words.push(member);
        words.end();
        ControlFlow::Continue(())
    });
    words.flush();
}

fn of_zset(out: &mut Vec<u8>, key: &[u8], zset: &ZSet) {
    let mut words = Words::new(out, b"ZADD", key, 2);
    zset.visit(0..zset.len(), false, |member, score| {
        words.push(Item::Str(&f64_text(score)));
        words.push(member);
        words.end();
        ControlFlow::Continue(())
    });
    words.flush();
}

fn of_hash(out: &mut Vec<u8>, key: &[u8], hash: &Hash) {
    let mut with_deadlines = Vec::new();
    let mut words = Words::new(out, b"HMSET", key, 2);
    hash.visit(|name, field| {
        match field.deadline_ms {
            None => {
                words.push(name);
                words.push(field.value);
                words.end();
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
        }
        ControlFlow::Continue(())
    });
    words.flush();
    out.extend_from_slice(&with_deadlines);
}

fn id_text(id: StreamId) -> Vec<u8> {
    id.to_string().into_bytes()
}

fn number(n: impl itoa::Integer) -> Vec<u8> {
    itoa::Buffer::new().format(n).as_bytes().to_vec()
}

fn of_stream(out: &mut Vec<u8>, key: &[u8], stream: &StreamData) {
    if stream.is_empty() {
        // An entry that is trimmed away at once makes an empty stream.
        encode_command(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    stream.visit(StreamId::MIN, StreamId::MAX, |entry| {
        let mut words = vec![b"XADD".to_vec(), key.to_vec(), id_text(entry.id)];
        entry.for_each(|field, value| words.extend([field.to_vec(), value.to_vec()]));
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode_command(out, &words);
        ControlFlow::Continue(())
    });
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
    for (name, group) in &stream.groups {
        of_group(out, key, name, group);
    }
}

fn of_group(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group) {
    let read = group.entries_read.map_or_else(|| b"-1".to_vec(), number);
    encode_command(out, &[b"XGROUP", b"CREATE", key, name, &id_text(group.last_id), b"ENTRIESREAD", &read]);
    for (consumer_name, consumer) in group.consumers() {
        if consumer.pending().is_empty() {
            encode_command(out, &[b"XGROUP", b"CREATECONSUMER", key, name, consumer_name]);
        }
        for id in consumer.pending() {
            let Some(pending) = group.pending().get(id) else { continue };
            encode_command(
                out,
                &[
                    b"XCLAIM",
                    key,
                    name,
                    consumer_name,
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
        }
    }
}
