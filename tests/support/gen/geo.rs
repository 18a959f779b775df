//! Geospatial commands.

use super::draw::{Draw, command};
use super::{Entry, Family, entry};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "geo", prefix: "o", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("geoadd", 8, |draw| {
        let mut geoadd = command!["GEOADD", draw.key()];
        if draw.chance(30) {
            geoadd.push(draw.word(&["NX", "XX", "CH"]));
        }
        for _ in 0..=draw.rng.below(3) {
            geoadd.extend([longitude(draw), latitude(draw), draw.element()]);
        }
        vec![geoadd]
    }),
    entry("geopos", 3, |draw| vec![members(draw, "GEOPOS")]),
    entry("geohash", 3, |draw| vec![members(draw, "GEOHASH")]),
    entry("geodist", 3, |draw| {
        let mut command = command!["GEODIST", draw.key(), draw.element(), draw.element()];
        if draw.chance(60) {
            command.push(unit(draw));
        }
        vec![command]
    }),
    entry("geosearch", 5, |draw| {
        let mut command = command!["GEOSEARCH", draw.key()];
        search(draw, &mut command, true);
        vec![command]
    }),
    entry("geosearchstore", 3, |draw| {
        let mut command = command!["GEOSEARCHSTORE", draw.key(), draw.key()];
        search(draw, &mut command, false);
        if draw.chance(30) {
            command.push(b"STOREDIST".to_vec());
        }
        vec![command]
    }),
    entry("georadius", 3, |draw| {
        let mut command =
            command!["GEORADIUS", draw.key(), longitude(draw), latitude(draw), radius(draw), unit(draw)];
        shown(draw, &mut command);
        stored(draw, &mut command);
        vec![command]
    }),
    entry("georadius_ro", 1, |draw| {
        let mut command =
            command!["GEORADIUS_RO", draw.key(), longitude(draw), latitude(draw), radius(draw), unit(draw)];
        shown(draw, &mut command);
        vec![command]
    }),
    entry("georadiusbymember", 2, |draw| {
        let mut command = command!["GEORADIUSBYMEMBER", draw.key(), draw.element(), radius(draw), unit(draw)];
        shown(draw, &mut command);
        stored(draw, &mut command);
        vec![command]
    }),
    entry("georadiusbymember_ro", 1, |draw| {
        let mut command =
            command!["GEORADIUSBYMEMBER_RO", draw.key(), draw.element(), radius(draw), unit(draw)];
        shown(draw, &mut command);
        vec![command]
    }),
];

fn longitude(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(12) {
        0 => draw.word(&["180", "-180", "180.0001", "-181", "x", "nan", "0", "179.9999"]),
        1 => format!("{}.{}", draw.rng.range(-179, 179), draw.rng.below(10_000)).into_bytes(),
        _ => format!("{}.{}", draw.rng.range(10, 16), draw.rng.below(10_000)).into_bytes(),
    }
}

fn latitude(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(12) {
        0 => draw.word(&["85.05112878", "-85.05112878", "86", "-90", "x", "inf", "0", "85.05112879"]),
        1 => format!("{}.{}", draw.rng.range(-84, 84), draw.rng.below(10_000)).into_bytes(),
        _ => format!("{}.{}", draw.rng.range(36, 39), draw.rng.below(10_000)).into_bytes(),
    }
}

fn unit(draw: &mut Draw) -> Vec<u8> {
    draw.word(&["m", "km", "ft", "mi", "KM", "km", "x"])
}

fn radius(draw: &mut Draw) -> Vec<u8> {
    draw.word(&["0", "1", "50", "100", "200.5", "1000", "100000", "-1", "x", "nan", "20000000"])
}

fn members(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    command.extend(draw.elements(0, 3));
    command
}

/// Results come in a defined order only with ASC, DESC or COUNT; without, the order of the cells is part of the reply
/// too and is compared.
fn shown(draw: &mut Draw, command: &mut Command) {
    for option in ["WITHCOORD", "WITHDIST", "WITHHASH"] {
        if draw.chance(35) {
            command.push(option.as_bytes().to_vec());
        }
    }
    if draw.chance(60) {
        command.push(draw.word(&["ASC", "DESC"]));
    }
    if draw.chance(40) {
        count(draw, command);
    }
}

fn count(draw: &mut Draw, command: &mut Command) {
    command.extend([b"COUNT".to_vec(), draw.count()]);
    if draw.chance(25) {
        command.push(b"ANY".to_vec());
    }
}

fn stored(draw: &mut Draw, command: &mut Command) {
    if draw.chance(20) {
        command.extend([draw.word(&["STORE", "STOREDIST"]), draw.key()]);
    }
}

/// Corners on a part of the globe whose centre is far from the poles: Valkey has no answer for one beyond its projection.
fn polygon(draw: &mut Draw, command: &mut Command) {
    let corners = 3 + draw.rng.below(5);
    let told = if draw.chance(94) { corners.to_string().into_bytes() } else { draw.small_integer() };
    command.extend([b"BYPOLYGON".to_vec(), told]);
    let (west, east, south, north) =
        if draw.chance(70) { (9, 17, 35, 40) } else { (-100, 0, -60, *draw.rng.pick(&[-50, 0, 60])) };
    for _ in 0..corners {
        for (low, high) in [(west, east), (south, north)] {
            command.push(format!("{}.{}", draw.rng.range(low, high), draw.rng.below(10_000)).into_bytes());
        }
    }
}

fn search(draw: &mut Draw, command: &mut Command, show: bool) {
    let around = draw.chance(70);
    match draw.rng.below(2) {
        _ if !around => polygon(draw, command),
        0 => command.extend([b"FROMMEMBER".to_vec(), draw.element()]),
        _ => command.extend([b"FROMLONLAT".to_vec(), longitude(draw), latitude(draw)]),
    }
    match draw.rng.below(2) {
        _ if !around => {}
        0 => command.extend([b"BYRADIUS".to_vec(), radius(draw), unit(draw)]),
        _ => command.extend([b"BYBOX".to_vec(), radius(draw), radius(draw), unit(draw)]),
    }
    if show {
        shown(draw, command);
        return;
    }
    if draw.chance(30) {
        command.push(draw.word(&["ASC", "DESC"]));
    }
    if draw.chance(40) {
        count(draw, command);
    }
}
