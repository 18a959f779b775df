//! One snapshot on its way to one or several replicas: straight to their sockets, or by a file.
//!
//! The cut of the snapshot and the stream's offset are one moment: the log is told of the cut while all slots are held.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use skuld::replication::peer::{Content, Peer, VERSION_OF_OWN_FILES};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::configure::os_text;
use crate::connection::{Feed, Kill};
use crate::envelope::tell;
use crate::persistence::rdb_stream::{HistoryMark, RdbOptions, RdbStream};
use crate::persistence::save::NewFile;
use crate::replication::link::within_repl_timeout_of;
use crate::replication::{bit, listen};
use crate::replication_log::{
    DescribeSnapshotMembers, Member, Position, SnapshotCut, SnapshotEnded, SnapshotSent,
};
use crate::scheduling::{Role, take_turns_as};
use crate::server::ServerRef;

/// Where a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Socket,
    File,
}

/// A snapshot to be made.
#[derive(Clone)]
pub struct Job {
    pub number: u64,
    pub target: Target,
    /// What one of the replicas said; the others need the same.
    pub peer: Peer,
    /// Nobody waits for it any more.
    pub useless: CancellationToken,
}

const LAST_DROPPED: &str = "Diskless rdb transfer, last replica dropped, killing fork child.";

/// FLUSHALL has made the snapshot worthless.
const ENDED: &str = "Background RDB transfer terminated by signal 10";

/// The end of a snapshot is in the sockets by then, if the replicas read.
const LEAVES_WITHIN: Duration = Duration::from_millis(200);

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// Makes the snapshot and sends it; the log hears of every step.
pub async fn run(server: ServerRef, job: Job) {
    let number = job.number;
    let state = &server.persistence;
    let started_ms = clock::unix_ms();
    state.begin_save(started_ms);
    state.syncing.store(true, Ordering::Relaxed);
    let sent = match job.target {
        Target::Socket => to_sockets(&server, &job).await,
        Target::File => {
            state.saves.fetch_add(1, Ordering::Relaxed);
            by_file(&server, &job).await
        }
    };
    match &sent {
        Ok(()) => {}
        Err(reason) if reason == LAST_DROPPED => {
            tracing::info!("{reason}");
            tracing::warn!("{ENDED}");
        }
        Err(reason) => tracing::warn!("{reason}"),
    }
    server.replication.about_to_pause.store(false, Ordering::Relaxed);
    state.syncing.store(false, Ordering::Relaxed);
    state.last_save_seconds.store((clock::unix_ms() - started_ms) / 1000, Ordering::Relaxed);
    tell(server.replication_log(), SnapshotEnded { job: number, failed: sent.is_err() });
}

/// Makes the cut and tells the log of it; the position is that of the stream at the cut.
async fn cut(server: &ServerRef, job: &Job) -> Result<(RdbStream, Position), String> {
    listen(server, bit::STREAM).await;
    // On a replica what was executed is known to the log only between two batches of the primary's stream.
    let held = super::hold_stream(server).await;
    let db = held.as_ref().map(|held| held.db);
    let (reply, position) = oneshot::channel();
    let (number, log) = (job.number, server.replication_log().clone());
    let old_reader = job.peer.eof && job.peer.version < VERSION_OF_OWN_FILES;
    // The replicas come again after a FLUSHALL: that takes less than the rest of what is gone.
    let no_checksum = job.peer.skip_checksum || old_reader;
    let options = RdbOptions { no_checksum, ends_at_flushall: true, ..RdbOptions::default() };
    let at_cut = Box::new(move |_: &_| tell(&log, SnapshotCut { job: number, db, reply }));
    let mut stream = RdbStream::begin(server.clone(), options, at_cut).await;
    server.persistence.save_keys_total.store(stream.facts().keys(), Ordering::Relaxed);
    let (stopper, useless) = (stream.stopper(), job.useless.clone());
    actix_rt::spawn(async move {
        useless.cancelled().await;
        stopper.stop();
    });
    let position = position.await.map_err(|_| "The replication log is gone".to_owned())?;
    drop(held);
    let (name, offset) = (position.replication_id.clone(), position.offset);
    stream.add_history(&HistoryMark { name, offset, db: position.db });
    if let Some(states) = server.cluster.as_ref().and_then(|cluster| cluster.topology().open_slots_text()) {
        stream.add_aux(b"cluster-slot-states", states.as_bytes());
    }
    Ok((stream, position))
}

