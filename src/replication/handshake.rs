//! A replica's first words to its primary, and what the answers mean (spec page replication.md, sections 2 and 4.1).
//!
//! ```text
//!  connected -> PING -> [pong] -> AUTH REPLCONF... -> [one line each] -> PSYNC -> [answer] -> done
//! ```
//! Lines go in, steps come out; whoever has the socket does what they say.

use std::collections::VecDeque;

use super::history::NAME_LENGTH;
use crate::effects::encode_command;

/// What the configuration says about the link.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    /// Empty if none is set.
    pub user: Vec<u8>,
    pub password: Vec<u8>,
    pub port: u16,
    /// Empty to let the primary see for itself.
    pub announced_address: Vec<u8>,
    pub skip_checksum: bool,
    pub dual_channel: bool,
    pub version: &'static str,
    pub node_id: Option<String>,
    /// The history we have and the offset of the next byte we need; `None` asks for everything.
    pub have: Option<(String, i64)>,
    /// A coordinated failover: the replica is asked to become primary.
    pub failover: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Say this in the log.
    Log(String),
    /// Read another line.
    Wait,
    /// The stream goes on from what we have, under this name if one was given.
    Continue(Option<String>),
    /// A snapshot follows, of this history at this offset (`None` if the primary did not say it in a way to rely on).
    Full(Option<(String, i64)>),
    /// A snapshot follows on another connection.
    DualChannel,
    /// SYNC was sent to a server that knows no PSYNC: a snapshot follows.
    OldSync,
    /// Give up and try again later.
    Fail(String),
}

/// Why a coordinated failover did not happen: the other side refused, and trying again makes no sense.
pub const REJECTED: &str = "Failover target rejected psync request";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Pong,
    Auth,
    /// An answer that may be an error.
    Option(&'static str),
    Psync,
}

/// The exchange up to the answer to PSYNC.
#[derive(Debug)]
pub struct Handshake {
    introduction: Introduction,
    awaited: VecDeque<Awaited>,
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_command(&mut out, words);
    out
}

impl Handshake {
    /// Begins; the first bytes to write are returned with it.
    pub fn begin(introduction: Introduction) -> (Self, Vec<u8>) {
        (Self { introduction, awaited: VecDeque::from([Awaited::Pong]) }, command(&[b"PING"]))
    }

    /// Takes a line without its end.
    pub fn line(&mut self, line: &[u8]) -> Vec<Step> {
        let shown = String::from_utf8_lossy(line).into_owned();
        let is_error = line.first() == Some(&b'-');
        let Some(awaited) = self.awaited.pop_front() else {
            return vec![Step::Fail(format!("Unexpected line from the primary: {shown}"))];
        };
        match awaited {
            Awaited::Pong => self.pong(line, &shown),
            Awaited::Auth if is_error => vec![Step::Fail(format!("Unable to AUTH to PRIMARY: {shown}"))],
            Awaited::Option(name) if is_error => vec![Step::Log(format!(
                "(Non critical) Primary does not understand REPLCONF {name}: {shown}"
            ))]
            .into_iter()
            .chain(self.psync_if_due())
            .collect(),
            Awaited::Auth | Awaited::Option(_) => self.psync_if_due(),
            Awaited::Psync => self.psync_answer(line, &shown),
        }
    }

