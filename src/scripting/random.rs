//! The generator behind `math.random`: the 48-bit linear congruence that C calls `lrand48`, so that the same seed gives
//! the same numbers on every machine, and the same as the reference server.

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
const LOW_WORD: u64 = 0x330E;

/// One more than the highest value: what `math.random` divides by is this less one.
pub const MAX: i32 = i32::MAX;

/// The generator.
#[derive(Clone, Debug)]
pub struct Lrand48(u64);

impl Default for Lrand48 {
    fn default() -> Self {
        Self(0x1234_ABCD_330E)
    }
}

impl Lrand48 {
    /// Begins the sequence of this seed.
    pub fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed as u32) << 16) | LOW_WORD;
    }

    /// The next number, from 0 to 2^31 - 1.
    pub fn next_number(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        (self.0 >> 17) as i32
    }

    /// The next number between 0 and 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.next_number() % MAX) / f64::from(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Lrand48;

    #[test]
    fn the_sequence_is_that_of_the_reference_server() {
        let mut random = Lrand48::default();
        assert_eq!(format!("{:.14}", random.unit()), "0.39646477363839");
        assert_eq!(format!("{:.14}", random.unit()), "0.84048536971234");
    }
}
