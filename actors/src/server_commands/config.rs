//! CONFIG GET, SET, REWRITE, RESETSTAT, and what a new setting means to the running server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::config::rewrite::Additions;
use skuld::config::{Config, ProtectedAction, SetError, SetGuard, SetOutcome};
use skuld::session::Session;

use super::{Outcome, Request, ask_all_shards};
use crate::batch::Batch;
use crate::configure::os_text;
use crate::envelope::tell;
use crate::listener::Rebind;
use crate::server::{Server, ServerRef};
use crate::shard::Controlled;
use crate::{client_eviction, configure, crash, log, memory, proc_title, process, slow, tls};

/// Runs the subcommand.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    match request.command.spec.name {
        "config|get" => {
            let words: Vec<&[u8]> = request.args[2..].iter().map(Vec::as_slice).collect();
            let pairs = skuld::config::get(&request.server.config.load(), &words);
            request.reply.map(pairs.len());
            for (name, value) in pairs {
                request.reply.bulk(&name);
                request.reply.bulk(&value);
            }
            Ok(())
        }
        "config|set" => set(request, batch).await,
        "config|rewrite" => rewrite_file(request, Additions::Changed),
        "config|resetstat" => {
            request.server.stats.reset_shared();
            if let Some(cluster) = &request.server.cluster {
                cluster.slot_stats.reset();
                let reset = cluster.with(|machine, _, _| machine.stats = Default::default());
                if request.inside.is_none() {
                    reset.await;
                }
            }
            ask_all_shards(request, Controlled::ResetCounters).await;
            request.reply.ok();
            Ok(())
        }
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

/// Whether a guarded feature may be used by this client.
pub fn is_allowed(action: ProtectedAction, session: &Session) -> bool {
    match action {
        ProtectedAction::Yes => true,
        ProtectedAction::No => false,
        ProtectedAction::Local => is_local(session),
    }
}

fn is_local(session: &Session) -> bool {
    let address = session.peer.parse::<std::net::SocketAddr>();
    session.unix_socket || address.is_ok_and(|a| a.ip().to_canonical().is_loopback())
}

async fn set(request: &mut Request, batch: &Batch) -> Outcome {
    let server = request.server.clone();
    // One change at a time: each is made to the outcome of the one before.
    let _turn = server.config_change.lock().await;
    let old = server.config.load_full();
    let words: Vec<&[u8]> = request.args[2..].iter().map(Vec::as_slice).collect();
    let guard = SetGuard {
        loading: request.server.persistence.is_loading() || request.server.persistence.is_async_loading(),
        protected_allowed: is_allowed(old.enable_protected_configs, &batch.session),
    };
    let refused = |error: SetError| {
        // Nothing is ever loaded while clients are served, so there is always a line.
        CommandError::Bytes(
            error.line().unwrap_or_else(|| b"LOADING Valkey is loading the dataset in memory".to_vec()),
        )
    };
    let mut outcome = skuld::config::set(&old, &words, guard).map_err(refused)?;
    if outcome.config.maxmemory_auto && outcome.changes("maxmemory") {
        outcome.config.maxmemory = configure::auto_maxmemory();
    }
    // Refused even if it is set to what it is.
    let names_rdma = words.iter().step_by(2).any(|word| word.eq_ignore_ascii_case(b"rdma-bind"));
    let applied = if names_rdma {
        Err(("rdma-bind", "No RDMA building support.".to_owned()))
    } else {
        apply(&server, &old, &outcome).await
    };
    if let Err((name, reason)) = applied {
        tracing::warn!(
            "Failed applying new configuration. Possibly related to new {name} setting. Restoring previous settings."
        );
        // The client is told its own word for the directive.
        let named = request.args[2..]
            .iter()
            .step_by(2)
            .find(|word| skuld::config::find(word).is_some_and(|row| row.name == name));
        let name = named.map_or_else(|| name.as_bytes().to_vec(), Clone::clone);
        return Err(refused(SetError::Refused { name, reason }));
    }
    let smaller_than_used = outcome.changes("maxmemory") && outcome.config.maxmemory > 0;
    if smaller_than_used && outcome.config.maxmemory < memory::used() {
        tracing::warn!(
            "WARNING: the new maxmemory value set via CONFIG SET ({}) is smaller than the current memory usage \
             ({}). This will result in key eviction and/or the inability to accept new write commands depending on \
             the maxmemory-policy.",
            outcome.config.maxmemory,
            memory::used()
        );
    }
    if outcome.changes("dir") {
        configure::name_directory(&mut outcome.config);
    }
    if outcome.changes("requirepass") {
        server.access.set_default_password(outcome.config.requirepass.as_bytes());
    }
    let outcome_deletes_history =
        outcome.changes("aof-disable-auto-gc") && !outcome.config.aof_disable_auto_gc;
    let import_mode = outcome.config.import_mode;
    let other_names = old.lua_enable_insecure_api != outcome.config.lua_enable_insecure_api;
    let limits_clients = outcome.changes("maxmemory-clients") || outcome.changes("maxmemory");
    let limits_tracking = outcome.changes("tracking-table-max-keys");
    let appendonly = outcome.changes("appendonly").then_some(outcome.config.appendonly);
    server.config.store(Arc::new(outcome.config));
    if other_names {
        // Scripts see other names from now on. Libraries do when all of them are removed, as in Valkey.
        server.scripts.flush_scripts();
    }
    if import_mode != old.import_mode {
        crate::import_mode::announce(&server, import_mode);
    }
    if limits_clients {
        client_eviction::enforce(&server);
    }
    if outcome_deletes_history {
        super::persistence::delete_aof_history(request).await;
    }
    if limits_tracking {
        actix_rt::spawn(shrink_tracking(server.clone()));
    }
    if let Some(on) = appendonly
        && let Err(reason) = super::persistence::switch_aof(request, on).await
    {
        let mut restored = Config::clone(&server.config.load());
        restored.appendonly = !on;
        server.config.store(Arc::new(restored));
        return Err(refused(SetError::Refused { name: b"appendonly".to_vec(), reason }));
    }
    request.reply.ok();
    Ok(())
}

