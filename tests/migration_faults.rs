//! What ends a slot migration before its time, on either end, and what it leaves behind: nothing. In each role against our
//! own server and against a real Valkey; those are skipped without one.

mod support;

use std::time::{Duration, Instant};

use support::client::Client;
use support::migration::{
    Cluster, Kind, PAIRINGS, Pair, SILENCE, TO_SOURCE, TO_TARGET, count, digests, fill, job, jobs, moving,
    ok, replay_records, slot_of, tag, wait_for, wait_for_calm, wait_for_end, wait_for_state,
};
use support::resp::Value;

fn limit_output(client: &mut Client, limit: &str) {
    let words = ["CONFIG", "SET", "client-output-buffer-limit", limit];
    let reply = client.call(&words.map(|word| word.as_bytes().to_vec())).expect("a reply");
    assert_eq!(reply.value.text(), "OK");
}

/// A job that waits with all keys at the target, ended by one fault after the other.
fn faults(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    let names = fill(&mut a, &here);
    let keys = names.len() as i64;
    let before = digests(&mut a, &names);
    type Provoke = fn(&Pair, &mut Client, &mut Client, &str);
    let silent_source: Provoke = |pair, _, b, _| {
        ok(b, "CONFIG SET repl-timeout 1");
        pair.source.signal("STOP");
        wait_for_state(b, "failed");
        pair.source.signal("CONT");
        ok(b, "CONFIG SET repl-timeout 60");
    };
    let silent_target: Provoke = |pair, a, _, _| {
        ok(a, "CONFIG SET repl-timeout 1");
        pair.target.signal("STOP");
        wait_for_state(a, "failed");
        pair.target.signal("CONT");
        ok(a, "CONFIG SET repl-timeout 60");
    };
    let no_memory: Provoke = |_, a, b, tag| {
        ok(b, "CONFIG SET maxmemory 1");
        ok(a, &format!("SET {{{tag}}}key:1 value-1"));
        wait_for_state(b, "failed");
        ok(b, "CONFIG SET maxmemory 0");
    };
    let killed: Provoke = |_, a, _, _| {
        let link = a.ask("CLIENT LIST FLAGS E").text();
        let id = link.split(' ').next().and_then(|word| word.strip_prefix("id=")).unwrap_or("0");
        assert_eq!(a.ask(&format!("CLIENT KILL ID {id}")).integer(), Some(1), "{link}");
        assert!(link.contains(" flags=E ") && link.contains(" user=(superuser) "), "{link}");
        assert!(link.contains(" cmd=cluster|syncslots "), "{link}");
    };
    let full: Provoke = |pair, a, _, tag| {
        limit_output(a, "replica 10k 0 0");
        pair.target.signal("STOP");
        let value = "v".repeat(1 << 20);
        for _ in 0..200 {
            if job(a)["state"] == "failed" {
                break;
            }
            ok(a, &format!("SET {{{tag}}}big {value}"));
        }
        pair.target.signal("CONT");
        limit_output(a, "replica 256mb 64mb 60");
        ok(a, &format!("DEL {{{tag}}}big"));
    };
    let cancelled: Provoke = |_, a, _, _| ok(a, "CLUSTER CANCELSLOTMIGRATIONS");
    let list: [(&str, Provoke, [&str; 2]); 6] = [
        ("the source says nothing", silent_source, [TO_TARGET, SILENCE]),
        ("the target says nothing", silent_target, [SILENCE, TO_SOURCE]),
        ("no memory", no_memory, [TO_TARGET, "Ran out of memory (OOM) during slot import"]),
        ("the source's connection is killed", killed, [TO_TARGET, TO_SOURCE]),
        ("too much waits", full, [TO_TARGET, TO_SOURCE]),
        ("cancelled", cancelled, ["", TO_SOURCE]),
    ];
    for (what, provoke, messages) in list {
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        pair.migrate();
        wait_for_state(&mut a, "waiting-to-pause");
        wait_for("all keys are there", || count(&mut b, slot) == keys);
        provoke(&pair, &mut a, &mut b, &here);
        let ends = wait_for_end(&pair);
        assert_eq!(ends.map(|end| end.1), messages, "{what}\n{}", pair.logs());
        assert_eq!(count(&mut b, slot), 0, "{what}: the target has let go");
        assert_eq!(b.ask("DBSIZE").integer(), Some(0), "{what}");
        assert_eq!(count(&mut a, slot), keys, "{what}: the source has all");
    }
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    pair.migrate();
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    assert_eq!(digests(&mut b, &names), before);
    for (kind, server) in [(source, &pair.source), (target, &pair.target)] {
        if kind == Kind::Ours {
            replay_records(server);
        }
    }
}

