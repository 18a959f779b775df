//! Cluster mode: the replies of one node, compared with the reference server's, and clusters mixed of both kinds.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::client::encode;
use support::cluster::{NODE_TIMEOUT_MS, ask, bus_port, form, info, node, owner, replication, until};
use support::server::{Launch, Server, TempDir, free_port, reference_binary};
use support::text::words;

/// Replies of one line sent to a node, with ids and ports that need not agree taken out.
fn transcript(node: &Server, protocol: u8, script: &str) -> Vec<String> {
    let mut client = node.connect();
    client.ask(&format!("HELLO {protocol}"));
    let id = client.ask("CLUSTER MYID").text();
    let shard = client.ask("CLUSTER MYSHARDID").text();
    let bus = bus_port(node);
    let mut lines = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        client.send_raw(&encode(&words(&line.replace("MYSELF", &id))));
        let reply = client.read_frame().expect("a reply");
        let text = String::from_utf8_lossy(&reply.raw)
            .replace(&id, "<id>")
            .replace(&shard, "<shard>")
            .replace(&format!("@{bus}"), "@<bus>")
            .replace(&node.port.to_string(), "<port>");
        lines.push(format!("{line} -> {text:?}"));
    }
    lines
}

fn compare(protocol: u8, script: &str) {
    let Some(binary) = reference_binary("cluster commands") else { return };
    let theirs = transcript(&node(Launch::reference(&binary)), protocol, script);
    for workers in [1, 3] {
        let ours = transcript(&node(Launch::skuld(workers)), protocol, script);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}

const ERRORS: &str = "
    CLUSTER MEET x 1
    CLUSTER MEET 1.2.3.4 0
    CLUSTER MEET 1.2.3.4 66000
    CLUSTER MEET 1.2.3.4 x
    CLUSTER MEET 1.2.3.4 60000
    CLUSTER MEET 1.2.3.4 600 y
    CLUSTER MEET 1.2.3.4 600 70000
    CLUSTER MEET 1.2.3.4 6 7 8
    CLUSTER FORGET x
    CLUSTER FORGET MYSELF
    CLUSTER REPLICATE MYSELF
    CLUSTER REPLICATE x
    CLUSTER REPLICATE x y
    CLUSTER REPLICATE NO ONE
    CLUSTER RESET foo
    CLUSTER RESET hard x
    CLUSTER SET-CONFIG-EPOCH -1
    CLUSTER SET-CONFIG-EPOCH x
    CLUSTER BUMPEPOCH
    CLUSTER BUMPEPOCH
    CLUSTER SET-CONFIG-EPOCH 5
    CLUSTER ADDSLOTS 1 x
    CLUSTER ADDSLOTS 16384
    CLUSTER ADDSLOTS 1 1
    CLUSTER ADDSLOTS 1 2
    CLUSTER ADDSLOTS 2
    CLUSTER DELSLOTS 3
    CLUSTER ADDSLOTSRANGE 5 3
    CLUSTER ADDSLOTSRANGE 5 6 7
    CLUSTER ADDSLOTSRANGE 5 7 6 8
    CLUSTER DELSLOTSRANGE 1 3
    CLUSTER FAILOVER
    CLUSTER FAILOVER x
    CLUSTER FAILOVER FORCE x
    CLUSTER SETSLOT 1
    CLUSTER SETSLOT 1 foo
    CLUSTER SETSLOT 1 NODE
    CLUSTER SETSLOT 99999 STABLE
    CLUSTER SETSLOT x STABLE
    CLUSTER SETSLOT 1 STABLE
    CLUSTER SETSLOT 5 MIGRATING x
    CLUSTER SETSLOT 1 MIGRATING x
    CLUSTER SETSLOT 1 IMPORTING x
    CLUSTER SETSLOT 1 MIGRATING MYSELF
    CLUSTER SETSLOT 5 IMPORTING MYSELF
    CLUSTER SETSLOT 1 NODE x
    CLUSTER SETSLOT 1 STABLE TIMEOUT
    CLUSTER SETSLOT 1 STABLE TIMEOUT x
    CLUSTER SETSLOT 1 STABLE TIMEOUT -1
    CLUSTER SETSLOT 1 STABLE TIMEOUT 10
    CLUSTER SETSLOT 1 STABLE foo 10
    CLUSTER SETSLOT 1 NODE MYSELF
    CLUSTER COUNT-FAILURE-REPORTS x
    CLUSTER COUNT-FAILURE-REPORTS MYSELF
    CLUSTER REPLICAS x
    CLUSTER SLAVES MYSELF
    CLUSTER COUNTKEYSINSLOT 99999
    CLUSTER COUNTKEYSINSLOT x
    CLUSTER GETKEYSINSLOT 1 x
    CLUSTER GETKEYSINSLOT 1 -1
    CLUSTER GETKEYSINSLOT 99999 1
    CLUSTER GETKEYSINSLOT 1 10
    CLUSTER SLOT-STATS SLOTSRANGE 0 1
    CLUSTER SLOT-STATS SLOTSRANGE 0 99999
    CLUSTER SLOT-STATS SLOTSRANGE 5 1
    CLUSTER SLOT-STATS ORDERBY foo
    CLUSTER SLOT-STATS ORDERBY key-count LIMIT 2
    CLUSTER SLOT-STATS ORDERBY key-count LIMIT 0
    CLUSTER SLOT-STATS ORDERBY key-count DESC ASC
    CLUSTER SLOT-STATS ORDERBY key-count LIMIT 1 LIMIT 2
    CLUSTER SLOT-STATS foo bar
    CLUSTER SLOT-STATS ORDERBY cpu-usec
    CLUSTER FLUSHSLOT 1
    CLUSTER FLUSHSLOT 1 SYNC
    CLUSTER FLUSHSLOT 1 foo
    CLUSTER FLUSHSLOT x
    CLUSTER SAVECONFIG
    CLUSTER LINKS
    CLUSTER foo
    CLUSTER
    CLUSTER NODES x
    CLUSTER SLOTS
    CLUSTER NODES
    CLUSTER KEYSLOT foo
    CLUSTERSCAN 0
    GET foo
    SWAPDB 0 1
    SELECT 1
    DEBUG CLUSTERLINK KILL all x
    DEBUG CLUSTERLINK KILL all MYSELF
    DEBUG CLUSTERLINK foo all x
    DEBUG DROP-CLUSTER-PACKET-FILTER x
    DEBUG DROP-CLUSTER-PACKET-FILTER -1
    INFO cluster
    CLUSTER FLUSHSLOTS
    CLUSTER SLOTS";

#[test]
fn one_node_answers_as_the_reference() {
    compare(2, ERRORS);
    compare(3, ERRORS);
}

#[test]
fn a_node_that_serves_all_slots_answers_as_the_reference() {
    let Some(binary) = reference_binary("cluster commands") else { return };
    let script = "
        READONLY
        READWRITE
        ASKING
        SET foo 1
        MGET foo bar
        MGET {foo}1 foo
        SET bar 2
        CLUSTER COUNTKEYSINSLOT 12182
        CLUSTER GETKEYSINSLOT 12182 5
        CLUSTER SLOT-STATS ORDERBY key-count LIMIT 2
        CLUSTERSCAN 0
        CLUSTERSCAN 0 SLOT 1
        CLUSTERSCAN 0-{06S}-0
        CLUSTERSCAN 0-{06S}-0 SLOT 0
        CLUSTERSCAN 0-{06S}-0 SLOT 1
        CLUSTERSCAN 0-{06S}-0 TYPE set
        CLUSTERSCAN 0-{06S}-0 MATCH b*
        CLUSTERSCAN 0-{06S}-0 MATCH {Qi}*
        CLUSTERSCAN 0-{Qi}-0 MATCH {06S}*
        CLUSTERSCAN 0 SLOT 0 MATCH {Qi}*
        CLUSTERSCAN 0-{06S}-0 SLOT 0 MATCH {Qi}*
        CLUSTERSCAN 1-{8M}-7
        CLUSTERSCAN -{8M}-7
        CLUSTERSCAN 0-{}-0
        CLUSTERSCAN 0-{8M}-x
        CLUSTERSCAN 0-{06S}-0 NOVALUES
        CLUSTERSCAN 0-{06S}-0 COUNT 0
        MULTI
        CLUSTERSCAN 0-{06S}-0
        EXEC
        EVAL 'return redis.call([[clusterscan]], [[0-{06S}-0]])' 0
        CLUSTER FLUSHSLOTS
        CLUSTER FLUSHSLOT 12182 SYNC x
        CLUSTER FLUSHSLOT 12182
        GET foo
        MULTI
        CLUSTER SETSLOT 1 STABLE
        CLUSTER SETSLOT 1 NODE MYSELF
        CLUSTER SETSLOT 12182 IMPORTING MYSELF
        CLUSTER SLOT-STATS SLOTSRANGE 5061 5062
        CLUSTER SLOT-STATS ORDERBY key-count LIMIT 1
        CLUSTER REPLICATE MYSELF
        CLUSTER FLUSHSLOTS
        CLUSTER RESET
        EXEC
        EVAL 'return redis.call([[cluster]], [[slot-stats]], [[slotsrange]], [[5061]], [[5061]])' 0
        EVAL 'return redis.pcall([[cluster]], [[reset]]).err' 0
        MULTI
        GET foo
        GET bar
        EXEC
        MULTI
        MGET foo bar
        EXEC
        SSUBSCRIBE foo bar
        SPUBLISH foo x
        PUBLISH foo x
        SUBSCRIBE a b
        CLUSTER SLOTS";
    let serve = |node: &Server| {
        assert_eq!(ask(node, "CLUSTER ADDSLOTSRANGE 0 16383"), "OK");
        until("the cluster is up", &[], || (info(node, "cluster_state") == "ok").then_some(()));
    };
    let theirs = node(Launch::reference(&binary));
    serve(&theirs);
    let theirs = transcript(&theirs, 3, script);
    for workers in [1, 3] {
        let ours = node(Launch::skuld(workers));
        serve(&ours);
        for (ours, theirs) in transcript(&ours, 3, script).iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
        }
    }
}

