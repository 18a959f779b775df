//! Values as Valkey 9.1 writes them: compact encodings as one blob, large ones element by element.

use super::{Compression, ValueType, stream, write};
use crate::keyspace::ValueRef;
use crate::types::Item;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::quicklist::StoredNode;
use crate::types::set::Set;
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
    match value {
        ValueRef::Int(value) => write::integer(out, *value),
        ValueRef::Str(text) => write::string(out, text, compression),
        ValueRef::List(list) => encode_list(out, list, compression),
        ValueRef::Set(set) => encode_set(out, set, compression),
        ValueRef::ZSet(zset) => encode_zset(out, zset, compression),
        ValueRef::Hash(hash) => encode_hash(out, hash, compression),
        ValueRef::Stream(value) => stream::encode(out, value, compression),
    }
}

fn item(out: &mut Vec<u8>, item: Item<'_>, compression: Compression) {
    match item {
        Item::Int(value) => write::integer(out, value),
        Item::Str(text) => write::string(out, text, compression),
    }
}

/// Nodes that are compressed in memory stay so, whatever `rdbcompression` says.
fn encode_list(out: &mut Vec<u8>, list: &List, compression: Compression) {
    const PLAIN: u8 = 1;
    const PACKED: u8 = 2;
    let quicklist = match list {
        List::Listpack(lp) => {
            write::count(out, 1);
            out.push(PACKED);
            return write::string(out, lp.as_bytes(), compression);
        }
        List::Quicklist(quicklist) => quicklist,
    };
    write::count(out, quicklist.node_count());
    for node in quicklist.stored_nodes() {
        out.push(if matches!(node, StoredNode::Plain(_)) { PLAIN } else { PACKED });
        match node {
            StoredNode::Plain(bytes) | StoredNode::Packed(bytes) => write::string(out, bytes, compression),
            StoredNode::Compressed { bytes, size } => write::compressed(out, bytes, size),
        }
    }
}

fn encode_set(out: &mut Vec<u8>, set: &Set, compression: Compression) {
    match set {
        Set::Intset(intset) => write::string(out, intset.as_bytes(), compression),
        Set::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
        Set::Table(_) => {
            write::count(out, set.len());
            set.visit(|member| {
                item(out, member, compression);
                ControlFlow::Continue(())
            });
        }
    }
}

/// Highest score first, so that a reader that inserts into a skip list finds the place at its front.
fn encode_zset(out: &mut Vec<u8>, zset: &ZSet, compression: Compression) {
    match zset {
        ZSet::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
        ZSet::Sorted(_) => {
            write::count(out, zset.len());
            zset.visit(0..zset.len(), true, |member, score| {
                item(out, member, compression);
                out.extend_from_slice(&score.to_le_bytes());
                ControlFlow::Continue(())
            });
        }
    }
}

fn encode_hash(out: &mut Vec<u8>, hash: &Hash, compression: Compression) {
    match hash {
        Hash::Listpack(lp) => write::string(out, lp.as_bytes(), compression),
        Hash::Table(_) => {
            let with_deadlines = hash.deadline_count() > 0;
            write::count(out, hash.len());
            hash.visit(|name, field| {
                item(out, name, compression);
                item(out, field.value, compression);
                if with_deadlines {
                    write::milliseconds(out, field.deadline_ms.unwrap_or(-1));
                }
                ControlFlow::Continue(())
            });
        }
    }
}
