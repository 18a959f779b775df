//! The worked example of `docs/import-mode.md`: a client that copies a live Valkey to Skuld while writers go on, with keys
//! and fields that expire all the time.
//!
//! The client takes the source's append-only file for its stream of changes. It copies each key with DUMP in one
//! transaction with a write of a marker: what stands before the marker in the stream is in the copy already, what comes
//! after it must be repeated.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use support::client::Client;
use support::effects::appended;
use support::resp::Value;
use support::rig::show;
use support::rng::Rng;
use support::server::{Launch, Server, reference_binary};
use support::text::{command_line, words};

/// How far the client lags behind the source: longer than the short deadlines.
const LAG: Duration = Duration::from_millis(150);
const SHORT_MS: u64 = 60;

/// The copying client.
struct Copier<'s> {
    source: &'s Server,
    reader: Client,
    target: Client,
    /// How much of the stream has been read.
    seen: usize,
    /// The stream as it was read, with when that was.
    stream: std::collections::VecDeque<(Instant, Vec<Vec<u8>>)>,
    /// Keys that SCAN named and whose marker has not come by.
    to_copy: BTreeSet<Vec<u8>>,
    /// What DUMP gave: payload and deadline.
    dumps: BTreeMap<Vec<u8>, Option<(Vec<u8>, i64)>>,
}

const MARKER: &[u8] = b"copy:marker";

impl Copier<'_> {
    fn scan(&mut self) {
        let mut cursor = "0".to_owned();
        loop {
            let page = self.reader.ask(&format!("SCAN {cursor} COUNT 50"));
            let items = page.items();
            self.to_copy.extend(items[1].items().iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)));
            cursor = items[0].text();
            if cursor == "0" {
                return;
            }
        }
    }

    /// Takes a copy of the next key, if one is left.
    fn dump_one(&mut self) {
        let Some(key) = self.to_copy.iter().find(|key| !self.dumps.contains_key(*key)).cloned() else {
            return;
        };
        let commands = [
            words("MULTI"),
            vec![b"DUMP".to_vec(), key.clone()],
            vec![b"PEXPIRETIME".to_vec(), key.clone()],
            vec![b"SET".to_vec(), MARKER.to_vec(), key.clone()],
            words("EXEC"),
        ];
        let replies = self.reader.pipeline(&commands);
        let last = replies.last().expect("five replies").clone().expect("EXEC answers");
        let items = last.value.items().to_vec();
        let dump = items[0].bytes().map(|payload| (payload.to_vec(), items[1].integer().unwrap_or(-1)));
        self.dumps.insert(key, dump);
    }

    fn read_stream(&mut self) {
        let now = Instant::now();
        let more = appended(&self.source.dir().join("appendonlydir"), &mut self.seen);
        self.stream.extend(more.into_iter().map(|command| (now, command)));
    }

    /// Repeats what is older than the lag.
    fn repeat(&mut self, lag: Duration) {
        while self.stream.front().is_some_and(|(at, _)| at.elapsed() >= lag) {
            let (_, command) = self.stream.pop_front().expect("just seen");
            let name = command[0].to_ascii_uppercase();
            if [b"SELECT" as &[u8], b"MULTI", b"EXEC"].contains(&name.as_slice()) {
                continue;
            }
            if command[1] == MARKER {
                let key = &command[2];
                self.to_copy.remove(key);
                if let Some(Some((payload, deadline))) = self.dumps.get(key) {
                    let deadline = (*deadline).max(0).to_string().into_bytes();
                    let restore = vec![
                        b"RESTORE".to_vec(),
                        key.clone(),
                        deadline,
                        payload.clone(),
                        b"ABSTTL".to_vec(),
                        b"REPLACE".to_vec(),
                    ];
                    self.apply(&restore);
                }
            } else if !self.to_copy.contains(&command[1]) {
                self.apply(&command);
            }
        }
    }

    fn apply(&mut self, command: &[Vec<u8>]) {
        let reply = self.target.call(command).expect("the target answers");
        assert!(!matches!(reply.value, Value::Error(_)), "{}: {}", command_line(command), reply.value);
    }
}