#[test]
fn without_cluster_mode_its_commands_say_so() {
    let server = Launch::skuld(1).start();
    let mut client = server.connect();
    for line in ["CLUSTER NODES", "CLUSTER INFO", "CLUSTER COUNTKEYSINSLOT 1", "ASKING", "CLUSTERSCAN 0"] {
        client.send_raw(&encode(&words(line)));
        let reply = client.read_frame().expect("a reply");
        assert_eq!(
            String::from_utf8_lossy(&reply.raw),
            "-ERR This instance has cluster support disabled\r\n",
            "{line}"
        );
    }
    assert_eq!(client.ask("CLUSTER KEYSLOT foo").integer(), Some(12182));
    assert_eq!(client.ask("READONLY").text(), "OK");
}

/// Primaries of both kinds, without replicas: they find each other, agree, redirect to each other, and pass messages.
#[test]
fn nodes_of_both_kinds_form_a_cluster() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let nodes: Vec<Server> =
        [Launch::skuld(1), Launch::reference(&binary), Launch::skuld(3), Launch::reference(&binary)]
            .into_iter()
            .map(node)
            .collect();
    form(&nodes, 4);
    for number in 0..40 {
        let key = format!("key-{number}");
        let owners: Vec<u16> = nodes.iter().map(|node| owner(node, &key)).collect();
        assert!(owners.iter().all(|port| *port == owners[0]), "{key}: {owners:?}");
        let owner = nodes.iter().find(|node| node.port == owners[0]).expect("one of ours");
        assert_eq!(ask(owner, &format!("SET {key} {number}")), "OK");
    }
    // Messages published on one node reach subscribers of all.
    for (subscriber, publisher) in [(0, 1), (1, 0), (2, 3), (3, 2), (0, 2)] {
        let mut client = nodes[subscriber].connect();
        client.send_raw(&encode(&words("SUBSCRIBE news")));
        client.read_frame().expect("the confirmation");
        ask(&nodes[publisher], "PUBLISH news hello");
        let message = client.read_frame().expect("the message");
        assert!(String::from_utf8_lossy(&message.raw).contains("hello"));
    }
    // All slots are served in everybody's view.
    let slots: Vec<String> = nodes.iter().map(|node| info(node, "cluster_slots_ok")).collect();
    assert!(slots.iter().all(|slots| slots == "16384"), "{slots:?}");
}

