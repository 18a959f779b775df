//! Ending: SHUTDOWN, SIGTERM, SIGINT.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::config::ShutdownFlags;

use crate::append_only::SyncAof;
use crate::envelope::tell;
use crate::persistence::loader::run_over_all;
use crate::persistence::save::{remove_temporary, save_at_once};
use crate::replication::farewell::wait_for_replicas;
use crate::server::ServerRef;
use crate::server_commands::{Outcome, Request};

/// Whether the data should outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// If there are save points.
    AsConfigured,
    Wanted,
    Unwanted,
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [ABORT].
pub async fn command(request: &mut Request) -> Outcome {
    let (mut save, mut nosave, mut abort, mut force, mut others) = (false, false, false, false, false);
    let mut now = false;
    for arg in &request.args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"force" => force = true,
            b"now" => now = true,
            b"safe" | b"failover" => others = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || force || now || others)) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        if !request.server.replication.farewell.abort() {
            return Err(CommandError::fixed("ERR No shutdown in progress."));
        }
        request.reply.ok();
        return Ok(());
    }
    if let Some(error) = request.server.scripts.shutdown_refusal().filter(|_| !nosave) {
        return Err(error);
    }
    tracing::info!("User requested shutdown...");
    let saving = match (save, nosave) {
        (true, _) => Saving::Wanted,
        (_, true) => Saving::Unwanted,
        _ => Saving::AsConfigured,
    };
    if now || wait_for_replicas(&request.server).await {
        finish(&request.server, saving, force).await;
    }
    Err(CommandError::fixed("ERR Errors trying to SHUTDOWN. Check logs."))
}

/// Waits for SIGTERM and SIGINT, and ends the process as they and the configuration say.
pub async fn wait_for_signals(server: &ServerRef) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("Cannot watch signals.");
        std::process::exit(1);
    };
    loop {
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
        let saving = if flags.has(ShutdownFlags::NOSAVE) {
            Saving::Unwanted
        } else if flags.has(ShutdownFlags::SAVE) {
            Saving::Wanted
        } else {
            Saving::AsConfigured
        };
        if flags.has(ShutdownFlags::NOW) || wait_for_replicas(server).await {
            finish(server, saving, flags.has(ShutdownFlags::FORCE)).await;
        }
        tracing::warn!(
            "SIGTERM received but errors trying to shut down the server, check the logs for more information"
        );
    }
}

/// Ends the process as asked: everything acknowledged is where the configuration promised it to be. Returns only if
/// that cannot be done.
pub async fn finish(server: &ServerRef, saving: Saving, force: bool) {
    let config = server.config.load_full();
    let saves = match saving {
        Saving::Wanted => true,
        Saving::Unwanted => false,
        Saving::AsConfigured => !config.save.is_empty(),
    };
    if server.persistence.is_loading() {
        end(server);
    }
    if server.persistence.aof.enabled.load(Ordering::Relaxed) {
        // Writes are refused from here on; what ran before is on its way to the file.
        server.shutting_down.store(true, Ordering::SeqCst);
        run_over_all(server, |_, _| ()).await;
        tracing::info!("Calling fsync() on the AOF file.");
        let (reply, synced) = tokio::sync::oneshot::channel();
        tell(server.append_only(), SyncAof { reply });
        let _ = synced.await;
    }
    if !saves {
        end(server);
    }
    // Nobody is served any more from here on, unless saving fails.
    let for_task = server.clone();
    run_over_all(server, move |keyspace, _| {
        let server = for_task;
        if server.persistence.saving.load(Ordering::Relaxed) {
            tracing::warn!("There is a child saving an .rdb. Killing it!");
        }
        tracing::info!("Saving the final RDB snapshot before exiting.");
        match save_at_once(&server, keyspace) {
            Ok(()) => end(&server),
            Err(_) if force => {
                tracing::warn!("Error trying to save the DB. Exit anyway.");
                end(&server);
            }
            Err(_) => tracing::warn!("Error trying to save the DB, can't exit."),
        }
    })
    .await;
    server.shutting_down.store(false, Ordering::SeqCst);
    tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
}

/// Tidies up and ends the process.
fn end(server: &ServerRef) -> ! {
    server.shutting_down.store(true, Ordering::Relaxed);
    let config = server.config.load();
    remove_temporary();
    crate::process::remove_pidfile(&config);
    if !config.unixsocket.is_empty() {
        tracing::info!("Removing the unix socket file.");
        let _ = std::fs::remove_file(&*config.unixsocket.to_str());
    }
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    std::process::exit(0);
}
