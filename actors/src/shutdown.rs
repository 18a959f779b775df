//! Ending: SHUTDOWN, SIGTERM, SIGINT.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use skuld::cluster::Role;
use skuld::commands::context::CommandError;
use skuld::config::ShutdownFlags;
use tokio::sync::{oneshot, watch};

use crate::append_only::SyncAof;
use crate::batch::Batch;
use crate::blocked::{self, Awaited, Waited};
use crate::clock;
use crate::envelope::tell;
use crate::pause::Paused;
use crate::persistence::loader::run_over_all;
use crate::persistence::rdb_stream::HistoryMark;
use crate::persistence::save::{remove_temporary, save_at_once};
use crate::replication::farewell::{hand_over, wait_for_replicas};
use crate::replication::hold_stream;
use crate::replication_log::DescribePosition;
use crate::server::ServerRef;
use crate::server_commands::client::short_line;
use crate::server_commands::{Outcome, Request, tell_all_shards};
use crate::shard::Controlled;

/// Whether the data should outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// If there are save points.
    AsConfigured,
    Wanted,
    Unwanted,
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [ABORT].
pub async fn command(request: &mut Request, batch: &mut Batch) -> Outcome {
    let (mut save, mut nosave, mut abort) = (false, false, false);
    let mut leaving = Leaving::default();
    for arg in &request.args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"force" => leaving.force = true,
            b"now" => leaving.now = true,
            b"safe" => leaving.safe = true,
            b"failover" => leaving.failover = true,
            b"abort" => abort = true,
            _ => return Err(CommandError::Syntax),
        }
    }
    if (abort && (save || nosave || leaving != Leaving::default())) || (save && nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        if !request.server.replication.farewell.abort() {
            return Err(CommandError::fixed("ERR No shutdown in progress."));
        }
        request.reply.ok();
        return Ok(());
    }
    if leaving.failover && request.server.cluster.is_none() {
        return Err(CommandError::fixed("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    if let Some(error) = request.server.scripts.shutdown_refusal().filter(|_| !nosave) {
        return Err(error);
    }
    let saving = match (save, nosave) {
        (true, _) => Saving::Wanted,
        (_, true) => Saving::Unwanted,
        _ => Saving::AsConfigured,
    };
    if request.is_inside() && !leaving.now {
        return Err(CommandError::fixed(
            "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client",
        ));
    }
    let by = short_line(&request.server, &batch.shared);
    let mut failed = begin(&request.server, saving, leaving, &format!(" (user request from '{by}')"));
    let failure = async move {
        // The sender is dropped only when all have been told.
        let _ = failed.wait_for(|failed| *failed).await;
    };
    if request.is_inside() {
        failure.await;
    } else if let Waited::Refused(error) =
        blocked::wait_outside(request, batch, Awaited::Outside, 0, failure).await
    {
        return Err(error);
    }
    Err(CommandError::fixed("ERR Errors trying to SHUTDOWN. Check logs."))
}

/// Begins to end the process, unless that is under way: then this asks for nothing more. The receiver is told if it
/// fails or is called off.
fn begin(server: &ServerRef, saving: Saving, leaving: Leaving, by: &str) -> watch::Receiver<bool> {
    let mut under_way = server.shutdown.under_way();
    if let Some(sender) = &*under_way {
        return sender.subscribe();
    }
    tracing::info!("User requested shutdown...{by}");
    let (sender, failed) = watch::channel(false);
    *under_way = Some(sender);
    drop(under_way);
    let server = server.clone();
    actix_rt::spawn(async move {
        if leaving.now || wait_for_replicas(&server).await {
            leave(&server, saving, leaving).await;
        }
        if let Some(sender) = server.shutdown.under_way().take() {
            // Nobody may wait for it.
            let _ = sender.send(true);
        }
    });
    failed
}

/// The end of the process under way, if there is one.
#[derive(Default)]
pub struct Shutdown(Mutex<Option<watch::Sender<bool>>>);

impl Shutdown {
    fn under_way(&self) -> std::sync::MutexGuard<'_, Option<watch::Sender<bool>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Waits for SIGTERM and SIGINT, and ends the process as they and the configuration say.
pub async fn wait_for_signals(server: &ServerRef) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("Cannot watch signals.");
        std::process::exit(1);
    };
    let Ok(mut alarm) = signal(SignalKind::alarm()) else { std::process::exit(1) };
    loop {
        let flags = tokio::select! {
            _ = alarm.recv() => {
                // It asks what goes on, and must not end the process.
                crate::log::from_signal_handler("Received SIGALRM");
                crate::crash::report_threads();
                continue;
            }
            _ = term.recv() => {
                crate::log::from_signal_handler("Received SIGTERM scheduling shutdown...");
                server.config.load().shutdown_on_sigterm
            }
            _ = int.recv() => {
                crate::log::from_signal_handler("Received SIGINT scheduling shutdown...");
                server.config.load().shutdown_on_sigint
            }
        };
        if !server.replication.farewell.wait_for_periodic_work(server).await {
            continue;
        }
        let saving = if flags.has(ShutdownFlags::NOSAVE) {
            Saving::Unwanted
        } else if flags.has(ShutdownFlags::SAVE) {
            Saving::Wanted
        } else {
            Saving::AsConfigured
        };
        let leaving = Leaving {
            now: flags.has(ShutdownFlags::NOW),
            force: flags.has(ShutdownFlags::FORCE),
            safe: flags.has(ShutdownFlags::SAFE),
            failover: flags.has(ShutdownFlags::FAILOVER) && server.cluster.is_some(),
        };
        let mut failed = begin(server, saving, leaving, "");
        let watching = end_at_another_interrupt();
        actix_rt::spawn(async move {
            // The sender is dropped only when all have been told.
            let _ = failed.wait_for(|failed| *failed).await;
            drop(watching);
            tracing::warn!(
                "SIGTERM received but errors trying to shut down the server, check the logs for more information"
            );
        });
    }
}

