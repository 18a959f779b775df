//! The thread that writes the incremental files.
//!
//! It takes all that has come, writes it at once and, with `appendfsync always`, forces it to the disk once: while the
//! disk is busy, what comes next collects, so the commits of many clients share one. Shards never wait for it.
//!
//! Invariant: a file holds whole pieces; after a write that failed half-way, what was written of it is cut off.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use skuld::config::AppendFsync;

use crate::append_only::state::Progress;
use crate::clock;
use crate::configure::os_text;
use crate::memory;
use crate::replication_log::{CommandConsumer, CommandPiece};
use crate::server::ServerRef;

/// What the thread is sent.
pub enum ToWriter {
    /// Commands for the file of this number.
    Piece(u64, CommandPiece),
    /// The file of this number, opened for appending; so many bytes are in it.
    Open(u64, File, u64),
    /// Force everything to the disk and say so.
    Sync(Sender<()>),
}

/// Bytes put together before they are written.
const WRITE_BYTES: usize = 4 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when all senders are gone.
pub fn start(server: ServerRef, progress: Arc<Progress>) -> Sender<ToWriter> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("append-only".into())
        .spawn(move || {
            memory::register_thread();
            Writer::new(server, progress).run(&receiver);
        })
        .expect("the system gives a thread");
    sender
}

/// A consumer of the log's commands that passes them on to file `number`.
pub fn consumer(server: &ServerRef, writer: &Sender<ToWriter>, number: u64) -> CommandConsumer {
    let (server, writer) = (server.clone(), writer.clone());
    Box::new(move |piece| {
        server.persistence.aof.buffered_bytes.fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
        // The thread ends only after this.
        let _ = writer.send(ToWriter::Piece(number, piece));
    })
}

struct Writer {
    server: ServerRef,
    files: BTreeMap<u64, (File, u64)>,
    /// The file being written.
    current: u64,
    buffer: Vec<u8>,
    /// All `Append`s up to this number are in the buffer or written.
    sequence: u64,
    offset: i64,
    /// The last offset that was reported as being on the disk.
    reported: i64,
    progress: Arc<Progress>,
    /// Something written is not forced to the disk yet.
    unsynced: bool,
    last_sync: Instant,
    last_attempt: Option<Instant>,
    last_timestamp: i64,
}

impl Writer {
    fn new(server: ServerRef, progress: Arc<Progress>) -> Self {
        Self {
            server,
            progress,
            files: BTreeMap::new(),
            current: 0,
            buffer: Vec::new(),
            sequence: 0,
            offset: -1,
            reported: -1,
            unsynced: false,
            last_sync: Instant::now(),
            last_attempt: None,
            last_timestamp: 0,
        }
    }

