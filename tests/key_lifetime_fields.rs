//! Deadlines of hash fields as clients meet them, behaviour by behaviour; each test is named after the one it holds.
//! Run on a real Valkey too.

mod support;

use support::rig::{LEAD_MS, Rig, Who, on_all};

const EVENTS: &[(&str, &str)] = &[("notify-keyspace-events", "KEAmn")];
const NUMFIELDS: &str = "ERR numfields should be greater than 0 and match the provided number of fields";

/// The hash `h` with `g` (value 2) alive and `f` (value 1) expired, which nobody reaps.
fn with_expired_field(rig: &mut Rig) {
    rig.stop_active_expiry();
    rig.ask("DEL h");
    rig.expect("HSET h f 1 g 2", "2");
    expire_fields(rig, "h", "1 f");
}

/// Lets fields (their number, then their names) of a hash expire.
fn expire_fields(rig: &mut Rig, key: &str, fields: &str) {
    let deadline = rig.now_ms() + LEAD_MS;
    let ones = vec!["1"; fields.split(' ').count() - 1].join(" ");
    rig.expect(&format!("HPEXPIREAT {key} {deadline} FIELDS {fields}"), &format!("[{ones}]"));
    rig.wait_past(deadline);
    rig.forget();
}

#[test]
fn a_field_ttl_changes_the_encoding_and_its_removal_does_not_change_it_back() {
    on_all(&[], |rig| {
        rig.script(
            "HSET h f v => 1
             OBJECT ENCODING h => listpack
             HEXPIRE h 100 FIELDS 1 f => [1]
             OBJECT ENCODING h => hashtable
             HPERSIST h FIELDS 1 f => [1]
             OBJECT ENCODING h => hashtable",
        );
    });
}

#[test]
fn an_expired_field_is_absent_but_counted_by_hlen() {
    on_all(&[], |rig| {
        with_expired_field(rig);
        rig.script(
            "HGETALL h => [g 2]
             HKEYS h => [g]
             HVALS h => [2]
             HSCAN h 0 => [0 [g 2]]
             HEXISTS h f => 0
             HGET h f => nil
             HMGET h f g => [nil 2]
             HSTRLEN h f => 0
             HTTL h FIELDS 1 f => [-2]
             HRANDFIELD h => g
             HRANDFIELD h 5 => [g]
             HLEN h => 2",
        );
    });
}

#[test]
fn a_hash_of_expired_fields_exists_and_is_empty() {
    on_all(&[], |rig| {
        rig.stop_active_expiry();
        rig.expect("HSET h f v", "1");
        expire_fields(rig, "h", "1 f");
        rig.script(
            "EXISTS h => 1
             HGETALL h => []
             HRANDFIELD h => nil
             HRANDFIELD h 3 => []
             HRANDFIELD h -3 => []
             HRANDFIELD h 3 WITHVALUES => []
             HLEN h => 1
             COPY h c => 1
             HLEN c => 0
             EXISTS c => 1",
        );
    });
}

#[test]
fn hexpire_answers_for_each_field() {
    on_all(EVENTS, |rig| {
        rig.script(
            "HEXPIRE nokey 10 FIELDS 2 a b => [-2 -2]
             HSET h f v g w x y => 3
             HEXPIRE h 100 FIELDS 3 f nofield f => [1 -2 1]
             HEXPIRE h 50 NX FIELDS 2 f g => [0 1]
             HEXPIRE h 200 XX FIELDS 2 f x => [1 0]
             HEXPIRE h 100 GT FIELDS 2 f x => [0 0]
             HEXPIRE h 100 LT FIELDS 2 f x => [1 1]
             HEXPIRE h 300 XX GT FIELDS 1 f => [1]
             HPEXPIRE h 100000 FIELDS 1 f => [1]
             HEXPIREAT h 4102444800 FIELDS 1 f => [1]
             HEXPIRETIME h FIELDS 2 f nofield => [4102444800 -2]",
        );
        let reply = rig.ask("HEXPIRETIME h FIELDS 1 x");
        assert_ne!(reply, "[-1]");
    });
}

