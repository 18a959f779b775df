//! Full synchronizations under way when something happens, and what replicas that are behind cost.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::resp::Value;
use crate::support::server::{Launch, Server};

/// How long servers may take to agree.
const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, servers: &[&Server], mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            let logs: Vec<String> =
                servers.iter().map(|s| format!("--- {}:\n{}", s.port, s.log_tail())).collect();
            panic!("not in time: {what}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn info(client: &mut Client, field: &str) -> String {
    let text = client.ask("INFO everything").text();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_default().trim_end().to_owned()
}

fn number(client: &mut Client, field: &str) -> u64 {
    info(client, field).parse().expect("a number")
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(client.ask(line).text(), "OK", "{line}");
}

fn is_linked(replica: &Server) -> bool {
    info(&mut replica.connect(), "master_link_status") == "up"
}

fn server(options: &[(&str, &str)]) -> Server {
    let launch = Launch::skuld(2)
        .option("save", "")
        .option("repl-diskless-sync-delay", "0")
        .option("rdbcompression", "no")
        .option("enable-debug-command", "yes");
    options.iter().fold(launch, |launch, (name, value)| launch.option(name, value)).start()
}

fn follow(replica: &Server, primary: &Server) {
    ok(&mut replica.connect(), &format!("REPLICAOF 127.0.0.1 {}", primary.port));
}

/// The rest of a snapshot of data that are gone is not waited for.
#[test]
fn flushall_begins_a_synchronization_again() {
    for diskless in ["yes", "no"] {
        let primary = server(&[("repl-diskless-sync", diskless)]);
        let mut replica = server(&[("repl-diskless-load", "swapdb")]);
        let mut client = primary.connect();
        ok(&mut client, "DEBUG POPULATE 1000 key 1000");
        // The whole would take fifty seconds.
        ok(&mut client, "CONFIG SET rdb-key-save-delay 50000");
        follow(&replica, &primary);
        until("the snapshot is under way", &[&primary, &replica], || {
            info(&mut client, "rdb_bgsave_in_progress") == "1"
        });
        if diskless == "yes" {
            replica.wait_for_log("PRIMARY <-> REPLICA sync: Loading DB in memory");
        }
        let history = info(&mut client, "master_replid");
        ok(&mut client, "FLUSHALL");
        ok(&mut client, "SET after flushall");
        until("the replica has what is left", &[&primary, &replica], || {
            is_linked(&replica) && replica.connect().ask("GET after").text() == "flushall"
        });
        assert_eq!(replica.connect().ask("DBSIZE").integer(), Some(1));
        assert_eq!(info(&mut client, "master_replid"), history, "other replicas could go on");
    }
}

/// A link that was never up is down since -1 s, in tools' eyes for ever.
#[test]
fn a_link_that_was_never_up_is_down_since_ever() {
    let (primary, replica) = (server(&[]), server(&[]));
    let mut client = replica.connect();
    ok(&mut client, "REPLICAOF 127.0.0.1 1");
    assert_eq!(info(&mut client, "master_link_down_since_seconds"), "-1");
    follow(&replica, &primary);
    until("the link is up", &[&primary, &replica], || is_linked(&replica));
    ok(&mut client, "REPLICAOF 127.0.0.1 1");
    assert!(number(&mut client, "master_link_down_since_seconds") < 1000);
    ok(&mut client, "REPLICAOF NO ONE");
    ok(&mut client, "REPLICAOF 127.0.0.1 1");
    assert_eq!(info(&mut client, "master_link_down_since_seconds"), "-1");
}

/// With two channels: what a replica does not take while its snapshot is loaded stays in the backlog, and others may go on
/// from there.
#[test]
fn the_backlog_keeps_what_a_main_channel_does_not_take() {
    let options = [
        ("dual-channel-replication-enabled", "yes"),
        ("repl-backlog-size", "16kb"),
        ("client-output-buffer-limit", "replica 0 0 0"),
    ];
    let primary = server(&options);
    let slow = server(&[options[0], ("client-output-buffer-limit", "replica 1024 0 0")]);
    let mut client = primary.connect();
    ok(&mut client, "DEBUG POPULATE 1000 key 10");
    ok(&mut client, "CONFIG SET rdb-key-save-delay 50000");
    follow(&slow, &primary);
    until("its main channel is up", &[&primary, &slow], || {
        client.ask("INFO replication").text().contains("state=bg_transfer")
    });
    let value = "x".repeat(100_000);
    until("something stays", &[&primary, &slow], || {
        ok(&mut client, &format!("SET big {value}"));
        number(&mut client, "repl_backlog_histlen") > 3_000_000
    });
    assert_eq!(number(&mut client, "sync_full"), 1);
    ok(&mut slow.connect(), "REPLICAOF NO ONE");
    until("it is given up", &[&primary], || number(&mut client, "repl_backlog_histlen") < 300_000);
}

