//! A set of hash slots as the bus carries it: slot `s` is bit `s % 8`, lowest first, of byte `s / 8`.

use crate::slot::{SLOTS, Slot};

/// Bytes of the set.
pub const BITMAP_BYTES: usize = SLOTS / 8;

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotBitmap(Box<[u8; BITMAP_BYTES]>);

impl Default for SlotBitmap {
    fn default() -> Self {
        Self(Box::new([0; BITMAP_BYTES]))
    }
}

impl SlotBitmap {
    /// The set with these bytes, if there are 2048 of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; BITMAP_BYTES] = bytes.try_into().ok()?;
        Some(Self(Box::new(bytes)))
    }

    pub fn as_bytes(&self) -> &[u8; BITMAP_BYTES] {
        &self.0
    }

    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 8] & (1 << (slot.index() % 8)) != 0
    }

    /// Adds a slot; false if it was in already.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let new = !self.contains(slot);
        self.0[slot.index() / 8] |= 1 << (slot.index() % 8);
        new
    }

    /// Removes a slot; false if it was not in.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let was = self.contains(slot);
        self.0[slot.index() / 8] &= !(1 << (slot.index() % 8));
        was
    }

    pub fn len(&self) -> usize {
        let (words, _) = self.0.as_chunks::<WORD_BYTES>();
        words.iter().map(|word| u64::from_le_bytes(*word).count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        *self.0 == [0; BITMAP_BYTES]
    }

    /// The slots in the set, lowest first.
    pub fn iter(&self) -> SlotIter<'_> {
        SlotIter { bytes: self.0.as_slice(), next: 0, word: 0 }
    }

    /// The slots as ranges of neighbours, both ends included.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges = Vec::new();
        let mut start = None;
        for (index, &byte) in self.0.iter().enumerate() {
            match (start, byte) {
                // Whole bytes within a range, or between two.
                (Some(_), 0xff) | (None, 0) => continue,
                _ => {}
            }
            for bit in 0..8 {
                let slot = (index * 8 + bit) as u16;
                match (start, byte & (1 << bit) != 0) {
                    (None, true) => start = Some(slot),
                    (Some(first), false) => {
                        ranges.push((first, slot - 1));
                        start = None;
                    }
                    _ => {}
                }
            }
        }
        ranges.extend(start.map(|first| (first, SLOTS as u16 - 1)));
        ranges
    }
}

/// Bytes looked at together.
const WORD_BYTES: usize = size_of::<u64>();

/// The slots of a set, lowest first.
pub struct SlotIter<'a> {
    bytes: &'a [u8],
    /// The first byte that is not in `word` yet.
    next: usize,
    /// What is left of the bytes before.
    word: u64,
}

impl Iterator for SlotIter<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        while self.word == 0 {
            let (bytes, _) = self.bytes[self.next..].split_first_chunk::<WORD_BYTES>()?;
            self.word = u64::from_le_bytes(*bytes);
            self.next += WORD_BYTES;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(Slot(((self.next - WORD_BYTES) * 8 + bit) as u16))
    }
}

impl std::fmt::Debug for SlotBitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl FromIterator<Slot> for SlotBitmap {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of slots 5461 to 10922 as a node of the reference sends them (spec page cluster-bus.md, section 24).
    #[test]
    fn bits_lie_as_on_the_wire() {
        let set: SlotBitmap = (5461..=10922).map(Slot).collect();
        let first = set.as_bytes().iter().position(|&b| b != 0);
        let last = set.as_bytes().iter().rposition(|&b| b != 0);
        // Offsets of the captured packet, whose set begins at 0x50.
        assert_eq!(first, Some(0x2fa - 0x50));
        assert_eq!(last, Some(0x5a5 - 0x50));
        assert_eq!(set.as_bytes()[0x2fa - 0x50], 0xe0);
        assert_eq!(set.as_bytes()[0x5a5 - 0x50], 0x07);
        assert_eq!(set.len(), 5462);
        assert_eq!(set.ranges(), [(5461, 10922)]);
    }

    #[test]
    fn sets_are_sets() {
        let mut set = SlotBitmap::default();
        assert!(set.is_empty());
        assert!(set.insert(Slot(0)) && set.insert(Slot(16_383)) && !set.insert(Slot(0)));
        assert_eq!(set.ranges(), [(0, 0), (16_383, 16_383)]);
        assert_eq!(SlotBitmap::from_bytes(set.as_bytes()), Some(set.clone()));
        assert!(set.remove(Slot(0)) && !set.remove(Slot(0)));
        assert_eq!(set.len(), 1);
        assert_eq!(SlotBitmap::from_bytes(&[0; 3]), None);
    }
}
