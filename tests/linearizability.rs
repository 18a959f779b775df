//! Histories of many clients over several shards, checked for linearizability, and the orders that single clients may
//! rely on. `SKULD_LINEARIZABILITY_SEEDS` sets how many seeds are tried.
//!
//! The checker is a depth-first search in the manner of Wing and Gong with memory of the states tried: an operation may come next
//! if it was called before every other operation not yet placed had returned, and if the model then answers what the
//! server answered.

mod support;

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use support::client::{Client, encode};
use support::rng::Rng;
use support::server::Launch;
use support::text::words;

const CLIENTS: usize = 4;
const OPERATIONS: usize = 40;

/// What a client did: the commands it sent at once, and when.
#[derive(Clone, Debug)]
struct Operation {
    line: String,
    /// The reply of the last command.
    reply: String,
    called: u64,
    returned: u64,
}

/// A model of the data: runs one operation and says what the reply must be.
trait Model: Clone + Eq + Hash {
    fn run(&mut self, line: &str) -> String;
}

/// Whether some order of the operations that respects their times explains all replies.
fn is_linearizable<M: Model>(start: &M, history: &[Operation]) -> bool {
    let mut seen: HashSet<(Vec<bool>, M)> = HashSet::new();
    let mut stack = vec![(vec![false; history.len()], start.clone())];
    while let Some((placed, state)) = stack.pop() {
        let open = || history.iter().enumerate().filter(|(i, _)| !placed[*i]);
        let Some(first_return) = open().map(|(_, op)| op.returned).min() else { return true };
        for (index, operation) in open().filter(|(_, op)| op.called <= first_return) {
            let mut next = state.clone();
            if next.run(&operation.line) != operation.reply {
                continue;
            }
            let mut placed = placed.clone();
            placed[index] = true;
            if seen.insert((placed.clone(), next.clone())) {
                stack.push((placed, next));
            }
        }
    }
    false
}

