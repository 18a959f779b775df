//! The items of one bucket of the timing wheel, in chunks.
//!
//! A chunk that is full stays where it is, so a bucket that receives a million items with one deadline never copies
//! them; the chunk being filled grows from one item to [`CHUNK_ITEMS`], so that a thousand buckets of one item each
//! are small too.

/// The low half of the deadline, then the low and high half of the item: 12 bytes instead of 16.
type Packed = [u32; 3];

/// Items of a full chunk: just below 1 KiB.
const CHUNK_ITEMS: usize = 85;

#[derive(Debug, Default)]
pub(super) struct Bucket {
    filling: Vec<Packed>,
    full: Vec<Box<[Packed]>>,
}

impl Bucket {
    pub(super) const fn new() -> Self {
        Bucket { filling: Vec::new(), full: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filling.is_empty() && self.full.is_empty()
    }

    pub(super) fn push(&mut self, low: u32, item: u64) {
        let length = self.filling.len();
        if length == CHUNK_ITEMS {
            self.full.push(std::mem::take(&mut self.filling).into_boxed_slice());
            self.filling.reserve_exact(5);
        } else if length == self.filling.capacity() {
            // Each nearly fills an allocation of a power of two.
            let larger = match length {
                0 => 1,
                1..5 => 5,
                5..10 => 10,
                10..21 => 21,
                21..42 => 42,
                _ => CHUNK_ITEMS,
            };
            self.filling.reserve_exact(larger - length);
        }
        self.filling.push([low, item as u32, (item >> 32) as u32]);
    }

    pub(super) fn pop(&mut self) -> Option<(u32, u64)> {
        if self.filling.is_empty() {
            self.filling = self.full.pop()?.into_vec();
        }
        let [low, item_low, item_high] = self.filling.pop()?;
        if self.filling.is_empty() {
            self.filling = Vec::new();
        }
        Some((low, u64::from(item_low) | u64::from(item_high) << 32))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let packed = self.filling.capacity() + self.full.len() * CHUNK_ITEMS;
        packed * size_of::<Packed>() + self.full.capacity() * size_of::<Box<[Packed]>>()
    }
}
