//! The link to our primary.
//!
//! ```text
//!  FollowPrimary --> Connect --> Connecting --> Handshake --+--> Sync --> Connected   (the stream: a Connection of
//!                      ^                                    +-------------^   |        origin Primary executes it)
//!                      +--------- a second later, or at once after a loss ---+
//! ```
//! The exchange up to the answer to PSYNC is [`skuld::replication::handshake`]; the snapshot is [`super::receive`]'s.
//!
//! Invariant: at most one link is alive; [`StopFollowing`] is answered when nothing of the old one can execute any more.

use std::future::poll_fn;
use std::net::ToSocketAddrs;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use actix::prelude::*;
use skuld::effects::encode_command;
use skuld::replication::handshake::{Handshake, Introduction, REJECTED, Step};
use skuld::replication::history::NAME_LENGTH;
use skuld::session::{Origin, Session};
use skuld::version::VERSION;
use tokio::io::ReadBuf;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{bit, receive};
use crate::clients::ClientShared;
use crate::clock;
use crate::configure::os_text;
use crate::connection::{Connection, Deliver, Kill, PrimaryEnd, Stream};
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::replication_log::{DescribePosition, HistoryContinued};
use crate::server::{Server, ServerRef};
use crate::tls::stream::TlsStream;

/// Whom to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    pub host: String,
    pub port: u16,
}

/// Follow this primary from now on. The role has changed already.
pub struct FollowPrimary {
    pub primary: Primary,
    /// What we have and where we go on; `None` for everything.
    pub have: Option<Have>,
    /// A coordinated failover: told whether the other one took over.
    pub failover: Option<oneshot::Sender<bool>>,
}

/// What we could go on from.
#[derive(Clone, Debug)]
pub struct Have {
    pub history: String,
    /// Bytes of it that we have executed.
    pub offset: i64,
    /// The database the stream was in.
    pub db: u32,
}

/// End the link; answered when it is over.
pub struct StopFollowing {
    pub reply: oneshot::Sender<()>,
}

/// The task of a link has ended.
struct LinkEnded {
    number: u64,
}

crate::receives!(ReplicaLink: FollowPrimary = 0, StopFollowing = 1, LinkEnded = 2);

/// How far the link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    #[default]
    None,
    Connect,
    Connecting,
    Handshake,
    Sync,
    Connected,
}

impl LinkState {
    /// ROLE's word.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Connect => "connect",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Sync => "sync",
            Self::Connected => "connected",
        }
    }
}

/// What INFO and ROLE show of the link.
#[derive(Default)]
pub struct LinkView {
    pub primary: Option<Primary>,
    pub state: LinkState,
    /// The client that carries the stream.
    pub client: Option<Arc<ClientShared>>,
    /// Unix milliseconds.
    pub down_since_ms: i64,
    /// When a link that was up broke; 0 if none was since this server became a replica.
    pub lost_ms: i64,
    /// Of the transfer under way: bytes in all (0 if not known) and read, and when the last ones came.
    pub sync_total: u64,
    pub sync_read: u64,
    pub sync_last_io_ms: i64,
    /// Bytes of the stream held while the snapshot is loaded, now and at most.
    pub stream_held: u64,
    pub stream_held_peak: u64,
    /// With two connections: the snapshot is loaded.
    pub snapshot_loaded: bool,
    /// The database the stream is in.
    pub db: u32,
}

/// The actor.
pub struct ReplicaLink {
    id: ActorId,
    server: ServerRef,
    running: Option<Running>,
    number: u64,
    stopping: Vec<oneshot::Sender<()>>,
    next: Option<FollowPrimary>,
    own_address: Option<Addr<Self>>,
}

struct Running {
    number: u64,
    stop: CancellationToken,
}

impl ReplicaLink {
    pub fn new(server: ServerRef) -> Self {
        Self {
            id: next_actor(ActorKind::ReplicaLink),
            server,
            running: None,
            number: 0,
            stopping: Vec::new(),
            next: None,
            own_address: None,
        }
    }

    fn start(&mut self, follow: FollowPrimary, ctx: &mut Context<Self>) {
        self.number += 1;
        let stop = CancellationToken::new();
        let number = self.number;
        self.running = Some(Running { number, stop: stop.clone() });
        let link = Link {
            server: self.server.clone(),
            primary: follow.primary,
            have: follow.have,
            failover: follow.failover,
            stop,
            data_lost: AtomicBool::new(false),
            failed: false,
        };
        let own = ctx.address();
        ctx.spawn(
            async move {
                link.run().await;
                tell(&own, LinkEnded { number });
            }
            .into_actor(self),
        );
    }
}

