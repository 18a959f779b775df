//! The signature of values and of whole data sets that DEBUG DIGEST and DEBUG DIGEST-VALUE show: equal data sets have
//! equal signatures on any server that computes them as Valkey does, whatever its encodings and its slots.
//!
//! Two operations on 20 bytes make it: *add* exclusive-ors the SHA-1 of some bytes in, so that order does not matter;
//! *mix* adds, then replaces the whole by its own SHA-1, so that order does.
//!
//! ```text
//!   element of a set    add its text              element of a list   mix its text
//!   element of a zset   add of (mix member, mix score)
//!   field of a hash     add of (mix field, mix value)
//!   entry of a stream   mix "ms.seq", then mix each field and value
//!   key                 mix name, mix type, its elements, add "!!expire!!" if it has a deadline
//!   data set            per used database, ascending: mix number, add each key
//! ```

use std::ops::ControlFlow;

use sha1::{Digest as _, Sha1};

use crate::keyspace::{Entry, Part, Type, ValueRef};
use crate::slot::Slot;
use crate::types::Item;
use crate::types::number::F64Buffer;
use crate::types::stream::StreamId;

/// A signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// In order-independent contexts.
    fn add(&mut self, bytes: &[u8]) {
        self.merge(Digest(Sha1::digest(bytes).into()));
    }

    /// In order-dependent contexts.
    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn mix_item(&mut self, item: Item<'_>) {
        self.mix(item.text(&mut itoa::Buffer::new()));
    }

    /// Joins sums that were added up apart.
    pub fn merge(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
    }

    /// 40 hexadecimal digits.
    pub fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Of an entry's value and the presence of a deadline, added to what `self` is of.
    fn mix_entry(&mut self, entry: &Entry) {
        self.mix(&type_number(entry.kind()).to_be_bytes());
        match entry.value() {
            ValueRef::Int(n) => self.mix(itoa::Buffer::new().format(n).as_bytes()),
            ValueRef::Str(bytes) => self.mix(bytes),
            ValueRef::List(list) => list.visit(0, true, |item| {
                self.mix_item(item);
                ControlFlow::Continue(())
            }),
            ValueRef::Set(set) => set.visit(|item| {
                self.add(item.text(&mut itoa::Buffer::new()));
                ControlFlow::Continue(())
            }),
            ValueRef::ZSet(zset) => zset.visit(0..zset.len(), false, |member, score| {
                let mut element = Digest::default();
                element.mix_item(member);
                element.mix(F64Buffer::new().format_shortest(score));
                self.add(&element.0);
                ControlFlow::Continue(())
            }),
            ValueRef::Hash(hash) => hash.visit(|name, value| {
                let mut element = Digest::default();
                element.mix_item(name);
                element.mix_item(value.value);
                self.add(&element.0);
                ControlFlow::Continue(())
            }),
            ValueRef::Stream(stream) => stream.visit(StreamId::MIN, StreamId::MAX, |entry| {
                self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                entry.for_each(|field, value| {
                    self.mix_item(field);
                    self.mix_item(value);
                });
                ControlFlow::Continue(())
            }),
        }
        if entry.expiry().is_some() {
            self.add(b"!!expire!!");
        }
    }
}

/// The number Valkey has for a type.
fn type_number(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::ZSet => 3,
        Type::Hash => 4,
        Type::Stream => 6,
    }
}

/// The signature of one value; all zeros for a key that is not there.
pub fn of_value(entry: Option<&Entry>) -> Digest {
    let mut digest = Digest::default();
    if let Some(entry) = entry {
        digest.mix_entry(entry);
    }
    digest
}

/// The keys of one database of one part, added up; None if it has no keys. The sums of all parts are joined with
/// [`Digest::merge`] and go into [`of_databases`].
pub fn of_part(part: &Part, db: u32) -> Option<Digest> {
    let database = part.database(db).filter(|database| database.keys() > 0)?;
    let mut sum = Digest::default();
    let mut from = Slot(0);
    while let Some(slot) = database.next_used_slot(from, part.index()) {
        for entry in database.slot(slot).into_iter().flat_map(|table| table.table().iter()) {
            let mut key = Digest::default();
            key.mix(entry.key());
            key.mix_entry(entry);
            sum.add(&key.0);
        }
        from = Slot(slot.0 + 1);
    }
    Some(sum)
}

