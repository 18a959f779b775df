//! The state machine of an import, on the target and its replicas (spec slot-migration.md, 3.4 and 3.5).
//!
//! ```text
//! WaitingForAck -> ReceivingSnapshot -> WaitingForPaused -> FailoverRequested -> FailoverGranted -> Success
//! any of these -> CleaningUp -> Failed                     (keys deleted, slots visible again)
//! any of these -> OccurringOnPrimary                       (demoted: the new primary decides)
//! OccurringOnPrimary -> Success | Failed | CleaningUp      (told by our primary, or promoted)
//! ```
//!
//! Invariant: the slots are hidden from the moment the job exists until it is finished, and un-hidden exactly once.
//! Invariant: un-hidden slots either belong to this node and are complete, or are empty (on a replica: as its primary
//! left them).

use super::reason::Reason;
use super::step::Step;

/// Where an import is. The names GETSLOTMIGRATIONS shows are those of [`ImportState::name`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImportState {
    WaitingForAck,
    ReceivingSnapshot,
    WaitingForPaused,
    FailoverRequested,
    /// The source has granted the slots.
    FailoverGranted(Claim),
    /// The job failed, for this reason, and its keys are being deleted.
    CleaningUp(Reason),
    /// Another node imports, and we follow it.
    OccurringOnPrimary,
    Success,
    Failed(Reason),
}

/// How far taking the slots over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Not allowed yet (DEBUG can prevent it).
    Waiting,
    /// Under way. It cannot be taken back, so nothing but its outcome ends the job: deleting the keys of slots that are
    /// about to be ours would lose them.
    Asked,
}

impl ImportState {
    /// Valkey's name of the state.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WaitingForAck => "waiting-for-ack",
            Self::ReceivingSnapshot => "receiving-snapshot",
            Self::WaitingForPaused => "waiting-for-paused",
            Self::FailoverRequested => "failover-requested",
            Self::FailoverGranted(_) => "failover-granted",
            Self::CleaningUp(_) => "cleaning-up",
            Self::OccurringOnPrimary => "occurring-on-primary",
            Self::Success => "success",
            Self::Failed(_) => "failed",
        }
    }

    /// Success or failed.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Success | Self::Failed(_))
    }

    /// Neither finished nor cleaning up: messages are taken.
    pub fn is_in_progress(&self) -> bool {
        !self.is_finished() && !matches!(self, Self::CleaningUp(_))
    }

    /// Whether the job sends an ACK every second.
    pub fn sends_acks(&self) -> bool {
        use ImportState::*;
        match self {
            ReceivingSnapshot | WaitingForPaused | FailoverRequested | FailoverGranted(_) => true,
            WaitingForAck | CleaningUp(_) | OccurringOnPrimary | Success | Failed(_) => false,
        }
    }

    /// Whether hearing nothing from the source for too long ends the job.
    pub fn minds_silence(&self) -> bool {
        self.is_in_progress() && !matches!(self, Self::OccurringOnPrimary)
    }
}

/// Everything that can happen to an import.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImportEvent {
    // What the source says; each after all commands before it have been executed.
    Ack,
    SnapshotEof,
    Paused,
    FailoverGranted,
    RequestPause,
    RequestFailover,
    Establish,
    UnknownSubcommand,
    /// A command from the source was answered with an error, or concerned keys outside the job's slots.
    CommandFailed,
    /// A command from the source found no memory.
    OutOfMemory,
    LinkLost,
    /// Nothing was heard for too long.
    SourceSilent,
    // What our primary says (or the append-only file).
    FinishedWithSuccess,
    FinishedWithFailure(Vec<u8>),
    // The taking over.
    ClaimAllowed,
    Claimed,
    ClaimFailed,
    KeysDeleted,
    // The node and the cluster.
    SourceNotOwner,
    AssignedToMyself,
    Demoted,
    Promoted,
    ClusterReset,
    Flushed,
    FullSync,
    Loading,
    Restarted,
}

