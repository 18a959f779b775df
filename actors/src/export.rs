//! Exports of the whole data set as it was at one time, without stopping anybody: BGSAVE, AOF rewrite, full sync.
//!
//! ```text
//!   begin --> all-slots task: the cut (lane opened in every table, facts taken, marker sent) --> StartWalk to all shards
//!   shard:  slice, slice, ... ------ Piece::Keys ------+
//!   any shard: old value before a first write ---------+--> ExportStream --> receiver (file thread, socket task)
//!   ExportStream: what was received and used up gives credit back; a shard without credit waits
//! ```
//!
//! Invariant: what is on its way to a receiver is below `WINDOW` because of walks, and below `export-buffer-limit` plus
//! what the commands under way add because of writes; above that, commands that would add to it wait.
//! Invariant: a lane is free again only when every shard has closed all its tables for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwapOption;
use skuld::export::{Chunk, Format, LANES, Lane};
use skuld::keyspace::Keyspace;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::envelope::tell;
use crate::server::{Server, ServerRef};
use crate::shard::{ResumeExports, RunOverAll, StartWalk};

/// Bytes on their way to a receiver above which walks wait for credit.
const WINDOW: u64 = 8 << 20;

/// The exports under way, by lane.
#[derive(Default)]
pub struct Exports {
    /// Those that a FLUSHALL makes pointless, as long as somebody reads them.
    pointless_if_flushed: Mutex<Vec<Weak<Export>>>,
    lanes: [ArcSwapOption<Export>; LANES],
    in_use: Mutex<u8>,
    /// Number of lanes in use; shards look at it once per slice.
    count: AtomicUsize,
    freed: Notify,
}

/// One export under way: what shards and the receiver share.
pub struct Export {
    pub lane: Lane,
    pub format: Format,
    pieces: UnboundedSender<Piece>,
    /// Bytes sent and not used up yet.
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    /// Nobody wants the rest: shards only clear their marks.
    stopped: AtomicBool,
    shards_left: AtomicU16,
    limit: u64,
}

/// What arrives at the receiver.
enum Piece {
    Keys(Chunk),
    /// One key in pieces, none of them empty, to be handed out with nothing between.
    Together(Vec<Chunk>),
    /// One of the shards has no more.
    ShardDone,
}

/// What an export is asked to be.
pub struct ExportRequest {
    pub format: Format,
    /// FLUSHALL stops it: what it would hold is gone.
    pub ends_at_flushall: bool,
    /// Called while nobody runs anything: whatever is sent to other actors here is sent at the cut.
    pub at_cut: Box<dyn FnOnce(&Facts) + Send>,
}

/// What was true at the cut.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Keys and deadlines by number of database; those without keys are left out.
    pub databases: BTreeMap<u32, (u64, u64)>,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// `rdb_changes_since_last_save`.
    pub dirty: u64,
}

impl Facts {
    pub fn keys(&self) -> u64 {
        self.databases.values().map(|(keys, _)| keys).sum()
    }
}

impl Exports {
    /// Whether an export is under way.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    pub fn lane(&self, lane: usize) -> Option<Arc<Export>> {
        self.lanes[lane].load_full()
    }

    /// Stops the exports that a FLUSHALL makes pointless.
    pub fn flushed_all(&self, server: &Server) {
        let pointless = self.pointless_if_flushed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for export in pointless.iter().filter_map(Weak::upgrade) {
            export.stop();
            resume(server);
        }
    }

    /// The export is not worth reading to its end after a FLUSHALL.
    fn ends_at_flushall(&self, export: &Arc<Export>) {
        let mut pointless =
            self.pointless_if_flushed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pointless.retain(|export| export.strong_count() > 0);
        pointless.push(Arc::downgrade(export));
    }

    /// Sends old values to the export they are for.
    pub fn send(&self, lane: Lane, chunk: Chunk) {
        if let Some(export) = &*self.lanes[lane.index()].load() {
            export.send(chunk);
        }
    }

    /// The lanes (a bit each) whose receivers are so far behind that nothing may be added.
    pub fn crowded(&self) -> u8 {
        let is_crowded = |export: &Export| export.in_flight.load(Ordering::Relaxed) > export.limit;
        (0..LANES)
            .filter(|l| self.lanes[*l].load().as_ref().is_some_and(|e| is_crowded(e)))
            .fold(0, |bits, l| bits | 1 << l)
    }

    /// Bytes held for receivers now.
    pub fn held_bytes(&self) -> u64 {
        let held =
            |l: &ArcSwapOption<Export>| l.load().as_ref().map_or(0, |e| e.in_flight.load(Ordering::Relaxed));
        self.lanes.iter().map(held).sum()
    }

    async fn claim(&self, make: impl Fn(Lane) -> Arc<Export>) -> Arc<Export> {
        loop {
            let freed = self.freed.notified();
            {
                let mut in_use = self.in_use.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let free = (!*in_use).trailing_zeros() as usize;
                if free < LANES {
                    *in_use |= 1 << free;
                    let export = make(Lane::new(free));
                    self.lanes[free].store(Some(export.clone()));
                    self.count.fetch_add(1, Ordering::AcqRel);
                    return export;
                }
            }
            freed.await;
        }
    }

    /// A shard has closed all its tables for this export.
    pub fn shard_done(&self, export: &Export) {
        // Nobody may be there to hear it.
        let _ = export.pieces.send(Piece::ShardDone);
        if export.shards_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let lane = export.lane.index();
            self.lanes[lane].store(None);
            self.count.fetch_sub(1, Ordering::AcqRel);
            *self.in_use.lock().unwrap_or_else(std::sync::PoisonError::into_inner) &= !(1 << lane);
            self.freed.notify_one();
        }
    }
}

