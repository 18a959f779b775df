//! The thread that writes the incremental files.
//!
//! It takes all that has come, writes it at once and, with `appendfsync always`, forces it to the disk once: while the
//! disk is busy, what comes next collects, so the commits of many clients share one. Shards never wait for it.
//!
//! Invariant: a file holds whole pieces; after a write that failed half-way, what was written of it is cut off.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
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

/// A file as the thread uses it. Tests have one that forgets what was not forced to the disk.
pub trait Storage: Send {
    /// Appends all of it, or fails and may have appended a part.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync_data(&mut self) -> io::Result<()>;
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
}

impl Storage for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }
}

/// What the thread is sent.
pub enum ToWriter {
    /// Commands for the file of this number.
    Piece(u64, CommandPiece),
    /// The file of this number, opened for appending; so many bytes are in it.
    Open(u64, Box<dyn Storage>, u64),
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
    files: BTreeMap<u64, (Box<dyn Storage>, u64)>,
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
        let Some((file, _)) = self.files.get_mut(&self.current) else { return };
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use skuld::config::Config;
    use skuld::rng::Rng;

    use super::*;
    use crate::server::Server;

    /// What a disk holds: all that was written, and how much of it would outlive a loss of power.
    #[derive(Default)]
    struct Disk {
        bytes: Vec<u8>,
        safe: usize,
    }

    /// A file on such a disk, which fails now and then, or takes only a part.
    struct Unreliable {
        disk: Arc<Mutex<Disk>>,
        rng: Rng,
        /// Of a hundred operations so many fail.
        failing: u64,
    }

    impl Unreliable {
        fn fails(&mut self) -> bool {
            self.rng.next_u64() % 100 < self.failing
        }
    }

    impl Storage for Unreliable {
        fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
            let failed = self.fails();
            let taken = if failed { self.rng.next_u64() as usize % bytes.len() } else { bytes.len() };
            self.disk.lock().expect("nobody panics").bytes.extend_from_slice(&bytes[..taken]);
            if failed { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn sync_data(&mut self) -> io::Result<()> {
            if self.fails() {
                return Err(io::Error::other("the disk is worn out"));
            }
            let mut disk = self.disk.lock().expect("nobody panics");
            disk.safe = disk.bytes.len();
            Ok(())
        }

        fn set_len(&mut self, bytes: u64) -> io::Result<()> {
            self.disk.lock().expect("nobody panics").bytes.truncate(bytes as usize);
            Ok(())
        }
    }

    fn server_with(policy: AppendFsync) -> ServerRef {
        let config = Config { appendfsync: policy, ..Config::default() };
        Arc::new(Server::new(config, None, 1, skuld::commands::table::original_table()))
    }

    fn piece(number: u64) -> CommandPiece {
        let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
        CommandPiece { bytes, sequence: number, offset: number as i64 }
    }

    /// Whenever the power fails: what was said to be on the disk is there.
    #[test]
    fn what_is_promised_outlives_a_loss_of_power() {
        const PIECES: u64 = 3000;
        let server = server_with(AppendFsync::Always);
        let progress = Arc::new(Progress::default());
        let disk = Arc::new(Mutex::new(Disk::default()));
        let file = Unreliable { disk: disk.clone(), rng: Rng::new(1), failing: 0 };
        let sender = start(server.clone(), progress.clone());
        sender.send(ToWriter::Open(1, Box::new(file), 0)).expect("it runs");
        let mut looked = 0;
        for number in 1..=PIECES {
            sender.send(ToWriter::Piece(1, piece(number))).expect("it runs");
            // In this order: what is promised later may be on the disk later.
            let promised = server.replication.durable.load(Ordering::Acquire);
            let reported = progress.synced();
            let safe = disk.lock().expect("nobody panics").safe as u64 / 8;
            assert!(promised <= safe, "{promised} pieces were promised, {safe} are safe");
            assert!(reported <= safe as i64, "{reported} were reported, {safe} are safe");
            looked += u64::from(promised > 0);
        }
        let deadline = Instant::now() + 10 * SECOND;
        while server.replication.durable.load(Ordering::Acquire) < PIECES {
            assert!(Instant::now() < deadline, "the last pieces are promised in the end");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(looked > 0 || disk.lock().expect("nobody panics").safe as u64 == 8 * PIECES);
    }

    /// A disk that fails now and then: the file holds whole pieces, each once and in order, and nothing is said to be
    /// safe that is not.
    #[test]
    fn a_failing_disk_leaves_whole_pieces_and_no_false_promises() {
        let seed = 20_261_129;
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        for round in 0..20 {
            let server = server_with(AppendFsync::EverySecond);
            let progress = Arc::new(Progress::default());
            let disk = Arc::new(Mutex::new(Disk::default()));
            let file = Unreliable { disk: disk.clone(), rng: Rng::new(rng.next_u64()), failing: 40 };
            let mut writer = Writer::new(server.clone(), progress.clone());
            writer.take(ToWriter::Open(1, Box::new(file), 0));
            let pieces = 1 + rng.next_u64() % 200;
            for number in 1..=pieces {
                writer.take(ToWriter::Piece(1, piece(number)));
                if rng.next_u64().is_multiple_of(3) {
                    writer.write_out(true);
                    assert!(server.persistence.aof.has_failed() || writer.buffer.is_empty());
                }
                if rng.next_u64().is_multiple_of(5) {
                    writer.sync();
                }
                writer.report();
                let disk = disk.lock().expect("nobody panics");
                assert!(disk.bytes.len().is_multiple_of(8), "round {round}: a torn piece");
                assert!(progress.synced() <= disk.safe as i64 / 8, "round {round}: a false promise");
            }
            while !writer.buffer.is_empty() {
                writer.write_out(true);
            }
            let whole: Vec<u8> = (1..=pieces).flat_map(u64::to_be_bytes).collect();
            assert_eq!(disk.lock().expect("nobody panics").bytes, whole, "round {round}");
            while writer.unsynced {
                writer.sync();
            }
            writer.report();
            assert_eq!(progress.synced(), pieces as i64);
            assert!(!server.persistence.aof.has_failed(), "writes are taken again");
        }
    }
}
