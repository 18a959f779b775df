//! Values as Valkey 9.1 writes them: compact encodings as one blob, large ones element by element; all at once, or in
//! pieces.

use super::{Compression, ValueType, stream, write};
use crate::keyspace::ValueRef;
use crate::lzf::{Compressor, INPUT_MAX, Step};
use crate::types::Item;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::quicklist::StoredNode;
use crate::types::set::Set;
use crate::types::stream::StreamData;
use crate::types::zset::ZSet;
use std::ops::ControlFlow;

/// How [`encode_value`] lays a value out.
pub fn value_type(value: &ValueRef<'_>) -> ValueType {
    match value {
        ValueRef::Int(_) | ValueRef::Str(_) => ValueType::String,
        ValueRef::List(_) => ValueType::ListQuicklist,
        ValueRef::Set(set) => match **set {
            Set::Intset(_) => ValueType::SetIntset,
            Set::Listpack(_) => ValueType::SetListpack,
            Set::Table(_) => ValueType::Set,
        },
        ValueRef::ZSet(zset) => match **zset {
            ZSet::Listpack(_) => ValueType::ZSetListpack,
            ZSet::Sorted(_) => ValueType::ZSet,
        },
        ValueRef::Hash(hash) => match **hash {
            Hash::Listpack(_) => ValueType::HashListpack,
            Hash::Table(_) if hash.deadline_count() > 0 => ValueType::HashDeadlines,
            Hash::Table(_) => ValueType::Hash,
        },
        ValueRef::Stream(_) => ValueType::Stream,
    }
}

/// Appends a value, without its type.
pub fn encode_value(out: &mut Vec<u8>, value: &ValueRef<'_>, compression: Compression) {
    let is_done = Progress::default().step(out, value, compression, usize::MAX);
    debug_assert!(is_done, "there is room for everything");
}

/// Begins a string as it is.
fn plain_string(out: &mut Vec<u8>, text: &[u8], waste: Vec<Vec<u8>>) -> Place {
    write::count(out, text.len());
    Place::Plain(0, waste)
}

/// How far the encoding of one value is. The value must not change from the first step to the last.
#[derive(Debug, Default)]
pub struct Progress {
    place: Place,
    /// Elements counted in front that did not follow yet.
    left: usize,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Start,
    /// The next node of a list or stream; how many elements of a sorted set are done.
    Index(usize),
    /// Of a scan over a set or hash.
    Cursor(u64),
    /// What follows the nodes of a stream.
    Groups,
    /// Of a string that is being compressed: what is left to do, and what was done.
    Packing(Box<Compressor>, Vec<Vec<u8>>),
    /// The rest of a string that is compressed, backwards.
    Packed(Vec<Vec<u8>>),
    /// The next byte of a string, and what came of trying to compress it, which is freed piece by piece.
    Plain(usize, Vec<Vec<u8>>),
}

impl Progress {
    /// Nothing is encoded yet.
    pub fn is_fresh(&self) -> bool {
        matches!(self.place, Place::Start)
    }

    /// Appends the next piece, about `bytes_max` bytes; true if it was the last. Compact encodings, single
    /// elements and the groups of a stream are one piece.
    pub fn step(
        &mut self,
        out: &mut Vec<u8>,
        value: &ValueRef<'_>,
        compression: Compression,
        bytes_max: usize,
    ) -> bool {
        let end = out.len().saturating_add(bytes_max);
        match value {
            ValueRef::Int(value) => write::integer(out, *value),
            ValueRef::Str(text) if text.len() > bytes_max => {
                return self.long_string(out, text, compression, bytes_max);
            }
            ValueRef::Str(text) => write::string(out, text, compression),
            ValueRef::List(list) => return self.list(out, list, compression, end),
            ValueRef::Set(set) => match &**set {
                Set::Intset(intset) => write::string(out, intset.as_bytes(), compression),
                Set::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
                Set::Table(_) => return self.set(out, set, compression, end),
            },
            ValueRef::ZSet(zset) => match &**zset {
                ZSet::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
                ZSet::Sorted(_) => return self.zset(out, zset, compression, end),
            },
            ValueRef::Hash(hash) => match &**hash {
                Hash::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
                Hash::Table(_) => return self.hash(out, hash, compression, end),
            },
            ValueRef::Stream(stream) => return self.stream(out, stream, compression, end),
        }
        true
    }

    /// A string of more bytes than one piece has: compressed a piece at a time, and then taken out; or as it is.
    fn long_string(
        &mut self,
        out: &mut Vec<u8>,
        text: &[u8],
        compression: Compression,
        bytes_max: usize,
    ) -> bool {
        self.place = match std::mem::take(&mut self.place) {
            Place::Start if compression == Compression::On && text.len() <= INPUT_MAX => {
                Place::Packing(Box::new(Compressor::new(text)), Vec::new())
            }
            Place::Packing(mut compressor, mut packed) => {
                let (step, bytes) = compressor.step(text, write::packed_max(text), bytes_max);
                packed.push(bytes);
                match step {
                    Step::Paused => Place::Packing(compressor, packed),
                    Step::Done => {
                        write::compressed_head(out, packed.iter().map(Vec::len).sum(), text.len());
                        packed.reverse();
                        Place::Packed(packed)
                    }
                    Step::TooLong => plain_string(out, text, packed),
                }
            }
            Place::Packed(mut packed) => {
                out.append(&mut packed.pop().unwrap_or_default());
                if packed.is_empty() {
                    return true;
                }
                Place::Packed(packed)
            }
            Place::Plain(from, mut waste) => {
                waste.pop();
                let end = text.len().min(from + bytes_max);
                out.extend_from_slice(&text[from..end]);
                if end == text.len() {
                    return true;
                }
                Place::Plain(end, waste)
            }
            _ => plain_string(out, text, Vec::new()),
        };
        false
    }

