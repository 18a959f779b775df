//! Slots of a cluster that change hands: what replicas, subscribers, and the statistics make of it, and the tools that
//! do it. Nodes of both kinds.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::client::encode;
use support::cluster::{ask, bus_port, form, info, node, replication, until};
use support::server::{Launch, Server, TempDir, free_port, reference_binary};
use support::text::words;

/// The slot of `aga`, in the first half.
const SLOT: u16 = 609;

fn launch(kind: char, binary: &Path) -> Launch {
    let launch = if kind == 's' { Launch::skuld(1) } else { Launch::reference(binary) };
    launch.option("repl-diskless-sync-delay", "0").option("cluster-allow-replica-migration", "no")
}

/// So many primaries, and the other nodes as replicas of the first ones.
fn shards(kinds: &str, primaries: usize, binary: &Path) -> Vec<Server> {
    let nodes: Vec<Server> = kinds.chars().map(|kind| node(launch(kind, binary))).collect();
    form(&nodes, primaries);
    let replicas = nodes.len() - primaries;
    for (primary, replica) in nodes.iter().zip(&nodes[primaries..]) {
        let primary = ask(primary, "CLUSTER MYID");
        assert_eq!(ask(replica, &format!("CLUSTER REPLICATE {primary}")), "OK");
    }
    until("the replicas are connected", &nodes, || {
        // The reference passes an open slot on to replicas that are online only, and counts the others as connected.
        let leads = |node: &Server| replication(node, "slave0").contains("state=online");
        let follows = |node: &Server| replication(node, "master_link_status") == "up";
        (nodes[..replicas].iter().all(leads) && nodes[primaries..].iter().all(follows)).then_some(())
    });
    until("everybody knows the replicas", &nodes, || {
        let known = |node: &Server| ask(node, "CLUSTER NODES").matches("slave").count() == replicas;
        nodes.iter().all(known).then_some(())
    });
    nodes
}

fn order(node: &Server, line: &str) {
    let reply = node.connect().ask(line);
    assert_eq!(reply.text(), "OK", "{} {line}: {reply}", node.label);
}

/// The open slots of a node's own line.
fn open_slots(node: &Server) -> String {
    let text = ask(node, "CLUSTER NODES");
    let line = text.lines().find(|line| line.contains("myself")).unwrap_or_default().to_owned();
    line.split(' ').filter(|word| word.starts_with('[')).collect::<Vec<_>>().join(" ")
}

/// Replicas have heard of an open slot before the order is answered; they and the other shard follow a failover; and a
/// replica that cannot answer prevents the order.
#[test]
fn open_slots_outlive_their_primaries() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    for kinds in ["ssss", "vvss", "ssvv"] {
        let nodes = shards(kinds, 2, &binary);
        let ids: Vec<String> = nodes.iter().map(|node| ask(node, "CLUSTER MYID")).collect();
        order(&nodes[0], &format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", ids[1]));
        order(&nodes[1], &format!("CLUSTER SETSLOT {SLOT} IMPORTING {}", ids[0]));
        let away = |to: &str| format!("[{SLOT}->-{to}]");
        let here = |from: &str| format!("[{SLOT}-<-{from}]");
        until("the replicas know the slot", &nodes, || {
            (open_slots(&nodes[2]) == away(&ids[1]) && open_slots(&nodes[3]) == here(&ids[0])).then_some(())
        });
        let reply = nodes[2].connect().ask("GET aga");
        assert!(reply.to_string().contains(&format!("MOVED {SLOT}")), "{kinds}: {reply}");
        // The target's replica takes over.
        order(&nodes[3], "CLUSTER FAILOVER");
        until("the target changes", &nodes, || {
            let seen = |node: &Server| open_slots(node) == away(&ids[3]);
            (seen(&nodes[0]) && seen(&nodes[2]) && open_slots(&nodes[3]) == here(&ids[0])).then_some(())
        });
        // A replica that joins hears of it with the data.
        order(&nodes[1], "CLUSTER RESET");
        assert_eq!(open_slots(&nodes[1]), "");
        order(&nodes[1], &format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[3].port, bus_port(&nodes[3])));
        until("it may follow", &nodes, || {
            // The data name the source, which it must have heard of.
            let knows_the_source = ask(&nodes[1], "CLUSTER NODES").contains(&ids[0]);
            (knows_the_source && ask(&nodes[1], &format!("CLUSTER REPLICATE {}", ids[3])) == "OK")
                .then_some(())
        });
        until("it knows the slot", &nodes, || (open_slots(&nodes[1]) == here(&ids[0])).then_some(()));
        // A replica that stands still.
        nodes[2].signal("STOP");
        let refused = nodes[0].connect().ask(&format!("CLUSTER SETSLOT {SLOT} STABLE TIMEOUT 200"));
        nodes[2].signal("CONT");
        assert_eq!(refused.to_string(), "-NOREPLICAS Not enough good replicas to write.", "{kinds}");
        assert_eq!(open_slots(&nodes[0]), away(&ids[3]));
    }
}

