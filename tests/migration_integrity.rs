//! Random sets of slots go back and forth between two nodes while clients write values of all types in two databases, with
//! links cut, jobs cancelled, nodes stopped for a moment and processes killed: no acknowledged write is lost, none is
//! applied twice, what was deleted or has expired stays away, and what nobody touches is the same at the end. So it is
//! again when both nodes are killed once more, and on their replicas.
//!
//! A small share with a fixed seed runs by default; `SKULD_MIGRATIONS` says how many migrations, `SKULD_SEED` which.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::{Client, NoReply};
use support::migration::{Kind, Pair, digests, fill, jobs, launch, replay_records, wait_for};
use support::resp::Value;
use support::rng::Rng;
use support::server::Server;

const WRITERS: u64 = 3;
/// Hash tags, in slots all over.
const TAGS: u64 = 40;
/// Tags of keys that are never written again.
const QUIET: u64 = 6;
/// How long keys live that are to expire on the way, milliseconds.
const FLEETING_MS: u64 = 60;

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
    /// Fields, each with a deadline of its own.
    Fields,
    /// Bits of one string, which grows long.
    Bits,
    /// Pushed to one list and moved to another.
    Moved,
    /// Set and deleted in turns.
    Deleted,
    /// Gone before long.
    Fleeting,
}

const WRITES: [Write; 14] = [
    Write::Counter,
    Write::List,
    Write::Set,
    Write::Hash,
    Write::Sorted,
    Write::Stream,
    Write::Transaction,
    Write::Script,
    Write::Deadline,
    Write::Fields,
    Write::Bits,
    Write::Moved,
    Write::Deleted,
    Write::Fleeting,
];

