//! Where the buckets of a table with more than one bucket live.
//!
//! Up to [`SEGMENT`] buckets are one allocation. Beyond that a directory points to segments of [`SEGMENT`] buckets,
//! the last of which may be shorter, so growing a table of any size copies at most one segment (32 KiB) or its
//! directory (27 KiB for ten million elements).
//!
//! Bucket counts are rounded up to 4, 5, 6 or 7 times a power of two. These are exactly the size classes of the
//! allocators we may use, so that a rounded-up allocation has no hidden slack and its usable size is its size.
//!
//! ```text
//!   directory:  | elements | units | capacity | segment 0 | segment 1 | ...        one word each
//! ```

use super::node::{NODE_BYTES, Node};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};

/// Buckets per full segment.
pub(super) const SEGMENT: u64 = 512;

const SEGMENT_BITS: u32 = SEGMENT.trailing_zeros();
const HEADER_WORDS: u64 = 3;

/// `count`, rounded up so that the allocation fills a size class.
pub(super) fn capacity_for(count: u64) -> u64 {
    if count <= 8 { count } else { count.next_multiple_of(1 << ((count - 1).ilog2() - 2)) }
}

fn array_layout(buckets: u64) -> Layout {
    Layout::from_size_align(capacity_for(buckets) as usize * NODE_BYTES, NODE_BYTES)
        .expect("a segment is small")
}

/// An array of `buckets` empty buckets.
pub(super) fn allocate_array<T>(buckets: u64) -> *mut T {
    let layout = array_layout(buckets);
    // SAFETY: the layout is not empty; every bucket below `buckets` gets its header.
    unsafe {
        let array = alloc(layout).cast::<T>();
        if array.is_null() {
            handle_alloc_error(layout);
        }
        for index in 0..buckets {
            bucket_in(array, index).set_header(0);
        }
        array
    }
}

/// Makes room for one bucket behind the `buckets` of the array, and initialises it.
///
/// # Safety
/// `array` is a live array of `buckets` buckets; the returned pointer replaces it.
pub(super) unsafe fn extend_array<T>(array: *mut T, buckets: u64) -> *mut T {
    // SAFETY: the caller's promise; bucket `buckets` is within the new capacity.
    unsafe {
        let array = resize_array(array, buckets, buckets + 1);
        bucket_in(array, buckets).set_header(0);
        array
    }
}

/// Gives back the room behind the first `to` of `from` buckets, where `to` is at least 1.
///
/// # Safety
/// As for [`extend_array`]; the buckets beyond `to` hold nothing.
pub(super) unsafe fn shorten_array<T>(array: *mut T, from: u64, to: u64) -> *mut T {
    // SAFETY: the caller's promise.
    unsafe { resize_array(array, from, to) }
}

unsafe fn resize_array<T>(array: *mut T, from: u64, to: u64) -> *mut T {
    let (old, new) = (array_layout(from), array_layout(to));
    if old.size() == new.size() {
        return array;
    }
    // SAFETY: `old` is the layout the array has, both have the same alignment.
    unsafe {
        let moved = realloc(array.cast(), old, new.size());
        if moved.is_null() {
            handle_alloc_error(new);
        }
        moved.cast()
    }
}

/// # Safety
/// `array` is a live array of `buckets` buckets that hold nothing, and is forgotten by the caller.
pub(super) unsafe fn free_array<T>(array: *mut T, buckets: u64) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(array.cast(), array_layout(buckets)) }
}

/// # Safety
/// `array` is live and has more than `index` buckets.
#[inline]
pub(super) unsafe fn bucket_in<T>(array: *mut T, index: u64) -> Node<T> {
    // SAFETY: within the array; a bucket is eight words.
    Node(unsafe { array.add(index as usize * (NODE_BYTES / 8)) })
}

/// Directory capacities in words; allocators round tiny sizes to 16 bytes.
fn words_for(needed: u64) -> u64 {
    capacity_for(needed).next_multiple_of(2)
}

fn directory_layout(capacity: u64) -> Layout {
    Layout::array::<u64>(capacity as usize).expect("2^32 buckets have 2^23 segments")
}

/// The directory of a table of more than [`SEGMENT`] buckets. A plain handle: freeing is explicit.
pub(super) struct Directory<T>(pub *mut *mut T);

impl<T> Clone for Directory<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Directory<T> {}