/// Transactions on keys of a slot that is half moved, on either side: what is there is looked at when they run, and ASKING
/// before MULTI holds for all of it. The same words as the reference's.
#[test]
fn transactions_in_a_half_moved_slot() {
    let Some(binary) = reference_binary("half moved slots") else { return };
    let [reference, ours] = ["vv", "ss"].map(|kinds| {
        let nodes = shards(kinds, 2, &binary);
        let ids = [0, 1].map(|n| ask(&nodes[n], "CLUSTER MYID"));
        order(&nodes[0], "MSET {aga}x 1 {aga}y 2");
        order(&nodes[1], &format!("CLUSTER SETSLOT {SLOT} IMPORTING {}", ids[0]));
        order(&nodes[0], &format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", ids[1]));
        let mut clients = [nodes[0].connect(), nodes[1].connect()];
        let transactions = [
            (0, "GET {aga}x"),
            (0, "GET {aga}none"),
            (0, "GET {aga}x;SET {aga}none 1"),
            (0, "MGET {aga}x {aga}none"),
            (0, "MGET {aga}none {aga}neither"),
            (0, "GET {aga}none;GET foo"),
            (1, "GET {aga}x"),
            (1, "ASKING;GET {aga}x"),
        ];
        let asking =
            [(1, "GET {aga}z"), (1, "SET {aga}z 5"), (1, "MGET {aga}z {aga}none"), (1, "GET {aga}z")];
        let plain = transactions.iter().map(|case| (false, case));
        let mut told = Vec::new();
        for (asks, (node, commands)) in plain.chain(asking.iter().map(|case| (true, case))) {
            let first = if asks { "ASKING;MULTI" } else { "MULTI" };
            for command in format!("{first};{commands};EXEC").split(';') {
                let reply = clients[*node].ask(command).to_string();
                let reply = reply.replace(&nodes[0].port.to_string(), "A");
                told.push(format!("{node} {command}: {}", reply.replace(&nodes[1].port.to_string(), "B")));
            }
        }
        told
    });
    assert_eq!(ours, reference);
    assert!(
        ours.iter().any(|line| line.contains("TRYAGAIN")) && ours.iter().any(|line| line.contains("ASK "))
    );
}

/// Next frame of a subscriber as text.
fn next(client: &mut support::client::Client) -> String {
    String::from_utf8_lossy(&client.read_frame().expect("a message").raw).into_owned()
}

#[test]
fn subscribers_hear_when_their_slot_leaves() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let nodes = shards("sssv", 2, &binary);
    let ids: Vec<String> = nodes.iter().map(|node| ask(node, "CLUSTER MYID")).collect();
    let subscribe = |node: &Server, channel: &str| {
        let mut client = node.connect();
        client.send_raw(&encode(&words(&format!("SSUBSCRIBE {channel} {{{channel}}}2"))));
        (next(&mut client), next(&mut client), client).2
    };
    let gone = |channel: &str, left: usize| {
        let length = channel.len();
        format!("*3\r\n$12\r\nsunsubscribe\r\n${length}\r\n{channel}\r\n:{left}\r\n")
    };
    let both = |mut client: support::client::Client, channel: &str| {
        let mut seen = [next(&mut client), next(&mut client)];
        seen.sort();
        let other = format!("{{{channel}}}2");
        let mut orders = [[gone(channel, 1), gone(&other, 0)], [gone(&other, 1), gone(channel, 0)]];
        orders.iter_mut().for_each(|order| order.sort());
        assert!(orders.contains(&seen), "{seen:?}");
        assert_eq!(client.ask("PING").text(), "PONG");
    };
    // Moved by hand: those on the primary and those on its replica.
    let subscribers = [subscribe(&nodes[0], "aga"), subscribe(&nodes[2], "aga")];
    for node in [&nodes[1], &nodes[0]] {
        order(node, &format!("CLUSTER SETSLOT {SLOT} NODE {}", ids[1]));
    }
    subscribers.into_iter().for_each(|client| both(client, "aga"));
    assert_eq!(nodes[0].connect().ask("PUBSUB SHARDCHANNELS").to_string(), "[]");
    // A failover ends subscriptions too, on both sides.
    let subscribers = [subscribe(&nodes[0], "bar"), subscribe(&nodes[2], "bar")];
    order(&nodes[2], "CLUSTER FAILOVER");
    subscribers.into_iter().for_each(|client| both(client, "bar"));
    // So does giving the slot up, and the end of the membership.
    let subscriber = subscribe(&nodes[1], "foo");
    order(&nodes[1], "CLUSTER DELSLOTS 12182");
    both(subscriber, "foo");
    order(&nodes[1], "CLUSTER ADDSLOTS 12182");
    let subscriber = subscribe(&nodes[1], "foo");
    order(&nodes[1], "CLUSTER RESET HARD");
    both(subscriber, "foo");
}

