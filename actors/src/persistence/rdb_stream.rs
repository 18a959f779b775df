//! An export as the bytes of an RDB file, piece by piece, for a file or a socket.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use skuld::config::Config;
use skuld::export::{Chunk, Format, UseOfKeys};
use skuld::migration::messages::Establish;
use skuld::rdb::Compression;
use skuld::rdb::file::FileWriter;
use skuld::version::VERSION;
use tokio::sync::oneshot;

use crate::envelope::tell;
use crate::export::{ExportRequest, ExportStream, Facts, Stopped, Stopper};
use crate::memory;
use crate::migration::restore;
use crate::replication::{Held, hold_stream};
use crate::replication_log::{DescribePosition, Position};
use crate::server::{Server, ServerRef};

/// What a file says about itself beside its keys.
#[derive(Default)]
pub struct RdbOptions {
    /// The base of an append-only file.
    pub aof_base: bool,
    /// FLUSHALL stops it.
    pub ends_at_flushall: bool,
    /// Fields such as `repl-id`, written behind the usual ones; asked for after the cut.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// Zero instead of a checksum, whatever `rdbchecksum` says.
    pub no_checksum: bool,
}

/// The bytes of a file. Dropping it stops the export.
pub struct RdbStream {
    keys: ExportStream,
    writer: Option<FileWriter>,
    head: Option<RdbOptions>,
    begun: BTreeSet<u32>,
    database: Option<u32>,
    /// Keys handed out so far.
    pub keys_done: u64,
    slow: SlowKeys,
    /// Imports of slots under way at the cut.
    slot_imports: Arc<OnceLock<Vec<Establish>>>,
}

/// The format of keys in a file, by configuration.
pub fn key_format(config: &Config) -> Format {
    let policy = config.maxmemory_policy;
    let use_of_keys = if policy.is_lfu() {
        UseOfKeys::Frequency
    } else if policy.is_lru() {
        UseOfKeys::Idle
    } else {
        UseOfKeys::Unsaid
    };
    Format::Rdb {
        compression: Compression::on_if(config.rdbcompression),
        use_of_keys,
        slot_hints: config.cluster_enabled,
    }
}

/// The fields every file begins with.
pub fn usual_aux(writer: &mut FileWriter, time_ms: i64) {
    writer.aux(b"valkey-ver", VERSION.as_bytes());
    writer.aux(b"redis-bits", b"64");
    writer.aux(b"ctime", (time_ms / 1000).to_string().as_bytes());
    writer.aux(b"used-mem", memory::used().to_string().as_bytes());
}

/// Where in a replication history the data of a file are.
#[derive(Clone, Debug)]
pub struct HistoryMark {
    pub name: String,
    pub offset: i64,
    /// The database the stream is in.
    pub db: i64,
}

impl HistoryMark {
    /// The place, if there is anybody who may go on from it. `held` is the primary's stream, standing still.
    pub fn of(server: &Server, position: Position, held: Option<&Held>) -> Option<Self> {
        let db = match held {
            Some(held) => i64::from(held.db),
            None if server.replication.is_replica() => i64::from(server.replication.link().db),
            None => position.db.max(0),
        };
        position.is_kept.then_some(Self { name: position.replication_id, offset: position.offset, db })
    }

    /// The fields of a file's head that say so.
    pub fn fields(&self) -> [(&'static [u8], Vec<u8>); 3] {
        [
            (b"repl-stream-db", self.db.max(0).to_string().into_bytes()),
            (b"repl-id", self.name.clone().into_bytes()),
            (b"repl-offset", self.offset.to_string().into_bytes()),
        ]
    }
}

impl RdbStream {
    /// [`RdbStream::begin`] for a file from which replication may go on after a restart.
    pub async fn begin_with_history(server: ServerRef, options: RdbOptions) -> Self {
        // On a replica what was executed is known to the log only between two batches of the primary's stream.
        let held = hold_stream(&server).await;
        let (reply, position) = oneshot::channel();
        let log = server.replication_log().clone();
        let at_cut = Box::new(move |_: &Facts| tell(&log, DescribePosition { reply }));
        let mut stream = Self::begin(server.clone(), options, at_cut).await;
        let mark = position.await.ok().and_then(|position| HistoryMark::of(&server, position, held.as_ref()));
        if let Some(mark) = mark {
            stream.add_history(&mark);
        }
        stream
    }

    /// Says in the head of the file where in a history its data are.
    pub fn add_history(&mut self, mark: &HistoryMark) {
        for (name, value) in mark.fields() {
            self.add_aux(name, &value);
        }
    }

