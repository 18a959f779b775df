use super::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// An element that counts how many of its kind are alive.
struct Item(Box<Inner>);

struct Inner {
    key: [u8; 8],
    value: u64,
    alive: Rc<Cell<i64>>,
}

impl TableItem for Item {
    fn key(&self) -> &[u8] {
        &self.0.key
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

struct Fixture {
    table: Table<Item>,
    alive: Rc<Cell<i64>>,
}

impl Fixture {
    fn new() -> Self {
        Fixture { table: Table::new(), alive: Rc::new(Cell::new(0)) }
    }

    fn with(keys: std::ops::Range<u64>) -> Self {
        let mut fixture = Self::new();
        for key in keys {
            fixture.insert(key, key);
        }
        fixture
    }

    fn insert(&mut self, key: u64, value: u64) {
        self.alive.set(self.alive.get() + 1);
        let alive = self.alive.clone();
        let item = Item(Box::new(Inner { key: key.to_le_bytes(), value, alive }));
        let hash = hash_of(item.key());
        let place = self.table.insert_new(hash, item);
        assert_eq!(number(place), key, "the returned place is the element's");
    }

    fn get(&self, key: u64) -> Option<u64> {
        let bytes = key.to_le_bytes();
        self.table.find(hash_of(&bytes), &bytes).map(|item| item.0.value)
    }

    fn remove(&mut self, key: u64) -> Option<u64> {
        let bytes = key.to_le_bytes();
        self.table.remove(hash_of(&bytes), &bytes).map(|item| item.0.value)
    }

    /// The sizes that the counters claim, checked against a walk over everything.
    fn check(&self, model: &HashMap<u64, u64>) {
        assert_eq!(self.table.len(), model.len());
        assert_eq!(self.table.is_empty(), model.is_empty());
        assert_eq!(self.alive.get(), model.len() as i64);
        let all: HashMap<u64, u64> = self.table.iter().map(|item| (number(item), item.0.value)).collect();
        assert_eq!(&all, model);
        assert_eq!(self.table.iter().count(), model.len());
        assert_eq!(self.table.iter().len(), model.len());
    }
}

fn number(item: &Item) -> u64 {
    u64::from_le_bytes(item.0.key)
}

fn random_bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn scan_all(table: &Table<Item>) -> Vec<u64> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = table.scan(cursor, &mut |item| seen.push(number(item)));
        if cursor == 0 {
            return seen;
        }
    }
}

#[test]
fn a_table_is_two_words() {
    assert_eq!(size_of::<Table<Item>>(), 16);
}

