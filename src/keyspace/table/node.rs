//! The bytes of one bucket and of the nodes chained to it. All pointer arithmetic of the table on elements is here.
//!
//! A node is a header word followed by element words (little-endian picture, low byte first):
//!
//! ```text
//!   byte 0     1     2     3     4     5     6      7        8..16    16..24   ...   56..64
//!      +-----+-----+-----+-----+-----+-----+-----+---------+--------+--------+-----+--------+
//!      |tag 0|tag 1|tag 2|tag 3|tag 4|tag 5|tag 6| C....nnn| word 0 | word 1 | ... | word 6 |
//!      +-----+-----+-----+-----+-----+-----+-----+---------+--------+--------+-----+--------+
//!      nnn = elements in this node, always in words 0..nnn      C = word 6 points to the next node
//! ```
//!
//! In a chained node, tag 6 is a filter instead: bit `t % 8` is set if an element with tag `t` may be further down the
//! chain, so that most searches for what is absent touch one node. Removals leave bits behind, splits renew them.
//!
//! A tag is the top byte of its element's hash. A bucket inside a bucket array is always 64 bytes. A chained node,
//! and the only node of a table of one bucket, is cut to size: a header and `nnn | 1` words, or all 64 bytes if it
//! is chained itself. Chains are packed: only the last node has room, so a removal moves the last element of the
//! chain into the hole. A chained node holds at least two elements; one alone would fit into its parent's word 6.
//!
//! "Units" are 16 bytes: the sum of the sizes of all nodes that were allocated one by one.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::mem::MaybeUninit;

use super::prefetch;

/// Bytes of a full node, which is also the distance between buckets of an array.
pub(super) const NODE_BYTES: usize = 64;
const WORDS: usize = 7;
const CHAINED: u64 = 1 << 63;
/// Where the filter of a chained node begins in its header.
const FILTER: u32 = 48;
const TAG_ONES: u64 = 0x0001_0101_0101_0101;
const TAG_HIGHS: u64 = TAG_ONES << 7;

/// A pointer to a node; the type only selects how the words are read.
pub(super) struct Node<T>(pub *mut T);

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Node<T> {}

/// The tag of an element with this hash. Bucket numbers use the low bits, so the two are independent.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// The header bit that stands for this tag in the filter of a chained node.
#[inline]
fn filter_bit(tag: u8) -> u32 {
    FILTER + u32::from(tag % 8)
}

fn layout_of(count: usize, chained: bool) -> Layout {
    let words = if chained { WORDS } else { count | 1 };
    let bytes = 8 * (1 + words);
    let align = if bytes == NODE_BYTES { NODE_BYTES } else { 8 };
    Layout::from_size_align(bytes, align).expect("at most 64 bytes")
}

fn units_of(layout: Layout) -> u64 {
    layout.size() as u64 / 16
}

/// The caller of every method promises: the node is live, its header is initialised, its first `count` words hold
/// elements, and nobody else reads or writes it meanwhile (reading methods: nobody writes it).
impl<T> Node<T> {
    #[inline]
    pub(super) unsafe fn header(self) -> u64 {
        // SAFETY: a node starts with its header word.
        unsafe { self.0.cast::<u64>().read() }
    }

    #[inline]
    pub(super) unsafe fn set_header(self, header: u64) {
        // SAFETY: a node starts with its header word.
        unsafe { self.0.cast::<u64>().write(header) }
    }

    #[inline]
    pub(super) unsafe fn slot(self, index: usize) -> *mut T {
        // SAFETY: the caller asks for a word that this node has.
        unsafe { self.0.add(1 + index) }
    }

    #[inline]
    unsafe fn link(self) -> *mut Node<T> {
        // SAFETY: only called for nodes of 64 bytes, which have a word 6.
        unsafe { self.0.add(WORDS).cast() }
    }

    /// The next node of the chain.
    #[inline]
    pub(super) unsafe fn next(self) -> Option<Node<T>> {
        // SAFETY: word 6 of a chained node is a link.
        unsafe { if self.header() & CHAINED != 0 { Some(self.link().read()) } else { None } }
    }

    #[inline]
    pub(super) unsafe fn count(self) -> usize {
        // SAFETY: the caller's promise.
        count_in(unsafe { self.header() })
    }