#[test]
fn hexpire_answers_2_where_it_deletes() {
    on_all(EVENTS, |rig| {
        rig.expect("HSET h f v g w x y", "3");
        rig.forget();
        rig.expect("HEXPIRE h 0 FIELDS 2 f f", "[2 -2]");
        rig.expect_events(&["hexpired:h"]);
        rig.expect_effects(&["HDEL h f"]);
        rig.expect("HEXPIREAT h 1 FIELDS 2 g x", "[2 2]");
        rig.expect_events(&["hexpired:h", "del:h"]);
        rig.expect_effects(&["HDEL h g x"]);
        rig.expect("EXISTS h", "0");
        assert_eq!((rig.number("expired_fields"), rig.number("expired_keys")), (3, 0));
    });
}

#[test]
fn hexpire_0_gt_on_a_field_with_a_ttl_deletes_nothing() {
    on_all(EVENTS, |rig| {
        rig.script("HSET h f v => 1\nHEXPIRE h 100 FIELDS 1 f => [1]");
        rig.forget();
        rig.script("HEXPIRE h 0 GT FIELDS 1 f => [0]\nHGET h f => v");
        rig.expect_events(&[]);
        rig.expect_effects(&[]);
    });
}

#[test]
fn a_negative_ttl_is_an_error_and_0_deletes() {
    on_all(&[], |rig| {
        rig.script(
            "HSET h f v => 1
             HEXPIRE h -1 FIELDS 1 f => ERR invalid expire time in 'hexpire' command
             HSETEX h EX -1 FIELDS 1 f v => ERR invalid expire time in 'hsetex' command
             HGETEX h EX -1 FIELDS 1 f => ERR invalid expire time in 'hgetex' command
             HEXPIRE h 9223372036854775807 FIELDS 1 f => ERR invalid expire time in 'hexpire' command
             HEXPIRE h 0 FIELDS 1 f => [2]
             EXISTS h => 0",
        );
    });
}

#[test]
fn hsetex_with_a_past_ttl_on_a_missing_key_leaves_nothing() {
    on_all(EVENTS, |rig| {
        rig.forget();
        rig.expect("HSETEX h PXAT 1 FIELDS 1 f v", "1");
        rig.expect("EXISTS h", "0");
        let events: Vec<String> = rig.events().into_iter().filter(|e| !e.starts_with("keymiss")).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).filter(|e| !e.starts_with("new")).collect();
        assert_eq!(events, ["hset:h", "hexpire:h", "hexpired:h", "del:h"]);
        rig.expect_effects(&[]);
        assert_eq!(rig.number("expired_fields"), 1);
        rig.script("HSET h a 1 b 2 => 2");
        rig.forget();
        rig.expect("HSETEX h EX 0 FIELDS 2 a x nofield y", "1");
        rig.expect_events(&["hset:h", "hexpire:h", "hexpired:h"]);
        rig.expect_effects(&["HDEL h a"]);
        rig.expect("HGETALL h", "[b 2]");
    });
}

#[test]
fn hsetex_nx_and_xx_test_the_key_and_fnx_and_fxx_the_fields() {
    on_all(&[], |rig| {
        rig.script(
            "HSETEX h XX FIELDS 1 f v => 0
             HSETEX h FXX FIELDS 1 f v => 0
             EXISTS h => 0
             HSETEX h NX FIELDS 1 f v => 1
             HSETEX h NX FIELDS 1 f w => 0
             HSETEX h XX FNX FIELDS 2 f w g w => 0
             HEXISTS h g => 0
             HSETEX h FXX FIELDS 2 f w g w => 0
             HSETEX h fxx EX 100 FIELDS 1 f w => 1
             HTTL h FIELDS 1 f => [100]
             HSETEX h FIELDS 1 f x => 1
             HTTL h FIELDS 1 f => [-1]
             HSETEX h NX EX abc FIELDS 1 f v => 0",
        );
    });
}

