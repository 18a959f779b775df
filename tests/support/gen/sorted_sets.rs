//! Sorted-set commands.

use super::draw::{Draw, command};
use super::lists::{mpop, wait};
use super::sets::collection_scan;
use super::{Entry, Family, entry, fixed};
use crate::support::parity::Command;

pub const FAMILY: Family = Family { name: "sorted_sets", prefix: "z", entries: ENTRIES };

const ENTRIES: &[Entry] = &[
    entry("zadd", 12, zadd),
    entry("zincrby", 4, |draw| vec![command!["ZINCRBY", draw.key(), draw.score(), draw.element()]]),
    entry("zrem", 4, |draw| {
        let mut command = command!["ZREM", draw.key()];
        command.extend(draw.elements(1, 4));
        vec![command]
    }),
    entry("zcard", 2, |draw| vec![command!["ZCARD", draw.key()]]),
    entry("zscore", 3, |draw| vec![command!["ZSCORE", draw.key(), draw.element()]]),
    entry("zmscore", 2, |draw| {
        let mut command = command!["ZMSCORE", draw.key()];
        command.extend(draw.elements(1, 4));
        vec![command]
    }),
    entry("zrank", 3, |draw| vec![rank(draw, "ZRANK")]),
    entry("zrevrank", 3, |draw| vec![rank(draw, "ZREVRANK")]),
    entry("zcount", 3, |draw| vec![command!["ZCOUNT", draw.key(), edge(draw), edge(draw)]]),
    entry("zlexcount", 2, |draw| {
        vec![command!["ZLEXCOUNT", same_score_key(draw), lexical(draw), lexical(draw)]]
    }),
    entry("zrange", 7, |draw| vec![zrange(draw)]),
    entry("zrangestore", 3, |draw| {
        let mut command = zrange(draw);
        command[0] = b"ZRANGESTORE".to_vec();
        let destination = draw.key();
        command.insert(1, destination);
        vec![command]
    }),
    entry("zrevrange", 2, |draw| {
        let [start, stop] = draw.index_range();
        let mut command = command!["ZREVRANGE", draw.key(), start, stop];
        with_scores(draw, &mut command);
        vec![command]
    }),
    entry("zrangebyscore", 3, |draw| vec![by_score(draw, "ZRANGEBYSCORE")]),
    entry("zrevrangebyscore", 3, |draw| vec![by_score(draw, "ZREVRANGEBYSCORE")]),
    entry("zrangebylex", 2, |draw| vec![by_lex(draw, "ZRANGEBYLEX")]),
    entry("zrevrangebylex", 2, |draw| vec![by_lex(draw, "ZREVRANGEBYLEX")]),
    entry("zremrangebyrank", 1, |draw| {
        let [start, stop] = draw.index_range();
        vec![command!["ZREMRANGEBYRANK", draw.key(), start, stop]]
    }),
    entry("zremrangebyscore", 1, |draw| {
        vec![command!["ZREMRANGEBYSCORE", draw.key(), edge(draw), edge(draw)]]
    }),
    entry("zremrangebylex", 1, |draw| {
        vec![command!["ZREMRANGEBYLEX", same_score_key(draw), lexical(draw), lexical(draw)]]
    }),
    entry("zpopmin", 2, |draw| vec![pop(draw, "ZPOPMIN")]),
    entry("zpopmax", 2, |draw| vec![pop(draw, "ZPOPMAX")]),
    entry("zmpop", 2, |draw| {
        let mut command = command!["ZMPOP"];
        mpop(draw, &mut command);
        vec![command]
    }),
    fixed("bzpopmin", 1, |draw| vec![command!["BZPOPMIN", draw.key(), wait(draw)]]),
    fixed("bzpopmax", 1, |draw| vec![command!["BZPOPMAX", draw.key(), draw.key(), wait(draw)]]),
    fixed("bzmpop", 1, |draw| {
        let mut command = command!["BZMPOP", wait(draw)];
        mpop(draw, &mut command);
        vec![command]
    }),
    entry("zunion", 3, |draw| vec![algebra(draw, "ZUNION")]),
    entry("zinter", 3, |draw| vec![algebra(draw, "ZINTER")]),
    entry("zdiff", 3, |draw| vec![algebra(draw, "ZDIFF")]),
    entry("zunionstore", 3, |draw| vec![algebra(draw, "ZUNIONSTORE")]),
    entry("zinterstore", 3, |draw| vec![algebra(draw, "ZINTERSTORE")]),
    entry("zdiffstore", 3, |draw| vec![algebra(draw, "ZDIFFSTORE")]),
    entry("zintercard", 2, |draw| {
        let keys = sources(draw);
        let mut command = command!["ZINTERCARD", keys.len().to_string()];
        command.extend(keys);
        if draw.chance(50) {
            command.extend([b"LIMIT".to_vec(), draw.small_integer()]);
        }
        vec![command]
    }),
    fixed("zrandmember", 2, |draw| {
        let mut command = command!["ZRANDMEMBER", draw.key()];
        if draw.chance(70) {
            command.push(draw.pick_count());
            with_scores(draw, &mut command);
        }
        vec![command]
    }),
    entry("zscan", 3, |draw| vec![collection_scan(draw, "ZSCAN")]),
];

