//! Changing a string inside its entry: overwriting, growing, appending.

use std::alloc::{handle_alloc_error, realloc};
use std::ptr::NonNull;

use super::entry::{Entry, INLINE, INLINE_VALUE_MAX, NewValue, StringKind, Value, ValueRef, layout};

/// From this length on a growing string gets an eighth more room than it needs, below twice as much, bytes.
const DOUBLING_MAX: usize = 1 << 20;

impl Entry {
    /// Overwrites a string by one that lives in the same place; false if it cannot.
    pub(super) fn overwrite_string(&mut self, bytes: &[u8], kind: StringKind) -> bool {
        if self.flags() & INLINE != 0 {
            if bytes.len() > INLINE_VALUE_MAX {
                return false;
            }
            self.resize_inline(bytes.len());
            self.string_bytes_mut().expect("inline values are strings").copy_from_slice(bytes);
        } else {
            // A block much larger than the value would stay with it for good.
            let fits = |v: &Vec<u8>| bytes.len() <= v.capacity() && bytes.len() >= v.capacity() / 8 * 7;
            match self.long_string_mut() {
                Some(long) if bytes.len() > INLINE_VALUE_MAX && fits(long) => {
                    long.clear();
                    long.extend_from_slice(bytes);
                }
                _ => return false,
            }
        }
        self.set_string_kind(kind);
        true
    }

    /// Makes room for an inline value of `len` bytes, at most [`INLINE_VALUE_MAX`]. Bytes that are new are zero.
    fn resize_inline(&mut self, len: usize) {
        let old = usize::from(self.byte(2));
        if old == len {
            return;
        }
        let total = self.total();
        let new_total = total - old + len;
        // SAFETY: allocated with this layout; the value is the last thing in the entry, so what stays keeps its place.
        unsafe {
            let Some(new) = NonNull::new(realloc(self.0.as_ptr(), layout(total), new_total)) else {
                handle_alloc_error(layout(new_total))
            };
            if len > old {
                new.as_ptr().add(total).write_bytes(0, len - old);
            }
            new.as_ptr().add(2).write(len as u8);
            self.0 = new;
        }
    }

    /// Length of a string in bytes, integers as text; 0 for other types.
    pub fn string_len(&self) -> usize {
        match self.value() {
            ValueRef::Str(bytes) => bytes.len(),
            ValueRef::Int(n) => itoa::Buffer::new().format(n).len(),
            _ => 0,
        }
    }

    /// Appends to a string, which is `raw` from now on. Costs on average as much as the tail is long.
    ///
    /// # Panics
    /// If the value is not a string: commands check the type first.
    pub fn append(&mut self, tail: &[u8]) {
        let old = self.string_len();
        self.grow_raw(old + tail.len())[old..].copy_from_slice(tail);
    }

    /// Makes a string `raw`, at least `len` bytes long with zeros behind what was there, and hands out its bytes for
    /// changing.
    ///
    /// # Panics
    /// If the value is not a string: commands check the type first.
    pub fn grow_raw(&mut self, len: usize) -> &mut [u8] {
        if let ValueRef::Int(n) = self.value() {
            self.replace_value(NewValue::Str(itoa::Buffer::new().format(n).as_bytes(), StringKind::Raw));
        }
        let old = self.string_bytes().expect("a string that is no integer").len();
        if old < len {
            if len <= INLINE_VALUE_MAX && self.flags() & INLINE != 0 {
                self.resize_inline(len);
            } else {
                if self.flags() & INLINE != 0 {
                    let bytes = self.string_bytes().expect("inline values are strings");
                    let mut long = Vec::with_capacity(len);
                    long.extend_from_slice(bytes);
                    // An entry keeps short strings inside, so it must be long before it is handed over.
                    long.resize(len, 0);
                    self.replace_value(NewValue::Owned(Value::Str(long, StringKind::Raw)));
                }
                grow_long(self.long_string_mut().expect("made long above, or was"), len);
            }
        }
        self.set_string_kind(StringKind::Raw);
        self.string_bytes_mut().expect("a string that is no integer")
    }

