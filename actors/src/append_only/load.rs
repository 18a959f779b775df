//! Loading an append-only file: its base, then its commands, which run as batches without a client.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::prelude::*;
use skuld::aof::manifest::{Kind, Manifest};
use skuld::aof::scan::{Frame, frame};
use skuld::resp::decode::{Request, Span};
use skuld::session::Origin;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::files::Directory;
use crate::batch::{Batch, Stop};
use crate::configure::os_text;
use crate::connection::BatchExecuted;
use crate::envelope::{Traced, tell};
use crate::persistence::loader::{self, Install, LoadRules};
use crate::persistence::start::{explain, say_loaded};
use crate::server::ServerRef;
use crate::server_commands::{self, Ran};
use crate::shard::ExecuteBatch;

/// The data set cannot be loaded; the log says why.
#[derive(Debug)]
pub struct Refused;

/// Commands that run as one batch.
const COMMANDS_PER_BATCH: usize = 1000;
const READ_BYTES: usize = 1 << 20;

/// Receives batches that have run.
struct Feeder {
    executed: UnboundedSender<BatchExecuted>,
}

impl Actor for Feeder {
    type Context = Context<Self>;
}

impl Handler<Traced<BatchExecuted>> for Feeder {
    type Result = ();

    fn handle(&mut self, traced: Traced<BatchExecuted>, _: &mut Context<Self>) {
        // Whoever loads has gone only if the process is ending.
        let _ = self.executed.send(traced.message);
    }
}

/// Runs commands one batch after the other.
struct Stream {
    server: ServerRef,
    batch: Option<Box<Batch>>,
    executed: UnboundedReceiver<BatchExecuted>,
    _feeder: Addr<Feeder>,
}

impl Stream {
    fn new(server: &ServerRef) -> Self {
        let (sender, executed) = unbounded_channel();
        let feeder = Feeder { executed: sender }.start();
        let batch = Batch::of_stream(server, Origin::Aof, feeder.clone().recipient());
        Self { server: server.clone(), batch: Some(Box::new(batch)), executed, _feeder: feeder }
    }

    fn batch(&mut self) -> &mut Batch {
        self.batch.as_mut().expect("it is here between two runs")
    }

    /// Whether a transaction was begun and not ended.
    fn is_queueing(&mut self) -> bool {
        self.batch().transaction.is_queueing()
    }

    /// Runs what is in the batch.
    async fn run(&mut self) {
        if self.batch().requests.is_empty() {
            return;
        }
        let Some(mut batch) = self.batch.take() else { return };
        batch.next = 0;
        tell(self.server.shard(0), ExecuteBatch(batch));
        loop {
            let Some(BatchExecuted { batch, stop }) = self.executed.recv().await else { return };
            let mut batch = batch;
            match stop {
                Stop::NeedsServer => {
                    let mut batch = match server_commands::run(self.server.clone(), batch) {
                        Ran::Now(batch) => batch,
                        Ran::Later(future) => future.await,
                    };
                    batch.next += 1;
                    tell(self.server.shard(0), ExecuteBatch(batch));
                }
                Stop::Turn => tell(self.server.shard(0), ExecuteBatch(batch)),
                _ => {
                    batch.requests.clear();
                    batch.input.clear();
                    batch.output.clear();
                    batch.finished.clear();
                    self.batch = Some(batch);
                    return;
                }
            }
        }
    }
}