    /// Starts to load what the elements of this node point to, for whoever is about to look at all of them: one at a time
    /// each would be waited for.
    #[inline]
    pub(super) unsafe fn prefetch_items(self) {
        // SAFETY: the caller's promise.
        let count = unsafe { self.count() };
        for index in 0..count {
            // SAFETY: words below the count hold elements, which are one word that points to what it owns.
            let target = unsafe { self.slot(index).cast::<*const u8>().read() };
            prefetch(target);
            prefetch(target.wrapping_add(47));
        }
    }

    /// Elements in this node and all nodes behind it.
    pub(super) unsafe fn chain_count(mut self) -> usize {
        let mut total = 0;
        loop {
            // SAFETY: links of a live chain point to live nodes.
            unsafe {
                total += self.count();
                match self.next() {
                    Some(next) => self = next,
                    None => return total,
                }
            }
        }
    }

    /// The element at `index` of the chain, which has more than `index` elements.
    pub(super) unsafe fn chain_nth(mut self, mut index: usize) -> *mut T {
        loop {
            // SAFETY: links of a live chain point to live nodes.
            unsafe {
                let count = self.count();
                if index < count {
                    return self.slot(index);
                }
                index -= count;
                self = self.next().expect("the index is within the chain");
            }
        }
    }

    /// Looks for an element with this tag that `matches`; returns its node and index.
    #[inline]
    pub(super) unsafe fn find(
        mut self,
        tag: u8,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Option<(Node<T>, usize)> {
        let wanted = u64::from(tag) * TAG_ONES;
        loop {
            // SAFETY: only words below the count are looked at, and links point to live nodes.
            unsafe {
                let header = self.header();
                let differing = header ^ wanted;
                // Marks each zero byte (and perhaps bytes above one, which `matches` then refuses).
                let mut candidates = differing.wrapping_sub(TAG_ONES) & !differing & TAG_HIGHS;
                candidates &= (1 << (8 * count_in(header))) - 1;
                while candidates != 0 {
                    let index = candidates.trailing_zeros() as usize / 8;
                    if matches(&*self.slot(index)) {
                        return Some((self, index));
                    }
                    candidates &= candidates - 1;
                }
                if header >> 63 & header >> filter_bit(tag) & 1 == 0 {
                    return None;
                }
                self = self.link().read();
            }
        }
    }

    /// Adds an element to the chain of a bucket of 64 bytes and returns where it is.
    pub(super) unsafe fn push(self, tag: u8, item: T, units: &mut u64) -> *mut T {
        // SAFETY: a bucket has all seven words; chained nodes are live and owned by the chain.
        unsafe {
            let header = self.header();
            let count = count_in(header);
            if header & CHAINED != 0 {
                self.set_header(header | 1 << filter_bit(tag));
                return Node::push_at_link(self.link(), tag, item, units);
            }
            if count < WORDS {
                return self.append(tag, item);
            }
            // The seventh word becomes the link; its element moves into the new node.
            let layout = layout_of(2, false);
            let next = Node::<T>::allocate(layout, units);
            let moved = (header >> FILTER) as u8;
            next.append(moved, self.slot(WORDS - 1).read());
            self.link().write(next);
            let filter = 1 << filter_bit(moved) | 1 << filter_bit(tag);
            self.set_header(header & ((1 << FILTER) - 1) | filter | 6 << 56 | CHAINED);
            next.append(tag, item)
        }
    }

    /// Adds an element to the cut-to-size chain behind `link` and returns where it is.
    pub(super) unsafe fn push_at_link(mut link: *mut Node<T>, tag: u8, item: T, units: &mut u64) -> *mut T {
        // SAFETY: `link` points to a live node, and its word is ours to change.
        unsafe {
            let mut node = *link;
            while let Some(next) = node.next() {
                node.set_header(node.header() | 1 << filter_bit(tag));
                link = node.link();
                node = next;
            }
            let count = node.count();
            if count == WORDS {
                return node.push(tag, item, units);
            }
            if count % 2 == 1 {
                node = node.resize(layout_of(count, false), layout_of(count + 1, false), units);
                *link = node;
            }
            node.append(tag, item)
        }
    }

    /// Takes the element at (`hole`, `index`) out of the chain that starts at `self`, a bucket of 64 bytes.
    pub(super) unsafe fn remove(self, hole: Node<T>, index: usize, units: &mut u64) -> T {
        // SAFETY: `hole` is a node of this chain with more than `index` elements.
        unsafe {
            let mut parent = self;
            let mut last = self;
            while let Some(next) = last.next() {
                (parent, last) = (last, next);
            }
            let item = hole.slot(index).read();
            let (tag, moved) = last.pop();
            if !(last.0 == hole.0 && last.count() == index) {
                hole.slot(index).write(moved.assume_init());
                hole.set_tag(index, tag);
            }
            if last.0 == self.0 {
                return item;
            }
            let count = last.count();
            if count == 1 {
                let (tag, alone) = last.pop();
                last.free(layout_of(1 + 1, false), units);
                parent.set_header(parent.header() & !CHAINED);
                parent.append(tag, alone.assume_init());
            } else if count % 2 == 1 {
                *parent.link() = last.resize(layout_of(count + 1, false), layout_of(count, false), units);
            }
            item
        }
    }

    /// Like [`Node::remove`] for a chain whose first node is cut to size too and has at least two elements.
    pub(super) unsafe fn remove_at_link(
        link: *mut Node<T>,
        hole: Node<T>,
        index: usize,
        units: &mut u64,
    ) -> T {
        // SAFETY: as for `remove`; an unchained node keeps the bytes of its larger count until it is resized here.
        unsafe {
            let first = *link;
            let chained = first.next().is_some();
            let item = first.remove(hole, index, units);
            let count = first.count();
            if !chained && count % 2 == 1 && count > 1 {
                *link = first.resize(layout_of(count + 1, false), layout_of(count, false), units);
            }
            item
        }
    }

    /// Frees a node that `remove_at_link` left with one element, and returns the element.
    pub(super) unsafe fn take_single(self, units: &mut u64) -> T {
        // SAFETY: the node still has the bytes of two elements, as `remove_at_link` does not resize to one.
        unsafe {
            let item = self.slot(0).read();
            self.free(layout_of(2, false), units);
            item
        }
    }

    /// Moves all elements of the chain into `spill` and frees the chained nodes; the first node is left empty.
    pub(super) unsafe fn drain(self, spill: &mut Spill<T>, units: &mut u64) {
        // SAFETY: each element is read once, and then its node is emptied or freed.
        unsafe {
            let mut next = self.next();
            self.spill_one(spill);
            self.set_header(0);
            while let Some(node) = next {
                next = node.next();
                node.spill_one(spill);
                let layout = layout_of(node.count(), next.is_some());
                node.free(layout, units);
            }
        }
    }

    /// [`Node::drain`] for a cut-to-size chain: its first node is freed as well.
    pub(super) unsafe fn drain_and_free(self, spill: &mut Spill<T>, units: &mut u64) {
        // SAFETY: as for `drain`; the layout is taken before the header is cleared.
        unsafe {
            let layout = layout_of(self.count(), self.next().is_some());
            self.drain(spill, units);
            self.free(layout, units);
        }
    }

    unsafe fn spill_one(self, spill: &mut Spill<T>) {
        // SAFETY: words below the count hold elements.
        unsafe {
            // They are told apart by their keys next.
            self.prefetch_items();
            let header = self.header();
            for index in 0..count_in(header) {
                spill.push((header >> (8 * index)) as u8, self.slot(index).read());
            }
        }
    }

    /// Moves all elements of `spill` into `self`, an empty bucket of 64 bytes.
    pub(super) unsafe fn fill(self, spill: &mut Spill<T>, units: &mut u64) {
        // SAFETY: the bucket is empty and has seven words.
        unsafe {
            let here = if spill.len() > WORDS { WORDS - 1 } else { spill.len() };
            for _ in 0..here {
                let (tag, item) = spill.pop();
                self.append(tag, item);
            }
            if spill.len() > 0 {
                let filter = spill.tags().fold(0, |filter, tag| filter | 1 << filter_bit(tag));
                let next = Node::build(spill, units);
                self.link().write(next);
                self.set_header(self.header() | filter | CHAINED);
            }
        }
    }

    /// A cut-to-size chain of the elements of `spill`, of which there is at least one.
    pub(super) unsafe fn build(spill: &mut Spill<T>, units: &mut u64) -> Node<T> {
        let total = spill.len();
        let layout = layout_of(total.min(WORDS), total > WORDS);
        // SAFETY: a fresh node has an empty header and room for what `fill` puts there. The recursion is as deep
        // as the chain is long: a few nodes, as the hash is seeded.
        unsafe {
            let node = Node::allocate(layout, units);
            node.fill(spill, units);
            node
        }
    }

    /// Takes out the last element of a bucket's chain; `None` when there is none.
    pub(super) unsafe fn take_last(self, units: &mut u64) -> Option<T> {
        // SAFETY: the last element of the chain is at the last node's last word.
        unsafe {
            let mut last = self;
            while let Some(next) = last.next() {
                last = next;
            }
            match last.count() {
                0 => None,
                count => Some(self.remove(last, count - 1, units)),
            }
        }
    }

    #[inline]
    unsafe fn append(self, tag: u8, item: T) -> *mut T {
        // SAFETY: the caller has made room for one more word.
        unsafe {
            let count = self.count();
            let slot = self.slot(count);
            slot.write(item);
            self.set_tag(count, tag);
            self.set_header(self.header() + (1 << 56));
            slot
        }
    }

    /// Lowers the count by one and returns what was there. The word may be the removed element itself.
    unsafe fn pop(self) -> (u8, MaybeUninit<T>) {
        // SAFETY: the caller knows that the node is not empty.
        unsafe {
            let header = self.header();
            let index = count_in(header) - 1;
            self.set_header(header - (1 << 56));
            ((header >> (8 * index)) as u8, self.slot(index).cast::<MaybeUninit<T>>().read())
        }
    }

    unsafe fn set_tag(self, index: usize, tag: u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let header = self.header() & !(0xff << (8 * index));
            self.set_header(header | u64::from(tag) << (8 * index));
        }
    }

