//! Freeing in the background as clients meet it, behaviour by behaviour; each test is named after the one it holds. Run
//! on a real Valkey too, except where we differ on purpose.

mod support;

use std::time::{Duration, Instant};

use support::rig::{Rig, Who, on_all, on_ours};

/// A hash in its large form with so many fields.
fn hash(rig: &mut Rig, key: &str, fields: usize) {
    let pairs: Vec<String> = (0..fields).map(|i| format!("f{i} v")).collect();
    rig.expect(&format!("HSET {key} {}", pairs.join(" ")), &fields.to_string());
    rig.expect(&format!("OBJECT ENCODING {key}"), "hashtable");
}

const LARGE: &[(&str, &str)] = &[("hash-max-listpack-entries", "8"), ("notify-keyspace-events", "KEA")];

/// How many objects were freed in the background since the last call.
fn freed(rig: &mut Rig) -> u64 {
    rig.wait_until("nothing is pending", |rig| rig.number("lazyfree_pending_objects") == 0);
    let freed = rig.number("lazyfreed_objects");
    rig.expect_by(Who::Admin, "CONFIG RESETSTAT", "OK");
    freed
}

#[test]
fn unlink_of_65_fields_counts_and_of_64_does_not_nor_of_a_long_string() {
    on_all(LARGE, |rig| {
        for (fields, count) in [(64, 0), (65, 1)] {
            hash(rig, "h", fields);
            rig.expect("UNLINK h", "1");
            assert_eq!(freed(rig), count, "{fields} fields");
        }
        rig.expect("SETRANGE s 10000000 x", "10000001");
        rig.expect("UNLINK s", "1");
        assert_eq!(freed(rig), 0);
        let numbers: Vec<String> = (0..500).map(|i| i.to_string()).collect();
        rig.expect(&format!("SADD i {}", numbers.join(" ")), "500");
        rig.expect("UNLINK i", "1");
        assert_eq!(freed(rig), 0);
    });
}

#[test]
fn other_kinds_count_by_their_parts() {
    on_all(
        &[
            ("list-max-listpack-size", "2"),
            ("set-max-intset-entries", "8"),
            ("set-max-listpack-entries", "8"),
        ],
        |rig| {
            let members: Vec<String> = (0..65).map(|i| i.to_string()).collect();
            let scored: Vec<String> = (0..129).map(|i| format!("{i} m{i}")).collect();
            let many: Vec<String> = (0..131).map(|i| i.to_string()).collect();
            for (line, count) in [
                (format!("SADD k {}", members.join(" ")), 1),
                (format!("SADD k {}", members[1..].join(" ")), 0),
                (format!("ZADD k {}", scored.join(" ")), 1),
                // 66 nodes, and 64.
                (format!("RPUSH k {}", many.join(" ")), 1),
                (format!("RPUSH k {}", many[3..].join(" ")), 0),
            ] {
                rig.ask(&line);
                rig.expect("UNLINK k", "1");
                assert_eq!(freed(rig), count, "{}", &line[..40]);
            }
        },
    );
}

#[test]
fn del_follows_lazyfree_lazy_user_del() {
    on_all(LARGE, |rig| {
        for (lazy, count) in [("yes", 1), ("no", 0)] {
            rig.set(&format!("lazyfree-lazy-user-del {lazy}"));
            hash(rig, "h", 65);
            rig.expect("DEL h", "1");
            assert_eq!(freed(rig), count);
        }
    });
}

#[test]
fn overwriting_follows_lazyfree_lazy_server_del() {
    on_all(LARGE, |rig| {
        for (lazy, count) in [("yes", 1), ("no", 0)] {
            rig.set(&format!("lazyfree-lazy-server-del {lazy}"));
            for line in ["SET h v", "RENAME o h", "SUNIONSTORE h s", "BITOP NOT h o"] {
                rig.script("FLUSHALL SYNC\nSET o v\nSADD s a => 1");
                hash(rig, "h", 65);
                freed(rig);
                rig.ask(line);
                assert_eq!(freed(rig), count, "{line}");
            }
        }
    });
}

#[test]
fn expiry_and_eviction_follow_their_own_settings() {
    on_all(LARGE, |rig| {
        for (lazy, count) in [("yes", 1), ("no", 0)] {
            rig.set(&format!("lazyfree-lazy-expire {lazy} lazyfree-lazy-eviction {lazy}"));
            hash(rig, "h", 65);
            rig.expect("PEXPIRE h 1", "1");
            rig.wait_until("it is gone", |rig| rig.ask("DBSIZE") == "0");
            assert_eq!(freed(rig), count);
            hash(rig, "h", 65);
            rig.expect("EXPIRE h -1", "1");
            assert_eq!(freed(rig), count);
            hash(rig, "h", 65);
            rig.set("maxmemory-policy allkeys-lru maxmemory 1");
            rig.wait_until("it is gone", |rig| rig.ask("DBSIZE") == "0");
            rig.set("maxmemory 0");
            assert_eq!(freed(rig), count);
        }
    });
}

#[test]
fn getdel_and_delifeq_are_no_business_of_the_background() {
    on_all(&[], |rig| {
        rig.script("SET k v\nGETDEL k => v\nSET k v\nDELIFEQ k v => 1");
        assert_eq!(freed(rig), 0);
    });
}

#[test]
fn flushall_async_counts_every_key_and_sync_none() {
    on_all(&[], |rig| {
        for (line, count) in
            [("FLUSHALL ASYNC", 10), ("FLUSHALL SYNC", 0), ("FLUSHDB ASYNC", 10), ("FLUSHDB SYNC", 0)]
        {
            (0..10).for_each(|i| rig.expect(&format!("SET k{i} v"), "OK"));
            rig.expect(line, "OK");
            assert_eq!(freed(rig), count, "{line}");
        }
    });
}

