//! The values behind keys, one file per type. Each type is an enum over its encodings whose every variant owns
//! exactly one pointer-sized word, so that an entry stores it in eight bytes beside its encoding tag.
//!
//! ## Code map
//! - [`list`], [`set`], [`hash`], [`zset`], [`stream`]: the types, with their limits and conversions. They convert
//!   where Valkey does; per-command preparation is a `prepare_...` function that the command calls first.
//! - [`listpack`], [`intset`], [`quicklist`]: the compact encodings, byte for byte Valkey's
//! - [`record`], [`ranktree`]: elements of large collections, and the order of large sorted sets
//! - [`number`], [`extended`]: text to numbers and back, as Valkey does it
//! - [`hyperloglog`], [`geohash`]: what strings and sorted sets stand for in PF... and GEO... commands
//!
//! Invariant: `unsafe` is confined to `block`, `record`, `zset_sorted`, the deadline index in `hash`, and the
//! `Payload` implementations.
//! Invariant: bytes from outside enter only through `from_foreign`, `from_listpack` and `push_node`, which check them.

mod block;
pub mod extended;
pub mod geohash;
mod grisu;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
mod item;
pub mod list;
pub mod listpack;
pub mod number;
pub mod partial_sort;
pub mod quicklist;
pub mod ranktree;
pub mod record;
pub mod set;
pub mod stream;
mod stream_group;
mod stream_node;
mod stream_nodes;
mod stream_radix;
pub mod zset;
mod zset_sorted;

pub use item::{Item, ItemBuffer, OwnedItem};

/// A collection value that an entry stores as (encoding tag, one machine word).
///
/// The word owns whatever it points to: `from_raw(into_raw(v))` is `v`, and each raw pair is turned back exactly
/// once (or borrowed behind `ManuallyDrop`).
pub trait Payload: Sized {
    /// Splits the value into its encoding tag (0..=7, stable within the process) and its owning word.
    fn into_raw(self) -> (u8, usize);

    /// Puts a value together again.
    ///
    /// # Safety
    /// The pair must come from `into_raw` of the same type and must not be used to own a second value.
    unsafe fn from_raw(encoding: u8, word: usize) -> Self;
}

/// What freeing and accounting need from a collection value.
pub trait Collection {
    /// Allocations to free, roughly, counted as Valkey does to decide whether freeing goes to the background: 1 for
    /// compact encodings, else elements (or nodes). Spec page key-lifetime.md, section 6.
    fn free_effort(&self) -> usize;

    /// Drops up to about `budget` elements (or nodes), in no particular order; true when the rest can be dropped at
    /// once. The value must not be used as a collection any more: this is for a reaper that frees in slices.
    fn drop_some(&mut self, budget: usize) -> bool;

    /// Bytes of heap the value occupies, slack included. Walks the elements.
    fn heap_bytes(&self) -> usize {
        self.heap_bytes_sampled(0)
    }

    /// Bytes of heap, where the size of the elements (or nodes) is extrapolated from the first `samples` of them; 0
    /// looks at all. As MEMORY USAGE does it.
    fn heap_bytes_sampled(&self, samples: usize) -> usize;
}

/// The sum of `sizes`, or what it would be if all `count` were as large as the first `samples` on average.
fn extrapolated(sizes: impl Iterator<Item = usize>, count: usize, samples: usize) -> usize {
    if samples == 0 || count <= samples {
        return sizes.sum();
    }
    (sizes.take(samples).sum::<usize>() as u128 * count as u128 / samples as u128) as usize
}

#[cfg(test)]
mod recorded_tests;
