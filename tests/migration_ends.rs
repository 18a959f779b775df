//! Jobs that end before, or beside, the sending of keys: handshakes that fail, rights that are missing or taken away, ends
//! that are reset, paused or killed, cancelling in the states between; and what operators see and steer. In each role
//! against our own server and against a real Valkey; those are skipped without one.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::client::Client;
use support::migration::{
    Kind, PAIRINGS, Pair, SILENCE, TO_SOURCE, TO_TARGET, count, digests, fill, job, jobs, moving, ok,
    replay_records, slot_of, tag, wait_for, wait_for_end, wait_for_state,
};

/// MIGRATESLOTS without asking the target anything: it may be stopped.
fn migrate_blindly(a: &mut Client) {
    let nodes = a.ask("CLUSTER NODES").text();
    let other = nodes.lines().find(|line| !line.contains("myself")).and_then(|line| line.split(' ').next());
    ok(a, &format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 200 NODE {}", other.expect("the other node")));
}

/// Waits for the end of the source's newest job; its message.
fn end_at_source(a: &mut Client) -> String {
    wait_for("an end", || ["failed", "success", "cancelled"].contains(&job(a)["state"].as_str()));
    job(a)["message"].clone()
}

/// What `ACTOR MIGRATION` tells of the newest job.
fn shown(client: &mut Client) -> BTreeMap<String, String> {
    let name = job(client)["name"].clone();
    let reply = client.ask(&format!("ACTOR MIGRATION {name}"));
    let pairs = reply.entries();
    pairs
        .iter()
        .map(|(key, value)| (key.text(), value.integer().map_or_else(|| value.text(), |n| n.to_string())))
        .collect()
}

/// A user for the source, with these rights.
fn set_user(b: &mut Client, rights: &str) {
    ok(b, &format!("ACL SETUSER mover reset on >secret {rights}"));
}

/// The user the source comes as needs the right to each command and to each key; the loss of it ends the job.
fn rights(source: Kind, target: Kind) {
    let Some(mut pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    ok(&mut a, &format!("SET {{{here}}}k v"));
    ok(&mut a, "CONFIG SET primaryuser mover");
    ok(&mut a, "CONFIG SET primaryauth secret");
    let refused = "Failed to process command during slot migration. Check logs for more information";
    for (rights, missing) in [
        ("+cluster|syncslots", "User mover has no permissions to run the 'select' command"),
        ("+cluster|syncslots +select", "User mover has no permissions to run the 'set' command"),
        ("+cluster|syncslots +select +@write", "No permissions to access a key"),
        ("+@all -set ~*", "User mover has no permissions to run the 'set' command"),
    ] {
        set_user(&mut b, rights);
        migrate_blindly(&mut a);
        assert_eq!(wait_for_end(&pair).map(|end| end.1), [TO_TARGET, refused], "{rights}");
        let command = if rights == "+cluster|syncslots" { "select" } else { "set" };
        let line = format!(
            "sending an error to its slot-import-source: '-NOPERM {missing}' after processing the command '{command}'"
        );
        pair.target.wait_for_log(&line);
        assert_eq!(count(&mut b, slot), 0, "{rights}");
    }
    let known = jobs(&mut b).len();
    for (rights, message) in [
        (
            "+ping",
            "Received error during handshake to target: -NOPERM User mover has no permissions to run the \
             'cluster|syncslots' command\r\n",
        ),
        (
            "off +@all ~*",
            "Failed to AUTH to target node: -WRONGPASS invalid username-password pair or user is disabled.",
        ),
    ] {
        set_user(&mut b, rights);
        migrate_blindly(&mut a);
        assert_eq!(end_at_source(&mut a), message, "{rights}");
    }
    assert_eq!(jobs(&mut b).len(), known, "there is no job without a right to one");
    let enough = "+cluster|syncslots +select +@write ~*";
    for (change, messages) in [
        ("ACL SETUSER mover -set", [TO_TARGET, refused]),
        ("ACL SETUSER mover resetkeys", [TO_TARGET, refused]),
        ("ACL DELUSER mover", [TO_TARGET, TO_SOURCE]),
    ] {
        set_user(&mut b, enough);
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        migrate_blindly(&mut a);
        wait_for_state(&mut a, "waiting-to-pause");
        ok(&mut b, change);
        ok(&mut a, &format!("SET {{{here}}}k v"));
        assert_eq!(wait_for_end(&pair).map(|end| end.1), messages, "{change}");
        assert_eq!((count(&mut a, slot), count(&mut b, slot)), (1, 0), "{change}");
    }
    set_user(&mut b, enough);
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    migrate_blindly(&mut a);
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    assert_eq!((count(&mut a, slot), count(&mut b, slot)), (0, 1));
}

#[test]
fn rights_ours_to_ours() {
    rights(Kind::Ours, Kind::Ours);
}

#[test]
fn rights_ours_to_valkey() {
    rights(Kind::Ours, Kind::Valkey);
}

#[test]
fn rights_valkey_to_ours() {
    rights(Kind::Valkey, Kind::Ours);
}

/// Jobs may be cancelled in transactions and scripts, which cannot wait for them to have ended.
#[test]
fn transactions_and_scripts_cancel() {
    for ours in [Kind::Ours, Kind::OursOnThreeThreads] {
        let Some(pair) = Pair::start(ours, Kind::Ours, &[]) else { return };
        let mut a = pair.source.connect();
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        for script in [false, true] {
            migrate_blindly(&mut a);
            wait_for_state(&mut a, "waiting-to-pause");
            if script {
                let call = "return redis.call('CLUSTER', 'CANCELSLOTMIGRATIONS')";
                let words = ["EVAL", call, "0"].map(|word| word.as_bytes().to_vec());
                assert_eq!(a.call(&words).expect("a reply").value.to_string(), "+OK");
            } else {
                ok(&mut a, "MULTI");
                assert_eq!(a.ask("CLUSTER CANCELSLOTMIGRATIONS").text(), "QUEUED");
                assert_eq!(a.ask("EXEC").items()[0].to_string(), "+OK");
            }
            wait_for_state(&mut a, "cancelled");
        }
    }
}

/// A target that says nothing, and one that is gone.
fn handshakes(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let mut a = pair.source.connect();
    ok(&mut a, "CONFIG SET repl-timeout 1");
    pair.target.signal("STOP");
    migrate_blindly(&mut a);
    wait_for_state(&mut a, "reading-establish-response");
    assert_eq!(end_at_source(&mut a), SILENCE);
    ok(&mut a, "CONFIG SET primaryauth secret");
    migrate_blindly(&mut a);
    wait_for_state(&mut a, "reading-auth-response");
    assert_eq!(end_at_source(&mut a), SILENCE);
    ok(&mut a, "CONFIG SET repl-timeout 60");
    migrate_blindly(&mut a);
    wait_for_state(&mut a, "reading-auth-response");
    pair.target.signal("KILL");
    assert_eq!(end_at_source(&mut a), "Target node did not respond to AUTH command");
    wait_for("nobody listens", || std::net::TcpStream::connect(pair.target.address()).is_err());
    migrate_blindly(&mut a);
    assert_eq!(end_at_source(&mut a), "Unable to connect to target node: Connection refused");
    assert!(jobs(&mut a).iter().all(|job| job["state"] == "failed"));
    if source == Kind::Ours {
        replay_records(&pair.source);
    }
}

#[test]
fn handshakes_that_fail() {
    PAIRINGS.iter().for_each(|(source, target)| handshakes(*source, *target));
}

/// A target that is stopped when the source has frozen the slots: the pause ends the job, and the source serves again.
fn pause_is_over(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[("cluster-manual-failover-timeout", "100")]) else {
        return;
    };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    ok(&mut a, &format!("SET {{{here}}}k v"));
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    pair.migrate();
    wait_for_state(&mut a, "waiting-to-pause");
    wait_for("the key is there", || count(&mut b, slot) == 1);
    pair.target.signal("STOP");
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    wait_for_state(&mut a, "failed");
    assert!(a.ask("INFO clients").text().contains("paused_reason:none"));
    ok(&mut a, &format!("SET {{{here}}}k w"));
    pair.target.signal("CONT");
    let ends = wait_for_end(&pair).map(|end| end.1);
    assert_eq!(ends, ["Timed out before streaming completed", TO_SOURCE], "{}", pair.logs());
    assert_eq!((count(&mut a, slot), count(&mut b, slot)), (1, 0));
}

#[test]
fn a_pause_that_is_over_ends_the_job() {
    PAIRINGS.iter().for_each(|(source, target)| pause_is_over(*source, *target));
}

/// CLUSTER RESET of either end: only possible without keys, and then it ends the job on both.
fn reset(source: Kind, target: Kind, at_source: bool) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    if !at_source {
        // What is imported does not keep the target from being reset.
        ok(&mut a, &format!("SET {{{here}}}k v"));
    }
    pair.migrate();
    wait_for_state(&mut a, "waiting-to-pause");
    wait_for("all is there", || count(&mut b, slot) == i64::from(!at_source));
    let client = if at_source { &mut a } else { &mut b };
    ok(client, "CLUSTER RESET SOFT");
    let ends = wait_for_end(&pair);
    let what = format!("{source:?} -> {target:?}: {ends:?}\n{}", pair.logs());
    assert_eq!(ends.clone().map(|end| end.0), ["failed", "failed"], "{what}");
    let expected = match at_source {
        true => ["Slots are no longer owned by myself", TO_SOURCE],
        false => [TO_TARGET, "Slots are no longer owned by source node"],
    };
    assert_eq!(ends.map(|end| end.1), expected, "{what}");
    assert_eq!(count(&mut b, slot), 0, "{what}");
    assert_eq!(count(&mut a, slot), i64::from(!at_source), "{what}");
}

