//! INFO about what has happened: Persistence, Stats, Replication, Commandstats, Errorstats, Latencystats, Keyspace.

use std::sync::atomic::{AtomicU64, Ordering};

use skuld::acl::Denial;
use skuld::commands::table::commands;
use skuld::config::values::format_fraction;

use super::info::{Lines, View};
use crate::envelope::{self, ActorKind};
use crate::stats::Rate;
use crate::subscriptions::Kind;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub fn stats(view: &View<'_>, out: &mut Lines) {
    let stats = &view.server.stats;
    let (calls, command_nanos) = stats.totals();
    let (cycles, cycle_nanos) = envelope::cycles();
    let kilobytes = |rate: Rate| stats.rates.of(rate) / 1024.0;
    out.add("total_connections_received", load(&stats.total_connections_received));
    out.add("total_commands_processed", calls);
    out.fraction("instantaneous_ops_per_sec", stats.rates.of(Rate::Commands), 0);
    out.add("total_net_input_bytes", load(&stats.total_net_input_bytes));
    out.add("total_net_output_bytes", load(&stats.total_net_output_bytes));
    out.add("total_net_repl_input_bytes", load(&stats.net_repl_input_bytes));
    out.add("total_net_repl_output_bytes", load(&stats.net_repl_output_bytes));
    out.add("total_net_cluster_slot_import_bytes", load(&view.server.migrations.imported_bytes));
    out.add("total_net_cluster_slot_export_bytes", load(&view.server.migrations.exported_bytes));
    out.fraction("instantaneous_input_kbps", kilobytes(Rate::InputBytes), 2);
    out.fraction("instantaneous_output_kbps", kilobytes(Rate::OutputBytes), 2);
    out.fraction("instantaneous_input_repl_kbps", kilobytes(Rate::ReplInputBytes), 2);
    out.fraction("instantaneous_output_repl_kbps", kilobytes(Rate::ReplOutputBytes), 2);
    out.add("rejected_connections", load(&stats.rejected_connections));
    out.add("sync_full", load(&stats.sync_full));
    out.add("sync_partial_ok", load(&stats.sync_partial_ok));
    out.add("sync_partial_err", load(&stats.sync_partial_err));
    out.add("expired_keys", load(&stats.expired_keys));
    out.add("expired_fields", load(&stats.expired_fields));
    // Due keys are found by time, so none is ever stale.
    out.fraction("expired_stale_perc", 0.0, 2);
    out.fraction("expired_keys_with_volatile_items_stale_perc", 0.0, 2);
    out.add("expired_time_cap_reached_count", load(&stats.expired_time_cap_reached));
    out.add("expire_cycle_cpu_milliseconds", load(&stats.expire_cycle_micros) / 1000);
    out.add("evicted_keys", load(&stats.evicted_keys));
    out.add("evicted_clients", load(&stats.evicted_clients));
    out.add("evicted_scripts", view.server.scripts.figures().evicted);
    let exceeded_ms = view.server.eviction.exceeded_ms();
    out.add("total_eviction_exceeded_time", load(&stats.eviction_exceeded_ms) + exceeded_ms);
    out.add("current_eviction_exceeded_time", exceeded_ms);
    out.add("keyspace_hits", load(&stats.keyspace_hits));
    out.add("keyspace_misses", load(&stats.keyspace_misses));
    let subscriptions = &view.server.subscriptions;
    out.add("pubsub_channels", subscriptions.len(Kind::Channel));
    out.add("pubsub_patterns", subscriptions.len(Kind::Pattern));
    out.add("pubsubshard_channels", subscriptions.len(Kind::ShardChannel));
    out.add("latest_fork_usec", 0);
    // What a fork would have been made for.
    out.add("total_forks", load(&view.server.persistence.exports_begun));
    out.add("migrate_cached_sockets", super::migrate::cached_sockets());
    out.add("slave_expires_tracked_keys", load(&view.server.replication.tracked_keys));
    for name in [
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ] {
        out.add(name, 0);
    }
    let tracking = &view.server.tracking;
    out.add("tracking_total_keys", tracking.keys());
    out.add("tracking_total_items", tracking.items());
    out.add("tracking_total_prefixes", tracking.prefixes());
    out.add("unexpected_error_replies", load(&stats.unexpected_error_replies));
    out.add("total_error_replies", load(&stats.total_error_replies));
    out.add("dump_payload_sanitizations", load(&stats.dump_payload_sanitizations));
    out.add("total_reads_processed", load(&stats.total_reads_processed));
    out.add("total_writes_processed", load(&stats.total_writes_processed));
    for name in [
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "io_threaded_freed_objects",
        "io_threaded_accept_processed",
        "io_threaded_poll_processed",
        "io_threaded_total_prefetch_batches",
        "io_threaded_total_prefetch_entries",
    ] {
        out.add(name, 0);
    }
    let (query, output) =
        (&stats.client_query_buffer_limit_disconnections, &stats.client_output_buffer_limit_disconnections);
    out.add("client_query_buffer_limit_disconnections", load(query));
    out.add("client_output_buffer_limit_disconnections", load(output));
    out.add("reply_buffer_shrinks", 0);
    out.add("reply_buffer_expands", 0);
    out.add("eventloop_cycles", cycles);
    out.add("eventloop_duration_sum", cycle_nanos / 1000);
    out.add("eventloop_duration_cmd_sum", command_nanos / 1000);
    let cycle_rate = stats.rates.of(Rate::Cycles);
    out.fraction("instantaneous_eventloop_cycles_per_sec", cycle_rate, 0);
    let per_cycle = if cycle_rate > 0.0 { stats.rates.of(Rate::CycleMicros) / cycle_rate } else { 0.0 };
    out.fraction("instantaneous_eventloop_duration_usec", per_cycle, 0);
    for (name, denial) in [
        ("auth", Denial::Login),
        ("cmd", Denial::Command),
        ("key", Denial::Key),
        ("channel", Denial::Channel),
        ("tls_cert", Denial::Certificate),
        ("db", Denial::Database),
    ] {
        out.add(&format!("acl_access_denied_{name}"), load(&stats.acl_access_denied[denial as usize]));
    }
    let shard_waits = envelope::summaries().into_iter().filter(|s| s.kind == ActorKind::Shard);
    let mut waits = envelope::Summary::default();
    shard_waits.for_each(|s| waits.merge(&s.wait));
    // -1: off.
    out.add("skuld_import_mode_seconds", view.server.import_mode.seconds().unwrap_or(-1));
    out.add("skuld_import_sources", crate::import_mode::sources(view.server));
    out.add("skuld_shard_wait_usec_p50", waits.percentile_ns(50.0) / 1000);
    out.add("skuld_shard_wait_usec_p99", waits.percentile_ns(99.0) / 1000);
}

