//! A keyspace as text that does not depend on encodings or on the order of hash tables, and tests of its counts.

use std::fmt::Write;
use std::ops::ControlFlow;

use skuld::keyspace::{Entry, Keyspace, ValueRef};
use skuld::types::Item;
use skuld::types::stream::{Stream, StreamId};

/// Every key with database, deadline and value, one a line, sorted. Panics if the counts the keyspace keeps are wrong
/// or a collection is empty; a hash may be, if COPY ran (`copied`): what it makes of one whose fields have all expired is
/// an empty hash, as in Valkey.
pub fn digest(keyspace: &Keyspace, copied: bool) -> String {
    let mut lines = Vec::new();
    for part in keyspace.parts() {
        for number in 0..part.databases() {
            let Some(database) = part.database(number) else { continue };
            let (mut keys, mut expires) = (0, 0);
            let mut at = skuld::slot::Slot(0);
            while let Some(slot) = database.next_used_slot(at, part.index()) {
                let table = database.slot(slot).expect("a used slot is there").table();
                for entry in table.iter() {
                    keys += 1;
                    expires += u64::from(entry.expiry().is_some());
                    assert_eq!(skuld::slot::slot_of(entry.key()), slot, "a key is in its slot");
                    lines.push(format!("{number} {}", line(entry, copied)));
                }
                at = skuld::slot::Slot(slot.0 + 1);
            }
            assert_eq!(database.keys(), keys, "count of keys of database {number}");
            assert_eq!(database.expires(), expires, "count of deadlines of database {number}");
        }
    }
    lines.sort();
    lines.join("\n")
}

/// One key as text; panics as [`digest`] does.
pub fn digest_of(entry: &Entry) -> String {
    line(entry, false)
}

fn line(entry: &Entry, copied: bool) -> String {
    let mut text = format!("{}", entry.key().escape_ascii());
    if let Some(deadline) = entry.expiry() {
        // Writing to a String cannot fail, here and below.
        _ = write!(text, " until {deadline}");
    }
    _ = write!(text, " {}", entry.kind().name());
    let mut parts = Vec::new();
    let show = |item: Item<'_>| item.to_vec().escape_ascii().to_string();
    let mut sort = true;
    match entry.value() {
        ValueRef::Int(number) => parts.push(number.to_string()),
        ValueRef::Str(bytes) => parts.push(bytes.escape_ascii().to_string()),
        ValueRef::List(list) => {
            sort = false;
            list.visit_range(0, list.len(), |item| parts.push(show(item)));
            assert_eq!(parts.len(), list.len());
            assert!(!list.is_empty(), "{text}: an empty list");
        }
        ValueRef::Set(set) => {
            set.visit(|item| {
                parts.push(show(item));
                ControlFlow::Continue(())
            });
            assert_eq!(parts.len(), set.len());
            assert!(!set.is_empty(), "{text}: an empty set");
        }
        ValueRef::Hash(hash) => {
            hash.visit(|name, field| {
                let until = field.deadline_ms.map(|t| format!(" until {t}")).unwrap_or_default();
                parts.push(format!("{}={}{until}", show(name), show(field.value)));
                ControlFlow::Continue(())
            });
            assert_eq!(parts.len(), hash.len());
            assert!(copied || !hash.is_empty(), "{text}: an empty hash");
        }
        ValueRef::ZSet(zset) => {
            let mut last = f64::NEG_INFINITY;
            zset.visit(0..zset.len(), false, |member, score| {
                assert!(last <= score, "{text}: scores out of order");
                last = score;
                // A small set keeps whole scores as integers, which know no negative zero; Valkey's likewise.
                let score = if score == 0.0 { 0.0 } else { score };
                parts.push(format!("{}={score:?}", show(member)));
                ControlFlow::Continue(())
            });
            assert_eq!(parts.len(), zset.len());
            assert!(!zset.is_empty(), "{text}: an empty sorted set");
        }
        ValueRef::Stream(stream) => {
            sort = false;
            parts = stream_parts(&stream);
        }
    }
    if sort {
        parts.sort();
    }
    for part in parts {
        _ = write!(text, " {part}");
    }
    text
}

fn stream_parts(stream: &Stream) -> Vec<String> {
    let mut parts = vec![format!("last={} entries={}", stream.last_id, stream.entries_added)];
    let (mut live, mut last) = (0, None);
    stream.visit(StreamId::default(), StreamId { ms: u64::MAX, seq: u64::MAX }, |entry| {
        assert!(last < Some(entry.id), "ids out of order");
        last = Some(entry.id);
        live += 1;
        parts.push(entry.id.to_string());
        ControlFlow::Continue(())
    });
    assert_eq!(live, stream.len());
    for (name, group) in &stream.groups {
        parts.push(format!("group {} at {}", name.escape_ascii(), group.last_id));
    }
    parts
}
