use crate::commands::testing::Bench;
use crate::effects::{Garbage, class};
use crate::expiry::rules::Situation;
use crate::expiry::wheel::Popped;
use crate::keyspace::access::Place;
use crate::keyspace::{Access, Database, Touch};
use crate::resp::Protocol;
use crate::rng::Rng;
use std::collections::BTreeMap;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        HSET h a 1 b 2 | 2 | HSET h a 1 b 2 | new h; hset h
        HSET h a 1 c 3 | 2 | HSET h a 1 c 3 | hset h
        HMSET h a x | 1 | HMSET h a x | hset h
        HSETNX h a y | 0 |  |
        HSETNX h d 4 | 1 | HSETNX h d 4 | hset h
        HGET h a | 0 |  |
        HGET nope a | 0 |  | keymiss nope
        HMGET nope a b | 0 |  | keymiss nope
        HGETALL nope | 0 |  | keymiss nope
        HLEN nope | 0 |  | keymiss nope
        HRANDFIELD nope 2 | 0 |  | keymiss nope
        HINCRBY h b 3 | 1 | HINCRBY h b 3 | hincrby h
        HINCRBY h n 3 | 1 | HINCRBY h n 3 | hincrby h
        HINCRBYFLOAT h b 1.5 | 1 | HSET h b 6.5 | hincrbyfloat h
        HINCRBYFLOAT h m 1e3 | 1 | HSET h m 1000 | hincrbyfloat h
        HDEL h a zz a | 1 | HDEL h a zz a | hdel h
        HDEL h zz | 0 |  |
        HDEL nope zz | 0 |  |
        HDEL h b c d n m | 5 | HDEL h b c d n m | hdel h; del h
        HEXPIRE nope 10 FIELDS 1 a | 0 |  |
        HSET h a 1 b 2 c 3 | 3 | HSET h a 1 b 2 c 3 | new h; hset h
        HPEXPIREAT h 99999999999999 FIELDS 2 a zz | 1 | HPEXPIREAT h 99999999999999 FIELDS 2 a zz | hexpire h
        HEXPIREAT h 99999999999 NX FIELDS 2 a b | 1 | HPEXPIREAT h 99999999999000 NX FIELDS 2 a b | hexpire h
        HEXPIREAT h 99999999998 GT FIELDS 1 b | 0 |  |
        HEXPIREAT h 1 GT FIELDS 1 b | 0 |  |
        HSETNX h d 4 | 1 | HSET h d 4 | hset h
        HINCRBY h a 5 | 1 | HSETEX h PXAT 99999999999999 FIELDS 1 a 6 | hincrby h
        HINCRBY h c 5 | 1 | HSET h c 8 | hincrby h
        HINCRBYFLOAT h a 0.5 | 1 | HSETEX h PXAT 99999999999999 FIELDS 1 a 6.5 | hincrbyfloat h
        HINCRBYFLOAT h c 0.5 | 1 | HSET h c 8.5 | hincrbyfloat h
        HPERSIST h FIELDS 3 a c zz | 1 | HPERSIST h FIELDS 3 a c zz | hpersist h
        HPERSIST h FIELDS 1 a | 0 |  |
        HGETEX h FIELDS 2 a b | 0 |  |
        HGETEX h PERSIST FIELDS 3 a b b | 1 | HPERSIST h FIELDS 1 b | hpersist h
        HGETEX h PXAT 99999999999999 FIELDS 3 a a zz | 2 | HPEXPIREAT h 99999999999999 FIELDS 2 a a | hexpire h
        HGETEX h EXAT 99999999999 FIELDS 1 c | 1 | HPEXPIREAT h 99999999999000 FIELDS 1 c | hexpire h
        HGETEX h PXAT 1 FIELDS 3 a a zz | 1 | HDEL h a | hexpired h
        HGETEX h PXAT 1 FIELDS 1 zz | 0 |  |
        HGETDEL h FIELDS 3 c zz c | 1 | HGETDEL h FIELDS 3 c zz c | hdel h
        HGETDEL h FIELDS 1 zz | 0 |  |
        HEXPIREAT h 1 FIELDS 2 b b | 1 | HDEL h b | hexpired h
        HEXPIRE h 0 FIELDS 1 d | 1 | HDEL h d | hexpired h; del h
        HSETEX h FIELDS 2 a 1 b 2 | 2 | HSETEX h FIELDS 2 a 1 b 2 | new h; hset h
        HSETEX h PXAT 99999999999999 FIELDS 1 a 1 | 1 | HSETEX h PXAT 99999999999999 FIELDS 1 a 1 | hset h; hexpire h
        HSETEX h EXAT 99999999999 FIELDS 1 a 1 | 1 | HSETEX h PXAT 99999999999000 FIELDS 1 a 1 | hset h; hexpire h
        HSETEX h KEEPTTL FIELDS 1 a 2 | 1 | HSETEX h KEEPTTL FIELDS 1 a 2 | hset h
        HSETEX h NX FIELDS 1 a 2 | 0 |  |
        HSETEX h XX FXX FIELDS 1 a 2 | 1 | HSETEX h FIELDS 1 a 2 | hset h
        HSETEX h FNX KEEPTTL FIELDS 1 e 2 | 1 | HSETEX h KEEPTTL FIELDS 1 e 2 | hset h
        HSETEX h FNX PXAT 99999999999998 FIELDS 1 g 2 | 1 | HSETEX h PXAT 99999999999998 FIELDS 1 g 2 | hset h; hexpire h
        HSETEX h FXX FIELDS 1 zz 2 | 0 |  |
        HSETEX h PXAT 1 FIELDS 3 a 1 b 2 zz 3 | 2 | HDEL h a b | hset h; hexpire h; hexpired h
        HSETEX h PXAT 1 FIELDS 1 zz 3 | 0 |  | hset h; hexpire h; hexpired h
        HSETEX new PXAT 1 FIELDS 1 zz 3 | 0 |  | new new; hset new; hexpire new; hexpired new; del new
        HSETEX h PXAT 1 FIELDS 2 e 1 g 2 | 2 | HDEL h e g | hset h; hexpire h; hexpired h; del h
        HSETEX two EX 0 FIELDS 1 f 1 | 0 |  | new two; hset two; hexpire two; hexpired two; del two
        HSET h a 1 | 1 | HSET h a 1 | new h; hset h
        HGETDEL h FIELDS 1 a | 1 | HGETDEL h FIELDS 1 a | hdel h; del h
        HSET h a 1 | 1 | HSET h a 1 | new h; hset h
        HGETEX h EX 0 FIELDS 1 a | 1 | HDEL h a | hexpired h; del h
        HSCAN nope 0 | 0 |  | keymiss nope
        ",
    );
}

