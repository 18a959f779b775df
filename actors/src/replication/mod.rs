//! What every shard and command may know about replication without asking an actor. Written by the
//! [`crate::replication_log::ReplicationLog`] and the link to the primary; read everywhere.
//!
//! - [`followers`], [`full_sync`]: the primary's side
//! - [`link`], [`receive`]: the replica's side
//! - [`role`]: changing sides
//! - [`failover`], [`farewell`]: handing the role over, and leaving nothing behind at the end

pub mod failover;
pub mod farewell;
pub mod followers;
pub mod full_sync;
pub mod link;
pub mod receive;
pub mod role;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::server::ServerRef;
use crate::server_commands::tell_all_shards;
use crate::shard::Controlled;

/// Bits of [`Replication::flags`].
pub mod bit {
    /// There are replicas or a backlog: what clients change on a primary is recorded.
    pub const STREAM: u8 = 1;
    /// A consumer of commands (the append-only file): what anybody changes is recorded.
    pub const COMMANDS: u8 = 2;
    /// ACTOR EFFECTS or EVENTS was asked for: effects and events are recorded.
    pub const TESTS: u8 = 4;
    /// We follow a primary.
    pub const REPLICA: u8 = 8;
    /// We are about to: clients are treated as on a replica, and what still runs is recorded as on a primary.
    pub const BECOMING_REPLICA: u8 = 16;
    /// The link to the primary is up.
    pub const LINK_UP: u8 = 32;
}

/// Read-mostly facts and counters.
#[derive(Default)]
pub struct Replication {
    /// One load per slice tells a shard all it needs.
    flags: AtomicU8,
    /// `Append`s sent by all shards together. Each carries its number.
    issued: AtomicU64,
    /// Bytes of the stream so far, as of the last message the log has handled.
    pub offset: AtomicI64,
    /// Everything up to this `Append` is on the disk (set by the append-only file).
    pub durable: AtomicU64,
    /// Bytes of the primary's stream that have been executed here, for acknowledgements.
    pub executed: AtomicI64,
    /// Bytes of it that have been read and not executed yet.
    pub unexecuted: AtomicI64,
    /// Nothing of our primary's data is here to go on from: all of it was asked for, or is being loaded.
    pub has_no_data: AtomicBool,
    /// The stream's offset that is in our append-only file on the disk, or -1 if there is no such file.
    pub file_offset: AtomicI64,
    /// Our primary has asked how much we have while some of it was not on our disk: it is told when it is.
    pub owes_acknowledgement: AtomicBool,
    /// Clients that carry snapshots whose replicas have not asked for the stream on their main connections.
    pub awaiting_psync: arc_swap::ArcSwap<Vec<u64>>,
    /// How long such a replica may take after the snapshot's connection was closed, seconds.
    pub rdb_client_grace_s: AtomicI64,
    /// DEBUG PAUSE-AFTER-FORK: the process stops itself where one that forks for a snapshot would.
    pub pauses_after_fork: AtomicBool,
    /// Such a stop is to come when the snapshot is sent; until then replicas are not listened to.
    pub about_to_pause: AtomicBool,
    /// Memory of the backlog and of what waits to be sent to replicas, bytes.
    pub buffer_bytes: AtomicU64,
    /// Replicas that are online and were heard lately (`min-replicas-to-write`).
    pub good_replicas: AtomicU32,
    /// Replicas, whatever they do.
    pub followers: AtomicU32,
    /// No PING and no GETACK: replicas are to catch up with the end of the stream.
    pub stream_stands_still: AtomicBool,
    /// The link to our primary, as INFO and ROLE show it.
    pub link: Mutex<link::LinkView>,
    /// What the log last showed, for commands that cannot wait for its answer.
    pub facts: arc_swap::ArcSwap<crate::replication_log::Facts>,
    pub failover: failover::Failover,
    pub farewell: farewell::Farewell,
    /// Keys with a deadline that clients wrote on a writable replica.
    pub tracked_keys: AtomicU64,
}

impl Replication {
    /// What the link to the primary looks like.
    pub fn link(&self) -> std::sync::MutexGuard<'_, link::LinkView> {
        self.link.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[inline]
    pub fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    pub fn is_replica(&self) -> bool {
        self.flags() & bit::REPLICA != 0
    }

    /// The same as clients are told: a transaction may have made it one just now.
    pub fn shows_replica(&self) -> bool {
        self.flags() & (bit::REPLICA | bit::BECOMING_REPLICA) != 0
    }

    pub fn set(&self, bits: u8) {
        self.flags.fetch_or(bits, Ordering::SeqCst);
    }

    pub fn clear(&self, bits: u8) {
        self.flags.fetch_and(!bits, Ordering::SeqCst);
    }

    /// Whether commands record what they propagate.
    #[inline]
    pub fn records_effects(flags: u8) -> bool {
        flags & (bit::COMMANDS | bit::TESTS) != 0 || flags & (bit::STREAM | bit::REPLICA) == bit::STREAM
    }

    /// A number for an `Append` about to be sent.
    #[inline]
    pub fn issue(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last number given out: nothing that anybody can see by now is in a later `Append`.
    #[inline]
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }
}

/// Stops the whole process, as DEBUG PAUSE-AFTER-FORK has asked for, until somebody sends it SIGCONT.
pub fn pause_process(server: &ServerRef) {
    tracing::info!("Process is about to stop.");
    if let Err(e) = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGSTOP) {
        tracing::warn!("The process cannot stop itself: {e}");
    }
    server.replication.about_to_pause.store(false, Ordering::Relaxed);
    tracing::info!("Process has been continued.");
}

/// While it lives, nothing of our primary's stream is executed.
pub struct Held {
    /// The database the stream is in.
    pub db: u32,
    _release: tokio::sync::oneshot::Sender<()>,
}

/// On a replica, stops the execution of the primary's stream between two commands (not within a transaction), so that
/// data and offset belong together. `None` if there is no stream.
pub async fn hold_stream(server: &ServerRef) -> Option<Held> {
    let client = server.replication.link().client.clone()?;
    let (held, is_held) = tokio::sync::oneshot::channel();
    let (_release, release) = tokio::sync::oneshot::channel();
    crate::envelope::tell(&client.connection, crate::connection::HoldStream { held, release });
    let db = is_held.await.ok()?;
    Some(Held { db, _release })
}

/// Has all shards record effects from now on. When this returns no slice that began without is left, and every later
/// unit records: a cut made after it loses nothing.
pub async fn listen(server: &ServerRef, bits: u8) {
    server.replication.set(bits);
    tell_all_shards(server, Controlled::ConfirmFlags).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_records_only_for_its_own_file() {
        assert!(!Replication::records_effects(0));
        assert!(Replication::records_effects(bit::STREAM));
        assert!(!Replication::records_effects(bit::STREAM | bit::REPLICA));
        assert!(Replication::records_effects(bit::COMMANDS | bit::REPLICA));
        assert!(Replication::records_effects(bit::TESTS));
    }
}
