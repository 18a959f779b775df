//! Replication between Skuld and a real Valkey, both ways, and what replicas and primaries answer.
//!
//! - `SKULD_REPLICATION_COMMANDS`: random commands per cell of the matrix (600)
//! - `SKULD_SEED`: another seed for them
//! - `SKULD_TRACKED_KEYS`: keys that clients write on a writable replica in the switch-over (20,000)

mod replication_faults;
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::client::{Client, NoReply};
use support::r#gen::Generator;
use support::parity::listed_commands;
use support::resp::Value;
use support::server::{Launch, Server, TempDir, free_port, reference_binary};
use support::text::{escape, words};

/// How long servers may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(default)
}

fn until(what: &str, servers: &[&Server], mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            let logs: Vec<String> =
                servers.iter().map(|s| format!("--- {} {}:\n{}", s.label, s.port, s.log_tail())).collect();
            panic!("not in time: {what}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn info(client: &mut Client, section: &str, field: &str) -> String {
    let text = client.ask(&format!("INFO {section}")).text();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

fn is_linked(replica: &Server) -> bool {
    info(&mut replica.connect(), "replication", "master_link_status") == "up"
}

fn follow(replica: &Server, primary: &Server) {
    let answer = replica.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    assert_eq!(answer.text(), "OK");
    until("the link comes up", &[replica, primary], || is_linked(replica));
}

/// Waits until the replica has executed all of the primary's stream, then compares the data.
fn assert_same(primary: &Server, replica: &Server) {
    let (mut from, mut to) = (primary.connect(), replica.connect());
    until("the replica has caught up", &[replica, primary], || {
        let there = info(&mut from, "replication", "master_repl_offset");
        let here = info(&mut to, "replication", "slave_repl_offset");
        is_linked(replica) && !there.is_empty() && there == here
    });
    // Keys that expire between the two looks are a passing difference.
    until("both have the same data", &[replica, primary], || {
        from.ask("DEBUG DIGEST").text() == to.ask("DEBUG DIGEST").text()
    });
}

#[derive(Clone, Copy)]
enum Kind {
    Skuld,
    Valkey,
}

fn launch(kind: Kind, reference: &Path, workers: usize) -> Launch {
    match kind {
        Kind::Skuld => Launch::skuld(workers),
        Kind::Valkey => Launch::reference(reference),
    }
    .option("repl-diskless-sync-delay", "0")
}

/// One cell of the matrix: a full copy while writing goes on, and a continuation after the link was cut.
fn cell(primary: Kind, replica: Kind, options: &[(&str, &str)], workers: usize) {
    let Some(reference) = reference_binary("replication") else { return };
    let seed = number("SKULD_SEED", 7) as u64;
    println!("SKULD_SEED={seed}");
    let with =
        |launch: Launch| options.iter().fold(launch, |launch, (name, value)| launch.option(name, value));
    let primary = with(launch(primary, &reference, workers)).start();
    let replica = with(launch(replica, &reference, workers)).start();
    // What only one of the two knows would be an error on the other.
    let skuld_knows = listed_commands(&Launch::skuld(1).start());
    let mut generator = Generator::new(seed, &[], &skuld_knows);
    let count = number("SKULD_REPLICATION_COMMANDS", 600);
    let mut client = primary.connect();
    let mut write = |client: &mut Client, count: usize| {
        let mut left = count;
        while left > 0 {
            for command in generator.group() {
                let name = command[0].to_ascii_lowercase();
                // They would end the test, not test it.
                if matches!(
                    name.as_slice(),
                    b"quit" | b"reset" | b"hello" | b"client" | b"debug" | b"config" | b"auth"
                ) {
                    continue;
                }
                left = left.saturating_sub(1);
                match client.call(&command) {
                    Ok(_) => {}
                    Err(NoReply::Closed(_)) => *client = primary.connect(),
                    Err(other) => panic!("{}: {other}", support::text::command_line(&command)),
                }
            }
        }
        *client = primary.connect();
    };
    write(&mut client, count);
    let answer = replica.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    assert_eq!(answer.text(), "OK");
    write(&mut client, count);
    for line in [
        "SET expires 1 PX 40",
        "XADD limited MAXLEN ~ 1 LIMIT 5 * f v",
        "XTRIM limited MINID ~ 1 LIMIT 5",
        "SELECT 9",
        "INCR nine",
        "MULTI",
        "INCR nine",
        "SELECT 2",
        "INCR two",
        "EXEC",
    ] {
        client.ask(line);
    }
    assert_same(&primary, &replica);
    for (server, role) in [(&primary, "master"), (&replica, "replica")] {
        let hello = match server.connect().call(&[b"HELLO".to_vec()]) {
            Ok(frame) => String::from_utf8_lossy(&frame.raw).into_owned(),
            Err(error) => panic!("{error:?}"),
        };
        assert!(hello.contains(&format!("role\r\n${}\r\n{role}\r\n", role.len())), "{hello}");
    }
    let clients = replica.connect().ask("CLIENT LIST").text();
    let link = clients.lines().find(|line| line.contains(" flags=M ")).unwrap_or_default();
    assert!(link.contains(" user=(superuser) "), "{clients}");
    let full = info(&mut primary.connect(), "stats", "sync_full");
    primary.connect().ask("CLIENT KILL TYPE replica");
    write(&mut primary.connect(), count);
    assert_same(&primary, &replica);
    let mut client = primary.connect();
    let again = info(&mut client, "stats", "sync_full");
    assert_eq!(again, full, "a cut link is continued\n{}\n{}", primary.log_tail(), replica.log_tail());
    assert_ne!(info(&mut client, "stats", "sync_partial_ok"), "0");
    assert!(!replica.log().contains("== CRITICAL =="), "{}", replica.log_tail());
}

const DISK: &[(&str, &str)] = &[("repl-diskless-sync", "no")];
const DISKLESS: &[(&str, &str)] =
    &[("repl-diskless-sync", "yes"), ("repl-diskless-load", "flush-before-load")];
const SWAP: &[(&str, &str)] = &[("repl-diskless-load", "swapdb")];
const DUAL: &[(&str, &str)] = &[("dual-channel-replication-enabled", "yes")];

#[test]
fn valkey_follows_skuld_by_disk() {
    cell(Kind::Skuld, Kind::Valkey, DISK, 2);
}

#[test]
fn valkey_follows_skuld_diskless() {
    cell(Kind::Skuld, Kind::Valkey, DISKLESS, 1);
}

#[test]
fn valkey_follows_skuld_over_two_channels() {
    cell(Kind::Skuld, Kind::Valkey, DUAL, 2);
}

#[test]
fn skuld_follows_valkey_by_disk() {
    cell(Kind::Valkey, Kind::Skuld, DISK, 2);
}

#[test]
fn skuld_follows_valkey_diskless() {
    cell(Kind::Valkey, Kind::Skuld, DISKLESS, 3);
}

#[test]
fn skuld_follows_valkey_over_two_channels() {
    cell(Kind::Valkey, Kind::Skuld, DUAL, 1);
}

#[test]
fn skuld_follows_skuld_by_disk() {
    cell(Kind::Skuld, Kind::Skuld, DISK, 2);
}

#[test]
fn skuld_follows_skuld_swapping() {
    cell(Kind::Skuld, Kind::Skuld, SWAP, 2);
}

#[test]
fn skuld_follows_skuld_over_two_channels() {
    cell(Kind::Skuld, Kind::Skuld, DUAL, 2);
}

/// A connection that is a replica's as far as the primary knows.
struct Observer(Client);

impl Observer {
    fn new(primary: &Server) -> Self {
        let mut client = primary.connect();
        for line in ["REPLCONF capa eof capa psync2", "REPLCONF version 9.1.2"] {
            assert_eq!(client.ask(line).text(), "OK");
        }
        client.send(&words("PSYNC ? -1"));
        let mut observer = Self(client);
        let line = observer.line();
        assert!(line.starts_with("+FULLRESYNC "), "{line}");
        let head = observer.line();
        let mark = head.strip_prefix("$EOF:").unwrap_or_else(|| panic!("{head}")).as_bytes().to_vec();
        let mut end = Vec::new();
        while !end.ends_with(&mark) {
            end.extend(observer.0.read_raw(1));
        }
        // A primary may not have noticed yet that all is sent; real replicas say it again every second.
        let deadline = Instant::now() + PATIENCE;
        observer.0.send(&words("REPLCONF ACK 0"));
        while observer.0.is_silent_for(Duration::from_millis(200)) {
            assert!(Instant::now() < deadline, "the stream does not begin");
            observer.0.send(&words("REPLCONF ACK 0"));
        }
        observer
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = Vec::new();
            while line.last() != Some(&b'\n') {
                line.extend(self.0.read_raw(1));
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !text.is_empty() {
                return text;
            }
        }
    }

    /// The commands up to (and without) one that says `end`.
    fn commands_until(&mut self, end: &str) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            let frame =
                self.0.read_frame().unwrap_or_else(|none| panic!("{none}, before {end}, after {out:?}"));
            let command: Vec<String> =
                frame.value.items().iter().map(|v| escape(v.bytes().unwrap_or_default())).collect();
            if command.iter().any(|word| word == end) {
                return out;
            }
            if command[0] != "ping" {
                out.push(without_times(&command.join(" ")));
            }
        }
    }
}

