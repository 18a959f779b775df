//! From the bytes of an RDB file, wherever they come from, to the keys of all shards.
//!
//! ```text
//!  bytes --> reader thread (decodes) --> one builder per shard (a Part nobody else sees) --> all-slots task: installed
//! ```
//! Nothing of a file is visible before all of it is there and found sound.
//!
//! Invariant: a failed load leaves the shards as they were.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use skuld::config::Config;
use skuld::effects::{DatabaseChange, Effects, Freeing, Garbage};
use skuld::hash::hash;
use skuld::keyspace::{Entry, Keyspace, NewValue, Part, Value};
use skuld::rdb::Limits;
use skuld::rdb::file::{FileError, FileItem, FileKey, FileReader, SLOT_HINT, Usage};
use skuld::slot::{Slot, slot_of};
use tokio::sync::oneshot;

use crate::clock;
use crate::envelope::tell;
use crate::executor::Executor;
use crate::memory;
use crate::migration;
use crate::scripting::functions::{Policy, Time};
use crate::server::ServerRef;
use crate::shard::RunOverAll;

/// What to do with what a file holds.
#[derive(Clone, Debug)]
pub struct LoadRules {
    /// Drop keys and fields whose deadline is before this, Unix milliseconds: for primaries, and not for the base of an
    /// append-only file.
    pub drop_expired_before: Option<i64>,
    /// Count bytes and memory in INFO's fields about loading.
    pub show_progress: bool,
    /// The bytes come over a link that checks them itself, or checking was switched off.
    pub skip_checksum: bool,
    /// Databases get identities above these, by shard (see [`reserve_ids`]).
    pub ids_after: Vec<u32>,
    /// Remember which keys were dropped: replicas that may go on from here still have them.
    pub remember_dropped: bool,
}

/// A job name and ranges of slots, ends included.
pub type SlotImport = (Vec<u8>, Vec<(u64, u64)>);

/// A data set that is not installed yet.
#[derive(Default)]
pub struct Loaded {
    pub parts: Vec<Part>,
    pub functions: Vec<Vec<u8>>,
    /// The fields of the file's head.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// Imports of slots under way: job name and ranges, ends included.
    pub slot_imports: Vec<SlotImport>,
    pub keys_loaded: u64,
    pub keys_expired: u64,
    /// Database and name of keys that were dropped, if that was asked for.
    pub dropped: Vec<(u32, Vec<u8>)>,
    pub keys_skipped: u64,
    pub hashes_expired: u64,
    /// Bytes that were read behind the end of the file.
    pub rest: Vec<u8>,
    /// Length of the file itself, bytes.
    pub length: u64,
    /// The file it is, if it may be given away.
    pub file: Option<std::path::PathBuf>,
}

impl Loaded {
    /// A field of the head.
    pub fn aux(&self, name: &[u8]) -> Option<&[u8]> {
        self.aux.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("{error} at offset {offset}")]
    File { error: FileError, offset: u64 },
    #[error("duplicated key '{}' in DB {db} at offset {offset}", String::from_utf8_lossy(key))]
    Duplicate { key: Vec<u8>, db: u32, offset: u64 },
    #[error("database {number} at offset {offset}, but there are only {databases}")]
    Database { number: u64, databases: u32, offset: u64 },
    #[error("the load was cancelled")]
    Cancelled,
}

/// Reserves identities for the databases of a data set that is to be installed while the server runs.
pub async fn reserve_ids(server: &ServerRef) -> Vec<u32> {
    let databases = server.config.load().databases;
    run_over_all(server, move |keyspace, _| {
        keyspace.parts_mut().iter_mut().map(|part| part.reserve_ids(databases)).collect()
    })
    .await
}

/// Has shards do something while all slots are held, and waits for it.
pub async fn run_over_all<T: Send + 'static>(
    server: &ServerRef,
    f: impl FnOnce(&mut Keyspace, &mut Executor) -> T + Send + 'static,
) -> T {
    let (reply, answer) = oneshot::channel();
    let task = Box::new(move |keyspace: &mut Keyspace, executor: &mut Executor| {
        // Whoever asked may have gone.
        let _ = reply.send(f(keyspace, executor));
    });
    tell(server.shard(0), RunOverAll { task });
    answer.await.expect("a shard ends only with the process")
}

