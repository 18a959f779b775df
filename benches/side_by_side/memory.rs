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

const COUNTS: &[u64] = &[200_000, 300_000, 400_000, 600_000, 1_000_000];

fn per_key(binaries: &Binaries, kind: Kind, command: &str, count: u64) -> f64 {
    let server = Server::start(binaries, kind, 1);
    let empty = server.resident();
    fill(&server, command, count);
    (server.resident().saturating_sub(empty)) as f64 / count as f64
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
        let rows: Vec<(f64, f64)> = COUNTS
            .iter()
            .map(|&n| {
                (per_key(binaries, Kind::Skuld, command, n), per_key(binaries, Kind::Valkey, command, n))
            })
            .collect();
        let mean = |f: fn(&(f64, f64)) -> f64| rows.iter().map(f).sum::<f64>() / rows.len() as f64;
        let (ours, theirs) = (mean(|r| r.0), mean(|r| r.1));
        let worst = rows.iter().map(|r| r.0 / r.1).fold(0.0, f64::max);
        println!("| {name} | {ours:.1} | {theirs:.1} | {:.2} | {worst:.2} |", ours / theirs);
    }
}
