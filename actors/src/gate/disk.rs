//! Writes are refused while the disk does not take what the configuration promises to keep.

use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::WRITE;
use skuld::config::Config;

use crate::server::Server;

const SNAPSHOTS_FAIL: CommandError = CommandError::fixed(
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that \
     may modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Valkey logs for details about the RDB \
     error.",
);

/// The refusal of a write (or of PING, so that health checks notice), if there is one.
pub fn refusal(server: &Server, config: &Config, command: &Command) -> Option<CommandError> {
    if command.flags.has(WRITE) || command.name == "ping" { refusal_of_write(server, config) } else { None }
}

/// The refusal of anything that writes, if there is one.
pub fn refusal_of_write(server: &Server, config: &Config) -> Option<CommandError> {
    let (snapshots, appending) =
        (server.persistence.last_save_failed.load(Ordering::Relaxed), server.persistence.aof.has_failed());
    if !(snapshots || appending) {
        return None;
    }
    if snapshots && config.stop_writes_on_bgsave_error && !config.save.is_empty() {
        return Some(SNAPSHOTS_FAIL);
    }
    let reason = server.persistence.aof.failure()?;
    Some(CommandError::text(format!("MISCONF Errors writing to the AOF file: {reason}")))
}
