//! `FIELDS numfields field ...`, as the commands about deadlines of fields end.

use crate::commands::CommandError;
use crate::resp::decode::parse_integer;

/// The refusal of a count that is not that of the fields.
pub const COUNT_MISMATCH: CommandError =
    CommandError::fixed("ERR numfields should be greater than 0 and match the provided number of fields");

/// Where the word FIELDS is, at or behind `from`: found wherever it is, so that a key may be taken for it. It is not
/// looked for at the end.
pub fn position(args: &[&[u8]], from: usize) -> Option<usize> {
    let before_last = args.len().saturating_sub(1);
    args.get(from..before_last)?
        .iter()
        .position(|arg| arg.eq_ignore_ascii_case(b"fields"))
        .map(|at| at + from)
}

/// The fields that follow their number at argument `at`, each taking `width` arguments.
pub fn counted<'a>(
    args: &'a [&'a [u8]],
    at: usize,
    width: usize,
    mismatch: CommandError,
) -> Result<&'a [&'a [u8]], CommandError> {
    let count = parse_integer(args[at]).ok_or(CommandError::NotInteger)?;
    let fields = &args[at + 1..];
    let matches = usize::try_from(count)
        .ok()
        .is_some_and(|count| count > 0 && count.checked_mul(width) == Some(fields.len()));
    if matches { Ok(fields) } else { Err(mismatch) }
}

/// The fields of a command that has no options: FIELDS must be argument 2.
pub fn without_options<'a>(
    args: &'a [&'a [u8]],
    mismatch: CommandError,
) -> Result<&'a [&'a [u8]], CommandError> {
    if !args[2].eq_ignore_ascii_case(b"fields") {
        return Err(CommandError::Syntax);
    }
    counted(args, 3, 1, mismatch)
}
