//! Values of every type Valkey 9.1 reads. Compact blobs are checked entry by entry and for duplicates whatever
//! `sanitize-dump-payload` says: without that, damage would show up only when a command meets it.

use super::read::Reader;
use super::{DecodeError, ValueType, legacy, stream};
use crate::config::Config;
use crate::keyspace::{NewValue, StringKind, Value};
use crate::types::hash::{Deadline, Hash, HashLimits};
use crate::types::intset::Intset;
use crate::types::list::{End, List, ListLimits};
use crate::types::listpack::Listpack;
use crate::types::number::parse_f64;
use crate::types::quicklist::Quicklist;
use crate::types::set::{Set, SetLimits};
use crate::types::zset::{ZSet, ZSetLimits};
use std::ops::ControlFlow;

/// The directives that choose the encodings of values being read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub list: ListLimits,
    pub set: SetLimits,
    pub hash: HashLimits,
    pub zset: ZSetLimits,
}

impl Limits {
    pub fn of(config: &Config) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Limits {
            list: ListLimits {
                max_listpack_size: config.list_max_listpack_size,
                compress_depth: config.list_compress_depth,
                packed_threshold: 0,
            },
            set: SetLimits {
                intset_entries_max: size(config.set_max_intset_entries),
                listpack_entries_max: size(config.set_max_listpack_entries),
                listpack_value_max: size(config.set_max_listpack_value),
            },
            hash: HashLimits {
                listpack_entries_max: size(config.hash_max_listpack_entries),
                listpack_value_max: size(config.hash_max_listpack_value),
            },
            zset: ZSetLimits {
                listpack_entries_max: size(config.zset_max_listpack_entries),
                listpack_value_max: size(config.zset_max_listpack_value),
            },
        }
    }
}

/// Reads a value of type `kind`. Strings come out as SET would store them.
pub fn decode_value(kind: ValueType, reader: &mut Reader<'_>, limits: &Limits) -> Result<Value, DecodeError> {
    let value = match kind {
        ValueType::String => decode_string(reader)?,
        ValueType::List => Value::List(decode_list(reader, limits)?),
        ValueType::ListZiplist => Value::List(decode_list_ziplist(reader, limits)?),
        ValueType::ListQuicklist1 | ValueType::ListQuicklist => {
            Value::List(decode_quicklist(kind, reader, limits)?)
        }
        ValueType::Set => Value::Set(decode_set(reader, &limits.set)?),
        ValueType::SetIntset => {
            let intset = Intset::from_foreign(&reader.string()?)
                .ok_or(DecodeError::Malformed("Intset integrity check failed."))?;
            Value::Set(Set::from_intset(intset, &limits.set))
        }
        ValueType::SetListpack => {
            const COMPLAINT: &str = "Set listpack integrity check failed.";
            let set = Set::from_listpack(listpack(reader, COMPLAINT)?, &limits.set);
            Value::Set(set.ok_or(DecodeError::Malformed(COMPLAINT))?)
        }
        ValueType::ZSetText | ValueType::ZSet => Value::ZSet(decode_zset(kind, reader, &limits.zset)?),
        ValueType::ZSetZiplist => {
            let complaints = ("Zset ziplist integrity check failed.", "Zset ziplist with NAN score detected");
            let lp = legacy::ziplist(&reader.string()?, complaints.0)?;
            Value::ZSet(zset_of(lp, complaints, &limits.zset)?)
        }
        ValueType::ZSetListpack => {
            let complaints =
                ("Zset listpack integrity check failed.", "Zset listpack with NAN score detected");
            Value::ZSet(zset_of(listpack(reader, complaints.0)?, complaints, &limits.zset)?)
        }
        ValueType::Hash | ValueType::HashDeadlines => Value::Hash(decode_hash(kind, reader, &limits.hash)?),
        ValueType::HashZipmap => Value::Hash(legacy::zipmap(&reader.string()?, &limits.hash)?),
        ValueType::HashZiplist => {
            const COMPLAINT: &str = "Hash ziplist integrity check failed.";
            let lp = legacy::ziplist(&reader.string()?, COMPLAINT)?;
            Value::Hash(hash_of(lp, COMPLAINT, &limits.hash)?)
        }
        ValueType::HashListpack => {
            const COMPLAINT: &str = "Hash listpack integrity check failed.";
            Value::Hash(hash_of(listpack(reader, COMPLAINT)?, COMPLAINT, &limits.hash)?)
        }
        ValueType::Stream1 | ValueType::Stream2 | ValueType::Stream => {
            Value::Stream(stream::decode(kind, reader)?)
        }
        ValueType::Module1 | ValueType::Module => return Err(module(reader)),
    };
    let empty = match &value {
        Value::List(list) => list.is_empty(),
        Value::Set(set) => set.is_empty(),
        Value::ZSet(zset) => zset.is_empty(),
        Value::Hash(hash) => hash.is_empty(),
        Value::Int(_) | Value::Str(..) | Value::Stream(_) => false,
    };
    if empty { Err(DecodeError::Empty) } else { Ok(value) }
}

