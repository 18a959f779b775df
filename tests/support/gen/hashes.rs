//! Hash commands, with the deadlines of single fields.

use super::draw::{Draw, command};
use super::sets::collection_scan;
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "hashes", prefix: "h", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("hset", 9, |draw| vec![fill(draw, "HSET")]),
    entry("hmset", 2, |draw| vec![fill(draw, "HMSET")]),
    entry("hsetnx", 3, |draw| vec![command!["HSETNX", draw.key(), draw.element(), draw.value()]]),
    entry("hget", 4, |draw| vec![command!["HGET", draw.key(), draw.element()]]),
    entry("hmget", 3, |draw| vec![with_fields(draw, "HMGET")]),
    entry("hdel", 4, |draw| vec![with_fields(draw, "HDEL")]),
    entry("hexists", 2, |draw| vec![command!["HEXISTS", draw.key(), draw.element()]]),
    entry("hlen", 2, |draw| vec![command!["HLEN", draw.key()]]),
    entry("hstrlen", 2, |draw| vec![command!["HSTRLEN", draw.key(), draw.element()]]),
    entry("hgetall", 4, |draw| vec![command!["HGETALL", draw.key()]]),
    entry("hkeys", 2, |draw| vec![command!["HKEYS", draw.key()]]),
    entry("hvals", 2, |draw| vec![command!["HVALS", draw.key()]]),
    entry("hincrby", 4, |draw| vec![command!["HINCRBY", draw.key(), draw.element(), draw.integer()]]),
    entry("hincrbyfloat", 4, |draw| vec![command!["HINCRBYFLOAT", draw.key(), draw.element(), draw.float()]]),
    fixed("hrandfield", 3, |draw| {
        let mut command = command!["HRANDFIELD", draw.key()];
        if draw.chance(70) {
            command.push(draw.pick_count());
            if draw.chance(40) {
                command.push(draw.word(&["WITHVALUES", "WITHVALUES", "FOO"]));
            }
        }
        vec![command]
    }),
    entry("hscan", 3, |draw| vec![collection_scan(draw, "HSCAN")]),
    fixed("hexpire", 3, |draw| {
        let time = draw.relative_second();
        vec![deadline(draw, "HEXPIRE", time, &["NX", "XX", "FOO"])]
    }),
    fixed("hpexpire", 3, |draw| {
        let time = draw.relative_millisecond();
        vec![deadline(draw, "HPEXPIRE", time, &["NX", "XX"])]
    }),
    fixed("hexpireat", 3, |draw| {
        let time = draw.absolute_second();
        vec![deadline(draw, "HEXPIREAT", time, &["NX", "XX", "GT", "LT", "FOO"])]
    }),
    fixed("hpexpireat", 3, |draw| {
        let time = draw.absolute_millisecond();
        vec![deadline(draw, "HPEXPIREAT", time, &["NX", "XX", "GT", "LT"])]
    }),
    fixed("hpersist", 3, |draw| vec![listed_fields(draw, "HPERSIST")]),
    fixed("httl", 2, |draw| vec![listed_fields(draw, "HTTL")]),
    fixed("hpttl", 2, |draw| vec![listed_fields(draw, "HPTTL")]),
    fixed("hexpiretime", 2, |draw| vec![listed_fields(draw, "HEXPIRETIME")]),
    fixed("hpexpiretime", 2, |draw| vec![listed_fields(draw, "HPEXPIRETIME")]),
    fixed("hgetdel", 2, |draw| vec![listed_fields(draw, "HGETDEL")]),
    fixed("hgetex", 3, hgetex),
    fixed("hsetex", 4, hsetex),
];

fn fill(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    if draw.rng.one_in(15) {
        let count = *draw.rng.pick(&[20, 127, 128, 129, 511, 512, 513]);
        for number in 0..count {
            command.extend([format!("f{number}").into_bytes(), b"v".to_vec()]);
        }
        return command;
    }
    for _ in 0..=draw.rng.below(3) {
        command.extend([draw.element(), draw.value()]);
    }
    command
}

fn with_fields(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    command.extend(draw.elements(1, 4));
    command
}

fn fields(draw: &mut Draw, command: &mut Command) {
    let fields = draw.elements(1, 3);
    command.push(draw.word(&["FIELDS", "FIELDS", "FIELDS", "FIELDS", "FIELDS", "FIELDS", "FOO"]));
    command.push(if draw.chance(92) { fields.len().to_string().into_bytes() } else { draw.small_integer() });
    command.extend(fields);
}

fn listed_fields(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    fields(draw, &mut command);
    command
}

fn deadline(draw: &mut Draw, name: &str, time: Vec<u8>, flags: &[&str]) -> Command {
    let mut command = command![name, draw.key(), time];
    if draw.chance(40) {
        command.push(draw.word(flags));
    }
    fields(draw, &mut command);
    command
}

fn hgetex(draw: &mut Draw) -> Vec<Command> {
    let mut command = command!["HGETEX", draw.key()];
    match draw.rng.below(4) {
        0 => {}
        1 => command.push(draw.word(&["PERSIST", "PERSIST", "FOO", "KEEPTTL"])),
        _ => command.extend(draw.expiry_option()),
    }
    fields(draw, &mut command);
    vec![command]
}

fn hsetex(draw: &mut Draw) -> Vec<Command> {
    let mut command = command!["HSETEX", draw.key()];
    if draw.chance(40) {
        command.push(draw.word(&["FNX", "FXX", "NX", "XX", "FOO"]));
    }
    match draw.rng.below(4) {
        0 => {}
        1 => command.push(b"KEEPTTL".to_vec()),
        _ => command.extend(draw.expiry_option()),
    }
    let count = 1 + draw.rng.below(3);
    command.extend([
        b"FIELDS".to_vec(),
        if draw.chance(92) { count.to_string().into_bytes() } else { draw.small_integer() },
    ]);
    for _ in 0..count {
        command.extend([draw.element(), draw.value()]);
    }
    vec![command]
}