/// Those who are to get the snapshot.
async fn members(server: &ServerRef, job: u64) -> Vec<Member> {
    let (reply, answer) = oneshot::channel();
    tell(server.replication_log(), DescribeSnapshotMembers { job, reply });
    answer.await.unwrap_or_default()
}

async fn to_sockets(server: &ServerRef, job: &Job) -> Result<(), String> {
    let mark = crate::start::random_hex(20);
    let head = format!("$EOF:{mark}\r\n");
    if job.peer.content != Content::Everything {
        // Nobody waits for a cut of keys that are not sent.
        listen(server, bit::STREAM).await;
        let (reply, position) = oneshot::channel();
        tell(server.replication_log(), SnapshotCut { job: job.number, db: None, reply });
        let position = position.await.map_err(|_| "The replication log is gone".to_owned())?;
        let mut members = members(server, job.number).await;
        let place = HistoryMark { name: position.replication_id, offset: position.offset, db: position.db };
        let file = without_keys(server, &job.peer, &place);
        feed(server, &mut members, [head.as_bytes(), &file, mark.as_bytes()].concat().into()).await;
        tell(server.replication_log(), SnapshotSent { job: job.number });
        return Ok(());
    }
    let pauses = server.replication.pauses_after_fork.load(Ordering::Relaxed);
    if pauses && job.peer.rdb_channel {
        // A forked process would go on with the snapshot while this one stands still.
        server.replication.about_to_pause.store(true, Ordering::Relaxed);
    }
    let (mut stream, _) = cut(server, job).await?;
    if pauses && !job.peer.rdb_channel {
        super::pause_process(server);
    }
    let channel =
        if job.peer.rdb_channel { "direct socket to replica" } else { "pipe through parent process" };
    tracing::info!("Background RDB transfer started by pid {} to {channel}", std::process::id());
    let mut members = members(server, job.number).await;
    feed(server, &mut members, head.into_bytes().into()).await;
    let dropped = || {
        if job.peer.rdb_channel {
            "Background RDB transfer error".to_owned()
        } else {
            LAST_DROPPED.to_owned()
        }
    };
    let old_reader = job.peer.version < VERSION_OF_OWN_FILES;
    let mut first = true;
    let stopped = || if job.useless.is_cancelled() { dropped() } else { ENDED.to_owned() };
    while let Some(mut bytes) = stream.next().await.map_err(|_| stopped())? {
        server.persistence.save_keys_done.store(stream.keys_done, Ordering::Relaxed);
        if std::mem::take(&mut first) && old_reader && bytes.len() >= OLD_HEAD.len() {
            bytes[..OLD_HEAD.len()].copy_from_slice(OLD_HEAD);
        }
        feed(server, &mut members, bytes.into()).await;
        if members.is_empty() {
            return Err(dropped());
        }
    }
    feed(server, &mut members, mark.into_bytes().into()).await;
    if !job.peer.rdb_channel {
        tracing::info!("Diskless rdb transfer, done reading from pipe, {} replicas still up.", members.len());
    }
    if pauses && job.peer.rdb_channel {
        // What was handed to the connections leaves meanwhile.
        tokio::time::sleep(LEAVES_WITHIN).await;
        super::pause_process(server);
    }
    tracing::info!("Background RDB transfer terminated with success");
    tell(server.replication_log(), SnapshotSent { job: job.number });
    Ok(())
}

/// What a file begins with for those who may not know this server's own version.
const OLD_HEAD: &[u8] = b"REDIS0011";

/// A file that holds at most the function libraries.
fn without_keys(server: &ServerRef, peer: &Peer, place: &HistoryMark) -> Vec<u8> {
    let config = server.config.load();
    let old_reader = peer.version < VERSION_OF_OWN_FILES;
    let mut writer = skuld::rdb::file::FileWriter::new(
        skuld::rdb::Compression::on_if(config.rdbcompression),
        config.rdbchecksum && !old_reader,
    );
    crate::persistence::rdb_stream::usual_aux(&mut writer, clock::unix_ms());
    for (name, value) in place.fields() {
        writer.aux(name, &value);
    }
    writer.aux(b"aof-base", b"0");
    if peer.content == Content::Functions {
        server.scripts.library_codes().iter().for_each(|code| writer.function(code));
    }
    let mut out = writer.take();
    out.extend(writer.finish());
    if old_reader {
        out[..OLD_HEAD.len()].copy_from_slice(OLD_HEAD);
    }
    out
}

