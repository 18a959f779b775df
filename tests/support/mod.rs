//! What the whole-server tests share.
//!
//! - [`resp`]: replies as bytes and as values
//! - [`client`]: a blocking client that hands out the raw bytes of each reply
//! - [`cluster`]: clusters of both kinds of servers
//! - [`server`]: starting and stopping Skuld and the reference server
//! - [`programs`]: client libraries and other programs that tests drive
//! - [`text`]: command lines in the syntax of redis-cli, and bytes made readable
//! - [`rig`]: one scenario on several servers, seen as text
//! - [`rng`]: the seeded random numbers of the generators
//! - [`rules`]: the closed list of what is not compared byte by byte
//! - [`parity`]: running one command list on both servers, comparing, shrinking
//! - [`state`]: comparing whole data sets
//! - [`cases`]: the written cases in `tests/cases`
//! - [`r#gen`]: the random command generators, one file per family
//! - [`effects`]: append-only files and keyspace events as comparable lists
//! - [`migration`]: clusters with slots to move
//! - [`transcript`]: conversations of several clients, some of them blocked
//! - [`known`]: the accepted differences listed in `docs/compatibility.md`

// Every test binary includes this module and uses its own part of it.
#![allow(dead_code)]

pub mod cases;
pub mod client;
pub mod cluster;
pub mod effects;
pub mod r#gen;
pub mod known;
pub mod migration;
pub mod parity;
pub mod programs;
pub mod resp;
pub mod rig;
pub mod rng;
pub mod rules;
pub mod server;
pub mod state;
pub mod text;
pub mod transcript;
