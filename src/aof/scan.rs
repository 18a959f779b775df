//! Commands and annotations in the bytes of an append-only file, found without copying them.

/// What stands at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A command of so many bytes; ranges of its words, from the frame's beginning.
    Command { length: usize, words: Vec<std::ops::Range<usize>> },
    /// A line that begins with `#`, of so many bytes with its end.
    Annotation { length: usize },
    /// The bytes end before the frame does.
    Incomplete,
    /// No command; what was expected and what stands there is said in Valkey's words by [`Malformed`].
    Malformed(Malformed),
}

/// Why bytes are no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("Expected prefix '{expected}', got: '{found}'")]
    Prefix { expected: char, found: char },
    #[error("a length that is no number, or out of range")]
    Length,
    #[error("Expected \\r\\n, got: {0:02x}{1:02x}")]
    End(u8, u8),
}

/// Most words of a command, and most bytes of a word.
const WORDS_MAX: i64 = 1024 * 1024;
const WORD_BYTES_MAX: i64 = 1 << 40;
/// Longest line that holds a length.
const LINE_MAX: usize = 128;
/// Longest annotation.
const ANNOTATION_MAX: usize = 1024;

/// Looks at what stands at the beginning of `bytes`, which are not empty.
pub fn frame(bytes: &[u8]) -> Frame {
    if bytes[0] == b'#' {
        return match memchr::memchr(b'\n', &bytes[..bytes.len().min(ANNOTATION_MAX)]) {
            Some(end) => Frame::Annotation { length: end + 1 },
            None if bytes.len() < ANNOTATION_MAX => Frame::Incomplete,
            None => Frame::Malformed(Malformed::Length),
        };
    }
    match command(bytes) {
        Ok(Some((length, words))) => Frame::Command { length, words },
        Ok(None) => Frame::Incomplete,
        Err(error) => Frame::Malformed(error),
    }
}

type Command = (usize, Vec<std::ops::Range<usize>>);

fn command(bytes: &[u8]) -> Result<Option<Command>, Malformed> {
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*')? else { return Ok(None) };
    if !(1..=WORDS_MAX).contains(&count) {
        return Err(Malformed::Length);
    }
    let mut words = Vec::with_capacity((count as usize).min(bytes.len() / 4 + 1));
    for _ in 0..count {
        let Some(length) = number(bytes, &mut at, b'$')? else { return Ok(None) };
        if !(0..=WORD_BYTES_MAX).contains(&length) {
            return Err(Malformed::Length);
        }
        let end = at + length as usize;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(other) => return Err(Malformed::End(other[0], other[1])),
            None => return Ok(None),
        }
        words.push(at..end);
        at = end + 2;
    }
    Ok(Some((at, words)))
}

/// A line of a prefix and a number.
fn number(bytes: &[u8], at: &mut usize, prefix: u8) -> Result<Option<i64>, Malformed> {
    let rest = &bytes[*at..];
    let Some(&first) = rest.first() else { return Ok(None) };
    if first != prefix {
        return Err(Malformed::Prefix { expected: char::from(prefix), found: char::from(first) });
    }
    let Some(end) = memchr::memchr(b'\n', &rest[..rest.len().min(LINE_MAX)]) else {
        return if rest.len() < LINE_MAX { Ok(None) } else { Err(Malformed::Length) };
    };
    let digits = rest[1..end].strip_suffix(b"\r").ok_or(Malformed::Length)?;
    let number = crate::types::number::parse_i64(digits).ok_or(Malformed::Length)?;
    *at += end + 1;
    Ok(Some(number))
}

/// The time of an annotation `#TS:<Unix seconds>`.
pub fn timestamp(annotation: &[u8]) -> Option<i64> {
    let digits = annotation.strip_prefix(b"#TS:")?.trim_ascii_end();
    crate::types::number::parse_i64(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::encode_command;

    #[test]
    fn commands_are_found_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, &[b"SET", b"key", b"a\r\nb"]);
        let whole = bytes.len();
        bytes.extend_from_slice(b"#TS:1700000000\r\n");
        let Frame::Command { length, words } = frame(&bytes) else { panic!("a command") };
        assert_eq!(length, whole);
        let words: Vec<&[u8]> = words.into_iter().map(|w| &bytes[w]).collect();
        assert_eq!(words, [&b"SET"[..], b"key", b"a\r\nb"]);
        for end in 1..whole {
            assert_eq!(frame(&bytes[..end]), Frame::Incomplete, "{end} bytes");
        }
        assert_eq!(frame(&bytes[whole..]), Frame::Annotation { length: 16 });
        assert_eq!(timestamp(&bytes[whole..]), Some(1_700_000_000));
        assert_eq!(timestamp(b"#note\r\n"), None);
    }

    #[test]
    fn other_bytes_are_named() {
        let malformed = |bytes: &[u8]| match frame(bytes) {
            Frame::Malformed(error) => Some(error),
            _ => None,
        };
        assert_eq!(malformed(b"SET a b\r\n"), Some(Malformed::Prefix { expected: '*', found: 'S' }));
        assert_eq!(malformed(b"*1\r\n+OK\r\n"), Some(Malformed::Prefix { expected: '$', found: '+' }));
        assert_eq!(malformed(b"*1\r\n$1\r\nabc"), Some(Malformed::End(b'b', b'c')));
        assert_eq!(malformed(b"*x\r\n"), Some(Malformed::Length));
        assert_eq!(malformed(b"*0\r\n"), Some(Malformed::Length));
        assert_eq!(malformed(&[b'*'; 200]), Some(Malformed::Length));
    }
}