/// What is shown only when it is asked for by name.
pub fn debug(view: &View<'_>, out: &mut Lines) {
    let micros = |kind: ActorKind| envelope::totals_of(kind).1 / 1000;
    let background = [ActorKind::Janitor, ActorKind::ExpiryScanner, ActorKind::Evictor];
    let shards = envelope::summaries().into_iter().filter(|s| s.kind == ActorKind::Shard);
    out.add("eventloop_duration_aof_sum", micros(ActorKind::AppendOnlyFile));
    out.add("eventloop_duration_cron_sum", background.into_iter().map(micros).sum::<u64>());
    out.add("eventloop_duration_max", shards.map(|s| s.run.max_ns).max().unwrap_or(0) / 1000);
    out.add("eventloop_cmd_per_cycle_max", load(&view.server.stats.batch_commands_max));
    out.add("io_threaded_reads_pending", 0);
    out.add("io_threaded_writes_pending", 0);
}

pub fn replication(view: &View<'_>, out: &mut Lines) {
    let replication = &view.server.replication;
    let (facts, config) = (&view.replication, &view.config);
    let fresh = skuld::replication::history::History::new(view.server.replication_id.load().to_string());
    let history = facts.history.as_ref().unwrap_or(&fresh);
    let is_replica = replication.shows_replica();
    out.add("role", if is_replica { "slave" } else { "master" });
    if is_replica {
        primary_link(view, history.offset, out);
    }
    out.add("connected_slaves", facts.followers.len());
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag > 0 {
        out.add("min_slaves_good_slaves", facts.good_followers);
    }
    for (number, follower) in facts.followers.iter().enumerate() {
        out.add(
            &format!("slave{number}"),
            format_args!(
                "ip={},port={},state={},offset={},lag={},type={}",
                follower.ip, follower.port, follower.state, follower.offset, follower.lag_s, follower.kind
            ),
        );
    }
    out.add("replicas_waiting_psync", facts.waiting_psync);
    out.add("master_failover_state", replication.failover.text());
    out.add("master_replid", &history.name);
    let (former, end) = history.shown_former();
    out.add("master_replid2", former);
    out.add("master_repl_offset", history.offset);
    out.add("second_repl_offset", end);
    out.add("repl_backlog_active", u8::from(facts.backlog_active));
    out.add("repl_backlog_size", config.repl_backlog_size);
    out.add("repl_backlog_first_byte_offset", facts.backlog_first);
    out.add("repl_backlog_histlen", facts.backlog_length);
}

