//! Long random command sequences on Skuld and a real Valkey: every reply and, from time to time, the whole data set
//! must be the same.
//!
//! - `SKULD_PARITY_COMMANDS`: commands per seed (20,000)
//! - `SKULD_SEED`: one seed instead of the fixed ones
//! - `SKULD_FAMILIES`: only these families, separated by commas
//! - `SKULD_DIFFERENCES`: how many different differences to collect before giving up (12)
//!
//! A failure prints the seed, the shortest command list found that shows the difference, and both answers.

mod support;

use support::r#gen::Generator;
use support::parity::{Pair, Runner, listed_commands};
use support::server::reference_binary;

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => {
            text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
        }
        Err(_) => default,
    }
}

/// Small limits, so that values change their encoding often.
const SMALL_ENCODINGS: &[(&str, &str)] = &[
    ("hash-max-listpack-entries", "12"),
    ("hash-max-listpack-value", "24"),
    ("set-max-intset-entries", "16"),
    ("set-max-listpack-entries", "12"),
    ("set-max-listpack-value", "24"),
    ("zset-max-listpack-entries", "12"),
    ("zset-max-listpack-value", "24"),
    ("list-max-listpack-size", "4"),
    ("stream-node-max-entries", "5"),
    ("hll-sparse-max-bytes", "200"),
];

fn run(default_seed: u64, workers: usize, options: &[(&str, &str)], prologue: &[&str]) {
    let Some(reference) = reference_binary("random parity") else { return };
    let seed = std::env::var("SKULD_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default_seed);
    let total = number("SKULD_PARITY_COMMANDS", 20_000);
    let wanted: Vec<String> = std::env::var("SKULD_FAMILIES")
        .map(|text| text.split(',').map(str::to_owned).collect())
        .unwrap_or_default();

    let options: Vec<(String, String)> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut pair = Pair::start(&reference, workers, &options);
    let listed = listed_commands(&pair.subject);
    let mut generator = Generator::new(seed, &wanted, &listed);
    if !generator.left_out.is_empty() {
        println!("left out, since skuld does not list them: {}", generator.left_out.join(" "));
    }
    assert!(!generator.is_empty(), "skuld lists no command that the generator knows");

    let mut runner = Runner {
        pair: &mut pair,
        listed: &listed,
        databases: 4,
        state_every: 1000,
        prologue: prologue.iter().map(|line| support::text::words(line)).collect(),
    };
    let (differences, tally) = runner.run(total, number("SKULD_DIFFERENCES", 12), || generator.group());
    println!(
        "seed {seed}, {workers} workers: {} commands of {} kinds, {} answered by errors, data sets compared {} times",
        tally.commands,
        tally.by_name.len(),
        tally.errors,
        tally.state_checks
    );
    // A generator that mostly draws nonsense would compare nothing but error texts.
    assert!(tally.errors * 2 < tally.commands.max(2000), "most commands were refused: {}", tally.errors);
    if !differences.is_empty() {
        let mut text =
            format!("{} differences with SKULD_SEED={seed}, {workers} workers:\n", differences.len());
        for (number, difference) in differences.iter().enumerate() {
            text.push_str(&format!("--- {} {}\n{}\n", number + 1, difference.title, difference.report));
        }
        panic!("{text}");
    }
}

#[test]
fn random_commands_resp2_one_worker() {
    run(1, 1, &[], &[]);
}

#[test]
fn random_commands_resp3_three_workers() {
    run(2, 3, &[], &["HELLO 3"]);
}

#[test]
fn random_commands_with_small_encodings_three_workers() {
    run(3, 3, SMALL_ENCODINGS, &[]);
}

#[test]
fn random_commands_with_lfu_resp3_one_worker() {
    run(4, 1, &[("maxmemory-policy", "allkeys-lfu")], &["HELLO 3"]);
}
