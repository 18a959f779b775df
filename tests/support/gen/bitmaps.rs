//! Bitmap and bit-field commands.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "bitmaps", prefix: "b", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    // A changed offset could make strings of hundreds of megabytes.
    fixed("setbit", 8, |draw| vec![command!["SETBIT", draw.key(), offset(draw), bit(draw)]]),
    entry("getbit", 6, |draw| vec![command!["GETBIT", draw.key(), offset(draw)]]),
    entry("bitcount", 6, |draw| {
        let mut command = command!["BITCOUNT", draw.key()];
        limits(draw, &mut command);
        vec![command]
    }),
    entry("bitpos", 6, |draw| {
        let mut command = command!["BITPOS", draw.key(), bit(draw)];
        limits(draw, &mut command);
        vec![command]
    }),
    entry("bitop", 5, |draw| {
        let mut command =
            command!["BITOP", draw.word(&["AND", "OR", "XOR", "NOT", "DIFF", "ANDOR", "ONE"]), draw.key()];
        let most = if draw.chance(30) { 1 } else { 4 };
        command.extend(draw.keys(1, most));
        vec![command]
    }),
    fixed("bitfield", 8, |draw| vec![bitfield(draw, "BITFIELD")]),
    entry("bitfield_ro", 3, |draw| vec![bitfield(draw, "BITFIELD_RO")]),
    entry("set", 2, |draw| {
        let length = draw.rng.below(30);
        let value = draw.rng.bytes(length);
        vec![command!["SET", draw.key(), value]]
    }),
    entry("get", 2, |draw| vec![command!["GET", draw.key()]]),
];

fn offset(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(15) {
        0 => draw.word(&["-1", "4294967296", "9223372036854775807", "x", "", "#1", "100000", "1.0"]),
        _ => draw.rng.range(0, 300).to_string().into_bytes(),
    }
}

fn bit(draw: &mut Draw) -> Vec<u8> {
    if draw.rng.one_in(15) { draw.word(&["2", "-1", "x", "", "01"]) } else { draw.word(&["0", "1"]) }
}

fn limits(draw: &mut Draw, command: &mut Command) {
    match draw.rng.below(5) {
        0 => {}
        1 => command.push(draw.small_integer()),
        2 => command.extend(draw.index_range()),
        _ => {
            command.extend(draw.index_range());
            command.push(draw.word(&["BYTE", "BIT", "BIT", "FOO"]));
        }
    }
}

fn bitfield(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    for _ in 0..draw.rng.below(4) {
        if draw.chance(25) && name == "BITFIELD" {
            command.extend([b"OVERFLOW".to_vec(), draw.word(&["WRAP", "SAT", "FAIL", "FAIL", "FOO"])]);
        }
        let kind = match draw.rng.below(20) {
            0 => draw.word(&["u64", "i65", "u0", "i0", "x8", "u", "8", "", "i-1", "u63", "i64"]),
            _ => {
                let sign = *draw.rng.pick(&["i", "u"]);
                let most = if sign == "i" { 64 } else { 63 };
                format!("{sign}{}", draw.rng.range(1, most)).into_bytes()
            }
        };
        let place = match draw.rng.below(12) {
            0 => draw.word(&["-1", "#-1", "#", "x", "4294967296", "#9223372036854775807"]),
            1..=3 => format!("#{}", draw.rng.below(8)).into_bytes(),
            _ => draw.rng.range(0, 200).to_string().into_bytes(),
        };
        let writes = name == "BITFIELD" || draw.rng.one_in(6);
        match draw.rng.below(if writes { 3 } else { 1 }) {
            0 => command.extend([b"GET".to_vec(), kind, place]),
            1 => command.extend([b"SET".to_vec(), kind, place, draw.integer()]),
            _ => command.extend([b"INCRBY".to_vec(), kind, place, draw.integer()]),
        }
    }
    command
}
