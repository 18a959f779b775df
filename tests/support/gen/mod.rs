//! Random commands, drawn so that they collide on few keys and hit the boundaries of their arguments.
//!
//! One file per family; each is a table of (name as COMMAND LIST shows it, weight, function that draws one command).
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

/// An endless, reproducible sequence of commands.
pub struct Generator {
    draw: Draw,
    families: Vec<(&'static Family, Vec<&'static Entry>)>,
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
        Self { draw: Draw::new(seed, prefixes, listed), families, left_out }
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
        commands
    }
}
