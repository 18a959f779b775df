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

mod input;
mod output;
mod primary;
mod stream;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use actix::fut::ActorFuture;
use actix::prelude::*;
use skuld::resp::decode::{DecodeLimits, Decoder, ProtocolError, Requests};
use skuld::session::Session;
use tokio::io::ReadBuf;

use crate::batch::{Batch, Stop};
use crate::client_eviction;
use crate::clients::ClientShared;
use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, client_event, tell};
use crate::migration::{ImportLink, import};
use crate::server::ServerRef;
use crate::server_commands::{self, Ran, client};
use crate::shard::{ExecuteBatch, Shard};
use crate::subscriptions::Kind;
use crate::tracking::{Body, UnderWay};

pub use primary::PrimaryEnd;
pub use stream::Stream;

/// Bytes read from a socket at once, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// While a batch is in flight, reading pauses beyond this many unexecuted bytes (the sender's window fills instead).
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// Room is made for the rest of an argument if it is longer than this.
const LONG_ARGUMENT_BYTES: usize = 32 * 1024;
/// Buffers larger than this are given back when they are empty. Those of requests stay, up to a limit, until a shorter
/// request comes or the client is idle: a sender of long arguments mostly sends more of them.
const KEEP_BYTES: usize = 32 * 1024;
const KEEP_REQUEST_BYTES: usize = 1024 * 1024;
/// Room for a request of which only the beginning has arrived, at least.
const PARTIAL_BYTES: usize = 16 * 1024;
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
    /// Several clients have the same.
    pub body: Arc<Body>,
    pub letter: UnderWay,
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

/// Bytes for a replica that is fed a snapshot, or a client whose script is debugged elsewhere; the sender goes on when
/// there is room for more.
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

/// Execute nothing more of the primary's stream until released: the data is to be that of one known offset.
pub struct HoldStream {
    /// Told the stream's database when all that was executed has been sent to the log.
    pub held: tokio::sync::oneshot::Sender<u32>,
    /// Sent to, or dropped, when the stream may go on.
    pub release: tokio::sync::oneshot::Receiver<()>,
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
    /// When the output went over the soft limit, if it is, Unix seconds; and what looks whether it has been for too long.
    over_soft_since_s: Option<i64>,
    soft_limit_look: Option<SpawnHandle>,
    /// It has sent more than the small requests for which Valkey's clients share a buffer, and has not been idle since.
    has_own_room: bool,
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
            over_soft_since_s: None,
            soft_limit_look: None,
            has_own_room: false,
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

    fn close(&mut self, ctx: &mut Context<Self>) {
        if self.primary.is_some() && self.batch.is_none() {
            // What is being executed must be known to have been, before anybody goes on from here.
            self.ended = true;
            return;
        }
        if !self.closed {
            self.closed = true;
            self.shared.hang_up();
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

    /// Sends a batch on its way if none is and something is complete.
    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        if self.primary.is_some() {
            self.hold_stream(ctx);
        }
        if self.closing || self.batch.is_none() || self.input.is_empty() {
            return;
        }
        if self.primary.as_ref().is_some_and(|end| end.holding > 0) || self.waits_for_pause_end(ctx) {
            return;
        }
        let now = clock::tick();
        let config = self.server.config.load();
        if self.primary.is_none() && self.input.len() as u64 > config.client_query_buffer_limit {
            return self.over_query_limit(ctx);
        }
        let Some(mut batch) = self.batch.take() else { return };
        if self.protocol_error.is_none() {
            let limits = DecodeLimits {
                bulk_max: if self.primary.is_some() { i64::MAX } else { config.proto_max_bulk_len as i64 },
                authenticated: batch.session.authenticated,
            };
            self.protocol_error = self.decoder.decode(&mut self.input, limits, &mut self.requests).err();
        }
        if self.requests.is_empty() && self.protocol_error.is_none() {
            // Room for the whole argument at once, instead of doubling.
            let wanted = self.decoder.wanted(self.input.len());
            if wanted > LONG_ARGUMENT_BYTES {
                self.input.reserve_exact(wanted);
            } else if self.input.capacity() < PARTIAL_BYTES {
                self.input.reserve_exact(PARTIAL_BYTES - self.input.len());
            }
            self.batch = Some(batch);
            self.shared.last_interaction_ms.store(clock::unix_us(now) / 1000, Ordering::Relaxed);
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
        batch.reported = 0;
        batch.protocol_error = self.protocol_error.take();
        self.shared.argv_bytes.store(batch.input.len() as u64, Ordering::Relaxed);
        self.shared.last_interaction_ms.store(clock::unix_us(now) / 1000, Ordering::Relaxed);
        self.shared.query_bytes.store(self.unparsed_bytes() as u64, Ordering::Relaxed);
        tell(&self.shard, ExecuteBatch(batch));
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
                "Protocol error ({}) from client: {}. Query buffer: {}",
                error.log_text(),
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
        let (used, spare) = (batch.input.capacity(), self.input.capacity());
        let mut keep = KEEP_REQUEST_BYTES;
        if used.max(spare) > KEEP_BYTES && self.server.config.load().maxmemory_clients != 0 {
            // The room would count, and might cost the client its connection.
            keep = KEEP_BYTES;
        }
        if used > keep {
            batch.input = Vec::new();
        }
        let unneeded = spare > keep || (spare > KEEP_BYTES && used < spare / 2);
        if self.input.is_empty() && unneeded {
            self.input = Vec::new();
        }
        self.batch = Some(batch);
        if !self.ended_channels.is_empty() {
            let mut bytes = self.end_channels();
            self.send(&mut bytes, ctx);
        }
        self.shared.argv_bytes.store(0, Ordering::Relaxed);
        self.shared.batch_output.store(0, Ordering::Relaxed);
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

    fn stopped(&mut self, _: &mut Context<Self>) {
        // Nothing is left of them once they do not count as leaving any more.
        self.output.clear();
        self.output.shrink_to_fit();
        self.input = Vec::new();
        self.batch = None;
        client_eviction::gone(&self.server, &self.shared);
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
                        connection.shared.hang_up();
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
