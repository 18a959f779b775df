//! The one hash table of the keyspace: keys of a slot, fields of a hash, members of a set or sorted set.
//!
//! It is a *linear hash table* (Litwin, 1980): an insertion that makes it too full splits one bucket, a removal that
//! makes it too empty merges one. There is never a second table, a rehashing state, or a long pause, and memory
//! follows the number of elements smoothly instead of doubling.
//!
//! ```text
//!   Table, 16 bytes:   | root: 8 bytes | state: 8 bytes |
//!
//!   elements      root points to
//!   0             nothing
//!   1             (root is the element itself, nothing is allocated)
//!   2..=12        a node cut to size: 32, 48 or 64 bytes for up to 3, 5 or 7 elements, then a second node
//!   13..3589      an array of buckets of 64 bytes, seven elements each; overflowing buckets chain small nodes
//!   more          a directory of such arrays, 512 buckets each        (pictures: `node.rs`, `buckets.rs`)
//! ```
//!
//! **Addressing.** With `n` buckets and `2^k < n <= 2^(k+1)`, a hash belongs to the bucket named by its low `k + 1`
//! bits, or if that does not exist yet, by its low `k` bits. Splitting creates bucket `n` from bucket `n - 2^k`.
//!
//! **Scanning.** Read hashes with their bits reversed: each bucket then is one contiguous range of hashes, a split
//! cuts a range in two, and a merge joins two. A cursor is the start of a range, and a scan goes upwards through
//! them. So whatever splits and merges happen in between, all elements below the cursor have been seen, which is
//! SCAN's promise. A cursor is always less than twice the largest number of buckets the table has had.
//!
//! **Memory.** 11 to 13 bytes per element at any size above one, 11.6 to 12.1 from 20,000 on, chains included:
//! `cargo test bytes_per_element -- --nocapture` prints them.
//!
//! Hashes are not stored, except for eight bits: splits compute them again, with [`crate::hash::hash`] of the key.

mod buckets;
mod iter;
mod node;
#[cfg(test)]
mod tests;

use crate::hash::hash as hash_of;
use buckets::{Directory, SEGMENT};
pub use iter::{Iter, IterMut};
use node::{Node, Spill, tag_of};
use std::marker::PhantomData;

/// What a table holds: one machine word, a pointer to something that knows its key.
///
/// The key of an element must not change while it is in a table. (It may move: [`Table::find_mut`] gives access to
/// the word, so that the owner can store the new address.)
pub trait TableItem {
    /// The bytes that identify the element in its table.
    fn key(&self) -> &[u8];
}

/// Elements per bucket above which a bucket is split, and below which one is merged. The gap prevents thrashing.
const SPLIT_LOAD: u64 = 7;
const MERGE_LOAD: u64 = 5;
/// A chained pair of nodes serves a dozen elements in less memory than two buckets.
const SPLIT_OFFSET: u64 = 5;
const BUCKETS_MAX: u64 = 1 << 32;

/// A hash table of elements of one word. See the module's documentation.
pub struct Table<T> {
    /// Depends on the state: null, the element, a node, an array, or a directory.
    root: *mut T,
    state: State,
    owns: PhantomData<T>,
}

// SAFETY: a table owns its elements and memory, and no memory is shared between tables.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: `&Table` only gives out `&T`.
unsafe impl<T: Sync> Sync for Table<T> {}

/// The second word of a table. What kind of root it has, and (except for large tables, which have that in their
/// directory) the number of elements and the units of memory of its chained nodes.
///
/// ```text
///   empty   0
///   single  kind 1
///   small   kind 0, buckets 16 bits, units 20 bits, elements 24 bits     (at most 512 buckets: all fits)
///   large   kind 2, buckets 60 bits
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Single,
    Small,
    Large,
}

impl State {
    const EMPTY: State = State(0);
    const SINGLE: State = State(1 << 60);
    const KIND_LARGE: u64 = 2 << 60;

    fn small(buckets: u64, units: u64, elements: u64) -> State {
        State(buckets | units << 16 | elements << 36)
    }

    fn large(buckets: u64) -> State {
        State(buckets | Self::KIND_LARGE)
    }