#[test]
fn hsetex_propagates_without_conditions_and_with_an_absolute_ttl() {
    on_all(EVENTS, |rig| {
        rig.forget();
        for (line, effect) in [
            ("HSETEX h NX EX 100 FIELDS 1 f v", "HSETEX h PXAT <soon> FIELDS 1 f v"),
            ("HSETEX h fxx FIELDS 1 f v", "HSETEX h FIELDS 1 f v"),
            ("HSETEX h XX KEEPTTL FIELDS 1 f v", "HSETEX h KEEPTTL FIELDS 1 f v"),
        ] {
            rig.expect(line, "1");
            rig.expect_effects(&[effect]);
        }
    });
}

#[test]
fn hsetex_keepttl_keeps_a_live_ttl_and_drops_an_expired_one() {
    on_all(EVENTS, |rig| {
        rig.script(
            "HSETEX k EX 100 FIELDS 1 f v => 1
             HSETEX k KEEPTTL FIELDS 1 f w => 1
             HTTL k FIELDS 1 f => [100]",
        );
        with_expired_field(rig);
        rig.expect("HSETEX h KEEPTTL FIELDS 1 f 9", "1");
        rig.expect_events(&["hexpired:h", "hset:h"]);
        rig.expect_effects(&["MULTI", "HDEL h f", "HSETEX h KEEPTTL FIELDS 1 f 9", "EXEC"]);
        rig.script("HTTL h FIELDS 1 f => [-1]\nHGET h f => 9");
    });
}

#[test]
fn hgetex_without_options_neither_propagates_nor_publishes() {
    on_all(EVENTS, |rig| {
        rig.expect("HSET h f v", "1");
        rig.forget();
        rig.script("HGETEX h FIELDS 2 f nofield => [v nil]\nHGETEX nokey FIELDS 1 f => [nil]");
        rig.expect_effects(&[]);
        assert!(rig.events().iter().all(|event| event.starts_with("keymiss")));
    });
}

#[test]
fn hgetex_propagates_only_the_fields_it_changed() {
    on_all(EVENTS, |rig| {
        rig.script("HSET h f v g w => 2\nHEXPIRE h 100 FIELDS 1 f => [1]");
        rig.forget();
        rig.expect("HGETEX h PERSIST FIELDS 3 f g nofield", "[v w nil]");
        rig.expect_effects(&["HPERSIST h FIELDS 1 f"]);
        rig.expect_events(&["hpersist:h"]);
        rig.expect("HGETEX h EX 100 FIELDS 2 f nofield", "[v nil]");
        rig.expect_effects(&["HPEXPIREAT h <soon> FIELDS 1 f"]);
        rig.expect_events(&["hexpire:h"]);
        rig.expect("HGETEX h PXAT 1 FIELDS 2 f g", "[v w]");
        rig.expect_effects(&["HDEL h f g"]);
        rig.expect_events(&["hexpired:h", "del:h"]);
    });
}

#[test]
fn hgetdel_of_all_fields_removes_the_key() {
    on_all(EVENTS, |rig| {
        rig.expect("HSET h f v g w", "2");
        rig.forget();
        rig.expect("HGETDEL h FIELDS 3 f f g", "[v nil w]");
        rig.expect_events(&["hdel:h", "del:h"]);
        rig.expect_effects(&["HGETDEL h FIELDS 3 f f g"]);
        rig.expect("EXISTS h", "0");
        rig.expect("HGETDEL h FIELDS 1 f", "[nil]");
        rig.expect_effects(&[]);
    });
}

