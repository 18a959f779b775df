//! Random writes, deadlines, clock jumps, import-mode toggles, evictions and flushes over several shards, against a simple
//! model: never a wrong visibility, never an expired key resurrected, and in the end `used_memory` back at its base.
//!
//! The clock is the server's, moved by DEBUG MOVE-CLOCK in steps that are long beside the run of the test, so that real
//! time plays no part. `SKULD_LIFETIME_STEPS` and `SKULD_SEED` vary the run.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::client::Client;
use support::rig::show;
use support::rng::Rng;
use support::server::Launch;
use support::text::words;

/// One step of the model's clock, milliseconds: far longer than the test takes.
const STEP_MS: i64 = 1_000_000;
/// Deadlines lie in the middle between two steps.
const HALF_MS: i64 = STEP_MS / 2;
const KEYS: usize = 40;

#[derive(Clone, Debug, PartialEq)]
enum Held {
    Number(i64),
    /// Fields with their values and deadlines.
    Hash(BTreeMap<String, (i64, Option<i64>)>),
}

#[derive(Clone, Debug)]
struct Key {
    held: Held,
    /// In steps of the model's clock: over once the clock is there.
    deadline: Option<i64>,
}

/// What the server must hold.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, Key>,
    /// Steps since the start.
    now: i64,
    importing: bool,
}

impl Model {
    fn over(&self, deadline: Option<i64>) -> bool {
        deadline.is_some_and(|deadline| self.now >= deadline)
    }

    /// The key as a client sees it.
    fn see(&self, key: &str, source: bool) -> Option<&Key> {
        self.keys.get(key).filter(|found| (self.importing && source) || !self.over(found.deadline))
    }

    /// What a write of this client finds; what is over for it goes.
    fn write(&mut self, key: &str, source: bool) -> Option<&mut Key> {
        if self.see(key, source).is_none() {
            self.keys.remove(key);
        }
        self.keys.get_mut(key)
    }

    /// Removes what is over, as the server does in the background outside import mode.
    fn purge(&mut self) {
        if self.importing {
            return;
        }
        let now = self.now;
        let over = |deadline: Option<i64>| deadline.is_some_and(|deadline| now >= deadline);
        for key in self.keys.values_mut() {
            if let Held::Hash(fields) = &mut key.held {
                fields.retain(|_, (_, deadline)| !over(*deadline));
            }
        }
        self.keys.retain(|_, key| {
            !over(key.deadline) && !matches!(&key.held, Held::Hash(fields) if fields.is_empty())
        });
    }
}

struct Run {
    model: Model,
    client: Client,
    source: Client,
    admin: Client,
    rng: Rng,
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Run {
    fn ask(&mut self, source: bool, line: &str) -> String {
        let client = if source { &mut self.source } else { &mut self.client };
        show(&client.call(&words(line)).unwrap_or_else(|none| panic!("{line}: {none}")).value)
    }

    fn admin(&mut self, line: &str) -> String {
        show(&self.admin.call(&words(line)).unwrap_or_else(|none| panic!("{line}: {none}")).value)
    }

    fn info(&mut self, name: &str) -> i64 {
        let all = self.admin.ask("INFO everything").text();
        let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).expect("a field");
        line.trim().parse().expect("a number")
    }

    fn key(&mut self) -> String {
        format!("k{}", self.rng.below(KEYS))
    }

    /// Waits until the server holds as many keys as the model.
    fn settle(&mut self) {
        self.model.purge();
        let expected = self.model.keys.len().to_string();
        let admin = &mut self.admin;
        wait_until("as many keys are left as the model has", || show(&admin.ask("DBSIZE")) == expected);
        if !self.model.importing {
            // HLEN counts fields that are over until they are gone.
            for (key, found) in &self.model.keys {
                if let Held::Hash(fields) = &found.held {
                    let expected = fields.len().to_string();
                    wait_until("fields are gone", || show(&admin.ask(&format!("HLEN {key}"))) == expected);
                }
            }
        }
    }

