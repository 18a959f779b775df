//! What clients can do beside single commands on keys: server commands inside transactions, MONITOR, what CLIENT LIST shows
//! of a transaction, and clients that are evicted because they take too much memory.

mod support;

use std::time::{Duration, Instant};

use support::client::{Client, encode};
use support::parity::Pair;
use support::server::{Launch, Server, reference_binary};
use support::text::words;
use support::transcript::compare;

#[test]
fn server_commands_inside_a_transaction_do_what_they_do_in_the_reference() {
    compare(
        "server commands inside a transaction",
        "a: MULTI; CONFIG SET maxmemory-samples 7; CONFIG GET maxmemory-samples; SET k v; CLIENT SETNAME x; CLIENT GETNAME; EXEC
         a: MULTI; INFO keyspace; INCR s; INFO keyspace; CONFIG SET nosuch 1; CONFIG GET maxmemory-clients; EXEC
         a: MULTI; CLIENT KILL ID 9999; CLIENT NO-EVICT ON; CLIENT NO-TOUCH ON; CLIENT UNBLOCK 99; EXEC
         a: MULTI; SLOWLOG LEN; LATENCY RESET; COMMANDLOG LEN SLOW; DEBUG SLEEP 0; CLIENT UNPAUSE; MEMORY PURGE; EXEC
         a: MULTI; CLIENT REPLY ON; SET k w; EXEC
         a: GET k
         a: CONFIG RESETSTAT
         a: MULTI; SET k v; INCR k; LPUSH k v; CONFIG SET nosuch 1; EXEC
         a: INFO errorstats
         a: MULTI; MONITOR; SUBSCRIBE x; EXEC
         a: UNSUBSCRIBE x
         a: MULTI; CONFIG SET notify-keyspace-events KEA; EXEC
         a: MULTI; CONFIG SET list-max-listpack-size 1; RPUSH l a b; OBJECT ENCODING l; EXEC
         a: MULTI; CONFIG SET maxmemory 1; SET big x; CONFIG SET maxmemory 0; EXEC",
    );
}

/// As in the reference, the rest of the transaction runs, and its replies are dropped.
#[test]
fn a_client_that_kills_itself_inside_a_transaction_hears_no_more() {
    let server = Launch::skuld(3).start();
    let mut client = server.connect();
    let id = client.ask("CLIENT ID").integer().expect("an id");
    client.ask("MULTI");
    for line in [&format!("CLIENT KILL ID {id} SKIPME no"), "PING", "SET k v"] {
        client.ask(line);
    }
    client.send_raw(&encode(&words("EXEC")));
    assert_eq!(client.read_to_close().expect("closed"), b"*3\r\n:1\r\n");
    assert_eq!(server.connect().ask("GET k").text(), "v");
}

/// The lines that a monitoring client gets for `script`, with times and ports left out.
fn monitored(server: &Server, script: &[&str]) -> Vec<String> {
    let mut monitor = server.connect();
    assert_eq!(monitor.ask("MONITOR").text(), "OK");
    let mut client = server.connect();
    for line in script {
        let bytes: Vec<u8> = line.split("; ").flat_map(|c| encode(&words(c))).collect();
        client.send_raw(&bytes);
        client.send_raw(&encode(&words("PING fence")));
        while !String::from_utf8_lossy(&client.read_frame().expect("a reply").raw).contains("fence") {}
    }
    client.ask("PING the-end");
    let mut lines = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&monitor.read_frame().expect("a line").raw).into_owned();
        if line.contains("the-end") {
            return lines;
        }
        if line.contains("fence") {
            continue;
        }
        let (head, rest) = line.split_once(' ').expect("a time");
        let (seconds, micros) = head.strip_prefix('+').and_then(|t| t.split_once('.')).expect("a fraction");
        assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6, "{head}");
        let (place, words) = rest.split_once("] ").expect("an address");
        let (db, address) = place.strip_prefix('[').and_then(|p| p.split_once(' ')).expect("a database");
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        lines.push(format!("[{db} {host}] {}", words.trim_end()));
    }
}

