//! Client-side caching: conversations whose bytes are compared with the reference server, and the order that is promised.

mod support;

use std::time::{Duration, Instant};

use support::client::Client;
use support::server::Launch;
use support::text::words;
use support::transcript::compare;

#[test]
fn options_and_their_errors_are_those_of_the_reference() {
    compare(
        "client tracking",
        "a: CLIENT TRACKINGINFO; CLIENT GETREDIR; CLIENT CACHING YES; CLIENT CACHING FOO
         a: CLIENT TRACKING ON; CLIENT TRACKINGINFO; CLIENT GETREDIR; CLIENT CACHING YES; CLIENT CACHING NO
         a: CLIENT TRACKING OFF; CLIENT TRACKINGINFO; CLIENT GETREDIR
         a: CLIENT REPLY SKIP; HELLO 3
         a: CLIENT TRACKING ON; CLIENT TRACKINGINFO
         a: CLIENT TRACKING ON FOO; CLIENT TRACKING FOO; CLIENT TRACKING; CLIENT TRACKING ON PREFIX a
         a: CLIENT TRACKING ON BCAST; CLIENT TRACKING ON OPTIN; CLIENT TRACKING ON OPTOUT
         a: CLIENT TRACKING OFF
         a: CLIENT TRACKING ON OPTIN OPTOUT; CLIENT TRACKING ON BCAST OPTIN
         a: CLIENT TRACKING ON REDIRECT 999999; CLIENT TRACKING ON REDIRECT x; CLIENT TRACKING ON REDIRECT -1
         a: CLIENT TRACKING ON REDIRECT 0; CLIENT TRACKING ON REDIRECT; CLIENT TRACKING ON PREFIX
         a: CLIENT TRACKINGINFO
         a: CLIENT TRACKING ON BCAST PREFIX ab PREFIX abc
         a: CLIENT TRACKING ON BCAST PREFIX ab PREFIX b
         a: CLIENT TRACKING ON BCAST PREFIX abc
         a: CLIENT TRACKING ON BCAST PREFIX c NOLOOP
         a: CLIENT TRACKINGINFO
         a: CLIENT TRACKING ON
         a: CLIENT TRACKING OFF
         a: CLIENT TRACKING ON BCAST; CLIENT TRACKINGINFO; CLIENT TRACKING ON BCAST PREFIX x; RESET
         a: CLIENT REPLY SKIP; HELLO 3
         a: CLIENT TRACKING ON OPTIN
         a: CLIENT CACHING NO; CLIENT CACHING FOO; CLIENT CACHING YES; CLIENT TRACKINGINFO; PING; CLIENT TRACKINGINFO
         a: RESET
         a: CLIENT TRACKINGINFO",
    );
}

#[test]
fn keys_that_were_read_are_invalidated_as_in_the_reference() {
    compare(
        "client tracking",
        "a: CLIENT REPLY SKIP; HELLO 3
         b: PING
         a: CLIENT TRACKING ON
         a: GET k
         b: SET k 1
         b: SET k 2
         a: GET k; GET k
         b: SET k 3
         a: MGET k k2 k3
         b: MSET k 1 k2 2
         b: DEL k3
         a: MGET k k2 k3
         b: DEL k k2 k3
         a: EXISTS ne
         b: SET ne 1
         a: OBJECT ENCODING ne
         b: SET ne 2
         a: TTL ne
         b: EXPIRE ne 100
         a: DBSIZE; RANDOMKEY
         b: SET ne 3
         a: GETSET gs 1
         b: SET gs 2
         a: GET gs
         b: APPEND gs 2
         a: GET gs
         b: COPY gs gs2
         b: RENAME gs gs3
         a: GET gs3
         b: MOVE gs3 1
         a: GET k
         b: SELECT 1; SET k other; SELECT 0
         a: GET k
         b: FLUSHDB
         a: GET k
         b: SELECT 1; FLUSHDB; SELECT 0
         b: FLUSHALL
         a: GET k
         b: SWAPDB 0 1
         a: CLIENT REPLY OFF; GET w; CLIENT REPLY ON
         b: SET w 1
         a: SUBSCRIBE foo
         a: GET w
         b: SET w 2
         b: PUBLISH foo x
         a: UNSUBSCRIBE
         a: CLIENT REPLY SKIP; HELLO 2
         a: GET k
         b: SET k 1
         a: GET k",
    );
}

