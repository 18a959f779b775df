//! Tests that a request must pass before it runs, in Valkey's order, made where it executes.

use super::context::CommandError;
use super::spec::NO_AUTH;
use super::table::{Command, Table};
use crate::resp::Protocol;
use crate::resp::decode::parse_integer;
use crate::session::Session;

/// A refusal, with the command it concerns if there is one (for its `rejected_calls`).
pub type Refused = (Option<&'static Command>, CommandError);

const NOAUTH: CommandError = CommandError::fixed("NOAUTH Authentication required.");

/// Finds the request's command and tests whether this client may run it.
pub fn admit(table: &Table, args: &[&[u8]], session: &Session) -> Result<&'static Command, Refused> {
    let command = table.resolve(args).map_err(|unresolved| {
        let known = table.lookup_request(args).ok();
        if !session.authenticated && !known.is_some_and(|command| command.flags.has(NO_AUTH)) {
            // A stranger does not learn what would be wrong with the request.
            return (known, NOAUTH);
        }
        (known, CommandError::Bytes(unresolved.line(args)))
    })?;
    if !session.authenticated && !command.flags.has(NO_AUTH) {
        return Err((Some(command), NOAUTH));
    }
    if session.subscriptions > 0 && session.protocol == Protocol::Resp2 && !is_for_subscribers(command) {
        let line = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            command.name
        );
        return Err((Some(command), CommandError::text(line)));
    }
    Ok(command)
}

/// Whether an unknown command is a line of an HTTP request.
pub fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// What a subscriber may ask without RESP3, where replies and messages could not be told apart.
fn is_for_subscribers(command: &Command) -> bool {
    matches!(
        command.name,
        "ping"
            | "subscribe"
            | "psubscribe"
            | "ssubscribe"
            | "unsubscribe"
            | "punsubscribe"
            | "sunsubscribe"
            | "quit"
            | "reset"
    )
}

/// The cursor argument of SCAN and its family: an unsigned 64-bit number as C's `strtoull` reads it (leading blanks,
/// a sign that wraps around, anything behind a NUL ignored), except that a plain negative number is refused.
pub fn cursor_of(word: &[u8]) -> Option<u64> {
    if parse_integer(word).is_some_and(|n| n < 0) {
        return None;
    }
    let text = word.split(|&b| b == 0).next().unwrap_or(word);
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n.checked_mul(10)?.checked_add(u64::from(b - b'0'))).flatten()
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::cursor_of;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        for (word, value) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            (" 7", Some(7)),
            ("+7", Some(7)),
            ("007", Some(7)),
            ("7\0x", Some(7)),
            (" -1", Some(u64::MAX)),
            ("-1", None),
            ("", None),
            ("7 ", None),
            ("x", None),
            ("- 1", None),
        ] {
            assert_eq!(cursor_of(word.as_bytes()), value, "{word:?}");
        }
    }
}