#[test]
fn other_keywords_than_fields_are_syntax_errors() {
    on_all(&[], |rig| {
        rig.expect("HSET h f v", "1");
        for command in ["HPERSIST", "HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HGETDEL"] {
            rig.expect(&format!("{command} h FOO 1 f"), "ERR syntax error");
            rig.expect(
                &format!("{command} h FIELDS"),
                &format!("ERR wrong number of arguments for '{}' command", command.to_lowercase()),
            );
        }
    });
}

#[test]
fn a_wrong_count_of_fields() {
    on_all(&[], |rig| {
        rig.expect("HSET h f v", "1");
        for command in ["HTTL h", "HPTTL h", "HEXPIRETIME h", "HPEXPIRETIME h"] {
            for count in ["0", "-1", "2"] {
                rig.expect(&format!("{command} FIELDS {count} f"), "ERR syntax error");
            }
        }
        for command in ["HPERSIST h", "HGETDEL h", "HEXPIRE h 10", "HGETEX h"] {
            for count in ["0", "-1", "2"] {
                rig.expect(&format!("{command} FIELDS {count} f"), NUMFIELDS);
            }
            rig.expect(&format!("{command} FIELDS x f"), "ERR value is not an integer or out of range");
        }
        rig.script(&format!(
            "HSETEX h FIELDS 2 f v => {NUMFIELDS}
             HSETEX h EX 10 f v x => {NUMFIELDS}
             HEXPIRE h 10 FOO FIELDS 1 f => ERR Unsupported option FOO
             HEXPIRE h 10 NX GT FIELDS 1 f => ERR NX and XX, GT or LT options at the same time are not compatible
             HEXPIRE h 10 GT LT FIELDS 1 f => ERR GT and LT options at the same time are not compatible
             HSETEX h NX XX FIELDS 1 f v => ERR syntax error
             HSETEX h FNX FXX FIELDS 1 f v => ERR syntax error
             HSETEX h EX 1 PX 1 FIELDS 1 f v => ERR syntax error
             HSETEX h EX 1 KEEPTTL FIELDS 1 f v => ERR syntax error
             HSETEX h PERSIST FIELDS 1 f v => ERR syntax error
             HGETEX h KEEPTTL FIELDS 1 f => ERR syntax error
             HGETEX h EX 1 PERSIST FIELDS 1 f => ERR syntax error
             HSETEX fields FIELDS 1 f v => ERR value is not an integer or out of range"
        ));
    });
}

#[test]
fn commands_on_another_type_give_exactly_one_error() {
    on_all(&[], |rig| {
        rig.expect("SET s v", "OK");
        for line in [
            "HPERSIST s FIELDS 1 f",
            "HTTL s FIELDS 1 f",
            "HEXPIRE s 10 FIELDS 1 f",
            "HSETEX s FIELDS 1 f v",
            "HGETEX s FIELDS 1 f",
            "HGETDEL s FIELDS 1 f",
        ] {
            rig.expect(line, "WRONGTYPE Operation against a key holding the wrong kind of value");
            rig.expect("PING", "PONG");
        }
    });
}

#[test]
fn hset_over_an_expired_field_counts_as_new_and_publishes_hexpired() {
    on_all(EVENTS, |rig| {
        for (line, reply, effect) in [
            ("HSET h f 9", "1", "HSET h f 9"),
            ("HMSET h f 9", "OK", "HMSET h f 9"),
            ("HSETNX h f 9", "1", "HSET h f 9"),
        ] {
            with_expired_field(rig);
            rig.expect(line, reply);
            rig.expect_events(&["hexpired:h", "hset:h"]);
            rig.expect_effects(&[effect]);
            rig.script("HTTL h FIELDS 1 f => [-1]\nHGET h f => 9");
        }
        assert_eq!(rig.number("expired_fields"), 3);
    });
}

