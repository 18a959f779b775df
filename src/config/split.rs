//! Words and quotes of configuration lines (inline commands use the same grammar).
//!
//! Words are separated by blanks. Inside `"..."` the escapes `\n \r \t \b \a \xHH` and `\` before any other byte
//! work; inside `'...'` only `\'` does. Quoted and bare pieces that touch form one word (new in 9.1).

/// A quote was opened and not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbalanced;

/// C's idea of a blank byte.
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Splits a line into words.
pub fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && is_blank(line[at]) {
            at += 1;
        }
        // A NUL ends the line, as it ends a C string.
        if at >= line.len() || line[at] == 0 {
            return Ok(words);
        }
        let mut word = Vec::new();
        while at < line.len() && !is_blank(line[at]) && line[at] != 0 {
            match line[at] {
                b'"' => at = double_quoted(line, at + 1, &mut word)?,
                b'\'' => at = single_quoted(line, at + 1, &mut word)?,
                byte => {
                    word.push(byte);
                    at += 1;
                }
            }
        }
        words.push(word);
    }
}

/// Reads from just after an opening `"`; returns the position after the closing one.
fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match line.get(at..).unwrap_or_default() {
            [] | [0, ..] => return Err(Unbalanced),
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_value(*high) << 4 | hex_value(*low));
                at += 4;
            }
            [b'\\', 0, ..] | [b'\\'] => return Err(Unbalanced),
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

/// Reads from just after an opening `'`; returns the position after the closing one.
fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    loop {
        match line.get(at..).unwrap_or_default() {
            [] | [0, ..] => return Err(Unbalanced),
            [b'\'', ..] => return Ok(at + 1),
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// Writes bytes as one double-quoted word that [`split_words`] reads back.
pub fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            other => out.extend(format!("\\x{other:02x}").into_bytes()),
        }
    }
    out.push(b'"');
    out
}

/// Drops blanks, tabs and line ends from both ends.
pub fn trim(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        let words = split_words(line.as_bytes()).expect("balanced");
        words.into_iter().map(|word| String::from_utf8(word).expect("text")).collect()
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words(r#"logfile "\x41\q\a\t|"'x'y"#), ["logfile", "Aq\u{7}\t|xy"]);
        assert_eq!(words(r#"a"b c"d 'it\'s' """#), ["ab cd", "it's", ""]);
        assert_eq!(words(r"a\b"), [r"a\b"]);
        assert_eq!(words(r#""\xzz""#), ["xzz"]);
        for open in [r#""a"#, "'a", r#""a\"#, r#"x"y\""#, "'a\\'"] {
            assert_eq!(split_words(open.as_bytes()), Err(Unbalanced), "{open}");
        }
    }

    #[test]
    fn trimming_leaves_inner_blanks() {
        assert_eq!(trim(b" \t a b\r\n"), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }

    proptest! {
        #[test]
        fn quoting_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(split_words(&quote(&bytes)), Ok(vec![bytes]));
        }

        #[test]
        fn any_bytes_split_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = split_words(&bytes);
        }
    }
}
