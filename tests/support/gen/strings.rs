//! String commands.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "strings", prefix: "s", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    fixed("set", 14, set),
    fixed("get", 6, |draw| vec![command!["GET", draw.key()]]),
    entry("getset", 2, |draw| vec![command!["GETSET", draw.key(), draw.value()]]),
    entry("getdel", 1, |draw| vec![command!["GETDEL", draw.key()]]),
    fixed("getex", 4, getex),
    fixed("setex", 2, |draw| vec![command!["SETEX", draw.key(), draw.relative_second(), draw.value()]]),
    fixed("psetex", 2, |draw| {
        vec![command!["PSETEX", draw.key(), draw.relative_millisecond(), draw.value()]]
    }),
    entry("setnx", 2, |draw| vec![command!["SETNX", draw.key(), draw.value()]]),
    entry("append", 4, |draw| vec![command!["APPEND", draw.key(), draw.value()]]),
    entry("strlen", 3, |draw| vec![command!["STRLEN", draw.key()]]),
    entry("setrange", 4, setrange),
    entry("getrange", 4, |draw| range(draw, "GETRANGE")),
    entry("substr", 1, |draw| range(draw, "SUBSTR")),
    entry("incr", 3, |draw| vec![command!["INCR", draw.key()]]),
    entry("decr", 3, |draw| vec![command!["DECR", draw.key()]]),
    entry("incrby", 4, |draw| vec![command!["INCRBY", draw.key(), draw.integer()]]),
    entry("decrby", 4, |draw| vec![command!["DECRBY", draw.key(), draw.integer()]]),
    entry("incrbyfloat", 4, |draw| vec![command!["INCRBYFLOAT", draw.key(), draw.float()]]),
    entry("mget", 3, |draw| {
        let mut mget = command!["MGET"];
        mget.extend(draw.keys(1, 5));
        vec![mget]
    }),
    entry("mset", 2, |draw| vec![pairs(draw, "MSET")]),
    entry("msetnx", 2, |draw| vec![pairs(draw, "MSETNX")]),
    fixed("msetex", 3, msetex),
    fixed("lcs", 3, lcs),
    entry("delifeq", 2, |draw| vec![command!["DELIFEQ", draw.key(), draw.value()]]),
];

fn set(draw: &mut Draw) -> Vec<Command> {
    let mut set = command!["SET", draw.key(), draw.value()];
    if draw.chance(40) {
        return vec![set];
    }
    for _ in 0..=draw.rng.below(3) {
        match draw.rng.below(9) {
            0 => set.push(b"NX".to_vec()),
            1 => set.push(b"XX".to_vec()),
            2 => set.push(b"GET".to_vec()),
            3 => set.push(b"KEEPTTL".to_vec()),
            4 | 5 => {
                let value = draw.value();
                set.extend([b"IFEQ".to_vec(), value]);
            }
            6 if draw.chance(20) => set.push(draw.word(&["EX", "PX", "FOO", "", "IFEQ", "EXAT"])),
            _ => set.extend(draw.expiry_option()),
        }
    }
    vec![set]
}

fn getex(draw: &mut Draw) -> Vec<Command> {
    let mut getex = command!["GETEX", draw.key()];
    match draw.rng.below(5) {
        0 => {}
        1 => getex.push(b"PERSIST".to_vec()),
        2 => {
            getex.push(b"PERSIST".to_vec());
            getex.extend(draw.expiry_option());
        }
        _ => getex.extend(draw.expiry_option()),
    }
    vec![getex]
}

fn setrange(draw: &mut Draw) -> Vec<Command> {
    let offset = match draw.rng.below(8) {
        0 => draw.word(&["-1", "536870912", "536870911999", "9223372036854775807", "x", "4096", "-0"]),
        _ => draw.rng.range(0, 40).to_string().into_bytes(),
    };
    vec![command!["SETRANGE", draw.key(), offset, draw.element()]]
}

fn range(draw: &mut Draw, name: &str) -> Vec<Command> {
    let [start, end] = draw.index_range();
    vec![command![name, draw.key(), start, end]]
}

fn pairs(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name];
    for _ in 0..=draw.rng.below(3) {
        command.extend([draw.key(), draw.value()]);
    }
    command
}

fn msetex(draw: &mut Draw) -> Vec<Command> {
    let count = 1 + draw.rng.below(3);
    let told = if draw.chance(90) { count.to_string().into_bytes() } else { draw.integer() };
    let mut msetex = command!["MSETEX", told];
    for _ in 0..count {
        msetex.extend([draw.key(), draw.value()]);
    }
    match draw.rng.below(5) {
        0 => {}
        1 => msetex.push(draw.word(&["NX", "XX", "KEEPTTL", "FOO", "EX"])),
        2 => {
            msetex.push(draw.word(&["NX", "XX"]));
            msetex.extend(draw.expiry_option());
        }
        _ => msetex.extend(draw.expiry_option()),
    }
    vec![msetex]
}

fn lcs(draw: &mut Draw) -> Vec<Command> {
    let mut lcs = command!["LCS", draw.key(), draw.key()];
    if draw.chance(60) {
        lcs.push(draw.word(&["LEN", "IDX", "IDX", "FOO"]));
    }
    if draw.chance(30) {
        lcs.extend([b"MINMATCHLEN".to_vec(), draw.small_integer()]);
    }
    if draw.chance(30) {
        lcs.push(b"WITHMATCHLEN".to_vec());
    }
    // Quadratic work and memory: one of the values is short.
    vec![command!["SET", lcs[1].clone(), draw.element()], lcs]
}
