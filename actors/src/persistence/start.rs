//! Loading at the start of the process, and DEBUG RELOAD.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use skuld::cluster::Role;
use skuld::keyspace::Keyspace;
use skuld::rdb::DecodeError;
use skuld::rdb::file::FileError;
use skuld::replication::history::NAME_LENGTH;

use super::loader::{self, Install, InstallError, LoadError, LoadRules, Loaded};
use super::save::{save_at_once, snapshot_path};
use crate::append_only;
use crate::check;
use crate::clock;
use crate::configure::os_text;
use crate::envelope::tell;
use crate::executor::Executor;
use crate::memory;
use crate::migration::restore;
use crate::replication::link::Have;
use crate::replication_log::HistoryRestored;
use crate::server::ServerRef;

/// Loads what the configuration says there is; ends the process if it cannot be loaded. Returns where in its primary's
/// history a replica that was saved to a file may go on.
pub async fn load_at_start(server: &ServerRef) -> Option<Have> {
    let started = Instant::now();
    if append_only::open_at_start(server).await {
        server.stats.startup_memory.store(memory::used(), Ordering::Relaxed);
        return None;
    }
    let config = server.config.load_full();
    let path = snapshot_path(&config);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            server.persistence.end_loading();
            return None;
        }
        Err(e) => {
            tracing::warn!(
                "Fatal error: can't open the RDB file {} for reading: {}",
                path.display(),
                os_text(&e)
            );
            std::process::exit(1);
        }
    };
    // A replica's keys expire when its primary says so.
    let is_replica = config.replicaof.is_some()
        || server.cluster.as_ref().is_some_and(|cluster| cluster.topology().me().role == Role::Replica);
    let rules = LoadRules {
        drop_expired_before: (!is_replica).then(clock::unix_ms),
        show_progress: true,
        skip_checksum: false,
        ids_after: Vec::new(),
        remember_dropped: !is_replica,
    };
    let have;
    match load_file(server, file, rules).await {
        Ok(mut loaded) => {
            say_loaded(&loaded);
            have = history_of(&loaded);
            let dropped = std::mem::take(&mut loaded.dropped);
            if let Some(Have { history, offset, db }) = have.clone() {
                let dropped = (!is_replica).then_some(dropped);
                tell(server.replication_log(), HistoryRestored { name: history, offset, db, dropped });
            }
            if let Err(reason) = loader::install(server, loaded, Install::Replace).await {
                tracing::warn!("Failed loading {}: {reason}", path.display());
                std::process::exit(1);
            }
        }
        Err(error) => {
            let file = path.display().to_string();
            explain(&error, &file);
            if matches!(error, LoadError::File { error: FileError::Value(_), .. }) {
                // What a check of the file finds stands beside the log, as with Valkey.
                let _ = tokio::task::spawn_blocking(move || check::rdb("", &[file])).await;
                tracing::warn!("Terminating server after rdb file reading failure.");
            }
            std::process::exit(1);
        }
    }
    // Loading is no change.
    server.dirty.store(0, Ordering::Relaxed);
    server.persistence.end_loading();
    tracing::info!("DB loaded from disk: {:.3} seconds", started.elapsed().as_secs_f64());
    server.stats.startup_memory.store(memory::used(), Ordering::Relaxed);
    have
}

/// The place in a history that the head of a file names.
fn history_of(loaded: &Loaded) -> Option<Have> {
    let text = |name: &[u8]| loaded.aux(name).and_then(|value| std::str::from_utf8(value).ok());
    let history = text(b"repl-id").filter(|name| name.len() == NAME_LENGTH)?;
    let offset: i64 = text(b"repl-offset")?.parse().ok().filter(|offset| *offset >= 0)?;
    let db = text(b"repl-stream-db").and_then(|db| db.parse().ok()).unwrap_or(0);
    Some(Have { history: history.to_owned(), offset, db })
}

async fn load_file(server: &ServerRef, file: File, rules: LoadRules) -> Result<Loaded, LoadError> {
    let bytes = file.metadata().map_or(0, |m| m.len());
    server.persistence.begin_loading(bytes);
    loader::load_in_thread(server, file, rules, Arc::default()).await.0
}

/// The line about a load that tools look for.
pub fn say_loaded(loaded: &Loaded) {
    if loaded.keys_skipped > 0 {
        tracing::info!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}, all fields expired hashes: {}.",
            loaded.keys_loaded,
            loaded.keys_expired,
            loaded.keys_skipped,
            loaded.hashes_expired
        );
    } else {
        tracing::info!(
            "Done loading RDB, keys loaded: {}, keys expired: {}, all fields expired hashes: {}.",
            loaded.keys_loaded,
            loaded.keys_expired,
            loaded.hashes_expired
        );
    }
}

