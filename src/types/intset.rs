//! Intset: a sorted array of distinct integers of 2, 4 or 8 bytes each, byte for byte Valkey's
//! (format: spec page rdb.md, section 4.2).
//!
//! ```text
//! u32 width (2, 4, 8) │ u32 count │ integers, little endian, strictly ascending
//! ```

use super::block::{Block, Header};

const HEADER: usize = 8;

enum IntsetHeader {}

// SAFETY: the length is HEADER + width * count, from the first eight bytes; `store_len` sets the count that gives it.
unsafe impl Header for IntsetHeader {
    const LENGTH_BYTES: usize = HEADER;

    #[inline]
    fn byte_len(h: &[u8]) -> usize {
        HEADER + width(h) * count(h)
    }

    fn store_len(h: &mut [u8], len: usize) {
        let count = u32::try_from((len - HEADER) / width(h)).expect("intsets are limited by their callers");
        h[4..8].copy_from_slice(&count.to_le_bytes());
    }
}

#[inline]
fn width(h: &[u8]) -> usize {
    u32::from_le_bytes([h[0], h[1], h[2], h[3]]) as usize
}

#[inline]
fn count(h: &[u8]) -> usize {
    u32::from_le_bytes([h[4], h[5], h[6], h[7]]) as usize
}

/// The narrowest width that holds `value`.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// Reads the integer at `index` of an integer area of the given width.
#[inline]
fn read(bytes: &[u8], width: usize, index: usize) -> i64 {
    let at = HEADER + index * width;
    let b = &bytes[at..at + width];
    match *b {
        [a, b] => i16::from_le_bytes([a, b]) as i64,
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as i64,
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// An owned set of integers. One machine word.
#[derive(Clone)]
pub struct Intset(Block<IntsetHeader>);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Intset {
    /// An empty set (8 bytes).
    pub fn new() -> Self {
        Intset(Block::from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]))
    }

    /// Takes over bytes from outside if they are a sound intset: a known width, exact size, strictly ascending.
    pub fn from_foreign(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || !matches!(width(bytes), 2 | 4 | 8) {
            return None;
        }
        let (width, count) = (width(bytes), count(bytes));
        if width.checked_mul(count)?.checked_add(HEADER)? != bytes.len() {
            return None;
        }
        let ascending = (1..count).all(|i| read(bytes, width, i - 1) < read(bytes, width, i));
        ascending.then(|| Intset(Block::from_slice(bytes)))
    }

    /// The set as it is dumped.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Bytes of heap it occupies.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        count(self.as_bytes())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member with the given rank (0 is the smallest).
    pub fn get(&self, index: usize) -> Option<i64> {
        let b = self.as_bytes();
        (index < count(b)).then(|| read(b, width(b), index))
    }

    /// Rank of `value`, or the rank it would get.
    fn search(&self, value: i64) -> Result<usize, usize> {
        let b = self.as_bytes();
        let w = width(b);
        let (mut low, mut high) = (0, count(b));
        // Members mostly arrive in order: look past the end first.
        if high > 0 && read(b, w, high - 1) < value {
            return Err(high);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match read(b, w, middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// Adds `value`; false if it was there. A value wider than the set widens all members, as in Valkey.
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else { return false };
        let needed = width_of(value);
        if needed > width(self.as_bytes()) {
            self.widen(needed);
        }
        let w = width(self.as_bytes());
        self.0.splice(HEADER + index * w, 0, w).copy_from_slice(&value.to_le_bytes()[..w]);
        true
    }

    fn widen(&mut self, new_width: usize) {
        let mut bytes = Vec::with_capacity(HEADER + new_width * self.len());
        bytes.extend_from_slice(&(new_width as u32).to_le_bytes());
        bytes.extend_from_slice(&self.as_bytes()[4..8]);
        for value in self.iter() {
            bytes.extend_from_slice(&value.to_le_bytes()[..new_width]);
        }
        self.0 = Block::from_slice(&bytes);
    }

    /// Removes `value`; false if it was not there. The width stays, as in Valkey.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let w = width(self.as_bytes());
        self.0.splice(HEADER + index * w, w, 0);
        true
    }

    /// All members, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        let b = self.as_bytes();
        let w = width(b);
        (0..count(b)).map(move |i| read(b, w, i))
    }

    /// Gives the set up as one word.
    pub fn into_word(self) -> usize {
        self.0.into_word()
    }

    /// Takes a set back from its word.
    ///
    /// # Safety
    /// The word must come from `into_word` and own its set alone.
    pub unsafe fn from_word(word: usize) -> Self {
        // SAFETY: the caller's promise is the one `Block` asks for.
        Intset(unsafe { Block::from_word(word) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// From a DUMP payload of Valkey 9.1.2 (spec page rdb.md, section 6).
    #[test]
    fn bytes_are_those_of_valkey() {
        let mut set = Intset::new();
        for v in [300, 1, 2] {
            assert!(set.insert(v));
        }
        let hex: String = set.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "0200000003000000010002002c01");
    }

    #[test]
    fn foreign_bytes_are_checked() {
        let ok = [2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 1, 0];
        assert!(Intset::from_foreign(&ok).is_some());
        assert!(Intset::from_foreign(&ok[..11]).is_none());
        let mut descending = ok;
        descending[8..].copy_from_slice(&[1, 0, 0xff, 0xff]);
        assert!(Intset::from_foreign(&descending).is_none());
        let mut odd = ok;
        odd[0] = 3;
        assert!(Intset::from_foreign(&odd).is_none());
        let mut huge = ok;
        huge[0] = 8;
        huge[4..8].fill(0xff);
        assert!(Intset::from_foreign(&huge).is_none());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            ops in prop::collection::vec((any::<bool>(), prop_oneof![-9i64..9, -40_000i64..40_000, any::<i64>()]), 0..200)
        ) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (add, v) in ops {
                if add {
                    prop_assert_eq!(set.insert(v), model.insert(v));
                } else {
                    prop_assert_eq!(set.remove(v), model.remove(&v));
                }
                prop_assert!(set.contains(v) == model.contains(&v));
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.get(set.len()), None);
            prop_assert!(Intset::from_foreign(set.as_bytes()).is_some());
        }
    }
}
