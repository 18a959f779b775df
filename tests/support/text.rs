//! Command lines in the syntax of redis-cli, and bytes made readable.

/// The bytes with everything outside printable ASCII escaped, as redis-cli would accept it inside double quotes.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// [`escape`], cut after `limit` bytes with the full length noted.
pub fn escape_short(bytes: &[u8], limit: usize) -> String {
    if bytes.len() <= limit {
        return escape(bytes);
    }
    format!("{}...({} bytes)", escape(&bytes[..limit]), bytes.len())
}

/// A command as a line that redis-cli, and a case file, would read back as the same arguments.
pub fn command_line(command: &[Vec<u8>]) -> String {
    command.iter().map(|argument| quote(argument)).collect::<Vec<_>>().join(" ")
}

fn quote(argument: &[u8]) -> String {
    // A long run of one byte is written in the shorthand of the case files.
    if argument.len() > 64
        && argument.iter().all(|byte| *byte == argument[0])
        && argument[0].is_ascii_alphanumeric()
    {
        return format!("{{{}*{}}}", argument.len(), argument[0] as char);
    }
    let plain =
        |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b'{' | b'@' | b'#');
    if !argument.is_empty() && argument.iter().all(plain) {
        return String::from_utf8_lossy(argument).into_owned();
    }
    format!("\"{}\"", escape(argument))
}

/// Splits a line into arguments: blanks separate; `"..."` knows `\n \r \t \a \b \xHH \" \\`; `'...'` knows `\'`; an
/// unquoted `{N*text}` stands for N repetitions of text.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let bytes = line.as_bytes();
    let mut at = 0;
    let mut arguments = Vec::new();
    loop {
        while at < bytes.len() && bytes[at].is_ascii_whitespace() {
            at += 1;
        }
        if at == bytes.len() {
            return Ok(arguments);
        }
        let mut argument = Vec::new();
        match bytes[at] {
            b'"' => {
                at += 1;
                double_quoted(bytes, &mut at, &mut argument)?;
            }
            b'\'' => {
                at += 1;
                single_quoted(bytes, &mut at, &mut argument)?;
            }
            _ => {
                let start = at;
                while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
                    at += 1;
                }
                argument = repetition(&bytes[start..at]).unwrap_or_else(|| bytes[start..at].to_vec());
            }
        }
        if at < bytes.len() && !bytes[at].is_ascii_whitespace() {
            return Err(format!("closing quote is not followed by a blank: {line}"));
        }
        arguments.push(argument);
    }
}

fn repetition(word: &[u8]) -> Option<Vec<u8>> {
    let inner = word.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let star = inner.iter().position(|&byte| byte == b'*')?;
    let times: usize = std::str::from_utf8(&inner[..star]).ok()?.parse().ok()?;
    Some(inner[star + 1..].repeat(times))
}

fn double_quoted(bytes: &[u8], at: &mut usize, argument: &mut Vec<u8>) -> Result<(), String> {
    while *at < bytes.len() {
        let byte = bytes[*at];
        *at += 1;
        match byte {
            b'"' => return Ok(()),
            b'\\' => {
                let escaped = *bytes.get(*at).ok_or("line ends within an escape")?;
                *at += 1;
                argument.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = bytes.get(*at..*at + 2).ok_or("\\x needs two digits")?;
                        *at += 2;
                        let digits = std::str::from_utf8(digits).map_err(|_| "\\x needs two digits")?;
                        u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two hexadecimal digits")?
                    }
                    other => other,
                });
            }
            other => argument.push(other),
        }
    }
    Err("unbalanced double quote".to_owned())
}

fn single_quoted(bytes: &[u8], at: &mut usize, argument: &mut Vec<u8>) -> Result<(), String> {
    while *at < bytes.len() {
        match &bytes[*at..] {
            [b'\\', b'\'', ..] => {
                argument.push(b'\'');
                *at += 2;
            }
            [b'\'', ..] => {
                *at += 1;
                return Ok(());
            }
            [other, ..] => {
                argument.push(*other);
                *at += 1;
            }
            [] => break,
        }
    }
    Err("unbalanced single quote".to_owned())
}

/// A command from words separated by blanks, for tests written in Rust.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// Whether `text` matches a pattern whose only special character is `*`.
pub fn matches_star(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(tail) = text.strip_prefix(head) else { return false };
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches_star(rest, &tail[at..]))
        }
    }
}
