//! ACTOR INFO: what can be observed of an actor's state, as a map. It is read from what actors share; only shards and the
//! log are asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skuld::cluster::ClusterState;
use skuld::commands::context::CommandError;
use skuld::config::Choice;
use skuld::migration::job::JobState;

use super::actor::describe_shards;
use super::{Outcome, Request};
use crate::clients::ClientShared;
use crate::memory;
use crate::replication::bit;
use crate::server::Server;
use crate::shard::ShardDescription;

/// Names and values, in the order shown.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

enum Value {
    Number(i64),
    Text(String),
}

impl Fields {
    fn number(&mut self, name: &'static str, value: impl TryInto<i64>) {
        self.0.push((name, Value::Number(value.try_into().unwrap_or(i64::MAX))));
    }

    fn counter(&mut self, name: &'static str, value: &AtomicU64) {
        self.number(name, value.load(Ordering::Relaxed));
    }

    fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, Value::Text(value.into())));
    }

    fn truth(&mut self, name: &'static str, value: bool) {
        self.text(name, if value { "yes" } else { "no" });
    }
}

/// ACTOR INFO id
pub async fn run(request: &mut Request) -> Outcome {
    let wanted = String::from_utf8_lossy(&request.args[2]).to_ascii_lowercase();
    let (kind, id) = wanted.split_once(':').unwrap_or((&wanted, ""));
    let mut fields = Fields::default();
    let server = &request.server;
    let known = match (kind, id) {
        ("shard", id) => {
            let shards = describe_shards(server).await;
            let shard = id.parse().ok().and_then(|index: u16| shards.iter().find(|s| s.index == index));
            shard.map(|shard| shard_fields(shard, &mut fields)).is_some()
        }
        ("connection", id) => {
            let client = id.parse().ok().and_then(|id| server.clients.get(id));
            client.map(|client| connection(&client, &mut fields)).is_some()
        }
        ("replication-log", "") => {
            let facts = super::replication::facts_for(request).await;
            replication_log(server, &facts, &mut fields);
            true
        }
        ("migration-export" | "migration-import", id) => migration(server, kind, id, &mut fields),
        (kind, "") => single(server, kind, &mut fields),
        _ => false,
    };
    if !known {
        return Err(CommandError::text(format!(
            "ERR No such actor '{wanted}' with state of its own to show"
        )));
    }
    request.reply.map(fields.0.len());
    for (name, value) in fields.0 {
        request.reply.bulk(name.as_bytes());
        match value {
            Value::Number(number) => request.reply.integer(number),
            Value::Text(text) => request.reply.bulk(text.as_bytes()),
        }
    }
    Ok(())
}

fn shard_fields(shard: &ShardDescription, fields: &mut Fields) {
    fields.number("keys", shard.databases.iter().map(|d| d.keys).sum::<u64>());
    fields.number("expires", shard.databases.iter().map(|d| d.expires).sum::<u64>());
    for (name, value) in [
        ("table-bytes", shard.table_bytes),
        ("deadlines-indexed", shard.wheel_items),
        ("batches-arrived", shard.arrived),
        ("batches-preempted", shard.preempted),
        ("batches-parked", shard.parked),
        ("batches-paused", shard.paused),
        ("units-pending", shard.units),
    ] {
        fields.number(name, value);
    }
}

fn connection(client: &ClientShared, fields: &mut Fields) {
    fields.text("peer", &*client.peer);
    fields.truth("blocked", client.blocked.load(Ordering::Relaxed));
    fields.truth("held-by-pause", client.paused.load(Ordering::Relaxed));
    fields.truth("killed", client.killed.load(Ordering::Relaxed));
    fields.truth("traced", client.traced.load(Ordering::Relaxed));
    for (name, counter) in [
        ("commands", &client.commands),
        ("bytes-read", &client.net_in),
        ("bytes-sent", &client.net_out),
        ("bytes-unexecuted", &client.query_bytes),
        ("batch-bytes", &client.argv_bytes),
        ("bytes-unsent", &client.output_bytes),
    ] {
        fields.counter(name, counter);
    }
    fields.number("memory-bytes", client.memory_bytes());
}

fn replication_log(server: &Server, facts: &crate::replication_log::Facts, fields: &mut Fields) {
    let replication = &server.replication;
    let flags = replication.flags();
    fields.number("offset", replication.offset.load(Ordering::Relaxed));
    fields.number("appends-issued", replication.issued());
    fields.counter("appends-on-disk", &replication.durable);
    fields.truth("feeds-the-stream", flags & bit::STREAM != 0);
    fields.truth("feeds-the-append-only-file", flags & bit::COMMANDS != 0);
    fields.number("replicas", facts.followers.len());
    fields.number("backlog-bytes", facts.backlog_length);
    fields.number("bytes-held-for-replicas", facts.held_bytes);
}