/// What an import has its actor do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImportAction {
    /// Note that the source was heard of.
    NoteAck,
    SendAck,
    SendRequestPause,
    SendRequestFailover,
    /// Take the slots over as soon as that is allowed: answered by `ClaimAllowed`, then `Claimed`.
    AskToClaim,
    ClaimSlots,
    /// Make the keys visible.
    ShowSlots,
    /// Delete the keys of the slots this node does not own, then say `KeysDeleted`.
    DeleteKeys,
    CloseLink,
    /// Tell replicas and the append-only file how it ended.
    ReplicateFinish,
}

/// One event in one state.
pub fn step(state: ImportState, event: ImportEvent) -> Step<ImportState, ImportAction> {
    use ImportAction::*;
    use ImportEvent as E;
    use ImportState as S;
    if state.is_finished() {
        return Step::Refused(state);
    }
    if let S::CleaningUp(reason) = state {
        return match event {
            E::KeysDeleted => Step::to(S::Failed(reason), [ShowSlots, ReplicateFinish]),
            // The new primary follows the same job, and cleans up.
            E::Demoted => Step::to(S::OccurringOnPrimary, []),
            // Nothing is left of any key.
            E::FullSync | E::Loading => Step::to(S::Failed(reason), [ShowSlots]),
            E::Ack | E::SnapshotEof | E::Paused | E::FailoverGranted | E::RequestPause => {
                Step::Refused(S::CleaningUp(reason))
            }
            E::RequestFailover | E::Establish | E::UnknownSubcommand | E::CommandFailed | E::OutOfMemory => {
                Step::Refused(S::CleaningUp(reason))
            }
            E::LinkLost | E::SourceSilent | E::FinishedWithSuccess | E::FinishedWithFailure(_) => {
                Step::Refused(S::CleaningUp(reason))
            }
            E::ClaimAllowed | E::Claimed | E::ClaimFailed | E::SourceNotOwner | E::AssignedToMyself => {
                Step::Refused(S::CleaningUp(reason))
            }
            E::Promoted | E::ClusterReset | E::Restarted | E::Flushed => Step::Refused(S::CleaningUp(reason)),
        };
    }
    match state {
        S::OccurringOnPrimary => return follow(event),
        S::FailoverGranted(Claim::Asked) => return claiming(event),
        _ => {}
    }
    match event {
        E::Ack => match state {
            S::WaitingForAck => Step::to(S::ReceivingSnapshot, [NoteAck, SendAck]),
            other => Step::to(other, [NoteAck]),
        },
        E::SnapshotEof => match state {
            S::ReceivingSnapshot => Step::to(S::WaitingForPaused, [SendRequestPause]),
            _ => fail(Reason::Transition),
        },
        E::Paused => match state {
            S::WaitingForPaused => Step::to(S::FailoverRequested, [SendRequestFailover]),
            _ => fail(Reason::Transition),
        },
        E::FailoverGranted => match state {
            S::FailoverRequested => Step::to(S::FailoverGranted(Claim::Waiting), [AskToClaim]),
            _ => fail(Reason::Transition),
        },
        E::RequestPause | E::RequestFailover | E::Establish => fail(Reason::Transition),
        E::UnknownSubcommand => fail(Reason::UnknownSubcommand),
        E::CommandFailed => fail(Reason::CommandFailed),
        E::OutOfMemory => fail(Reason::OutOfMemory),
        E::LinkLost => fail(Reason::SourceLost),
        E::SourceSilent => fail(Reason::Silence),
        E::ClaimAllowed => match state {
            S::FailoverGranted(Claim::Waiting) => Step::to(S::FailoverGranted(Claim::Asked), [ClaimSlots]),
            other => Step::Refused(other),
        },
        E::SourceNotOwner => fail(Reason::SourceNotOwner),
        E::AssignedToMyself => fail(Reason::AssignedToMyself),
        E::Demoted => Step::to(S::OccurringOnPrimary, [CloseLink]),
        E::ClusterReset => fail(Reason::SourceNotOwner),
        E::Flushed => fail(Reason::Flushed),
        E::FullSync => fail(Reason::FullSync),
        E::Loading => fail(Reason::Loading),
        E::Claimed | E::ClaimFailed | E::KeysDeleted => Step::Refused(state),
        E::FinishedWithSuccess | E::FinishedWithFailure(_) => Step::Refused(state),
        E::Promoted | E::Restarted => Step::Refused(state),
    }
}

