//! What outlives a restart: the place in a replication history, what replicas have on their disks, what a shutdown
//! waits for. With a real Valkey on the other end where there is one.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::server::{Launch, Server, TempDir, free_port, reference_binary};

const PATIENCE: Duration = Duration::from_secs(20);

fn text(client: &mut Client, request: &str) -> String {
    match client.ask(request) {
        Value::Error(text) | Value::BulkError(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Array(parts) => parts.into_iter().map(|p| p.integer().unwrap_or(-1).to_string()).collect(),
        other => other.text(),
    }
}

fn info(server: &Server, field: &str) -> String {
    let all = text(&mut server.connect(), "INFO everything");
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().trim_end().to_owned()
}

fn until(what: &str, servers: &[&Server], mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            let logs: Vec<String> =
                servers.iter().map(|s| format!("--- {}:\n{}", s.label, s.log_tail())).collect();
            panic!("not in time: {what}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn follow(replica: &Server, primary: &Server) {
    let answer = replica.connect().ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    assert_eq!(answer.text(), "OK");
    until("the link comes up", &[replica, primary], || info(replica, "master_link_status") == "up");
}

fn caught_up(primary: &Server, replica: &Server) {
    until("the replica has everything", &[replica, primary], || {
        let end = info(primary, "master_repl_offset");
        info(replica, "master_link_status") == "up"
            && info(replica, "master_repl_offset") == end
            && info(primary, "slave0").contains(&format!(",offset={end},"))
    });
}

fn same(a: &Server, b: &Server) {
    caught_up(a, b);
    assert_eq!(text(&mut a.connect(), "DEBUG DIGEST"), text(&mut b.connect(), "DEBUG DIGEST"));
}

fn again(launch: &Launch, port: u16) -> Server {
    let mut server = launch.spawn(port);
    assert!(server.wait_until_ready(), "{}", server.log());
    server
}

/// Keeps its data in `directory` and saves them at the end.
fn saved(launch: Launch, directory: &Path) -> Launch {
    launch
        .option("dir", &directory.display().to_string())
        .option("save", "3600 1")
        .option("repl-diskless-sync-delay", "0")
        .option("repl-ping-replica-period", "3600")
}

/// A primary and then its replica are started again: both times the stream goes on where it was, also past keys that
/// had expired when the file was loaded.
fn goes_on(primary: impl Fn() -> Launch, replica: impl Fn() -> Launch) {
    let (of_primary, of_replica) = (TempDir::new(), TempDir::new());
    let (primary, replica) = (saved(primary(), of_primary.path()), saved(replica(), of_replica.path()));
    let (mut first, mut second) = (primary.start(), replica.start());
    let (port, port_of_replica) = (first.port, second.port);
    follow(&second, &first);
    let mut client = first.connect();
    for line in
        ["SET a 1", "SELECT 3", "RPUSH l a b c", "SELECT 9", "DEBUG SET-ACTIVE-EXPIRE 0", "SET gone 1 PX 1"]
    {
        client.ask(line);
    }
    std::thread::sleep(Duration::from_millis(5));
    caught_up(&first, &second);
    let (name, end) = (info(&first, "master_replid"), info(&first, "master_repl_offset"));
    client.send(&[b"SHUTDOWN".to_vec(), b"NOW".to_vec()]);
    first.wait_for_exit();
    first = again(&primary, port);
    until("the link comes up again", &[&first, &second], || info(&second, "master_link_status") == "up");
    assert_eq!(info(&first, "master_replid2"), name);
    assert_eq!(info(&first, "second_repl_offset"), (end.parse::<i64>().expect("a number") + 1).to_string());
    assert_eq!((info(&first, "sync_partial_ok"), info(&first, "sync_full")), ("1".into(), "0".into()));
    assert_eq!(info(&first, "rdb_last_load_keys_expired"), "1");
    first.connect().ask("SET b 2");
    same(&first, &second);
    // The replica ends, misses something, and starts with its own file.
    second.connect().send(&[b"SHUTDOWN".to_vec()]);
    second.wait_for_exit();
    first.connect().ask("SET c 3");
    let replica = replica.option("replicaof", &format!("127.0.0.1 {port}"));
    second = again(&replica, port_of_replica);
    same(&first, &second);
    assert_eq!((info(&first, "sync_partial_ok"), info(&first, "sync_full")), ("2".into(), "0".into()));
}

#[test]
fn streams_go_on_after_restarts() {
    goes_on(|| Launch::skuld(1), || Launch::skuld(2));
}

#[test]
fn streams_go_on_after_restarts_with_valkey_as_replica() {
    let Some(reference) = reference_binary("restarts") else { return };
    goes_on(|| Launch::skuld(2), || Launch::reference(&reference));
}

#[test]
fn streams_go_on_after_restarts_with_valkey_as_primary() {
    let Some(reference) = reference_binary("restarts") else { return };
    goes_on(|| Launch::reference(&reference), || Launch::skuld(1));
}

#[test]
fn what_is_on_disks_is_counted_when_it_is_there() {
    let directory = TempDir::new();
    let appending = || Launch::skuld(1).option("appendonly", "yes").option("repl-diskless-sync-delay", "0");
    let primary = appending().option("appendfsync", "no").start();
    let replica =
        appending().option("appendfsync", "always").option("dir", &directory.path().display().to_string());
    let mut follower = replica.start();
    let mut client = primary.connect();
    client.ask("INCR n");
    assert_eq!(text(&mut client, "WAITAOF 1 0 50"), "00", "nobody has asked the disk yet");
    client.ask("CONFIG SET appendfsync always");
    assert_eq!(text(&mut client, "WAITAOF 1 0 5000"), "10");
    follow(&follower, &primary);
    client.ask("INCR n");
    assert_eq!(text(&mut client, "WAITAOF 1 1 5000"), "11");
    follower.connect().ask("CONFIG SET appendfsync no");
    client.ask("INCR n");
    assert_eq!(text(&mut client, "WAITAOF 0 1 50"), "10");
    follower.connect().ask("CONFIG SET appendfsync always");
    assert_eq!(text(&mut client, "WAITAOF 1 1 5000"), "11");
    // What the replica has on its disk is the primary's data, and not what it had before.
    let digest = text(&mut client, "DEBUG DIGEST");
    follower.signal("KILL");
    follower.wait_for_exit();
    let alone = replica.start();
    assert_eq!(text(&mut alone.connect(), "DEBUG DIGEST"), digest);
    // Who waits for a file that is given up is told so.
    client.ask("CONFIG SET appendfsync no");
    client.ask("INCR n");
    let mut waiting = primary.connect();
    waiting.ask("INCR n");
    waiting.send(&["WAITAOF", "1", "0", "0"].map(|w| w.as_bytes().to_vec()));
    until("the client waits", &[&primary], || info(&primary, "blocked_clients") == "1");
    client.ask("CONFIG SET appendonly no");
    let reply = waiting.read_reply().expect("an answer");
    assert!(
        reply
            .raw
            .starts_with(b"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
        "{:?}",
        String::from_utf8_lossy(&reply.raw)
    );
}

#[test]
fn a_shutdown_waits_for_replicas_and_can_be_called_off() {
    let primary = Launch::skuld(2).option("repl-diskless-sync-delay", "0");
    let replica = Launch::skuld(1).start();
    let port = free_port();
    let mut server = again(&primary, port);
    follow(&replica, &server);
    replica.signal("STOP");
    let mut client = server.connect();
    client.ask("INCR n");
    let mut asking: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut asking {
        client.send(&[b"SHUTDOWN".to_vec()]);
    }
    until("both wait", &[&server], || {
        info(&server, "blocked_clients") == "2"
            && info(&server, "shutdown_in_milliseconds").parse::<i64>().is_ok_and(|left| left > 0)
    });
    assert_eq!(text(&mut client, "SHUTDOWN ABORT"), "OK");
    for client in &mut asking {
        let reply = client.read_reply().expect("an answer");
        assert_eq!(String::from_utf8_lossy(&reply.raw), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    }
    assert!(server.log().contains("Shutdown manually aborted"), "{}", server.log_tail());
    assert_eq!(text(&mut client, "INCR n"), "2");
    asking[0].send(&[b"SHUTDOWN".to_vec()]);
    until("it waits", &[&server], || info(&server, "blocked_clients") == "1");
    replica.signal("CONT");
    server.wait_for_exit();
    assert!(
        server.log().contains("1 of 1 replicas are in sync when shutting down."),
        "{}",
        server.log_tail()
    );
    assert_eq!(text(&mut replica.connect(), "GET n"), "2");
}

/// A snapshot that cannot be taken to its end leaves nothing that the replica would go on from as if it had its data.
#[test]
fn a_cut_synchronization_is_not_gone_on_from() {
    let primary = Launch::skuld(1).option("repl-diskless-sync-delay", "0").start();
    let replica = Launch::skuld(1).option("repl-diskless-load", "flush-before-load").start();
    let mut client = primary.connect();
    client.ask("DEBUG POPULATE 500 key 1000");
    follow(&replica, &primary);
    client.ask("CONFIG SET rdb-key-save-delay 2000");
    // Its own history is the primary's, but it must take everything anew.
    client.ask("CONFIG SET repl-backlog-size 16384");
    for line in ["MULTI", "CLIENT KILL TYPE replica"] {
        client.ask(line);
    }
    for n in 0..80 {
        client.ask(&format!("SET fill:{n} {}", "x".repeat(1000)));
    }
    client.ask("EXEC");
    until("the replica loads", &[&replica, &primary], || info(&replica, "loading") == "1");
    client.ask("CONFIG SET repl-backlog-size 100mb");
    client.ask("CLIENT KILL TYPE replica");
    client.ask("CONFIG SET rdb-key-save-delay 0");
    same(&primary, &replica);
}
