//! Random command sequences that Valkey 9.1.2 executed, with the encodings and DUMP bytes it ended with: the same
//! operations here must end with the same bytes.
//!
//! `lists.txt`: `text*count` stands for repeated text, and `*0` for a marker; a node is kind:bytes:entries.
//! `compact.txt`: `NEW kind max-entries max-value max-intset`; then encoding and RDB type:bytes.
//! `streams.txt`: then `length last max-deleted added first|master:bytes ...`.

use super::hash::{Deadline, Hash, HashLimits};
use super::list::{End, List, ListLimits, NodeKind};
use super::listpack::Listpack;
use super::number::parse_f64;
use super::set::{Set, SetLimits};
use super::stream::{Stream, StreamId, StreamLimits, Trim};
use super::zset::{ZSet, ZSetLimits};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the recording holds a number")
}

fn repeated(text: &str) -> Vec<u8> {
    let (unit, count) = text.split_once('*').expect("unit*count");
    if count == "0" { b"PIV".to_vec() } else { unit.repeat(number(count)).into_bytes() }
}

fn list_nodes(list: &List) -> String {
    let mut text = list.encoding_name().to_owned();
    list.for_each_node(|kind, bytes| {
        let (kind, count) = match kind {
            NodeKind::Plain => ('P', 1),
            NodeKind::Packed => ('L', Listpack::from_foreign(bytes).expect("a node is a listpack").len()),
        };
        text.push_str(&format!(" {kind}:{}:{count}", bytes.len()));
    });
    text
}

fn list_step(list: &mut List, words: &[&str], limits: &ListLimits) {
    let len = list.len();
    match words {
        ["LPUSH" | "RPUSH", texts @ ..] => {
            let texts: Vec<_> = texts.iter().map(|t| repeated(t)).collect();
            list.prepare_push(texts.iter().map(Vec::len).sum(), texts.len(), limits);
            for text in texts {
                list.push(&text, if words[0] == "LPUSH" { End::Head } else { End::Tail });
            }
            return;
        }
        ["INS", index, side, text] => {
            let text = repeated(text);
            list.prepare_push(text.len(), 1, limits);
            return list.insert(number(index), &text, *side == "after");
        }
        ["LSET", index, text] => {
            let text = repeated(text);
            list.prepare_push(text.len(), 1, limits);
            list.replace(number(index), &text);
        }
        ["LPOP", count] => list.remove_range(0, number(count)),
        ["RPOP", count] => list.remove_range(len.saturating_sub(number(count)), len),
        ["LTRIM", first, last] => {
            let (first, last): (usize, usize) = (number(first), number(last));
            list.remove_range(0, first);
            list.remove_range(last + 1 - first, len);
        }
        ["LREM", count, text] => {
            let count: i64 = number(count);
            let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
            list.remove_equal(text.as_bytes(), if count < 0 { End::Tail } else { End::Head }, max);
        }
        _ => panic!("{words:?}"),
    }
    list.shrink(limits);
}

#[test]
fn lists_end_with_the_same_nodes() {
    let (mut list, mut limits, mut compared) = (List::new(), ListLimits::default(), 0);
    for line in include_str!("vectors/lists.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "NEW" => {
                list = List::new();
                limits.max_listpack_size = number(words[1]);
            }
            "IS" => {
                assert_eq!(list_nodes(&list), line[3..]);
                compared += 1;
            }
            _ => list_step(&mut list, &words, &limits),
        }
    }
    assert!(compared >= 10);
}

enum Compact {
    Set(Set, SetLimits),
    Hash(Hash, HashLimits),
    ZSet(ZSet, ZSetLimits),
}

