//! Order and atomicity over several shards: each test names the failure that a rule of the architecture prevents.
//! Everything runs with one worker and with three; with one the properties must hold just the same.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::client::Client;
use support::resp::Value;
use support::server::{Launch, Server};

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|w| w.as_bytes().to_vec()).collect()
}

fn with_workers(test: impl Fn(&Server)) {
    for workers in [1, 3] {
        eprintln!("with {workers} workers");
        test(&Launch::skuld(workers).start());
    }
}

/// Runs `others` on threads of their own while `main` works, then stops and joins them.
fn beside(server: &Server, others: Vec<fn(Client, &AtomicBool)>, main: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = others
        .into_iter()
        .map(|other| {
            let (client, stop) = (server.connect(), stop.clone());
            std::thread::spawn(move || other(client, &stop))
        })
        .collect();
    main();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a client beside the test failed");
    }
}

/// Without units, a reader sees some of an MSET's keys new and others old.
#[test]
fn an_mset_over_shards_is_seen_whole_or_not_at_all() {
    with_workers(|server| {
        let mut reader = server.connect();
        reader.ask("MSET a 0 b 0 c 0 d 0 e 0");
        let writer: fn(Client, &AtomicBool) = |mut client, stop| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                client.ask(&format!("MSET a {n} b {n} c {n} d {n} e {n}"));
            }
        };
        beside(server, vec![writer, writer], || {
            for _ in 0..2000 {
                let seen = reader.ask("MGET e a c b d");
                let values: Vec<String> = seen.items().iter().map(Value::text).collect();
                assert!(values.iter().all(|v| *v == values[0]), "half an MSET: {values:?}");
            }
        });
    });
}

/// Without one order of reservations for all shards, two units wait for each other for ever.
#[test]
fn units_that_want_each_others_slots_do_not_wait_for_ever() {
    with_workers(|server| {
        let mut client = server.connect();
        client.ask("MSET a 1 b 2 c 3");
        let rotate: fn(Client, &AtomicBool) = |mut client, stop| {
            while !stop.load(Ordering::Relaxed) {
                client.ask("MSET a 1 b 2 c 3");
                client.ask("MSET c 3 a 1");
                client.ask("COPY a b REPLACE");
                client.ask("COPY b a REPLACE");
                client.ask("DBSIZE");
            }
        };
        beside(server, vec![rotate, rotate, rotate], || {
            for _ in 0..500 {
                assert_eq!(client.ask("EXISTS a b c").integer(), Some(3));
            }
        });
    });
}

/// If the parts of a pipeline went to their shards in parallel, a flag could be seen before the data it announces.
#[test]
fn a_pipeline_takes_effect_in_its_order_across_shards() {
    with_workers(|server| {
        let mut reader = server.connect();
        reader.ask("MSET data 0 flag 0");
        let writer: fn(Client, &AtomicBool) = |mut client, stop| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                client.pipeline(&[words(&format!("SET data {n}")), words(&format!("SET flag {n}"))]);
            }
        };
        beside(server, vec![writer], || {
            for _ in 0..3000 {
                let seen = reader.pipeline(&[words("GET flag"), words("GET data")]);
                let number = |i: usize| -> i64 {
                    seen[i].as_ref().expect("a reply").value.text().parse().expect("a number")
                };
                assert!(number(1) >= number(0), "flag {} before data {}", number(0), number(1));
            }
        });
    });
}

/// A reservation held for a connection would be lost with it; a unit's tables come back whatever happens to its client.
#[test]
fn a_client_that_vanishes_during_a_unit_takes_no_keys_along() {
    with_workers(|server| {
        let mut client = server.connect();
        client.ask("MSET a 1 b 2 c 3 d 4");
        for _ in 0..300 {
            let mut doomed = server.connect();
            doomed.send_raw(b"MSET a 1 b 2 c 3 d 4\r\nKEYS *\r\nDBSIZE\r\nMSET d 4 c 3 b 2 a 1\r\n");
            drop(doomed);
        }
        assert_eq!(client.ask("MSET a 1 b 2 c 3 d 4").text(), "OK");
        assert_eq!(client.ask("EXISTS a b c d").integer(), Some(4));
        assert_eq!(client.ask("DBSIZE").integer(), Some(4));
    });
}

/// If unread output stopped reading, a client that first writes all it has to say would never get to read.
#[test]
fn a_client_that_writes_everything_before_it_reads_is_served() {
    with_workers(|server| {
        let mut client = server.connect();
        client.set_reply_timeout(Duration::from_secs(60));
        let value = "x".repeat(2000);
        client.ask(&format!("SET big {value}"));
        let requests = 20_000;
        // 40 MB of replies: more than all socket buffers between the two hold.
        let one = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(100);
        for _ in 0..requests / 100 {
            client.send_raw(&one);
        }
        for _ in 0..requests {
            assert_eq!(client.read_reply().expect("a reply").value.text().len(), value.len());
        }
    });
}

/// KEYS is collected in slices; were the slices not of one point in time, a key renamed meanwhile would be listed
/// twice or not at all.
#[test]
fn keys_lists_the_names_of_one_moment() {
    with_workers(|server| {
        let mut client = server.connect();
        client.set_reply_timeout(Duration::from_secs(60));
        client.ask("DEBUG POPULATE 100000 filler");
        client.ask("SET old 1");
        let renamer: fn(Client, &AtomicBool) = |mut client, stop| {
            while !stop.load(Ordering::Relaxed) {
                client.ask("RENAME old new");
                client.ask("RENAME new old");
            }
        };
        beside(server, vec![renamer], || {
            for _ in 0..30 {
                let names = client.ask("KEYS *");
                assert_eq!(names.items().len(), 100_001, "filler and exactly one of the two names");
            }
        });
    });
}