/// Milliseconds since 1970 differ from run to run.
fn without_times(text: &str) -> String {
    let is_time =
        |word: &str| word.len() == 13 && word.starts_with('1') && word.bytes().all(|b| b.is_ascii_digit());
    text.split(' ').map(|w| if is_time(w) { "<time>" } else { w }).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_stream_is_valkeys() {
    let Some(reference) = reference_binary("the replication stream") else { return };
    let cases = [
        "SET a 1 EX 100",
        "SET a 1 PX 100 NX",
        "SETEX b 100 1",
        "GETEX a PERSIST",
        "GETDEL a",
        "GETSET b 2",
        "EXPIRE b 100",
        "EXPIRE b -1",
        "INCRBYFLOAT f 1.5",
        "SADD s a b c",
        "SPOP s 3",
        "RPUSH l a b c",
        "LMPOP 1 l LEFT COUNT 2",
        "HSET h f 1",
        "HINCRBYFLOAT h f 1.5",
        "HEXPIRE h 100 FIELDS 1 f",
        "GEOADD g 13.361389 38.115556 x",
        "XADD st 1-1 f v",
        "XGROUP CREATE st grp 0",
        "XREADGROUP GROUP grp me STREAMS st >",
        "ZADD z 1 a 2 b",
        "ZMPOP 1 z MIN",
        "DEL nosuch",
        "GET b",
        "SELECT 3",
        "set lower case",
        "MULTI",
        "SET m1 1",
        "SET m2 2",
        "EXEC",
        "MULTI",
        "SET only 1",
        "EXEC",
        "PUBLISH channel message",
        "COPY only other DB 4",
        "SWAPDB 3 4",
        "MSET x 1 y 2",
        "RENAME x z",
        "SORT l STORE sorted",
        "FLUSHDB",
        "FLUSHALL",
    ];
    let run = |launch: Launch| {
        let primary = launch.option("repl-diskless-sync-delay", "0").start();
        let mut observer = Observer::new(&primary);
        let mut client = primary.connect();
        cases
            .iter()
            .enumerate()
            .map(|(number, line)| {
                client.ask(line);
                let end = format!("end-of-{number}");
                primary.connect().ask(&format!("PUBLISH {end} x"));
                // A unit that queues has nothing to show before EXEC.
                (line, observer.commands_until(&end))
            })
            .collect::<Vec<_>>()
    };
    let theirs = run(Launch::reference(&reference));
    for workers in [1, 3] {
        let ours = run(Launch::skuld(workers));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{workers} workers");
        }
    }
}