fn decode_string(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let text = reader.string()?;
    Ok(match NewValue::string(&text) {
        NewValue::Int(value) => Value::Int(value),
        _ => Value::Str(text.into_owned(), StringKind::Embstr),
    })
}

fn listpack(reader: &mut Reader<'_>, complaint: &'static str) -> Result<Listpack, DecodeError> {
    Listpack::from_foreign(&reader.string()?).ok_or(DecodeError::Malformed(complaint))
}

fn decode_list(reader: &mut Reader<'_>, limits: &Limits) -> Result<List, DecodeError> {
    let mut quicklist = Quicklist::new(&limits.list);
    for _ in 0..reader.count(1)? {
        quicklist.push(&reader.string()?, End::Tail);
    }
    Ok(settled(List::Quicklist(Box::new(quicklist)), limits))
}

fn settled(mut list: List, limits: &Limits) -> List {
    list.settle(&limits.list);
    list
}

/// Valkey leaves such a list a quicklist however short it is.
fn decode_list_ziplist(reader: &mut Reader<'_>, limits: &Limits) -> Result<List, DecodeError> {
    let mut quicklist = Quicklist::new(&limits.list);
    quicklist.push_listpack(legacy::ziplist(&reader.string()?, "List ziplist integrity check failed.")?);
    Ok(List::Quicklist(Box::new(quicklist)))
}

fn decode_quicklist(kind: ValueType, reader: &mut Reader<'_>, limits: &Limits) -> Result<List, DecodeError> {
    let mut quicklist = Quicklist::new(&limits.list);
    for _ in 0..reader.count(1)? {
        let container = if kind == ValueType::ListQuicklist { reader.length()? } else { 0 };
        let node = reader.string()?;
        if node.is_empty() {
            return Err(DecodeError::Malformed("Quicklist with an empty node"));
        }
        match container {
            0 if kind == ValueType::ListQuicklist1 => {
                quicklist.push_listpack(legacy::ziplist(&node, "Ziplist integrity check failed.")?);
            }
            1 => quicklist.push_plain(&node),
            2 => {
                const COMPLAINT: DecodeError = DecodeError::Malformed("Listpack integrity check failed.");
                quicklist.push_listpack(Listpack::from_foreign(&node).ok_or(COMPLAINT)?);
            }
            _ => return Err(DecodeError::Malformed("Quicklist integrity check failed.")),
        }
    }
    Ok(settled(List::Quicklist(Box::new(quicklist)), limits))
}

fn decode_set(reader: &mut Reader<'_>, limits: &SetLimits) -> Result<Set, DecodeError> {
    let count = reader.count(1)?;
    let mut set = Set::new();
    set.prepare_add(count, limits);
    for _ in 0..count {
        if !set.add(&reader.string()?, limits) {
            return Err(DecodeError::Malformed("Duplicate set members detected"));
        }
    }
    Ok(set)
}

