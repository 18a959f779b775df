//! Looking inside: traces with their filters, the longest waits, and the admin page.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::server::{Launch, free_port};
use support::text::words;

/// The fields of a reply that is a map, or a flat array in RESP2.
fn fields(value: &Value) -> std::collections::HashMap<String, Value> {
    value.entries().into_iter().map(|(name, value)| (name.text(), value)).collect()
}

/// (receiver, message) of the recorded messages.
fn recorded(client: &mut Client) -> Vec<(String, String)> {
    client
        .ask("ACTOR TRACE GET 10000")
        .items()
        .iter()
        .map(|record| {
            let record = fields(record);
            (record["receiver"].text(), record["message"].text())
        })
        .collect()
}

#[test]
fn a_trace_has_what_its_filters_say() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let mut watcher = server.connect();
        let mut other = server.connect();
        let id = other.ask("CLIENT ID").integer().expect("a number");

        assert_eq!(watcher.ask(&format!("ACTOR TRACE START CLIENT {id} KIND shard")).text(), "OK");
        assert_eq!(watcher.ask("SET of-the-watcher 1").text(), "OK");
        assert_eq!(other.ask("SET of-the-other 1").text(), "OK");
        let seen = recorded(&mut watcher);
        assert!(!seen.is_empty(), "the other's SET is recorded");
        assert!(seen.iter().all(|(receiver, _)| receiver.starts_with("shard:")), "{seen:?}");
        assert!(seen.len() < 4, "one command, at most two shards: {seen:?}");

        // By slot: `foo` lies in slot 12182.
        assert_eq!(watcher.ask("ACTOR TRACE START SLOT 12182 MESSAGE executebatch").text(), "OK");
        assert_eq!(other.ask("SET bar 1").text(), "OK");
        assert!(recorded(&mut watcher).is_empty());
        assert_eq!(other.ask("SET foo 1").text(), "OK");
        let seen = recorded(&mut watcher);
        assert!(!seen.is_empty() && seen.iter().all(|(_, message)| message == "ExecuteBatch"), "{seen:?}");

        assert_eq!(watcher.ask("ACTOR TRACE START SLOWER-THAN 5000000").text(), "OK");
        assert_eq!(other.ask("SET foo 1").text(), "OK");
        assert!(recorded(&mut watcher).is_empty(), "nothing takes five seconds");

        assert_eq!(watcher.ask("ACTOR TRACE STOP").text(), "OK");
        for wrong in ["KIND nobody", "CLIENT x", "SLOT 16384", "SAMPLE", "COLOUR red"] {
            let reply = watcher.ask(&format!("ACTOR TRACE START {wrong}"));
            assert!(reply.is_error(), "{wrong}: {reply}");
        }
    }
}

#[test]
fn every_kind_of_actor_shows_its_state() {
    let bus = free_port().to_string();
    let server = Launch::skuld(2).option("cluster-enabled", "yes").option("cluster-port", &bus).start();
    let mut client = server.connect();
    let id = client.ask("CLIENT ID").integer().expect("a number");
    let connection = format!("connection:{id}");
    for (actor, field) in [
        ("listener", "accepted"),
        (&connection, "bytes-read"),
        ("shard:1", "keys"),
        ("reaper", "pending-bytes"),
        ("evictor", "limit-bytes"),
        ("expiry-scanner", "state"),
        ("replication-log", "offset"),
        ("janitor", "paused"),
        ("snapshotter", "saves"),
        ("gossip", "cluster-state"),
        ("append-only-file", "enabled"),
        ("replica-link", "state"),
    ] {
        let shown = client.ask(&format!("ACTOR INFO {actor}"));
        assert!(fields(&shown).contains_key(field), "{actor}: {shown}");
    }
    for unknown in ["shard:2", "connection:0", "migration-export", "nobody", "reaper:1"] {
        assert!(client.ask(&format!("ACTOR INFO {unknown}")).is_error(), "{unknown}");
    }
}

#[test]
fn a_client_may_record_its_own_requests() {
    let server = Launch::skuld(1).start();
    let mut watcher = server.connect();
    let mut own = server.connect();
    assert_eq!(own.ask("CLIENT TRACE ON").text(), "OK");
    assert_eq!(watcher.ask("SET a 1").text(), "OK");
    assert_eq!(own.ask("SET b 1").text(), "OK");
    let seen = recorded(&mut watcher);
    let batches = seen.iter().filter(|(_, message)| message == "ExecuteBatch").count();
    assert!((1..=2).contains(&batches), "{seen:?}");
    assert_eq!(own.ask("CLIENT TRACE OFF").text(), "OK");
    let before = recorded(&mut watcher).len();
    assert_eq!(own.ask("SET b 2").text(), "OK");
    assert_eq!(recorded(&mut watcher).len(), before);
}

