//! Walking through an encoded reply, as a script does that wants it as values. The bytes are our own, so they are
//! whole and well-formed; anything else ends the walk.

use crate::types::number::parse_f64;

/// One element of a reply. After a head of `n` elements (a map: of `n` pairs) these follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    NullBulk,
    NullArray,
    /// RESP3's null.
    Null,
    Array(usize),
    Map(usize),
    Set(usize),
    Push(usize),
    Attribute(usize),
    Boolean(bool),
    Double(f64),
    BigNumber(&'a [u8]),
    Verbatim {
        format: &'a [u8],
        text: &'a [u8],
    },
}

/// The place in a reply.
pub struct Replies<'a> {
    rest: &'a [u8],
}

impl<'a> Replies<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\r', self.rest)?;
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..)?;
        Some(line)
    }

    /// That many bytes and a line end.
    fn sized(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.rest.get(..len)?;
        self.rest = self.rest.get(len + 2..)?;
        Some(bytes)
    }
}

fn integer(line: &[u8]) -> Option<i64> {
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value =
        digits.iter().fold(0u64, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b.wrapping_sub(b'0'))));
    Some(if negative { value.wrapping_neg() as i64 } else { value as i64 })
}

fn length(line: &[u8]) -> Option<usize> {
    integer(line).and_then(|n| usize::try_from(n).ok())
}

impl<'a> Iterator for Replies<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (&kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        let line = self.line()?;
        Some(match kind {
            b'+' => Item::Status(line),
            b'-' => Item::Error(line),
            b':' => Item::Integer(integer(line)?),
            b'$' if line.first() == Some(&b'-') => Item::NullBulk,
            b'$' => Item::Bulk(self.sized(length(line)?)?),
            b'*' if line.first() == Some(&b'-') => Item::NullArray,
            b'*' => Item::Array(length(line)?),
            b'%' => Item::Map(length(line)?),
            b'~' => Item::Set(length(line)?),
            b'>' => Item::Push(length(line)?),
            b'|' => Item::Attribute(length(line)?),
            b'_' => Item::Null,
            b'#' => Item::Boolean(line == b"t"),
            b',' => Item::Double(parse_f64(line).unwrap_or(f64::NAN)),
            b'(' => Item::BigNumber(line),
            b'=' => {
                let bytes = self.sized(length(line)?)?;
                Item::Verbatim { format: bytes.get(..3)?, text: bytes.get(4..)? }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_understood() {
        let bytes = b"+OK\r\n-ERR x\r\n:-7\r\n$2\r\n\r\n\r\n$-1\r\n*-1\r\n_\r\n*2\r\n%1\r\n~0\r\n#t\r\n,1.5\r\n(12\r\n=5\r\ntxt:x\r\n";
        let items: Vec<Item<'_>> = Replies::new(bytes).collect();
        assert_eq!(
            items,
            [
                Item::Status(b"OK"),
                Item::Error(b"ERR x"),
                Item::Integer(-7),
                Item::Bulk(b"\r\n"),
                Item::NullBulk,
                Item::NullArray,
                Item::Null,
                Item::Array(2),
                Item::Map(1),
                Item::Set(0),
                Item::Boolean(true),
                Item::Double(1.5),
                Item::BigNumber(b"12"),
                Item::Verbatim { format: b"txt", text: b"x" },
            ]
        );
    }

    #[test]
    fn a_cut_reply_ends_the_walk() {
        assert_eq!(Replies::new(b"$5\r\nab").next(), None);
        assert_eq!(Replies::new(b"+OK").next(), None);
    }
}
