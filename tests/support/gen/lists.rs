//! List commands. Blocking ones only with time limits of milliseconds, so that an empty list costs little.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "lists", prefix: "l", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("lpush", 7, |draw| vec![push(draw, "LPUSH")]),
    entry("rpush", 7, |draw| vec![push(draw, "RPUSH")]),
    entry("lpushx", 2, |draw| vec![push(draw, "LPUSHX")]),
    entry("rpushx", 2, |draw| vec![push(draw, "RPUSHX")]),
    entry("lpop", 4, |draw| vec![pop(draw, "LPOP")]),
    entry("rpop", 4, |draw| vec![pop(draw, "RPOP")]),
    entry("llen", 2, |draw| vec![command!["LLEN", draw.key()]]),
    entry("lrange", 5, |draw| {
        let [start, stop] = draw.index_range();
        vec![command!["LRANGE", draw.key(), start, stop]]
    }),
    entry("lindex", 3, |draw| vec![command!["LINDEX", draw.key(), draw.small_integer()]]),
    entry("lset", 3, |draw| vec![command!["LSET", draw.key(), draw.small_integer(), draw.element()]]),
    entry("linsert", 4, |draw| {
        vec![command![
            "LINSERT",
            draw.key(),
            draw.word(&["BEFORE", "AFTER", "AFTER", "FOO"]),
            draw.element(),
            draw.element()
        ]]
    }),
    entry("lrem", 3, |draw| vec![command!["LREM", draw.key(), draw.small_integer(), draw.element()]]),
    entry("ltrim", 2, |draw| {
        let [start, stop] = draw.index_range();
        vec![command!["LTRIM", draw.key(), start, stop]]
    }),
    entry("lpos", 4, lpos),
    entry("lmove", 4, |draw| vec![command!["LMOVE", draw.key(), draw.key(), side(draw), side(draw)]]),
    entry("rpoplpush", 2, |draw| vec![command!["RPOPLPUSH", draw.key(), draw.key()]]),
    entry("lmpop", 3, |draw| {
        let mut command = command!["LMPOP"];
        mpop(draw, &mut command);
        vec![command]
    }),
    fixed("blpop", 1, |draw| vec![command!["BLPOP", draw.key(), draw.key(), wait(draw)]]),
    fixed("brpop", 1, |draw| vec![command!["BRPOP", draw.key(), wait(draw)]]),
    fixed("blmove", 1, |draw| {
        vec![command!["BLMOVE", draw.key(), draw.key(), side(draw), side(draw), wait(draw)]]
    }),
    fixed("brpoplpush", 1, |draw| vec![command!["BRPOPLPUSH", draw.key(), draw.key(), wait(draw)]]),
    fixed("blmpop", 1, |draw| {
        let mut command = command!["BLMPOP", wait(draw)];
        mpop(draw, &mut command);
        vec![command]
    }),
];

/// A time limit that ends at once, or is refused.
pub fn wait(draw: &mut Draw) -> Vec<u8> {
    draw.word(&["0.001", "0.002", "0.001", "-1", "x", "nan", "1e400"])
}

pub fn mpop(draw: &mut Draw, command: &mut Command) {
    let keys = draw.keys(1, 3);
    command.push(if draw.chance(90) { keys.len().to_string().into_bytes() } else { draw.small_integer() });
    command.extend(keys);
    command.push(if draw.prefix == "z" { draw.word(&["MIN", "MAX", "FOO"]) } else { side(draw) });
    if draw.chance(50) {
        command.extend([b"COUNT".to_vec(), draw.count()]);
    }
}

fn push(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    if draw.rng.one_in(25) {
        // One element beyond the size of a list node.
        command.push(vec![b'L'; *draw.rng.pick(&[8100, 8192, 9000, 20_000])]);
    }
    command.extend(draw.elements(1, 5));
    command
}

fn pop(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    if draw.chance(50) {
        command.push(draw.count());
    }
    command
}

fn side(draw: &mut Draw) -> Vec<u8> {
    if draw.rng.one_in(25) { draw.word(&["FOO", "", "UP"]) } else { draw.word(&["LEFT", "RIGHT"]) }
}

fn lpos(draw: &mut Draw) -> Vec<Command> {
    let mut lpos = command!["LPOS", draw.key(), draw.element()];
    for option in ["RANK", "COUNT", "MAXLEN"] {
        if draw.chance(40) {
            lpos.extend([option.as_bytes().to_vec(), draw.small_integer()]);
        }
    }
    vec![lpos]
}
