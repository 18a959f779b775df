//! Import mode as clients meet it, behaviour by behaviour; each test is named after the one it holds. Run on a real
//! Valkey too. What is ours alone is at the end.

mod support;

use std::time::{Duration, Instant};

use support::rig::{LEAD_MS, Rig, Who, on_all, on_ours};

const EVENTS: &[(&str, &str)] = &[("notify-keyspace-events", "KEAmn")];
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Import mode with `Who::Source` as the import source.
fn importing(rig: &mut Rig) {
    rig.set("import-mode yes");
    rig.expect_by(Who::Source, "CLIENT IMPORT-SOURCE ON", "OK");
}

/// A database with the key `k` (value 1), expired, in import mode.
fn with_expired_key(rig: &mut Rig) {
    importing(rig);
    rig.expect_by(Who::Source, "SET k 1", "OK");
    rig.expire(&["k"]);
    rig.forget();
}

fn flags(rig: &mut Rig, who: Who) -> String {
    let line = rig.by(who, "CLIENT INFO");
    line.split(' ').find_map(|word| word.strip_prefix("flags=")).expect("flags").to_owned()
}

#[test]
fn import_source_on_is_refused_while_the_mode_is_off() {
    on_all(&[], |rig| {
        rig.expect("CLIENT IMPORT-SOURCE ON", "ERR Server is not in import mode");
        rig.expect(
            "CLIENT IMPORT-SOURCE",
            "ERR wrong number of arguments for 'client|import-source' command",
        );
    });
}

#[test]
fn import_source_off_succeeds_while_the_mode_is_off() {
    on_all(&[], |rig| {
        rig.expect("CLIENT IMPORT-SOURCE OFF", "OK");
        rig.expect("CLIENT IMPORT-SOURCE oFf", "OK");
    });
}

#[test]
fn an_unknown_argument_gives_the_error_of_the_mode_when_off_and_a_syntax_error_when_on() {
    on_all(&[], |rig| {
        rig.expect("CLIENT IMPORT-SOURCE maybe", "ERR Server is not in import mode");
        rig.set("import-mode yes");
        rig.expect("CLIENT IMPORT-SOURCE maybe", "ERR syntax error");
        rig.expect(
            "CONFIG SET import-mode maybe",
            "ERR CONFIG SET failed (possibly related to argument 'import-mode') - argument must be 'yes' or 'no'",
        );
    });
}

#[test]
fn the_flag_i_appears_after_on_and_goes_after_off() {
    on_all(&[], |rig| {
        importing(rig);
        assert_eq!(flags(rig, Who::Source), "I");
        rig.expect_by(Who::Source, "CLIENT NO-EVICT ON", "OK");
        rig.expect_by(Who::Source, "CLIENT NO-TOUCH ON", "OK");
        assert_eq!(flags(rig, Who::Source), "eTI");
        let listed = rig.by(Who::Admin, "CLIENT LIST FLAGS I");
        assert_eq!(listed.matches("id=").count(), 1, "{listed}");
        rig.expect_by(Who::Source, "CLIENT NO-EVICT OFF", "OK");
        rig.expect_by(Who::Source, "CLIENT NO-TOUCH OFF", "OK");
        rig.expect_by(Who::Source, "CLIENT IMPORT-SOURCE OFF", "OK");
        assert_eq!(flags(rig, Who::Source), "N");
    });
}

#[test]
fn reset_clears_the_flag_and_auth_does_not() {
    on_all(&[("requirepass", "pw")], |rig| {
        for who in [Who::Source, Who::Admin] {
            rig.expect_by(who, "AUTH pw", "OK");
        }
        importing(rig);
        rig.expect_by(Who::Source, "AUTH pw", "OK");
        rig.by(Who::Source, "HELLO 2 AUTH default pw");
        rig.expect_by(Who::Source, "SELECT 1", "OK");
        assert_eq!(flags(rig, Who::Source), "I");
        rig.expect_by(Who::Source, "RESET", "RESET");
        rig.expect_by(Who::Source, "AUTH pw", "OK");
        assert_eq!(flags(rig, Who::Source), "N");
    });
}