#[test]
fn own_writes_come_behind_their_replies() {
    compare(
        "client tracking",
        "a: CLIENT REPLY SKIP; HELLO 3
         b: PING
         a: CLIENT TRACKING ON
         a: GET k; SET k 2; GET k
         a: SET k 3
         a: GET k; MULTI; SET k 2; GET k2; SET k2 4; EXEC
         a: MULTI; GET k; SET k 2; EXEC; GET k
         b: SET k 1
         a: GET k; EVAL \"return redis.call('set', KEYS[1], 1)\" 1 k
         a: EVAL \"return redis.call('get', KEYS[1])\" 1 k
         b: SET k 9
         a: MGET k j; MSET k 1 j 2
         a: GET k
         a: FLUSHALL
         a: CLIENT TRACKING ON NOLOOP
         a: GET k; SET k 5
         b: SET k 6
         a: GET k
         b: SET k 7
         a: CLIENT TRACKING OFF
         a: CLIENT TRACKING ON OPTIN
         a: GET k
         b: SET k 1
         a: CLIENT CACHING YES; GET k; GET k2
         b: SET k 1
         b: SET k2 1
         a: CLIENT CACHING YES; MULTI; GET k; GET k2; EXEC
         b: SET k 1; SET k2 1
         a: MULTI; CLIENT CACHING YES; GET k; GET k2; EXEC
         b: SET k 1; SET k2 1
         a: CLIENT TRACKING OFF; CLIENT TRACKING ON OPTOUT
         a: CLIENT CACHING NO; GET k; GET k2
         b: SET k 1; SET k2 1",
    );
}

#[test]
fn prefixes_are_told_of_every_change() {
    compare(
        "client tracking",
        "a: CLIENT REPLY SKIP; HELLO 3
         b: PING
         a: CLIENT TRACKING ON BCAST
         b: MSET q2 1 q1 2
         b: MULTI; SET q1 1; SET q2 2; EXEC
         b: FLUSHALL
         a: CLIENT TRACKING OFF
         a: CLIENT TRACKING ON BCAST PREFIX x PREFIX y NOLOOP
         b: MSET x1 1 y1 2 z1 3 x0 4
         a: SET x2 1
         b: DEL x2
         a: RESET
         b: SET x1 1",
    );
}

