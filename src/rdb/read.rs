//! Lengths and strings as they are read (spec page rdb.md, section 3).

use super::DecodeError;
use crate::lzf;
use std::borrow::Cow;

/// The bytes not yet read. Never reads past their end, and believes no length that goes beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// What a first byte can introduce.
enum Head {
    Length(u64),
    /// The low six bits of a byte that introduces a specially encoded string.
    Special(u8),
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes as they are.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as they are.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match first {
            0..=0x3f => Head::Length(u64::from(low)),
            0x40..=0x7f => Head::Length(u64::from(low) << 8 | u64::from(self.byte()?)),
            0x80 => Head::Length(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Head::Length(u64::from_be_bytes(self.array()?)),
            0x82..=0xbf => return Err(DecodeError::Length(first >> 6)),
            0xc0..=0xff => Head::Special(low),
        })
    }

    /// A length or another unsigned number. What would name an encoding in a string counts as the number it is.
    pub fn length(&mut self) -> Result<u64, DecodeError> {
        match self.head()? {
            Head::Length(length) => Ok(length),
            Head::Special(number) => Ok(number.into()),
        }
    }

    /// A number of elements that take at least `size` bytes each (and `size` is not 0): more than can still come are
    /// refused at once.
    pub fn count(&mut self, size: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.length()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.rest.len() / size { Err(DecodeError::Truncated) } else { Ok(count) }
    }

    /// A string in any encoding.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        let value = match self.head()? {
            Head::Length(length) => {
                let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
                return self.bytes(length).map(Cow::Borrowed);
            }
            Head::Special(0) => i64::from(i8::from_le_bytes(self.array()?)),
            Head::Special(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Head::Special(2) => i64::from(i32::from_le_bytes(self.array()?)),
            Head::Special(3) => return self.compressed().map(Cow::Owned),
            Head::Special(kind) => return Err(DecodeError::StringKind(kind)),
        };
        Ok(Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec()))
    }

    fn compressed(&mut self) -> Result<Vec<u8>, DecodeError> {
        let packed = usize::try_from(self.length()?).map_err(|_| DecodeError::Truncated)?;
        let length = usize::try_from(self.length()?).map_err(|_| DecodeError::Truncated)?;
        lzf::decompress(self.bytes(packed)?, length).ok_or(DecodeError::Compressed)
    }

    /// A time in Unix milliseconds.
    pub fn milliseconds(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A number in binary form.
    pub fn double(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Compression, write};
    use proptest::prelude::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, bytes) in [
            (0, &[0][..]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16_383, &[0x7f, 0xff]),
            (16_384, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (u64::MAX, &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let mut out = Vec::new();
            write::length(&mut out, length);
            assert_eq!(out, bytes);
            assert_eq!(Reader::new(&out).length(), Ok(length));
        }
    }

    #[test]
    fn strings_take_the_form_valkey_gives_them() {
        let form = |text: &[u8]| {
            let mut out = Vec::new();
            write::string(&mut out, text, Compression::On);
            assert_eq!(Reader::new(&out).string().as_deref(), Ok(text));
            out
        };
        assert_eq!(form(b"12345"), [0xc1, 0x39, 0x30]);
        assert_eq!(form(b"-128"), [0xc0, 0x80]);
        assert_eq!(form(b"-2147483648"), [0xc2, 0, 0, 0, 0x80]);
        assert_eq!(form(b"2147483648"), b"\x0a2147483648");
        assert_eq!(form(b"-0"), b"\x02-0");
        assert_eq!(form(&[b'a'; 60]), *b"\xc3\x09\x3c\x01\x61\x61\xe0\x2f\x00\x01\x61\x61");
        assert_eq!(form(&[b'a'; 20]).len(), 21);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Reader::new(&[5, 1, 2]).string(), Err(DecodeError::Truncated));
        assert_eq!(
            Reader::new(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).count(1),
            Err(DecodeError::Truncated)
        );
        assert_eq!(Reader::new(&[4, 0, 0, 0]).count(1), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xc3, 0]).length(), Ok(3));
        assert_eq!(Reader::new(&[0x82, 0]).length(), Err(DecodeError::Length(2)));
        assert_eq!(Reader::new(&[0xc4, 0]).string(), Err(DecodeError::StringKind(4)));
        let huge = [0xc3, 3, 0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];
        assert_eq!(Reader::new(&huge).string(), Err(DecodeError::Compressed));
    }

    proptest! {
        #[test]
        fn strings_round_trip(text in prop::collection::vec(prop_oneof![b'0'..=b'9', Just(b'-'), any::<u8>()], 0..100)) {
            for compression in [Compression::Off, Compression::On] {
                let mut out = Vec::new();
                write::string(&mut out, &text, compression);
                let mut reader = Reader::new(&out);
                let read = reader.string();
                prop_assert_eq!(read.as_deref(), Ok(&text[..]));
                prop_assert_eq!(reader.remaining(), 0);
            }
        }
    }
}