/// SCAN promises every key that is there all the time, however the table changes underneath.
#[test]
fn scan_returns_every_key_that_stays() {
    with_workers(|server| {
        let mut client = server.connect();
        client.ask("DEBUG POPULATE 20000 stay");
        let churn: fn(Client, &AtomicBool) = |mut client, stop| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let batch: Vec<_> = (0..200).map(|i| words(&format!("SET churn:{n}:{i} x"))).collect();
                client.pipeline(&batch);
                let batch: Vec<_> = (0..200).map(|i| words(&format!("DEL churn:{n}:{i}"))).collect();
                client.pipeline(&batch);
            }
        };
        beside(server, vec![churn], || {
            let mut seen = std::collections::HashSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = client.ask(&format!("SCAN {cursor} COUNT 100 MATCH stay:*"));
                seen.extend(reply.items()[1].items().iter().map(Value::text));
                cursor = reply.items()[0].text();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen.len(), 20_000);
        });
    });
}

/// FLUSHALL SYNC answers after the memory is free; another client is not kept waiting for it.
#[test]
fn flushall_sync_answers_when_the_reaper_is_done() {
    with_workers(|server| {
        let mut client = server.connect();
        client.set_reply_timeout(Duration::from_secs(60));
        client.ask("DEBUG POPULATE 300000 filler");
        assert_eq!(client.ask("FLUSHALL SYNC").text(), "OK");
        let info = client.ask("INFO memory").text();
        assert!(info.contains("lazyfree_pending_objects:0\r\n"), "{info}");
        assert_eq!(client.ask("DBSIZE").integer(), Some(0));
    });
}

/// A pipeline far longer than a slice does not keep other clients waiting for its end.
#[test]
fn a_long_pipeline_gives_way_to_other_clients() {
    with_workers(|server| {
        let mut busy = server.connect();
        busy.set_reply_timeout(Duration::from_secs(120));
        let commands = 300_000;
        let one = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".repeat(1000);
        let (done, finished) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for _ in 0..commands / 1000 {
                busy.send_raw(&one);
                for _ in 0..1000 {
                    busy.read_reply().expect("a reply");
                }
            }
            let _ = done.send(());
        });
        let mut client = server.connect();
        let mut answered = 0;
        while finished.try_recv().is_err() {
            client.ask("PING");
            answered += 1;
        }
        reader.join().expect("the busy client ends");
        // Far fewer would mean that PING waited for whole pipelines; the exact number is the scheduler's.
        assert!(answered > 100, "only {answered} PINGs were answered meanwhile");
    });
}

/// The expiry scanner finds due keys by time, wherever they are.
#[test]
fn due_keys_vanish_unasked() {
    with_workers(|server| {
        let mut client = server.connect();
        for n in 0..1000 {
            client.ask(&format!("SET k{n} v PX 200"));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while client.ask("DBSIZE").integer() != Some(0) {
            assert!(Instant::now() < deadline, "keys stay: {:?}", client.ask("DBSIZE"));
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// WATCH makes read-modify-write safe: every EXEC that succeeds saw the value it replaced.
#[test]
fn watched_counters_count_every_successful_exec() {
    with_workers(|server| {
        let mut client = server.connect();
        client.ask("MSET counter 0 elsewhere 0");
        let counted = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (mut client, counted) = (server.connect(), counted.clone());
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        client.ask("WATCH counter");
                        let n: i64 = client.ask("GET counter").text().parse().expect("a number");
                        client.ask("MULTI");
                        client.ask(&format!("SET counter {}", n + 1));
                        client.ask("INCR elsewhere");
                        if !client.ask("EXEC").items().is_empty() {
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("a counting client failed");
        }
        let counted = counted.load(Ordering::Relaxed);
        assert!(counted > 0);
        let seen = client.ask("MGET counter elsewhere");
        let values: Vec<String> = seen.items().iter().map(Value::text).collect();
        assert_eq!(values, [counted.to_string(), counted.to_string()]);
    });
}

/// A transaction over shards is seen whole: what one EXEC writes, another reads completely or not at all.
#[test]
fn a_transaction_over_shards_is_seen_whole() {
    with_workers(|server| {
        let mut reader = server.connect();
        reader.ask("MSET a 0 b 0 c 0");
        let writer: fn(Client, &AtomicBool) = |mut client, stop| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                client.pipeline(&[
                    words("MULTI"),
                    words(&format!("SET a {n}")),
                    words(&format!("SET b {n}")),
                    words(&format!("SET c {n}")),
                    words("EXEC"),
                ]);
            }
        };
        beside(server, vec![writer, writer], || {
            for _ in 0..1000 {
                let replies = reader.pipeline(&[
                    words("MULTI"),
                    words("GET c"),
                    words("GET a"),
                    words("GET b"),
                    words("EXEC"),
                ]);
                let seen = &replies[4].as_ref().expect("a reply").value;
                let values: Vec<String> = seen.items().iter().map(Value::text).collect();
                assert!(values.iter().all(|v| *v == values[0]), "half a transaction: {values:?}");
            }
        });
    });
}

/// Inside EXEC, too, SORT reads keys that only its data name, wherever they are.
#[test]
fn sort_by_pattern_inside_a_transaction_finds_keys_on_other_shards() {
    with_workers(|server| {
        let mut client = server.connect();
        client.ask("RPUSH list 1 2 3");
        client.ask("MSET weight_1 30 weight_2 20 weight_3 10");
        client.ask("MULTI");
        client.ask("SORT list BY weight_*");
        let replies = client.ask("EXEC");
        let sorted: Vec<String> = replies.items()[0].items().iter().map(Value::text).collect();
        assert_eq!(sorted, ["3", "2", "1"]);
    });
}