#[test]
fn hincrby_keeps_a_live_ttl_and_restarts_over_an_expired_field() {
    on_all(EVENTS, |rig| {
        rig.expect("HSETEX k EX 100 FIELDS 1 f 1", "1");
        rig.forget();
        rig.expect("HINCRBY k f 4", "5");
        rig.expect_effects(&["HSETEX k PXAT <soon> FIELDS 1 f 5"]);
        rig.expect_events(&["hincrby:k"]);
        rig.expect("HINCRBY k other 4", "4");
        rig.expect_effects(&["HSET k other 4"]);
        rig.expect("HTTL k FIELDS 1 f", "[100]");
        rig.expect("HINCRBYFLOAT k f 0.5", "5.5");
        rig.expect_effects(&["HSETEX k PXAT <soon> FIELDS 1 f 5.5"]);
        with_expired_field(rig);
        rig.expect("HINCRBY h f 10", "10");
        rig.expect_events(&["hexpired:h", "hincrby:h"]);
        rig.expect_effects(&["HSET h f 10"]);
        rig.expect("HTTL h FIELDS 1 f", "[-1]");
    });
}

#[test]
fn reaping_1000_fields_at_effort_1_takes_13_visits() {
    for (effort, visits) in [("1", 13), ("10", 4)] {
        on_all(&[("notify-keyspace-events", "KEAmn"), ("active-expire-effort", effort)], |rig| {
            rig.stop_active_expiry();
            let names: Vec<String> = (0..1000).map(|i| format!("f{i}")).collect();
            rig.expect("HSET h stays v", "1");
            let pairs: Vec<String> = names.iter().map(|name| format!("{name} v")).collect();
            rig.expect(&format!("HSETEX h PX 1 FIELDS 1000 {}", pairs.join(" ")), "1");
            let over = rig.now_ms() + 2;
            rig.wait_past(over);
            rig.forget();
            rig.expect("DEBUG SET-ACTIVE-EXPIRE 1", "OK");
            rig.wait_until("all are reaped", |rig| rig.ask("HLEN h") == "1");
            let effects = rig.effects();
            assert_eq!(effects.len(), visits, "effort {effort}");
            assert!(effects.iter().all(|effect| effect.starts_with("HDEL h f")));
            assert_eq!(rig.events(), vec!["hexpired:h".to_owned(); visits]);
            assert_eq!(rig.number("expired_fields"), 1000);
        });
    }
}

#[test]
fn reaping_the_last_field_removes_the_key_in_a_transaction() {
    on_all(EVENTS, |rig| {
        rig.stop_active_expiry();
        rig.expect("HSET h f v", "1");
        expire_fields(rig, "h", "1 f");
        rig.expect("DEBUG SET-ACTIVE-EXPIRE 1", "OK");
        rig.wait_until("it is gone", |rig| rig.ask("DBSIZE") == "0");
        rig.expect_effects(&["MULTI", "HDEL h f", "UNLINK h", "EXEC"]);
        rig.expect_events(&["hexpired:h", "del:h"]);
        assert_eq!((rig.number("expired_fields"), rig.number("expired_keys")), (1, 0));
    });
}

#[test]
fn hexpired_is_of_class_x_in_the_background_and_of_class_h_from_a_command() {
    on_all(&[], |rig| {
        for (classes, expected) in [("Ex", vec!["hexpired:h"]), ("Eh", vec!["hexpired:c"])] {
            rig.expect("HSET h f v x y", "2");
            rig.set(&format!("notify-keyspace-events {classes}"));
            rig.forget();
            rig.expect("HSET c f v x y", "2");
            rig.expect("HEXPIRE c 0 FIELDS 1 f", "[2]");
            rig.set("notify-keyspace-events \"\"");
            rig.expect("HPEXPIRE h 80 FIELDS 1 f", "[1]");
            rig.set(&format!("notify-keyspace-events {classes}"));
            rig.wait_until("it is reaped", |rig| rig.ask("HLEN h") == "1");
            // With nothing chosen, ours records all for ACTOR EVENTS.
            let events: Vec<String> =
                rig.events().into_iter().filter(|event| event.starts_with("hexpired")).collect();
            assert_eq!(events, expected, "{classes}");
            rig.script("DEL h c => 2");
        }
    });
}

