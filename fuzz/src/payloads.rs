//! DUMP payloads of every type: refused, or a value that can be dumped, read again and worked on. The first byte is the
//! type, the last the limits of encodings; the footer is put on here, for no fuzzer finds a checksum by chance.

use skuld::config::RdbVersionCheck;
use skuld::keyspace::{Entry, NewValue, Value};
use skuld::rdb::payload::{dump, restore, seal};
use skuld::rdb::{Compression, Limits};
use skuld::rng::Rng;
use skuld::types::hash::{Deadline, Hash};
use skuld::types::list::{End, List};
use skuld::types::set::Set;
use skuld::types::stream::{Pending, Stream, StreamId};
use skuld::types::zset::ZSet;

use crate::digest::digest_of;

/// Limits that every few elements exceed, or the usual ones.
fn limits(small: bool) -> Limits {
    let mut limits = Limits::default();
    if small {
        limits.list.max_listpack_size = 2;
        limits.list.compress_depth = 1;
        limits.set.intset_entries_max = 2;
        limits.set.listpack_entries_max = 2;
        limits.hash.listpack_entries_max = 2;
        limits.zset.listpack_entries_max = 2;
    }
    limits
}

fn read(payload: &[u8], limits: &Limits) -> Option<Entry> {
    let value = restore(payload, RdbVersionCheck::Strict, limits).ok()?;
    Some(Entry::new(b"key", NewValue::Owned(value), None))
}

pub fn run(data: &[u8]) {
    // Whatever the footer is, nothing breaks; nearly always it is wrong.
    let _ = restore(data, RdbVersionCheck::Relaxed, &Limits::default());
    let Some((&choice, body)) = data.split_last() else { return };
    let mut payload = body.to_vec();
    seal(&mut payload, 80);
    let Some(entry) = read(&payload, &limits(choice & 1 == 1)) else { return };
    let seen = digest_of(&entry);
    for (compression, small) in [(Compression::On, false), (Compression::Off, true)] {
        let again = dump(&entry.value(), compression);
        let again = read(&again, &limits(small)).expect("what we write can be read");
        assert_eq!(digest_of(&again), seen);
    }
    assert_eq!(digest_of(&Entry::new(b"key", NewValue::Owned(entry.duplicate_value()), None)), seen);
    change(entry, &limits(choice & 2 == 2));
}

/// What later commands would do to the value.
fn change(entry: Entry, limits: &Limits) {
    match entry.into_value() {
        Value::Int(_) | Value::Str(..) => {}
        Value::List(mut list) => {
            for end in [End::Head, End::Tail] {
                list.prepare_push(3, 1, &limits.list);
                list.push(b"new", end);
            }
            list.remove_range(list.len() / 2, 2);
            while list.pop(End::Tail).is_some() {}
            assert!(list.is_empty());
        }
        Value::Set(mut set) => {
            let members = collect(|f| set.visit(|item| f(item.to_vec())));
            set.add(b"new", &limits.set);
            assert!(members.iter().all(|member| set.remove(member)), "a member that cannot be found");
        }
        Value::ZSet(mut zset) => {
            let members = collect(|f| zset.visit(0..zset.len(), false, |item, _| f(item.to_vec())));
            zset.set(b"new", 0.5, &limits.zset);
            for member in members {
                assert!(zset.rank(&member).is_some(), "a member without a rank");
                assert!(zset.remove(&member).is_some() || member == b"new");
            }
        }
        Value::Hash(mut hash) => {
            let names = collect(|f| hash.visit(|name, _| f(name.to_vec())));
            hash.set(b"new", b"value", Deadline::At(1), &limits.hash);
            hash.remove_due(i64::MAX, usize::MAX, |_| {});
            assert!(names.iter().all(|name| hash.get(name).is_none() || hash.remove(name)));
            assert!(hash.is_empty(), "a field that cannot be found");
        }
        Value::Stream(mut stream) => {
            if let Some(id) = stream.next_id(0) {
                stream.append(id, &["f", "v"], &Default::default()).expect("the next id is greater");
            }
            let ids = collect(|f| stream.visit(StreamId::MIN, StreamId::MAX, |entry| f(entry.id)));
            for group in stream.groups.values() {
                stream.lag(group);
            }
            assert!(ids.iter().all(|&id| stream.delete(id)), "an entry that cannot be found");
            assert!(stream.is_empty());
        }
    }
}

