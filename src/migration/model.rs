//! Model checking of a whole migration: a source, a target, the link between them, the cluster bus, clients that write,
//! and a world in which links are cut, nodes restart, timers fire early and operators cancel. Both ends run the very
//! `step` functions of the server; only what the actions do is modelled here.
//!
//! What is checked in every reachable state:
//! - the two nodes never both accept writes to the slots, unless an operator (or a limit an operator set) ended the wait
//!   for the new owner; and even then not in one epoch
//! - no acknowledged write is missing at the node that owns the slots, with the same exception
//!
//! and on every path: both jobs end, nothing stays hidden or frozen, and both nodes agree who owns the slots.
//!
//! A restart of the source while it waits for the new owner is left out: it forgets the grant, like a node that is cut
//! off, and what it then accepts before the cluster tells it better is lost with any design that keeps the grant in
//! memory.

use stateright::{Checker, Model, Property};

use super::export::{self, Backlog, ExportAction, ExportEvent, ExportState, NewOwner, Withdrawal};
use super::import::{self, ImportAction, ImportEvent, ImportState};
use super::reason::Reason;
use super::step::Step;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Source,
    Target,
}

/// What is on its way on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wire {
    Establish,
    Accepted,
    Ack,
    /// Keys of the snapshot, or the effect of a write: writes, one bit each.
    Writes(u8),
    SnapshotEof,
    RequestPause,
    Paused,
    RequestFailover,
    FailoverGranted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Frozen {
    No,
    Asked,
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// None: the source has restarted.
    export: Option<ExportState>,
    /// None: not begun, or the target has restarted.
    import: Option<ImportState>,
    to_target: Vec<Wire>,
    to_source: Vec<Wire>,
    /// Nothing more can be sent; what is under way may still arrive.
    cut: bool,
    source_noticed: bool,
    target_noticed: bool,
    /// Who owns the slots, as each of them sees it, and in which epoch.
    source_sees: (Node, u8),
    target_sees: (Node, u8),
    frozen: Frozen,
    hidden: bool,
    /// Effects are recorded for the link, and what of the keys is not sent yet.
    recording: bool,
    unsent: u8,
    snapshot_sent: bool,
    source_keys: u8,
    target_keys: u8,
    acknowledged: u8,
    claim_asked: bool,
    claim_done: bool,
    deleting: bool,
    /// The source asks the target what became of the job.
    asking: bool,
    has_asked: bool,
    /// An operator's decision ended the wait for the new owner.
    forced: bool,
    writes_left: u8,
    faults_left: u8,
}

impl World {
    fn source_accepts(&self) -> bool {
        self.source_sees.0 == Node::Source && self.frozen != Frozen::Yes
    }

    fn target_accepts(&self) -> bool {
        self.target_sees.0 == Node::Target
    }

    fn is_over(&self) -> bool {
        self.export.as_ref().is_none_or(ExportState::is_finished)
            && self.import.as_ref().is_none_or(ImportState::is_finished)
            && !self.hidden
            && self.frozen == Frozen::No
            && self.source_sees.0 == self.target_sees.0
            && !self.recording
    }

    fn say_to_target(&mut self, message: Wire) {
        if !self.cut {
            self.to_target.push(message);
        }
    }

    fn say_to_source(&mut self, message: Wire) {
        if !self.cut {
            self.to_source.push(message);
        }
    }

    fn export_event(&mut self, event: ExportEvent) {
        let Some(state) = self.export.take() else { return };
        match export::step(state, event) {
            Step::Refused(state) => self.export = Some(state),
            Step::Taken { state, actions } => {
                self.export = Some(state);
                actions.into_iter().for_each(|action| self.do_export(action));
            }
        }
    }

    fn do_export(&mut self, action: ExportAction) {
        use ExportAction::*;
        match action {
            SendEstablish => {
                self.say_to_target(Wire::Establish);
                self.export_event(ExportEvent::EstablishSent);
            }
            SendAck => self.say_to_target(Wire::Ack),
            BeginSnapshot => (self.recording, self.unsent) = (true, self.source_keys),
            FreezeSlots => self.frozen = Frozen::Asked,
            ThawSlots => self.frozen = Frozen::No,
            SendPaused => self.say_to_target(Wire::Paused),
            SendFailoverGranted => self.say_to_target(Wire::FailoverGranted),
            AskTarget => (self.asking, self.has_asked) = (true, true),
            StopExport => (self.recording, self.unsent, self.asking) = (false, 0, false),
            CloseLink => {
                self.cut = true;
                self.source_noticed = true;
                self.to_source.clear();
            }
            SendAuth | NoteAck | StartPauseTimer | ExtendPauseTimer => {}
            Grant | EndGrant | StartGrantTimer | WarnOfWriteLoss => {}
        }
    }

