//! # skuld-server: the actors
//!
//! ## Bird's-eye view
//! Every worker thread is one actix arbiter with one [`shard::Shard`] and the [`connection::Connection`]s accepted
//! onto it. A connection decodes what a read brought into one [`batch::Batch`] and sends it to its shard; the batch
//! visits other shards if its keys are there and comes back with its replies. Everything else (reaper, expiry
//! scanner, evictor, replication log, listener) is an actor beside them. All of them talk by typed messages in one
//! measured envelope.
//!
//! ## Code map
//! - [`envelope`], [`telemetry`], [`trace`], [`slow`]: the envelope around messages, what it measures, records and their filters, the longest waits
//! - [`connection`], [`batch`], [`listener`], [`clients`], [`subscriptions`]: clients
//! - [`shard`], [`executor`], [`routing`], [`names`]: keys
//! - [`export`], [`snapshotter`], [`append_only`], [`persistence`], [`check`]: saving, loading and checking
//! - [`reaper`], [`expiry_scanner`], [`evictor`], [`janitor`], [`replication`], [`replication_log`]: what happens behind the clients' backs
//! - [`migration`]: slot migrations, one actor per job
//! - [`gossip`], [`gate`], [`slot_stats`]: the node of a cluster, which commands may run where, what slots cost
//! - [`server`], [`stats`], [`command_log`], [`latency_monitor`], [`pause`], [`server_commands`]: what all share, and the commands that show and change it
//! - [`admin`]: health, metrics and the page for people
//! - [`start`], [`configure`], [`banner`], [`shutdown`], [`healthcheck`]: from the command line to the end
//! - [`memory`], [`log`], [`clock`], [`process`], [`proc_title`], [`crash`]: the process
//!
//! Invariant: actors share no mutable state around keys; registries are read-mostly and never locked across a send
//!   (but [`subscriptions`], and the order of units: there the order of sends is what the lock is for).
//! Invariant: a panic anywhere ends the process.

mod access;
mod admin;
mod append_only;
mod banner;
mod batch;
mod blocked;
mod check;
mod client_eviction;
mod clients;
mod clock;
mod command_log;
mod configure;
mod connection;
mod continue_later;
mod crash;
mod envelope;
mod eviction;
mod evictor;
mod executor;
mod expiry_scanner;
mod export;
mod gate;
mod gossip;
mod healthcheck;
mod import_mode;
mod janitor;
mod latency_monitor;
mod listener;
mod log;
mod memory;
mod migration;
mod monitor;
mod names;
#[cfg(feature = "otlp")]
mod otlp;
mod output_limit;
mod pause;
mod persistence;
mod proc_title;
mod process;
mod reaper;
mod replication;
mod replication_log;
mod routing;
mod scheduling;
mod scripting;
mod server;
mod server_commands;
mod shard;
mod shutdown;
mod slot_stats;
mod slow;
mod snapshotter;
mod start;
mod stats;
mod subscriptions;
mod telemetry;
mod tls;
mod trace;
mod tracking;
mod transaction;

#[global_allocator]
static ALLOCATOR: memory::CountingAllocator = memory::CountingAllocator;

fn main() {
    start::main();
}
