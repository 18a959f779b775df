//! The connections of the bus as tasks: bytes to packets, packets to bytes.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use skuld::cluster::LinkId;
use skuld::cluster::packet::{Frame, frame};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::{BusPacket, ClusterShared, Gossip, LinkClosed, LinkConnected};
use crate::configure::os_text;
use crate::envelope::tell;
use crate::server::ServerRef;

/// Packets of one connection that wait to be processed, at most: a peer that sends faster is read slower.
const WAITING_MAX: usize = 64;
/// Bytes asked of a socket at once.
const READ_BYTES: usize = 16 * 1024;
/// A peer that does not answer the call is given up after so long at most.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What the queue of a connection takes while it is empty; part of what `cluster-link-sendbuf-limit` limits.
pub const QUEUE_BYTES: usize = 48;

thread_local! {
    /// Where all connections of the thread read to, so that none needs a buffer while nothing comes.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// What a connection needs of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    pub actor: Addr<Gossip>,
    pub shared: Arc<ClusterShared>,
    /// Whose certificates to show, if the bus is encrypted.
    pub tls: Option<ServerRef>,
}

/// Bytes that a socket has not taken yet. They count for all connections together too.
pub struct Waiting {
    here: AtomicUsize,
    shared: Arc<ClusterShared>,
}

impl Waiting {
    fn add(&self, bytes: usize) {
        self.here.fetch_add(bytes, Ordering::Relaxed);
        self.shared.waiting_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.here.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.waiting_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// On this connection.
    pub fn bytes(&self) -> usize {
        self.here.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.remove(self.bytes());
    }
}

/// The actor's end of a connection.
pub struct Wire {
    sender: mpsc::UnboundedSender<Arc<[u8]>>,
    pub waiting: Arc<Waiting>,
    task: tokio::task::JoinHandle<()>,
    pub created_ms: i64,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Memory of the queue, bytes.
    pub fn used(&self) -> usize {
        QUEUE_BYTES + self.waiting.bytes()
    }

    /// Queues a packet.
    pub fn send(&self, bytes: Arc<[u8]>) {
        self.waiting.add(bytes.len());
        // The task may have ended; then the actor hears of it.
        let _ = self.sender.send(bytes);
    }

    /// Starts a task that has the other ends of the queue.
    fn new<F: Future<Output = ()> + 'static>(
        around: &Surroundings,
        now_ms: i64,
        task: impl FnOnce(mpsc::UnboundedReceiver<Arc<[u8]>>, Arc<Waiting>) -> F,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting { here: AtomicUsize::new(0), shared: around.shared.clone() });
        let task = actix::spawn(task(receiver, waiting.clone()));
        Self { sender, waiting, task, created_ms: now_ms }
    }

    /// Calls a node.
    pub fn dial(
        link: LinkId,
        (id, ip, port): (String, String, u16),
        from: Option<IpAddr>,
        around: Surroundings,
        now_ms: i64,
    ) -> Self {
        Self::new(&around.clone(), now_ms, move |receiver, waiting| async move {
            let Surroundings { actor, tls, .. } = around;
            let limit = tokio::time::Instant::now() + CONNECT_MAX;
            let called = tokio::time::timeout_at(limit, connect(&ip, port, from)).await;
            let failed = |error: &io::Error| {
                tracing::debug!("Connection with Node {id} at {ip}:{port} failed: {}", os_text(error));
                tell(&actor, LinkClosed { link, why: None });
            };
            let stream = match called {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return failed(&error),
                Err(_) => return tell(&actor, LinkClosed { link, why: None }),
            };
            // Failing means the connection is gone again; reading will tell.
            let _ = stream.set_nodelay(true);
            let peer = peer_of(&stream);
            let (peer_ip, local_ip) = ends(&stream);
            let connected = LinkConnected { link, peer_ip, local_ip };
            let why = match tls {
                None => {
                    tell(&actor, connected);
                    run(link, stream, receiver, waiting, (&actor, &peer)).await
                }
                Some(server) => match tokio::time::timeout_at(limit, server.tls.connect(stream)).await {
                    Ok(Ok(stream)) => {
                        tell(&actor, connected);
                        run(link, stream, receiver, waiting, (&actor, &peer)).await
                    }
                    Ok(Err(error)) => return failed(&error),
                    Err(_) => None,
                },
            };
            tell(&actor, LinkClosed { link, why });
        })
    }

    /// Serves a node that has called.
    pub fn accept(link: LinkId, stream: TcpStream, around: Surroundings, now_ms: i64) -> Self {
        Self::new(&around.clone(), now_ms, move |receiver, waiting| async move {
            let Surroundings { actor, tls, .. } = around;
            let peer = peer_of(&stream);
            let why = match tls {
                None => run(link, stream, receiver, waiting, (&actor, &peer)).await,
                Some(server) => match tokio::time::timeout(CONNECT_MAX, server.tls.accept_node(stream)).await
                {
                    Ok(Ok(stream)) => run(link, stream, receiver, waiting, (&actor, &peer)).await,
                    Ok(Err(error)) => {
                        tracing::debug!("Error accepting cluster node connection: {error}");
                        None
                    }
                    Err(_) => None,
                },
            };
            tell(&actor, LinkClosed { link, why });
        })
    }
}