#[test]
fn faults_ours_to_ours() {
    faults(Kind::Ours, Kind::Ours);
}

#[test]
fn faults_ours_to_valkey() {
    faults(Kind::Ours, Kind::Valkey);
}

#[test]
fn faults_valkey_to_ours() {
    faults(Kind::Valkey, Kind::Ours);
}

/// Passwords: a wrong one, none, and the right one.
fn passwords(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    ok(&mut a, &format!("SET {{{here}}}k v"));
    ok(&mut b, "CONFIG SET requirepass secret");
    ok(&mut b, "AUTH secret");
    let of_source = |a: &mut Client| {
        wait_for("an end", || ["failed", "success"].contains(&job(a)["state"].as_str()));
        job(a)["message"].clone()
    };
    pair_migrates(&mut a, &mut b);
    let none = "Received error during handshake to target: -NOAUTH Authentication required.\r\n";
    assert_eq!(of_source(&mut a), none);
    ok(&mut a, "CONFIG SET primaryauth wrong");
    pair_migrates(&mut a, &mut b);
    let wrong =
        "Failed to AUTH to target node: -WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(of_source(&mut a), wrong);
    assert_eq!(jobs(&mut b).len(), 0);
    ok(&mut a, "CONFIG SET primaryauth secret");
    pair_migrates(&mut a, &mut b);
    assert_eq!(of_source(&mut a), "");
    wait_for("the key is there", || b.ask(&format!("GET {{{here}}}k")).text() == "v");
}