/// While one replica still has to get an old part of the stream, others may go on from there, too; it is kept once, and
/// no longer than it is wanted.
#[test]
fn the_backlog_keeps_what_a_replica_still_has_to_get() {
    let options = [("repl-backlog-size", "16kb"), ("client-output-buffer-limit", "replica 0 0 0")];
    let primary = server(&options);
    let (quick, slow) = (server(&[]), server(&[]));
    let mut client = primary.connect();
    follow(&quick, &primary);
    until("the quick one is linked", &[&primary, &quick], || is_linked(&quick));
    ok(&mut client, "DEBUG POPULATE 1000 key 10");
    ok(&mut client, "CONFIG SET rdb-key-save-delay 50000");
    follow(&slow, &primary);
    until("the slow one gets a snapshot", &[&primary, &slow], || {
        info(&mut client, "rdb_bgsave_in_progress") == "1"
            && slow.connect().ask("ROLE").items()[3].text() == "sync"
    });
    let value = "x".repeat(10_000);
    let write = |client: &mut Client, count: usize| {
        for number in 0..count {
            ok(client, &format!("SET big{number} {value}"));
        }
    };
    write(&mut client, 300);
    let kept = number(&mut client, "repl_backlog_histlen");
    assert!(kept > 3_000_000, "{kept} bytes are kept");
    let buffers = number(&mut client, "mem_total_replication_buffers");
    assert!(buffers < 2 * kept, "{buffers} bytes of memory for {kept}");
    assert!(number(&mut client, "mem_clients_slaves") + 100_000 > kept);
    assert!(number(&mut client, "mem_replication_backlog") < 100_000);
    // Nobody but the slow one keeps it long enough for this.
    ok(&mut quick.connect(), &format!("REPLICAOF 127.0.0.1 {}", slow.port));
    write(&mut client, 300);
    follow(&quick, &primary);
    until("the quick one goes on", &[&primary, &quick], || {
        is_linked(&quick)
            && info(&mut quick.connect(), "slave_repl_offset") == info(&mut client, "master_repl_offset")
    });
    assert_eq!(number(&mut client, "sync_partial_ok"), 1);
    assert_eq!(number(&mut client, "sync_full"), 2);
    ok(&mut slow.connect(), "REPLICAOF NO ONE");
    until("it is given up", &[&primary], || number(&mut client, "repl_backlog_histlen") < 100_000);
    assert_eq!(quick.connect().ask("GET big299").text(), value);
}

/// `repl-timeout` may be set to less for a replica that takes nothing already.
#[test]
fn a_replica_that_takes_nothing_is_given_up() {
    let mut primary = server(&[]);
    let replica = server(&[("repl-diskless-load", "swapdb")]);
    let mut client = primary.connect();
    ok(&mut client, "DEBUG POPULATE 4000 key 10000");
    ok(&mut replica.connect(), "CONFIG SET key-load-delay 100000");
    follow(&replica, &primary);
    until("the snapshot is under way", &[&primary, &replica], || {
        info(&mut client, "rdb_bgsave_in_progress") == "1"
    });
    replica.signal("STOP");
    ok(&mut client, "CONFIG SET repl-timeout 1");
    primary.wait_for_log("Disconnecting timedout replica (full sync): ");
    replica.signal("CONT");
    until("the snapshot is given up", &[&primary], || info(&mut client, "rdb_bgsave_in_progress") == "0");
}

#[test]
fn a_transaction_sees_the_role_it_has_taken() {
    let (primary, replica) = (server(&[]), server(&[]));
    let mut client = replica.connect();
    ok(&mut client, "MULTI");
    for line in [&format!("REPLICAOF 127.0.0.1 {}", primary.port), "INFO replication", "ROLE"] {
        assert_eq!(client.ask(line).text(), "QUEUED");
    }
    let replies = client.ask("EXEC");
    let text = replies.items()[1].text();
    for line in
        ["role:slave\r\n", "master_link_status:down\r\n", &format!("master_port:{}\r\n", primary.port)]
    {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
    assert_eq!(replies.items()[2].items()[0].text(), "slave");
    assert_eq!(replies.items()[2].items()[3].text(), "connect");
    until("the link comes up", &[&primary, &replica], || is_linked(&replica));
}

/// DEBUG SLEEP: nobody hears of the server meanwhile, so those who follow it lose patience.
#[test]
fn a_sleeping_primary_is_silent() {
    let primary = server(&[("repl-diskless-sync-delay", "1000")]);
    let mut replica = server(&[("repl-timeout", "1")]);
    follow(&replica, &primary);
    until("the replica waits for its snapshot", &[&primary, &replica], || {
        primary.connect().ask("INFO replication").text().contains("state=wait_bgsave")
    });
    let asleep = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| primary.connect().ask("DEBUG SLEEP 4").text());
        replica.wait_for_log("Timeout connecting to the PRIMARY");
        sleeper.join()
    });
    assert_eq!(asleep.expect("no panic"), "OK");
}

/// The state letter of a process.
fn state(server: &Server) -> char {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id())).unwrap_or_default();
    text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