#[test]
fn turning_the_mode_off_keeps_the_flag_and_on_again_makes_it_effective() {
    on_all(&[], |rig| {
        rig.stop_active_expiry();
        with_expired_key(rig);
        rig.expect_by(Who::Source, "GET k", "1");
        rig.set("import-mode no");
        assert_eq!(flags(rig, Who::Source), "I");
        rig.set("import-mode yes");
        rig.expect_by(Who::Source, "GET k", "1");
        rig.set("import-mode no");
        rig.expect_by(Who::Source, "GET k", "nil");
    });
}

#[test]
fn import_source_queues_in_multi_and_takes_effect_between_commands() {
    on_all(&[], |rig| {
        with_expired_key(rig);
        rig.script(
            "S: MULTI
             S: GET k => QUEUED
             S: CLIENT IMPORT-SOURCE OFF => QUEUED
             S: GET k => QUEUED
             S: CLIENT IMPORT-SOURCE ON => QUEUED
             S: GET k => QUEUED
             S: EXEC => [1 OK nil OK 1]",
        );
        if rig.knows("eval") {
            rig.expect_by(
                Who::Source,
                "EVAL \"return redis.call('client','import-source','on')\" 0",
                "ERR This Valkey command is not allowed from script script: on @user_script:1.",
            );
        }
    });
}

#[test]
fn a_user_without_the_permission_gets_noperm() {
    on_all(&[], |rig| {
        if !rig.knows("acl") {
            return;
        }
        rig.set("import-mode yes");
        rig.expect_by(Who::Admin, "ACL SETUSER u on nopass +@all ~* -client|import-source", "OK");
        rig.expect("AUTH u x", "OK");
        rig.expect(
            "CLIENT IMPORT-SOURCE ON",
            "NOPERM User u has no permissions to run the 'client|import-source' command",
        );
    });
}

#[test]
fn no_key_is_removed_in_the_background_while_the_mode_is_on() {
    on_all(&[], |rig| {
        importing(rig);
        rig.expect_by(Who::Source, "SET k v PX 1", "OK");
        rig.expect_by(Who::Source, "HSETEX h PX 1 FIELDS 1 f v", "1");
        let over = rig.now_ms() + 1000;
        rig.wait_past(over);
        rig.expect("DBSIZE", "2");
        rig.expect("HLEN h", "1");
        assert_eq!((rig.number("expired_keys"), rig.number("expired_fields")), (0, 0));
        rig.set("import-mode no");
        rig.wait_until("both are gone", |rig| rig.ask("DBSIZE") == "0");
        assert_eq!((rig.number("expired_keys"), rig.number("expired_fields")), (1, 1));
    });
}

#[test]
fn an_ordinary_read_of_an_expired_key_returns_nil_and_leaves_it() {
    on_all(EVENTS, |rig| {
        with_expired_key(rig);
        rig.script(
            "GET k => nil
             STRLEN k => 0
             EXISTS k => 0
             TYPE k => none
             TTL k => -2
             PTTL k => -2
             EXPIRETIME k => -2
             PEXPIRETIME k => -2
             TOUCH k => 0
             OBJECT ENCODING k => nil
             DUMP k => nil
             GETEX k PERSIST => nil
             COPY k k2 => 0
             DBSIZE => 1",
        );
        rig.expect_effects(&[]);
        let events = rig.events();
        assert!(!events.is_empty() && events.iter().all(|event| event == "keymiss:k"), "{events:?}");
        assert!(rig.number("keyspace_misses") > 0);
        assert_ne!(rig.ask("MEMORY USAGE k"), "nil");
    });
}

