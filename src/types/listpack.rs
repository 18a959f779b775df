//! Listpack: a sequence of short strings and integers in one block of bytes, byte for byte Valkey's
//! (format: spec page rdb.md, section 4.1).
//!
//! ```text
//! u32 total bytes │ u16 count │ entry entry ... │ FF        entry = encoding+data, then backlen (its length)
//! ```
//! A position ([`Pos`]) is the byte offset of an entry. It stays valid until the listpack changes.

use super::block::{Block, Header};
use super::item::Item;

/// Bytes before the first entry.
pub(crate) const HEADER: usize = 6;
const END: u8 = 0xff;
/// A count that means "too many to record; walk and count".
const COUNT_UNKNOWN: u16 = u16::MAX;
/// The largest listpack Valkey lets grow, in bytes.
pub const BYTES_MAX: usize = 1 << 30;

/// The offset of an entry in its listpack, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(u32);

enum ListpackHeader {}

// SAFETY: the length is exactly the first four bytes, little endian, and is never below HEADER + 1.
unsafe impl Header for ListpackHeader {
    const LENGTH_BYTES: usize = 4;

    #[inline]
    fn byte_len(h: &[u8]) -> usize {
        u32::from_le_bytes([h[0], h[1], h[2], h[3]]) as usize
    }

    fn store_len(h: &mut [u8], len: usize) {
        let len = u32::try_from(len).expect("a listpack stays below 4 GiB: callers limit its size");
        h[..4].copy_from_slice(&len.to_le_bytes());
    }
}

/// An owned listpack. One machine word.
#[derive(Clone)]
pub struct Listpack(Block<ListpackHeader>);

/// An encoded entry without its backlen: what to write before the string bytes, and the string bytes.
struct Encoded<'a> {
    head: [u8; 9],
    head_len: usize,
    text: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn new(item: Item<'a>) -> Self {
        let mut e = Encoded { head: [0; 9], head_len: 0, text: &[] };
        match item {
            Item::Int(v) => e.integer(v),
            Item::Str(s) => {
                e.text = s;
                match s.len() {
                    n @ 0..=63 => e.put(&[0x80 | n as u8]),
                    n @ 64..=4095 => e.put(&[0xe0 | (n >> 8) as u8, n as u8]),
                    n => {
                        let n = u32::try_from(n).expect("strings in listpacks are limited by their callers");
                        e.put(&[0xf0]);
                        e.put(&n.to_le_bytes());
                    }
                }
            }
        }
        e
    }

    fn integer(&mut self, v: i64) {
        let le = v.to_le_bytes();
        match v {
            0..=127 => self.put(&[v as u8]),
            -4096..=4095 => self.put(&[0xc0 | ((v >> 8) & 0x1f) as u8, v as u8]),
            -0x8000..=0x7fff => self.wide(0xf1, &le[..2]),
            -0x80_0000..=0x7f_ffff => self.wide(0xf2, &le[..3]),
            -0x8000_0000..=0x7fff_ffff => self.wide(0xf3, &le[..4]),
            _ => self.wide(0xf4, &le),
        }
    }

    fn wide(&mut self, tag: u8, le: &[u8]) {
        self.put(&[tag]);
        self.put(le);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.head[self.head_len..self.head_len + bytes.len()].copy_from_slice(bytes);
        self.head_len += bytes.len();
    }

    /// Length of encoding and data, without the backlen.
    fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    /// Writes the whole entry into `out`, which has exactly its size.
    fn write(&self, out: &mut [u8]) {
        let len = self.len();
        out[..self.head_len].copy_from_slice(&self.head[..self.head_len]);
        out[self.head_len..len].copy_from_slice(self.text);
        write_backlen(len, &mut out[len..]);
    }
}

/// Bytes the backlen of an entry of `len` bytes takes: the limits are part of the format, since walking forward
/// recomputes them.
#[inline]
fn backlen_size(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16383 => 2,
        16384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}

fn write_backlen(len: usize, out: &mut [u8]) {
    let n = out.len();
    for (i, byte) in out.iter_mut().enumerate() {
        let group = (len >> (7 * (n - 1 - i))) & 0x7f;
        *byte = group as u8 | if i == 0 { 0 } else { 0x80 };
    }
}