    unsafe fn allocate(layout: Layout, units: &mut u64) -> Node<T> {
        *units += units_of(layout);
        // SAFETY: the layout has at least 16 bytes; the header is written before anybody reads it.
        unsafe {
            let bytes = alloc(layout);
            if bytes.is_null() {
                handle_alloc_error(layout);
            }
            let node = Node(bytes.cast());
            node.set_header(0);
            node
        }
    }

    unsafe fn free(self, layout: Layout, units: &mut u64) {
        *units -= units_of(layout);
        // SAFETY: the caller gives the layout that the node was allocated with and forgets the node.
        unsafe { dealloc(self.0.cast(), layout) }
    }

    unsafe fn resize(self, from: Layout, to: Layout, units: &mut u64) -> Node<T> {
        *units = *units - units_of(from) + units_of(to);
        // SAFETY: `from` is the layout of the live node; the smaller of both sizes is copied, which covers all
        // words in use. `realloc` cannot change the alignment, so that case copies by hand.
        unsafe {
            if from.align() == to.align() {
                let bytes = realloc(self.0.cast(), from, to.size());
                if bytes.is_null() {
                    handle_alloc_error(to);
                }
                return Node(bytes.cast());
            }
            let bytes = alloc(to);
            if bytes.is_null() {
                handle_alloc_error(to);
            }
            std::ptr::copy_nonoverlapping(self.0.cast::<u8>(), bytes, from.size().min(to.size()));
            dealloc(self.0.cast(), from);
            Node(bytes.cast())
        }
    }
}