/// A bench whose field deadlines, set one millisecond ahead, have passed when it goes on.
fn later(bench: &mut Bench) {
    bench.now += 10;
}

#[test]
fn effects_on_expired_fields_are_those_of_valkey() {
    let mut bench = Bench::new();
    bench.check_effects(
        "
        HSET h a 1 b 2 c 3 d 4 e 5 f 6 g 7 i 8 live 9 | 9 | HSET h a 1 b 2 c 3 d 4 e 5 f 6 g 7 i 8 live 9 | new h; hset h
        HPEXPIRE h 1 FIELDS 8 a b c d e f g i | 8 | HPEXPIREAT h 1000001 FIELDS 8 a b c d e f g i | hexpire h
        ",
    );
    later(&mut bench);
    bench.check_effects(
        "
        HDEL h a | 0 |  |
        HGETDEL h FIELDS 1 a | 0 |  |
        HGETEX h PERSIST FIELDS 1 a | 0 |  |
        HEXPIRE h 100 FIELDS 1 a | 0 |  |
        HPERSIST h FIELDS 1 a | 0 |  |
        HSET h a 1 a 2 | 2 | HSET h a 1 a 2 | hexpired h; hset h
        HMSET h b 1 live 2 | 2 | HMSET h b 1 live 2 | hexpired h; hset h
        HSETNX h c 1 | 1 | HSET h c 1 | hexpired h; hset h
        HINCRBY h d 10 | 1 | HSET h d 10 | hexpired h; hincrby h
        HINCRBYFLOAT h e 10 | 1 | HSET h e 10 | hexpired h; hincrbyfloat h
        HSETEX h KEEPTTL FIELDS 2 f 1 live 2 | 2 | HDEL h f; HSETEX h KEEPTTL FIELDS 2 f 1 live 2 | hexpired h; hset h
        HSETEX h FNX PXAT 99999999999999 FIELDS 1 g 1 | 1 | HSETEX h PXAT 99999999999999 FIELDS 1 g 1 | hexpired h; hset h; hexpire h
        HSETEX h PXAT 1 FIELDS 1 i 1 | 1 | HDEL h i | hset h; hexpire h; hexpired h
        ",
    );
    assert_eq!(bench.effects.counters.expired_fields, 8);
    bench.now = 1_000_000;
    bench.check_effects(
        "
        HSET all a 1 b 2 | 2 | HSET all a 1 b 2 | new all; hset all
        HPEXPIRE all 1 FIELDS 2 a b | 2 | HPEXPIREAT all 1000001 FIELDS 2 a b | hexpire all
        ",
    );
    later(&mut bench);
    bench.check_effects(
        "
        HGETALL all | 0 |  |
        HRANDFIELD all | 0 |  |
        HDEL all a b | 0 |  |
        HSETEX all KEEPTTL FNX FIELDS 2 a 1 b 2 | 2 | HDEL all a b; HSETEX all KEEPTTL FIELDS 2 a 1 b 2 | hexpired all; hset all
        ",
    );
}

