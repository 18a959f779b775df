//! The values behind keys, one file per type. Each type is an enum over its encodings whose every variant owns
//! exactly one pointer-sized word, so that an entry stores it in eight bytes beside its encoding tag.

mod block;
pub mod extended;
mod grisu;
pub mod intset;
mod item;
pub mod listpack;
pub mod number;

pub use item::{Item, ItemBuffer};

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
