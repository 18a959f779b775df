use super::*;
use proptest::prelude::*;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

fn foreign(bytes: &[u8]) -> Listpack {
    Listpack::from_foreign(bytes).expect("a node is a listpack")
}

type Model = BTreeMap<StreamId, Vec<(Vec<u8>, Vec<u8>)>>;

fn pairs(entry: &StreamEntry<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = vec![];
    entry.for_each(|field, value| all.push((field.to_vec(), value.to_vec())));
    assert_eq!(all.len(), entry.len());
    all
}

fn collect(stream: &Stream, start: StreamId, end: StreamId) -> Model {
    let mut all = Model::new();
    stream.visit(start, end, |entry| {
        all.insert(entry.id, pairs(entry));
        ControlFlow::Continue(())
    });
    all
}

/// The node decoded in spec page rdb.md, section 4.4 (from Valkey 9.1).
#[test]
fn bytes_are_those_of_valkey() {
    let mut stream = Stream::new();
    let limits = StreamLimits::default();
    stream.append(id(1000, 1), &["f", "v"], &limits).expect("ids only grow");
    stream.append(id(1000, 2), &["f", "w"], &limits).expect("ids only grow");
    stream.append(id(2000, 0), &["g", "h", "i", "j"], &limits).expect("ids only grow");
    assert!(stream.delete(id(1000, 2)) && !stream.delete(id(1000, 2)));
    let (master, bytes) = stream.nodes().next().expect("there are entries");
    assert_eq!(master, id(1000, 1));
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        "400000001800020101010101816602000102010001000181760204010301000101018177020401\
         0001c3e802dfff0202018167028168028169\
         02816a020801ff"
            .replace(' ', "")
    );
    assert_eq!((stream.len(), stream.first_id, stream.max_deleted_id), (2, id(1000, 1), id(1000, 2)));
}

#[test]
fn nodes_end_at_their_limits() {
    let mut stream = Stream::new();
    for ms in 1..=250 {
        stream.append(id(ms, 0), &["f", "v"], &StreamLimits::default()).expect("ids only grow");
    }
    assert_eq!(stream.nodes().map(|(id, _)| id.ms).collect::<Vec<_>>(), [1, 101, 201]);
    let small = StreamLimits { node_bytes_max: 100, node_entries_max: 0 };
    let mut stream = Stream::new();
    for ms in 1..=50 {
        stream.append(id(ms, 0), &["field", "a value of some length"], &small).expect("ids only grow");
    }
    assert!(stream.nodes().all(|(_, bytes)| bytes.len() < 160));
    assert_eq!(stream.append(id(50, 0), &["f", "v"], &small), Err(AppendError::IdNotGreater));
}

#[test]
fn approximate_trimming_removes_whole_nodes() {
    let mut stream = Stream::new();
    for ms in 1..=1000 {
        stream.append(id(ms, 0), &["f", "v"], &StreamLimits::default()).expect("ids only grow");
    }
    assert_eq!(stream.trim(Trim::MaxLen(550), true, None), 400);
    assert_eq!(stream.trim(Trim::MaxLen(0), true, Some(250)), 200);
    assert_eq!(stream.trim(Trim::MinId(id(650, 0)), true, None), 0);
    assert_eq!(stream.trim(Trim::MinId(id(650, 0)), false, None), 49);
    assert_eq!((stream.first_id, stream.len()), (id(650, 0), 351));
    assert_eq!(stream.max_deleted_id, StreamId::MIN);
}

#[test]
fn pending_entries_move_between_consumers() {
    let mut group = Group::new(StreamId::MIN, Some(0));
    let a = group.create_consumer(b"a", 5).expect("it is new");
    let b = group.create_consumer(b"b", 5).expect("it is new");
    assert_eq!(group.create_consumer(b"a", 5), None);
    let given = |consumer| Pending { consumer, delivered_ms: 7, deliveries: 1 };
    for seq in 0..4 {
        group.assign(id(1, seq), given(a)).expect("the consumer exists");
    }
    group.assign(id(1, 1), given(b)).expect("the consumer exists");
    assert_eq!(group.consumer(b"a").expect("it was created").pending().len(), 3);
    assert_eq!(group.name_of(group.pending()[&id(1, 1)].consumer), b"b");
    assert!(group.acknowledge(id(1, 1)) && !group.acknowledge(id(1, 1)));
    assert!(group.consumer(b"b").expect("it was created").pending().is_empty());
    assert_eq!(group.remove_consumer(b"a"), Some(3));
    assert!(group.pending().is_empty());
    assert_eq!(group.assign(id(1, 0), given(a)), None);
}

