//! Ending: SHUTDOWN, SIGTERM, SIGINT.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;

use crate::server::ServerRef;
use crate::server_commands::{Outcome, Request};

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [ABORT].
pub async fn command(request: &mut Request) -> Outcome {
    let (mut save, mut nosave, mut abort, mut others) = (false, false, false, false);
    for arg in &request.args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"now" | b"force" | b"safe" | b"failover" => others = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || others)) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::fixed("ERR No shutdown in progress."));
    }
    tracing::info!("User requested shutdown...");
    finish(&request.server);
    Ok(())
}

/// Waits for SIGTERM and SIGINT, and ends the process as they and the configuration say.
pub async fn wait_for_signals(server: &ServerRef) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("Cannot watch signals.");
        std::process::exit(1);
    };
    tokio::select! {
        _ = term.recv() => crate::log::from_signal_handler("Received SIGTERM scheduling shutdown..."),
        _ = int.recv() => crate::log::from_signal_handler("Received SIGINT scheduling shutdown..."),
    }
    tracing::info!("User requested shutdown...");
    finish(server);
}

/// Ends the process as asked: everything acknowledged is where the configuration promised it to be.
pub fn finish(server: &ServerRef) {
    server.shutting_down.store(true, Ordering::Relaxed);
    let config = server.config.load();
    crate::process::remove_pidfile(&config);
    if !config.unixsocket.is_empty() {
        tracing::info!("Removing the unix socket file.");
        let _ = std::fs::remove_file(&*config.unixsocket.to_str());
    }
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    std::process::exit(0);
}
