//! CLUSTER SYNCSLOTS: what the two ends of a migration say to each other (spec slot-migration.md, section 0).
//!
//! ```text
//! source                                  target
//!   ESTABLISH SOURCE NAME SLOTSRANGE  -->        +OK
//!   ACK ...                           <->        ACK ...
//!   keys, effects, SNAPSHOT-EOF       -->
//!                                     <--        REQUEST-PAUSE
//!   the last effects, PAUSED          -->
//!                                     <--        REQUEST-FAILOVER
//!   FAILOVER-GRANTED                  -->        takes the slots over, closes
//! ```

use super::arguments::{Refusal, View, check_node};
use super::ids::{Id40, JobName};
use super::ranges::{SlotRanges, parse_ranges};
use crate::effects::encode_command;
use crate::slot::Slot;

/// A message without arguments that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Ack,
    SnapshotEof,
    RequestPause,
    Paused,
    RequestFailover,
    FailoverGranted,
}

impl Signal {
    pub const ALL: [Signal; 6] = [
        Self::Ack,
        Self::SnapshotEof,
        Self::RequestPause,
        Self::Paused,
        Self::RequestFailover,
        Self::FailoverGranted,
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ack => "ACK",
            Self::SnapshotEof => "SNAPSHOT-EOF",
            Self::RequestPause => "REQUEST-PAUSE",
            Self::Paused => "PAUSED",
            Self::RequestFailover => "REQUEST-FAILOVER",
            Self::FailoverGranted => "FAILOVER-GRANTED",
        }
    }

    /// Appends the message as it is sent.
    pub fn encode(self, out: &mut Vec<u8>) {
        encode_command(out, &[b"CLUSTER", b"SYNCSLOTS", self.word().as_bytes()]);
    }

    /// What a client that is no end of a migration is told.
    pub fn refused_to_clients(self) -> String {
        format!("CLUSTER SYNCSLOTS {} should only be used by slot migration clients", self.word())
    }
}

/// What a SYNCSLOTS is about, told by its third word. `rest` are the words after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Signal(Signal),
    Establish {
        rest: &'a [&'a [u8]],
    },
    Finish {
        rest: &'a [&'a [u8]],
    },
    /// Reserved: ignored whoever sends it, and never answered.
    Capa,
    Unknown,
}

impl<'a> Message<'a> {
    /// Reads `CLUSTER SYNCSLOTS word ...`. Words after a signal are ignored, as Valkey does.
    pub fn parse(args: &'a [&'a [u8]]) -> Self {
        let Some(word) = args.get(2) else { return Self::Unknown };
        let rest = &args[3..];
        if let Some(signal) = Signal::ALL.into_iter().find(|s| word.eq_ignore_ascii_case(s.word().as_bytes()))
        {
            return Self::Signal(signal);
        }
        match () {
            () if word.eq_ignore_ascii_case(b"ESTABLISH") => Self::Establish { rest },
            () if word.eq_ignore_ascii_case(b"FINISH") => Self::Finish { rest },
            () if word.eq_ignore_ascii_case(b"CAPA") => Self::Capa,
            () => Self::Unknown,
        }
    }
}

/// A job as its source describes it to the target, or the target to its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Establish {
    pub source: Option<Id40>,
    pub name: JobName,
    pub ranges: SlotRanges,
}

impl Establish {
    /// Appends the command as it is sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers: Vec<String> =
            self.ranges.0.iter().flat_map(|r| [r.start.to_string(), r.end.to_string()]).collect();
        let mut args: Vec<&[u8]> = vec![b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH"];
        if let Some(source) = &self.source {
            args.extend([b"SOURCE" as &[u8], source.as_bytes()]);
        }
        args.extend([b"NAME" as &[u8], self.name.as_bytes(), b"SLOTSRANGE"]);
        args.extend(numbers.iter().map(|n| n.as_bytes()));
        encode_command(out, &args);
    }
}

/// Whose ESTABLISH it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A client that wants to become a migration's link.
    Client,
    /// Our primary, or the append-only file: it has been agreed upon already. Other than Valkey we take the ranges as
    /// they are then and do not hold them against our own view, which may lag behind.
    Stream,
}