    fn run(mut self, receiver: &Receiver<ToWriter>) {
        loop {
            let wait = if self.unsynced { SECOND.saturating_sub(self.last_sync.elapsed()) } else { SECOND };
            match receiver.recv_timeout(wait.max(Duration::from_millis(1))) {
                Ok(message) => {
                    self.take(message);
                    while self.buffer.len() < WRITE_BYTES {
                        match receiver.try_recv() {
                            Ok(message) => self.take(message),
                            Err(_) => break,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write_out(true);
                    return self.sync();
                }
            }
            self.write_out(false);
            self.sync_if_due();
            self.report();
        }
    }

    /// Says how much of the stream is on the disk, if all that was taken is.
    fn report(&mut self) {
        if !self.unsynced && self.buffer.is_empty() && self.offset != self.reported {
            self.reported = self.offset;
            self.progress.reached(&self.server, self.offset);
        }
    }

    fn take(&mut self, message: ToWriter) {
        match message {
            ToWriter::Open(number, file, bytes) => {
                self.files.insert(number, (file, bytes));
                if self.current == 0 {
                    self.current = number;
                }
            }
            ToWriter::Piece(number, piece) => {
                if number != self.current {
                    self.write_out(true);
                    self.sync();
                    self.files.remove(&self.current);
                    self.current = number;
                    self.last_timestamp = 0;
                }
                if !piece.bytes.is_empty() {
                    self.annotate();
                }
                self.buffer.extend_from_slice(&piece.bytes);
                self.sequence = piece.sequence;
                self.offset = piece.offset;
                let state = &self.server.persistence.aof;
                state.buffered_bytes.fetch_sub(piece.bytes.len() as u64, Ordering::Relaxed);
            }
            ToWriter::Sync(done) => {
                self.write_out(true);
                self.sync();
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// `#TS:` before the first commands of each second (`aof-timestamp-enabled`).
    fn annotate(&mut self) {
        let seconds = clock::unix_ms() / 1000;
        if seconds > self.last_timestamp && self.server.config.load().aof_timestamp_enabled {
            self.last_timestamp = seconds;
            self.buffer.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
        }
    }

    /// Writes the buffer. After a failure it is tried again every second, or now if `urgent`.
    fn write_out(&mut self, urgent: bool) {
        if self.buffer.is_empty() {
            return;
        }
        if !urgent && self.last_attempt.is_some_and(|at| at.elapsed() < SECOND) {
            return;
        }
        let Some((file, bytes)) = self.files.get_mut(&self.current) else { return };
        let state = &self.server.persistence.aof;
        std::thread::sleep(Duration::from_micros(state.write_delay_us.load(Ordering::Relaxed)));
        match file.write_all(&self.buffer) {
            Ok(()) => {
                *bytes += self.buffer.len() as u64;
                state.current_bytes.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
                self.buffer.clear();
                self.buffer.shrink_to(WRITE_BYTES);
                self.unsynced = true;
                if self.last_attempt.take().is_some() {
                    tracing::warn!("AOF write error looks solved. The server can write again.");
                    state.set_failure(None);
                }
            }
            Err(error) => {
                let reason = os_text(&error);
                if self.last_attempt.is_none() {
                    tracing::warn!("Error writing to the AOF file: {reason}");
                }
                if self.server.config.load().appendfsync == AppendFsync::Always {
                    tracing::warn!(
                        "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."
                    );
                    std::process::exit(1);
                }
                if let Err(error) = file.set_len(*bytes) {
                    tracing::warn!(
                        "Could not remove short write from the append-only file. The server may refuse to load the AOF \
                         the next time it starts.  ftruncate: {}",
                        os_text(&error)
                    );
                }
                self.last_attempt = Some(Instant::now());
                state.set_failure(Some(reason));
            }
        }
    }

    fn sync_if_due(&mut self) {
        let config = self.server.config.load_full();
        let put_off = config.no_appendfsync_on_rewrite
            && (self.server.persistence.aof.rewriting.load(Ordering::Relaxed)
                || self.server.persistence.saving.load(Ordering::Relaxed));
        if !self.buffer.is_empty() {
            // Could not be written: nobody is told that it is safe.
            return;
        }
        match config.appendfsync {
            AppendFsync::Always if put_off => {
                self.server.persistence.aof.reached(&self.server, self.sequence)
            }
            AppendFsync::Always => {
                self.sync();
                self.server.persistence.aof.reached(&self.server, self.sequence);
            }
            AppendFsync::EverySecond if !put_off && self.last_sync.elapsed() >= SECOND => self.sync(),
            AppendFsync::EverySecond | AppendFsync::No => {}
        }
    }

    fn sync(&mut self) {
        self.last_sync = Instant::now();
        if !self.unsynced {
            return;
        }
        let Some((file, _)) = self.files.get(&self.current) else { return };
        let started = Instant::now();
        let state = &self.server.persistence.aof;
        match file.sync_data() {
            Ok(()) => {
                self.unsynced = false;
                if started.elapsed() > 2 * SECOND {
                    state.delayed_fsyncs.fetch_add(1, Ordering::Relaxed);
                }
                if self.last_attempt.is_none() && state.has_failed() {
                    state.set_failure(None);
                }
            }
            Err(error) => {
                let reason = os_text(&error);
                if self.server.config.load().appendfsync == AppendFsync::Always {
                    tracing::warn!(
                        "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {reason}. Exiting..."
                    );
                    std::process::exit(1);
                }
                tracing::warn!("Fail to fsync the AOF file: {reason}");
                state.set_failure(Some(reason));
            }
        }
    }
}
