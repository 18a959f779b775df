//! One key with its value in one allocation.
//!
//! ```text
//!  0        1        2          3         4                 8
//! +--------+--------+----------+---------+-----------------+- - - - - - - -+- - - - - - -+- - - - -+-----+- - - - -+
//! | kind   | flags  | inline   | key len | lru/lfu (24 bit)| deadline i64  | payload word| key len | key | value   |
//! | t<<4|e |        | val len  | (u8)    | and mark lanes  | if HAS_EXPIRY | (0/8/24 B)  | u32 wide|     | inline  |
//! +--------+--------+----------+---------+-----------------+- - - - - - - -+- - - - - - -+- - - - -+-----+- - - - -+
//! ```
//!
//! Short strings lie behind the key; long strings are a `Vec<u8>` in the payload; integers and collections are one
//! payload word. A key of 13 bytes with a value of 16 takes 38 bytes and one allocation.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::table::TableItem;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::stream::Stream;
use crate::types::zset::ZSet;
use crate::types::{Collection, Payload};

const HEADER: usize = 8;
const HAS_EXPIRY: u8 = 1;
const WIDE_KEY: u8 = 2;
pub(super) const INLINE: u8 = 4;
/// Longest string value that lives inside the entry, bytes.
pub const INLINE_VALUE_MAX: usize = 192;

/// The type of a value, with the numbers DUMP and `OBJECT` tables use nowhere: they are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Type {
    String = 0,
    List = 1,
    Set = 2,
    ZSet = 3,
    Hash = 4,
    Stream = 5,
}

impl Type {
    /// The word TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

/// String encodings as OBJECT ENCODING names them. Which of the last two is reported is history (APPEND makes `raw`),
/// not a consequence of where the bytes are.
pub mod string_encoding {
    pub const INT: u8 = 0;
    pub const EMBSTR: u8 = 1;
    pub const RAW: u8 = 2;
}

/// A value outside an entry, owned.
pub enum Value {
    Int(i64),
    /// A string and whether OBJECT ENCODING says `raw` although it is short.
    Str(Vec<u8>, StringKind),
    List(List),
    Set(Set),
    ZSet(ZSet),
    Hash(Hash),
    Stream(Stream),
}

impl Value {
    /// Steps it takes to free the value, as Valkey counts them: allocations of a collection, 1 for a string of any
    /// length.
    pub fn free_effort(&self) -> usize {
        match self {
            Value::Int(_) | Value::Str(..) => 1,
            Value::List(v) => v.free_effort(),
            Value::Set(v) => v.free_effort(),
            Value::ZSet(v) => v.free_effort(),
            Value::Hash(v) => v.free_effort(),
            Value::Stream(v) => v.free_effort(),
        }
    }
}

/// How a string reports its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringKind {
    Embstr,
    Raw,
}

/// A value inside an entry, borrowed.
pub enum ValueRef<'a> {
    Int(i64),
    Str(&'a [u8]),
    List(Ref<'a, List>),
    Set(Ref<'a, Set>),
    ZSet(Ref<'a, ZSet>),
    Hash(Ref<'a, Hash>),
    Stream(Ref<'a, Stream>),
}

/// What a new entry is made of, borrowed where copying once is enough.
pub enum NewValue<'a> {
    Int(i64),
    Str(&'a [u8], StringKind),
    Owned(Value),
}

/// Shared access to a collection whose enum is put together on the fly from the entry's word.
pub struct Ref<'a, T> {
    value: ManuallyDrop<T>,
    _entry: std::marker::PhantomData<&'a Entry>,
}

impl<T> std::ops::Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Exclusive access to a collection; writes the (possibly changed) encoding and word back when dropped.
pub struct RefMut<'a, T: Payload> {
    value: ManuallyDrop<T>,
    entry: &'a mut Entry,
}

impl<T: Payload> std::ops::Deref for RefMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Payload> std::ops::DerefMut for RefMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Payload> Drop for RefMut<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the value is taken exactly once, here, and the entry takes over ownership of its word again.
        let (encoding, word) = unsafe { ManuallyDrop::take(&mut self.value) }.into_raw();
        self.entry.set_encoding(encoding);
        self.entry.set_word(word);
    }
}

/// A key and its value. One machine word; owns its allocation.
#[repr(transparent)]
pub struct Entry(pub(super) NonNull<u8>);

// SAFETY: an entry exclusively owns everything it points to, and all value types are `Send`.
unsafe impl Send for Entry {}

impl TableItem for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("type", &self.kind())
            .field("expiry", &self.expiry())
            .finish()
    }
}

