//! Looking at many bits: BITCOUNT and BITPOS.

use crate::commands::context::Outcome;
use crate::commands::strings::options::is_option;
use crate::commands::strings::string_of;
use crate::commands::{CommandError, Context};

/// `start [end [BYTE | BIT]]`
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    start: i64,
    /// The end of the string if absent.
    end: Option<i64>,
    /// Start and end count bits, not bytes.
    bits: bool,
}

impl Limits {
    /// Reads the limits that begin at argument `at`; none if the request ends there.
    fn parse(ctx: &Context<'_>, at: usize) -> Result<Option<Self>, CommandError> {
        if ctx.args.len() == at {
            return Ok(None);
        }
        if ctx.args.len() > at + 3 {
            return Err(CommandError::Syntax);
        }
        let start = ctx.integer(at)?;
        let bits = match ctx.args.get(at + 2) {
            None => false,
            Some(unit) if is_option(unit, "bit") => true,
            Some(unit) if is_option(unit, "byte") => false,
            Some(_) => return Err(CommandError::Syntax),
        };
        let end = if ctx.args.len() > at + 1 { Some(ctx.integer(at + 1)?) } else { None };
        Ok(Some(Self { start, end, bits }))
    }

    /// Both limits count from the end and are in the wrong order, which BITCOUNT sees before it moves limits that lie
    /// before the string to its beginning.
    fn is_reversed(self) -> bool {
        self.start < 0 && self.end.is_some_and(|end| end < 0 && self.start > end)
    }

    /// The bits meant in a string of `len` bytes, first and last; none if there are none.
    fn resolve(self, len: usize) -> Option<(usize, usize)> {
        let unit = if self.bits { 1 } else { 8 };
        let total = (len * 8 / unit) as i64;
        let end = self.end.unwrap_or(total - 1);
        let from_end = |i: i64| if i < 0 { total.saturating_add(i).max(0) } else { i };
        let (start, end) = (from_end(self.start), from_end(end).min(total - 1));
        (start <= end).then(|| (start as usize * unit, end as usize * unit + unit - 1))
    }
}

/// BITCOUNT key [start [end [BYTE | BIT]]]
pub fn bitcount(ctx: &mut Context<'_>) -> Outcome {
    let limits = Limits::parse(ctx, 2)?.unwrap_or_default();
    let mut count = 0;
    if let Some(entry) = ctx.db.read(ctx.args[1]) {
        let mut digits = itoa::Buffer::new();
        let bytes = string_of(entry, &mut digits)?;
        if let Some((first, last)) = limits.resolve(bytes.len())
            && !limits.is_reversed()
        {
            count = count_ones(bytes, first, last);
        }
    }
    ctx.reply.integer(count);
    Ok(())
}

/// Ones among the bits `first` to `last`, both included and within the string.
fn count_ones(bytes: &[u8], first: usize, last: usize) -> i64 {
    let bytes = &bytes[first / 8..=last / 8];
    let (words, rest) = bytes.as_chunks::<8>();
    let whole: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let tail: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let before = (bytes[0] & !(0xff >> (first % 8))).count_ones();
    let after = (bytes[bytes.len() - 1] & (0x7f >> (last % 8))).count_ones();
    (whole + tail) as i64 - i64::from(before) - i64::from(after)
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub fn bitpos(ctx: &mut Context<'_>) -> Outcome {
    let wanted = match ctx.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::fixed("ERR The bit argument must be 1 or 0.")),
    };
    let limits = Limits::parse(ctx, 3)?;
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        // A missing string is an endless row of zeros.
        ctx.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string_of(entry, &mut digits)?;
    let limits = limits.unwrap_or_default();
    let position = match limits.resolve(bytes.len()) {
        None => -1,
        Some((first, last)) => match find_bit(bytes, first, last, wanted) {
            Some(position) => position as i64,
            // The zeros behind the string count only if the client did not say where to stop.
            None if !wanted && limits.end.is_none() => bytes.len() as i64 * 8,
            None => -1,
        },
    };
    ctx.reply.integer(position);
    Ok(())
}

/// The first bit of that value among `first` to `last`, both included and within the string.
fn find_bit(bytes: &[u8], first: usize, last: usize, wanted: bool) -> Option<usize> {
    // Looking for a zero is looking for a one in the complement.
    let flip = if wanted { 0 } else { 0xff };
    let (from, to) = (first / 8, last / 8);
    let head = (bytes[from] ^ flip) & (0xff >> (first % 8));
    let at = if head != 0 { from } else { from + 1 + first_different(bytes.get(from + 1..=to)?, flip)? };
    let byte = if at == from { head } else { bytes[at] ^ flip };
    let position = at * 8 + byte.leading_zeros() as usize;
    (position <= last).then_some(position)
}

/// Index of the first byte that is not `dull`.
fn first_different(bytes: &[u8], dull: u8) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| **word == [dull; 8]).count() * 8;
    bytes[skipped..].iter().position(|&byte| byte != dull).map(|at| skipped + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_and_finding_agree_with_looking_at_each_bit() {
        let seed = 11;
        let mut rng = crate::rng::Rng::new(seed);
        for round in 0..2000 {
            let len = 1 + rng.below(40) as usize;
            let dull = [0u8, 0xff][rng.below(2) as usize];
            let bytes: Vec<u8> =
                (0..len).map(|_| if rng.below(6) == 0 { rng.below(256) as u8 } else { dull }).collect();
            let bit = |i: usize| bytes[i / 8] >> (7 - i % 8) & 1 == 1;
            let a = rng.below(len as u64 * 8) as usize;
            let b = a + rng.below((len * 8 - a) as u64) as usize;
            let context = format!("seed {seed} round {round}: {bytes:?} {a}..={b}");
            assert_eq!(count_ones(&bytes, a, b), (a..=b).filter(|&i| bit(i)).count() as i64, "{context}");
            for wanted in [false, true] {
                let found = (a..=b).find(|&i| bit(i) == wanted);
                assert_eq!(find_bit(&bytes, a, b, wanted), found, "{context}");
            }
        }
    }

    #[test]
    fn limits_count_from_the_end_and_stop_there() {
        let bytes = |start, end| Limits { start, end, bits: false }.resolve(3);
        assert_eq!(bytes(0, None), Some((0, 23)));
        assert_eq!(bytes(-1, None), Some((16, 23)));
        assert_eq!(bytes(-100, Some(-50)), Some((0, 7)));
        assert_eq!(bytes(-1, Some(-3)), None);
        assert_eq!(bytes(-10, Some(-12)), Some((0, 7)));
        assert!(Limits { start: -10, end: Some(-12), bits: false }.is_reversed());
        assert_eq!(bytes(1, Some(i64::MAX)), Some((8, 23)));
        assert_eq!(bytes(3, None), None);
        assert_eq!(Limits { start: i64::MIN, end: Some(4), bits: true }.resolve(3), Some((0, 4)));
        assert_eq!(Limits::default().resolve(0), None);
    }
}
