//! Hash slots: the unit of ownership of keys.

/// Number of hash slots.
pub const SLOTS: usize = 16_384;

/// A hash slot, below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(pub u16);

impl Slot {
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The slot of a key: CRC16/XMODEM of its hash tag if it has one (the bytes between the first `{` and the next `}`,
/// if there are any), else of the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot(checksum(tag_of(key)) % SLOTS as u16)
}

/// Tables of the checksum for eight bytes at a time: `SLICES[n][b]` is what byte `b` followed by `n` zero bytes
/// contributes. A command spends more time on its key's checksum than on most other things when bytes go one by one.
static SLICES: [[u16; 256]; 8] = slices();

const fn slices() -> [[u16; 256]; 8] {
    /// x^16 + x^12 + x^5 + 1, most significant bit first.
    const POLYNOMIAL: u16 = 0x1021;
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = before << 8 ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// CRC16/XMODEM: short texts by the crate's table, longer ones eight bytes at a time.
#[inline]
fn checksum(text: &[u8]) -> u16 {
    let (chunks, rest) = text.as_chunks::<8>();
    if chunks.is_empty() {
        return crc16::State::<crc16::XMODEM>::calculate(rest);
    }
    let mut crc = 0u16;
    for chunk in chunks {
        let [high, low] = crc.to_be_bytes();
        crc = SLICES[7][usize::from(chunk[0] ^ high)]
            ^ SLICES[6][usize::from(chunk[1] ^ low)]
            ^ SLICES[5][usize::from(chunk[2])]
            ^ SLICES[4][usize::from(chunk[3])]
            ^ SLICES[3][usize::from(chunk[4])]
            ^ SLICES[2][usize::from(chunk[5])]
            ^ SLICES[1][usize::from(chunk[6])]
            ^ SLICES[0][usize::from(chunk[7])];
    }
    for &byte in rest {
        crc = crc << 8 ^ SLICES[0][usize::from(byte) ^ usize::from(crc >> 8)];
    }
    crc
}

/// Whether there may be a `{` in a key; no is certain. Eight bytes at a time: most keys have none, and are too short for a
/// search to be worth its start.
#[inline]
fn may_open(key: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // The high bit of the lowest byte that is a brace is set, and perhaps those of bytes above.
    let braces = |word: u64| {
        let zero_if_brace = word ^ (b'{' as u64 * ONES);
        zero_if_brace.wrapping_sub(ONES) & !zero_if_brace & HIGH
    };
    let (chunks, rest) = key.as_chunks::<8>();
    let found = chunks.iter().fold(0, |found, chunk| found | braces(u64::from_le_bytes(*chunk)));
    let tail = match key.last_chunk::<8>() {
        Some(last) => braces(u64::from_le_bytes(*last)) != 0,
        None => rest.contains(&b'{'),
    };
    found != 0 || tail
}

/// The part of a key that decides its slot.
#[inline]
pub fn tag_of(key: &[u8]) -> &[u8] {
    if !may_open(key) {
        return key;
    }
    if let Some(open) = memchr::memchr(b'{', key) {
        let rest = &key[open + 1..];
        if let Some(close) = memchr::memchr(b'}', rest).filter(|&n| n > 0) {
            return &rest[..close];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_crates_at_every_length() {
        let text: Vec<u8> = (0..100u32).map(|n| (n * 167 + 13) as u8).collect();
        for start in 0..9 {
            for end in start..text.len() {
                let text = &text[start..end];
                assert_eq!(checksum(text), crc16::State::<crc16::XMODEM>::calculate(text), "{text:?}");
            }
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_is() {
        for len in 0..40 {
            for other in [0, b'z', b'|', 0xfb, 0xff] {
                let mut key = vec![other; len];
                assert!(!may_open(&key), "{key:?}");
                for at in 0..len {
                    key[at] = b'{';
                    assert!(may_open(&key), "{key:?}");
                    key[at] = other;
                }
            }
        }
    }

    /// Values from a Valkey 9.1 (`CLUSTER KEYSLOT`).
    #[test]
    fn slots_are_those_of_the_reference() {
        assert_eq!(slot_of(b"foo"), Slot(12182));
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b""), Slot(0));
        assert_eq!(tag_of(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(tag_of(b"foo{{bar}}zap"), b"{bar");
    }
}
