//! Encodings that older servers wrote and that are only read: ziplists, zipmaps, scores as text.
//!
//! ```text
//! ziplist  u32 bytes │ u32 offset of last entry │ u16 count │ entry ... │ FF
//!   entry  length of the entry before (u8, or FE and u32) │ encoding │ data
//! zipmap   u8 count │ (length │ field │ length │ u8 unused │ value │ unused bytes) ... │ FF
//!   length u8, or FE and u32
//! ```
//! All integers are little endian, but for the lengths of strings in ziplists.

use super::DecodeError;
use super::read::Reader;
use crate::types::Item;
use crate::types::hash::{Deadline, Hash, HashLimits};
use crate::types::listpack::Listpack;
use crate::types::number::parse_f64;

/// Says nothing itself: the caller knows what the ziplist is part of.
const ZIPLIST: DecodeError = DecodeError::Malformed("");
const ZIPMAP: DecodeError = DecodeError::Malformed("Zipmap integrity check failed.");
const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;
/// A length that is too large for one byte follows in four.
const WIDE: u8 = 0xfe;
/// A ziplist count that means "walk and count".
const COUNT_UNKNOWN: usize = 0xffff;

/// The elements of a ziplist as a listpack, after checking all that a ziplist says about itself. `complaint` is what the
/// error says.
pub(super) fn ziplist(bytes: &[u8], complaint: &'static str) -> Result<Listpack, DecodeError> {
    checked_ziplist(bytes).map_err(|_| DecodeError::Malformed(complaint))
}

fn checked_ziplist(bytes: &[u8]) -> Result<Listpack, DecodeError> {
    let mut header = Reader::new(bytes);
    let size = u32::from_le_bytes(header.array().map_err(|_| ZIPLIST)?) as usize;
    let tail = u32::from_le_bytes(header.array().map_err(|_| ZIPLIST)?) as usize;
    let count = u16::from_le_bytes(header.array().map_err(|_| ZIPLIST)?) as usize;
    if size != bytes.len() || bytes.len() <= ZIPLIST_HEADER || bytes[bytes.len() - 1] != END {
        return Err(ZIPLIST);
    }
    let end = bytes.len() - 1;
    let mut lp = Listpack::new();
    let (mut at, mut last, mut length_before, mut found) = (ZIPLIST_HEADER, ZIPLIST_HEADER, 0, 0);
    while at < end {
        let mut reader = Reader::new(&bytes[at..end]);
        let item = ziplist_entry(&mut reader, length_before).map_err(|_| ZIPLIST)?;
        let taken = end - at - reader.remaining();
        if !lp.may_grow_by(taken + 16) {
            return Err(ZIPLIST);
        }
        match item {
            Item::Str(text) => lp.append(text),
            Item::Int(value) => lp.append_int(value),
        };
        (last, length_before, found) = (at, taken, found + 1);
        at += taken;
    }
    if tail != last || (count != COUNT_UNKNOWN && count != found) {
        return Err(ZIPLIST);
    }
    Ok(lp)
}

fn ziplist_entry<'a>(reader: &mut Reader<'a>, length_before: usize) -> Result<Item<'a>, DecodeError> {
    let recorded = match reader.byte()? {
        WIDE => u32::from_le_bytes(reader.array()?) as usize,
        END => return Err(ZIPLIST),
        short => short as usize,
    };
    if recorded != length_before {
        return Err(ZIPLIST);
    }
    let encoding = reader.byte()?;
    let low = encoding & 0x3f;
    Ok(match encoding {
        0..=0x3f => Item::Str(reader.bytes(low as usize)?),
        0x40..=0x7f => {
            let length = (low as usize) << 8 | reader.byte()? as usize;
            Item::Str(reader.bytes(length)?)
        }
        0x80..=0xbf => {
            let length = u32::from_be_bytes(reader.array()?) as usize;
            Item::Str(reader.bytes(length)?)
        }
        0xc0 => Item::Int(i16::from_le_bytes(reader.array()?).into()),
        0xd0 => Item::Int(i32::from_le_bytes(reader.array()?).into()),
        0xe0 => Item::Int(i64::from_le_bytes(reader.array()?)),
        0xf0 => {
            let [a, b, c] = reader.array()?;
            Item::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
        }
        0xfe => Item::Int(i8::from_le_bytes(reader.array()?).into()),
        0xf1..=0xfd => Item::Int(i64::from(encoding & 0x0f) - 1),
        _ => return Err(ZIPLIST),
    })
}

/// The fields of a zipmap as a hash.
pub(super) fn zipmap(bytes: &[u8], limits: &HashLimits) -> Result<Hash, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.byte().map_err(|_| ZIPMAP)?;
    let mut hash = Hash::new();
    while let Some(length) = zipmap_length(&mut reader).map_err(|_| ZIPMAP)? {
        let (name, value) = zipmap_pair(&mut reader, length).map_err(|_| ZIPMAP)?;
        if !hash.set(name, value, Deadline::Clear, limits) {
            return Err(DecodeError::Malformed("Hash zipmap with dup elements, or big length"));
        }
    }
    if hash.is_empty() || reader.remaining() > 0 || (count < WIDE && usize::from(count) != hash.len()) {
        return Err(ZIPMAP);
    }
    Ok(hash)
}