/// Redirection needs the target's id, so that these transcripts cannot be scripts.
#[test]
fn messages_may_go_to_another_client() {
    let server = Launch::skuld(3).start();
    let (mut a, mut b, mut q) = (server.connect(), server.connect(), server.connect());
    let id = q.ask("CLIENT ID").integer().expect("an id");
    q.ask("SUBSCRIBE __redis__:invalidate");
    assert_eq!(a.ask(&format!("CLIENT TRACKING ON REDIRECT {id}")).text(), "OK");
    assert_eq!(a.ask("CLIENT GETREDIR").integer(), Some(id));
    assert!(a.ask("CLIENT INFO").text().contains(&format!(" redir={id} ")));
    assert!(a.ask("CLIENT INFO").text().contains(" flags=t "));
    a.ask("MGET k j");
    b.ask("SET k 1");
    let message =
        |key: &str| format!("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\n{key}\r\n");
    assert_eq!(frame(&mut q), message("k"));
    a.ask("SET j 1");
    assert_eq!(frame(&mut q), message("j"));
    b.ask("FLUSHALL");
    assert_eq!(frame(&mut q), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
    assert!(b.ask("INFO clients").text().contains("tracking_clients:1\r\n"));
    a.ask("GET k");
    assert!(b.ask("INFO stats").text().contains("tracking_total_keys:1\r\n"));
    q.ask("QUIT");
    wait_for(|| !b.ask("CLIENT LIST").text().contains(&format!("id={id} ")));
    b.ask("SET k 2");
    wait_for(|| a.ask("CLIENT INFO").text().contains(" flags=tR "));
    let info = a.call(&words("CLIENT TRACKINGINFO")).expect("a reply");
    assert!(String::from_utf8_lossy(&info.raw).contains("broken_redirect"));
    a.ask("HELLO 3");
    a.ask("GET k");
    b.ask("SET k 3");
    assert_eq!(frame(&mut a), format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
    a.ask("CLIENT TRACKING OFF");
    assert!(b.ask("INFO clients").text().contains("tracking_clients:0\r\n"));
}

#[test]
fn a_table_that_is_too_large_gives_keys_up() {
    let server = Launch::skuld(1).option("tracking-table-max-keys", "2").start();
    let (mut a, mut b) = (server.connect(), server.connect());
    a.ask("HELLO 3");
    a.ask("CLIENT TRACKING ON");
    a.ask("MGET 1 2 3 4");
    for _ in 0..2 {
        assert!(frame(&mut a).starts_with(">2\r\n$10\r\ninvalidate\r\n*1\r\n"));
    }
    let stats = b.ask("INFO stats").text();
    assert!(
        stats.contains("tracking_total_keys:2\r\n") && stats.contains("tracking_total_items:2\r\n"),
        "{stats}"
    );
    drop(a);
    wait_for(|| b.ask("INFO clients").text().contains("tracking_clients:0\r\n"));
}

/// What a caching client must be able to rely on: it keeps a value until it is told, and what it keeps is never older than
/// what it would read. Writers count keys up; the reader checks each reply against what it was told before.
#[test]
fn a_cache_is_never_older_than_a_reply() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).start();
        let keys: Vec<String> = (0..8).map(|n| format!("key{n}")).collect();
        let mut admin = server.connect();
        keys.iter().for_each(|key| drop(admin.ask(&format!("SET {key} 0"))));
        let address = server.address();
        let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (keys, done) = (keys.clone(), done.clone());
                std::thread::spawn(move || {
                    let mut client = Client::connect(address).expect("a connection");
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        for key in &keys {
                            client.call(&words(&format!("INCR {key}"))).expect("a reply");
                        }
                    }
                })
            })
            .collect();
        let mut reader = server.connect();
        reader.ask("HELLO 3");
        reader.ask("CLIENT TRACKING ON");
        let mut cache: Vec<Option<i64>> = vec![None; keys.len()];
        let (mut hits, mut told) = (0, 0);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            // A pipeline of reads: each key twice.
            let order: Vec<usize> = (0..keys.len() * 2).map(|n| n % keys.len()).collect();
            let commands: Vec<_> = order.iter().map(|&n| words(&format!("GET {}", keys[n]))).collect();
            commands.iter().for_each(|command| reader.send(command));
            let mut answered = 0;
            while answered < order.len() {
                let frame = reader.read_frame().expect("a frame");
                if frame.raw.starts_with(b">") {
                    told += 1;
                    let key = frame.value.items()[1].items()[0].text();
                    let at = keys.iter().position(|k| *k == key).expect("one of ours");
                    cache[at] = None;
                    continue;
                }
                let key = order[answered];
                let value: i64 = frame.value.text().parse().expect("a number");
                if let Some(kept) = cache[key] {
                    assert_eq!(kept, value, "{} changed, and nobody told ({workers} workers)", keys[key]);
                    hits += 1;
                }
                cache[key] = Some(value);
                answered += 1;
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        assert!(told > 10 && hits > 0, "{told} told, {hits} kept");
    }
}

#[test]
fn data_that_are_loaded_anew_make_everything_read_stale() {
    compare(
        "client tracking",
        "a: CLIENT REPLY SKIP; HELLO 3
         a: CLIENT TRACKING ON; SET k 1; GET k
         b: DEBUG RELOAD
         a: GET k
         b: MULTI; DEBUG RELOAD; GET k; EXEC
         a: GET k; MULTI; DEBUG RELOAD; GET k; EXEC
         b: SET k 2
         a: MULTI; FLUSHALL; GET k; EXEC
         b: SET k 3",
    );
}