#[inline]
fn count_in(header: u64) -> usize {
    (header >> 56) as usize & 7
}

/// Elements that a [`Spill`] keeps on the stack.
const INLINE: usize = 40;

/// Elements on their way from one bucket to another; on the stack for all but improbable chains.
pub(super) struct Spill<T> {
    count: usize,
    tags: [u8; INLINE],
    items: [MaybeUninit<T>; INLINE],
    more: Vec<(u8, T)>,
}

impl<T> Spill<T> {
    pub(super) fn new() -> Self {
        Spill {
            count: 0,
            tags: [0; INLINE],
            items: [const { MaybeUninit::uninit() }; INLINE],
            more: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count + self.more.len()
    }

    fn tags(&self) -> impl Iterator<Item = u8> {
        self.tags[..self.count].iter().copied().chain(self.more.iter().map(|pair| pair.0))
    }

    pub(super) fn push(&mut self, tag: u8, item: T) {
        if self.count < INLINE {
            self.tags[self.count] = tag;
            self.items[self.count].write(item);
            self.count += 1;
        } else {
            self.more.push((tag, item));
        }
    }

    /// The element added last. The caller has checked that there is one.
    pub(super) fn pop(&mut self) -> (u8, T) {
        if let Some(pair) = self.more.pop() {
            return pair;
        }
        assert!(self.count > 0, "the length was checked");
        self.count -= 1;
        // SAFETY: items below the old count are initialised, and this one is forgotten by lowering the count.
        (self.tags[self.count], unsafe { self.items[self.count].assume_init_read() })
    }
}
