//! Lengths and strings as they are written (spec page rdb.md, section 3).

use super::Compression;
use crate::lzf;
use crate::types::number::parse_i64;

/// Strings up to this length are not worth compressing.
const COMPRESS_ABOVE: usize = 20;
/// Bytes that compression must save.
const COMPRESS_GAIN: usize = 4;
/// Longest text of a number that a string encodes as an integer.
const INTEGER_TEXT_MAX: usize = 11;

/// A length, in the shortest form: 6, 14, 32 or 64 bits, big endian.
pub fn length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..=0x3f => out.push(length as u8),
        0x40..=0x3fff => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// A number of elements.
pub fn count(out: &mut Vec<u8>, count: usize) {
    length(out, count as u64);
}

/// A string: as an integer if it is the text of one, compressed if that helps, else as it is.
pub fn string(out: &mut Vec<u8>, text: &[u8], compression: Compression) {
    if text.len() <= INTEGER_TEXT_MAX
        && let Some(value) = parse_i64(text)
        && small_integer(out, value)
    {
        return;
    }
    if compression == Compression::On
        && text.len() > COMPRESS_ABOVE
        && let Some(()) =
            lzf::compress_for(text, packed_max(text), |packed| compressed(out, packed, text.len()))
    {
        return;
    }
    count(out, text.len());
    out.extend_from_slice(text);
}

/// Bytes that a string may have when it is compressed: more are not worth it.
pub fn packed_max(text: &[u8]) -> usize {
    text.len().saturating_sub(COMPRESS_GAIN)
}

/// A string of `size` bytes that is compressed already (see [`lzf`]).
pub fn compressed(out: &mut Vec<u8>, packed: &[u8], size: usize) {
    compressed_head(out, packed.len(), size);
    out.extend_from_slice(packed);
}

/// What stands before the bytes of such a string: how many they are, and how many they were.
pub fn compressed_head(out: &mut Vec<u8>, packed: usize, size: usize) {
    out.push(0xc3);
    count(out, packed);
    count(out, size);
}

/// The decimal text of an integer.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    if !small_integer(out, value) {
        let mut digits = itoa::Buffer::new();
        let text = digits.format(value).as_bytes();
        count(out, text.len());
        out.extend_from_slice(text);
    }
}

/// An integer of up to 32 bits in one of the forms for those; false if it is larger.
fn small_integer(out: &mut Vec<u8>, value: i64) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.push(0xc0);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xc1);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xc2);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// A time in Unix milliseconds.
pub fn milliseconds(out: &mut Vec<u8>, time_ms: i64) {
    out.extend_from_slice(&time_ms.to_le_bytes());
}
