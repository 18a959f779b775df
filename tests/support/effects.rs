//! Append-only files and keyspace events as lists that can be compared.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::client::Client;
use super::parity::Command;
use super::resp::{self, Value};
use super::text::{command_line, words};

/// One propagated command.
pub type Effect = Command;

/// The commands that a server has appended to its append-only file since it was `seen` bytes long, which is brought up
/// to date. The server runs without RDB preamble, without timestamps and never rewrites the file; `directory` is its
/// `appenddirname`. Panics on a truncated or malformed file: the server wrote it before it answered.
pub fn appended(directory: &Path, seen: &mut usize) -> Vec<Effect> {
    let path = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory is readable").path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .unwrap_or_else(|| panic!("no append-only file in {}", directory.display()));
    let mut file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(*seen as u64)).expect("a file can be sought");
    file.read_to_end(&mut bytes).expect("the file is readable");
    let mut effects = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (value, length) = resp::parse(&bytes[at..])
            .unwrap_or_else(|malformed| panic!("{}: byte {at}: {malformed}", path.display()))
            .unwrap_or_else(|| panic!("{} ends within a command at byte {at}", path.display()));
        effects.push(command_of(&value));
        at += length;
    }
    *seen += bytes.len();
    effects
}

/// A command from its array of bulk strings.
pub fn command_of(value: &Value) -> Effect {
    let words: Vec<Vec<u8>> =
        value.items().iter().filter_map(|item| item.bytes().map(<[u8]>::to_vec)).collect();
    assert!(!words.is_empty(), "not a command: {value}");
    words
}

/// Brings effects into the form in which they are compared:
/// - names of commands and their option words in capitals;
/// - deadlines and delivery times before the year 2100 come from relative times and are rounded away, since the two servers read their
///   clocks at different moments.
pub fn comparable(effect: &Effect) -> String {
    let mut effect = effect.clone();
    effect[0].make_ascii_uppercase();
    let name = effect[0].clone();
    let deadline_places: Vec<usize> = match name.as_slice() {
        b"PEXPIREAT" | b"HPEXPIREAT" | b"RESTORE" => vec![2],
        // When the entry was delivered, by the server's clock.
        b"XCLAIM" => {
            (1..effect.len()).filter(|place| effect[*place - 1].eq_ignore_ascii_case(b"TIME")).collect()
        }
        _ => (1..effect.len()).filter(|place| effect[*place - 1].eq_ignore_ascii_case(b"PXAT")).collect(),
    };
    for place in deadline_places {
        let moment = effect
            .get(place)
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(|text| text.parse().ok());
        if moment.is_some_and(|moment: i64| moment > 0 && moment < super::rules::YEAR_2100_S * 1000) {
            effect[place] = b"<soon>".to_vec();
        }
    }
    command_line(&effect)
}

/// A subscriber to all keyspace events of a server.
pub struct EventListener {
    client: Client,
}

/// The channel whose message marks the end of what was asked for.
const FENCE: &str = "effects-fence";

impl EventListener {
    pub fn new(mut client: Client) -> Self {
        for line in ["PSUBSCRIBE __keyevent@*__:*", &format!("SUBSCRIBE {FENCE}")] {
            client.send(&words(line));
            client.read_frame().unwrap_or_else(|none| panic!("{line}: {none}"));
        }
        Self { client }
    }

    /// Everything published up to now, as `db:event:key`. `publisher` is another connection to the same server.
    pub fn drain(&mut self, publisher: &mut Client) -> Vec<Vec<u8>> {
        publisher.ask(&format!("PUBLISH {FENCE} end"));
        let mut events = Vec::new();
        loop {
            let frame = self.client.read_frame().unwrap_or_else(|none| panic!("events: {none}"));
            match frame.value.items() {
                [kind, _, channel, key] if kind.bytes() == Some(b"pmessage") => {
                    let channel = channel.text();
                    let (database, event) = channel
                        .strip_prefix("__keyevent@")
                        .and_then(|rest| rest.split_once("__:"))
                        .unwrap_or_else(|| panic!("an odd channel: {channel}"));
                    let mut text = format!("{database}:{event}:").into_bytes();
                    text.extend_from_slice(key.bytes().unwrap_or_default());
                    events.push(text);
                }
                [kind, channel, _] if kind.bytes() == Some(b"message") && channel.text() == FENCE => {
                    return events;
                }
                _ => panic!("unexpected message {}", frame.value),
            }
        }
    }
}

/// The first place where two lists differ, with what surrounds it.
pub fn first_difference(ours: &[String], theirs: &[String]) -> Option<String> {
    let place = (0..ours.len().max(theirs.len())).find(|place| ours.get(*place) != theirs.get(*place))?;
    let around = |list: &[String]| {
        let from = place.saturating_sub(3).min(list.len());
        let to = (place + 3).min(list.len());
        list[from..to].join("\n      ")
    };
    Some(format!(
        "differ at {place} (of {} and {}):\n    skuld\n      {}\n    reference\n      {}",
        ours.len(),
        theirs.len(),
        around(ours),
        around(theirs)
    ))
}
