//! The ends of score and lexical ranges as clients write them.

use crate::commands::CommandError;
use crate::types::number::parse_f64;
use crate::types::zset::{LexBound, LexRange, ScoreRange};

/// A limit such as `1.5`, `(1.5` (exclusive) or `-inf`.
///
/// Valkey reads the number with C's rules for the end of it: a NUL ends the text, nothing at all is 0, and numbers out
/// of range become infinite or zero.
fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    let (text, exclusive) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    let text = text.split(|&b| b == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some((0.0, exclusive));
    }
    let value = parse_f64(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())?;
    (!value.is_nan()).then_some((value, exclusive))
}

/// The range between two limits.
pub fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let bound = |text| score_bound(text).ok_or(CommandError::fixed("ERR min or max is not a float"));
    let (min, min_exclusive) = bound(min)?;
    let (max, max_exclusive) = bound(max)?;
    Ok(ScoreRange { min, min_exclusive, max, max_exclusive })
}

/// The range between `[text` (inclusive), `(text` (exclusive), `-` and `+`.
pub fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    let bound = |text: &'a [u8]| match text {
        [b'[', rest @ ..] => Ok(LexBound::Inclusive(rest)),
        [b'(', rest @ ..] => Ok(LexBound::Exclusive(rest)),
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        _ => Err(CommandError::fixed("ERR min or max not valid string range item")),
    };
    Ok(LexRange { min: bound(min)?, max: bound(max)? })
}

#[cfg(test)]
mod tests {
    use super::score_bound;

    #[test]
    fn limits_are_read_as_c_reads_them() {
        for (text, bound) in [
            ("", Some((0.0, false))),
            ("(", Some((0.0, true))),
            ("(1.5", Some((1.5, true))),
            ("1\0x", Some((1.0, false))),
            ("1e400", Some((f64::INFINITY, false))),
            ("(-1e400", Some((f64::NEG_INFINITY, true))),
            ("1e-400", Some((0.0, false))),
            ("+inf", Some((f64::INFINITY, false))),
            ("nan", None),
            ("(nan", None),
            ("((1", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
            ("1e", None),
            ("-", None),
        ] {
            assert_eq!(score_bound(text.as_bytes()), bound, "{text:?}");
        }
    }
}
