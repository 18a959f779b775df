use super::ImportAction::*;
use super::ImportEvent as E;
use super::ImportState as S;
use super::*;

fn states() -> Vec<S> {
    vec![
        S::WaitingForAck,
        S::ReceivingSnapshot,
        S::WaitingForPaused,
        S::FailoverRequested,
        S::FailoverGranted(Claim::Waiting),
        S::FailoverGranted(Claim::Asked),
        S::CleaningUp(Reason::OutOfMemory),
        S::OccurringOnPrimary,
        S::Success,
        S::Failed(Reason::OutOfMemory),
    ]
}

fn events() -> Vec<E> {
    vec![
        E::Ack,
        E::SnapshotEof,
        E::Paused,
        E::FailoverGranted,
        E::RequestPause,
        E::RequestFailover,
        E::Establish,
        E::UnknownSubcommand,
        E::CommandFailed,
        E::OutOfMemory,
        E::LinkLost,
        E::SourceSilent,
        E::FinishedWithSuccess,
        E::FinishedWithFailure(b"why".to_vec()),
        E::ClaimAllowed,
        E::Claimed,
        E::ClaimFailed,
        E::KeysDeleted,
        E::SourceNotOwner,
        E::AssignedToMyself,
        E::Demoted,
        E::Promoted,
        E::ClusterReset,
        E::Flushed,
        E::FullSync,
        E::Loading,
        E::Restarted,
    ]
}

/// Every transition that is not a failure: state, event, new state, actions.
fn transitions() -> Vec<(S, E, S, Vec<ImportAction>)> {
    let told = Reason::Told(b"why".to_vec());
    let cleaning = || S::CleaningUp(Reason::OutOfMemory);
    let failed = || S::Failed(Reason::OutOfMemory);
    vec![
        (S::WaitingForAck, E::Ack, S::ReceivingSnapshot, vec![NoteAck, SendAck]),
        (S::ReceivingSnapshot, E::SnapshotEof, S::WaitingForPaused, vec![SendRequestPause]),
        (S::WaitingForPaused, E::Paused, S::FailoverRequested, vec![SendRequestFailover]),
        (S::FailoverRequested, E::FailoverGranted, S::FailoverGranted(Claim::Waiting), vec![AskToClaim]),
        (
            S::FailoverGranted(Claim::Waiting),
            E::ClaimAllowed,
            S::FailoverGranted(Claim::Asked),
            vec![ClaimSlots],
        ),
        (
            S::FailoverGranted(Claim::Asked),
            E::Claimed,
            S::Success,
            vec![ShowSlots, ReplicateFinish, CloseLink],
        ),
        (cleaning(), E::KeysDeleted, failed(), vec![ShowSlots, ReplicateFinish]),
        (cleaning(), E::Demoted, S::OccurringOnPrimary, vec![]),
        (cleaning(), E::FullSync, failed(), vec![ShowSlots]),
        (cleaning(), E::Loading, failed(), vec![ShowSlots]),
        (S::OccurringOnPrimary, E::FinishedWithSuccess, S::Success, vec![ShowSlots]),
        (S::OccurringOnPrimary, E::FinishedWithFailure(b"why".to_vec()), S::Failed(told), vec![ShowSlots]),
        (S::OccurringOnPrimary, E::Promoted, S::CleaningUp(Reason::Failover), vec![DeleteKeys]),
        (S::OccurringOnPrimary, E::Restarted, S::CleaningUp(Reason::Restarted), vec![DeleteKeys]),
        (S::OccurringOnPrimary, E::ClusterReset, S::CleaningUp(Reason::SourceNotOwner), vec![DeleteKeys]),
        (S::OccurringOnPrimary, E::FullSync, S::Failed(Reason::FullSync), vec![ShowSlots]),
        (S::OccurringOnPrimary, E::Loading, S::Failed(Reason::Loading), vec![ShowSlots]),
    ]
}

/// Why the event ends a job in this state, if it does. While a claim is under way only its outcome and the loss of all
/// data do.
fn failing(state: &S, event: &E) -> Option<Reason> {
    let claiming = *state == S::FailoverGranted(Claim::Asked);
    if !state.is_in_progress() || *state == S::OccurringOnPrimary {
        return None;
    }
    match event {
        E::FullSync => Some(Reason::FullSync),
        E::Loading => Some(Reason::Loading),
        E::ClusterReset => Some(Reason::SourceNotOwner),
        E::ClaimFailed if claiming => Some(Reason::SourceNotOwner),
        _ if claiming => None,
        E::SnapshotEof | E::Paused | E::FailoverGranted => Some(Reason::Transition),
        E::RequestPause | E::RequestFailover | E::Establish => Some(Reason::Transition),
        E::UnknownSubcommand => Some(Reason::UnknownSubcommand),
        E::CommandFailed => Some(Reason::CommandFailed),
        E::OutOfMemory => Some(Reason::OutOfMemory),
        E::LinkLost => Some(Reason::SourceLost),
        E::SourceSilent => Some(Reason::Silence),
        E::SourceNotOwner => Some(Reason::SourceNotOwner),
        E::AssignedToMyself => Some(Reason::AssignedToMyself),
        E::Flushed => Some(Reason::Flushed),
        _ => None,
    }
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let mut taken = 0;
    for state in states() {
        for event in events() {
            let step = step(state.clone(), event.clone());
            let what = format!("{state:?} + {event:?}: {step:?}");
            let listed = transitions().into_iter().find(|(s, e, ..)| *s == state && *e == event);
            if let Some((_, _, next, actions)) = listed {
                assert_eq!(step, Step::Taken { state: next, actions }, "{what}");
                taken += 1;
            } else if let Some(reason) = failing(&state, &event) {
                assert_eq!(step, Step::to(S::CleaningUp(reason), [CloseLink, DeleteKeys]), "{what}");
            } else if event == E::Demoted && state.is_in_progress() && state != S::OccurringOnPrimary {
                assert_eq!(step, Step::to(S::OccurringOnPrimary, [CloseLink]), "{what}");
            } else if event == E::Ack && state.is_in_progress() && state != S::OccurringOnPrimary {
                assert_eq!(step, Step::to(state.clone(), [NoteAck]), "{what}");
            } else {
                assert_eq!(step, Step::Refused(state.clone()), "{what}");
            }
        }
    }
    assert_eq!(taken, transitions().len());
}

/// Whatever happens in whatever order: the slots are shown exactly once, when the job finishes.
#[test]
fn slots_are_shown_once_and_only_at_the_end() {
    for state in states() {
        for event in events() {
            if let Step::Taken { state: next, actions } = step(state.clone(), event.clone()) {
                let shown = actions.iter().filter(|a| **a == ShowSlots).count();
                assert_eq!(shown, usize::from(next.is_finished()), "{state:?} + {event:?}");
            }
        }
    }
}

#[test]
fn names_are_those_of_the_reference() {
    let names: Vec<&str> = states().iter().map(S::name).collect();
    assert_eq!(
        names.join(" "),
        "waiting-for-ack receiving-snapshot waiting-for-paused failover-requested failover-granted \
         failover-granted cleaning-up occurring-on-primary success failed"
    );
}
