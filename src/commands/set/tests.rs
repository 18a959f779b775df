use crate::commands::testing::Bench;
use crate::effects::Garbage;
use crate::resp::Protocol;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        SADD a 1 2 3 | 3 | SADD a 1 2 3 | new a; sadd a
        SADD a 1 | 0 |  |
        SADD a 1 4 4 | 1 | SADD a 1 4 4 | sadd a
        SREM a 4 4 9 | 1 | SREM a 4 4 9 | srem a
        SREM a nope | 0 |  |
        SREM nope a | 0 |  |
        SMOVE a b 1 | 2 | SMOVE a b 1 | srem a; new b; sadd b
        SMOVE a b 7 | 0 |  |
        SADD b 2 | 1 | SADD b 2 | sadd b
        SMOVE a b 2 | 1 | SMOVE a b 2 | srem a
        SMOVE a a 3 | 0 |  |
        SMOVE a c 3 | 2 | SMOVE a c 3 | srem a; del a; new c; sadd c
        SMOVE nope c 3 | 0 |  |
        SADD s x y z | 3 | SADD s x y z | new s; sadd s
        SPOP s 0 | 0 |  |
        SPOP s 3 | 3 | UNLINK s | spop s; del s
        SADD s x | 1 | SADD s x | new s; sadd s
        SPOP s | 1 | SREM s x | spop s; del s
        SPOP s | 0 |  |
        SPOP s 3 | 0 |  |
        SADD s x | 1 | SADD s x | new s; sadd s
        SPOP s 1 | 1 | UNLINK s | spop s; del s
        SADD p 1 2 3 | 3 | SADD p 1 2 3 | new p; sadd p
        SADD q 2 3 4 | 3 | SADD q 2 3 4 | new q; sadd q
        SINTER p q | 0 |  |
        SINTERSTORE d p q | 1 | SINTERSTORE d p q | new d; sinterstore d
        SINTERSTORE d p q | 1 | SINTERSTORE d p q | sinterstore d
        SINTERSTORE d p nope | 1 | SINTERSTORE d p nope | keymiss nope; del d
        SINTERSTORE d p nope | 0 |  | keymiss nope
        SUNIONSTORE d p q | 1 | SUNIONSTORE d p q | new d; sunionstore d
        SUNIONSTORE d nope | 1 | SUNIONSTORE d nope | keymiss nope; del d
        SUNIONSTORE d nope | 0 |  | keymiss nope
        SDIFFSTORE d p q | 1 | SDIFFSTORE d p q | new d; sdiffstore d
        SDIFFSTORE d p p | 1 | SDIFFSTORE d p p | del d
        SDIFFSTORE d p p | 0 |  |
        SMEMBERS nope | 0 |  | keymiss nope
        SRANDMEMBER nope 3 | 0 |  | keymiss nope
        SISMEMBER nope 3 | 0 |  | keymiss nope
        SCARD nope | 0 |  | keymiss nope
        SSCAN nope 0 | 0 |  | keymiss nope
        SINTERCARD 2 nope nope2 | 0 |  | keymiss nope; keymiss nope2
        SADD one 1 | 1 | SADD one 1 | new one; sadd one
        SREM one 1 | 1 | SREM one 1 | srem one; del one
        ",
    );
}

#[test]
fn popped_members_are_propagated_as_removals_of_at_most_1024() {
    for (count, stays) in [(1500, 8500), (9900, 100)] {
        let mut bench = Bench::new();
        let members: Vec<String> = (0..10_000).map(|n| format!("member:{n}")).collect();
        for chunk in members.chunks(500) {
            let words: Vec<&str> =
                ["SADD", "s"].into_iter().chain(chunk.iter().map(String::as_str)).collect();
            bench.run(&words);
        }
        bench.stream();
        bench.events();
        let reply = bench.run(&["SPOP", "s", &count.to_string()]);
        let popped: Vec<&str> = reply.split("\r\n").filter(|line| line.starts_with("member:")).collect();
        assert_eq!(popped.len(), count);
        let stream = bench.stream();
        assert_eq!(stream.len(), count.div_ceil(1024));
        assert!(stream[..stream.len() - 1].iter().all(|srem| srem.split(' ').count() == 1026));
        let removed: Vec<&str> = stream.iter().flat_map(|srem| srem.split(' ').skip(2)).collect();
        assert_eq!(removed, popped, "the stream removes what the client got, in the same order");
        assert_eq!(bench.events(), ["0:spop s"]);
        assert_eq!(bench.say("SCARD s"), format!(":{stays}\r\n"));
        assert!(popped.iter().all(|member| bench.run(&["SISMEMBER", "s", member]) == ":0\r\n"));
    }
}

