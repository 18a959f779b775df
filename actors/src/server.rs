//! What all actors of the process share: read-mostly state, addresses, counters.
//!
//! Invariant: nothing here guards keys; no guard or lock of this module is held across a send.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use actix::Addr;
use arc_swap::ArcSwap;
use skuld::commands::Table;
use skuld::config::Config;

use crate::access::Access;
use crate::append_only::AppendOnlyFile;
use crate::blocked::Blocked;
use crate::clients::Clients;
use crate::clock;
use crate::command_log::CommandLog;
use crate::envelope::tell;
use crate::eviction::Eviction;
use crate::evictor::Evictor;
use crate::expiry_scanner::ExpiryScanner;
use crate::export::Exports;
use crate::gossip::ClusterShared;
use crate::import_mode::ImportMode;
use crate::latency_monitor::LatencyMonitor;
use crate::listener::Listener;
use crate::migration::Migrations;
use crate::monitor::Monitors;
use crate::pause::Pause;
use crate::persistence::Persistence;
use crate::reaper::Reaper;
use crate::replication::Replication;
use crate::replication::link::ReplicaLink;
use crate::replication_log::ReplicationLog;
use crate::shard::Shard;
use crate::snapshotter::Snapshotter;
use crate::stats::Stats;
use crate::subscriptions::Subscriptions;
use crate::tls::Tls;
use crate::tracking::Tracking;
use crate::transaction::Watches;

/// The process-wide state, one per server.
pub struct Server {
    pub config: ArcSwap<Config>,
    pub table: &'static Table,
    pub clients: Clients,
    /// Users and their rights.
    pub access: Access,
    pub stats: Stats,
    pub command_log: CommandLog,
    pub latency: LatencyMonitor,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// The shards, in worker order; set once before the first connection is accepted.
    pub shards: OnceLock<Vec<Addr<Shard>>>,
    pub reaper: OnceLock<Addr<Reaper>>,
    pub replication_log: OnceLock<Addr<ReplicationLog>>,
    pub replica_link: OnceLock<Addr<ReplicaLink>>,
    pub listener: OnceLock<Addr<Listener>>,
    pub snapshotter: OnceLock<Addr<Snapshotter>>,
    pub expiry_scanner: OnceLock<Addr<ExpiryScanner>>,
    pub evictor: OnceLock<Addr<Evictor>>,
    pub append_only: OnceLock<Addr<AppendOnlyFile>>,
    /// Held while a unit's `Reserve` messages are enqueued, so that every shard sees units in the same order.
    pub unit_order: Mutex<()>,
    pub run_id: String,
    /// The id of this server's history of changes.
    pub replication_id: ArcSwap<String>,
    /// Held while the configuration is being changed, so that changes are made one after the other.
    pub config_change: tokio::sync::Mutex<()>,
    pub started_ms: i64,
    /// The configuration file, absolute, if one was given.
    pub config_file: Option<String>,
    pub executable: String,
    /// Unix milliseconds of the last successful save (LASTSAVE).
    pub last_save_ms: AtomicI64,
    /// Changes since the last save.
    pub dirty: AtomicU64,
    pub shutting_down: AtomicBool,
    /// What shards know of each other while memory is full.
    pub eviction: Eviction,
    /// Who is shown every command.
    pub monitors: Monitors,
    /// Who waits for which keys.
    pub blocked: Blocked,
    /// Scripts and libraries of functions.
    pub scripts: crate::scripting::Scripts,
    /// Snapshots and full syncs under way.
    pub exports: Exports,
    /// Saving and loading.
    pub persistence: Persistence,
    pub import_mode: ImportMode,
    /// Who watches which keys.
    pub watches: Arc<Watches>,
    /// Certificates and keys, if TLS is wanted.
    pub tls: Tls,
    /// Who has read which keys and caches them.
    pub tracking: Arc<Tracking>,
    /// Who is subscribed to which channels.
    pub subscriptions: Arc<Subscriptions>,
    /// Slot migrations: the log of jobs and those that run.
    pub migrations: Migrations,
    /// Role, who listens to effects, offsets.
    pub replication: Replication,
    pub shutdown: crate::shutdown::Shutdown,
    /// What the process becomes at its end (DEBUG RESTART).
    pub restart: Mutex<Option<std::process::Command>>,
    /// The cluster this node belongs to; None outside cluster mode. Set once at start.
    pub cluster: Option<Arc<ClusterShared>>,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// DEBUG PAUSE-CRON: looks around, and what signals ask for, wait.
    pub periodic_work_paused: AtomicBool,
    /// DEBUG SLEEP: until then nobody hears of this server, Unix milliseconds.
    asleep_until_ms: AtomicI64,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: scripts may call what is not meant for them.
    pub scripts_may_call_all: AtomicBool,
    /// Workers, fixed at start.
    pub workers: u16,
}

