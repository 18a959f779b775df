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

use super::{BusPacket, Gossip, LinkClosed, LinkConnected};
use crate::configure::os_text;
use crate::envelope::tell;

/// Packets of one connection that wait to be processed, at most: a peer that sends faster is read slower.
const WAITING_MAX: usize = 64;
/// Bytes asked of a socket at once.
const READ_BYTES: usize = 16 * 1024;
/// A peer that does not answer the call is given up after so long at most.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// The actor's end of a connection.
pub struct Wire {
    sender: mpsc::UnboundedSender<Arc<[u8]>>,
    /// Bytes that the socket has not taken yet.
    pub waiting: Arc<AtomicUsize>,
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
        self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        // The task may have ended; then the actor hears of it.
        let _ = self.sender.send(bytes);
    }

    /// Calls a node.
    pub fn dial(
        link: LinkId,
        ip: String,
        port: u16,
        from: Option<IpAddr>,
        actor: Addr<Gossip>,
        now_ms: i64,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = waiting.clone();
        let task = actix::spawn(async move {
            let called = tokio::time::timeout(CONNECT_MAX, connect(&ip, port, from)).await;
            let stream = match called {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!("Connection with Node at {ip}:{port} failed: {}", os_text(&error));
                    return tell(&actor, LinkClosed { link });
                }
                Err(_) => return tell(&actor, LinkClosed { link }),
            };
            // Failing means the connection is gone again; reading will tell.
            let _ = stream.set_nodelay(true);
            let (peer_ip, local_ip) = ends(&stream);
            tell(&actor, LinkConnected { link, peer_ip, local_ip });
            run(link, stream, receiver, count, &actor).await;
            tell(&actor, LinkClosed { link });
        });
        Self { sender, waiting, task, created_ms: now_ms }
    }

    /// Serves a node that has called.
    pub fn accept(link: LinkId, stream: TcpStream, actor: Addr<Gossip>, now_ms: i64) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let count = waiting.clone();
        let task = actix::spawn(async move {
            run(link, stream, receiver, count, &actor).await;
            tell(&actor, LinkClosed { link });
        });
        Self { sender, waiting, task, created_ms: now_ms }
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
    waiting: Arc<AtomicUsize>,
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
    waiting: &AtomicUsize,
) {
    while let Some(bytes) = receiver.recv().await {
        if let Err(error) = writer.write_all(&bytes).await {
            tracing::debug!("I/O error writing to node link: {}", os_text(&error));
            return;
        }
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
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