#[test]
fn words_of_the_client_stay_in_the_stream() {
    Bench::new().check_effects(
        "
        HSETEX h nx fields 1 a 1 | 1 | HSETEX h fields 1 a 1 | new h; hset h
        hsetex h xx FIELDS 1 a 1 | 1 | hsetex h FIELDS 1 a 1 | hset h
        hsetex h fxx pxat 99999999999999 fIelds 1 a 1 | 1 | hsetex h pxat 99999999999999 fIelds 1 a 1 | hset h; hexpire h
        hsetex h fxx keepttl FIELDS 1 a 1 | 1 | hsetex h keepttl FIELDS 1 a 1 | hset h
        hexpireat h 99999999999 xx fields 1 a | 1 | HPEXPIREAT h 99999999999000 xx fields 1 a | hexpire h
        hpexpireat h 99999999999990 xx fields 1 a | 1 | hpexpireat h 99999999999990 xx fields 1 a | hexpire h
        hgetex h pxat 99999999999991 fields 1 a | 1 | HPEXPIREAT h 99999999999991 FIELDS 1 a | hexpire h
        ",
    );
}

/// A hash with the expired field `f` and the live field `g`, as the given client of a server meets it.
fn with_expired_field(situation: Situation) -> Bench {
    let mut bench = Bench::new();
    bench.say("HSET h f 1 g 1");
    bench.say("HPEXPIRE h 1 FIELDS 1 f");
    later(&mut bench);
    bench.rules = situation.rules();
    bench.stream();
    bench.events();
    bench
}