/// Runs `CLIENTS` clients at once, each with the lines that `draw` makes for it, and returns what they saw.
fn record(address: SocketAddr, seed: u64, draw: fn(usize, &mut Rng, usize) -> String) -> Vec<Operation> {
    let start = Instant::now();
    let together = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let together = together.clone();
            std::thread::spawn(move || {
                let mut rng = Rng::new(seed * 1000 + number as u64);
                let mut client = Client::connect(address).expect("connects");
                together.wait();
                let mut done = Vec::new();
                for turn in 0..OPERATIONS {
                    let line = draw(number, &mut rng, turn);
                    let commands: Vec<&str> = line.split("; ").collect();
                    let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(&words(c))).collect();
                    let called = start.elapsed().as_nanos() as u64;
                    client.send_raw(&bytes);
                    let mut reply = Vec::new();
                    for _ in &commands {
                        reply = client.read_reply().expect("a reply").raw;
                    }
                    let returned = start.elapsed().as_nanos() as u64;
                    let reply = String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().to_owned();
                    done.push(Operation { line, reply, called, returned });
                }
                done
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
}

fn seeds() -> u64 {
    std::env::var("SKULD_LINEARIZABILITY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

fn check<M: Model>(start: &M, draw: fn(usize, &mut Rng, usize) -> String) {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        for seed in 1..=seeds() {
            server.connect().ask("FLUSHALL");
            let history = record(server.address(), seed, draw);
            if !is_linearizable(start, &history) {
                let mut sorted = history;
                sorted.sort_by_key(|op| op.called);
                for op in &sorted {
                    eprintln!("{:>12} {:>12} {} -> {}", op.called, op.returned, op.line, op.reply);
                }
                panic!("no order explains seed {seed} with {workers} workers");
            }
        }
    }
}

/// Three integers under keys of different shards.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Registers([Option<i64>; 3]);

const KEYS: [&str; 3] = ["a", "b", "c"];

impl Registers {
    fn cell(&mut self, key: &str) -> &mut Option<i64> {
        &mut self.0[KEYS.iter().position(|k| *k == key).expect("one of the keys")]
    }

    fn command(&mut self, line: &str) -> String {
        let parts: Vec<&str> = line.split(' ').collect();
        let bulk =
            |value: Option<i64>| value.map_or("$-1".to_owned(), |n| format!("${} {n}", n.to_string().len()));
        match parts[0] {
            "SET" => {
                *self.cell(parts[1]) = parts[2].parse().ok();
                "+OK".to_owned()
            }
            "GET" => bulk(*self.cell(parts[1])),
            "INCR" => {
                let next = self.cell(parts[1]).unwrap_or(0) + 1;
                *self.cell(parts[1]) = Some(next);
                format!(":{next}")
            }
            "MSET" => {
                for pair in parts[1..].chunks(2) {
                    *self.cell(pair[0]) = pair[1].parse().ok();
                }
                "+OK".to_owned()
            }
            "MGET" => {
                let values: Vec<String> = parts[1..].iter().map(|key| bulk(*self.cell(key))).collect();
                format!("*{} {}", values.len(), values.join(" "))
            }
            "RENAME" => match self.cell(parts[1]).take() {
                None => "-ERR no such key".to_owned(),
                moved => {
                    *self.cell(parts[2]) = moved;
                    "+OK".to_owned()
                }
            },
            "DEL" => {
                let gone = parts[1..].iter().filter(|key| self.cell(key).take().is_some()).count();
                format!(":{gone}")
            }
            other => panic!("the model does not know {other}"),
        }
    }
}

impl Model for Registers {
    fn run(&mut self, line: &str) -> String {
        let Some(inside) = line.strip_prefix("MULTI; ").and_then(|l| l.strip_suffix("; EXEC")) else {
            return self.command(line);
        };
        let replies: Vec<String> = inside.split("; ").map(|command| self.command(command)).collect();
        format!("*{} {}", replies.len(), replies.join(" "))
    }
}

#[test]
fn registers_counters_renames_and_transactions_are_linearizable() {
    check(&Registers::default(), |number, rng, turn| {
        let key = |rng: &mut Rng| KEYS[rng.below(3)];
        let value = number * 1000 + turn;
        match rng.below(9) {
            0 => format!("SET {} {value}", key(rng)),
            1 | 2 => format!("GET {}", key(rng)),
            3 => format!("INCR {}", key(rng)),
            4 => format!("MSET a {value} c {value}"),
            5 => "MGET a b c".to_owned(),
            6 => {
                let from = rng.below(3);
                format!("RENAME {} {}", KEYS[from], KEYS[(from + 1) % 3])
            }
            7 => format!("MULTI; INCR {}; INCR {}; GET b; EXEC", key(rng), key(rng)),
            _ => format!("DEL {} {}", KEYS[0], KEYS[1 + rng.below(2)]),
        }
    });
}

/// Two lists under keys of different shards.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Queues([VecDeque<String>; 2]);

impl Model for Queues {
    fn run(&mut self, line: &str) -> String {
        let parts: Vec<&str> = line.split(' ').collect();
        let place = |key: &str| usize::from(key == "r");
        let pair = |key: &str, item: &str| format!("*2 ${} {key} ${} {item}", key.len(), item.len());
        match parts[0] {
            "RPUSH" => {
                let queue = &mut self.0[place(parts[1])];
                queue.push_back(parts[2].to_owned());
                // How many are left depends on who was served in the same moment: the length of before plus one.
                format!(":{}", queue.len())
            }
            // A wait that is over answers like an empty queue, and may take effect at any time.
            "BLPOP" => {
                for key in &parts[1..parts.len() - 1] {
                    if let Some(item) = self.0[place(key)].pop_front() {
                        return pair(key, &item);
                    }
                }
                "*-1".to_owned()
            }
            "LMOVE" | "BLMOVE" => match self.0[place(parts[1])].pop_front() {
                Some(item) => {
                    self.0[place(parts[2])].push_back(item.clone());
                    format!("${} {item}", item.len())
                }
                None if parts[0] == "LMOVE" => "$-1".to_owned(),
                None => "*-1".to_owned(),
            },
            "LLEN" => format!(":{}", self.0[place(parts[1])].len()),
            other => panic!("the model does not know {other}"),
        }
    }
}

#[test]
fn queues_with_blocked_readers_are_linearizable() {
    check(&Queues::default(), |number, rng, turn| match rng.below(8) {
        0 | 1 => format!("RPUSH q {number}-{turn}"),
        2 => format!("RPUSH r {number}-{turn}"),
        3 | 4 => "BLPOP q r 0.005".to_owned(),
        5 => "BLPOP r 0.005".to_owned(),
        6 => "BLMOVE q r LEFT RIGHT 0.005".to_owned(),
        _ => "LLEN q".to_owned(),
    });
}

#[test]
fn the_checker_refuses_what_cannot_be() {
    let op = |line: &str, reply: &str, called, returned| Operation {
        line: line.to_owned(),
        reply: reply.to_owned(),
        called,
        returned,
    };
    let stale = [op("SET a 1", "+OK", 0, 10), op("GET a", "$-1", 20, 30)];
    assert!(!is_linearizable(&Registers::default(), &stale), "a read after the write's return");
    let overlapping = [op("SET a 1", "+OK", 0, 25), op("GET a", "$-1", 20, 30)];
    assert!(is_linearizable(&Registers::default(), &overlapping), "both orders are possible");
    let torn = [op("MSET a 1 c 1", "+OK", 0, 100), op("MGET a b c", "*3 $1 1 $-1 $-1", 10, 90)];
    assert!(!is_linearizable(&Registers::default(), &torn), "half of an MSET");
    let twice = [
        op("RPUSH q x", ":1", 0, 5),
        op("BLPOP q 0.005", "*2 $1 q $1 x", 6, 20),
        op("BLPOP q 0.005", "*2 $1 q $1 x", 7, 20),
    ];
    assert!(!is_linearizable(&Queues::default(), &twice), "one element for two readers");
}

#[test]
fn watched_counters_lose_no_increment() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let address = server.address();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(address).expect("connects");
                    let mut done = 0;
                    while done < 30 {
                        client.ask("WATCH n guard");
                        let n = client.ask("GET n").text().parse::<u64>().unwrap_or(0);
                        client.ask("MULTI");
                        client.ask(&format!("SET n {}", n + 1));
                        client.ask("INCR guard");
                        done += u32::from(!client.ask("EXEC").items().is_empty());
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("no panic"));
        let mut client = server.connect();
        let expected = (CLIENTS * 30).to_string();
        assert_eq!(
            (client.ask("GET n").text(), client.ask("GET guard").text()),
            (expected.clone(), expected)
        );
    }
}

/// A client writes data and then a flag, on different shards; nobody sees the flag without the data.
#[test]
fn what_one_client_writes_is_never_seen_in_reverse() {
    const ROUNDS: u64 = 400;
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let address = server.address();
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let over = over.clone();
                std::thread::spawn(move || {
                    let mut client = Client::connect(address).expect("connects");
                    let mut looks = 0;
                    while !over.load(Ordering::Relaxed) {
                        let replies = client.pipeline(&[words("GET flag"), words("GET data")]);
                        let value = |index: usize| -> u64 {
                            replies[index].as_ref().expect("a reply").value.text().parse().unwrap_or(0)
                        };
                        let (flag, data) = (value(0), value(1));
                        assert!(data >= flag, "flag {flag} was seen with data {data}");
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        let mut writer = Client::connect(address).expect("connects");
        for round in 1..=ROUNDS {
            writer.pipeline(&[words(&format!("SET data {round}")), words(&format!("SET flag {round}"))]);
        }
        over.store(true, Ordering::Relaxed);
        let looks: u64 = readers.into_iter().map(|reader| reader.join().expect("never in reverse")).sum();
        assert!(looks > 0, "somebody looked");
    }
}
