//! What commands leave behind besides their replies: the commands that replicas and the append-only file get, and the
//! keyspace events. The oracle is the append-only file that a real Valkey writes, and its `__keyevent@*__` messages.
//!
//! Skuld shows its own with ACTOR EFFECTS (an array of commands, SELECT, MULTI and EXEC among them, as they would be
//! written) and ACTOR EVENTS (an array of `db:event:key`); both drain what they show.
//!
//! `SKULD_EFFECTS_COMMANDS`, `SKULD_FAMILIES` (separated by commas) and `SKULD_SEED` vary the run.

mod support;

use std::time::Duration;

use support::client::Client;
use support::effects::{EventListener, appended, command_of, comparable, first_difference};
use support::r#gen::Generator;
use support::parity::{Command, listed_commands};
use support::resp::Value;
use support::server::{Launch, Server, reference_binary, testing_the_reference};
use support::text::{command_line, escape, words};

const OPTIONS: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("aof-use-rdb-preamble", "no"),
    ("appendfsync", "no"),
    ("auto-aof-rewrite-percentage", "0"),
    ("notify-keyspace-events", "KEAn"),
];

/// What one command left behind.
#[derive(Debug, PartialEq)]
struct Left {
    effects: Vec<String>,
    events: Vec<String>,
}

/// A server whose effects and events can be read.
enum Source {
    /// By its append-only file and by subscription.
    Files { server: Server, listener: EventListener, seen: usize, database: Vec<u8> },
    /// By the ACTOR commands.
    Actor { server: Server, database: Vec<u8> },
}

impl Source {
    fn reference(launch: Launch) -> Self {
        let launch = OPTIONS.iter().fold(launch, |launch, (name, value)| launch.option(name, value));
        let server = launch.start();
        let listener = EventListener::new(server.connect());
        Source::Files { server, listener, seen: 0, database: Vec::new() }
    }

    fn server(&self) -> &Server {
        match self {
            Source::Files { server, .. } | Source::Actor { server, .. } => server,
        }
    }

    /// What was left behind since the last call.
    fn drain(&mut self, control: &mut Client) -> Left {
        let (effects, events) = match self {
            Source::Files { server, listener, seen, .. } => {
                let events = listener.drain(control);
                (appended(&server.dir().join("appendonlydir"), seen), events)
            }
            Source::Actor { .. } => skuld_effects(control).expect("asked for at the start"),
        };
        let events: Vec<String> = events.iter().map(|event| escape(event)).collect();
        let (Source::Files { database, .. } | Source::Actor { database, .. }) = self;
        Left { effects: with_databases(&effects, database), events }
    }
}

/// The effects with the database of each in front instead of SELECT between them: where a SELECT is written anew, after
/// a drain or before a MULTI, is no matter of the commands.
fn with_databases(effects: &[Command], database: &mut Vec<u8>) -> Vec<String> {
    let mut texts = Vec::new();
    for effect in effects {
        if effect[0].eq_ignore_ascii_case(b"SELECT") {
            database.clone_from(&effect[1]);
        } else if effect.len() == 1 && (effect[0] == b"MULTI" || effect[0] == b"EXEC") {
            texts.push(comparable(effect));
        } else {
            texts.push(format!("db{}: {}", escape(database), comparable(effect)));
        }
    }
    texts
}

/// Skuld's effects and events since the last call, or the error it answers.
fn skuld_effects(control: &mut Client) -> Result<(Vec<Command>, Vec<Vec<u8>>), String> {
    let effects = match control.ask("ACTOR EFFECTS") {
        Value::Array(commands) => commands.iter().map(command_of).collect(),
        other => return Err(format!("ACTOR EFFECTS answered {other}")),
    };
    let events = match control.ask("ACTOR EVENTS") {
        Value::Array(events) => events.iter().filter_map(|event| event.bytes().map(<[u8]>::to_vec)).collect(),
        other => return Err(format!("ACTOR EVENTS answered {other}")),
    };
    Ok((effects, events))
}

/// Whether Skuld records what commands leave behind. The first ACTOR EFFECTS and ACTOR EVENTS may be what starts it.
fn probe(control: &mut Client) -> Result<(), String> {
    skuld_effects(control)?;
    control.ask("SET probe v");
    let (effects, events) = skuld_effects(control)?;
    control.ask("DEL probe");
    if effects.is_empty() || events.is_empty() {
        return Err("ACTOR EFFECTS or ACTOR EVENTS shows nothing after SET".to_owned());
    }
    Ok(())
}

/// Both servers, or `None` with the reason printed.
fn start(workers: usize) -> Option<(Source, Source)> {
    let binary = reference_binary("the oracle of effects")?;
    if testing_the_reference() {
        return Some((
            Source::reference(Launch::skuld(workers)),
            Source::reference(Launch::reference(&binary)),
        ));
    }
    let server = Launch::skuld(workers).option("notify-keyspace-events", "KEAn").start();
    if let Err(reason) = probe(&mut server.connect()) {
        panic!("{reason}");
    }
    Some((Source::Actor { server, database: Vec::new() }, Source::reference(Launch::reference(&binary))))
}

