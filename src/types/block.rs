//! One heap block behind one thin pointer: the bytes of a compact value, whose own header tells their length.
//!
//! ```text
//!   word ──▶ ┌────────┬──────────────────────┬─ ─ ─ ┐
//!            │ header │ body                 │slack │   slack: up to the next size class, never counted
//!            └────────┴──────────────────────┴─ ─ ─ ┘
//! ```
//! Because the length can be read from the header, the owner is eight bytes and no capacity is stored: the block is
//! always allocated with the size class of its length, so both growing and freeing know the layout.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How a kind of block stores its length in its first bytes.
///
/// # Safety
/// `byte_len` must depend on nothing but the first `LENGTH_BYTES` bytes, `store_len(h, n)` must make `byte_len(h)`
/// return `n`, and no length below `LENGTH_BYTES` may ever be returned.
pub(crate) unsafe trait Header {
    /// Bytes at the start that determine the length; only `store_len` may change them.
    const LENGTH_BYTES: usize;

    /// The length of the whole block in bytes, header included.
    fn byte_len(header: &[u8]) -> usize;

    /// Records a new length (bytes, header included).
    fn store_len(header: &mut [u8], len: usize);
}

/// An owned block of bytes that begins with a header of kind `H`. One machine word.
pub(crate) struct Block<H: Header> {
    start: NonNull<u8>,
    kind: PhantomData<H>,
}

// SAFETY: the block owns its memory exclusively and hands it out only through `&self` and `&mut self`.
unsafe impl<H: Header> Send for Block<H> {}
// SAFETY: as above; there is no interior mutability.
unsafe impl<H: Header> Sync for Block<H> {}

/// The allocation size for `len` bytes: steps no finer than what allocators round to anyway, so that a growing block
/// is moved only when it would leave its size class.
#[inline]
pub(crate) fn size_class(len: usize) -> usize {
    if len <= 128 {
        return len.next_multiple_of(8).max(8);
    }
    let step = 1usize << (usize::BITS - 1 - (len - 1).leading_zeros() - 3);
    len.next_multiple_of(step)
}

/// Up to this size a block that leaves its size class is moved by hand: the allocator would move it too, but would look
/// the old size up, which is a cache miss more, while it is told the sizes here. Larger blocks may grow in place.
const MOVED_MAX: usize = 8192;

fn layout(len: usize) -> Layout {
    Layout::from_size_align(size_class(len), 1).expect("block lengths stay far below isize::MAX")
}

