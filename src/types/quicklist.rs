//! Quicklist: a long list as a row of listpacks, with Valkey's rules for filling, splitting, merging and compressing
//! nodes, so that DUMP shows the same nodes.
//!
//! Invariant: no node is empty. Node `i` of `n` may be compressed only if `depth <= i < n - depth`.

use super::extrapolated;
use super::item::{Item, OwnedItem};
use super::listpack::{self, Listpack};
use crate::lzf;
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Listpack bytes that a positive (count) limit allows at most.
const COUNTED_BYTES_MAX: usize = 8192;
/// Bytes assumed for the overhead of one more entry.
const ENTRY_OVERHEAD: usize = 8;
/// Listpacks below this are not compressed.
const COMPRESS_MIN: usize = 48;
/// Bytes that compression must save.
const COMPRESS_GAIN: usize = 8;

/// The directives that shape lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// `list-max-listpack-size`: entries per node, or -1..=-5 for 4, 8, 16, 32, 64 KiB per node.
    pub max_listpack_size: i32,
    /// `list-compress-depth`: nodes at either end that are never compressed; 0 switches compression off.
    pub compress_depth: u32,
    /// Bytes from which an element gets a node of its own; 0 derives it from the node limit (DEBUG can change it).
    pub packed_threshold: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        ListLimits { max_listpack_size: -2, compress_depth: 0, packed_threshold: 0 }
    }
}

impl ListLimits {
    /// (bytes, entries) a node may hold.
    pub(super) fn node_limits(&self) -> (usize, usize) {
        match self.max_listpack_size {
            0 => (usize::MAX, 1),
            n @ 1.. => (usize::MAX, (n as usize).min(i16::MAX as usize)),
            n => (4096 << (n.unsigned_abs() - 1).min(4), usize::MAX),
        }
    }

    pub(super) fn exceeded_by(&self, bytes: usize, count: usize) -> bool {
        match self.node_limits() {
            (usize::MAX, entries) => bytes > COUNTED_BYTES_MAX || count > entries,
            (limit, _) => bytes > limit,
        }
    }

    fn is_large(&self, len: usize) -> bool {
        if self.packed_threshold != 0 {
            // Whatever is configured, a listpack must be able to hold it.
            return len >= self.packed_threshold || len > listpack::BYTES_MAX;
        }
        match self.node_limits() {
            (usize::MAX, _) => len > COUNTED_BYTES_MAX,
            (limit, _) => len > limit,
        }
    }
}

/// A node's content as it would be dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// The bytes are one element.
    Plain,
    /// The bytes are a listpack.
    Packed,
}

/// A node's content as it lies in memory, which is how RDB stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredNode<'a> {
    /// The bytes are one element.
    Plain(&'a [u8]),
    /// The bytes are a listpack.
    Packed(&'a [u8]),
    /// A listpack of `size` bytes, compressed (see [`lzf`]).
    Compressed { bytes: &'a [u8], size: usize },
}

#[derive(Clone)]
struct Compressed {
    bytes: Box<[u8]>,
    size: usize,
    count: usize,
}

#[derive(Clone)]
enum Node {
    Packed(Listpack),
    // Boxed twice to keep the node at two words: such nodes are large and rare.
    #[allow(clippy::box_collection)]
    Plain(Box<Vec<u8>>),
    Compressed(Box<Compressed>),
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Node::Packed(lp) => lp.len(),
            Node::Plain(_) => 1,
            Node::Compressed(c) => c.count,
        }
    }

    /// Bytes when not compressed.
    fn size(&self) -> usize {
        match self {
            Node::Packed(lp) => lp.as_bytes().len(),
            Node::Plain(text) => text.len(),
            Node::Compressed(c) => c.size,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self, Node::Plain(_))
    }

    fn compress(&mut self) {
        let Node::Packed(lp) = self else { return };
        let size = lp.as_bytes().len();
        if size < COMPRESS_MIN {
            return;
        }
        if let Some(bytes) = lzf::compress(lp.as_bytes(), size)
            && bytes.len() + COMPRESS_GAIN < size
        {
            let count = lp.len();
            *self = Node::Compressed(Box::new(Compressed { bytes: bytes.into(), size, count }));
        }
    }

    fn unpacked(c: &Compressed) -> Listpack {
        lzf::decompress(&c.bytes, c.size)
            .and_then(|bytes| Listpack::from_foreign(&bytes))
            .expect("a node unpacks to the listpack it was made from")
    }

    fn decompress(&mut self) {
        if let Node::Compressed(c) = self {
            *self = Node::Packed(Node::unpacked(c));
        }
    }

    /// The listpack for changing it; `None` for a plain node.
    fn listpack_mut(&mut self) -> Option<&mut Listpack> {
        self.decompress();
        match self {
            Node::Packed(lp) => Some(lp),
            _ => None,
        }
    }

    /// Calls `f` with the elements from offset `from`, forward or backward, until it breaks.
    fn visit(
        &self,
        from: usize,
        forward: bool,
        f: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let unpacked;
        let lp = match self {
            Node::Plain(text) => return f(Item::Str(text)),
            Node::Packed(lp) => lp,
            Node::Compressed(c) => {
                unpacked = Node::unpacked(c);
                &unpacked
            }
        };
        let Some(mut at) = lp.seek(from as i64) else { return ControlFlow::Continue(()) };
        if forward {
            return lp.iter_from(at).try_for_each(f);
        }
        loop {
            f(lp.get(at))?;
            let Some(previous) = lp.prev(at) else { return ControlFlow::Continue(()) };
            at = previous;
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Node::Packed(lp) => lp.heap_bytes(),
            Node::Plain(text) => text.capacity() + size_of::<Vec<u8>>(),
            Node::Compressed(c) => c.bytes.len() + size_of::<Compressed>(),
        }
    }
}