async fn connect(ip: &str, port: u16, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let resolved: SocketAddr = match ip.parse::<IpAddr>() {
        Ok(ip) => (ip, port).into(),
        Err(_) => tokio::net::lookup_host((ip, port))
            .await?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))?,
    };
    let socket =
        if resolved.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    if let Some(from) = from.filter(|from| from.is_ipv4() == resolved.is_ipv4()) {
        socket.bind((from, 0).into())?;
    }
    socket.connect(resolved).await
}

/// The peer's address and port, as log lines show them.
fn peer_of(stream: &TcpStream) -> String {
    stream.peer_addr().map(|address| address.to_string()).unwrap_or_default()
}

/// Addresses of the peer's and of our end, as text.
pub fn ends(stream: &TcpStream) -> (String, String) {
    let text = |address: io::Result<SocketAddr>| {
        address.map(|address| address.ip().to_canonical().to_string()).unwrap_or_default()
    };
    (text(stream.peer_addr()), text(stream.local_addr()))
}

/// Prepares an accepted socket.
pub fn prepare(stream: &TcpStream, node_timeout_ms: u64) {
    let period = Duration::from_millis(node_timeout_ms.saturating_mul(2)).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(period).with_interval(period / 3 + Duration::from_secs(1));
    // Failing means the connection is gone again; reading will tell.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}

/// Serves a connection until it ends; tells why.
async fn run(
    link: LinkId,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    receiver: mpsc::UnboundedReceiver<Arc<[u8]>>,
    waiting: Arc<Waiting>,
    (actor, peer): (&Addr<Gossip>, &str),
) -> Option<String> {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        why = read(link, reader, actor, peer) => why,
        error = write(writer, receiver, &waiting) => error.map(|error| os_text(&error)),
    }
}

/// Writes what is queued.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut receiver: mpsc::UnboundedReceiver<Arc<[u8]>>,
    waiting: &Waiting,
) -> Option<io::Error> {
    while let Some(bytes) = receiver.recv().await {
        let written = writer.write_all(&bytes).await;
        let flushed = if written.is_ok() { writer.flush().await } else { written };
        if let Err(error) = flushed {
            return Some(error);
        }
        waiting.remove(bytes.len());
    }
    None
}

/// Reads into the thread's buffer and appends what came to `buffer`; 0 is the end.
async fn read_some(reader: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut space = ReadBuf::new(scratch);
            std::task::ready!(Pin::new(&mut *reader).poll_read(context, &mut space))?;
            buffer.extend_from_slice(space.filled());
            std::task::Poll::Ready(Ok(space.filled().len()))
        })
    })
    .await
}

async fn read(
    link: LinkId,
    mut reader: impl AsyncRead + Unpin,
    actor: &Addr<Gossip>,
    peer: &str,
) -> Option<String> {
    let turns = Arc::new(Semaphore::new(WAITING_MAX));
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        match read_some(&mut reader, &mut buffer).await {
            Ok(0) => return Some("connection closed".to_owned()),
            Ok(_) => {}
            Err(error) => return Some(os_text(&error)),
        }
        let mut taken = 0;
        loop {
            match frame(&buffer[taken..]) {
                Frame::NotTheBus => {
                    tracing::warn!("Bad message length or signature received on the Cluster bus from {peer}");
                    return None;
                }
                Frame::Packet(length) if buffer.len() - taken >= length => {
                    let turn = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
                    // Mostly one packet has come, and nothing else.
                    let bytes = if taken == 0 && buffer.len() == length {
                        std::mem::take(&mut buffer)
                    } else {
                        taken += length;
                        buffer[taken - length..taken].to_vec()
                    };
                    tell(actor, BusPacket { link, bytes, turn });
                }
                Frame::Packet(_) | Frame::Incomplete => break,
            }
        }
        buffer.drain(..taken);
        if buffer.is_empty() {
            // A connection on which nothing comes holds nothing.
            buffer = Vec::new();
        }
    }
}