    #[inline]
    fn kind(self) -> Kind {
        match self.0 >> 60 {
            1 => Kind::Single,
            2 => Kind::Large,
            _ if self.0 == 0 => Kind::Empty,
            _ => Kind::Small,
        }
    }

    /// Buckets of a small or large table.
    #[inline]
    fn buckets(self) -> u64 {
        if self.0 >= Self::KIND_LARGE { self.0 & !Self::KIND_LARGE } else { self.0 & 0xffff }
    }
}

/// The bucket of `hash` among `buckets` buckets.
#[inline]
fn address(hash: u64, buckets: u64) -> u64 {
    let mask = (2 << ((buckets - 1) | 1).ilog2()) - 1;
    let index = hash & mask;
    if index >= buckets { hash & (mask >> 1) } else { index }
}

/// The hash bits that name bucket `index`: all hashes in it agree on these.
fn depth_mask(index: u64, buckets: u64) -> u64 {
    if buckets == 1 {
        return 0;
    }
    let half = 1 << (buckets - 1).ilog2();
    if index >= half || index + half < buckets { 2 * half - 1 } else { half - 1 }
}

impl<T> Table<T> {
    const WORD: () = assert!(size_of::<T>() == 8 && align_of::<T>() <= 8);

    /// An empty table. Allocates nothing.
    pub const fn new() -> Self {
        let () = Self::WORD;
        Table { root: std::ptr::null_mut(), state: State::EMPTY, owns: PhantomData }
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self.state.kind() {
            Kind::Empty => 0,
            Kind::Single => 1,
            Kind::Small => (self.state.0 >> 36) as usize,
            // SAFETY: a large table's root is its directory.
            Kind::Large => unsafe { self.directory().elements().read() as usize },
        }
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of heap memory of the table itself: the sizes of its allocations, without the elements' own memory.
    pub fn heap_bytes(&self) -> usize {
        let buckets = self.state.buckets();
        let bytes = match self.state.kind() {
            Kind::Empty | Kind::Single => 0,
            Kind::Small if buckets == 1 => 0,
            Kind::Small => buckets::capacity_for(buckets) * node::NODE_BYTES as u64,
            // SAFETY: a large table's root is its directory.
            Kind::Large => unsafe { self.directory().heap_bytes(buckets) },
        };
        (bytes + self.units() * 16) as usize
    }

    /// One step of a scan: calls `visit` for all elements of one bucket and returns the cursor of the next step, or
    /// 0 when the scan is complete. A scan starts with cursor 0; any value is allowed.
    ///
    /// An element that is in the table from the first step to the last is visited at least once, whatever is
    /// inserted and removed between the steps. It is visited twice only if buckets were merged in between.
    pub fn scan(&self, cursor: u64, visit: &mut dyn FnMut(&T)) -> u64 {
        match self.state.kind() {
            Kind::Empty => return 0,
            Kind::Single => {
                visit(self.single());
                return 0;
            }
            Kind::Small | Kind::Large => {}
        }
        let buckets = self.state.buckets();
        let index = address(cursor, buckets);
        let next = next_cursor(cursor, depth_mask(index, buckets));
        // SAFETY: the addresses are below the number of buckets, and `&self` keeps the chain as it is.
        unsafe {
            let bucket = self.bucket(index);
            bucket.prefetch_items();
            if next != 0 {
                self.bucket(address(next, buckets)).prefetch_items();
            }
            let mut node = Some(bucket);
            while let Some(current) = node {
                for slot in 0..current.count() {
                    visit(&*current.slot(slot));
                }
                node = current.next();
            }
        }
        next
    }

    /// Like [`Table::scan`]; the elements may be changed, except for their keys.
    pub fn scan_mut(&mut self, cursor: u64, visit: &mut dyn FnMut(&mut T)) -> u64 {
        match self.state.kind() {
            Kind::Empty => return 0,
            Kind::Single => {
                visit(self.single_mut());
                return 0;
            }
            Kind::Small | Kind::Large => {}
        }
        let buckets = self.state.buckets();
        let index = address(cursor, buckets);
        let next = next_cursor(cursor, depth_mask(index, buckets));
        // SAFETY: the addresses are below the number of buckets, and `&mut self` makes the chain's elements ours alone.
        unsafe {
            let bucket = self.bucket(index);
            bucket.prefetch_items();
            if next != 0 {
                self.bucket(address(next, buckets)).prefetch_items();
            }
            let mut node = Some(bucket);
            while let Some(current) = node {
                for slot in 0..current.count() {
                    visit(&mut *current.slot(slot));
                }
                node = current.next();
            }
        }
        next
    }

    /// An element chosen with equal probability for all, or `None` of an empty table. `rng` returns 64 random bits.
    ///
    /// A bucket is hit in proportion to its range of hashes, and accepted in proportion to its elements divided by
    /// that range; only elements of overlong chains (one bucket in thousands) are slightly disadvantaged.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<&T> {
        /// Elements up to which a bucket of half the hash range is treated exactly; the mean is at most 7.
        const FAIR: u64 = 16;
        match self.state.kind() {
            Kind::Empty => return None,
            Kind::Single => return Some(self.single()),
            Kind::Small | Kind::Large => {}
        }
        let buckets = self.state.buckets();
        let fine = depth_mask(buckets - 1, buckets);
        // SAFETY: addresses are below the number of buckets, indices below the chain's count.
        unsafe {
            if buckets == 1 {
                let only = self.bucket(0);
                return Some(&*only.chain_nth((rng() % only.chain_count() as u64) as usize));
            }
            // More than 3 in 10 attempts succeed; the limit is for generators that are not random.
            for _ in 0..64 {
                let index = address(rng(), buckets);
                let chain = self.bucket(index);
                let count = chain.chain_count() as u64;
                let bound = if depth_mask(index, buckets) == fine { FAIR } else { 2 * FAIR };
                let pick = rng() % bound.max(count);
                if pick < count {
                    return Some(&*chain.chain_nth(pick as usize));
                }
            }
            let first = address(rng(), buckets);
            (first..buckets).chain(0..first).find_map(|index| {
                let chain = self.bucket(index);
                let count = chain.chain_count() as u64;
                (count > 0).then(|| &*chain.chain_nth((rng() % count) as usize))
            })
        }
    }