impl Server {
    /// The state of a server that is about to start its actors.
    pub fn new(config: Config, config_file: Option<String>, workers: u16, table: &'static Table) -> Self {
        Self {
            table,
            clients: Clients::default(),
            access: Access::default(),
            stats: Stats::new(workers),
            command_log: CommandLog::default(),
            latency: LatencyMonitor::default(),
            pause: Pause::default(),
            shards: OnceLock::new(),
            reaper: OnceLock::new(),
            replication_log: OnceLock::new(),
            replica_link: OnceLock::new(),
            listener: OnceLock::new(),
            snapshotter: OnceLock::new(),
            expiry_scanner: OnceLock::new(),
            evictor: OnceLock::new(),
            append_only: OnceLock::new(),
            unit_order: Mutex::new(()),
            run_id: crate::start::random_hex(20),
            replication_id: ArcSwap::from_pointee(crate::start::random_hex(20)),
            config_change: tokio::sync::Mutex::new(()),
            started_ms: clock::unix_ms(),
            config_file,
            executable: std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default(),
            last_save_ms: AtomicI64::new(clock::unix_ms()),
            dirty: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
            eviction: Eviction::new(workers),
            monitors: Monitors::default(),
            blocked: Blocked::new(workers),
            scripts: Default::default(),
            exports: Exports::default(),
            persistence: Persistence::default(),
            import_mode: ImportMode::default(),
            watches: Arc::default(),
            tls: Tls::default(),
            tracking: Arc::default(),
            subscriptions: Arc::default(),
            migrations: Migrations::default(),
            replication: Replication::default(),
            shutdown: crate::shutdown::Shutdown::default(),
            restart: Mutex::default(),
            cluster: None,
            active_expire: AtomicBool::new(true),
            periodic_work_paused: AtomicBool::new(false),
            asleep_until_ms: AtomicI64::new(0),
            scripts_may_call_all: AtomicBool::new(false),
            workers,
            config: ArcSwap::from_pointee(config),
        }
    }

    /// DEBUG SLEEP begins.
    pub fn sleep_for(&self, time: std::time::Duration) {
        let end = crate::clock::unix_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.asleep_until_ms.fetch_max(end, Ordering::Relaxed);
    }

    /// Whether it still lasts.
    pub fn is_asleep(&self) -> bool {
        crate::clock::unix_ms() < self.asleep_until_ms.load(Ordering::Relaxed)
    }

    pub fn shard(&self, index: u16) -> &Addr<Shard> {
        &self.shards.get().expect("set before the first connection")[usize::from(index)]
    }

    pub fn shards(&self) -> &[Addr<Shard>] {
        self.shards.get().expect("set before the first connection")
    }

    pub fn reaper(&self) -> &Addr<Reaper> {
        self.reaper.get().expect("set before the first shard runs")
    }

    /// Memory that `maxmemory` does not limit (`mem_not_counted_for_evict`): what waits for replicas and for the append-only
    /// file, bytes.
    pub fn memory_not_counted(&self) -> u64 {
        let unwritten = self.persistence.aof.buffered_bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.eviction.not_counted() + unwritten
    }

    pub fn expiry_scanner(&self) -> &Addr<ExpiryScanner> {
        self.expiry_scanner.get().expect("set before the first connection")
    }

    pub fn evictor(&self) -> &Addr<Evictor> {
        self.evictor.get().expect("set before the first connection")
    }

    pub fn listener(&self) -> &Addr<Listener> {
        self.listener.get().expect("set before the first connection")
    }

    pub fn append_only(&self) -> &Addr<AppendOnlyFile> {
        self.append_only.get().expect("set before the first connection")
    }

    pub fn snapshotter(&self) -> &Addr<Snapshotter> {
        self.snapshotter.get().expect("set before the first connection")
    }

    /// All databases were emptied by a command: a file of what was there before is not wanted any more. True if an empty
    /// one is being written: then no change is left to save.
    pub fn flushed_all(&self) -> bool {
        self.exports.flushed_all(self);
        let saves = !self.config.load().save.is_empty() && !self.persistence.is_loading();
        if saves {
            self.dirty.store(0, std::sync::atomic::Ordering::Relaxed);
            tell(self.snapshotter(), crate::snapshotter::SaveAfterFlush);
        }
        saves
    }

    pub fn replica_link(&self) -> &Addr<ReplicaLink> {
        self.replica_link.get().expect("set before the first shard runs")
    }

    pub fn replication_log(&self) -> &Addr<ReplicationLog> {
        self.replication_log.get().expect("set before the first shard runs")
    }
}

/// A shared handle to the server.
pub type ServerRef = Arc<Server>;