#[test]
fn each_client_sees_expired_fields_as_the_matrix_says() {
    let ordinary = Situation::default();
    let importing = Situation { import_mode: true, ..ordinary };
    let source = Situation { import_source: true, ..importing };
    // What is asked, and what an ordinary client, one of an importing server, and an import source are answered.
    let matrix = [
        ("HGET h f", ["$-1", "$-1", "$1 1"]),
        ("HMGET h f", ["*1 $-1", "*1 $-1", "*1 $1 1"]),
        ("HEXISTS h f", [":0", ":0", ":1"]),
        ("HSTRLEN h f", [":0", ":0", ":1"]),
        ("HLEN h", [":2", ":2", ":2"]),
        ("HTTL h FIELDS 1 f", ["*1 :-2", "*1 :-2", "*1 :0"]),
        ("HPTTL h FIELDS 1 f", ["*1 :-2", "*1 :-2", "*1 :0"]),
        ("HPEXPIRETIME h FIELDS 1 f", ["*1 :-2", "*1 :-2", "*1 :1000001"]),
        ("HRANDFIELD h", ["$1 g", "$1 g", "$1 g"]),
        ("HRANDFIELD h -2", ["*2 $1 g $1 g", "*2 $1 g $1 g", "*2 $1 g $1 g"]),
        ("HRANDFIELD h 1", ["*1 $1 g", "*1 $1 g", "*1 $1 g"]),
        ("HSET h f 9", [":1", ":0", ":0"]),
        ("HSETNX h f 9", [":1", ":1", ":0"]),
        ("HINCRBY h f 10", [":10", ":10", ":11"]),
        ("HINCRBYFLOAT h f 10", ["$2 10", "$2 10", "$2 11"]),
        ("HDEL h f", [":0", ":0", ":1"]),
        ("HGETDEL h FIELDS 1 f", ["*1 $-1", "*1 $-1", "*1 $1 1"]),
        ("HEXPIRE h 100 FIELDS 1 f", ["*1 :-2", "*1 :-2", "*1 :1"]),
        ("HPERSIST h FIELDS 1 f", ["*1 :-2", "*1 :-2", "*1 :1"]),
        ("HSETEX h KEEPTTL FIELDS 1 f 9", [":1", ":1", ":1"]),
        ("HSETEX h FNX FIELDS 1 f 9", [":1", ":1", ":0"]),
        ("HSETEX h FXX FIELDS 1 f 9", [":0", ":0", ":1"]),
        ("HGETEX h PERSIST FIELDS 1 f", ["*1 $-1", "*1 $-1", "*1 $1 1"]),
    ];
    for (command, answers) in matrix {
        for (situation, answer) in [ordinary, importing, source].into_iter().zip(answers) {
            let reply = with_expired_field(situation).say(command);
            assert_eq!(reply.trim_end().replace("\r\n", " "), answer, "{command} {situation:?}");
        }
    }
    for (command, fields) in [("HGETALL h", 2), ("HKEYS h", 1), ("HVALS h", 1), ("HRANDFIELD h 5", 1)] {
        for (situation, visible) in [(ordinary, 1), (importing, 1), (source, 2)] {
            let reply = with_expired_field(situation).say(command);
            assert!(
                reply.starts_with(&format!("*{}\r\n", fields * visible)),
                "{command} {situation:?}: {reply}"
            );
        }
    }
}

#[test]
fn an_importing_server_leaves_traces_of_expired_fields_as_the_matrix_says() {
    let importing = Situation { import_mode: true, ..Situation::default() };
    let source = Situation { import_source: true, ..importing };
    let mut bench = with_expired_field(importing);
    bench.check_effects("HSET h f 9 | 1 | HSET h f 9 | hset h");
    let mut bench = with_expired_field(importing);
    bench.check_effects("HINCRBY h f 10 | 1 | HSET h f 10 | hincrby h");
    assert_eq!(bench.say("HTTL h FIELDS 1 f"), "*1\r\n:-1\r\n");
    let mut bench = with_expired_field(source);
    bench.check_effects("HINCRBY h f 10 | 1 | HSETEX h PXAT 1000001 FIELDS 1 f 11 | hincrby h");
    let mut bench = with_expired_field(importing);
    bench.check_effects("HSETEX h KEEPTTL FIELDS 1 f 9 | 1 | HSETEX h KEEPTTL FIELDS 1 f 9 | hset h");
    assert_eq!(bench.say("HGET h f"), "$-1\r\n", "the value was replaced, the past deadline stayed");
    // Deadlines that have passed are stored.
    let mut bench = with_expired_field(importing);
    bench.check_effects(
        "
        HEXPIRE h 0 FIELDS 1 g | 1 | HPEXPIREAT h NOW FIELDS 1 g | hexpire h
        HSETEX h EX 0 FIELDS 1 x 1 | 1 | HSETEX h PXAT NOW FIELDS 1 x 1 | hset h; hexpire h
        HGETEX h PXAT 5 FIELDS 1 x | 1 | HPEXPIREAT h 5 FIELDS 1 x | hexpire h
        ",
    );
    assert_eq!(bench.say("HLEN h"), ":3\r\n");
}

