//! The rewrite of an append-only file: an export as its new base.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};

use actix::Addr;
use skuld::aof::manifest::Manifest;
use skuld::effects::encode_command;
use skuld::export::Format;
use skuld::migration::messages::Establish;
use skuld::rdb::Compression;
use skuld::rdb::file::FileWriter;

use super::files::Directory;
use super::writer::{self, ToWriter};
use super::{AppendOnlyFile, RewriteBegan, RewriteEnded};
use crate::clock;
use crate::configure::os_text;
use crate::envelope::tell;
use crate::export::{ExportRequest, ExportStream, Facts, Stopper};
use crate::memory;
use crate::migration::restore;
use crate::persistence::rdb_stream::{RdbOptions, RdbStream, SlowKeys, usual_aux};
use crate::persistence::save::NewFile;
use crate::replication_log::AttachCommands;
use crate::scheduling::{Role, take_turns_as};
use crate::server::{Server, ServerRef};

/// Where the commands go that are executed after the cut.
pub struct Target {
    /// Number of the incremental file; `None` while nothing is appended.
    pub number: Option<u64>,
    /// Its name until the rewrite has succeeded, if it is not in the manifest.
    pub temporary: Option<String>,
    pub writer: Option<Sender<ToWriter>>,
}

/// The parts as they are now.
pub struct Rewritten {
    pub manifest: Manifest,
}

/// Why there is no new base.
#[derive(Debug)]
pub enum Failed {
    /// The log says why.
    Logged,
    Stopped,
}

enum Source {
    Rdb(Box<RdbStream>),
    Commands(Box<CommandStream>),
}

/// An export as commands.
struct CommandStream {
    keys: ExportStream,
    head: Option<Vec<u8>>,
    database: Option<u32>,
    slow: SlowKeys,
}

impl CommandStream {
    fn next_blocking(&mut self) -> Result<Option<Vec<u8>>, crate::export::Stopped> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let Some(chunk) = self.keys.next_blocking()? else { return Ok(None) };
        let mut out = Vec::with_capacity(chunk.bytes.len() + 64);
        let mut start = 0;
        for &(db, end) in &chunk.runs {
            if self.database != Some(db) {
                encode_command(&mut out, &[b"SELECT", db.to_string().as_bytes()]);
                self.database = Some(db);
            }
            out.extend_from_slice(&chunk.bytes[start..end]);
            start = end;
        }
        self.slow.begin(chunk.keys);
        while let Some(step) = self.slow.step(&self.keys) {
            std::thread::sleep(step);
        }
        Ok(Some(out))
    }
}

impl Source {
    fn next_blocking(&mut self) -> Result<Option<Vec<u8>>, Failed> {
        match self {
            Source::Rdb(stream) => stream.next_blocking(),
            Source::Commands(stream) => stream.next_blocking(),
        }
        .map_err(|_| Failed::Stopped)
    }

    fn held_bytes_max(&self) -> u64 {
        match self {
            Source::Rdb(stream) => stream.held_bytes_max(),
            Source::Commands(stream) => stream.keys.held_bytes_max(),
        }
    }

    fn stopper(&self) -> Stopper {
        match self {
            Source::Rdb(stream) => stream.stopper(),
            Source::Commands(stream) => stream.keys.stopper(),
        }
    }
}

/// Makes the cut and has a thread write the base.
pub async fn run(
    server: ServerRef,
    directory: Directory,
    manifest: Manifest,
    target: Target,
    owner: Addr<AppendOnlyFile>,
) {
    let at_cut: Box<dyn FnOnce(&Facts) + Send> = match (&target.writer, target.number) {
        (Some(writer), Some(number)) => {
            let consumer = writer::consumer(&server, writer, number);
            let server = server.clone();
            Box::new(move |_| {
                let (reply, _) = tokio::sync::oneshot::channel();
                tell(server.replication_log(), AttachCommands { consumer, reply });
            })
        }
        _ => Box::new(|_| {}),
    };
    let config = server.config.load_full();
    let source = if config.aof_use_rdb_preamble {
        let options = RdbOptions { aof_base: true, ..RdbOptions::default() };
        Source::Rdb(Box::new(RdbStream::begin(server.clone(), options, at_cut).await))
    } else {
        let slot_imports: Arc<OnceLock<Vec<Establish>>> = Arc::default();
        let (found, at) = (slot_imports.clone(), server.clone());
        let at_cut: Box<dyn FnOnce(&Facts) + Send> = Box::new(move |facts| {
            // Nobody else sets it.
            let _ = found.set(at.migrations.open_imports());
            at_cut(facts);
        });
        let request = ExportRequest { format: Format::Commands, ends_at_flushall: false, at_cut };
        let keys = ExportStream::begin(server.clone(), request).await;
        let mut head = Vec::new();
        if config.aof_timestamp_enabled {
            head.extend_from_slice(format!("#TS:{}\r\n", clock::unix_ms() / 1000).as_bytes());
        }
        for code in server.scripts.library_codes() {
            encode_command(&mut head, &[b"FUNCTION", b"LOAD", &code]);
        }
        restore::write_commands(&mut head, slot_imports.get().map_or(&[], Vec::as_slice));
        Source::Commands(Box::new(CommandStream {
            keys,
            head: Some(head),
            database: None,
            slow: SlowKeys::default(),
        }))
    };
    tell(&owner, RewriteBegan { stopper: source.stopper() });
    let suffix = if config.aof_use_rdb_preamble { "rdb" } else { "aof" };
    let for_thread = owner.clone();
    let spawned = std::thread::Builder::new().name("rewrite".into()).spawn(move || {
        memory::register_thread();
        take_turns_as(Role::Background);
        let mut source = source;
        let result = write_base(&server, &mut source, &directory, manifest, &target, suffix);
        let held_bytes_max = source.held_bytes_max();
        drop(source);
        tell(&for_thread, RewriteEnded { result, held_bytes_max });
    });
    if let Err(error) = spawned {
        tracing::warn!("Can't rewrite append only file in background: {error}");
        tell(&owner, RewriteEnded { result: Err(Failed::Logged), held_bytes_max: 0 });
    }
}