/// The sizes that determine where things lie.
struct Shape {
    flags: u8,
    payload: usize,
    key: usize,
    inline: usize,
}

impl Shape {
    fn total(&self) -> usize {
        self.key_at() + self.key + self.inline
    }

    fn payload_at(&self) -> usize {
        HEADER + if self.flags & HAS_EXPIRY != 0 { 8 } else { 0 }
    }

    fn key_at(&self) -> usize {
        self.payload_at() + self.payload + if self.flags & WIDE_KEY != 0 { 4 } else { 0 }
    }
}

pub(super) fn layout(total: usize) -> Layout {
    Layout::from_size_align(total, 8).expect("an entry is smaller than the address space")
}

fn encode_kind(kind: StringKind) -> u8 {
    match kind {
        StringKind::Embstr => string_encoding::EMBSTR,
        StringKind::Raw => string_encoding::RAW,
    }
}

/// The kind a string gets that replaces one with or without a deadline and then has one or not.
#[inline]
fn kind_as_stored(key: usize, len: usize, kind: StringKind, replaced: bool, deadline: bool) -> StringKind {
    match kind {
        StringKind::Raw => StringKind::Raw,
        StringKind::Embstr if deadline && !replaced => StringKind::of_new(key, len, false).with_deadline(key),
        StringKind::Embstr => StringKind::of_new(key, len, replaced),
    }
}

impl Entry {
    /// Makes an entry. `expiry` is the deadline in Unix milliseconds. A string said to be [`StringKind::Embstr`] is
    /// that only if it fits (see [`StringKind::of_new`]).
    pub fn new(key: &[u8], value: NewValue<'_>, expiry: Option<i64>) -> Self {
        Self::build(key, value, expiry, false)
    }

