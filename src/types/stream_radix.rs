//! How many nodes a path-compressed radix tree over ids would have: Valkey keeps the nodes of a stream in one and shows
//! the number in XINFO STREAM.
//!
//! Keys are 16 bytes. A tree node begins at the root, where keys part, right behind such a place, and where a key ends:
//!
//! ```text
//! "0000"               one compressed node of what the keys share
//!       (parting)      a node with one child for each different byte
//!        |  "31"       a compressed node of the bytes left, unless none is left
//!        |   leaf
//! ```

use super::stream::StreamId;

/// Nodes of the tree over ascending ids.
pub(super) fn node_count(ids: impl Iterator<Item = StreamId>) -> usize {
    let mut ids = ids.map(|id| ((id.ms as u128) << 64) | id.seq as u128);
    let Some(mut last) = ids.next() else { return 1 };
    let mut count = Count { open: Vec::new(), nodes: 1 };
    for id in ids {
        let shared = ((last ^ id).leading_zeros() / 8) as u8;
        count.part_at(shared);
        last = id;
    }
    count.finish()
}

const KEY_BYTES: u8 = 16;

struct Count {
    /// Depths of the places where keys part on the way to the last key, ascending.
    open: Vec<u8>,
    /// Nodes whose place is certain; begins with the leaf of the first key.
    nodes: usize,
}

impl Count {
    /// The next key parts from the last one at this depth.
    fn part_at(&mut self, depth: u8) {
        let mut child = KEY_BYTES;
        while let Some(&top) = self.open.last()
            && top > depth
        {
            self.edge(top, child);
            child = top;
            self.open.pop();
        }
        if self.open.last() != Some(&depth) {
            self.nodes += 1;
            self.open.push(depth);
        }
        // The edge to what was finished; that to the new key is added when it is finished.
        self.edge(depth, child);
        self.nodes += 1;
    }

    /// A path from a parting to a parting or leaf below it: the bytes behind the first one are a node of their own.
    fn edge(&mut self, from: u8, to: u8) {
        self.nodes += usize::from(to > from + 1);
    }

    fn finish(mut self) -> usize {
        let mut child = KEY_BYTES;
        while let Some(top) = self.open.pop() {
            self.edge(top, child);
            child = top;
        }
        // What all keys share is a node of its own.
        self.nodes + usize::from(child > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Counts places instead of reckoning: root, partings, children of partings, leaves.
    fn by_places(ids: &BTreeSet<StreamId>) -> usize {
        let keys: Vec<[u8; 16]> = ids.iter().map(|id| id.to_bytes()).collect();
        let mut places: BTreeSet<Vec<u8>> = [Vec::new()].into();
        for a in &keys {
            places.insert(a.to_vec());
            for b in &keys {
                if let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) {
                    places.insert(a[..at].to_vec());
                    places.insert(a[..=at].to_vec());
                }
            }
        }
        places.len()
    }

    #[test]
    fn few_keys() {
        let count = |ids: &[(u64, u64)]| node_count(ids.iter().map(|&(ms, seq)| StreamId { ms, seq }));
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(1, 1)]), 2);
        // Shared bytes, parting, two compressed rests, two leaves.
        assert_eq!(count(&[(1, 0), (2, 0)]), 6);
        // The rests are empty.
        assert_eq!(count(&[(1, 0), (1, 1)]), 4);
    }

    #[test]
    fn as_many_as_there_are_places() {
        let mut rng = crate::rng::Rng::new(5);
        for round in 0..300 {
            let ids: BTreeSet<StreamId> = (0..1 + rng.below(40))
                .map(|_| StreamId { ms: rng.next_u64() >> rng.below(64), seq: rng.below(3) << rng.below(60) })
                .collect();
            assert_eq!(node_count(ids.iter().copied()), by_places(&ids), "round {round}: {ids:?}");
        }
    }
}
