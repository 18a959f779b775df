//! Random elements, as SRANDMEMBER, SPOP and HRANDFIELD need them.

use super::CommandError;
use super::argument_values::not_between;
use crate::rng::Rng;

/// A count of random elements: negative allows repetitions. Its magnitude is an integer, too.
pub fn count(text: &[u8]) -> Result<i64, CommandError> {
    match crate::resp::decode::parse_integer(text) {
        None => Err(CommandError::NotInteger),
        Some(i64::MIN) => Err(not_between(-i64::MAX, i64::MAX)),
        Some(count) => Ok(count),
    }
}

/// Chooses some elements while all pass by, each set of them being equally likely (Knuth's algorithm S).
#[derive(Debug)]
pub struct Chooser {
    wanted: u64,
    left: u64,
}

impl Chooser {
    /// Chooses `wanted` of `all` elements; `wanted` is not greater.
    pub fn new(wanted: usize, all: usize) -> Self {
        debug_assert!(wanted <= all);
        Self { wanted: wanted as u64, left: all as u64 }
    }

    /// Whether the next element is chosen.
    #[inline]
    pub fn take(&mut self, rng: &mut Rng) -> bool {
        let taken = self.left > 0 && rng.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= u64::from(taken);
        taken
    }

    /// Whether all have been chosen.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.wanted == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_as_many_are_chosen_as_wanted_and_all_equally_often() {
        let mut rng = Rng::new(5);
        let mut hits = [0u32; 7];
        for _ in 0..7000 {
            let mut chooser = Chooser::new(3, 7);
            let chosen: Vec<usize> = (0..7).filter(|_| chooser.take(&mut rng)).collect();
            assert_eq!(chosen.len(), 3);
            assert!(chooser.is_done());
            chosen.iter().for_each(|&element| hits[element] += 1);
        }
        assert!(hits.iter().all(|hits| (2850..3150).contains(hits)), "{hits:?}");
    }

    #[test]
    fn counts_keep_their_magnitude_within_64_bits() {
        assert_eq!(count(b"-9223372036854775807").ok(), Some(-i64::MAX));
        assert!(count(b"-9223372036854775808").is_err() && count(b"x").is_err());
    }
}
