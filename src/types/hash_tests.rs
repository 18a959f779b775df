use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn fields(hash: &Hash) -> Model {
    let mut all = Model::new();
    hash.visit(|name, value| {
        assert!(all.insert(name.to_vec(), (value.value.to_vec(), value.deadline_ms)).is_none());
        ControlFlow::Continue(())
    });
    assert_eq!(all.len(), hash.len());
    all
}

#[test]
fn encodings_change_at_the_thresholds() {
    let limits = HashLimits::default();
    let mut hash = Hash::new();
    for i in 0..512 {
        assert!(hash.set(format!("f{i}").as_bytes(), b"v", Deadline::Clear, &limits));
    }
    assert_eq!(hash.encoding_name(), "listpack");
    hash.set(b"one more", b"v", Deadline::Clear, &limits);
    assert_eq!(hash.encoding_name(), "hashtable");
    for (name, value, deadline, want) in [
        (64, 64, Deadline::Clear, "listpack"),
        (65, 1, Deadline::Clear, "hashtable"),
        (1, 65, Deadline::Keep, "hashtable"),
        (1, 1, Deadline::At(5), "hashtable"),
    ] {
        let mut hash = Hash::new();
        hash.set(&vec![b'f'; name], &vec![b'v'; value], deadline, &limits);
        assert_eq!(hash.encoding_name(), want);
    }
    let mut hash = Hash::new();
    hash.prepare_set(513, 1, 1, &limits);
    assert_eq!(hash.encoding_name(), "hashtable");
}

#[test]
fn due_fields_leave_in_order() {
    let (mut hash, limits) = (Hash::new(), HashLimits::default());
    for i in 0..100i64 {
        hash.set(i.to_string().as_bytes(), b"v", Deadline::At(1000 - i % 10), &limits);
    }
    hash.set(b"stays", b"v", Deadline::Clear, &limits);
    assert_eq!((hash.deadline_count(), hash.earliest_deadline_ms()), (100, Some(991)));
    assert_eq!(hash.remove_due(991, 1000, |_| panic!("nothing is due")), 0);
    let mut names = vec![];
    assert_eq!(hash.remove_due(993, 15, |name| names.push(name.to_vec())), 15);
    assert!(names[..10].iter().all(|name| name.ends_with(b"9")));
    assert_eq!(hash.remove_due(993, 15, |_| {}), 5);
    hash.set(b"0", b"w", Deadline::Keep, &limits);
    hash.set(b"10", b"w", Deadline::Clear, &limits);
    assert!(
        hash.set_deadline(b"20", None) && hash.set_deadline(b"30", Some(1)) && !hash.set_deadline(b"?", None)
    );
    assert_eq!((hash.deadline_count(), hash.earliest_deadline_ms()), (78, Some(1)));
    assert_eq!(hash.get(b"0").expect("it was set").deadline_ms, Some(1000));
    assert_eq!(hash.remove_due(i64::MAX, usize::MAX, |_| {}), 78);
    assert_eq!((hash.len(), hash.deadline_count()), (3, 0));
}

#[test]
fn large_hashes_are_lean() {
    let (mut hash, limits) = (Hash::new(), HashLimits::default());
    for i in 0..100_000 {
        hash.set(
            format!("field:{i:08}").as_bytes(),
            format!("value:{i:010}").as_bytes(),
            Deadline::Clear,
            &limits,
        );
    }
    let per_field = hash.heap_bytes() as f64 / 100_000.0;
    assert!(per_field < 53.0, "{per_field}");
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>, u8, i64),
    Deadline(Vec<u8>, Option<i64>),
    Remove(Vec<u8>),
    Due(i64, usize),
    Reload,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0i64..30).prop_map(|v| v.to_string().into_bytes()),
        prop::collection::vec(b'a'..b'd', 0..4),
        (60usize..300).prop_map(|n| vec![b'z'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (text(), text(), 0u8..6, 0i64..100).prop_map(|(n, v, k, ms)| Op::Set(n, v, k, ms)),
        2 => (text(), prop::option::of(0i64..100)).prop_map(|(n, d)| Op::Deadline(n, d)),
        3 => text().prop_map(Op::Remove),
        1 => (0i64..60, 0usize..5).prop_map(|(ms, n)| Op::Due(ms, n)),
        1 => Just(Op::Reload),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 0..120), entries in 0usize..30, value in 5usize..100, ttl: bool) {
        let limits = HashLimits { listpack_entries_max: entries, listpack_value_max: value };
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for op in ops {
            match op {
                Op::Set(n, v, kind, ms) => {
                    let old = model.get(&n).and_then(|f| f.1);
                    let (deadline, want) = match kind {
                        0 if ttl => (Deadline::At(ms), Some(ms)),
                        1 => (Deadline::Keep, old),
                        _ => (Deadline::Clear, None),
                    };
                    let new = hash.set(&n, &v, deadline, &limits);
                    prop_assert_eq!(new, model.insert(n, (v, want)).is_none());
                }
                Op::Deadline(n, d) if ttl => {
                    prop_assert_eq!(hash.set_deadline(&n, d), model.contains_key(&n));
                    if let Some(field) = model.get_mut(&n) { field.1 = d; }
                }
                Op::Deadline(..) => {}
                Op::Remove(n) => prop_assert_eq!(hash.remove(&n), model.remove(&n).is_some()),
                Op::Due(now, max) => {
                    let due = model.values().filter(|f| f.1.is_some_and(|d| d < now)).count();
                    let mut names = vec![];
                    prop_assert_eq!(hash.remove_due(now, max, |n| names.push(n.to_vec())), due.min(max));
                    for name in names {
                        prop_assert!(model.remove(&name).and_then(|field| field.1).is_some_and(|deadline| deadline < now));
                    }
                }
                Op::Reload => {
                    let (tag, word) = hash.into_raw();
                    // SAFETY: the pair comes from `into_raw` just before.
                    hash = unsafe { Hash::from_raw(tag, word) }.clone();
                }
            }
            prop_assert_eq!(hash.deadline_count(), model.values().filter(|f| f.1.is_some()).count());
            prop_assert_eq!(hash.earliest_deadline_ms(), model.values().filter_map(|f| f.1).min());
        }
        prop_assert_eq!(&fields(&hash), &model);
        for (name, (value, deadline)) in &model {
            let found = hash.get(name).expect("the model has it");
            prop_assert!(found.value.is(value) && found.deadline_ms == *deadline);
        }
        let mut seen = Model::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, |name, v| _ = seen.insert(name.to_vec(), (v.value.to_vec(), v.deadline_ms)));
            if cursor == 0 { break; }
        }
        prop_assert_eq!(&seen, &model);
        let random = hash.random(&mut || 12_345_678_901).map(|(name, _)| name.to_vec());
        prop_assert!(random.map_or(model.is_empty(), |name| model.contains_key(&name)));
        while !hash.drop_some(3) {}
    }
}
