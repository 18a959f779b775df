//! `maxmemory` as clients meet it: refusal and eviction. Spec page key-lifetime.md, section 5.

mod support;

use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::server::{Launch, Server};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
/// Bytes of a test value.
const VALUE: usize = 20_000;

fn for_each_worker_count(test: impl Fn(&Server, &mut Client)) {
    for workers in [1, 3] {
        println!("{workers} workers");
        let server = Launch::skuld(workers).option("enable-debug-command", "yes").option("save", "").start();
        let mut client = server.connect();
        test(&server, &mut client);
    }
}

fn text(client: &mut Client, request: &str) -> String {
    match client.ask(request) {
        Value::Error(line) => String::from_utf8_lossy(&line).into_owned(),
        other => other.text(),
    }
}

fn ok(client: &mut Client, request: &str) {
    assert_eq!(text(client, request), "OK", "{request}");
}

fn field(client: &mut Client, name: &str) -> u64 {
    let all = text(client, "INFO everything");
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {all}"))
}

fn keys(client: &mut Client) -> i64 {
    client.ask("DBSIZE").integer().expect("a number")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a command that may need memory is refused; this one needs none.
fn refuses(client: &mut Client) -> bool {
    client.send(&[b"SETRANGE".to_vec(), b"x".to_vec(), b"0".to_vec(), Vec::new()]);
    matches!(client.read_reply(), Ok(frame) if frame.value == Value::Error(OOM.into()))
}

fn fill(client: &mut Client, prefix: &str, count: usize, rest: &str) {
    let value = "v".repeat(VALUE);
    (0..count).for_each(|i| ok(client, &format!("SET {prefix}{i} {value}{rest}")));
}

/// Sets the limit so that about `bytes` more are used than allowed.
fn exceed(client: &mut Client, bytes: u64) {
    let limit = field(client, "used_memory") - bytes;
    ok(client, &format!("CONFIG SET maxmemory {limit}"));
}

#[test]
fn without_a_policy_writes_are_refused_and_the_rest_goes_on() {
    for_each_worker_count(|_, client| {
        ok(client, "SET k 1");
        ok(client, "CONFIG SET maxmemory 1");
        for refused in ["SET k 2", "INCR k", "LPUSH l 1", "SADD s 1", "MSET a 1 b 2 c 3", "SORT l"] {
            assert_eq!(text(client, refused), OOM, "{refused}");
        }
        assert_eq!(text(client, "GET k"), "1");
        assert_eq!(client.ask("EXPIRE k 100").integer(), Some(1));
        assert_eq!(client.ask("DEL k").integer(), Some(1));
        assert_eq!(field(client, "evicted_keys"), 0);
        wait_until("the time is counted", || field(client, "current_eviction_exceeded_time") > 0);
        ok(client, "CONFIG SET maxmemory 0");
        ok(client, "SET k 2");
        wait_until("the time is over", || field(client, "current_eviction_exceeded_time") == 0);
        assert!(field(client, "total_eviction_exceeded_time") > 0);
    });
}

#[test]
fn a_transaction_is_refused_when_queued_or_when_run() {
    for_each_worker_count(|server, client| {
        let mut admin = server.connect();
        ok(client, "MULTI");
        assert_eq!(text(client, "SET k 1"), "QUEUED");
        ok(&mut admin, "CONFIG SET maxmemory 1");
        assert_eq!(text(client, "EXEC"), format!("EXECABORT Transaction discarded because of: {OOM}"));
        ok(client, "MULTI");
        assert_eq!(text(client, "SET k 1"), OOM);
        assert_eq!(text(client, "EXEC"), "EXECABORT Transaction discarded because of previous errors.");
        ok(client, "MULTI");
        assert_eq!(text(client, "GET k"), "QUEUED");
        assert_eq!(client.ask("EXEC").items().len(), 1);
    });
}

#[test]
fn volatile_policies_refuse_without_volatile_keys() {
    for_each_worker_count(|_, client| {
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            ok(client, &format!("CONFIG SET maxmemory 0 maxmemory-policy {policy}"));
            fill(client, "k", 10, "");
            ok(client, "CONFIG SET maxmemory 1");
            wait_until("commands are refused", || refuses(client));
            assert_eq!(keys(client), 10, "{policy}");
            ok(client, "CONFIG SET maxmemory 0");
            ok(client, "SET volatile 1 EX 1000");
            ok(client, "CONFIG SET maxmemory 1");
            wait_until("the volatile key is evicted", || keys(client) == 10);
            ok(client, "CONFIG SET maxmemory 0");
            ok(client, "FLUSHALL");
        }
        assert_eq!(field(client, "evicted_keys"), 4);
    });
}

