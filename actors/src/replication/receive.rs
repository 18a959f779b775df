//! Taking a primary's snapshot: its bytes come over the link, straight into the loader or into a file first.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use skuld::config::{CLASS_REPLICA, Config, ReplDisklessLoad};
use skuld::effects::encode_command;
use skuld::rdb::Limits;
use skuld::rdb::file::{FileError, FileReader};
use skuld::replication::payload::{Header, SnapshotEnd, Splitter, header_of, snapshot_end_of};
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::link::{Link, LinkState, Wire, within_repl_timeout};
use crate::append_only;
use crate::clock;
use crate::configure::os_text;
use crate::envelope::tell;
use crate::migration;
use crate::persistence::loader::{self, Install, LoadError, LoadRules, Loaded};
use crate::replication_log::{HistoryAdopted, HistoryLost};
use crate::server::ServerRef;

/// Pieces on their way to the loader.
const PIECES_AHEAD: usize = 16;

/// How the snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To a file, then from there.
    ByFile,
    /// Straight into the loader, with nothing served meanwhile.
    Direct,
    /// Straight into the loader, while the old data is kept and swapped when the new is there.
    Swap,
}

async fn way_of(server: &ServerRef, config: &Config) -> Way {
    match config.repl_diskless_load {
        ReplDisklessLoad::Disabled => Way::ByFile,
        ReplDisklessLoad::FlushBeforeLoad => Way::Direct,
        ReplDisklessLoad::SwapDb => Way::Swap,
        ReplDisklessLoad::OnEmptyDb => {
            let keys: u64 = loader::run_over_all(server, |keyspace, _| {
                keyspace
                    .parts()
                    .iter()
                    .flat_map(|part| {
                        (0..part.databases()).filter_map(|db| part.database(db)).map(|d| d.keys())
                    })
                    .sum()
            })
            .await;
            if keys == 0 { Way::Direct } else { Way::ByFile }
        }
    }
}

/// Receives and installs the snapshot of a full synchronization; returns the database the stream goes on in.
pub async fn full(
    link: &Link,
    wire: &mut Wire,
    history: (String, i64),
    cancelled: &Arc<AtomicBool>,
) -> Result<u32, String> {
    let loaded = transfer(link, wire, &history.0, cancelled).await?;
    let db = adopt(link, loaded, history.0, history.1).await;
    Ok(db)
}

/// The second connection's snapshot, and the stream on the first.
pub async fn dual_channel(
    link: &Link,
    main: Wire,
    cancelled: &Arc<AtomicBool>,
) -> Result<(Wire, u32), String> {
    let server = link.server.clone();
    tracing::info!("Dual channel replication: PSYNC is not possible, initialize RDB channel.");
    let about = link.introduction(None);
    let mut rdb = Wire::connect(&server, &link.primary).await?;
    let limit = Duration::from_secs(5);
    if !about.password.is_empty() {
        let mut out = Vec::new();
        if about.user.is_empty() {
            encode_command(&mut out, &[b"AUTH", &about.password]);
        } else {
            encode_command(&mut out, &[b"AUTH", &about.user, &about.password]);
        }
        rdb.write(&out).await?;
        let line = rdb.line(limit).await?;
        if line.first() == Some(&b'-') {
            return Err(format!("Unable to AUTH to Primary: {}", String::from_utf8_lossy(&line)));
        }
    }
    let port = about.port.to_string();
    let mut out = Vec::new();
    let words: [&[u8]; 11] = [
        b"REPLCONF",
        b"capa",
        b"eof",
        b"rdb-only",
        b"1",
        b"rdb-channel",
        b"1",
        b"listening-port",
        port.as_bytes(),
        b"version",
        about.version.as_bytes(),
    ];
    encode_command(&mut out, &words);
    let mut answers = 1;
    if !about.announced_address.is_empty() {
        encode_command(&mut out, &[b"REPLCONF", b"ip-address", &about.announced_address]);
        answers += 1;
    }
    rdb.write(&out).await?;
    for _ in 0..answers {
        let line = rdb.line(limit).await?;
        if line.first() == Some(&b'-') {
            return Err(format!("Primary refused the RDB channel: {}", String::from_utf8_lossy(&line)));
        }
    }
    rdb.write(b"SYNC\r\n").await?;
    let end = loop {
        let line = rdb.patient_line().await?;
        if line.is_empty() {
            continue;
        }
        match snapshot_end_of(&line) {
            Some(end) => {
                tracing::debug!(
                    "Dual channel replication: Received first reply from primary using rdb connection."
                );
                break end;
            }
            None => {
                return Err(format!("Received unexpected $ENDOFF line: {}", String::from_utf8_lossy(&line)));
            }
        }
    };
    // Until now the primary may have been waiting for other replicas to ask.
    link.show(LinkState::Sync);
    if server.replication.pauses_after_fork.load(Ordering::Relaxed) {
        super::pause_process(&server);
    }
    let SnapshotEnd { offset, history, db, rdb_client } = end;
    let buffering = Buffering { wire: main };
    server.replication.link().snapshot_loaded = false;
    let (buffering, loaded) = {
        let stream = continue_on_main(link, buffering, &history, offset, rdb_client);
        let snapshot = transfer(link, &mut rdb, &history, cancelled);
        both(&server, stream, snapshot).await?
    };
    server.replication.link().stream_held = 0;
    tracing::info!("Dual channel replication: Successfully streamed replication data into memory");
    adopt(link, loaded, history, offset).await;
    tracing::info!("Dual channel replication: PRIMARY <-> REPLICA sync: Finished with success");
    Ok((buffering.wire, u32::try_from(db.max(0)).unwrap_or(0)))
}

