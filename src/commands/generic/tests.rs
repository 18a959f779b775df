//! Replies and effects of the commands on keys of any type.

use std::collections::BTreeSet;

use crate::commands::testing::Bench;
use crate::effects::{DatabaseChange, Garbage};
use crate::expiry::rules::Situation;
use crate::keyspace::{ExpiryRules, Treatment};

/// Replies that a test compares with.
const ZERO: &str = ":0\r\n";
const ONE: &str = ":1\r\n";
const OK: &str = "+OK\r\n";

#[test]
fn deleting_counts_what_was_there() {
    let mut b = Bench::new();
    b.put(0, "a", "1", None);
    b.put(0, "c", "1", None);
    assert_eq!(b.say("DEL a b c"), ":2\r\n");
    assert_eq!(b.stream(), ["0:DEL a b c"]);
    assert_eq!(b.events(), ["0:del a", "0:del c"]);
    assert_eq!(b.modified(), ["0:a", "0:c"]);
    assert_eq!(b.effects.dirty, 2);
    assert_eq!(b.say("UNLINK a"), ZERO);
    assert_eq!((b.stream(), b.events()), (vec![], vec![]));
}

#[test]
fn deleting_an_expired_key_only_expires_it() {
    let mut b = Bench::new();
    b.put(0, "k", "1", Some(b.now - 1));
    b.put(0, "live", "1", None);
    assert_eq!(b.say("DEL k live"), ONE);
    assert_eq!(b.stream(), ["0:UNLINK k", "0:DEL k live"]);
    assert_eq!(b.events(), ["0:expired k", "0:del live"]);
    assert_eq!(b.effects.counters.expired_keys, 1);
}

#[test]
fn where_expired_keys_are_hidden_they_can_be_deleted() {
    let mut b = Bench::new();
    b.rules = Situation { import_mode: true, ..Situation::default() }.rules();
    b.put(0, "k", "1", Some(b.now - 1));
    assert_eq!(b.say("DEL k"), ONE);
    assert_eq!((b.stream(), b.events()), (vec!["0:DEL k".to_string()], vec!["0:del k".to_string()]));
}

#[test]
fn existence_counts_repetitions_and_misses() {
    let mut b = Bench::new();
    b.put(0, "a", "1", None);
    assert_eq!(b.say("EXISTS a a b"), ":2\r\n");
    assert_eq!((b.effects.counters.keyspace_hits, b.effects.counters.keyspace_misses), (2, 1));
    assert_eq!(b.events(), ["0:keymiss b"]);
    assert_eq!(b.say("TYPE a"), "+string\r\n");
    assert_eq!(b.say("TYPE b"), "+none\r\n");
}

#[test]
fn touch_counts_as_use_even_without_touching() {
    let mut b = Bench::new();
    b.put(0, "a", "1", None);
    b.session.no_touch = true;
    b.now += 10_000;
    assert_eq!(b.say("OBJECT IDLETIME a"), ":1010\r\n");
    b.say("EXISTS a");
    assert_eq!(b.say("OBJECT IDLETIME a"), ":1010\r\n");
    assert_eq!(b.say("TOUCH a"), ONE);
    assert_eq!(b.say("OBJECT IDLETIME a"), ZERO);
}

#[test]
fn deadlines_travel_as_absolute_milliseconds() {
    let mut b = Bench::new();
    b.put(0, "k", "1", None);
    for (command, stream) in [
        ("EXPIRE k 100", "0:PEXPIREAT k 1100000"),
        ("PEXPIRE k 5 GT", ""),
        ("PEXPIRE k 200000 gt", "0:PEXPIREAT k 1200000 gt"),
        ("EXPIREAT k 5000 XX", "0:PEXPIREAT k 5000000 XX"),
        ("pexpireat k 6000000", "0:pexpireat k 6000000"),
        ("PERSIST k", "0:PERSIST k"),
        ("PERSIST k", ""),
        ("EXPIRE k 100 XX", ""),
        ("EXPIRE k 100 LT", "0:PEXPIREAT k 1100000 LT"),
        ("EXPIRE k 100 NX", ""),
    ] {
        let reply = b.say(command);
        let expected: Vec<&str> = Some(stream).filter(|s| !s.is_empty()).into_iter().collect();
        assert_eq!(b.stream(), expected, "{command}");
        assert_eq!(reply, if stream.is_empty() { ZERO } else { ONE }, "{command}");
    }
    assert_eq!(
        b.events(),
        ["0:expire k", "0:expire k", "0:expire k", "0:expire k", "0:persist k", "0:expire k"]
    );
}