#[test]
fn an_import_source_reads_the_value_and_ttl_0() {
    on_all(&[], |rig| {
        with_expired_key(rig);
        rig.script(
            "S: GET k => 1
             S: TTL k => 0
             S: PTTL k => 0
             S: EXISTS k => 1
             S: TYPE k => string
             S: TOUCH k => 1
             S: STRLEN k => 1
             S: COPY k k2 => 1
             S: OBJECT ENCODING k => int",
        );
        let deadline: i64 = rig.by(Who::Source, "PEXPIRETIME k").parse().expect("a number");
        assert!(deadline > 0 && deadline < rig.now_ms());
        rig.expect("GET k2", "nil");
        rig.expect_by(Who::Source, "GETEX k PERSIST", "1");
        rig.expect("GET k", "1");
    });
}

#[test]
fn incr_by_the_import_source_continues_from_the_stored_value() {
    on_all(&[], |rig| {
        importing(rig);
        rig.expect_by(Who::Source, "SET key 1 PX 5", "OK");
        let over = rig.now_ms() + 10;
        rig.wait_past(over);
        rig.script(
            "N: GET key => nil
             S: INCR key => 2
             S: GET key => 2
             S: TTL key => 0
             N: GET key => nil
             N: DBSIZE => 1
             S: EXPIRE key 100 => 1
             N: GET key => 2
             N: TTL key => 100",
        );
    });
}

#[test]
fn incr_by_an_ordinary_client_restarts_at_1_and_publishes_expired() {
    on_all(EVENTS, |rig| {
        with_expired_key(rig);
        rig.expect("INCR k", "1");
        rig.expect_events(&["expired:k", "new:k", "incrby:k"]);
        rig.expect_effects(&["MULTI", "UNLINK k", "INCR k", "EXEC"]);
        rig.expect_by(Who::Source, "GET k", "1");
        rig.expect("TTL k", "-1");
        assert_eq!(rig.number("expired_keys"), 1);
    });
}

#[test]
fn other_writes_by_an_ordinary_client_delete_first() {
    on_all(EVENTS, |rig| {
        importing(rig);
        let cases = [
            ("SET k v NX", "OK"),
            ("SET k v XX", "nil"),
            ("SETNX k v", "1"),
            ("EXPIRE k 10", "0"),
            ("PERSIST k", "0"),
            ("APPEND k x", "1"),
            ("RENAME k k2", "ERR no such key"),
            ("MOVE k 1", "0"),
            ("SET k v KEEPTTL", "OK"),
        ];
        for (line, reply) in cases {
            rig.expect_by(Who::Source, "FLUSHALL", "OK");
            rig.expect_by(Who::Source, "SET k 1", "OK");
            rig.expire(&["k"]);
            rig.forget();
            rig.expect(line, reply);
            assert_eq!(rig.events().first().map(String::as_str), Some("expired:k"), "{line}");
            assert!(rig.effects().contains(&"UNLINK k".to_owned()), "{line}");
            rig.expect_by(Who::Source, "TTL k", if rig_has(line) { "-1" } else { "-2" });
        }
        // The read half of these is a read, which leaves the key in place until the write half.
        for line in ["GETSET k v", "SET k v GET"] {
            rig.expect_by(Who::Source, "SET k 1", "OK");
            rig.expire(&["k"]);
            rig.forget();
            rig.expect(line, "nil");
            rig.expect_events(&["keymiss:k", "expired:k", "new:k", "set:k"]);
        }
    });
}

/// Whether the command leaves a key behind.
fn rig_has(line: &str) -> bool {
    ["SET k v NX", "SETNX", "APPEND", "SET k v KEEPTTL"].iter().any(|start| line.starts_with(start))
}