/// Sends bytes to all; who does not take them for `repl-timeout` is dropped.
async fn feed(server: &ServerRef, members: &mut Vec<Member>, bytes: Bytes) {
    let mut waiting = Vec::new();
    for member in members.iter() {
        let (room, answer) = oneshot::channel();
        tell(&member.connection, Feed { bytes: bytes.clone(), room });
        waiting.push(answer);
    }
    let begun = Instant::now();
    let mut stays = Vec::new();
    for (answer, member) in waiting.into_iter().zip(members.iter()) {
        let taken = within_repl_timeout_of(server, begun, answer).await;
        if taken.is_none() {
            tracing::warn!("Disconnecting timedout replica (full sync): {}", member.name);
            tell(&member.connection, Kill { after_replies: false });
        }
        stays.push(taken.is_some_and(|answer| answer.is_ok()));
    }
    let mut stays = stays.into_iter();
    members.retain(|_| stays.next().unwrap_or(false));
}

async fn by_file(server: &ServerRef, job: &Job) -> Result<(), String> {
    let failed = || "BGSAVE for replication failed".to_owned();
    tracing::info!("Background saving started by pid {}", std::process::id());
    let (mut stream, _) = cut(server, job).await?;
    let dirty = stream.facts().dirty;
    let config = server.config.load_full();
    let target = PathBuf::from(&*config.dir.to_str()).join(&*config.dbfilename.to_str());
    let temporary = PathBuf::from(format!("temp-repl-{}-{}.rdb", std::process::id(), job.number));
    let sync_early = config.rdb_save_incremental_fsync;
    let (done, written) = oneshot::channel();
    let path = target.clone();
    let of_thread = server.clone();
    std::thread::Builder::new()
        .name("rdb-for-replicas".into())
        .spawn(move || {
            crate::memory::register_thread();
            take_turns_as(Role::Background);
            let write = || -> Result<(), std::io::Error> {
                let mut file = NewFile::create(temporary, path, sync_early)?;
                loop {
                    match stream.next_blocking() {
                        Ok(Some(bytes)) => {
                            file.write(&bytes)?;
                            of_thread.persistence.save_keys_done.store(stream.keys_done, Ordering::Relaxed);
                        }
                        Ok(None) => return file.finish(),
                        Err(_) => return Err(std::io::ErrorKind::Interrupted.into()),
                    }
                }
            };
            // Who asked may have gone.
            let _ = done.send(write());
        })
        .map_err(|_| failed())?;
    let state = &server.persistence;
    match written.await.map_err(|_| failed())? {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {
            return Err("Background saving terminated by signal 10".to_owned());
        }
        Err(e) => {
            tracing::warn!("Write error while saving DB to the disk(write): {}", os_text(&e));
            state.last_save_failed.store(true, Ordering::Relaxed);
            return Err("Background saving error".to_owned());
        }
    }
    tracing::info!("DB saved on disk");
    tracing::info!("Background saving terminated with success");
    // It is as good as any other save.
    let before = dirty.min(server.dirty.load(Ordering::Relaxed));
    server.dirty.fetch_sub(before, Ordering::Relaxed);
    server.last_save_ms.store(clock::unix_ms(), Ordering::Relaxed);
    state.last_save_failed.store(false, Ordering::Relaxed);
    state.syncing.store(false, Ordering::Relaxed);
    let mut members = members(server, job.number).await;
    let file = std::fs::File::open(&target).map_err(|e| format!("SYNC failed. Can't open DB: {e}"))?;
    let length = file.metadata().map_err(|e| format!("SYNC failed. Can't stat DB: {e}"))?.len();
    feed(server, &mut members, format!("${length}\r\n").into_bytes().into()).await;
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(4);
    std::thread::Builder::new()
        .name("rdb-reader".into())
        .spawn(move || {
            crate::memory::register_thread();
            take_turns_as(Role::Background);
            let mut file = file;
            let mut buffer = vec![0; READ_BYTES];
            while let Ok(n @ 1..) = file.read(&mut buffer) {
                if sender.blocking_send(Bytes::copy_from_slice(&buffer[..n])).is_err() {
                    return;
                }
            }
        })
        .map_err(|_| failed())?;
    while let Some(piece) = pieces.recv().await {
        feed(server, &mut members, piece).await;
        if members.is_empty() {
            break;
        }
    }
    if config.rdb_del_sync_files && config.save.is_empty() && !config.appendonly {
        tracing::info!("Removing the RDB file used to feed replicas in a persistence-less instance");
        let _ = std::fs::remove_file(&target);
    }
    tell(server.replication_log(), SnapshotSent { job: job.number });
    Ok(())
}