/// Loads all parts. The keyspace is empty before.
pub async fn load(server: &ServerRef, directory: &Directory, manifest: &Manifest) -> Result<(), Refused> {
    let started = Instant::now();
    // Before anything is loaded: what the manifest names must be there.
    for part in manifest.to_load() {
        if let Err(e) = std::fs::metadata(directory.file(&part.name)) {
            tracing::warn!("Unable to obtain the AOF file {} length. stat: {}", part.name, os_text(&e));
            return Err(Refused);
        }
    }
    server.persistence.begin_loading(directory.bytes(manifest));
    let last = manifest.to_load().last().map(|part| part.name.clone());
    let mut stream = Stream::new(server);
    for part in manifest.to_load() {
        let at = Instant::now();
        let path = directory.file(&part.name);
        let file = File::open(&path).map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                tracing::warn!("The append log file {} doesn't exist: {}", part.name, os_text(&e));
            } else {
                tracing::warn!(
                    "Fatal error: can't open the append log file {} for reading: {}",
                    part.name,
                    os_text(&e)
                );
            }
            Refused
        })?;
        let is_last = last.as_ref() == Some(&part.name);
        let is_empty = file.metadata().is_ok_and(|facts| facts.len() == 0);
        load_part(server, &mut stream, file, &part.name, directory, is_last, part.kind).await?;
        if is_empty {
            continue;
        }
        let kind = if part.kind == Kind::Base { "base" } else { "incr" };
        tracing::info!("DB loaded from {kind} file {}: {:.3} seconds", part.name, at.elapsed().as_secs_f64());
    }
    server.dirty.store(0, Ordering::Relaxed);
    if !manifest.is_empty() {
        tracing::info!("DB loaded from append only file: {:.3} seconds", started.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn load_part(
    server: &ServerRef,
    stream: &mut Stream,
    mut file: File,
    name: &str,
    directory: &Directory,
    is_last: bool,
    kind: Kind,
) -> Result<(), Refused> {
    let mut magic = [0; 6];
    let is_rdb = file.read_exact(&mut magic).is_ok() && (magic.starts_with(b"REDIS") || &magic == b"VALKEY");
    file.seek(SeekFrom::Start(0)).map_err(|e| {
        tracing::warn!("Unrecoverable error reading the append only file {name}: {}", os_text(&e));
        Refused
    })?;
    let (mut rest, mut offset) = (Vec::new(), 0);
    if is_rdb {
        let old_style = kind != Kind::Base || !name.ends_with(".rdb");
        tracing::info!(
            "{}",
            if old_style {
                "Reading RDB preamble from AOF file..."
            } else {
                "Reading RDB base file on AOF loading..."
            }
        );
        let ids_after = loader::reserve_ids(server).await;
        let rules = LoadRules {
            drop_expired_before: None,
            show_progress: true,
            skip_checksum: false,
            ids_after,
            remember_dropped: false,
        };
        let (result, returned) = loader::load_in_thread(server, file, rules, Arc::default()).await;
        file = returned;
        let mut loaded = result.map_err(|error| {
            explain(&error, name);
            tracing::warn!("Error reading the RDB base file {name}, AOF loading aborted");
            Refused
        })?;
        say_loaded(&loaded);
        rest = std::mem::take(&mut loaded.rest);
        offset = loaded.length;
        if let Err(reason) = loader::install(server, loaded, Install::Replace).await {
            tracing::warn!("Error loading {name}: {reason}");
            return Err(Refused);
        }
        if old_style {
            tracing::info!("Reading the remaining AOF tail...");
        }
    }
    run_commands(server, stream, file, name, directory, is_last, rest, offset).await
}

/// Runs the commands of a file from where `file` stands; `buffer` was read before and begins at `offset`.
#[allow(clippy::too_many_arguments)]
async fn run_commands(
    server: &ServerRef,
    stream: &mut Stream,
    mut file: File,
    name: &str,
    directory: &Directory,
    is_last: bool,
    mut buffer: Vec<u8>,
    mut offset: u64,
) -> Result<(), Refused> {
    // Behind the last command that is whole and in no open transaction.
    let mut valid = offset;
    let mut in_transaction = false;
    let mut at_end = false;
    let mut wanted = 1;
    loop {
        let mut at = 0;
        while at < buffer.len() && (at_end || buffer.len() - at >= wanted) {
            match frame(&buffer[at..]) {
                Frame::Annotation { length } => at += length,
                Frame::Command { length, words } => {
                    let word = &buffer[at + words[0].start..at + words[0].end];
                    let args: Vec<&[u8]> = words.iter().map(|w| &buffer[at + w.start..at + w.end]).collect();
                    if let Err(unresolved) = server.table.resolve(&args) {
                        let line = unresolved.line(&args);
                        let line = String::from_utf8_lossy(&line);
                        tracing::warn!(
                            "Error reading the append only file {name}, error: {}",
                            line.strip_prefix("ERR ").unwrap_or(&line)
                        );
                        return Err(Refused);
                    }
                    if let Some(reason) = for_clients_only(&args) {
                        if let Some(reason) = reason {
                            tracing::warn!(
                                "== CRITICAL == This server is sending an error to its AOF-loading-client: \
                                     '{reason}' after processing the command '{}'",
                                String::from_utf8_lossy(word).to_ascii_lowercase()
                            );
                        }
                        at += length;
                        continue;
                    }
                    in_transaction = if word.eq_ignore_ascii_case(b"multi") {
                        true
                    } else {
                        in_transaction && !word.eq_ignore_ascii_case(b"exec")
                    };
                    push(stream.batch(), &buffer[at..at + length], &words, length);
                    at += length;
                    if stream.batch().requests.len() >= COMMANDS_PER_BATCH {
                        stream.run().await;
                        delay(server, COMMANDS_PER_BATCH).await;
                    }
                }
                Frame::Incomplete => {
                    // Looking again with every piece would make large commands quadratic.
                    wanted = 2 * (buffer.len() - at);
                    break;
                }
                Frame::Malformed(error) => {
                    tracing::warn!(
                        "Bad file format reading the append only file {name}: make a backup of your AOF file, then use \
                         ./valkey-check-aof --fix <filename.manifest>"
                    );
                    tracing::warn!("At offset {}: {error}", offset + at as u64);
                    return Err(Refused);
                }
            }
            wanted = 1;
            if !in_transaction {
                valid = offset + at as u64;
            }
        }
        stream.run().await;
        buffer.drain(..at);
        offset += at as u64;
        if at_end {
            break;
        }
        let mut piece = vec![0; READ_BYTES];
        let (returned, piece, read) = tokio::task::spawn_blocking(move || {
            let read = file.read(&mut piece);
            (file, piece, read)
        })
        .await
        .expect("reading does not panic");
        file = returned;
        match read {
            Ok(0) => at_end = true,
            Ok(n) => {
                buffer.extend_from_slice(&piece[..n]);
                server.persistence.load.loaded_bytes.fetch_add(n as u64, Ordering::Relaxed);
            }
            Err(e) => {
                tracing::warn!("Unrecoverable error reading the append only file {name}: {}", os_text(&e));
                return Err(Refused);
            }
        }
        if at_end && buffer.is_empty() {
            break;
        }
    }
    if buffer.is_empty() && !stream.is_queueing() {
        return Ok(());
    }
    end_is_missing(server, stream, name, directory, is_last, valid)
}

/// What no file of ours has in it and nobody can be given here: a connection that is told something later, or one that
/// ends. `Some` says that the command is left out, and with which error, if with one.
fn for_clients_only(args: &[&[u8]]) -> Option<Option<String>> {
    const NAMES: [&str; 12] = [
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "MONITOR",
        "SHUTDOWN",
        "QUIT",
        "RESET",
        "WAIT",
        "WAITAOF",
        "SYNC",
        "PSYNC",
        "BGREWRITEAOF",
    ];
    // For nearly every command of a file this is all.
    if !NAMES.iter().any(|name| args[0].eq_ignore_ascii_case(name.as_bytes())) {
        return None;
    }
    let name = String::from_utf8_lossy(args[0]).to_ascii_uppercase();
    match &*name {
        "SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE" => {
            Some(Some(format!("{name} isn't allowed for a DENY BLOCKING client")))
        }
        "MONITOR" => Some(Some("MONITOR isn't allowed for DENY BLOCKING client".into())),
        "SHUTDOWN" => {
            let waits = !args[1..]
                .iter()
                .any(|word| word.eq_ignore_ascii_case(b"now") || word.eq_ignore_ascii_case(b"abort"));
            waits.then(|| Some("SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client".into()))
        }
        _ => Some(None),
    }
}

/// `key-load-delay`: microseconds per command here.
async fn delay(server: &ServerRef, commands: usize) {
    let micros = server.config.load().key_load_delay;
    if let Ok(micros @ 1..) = u64::try_from(micros) {
        tokio::time::sleep(std::time::Duration::from_micros(micros * commands as u64)).await;
    }
}

fn push(batch: &mut Batch, bytes: &[u8], words: &[std::ops::Range<usize>], length: usize) {
    let base = batch.input.len();
    batch.input.extend_from_slice(bytes);
    let first_arg = batch.requests.spans.len() as u32;
    let spans = words.iter().map(|w| Span { start: base + w.start, len: w.len() });
    batch.requests.spans.extend(spans);
    batch.requests.requests.push(Request { first_arg, args: words.len() as u32, wire_bytes: length });
}

/// The file ends within a command or a transaction: cut off what is not whole, if that is allowed.
fn end_is_missing(
    server: &ServerRef,
    stream: &mut Stream,
    name: &str,
    directory: &Directory,
    is_last: bool,
    valid: u64,
) -> Result<(), Refused> {
    if stream.is_queueing() {
        tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        stream.batch().transaction.queue = None;
    }
    if !server.config.load().aof_load_truncated {
        tracing::warn!(
            "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, then \
             use ./valkey-check-aof --fix <filename.manifest>. 2) Alternatively you can set the 'aof-load-truncated' \
             configuration option to yes and restart the server."
        );
        return Err(Refused);
    }
    tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
    tracing::warn!("!!! Truncating the AOF {name} at offset {valid} !!!");
    let cut = OpenOptions::new().write(true).open(directory.file(name)).and_then(|file| {
        file.set_len(valid)?;
        file.sync_all()
    });
    if let Err(e) = cut {
        tracing::warn!("Error truncating the AOF file {name}: {}", os_text(&e));
        return Err(Refused);
    }
    tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
    // What was cut off stays cut off: the next start goes on to the parts that follow.
    if !is_last {
        tracing::warn!("Fatal error: the truncated file is not the last file");
        return Err(Refused);
    }
    Ok(())
}