#[test]
fn writes_by_the_import_source_see_the_key() {
    on_all(&[], |rig| {
        importing(rig);
        let cases = [
            ("SET k v NX", "nil"),
            ("SET k v XX", "OK"),
            ("SETNX k v", "0"),
            ("PERSIST k", "1"),
            ("APPEND k x", "2"),
            ("RENAME k k2", "OK"),
            ("GETDEL k", "1"),
            ("GETSET k v", "1"),
            ("DELIFEQ k 1", "1"),
            ("DEL k", "1"),
            ("UNLINK k", "1"),
            ("MOVE k 1", "1"),
        ];
        for (line, reply) in cases {
            rig.expect_by(Who::Source, "FLUSHALL", "OK");
            rig.expect_by(Who::Source, "SET k 1", "OK");
            rig.expire(&["k"]);
            rig.expect_by(Who::Source, line, reply);
        }
        rig.expect_by(Who::Source, "SET k 1", "OK");
        rig.expire(&["k"]);
        rig.expect_by(Who::Source, "SET k 2 KEEPTTL", "OK");
        rig.expect_by(Who::Source, "TTL k", "0");
        assert_eq!(rig.number("expired_keys"), 0);
    });
}

#[test]
fn keys_and_scan_list_expired_keys_only_for_the_import_source() {
    on_all(&[], |rig| {
        with_expired_key(rig);
        rig.script(
            "KEYS * => []
             S: KEYS * => [k]
             DBSIZE => 1",
        );
        assert!(!scan(rig, Who::Client).contains("[k]"));
        assert!(scan(rig, Who::Source).contains("[k]"));
        rig.expect("DBSIZE", "1");
        rig.expect_effects(&[]);
        assert_eq!((rig.keyspace("keys"), rig.keyspace("expires")), (1, 1));
    });
}

/// All pages of a SCAN.
fn scan(rig: &mut Rig, who: Who) -> String {
    let (mut cursor, mut all) = ("0".to_owned(), String::new());
    loop {
        let page = rig.by(who, &format!("SCAN {cursor} COUNT 1000"));
        all += &page;
        cursor = page[1..].split(' ').next().expect("a cursor").to_owned();
        if cursor == "0" {
            return all;
        }
    }
}

#[test]
fn randomkey_terminates_on_a_database_of_expired_keys() {
    on_all(&[], |rig| {
        with_expired_key(rig);
        rig.expect("RANDOMKEY", "k");
        rig.expect_by(Who::Source, "RANDOMKEY", "k");
        rig.expect_by(Who::Source, "SET live v", "OK");
        for _ in 0..20 {
            rig.expect("RANDOMKEY", "live");
        }
        rig.expect("DBSIZE", "2");
    });
}

#[test]
fn del_of_an_expired_key_by_an_ordinary_client_returns_1() {
    on_all(EVENTS, |rig| {
        with_expired_key(rig);
        rig.expect("DEL k", "1");
        rig.expect_events(&["del:k"]);
        rig.expect_effects(&["DEL k"]);
        rig.expect("DBSIZE", "0");
    });
}

#[test]
fn getdel_of_an_expired_key_by_an_ordinary_client_returns_nil_and_removes_it() {
    on_all(EVENTS, |rig| {
        with_expired_key(rig);
        rig.expect("GETDEL k", "nil");
        rig.expect_events(&["keymiss:k", "del:k"]);
        rig.expect_effects(&["DEL k"]);
        rig.expect("DBSIZE", "0");
    });
}

#[test]
fn a_watched_key_that_expires_aborts_exec_for_the_ordinary_client_only() {
    on_all(&[], |rig| {
        importing(rig);
        for (who, reply) in [(Who::Client, "nil"), (Who::Source, "[PONG]")] {
            rig.expect_by(who, "SET k 1", "OK");
            rig.expect_by(who, "PEXPIRE k 30", "1");
            rig.expect_by(who, "WATCH k", "OK");
            let over = rig.now_ms() + 40;
            rig.wait_past(over);
            rig.expect_by(who, "MULTI", "OK");
            rig.expect_by(who, "PING", "QUEUED");
            rig.expect_by(who, "EXEC", reply);
        }
    });
}

#[test]
fn scripts_see_what_the_client_that_runs_them_sees() {
    on_all(&[], |rig| {
        if !rig.knows("eval") {
            return;
        }
        with_expired_key(rig);
        rig.expect("EVAL \"return redis.call('get','k')\" 1 k", "nil");
        rig.expect_by(Who::Source, "EVAL \"return redis.call('get','k')\" 1 k", "1");
    });
}

