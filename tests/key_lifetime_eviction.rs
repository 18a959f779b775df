//! `maxmemory` as clients meet it, behaviour by behaviour; each test is named after the one it holds. Run on a real
//! Valkey too. What is about several workers is in `eviction.rs`.

mod support;

use support::rig::{Rig, Who, on_all, on_ours};

const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const VALUE: usize = 20_000;

fn fill(rig: &mut Rig, prefix: &str, count: usize, rest: &str) {
    (0..count).for_each(|i| rig.expect(&format!("SET {prefix}{i} {{{VALUE}*v}}{rest}"), "OK"));
}

/// Sets the limit so that about `bytes` more are used than allowed.
fn exceed(rig: &mut Rig, bytes: u64) {
    let limit = rig.number("used_memory") - bytes;
    rig.set(&format!("maxmemory {limit}"));
}

#[test]
fn noeviction_refuses_deny_oom_commands_and_accepts_reads_and_deletes() {
    on_all(&[], |rig| {
        rig.script(
            "SET k v
             RPUSH l 1 => 1
             SADD s 1 => 1
             HSET h f v => 1
             HSETEX hx EX 100 FIELDS 1 f v => 1",
        );
        rig.set("maxmemory 1");
        for line in [
            "SET k 2",
            "SETEX k 10 v",
            "INCR k",
            "APPEND k v",
            "SETBIT k 1 1",
            "SETRANGE k 0 v",
            "GETSET k v",
            "MSET a 1",
            "MSETEX 1 a 1",
            "LPUSH l 1",
            "LMOVE l l LEFT RIGHT",
            "RPOPLPUSH l l",
            "SADD s 2",
            "ZADD z 1 a",
            "HSET h f v",
            "HSETEX h FIELDS 1 f v",
            "XADD x * f v",
            "PFADD p a",
            "COPY k k2",
            "RESTORE r 0 x",
            "SORT l",
            "SORT l STORE d",
            "GEORADIUS g 0 0 1 m",
            "BITOP NOT d k",
            "GEOADD g 0 0 m",
        ] {
            rig.expect(line, OOM);
        }
        for line in [
            "GET k",
            "EXPIRE k 100",
            "PERSIST k",
            "GETEX k",
            "HEXPIRE h 10 FIELDS 1 f",
            "HGETEX h FIELDS 1 f",
            "HPERSIST h FIELDS 1 f",
            "SORT_RO l",
            "SMOVE s s2 1",
            "RENAME s2 s",
            "PUBLISH c m",
            "CONFIG GET maxmemory",
            "HGETDEL h FIELDS 1 f",
            "LPOP l",
            "SPOP s",
            "DELIFEQ k v",
            "DEL nokey",
            "UNLINK hx",
            "SWAPDB 1 2",
            "PING",
        ] {
            let reply = rig.ask(line);
            assert!(!reply.starts_with("OOM") && !reply.starts_with("ERR"), "{line}: {reply}");
        }
        rig.expect("FLUSHALL", "OK");
        assert_eq!(rig.number("evicted_keys"), 0);
    });
}

#[test]
fn volatile_policies_without_ttl_keys_refuse_rather_than_evict() {
    on_all(&[], |rig| {
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            rig.set(&format!("maxmemory 0 maxmemory-policy {policy}"));
            // A field's deadline does not make its key volatile.
            rig.script("SET k v\nHSETEX h EX 1000 FIELDS 1 f v => 1");
            rig.set("maxmemory 1");
            rig.wait_until("writes are refused", |rig| rig.ask("SET x v") == OOM);
            rig.script("EXISTS k h => 2\nFLUSHALL");
            rig.set("maxmemory 0");
        }
        assert_eq!(rig.number("evicted_keys"), 0);
    });
}

#[test]
fn an_impossible_limit_empties_the_database_and_then_refuses() {
    on_all(&[], |rig| {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            rig.set(&format!("maxmemory 0 maxmemory-policy {policy}"));
            (0..50).for_each(|i| rig.expect(&format!("SET k{i} v"), "OK"));
            rig.set("maxmemory 1");
            rig.wait_until("nothing is left", |rig| rig.ask("DBSIZE") == "0");
            rig.wait_until("writes are refused", |rig| rig.ask("SET x v") == OOM);
        }
    });
}

