//! The state machine of an export, on the source (spec slot-migration.md, 3.3).
//!
//! ```text
//! Connecting -> [SendingAuth -> ReadingAuth ->] SendingEstablish -> ReadingEstablish -> WaitingToSnapshot
//!   -> Snapshotting -> Replicating -> [WaitingToPause ->] FailoverPaused -> FailoverGranted -> Success
//! every state but the last -> Failed | Cancelled        every state -> Success once the target owns the slots
//! ```
//!
//! Invariant: from `FailoverPaused { announced }` until the job ends, no write to the slots runs here; PAUSED is sent only
//! after every shard has confirmed that, with its last effects ahead of the confirmation on the same path.
//! Invariant: after the grant the slots thaw only when the new owner is known, the target has given up or failed, the
//! operator decides, or a configured limit is over. Valkey thaws when its pause is over, and then both nodes may accept
//! writes.

use super::reason::Reason;
use super::step::Step;

/// Where an export is. The names GETSLOTMIGRATIONS shows are those of [`ExportState::name`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExportState {
    Connecting,
    SendingAuth,
    ReadingAuth,
    SendingEstablish,
    ReadingEstablish,
    WaitingToSnapshot,
    Snapshotting,
    Replicating,
    WaitingToPause,
    /// The slots are being frozen, or are frozen and the target has been told.
    FailoverPaused(Freeze),
    FailoverGranted,
    Success,
    Failed(Reason),
    Cancelled,
}

/// How far freezing the slots is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freeze {
    /// Not all shards have confirmed yet.
    Asked,
    /// All have, and PAUSED is sent.
    Announced,
}

impl ExportState {
    /// Valkey's name of the state.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::SendingAuth => "sending-auth-command",
            Self::ReadingAuth => "reading-auth-response",
            Self::SendingEstablish => "sending-establish-command",
            Self::ReadingEstablish => "reading-establish-response",
            Self::WaitingToSnapshot => "waiting-to-snapshot",
            Self::Snapshotting => "snapshotting",
            Self::Replicating => "replicating",
            Self::WaitingToPause => "waiting-to-pause",
            Self::FailoverPaused(_) => "failover-paused",
            Self::FailoverGranted => "failover-granted",
            Self::Success => "success",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Success, failed or cancelled.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Success | Self::Failed(_) | Self::Cancelled)
    }

    /// Whether the slots are frozen, or being frozen.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Self::FailoverPaused(_) | Self::FailoverGranted)
    }

    /// Whether the job sends an ACK every second. Unlike Valkey, which has a child process write the snapshot, we do
    /// so during the snapshot too: the target then need not guess whether we are alive.
    pub fn sends_acks(&self) -> bool {
        use ExportState::*;
        match self {
            WaitingToSnapshot | Snapshotting | Replicating | WaitingToPause | FailoverPaused(_) => true,
            Connecting | SendingAuth | ReadingAuth | SendingEstablish | ReadingEstablish => false,
            FailoverGranted | Success | Failed(_) | Cancelled => false,
        }
    }

    /// Whether hearing nothing from the target for too long ends the job.
    pub fn minds_silence(&self) -> bool {
        !self.is_finished() && !matches!(self, Self::FailoverGranted)
    }
}

/// Whether the target wants a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    Needed,
    NotNeeded,
}

/// What waits to be sent, held against `slot-migration-max-failover-repl-bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backlog {
    WithinLimit,
    OverLimit,
}

/// Who owns the exported slots now, if not this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewOwner {
    /// All of them belong to the job's target.
    Target,
    /// Anything else: a third node, several, or none.
    Other,
}

/// Whether a grant was withdrawn because the pause was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Withdrawal {
    None,
    PauseOver,
}

/// Everything that can happen to an export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExportEvent {
    // The link.
    Connected(Auth),
    ConnectFailed(String),
    AuthSent,
    AuthNotSent(String),
    AuthAccepted,
    AuthRefused(Vec<u8>),
    AuthUnanswered,
    EstablishSent,
    EstablishAccepted,
    EstablishRefused(Vec<u8>),
    EstablishReplyTooLong,
    LinkLost,
    // What the target says.
    Ack,
    RequestPause(Backlog),
    RequestFailover,
    SnapshotEof,
    Paused,
    FailoverGranted,
    Establish,
    Finish,
    UnknownSubcommand,
    /// Something the target sent was answered with an error.
    CommandFailed,
    // What becomes of the keys.
    SnapshotMayStart,
    SnapshotSent,
    SnapshotFailed,
    BacklogShrank,
    SlotsFrozen,
    // Time.
    AckOverdue,
    PauseOver,
    GrantOver,
    // The node and the cluster.
    OwnerChanged(NewOwner),
    /// The target is down, by the quorum's judgement.
    TargetFailed,
    /// The target has said that the job has ended there without the slots.
    TargetGaveUp(Withdrawal),
    TargetUnknown,
    Demoted,
    ClusterReset,
    Flushed,
    // The operator.
    CancelRequested,
}

