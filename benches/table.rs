//! Nanoseconds per operation of the keyspace's table beside std's `HashSet` (hashbrown) with the same hash function
//! and the same elements: pointers to heap blocks that hold the key, so that both pay the same cache miss for a key.
//!
//! ```text
//! cargo bench --bench table [elements ...]
//! ```
//!
//! Preload the server's kind of allocator for its figures: `LD_PRELOAD=.../libjemalloc.so.2 target/.../table-...`.
//! On a shared 2-core machine, jemalloc: a million elements 60 ns present, 49 absent, 188 insert, 104 remove (std 73,
//! 39, 140, 102); a thousand elements 18, 15, 56, 42 (std 12, 9, 28, 17). The difference buys
//! a cursor, growth without pauses, and 12 bytes per element at any size, where std has 9 to 20.
//!
//! Each figure is the best of several rounds in which the two alternate; operations go over the keys in random order.

use skuld::hash::hash;
use skuld::keyspace::table::{Table, TableItem};
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::time::Instant;

/// A key of 16 bytes in a block of 48, like a small entry.
struct Item(Box<[u8; 48]>);

impl Item {
    fn new(number: u64) -> Self {
        let mut block = [0; 48];
        block[..16].copy_from_slice(&key_of(number));
        Item(Box::new(block))
    }
}

fn key_of(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    key[4..].copy_from_slice(format!("{number:012}").as_bytes());
    key
}

impl TableItem for Item {
    fn key(&self) -> &[u8] {
        &self.0[..16]
    }
}

impl Borrow<[u8]> for Item {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}
impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Item {}

/// The engine's hash function for std's table.
#[derive(Clone, Default)]
struct SameHash;
struct SameHasher(u64);
impl BuildHasher for SameHash {
    type Hasher = SameHasher;
    fn build_hasher(&self) -> SameHasher {
        SameHasher(0)
    }
}
impl Hasher for SameHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }
    fn write_usize(&mut self, _: usize) {}
}

/// Keys in random order; the same for every run.
fn shuffled(count: u64, first: u64) -> Vec<[u8; 16]> {
    let mut numbers: Vec<u64> = (first..first + count).collect();
    let mut state = 88_172_645_463_325_252u64;
    for index in (1..numbers.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers.swap(index, (state % (index as u64 + 1)) as usize);
    }
    numbers.into_iter().map(key_of).collect()
}

/// Nanoseconds per key of `work` over all keys, if better than `best`.
fn measure(best: &mut f64, keys: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    *best = best.min(start.elapsed().as_nanos() as f64 / keys as f64);
}

fn compare(elements: u64, tables: u64) {
    const ROUNDS: usize = 5;
    let all = elements * tables;
    let present = shuffled(all, 0);
    let absent = shuffled(all, all);
    let number =
        |key: &[u8; 16]| key[4..].iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    let of = |key: &[u8; 16]| (number(key) % tables) as usize;
    let mut ours = [f64::INFINITY; 5];
    let mut std = [f64::INFINITY; 5];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let mut sets: Vec<Table<Item>> = (0..tables).map(|_| Table::new()).collect();
        let items: Vec<Item> = present.iter().map(|key| Item::new(number(key))).collect();
        measure(&mut ours[0], all, || {
            for item in items {
                let index = of(item.key().try_into().expect("16 bytes"));
                sets[index].insert_new(hash(item.key()), item);
            }
        });
        bytes = sets.iter().map(Table::heap_bytes).sum::<usize>();
        measure(&mut ours[1], all, || {
            for key in &present {
                assert!(black_box(sets[of(key)].find(hash(key), key)).is_some());
            }
        });
        measure(&mut ours[2], all, || {
            for key in &absent {
                assert!(black_box(sets[of(key)].find(hash(key), key)).is_none());
            }
        });
        measure(&mut ours[3], all, || {
            let seen: usize = sets.iter().flat_map(Table::iter).map(|item| item.0[15] as usize).sum();
            black_box(seen);
        });
        let mut removed = Vec::with_capacity(all as usize);
        measure(&mut ours[4], all, || {
            for key in &present {
                removed.extend(sets[of(key)].remove(hash(key), key));
            }
        });
        drop((sets, removed));

        let mut sets: Vec<HashSet<Item, SameHash>> = (0..tables).map(|_| HashSet::default()).collect();
        let items: Vec<Item> = present.iter().map(|key| Item::new(number(key))).collect();
        measure(&mut std[0], all, || {
            for item in items {
                let index = of(item.key().try_into().expect("16 bytes"));
                sets[index].insert(item);
            }
        });
        measure(&mut std[1], all, || {
            for key in &present {
                assert!(black_box(sets[of(key)].get(&key[..])).is_some());
            }
        });
        measure(&mut std[2], all, || {
            for key in &absent {
                assert!(black_box(sets[of(key)].get(&key[..])).is_none());
            }
        });
        measure(&mut std[3], all, || {
            let seen: usize = sets.iter().flat_map(HashSet::iter).map(|item| item.0[15] as usize).sum();
            black_box(seen);
        });
        let mut removed = Vec::with_capacity(all as usize);
        measure(&mut std[4], all, || {
            for key in &present {
                removed.extend(sets[of(key)].take(&key[..]));
            }
        });
    }
    println!("{elements} elements x {tables} tables, {:.1} bytes per element", bytes as f64 / all as f64);
    for (index, name) in ["insert", "find, present", "find, absent", "iterate", "remove"].iter().enumerate() {
        println!("  {name:14} {:7.1} ns   std {:7.1} ns", ours[index], std[index]);
    }
}

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if !asked.is_empty() {
        return asked.into_iter().for_each(|elements| compare(elements, 1));
    }
    compare(20, 16_384);
    compare(1000, 1);
    compare(100_000, 1);
    compare(1_000_000, 1);
}
