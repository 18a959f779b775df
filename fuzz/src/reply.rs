//! Checks that bytes are well-formed replies.

/// Nesting beyond this is taken for a fault.
const DEPTH_MAX: usize = 16;

/// The number of replies `bytes` consists of, or what is wrong with them.
pub fn count(mut bytes: &[u8]) -> Result<usize, String> {
    let mut replies = 0;
    while !bytes.is_empty() {
        bytes = one(bytes, 0)?;
        replies += 1;
    }
    Ok(replies)
}

/// Skips one reply and returns what follows it.
fn one(bytes: &[u8], depth: usize) -> Result<&[u8], String> {
    if depth > DEPTH_MAX {
        return Err("nested too deeply".into());
    }
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").ok_or("a line without end")?;
    let (kind, line) = bytes[..end].split_first().ok_or("an empty line")?;
    let rest = &bytes[end + 2..];
    if line.contains(&b'\n') || line.contains(&b'\r') {
        return Err("a line end within a line".into());
    }
    let length = || -> Result<Option<usize>, String> {
        match line {
            b"-1" => Ok(None),
            _ => std::str::from_utf8(line)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(Some)
                .ok_or_else(|| format!("a length of {:?}", String::from_utf8_lossy(line))),
        }
    };
    let elements = match kind {
        b'+' | b'-' | b',' | b'(' => return Ok(rest),
        b':' if skuld::resp::decode::parse_integer(line).is_some() => return Ok(rest),
        b'_' if line.is_empty() => return Ok(rest),
        b'#' if matches!(line, b"t" | b"f") => return Ok(rest),
        b'$' | b'=' => {
            let Some(length) = length()? else { return Ok(rest) };
            return match rest.split_at_checked(length) {
                Some((_, rest)) if rest.starts_with(b"\r\n") => Ok(&rest[2..]),
                _ => Err(format!("a text that is not {length} bytes long")),
            };
        }
        b'*' | b'~' | b'>' => length()?.unwrap_or(0),
        b'%' => length()?.unwrap_or(0) * 2,
        _ => return Err(format!("a reply that begins with {:?}", *kind as char)),
    };
    (0..elements).try_fold(rest, |rest, _| one(rest, depth + 1))
}