fn pair_migrates(a: &mut Client, b: &mut Client) {
    let id = b.ask("CLUSTER MYID").text();
    ok(a, &format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 200 NODE {id}"));
}

#[test]
fn passwords_ours_to_ours() {
    passwords(Kind::Ours, Kind::Ours);
}

#[test]
fn passwords_ours_to_valkey() {
    passwords(Kind::Ours, Kind::Valkey);
}

#[test]
fn passwords_valkey_to_ours() {
    passwords(Kind::Valkey, Kind::Ours);
}

/// Cancelled in each state an export can be held in: the source keeps its keys and serves them, the target has none.
#[test]
fn cancelled_in_every_state() {
    for (source, target) in [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Valkey)] {
        let Some(pair) = Pair::start(source, target, &[]) else { continue };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        let names = fill(&mut a, &here);
        for state in ["reading-establish-response", "snapshotting", "waiting-to-pause", "failover-granted"] {
            match state {
                "reading-establish-response" => pair.target.signal("STOP"),
                "snapshotting" => ok(&mut a, "CONFIG SET rdb-key-save-delay 100000"),
                "waiting-to-pause" => ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1"),
                _ => ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-FAILOVER 1"),
            }
            if state == "reading-establish-response" {
                let nodes = a.ask("CLUSTER NODES").text();
                let id =
                    nodes.lines().find(|line| !line.contains("myself")).and_then(|l| l.split(' ').next());
                let id = id.expect("the other node");
                ok(&mut a, &format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 200 NODE {id}"));
            } else {
                pair.migrate();
            }
            wait_for_state(&mut a, state);
            if state == "snapshotting" {
                let info = a.ask("INFO persistence").text();
                assert!(info.contains("slot_migration_fork_in_progress:1"), "{info}");
            }
            let mut waiting = pair.source.connect();
            waiting.set_reply_timeout(Duration::from_secs(5));
            if state == "failover-granted" {
                let info = a.ask("INFO clients").text();
                assert!(info.contains("paused_reason:slot_migration_in_progress"), "{info}");
                assert!(info.contains("paused_actions:write"), "{info}");
                waiting.send_raw(format!("SET {{{here}}}waits v\r\n").as_bytes());
                assert!(waiting.is_silent_for(Duration::from_millis(100)));
            }
            ok(&mut a, "CLUSTER CANCELSLOTMIGRATIONS");
            assert_eq!(job(&mut a)["state"], "cancelled", "{state}");
            match state {
                "reading-establish-response" => pair.target.signal("CONT"),
                "snapshotting" => ok(&mut a, "CONFIG SET rdb-key-save-delay 0"),
                "waiting-to-pause" => ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0"),
                _ => {
                    assert_eq!(waiting.read_reply().expect("it runs now").value.text(), "OK");
                    ok(&mut a, &format!("DEL {{{here}}}waits"));
                    ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-FAILOVER 0");
                }
            }
            wait_for("the target has let go", || {
                jobs(&mut b).iter().all(|job| job["state"] == "failed") && count(&mut b, slot) == 0
            });
            assert_eq!(count(&mut a, slot), names.len() as i64, "{state}");
            let info = a.ask("INFO clients").text();
            assert!(info.contains("paused_reason:none"), "{state}: {info}");
        }
    }
}

/// A target that has the grant and does not claim: when the pause is over the source takes the grant back, and serves
/// again once the target has said that it has given up.
#[test]
fn a_grant_that_is_not_used_is_taken_back() {
    for (source, target) in [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Valkey)] {
        let Some(pair) = Pair::start(source, target, &[("cluster-manual-failover-timeout", "100")]) else {
            continue;
        };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        ok(&mut a, &format!("SET {{{here}}}k v"));
        ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-FAILOVER 1");
        pair.migrate();
        wait_for_state(&mut a, "failover-granted");
        let ends = wait_for_end(&pair);
        let unpaused = "Unpaused before migration completed (migration may have succeeded with lost writes)";
        assert_eq!(ends.map(|end| end.1), [unpaused, TO_SOURCE], "{}", pair.logs());
        assert_eq!(a.ask(&format!("SET {{{here}}}k w")).text(), "OK");
    }
}

/// The target is killed with an import open, and has it in its files in one way or another.
#[test]
fn a_killed_target_keeps_nothing_of_an_open_import() {
    for (way, options) in [
        ("nothing", vec![]),
        ("a snapshot", vec![]),
        ("commands", vec![("appendonly", "yes"), ("appendfsync", "always")]),
        ("a base of bytes", vec![("appendonly", "yes"), ("appendfsync", "always")]),
        (
            "a base of commands",
            vec![("appendonly", "yes"), ("appendfsync", "always"), ("aof-use-rdb-preamble", "no")],
        ),
    ] {
        let Some(mut pair) = Pair::start(Kind::Ours, Kind::Ours, &options) else { return };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        let names = fill(&mut a, &here);
        let before = digests(&mut a, &names);
        let rest = tag(&mut b, &|slot| slot > 8191);
        ok(&mut b, &format!("SET {{{rest}}}own v"));
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        pair.migrate();
        wait_for_state(&mut a, "waiting-to-pause");
        wait_for("all keys are there", || count(&mut b, slot) == names.len() as i64);
        match way {
            "a snapshot" => ok(&mut b, "SAVE"),
            "a base of bytes" | "a base of commands" => {
                ok(&mut b, "BGREWRITEAOF");
                wait_for("the rewrite is done", || {
                    b.ask("INFO persistence").text().contains("aof_rewrite_in_progress:0")
                        && pair.target.log().contains("Background AOF rewrite finished successfully")
                });
            }
            _ => {}
        }
        pair.target.kill_and_restart();
        let mut b = pair.target.connect();
        wait_for_state(&mut a, "failed");
        assert_eq!(job(&mut a)["message"], TO_TARGET);
        if way != "nothing" {
            wait_for_state(&mut b, "failed");
            assert_eq!(job(&mut b)["message"], "Process restarted", "{way}");
        }
        assert_eq!(count(&mut b, slot), 0, "{way}\n{}", pair.target.log_tail());
        let kept = i64::from(way != "nothing");
        assert_eq!(b.ask("DBSIZE").integer(), Some(kept), "{way}");
        // Nothing comes back with the next start either.
        pair.target.kill_and_restart();
        let mut b = pair.target.connect();
        wait_for("nothing is left", || count(&mut b, slot) == 0);
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
        wait_for_calm(&mut a, &mut b);
        if way != "nothing" {
            assert_eq!(b.ask(&format!("GET {{{rest}}}own")).text(), "v", "{way}");
        }
        pair.migrate();
        assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{way}\n{}", pair.logs());
        assert_eq!(digests(&mut b, &names), before, "{way}");
    }
}