#[test]
fn a_deadline_that_has_passed_removes_the_key() {
    for (lazy, verb) in [(true, "UNLINK"), (false, "DEL")] {
        let mut b = Bench::new();
        b.config.lazyfree_lazy_expire = lazy;
        b.put(0, "k", "1", None);
        assert_eq!(b.say("EXPIRE k 0"), ONE);
        assert_eq!(b.stream(), [format!("0:{verb} k")]);
        assert_eq!(b.events(), ["0:expired k"]);
        assert_eq!((b.effects.dirty, b.effects.counters.expired_keys), (1, 1));
        assert_eq!(b.say("TTL k"), ":-2\r\n");
    }
}

#[test]
fn a_past_deadline_is_stored_where_expiry_is_not_ours() {
    let mut b = Bench::new();
    b.rules = Situation { import_mode: true, import_source: true, ..Situation::default() }.rules();
    b.put(0, "k", "1", None);
    assert_eq!(b.say("EXPIRE k -1"), ONE);
    assert_eq!(b.say("PEXPIRETIME k"), ":999000\r\n");
    assert_eq!(b.say("PTTL k"), ZERO);
    assert_eq!(b.say("EXPIREAT k -1"), ONE);
    assert_eq!(b.say("PEXPIRETIME k"), ZERO);
    assert_eq!(b.say("PEXPIREAT k -5"), ONE);
    assert_eq!(b.stream(), ["0:PEXPIREAT k 999000", "0:PEXPIREAT k 0", "0:PEXPIREAT k -5"]);
    assert_eq!(b.events(), ["0:expire k", "0:expire k", "0:expire k"]);
}

#[test]
fn expire_checks_options_then_numbers_then_keys() {
    let mut b = Bench::new();
    for (command, error) in [
        ("EXPIRE k x NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k x GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k x GT LT zz", "ERR Unsupported option zz"),
        ("EXPIRE k x", "ERR value is not an integer or out of range"),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
    ] {
        assert_eq!(b.say(command), format!("-{error}\r\n"));
    }
    assert_eq!(b.say("PEXPIREAT k 9223372036854775807"), ZERO);
    b.put(0, "k", "1", None);
    assert_eq!(b.say("PEXPIREAT k 9223372036854775807"), ONE);
    assert_eq!(b.say("EXPIRETIME k"), ":9223372036854776\r\n");
}

#[test]
fn renaming_takes_the_deadline_along() {
    let mut b = Bench::new();
    b.put(0, "a", "1", Some(b.now + 5000));
    b.put(0, "b", "2", None);
    assert_eq!(b.say("RENAMENX a b"), ZERO);
    assert_eq!(b.say("RENAME a b"), OK);
    assert_eq!(b.stream(), ["0:RENAME a b"]);
    assert_eq!(b.events(), ["0:new b", "0:rename_from a", "0:rename_to b"]);
    assert_eq!(b.modified(), ["0:a", "0:b"]);
    assert_eq!(b.effects.dirty, 1);
    assert_eq!(b.say("PTTL b"), ":5000\r\n");
    assert_eq!(b.say("RENAME b b"), OK);
    assert_eq!(b.say("RENAMENX b b"), ZERO);
    assert_eq!(b.say("RENAMENX b c"), ONE);
    assert_eq!(b.say("RENAME b c"), "-ERR no such key\r\n");
    assert_eq!(b.stream(), ["0:RENAMENX b c"]);
}