#[test]
fn a_reset_ends_the_job() {
    for (source, target) in PAIRINGS {
        reset(source, target, true);
        reset(source, target, false);
    }
}

/// The end that is a real Valkey, or ours with one at the other end, is killed and starts again.
#[test]
fn killed_ends_leave_nothing() {
    let options = [("appendonly", "yes"), ("appendfsync", "always")];
    for (source, target, kills_source) in [
        (Kind::Ours, Kind::Valkey, false),
        (Kind::Valkey, Kind::Ours, true),
        (Kind::Valkey, Kind::Ours, false),
    ] {
        let Some(mut pair) = Pair::start(source, target, &options) else { return };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        let names = fill(&mut a, &here);
        let keys = names.len() as i64;
        let before = digests(&mut a, &names);
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        pair.migrate();
        wait_for_state(&mut a, "waiting-to-pause");
        wait_for("all keys are there", || count(&mut b, slot) == keys);
        if kills_source {
            pair.source.kill_and_restart();
            a = pair.source.connect();
            wait_for_state(&mut b, "failed");
            assert_eq!(job(&mut b)["message"], TO_SOURCE);
            assert_eq!(jobs(&mut a).len(), 0);
        } else {
            pair.target.kill_and_restart();
            b = pair.target.connect();
            wait_for_state(&mut a, "failed");
            assert_eq!(job(&mut a)["message"], TO_TARGET);
            ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        }
        wait_for("nothing is left at the target", || count(&mut b, slot) == 0);
        assert_eq!(count(&mut a, slot), keys);
        support::migration::wait_for_calm(&mut a, &mut b);
        pair.migrate();
        assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
        assert_eq!(digests(&mut b, &names), before);
    }
}

