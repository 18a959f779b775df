use crate::commands::testing::Bench;
use crate::effects::Garbage;
use crate::session::Origin;

#[test]
fn effects_of_adding_and_trimming_are_those_of_valkey() {
    let mut bench = Bench::new();
    bench.config.stream_node_max_entries = 2;
    bench.check_effects(
        "
        XADD s NOMKSTREAM 1-1 a b | 0 | |
        XADD s 1-1 a b | 1 | XADD s 1-1 a b | new s; xadd s
        XADD s 1-* a b | 1 | XADD s 1-2 a b | xadd s
        XADD s 1 a b | 0 | |
        XADD s * z y | 1 | XADD s NOW-0 z y | xadd s
        XSETID s 99999999999999-0 | 1 | XSETID s 99999999999999-0 | xsetid s
        XADD s * z y | 1 | XADD s 99999999999999-1 z y | xadd s
        DEL s | 1 | DEL s | del s
        XADD s 1 a b | 1 | XADD s 1 a b | new s; xadd s
        XADD s 2 a b | 1 | XADD s 2 a b | xadd s
        XADD s 3 a b | 1 | XADD s 3 a b | xadd s
        XADD s 4 a b | 1 | XADD s 4 a b | xadd s
        XADD s MAXLEN ~ 3 5 a b | 1 | XADD s MAXLEN = 3 5 a b | xadd s; xtrim s
        XADD s MAXLEN ~ 3 LIMIT 10 6 a b | 1 | XADD s MAXLEN = 4 LIMIT 10 6 a b | xadd s
        XADD s MINID ~ 4 LIMIT 10 7 a b | 1 | XADD s MINID = 3-0 LIMIT 10 7 a b | xadd s
        XADD s MINID ~ 4 8-* a b | 1 | XADD s MINID = 3-0 8-0 a b | xadd s
        XADD s MAXLEN = 2 9-* a b | 1 | XADD s MAXLEN = 2 9-0 a b | xadd s; xtrim s
        XTRIM s MAXLEN ~ 1 | 1 | XTRIM s MAXLEN = 1 | xtrim s
        XTRIM s MINID ~ 9 | 0 | |
        XTRIM s MAXLEN ~ 0 | 1 | XTRIM s MAXLEN = 0 | xtrim s
        XTRIM s MAXLEN 0 | 0 | |
        XADD s MAXLEN ~ 0 10-1 a b | 1 | XADD s MAXLEN = 0 10-1 a b | xadd s; xtrim s
        XADD s MINID 100 11-1 a b | 1 | XADD s MINID 100 11-1 a b | xadd s; xtrim s
        XADD s MINID ~ 100 12-1 a b | 1 | XADD s MINID = 18446744073709551615-18446744073709551615 12-1 a b | xadd s; xtrim s
        XADD s 13 a b | 1 | XADD s 13 a b | xadd s
        XADD s 14 a b | 1 | XADD s 14 a b | xadd s
        XDEL s 13 9 | 1 | XDEL s 13 9 | xdel s
        XADD s MINID ~ 0 15 a b | 1 | XADD s MINID = 13-0 15 a b | xadd s
        XDEL s 13 9 | 0 | |
        XLEN none | 0 | | keymiss none
        ",
    );
}