    fn compare(&mut self) {
        for source in [false, true] {
            for number in 0..KEYS {
                let key = format!("k{number}");
                let seen = self.model.see(&key, source).cloned();
                let reply = match &seen {
                    Some(Key { held: Held::Hash(_), .. }) => self.ask(source, &format!("HGETALL {key}")),
                    _ => self.ask(source, &format!("GET {key}")),
                };
                let expected = match &seen {
                    None => "nil".to_owned(),
                    Some(Key { held: Held::Number(number), .. }) => number.to_string(),
                    Some(Key { held: Held::Hash(fields), .. }) => {
                        let shown = fields
                            .iter()
                            .filter(|(_, (_, at))| (self.model.importing && source) || !self.model.over(*at));
                        let mut pairs: Vec<String> =
                            shown.map(|(name, (value, _))| format!("{name} {value}")).collect();
                        pairs.sort();
                        format!("[{}]", pairs.join(" "))
                    }
                };
                let reply = if reply.starts_with('[') { sorted_pairs(&reply) } else { reply };
                assert_eq!(
                    reply, expected,
                    "{key}, import source: {source}, importing: {}",
                    self.model.importing
                );
                let has_ttl = self.ask(source, &format!("PTTL {key}"));
                let expected = seen.as_ref().map(|key| key.deadline);
                match expected {
                    None => assert_eq!(has_ttl, "-2", "{key}"),
                    Some(None) => assert_eq!(has_ttl, "-1", "{key}"),
                    Some(Some(deadline)) => {
                        let left: i64 = has_ttl.parse().expect("a number");
                        let wanted = ((deadline - self.model.now) * STEP_MS - HALF_MS).max(0);
                        assert!(
                            (wanted - HALF_MS + 1..=wanted).contains(&left) || left == wanted,
                            "{key}: {left}, {wanted}"
                        );
                    }
                }
            }
        }
        let count = self.model.keys.len().to_string();
        assert_eq!(self.admin("DBSIZE"), count);
    }

    fn step(&mut self) {
        let source = self.rng.one_in(2);
        let key = self.key();
        let ahead = self.rng.range(1, 4);
        let value = self.rng.range(0, 1000);
        let ttl_ms = ahead * STEP_MS - HALF_MS;
        let deadline = self.model.now + ahead;
        match self.rng.below(24) {
            0..=2 => {
                self.ask(source, &format!("SET {key} {value}"));
                self.model.keys.insert(key, Key { held: Held::Number(value), deadline: None });
            }
            3..=5 => {
                self.ask(source, &format!("SET {key} {value} PX {ttl_ms}"));
                self.model.keys.insert(key, Key { held: Held::Number(value), deadline: Some(deadline) });
            }
            6..=8 => {
                let reply = self.ask(source, &format!("INCR {key}"));
                let found = self.model.write(&key, source);
                let expected = match found {
                    Some(Key { held: Held::Number(number), .. }) => {
                        *number += 1;
                        number.to_string()
                    }
                    Some(_) => "WRONGTYPE Operation against a key holding the wrong kind of value".to_owned(),
                    None => {
                        self.model.keys.insert(key, Key { held: Held::Number(1), deadline: None });
                        "1".to_owned()
                    }
                };
                assert_eq!(reply, expected);
            }
            9 | 10 => {
                let reply = self.ask(source, &format!("PEXPIRE {key} {ttl_ms}"));
                let found = self.model.write(&key, source);
                assert_eq!(reply, if found.is_some() { "1" } else { "0" }, "PEXPIRE {key}");
                if let Some(key) = found {
                    key.deadline = Some(deadline);
                }
            }
            11 => {
                let reply = self.ask(source, &format!("PERSIST {key}"));
                let found = self.model.write(&key, source);
                let had = found.is_some_and(|key| key.deadline.take().is_some());
                assert_eq!(reply, if had { "1" } else { "0" }, "PERSIST {key}");
            }
            12 => {
                self.ask(source, &format!("DEL {key}"));
                self.model.keys.remove(&key);
            }
            13 => {
                let other = self.key();
                self.ask(source, &format!("MSET {key} 1 {other} 2"));
                self.model.keys.insert(key, Key { held: Held::Number(1), deadline: None });
                self.model.keys.insert(other, Key { held: Held::Number(2), deadline: None });
            }
            14 => {
                let other = self.key();
                let reply = self.ask(source, &format!("RENAME {key} {other}"));
                match self.model.write(&key, source).cloned() {
                    Some(found) => {
                        assert_eq!(reply, "OK");
                        self.model.keys.remove(&key);
                        self.model.keys.insert(other, found);
                    }
                    None => assert_eq!(reply, "ERR no such key"),
                }
            }
            15 | 16 => {
                let field = format!("f{}", self.rng.below(3));
                self.ask(source, &format!("DEL {key}"));
                self.ask(source, &format!("HSET {key} x 7"));
                self.ask(source, &format!("HSETEX {key} PX {ttl_ms} FIELDS 1 {field} {value}"));
                let fields = [("x".to_owned(), (7, None)), (field, (value, Some(deadline)))];
                self.model
                    .keys
                    .insert(key, Key { held: Held::Hash(fields.into_iter().collect()), deadline: None });
            }
            17 | 18 => {
                let by = self.rng.range(1, 3);
                self.admin(&format!("DEBUG MOVE-CLOCK {}", by * STEP_MS));
                self.model.now += by;
                self.settle();
            }
            19 => {
                let by = self.rng.range(1, 3);
                self.admin(&format!("DEBUG MOVE-CLOCK {}", -by * STEP_MS));
                self.model.now -= by;
            }
            20 | 21 => {
                self.model.importing = !self.model.importing;
                let word = if self.model.importing { "yes" } else { "no" };
                assert_eq!(self.admin(&format!("CONFIG SET import-mode {word}")), "OK");
                if self.model.importing {
                    assert_eq!(self.ask(true, "CLIENT IMPORT-SOURCE ON"), "OK");
                }
                self.settle();
            }
            22 if self.rng.one_in(4) => {
                let line = ["FLUSHALL", "FLUSHALL SYNC", "FLUSHDB ASYNC"][self.rng.below(3)];
                assert_eq!(self.ask(source, line), "OK");
                self.model.keys.clear();
            }
            _ => self.evict(),
        }
    }