    /// Visits `wanted` different elements of neighbouring buckets, starting at a random one; fewer if there are not
    /// as many. Much cheaper than as many calls of [`Table::random`], and less independent: for eviction samples.
    /// Returns how many were visited.
    pub fn sample(&self, wanted: usize, rng: &mut dyn FnMut() -> u64, visit: &mut dyn FnMut(&T)) -> usize {
        let wanted = wanted.min(self.len());
        if wanted == 0 {
            return 0;
        }
        if self.state.kind() == Kind::Single {
            visit(self.single());
            return 1;
        }
        let (buckets, mut seen) = (self.state.buckets(), 0);
        let first = address(rng(), buckets);
        for index in (first..buckets).chain(0..first) {
            // SAFETY: the bucket exists, and the indices are below the chain's count.
            unsafe {
                let chain = self.bucket(index);
                let count = chain.chain_count();
                let turn = if count > wanted - seen { (rng() % count as u64) as usize } else { 0 };
                for offset in 0..count.min(wanted - seen) {
                    visit(&*chain.chain_nth((turn + offset) % count));
                    seen += 1;
                }
            }
            if seen == wanted {
                break;
            }
        }
        seen
    }

    /// All elements, bucket by bucket.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// All elements, bucket by bucket; their keys must stay as they are.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut::new(self)
    }

    /// Takes up to `limit` elements out and gives them to `take`, freeing the table's memory as it goes. Returns
    /// whether elements are left. For freeing or moving a large table in bounded steps.
    pub fn take_some(&mut self, limit: usize, take: &mut dyn FnMut(T)) -> bool {
        for _ in 0..limit {
            match self.take_one() {
                Some(item) => take(item),
                None => return false,
            }
        }
        !self.is_empty()
    }

    fn take_one(&mut self) -> Option<T> {
        loop {
            match self.state.kind() {
                Kind::Empty => return None,
                Kind::Single => return Some(self.take_single()),
                Kind::Small | Kind::Large => {}
            }
            let (len, mut units) = (self.len(), self.units());
            let buckets = self.state.buckets();
            if buckets == 1 {
                // SAFETY: the only bucket has at least two elements here.
                let item = unsafe {
                    let last = Node::<T>(self.root).chain_count() - 1;
                    self.remove_index(last)
                };
                return Some(item);
            }
            // SAFETY: the bucket exists.
            match unsafe { self.bucket(buckets - 1).take_last(&mut units) } {
                Some(item) => {
                    self.set_counts(len as u64 - 1, units);
                    return Some(item);
                }
                None => {
                    self.merge_last();
                    let buckets = self.state.buckets();
                    if matches!(self.state.kind(), Kind::Small | Kind::Large) && buckets > 1 {
                        // SAFETY: the bucket exists.
                        unsafe { self.bucket(buckets - 1).prefetch_items() };
                    }
                }
            }
        }
    }

    /// Removes element `index` of the chain of a table of one bucket.
    unsafe fn remove_index(&mut self, mut index: usize) -> T {
        // SAFETY: the caller checked that there is such an element.
        unsafe {
            let mut node = Node::<T>(self.root);
            while let Some(next) = node.next() {
                let count = node.count();
                if index < count {
                    break;
                }
                index -= count;
                node = next;
            }
            self.remove_from(0, node, index)
        }
    }

    /// Removes the element at `index` of `node`, which is in the chain of `bucket`; merges nothing, but a table of
    /// one bucket becomes a single element or empty when it has no more.
    unsafe fn remove_from(&mut self, bucket: u64, node: Node<T>, index: usize) -> T {
        let (len, mut units) = (self.len() as u64 - 1, self.units());
        // SAFETY: the caller found the element there.
        unsafe {
            if self.state.buckets() > 1 {
                let item = self.bucket(bucket).remove(node, index, &mut units);
                self.set_counts(len, units);
                return item;
            }
            let mut link = Node::<T>(self.root);
            let item = Node::remove_at_link(&mut link, node, index, &mut units);
            self.root = link.0;
            if len == 1 {
                let alone = link.take_single(&mut units);
                self.put_single(alone);
            } else {
                self.set_counts(len, units);
            }
            item
        }
    }

    fn single(&self) -> &T {
        // SAFETY: only called in the state in which the root word is an element.
        unsafe { &*std::ptr::from_ref(&self.root).cast::<T>() }
    }

    fn single_mut(&mut self) -> &mut T {
        // SAFETY: only called in the state in which the root word is an element.
        unsafe { &mut *std::ptr::from_mut(&mut self.root).cast::<T>() }
    }

    fn put_single(&mut self, item: T) {
        // SAFETY: an element is one word; the old root was given up by the caller.
        unsafe { std::ptr::from_mut(&mut self.root).cast::<T>().write(item) };
        self.state = State::SINGLE;
    }

    fn take_single(&mut self) -> T {
        // SAFETY: the state changes with the read, so the element has one owner.
        let item = unsafe { std::ptr::from_ref(&self.root).cast::<T>().read() };
        self.root = std::ptr::null_mut();
        self.state = State::EMPTY;
        item
    }

    #[inline]
    fn directory(&self) -> Directory<T> {
        Directory(self.root.cast())
    }

    /// Bucket `index`, which exists, of a small or large table.
    #[inline]
    unsafe fn bucket(&self, index: u64) -> Node<T> {
        // SAFETY: the root is what the state says.
        unsafe {
            if self.state.0 >= State::KIND_LARGE {
                self.directory().bucket(index)
            } else {
                buckets::bucket_in(self.root, index)
            }
        }
    }

    fn units(&self) -> u64 {
        match self.state.kind() {
            Kind::Empty | Kind::Single => 0,
            Kind::Small => self.state.0 >> 16 & 0xf_ffff,
            // SAFETY: a large table's root is its directory.
            Kind::Large => unsafe { self.directory().units().read() },
        }
    }

    /// Sets the counts of a small or large table.
    fn set_counts(&mut self, elements: u64, units: u64) {
        if self.state.0 >= State::KIND_LARGE {
            // SAFETY: a large table's root is its directory, and `&mut self` makes it ours alone.
            unsafe {
                self.directory().elements().write(elements);
                self.directory().units().write(units);
            }
        } else {
            self.state = State::small(self.state.buckets(), units, elements);
        }
    }

    /// Merges the last of at least two buckets into the one it was split from.
    fn merge_last(&mut self) {
        let (elements, mut units) = (self.len() as u64, self.units());
        let last = self.state.buckets() - 1;
        let into = last - (1 << last.ilog2());
        let mut spill = Spill::new();
        // SAFETY: both buckets exist; the array or directory is told to forget the last one once it is empty.
        unsafe {
            self.bucket(last).drain(&mut spill, &mut units);
            if spill.len() > 0 || last == 1 {
                self.bucket(into).drain(&mut spill, &mut units);
            }
            if last == 1 {
                buckets::free_array(self.root, 2);
                match spill.len() {
                    0 => (self.root, self.state) = (std::ptr::null_mut(), State::EMPTY),
                    1 => self.put_single(spill.pop().1),
                    _ => {
                        self.root = Node::build(&mut spill, &mut units).0;
                        self.state = State::small(1, units, elements);
                    }
                }
                return;
            }
            if spill.len() > 0 {
                self.bucket(into).fill(&mut spill, &mut units);
            }
            if self.state.kind() == Kind::Large {
                self.root = self.directory().shorten(last + 1).0.cast();
                if last == SEGMENT {
                    self.root = self.directory().into_only_segment();
                    self.state = State::small(last, units, elements);
                    return;
                }
                self.state = State::large(last);
            } else {
                self.root = buckets::shorten_array(self.root, last + 1, last);
                self.state = State::small(last, units, elements);
            }
            self.set_counts(elements, units);
        }
    }
}