    /// Before the first element: writes how many there are.
    fn begin(&mut self, out: &mut Vec<u8>, elements: usize) {
        if self.is_fresh() {
            write::count(out, elements);
            self.left = elements;
        }
    }

    fn index(&self) -> usize {
        if let Place::Index(index) = self.place { index } else { 0 }
    }

    /// Goes through a table bucket by bucket, up to where `out` has `end` bytes; true if that was all. `step` does one
    /// bucket and returns the next cursor and the number of elements.
    fn scan(
        &mut self,
        out: &mut Vec<u8>,
        end: usize,
        mut step: impl FnMut(&mut Vec<u8>, u64) -> (u64, usize),
    ) -> bool {
        let mut cursor = if let Place::Cursor(cursor) = self.place { cursor } else { 0 };
        loop {
            let (next, elements) = step(out, cursor);
            self.left -= elements;
            cursor = next;
            if cursor == 0 {
                debug_assert_eq!(self.left, 0, "the value changed meanwhile");
                return true;
            }
            if out.len() >= end {
                self.place = Place::Cursor(cursor);
                return false;
            }
        }
    }

    /// Nodes that are compressed in memory stay so, whatever `rdbcompression` says.
    fn list(&mut self, out: &mut Vec<u8>, list: &List, compression: Compression, end: usize) -> bool {
        const PLAIN: u8 = 1;
        const PACKED: u8 = 2;
        let quicklist = match list {
            List::Listpack(lp) => {
                write::count(out, 1);
                out.push(PACKED);
                write::string(out, lp.as_bytes(), compression);
                return true;
            }
            List::Quicklist(quicklist) => quicklist,
        };
        self.begin(out, quicklist.node_count());
        for (index, node) in quicklist.stored_nodes().enumerate().skip(self.index()) {
            if out.len() >= end {
                self.place = Place::Index(index);
                return false;
            }
            out.push(if matches!(node, StoredNode::Plain(_)) { PLAIN } else { PACKED });
            match node {
                StoredNode::Plain(bytes) | StoredNode::Packed(bytes) => {
                    write::string(out, bytes, compression);
                }
                StoredNode::Compressed { bytes, size } => write::compressed(out, bytes, size),
            }
        }
        true
    }

    fn set(&mut self, out: &mut Vec<u8>, set: &Set, compression: Compression, end: usize) -> bool {
        self.begin(out, set.len());
        self.scan(out, end, |out, cursor| {
            let mut elements = 0;
            let next = set.scan(cursor, |member| {
                item(out, member, compression);
                elements += 1;
            });
            (next, elements)
        })
    }

    /// Highest score first, so that a reader that inserts into a skip list finds the place at its front.
    fn zset(&mut self, out: &mut Vec<u8>, zset: &ZSet, compression: Compression, end: usize) -> bool {
        self.begin(out, zset.len());
        let mut done = self.index();
        zset.visit(0..zset.len() - done, true, |member, score| {
            item(out, member, compression);
            out.extend_from_slice(&score.to_le_bytes());
            done += 1;
            if out.len() >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.place = Place::Index(done);
        done == zset.len()
    }

    fn hash(&mut self, out: &mut Vec<u8>, hash: &Hash, compression: Compression, end: usize) -> bool {
        let with_deadlines = hash.deadline_count() > 0;
        self.begin(out, hash.len());
        self.scan(out, end, |out, cursor| {
            let mut elements = 0;
            let next = hash.scan(cursor, |name, field| {
                item(out, name, compression);
                item(out, field.value, compression);
                if with_deadlines {
                    write::milliseconds(out, field.deadline_ms.unwrap_or(-1));
                }
                elements += 1;
            });
            (next, elements)
        })
    }

    fn stream(
        &mut self,
        out: &mut Vec<u8>,
        value: &StreamData,
        compression: Compression,
        end: usize,
    ) -> bool {
        if !matches!(self.place, Place::Groups) {
            self.begin(out, value.node_count());
            for (index, (id, node)) in value.nodes().enumerate().skip(self.index()) {
                if out.len() >= end {
                    self.place = Place::Index(index);
                    return false;
                }
                stream::encode_node(out, id, node, compression);
            }
            self.place = Place::Groups;
            if out.len() >= end && !value.groups.is_empty() {
                return false;
            }
        }
        stream::encode_rest(out, value, compression);
        true
    }
}

fn item(out: &mut Vec<u8>, item: Item<'_>, compression: Compression) {
    match item {
        Item::Int(value) => write::integer(out, value),
        Item::Str(text) => write::string(out, text, compression),
    }
}
