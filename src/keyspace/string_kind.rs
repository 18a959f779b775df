//! Which encoding OBJECT ENCODING reports for a string, and when an arriving string is stored as an integer.
//!
//! Observed on Valkey 9.1: a short string is `embstr` if header, deadline, key and value together fill at most two
//! cache lines of 64 bytes; a deadline added later does not count, unless the key alone leaves no room for it.
//! Changing a string in place (APPEND, SETRANGE, SETBIT ...) makes it `raw` until it is set again.

use super::entry::{NewValue, StringKind};
use crate::types::number::parse_i64;

/// Room for everything of an `embstr`, in bytes.
const ROOM: usize = 128;
/// Longest decimal text of an `i64`.
const INTEGER_TEXT_MAX: usize = 20;

/// Bytes that everything but the value takes in Valkey's object: its header, the deadline, the key with its own header
/// and terminator.
fn overhead(key_len: usize, deadline: bool) -> usize {
    let key_header = if key_len < 32 { 1 } else { 3 };
    8 + usize::from(deadline) * 8 + 1 + key_header + key_len + 1
}

impl StringKind {
    /// The kind of a string newly put under a key. `deadline`: whether the key has one at that moment; for a value
    /// that replaces another that is the old key's, also where it is then dropped or changed.
    #[inline]
    pub fn of_new(key_len: usize, value_len: usize, deadline: bool) -> Self {
        if overhead(key_len, deadline) + 4 + value_len <= ROOM { Self::Embstr } else { Self::Raw }
    }

    /// The kind after a key without deadline was given one.
    #[inline]
    pub fn with_deadline(self, key_len: usize) -> Self {
        if overhead(key_len, true) <= ROOM { self } else { Self::Raw }
    }
}

impl<'a> NewValue<'a> {
    /// A string as SET stores it: as an integer if it is the plain decimal text of one.
    #[inline]
    pub fn string(bytes: &'a [u8]) -> Self {
        if bytes.len() <= INTEGER_TEXT_MAX
            && let Some(n) = parse_i64(bytes)
        {
            return Self::Int(n);
        }
        Self::Str(bytes, StringKind::Embstr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longest `embstr` value for a key of that length, measured on Valkey 9.1.2.
    #[test]
    fn the_longest_embstr_depends_on_the_key_as_measured() {
        let longest = |key: usize, deadline| {
            (0..200).rev().find(|&v| StringKind::of_new(key, v, deadline) == StringKind::Embstr)
        };
        for (key, value) in [(0, 113), (1, 112), (13, 100), (31, 82), (32, 79), (64, 47), (100, 11), (111, 0)]
        {
            assert_eq!(longest(key, false), Some(value), "key of {key}");
        }
        assert_eq!(longest(112, false), None);
        assert_eq!(longest(5, true), Some(100));
    }

    #[test]
    fn a_deadline_makes_raw_only_where_the_key_is_long() {
        assert_eq!(StringKind::Embstr.with_deadline(107), StringKind::Embstr);
        assert_eq!(StringKind::Embstr.with_deadline(108), StringKind::Raw);
    }

    #[test]
    fn only_plain_decimal_text_becomes_an_integer() {
        for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert!(matches!(NewValue::string(text.as_bytes()), NewValue::Int(_)), "{text}");
        }
        for text in ["", "-0", "+1", "01", " 1", "1.0", "9223372036854775808", "00000000000000000001"] {
            assert!(matches!(NewValue::string(text.as_bytes()), NewValue::Str(..)), "{text}");
        }
    }
}