    fn import_event(&mut self, event: ImportEvent) {
        let Some(state) = self.import.take() else { return };
        match import::step(state, event) {
            Step::Refused(state) => self.import = Some(state),
            Step::Taken { state, actions } => {
                self.import = Some(state);
                actions.into_iter().for_each(|action| self.do_import(action));
            }
        }
    }

    fn do_import(&mut self, action: ImportAction) {
        use ImportAction::*;
        match action {
            SendAck => self.say_to_source(Wire::Ack),
            SendRequestPause => self.say_to_source(Wire::RequestPause),
            SendRequestFailover => self.say_to_source(Wire::RequestFailover),
            ClaimSlots => self.claim_asked = true,
            ShowSlots => {
                assert!(self.hidden, "slots are shown once");
                self.hidden = false;
            }
            DeleteKeys => self.deleting = true,
            CloseLink => {
                self.cut = true;
                self.target_noticed = true;
                self.to_target.clear();
            }
            NoteAck | AskToClaim | ReplicateFinish => {}
        }
    }

    fn target_hears(&mut self, message: Wire) {
        match message {
            Wire::Establish => {
                (self.import, self.hidden) = (Some(ImportState::WaitingForAck), true);
                self.say_to_source(Wire::Accepted);
            }
            Wire::Writes(writes) => {
                if self.import.as_ref().is_some_and(ImportState::is_in_progress) {
                    self.target_keys |= writes;
                }
            }
            Wire::Ack => self.import_event(ImportEvent::Ack),
            Wire::SnapshotEof => self.import_event(ImportEvent::SnapshotEof),
            Wire::Paused => self.import_event(ImportEvent::Paused),
            Wire::FailoverGranted => self.import_event(ImportEvent::FailoverGranted),
            Wire::Accepted | Wire::RequestPause | Wire::RequestFailover => unreachable!("the target's words"),
        }
    }