/// The source is killed with an export open: the target cleans up. A source that comes back with keys of slots it has
/// given away deletes them.
#[test]
fn a_killed_source_is_forgotten_and_gives_up_what_moved() {
    for target in [Kind::Ours, Kind::Valkey] {
        let Some(mut pair) = Pair::start(Kind::Ours, target, &[]) else { continue };
        let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        let names = fill(&mut a, &here);
        ok(&mut a, "SAVE");
        ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
        pair.migrate();
        wait_for_state(&mut a, "waiting-to-pause");
        wait_for("all keys are there", || count(&mut b, slot) == names.len() as i64);
        pair.source.kill_and_restart();
        let mut a = pair.source.connect();
        wait_for_state(&mut b, "failed");
        assert_eq!(job(&mut b)["message"], TO_SOURCE);
        assert_eq!((count(&mut b, slot), count(&mut a, slot)), (0, names.len() as i64));
        assert_eq!(jobs(&mut a).len(), 0);
        wait_for_calm(&mut a, &mut b);
        let before = digests(&mut a, &names);
        pair.migrate();
        assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
        // Its last snapshot is from before the migration; what it knows of the cluster is not.
        let nodes = pair.source.dir().join("nodes.conf");
        wait_for("the source has saved what it owns", || {
            std::fs::read_to_string(&nodes).unwrap_or_default().contains(" 201-8191")
        });
        pair.source.kill_and_restart();
        let mut a = pair.source.connect();
        pair.source.wait_for_log("but the slot is assigned to another node. Deleting keys in the slot.");
        wait_for("what moved is deleted", || count(&mut a, slot) == 0);
        wait_for_calm(&mut a, &mut b);
        assert_eq!(digests(&mut b, &names), before);
    }
}

/// The replica of the target hides what is imported, also after a full synchronisation in the middle, and shows it when
/// the primary has it.
#[test]
fn the_targets_replica_follows() {
    let options = [("appendonly", "yes")];
    let Some(mut cluster) = Cluster::start(&[Kind::Ours; 2], &options) else { return };
    let (mut a, mut b, mut replica) = (cluster.connect(0), cluster.connect(1), cluster.connect(3));
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    let names = fill(&mut a, &here);
    let keys = names.len() as i64;
    let before = digests(&mut a, &names);
    for finish in ["cancel", "success"] {
        cluster.prevent("PAUSE", true);
        let name = cluster.migrate(0, 1);
        cluster.wait_for_state(0, &name, "waiting-to-pause");
        for again in ["", "reload", "resync"] {
            match again {
                "reload" => ok(&mut replica, "DEBUG LOADAOF"),
                "resync" => {
                    cluster.nodes[3].kill_and_restart();
                    replica = cluster.connect(3);
                    wait_for("the replica is in step", || {
                        replica.ask("INFO replication").text().contains("master_link_status:up")
                    });
                }
                _ => {}
            }
            cluster.wait_for_keys(3, slot, keys);
            cluster.wait_for_state(3, &name, "occurring-on-primary");
            assert_eq!(replica.ask("DBSIZE").integer(), Some(0), "{again}");
            assert_eq!(replica.ask("KEYS *").items().len(), 0, "{again}");
            let open = jobs(&mut replica).iter().filter(|job| job["state"] == "occurring-on-primary").count();
            assert_eq!(open, 1, "{again}");
        }
        if finish == "cancel" {
            ok(&mut a, "CLUSTER CANCELSLOTMIGRATIONS");
            assert_eq!(cluster.wait_for_state(3, &name, "failed"), TO_SOURCE);
            cluster.wait_for_keys(3, slot, 0);
            cluster.wait_for_keys(2, slot, keys);
            continue;
        }
        cluster.prevent("PAUSE", false);
        cluster.wait_for_state(1, &name, "success");
        cluster.wait_for_state(3, &name, "success");
        cluster.wait_for_keys(3, slot, keys);
        cluster.wait_for_keys(2, slot, 0);
        wait_for("the replica shows them", || replica.ask("DBSIZE").integer() == Some(keys));
        ok(&mut replica, "READONLY");
        assert_eq!(digests(&mut replica, &names), before);
        assert_eq!(digests(&mut b, &names), before);
        ok(&mut b, "DEBUG LOADAOF");
        assert_eq!(digests(&mut b, &names), before, "the file has them");
    }
}