impl Actor for ReplicaLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.own_address = Some(ctx.address());
    }
}

impl TracedActor for ReplicaLink {
    const KIND: ActorKind = ActorKind::ReplicaLink;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<FollowPrimary> for ReplicaLink {
    fn receive(&mut self, follow: FollowPrimary, ctx: &mut Context<Self>) {
        match &self.running {
            None => self.start(follow, ctx),
            Some(running) => {
                running.stop.cancel();
                self.next = Some(follow);
            }
        }
    }
}

impl Receive<StopFollowing> for ReplicaLink {
    fn receive(&mut self, StopFollowing { reply }: StopFollowing, _: &mut Context<Self>) {
        self.next = None;
        match &self.running {
            None => {
                // Who asked may have gone.
                let _ = reply.send(());
            }
            Some(running) => {
                running.stop.cancel();
                self.stopping.push(reply);
            }
        }
    }
}

impl Receive<LinkEnded> for ReplicaLink {
    fn receive(&mut self, LinkEnded { number }: LinkEnded, ctx: &mut Context<Self>) {
        if self.running.as_ref().is_some_and(|r| r.number == number) {
            self.running = None;
            for reply in self.stopping.drain(..) {
                // Who asked may have gone.
                let _ = reply.send(());
            }
            if let Some(next) = self.next.take() {
                self.start(next, ctx);
            }
        }
    }
}

/// A socket to the primary, with what was read and not used yet.
pub struct Wire {
    stream: Stream,
    pub buffer: Vec<u8>,
    server: ServerRef,
    ends: Ends,
    scratch: Box<[u8]>,
}

/// What others see of the socket.
struct Ends {
    peer: String,
    local: String,
    fd: std::os::fd::RawFd,
}

const READ_BYTES: usize = 64 * 1024;

/// Longest a line of the handshake may take.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line that makes sense.
const LINE_MAX: usize = 64 * 1024;

impl Wire {
    /// Connects, from the configured address if there is one.
    pub async fn connect(server: &ServerRef, primary: &Primary) -> Result<Self, String> {
        let (host, port) = (primary.host.clone(), primary.port);
        // Resolving a name may block.
        let found = tokio::task::spawn_blocking(move || (host.as_str(), port).to_socket_addrs())
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| os_text(&e))?
            .next()
            .ok_or_else(|| "no address".to_owned())?;
        let config = server.config.load_full();
        let socket =
            if found.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }
                .map_err(|e| os_text(&e))?;
        let source = config.bind_source_addr.to_str();
        if let Ok(address) = source.parse::<std::net::IpAddr>() {
            let _ = socket.set_reuseaddr(true);
            socket.bind((address, 0).into()).map_err(|e| os_text(&e))?;
        }
        let limit = Duration::from_secs(u64::from(config.repl_timeout));
        let stream = tokio::time::timeout(limit, socket.connect(found))
            .await
            .map_err(|_| "Timeout connecting to the PRIMARY...".to_owned())?
            .map_err(|e| format!("Error condition on socket for SYNC: {}", os_text(&e)))?;
        let _ = stream.set_nodelay(!config.repl_disable_tcp_nodelay);
        let ends = Ends {
            peer: stream.peer_addr().map(|a| a.to_string()).unwrap_or_default(),
            local: stream.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            fd: stream.as_raw_fd(),
        };
        let stream = if config.tls_replication {
            let shaken = tokio::time::timeout(limit, server.tls.connect(stream))
                .await
                .map_err(|_| "Timeout connecting to the PRIMARY...".to_owned())?;
            let (socket, session) = shaken
                .map_err(|e| format!("Error condition on socket for SYNC: {}", os_text(&e)))?
                .into_inner();
            Stream::Tls(Box::new(TlsStream::new(socket, session)))
        } else {
            Stream::Tcp(stream)
        };
        let scratch = vec![0; READ_BYTES].into();
        Ok(Self { stream, buffer: Vec::new(), server: server.clone(), ends, scratch })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut written = 0;
        poll_fn(|task| {
            while written < bytes.len() {
                written += ready!(self.stream.poll_write(task, &bytes[written..]))?;
            }
            self.stream.poll_flush(task)
        })
        .await
        .map_err(|e| format!("Failed to write to the primary: {}", os_text(&e)))
    }

    /// Reads more; an end of the stream is an error.
    pub async fn read(&mut self) -> Result<usize, String> {
        let read = poll_fn(|task| {
            let mut into = ReadBuf::new(&mut self.scratch);
            ready!(self.stream.poll_read(task, &mut into))?;
            Poll::Ready(Ok(into.filled().len()))
        });
        match read.await {
            Ok(0) => Err("I/O error reading from PRIMARY: connection lost".to_owned()),
            Ok(n) => {
                self.buffer.extend_from_slice(&self.scratch[..n]);
                let stats = &self.server.stats;
                stats.total_net_input_bytes.fetch_add(n as u64, Ordering::Relaxed);
                stats.net_repl_input_bytes.fetch_add(n as u64, Ordering::Relaxed);
                Ok(n)
            }
            Err(e) => Err(format!("I/O error reading from PRIMARY: {}", os_text(&e))),
        }
    }

    /// The next line without its end.
    pub async fn line(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        tokio::time::timeout(limit, self.next_line())
            .await
            .unwrap_or_else(|_| Err("Timeout waiting for the primary".to_owned()))
    }

    /// The same, for which `repl-timeout` is waited.
    pub async fn patient_line(&mut self) -> Result<Vec<u8>, String> {
        let server = self.server.clone();
        within_repl_timeout(&server, self.next_line())
            .await
            .unwrap_or_else(|| Err("Timeout connecting to the PRIMARY...".to_owned()))
    }

    /// The same, however long it takes.
    pub async fn next_line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.buffer.len() > LINE_MAX {
                return Err("a line from the primary is too long".to_owned());
            }
            self.read().await?;
        }
    }
}

