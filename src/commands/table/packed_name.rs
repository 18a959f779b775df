//! Short names as four machine words, lower-cased: cheap to hash and to compare.

/// A name of at most 32 bytes in lower case, padded with zeros, and its length (a name may itself end in a zero
/// byte).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedName {
    words: [u64; 4],
    length: u8,
}

impl PackedName {
    /// Packs a name; none if it is too long.
    #[inline]
    pub(super) fn new(name: &[u8]) -> Option<PackedName> {
        let words = match name.len() {
            0..=8 => [up_to_8(name), 0, 0, 0],
            9..=16 => {
                let (head, tail) = name.split_at(8);
                [up_to_8(head), up_to_8(tail), 0, 0]
            }
            17..=32 => {
                let mut padded = [0; 32];
                padded[..name.len()].copy_from_slice(name);
                let (chunks, _) = padded.as_chunks::<8>();
                [
                    lower(u64::from_le_bytes(chunks[0])),
                    lower(u64::from_le_bytes(chunks[1])),
                    lower(u64::from_le_bytes(chunks[2])),
                    lower(u64::from_le_bytes(chunks[3])),
                ]
            }
            _ => return None,
        };
        Some(PackedName { words, length: name.len() as u8 })
    }

    /// A hash of the name within a scope.
    #[inline]
    pub(super) fn hash(&self, scope: u16) -> u64 {
        const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
        let seed = u64::from(scope) << 8 | u64::from(self.length);
        let mut hash =
            folded(self.words[0] ^ seed.wrapping_mul(ODD[1]), ODD[0] ^ self.words[1].rotate_left(17));
        if self.length > 16 {
            hash = folded(hash ^ self.words[2], ODD[1] ^ self.words[3]);
        }
        hash
    }
}

/// Both halves of the product, so that every input bit reaches the bits used for the slot and for the tag.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Up to eight bytes as a little-endian word in lower case, read with two overlapping loads instead of a loop.
#[inline]
fn up_to_8(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let word = if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let head = u64::from(u32::from_le_bytes(*head));
        let tail = u64::from(u32::from_le_bytes(*tail));
        head | tail << (8 * (length - 4))
    } else if let ([first, ..], [.., last]) = (bytes, bytes) {
        let middle = length / 2;
        u64::from(*first) | u64::from(bytes[middle]) << (8 * middle) | u64::from(*last) << (8 * (length - 1))
    } else {
        0
    };
    lower(word)
}

/// Lower-cases the eight ASCII letters of a word at once; other bytes, also those above 127, stay.
#[inline]
const fn lower(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * ONES);
    let above_z = low_bits + (0x7f - b'Z' as u64) * ONES;
    let from_a = low_bits + (0x80 - b'A' as u64) * ONES;
    let upper = (from_a & !above_z & !word) & (0x80 * ONES);
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_agrees_with_plain_lower_casing_for_every_length_and_byte() {
        for length in 0..=32usize {
            for byte in 0..=255u8 {
                let name: Vec<u8> = (0..length).map(|i| byte.wrapping_add(i as u8 * 7)).collect();
                let mut plain = [0u8; 32];
                plain[..length].copy_from_slice(&name.to_ascii_lowercase());
                let packed = PackedName::new(&name).expect("at most 32 bytes");
                let bytes: Vec<u8> = packed.words.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!(bytes, plain, "length {length}, byte {byte}");
            }
        }
        assert!(PackedName::new(&[b'a'; 33]).is_none());
    }

    #[test]
    fn a_trailing_zero_byte_makes_another_name() {
        assert!(PackedName::new(b"get") != PackedName::new(b"get\0"));
    }
}