#[test]
fn a_chain_of_replicas_holds_the_same_stream() {
    let Some(reference) = reference_binary("chained replicas") else { return };
    for (top, middle, bottom) in [
        (Kind::Valkey, Kind::Skuld, Kind::Valkey),
        (Kind::Skuld, Kind::Valkey, Kind::Skuld),
        (Kind::Skuld, Kind::Skuld, Kind::Skuld),
    ] {
        let top = launch(top, &reference, 1).start();
        let middle = launch(middle, &reference, 2).start();
        let bottom = launch(bottom, &reference, 1).start();
        follow(&middle, &top);
        let mut client = top.connect();
        for n in 0..200 {
            client.ask(&format!("INCR n{}", n % 7));
        }
        follow(&bottom, &middle);
        client.ask("SELECT 5");
        client.ask("RPUSH l a b c");
        assert_same(&top, &middle);
        assert_same(&middle, &bottom);
        // Those who followed the same primary go on with the promoted one.
        assert_eq!(middle.connect().ask("REPLICAOF NO ONE").text(), "OK");
        middle.connect().ask("SET promoted 1");
        until("the bottom follows its new history", &[&middle, &bottom], || is_linked(&bottom));
        assert_same(&middle, &bottom);
        assert_eq!(info(&mut middle.connect(), "stats", "sync_full"), "1", "{}", middle.log_tail());
    }
}