#[test]
fn expire_with_a_past_ttl_keeps_the_key_and_propagates_pexpireat() {
    on_all(EVENTS, |rig| {
        importing(rig);
        for line in ["EXPIRE k 0", "PEXPIRE k 0", "EXPIRE k -1"] {
            rig.expect("SET k v", "OK");
            rig.forget();
            rig.expect(line, "1");
            rig.expect_events(&["expire:k"]);
            rig.expect_effects(&["PEXPIREAT k <soon>"]);
            let over = rig.now_ms();
            rig.wait_past(over);
            rig.expect("GET k", "nil");
            rig.expect_by(Who::Source, "GET k", "v");
            rig.expect_by(Who::Source, "DEL k", "1");
        }
    });
}

#[test]
fn negative_deadlines_are_stored_as_0_and_survive_the_end_of_the_mode() {
    on_all(EVENTS, |rig| {
        for (line, effect) in [
            ("EXPIREAT k 0", "PEXPIREAT k 0"),
            ("EXPIREAT k -1", "PEXPIREAT k 0"),
            ("EXPIRE k -9223372036854775", "PEXPIREAT k 0"),
            ("PEXPIREAT k -5", "PEXPIREAT k -5"),
            ("PEXPIRE k -9223372036854775808", ""),
        ] {
            importing(rig);
            rig.expect("SET k v", "OK");
            rig.forget();
            rig.expect(line, "1");
            if !effect.is_empty() {
                rig.expect_effects(&[effect]);
            }
            rig.expect_by(Who::Source, "PEXPIRETIME k", "0");
            rig.expect_by(Who::Source, "TTL k", "0");
            rig.set("import-mode no");
            rig.wait_until("the key is gone", |rig| rig.ask("DBSIZE") == "0");
        }
        for line in
            ["EXPIRE k 9223372036854775807", "EXPIRE k -9223372036854775808", "PEXPIRE k 9223372036854775807"]
        {
            importing(rig);
            rig.expect("SET k v", "OK");
            let name = if line.starts_with('P') { "pexpire" } else { "expire" };
            rig.expect(line, &format!("ERR invalid expire time in '{name}' command"));
            rig.expect("DEL k", "1");
        }
    });
}

#[test]
fn set_with_a_past_deadline_creates_a_key_that_only_the_import_source_sees() {
    on_all(EVENTS, |rig| {
        importing(rig);
        rig.forget();
        rig.expect("SET k v PXAT 1", "OK");
        rig.expect_events(&["new:k", "set:k", "expire:k"]);
        rig.expect_effects(&["SET k v PXAT <soon>"]);
        rig.expect("GET k", "nil");
        rig.expect_by(Who::Source, "GET k", "v");
        rig.script(
            "SET g v
             GETEX g PXAT 1 => v
             GET g => nil
             S: PEXPIRETIME g => 1
             SET z v EX 0 => ERR invalid expire time in 'set' command
             SETEX z 0 v => ERR invalid expire time in 'setex' command
             PSETEX z -1 v => ERR invalid expire time in 'psetex' command
             GETEX g EX 0 => ERR invalid expire time in 'getex' command
             MSETEX 1 m v PXAT 1 => 1
             S: GET m => v
             MSETEX 1 m v EX 0 => ERR invalid expire time in 'msetex' command",
        );
        rig.set("import-mode no");
        rig.wait_until("all are gone", |rig| rig.ask("DBSIZE") == "0");
    });
}