/// Brings the table of who has read what down to its new limit, when the reply has left. Whoever runs a command meanwhile
/// helps.
async fn shrink_tracking(server: ServerRef) {
    /// Between two visits.
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
    loop {
        tokio::time::sleep(PAUSE).await;
        let max = usize::try_from(server.config.load().tracking_table_max_keys).unwrap_or(usize::MAX);
        if server.periodic_work_paused.load(Ordering::Relaxed)
            || !server.tracking.shrink(&server.clients, max, None)
        {
            return;
        }
    }
}

/// Puts changed settings into effect that are more than a value to look up. What cannot fail comes last, so that a
/// refusal has little to undo.
///
/// # Errors
/// The directive that failed and why; everything is as before then.
async fn apply(
    server: &ServerRef,
    old: &Arc<Config>,
    outcome: &SetOutcome,
) -> Result<(), (&'static str, String)> {
    let new = &outcome.config;
    if outcome.changes("maxclients")
        && new.maxclients > old.maxclients
        && !process::files_suffice(new.maxclients)
    {
        let possible = process::possible_clients();
        return Err((
            "maxclients",
            format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ),
        ));
    }
    let tls_changed = skuld::config::TABLE
        .iter()
        .find(|row| row.name.starts_with("tls-") && row.name != "tls-port" && outcome.changes(row.name));
    let tls_begins = tls::is_wanted(new) && server.tls.current().is_none();
    if (tls::is_wanted(new) && tls_changed.is_some()) || tls_begins {
        server.tls.load(new).map_err(|reason| {
            tracing::warn!("{reason}");
            let name = tls_changed.map_or("tls-port", |row| row.name);
            (name, "Unable to update TLS configuration. Check server logs.".to_owned())
        })?;
    }
    let before_dir = std::env::current_dir().ok();
    if outcome.changes("dir")
        && let Err(e) = std::env::set_current_dir(&*new.dir.to_str())
    {
        return Err(("dir", os_text(&e)));
    }
    let undo_dir = || {
        if let (true, Some(dir)) = (outcome.changes("dir"), &before_dir) {
            let _ = std::env::set_current_dir(dir);
        }
    };
    let is_replica = server.replication.is_replica();
    let scores = outcome.changes("oom-score-adj") || outcome.changes("oom-score-adj-values");
    if scores && process::apply_oom_score(new, is_replica).is_err() {
        let _ = process::apply_oom_score(old, is_replica);
        undo_dir();
        let name = if outcome.changes("oom-score-adj") { "oom-score-adj" } else { "oom-score-adj-values" };
        return Err((name, "Failed to apply new oom_score_adj configuration, check server logs.".to_owned()));
    }
    if outcome.changes("port") || outcome.changes("bind") || outcome.changes("tls-port") {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let (new, old) = (Arc::new(new.clone()), old.clone());
        tell(server.listener(), Rebind { new, old: old.clone(), reply });
        if answer.await != Ok(true) {
            if scores {
                let _ = process::apply_oom_score(&old, is_replica);
            }
            undo_dir();
            return Err(if outcome.changes("bind") {
                ("bind", "Failed to bind to specified addresses.".to_owned())
            } else if outcome.changes("tls-port") {
                ("tls-port", "Unable to listen on this port. Check server logs.".to_owned())
            } else {
                ("port", "Unable to listen on this port. Check server logs.".to_owned())
            });
        }
    }
    log::apply(new);
    if outcome.changes("jemalloc-bg-thread") {
        memory::run_background_threads(new.jemalloc_bg_thread);
    }
    crash::apply(new);
    slow::watch(new.watchdog_period);
    if outcome.changes("proc-title-template") || outcome.changes("port") || outcome.changes("bind") {
        proc_title::apply(new);
    }
    Ok(())
}

/// CONFIG REWRITE: the file with the settings of now, replaced in one step so that it is never half-written.
pub fn rewrite_file(request: &mut Request, additions: Additions) -> Outcome {
    let server = &request.server;
    let Some(path) = &server.config_file else {
        return Err(CommandError::fixed("ERR The server is running without a config file"));
    };
    match replace_file(server, path, additions) {
        Ok(()) => {
            tracing::info!("CONFIG REWRITE executed with success.");
            request.reply.ok();
            Ok(())
        }
        Err(e) => {
            let reason = os_text(&e);
            tracing::warn!("CONFIG REWRITE failed: {reason}");
            Err(CommandError::text(format!("ERR Rewriting config file: {reason}")))
        }
    }
}

fn replace_file(server: &Server, path: &str, additions: Additions) -> std::io::Result<()> {
    use std::io::Write;
    let old = match std::fs::read(path) {
        Ok(old) => old,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    let config = server.config.load();
    // Users that live in a file of their own are written by ACL SAVE.
    let users = if config.aclfile.is_empty() { server.access.current().lines() } else { Vec::new() };
    let text = skuld::config::rewrite(&old, &config, Some(&users), additions);
    let temporary = format!("{path}.{}.{}", std::process::id(), server.started_ms);
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        // The new file is as readable as the old one.
        if let Ok(before) = std::fs::metadata(path) {
            file.set_permissions(before.permissions())?;
        }
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let directory = std::path::Path::new(path).parent();
        directory.map_or(Ok(()), |d| std::fs::File::open(d).and_then(|d| d.sync_all()))
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