#[test]
fn effects_of_groups_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        XGROUP CREATE s g $ | 0 | |
        XGROUP CREATE s g $ MKSTREAM | 1 | XGROUP CREATE s g $ MKSTREAM | new s; xgroup-create s
        XGROUP CREATE s g $ MKSTREAM | 0 | |
        XGROUP SETID s g 0 ENTRIESREAD 3 | 1 | XGROUP SETID s g 0 ENTRIESREAD 3 | xgroup-setid s
        XGROUP SETID s g $ | 1 | XGROUP SETID s g $ | xgroup-setid s
        XGROUP CREATECONSUMER s g alice | 1 | XGROUP CREATECONSUMER s g alice | xgroup-createconsumer s
        XGROUP CREATECONSUMER s g alice | 0 | |
        XGROUP DELCONSUMER s g bob | 0 | |
        XGROUP DELCONSUMER s g alice | 1 | XGROUP DELCONSUMER s g alice | xgroup-delconsumer s
        XGROUP CREATE s h 0 | 1 | XGROUP CREATE s h 0 | xgroup-create s
        XGROUP DESTROY s nope | 0 | |
        XGROUP DESTROY s h | 1 | XGROUP DESTROY s h | xgroup-destroy s
        XADD s 1-1 a 1 | 1 | XADD s 1-1 a 1 | xadd s
        XADD s 2-1 a 2 | 1 | XADD s 2-1 a 2 | xadd s
        XADD s 3-1 b 3 | 1 | XADD s 3-1 b 3 | xadd s
        XREADGROUP GROUP g alice COUNT 2 STREAMS s > | 2 | XCLAIM s g alice 0 1-1 TIME NOW RETRYCOUNT 1 FORCE JUSTID LASTID 1-1; XCLAIM s g alice 0 2-1 TIME NOW RETRYCOUNT 1 FORCE JUSTID LASTID 2-1; XGROUP SETID s g 2-1 ENTRIESREAD 2 | xgroup-createconsumer s
        XREADGROUP GROUP g alice STREAMS s 0 | 1 | |
        XREADGROUP GROUP g bob NOACK STREAMS s > | 2 | XGROUP CREATECONSUMER s g bob; XGROUP SETID s g 3-1 ENTRIESREAD 3 | xgroup-createconsumer s
        XREADGROUP GROUP g bob NOACK STREAMS s > | 0 | |
        XREADGROUP GROUP g newc NOACK STREAMS s > | 1 | XGROUP CREATECONSUMER s g newc | xgroup-createconsumer s
        XREADGROUP GROUP g carol STREAMS s > | 1 | | xgroup-createconsumer s
        XREADGROUP GROUP g dave STREAMS s 0 | 2 | | xgroup-createconsumer s
        XREADGROUP GROUP g dave STREAMS none > | 0 | | keymiss none
        XREAD STREAMS none 0 | 0 | | keymiss none; keymiss none
        XADD s 4-1 b 3 | 1 | XADD s 4-1 b 3 | xadd s
        XACK s g 1-1 | 1 | XACK s g 1-1 |
        XACK s g 1-1 9-9 | 0 | |
        XACK none g 1-1 | 0 | | keymiss none
        XCLAIM s g bob 0 2-1 | 1 | XCLAIM s g bob 0 2-1 TIME NOW RETRYCOUNT 3 FORCE JUSTID LASTID 3-1 |
        XCLAIM s g bob 0 2-1 JUSTID | 1 | XCLAIM s g bob 0 2-1 TIME NOW RETRYCOUNT 3 FORCE JUSTID LASTID 3-1 |
        XCLAIM s g eve 0 4-1 | 1 | | xgroup-createconsumer s
        XCLAIM s g eve 0 004-1 FORCE | 1 | XCLAIM s g eve 0 004-1 TIME NOW RETRYCOUNT 2 FORCE JUSTID LASTID 3-1 |
        XCLAIM s g eve 0 1-1 FORCE RETRYCOUNT 7 | 1 | XCLAIM s g eve 0 1-1 TIME NOW RETRYCOUNT 7 FORCE JUSTID LASTID 3-1 |
        XCLAIM s g eve 0 1-1 FORCE JUSTID TIME 5 | 1 | XCLAIM s g eve 0 1-1 TIME 5 RETRYCOUNT 7 FORCE JUSTID LASTID 3-1 |
        XCLAIM s g eve 0 1-1 IDLE 100 LASTID 9-9 | 1 | XCLAIM s g eve 0 1-1 TIME 999900 RETRYCOUNT 8 FORCE JUSTID LASTID 9-9 |
        XCLAIM s g eve 0 77-77 LASTID 10-9 | 1 | XGROUP SETID s g 10-9 ENTRIESREAD 3 |
        XCLAIM s g eve 100000000 1-1 2-1 | 0 | |
        XDEL s 2-1 | 1 | XDEL s 2-1 | xdel s
        XCLAIM s g eve 0 2-1 | 1 | XCLAIM s g bob 0 2-1 TIME NOW RETRYCOUNT 3 FORCE JUSTID LASTID 10-9 |
        XCLAIM s g eve 0 3-1 FORCE | 1 | XCLAIM s g eve 0 3-1 TIME NOW RETRYCOUNT 2 FORCE JUSTID LASTID 10-9 |
        XDEL s 1-1 | 1 | XDEL s 1-1 | xdel s
        XAUTOCLAIM s g frank 0 0 COUNT 1 | 2 | XCLAIM s g eve 0 1-1 TIME 999900 RETRYCOUNT 8 FORCE JUSTID LASTID 10-9 | xgroup-createconsumer s
        XAUTOCLAIM s g frank 0 0 | 2 | XCLAIM s g frank 0 3-1 TIME NOW RETRYCOUNT 3 FORCE JUSTID LASTID 10-9; XCLAIM s g frank 0 4-1 TIME NOW RETRYCOUNT 3 FORCE JUSTID LASTID 10-9 |
        XAUTOCLAIM s g frank 0 (4-1 JUSTID | 0 | |
        XAUTOCLAIM none g frank 0 x | 0 | | keymiss none
        XGROUP SETID s g 0 | 1 | XGROUP SETID s g 0 | xgroup-setid s
        XREADGROUP GROUP g bob COUNT 1 STREAMS s > | 1 | XCLAIM s g bob 0 3-1 TIME NOW RETRYCOUNT 1 FORCE JUSTID LASTID 3-1; XGROUP SETID s g 3-1 ENTRIESREAD 3 |
        ",
    );
}

