use crate::commands::testing::Bench;
use crate::keyspace::{ExpiryRules, Treatment};

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        SET a b | 1 | SET a b | new a; set a
        SET a b | 1 | SET a b | set a
        SET a b ex 100 | 1 | SET a b PXAT 1100000 | set a; expire a
        SET a b EX 100 GET | 1 | SET a b PXAT 1100000 | set a; expire a
        SET a b XX PX 50000 | 1 | SET a b PXAT 1050000 | set a; expire a
        SET a b GET XX | 1 | SET a b XX | set a
        set a b get get | 1 | set a b | set a
        SET a b KEEPTTL | 1 | SET a b KEEPTTL | set a
        SET a b KEEPTTL GET | 1 | SET a b KEEPTTL | set a
        SET n b EXAT 99999999999 GET | 1 | SET n b PXAT 99999999999000 | keymiss n; new n; set n; expire n
        SET a b PXAT 99999999999999 GET | 1 | SET a b PXAT 99999999999999 GET | set a; expire a
        SET a b PXAT 1 | 1 | UNLINK a | expired a
        SET a b PXAT 1 | 0 |  |
        SET a b XX | 0 |  |
        SET a b NX | 1 | SET a b NX | new a; set a
        SET a b NX | 0 |  |
        SET a c IFEQ x | 0 |  |
        SET a c IFEQ b | 1 | SET a c IFEQ b | set a
        SET a d IFEQ c GET | 1 | SET a d IFEQ c | set a
        SET a d IFEQ x GET | 0 |  |
        GETSET a c | 1 | SET a c | set a
        GETSET g c | 1 | SET g c | keymiss g; new g; set g
        SETNX a c | 0 |  |
        SETNX m c | 1 | SETNX m c | new m; set m
        SETEX a 100 v | 1 | SET a v PXAT 1100000 | set a; expire a
        PSETEX a 100000 v | 1 | SET a v PXAT 1100000 | set a; expire a
        PSETEX z 100000 v | 1 | SET z v PXAT 1100000 | new z; set z; expire z
        GET nope | 0 |  | keymiss nope
        STRLEN nope | 0 |  | keymiss nope
        MGET nope a nope2 | 0 |  | keymiss nope; keymiss nope2
        GETRANGE nope 0 1 | 0 |  | keymiss nope
        GETEX a | 0 |  |
        GETEX a PERSIST | 1 | PERSIST a | persist a
        GETEX a PERSIST | 0 |  |
        GETEX a EX 100 | 1 | PEXPIREAT a 1100000 | expire a
        GETEX a PX 100000 | 1 | PEXPIREAT a 1100000 | expire a
        GETEX a EXAT 99999999999 | 1 | PEXPIREAT a 99999999999000 | expire a
        GETEX a PXAT 99999999999999 | 1 | PEXPIREAT a 99999999999999 | expire a
        GETEX a PXAT 1 | 1 | UNLINK a | expired a
        GETEX a PXAT 1 | 0 |  | keymiss a
        SET a b | 1 | SET a b | new a; set a
        GETDEL a | 1 | DEL a | del a
        GETDEL a | 0 |  | keymiss a
        DELIFEQ m x | 0 |  |
        DELIFEQ m c | 1 | DEL m | del m
        DELIFEQ m c | 0 |  |
        MSET x 1 y 2 x 3 | 3 | MSET x 1 y 2 x 3 | new x; set x; new y; set y; set x
        MSETNX x 1 q 2 | 0 |  |
        MSETNX q 1 r 2 | 2 | MSETNX q 1 r 2 | new q; set q; new r; set r
        MSETEX 2 x 1 y 2 | 2 | MSETEX 2 x 1 y 2 | set x; set y
        MSETEX 2 x 1 y 2 EX 100 | 2 | MSETEX 2 x 1 y 2 PXAT 1100000 | set x; expire x; set y; expire y
        MSETEX 2 x 1 y 2 XX EXAT 99999999999 | 2 | MSETEX 2 x 1 y 2 XX PXAT 99999999999000 | set x; expire x; set y; expire y
        MSETEX 1 x 1 px 100000 xx | 1 | MSETEX 1 x 1 PXAT 1100000 xx | set x; expire x
        MSETEX 1 x 1 NX PX 100 | 0 |  |
        MSETEX 1 nx 1 NX PXAT 99999999999999 | 1 | MSETEX 1 nx 1 NX PXAT 99999999999999 | new nx; set nx; expire nx
        MSETEX 1 x 1 KEEPTTL | 1 | MSETEX 1 x 1 KEEPTTL | set x
        APPEND ap x | 1 | APPEND ap x | new ap; append ap
        APPEND ap y | 1 | APPEND ap y | append ap
        SETRANGE ap 1 zz | 1 | SETRANGE ap 1 zz | setrange ap
        SETRANGE ap 9 q | 1 | SETRANGE ap 9 q | setrange ap
        SETRANGE sr 2 q | 1 | SETRANGE sr 2 q | new sr; setrange sr
        INCR i | 1 | INCR i | new i; incrby i
        INCR i | 1 | INCR i | incrby i
        DECR i | 1 | DECR i | incrby i
        INCRBY i 5 | 1 | INCRBY i 5 | incrby i
        DECRBY i 5 | 1 | DECRBY i 5 | incrby i
        DECRBY i2 5 | 1 | DECRBY i2 5 | new i2; incrby i2
        INCRBYFLOAT i 1.5 | 1 | SET i 2.5 KEEPTTL | incrbyfloat i
        INCRBYFLOAT f 1.5 | 1 | SET f 1.5 KEEPTTL | new f; incrbyfloat f
        LCS nope nope2 | 0 |  | keymiss nope; keymiss nope2
        ",
    );
}

