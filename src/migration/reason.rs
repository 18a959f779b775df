//! Why a job ended without success, in Valkey's words (spec slot-migration.md, 3.6).

use std::borrow::Cow;

/// What `message` of GETSLOTMIGRATIONS says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // The source's.
    ConnectFailed(String),
    AuthNotSent(String),
    AuthUnanswered,
    AuthRefused(Vec<u8>),
    EstablishRefused(Vec<u8>),
    EstablishReplyTooLong,
    SnapshotNotStarted,
    SnapshotFailed,
    TargetLost,
    PauseOverBeforeRequest,
    PauseOverAtRequest,
    GrantOver,
    NotOwner,
    // The target's.
    SourceLost,
    OutOfMemory,
    SourceNotOwner,
    AssignedToMyself,
    Failover,
    FullSync,
    Loading,
    Restarted,
    /// What the primary said of a job its replica follows.
    Told(Vec<u8>),
    // Of both.
    Silence,
    Flushed,
    Transition,
    UnknownSubcommand,
    CommandFailed,
}

impl Reason {
    /// The text, byte for byte.
    pub fn text(&self) -> Cow<'static, [u8]> {
        let with = |before: &str, rest: &[u8]| Cow::Owned([before.as_bytes(), rest].concat());
        Cow::Borrowed(match self {
            Self::ConnectFailed(error) => return with("Unable to connect to target node: ", error.as_bytes()),
            Self::AuthNotSent(error) => {
                return with("Failed to send AUTH command to target node: ", error.as_bytes());
            }
            Self::AuthRefused(line) => return with("Failed to AUTH to target node: ", line),
            Self::EstablishRefused(raw) => return with("Received error during handshake to target: ", raw),
            Self::Told(text) => return Cow::Owned(text.clone()),
            Self::AuthUnanswered => b"Target node did not respond to AUTH command",
            Self::EstablishReplyTooLong => b"Response to establish job is larger than buffer limit",
            Self::SnapshotNotStarted => b"Failed to start snapshot",
            Self::SnapshotFailed => b"Failed to perform snapshot",
            Self::TargetLost => {
                b"Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information."
            }
            Self::PauseOverBeforeRequest => b"Timed out before streaming completed",
            Self::PauseOverAtRequest => b"Unpaused before failover completed",
            Self::GrantOver => {
                b"Unpaused before migration completed (migration may have succeeded with lost writes)"
            }
            Self::NotOwner => b"Slots are no longer owned by myself",
            Self::SourceLost => {
                b"Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information."
            }
            Self::OutOfMemory => b"Ran out of memory (OOM) during slot import",
            Self::SourceNotOwner => b"Slots are no longer owned by source node",
            Self::AssignedToMyself => b"Slots were unexpectedly assigned to myself during import",
            Self::Failover => b"A failover occurred during slot import",
            Self::FullSync => b"Full resynchronization occurred",
            Self::Loading => b"A new RDB is being loaded",
            Self::Restarted => b"Process restarted",
            Self::Silence => b"Timed out after too long with no interaction",
            Self::Flushed => b"Data was flushed",
            Self::Transition => b"Unexpected state machine transition",
            Self::UnknownSubcommand => b"Unknown SYNCSLOTS subcommand used",
            Self::CommandFailed => {
                b"Failed to process command during slot migration. Check logs for more information"
            }
        })
    }
}