    fn restart_target(&mut self) {
        // What belongs to nobody here is deleted when a node starts.
        if self.target_sees.0 == Node::Source {
            self.target_keys = 0;
        }
        (self.import, self.hidden, self.deleting) = (None, false, false);
        (self.claim_asked, self.claim_done) = (false, false);
        (self.cut, self.target_noticed) = (true, true);
        self.to_target.clear();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Connect,
    ToTarget,
    ToSource,
    ToSourceOverLimit,
    NoticeAtSource,
    NoticeAtTarget,
    StartSnapshot,
    SendKeys,
    SendEof,
    BacklogShrinks,
    ShardsFreeze,
    AllowClaim,
    GossipClaims,
    TellClaimed,
    KeysDeleted,
    /// The source hears of the claim on the bus.
    HearClaim,
    /// The target answers the source's question about the job.
    AnswerSource,
    WriteToSource,
    WriteToTarget,
    // Faults: finitely many.
    PauseOver,
    CutLink,
    CancelJob,
    GrantOver,
    SourceSilent,
    TargetSilent,
    TargetOutOfMemory,
    /// The target says something nobody understands; or keys of another database are flushed.
    NonsenseFromTarget,
    FlushAtSource,
    FlushAtTarget,
    RestartTarget,
    RestartSource,
}

struct Migration {
    writes: u8,
    faults: u8,
}

impl Model for Migration {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            export: Some(ExportState::Connecting),
            import: None,
            to_target: Vec::new(),
            to_source: Vec::new(),
            cut: false,
            source_noticed: false,
            target_noticed: false,
            source_sees: (Node::Source, 1),
            target_sees: (Node::Source, 1),
            frozen: Frozen::No,
            hidden: false,
            recording: false,
            unsent: 0,
            snapshot_sent: false,
            source_keys: 1 << 7,
            target_keys: 0,
            acknowledged: 1 << 7,
            claim_asked: false,
            claim_done: false,
            deleting: false,
            asking: false,
            has_asked: false,
            forced: false,
            writes_left: self.writes,
            faults_left: self.faults,
        }]
    }

    fn actions(&self, w: &World, out: &mut Vec<Action>) {
        use Action::*;
        let export = w.export.as_ref();
        let import = w.import.as_ref();
        let snapshotting = export == Some(&ExportState::Snapshotting);
        let claims_wait = import == Some(&ImportState::FailoverGranted(import::Claim::Waiting));
        let job_gone = import.is_none_or(|i| !i.is_in_progress()) && !w.claim_asked && !w.claim_done;
        let mut may = |action, condition: bool| {
            if condition {
                out.push(action);
            }
        };
        may(Connect, export == Some(&ExportState::Connecting));
        may(ToTarget, !w.to_target.is_empty());
        may(ToSource, !w.to_source.is_empty());
        may(ToSourceOverLimit, w.to_source.first() == Some(&Wire::RequestPause));
        may(NoticeAtSource, w.cut && !w.source_noticed);
        may(NoticeAtTarget, w.cut && !w.target_noticed && w.import.is_some());
        may(StartSnapshot, export == Some(&ExportState::WaitingToSnapshot));
        may(SendKeys, snapshotting && w.unsent != 0);
        may(SendEof, snapshotting && w.unsent == 0);
        may(BacklogShrinks, export == Some(&ExportState::WaitingToPause));
        may(ShardsFreeze, w.frozen == Frozen::Asked);
        may(AllowClaim, claims_wait);
        may(GossipClaims, w.claim_asked);
        may(TellClaimed, w.claim_done);
        may(KeysDeleted, w.deleting);
        may(HearClaim, w.target_sees.0 == Node::Target && w.source_sees.0 == Node::Source);
        may(AnswerSource, w.asking && job_gone && w.target_sees.0 == Node::Source && w.to_target.is_empty());
        may(WriteToSource, w.writes_left > 0 && w.source_accepts());
        may(WriteToTarget, w.writes_left > 0 && w.target_accepts());
        let faults = w.faults_left > 0;
        let running = export.is_some_and(|e| !e.is_finished());
        let granted = export == Some(&ExportState::FailoverGranted);
        let importing = import.is_some_and(ImportState::minds_silence);
        may(PauseOver, faults && export.is_some_and(ExportState::is_frozen));
        may(CutLink, faults && !w.cut && running);
        may(CancelJob, faults && running);
        may(GrantOver, faults && granted);
        may(SourceSilent, faults && importing);
        may(TargetSilent, faults && export.is_some_and(ExportState::minds_silence));
        may(TargetOutOfMemory, faults && importing);
        may(NonsenseFromTarget, faults && running && !w.cut && import.is_some());
        may(FlushAtSource, faults && running);
        may(FlushAtTarget, faults && importing);
        may(RestartTarget, faults && import.is_some());
        may(RestartSource, faults && running && !granted);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        use Action::*;
        let mut w = last.clone();
        match action {
            Connect => w.export_event(ExportEvent::Connected(export::Auth::NotNeeded)),
            ToTarget => {
                let message = w.to_target.remove(0);
                w.target_hears(message);
            }
            ToSource | ToSourceOverLimit => match w.to_source.remove(0) {
                Wire::Accepted => w.export_event(ExportEvent::EstablishAccepted),
                Wire::Ack => w.export_event(ExportEvent::Ack),
                Wire::RequestPause => {
                    let over = action == ToSourceOverLimit;
                    let backlog = if over { Backlog::OverLimit } else { Backlog::WithinLimit };
                    w.export_event(ExportEvent::RequestPause(backlog));
                }
                Wire::RequestFailover => w.export_event(ExportEvent::RequestFailover),
                _ => unreachable!("the source's words"),
            },
            NoticeAtSource => {
                w.source_noticed = true;
                w.to_source.clear();
                w.export_event(ExportEvent::LinkLost);
            }
            NoticeAtTarget => {
                w.target_noticed = true;
                w.to_target.clear();
                w.import_event(ImportEvent::LinkLost);
            }
            StartSnapshot => w.export_event(ExportEvent::SnapshotMayStart),
            SendKeys => {
                w.say_to_target(Wire::Writes(w.unsent));
                w.unsent = 0;
            }
            SendEof => {
                w.say_to_target(Wire::SnapshotEof);
                w.snapshot_sent = true;
                w.export_event(ExportEvent::SnapshotSent);
            }
            BacklogShrinks => w.export_event(ExportEvent::BacklogShrank),
            ShardsFreeze => {
                w.frozen = Frozen::Yes;
                w.export_event(ExportEvent::SlotsFrozen);
            }
            AllowClaim => w.import_event(ImportEvent::ClaimAllowed),
            GossipClaims => {
                w.claim_asked = false;
                w.claim_done = true;
                w.target_sees = (Node::Target, w.source_sees.1.max(w.target_sees.1) + 1);
            }
            TellClaimed => {
                w.claim_done = false;
                w.import_event(ImportEvent::Claimed);
            }
            KeysDeleted => {
                w.deleting = false;
                if w.target_sees.0 == Node::Source {
                    w.target_keys = 0;
                }
                w.import_event(ImportEvent::KeysDeleted);
            }
            HearClaim => {
                w.source_sees = w.target_sees;
                w.export_event(ExportEvent::OwnerChanged(NewOwner::Target));
                w.source_keys = 0;
            }
            AnswerSource => w.export_event(ExportEvent::TargetGaveUp(Withdrawal::None)),
            WriteToSource => {
                let write = 1 << (w.writes_left - 1);
                w.writes_left -= 1;
                w.source_keys |= write;
                w.acknowledged |= write;
                if w.recording && w.export == Some(ExportState::Snapshotting) && w.unsent != 0 {
                    // Its key is not sent yet: the snapshot will carry it.
                    w.unsent |= write;
                } else if w.recording {
                    w.say_to_target(Wire::Writes(write));
                }
            }
            WriteToTarget => {
                let write = 1 << (w.writes_left - 1);
                w.writes_left -= 1;
                w.target_keys |= write;
                w.acknowledged |= write;
            }
            PauseOver | CutLink | CancelJob | GrantOver | SourceSilent | TargetSilent | TargetOutOfMemory
            | NonsenseFromTarget | FlushAtSource | FlushAtTarget | RestartTarget | RestartSource => {
                w = fault(w, action)
            }
        }
        (w != *last).then_some(w)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one node accepts writes", |_, w: &World| {
                w.forced || !(w.source_accepts() && w.target_accepts())
            }),
            Property::always("never two in one epoch", |_, w: &World| {
                !(w.source_accepts() && w.target_accepts()) || w.source_sees.1 != w.target_sees.1
            }),
            Property::always("no acknowledged write is lost", |_, w: &World| {
                let keys = if w.target_accepts() { w.target_keys } else { w.source_keys };
                w.forced || w.acknowledged & !keys == 0
            }),
            Property::always("a finished export freezes nothing", |_, w: &World| {
                !w.export.as_ref().is_some_and(ExportState::is_finished) || w.frozen == Frozen::No
            }),
            Property::eventually("every job ends and nothing is left behind", |_, w: &World| w.is_over()),
            Property::sometimes("the slots move", |_, w: &World| {
                w.is_over() && w.source_sees.0 == Node::Target && w.export == Some(ExportState::Success)
            }),
            Property::sometimes("a job fails and leaves the slots where they were", |_, w: &World| {
                let failed = ImportState::Failed(Reason::SourceLost);
                w.is_over() && w.source_sees.0 == Node::Source && w.import == Some(failed)
            }),
            Property::sometimes("a link cut at the grant still hands over", |_, w: &World| {
                w.is_over() && w.has_asked && w.source_sees.0 == Node::Target
            }),
        ]
    }
}

