//! Slots go back and forth between two nodes while clients write values of all types, with links cut and processes killed:
//! no acknowledged write is lost, and none is applied twice.
//!
//! A small share with a fixed seed runs by default; `SKULD_MIGRATIONS` says how many migrations, `SKULD_SEED` which.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::{Client, NoReply};
use support::migration::{Kind, Pair, job, replay_records, wait_for};
use support::resp::Value;
use support::rng::Rng;
use support::server::Server;

const WRITERS: u64 = 3;
/// Hash tags, in slots all over.
const TAGS: u64 = 40;

/// What one writer did to one key.
#[derive(Clone, Debug, Default)]
struct Done {
    /// Numbers of the writes that were acknowledged, in order, and of those nobody knows about.
    acknowledged: Vec<u64>,
    in_doubt: Vec<u64>,
}

/// One kind of write: its command (a number each) and how many of them a key shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Write {
    Counter,
    List,
    Set,
    Hash,
    Sorted,
    Stream,
    Transaction,
    Script,
    Deadline,
}

const WRITES: [Write; 9] = [
    Write::Counter,
    Write::List,
    Write::Set,
    Write::Hash,
    Write::Sorted,
    Write::Stream,
    Write::Transaction,
    Write::Script,
    Write::Deadline,
];

impl Write {
    fn key(self, writer: u64, tag: u64) -> String {
        format!("{{tag{tag}}}{self:?}:{writer}")
    }

    /// The requests of write `number`, and the index of the reply that acknowledges it.
    fn requests(self, key: &str, number: u64) -> Vec<String> {
        match self {
            Self::Counter => vec![format!("INCR {key}")],
            Self::List => vec![format!("RPUSH {key} {number}")],
            Self::Set => vec![format!("SADD {key} {number}")],
            Self::Hash => vec![format!("HINCRBY {key} field 1")],
            Self::Sorted => vec![format!("ZINCRBY {key} 1 member")],
            Self::Stream => vec![format!("XADD {key} * n {number}")],
            Self::Transaction => {
                vec![
                    "MULTI".into(),
                    format!("INCR {key}"),
                    format!("RPUSH {key}:log {number}"),
                    "EXEC".into(),
                ]
            }
            Self::Script => {
                // Without blanks: requests are split there.
                let code = "redis.call('incr',KEYS[1])return(redis.call('rpush',KEYS[1]..':log',ARGV[1]))";
                vec![format!("EVAL {code} 1 {key} {number}")]
            }
            Self::Deadline => vec![format!("SET {key} {number} PX 100000000")],
        }
    }
}

type Book = BTreeMap<(Write, u64), Done>;

