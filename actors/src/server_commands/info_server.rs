//! INFO about the process: Server, TLS, Clients, Memory, CPU, Modules, Cluster, Scripting Engines.

use std::sync::atomic::Ordering;

use skuld::config::Choice;
use skuld::version::{REDIS_VERSION, VERSION};

use super::info::{Lines, View, human_bytes};
use crate::pause::Paused;
use crate::{clock, configure, memory};

pub fn server(view: &View<'_>, out: &mut Lines) {
    let (server, config) = (view.server, &view.config);
    let compatible = config.extended_redis_compatibility;
    let now_us = clock::unix_us(clock::tick());
    let uptime_s = (now_us / 1000 - server.started_ms) / 1000;
    out.add("redis_version", REDIS_VERSION);
    out.add("server_name", "valkey");
    out.add("valkey_version", VERSION);
    out.add("valkey_release_stage", "ga");
    out.add("redis_git_sha1", "00000000");
    out.add("redis_git_dirty", 0);
    out.add("redis_build_id", format_args!("{:016x}", build_id()));
    let mode = if config.cluster_enabled { "cluster" } else { "standalone" };
    out.add(if compatible { "redis_mode" } else { "server_mode" }, mode);
    out.add("os", os());
    out.add("arch_bits", usize::BITS);
    out.add("monotonic_clock", clock::DESCRIPTION);
    out.add("multiplexing_api", "epoll");
    out.add("gcc_version", "0.0.0");
    out.add("process_id", std::process::id());
    out.add("process_supervised", supervised(config));
    out.add("run_id", &server.run_id);
    out.add("tcp_port", if config.port == 0 { config.tls_port } else { config.port });
    out.add("server_time_usec", now_us);
    out.add("uptime_in_seconds", uptime_s);
    out.add("uptime_in_days", uptime_s / 86_400);
    out.add("hz", config.hz);
    out.add("configured_hz", config.hz);
    out.add("clients_hz", config.hz);
    out.add("lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    out.add("executable", &server.executable);
    out.add("config_file", server.config_file.as_deref().unwrap_or_default());
    out.add("io_threads_active", u8::from(server.workers > 1));
    out.add("availability_zone", &config.availability_zone);
    let mut listeners = 0;
    if config.port != 0 {
        let binds: String = config.bind.iter().map(|a| format!("bind={a},")).collect();
        out.add("listener0", format_args!("name=tcp,{binds}port={}", config.port));
        listeners += 1;
    }
    if !config.unixsocket.is_empty() {
        out.add(&format!("listener{listeners}"), format_args!("name=unix,bind={}", config.unixsocket));
    }
    if let Some(ends_ms) = server.replication.farewell.ends_ms() {
        out.add("shutdown_in_milliseconds", (ends_ms - now_us / 1000).max(0));
    }
    out.add("skuld_version", env!("CARGO_PKG_VERSION"));
    out.add("skuld_worker_threads", server.workers);
}

/// A number that is the same for the same binary.
fn build_id() -> u64 {
    let text = concat!(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn os() -> String {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    format!("{} {} {}", read("ostype"), read("osrelease"), std::env::consts::ARCH)
}

fn supervised(config: &skuld::config::Config) -> &'static str {
    use skuld::config::Supervised;
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    match config.supervised {
        Supervised::No => "no",
        Supervised::Upstart => "upstart",
        Supervised::Systemd => "systemd",
        Supervised::Auto if is_set("UPSTART_JOB") => "upstart",
        Supervised::Auto if is_set("NOTIFY_SOCKET") => "systemd",
        Supervised::Auto => "unknown",
    }
}

pub fn tls(view: &View<'_>, out: &mut Lines) {
    let settings = view.server.tls.current().filter(|_| crate::tls::is_wanted(&view.config));
    let now = crate::clock::unix_ms() / 1000;
    for (at, certificate) in ["server", "client", "ca"].into_iter().enumerate() {
        let facts = settings.as_ref().and_then(|settings| settings.shown[at].as_ref());
        let serial = facts.map_or("none", |facts| &facts.serial);
        out.add(&format!("tls_{certificate}_cert_serial"), serial);
        let left = facts.map_or(0, |facts| facts.not_after - now);
        out.add(&format!("tls_{certificate}_cert_expires_in_seconds"), left);
    }
}

pub fn clients(view: &View<'_>, out: &mut Lines) {
    let all = view.server.clients.all();
    let most = |of: fn(&crate::clients::ClientShared) -> u64| all.iter().map(|c| of(c)).max().unwrap_or(0);
    out.add("connected_clients", all.iter().filter(|client| !client.is_replica()).count());
    out.add("cluster_connections", 0);
    out.add("maxclients", view.config.maxclients);
    out.add("client_recent_max_input_buffer", most(|c| c.query_bytes.load(Ordering::Relaxed)));
    out.add("client_recent_max_output_buffer", most(|c| c.output_bytes.load(Ordering::Relaxed)));
    let blocked = &view.server.blocked;
    let paused = view.shards.iter().map(|s| s.paused).sum::<u64>();
    let (blocking_keys, blocking_keys_on_loss) = blocked.key_counts();
    out.add("blocked_clients", paused + blocked.clients() as u64);
    out.add("tracking_clients", view.server.tracking.clients());
    out.add("pubsub_clients", view.server.subscriptions.clients());
    let (watched_keys, watching_clients) = view.server.watches.counts();
    out.add("watching_clients", watching_clients);
    out.add("clients_in_timeout_table", blocked.timed());
    out.add("total_watched_keys", watched_keys);
    out.add("total_blocking_keys", blocking_keys);
    out.add("total_blocking_keys_on_nokey", blocking_keys_on_loss);
    let (reason, actions, left) = match view.server.pause.state() {
        None => view
            .server
            .migrations
            .pause()
            .map_or(("none", "none", 0), |left| ("slot_migration_in_progress", "write", left)),
        Some((Paused::Writes, left)) => ("client_pause", "write", left),
        Some((Paused::All, left)) => ("client_pause", "all", left),
    };
    out.add("paused_reason", reason);
    out.add("paused_actions", actions);
    out.add("paused_timeout_milliseconds", left);
}

/// Memory figures that several commands show.
pub struct MemoryFigures {
    pub used: u64,
    pub peak: u64,
    pub startup: u64,
    /// What is not data: the process itself, tables, clients.
    pub overhead: u64,
    pub dataset: u64,
    pub clients: u64,
    pub tables: u64,
    pub resident: u64,
    pub allocated: u64,
    pub active: u64,
    pub allocator_resident: u64,
}

/// Collects the figures of now, bytes.
pub fn memory_figures(view: &View<'_>) -> MemoryFigures {
    let stats = &view.server.stats;
    let used = view.used;
    stats.peak_memory.fetch_max(used, Ordering::Relaxed);
    let startup = stats.startup_memory.load(Ordering::Relaxed);
    let tables: u64 = view.shards.iter().map(|s| s.table_bytes).sum();
    let all = view.server.clients.all();
    let (replicas, others): (Vec<_>, Vec<_>) = all.iter().partition(|client| client.is_replica());
    let sum = |clients: &[&std::sync::Arc<crate::clients::ClientShared>]| {
        clients.iter().map(|client| client.memory_bytes()).sum::<u64>()
    };
    let (clients, replicas) = (sum(&others), sum(&replicas));
    let overhead = (startup + tables + clients + replicas).min(used);
    let allocator = memory::allocator_stats();
    MemoryFigures {
        used,
        peak: stats.peak_memory.load(Ordering::Relaxed),
        startup,
        overhead,
        dataset: used - overhead,
        clients,
        tables,
        resident: memory::resident(),
        allocated: allocator.allocated,
        active: allocator.active,
        allocator_resident: allocator.resident,
    }
}

/// A share in percent; of nothing, 0.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// One number by another; by nothing, 0.
pub fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

pub fn memory(view: &View<'_>, out: &mut Lines) {
    let figures = memory_figures(view);
    let stats = &view.server.stats;
    let total = configure::total_memory().unwrap_or(0);
    let difference = |a: u64, b: u64| a as i64 - b as i64;
    with_human(out, "used_memory", figures.used);
    with_human(out, "used_memory_rss", figures.resident);
    with_human(out, "used_memory_peak", figures.peak);
    out.add("used_memory_peak_perc", format_args!("{:.2}%", percent(figures.used, figures.peak)));
    out.add("used_memory_overhead", figures.overhead);
    out.add("used_memory_startup", figures.startup);
    out.add("used_memory_dataset", figures.dataset);
    let beyond_startup = figures.used.saturating_sub(figures.startup);
    let dataset_share = percent(figures.dataset, beyond_startup).min(100.0);
    out.add("used_memory_dataset_perc", format_args!("{dataset_share:.2}%"));
    out.add("allocator_allocated", figures.allocated);
    out.add("allocator_active", figures.active);
    out.add("allocator_resident", figures.allocator_resident);
    out.add("allocator_muzzy", 0);
    with_human(out, "total_system_memory", total);
    scripts(view, out);
    with_human(out, "maxmemory", view.config.maxmemory);
    out.add("maxmemory_policy", view.config.maxmemory_policy.name());
    out.fraction("allocator_frag_ratio", ratio(figures.active, figures.allocated), 2);
    out.add("allocator_frag_bytes", difference(figures.active, figures.allocated));
    out.fraction("allocator_rss_ratio", ratio(figures.allocator_resident, figures.active), 2);
    out.add("allocator_rss_bytes", difference(figures.allocator_resident, figures.active));
    out.fraction("rss_overhead_ratio", ratio(figures.resident, figures.allocator_resident), 2);
    out.add("rss_overhead_bytes", difference(figures.resident, figures.allocator_resident));
    out.fraction("mem_fragmentation_ratio", ratio(figures.resident, figures.used), 2);
    out.add("mem_fragmentation_bytes", difference(figures.resident, figures.used));
    out.add("mem_not_counted_for_evict", view.server.memory_not_counted());
    let replication = &view.replication;
    let kept_for_replicas = replication.held_bytes - replication.unsent_bytes;
    out.add("mem_replication_backlog", replication.backlog_bytes.saturating_sub(kept_for_replicas));
    out.add("mem_total_replication_buffers", replication.backlog_bytes + replication.unsent_bytes);
    out.add("mem_replicas_repl_buffer", view.server.replication.link().stream_held);
    out.add("mem_clients_slaves", replication.bytes_of_replicas());
    out.add("mem_clients_normal", figures.clients);
    out.add("mem_cluster_links", view.server.cluster.as_ref().map_or(0, |cluster| cluster.link_memory()));
    let [import, export] = view.server.migrations.link_bytes(view.server);
    out.add("mem_cluster_slot_import", import);
    out.add("mem_cluster_slot_export", export);
    out.add("mem_aof_buffer", view.server.persistence.aof.buffered_bytes.load(Ordering::Relaxed));
    out.add("mem_allocator", memory::ALLOCATOR_NAME);
    out.add("mem_overhead_db_hashtable_rehashing", 0);
    out.add("active_defrag_running", 0);
    out.add("lazyfree_pending_objects", stats.lazyfree_pending_objects.load(Ordering::Relaxed));
    out.add("lazyfreed_objects", stats.lazyfreed_objects.load(Ordering::Relaxed));
    out.add("skuld_table_bytes", figures.tables);
    out.add("skuld_reaper_pending_bytes", stats.reaper_pending_bytes.load(Ordering::Relaxed));
}

pub fn cpu(_: &View<'_>, out: &mut Lines) {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let seconds = |t: nix::sys::time::TimeVal| t.num_microseconds() as f64 / 1e6;
    let of = |who| getrusage(who).map_or((0.0, 0.0), |u| (seconds(u.system_time()), seconds(u.user_time())));
    let (system, user) = of(UsageWho::RUSAGE_SELF);
    let (system_children, user_children) = of(UsageWho::RUSAGE_CHILDREN);
    let (system_main, user_main) = main_thread_times().unwrap_or((0.0, 0.0));
    out.fraction("used_cpu_sys", system, 6);
    out.fraction("used_cpu_user", user, 6);
    out.fraction("used_cpu_sys_children", system_children, 6);
    out.fraction("used_cpu_user_children", user_children, 6);
    out.fraction("used_cpu_sys_main_thread", system_main, 6);
    out.fraction("used_cpu_user_main_thread", user_main, 6);
    let (_, shard_nanos) = crate::envelope::totals_of(crate::envelope::ActorKind::Shard);
    out.fraction("used_active_time_main_thread", shard_nanos as f64 / 1e9, 6);
}

/// System and user seconds of the first thread.
fn main_thread_times() -> Option<(f64, f64)> {
    let pid = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/self/task/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse::<f64>().ok();
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    Some((field(15)? / ticks, field(14)? / ticks))
}

pub fn modules(_: &View<'_>, out: &mut Lines) {
    out.add(
        "module",
        "name=lua,ver=1,api=1,filters=0,usedby=[],using=[],options=[handle-repl-async-load|\
         handle-atomic-slot-migration]",
    );
}

pub fn cluster(view: &View<'_>, out: &mut Lines) {
    out.add("cluster_enabled", u8::from(view.config.cluster_enabled));
}

pub fn scripting_engines(view: &View<'_>, out: &mut Lines) {
    let used: u64 = view.server.scripts.machine_bytes().iter().sum();
    let overhead = size_of::<crate::scripting::Scripts>();
    out.add("engines_count", 1);
    out.add("engines_total_used_memory", used);
    out.add("engines_total_memory_overhead", overhead);
    out.add(
        "engine_0",
        format_args!("name=LUA,module=lua,abi_version=4,used_memory={used},memory_overhead={overhead}"),
    );
}

fn with_human(out: &mut Lines, name: &str, bytes: u64) {
    out.add(name, bytes);
    out.add(&format!("{name}_human"), human_bytes(bytes));
}

/// The machines, the cached scripts and the libraries.
fn scripts(view: &View<'_>, out: &mut Lines) {
    let figures = view.server.scripts.figures();
    let [eval, functions] = view.server.scripts.machine_bytes();
    out.add("used_memory_lua", eval);
    out.add("used_memory_vm_eval", eval);
    out.add("used_memory_lua_human", human_bytes(eval));
    out.add("used_memory_scripts_eval", figures.scripts_bytes);
    out.add("number_of_cached_scripts", figures.scripts);
    out.add("number_of_functions", figures.functions);
    out.add("number_of_libraries", figures.libraries);
    out.add("used_memory_vm_functions", functions);
    with_human(out, "used_memory_vm_total", eval + functions);
    out.add("used_memory_functions", figures.libraries_bytes);
    with_human(out, "used_memory_scripts", figures.scripts_bytes + figures.libraries_bytes);
}