/// Reads the backlen that ends just before `end`: (length it tells, bytes it takes).
fn read_backlen(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut len = 0usize;
    for taken in 0..5 {
        let byte = *bytes.get(end.checked_sub(taken + 1)?)?;
        len |= ((byte & 0x7f) as usize) << (7 * taken);
        if byte & 0x80 == 0 {
            return Some((len, taken + 1));
        }
    }
    None
}

/// The entry at `at`: its item and the length of its encoding and data. `None` at the terminator, at an unknown
/// encoding, or when it would reach past the end; so it serves foreign bytes too.
#[inline]
fn decode(bytes: &[u8], at: usize) -> Option<(Item<'_>, usize)> {
    let rest = bytes.get(at..)?;
    match *rest.first()? {
        small @ 0..=0x7f => Some((Item::Int(small as i64), 1)),
        short @ 0x80..=0xbf => {
            let all = 1 + (short & 0x3f) as usize;
            Some((Item::Str(rest.get(1..all)?), all))
        }
        _ => decode_long(rest),
    }
}

/// [`decode`] for what is neither a small integer nor a short text, which are the most by far.
fn decode_long(rest: &[u8]) -> Option<(Item<'_>, usize)> {
    let first = *rest.first()?;
    let text = |head: usize, n: usize| {
        let all = head.checked_add(n)?;
        Some((Item::Str(rest.get(head..all)?), all))
    };
    match first {
        0xc0..=0xdf => {
            let raw = ((first & 0x1f) as i64) << 8 | *rest.get(1)? as i64;
            Some((Item::Int(if raw >= 4096 { raw - 8192 } else { raw }), 2))
        }
        0xe0..=0xef => text(2, ((first & 0x0f) as usize) << 8 | *rest.get(1)? as usize),
        0xf0 => {
            let n: [u8; 4] = rest.get(1..5)?.try_into().ok()?;
            text(5, u32::from_le_bytes(n) as usize)
        }
        0xf1..=0xf4 => {
            let width = [2, 3, 4, 8][(first - 0xf1) as usize];
            let mut le = [0u8; 8];
            le[..width].copy_from_slice(rest.get(1..1 + width)?);
            let shift = 64 - 8 * width as u32;
            Some((Item::Int(i64::from_le_bytes(le) << shift >> shift), 1 + width))
        }
        0..=0xbf | 0xf5..=0xff => None,
    }
}

/// Length of encoding and data of the entry at `at`, of a listpack known to be sound.
#[inline]
fn entry_len(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        0..=0x7f => 1,
        b @ 0x80..=0xbf => 1 + (b & 0x3f) as usize,
        0xc0..=0xdf => 2,
        b @ 0xe0..=0xef => 2 + (((b & 0x0f) as usize) << 8 | bytes[at + 1] as usize),
        0xf0 => 5 + u32::from_le_bytes([bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4]]) as usize,
        b => [3, 4, 5, 9][(b.saturating_sub(0xf1) & 3) as usize],
    }
}

/// Writes entries one behind the other and returns what is left of `out`.
fn write_entries<'a, 'o>(mut out: &'o mut [u8], items: impl Iterator<Item = Item<'a>>) -> &'o mut [u8] {
    for item in items {
        let encoded = Encoded::new(item);
        let (entry, rest) = out.split_at_mut(encoded.len() + backlen_size(encoded.len()));
        encoded.write(entry);
        out = rest;
    }
    out
}