/// What an export has its actor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExportAction {
    SendAuth,
    SendEstablish,
    /// Note that the target was heard of.
    NoteAck,
    SendAck,
    /// Begin to send keys and to record effects, at the same instant on every shard.
    BeginSnapshot,
    /// Hold back what would change the slots; answered by `SlotsFrozen`.
    FreezeSlots,
    /// Let the slots go on.
    ThawSlots,
    /// The pause may last twice the manual-failover timeout from now.
    StartPauseTimer,
    /// It lasts at least two seconds from now.
    ExtendPauseTimer,
    SendPaused,
    /// Let the target claim the slots whatever the epochs.
    Grant,
    /// No longer.
    EndGrant,
    SendFailoverGranted,
    /// Ask the target what has become of the job, until it says (`TargetGaveUp`) or its claim is seen.
    AskTarget,
    /// From now on a configured limit may end the wait for the new owner.
    StartGrantTimer,
    /// Stop sending keys and recording effects, and forget what is not sent.
    StopExport,
    CloseLink,
    /// Say loudly that writes may be lost.
    WarnOfWriteLoss,
}

/// One event in one state.
pub fn step(state: ExportState, event: ExportEvent) -> Step<ExportState, ExportAction> {
    use ExportAction::*;
    use ExportEvent as E;
    use ExportState as S;
    if state.is_finished() {
        return Step::Refused(state);
    }
    if state == S::FailoverGranted {
        return granted(event);
    }
    match event {
        E::Connected(auth) => match (state, auth) {
            (S::Connecting, Auth::NotNeeded) => Step::to(S::SendingEstablish, [SendEstablish]),
            (S::Connecting, Auth::Needed) => Step::to(S::SendingAuth, [SendAuth]),
            (other, Auth::Needed | Auth::NotNeeded) => Step::Refused(other),
        },
        E::ConnectFailed(error) => match state {
            S::Connecting => fail(state, Reason::ConnectFailed(error)),
            other => Step::Refused(other),
        },
        E::TargetUnknown => match state {
            S::Connecting => fail(state, Reason::ConnectFailed("target node not found".into())),
            // A target that was forgotten while its link is up does not stop the job.
            other => Step::Refused(other),
        },
        E::AuthSent => match state {
            S::SendingAuth => Step::to(S::ReadingAuth, []),
            other => Step::Refused(other),
        },
        E::AuthNotSent(error) => match state {
            S::SendingAuth => fail(state, Reason::AuthNotSent(error)),
            other => Step::Refused(other),
        },
        E::AuthAccepted => match state {
            S::ReadingAuth => Step::to(S::SendingEstablish, [SendEstablish]),
            other => Step::Refused(other),
        },
        E::AuthRefused(line) => match state {
            S::ReadingAuth => fail(state, Reason::AuthRefused(line)),
            other => Step::Refused(other),
        },
        E::AuthUnanswered => match state {
            S::ReadingAuth => fail(state, Reason::AuthUnanswered),
            other => Step::Refused(other),
        },
        E::EstablishSent => match state {
            S::SendingEstablish => Step::to(S::ReadingEstablish, []),
            other => Step::Refused(other),
        },
        E::EstablishAccepted => match state {
            S::ReadingEstablish => Step::to(S::WaitingToSnapshot, [NoteAck, SendAck]),
            other => Step::Refused(other),
        },
        E::EstablishRefused(raw) => match state {
            S::ReadingEstablish => fail(state, Reason::EstablishRefused(raw)),
            other => Step::Refused(other),
        },
        E::EstablishReplyTooLong => match state {
            S::ReadingEstablish => fail(state, Reason::EstablishReplyTooLong),
            other => Step::Refused(other),
        },
        E::LinkLost => fail(state, Reason::TargetLost),
        E::Ack => Step::to(state, [NoteAck]),
        E::RequestPause(backlog) => match (state, backlog) {
            (S::Replicating, Backlog::WithinLimit) => pause(),
            (S::Replicating, Backlog::OverLimit) => Step::to(S::WaitingToPause, []),
            (other, Backlog::WithinLimit | Backlog::OverLimit) => fail(other, Reason::Transition),
        },
        E::BacklogShrank => match state {
            S::WaitingToPause => pause(),
            other => Step::Refused(other),
        },
        E::SlotsFrozen => match state {
            S::FailoverPaused(Freeze::Asked) => Step::to(S::FailoverPaused(Freeze::Announced), [SendPaused]),
            other => Step::Refused(other),
        },
        E::RequestFailover => match state {
            S::FailoverPaused(Freeze::Announced) => {
                Step::to(S::FailoverGranted, [ExtendPauseTimer, Grant, SendFailoverGranted, StartGrantTimer])
            }
            other => fail(other, Reason::Transition),
        },
        E::PauseOver => match state {
            S::FailoverPaused(Freeze::Asked | Freeze::Announced) => {
                fail(state, Reason::PauseOverBeforeRequest)
            }
            other => Step::Refused(other),
        },
        // About a grant that was not made yet; a target that fails is noticed by its link.
        E::GrantOver | E::TargetFailed | E::TargetGaveUp(_) => Step::Refused(state),
        E::SnapshotEof | E::Paused | E::FailoverGranted | E::Establish | E::Finish => {
            fail(state, Reason::Transition)
        }
        E::UnknownSubcommand => fail(state, Reason::UnknownSubcommand),
        E::CommandFailed => fail(state, Reason::CommandFailed),
        E::SnapshotMayStart => match state {
            S::WaitingToSnapshot => Step::to(S::Snapshotting, [BeginSnapshot]),
            other => Step::Refused(other),
        },
        E::SnapshotSent => match state {
            S::Snapshotting => Step::to(S::Replicating, []),
            other => Step::Refused(other),
        },
        E::SnapshotFailed => match state {
            S::WaitingToSnapshot => fail(state, Reason::SnapshotNotStarted),
            S::Snapshotting => fail(state, Reason::SnapshotFailed),
            other => Step::Refused(other),
        },
        E::AckOverdue => fail(state, Reason::Silence),
        E::OwnerChanged(NewOwner::Target) => end(state, S::Success),
        E::OwnerChanged(NewOwner::Other) | E::Demoted | E::ClusterReset => fail(state, Reason::NotOwner),
        E::Flushed => fail(state, Reason::Flushed),
        E::CancelRequested => end(state, S::Cancelled),
    }
}