/// Runs groups of commands and compares what each group left behind.
fn compare(workers: usize, groups: impl Iterator<Item = Vec<Command>>, what: &str) {
    let Some((mut ours, mut theirs)) = start(workers) else { return };
    let (mut our_control, mut their_control) = (ours.server().connect(), theirs.server().connect());
    let (mut our_client, mut their_client) = (ours.server().connect(), theirs.server().connect());
    for client in [&mut our_client, &mut their_client] {
        client.set_reply_timeout(Duration::from_secs(10));
    }
    // Starting up may itself leave a SELECT.
    ours.drain(&mut our_control);
    theirs.drain(&mut their_control);
    let mut failures = Vec::new();
    let (mut effects, mut events) = (0, 0);
    for (number, group) in groups.enumerate() {
        our_client.pipeline(&group);
        their_client.pipeline(&group);
        let (our_left, their_left) = (ours.drain(&mut our_control), theirs.drain(&mut their_control));
        effects += their_left.effects.len();
        events += their_left.events.len();
        let lines: Vec<String> = group.iter().map(|command| command_line(command)).collect();
        for (kind, ours, theirs) in [
            ("effects", &our_left.effects, &their_left.effects),
            ("events", &our_left.events, &their_left.events),
        ] {
            if let Some(difference) = first_difference(ours, theirs) {
                let shown =
                    lines.iter().map(|line| line.chars().take(200).collect::<String>()).collect::<Vec<_>>();
                failures.push(format!(
                    "group {number}: {kind} {difference}\n    after\n      {}",
                    shown.join("\n      ")
                ));
            }
        }
        if failures.len() >= 10 {
            break;
        }
    }
    println!("{what}: {effects} effects and {events} events compared");
    assert!(effects > 0 && events > 0, "{what}: nothing was compared");
    assert!(failures.is_empty(), "{what}: {} differences\n{}", failures.len(), failures.join("\n"));
}