    fn pong(&mut self, line: &[u8], shown: &str) -> Vec<Step> {
        let tolerated = [b"+".as_slice(), b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
        if !tolerated.iter().any(|prefix| line.starts_with(prefix)) {
            return vec![Step::Fail(format!("Error reply to PING from primary: '{shown}'"))];
        }
        let about = self.introduction.clone();
        let mut out = Vec::new();
        let mut ask = |awaited, words: &[&[u8]]| {
            encode_command(&mut out, words);
            self.awaited.push_back(awaited);
        };
        if !about.password.is_empty() {
            let (user, password) = (about.user.as_slice(), about.password.as_slice());
            if user.is_empty() {
                ask(Awaited::Auth, &[b"AUTH", password]);
            } else {
                ask(Awaited::Auth, &[b"AUTH", user, password]);
            }
        }
        let port = about.port.to_string();
        ask(Awaited::Option("listening-port"), &[b"REPLCONF", b"listening-port", port.as_bytes()]);
        if !about.announced_address.is_empty() {
            ask(Awaited::Option("ip-address"), &[b"REPLCONF", b"ip-address", &about.announced_address]);
        }
        let mut capabilities: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"];
        if about.skip_checksum {
            capabilities.extend([b"capa".as_slice(), b"skip-rdb-checksum"]);
        }
        if about.dual_channel {
            capabilities.extend([b"capa".as_slice(), b"dual-channel"]);
        }
        ask(Awaited::Option("capa"), &capabilities);
        ask(Awaited::Option("version"), &[b"REPLCONF", b"version", about.version.as_bytes()]);
        if let Some(id) = &about.node_id {
            ask(
                Awaited::Option("SET-CLUSTER-NODE-ID"),
                &[b"REPLCONF", b"SET-CLUSTER-NODE-ID", id.as_bytes()],
            );
        }
        let said = "Primary replied to PING, replication can continue...".to_owned();
        vec![Step::Log(said), Step::Send(out), Step::Wait]
    }

    fn psync_if_due(&mut self) -> Vec<Step> {
        if !self.awaited.is_empty() {
            return vec![Step::Wait];
        }
        self.awaited.push_back(Awaited::Psync);
        let (name, from, said) = match &self.introduction.have {
            Some((name, from)) => {
                let said = format!("Trying a partial resynchronization (request {name}:{from}).");
                (name.clone(), from.to_string(), said)
            }
            None => {
                let said = "Partial resynchronization not possible (no cached primary)".to_owned();
                ("?".to_owned(), "-1".to_owned(), said)
            }
        };
        let mut words: Vec<&[u8]> = vec![b"PSYNC", name.as_bytes(), from.as_bytes()];
        if self.introduction.failover {
            words.push(b"FAILOVER");
        }
        vec![Step::Log(said), Step::Send(command(&words)), Step::Wait]
    }

    fn psync_answer(&mut self, line: &[u8], shown: &str) -> Vec<Step> {
        if line.is_empty() {
            // The primary is busy and says that it is alive.
            self.awaited.push_back(Awaited::Psync);
            return vec![Step::Wait];
        }
        if let Some(rest) = shown.strip_prefix("+FULLRESYNC") {
            let mut words = rest.split(' ').skip(1);
            let name = words.next().filter(|name| name.len() == NAME_LENGTH);
            let offset = words.next().and_then(|n| n.parse::<i64>().ok()).filter(|n| *n >= 0);
            return match name.zip(offset) {
                Some((name, offset)) => vec![
                    Step::Log(format!("Full resync from primary: {name}:{offset}")),
                    Step::Full(Some((name.to_owned(), offset))),
                ],
                None => vec![
                    Step::Log("Primary replied with wrong +FULLRESYNC syntax.".to_owned()),
                    Step::Full(None),
                ],
            };
        }
        if let Some(rest) = shown.strip_prefix("+CONTINUE") {
            if self.introduction.have.is_none() {
                return vec![Step::Fail("Primary continues what we do not have".to_owned())];
            }
            let name = rest.trim();
            let name = (name.len() == NAME_LENGTH).then(|| name.to_owned());
            return vec![
                Step::Log("Successful partial resynchronization with primary.".to_owned()),
                Step::Continue(name),
            ];
        }
        if line.starts_with(b"+DUALCHANNELSYNC") {
            return vec![Step::DualChannel];
        }
        if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            return vec![Step::Fail(format!(
                "Primary is currently unable to PSYNC but should be in the future: {shown}"
            ))];
        }
        if self.introduction.failover {
            return vec![Step::Fail(REJECTED.to_owned())];
        }
        let said = if line.starts_with(b"-ERR") {
            format!("Primary does not support PSYNC or is in error state (reply: {shown})")
        } else {
            format!("Unexpected reply to PSYNC from primary: {shown}")
        };
        vec![
            Step::Log(said),
            Step::Log("Retrying with SYNC...".to_owned()),
            Step::Send(b"SYNC\r\n".to_vec()),
            Step::OldSync,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn introduction() -> Introduction {
        Introduction { port: 7000, version: "9.1.2", ..Introduction::default() }
    }

    fn sent(steps: &[Step]) -> String {
        let bytes: Vec<u8> =
            steps.iter().flat_map(|s| if let Step::Send(b) = s { b.clone() } else { Vec::new() }).collect();
        String::from_utf8_lossy(&bytes)
            .split("\r\n")
            .filter(|w| !w.starts_with(['*', '$']) && !w.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_whole_exchange() {
        let about = Introduction {
            password: b"pw".to_vec(),
            have: Some(("a".repeat(NAME_LENGTH), 15)),
            ..introduction()
        };
        let (mut handshake, first) = Handshake::begin(about);
        assert_eq!(first, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(
            sent(&handshake.line(b"-NOAUTH Authentication required.")),
            "AUTH pw REPLCONF listening-port 7000 REPLCONF capa eof capa psync2 REPLCONF version 9.1.2"
        );
        for line in ["+OK", "+OK", "-ERR unknown"] {
            assert_eq!(handshake.line(line.as_bytes()).last(), Some(&Step::Wait));
        }
        assert_eq!(sent(&handshake.line(b"+OK")), format!("PSYNC {} 15", "a".repeat(NAME_LENGTH)));
        assert_eq!(handshake.line(b""), [Step::Wait]);
        let new = "b".repeat(NAME_LENGTH);
        assert_eq!(
            handshake.line(format!("+CONTINUE {new}").as_bytes()).last(),
            Some(&Step::Continue(Some(new)))
        );
    }

    #[test]
    fn what_the_primary_may_answer_to_psync() {
        let answer = |line: &str| {
            let (mut handshake, _) = Handshake::begin(introduction());
            for line in ["+PONG", "+OK", "+OK", "+OK"] {
                handshake.line(line.as_bytes());
            }
            handshake.line(line.as_bytes()).last().cloned()
        };
        let name = "c".repeat(NAME_LENGTH);
        assert_eq!(answer(&format!("+FULLRESYNC {name} 7")), Some(Step::Full(Some((name, 7)))));
        assert_eq!(answer("+FULLRESYNC x"), Some(Step::Full(None)));
        assert_eq!(answer("+DUALCHANNELSYNC"), Some(Step::DualChannel));
        assert_eq!(answer("-ERR unknown command"), Some(Step::OldSync));
        assert!(matches!(answer("-NOMASTERLINK Can't SYNC"), Some(Step::Fail(_))));
        assert!(matches!(answer("+CONTINUE"), Some(Step::Fail(_))), "there is nothing to continue");
    }
}
