//! What DEBUG OBJECT, LISTPACK and QUICKLIST tell about one value.

use crate::config::Config;
use crate::keyspace::{Entry, ValueRef};
use crate::rdb::Compression;
use crate::rdb::encode::encode_value;
use crate::types::list::List;
use crate::types::quicklist::NodeKind;
use std::fmt::Write;
use std::ops::ControlFlow;

/// The line of DEBUG OBJECT. `fast` leaves out what takes a walk over the value; `idle_s` is the time since the last
/// access in seconds.
pub fn object_line(entry: &Entry, config: &Config, idle_s: u32, fast: bool) -> String {
    let mut line =
        format!("Value at:{:p} refcount:1 encoding:{}", entry.key().as_ptr(), entry.encoding_name());
    // Writing to a String cannot fail.
    if !fast {
        let mut bytes = Vec::new();
        encode_value(&mut bytes, &entry.value(), Compression::on_if(config.rdbcompression));
        _ = write!(line, " serializedlength:{}", bytes.len());
    }
    let lru = entry.access_word() & 0xff_ffff;
    _ = write!(line, " lru:{lru} lru_seconds_idle:{idle_s}");
    if let ValueRef::List(list) = entry.value()
        && let List::Quicklist(list) = &*list
    {
        let (nodes, _, bytes) = list.node_statistics();
        let limits = list.limits();
        _ = write!(
            line,
            " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{}",
            list.len() as f64 / nodes.max(1) as f64,
            limits.max_listpack_size,
            u8::from(limits.compress_depth != 0),
        );
        if !fast {
            _ = write!(line, " ql_uncompressed_size:{bytes}");
        }
    }
    line
}

/// Most elements that a view shows.
const SHOWN_MAX: usize = 10_000;

/// The elements of a value encoded as one listpack, for an operator to read; `None` for other encodings.
pub fn listpack_text(entry: &Entry) -> Option<String> {
    if entry.encoding_name() != "listpack" {
        return None;
    }
    let mut text = format!("listpack of {:?}\n", String::from_utf8_lossy(entry.key()));
    let mut shown = 0;
    let mut show = |item: crate::types::Item<'_>| {
        _ = writeln!(text, "  {shown}: {:?}", String::from_utf8_lossy(&item.to_vec()));
        shown += 1;
        if shown == SHOWN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match entry.value() {
        ValueRef::List(list) => list.visit(0, true, show),
        ValueRef::Set(set) => set.visit(show),
        ValueRef::Hash(hash) => hash.visit(|field, value| {
            show(field)?;
            show(value.value)
        }),
        ValueRef::ZSet(zset) => zset.visit(0..zset.len(), false, |member, score| {
            show(member)?;
            show(crate::types::Item::Str(&crate::types::number::f64_text(score)))
        }),
        ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Stream(_) => {}
    }
    Some(text)
}

/// The nodes of a quicklist, for an operator to read; `None` for other encodings.
pub fn quicklist_text(entry: &Entry) -> Option<String> {
    let ValueRef::List(list) = entry.value() else { return None };
    let List::Quicklist(nodes) = &*list else { return None };
    let mut text =
        format!("quicklist of {:?}: {} elements\n", String::from_utf8_lossy(entry.key()), nodes.len());
    let mut number = 0;
    nodes.for_each_node(|kind, bytes| {
        let kind = match kind {
            NodeKind::Plain => "plain",
            NodeKind::Packed => "listpack",
        };
        _ = writeln!(text, "  node {number}: {kind}, {} bytes", bytes.len());
        number += 1;
    });
    Some(text)
}

/// Elements in a bucket of Valkey's hash tables.
const BUCKET: u64 = 7;

/// What tools read about a hash table with so many elements. The size is that of a table of Valkey which was filled one
/// by one; ours, which grow a bucket at a time, have no such steps. `full` adds how the buckets of such a table are
/// filled, were no two elements in each other's way. Nothing for an empty one.
pub fn table_figures(elements: u64, full: bool) -> String {
    if elements == 0 {
        return String::new();
    }
    let buckets = elements.div_ceil(BUCKET).next_power_of_two();
    let size = buckets * BUCKET;
    let mut text = format!(
        "Hash table 0 stats (main hash table):\n table size: {size}\n number of entries: {elements}\n rehashing index: -1\n"
    );
    if full {
        _ = write!(
            text,
            " top-level buckets: {buckets}\n child buckets: 0\n max chain length: 0\n avg chain length: 0.000000\n chain \
             length distribution:\n   0: {buckets} (100.00%)\n"
        );
    }
    text
}

/// The figures of a value's hash table (DEBUG HTSTATS-KEY); `None` for values without one.
pub fn table_text(entry: &Entry, full: bool) -> Option<String> {
    let elements = match entry.value() {
        ValueRef::Set(set) if entry.encoding_name() == "hashtable" => set.len(),
        ValueRef::Hash(hash) if entry.encoding_name() == "hashtable" => hash.len(),
        ValueRef::ZSet(zset) if entry.encoding_name() == "skiplist" => zset.len(),
        _ => return None,
    };
    Some(table_figures(elements as u64, full))
}

/// The line of DEBUG SDSLEN; `None` for values that are not strings of bytes. Strings have no room to grow here, so what
/// is available beside what is used is always 0.
pub fn string_line(entry: &Entry) -> Option<String> {
    let ValueRef::Str(value) = entry.value() else { return None };
    let key = entry.key().len();
    let allocated = entry.own_bytes();
    Some(format!(
        "key_sds_len:{key} key_sds_avail:0 obj_alloc:{allocated} val_sds_len:{} val_sds_avail:0 val_alloc:{}",
        value.len(),
        if entry.encoding_name() == "raw" { value.len() } else { 0 }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Bench;

    fn line(bench: &Bench, key: &str, fast: bool) -> String {
        let slot = crate::slot::slot_of(key.as_bytes());
        let database = bench.keyspace.part(slot).database(0).expect("database 0");
        let entry = database.find(slot, crate::hash::hash(key.as_bytes()), key.as_bytes()).expect("the key");
        let line = object_line(entry, &bench.config, 0, fast);
        line.split_once(" refcount").expect("an address").1.to_owned()
    }

    /// Texts from Valkey's DEBUG OBJECT.
    #[test]
    fn lines_are_those_of_valkey() {
        let mut bench = Bench::new();
        bench.config.list_max_listpack_size = 2;
        bench.say("RPUSH l a b 300 d e");
        bench.say("XADD s 1-1 a b");
        let lru = bench.now / 1000;
        let times = format!("lru:{lru} lru_seconds_idle:0");
        assert_eq!(
            line(&bench, "l", false),
            format!(
                ":1 encoding:quicklist serializedlength:43 {times} ql_nodes:3 ql_avg_node:1.67 ql_listpack_max:2 \
                 ql_compressed:0 ql_uncompressed_size:36"
            )
        );
        assert_eq!(
            line(&bench, "l", true),
            format!(
                ":1 encoding:quicklist {times} ql_nodes:3 ql_avg_node:1.67 ql_listpack_max:2 ql_compressed:0"
            )
        );
        assert_eq!(line(&bench, "s", false), format!(":1 encoding:stream serializedlength:57 {times}"));
    }
}
