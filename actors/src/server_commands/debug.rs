//! DEBUG: for tests and test rigs. Gated by `enable-debug-command`. What makes no sense in this server, or is not there
//! yet, says so.

use std::sync::atomic::Ordering;
use std::time::Duration;

use skuld::commands::context::CommandError;
use skuld::commands::debug_views::table_figures;
use skuld::commands::help;
use skuld::config::rewrite::Additions;
use skuld::resp::Protocol;
use skuld::resp::decode::parse_integer;

use super::config::is_allowed;
use super::{Outcome, Request, config, debug_keys, tell_all_shards};
use crate::batch::Batch;
use crate::shard::Controlled;
use crate::{clock, shutdown, start};

pub const NOT_ALLOWED: CommandError = CommandError::fixed(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// Names that Valkey knows and that have no meaning here, with the reason.
const MEANINGLESS: &[(&str, &str)] = &[
    ("structsize", "there are no C structures here"),
    ("protect-client", "clients are freed when nobody holds them"),
    ("force-tls-write-error", "sockets are written by the TLS library"),
];

/// Switches of what does not exist here, or cannot be otherwise: tables of fixed sizes, a reply buffer of its own for every
/// client, forked processes, a synchronous way to free clients. Test rigs set them along with others, so they are
/// accepted.
const WITHOUT_EFFECT: &[&str] =
    &["dict-resizing", "hashtable-can-abort-shrink", "client-enforce-reply-list", "force-free-primary-async"];

/// Runs DEBUG.
pub async fn run(request: &mut Request, batch: &Batch) -> Outcome {
    let config = request.server.config.load_full();
    if !is_allowed(config.enable_debug_command, &batch.session) {
        return Err(NOT_ALLOWED);
    }
    if let Some(job) = debug_keys::job_of(&request.args, batch.session.db, &config) {
        return debug_keys::run(request, job?).await;
    }
    let word = String::from_utf8_lossy(&request.args[1]).to_ascii_lowercase();
    match (word.as_str(), request.args.len()) {
        ("help", 2) => help::write(&request.args[0], "debug", &mut request.reply),
        ("log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(&request.args[2]));
            request.reply.ok();
        }
        ("error", 3) => {
            let one_line = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
            return Err(CommandError::Bytes(request.args[2].iter().map(one_line).collect()));
        }
        ("sleep", 3) => {
            let seconds = skuld::config::values::parse_fraction(&request.args[2]).unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
            // Nobody hears of this server meanwhile, neither replicas nor other nodes.
            request.server.sleep_for(time);
            if let Some(cluster) = &request.server.cluster {
                drop(cluster.with(move |_, _, _| std::thread::sleep(time)));
            }
            if request.inside.is_some() {
                // What else the transaction does comes after it.
                std::thread::sleep(time);
            } else {
                tell_all_shards(&request.server, Controlled::Sleep(time)).await;
            }
            request.reply.ok();
        }
        ("set-active-expire", 3) => {
            let on = parse_integer(&request.args[2]).unwrap_or(0) != 0;
            request.server.active_expire.store(on, Ordering::Relaxed);
            request.reply.ok();
        }
        ("pause-cron", 3) => {
            let on = parse_integer(&request.args[2]).unwrap_or(0) != 0;
            request.server.periodic_work_paused.store(on, Ordering::Relaxed);
            request.reply.ok();
        }
        ("pause-after-fork", 3) => {
            let on = parse_integer(&request.args[2]).unwrap_or(0) != 0;
            request.server.replication.pauses_after_fork.store(on, Ordering::Relaxed);
            request.reply.ok();
        }
        ("set-disable-deny-scripts", 3) => {
            let on = parse_integer(&request.args[2]).unwrap_or(0) != 0;
            request.server.scripts_may_call_all.store(on, Ordering::Relaxed);
            request.reply.ok();
        }
        ("protect-client", 3) if client_named(request).is_none() => {
            return Err(CommandError::fixed("ERR No such client"));
        }
        ("force-tls-write-error", 3) if request.server.tls.current().is_none() => {
            return Err(CommandError::fixed("ERR TLS is not enabled"));
        }
        (name, 3) if WITHOUT_EFFECT.contains(&name) => request.reply.ok(),
        ("replybuffer", 4) => {
            let time = request.is_word(2, "peak-reset-time");
            let text =
                |word: &[u8]| word.eq_ignore_ascii_case(b"never") || word.eq_ignore_ascii_case(b"reset");
            if time && !text(&request.args[3]) {
                parse_integer(&request.args[3]).ok_or(CommandError::NotInteger)?;
            } else if !time && !request.is_word(2, "resizing") {
                return Err(unknown(&word, &request.args[1]));
            }
            // There is no reply buffer of a fixed size.
            request.reply.ok();
        }
        ("loadaof", 2) => return super::persistence::load_aof(request).await,
        ("aof-flush-sleep", 3) => {
            let micros = parse_integer(&request.args[2]).unwrap_or(0).max(0) as u64;
            request.server.persistence.aof.write_delay_us.store(micros, Ordering::Relaxed);
            request.reply.ok();
        }
        ("reload", 2..) => return super::persistence::reload(request).await,
        ("set-skip-checksum-validation", 3) => {
            let on = parse_integer(&request.args[2]).unwrap_or(0) != 0;
            return change_config(request, |config| config.skip_checksums = on).await;
        }
        ("move-clock", 3) => {
            let ms = parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?;
            clock::move_by(ms);
            request.reply.ok();
        }
        ("slotmigration", 4) => {
            let migrations = &request.server.migrations;
            let on = parse_integer(&request.args[3]).unwrap_or(0) != 0;
            if request.is_word(2, "prevent-pause") {
                migrations.prevent_pause.store(on, Ordering::Relaxed);
            } else if request.is_word(2, "prevent-failover") {
                migrations.prevent_failover.store(on, Ordering::Relaxed);
            } else {
                return Err(CommandError::Syntax);
            }
            request.reply.ok();
        }
        ("replicate", 3..) => {
            let words = request.args[2..].to_vec();
            crate::envelope::tell(request.server.replication_log(), crate::replication_log::Inject { words });
            request.reply.ok();
        }
        ("delay-rdb-client-free-seconds" | "delay-rdb-client-free-second", 3) => {
            let seconds = parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?;
            request.server.replication.rdb_client_grace_s.store(seconds, Ordering::Relaxed);
            request.reply.ok();
        }
        ("protocol", 3) => return protocol(request),
        ("leak", 3) => {
            std::mem::forget(request.args[2].clone());
            request.reply.ok();
        }
        ("stringmatch-test", 2) => {
            fuzz_glob();
            request.reply.simple("Apparently the server did not crash: test passed");
        }
        ("client-eviction", 2) => return client_sizes(request),
        ("change-repl-id", 2) => {
            tracing::info!("Changing replication IDs after receiving change-repl-id");
            crate::envelope::tell(request.server.replication_log(), crate::replication_log::RenameHistory);
            request.reply.ok();
        }
        ("config-rewrite-force-all", 2) => {
            return config::rewrite_file(request, Additions::All).map_err(|error| {
                let text = error.to_string();
                let reason = text.strip_prefix("ERR ").unwrap_or(&text);
                CommandError::text(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {reason}"))
            });
        }
        ("segfault", 2) => {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV);
        }
        ("panic", 2) => panic!("Guru Meditation: asked for by DEBUG PANIC"),
        ("assert", 2) => panic!("assertion failed, as asked for by DEBUG ASSERT"),
        ("oom", 2) => panic!("Out Of Memory allocating {} bytes, as asked for by DEBUG OOM", usize::MAX / 2),
        ("restart" | "crash-and-recover", 2 | 3) => return restart(request, word == "restart").await,
        ("quicklist-packed-threshold", 3) => return packed_threshold(request).await,
        ("htstats", 3 | 4) => return table_stats(request).await,
        ("clusterlink", 5) => return super::debug_cluster::kill_link(request).await,
        (
            "drop-cluster-packet-filter"
            | "close-cluster-link-on-packet-drop"
            | "disable-cluster-random-ping"
            | "disable-cluster-reconnection",
            3,
        ) => return super::debug_cluster::set_hook(request, &word).await,
        _ => return Err(unknown(&word, &request.args[1])),
    }
    Ok(())
}

/// The client whose identity is the argument.
fn client_named(request: &Request) -> Option<std::sync::Arc<crate::clients::ClientShared>> {
    let id = u64::try_from(parse_integer(&request.args[2])?).ok()?;
    request.server.clients.get(id)
}

fn unknown(word: &str, as_written: &[u8]) -> CommandError {
    if let Some((_, reason)) = MEANINGLESS.iter().find(|(name, _)| *name == word) {
        let name = word.to_ascii_uppercase();
        return CommandError::text(format!("ERR DEBUG {name} has no meaning in this server: {reason}"));
    }
    let cut = &as_written[..as_written.len().min(128)];
    let head = b"ERR unknown subcommand or wrong number of arguments for '".as_slice();
    CommandError::Bytes([head, cut, b"'. Try DEBUG HELP."].concat())
}

/// A value of each type of the protocol.
fn protocol(request: &mut Request) -> Outcome {
    let kind = request.args[2].to_ascii_lowercase();
    let reply = &mut request.reply;
    match kind.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double_text(b"3.141"),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.integer(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.integer(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if reply.protocol() != Protocol::Resp3 {
                return Err(CommandError::fixed("ERR RESP2 is not supported by this command"));
            }
            // A push goes out behind the reply of the command that caused it.
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(CommandError::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

/// From how many bytes on a list element gets a node of its own; 0 restores the rule.
async fn packed_threshold(request: &mut Request) -> Outcome {
    /// Slightly below 4 GiB, bytes: what Valkey can store in one node.
    const MAX: u64 = (4 << 30) - (1 << 20);
    let bytes = skuld::config::values::parse_memory(&request.args[2]).filter(|bytes| *bytes <= MAX).ok_or(
        CommandError::fixed("ERR argument must be a memory value bigger than 1 and smaller than 4gb"),
    )?;
    change_config(request, |config| config.quicklist_packed_threshold = bytes as usize).await
}

/// Sets what no directive sets.
async fn change_config(request: &mut Request, change: impl FnOnce(&mut skuld::config::Config)) -> Outcome {
    let server = request.server.clone();
    let _turn = server.config_change.lock().await;
    let mut config = skuld::config::Config::clone(&server.config.load());
    change(&mut config);
    server.config.store(std::sync::Arc::new(config));
    request.reply.ok();
    Ok(())
}

/// What the tables of a database hold, over all slots, in the form that tools read.
async fn table_stats(request: &mut Request) -> Outcome {
    let db = parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?;
    let databases = request.server.config.load().database_count();
    let Some(db) = u32::try_from(db).ok().filter(|db| *db < databases) else {
        return Err(CommandError::fixed("ERR Out of range database"));
    };
    let (mut keys, mut expires) = (0, 0);
    for shard in request.describe_shards().await {
        let figures = shard.databases.get(db as usize).copied().unwrap_or_default();
        keys += figures.keys;
        expires += figures.expires;
    }
    let full = request.args.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"full"));
    let (keys, expires) = (table_figures(keys, full), table_figures(expires, full));
    request.reply.verbatim("txt", format!("[Dictionary HT]\n{keys}[Expires HT]\n{expires}").as_bytes());
    Ok(())
}

/// How many clients take how much memory, in buckets that double.
fn client_sizes(request: &mut Request) -> Outcome {
    /// Exponents of the first and the last limit.
    const FIRST: u32 = 15;
    const LAST: u32 = 33;
    if request.server.config.load().maxmemory_clients == 0 {
        return Err(CommandError::fixed("ERR maxmemory-clients is disabled."));
    }
    let sizes: Vec<u64> = request.server.clients.all().iter().map(|c| c.memory_bytes()).collect();
    let mut text = String::new();
    for exponent in FIRST..=LAST {
        let low = if exponent == FIRST { 0 } else { 1u64 << (exponent - 1) };
        let high = if exponent == LAST { u64::MAX } else { (1u64 << exponent) - 1 };
        let here: Vec<u64> = sizes.iter().copied().filter(|size| (low..=high).contains(size)).collect();
        let end = if exponent == LAST { "+            :".to_owned() } else { format!(" - {high:10}:") };
        let sum: u64 = here.iter().sum();
        text += &format!("bucket {low:10}{end} tot-mem: {sum:10}, clients: {}\n", here.len());
    }
    request.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Matches random patterns against random texts; what matters is that it ends.
fn fuzz_glob() {
    const ROUNDS: usize = 50_000;
    let mut rng = skuld::rng::Rng::new(crate::clock::tick().0);
    let mut draw = |bound: u64| rng.next_u64() % bound;
    for _ in 0..ROUNDS {
        let alphabet = b"ab*?[]^-\\\0\xff";
        let mut text = |len_max: u64| -> Vec<u8> {
            (0..draw(len_max)).map(|_| alphabet[draw(alphabet.len() as u64) as usize]).collect()
        };
        let (pattern, subject) = (text(32), text(64));
        std::hint::black_box(skuld::glob::matches(&pattern, &subject));
    }
}

/// Starts the program again in this process, after a pause.
async fn restart(request: &mut Request, graceful: bool) -> Outcome {
    use std::os::unix::process::CommandExt;
    const FAILED: CommandError = CommandError::fixed("ERR failed to restart the server. Check server logs.");
    let delay = match request.args.get(2) {
        None => 0,
        Some(word) => parse_integer(word).ok_or(CommandError::NotInteger)?.max(0),
    };
    let (program, arguments) = start::command_line();
    let mut command = std::process::Command::new(&request.server.executable);
    // Connections and ports end with this program, so the wait is the next one's.
    command.arg0(program).args(arguments).env(start::WAIT_VARIABLE, delay.to_string());
    if graceful {
        if request.server.config_file.is_some() {
            config::rewrite_file(request, Additions::Changed)?;
        }
        let next = || request.server.restart.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *next() = Some(command);
        shutdown::finish(&request.server, shutdown::Saving::AsConfigured, false).await;
        *next() = None;
        return Err(FAILED);
    }
    // Returns only if it fails.
    tracing::warn!("Restarting failed: {}", command.exec());
    Err(FAILED)
}