#[test]
fn a_field_lives_through_its_last_millisecond_but_cannot_be_given_it() {
    let mut bench = Bench::new();
    bench.say("HSET h a 1 b 1 c 1");
    bench.say("HPEXPIRE h 1 FIELDS 2 a b");
    bench.now += 1;
    assert_eq!(bench.say("HGET h a"), "$1\r\n1\r\n");
    assert_eq!(bench.say("HPEXPIRE h 0 FIELDS 1 c"), "*1\r\n:2\r\n");
    bench.now += 1;
    assert_eq!(bench.say("HGET h a"), "$-1\r\n");
}

#[test]
fn a_copy_has_no_expired_fields() {
    let mut bench = with_expired_field(Situation::default());
    assert_eq!(bench.say("COPY h c"), ":1\r\n");
    assert_eq!(bench.say("HLEN c"), ":1\r\n");
    bench.say("HDEL h g");
    assert_eq!(bench.say("COPY h c REPLACE"), ":1\r\n");
    assert_eq!(bench.say("HLEN c"), ":0\r\n");
    assert_eq!(bench.say("EXISTS c"), ":1\r\n");
    assert_eq!(bench.say("HMGET c f"), "*1\r\n$-1\r\n");
    assert_eq!(bench.say("EXISTS c"), ":0\r\n");
    let importing = Situation { import_mode: true, import_source: true, ..Situation::default() };
    let mut bench = with_expired_field(importing);
    bench.say("COPY h c");
    assert_eq!(bench.say("HLEN c"), ":2\r\n");
}

#[test]
fn random_fields_are_distinct_unless_the_count_is_negative() {
    for size in [5usize, 100, 1000] {
        let mut bench = Bench::new();
        for field in 0..size {
            bench.run(&["HSET", "h", &format!("f{field}"), "v"]);
        }
        for count in [1usize, 4, size / 5, size - 1, size, size + 7] {
            let reply = bench.run(&["HRANDFIELD", "h", &count.to_string()]);
            let mut fields: Vec<&str> = reply.split("\r\n").filter(|line| line.starts_with('f')).collect();
            assert!(reply.starts_with(&format!("*{}\r\n", count.min(size))));
            fields.sort_unstable();
            fields.dedup();
            assert_eq!(fields.len(), count.min(size));
            let reply = bench.run(&["HRANDFIELD", "h", &format!("-{count}")]);
            assert_eq!(reply.matches("\r\nf").count(), count);
        }
    }
}

#[test]
fn random_fields_among_many_expired_ones_are_live() {
    let mut bench = Bench::new();
    for field in 0..300 {
        bench.run(&["HSET", "h", &format!("f{field}"), "v"]);
        if field % 3 == 0 {
            bench.run(&["HPEXPIRE", "h", "1", "FIELDS", "1", &format!("f{field}")]);
        }
    }
    later(&mut bench);
    for (count, expected) in [("50", 50), ("150", 150), ("250", 200), ("1000", 200), ("-30", 30)] {
        let reply = bench.run(&["HRANDFIELD", "h", count]);
        let fields: Vec<&str> = reply.split("\r\n").filter(|line| line.starts_with('f')).collect();
        assert_eq!(fields.len(), expected, "{count}");
        assert!(fields.iter().all(|f| f[1..].parse::<u32>().is_ok_and(|number| number % 3 != 0)));
    }
}

#[test]
fn the_few_live_fields_among_thousands_of_expired_ones_are_all_found() {
    let mut bench = Bench::new();
    for field in 0..5000 {
        bench.run(&["HSETEX", "h", "PX", "1", "FIELDS", "1", &format!("x{field}"), "v"]);
    }
    later(&mut bench);
    bench.say("HSET h f1 v f2 v f3 v");
    let found = |reply: String| {
        let mut fields: Vec<String> =
            reply.split("\r\n").filter(|line| line.starts_with('f')).map(str::to_owned).collect();
        fields.sort_unstable();
        fields.join(" ")
    };
    for _ in 0..20 {
        assert_eq!(found(bench.say("HRANDFIELD h")).len(), 2);
        assert_eq!(found(bench.say("HRANDFIELD h 2")).len(), 5);
        assert_eq!(found(bench.say("HRANDFIELD h 1")).len(), 2);
        assert_eq!(found(bench.say("HRANDFIELD h 3 WITHVALUES")), "f1 f2 f3");
        assert_eq!(found(bench.say("HRANDFIELD h -16")).len(), 16 * 3 - 1);
    }
    assert_eq!(found(bench.say("HRANDFIELD h 4000")), "f1 f2 f3");
}