/// Every second tag is in another database.
fn database(tag: u64) -> u64 {
    tag % 2
}

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
            Self::Fields => vec![format!("HSETEX {key} PX 100000000 FIELDS 1 {number} v")],
            Self::Bits => vec![format!("SETBIT {key} {number} 1")],
            Self::Moved => vec![
                "MULTI".into(),
                format!("RPUSH {key}:in {number}"),
                format!("LMOVE {key}:in {key} LEFT RIGHT"),
                "EXEC".into(),
            ],
            Self::Deleted if number.is_multiple_of(2) => vec![format!("SET {key} {number}")],
            Self::Deleted => vec![format!("DEL {key}")],
            Self::Fleeting => vec![format!("SET {key} {number} PX {FLEETING_MS}")],
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
        let mut requests = what.requests(&key, number);
        requests.insert(0, format!("SELECT {}", database(tag)));
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
    let db = std::cell::Cell::new(0);
    let mut ask = |line: &str| -> Value { ask_either(clients, db.get(), line) };
    let numbers = |value: &Value| -> Vec<u64> {
        value.items().iter().map(|item| item.text().parse().expect("a number")).collect()
    };
    for ((what, tag), done) in book {
        let key = what.key(writer, *tag);
        db.set(database(*tag));
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
            Write::Bits => counted(ask(&format!("BITCOUNT {key}")).integer().unwrap_or(0) as u64),
            Write::List => listed(numbers(&ask(&format!("LRANGE {key} 0 -1")))),
            Write::Moved => {
                assert_eq!(
                    ask(&format!("EXISTS {key}:in")).integer(),
                    Some(0),
                    "{what_and_key}: both or none"
                );
                listed(numbers(&ask(&format!("LRANGE {key} 0 -1"))));
            }
            Write::Fields => {
                let mut found = numbers(&ask(&format!("HKEYS {key}")));
                found.sort_unstable();
                if let Some(field) = found.first() {
                    let left = ask(&format!("HPTTL {key} FIELDS 1 {field}"));
                    assert!(left.items()[0].integer() > Some(0), "{what_and_key}: {field}: {left}");
                }
                listed(found);
            }
            Write::Deleted => {
                let found = whole(ask(&format!("GET {key}")));
                // What a write leaves there; the last that is certain, or one nobody knows about after it.
                let left = |number: u64| if number.is_multiple_of(2) { number } else { 0 };
                let last = done.acknowledged.last().copied().unwrap_or(0);
                let may = done.in_doubt.iter().any(|n| *n > last && left(*n) == found);
                assert!(found == left(last) || may, "{what_and_key}: {found}");
            }
            Write::Fleeting => {
                assert_eq!(ask(&format!("EXISTS {key}")).integer(), Some(0), "{what_and_key}: long expired");
            }
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

/// Asks whichever node serves the key.
fn ask_either(clients: &mut [Client; 2], db: u64, line: &str) -> Value {
    for client in clients {
        assert_eq!(client.ask(&format!("SELECT {db}")).text(), "OK");
        let reply = client.ask(line);
        if !matches!(&reply, Value::Error(text) if text.starts_with(b"MOVED")) {
            return reply;
        }
    }
    panic!("{line}: nobody serves it");
}

/// What the quiet keys are, wherever they are.
fn quiet_digests(pair: &Pair, names: &[String]) -> Vec<String> {
    let mut clients = [pair.source.connect(), pair.target.connect()];
    let mut served = |name: &String| {
        let reply = clients[0].ask(&format!("TYPE {name}"));
        usize::from(matches!(&reply, Value::Error(text) if text.starts_with(b"MOVED")))
    };
    let places: Vec<usize> = names.iter().map(&mut served).collect();
    let mut found: Vec<String> = (0..2)
        .flat_map(|node| {
            let here = names.iter().zip(&places).filter(|(_, place)| **place == node);
            let here: Vec<String> = here.map(|(name, _)| name.clone()).collect();
            digests(&mut clients[node], &here)
        })
        .collect();
    found.sort();
    found
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

/// The fault that is an operator's.
const CANCEL: usize = 2;

/// Ends and faults there were.
#[derive(Debug, Default)]
struct Tally {
    success: u32,
    ended: u32,
    cuts: u32,
    cancelled: u32,
    stops: u32,
    kills: u32,
    /// Rounds with a job in each direction.
    crossed: u32,
}

/// What a run is made of.
struct Run {
    kinds: [Kind; 2],
    migrations: u32,
    seed: u64,
    /// Processes are killed, with every write on the disk before it is acknowledged.
    kills: bool,
    /// Each node has a replica.
    replicas: bool,
}

/// Up to three runs of slots that `from` has, around random ones.
fn random_ranges(rng: &mut Rng, owners: &[usize], from: usize) -> Vec<(usize, usize)> {
    let mut taken = vec![false; owners.len()];
    let mut ranges = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let is_free = |slot: usize, taken: &[bool]| owners[slot] == from && !taken[slot];
        let middle = rng.below(owners.len());
        if !is_free(middle, &taken) {
            continue;
        }
        let reach = 1 + rng.below(2000);
        let (mut start, mut end) = (middle, middle);
        while start > 0 && middle - start < reach && is_free(start - 1, &taken) {
            start -= 1;
        }
        while end < owners.len() - 1 && end - middle < reach && is_free(end + 1, &taken) {
            end += 1;
        }
        taken[start..=end].fill(true);
        ranges.push((start, end));
    }
    ranges
}

fn is_over(state: &str) -> bool {
    ["success", "failed", "cancelled"].contains(&state)
}

/// Waits until both nodes serve, agree on who has which slot, and have no job under way; the owners.
fn settled(pair: &Pair) -> Vec<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut obstacles = Vec::new();
        for server in [&pair.source, &pair.target] {
            let mut client = server.connect();
            let info = client.ask("CLUSTER INFO").text();
            if !info.contains("cluster_state:ok") {
                obstacles.push(info);
            }
            let all = jobs(&mut client);
            obstacles.extend(all.iter().filter(|job| !is_over(&job["state"])).map(|job| format!("{job:?}")));
        }
        match owners(pair) {
            Some(owners) if obstacles.is_empty() => return owners,
            Some(_) => {}
            None => obstacles.extend(
                [&pair.source, &pair.target].map(|server| server.connect().ask("CLUSTER NODES").text()),
            ),
        }
        assert!(Instant::now() < deadline, "{}\n{}", obstacles.join("\n"), pair.logs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start_replica(kind: Kind, of: &Server, options: &[(&str, &str)]) -> Option<Server> {
    let replica = launch(kind, options)?;
    let bus = of.connect().ask("CONFIG GET cluster-port").items()[1].text();
    let id = of.connect().ask("CLUSTER MYID").text();
    let mut client = replica.connect();
    client.ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", of.port));
    wait_for("it follows", || client.ask(&format!("CLUSTER REPLICATE {id}")).text() == "OK");
    wait_for("it is in step", || client.ask("INFO replication").text().contains("master_link_status:up"));
    Some(replica)
}

/// The replica has what its primary has.
fn is_equal(primary: &Server, replica: &Server) -> bool {
    let digest = |server: &Server| server.connect().ask("DEBUG DIGEST").text();
    digest(primary) == digest(replica)
}

fn back_and_forth(run: &Run) {
    let Run { kinds, migrations, seed, kills, .. } = *run;
    let mut options = vec![("cluster-databases", "2"), ("cluster-allow-replica-migration", "no")];
    if kills {
        // Rewritten now and then, so that it is also rewritten with imports under way.
        options.extend([("appendonly", "yes"), ("appendfsync", "always")]);
        options.extend([("auto-aof-rewrite-min-size", "1mb"), ("auto-aof-rewrite-percentage", "20")]);
    }
    let Some(mut pair) = Pair::start(kinds[0], kinds[1], &options) else { return };
    let replicas: Vec<Server> = match run.replicas {
        true => [(kinds[0], &pair.source), (kinds[1], &pair.target)]
            .into_iter()
            .filter_map(|(kind, primary)| start_replica(kind, primary, &options))
            .collect(),
        false => Vec::new(),
    };
    println!("{kinds:?}: {migrations} migrations, seed {seed}");
    let names: Vec<String> = (0..QUIET)
        .flat_map(|number| {
            let tag = format!("quiet{number}");
            let slot = pair.source.connect().ask(&format!("CLUSTER KEYSLOT {tag}")).integer();
            let owner = if slot < Some(8192) { &pair.source } else { &pair.target };
            fill(&mut owner.connect(), &tag)
        })
        .collect();
    let quiet = quiet_digests(&pair, &names);
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
    while tally.success + tally.ended < migrations {
        let found = settled(&pair);
        let first = rng.below(2);
        // A real node that takes slots over while it has paused its writes to hand over others ends with an assertion.
        let is_crossed = rng.one_in(4) && !kinds.contains(&Kind::Valkey);
        tally.crossed += u32::from(is_crossed);
        let fault = rng.below(16);
        let prevent_pause = |on: u8| {
            let server = [&pair.source, &pair.target][first];
            server.connect().ask(&format!("DEBUG SLOTMIGRATION PREVENT-PAUSE {on}"));
        };
        if fault == CANCEL {
            // Who cancels behind the grant is told that writes may be lost: not what is looked at here.
            prevent_pause(1);
        }
        let mut started = Vec::new();
        for from in if is_crossed { vec![first, 1 - first] } else { vec![first] } {
            let ranges = random_ranges(&mut rng, &found, from);
            if ranges.is_empty() {
                continue;
            }
            let servers = [&pair.source, &pair.target];
            let id = servers[1 - from].connect().ask("CLUSTER MYID").text();
            let words: Vec<String> = ranges.iter().map(|(start, end)| format!("{start} {end}")).collect();
            let mut client = servers[from].connect();
            let reply = client.ask(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE {} NODE {id}", words.join(" ")));
            assert_eq!(reply.text(), "OK", "{ranges:?}\n{}", pair.logs());
            started.push((from, jobs(&mut client)[0]["name"].clone()));
        }
        let Some((from, _)) = started.first().cloned() else {
            prevent_pause(0);
            continue;
        };
        let lasting = Duration::from_micros(rng.below(130_000) as u64);
        match fault {
            // The link is cut at either end.
            0 | 1 => {
                std::thread::sleep(lasting);
                let (end, flag) = if rng.one_in(2) { (1 - from, "i") } else { (from, "E") };
                let mut client = [&pair.source, &pair.target][end].connect();
                let link = client.ask(&format!("CLIENT LIST FLAGS {flag}")).text();
                if let Some(id) = link.split(' ').next().and_then(|word| word.strip_prefix("id=")) {
                    client.ask(&format!("CLIENT KILL ID {id}"));
                    tally.cuts += 1;
                }
            }
            CANCEL => {
                std::thread::sleep(lasting);
                let reply = [&pair.source, &pair.target][first].connect().ask("CLUSTER CANCELSLOTMIGRATIONS");
                tally.cancelled += u32::from(reply.text() == "OK");
                prevent_pause(0);
            }
            3 => {
                std::thread::sleep(lasting);
                let victim = if rng.one_in(2) { &pair.source } else { &pair.target };
                victim.signal("STOP");
                std::thread::sleep(Duration::from_millis(rng.below(100) as u64));
                victim.signal("CONT");
                tally.stops += 1;
            }
            4 if kills => {
                std::thread::sleep(lasting);
                let which = rng.below(3);
                if which != 0 {
                    pair.source.kill_and_restart();
                }
                if which != 1 {
                    pair.target.kill_and_restart();
                }
                tally.kills += 1;
            }
            _ => {}
        }
        let begin = Instant::now();
        for (from, name) in started {
            let state = loop {
                let server = [&pair.source, &pair.target][from];
                let all = jobs(&mut server.connect());
                // A process that was killed knows nothing of it any more.
                let state = all.iter().find(|job| job["name"] == name).map(|job| job["state"].clone());
                match state {
                    None => break "forgotten".to_owned(),
                    Some(state) if is_over(&state) => break state,
                    Some(state) => {
                        assert!(begin.elapsed() < Duration::from_secs(60), "{state}\n{}", pair.logs());
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            if state == "success" { tally.success += 1 } else { tally.ended += 1 }
        }
    }
    settled(&pair);
    stop.store(true, Ordering::Relaxed);
    let books: Vec<Book> =
        writers.into_iter().map(|writer| writer.join().expect("the writer ends")).collect();
    std::thread::sleep(Duration::from_millis(2 * FLEETING_MS));
    let checked = check(&pair, &books);
    println!("{kinds:?}: {tally:?}, {checked} writes");
    assert_eq!(quiet_digests(&pair, &names), quiet, "what nobody touched");
    assert!(tally.success * 2 >= migrations, "{tally:?}\n{}", pair.logs());
    assert!(checked > u64::from(migrations), "{checked}");
    for (kind, server) in kinds.into_iter().zip([&pair.source, &pair.target]) {
        if kind != Kind::Valkey {
            replay_records(server);
        }
    }
    for (replica, primary) in replicas.iter().zip([&pair.source, &pair.target]) {
        wait_for("the replica has what its primary has", || is_equal(primary, replica));
    }
    if kills {
        pair.source.kill_and_restart();
        pair.target.kill_and_restart();
        settled(&pair);
        assert_eq!(check(&pair, &books), checked);
        assert_eq!(quiet_digests(&pair, &names), quiet, "what nobody touched, after a kill");
    }
}

/// Compares what the nodes have with what all writers did.
fn check(pair: &Pair, books: &[Book]) -> u64 {
    let mut clients = [pair.source.connect(), pair.target.connect()];
    books.iter().zip(0..).map(|(book, writer)| verify(&mut clients, writer, book)).sum()
}

fn migrations(by_default: u32) -> u32 {
    std::env::var("SKULD_MIGRATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(by_default)
}

fn seed() -> u64 {
    std::env::var("SKULD_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(9)
}

fn run(kinds: [Kind; 2], by_default: u32, which: u64, kills: bool, replicas: bool) {
    let (migrations, seed) = (migrations(by_default), seed() + which);
    back_and_forth(&Run { kinds, migrations, seed, kills, replicas });
}

#[test]
fn ours_and_ours_with_kills() {
    run([Kind::Ours, Kind::Ours], 24, 0, true, false);
}

#[test]
fn ours_and_ours_with_several_shards_and_replicas() {
    run([Kind::OursOnThreeThreads, Kind::Ours], 12, 1, false, true);
}

#[test]
fn ours_and_valkey_with_kills() {
    run([Kind::Ours, Kind::Valkey], 20, 2, true, false);
}

#[test]
fn ours_and_valkey() {
    run([Kind::Ours, Kind::Valkey], 12, 3, false, false);
}