/// The main connection while the snapshot is loaded.
struct Buffering {
    wire: Wire,
}

/// Asks for the stream from the snapshot on.
async fn continue_on_main(
    link: &Link,
    buffering: Buffering,
    history: &str,
    offset: i64,
    rdb_client: u64,
) -> Result<Buffering, String> {
    let mut wire = buffering.wire;
    let mut out = Vec::new();
    encode_command(&mut out, &[b"REPLCONF", b"set-rdb-client-id", rdb_client.to_string().as_bytes()]);
    wire.write(&out).await?;
    let line = wire.patient_line().await?;
    if !line.starts_with(b"+") {
        // It may have the stream nevertheless.
        tracing::warn!("Primary refused set-rdb-client-id: {}", String::from_utf8_lossy(&line));
    }
    let from = (offset + 1).to_string();
    tracing::info!(
        "Dual channel replication: Trying a partial resynchronization using main channel (request {history}:{from})."
    );
    let mut out = Vec::new();
    encode_command(&mut out, &[b"PSYNC", history.as_bytes(), from.as_bytes()]);
    wire.write(&out).await?;
    let line = loop {
        let line = wire.patient_line().await?;
        if !line.is_empty() {
            break line;
        }
    };
    if !line.starts_with(b"+CONTINUE") {
        return Err(format!(
            "Primary did not continue on the main channel: {}",
            String::from_utf8_lossy(&line)
        ));
    }
    tracing::info!(
        "Dual channel replication: PRIMARY <-> REPLICA sync: Primary accepted a Partial Resynchronization{}",
        if link.server.replication.link().snapshot_loaded { "" } else { ", RDB load in background." }
    );
    if link.server.replication.link().snapshot_loaded {
        tracing::info!("Dual channel replication: Psync established after rdb load");
    }
    Ok(Buffering { wire })
}

/// How long an answer on the main connection is waited for when the snapshot's has failed before it came.
const ANSWER_AFTER_FAILURE: Duration = Duration::from_secs(1);

const NOT_LOADED_FROM_SOCKET: &str =
    "Failed trying to load the PRIMARY synchronization DB from socket, check server logs.";