/// ROLE and the primary's list while the primary waits for more replicas to ask.
#[test]
fn a_replica_that_waits_for_its_snapshot_shakes_hands() {
    for two_channels in ["no", "yes"] {
        let launch = || Launch::skuld(1).option("dual-channel-replication-enabled", two_channels);
        let primary = launch().option("repl-diskless-sync-delay", "10000").start();
        let replica = launch().start();
        replica.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
        until("it waits", &[&primary, &replica], || {
            info(&mut primary.connect(), "replication", "slave0").contains("state=wait_bgsave")
        });
        until("it shakes hands", &[&primary, &replica], || {
            replica.connect().ask("ROLE").items()[3].text() == "handshake"
        });
        primary.connect().ask("CONFIG SET repl-diskless-sync-delay 0");
        until("the link comes up", &[&primary, &replica], || is_linked(&replica));
    }
}

#[test]
fn a_paused_replica_hears_its_primary_and_executes_nothing() {
    for workers in [1, 2] {
        let (primary, replica) = (
            Launch::skuld(workers).option("repl-diskless-sync-delay", "0").start(),
            Launch::skuld(workers).start(),
        );
        let (mut from, mut to) = (primary.connect(), replica.connect());
        follow(&replica, &primary);
        from.ask("SET a 1");
        until("the replica has it", &[&primary, &replica], || to.ask("GET a").text() == "1");
        to.ask("CLIENT PAUSE 1000000 WRITE");
        from.ask("SET b 2");
        until("the replica has heard of it", &[&primary, &replica], || {
            info(&mut to, "replication", "slave_read_repl_offset")
                == info(&mut from, "replication", "master_repl_offset")
        });
        assert_eq!(to.ask("EXISTS a b").integer(), Some(1));
        to.ask("CLIENT UNPAUSE");
        until("the pause is over", &[&primary, &replica], || to.ask("GET b").text() == "2");
    }
}

#[test]
fn what_a_replica_refuses() {
    let Some(reference) = reference_binary("refusals of replicas") else { return };
    for kind in [Kind::Valkey, Kind::Skuld] {
        let primary = launch(Kind::Skuld, &reference, 1).start();
        let replica = launch(kind, &reference, 1).start();
        follow(&replica, &primary);
        let mut client = replica.connect();
        let mut raw = |line: &str| match client.call(&words(line)) {
            Ok(frame) => String::from_utf8_lossy(&frame.raw).into_owned(),
            Err(none) => panic!("{line}: {none}"),
        };
        assert_eq!(raw("SET a 1"), "-READONLY You can't write against a read only replica.\r\n");
        raw("MULTI");
        assert_eq!(raw("SET a 1"), "-READONLY You can't write against a read only replica.\r\n");
        assert!(raw("EXEC").starts_with("-EXECABORT"));
        assert!(raw("WAIT 1 0").starts_with("-ERR WAIT cannot be used with replica instances."));
        assert!(raw("WAITAOF 0 1 0").starts_with("-ERR WAITAOF cannot be used with replica instances."));
        assert_eq!(raw("FAILOVER"), "-ERR FAILOVER is not valid when server is a replica.\r\n");
        let again = format!("REPLICAOF 127.0.0.1 {}", primary.port);
        assert_eq!(raw(&again), "+OK Already connected to specified master\r\n");
        assert_eq!(raw("REPLICAOF localhost x"), "-ERR Invalid master port\r\n");
        raw("CONFIG SET replica-serve-stale-data no");
        let (mut primary_client, port) = (primary.connect(), primary.port);
        // It closes instead of answering.
        let _ = primary_client.call(&words("SHUTDOWN NOSAVE NOW"));
        until("the link is down", &[&replica], || {
            info(&mut replica.connect(), "replication", "master_link_status") == "down"
        });
        assert_eq!(
            raw("GET a"),
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"
        );
        let role = replica.connect().ask("ROLE");
        assert_eq!(role.items()[0].text(), "slave");
        assert_eq!(role.items()[2].integer(), Some(i64::from(port)));
        assert_eq!(role.items()[4].integer(), Some(-1));
    }
}