impl Compact {
    fn new(words: &[&str], first: &str) -> Self {
        let (listpack_entries_max, listpack_value_max) = (number(words[2]), number(words[3]));
        let first = first.as_bytes();
        match words[1] {
            "s" => {
                let intset_entries_max = number(words[4]);
                let limits = SetLimits { intset_entries_max, listpack_entries_max, listpack_value_max };
                Compact::Set(Set::for_members(first, 1, &limits), limits)
            }
            "h" => Compact::Hash(Hash::new(), HashLimits { listpack_entries_max, listpack_value_max }),
            _ => {
                let limits = ZSetLimits { listpack_entries_max, listpack_value_max };
                Compact::ZSet(ZSet::for_members(1, first.len(), &limits), limits)
            }
        }
    }

    fn step(&mut self, words: &[&str]) {
        let text = words[1].as_bytes();
        match (self, words[0]) {
            (Compact::Set(set, limits), "ADD") => _ = set.add(text, limits),
            (Compact::Set(set, _), _) => _ = set.remove(text),
            (Compact::Hash(hash, limits), "ADD") => {
                _ = hash.set(text, words[2].as_bytes(), Deadline::Clear, limits)
            }
            (Compact::Hash(hash, _), _) => _ = hash.remove(text),
            (Compact::ZSet(set, limits), "ADD") => {
                set.set(text, parse_f64(words[2].as_bytes()).expect("the recording holds a score"), limits);
            }
            (Compact::ZSet(set, _), _) => _ = set.remove(text),
        }
    }

    fn describe(&self) -> String {
        match self {
            Compact::Set(Set::Intset(set), _) => format!("intset 11:{}", hex(set.as_bytes())),
            Compact::Set(Set::Listpack(lp), _) => format!("listpack 20:{}", hex(lp.as_bytes())),
            Compact::Hash(Hash::Listpack(lp), _) => format!("listpack 16:{}", hex(lp.as_bytes())),
            Compact::ZSet(ZSet::Listpack(lp), _) => format!("listpack 17:{}", hex(lp.as_bytes())),
            _ => "not compact".to_owned(),
        }
    }
}

#[test]
fn compact_collections_end_with_the_same_bytes() {
    let (mut value, mut made, mut compared) = (None, vec![], 0);
    for line in include_str!("vectors/compact.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "NEW" => (value, made) = (None, words),
            "IS" => {
                assert_eq!(value.as_ref().map(Compact::describe).as_deref(), Some(&line[3..]));
                compared += 1;
            }
            _ => value.get_or_insert_with(|| Compact::new(&made, words[1])).step(&words),
        }
    }
    assert!(compared >= 30);
}

fn id(text: &str) -> StreamId {
    let (ms, seq) = text.split_once('-').expect("ms-seq");
    StreamId { ms: number(ms), seq: number(seq) }
}

fn describe_stream(s: &Stream) -> String {
    let nodes: Vec<_> = s.nodes().map(|(id, lp)| format!("{}:{}", hex(&id.to_bytes()), hex(lp))).collect();
    let nodes = nodes.join(" ");
    format!("{} {} {} {} {}|{nodes}", s.len(), s.last_id, s.max_deleted_id, s.entries_added, s.first_id)
}

#[test]
fn streams_end_with_the_same_nodes() {
    let (mut stream, mut limits, mut compared) = (Stream::new(), StreamLimits::default(), 0);
    for line in include_str!("vectors/streams.txt").lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["NEW", bytes, entries] => {
                stream = Stream::new();
                limits = StreamLimits { node_bytes_max: number(bytes), node_entries_max: number(entries) };
            }
            ["ADD", at, ref pairs @ ..] => {
                stream.append(id(at), pairs, &limits).expect("recorded ids only grow")
            }
            ["DEL", at, deleted] => assert_eq!(stream.delete(id(at)), deleted == "1"),
            ["TRIM", kind, keep, approximate, removed] => {
                let keep = if kind == "L" { Trim::MaxLen(number(keep)) } else { Trim::MinId(id(keep)) };
                assert_eq!(stream.trim(keep, approximate == "1", None), number::<u64>(removed));
            }
            _ => {
                assert_eq!(describe_stream(&stream), line[3..]);
                compared += 1;
            }
        }
    }
    assert!(compared >= 5);
}