/// While the returned value lives, SIGINT ends the process at once. A thread of its own watches, since saving may keep all
/// others busy.
fn end_at_another_interrupt() -> oneshot::Sender<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (watching, over) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
            tokio::select! {
                _ = over => {}
                _ = interrupt.recv() => {
                    crate::log::from_signal_handler("You insist... exiting now.");
                    remove_temporary();
                    std::process::exit(1);
                }
            }
        });
    });
    watching
}

/// How a process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Leaving {
    /// Without waiting for replicas.
    now: bool,
    /// Nothing prevents it.
    force: bool,
    /// But not if this is a primary that votes.
    safe: bool,
    /// A replica is told to take over.
    failover: bool,
}

/// Ends the process if the cluster can do without it. Returns only if it goes on.
async fn leave(server: &ServerRef, saving: Saving, leaving: Leaving) {
    let Leaving { force, safe, failover, .. } = leaving;
    let votes = server.cluster.as_ref().is_some_and(|cluster| {
        let topology = cluster.topology();
        topology.me().role == Role::Primary && topology.me().slots > 0
    });
    if safe && votes {
        const WHAT: &str = "This is a voting primary. Shutting down may cause the cluster to go down.";
        if !force {
            tracing::warn!("{WHAT} Can't exit.");
            return called_off(server).await;
        }
        tracing::warn!("{WHAT} Exit anyway.");
    }
    if failover {
        hand_over(server).await;
    }
    if let Some(cluster) = &server.cluster {
        tracing::info!("Saving the cluster configuration file before exiting.");
        cluster.with(|machine, _, _| machine.save_now()).await;
    }
    finish(server, saving, force).await;
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
    let aof = &server.persistence.aof;
    let appends = aof.is_on();
    if appends && (aof.enabling.load(Ordering::Relaxed) || !aof.has_base.load(Ordering::Relaxed)) {
        if !force {
            tracing::warn!("Writing initial AOF, can't exit.");
            return called_off(server).await;
        }
        tracing::warn!("Writing initial AOF. Exit anyway.");
    }
    if appends || saves {
        // Nothing changes any more; what ran before is on its way to the file.
        server.pause.begin(Paused::Writes, clock::unix_ms() + AN_HOUR_MS);
        server.replication.stream_stands_still.store(true, Ordering::Release);
        tell_all_shards(server, Controlled::ConfirmPause).await;
        run_over_all(server, |_, _| ()).await;
    }
    if appends {
        if aof.rewriting.load(Ordering::Relaxed) {
            tracing::warn!("There is a child rewriting the AOF. Killing it!");
        }
        tracing::info!("Calling fsync() on the AOF file.");
        let (reply, synced) = oneshot::channel();
        tell(server.append_only(), SyncAof { reply });
        let _ = synced.await;
    }
    if !saves {
        end(server);
    }
    let held = hold_stream(server).await;
    let (reply, position) = oneshot::channel();
    tell(server.replication_log(), DescribePosition { reply });
    let mark = position.await.ok().and_then(|position| HistoryMark::of(server, position, held.as_ref()));
    // Nobody is served any more from here on, unless saving fails.
    let for_task = server.clone();
    run_over_all(server, move |keyspace, _| {
        let server = for_task;
        if server.persistence.saving.load(Ordering::Relaxed) {
            tracing::warn!("There is a child saving an .rdb. Killing it!");
        }
        tracing::info!("Saving the final RDB snapshot before exiting.");
        match save_at_once(&server, keyspace, mark.as_ref()) {
            Ok(()) => end(&server),
            Err(_) if force => {
                tracing::warn!("Error trying to save the DB. Exit anyway.");
                end(&server);
            }
            Err(_) => tracing::warn!("Error trying to save the DB, can't exit."),
        }
    })
    .await;
    drop(held);
    called_off(server).await;
}

/// A pause that nobody sees the end of.
const AN_HOUR_MS: i64 = 3_600_000;

/// The process goes on after all.
async fn called_off(server: &ServerRef) {
    server.replication.stream_stands_still.store(false, Ordering::Release);
    server.pause.end();
    tell_all_shards(server, Controlled::EndPause).await;
    tracing::warn!("Errors trying to shut down the server. Check the logs for more information.");
}

/// Tidies up and ends the process.
fn end(server: &ServerRef) -> ! {
    server.shutting_down.store(true, Ordering::Relaxed);
    let config = server.config.load();
    server.scripts.debugged_apart.kill();
    remove_temporary();
    crate::process::remove_pidfile(&config);
    if !config.unixsocket.is_empty() {
        tracing::info!("Removing the unix socket file.");
        let _ = std::fs::remove_file(&*config.unixsocket.to_str());
    }
    tracing::warn!("Valkey is now ready to exit, bye bye...");
    let next = server.restart.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(mut command) = next {
        use std::os::unix::process::CommandExt;
        // Returns only if it fails.
        tracing::warn!("Restarting failed: {}", command.exec());
        std::process::exit(1);
    }
    std::process::exit(0);
}