/// What `redis-cli --cluster` prints, if there is such a program; its failure fails the test.
/// MEETs that are lost are sent again; and the answer that ends a handshake is an answer: the nodes go on talking at once,
/// not only when the first PING has been given up.
#[test]
fn nodes_meet_although_meets_are_lost() {
    let launch = || Launch::skuld(1).option("cluster-enabled", "yes");
    let nodes = [0, 1].map(|_| launch().option("cluster-port", &free_port().to_string()).start());
    assert_eq!(ask(&nodes[0], "CLUSTER ADDSLOTSRANGE 0 8191"), "OK");
    assert_eq!(ask(&nodes[1], "CLUSTER ADDSLOTSRANGE 8192 16383"), "OK");
    assert_eq!(ask(&nodes[0], "DEBUG DROP-CLUSTER-PACKET-FILTER 2"), "OK");
    assert_eq!(ask(&nodes[0], "DEBUG CLOSE-CLUSTER-LINK-ON-PACKET-DROP 1"), "OK");
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[0].port, bus_port(&nodes[0]));
    assert_eq!(ask(&nodes[1], &meet), "OK");
    let meets = |field: &str, node: &Server| info(node, field).parse::<u64>().unwrap_or(0);
    until("MEETs are lost", &nodes, || {
        (meets("cluster_stats_messages_meet_received", &nodes[0]) >= 3).then_some(())
    });
    assert_eq!(ask(&nodes[0], "CLUSTER NODES").lines().count(), 1);
    assert_eq!(ask(&nodes[0], "DEBUG DROP-CLUSTER-PACKET-FILTER -1"), "OK");
    let begin = Instant::now();
    until("both serve", &nodes, || {
        nodes.iter().all(|node| info(node, "cluster_state") == "ok").then_some(())
    });
    // A PING is given up after half the node timeout, which is 15 seconds.
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let [received, sent] = [("received", 0), ("sent", 1)]
        .map(|(what, node)| meets(&format!("cluster_stats_messages_meet_{what}"), &nodes[node]));
    assert_eq!(received, sent);
}