/// Writes until told to stop, wherever the slots are.
fn write(ports: [u16; 2], writer: u64, seed: u64, stop: &AtomicBool) -> Book {
    let mut rng = Rng::new(seed ^ writer.wrapping_mul(0x9e37_79b9));
    let mut links: [Option<Client>; 2] = [None, None];
    let (mut at, mut book, mut number) = (0, Book::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let (what, tag) = (*rng.pick(&WRITES), rng.below(TAGS as usize) as u64);
        let key = what.key(writer, tag);
        number += 1;
        let requests = what.requests(&key, number);
        let done = book.entry((what, tag)).or_default();
        loop {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(link) = &mut links[at] else {
                match Client::connect((std::net::Ipv4Addr::LOCALHOST, ports[at]).into()) {
                    Ok(client) => links[at] = Some(client),
                    Err(_) => {
                        at = 1 - at;
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                continue;
            };
            match attempt(link, &requests) {
                Attempt::Acknowledged => {
                    done.acknowledged.push(number);
                    break;
                }
                Attempt::Elsewhere => at = 1 - at,
                Attempt::Later => std::thread::sleep(Duration::from_millis(2)),
                Attempt::InDoubt => {
                    done.in_doubt.push(number);
                    links[at] = None;
                    break;
                }
            }
        }
    }
    book
}

enum Attempt {
    Acknowledged,
    /// Nothing was done.
    Elsewhere,
    Later,
    InDoubt,
}

fn attempt(link: &mut Client, requests: &[String]) -> Attempt {
    let mut first_error = None;
    for request in requests {
        let last = match link.call(&support::text::words(request)) {
            Ok(frame) => frame.value,
            Err(NoReply::Closed(_) | NoReply::TimedOut(_) | NoReply::Malformed(_)) => {
                return Attempt::InDoubt;
            }
        };
        if let Value::Error(text) = &last
            && first_error.is_none()
        {
            first_error = Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    let Some(error) = first_error else { return Attempt::Acknowledged };
    let word = error.split(' ').next().unwrap_or_default();
    match word {
        "MOVED" => Attempt::Elsewhere,
        "CLUSTERDOWN" | "LOADING" | "BUSY" | "TRYAGAIN" | "MASTERDOWN" => Attempt::Later,
        _ => panic!("{requests:?}: {error}"),
    }
}

/// Compares what is there with what was done.
fn verify(clients: &mut [Client; 2], writer: u64, book: &Book) -> u64 {
    let mut checked = 0;
    let mut ask = |line: &str| -> Value {
        let reply = clients[0].ask(line);
        match &reply {
            Value::Error(text) if text.starts_with(b"MOVED") => clients[1].ask(line),
            _ => reply,
        }
    };
    let numbers = |value: &Value| -> Vec<u64> {
        value.items().iter().map(|item| item.text().parse().expect("a number")).collect()
    };
    for ((what, tag), done) in book {
        let key = what.key(writer, *tag);
        let what_and_key =
            format!("{key}: {} acknowledged, {:?} in doubt", done.acknowledged.len(), done.in_doubt);
        let counted = |found: u64| {
            let least = done.acknowledged.len() as u64;
            let most = least + done.in_doubt.len() as u64;
            assert!((least..=most).contains(&found), "{what_and_key}: {found}");
        };
        let listed = |found: Vec<u64>| {
            let certain: Vec<u64> = found.iter().copied().filter(|n| !done.in_doubt.contains(n)).collect();
            assert_eq!(certain, done.acknowledged, "{what_and_key}");
            let mut once = found.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), found.len(), "{what_and_key}: none twice");
        };
        let whole = |value: Value| value.text().parse::<f64>().unwrap_or(0.0) as u64;
        match what {
            Write::Counter => counted(whole(ask(&format!("GET {key}")))),
            Write::Hash => counted(whole(ask(&format!("HGET {key} field")))),
            Write::Sorted => counted(whole(ask(&format!("ZSCORE {key} member")))),
            Write::List => listed(numbers(&ask(&format!("LRANGE {key} 0 -1")))),
            Write::Set => {
                let mut found = numbers(&ask(&format!("SMEMBERS {key}")));
                found.sort_unstable();
                listed(found);
            }
            Write::Stream => {
                let entries = ask(&format!("XRANGE {key} - +"));
                listed(
                    entries
                        .items()
                        .iter()
                        .map(|e| numbers(&Value::Array(e.items()[1].items()[1..].to_vec()))[0])
                        .collect(),
                );
            }
            Write::Transaction | Write::Script => {
                let found = numbers(&ask(&format!("LRANGE {key}:log 0 -1")));
                assert_eq!(
                    whole(ask(&format!("GET {key}"))),
                    found.len() as u64,
                    "{what_and_key}: both or none"
                );
                listed(found);
            }
            Write::Deadline => {
                let found = whole(ask(&format!("GET {key}")));
                let last = done.acknowledged.last().copied().unwrap_or(0);
                assert!(found == last || done.in_doubt.contains(&found), "{what_and_key}: {found}");
                assert!(found == 0 || ask(&format!("PTTL {key}")).integer() > Some(0), "{what_and_key}");
            }
        }
        checked += done.acknowledged.len() as u64;
    }
    checked
}

/// Which of the two has each slot, as both agree.
fn owners(pair: &Pair) -> Option<Vec<usize>> {
    let views: Vec<Vec<usize>> = [&pair.source, &pair.target]
        .map(|server| {
            let mut owners = vec![2; 16384];
            let text = server.connect().ask("CLUSTER NODES").text();
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let is_first = words[1].contains(&format!(":{}@", pair.source.port));
                for range in words.iter().skip(8) {
                    let (start, end) = range.split_once('-').unwrap_or((range, range));
                    let (Ok(start), Ok(end)) = (start.parse::<usize>(), end.parse::<usize>()) else {
                        continue;
                    };
                    owners[start..=end].fill(usize::from(!is_first));
                }
            }
            owners
        })
        .into();
    (views[0] == views[1] && !views[0].contains(&2)).then(|| views[0].clone())
}

/// Ends and cuts there were.
#[derive(Debug, Default)]
struct Tally {
    success: u32,
    ended: u32,
    cuts: u32,
    kills: u32,
}

fn back_and_forth(kinds: [Kind; 2], migrations: u32, seed: u64, kills: bool) {
    let options = [("appendonly", "yes"), ("appendfsync", if kills { "always" } else { "everysec" })];
    let options = if kills { &options[..] } else { &[] };
    let Some(mut pair) = Pair::start(kinds[0], kinds[1], options) else { return };
    println!("{kinds:?}: {migrations} migrations, seed {seed}");
    let stop = Arc::new(AtomicBool::new(false));
    let ports = [pair.source.port, pair.target.port];
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let stop = stop.clone();
            std::thread::spawn(move || write(ports, writer, seed, &stop))
        })
        .collect();
    let mut rng = Rng::new(seed);
    let mut tally = Tally::default();
    for round in 0..migrations {
        let mut found = None;
        wait_for("both agree on the slots", || {
            found = owners(&pair);
            let is_well =
                |server: &Server| server.connect().ask("CLUSTER INFO").text().contains("cluster_state:ok");
            found.is_some() && is_well(&pair.source) && is_well(&pair.target)
        });
        let found = found.expect("just seen");
        // A run of slots of one owner around a random one.
        let middle = rng.below(16384);
        let from = found[middle];
        let reach = 1 + rng.below(3000);
        let mut start = middle;
        while start > 0 && middle - start < reach && found[start - 1] == from {
            start -= 1;
        }
        let mut end = middle;
        while end < 16383 && end - middle < reach && found[end + 1] == from {
            end += 1;
        }
        let servers = [&pair.source, &pair.target];
        let id = servers[1 - from].connect().ask("CLUSTER MYID").text();
        let mut client = servers[from].connect();
        let reply = client.ask(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {start} {end} NODE {id}"));
        assert_eq!(reply.text(), "OK", "{start}-{end}");
        let fault = rng.below(10);
        let lasting = Duration::from_micros(rng.below(30_000) as u64);
        if fault == 0 {
            std::thread::sleep(lasting);
            let mut target = servers[1 - from].connect();
            let link = target.ask("CLIENT LIST FLAGS i").text();
            if let Some(id) = link.split(' ').next().and_then(|word| word.strip_prefix("id=")) {
                target.ask(&format!("CLIENT KILL ID {id}"));
                tally.cuts += 1;
            }
        } else if fault == 1 && kills && round % 2 == 0 {
            std::thread::sleep(lasting);
            let victim = if rng.one_in(2) { &mut pair.source } else { &mut pair.target };
            victim.kill_and_restart();
            tally.kills += 1;
            continue;
        }
        let begin = Instant::now();
        let state = loop {
            let state = job(&mut client).get("state").cloned().unwrap_or_default();
            if ["success", "failed"].contains(&state.as_str()) {
                break state;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{state}\n{}", pair.logs());
            std::thread::sleep(Duration::from_millis(2));
        };
        if state == "success" { tally.success += 1 } else { tally.ended += 1 }
    }
    wait_for("both agree on the slots", || owners(&pair).is_some());
    stop.store(true, Ordering::Relaxed);
    let books: Vec<Book> =
        writers.into_iter().map(|writer| writer.join().expect("the writer ends")).collect();
    wait_for("no job runs", || {
        [&pair.source, &pair.target].iter().all(|server| {
            let mut client = server.connect();
            support::migration::jobs(&mut client)
                .iter()
                .all(|job| ["success", "failed", "cancelled"].contains(&job["state"].as_str()))
        })
    });
    let mut clients = [pair.source.connect(), pair.target.connect()];
    let checked: u64 = books.iter().zip(0..).map(|(book, writer)| verify(&mut clients, writer, book)).sum();
    println!("{kinds:?}: {tally:?}, {checked} writes");
    assert!(tally.success * 2 >= migrations, "{tally:?}\n{}", pair.logs());
    assert!(checked > u64::from(migrations), "{checked}");
    for (kind, server) in kinds.into_iter().zip([&pair.source, &pair.target]) {
        if kind != Kind::Valkey {
            replay_records(server);
        }
    }
}

fn migrations(by_default: u32) -> u32 {
    std::env::var("SKULD_MIGRATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(by_default)
}

fn seed() -> u64 {
    std::env::var("SKULD_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(9)
}

#[test]
fn ours_and_ours_with_kills() {
    back_and_forth([Kind::Ours, Kind::Ours], migrations(24), seed(), true);
}

#[test]
fn ours_and_ours_with_several_shards() {
    back_and_forth([Kind::OursOnThreeThreads, Kind::Ours], migrations(12), seed() + 1, false);
}

#[test]
fn ours_and_valkey() {
    back_and_forth([Kind::Ours, Kind::Valkey], migrations(12), seed() + 2, false);
}