#[test]
fn a_slow_request_is_named_by_those_that_waited_for_it() {
    let server = Launch::skuld(1).option("enable-debug-command", "yes").start();
    let mut slow = server.connect();
    let mut waiting = server.connect();
    assert_eq!(slow.ask("ACTOR SLOW RESET").text(), "OK");
    // A command that cannot be cut: intersecting a set of 200,000 elements with itself many times.
    let members: Vec<String> = (0..200_000).map(|n| n.to_string()).collect();
    for chunk in members.chunks(10_000) {
        slow.ask(&format!("SADD s {}", chunk.join(" ")));
    }
    let sets = vec!["s"; 20].join(" ");
    slow.send(&words(&format!("SINTERSTORE d {sets}")));
    std::thread::sleep(Duration::from_millis(5));
    assert!(!waiting.ask("GET a").is_error());
    slow.read_frame().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let entries = fields(&waiting.ask("ACTOR SLOW 32"));
        let runs = entries["longest-runs"].items();
        let by_name =
            runs.iter().any(|run| fields(run)["longest-command"].text().starts_with("sinterstore "));
        if by_name {
            break;
        }
        assert!(Instant::now() < deadline, "SINTERSTORE is not among the longest runs: {runs:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_dump_is_json_in_the_servers_directory() {
    let server = Launch::skuld(2).start();
    let mut client = server.connect();
    assert_eq!(client.ask("ACTOR TRACE START").text(), "OK");
    assert_eq!(client.ask("MSET a 1 b 2 c 3 d 4").text(), "OK");
    let count = client.ask("ACTOR TRACE DUMP trace.json").integer().expect("a number");
    assert!(count > 0);
    let directory = client.ask("CONFIG GET dir").items()[1].text();
    let text =
        std::fs::read_to_string(std::path::Path::new(&directory).join("trace.json")).expect("the file");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let events = json["traceEvents"].as_array().expect("events");
    for event in events {
        assert!(event["ph"].is_string() && event["pid"].is_number() && event["tid"].is_number(), "{event}");
        match event["ph"].as_str().expect("a string") {
            "X" => assert!(event["ts"].is_number() && event["dur"].is_number() && event["name"].is_string()),
            "s" | "f" => assert!(event["ts"].is_number() && event["id"].is_number()),
            "M" => assert_eq!(event["name"], "thread_name"),
            other => panic!("phase {other}"),
        }
    }
    assert_eq!(events.iter().filter(|e| e["ph"] == "X").count() as i64, count);
    assert!(client.ask("ACTOR TRACE DUMP ../elsewhere.json").is_error());
}

/// One request to the admin page: status and body.
fn get(port: u16, path: &str, header: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the admin page listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

#[test]
fn the_admin_page_answers_health_metrics_and_state() {
    let admin = free_port();
    let server =
        Launch::skuld(2).option("admin-port", &admin.to_string()).option("admin-token", "sesame").start();
    let mut client = server.connect();
    assert_eq!(client.ask("SET a 1").text(), "OK");
    assert_eq!(get(admin, "/healthz", ""), (200, "alive\n".to_owned()));
    assert_eq!(get(admin, "/readyz", ""), (200, "ready\n".to_owned()));
    assert_eq!(get(admin, "/metrics", "").0, 401);
    assert_eq!(get(admin, "/metrics", "Authorization: Bearer sesamf\r\n").0, 401);
    let (status, metrics) = get(admin, "/metrics", "Authorization: Bearer sesame\r\n");
    assert_eq!(status, 200);
    for line in ["redis_up 1", "redis_commands_total{cmd=\"set\"} 1", "redis_db_keys{db=\"db0\"} 1"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(metrics.contains("skuld_message_wait_seconds_count{actor=\"shard\",message=\"ExecuteBatch\"}"));
    let (status, page) = get(admin, "/", "");
    assert!(status == 200 && page.contains("<title>Skuld</title>"));
    let (status, state) = get(admin, "/api/state?token=sesame", "");
    assert_eq!(status, 200);
    let start = state.find('{').expect("JSON");
    let end = state.rfind('}').expect("JSON");
    let state: serde_json::Value = serde_json::from_str(&state[start..=end]).expect("JSON");
    assert_eq!(state["shards"].as_array().map(Vec::len), Some(2));
    assert_eq!(state["info"]["role"], "master");
    assert_eq!(get(admin, "/nothing", "").0, 404);
}