#[test]
fn watchers_are_told_about_entries_but_not_about_groups() {
    let mut bench = Bench::new();
    let told = [
        "XGROUP CREATE s g $ MKSTREAM",
        "XADD s 1 a b",
        "XADD s 2 a b",
        "XDEL s 2",
        "XTRIM s MAXLEN 0",
        "XADD s 3 a b",
    ];
    for command in told {
        bench.say(command);
        assert_eq!(bench.modified(), ["0:s"], "{command}");
    }
    let untold = [
        "XGROUP CREATE s h 0",
        "XREADGROUP GROUP g c STREAMS s >",
        "XCLAIM s g d 0 3",
        "XAUTOCLAIM s g c 0 0",
        "XACK s g 3",
        "XSETID s 10",
        "XDEL s 9",
        "XTRIM s MAXLEN 5",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s g e",
        "XGROUP DELCONSUMER s g c",
        "XGROUP DESTROY s g",
    ];
    for command in untold {
        assert!(!bench.say(command).starts_with('-'), "{command}");
        assert!(bench.modified().is_empty(), "{command}");
    }
}

#[test]
fn replayed_effects_make_the_same_groups() {
    let (mut source, mut replica) = (Bench::new(), Bench::new());
    let commands = [
        "XGROUP CREATE s g 0 MKSTREAM",
        "XADD s 1-1 a 1",
        "XADD s MAXLEN ~ 10 2-* a 2",
        "XADD s 3-1 b 3",
        "XADD s * b 3",
        "XREADGROUP GROUP g alice COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g bob NOACK COUNT 1 STREAMS s >",
        "XCLAIM s g bob 0 2",
        "XDEL s 1-1",
        "XAUTOCLAIM s g bob 0 0 COUNT 1",
        "XCLAIM s g bob 0 3-1 FORCE LASTID 3-2",
    ];
    for command in commands {
        let reply = source.say(command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        for line in source.stream() {
            let words = line.strip_prefix("0:").expect("database 0");
            let reply = replica.say(words);
            assert!(!reply.starts_with('-'), "{words}: {reply}");
        }
    }
    for question in ["XPENDING s g - + 10", "XINFO GROUPS s", "XINFO STREAM s"] {
        assert_eq!(source.say(question), replica.say(question), "{question}");
    }
}

#[test]
fn a_destroyed_group_with_many_pending_entries_goes_to_the_reaper() {
    let mut bench = Bench::new();
    bench.say("XGROUP CREATE s g 0 MKSTREAM");
    for _ in 0..200 {
        bench.say("XADD s * a b");
    }
    bench.say("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(bench.say("XGROUP DESTROY s g"), ":1\r\n");
    assert!(matches!(bench.effects.garbage[..], [Garbage::Value(_) | Garbage::Uncounted(_)]));
}

#[test]
fn waiting_is_refused_but_what_is_there_is_read() {
    let mut bench = Bench::new();
    bench.say("XADD s 1 a b");
    assert!(bench.say("XREAD BLOCK 0 STREAMS s 0").starts_with("*1\r\n"));
    assert_eq!(bench.say("XREAD BLOCK 0 STREAMS s $"), "*-1\r\n");
    assert_eq!(bench.say("XREAD STREAMS s $"), "*-1\r\n");
}

#[test]
fn what_another_node_trimmed_may_say_its_limit() {
    let mut bench = Bench::new();
    for (origin, refused) in
        [(Origin::Client, true), (Origin::Primary, false), (Origin::Aof, false), (Origin::Import, false)]
    {
        bench.session.origin = origin;
        for line in ["XADD s MAXLEN = 3 LIMIT 10 * f v", "XTRIM s MAXLEN = 3 LIMIT 10"] {
            assert_eq!(bench.say(line).starts_with('-'), refused, "{line}: {origin:?}");
        }
        let without = "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy\r\n";
        assert_eq!(bench.say("XADD s LIMIT 10 * f v"), without);
    }
}