fn temporary_base() -> String {
    format!("temp-rewriteaof-bg-{}.aof", std::process::id())
}

fn write_base(
    server: &Server,
    source: &mut Source,
    directory: &Directory,
    mut manifest: Manifest,
    target: &Target,
    suffix: &str,
) -> Result<Rewritten, Failed> {
    let logged = |e: &std::io::Error| {
        tracing::warn!("Write error writing append only file on disk: {}", os_text(e));
        Failed::Logged
    };
    let config = server.config.load_full();
    let temporary = temporary_base();
    let base = manifest.next_base(&directory.name, suffix);
    let path: PathBuf = directory.file(&base.name);
    let mut file = NewFile::create(PathBuf::from(&temporary), path, config.aof_rewrite_incremental_fsync)
        .map_err(|e| logged(&e))?;
    while let Some(bytes) = source.next_blocking()? {
        file.write(&bytes).map_err(|e| logged(&e))?;
    }
    tracing::info!("Successfully created the temporary AOF base file {temporary}");
    // A base that lacks what a FLUSHDB after the cut removed must not outlive a crash that the FLUSHDB does not.
    if let Some(writer) = &target.writer {
        let (done, synced) = channel();
        if writer.send(ToWriter::Sync(done)).is_ok() {
            let _ = synced.recv();
        }
    }
    file.finish().map_err(|e| logged(&e))?;
    tracing::info!("Successfully renamed the temporary AOF base file {temporary} into {}", base.name);
    match (&target.temporary, target.number) {
        (Some(temporary), Some(number)) => {
            manifest.retire_before(number);
            let part = manifest.next_incremental(&directory.name);
            std::fs::rename(directory.file(temporary), directory.file(&part.name)).map_err(|e| {
                tracing::warn!(
                    "Error trying to rename the temporary AOF incr file {temporary} into {}: {}",
                    part.name,
                    os_text(&e)
                );
                Failed::Logged
            })?;
            tracing::info!("Successfully renamed the temporary AOF incr file {temporary} into {}", part.name);
        }
        (None, Some(number)) => manifest.retire_before(number),
        _ => manifest.retire_before(u64::MAX),
    }
    directory.write_manifest(&manifest).map_err(|_| Failed::Logged)?;
    if !config.aof_disable_auto_gc {
        directory.delete_history(&mut manifest).map_err(|_| Failed::Logged)?;
    }
    Ok(Rewritten { manifest })
}

/// The base of a data set without keys, at the first start.
pub fn write_empty_base(
    server: &Server,
    directory: &Directory,
    manifest: &mut Manifest,
) -> std::io::Result<()> {
    let config = server.config.load_full();
    let suffix = if config.aof_use_rdb_preamble { "rdb" } else { "aof" };
    let base = manifest.next_base(&directory.name, suffix);
    tracing::info!("Creating AOF base file {} on server start", base.name);
    let mut file = NewFile::create(PathBuf::from(temporary_base()), directory.file(&base.name), false)?;
    if config.aof_use_rdb_preamble {
        let mut writer = FileWriter::new(Compression::on_if(config.rdbcompression), config.rdbchecksum);
        usual_aux(&mut writer, clock::unix_ms());
        writer.aux(b"aof-base", b"1");
        file.write(&writer.finish())?;
    }
    file.finish()
}
