//! Elements of large collections: one heap block each behind one thin pointer, as compact as their content allows.
//!
//! ```text
//!   member of a set          │ length │ text │
//!   element of a sorted set  │ f64 score │ length │ text │
//!   field of a hash          │ flags │ field length │ value length │ [i64 deadline] │ field │ value │
//! ```
//! A member's length takes one byte up to 254, else 255 and eight bytes; of a field's two lengths each takes one byte or
//! eight, as its flags say.

use super::block::size_class;
use crate::keyspace::table::TableItem;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// How a kind of record tells its length.
///
/// # Safety
/// For bytes that a record of this kind was made from, `byte_len` must return their number, and it must not depend on
/// bytes that are changed while the record lives.
unsafe trait Shape {
    /// # Safety
    /// `start` must point to a whole record of this kind.
    unsafe fn byte_len(start: *const u8) -> usize;
}

/// An owned block of bytes that know their own length.
struct Record<S: Shape> {
    start: NonNull<u8>,
    shape: PhantomData<S>,
}

// SAFETY: a record owns its memory alone and hands it out only through `&self` and `&mut self`.
unsafe impl<S: Shape> Send for Record<S> {}
// SAFETY: as above; there is no interior mutability.
unsafe impl<S: Shape> Sync for Record<S> {}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 1).expect("records stay far below isize::MAX")
}

impl<S: Shape> Record<S> {
    /// Joins `parts`, which together must be a record of this kind and not empty.
    fn new(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        assert!(len > 0);
        let layout = layout(len);
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        let mut at = 0;
        for part in parts {
            // SAFETY: the parts add up to the size of the block, which is new and so cannot overlap them.
            unsafe { start.as_ptr().add(at).copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            at += part.len();
        }
        let record = Record { start, shape: PhantomData };
        assert_eq!(record.len(), len);
        record
    }

    #[inline]
    fn len(&self) -> usize {
        // SAFETY: the block holds a whole record.
        unsafe { S::byte_len(self.start.as_ptr()) }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the record is as long as it tells, and initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    fn heap_bytes(&self) -> usize {
        size_class(self.len())
    }
}

impl<S: Shape> Drop for Record<S> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and owned alone.
        unsafe { dealloc(self.start.as_ptr(), layout(self.len())) };
    }
}

/// A length of one or nine bytes: (bytes used of the array, array).
fn encode_length(len: usize) -> (usize, [u8; 9]) {
    let mut out = [0; 9];
    if len < 255 {
        out[0] = len as u8;
        return (1, out);
    }
    out[0] = 255;
    out[1..].copy_from_slice(&(len as u64).to_le_bytes());
    (9, out)
}

/// Reads a length: (bytes it takes, length).
///
/// # Safety
/// `at` must point to a length made by `encode_length`.
#[inline]
unsafe fn decode_length(at: *const u8) -> (usize, usize) {
    // SAFETY: a length has at least one byte, and nine if the first is 255.
    unsafe {
        match *at {
            255 => (9, at.add(1).cast::<u64>().read_unaligned() as usize),
            len => (1, len as usize),
        }
    }
}

enum MemberShape {}

// SAFETY: reads only the length in front, which never changes.
unsafe impl Shape for MemberShape {
    #[inline]
    unsafe fn byte_len(start: *const u8) -> usize {
        // SAFETY: a member begins with its length.
        let (head, len) = unsafe { decode_length(start) };
        head + len
    }
}

/// A member of a set. One machine word.
pub struct Member(Record<MemberShape>);

impl Member {
    pub fn new(text: &[u8]) -> Self {
        let (head, length) = encode_length(text.len());
        Member(Record::new(&[&length[..head], text]))
    }

    #[inline]
    pub fn text(&self) -> &[u8] {
        let bytes = self.0.bytes();
        if bytes[0] == 255 { &bytes[9..] } else { &bytes[1..] }
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl TableItem for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        self.text()
    }
}

enum ScoredShape {}

