//! One client: its socket, parser, and output.
//!
//! ```text
//!  socket --read--> decoder --> [ Batch ] --ExecuteBatch--> Shard
//!    ^                                                         |
//!    +------write------ output <------BatchExecuted------------+
//! ```
//!
//! Invariant: one batch of a connection is in flight at a time, so its commands take effect in the order sent.
//! Invariant: replies nobody reads never stop reading; only the output-buffer limits act.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use actix::fut::ActorFuture;
use actix::prelude::*;
use skuld::resp::decode::{DecodeLimits, Decoder, ProtocolError, Requests};
use skuld::session::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::batch::{Batch, Stop};
use crate::client_eviction;
use crate::clients::ClientShared;
use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, client_event, tell};
use crate::migration::{ImportLink, import};
use crate::output_limit;
use crate::server::ServerRef;
use crate::server_commands::{self, Ran, client};
use crate::shard::{ExecuteBatch, Shard};
use crate::subscriptions::Kind;
use crate::tls::stream::TlsStream;

/// Bytes read from a socket at once, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// While a batch is in flight, reading pauses beyond this many unexecuted bytes (the sender's window fills instead).
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// Most bytes written to one socket before other tasks of the arbiter get a turn. A reader that keeps up would
/// otherwise hold the thread for as long as there is something to send.
const WRITE_TURN_BYTES: usize = 256 * 1024;
/// Waiting replies are put together up to this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Places kept for messages that wait to be written together.
const KEEP_DELIVERED: usize = 16;
/// Room is made for the rest of an argument if it is longer than this.
const LONG_ARGUMENT_BYTES: usize = 32 * 1024;
/// Buffers larger than this are given back when they are empty.
const KEEP_BYTES: usize = 32 * 1024;
/// The same for what describes a pipeline's requests.
const KEEP_PARSED_BYTES: usize = 128 * 1024;

/// A batch is back from the shards.
pub struct BatchExecuted {
    pub batch: Box<Batch>,
    pub stop: Stop,
}

/// Bytes for this client that it did not ask for with a command of its own (pushes).
pub struct Deliver {
    pub bytes: Arc<[u8]>,
}

/// The batch that is away waits, maybe for long: these replies of its earlier commands are due now.
pub struct Waits {
    pub replies: Vec<Vec<u8>>,
    /// What the log must have before they may leave, as [`Batch::appended`].
    pub appended: u64,
}

/// Bytes that belong behind the replies that have arrived here and before all others (client-side caching).
pub struct Invalidate {
    pub bytes: Vec<u8>,
}

/// Subscriptions to these shard channels end, if the client has them: their slots are served elsewhere.
pub struct EndShardChannels {
    pub channels: Vec<Arc<[u8]>>,
}

/// What the connection waits for is on the disk (`appendfsync always`).
pub struct Durable;

/// Say when everything delivered before is on its way to the socket.
pub struct Fence {
    pub done: tokio::sync::oneshot::Sender<()>,
}

/// Bytes for a replica that is fed a snapshot; the sender goes on when there is room for more.
pub struct Feed {
    pub bytes: bytes::Bytes,
    pub room: tokio::sync::oneshot::Sender<()>,
}

/// Close the connection, at once or after the replies due.
pub struct Kill {
    pub after_replies: bool,
}

/// Look whether output has waited too long; sent now and then while some waits.
pub struct CheckOutput;

/// Give back room that was made for input which does not come.
pub struct ShrinkInput;

crate::receives!(Connection: BatchExecuted = 0, Deliver = 1, Kill = 2, CheckOutput = 3, Fence = 4, Waits = 5,
    Invalidate = 6, Durable = 7, EndShardChannels = 8, Feed = 12, HoldStream = 13, ShrinkInput = 14);

/// A client's socket.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Whether bytes were taken that are not sent.
    fn has_unsent(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(s) => s.has_unsent(),
        }
    }

    /// Sends what was taken, or watches for the socket to take it.
    pub fn poll_flush(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(s) => s.poll_flush(cx),
        }
    }

    /// Says good-bye, where there is a form for it.
    fn close(&mut self) {
        if let Self::Tls(s) = self {
            s.close();
        }
    }

    pub fn poll_read(
        &mut self,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Self::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => s.poll_read(cx, buf),
        }
    }

    pub fn poll_write(&mut self, cx: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Unix(s) => Pin::new(s).poll_write(cx, bytes),
            Self::Tls(s) => s.poll_write(cx, bytes),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.try_write(bytes),
            Self::Unix(s) => s.try_write(bytes),
            Self::Tls(s) => s.try_write(bytes),
        }
    }
}

/// Execute nothing more of the primary's stream until released: the data is to be that of one known offset.
pub struct HoldStream {
    /// Told the stream's database when all that was executed has been sent to the log.
    pub held: tokio::sync::oneshot::Sender<u32>,
    /// Sent to, or dropped, when the stream may go on.
    pub release: tokio::sync::oneshot::Receiver<()>,
}

