//! Slot migration between two nodes, each ours or a real Valkey: under writes, with every type of key, cancelled, cut and
//! refused. Pairings with a real Valkey are skipped without one.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::Client;
use support::migration::{
    Kind, MOVING, Pair, digests, fill, job, moving, replay_records, tag, wait_for, wait_for_end,
};
use support::resp::Value;

/// A client that counts on keys of a moving and of a resting slot, following redirections, until told to stop. Returns
/// what it was told, the longest wait, and what went wrong.
fn writer(
    pair: &Pair,
    number: usize,
    tags: [String; 2],
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<Written> {
    let ports = [pair.source.address(), pair.target.address()];
    std::thread::spawn(move || {
        let mut clients = ports.map(|address| Client::connect(address).expect("the node is up"));
        let mut at = [0, 0];
        let mut written = Written::default();
        while !stop.load(Ordering::Relaxed) {
            for (which, tag) in tags.iter().enumerate() {
                let key = written.acknowledged[which] % 20;
                let commands = [
                    format!("INCR {{{tag}}}count:{number}:{key}"),
                    format!("RPUSH {{{tag}}}log:{number} {}", written.acknowledged[which]),
                ];
                for command in &commands {
                    let begin = Instant::now();
                    loop {
                        let reply = clients[at[which]].ask(command);
                        match &reply {
                            Value::Error(text) if text.starts_with(b"MOVED") => at[which] = 1 - at[which],
                            Value::Integer(_) => break,
                            other => {
                                written.trouble.push(format!("{command}: {other}"));
                                return written;
                            }
                        }
                    }
                    written.longest[which] = written.longest[which].max(begin.elapsed());
                }
                written.acknowledged[which] += 1;
            }
        }
        written
    })
}

#[derive(Default, Debug)]
struct Written {
    acknowledged: [i64; 2],
    longest: [Duration; 2],
    trouble: Vec<String>,
}

/// A whole migration under the writes of two clients.
fn migrates_under_writes(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let mut client = pair.source.connect();
    let here = tag(&mut client, &moving);
    let there = tag(&mut client, &|slot| !moving(slot) && slot < 8192);
    let names = fill(&mut client, &here);
    let before = digests(&mut client, &names);
    // Too long for one piece: it is on its way for a while, and its writer waits for that.
    let old: Vec<String> = (0..20_000).map(|n| format!("an-element-from-before-number-{n}")).collect();
    for number in 0..2 {
        for elements in old.chunks(1000) {
            client.ask(&format!("RPUSH {{{here}}}log:{number} {}", elements.join(" ")));
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..2).map(|n| writer(&pair, n, [here.clone(), there.clone()], stop.clone())).collect();
    wait_for("writers write", || {
        client.ask(&format!("EXISTS {{{here}}}count:0:0 {{{here}}}count:1:0")).integer() == Some(2)
    });
    pair.migrate();
    let ends = wait_for_end(&pair);
    assert_eq!(ends, [("success".into(), "".into()), ("success".into(), "".into())], "{}", pair.logs());
    std::thread::sleep(Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    let mut at_target = pair.target.connect();
    assert_eq!(digests(&mut at_target, &names), before);
    for (number, writer) in writers.into_iter().enumerate() {
        let written = writer.join().expect("the writer does not panic");
        println!("{source:?} -> {target:?}: {written:?}");
        assert!(written.trouble.is_empty(), "{written:?}\n{}", pair.logs());
        let mut sum = 0;
        for key in 0..20 {
            let count = at_target.ask(&format!("GET {{{here}}}count:{number}:{key}"));
            sum += count.text().parse::<i64>().unwrap_or(0);
        }
        assert_eq!(sum, written.acknowledged[0], "each write once");
        let log = at_target.ask(&format!("LRANGE {{{here}}}log:{number} 0 -1"));
        let new = (0..written.acknowledged[0]).map(|n| n.to_string());
        let expected: Vec<String> = old.iter().cloned().chain(new).collect();
        assert_eq!(log.items().iter().map(Value::text).collect::<Vec<_>>(), expected, "in order, once");
    }
    // The source has let go of all of it, and says where it is.
    wait_for("the source deletes what moved", || {
        MOVING.clone().all(|slot| client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer() == Some(0))
    });
    let moved = client.ask(&format!("GET {{{here}}}str"));
    assert!(matches!(&moved, Value::Error(text) if text.starts_with(b"MOVED")), "{moved}");
    for (kind, server) in [(source, &pair.source), (target, &pair.target)] {
        if kind != Kind::Valkey {
            assert!(replay_records(server) >= 5, "{}", pair.logs());
        }
    }
    let job = job(&mut client);
    assert_eq!((job["operation"].as_str(), job["slot_ranges"].as_str()), ("EXPORT", "0-200"));
}

#[test]
fn ours_to_ours() {
    migrates_under_writes(Kind::Ours, Kind::Ours);
}

#[test]
fn ours_to_ours_with_several_shards() {
    migrates_under_writes(Kind::OursOnThreeThreads, Kind::OursOnThreeThreads);
}

#[test]
fn ours_to_valkey() {
    migrates_under_writes(Kind::Ours, Kind::Valkey);
}

#[test]
fn valkey_to_ours() {
    migrates_under_writes(Kind::Valkey, Kind::Ours);
}

/// Cancelled while the target waits before the hand-over: the source keeps all keys, the target none.
fn cancelled_jobs_leave_nothing(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let names = fill(&mut a, &here);
    let before = digests(&mut a, &names);
    assert_eq!(a.ask("CLUSTER CANCELSLOTMIGRATIONS").to_string(), "-ERR No migrations ongoing");
    assert_eq!(a.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 1").text(), "OK");
    pair.migrate();
    wait_for("the keys are at the target", || {
        job(&mut a).get("state").is_some_and(|s| s == "waiting-to-pause")
    });
    let slot = a.ask(&format!("CLUSTER KEYSLOT {here}")).integer().unwrap_or(0);
    let count = format!("CLUSTER COUNTKEYSINSLOT {slot}");
    wait_for("importing keys are counted by slot", || b.ask(&count).integer() == Some(names.len() as i64));
    assert_eq!(b.ask("DBSIZE").integer(), Some(0), "importing keys are hidden");
    assert_eq!(b.ask("KEYS *").items().len(), 0);
    assert_eq!(b.ask("RANDOMKEY").to_string(), "$-1");
    let moved = b.ask(&format!("GET {{{here}}}str"));
    assert!(matches!(&moved, Value::Error(text) if text.starts_with(b"MOVED")), "{moved}");
    let busy = a.ask("CLUSTER SETSLOT 5 STABLE").to_string();
    assert_eq!(busy, "-ERR Slot export in progress.");
    assert_eq!(b.ask("CLUSTER SETSLOT 5 STABLE").to_string(), "-ERR Slot import in progress.");
    assert_eq!(b.ask("CLUSTER CANCELSLOTMIGRATIONS").to_string(), "-ERR No migrations ongoing");
    assert_eq!(a.ask("CLUSTER CANCELSLOTMIGRATIONS").text(), "OK");
    let lost =
        "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information.";
    assert_eq!(wait_for_end(&pair), [("cancelled".into(), "".into()), ("failed".into(), lost.into())]);
    assert_eq!(b.ask(&count).integer(), Some(0));
    assert_eq!(digests(&mut a, &names), before);
    assert_eq!(a.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 0").text(), "OK");
    pair.migrate();
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"]);
    assert_eq!(digests(&mut b, &names), before);
}

#[test]
fn cancelled_ours_to_ours() {
    cancelled_jobs_leave_nothing(Kind::Ours, Kind::Ours);
}

#[test]
fn cancelled_ours_to_valkey() {
    cancelled_jobs_leave_nothing(Kind::Ours, Kind::Valkey);
}

#[test]
fn cancelled_valkey_to_ours() {
    cancelled_jobs_leave_nothing(Kind::Valkey, Kind::Ours);
}

/// What fails a running job, and what both ends say of it.
fn failures(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let from_target =
        "Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information.";
    let from_source =
        "Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information.";
    let flushed = "Data was flushed";
    for (at_source, command, messages) in [
        (true, "CLIENT KILL ID", [from_target, from_source]),
        (false, "FLUSHALL", [from_target, flushed]),
        (false, "FLUSHDB ASYNC", [from_target, flushed]),
        (true, "FLUSHALL", [flushed, from_source]),
    ] {
        a.ask(&format!("SET {{{here}}}str hello"));
        assert_eq!(a.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 1").text(), "OK");
        pair.migrate();
        wait_for("the job runs", || job(&mut a).get("state").is_some_and(|s| s == "waiting-to-pause"));
        if command == "CLIENT KILL ID" {
            let link = b.ask("CLIENT LIST FLAGS i").text();
            let id = link.split(' ').next().and_then(|w| w.strip_prefix("id=")).unwrap_or("0").to_owned();
            assert_eq!(b.ask(&format!("CLIENT KILL ID {id}")).integer(), Some(1), "{link}");
        } else {
            let client = if at_source { &mut a } else { &mut b };
            assert_eq!(client.ask(command).text(), "OK");
        }
        let ends = wait_for_end(&pair);
        let expected = messages.map(|message| ("failed".to_owned(), message.to_owned()));
        assert_eq!(ends, expected, "{command}\n{}", pair.logs());
        let slot = a.ask(&format!("CLUSTER KEYSLOT {here}")).integer().unwrap_or(0);
        assert_eq!(b.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer(), Some(0));
        assert_eq!(a.ask("DEBUG SLOTMIGRATION PREVENT-PAUSE 0").text(), "OK");
    }
}

#[test]
fn failures_ours_to_ours() {
    failures(Kind::Ours, Kind::Ours);
}

#[test]
fn failures_ours_to_valkey() {
    failures(Kind::Ours, Kind::Valkey);
}

#[test]
fn failures_valkey_to_ours() {
    failures(Kind::Valkey, Kind::Ours);
}

/// Every line of commands that are refused gives the same bytes on ours and on Valkey.
#[test]
fn refusals_are_those_of_the_reference() {
    let Some(reference) = Pair::start(Kind::Valkey, Kind::Valkey, &[]) else { return };
    let Some(ours) = Pair::start(Kind::Ours, Kind::Ours, &[]) else { return };
    let answers = |pair: &Pair| {
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let ids = [a.ask("CLUSTER MYID").text(), b.ask("CLUSTER MYID").text()];
        let name = "n".repeat(40);
        let unknown = "x".repeat(40);
        let mut answers = Vec::new();
        for line in REFUSED.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let mut words = line.split(' ').map(|word| match word {
                "%A" => ids[0].as_str(),
                "%B" => ids[1].as_str(),
                "%N" => name.as_str(),
                "%U" => unknown.as_str(),
                word => word,
            });
            let client = if words.next() == Some("a") { &mut a } else { &mut b };
            let command = words.collect::<Vec<_>>().join(" ");
            answers.push(
                format!("{line} -> {}", client.ask(&command)).replace(&ids[0], "%A").replace(&ids[1], "%B"),
            );
        }
        answers
    };
    assert_eq!(answers(&ours), answers(&reference));
}

const REFUSED: &str = "
    a CLUSTER MIGRATESLOTS
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 1
    a CLUSTER MIGRATESLOTS FOO 0 0 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 5 x NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 5 4 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 1 9000 9000 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 9000 9001 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 5 6 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE %B SLOTSRANGE 5 6 NODE %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE abc
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE %U
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE %A
    a CLUSTER CANCELSLOTMIGRATIONS
    a CLUSTER CANCELSLOTMIGRATIONS ALL
    a CLUSTER GETSLOTMIGRATIONS
    a CLUSTER GETSLOTMIGRATIONS x
    b CLUSTER SYNCSLOTS ACK
    b CLUSTER SYNCSLOTS paused x
    b CLUSTER SYNCSLOTS REQUEST-PAUSE
    b CLUSTER SYNCSLOTS FOO
    b CLUSTER SYNCSLOTS FINISH STATE SUCCESS NAME %N
    b CLUSTER SYNCSLOTS FINISH NAME %N
    b CLUSTER SYNCSLOTS ESTABLISH
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %U NAME %N SLOTSRANGE 0 0
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %B NAME %N SLOTSRANGE 0 0
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %A NAME %N SLOTSRANGE 9000 9000
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %A NAME %N SLOTSRANGE 0
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %A NAME x SLOTSRANGE 0 0
    a CLUSTER SETSLOT 100 MIGRATING %B
    a CLUSTER MIGRATESLOTS SLOTSRANGE 0 5 NODE %B
    a CLUSTER SETSLOT 100 STABLE
    b CLUSTER SETSLOT 100 IMPORTING %A
    b CLUSTER SYNCSLOTS ESTABLISH SOURCE %A NAME %N SLOTSRANGE 0 0
    b CLUSTER SETSLOT 100 STABLE
";