/// Empties all databases. Identities are reserved for the new ones, so that what still names an old one (deadlines, marks of
/// exports) never means a new one.
pub async fn clear(server: &ServerRef) {
    let workers = server.workers;
    let ids_after = reserve_ids(server).await;
    let parts = (0..workers)
        .map(|index| {
            let after = ids_after.get(usize::from(index)).copied().unwrap_or(0);
            Part::for_loading(index, workers, after)
        })
        .collect();
    let empty = Loaded { parts, ..Loaded::default() };
    // Nothing is there that could be in the way.
    let _ = install(server, empty, Install::Replace).await;
}

/// Entries that travel together to a builder.
const BATCH: usize = 256;
/// Batches on their way to one builder.
const BATCHES_AHEAD: usize = 32;
const READ_BYTES: usize = 256 * 1024;

type Row = (u32, Slot, u64, u64, Entry);

/// Reads a whole file. For a thread that may block; `cancelled` is looked at between pieces.
pub fn load(
    server: &ServerRef,
    source: &mut dyn Read,
    rules: &LoadRules,
    cancelled: &AtomicBool,
) -> Result<Loaded, LoadError> {
    let config = server.config.load_full();
    let workers = server.workers;
    std::thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut builders = Vec::new();
        for index in 0..workers {
            let (sender, receiver) = sync_channel::<Vec<Row>>(BATCHES_AHEAD);
            let ids_after = rules.ids_after.get(usize::from(index)).copied().unwrap_or(0);
            senders.push(sender);
            builders.push(scope.spawn(move || {
                memory::register_thread();
                let mut part = Part::for_loading(index, workers, ids_after);
                for batch in receiver {
                    for (db, slot, hash, offset, entry) in batch {
                        let found = part.database(db).and_then(|d| d.find(slot, hash, entry.key()));
                        if found.is_some() {
                            let key = entry.key().to_vec();
                            return Err(LoadError::Duplicate { key, db, offset });
                        }
                        part.load(db, slot, hash, entry);
                    }
                }
                Ok(part)
            }));
        }
        let read = read_all(server, source, rules, cancelled, &config, senders);
        let mut parts = Vec::new();
        for builder in builders {
            // A panic there has ended the process.
            parts.push(builder.join().unwrap_or(Err(LoadError::Cancelled))?);
        }
        read.map(|loaded| Loaded { parts, ..loaded })
    })
}

/// Reads and decodes, and hands entries to the builders of their shards.
fn read_all(
    server: &ServerRef,
    source: &mut dyn Read,
    rules: &LoadRules,
    cancelled: &AtomicBool,
    config: &Config,
    builders: Vec<SyncSender<Vec<Row>>>,
) -> Result<Loaded, LoadError> {
    let verify = config.rdbchecksum && !rules.skip_checksum && !config.skip_checksums;
    let mut reader = FileReader::new(config.rdb_version_check, verify, Limits::of(config));
    let mut buffer = vec![0; READ_BYTES];
    let mut batches: Vec<Vec<Row>> = builders.iter().map(|_| Vec::with_capacity(BATCH)).collect();
    let mut loaded = Loaded::default();
    let clocks = Clocks::now(config);
    let mut db = 0;
    let mut slept = 0u64;
    loop {
        let offset = reader.offset();
        let item = match reader.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(LoadError::Cancelled);
                }
                match source.read(&mut buffer)? {
                    0 => reader.complete(),
                    n => {
                        reader.push(&buffer[..n]);
                        if rules.show_progress {
                            server.persistence.load.loaded_bytes.fetch_add(n as u64, Ordering::Relaxed);
                        }
                    }
                }
                continue;
            }
            Err(error) => return Err(LoadError::File { error, offset: reader.offset() }),
        };
        match item {
            FileItem::Aux { name, value } => {
                if rules.show_progress && name == b"used-mem" {
                    let bytes = std::str::from_utf8(&value).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
                    server.persistence.load.used_memory.store(bytes, Ordering::Relaxed);
                }
                say_aux(&name, &value);
                // Hints about slots come once per slot; nobody asks for them later.
                if name != SLOT_HINT {
                    loaded.aux.push((name, value));
                }
            }
            FileItem::Function(code) => loaded.functions.push(code),
            FileItem::SlotImport { name, ranges } => loaded.slot_imports.push((name, ranges)),
            FileItem::Database(number) => {
                if number >= u64::from(config.databases) {
                    let databases = config.databases;
                    return Err(LoadError::Database { number, databases, offset });
                }
                db = number as u32;
            }
            FileItem::Sizes { .. } => {}
            FileItem::Skipped(key) => {
                loaded.keys_skipped += 1;
                if loaded.keys_skipped <= 10 {
                    if config.hide_user_data_from_log {
                        tracing::info!("rdbLoadObject skipping empty key");
                    } else {
                        tracing::info!("rdbLoadObject skipping empty key: {}", String::from_utf8_lossy(&key));
                    }
                }
            }
            FileItem::Key(key) => {
                delay(server.config.load().key_load_delay, &mut slept);
                if let Some((entry, slot)) = entry_of(*key, db, rules, &clocks, &mut loaded) {
                    let hash = hash(entry.key());
                    let builder = usize::from(slot.0) % builders.len();
                    let batch = &mut batches[builder];
                    batch.push((db, slot, hash, offset, entry));
                    if batch.len() == BATCH {
                        let full = std::mem::replace(batch, Vec::with_capacity(BATCH));
                        if builders[builder].send(full).is_err() {
                            // It has found something wrong and says so itself.
                            return Err(LoadError::Cancelled);
                        }
                    }
                }
            }
            FileItem::End => {
                loaded.rest = reader.rest().to_vec();
                loaded.length = reader.offset();
                for (builder, batch) in builders.iter().zip(batches) {
                    // It has found something wrong and says so itself.
                    let _ = builder.send(batch);
                }
                return Ok(loaded);
            }
        }
    }
}

