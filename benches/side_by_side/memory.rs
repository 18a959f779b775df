//! Resident bytes per key for each shape of data.

use crate::load::fill;
use crate::servers::{Binaries, Kind, Server};

/// Name and the command that makes key number `%k`.
const SHAPES: &[(&str, &str)] = &[
    ("string 16 B", "SET k%k xxxxxxxxxxxxxxxx"),
    (
        "string 100 B",
        "SET k%k xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
    ("integer", "SET k%k %n"),
    ("string 16 B with TTL", "SET k%k xxxxxxxxxxxxxxxx EX 100000"),
];

/// Collections: name, the command, and how many elements each makes. Those of one key grow to [`LARGE`] elements.
const COLLECTIONS: &[(&str, &str, u64)] = &[
    ("hash of 5 fields", "HSET k%k f1 aaaa f2 bbbb f3 cccc f4 dddd f5 eeee", 5),
    ("set of 10 integers", "SADD k%k 1 22 333 4444 5555 666 77 8 999 1000", 10),
    (
        "list of 10",
        "RPUSH k%k element01 element02 element03 element04 element05 element06 element07 element08 element09 element10",
        10,
    ),
    ("sorted set of 10", "ZADD k%k 1 a 2 b 3 c 4 d 5 e 6 f 7 g 8 h 9 i 10 j", 10),
];
const LARGE_COLLECTIONS: &[(&str, &str)] = &[
    ("one hash", "HSET big field:%k value:%k"),
    ("one sorted set", "ZADD big %n member:%k"),
    ("one set", "SADD big member:%k"),
    ("one stream", "XADD big 1-%n field value"),
];
const LARGE: u64 = 500_000;

const COUNTS: &[u64] = &[200_000, 300_000, 400_000, 600_000, 1_000_000];

fn per_key(binaries: &Binaries, kind: Kind, command: &str, count: u64) -> f64 {
    let server = Server::start(binaries, kind, 1);
    let empty = server.resident();
    fill(&server, command, count);
    (server.resident().saturating_sub(empty)) as f64 / count as f64
}

/// Resident bytes per element of collections.
pub fn run_collections(binaries: &Binaries) {
    println!("\n| resident bytes per element | Skuld mean | Valkey mean | ratio | worst N |");
    println!("|---|---|---|---|---|");
    for &(name, command, elements) in COLLECTIONS {
        row(binaries, name, command, COUNTS, elements);
    }
    for &(name, command) in LARGE_COLLECTIONS {
        row(binaries, name, command, &[LARGE], 1);
    }
}

fn row(binaries: &Binaries, name: &str, command: &str, counts: &[u64], elements: u64) {
    let per = |kind, n| per_key(binaries, kind, command, n) / elements as f64;
    let rows: Vec<(f64, f64)> = counts.iter().map(|&n| (per(Kind::Skuld, n), per(Kind::Valkey, n))).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| rows.iter().map(f).sum::<f64>() / rows.len() as f64;
    let (ours, theirs) = (mean(|r| r.0), mean(|r| r.1));
    let worst = rows.iter().map(|r| r.0 / r.1).fold(0.0, f64::max);
    println!("| {name} | {ours:.1} | {theirs:.1} | {:.2} | {worst:.2} |", ours / theirs);
}

pub fn run(binaries: &Binaries) {
    let empty = |kind| Server::start(binaries, kind, 1).resident() as f64 / (1 << 20) as f64;
    println!(
        "\nempty server, MiB resident: Skuld {:.1}, Valkey {:.1}",
        empty(Kind::Skuld),
        empty(Kind::Valkey)
    );
    println!("\n| resident bytes per key (13-byte keys) | Skuld mean | Valkey mean | ratio | worst N |");
    println!("|---|---|---|---|---|");
    for (name, command) in SHAPES {
        row(binaries, name, command, COUNTS, 1);
    }
}