/// The shortest element is a byte of member and a byte (or eight) of score.
fn decode_zset(kind: ValueType, reader: &mut Reader<'_>, limits: &ZSetLimits) -> Result<ZSet, DecodeError> {
    let score_size = if kind == ValueType::ZSet { 8 } else { 1 };
    let count = reader.count(1 + score_size)?;
    let mut zset = ZSet::new();
    zset.convert_to_sorted();
    for _ in 0..count {
        let member = reader.string()?;
        let score = if kind == ValueType::ZSet { reader.double()? } else { legacy::text_double(reader)? };
        if score.is_nan() {
            return Err(DecodeError::Malformed("Zset with NAN score detected"));
        }
        if zset.set(&member, score, limits).is_some() {
            return Err(DecodeError::Malformed("Duplicate zset fields detected"));
        }
    }
    zset.convert_to_listpack_if_small(limits);
    Ok(zset)
}

/// Whether a text means NaN, which is no score.
fn is_nan(text: &[u8]) -> bool {
    text.strip_prefix(b"-").unwrap_or(text).eq_ignore_ascii_case(b"nan")
}

/// A sorted set from a listpack of members and scores. One that is out of order is put in order, or else no range of
/// it would be right. The complaints are about the whole and about a score that is NaN.
fn zset_of(
    lp: Listpack,
    (complaint, nan_complaint): (&'static str, &'static str),
    limits: &ZSetLimits,
) -> Result<ZSet, DecodeError> {
    let malformed = || DecodeError::Malformed(complaint);
    let mut before: Option<(f64, Vec<u8>)> = None;
    let mut sorted = true;
    let mut items = lp.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let (member, score) = (member.to_vec(), score.to_vec());
        let score = match parse_f64(&score) {
            Some(score) => score,
            None if is_nan(&score) => return Err(DecodeError::Malformed(nan_complaint)),
            None => return Err(malformed()),
        };
        sorted &= before.is_none_or(|(s, m)| s < score || (s == score && m < member));
        before = Some((score, member));
    }
    let mut zset = ZSet::from_listpack(lp, limits).ok_or_else(malformed)?;
    if !sorted && matches!(zset, ZSet::Listpack(_)) {
        let mut large = ZSet::new();
        large.convert_to_sorted();
        zset.visit(0..zset.len(), false, |member, score| {
            large.set(&member.to_vec(), score, limits);
            ControlFlow::Continue(())
        });
        large.convert_to_listpack_if_small(limits);
        zset = large;
    }
    Ok(zset)
}

fn hash_of(lp: Listpack, complaint: &'static str, limits: &HashLimits) -> Result<Hash, DecodeError> {
    Hash::from_listpack(lp, limits).ok_or(DecodeError::Malformed(complaint))
}

fn decode_hash(kind: ValueType, reader: &mut Reader<'_>, limits: &HashLimits) -> Result<Hash, DecodeError> {
    let with_deadlines = kind == ValueType::HashDeadlines;
    let count = reader.count(if with_deadlines { 10 } else { 2 })?;
    let mut hash = Hash::new();
    if with_deadlines {
        hash.convert_to_table();
    }
    hash.prepare_set(count, 0, 0, limits);
    for _ in 0..count {
        let (name, value) = (reader.string()?, reader.string()?);
        let deadline = match if with_deadlines { reader.milliseconds()? } else { -1 } {
            -1 => Deadline::Clear,
            time @ 0.. => Deadline::At(time),
            _ => return Err(DecodeError::Malformed("Hash field with a negative deadline")),
        };
        if !hash.set(&name, &value, deadline, limits) {
            let large = matches!(hash, Hash::Table(_));
            return Err(DecodeError::Malformed(if large {
                "Duplicate hash fields detected"
            } else {
                "Hash with dup elements"
            }));
        }
    }
    Ok(hash)
}

/// Names the module type of a value: the upper 54 bits of its id are nine letters of six bits each.
fn module(reader: &mut Reader<'_>) -> DecodeError {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    match reader.length() {
        Ok(id) => {
            let letter = |n: u32| char::from(LETTERS[(id >> (10 + 6 * n)) as usize & 63]);
            DecodeError::Module((0..9).rev().map(letter).collect())
        }
        Err(error) => error,
    }
}
