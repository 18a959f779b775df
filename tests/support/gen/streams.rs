//! Stream commands. Ids are explicit; `*` would differ by the millisecond, so such an entry is removed at once.

use super::draw::{Draw, command};
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "streams", prefix: "x", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    fixed("xadd", 12, xadd),
    entry("xlen", 2, |draw| vec![command!["XLEN", draw.key()]]),
    entry("xrange", 4, |draw| vec![range(draw, "XRANGE")]),
    entry("xrevrange", 3, |draw| vec![range(draw, "XREVRANGE")]),
    entry("xdel", 3, |draw| {
        let mut command = command!["XDEL", draw.key()];
        for _ in 0..=draw.rng.below(2) {
            command.push(id(draw));
        }
        vec![command]
    }),
    entry("xtrim", 3, |draw| {
        let mut command = command!["XTRIM", draw.key()];
        trim(draw, &mut command);
        vec![command]
    }),
    fixed("xread", 4, |draw| {
        let mut command = command!["XREAD"];
        count(draw, &mut command);
        block(draw, &mut command);
        streams(draw, &mut command, &["0", "$", "+", "5-1", "x"]);
        vec![command]
    }),
    entry("xsetid", 2, |draw| {
        let mut command = command!["XSETID", draw.key(), id(draw)];
        if draw.chance(30) {
            command.extend([
                b"ENTRIESADDED".to_vec(),
                draw.small_integer(),
                b"MAXDELETEDID".to_vec(),
                id(draw),
            ]);
        }
        vec![command]
    }),
    entry("xgroup|create", 4, |draw| {
        let mut command =
            command!["XGROUP", "CREATE", draw.key(), group(draw), draw.word(&["0", "$", "5-1", "x"])];
        if draw.chance(50) {
            command.push(b"MKSTREAM".to_vec());
        }
        if draw.chance(20) {
            command.extend([b"ENTRIESREAD".to_vec(), draw.small_integer()]);
        }
        vec![command]
    }),
    entry("xgroup|createconsumer", 2, |draw| {
        vec![command!["XGROUP", "CREATECONSUMER", draw.key(), group(draw), consumer(draw)]]
    }),
    entry("xgroup|delconsumer", 1, |draw| {
        vec![command!["XGROUP", "DELCONSUMER", draw.key(), group(draw), consumer(draw)]]
    }),
    entry("xgroup|destroy", 1, |draw| vec![command!["XGROUP", "DESTROY", draw.key(), group(draw)]]),
    entry("xgroup|setid", 2, |draw| {
        let mut command =
            command!["XGROUP", "SETID", draw.key(), group(draw), draw.word(&["0", "$", "5-1", "x"])];
        if draw.chance(30) {
            command.extend([b"ENTRIESREAD".to_vec(), draw.small_integer()]);
        }
        vec![command]
    }),
    fixed("xreadgroup", 6, |draw| {
        let mut command = command!["XREADGROUP", "GROUP", group(draw), consumer(draw)];
        count(draw, &mut command);
        block(draw, &mut command);
        if draw.chance(25) {
            command.push(b"NOACK".to_vec());
        }
        streams(draw, &mut command, &[">", ">", ">", "0", "5-1", "$", "x"]);
        vec![command]
    }),
    entry("xack", 4, |draw| {
        let mut command = command!["XACK", draw.key(), group(draw)];
        for _ in 0..=draw.rng.below(2) {
            command.push(id(draw));
        }
        vec![command]
    }),
    entry("xpending", 4, |draw| {
        let mut command = command!["XPENDING", draw.key(), group(draw)];
        if draw.chance(50) {
            if draw.chance(30) {
                command.extend([b"IDLE".to_vec(), draw.word(&["0", "86400000", "x"])]);
            }
            command.extend([limit(draw), limit(draw), draw.count()]);
            if draw.chance(40) {
                command.push(consumer(draw));
            }
        }
        vec![command]
    }),
    // Idle limits of 0 or of a day: nothing depends on the milliseconds in between.
    fixed("xclaim", 4, |draw| {
        let mut command = command![
            "XCLAIM",
            draw.key(),
            group(draw),
            consumer(draw),
            draw.word(&["0", "86400000", "x"]),
            id(draw)
        ];
        for _ in 0..draw.rng.below(3) {
            command.push(id(draw));
        }
        for _ in 0..draw.rng.below(3) {
            match draw.rng.below(6) {
                0 => command.push(b"FORCE".to_vec()),
                1 => command.push(b"JUSTID".to_vec()),
                2 => command.extend([b"RETRYCOUNT".to_vec(), draw.small_integer()]),
                3 => command.extend([b"IDLE".to_vec(), b"1000000".to_vec()]),
                4 => command.extend([b"LASTID".to_vec(), id(draw)]),
                _ => command.extend([b"TIME".to_vec(), draw.word(&["1700000000000", "x"])]),
            }
        }
        vec![command]
    }),
    fixed("xautoclaim", 3, |draw| {
        let mut command = command![
            "XAUTOCLAIM",
            draw.key(),
            group(draw),
            consumer(draw),
            draw.word(&["0", "86400000"]),
            id(draw)
        ];
        count(draw, &mut command);
        if draw.chance(30) {
            command.push(b"JUSTID".to_vec());
        }
        vec![command]
    }),
    entry("xinfo|stream", 3, |draw| {
        let mut command = command!["XINFO", "STREAM", draw.key()];
        if draw.chance(40) {
            command.push(b"FULL".to_vec());
            count(draw, &mut command);
        }
        vec![command]
    }),
    entry("xinfo|groups", 2, |draw| vec![command!["XINFO", "GROUPS", draw.key()]]),
    entry("xinfo|consumers", 2, |draw| vec![command!["XINFO", "CONSUMERS", draw.key(), group(draw)]]),
];