#[test]
fn a_node_that_is_introduced_to_itself_stays_alone() {
    let nodes = [node(Launch::skuld(1))];
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[0].port, bus_port(&nodes[0]));
    assert_eq!(ask(&nodes[0], &meet), "OK");
    let met = || info(&nodes[0], "cluster_stats_messages_meet_received") == "1";
    until("it has met itself", &nodes, || {
        (met() && info(&nodes[0], "cluster_known_nodes") == "1").then_some(())
    });
    assert_eq!(info(&nodes[0], "cluster_stats_messages_ping_received"), "", "nothing is begun in return");
}

fn cli(arguments: &[&str]) -> Option<String> {
    let output = match Command::new("redis-cli").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: redis-cli: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "redis-cli {arguments:?}:\n{text}");
    Some(text)
}

#[test]
fn the_tools_create_and_check_a_mixed_cluster() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let nodes: Vec<Server> =
        [Launch::skuld(1), Launch::reference(&binary), Launch::skuld(3)].into_iter().map(node).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.push("--cluster-yes");
    if cli(&create).is_none() {
        return;
    }
    let check = until("the check passes", &nodes, || {
        let output = Command::new("redis-cli").args(["--cluster", "check", &addresses[2]]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(check.contains("All 16384 slots covered"), "{check}");
}

/// `nodes.conf` is all a node needs to be the same node again after it was killed.
#[test]
fn a_killed_node_comes_back_under_its_name() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let kept = TempDir::new();
    let file = kept.path().join("kept.conf");
    let bus = free_port().to_string();
    let launch = Launch::skuld(1)
        .option("cluster-enabled", "yes")
        .option("cluster-node-timeout", NODE_TIMEOUT_MS)
        .option("cluster-port", &bus)
        .option("cluster-config-file", &file.display().to_string());
    let mut nodes = vec![launch.start(), node(Launch::reference(&binary)), node(Launch::skuld(1))];
    form(&nodes, 3);
    let (id, port) = (ask(&nodes[0], "CLUSTER MYID"), nodes[0].port);
    nodes[0].signal("KILL");
    nodes[0].wait_for_exit();
    until("the others notice", &nodes[1..], || {
        nodes[1..].iter().all(|node| info(node, "cluster_state") == "fail").then_some(())
    });
    nodes[0] = launch.spawn(port);
    assert!(nodes[0].wait_until_ready(), "{}", nodes[0].log_tail());
    until("all is well again", &nodes, || {
        nodes.iter().all(|node| info(node, "cluster_state") == "ok").then_some(())
    });
    assert_eq!(ask(&nodes[0], "CLUSTER MYID"), id);
    assert_eq!(info(&nodes[0], "cluster_known_nodes"), "3");
}

/// Moving a slot key by key, as the tools do it, between nodes of both kinds and in both directions.
#[test]
fn slots_are_moved_key_by_key_between_both_kinds() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let nodes = vec![node(Launch::skuld(3)), node(Launch::reference(&binary))];
    form(&nodes, 2);
    // `foo` is in slot 12182, of the second node.
    let ids: Vec<String> = nodes.iter().map(|node| ask(node, "CLUSTER MYID")).collect();
    assert_eq!(ask(&nodes[1], "SET foo bar"), "OK");
    for number in 0..20 {
        assert_eq!(ask(&nodes[1], &format!("SET {{foo}}{number} {number}")), "OK");
    }
    for (from, to) in [(1, 0), (0, 1)] {
        let (source, target) = (&nodes[from], &nodes[to]);
        let order = |node: &Server, line: &str| {
            let reply = node.connect().ask(line);
            assert_eq!(reply.text(), "OK", "{line}: {reply}");
        };
        order(target, &format!("CLUSTER SETSLOT 12182 IMPORTING {}", ids[from]));
        order(source, &format!("CLUSTER SETSLOT 12182 MIGRATING {}", ids[to]));
        order(source, &format!("MIGRATE 127.0.0.1 {} foo 0 5000", target.port));
        let mut client = source.connect();
        client.send_raw(&encode(&words("GET foo")));
        let reply = client.read_frame().expect("a reply");
        assert_eq!(String::from_utf8_lossy(&reply.raw), format!("-ASK 12182 127.0.0.1:{}\r\n", target.port));
        let mut client = target.connect();
        assert_eq!(client.ask("ASKING").text(), "OK");
        assert_eq!(client.ask("GET foo").text(), "bar");
        let mut migrate = words(&format!("MIGRATE 127.0.0.1 {} x 0 5000 KEYS", target.port));
        migrate[3].clear();
        migrate.extend((0..20).map(|number| format!("{{foo}}{number}").into_bytes()));
        let reply = source.connect().call(&migrate).expect("a reply");
        assert_eq!(reply.value.text(), "OK", "{}", reply.value);
        assert_eq!(source.connect().ask("CLUSTER COUNTKEYSINSLOT 12182").integer(), Some(0));
        order(target, &format!("CLUSTER SETSLOT 12182 NODE {}", ids[to]));
        order(source, &format!("CLUSTER SETSLOT 12182 NODE {}", ids[to]));
        assert_eq!(target.connect().ask("CLUSTER COUNTKEYSINSLOT 12182").integer(), Some(21));
        assert_eq!(ask(target, "GET {foo}7"), "7");
        assert_eq!(owner(source, "foo"), target.port);
    }
}

