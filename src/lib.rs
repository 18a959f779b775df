//! # skuld: the engine
//!
//! Values in, values out. This crate computes everything a Valkey-compatible server computes and performs
//! nothing: no I/O, no clock, no threads, no randomness of its own. The actors (package `skuld-actors`)
//! decide who runs what, when, and where bytes go.
//!
//! ## Code map
//! - [`resp`]: the wire protocol, decoding requests and encoding replies
//! - [`keyspace`]: entries, tables, slots, databases
//! - [`effects`]: what a command did, for the log, watchers and subscribers to learn
//! - [`session`]: the part of a client that commands read and change
//! - [`slot`]: hash slots
//! - [`types`]: the values behind keys
//! - [`cluster`]: a node of a cluster as a state machine, the bus, nodes.conf
//! - [`commands`]: the command table and one file per command family
//! - [`config`]: the directives of Valkey 9.1, parsing and rewriting configuration
//! - [`glob`]: glob patterns of keys, channels and directives
//! - [`lzf`]: the byte compression of RDB and list nodes
//! - [`rdb`]: the binary form of values in RDB files and DUMP payloads
//! - [`aof`]: the append-only file
//! - [`export`]: point-in-time export of keys that go on changing
//! - [`migration`]: slot migration: state machines, messages, the record of jobs
//! - [`expiry`]: the time-ordered index of deadlines
//! - [`replication`]: histories, the backlog, and how effects are framed in the stream
//! - [`scripting`]: scripts, libraries of functions, and the formats that scripts read and write
//!
//! Invariant: nothing here reads a clock, a socket, a file, or an entropy source; time, seeds and limits are
//! arguments.

pub mod acl;
pub mod aof;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod digest;
pub mod effects;
pub mod eviction;
pub mod expiry;
pub mod export;
pub mod glob;
pub mod hash;

pub mod keyspace;
pub mod lzf;
pub mod migration;
pub mod rdb;
pub mod replication;
pub mod resp;
pub mod rng;
pub mod scripting;
pub mod session;
pub mod slot;
pub mod types;
pub mod version;
