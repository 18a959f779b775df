//! An ordered sequence with ranks: a B+ tree whose inner nodes count the items below each child, so that insertion,
//! removal, rank of an item and item of a rank all take O(log n).
//!
//! The tree neither compares nor owns what it holds: callers pass a closure that orders an item against what they look
//! for. Inner nodes keep a copy of the first item of each child, always a current one, never a removed one, because
//! items may be pointers.

use std::cmp::Ordering;

/// Items in a leaf, and children of an inner node.
const WIDTH: usize = 64;
/// Nodes below this join a neighbour when both fit in three quarters of a node.
const SPARSE: usize = WIDTH / 4;

enum Node<R> {
    Leaf(Vec<R>),
    // Boxed: inner nodes are few, and a leaf must not pay for their size.
    Inner(Box<Inner<R>>),
}

struct Inner<R> {
    /// The first item of each child.
    firsts: Vec<R>,
    /// The number of items below each child.
    counts: Vec<usize>,
    children: Vec<Node<R>>,
}

/// An ordered sequence of items; see the module.
pub struct RankTree<R> {
    root: Node<R>,
    len: usize,
}

impl<R: Copy> Default for RankTree<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Copy> Inner<R> {
    fn new() -> Self {
        // One more than the width: a node overflows before it splits.
        Inner {
            firsts: Vec::with_capacity(WIDTH + 1),
            counts: Vec::with_capacity(WIDTH + 1),
            children: Vec::with_capacity(WIDTH + 1),
        }
    }

    /// The child that holds, or would hold, the item that `order` looks for.
    fn child_for(&self, order: &mut dyn FnMut(&R) -> Ordering) -> usize {
        self.firsts.partition_point(|first| order(first) != Ordering::Greater).saturating_sub(1)
    }

    fn count(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Records what child `at` has become.
    fn refresh(&mut self, at: usize) {
        self.counts[at] = self.children[at].count();
        if let Some(first) = self.children[at].first() {
            self.firsts[at] = first;
        }
    }

    fn add_child(&mut self, at: usize, child: Node<R>) {
        if let Some(first) = child.first() {
            self.firsts.insert(at, first);
            self.counts.insert(at, child.count());
            self.children.insert(at, child);
        }
    }

    fn split_off(&mut self, at: usize) -> Inner<R> {
        let mut right = Inner::new();
        right.firsts.extend(self.firsts.drain(at..));
        right.counts.extend(self.counts.drain(at..));
        right.children.extend(self.children.drain(at..));
        right
    }

    /// After child `at` lost items: removes it if empty, or joins it with a neighbour if both are small.
    fn mend(&mut self, at: usize) {
        let size = self.children[at].width();
        if size == 0 {
            self.firsts.remove(at);
            self.counts.remove(at);
            self.children.remove(at);
            return;
        }
        self.refresh(at);
        if size >= SPARSE {
            return;
        }
        let neighbours = [at.checked_sub(1), Some(at)];
        for left in neighbours.into_iter().flatten() {
            let Some(right) = self.children.get(left + 1) else { continue };
            if self.children[left].width() + right.width() <= WIDTH / 4 * 3 {
                self.firsts.remove(left + 1);
                self.counts.remove(left + 1);
                let right = self.children.remove(left + 1);
                self.children[left].join(right);
                self.refresh(left);
                return;
            }
        }
    }
}

impl<R: Copy> Node<R> {
    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(inner) => inner.count(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }

    fn first(&self) -> Option<R> {
        match self {
            Node::Leaf(items) => items.first().copied(),
            Node::Inner(inner) => inner.firsts.first().copied(),
        }
    }