/// Bytes of one entry holding `item`, backlen included.
pub fn entry_size(item: Item<'_>) -> usize {
    let len = Encoded::new(item).len();
    len + backlen_size(len)
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    /// An empty listpack (7 bytes).
    pub fn new() -> Self {
        Listpack(Block::from_slice(&[HEADER as u8 + 1, 0, 0, 0, 0, 0, END]))
    }

    /// A listpack of these entries, made at once. The iterator is walked twice.
    pub fn from_items<'a>(items: impl Iterator<Item = Item<'a>> + Clone) -> Self {
        let (bytes, count) =
            items.clone().fold((0, 0usize), |(bytes, count), item| (bytes + entry_size(item), count + 1));
        let mut block = Block::of_len(HEADER + bytes + 1);
        let body = block.body_mut();
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        body[..2].copy_from_slice(&count.to_le_bytes());
        write_entries(&mut body[2..], items)[0] = END;
        Listpack(block)
    }

    /// Takes over bytes from outside if they are a sound listpack: exact size, terminator, every entry and backlen,
    /// and the recorded count. Never panics.
    pub fn from_foreign(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER + 1 || bytes.len() > BYTES_MAX {
            return None;
        }
        if ListpackHeader::byte_len(bytes) != bytes.len() || *bytes.last()? != END {
            return None;
        }
        let end = bytes.len() - 1;
        let (mut at, mut count) = (HEADER, 0usize);
        while at < end {
            let (_, len) = decode(&bytes[..end], at)?;
            let next = at.checked_add(len)?.checked_add(backlen_size(len))?;
            if next > end || read_backlen(&bytes[..next], next)? != (len, backlen_size(len)) {
                return None;
            }
            (at, count) = (next, count + 1);
        }
        let recorded = u16::from_le_bytes([bytes[4], bytes[5]]);
        if recorded != COUNT_UNKNOWN && recorded as usize != count {
            return None;
        }
        Some(Listpack(Block::from_slice(bytes)))
    }

    /// The listpack as it is dumped.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Bytes of heap it occupies.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Number of entries. Constant time up to 65534 of them, a walk beyond.
    pub fn len(&self) -> usize {
        let b = self.as_bytes();
        match u16::from_le_bytes([b[4], b[5]]) {
            COUNT_UNKNOWN => self.walk_count(),
            n => n as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.as_bytes()[HEADER] == END
    }

    fn walk_count(&self) -> usize {
        let b = self.as_bytes();
        let (mut at, mut count) = (HEADER, 0);
        while b[at] != END {
            at = self.after(at);
            count += 1;
        }
        count
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        let len = entry_len(self.as_bytes(), at);
        at + len + backlen_size(len)
    }

    fn pos(&self, at: usize) -> Option<Pos> {
        (self.as_bytes()[at] != END).then_some(Pos(at as u32))
    }

    /// Position of the first entry.
    pub fn first(&self) -> Option<Pos> {
        self.pos(HEADER)
    }

    /// Position of the last entry.
    pub fn last(&self) -> Option<Pos> {
        self.before(self.as_bytes().len() - 1)
    }

    fn before(&self, at: usize) -> Option<Pos> {
        if at <= HEADER {
            return None;
        }
        let (len, size) = read_backlen(self.as_bytes(), at)?;
        Some(Pos(at.checked_sub(len + size)? as u32))
    }

    /// The entry after `pos`.
    #[inline]
    pub fn next(&self, pos: Pos) -> Option<Pos> {
        self.pos(self.after(pos.0 as usize))
    }

    /// The entry before `pos`.
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        self.before(pos.0 as usize)
    }

    /// What the entry at `pos` holds. `pos` must be a current position of this listpack.
    #[inline]
    pub fn get(&self, pos: Pos) -> Item<'_> {
        decode(self.as_bytes(), pos.0 as usize).expect("a position names an entry").0
    }

    /// Position of the entry with the given index; negative indexes count from the end (-1 is the last).
    pub fn seek(&self, index: i64) -> Option<Pos> {
        let b = self.as_bytes();
        let recorded = u16::from_le_bytes([b[4], b[5]]);
        let mut index = index;
        if recorded != COUNT_UNKNOWN {
            let n = recorded as i64;
            if index >= n || index < -n {
                return None;
            }
            // Walk from the nearer end.
            if index >= 0 && index > n / 2 {
                index -= n;
            } else if index < 0 && index < -(n / 2) {
                index += n;
            }
        }
        if index >= 0 {
            let mut pos = self.first()?;
            for _ in 0..index {
                pos = self.next(pos)?;
            }
            Some(pos)
        } else {
            let mut pos = self.last()?;
            for _ in index..-1 {
                pos = self.prev(pos)?;
            }
            Some(pos)
        }
    }

    fn bump_count(&mut self, by: i64) {
        let b = self.as_bytes();
        let recorded = u16::from_le_bytes([b[4], b[5]]);
        if recorded == COUNT_UNKNOWN && by >= 0 {
            return;
        }
        let count = match recorded {
            // Fewer entries than before may fit the field again.
            COUNT_UNKNOWN => self.walk_count() as i64,
            n => n as i64 + by,
        };
        let field = if count >= COUNT_UNKNOWN as i64 { COUNT_UNKNOWN } else { count as u16 };
        self.0.body_mut()[..2].copy_from_slice(&field.to_le_bytes());
    }

    fn put(&mut self, at: usize, remove: usize, item: Item<'_>) -> Pos {
        let encoded = Encoded::new(item);
        let len = encoded.len();
        encoded.write(self.0.splice(at, remove, len + backlen_size(len)));
        Pos(at as u32)
    }

    /// Inserts entries at offset `at`, moving what follows only once. The iterator is walked twice.
    fn put_all<'a>(&mut self, at: usize, items: impl Iterator<Item = Item<'a>> + Clone) {
        let (bytes, count) =
            items.clone().fold((0, 0), |(bytes, count), item| (bytes + entry_size(item), count + 1));
        write_entries(self.0.splice(at, 0, bytes), items);
        self.bump_count(count);
    }

    /// Adds entries at the end. The iterator is walked twice.
    pub fn push_all<'a>(&mut self, items: impl Iterator<Item = Item<'a>> + Clone) {
        self.put_all(self.as_bytes().len() - 1, items);
    }

    /// Inserts entries before the one at `pos`. The iterator is walked twice.
    pub fn insert_all_before<'a>(&mut self, pos: Pos, items: impl Iterator<Item = Item<'a>> + Clone) {
        self.put_all(pos.0 as usize, items);
    }

    /// Inserts before the entry at `pos` and returns the new entry's position.
    pub fn insert_before(&mut self, pos: Pos, item: Item<'_>) -> Pos {
        let new = self.put(pos.0 as usize, 0, item);
        self.bump_count(1);
        new
    }

    /// Inserts after the entry at `pos` and returns the new entry's position.
    pub fn insert_after(&mut self, pos: Pos, item: Item<'_>) -> Pos {
        let at = self.after(pos.0 as usize);
        self.insert_before(Pos(at as u32), item)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, item: Item<'_>) -> Pos {
        let end = self.as_bytes().len() - 1;
        self.insert_before(Pos(end as u32), item)
    }

    /// Adds text at the end, as an integer if it is one.
    pub fn append(&mut self, text: &[u8]) -> Pos {
        self.push(Item::parse(text))
    }

    /// Adds an integer at the end.
    pub fn append_int(&mut self, value: i64) -> Pos {
        self.push(Item::Int(value))
    }

    /// Adds text at the start, as an integer if it is one.
    pub fn prepend(&mut self, text: &[u8]) -> Pos {
        self.insert_before(Pos(HEADER as u32), Item::parse(text))
    }

    /// Replaces the entry at `pos`, which stays its position.
    pub fn replace(&mut self, pos: Pos, item: Item<'_>) {
        let at = pos.0 as usize;
        let old = self.after(at) - at;
        self.put(at, old, item);
    }

    /// Removes the entry at `pos` and returns the position of the one that followed it.
    pub fn remove(&mut self, pos: Pos) -> Option<Pos> {
        self.remove_n(pos, 1)
    }

    /// Removes up to `count` entries from `pos` on and returns the position of what followed.
    pub fn remove_n(&mut self, pos: Pos, count: usize) -> Option<Pos> {
        let start = pos.0 as usize;
        let (mut end, mut removed) = (start, 0i64);
        while (removed as usize) < count && self.as_bytes()[end] != END {
            end = self.after(end);
            removed += 1;
        }
        if removed > 0 {
            self.0.splice(start, end - start, 0);
            self.bump_count(-removed);
        }
        self.pos(start)
    }

    /// Removes up to `count` entries starting at `index` (negative: from the end).
    pub fn remove_range(&mut self, index: i64, count: usize) {
        if let Some(pos) = self.seek(index) {
            self.remove_n(pos, count);
        }
    }

    /// Finds the entry equal to `text`, from `from` on, looking at it and then at each entry after skipping `skip`
    /// others: with 1, only the fields of a field-value sequence are compared.
    pub fn find(&self, from: Option<Pos>, text: &[u8], skip: usize) -> Option<Pos> {
        let b = self.as_bytes();
        let wanted = Item::parse(text);
        let mut at = from?.0 as usize;
        let mut skipped = 0;
        while b[at] != END {
            if skipped > 0 {
                skipped -= 1;
                at = self.after(at);
                continue;
            }
            let (item, len) = decode(b, at)?;
            let same = match (item, wanted) {
                (Item::Str(s), _) => s == text,
                (Item::Int(a), Item::Int(b)) => a == b,
                (Item::Int(_), Item::Str(_)) => false,
            };
            if same {
                return Some(Pos(at as u32));
            }
            skipped = skip;
            at += len + backlen_size(len);
        }
        None
    }

    /// Appends all entries of `other`, unchanged.
    pub fn append_all(&mut self, other: &Listpack) {
        let entries = &other.as_bytes()[HEADER..other.as_bytes().len() - 1];
        let added = other.len() as i64;
        let end = self.as_bytes().len() - 1;
        self.0.splice(end, 0, entries.len()).copy_from_slice(entries);
        self.bump_count(added);
    }

    /// Splits off the entries from `pos` on into a new listpack.
    pub fn split_off(&mut self, pos: Pos) -> Listpack {
        let start = pos.0 as usize;
        let end = self.as_bytes().len() - 1;
        let mut other = Listpack::new();
        let moved = &self.as_bytes()[start..end];
        other.0.splice(HEADER, 0, moved.len()).copy_from_slice(moved);
        let count = other.walk_count();
        other.bump_count(count as i64);
        self.0.splice(start, end - start, 0);
        self.bump_count(-(count as i64));
        other
    }

    /// All entries from the first to the last; can also be walked from the back.
    pub fn iter(&self) -> Iter<'_> {
        Iter { listpack: self, front: HEADER, back: self.as_bytes().len() - 1 }
    }

    /// All entries from `pos` on.
    pub fn iter_from(&self, pos: Pos) -> Iter<'_> {
        Iter { front: pos.0 as usize, ..self.iter() }
    }

    /// Whether no two of the entries at every `step`-th place are equal: members of a set (1), or fields of a
    /// field-value sequence (2).
    pub fn is_distinct(&self, step: usize) -> bool {
        let mut seen = std::collections::HashSet::with_hasher(foldhash::fast::FixedState::default());
        self.iter().step_by(step).all(|item| seen.insert(Canonical::from(item)))
    }

    /// Whether `extra` more bytes of elements may be added without passing Valkey's size limit.
    pub fn may_grow_by(&self, extra: usize) -> bool {
        self.as_bytes().len().saturating_add(extra) <= BYTES_MAX
    }

    /// Gives the listpack up as one word.
    pub fn into_word(self) -> usize {
        self.0.into_word()
    }

    /// Takes a listpack back from its word.
    ///
    /// # Safety
    /// The word must come from `into_word` and own its listpack alone.
    pub unsafe fn from_word(word: usize) -> Self {
        // SAFETY: the caller's promise is the one `Block` asks for.
        Listpack(unsafe { Block::from_word(word) })
    }
}

/// An entry for comparing: foreign listpacks may hold integers as text.
#[derive(PartialEq, Eq, Hash)]
enum Canonical<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> From<Item<'a>> for Canonical<'a> {
    fn from(item: Item<'a>) -> Self {
        match (item.as_int(), item) {
            (Some(v), _) | (None, Item::Int(v)) => Canonical::Int(v),
            (None, Item::Str(s)) => Canonical::Str(s),
        }
    }
}

/// Iterator over the entries of a listpack, from either end.
#[derive(Clone)]
pub struct Iter<'a> {
    listpack: &'a Listpack,
    front: usize,
    back: usize,
}

impl<'a> Iter<'a> {
    /// The position of the entry that `next` will return.
    pub fn pos(&self) -> Option<Pos> {
        (self.front < self.back).then_some(Pos(self.front as u32))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (item, len) = decode(self.listpack.as_bytes(), self.front)?;
        self.front += len + backlen_size(len);
        Some(item)
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<Item<'a>> {
        if self.front >= self.back {
            return None;
        }
        let pos = self.listpack.before(self.back)?;
        self.back = pos.0 as usize;
        Some(self.listpack.get(pos))
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
#[path = "listpack_tests.rs"]
mod tests;