/// Says in the log why a file was refused, in the words tools look for and with the place.
pub fn explain(error: &LoadError, file: &str) {
    let whole = error;
    match error {
        LoadError::File { error: FileError::Value(DecodeError::Truncated), offset } => {
            tracing::warn!(
                "Internal error in RDB reading offset {offset}, function at rdb.c:0 -> Unexpected EOF reading RDB file"
            );
            tracing::warn!("Short read or OOM loading DB. Unrecoverable error, aborting now.");
        }
        LoadError::File { error: FileError::Value(DecodeError::Module(name)), offset } => {
            tracing::warn!(
                "Internal error in RDB reading offset {offset}, function at rdb.c:0 -> The RDB file contains module data \
                 I can't load: no matching module type '{name}'"
            );
        }
        LoadError::File {
            error: error @ (FileError::Signature | FileError::Version(_) | FileError::Checksum { .. }),
            ..
        } => {
            tracing::warn!("{error}");
            if let (FileError::Checksum { .. }, LoadError::File { offset, .. }) = (error, whole) {
                tracing::warn!(
                    "Internal error in RDB reading offset {offset}, function at rdb.c:0 -> RDB CRC error"
                );
            }
        }
        LoadError::File { error, offset } => {
            tracing::warn!("Internal error in RDB reading offset {offset}, function at rdb.c:0 -> {error}");
            tracing::warn!("Short read or OOM loading DB. Unrecoverable error, aborting now.");
        }
        LoadError::Duplicate { key, db, offset } => {
            tracing::warn!(
                "Internal error in RDB reading offset {offset}, function at rdb.c:0 -> RDB has duplicated key '{}' in DB {db}",
                String::from_utf8_lossy(key)
            );
        }
        LoadError::Database { databases, .. } => {
            tracing::warn!(
                "FATAL: Data file was created with a Valkey server configured to handle more than {databases} databases. \
                 Exiting"
            );
        }
        LoadError::Read(e) => tracing::warn!("Error reading {file}: {}", os_text(e)),
        LoadError::Cancelled => {}
    }
    tracing::warn!("The file {file} was not loaded. --check-rdb {file} tells more. Nothing of it is served.");
}

/// What DEBUG RELOAD is to do.
#[derive(Clone, Copy, Debug)]
pub struct Reload {
    /// Save first.
    pub save: bool,
    pub how: Install,
}

/// Why nothing was reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadError {
    Save,
    Load,
}

/// DEBUG RELOAD. What is saved is what is loaded again: nobody writes in between. A short file is loaded while all slots
/// are held; during a long load clients are told that the server is loading.
pub async fn reload(server: &ServerRef, reload: Reload) -> Result<(), ReloadError> {
    if reload.how == Install::Replace {
        restore::data_replaced(server, false).await;
    }
    let for_task = server.clone();
    let at_once = loader::run_over_all(server, move |keyspace, executor| {
        let server = for_task;
        if reload.save && save_at_once(&server, keyspace, None).is_err() {
            return Some(Err(ReloadError::Save));
        }
        let config = server.config.load_full();
        let bytes = std::fs::metadata(snapshot_path(&config)).map_or(0, |m| m.len());
        if config.key_load_delay != 0 || bytes >= config.loading_process_events_interval_bytes.max(0) as u64 {
            server.persistence.begin_loading(bytes);
            return None;
        }
        Some(load_here(&server, keyspace, executor, reload.how))
    })
    .await;
    if let Some(outcome) = at_once {
        return outcome;
    }
    let outcome = reload_in_background(server, reload.how).await;
    server.persistence.end_loading();
    outcome
}

/// [`reload`] for whoever holds all slots already: inside a transaction, where nothing comes in between, also with a long
/// file.
pub fn reload_here(
    server: &ServerRef,
    keyspace: &mut Keyspace,
    executor: &mut Executor,
    reload: Reload,
) -> Result<(), ReloadError> {
    if reload.save && save_at_once(server, keyspace, None).is_err() {
        return Err(ReloadError::Save);
    }
    load_here(server, keyspace, executor, reload.how)
}

fn load_here(
    server: &ServerRef,
    keyspace: &mut Keyspace,
    executor: &mut Executor,
    how: Install,
) -> Result<(), ReloadError> {
    let config = server.config.load_full();
    let path = snapshot_path(&config);
    let databases = config.databases;
    let ids_after = keyspace.parts_mut().iter_mut().map(|part| part.reserve_ids(databases)).collect();
    let mut file = open_snapshot(&path).map_err(|()| ReloadError::Load)?;
    let rules = rules_of_reload(ids_after);
    let loaded = loader::load(server, &mut file, &rules, &AtomicBool::new(false)).map_err(|error| {
        explain(&error, &path.display().to_string());
        ReloadError::Load
    })?;
    say_loaded(&loaded);
    loader::install_here(server, keyspace, executor, loaded, how).map_err(not_installed)
}

fn rules_of_reload(ids_after: Vec<u32>) -> LoadRules {
    LoadRules {
        drop_expired_before: Some(clock::unix_ms()),
        show_progress: true,
        skip_checksum: false,
        ids_after,
        remember_dropped: false,
    }
}

fn open_snapshot(path: &Path) -> Result<File, ()> {
    File::open(path).map_err(|e| {
        tracing::warn!(
            "Fatal error: can't open the RDB file {} for reading: {}",
            path.display(),
            os_text(&e)
        );
    })
}

async fn reload_in_background(server: &ServerRef, how: Install) -> Result<(), ReloadError> {
    let path = snapshot_path(&server.config.load());
    let file = open_snapshot(&path).map_err(|()| ReloadError::Load)?;
    let ids_after = loader::reserve_ids(server).await;
    let (result, _) = loader::load_in_thread(server, file, rules_of_reload(ids_after), Arc::default()).await;
    let loaded = result.map_err(|error| {
        explain(&error, &path.display().to_string());
        ReloadError::Load
    })?;
    say_loaded(&loaded);
    loader::install(server, loaded, how).await.map_err(not_installed)
}

fn not_installed(error: InstallError) -> ReloadError {
    tracing::warn!("Failed reloading: {error}");
    ReloadError::Load
}
