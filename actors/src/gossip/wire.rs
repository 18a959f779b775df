//! The connections of the bus as tasks: bytes to packets, packets to bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use skuld::cluster::LinkId;
use skuld::cluster::packet::{Frame, frame};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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
        (ip, port): (String, u16),
        from: Option<IpAddr>,
        around: Surroundings,
        now_ms: i64,
    ) -> Self {
        Self::new(&around.clone(), now_ms, move |receiver, waiting| async move {
            let Surroundings { actor, tls, .. } = around;
            let limit = tokio::time::Instant::now() + CONNECT_MAX;
            let called = tokio::time::timeout_at(limit, connect(&ip, port, from)).await;
            let failed = |error: &io::Error| {
                tracing::debug!("Connection with Node at {ip}:{port} failed: {}", os_text(error));
                tell(&actor, LinkClosed { link });
            };
            let stream = match called {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return failed(&error),
                Err(_) => return tell(&actor, LinkClosed { link }),
            };
            // Failing means the connection is gone again; reading will tell.
            let _ = stream.set_nodelay(true);
            let (peer_ip, local_ip) = ends(&stream);
            let connected = LinkConnected { link, peer_ip, local_ip };
            match tls {
                None => {
                    tell(&actor, connected);
                    run(link, stream, receiver, waiting, &actor).await;
                }
                Some(server) => match tokio::time::timeout_at(limit, server.tls.connect(stream)).await {
                    Ok(Ok(stream)) => {
                        tell(&actor, connected);
                        run(link, stream, receiver, waiting, &actor).await;
                    }
                    Ok(Err(error)) => return failed(&error),
                    Err(_) => {}
                },
            }
            tell(&actor, LinkClosed { link });
        })
    }

    /// Serves a node that has called.
    pub fn accept(link: LinkId, stream: TcpStream, around: Surroundings, now_ms: i64) -> Self {
        Self::new(&around.clone(), now_ms, move |receiver, waiting| async move {
            let Surroundings { actor, tls, .. } = around;
            match tls {
                None => run(link, stream, receiver, waiting, &actor).await,
                Some(server) => match tokio::time::timeout(CONNECT_MAX, server.tls.accept_node(stream)).await
                {
                    Ok(Ok(stream)) => run(link, stream, receiver, waiting, &actor).await,
                    Ok(Err(error)) => {
                        tracing::debug!("Error accepting cluster node connection: {error}");
                    }
                    Err(_) => {}
                },
            }
            tell(&actor, LinkClosed { link });
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

async fn run(
    link: LinkId,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    receiver: mpsc::UnboundedReceiver<Arc<[u8]>>,
    waiting: Arc<Waiting>,
    actor: &Addr<Gossip>,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(link, reader, actor) => {}
        () = write(writer, receiver, &waiting) => {}
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut receiver: mpsc::UnboundedReceiver<Arc<[u8]>>,
    waiting: &Waiting,
) {
    while let Some(bytes) = receiver.recv().await {
        if let Err(error) = writer.write_all(&bytes).await {
            tracing::debug!("I/O error writing to node link: {}", os_text(&error));
            return;
        }
        if let Err(error) = writer.flush().await {
            tracing::debug!("I/O error writing to node link: {}", os_text(&error));
            return;
        }
        waiting.remove(bytes.len());
    }
}

async fn read(link: LinkId, mut reader: impl AsyncRead + Unpin, actor: &Addr<Gossip>) {
    let turns = Arc::new(Semaphore::new(WAITING_MAX));
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let mut taken = 0;
        loop {
            match frame(&buffer[taken..]) {
                Frame::NotTheBus => {
                    tracing::warn!("Bad message length or signature received on the Cluster bus.");
                    return;
                }
                Frame::Packet(length) if buffer.len() - taken >= length => {
                    let turn = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
                    let bytes = buffer[taken..taken + length].to_vec();
                    tell(actor, BusPacket { link, bytes, turn });
                    taken += length;
                }
                Frame::Packet(_) | Frame::Incomplete => break,
            }
        }
        buffer.drain(..taken);
        if buffer.is_empty() && buffer.capacity() > 16 * READ_BYTES {
            buffer = Vec::new();
        }
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => {
                tracing::debug!("I/O error reading from node link: connection closed");
                return;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("I/O error reading from node link: {}", os_text(&error));
                return;
            }
        }
    }
}
