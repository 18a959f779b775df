use super::*;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn texts(lp: &Listpack) -> Vec<Vec<u8>> {
    lp.iter().map(Item::to_vec).collect()
}

/// Blobs taken from DUMP payloads of Valkey 9.1.2 (spec page rdb.md, section 9).
#[test]
fn bytes_are_those_of_valkey() {
    let mut lp = Listpack::new();
    for text in ["a", "1", "300"] {
        lp.append(text.as_bytes());
    }
    assert_eq!(hex(lp.as_bytes()), "0f00000003008161020101c12c02ff");
    let mut lp = Listpack::new();
    for text in ["2.5", "b"] {
        lp.prepend(text.as_bytes());
    }
    assert_eq!(hex(lp.as_bytes()), "0f0000000200816202".to_owned() + "83322e3504ff");
}

#[test]
fn backlen_limits_are_those_of_valkey() {
    // (text length, backlen bytes) seen in DUMP of lists holding one such text.
    for (n, want) in [(121, "7b"), (122, "7c"), (16377, "7ffe"), (16378, "7fff"), (16379, "018080")] {
        let mut lp = Listpack::new();
        lp.append(&vec![b'x'; n]);
        let b = lp.as_bytes();
        assert_eq!(hex(&b[b.len() - 1 - want.len() / 2..b.len() - 1]), want, "text of {n}");
    }
}

#[test]
fn every_integer_width_survives() {
    let mut lp = Listpack::new();
    let mut all = vec![0, 127, 128, 4095, 4096, -1, -4096, -4097, i64::MAX, i64::MIN];
    for bits in [7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 40, 62] {
        for d in -1..=1 {
            all.extend([(1i64 << bits) + d, -(1i64 << bits) + d]);
        }
    }
    for v in &all {
        lp.append_int(*v);
    }
    assert_eq!(lp.iter().map(|i| i.as_int().expect("all are integers")).collect::<Vec<_>>(), all);
    assert_eq!(lp.iter().rev().filter_map(Item::as_int).count(), all.len());
    assert!(Listpack::from_foreign(lp.as_bytes()).is_some());
}

#[test]
fn count_field_gives_up_and_recovers() {
    let mut lp = Listpack::new();
    for _ in 0..65_534 {
        lp.append_int(1);
    }
    assert_eq!((lp.as_bytes()[4], lp.as_bytes()[5], lp.len()), (0xfe, 0xff, 65_534));
    lp.append_int(2);
    lp.append_int(3);
    assert_eq!((lp.as_bytes()[4], lp.as_bytes()[5], lp.len()), (0xff, 0xff, 65_536));
    assert!(lp.get(lp.seek(-1).expect("within the listpack")).is(b"3"));
    assert!(Listpack::from_foreign(lp.as_bytes()).is_some());
    lp.remove_range(0, 10);
    assert_eq!(lp.len(), 65_526);
    assert_eq!((lp.as_bytes()[4], lp.as_bytes()[5]), (0xf6, 0xff));
}

#[test]
fn find_skips_values() {
    let mut lp = Listpack::new();
    for text in ["a", "b", "b", "12", "12", "c"] {
        lp.append(text.as_bytes());
    }
    let field = lp.find(lp.first(), b"b", 1).expect("it is there");
    assert!(lp.get(lp.next(field).expect("another follows")).is(b"12"));
    assert!(
        lp.get(lp.next(lp.find(lp.first(), b"12", 1).expect("it is there")).expect("another follows"))
            .is(b"c")
    );
    assert_eq!(lp.find(lp.first(), b"c", 1), None);
    assert_eq!(Listpack::new().find(Listpack::new().first(), b"c", 0), None);
}

#[test]
fn duplicates_are_found_in_any_form() {
    let mut lp = Listpack::new();
    lp.push_all(["a", "1", "b", "1"].map(|t| Item::parse(t.as_bytes())).into_iter());
    assert_eq!(lp.len(), 4);
    assert!(lp.is_distinct(2) && !lp.is_distinct(1));
    let mut lp = Listpack::new();
    lp.push_all([Item::Str(b"12"), Item::Int(12)].into_iter());
    assert!(!lp.is_distinct(1));
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<u8>),
    Prepend(Vec<u8>),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    Split(usize),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        (-5000i64..5000).prop_map(|v| v.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
        (0usize..20_000).prop_map(|n| vec![b'y'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => text().prop_map(Op::Append),
        1 => text().prop_map(Op::Prepend),
        1 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Insert(i, t)),
        1 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Replace(i, t)),
        1 => (any::<usize>(), 0usize..4).prop_map(|(i, n)| Op::Remove(i, n)),
        1 => any::<usize>().prop_map(Op::Split),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn behaves_like_a_vector(ops in prop::collection::vec(op(), 0..60)) {
        let mut lp = Listpack::new();
        let mut model: Vec<Vec<u8>> = vec![];
        for op in ops {
            let at = |i: usize| i % model.len().max(1);
            match op {
                Op::Append(t) => { lp.append(&t); model.push(t); }
                Op::Prepend(t) => { lp.prepend(&t); model.insert(0, t); }
                _ if model.is_empty() => {}
                Op::Insert(i, t) => {
                    let i = at(i);
                    let pos = lp.seek(i as i64).expect("within the listpack");
                    let new = lp.insert_after(pos, Item::parse(&t));
                    prop_assert!(lp.get(new).is(&t));
                    model.insert(i + 1, t);
                }
                Op::Replace(i, t) => {
                    let i = at(i);
                    let pos = lp.seek(i as i64 - model.len() as i64).expect("within the listpack");
                    lp.replace(pos, Item::parse(&t));
                    model[i] = t;
                }
                Op::Remove(i, n) => {
                    let i = at(i);
                    lp.remove_range(i as i64, n);
                    model.drain(i..(i + n).min(model.len()));
                }
                Op::Split(i) => {
                    let i = at(i);
                    let tail = lp.split_off(lp.seek(i as i64).expect("within the listpack"));
                    prop_assert_eq!(texts(&tail), &model[i..]);
                    prop_assert_eq!(lp.len(), i);
                    lp.append_all(&tail);
                }
            }
            prop_assert_eq!(lp.len(), model.len());
        }
        prop_assert_eq!(texts(&lp), model.clone());
        let mut back: Vec<_> = lp.iter().rev().map(Item::to_vec).collect();
        back.reverse();
        prop_assert_eq!(&back, &model);
        for (i, t) in model.iter().enumerate() {
            prop_assert!(lp.get(lp.seek(i as i64).expect("within the listpack")).is(t));
            prop_assert!(lp.find(lp.first(), t, 0).is_some());
        }
        prop_assert!(Listpack::from_foreign(lp.as_bytes()).is_some());
    }

    #[test]
    fn damaged_bytes_are_refused_or_sound(
        items in prop::collection::vec(text(), 0..8),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in 0usize..3,
    ) {
        let mut lp = Listpack::new();
        for t in &items {
            lp.append(t);
        }
        let mut bytes = lp.as_bytes().to_vec();
        for (i, b) in damage {
            let i = i % bytes.len();
            bytes[i] = b;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        if let Some(lp) = Listpack::from_foreign(&bytes) {
            prop_assert_eq!(lp.iter().count(), lp.len());
            prop_assert_eq!(lp.iter().rev().count(), lp.len());
        }
    }
}