    /// `replaced_deadline`: whether the value replaces one under a deadline, which matters for a string's kind.
    fn build(key: &[u8], value: NewValue<'_>, expiry: Option<i64>, replaced_deadline: bool) -> Self {
        let encoding_of = |len, kind| {
            encode_kind(kind_as_stored(key.len(), len, kind, replaced_deadline, expiry.is_some()))
        };
        let mut flags = if expiry.is_some() { HAS_EXPIRY } else { 0 };
        if key.len() > usize::from(u8::MAX) {
            flags |= WIDE_KEY;
        }
        let (kind, payload, inline): (u8, usize, &[u8]) = match &value {
            NewValue::Int(_) => (string_encoding::INT, 8, &[]),
            NewValue::Str(bytes, string) => {
                let encoding = encoding_of(bytes.len(), *string);
                if bytes.len() <= INLINE_VALUE_MAX {
                    flags |= INLINE;
                    (encoding, 0, bytes)
                } else {
                    (encoding, 24, &[])
                }
            }
            NewValue::Owned(Value::Int(n)) => {
                return Self::build(key, NewValue::Int(*n), expiry, replaced_deadline);
            }
            NewValue::Owned(Value::Str(bytes, string)) if bytes.len() <= INLINE_VALUE_MAX => {
                return Self::build(key, NewValue::Str(bytes, *string), expiry, replaced_deadline);
            }
            NewValue::Owned(Value::Str(bytes, string)) => (encoding_of(bytes.len(), *string), 24, &[]),
            NewValue::Owned(Value::List(_)) => ((Type::List as u8) << 4, 8, &[]),
            NewValue::Owned(Value::Set(_)) => ((Type::Set as u8) << 4, 8, &[]),
            NewValue::Owned(Value::ZSet(_)) => ((Type::ZSet as u8) << 4, 8, &[]),
            NewValue::Owned(Value::Hash(_)) => ((Type::Hash as u8) << 4, 8, &[]),
            NewValue::Owned(Value::Stream(_)) => ((Type::Stream as u8) << 4, 8, &[]),
        };
        let shape = Shape { flags, payload, key: key.len(), inline: inline.len() };
        let total = shape.total();
        // SAFETY: the layout is not empty (it holds at least the header).
        let Some(at) = NonNull::new(unsafe { alloc(layout(total)) }) else {
            handle_alloc_error(layout(total))
        };
        let mut entry = Entry(at);
        // SAFETY: all writes below stay inside `total` bytes by construction of `Shape`; the payload is 8-aligned
        // because the header, the deadline and the allocation are.
        unsafe {
            let p = at.as_ptr();
            p.write(kind);
            p.add(1).write(flags);
            p.add(2).write(inline.len() as u8);
            p.add(3).write(key.len().min(255) as u8);
            p.add(4).cast::<u32>().write(0);
            if let Some(deadline) = expiry {
                p.add(HEADER).cast::<i64>().write(deadline);
            }
            if flags & WIDE_KEY != 0 {
                p.add(shape.key_at() - 4).cast::<u32>().write_unaligned(key.len() as u32);
            }
            p.add(shape.key_at()).copy_from_nonoverlapping(key.as_ptr(), key.len());
            p.add(shape.key_at() + key.len()).copy_from_nonoverlapping(inline.as_ptr(), inline.len());
        }
        match value {
            NewValue::Int(n) => entry.set_word(n as usize),
            NewValue::Str(bytes, _) if bytes.len() > INLINE_VALUE_MAX => entry.write_long(bytes.to_vec()),
            NewValue::Str(..) => {}
            NewValue::Owned(Value::Int(_)) => {}
            NewValue::Owned(Value::Str(bytes, _)) => entry.write_long(bytes),
            NewValue::Owned(Value::List(v)) => entry.write_payload(v),
            NewValue::Owned(Value::Set(v)) => entry.write_payload(v),
            NewValue::Owned(Value::ZSet(v)) => entry.write_payload(v),
            NewValue::Owned(Value::Hash(v)) => entry.write_payload(v),
            NewValue::Owned(Value::Stream(v)) => entry.write_payload(v),
        }
        entry
    }

    #[inline]
    pub(super) fn byte(&self, at: usize) -> u8 {
        // SAFETY: only called with offsets inside the header.
        unsafe { self.0.as_ptr().add(at).read() }
    }

    #[inline]
    pub(super) fn flags(&self) -> u8 {
        self.byte(1)
    }

    #[inline]
    fn payload_at(&self) -> usize {
        HEADER + usize::from(self.flags() & HAS_EXPIRY) * 8
    }

    #[inline]
    fn payload_len(&self) -> usize {
        if self.flags() & INLINE != 0 {
            0
        } else if self.byte(0) == string_encoding::EMBSTR || self.byte(0) == string_encoding::RAW {
            24
        } else {
            8
        }
    }

    /// Starts to load what the payload points to, if it points anywhere.
    #[inline]
    pub fn prefetch_value(&self) {
        let kind = self.byte(0);
        if self.flags() & INLINE != 0 || kind == string_encoding::INT {
            return;
        }
        let word = if self.payload_len() == 8 {
            self.word()
        } else {
            self.string_bytes().map_or(0, |b| b.as_ptr().addr())
        };
        let target = std::ptr::without_provenance::<u8>(word);
        super::table::prefetch(target);
        super::table::prefetch(target.wrapping_add(64));
    }

    #[inline]
    fn key_range(&self) -> (usize, usize) {
        let base = self.payload_at() + self.payload_len();
        if self.flags() & WIDE_KEY == 0 {
            (base, usize::from(self.byte(3)))
        } else {
            // SAFETY: a wide entry holds the key length at `base`.
            (base + 4, unsafe { self.0.as_ptr().add(base).cast::<u32>().read_unaligned() } as usize)
        }
    }

