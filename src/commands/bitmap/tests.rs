use crate::commands::testing::Bench;

#[test]
fn effects_are_those_of_valkey() {
    Bench::new().check_effects(
        "
        SETBIT sb 1 1 | 1 | SETBIT sb 1 1 | new sb; setbit sb
        SETBIT sb 1 1 | 0 |  |
        SETBIT sb 9 0 | 1 | SETBIT sb 9 0 | setbit sb
        SETBIT sb 9 1 | 1 | SETBIT sb 9 1 | setbit sb
        BITFIELD bf SET u8 0 1 | 1 | BITFIELD bf SET u8 0 1 | new bf; setbit bf
        BITFIELD bf SET u8 0 1 | 0 |  |
        BITFIELD bf SET u8 0 2 SET u8 0 2 INCRBY u8 0 1 | 2 | BITFIELD bf SET u8 0 2 SET u8 0 2 INCRBY u8 0 1 | setbit bf
        BITFIELD bf GET u8 0 | 0 |  |
        BITFIELD bf OVERFLOW FAIL SET u8 0 300 | 0 |  |
        BITFIELD bn OVERFLOW FAIL SET u8 0 300 | 0 |  | new bn
        BITFIELD_RO nope GET u8 0 | 0 |  | keymiss nope
        BITOP NOT d sb | 1 | BITOP NOT d sb | new d; set d
        BITOP AND d sb nope | 1 | BITOP AND d sb nope | keymiss nope; set d
        BITOP NOT d nope | 1 | BITOP NOT d nope | keymiss nope; del d
        BITOP NOT d nope | 0 |  | keymiss nope
        BITCOUNT nope | 0 |  | keymiss nope
        BITPOS nope 1 | 0 |  | keymiss nope
        GETBIT nope 1 | 0 |  | keymiss nope
        ",
    );
}

#[test]
fn a_result_drops_the_deadline_of_what_it_replaces_and_a_bit_keeps_it() {
    let mut bench = Bench::new();
    bench.say("SET a x EX 100");
    bench.say("SETBIT a 7 1");
    bench.say("BITFIELD a SET u8 0 65");
    assert_eq!(bench.say("TTL a"), ":100\r\n");
    bench.say("BITOP NOT a a");
    assert_eq!(bench.say("TTL a"), ":-1\r\n");
}