#[test]
fn a_primary_waits_for_its_replicas() {
    let Some(reference) = reference_binary("WAIT") else { return };
    let primary = launch(Kind::Skuld, &reference, 2)
        .option("min-replicas-to-write", "1")
        .option("min-replicas-max-lag", "10")
        .start();
    let replica = launch(Kind::Valkey, &reference, 1).start();
    let mut client = primary.connect();
    let refused = client.call(&words("SET a 1")).expect("an answer");
    assert_eq!(refused.raw, b"-NOREPLICAS Not enough good replicas to write.\r\n");
    assert_eq!(client.ask("WAIT 0 0").integer(), Some(0));
    assert_eq!(client.ask("WAIT 1 20").integer(), Some(0));
    follow(&replica, &primary);
    until("the replica counts", &[&primary, &replica], || client.ask("SET a 1").text() == "OK");
    assert_eq!(client.ask("WAIT 1 5000").integer(), Some(1));
    assert_eq!(client.ask("WAIT 2 20").integer(), Some(1));
    assert_eq!(replica.connect().ask("GET a").text(), "1");
    let role = client.ask("ROLE");
    assert_eq!(role.items()[0].text(), "master");
    assert_eq!(role.items()[2].items()[0].items()[1].text(), replica.port.to_string());
    replica.signal("STOP");
    client.ask("SET a 2");
    assert_eq!(client.ask("WAIT 1 50").integer(), Some(0));
    replica.signal("CONT");
    assert_eq!(client.ask("WAIT 1 5000").integer(), Some(1));
    for line in ["WAIT x 0", "WAIT 1 -1", "WAIT 1 x"] {
        assert!(client.ask(line).is_error(), "{line}");
    }
}

#[test]
fn failover_hands_the_role_over() {
    let Some(reference) = reference_binary("FAILOVER") else { return };
    for (first, second) in
        [(Kind::Skuld, Kind::Skuld), (Kind::Skuld, Kind::Valkey), (Kind::Valkey, Kind::Skuld)]
    {
        let primary = launch(first, &reference, 2).start();
        let replica = launch(second, &reference, 1).start();
        let mut client = primary.connect();
        assert_eq!(
            client.call(&words("FAILOVER")).expect("an answer").raw,
            b"-ERR FAILOVER requires connected replicas.\r\n"
        );
        follow(&replica, &primary);
        for n in 0..100 {
            client.ask(&format!("SET k{n} {n}"));
        }
        let other = client.call(&words("FAILOVER TO 127.0.0.1 1")).expect("an answer");
        assert_eq!(other.raw, b"-ERR FAILOVER target HOST and PORT is not a replica.\r\n");
        assert_eq!(client.ask(&format!("FAILOVER TO 127.0.0.1 {}", replica.port)).text(), "OK");
        until("the roles change", &[&primary, &replica], || {
            info(&mut replica.connect(), "replication", "role") == "master"
                && info(&mut primary.connect(), "replication", "role") == "slave"
                && info(&mut primary.connect(), "replication", "master_failover_state") == "no-failover"
        });
        assert_eq!(replica.connect().ask("SET after 1").text(), "OK");
        assert_same(&replica, &primary);
        assert_eq!(info(&mut replica.connect(), "stats", "sync_full"), "0", "nothing is copied");
    }
}

#[test]
fn a_failover_without_a_target_that_catches_up_is_given_up() {
    let Some(reference) = reference_binary("FAILOVER") else { return };
    let primary = launch(Kind::Skuld, &reference, 1).start();
    let replica = launch(Kind::Valkey, &reference, 1).start();
    follow(&replica, &primary);
    replica.signal("STOP");
    let mut client = primary.connect();
    client.ask("SET a 1");
    assert_eq!(client.ask("FAILOVER TIMEOUT 100").text(), "OK");
    assert_eq!(info(&mut client, "replication", "master_failover_state"), "waiting-for-sync");
    until("the failover ends", &[&primary], || {
        info(&mut client, "replication", "master_failover_state") == "no-failover"
    });
    assert_eq!(client.ask("SET a 2").text(), "OK");
    assert_eq!(client.ask("FAILOVER").text(), "OK");
    assert_eq!(client.ask("FAILOVER ABORT").text(), "OK");
    assert_eq!(client.ask("SET a 3").text(), "OK");
    replica.signal("CONT");
    assert_same(&primary, &replica);
}

