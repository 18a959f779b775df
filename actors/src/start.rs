//! From the command line to a server that accepts connections.

use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use skuld::commands::Table;
use skuld::config::{Config, Strictness, format_fatal};
use skuld::version::VERSION;
use tracing_subscriber::layer::SubscriberExt;

use crate::append_only::AppendOnlyFile;
use crate::configure::{self, Configured, Failure, os_text};
use crate::evictor::Evictor;
use crate::expiry_scanner::ExpiryScanner;
use crate::gossip::Gossip;
use crate::healthcheck::Question;
use crate::janitor::Janitor;
use crate::listener::{self, Bound, Listener};
use crate::log::{self, LogLines};
use crate::process::{self, Supervisor};
use crate::reaper::Reaper;
use crate::replication::link::ReplicaLink;
use crate::replication_log::ReplicationLog;
use crate::scheduling::{Role, take_turns_as};
use crate::server::{Server, ServerRef};
use crate::shard::Shard;
use crate::snapshotter::Snapshotter;
use crate::{
    admin, banner, check, crash, healthcheck, import_mode, memory, persistence, proc_title, shutdown, slow,
    telemetry, tls,
};

static COMMAND_LINE: OnceLock<(String, Vec<Vec<u8>>)> = OnceLock::new();

/// The program's name and its arguments, for starting it again.
pub fn command_line() -> (String, Vec<std::ffi::OsString>) {
    let (program, arguments) = COMMAND_LINE.get().cloned().unwrap_or_default();
    (program, arguments.into_iter().map(OsStringExt::from_vec).collect())
}

/// How many milliseconds DEBUG RESTART has the next program wait before it begins.
pub const WAIT_VARIABLE: &str = "SKULD_RESTART_WAIT_MS";

/// Runs the server; returns only by ending the process.
pub fn main() {
    memory::register_thread();
    if let Some(ms) = std::env::var(WAIT_VARIABLE).ok().and_then(|ms| ms.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_millis(ms));
    }
    let mut arguments = std::env::args_os().map(OsStringExt::into_vec);
    let program = arguments.next().unwrap_or_else(|| b"skuld-server".to_vec());
    let program = String::from_utf8_lossy(&program).into_owned();
    let mut arguments: Vec<Vec<u8>> = arguments.collect();
    if arguments.first().is_some_and(|first| is_own_name(first)) {
        arguments.remove(0);
    }
    // Set once.
    let _ = COMMAND_LINE.set((program.clone(), arguments.clone()));
    proc_title::prepare(&program);
    act_by_name(&program);
    arguments.extend(extra_arguments());
    let asked = flags(&program, &arguments);
    // Nobody set a subscriber before.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LogLines));
    let configured = match configure::configure(&asked.rest, asked.strictness) {
        Ok(configured) => configured,
        Err(Failure::Unreadable(text)) => {
            tracing::warn!("{text}");
            std::process::exit(1);
        }
        Err(Failure::Problems(problems)) => {
            eprint!("{}", format_fatal(&problems));
            std::process::exit(1);
        }
    };
    match asked.instead {
        Some(Instead::CheckConfig) => check_config(&configured),
        Some(Instead::Healthcheck(question)) => match healthcheck::check(&configured.config, question) {
            Ok(()) => std::process::exit(0),
            Err(reason) => fail(&format!("unhealthy: {reason}")),
        },
        None => serve(configured),
    }
}

fn fail(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(1);
}

/// What VALKEY_EXTRA_FLAGS adds to the command line. Images of Valkey have a script that does so; ours has no shell.
fn extra_arguments() -> Vec<Vec<u8>> {
    let flags = std::env::var_os("VALKEY_EXTRA_FLAGS").unwrap_or_default().into_vec();
    flags.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Whether the first argument is the server's name instead of a configuration file: an image's entrypoint is the
/// program itself, and users of other images write `valkey-server ...` behind the image's name.
fn is_own_name(argument: &[u8]) -> bool {
    let name = argument.rsplit(|&b| b == b'/').next().unwrap_or(argument);
    matches!(name, b"valkey-server" | b"redis-server" | b"skuld-server")
}

/// The binary is several tools, told apart by the name it is called by.
fn act_by_name(program: &str) {
    let name = program.rsplit('/').next().unwrap_or(program);
    if name.contains("sentinel") {
        refuse_sentinel();
    }
    let arguments = || std::env::args().skip(1).collect::<Vec<_>>();
    if name.contains("check-rdb") {
        std::process::exit(check::rdb(program, &arguments()));
    }
    if name.contains("check-aof") {
        std::process::exit(check::aof(program, &arguments()));
    }
}

fn refuse_sentinel() -> ! {
    fail("Sentinel mode is not supported by Skuld. Use the sentinel of Valkey to watch this server.")
}

/// What the process does instead of serving.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    CheckConfig,
    Healthcheck(Question),
}