/// A primary that is told to end lets a replica of either kind take over first, without an election by time.
#[test]
fn a_primary_that_ends_hands_over() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    for (kinds, how) in [("svsv", "command"), ("vsvs", "command"), ("svss", "signal")] {
        let mut nodes = shards(kinds, 3, &binary);
        order(&nodes[0], "CONFIG SET shutdown-on-sigterm failover shutdown-timeout 10");
        // It would never take over by itself.
        order(&nodes[3], "CONFIG SET cluster-replica-no-failover yes");
        assert_eq!(ask(&nodes[0], "SET aga 1"), "OK");
        match how {
            "signal" => nodes[0].signal("TERM"),
            _ => nodes[0].connect().send(&words("SHUTDOWN NOSAVE FAILOVER")),
        }
        nodes[0].wait_for_exit();
        until("the replica takes over", &nodes[1..], || {
            (replication(&nodes[3], "role") == "master").then_some(())
        });
        assert_eq!(ask(&nodes[3], "GET aga"), "1", "{kinds}");
        nodes[3].wait_for_log("Forced failover primary request accepted (primary request from '");
    }
}

/// A replica that comes from another shard has nothing of the new one's data before it is synchronized. However far it
/// was in its old stream, it is not elected.
#[test]
fn a_replica_without_the_data_is_not_elected() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    for kinds in ["svsvs", "vsssv"] {
        let mut nodes = shards(kinds, 3, &binary);
        assert_eq!(ask(&nodes[0], "SET aga 1"), "OK");
        let long = "x".repeat(10_000);
        assert_eq!(ask(&nodes[1], &format!("SET a{{test}} {long}")), "OK");
        until("both replicas have it", &nodes, || {
            let offset = |node: &Server| replication(node, "master_repl_offset");
            ([0, 1].iter().all(|at| offset(&nodes[*at]) == offset(&nodes[at + 3]))).then_some(())
        });
        // The snapshot for the newcomer would take hours.
        order(&nodes[0], "CONFIG SET rdb-key-save-delay 100000000");
        order(&nodes[4], "CONFIG SET cluster-replica-validity-factor 0");
        let primary = ask(&nodes[0], "CLUSTER MYID");
        order(&nodes[4], &format!("CLUSTER REPLICATE {primary}"));
        assert_eq!(replication(&nodes[4], "slave_repl_offset"), "1", "{kinds}");
        let newcomer = ask(&nodes[4], "CLUSTER MYID");
        until("its sibling knows it", &nodes, || {
            let text = ask(&nodes[3], "CLUSTER NODES");
            let mut lines = text.lines();
            lines.find(|line| line.starts_with(&newcomer))?.contains(&primary).then_some(())
        });
        nodes[0].signal("KILL");
        nodes[0].wait_for_exit();
        until("a replica takes over", &nodes[1..], || {
            let leads = |node: &Server| replication(node, "role") == "master";
            (leads(&nodes[3]) || leads(&nodes[4])).then_some(())
        });
        assert_eq!(ask(&nodes[3], "GET aga"), "1", "{kinds}");
        assert_eq!(replication(&nodes[4], "role"), "slave", "{kinds}");
    }
}