/// Traffic moves to a writable replica while the primary's stream drains, then the replica is promoted.
#[test]
fn switching_over_to_a_writable_replica() {
    let Some(reference) = reference_binary("the switch-over") else { return };
    let primary = launch(Kind::Valkey, &reference, 1).start();
    let replica = launch(Kind::Skuld, &reference, 2)
        .option("replica-read-only", "no")
        .option("notify-keyspace-events", "Ex")
        .start();
    let mut old = primary.connect();
    old.ask("SET from-primary 1 PX 100");
    old.ask("SET counter 5");
    follow(&replica, &primary);
    assert_same(&primary, &replica);
    let mut new = replica.connect();
    let tracked = |client: &mut Client| info(client, "stats", "slave_expires_tracked_keys");
    let keys = number("SKULD_TRACKED_KEYS", 20_000);
    let commands: Vec<Vec<Vec<u8>>> =
        (0..keys).map(|n| words(&format!("SET local{n} {n} EX 1000"))).collect();
    for chunk in commands.chunks(1000) {
        assert!(new.pipeline(chunk).iter().all(Result::is_ok));
    }
    assert_eq!(tracked(&mut new), keys.to_string());
    assert_eq!(new.ask("INCR counter").integer(), Some(6));
    new.ask("SET brief 1 PX 30");
    new.ask("SELECT 3");
    new.ask("SET local0 1 EX 1000");
    new.ask("SELECT 0");
    // The replica expires what its clients wrote, without being asked, and nothing else.
    until("the brief key goes", &[&replica], || info(&mut new, "stats", "expired_keys") == "1");
    until("and is forgotten", &[&replica], || tracked(&mut new) == keys.to_string());
    new.ask("PERSIST local1");
    new.ask("DEL local2");
    until("changed keys are forgotten", &[&replica], || tracked(&mut new) == (keys - 2).to_string());
    // The primary's stream goes on meanwhile and wins where both write.
    old.ask("SET counter 100");
    old.ask("SET drained 1");
    until("the stream has drained", &[&primary, &replica], || new.ask("GET drained").text() == "1");
    assert_eq!(new.ask("GET counter").text(), "100");
    assert_eq!(new.ask("FLUSHDB").text(), "OK");
    until("flushed keys are forgotten in passing", &[&replica], || tracked(&mut new) == "1");
    for chunk in commands.chunks(1000) {
        assert!(new.pipeline(chunk).iter().all(Result::is_ok));
    }
    let before = info(&mut new, "memory", "lazyfreed_objects");
    assert_eq!(new.ask("FLUSHALL ASYNC").text(), "OK");
    until("the table is freed", &[&replica], || {
        tracked(&mut new) == "0" && info(&mut new, "memory", "lazyfreed_objects") != before
    });
    assert_eq!(new.ask("SET mine 1 EX 1000").text(), "OK");
    assert_eq!(new.ask("REPLICAOF NO ONE").text(), "OK");
    until("a primary tracks nothing", &[&replica], || tracked(&mut new) == "0");
    assert_eq!(new.ask("TTL mine").integer().map(|ttl| ttl > 900), Some(true));
    assert_eq!(info(&mut new, "replication", "role"), "master");
}