/// Waits for `repl-timeout`, as it is set at the time: None if it was not long enough.
pub async fn within_repl_timeout<T>(server: &Server, future: impl Future<Output = T>) -> Option<T> {
    within_repl_timeout_of(server, Instant::now(), future).await
}

/// The same for a wait that began before.
pub async fn within_repl_timeout_of<T>(
    server: &Server,
    begun: Instant,
    future: impl Future<Output = T>,
) -> Option<T> {
    /// Between two looks at the configuration.
    const LOOK: Duration = Duration::from_millis(100);
    let mut future = std::pin::pin!(future);
    loop {
        if let Ok(done) = tokio::time::timeout(LOOK, &mut future).await {
            return Some(done);
        }
        if begun.elapsed() > Duration::from_secs(u64::from(server.config.load().repl_timeout)) {
            return None;
        }
    }
}

/// One link while it is wanted.
pub struct Link {
    pub server: ServerRef,
    pub primary: Primary,
    have: Option<Have>,
    failover: Option<oneshot::Sender<bool>>,
    pub stop: CancellationToken,
    /// What we had is gone, or is not to be gone on from: set when a snapshot begins to replace it.
    pub data_lost: AtomicBool,
    /// The snapshot could not be taken.
    failed: bool,
}

/// How the exchange ended.
enum Answered {
    Continue(Option<String>),
    Full(Option<(String, i64)>),
    DualChannel,
}