/// Unwritten bytes above which whoever feeds a connection waits.
const FED_BYTES_MAX: usize = 1 << 20;

/// What a connection has beside others if its requests are our primary's stream.
pub struct PrimaryEnd {
    /// Told the stream's database when all that was executed of it has been sent to the log.
    closed: Option<tokio::sync::oneshot::Sender<u32>>,
    /// Bytes that had arrived before the connection was made.
    first: Vec<u8>,
    /// Bytes of a transaction whose EXEC has not come.
    open: Vec<u8>,
    /// Who wants the stream to stand still, and how many have been told that it does.
    holders: Vec<HoldStream>,
    holding: usize,
}

impl PrimaryEnd {
    pub fn new(closed: tokio::sync::oneshot::Sender<u32>, first: Vec<u8>) -> Self {
        Self { closed: Some(closed), first, open: Vec::new(), holders: Vec::new(), holding: 0 }
    }
}

/// The actor.
pub struct Connection {
    id: ActorId,
    server: ServerRef,
    shared: Arc<ClientShared>,
    shard: Addr<Shard>,
    stream: Stream,
    decoder: Decoder,
    /// Bytes read and not handed to a batch yet.
    input: Vec<u8>,
    /// What the decoder found in `input`.
    requests: Requests,
    spare_requests: Requests,
    protocol_error: Option<ProtocolError>,
    /// The batch while it is here, that is, while nothing is in flight.
    batch: Option<Box<Batch>>,
    /// Replies the socket did not take yet.
    output: VecDeque<Vec<u8>>,
    /// What was delivered while a batch is away: it may follow from what that batch does, and then comes after its reply.
    held: Vec<Arc<[u8]>>,
    /// A batch whose replies wait for the disk.
    undurable: Option<(Box<Batch>, Stop)>,
    /// Replies of a batch that goes on waiting, which wait for the disk themselves.
    undurable_replies: Option<Waits>,
    /// What belongs behind those replies.
    behind_undurable: Vec<u8>,
    /// What is held shows nothing later than this `Append`.
    held_until: u64,
    /// Bytes of the first chunk that are written, and of all chunks that are not.
    written: usize,
    unwritten: usize,
    /// What the waiting chunks take, and what of that does not count against `maxmemory`; bytes.
    output_memory: usize,
    not_counted: usize,
    /// When the output went over the soft limit, if it is.
    over_soft_since: Option<clock::Tick>,
    /// The peer will send nothing more.
    ended: bool,
    /// Close once the output is written.
    closing: bool,
    closed: bool,
    waker: Option<std::task::Waker>,
    /// The connection is the link of a slot import.
    import: Option<Arc<ImportLink>>,
    primary: Option<Box<PrimaryEnd>>,
    /// Shard channels whose end has not been told: the client's batch is away.
    ended_channels: Vec<Arc<[u8]>>,
    /// Who waits for room.
    feeders: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl Connection {
    /// Makes the connection of an accepted socket. Call inside `Connection::create`.
    pub fn new(
        id: ActorId,
        server: ServerRef,
        shared: Arc<ClientShared>,
        shard: Addr<Shard>,
        stream: Stream,
        session: Session,
        address: Addr<Connection>,
    ) -> Self {
        let batch = Box::new(Batch::of_client(session, shared.clone(), address));
        Self {
            id,
            server,
            shared,
            shard,
            stream,
            decoder: Decoder::default(),
            input: Vec::new(),
            requests: Requests::default(),
            spare_requests: Requests::default(),
            protocol_error: None,
            batch: Some(batch),
            output: VecDeque::new(),
            held: Vec::new(),
            undurable: None,
            undurable_replies: None,
            behind_undurable: Vec::new(),
            held_until: 0,
            written: 0,
            unwritten: 0,
            output_memory: 0,
            not_counted: 0,
            over_soft_since: None,
            ended: false,
            closing: false,
            closed: false,
            waker: None,
            import: None,
            primary: None,
            ended_channels: Vec::new(),
            feeders: Vec::new(),
        }
    }

    /// Makes it the connection of our primary's stream.
    pub fn of_primary(mut self, mut end: PrimaryEnd) -> Self {
        self.input = std::mem::take(&mut end.first);
        self.primary = Some(Box::new(end));
        self
    }

    /// Passes on to the log what a batch of the primary's stream has executed. A transaction counts as a whole: it
    /// comes again if the link is lost before its end.
    fn relay(&mut self, batch: &mut Batch) {
        batch.output.clear();
        batch.finished.clear();
        let Some(end) = &mut self.primary else { return };
        let executed = if batch.next == batch.requests.len() {
            batch.input.len()
        } else {
            batch.bytes_before(batch.next)
        };
        let mut bytes = std::mem::take(&mut end.open);
        bytes.extend_from_slice(&batch.input[..executed]);
        if batch.transaction.is_queueing() {
            let begun = (0..batch.next).rev().find(|&n| batch.arg(n, 0).eq_ignore_ascii_case(b"multi"));
            let whole = bytes.len() - executed;
            let before = begun.map_or(0, |n| whole + batch.bytes_before(n));
            end.open = bytes.split_off(before);
        }
        if !bytes.is_empty() {
            self.server.replication.executed.fetch_add(bytes.len() as i64, Ordering::Relaxed);
            tell(self.server.replication_log(), crate::replication_log::Relay { bytes });
        }
    }

    fn close(&mut self, ctx: &mut Context<Self>) {
        if self.primary.is_some() && self.batch.is_none() {
            // What is being executed must be known to have been, before anybody goes on from here.
            self.ended = true;
            return;
        }
        if !self.closed {
            self.closed = true;
            if let Some(link) = &self.import {
                tell(&link.job, import::LinkLost);
            }
            self.stream.close();
            if let Some(closed) = self.primary.as_mut().and_then(|end| end.closed.take()) {
                // The link may not care any more.
                let _ = closed.send(self.batch.as_ref().map_or(0, |batch| batch.session.db));
            }
            if self.shared.is_replica() {
                let client = self.shared.id;
                tell(self.server.replication_log(), crate::replication_log::FollowerLost { client });
            }
            self.feeders.clear();
            self.note_unsent(0);
            self.server.clients.remove(self.shared.id);
            // In this order: a shard that lets the client wait meanwhile looks whether it was killed.
            self.shared.killed.store(true, Ordering::SeqCst);
            self.server.blocked.abandon(self.shared.id);
            if self.shared.traced.load(Ordering::Relaxed) {
                crate::trace::client_ended();
            }
            self.server.monitors.remove(&self.shared);
            client_eviction::forget(&self.server, &self.shared);
            ctx.stop();
        }
    }

    /// Takes what a read brought.
    fn on_bytes(&mut self, bytes: &[u8]) {
        let stats = &self.server.stats;
        stats.total_net_input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        stats.total_reads_processed.fetch_add(1, Ordering::Relaxed);
        crate::stats::bump(&self.shared.net_in, bytes.len() as u64);
        if self.primary.is_some() {
            stats.net_repl_input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if !self.closing {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Tells those who want the primary's stream to stand still that it does.
    fn hold_stream(&mut self, ctx: &mut Context<Self>) {
        let Some(db) = self.batch.as_ref().map(|batch| batch.session.db) else { return };
        while let Some(hold) = self.primary.as_mut().and_then(|end| end.holders.pop()) {
            let HoldStream { held, release } = hold;
            if held.send(db).is_err() {
                continue;
            }
            if let Some(end) = &mut self.primary {
                end.holding += 1;
            }
            let released = release.into_actor(self).map(|_, connection: &mut Self, ctx| {
                if let Some(end) = &mut connection.primary {
                    end.holding -= 1;
                }
                connection.dispatch(ctx);
            });
            ctx.spawn(released);
        }
    }

    /// Sends a batch on its way if none is and something is complete.
    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        if self.primary.is_some() {
            self.hold_stream(ctx);
        }
        if self.closing || self.batch.is_none() || self.input.is_empty() {
            return;
        }
        if self.primary.as_ref().is_some_and(|end| end.holding > 0) {
            return;
        }
        let now = clock::tick();
        let config = self.server.config.load();
        let Some(mut batch) = self.batch.take() else { return };
        if self.protocol_error.is_none() {
            let limits = DecodeLimits {
                bulk_max: if self.primary.is_some() { i64::MAX } else { config.proto_max_bulk_len as i64 },
                authenticated: batch.session.authenticated,
            };
            self.protocol_error = self.decoder.decode(&mut self.input, limits, &mut self.requests).err();
        }
        if self.requests.is_empty() && self.protocol_error.is_none() {
            let over = self.primary.is_none() && self.input.len() as u64 > config.client_query_buffer_limit;
            // Room for the whole argument at once, instead of doubling.
            let wanted = self.decoder.wanted(self.input.len());
            if wanted > LONG_ARGUMENT_BYTES && !over {
                self.input.reserve_exact(wanted);
            }
            self.batch = Some(batch);
            self.shared.last_interaction_ms.store(clock::unix_us(now) / 1000, Ordering::Relaxed);
            if over {
                self.over_query_limit(ctx);
            }
            return;
        }
        let client =
            crate::trace::Client { id: self.shared.id, asked: self.shared.traced.load(Ordering::Relaxed) };
        client_event(self.id, now, client, |slots| self.touches(slots));
        let complete = self.decoder.complete_bytes();
        self.decoder.rebase(&mut self.requests, &mut self.spare_requests);
        std::mem::swap(&mut batch.requests, &mut self.requests);
        std::mem::swap(&mut self.requests, &mut self.spare_requests);
        self.spare_requests.clear();
        batch.input.clear();
        if complete == self.input.len() {
            std::mem::swap(&mut batch.input, &mut self.input);
        } else if self.protocol_error.is_some() || complete * 2 >= self.input.len() {
            let rest = self.input.split_off(complete);
            std::mem::swap(&mut batch.input, &mut self.input);
            self.input = rest;
        } else {
            batch.input.extend_from_slice(&self.input[..complete]);
            self.input.drain(..complete);
        }
        batch.next = 0;
        batch.protocol_error = self.protocol_error.take();
        self.shared.argv_bytes.store(batch.input.len() as u64, Ordering::Relaxed);
        self.shared.last_interaction_ms.store(clock::unix_us(now) / 1000, Ordering::Relaxed);
        self.shared.query_bytes.store(self.unparsed_bytes() as u64, Ordering::Relaxed);
        tell(&self.shard, ExecuteBatch(batch));
    }

    /// Bytes read that are in no complete argument.
    fn unparsed_bytes(&self) -> usize {
        self.input.len().saturating_sub(self.decoder.position())
    }

    /// Lets others see what the client's buffers take, and counts it where that is limited.
    fn note_memory(&mut self) {
        let unparsed = self.unparsed_bytes();
        self.shared.query_bytes.store(unparsed as u64, Ordering::Relaxed);
        self.shared.query_free.store((self.input.capacity() - unparsed) as u64, Ordering::Relaxed);
        let of_batch = self.batch.as_ref().map_or(0, |batch| batch.requests.memory_bytes());
        let parsed = self.requests.memory_bytes() + self.spare_requests.memory_bytes() + of_batch;
        self.shared.parsed_memory.store(parsed as u64, Ordering::Relaxed);
        client_eviction::note(&self.server, &self.shared);
    }

    /// What a blocked client sends is kept, up to the limit of its input.
    fn limit_waiting_input(&mut self, ctx: &mut Context<Self>) {
        if self.batch.is_none()
            && self.input.len() > READ_AHEAD_BYTES
            && self.input.len() as u64 > self.server.config.load().client_query_buffer_limit
        {
            self.over_query_limit(ctx);
        }
    }

    /// Whether a decoded request has an argument, its key if it has one, in one of these slots.
    fn touches(&self, slots: &[u16]) -> bool {
        (0..self.requests.len()).any(|request| {
            self.requests.args(request).get(1).is_some_and(|span| {
                let key = &self.input[span.start..span.start + span.len];
                slots.contains(&skuld::slot::slot_of(key).0)
            })
        })
    }

    fn over_query_limit(&mut self, ctx: &mut Context<Self>) {
        self.server.stats.client_query_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "Closing client that reached max query buffer length: {}",
            client::line_for_log(&self.server, &self.shared)
        );
        self.close(ctx);
    }

    /// What was read and not understood, for the log.
    fn shown_input(&self) -> String {
        /// More is shown by its beginning and its end.
        const SHOWN_BYTES: usize = 128;
        if self.server.config.load().hide_user_data_from_log {
            return client::REDACTED.to_owned();
        }
        let printable = |bytes: &[u8]| -> String {
            let shown = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '.' };
            bytes.iter().map(shown).collect()
        };
        match self.input.len() {
            0..SHOWN_BYTES => format!("'{}'", printable(&self.input)),
            len => format!(
                "'{}' (... more {} bytes ...) '{}'",
                printable(&self.input[..SHOWN_BYTES / 2]),
                len - SHOWN_BYTES,
                printable(&self.input[len - SHOWN_BYTES / 2..])
            ),
        }
    }

    /// Queues bytes for the socket, writing what it takes at once.
    fn send(&mut self, bytes: &mut Vec<u8>, ctx: &mut Context<Self>) {
        if bytes.is_empty() || self.closed {
            return;
        }
        // What a replica is fed with waits to be taken, however large its pieces are.
        let waiting = self.unwritten + bytes.len();
        if waiting > output_limit::FREE_BYTES && !self.shared.is_replica() {
            self.check_output_limit(waiting, ctx);
            if self.closed {
                return;
            }
        }
        crate::stats::bump(&self.shared.net_out, bytes.len() as u64);
        let stats = &self.server.stats;
        stats.total_net_output_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.shared.is_replica() {
            stats.net_repl_output_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let mut done = 0;
        if self.output.is_empty() {
            stats.total_writes_processed.fetch_add(1, Ordering::Relaxed);
            while done < bytes.len().min(WRITE_TURN_BYTES) {
                let end = bytes.len().min(WRITE_TURN_BYTES);
                match self.stream.try_write(&bytes[done..end]) {
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return self.close(ctx),
                }
            }
        }
        if self.stream.has_unsent()
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
        if done < bytes.len() {
            self.unwritten += bytes.len() - done;
            self.queue(bytes, done);
            self.note_waiting_output();
            if self.shared.is_replica() {
                self.check_output_limit(self.unwritten, ctx);
            }
            // The future that watches the socket must start to watch for writability.
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
        bytes.clear();
        if bytes.capacity() > KEEP_BYTES {
            *bytes = Vec::new();
        }
    }

    /// Keeps what the socket did not take: small replies share a chunk, large ones are not copied.
    fn queue(&mut self, bytes: &mut Vec<u8>, done: usize) {
        if let Some(last) = self.output.back_mut()
            && last.capacity() - last.len() >= bytes.len()
        {
            return last.extend_from_slice(bytes);
        }
        let mut chunk = std::mem::take(bytes);
        if self.output.is_empty() {
            self.written = done;
        } else if chunk.len() <= CHUNK_BYTES / 2 {
            // More will come.
            let mut shared = Vec::with_capacity(CHUNK_BYTES);
            shared.extend_from_slice(&chunk);
            chunk = shared;
        }
        self.output_memory += chunk.capacity();
        self.output.push_back(chunk);
    }

    /// Looks whether so many bytes of waiting output are too many, or have been for too long; then it is over.
    fn check_output_limit(&mut self, waiting: usize, ctx: &mut Context<Self>) {
        let config = self.server.config.load();
        let limit = output_limit::of(&config, &self.shared);
        let counted = output_limit::counted(waiting);
        let now = clock::tick();
        let over_soft = limit.soft > 0 && counted > limit.soft;
        self.over_soft_since = if over_soft { self.over_soft_since.or(Some(now)) } else { None };
        let too_long = self
            .over_soft_since
            .is_some_and(|since| clock::micros_between(since, now) / 1_000_000 > limit.soft_seconds);
        if (limit.hard > 0 && counted > limit.hard) || too_long {
            self.shared.output_bytes.store(waiting as u64, Ordering::Relaxed);
            output_limit::note_disconnection(&self.server, &self.shared);
            self.close(ctx);
        }
    }

    /// Lets others see how much output waits.
    fn note_waiting_output(&mut self) {
        self.shared.output_bytes.store(self.unwritten as u64, Ordering::Relaxed);
        self.shared.output_memory.store(self.output_memory as u64, Ordering::Relaxed);
        self.note_unsent(self.output_memory);
        client_eviction::note(&self.server, &self.shared);
    }

    /// Memory of a replica's connection does not count against `maxmemory`.
    fn note_unsent(&mut self, bytes: usize) {
        let bytes = if self.shared.is_replica() { bytes } else { 0 };
        if bytes != self.not_counted {
            self.server.eviction.note_unsent(bytes as i64 - self.not_counted as i64);
            self.not_counted = bytes;
        }
    }

    fn output_is_empty(&self) -> bool {
        self.output.is_empty() && !self.stream.has_unsent()
    }

    /// Writes what the socket takes, up to a turn's worth.
    fn flush(&mut self, ctx: &mut Context<Self>, task: &mut std::task::Context<'_>) {
        let mut turn = WRITE_TURN_BYTES;
        while let Some(chunk) = self.output.front().filter(|_| !self.closed) {
            if turn == 0 {
                // Registers this task to be polled again once the arbiter has looked at its other sockets.
                let _ = std::pin::pin!(tokio::task::yield_now()).poll(task);
                break;
            }
            let end = chunk.len().min(self.written + turn);
            match self.stream.poll_write(task, &chunk[self.written..end]) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => self.close(ctx),
                Poll::Ready(Ok(n)) => {
                    turn -= n;
                    self.written += n;
                    self.unwritten -= n;
                    if self.written == chunk.len() {
                        self.written = 0;
                        let sent = self.output.pop_front().map_or(0, |chunk| chunk.capacity());
                        self.output_memory -= sent;
                    }
                }
            }
        }
        if !self.closed && matches!(self.stream.poll_flush(task), Poll::Ready(Err(_))) {
            self.close(ctx);
        }
        if self.unwritten == 0 {
            self.over_soft_since = None;
        }
        if self.unwritten < FED_BYTES_MAX {
            for room in self.feeders.drain(..) {
                // Who feeds may have gone.
                let _ = room.send(());
            }
        }
        if self.shared.output_bytes.load(Ordering::Relaxed) != self.unwritten as u64 {
            self.note_waiting_output();
        }
    }

    /// Closes if that was asked for and everything due is written.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let idle = || self.batch.is_some() || self.shared.blocked.load(Ordering::SeqCst);
        if self.output_is_empty() && (self.closing || (self.ended && idle())) {
            self.close(ctx);
        }
    }

    /// Goes on with a batch: done, or one of its commands is ours to run.
    fn resume(&mut self, mut batch: Box<Batch>, stop: Stop, ctx: &mut Context<Self>) {
        if self.import.is_some() {
            self.settle_import(&mut batch);
        }
        match stop {
            Stop::NeedsServer => {
                let server = self.server.clone();
                match server_commands::run(server, batch) {
                    Ran::Now(batch) => self.after_server_command(batch, ctx),
                    Ran::Later(future) => {
                        let future = future.into_actor(self).map(|batch, connection, ctx| {
                            connection.after_server_command(batch, ctx);
                        });
                        ctx.spawn(future);
                    }
                }
                return;
            }
            Stop::Killed => {
                self.relay(&mut batch);
                self.batch = Some(batch);
                return self.close(ctx);
            }
            Stop::Turn => {
                self.send_replies(&mut batch, ctx);
                return tell(&self.shard, ExecuteBatch(batch));
            }
            Stop::Done => {}
        }
        if let Some(error) = batch.protocol_error.take() {
            let mut reply =
                skuld::resp::Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
            reply.error(&format!("ERR Protocol error: {error}"));
            batch.output = reply.into_bytes();
            self.server.stats.count_error(b"ERR ");
            self.closing = true;
            tracing::debug!(
                "Protocol error ({error}) from client: {}. Query buffer: {}",
                client::line_for_log(&self.server, &self.shared),
                self.shown_input()
            );
        }
        if batch.session.close_after_reply {
            self.closing = true;
        }
        if self.primary.is_some() {
            self.relay(&mut batch);
        }
        self.send_replies(&mut batch, ctx);
        batch.requests.clear();
        for requests in [&mut batch.requests, &mut self.spare_requests] {
            if requests.is_empty() && requests.memory_bytes() > KEEP_PARSED_BYTES {
                *requests = Requests::default();
            }
        }
        if batch.input.capacity() > KEEP_BYTES {
            batch.input = Vec::new();
        }
        if self.input.is_empty() && self.input.capacity() > KEEP_BYTES {
            self.input = Vec::new();
        }
        self.batch = Some(batch);
        if !self.ended_channels.is_empty() {
            let mut bytes = self.end_channels();
            self.send(&mut bytes, ctx);
        }
        self.shared.argv_bytes.store(0, Ordering::Relaxed);
        self.note_memory();
        if self.ended && self.primary.is_some() {
            return self.close(ctx);
        }
        self.settle(ctx);
        self.dispatch(ctx);
    }

    /// Ends the subscriptions that are to end; what the client is told of it.
    fn end_channels(&mut self) -> Vec<u8> {
        let Some(batch) = &mut self.batch else { return Vec::new() };
        let mut reply = skuld::resp::Reply::new(batch.session.protocol);
        for channel in std::mem::take(&mut self.ended_channels) {
            if batch.subscribed.has(Kind::ShardChannel, &channel) {
                batch.subscribed.remove(Kind::ShardChannel, &channel);
                server_commands::pubsub::confirm(
                    b"sunsubscribe",
                    Some(&channel),
                    batch.subscribed.count(Kind::ShardChannel),
                    &mut reply,
                );
            }
        }
        batch.session.subscriptions = batch.subscribed.len();
        self.shared.publish(&batch.session);
        reply.into_bytes()
    }

    /// Queues the replies so far, then what was delivered meanwhile.
    fn send_replies(&mut self, batch: &mut Batch, ctx: &mut Context<Self>) {
        if self.shared.is_replica()
            && batch.session.replica.as_ref().is_some_and(|peer| peer.attached)
            && !(batch.output.is_empty() && batch.finished.is_empty())
        {
            return self.refuse_reply_to_replica(batch, ctx);
        }
        if !batch.finished.is_empty() {
            // They count together: the first of them is not sent if all are too much.
            let waiting = self.unwritten + batch.reply_bytes();
            if waiting > output_limit::FREE_BYTES && !self.closed {
                self.check_output_limit(waiting, ctx);
            }
        }
        for mut chunk in std::mem::take(&mut batch.finished) {
            self.send(&mut chunk, ctx);
        }
        let mut output = std::mem::take(&mut batch.output);
        self.send(&mut output, ctx);
        batch.output = output;
        self.release_held(ctx);
    }

    /// What goes to a replica is the stream: a reply in it would be taken for a command.
    fn refuse_reply_to_replica(&mut self, batch: &mut Batch, ctx: &mut Context<Self>) {
        let words = batch.owned_args(batch.next.saturating_sub(1));
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let name = self.server.table.resolve(&words).map_or("?", |command| command.name);
        let by = server_commands::client::short_line(&self.server, &self.shared);
        if let Some(error) = batch.output.strip_prefix(b"-") {
            let line = String::from_utf8_lossy(error.split(|b| *b == b'\r').next().unwrap_or_default());
            let text = line.split_once(' ').map_or(&*line, |(_, text)| text);
            tracing::warn!(
                "== CRITICAL == This primary is sending an error to its replica: '{text}' after processing the command \
                 '{name}'"
            );
        }
        tracing::warn!("Replica generated a reply to command '{name}', disconnecting it: {by}");
        batch.output.clear();
        batch.finished.clear();
        self.close(ctx);
    }

    /// Whether what was executed up to this `Append` is not on the disk yet; then [`Durable`] comes when it is.
    fn waits_for_disk(&self, sequence: u64, ctx: &Context<Self>) -> bool {
        !self.server.persistence.aof.pass_or_wait(&self.server, sequence, &ctx.address())
    }

    /// Queues what was delivered while the batch was away.
    fn release_held(&mut self, ctx: &mut Context<Self>) {
        if !self.held.is_empty()
            && self.server.persistence.aof.is_always()
            && self.waits_for_disk(self.held_until, ctx)
        {
            return;
        }
        if !self.held.is_empty() {
            let mut bytes = self.held.concat();
            self.held.clear();
            self.held.shrink_to(KEEP_DELIVERED);
            self.send(&mut bytes, ctx);
        }
    }

    /// The source of a slot import gets no replies; an error fails its job.
    fn settle_import(&mut self, batch: &mut Batch) {
        let Some(link) = &self.import else { return };
        if let Some(error) = batch.import_error.take() {
            let (error, command) = *error;
            tell(&link.job, import::CommandFailed { error, command });
        }
        if let Some(error) = batch.protocol_error.take() {
            let error = format!("-ERR Protocol error: {error}").into_bytes();
            tell(&link.job, import::CommandFailed { error, command: String::new() });
        }
        batch.output.clear();
        batch.finished.clear();
    }

    fn after_server_command(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        batch.next += 1;
        batch.publish();
        if batch.import.is_some() {
            self.settle_import(&mut batch);
            if self.import.is_none() {
                // Its ESTABLISH is answered; nothing after it is.
                self.send_replies(&mut batch, ctx);
                self.import = batch.import.clone();
            }
        }
        let goes_on = batch.next < batch.requests.len() && !batch.session.close_after_reply;
        if batch.session.subscriptions > 0 || batch.session.tracking.on {
            // Behind the messages it has caused, which then follow its reply.
            let stop = if goes_on { Stop::Turn } else { Stop::Done };
            let own = batch.connection.clone();
            tell(&own, BatchExecuted { batch, stop });
        } else if goes_on {
            tell(&self.shard, ExecuteBatch(batch));
        } else {
            if self.server.persistence.aof.is_always() {
                batch.appended = batch.appended.max(self.server.replication.issued());
                if self.waits_for_disk(batch.appended, ctx) {
                    self.undurable = Some((batch, Stop::Done));
                    return;
                }
            }
            self.resume(batch, Stop::Done, ctx);
        }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // The default of 16 only matters for `try_send`, which nobody uses here.
        ctx.spawn(SocketFuture);
        self.dispatch(ctx);
    }
}

impl TracedActor for Connection {
    const KIND: ActorKind = ActorKind::Connection;

