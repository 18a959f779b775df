//! Counters behind INFO, COMMANDLOG and LATENCY.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dashmap::DashMap;

use crate::clock::{self, Tick};
use crate::envelope::{Histogram, Summary};

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
    pub total_net_input_bytes: AtomicU64,
    pub total_net_output_bytes: AtomicU64,
    /// What of both went over links of replication.
    pub net_repl_input_bytes: AtomicU64,
    pub net_repl_output_bytes: AtomicU64,
    pub total_reads_processed: AtomicU64,
    pub total_writes_processed: AtomicU64,
    pub keyspace_hits: AtomicU64,
    pub keyspace_misses: AtomicU64,
    pub expired_keys: AtomicU64,
    pub expired_fields: AtomicU64,
    pub sync_full: AtomicU64,
    pub sync_partial_ok: AtomicU64,
    pub sync_partial_err: AtomicU64,
    pub evicted_keys: AtomicU64,
    pub evicted_clients: AtomicU64,
    /// Finished times over `maxmemory`, milliseconds.
    pub eviction_exceeded_ms: AtomicU64,
    pub total_error_replies: AtomicU64,
    pub unexpected_error_replies: AtomicU64,
    /// By [`skuld::acl::Denial`].
    pub acl_access_denied: [AtomicU64; 6],
    pub client_query_buffer_limit_disconnections: AtomicU64,
    pub client_output_buffer_limit_disconnections: AtomicU64,
    pub expired_time_cap_reached: AtomicU64,
    pub expire_cycle_micros: AtomicU64,
    pub lazyfree_pending_objects: AtomicU64,
    pub lazyfreed_objects: AtomicU64,
    /// Most commands that one batch brought.
    pub batch_commands_max: AtomicU64,
    /// What was given to the reaper and is not freed yet, by estimate, bytes.
    pub reaper_pending_bytes: AtomicU64,
    pub dump_payload_sanitizations: AtomicU64,
    /// Highest `used_memory` seen, bytes.
    pub peak_memory: AtomicU64,
    /// `used_memory` once the server was up, bytes.
    pub startup_memory: AtomicU64,
    /// Rates of the last 1.6 seconds.
    pub rates: Rates,
    /// Error replies by code word (errorstats).
    pub errors: DashMap<String, u64>,
    /// Per command id, for the commands that connections run.
    pub server_commands: Vec<CommandStats>,
    /// Per shard, per command id.
    pub commands: Vec<std::sync::Arc<[CommandStats]>>,
}

/// What [`Stats::of_command`] adds up.
#[derive(Clone, Debug, Default)]
pub struct CommandSum {
    pub calls: u64,
    pub nanos: u64,
    pub rejected: u64,
    pub failed: u64,
    pub latency: Summary,
}

/// How many samples a rate is worked out from.
const SAMPLES: usize = 16;

/// Counters shown as rates, in the order of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Commands = 0,
    InputBytes = 1,
    OutputBytes = 2,
    /// Messages of shards and looks around.
    Cycles = 3,
    /// Microseconds they took.
    CycleMicros = 4,
    ReplInputBytes = 5,
    ReplOutputBytes = 6,
}

const RATES: usize = 7;

#[derive(Debug, Default)]
struct Samples {
    /// Values at the last sample, and when that was.
    last: Option<([u64; RATES], Tick)>,
    /// Per sample: increase per second, and for `CycleMicros` the increase itself.
    per_second: [[f64; SAMPLES]; RATES],
    next: usize,
}

/// Averages over the last [`SAMPLES`] samples.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Samples>);

impl Rates {
    fn lock(&self) -> std::sync::MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self, values: [u64; RATES]) {
        let now = clock::tick();
        let mut samples = self.lock();
        if let Some((before, at)) = samples.last {
            let seconds = (clock::micros_between(at, now) as f64 / 1e6).max(1e-6);
            let next = samples.next;
            for rate in 0..RATES {
                samples.per_second[rate][next] = values[rate].saturating_sub(before[rate]) as f64 / seconds;
            }
            samples.next = (next + 1) % SAMPLES;
        }
        samples.last = Some((values, now));
    }

    fn reset(&self) {
        *self.lock() = Samples::default();
    }

    /// Increase per second.
    pub fn of(&self, rate: Rate) -> f64 {
        self.lock().per_second[rate as usize].iter().sum::<f64>() / SAMPLES as f64
    }
}