/// Asks the processor to load a line; never faults, whatever the address.
#[inline]
pub fn prefetch(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and touches no memory as far as the program can tell.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// The start of the next range of hashes, for scans: `mask` names the bucket that `cursor` is in.
fn next_cursor(cursor: u64, mask: u64) -> u64 {
    (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
}

impl<T: TableItem> Table<T> {
    /// The element with this key, whose hash is `hash`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&T> {
        // SAFETY: the pointer is to a live element, borrowed as long as the table is.
        self.locate(hash, key).map(|(_, node, index)| unsafe { &*self.at(node, index) })
    }

    /// The element with this key, for changing it. Its key must stay the same.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut T> {
        let (_, node, index) = self.locate(hash, key)?;
        if node.0.is_null() {
            return Some(self.single_mut());
        }
        // SAFETY: a live element of this table, which is borrowed exclusively.
        Some(unsafe { &mut *node.slot(index) })
    }

    /// An element that `accept`s, among those whose hash has these low 32 bits: for indexes that keep a part of the
    /// hash instead of the key.
    pub fn find_by_low_hash(&self, low: u32, accept: &mut dyn FnMut(&T) -> bool) -> Option<&T> {
        let mut matches = |item: &T| hash_of(item.key()) as u32 == low && accept(item);
        match self.state.kind() {
            Kind::Empty => None,
            Kind::Single => Some(self.single()).filter(|item| matches(item)),
            Kind::Small | Kind::Large => {
                // There are at most 2^32 buckets, so that the low half of a hash names its bucket.
                let mut node = Some(self.bucket_of(u64::from(low)));
                while let Some(current) = node {
                    // SAFETY: `&self` keeps the chain as it is; indices are below the node's count.
                    unsafe {
                        for slot in 0..current.count() {
                            let item = &*current.slot(slot);
                            if matches(item) {
                                return Some(item);
                            }
                        }
                        node = current.next();
                    }
                }
                None
            }
        }
    }

    /// Starts to load the bucket where a key with this hash would be. The table's own words must be at hand.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if !matches!(self.state.kind(), Kind::Empty) {
            let line = match self.state.kind() {
                Kind::Single => self.root.cast_const().cast(),
                _ => self.bucket_of(hash).0.cast_const().cast(),
            };
            prefetch(line);
        }
    }

    /// Starts to load the element with this hash, if its tag is in the bucket. The bucket should be at hand.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        if matches!(self.state.kind(), Kind::Small | Kind::Large) {
            // SAFETY: the bucket is live; a candidate is a live element, one word that points to what it owns.
            unsafe {
                self.bucket_of(hash).find(node::tag_of(hash), |item| {
                    let target = std::ptr::from_ref(item).cast::<*const u8>().read();
                    prefetch(target);
                    prefetch(target.wrapping_add(47));
                    true
                });
            }
        }
    }

    /// The element that most probably has this hash: the first with its tag. The bucket should be at hand.
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<&T> {
        match self.state.kind() {
            Kind::Empty => None,
            Kind::Single => Some(self.single()),
            Kind::Small | Kind::Large => {
                let mut found = None;
                // SAFETY: the bucket is live, and `&self` keeps its elements alive.
                unsafe {
                    self.bucket_of(hash).find(node::tag_of(hash), |item| {
                        found = Some(std::ptr::from_ref(item));
                        true
                    });
                    found.map(|item| &*item)
                }
            }
        }
    }

    fn bucket_of(&self, hash: u64) -> Node<T> {
        // SAFETY: an address is below the number of buckets. Only called for small and large tables.
        unsafe { self.bucket(address(hash, self.state.buckets())) }
    }

    /// Adds an element whose key is not in the table (checked in debug builds only), and returns where it is.
    /// `hash` is the hash of its key. At most one bucket is split.
    pub fn insert_new(&mut self, hash: u64, item: T) -> &mut T {
        debug_assert!(self.find(hash, item.key()).is_none(), "the key is in the table already");
        debug_assert_eq!(hash, hash_of(item.key()), "not the hash of the key");
        match self.state.kind() {
            Kind::Empty => {
                self.put_single(item);
                return self.single_mut();
            }
            Kind::Single => {
                let first = self.take_single();
                let (mut spill, mut units) = (Spill::new(), 0);
                spill.push(tag_of(hash), item);
                spill.push(tag_of(hash_of(first.key())), first);
                // SAFETY: two elements; `build` places the last pushed first, so the new one is at index 1.
                unsafe {
                    let node = Node::build(&mut spill, &mut units);
                    self.root = node.0;
                    self.state = State::small(1, units, 2);
                    return &mut *node.slot(1);
                }
            }
            Kind::Small | Kind::Large => {}
        }
        let elements = self.len() as u64 + 1;
        let buckets = self.state.buckets();
        if elements > buckets * SPLIT_LOAD + SPLIT_OFFSET && buckets < BUCKETS_MAX {
            self.split_next();
        }
        let (buckets, mut units) = (self.state.buckets(), self.units());
        let index = address(hash, buckets);
        // SAFETY: the bucket exists; in a table of one bucket the root is its link.
        unsafe {
            let place = if buckets == 1 {
                let mut link = Node::<T>(self.root);
                let place = Node::push_at_link(&mut link, tag_of(hash), item, &mut units);
                self.root = link.0;
                place
            } else {
                self.bucket(index).push(tag_of(hash), item, &mut units)
            };
            self.set_counts(elements, units);
            &mut *place
        }
    }

    /// The element with this key, or else the one that `make` returns, added; and whether it was added.
    pub fn find_or_insert_with(&mut self, hash: u64, key: &[u8], make: impl FnOnce() -> T) -> (&mut T, bool) {
        match self.locate(hash, key) {
            Some((_, node, _)) if node.0.is_null() => (self.single_mut(), false),
            // SAFETY: a live element of this table, which is borrowed exclusively.
            Some((_, node, index)) => (unsafe { &mut *node.slot(index) }, false),
            None => (self.insert_new(hash, make()), true),
        }
    }

    /// Takes the element with this key out. At most one bucket is merged.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<T> {
        let (bucket, node, index) = self.locate(hash, key)?;
        if node.0.is_null() {
            return Some(self.take_single());
        }
        // SAFETY: the element was found there.
        let item = unsafe { self.remove_from(bucket, node, index) };
        self.merge_if_sparse();
        Some(item)
    }

    /// One step of a scan, as [`Table::scan`], that takes out the elements for which `condemned` is true and gives
    /// them to `take`.
    pub fn scan_remove(
        &mut self,
        cursor: u64,
        condemned: &mut dyn FnMut(&mut T) -> bool,
        take: &mut dyn FnMut(T),
    ) -> u64 {
        let mut removed = 0;
        let next = match self.state.kind() {
            Kind::Empty => 0,
            Kind::Single => {
                if condemned(self.single_mut()) {
                    take(self.take_single());
                }
                0
            }
            Kind::Small | Kind::Large => {
                let buckets = self.state.buckets();
                let bucket = address(cursor, buckets);
                let (mut kept, mut units) = (Spill::new(), self.units());
                let mut spill = Spill::new();
                let elements = self.len() as u64;
                // SAFETY: the bucket exists; it is refilled with what is kept before anything else happens.
                unsafe {
                    if buckets == 1 {
                        Node(self.root).drain_and_free(&mut spill, &mut units);
                        self.root = std::ptr::null_mut();
                        self.state = State::EMPTY;
                    } else {
                        self.bucket(bucket).drain(&mut spill, &mut units);
                        self.set_counts(elements - spill.len() as u64, units);
                    }
                    while spill.len() > 0 {
                        let (tag, mut item) = spill.pop();
                        if condemned(&mut item) {
                            removed += 1;
                            take(item);
                        } else {
                            kept.push(tag, item);
                        }
                    }
                    match kept.len() {
                        0 => {}
                        1 if buckets == 1 => self.put_single(kept.pop().1),
                        _ if buckets == 1 => {
                            self.root = Node::build(&mut kept, &mut units).0;
                            self.state = State::small(1, units, elements - removed);
                        }
                        _ => {
                            self.bucket(bucket).fill(&mut kept, &mut units);
                            self.set_counts(elements - removed, units);
                        }
                    }
                }
                next_cursor(cursor, depth_mask(bucket, buckets))
            }
        };
        for _ in 0..removed {
            self.merge_if_sparse();
        }
        next
    }

    /// Bucket, node and index of an element; a null node means the single element in the root.
    #[inline]
    fn locate(&self, hash: u64, key: &[u8]) -> Option<(u64, Node<T>, usize)> {
        match self.state.kind() {
            Kind::Empty => None,
            Kind::Single => (self.single().key() == key).then_some((0, Node(std::ptr::null_mut()), 0)),
            Kind::Small | Kind::Large => {
                let bucket = address(hash, self.state.buckets());
                // SAFETY: the address is below the number of buckets.
                let found = unsafe { self.bucket(bucket).find(tag_of(hash), |item| item.key() == key) };
                found.map(|(node, index)| (bucket, node, index))
            }
        }
    }

    #[inline]
    unsafe fn at(&self, node: Node<T>, index: usize) -> *const T {
        // SAFETY: `locate` returned these.
        if node.0.is_null() { self.single() } else { unsafe { node.slot(index) } }
    }

    fn merge_if_sparse(&mut self) {
        let buckets = self.state.buckets();
        if buckets > 1 && (self.len() as u64) < buckets * MERGE_LOAD - 2 {
            self.merge_last();
        }
    }

    /// Creates the next bucket and moves the elements that belong there into it.
    fn split_next(&mut self) {
        let (elements, mut units) = (self.len() as u64, self.units());
        let new = self.state.buckets();
        let bit = 1 << new.ilog2();
        let mut old_items = Spill::new();
        // SAFETY: the table gets its new bucket before the two are filled.
        unsafe {
            if new == 1 {
                Node(self.root).drain_and_free(&mut old_items, &mut units);
                self.root = buckets::allocate_array(2);
                self.state = State::small(2, 0, 0);
            } else {
                if new < SEGMENT {
                    self.root = buckets::extend_array(self.root, new);
                    self.state = State::small(new + 1, units, elements);
                } else {
                    if new == SEGMENT {
                        self.root = Directory::new(self.root, elements, units).0.cast();
                    }
                    self.root = self.directory().extend(new).0.cast();
                    self.state = State::large(new + 1);
                }
                self.bucket(new - bit).drain(&mut old_items, &mut units);
            }
            let (mut stays, mut goes) = (Spill::new(), Spill::new());
            while old_items.len() > 0 {
                let (tag, item) = old_items.pop();
                let target = if hash_of(item.key()) & bit == 0 { &mut stays } else { &mut goes };
                target.push(tag, item);
            }
            self.bucket(new - bit).fill(&mut stays, &mut units);
            self.bucket(new).fill(&mut goes, &mut units);
        }
        self.set_counts(elements, units);
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        while self.take_some(usize::MAX, &mut drop) {}
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}