#[test]
fn nothing_is_collected_for_the_stream_when_nobody_listens() {
    let mut bench = Bench::new();
    bench.effects.listening.propagation = false;
    bench.say("SADD s a b c d e f");
    bench.say("SPOP s 4");
    assert_eq!(bench.stream(), Vec::<String>::new());
    assert_eq!(bench.say("SCARD s"), ":2\r\n");
}

#[test]
fn random_members_are_distinct_unless_the_count_is_negative() {
    for size in [5usize, 100, 1000] {
        let mut bench = Bench::new();
        for member in 0..size {
            bench.run(&["SADD", "s", &format!("m{member}")]);
        }
        for count in [1usize, 4, size / 5, size - 1, size, size + 7] {
            let reply = bench.run(&["SRANDMEMBER", "s", &count.to_string()]);
            let mut members: Vec<&str> = reply.split("\r\n").filter(|line| line.starts_with('m')).collect();
            assert!(reply.starts_with(&format!("*{}\r\n", count.min(size))));
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), count.min(size));
            let reply = bench.run(&["SRANDMEMBER", "s", &format!("-{count}")]);
            assert_eq!(reply.matches("\r\nm").count(), count);
        }
        assert_eq!(bench.say("SCARD s"), format!(":{size}\r\n"));
    }
}

#[test]
fn small_sets_keep_the_order_of_insertion_and_integers_are_sorted() {
    let mut bench = Bench::new();
    bench.say("SADD s c a 10 b");
    assert_eq!(bench.say("SMEMBERS s"), "*4\r\n$1\r\nc\r\n$1\r\na\r\n$2\r\n10\r\n$1\r\nb\r\n");
    bench.say("SADD i 3 1 2");
    bench.session.protocol = Protocol::Resp3;
    assert_eq!(bench.say("SMEMBERS i"), "~3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
    assert_eq!(bench.say("SUNION i s"), {
        let members = ["1", "2", "3", "c", "a", "10", "b"];
        let bulk = |member: &&str| format!("${}\r\n{member}\r\n", member.len());
        format!("~7\r\n{}", members.iter().map(bulk).collect::<String>())
    });
}

#[test]
fn algebra_works_over_several_workers() {
    let mut bench = Bench::with_workers(3);
    bench.say("SADD a 1 2 3");
    bench.say("SADD b 2 3 4");
    bench.say("SADD c 3 4 5");
    for target in ["a", "d", "e", "f"] {
        assert_eq!(bench.run(&["SINTERSTORE", target, "a", "b", "c"]), ":1\r\n");
        bench.say("SADD a 1 2");
        assert_eq!(bench.run(&["SMOVE", "a", target, "1"]), ":1\r\n");
    }
}

#[test]
fn large_sets_that_go_away_are_left_to_the_reaper() {
    for command in
        ["SPOP s 20000", "SINTERSTORE s s nope", "SDIFFSTORE s s s", "SUNIONSTORE s one", "SPOP s 9990"]
    {
        let mut bench = Bench::new();
        bench.say("SADD one 1");
        for member in 0..10_000 {
            bench.run(&["SADD", "s", &format!("m{member}")]);
        }
        bench.say(command);
        assert!(
            matches!(
                bench.effects.garbage[..],
                [Garbage::Entry(_) | Garbage::Value(_) | Garbage::Uncounted(_)]
            ),
            "{command}"
        );
    }
}
