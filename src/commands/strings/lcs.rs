//! LCS: the longest common subsequence of two strings, its length, or where it lies in both.

use super::options::is_option;
use super::string_of;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::Type;
use crate::resp::Reply;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    /// Matches shorter than this are left out of IDX.
    match_len_min: i64,
}

impl Options {
    fn parse(ctx: &Context<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 3;
        while let Some(word) = ctx.args.get(at) {
            if is_option(word, "idx") {
                options.idx = true;
            } else if is_option(word, "len") {
                options.len = true;
            } else if is_option(word, "withmatchlen") {
                options.with_match_len = true;
            } else if is_option(word, "minmatchlen") && at + 1 < ctx.args.len() {
                at += 1;
                options.match_len_min = ctx.integer(at)?.max(0);
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
pub fn lcs(ctx: &mut Context<'_>) -> Outcome {
    // The second lookup may remove an expired key, so the first value cannot stay borrowed; it is read again below.
    let a = ctx.db.read(ctx.args[1]).map(|entry| entry.kind());
    let b = ctx.db.read(ctx.args[2]).map(|entry| entry.kind());
    if [a, b].into_iter().flatten().any(|kind| kind != Type::String) {
        return Err(CommandError::fixed("ERR The specified keys must contain string values"));
    }
    let options = Options::parse(ctx)?;
    if options.idx && options.len {
        return Err(CommandError::fixed("ERR If you want both the length and indexes, please just use IDX."));
    }
    let (mut digits_a, mut digits_b) = (itoa::Buffer::new(), itoa::Buffer::new());
    let bytes = |key, digits| match ctx.db.visible(key) {
        Some(entry) => string_of(entry, digits),
        None => Ok(&b""[..]),
    };
    let a = bytes(ctx.args[1], &mut digits_a)?;
    let b = bytes(ctx.args[2], &mut digits_b)?;
    if a.len().max(b.len()) >= u32::MAX as usize - 1 {
        return Err(CommandError::fixed("ERR String too long for LCS"));
    }
    let lengths = Lengths::compute(a, b, ctx.config.proto_max_bulk_len)?;
    if options.len {
        ctx.reply.integer(i64::from(lengths.total()));
    } else if options.idx {
        write_matches(ctx.reply, &lengths, a, b, &options);
    } else {
        let mut common = Vec::with_capacity(lengths.total() as usize);
        lengths.for_each_match(a, b, &mut |m| common.extend(a[m.a..m.a + m.len].iter().rev()));
        common.reverse();
        ctx.reply.bulk(&common);
    }
    Ok(())
}

fn write_matches(reply: &mut Reply, lengths: &Lengths, a: &[u8], b: &[u8], options: &Options) {
    reply.map(2);
    reply.bulk(b"matches");
    let head = reply.deferred_array();
    let mut count = 0;
    lengths.for_each_match(a, b, &mut |m| {
        if (m.len as i64) < options.match_len_min {
            return;
        }
        count += 1;
        reply.array(2 + usize::from(options.with_match_len));
        for start in [m.a, m.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + m.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(m.len as i64);
        }
    });
    reply.finish_array(head, count);
    reply.bulk(b"len");
    reply.integer(i64::from(lengths.total()));
}

/// A run of bytes that is in both strings.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The length of the longest common subsequence of every pair of prefixes.
struct Lengths {
    table: Vec<u32>,
    width: usize,
}

impl Lengths {
    /// `bytes_max` limits the table, 4 bytes for each pair of prefixes.
    fn compute(a: &[u8], b: &[u8], bytes_max: u64) -> Result<Self, CommandError> {
        let width = b.len() + 1;
        let cells = (a.len() as u64 + 1).checked_mul(width as u64);
        if cells.and_then(|n| n.checked_mul(4)).is_none_or(|bytes| bytes > bytes_max) {
            return Err(CommandError::fixed(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        let cells = width * (a.len() + 1);
        let mut table = Vec::new();
        if table.try_reserve_exact(cells).is_err() {
            return Err(CommandError::fixed(
                "ERR Insufficient memory, failed allocating transient memory for LCS",
            ));
        }
        table.resize(width, 0u32);
        for (i, byte) in a.iter().enumerate() {
            table.push(0);
            let above = i * width;
            for (j, other) in b.iter().enumerate() {
                let cell = if byte == other {
                    table[above + j] + 1
                } else {
                    table[above + j + 1].max(table[above + width + j])
                };
                table.push(cell);
            }
        }
        Ok(Self { table, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.table[i * self.width + j]
    }

    fn total(&self) -> u32 {
        self.table[self.table.len() - 1]
    }

    /// Calls `f` for each run of the subsequence, the last one first. Of several subsequences it is the one that
    /// Valkey finds: going back from the end, the second string is shortened if neither way is better.
    fn for_each_match(&self, a: &[u8], b: &[u8], f: &mut dyn FnMut(Match)) {
        let (mut i, mut j) = (a.len(), b.len());
        let mut run = 0;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                run += 1;
                continue;
            }
            if run > 0 {
                f(Match { a: i, b: j, len: run });
                run = 0;
            }
            if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        if run > 0 {
            f(Match { a: i, b: j, len: run });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length by definition, for small strings: of all subsequences of `a`, the longest that is one of `b`.
    fn longest(a: &[u8], b: &[u8]) -> u32 {
        let within = |sub: &[u8]| {
            let mut rest = b.iter();
            sub.iter().all(|byte| rest.any(|other| other == byte))
        };
        (0..1u32 << a.len())
            .filter(|mask| {
                let sub: Vec<u8> = (0..a.len()).filter(|i| mask >> i & 1 == 1).map(|i| a[i]).collect();
                within(&sub)
            })
            .map(u32::count_ones)
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn lengths_and_matches_agree_with_the_definition() {
        let mut rng = crate::rng::Rng::new(4);
        for _ in 0..300 {
            let mut random = || -> Vec<u8> {
                let len = rng.below(9) as usize;
                (0..len).map(|_| b'a' + rng.below(3) as u8).collect()
            };
            let (a, b) = (random(), random());
            let lengths = Lengths::compute(&a, &b, 1 << 20).expect("small");
            assert_eq!(lengths.total(), longest(&a, &b), "{a:?} {b:?}");
            let mut sum = 0;
            lengths.for_each_match(&a, &b, &mut |m| {
                assert_eq!(a[m.a..m.a + m.len], b[m.b..m.b + m.len]);
                sum += m.len as u32;
            });
            assert_eq!(sum, lengths.total());
        }
    }

    #[test]
    fn the_table_is_limited() {
        assert!(Lengths::compute(&[0; 99], &[0; 99], 40_000).is_ok());
        assert!(Lengths::compute(&[0; 100], &[0; 99], 40_000).is_err());
    }
}
