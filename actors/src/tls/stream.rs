//! A socket with a TLS session on it, after the handshake.
//!
//! Bytes that the session has accepted and the socket has not are kept by the session; nothing more is accepted then, so
//! that what waits stays small, and [`TlsStream::poll_flush`] watches for the socket to take them.

use std::io::{self, Read, Write};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio_rustls::rustls;

/// The stream.
pub struct TlsStream {
    socket: TcpStream,
    session: Box<rustls::Connection>,
    /// The peer sends nothing more.
    ended: bool,
}

/// The socket as the session reads and writes it: it never waits.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    /// Of either side.
    pub fn new(socket: TcpStream, session: impl Into<rustls::Connection>) -> Self {
        Self { socket, session: Box::new(session.into()), ended: false }
    }

    /// Whether the session holds bytes that the socket has not taken.
    pub fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    /// Gives the socket what it takes. `WouldBlock` if something is left.
    fn send_some(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Raw(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Gives the socket everything, or watches for it to take more.
    pub fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.send_some() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.socket.poll_write_ready(task)?.is_pending() {
                        return Poll::Pending;
                    }
                }
                other => return Poll::Ready(other),
            }
        }
    }

    /// Takes bytes if nothing waits; they may then wait themselves.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_some()?;
        let taken = self.session.writer().write(bytes)?;
        match self.send_some() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(taken),
        }
    }

    pub fn poll_write(&mut self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_flush(task))?;
        let taken = self.session.writer().write(bytes)?;
        // What is left is watched for; an error shows with the next write.
        let _ = self.poll_flush(task);
        Poll::Ready(Ok(taken))
    }

    pub fn poll_read(&mut self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // A peer that closes without saying so is no news to anybody here.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(e)),
                Err(_) if self.ended => return Poll::Ready(Ok(())),
                Err(_) => {}
            }
            match self.session.read_tls(&mut Raw(&self.socket)) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    match self.socket.poll_read_ready(task)? {
                        Poll::Ready(()) => continue,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Poll::Ready(Err(e)),
            }
            if let Err(e) = self.session.process_new_packets() {
                // The alert that explains it.
                let _ = self.send_some();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, e)));
            }
            if self.session.wants_write() {
                let _ = self.poll_flush(task);
            }
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn close(&mut self) {
        self.session.send_close_notify();
        // Best effort: the socket is about to be closed.
        let _ = self.send_some();
    }
}
