use crate::commands::testing::Bench;
use crate::effects::Garbage;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        RPUSH l a b | 2 | RPUSH l a b | new l; rpush l
        LPUSH l c | 1 | LPUSH l c | lpush l
        LPUSHX l d | 1 | LPUSHX l d | lpush l
        LPUSHX nope d | 0 | |
        LSET l 0 x | 1 | LSET l 0 x | lset l
        LINSERT l BEFORE a b | 1 | LINSERT l BEFORE a b | linsert l
        LINSERT l BEFORE nope b | 0 | |
        LREM l 1 b | 1 | LREM l 1 b | lrem l
        LREM l 1 nope | 0 | |
        LTRIM l 0 -1 | 0 | | ltrim l
        LMOVE l m LEFT LEFT | 1 | LMOVE l m LEFT LEFT | new m; lpush m; lpop l
        RPOPLPUSH m m | 1 | RPOPLPUSH m m | lpush m; rpop m
        RPOPLPUSH m n | 1 | RPOPLPUSH m n | new n; lpush n; rpop m; del m
        LMPOP 2 nope n LEFT COUNT 5 | 1 | LPOP n 1 | lpop n; del n
        LPOP l 0 | 0 | |
        LPOP l 10 | 3 | LPOP l 10 | lpop l; del l
        LPOP l | 0 | |
        RPUSH l a | 1 | RPUSH l a | new l; rpush l
        RPOP l | 1 | RPOP l | rpop l; del l
        RPUSH l a a | 2 | RPUSH l a a | new l; rpush l
        LREM l 0 a | 2 | LREM l 0 a | lrem l; del l
        RPUSH l a a | 2 | RPUSH l a a | new l; rpush l
        LTRIM l 5 6 | 2 | LTRIM l 5 6 | ltrim l; del l
        LLEN l | 0 | | keymiss l
        RPUSH p a b c | 3 | RPUSH p a b c | new p; rpush p
        LMPOP 2 q p RIGHT COUNT 2 | 2 | RPOP p 2 | rpop p
        LMPOP 1 q RIGHT COUNT 2 | 0 | |
        LTRIM p 0 0 | 0 | | ltrim p
        ",
    );
}

#[test]
fn every_changed_key_is_told_to_its_watchers() {
    let mut bench = Bench::new();
    bench.say("RPUSH a 1 2 3");
    assert_eq!(bench.modified(), ["0:a"]);
    bench.say("LMOVE a b LEFT LEFT");
    assert_eq!(bench.modified(), ["0:b", "0:a"]);
    bench.say("LMPOP 2 nope a LEFT");
    assert_eq!(bench.modified(), ["0:a"]);
    for quiet in
        ["LREM a 0 nope", "LRANGE a 0 -1", "LPOS a x", "LPOP a 0", "LINSERT a AFTER nope x", "LSET a 7 x"]
    {
        bench.say(quiet);
        assert!(bench.modified().is_empty(), "{quiet}");
    }
}

#[test]
fn a_source_that_expired_is_deleted_before_anything_else() {
    let mut bench = Bench::new();
    bench.say("RPUSH a x");
    bench.say("PEXPIREAT a 1000001");
    bench.stream();
    bench.events();
    bench.now += 10;
    bench.check_effects("LMOVE a b LEFT LEFT | 0 | UNLINK a | expired a");
    assert_eq!(bench.say("EXISTS a b"), ":0\r\n");
}

#[test]
fn a_move_to_another_type_leaves_the_source_alone() {
    let mut bench = Bench::new();
    bench.say("RPUSH a x");
    bench.put(0, "s", "text", None);
    assert!(bench.say("LMOVE a s LEFT LEFT").starts_with("-WRONGTYPE"));
    assert_eq!(bench.say("LRANGE a 0 -1"), "*1\r\n$1\r\nx\r\n");
}

#[test]
fn lists_on_several_workers_move_their_elements() {
    let mut bench = Bench::with_workers(3);
    for target in ["b", "c", "d", "e"] {
        bench.say("RPUSH a 1 2");
        assert_eq!(bench.run(&["LMOVE", "a", target, "RIGHT", "LEFT"]), "$1\r\n2\r\n");
        assert_eq!(
            bench.run(&["LMPOP", "2", target, "a", "LEFT"]),
            format!("*2\r\n$1\r\n{target}\r\n*1\r\n$1\r\n2\r\n")
        );
        bench.say("LPOP a");
    }
    assert_eq!(bench.say("EXISTS a b c d e"), ":0\r\n");
}

#[test]
fn a_large_list_goes_to_the_reaper_whichever_command_empties_it() {
    for command in ["LTRIM l 1 0", "LPOP l 200000", "LMPOP 1 l RIGHT COUNT 200000"] {
        let mut bench = Bench::new();
        let element = "x".repeat(100);
        for _ in 0..10_000 {
            bench.run(&["RPUSH", "l", &element]);
        }
        bench.say(command);
        assert!(matches!(bench.effects.garbage[..], [Garbage::Entry(_)]), "{command}");
        assert_eq!(bench.say("EXISTS l"), ":0\r\n");
    }
}
