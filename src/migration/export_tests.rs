use super::ExportAction::*;
use super::ExportEvent as E;
use super::ExportState as S;
use super::*;

fn states() -> Vec<S> {
    vec![
        S::Connecting,
        S::SendingAuth,
        S::ReadingAuth,
        S::SendingEstablish,
        S::ReadingEstablish,
        S::WaitingToSnapshot,
        S::Snapshotting,
        S::Replicating,
        S::WaitingToPause,
        S::FailoverPaused(Freeze::Asked),
        S::FailoverPaused(Freeze::Announced),
        S::FailoverGranted,
        S::Success,
        S::Failed(Reason::Flushed),
        S::Cancelled,
    ]
}

fn events() -> Vec<E> {
    vec![
        E::Connected(Auth::Needed),
        E::Connected(Auth::NotNeeded),
        E::ConnectFailed("x".into()),
        E::AuthSent,
        E::AuthNotSent("x".into()),
        E::AuthAccepted,
        E::AuthRefused(b"-x".to_vec()),
        E::AuthUnanswered,
        E::EstablishSent,
        E::EstablishAccepted,
        E::EstablishRefused(b"-x\r\n".to_vec()),
        E::EstablishReplyTooLong,
        E::LinkLost,
        E::Ack,
        E::RequestPause(Backlog::WithinLimit),
        E::RequestPause(Backlog::OverLimit),
        E::RequestFailover,
        E::SnapshotEof,
        E::Paused,
        E::FailoverGranted,
        E::Establish,
        E::Finish,
        E::UnknownSubcommand,
        E::CommandFailed,
        E::SnapshotMayStart,
        E::SnapshotSent,
        E::SnapshotFailed,
        E::BacklogShrank,
        E::SlotsFrozen,
        E::AckOverdue,
        E::PauseOver,
        E::GrantOver,
        E::OwnerChanged(NewOwner::Target),
        E::OwnerChanged(NewOwner::Other),
        E::TargetFailed,
        E::TargetGaveUp(Withdrawal::None),
        E::TargetGaveUp(Withdrawal::PauseOver),
        E::TargetUnknown,
        E::Demoted,
        E::ClusterReset,
        E::Flushed,
        E::CancelRequested,
    ]
}

/// Every transition that is not the end of the job: state, event, new state, actions.
fn transitions() -> Vec<(S, E, S, Vec<ExportAction>)> {
    use Backlog::*;
    use Freeze::*;
    vec![
        (S::Connecting, E::Connected(Auth::Needed), S::SendingAuth, vec![SendAuth]),
        (S::Connecting, E::Connected(Auth::NotNeeded), S::SendingEstablish, vec![SendEstablish]),
        (S::SendingAuth, E::AuthSent, S::ReadingAuth, vec![]),
        (S::ReadingAuth, E::AuthAccepted, S::SendingEstablish, vec![SendEstablish]),
        (S::SendingEstablish, E::EstablishSent, S::ReadingEstablish, vec![]),
        (S::ReadingEstablish, E::EstablishAccepted, S::WaitingToSnapshot, vec![NoteAck, SendAck]),
        (S::WaitingToSnapshot, E::SnapshotMayStart, S::Snapshotting, vec![BeginSnapshot]),
        (S::Snapshotting, E::SnapshotSent, S::Replicating, vec![]),
        (
            S::Replicating,
            E::RequestPause(WithinLimit),
            S::FailoverPaused(Asked),
            vec![StartPauseTimer, FreezeSlots],
        ),
        (S::Replicating, E::RequestPause(OverLimit), S::WaitingToPause, vec![]),
        (S::WaitingToPause, E::BacklogShrank, S::FailoverPaused(Asked), vec![StartPauseTimer, FreezeSlots]),
        (S::FailoverPaused(Asked), E::SlotsFrozen, S::FailoverPaused(Announced), vec![SendPaused]),
        (
            S::FailoverPaused(Announced),
            E::RequestFailover,
            S::FailoverGranted,
            vec![ExtendPauseTimer, Grant, SendFailoverGranted, StartGrantTimer],
        ),
        (S::FailoverGranted, E::LinkLost, S::FailoverGranted, vec![AskTarget]),
        (S::FailoverGranted, E::PauseOver, S::FailoverGranted, vec![CloseLink, AskTarget]),
    ]
}