#[test]
fn lag_is_known_only_without_gaps() {
    let mut stream = Stream::new();
    for ms in 1..=5 {
        stream.append(id(ms, 0), &["f", "v"], &StreamLimits::default()).expect("ids only grow");
    }
    stream.create_group(b"g", id(1, 0), Some(1));
    assert_eq!(stream.lag(&stream.groups[&b"g"[..]]), Some(4));
    assert_eq!(stream.entries_read_at(id(0, 0)), Some(0));
    assert_eq!(stream.entries_read_at(id(1, 0)), Some(1));
    assert_eq!(stream.entries_read_at(id(3, 0)), None);
    assert_eq!(stream.entries_read_at(id(9, 0)), None);
    stream.delete(id(3, 0));
    assert_eq!(stream.lag(&stream.groups[&b"g"[..]]), None);
    assert!(!stream.create_group(b"g", id(1, 0), None));
}

/// Lags shown by XINFO GROUPS of Valkey 9.1.2. `+n` adds n-0, `-n` deletes it, `=n` trims to n entries; then the
/// group's last id and entries read.
#[test]
fn lags_are_those_of_valkey() {
    for (steps, last, read, want) in [
        ("+1 +2 +3 =2 -2 =3", 2, Some(1), Some(1)),
        ("+1 -1 +2", 0, Some(0), Some(1)),
        ("+1 -1", 2, Some(1), Some(0)),
        ("+1 =0 +2 +3", 0, Some(0), Some(3)),
        ("+1 +2 +3 =1", 2, Some(3), Some(0)),
        ("+1 +2 +3 -3 +4 +5 =2 +6 =3 +7 +8", 0, Some(4), Some(5)),
        ("+1 +2 +3 -3 +4 +5 =2 +6 =3 +7 +8 =1", 1, None, None),
        ("+1 -1 +2 +3", 1, Some(2), Some(2)),
        ("+1 +2 +3", 1, None, Some(2)),
        ("+1", 0, Some(1), Some(0)),
    ] {
        let mut stream = Stream::new();
        for step in steps.split(' ') {
            let n = step[1..].parse().expect("a number behind the sign");
            match &step[..1] {
                "+" => stream.append(id(n, 0), &["f", "v"], &StreamLimits::default()).expect("ids only grow"),
                "-" => assert!(stream.delete(id(n, 0))),
                _ => _ = stream.trim(Trim::MaxLen(n), false, None),
            }
        }
        assert_eq!(stream.lag(&Group::new(id(last, 0), read)), want, "{steps}, {last}, {read:?}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64, u64, Vec<(u8, i32)>),
    Delete(usize),
    Trim(usize, bool),
    TrimId(usize, bool),
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let fields = prop::collection::vec((0u8..3, any::<i32>()), 1..4);
    prop_oneof![
        20 => (0u64..3, 0u64..5, fields).prop_map(|(ms, seq, f)| Op::Add(ms, seq, f)),
        4 => any::<usize>().prop_map(Op::Delete),
        1 => (0usize..200, any::<bool>()).prop_map(|(n, a)| Op::Trim(n, a)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(n, a)| Op::TrimId(n, a)),
        1 => Just(Op::Reload),
    ]
}

fn nth(model: &Model, n: usize) -> Option<StreamId> {
    model.keys().nth(n.checked_rem(model.len())?).copied()
}

fn keep(stream: &Stream, model: &mut Model, trim: Trim, approximate: bool, removed: u64) {
    let extra = |model: &Model| match trim {
        Trim::MaxLen(max) => model.len() as u64 > max,
        Trim::MinId(min) => model.first_key_value().is_some_and(|(id, _)| *id < min),
    };
    for _ in 0..removed {
        assert!(extra(model));
        model.pop_first();
    }
    assert!(approximate || !extra(model));
    assert_eq!(stream.first_id, model.keys().next().copied().unwrap_or_default());
}

proptest! {
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 0..250), entries in 1i64..20, bytes in 0usize..400) {
        let limits = StreamLimits { node_bytes_max: bytes, node_entries_max: entries };
        let (mut stream, mut model) = (Stream::new(), Model::new());
        for op in ops {
            match op {
                Op::Add(ms, seq, fields) => {
                    let id = StreamId { ms: stream.last_id.ms + ms, seq: stream.last_id.seq / 2 + seq };
                    let flat: Vec<Vec<u8>> = fields.iter()
                        .flat_map(|(f, v)| [format!("f{f}").into_bytes(), v.to_string().into_bytes()])
                        .collect();
                    if stream.append(id, &flat, &limits).is_ok() {
                        model.insert(id, flat.chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect());
                    }
                }
                Op::Delete(n) => if let Some(id) = nth(&model, n) {
                    prop_assert!(stream.delete(id));
                    prop_assert!(!stream.contains(id));
                    model.remove(&id);
                },
                Op::Trim(n, approximate) => {
                    let trim = Trim::MaxLen(n as u64);
                    let removed = stream.trim(trim, approximate, None);
                    keep(&stream, &mut model, trim, approximate, removed);
                }
                Op::TrimId(n, approximate) => if let Some(id) = nth(&model, n) {
                    let removed = stream.trim(Trim::MinId(id), approximate, None);
                    keep(&stream, &mut model, Trim::MinId(id), approximate, removed);
                },
                Op::Reload => {
                    let mut copy = Stream::new();
                    for (id, bytes) in stream.nodes() {
                        copy.push_node(id, foreign(bytes)).expect("a node of a sound stream");
                    }
                    prop_assert!(copy.has_len(stream.len()));
                    copy.last_id = stream.last_id;
                    copy.first_id = stream.first_id;
                    let (tag, word) = copy.into_raw();
                    // SAFETY: the pair comes from `into_raw` just before.
                    stream = unsafe { Stream::from_raw(tag, word) };
                }
            }
            prop_assert_eq!(stream.len(), model.len() as u64);
            prop_assert_eq!(stream.first_id, model.keys().next().copied().unwrap_or_default());
        }
        prop_assert_eq!(&collect(&stream, StreamId::MIN, StreamId::MAX), &model);
        if let (Some(a), Some(b)) = (nth(&model, model.len() / 4), nth(&model, model.len() / 2)) {
            let part: Model = model.range(a..=b).map(|(k, v)| (*k, v.clone())).collect();
            prop_assert_eq!(&collect(&stream, a, b), &part);
            let mut back = vec![];
            stream.visit_back(a, b, |entry| { back.push((entry.id, pairs(entry))); ControlFlow::Continue(()) });
            prop_assert!(back.into_iter().eq(part.into_iter().rev()));
        }
        while !stream.drop_some(3) {}
    }

    #[test]
    fn damaged_nodes_are_refused_or_sound(damage in prop::collection::vec((any::<usize>(), -5i64..200), 1..4)) {
        let mut stream = Stream::new();
        for ms in 1..6u64 {
            stream.append(id(ms, 0), &["f", "v", "g", "w"], &StreamLimits::default()).expect("ids only grow");
            stream.append(id(ms, 1), &["h", "x"], &StreamLimits::default()).expect("ids only grow");
        }
        let mut lp = foreign(stream.nodes().next().expect("there are entries").1);
        for (i, v) in damage {
            let pos = lp.seek((i % lp.len()) as i64).expect("within the listpack");
            lp.replace(pos, super::super::Item::Int(v));
        }
        let mut copy = Stream::new();
        if copy.push_node(id(1, 0), lp).is_some() {
            let mut count = 0;
            copy.visit(StreamId::MIN, StreamId::MAX, |entry| { pairs(entry); count += 1; ControlFlow::Continue(()) });
            copy.visit_back(StreamId::MIN, StreamId::MAX, |entry| { pairs(entry); ControlFlow::Continue(()) });
            prop_assert!(count <= copy.len());
            copy.trim(Trim::MaxLen(1), false, None);
        }
    }
}
