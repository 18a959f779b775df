use super::*;
use proptest::prelude::*;

fn texts(list: &List) -> Vec<Vec<u8>> {
    let mut all = vec![];
    list.visit_range(0, usize::MAX, |item| all.push(item.to_vec()));
    all
}

/// (kind, bytes, entries) of each node.
fn nodes(list: &List) -> Vec<(NodeKind, usize, usize)> {
    let mut all = vec![];
    list.for_each_node(|kind, bytes| {
        let count = match kind {
            NodeKind::Plain => 1,
            NodeKind::Packed => Listpack::from_foreign(bytes).expect("a node is a listpack").len(),
        };
        all.push((kind, bytes.len(), count));
    });
    all
}

fn set(list: &mut List, index: usize, text: &[u8], limits: &ListLimits) {
    list.prepare_push(text.len(), 1, limits);
    list.replace(index, text);
    list.shrink(limits);
}

fn filled(texts: &[&[u8]], limits: &ListLimits) -> List {
    let mut list = List::new();
    list.prepare_push(texts.iter().map(|t| t.len()).sum(), texts.len(), limits);
    for text in texts {
        list.push(text, End::Tail);
    }
    list
}

/// Nodes seen in DUMP of Valkey 9.1.2 after the same commands.
#[test]
fn nodes_are_those_of_valkey() {
    use NodeKind::{Packed, Plain};
    let limits = ListLimits { max_listpack_size: -1, ..ListLimits::default() };
    let mut list = filled(&[&[b'x'; 100][..]; 100], &limits);
    assert_eq!(nodes(&list), [(Packed, 4024, 39), (Packed, 4024, 39), (Packed, 2273, 22)]);
    set(&mut list, 5, &[b'y'; 1000], &limits);
    assert_eq!(nodes(&list)[0], (Packed, 4925, 39));
    set(&mut list, 5, &[b'z'; 5000], &limits);
    assert_eq!(nodes(&list)[..3], [(Packed, 522, 5), (Plain, 5000, 1), (Packed, 3406, 33)]);
    set(&mut list, 5, b"y", &limits);
    assert_eq!(nodes(&list)[..3], [(Packed, 522, 5), (Packed, 3409, 34), (Packed, 4024, 39)]);
}

#[test]
fn shrinks_back_at_half_a_node() {
    let limits = ListLimits { max_listpack_size: 3, ..ListLimits::default() };
    let all: Vec<&[u8]> = b"abcdefghij".chunks(1).collect();
    let mut list = filled(&all, &limits);
    assert_eq!(nodes(&list).iter().map(|n| n.2).collect::<Vec<_>>(), [3, 3, 3, 1]);
    for _ in 0..8 {
        list.pop(End::Head);
        list.shrink(&limits);
        assert_eq!(list.encoding_name(), "quicklist");
    }
    list.pop(End::Head);
    list.shrink(&limits);
    assert_eq!(list.encoding_name(), "listpack");
    assert_eq!(texts(&list), [b"j"]);
}

#[test]
fn inner_nodes_are_compressed_and_ends_are_not() {
    let limits = ListLimits { max_listpack_size: 8, compress_depth: 2, ..ListLimits::default() };
    let mut list = List::new();
    for i in 0..200 {
        let text = format!("element element element {i}");
        list.prepare_push(text.len(), 1, &limits);
        list.push(text.as_bytes(), End::Tail);
    }
    let List::Quicklist(ql) = &mut list else { panic!("long lists are quicklists") };
    assert_eq!((ql.node_statistics().0, ql.node_statistics().1), (25, 21));
    ql.remove_range(0, 8 * 10);
    assert_eq!((ql.node_statistics().0, ql.node_statistics().1), (15, 11));
    ql.remove_range(0, 8 * 12);
    assert_eq!((ql.node_statistics().0, ql.node_statistics().1), (3, 0));
}

