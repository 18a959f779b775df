//! RDB files on disk: written beside the old one, forced to the disk, then put in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use skuld::config::Config;
use skuld::export::{Chunk, Format};
use skuld::keyspace::{Keyspace, Part, Touch};
use skuld::rdb::Compression;
use skuld::rdb::file::FileWriter;
use skuld::slot::Slot;

use super::rdb_stream::{HistoryMark, RdbStream, key_format, usual_aux};
use crate::clock;
use crate::configure::os_text;
use crate::migration::restore;
use crate::server::Server;

/// Bytes written between two requests to the system to put them on the disk (`rdb-save-incremental-fsync`).
const SYNC_BYTES: u64 = 4 << 20;

/// Why a file was not saved.
#[derive(Debug)]
pub enum SaveError {
    /// Logged already.
    Failed,
    /// FLUSHALL or BGSAVE CANCEL.
    Stopped,
}

/// A file being written under another name until it is whole.
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    unsynced: u64,
    sync_early: bool,
    kept: bool,
}

impl NewFile {
    /// Begins to write what will be `target`.
    pub fn create(temporary: PathBuf, target: PathBuf, sync_early: bool) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        Ok(Self { file, temporary, target, unsynced: 0, sync_early, kept: false })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.sync_early && self.unsynced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Puts the file in its place for good.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.put_in_place()
    }

    /// Forces what was written to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// The last step of [`NewFile::finish`].
    pub fn put_in_place(mut self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.target)?;
        self.kept = true;
        sync_directory(&self.target)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been made.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Makes names in the directory of `file` outlive a crash of the machine.
pub fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Where the snapshot is.
pub fn snapshot_path(config: &Config) -> PathBuf {
    PathBuf::from(&*config.dbfilename.to_str())
}

/// What tells the names of unfinished files apart: one can be cut off by the other.
const FOREGROUND: &str = "";
const BACKGROUND: &str = "-bg";

fn temporary_path(kind: &str) -> PathBuf {
    PathBuf::from(format!("temp-{}{kind}.rdb", std::process::id()))
}

fn begin(config: &Config, kind: &str) -> Result<NewFile, SaveError> {
    let temporary = temporary_path(kind);
    NewFile::create(temporary.clone(), snapshot_path(config), config.rdb_save_incremental_fsync).map_err(
        |e| {
            tracing::warn!(
                "Failed opening the temp RDB file {} (in server root dir {}) for saving: {}",
                temporary.display(),
                config.dir,
                os_text(&e)
            );
            SaveError::Failed
        },
    )
}

fn write_error(e: &io::Error) -> SaveError {
    tracing::warn!("Write error while saving DB to the disk(write): {}", os_text(e));
    SaveError::Failed
}

/// Puts a complete file in its place.
fn finish(config: &Config, file: NewFile) -> Result<(), SaveError> {
    file.sync().map_err(|e| write_error(&e))?;
    let (temporary, target) = (file.temporary.clone(), file.target.clone());
    file.put_in_place().map_err(|e| {
        tracing::warn!(
            "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
            temporary.display(),
            target.display(),
            config.dir,
            os_text(&e)
        );
        SaveError::Failed
    })
}

/// Writes the stream's bytes to `dbfilename`. For a thread of its own.
pub fn save_stream(server: &Server, stream: &mut RdbStream) -> Result<(), SaveError> {
    let config = server.config.load_full();
    let mut file = begin(&config, BACKGROUND)?;
    loop {
        match stream.next_blocking() {
            Ok(Some(bytes)) => file.write(&bytes).map_err(|e| write_error(&e))?,
            Ok(None) => break,
            Err(_) => return Err(SaveError::Stopped),
        }
        server.persistence.save_keys_done.store(stream.keys_done, Ordering::Relaxed);
    }
    finish(&config, file)?;
    tracing::info!("DB saved on disk");
    Ok(())
}

/// Saves everything in one go, for the end of the process and for DEBUG RELOAD: nobody is served meanwhile.
pub fn save_at_once(
    server: &Server,
    keyspace: &Keyspace,
    history: Option<&HistoryMark>,
) -> Result<(), SaveError> {
    let config = server.config.load_full();
    let mut file = begin(&config, FOREGROUND)?;
    let format = key_format(&config);
    let compression = Compression::on_if(config.rdbcompression);
    let mut writer = FileWriter::new(compression, config.rdbchecksum);
    usual_aux(&mut writer, clock::unix_ms());
    for (name, value) in history.iter().flat_map(|mark| mark.fields()) {
        writer.aux(name, &value);
    }
    writer.aux(b"aof-base", b"0");
    server.scripts.library_codes().iter().for_each(|code| writer.function(code));
    restore::write(&mut writer, &server.migrations.open_imports());
    let databases = keyspace.parts().iter().map(|p| p.databases()).max().unwrap_or(0);
    for db in (0..databases).filter(|&db| has_keys(keyspace, db)) {
        writer.database(db, keyspace.keys(db), keyspace.expires(db));
        for_each_chunk(keyspace, db, format, &config, &mut |chunk| {
            writer.encoded(chunk);
            file.write(&writer.take())
        })
        .map_err(|e| write_error(&e))?;
    }
    file.write(&writer.finish()).map_err(|e| write_error(&e))?;
    finish(&config, file)?;
    tracing::info!("DB saved on disk");
    server.dirty.store(0, Ordering::Relaxed);
    server.last_save_ms.store(clock::unix_ms(), Ordering::Relaxed);
    server.persistence.last_save_failed.store(false, Ordering::Relaxed);
    Ok(())
}

/// Whether there is a key, hidden ones included.
fn has_keys(keyspace: &Keyspace, db: u32) -> bool {
    let first = |part: &Part| part.database(db)?.next_used_or_hidden_slot(Slot(0), part.index());
    keyspace.parts().iter().any(|part| first(part).is_some())
}

fn touch_now(config: &Config) -> Touch {
    let seconds = clock::unix_ms() / 1000;
    let lfu = config.maxmemory_policy.is_lfu();
    Touch {
        clock: if lfu { (seconds / 60) as u32 & 0xffff } else { seconds as u32 & 0xff_ffff },
        lfu,
        lfu_log_factor: config.lfu_log_factor,
        lfu_decay_minutes: config.lfu_decay_time,
        draw: 0,
    }
}

fn for_each_chunk(
    keyspace: &Keyspace,
    db: u32,
    format: Format,
    config: &Config,
    f: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const CHUNK_BYTES: usize = 256 * 1024;
    let touch = touch_now(config);
    let delay = Duration::from_micros(u64::try_from(config.rdb_key_save_delay).unwrap_or(0));
    let mut chunk = Chunk::default();
    for part in keyspace.parts() {
        let Some(database) = part.database(db) else { continue };
        let mut at = Slot(0);
        while let Some(slot) = database.next_used_or_hidden_slot(at, part.index()) {
            let Some(table) = database.slot(slot).map(|slot| slot.table()) else { break };
            chunk.announce(format, db, slot, table);
            for entry in table.iter() {
                chunk.put(format, db, entry, touch);
                if !delay.is_zero() {
                    std::thread::sleep(delay);
                }
                if chunk.bytes.len() > CHUNK_BYTES {
                    f(&chunk.bytes)?;
                    chunk = Chunk::default();
                }
            }
            at = Slot(slot.0 + 1);
        }
    }
    f(&chunk.bytes)
}

/// Removes what a save that was cut off left behind.
pub fn remove_temporary() {
    for kind in [FOREGROUND, BACKGROUND] {
        // It need not be there.
        let _ = std::fs::remove_file(temporary_path(kind));
    }
}
