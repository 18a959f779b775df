//! Streams with their consumer groups (spec page rdb.md, section 4.4).

use super::read::Reader;
use super::{Compression, DecodeError, ValueType, write};
use crate::types::listpack::Listpack;
use crate::types::stream::{Group, Pending, Stream, StreamData, StreamId};
use std::collections::BTreeMap;

/// What stands for an unknown number of entries read: -1.
const UNKNOWN: u64 = u64::MAX;

/// An error in the words that tools look for.
const fn malformed(complaint: &'static str) -> DecodeError {
    DecodeError::Malformed(complaint)
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    write::length(out, id.ms);
    write::length(out, id.seq);
}

/// Appends a node of a stream, of those in front, in the newest form.
pub(super) fn encode_node(out: &mut Vec<u8>, id: StreamId, node: &[u8], compression: Compression) {
    write::string(out, &id.to_bytes(), compression);
    write::string(out, node, compression);
}

/// Appends what follows the nodes.
pub(super) fn encode_rest(out: &mut Vec<u8>, stream: &StreamData, compression: Compression) {
    write::length(out, stream.len());
    put_id(out, stream.last_id);
    put_id(out, stream.first_id);
    put_id(out, stream.max_deleted_id);
    write::length(out, stream.entries_added);
    write::count(out, stream.groups.len());
    for (name, group) in &stream.groups {
        write::string(out, name, compression);
        encode_group(out, group, compression);
    }
}

fn encode_group(out: &mut Vec<u8>, group: &Group, compression: Compression) {
    put_id(out, group.last_id);
    write::length(out, group.entries_read.unwrap_or(UNKNOWN));
    write::count(out, group.pending().len());
    for (id, pending) in group.pending() {
        out.extend_from_slice(&id.to_bytes());
        write::milliseconds(out, pending.delivered_ms);
        write::length(out, pending.deliveries);
    }
    write::count(out, group.consumers().len());
    for (name, consumer) in group.consumers() {
        write::string(out, name, compression);
        write::milliseconds(out, consumer.seen_ms);
        write::milliseconds(out, consumer.active_ms);
        write::count(out, consumer.pending().len());
        for id in consumer.pending() {
            out.extend_from_slice(&id.to_bytes());
        }
    }
}

fn take_id(reader: &mut Reader<'_>) -> Result<StreamId, DecodeError> {
    Ok(StreamId { ms: reader.length()?, seq: reader.length()? })
}

/// Reads a stream in any of its three forms.
pub(super) fn decode(kind: ValueType, reader: &mut Reader<'_>) -> Result<Stream, DecodeError> {
    let mut stream = Stream::new();
    for _ in 0..reader.count(2)? {
        let id = reader.string()?;
        let id = id
            .first_chunk()
            .filter(|_| id.len() == 16)
            .ok_or(malformed("Stream node key entry is not the size of a stream ID"))?;
        let damaged = malformed("Stream listpack integrity check failed.");
        let node = Listpack::from_foreign(&reader.string()?).ok_or(damaged.clone())?;
        stream.push_node(StreamId::from_bytes(id), node).ok_or(damaged)?;
    }
    let length = reader.length()?;
    stream.last_id = take_id(reader)?;
    if !stream.has_len(length) || !stream.is_ordered() {
        return Err(malformed("Stream length inconsistent with the number of valid entries"));
    }
    if kind == ValueType::Stream1 {
        stream.first_id = stream.first_live_id().unwrap_or_default();
        stream.entries_added = length;
    } else {
        stream.first_id = take_id(reader)?;
        stream.max_deleted_id = take_id(reader)?;
        stream.entries_added = reader.length()?;
        // Counts of entries not yet read are differences of these two.
        if stream.entries_added < length {
            return Err(malformed("Stream object metadata loading failed."));
        }
    }
    for _ in 0..reader.count(1)? {
        let name = reader.string()?;
        let group = decode_group(kind, reader, &stream)?;
        if stream.groups.insert(name.into(), group).is_some() {
            return Err(malformed("Duplicated consumer group name loading a stream"));
        }
    }
    Ok(stream)
}

fn decode_group(kind: ValueType, reader: &mut Reader<'_>, stream: &StreamData) -> Result<Group, DecodeError> {
    let last_id = take_id(reader)?;
    let entries_read = match kind {
        ValueType::Stream1 => stream.entries_read_at(last_id),
        _ => match reader.length()? {
            // It is a signed number; a negative one says that it is not known.
            read if i64::try_from(read).is_err() => None,
            read => Some(read),
        },
    };
    let mut group = Group::new(last_id, entries_read);
    let mut unowned = BTreeMap::new();
    for _ in 0..reader.count(16 + 8 + 1)? {
        let id = StreamId::from_bytes(&reader.array()?);
        let (delivered_ms, deliveries) = (reader.milliseconds()?, reader.length()?);
        if unowned.insert(id, (delivered_ms, deliveries)).is_some() {
            return Err(malformed("Duplicated global PEL entry loading stream consumer group"));
        }
    }
    for _ in 0..reader.count(1 + 8 + 1)? {
        decode_consumer(kind, reader, &mut group, &mut unowned)?;
    }
    if unowned.is_empty() { Ok(group) } else { Err(malformed("Stream CG PEL entry without consumer")) }
}

/// Reads a consumer, which takes its entries out of those that have no owner yet.
fn decode_consumer(
    kind: ValueType,
    reader: &mut Reader<'_>,
    group: &mut Group,
    unowned: &mut BTreeMap<StreamId, (i64, u64)>,
) -> Result<(), DecodeError> {
    let name = reader.string()?;
    let seen_ms = reader.milliseconds()?;
    let active_ms = if kind == ValueType::Stream { reader.milliseconds()? } else { seen_ms };
    let consumer =
        group.create_consumer(&name, seen_ms).ok_or(malformed("Duplicate stream consumer detected."))?;
    if let Some(consumer) = group.consumer_mut(&name) {
        consumer.active_ms = active_ms;
    }
    for _ in 0..reader.count(16)? {
        let id = StreamId::from_bytes(&reader.array()?);
        let Some((delivered_ms, deliveries)) = unowned.remove(&id) else {
            return Err(malformed(match group.pending().get(&id) {
                Some(pending) if pending.consumer == consumer => {
                    "Duplicated consumer PEL entry loading a stream consumer group"
                }
                _ => "Consumer entry not found in group global PEL",
            }));
        };
        let assigned = group.assign(id, Pending { consumer, delivered_ms, deliveries });
        debug_assert!(assigned.is_some(), "the consumer is one of the group's");
    }
    Ok(())
}
