//! Slot migration: one actor per job around the state machines of `skuld::migration`.
//!
//! ```text
//!            source                                            target
//!  Shard --ShardSent--> [ MigrationExport ] ===== link =====> Connection --Ack, SnapshotEof...--> [ MigrationImport ]
//!        <--BeginExport, FreezeSlots, EndExport                    |  keys and effects                  |
//!                                                                  v                                    |
//!                                                                Shard <------HideSlots, ShowSlots------+
//! ```
//!
//! Keys, effects and the confirmation that the slots are frozen go from a shard to its job on one path, in the order in
//! which they happened. On the target the link is an ordinary connection, whose commands run in their order; what
//! SYNCSLOTS says reaches the job only after everything before it has been executed.

mod admission;
pub mod cluster;
pub mod command;
pub mod export;
pub mod import;
mod link;
pub mod restore;
pub mod steering;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Addr;
use skuld::migration::{JobLog, JobName, SlotSet};
use skuld::slot::Slot;
use tokio::sync::oneshot;

use crate::clients::flag;
use crate::envelope::tell;
use crate::migration::cluster::Change;
use crate::server::{Server, ServerRef};
use export::MigrationExport;
use import::MigrationImport;

/// What the server knows of its migrations.
#[derive(Default)]
pub struct Migrations {
    log: Mutex<JobLog>,
    running: Mutex<Vec<(JobName, Job)>>,
    /// Jobs that are not finished; looked at where a flush is told.
    unfinished: AtomicU32,
    /// DEBUG SLOTMIGRATION.
    pub prevent_pause: AtomicBool,
    pub prevent_failover: AtomicBool,
    /// Exports whose slots are frozen now, and until when at the latest (Unix milliseconds), for INFO.
    pub frozen: AtomicU32,
    pub frozen_until_ms: AtomicU64,
    /// When this node last claimed slots, Unix milliseconds.
    pub claimed_ms: AtomicU64,
    pub exported_bytes: AtomicU64,
    pub imported_bytes: AtomicU64,
}

/// A running job's actor.
#[derive(Clone)]
pub enum Job {
    Export(Addr<MigrationExport>),
    Import(Addr<MigrationImport>),
}

impl Migrations {
    /// The log of jobs. Never held across a send.
    pub fn log(&self) -> MutexGuard<'_, JobLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Vec<(JobName, Job)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> Vec<Job> {
        self.running().iter().map(|(_, job)| job.clone()).collect()
    }

    /// The actor of a running job.
    pub fn job(&self, name: &JobName) -> Option<Job> {
        self.running().iter().find(|(running, _)| running == name).map(|(_, job)| job.clone())
    }

    pub(self) fn began(&self, name: JobName, job: Job) {
        self.running().push((name, job));
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a job that has finished out of the list, and makes room in the log.
    pub(self) fn ended(&self, server: &ServerRef, name: &JobName) {
        self.running().retain(|(running, _)| running != name);
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
        self.trim(server);
    }

    /// Drops old finished jobs.
    pub fn trim(&self, server: &ServerRef) {
        let max = server.config.load().cluster_slot_migration_log_max_len;
        self.log().trim(usize::try_from(max).unwrap_or(usize::MAX));
    }

    /// Tells all jobs that data were flushed.
    pub fn flushed(&self) {
        if self.unfinished.load(Ordering::Relaxed) == 0 {
            return;
        }
        for job in self.jobs() {
            match job {
                Job::Export(job) => tell(&job, export::Flushed),
                Job::Import(job) => tell(&job, import::Flushed),
            }
        }
    }

    /// Tells all jobs of a change in the cluster.
    pub fn cluster_changed(&self, change: &Change) {
        for job in self.jobs() {
            match job {
                Job::Export(job) => tell(&job, export::ClusterChanged(change.clone())),
                Job::Import(job) => tell(&job, import::ClusterChanged(change.clone())),
            }
        }
    }

    /// For how many more milliseconds slots are frozen at the most, if any are.
    pub fn pause(&self) -> Option<i64> {
        let until = self.frozen_until_ms.load(Ordering::Relaxed) as i64;
        let frozen = self.frozen.load(Ordering::Relaxed) > 0;
        frozen.then(|| (until - crate::clock::unix_ms()).max(1))
    }

    /// Bytes that the links of imports and of exports hold.
    pub fn link_bytes(&self, server: &Server) -> [u64; 2] {
        let links = |bit: u32| -> u64 {
            server.clients.all().iter().filter(|client| client.has(bit)).map(|c| c.memory_bytes()).sum()
        };
        [links(flag::SLOT_IMPORT), links(flag::SLOT_EXPORT)]
    }

    /// Cancels all running exports; one receiver each, which ends when that one has.
    pub fn cancel_exports(&self) -> Vec<oneshot::Receiver<()>> {
        let exports = self
            .jobs()
            .into_iter()
            .filter_map(|job| if let Job::Export(job) = job { Some(job) } else { None });
        let cancel = |job| {
            let (done, end) = oneshot::channel();
            tell(&job, export::CancelRequested { done });
            end
        };
        exports.map(cancel).collect()
    }
}

/// What an import's link may do: shared by the job and the connection that carries it.
pub struct ImportLink {
    pub job: Addr<MigrationImport>,
    pub slots: Arc<SlotSet>,
    /// The source has said that it sends no more, or the job has ended: nothing is executed any more.
    pub closed: AtomicBool,
}

impl ImportLink {
    /// Whether a command with a key in this slot may run.
    pub fn admits(&self, slot: Slot) -> bool {
        !self.closed.load(Ordering::Acquire) && self.slots.contains(slot)
    }
}

/// Bytes of an export that no socket has taken yet, shared by its shards, its actor and its writer; and how writers were
/// held back for that.
#[derive(Debug, Default)]
pub struct Gauge {
    waiting: AtomicU64,
    /// Below how much writers go on that are held back; 0: there are none.
    call_below: AtomicU64,
    paced: AtomicU64,
    paced_us: AtomicU64,
}

impl Gauge {
    pub fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn remove(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A writer waits for room, of which there is some well below the limit.
    pub fn hold_back(&self, limit: u64) {
        self.call_below.store(limit.saturating_sub(link::LOW_WATER / 2).max(1), Ordering::Relaxed);
    }

    /// Whether there is the room that writers wait for.
    pub fn has_room(&self) -> bool {
        self.waiting() < self.call_below.load(Ordering::Relaxed)
    }

    /// The same; nobody waits any more.
    pub fn has_room_again(&self) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.call_below.store(0, Ordering::Relaxed);
        }
        has_room
    }

    /// A writer was held back for so long.
    pub fn held_back(&self, us: u64) {
        self.paced.fetch_add(1, Ordering::Relaxed);
        self.paced_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How often writers were held back, and how long altogether, microseconds.
    pub fn pacing(&self) -> (u64, u64) {
        (self.paced.load(Ordering::Relaxed), self.paced_us.load(Ordering::Relaxed))
    }
}