/// With so many code words in errorstats, new ones that scripts invent are counted under one name.
const ERROR_CODES_MAX: usize = 128;
const OVERFLOW_CODE: &str = "ERRORSTATS_OVERFLOW";
/// The first word of an error is its code if it ends within so many bytes.
const ERROR_CODE_BYTES_MAX: usize = 31;

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

    /// Calls and nanoseconds of all commands together.
    pub fn totals(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for stats in self.commands.iter().flat_map(|c| c.iter()).chain(&self.server_commands) {
            sums.0 += stats.calls.load(Ordering::Relaxed);
            sums.1 += stats.nanos.load(Ordering::Relaxed);
        }
        sums
    }

    /// The figures of one command, added up over all who ran it.
    pub fn of_command(&self, id: usize) -> CommandSum {
        let mut sum = CommandSum::default();
        let all = self.commands.iter().filter_map(|c| c.get(id)).chain(self.server_commands.get(id));
        for stats in all {
            sum.calls += stats.calls.load(Ordering::Relaxed);
            sum.nanos += stats.nanos.load(Ordering::Relaxed);
            sum.rejected += stats.rejected.load(Ordering::Relaxed);
            sum.failed += stats.failed.load(Ordering::Relaxed);
            if let Some(latency) = stats.latency.get() {
                sum.latency.merge(&latency.snapshot());
            }
        }
        sum
    }

    /// CONFIG RESETSTAT, but for the counters that shards own: they reset theirs themselves.
    pub fn reset_shared(&self) {
        for counter in [
            &self.total_connections_received,
            &self.rejected_connections,
            &self.total_net_input_bytes,
            &self.total_net_output_bytes,
            &self.net_repl_input_bytes,
            &self.net_repl_output_bytes,
            &self.sync_full,
            &self.sync_partial_ok,
            &self.sync_partial_err,
            &self.total_reads_processed,
            &self.total_writes_processed,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.evicted_keys,
            &self.evicted_clients,
            &self.eviction_exceeded_ms,
            &self.total_error_replies,
            &self.unexpected_error_replies,
            &self.client_query_buffer_limit_disconnections,
            &self.client_output_buffer_limit_disconnections,
            &self.expired_time_cap_reached,
            &self.expire_cycle_micros,
            &self.lazyfreed_objects,
            &self.dump_payload_sanitizations,
            &self.peak_memory,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        // A large table of code words is counted as Valkey counts it, which has a thread free it. Here it takes no time.
        const FREED_AT_ONCE_MAX: usize = 64;
        let codes = self.errors.len();
        self.errors.clear();
        if codes > FREED_AT_ONCE_MAX {
            self.lazyfreed_objects.store(codes as u64, Ordering::Relaxed);
        }
        self.server_commands.iter().for_each(CommandStats::reset);
        self.rates.reset();
    }

    /// Takes a sample of everything that is shown as a rate; called every 100 ms.
    pub fn sample(&self) {
        let cycles = crate::envelope::cycles();
        let used = crate::memory::used();
        self.peak_memory.fetch_max(used, Ordering::Relaxed);
        self.rates.sample([
            self.totals().0,
            self.total_net_input_bytes.load(Ordering::Relaxed),
            self.total_net_output_bytes.load(Ordering::Relaxed),
            cycles.0,
            cycles.1 / 1000,
            self.net_repl_input_bytes.load(Ordering::Relaxed),
            self.net_repl_output_bytes.load(Ordering::Relaxed),
        ]);
    }

    /// Counts a command that a connection ran itself. Several threads may do that, so the adds are atomic.
    pub fn record_server_command(&self, command: usize, nanos: u64, failed: bool, track_latency: bool) {
        let Some(stats) = self.server_commands.get(command) else { return };
        if track_latency {
            stats.latency.get_or_init(Histogram::default).record_shared(nanos);
        }
        stats.calls.fetch_add(1, Ordering::Relaxed);
        stats.nanos.fetch_add(nanos, Ordering::Relaxed);
        stats.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// Counts a command that was refused where no shard runs it.
    pub fn reject_server_command(&self, command: usize) {
        if let Some(stats) = self.server_commands.get(command) {
            stats.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an error reply by its first word.
    pub fn count_error(&self, line: &[u8]) {
        self.count(line, false);
    }

    /// Counts an error reply whose text a script made: once there are many words, new ones are counted together.
    pub fn count_error_of_script(&self, line: &[u8]) {
        self.count(line, true);
    }

    fn count(&self, line: &[u8], of_script: bool) {
        self.total_error_replies.fetch_add(1, Ordering::Relaxed);
        let within = &line[..line.len().min(ERROR_CODE_BYTES_MAX)];
        let code = within.iter().position(|&b| b == b' ').map_or(b"ERR".as_slice(), |end| &within[..end]);
        let code = String::from_utf8_lossy(code);
        if let Some(mut n) = self.errors.get_mut(&*code) {
            *n += 1;
            return;
        }
        let is_kept = !of_script || self.errors.len() < ERROR_CODES_MAX;
        let code = if is_kept { code.into_owned() } else { OVERFLOW_CODE.to_owned() };
        *self.errors.entry(code).or_insert(0) += 1;
    }

    /// The code words and their counts, sorted.
    pub fn error_counts(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> =
            self.errors.iter().map(|entry| (entry.key().clone(), *entry.value())).collect();
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_added_up_over_shards_and_connections() {
        let stats = Stats::new(2);
        stats.commands_of(0)[3].record(1000, true);
        stats.commands_of(1)[3].record(3000, true);
        stats.record_server_command(3, 500, true, true);
        let sum = stats.of_command(3);
        assert_eq!((sum.calls, sum.nanos, sum.failed, sum.latency.count), (3, 4500, 1, 3));
        assert_eq!(stats.totals(), (3, 4500));
        stats.reset_shared();
        assert_eq!(stats.of_command(3).calls, 2);
    }

    #[test]
    fn errors_are_counted_by_their_first_word() {
        let stats = Stats::new(1);
        stats.count_error(b"ERR no\r\n");
        stats.count_error(b"WRONGTYPE x");
        stats.count_error(b"ERR yes");
        assert_eq!(stats.error_counts(), [("ERR".to_owned(), 2), ("WRONGTYPE".to_owned(), 1)]);
        for n in 0..200 {
            stats.count_error_of_script(format!("{n} x").as_bytes());
        }
        stats.count_error_of_script(b"7 x");
        stats.count_error(b"NEW x");
        let count = |code: &str| stats.errors.get(code).map(|n| *n);
        assert_eq!((count(OVERFLOW_CODE), count("7"), count("NEW")), (Some(200 - 126), Some(2), Some(1)));
    }
}