#[test]
fn restore_with_a_past_deadline_creates_the_key() {
    on_all(EVENTS, |rig| {
        importing(rig);
        rig.expect("SET k v", "OK");
        let dumped = support::text::words("DUMP k");
        let payload = match rig.connection(Who::Client).call(&dumped).expect("a reply").value {
            support::resp::Value::Bulk(bytes) => support::text::escape(&bytes),
            other => panic!("{other}"),
        };
        rig.forget();
        rig.expect(&format!("RESTORE r 1 \"{payload}\" ABSTTL"), "OK");
        rig.expect_events(&["new:r", "restore:r"]);
        rig.expect("GET r", "nil");
        rig.expect_by(Who::Source, "GET r", "v");
        rig.expect_by(
            Who::Source,
            &format!("RESTORE r 0 \"{payload}\""),
            "BUSYKEY Target key name already exists.",
        );
        rig.expect(&format!("RESTORE new -1 \"{payload}\""), "ERR Invalid TTL value, must be >= 0");
        rig.expect(&format!("RESTORE r 0 \"{payload}\""), "OK");
        rig.expect("TTL r", "-1");
    });
}

#[test]
fn hsetex_with_a_past_deadline_stores_the_field_until_the_mode_ends() {
    on_all(EVENTS, |rig| {
        importing(rig);
        rig.forget();
        rig.script(
            "HSETEX h EXAT 0 FIELDS 1 f v => 1
             HGET h f => nil
             HLEN h => 1
             S: HGET h f => v
             S: HTTL h FIELDS 1 f => [0]
             S: HPEXPIRETIME h FIELDS 1 f => [0]",
        );
        rig.expect_effects(&["HSETEX h PXAT 0 FIELDS 1 f v"]);
        assert_eq!(rig.events().iter().filter(|e| *e != "keymiss:h").count(), 3);
        rig.set("import-mode no");
        rig.wait_until("it is gone", |rig| rig.ask("DBSIZE") == "0");
        rig.expect_events(&["hexpired:h", "del:h"]);
    });
}

/// A hash with the live field `g`, and `f` (value 1) expired.
fn with_expired_field(rig: &mut Rig) {
    rig.expect_by(Who::Source, "DEL h", "1");
    rig.by(Who::Source, "HSET h f 1 g 2");
    let deadline = rig.now_ms() + LEAD_MS;
    rig.expect_by(Who::Source, &format!("HPEXPIREAT h {deadline} FIELDS 1 f"), "[1]");
    rig.wait_past(deadline);
    rig.forget();
}

#[test]
fn fields_are_hidden_from_ordinary_clients_and_shown_to_the_import_source() {
    on_all(EVENTS, |rig| {
        importing(rig);
        rig.expect("HSET h x y", "1");
        with_expired_field(rig);
        for (line, ordinary, source) in [
            ("HGET h f", "nil", "1"),
            ("HMGET h f g", "[nil 2]", "[1 2]"),
            ("HEXISTS h f", "0", "1"),
            ("HSTRLEN h f", "0", "1"),
            ("HLEN h", "2", "2"),
            ("HTTL h FIELDS 1 f", "[-2]", "[0]"),
            ("HPTTL h FIELDS 1 f", "[-2]", "[0]"),
            ("HRANDFIELD h", "g", "g"),
            ("HRANDFIELD h -2", "[g g]", "[g g]"),
        ] {
            rig.expect(line, ordinary);
            rig.expect_by(Who::Source, line, source);
        }
        for (line, count) in [("HGETALL h", (2, 4)), ("HKEYS h", (1, 2)), ("HVALS h", (1, 2))] {
            let words = |text: String| text.split(' ').filter(|word| *word != "[]").count();
            assert_eq!((words(rig.ask(line)), words(rig.by(Who::Source, line))), count, "{line}");
        }
        assert_eq!(rig.ask("HRANDFIELD h 5"), "[g]");
        assert_eq!(rig.by(Who::Source, "HRANDFIELD h 5").len(), "[f g]".len());
        rig.expect("HSCAN h 0", "[0 [g 2]]");
        assert_eq!(rig.by(Who::Source, "HSCAN h 0").len(), "[0 [f 1 g 2]]".len());
        rig.expect_effects(&[]);
    });
}