/// Three shards of a primary and a replica of the other kind each: Skuld, Valkey, Skuld, and Valkey, Skuld, Valkey.
fn three_shards(binary: &std::path::Path) -> Vec<Server> {
    let launch = |index: usize| {
        let launch =
            if index.is_multiple_of(2) { Launch::skuld(1 + index / 4) } else { Launch::reference(binary) };
        node(launch.option("repl-diskless-sync-delay", "0"))
    };
    let nodes: Vec<Server> = (0..6).map(launch).collect();
    form(&nodes, 3);
    for index in 3..6 {
        let primary = ask(&nodes[index - 3], "CLUSTER MYID");
        assert_eq!(ask(&nodes[index], &format!("CLUSTER REPLICATE {primary}")), "OK");
    }
    until("the replicas are connected", &nodes, || {
        nodes[3..].iter().all(|node| replication(node, "master_link_status") == "up").then_some(())
    });
    // Everybody knows who follows whom, and that they have data: then votes are asked for without delay.
    for (index, node) in nodes.iter().take(3).enumerate() {
        assert_eq!(node.connect().ask(&format!("SET {} x", key_of(index))).text(), "OK");
        assert_eq!(node.connect().ask("WAIT 1 10000").integer(), Some(1));
    }
    until("everybody knows the replicas", &nodes, || {
        let known = |node: &Server| {
            let text = ask(node, "CLUSTER NODES");
            text.lines().filter(|line| line.contains("slave")).count() == 3
        };
        nodes.iter().all(known).then_some(())
    });
    nodes
}