#[test]
fn each_eviction_publishes_evicted_and_propagates_one_unlink() {
    for (lazy, verb) in [("yes", "UNLINK"), ("no", "DEL")] {
        on_all(
            &[
                ("notify-keyspace-events", "KEA"),
                ("maxmemory-policy", "allkeys-random"),
                ("lazyfree-lazy-eviction", lazy),
            ],
            |rig| {
                (0..20).for_each(|i| rig.expect(&format!("SET k{i} v"), "OK"));
                rig.forget();
                rig.set("maxmemory 1");
                rig.wait_until("nothing is left", |rig| rig.ask("DBSIZE") == "0");
                let (mut effects, mut events) = (rig.effects(), rig.events());
                effects.sort();
                events.sort();
                let all = |what: &str| {
                    let mut list: Vec<String> = (0..20).map(|i| format!("{what}k{i}")).collect();
                    list.sort();
                    list
                };
                assert_eq!((effects, events), (all(&format!("{verb} ")), all("evicted:")));
                assert_eq!((rig.number("evicted_keys"), rig.number("expired_keys")), (20, 0));
            },
        );
    }
}

#[test]
fn config_set_maxmemory_below_usage_starts_evicting_without_a_command() {
    on_all(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        fill(rig, "k", 200, "");
        exceed(rig, 50 * VALUE as u64);
        rig.wait_until("there is room", |rig| rig.number("current_eviction_exceeded_time") == 0);
        rig.wait_until("keys were evicted", |rig| rig.number("evicted_keys") >= 40);
        assert!(rig.number("evicted_keys") < 80);
        // The log warns of what happened.
        rig.server.wait_for_log("is smaller than the current memory usage");
        rig.expect("SET new v", "OK");
    });
}

#[test]
fn the_time_over_the_limit_grows_and_returns_to_0() {
    on_all(&[], |rig| {
        rig.expect("SET k v", "OK");
        rig.set("maxmemory 1");
        rig.wait_until("time passes", |rig| {
            rig.ask("GET k");
            rig.number("current_eviction_exceeded_time") > 2
        });
        rig.set("maxmemory 4gb");
        rig.wait_until("it is over", |rig| {
            rig.ask("GET k");
            rig.number("current_eviction_exceeded_time") == 0
        });
        assert!(rig.number("total_eviction_exceeded_time") > 2);
    });
}

#[test]
fn a_transaction_refused_when_queued_and_when_run() {
    on_all(&[], |rig| {
        rig.script("MULTI\nSET k v => QUEUED");
        rig.set("maxmemory 1");
        rig.expect("EXEC", &format!("EXECABORT Transaction discarded because of: {OOM}"));
        rig.expect("MULTI", "OK");
        rig.expect("SET k v", OOM);
        rig.expect("EXEC", "EXECABORT Transaction discarded because of previous errors.");
        rig.script("MULTI\nGET k => QUEUED\nEXEC => [nil]");
    });
}

#[test]
fn a_scripts_first_write_fails_when_memory_is_full() {
    on_all(&[], |rig| {
        if !rig.knows("eval") {
            return;
        }
        rig.script("SET k v");
        rig.set("maxmemory 1");
        rig.expect(
            "EVAL \"return redis.call('set','k','v')\" 1 k",
            &format!("{OOM} script: on @user_script:1."),
        );
        rig.expect("EVAL \"redis.call('del','k') return redis.call('set','k','v')\" 1 k", "OK");
        rig.expect("EVAL \"#!lua\\nreturn 1\" 0", OOM);
        rig.expect("EVAL \"#!lua flags=allow-oom\\nreturn redis.call('set','k','v')\" 1 k", "OK");
        rig.expect("EVAL \"#!lua flags=no-writes\\nreturn redis.call('get','k')\" 1 k", "v");
    });
}

#[test]
fn object_freq_and_idletime_answer_by_policy_and_nil_for_a_missing_key() {
    on_all(&[], |rig| {
        rig.script(
            "SET k v
             OBJECT FREQ k => ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
             OBJECT FREQ nokey => nil
             OBJECT IDLETIME k => 0
             OBJECT IDLETIME nokey => nil
             CONFIG SET maxmemory-policy allkeys-lfu
             OBJECT IDLETIME nokey => nil
             OBJECT IDLETIME k => ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
             SET n v
             OBJECT FREQ n => 5",
        );
    });
}

#[test]
fn new_keys_have_frequency_5_and_1000_gets_make_about_20() {
    on_all(&[("maxmemory-policy", "allkeys-lfu"), ("lfu-decay-time", "0")], |rig| {
        let mut sum = 0;
        let get = support::text::words("GET k");
        let gets = vec![get; 1000];
        for _ in 0..10 {
            rig.script("FLUSHALL\nSET k v\nOBJECT FREQ k => 5");
            rig.connection(Who::Client).pipeline(&gets);
            sum += rig.ask("OBJECT FREQ k").parse::<u64>().expect("a number");
        }
        assert!((160..=240).contains(&sum), "{sum} in ten times");
        rig.set("lfu-log-factor 0");
        rig.script("FLUSHALL\nSET k v");
        rig.connection(Who::Client).pipeline(&gets);
        rig.expect("OBJECT FREQ k", "255");
    });
}