/// The caller of every method promises that the directory is live and not used by anybody else meanwhile.
impl<T> Directory<T> {
    /// A directory whose only segment is `first`, a full array.
    pub(super) fn new(first: *mut T, elements: u64, units: u64) -> Self {
        let capacity = 2 * HEADER_WORDS;
        let layout = directory_layout(capacity);
        // SAFETY: all words that are read later are written here.
        unsafe {
            let words = alloc(layout).cast::<u64>();
            if words.is_null() {
                handle_alloc_error(layout);
            }
            words.write(elements);
            words.add(1).write(units);
            words.add(2).write(capacity);
            let directory: Directory<T> = Directory(words.cast());
            directory.segment(0).write(first);
            directory
        }
    }

    /// The number of elements in the table.
    #[inline]
    pub(super) unsafe fn elements(self) -> *mut u64 {
        self.0.cast()
    }

    /// The units of all chained nodes.
    #[inline]
    pub(super) unsafe fn units(self) -> *mut u64 {
        // SAFETY: the second header word.
        unsafe { self.0.cast::<u64>().add(1) }
    }

    unsafe fn capacity(self) -> u64 {
        // SAFETY: the third header word.
        unsafe { self.0.cast::<u64>().add(2).read() }
    }

    #[inline]
    unsafe fn segment(self, index: u64) -> *mut *mut T {
        // SAFETY: the caller asks for a segment within the capacity.
        unsafe { self.0.add((HEADER_WORDS + index) as usize) }
    }

    /// Bucket `index`, which exists.
    #[inline]
    pub(super) unsafe fn bucket(self, index: u64) -> Node<T> {
        // SAFETY: existing buckets have their segment.
        unsafe { bucket_in(self.segment(index >> SEGMENT_BITS).read(), index & (SEGMENT - 1)) }
    }

    /// Bytes of the directory and of the segments of a table of `buckets` buckets.
    pub(super) unsafe fn heap_bytes(self, buckets: u64) -> u64 {
        let rest = buckets & (SEGMENT - 1);
        // SAFETY: the caller's promise.
        let words = unsafe { self.capacity() };
        8 * words + NODE_BYTES as u64 * (buckets - rest + capacity_for(rest))
    }

    /// Adds an empty bucket behind the `buckets` there are; the returned directory replaces this one.
    pub(super) unsafe fn extend(self, buckets: u64) -> Self {
        let (last, used) = (buckets >> SEGMENT_BITS, buckets & (SEGMENT - 1));
        // SAFETY: the segment is within the directory after it was resized.
        unsafe {
            if used > 0 {
                let segment = self.segment(last);
                segment.write(extend_array(segment.read(), used));
                return self;
            }
            let needed = HEADER_WORDS + last + 1;
            let grown = if needed > self.capacity() { self.resize(words_for(needed)) } else { self };
            grown.segment(last).write(allocate_array(1));
            grown
        }
    }

    /// Removes the last of `buckets` buckets, which holds nothing; the returned directory replaces this one.
    pub(super) unsafe fn shorten(self, buckets: u64) -> Self {
        let (last, kept) = ((buckets - 1) >> SEGMENT_BITS, (buckets - 1) & (SEGMENT - 1));
        // SAFETY: the last segment has `kept + 1` buckets.
        unsafe {
            let segment = self.segment(last);
            if kept > 0 {
                segment.write(shorten_array(segment.read(), kept + 1, kept));
                return self;
            }
            free_array(segment.read(), 1);
            let needed = HEADER_WORDS + last;
            if needed * 2 < self.capacity() { self.resize(words_for(needed)) } else { self }
        }
    }

    unsafe fn resize(self, capacity: u64) -> Self {
        let (old, new) = (
            // SAFETY: the caller's promise.
            directory_layout(unsafe { self.capacity() }),
            directory_layout(capacity),
        );
        // SAFETY: `old` is the layout the directory has.
        unsafe {
            let words = realloc(self.0.cast(), old, new.size()).cast::<u64>();
            if words.is_null() {
                handle_alloc_error(new);
            }
            words.add(2).write(capacity);
            Directory(words.cast())
        }
    }

    /// Ends the directory of a table that shrank to one full segment, and returns that segment.
    pub(super) unsafe fn into_only_segment(self) -> *mut T {
        // SAFETY: segment 0 exists; the directory is forgotten by the caller.
        unsafe {
            let first = self.segment(0).read();
            dealloc(self.0.cast(), directory_layout(self.capacity()));
            first
        }
    }
}
