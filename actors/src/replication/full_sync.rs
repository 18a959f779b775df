//! One snapshot on its way to one or several replicas: straight to their sockets, or by a file.
//!
//! The cut of the snapshot and the stream's offset are one moment: the log is told of the cut while all slots are held.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use skuld::replication::peer::{Content, Peer, VERSION_OF_OWN_FILES};
use tokio::sync::oneshot;

use crate::connection::{Feed, Kill};
use crate::envelope::tell;
use crate::persistence::rdb_stream::{RdbOptions, RdbStream};
use crate::persistence::save::NewFile;
use crate::replication::{bit, listen};
use crate::replication_log::{
    DescribeSnapshotMembers, Member, Position, SnapshotCut, SnapshotEnded, SnapshotSent,
};
use crate::server::ServerRef;

/// Where a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Socket,
    File,
}

/// A snapshot to be made.
#[derive(Clone, Debug)]
pub struct Job {
    pub number: u64,
    pub target: Target,
    /// What one of the replicas said; the others need the same.
    pub peer: Peer,
}

/// Bytes read from the file at once.
const READ_BYTES: usize = 256 * 1024;

/// Makes the snapshot and sends it; the log hears of every step.
pub async fn run(server: ServerRef, job: Job) {
    let number = job.number;
    let sent = match job.target {
        Target::Socket => to_sockets(&server, &job).await,
        Target::File => by_file(&server, &job).await,
    };
    if let Err(reason) = &sent {
        tracing::warn!("{reason}");
    }
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
    let options = RdbOptions { no_checksum: job.peer.skip_checksum || old_reader, ..RdbOptions::default() };
    let at_cut = Box::new(move |_: &_| tell(&log, SnapshotCut { job: number, db, reply }));
    let mut stream = RdbStream::begin(server.clone(), options, at_cut).await;
    let position = position.await.map_err(|_| "The replication log is gone".to_owned())?;
    drop(held);
    stream.add_aux(b"repl-stream-db", position.db.max(0).to_string().as_bytes());
    stream.add_aux(b"repl-id", position.replication_id.as_bytes());
    stream.add_aux(b"repl-offset", position.offset.to_string().as_bytes());
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
        position.await.map_err(|_| "The replication log is gone".to_owned())?;
        let mut members = members(server, job.number).await;
        let file = without_keys(server, job.peer.content);
        feed(server, &mut members, [head.as_bytes(), &file, mark.as_bytes()].concat().into()).await;
        tell(server.replication_log(), SnapshotSent { job: job.number });
        return Ok(());
    }
    let (mut stream, _) = cut(server, job).await?;
    let mut members = members(server, job.number).await;
    feed(server, &mut members, head.into_bytes().into()).await;
    let old_reader = job.peer.version < VERSION_OF_OWN_FILES;
    let mut first = true;
    while let Some(mut bytes) =
        stream.next().await.map_err(|_| "Diskless rdb transfer, the snapshot was stopped".to_owned())?
    {
        if std::mem::take(&mut first) && old_reader && bytes.len() >= 9 {
            bytes[..9].copy_from_slice(b"REDIS0011");
        }
        feed(server, &mut members, bytes.into()).await;
        if members.is_empty() {
            return Err("Diskless rdb transfer, last replica dropped, the snapshot is given up.".to_owned());
        }
    }
    feed(server, &mut members, mark.into_bytes().into()).await;
    tracing::info!("Background RDB transfer terminated with success");
    tell(server.replication_log(), SnapshotSent { job: job.number });
    Ok(())
}

/// A file that holds at most the function libraries.
fn without_keys(server: &ServerRef, content: Content) -> Vec<u8> {
    let config = server.config.load();
    let mut writer = skuld::rdb::file::FileWriter::new(
        skuld::rdb::Compression::on_if(config.rdbcompression),
        config.rdbchecksum,
    );
    crate::persistence::rdb_stream::usual_aux(&mut writer, crate::clock::unix_ms());
    if content == Content::Functions {
        server.scripts.library_codes().iter().for_each(|code| writer.function(code));
    }
    let mut out = writer.take();
    out.extend(writer.finish());
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
    let limit = Duration::from_secs(u64::from(server.config.load().repl_timeout));
    let mut stays = Vec::new();
    for (answer, member) in waiting.into_iter().zip(members.iter()) {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => stays.push(answer.is_ok()),
            Err(_) => {
                tracing::warn!("Disconnecting timedout replica (full sync): {}", member.name);
                tell(&member.connection, Kill { after_replies: false });
                stays.push(false);
            }
        }
    }
    let mut stays = stays.into_iter();
    members.retain(|_| stays.next().unwrap_or(false));
}

async fn by_file(server: &ServerRef, job: &Job) -> Result<(), String> {
    let failed = || "BGSAVE for replication failed".to_owned();
    let (mut stream, _) = cut(server, job).await?;
    let config = server.config.load_full();
    let target = PathBuf::from(&*config.dir.to_str()).join(&*config.dbfilename.to_str());
    let temporary = PathBuf::from(format!("temp-repl-{}-{}.rdb", std::process::id(), job.number));
    let sync_early = config.rdb_save_incremental_fsync;
    let (done, written) = oneshot::channel();
    let path = target.clone();
    std::thread::Builder::new()
        .name("rdb-for-replicas".into())
        .spawn(move || {
            crate::memory::register_thread();
            let write = || -> Result<(), std::io::Error> {
                let mut file = NewFile::create(temporary, path, sync_early)?;
                loop {
                    match stream.next_blocking() {
                        Ok(Some(bytes)) => file.write(&bytes)?,
                        Ok(None) => return file.finish(),
                        Err(_) => return Err(std::io::ErrorKind::Interrupted.into()),
                    }
                }
            };
            // Who asked may have gone.
            let _ = done.send(write());
        })
        .map_err(|_| failed())?;
    written.await.map_err(|_| failed())?.map_err(|e| format!("BGSAVE failed. {e}"))?;
    tracing::info!("Background saving terminated with success");
    let mut members = members(server, job.number).await;
    let file = std::fs::File::open(&target).map_err(|e| format!("SYNC failed. Can't open DB: {e}"))?;
    let length = file.metadata().map_err(|e| format!("SYNC failed. Can't stat DB: {e}"))?.len();
    feed(server, &mut members, format!("${length}\r\n").into_bytes().into()).await;
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(4);
    std::thread::Builder::new()
        .name("rdb-reader".into())
        .spawn(move || {
            crate::memory::register_thread();
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
        tracing::info!(
            "Removing the RDB file {} used to feed replicas in a persistence-less instance",
            config.dbfilename
        );
        let _ = std::fs::remove_file(&target);
    }
    tell(server.replication_log(), SnapshotSent { job: job.number });
    Ok(())
}