impl Export {
    /// Whether nobody wants the rest.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // The receiver may be waiting: wake it. Or it has gone.
        let _ = self.pieces.send(Piece::Keys(Chunk::default()));
    }

    /// Whether a walk may add to what is on its way.
    pub fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) < WINDOW.min(self.limit)
    }

    pub fn send(&self, chunk: Chunk) {
        if chunk.is_empty() || self.is_stopped() {
            return;
        }
        self.hold(chunk.bytes.len() as u64);
        // A receiver that is gone has set `stopped`, or is about to.
        let _ = self.pieces.send(Piece::Keys(chunk));
    }

    /// Sends the pieces of one key.
    pub fn send_together(&self, pieces: Vec<Chunk>) {
        if !self.is_stopped() {
            self.hold(pieces.iter().map(|piece| piece.bytes.len() as u64).sum());
            let _ = self.pieces.send(Piece::Together(pieces));
        }
    }

    /// So many bytes more are on their way.
    fn hold(&self, bytes: u64) {
        let now = self.in_flight.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.in_flight_max.fetch_max(now, Ordering::Relaxed);
    }
}

/// The receiver's end of an export. Dropping it stops the export.
pub struct ExportStream {
    server: ServerRef,
    export: Arc<Export>,
    pieces: UnboundedReceiver<Piece>,
    pub facts: Facts,
    shards_left: u16,
    /// Pieces of one key that come before anything else.
    together: std::vec::IntoIter<Chunk>,
    /// Bytes of the chunk handed out last, which gives its credit when the next one is asked for.
    in_use: u64,
}

/// The export was stopped before its end: by FLUSHALL or by somebody who cancelled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the export was stopped")]
pub struct Stopped;

/// Handle to stop an export from elsewhere.
#[derive(Clone)]
pub struct Stopper {
    export: Arc<Export>,
    server: ServerRef,
}

impl Stopper {
    pub fn stop(&self) {
        self.export.stop();
        resume(&self.server);
    }
}

fn resume(server: &Server) {
    server.shards().iter().for_each(|shard| tell(shard, ResumeExports));
}

impl ExportStream {
    /// Makes the cut; waits for a free lane first if as many exports are under way as there can be.
    pub async fn begin(server: ServerRef, request: ExportRequest) -> Self {
        let (sender, pieces) = unbounded_channel();
        let ExportRequest { format, ends_at_flushall, at_cut } = request;
        let workers = server.workers;
        let limit = server.config.load().export_buffer_limit.max(1 << 16);
        let make = |lane| {
            Arc::new(Export {
                lane,
                format,
                pieces: sender.clone(),
                in_flight: AtomicU64::new(0),
                in_flight_max: AtomicU64::new(0),
                stopped: AtomicBool::new(false),
                shards_left: AtomicU16::new(workers),
                limit,
            })
        };
        let export = server.exports.claim(make).await;
        if ends_at_flushall {
            server.exports.ends_at_flushall(&export);
        }
        let (reply, facts) = oneshot::channel();
        let (for_task, server_of_task) = (export.clone(), server.clone());
        let task = Box::new(move |keyspace: &mut Keyspace, _: &mut _| {
            let facts = cut(&server_of_task, &for_task, keyspace);
            at_cut(&facts);
            // Whoever began this may have gone; then the stream is dropped and the export stopped.
            let _ = reply.send(facts);
        });
        tell(server.shard(0), RunOverAll { task });
        let facts = facts.await.unwrap_or_default();
        Self {
            server,
            export,
            pieces,
            facts,
            shards_left: workers,
            together: Vec::new().into_iter(),
            in_use: 0,
        }
    }