#[test]
fn every_size_up_and_down_keeps_all_elements() {
    let sizes = if cfg!(miri) || std::env::var_os("SKULD_TEST_SMALL").is_some() { 600 } else { 9000 };
    let mut fixture = Fixture::new();
    let mut model = HashMap::new();
    for key in 0..sizes {
        assert_eq!(fixture.get(key), None);
        fixture.insert(key, key * 3);
        model.insert(key, key * 3);
        assert_eq!(fixture.get(key), Some(key * 3));
        if key < 200 || key % 500 < 2 {
            fixture.check(&model);
            let mut scanned = scan_all(&fixture.table);
            scanned.sort_unstable();
            assert!(scanned.into_iter().eq(0..=key), "an unchanging table is scanned exactly once");
        }
    }
    for key in 0..sizes {
        assert_eq!(fixture.remove(key), Some(key * 3));
        assert_eq!(fixture.remove(key), None);
        model.remove(&key);
        if sizes - key < 200 || key % 500 < 2 {
            fixture.check(&model);
        }
    }
    assert_eq!(fixture.table.heap_bytes(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64),
    Remove(u64),
    Change(u64),
    FindOrInsert(u64),
    RemoveMany(u64, u64),
    InsertMany(u64, u64),
    ScanRemove(u64, u64),
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u64..3000;
    let step = prop_oneof![
        8 => key.clone().prop_map(Step::Insert),
        8 => key.clone().prop_map(Step::Remove),
        2 => key.clone().prop_map(Step::Change),
        2 => key.clone().prop_map(Step::FindOrInsert),
        2 => (key.clone(), 1u64..1500).prop_map(|(a, b)| Step::InsertMany(a, b)),
        2 => (key.clone(), 1u64..1500).prop_map(|(a, b)| Step::RemoveMany(a, b)),
        1 => (any::<u64>(), 2u64..5).prop_map(|(a, b)| Step::ScanRemove(a, b)),
        1 => (0usize..40).prop_map(Step::Take),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn behaves_like_a_map(steps in steps(), salt in any::<u64>()) {
        let mut fixture = Fixture::new();
        let mut model: HashMap<u64, u64> = HashMap::new();
        for (number_of_step, step) in steps.into_iter().enumerate() {
            let value = number_of_step as u64;
            let put = |fixture: &mut Fixture, model: &mut HashMap<u64, u64>, key: u64| {
                model.entry(key).or_insert_with(|| {
                    fixture.insert(key, value);
                    value
                });
            };
            match step {
                Step::Insert(key) => put(&mut fixture, &mut model, key ^ salt),
                Step::InsertMany(first, count) => {
                    (first..first + count).for_each(|key| put(&mut fixture, &mut model, key ^ salt));
                }
                Step::Remove(key) => {
                    prop_assert_eq!(fixture.remove(key ^ salt), model.remove(&(key ^ salt)));
                }
                Step::RemoveMany(first, count) => {
                    for key in first..first + count {
                        prop_assert_eq!(fixture.remove(key ^ salt), model.remove(&(key ^ salt)));
                    }
                }
                Step::Change(key) => {
                    let bytes = (key ^ salt).to_le_bytes();
                    let found = fixture.table.find_mut(hash_of(&bytes), &bytes);
                    prop_assert_eq!(found.is_some(), model.contains_key(&(key ^ salt)));
                    if let Some(item) = found {
                        item.0.value = value;
                        model.insert(key ^ salt, value);
                    }
                }
                Step::FindOrInsert(key) => {
                    let bytes = (key ^ salt).to_le_bytes();
                    let alive = fixture.alive.clone();
                    let (item, is_new) = fixture.table.find_or_insert_with(hash_of(&bytes), &bytes, || {
                        alive.set(alive.get() + 1);
                        Item(Box::new(Inner { key: bytes, value, alive }))
                    });
                    prop_assert_eq!(number(item), key ^ salt);
                    prop_assert_eq!(is_new, !model.contains_key(&(key ^ salt)));
                    model.entry(key ^ salt).or_insert(value);
                }
                Step::ScanRemove(cursor, divisor) => {
                    let mut visited = 0;
                    let mut taken = Vec::new();
                    fixture.table.scan_remove(
                        cursor,
                        &mut |item| { visited += 1; number(item).is_multiple_of(divisor) },
                        &mut |item| taken.push(number(&item)),
                    );
                    prop_assert!(taken.len() <= visited);
                    for key in taken {
                        prop_assert_eq!(key % divisor, 0);
                        prop_assert!(model.remove(&key).is_some());
                    }
                }
                Step::Take(limit) => {
                    let mut taken = Vec::new();
                    let more = fixture.table.take_some(limit, &mut |item| taken.push(number(&item)));
                    prop_assert_eq!(taken.len(), limit.min(model.len()));
                    for key in taken {
                        prop_assert!(model.remove(&key).is_some());
                    }
                    prop_assert_eq!(more, !model.is_empty());
                }
            }
            fixture.check(&model);
        }
        let alive = fixture.alive.clone();
        drop(fixture);
        prop_assert_eq!(alive.get(), 0);
    }

    /// The promise of SCAN: what is there from the first step to the last is seen, whatever happens in between.
    #[test]
    fn scan_sees_what_stays(
        stay in 0u64..700,
        // Per scan step: insert that many passing elements, or remove that many of them.
        churn in proptest::collection::vec(-120i64..120, 1..300),
        passing_at_start in 0u64..3000,
        salt in any::<u64>(),
    ) {
        let mut fixture = Fixture::new();
        (0..stay).for_each(|key| fixture.insert(key ^ salt, 0));
        let mut passing: Vec<u64> = (0..passing_at_start).map(|key| (1_000_000 + key) ^ salt).collect();
        let mut next = 2_000_000u64;
        passing.iter().for_each(|&key| fixture.insert(key, 0));
        let mut seen = HashSet::new();
        let (mut cursor, mut calls) = (0, 0);
        loop {
            cursor = fixture.table.scan(cursor, &mut |item| { seen.insert(number(item)); });
            if cursor == 0 {
                break;
            }
            // Insertions without end could outrun the scan, as they can with any cursor.
            let change = churn.get(calls).copied().unwrap_or(0);
            calls += 1;
            prop_assert!(calls < 10_000, "the scan does not end");
            for _ in 0..change.unsigned_abs() {
                if change > 0 {
                    fixture.insert(next ^ salt, 0);
                    passing.push(next ^ salt);
                    next += 1;
                } else if let Some(key) = passing.pop() {
                    prop_assert!(fixture.remove(key).is_some());
                }
            }
        }
        for key in 0..stay {
            prop_assert!(seen.contains(&(key ^ salt)), "element {} of {} was missed", key, stay);
        }
    }
}

#[test]
fn scan_sees_what_stays_while_the_table_empties_and_fills() {
    for total in [1u64, 2, 3, 7, 8, 12, 13, 14, 19, 20, 60, 450, 3584, 3590, 4000] {
        for stay in [1, total / 3 + 1, total] {
            let mut fixture = Fixture::with(0..total);
            let (mut seen, mut cursor, mut calls) = (HashSet::new(), 0, 0u64);
            let mut next = total;
            let mut oldest = stay;
            loop {
                cursor = fixture.table.scan(cursor, &mut |item| {
                    seen.insert(number(item));
                });
                if cursor == 0 {
                    break;
                }
                // Alternate between phases of shrinking to `stay` and of growing.
                for _ in 0..40 {
                    if calls / 40 % 2 == 0 && oldest < next {
                        assert!(fixture.remove(oldest).is_some());
                        oldest += 1;
                    } else {
                        fixture.insert(next, 0);
                        next += 1;
                    }
                }
                calls += 1;
            }
            for key in 0..stay {
                assert!(seen.contains(&key), "element {key} of {total} ({stay} stay)");
            }
        }
    }
}

#[test]
fn any_cursor_is_harmless() {
    let mut rng = random_bits(5);
    for total in [0, 1, 2, 8, 13, 100, 4000] {
        let fixture = Fixture::with(0..total);
        for cursor in [0, 1, u64::MAX, 1 << 63, rng(), rng(), rng()] {
            let next = fixture.table.scan(cursor, &mut |_| {});
            assert!(next < 2048, "{next}: cursors stay small, callers pack the slot beside them");
        }
    }
}

#[test]
fn bytes_per_element_are_bounded() {
    let mut worst = BTreeMap::new();
    for total in (1..=100u64).chain([150, 250, 400, 700, 1000, 1500, 3000, 3600, 5000, 20_000]) {
        // Many tables of the same size, because one small table is only one draw of the hash.
        let tables = (4000 / total).max(2);
        let bytes: usize = (0..tables)
            .map(|number| Fixture::with(number << 32..(number << 32) + total).table.heap_bytes())
            .sum();
        let per_element = bytes as f64 / (tables * total) as f64;
        println!("{total} elements: {per_element:.1} bytes each");
        worst.insert(total, per_element);
    }
    for (total, bytes) in worst {
        let bound = if total <= 2 { 16.0 } else { 13.2 };
        assert!(bytes <= bound, "{bytes:.2} bytes per element at {total}");
    }
}

#[test]
#[ignore = "a minute in a debug build; prints the table of docs"]
fn bytes_per_element_of_large_tables() {
    struct Number(Box<[u8; 8]>);
    impl TableItem for Number {
        fn key(&self) -> &[u8] {
            &self.0[..]
        }
    }
    let mut table = Table::new();
    for key in 0..4_000_000u64 {
        let item = Number(Box::new(key.to_le_bytes()));
        table.insert_new(hash_of(&key.to_le_bytes()), item);
        if (key + 1) % 250_000 == 0 {
            let bytes = table.heap_bytes() as f64 / (key + 1) as f64;
            println!("{} elements: {bytes:.2} bytes each", key + 1);
            assert!(bytes < 12.3);
        }
    }
}

#[test]
fn memory_follows_removals() {
    let mut fixture = Fixture::with(0..20_000);
    for key in 0..19_000 {
        fixture.remove(key);
    }
    let bytes = fixture.table.heap_bytes();
    assert!(bytes < 1000 * 17, "{bytes} bytes for 1000 elements after shrinking");
}

#[test]
fn growing_and_shrinking_around_a_threshold_does_not_thrash() {
    let mut fixture = Fixture::with(0..4001);
    let buckets = fixture.table.state.buckets();
    for round in 0..1000 {
        fixture.remove(round);
        fixture.insert(round, 0);
    }
    assert!(fixture.table.state.buckets() <= buckets + 1, "stable size, stable number of buckets");
    assert!(fixture.table.state.buckets() >= buckets);
}

#[test]
fn random_is_close_to_uniform() {
    for total in [1u64, 2, 5, 12, 13, 40, 100, 700, 5000] {
        let fixture = Fixture::with(0..total);
        let mut rng = random_bits(total);
        let mut hits = vec![0u64; total as usize];
        let draws = total * 100;
        for _ in 0..draws {
            let item = fixture.table.random(&mut rng).expect("not empty");
            hits[number(item) as usize] += 1;
        }
        // Chi-square: the mean is `total - 1`, the deviation its root of two.
        let chi: f64 = hits.iter().map(|&count| (count as f64 - 100.0).powi(2) / 100.0).sum();
        let (mean, deviation) = (total as f64 - 1.0, (2.0 * total as f64).sqrt());
        assert!(chi < mean + 6.0 * deviation, "{total} elements: chi-square {chi}");
        assert!(hits.iter().all(|&count| count > 20), "all are reached");
    }
    assert!(Table::<Item>::new().random(&mut || 0).is_none());
}

#[test]
fn a_generator_that_is_not_random_ends() {
    let mut fixture = Fixture::with(0..2000);
    for constant in [0, 1, 31, u64::MAX] {
        assert!(fixture.table.random(&mut || constant).is_some());
    }
    // A table that was mostly taken apart from the end has empty buckets.
    fixture.table.take_some(1990, &mut drop);
    for constant in [0, 1, 31, u64::MAX] {
        assert!(fixture.table.random(&mut || constant).is_some());
    }
}

#[test]
fn samples_are_different_elements() {
    let mut rng = random_bits(11);
    for total in [0u64, 1, 2, 9, 13, 50, 4000] {
        let fixture = Fixture::with(0..total);
        let mut reached = HashSet::new();
        for _ in 0..total * 5 + 1 {
            for wanted in [0, 1, 5, 20] {
                let mut sample = HashSet::new();
                let visited = fixture.table.sample(wanted, &mut rng, &mut |item| {
                    assert!(sample.insert(number(item)), "visited twice");
                });
                assert_eq!(visited, sample.len());
                assert_eq!(visited, wanted.min(total as usize));
                reached.extend(sample);
            }
        }
        assert!(reached.len() as u64 >= total * 99 / 100, "{} of {total} reached", reached.len());
    }
}

#[test]
fn taking_apart_in_steps_yields_each_once_and_frees_memory() {
    for total in [0u64, 1, 2, 12, 13, 100, 4000, 8000] {
        let mut fixture = Fixture::with(0..total);
        let before = fixture.table.heap_bytes();
        let mut taken = HashSet::new();
        let mut calls = 0;
        while fixture.table.take_some(100, &mut |item| assert!(taken.insert(number(&item)))) {
            calls += 1;
            let left = total - taken.len() as u64;
            assert_eq!(fixture.table.len() as u64, left);
            if total > 1000 && left < total / 2 {
                assert!(fixture.table.heap_bytes() < before * 2 / 3, "memory is freed on the way");
            }
        }
        assert!(calls as u64 <= total / 100);
        assert_eq!(taken.len() as u64, total);
        assert_eq!(fixture.alive.get(), 0);
        // What was taken apart can be filled again.
        fixture.insert(7, 7);
        assert_eq!(fixture.get(7), Some(7));
    }
}

#[test]
fn half_a_hash_is_enough_to_find_an_element() {
    for total in [0u64, 1, 2, 12, 13, 4000] {
        let fixture = Fixture::with(0..total);
        for key in 0..total + 10 {
            let low = hash_of(&key.to_le_bytes()) as u32;
            let found = fixture.table.find_by_low_hash(low, &mut |item| number(item) == key);
            assert_eq!(found.map(number), (key < total).then_some(key));
            assert!(fixture.table.find_by_low_hash(low, &mut |_| false).is_none());
        }
    }
}

#[test]
fn iter_mut_reaches_all_and_changes_stay() {
    for total in [0u64, 1, 2, 12, 13, 4000] {
        let mut fixture = Fixture::with(0..total);
        fixture.table.iter_mut().for_each(|item| item.0.value += 1);
        assert!((0..total).all(|key| fixture.get(key) == Some(key + 1)));
    }
}

#[test]
fn a_chain_of_many_elements_with_one_hash_works() {
    // Defeat the hash: claim the same one for all keys of a table of one bucket, then take them out again.
    let mut units = 0;
    // SAFETY: the chain is owned by this test alone.
    unsafe {
        let alive = Rc::new(Cell::new(100));
        let item = |key: u64| {
            let alive = alive.clone();
            Item(Box::new(Inner { key: key.to_le_bytes(), value: key, alive }))
        };
        let mut spill = Spill::new();
        (0..2).for_each(|key| spill.push(9, item(key)));
        let mut link = Node::build(&mut spill, &mut units);
        for key in 2..100 {
            let place = Node::push_at_link(&mut link, 9, item(key), &mut units);
            assert_eq!(number(&*place), key);
            assert_eq!(link.chain_count() as u64, key + 1);
        }
        let mut rng = random_bits(3);
        let mut keys: Vec<u64> = (0..100).collect();
        while keys.len() > 1 {
            let key = keys.swap_remove((rng() % keys.len() as u64) as usize);
            let (node, index) = link.find(9, |item| number(item) == key).expect("still there");
            let taken = Node::remove_at_link(&mut link, node, index, &mut units);
            assert_eq!(number(&taken), key);
            assert!(keys.iter().all(|&key| link.find(9, |item| number(item) == key).is_some()));
        }
        assert_eq!(number(&link.take_single(&mut units)), keys[0]);
        assert_eq!((units, alive.get()), (0, 0));
    }
}
