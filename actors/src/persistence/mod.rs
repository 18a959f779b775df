//! Saving and loading: what INFO shows of it and what commands are refused because of it.
//!
//! - [`rdb_stream`]: an export as the bytes of an RDB file
//! - [`loader`]: an RDB file, or its bytes from anywhere, as the keys of all shards
//! - [`save`]: files on disk

pub mod loader;
pub mod rdb_stream;
pub mod save;
pub mod start;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use skuld::rdb::DecodeError;

use crate::append_only::state::AofState;

/// Says why a serialized value was refused, for those who look for it at level verbose. That it ends too early, or is
/// empty, is not worth a line.
pub fn say_refused(reason: &DecodeError) {
    if !matches!(reason, DecodeError::Truncated | DecodeError::Empty) {
        tracing::debug!("Internal error in RDB reading offset 0, function at rdb.c:0 -> {reason}");
    }
}

/// State of saving and loading that commands and INFO read.
pub struct Persistence {
    /// Data is being loaded: most commands are refused.
    loading: AtomicBool,
    /// A data set is being loaded beside the one that is served.
    async_loading: AtomicBool,
    pub load: LoadProgress,
    /// Of the last load.
    pub keys_loaded: AtomicU64,
    pub keys_expired: AtomicU64,
    /// A snapshot is being saved in the background.
    pub saving: AtomicBool,
    pub save_started_ms: AtomicI64,
    pub save_keys_total: AtomicU64,
    pub save_keys_done: AtomicU64,
    pub last_save_failed: AtomicBool,
    /// A snapshot for replicas is being made; INFO shows it as a save.
    pub syncing: AtomicBool,
    /// Saves, snapshots for replicas and rewrites so far.
    pub exports_begun: AtomicU64,
    /// Seconds the last background save took; -1 if there was none.
    pub last_save_seconds: AtomicI64,
    pub saves: AtomicU64,
    /// Most bytes the last save held because of writes and waiting for the disk.
    pub last_save_held: AtomicU64,
    /// BGSAVE SCHEDULE waits for its turn.
    pub save_scheduled: AtomicBool,
    pub aof: AofState,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            loading: AtomicBool::new(false),
            async_loading: AtomicBool::new(false),
            load: LoadProgress::default(),
            keys_loaded: AtomicU64::new(0),
            keys_expired: AtomicU64::new(0),
            saving: AtomicBool::new(false),
            save_started_ms: AtomicI64::new(0),
            save_keys_total: AtomicU64::new(0),
            save_keys_done: AtomicU64::new(0),
            last_save_failed: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            exports_begun: AtomicU64::new(0),
            last_save_seconds: AtomicI64::new(-1),
            saves: AtomicU64::new(0),
            last_save_held: AtomicU64::new(0),
            save_scheduled: AtomicBool::new(false),
            aof: AofState::default(),
        }
    }
}

/// How far a load is.
#[derive(Debug, Default)]
pub struct LoadProgress {
    /// Unix milliseconds.
    pub started_ms: AtomicI64,
    pub total_bytes: AtomicU64,
    pub loaded_bytes: AtomicU64,
    /// Memory in use when the file was written, as it says.
    pub used_memory: AtomicU64,
}

impl Persistence {
    /// A save, or a snapshot for replicas, begins: INFO shows how far it is.
    pub fn begin_save(&self, started_ms: i64) {
        self.save_keys_done.store(0, Ordering::Relaxed);
        self.save_keys_total.store(0, Ordering::Relaxed);
        self.save_started_ms.store(started_ms, Ordering::Relaxed);
        self.exports_begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether data is being loaded and the keyspace must not be touched by clients.
    #[inline]
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Relaxed)
    }

    /// Begins to refuse commands, for a load of so many bytes (0 if that is not known).
    pub fn begin_loading(&self, total_bytes: u64) {
        self.begin_progress(total_bytes);
        self.loading.store(true, Ordering::Release);
    }

    /// Whether a data set is being loaded that will take the place of the one that is served meanwhile.
    #[inline]
    pub fn is_async_loading(&self) -> bool {
        self.async_loading.load(Ordering::Relaxed)
    }

    /// The same while the old data are served: only what would get in the way is refused.
    pub fn begin_async_loading(&self, total_bytes: u64) {
        self.begin_progress(total_bytes);
        self.async_loading.store(true, Ordering::Release);
    }

    fn begin_progress(&self, total_bytes: u64) {
        self.load.started_ms.store(crate::clock::unix_ms(), Ordering::Relaxed);
        self.load.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.load.loaded_bytes.store(0, Ordering::Relaxed);
        self.load.used_memory.store(0, Ordering::Relaxed);
    }

    pub fn end_loading(&self) {
        self.loading.store(false, Ordering::Release);
        self.async_loading.store(false, Ordering::Release);
    }
}