    pub fn stopper(&self) -> Stopper {
        Stopper { export: self.export.clone(), server: self.server.clone() }
    }

    pub fn is_stopped(&self) -> bool {
        self.export.is_stopped()
    }

    pub fn server(&self) -> &ServerRef {
        &self.server
    }

    /// Most bytes that were held for this receiver at any time.
    pub fn held_bytes_max(&self) -> u64 {
        self.export.in_flight_max.load(Ordering::Relaxed)
    }

    /// The next keys; `None` at the end. What was returned before counts as used up.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Stopped> {
        self.use_up();
        if let Some(piece) = self.together.next() {
            return self.take(Piece::Keys(piece));
        }
        while self.shards_left > 0 {
            match self.pieces.recv().await {
                Some(piece) => {
                    if let Some(chunk) = self.take(piece)? {
                        return Ok(Some(chunk));
                    }
                }
                None => return Err(Stopped),
            }
        }
        if self.is_stopped() { Err(Stopped) } else { Ok(None) }
    }

    /// [`ExportStream::next`] for threads that may block.
    pub fn next_blocking(&mut self) -> Result<Option<Chunk>, Stopped> {
        self.use_up();
        if let Some(piece) = self.together.next() {
            return self.take(Piece::Keys(piece));
        }
        while self.shards_left > 0 {
            match self.pieces.blocking_recv() {
                Some(piece) => {
                    if let Some(chunk) = self.take(piece)? {
                        return Ok(Some(chunk));
                    }
                }
                None => return Err(Stopped),
            }
        }
        if self.is_stopped() { Err(Stopped) } else { Ok(None) }
    }

    fn take(&mut self, piece: Piece) -> Result<Option<Chunk>, Stopped> {
        if self.is_stopped() {
            return Err(Stopped);
        }
        match piece {
            Piece::ShardDone => {
                self.shards_left -= 1;
                Ok(None)
            }
            Piece::Keys(chunk) if chunk.is_empty() => Ok(None),
            Piece::Keys(chunk) => {
                self.in_use = chunk.bytes.len() as u64;
                Ok(Some(chunk))
            }
            Piece::Together(pieces) => {
                self.together = pieces.into_iter();
                self.together.next().map_or(Ok(None), |piece| self.take(Piece::Keys(piece)))
            }
        }
    }

    /// Gives credit for the chunk handed out last, and wakes those who wait for it.
    fn use_up(&mut self) {
        let bytes = std::mem::take(&mut self.in_use);
        if bytes == 0 {
            return;
        }
        let before = self.export.in_flight.fetch_sub(bytes, Ordering::AcqRel);
        let after = before - bytes;
        let crossed = |line: u64| before >= line && after < line;
        if crossed(WINDOW.min(self.export.limit) / 2) || crossed(self.export.limit) {
            resume(&self.server);
        }
    }
}

impl Drop for ExportStream {
    fn drop(&mut self) {
        if self.shards_left > 0 {
            self.stopper().stop();
        }
        // What nobody will read any more holds nobody up.
        self.export.in_flight.store(0, Ordering::Release);
    }
}

/// The cut itself: runs while all slots of all shards are held.
fn cut(server: &ServerRef, export: &Arc<Export>, keyspace: &mut Keyspace) -> Facts {
    let mut facts =
        Facts { time_ms: clock::unix_ms(), dirty: server.dirty.load(Ordering::Relaxed), ..Facts::default() };
    for part in keyspace.parts_mut() {
        let found = part.open_lane(export.lane);
        for database in &found {
            let sum = facts.databases.entry(database.number).or_default();
            sum.0 += database.keys;
            sum.1 += database.expires;
        }
        // The last is walked first.
        let databases = found.iter().rev().map(|d| d.id).collect();
        tell(server.shard(part.index()), StartWalk { export: export.clone(), databases });
    }
    facts
}