    /// Full memory for a moment: some keys go, unless data is being imported.
    fn evict(&mut self) {
        let before = self.info("evicted_keys");
        self.admin("CONFIG SET maxmemory-policy allkeys-random maxmemory 1");
        if self.model.importing {
            self.ask(false, "PING");
        } else if !self.model.keys.is_empty() {
            let admin = &mut self.admin;
            wait_until("a key is evicted", || {
                let all = admin.ask("INFO stats").text();
                !all.contains(&format!("evicted_keys:{before}\r\n"))
            });
        }
        self.admin("CONFIG SET maxmemory 0");
        // What is left, each shard says when nothing more is on its way.
        let left: Vec<String> = {
            self.admin.ask("DBSIZE");
            self.model.keys.keys().cloned().collect()
        };
        for key in left {
            // DEBUG OBJECT sees a key whether it is expired or not.
            if self.admin(&format!("DEBUG OBJECT {key}")) == "ERR no such key" {
                assert!(!self.model.importing, "{key} was evicted in import mode");
                self.model.keys.remove(&key);
            }
        }
    }
}

/// `[b 2 a 1]` as `[a 1 b 2]`.
fn sorted_pairs(text: &str) -> String {
    let all: Vec<&str> = text.trim_matches(['[', ']']).split(' ').filter(|word| !word.is_empty()).collect();
    let mut pairs: Vec<String> = all.chunks(2).map(|pair| pair.join(" ")).collect();
    pairs.sort();
    format!("[{}]", pairs.join(" "))
}

fn run(workers: usize, seed: u64, steps: usize) {
    println!("SKULD_SEED={seed}, {workers} workers, {steps} steps");
    let server = Launch::skuld(workers).start();
    let mut run = Run {
        model: Model::default(),
        client: server.connect(),
        source: server.connect(),
        admin: server.connect(),
        rng: Rng::new(seed),
    };
    // What is made once: databases, buffers.
    (0..KEYS).for_each(|i| drop(run.ask(false, &format!("SET k{i} 1 EX 100000"))));
    run.compare_nothing();
    let base = run.info("used_memory");
    for step in 0..steps {
        run.step();
        if step % 5 == 0 {
            run.compare();
        }
    }
    run.model.importing = false;
    run.admin("CONFIG SET import-mode no");
    run.settle();
    run.compare();
    run.compare_nothing();
    let end = run.info("used_memory");
    // Deadlines that were overwritten are forgotten a few thousand at a time, and buffers of clients vary.
    assert!(end < base + (400 << 10), "{base} bytes at first, {end} in the end");
}

impl Run {
    /// Empties the server.
    fn compare_nothing(&mut self) {
        assert_eq!(self.admin("FLUSHALL SYNC"), "OK");
        self.model.keys.clear();
        assert_eq!(self.admin("DBSIZE"), "0");
    }
}

#[test]
fn visibility_follows_a_simple_model_whatever_happens() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let steps = number("SKULD_LIFETIME_STEPS", 300) as usize;
    let seed = number("SKULD_SEED", 5);
    for workers in [1, 3] {
        run(workers, seed + workers as u64, steps);
    }
}
