use crate::commands::testing::Bench;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        PFADD h | 1 | PFADD h | new h; pfadd h
        PFADD h | 0 |  |
        PFADD h a b c | 3 | PFADD h a b c | pfadd h
        PFADD h a b c | 0 |  |
        PFCOUNT h | 1 | PFCOUNT h |
        PFCOUNT h | 0 |  |
        PFCOUNT nope | 0 |  | keymiss nope
        PFCOUNT h nope | 0 |  | keymiss nope
        PFADD h2 x y | 3 | PFADD h2 x y | new h2; pfadd h2
        PFMERGE h3 h h2 | 1 | PFMERGE h3 h h2 | keymiss h3; new h3; pfadd h3
        PFMERGE h3 h h2 | 1 | PFMERGE h3 h h2 | pfadd h3
        PFMERGE h4 | 1 | PFMERGE h4 | keymiss h4; new h4; pfadd h4
        PFMERGE h4 | 1 | PFMERGE h4 | pfadd h4
        PFMERGE h nope | 1 | PFMERGE h nope | keymiss nope; pfadd h
        PFCOUNT h | 1 | PFCOUNT h |
        PFCOUNT h3 h2 | 0 |  |
        PFDEBUG ENCODING h | 0 |  |
        PFDEBUG TODENSE h | 1 | PFDEBUG TODENSE h |
        PFDEBUG TODENSE h | 0 |  |
        PFDEBUG GETREG h2 | 1 | PFDEBUG GETREG h2 |
        PFDEBUG DECODE h3 | 0 |  |
        PFADD h d e f g | 4 | PFADD h d e f g | pfadd h
        ",
    );
}

#[test]
fn a_refreshed_count_is_a_change_that_watchers_see() {
    let mut bench = Bench::new();
    bench.say("PFADD h a b c");
    bench.modified();
    assert_eq!(bench.say("PFCOUNT h"), ":3\r\n");
    assert_eq!(bench.modified(), ["0:h"]);
    assert_eq!(bench.say("PFCOUNT h"), ":3\r\n");
    assert!(bench.modified().is_empty());
}

#[test]
fn damaged_values_are_refused_without_harm() {
    let mut bench = Bench::new();
    bench.say("PFADD good a");
    let corrupted = "-INVALIDOBJ Corrupted HLL object detected\r\n";
    // A header, then fewer registers than there must be.
    bench.run_bytes(&[b"SET", b"bad", b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xf0"]);
    for command in ["PFCOUNT bad", "PFCOUNT bad good", "PFMERGE good bad", "PFDEBUG GETREG bad"] {
        assert_eq!(bench.say(command), corrupted, "{command}");
    }
    let not_one = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
    for value in [&b"HYLL"[..], b"HYLL\x02aaaaaaaaaaa", b"HYLL\0aaaaaaaaaaa", b"12"] {
        bench.run_bytes(&[b"SET", b"bad", value]);
        for command in ["PFADD bad x", "PFCOUNT bad", "PFMERGE bad", "PFDEBUG ENCODING bad"] {
            assert_eq!(bench.say(command), not_one, "{command}");
        }
    }
    assert_eq!(bench.say("PFCOUNT good"), ":1\r\n");
}

#[test]
fn the_self_test_passes_with_any_seed() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        assert_eq!(bench.say("PFSELFTEST"), "+OK\r\n");
    }
}