/// Checks an ESTABLISH (spec slot-migration.md, 1.4). `importing` are the slots of unfinished imports.
pub fn establish(
    rest: &[&[u8]],
    from: From,
    view: &dyn View,
    importing: &dyn Fn(Slot) -> bool,
) -> Result<Establish, Refusal> {
    if from == From::Client {
        check_node(view)?;
    }
    let (mut source, mut name, mut ranges) = (None, None, None);
    let mut at = 0;
    while let Some(word) = rest.get(at) {
        let value = rest.get(at + 1).and_then(|v| Id40::new(v));
        if word.eq_ignore_ascii_case(b"SOURCE") && source.is_none() {
            let id = value.ok_or(Refusal::Syntax)?;
            if from == From::Client {
                if !view.is_known(&id) {
                    return Err(Refusal::UnknownSource);
                }
                if id == view.myself() {
                    return Err(Refusal::SourceIsMyself);
                }
            }
            source = Some(id);
            at += 2;
        } else if word.eq_ignore_ascii_case(b"NAME") && name.is_none() {
            name = Some(value.ok_or(Refusal::Syntax)?);
            at += 2;
        } else if word.eq_ignore_ascii_case(b"SLOTSRANGE") && ranges.is_none() {
            let parsed = match from {
                From::Client => parse_ranges(&rest[at + 1..], view)?,
                From::Stream => parse_ranges(&rest[at + 1..], &Agreed)?,
            };
            if parsed.ranges.slots().any(importing) {
                return Err(Refusal::AlreadyImporting);
            }
            at += 1 + parsed.used;
            ranges = Some(parsed);
        } else {
            return Err(Refusal::Syntax);
        }
    }
    let (Some(name), Some(parsed)) = (name, ranges) else { return Err(Refusal::Syntax) };
    if from == From::Client && source.ok_or(Refusal::Syntax)? != parsed.owner {
        return Err(Refusal::Disagreement);
    }
    Ok(Establish { source, name, ranges: parsed.ranges })
}

/// Takes every range for agreed upon.
struct Agreed;

impl super::ranges::Owners for Agreed {
    fn owner(&self, _: Slot) -> Option<Id40> {
        Some(Id40([b'0'; 40]))
    }
}

/// How a target ended a job, as it tells its replicas and its append-only file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    pub name: JobName,
    /// The failure text; None is success.
    pub failure: Option<Vec<u8>>,
}

impl Finish {
    /// Appends the command as it is sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (state, message): (&[u8], &[u8]) = match &self.failure {
            None => (b"SUCCESS", b""),
            Some(message) => (b"FAILED", message),
        };
        let name = self.name.as_bytes();
        let args: [&[u8]; 9] =
            [b"CLUSTER", b"SYNCSLOTS", b"FINISH", b"STATE", state, b"NAME", name, b"MESSAGE", message];
        encode_command(out, &args);
    }

    /// Reads the words after FINISH. `exists` tells whether there is a job of that name: that is looked at before the
    /// state's word is (spec slot-migration.md, 1.4).
    pub fn parse(rest: &[&[u8]], exists: &dyn Fn(&JobName) -> bool) -> Result<Self, Refusal> {
        let (mut state, mut name, mut message) = (None, None, None);
        for pair in rest.chunks(2) {
            let [word, value] = pair else { return Err(Refusal::Syntax) };
            if word.eq_ignore_ascii_case(b"STATE") && state.is_none() {
                state = Some(*value);
            } else if word.eq_ignore_ascii_case(b"NAME") && name.is_none() {
                name = Some(Id40::new(value).ok_or(Refusal::Syntax)?);
            } else if word.eq_ignore_ascii_case(b"MESSAGE") && message.is_none() {
                message = Some(*value);
            } else {
                return Err(Refusal::Syntax);
            }
        }
        let (Some(state), Some(name)) = (state, name) else { return Err(Refusal::Syntax) };
        if !exists(&name) {
            return Err(Refusal::NoSuchJob);
        }
        let failure = match () {
            () if state.eq_ignore_ascii_case(b"success") => None,
            () if state.eq_ignore_ascii_case(b"failed") => Some(message.unwrap_or_default().to_vec()),
            () => return Err(Refusal::Syntax),
        };
        Ok(Self { name, failure })
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
