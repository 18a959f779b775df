//! Set commands.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "sets", prefix: "t", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("sadd", 10, sadd),
    entry("srem", 5, |draw| {
        let mut srem = command!["SREM", draw.key()];
        srem.extend(draw.elements(1, 4));
        vec![srem]
    }),
    entry("scard", 2, |draw| vec![command!["SCARD", draw.key()]]),
    entry("sismember", 3, |draw| vec![command!["SISMEMBER", draw.key(), draw.element()]]),
    entry("smismember", 3, |draw| {
        let mut command = command!["SMISMEMBER", draw.key()];
        command.extend(draw.elements(1, 4));
        vec![command]
    }),
    entry("smembers", 4, |draw| vec![command!["SMEMBERS", draw.key()]]),
    entry("smove", 4, |draw| vec![command!["SMOVE", draw.key(), draw.key(), draw.element()]]),
    entry("sinter", 3, |draw| vec![algebra(draw, "SINTER")]),
    entry("sunion", 3, |draw| vec![algebra(draw, "SUNION")]),
    entry("sdiff", 3, |draw| vec![algebra(draw, "SDIFF")]),
    entry("sinterstore", 3, |draw| vec![algebra(draw, "SINTERSTORE")]),
    entry("sunionstore", 3, |draw| vec![algebra(draw, "SUNIONSTORE")]),
    entry("sdiffstore", 3, |draw| vec![algebra(draw, "SDIFFSTORE")]),
    entry("sintercard", 3, |draw| {
        let keys = draw.keys(1, 3);
        let mut command = command!["SINTERCARD", keys.len().to_string()];
        command.extend(keys);
        if draw.chance(50) {
            command.extend([b"LIMIT".to_vec(), draw.small_integer()]);
        }
        vec![command]
    }),
    fixed("srandmember", 3, |draw| {
        let mut command = command!["SRANDMEMBER", draw.key()];
        if draw.chance(60) {
            command.push(draw.pick_count());
        }
        vec![command]
    }),
    fixed("spop", 3, |draw| {
        let key = draw.key();
        let mut spop = command!["SPOP", key.clone()];
        if draw.chance(60) {
            spop.push(draw.count());
        }
        vec![spop, command!["DEL", key]]
    }),
    entry("sscan", 3, |draw| vec![collection_scan(draw, "SSCAN")]),
];

fn sadd(draw: &mut Draw) -> Vec<Command> {
    let mut sadd = command!["SADD", draw.key()];
    match draw.rng.below(12) {
        // Enough members to cross from one encoding to the next.
        0 => {
            let start = draw.rng.range(-300, 300);
            let count = *draw.rng.pick(&[20, 127, 128, 129, 513]);
            sadd.extend((start..start + count).map(|number| number.to_string().into_bytes()));
        }
        1 => {
            let count = *draw.rng.pick(&[20, 127, 128, 129]);
            sadd.extend((0..count).map(|number| format!("m{number}").into_bytes()));
        }
        2..=5 => {
            let integers = [
                "32767",
                "32768",
                "-32769",
                "2147483647",
                "2147483648",
                "9223372036854775807",
                "-9223372036854775808",
                "1",
                "2",
                "3",
            ];
            for _ in 0..3 {
                sadd.push(draw.word(&integers));
            }
        }
        6 => sadd.push(vec![b'q'; *draw.rng.pick(&[63, 64, 65])]),
        _ => sadd.extend(draw.elements(1, 5)),
    }
    vec![sadd]
}

fn algebra(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name];
    if name.ends_with("STORE") {
        command.push(draw.key());
    }
    command.extend(draw.keys(1, 3));
    command
}

/// SSCAN, HSCAN or ZSCAN.
pub fn collection_scan(draw: &mut Draw, name: &str) -> Command {
    let mut command =
        command![name, draw.key(), if draw.rng.one_in(10) { draw.integer() } else { b"0".to_vec() }];
    if draw.chance(60) {
        command.extend([b"COUNT".to_vec(), b"100000".to_vec()]);
    }
    if draw.chance(40) {
        command.extend([b"MATCH".to_vec(), draw.pattern()]);
    }
    if draw.rng.one_in(8) {
        command.push(draw.word(&["NOVALUES", "NOSCORES", "COUNT", "FOO"]));
    }
    command
}
