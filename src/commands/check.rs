//! Tests that a request must pass before it runs, in Valkey's order, made where it executes.

use super::context::CommandError;
use super::spec::NO_AUTH;
use super::table::{Command, Table};
use crate::session::Session;

/// A refusal, with the command it concerns if there is one (for its `rejected_calls`).
pub type Refused = (Option<&'static Command>, CommandError);

/// Finds the request's command and tests whether this client may run it.
pub fn admit(table: &Table, args: &[&[u8]], session: &Session) -> Result<&'static Command, Refused> {
    let command = table.resolve(args).map_err(|unresolved| {
        let known = table.lookup_request(args).ok();
        (known, CommandError::Bytes(unresolved.line(args)))
    })?;
    if !session.authenticated && !command.flags.has(NO_AUTH) {
        return Err((Some(command), CommandError::fixed("NOAUTH Authentication required.")));
    }
    Ok(command)
}

/// The cursor argument of SCAN and its family: an unsigned 64-bit number.
pub fn cursor_of(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 20 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}
