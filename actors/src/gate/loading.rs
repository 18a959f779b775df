//! While data is being loaded, only commands that do not need it are served.

use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::{LOADING, NO_ASYNC_LOADING, WRITE};

use crate::server::Server;

const ENDING: CommandError = CommandError::fixed("ERR The server is shutting down");
const BUSY_LOADING: CommandError = CommandError::fixed("LOADING Valkey is loading the dataset in memory");

/// The refusal of a command, if there is one.
pub fn refusal(server: &Server, command: &Command) -> Option<CommandError> {
    if command.flags.has(WRITE) && server.shutting_down.load(Ordering::Relaxed) {
        return Some(ENDING);
    }
    let persistence = &server.persistence;
    let refused = (persistence.is_loading() && !command.flags.has(LOADING))
        || (persistence.is_async_loading() && command.flags.has(NO_ASYNC_LOADING));
    refused.then_some(BUSY_LOADING)
}