fn packed(text: &[u8]) -> Node {
    let mut lp = Listpack::new();
    lp.append(text);
    Node::Packed(lp)
}

/// A list of nodes. Its limits are those in force when it was made, as in Valkey.
#[derive(Clone)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    limits: ListLimits,
}

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Head,
    Tail,
}

impl Quicklist {
    pub fn new(limits: &ListLimits) -> Self {
        Quicklist { nodes: VecDeque::new(), len: 0, limits: *limits }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &ListLimits {
        &self.limits
    }

    /// What DEBUG OBJECT tells: (nodes, compressed ones, bytes of all nodes when not compressed).
    pub fn node_statistics(&self) -> (usize, usize, usize) {
        let compressed = self.nodes.iter().filter(|n| matches!(n, Node::Compressed(_))).count();
        (self.nodes.len(), compressed, self.nodes.iter().map(Node::size).sum())
    }

    /// Bytes of heap, slack included; the nodes' extrapolated from the first `samples`, or summed if that is 0.
    pub fn heap_bytes_sampled(&self, samples: usize) -> usize {
        size_of::<Self>()
            + self.nodes.capacity() * size_of::<Node>()
            + extrapolated(self.nodes.iter().map(Node::heap_bytes), self.nodes.len(), samples)
    }

    pub(super) fn set_packed_threshold(&mut self, bytes: usize) {
        self.limits.packed_threshold = bytes;
    }

    /// Appends a listpack as a node of its own, unless it is empty.
    pub fn push_listpack(&mut self, lp: Listpack) {
        if !lp.is_empty() {
            self.len += lp.len();
            self.nodes.push_back(Node::Packed(lp));
            self.settle(self.nodes.len() - 1);
        }
    }

    /// Appends an element as a plain node.
    pub fn push_plain(&mut self, text: &[u8]) {
        self.len += 1;
        self.nodes.push_back(Node::Plain(Box::new(text.to_vec())));
        self.settle(self.nodes.len() - 1);
    }

    /// The nodes as they lie in memory.
    pub fn stored_nodes(&self) -> impl Iterator<Item = StoredNode<'_>> {
        self.nodes.iter().map(|node| match node {
            Node::Packed(lp) => StoredNode::Packed(lp.as_bytes()),
            Node::Plain(text) => StoredNode::Plain(text),
            Node::Compressed(c) => StoredNode::Compressed { bytes: &c.bytes, size: c.size },
        })
    }