/// A failover of the target's shard, or of the source's, ends the job on all nodes; the source's shard keeps the keys.
/// The nodes of a shard are of one kind.
fn failovers(source: Kind, target: Kind) {
    for target_fails in [true, false] {
        let Some(cluster) = Cluster::start(&[source, target, Kind::Ours], &[]) else { return };
        let mut a = cluster.connect(0);
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        let keys = fill(&mut a, &here).len() as i64;
        cluster.prevent("PAUSE", true);
        let name = cluster.migrate(0, 1);
        cluster.wait_for_state(0, &name, "waiting-to-pause");
        cluster.wait_for_keys(4, slot, keys);
        cluster.wait_for_keys(3, slot, keys);
        let promoted = if target_fails { 4 } else { 3 };
        ok(&mut cluster.connect(promoted), "CLUSTER FAILOVER");
        let end_at_source = cluster.wait_for_state(0, &name, "failed");
        let end_at_target = cluster.wait_for_state(1, &name, "failed");
        let of_replica = cluster.wait_for_state(4, &name, "failed");
        if target_fails {
            assert_eq!(end_at_source, TO_TARGET);
            assert_eq!(end_at_target, "A failover occurred during slot import");
            assert_eq!(of_replica, end_at_target);
        } else {
            let lost = "Slots are no longer owned by myself";
            assert!([TO_TARGET, lost].contains(&end_at_source.as_str()), "{end_at_source}");
            let lost = "Slots are no longer owned by source node";
            assert!([TO_SOURCE, lost].contains(&end_at_target.as_str()), "{end_at_target}");
            assert_eq!(of_replica, end_at_target);
        }
        for (node, left) in [(1, 0), (4, 0), (0, keys), (3, keys)] {
            cluster.wait_for_keys(node, slot, left);
        }
    }
}

#[test]
fn failovers_ours_to_ours() {
    failovers(Kind::Ours, Kind::Ours);
}

#[test]
fn failovers_ours_to_valkey() {
    failovers(Kind::Ours, Kind::Valkey);
}

#[test]
fn failovers_valkey_to_ours() {
    failovers(Kind::Valkey, Kind::Ours);
}

/// Slots that go to a third node: both ends give up, and the target's shard keeps nothing.
#[test]
fn changes_of_ownership_end_the_job() {
    for (source, target) in PAIRINGS {
        let Some(cluster) = Cluster::start(&[source, target, Kind::Ours], &[]) else { continue };
        let mut a = cluster.connect(0);
        let here = tag(&mut a, &moving);
        let slot = slot_of(&mut a, &here);
        fill(&mut a, &here);
        cluster.prevent("PAUSE", true);
        let name = cluster.migrate(0, 1);
        cluster.wait_for_state(0, &name, "waiting-to-pause");
        let (mut third, id) = (cluster.connect(2), cluster.id(2));
        ok(&mut third, "CLUSTER BUMPEPOCH");
        ok(&mut third, &format!("CLUSTER SETSLOT {slot} NODE {id}"));
        let ends = [0, 1].map(|node| cluster.wait_for_state(node, &name, "failed"));
        // Either end may be the first to hear of it.
        let at_source = [TO_TARGET, "Slots are no longer owned by myself"].contains(&ends[0].as_str());
        let at_target = [TO_SOURCE, "Slots are no longer owned by source node"].contains(&ends[1].as_str());
        assert!(at_source && at_target, "{source:?} -> {target:?}: {ends:?}");
        cluster.wait_for_keys(1, slot, 0);
        cluster.wait_for_keys(4, slot, 0);
    }
}