impl Link {
    async fn run(mut self) {
        self.show(LinkState::Connect);
        self.server.replication.link().down_since_ms = clock::unix_ms();
        let stop = self.stop.clone();
        let mut was_up = false;
        while !stop.is_cancelled() {
            let failed = std::mem::take(&mut self.failed);
            let again = if std::mem::take(&mut was_up) || failed { "Reconnecting" } else { "Connecting" };
            let after = if failed { " after failure" } else { "" };
            tracing::info!("{again} to PRIMARY {}:{}{after}", self.primary.host, self.primary.port);
            let outcome = self.attempt(&stop).await;
            if self.data_lost.swap(false, Ordering::Relaxed) {
                self.have = None;
            }
            self.show(LinkState::Connect);
            match outcome {
                Ok(()) => was_up = true,
                Err(reason) => {
                    if !stop.is_cancelled() {
                        tracing::warn!("{reason}");
                    }
                    if reason == REJECTED
                        && let Some(failover) = self.failover.take()
                    {
                        // Who asked may have given up.
                        let _ = failover.send(false);
                    }
                    let pause_ms = if self.failed { 100 } else { 1000 };
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
                    }
                }
            }
        }
        let mut view = self.server.replication.link();
        view.client = None;
        view.state = LinkState::None;
    }

    pub fn show(&self, state: LinkState) {
        let mut view = self.server.replication.link();
        view.primary = Some(self.primary.clone());
        let was_up = view.state == LinkState::Connected;
        view.state = state;
        if state == LinkState::Connected {
            self.server.replication.set(bit::LINK_UP);
        } else {
            self.server.replication.clear(bit::LINK_UP);
            view.client = None;
            if was_up {
                view.down_since_ms = clock::unix_ms();
                view.lost_ms = view.down_since_ms;
            }
        }
    }

    /// One connection, from its beginning to its end. `Ok` if the link was up and is to be tried again at once.
    async fn attempt(&mut self, stop: &CancellationToken) -> Result<(), String> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let up = tokio::select! {
            () = stop.cancelled() => {
                cancelled.store(true, Ordering::Relaxed);
                return Ok(());
            }
            up = self.come_up(&cancelled) => up?,
        };
        self.stay_up(up, stop).await
    }

    /// Connects, and brings our data to where the stream begins.
    async fn come_up(&mut self, cancelled: &Arc<AtomicBool>) -> Result<(Wire, u32), String> {
        self.show(LinkState::Connecting);
        tracing::info!("PRIMARY <-> REPLICA sync started");
        let mut wire = Wire::connect(&self.server, &self.primary).await?;
        tracing::info!("Non blocking connect for SYNC fired the event.");
        self.show(LinkState::Handshake);
        let answered = self.shake_hands(&mut wire).await?;
        let db = match answered {
            Answered::Continue(name) => {
                tell(self.server.replication_log(), HistoryContinued { name });
                if let Some(failover) = self.failover.take() {
                    // Who asked may have given up.
                    let _ = failover.send(true);
                }
                self.have.as_ref().map_or(0, |have| have.db)
            }
            Answered::Full(history) => {
                self.show(LinkState::Sync);
                let at = history.unwrap_or_else(|| ("0".repeat(NAME_LENGTH), 0));
                let guard = CancelOnDrop(cancelled.clone());
                let received = receive::full(self, &mut wire, at, cancelled).await;
                self.failed = received.is_err();
                let db = received?;
                std::mem::forget(guard);
                db
            }
            Answered::DualChannel => {
                let guard = CancelOnDrop(cancelled.clone());
                let received = receive::dual_channel(self, wire, cancelled).await;
                self.failed = received.is_err();
                if self.failed {
                    tracing::info!("Dual channel replication: Aborting dual channel sync");
                }
                let (stream, db) = received?;
                std::mem::forget(guard);
                wire = stream;
                db
            }
        };
        Ok((wire, db))
    }

    /// What we say about ourselves.
    pub fn introduction(&self, have: Option<(String, i64)>) -> Introduction {
        let config = self.server.config.load();
        let port = match config.replica_announce_port {
            0 if config.tls_replication => config.tls_port,
            0 => config.port,
            port => port,
        };
        Introduction {
            user: config.primaryuser.as_bytes().to_vec(),
            password: config.primaryauth.as_bytes().to_vec(),
            port,
            announced_address: config.replica_announce_ip.as_bytes().to_vec(),
            skip_checksum: false,
            dual_channel: config.dual_channel_replication_enabled,
            version: VERSION,
            node_id: self.server.cluster.as_ref().map(|cluster| cluster.topology().me().id.to_string()),
            have,
            failover: self.failover.is_some(),
        }
    }

    async fn shake_hands(&self, wire: &mut Wire) -> Result<Answered, String> {
        let have = self.have.as_ref().map(|have| (have.history.clone(), have.offset + 1));
        let (mut handshake, first) = Handshake::begin(self.introduction(have));
        wire.write(&first).await?;
        let mut patient = false;
        loop {
            let line = if patient { wire.patient_line().await? } else { wire.line(LINE_TIMEOUT).await? };
            for step in handshake.line(&line) {
                match step {
                    Step::Send(bytes) => {
                        if bytes.windows(5).any(|w| w == b"PSYNC") {
                            // The primary may have to wait for others before it answers.
                            patient = true;
                        }
                        wire.write(&bytes).await?;
                    }
                    Step::Log(text) => tracing::info!("{text}"),
                    Step::Wait => {}
                    Step::Continue(name) => {
                        tracing::info!(
                            "PRIMARY <-> REPLICA sync: Primary accepted a Partial Resynchronization."
                        );
                        return Ok(Answered::Continue(name));
                    }
                    Step::Full(history) => return Ok(Answered::Full(history)),
                    Step::DualChannel => return Ok(Answered::DualChannel),
                    Step::OldSync => return Ok(Answered::Full(None)),
                    Step::Fail(reason) => return Err(reason),
                }
            }
        }
    }

    /// Executes the stream until it ends or is not wanted any more.
    async fn stay_up(&mut self, (wire, db): (Wire, u32), stop: &CancellationToken) -> Result<(), String> {
        let server = self.server.clone();
        let (reply, position) = oneshot::channel();
        tell(server.replication_log(), DescribePosition { reply });
        let position = position.await.map_err(|_| "The replication log is gone".to_owned())?;
        server.replication.executed.store(position.offset, Ordering::Relaxed);
        server.replication.has_no_data.store(false, Ordering::Relaxed);
        let (closed, mut is_closed) = oneshot::channel();
        let (shared, connection) = take_over(&server, wire, db, closed);
        {
            let mut view = server.replication.link();
            view.client = Some(shared.clone());
            view.db = db;
        }
        self.show_connected(&shared);
        acknowledge(&server, &connection);
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        beat.tick().await;
        let mut wanted = true;
        let db = loop {
            tokio::select! {
                db = &mut is_closed => break db.unwrap_or(0),
                () = stop.cancelled(), if wanted => {
                    wanted = false;
                    tell(&connection, Kill { after_replies: false });
                }
                _ = beat.tick() => {
                    acknowledge(&server, &connection);
                    let silent_ms = clock::unix_ms() - shared.last_interaction_ms.load(Ordering::Relaxed);
                    let limit_ms = i64::from(server.config.load().repl_timeout) * 1000;
                    if silent_ms > limit_ms {
                        tracing::warn!("PRIMARY timeout: no data nor PING received...");
                        tell(&connection, Kill { after_replies: false });
                    }
                }
            }
        };
        // The log has handled what the connection sent it before it closed.
        let (reply, position) = oneshot::channel();
        tell(server.replication_log(), DescribePosition { reply });
        self.have = position.await.ok().map(|p| Have { history: p.replication_id, offset: p.offset, db });
        server.replication.link().db = db;
        if wanted {
            tracing::info!("Connection with primary lost.");
            tracing::info!("Caching the disconnected primary state.");
        }
        Ok(())
    }

    fn show_connected(&self, shared: &Arc<ClientShared>) {
        self.show(LinkState::Connected);
        self.server.replication.link().client = Some(shared.clone());
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes the socket a connection whose requests are the primary's stream. `closed` is told the database it was in
/// when all that was executed of it has reached the log.
fn take_over(
    server: &ServerRef,
    wire: Wire,
    db: u32,
    closed: oneshot::Sender<u32>,
) -> (Arc<ClientShared>, Addr<Connection>) {
    let Wire { stream, buffer, ends, .. } = wire;
    let mut session = Session::new(server.clients.next_id());
    session.origin = Origin::Primary;
    session.db = db;
    session.peer = ends.peer.into();
    session.local = ends.local.into();
    let id = next_actor(ActorKind::Connection);
    let shard = server.shard(0).clone();
    let mut made = None;
    let server_of_it = server.clone();
    let connection = Connection::create(|ctx| {
        let shared = Arc::new(ClientShared::new(&session, ends.fd, ctx.address()));
        shared.publish(&session);
        server_of_it.clients.insert(shared.clone());
        made = Some(shared.clone());
        let end = PrimaryEnd::new(closed, buffer);
        Connection::new(id, server_of_it.clone(), shared, shard, stream, session, ctx.address())
            .of_primary(end)
    });
    (made.expect("made while the connection was created"), connection)
}

/// REPLCONF ACK for the primary: what we have executed, and what of it is in our append-only file.
pub fn acknowledgement(server: &Server, offset: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let (offset, file) =
        (offset.to_string(), server.replication.file_offset.load(Ordering::Relaxed).to_string());
    if server.replication.file_offset.load(Ordering::Relaxed) >= 0 {
        encode_command(&mut out, &[b"REPLCONF", b"ACK", offset.as_bytes(), b"FACK", file.as_bytes()]);
    } else {
        encode_command(&mut out, &[b"REPLCONF", b"ACK", offset.as_bytes()]);
    }
    out
}

/// Tells the primary, if the link is up, without waiting for the next time this is due anyway.
pub fn acknowledge_now(server: &Server) {
    let client = server.replication.link().client.clone();
    if let Some(client) = client {
        acknowledge(server, &client.connection);
    }
}

fn acknowledge(server: &Server, connection: &Addr<Connection>) {
    let bytes = acknowledgement(server, server.replication.executed.load(Ordering::Relaxed));
    tell(connection, Deliver { bytes: bytes.into() });
}