/// Lets the main channel come up and the snapshot load at the same time; the stream waits in the socket beyond what the
/// output-buffer limit for replicas allows here.
async fn both(
    server: &ServerRef,
    stream: impl Future<Output = Result<Buffering, String>>,
    snapshot: impl Future<Output = Result<Loaded, String>>,
) -> Result<(Buffering, Loaded), String> {
    tokio::pin!(snapshot);
    tokio::pin!(stream);
    let mut buffering = tokio::select! {
        up = &mut stream => up?,
        loaded = &mut snapshot => {
            let loaded = match loaded {
                Ok(loaded) => loaded,
                Err(reason) => {
                    // The primary, which keeps the stream for us, learns by our request that we are still there.
                    let _ = tokio::time::timeout(ANSWER_AFTER_FAILURE, &mut stream).await;
                    return Err(reason);
                }
            };
            server.replication.link().snapshot_loaded = true;
            let buffering = stream.await?;
            return Ok((buffering, loaded));
        }
    };
    let mut said = false;
    loop {
        let held = buffering.wire.buffer.len() as u64;
        {
            let mut view = server.replication.link();
            view.stream_held = held;
            view.stream_held_peak = view.stream_held_peak.max(held);
        }
        let limit = server.config.load().client_output_buffer_limit[CLASS_REPLICA].hard;
        let room = limit == 0 || held < limit;
        if !room && !std::mem::replace(&mut said, true) {
            tracing::info!(
                "Dual channel replication: Replication buffer limit reached ({held} bytes), stopping buffering. Further \
                 accumulation will occur on primary side."
            );
        }
        tokio::select! {
            loaded = &mut snapshot => return Ok((buffering, loaded?)),
            read = buffering.wire.read(), if room => {
                if let Err(reason) = read {
                    // What is being loaded is of no use without the stream behind it.
                    tracing::warn!("{reason}");
                    return Err(NOT_LOADED_FROM_SOCKET.to_owned());
                }
            }
        }
    }
}

/// The header, then the data, as a loaded data set that is installed already, but for its history.
async fn transfer(
    link: &Link,
    wire: &mut Wire,
    history: &str,
    cancelled: &Arc<AtomicBool>,
) -> Result<Loaded, String> {
    let server = &link.server;
    let config = server.config.load_full();
    let header = loop {
        let line = within_repl_timeout(server, wire.next_line()).await.ok_or(TIMED_OUT)??;
        match header_of(&line) {
            Header::KeepAlive => {}
            Header::Refused(reason) => {
                return Err(format!(
                    "PRIMARY aborted replication with an error: {}",
                    String::from_utf8_lossy(&reason)
                ));
            }
            Header::Malformed => {
                return Err("Bad protocol from PRIMARY, the first byte is not '$', are you sure the host and port are \
                            right?"
                    .to_owned());
            }
            header => break header,
        }
    };
    let way = way_of(server, &config).await;
    let place = if way == Way::ByFile { "disk" } else { "parser" };
    let by = if way == Way::ByFile { "Replica bio thread: " } else { "" };
    if way == Way::ByFile {
        tracing::info!("Replica main thread creating Bio thread to save RDB to disk");
    }
    let (splitter, total) = match header {
        Header::Length(length) => {
            tracing::info!("{by}PRIMARY <-> REPLICA sync: receiving {length} bytes from primary to {place}");
            (Splitter::of_length(length), length)
        }
        Header::Mark(mark) => {
            tracing::info!(
                "{by}PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF to {place}"
            );
            (Splitter::of_mark(mark), 0)
        }
        Header::KeepAlive | Header::Refused(_) | Header::Malformed => return Err("no header".to_owned()),
    };
    {
        let mut view = server.replication.link();
        view.sync_total = total;
        view.sync_read = 0;
        view.sync_last_io_ms = clock::unix_ms();
    }
    match way {
        Way::ByFile => by_file(link, wire, splitter, &config, cancelled).await,
        Way::Direct | Way::Swap => direct(link, wire, splitter, way, history, cancelled).await,
    }
}

const TIMED_OUT: &str = "Timeout receiving bulk data from PRIMARY... If the problem persists try to set the 'repl-timeout' \
                         parameter in valkey.conf to a larger value.";