// SAFETY: reads only the length after the score, which never changes.
unsafe impl Shape for ScoredShape {
    #[inline]
    unsafe fn byte_len(start: *const u8) -> usize {
        // SAFETY: the length follows the eight bytes of the score.
        let (head, len) = unsafe { decode_length(start.add(8)) };
        8 + head + len
    }
}

/// A member of a sorted set with its score. One machine word.
pub struct Scored(Record<ScoredShape>);

impl Scored {
    pub fn new(member: &[u8], score: f64) -> Self {
        let (head, length) = encode_length(member.len());
        Scored(Record::new(&[&score.to_le_bytes(), &length[..head], member]))
    }

    #[inline]
    pub fn member(&self) -> &[u8] {
        let bytes = self.0.bytes();
        if bytes[8] == 255 { &bytes[17..] } else { &bytes[9..] }
    }

    #[inline]
    pub fn score(&self) -> f64 {
        // SAFETY: a scored record begins with eight bytes of score.
        unsafe { self.0.start.as_ptr().cast::<f64>().read_unaligned() }
    }

    pub fn set_score(&mut self, score: f64) {
        // SAFETY: as above; the length does not depend on these bytes.
        unsafe { self.0.start.as_ptr().cast::<f64>().write_unaligned(score) };
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// A second, unowned pointer to the record.
    pub(super) fn alias(&self) -> ScoredAlias {
        ScoredAlias(self.0.start)
    }
}

impl TableItem for Scored {
    #[inline]
    fn key(&self) -> &[u8] {
        self.member()
    }
}

/// A pointer to a [`Scored`] that something else owns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ScoredAlias(NonNull<u8>);

// SAFETY: an alias is an address; using it is unsafe and up to the structure that holds owner and alias together.
unsafe impl Send for ScoredAlias {}
// SAFETY: as above.
unsafe impl Sync for ScoredAlias {}

impl ScoredAlias {
    /// The member.
    ///
    /// # Safety
    /// The record must live for `'a`.
    #[inline]
    pub(super) unsafe fn member<'a>(self) -> &'a [u8] {
        // SAFETY: the record lives, by the caller's promise, and its length is intact.
        unsafe {
            let (head, len) = decode_length(self.0.as_ptr().add(8));
            std::slice::from_raw_parts(self.0.as_ptr().add(8 + head), len)
        }
    }
}

const HAS_DEADLINE: u8 = 1;
const LONG_FIELD: u8 = 2;
const LONG_VALUE: u8 = 4;

/// Where the parts of a field record are.
struct FieldParts {
    field: usize,
    value: usize,
    end: usize,
}

/// # Safety
/// `start` must point to a whole field record.
#[inline]
unsafe fn field_parts(start: *const u8) -> FieldParts {
    // SAFETY: the flags say which bytes of the header exist.
    unsafe {
        let flags = *start;
        let mut at = 1;
        let mut length = |long: u8| {
            if flags & long != 0 {
                let len = start.add(at).cast::<u64>().read_unaligned() as usize;
                at += 8;
                len
            } else {
                at += 1;
                *start.add(at - 1) as usize
            }
        };
        let (field_len, value_len) = (length(LONG_FIELD), length(LONG_VALUE));
        let field = at + if flags & HAS_DEADLINE != 0 { 8 } else { 0 };
        FieldParts { field, value: field + field_len, end: field + field_len + value_len }
    }
}

enum FieldShape {}

// SAFETY: reads only flags and lengths, which never change.
unsafe impl Shape for FieldShape {
    #[inline]
    unsafe fn byte_len(start: *const u8) -> usize {
        // SAFETY: the caller's promise.
        unsafe { field_parts(start).end }
    }
}

/// A field of a hash with its value and deadline. One machine word.
pub struct Field(Record<FieldShape>);

impl Field {
    /// `deadline_ms` is Unix time in milliseconds.
    pub fn new(field: &[u8], value: &[u8], deadline_ms: Option<i64>) -> Self {
        let mut head = [0u8; 25];
        let mut at = 1;
        let mut put = |bytes: &[u8]| {
            head[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let mut flags = 0;
        for (text, long) in [(field, LONG_FIELD), (value, LONG_VALUE)] {
            match u8::try_from(text.len()) {
                Ok(len) => put(&[len]),
                Err(_) => {
                    flags |= long;
                    put(&(text.len() as u64).to_le_bytes());
                }
            }
        }
        if let Some(deadline) = deadline_ms {
            flags |= HAS_DEADLINE;
            put(&deadline.to_le_bytes());
        }
        head[0] = flags;
        Field(Record::new(&[&head[..at], field, value]))
    }

    #[inline]
    fn parts(&self) -> FieldParts {
        // SAFETY: the block holds a whole field record.
        unsafe { field_parts(self.0.start.as_ptr()) }
    }

    #[inline]
    pub fn field(&self) -> &[u8] {
        let parts = self.parts();
        &self.0.bytes()[parts.field..parts.value]
    }

    #[inline]
    pub fn value(&self) -> &[u8] {
        let parts = self.parts();
        &self.0.bytes()[parts.value..parts.end]
    }

    /// Unix time in milliseconds at which the field ends.
    pub fn deadline_ms(&self) -> Option<i64> {
        let bytes = self.0.bytes();
        if bytes[0] & HAS_DEADLINE == 0 {
            return None;
        }
        let end = self.parts().field;
        Some(i64::from_le_bytes(bytes[end - 8..end].try_into().ok()?))
    }

    /// The address, which tells records with the same deadline apart.
    pub(super) fn address(&self) -> FieldAlias {
        FieldAlias(self.0.start)
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl TableItem for Field {
    #[inline]
    fn key(&self) -> &[u8] {
        self.field()
    }
}

/// A pointer to a [`Field`] that something else owns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FieldAlias(NonNull<u8>);

// SAFETY: an alias is an address; using it is unsafe and up to the structure that holds owner and alias together.
unsafe impl Send for FieldAlias {}
// SAFETY: as above.
unsafe impl Sync for FieldAlias {}

impl FieldAlias {
    /// The field's name.
    ///
    /// # Safety
    /// The record must live for `'a`.
    pub(super) unsafe fn field<'a>(self) -> &'a [u8] {
        // SAFETY: the record lives, by the caller's promise, and its lengths are intact.
        unsafe {
            let parts = field_parts(self.0.as_ptr());
            std::slice::from_raw_parts(self.0.as_ptr().add(parts.field), parts.value - parts.field)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_parts() {
        for len in [0usize, 1, 13, 253, 254, 255, 256, 70_000] {
            let text = vec![b't'; len];
            assert_eq!(Member::new(&text).text(), text);
            let mut scored = Scored::new(&text, 1.5);
            scored.set_score(-2.5);
            assert_eq!((scored.member(), scored.score()), (&text[..], -2.5));
            // SAFETY: the record lives in this scope.
            assert_eq!(unsafe { scored.alias().member() }, text);
            for other in [0usize, 200, 255, 256] {
                let value = vec![b'v'; other];
                for deadline in [None, Some(0), Some(i64::MAX)] {
                    let field = Field::new(&text, &value, deadline);
                    assert_eq!(
                        (field.field(), field.value(), field.deadline_ms()),
                        (&text[..], &value[..], deadline)
                    );
                    // SAFETY: the record lives in this scope.
                    assert_eq!(unsafe { field.address().field() }, text);
                }
            }
        }
    }

    #[test]
    fn small_records_are_small() {
        assert_eq!(Member::new(&[b'x'; 15]).heap_bytes(), 16);
        assert_eq!(Scored::new(&[b'x'; 15], 0.0).heap_bytes(), 24);
        assert_eq!(Field::new(&[b'x'; 11], &[b'y'; 10], None).heap_bytes(), 24);
    }
}