#[test]
fn moving_and_copying_between_databases() {
    let mut b = Bench::new();
    b.put(0, "k", "v", Some(b.now + 5000));
    assert_eq!(b.say("COPY k k DB 3"), ONE);
    assert_eq!(b.events(), ["3:new k", "3:copy_to k"]);
    assert_eq!(b.say("COPY k k DB 3"), ZERO);
    assert_eq!(b.say("COPY k k DB 3 REPLACE"), ONE);
    assert_eq!(b.say("COPY k k"), "-ERR source and destination objects are the same\r\n");
    assert_eq!(b.say("COPY k c DB"), "-ERR syntax error\r\n");
    assert_eq!(b.say("COPY k c DB 16"), "-ERR DB index is out of range\r\n");
    assert_eq!(b.say("MOVE k 3"), ZERO);
    b.events();
    assert_eq!(b.say("MOVE k 4"), ONE);
    assert_eq!(b.events(), ["4:new k", "0:move_from k", "4:move_to k"]);
    assert_eq!(b.modified(), ["3:k", "3:k", "0:k", "4:k"]);
    assert_eq!(b.stream(), ["0:COPY k k DB 3", "0:COPY k k DB 3 REPLACE", "0:MOVE k 4"]);
    b.session.db = 4;
    assert_eq!(b.say("PTTL k"), ":5000\r\n");
    assert_eq!(b.say("MOVE k 4"), "-ERR source and destination objects are the same\r\n");
}

#[test]
fn flushing_is_always_propagated() {
    let mut b = Bench::new();
    assert_eq!(b.say("FLUSHDB"), OK);
    assert_eq!(b.stream(), ["0:FLUSHDB"]);
    assert!(!b.session.await_reaper);
    b.put(0, "a", "1", None);
    b.put(2, "b", "1", None);
    assert_eq!(b.say("flushall sync"), OK);
    assert_eq!(b.stream(), ["0:flushall sync"]);
    assert!(b.session.await_reaper);
    assert_eq!(b.effects.dirty, 2);
    assert_eq!(b.effects.databases, [DatabaseChange::Flushed(0), DatabaseChange::AllFlushed]);
    assert!(b.effects.garbage.iter().all(|g| matches!(g, Garbage::Uncounted(_))));
    assert_eq!(b.effects.garbage.len(), 2);
    assert_eq!(b.say("FLUSHALL foo"), "-ERR syntax error\r\n");
    assert_eq!(b.say("DBSIZE"), ZERO);
}

#[test]
fn swapping_exchanges_databases() {
    let mut b = Bench::new();
    b.put(0, "a", "1", None);
    assert_eq!(b.say("SWAPDB 0 5"), OK);
    assert_eq!(b.say("DBSIZE"), ZERO);
    b.session.db = 5;
    assert_eq!(b.say("DBSIZE"), ONE);
    assert_eq!(b.say("SWAPDB x 5"), "-ERR invalid first DB index\r\n");
    assert_eq!(b.say("SWAPDB 5 99999999999"), "-ERR invalid second DB index\r\n");
    assert_eq!(b.say("SWAPDB 5 16"), "-ERR DB index is out of range\r\n");
    assert_eq!(b.effects.databases, [DatabaseChange::Swapped(0, 5)]);
}

/// Walks with SCAN from cursor 0 until it comes back to 0.
fn walk(b: &mut Bench, options: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_string();
    for _ in 0..100_000 {
        let reply = b.say(format!("SCAN {cursor} {options}").trim_end());
        let mut lines = reply.split("\r\n").skip(2).step_by(2);
        cursor = lines.next().expect("a cursor").to_string();
        found.extend(
            reply.split("\r\n").skip(5).step_by(2).filter(|line| !line.is_empty()).map(str::to_string),
        );
        if cursor == "0" {
            return found;
        }
    }
    panic!("the walk does not end");
}