    pub(super) fn total(&self) -> usize {
        let (at, len) = self.key_range();
        at + len + usize::from(self.byte(2))
    }

    /// Bytes of the entry's own allocation (not counting what its payload points to).
    pub fn own_bytes(&self) -> usize {
        self.total()
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        let (at, len) = self.key_range();
        // SAFETY: `new` wrote `len` bytes at `at`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(at), len) }
    }

    #[inline]
    pub fn kind(&self) -> Type {
        match self.byte(0) >> 4 {
            0 => Type::String,
            1 => Type::List,
            2 => Type::Set,
            3 => Type::ZSet,
            4 => Type::Hash,
            5 => Type::Stream,
            _ => unreachable!("only `new` writes the kind"),
        }
    }

    /// The encoding tag: [`string_encoding`] for strings, else what the type's [`Payload`] calls it.
    pub fn encoding(&self) -> u8 {
        self.byte(0) & 15
    }

    fn set_encoding(&mut self, encoding: u8) {
        debug_assert!(encoding < 16);
        // SAFETY: the first header byte is always there.
        unsafe { self.0.as_ptr().write((self.byte(0) & 0xf0) | encoding) }
    }

    /// The deadline, Unix milliseconds.
    #[inline]
    pub fn expiry(&self) -> Option<i64> {
        // SAFETY: with the flag set, `new` wrote an aligned i64 behind the header.
        (self.flags() & HAS_EXPIRY != 0).then(|| unsafe { self.0.as_ptr().add(HEADER).cast::<i64>().read() })
    }