/// FLUSHSLOT during a migration. On the source it empties both ends; a real source tells nobody, and what it has forgotten
/// is at the target. On the target it empties that end, and the rest goes on.
fn flushed_slots(source: Kind, target: Kind) {
    let Some(pair) = Pair::start(source, target, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let slot = slot_of(&mut a, &here);
    let names = fill(&mut a, &here);
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 1");
    pair.migrate();
    wait_for("all keys are there", || count(&mut b, slot) == names.len() as i64);
    if source == Kind::Valkey {
        ok(&mut b, &format!("CLUSTER FLUSHSLOT {slot}"));
    } else {
        ok(&mut a, &format!("CLUSTER FLUSHSLOT {slot}"));
    }
    wait_for("the target is emptied", || count(&mut b, slot) == 0);
    ok(&mut a, &format!("SET {{{here}}}later v"));
    wait_for("what comes later is there", || count(&mut b, slot) == 1);
    if source == Kind::Ours && target == Kind::Ours {
        ok(&mut b, &format!("CLUSTER FLUSHSLOT {slot}"));
        assert_eq!((count(&mut a, slot), count(&mut b, slot)), (1, 0));
        ok(&mut a, &format!("SET {{{here}}}later w"));
    }
    ok(&mut a, "DEBUG SLOTMIGRATION PREVENT-PAUSE 0");
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    assert_eq!(count(&mut b, slot), 1);
}

#[test]
fn a_flushed_slot_is_empty_at_both_ends() {
    for (source, target) in PAIRINGS {
        flushed_slots(source, target);
    }
}

/// Clients that wait on the source are told where the keys are; those of other slots are not disturbed.
#[test]
fn who_waits_is_sent_to_the_new_owner() {
    let Some(pair) = Pair::start(Kind::Ours, Kind::Ours, &[]) else { return };
    let (mut a, mut b) = (pair.source.connect(), pair.target.connect());
    let here = tag(&mut a, &moving);
    let other = tag(&mut a, &|slot| !moving(slot) && slot < 8192);
    let slot = slot_of(&mut a, &here);
    let mut waits: Vec<Client> = (0..3).map(|_| pair.source.connect()).collect();
    waits[0].send_raw(format!("BLPOP {{{here}}}list 0\r\n").as_bytes());
    wait_for("it waits", || a.ask("INFO clients").text().contains("blocked_clients:1"));
    ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-FAILOVER 1");
    pair.migrate();
    wait_for_state(&mut a, "failover-granted");
    waits[1].send_raw(format!("SET {{{here}}}k v\r\n").as_bytes());
    waits[2].send_raw(format!("MULTI\r\nSET {{{here}}}k v\r\nEXEC\r\n").as_bytes());
    let begin = Instant::now();
    assert_eq!(a.ask(&format!("SET {{{other}}}k v")).text(), "OK");
    assert_eq!(a.ask("PUBLISH channel message").integer(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(1), "other slots do not wait");
    assert!(waits[1].is_silent_for(Duration::from_millis(50)));
    ok(&mut b, "DEBUG SLOTMIGRATION PREVENT-FAILOVER 0");
    assert_eq!(wait_for_end(&pair).map(|end| end.0), ["success", "success"], "{}", pair.logs());
    let moved = format!("MOVED {slot} 127.0.0.1:{}", pair.target.port);
    let is_moved = |value: &Value| matches!(value, Value::Error(text) if text == moved.as_bytes());
    for client in &mut waits[..2] {
        let reply = client.read_reply().expect("an answer").value;
        assert!(is_moved(&reply), "{reply}");
    }
    let replies: Vec<Value> = (0..3).map(|_| waits[2].read_reply().expect("an answer").value).collect();
    assert_eq!(replies[0].text(), "OK");
    assert!(replies[2].is_error(), "{replies:?}");
}
