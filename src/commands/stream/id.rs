//! Stream ids as clients write and read them.

use crate::commands::CommandError;
use crate::resp::decode::parse_integer;
use crate::types::stream::StreamId;

/// Longer ids are refused unread, bytes.
const ID_TEXT_MAX: usize = 127;

/// The text of an id without an allocation.
pub struct IdText {
    text: [u8; 41],
    len: usize,
}

impl IdText {
    pub fn new(id: StreamId) -> Self {
        let mut made = IdText { text: [0; 41], len: 0 };
        made.put(itoa::Buffer::new().format(id.ms).as_bytes());
        made.put(b"-");
        made.put(itoa::Buffer::new().format(id.seq).as_bytes());
        made
    }

    fn put(&mut self, part: &[u8]) {
        self.text[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// An id for XADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    Given(StreamId),
}

fn invalid() -> CommandError {
    CommandError::fixed("ERR Invalid stream ID specified as stream command argument")
}

/// Reads a part of an id as Valkey does: the canonical form, or else whatever C's `strtoull` reads to the end, which
/// allows leading blanks and zeros and a sign (a minus only if zeros follow, and then the number wraps around).
fn parse_part(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_integer(text) {
        return u64::try_from(value).ok();
    }
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Milliseconds, and the text of the sequence number if there is one.
fn split(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if text.len() > ID_TEXT_MAX {
        return None;
    }
    let text = super::quoted(text);
    match text.iter().position(|byte| *byte == b'-') {
        Some(at) => Some((parse_part(&text[..at])?, Some(&text[at + 1..]))),
        None => Some((parse_part(text)?, None)),
    }
}

fn parse(text: &[u8], missing_seq: u64) -> Option<StreamId> {
    let (ms, seq) = split(text)?;
    let seq = match seq {
        Some(seq) => parse_part(seq)?,
        None => missing_seq,
    };
    Some(StreamId { ms, seq })
}

/// A complete or incomplete id, not `-` or `+`.
pub fn parse_strict(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    parse(text, missing_seq).ok_or_else(invalid)
}

/// An id, `-` for the smallest or `+` for the greatest.
pub fn parse_any(text: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse_strict(text, missing_seq),
    }
}

/// The id of an entry to be added; `*` itself is the caller's.
pub fn parse_new(text: &[u8]) -> Result<NewId, CommandError> {
    match split(text) {
        Some((ms, Some(b"*"))) => Ok(NewId::AutoSeq(ms)),
        _ => parse_strict(text, 0).map(NewId::Given),
    }
}

/// The start of a range; `(` excludes the id itself.
pub fn parse_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => parse_strict(id, 0)?
            .successor()
            .ok_or(CommandError::fixed("ERR invalid start ID for the interval")),
        _ => parse_any(text, 0),
    }
}

/// The end of a range; `(` excludes the id itself.
pub fn parse_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => parse_strict(id, u64::MAX)?
            .predecessor()
            .ok_or(CommandError::fixed("ERR invalid end ID for the interval")),
        _ => parse_any(text, u64::MAX),
    }
}

/// Ids that must all be sound before any is used.
pub fn parse_all(texts: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    texts.iter().map(|text| parse_strict(text, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_valkey_does() {
        let id = |ms, seq| Ok(StreamId { ms, seq });
        assert_eq!(parse_strict(b"5", 7), id(5, 7));
        assert_eq!(parse_strict(b"5-3", 7), id(5, 3));
        assert_eq!(parse_strict(b" 14", 0), id(14, 0));
        assert_eq!(parse_strict(b"+15-007", 0), id(15, 7));
        assert_eq!(parse_strict(b"13--05", 0), id(13, u64::MAX - 4));
        assert_eq!(parse_strict(b"18446744073709551615-18446744073709551615", 0), Ok(StreamId::MAX));
        assert_eq!(parse_strict(b"20\0foo", 0), id(20, 0));
        for wrong in
            ["", "-", "+", "x", "5-", "-5", "--5", "13--5", "1-1-1", "18446744073709551616", "5- ", "5-*"]
        {
            assert_eq!(parse_strict(wrong.as_bytes(), 0), Err(invalid()), "{wrong}");
        }
        assert_eq!(parse_strict("1".repeat(128).as_bytes(), 0), Err(invalid()));
    }

    #[test]
    fn new_ids_may_leave_the_sequence_open() {
        assert_eq!(parse_new(b"5-*"), Ok(NewId::AutoSeq(5)));
        assert_eq!(parse_new(b"5"), Ok(NewId::Given(StreamId { ms: 5, seq: 0 })));
        for wrong in ["*-*", "5-**", "5-*x", "-*"] {
            assert_eq!(parse_new(wrong.as_bytes()), Err(invalid()), "{wrong}");
        }
    }

    #[test]
    fn text_of_the_longest_id() {
        assert_eq!(IdText::new(StreamId::MAX).as_bytes(), b"18446744073709551615-18446744073709551615");
        assert_eq!(IdText::new(StreamId::MIN).as_bytes(), b"0-0");
    }
}