    /// Calls `f` with each node. Compressed nodes are unpacked one at a time.
    pub fn for_each_node(&self, mut f: impl FnMut(NodeKind, &[u8])) {
        for node in &self.nodes {
            match node {
                Node::Packed(lp) => f(NodeKind::Packed, lp.as_bytes()),
                Node::Plain(text) => f(NodeKind::Plain, text),
                Node::Compressed(c) => f(NodeKind::Packed, Node::unpacked(c).as_bytes()),
            }
        }
    }

    /// The only node's listpack, if there is exactly one node and it is one.
    pub(super) fn single_listpack(&mut self) -> Option<&mut Listpack> {
        match self.nodes.len() {
            1 => self.nodes[0].listpack_mut(),
            _ => None,
        }
    }

    /// Brings compression in order around node `touched` and at both ends.
    fn settle(&mut self, touched: usize) {
        let (depth, n) = (self.limits.compress_depth as usize, self.nodes.len());
        if depth == 0 {
            return;
        }
        for i in (0..depth.min(n)).chain(n.saturating_sub(depth)..n) {
            self.nodes[i].decompress();
        }
        if n <= 2 * depth {
            return;
        }
        for i in [touched, depth, n - depth - 1] {
            if i >= depth && i < n - depth {
                self.nodes[i].compress();
            }
        }
    }

    fn insert_node(&mut self, at: usize, node: Node) {
        self.nodes.insert(at, node);
        self.settle(at);
    }

    fn remove_node(&mut self, at: usize) {
        if let Some(node) = self.nodes.remove(at) {
            self.len -= node.count();
            self.settle(at);
        }
    }

    fn allows_insert(&self, node: Option<&Node>, len: usize) -> bool {
        node.is_some_and(|node| {
            !node.is_plain()
                && !self.limits.is_large(len)
                && !self.limits.exceeded_by(node.size() + len + ENTRY_OVERHEAD, node.count() + 1)
        })
    }

    /// Adds an element at an end.
    pub fn push(&mut self, text: &[u8], end: End) {
        self.len += 1;
        let at_end = match end {
            End::Head => self.nodes.front(),
            End::Tail => self.nodes.back(),
        };
        if self.allows_insert(at_end, text.len()) {
            let lp = match end {
                End::Head => self.nodes.front_mut(),
                End::Tail => self.nodes.back_mut(),
            };
            if let Some(lp) = lp.and_then(Node::listpack_mut) {
                match end {
                    End::Head => lp.prepend(text),
                    End::Tail => lp.append(text),
                };
            }
            return;
        }
        let node = self.new_node(text);
        let at = if end == End::Head { 0 } else { self.nodes.len() };
        self.insert_node(at, node);
    }

    fn new_node(&self, text: &[u8]) -> Node {
        if self.limits.is_large(text.len()) { Node::Plain(Box::new(text.to_vec())) } else { packed(text) }
    }

    /// Takes the element off an end.
    pub fn pop(&mut self, end: End) -> Option<OwnedItem> {
        let last = self.nodes.len().checked_sub(1)?;
        let at = if end == End::Head { 0 } else { last };
        match &mut self.nodes[at] {
            Node::Plain(text) => {
                let text = std::mem::take(&mut **text);
                self.remove_node(at);
                Some(OwnedItem::Text(text))
            }
            node => {
                let lp = node.listpack_mut()?;
                let pos = if end == End::Head { lp.first() } else { lp.last() }?;
                let item = lp.get(pos).into();
                let offset = if end == End::Head { 0 } else { lp.len() - 1 };
                self.remove_entries(at, offset, 1);
                Some(item)
            }
        }
    }

    /// Removes `count` entries of a packed node, and the node if nothing is left.
    fn remove_entries(&mut self, at: usize, offset: usize, count: usize) {
        if count >= self.nodes[at].count() {
            self.remove_node(at);
        } else if let Some(lp) = self.nodes[at].listpack_mut() {
            lp.remove_range(offset as i64, count);
            self.len -= count;
            self.settle(at);
        }
    }