/// Valkey also drops the word GET where it is the value that IFEQ compares with, which no replica can read.
#[test]
fn a_comparison_value_stays_in_the_stream_though_it_looks_like_an_option() {
    let mut bench = Bench::new();
    bench.say("SET k GET");
    bench.stream();
    bench.say("SET k v IFEQ GET GET");
    assert_eq!(bench.stream(), ["0:SET k v IFEQ GET"]);
    bench.say("MSETEX 1 k v EX 1 EX 5 XX");
    assert_eq!(bench.stream(), ["0:MSETEX 1 k v PXAT 1005000 XX"]);
}

#[test]
fn deletions_by_past_deadlines_follow_the_configuration_and_count_as_expired() {
    let mut bench = Bench::new();
    bench.config.lazyfree_lazy_expire = false;
    bench.say("MSET a 1 b 2");
    bench.stream();
    bench.say("SET a 2 PXAT 5");
    bench.say("GETEX b EXAT 1");
    assert_eq!(bench.stream(), ["0:DEL a", "0:DEL b"]);
    assert_eq!(bench.effects.counters.expired_keys, 2);
}

#[test]
fn where_past_deadlines_are_stored_nothing_is_deleted() {
    let mut bench = Bench::new();
    bench.rules = ExpiryRules { read: Treatment::Show, write: Treatment::Show, store_past: true };
    bench.check_effects(
        "
        SET a b PXAT 1 | 1 | SET a b PXAT 1 | new a; set a; expire a
        SET a b EXAT 2 GET | 1 | SET a b PXAT 2000 | set a; expire a
        GETEX a PXAT 3 | 1 | PEXPIREAT a 3 | expire a
        ",
    );
    assert_eq!(bench.say("GET a"), "$1\r\nb\r\n");
}

#[test]
fn an_expired_key_is_deleted_first_and_a_set_makes_a_new_one() {
    let mut bench = Bench::new();
    for (command, stream, events) in [
        ("SET k v", &["0:UNLINK k", "0:SET k v"][..], &["0:expired k", "0:new k", "0:set k"][..]),
        ("SET k v KEEPTTL", &["0:UNLINK k", "0:SET k v KEEPTTL"], &["0:expired k", "0:new k", "0:set k"]),
        ("GETSET k v", &["0:UNLINK k", "0:SET k v"], &["0:expired k", "0:keymiss k", "0:new k", "0:set k"]),
        ("APPEND k v", &["0:UNLINK k", "0:APPEND k v"], &["0:expired k", "0:new k", "0:append k"]),
        ("INCR k", &["0:UNLINK k", "0:INCR k"], &["0:expired k", "0:new k", "0:incrby k"]),
        ("SETBIT k 1 1", &["0:UNLINK k", "0:SETBIT k 1 1"], &["0:expired k", "0:new k", "0:setbit k"]),
        ("GET k", &["0:UNLINK k"], &["0:expired k", "0:keymiss k"]),
        ("DELIFEQ k 1", &["0:UNLINK k"], &["0:expired k"]),
    ] {
        bench.say("SET k 1 PX 10");
        bench.now += 11;
        bench.stream();
        bench.events();
        bench.say(command);
        assert_eq!(bench.stream(), stream, "{command}");
        assert_eq!(bench.events(), events, "{command}");
        assert!(bench.say("PTTL k").starts_with(":-"), "{command}: no deadline is left");
    }
}