/// One group per line: every effect of the delivered families at least once.
const WRITTEN: &str = "
SET k v
SET k v EX 1000
SET k v PX 1000000
SET k v EXAT 4102444800
SET k v KEEPTTL
SET k v NX
SET k v XX GET
SET k v EXAT 1
SET i a
SET i b IFEQ a
SET i c IFEQ a
SETNX n v
SETNX n v
SETEX s 1000 v
PSETEX s 1000000 v
GETSET k w
GETDEL k
GETDEL k
SET g v
GETEX g
GETEX g EX 1000
GETEX g PXAT 4102444800000
GETEX g PERSIST
GETEX g PERSIST
GETEX g EXAT 1
APPEND a x
APPEND a y
SETRANGE a 1 zz
SETRANGE a 1 EMPTY
INCR c
INCRBY c 5
DECR c
DECRBY c 2
INCRBYFLOAT c 1.5
INCRBYFLOAT f 3
MSET m1 1 m2 2
MSETNX m1 1 m3 3
MSETNX m4 1 m5 2
MSETEX 2 e1 1 e2 2 EX 1000
MSETEX 2 e1 1 e2 2 PXAT 4102444800000 XX
MSETEX 1 e9 1 XX
SET d v
DELIFEQ d w
DELIFEQ d v
SETBIT b 7 1
SETBIT b 7 1
BITOP NOT b2 b
BITOP AND b3 nothing nothing
BITFIELD b SET u8 0 5
BITFIELD b GET u8 0
BITFIELD b OVERFLOW FAIL INCRBY u2 0 100
DEL m1 nothing m2
DEL nothing
UNLINK m4
SET x v
EXPIRE x 1000
PEXPIRE x 1000000
EXPIREAT x 4102444800
PEXPIREAT x 4102444800000
EXPIREAT x 4102444900 NX
EXPIREAT x 4102444900 GT
PERSIST x
PERSIST x
EXPIRE x -1
EXPIRE nothing 10
SET r v
RENAME r r2
RENAME r2 r2
RENAMENX r2 r3
SET r2 v
RENAMENX r2 r3
COPY r3 r4
COPY r3 r4
COPY r3 r4 REPLACE
COPY r3 r3 DB 2
MOVE r4 1
MOVE nothing 1
TOUCH r3
SELECT 1
SET in1 v
DEL in1 r4
SELECT 0
SWAPDB 0 1
SWAPDB 0 1
SWAPDB 0 0
GET nothing
EXISTS nothing
FLUSHDB
FLUSHDB ASYNC
SET z v
FLUSHALL
FLUSHALL ASYNC
MULTI|SET k v|INCR c|EXEC
MULTI|EXEC
MULTI|GET k|EXEC
MULTI|SET k v|DISCARD
MULTI|SET k v|SELECT 3|SET k w|SELECT 0|EXEC
MULTI|SET k v EXAT 1|DEL k|EXEC
RPUSH l a b c
LPUSH l z
LPUSHX nol a
LINSERT l BEFORE b x
LSET l 0 y
LREM l 0 nothing
LREM l 1 a
LTRIM l 0 1
LPOP l
LPOP l 5
RPUSH l a b
LMOVE l l2 LEFT RIGHT
RPOPLPUSH l l2
BLMOVE l2 l LEFT LEFT 0.01
LMPOP 2 l l2 LEFT COUNT 5
BLPOP l 0.001
SADD s1 a b c
SADD s1 a
SREM s1 a nothing
SMOVE s1 s2 b
SMOVE s1 s2 nothing
SPOP s2 5
SINTERSTORE s3 s1 nothing
SUNIONSTORE s3 s1
SDIFFSTORE s3 s3 s1
HSET h f v g w
HSET h f v
HSETNX h f v
HDEL h f nothing
HINCRBY h n 5
HINCRBYFLOAT h n 1.5
HMSET h a b
HEXPIREAT h 4102444800 FIELDS 1 a
HPERSIST h FIELDS 1 a
HEXPIREAT h 1 FIELDS 1 a
HSETEX h EXAT 4102444800 FIELDS 1 q v
HGETEX h PERSIST FIELDS 1 q
HGETDEL h FIELDS 1 q
DEL h
ZADD z 1 a 2 b
ZADD z NX 5 a
ZADD z INCR 5 a
ZINCRBY z 1 b
ZREM z nothing
ZREM z a
ZADD z 1 a 2 b 3 c
ZPOPMIN z
ZPOPMAX z 1
ZMPOP 1 z MIN
ZADD z 1 a 2 b
ZRANGESTORE z2 z 0 -1
ZUNIONSTORE z3 2 z z2
ZINTERSTORE z3 2 z nothing
ZREMRANGEBYSCORE z 0 1
ZREMRANGEBYRANK z 0 -1
GEOADD o 13 38 p
GEOSEARCHSTORE o2 o FROMLONLAT 13 38 BYRADIUS 10 km
PFADD p a b
PFADD p a
PFMERGE p2 p
PFCOUNT p2
XADD x 1-1 f v
XADD x NOMKSTREAM MAXLEN 1 2-1 f v
XTRIM x MAXLEN 0
XGROUP CREATE x g 0
XADD x 3-1 f v
XREADGROUP GROUP g c STREAMS x >
XREADGROUP GROUP g c NOACK STREAMS x >
XACK x g 3-1
XGROUP CREATECONSUMER x g d
XGROUP DELCONSUMER x g d
XGROUP SETID x g 0
XSETID x 9-0
XDEL x 3-1
XGROUP DESTROY x g
RPUSH so 3 1 2
SORT so STORE sorted
SORT nothing STORE sorted
";

#[test]
fn effects_and_events_of_each_written_command() {
    for workers in [1, 3] {
        let Some(binary) = reference_binary("the oracle of effects") else { return };
        let listed = {
            let ours = Launch::skuld(workers).start();
            let theirs = Launch::reference(&binary).start();
            (listed_commands(&ours), listed_commands(&theirs))
        };
        let known = |command: &Command| {
            let name = support::parity::listed_name(command, &listed.1);
            listed.0.contains(&name)
        };
        let groups = WRITTEN
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split('|').map(words).collect::<Vec<Command>>())
            .filter(|group| group.iter().all(known));
        compare(workers, groups, "written");
    }
}

#[test]
fn effects_and_events_of_random_commands() {
    if reference_binary("the oracle of effects").is_none() {
        return;
    }
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
    };
    let seed = number("SKULD_SEED", 11);
    let total = number("SKULD_EFFECTS_COMMANDS", 3000) as usize;
    println!("SKULD_SEED={seed}");
    let mut listed = listed_commands(&Launch::skuld(3).start());
    // Which member is taken is random, and an id made from the clock differs. A key that MSETEX makes with a deadline in
    // the past goes as one that has expired: here at once, in Valkey some time later.
    listed.remove("spop");
    let wanted: Vec<String> = std::env::var("SKULD_FAMILIES")
        .map(|text| text.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut generator = Generator::new(seed, &wanted, &listed);
    let groups = (0..total).map(|_| generator.group()).filter(|group| {
        !group.iter().any(|command| {
            let has = |word: &str| command.iter().any(|w| w.eq_ignore_ascii_case(word.as_bytes()));
            command[0].eq_ignore_ascii_case(b"xadd") && has("*")
                || command[0].eq_ignore_ascii_case(b"msetex") && (has("EXAT") || has("PXAT"))
        })
    });
    compare(3, groups, &format!("random, SKULD_SEED={seed}"));
}