/// A length; `None` is the end.
fn zipmap_length(reader: &mut Reader<'_>) -> Result<Option<usize>, DecodeError> {
    Ok(match reader.byte()? {
        END => None,
        WIDE => {
            let length = u32::from_le_bytes(reader.array()?) as usize;
            // A length that fits in one byte has only that form.
            if length < usize::from(WIDE) {
                return Err(ZIPMAP);
            }
            Some(length)
        }
        short => Some(short as usize),
    })
}

fn zipmap_pair<'a>(reader: &mut Reader<'a>, length: usize) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let name = reader.bytes(length)?;
    let length = zipmap_length(reader)?.ok_or(ZIPMAP)?;
    let unused = reader.byte()?;
    let value = reader.bytes(length)?;
    reader.bytes(unused.into())?;
    Ok((name, value))
}

/// A score as text behind one byte of length, of which three have a meaning of their own.
pub(super) fn text_double(reader: &mut Reader<'_>) -> Result<f64, DecodeError> {
    match reader.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Ok(f64::NAN),
        length => parse_f64(reader.bytes(length.into())?)
            .ok_or(DecodeError::Malformed("Zset with a score that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ziplist of entries whose encodings and data are given.
    fn build(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; ZIPLIST_HEADER];
        let (mut before, mut last) = (0usize, ZIPLIST_HEADER);
        for entry in entries {
            last = bytes.len();
            if before < 254 {
                bytes.push(before as u8);
            } else {
                bytes.push(WIDE);
                bytes.extend_from_slice(&(before as u32).to_le_bytes());
            }
            bytes.extend_from_slice(entry);
            before = bytes.len() - last;
        }
        bytes.push(END);
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(entries.len() as u16).to_le_bytes());
        bytes
    }

    #[test]
    fn every_ziplist_encoding_is_read() {
        let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
        let longer = [&[0x80, 0, 0, 0x40, 0][..], &[b'y'; 16384]].concat();
        let bytes = build(&[
            b"\x03abc",
            &long,
            &longer,
            &[0xf1],
            &[0xfd],
            &[0xfe, 0x80],
            &[0xc0, 0x00, 0x80],
            &[0xf0, 0x00, 0x00, 0x80],
            &[0xd0, 0, 0, 0, 0x80],
            &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
        ]);
        let lp = checked_ziplist(&bytes).expect("a sound ziplist");
        let texts: Vec<Vec<u8>> = lp.iter().map(Item::to_vec).collect();
        assert_eq!(texts[0], b"abc");
        assert_eq!(texts[1], [b'x'; 300]);
        assert_eq!(texts[2], [b'y'; 16384]);
        let numbers: Vec<String> =
            texts[3..].iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        assert_eq!(numbers, ["0", "12", "-128", "-32768", "-8388608", "-2147483648", "-9223372036854775808"]);
    }

    #[test]
    fn what_a_ziplist_says_about_itself_must_be_true() {
        let good = build(&[b"\x03abc", &[0xf5], b"\x01z"]);
        assert!(checked_ziplist(&good).is_ok());
        for at in 0..ZIPLIST_HEADER {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(checked_ziplist(&bad).err(), Some(ZIPLIST), "byte {at}");
        }
        for (at, value) in [(ZIPLIST_HEADER, 1), (ZIPLIST_HEADER + 1, 9), (good.len() - 1, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(checked_ziplist(&bad).err(), Some(ZIPLIST), "byte {at}");
        }
        for end in 0..good.len() {
            assert!(checked_ziplist(&good[..end]).is_err());
        }
    }

    #[test]
    fn zipmaps_are_read_with_their_gaps() {
        let long = [b'b'; 254];
        let bytes = [&b"\x02\x01a\x03\x02xyz\0\0\xfe\xfe\0\0\0"[..], &long, b"\x00\x00\xff"].concat();
        let hash = zipmap(&bytes, &HashLimits::default()).expect("a sound zipmap");
        assert_eq!(hash.len(), 2);
        assert!(hash.get(b"a").is_some_and(|field| field.value.is(b"xyz")));
        assert!(hash.get(&long).is_some_and(|field| field.value.is(b"")));
        for end in 0..bytes.len() {
            assert!(zipmap(&bytes[..end], &HashLimits::default()).is_err());
        }
        // Lengths in a wider form than they need.
        for wide in [&b"\x01\xfe\x01\0\0\0a\x01\0x\xff"[..], b"\x01\x01a\xfe\x01\0\0\0\0x\xff"] {
            assert!(zipmap(wide, &HashLimits::default()).is_err());
        }
        let twice = b"\x02\x01a\x01\x00x\x01a\x01\x00y\xff";
        assert!(zipmap(twice, &HashLimits::default()).is_err());
    }
}
