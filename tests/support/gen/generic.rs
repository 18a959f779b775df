//! Commands on keys of any type, databases and the connection.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "generic", prefix: "g", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("del", 5, |draw| vec![many(draw, "DEL")]),
    entry("unlink", 3, |draw| vec![many(draw, "UNLINK")]),
    entry("exists", 4, |draw| vec![many(draw, "EXISTS")]),
    entry("touch", 2, |draw| vec![many(draw, "TOUCH")]),
    entry("type", 4, |draw| vec![command!["TYPE", any_key(draw)]]),
    fixed("expire", 5, |draw| {
        let time = draw.relative_second();
        vec![expire(draw, "EXPIRE", time, false)]
    }),
    fixed("pexpire", 5, |draw| {
        let time = draw.relative_millisecond();
        vec![expire(draw, "PEXPIRE", time, false)]
    }),
    fixed("expireat", 6, |draw| {
        let time = draw.absolute_second();
        vec![expire(draw, "EXPIREAT", time, true)]
    }),
    fixed("pexpireat", 6, |draw| {
        let time = draw.absolute_millisecond();
        vec![expire(draw, "PEXPIREAT", time, true)]
    }),
    entry("ttl", 3, |draw| vec![command!["TTL", any_key(draw)]]),
    entry("pttl", 3, |draw| vec![command!["PTTL", any_key(draw)]]),
    entry("expiretime", 3, |draw| vec![command!["EXPIRETIME", any_key(draw)]]),
    entry("pexpiretime", 3, |draw| vec![command!["PEXPIRETIME", any_key(draw)]]),
    entry("persist", 4, |draw| vec![command!["PERSIST", any_key(draw)]]),
    entry("rename", 4, |draw| vec![command!["RENAME", any_key(draw), any_key(draw)]]),
    entry("renamenx", 4, |draw| vec![command!["RENAMENX", any_key(draw), any_key(draw)]]),
    entry("copy", 6, copy),
    entry("move", 4, |draw| vec![command!["MOVE", any_key(draw), database(draw)]]),
    entry("keys", 2, |draw| vec![command!["KEYS", draw.pattern()]]),
    entry("scan", 4, scan),
    entry("randomkey", 1, |_| vec![command!["RANDOMKEY"]]),
    entry("object|encoding", 4, |draw| vec![command!["OBJECT", "ENCODING", any_key(draw)]]),
    entry("object|refcount", 1, |draw| vec![command!["OBJECT", "REFCOUNT", b"missing".to_vec(), draw.key()]]),
    entry("object|idletime", 1, |draw| vec![command!["OBJECT", "IDLETIME", any_key(draw)]]),
    entry("object|freq", 1, |draw| vec![command!["OBJECT", "FREQ", any_key(draw)]]),
    fixed("select", 4, |draw| vec![command!["SELECT", database(draw)]]),
    entry("swapdb", 1, |draw| vec![command!["SWAPDB", database(draw), database(draw)]]),
    fixed("flushdb", 1, |draw| {
        let mut flush = command!["FLUSHDB"];
        flushing(draw, &mut flush);
        vec![flush]
    }),
    fixed("ping", 1, |draw| {
        vec![if draw.chance(50) { command!["PING"] } else { command!["PING", draw.value()] }]
    }),
    entry("echo", 1, |draw| vec![command!["ECHO", draw.value()]]),
    fixed("hello", 2, |draw| {
        vec![command!["HELLO", draw.word(&["2", "3", "3", "4", "1", "x", "9223372036854775808"])]]
    }),
    entry("client|getname", 1, |_| vec![command!["CLIENT", "GETNAME"]]),
    entry("client|setname", 1, |draw| vec![command!["CLIENT", "SETNAME", draw.element()]]),
    entry("client|setinfo", 1, |draw| {
        vec![command!["CLIENT", "SETINFO", draw.word(&["LIB-NAME", "LIB-VER", "FOO"]), draw.element()]]
    }),
    entry("client|no-touch", 1, |draw| {
        vec![command!["CLIENT", "NO-TOUCH", draw.word(&["ON", "OFF", "FOO"])]]
    }),
    entry("client|no-evict", 1, |draw| {
        vec![command!["CLIENT", "NO-EVICT", draw.word(&["ON", "OFF", "FOO"])]]
    }),
    fixed("command|getkeys", 2, |draw| {
        let mut command = command!["COMMAND", "GETKEYS", draw.command_name()];
        command.extend(draw.elements(0, 5));
        vec![command]
    }),
    entry("dump", 2, |draw| vec![command!["DUMP", any_key(draw)]]),
    fixed("restore", 3, |draw| vec![restore(draw)]),
    fixed("sort", 4, |draw| vec![sort(draw, "SORT")]),
    fixed("sort_ro", 2, |draw| vec![sort(draw, "SORT_RO")]),
    fixed("wait", 1, |draw| vec![command!["WAIT", "0", draw.word(&["0", "-1", "x", "10"])]]),
];

/// These commands work on all families' keys more than on their own.
fn any_key(draw: &mut Draw) -> Vec<u8> {
    if draw.chance(70) {
        let all = ["s", "b", "g", "l", "t", "h", "z", "x", "o", "p"];
        draw.prefix = *draw.rng.pick(&all);
    }
    draw.key()
}