    /// Makes the cut. `at_cut` runs while nobody executes anything; what it sends is ordered with the cut.
    pub async fn begin(
        server: ServerRef,
        options: RdbOptions,
        at_cut: Box<dyn FnOnce(&Facts) + Send>,
    ) -> Self {
        let config = server.config.load_full();
        let slot_imports: Arc<OnceLock<Vec<Establish>>> = Arc::default();
        let (found, migrations) = (slot_imports.clone(), server.clone());
        let at_cut: Box<dyn FnOnce(&Facts) + Send> = Box::new(move |facts| {
            // Nobody else sets it.
            let _ = found.set(migrations.migrations.open_imports());
            at_cut(facts);
        });
        let request =
            ExportRequest { format: key_format(&config), ends_at_flushall: options.ends_at_flushall, at_cut };
        let keys = ExportStream::begin(server, request).await;
        let checksum = config.rdbchecksum && !options.no_checksum;
        let writer = FileWriter::new(Compression::on_if(config.rdbcompression), checksum);
        Self {
            keys,
            writer: Some(writer),
            head: Some(options),
            begun: BTreeSet::new(),
            database: None,
            keys_done: 0,
            slow: SlowKeys::default(),
            slot_imports,
        }
    }

    pub fn facts(&self) -> &Facts {
        &self.keys.facts
    }

    /// Adds fields to the head; only before the first piece is taken.
    pub fn add_aux(&mut self, name: &[u8], value: &[u8]) {
        if let Some(head) = &mut self.head {
            head.aux.push((name.to_vec(), value.to_vec()));
        }
    }

    pub fn stopper(&self) -> Stopper {
        self.keys.stopper()
    }

    pub fn held_bytes_max(&self) -> u64 {
        self.keys.held_bytes_max()
    }

    /// The next bytes of the file; `None` behind its end. Asking for more says that what was returned is used up.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Stopped> {
        if let Some(bytes) = self.take_head() {
            return Ok(Some(bytes));
        }
        if self.writer.is_none() {
            return Ok(None);
        }
        while let Some(step) = self.delay_step() {
            tokio::time::sleep(step).await;
        }
        let chunk = self.keys.next().await?;
        Ok(Some(self.framed(chunk)))
    }

    /// [`RdbStream::next`] for threads that may block.
    pub fn next_blocking(&mut self) -> Result<Option<Vec<u8>>, Stopped> {
        if let Some(bytes) = self.take_head() {
            return Ok(Some(bytes));
        }
        if self.writer.is_none() {
            return Ok(None);
        }
        while let Some(step) = self.delay_step() {
            std::thread::sleep(step);
        }
        let chunk = self.keys.next_blocking()?;
        Ok(Some(self.framed(chunk)))
    }

    /// What is left to sleep, in steps, of what `rdb-key-save-delay` asks for; it may be changed or ended meanwhile.
    fn delay_step(&mut self) -> Option<Duration> {
        self.slow.step(&self.keys)
    }

    fn take_head(&mut self) -> Option<Vec<u8>> {
        let options = self.head.take()?;
        let time_ms = self.keys.facts.time_ms;
        let functions = self.keys.server().scripts.library_codes();
        let writer = self.writer.as_mut()?;
        usual_aux(writer, time_ms);
        for (name, value) in &options.aux {
            writer.aux(name, value);
        }
        writer.aux(b"aof-base", if options.aof_base { b"1" } else { b"0" });
        functions.iter().for_each(|code| writer.function(code));
        restore::write(writer, self.slot_imports.get().map_or(&[], Vec::as_slice));
        Some(writer.take())
    }

    fn framed(&mut self, chunk: Option<Chunk>) -> Vec<u8> {
        let Some(chunk) = chunk else {
            return self.writer.take().map_or_else(Vec::new, FileWriter::finish);
        };
        let Some(writer) = &mut self.writer else { return Vec::new() };
        let mut start = 0;
        for &(number, end) in &chunk.runs {
            if self.begun.insert(number) {
                let (keys, deadlines) = self.keys.facts.databases.get(&number).copied().unwrap_or_default();
                writer.database(number, keys, deadlines);
            } else if self.database != Some(number) {
                writer.reselect(number);
            }
            self.database = Some(number);
            writer.encoded(&chunk.bytes[start..end]);
            start = end;
        }
        self.keys_done += chunk.keys;
        self.slow.begin(chunk.keys);
        writer.take()
    }
}

/// `rdb-key-save-delay`: sleeps after keys were handed out.
#[derive(Default)]
pub struct SlowKeys {
    keys: u64,
    since: Option<std::time::Instant>,
}

impl SlowKeys {
    /// So many keys were handed out.
    pub fn begin(&mut self, keys: u64) {
        self.keys += keys;
        self.since = None;
    }

    /// How long to sleep before asking again; `None` when it was enough.
    pub fn step(&mut self, export: &ExportStream) -> Option<Duration> {
        let per_key = u64::try_from(export.server().config.load().rdb_key_save_delay).unwrap_or(0);
        let whole = Duration::from_micros(self.keys.saturating_mul(per_key));
        let since = *self.since.get_or_insert_with(std::time::Instant::now);
        let left = whole.saturating_sub(since.elapsed());
        if left.is_zero() || export.is_stopped() {
            *self = Self::default();
            return None;
        }
        Some(left.min(DELAY_STEP))
    }
}

/// Longest sleep before a stop is noticed.
const DELAY_STEP: Duration = Duration::from_millis(10);