#[test]
fn flushall_without_an_argument_is_asynchronous_by_default() {
    on_all(&[], |rig| {
        for (lazy, count) in [("yes", 1), ("no", 0)] {
            rig.set(&format!("lazyfree-lazy-user-flush {lazy}"));
            for line in ["FLUSHALL", "FLUSHDB"] {
                rig.script("SET k v");
                rig.expect(line, "OK");
                assert_eq!(freed(rig), count, "{line}");
            }
        }
        rig.expect("FLUSHALL garbage", "ERR syntax error");
        rig.expect("FLUSHDB ASYNC SYNC", "ERR syntax error");
    });
}

#[test]
fn flushes_of_an_empty_server_are_propagated_with_their_argument() {
    on_all(LARGE, |rig| {
        rig.forget();
        for line in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB SYNC"] {
            rig.expect(line, "OK");
            rig.expect_effects(&[line]);
        }
        rig.expect_events(&[]);
    });
}

#[test]
fn flushall_resets_the_changes_since_the_last_save_if_there_are_save_points() {
    on_all(&[], |rig| {
        rig.script("SET k v\nSET k w");
        rig.expect("FLUSHDB", "OK");
        let before = rig.number("rdb_changes_since_last_save");
        assert!(before >= 3, "{before}");
        if !rig.knows("bgsave") {
            return;
        }
        rig.set("save \"3600 1\"");
        rig.script("SET k v\nFLUSHALL");
        assert_eq!(rig.number("rdb_changes_since_last_save"), 0);
        rig.script("SET k v\nFLUSHDB");
        assert!(rig.number("rdb_changes_since_last_save") >= 2);
    });
}

/// In Valkey everybody waits.
#[test]
fn flushall_sync_makes_only_its_own_caller_wait() {
    on_ours(&[], |rig| {
        let base = rig.number("used_memory");
        rig.expect("DEBUG POPULATE 400000 k 20", "OK");
        // What is recorded for tests takes memory, too.
        rig.forget();
        let before = rig.number("used_memory");
        let words = support::text::words("FLUSHALL SYNC");
        rig.connection(Who::Source).send(&words);
        let mut worst = Duration::ZERO;
        let mut rounds = 0;
        while rig.connection(Who::Source).is_silent_for(Duration::from_micros(200)) {
            let began = Instant::now();
            rig.expect("PING", "PONG");
            worst = worst.max(began.elapsed());
            rounds += 1;
        }
        let reply = rig.connection(Who::Source).read_reply().expect("a reply");
        assert_eq!(support::rig::show(&reply.value), "OK");
        // The memory is free by then.
        let after = rig.number("used_memory");
        assert!(after < base + (before - base) / 10, "{base} bytes, then {before}, then {after}");
        println!("{rounds} pings meanwhile, the worst {worst:?}");
        assert!(rounds > 3, "the caller was answered before anything was freed");
        assert_eq!(freed(rig), 0);
    });
}

#[test]
fn resetstat_zeroes_lazyfreed_objects() {
    on_all(&[], |rig| {
        rig.script("SET k v\nFLUSHALL ASYNC");
        assert_eq!(freed(rig), 1);
        assert_eq!(rig.number("lazyfreed_objects"), 0);
    });
}

#[test]
fn a_watched_missing_key_survives_flushall_and_an_existing_one_does_not() {
    on_all(&[], |rig| {
        for (flush, db) in [("FLUSHALL", 0), ("FLUSHDB", 0), ("FLUSHALL", 1)] {
            rig.expect("SET k v", "OK");
            for (key, reply) in [("missing", "[PONG]"), ("k", "nil")] {
                rig.expect(&format!("WATCH {key}"), "OK");
                rig.expect_by(Who::Admin, &format!("SELECT {db}"), "OK");
                rig.expect_by(Who::Admin, flush, "OK");
                rig.expect_by(Who::Admin, "SELECT 0", "OK");
                rig.script("MULTI\nPING => QUEUED");
                rig.expect("EXEC", reply);
                rig.expect("SET k v", "OK");
            }
        }
    });
}

#[test]
fn unlink_of_only_missing_keys_propagates_nothing() {
    on_all(&[], |rig| {
        rig.expect("SET {t}a v", "OK");
        rig.effects();
        rig.expect("UNLINK {t}x {t}y", "0");
        rig.expect_effects(&[]);
        rig.expect("UNLINK {t}a {t}x", "1");
        rig.expect_effects(&["UNLINK \"{t}a\" \"{t}x\""]);
    });
}

#[test]
fn a_large_value_that_is_dropped_delays_nobody() {
    on_ours(&[], |rig| {
        let base = rig.number("used_memory");
        for part in 0..20 {
            let members: Vec<String> = (0..10_000).map(|i| format!("m{part}:{i}")).collect();
            rig.expect(&format!("SADD big {}", members.join(" ")), "10000");
        }
        rig.forget();
        let used = rig.number("used_memory");
        rig.expect("SET big v", "OK");
        assert_eq!(freed(rig), 1);
        let after = rig.number("used_memory");
        assert!(after < base + (used - base) / 2, "{base} bytes, then {used}, then {after}");
        // What waits to be freed is told in bytes, too.
        assert_eq!(rig.number("skuld_reaper_pending_bytes"), 0);
    });
}

#[test]
fn expired_streams_and_tables_go_the_same_way() {
    on_all(&[("stream-node-max-entries", "1")], |rig| {
        for i in 1..=200 {
            rig.expect(&format!("XADD s {i}-1 f v"), &format!("{i}-1"));
        }
        rig.expect("UNLINK s", "1");
        assert_eq!(freed(rig), 1);
    });
}
