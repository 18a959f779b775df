//! Counters behind INFO, COMMANDLOG and LATENCY.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::envelope::Histogram;

/// Figures of one command on one shard; that shard is the only writer.
#[derive(Debug, Default)]
pub struct CommandStats {
    pub calls: AtomicU64,
    pub nanos: AtomicU64,
    pub rejected: AtomicU64,
    pub failed: AtomicU64,
    /// Run times, made at the first call.
    pub latency: std::sync::OnceLock<Histogram>,
}

/// Adds to a counter that has a single writer.
#[inline]
pub fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl CommandStats {
    #[inline]
    pub fn record(&self, nanos: u64, track_latency: bool) {
        bump(&self.calls, 1);
        bump(&self.nanos, nanos);
        if track_latency {
            self.latency.get_or_init(Histogram::default).record(nanos);
        }
    }

    pub fn reset(&self) {
        for c in [&self.calls, &self.nanos, &self.rejected, &self.failed] {
            c.store(0, Ordering::Relaxed);
        }
        if let Some(latency) = self.latency.get() {
            latency.reset();
        }
    }
}

/// Process-wide counters, named as INFO names them. Written by several threads.
#[derive(Debug, Default)]
pub struct Stats {
    pub total_connections_received: AtomicU64,
    pub rejected_connections: AtomicU64,
    pub total_commands_processed: AtomicU64,
    pub total_net_input_bytes: AtomicU64,
    pub total_net_output_bytes: AtomicU64,
    pub total_reads_processed: AtomicU64,
    pub total_writes_processed: AtomicU64,
    pub keyspace_hits: AtomicU64,
    pub keyspace_misses: AtomicU64,
    pub expired_keys: AtomicU64,
    pub expired_fields: AtomicU64,
    pub evicted_keys: AtomicU64,
    pub evicted_clients: AtomicU64,
    pub total_error_replies: AtomicU64,
    pub unexpected_error_replies: AtomicU64,
    pub acl_access_denied_auth: AtomicU64,
    pub client_query_buffer_limit_disconnections: AtomicU64,
    pub client_output_buffer_limit_disconnections: AtomicU64,
    pub expired_time_cap_reached: AtomicU64,
    pub expire_cycle_micros: AtomicU64,
    pub lazyfree_pending_objects: AtomicU64,
    pub lazyfreed_objects: AtomicU64,
    pub dump_payload_sanitizations: AtomicU64,
    /// Highest `used_memory` seen, bytes.
    pub peak_memory: AtomicU64,
    /// `used_memory` once the server was up, bytes.
    pub startup_memory: AtomicU64,
    /// Error replies by code word (errorstats).
    pub errors: DashMap<String, u64>,
    /// Per command id, for the commands that connections run.
    pub server_commands: Vec<CommandStats>,
    /// Per shard, per command id.
    pub commands: Vec<std::sync::Arc<[CommandStats]>>,
}

/// Most code words kept in errorstats; beyond it Valkey stops and says so, since scripts can invent them.
pub const ERROR_CODES_MAX: usize = 128;

impl Stats {
    /// Counters for a server with so many shards.
    pub fn new(workers: u16) -> Self {
        let table = || (0..skuld::commands::COMMAND_COUNT).map(|_| CommandStats::default());
        Self {
            server_commands: table().collect(),
            commands: (0..workers).map(|_| table().collect()).collect(),
            ..Self::default()
        }
    }

    /// The figures that one shard writes.
    pub fn commands_of(&self, shard: u16) -> std::sync::Arc<[CommandStats]> {
        self.commands[usize::from(shard)].clone()
    }

    /// Counts a command that a connection ran itself. Several threads may do that, so the adds are atomic.
    pub fn record_server_command(&self, command: usize, nanos: u64, failed: bool) {
        let Some(stats) = self.server_commands.get(command) else { return };
        stats.calls.fetch_add(1, Ordering::Relaxed);
        stats.nanos.fetch_add(nanos, Ordering::Relaxed);
        stats.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// Counts an error reply by its first word.
    pub fn count_error(&self, line: &[u8]) {
        self.total_error_replies.fetch_add(1, Ordering::Relaxed);
        let code = line.split(|&b| b == b' ' || b == b'\r').next().unwrap_or(b"ERR");
        let code = String::from_utf8_lossy(code);
        if let Some(mut n) = self.errors.get_mut(&*code) {
            *n += 1;
            return;
        }
        if self.errors.len() < ERROR_CODES_MAX {
            *self.errors.entry(code.into_owned()).or_insert(0) += 1;
        }
    }
}