/// The limit is kept before a command runs, so the message stands before its reply, which here is one about queueing.
#[test]
fn a_table_that_has_become_too_large_is_cut_before_the_next_command() {
    for workers in [1, 3] {
        let server = Launch::skuld(workers).option("enable-debug-command", "yes").start();
        let (mut reader, mut other) = (server.connect(), server.connect());
        reader.ask("HELLO 3");
        other.ask("DEBUG PAUSE-CRON 1");
        reader.ask("CLIENT TRACKING ON");
        reader.ask("MGET 1{t} 2{t}");
        reader.ask("MULTI");
        other.ask("CONFIG SET tracking-table-max-keys 1");
        reader.send(&words("PING"));
        assert!(frame(&mut reader).contains("invalidate"));
        assert_eq!(frame(&mut reader), "+QUEUED\r\n");
        // Without a command too, soon.
        other.ask("CONFIG SET tracking-table-max-keys 1000");
        reader.ask("DISCARD");
        (0..500).for_each(|n| drop(reader.ask(&format!("GET {n}"))));
        other.ask("DEBUG PAUSE-CRON 0");
        other.ask("CONFIG SET tracking-table-max-keys 1");
        (0..499).for_each(|_| assert!(frame(&mut reader).contains("invalidate")));
    }
}

/// Keys go before the command runs that needs their room, and who has read them hears of it before the command's reply.
#[test]
fn evicted_keys_are_told_of_before_the_reply() {
    let server = Launch::skuld(1).option("maxmemory-policy", "volatile-random").start();
    let mut client = server.connect();
    let memory = client.ask("INFO memory").text();
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a field");
    let limit = used.parse::<u64>().expect("a number") + 100 * 1024;
    client.ask("HELLO 3");
    client.ask("CLIENT TRACKING ON");
    client.ask(&format!("CONFIG SET maxmemory {limit}"));
    client.ask("SETEX volatile 10000 x");
    client.ask("GET volatile");
    client.ask("SETBIT large 1600000 0");
    client.send(&words("GETBIT large 0"));
    assert!(frame(&mut client).contains("volatile"));
    assert_eq!(frame(&mut client), ":0\r\n");
}

/// What is told of evicted keys takes memory too, which must not make more keys go.
#[test]
fn evicting_keys_that_many_have_read_does_not_run_away() {
    const KEYS: usize = 300;
    for workers in [1, 2] {
        let server = Launch::skuld(workers).option("maxmemory-policy", "allkeys-lru").start();
        let mut writer = server.connect();
        let mut readers: Vec<Client> = (0..30).map(|_| server.connect()).collect();
        for reader in &mut readers {
            reader.ask("HELLO 3");
            reader.ask("CLIENT TRACKING ON");
        }
        for key in (0..KEYS).map(|number| format!("{number}{}", "x".repeat(1000))) {
            writer.ask(&format!("SET {key} x"));
            for reader in &mut readers {
                reader.ask(&format!("GET {key}"));
            }
        }
        let memory = writer.ask("INFO memory").text();
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a field");
        let limit = used.parse::<u64>().expect("a number") - 40_000;
        writer.ask(&format!("CONFIG SET maxmemory {limit}"));
        wait_for(|| {
            writer
                .ask("INFO stats")
                .text()
                .lines()
                .any(|line| line.starts_with("evicted_keys:") && line != "evicted_keys:0")
        });
        for reader in &mut readers {
            assert!(frame(reader).contains("invalidate"));
        }
        let left = writer.ask("DBSIZE").integer().expect("a number");
        assert!(left >= KEYS as i64 / 2, "{workers} workers: {left} keys are left");
    }
}

fn frame(client: &mut Client) -> String {
    let pushed = client.pushes.pop_front();
    let frame = pushed.unwrap_or_else(|| client.read_frame().expect("a frame"));
    String::from_utf8_lossy(&frame.raw).into_owned()
}

fn wait_for(mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::yield_now();
    }
}
