//! Prometheus text. Names of what INFO tells are those of the common Redis exporter, so that existing dashboards work;
//! what only actors have begins with `skuld_`.

use std::fmt::Write as _;

use crate::shard::ShardDescription;
use crate::telemetry;

/// How a field of INFO becomes a metric.
struct Row {
    field: &'static str,
    metric: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Seconds from milliseconds and the like.
    scale: f64,
}

const fn gauge(field: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row { field, metric, kind: "gauge", help, scale: 1.0 }
}

const fn counter(field: &'static str, metric: &'static str, help: &'static str) -> Row {
    Row { field, metric, kind: "counter", help, scale: 1.0 }
}

static ROWS: &[Row] = &[
    gauge("uptime_in_seconds", "redis_uptime_in_seconds", "Seconds since the start."),
    gauge("connected_clients", "redis_connected_clients", "Connected clients."),
    gauge("blocked_clients", "redis_blocked_clients", "Clients that wait in a blocking command."),
    gauge("maxclients", "redis_config_maxclients", "Most clients allowed."),
    gauge("pubsub_clients", "redis_pubsub_clients", "Clients in subscriber mode."),
    gauge("tracking_clients", "redis_tracking_clients", "Clients with tracking on."),
    gauge("used_memory", "redis_memory_used_bytes", "Bytes allocated."),
    gauge("used_memory_rss", "redis_memory_used_rss_bytes", "Resident bytes of the process."),
    gauge("used_memory_peak", "redis_memory_used_peak_bytes", "Most bytes allocated at one time."),
    gauge(
        "used_memory_startup",
        "redis_memory_used_startup_bytes",
        "Bytes allocated once the server was up.",
    ),
    gauge("used_memory_dataset", "redis_memory_used_dataset_bytes", "Bytes of the data set."),
    gauge("maxmemory", "redis_memory_max_bytes", "The directive maxmemory; 0 for none."),
    gauge("mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", "Resident bytes over allocated ones."),
    gauge(
        "lazyfree_pending_objects",
        "redis_lazyfree_pending_objects",
        "Objects waiting to be freed in the background.",
    ),
    counter("lazyfreed_objects", "redis_lazyfreed_objects_total", "Objects freed in the background."),
    counter("total_connections_received", "redis_connections_received_total", "Connections accepted."),
    counter(
        "rejected_connections",
        "redis_rejected_connections_total",
        "Connections refused because of maxclients.",
    ),
    counter("total_commands_processed", "redis_commands_processed_total", "Commands executed."),
    gauge("instantaneous_ops_per_sec", "redis_instantaneous_ops_per_sec", "Commands per second, of late."),
    counter("total_net_input_bytes", "redis_net_input_bytes_total", "Bytes read from clients."),
    counter("total_net_output_bytes", "redis_net_output_bytes_total", "Bytes written to clients."),
    counter("keyspace_hits", "redis_keyspace_hits_total", "Lookups that found a key."),
    counter("keyspace_misses", "redis_keyspace_misses_total", "Lookups that found none."),
    counter("expired_keys", "redis_expired_keys_total", "Keys removed because their time was over."),
    counter("evicted_keys", "redis_evicted_keys_total", "Keys removed because of maxmemory."),
    counter(
        "evicted_clients",
        "redis_evicted_clients_total",
        "Clients disconnected because of maxmemory-clients.",
    ),
    counter("total_error_replies", "redis_total_error_replies_total", "Error replies sent."),
    gauge("pubsub_channels", "redis_pubsub_channels", "Channels with subscribers."),
    gauge("pubsub_patterns", "redis_pubsub_patterns", "Patterns with subscribers."),
    counter("sync_full", "redis_replica_resyncs_full_total", "Full synchronisations with replicas."),
    counter(
        "sync_partial_ok",
        "redis_replica_partial_resync_accepted_total",
        "Partial resynchronisations accepted.",
    ),
    counter(
        "sync_partial_err",
        "redis_replica_partial_resync_denied_total",
        "Partial resynchronisations denied.",
    ),
    gauge("connected_slaves", "redis_connected_slaves", "Connected replicas."),
    gauge("master_repl_offset", "redis_master_repl_offset", "Offset of the replication stream."),
    gauge("repl_backlog_size", "redis_replication_backlog_bytes", "Size of the replication backlog."),
    gauge("loading", "redis_loading_dump_file", "1 while a data set is being loaded."),
    gauge("rdb_changes_since_last_save", "redis_rdb_changes_since_last_save", "Changes since the last save."),
    gauge("rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", "1 while a snapshot is being written."),
    gauge(
        "rdb_last_save_time",
        "redis_rdb_last_save_timestamp_seconds",
        "When the last snapshot was written.",
    ),
    gauge("aof_enabled", "redis_aof_enabled", "1 if the append-only file is on."),
    gauge(
        "aof_rewrite_in_progress",
        "redis_aof_rewrite_in_progress",
        "1 while the append-only file is rewritten.",
    ),
    gauge("cluster_enabled", "redis_cluster_enabled", "1 in cluster mode."),
    counter("used_cpu_sys", "redis_cpu_sys_seconds_total", "Processor seconds spent in the kernel."),
    counter("used_cpu_user", "redis_cpu_user_seconds_total", "Processor seconds spent in the program."),
    gauge("number_of_cached_scripts", "redis_number_of_cached_scripts", "Scripts kept for EVALSHA."),
];

