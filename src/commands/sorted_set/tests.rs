use crate::commands::testing::Bench;
use crate::effects::Garbage;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        ZADD z 1 a 2 b | 2 | ZADD z 1 a 2 b | new z; zadd z
        ZADD z 1 a | 0 | |
        ZADD z CH 5 a 3 c | 2 | ZADD z CH 5 a 3 c | zadd z
        ZADD z XX 1 nope | 0 | |
        ZADD nope XX 1 a | 0 | |
        ZADD z INCR 1 a | 1 | ZADD z INCR 1 a | zincr z
        ZADD z INCR 0 a | 0 | |
        ZADD z NX INCR 1 a | 0 | |
        ZINCRBY z 2 a | 1 | ZINCRBY z 2 a | zincr z
        ZINCRBY z inf i | 1 | ZINCRBY z inf i | zincr z
        ZINCRBY z -inf i | 0 | |
        ZINCRBY y 2 a | 1 | ZINCRBY y 2 a | new y; zincr y
        ZREM z i nope | 1 | ZREM z i nope | zrem z
        ZREM z nope | 0 | |
        ZREM y a | 1 | ZREM y a | zrem y; del y
        ZREM y a | 0 | |
        ZADD y 1 a 2 b 3 c 4 d | 4 | ZADD y 1 a 2 b 3 c 4 d | new y; zadd y
        ZREMRANGEBYRANK y 0 0 | 1 | ZREMRANGEBYRANK y 0 0 | zremrangebyrank y
        ZREMRANGEBYRANK y 7 9 | 0 | |
        ZREMRANGEBYSCORE y 2 2 | 1 | ZREMRANGEBYSCORE y 2 2 | zremrangebyscore y
        ZREMRANGEBYLEX y [c [c | 1 | ZREMRANGEBYLEX y [c [c | zremrangebylex y
        ZREMRANGEBYSCORE y 9 9 | 0 | |
        ZREMRANGEBYRANK y 0 -1 | 1 | ZREMRANGEBYRANK y 0 -1 | zremrangebyrank y; del y
        ZADD y 1 a 2 b 3 c 4 d 5 e 6 f | 6 | ZADD y 1 a 2 b 3 c 4 d 5 e 6 f | new y; zadd y
        ZPOPMIN y | 1 | ZPOPMIN y | zpopmin y
        ZPOPMIN y 0 | 0 | |
        ZPOPMAX y 2 | 2 | ZPOPMAX y 2 | zpopmax y
        ZMPOP 2 nope y MIN COUNT 2 | 2 | ZPOPMIN y 2 | zpopmin y
        ZMPOP 2 nope y MAX COUNT 20 | 1 | ZPOPMAX y 1 | zpopmax y; del y
        ZMPOP 2 nope y MAX | 0 | |
        ZPOPMIN y | 0 | |
        ZUNIONSTORE u 2 z nope | 1 | ZUNIONSTORE u 2 z nope | keymiss nope; new u; zunionstore u
        ZINTERSTORE u 2 z nope | 1 | ZINTERSTORE u 2 z nope | keymiss nope; del u
        ZINTERSTORE u 2 z nope | 0 | | keymiss nope
        ZDIFFSTORE u 2 z nope | 1 | ZDIFFSTORE u 2 z nope | keymiss nope; new u; zdiffstore u
        ZRANGESTORE v z 0 0 | 1 | ZRANGESTORE v z 0 0 | new v; zrangestore v
        ZRANGESTORE v nope 0 0 | 1 | ZRANGESTORE v nope 0 0 | keymiss nope; del v
        ZRANGESTORE v nope 0 0 | 0 | | keymiss nope
        ZUNION 2 z nope | 0 | | keymiss nope
        ZINTERCARD 2 z nope | 0 | | keymiss nope
        ZRANGE nope 0 1 | 0 | | keymiss nope
        ZSCORE nope a | 0 | | keymiss nope
        ZRANDMEMBER nope | 0 | | keymiss nope
        ZSCAN nope 0 | 0 | | keymiss nope
        SET s text | 1 | SET s text | new s; set s
        ZUNIONSTORE s 1 z | 1 | ZUNIONSTORE s 1 z | zunionstore s
        ",
    );
}

#[test]
fn every_changed_key_is_told_to_its_watchers() {
    let mut bench = Bench::new();
    bench.say("ZADD a 1 x 2 y 3 z");
    assert_eq!(bench.modified(), ["0:a"]);
    for quiet in [
        "ZADD a 1 x",
        "ZADD a NX 5 x",
        "ZADD a GT CH 0 x",
        "ZINCRBY a 0 x",
        "ZREM a nope",
        "ZREMRANGEBYSCORE a 8 9",
        "ZPOPMIN a 0",
        "ZRANGE a 0 -1",
        "ZUNION 1 a",
        "ZRANGESTORE nope nope 0 1",
    ] {
        bench.say(quiet);
        assert!(bench.modified().is_empty(), "{quiet}");
    }
    for change in ["ZINCRBY a 1 x", "ZREM a x", "ZMPOP 2 nope a MAX", "ZUNIONSTORE a 1 a", "ZPOPMIN a"] {
        bench.say(change);
        assert_eq!(bench.modified(), ["0:a"], "{change}");
    }
}

#[test]
fn a_source_that_expired_is_no_source() {
    let mut bench = Bench::new();
    bench.say("ZADD a 1 x");
    bench.say("ZADD b 1 x");
    bench.say("PEXPIREAT a 1000001");
    bench.stream();
    bench.events();
    bench.now += 10;
    bench.check_effects(
        "ZUNIONSTORE c 2 a b | 1 | UNLINK a; ZUNIONSTORE c 2 a b | expired a; keymiss a; new c; zunionstore c",
    );
    assert_eq!(bench.say("ZSCORE c x"), "$1\r\n1\r\n");
}

#[test]
fn a_stored_result_drops_type_and_deadline_of_its_key() {
    let mut bench = Bench::new();
    bench.put(0, "s", "text", Some(2_000_000));
    bench.say("ZADD a 1 x");
    assert_eq!(bench.say("ZRANGESTORE s a 0 -1"), ":1\r\n");
    assert_eq!(bench.say("TYPE s"), "+zset\r\n");
    assert_eq!(bench.say("PTTL s"), ":-1\r\n");
}

#[test]
fn random_members_are_distinct_unless_the_count_is_negative() {
    let mut bench = Bench::new();
    for (key, size) in [("small", 50), ("large", 1000)] {
        let mut words = vec!["ZADD".to_owned(), key.to_owned()];
        for i in 0..size {
            words.extend([i.to_string(), format!("m{i:04}")]);
        }
        bench.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        for count in [1, 2, size / 4, size / 2, size - 1, size, size * 2] {
            let reply = bench.say(&format!("ZRANDMEMBER {key} {count}"));
            let mut members: Vec<&str> = reply.lines().filter(|line| line.starts_with('m')).collect();
            assert_eq!(members.len(), count.min(size), "{key} {count}");
            members.dedup();
            assert_eq!(members.len(), count.min(size), "{key} {count}");
            let reply = bench.say(&format!("ZRANDMEMBER {key} -{count}"));
            assert_eq!(reply.lines().filter(|line| line.starts_with('m')).count(), count, "{key} -{count}");
        }
    }
}

#[test]
fn every_member_comes_up_among_the_random_ones() {
    let mut bench = Bench::new();
    bench.say("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f");
    for command in ["ZRANDMEMBER z", "ZRANDMEMBER z 2", "ZRANDMEMBER z -1"] {
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for _ in 0..600 {
            for line in bench.say(command).lines().filter(|line| line.len() == 1) {
                *seen.entry(line.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(seen.len(), 6, "{command}: {seen:?}");
        assert!(seen.values().all(|&count| count > 50), "{command}: {seen:?}");
    }
}

#[test]
fn a_scan_meets_every_member_of_a_large_set() {
    let mut bench = Bench::new();
    for i in 0..1000 {
        bench.say(&format!("ZADD z {i}.5 m{i}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = bench.say(&format!("ZSCAN z {cursor} COUNT 20 MATCH m*"));
        let words: Vec<&str> = reply.lines().filter(|line| !line.starts_with(['$', '*'])).collect();
        cursor = words[0].to_owned();
        seen.extend(words[1..].chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())));
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(seen.contains(&("m7".to_owned(), "7.5".to_owned())));
}

#[test]
fn sorted_sets_on_several_workers_meet() {
    let mut bench = Bench::with_workers(3);
    bench.say("ZADD a 1 x 2 y");
    for other in ["b", "c", "d", "e"] {
        bench.say(&format!("ZADD {other} 10 x"));
        assert_eq!(bench.say(&format!("ZINTER 2 a {other} WITHSCORES")), "*2\r\n$1\r\nx\r\n$2\r\n11\r\n");
        assert_eq!(bench.say(&format!("ZRANGESTORE {other} a 0 -1")), ":2\r\n");
        assert_eq!(bench.say(&format!("ZDIFFSTORE {other} 2 a {other}")), ":0\r\n");
        assert_eq!(bench.say(&format!("EXISTS {other}")), ":0\r\n");
    }
}

#[test]
fn a_large_set_goes_to_the_reaper_whichever_command_empties_it() {
    for command in [
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYSCORE z -inf +inf",
        "ZPOPMIN z 1000",
        "ZMPOP 1 z MAX COUNT 1000",
        "ZRANGESTORE z nope 0 1",
    ] {
        let mut bench = Bench::new();
        for i in 0..1000 {
            bench.say(&format!("ZADD z {i} m{i}"));
        }
        bench.say(command);
        assert!(matches!(bench.effects.garbage[..], [Garbage::Entry(_)]), "{command}");
        assert_eq!(bench.say("EXISTS z"), ":0\r\n");
    }
}