/// What a replica shows of its primary and the link to it.
fn primary_link(view: &View<'_>, offset: i64, out: &mut Lines) {
    use crate::replication::link::LinkState;
    let link = view.server.replication.link();
    let now_ms = crate::clock::unix_ms();
    let seconds_since = |ms: i64| (now_ms - ms).max(0) / 1000;
    let up = link.state == LinkState::Connected;
    let (host, port) = link.primary.as_ref().map_or(("", 0), |p| (p.host.as_str(), p.port));
    out.add("master_host", host);
    out.add("master_port", port);
    out.add("master_link_status", if up { "up" } else { "down" });
    let heard = link.client.as_ref().map(|c| seconds_since(c.last_interaction_ms.load(Ordering::Relaxed)));
    out.add("master_last_io_seconds_ago", heard.filter(|_| up).unwrap_or(-1));
    out.add("master_sync_in_progress", u8::from(link.state == LinkState::Sync));
    // Before anything has come: 1.
    let offset = if view.server.replication.has_no_data.load(Ordering::Relaxed) { 1 } else { offset };
    let replication = &view.server.replication;
    let read = replication.executed.load(Ordering::Relaxed) + replication.unexecuted.load(Ordering::Relaxed);
    out.add("slave_read_repl_offset", if up { offset.max(read) } else { offset });
    out.add("slave_repl_offset", offset);
    out.add("replicas_repl_buffer_size", link.stream_held);
    out.add("replicas_repl_buffer_peak", link.stream_held_peak);
    if link.state == LinkState::Sync {
        let (total, read) = (link.sync_total, link.sync_read);
        let percent = if total > 0 { read as f64 / total as f64 * 100.0 } else { 0.0 };
        out.add("master_sync_total_bytes", total);
        out.add("master_sync_read_bytes", read);
        out.add("master_sync_left_bytes", if total > 0 { total as i64 - read as i64 } else { -1 });
        out.fraction("master_sync_perc", percent, 2);
        out.add("master_sync_last_io_seconds_ago", seconds_since(link.sync_last_io_ms));
    }
    if !up {
        let since = if link.lost_ms == 0 { -1 } else { seconds_since(link.lost_ms) };
        out.add("master_link_down_since_seconds", since);
    }
    out.add("slave_priority", view.config.replica_priority);
    out.add("slave_read_only", u8::from(view.config.replica_read_only));
    out.add("replica_announced", u8::from(view.config.replica_announced));
}

pub fn command_stats(view: &View<'_>, out: &mut Lines) {
    for command in commands() {
        let sum = view.server.stats.of_command(usize::from(command.id));
        if sum.calls == 0 && sum.rejected == 0 && sum.failed == 0 {
            continue;
        }
        let usec = sum.nanos / 1000;
        let per_call = if sum.calls == 0 { 0.0 } else { sum.nanos as f64 / 1000.0 / sum.calls as f64 };
        out.add(
            &format!("cmdstat_{}", command.name),
            format_args!(
                "calls={},usec={usec},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                sum.calls, sum.rejected, sum.failed
            ),
        );
    }
}

pub fn error_stats(view: &View<'_>, out: &mut Lines) {
    for (code, count) in view.server.stats.error_counts() {
        out.add(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub fn latency_stats(view: &View<'_>, out: &mut Lines) {
    let percentiles = &view.config.latency_tracking_info_percentiles;
    if !view.config.latency_tracking {
        return;
    }
    for command in commands() {
        let sum = view.server.stats.of_command(usize::from(command.id));
        if sum.latency.count == 0 {
            continue;
        }
        let shown: Vec<String> = percentiles
            .iter()
            .map(|&p| {
                let usec = sum.latency.percentile_ns(p) as f64 / 1000.0;
                format!("p{}={usec:.3}", format_fraction(p))
            })
            .collect();
        out.add(&format!("latency_percentiles_usec_{}", command.name), shown.join(","));
    }
}

pub fn keyspace(view: &View<'_>, out: &mut Lines) {
    let databases = view.shards.iter().map(|s| s.databases.len()).max().unwrap_or(0);
    for db in 0..databases {
        let mut sum = crate::shard::DatabaseFigures::default();
        let mut ttls = (0i64, 0i64);
        for figures in view.shards.iter().filter_map(|s| s.databases.get(db)) {
            sum.keys += figures.keys;
            sum.expires += figures.expires;
            sum.volatile_items += figures.volatile_items;
            if figures.expires > 0 && figures.avg_ttl > 0 {
                ttls.0 += figures.avg_ttl.saturating_mul(figures.expires as i64);
                ttls.1 += figures.expires as i64;
            }
        }
        if sum.keys > 0 {
            let avg_ttl = ttls.0.checked_div(ttls.1).unwrap_or(0);
            out.add(
                &format!("db{db}"),
                format_args!(
                    "keys={},expires={},avg_ttl={avg_ttl},keys_with_volatile_items={}",
                    sum.keys, sum.expires, sum.volatile_items
                ),
            );
        }
    }
}