/// What a script declares, of its keys and of its writes, counts where it is sent.
#[test]
fn scripts_are_sent_where_they_say_they_belong() {
    let nodes = shards("ss", 1, Path::new(""));
    let eval = |client: &mut support::client::Client, script: &str, key: &str| {
        client.send(&["EVAL", script, "1", key].map(|word| word.as_bytes().to_vec()));
        String::from_utf8_lossy(&client.read_frame().expect("a reply").raw).into_owned()
    };
    let (mut primary, mut replica) = (nodes[0].connect(), nodes[1].connect());
    let sets = "#!lua\nreturn redis.call('set', 'foo', '1')";
    let refused = eval(&mut primary, sets, "bar");
    let expected = "-ERR Script attempted to access keys that do not hash to the same slot";
    assert!(refused.starts_with(expected), "{refused}");
    assert_eq!(eval(&mut primary, sets, "foo"), "+OK\r\n");
    replica.ask("READONLY");
    let moved = format!("-MOVED 12182 127.0.0.1:{}\r\n", nodes[0].port);
    assert_eq!(eval(&mut replica, sets, "foo"), moved);
    let gets = "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])";
    until("it is there", &nodes, || (eval(&mut replica, gets, "foo") == "$1\r\n1\r\n").then_some(()));
}

/// CONFIG SET holds from the next packet on, and for lines of the log that were not wanted before.
#[test]
fn every_packet_is_logged_if_wanted() {
    let mut nodes: Vec<Server> = (0..2).map(|_| node(Launch::skuld(1))).collect();
    form(&nodes, 2);
    order(&nodes[0], "CONFIG SET cluster-announce-human-nodename one cluster-ping-interval 100");
    order(
        &nodes[1],
        "CONFIG SET loglevel debug cluster-announce-human-nodename two cluster-ping-interval 100",
    );
    let id = ask(&nodes[0], "CLUSTER MYID");
    nodes[1].wait_for_log(&format!("Sending ping packet to node {id} (one) on outbound link"));
    nodes[1].wait_for_log(&format!("pong packet received from: {id} (one)"));
    // What a queue takes while it is empty counts, as in Valkey: no connection lives under this limit.
    order(&nodes[1], "CONFIG SET cluster-link-sendbuf-limit 1");
    until("connections are closed", &nodes, || {
        (info(&nodes[1], "total_cluster_links_buffer_limit_exceeded").parse::<u64>().ok()? > 1).then_some(())
    });
    order(&nodes[1], "CONFIG SET cluster-link-sendbuf-limit 0");
    until("they are back", &nodes, || {
        (nodes[1].connect().ask("CLUSTER LINKS").items().len() == 2).then_some(())
    });
}

