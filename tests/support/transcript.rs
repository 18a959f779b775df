//! Conversations of several clients, some of them blocked, as lines that can be compared.
//!
//! A script has lines `client: command; command`. Behind each line every client that is not blocked is asked for a fence, so
//! that whatever the line caused has arrived. A client that the line blocked gets its fence when it goes on; until
//! then the transcript says that it is blocked. `await: client` waits until a client is not blocked any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::client::{Client, NoReply, REPLY_TIMEOUT, encode};
use super::server::{Launch, Server, reference_binary};
use super::text::words;

const FENCE: &str = "fence-that-no-test-sends-otherwise";

struct Player {
    client: Client,
    id: i64,
    /// A fence was sent and has not come back: the client is, or was, blocked.
    fenced: bool,
    closed: bool,
    got: Vec<u8>,
}

impl Player {
    fn new(server: &Server) -> Self {
        let mut client = server.connect();
        let id = client.ask("CLIENT ID").integer().expect("an id");
        Self { client, id, fenced: false, closed: false, got: Vec::new() }
    }

    fn send_fence(&mut self) {
        if !self.fenced && !self.closed {
            self.client.send_raw(&encode(&words(&format!("PING {FENCE}"))));
            self.fenced = true;
        }
    }

    /// Reads for a moment; true when the fence has come or the connection has ended.
    fn has_passed_fence(&mut self, wait: Duration) -> bool {
        self.client.set_reply_timeout(wait);
        while !self.closed {
            match self.client.read_frame() {
                Ok(frame) if String::from_utf8_lossy(&frame.raw).contains(FENCE) => {
                    self.fenced = false;
                    return true;
                }
                Ok(frame) => self.got.extend_from_slice(&frame.raw),
                Err(NoReply::Closed(rest)) => {
                    self.got.extend_from_slice(&rest);
                    self.got.extend_from_slice(b"<closed>");
                    self.closed = true;
                }
                Err(NoReply::TimedOut(rest)) if rest.is_empty() => return false,
                Err(none) => panic!("{none} after {:?}", String::from_utf8_lossy(&self.got)),
            }
        }
        true
    }

    fn is_blocked(&self, control: &mut Client) -> bool {
        let line = control.ask(&format!("CLIENT LIST ID {}", self.id)).text();
        let flags = line.split(' ').find_map(|field| field.strip_prefix("flags=")).unwrap_or_default();
        flags.contains('b')
    }

    /// Waits until the fence has come, or the client is blocked; false in that case.
    fn settle(&mut self, control: &mut Client, until_free: bool) -> bool {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        loop {
            if self.has_passed_fence(Duration::from_millis(2)) {
                return true;
            }
            if !until_free && self.is_blocked(control) {
                return false;
            }
            assert!(Instant::now() < deadline, "a client neither answers nor is blocked");
        }
    }
}

/// Plays a script on one server and returns what each client got after each line.
pub fn play(server: &Server, script: &str) -> Vec<String> {
    let mut control = server.connect();
    let lines: Vec<(&str, &str)> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("a line names its client"))
        .collect();
    let mut players: BTreeMap<&str, Player> = BTreeMap::new();
    for (who, _) in lines.iter().filter(|(who, _)| *who != "await") {
        players.entry(who).or_insert_with(|| Player::new(server));
    }
    let mut transcript = Vec::new();
    for (who, commands) in lines {
        let first = if who == "await" { commands } else { who };
        let acting = players.get_mut(first).expect("all are connected");
        if who != "await" {
            let bytes: Vec<u8> = commands.split("; ").flat_map(|c| encode(&words(c))).collect();
            acting.client.send_raw(&bytes);
            acting.send_fence();
        }
        let mut free = BTreeMap::new();
        free.insert(first, acting.settle(&mut control, who == "await"));
        for (name, player) in players.iter_mut().filter(|(name, _)| **name != first) {
            player.send_fence();
            free.insert(name, player.settle(&mut control, false));
        }
        for (name, free) in free {
            let player = players.get_mut(name).expect("all are connected");
            let state = if free {
                format!("{:?}", String::from_utf8_lossy(&std::mem::take(&mut player.got)))
            } else {
                "blocked".to_owned()
            };
            transcript.push(format!("{who}: {commands} -> {name} {state}"));
        }
    }
    transcript
}

/// Plays a script on the reference and on this server with one and with three workers.
pub fn compare(what: &str, script: &str) {
    let Some(binary) = reference_binary(what) else { return };
    let start = |launch: Launch| launch.option("enable-debug-command", "yes").start();
    let theirs = play(&start(Launch::reference(&binary)), script);
    for workers in [1, 3] {
        let ours = play(&start(Launch::skuld(workers)), script);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}
