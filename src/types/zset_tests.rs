use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, f64>;

fn sorted_model(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn collect(set: &ZSet, ranks: Range<usize>, reverse: bool) -> Vec<(Vec<u8>, f64)> {
    let mut all = vec![];
    set.visit(ranks, reverse, |member, score| {
        all.push((member.to_vec(), score));
        ControlFlow::Continue(())
    });
    all
}

/// From an RDB file of Valkey 9.1.2 (spec page rdb.md, section 9).
#[test]
fn bytes_are_those_of_valkey() {
    let mut set = ZSet::new();
    for (member, score) in [("b", 2.5), ("a", 1.0)] {
        set.set(member.as_bytes(), score, &ZSetLimits::default());
    }
    let ZSet::Listpack(lp) = set else { panic!("two members fit a listpack") };
    let hex: String = lp.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "14000000040081610201018162028332 2e3504ff".replace(' ', ""));
}

#[test]
fn encodings_change_at_the_thresholds() {
    let limits = ZSetLimits::default();
    let mut set = ZSet::new();
    for i in 0..128 {
        set.set(format!("m{i}").as_bytes(), i as f64, &limits);
    }
    assert_eq!(set.encoding_name(), "listpack");
    set.set(b"m0", 500.0, &limits);
    assert_eq!(set.encoding_name(), "listpack");
    set.set(b"one more", 0.0, &limits);
    assert_eq!((set.encoding_name(), set.len()), ("skiplist", 129));
    set.remove(b"one more");
    set.convert_to_listpack_if_small(&limits);
    assert_eq!((set.encoding_name(), set.rank(b"m0")), ("listpack", Some((127, 500.0))));
    let mut set = ZSet::new();
    set.set(&[b'x'; 65], 0.0, &limits);
    assert_eq!(set.encoding_name(), "skiplist");
    assert_eq!(ZSet::for_members(129, 1, &limits).encoding_name(), "skiplist");
    assert_eq!(ZSet::for_members(128, 64, &limits).encoding_name(), "listpack");
}

#[test]
fn foreign_listpacks_are_checked() {
    let from = |texts: &[&str], entries| {
        let mut lp = Listpack::new();
        lp.push_all(texts.iter().map(|t| Item::parse(t.as_bytes())));
        ZSet::from_listpack(lp, &ZSetLimits { listpack_entries_max: entries, ..ZSetLimits::default() })
    };
    assert_eq!(from(&["a", "1", "b", "2.5"], 2).expect("members are distinct").encoding_name(), "listpack");
    assert_eq!(from(&["a", "1", "b", "2.5"], 1).expect("members are distinct").encoding_name(), "skiplist");
    assert!(from(&["a", "1", "b"], 9).is_none());
    assert!(from(&["a", "1", "a", "2"], 9).is_none());
    assert!(from(&["a", "1", "b", "nan"], 9).is_none());
}

/// Valkey keeps -0 in its large form and loses it in a listpack.
#[test]
fn negative_zero_survives_only_in_the_large_form() {
    let limits = ZSetLimits::default();
    let mut small = ZSet::new();
    small.set(b"m", -0.0, &limits);
    assert!(small.score(b"m").expect("it was set").is_sign_positive());
    let mut large = ZSet::for_members(1000, 1, &limits);
    large.set(b"m", -0.0, &limits);
    assert!(large.score(b"m").expect("it was set").is_sign_negative());
}

#[test]
fn large_sorted_sets_are_lean() {
    let limits = ZSetLimits::default();
    let mut set = ZSet::new();
    for i in 0..100_000u64 {
        // Random order of arrival, which leaves tree nodes partly filled.
        let score = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64;
        set.set(format!("member:{i:08}").as_bytes(), score, &limits);
    }
    let per_member = set.heap_bytes() as f64 / 100_000.0;
    assert!(per_member < 66.0, "{per_member}");
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(usize, usize),
    Reload,
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => (0i64..300).prop_map(|v| v.to_string().into_bytes()),
        2 => prop::collection::vec(b'a'..b'd', 0..5),
        1 => (60usize..300).prop_map(|n| vec![b'z'; n]),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-5i32..5).prop_map(f64::from),
        2 => (-100i32..100).prop_map(|v| f64::from(v) / 8.0),
        1 => -1e20f64..1e20,
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e-300)],
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (member(), score()).prop_map(|(m, s)| Op::Set(m, s)),
        2 => member().prop_map(Op::Remove),
        1 => (any::<usize>(), 0usize..10).prop_map(|(i, n)| Op::RemoveRanks(i, n)),
        1 => Just(Op::Reload),
    ]
}