#[test]
fn maps_and_pairs_are_nested_in_resp3_only() {
    let mut bench = Bench::new();
    bench.say("HSET h a 1");
    assert_eq!(bench.say("HGETALL h"), "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    assert_eq!(bench.say("HRANDFIELD h 2 WITHVALUES"), "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    bench.session.protocol = Protocol::Resp3;
    assert_eq!(bench.say("HGETALL h"), "%1\r\n$1\r\na\r\n$1\r\n1\r\n");
    assert_eq!(bench.say("HRANDFIELD h 2 WITHVALUES"), "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    bench.say("HPEXPIREAT h 1000001 FIELDS 1 a");
    later(&mut bench);
    assert_eq!(bench.say("HGETALL h"), "%0\r\n");
}

#[test]
fn every_changed_hash_is_told_to_its_watchers() {
    let mut bench = Bench::new();
    for command in ["HSET h a 1", "HINCRBY h a 1", "HPEXPIREAT h 1000001 FIELDS 1 a", "HGETDEL h FIELDS 1 a"]
    {
        bench.say(command);
        assert_eq!(bench.modified(), ["0:h"], "{command}");
    }
    for command in
        ["HSETNX h a 1", "HDEL h x", "HGETEX h FIELDS 1 a", "HSETEX h EX 0 FIELDS 1 x 1", "HGET h a"]
    {
        bench.say("HSET h a 1");
        bench.modified();
        bench.say(command);
        assert!(bench.modified().is_empty(), "{command}");
    }
}

#[test]
fn a_large_hash_that_goes_away_is_left_to_the_reaper() {
    let mut bench = Bench::new();
    for field in 0..1000 {
        bench.run(&["HSET", "h", &format!("f{field}"), "v"]);
    }
    bench.say("SADD s 1");
    bench.say("SUNIONSTORE h s");
    assert!(matches!(bench.effects.garbage[..], [Garbage::Entry(_) | Garbage::Value(_)]));
}

impl Bench {
    fn expire_fields(&mut self, key: &str, max: usize) -> usize {
        Access {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            db: 0,
            now: self.now,
            rules: self.rules,
            touch: Touch::default(),
            lazy_expire: true,
            lazy_server_del: true,
            client_no_touch: true,
            hint: None,
        }
        .expire_fields(0, key.as_bytes(), max)
    }

    /// The items that the time index gives back by now, as names of keys with a due field.
    fn due_hashes(&mut self) -> Vec<String> {
        let mut due = Vec::new();
        loop {
            match self.keyspace.parts_mut()[0].wheel_mut().pop_due(self.now) {
                Popped::Item { item, .. } => {
                    let key = self.keyspace.parts()[0].due_hash(0, item, self.now);
                    due.extend(key.map(|key| String::from_utf8_lossy(&key).into_owned()));
                }
                Popped::Working => {}
                Popped::Nothing => return due,
            }
        }
    }

    fn volatile(&self) -> u64 {
        self.keyspace.parts()[0].database(0).map_or(0, Database::volatile)
    }
}

#[test]
fn reaping_takes_the_fields_that_are_due_and_the_key_with_the_last() {
    let mut bench = Bench::new();
    bench.say("HSET h a 1 b 2 c 3");
    bench.say("HPEXPIREAT h 1000001 FIELDS 1 a");
    bench.say("HPEXPIREAT h 1000002 FIELDS 1 b");
    bench.say("HPEXPIREAT h 1000900 FIELDS 1 c");
    bench.stream();
    bench.events();
    bench.modified();
    later(&mut bench);
    assert_eq!(bench.expire_fields("h", 80), 2);
    assert_eq!(bench.stream(), ["0:HDEL h a b"]);
    assert_eq!(bench.events(), ["0:hexpired h"]);
    assert_eq!(bench.modified(), ["0:h"]);
    assert_eq!(bench.expire_fields("h", 80), 0);
    assert_eq!((bench.stream().len(), bench.events().len()), (0, 0));
    bench.now += 1000;
    assert_eq!(bench.expire_fields("h", 80), 1);
    assert_eq!(bench.stream(), ["0:HDEL h c", "0:UNLINK h"]);
    assert_eq!(bench.events(), ["0:hexpired h", "0:del h"]);
    assert_eq!(bench.say("EXISTS h"), ":0\r\n");
    let counters = bench.effects.counters;
    assert_eq!((counters.expired_fields, counters.expired_keys), (3, 0));
}

#[test]
fn reaping_is_an_event_of_class_x_and_a_past_deadline_one_of_class_h() {
    for (class, reaped, given) in [(class::EXPIRED, 1, 0), (class::HASH, 0, 1)] {
        let mut bench = Bench::new();
        bench.say("HSET h a 1 b 2 c 3");
        bench.say("HPEXPIREAT h 1000001 FIELDS 1 a");
        later(&mut bench);
        bench.events();
        bench.effects.listening.events = class;
        bench.expire_fields("h", 80);
        assert_eq!(bench.events().len(), reaped);
        bench.say("HEXPIRE h 0 FIELDS 1 b");
        assert_eq!(bench.events().len(), given);
    }
}

#[test]
fn the_time_index_knows_the_earliest_deadline_whatever_the_commands_did() {
    let mut bench = Bench::new();
    let mut rng = Rng::new(7);
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    for round in 0..3000 {
        let key = ["h1", "h2", "h3"][rng.below(3) as usize];
        let field = format!("f{}", rng.below(4));
        let at = (bench.now + 1 + rng.below(40) as i64).to_string();
        let words: Vec<&str> = match rng.below(12) {
            0 | 1 => vec!["HSETEX", key, "PXAT", &at, "FIELDS", "1", &field, "v"],
            2 => vec!["HSETEX", key, "KEEPTTL", "FIELDS", "1", &field, "v"],
            3 => vec!["HPEXPIREAT", key, &at, "FIELDS", "1", &field],
            4 => vec!["HGETEX", key, "PXAT", &at, "FIELDS", "1", &field],
            5 => vec!["HPERSIST", key, "FIELDS", "1", &field],
            6 => vec!["HGETDEL", key, "FIELDS", "1", &field],
            7 => vec!["HDEL", key, &field],
            8 => vec!["HSET", key, &field, "1"],
            9 => vec!["HINCRBY", key, "n", "1"],
            10 => vec!["COPY", key, "h3", "REPLACE"],
            _ => vec!["RENAME", key, "h2"],
        };
        bench.run(&words);
        bench.now += rng.below(5) as i64;
        for key in bench.due_hashes() {
            while bench.expire_fields(&key, 1) > 0 {}
        }
        // Nothing that is due is left: the index had an item for it.
        expected.clear();
        for key in ["h1", "h2", "h3"] {
            let words = ["HPEXPIRETIME", key, "FIELDS", "5", "f0", "f1", "f2", "f3", "n"];
            let held = bench.keyspace.parts()[0].database(0).and_then(|database| {
                let place = Place::of(key.as_bytes());
                database.find(place.slot, place.hash, key.as_bytes())?.field_deadline()
            });
            let shown = bench.run(&words);
            let earliest = shown
                .split("\r\n")
                .filter_map(|line| line.strip_prefix(':')?.parse().ok())
                .filter(|n| *n >= 0)
                .min();
            assert_eq!(held, earliest, "{round}: {words:?}");
            assert!(held.is_none_or(|deadline| deadline >= bench.now), "{round}: {key} was forgotten");
            expected.extend(held.map(|deadline| (key, deadline)));
        }
        assert_eq!(bench.volatile(), expected.len() as u64, "{round}");
    }
}