#[test]
fn what_is_no_use_of_a_key_does_not_change_its_statistic() {
    on_all(&[("maxmemory-policy", "allkeys-lfu"), ("lfu-decay-time", "0"), ("lfu-log-factor", "0")], |rig| {
        rig.expect("SET k v", "OK");
        for line in [
            "EXISTS k",
            "TTL k",
            "PTTL k",
            "TYPE k",
            "EXPIRETIME k",
            "OBJECT ENCODING k",
            "OBJECT FREQ k",
            "MEMORY USAGE k",
            "KEYS k",
            "SCAN 0",
            "RANDOMKEY",
            "DEBUG OBJECT k",
        ] {
            rig.ask(line);
            let label = rig.server.label;
            assert_eq!(rig.ask("OBJECT FREQ k"), "5", "{label}: {line}");
        }
        let mut expected = 5;
        for line in [
            "GET k",
            "STRLEN k",
            "DUMP k",
            "TOUCH k",
            "GETEX k",
            "EXPIRE k 100",
            "PERSIST k",
            "APPEND k x",
            "SET k v",
        ] {
            rig.ask(line);
            expected += 1;
            let label = rig.server.label;
            assert_eq!(rig.ask("OBJECT FREQ k"), expected.to_string(), "{label}: {line}");
        }
        rig.expect("CLIENT NO-TOUCH ON", "OK");
        rig.script("GET k => v\nSTRLEN k => 1");
        rig.expect("OBJECT FREQ k", &expected.to_string());
        rig.script("TOUCH k => 1");
        rig.expect("OBJECT FREQ k", &(expected + 1).to_string());
        rig.expect("CLIENT NO-TOUCH OFF", "OK");
        // A copy starts anew, and the source is used.
        rig.script("COPY k c => 1\nOBJECT FREQ c => 5");
        rig.expect("OBJECT FREQ k", &(expected + 2).to_string());
    });
}

#[test]
fn rename_and_move_start_the_statistic_as_in_valkey() {
    on_all(&[("maxmemory-policy", "allkeys-lfu"), ("lfu-decay-time", "0"), ("lfu-log-factor", "0")], |rig| {
        rig.script(
            "SET k v
             GET k => v
             GET k => v
             RENAME k r
             OBJECT FREQ r => 5
             GET r => v
             MOVE r 1 => 1
             SELECT 1
             OBJECT FREQ r => 5
             SELECT 0",
        );
    });
}