#[test]
fn shutdown_minds_the_cluster() {
    let alone = Launch::skuld(1).start();
    let reply = alone.connect().ask("SHUTDOWN FAILOVER");
    assert_eq!(reply.to_string(), "-ERR SHUTDOWN FAILOVER is only supported in cluster mode.");
    let mut member = node(Launch::skuld(1));
    order(&member, "CLUSTER ADDSLOTSRANGE 0 16383");
    let reply = member.connect().ask("SHUTDOWN NOSAVE SAFE");
    assert_eq!(reply.to_string(), "-ERR Errors trying to SHUTDOWN. Check logs.");
    member.wait_for_log(
        "This is a voting primary. Shutting down may cause the cluster to go down. Can't exit.",
    );
    member.connect().send(&words("SHUTDOWN NOSAVE FAILOVER"));
    member.wait_for_exit();
    assert!(member.log().contains("Unable to find a replica to perform the auto failover on shutdown."));
}

/// The data and `nodes.conf` need not agree at the start: slots without an owner are taken, keys of others deleted.
#[test]
fn keys_in_slots_of_others_are_noticed_at_the_start() {
    let kept = TempDir::new();
    let file = kept.path().join("nodes.conf");
    let bus = free_port().to_string();
    let launch = Launch::skuld(2)
        .option("cluster-enabled", "yes")
        .option("cluster-port", &bus)
        .option("dir", &kept.path().display().to_string());
    let mut server = launch.start();
    let port = server.port;
    order(&server, "CLUSTER ADDSLOTSRANGE 0 16383");
    until("it serves", &[], || (info(&server, "cluster_state") == "ok").then_some(()));
    for key in ["aga", "bar", "foo"] {
        assert_eq!(ask(&server, &format!("SET {key} 1")), "OK");
    }
    assert_eq!(ask(&server, "SAVE"), "OK");
    server.signal("KILL");
    server.wait_for_exit();
    // `aga` is nobody's now, and `foo` (12182) another node's.
    let text = std::fs::read_to_string(&file).expect("nodes.conf");
    let other = "0123456789012345678901234567890123456789";
    let text = text.replace(" 0-16383\n", " 610-9999\n")
        + &format!("{other} 127.0.0.1:1@2,,tls-port=0 master - 0 0 7 disconnected 10000-16383\n");
    std::fs::write(&file, text).expect("written");
    let mut server = launch.spawn(port);
    assert!(server.wait_until_ready(), "{}", server.log_tail());
    server.wait_for_log("I have keys for unassigned slot 609. Taking responsibility for it.");
    server.wait_for_log(
        "I have keys for slot 12182, but the slot is assigned to another node. Deleting keys in the slot.",
    );
    until("the keys are gone", &[], || {
        (server.connect().ask("CLUSTER COUNTKEYSINSLOT 12182").integer() == Some(0)).then_some(())
    });
    assert_eq!(server.connect().ask("CLUSTER COUNTKEYSINSLOT 609").integer(), Some(1));
    assert!(ask(&server, "CLUSTER NODES").contains(" 609-9999"));
}

