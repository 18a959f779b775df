//! Random commands, drawn so that they collide on few keys and hit the boundaries of their arguments.
//!
//! Now and then a command is run by a script. One file per family; each is a table of (name as COMMAND LIST shows it, weight, function that draws one command).
//! What keeps a run comparable between two servers:
//! - relative times to live are at least 1,000 s or already over, so nothing expires by the clock during a run;
//! - deadlines compared by NX/XX/GT/LT are absolute;
//! - DBSIZE is left to the comparison of data sets, since it counts keys whose deadline has passed until they are deleted;
//! - commands with random effects (SPOP) are followed by DEL of their key, so that the data sets stay equal;
//! - such commands are marked [`Mutation::Never`], since a changed argument could break these rules.

pub mod bitmaps;
pub mod draw;
pub mod generic;
pub mod geo;
pub mod hashes;
pub mod hyperloglogs;
pub mod lists;
pub mod sets;
pub mod sorted_sets;
pub mod streams;
pub mod strings;
pub mod transactions;

use std::collections::BTreeSet;

use super::parity::Command;
use draw::Draw;

/// Whether the generator may change arguments of a drawn command at random.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    Allowed,
    Never,
}

/// One command of a family.
pub struct Entry {
    /// As COMMAND LIST names it.
    pub name: &'static str,
    pub weight: usize,
    pub mutation: Mutation,
    /// Draws one command, sometimes several that belong together.
    pub make: fn(&mut Draw) -> Vec<Command>,
}

pub const fn entry(name: &'static str, weight: usize, make: fn(&mut Draw) -> Vec<Command>) -> Entry {
    Entry { name, weight, mutation: Mutation::Allowed, make }
}

pub const fn fixed(name: &'static str, weight: usize, make: fn(&mut Draw) -> Vec<Command>) -> Entry {
    Entry { name, weight, mutation: Mutation::Never, make }
}

pub struct Family {
    pub name: &'static str,
    /// The beginning of the keys this family prefers.
    pub prefix: &'static str,
    pub entries: &'static [Entry],
}

pub const FAMILIES: &[&Family] = &[
    &strings::FAMILY,
    &bitmaps::FAMILY,
    &generic::FAMILY,
    &lists::FAMILY,
    &sets::FAMILY,
    &hashes::FAMILY,
    &sorted_sets::FAMILY,
    &streams::FAMILY,
    &geo::FAMILY,
    &hyperloglogs::FAMILY,
    &transactions::FAMILY,
];

/// Scripts that run their arguments as a command, so that replies are converted to values of Lua and back.
pub const SCRIPTS: [&str; 3] = [
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "redis.setresp(3) return redis.call(unpack(ARGV))",
];

/// Commands that store an argument as a string: from a script Valkey 9.1.2 stores numbers as text, here they are numbers.
const STORE_TEXT: [&str; 9] =
    ["append", "getset", "mset", "msetex", "msetnx", "psetex", "set", "setex", "setnx"];

fn in_script(command: &mut Command, script: &str) {
    if STORE_TEXT.iter().any(|name| command[0].eq_ignore_ascii_case(name.as_bytes())) {
        return;
    }
    command.splice(0..0, draw::command!["EVAL", script, "0"]);
}

/// The command that is asked for, which may stand in one of the [`SCRIPTS`].
pub fn asked(command: &[Vec<u8>]) -> &[Vec<u8>] {
    match command {
        [eval, script, _, inner @ ..]
            if eval == b"EVAL" && SCRIPTS.iter().any(|known| known.as_bytes() == script) =>
        {
            inner
        }
        _ => command,
    }
}

/// An endless, reproducible sequence of commands.
pub struct Generator {
    draw: Draw,
    families: Vec<(&'static Family, Vec<&'static Entry>)>,
    /// Whether commands are sometimes run by a script.
    scripts: bool,
    /// Names of entries that the server does not list and that are therefore never drawn.
    pub left_out: Vec<&'static str>,
}

impl Generator {
    /// Draws from the wanted families (all if empty), only commands that are `listed`.
    pub fn new(seed: u64, wanted: &[String], listed: &BTreeSet<String>) -> Self {
        let mut left_out = Vec::new();
        let mut families = Vec::new();
        for family in FAMILIES {
            if !wanted.is_empty() && !wanted.iter().any(|name| name == family.name) {
                continue;
            }
            let (here, missing): (Vec<&Entry>, Vec<&Entry>) =
                family.entries.iter().partition(|entry| listed.contains(entry.name));
            left_out.extend(missing.iter().map(|entry| entry.name));
            if !here.is_empty() {
                families.push((*family, here));
            }
        }
        let prefixes = families.iter().map(|(family, _)| family.prefix).collect();
        Self { draw: Draw::new(seed, prefixes, listed), families, scripts: listed.contains("eval"), left_out }
    }

    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// The next command, or several that belong together: between them the data sets may differ.
    pub fn group(&mut self) -> Vec<Command> {
        let index = self.draw.rng.below(self.families.len());
        let (family, entries) = &self.families[index];
        let total: usize = entries.iter().map(|entry| entry.weight).sum();
        let mut ticket = self.draw.rng.below(total);
        let entry = entries
            .iter()
            .find(|entry| {
                let here = ticket < entry.weight;
                ticket = ticket.wrapping_sub(entry.weight);
                here
            })
            .expect("the ticket is below the sum of the weights");
        self.draw.prefix = family.prefix;
        let mut commands = (entry.make)(&mut self.draw);
        if entry.mutation == Mutation::Allowed && !sorted_sets::needs_same_scores(&commands[0]) {
            self.draw.mutate(&mut commands[0]);
        }
        for command in &mut commands {
            self.draw.vary_case(command);
        }
        if self.scripts && family.name != "transactions" && self.draw.rng.one_in(25) {
            let script = *self.draw.rng.pick(&SCRIPTS);
            commands.iter_mut().for_each(|command| in_script(command, script));
        }
        commands
    }
}