impl<H: Header> Block<H> {
    /// Copies `bytes`, which must begin with a header that tells exactly their length.
    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= H::LENGTH_BYTES && H::byte_len(bytes) == bytes.len());
        let layout = layout(bytes.len());
        // SAFETY: the layout has a non-zero size (at least 8).
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: the new block has room for `bytes` and cannot overlap them.
        unsafe { start.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Block { start, kind: PhantomData }
    }

    /// A block of `len` bytes, zeroes but for its header.
    pub(crate) fn of_len(len: usize) -> Self {
        assert!(len >= H::LENGTH_BYTES);
        let layout = layout(len);
        // SAFETY: the layout has a non-zero size (at least 8).
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: the new block has room for `len` bytes, which are initialised before the slice is made of them.
        unsafe {
            start.as_ptr().write_bytes(0, len);
            H::store_len(std::slice::from_raw_parts_mut(start.as_ptr(), H::LENGTH_BYTES), len);
        }
        Block { start, kind: PhantomData }
    }

    #[inline]
    fn len(&self) -> usize {
        // SAFETY: every block holds at least its length bytes, initialised.
        H::byte_len(unsafe { std::slice::from_raw_parts(self.start.as_ptr(), H::LENGTH_BYTES) })
    }

    /// All bytes, header included.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the header tells how many initialised bytes the block holds.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    /// The bytes after those that determine the length, for writing.
    #[inline]
    pub(crate) fn body_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: as in `bytes`; the length bytes are left out, so the length cannot be corrupted through this.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr().add(H::LENGTH_BYTES), len - H::LENGTH_BYTES)
        }
    }

    /// Replaces `remove` bytes at offset `at` by `insert` bytes of unspecified (but initialised) content and returns
    /// the inserted range for writing. Neither offset may reach into the length bytes.
    pub(crate) fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        let old = self.len();
        assert!(at >= H::LENGTH_BYTES && at <= old && remove <= old - at);
        if remove == insert {
            let from = at - H::LENGTH_BYTES;
            return &mut self.body_mut()[from..from + insert];
        }
        let new = old - remove + insert;
        let tail = old - at - remove;
        let (old_class, new_class) = (size_class(old), size_class(new));
        if new > old && new_class != old_class {
            self.reallocate(old, new);
        }
        // SAFETY: both ranges lie within the block, which now has room for max(old, new) bytes; bytes between the old
        // and new end are initialised by the zeroing below before anything can read them.
        unsafe {
            let base = self.start.as_ptr();
            std::ptr::copy(base.add(at + remove), base.add(at + insert), tail);
            if insert > 0 {
                base.add(at).write_bytes(0, insert);
            }
            H::store_len(std::slice::from_raw_parts_mut(base, H::LENGTH_BYTES), new);
        }
        if new < old && new_class != old_class {
            self.reallocate(old, new);
        }
        debug_assert_eq!(self.len(), new);
        // SAFETY: the range was just made part of the block and initialised.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(at), insert) }
    }

    /// Moves the block to the size class of `new` bytes. The first `min(old, new)` bytes stay as they are.
    fn reallocate(&mut self, old: usize, new: usize) {
        let (source, target) = (layout(old), layout(new));
        // SAFETY: the block was allocated with the layout of `old`; both sizes are not zero; the two blocks are
        // distinct and hold at least the bytes copied.
        let moved = unsafe {
            if source.size().max(target.size()) <= MOVED_MAX {
                let moved = alloc(target);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(self.start.as_ptr(), old.min(new));
                    dealloc(self.start.as_ptr(), source);
                }
                moved
            } else {
                realloc(self.start.as_ptr(), source, target.size())
            }
        };
        let Some(moved) = NonNull::new(moved) else { handle_alloc_error(target) };
        self.start = moved;
    }

    /// Bytes of heap this block occupies, slack included.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        size_class(self.len())
    }

    /// Gives the block up as one word.
    pub(crate) fn into_word(self) -> usize {
        let word = self.start.as_ptr().expose_provenance();
        std::mem::forget(self);
        word
    }

    /// Takes a block back from its word.
    ///
    /// # Safety
    /// The word must come from `into_word` of the same kind of block and must own it alone.
    pub(crate) unsafe fn from_word(word: usize) -> Self {
        let start = std::ptr::with_exposed_provenance_mut(word);
        // SAFETY: `into_word` only gives out non-null addresses.
        Block { start: unsafe { NonNull::new_unchecked(start) }, kind: PhantomData }
    }
}

impl<H: Header> Drop for Block<H> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and owned alone.
        unsafe { dealloc(self.start.as_ptr(), layout(self.len())) };
    }
}

impl<H: Header> Clone for Block<H> {
    fn clone(&self) -> Self {
        Block::from_slice(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_hold_their_length_and_waste_little() {
        for len in 1..100_000usize {
            let class = size_class(len);
            assert!(class >= len);
            assert!(class - len < 8 + len / 8, "{len} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }

    struct Plain;
    // SAFETY: the length is exactly the four length bytes, never below 4 in these tests.
    unsafe impl Header for Plain {
        const LENGTH_BYTES: usize = 4;
        fn byte_len(h: &[u8]) -> usize {
            u32::from_le_bytes([h[0], h[1], h[2], h[3]]) as usize
        }
        fn store_len(h: &mut [u8], len: usize) {
            h[..4].copy_from_slice(&(len as u32).to_le_bytes());
        }
    }

    #[test]
    fn splicing_keeps_both_sides() {
        let mut block = Block::<Plain>::from_slice(&[4, 0, 0, 0]);
        block.splice(4, 0, 300).fill(1);
        block.splice(104, 0, 5000).fill(2);
        assert_eq!(block.bytes().len(), 5304);
        assert!(block.bytes()[104..5104].iter().all(|b| *b == 2));
        block.splice(104, 5000, 1)[0] = 7;
        assert_eq!(block.bytes()[104], 7);
        assert!(block.bytes()[4..104].iter().chain(&block.bytes()[105..]).all(|b| *b == 1));
        // SAFETY: the word comes from `into_word` just before.
        let again = unsafe { Block::<Plain>::from_word(block.into_word()) };
        assert_eq!(again.clone().bytes(), again.bytes());
    }
}