/// Hands the data of the snapshot to `take` until its end; what follows stays in the wire's buffer.
async fn pump(
    link: &Link,
    wire: &mut Wire,
    mut splitter: Splitter,
    mut take: impl AsyncFnMut(Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let mut newline_ms = clock::unix_ms();
    loop {
        if wire.buffer.is_empty() {
            within_repl_timeout(&link.server, wire.read()).await.ok_or(TIMED_OUT)??;
        }
        let piece = std::mem::take(&mut wire.buffer);
        {
            let mut view = link.server.replication.link();
            view.sync_read += piece.len() as u64;
            view.sync_last_io_ms = clock::unix_ms();
        }
        let split = splitter.push(&piece);
        if !split.data.is_empty() {
            take(split.data).await?;
        }
        if let Some(rest) = split.rest {
            wire.buffer = rest;
            return Ok(());
        }
        let now = clock::unix_ms();
        if now - newline_ms >= 1000 {
            newline_ms = now;
            wire.write(b"\n").await?;
        }
    }
}

/// A reader of pieces that come over a channel, for a thread.
struct Pieces {
    pieces: mpsc::Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.current.len() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => (self.current, self.at) = (piece, 0),
            }
        }
        let n = buffer.len().min(self.current.len() - self.at);
        buffer[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

async fn rules(server: &ServerRef) -> LoadRules {
    LoadRules {
        drop_expired_before: None,
        show_progress: true,
        skip_checksum: false,
        ids_after: loader::reserve_ids(server).await,
        remember_dropped: false,
    }
}

/// Whether the first bytes are those of a file we can read: if not, the old data is worth keeping.
fn is_readable(config: &Config, head: &[u8]) -> bool {
    let mut reader = FileReader::new(config.rdb_version_check, false, Limits::of(config));
    reader.push(head);
    !matches!(reader.next_item(), Err(FileError::Signature | FileError::Version(_)))
}

const INCOMPATIBLE: &str =
    "PRIMARY <-> REPLICA sync: RDB version or signature incompatible, old data preserved";

async fn direct(
    link: &Link,
    wire: &mut Wire,
    splitter: Splitter,
    way: Way,
    history: &str,
    cancelled: &Arc<AtomicBool>,
) -> Result<Loaded, String> {
    let server = link.server.clone();
    let config = server.config.load_full();
    let same_history = *history == **server.replication_id.load();
    let serves = way == Way::Swap && same_history;
    let mut guard = Loading { server: server.clone(), begun: false, async_loading: serves };
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let mut begin = Some(pieces);
    let (done, mut loaded) = oneshot::channel();
    let mut done = Some(done);
    let total = server.replication.link().sync_total;
    let pumped = pump(link, wire, splitter, async |piece: Vec<u8>| {
        if let (Some(pieces), Some(done)) = (begin.take(), done.take()) {
            if !is_readable(&config, &piece) {
                return Err(INCOMPATIBLE.to_owned());
            }
            append_only::stop(&server).await;
            link.data_lost.store(true, Ordering::Relaxed);
            server.replication.has_no_data.store(true, Ordering::Relaxed);
            tell(server.replication_log(), HistoryLost);
            guard.begin(total);
            tracing::info!("Discarding previously cached primary state.");
            tracing::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
            if way == Way::Direct {
                tracing::info!("RDB signature and version check passed. Flushing old data");
                migration::restore::data_replaced(&server, true).await;
                loader::clear(&server).await;
            }
            let rules = rules(&server).await;
            let (server, cancelled) = (server.clone(), cancelled.clone());
            actix_rt::spawn(async move {
                let source = Pieces { pieces, current: Vec::new(), at: 0 };
                let (result, _) = loader::load_in_thread(&server, source, rules, cancelled).await;
                // Whoever waits may have been cancelled.
                let _ = done.send(result);
            });
        }
        sender.send(piece).await.map_err(|_| "the snapshot cannot be loaded".to_owned())
    })
    .await;
    drop(sender);
    let failed = NOT_LOADED_FROM_SOCKET;
    if begin.is_some() {
        return Err(pumped.err().unwrap_or_else(|| failed.to_owned()));
    }
    let result = (&mut loaded).await.map_err(|_| failed.to_owned())?;
    let loaded = result.map_err(|error| {
        explain(&error);
        tracing::info!(
            "PRIMARY <-> REPLICA sync: {}",
            if way == Way::Swap {
                "Discarding temporary DB in background"
            } else {
                "Discarding the half-loaded data"
            }
        );
        failed.to_owned()
    })?;
    pumped?;
    crate::persistence::start::say_loaded(&loaded);
    if way == Way::Swap {
        tracing::info!("PRIMARY <-> REPLICA sync: Swapping active DB with loaded DB");
    }
    let loaded = install(&server, loaded).await?;
    if way == Way::Swap {
        tracing::info!("PRIMARY <-> REPLICA sync: Discarding old DB in background");
    }
    drop(guard);
    Ok(loaded)
}

fn explain(error: &LoadError) {
    crate::persistence::start::explain(error, "from the primary");
}

async fn by_file(
    link: &Link,
    wire: &mut Wire,
    splitter: Splitter,
    config: &Config,
    cancelled: &Arc<AtomicBool>,
) -> Result<Loaded, String> {
    let server = link.server.clone();
    let directory = std::path::PathBuf::from(&*config.dir.to_str());
    let temporary = directory.join(format!("temp-{}.{}.rdb", clock::unix_ms() / 1000, std::process::id()));
    let target = directory.join(&*config.dbfilename.to_str());
    let problem = |what: &str, e: &std::io::Error| {
        format!("{what} needed for PRIMARY <-> REPLICA synchronization: {}", os_text(e))
    };
    let file = crate::persistence::save::NewFile::create(
        temporary,
        target.clone(),
        config.rdb_save_incremental_fsync,
    )
    .map_err(|e| problem("Opening the temp file", &e))?;
    let name = config.dbfilename.clone();
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(PIECES_AHEAD);
    let (done, written) = oneshot::channel();
    std::thread::Builder::new()
        .name("rdb-from-primary".into())
        .spawn(move || {
            crate::memory::register_thread();
            let mut file = file;
            let mut write = || -> std::io::Result<()> {
                while let Some(piece) = pieces.blocking_recv() {
                    if piece.is_empty() {
                        return Ok(());
                    }
                    file.write(&piece)?;
                }
                // Cut off before the end.
                Err(std::io::ErrorKind::UnexpectedEof.into())
            };
            let result = write();
            let result = result.and_then(|()| file.sync()).map_err(|e| format!("Writing the DB dump file needed for \
                PRIMARY <-> REPLICA synchronization: {}", os_text(&e)));
            if result.is_ok() {
                tracing::info!("Replica bio thread: Done downloading RDB");
            }
            let result = result.and_then(|()| {
                file.put_in_place().map_err(|e| {
                    format!(
                        "Failed trying to rename the temp DB into {name} in PRIMARY <-> REPLICA synchronization: {}",
                        os_text(&e)
                    )
                })
            });
            // Whoever waits may have been cancelled.
            let _ = done.send(result);
        })
        .map_err(|e| problem("Starting a thread", &e))?;
    let mut head = None;
    pump(link, wire, splitter, async |piece: Vec<u8>| {
        if head.is_none() {
            head = Some(piece.clone());
        }
        sender
            .send(piece)
            .await
            .map_err(|_| "Write error or short write writing to the DB dump file".to_owned())
    })
    .await?;
    // An empty piece is the end.
    let _ = sender.send(Vec::new()).await;
    written.await.map_err(|_| "the file was not written".to_owned())??;
    tracing::info!("Replica main thread detected RDB download completion in Bio thread");
    tracing::info!("Loading the RDB and finalizing primary-replica sync...");
    if !is_readable(config, &head.unwrap_or_default()) {
        return Err(INCOMPATIBLE.to_owned());
    }
    append_only::stop(&server).await;
    link.data_lost.store(true, Ordering::Relaxed);
    server.replication.has_no_data.store(true, Ordering::Relaxed);
    tell(server.replication_log(), HistoryLost);
    let file = std::fs::File::open(&target).map_err(|e| problem("Opening the DB dump file", &e))?;
    let bytes = file.metadata().map_or(0, |m| m.len());
    let mut guard = Loading { server: server.clone(), begun: false, async_loading: false };
    guard.begin(bytes);
    tracing::info!("Discarding previously cached primary state.");
    tracing::info!("PRIMARY <-> REPLICA sync: Loading DB in memory");
    tracing::info!("RDB signature and version check passed. Flushing old data");
    migration::restore::data_replaced(&server, true).await;
    loader::clear(&server).await;
    let rules = rules(&server).await;
    let load = loader::load_in_thread(&server, file, rules, cancelled.clone());
    tokio::pin!(load);
    let mut alive = tokio::time::interval(Duration::from_secs(1));
    let result = loop {
        tokio::select! {
            (result, _) = &mut load => break result,
            _ = alive.tick() => wire.write(b"\n").await?,
        }
    };
    let loaded = result.map_err(|error| {
        explain(&error);
        "Failed trying to load the PRIMARY synchronization DB from disk, check server logs.".to_owned()
    })?;
    crate::persistence::start::say_loaded(&loaded);
    if config.rdb_del_sync_files && config.save.is_empty() && !config.appendonly {
        tracing::info!(
            "Removing the RDB file obtained from the primary. This replica has persistence disabled"
        );
        let _ = std::fs::remove_file(&target);
    }
    let loaded = Loaded { file: Some(target), ..install(&server, loaded).await? };
    drop(guard);
    Ok(loaded)
}

/// While it lives, clients are told that data is being loaded.
struct Loading {
    server: ServerRef,
    begun: bool,
    async_loading: bool,
}

impl Loading {
    fn begin(&mut self, bytes: u64) {
        self.begun = true;
        if self.async_loading {
            self.server.persistence.begin_async_loading(bytes);
        } else {
            self.server.persistence.begin_loading(bytes);
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if self.begun {
            self.server.persistence.end_loading();
        }
    }
}

/// Serves what was loaded; the fields and counters are returned without the keys.
async fn install(server: &ServerRef, mut loaded: Loaded) -> Result<Loaded, String> {
    let parts = std::mem::take(&mut loaded.parts);
    let functions = std::mem::take(&mut loaded.functions);
    let slot_imports = std::mem::take(&mut loaded.slot_imports);
    migration::restore::data_replaced(server, true).await;
    let (keys_loaded, keys_expired) = (loaded.keys_loaded, loaded.keys_expired);
    let keys = Loaded { parts, functions, slot_imports, keys_loaded, keys_expired, ..Loaded::default() };
    loader::install(server, keys, Install::Replace).await.map_err(|e| e.to_string())?;
    server.dirty.store(0, Ordering::Relaxed);
    Ok(loaded)
}

/// Takes the primary's history for ours; returns the database its stream goes on in.
async fn adopt(link: &Link, mut loaded: Loaded, name: String, offset: i64) -> u32 {
    let (reply, adopted) = oneshot::channel();
    tell(link.server.replication_log(), HistoryAdopted { name, offset, reply });
    // The log ends only with the process.
    let _ = adopted.await;
    link.data_lost.store(false, Ordering::Relaxed);
    tracing::info!("PRIMARY <-> REPLICA sync: Finished with success");
    append_only::resume(&link.server, loaded.file.take()).await;
    if let (Some(cluster), Some(states)) = (&link.server.cluster, loaded.aux(b"cluster-slot-states")) {
        let states = String::from_utf8_lossy(states).into_owned();
        cluster.with(move |machine, facts, _| machine.adopt_open_slots(facts, &states)).await;
    }
    let db = loaded
        .aux(b"repl-stream-db")
        .and_then(|v| std::str::from_utf8(v).ok())
        .and_then(|t| t.parse::<i64>().ok());
    u32::try_from(db.unwrap_or(0).max(0)).unwrap_or(0)
}