#[test]
fn restore_takes_idletime_and_freq_by_policy() {
    on_all(&[], |rig| {
        rig.expect("SET k v", "OK");
        let command = support::text::words("DUMP k");
        let payload = match rig.connection(Who::Client).call(&command).expect("a reply").value {
            support::resp::Value::Bulk(bytes) => support::text::escape(&bytes),
            other => panic!("{other}"),
        };
        for (rest, reply) in [
            ("IDLETIME 1000", "OK"),
            ("IDLETIME -1", "ERR Invalid IDLETIME value, must be >= 0"),
            ("FREQ 256", "ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("FREQ -1", "ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("FREQ 1 IDLETIME 1", "ERR syntax error"),
        ] {
            rig.expect(&format!("RESTORE r 0 \"{payload}\" REPLACE {rest}"), reply);
        }
        let idle: u64 = rig.ask("OBJECT IDLETIME r").parse().expect("a number");
        assert!((1000..1010).contains(&idle), "{idle}");
        rig.set("maxmemory-policy allkeys-lfu");
        rig.expect(&format!("RESTORE r 0 \"{payload}\" REPLACE FREQ 77"), "OK");
        rig.expect("OBJECT FREQ r", "77");
        rig.expect(&format!("RESTORE r 0 \"{payload}\" REPLACE IDLETIME 7"), "OK");
        rig.expect("OBJECT FREQ r", "5");
    });
}

#[test]
fn lru_and_lfu_keep_the_half_that_is_used() {
    on_all(&[("maxmemory-samples", "10")], |rig| {
        for policy in ["allkeys-lfu", "allkeys-lru"] {
            rig.set(&format!("maxmemory 0 maxmemory-policy {policy}"));
            rig.expect("FLUSHALL SYNC", "OK");
            fill(rig, "k", 60, "");
            if policy == "allkeys-lru" {
                // The clock of idle time has seconds.
                let later = rig.now_ms() + 2100;
                rig.wait_past(later);
            }
            for _ in 0..20 {
                (0..30).for_each(|i| rig.expect(&format!("STRLEN k{i}"), &VALUE.to_string()));
            }
            exceed(rig, 8 * VALUE as u64);
            rig.wait_until("there is room", |rig| {
                rig.ask("PING");
                rig.number("current_eviction_exceeded_time") == 0
            });
            let used: Vec<String> = (0..30).map(|i| format!("k{i}")).collect();
            rig.expect(&format!("EXISTS {}", used.join(" ")), "30");
        }
    });
}

#[test]
fn unread_replies_can_use_up_the_memory_and_reading_them_gives_it_back() {
    on_all(&[], |rig| {
        // Longer values might be sent from where they lie, without a copy that counts.
        rig.expect("SET k {10000*v}", "OK");
        let limit = rig.number("used_memory") + (4 << 20);
        rig.set(&format!("maxmemory {limit}"));
        rig.expect("SET x v", "OK");
        let request = support::client::encode(&support::text::words("GET k")).repeat(4000);
        rig.connection(Who::Source).send_raw(&request);
        rig.wait_until("writes are refused", |rig| rig.ask("SET x v") == OOM);
        for _ in 0..4000 {
            rig.connection(Who::Source).read_reply().expect("a reply");
        }
        rig.wait_until("writes go on", |rig| rig.ask("SET x v") == "OK");
    });
}

#[test]
fn a_watched_key_that_is_evicted_aborts_exec() {
    on_all(&[("maxmemory-policy", "allkeys-random")], |rig| {
        rig.script("SET k v\nWATCH k\nMULTI\nPING => QUEUED");
        rig.set("maxmemory 1");
        rig.wait_until("it is evicted", |rig| rig.number("evicted_keys") == 1);
        rig.set("maxmemory 0");
        rig.expect("EXEC", "nil");
    });
}

#[test]
fn the_settings_of_eviction_are_checked_as_in_valkey() {
    on_all(&[], |rig| {
        rig.script(
            "CONFIG SET maxmemory-policy nosuch => ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction
             CONFIG SET maxmemory 5% => ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
             CONFIG SET maxmemory -1 => ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value
             CONFIG SET maxmemory-samples 65 => ERR CONFIG SET failed (possibly related to argument 'maxmemory-samples') - argument must be between 1 and 64 inclusive
             CONFIG SET maxmemory-eviction-tenacity 101 => ERR CONFIG SET failed (possibly related to argument 'maxmemory-eviction-tenacity') - argument must be between 0 and 100 inclusive
             CONFIG SET maxmemory-clients 101% => ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be less or equal to 100
             CONFIG SET maxmemory-clients 5%
             CONFIG GET maxmemory-clients => [maxmemory-clients 5%]",
        );
        assert_eq!(rig.info("maxmemory_policy"), "noeviction");
        assert_eq!(rig.number("mem_not_counted_for_evict") % 2, rig.number("mem_not_counted_for_evict") % 2);
    });
}

#[test]
fn no_key_is_evicted_while_there_is_room() {
    on_all(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        let limit = rig.number("used_memory") + (8 << 20);
        rig.set(&format!("maxmemory {limit}"));
        fill(rig, "k", 100, "");
        assert_eq!(rig.number("evicted_keys"), 0);
        rig.expect("DBSIZE", "100");
    });
}

/// Valkey evicts what was just written instead.
#[test]
fn refilling_after_flushall_async_neither_exceeds_the_limit_nor_evicts() {
    on_ours(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        rig.expect("DEBUG POPULATE 200000 old 100", "OK");
        let limit = rig.number("used_memory") + (1 << 20);
        rig.set(&format!("maxmemory {limit}"));
        rig.expect("FLUSHALL ASYNC", "OK");
        let mut most = 0;
        for round in 0..20 {
            let commands: Vec<_> = (0..1000)
                .map(|i| support::text::split(&format!("SET new{round}:{i} {{500*v}}")).expect("fine"))
                .collect();
            for reply in rig.connection(Who::Client).pipeline(&commands) {
                assert_eq!(support::rig::show(&reply.expect("a reply").value), "OK");
            }
            most = most.max(rig.number("used_memory"));
        }
        // What one pipeline and one reply of INFO need comes on top.
        assert!(most < limit + (2 << 20), "{most} used, {limit} allowed");
        assert_eq!((rig.ask("DBSIZE").as_str(), rig.number("evicted_keys")), ("20000", 0));
    });
}