/// The signature of a data set, from the sums of its databases in ascending order; None for one without keys.
pub fn of_databases(sums: impl IntoIterator<Item = (u32, Option<Digest>)>) -> Digest {
    let mut digest = Digest::default();
    for (db, sum) in sums {
        if let Some(sum) = sum {
            digest.mix(&db.to_be_bytes());
            digest.merge(sum);
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Keyspace, NewValue, StringKind, Value};
    use crate::types::hash::{Deadline, Hash, HashLimits};
    use crate::types::list::{End, List};
    use crate::types::set::{Set, SetLimits};
    use crate::types::stream::{Stream, StreamLimits};
    use crate::types::zset::{ZSet, ZSetLimits};

    /// One key of each type, under the name that the test gives it.
    fn entries() -> Vec<Entry> {
        let mut list = List::new();
        ["a", "1", "b", "1"].iter().for_each(|text| list.push(text.as_bytes(), End::Tail));
        let mut set = Set::new();
        ["x", "2", "y"].iter().for_each(|text| assert!(set.add(text.as_bytes(), &SetLimits::default())));
        let mut zset = ZSet::new();
        for (member, score) in
            [("a", 1.5), ("b", 3.0), ("c", -0.1), ("d", 1e30), ("e", f64::INFINITY), ("f", 0.1)]
        {
            zset.set(member.as_bytes(), score, &ZSetLimits::default());
        }
        let mut hash = Hash::new();
        hash.set(b"f", b"v", Deadline::Keep, &HashLimits::default());
        hash.set(b"g", b"12", Deadline::Keep, &HashLimits::default());
        let mut stream = Stream::new();
        let limits = StreamLimits::default();
        stream.append(StreamId { ms: 5, seq: 1 }, &["a", "1", "b", "two"], &limits).expect("a first id");
        stream.append(StreamId { ms: 6, seq: 0 }, &["c", "d"], &limits).expect("a greater id");
        let owned = NewValue::Owned;
        vec![
            Entry::new(b"s", NewValue::Str(b"hello", StringKind::Embstr), None),
            Entry::new(b"i", NewValue::Int(12345), None),
            Entry::new(b"l", owned(Value::List(list)), None),
            Entry::new(b"st", owned(Value::Set(set)), None),
            Entry::new(b"z", owned(Value::ZSet(zset)), None),
            Entry::new(b"h", owned(Value::Hash(hash)), None),
            Entry::new(b"x", owned(Value::Stream(stream)), None),
        ]
    }

    /// The signatures below are those that Valkey 9.1.2 computed for the same keys.
    #[test]
    fn values_have_the_signatures_of_valkey() {
        let expected = [
            "36b23a1456b2dce2c3ed252c456761301dba8060",
            "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83",
            "c31f27fc80ad1f746550d6158ae8e825b3f646e5",
            "eccffdbd2837a69a1e4b1375f1229f14c0974e6e",
            "6635fd1e7183492364bb96aee6a8d03179f3df10",
            "8530acc75d5274eb0fc0da86f28ed5533274a6d4",
            "970f689fba3444d76f725f687157f77adbb47627",
        ];
        for (entry, expected) in entries().iter().zip(expected) {
            assert_eq!(of_value(Some(entry)).text(), expected, "{entry:?}");
        }
        assert_eq!(of_value(None).text(), "0".repeat(40));
        let mut with_deadline = entries().remove(0);
        with_deadline.set_expiry(Some(99_999_999_999_999));
        assert_eq!(of_value(Some(&with_deadline)).text(), "d037c4eb8a8b36b602fbced4000daeab0714c1e3");
    }

    /// Also from Valkey 9.1.2.
    #[test]
    fn large_round_scores_have_the_signatures_of_valkey() {
        let mut zset = ZSet::new();
        for (member, score) in [("a", 1e8), ("b", 1e15), ("c", 1.6e18), ("d", 123_456_789_012.0), ("e", -0.0)]
        {
            zset.set(member.as_bytes(), score, &ZSetLimits::default());
        }
        let entry = Entry::new(b"z", NewValue::Owned(Value::ZSet(zset)), None);
        assert_eq!(of_value(Some(&entry)).text(), "cf60646bd9290be338fff4c0cb2c61a47f48b0a9");
    }

    #[test]
    fn data_sets_have_the_signatures_of_valkey_on_any_number_of_workers() {
        for workers in [1, 3] {
            let mut keyspace =
                Keyspace::of_unit((0..workers).map(|index| Part::new(index, workers)).collect());
            let of = |keyspace: &Keyspace| {
                of_databases((0..16).map(|db| {
                    let sums = keyspace.parts().iter().filter_map(|part| of_part(part, db));
                    let join = |mut a: Digest, b| {
                        a.merge(b);
                        a
                    };
                    (db, sums.reduce(join))
                }))
                .text()
            };
            let put = |keyspace: &mut Keyspace, db, entry: Entry| {
                let (slot, hash) = (crate::slot::slot_of(entry.key()), crate::hash::hash(entry.key()));
                keyspace.part_mut(slot).database_or_new(db).insert(slot, hash, entry);
            };
            assert_eq!(of(&keyspace), "0".repeat(40));
            entries().into_iter().for_each(|entry| put(&mut keyspace, 0, entry));
            assert_eq!(of(&keyspace), "9824667315b61a68f9e34d1490d7d4f7e6a75c42");
            let slot = crate::slot::slot_of(b"s");
            let database = keyspace.part_mut(slot).database_or_new(0);
            database
                .find_mut(slot, crate::hash::hash(b"s"), b"s")
                .expect("just put there")
                .set_expiry(Some(99_999_999_999_999));
            put(&mut keyspace, 3, Entry::new(b"other", NewValue::Int(1), None));
            assert_eq!(of(&keyspace), "fe699c9f8da6fc5b8a1be756e07629eceabf750b");
        }
    }
}