fn id(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(20) {
        0 => draw.word(&[
            "0-0",
            "-1",
            "x",
            "18446744073709551615-18446744073709551615",
            "18446744073709551616-0",
            "5-",
            "",
            "-",
            "+",
            "1-1-1",
        ]),
        1..=4 => draw.rng.range(0, 40).to_string().into_bytes(),
        _ => format!("{}-{}", draw.rng.range(0, 40), draw.rng.below(3)).into_bytes(),
    }
}

fn group(draw: &mut Draw) -> Vec<u8> {
    draw.word(&["g1", "g1", "g2", "nogroup"])
}

fn consumer(draw: &mut Draw) -> Vec<u8> {
    draw.word(&["alice", "bob", ""])
}

fn count(draw: &mut Draw, command: &mut Command) {
    if draw.chance(40) {
        command.extend([b"COUNT".to_vec(), draw.count()]);
    }
}

/// Waiting that ends at once, or is refused.
fn block(draw: &mut Draw, command: &mut Command) {
    if draw.chance(10) {
        command.extend([b"BLOCK".to_vec(), draw.word(&["1", "2", "-1", "x"])]);
    }
}

fn limit(draw: &mut Draw) -> Vec<u8> {
    match draw.rng.below(6) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => [b"(".as_slice(), &id(draw)].concat(),
        _ => id(draw),
    }
}

fn trim(draw: &mut Draw, command: &mut Command) {
    let by_id = draw.chance(40);
    command.push(if by_id { b"MINID".to_vec() } else { b"MAXLEN".to_vec() });
    let approximate = draw.rng.below(4);
    if approximate < 2 {
        command.push(if approximate == 0 { b"=".to_vec() } else { b"~".to_vec() });
    }
    command.push(if by_id { id(draw) } else { draw.count() });
    if draw.chance(15) {
        command.extend([b"LIMIT".to_vec(), draw.count()]);
    }
}

fn xadd(draw: &mut Draw) -> Vec<Command> {
    let key = draw.key();
    let mut xadd = command!["XADD", key.clone()];
    if draw.chance(15) {
        xadd.push(b"NOMKSTREAM".to_vec());
    }
    if draw.chance(20) {
        trim(draw, &mut xadd);
    }
    let automatic = draw.rng.one_in(40);
    xadd.push(match draw.rng.below(6) {
        _ if automatic => b"*".to_vec(),
        0 => id(draw),
        1 => format!("{}-*", draw.rng.range(0, 60)).into_bytes(),
        _ => format!("{}-{}", draw.rng.range(20, 2000), draw.rng.below(3)).into_bytes(),
    });
    let width = 1 + draw.rng.below(3);
    for number in 0..width {
        // The same field names again and again, so that entries share the schema of their block.
        let field = if draw.chance(80) { format!("f{number}").into_bytes() } else { draw.element() };
        xadd.extend([field, draw.element()]);
    }
    if draw.rng.one_in(25) {
        xadd.pop();
    }
    if automatic { vec![command!["DEL", key.clone()], xadd, command!["DEL", key]] } else { vec![xadd] }
}

fn range(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key(), limit(draw), limit(draw)];
    count(draw, &mut command);
    command
}

fn streams(draw: &mut Draw, command: &mut Command, ids: &[&str]) {
    command.push(b"STREAMS".to_vec());
    let keys = draw.keys(1, 2);
    let count = keys.len();
    command.extend(keys);
    for _ in 0..count {
        command.push(draw.word(ids));
    }
}
