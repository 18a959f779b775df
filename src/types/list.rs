//! Lists: one listpack while small, a quicklist when large. The conversions happen exactly where Valkey's do, which is
//! per command: call [`List::prepare_push`] with all that a command will add, and [`List::shrink`] after removals.

use super::item::{Item, OwnedItem};
use super::listpack::Listpack;
pub use super::quicklist::{End, ListLimits, NodeKind};
use super::quicklist::{Quicklist, remove_equal_entries};
use super::{Collection, Payload};
use std::ops::ControlFlow;

/// Bytes of an empty listpack.
const EMPTY_BYTES: usize = 7;

/// The value of a list key. Indexes count from the head, starting at 0.
#[derive(Clone)]
pub enum List {
    Listpack(Listpack),
    Quicklist(Box<Quicklist>),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list, which commands create only to push to it.
    pub fn new() -> Self {
        List::Listpack(Listpack::new())
    }

    /// A list of these elements, pushed one after the other to an end. `bytes` is their length in all.
    pub fn of(elements: &[&[u8]], bytes: usize, end: End, limits: &ListLimits) -> Self {
        if limits.exceeded_by(EMPTY_BYTES.saturating_add(bytes), elements.len()) {
            let mut list = List::new();
            list.prepare_push(bytes, elements.len(), limits);
            list.push_all(elements, end);
            return list;
        }
        let items = elements.iter().map(|element| Item::parse(element));
        List::Listpack(match end {
            End::Head => Listpack::from_items(items.rev()),
            End::Tail => Listpack::from_items(items),
        })
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            List::Listpack(_) => "listpack",
            List::Quicklist(_) => "quicklist",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            List::Listpack(lp) => lp.len(),
            List::Quicklist(ql) => ql.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes ready for a command that adds (or sets) `count` elements of `bytes` bytes in all: converts to a quicklist
    /// if one listpack would not hold them.
    pub fn prepare_push(&mut self, bytes: usize, count: usize, limits: &ListLimits) {
        match self {
            List::Listpack(lp) => {
                if limits.exceeded_by(lp.as_bytes().len().saturating_add(bytes), lp.len() + count) {
                    self.convert_to_quicklist(limits);
                }
            }
            List::Quicklist(ql) => ql.set_packed_threshold(limits.packed_threshold),
        }
    }

    fn convert_to_quicklist(&mut self, limits: &ListLimits) {
        if let List::Listpack(lp) = self {
            let mut ql = Quicklist::new(limits);
            ql.push_listpack(std::mem::take(lp));
            *self = List::Quicklist(Box::new(ql));
        }
    }

    /// Converts back to a listpack if one node is left that is at most half full. Commands that remove or replace
    /// elements call this once at their end.
    pub fn shrink(&mut self, limits: &ListLimits) {
        self.convert_to_listpack(limits, 2);
    }

    /// Chooses the encoding of a list that came as a whole, from RDB or RESTORE.
    pub fn settle(&mut self, limits: &ListLimits) {
        match self {
            List::Listpack(lp) if limits.exceeded_by(lp.as_bytes().len(), lp.len()) => {
                self.convert_to_quicklist(limits)
            }
            List::Listpack(_) => {}
            List::Quicklist(_) => self.convert_to_listpack(limits, 1),
        }
    }

    fn convert_to_listpack(&mut self, limits: &ListLimits, divisor: usize) {
        let List::Quicklist(ql) = self else { return };
        let (bytes, count) = limits.node_limits();
        if let Some(lp) = ql.single_listpack()
            && lp.as_bytes().len() <= bytes / divisor
            && lp.len() <= count / divisor
        {
            *self = List::Listpack(std::mem::take(lp));
        }
    }

    /// Adds an element at an end. [`List::prepare_push`] must have been called for it.
    pub fn push(&mut self, text: &[u8], end: End) {
        match (self, end) {
            (List::Listpack(lp), End::Head) => _ = lp.prepend(text),
            (List::Listpack(lp), End::Tail) => _ = lp.append(text),
            (List::Quicklist(ql), _) => ql.push(text, end),
        }
    }

    /// Adds elements at an end, one after the other. [`List::prepare_push`] must have been called for them.
    pub fn push_all(&mut self, elements: &[&[u8]], end: End) {
        let items = elements.iter().map(|element| Item::parse(element));
        match (self, end) {
            (List::Listpack(lp), End::Head) if let Some(first) = lp.first() => {
                lp.insert_all_before(first, items.rev());
            }
            (List::Listpack(lp), End::Head) => lp.push_all(items.rev()),
            (List::Listpack(lp), End::Tail) => lp.push_all(items),
            (List::Quicklist(ql), _) => elements.iter().for_each(|element| ql.push(element, end)),
        }
    }

    /// Takes the element off an end.
    pub fn pop(&mut self, end: End) -> Option<OwnedItem> {
        match self {
            List::Listpack(lp) => {
                let pos = if end == End::Head { lp.first() } else { lp.last() }?;
                let item = lp.get(pos).into();
                lp.remove(pos);
                Some(item)
            }
            List::Quicklist(ql) => ql.pop(end),
        }
    }

    /// Calls `f` with the elements from `index` on, towards the tail (`forward`) or the head, until it breaks.
    pub fn visit(&self, index: usize, forward: bool, mut f: impl FnMut(Item<'_>) -> ControlFlow<()>) {
        match self {
            List::Listpack(lp) if forward => {
                let Some(first) = lp.seek(index as i64) else { return };
                _ = lp.iter_from(first).try_for_each(f);
            }
            List::Listpack(lp) => {
                let mut pos = lp.seek(index as i64);
                while let Some(at) = pos {
                    if f(lp.get(at)).is_break() {
                        return;
                    }
                    pos = lp.prev(at);
                }
            }
            List::Quicklist(ql) => ql.visit(index, forward, &mut f),
        }
    }

    /// Calls `f` with up to `count` elements from `index` on.
    pub fn visit_range(&self, index: usize, count: usize, mut f: impl FnMut(Item<'_>)) {
        let mut left = count;
        if left == 0 {
            return;
        }
        self.visit(index, true, |item| {
            f(item);
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// What `f` makes of the element at `index`.
    pub fn get<R>(&self, index: usize, f: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.visit(index, true, |item| {
            result = f.take().map(|f| f(item));
            ControlFlow::Break(())
        });
        result
    }

    /// Inserts next to the element at `index`, which must exist. [`List::prepare_push`] must have been called for it.
    pub fn insert(&mut self, index: usize, text: &[u8], after: bool) {
        match self {
            List::Listpack(lp) => {
                if let Some(pos) = lp.seek(index as i64) {
                    match after {
                        true => lp.insert_after(pos, Item::parse(text)),
                        false => lp.insert_before(pos, Item::parse(text)),
                    };
                }
            }
            List::Quicklist(ql) => ql.insert(index, text, after),
        }
    }

    /// Replaces the element at `index`, which must exist. [`List::prepare_push`] must have been called for it, and
    /// [`List::shrink`] belongs after it.
    pub fn replace(&mut self, index: usize, text: &[u8]) {
        match self {
            List::Listpack(lp) => {
                if let Some(pos) = lp.seek(index as i64) {
                    lp.replace(pos, Item::parse(text));
                }
            }
            List::Quicklist(ql) => ql.replace(index, text),
        }
    }

    /// Removes up to `count` elements from `index` on.
    pub fn remove_range(&mut self, index: usize, count: usize) {
        match self {
            List::Listpack(lp) => lp.remove_range(index as i64, count),
            List::Quicklist(ql) => ql.remove_range(index, count),
        }
    }

    /// Removes up to `max` elements equal to `text`, going from the given end; returns how many.
    pub fn remove_equal(&mut self, text: &[u8], from: End, max: usize) -> usize {
        match self {
            List::Listpack(lp) => remove_equal_entries(lp, text, from, max),
            List::Quicklist(ql) => ql.remove_equal(text, from, max),
        }
    }

    /// Calls `f` with each node as it is dumped; a listpack counts as one node.
    pub fn for_each_node(&self, mut f: impl FnMut(NodeKind, &[u8])) {
        match self {
            List::Listpack(lp) => f(NodeKind::Packed, lp.as_bytes()),
            List::Quicklist(ql) => ql.for_each_node(f),
        }
    }
}

impl Collection for List {
    fn free_effort(&self) -> usize {
        match self {
            List::Listpack(_) => 1,
            List::Quicklist(ql) => ql.node_count(),
        }
    }

    fn drop_some(&mut self, budget: usize) -> bool {
        match self {
            List::Listpack(_) => true,
            List::Quicklist(ql) => ql.drop_some(budget),
        }
    }

    fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self {
            List::Listpack(lp) => lp.heap_bytes(),
            List::Quicklist(ql) => ql.heap_bytes_sampled(samples),
        }
    }
}

impl Payload for List {
    fn into_raw(self) -> (u8, usize) {
        match self {
            List::Listpack(lp) => (0, lp.into_word()),
            List::Quicklist(ql) => (1, Box::into_raw(ql).expose_provenance()),
        }
    }

    unsafe fn from_raw(encoding: u8, word: usize) -> Self {
        match encoding {
            // SAFETY: the caller promises a pair from `into_raw`, where tag 0 goes with a listpack's word.
            0 => List::Listpack(unsafe { Listpack::from_word(word) }),
            // SAFETY: and any other tag with a box of a quicklist.
            _ => List::Quicklist(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) }),
        }
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