fn zadd(draw: &mut Draw) -> Vec<Command> {
    if draw.rng.one_in(6) {
        let mut zadd = command!["ZADD", same_score_key(draw)];
        for element in draw.elements(1, 5) {
            zadd.extend([b"0".to_vec(), element]);
        }
        return vec![zadd];
    }
    let mut zadd = command!["ZADD", draw.key()];
    if draw.rng.one_in(20) {
        let count = *draw.rng.pick(&[20, 127, 128, 129]);
        for number in 0..count {
            zadd.extend([(number % 10).to_string().into_bytes(), format!("m{number}").into_bytes()]);
        }
        return vec![zadd];
    }
    if draw.chance(40) {
        for _ in 0..=draw.rng.below(2) {
            zadd.push(draw.word(&["NX", "XX", "GT", "LT", "CH", "CH"]));
        }
    }
    let single = draw.rng.one_in(6);
    if single {
        zadd.push(b"INCR".to_vec());
    }
    for _ in 0..if single { 1 } else { 1 + draw.rng.below(4) } {
        zadd.extend([draw.score(), draw.element()]);
    }
    vec![zadd]
}

/// Ranges by member are only defined where all scores are equal; no other command touches these keys.
fn same_score_key(draw: &mut Draw) -> Vec<u8> {
    format!("zlex{}", draw.rng.below(3)).into_bytes()
}

/// Whether the command must keep its words: in large sets with different scores, ranges by member depend on Valkey's
/// random numbers.
pub fn needs_same_scores(command: &Command) -> bool {
    command[0].ends_with(b"LEX")
        || command.iter().any(|word| word.starts_with(b"zlex") || word.eq_ignore_ascii_case(b"BYLEX"))
}

fn rank(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key(), draw.element()];
    if draw.chance(30) {
        command.push(draw.word(&["WITHSCORE", "WITHSCORE", "WITHSCORES"]));
    }
    command
}

/// A score limit: inclusive, exclusive, infinite or nonsense.
fn edge(draw: &mut Draw) -> Vec<u8> {
    let score = draw.score();
    match draw.rng.below(6) {
        0 => [b"(".as_slice(), &score].concat(),
        1 => draw.word(&["-inf", "+inf", "(-inf", "(+inf", "(", "((1", "nan"]),
        _ => score,
    }
}

fn lexical(draw: &mut Draw) -> Vec<u8> {
    let element = draw.element();
    match draw.rng.below(6) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => [b"(".as_slice(), &element].concat(),
        3 if draw.chance(20) => element,
        _ => [b"[".as_slice(), &element].concat(),
    }
}

fn limit(draw: &mut Draw, command: &mut Command) {
    if draw.chance(35) {
        command.extend([b"LIMIT".to_vec(), draw.small_integer(), draw.small_integer()]);
    }
}

fn with_scores(draw: &mut Draw, command: &mut Command) {
    if draw.chance(45) {
        command.push(draw.word(&["WITHSCORES", "WITHSCORES", "WITHSCORES", "FOO"]));
    }
}

fn zrange(draw: &mut Draw) -> Command {
    let mut command = command!["ZRANGE", draw.key()];
    match draw.rng.below(3) {
        0 => command.extend(draw.index_range()),
        1 => {
            command.extend([edge(draw), edge(draw), b"BYSCORE".to_vec()]);
        }
        _ => {
            command[1] = same_score_key(draw);
            command.extend([lexical(draw), lexical(draw), b"BYLEX".to_vec()]);
        }
    }
    if draw.chance(40) {
        command.push(b"REV".to_vec());
    }
    limit(draw, &mut command);
    with_scores(draw, &mut command);
    command
}

fn by_score(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key(), edge(draw), edge(draw)];
    with_scores(draw, &mut command);
    limit(draw, &mut command);
    command
}

fn by_lex(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, same_score_key(draw), lexical(draw), lexical(draw)];
    limit(draw, &mut command);
    command
}

fn pop(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name, draw.key()];
    if draw.chance(50) {
        command.push(draw.count());
    }
    command
}

/// Sorted sets and, now and then, plain sets, which these commands also take.
fn sources(draw: &mut Draw) -> Vec<Vec<u8>> {
    let mut keys = draw.keys(1, 3);
    if draw.rng.one_in(5) {
        draw.prefix = "t";
        keys.push(draw.key());
        draw.prefix = "z";
    }
    keys
}

fn algebra(draw: &mut Draw, name: &str) -> Command {
    let mut command = command![name];
    if name.ends_with("STORE") {
        command.push(draw.key());
    }
    let keys = sources(draw);
    command.push(if draw.chance(94) { keys.len().to_string().into_bytes() } else { draw.small_integer() });
    let count = keys.len();
    command.extend(keys);
    let plain = name.starts_with("ZDIFF");
    if draw.chance(if plain { 4 } else { 35 }) {
        command.push(b"WEIGHTS".to_vec());
        for _ in 0..count {
            command.push(draw.score());
        }
    }
    if draw.chance(if plain { 4 } else { 35 }) {
        command.extend([b"AGGREGATE".to_vec(), draw.word(&["SUM", "MIN", "MAX", "FOO"])]);
    }
    if draw.chance(if name.ends_with("STORE") { 5 } else { 50 }) {
        command.push(b"WITHSCORES".to_vec());
    }
    command
}