/// How the event ends a job in this state, if it does.
fn ending(state: &S, event: &E) -> Option<S> {
    let failed = |reason| Some(S::Failed(reason));
    match event {
        E::OwnerChanged(NewOwner::Target) => return Some(S::Success),
        E::OwnerChanged(NewOwner::Other) | E::Demoted | E::ClusterReset => return failed(Reason::NotOwner),
        E::CancelRequested => return Some(S::Cancelled),
        E::GrantOver | E::TargetFailed if *state == S::FailoverGranted => return failed(Reason::GrantOver),
        E::TargetGaveUp(Withdrawal::None) if *state == S::FailoverGranted => {
            return failed(Reason::TargetLost);
        }
        E::TargetGaveUp(Withdrawal::PauseOver) if *state == S::FailoverGranted => {
            return failed(Reason::GrantOver);
        }
        _ if *state == S::FailoverGranted => return None,
        _ => {}
    }
    match event {
        E::ConnectFailed(e) if *state == S::Connecting => failed(Reason::ConnectFailed(e.clone())),
        E::TargetUnknown if *state == S::Connecting => {
            failed(Reason::ConnectFailed("target node not found".into()))
        }
        E::AuthNotSent(e) if *state == S::SendingAuth => failed(Reason::AuthNotSent(e.clone())),
        E::AuthRefused(line) if *state == S::ReadingAuth => failed(Reason::AuthRefused(line.clone())),
        E::AuthUnanswered if *state == S::ReadingAuth => failed(Reason::AuthUnanswered),
        E::EstablishRefused(raw) if *state == S::ReadingEstablish => {
            failed(Reason::EstablishRefused(raw.clone()))
        }
        E::EstablishReplyTooLong if *state == S::ReadingEstablish => failed(Reason::EstablishReplyTooLong),
        E::LinkLost => failed(Reason::TargetLost),
        E::RequestPause(_) if *state != S::Replicating => failed(Reason::Transition),
        E::RequestFailover if *state != S::FailoverPaused(Freeze::Announced) => failed(Reason::Transition),
        E::SnapshotEof | E::Paused | E::FailoverGranted | E::Establish | E::Finish => {
            failed(Reason::Transition)
        }
        E::UnknownSubcommand => failed(Reason::UnknownSubcommand),
        E::CommandFailed => failed(Reason::CommandFailed),
        E::SnapshotFailed if *state == S::WaitingToSnapshot => failed(Reason::SnapshotNotStarted),
        E::SnapshotFailed if *state == S::Snapshotting => failed(Reason::SnapshotFailed),
        E::AckOverdue => failed(Reason::Silence),
        E::PauseOver if matches!(state, S::FailoverPaused(_)) => failed(Reason::PauseOverBeforeRequest),
        E::Flushed => failed(Reason::Flushed),
        _ => None,
    }
}

/// What the target may not say after the grant; it may own the slots all the same.
fn is_nonsense_after_the_grant(event: &E) -> bool {
    matches!(
        event,
        E::RequestPause(_)
            | E::RequestFailover
            | E::SnapshotEof
            | E::Paused
            | E::FailoverGranted
            | E::Establish
            | E::Finish
            | E::UnknownSubcommand
            | E::CommandFailed
    )
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let mut taken = 0;
    for state in states() {
        for event in events() {
            let step = step(state.clone(), event.clone());
            let what = format!("{state:?} + {event:?}: {step:?}");
            if state.is_finished() {
                assert_eq!(step, Step::Refused(state.clone()), "{what}");
                continue;
            }
            let listed = transitions().into_iter().find(|(s, e, ..)| *s == state && *e == event);
            if let Some((_, _, next, actions)) = listed {
                assert_eq!(step, Step::Taken { state: next, actions }, "{what}");
                taken += 1;
            } else if let Some(end) = ending(&state, &event) {
                let Step::Taken { state: next, actions } = step else { panic!("{what}") };
                assert_eq!(next, end, "{what}");
                // Nothing that happens to the slots from now on may reach the target.
                assert_eq!(actions[..2], [StopExport, CloseLink], "{what}");
                assert_eq!(actions.contains(&ThawSlots), state.is_frozen(), "{what}");
                assert_eq!(actions.contains(&EndGrant), state == S::FailoverGranted, "{what}");
                let is_known = end == S::Success || matches!(event, E::TargetGaveUp(_));
                let risk = state == S::FailoverGranted && !is_known;
                assert_eq!(actions.contains(&WarnOfWriteLoss), risk, "{what}");
            } else if state == S::FailoverGranted && is_nonsense_after_the_grant(&event) {
                assert_eq!(step, Step::to(state.clone(), [CloseLink, AskTarget]), "{what}");
            } else if event == E::Ack {
                assert_eq!(step, Step::to(state.clone(), [NoteAck]), "{what}");
            } else {
                assert_eq!(step, Step::Refused(state.clone()), "{what}");
            }
        }
    }
    assert_eq!(taken, transitions().len());
}

#[test]
fn names_are_those_of_the_reference() {
    let names: Vec<&str> = states().iter().map(S::name).collect();
    assert_eq!(
        names.join(" "),
        "connecting sending-auth-command reading-auth-response sending-establish-command \
         reading-establish-response waiting-to-snapshot snapshotting replicating waiting-to-pause \
         failover-paused failover-paused failover-granted success failed cancelled"
    );
}
