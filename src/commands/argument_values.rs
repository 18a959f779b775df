//! Reading integers with limits, and counted keys, as several families need them.

use super::CommandError;
use crate::resp::decode::parse_integer;

/// The integer, if it is one and lies between `min` and `max`. For options whose error says the same for both failures.
pub fn integer_in(text: &[u8], min: i64, max: i64) -> Option<i64> {
    parse_integer(text).filter(|value| (min..=max).contains(value))
}

/// The error of options that name their limits.
pub fn not_between(min: i64, max: i64) -> CommandError {
    CommandError::text(format!("ERR value is out of range, value must between {min} and {max}"))
}

/// The position behind the keys whose number is argument `at`. At least one argument must follow them, or it is a
/// syntax error; a number below 1 is refused with `error`.
pub fn counted_keys_end(args: &[&[u8]], at: usize, error: &'static str) -> Result<usize, CommandError> {
    let count = integer_in(args[at], 1, i64::MAX).ok_or(CommandError::fixed(error))?;
    usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_add(at + 1))
        .filter(|end| *end < args.len())
        .ok_or(CommandError::Syntax)
}