    /// Node and offset of the element with the given index, counted from the nearer end.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut before = 0;
            for (at, node) in self.nodes.iter().enumerate() {
                let count = node.count();
                if index < before + count {
                    return Some((at, index - before));
                }
                before += count;
            }
        } else {
            let mut start = self.len;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                start -= node.count();
                if index >= start {
                    return Some((at, index - start));
                }
            }
        }
        None
    }

    /// Calls `f` with the elements from `index` on, towards the tail or the head, until it breaks.
    pub fn visit(&self, index: usize, forward: bool, f: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>) {
        let Some((mut at, mut offset)) = self.locate(index) else { return };
        loop {
            if self.nodes[at].visit(offset, forward, f).is_break() {
                return;
            }
            if forward {
                at += 1;
                offset = 0;
                if at == self.nodes.len() {
                    return;
                }
            } else {
                if at == 0 {
                    return;
                }
                at -= 1;
                offset = self.nodes[at].count() - 1;
            }
        }
    }

    /// Inserts next to the element at `index`, which must exist.
    pub fn insert(&mut self, index: usize, text: &[u8], after: bool) {
        let Some((at, offset)) = self.locate(index) else { return };
        self.insert_at(at, offset, text, after);
    }

    fn insert_at(&mut self, at: usize, offset: usize, text: &[u8], after: bool) {
        self.len += 1;
        let len = text.len();
        let full = !self.allows_insert(self.nodes.get(at), len);
        let at_edge = if after { offset + 1 == self.nodes[at].count() } else { offset == 0 };
        let beside = if after { Some(at + 1) } else { at.checked_sub(1) };
        let new_at = if after { at + 1 } else { at };

        if self.limits.is_large(len) {
            if !self.nodes[at].is_plain() && !at_edge {
                self.split_node(at, if after { offset + 1 } else { offset });
                // The new node goes between the halves, whichever side was asked for.
                let node = self.new_node(text);
                self.insert_node(at + 1, node);
            } else {
                let node = self.new_node(text);
                self.insert_node(new_at, node);
            }
            return;
        }
        if !full {
            if let Some(lp) = self.nodes[at].listpack_mut()
                && let Some(pos) = lp.seek(offset as i64)
            {
                match after {
                    true => lp.insert_after(pos, Item::parse(text)),
                    false => lp.insert_before(pos, Item::parse(text)),
                };
            }
            self.settle(at);
            return;
        }
        if at_edge {
            let room = beside.filter(|b| self.allows_insert(self.nodes.get(*b), len));
            match room.and_then(|b| Some((b, self.nodes[b].listpack_mut()?))) {
                Some((b, lp)) => {
                    if after {
                        lp.prepend(text)
                    } else {
                        lp.append(text)
                    };
                    self.settle(b);
                }
                None => self.insert_node(new_at, packed(text)),
            }
            return;
        }
        // Split; the half on the asked side takes the element, and the halves try to merge with their neighbours.
        self.split_node(at, if after { offset + 1 } else { offset });
        let (taker, centre) = if after { (at + 1, at) } else { (at, at + 1) };
        if let Some(lp) = self.nodes[taker].listpack_mut() {
            if after {
                lp.prepend(text)
            } else {
                lp.append(text)
            };
        }
        self.merge_around(centre);
    }

    /// Moves the entries from `offset` on into a new node after this one.
    fn split_node(&mut self, at: usize, offset: usize) {
        if let Some(lp) = self.nodes[at].listpack_mut()
            && let Some(pos) = lp.seek(offset as i64)
        {
            let tail = lp.split_off(pos);
            self.nodes.insert(at + 1, Node::Packed(tail));
        }
    }

    fn merge(&mut self, left: usize, right: usize) -> bool {
        let (Some(a), Some(b)) = (self.nodes.get(left), self.nodes.get(right)) else { return false };
        let bytes = a.size() + b.size() - (listpack::HEADER + 1);
        if a.is_plain() || b.is_plain() || self.limits.exceeded_by(bytes, a.count() + b.count()) {
            return false;
        }
        if let Some(mut second) = self.nodes.remove(right)
            && let Some(second) = second.listpack_mut()
            && let Some(first) = self.nodes[left].listpack_mut()
        {
            first.append_all(second);
        }
        self.settle(left);
        true
    }

    /// Merges what fits around node `centre`: the two before it, the two after it, then it with either side.
    fn merge_around(&mut self, mut centre: usize) {
        if centre >= 2 && self.merge(centre - 2, centre - 1) {
            centre -= 1;
        }
        self.merge(centre + 1, centre + 2);
        if centre >= 1 && self.merge(centre - 1, centre) {
            centre -= 1;
        }
        self.merge(centre, centre + 1);
        for i in centre.saturating_sub(1)..(centre + 2).min(self.nodes.len()) {
            self.settle(i);
        }
    }

    /// Replaces the element at `index`, which must exist.
    pub fn replace(&mut self, index: usize, text: &[u8]) {
        let Some((at, offset)) = self.locate(index) else { return };
        // Replacing does not look at the node's limit, only at what a listpack can hold.
        let fits = self.nodes[at].size().saturating_add(text.len()) <= 3 * listpack::BYTES_MAX;
        let large = self.limits.is_large(text.len()) || !fits;
        match (&mut self.nodes[at], large) {
            (Node::Plain(old), true) => **old = text.to_vec(),
            (Node::Plain(_), false) => {
                self.insert_at(at, 0, text, true);
                self.remove_node(at);
            }
            (node, false) => {
                if let Some(lp) = node.listpack_mut()
                    && let Some(pos) = lp.seek(offset as i64)
                {
                    lp.replace(pos, Item::parse(text));
                }
                self.settle(at);
            }
            (node, true) => {
                let count = node.count();
                if offset + 1 != count {
                    self.split_node(at, offset + 1);
                }
                let node = self.new_node(text);
                self.insert_node(at + 1, node);
                self.len += 1;
                if offset == 0 {
                    self.remove_node(at);
                } else {
                    self.remove_entries(at, offset, 1);
                    self.merge_around(at + 1);
                }
            }
        }
    }

    /// Removes up to `count` elements from `index` on.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        let Some((mut at, mut offset)) = self.locate(index) else { return };
        let mut left = count.min(self.len - index);
        while left > 0 {
            let here = (self.nodes[at].count() - offset).min(left);
            let whole = here == self.nodes[at].count();
            self.remove_entries(at, offset, here);
            if !whole {
                at += 1;
            }
            offset = 0;
            left -= here;
        }
    }

    /// Removes up to `max` elements equal to `text`, going from the given end; returns how many.
    pub fn remove_equal(&mut self, text: &[u8], from: End, max: usize) -> usize {
        let mut removed = 0;
        let mut at = if from == End::Head { 0 } else { self.nodes.len().wrapping_sub(1) };
        while removed < max && at < self.nodes.len() {
            let before = self.nodes.len();
            removed += self.remove_equal_in(at, text, from, max - removed);
            if from == End::Tail {
                at = at.wrapping_sub(1);
            } else if self.nodes.len() == before {
                at += 1;
            }
        }
        removed
    }

    fn remove_equal_in(&mut self, at: usize, text: &[u8], from: End, max: usize) -> usize {
        let lp = match &mut self.nodes[at] {
            Node::Plain(own) => {
                let same = ***own == *text;
                if same {
                    self.remove_node(at);
                }
                return usize::from(same);
            }
            node => match node.listpack_mut() {
                Some(lp) => lp,
                None => return 0,
            },
        };
        let removed = remove_equal_entries(lp, text, from, max);
        self.len -= removed;
        if lp.is_empty() {
            self.remove_node(at);
        } else {
            self.settle(at);
        }
        removed
    }

    /// Drops up to `nodes` nodes from the head; true when nothing is left.
    pub fn drop_some(&mut self, nodes: usize) -> bool {
        for _ in 0..nodes {
            match self.nodes.pop_front() {
                Some(node) => self.len -= node.count(),
                None => break,
            }
        }
        self.nodes.is_empty()
    }
}

/// Removes up to `max` entries equal to `text` from a listpack, going from the given end; returns how many.
pub(super) fn remove_equal_entries(lp: &mut Listpack, text: &[u8], from: End, max: usize) -> usize {
    let mut removed = 0;
    match from {
        End::Head => {
            let mut pos = lp.first();
            while removed < max
                && let Some(found) = lp.find(pos, text, 0)
            {
                pos = lp.remove(found);
                removed += 1;
                if pos.is_none() {
                    break;
                }
            }
        }
        End::Tail => {
            let mut pos = lp.last();
            while removed < max
                && let Some(at) = pos
            {
                pos = lp.prev(at);
                if lp.get(at).is(text) {
                    lp.remove(at);
                    removed += 1;
                }
            }
        }
    }
    removed
}