#[test]
fn keys_with_volatile_items_follows_what_happens_to_hashes() {
    on_all(&[], |rig| {
        let make = "HSETEX h EX 100 FIELDS 1 f v";
        rig.expect(make, "1");
        assert_eq!(rig.keyspace("keys_with_volatile_items"), 1);
        rig.expect("HSET h plain v", "1");
        for line in ["SET h v", "DEL h", "HPERSIST h FIELDS 1 f", "HDEL h f", "RENAME h other", "FLUSHALL"] {
            rig.expect("FLUSHALL", "OK");
            rig.expect(make, "1");
            rig.expect("HSET h plain v", "1");
            rig.ask(line);
            let left = u64::from(line.starts_with("RENAME"));
            assert_eq!(rig.keyspace("keys_with_volatile_items"), left, "{line}");
        }
        rig.script("FLUSHALL\nSET s v");
        rig.expect(make, "1");
        let command = support::text::words("DUMP s");
        let payload = match rig.connection(Who::Client).call(&command).expect("a reply").value {
            support::resp::Value::Bulk(bytes) => support::text::escape(&bytes),
            other => panic!("{other}"),
        };
        rig.expect(&format!("RESTORE h 0 \"{payload}\" REPLACE"), "OK");
        assert_eq!(rig.keyspace("keys_with_volatile_items"), 0);
    });
}

#[test]
fn copy_omits_expired_fields_and_dump_with_restore_keeps_them() {
    on_all(&[], |rig| {
        with_expired_field(rig);
        rig.script("COPY h c => 1\nHLEN c => 1\nHGETALL c => [g 2]");
        let command = support::text::words("DUMP h");
        let payload = match rig.connection(Who::Client).call(&command).expect("a reply").value {
            support::resp::Value::Bulk(bytes) => support::text::escape(&bytes),
            other => panic!("{other}"),
        };
        rig.expect(&format!("RESTORE r 0 \"{payload}\""), "OK");
        rig.script("HLEN r => 2\nHGETALL r => [g 2]\nRENAME h h2\nHLEN h2 => 2");
    });
}

#[test]
fn watch_is_dirtied_when_a_field_is_reaped_and_not_when_it_expires() {
    on_all(&[], |rig| {
        rig.stop_active_expiry();
        rig.expect("HSET h f v g w", "2");
        rig.expect("HPEXPIRE h 20 FIELDS 1 f", "[1]");
        rig.expect("WATCH h", "OK");
        let later = rig.now_ms() + 30;
        rig.wait_past(later);
        rig.script("MULTI\nPING => QUEUED\nEXEC => [PONG]\nWATCH h");
        rig.expect_by(Who::Admin, "DEBUG SET-ACTIVE-EXPIRE 1", "OK");
        rig.wait_until("it is reaped", |rig| rig.by(Who::Admin, "HLEN h") == "1");
        rig.script("MULTI\nPING => QUEUED\nEXEC => nil");
    });
}

#[test]
fn a_field_ttl_may_be_read_in_every_unit_and_rounds_half_up() {
    on_all(&[], |rig| {
        rig.script(
            "HSET h f v g w => 2
             HPEXPIREAT h 99999999999500 FIELDS 1 f => [1]
             HEXPIRETIME h FIELDS 3 f g nofield => [100000000000 -1 -2]
             HPEXPIRETIME h FIELDS 1 f => [99999999999500]
             HPEXPIRE h 1600 FIELDS 1 f => [1]
             HTTL h FIELDS 3 f g nofield => [2 -1 -2]
             HTTL nokey FIELDS 2 a b => [-2 -2]
             PERSIST h => 0
             EXPIRE h 100 => 1
             PERSIST h => 1
             HTTL h FIELDS 1 g => [-1]",
        );
    });
}