/// Cancelled in the states an export only passes through: held there by the other end, or by an operator.
#[test]
fn cancelled_in_the_states_between() {
    for (source, target) in PAIRINGS {
        let Some(pair) = Pair::start(source, target, &[]) else { continue };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        ok(&mut a, &format!("SET {{{here}}}k v"));
        for state in ["reading-auth-response", "failover-paused", "waiting-to-snapshot"] {
            match state {
                "reading-auth-response" => {
                    ok(&mut a, "CONFIG SET primaryauth secret");
                    pair.target.signal("STOP");
                    migrate_blindly(&mut a);
                }
                "failover-paused" => {
                    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
                    pair.migrate();
                    wait_for_state(&mut a, "waiting-to-pause");
                    pair.target.signal("STOP");
                    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
                }
                _ if source == Kind::Valkey => continue,
                _ => {
                    migrate_blindly(&mut a);
                    let name = job(&mut a)["name"].clone();
                    ok(&mut a, &format!("ACTOR MIGRATION {name} HOLD"));
                }
            }
            wait_for_state(&mut a, state);
            ok(&mut a, "CLUSTER CANCELSLOTMIGRATIONS");
            assert_eq!(job(&mut a)["state"], "cancelled", "{state}");
            assert!(a.ask("INFO clients").text().contains("paused_reason:none"), "{state}");
            ok(&mut a, &format!("SET {{{here}}}k v"));
            pair.target.signal("CONT");
            if state == "reading-auth-response" {
                let words = ["CONFIG", "SET", "primaryauth", ""].map(|word| word.as_bytes().to_vec());
                assert_eq!(a.call(&words).expect("a reply").value.text(), "OK");
            }
            wait_for("the target has let go", || {
                jobs(&mut b).iter().all(|job| job["state"] == "failed") && count(&mut b, slot) == 0
            });
            assert_eq!(count(&mut a, slot), 1, "{state}");
        }
    }
}

