//! What every shard and command may know about replication without asking an actor. Written by the
//! [`crate::replication_log::ReplicationLog`] and the link to the primary; read everywhere.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

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
}

/// Read-mostly facts and counters.
#[derive(Debug, Default)]
pub struct Replication {
    /// One load per slice tells a shard all it needs.
    flags: AtomicU8,
    /// `Append`s sent by all shards together. Each carries its number.
    issued: AtomicU64,
    /// Bytes of the stream so far, as of the last message the log has handled.
    pub offset: AtomicI64,
    /// Everything up to this `Append` is on the disk (set by the append-only file).
    pub durable: AtomicU64,
    /// Memory of the backlog and of what waits to be sent to replicas, bytes.
    pub buffer_bytes: AtomicU64,
}

impl Replication {
    #[inline]
    pub fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    pub fn is_replica(&self) -> bool {
        self.flags() & bit::REPLICA != 0
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