/// Replies of SLOT-STATS, with the time taken out.
fn slot_stats(node: &Server) -> Vec<String> {
    let script = "
        SET foo value
        MSET {foo}1 a {foo}2 bb
        GET nothing
        BLPOP {foo}l 0
        SET foo
        LPUSH foo a
        WATCH foo
        UNWATCH
        EVAL 'return redis.call(\"set\", KEYS[1], \"x\")' 1 foo
        EVAL \"#!lua\\nredis.call('set', KEYS[1], 'x') return redis.call('get', KEYS[1])\" 1 foo
        EVAL \"#!lua\\nreturn redis.call('get', 'foo')\" 0
        SPUBLISH foo hello
        SSUBSCRIBE foo
        SPUBLISH foo hello
        PING
        CLUSTERSCAN 0
        OBJECT ENCODING foo
        MULTI; SET foo 1; PING; GET foo; EXEC
        MULTI; SET foo 1; DISCARD
        MULTI; GET foo; EVAL 'return redis.call(\"get\", KEYS[1])' 1 foo; EXEC
        MULTI; SPUBLISH foo x; EXEC
        MULTI; SET foo 1; nonsense; EXEC
        CLIENT REPLY ON
        CONFIG SET cluster-slot-stats-enabled no
        SET foo 1
        CLUSTER SLOT-STATS ORDERBY cpu-usec
        CONFIG SET cluster-slot-stats-enabled yes
        CLUSTER SLOT-STATS ORDERBY memory-bytes
        CLUSTER DELSLOTS 12182
        CLUSTER ADDSLOTS 12182";
    let mut client = node.connect();
    let (mut observer, mut subscriber) = (node.connect(), node.connect());
    let mut seen = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        for command in line.split("; ") {
            let client = if command.starts_with("SSUB") { &mut subscriber } else { &mut client };
            client.send_raw(&encode(&words(command)));
            if command.starts_with("BLPOP") {
                until("it blocks", &[], || {
                    ask(node, "INFO clients").contains("blocked_clients:1").then_some(())
                });
                assert_eq!(observer.ask("LPUSH {foo}l value").integer(), Some(1));
            }
            client.read_frame().expect("a reply");
        }
        let reply = observer.ask("CLUSTER SLOT-STATS SLOTSRANGE 12182 12182").to_string();
        let timeless = match reply.split_once("cpu-usec") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|c: char| !c.is_ascii_digit());
                format!("{before}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => reply,
        };
        seen.push(format!("{line} -> {timeless}"));
    }
    let orders = ["cpu-usec", "network-bytes-in", "network-bytes-out", "key-count"];
    for metric in orders {
        let line = format!("CLUSTER SLOT-STATS ORDERBY {metric} LIMIT 1 ASC");
        seen.push(format!("{line} -> {}", observer.ask(&line)));
    }
    seen
}

#[test]
fn slots_cost_what_they_cost_the_reference() {
    let Some(binary) = reference_binary("slot statistics") else { return };
    let start = |launch: Launch| {
        let server = node(launch.option("cluster-slot-stats-enabled", "yes"));
        order(&server, "CLUSTER ADDSLOTSRANGE 0 16383");
        until("it serves", &[], || (info(&server, "cluster_state") == "ok").then_some(()));
        server
    };
    let theirs = slot_stats(&start(Launch::reference(&binary)));
    for workers in [1, 3] {
        let ours = slot_stats(&start(Launch::skuld(workers)));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}

/// `redis-cli --cluster`, with a yes to all questions. None if there is no such program.
fn tool(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("redis-cli");
    command.arg("--cluster").args(arguments).arg("--cluster-yes");
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: redis-cli: {error}");
            return None;
        }
    };
    // One question is asked in spite of it. Most runs end without reading.
    let _ = child.stdin.take().expect("piped").write_all(b"yes\n");
    let output = child.wait_with_output().expect("it ends");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "redis-cli --cluster {arguments:?}:\n{text}");
    Some(text)
}