/// A source's live stream begins in database 0, wherever its snapshot has ended; it may not say so.
#[test]
fn what_follows_the_snapshot_is_in_its_own_database() {
    for (source, target) in PAIRINGS {
        let Some(pair) = Pair::start(source, target, &[("cluster-databases", "4")]) else { continue };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        ok(&mut a, &format!("SET {{{here}}}zero v"));
        ok(&mut a, "SELECT 3");
        ok(&mut a, &format!("SET {{{here}}}three v"));
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        pair.migrate();
        wait_for_state(&mut a, "waiting-to-pause");
        ok(&mut a, "SELECT 0");
        ok(&mut a, &format!("SET {{{here}}}late v"));
        ok(&mut a, "SELECT 2");
        ok(&mut a, &format!("SET {{{here}}}two v"));
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
        for (db, keys) in [(0, 2), (1, 0), (2, 1), (3, 1)] {
            ok(&mut b, &format!("SELECT {db}"));
            assert_eq!(b.ask("DBSIZE").integer(), Some(keys), "{source:?} -> {target:?}: {db}");
        }
    }
}

/// Each figure an operator is shown, at both ends, and each way to steer a job.
#[test]
fn operators_see_and_steer_a_job() {
    let Some(pair) = Pair::start(Kind::Ours, Kind::Ours, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let names = fill(&mut a, &here);
    for n in 0..40 {
        ok(&mut a, &format!("SET {{{here}}}big:{n} {}", "x".repeat(20_000)));
    }
    let all = (names.len() + 40).to_string();
    let number = |row: &BTreeMap<String, String>, name: &str| -> i64 {
        row[name].parse().unwrap_or_else(|_| panic!("{name}: {row:?}"))
    };
    // Held before the first key.
    migrate_blindly(&mut a);
    let name = job(&mut a)["name"].clone();
    ok(&mut a, &format!("ACTOR MIGRATION {name} hold"));
    wait_for_state(&mut a, "waiting-to-snapshot");
    let row = shown(&mut a);
    assert_eq!((row["held"].as_str(), row["operation"].as_str()), ("1", "EXPORT"), "{row:?}");
    assert_eq!((number(&row, "keys_sent"), number(&row, "milliseconds_left")), (0, -1), "{row:?}");
    // Slowly: 800 kB at 200 kB a second take some seconds.
    ok(&mut a, &format!("ACTOR MIGRATION {name} RATE 200000"));
    ok(&mut a, &format!("ACTOR MIGRATION {name} RESUME"));
    let mut row = BTreeMap::new();
    wait_for("some keys are sent", || {
        row = shown(&mut a);
        number(&row, "bytes_sent") > 200_000
    });
    assert_eq!((row["keys_total"].as_str(), row["rate_limit"].as_str()), (all.as_str(), "200000"), "{row:?}");
    assert_eq!(row["state"], "snapshotting", "{row:?}");
    assert!(number(&row, "keys_sent") > 0 && number(&row, "milliseconds_left") > 0, "{row:?}");
    // A mean from the first slice on, which is sent before the limit tells.
    assert!(number(&row, "bytes_per_second") > 0, "{row:?}");
    wait_for("the target counts", || {
        row = shown(&mut b);
        number(&row, "keys_received") > 0
    });
    assert_eq!(
        (row["operation"].as_str(), row["state"].as_str()),
        ("IMPORT", "receiving-snapshot"),
        "{row:?}"
    );
    assert!(number(&row, "bytes_received") > 0 && number(&row, "bytes_per_second") > 0, "{row:?}");
    assert!((0..10_000).contains(&number(&row, "lag_ms")), "{row:?}");
    let refused = b.ask(&format!("ACTOR MIGRATION {name} HOLD"));
    assert_eq!(refused.to_string(), "-ERR A slot migration is steered at its source");
    // Held again: effects go on, keys do not.
    ok(&mut a, &format!("ACTOR MIGRATION {name} HOLD"));
    let mut last = -1;
    wait_for("it stands still", || {
        std::thread::sleep(Duration::from_millis(250));
        let now = number(&shown(&mut a), "keys_sent");
        std::mem::replace(&mut last, now) == now
    });
    assert!(last < all.parse::<i64>().expect("a number"));
    ok(&mut a, &format!("ACTOR MIGRATION {name} RATE 0"));
    ok(&mut a, &format!("ACTOR MIGRATION {name} RESUME"));
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    let (row, there) = (shown(&mut a), shown(&mut b));
    assert_eq!((row["keys_sent"].as_str(), row["reason"].as_str()), (all.as_str(), ""), "{row:?}");
    assert_eq!(there["keys_received"], all, "{there:?}");
    assert!(number(&there, "bytes_received") >= 800_000, "{there:?}");
    for end in [&row, &there] {
        assert!((0..5000).contains(&number(end, "frozen_ms")), "{end:?}");
        assert_eq!(end["bytes_per_second"], "0", "{end:?}");
    }
    assert_eq!((row["lag_bytes"].as_str(), row["writers_held_back"].as_str()), ("0", "0"), "{row:?}");
    // A job that fails says why, in one sentence, at both ends.
    let id = a.ask("CLUSTER MYID").text();
    ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    ok(&mut b, &format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 200 NODE {id}"));
    wait_for_state(&mut b, "waiting-to-pause");
    ok(&mut b, "FLUSHALL");
    wait_for_state(&mut a, "failed");
    assert_eq!(
        (shown(&mut b)["reason"].as_str(), shown(&mut a)["reason"].as_str()),
        ("Data was flushed", TO_SOURCE)
    );
}

/// Writers that are faster than the link are held back, which is counted; the job neither fails nor grows without bound.
#[test]
fn writers_that_outrun_the_link_are_held_back() {
    let Some(pair) = Pair::start(Kind::Ours, Kind::Ours, &[("export-buffer-limit", "2mb")]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    migrate_blindly(&mut a);
    wait_for_state(&mut a, "waiting-to-pause");
    pair.target.signal("STOP");
    // More than the kernel holds for a connection whose other end does not read.
    let mut writer = pair.source.connect();
    writer.set_reply_timeout(Duration::from_secs(30));
    let line = format!("SET {{{here}}}big {}", "v".repeat(1 << 20));
    let writes = std::thread::spawn(move || (0..60).all(|_| writer.ask(&line).text() == "OK"));
    let number = |row: &BTreeMap<String, String>, name: &str| row[name].parse::<i64>().unwrap_or(-1);
    wait_for("the buffer is full", || number(&shown(&mut a), "lag_bytes") > 2 << 20);
    let lag = number(&shown(&mut a), "lag_bytes");
    assert!(lag < 8 << 20, "{lag}");
    pair.target.signal("CONT");
    assert!(writes.join().expect("the writer ends"));
    let row = shown(&mut a);
    assert!(number(&row, "writers_held_back") > 0 && number(&row, "held_back_ms") >= 0, "{row:?}");
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    assert_eq!(b.ask(&format!("STRLEN {{{here}}}big")).integer(), Some(1 << 20));
}