    /// Hands the bytes of a string out for any change; it is `raw` from now on.
    ///
    /// # Panics
    /// If the value is not a string: commands check the type first.
    pub fn edit_raw<T>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.grow_raw(0);
        if let Some(long) = self.long_string_mut() {
            return change(long);
        }
        let mut bytes = self.string_bytes().expect("made bytes above").to_vec();
        let result = change(&mut bytes);
        if self.string_bytes() != Some(&bytes) {
            self.replace_value(NewValue::Owned(Value::Str(bytes, StringKind::Raw)));
        }
        result
    }
}

/// Lengthens by zeros. A string that grows step by step moves only once per doubling, and large ones do not waste more
/// than an eighth of their size.
fn grow_long(bytes: &mut Vec<u8>, len: usize) {
    if len > bytes.capacity() {
        let room = if len < DOUBLING_MAX { len * 2 } else { len + len / 8 };
        bytes.reserve_exact(room - bytes.len());
    }
    bytes.resize(len, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::entry::string_encoding;

    fn entry(text: &[u8], expiry: Option<i64>) -> Entry {
        Entry::new(b"key", NewValue::string(text), expiry)
    }

    fn text(entry: &Entry) -> Vec<u8> {
        match entry.value() {
            ValueRef::Int(n) => n.to_string().into_bytes(),
            ValueRef::Str(bytes) => bytes.to_vec(),
            _ => panic!("a string"),
        }
    }

    #[test]
    fn appending_keeps_bytes_key_deadline_and_access_word_through_every_form() {
        for expiry in [None, Some(77)] {
            for start in [&b""[..], b"12", b"abc", &[b'x'; 191], &[b'y'; 193], &[b'z'; 4000]] {
                let mut e = entry(start, expiry);
                e.set_access_word(0x1234_5678);
                let mut expected = start.to_vec();
                for step in [0, 1, 5, 60, 130, 3000, 1] {
                    let tail = vec![b'a' + (step % 26) as u8; step];
                    e.append(&tail);
                    expected.extend_from_slice(&tail);
                    assert_eq!(text(&e), expected);
                    assert_eq!(e.string_len(), expected.len());
                    assert_eq!((e.key(), e.expiry(), e.access_word()), (&b"key"[..], expiry, 0x1234_5678));
                    assert_eq!(e.encoding(), string_encoding::RAW);
                }
            }
        }
    }

    #[test]
    fn growing_fills_with_zeros() {
        for start in [&b"7"[..], b"abc", &[b'x'; 190], &[b'y'; 200]] {
            for len in [0, 1, 50, 192, 193, 5000] {
                let mut e = entry(start, None);
                let mut expected = start.to_vec();
                expected.resize(len.max(start.len()), 0);
                assert_eq!(e.grow_raw(len), &expected[..]);
            }
        }
    }

    #[test]
    fn overwriting_reads_back_whatever_was_there_before() {
        let values: Vec<Vec<u8>> = [0, 1, 16, 100, 101, 113, 192, 193, 220, 5000]
            .iter()
            .map(|&n| vec![b'v'; n])
            .chain([b"12".to_vec(), b"-9223372036854775808".to_vec()])
            .collect();
        for old in &values {
            for new in &values {
                for (before, after) in [(None, None), (None, Some(5)), (Some(5), None), (Some(5), Some(6))] {
                    let mut e = entry(old, before);
                    e.set_access_word(9);
                    e.overwrite(NewValue::string(new), after);
                    assert_eq!(text(&e), *new);
                    assert_eq!((e.key(), e.expiry(), e.access_word()), (&b"key"[..], after, 9));
                    if !matches!(e.value(), ValueRef::Int(_)) {
                        let kind = StringKind::of_new(3, new.len(), before.is_some());
                        let raw = e.encoding() == string_encoding::RAW;
                        assert_eq!(raw, kind == StringKind::Raw, "{} over {}", new.len(), old.len());
                    }
                }
            }
        }
    }
}