#[test]
fn allkeys_policies_evict_what_is_needed_and_everything_if_it_is_not_enough() {
    for_each_worker_count(|_, client| {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            ok(client, &format!("CONFIG SET maxmemory 0 maxmemory-policy {policy}"));
            fill(client, "k", 100, "");
            exceed(client, 10 * VALUE as u64);
            wait_until("there is room", || field(client, "current_eviction_exceeded_time") == 0);
            wait_until("keys are evicted", || keys(client) < 100);
            assert!((70..=92).contains(&keys(client)), "{policy}: {} keys", keys(client));
            // Further keys take the place of others.
            fill(client, "more", 100, "");
            wait_until("there is room again", || keys(client) < 100);
            ok(client, "CONFIG SET maxmemory 1");
            wait_until("commands are refused", || refuses(client));
            assert_eq!(keys(client), 0, "{policy}");
        }
    });
}

/// What INFO says right after a write that made room is what the write left behind, not what telling it takes.
#[test]
fn info_tells_of_no_more_than_the_limit() {
    const TOLERANCE: u64 = 4096;
    for_each_worker_count(|_, client| {
        let limit = field(client, "used_memory") + 400 * 1024;
        ok(client, &format!("CONFIG SET maxmemory {limit} maxmemory-policy allkeys-lru"));
        for n in 0..4000 {
            ok(client, &format!("SETEX key:{n} 10000 x"));
        }
        assert!(keys(client) < 4000);
        for sections in ["", "memory", "everything"] {
            // What other threads do at that moment may be in it; what INFO takes itself always is.
            let told: Vec<u64> = (0..5)
                .map(|n| {
                    ok(client, &format!("SETEX more:{n} 10000 x"));
                    let all = text(client, &format!("INFO {sections}"));
                    let used =
                        all.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it is there");
                    used.trim().parse().expect("a number")
                })
                .collect();
            let fit = told.iter().filter(|used| **used < limit + TOLERANCE).count();
            assert!(fit >= 2, "INFO {sections}: {told:?}, limit {limit}");
        }
    });
}

#[test]
fn eviction_begins_without_a_command_and_takes_what_expires_first() {
    for_each_worker_count(|_, client| {
        ok(client, "CONFIG SET maxmemory-policy volatile-ttl maxmemory-samples 64");
        fill(client, "late", 60, " EX 100000");
        fill(client, "soon", 40, " EX 1000");
        fill(client, "never", 10, "");
        exceed(client, 10 * VALUE as u64);
        // INFO runs on no shard.
        wait_until("keys are evicted", || field(client, "evicted_keys") >= 9);
        wait_until("there is room", || field(client, "current_eviction_exceeded_time") == 0);
        let evicted = field(client, "evicted_keys") as i64;
        assert_eq!(keys(client), 110 - evicted);
        let left = |client: &mut Client, what: &str| client.ask(&format!("KEYS {what}*")).items().len();
        assert_eq!((left(client, "never"), left(client, "late")), (10, 60));
    });
}

#[test]
fn an_evicted_key_that_is_watched_aborts_the_transaction() {
    for_each_worker_count(|server, client| {
        let mut admin = server.connect();
        ok(&mut admin, "CONFIG SET maxmemory-policy allkeys-random");
        ok(client, "SET k 1");
        ok(client, "WATCH k");
        ok(client, "MULTI");
        assert_eq!(text(client, "PING"), "QUEUED");
        ok(&mut admin, "CONFIG SET maxmemory 1");
        wait_until("the key is evicted", || field(&mut admin, "evicted_keys") == 1);
        ok(&mut admin, "CONFIG SET maxmemory 0");
        assert!(matches!(client.ask("EXEC"), Value::NullArray));
    });
}

#[test]
fn import_mode_refuses_instead_of_evicting() {
    for_each_worker_count(|_, client| {
        ok(client, "CONFIG SET maxmemory-policy allkeys-lru import-mode yes");
        fill(client, "k", 10, "");
        ok(client, "CONFIG SET maxmemory 1");
        assert_eq!(text(client, "SET x 1"), OOM);
        assert_eq!(keys(client), 10);
        ok(client, "CONFIG SET import-mode no");
        wait_until("eviction goes on", || keys(client) == 0);
    });
}

#[test]
fn frequency_counts_uses_that_are_uses() {
    for_each_worker_count(|_, client| {
        ok(client, "CONFIG SET maxmemory-policy allkeys-lfu lfu-decay-time 0");
        ok(client, "SET k 1");
        for quiet in ["EXISTS k", "TTL k", "TYPE k", "OBJECT ENCODING k"] {
            (0..50).for_each(|_| drop(client.ask(quiet)));
            assert_eq!(client.ask("OBJECT FREQ k").integer(), Some(5), "{quiet}");
        }
        ok(client, "CLIENT NO-TOUCH ON");
        (0..50).for_each(|_| drop(client.ask("GET k")));
        assert_eq!(client.ask("OBJECT FREQ k").integer(), Some(5));
        assert_eq!(client.ask("TOUCH k").integer(), Some(1));
        assert_eq!(client.ask("OBJECT FREQ k").integer(), Some(6));
        ok(client, "CLIENT NO-TOUCH OFF");
        (0..1000).for_each(|_| drop(client.ask("GET k")));
        let frequency = client.ask("OBJECT FREQ k").integer().expect("a number");
        assert!((12..=32).contains(&frequency), "{frequency}");
    });
}