/// What the arguments ask for beside configuration.
struct Flags {
    instead: Option<Instead>,
    strictness: Strictness,
    /// The arguments that are configuration.
    rest: Vec<Vec<u8>>,
}

fn flags(program: &str, arguments: &[Vec<u8>]) -> Flags {
    match arguments.first().map(Vec::as_slice) {
        Some(b"-v" | b"--version") => {
            println!("Skuld server v={VERSION} skuld={} malloc=jemalloc bits=64", env!("CARGO_PKG_VERSION"));
            std::process::exit(0);
        }
        Some(b"-h" | b"--help") => {
            print!("{}", usage(program));
            std::process::exit(0);
        }
        Some(b"--test-memory") => fail("--test-memory is not supported; use memtest86 or memtester."),
        Some(b"--check-system") => fail("--check-system is not supported."),
        Some(flag @ (b"--check-rdb" | b"--check-aof")) => {
            let rest: Vec<String> =
                arguments[1..].iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
            let program = format!("{program} {}", String::from_utf8_lossy(flag));
            let check = if flag == b"--check-rdb" { check::rdb } else { check::aof };
            std::process::exit(check(&program, &rest));
        }
        _ => {}
    }
    let mut flags = Flags { instead: None, strictness: Strictness::Strict, rest: Vec::new() };
    for argument in arguments {
        match argument.as_slice() {
            b"--check-config" => flags.instead = Some(Instead::CheckConfig),
            b"--healthcheck" | b"--healthcheck=alive" => {
                flags.instead = Some(Instead::Healthcheck(Question::Alive));
            }
            b"--healthcheck=ready" => flags.instead = Some(Instead::Healthcheck(Question::Ready)),
            b"--lenient-config" => flags.strictness = Strictness::Lenient,
            b"--sentinel" => refuse_sentinel(),
            _ => flags.rest.push(argument.clone()),
        }
    }
    flags
}

fn usage(program: &str) -> String {
    format!(
        "Usage: {program} [/path/to/valkey.conf] [--directive value ...] [-]\n\
         \n\
         The last `-` reads more configuration from standard input. Variables SKULD_CONF_<DIRECTIVE> and\n\
         SKULD_CONF_<DIRECTIVE>_FILE (the path of a file that holds the value) override the file; options\n\
         override both.\n\
         \n\
         Instead of serving:\n\
         \x20 -v, --version     print the version\n\
         \x20 -h, --help        print this\n\
         \x20 --check-config    check the configuration, list all problems, exit 1 if there are any\n\
         \x20 --check-rdb FILE  tell what is in an RDB file and whether it is sound\n\
         \x20 --check-aof [--fix] FILE  the same for an append-only file or its manifest, cutting off a broken end\n\
         \x20 --healthcheck     ask the server that this configuration describes; exit 0 if it answers\n\
         \x20 --healthcheck=ready  exit 0 only if it also has its data and, in a cluster, the cluster is ok\n\
         With serving:\n\
         \x20 --lenient-config  start although the configuration has unknown directives\n\
         \n\
         Examples:\n\
         \x20 {program}\n\
         \x20 {program} /etc/valkey/valkey.conf --port 7777\n\
         \x20 echo 'maxmemory 128mb' | {program} -\n"
    )
}

/// Problems that only the world outside the configuration can tell, each with the line it came from.
fn problems_of(configured: &Configured) -> Vec<skuld::config::ConfigProblem> {
    let (config, lines) = (&configured.config, &configured.lines);
    let mut problems = Vec::new();
    // It need not be readable, nor writable unless something is saved there.
    let dir = std::path::PathBuf::from(&*config.dir.to_str()).join(".");
    if let Err(e) = nix::unistd::access(&dir, nix::unistd::AccessFlags::X_OK).map_err(std::io::Error::from) {
        problems.push(lines.problem("dir", None, &os_text(&e)));
    }
    let renames = renames(config);
    let bad = (1..=renames.len()).find_map(|n| Some((n - 1, Table::with_renames(&renames[..n]).err()?)));
    if let Some((at, error)) = bad {
        problems.push(lines.problem("rename-command", Some(renames[at].0), &error.to_string()));
    }
    for (name, list) in [("server-cpulist", &config.server_cpulist), ("bio-cpulist", &config.bio_cpulist)] {
        if !list.is_empty() && process::parse_cpulist(&list.to_str()).is_none() {
            problems.push(lines.problem(name, None, "invalid cpu list"));
        }
    }
    let group = config.unixsocketgroup.to_str();
    if !group.is_empty() && listener::group_id(&group).is_none() {
        problems.push(lines.problem("unixsocketgroup", None, "no such group on this machine"));
    }
    problems
}

