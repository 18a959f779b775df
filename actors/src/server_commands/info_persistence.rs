//! INFO persistence.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use skuld::migration::{ExportState, JobState};

use super::info::{Lines, View};
use crate::clock;
use crate::memory;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn signed(value: &AtomicI64) -> i64 {
    value.load(Ordering::Relaxed)
}

fn flag(value: &AtomicBool) -> bool {
    value.load(Ordering::Relaxed)
}

fn status(failed: bool) -> &'static str {
    if failed { "err" } else { "ok" }
}

/// Sizes of copies on write are the bytes that exports hold because of writes and of receivers that are behind.
pub fn persistence(view: &View<'_>, out: &mut Lines) {
    let server = view.server;
    let state = &server.persistence;
    let saving = flag(&state.saving) || flag(&state.syncing);
    let held = server.exports.held_bytes();
    let (done, total) =
        if saving { (load(&state.save_keys_done), load(&state.save_keys_total)) } else { (0, 0) };
    out.add("loading", u8::from(state.is_loading()));
    out.add("async_loading", u8::from(state.is_async_loading()));
    out.add("current_cow_peak", held);
    out.add("current_cow_size", held);
    out.add("current_cow_size_age", 0);
    let percent = if total > 0 { done as f64 * 100.0 / total as f64 } else { 0.0 };
    out.fraction("current_fork_perc", percent, 2);
    out.add("current_save_keys_processed", done);
    out.add("current_save_keys_total", total);
    out.add("rdb_changes_since_last_save", load(&server.dirty));
    out.add("rdb_bgsave_in_progress", u8::from(saving));
    out.add("rdb_last_save_time", signed(&server.last_save_ms) / 1000);
    out.add("rdb_last_bgsave_status", status(flag(&state.last_save_failed)));
    out.add("rdb_last_bgsave_time_sec", signed(&state.last_save_seconds));
    let since = if saving { (clock::unix_ms() - signed(&state.save_started_ms)) / 1000 } else { -1 };
    out.add("rdb_current_bgsave_time_sec", since);
    out.add("rdb_saves", load(&state.saves));
    out.add("rdb_last_cow_size", load(&state.last_save_held));
    out.add("rdb_last_load_keys_expired", load(&state.keys_expired));
    out.add("rdb_last_load_keys_loaded", load(&state.keys_loaded));
    let aof = &state.aof;
    let rewriting = flag(&aof.rewriting);
    out.add("aof_enabled", u8::from(aof.is_on()));
    out.add("aof_rewrite_in_progress", u8::from(rewriting));
    out.add("aof_rewrite_scheduled", u8::from(flag(&aof.rewrite_scheduled) || flag(&aof.enabling)));
    out.add("aof_last_rewrite_time_sec", signed(&aof.last_rewrite_seconds) - 1);
    let since = if rewriting { (clock::unix_ms() - signed(&aof.rewrite_started_ms)) / 1000 } else { -1 };
    out.add("aof_current_rewrite_time_sec", since);
    out.add("aof_last_bgrewrite_status", status(flag(&aof.last_rewrite_failed)));
    out.add("aof_rewrites", load(&aof.rewrites));
    out.add("aof_rewrites_consecutive_failures", load(&aof.failures_in_a_row));
    out.add("aof_last_write_status", status(aof.has_failed()));
    out.add("aof_last_cow_size", load(&aof.last_rewrite_held));
    out.add("module_fork_in_progress", 0);
    out.add("module_fork_last_cow_size", 0);
    // Nothing forks; a slot migration that sends its snapshot counts as one.
    let sends = |job: &skuld::migration::Job| job.state == JobState::Export(ExportState::Snapshotting);
    let sending = view.server.migrations.log().iter().any(sends);
    out.add("slot_migration_fork_in_progress", u8::from(sending));
    if flag(&aof.enabled) {
        out.add("aof_current_size", load(&aof.current_bytes));
        out.add("aof_base_size", load(&aof.base_bytes));
        out.add("aof_pending_rewrite", 0);
        out.add("aof_buffer_length", load(&aof.buffered_bytes));
        out.add("aof_pending_bio_fsync", 0);
        out.add("aof_delayed_fsync", load(&aof.delayed_fsyncs));
    }
    if state.is_loading() || state.is_async_loading() {
        loading(view, out);
    }
}

fn loading(view: &View<'_>, out: &mut Lines) {
    let progress = &view.server.persistence.load;
    let (total, loaded) = (load(&progress.total_bytes), load(&progress.loaded_bytes));
    let started_ms = signed(&progress.started_ms);
    let seconds = (clock::unix_ms() - started_ms) / 1000;
    let eta = if loaded == 0 { 1 } else { seconds * total.saturating_sub(loaded) as i64 / loaded as i64 };
    out.add("loading_start_time", started_ms / 1000);
    out.add("loading_total_bytes", total);
    let used = load(&progress.used_memory);
    out.add("loading_rdb_used_mem", if used > 0 { used } else { memory::used() });
    out.add("loading_loaded_bytes", loaded);
    let percent = if total > 0 { loaded as f64 * 100.0 / total as f64 } else { 0.0 };
    out.fraction("loading_loaded_perc", percent, 2);
    out.add("loading_eta_seconds", eta.max(0));
}