/// The target may own the slots already: only what says who owns them, or an operator, ends this state. Whatever else the
/// target does or fails to do, it may still claim them.
fn granted(event: ExportEvent) -> Step<ExportState, ExportAction> {
    use ExportAction::*;
    use ExportEvent as E;
    use ExportState::FailoverGranted as Granted;
    match event {
        E::OwnerChanged(NewOwner::Target) => end(Granted, ExportState::Success),
        E::OwnerChanged(NewOwner::Other) | E::Demoted | E::ClusterReset => fail(Granted, Reason::NotOwner),
        E::GrantOver | E::TargetFailed => fail(Granted, Reason::GrantOver),
        E::TargetGaveUp(Withdrawal::None) => end_as(Granted, ExportState::Failed(Reason::TargetLost), false),
        E::TargetGaveUp(Withdrawal::PauseOver) => {
            end_as(Granted, ExportState::Failed(Reason::GrantOver), false)
        }
        E::CancelRequested => end(Granted, ExportState::Cancelled),
        // The target closes the link as soon as it owns the slots. If it closes without owning them, only it knows
        // whether it still will.
        E::LinkLost => Step::to(Granted, [AskTarget]),
        E::Ack => Step::to(Granted, [NoteAck]),
        E::RequestPause(_) | E::RequestFailover | E::SnapshotEof | E::Paused | E::FailoverGranted => {
            Step::to(Granted, [CloseLink, AskTarget])
        }
        E::Establish | E::Finish | E::UnknownSubcommand | E::CommandFailed => {
            Step::to(Granted, [CloseLink, AskTarget])
        }
        // Valkey thaws now, whatever the target does. We take the grant back: without its link a target that has not
        // claimed yet gives up, and says so when it is asked.
        E::PauseOver => Step::to(Granted, [CloseLink, AskTarget]),
        E::AckOverdue | E::Flushed | E::TargetUnknown => Step::Refused(Granted),
        E::Connected(_) | E::ConnectFailed(_) | E::AuthSent | E::AuthNotSent(_) | E::AuthAccepted => {
            Step::Refused(Granted)
        }
        E::AuthRefused(_) | E::AuthUnanswered | E::EstablishSent | E::EstablishAccepted => {
            Step::Refused(Granted)
        }
        E::EstablishRefused(_) | E::EstablishReplyTooLong => Step::Refused(Granted),
        E::SnapshotMayStart | E::SnapshotSent | E::SnapshotFailed | E::BacklogShrank | E::SlotsFrozen => {
            Step::Refused(Granted)
        }
    }
}

fn pause() -> Step<ExportState, ExportAction> {
    Step::to(
        ExportState::FailoverPaused(Freeze::Asked),
        [ExportAction::StartPauseTimer, ExportAction::FreezeSlots],
    )
}

fn fail(state: ExportState, reason: Reason) -> Step<ExportState, ExportAction> {
    end(state, ExportState::Failed(reason))
}

/// Leaves `state` for an end. The export stops before anything else, so that what happens to the slots next (the
/// deletion of what moved, above all) does not reach the target.
fn end(state: ExportState, end: ExportState) -> Step<ExportState, ExportAction> {
    let may_lose_writes = end != ExportState::Success;
    end_as(state, end, may_lose_writes)
}

fn end_as(state: ExportState, end: ExportState, may_lose_writes: bool) -> Step<ExportState, ExportAction> {
    use ExportAction::*;
    let mut actions = vec![StopExport, CloseLink];
    let granted = state == ExportState::FailoverGranted;
    if granted && may_lose_writes {
        actions.push(WarnOfWriteLoss);
    }
    if granted {
        actions.push(EndGrant);
    }
    if state.is_frozen() {
        actions.push(ThawSlots);
    }
    Step::to(end, actions)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
