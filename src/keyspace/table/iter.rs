//! Iteration over all elements of a table that does not change meanwhile.

use super::{Kind, Node, Table};
use std::marker::PhantomData;

/// Walks over buckets and chains. The borrow that keeps the table as it is lives in the wrappers below.
struct Walk<T> {
    /// A bitwise copy of the table's two words, never dropped, to find its buckets.
    table: std::mem::ManuallyDrop<Table<T>>,
    next_bucket: u64,
    buckets: u64,
    node: Option<Node<T>>,
    index: usize,
    left: usize,
    single: *mut T,
}

impl<T> Walk<T> {
    /// `single` is where the element of a table in state single is.
    fn new(table: &Table<T>, single: *mut T) -> Self {
        let buckets = match table.state.kind() {
            Kind::Empty | Kind::Single => 0,
            Kind::Small | Kind::Large => table.state.buckets(),
        };
        let copy = Table { root: table.root, state: table.state, owns: PhantomData };
        let single = if table.state.kind() == Kind::Single { single } else { std::ptr::null_mut() };
        let (next_bucket, index, left) = (0, 0, table.len());
        Walk {
            table: std::mem::ManuallyDrop::new(copy),
            next_bucket,
            buckets,
            node: None,
            index,
            left,
            single,
        }
    }

    fn next(&mut self) -> Option<*mut T> {
        if !self.single.is_null() {
            self.left = 0;
            return Some(std::mem::replace(&mut self.single, std::ptr::null_mut()));
        }
        // SAFETY: the table lives and does not change while the wrapper borrows it.
        unsafe {
            loop {
                if let Some(node) = self.node {
                    if self.index < node.count() {
                        self.index += 1;
                        self.left -= 1;
                        return Some(node.slot(self.index - 1));
                    }
                    (self.node, self.index) = (node.next(), 0);
                    if let Some(node) = self.node {
                        node.prefetch_items();
                    }
                } else if self.next_bucket < self.buckets {
                    let node = self.table.bucket(self.next_bucket);
                    node.prefetch_items();
                    self.node = Some(node);
                    (self.next_bucket, self.index) = (self.next_bucket + 1, 0);
                } else {
                    return None;
                }
            }
        }
    }
}

/// See [`Table::iter`].
pub struct Iter<'a, T> {
    walk: Walk<T>,
    borrow: PhantomData<&'a Table<T>>,
}

/// See [`Table::iter_mut`].
pub struct IterMut<'a, T> {
    walk: Walk<T>,
    borrow: PhantomData<&'a mut Table<T>>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(table: &'a Table<T>) -> Self {
        let single = std::ptr::from_ref(&table.root).cast::<T>().cast_mut();
        Iter { walk: Walk::new(table, single), borrow: PhantomData }
    }
}

impl<'a, T> IterMut<'a, T> {
    pub(super) fn new(table: &'a mut Table<T>) -> Self {
        let single = std::ptr::from_mut(&mut table.root).cast::<T>();
        IterMut { walk: Walk::new(table, single), borrow: PhantomData }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;
    fn next(&mut self) -> Option<&'a T> {
        // SAFETY: a live element of the table that is borrowed for 'a.
        self.walk.next().map(|item| unsafe { &*item })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.walk.left, Some(self.walk.left))
    }
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = &'a mut T;
    fn next(&mut self) -> Option<&'a mut T> {
        // SAFETY: a live element of the exclusively borrowed table; each is returned once.
        self.walk.next().map(|item| unsafe { &mut *item })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.walk.left, Some(self.walk.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
impl<T> ExactSizeIterator for IterMut<'_, T> {}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