    fn id(&self) -> ActorId {
        self.id
    }
}

/// Watches the connection's socket for as long as the actor lives.
struct SocketFuture;

thread_local! {
    static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; READ_BYTES].into());
}

impl ActorFuture<Connection> for SocketFuture {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        connection: &mut Connection,
        ctx: &mut Context<Connection>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        // A batch that waits or that CLIENT PAUSE holds back does nothing that could cause messages.
        if connection.batch.is_some() || connection.shared.is_waiting() {
            connection.release_held(ctx);
        }
        connection.flush(ctx, task);
        connection.settle(ctx);
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            while !connection.closed && !connection.ended {
                // The end of a blocked client must be seen however much it has sent.
                if connection.batch.is_none()
                    && connection.input.len() > READ_AHEAD_BYTES
                    && !connection.shared.blocked.load(Ordering::Relaxed)
                {
                    break;
                }
                let mut buf = ReadBuf::new(&mut scratch);
                match connection.stream.poll_read(task, &mut buf) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => connection.close(ctx),
                    Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                        tracing::debug!(
                            "Client closed connection {}",
                            client::short_line(&connection.server, &connection.shared)
                        );
                        connection.ended = true;
                        connection.settle(ctx);
                    }
                    Poll::Ready(Ok(())) => {
                        connection.on_bytes(buf.filled());
                        connection.dispatch(ctx);
                        connection.limit_waiting_input(ctx);
                        connection.note_memory();
                    }
                }
            }
        });
        if connection.waker.as_ref().is_none_or(|w| !w.will_wake(task.waker())) {
            connection.waker = Some(task.waker().clone());
        }
        if connection.closed { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Receive<BatchExecuted> for Connection {
    fn receive(&mut self, BatchExecuted { batch, stop }: BatchExecuted, ctx: &mut Context<Self>) {
        let always = self.server.persistence.aof.is_always();
        if always && (self.undurable_replies.is_some() || self.waits_for_disk(batch.appended, ctx)) {
            self.undurable = Some((batch, stop));
            return;
        }
        self.resume(batch, stop, ctx);
    }
}

impl Receive<Durable> for Connection {
    fn receive(&mut self, _: Durable, ctx: &mut Context<Self>) {
        if let Some(waits) = self.undurable_replies.take() {
            self.receive(waits, ctx);
            if self.undurable_replies.is_some() {
                return;
            }
        }
        if let Some((batch, stop)) = self.undurable.take() {
            if self.server.persistence.aof.is_always() && self.waits_for_disk(batch.appended, ctx) {
                self.undurable = Some((batch, stop));
            } else {
                self.resume(batch, stop, ctx);
            }
        }
        if self.undurable.is_none() && !self.behind_undurable.is_empty() && !self.closed {
            let mut bytes = std::mem::take(&mut self.behind_undurable);
            self.send(&mut bytes, ctx);
        }
        if self.batch.is_some() {
            self.release_held(ctx);
        }
    }
}

impl Receive<Deliver> for Connection {
    fn receive(&mut self, Deliver { bytes }: Deliver, _: &mut Context<Self>) {
        // Written once the mailbox is empty, together with what else is in it.
        if !self.closed {
            self.held.push(bytes);
            if self.server.persistence.aof.is_always() {
                self.held_until = self.server.replication.issued();
            }
        }
    }
}

impl Receive<EndShardChannels> for Connection {
    fn receive(&mut self, EndShardChannels { channels }: EndShardChannels, ctx: &mut Context<Self>) {
        self.ended_channels.extend(channels);
        if self.batch.is_some() && !self.closed {
            // Behind the messages that were sent before.
            self.release_held(ctx);
            let mut bytes = self.end_channels();
            self.send(&mut bytes, ctx);
        }
    }
}

impl Receive<Invalidate> for Connection {
    fn receive(&mut self, Invalidate { mut bytes }: Invalidate, ctx: &mut Context<Self>) {
        if self.undurable.is_some() || self.undurable_replies.is_some() {
            // Behind the replies that wait for the disk.
            self.behind_undurable.extend_from_slice(&bytes);
        } else if !self.closed {
            self.send(&mut bytes, ctx);
        }
    }
}

impl Receive<Waits> for Connection {
    fn receive(&mut self, Waits { replies, appended }: Waits, ctx: &mut Context<Self>) {
        if self.server.persistence.aof.is_always() && self.waits_for_disk(appended, ctx) {
            self.undurable_replies = Some(Waits { replies, appended });
            return;
        }
        for mut chunk in replies {
            self.send(&mut chunk, ctx);
        }
        self.release_held(ctx);
        self.settle(ctx);
    }
}

impl Receive<Feed> for Connection {
    fn receive(&mut self, Feed { bytes, room }: Feed, ctx: &mut Context<Self>) {
        if self.closed {
            return;
        }
        self.release_held(ctx);
        self.send(&mut bytes.to_vec(), ctx);
        if self.unwritten < FED_BYTES_MAX {
            // Who feeds may have gone.
            let _ = room.send(());
        } else if !self.closed {
            self.feeders.push(room);
        }
    }
}

impl Receive<HoldStream> for Connection {
    fn receive(&mut self, hold: HoldStream, ctx: &mut Context<Self>) {
        // Dropping it says that there is no stream here any more.
        if let Some(end) = self.primary.as_mut().filter(|_| !self.closed) {
            end.holders.push(hold);
            self.hold_stream(ctx);
        }
    }
}

impl Receive<Fence> for Connection {
    fn receive(&mut self, Fence { done }: Fence, ctx: &mut Context<Self>) {
        self.release_held(ctx);
        // Who asked may have gone.
        let _ = done.send(());
    }
}

impl Receive<ShrinkInput> for Connection {
    fn receive(&mut self, _: ShrinkInput, _: &mut Context<Self>) {
        if !self.closed {
            self.input.shrink_to_fit();
            self.requests.shrink();
            self.spare_requests.shrink();
            if let Some(batch) = &mut self.batch {
                batch.requests.shrink();
                batch.input.shrink_to_fit();
                batch.output.shrink_to_fit();
            }
            self.note_memory();
        }
    }
}

impl Receive<CheckOutput> for Connection {
    fn receive(&mut self, _: CheckOutput, ctx: &mut Context<Self>) {
        if !self.output.is_empty() && !self.closed {
            self.check_output_limit(self.unwritten, ctx);
        }
    }
}

impl Receive<Kill> for Connection {
    fn receive(&mut self, Kill { after_replies }: Kill, ctx: &mut Context<Self>) {
        if self.primary.is_some() {
            // The shard stops between two commands.
            self.shared.killed.store(true, Ordering::Relaxed);
        }
        if after_replies {
            self.closing = true;
            self.settle(ctx);
        } else {
            self.close(ctx);
        }
    }
}
