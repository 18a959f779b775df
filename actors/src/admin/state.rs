//! What the page shows, as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skuld::cluster::{Role, Topology};
use skuld::migration::Job;
use skuld::slot::{SLOTS, Slot};

use super::field;
use crate::server::Server;
use crate::server_commands::actor_rows;
use crate::shard::ShardDescription;
use crate::{slow, telemetry};

/// Entries of the lists of slow messages.
const SLOW_SHOWN: usize = 12;
/// Fields of INFO that the page shows by name.
const FIELDS: [&str; 38] = [
    "valkey_version",
    "skuld_version",
    "server_mode",
    "role",
    "process_id",
    "tcp_port",
    "uptime_in_seconds",
    "connected_clients",
    "blocked_clients",
    "used_memory",
    "used_memory_rss",
    "used_memory_peak",
    "maxmemory",
    "maxmemory_policy",
    "instantaneous_ops_per_sec",
    "instantaneous_input_kbps",
    "instantaneous_output_kbps",
    "total_commands_processed",
    "keyspace_hits",
    "keyspace_misses",
    "expired_keys",
    "evicted_keys",
    "lazyfree_pending_objects",
    "lazyfreed_objects",
    "loading",
    "rdb_bgsave_in_progress",
    "rdb_changes_since_last_save",
    "aof_enabled",
    "aof_rewrite_in_progress",
    "connected_slaves",
    "master_repl_offset",
    "master_link_status",
    "cluster_enabled",
    "cluster_state",
    "cluster_known_nodes",
    "cluster_slots_assigned",
    "skuld_import_mode_seconds",
    "skuld_import_sources",
];

/// Everything the page shows.
pub fn of(server: &Server, info: &str, shards: &[ShardDescription]) -> Value {
    let fields: serde_json::Map<String, Value> = FIELDS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Value::from(field(info, name)?))))
        .collect();
    let actors: Vec<Value> = actor_rows(server, shards)
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id,
                "kind": row.kind,
                "arbiter": row.arbiter,
                "queued": row.queued,
                "messages": row.messages,
                "busyPercent": row.busy_percent,
            })
        })
        .collect();
    let shards: Vec<Value> = shards
        .iter()
        .map(|shard| {
            json!({
                "index": shard.index,
                "keys": shard.databases.iter().map(|d| d.keys).sum::<u64>(),
                "expires": shard.databases.iter().map(|d| d.expires).sum::<u64>(),
                "deadlines": shard.wheel_items,
                "parked": shard.parked,
                "paused": shard.paused,
                "units": shard.units,
            })
        })
        .collect();
    let messages: Vec<Value> = telemetry::summaries()
        .into_iter()
        .map(|sum| {
            json!({
                "actor": sum.kind.name(),
                "message": sum.message,
                "count": sum.run.count,
                "waitP50": sum.wait.percentile_ns(50.0),
                "waitP99": sum.wait.percentile_ns(99.0),
                "waitMax": sum.wait.max_ns,
                "runP50": sum.run.percentile_ns(50.0),
                "runP99": sum.run.percentile_ns(99.0),
                "runMax": sum.run.max_ns,
            })
        })
        .collect();
    let (waits, runs) = slow::longest(SLOW_SHOWN);
    let jobs: Vec<Job> = server.migrations.log().iter().cloned().collect();
    let entries = |list: Vec<slow::Slow>| list.iter().map(slow_entry).collect::<Vec<_>>();
    json!({
        "info": fields,
        "actors": actors,
        "shards": shards,
        "messages": messages,
        "longestWaits": entries(waits),
        "longestRuns": entries(runs),
        "migrations": migrations(&jobs),
        "cluster": server.cluster.as_ref().map(|cluster| slot_map(&cluster.topology(), &jobs)),
    })
}