    /// Appends the content of `right`, which has the same height.
    fn join(&mut self, right: Node<R>) {
        match (self, right) {
            (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
            (Node::Inner(inner), Node::Inner(mut more)) => {
                inner.firsts.append(&mut more.firsts);
                inner.counts.append(&mut more.counts);
                inner.children.append(&mut more.children);
            }
            _ => debug_assert!(false, "siblings have the same height"),
        }
    }

    /// Inserts, and returns a new right sibling if the node had to split.
    fn insert(&mut self, item: R, order: &mut dyn FnMut(&R) -> Ordering) -> Option<Node<R>> {
        match self {
            Node::Leaf(items) => {
                let at = items.partition_point(|i| order(i) == Ordering::Less);
                if items.len() < WIDTH {
                    if items.len() == items.capacity() {
                        // Small trees grow step by step; a leaf that has been full once stays at full size.
                        items.reserve_exact(items.len().clamp(4, WIDTH - items.len()));
                    }
                    items.insert(at, item);
                    return None;
                }
                let mut right = Vec::with_capacity(WIDTH);
                // Items that arrive in order must leave full leaves behind.
                let middle = if at == WIDTH { WIDTH } else { WIDTH / 2 };
                right.extend(items.drain(middle..));
                if at > middle || at == WIDTH {
                    right.insert(at - middle, item);
                } else {
                    items.insert(at, item);
                }
                Some(Node::Leaf(right))
            }
            Node::Inner(inner) => {
                let at = inner.child_for(order);
                let sibling = inner.children[at].insert(item, order);
                inner.counts[at] += 1;
                let Some(sibling) = sibling else {
                    if let Some(first) = inner.children[at].first() {
                        inner.firsts[at] = first;
                    }
                    return None;
                };
                inner.refresh(at);
                inner.add_child(at + 1, sibling);
                if inner.children.len() <= WIDTH {
                    return None;
                }
                let middle = if at + 2 == inner.children.len() { WIDTH } else { WIDTH / 2 };
                Some(Node::Inner(Box::new(inner.split_off(middle))))
            }
        }
    }

    fn remove_at(&mut self, mut rank: usize) -> Option<R> {
        match self {
            Node::Leaf(items) => (rank < items.len()).then(|| items.remove(rank)),
            Node::Inner(inner) => {
                for at in 0..inner.children.len() {
                    let count = inner.counts[at];
                    if rank < count {
                        let item = inner.children[at].remove_at(rank);
                        inner.mend(at);
                        return item;
                    }
                    rank -= count;
                }
                None
            }
        }
    }
}

impl<R: Copy> RankTree<R> {
    pub fn new() -> Self {
        RankTree { root: Node::Leaf(Vec::new()), len: 0 }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts `item` before the first item that `order` does not call `Less` (than the new one).
    pub fn insert(&mut self, item: R, mut order: impl FnMut(&R) -> Ordering) {
        if let Some(sibling) = self.root.insert(item, &mut order) {
            let mut inner = Inner::new();
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            inner.add_child(0, left);
            inner.add_child(1, sibling);
            self.root = Node::Inner(Box::new(inner));
        }
        self.len += 1;
    }

    /// The number of items for which `before` holds; it must hold for a prefix of the sequence.
    pub fn partition_point(&self, mut before: impl FnMut(&R) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&mut before),
                Node::Inner(inner) => {
                    let at = inner.firsts.partition_point(&mut before).saturating_sub(1);
                    rank += inner.counts[..at].iter().sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }

    /// The item with the given rank (0 is the first).
    pub fn get(&self, rank: usize) -> Option<R> {
        self.iter_from(rank).next()
    }

    /// Removes the item with the given rank.
    pub fn remove_at(&mut self, rank: usize) -> Option<R> {
        let item = self.root.remove_at(rank)?;
        self.len -= 1;
        while let Node::Inner(inner) = &mut self.root
            && inner.children.len() == 1
            && let Some(only) = inner.children.pop()
        {
            self.root = only;
        }
        if self.len == 0 {
            self.root = Node::Leaf(Vec::new());
        }
        Some(item)
    }

    /// Replaces the item with the given rank by one that sorts at the same place.
    pub fn replace_at(&mut self, rank: usize, item: R) {
        let (mut node, mut rank) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => {
                    if let Some(slot) = items.get_mut(rank) {
                        *slot = item;
                    }
                    return;
                }
                Node::Inner(inner) => {
                    let mut at = 0;
                    while at + 1 < inner.counts.len() && rank >= inner.counts[at] {
                        rank -= inner.counts[at];
                        at += 1;
                    }
                    if rank == 0 {
                        inner.firsts[at] = item;
                    }
                    node = &mut inner.children[at];
                }
            }
        }
    }

    /// The items from `rank` on.
    pub fn iter_from(&self, rank: usize) -> Iter<'_, R> {
        Iter::new(self, rank, true)
    }

    /// The items from `rank` on towards the first.
    pub fn iter_back_from(&self, rank: usize) -> Iter<'_, R> {
        Iter::new(self, rank, false)
    }

    /// Bytes of heap the tree itself occupies.
    pub fn heap_bytes(&self) -> usize {
        let mut total = 0;
        let mut pending = vec![&self.root];
        while let Some(node) = pending.pop() {
            match node {
                Node::Leaf(items) => total += items.capacity() * size_of::<R>(),
                Node::Inner(inner) => {
                    total += size_of::<Inner<R>>()
                        + inner.firsts.capacity() * size_of::<R>()
                        + inner.counts.capacity() * size_of::<usize>()
                        + inner.children.capacity() * size_of::<Node<R>>();
                    pending.extend(&inner.children);
                }
            }
        }
        total
    }
}