#[test]
fn commands_that_change_fields_in_import_mode() {
    // Command, reply and HTTL of f (asked by the import source) after it: for the ordinary client, for the source.
    /// What the source sees, or what others see: an answer for each of two cases.
    type Pair = (&'static str, &'static str);
    const CASES: &[(&str, Pair, Pair)] = &[
        ("HSET h f 9", ("0", "[-1]"), ("0", "[-1]")),
        ("HSETNX h f 9", ("1", "[-1]"), ("0", "[0]")),
        ("HINCRBY h f 10", ("10", "[-1]"), ("11", "[0]")),
        ("HDEL h f", ("0", "[0]"), ("1", "[-2]")),
        ("HGETDEL h FIELDS 1 f", ("[nil]", "[0]"), ("[1]", "[-2]")),
        ("HEXPIRE h 100 FIELDS 1 f", ("[-2]", "[0]"), ("[1]", "[100]")),
        ("HPERSIST h FIELDS 1 f", ("[-2]", "[0]"), ("[1]", "[-1]")),
        ("HSETEX h KEEPTTL FIELDS 1 f 9", ("1", "[0]"), ("1", "[0]")),
        ("HSETEX h FNX FIELDS 1 f 9", ("1", "[-1]"), ("0", "[0]")),
        ("HSETEX h FXX FIELDS 1 f 9", ("0", "[0]"), ("1", "[-1]")),
        ("HGETEX h PERSIST FIELDS 1 f", ("[nil]", "[0]"), ("[1]", "[-1]")),
        ("HEXPIRE h 0 FIELDS 1 g", ("[1]", "[0]"), ("[1]", "[0]")),
        ("HEXPIREAT h 1 FIELDS 1 g", ("[1]", "[0]"), ("[1]", "[0]")),
        ("HGETEX h PXAT 1 FIELDS 1 g", ("[2]", "[0]"), ("[2]", "[0]")),
        (
            "HEXPIRE h -1 FIELDS 1 g",
            ("ERR invalid expire time in 'hexpire' command", "[0]"),
            ("ERR invalid expire time in 'hexpire' command", "[0]"),
        ),
    ];
    on_all(EVENTS, |rig| {
        importing(rig);
        rig.expect("HSET h x y", "1");
        for (line, ordinary, source) in CASES {
            for (who, (reply, ttl)) in [(Who::Client, ordinary), (Who::Source, source)] {
                with_expired_field(rig);
                rig.expect_by(who, line, reply);
                let label = rig.server.label;
                assert_eq!(&rig.by(Who::Source, "HTTL h FIELDS 1 f"), ttl, "{label}: {who:?}: {line}");
            }
        }
    });
}

#[test]
fn above_maxmemory_nothing_is_evicted_and_writes_are_refused() {
    on_all(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        importing(rig);
        rig.expect("SET k v", "OK");
        rig.set("maxmemory 1");
        for who in [Who::Client, Who::Source] {
            rig.expect_by(who, "SET x v", OOM);
            rig.expect_by(who, "GET k", "v");
            rig.expect_by(who, "EXPIRE k 100", "1");
        }
        assert_eq!((rig.ask("DBSIZE").as_str(), rig.number("evicted_keys")), ("1", 0));
        rig.expect("DEL k", "1");
    });
}

#[test]
fn turning_the_mode_off_resumes_eviction() {
    on_all(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        importing(rig);
        (0..20).for_each(|i| rig.expect(&format!("SET k{i} v"), "OK"));
        rig.set("maxmemory 1");
        rig.set("import-mode no");
        rig.wait_until("all keys are evicted", |rig| rig.ask("DBSIZE") == "0");
        assert_eq!(rig.number("evicted_keys"), 20);
    });
}

#[test]
fn config_rewrite_persists_the_mode() {
    // The file is an argument of its own, so the servers are started by hand.
    let Some(reference) = support::server::reference_binary("CONFIG REWRITE") else { return };
    for launch in [support::server::Launch::reference(&reference), support::server::Launch::skuld(1)]
        .map(|l| l.config(""))
    {
        let server = launch.start();
        let mut client = server.connect();
        client.ask("CONFIG SET import-mode yes");
        assert_eq!(client.ask("CONFIG REWRITE").text(), "OK");
        let text = std::fs::read_to_string(server.dir().join("server.conf")).expect("readable");
        assert!(text.contains("import-mode yes"), "{text}");
    }
}