fn many(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name];
    for _ in 0..=draw.rng.below(3) {
        command.push(any_key(draw));
    }
    command
}

fn database(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(20) {
        0 => draw.word(&["-1", "16", "15", "x", "", "99999999999999999999", "1.0"]),
        _ => draw.rng.range(0, 3).to_string().into_bytes(),
    }
}

/// Flags that compare deadlines only go with absolute times; relative ones would depend on the millisecond.
fn expire(draw: &mut Draw, name: &str, time: Vec<u8>, absolute: bool) -> Command {
    let mut command = command![name, any_key(draw), time];
    if draw.chance(50) {
        let flags: &[&str] = if absolute { &["NX", "XX", "GT", "LT", "FOO"] } else { &["NX", "XX", "FOO"] };
        command.push(draw.word(flags));
        if draw.chance(25) {
            command.push(draw.word(flags));
        }
    }
    command
}

fn copy(draw: &mut Draw) -> Vec<Command> {
    let mut copy = command!["COPY", any_key(draw), any_key(draw)];
    if draw.chance(40) {
        copy.extend([b"DB".to_vec(), database(draw)]);
    }
    if draw.chance(50) {
        copy.push(b"REPLACE".to_vec());
    }
    if draw.rng.one_in(20) {
        copy.push(draw.word(&["FOO", "DB", ""]));
    }
    vec![copy]
}

fn scan(draw: &mut Draw) -> Vec<Command> {
    let mut scan = command!["SCAN", if draw.rng.one_in(10) { draw.integer() } else { b"0".to_vec() }];
    if draw.chance(80) {
        scan.extend([b"COUNT".to_vec(), b"100000".to_vec()]);
    }
    if draw.chance(40) {
        scan.extend([b"MATCH".to_vec(), draw.pattern()]);
    }
    if draw.chance(30) {
        let kinds = ["string", "list", "set", "zset", "hash", "stream", "STRING", "foo"];
        scan.extend([b"TYPE".to_vec(), draw.word(&kinds)]);
    }
    if draw.rng.one_in(20) {
        scan.push(draw.word(&["COUNT", "FOO", "MATCH", "NOVALUES"]));
    }
    vec![scan]
}

/// Values as Valkey serialized them, of every encoding and age that it reads.
const SERIALIZED: &str = include_str!("../../../src/rdb/recorded.txt");

fn restore(draw: &mut Draw) -> Command {
    let lines = SERIALIZED.lines().filter(|line| !line.starts_with('#'));
    let payloads: Vec<&str> = lines.filter_map(|line| line.split(" | ").nth(1)).collect();
    let hex = draw.rng.pick(&payloads).trim();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("the recording is hexadecimal");
    let mut payload: Vec<u8> = (0..hex.len() / 2).map(|place| byte(place * 2)).collect();
    if draw.rng.one_in(12) {
        let place = draw.rng.below(payload.len());
        payload[place] ^= 1 << draw.rng.below(8);
    }
    let absolute = draw.chance(30);
    let time = match draw.rng.below(3) {
        0 if absolute => draw.absolute_millisecond(),
        1 if !absolute => draw.relative_millisecond(),
        _ => b"0".to_vec(),
    };
    let mut command = command!["RESTORE", any_key(draw), time, payload];
    if absolute {
        command.push(b"ABSTTL".to_vec());
    }
    if draw.chance(75) {
        command.push(b"REPLACE".to_vec());
    }
    if draw.rng.one_in(8) {
        command.extend([
            draw.word(&["IDLETIME", "FREQ", "FOO"]),
            draw.word(&["0", "100", "255", "256", "-1", "x"]),
        ]);
    }
    command
}

fn flushing(draw: &mut Draw, command: &mut Command) {
    if draw.chance(50) {
        command.push(draw.word(&["SYNC", "ASYNC", "FOO"]));
    }
}

fn sort(draw: &mut Draw, name: &str) -> Command {
    draw.prefix = *draw.rng.pick(&["l", "z", "t"]);
    let mut command = command![name, draw.key()];
    if draw.chance(40) {
        command.push(b"ALPHA".to_vec());
    }
    if draw.chance(40) {
        command.push(draw.word(&["ASC", "DESC"]));
    }
    // With BY, elements of equal weight come in the order of the key's own encoding, so the reply is compared as a
    // set and neither cut nor stored.
    let by = draw.chance(25);
    if by {
        command.extend([b"BY".to_vec(), draw.word(&["s*", "h*->f", "*", "nokey*->", "s*->x", "nosort"])]);
    } else if draw.chance(30) {
        command.extend([b"LIMIT".to_vec(), draw.small_integer(), draw.small_integer()]);
    }
    for _ in 0..draw.rng.below(3) {
        if draw.chance(40) {
            command.extend([b"GET".to_vec(), draw.word(&["#", "s*", "h*->e1", "nopattern", "h*->"])]);
        }
    }
    if name == "SORT" && !by && draw.chance(25) {
        draw.prefix = "l";
        command.extend([b"STORE".to_vec(), draw.key()]);
    }
    command
}