fn collect<T>(visit: impl FnOnce(&mut dyn FnMut(T) -> std::ops::ControlFlow<()>)) -> Vec<T> {
    let mut found = Vec::new();
    visit(&mut |element| {
        found.push(element);
        std::ops::ControlFlow::Continue(())
    });
    found
}

/// Payloads of old encodings, which nothing here writes: type and value.
const OLD: &[&[u8]] = &[
    b"\x01\x03\x01a\xc0\x05\x02zz",
    b"\x02\x02\xc0\x05\xc1\x39\x30",
    b"\x03\x03\x01a\x031.5\x01c\xfe\x01d\xff",
    b"\x09\x0f\x02\x01a\x03\x02xyz\0\0\x01b\x00\x00\xff",
    b"\x0a\x12\x12\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xfe\x80\xff",
    b"\x0c\x11\x11\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff",
    b"\x0d\x11\x11\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff",
    b"\x0e\x01\x11\x11\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff",
];

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into_bytes(),
        1 => vec![b'x'; rng.below(90) as usize],
        _ => vec![b'a' + rng.below(26) as u8; 1 + rng.below(3) as usize],
    }
}

fn value(rng: &mut Rng, limits: &Limits) -> Value {
    let count = 1 + rng.below(6);
    match rng.below(5) {
        0 => {
            let mut list = List::new();
            for _ in 0..count {
                let element = text(rng);
                list.prepare_push(element.len(), 1, &limits.list);
                list.push(&element, End::Tail);
            }
            Value::List(list)
        }
        1 => {
            let mut set = Set::new();
            for _ in 0..count {
                set.add(&text(rng), &limits.set);
            }
            Value::Set(set)
        }
        2 => {
            let mut zset = ZSet::new();
            for _ in 0..count {
                zset.set(&text(rng), rng.below(9) as f64 / 2.0, &limits.zset);
            }
            Value::ZSet(zset)
        }
        3 => {
            let mut hash = Hash::new();
            for n in 0..count {
                let deadline = if crate::one_in(rng, 3) { Deadline::At(n as i64) } else { Deadline::Clear };
                hash.set(&text(rng), &text(rng), deadline, &limits.hash);
            }
            Value::Hash(hash)
        }
        _ => Value::Stream(stream(rng, count)),
    }
}

fn stream(rng: &mut Rng, count: u64) -> Stream {
    let mut stream = Stream::new();
    for n in 1..=count {
        let id = StreamId { ms: n * 1000, seq: rng.below(3) };
        stream.append(id, &[text(rng), text(rng)], &Default::default()).expect("ids rise");
        if crate::one_in(rng, 4) {
            stream.delete(id);
        }
        if crate::one_in(rng, 3) {
            stream.create_group(b"g", id, Some(n));
        }
    }
    if let Some(group) = stream.groups.get_mut(&b"g"[..])
        && let Some(consumer) = group.create_consumer(b"c", 5)
    {
        group.assign(StreamId { ms: 1, seq: 1 }, Pending { consumer, delivered_ms: 7, deliveries: 1 });
    }
    stream
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut data = if crate::one_in(rng, 3) {
        crate::pick(rng, OLD).to_vec()
    } else {
        let limits = limits(crate::one_in(rng, 2));
        let entry = Entry::new(b"key", NewValue::Owned(value(rng, &limits)), None);
        let mut payload = dump(&entry.value(), Compression::on_if(crate::one_in(rng, 4)));
        payload.truncate(payload.len() - 10);
        payload
    };
    data.push(rng.below(4) as u8);
    data
}

pub fn words() -> Vec<&'static [u8]> {
    vec![
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x7f\xff\xff\xff",
        b"\xc0\x05",
        b"\xc3\x05\x40\x40",
        b"\xff",
        b"\xfe",
        b"\0\0\0\0\0\0\xf8\x7f",
        b"\x82nan\x04",
        b"\x12",
        b"\x16",
        b"\x0f",
        b"\x13",
        b"\x15",
    ]
}