/// DEBUG PAUSE-AFTER-FORK stops the process where one that forks would stop: a primary when the snapshot is on its way by
/// itself, a replica before it asks for the stream.
#[test]
fn processes_pause_in_the_middle_of_a_synchronization() {
    let two_channels = [("dual-channel-replication-enabled", "yes")];
    let (primary, mut replica) = (server(&two_channels), server(&two_channels));
    ok(&mut primary.connect(), "SET key value");
    ok(&mut primary.connect(), "DEBUG PAUSE-AFTER-FORK 1");
    follow(&replica, &primary);
    replica.wait_for_log("Done loading RDB");
    until("the primary stops itself", &[&primary, &replica], || state(&primary) == 'T');
    assert!(!is_linked(&replica));
    primary.signal("CONT");
    until("the replica is linked", &[&primary, &replica], || is_linked(&replica));
    replica.wait_for_log("Dual channel replication: Psync established after rdb load");
    ok(&mut primary.connect(), "DEBUG PAUSE-AFTER-FORK 0");
    ok(&mut replica.connect(), "REPLICAOF NO ONE");
    ok(&mut replica.connect(), "DEBUG PAUSE-AFTER-FORK 1");
    follow(&replica, &primary);
    until("the replica stops itself", &[&primary, &replica], || state(&replica) == 'T');
    until("the primary waits for it", &[&primary, &replica], || {
        let text = primary.connect().ask("INFO replication").text();
        text.contains("replicas_waiting_psync:1") && !text.contains("main-channel")
    });
    replica.signal("CONT");
    until("the replica is linked again", &[&primary, &replica], || is_linked(&replica));
    assert_eq!(replica.connect().ask("GET key").text(), "value");
}

/// With two channels: a snapshot that fails takes the place of its replicas in the stream with it, however long that is
/// kept for those that have their snapshot.
#[test]
fn a_failed_snapshot_ends_the_wait_for_the_main_channel() {
    let two_channels = [("dual-channel-replication-enabled", "yes")];
    let (primary, replica) = (server(&two_channels), server(&two_channels));
    let mut client = primary.connect();
    ok(&mut client, "DEBUG POPULATE 1000 key 10");
    ok(&mut client, "CONFIG SET rdb-key-save-delay 50000");
    ok(&mut client, "DEBUG DELAY-RDB-CLIENT-FREE-SECONDS 1000");
    ok(&mut replica.connect(), "DEBUG PAUSE-AFTER-FORK 1");
    follow(&replica, &primary);
    until("the replica stops itself", &[&primary, &replica], || state(&replica) == 'T');
    assert_eq!(info(&mut client, "replicas_waiting_psync"), "1");
    let clients = client.ask("CLIENT LIST").text();
    let channel = clients.lines().find(|line| line.contains(" cmd=sync ")).expect("the channel is listed");
    let id = channel.split(' ').find_map(|field| field.strip_prefix("id=")).expect("it has an id").to_owned();
    assert_eq!(client.ask(&format!("CLIENT KILL ID {id}")).integer(), Some(1));
    until("nothing is kept", &[&primary], || info(&mut client, "replicas_waiting_psync") == "0");
    let refusal = client.ask(&format!("REPLCONF SET-RDB-CLIENT-ID {id}"));
    assert_eq!(refusal, Value::Error(format!("ERR Unrecognized RDB client id {id}").into_bytes()));
    ok(&mut client, "CONFIG SET rdb-key-save-delay 0");
    until("the replica has asked again", &[&primary], || {
        // It stops itself each time.
        replica.signal("CONT");
        info(&mut client, "slave0").contains("state=online")
    });
}

/// What was received as a file is the base of the append-only file at once.
#[test]
fn a_received_file_is_the_base_of_the_append_only_file() {
    let primary = server(&[("repl-diskless-sync", "no")]);
    let mut replica =
        server(&[("repl-diskless-load", "disabled"), ("appendonly", "yes"), ("appendfsync", "always")]);
    let mut client = primary.connect();
    ok(&mut replica.connect(), "SET former data");
    ok(&mut client, "DEBUG POPULATE 100");
    follow(&replica, &primary);
    replica.wait_for_log("Reused RDB file from primary sync as AOF base file: appendonly.aof.2.base.rdb");
    until("the link comes up", &[&primary, &replica], || is_linked(&replica));
    ok(&mut client, "SET after synchronization");
    until("it arrives", &[&primary, &replica], || {
        replica.connect().ask("GET after").text() == "synchronization"
    });
    ok(&mut replica.connect(), "REPLICAOF NO ONE");
    ok(&mut replica.connect(), "SET more data");
    replica.kill_and_restart();
    let mut client = replica.connect();
    assert_eq!(client.ask("DBSIZE").integer(), Some(102));
    assert_eq!(client.ask("GET more").text(), "data");
    let mut files: Vec<String> = std::fs::read_dir(replica.dir().join("appendonlydir"))
        .expect("the directory")
        .map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]);
}