#[test]
fn monitors_see_what_monitors_of_the_reference_see() {
    let script = [
        "SET k v",
        "SELECT 3",
        "MULTI; SET a 1; INCR a; EXEC",
        "MULTI; SET a 1; NOSUCH; EXEC",
        "MULTI; SET a 1; DISCARD",
        "WATCH a; MULTI; CONFIG GET port; CLIENT ID; EXEC",
        "AUTH secret",
        "HELLO 3 AUTH default secret",
        "CONFIG GET port; CLIENT LIST; DEBUG SLEEP 0",
        "CLIENT SETNAME x; INFO server; PUBLISH c x; COMMAND COUNT",
        "GET \"a\\\"b\\\\c\\n\\r\\t\\x01\\xff\"",
        "INCR k; GET; LPUSH k",
        "BLPOP q 0.01",
        "RPUSH q 1; BLPOP q 0",
        "MULTI; BLPOP q 0; EXEC",
        "EVAL \"return redis.call('set',KEYS[1],ARGV[1])\" 1 k v; MULTI; EVAL \"return redis.call('get','k')\" 1 k; EXEC",
        "RESET",
        "SUBSCRIBE c; UNSUBSCRIBE c",
    ];
    let Some(binary) = reference_binary("MONITOR") else { return };
    let theirs = monitored(&Launch::reference(&binary).start(), &script);
    for workers in [1, 3] {
        let ours = monitored(&Launch::skuld(workers).start(), &script);
        assert_eq!(ours, theirs, "with {workers} workers; skuld is left");
    }
}

#[test]
fn monitoring_ends_and_keys_stay_out_of_reach() {
    let server = Launch::skuld(1).start();
    let mut monitor = server.connect();
    monitor.ask("MONITOR");
    let refused = monitor.call(&words("GET k")).expect("a reply").raw;
    assert_eq!(String::from_utf8_lossy(&refused), "-ERR Replica can't interact with the keyspace\r\n");
    let id = monitor.ask("CLIENT ID");
    assert!(id.integer().is_some(), "{id}");
    let mut other = server.connect();
    assert!(other.ask("CLIENT LIST").text().contains(" flags=O "));
    monitor.send_raw(&encode(&words("RESET")));
    while monitor.read_frame().expect("a reply").raw != b"+RESET\r\n" {}
    other.ask("SET k v");
    assert_eq!(monitor.ask("GET k").text(), "v", "an ordinary client again");
}