/// The value of a field of INFO as a number.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn head(out: &mut String, metric: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
}

/// A label's value between quotes.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `a=1,b=2` as pairs.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|pair| pair.split_once('='))
}

/// One metric with a label from lines `<prefix><label>:<name>=<value>,...` of INFO.
struct Labelled {
    prefix: &'static str,
    label: &'static str,
    name: &'static str,
    metric: &'static str,
    kind: &'static str,
    help: &'static str,
    scale: f64,
}

static LABELLED: &[Labelled] = &[
    Labelled {
        prefix: "db",
        label: "db",
        name: "keys",
        metric: "redis_db_keys",
        kind: "gauge",
        help: "Keys.",
        scale: 1.0,
    },
    Labelled {
        prefix: "db",
        label: "db",
        name: "expires",
        metric: "redis_db_keys_expiring",
        kind: "gauge",
        help: "Keys with a deadline.",
        scale: 1.0,
    },
    Labelled {
        prefix: "db",
        label: "db",
        name: "avg_ttl",
        metric: "redis_db_avg_ttl_seconds",
        kind: "gauge",
        help: "Average time to live.",
        scale: 1e-3,
    },
    Labelled {
        prefix: "cmdstat_",
        label: "cmd",
        name: "calls",
        metric: "redis_commands_total",
        kind: "counter",
        help: "Calls by command.",
        scale: 1.0,
    },
    Labelled {
        prefix: "cmdstat_",
        label: "cmd",
        name: "usec",
        metric: "redis_commands_duration_seconds_total",
        kind: "counter",
        help: "Time spent by command.",
        scale: 1e-6,
    },
    Labelled {
        prefix: "cmdstat_",
        label: "cmd",
        name: "rejected_calls",
        metric: "redis_commands_rejected_calls_total",
        kind: "counter",
        help: "Calls refused before execution.",
        scale: 1.0,
    },
    Labelled {
        prefix: "cmdstat_",
        label: "cmd",
        name: "failed_calls",
        metric: "redis_commands_failed_calls_total",
        kind: "counter",
        help: "Calls that ended in an error.",
        scale: 1.0,
    },
    Labelled {
        prefix: "errorstat_",
        label: "err",
        name: "count",
        metric: "redis_errors_total",
        kind: "counter",
        help: "Error replies by code.",
        scale: 1.0,
    },
];

fn labelled(out: &mut String, info: &str, row: &Labelled) {
    let mut begun = false;
    for line in info.lines() {
        let Some((name, values)) = line.strip_prefix(row.prefix).and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        let name = if row.prefix == "db" {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            format!("db{name}")
        } else {
            name.to_owned()
        };
        let Some(value) = pairs(values).find(|(n, _)| *n == row.name).and_then(|(_, v)| number(v)) else {
            continue;
        };
        if !std::mem::replace(&mut begun, true) {
            head(out, row.metric, row.kind, row.help);
        }
        let _ = writeln!(out, "{}{{{}={}}} {}", row.metric, row.label, quoted(&name), value * row.scale);
    }
}

/// The whole answer of `/metrics`.
pub fn render(info: &str, shards: &[ShardDescription]) -> String {
    let mut out = String::new();
    head(&mut out, "redis_up", "gauge", "1: the server answers.");
    out.push_str("redis_up 1\n");
    let fields: std::collections::HashMap<&str, &str> =
        info.lines().filter_map(|line| line.split_once(':')).collect();
    let text = |name: &str| quoted(fields.get(name).copied().unwrap_or_default());
    head(&mut out, "redis_instance_info", "gauge", "Versions and role, as labels.");
    let _ = writeln!(
        out,
        "redis_instance_info{{role={},redis_version={},valkey_version={},skuld_version={},redis_mode={},os={},\
         process_id={},run_id={},tcp_port={},maxmemory_policy={}}} 1",
        text("role"),
        text("redis_version"),
        text("valkey_version"),
        text("skuld_version"),
        text("server_mode"),
        text("os"),
        text("process_id"),
        text("run_id"),
        text("tcp_port"),
        text("maxmemory_policy"),
    );
    for row in ROWS {
        if let Some(value) = fields.get(row.field).and_then(|v| number(v)) {
            head(&mut out, row.metric, row.kind, row.help);
            let _ = writeln!(out, "{} {}", row.metric, value * row.scale);
        }
    }
    for row in LABELLED {
        labelled(&mut out, info, row);
    }
    latency(&mut out, info);
    actors(&mut out, shards);
    out
}

