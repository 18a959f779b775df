//! HyperLogLog commands. The values are compared as strings too, byte by byte.

use super::draw::{Draw, command};
use super::{Entry, Family, entry};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "hyperloglogs", prefix: "p", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("pfadd", 8, pfadd),
    entry("pfcount", 4, |draw| {
        let mut command = command!["PFCOUNT"];
        command.extend(draw.keys(1, 3));
        vec![command]
    }),
    entry("pfmerge", 3, |draw| {
        let mut command = command!["PFMERGE"];
        command.extend(draw.keys(1, 4));
        vec![command]
    }),
    entry("get", 1, |draw| vec![command!["GET", draw.key()]]),
    entry("strlen", 1, |draw| vec![command!["STRLEN", draw.key()]]),
    entry("pfdebug", 1, |draw| {
        vec![command!["PFDEBUG", draw.word(&["ENCODING", "DECODE", "TODENSE", "GETREG", "FOO"]), draw.key()]]
    }),
];

fn pfadd(draw: &mut Draw) -> Vec<Command> {
    let mut pfadd = command!["PFADD", draw.key()];
    if draw.rng.one_in(12) {
        // Enough to leave the sparse representation.
        let start = draw.rng.below(100_000);
        let count = *draw.rng.pick(&[200, 1000, 3000]);
        pfadd.extend((start..start + count).map(|number| format!("n{number}").into_bytes()));
    } else {
        pfadd.extend(draw.elements(0, 5));
    }
    vec![pfadd]
}