/// Three real Sentinels discover the replicas, notice the loss of the primary, promote one and move the rest.
#[test]
fn sentinels_watch_and_fail_over() {
    let Some(reference) = reference_binary("Sentinel") else { return };
    let primary = launch(Kind::Skuld, &reference, 1).start();
    let replicas = [launch(Kind::Skuld, &reference, 1).start(), launch(Kind::Skuld, &reference, 1).start()];
    for replica in &replicas {
        follow(replica, &primary);
    }
    primary.connect().ask("SET kept 1");
    replicas.iter().for_each(|replica| assert_same(&primary, replica));
    let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(&reference, primary.port)).collect();
    let ask = |sentinel: &Sentinel, line: &str| sentinel.connect().map(|mut c| c.ask(line));
    let watched = |field: &str| {
        sentinels.iter().all(|sentinel| {
            let Some(facts) = ask(sentinel, "SENTINEL PRIMARY watched") else { return false };
            let found = facts.entries();
            found.iter().any(|(name, value)| name.text() == field && value.text() == "2")
        })
    };
    until("replicas are discovered", &[&primary], || watched("num-slaves"));
    until("sentinels see each other", &[&primary], || watched("num-other-sentinels"));
    primary.signal("KILL");
    let address = |sentinel: &Sentinel| {
        let answer = ask(sentinel, "SENTINEL GET-PRIMARY-ADDR-BY-NAME watched")?;
        answer.items().get(1).map(Value::text)
    };
    let old = primary.port.to_string();
    until("another primary is elected", &[&replicas[0], &replicas[1]], || {
        sentinels.iter().all(|s| address(s).is_some_and(|port| port != old))
    });
    let new = address(&sentinels[0]).expect("just asked");
    let (new, other) = if replicas[0].port.to_string() == new { (0, 1) } else { (1, 0) };
    until("the roles are as announced", &[&replicas[new], &replicas[other]], || {
        info(&mut replicas[new].connect(), "replication", "role") == "master"
            && info(&mut replicas[other].connect(), "replication", "master_port")
                == replicas[new].port.to_string()
            && is_linked(&replicas[other])
    });
    assert_eq!(replicas[new].connect().ask("SET after 1").text(), "OK");
    assert_same(&replicas[new], &replicas[other]);
}

/// A real sentinel, ended when dropped.
struct Sentinel {
    child: std::process::Child,
    port: u16,
    _dir: TempDir,
}

impl Sentinel {
    fn start(reference: &Path, primary: u16) -> Self {
        let (dir, port) = (TempDir::new(), free_port());
        let path: PathBuf = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\ndir {}\nsentinel monitor watched 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds watched 1000\nsentinel failover-timeout watched 5000\n\
             sentinel parallel-syncs watched 1\n",
            dir.path().display()
        );
        std::fs::write(&path, text).expect("the temporary directory is writable");
        let log = std::fs::File::create(dir.path().join("sentinel.log")).expect("writable");
        let child = std::process::Command::new(reference)
            .arg(&path)
            .arg("--sentinel")
            .stdout(log)
            .stdin(std::process::Stdio::null())
            .spawn()
            .expect("the reference server starts");
        Self { child, port, _dir: dir }
    }

    fn connect(&self) -> Option<Client> {
        Client::connect((std::net::Ipv4Addr::LOCALHOST, self.port).into()).ok()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tool that asks for the functions alone, and tells nothing of its version, gets a file that old servers read too.
#[test]
fn functions_alone_are_sent_in_a_file_that_everybody_reads() {
    let mut servers = vec![launch(Kind::Skuld, Path::new(""), 2)];
    servers.extend(reference_binary("a file of functions").map(|binary| launch(Kind::Valkey, &binary, 1)));
    let mut files = Vec::new();
    for launch in servers {
        let server = launch.option("repl-diskless-sync-delay", "0").start();
        let mut client = server.connect();
        client.ask("SET key value");
        let library = "#!lua name=l\nredis.register_function('f', function() end)";
        let load = [b"FUNCTION".to_vec(), b"LOAD".to_vec(), library.as_bytes().to_vec()];
        assert_eq!(client.call(&load).expect("a reply").value.text(), "l");
        for line in ["capa eof", "rdb-only 1", "rdb-filter-only functions"] {
            assert_eq!(client.ask(&format!("REPLCONF {line}")).text(), "OK");
        }
        client.send_raw(b"SYNC\r\n");
        let mut bytes = Vec::new();
        let mark = loop {
            bytes.extend(client.read_raw(1));
            let head = bytes.trim_ascii_start();
            if let Some(mark) = head.strip_prefix(b"$EOF:").and_then(|rest| rest.strip_suffix(b"\r\n")) {
                break mark.to_vec();
            }
        };
        let mut file = Vec::new();
        while !file.ends_with(&mark) {
            file.extend(client.read_raw(1));
        }
        let text = String::from_utf8_lossy(&file).into_owned();
        assert!(text.starts_with("REDIS0011"), "{text:?}");
        for part in ["repl-stream-db", "repl-id", "repl-offset", "aof-base", library] {
            assert!(text.contains(part), "{part}: {text:?}");
        }
        assert!(!text.contains("value"), "{text:?}");
        files.push(file.len());
    }
    // The figure of memory may take more bytes or fewer.
    assert!(files.iter().all(|len| len.abs_diff(files[0]) < 9), "{files:?}");
}