/// One round of what applications do at the source. Some of it hits keys moments before they expire.
fn write_something(source: &mut Client, rng: &mut Rng) {
    let key = rng.below(60);
    let line = match rng.below(12) {
        0..=2 => format!("SET c{key} {key} PX {SHORT_MS}"),
        3..=5 => format!("INCR c{key}"),
        6 => format!("EXPIRE c{key} 1000"),
        7 => format!("SET s{key} v{}", rng.below(1000)),
        8 => format!("HSETEX h{key} PX {SHORT_MS} FIELDS 1 f{} 1", rng.below(3)),
        9 => format!("HINCRBY h{key} f{} 5", rng.below(3)),
        10 => format!("RPUSH l{key} {}", rng.below(1000)),
        _ => format!("ZADD z{key} {} m{}", rng.below(100), rng.below(9)),
    };
    source.ask(&line);
}

/// All keys with their values and deadlines.
fn contents(client: &mut Client) -> BTreeMap<String, String> {
    let keys = client.ask("KEYS *");
    let keys: Vec<String> = keys.items().iter().map(Value::text).collect();
    let mut all = BTreeMap::new();
    for key in keys.iter().filter(|key| key.as_bytes() != MARKER) {
        let read = match &key[..1] {
            "h" => format!("HGETALL {key}"),
            "l" => format!("LRANGE {key} 0 -1"),
            "z" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
            _ => format!("GET {key}"),
        };
        let value = client.ask(&read);
        let text = if key.starts_with('h') {
            // The order of fields is each server's own.
            let mut pairs: Vec<String> = value
                .items()
                .chunks(2)
                .map(|pair| format!("{}={}", pair[0].text(), pair[1].text()))
                .collect();
            pairs.sort();
            pairs.join(" ")
        } else {
            show(&value)
        };
        let deadline = client.ask(&format!("PEXPIRETIME {key}"));
        if deadline.integer() == Some(-2) || (key.starts_with('h') && text.is_empty()) {
            // Its last field's deadline has passed; Valkey may keep the hash for a while.
            continue;
        }
        all.insert(key.clone(), format!("{text} @{}", show(&deadline)));
    }
    all
}

/// Copies while the source is written to; what both hold in the end.
fn migrate(import_mode: bool) -> Option<[BTreeMap<String, String>; 2]> {
    let binary = reference_binary("the source of an import")?;
    let source = Launch::reference(&binary)
        .option("appendonly", "yes")
        .option("aof-use-rdb-preamble", "no")
        .option("appendfsync", "no")
        .start();
    let target = Launch::skuld(3).start();
    let mut rng = Rng::new(7);
    let mut application = source.connect();
    (0..500).for_each(|_| write_something(&mut application, &mut rng));
    let mut admin = target.connect();
    let mut copier = Copier {
        source: &source,
        reader: source.connect(),
        target: target.connect(),
        seen: 0,
        stream: Default::default(),
        to_copy: BTreeSet::new(),
        dumps: BTreeMap::new(),
    };
    if import_mode {
        assert_eq!(admin.ask("CONFIG SET import-mode yes import-mode-auto-end-seconds 60").text(), "OK");
        assert_eq!(copier.target.ask("CLIENT IMPORT-SOURCE ON").text(), "OK");
    }
    // What stands in the stream so far is in the keys that SCAN will name.
    copier.read_stream();
    copier.stream.clear();
    copier.scan();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) || !copier.to_copy.is_empty() {
        write_something(&mut application, &mut rng);
        copier.dump_one();
        copier.read_stream();
        copier.repeat(LAG);
        assert!(began.elapsed() < Duration::from_secs(20), "{} keys left", copier.to_copy.len());
    }
    // The writers stop; the rest is repeated. Then the source removes what has expired, which is repeated, too.
    let over = Instant::now() + Duration::from_millis(2 * SHORT_MS);
    while Instant::now() < over {
        std::thread::sleep(Duration::from_millis(5));
    }
    let theirs = contents(&mut application);
    copier.read_stream();
    copier.repeat(Duration::ZERO);
    if import_mode {
        assert_eq!(admin.ask("CONFIG SET import-mode no").text(), "OK");
    }
    drop(copier);
    Some([theirs, contents(&mut admin)])
}

#[test]
fn a_live_copy_in_import_mode_is_exact() {
    let Some([theirs, ours]) = migrate(true) else { return };
    assert!(theirs.len() > 100, "{} keys", theirs.len());
    let different: Vec<_> = theirs.iter().filter(|(key, value)| ours.get(*key) != Some(value)).collect();
    assert!(different.is_empty(), "{} keys differ: {different:?}", different.len());
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn the_same_copy_without_import_mode_is_wrong() {
    let Some([theirs, ours]) = migrate(false) else { return };
    assert_ne!(theirs, ours, "nothing expired at a bad moment: the example shows nothing");
}
