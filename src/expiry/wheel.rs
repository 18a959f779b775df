//! Placeholder of the timing wheel until it lands: a sorted map with the same interface.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Wheel {
    due: BTreeMap<i64, Vec<u64>>,
    len: usize,
}

impl Wheel {
    pub fn new(_now: i64) -> Self {
        Self::default()
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn insert(&mut self, deadline: i64, item: u64) {
        self.due.entry(deadline).or_default().push(item);
        self.len += 1;
    }
    pub fn note_stale(&mut self) {}
    pub fn next_deadline_hint(&self) -> Option<i64> {
        self.due.keys().next().copied()
    }
    pub fn drain(&mut self, f: &mut dyn FnMut(i64, u64)) {
        for (deadline, items) in std::mem::take(&mut self.due) {
            items.into_iter().for_each(|item| f(deadline, item));
        }
        self.len = 0;
    }
    /// The next item whose deadline is before `now`.
    pub fn pop_due(&mut self, now: i64) -> Option<(i64, u64)> {
        let mut first = self.due.first_entry().filter(|e| *e.key() < now)?;
        let deadline = *first.key();
        let item = first.get_mut().pop()?;
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some((deadline, item))
    }
}