/// `key-load-delay`: microseconds per key, or keys per microsecond if negative.
fn delay(configured: i32, slept: &mut u64) {
    match configured {
        0 => {}
        1.. => std::thread::sleep(Duration::from_micros(configured as u64)),
        _ => {
            *slept += 1;
            if slept.is_multiple_of(u64::from(configured.unsigned_abs())) {
                std::thread::sleep(Duration::from_micros(1));
            }
        }
    }
}

fn say_aux(name: &[u8], value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let number = || text.parse::<i64>().unwrap_or(0);
    match name {
        b"valkey-ver" => tracing::info!("Loading RDB produced by Valkey version {text}"),
        b"redis-ver" => tracing::info!("Loading RDB produced by Redis version {text}"),
        b"ctime" => tracing::info!("RDB age {} seconds", (clock::unix_ms() / 1000 - number()).max(0)),
        b"used-mem" => {
            tracing::info!("RDB memory usage when created {:.2} Mb", number() as f64 / (1024.0 * 1024.0));
        }
        b"aof-base" if number() == 1 => tracing::info!("RDB is base AOF"),
        [b'%', ..] => tracing::info!("RDB '{}': {text}", String::from_utf8_lossy(name)),
        _ => {}
    }
}

/// What access words are made of.
struct Clocks {
    lfu: bool,
    seconds: u32,
    minutes: u32,
}

impl Clocks {
    fn now(config: &Config) -> Self {
        let seconds = clock::unix_ms() / 1000;
        Self {
            lfu: config.maxmemory_policy.is_lfu(),
            seconds: seconds as u32 & 0xff_ffff,
            minutes: (seconds / 60) as u32 & 0xffff,
        }
    }

    fn word(&self, usage: Usage) -> u32 {
        const LFU_INITIAL: u32 = 5;
        match usage {
            Usage::Frequency(counter) if self.lfu => self.minutes << 8 | u32::from(counter),
            Usage::Idle(idle) if !self.lfu => self.seconds.wrapping_sub(idle as u32) & 0xff_ffff,
            _ if self.lfu => self.minutes << 8 | LFU_INITIAL,
            _ => self.seconds,
        }
    }
}

/// The entry of a key that is to be there, and its slot.
fn entry_of(
    key: FileKey,
    db: u32,
    rules: &LoadRules,
    clocks: &Clocks,
    loaded: &mut Loaded,
) -> Option<(Entry, Slot)> {
    let FileKey { key, mut value, deadline, usage } = key;
    if let Some(now) = rules.drop_expired_before {
        if deadline.is_some_and(|deadline| deadline < now) {
            loaded.keys_expired += 1;
            if rules.remember_dropped {
                loaded.dropped.push((db, key));
            }
            return None;
        }
        if let Value::Hash(hash) = &mut value
            && hash.earliest_deadline_ms().is_some_and(|deadline| deadline < now)
        {
            hash.remove_due(now, usize::MAX, |_| {});
            if hash.is_empty() {
                loaded.hashes_expired += 1;
                return None;
            }
        }
    }
    loaded.keys_loaded += 1;
    let slot = slot_of(&key);
    let mut entry = Entry::new(&key, NewValue::Owned(value), deadline);
    entry.set_access_word(clocks.word(usage));
    Some((entry, slot))
}

