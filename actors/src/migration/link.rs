//! The connection an export opens to its target: one task reads, one writes, and both report to the job's actor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use bytes::BytesMut;
use skuld::session::Session;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Gauge;
use super::export::{BytesReceived, Drained, LinkConnected, LinkFailed, LinkLost, MigrationExport};
use crate::clients::{ClientNames, ClientShared, flag};
use crate::clock;
use crate::connection::Connection;
use crate::envelope::tell;
use crate::server::ServerRef;

/// Below this many waiting bytes the writer asks for more.
pub const LOW_WATER: u64 = 1024 * 1024;
/// How soon CLIENT KILL is noticed.
const KILL_LOOK: Duration = Duration::from_millis(50);

/// The sending end. Dropping it closes the link once what was given is written, or at once with [`Link::close`].
pub struct Link {
    to_writer: UnboundedSender<Vec<u8>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    gauge: Arc<Gauge>,
}

impl Link {
    /// Starts to connect. The actor hears of it as `LinkConnected` or `LinkFailed`.
    pub fn open(
        server: &ServerRef,
        address: String,
        bind: Option<String>,
        gauge: Arc<Gauge>,
        job: Addr<MigrationExport>,
    ) -> Self {
        let (to_writer, from_job) = unbounded_channel();
        let own = gauge.clone();
        let server = server.clone();
        let task = tokio::task::spawn_local(async move {
            match connect(&server, &address, bind.as_deref()).await {
                Err(error) => tell(&job, LinkFailed { error: text_of(&error) }),
                Ok((stream, client)) => {
                    let listed = Listed::new(&server, client);
                    tell(&job, LinkConnected);
                    serve(stream, from_job, own, job, &listed.client).await;
                }
            }
        });
        Self { to_writer, tasks: vec![task], gauge }
    }

    /// Gives bytes to the writer.
    pub fn send(&self, bytes: Vec<u8>) {
        self.gauge.add(bytes.len());
        // A writer that has ended has reported it.
        let _ = self.to_writer.send(bytes);
    }

    /// Closes the connection; what waits is not sent.
    pub fn close(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// An I/O error as the operating system words it, without the number.
fn text_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Either kind of connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Connects to a node's client port; over TLS if `tls-replication` says so.
pub(super) async fn connect(
    server: &ServerRef,
    address: &str,
    bind: Option<&str>,
) -> io::Result<(Box<dyn Wire>, Arc<ClientShared>)> {
    use std::os::fd::AsRawFd;
    let remote = tokio::net::lookup_host(address).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket =
        if remote.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    if let Some(local) = bind {
        let local: std::net::IpAddr = local.parse().map_err(|_| io::ErrorKind::AddrNotAvailable)?;
        socket.bind((local, 0).into())?;
    }
    let stream = socket.connect(remote).await?;
    // Handshakes are small and must not wait for more to send.
    let _ = stream.set_nodelay(true);
    let mut session = Session::new(server.clients.next_id());
    session.peer = remote.to_string().into();
    session.local = stream.local_addr().map(|a| a.to_string()).unwrap_or_default().into();
    let nowhere = <Connection as Actor>::Context::new().address();
    let client = Arc::new(ClientShared::new(&session, stream.as_raw_fd(), nowhere));
    client.flags.store(flag::SLOT_EXPORT | flag::AUTHENTICATED, Ordering::Relaxed);
    let command = server.table.lookup_request(&[b"cluster", b"syncslots"]).ok();
    client.last_command.store(command.map_or(u32::MAX, |c| u32::from(c.id)), Ordering::Relaxed);
    // What the target asks for is done whatever the users of this node may do.
    client.publish_names(&ClientNames { user: (*b"(superuser)").into(), ..ClientNames::default() });
    let is_encrypted = server.config.load().tls_replication;
    let stream: Box<dyn Wire> =
        if is_encrypted { Box::new(server.tls.connect(stream).await?) } else { Box::new(stream) };
    Ok((stream, client))
}

/// The link in the list of clients, for as long as it is open.
struct Listed {
    server: ServerRef,
    client: Arc<ClientShared>,
}

impl Listed {
    fn new(server: &ServerRef, client: Arc<ClientShared>) -> Self {
        server.clients.insert(client.clone());
        Self { server: server.clone(), client }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.server.clients.remove(self.client.id);
    }
}

async fn serve(
    stream: Box<dyn Wire>,
    mut from_job: UnboundedReceiver<Vec<u8>>,
    gauge: Arc<Gauge>,
    job: Addr<MigrationExport>,
    client: &ClientShared,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        while let Some(bytes) = from_job.recv().await {
            let before = gauge.waiting();
            let result = async {
                writer.write_all(&bytes).await?;
                // Encryption holds back what is not flushed.
                writer.flush().await
            }
            .await;
            gauge.remove(bytes.len());
            if result.is_err() {
                return;
            }
            client.net_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            client.output_bytes.store(gauge.waiting(), Ordering::Relaxed);
            let is_low = before >= LOW_WATER && gauge.waiting() < LOW_WATER;
            if is_low || gauge.has_room() || from_job.is_empty() {
                tell(&job, Drained);
            }
        }
    };
    let read = async {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        loop {
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    client.net_in.fetch_add(bytes as u64, Ordering::Relaxed);
                    client.last_interaction_ms.store(clock::unix_ms(), Ordering::Relaxed);
                    tell(&job, BytesReceived { bytes: buffer.split().to_vec() });
                }
            }
        }
    };
    let killed = async {
        while !client.killed.load(Ordering::Relaxed) {
            tokio::time::sleep(KILL_LOOK).await;
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
        () = killed => {}
    }
    tell(&job, LinkLost);
}
