//! CRC-64 with Jones's polynomial, over files and payloads (spec page rdb.md, section 5).

use crc::{CRC_64_REDIS, Crc, Table};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The checksum of bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(u64);

impl Checksum {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        // The catalogue keeps its running value bit-reversed with respect to the result of a reflected sum, whose
        // initial value it takes unreflected.
        let mut digest = CRC.digest_with_initial(self.0.reverse_bits());
        digest.update(bytes);
        self.0 = digest.finalize();
    }

    /// The sum of all pieces so far.
    pub fn value(self) -> u64 {
        self.0
    }

    /// The sum of one piece.
    pub fn of(bytes: &[u8]) -> u64 {
        CRC.checksum(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_valkey() {
        assert_eq!(Checksum::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Checksum::of(b""), 0);
        assert_eq!(Checksum::of(&[1]), 0x7ad8_70c8_3035_8979);
    }

    #[test]
    fn pieces_sum_up_like_the_whole() {
        let text: Vec<u8> = (0..1000u32).map(|n| (n * n % 251) as u8).collect();
        for cut in [0, 1, 15, 16, 17, 500, 1000] {
            let mut sum = Checksum::new();
            sum.update(&text[..cut]);
            sum.update(&text[cut..]);
            assert_eq!(sum.value(), Checksum::of(&text));
        }
    }
}