/// Whether what is there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Install {
    /// What was there goes.
    Replace,
    /// What is there stays; keys that are in both are taken from the file, or refused.
    Merge { overwrite: bool },
}

/// Why a loaded data set was not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("a key is there already")]
    KeyExists,
    #[error("functions: {0}")]
    Functions(String),
}

/// Makes a loaded data set the one that is served, functions included.
pub async fn install(server: &ServerRef, loaded: Loaded, how: Install) -> Result<(), InstallError> {
    let for_task = server.clone();
    run_over_all(server, move |keyspace, executor| install_here(&for_task, keyspace, executor, loaded, how))
        .await
}

/// [`install`] for whoever holds all slots already.
pub fn install_here(
    server: &ServerRef,
    keyspace: &mut Keyspace,
    executor: &mut Executor,
    loaded: Loaded,
    how: Install,
) -> Result<(), InstallError> {
    server.persistence.keys_loaded.store(loaded.keys_loaded, Ordering::Relaxed);
    server.persistence.keys_expired.store(loaded.keys_expired, Ordering::Relaxed);
    let (mut parts, functions) = (loaded.parts, loaded.functions);
    let policy = match how {
        Install::Replace => Policy::Flush,
        Install::Merge { overwrite: true } => Policy::Replace,
        Install::Merge { overwrite: false } => Policy::Append,
    };
    if functions.is_empty() && how == Install::Replace {
        server.scripts.flush_libraries();
    } else if !functions.is_empty() {
        executor
            .load_libraries(&functions, policy, Time::Unlimited)
            .map_err(|line| InstallError::Functions(String::from_utf8_lossy(&line).into_owned()))?;
    }
    let effects = &mut executor.effects;
    match how {
        Install::Replace => {
            migration::restore::hide(server, &mut parts, &loaded.slot_imports);
            for (part, loaded) in keyspace.parts_mut().iter_mut().zip(parts) {
                for old in part.adopt(loaded) {
                    let garbage = if old.is_exporting() {
                        Garbage::Exporting(part.index(), old)
                    } else {
                        Garbage::Tables(old.into_tables())
                    };
                    effects.garbage.push(Freeing::Uncounted.apply(garbage));
                }
            }
            effects.databases.push(DatabaseChange::AllFlushed);
            migration::restore::follow(server, &loaded.slot_imports);
            Ok(())
        }
        Install::Merge { overwrite } => {
            if merge(keyspace, effects, parts, overwrite) {
                Ok(())
            } else {
                Err(InstallError::KeyExists)
            }
        }
    }
}

fn merge(keyspace: &mut Keyspace, effects: &mut Effects, parts: Vec<Part>, overwrite: bool) -> bool {
    use skuld::keyspace::{Access, ExpiryRules, Touch};
    for part in parts {
        let index = part.index();
        for db in 0..part.databases() {
            let Some(database) = part.database(db) else { continue };
            let mut at = Slot(0);
            while let Some(slot) = database.next_used_slot(at, index) {
                for entry in database.slot(slot).iter().flat_map(|t| t.table().iter()) {
                    let mut access = Access {
                        keyspace,
                        effects,
                        db,
                        now: 0,
                        rules: ExpiryRules::default(),
                        touch: Touch::default(),
                        lazy_expire: true,
                        lazy_server_del: true,
                        client_no_touch: true,
                        hint: None,
                    };
                    if access.peek(db, entry.key()).is_some() && (!overwrite || !access.remove(entry.key())) {
                        return false;
                    }
                    let value = NewValue::Owned(entry.duplicate_value());
                    let word = entry.access_word() & 0xff_ffff;
                    let new = access.insert_in(db, entry.key(), value, entry.expiry());
                    new.set_access_word(new.access_word() & 0xff00_0000 | word);
                }
                at = Slot(slot.0 + 1);
            }
        }
    }
    true
}

/// Loads from a source on a thread of its own, without touching what is served.
pub async fn load_in_thread<R: Read + Send + 'static>(
    server: &ServerRef,
    mut source: R,
    rules: LoadRules,
    cancelled: Arc<AtomicBool>,
) -> (Result<Loaded, LoadError>, R) {
    let (reply, answer) = oneshot::channel();
    let server = server.clone();
    std::thread::Builder::new()
        .name("load".into())
        .spawn(move || {
            memory::register_thread();
            let result = load(&server, &mut source, &rules, &cancelled);
            // Whoever asked may have gone.
            let _ = reply.send((result, source));
        })
        .expect("the system gives a thread");
    answer.await.expect("the thread answers or the process ends")
}