/// `latency_percentiles_usec_get:p50=1.003,p99=2.007` as quantiles.
fn latency(out: &mut String, info: &str) {
    const METRIC: &str = "redis_latency_percentiles_usec";
    let mut begun = false;
    for line in info.lines() {
        let Some((command, values)) =
            line.strip_prefix("latency_percentiles_usec_").and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        if !std::mem::replace(&mut begun, true) {
            head(out, METRIC, "gauge", "Run time of commands, microseconds, by quantile.");
        }
        for (percent, value) in pairs(values) {
            let quantile = percent.strip_prefix('p').and_then(number);
            if let (Some(quantile), Some(value)) = (quantile, number(value)) {
                let _ = writeln!(
                    out,
                    "{METRIC}{{cmd={},quantile=\"{}\"}} {value}",
                    quoted(command),
                    // Three digits are enough for p99.999 and hide what dividing adds.
                    format!("{:.5}", quantile / 100.0).trim_end_matches('0').trim_end_matches('.')
                );
            }
        }
    }
}

/// What only actors have.
fn actors(out: &mut String, shards: &[ShardDescription]) {
    let sums = telemetry::summaries();
    for (metric, help, pick) in [
        (
            "skuld_message_wait_seconds",
            "How long messages waited, by kind of actor and message.",
            (|s| &s.wait) as fn(&telemetry::MessageSummary) -> &telemetry::Summary,
        ),
        ("skuld_message_run_seconds", "How long messages ran, by kind of actor and message.", |s| &s.run),
    ] {
        head(out, metric, "summary", help);
        for sum in &sums {
            let labels = format!("actor={},message={}", quoted(sum.kind.name()), quoted(sum.message));
            let times = pick(sum);
            for quantile in [0.5, 0.99, 0.999] {
                let seconds = times.percentile_ns(quantile * 100.0) as f64 / 1e9;
                let _ = writeln!(out, "{metric}{{{labels},quantile=\"{quantile}\"}} {seconds}");
            }
            let _ = writeln!(out, "{metric}_sum{{{labels}}} {}", times.sum_ns as f64 / 1e9);
            let _ = writeln!(out, "{metric}_count{{{labels}}} {}", times.count);
        }
    }
    for (metric, help, pick) in [
        (
            "skuld_shard_queued_batches",
            "Batches of clients that wait at a shard.",
            (|s| s.arrived + s.preempted + s.parked + s.paused) as fn(&ShardDescription) -> u64,
        ),
        ("skuld_shard_pending_units", "Units a shard coordinates that wait for tables.", |s| s.units),
        ("skuld_shard_deadlines", "Deadlines in a shard's timing wheel.", |s| s.wheel_items),
        ("skuld_shard_table_bytes", "Bytes of slot tables without entries.", |s| s.table_bytes),
        ("skuld_shard_keys", "Keys of a shard.", |s| s.databases.iter().map(|d| d.keys).sum()),
    ] {
        head(out, metric, "gauge", help);
        for shard in shards {
            let _ = writeln!(out, "{metric}{{shard=\"{}\"}} {}", shard.index, pick(shard));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.2.4\r\nuptime_in_seconds:12\r\nrole:master\r\n\
                        used_memory:1000\r\nmaxmemory_policy:noeviction\r\n\
                        cmdstat_get:calls=3,usec=6,usec_per_call=2.00,rejected_calls=0,failed_calls=1\r\n\
                        cmdstat_client|list:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r\n\
                        errorstat_WRONGTYPE:count=1\r\nlatency_percentiles_usec_get:p50=1.003,p99.9=2.007\r\n\
                        db0:keys=5,expires=2,avg_ttl=1500,keys_with_volatile_items=0\r\n";

    #[test]
    fn fields_of_info_become_metrics() {
        let text = render(INFO, &[]);
        for line in [
            "redis_up 1",
            "redis_uptime_in_seconds 12",
            "redis_memory_used_bytes 1000",
            "redis_commands_total{cmd=\"get\"} 3",
            "redis_commands_total{cmd=\"client|list\"} 1",
            "redis_commands_failed_calls_total{cmd=\"get\"} 1",
            "redis_errors_total{err=\"WRONGTYPE\"} 1",
            "redis_db_keys{db=\"db0\"} 5",
            "redis_db_avg_ttl_seconds{db=\"db0\"} 1.5",
            "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"0.5\"} 1.003",
            "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"0.999\"} 2.007",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    /// What a linter of the format would say: every sample has a type, told once and before it.
    #[test]
    fn every_sample_is_declared_once() {
        let text = render(INFO, &[ShardDescription::default()]);
        let mut declared = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().expect("a name");
                assert!(declared.insert(name.to_owned()), "{name} is declared twice");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().expect("a name");
                let base = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
                assert!(declared.contains(name) || declared.contains(base), "{line}");
                assert!(line.rsplit(' ').next().and_then(number).is_some(), "{line}");
            }
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
    }
}