/// The fields of a client's CLIENT LIST line.
fn field(control: &mut Client, id: i64, name: &str) -> String {
    let line = control.ask(&format!("CLIENT LIST ID {id}")).text();
    let value = line.split(' ').find_map(|f| f.strip_prefix(&format!("{name}=")).map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn transaction_fields(server: &Server) -> Vec<String> {
    let mut client = server.connect();
    let mut control = server.connect();
    let id = client.ask("CLIENT ID").integer().expect("an id");
    let mut seen = Vec::new();
    for line in
        ["PING", "WATCH k1 k2", "UNWATCH", "WATCH k", "MULTI", "SET a bbbbbbbb", "GET a", "EXEC", "RESET"]
    {
        client.ask(line);
        let fields: Vec<String> = ["flags", "multi", "watch", "multi-mem", "cmd", "tot-cmds"]
            .iter()
            .map(|name| format!("{name}={}", field(&mut control, id, name)))
            .collect();
        let info = control.ask("INFO clients").text();
        let counts: Vec<&str> = info
            .lines()
            .filter(|l| l.starts_with("watching_clients") || l.starts_with("total_watched_keys"))
            .collect();
        seen.push(format!("{line}: {} {}", fields.join(" "), counts.join(" ")));
    }
    seen
}

#[test]
fn client_list_shows_transactions_as_the_reference_does() {
    let Some(binary) = reference_binary("CLIENT LIST") else { return };
    let theirs = transaction_fields(&Launch::reference(&binary).start());
    for workers in [1, 3] {
        assert_eq!(transaction_fields(&Launch::skuld(workers).start()), theirs, "{workers} workers");
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn evicted(control: &mut Client) -> u64 {
    let info = control.ask("INFO stats").text();
    let value = info.lines().find_map(|l| l.strip_prefix("evicted_clients:").map(str::to_owned));
    value.and_then(|v| v.trim().parse().ok()).expect("a number")
}

#[test]
fn clients_that_take_most_are_evicted_first() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut control = server.connect();
        control.ask("CLIENT NO-EVICT ON");
        let megabyte = vec![b'x'; 1 << 20];
        // An unfinished argument, a transaction's queue, unread replies, watched keys.
        let mut unfinished = server.connect();
        unfinished.ask("CLIENT SETNAME unfinished");
        unfinished.send_raw(b"*2\r\n$4\r\nPING\r\n$8000000\r\n");
        unfinished.send_raw(&megabyte);
        unfinished.send_raw(&megabyte);
        let mut queueing = server.connect();
        queueing.ask("CLIENT SETNAME queueing");
        queueing.ask("MULTI");
        queueing.call(&[b"PING".to_vec(), megabyte.clone()]).expect("queued");
        let mut small = server.connect();
        small.ask("CLIENT SETNAME small");
        wait_for("the buffers show", || {
            let list = control.ask("CLIENT LIST").text();
            let memory = |name: &str| {
                let line =
                    list.lines().find(|l| l.contains(&format!(" name={name} "))).expect("listed").to_owned();
                line.split(' ').find_map(|f| f.strip_prefix("tot-mem=").map(str::to_owned)).expect("a figure")
            };
            memory("unfinished").parse::<u64>().is_ok_and(|n| n > 2 << 20)
                && memory("queueing").parse::<u64>().is_ok_and(|n| n > 1 << 20)
        });
        assert_eq!(evicted(&mut control), 0);
        control.ask("CONFIG SET maxmemory-clients 2mb");
        unfinished.read_to_close().expect("evicted");
        assert_eq!(evicted(&mut control), 1);
        control.ask("CONFIG SET maxmemory-clients 1mb");
        queueing.read_to_close().expect("evicted");
        assert_eq!(evicted(&mut control), 2);
        assert_eq!(small.ask("PING").text(), "PONG");
        // One that grows while the limit is there.
        let mut growing = server.connect();
        growing.send_raw(b"*2\r\n$4\r\nPING\r\n$8000000\r\n");
        growing.send_raw(&megabyte);
        growing.send_raw(&megabyte);
        growing.read_to_close().expect("evicted");
        assert_eq!(evicted(&mut control), 3);
        assert!(server.log().contains("Evicting client: id="), "{}", server.log_tail());
        // A share of maxmemory; protected clients stay.
        control.ask("CONFIG SET maxmemory 100mb");
        control.ask("CONFIG SET maxmemory-clients 1%");
        small.ask("CLIENT NO-EVICT ON");
        small.ask("MULTI");
        small.call(&[b"PING".to_vec(), [&megabyte[..], &megabyte[..]].concat()]).expect("queued");
        assert_eq!(small.ask("DISCARD").text(), "OK");
        assert_eq!(evicted(&mut control), 3);
    }
}

#[test]
fn what_a_blocked_client_sends_is_limited_and_its_end_is_seen() {
    let server = Launch::skuld(1).option("client-query-buffer-limit", "1mb").start();
    let mut control = server.connect();
    let mut client = server.connect();
    client.send_raw(&encode(&words("BLPOP k 0")));
    wait_for("blocked", || control.ask("CLIENT LIST").text().contains(" flags=b "));
    for _ in 0..40 {
        client.send_raw(&encode(&[b"PING".to_vec(), vec![b'x'; 50_000]]));
    }
    client.read_to_close().expect("over the limit");
    assert_eq!(control.ask("RPUSH k v").integer(), Some(1));
    assert_eq!(control.ask("LLEN k").integer(), Some(1));
}

#[test]
fn keys_that_had_expired_when_they_were_watched_may_go_but_not_come_back() {
    compare(
        "watched keys",
        "a: DEBUG SET-ACTIVE-EXPIRE 0; SET k 1 PX 1; DEBUG SLEEP 0.02
         a: WATCH k; DEL k; MULTI; PING; EXEC
         a: SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; GET k; MULTI; PING; EXEC
         a: SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; SET k 2; MULTI; PING; EXEC
         a: SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; GET k; SET k 2; MULTI; PING; EXEC
         a: SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; DEL k; SET k 2; DEL k; MULTI; PING; EXEC
         a: SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; FLUSHDB; MULTI; PING; EXEC
         a: SET k 1 PX 20; WATCH k; DEBUG SLEEP 0.05; MULTI; PING; EXEC
         a: SET k 1 PX 20; WATCH k; DEBUG SLEEP 0.05; GET k; MULTI; PING; EXEC
         a: FLUSHALL; SET k 1 PX 1; DEBUG SLEEP 0.02; WATCH k; SWAPDB 0 1; MULTI; PING; EXEC
         a: FLUSHALL; SET k 1 PX 1; DEBUG SLEEP 0.02; SELECT 1; WATCH k; SWAPDB 0 1; MULTI; PING; EXEC
         a: WATCH k; SWAPDB 0 1; SET k 2; MULTI; PING; EXEC
         a: FLUSHALL; SELECT 0; SET k 1 PX 1; SELECT 1; SET k 2 PX 1; DEBUG SLEEP 0.02; WATCH k; SWAPDB 0 1
         a: SWAPDB 0 1; GET k; MULTI; PING; EXEC
         a: FLUSHALL; SELECT 0; SET k 1 PX 1; SELECT 1; SET k 2; DEBUG SLEEP 0.02; WATCH k; SWAPDB 0 1; MULTI; PING; EXEC
         a: FLUSHALL; SELECT 0; SET k 1; SELECT 1; SET k 2 PX 1; DEBUG SLEEP 0.02; WATCH k; SWAPDB 0 1; MULTI; PING; EXEC
         a: FLUSHALL; SELECT 0; SET k 1 PX 1; DEBUG SLEEP 0.02; SELECT 1; WATCH k; SWAPDB 0 1; SET k 3; MULTI; PING; EXEC",
    );
}

/// Whatever a request changes about the client or the server counts for the next one of the same pipeline: plain commands
/// in a row take a shorter way, which they must leave at once.
#[test]
fn what_one_request_changes_counts_for_the_next_of_its_pipeline() {
    let Some(reference) = reference_binary("pipelines that change their session") else { return };
    let options = [("maxmemory-policy", "allkeys-lru"), ("notify-keyspace-events", "KEA")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pipelines = [
        "SET k 1; GET k; MULTI; GET k; INCR k; EXEC; GET k; INCR k; MULTI; SET k x; DISCARD; GET k",
        "SET k 1; CLIENT REPLY SKIP; SET k 2; GET k; CLIENT REPLY OFF; INCR k; GET k; CLIENT REPLY ON; GET k",
        "SET k a; SELECT 1; GET k; SET k b; SELECT 0; GET k; SWAPDB 0 1; GET k; APPEND k c; FLUSHDB; GET k; STRLEN k",
        "SET k 1; HELLO 3; GET nosuch; SET k 2; GET k; HGETALL nosuch; HELLO 2; GET nosuch; HGETALL nosuch",
        "SET k 1; WATCH k; SET k 2; MULTI; GET k; EXEC; GET k; WATCH k; MULTI; GET k; EXEC",
        "ACL SETUSER someone on nopass ~a* +get +auth; SET a 1; SET b 2; AUTH someone x; GET a; GET b; SET a 3; AUTH default x; GET b",
        "ACL SETUSER default -set; SET a 9; GET a; ACL SETUSER default +set; SET a 10; GET a",
        "SET k 1; SUBSCRIBE ch; GET k; PING; UNSUBSCRIBE ch; GET k; INCR k",
        "SET k 1; CONFIG SET maxmemory 1; CONFIG SET maxmemory-policy noeviction; SET k 2; GET k; CONFIG SET maxmemory 0; SET k 3; GET k",
        "SET k 1; CLIENT TRACKING ON; GET k; CLIENT TRACKING OFF; SET k 2; GET k; CLIENT CAPA redirect; GET k; SET k 3",
        "SET k 1; CONFIG SET slave-read-only no; CONFIG SET min-replicas-to-write 1; SET k 2; GET k; CONFIG SET min-replicas-to-write 0; SET k 3",
        "SET k 1 PX 1; DEBUG SLEEP 0.01; GET k; SET k 1 EX 100; PERSIST k; TTL k; EXPIRE k -1; GET k; GET k extra; GET; NOSUCH k; GET k",
        "LPUSH l a; GET l; LPUSH l b; SADD l x; LRANGE l 0 -1; INCRBY l 1; SET l 5; INCRBY l 1; LPUSH l a; GET l; get l; gEt l",
        "SET k v; CLIENT GETNAME; RESET; GET k; SET k w; CLIENT NO-TOUCH ON; GET k; OBJECT FREQ k; CLIENT NO-EVICT ON; GET k",
        "EVAL return(redis.call('set',KEYS[1],'s')) 1 k; GET k; SCRIPT FLUSH; GET k; XADD x 1-1 f v; XLEN x; TYPE x; DUMP nosuch",
    ];
    for workers in [1, 3] {
        let mut pair = Pair::start(&reference, workers, &options);
        for pipeline in pipelines {
            let bytes: Vec<u8> = pipeline.split("; ").flat_map(|line| encode(&words(line))).collect();
            let mut link = pair.fresh();
            let replies = [&mut link.subject, &mut link.reference].map(|client| {
                client.send_raw(&bytes);
                client.send_raw(&encode(&words("QUIT")));
                String::from_utf8_lossy(&client.read_to_close().expect("closed after QUIT")).into_owned()
            });
            // Numbers of connections are each server's own.
            let [ours, theirs] = replies.map(|text| {
                let mut lines: Vec<&str> = text.split("\r\n").collect();
                let ids: Vec<usize> = (1..lines.len()).filter(|&at| lines[at - 1] == "id").collect();
                ids.into_iter().for_each(|at| lines[at] = ":id");
                lines.join("\r\n")
            });
            assert_eq!(ours, theirs, "with {workers} workers: {pipeline}");
        }
    }
}