/// A cluster from its first day to the last, by the tool alone, with nodes of the given kinds.
fn live_by_the_tool(kinds: &str, binary: &Path) {
    let nodes: Vec<Server> = kinds.chars().map(|kind| node(launch(kind, binary))).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let address = |index: usize| addresses[index].as_str();
    let ids: Vec<String> = nodes.iter().map(|node| ask(node, "CLUSTER MYID")).collect();
    if tool(&["create", address(0), address(1), address(2)]).is_none() {
        return;
    }
    let agree = |members: &[usize]| {
        until("all agree", &nodes, || {
            let count = members.len().to_string();
            let well = |index: &usize| {
                let node = &nodes[*index];
                info(node, "cluster_state") == "ok" && info(node, "cluster_known_nodes") == count
            };
            let check =
                || Command::new("redis-cli").args(["--cluster", "check", address(members[0])]).output().ok();
            (members.iter().all(well) && check().is_some_and(|output| output.status.success())).then_some(())
        });
    };
    agree(&[0, 1, 2]);
    let set = |index: usize, key: &str| {
        let port = nodes[index].port.to_string();
        let output =
            Command::new("redis-cli").args(["-c", "-p", &port, "SET", key, key]).output().expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "OK", "{key}");
    };
    let keys: Vec<String> = (0..30).map(|number| format!("key-{number}")).collect();
    keys.iter().for_each(|key| set(1, key));
    let all_there = || {
        for key in &keys {
            let port = nodes[0].port.to_string();
            let output =
                Command::new("redis-cli").args(["-c", "-p", &port, "GET", key]).output().expect("runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), key);
        }
    };
    tool(&["call", address(0), "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert!(nodes[..3].iter().all(|node| ask(node, "INFO memory").contains("maxmemory_policy:allkeys-lru")));
    // A primary and a replica join.
    tool(&["add-node", address(3), address(0)]);
    agree(&[0, 1, 2, 3]);
    tool(&["add-node", address(4), address(0), "--cluster-slave", "--cluster-master-id", &ids[3]]);
    agree(&[0, 1, 2, 3, 4]);
    tool(&[
        "reshard",
        address(0),
        "--cluster-from",
        &ids[0],
        "--cluster-to",
        &ids[3],
        "--cluster-slots",
        "20",
    ]);
    agree(&[0, 1, 2, 3, 4]);
    tool(&["rebalance", address(1), "--cluster-weight", &format!("{}=0", ids[3])]);
    agree(&[0, 1, 2, 3, 4]);
    all_there();
    // A move that was begun, one that was ended on one side only, and slots that nobody has.
    order(&nodes[0], &format!("CLUSTER SETSLOT 1 MIGRATING {}", ids[1]));
    order(&nodes[2], &format!("CLUSTER SETSLOT 2 IMPORTING {}", ids[0]));
    tool(&["fix", address(0)]);
    agree(&[0, 1, 2, 3, 4]);
    for index in [0, 1, 2, 3, 4] {
        // Not all nodes may know of an owner.
        ask(&nodes[index], "CLUSTER DELSLOTS 100 101");
    }
    tool(&["fix", address(1), "--cluster-fix-with-unreachable-masters"]);
    agree(&[0, 1, 2, 3, 4]);
    all_there();
    tool(&["del-node", address(0), &ids[4]]);
    agree(&[0, 1, 2, 3]);
    // What was fixed went to anybody.
    tool(&["rebalance", address(1), "--cluster-weight", &format!("{}=0", ids[3])]);
    agree(&[0, 1, 2, 3]);
    tool(&["del-node", address(0), &ids[3]]);
    agree(&[0, 1, 2]);
    // Data of a server outside.
    let outside = Launch::skuld(1).start();
    order(&outside, "SET from-outside 1");
    tool(&["import", address(0), "--cluster-from", &format!("127.0.0.1:{}", outside.port), "--cluster-copy"]);
    let info = tool(&["info", address(2)]).expect("the tool is there");
    assert!(info.contains("[OK] 31 keys in 3 masters."), "{info}");
}

/// In the long tier only.
#[test]
fn the_tool_runs_a_cluster_of_ours() {
    if std::env::var("SKULD_CLUSTER_NODES").is_err() {
        return;
    }
    let Some(binary) = reference_binary("mixed clusters") else { return };
    live_by_the_tool("sssss", &binary);
}

#[test]
fn the_tool_runs_a_mixed_cluster() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    live_by_the_tool("svsvs", &binary);
}
