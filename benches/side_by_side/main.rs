//! Skuld and a real Valkey 9.1 in turn under the same load, as ratios.
//!
//! ```sh
//! cargo bench -p skuld-actors --bench side_by_side                    # the table of the README, 5 alternating runs
//! cargo bench -p skuld-actors --bench side_by_side -- --runs 3 get     # scenarios whose name contains a word
//! cargo bench -p skuld-actors --bench side_by_side -- memory gap       # bytes per key; longest gaps
//! cargo bench -p skuld-actors --bench side_by_side -- collections      # bytes per element
//! cargo bench -p skuld-actors --bench side_by_side -- stalls           # gaps because of one large collection
//! cargo bench -p skuld-actors --bench side_by_side -- sessions         # many subscribers, many who wait
//! cargo bench -p skuld-actors --bench side_by_side -- lifetime         # expiry, flushes, hit ratios
//! cargo bench -p skuld-actors --bench side_by_side -- durability --keys 1000000 [gaps throughput extra replicated everysec always]
//! cargo bench -p skuld-actors --bench side_by_side -- migration --keys 1000000 --size 128     # slots that move
//! cargo bench -p skuld-actors --bench side_by_side -- migration flood  # the same under pipelined writes
//! cargo bench -p skuld-actors --bench side_by_side -- cluster --runs 1 --nodes 100 --kills 20 # the bus of many nodes
//! ```
//!
//! The server runs on processor 0, the load generator on processor 1. Ratios are medians over alternating runs; below
//! 1 Skuld needs less. The quantity to trust is server CPU per request: throughput depends on the generator too.

mod cluster;
mod durability;
mod gap;
mod lifetime;
mod load;
mod memory;
mod migration;
mod servers;
mod sessions;

use servers::Kind;

struct Options {
    runs: usize,
    requests: u64,
    workers: u32,
    keys: u64,
    size: usize,
    nodes: usize,
    kills: usize,
    words: Vec<String>,
}

fn options() -> Options {
    let mut options = Options {
        runs: 5,
        requests: 1_000_000,
        workers: 1,
        keys: 1_000_000,
        size: 128,
        nodes: 100,
        kills: 20,
        words: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = |name: &str| -> u64 {
            args.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{name} needs a number"))
        };
        match arg.as_str() {
            "--bench" => {}
            "--runs" => options.runs = number("--runs") as usize,
            "--requests" => options.requests = number("--requests"),
            "--keys" => options.keys = number("--keys"),
            "--size" => options.size = number("--size") as usize,
            "--nodes" => options.nodes = number("--nodes") as usize,
            "--kills" => options.kills = number("--kills") as usize,
            "--workers" => options.workers = number("--workers") as u32,
            _ => options.words.push(arg),
        }
    }
    options
}

/// The middle of some figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let options = options();
    let wanted =
        |name: &str| options.words.is_empty() || options.words.iter().any(|w| name.contains(w.as_str()));
    let binaries = servers::Binaries::find();
    println!("{}", servers::machine());
    println!(
        "\n| load | Skuld req/s | Valkey req/s | CPU us/req: Skuld user+sys | Valkey user+sys | CPU ratio | user ratio | p50 us | p99 us | p99.9 us |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for scenario in load::SCENARIOS {
        if !wanted(scenario.name) {
            continue;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..options.runs {
            ours.push(load::run(&binaries, Kind::Skuld, scenario, options.requests, options.workers));
            theirs.push(load::run(&binaries, Kind::Valkey, scenario, options.requests, 1));
        }
        let pick =
            |rows: &[load::Figures], f: fn(&load::Figures) -> f64| median(rows.iter().map(f).collect());
        let ratio = |f: fn(&load::Figures) -> f64| {
            median(ours.iter().zip(&theirs).map(|(a, b)| f(a) / f(b)).collect())
        };
        println!(
            "| {} | {:.0} | {:.0} | {:.2}+{:.2} | {:.2}+{:.2} | {:.2} | {:.2} | {:.0} / {:.0} | {:.0} / {:.0} | {:.0} / {:.0} |",
            scenario.name,
            pick(&ours, |f| f.per_second),
            pick(&theirs, |f| f.per_second),
            pick(&ours, |f| f.user_us),
            pick(&ours, |f| f.system_us),
            pick(&theirs, |f| f.user_us),
            pick(&theirs, |f| f.system_us),
            ratio(|f| f.user_us + f.system_us),
            ratio(|f| f.user_us),
            pick(&ours, |f| f.p50_us),
            pick(&theirs, |f| f.p50_us),
            pick(&ours, |f| f.p99_us),
            pick(&theirs, |f| f.p99_us),
            pick(&ours, |f| f.p999_us),
            pick(&theirs, |f| f.p999_us),
        );
    }
    if wanted("memory") {
        memory::run(&binaries);
    }
    if wanted("collections") {
        memory::run_collections(&binaries);
    }
    if wanted("gap") {
        gap::run(&binaries, options.runs, options.workers);
    }
    if wanted("stalls") {
        gap::run_collections(&binaries, options.runs, options.workers);
    }
    if wanted("sessions") {
        sessions::run(&binaries, options.runs);
    }
    if wanted("lifetime") {
        lifetime::run(&binaries, options.runs, options.workers);
    }
    if wanted("durability") {
        let part = |name: &str| options.words.len() < 2 || options.words.iter().any(|word| word == name);
        durability::run(&binaries, options.runs, options.requests, options.keys, &part);
    }
    // Minutes of both processors: only if it is asked for.
    if options.words.iter().any(|word| word == "cluster") {
        cluster::run(&binaries, options.runs, options.nodes, options.kills);
    }
    if wanted("migration") {
        let flood = options.words.iter().any(|word| word == "flood");
        let size = migration::Size { keys: options.keys, bytes: options.size, flood };
        migration::run(&binaries, options.runs, options.workers, size);
    }
}