#[test]
fn the_clock_of_a_ttl_and_the_command_statistics_are_named_as_in_valkey() {
    on_all(&[], |rig| {
        importing(rig);
        assert!(rig.info("cmdstat_client|import-source").starts_with("calls=1,"));
    });
}

/// What INFO says about import mode beyond Valkey.
#[test]
fn info_tells_how_long_the_mode_is_on_and_how_many_sources_there_are() {
    on_ours(&[], |rig| {
        assert_eq!(
            (rig.info("skuld_import_mode_seconds"), rig.number("skuld_import_sources")),
            ("-1".into(), 0)
        );
        importing(rig);
        assert_eq!(rig.number("skuld_import_sources"), 1);
        rig.wait_until("a second has passed", |rig| rig.info("skuld_import_mode_seconds") == "1");
        rig.expect_by(Who::Source, "CLIENT IMPORT-SOURCE OFF", "OK");
        assert_eq!(rig.number("skuld_import_sources"), 0);
        rig.set("import-mode no");
        assert_eq!(rig.info("skuld_import_mode_seconds"), "-1");
    });
}

#[test]
fn the_mode_ends_by_itself_some_time_after_its_last_source_has_gone() {
    on_ours(&[("import-mode", "yes"), ("import-mode-auto-end-seconds", "1")], |rig| {
        // Nobody has imported anything yet: it goes on.
        let later = rig.now_ms() + 2500;
        rig.wait_past(later);
        rig.expect("CONFIG GET import-mode", "[import-mode yes]");
        rig.expect_by(Who::Source, "CLIENT IMPORT-SOURCE ON", "OK");
        rig.expect_by(Who::Source, "SET k v PXAT 1", "OK");
        let later = rig.now_ms() + 2500;
        rig.wait_past(later);
        rig.expect("CONFIG GET import-mode", "[import-mode yes]");
        let began = Instant::now();
        rig.expect_by(Who::Source, "RESET", "RESET");
        rig.wait_until("the mode has ended", |rig| rig.ask("CONFIG GET import-mode") == "[import-mode no]");
        assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
        rig.wait_until("what had expired is swept", |rig| rig.ask("DBSIZE") == "0");
        rig.server.wait_for_log("Import mode has ended by itself");
        rig.server.wait_for_log("Import mode is off: 1 expired");
    });
}

#[test]
fn leaving_the_mode_is_a_transition_that_the_trace_shows() {
    on_ours(&[], |rig| {
        importing(rig);
        for i in 0..50 {
            rig.expect_by(Who::Source, &format!("SET k{i} v PXAT 1"), "OK");
        }
        rig.expect_by(Who::Admin, "ACTOR TRACE START", "OK");
        rig.set("import-mode no");
        rig.wait_until("all are swept", |rig| rig.ask("DBSIZE") == "0");
        let trace = rig.by(Who::Admin, "ACTOR TRACE GET 2000");
        for receiver in ["receiver expiry-scanner", "receiver evictor"] {
            assert!(
                trace.split("[trace").any(|r| r.contains("ImportModeChanged") && r.contains(receiver)),
                "{trace}"
            );
        }
        assert_eq!(rig.number("expired_keys"), 50);
        rig.server.wait_for_log("Import mode is off: 50 expired keys and fields were removed");
    });
}

#[test]
fn a_warning_is_logged_when_memory_passes_maxmemory_while_the_mode_is_on() {
    on_ours(&[("maxmemory-policy", "allkeys-lru")], |rig| {
        importing(rig);
        rig.set("maxmemory 1");
        rig.server.wait_for_log("Import mode is on, so nothing is evicted although used memory");
        let first = rig.server.log().matches("so nothing is evicted").count();
        let later = rig.now_ms() + 500;
        rig.wait_past(later);
        assert_eq!(rig.server.log().matches("so nothing is evicted").count(), first);
    });
}