fn check_score_range(set: &ZSet, all: &[(Vec<u8>, f64)], range: ScoreRange) {
    let want: Vec<_> = all.iter().filter(|m| !range.is_below(m.1) && !range.is_above(m.1)).cloned().collect();
    let ranks = set.ranks_by_score(&range);
    assert_eq!(collect(set, ranks.clone(), false), want, "{range:?}");
    let mut back = collect(set, ranks, true);
    back.reverse();
    assert_eq!(back, want);
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(
        ops in prop::collection::vec(op(), 0..300),
        entries in prop_oneof![Just(0usize), 0usize..200],
        bounds in prop::collection::vec((score(), any::<bool>(), score(), any::<bool>()), 5),
    ) {
        let limits = ZSetLimits { listpack_entries_max: entries, listpack_value_max: 64 };
        let (mut set, mut model) = (ZSet::new(), Model::new());
        for op in ops {
            match op {
                Op::Set(m, s) => prop_assert_eq!(set.set(&m, s, &limits), model.insert(m, s)),
                Op::Remove(m) => prop_assert_eq!(set.remove(&m), model.remove(&m)),
                Op::RemoveRanks(i, n) => {
                    let all = sorted_model(&model);
                    let start = i % (all.len() + 1);
                    let mut removed = vec![];
                    set.remove_ranks(start..start + n, |m, s| removed.push((m.to_vec(), s)));
                    prop_assert_eq!(&removed[..], &all[start..(start + n).min(all.len())]);
                    for (m, _) in removed {
                        model.remove(&m);
                    }
                }
                Op::Reload => {
                    let (tag, word) = set.into_raw();
                    // SAFETY: the pair comes from `into_raw` just before.
                    set = unsafe { ZSet::from_raw(tag, word) }.clone();
                }
            }
        }
        let all = sorted_model(&model);
        prop_assert_eq!(set.len(), all.len());
        prop_assert_eq!(&collect(&set, 0..all.len(), false), &all);
        for (rank, (m, s)) in all.iter().enumerate() {
            prop_assert_eq!(set.rank(m), Some((rank, *s)));
            prop_assert_eq!(set.score(m), Some(*s));
        }
        for (min, min_exclusive, max, max_exclusive) in bounds {
            check_score_range(&set, &all, ScoreRange { min, min_exclusive, max, max_exclusive });
        }
        let mut seen = Model::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, |m, s| _ = seen.insert(m.to_vec(), s));
            if cursor == 0 { break; }
        }
        prop_assert_eq!(seen, model);
        while !set.drop_some(3) {}
    }

    #[test]
    fn lexical_ranges_select_members(
        members in prop::collection::btree_set(prop::collection::vec(b'a'..b'e', 0..4), 0..60),
        min in prop::collection::vec(b'a'..b'e', 0..4),
        max in prop::collection::vec(b'a'..b'e', 0..4),
        kinds in (0u8..4, 0u8..4),
        large: bool,
    ) {
        fn bound(kind: u8, text: &[u8]) -> LexBound<'_> {
            match kind {
                0 => LexBound::Lowest,
                1 => LexBound::Highest,
                2 => LexBound::Inclusive(text),
                _ => LexBound::Exclusive(text),
            }
        }
        let limits = ZSetLimits { listpack_entries_max: if large { 0 } else { 1000 }, listpack_value_max: 64 };
        let mut set = ZSet::new();
        for member in &members {
            set.set(member, 0.0, &limits);
        }
        let range = LexRange { min: bound(kinds.0, &min), max: bound(kinds.1, &max) };
        let want: Vec<_> = members.iter().filter(|m| !range.is_below(m) && !range.is_above(m)).cloned().collect();
        for reverse in [false, true] {
            let got: Vec<_> = collect(&set, set.ranks_by_lex(&range, reverse), false).into_iter().map(|m| m.0).collect();
            prop_assert_eq!(&got, &want);
        }
    }
}
