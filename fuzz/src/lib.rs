//! Fuzz targets: functions from bytes to nothing that panic when a property of the engine does not hold.
//!
//! - [`acl`][]: rules of users, and files of users
//! - [`requests`][]: the decoder of requests, however the bytes are cut
//! - [`config`][]: configuration text, command line, environment, CONFIG SET, and that CONFIG REWRITE keeps the values
//! - [`cluster`][]: packets of the cluster bus, `nodes.conf`, and a node that gets any packets
//! - [`commands`][]: sequences of commands on a keyspace, and the same keyspace made from what they propagate
//! - [`glob`][]: patterns and the texts they match
//! - [`packed`][]: listpacks, integer sets, HyperLogLogs and compressed bytes from outside
//! - [`payloads`][]: DUMP payloads of every type
//! - [`migrations`][]: arguments of CLUSTER MIGRATESLOTS and SYNCSLOTS
//! - [`files`][]: RDB files in pieces, append-only files, manifests
//! - [`replication`][]: what the other end of a replication link sends
//! - [`numbers`][]: numbers and their texts
//! - [`scripting`][]: what the libraries of scripts read, first lines of scripts, payloads of libraries, replies
//!
//! [`keeper`] executes commands, [`digest`] compares keyspaces, [`grammar`] writes requests, [`mutate`] changes bytes.

pub mod acl;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod digest;
pub mod files;
pub mod glob;
pub mod grammar;
pub mod keeper;
pub mod migrations;
pub mod mutate;
pub mod numbers;
pub mod packed;
pub mod payloads;
pub mod replication;
pub mod reply;
pub mod requests;
pub mod scripting;

use skuld::rng::Rng;

/// A target as the bounded driver sees it.
pub struct Target {
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
    /// Makes a plausible input, for the driver to run as it is or changed.
    pub make: fn(&mut Rng) -> Vec<u8>,
    /// Words that mean something to the target.
    pub words: fn() -> Vec<&'static [u8]>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "acl", run: acl::run, make: acl::make, words: acl::words },
    Target { name: "requests", run: requests::run, make: requests::make, words: requests::words },
    Target { name: "config", run: config::run, make: config::make, words: config::words },
    Target { name: "commands", run: commands::run, make: commands::make, words: grammar::words },
    Target { name: "glob", run: glob::run, make: glob::make, words: glob::words },
    Target { name: "packed", run: packed::run, make: packed::make, words: packed::words },
    Target { name: "payloads", run: payloads::run, make: payloads::make, words: payloads::words },
    Target { name: "migrations", run: migrations::run, make: migrations::make, words: migrations::words },
    Target { name: "files", run: files::run, make: files::make, words: files::words },
    Target { name: "replication", run: replication::run, make: replication::make, words: replication::words },
    Target { name: "numbers", run: numbers::run, make: numbers::make, words: numbers::words },
    Target { name: "scripting", run: scripting::run, make: scripting::make, words: scripting::words },
    Target {
        name: "bus_packets",
        run: cluster::run_packets,
        make: cluster::make_packets,
        words: cluster::words,
    },
    Target {
        name: "nodes_conf",
        run: cluster::run_nodes_conf,
        make: cluster::make_nodes_conf,
        words: cluster::words,
    },
    Target { name: "cluster_node", run: cluster::run_node, make: cluster::make_node, words: cluster::words },
];

/// One of `choices`, which must not be empty.
pub fn pick<'a, T: ?Sized>(rng: &mut Rng, choices: &[&'a T]) -> &'a T {
    choices[rng.below(choices.len() as u64) as usize]
}

/// True once in `n` times.
pub fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}
