//! While data is being loaded, only commands that do not need it are served.

use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::{LOADING, WRITE};

use crate::server::Server;

const ENDING: CommandError = CommandError::fixed("ERR The server is shutting down");
const BUSY_LOADING: CommandError = CommandError::fixed("LOADING Valkey is loading the dataset in memory");

/// The refusal of a command, if there is one.
pub fn refusal(server: &Server, command: &Command) -> Option<CommandError> {
    if command.flags.has(WRITE) && server.shutting_down.load(Ordering::Relaxed) {
        return Some(ENDING);
    }
    (server.persistence.is_loading() && !command.flags.has(LOADING)).then_some(BUSY_LOADING)
}
