//! What the other end of a replication link sends: the primary's lines during the handshake, the header and the end of
//! a snapshot, and the REPLCONF words of a replica.

use skuld::replication::handshake::{Handshake, Introduction, Step};
use skuld::replication::payload::{Header, Splitter, header_of, snapshot_end_of};
use skuld::replication::peer::Peer;
use skuld::rng::Rng;

use crate::{one_in, pick};

const LINES: &[&[u8]] = &[
    b"+PONG",
    b"-NOAUTH Authentication required.",
    b"+OK",
    b"-ERR unknown command",
    b"",
    b"+FULLRESYNC 0123456789abcdef0123456789abcdef01234567 1234",
    b"+FULLRESYNC",
    b"+CONTINUE",
    b"+CONTINUE 0123456789abcdef0123456789abcdef01234567",
    b"+DUALCHANNELSYNC",
    b"-NOMASTERLINK Can't SYNC while not connected with my master",
    b"-LOADING Valkey is loading the dataset in memory",
    b"$EOF:0123456789abcdef0123456789abcdef01234567",
    b"$17",
    b"$ENDOFF:14 0123456789abcdef0123456789abcdef01234567 -1 77",
    b"listening-port 7000",
    b"capa eof",
    b"version 9.1.2",
    b"ack 100 fack 50",
    b"rdb-filter-only functions",
    b"set-rdb-client-id 5",
];

/// Lines as they come, and then data.
pub fn make(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(10) {
        out.extend_from_slice(pick(rng, LINES));
        out.extend_from_slice(if one_in(rng, 8) { b"\n" } else { b"\r\n" });
    }
    for _ in 0..rng.below(200) {
        out.push(rng.below(256) as u8);
    }
    out
}

pub fn words() -> Vec<&'static [u8]> {
    LINES.to_vec()
}

/// Panics if a line is not dealt with in a bounded number of steps, or bytes of a snapshot are lost.
pub fn run(input: &[u8]) {
    let lines: Vec<&[u8]> =
        input.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let have = input.first().filter(|b| **b % 2 == 0).map(|_| ("a".repeat(40), 15));
    let knows = have.is_some();
    let about =
        Introduction { port: 1, version: "9.1.2", password: b"p".to_vec(), have, ..Introduction::default() };
    let (mut handshake, _) = Handshake::begin(about);
    let mut over = false;
    for line in &lines {
        if over {
            break;
        }
        let steps = handshake.line(line);
        assert!(!steps.is_empty() && steps.len() <= 4, "{steps:?}");
        over = matches!(
            steps.last(),
            Some(Step::Continue(_) | Step::Full(_) | Step::DualChannel | Step::OldSync | Step::Fail(_))
        );
        assert!(over || steps.last() == Some(&Step::Wait), "{steps:?}");
        if let Some(Step::Continue(_)) = steps.last() {
            assert!(knows, "nothing is continued that is not there");
        }
    }
    let mut peer = Peer::default();
    for line in &lines {
        let mut words = line.splitn(2, |b| *b == b' ');
        if let (Some(option), Some(value)) = (words.next(), words.next()) {
            // An error is an answer.
            let _ = peer.take(option, value, true);
        }
        let _ = snapshot_end_of(line);
        match header_of(line) {
            Header::Length(length) => whole(Splitter::of_length(length % 300), input, Some(length % 300)),
            Header::Mark(mark) => whole(Splitter::of_mark(mark), input, None),
            Header::KeepAlive | Header::Refused(_) | Header::Malformed => {}
        }
    }
}

/// Whatever the pieces, data and rest are the input, but for a mark between them.
fn whole(mut splitter: Splitter, input: &[u8], length: Option<u64>) {
    let size = 1 + input.len() % 61;
    let (mut data, mut rest) = (Vec::new(), None::<Vec<u8>>);
    for piece in input.chunks(size) {
        match &mut rest {
            Some(rest) => rest.extend_from_slice(piece),
            None => {
                let split = splitter.push(piece);
                data.extend(split.data);
                rest = split.rest;
            }
        }
    }
    assert!(input.starts_with(&data));
    if let Some(rest) = rest {
        assert!(input.ends_with(&rest));
        if let Some(length) = length {
            assert_eq!(data.len() as u64, length);
            assert_eq!(data.len() + rest.len(), input.len());
        }
    }
}