fn check_config(configured: &Configured) -> ! {
    let problems = problems_of(configured);
    if !problems.is_empty() {
        eprint!("{}", format_fatal(&problems));
        std::process::exit(1);
    }
    for warning in &configured.warnings {
        println!("warning: {warning}");
    }
    println!("The configuration is valid.");
    std::process::exit(0);
}

/// Becomes the server, step by step in the order whose log lines tools wait for.
fn serve(configured: Configured) {
    let problems = problems_of(&configured);
    if !problems.is_empty() {
        eprint!("{}", format_fatal(&problems));
        std::process::exit(1);
    }
    let Configured { mut config, warnings, file, .. } = configured;
    log::apply(&config);
    // The log file's name is relative to `dir`, like those of all files.
    if let Err(e) = std::env::set_current_dir(&*config.dir.to_str()) {
        fail(&format!("Can't chdir to '{}': {}", config.dir, os_text(&e)));
    }
    configure::name_directory(&mut config);
    if let Err(e) = log::open(&config) {
        eprintln!("\n*** FATAL CONFIG FILE ERROR (Version {VERSION}) ***");
        fail(&format!("Can't open the log file: {}", os_text(&e)));
    }
    let supervisor = process::supervisor(&config);
    if config.daemonize && supervisor == Supervisor::None {
        process::daemonize();
    }
    crash::apply(&config);
    slow::watch(config.watchdog_period);
    crash::install();
    ignore_signals();
    warn_about_the_machine();
    tracing::info!("oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo");
    tracing::info!(
        "Valkey version={VERSION}, bits=64, commit=00000000, modified=0, pid={}, just started, skuld={}",
        std::process::id(),
        env!("CARGO_PKG_VERSION")
    );
    for warning in &warnings {
        tracing::warn!("Configuration: {warning}");
    }
    let has_no_configuration = file.is_none() && config.sources == skuld::config::Sources::default();
    if has_no_configuration {
        tracing::warn!(
            "Warning: no config file specified, using the default config. In order to specify a config file use \
             skuld-server /path/to/valkey.conf"
        );
    } else {
        tracing::info!("Configuration loaded");
    }
    if let Err(text) = process::adjust_open_files(&mut config) {
        tracing::warn!("{text}");
        std::process::exit(1);
    }
    if config.maxmemory_auto {
        config.maxmemory = configure::auto_maxmemory();
        tracing::info!("maxmemory auto: {} bytes", config.maxmemory);
    }
    if supervisor == Supervisor::Upstart {
        process::tell_upstart();
    }
    if config.daemonize || !config.pidfile.is_empty() {
        process::write_pidfile(&config);
    }
    memory::run_background_threads(config.jemalloc_bg_thread);
    if config.maxmemory > 0 && config.maxmemory < 1 << 20 {
        tracing::warn!(
            "WARNING: You specified a maxmemory value that is less than 1MB (current value is {} bytes). Are you sure \
             this is what you really want?",
            config.maxmemory
        );
    }
    proc_title::set_config_file(file.as_deref().unwrap_or_default());
    proc_title::apply(&config);
    if config.disable_thp {
        process::disable_huge_pages();
    }
    // A refusal is logged; the server runs all the same, as Valkey does.
    let _ = process::apply_oom_score(&config, config.replicaof.is_some());
    tracing::info!("monotonic clock: {}", crate::clock::DESCRIPTION);
    banner::show(&config);
    let bound = bind_or_exit(&config);
    let admin_sockets = admin::bind(&config).unwrap_or_else(|text| {
        tracing::warn!("{text}");
        std::process::exit(1)
    });
    let workers = workers_of(&config);
    process::bind_to_cpus(&config.server_cpulist.to_str());
    run(config, file, workers, bound, admin_sockets, supervisor);
}

fn bind_or_exit(config: &Config) -> Bound {
    let bound = match listener::bind(config) {
        Ok(bound) => bound,
        Err(text) => {
            tracing::warn!("{text}");
            std::process::exit(1);
        }
    };
    if bound.tcp.is_empty() && bound.tls.is_empty() && bound.unix.is_none() {
        tracing::warn!("Configured to not listen anywhere, exiting.");
        std::process::exit(1);
    }
    bound
}

