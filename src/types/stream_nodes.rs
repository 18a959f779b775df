//! The nodes of a stream by the ids that their entries are relative to. The last one, which appending needs, lies
//! beside the tree of the others, so that a stream of one node has no tree at all.
//!
//! Invariant: the last node's id is greater than all others; there is one unless there is no node.

use super::listpack::Listpack;
use super::stream::StreamId;
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub(super) struct Nodes {
    earlier: BTreeMap<StreamId, Listpack>,
    last: Option<(StreamId, Listpack)>,
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.earlier.len() + usize::from(self.last.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn last_if(&self, wanted: impl FnOnce(StreamId) -> bool) -> Option<(StreamId, &Listpack)> {
        self.last.as_ref().filter(|(id, _)| wanted(*id)).map(|(id, lp)| (*id, lp))
    }

    /// All nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &Listpack)> {
        self.earlier.iter().map(|(id, lp)| (*id, lp)).chain(self.last_if(|_| true))
    }

    /// The nodes with ids up to `end` that may hold entries from `start` on, ascending.
    pub fn holding(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = (StreamId, &Listpack)> {
        let only_last = self.last_if(|id| id <= start).is_some();
        let from = match self.earlier.range(..=start).next_back() {
            _ if only_last => StreamId::MAX,
            Some((id, _)) => *id,
            None => start,
        };
        let earlier = (from <= end && !only_last).then(|| self.earlier.range(from..=end));
        earlier.into_iter().flatten().map(|(id, lp)| (*id, lp)).chain(self.last_if(|id| id <= end))
    }

    /// The nodes with ids up to `end`, descending.
    pub fn back_from(&self, end: StreamId) -> impl Iterator<Item = (StreamId, &Listpack)> {
        let earlier = self.earlier.range(..=end).rev().map(|(id, lp)| (*id, lp));
        self.last_if(|id| id <= end).into_iter().chain(earlier)
    }

    pub fn first(&self) -> Option<(StreamId, &Listpack)> {
        match self.earlier.first_key_value() {
            Some((id, lp)) => Some((*id, lp)),
            None => self.last_if(|_| true),
        }
    }

    pub fn first_mut(&mut self) -> Option<(StreamId, &mut Listpack)> {
        match self.earlier.first_entry() {
            Some(entry) => Some((*entry.key(), entry.into_mut())),
            None => self.last.as_mut().map(|(id, lp)| (*id, lp)),
        }
    }

    pub fn last(&self) -> Option<(StreamId, &Listpack)> {
        self.last_if(|_| true)
    }

    #[inline]
    pub fn last_mut(&mut self) -> Option<(StreamId, &mut Listpack)> {
        self.last.as_mut().map(|(id, lp)| (*id, lp))
    }

    /// The node that would hold an entry.
    pub fn holder_mut(&mut self, id: StreamId) -> Option<(StreamId, &mut Listpack)> {
        match &mut self.last {
            Some((last, lp)) if *last <= id => Some((*last, lp)),
            _ => self.earlier.range_mut(..=id).next_back().map(|(id, lp)| (*id, lp)),
        }
    }

    /// Adds a node behind the others.
    pub fn push(&mut self, id: StreamId, lp: Listpack) {
        debug_assert!(self.last_if(|last| last >= id).is_none());
        if let Some((id, lp)) = self.last.replace((id, lp)) {
            self.earlier.insert(id, lp);
        }
    }

    pub fn pop_first(&mut self) -> Option<(StreamId, Listpack)> {
        self.earlier.pop_first().or_else(|| self.last.take())
    }

    pub fn remove(&mut self, id: StreamId) {
        if self.last_if(|last| last == id).is_some() {
            self.last = self.earlier.pop_last();
        } else {
            self.earlier.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    fn ids<'a>(nodes: impl Iterator<Item = (StreamId, &'a Listpack)>) -> Vec<u64> {
        nodes.map(|(id, _)| id.ms).collect()
    }

    #[test]
    fn behaves_like_one_tree() {
        let mut rng = crate::rng::Rng::new(3);
        let (mut nodes, mut model) = (Nodes::default(), std::collections::BTreeSet::new());
        for step in 0..3000u64 {
            match rng.below(5) {
                0 => {
                    let gone = rng.below(step + 1);
                    nodes.remove(id(gone));
                    model.remove(&gone);
                }
                1 => assert_eq!(nodes.pop_first().map(|(id, _)| id.ms), model.pop_first()),
                _ => {
                    nodes.push(id(step), Listpack::new());
                    model.insert(step);
                }
            }
            let (start, end) = (rng.below(step + 2), rng.below(step + 2));
            let held: Vec<u64> = match model.range(..=start).next_back().copied().unwrap_or(start) {
                from if from <= end => model.range(from..=end).copied().collect(),
                _ => Vec::new(),
            };
            assert_eq!(
                ids(nodes.holding(id(start), id(end))),
                held,
                "step {step}: {start}..={end} of {model:?}"
            );
            assert_eq!(ids(nodes.iter()), model.iter().copied().collect::<Vec<_>>());
            assert_eq!(ids(nodes.back_from(id(end))), model.range(..=end).rev().copied().collect::<Vec<_>>());
            assert_eq!(
                nodes.holder_mut(id(end)).map(|(id, _)| id.ms),
                model.range(..=end).next_back().copied()
            );
            assert_eq!(nodes.first().map(|(id, _)| id.ms), model.first().copied());
            assert_eq!(nodes.last().map(|(id, _)| id.ms), model.last().copied());
            assert_eq!((nodes.len(), nodes.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
