//! From the command line to a server that accepts connections.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use actix::prelude::*;
use arc_swap::ArcSwap;
use skuld::commands::Table;
use skuld::config::Config;
use tracing_subscriber::layer::SubscriberExt;

use crate::clients::Clients;
use crate::evictor::Evictor;
use crate::expiry_scanner::ExpiryScanner;
use crate::listener::{self, Bound, Listener};
use crate::log::LogLines;
use crate::reaper::Reaper;
use crate::replication_log::ReplicationLog;
use crate::server::{Server, ServerRef};
use crate::shard::Shard;
use crate::stats::{CommandStats, Stats};
use crate::{clock, memory, shutdown};

/// Runs the server; returns only by ending the process.
pub fn main() {
    memory::register_thread();
    let mut config = Config::default();
    let args: Vec<String> = std::env::args().collect();
    for pair in args[1..].chunks(2) {
        match (pair[0].as_str(), pair.get(1)) {
            ("--port", Some(port)) => config.port = port.parse().unwrap_or(6379),
            ("--worker-threads", Some(n)) => config.worker_threads = n.parse().ok(),
            _ => {}
        }
    }
    let lines = match LogLines::new("") {
        Ok(lines) => lines,
        Err(e) => fail(&format!("Can't open the log file: {e}")),
    };
    if tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)).is_err() {
        fail("the log was set up twice");
    }
    abort_on_panic();
    let bound = match listener::bind(&config) {
        Ok(bound) => bound,
        Err(text) => {
            tracing::warn!("{text}");
            std::process::exit(1);
        }
    };
    run(config, bound);
}

fn fail(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(1);
}

/// A panic in any actor ends the process: half-alive is worse than dead.
fn abort_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        tracing::error!("{info}");
        std::process::abort();
    }));
}

/// Usable processors: one worker on one or two, so that the other is left to the system and the client.
fn workers_of(config: &Config) -> u16 {
    let asked = config.worker_threads.or((config.io_threads > 1).then_some(config.io_threads));
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = asked.map_or(if usable <= 2 { 1 } else { usable }, |n| n as usize);
    workers.clamp(1, 256) as u16
}

fn random_hex(words: usize) -> String {
    let mut bytes = vec![0u8; words * 4];
    fill_random(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn fill_random(bytes: &mut [u8]) {
    use std::io::Read;
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(bytes));
    if read.is_err() {
        fail("cannot read /dev/urandom");
    }
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn run(config: Config, bound: Bound) {
    skuld::hash::set_seed(random_u64());
    let workers = workers_of(&config);
    let system = System::new();
    let commands: Vec<Arc<[CommandStats]>> = (0..workers)
        .map(|_| (0..skuld::commands::COMMAND_COUNT).map(|_| CommandStats::default()).collect())
        .collect();
    let stats = Stats {
        server_commands: (0..skuld::commands::COMMAND_COUNT).map(|_| CommandStats::default()).collect(),
        ..Stats::default()
    };
    // A fresh cell cannot be taken.
    let _ = stats.commands.set(commands.clone());
    let server: ServerRef = Arc::new(Server {
        table: command_table(&config),
        clients: Clients::default(),
        stats,
        shards: OnceLock::new(),
        reaper: OnceLock::new(),
        replication_log: OnceLock::new(),
        unit_order: Mutex::new(()),
        run_id: random_hex(5),
        started_ms: clock::unix_ms(),
        config_file: None,
        executable: std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default(),
        last_save_ms: AtomicI64::new(clock::unix_ms()),
        dirty: AtomicU64::new(0),
        shutting_down: AtomicBool::new(false),
        active_expire: AtomicBool::new(true),
        workers,
        config: ArcSwap::from_pointee(config),
    });
    system.block_on(async {
        // With one worker the light actors share its arbiter: waking a sleeping thread costs more than they do.
        let arbiters: Vec<Option<Arbiter>> =
            (0..workers).map(|i| (i > 0).then(|| named_arbiter(format!("worker-{i}")))).collect();
        let here = Arbiter::current();
        let handles: Vec<ArbiterHandle> =
            arbiters.iter().map(|a| a.as_ref().map_or_else(|| here.clone(), Arbiter::handle)).collect();
        let reaper_arbiter = named_arbiter("reaper".into());
        let for_reaper = server.clone();
        let reaper = Reaper::start_in_arbiter(&reaper_arbiter.handle(), move |_| Reaper::new(for_reaper));
        let log = ReplicationLog::default().start();
        let shards: Vec<Addr<Shard>> = (0..workers)
            .map(|index| {
                let (server, commands) = (server.clone(), commands[usize::from(index)].clone());
                let seed = random_u64();
                Shard::start_in_arbiter(&handles[usize::from(index)], move |_| {
                    Shard::new(index, server, commands, seed)
                })
            })
            .collect();
        let set = server.shards.set(shards).is_ok()
            && server.reaper.set(reaper).is_ok()
            && server.replication_log.set(log).is_ok();
        assert!(set, "addresses are set once");
        ExpiryScanner::new(server.clone()).start();
        Evictor::new(server.clone()).start();
        tracing::info!("Server initialized");
        for _ in &bound.tcp {
            tracing::info!("Ready to accept connections tcp");
        }
        if bound.unix.is_some() {
            tracing::info!("Ready to accept connections unix");
        }
        Listener::new(server.clone(), handles, bound).start();
        server.stats.startup_memory.store(memory::used(), std::sync::atomic::Ordering::Relaxed);
        wait_for_signals(&server).await;
        drop((arbiters, reaper_arbiter));
    });
}

fn named_arbiter(name: String) -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || {
        memory::register_thread();
        name_thread(&name);
    });
    arbiter
}

fn name_thread(name: &str) {
    // The kernel keeps 15 bytes.
    let Ok(name) = std::ffi::CString::new(&name[..name.len().min(15)]) else { return };
    // SAFETY: the pointer is valid for the call; the kernel copies the name.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

async fn wait_for_signals(server: &ServerRef) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        fail("cannot watch signals");
    };
    tokio::select! {
        _ = term.recv() => tracing::warn!("Received SIGTERM scheduling shutdown..."),
        _ = int.recv() => tracing::warn!("Received SIGINT scheduling shutdown..."),
    }
    shutdown::finish(server);
}

/// Puts the command table with the configuration's renames into effect.
fn command_table(config: &Config) -> &'static Table {
    let renames: Vec<(&[u8], &[u8])> =
        config.renamed_commands.iter().map(|(old, new)| (old.as_bytes(), new.as_bytes())).collect();
    let renamed = Table::with_renames(&renames).unwrap_or_else(|error| fail(&error.to_string()));
    if skuld::commands::table::install(renamed).is_err() {
        fail("the command table was used before it was configured");
    }
    skuld::commands::table()
}