fn fault(mut w: World, action: Action) -> World {
    w.faults_left -= 1;
    let granted = w.export == Some(ExportState::FailoverGranted);
    match action {
        Action::PauseOver => w.export_event(ExportEvent::PauseOver),
        Action::CutLink => w.cut = true,
        Action::CancelJob => {
            w.forced |= granted;
            w.export_event(ExportEvent::CancelRequested);
        }
        Action::GrantOver => {
            w.forced = true;
            w.export_event(ExportEvent::GrantOver);
        }
        Action::SourceSilent => w.import_event(ImportEvent::SourceSilent),
        Action::TargetSilent => w.export_event(ExportEvent::AckOverdue),
        Action::TargetOutOfMemory => w.import_event(ImportEvent::OutOfMemory),
        Action::NonsenseFromTarget => w.export_event(ExportEvent::UnknownSubcommand),
        Action::FlushAtSource => w.export_event(ExportEvent::Flushed),
        Action::FlushAtTarget => w.import_event(ImportEvent::Flushed),
        Action::RestartTarget => w.restart_target(),
        Action::RestartSource => {
            w.export = None;
            (w.recording, w.unsent, w.frozen, w.asking) = (false, 0, Frozen::No, false);
            (w.cut, w.source_noticed) = (true, true);
            w.to_source.clear();
        }
        other => unreachable!("{other:?} is no fault"),
    }
    w
}

/// The default tier checks three writes and three faults; `SKULD_MODEL=full` five of each.
#[test]
fn no_migration_loses_a_write_or_never_ends() {
    let full = std::env::var("SKULD_MODEL").is_ok_and(|size| size == "full");
    let model = if full { Migration { writes: 5, faults: 5 } } else { Migration { writes: 3, faults: 3 } };
    let checker = model.checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// The checker would notice: the same world with a source that thaws when its pause is over, as Valkey's does, has a
/// state in which both nodes accept writes.
#[test]
fn a_source_that_gives_up_the_grant_is_found_out() {
    let checker = Valkey(Migration { writes: 1, faults: 1 }).checker().spawn_dfs().join();
    assert!(checker.discovery("one node accepts writes").is_some());
}

/// [`Migration`] whose operator's decision is nobody's: the source's pause simply ends.
struct Valkey(Migration);

impl Model for Valkey {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        self.0.init_states()
    }

    fn actions(&self, state: &World, out: &mut Vec<Action>) {
        self.0.actions(state, out);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut next = self.0.next_state(last, action)?;
        next.forced = false;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("one node accepts writes", |_, w: &World| {
            !(w.source_accepts() && w.target_accepts())
        })]
    }
}
