//! The connection an export opens to its target: one task reads, one writes, and both report to the job's actor.

use std::io;
use std::sync::Arc;

use actix::Addr;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Gauge;
use super::export::{BytesReceived, Drained, LinkConnected, LinkFailed, LinkLost, MigrationExport};
use crate::envelope::tell;

/// Below this many waiting bytes the writer asks for more.
pub const LOW_WATER: u64 = 1024 * 1024;

/// The sending end. Dropping it closes the link once what was given is written, or at once with [`Link::close`].
pub struct Link {
    to_writer: UnboundedSender<Vec<u8>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    gauge: Arc<Gauge>,
}

impl Link {
    /// Starts to connect. The actor hears of it as `LinkConnected` or `LinkFailed`.
    pub fn open(
        address: String,
        bind: Option<String>,
        gauge: Arc<Gauge>,
        job: Addr<MigrationExport>,
    ) -> Self {
        let (to_writer, from_job) = unbounded_channel();
        let own = gauge.clone();
        let task = tokio::task::spawn_local(async move {
            match connect(&address, bind.as_deref()).await {
                Err(error) => tell(&job, LinkFailed { error: text_of(&error) }),
                Ok(stream) => {
                    // Handshakes are small and must not wait for more to send.
                    let _ = stream.set_nodelay(true);
                    tell(&job, LinkConnected);
                    serve(stream, from_job, own, job).await;
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

async fn connect(address: &str, bind: Option<&str>) -> io::Result<TcpStream> {
    let remote = tokio::net::lookup_host(address).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket =
        if remote.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    if let Some(local) = bind {
        let local: std::net::IpAddr = local.parse().map_err(|_| io::ErrorKind::AddrNotAvailable)?;
        socket.bind((local, 0).into())?;
    }
    socket.connect(remote).await
}

async fn serve(
    stream: TcpStream,
    mut from_job: UnboundedReceiver<Vec<u8>>,
    gauge: Arc<Gauge>,
    job: Addr<MigrationExport>,
) {
    let (mut reader, mut writer) = stream.into_split();
    let write = async {
        while let Some(bytes) = from_job.recv().await {
            let before = gauge.waiting();
            let result = writer.write_all(&bytes).await;
            gauge.remove(bytes.len());
            if result.is_err() {
                return;
            }
            if before >= LOW_WATER && gauge.waiting() < LOW_WATER || from_job.is_empty() {
                tell(&job, Drained);
            }
        }
    };
    let read = async {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        loop {
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => tell(&job, BytesReceived { bytes: buffer.split().to_vec() }),
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
    tell(&job, LinkLost);
}