#[derive(Clone, Debug)]
enum Op {
    Push(Vec<Vec<u8>>, bool),
    Pop(bool),
    Insert(usize, Vec<u8>, bool),
    Set(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(usize, bool, usize),
    Reload,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0i64..5).prop_map(|v| v.to_string().into_bytes()),
        4 => (0usize..150).prop_map(|n| vec![b'a'; n]),
        1 => (3000usize..10_000).prop_map(|n| vec![b'b'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::collection::vec(text(), 1..8), any::<bool>()).prop_map(|(t, e)| Op::Push(t, e)),
        1 => any::<bool>().prop_map(Op::Pop),
        3 => (any::<usize>(), text(), any::<bool>()).prop_map(|(i, t, a)| Op::Insert(i, t, a)),
        2 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Set(i, t)),
        1 => (any::<usize>(), 0usize..20).prop_map(|(i, n)| Op::Remove(i, n)),
        1 => (any::<usize>(), any::<bool>(), 1usize..4).prop_map(|(i, e, n)| Op::RemoveEqual(i, e, n)),
        1 => Just(Op::Reload),
    ]
}

fn end(tail: bool) -> End {
    if tail { End::Tail } else { End::Head }
}

fn apply(list: &mut List, model: &mut Vec<Vec<u8>>, op: Op, limits: &ListLimits) {
    match op {
        Op::Push(all, tail) => {
            list.prepare_push(all.iter().map(Vec::len).sum(), all.len(), limits);
            for t in all {
                list.push(&t, end(tail));
                model.insert(if tail { model.len() } else { 0 }, t);
            }
        }
        _ if model.is_empty() => {}
        Op::Pop(tail) => {
            let want = if tail { model.pop().expect("the model is not empty") } else { model.remove(0) };
            assert_eq!(list.pop(end(tail)).expect("as long as the model").into_vec(), want);
            list.shrink(limits);
        }
        Op::Insert(i, t, after) => {
            let i = i % model.len();
            list.prepare_push(t.len(), 1, limits);
            list.insert(i, &t, after);
            model.insert(i + usize::from(after), t);
        }
        Op::Set(i, t) => {
            let i = i % model.len();
            set(list, i, &t, limits);
            model[i] = t;
        }
        Op::Remove(i, n) => {
            let i = i % model.len();
            list.remove_range(i, n);
            model.drain(i..(i + n).min(model.len()));
            list.shrink(limits);
        }
        Op::RemoveEqual(i, tail, n) => {
            let t = model[i % model.len()].clone();
            let mut at: Vec<usize> = (0..model.len()).filter(|i| model[*i] == t).collect();
            if tail {
                at.reverse();
            }
            at.truncate(n);
            assert_eq!(list.remove_equal(&t, end(tail), n), at.len());
            at.sort_unstable();
            for i in at.into_iter().rev() {
                model.remove(i);
            }
            list.shrink(limits);
        }
        Op::Reload => {
            let (tag, word) = std::mem::take(list).into_raw();
            // SAFETY: the pair comes from `into_raw` just before.
            *list = unsafe { List::from_raw(tag, word) }.clone();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_like_a_vector(
        ops in prop::collection::vec(op(), 0..50),
        size in prop_oneof![Just(-1), Just(-2), 0i32..6],
        depth in 0u32..3,
        threshold in prop_oneof![3 => Just(0usize), 1 => Just(50)],
    ) {
        let limits = ListLimits { max_listpack_size: size, compress_depth: depth, packed_threshold: threshold };
        let (mut list, mut model) = (List::new(), vec![]);
        for op in ops {
            apply(&mut list, &mut model, op, &limits);
            prop_assert_eq!(list.len(), model.len());
        }
        prop_assert_eq!(texts(&list), model.clone());
        let mut back = vec![];
        if let Some(last) = model.len().checked_sub(1) {
            list.visit(last, false, |item| { back.push(item.to_vec()); ControlFlow::Continue(()) });
        }
        back.reverse();
        prop_assert_eq!(&back, &model);
        prop_assert_eq!(list.get(model.len() / 2, |item| item.to_vec()), model.get(model.len() / 2).cloned());
        prop_assert!(nodes(&list).iter().all(|n| n.2 > 0) || model.is_empty());
        while !list.drop_some(2) {}
    }
}