/// A key of each third of the slots: 866 (`hello`), 5061 (`bar`) is below 5461 too, so the tags are chosen by slot.
fn key_of(third: usize) -> &'static str {
    // Slots 5061, 6918 and 12182.
    ["bar", "a{test}", "foo"][third]
}

#[test]
fn a_replica_of_the_other_kind_takes_over_from_a_killed_primary() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let mut nodes = three_shards(&binary);
    for dead in [0, 1] {
        nodes[dead].signal("KILL");
        nodes[dead].wait_for_exit();
        let heir = dead + 3;
        until("the replica takes over", &nodes[heir..], || {
            (replication(&nodes[heir], "role") == "master").then_some(())
        });
        until("the cluster is well again", &nodes[2..], || {
            let living = [2, 3, 4, 5].into_iter().filter(|index| *index != dead);
            living.into_iter().all(|index| info(&nodes[index], "cluster_state") == "ok").then_some(())
        });
        let key = key_of(dead);
        assert_eq!(ask(&nodes[heir], &format!("GET {key}")), "x", "nothing acknowledged is lost");
        assert_eq!(ask(&nodes[heir], &format!("SET {key} y")), "OK");
        assert_eq!(owner(&nodes[2], key), nodes[heir].port);
    }
}

#[test]
fn primary_and_replica_of_both_kinds_change_places_and_back() {
    let Some(binary) = reference_binary("mixed clusters") else { return };
    let nodes = three_shards(&binary);
    // The second shard is led by Valkey with a replica of ours.
    for (replica, primary) in [(4, 1), (1, 4)] {
        until("the replica is connected", &nodes, || {
            (replication(&nodes[replica], "master_link_status") == "up").then_some(())
        });
        assert_eq!(ask(&nodes[replica], "CLUSTER FAILOVER"), "OK");
        until("they change places", &nodes, || {
            (replication(&nodes[replica], "role") == "master"
                && replication(&nodes[primary], "role") == "slave"
                && replication(&nodes[primary], "master_link_status") == "up")
                .then_some(())
        });
        let key = key_of(1);
        assert_eq!(owner(&nodes[primary], key), nodes[replica].port);
        until("the shard takes writes", &nodes, || {
            (ask(&nodes[replica], &format!("SET {key} {replica}")) == "OK").then_some(())
        });
    }
}

/// `SKULD_CLUSTER_NODES` nodes (30 in the long tier; not run without it), a third of them replicas: they agree after the
/// start, and again after a quarter of them were killed at once.
#[test]
fn many_nodes_agree_and_survive_kills() {
    let count = std::env::var("SKULD_CLUSTER_NODES").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    if count == 0 {
        return;
    }
    let primaries = count * 2 / 3;
    let launch = || {
        Launch::skuld(1)
            .option("repl-diskless-sync-delay", "0")
            .option("cluster-allow-replica-migration", "no")
    };
    let mut nodes: Vec<Server> = (0..count).map(|_| node(launch())).collect();
    form(&nodes, primaries);
    for index in primaries..count {
        let primary = ask(&nodes[index - primaries], "CLUSTER MYID");
        assert_eq!(ask(&nodes[index], &format!("CLUSTER REPLICATE {primary}")), "OK");
    }
    until("the replicas are connected", &[], || {
        nodes[primaries..].iter().all(|node| replication(node, "master_link_status") == "up").then_some(())
    });
    // Those with replicas, fewer than half of all that vote.
    let kills = (count / 4).min(count - primaries).min((primaries - 1) / 2);
    for node in &mut nodes[..kills] {
        node.signal("KILL");
        node.wait_for_exit();
    }
    until("the replicas take over", &[], || {
        nodes[kills..].iter().all(|node| info(node, "cluster_state") == "ok").then_some(())
    });
    until("all slots are served in all views", &[], || {
        nodes[kills..].iter().all(|node| info(node, "cluster_slots_ok") == "16384").then_some(())
    });
}
