//! Replies of RESP2 and RESP3: where one ends, and what it holds.

use std::fmt;

use super::text::escape;

/// One reply, decoded. Attributes in front of a reply stay in the raw bytes and are dropped here.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// The text of the number, since `1.0` and `1` are different replies.
    Double(Vec<u8>),
    Boolean(bool),
    BigNumber(Vec<u8>),
    BulkError(Vec<u8>),
    /// Format (three bytes) and text.
    Verbatim(Vec<u8>, Vec<u8>),
}

/// Why bytes are no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub at: usize,
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "malformed reply at byte {}: {}", self.at, self.reason)
    }
}

/// Decodes the reply at the start of `bytes`. `Ok(None)` means that more bytes are needed; otherwise the value and
/// the number of bytes it takes, attributes included.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    let mut at = 0;
    match value(bytes, &mut at) {
        Ok(value) => Ok(Some((value, at))),
        Err(Stop::Short) => Ok(None),
        Err(Stop::Bad(malformed)) => Err(malformed),
    }
}

enum Stop {
    Short,
    Bad(Malformed),
}

fn bad(at: usize, reason: &'static str) -> Stop {
    Stop::Bad(Malformed { at, reason })
}

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let rest = &bytes[*at..];
    let end = rest.iter().position(|&byte| byte == b'\n').ok_or(Stop::Short)?;
    if end == 0 || rest[end - 1] != b'\r' {
        return Err(bad(*at, "line ends without CR"));
    }
    *at += end + 1;
    Ok(&rest[..end - 1])
}

fn number(text: &[u8], at: usize) -> Result<i64, Stop> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| bad(at, "not a number"))
}

fn payload<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Result<&'a [u8], Stop> {
    let end = *at + length;
    if bytes.len() < end + 2 {
        return Err(Stop::Short);
    }
    if &bytes[end..end + 2] != b"\r\n" {
        return Err(bad(end, "payload does not end with CRLF"));
    }
    let text = &bytes[*at..end];
    *at = end + 2;
    Ok(text)
}

fn values(bytes: &[u8], at: &mut usize, count: i64) -> Result<Vec<Value>, Stop> {
    if count < 0 {
        return Err(bad(*at, "negative count"));
    }
    (0..count).map(|_| value(bytes, at)).collect()
}

fn value(bytes: &[u8], at: &mut usize) -> Result<Value, Stop> {
    let start = *at;
    let kind = *bytes.get(start).ok_or(Stop::Short)?;
    let text = {
        *at += 1;
        line(bytes, at)?
    };
    Ok(match kind {
        b'+' => Value::Simple(text.to_vec()),
        b'-' => Value::Error(text.to_vec()),
        b':' => Value::Integer(number(text, start)?),
        b',' => Value::Double(text.to_vec()),
        b'(' => Value::BigNumber(text.to_vec()),
        b'_' => Value::Null,
        b'#' => match text {
            b"t" => Value::Boolean(true),
            b"f" => Value::Boolean(false),
            _ => return Err(bad(start, "boolean is neither t nor f")),
        },
        b'$' | b'=' | b'!' => {
            let length = number(text, start)?;
            if length == -1 && kind == b'$' {
                return Ok(Value::NullBulk);
            }
            let length = usize::try_from(length).map_err(|_| bad(start, "negative length"))?;
            let text = payload(bytes, at, length)?;
            match kind {
                b'$' => Value::Bulk(text.to_vec()),
                b'!' => Value::BulkError(text.to_vec()),
                _ if text.len() >= 4 && text[3] == b':' => {
                    Value::Verbatim(text[..3].to_vec(), text[4..].to_vec())
                }
                _ => return Err(bad(start, "verbatim string without format")),
            }
        }
        b'*' | b'~' | b'>' => {
            let count = number(text, start)?;
            if count == -1 && kind == b'*' {
                return Ok(Value::NullArray);
            }
            let items = values(bytes, at, count)?;
            match kind {
                b'*' => Value::Array(items),
                b'~' => Value::Set(items),
                _ => Value::Push(items),
            }
        }
        b'%' => Value::Map(pairs(bytes, at, number(text, start)?)?),
        b'|' => {
            pairs(bytes, at, number(text, start)?)?;
            value(bytes, at)?
        }
        _ => return Err(bad(start, "unknown type byte")),
    })
}

fn pairs(bytes: &[u8], at: &mut usize, count: i64) -> Result<Vec<(Value, Value)>, Stop> {
    if count < 0 {
        return Err(bad(*at, "negative count"));
    }
    (0..count).map(|_| Ok((value(bytes, at)?, value(bytes, at)?))).collect()
}

impl Value {
    /// The elements of an array, set or push; none for anything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            _ => &[],
        }
    }

    /// The bytes of a string-like reply.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) | Value::Double(text) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// The text of a string-like reply, or an empty one.
    pub fn text(&self) -> String {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    /// A map as pairs, whether it came as a RESP3 map or as a flat RESP2 array.
    pub fn entries(&self) -> Vec<(Value, Value)> {
        match self {
            Value::Map(entries) => entries.clone(),
            _ => self.items().chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        }
    }
}

/// Compact, unambiguous, on one line.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(out: &mut fmt::Formatter<'_>, open: &str, items: &[Value]) -> fmt::Result {
            out.write_str(open)?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.write_str(" ")?;
                }
                write!(out, "{item}")?;
            }
            out.write_str("]")
        }
        match self {
            Value::Simple(text) => write!(out, "+{}", escape(text)),
            Value::Error(text) => write!(out, "-{}", escape(text)),
            Value::Integer(number) => write!(out, ":{number}"),
            Value::Bulk(text) => write!(out, "\"{}\"", escape(text)),
            Value::NullBulk => out.write_str("$-1"),
            Value::NullArray => out.write_str("*-1"),
            Value::Null => out.write_str("_"),
            Value::Array(items) => list(out, "[", items),
            Value::Set(items) => list(out, "~[", items),
            Value::Push(items) => list(out, ">[", items),
            Value::Map(entries) => {
                out.write_str("%{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(out, "{comma}{key}: {value}")?;
                }
                out.write_str("}")
            }
            Value::Double(text) => write!(out, ",{}", escape(text)),
            Value::Boolean(truth) => write!(out, "#{truth}"),
            Value::BigNumber(text) => write!(out, "({}", escape(text)),
            Value::BulkError(text) => write!(out, "!{}", escape(text)),
            Value::Verbatim(format, text) => write!(out, "={}:\"{}\"", escape(format), escape(text)),
        }
    }
}
