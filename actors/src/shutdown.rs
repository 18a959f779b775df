//! Ending: SHUTDOWN, SIGTERM, SIGINT.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::config::ShutdownFlags;

use crate::server::ServerRef;
use crate::server_commands::{Outcome, Request};

/// Whether the data should outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// If there are save points.
    AsConfigured,
    Unwanted,
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [ABORT].
pub async fn command(request: &mut Request) -> Outcome {
    let (mut save, mut nosave, mut abort, mut force, mut others) = (false, false, false, false, false);
    for arg in &request.args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"force" => force = true,
            b"now" | b"safe" | b"failover" => others = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || force || others)) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::fixed("ERR No shutdown in progress."));
    }
    tracing::info!("User requested shutdown...");
    if save && !force {
        // Ending all the same would lose what the client asked to keep.
        tracing::warn!("Snapshots are not available yet in this version of Skuld, can't exit.");
        return Err(CommandError::fixed("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    finish(&request.server, if nosave { Saving::Unwanted } else { Saving::AsConfigured });
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
    let flags = tokio::select! {
        _ = term.recv() => {
            crate::log::from_signal_handler("Received SIGTERM scheduling shutdown...");
            server.config.load().shutdown_on_sigterm
        }
        _ = int.recv() => {
            crate::log::from_signal_handler("Received SIGINT scheduling shutdown...");
            server.config.load().shutdown_on_sigint
        }
    };
    tracing::info!("User requested shutdown...");
    let unwanted = flags.has(ShutdownFlags::NOSAVE);
    finish(server, if unwanted { Saving::Unwanted } else { Saving::AsConfigured });
}

/// Ends the process as asked: everything acknowledged is where the configuration promised it to be.
pub fn finish(server: &ServerRef, saving: Saving) {
    server.shutting_down.store(true, Ordering::Relaxed);
    let config = server.config.load();
    if saving == Saving::AsConfigured && !config.save.is_empty() && server.dirty.load(Ordering::Relaxed) > 0 {
        tracing::warn!(
            "Save points are configured, but snapshots are not available yet in this version of Skuld: the data ends \
             with the process."
        );
    }
    crate::process::remove_pidfile(&config);
    if !config.unixsocket.is_empty() {
        tracing::info!("Removing the unix socket file.");
        let _ = std::fs::remove_file(&*config.unixsocket.to_str());
    }
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    std::process::exit(0);
}