/// A terminal that closes and a peer that is gone do not end the server.
fn ignore_signals() {
    // SAFETY: ignoring a signal has no preconditions.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        // A file that may not grow is an error to report, not the end.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Settings of the machine that hurt every such server.
fn warn_about_the_machine() {
    let backlog = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    if let Some(allowed) = backlog.ok().and_then(|t| t.trim().parse::<u32>().ok())
        && allowed < 511
    {
        tracing::warn!(
            "WARNING: The TCP backlog setting of 511 cannot be enforced because /proc/sys/net/core/somaxconn is set \
             to the lower value of {allowed}."
        );
    }
}

/// Usable processors: one worker on one or two, so that the other is left to the system and the client.
fn workers_of(config: &Config) -> u16 {
    let usable = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = config.requested_workers().map_or(if usable <= 2 { 1 } else { usable }, |n| n as usize);
    workers.clamp(1, 256) as u16
}

/// Sends trace records to an OpenTelemetry collector, if the environment names one.
fn export_traces() {
    #[cfg(feature = "otlp")]
    crate::otlp::start_from_environment();
    #[cfg(not(feature = "otlp"))]
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty()) {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT has no effect: this server was built without the cargo feature 'otlp'"
        );
    }
}

/// Random bytes in hexadecimal digits.
pub fn random_hex(bytes: usize) -> String {
    let mut random = vec![0u8; bytes];
    fill_random(&mut random);
    random.iter().map(|b| format!("{b:02x}")).collect()
}

fn fill_random(bytes: &mut [u8]) {
    // The system call and not the device: an empty root directory has none. Up to 256 bytes come whole.
    debug_assert!(bytes.len() <= 256);
    // SAFETY: the pointer and the length are those of `bytes`.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(read) != Ok(bytes.len()) {
        fail("the system gives no random numbers");
    }
}

pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// The seed of all hash tables: that of `hash-seed`, so that runs can be compared, or a random one.
fn hash_seed(config: &Config) -> u64 {
    let text = config.hash_seed.as_bytes();
    if text.is_empty() {
        return random_u64();
    }
    // FNV-1a: any fixed function of the text will do.
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// Puts the command table with the configured names into effect.
fn install_commands(config: &Config) -> &'static Table {
    let renamed = Table::with_renames(&renames(config)).unwrap_or_else(|error| fail(&error.to_string()));
    if skuld::commands::table::install(renamed).is_err() {
        fail("the command table was used before it was configured");
    }
    skuld::commands::table()
}

fn renames(config: &Config) -> Vec<(&[u8], &[u8])> {
    config.renamed_commands.iter().map(|(old, new)| (old.as_bytes(), new.as_bytes())).collect()
}