/// A job whose claim is under way.
fn claiming(event: ImportEvent) -> Step<ImportState, ImportAction> {
    use ImportAction::*;
    use ImportEvent as E;
    use ImportState as S;
    let same = || Step::Refused(S::FailoverGranted(Claim::Asked));
    match event {
        E::Claimed => Step::to(S::Success, [ShowSlots, ReplicateFinish, CloseLink]),
        E::ClaimFailed => fail(Reason::SourceNotOwner),
        E::Ack => Step::to(S::FailoverGranted(Claim::Asked), [NoteAck]),
        E::Demoted => Step::to(S::OccurringOnPrimary, [CloseLink]),
        E::FullSync => fail(Reason::FullSync),
        E::Loading => fail(Reason::Loading),
        E::ClusterReset => fail(Reason::SourceNotOwner),
        E::SnapshotEof | E::Paused | E::FailoverGranted | E::RequestPause | E::RequestFailover => same(),
        E::Establish | E::UnknownSubcommand | E::CommandFailed | E::OutOfMemory | E::LinkLost => same(),
        // A flush empties what we are about to own: that is what its client asked for.
        E::SourceSilent | E::Flushed | E::SourceNotOwner | E::AssignedToMyself | E::ClaimAllowed => same(),
        E::KeysDeleted | E::FinishedWithSuccess | E::FinishedWithFailure(_) => same(),
        E::Promoted | E::Restarted => same(),
    }
}

/// A job of our primary's.
fn follow(event: ImportEvent) -> Step<ImportState, ImportAction> {
    use ImportAction::*;
    use ImportEvent as E;
    use ImportState as S;
    let same = || S::OccurringOnPrimary;
    match event {
        E::FinishedWithSuccess => Step::to(S::Success, [ShowSlots]),
        // What it had imported was deleted by the commands before.
        E::FinishedWithFailure(text) => Step::to(S::Failed(Reason::Told(text)), [ShowSlots]),
        E::Promoted => Step::to(S::CleaningUp(Reason::Failover), [DeleteKeys]),
        E::Restarted => Step::to(S::CleaningUp(Reason::Restarted), [DeleteKeys]),
        // Only one database may have been emptied. The primary fails its job for this, deletes the rest and says so.
        E::Flushed => Step::Refused(same()),
        E::FullSync => Step::to(S::Failed(Reason::FullSync), [ShowSlots]),
        E::Loading => Step::to(S::Failed(Reason::Loading), [ShowSlots]),
        E::ClusterReset => Step::to(S::CleaningUp(Reason::SourceNotOwner), [DeleteKeys]),
        // A chained link would carry these: they are our primary's business.
        E::Ack | E::SnapshotEof | E::Paused | E::FailoverGranted => Step::Refused(same()),
        E::RequestPause | E::RequestFailover | E::Establish | E::UnknownSubcommand => Step::Refused(same()),
        E::CommandFailed | E::OutOfMemory | E::LinkLost | E::SourceSilent => Step::Refused(same()),
        E::ClaimAllowed | E::Claimed | E::ClaimFailed | E::KeysDeleted => Step::Refused(same()),
        E::SourceNotOwner | E::AssignedToMyself | E::Demoted => Step::Refused(same()),
    }
}

/// Ends an import on a primary: the link first, so that nothing more comes in while the keys go.
fn fail(reason: Reason) -> Step<ImportState, ImportAction> {
    Step::to(ImportState::CleaningUp(reason), [ImportAction::CloseLink, ImportAction::DeleteKeys])
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