/// Who serves which slots, as far as this node knows. Slots are told as runs: the last slot of each, and the number of
/// its owner in `nodes` (null: nobody). `open` are those being moved, and whether they leave this node.
fn slot_map(topology: &Topology, jobs: &[Job]) -> Value {
    let nodes: Vec<Value> = topology
        .nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id.to_string(),
                "address": format!("{}:{}", node.ip, node.tcp_port),
                "role": if node.role == Role::Primary { "primary" } else { "replica" },
                "failed": node.failed(),
                "slots": node.slots,
            })
        })
        .collect();
    let owners: Vec<Option<usize>> = (0..SLOTS as u16).map(|slot| topology.owner_index(Slot(slot))).collect();
    let runs: Vec<(usize, Option<usize>)> = owners
        .chunk_by(|a, b| a == b)
        .scan(0, |before, run| {
            *before += run.len();
            Some((*before - 1, run[0]))
        })
        .collect();
    let open = |leaving: bool, ranges: Vec<(u16, u16)>| json!({ "leaving": leaving, "ranges": ranges });
    let by_key = |slots: &BTreeMap<u16, usize>| slots.keys().map(|&slot| (slot, slot)).collect::<Vec<_>>();
    let mut moving: Vec<Value> = jobs
        .iter()
        .filter(|job| !job.state.is_finished())
        .map(|job| {
            open(job.state.is_export(), job.ranges.0.iter().map(|range| (range.start, range.end)).collect())
        })
        .collect();
    moving.extend([open(true, by_key(&topology.migrating)), open(false, by_key(&topology.importing))]);
    json!({ "me": topology.me, "nodes": nodes, "runs": runs, "open": moving })
}

/// The slot migration jobs this node knows, newest first, with their transitions.
fn migrations(jobs: &[Job]) -> Vec<Value> {
    let mut jobs: Vec<Value> = jobs
        .iter()
        .map(|job| {
            let transitions: Vec<Value> = job
                .records
                .iter()
                .map(|record| {
                    json!({
                        "atMs": record.at_ms,
                        "from": record.from,
                        "event": record.event,
                        "to": record.to,
                        "reason": record.reason,
                    })
                })
                .collect();
            json!({
                "name": String::from_utf8_lossy(job.name.as_bytes()),
                "operation": if job.state.is_export() { "export" } else { "import" },
                "slots": job.ranges.to_string(),
                "state": job.state.name(),
                "createdS": job.created_s,
                "keysSent": job.figures.keys_sent,
                "keysTotal": job.figures.keys_total,
                "bytesSent": job.figures.bytes_sent,
                "frozenMs": job.figures.frozen_ms,
                "transitions": transitions,
            })
        })
        .collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job["createdS"].as_i64()));
    jobs
}

fn slow_entry(entry: &slow::Slow) -> Value {
    let command =
        |c: Option<(&'static str, u64)>| c.map(|(name, nanos)| json!({"name": name, "nanos": nanos}));
    json!({
        "message": entry.message,
        "sender": entry.sender.to_string(),
        "receiver": entry.receiver.to_string(),
        "handledUnixUs": entry.handled_unix_us,
        "waited": entry.waited_ns,
        "ran": entry.ran_ns,
        "command": command(entry.command),
        "behind": entry.behind.as_ref().map(|run| json!({
            "message": run.message,
            "receiver": run.receiver.to_string(),
            "ran": run.ran_ns,
            "command": command(run.command),
        })),
    })
}

#[cfg(test)]
mod tests {
    use skuld::cluster::topology::NO_OWNER;

    use super::*;

    #[test]
    fn the_map_tells_runs_of_slots_and_those_that_move() {
        let mut owners = vec![NO_OWNER; SLOTS];
        owners[..64].fill(0);
        owners[64..96].fill(1);
        owners[100] = 0;
        let topology = Topology {
            generation: 1,
            nodes: Vec::new(),
            me: 0,
            owners: owners.into(),
            migrating: [(33, 1)].into(),
            importing: [(16_383, 1)].into(),
            state: Default::default(),
            size: 0,
            current_epoch: 0,
        };
        let map = slot_map(&topology, &[]);
        assert_eq!(map["runs"], json!([[63, 0], [95, 1], [99, null], [100, 0], [16383, null]]));
        let moving = json!([{ "leaving": true, "ranges": [[33, 33]] }, { "leaving": false, "ranges": [[16383, 16383]] }]);
        assert_eq!(map["open"], moving);
    }
}