fn migration(server: &Server, kind: &str, id: &str, fields: &mut Fields) -> bool {
    let log = server.migrations.log();
    let is_export = kind == "migration-export";
    let mut own = log.iter().filter(|job| matches!(job.state, JobState::Export(_)) == is_export);
    let job = match id {
        // The latest.
        "" => own.next(),
        id => own.find(|job| job.name.as_bytes() == id.as_bytes()),
    };
    let Some(job) = job else { return false };
    fields.text("job", String::from_utf8_lossy(job.name.as_bytes()));
    fields.text("state", job.state.name());
    fields.truth("finished", job.state.is_finished());
    fields.number("keys-sent", job.figures.keys_sent);
    fields.number("bytes-sent", job.figures.bytes_sent);
    fields.number("bytes-waiting", job.figures.waiting_bytes);
    fields.number("transitions", job.records.len());
    true
}

/// The actors of which there is one. False for an unknown kind.
fn single(server: &Server, kind: &str, fields: &mut Fields) -> bool {
    let stats = &server.stats;
    let config = server.config.load();
    let is_on = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    match kind {
        "listener" => {
            fields.number("port", config.port);
            fields.number("tls-port", config.tls_port);
            fields.text("unix-socket", config.unixsocket.to_str());
            fields.number("connections", server.clients.len());
            fields.number("connections-max", config.maxclients);
            fields.counter("accepted", &stats.total_connections_received);
            fields.counter("refused", &stats.rejected_connections);
        }
        "reaper" => {
            fields.counter("pending-objects", &stats.lazyfree_pending_objects);
            fields.counter("pending-bytes", &stats.reaper_pending_bytes);
            fields.counter("freed-objects", &stats.lazyfreed_objects);
        }
        "evictor" => {
            fields.text("policy", config.maxmemory_policy.name());
            fields.number("limit-bytes", config.maxmemory);
            fields.number("used-bytes", memory::used());
            fields.number("not-counted-bytes", server.memory_not_counted());
            fields.number("exceeded-ms", server.eviction.exceeded_ms());
            fields.truth("nothing-to-evict", server.eviction.all_empty());
            fields.counter("evicted-keys", &stats.evicted_keys);
        }
        "expiry-scanner" => {
            let importing = server.import_mode.seconds();
            let idle = if is_on(&server.active_expire) { "active" } else { "off" };
            fields.text("state", if importing.is_some() { "importing" } else { idle });
            fields.counter("expired-keys", &stats.expired_keys);
            fields.counter("expired-fields", &stats.expired_fields);
            fields.counter("scan-usec", &stats.expire_cycle_micros);
        }
        "janitor" => {
            fields.truth("paused", is_on(&server.periodic_work_paused));
            fields.number("idle-limit-seconds", config.timeout);
        }
        "snapshotter" => {
            let persistence = &server.persistence;
            fields.truth("saving", is_on(&persistence.saving));
            fields.truth("scheduled", is_on(&persistence.save_scheduled));
            fields.counter("keys-total", &persistence.save_keys_total);
            fields.counter("keys-done", &persistence.save_keys_done);
            fields.counter("saves", &persistence.saves);
            fields.truth("last-failed", is_on(&persistence.last_save_failed));
            fields.number("bytes-held", server.exports.held_bytes());
        }
        "append-only-file" => {
            let aof = &server.persistence.aof;
            fields.truth("enabled", is_on(&aof.enabled));
            fields.truth("has-base", is_on(&aof.has_base));
            fields.truth("rewriting", is_on(&aof.rewriting));
            fields.truth("failed", aof.has_failed());
            fields.counter("bytes", &aof.current_bytes);
            fields.counter("bytes-unwritten", &aof.buffered_bytes);
            fields.counter("rewrites", &aof.rewrites);
        }
        "replica-link" => {
            let link = server.replication.link();
            let primary = link.primary.as_ref().map(|p| format!("{}:{}", p.host, p.port));
            fields.text("state", link.state.text());
            fields.text("primary", primary.unwrap_or_default());
            fields.number("sync-bytes-read", link.sync_read);
            fields.number("stream-bytes-held", link.stream_held);
            fields.number("down-since-unix-ms", link.down_since_ms);
        }
        "gossip" => {
            let Some(cluster) = &server.cluster else { return false };
            let topology = cluster.topology();
            let open = topology.migrating.len() + topology.importing.len();
            fields.text("cluster-state", if topology.state == ClusterState::Ok { "ok" } else { "fail" });
            fields.number("current-epoch", topology.current_epoch);
            fields.number("nodes", topology.nodes.len());
            fields.number("own-slots", topology.me().slots);
            fields.number("open-slots", open);
            fields.number("generation", topology.generation);
        }
        _ => return false,
    }
    true
}
