//! What INFO shows of the append-only file, what commands are refused because of it, and who waits for the disk.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use actix::Addr;
use skuld::aof::recent::RecentWrites;

use crate::connection::{Connection, Durable};
use crate::envelope::tell;
use crate::replication_log::Fsynced;
use crate::server::Server;

/// How much of the stream one writer's files hold for certain.
pub struct Progress {
    /// Offset of the stream up to which everything is on the disk; -1 before the first report.
    synced: AtomicI64,
    /// The files hold the whole data set: the first rewrite has ended.
    based: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { synced: AtomicI64::new(-1), based: AtomicBool::new(false) }
    }
}

impl Progress {
    /// What was reported last.
    #[cfg(test)]
    pub fn synced(&self) -> i64 {
        self.synced.load(Ordering::SeqCst)
    }

    /// Everything up to this offset is on the disk.
    pub fn reached(&self, server: &Server, offset: i64) {
        self.synced.store(offset, Ordering::SeqCst);
        if self.based.load(Ordering::SeqCst) {
            tell(server.replication_log(), Fsynced { offset: Some(offset) });
        }
    }

    /// The files hold the whole data set from now on.
    pub fn has_base(&self, server: &Server) {
        self.based.store(true, Ordering::SeqCst);
        let offset = self.synced.load(Ordering::SeqCst);
        if offset >= 0 {
            tell(server.replication_log(), Fsynced { offset: Some(offset) });
        }
    }

    /// Nobody asks for these files any more.
    pub fn ends(&self, server: &Server) {
        self.based.store(false, Ordering::SeqCst);
        tell(server.replication_log(), Fsynced { offset: None });
    }
}

/// Shared by the writer's thread, the actor, shards and connections.
#[derive(Default)]
pub struct AofState {
    /// Commands are appended, or will be when the first rewrite has ended.
    pub enabled: AtomicBool,
    /// A transaction has switched it on, and the actor has not come to that: a rewrite is as good as scheduled.
    pub enabling: AtomicBool,
    /// Replies wait until what they show is on the disk (`appendfsync always`).
    always: AtomicBool,
    /// The files hold the whole data set: the first rewrite since appending began has ended.
    pub has_base: AtomicBool,
    pub current_bytes: AtomicU64,
    pub base_bytes: AtomicU64,
    /// Taken from the log and not written yet.
    pub buffered_bytes: AtomicU64,
    pub rewriting: AtomicBool,
    pub rewrite_started_ms: AtomicI64,
    pub rewrite_scheduled: AtomicBool,
    /// Seconds the last rewrite took, plus one; 0 if there was none.
    pub last_rewrite_seconds: AtomicI64,
    pub last_rewrite_failed: AtomicBool,
    pub rewrites: AtomicU64,
    pub failures_in_a_row: AtomicU64,
    pub last_rewrite_held: AtomicU64,
    /// Set while what was taken from the log cannot be written.
    failed: AtomicBool,
    failure: Mutex<String>,
    pub delayed_fsyncs: AtomicU64,
    /// DEBUG AOF-FLUSH-SLEEP, microseconds.
    pub write_delay_us: AtomicU64,
    gate: Mutex<BTreeMap<u64, Vec<Addr<Connection>>>>,
    pub recent: RecentWrites,
}

impl AofState {
    /// Whether it is on, also if the actor has not come to that.
    pub fn is_on(&self) -> bool {
        self.enabling.load(Ordering::Relaxed) || self.enabled.load(Ordering::Relaxed)
    }

    /// Whether replies wait for the disk.
    #[inline]
    pub fn is_always(&self) -> bool {
        self.always.load(Ordering::Relaxed)
    }

    /// Says whether replies wait; when they need not any more, all go on.
    pub fn set_always(&self, always: bool) {
        if self.always.swap(always, Ordering::SeqCst) && !always {
            self.release(u64::MAX);
        }
    }

    /// Whether everything up to `Append` number `sequence` is where `appendfsync always` promises it to be. If not, the
    /// connection is told when it is.
    pub fn pass_or_wait(&self, server: &Server, sequence: u64, connection: &Addr<Connection>) -> bool {
        let durable = &server.replication.durable;
        if durable.load(Ordering::Acquire) >= sequence {
            return true;
        }
        let mut gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What became durable before the lock was taken has been released already.
        if durable.load(Ordering::Acquire) >= sequence || !self.is_always() {
            return true;
        }
        gate.entry(sequence).or_default().push(connection.clone());
        false
    }

    /// Everything up to this number is on the disk.
    pub fn reached(&self, server: &Server, sequence: u64) {
        server.replication.durable.fetch_max(sequence, Ordering::AcqRel);
        self.release(sequence);
    }

    fn release(&self, sequence: u64) {
        let released = {
            let mut gate = self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if gate.is_empty() {
                return;
            }
            let later = sequence.checked_add(1).map(|next| gate.split_off(&next)).unwrap_or_default();
            std::mem::replace(&mut *gate, later)
        };
        for connection in released.into_values().flatten() {
            tell(&connection, Durable);
        }
    }

    /// Why writes are refused, if they are.
    pub fn failure(&self) -> Option<String> {
        let text = || self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        self.failed.load(Ordering::Relaxed).then(text)
    }

    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub fn set_failure(&self, reason: Option<String>) {
        self.failed.store(reason.is_some(), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason.unwrap_or_default();
    }
}