#[test]
fn a_walk_meets_every_key_once_per_key() {
    for workers in [1, 3] {
        let mut b = Bench::with_workers(workers);
        let all: BTreeSet<String> = (0..3000).map(|i| format!("key:{i}")).collect();
        for key in &all {
            b.put(0, key, "v", None);
        }
        for i in 0..500 {
            b.put(0, &format!("{{tag}}{i}"), "v", None);
        }
        let found = walk(&mut b, "MATCH key:* COUNT 7");
        assert_eq!(found.len(), all.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(walk(&mut b, "TYPE list COUNT 100").len(), 0);
        assert_eq!(walk(&mut b, "TYPE STRING COUNT 100").len(), 3500);
    }
}

#[test]
fn a_walk_removes_the_expired_keys_it_was_asked_for() {
    let mut b = Bench::new();
    b.put(0, "a", "1", Some(b.now - 1));
    b.put(0, "b", "1", Some(b.now - 1));
    assert_eq!(walk(&mut b, "MATCH a").len(), 0);
    assert_eq!((b.stream(), b.say("DBSIZE")), (vec!["0:UNLINK a".to_string()], ONE.to_string()));
    assert_eq!(b.say("KEYS *"), "*0\r\n");
    assert_eq!(b.say("DBSIZE"), ONE);
    b.rules = ExpiryRules { read: Treatment::Show, ..b.rules };
    assert_eq!(b.say("KEYS *"), "*1\r\n$1\r\nb\r\n");
    assert_eq!(walk(&mut b, ""), ["b"]);
}

#[test]
fn cursors_that_nobody_gave_out_do_no_harm() {
    let mut b = Bench::with_workers(3);
    for i in 0..100 {
        b.put(0, &format!("{i}"), "v", None);
    }
    for cursor in ["18446744073709551615", "16383", "999999999999", "1", "281474976710656"] {
        assert!(b.say(&format!("SCAN {cursor}")).starts_with("*2\r\n"));
    }
    for (command, error) in [
        ("SCAN x COUNT y", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("SCAN 0 TYPE foo", "ERR unknown type name 'foo'"),
        ("SCAN 0 NOVALUES", "ERR NOVALUES option can only be used in HSCAN"),
    ] {
        assert_eq!(b.say(command), format!("-{error}\r\n"), "{command}");
    }
}

#[test]
fn a_random_key_is_a_live_one() {
    let mut b = Bench::new();
    assert_eq!(b.say("RANDOMKEY"), "$-1\r\n");
    for i in 0..50 {
        b.put(0, &format!("old{i}"), "v", Some(b.now - 1));
    }
    b.rules = ExpiryRules { read: Treatment::Hide, ..b.rules };
    assert!(b.say("RANDOMKEY").contains("old"), "all have deadlines: gives up");
    b.put(0, "live", "v", None);
    assert_eq!(b.say("RANDOMKEY"), "$4\r\nlive\r\n");
    b.rules = ExpiryRules { read: Treatment::Delete, ..b.rules };
    assert_eq!(b.say("RANDOMKEY"), "$4\r\nlive\r\n");
}

#[test]
fn object_describes_without_touching() {
    let mut b = Bench::new();
    b.put(0, "k", "v", None);
    assert_eq!(b.say("OBJECT ENCODING k"), "$6\r\nembstr\r\n");
    assert_eq!(b.say("OBJECT REFCOUNT k"), ONE);
    assert_eq!(b.say("OBJECT ENCODING none"), "$-1\r\n");
    assert!(b.events().is_empty(), "OBJECT announces no misses");
    assert_eq!((b.effects.counters.keyspace_hits, b.effects.counters.keyspace_misses), (2, 1));
    assert!(b.say("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected"));
    assert_eq!(b.say("OBJECT FREQ none"), "$-1\r\n");
}