fn run(
    config: Config,
    file: Option<String>,
    workers: u16,
    bound: Bound,
    admin_sockets: Vec<std::net::TcpListener>,
    supervisor: Supervisor,
) {
    skuld::hash::set_seed(hash_seed(&config));
    let table = install_commands(&config);
    let system = System::new();
    let bio_cpulist = config.bio_cpulist.to_str().into_owned();
    let cluster = config.cluster_enabled.then(|| {
        crate::gossip::prepare(&config, random_u64()).unwrap_or_else(|text| {
            tracing::warn!("{text}");
            std::process::exit(1);
        })
    });
    let mut server = Server::new(config, file, workers, table);
    let node = cluster.map(|(prepared, shared)| {
        let shared = Arc::new(shared);
        server.cluster = Some(shared.clone());
        (prepared, shared)
    });
    let server: ServerRef = Arc::new(server);
    crash::set_server(&server);
    if tls::is_wanted(&server.config.load())
        && let Err(reason) = server.tls.load(&server.config.load())
    {
        tracing::warn!("{reason}");
        tracing::warn!("Failed to configure TLS. Check logs for more info.");
        std::process::exit(1);
    }
    if let Err(line) = server.access.load(&server.config.load()) {
        tracing::warn!("{line}");
        std::process::exit(1);
    }
    system.block_on(async {
        telemetry::name_thread("worker-0");
        take_turns_as(Role::Serving);
        // With one worker the light actors share its arbiter: waking a sleeping thread costs more than they do.
        let arbiters: Vec<Option<Arbiter>> = (0..workers)
            .map(|i| (i > 0).then(|| named_arbiter(format!("worker-{i}"), String::new(), Role::Serving)))
            .collect();
        let here = Arbiter::current();
        let handles: Vec<ArbiterHandle> =
            arbiters.iter().map(|a| a.as_ref().map_or_else(|| here.clone(), Arbiter::handle)).collect();
        let reaper_arbiter = named_arbiter("reaper".into(), bio_cpulist, Role::Background);
        let tls_arbiter = named_arbiter("tls".into(), String::new(), Role::Serving);
        assert!(server.tls.thread.set(tls_arbiter.handle()).is_ok(), "set once");
        let for_reaper = server.clone();
        let reaper = Reaper::start_in_arbiter(&reaper_arbiter.handle(), move |_| Reaper::new(for_reaper));
        let log = ReplicationLog::new(server.clone()).start();
        let shards: Vec<Addr<Shard>> = (0..workers)
            .map(|index| {
                let shard_server = server.clone();
                let seed = random_u64();
                let commands = server.stats.commands_of(index);
                Shard::start_in_arbiter(&handles[usize::from(index)], move |_| {
                    Shard::new(index, shard_server, commands, seed)
                })
            })
            .collect();
        let set = server.shards.set(shards).is_ok()
            && server.reaper.set(reaper).is_ok()
            && server.replication_log.set(log).is_ok()
            && server.append_only.set(AppendOnlyFile::new(server.clone()).start()).is_ok()
            && server.snapshotter.set(Snapshotter::new(server.clone()).start()).is_ok()
            && server.replica_link.set(ReplicaLink::new(server.clone()).start()).is_ok();
        assert!(set, "addresses are set once");
        let set = server.expiry_scanner.set(ExpiryScanner::new(server.clone()).start()).is_ok()
            && server.evictor.set(Evictor::new(server.clone()).start()).is_ok();
        assert!(set, "addresses are set once");
        if server.config.load().import_mode {
            import_mode::announce(&server, true);
        }
        Janitor::new(server.clone()).start();
        // The bus must go on whatever the workers do: it has a thread of its own.
        let _gossip_arbiter = node.map(|(prepared, shared)| {
            let arbiter = named_arbiter("gossip".into(), String::new(), Role::Serving);
            let for_gossip = server.clone();
            let for_actor = shared.clone();
            let gossip = Gossip::start_in_arbiter(&arbiter.handle(), move |_| {
                Gossip::new(for_gossip, for_actor, prepared)
            });
            shared.set_gossip(gossip);
            arbiter
        });
        actix_rt::spawn(crate::migration::cluster::watch(server.clone()));
        tracing::info!("Server initialized");
        admin::start(&server, admin_sockets);
        export_traces();
        server.stats.startup_memory.store(memory::used(), Ordering::Relaxed);
        let ready = Ready::of(&bound);
        // Clients are answered while data is loaded; most commands are refused until it is there.
        server.persistence.begin_loading(0);
        let listener = Listener::new(server.clone(), handles, bound).start();
        assert!(server.listener.set(listener).is_ok(), "addresses are set once");
        let for_load = server.clone();
        actix::spawn(async move {
            let have = persistence::start::load_at_start(&for_load).await;
            crate::migration::restore::data_loaded(&for_load);
            if let Some(cluster) = &for_load.cluster {
                crate::gossip::match_slots_with_keys(&for_load, cluster).await;
                cluster.data_loaded();
            }
            crate::replication::role::follow_at_start(&for_load, have);
            ready.say();
            if supervisor == Supervisor::Systemd {
                process::notify_systemd("STATUS=Ready to accept connections\nREADY=1\n");
            }
        });
        shutdown::wait_for_signals(&server).await;
        drop((arbiters, reaper_arbiter, tls_arbiter));
    });
}

/// The kinds of listeners there are.
struct Ready {
    tcp: bool,
    unix: bool,
    tls: bool,
}

impl Ready {
    fn of(bound: &Bound) -> Self {
        Self { tcp: !bound.tcp.is_empty(), unix: bound.unix.is_some(), tls: !bound.tls.is_empty() }
    }

    /// One line per kind of listener, however many addresses it has.
    fn say(&self) {
        if self.tcp {
            tracing::info!("Ready to accept connections tcp");
        }
        if self.unix {
            tracing::info!("Ready to accept connections unix");
        }
        if self.tls {
            tracing::info!("Ready to accept connections tls");
        }
    }
}

fn named_arbiter(name: String, cpulist: String, role: Role) -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || {
        memory::register_thread();
        crash::give_thread_a_report_stack();
        process::name_thread(&name);
        telemetry::name_thread(&name);
        process::bind_to_cpus(&cpulist);
        take_turns_as(role);
    });
    arbiter
}