    /// Sets, changes or removes the deadline, moving the entry if its size changes.
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        match (expiry, self.flags() & HAS_EXPIRY != 0) {
            (None, false) => {}
            // SAFETY: the deadline's place exists.
            (Some(t), true) => unsafe { self.0.as_ptr().add(HEADER).cast::<i64>().write(t) },
            (Some(t), false) => {
                if self.byte(0) == string_encoding::EMBSTR {
                    self.set_string_kind(StringKind::Embstr.with_deadline(self.key().len()));
                }
                self.resize_head(8);
                // SAFETY: `resize_head` made room for eight aligned bytes behind the header.
                unsafe {
                    self.0.as_ptr().add(1).write(self.flags() | HAS_EXPIRY);
                    self.0.as_ptr().add(HEADER).cast::<i64>().write(t);
                }
            }
            (None, true) => {
                self.resize_head(-8);
                // SAFETY: the flags byte is always there.
                unsafe { self.0.as_ptr().add(1).write(self.flags() & !HAS_EXPIRY) }
            }
        }
    }

    /// Inserts or removes bytes right behind the header. Payload words are moved bitwise.
    fn resize_head(&mut self, by: isize) {
        let old_total = self.total();
        let new_total = old_total.checked_add_signed(by).expect("only removes what is there");
        let (from, to) =
            if by > 0 { (HEADER, HEADER + by as usize) } else { (HEADER + (-by) as usize, HEADER) };
        // SAFETY: both blocks are valid for the lengths copied; the old block is freed with the layout it was
        // allocated with; ownership of the payload moves to the copy.
        unsafe {
            let Some(new) = NonNull::new(alloc(layout(new_total))) else {
                handle_alloc_error(layout(new_total))
            };
            new.as_ptr().copy_from_nonoverlapping(self.0.as_ptr(), HEADER);
            new.as_ptr().add(to).copy_from_nonoverlapping(self.0.as_ptr().add(from), old_total - from);
            dealloc(self.0.as_ptr(), layout(old_total));
            self.0 = new;
        }
    }

    fn word(&self) -> usize {
        debug_assert_eq!(self.payload_len(), 8);
        // SAFETY: the payload is 8 bytes, aligned.
        unsafe { self.0.as_ptr().add(self.payload_at()).cast::<usize>().read() }
    }

    fn set_word(&mut self, word: usize) {
        debug_assert_eq!(self.payload_len(), 8);
        // SAFETY: the payload is 8 bytes, aligned.
        unsafe { self.0.as_ptr().add(self.payload_at()).cast::<usize>().write(word) }
    }

    fn write_payload<T: Payload>(&mut self, value: T) {
        let (encoding, word) = value.into_raw();
        self.set_encoding(encoding);
        self.set_word(word);
    }

    fn long_ptr(&self) -> *mut Vec<u8> {
        debug_assert_eq!(self.payload_len(), 24);
        // SAFETY: stays inside the allocation.
        unsafe { self.0.as_ptr().add(self.payload_at()).cast() }
    }

    fn write_long(&mut self, bytes: Vec<u8>) {
        // SAFETY: the payload is 24 aligned bytes, the size of a Vec; nothing lives there yet.
        unsafe { self.long_ptr().write(bytes) }
    }

    fn borrow<T: Payload>(&self) -> Ref<'_, T> {
        // SAFETY: the word was written by `into_raw` of this type; ManuallyDrop keeps it from being owned twice, and
        // the borrow of self keeps it alive and unchanged.
        let value = ManuallyDrop::new(unsafe { T::from_raw(self.encoding(), self.word()) });
        Ref { value, _entry: std::marker::PhantomData }
    }

    fn borrow_mut<T: Payload>(&mut self) -> RefMut<'_, T> {
        // SAFETY: as in `borrow`; the entry is borrowed exclusively until the guard writes the word back.
        let value = ManuallyDrop::new(unsafe { T::from_raw(self.encoding(), self.word()) });
        RefMut { value, entry: self }
    }

    /// The value, borrowed.
    pub fn value(&self) -> ValueRef<'_> {
        match self.kind() {
            Type::String => match self.encoding() {
                string_encoding::INT => ValueRef::Int(self.word() as i64),
                _ => ValueRef::Str(self.string_bytes().expect("a string that is no integer has bytes")),
            },
            Type::List => ValueRef::List(self.borrow()),
            Type::Set => ValueRef::Set(self.borrow()),
            Type::ZSet => ValueRef::ZSet(self.borrow()),
            Type::Hash => ValueRef::Hash(self.borrow()),
            Type::Stream => ValueRef::Stream(self.borrow()),
        }
    }

    /// The bytes of a string that is not stored as an integer.
    pub fn string_bytes(&self) -> Option<&[u8]> {
        if self.kind() != Type::String || self.encoding() == string_encoding::INT {
            return None;
        }
        if self.flags() & INLINE != 0 {
            let (at, len) = self.key_range();
            // SAFETY: `new` wrote the value behind the key.
            Some(unsafe {
                std::slice::from_raw_parts(self.0.as_ptr().add(at + len), usize::from(self.byte(2)))
            })
        } else {
            // SAFETY: a long string's payload is a valid Vec.
            Some(unsafe { (*self.long_ptr()).as_slice() })
        }
    }

    /// The bytes of a string for changing in place, without changing its length. None for integers.
    pub fn string_bytes_mut(&mut self) -> Option<&mut [u8]> {
        let len = self.string_bytes()?.len();
        let at = if self.flags() & INLINE != 0 {
            let (at, key) = self.key_range();
            // SAFETY: inside the allocation.
            unsafe { self.0.as_ptr().add(at + key) }
        } else {
            // SAFETY: a long string's payload is a valid Vec.
            unsafe { (*self.long_ptr()).as_mut_ptr() }
        };
        // SAFETY: `len` initialised bytes at `at`, exclusively borrowed through self.
        Some(unsafe { std::slice::from_raw_parts_mut(at, len) })
    }

    /// The growable bytes of a long string (one not inside the entry). None for all other values.
    pub fn long_string_mut(&mut self) -> Option<&mut Vec<u8>> {
        if self.kind() == Type::String
            && self.encoding() != string_encoding::INT
            && self.flags() & INLINE == 0
        {
            // SAFETY: a long string's payload is a valid Vec, exclusively borrowed through self.
            Some(unsafe { &mut *self.long_ptr() })
        } else {
            None
        }
    }

    /// Says how a string reports its encoding from now on. No effect on integers.
    pub fn set_string_kind(&mut self, kind: StringKind) {
        if self.kind() == Type::String && self.encoding() != string_encoding::INT {
            self.set_encoding(encode_kind(kind));
        }
    }

    /// Overwrites an integer in place; false if the value is not stored as an integer.
    pub fn set_int_in_place(&mut self, n: i64) -> bool {
        let is_int = self.byte(0) == string_encoding::INT;
        if is_int {
            self.set_word(n as usize);
        }
        is_int
    }

    /// Replaces value and deadline, keeping key and access word. Returns what held the old value if its allocation
    /// could not be used again.
    pub fn overwrite(&mut self, value: NewValue<'_>, expiry: Option<i64>) -> Option<Entry> {
        let had = self.expiry().is_some();
        if had == expiry.is_some() {
            let in_place = match &value {
                NewValue::Int(n) => self.set_int_in_place(*n),
                NewValue::Str(bytes, kind) => {
                    let kind = kind_as_stored(self.key().len(), bytes.len(), *kind, had, had);
                    self.overwrite_string(bytes, kind)
                }
                NewValue::Owned(_) => false,
            };
            if in_place {
                self.set_expiry(expiry);
                return None;
            }
        }
        let mut new = Self::build(self.key(), value, expiry, had);
        new.set_access_word(self.access_word());
        Some(std::mem::replace(self, new))
    }

    /// The earliest deadline of a field, Unix milliseconds: of hashes only, and not of most.
    #[inline]
    pub fn field_deadline(&self) -> Option<i64> {
        if self.kind() != Type::Hash {
            return None;
        }
        match self.value() {
            ValueRef::Hash(hash) => hash.earliest_deadline_ms(),
            _ => None,
        }
    }

    pub fn list_mut(&mut self) -> Option<RefMut<'_, List>> {
        (self.kind() == Type::List).then(|| self.borrow_mut())
    }

    pub fn set_mut(&mut self) -> Option<RefMut<'_, Set>> {
        (self.kind() == Type::Set).then(|| self.borrow_mut())
    }

    pub fn zset_mut(&mut self) -> Option<RefMut<'_, ZSet>> {
        (self.kind() == Type::ZSet).then(|| self.borrow_mut())
    }

    pub fn hash_mut(&mut self) -> Option<RefMut<'_, Hash>> {
        (self.kind() == Type::Hash).then(|| self.borrow_mut())
    }

    pub fn stream_mut(&mut self) -> Option<RefMut<'_, Stream>> {
        (self.kind() == Type::Stream).then(|| self.borrow_mut())
    }

    /// Replaces the value, keeping key, deadline and access time; returns the old value.
    pub fn replace_value(&mut self, value: NewValue<'_>) -> Value {
        let expiry = self.expiry();
        let mut new = Entry::build(self.key(), value, expiry, expiry.is_some());
        new.set_access_word(self.access_word());
        std::mem::replace(self, new).into_value()
    }

    /// A copy of the value that shares nothing with it.
    pub fn duplicate_value(&self) -> Value {
        match self.value() {
            ValueRef::Int(n) => Value::Int(n),
            ValueRef::Str(bytes) => {
                let raw = self.encoding() == string_encoding::RAW;
                Value::Str(bytes.to_vec(), if raw { StringKind::Raw } else { StringKind::Embstr })
            }
            ValueRef::List(v) => Value::List((*v).clone()),
            ValueRef::Set(v) => Value::Set((*v).clone()),
            ValueRef::ZSet(v) => Value::ZSet((*v).clone()),
            ValueRef::Hash(v) => Value::Hash((*v).clone()),
            ValueRef::Stream(v) => Value::Stream((*v).clone()),
        }
    }

    /// The encoding as OBJECT ENCODING names it.
    pub fn encoding_name(&self) -> &'static str {
        match self.value() {
            ValueRef::Int(_) => "int",
            ValueRef::Str(_) if self.encoding() == string_encoding::RAW => "raw",
            ValueRef::Str(_) => "embstr",
            ValueRef::List(v) => v.encoding_name(),
            ValueRef::Set(v) => v.encoding_name(),
            ValueRef::ZSet(v) => v.encoding_name(),
            ValueRef::Hash(v) => v.encoding_name(),
            ValueRef::Stream(_) => "stream",
        }
    }

    /// Takes the value out, freeing key and entry.
    pub fn into_value(self) -> Value {
        let entry = ManuallyDrop::new(self);
        let value = match entry.kind() {
            Type::String => match entry.encoding() {
                string_encoding::INT => Value::Int(entry.word() as i64),
                encoding => {
                    let kind =
                        if encoding == string_encoding::RAW { StringKind::Raw } else { StringKind::Embstr };
                    if entry.flags() & INLINE != 0 {
                        Value::Str(entry.string_bytes().expect("inline values are strings").to_vec(), kind)
                    } else {
                        // SAFETY: the Vec is moved out; the allocation is freed below without dropping it.
                        Value::Str(unsafe { entry.long_ptr().read() }, kind)
                    }
                }
            },
            // SAFETY: each word is owned by the value made here; the allocation is freed below without dropping it.
            Type::List => Value::List(unsafe { List::from_raw(entry.encoding(), entry.word()) }),
            // SAFETY: as above.
            Type::Set => Value::Set(unsafe { Set::from_raw(entry.encoding(), entry.word()) }),
            // SAFETY: as above.
            Type::ZSet => Value::ZSet(unsafe { ZSet::from_raw(entry.encoding(), entry.word()) }),
            // SAFETY: as above.
            Type::Hash => Value::Hash(unsafe { Hash::from_raw(entry.encoding(), entry.word()) }),
            // SAFETY: as above.
            Type::Stream => Value::Stream(unsafe { Stream::from_raw(entry.encoding(), entry.word()) }),
        };
        // SAFETY: allocated with this layout; the payload has been moved out.
        unsafe { dealloc(entry.0.as_ptr(), layout(entry.total())) };
        value
    }

    /// Steps it takes to free the entry, as [`Value::free_effort`].
    pub fn free_effort(&self) -> usize {
        match self.value() {
            ValueRef::Int(_) | ValueRef::Str(_) => 1,
            ValueRef::List(v) => v.free_effort(),
            ValueRef::Set(v) => v.free_effort(),
            ValueRef::ZSet(v) => v.free_effort(),
            ValueRef::Hash(v) => v.free_effort(),
            ValueRef::Stream(v) => v.free_effort(),
        }
    }

    /// Whether encoding the value takes long enough for others to notice, a few hundred microseconds.
    pub fn is_slow_to_encode(&self) -> bool {
        const ELEMENTS: usize = 2048;
        const STRING_BYTES: usize = 128 * 1024;
        match self.value() {
            ValueRef::Str(text) => text.len() >= STRING_BYTES,
            _ => self.free_effort() >= ELEMENTS,
        }
    }

    /// The LRU clock or LFU counter (low 24 bits) and the mark lanes of running exports (high 8 bits).
    #[inline]
    pub fn access_word(&self) -> u32 {
        // SAFETY: the word lies in the header.
        unsafe { self.0.as_ptr().add(4).cast::<u32>().read() }
    }

    #[inline]
    pub fn set_access_word(&mut self, word: u32) {
        // SAFETY: the word lies in the header.
        unsafe { self.0.as_ptr().add(4).cast::<u32>().write(word) }
    }

    /// The marks of running exports, a bit per lane (see [`crate::export`]).
    #[inline]
    pub fn marks(&self) -> u8 {
        (self.access_word() >> 24) as u8
    }

    #[inline]
    pub fn set_marks(&mut self, marks: u8) {
        self.set_access_word(self.access_word() & 0xff_ffff | u32::from(marks) << 24);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.kind() == Type::String && self.payload_len() < 24 {
            // SAFETY: allocated with this layout; integers and inline strings own nothing else.
            unsafe { dealloc(self.0.as_ptr(), layout(self.total())) };
        } else {
            // SAFETY: `into_value` frees this allocation; the place is not used again.
            drop(unsafe { std::ptr::read(self) }.into_value());
        }
    }
}