/// Iterator over the items from some rank on, in either direction.
pub struct Iter<'a, R> {
    /// The way down: each inner node with the index of the child taken.
    path: Vec<(&'a Inner<R>, usize)>,
    leaf: &'a [R],
    forward: bool,
}

impl<'a, R: Copy> Iter<'a, R> {
    fn new(tree: &'a RankTree<R>, rank: usize, forward: bool) -> Self {
        let mut iter = Iter { path: Vec::new(), leaf: &[], forward };
        if rank < tree.len {
            iter.descend(&tree.root, rank);
        }
        iter
    }

    fn descend(&mut self, mut node: &'a Node<R>, mut rank: usize) {
        loop {
            match node {
                Node::Leaf(items) => {
                    self.leaf = if self.forward { &items[rank..] } else { &items[..=rank] };
                    return;
                }
                Node::Inner(inner) => {
                    let mut at = 0;
                    while rank >= inner.counts[at] {
                        rank -= inner.counts[at];
                        at += 1;
                    }
                    self.path.push((inner, at));
                    node = &inner.children[at];
                }
            }
        }
    }

    /// Moves to the next leaf in the direction of travel.
    fn advance(&mut self) -> Option<()> {
        loop {
            let (inner, at) = self.path.last_mut()?;
            let next = if self.forward { *at + 1 } else { at.wrapping_sub(1) };
            let Some(child) = inner.children.get(next) else {
                self.path.pop();
                continue;
            };
            *at = next;
            let rank = if self.forward { 0 } else { inner.counts[next] - 1 };
            self.descend(child, rank);
            return Some(());
        }
    }
}

impl<R: Copy> Iterator for Iter<'_, R> {
    type Item = R;

    #[inline]
    fn next(&mut self) -> Option<R> {
        loop {
            let split = if self.forward { self.leaf.split_first() } else { self.leaf.split_last() };
            if let Some((item, rest)) = split {
                self.leaf = rest;
                return Some(*item);
            }
            self.advance()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(tree: &RankTree<u32>, model: &[u32]) {
        assert_eq!(tree.len(), model.len());
        assert!(tree.iter_from(0).eq(model.iter().copied()));
        assert!(model.is_empty() || tree.iter_back_from(model.len() - 1).eq(model.iter().rev().copied()));
        assert_eq!(tree.iter_from(model.len()).next(), None);
    }

    #[test]
    fn ascending_items_fill_their_leaves() {
        let mut tree = RankTree::new();
        for i in 0..100_000u32 {
            tree.insert(i, |x| x.cmp(&i));
        }
        assert!(tree.heap_bytes() < 100_000 * 51 / 10, "{}", tree.heap_bytes());
        for rank in [0, 1, 63, 64, 4095, 4096, 99_999] {
            assert_eq!(tree.get(rank), Some(rank as u32));
            assert_eq!(tree.partition_point(|x| *x < rank as u32), rank);
        }
        for i in (0..100_000u32).step_by(2) {
            assert_eq!(tree.remove_at(i as usize / 2), Some(i));
        }
        assert!(tree.iter_from(0).eq((0..100_000).filter(|i| i % 2 == 1)));
        while tree.len() > 10 {
            tree.remove_at(tree.len() / 2);
        }
        assert!(tree.heap_bytes() < 1024, "{}", tree.heap_bytes());
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_vector(
            ops in prop::collection::vec((0u8..10, any::<u32>()), 0..3000),
            shift in 0u32..24,
        ) {
            let (mut tree, mut model) = (RankTree::new(), Vec::<u32>::new());
            for (kind, value) in ops {
                // Mostly growing, then shrinking, over narrow and wide ranges.
                if kind < 6 {
                    let value = value >> shift;
                    tree.insert(value, |x| x.cmp(&value));
                    model.insert(model.partition_point(|x| *x < value), value);
                } else if !model.is_empty() {
                    let rank = value as usize % model.len();
                    prop_assert_eq!(tree.get(rank), Some(model[rank]));
                    prop_assert_eq!(tree.partition_point(|x| *x < model[rank]), model.partition_point(|x| *x < model[rank]));
                    prop_assert_eq!(tree.remove_at(rank), Some(model.remove(rank)));
                }
            }
            check(&tree, &model);
            for rank in (0..model.len()).step_by(7) {
                model[rank] = model[rank].saturating_add(0);
                tree.replace_at(rank, model[rank]);
                let middle = model.len() / 2;
                prop_assert!(tree.iter_from(middle).take(5).eq(model[middle..].iter().copied().take(5)));
            }
            while let Some(rank) = model.len().checked_sub(1) {
                let rank = rank / 3;
                prop_assert_eq!(tree.remove_at(rank), Some(model.remove(rank)));
            }
            check(&tree, &model);
        }
    }
}
