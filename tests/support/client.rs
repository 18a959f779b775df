//! A blocking client that hands out the raw bytes of each reply.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::resp::{self, Value};
use super::text::{escape_short, words};

/// How long a reply may take before the test fails.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One reply as it came over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub raw: Vec<u8>,
    pub value: Value,
}

/// Why no reply came.
#[derive(Debug, Clone, PartialEq)]
pub enum NoReply {
    /// The server closed the connection; the bytes it had sent of an incomplete reply.
    Closed(Vec<u8>),
    /// Nothing complete within the time limit; the bytes that had come.
    TimedOut(Vec<u8>),
    Malformed(String),
}

impl std::fmt::Display for NoReply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoReply::Closed(rest) => write!(out, "<connection closed; got \"{}\">", escape_short(rest, 80)),
            NoReply::TimedOut(rest) => write!(out, "<no reply in time; got \"{}\">", escape_short(rest, 80)),
            NoReply::Malformed(reason) => write!(out, "<{reason}>"),
        }
    }
}

pub type Reply = Result<Frame, NoReply>;

pub struct Client {
    socket: Socket,
    buffer: Vec<u8>,
    consumed: usize,
    timeout: Duration,
    /// Pushes that came while a reply was awaited.
    pub pushes: VecDeque<Frame>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        Ok(Self::new(Socket::Tcp(socket)))
    }

    pub fn connect_unix(path: &Path) -> std::io::Result<Self> {
        Ok(Self::new(Socket::Unix(UnixStream::connect(path)?)))
    }

    fn new(socket: Socket) -> Self {
        Self { socket, buffer: Vec::new(), consumed: 0, timeout: REPLY_TIMEOUT, pushes: VecDeque::new() }
    }

    pub fn set_reply_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Writes bytes as they are. A server that has closed already is found out by the next read, not here.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes),
            Socket::Unix(socket) => socket.write_all(bytes),
        };
    }

    /// Ends our side; the server sees end of file.
    pub fn shutdown_write(&mut self) {
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(std::net::Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(std::net::Shutdown::Write),
        };
    }

    pub fn send(&mut self, command: &[Vec<u8>]) {
        self.send_raw(&encode(command));
    }

    /// Reads exactly one frame, pushes included.
    pub fn read_frame(&mut self) -> Reply {
        let deadline = Instant::now() + self.timeout;
        loop {
            match resp::parse(&self.buffer[self.consumed..]) {
                Ok(Some((value, length))) => {
                    let raw = self.buffer[self.consumed..self.consumed + length].to_vec();
                    self.consumed += length;
                    if self.consumed == self.buffer.len() {
                        self.buffer.clear();
                        self.consumed = 0;
                    }
                    return Ok(Frame { raw, value });
                }
                Ok(None) => {}
                Err(malformed) => {
                    let got = escape_short(&self.buffer[self.consumed..], 120);
                    return Err(NoReply::Malformed(format!("{malformed}: \"{got}\"")));
                }
            }
            // A big reply arrives in many reads; parsing again only after a good part more keeps that linear enough.
            let want = (self.buffer.len() - self.consumed).max(1) / 4;
            self.fill(want.max(1), deadline)?;
        }
    }

    /// Reads the next reply, putting pushes in front of it aside into [`Client::pushes`].
    pub fn read_reply(&mut self) -> Reply {
        loop {
            let frame = self.read_frame()?;
            if matches!(frame.value, Value::Push(_)) {
                self.pushes.push_back(frame);
            } else {
                return Ok(frame);
            }
        }
    }

    /// Reads exactly so many bytes that are no frame of the protocol.
    pub fn read_raw(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + self.timeout;
        while self.buffer.len() - self.consumed < count {
            if let Err(none) = self.fill(1, deadline) {
                panic!("{none}");
            }
        }
        let bytes = self.buffer[self.consumed..self.consumed + count].to_vec();
        self.consumed += count;
        bytes
    }

    fn fill(&mut self, at_least: usize, deadline: Instant) -> Result<(), NoReply> {
        let mut chunk = [0; 64 * 1024];
        let mut got = 0;
        while got < at_least {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoReply::TimedOut(self.take_rest()));
            }
            // A complete frame may end before `at_least`; then a short wait tells that nothing more is coming.
            let wait = if got == 0 { left } else { left.min(Duration::from_millis(2)) };
            match self.read_some(&mut chunk, wait) {
                Ok(0) if got == 0 => return Err(NoReply::Closed(self.take_rest())),
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    got += length;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if got > 0 {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if got == 0 => return Err(NoReply::Closed(self.take_rest())),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn read_some(&mut self, chunk: &mut [u8], wait: Duration) -> std::io::Result<usize> {
        match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(wait))?;
                socket.read(chunk)
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(wait))?;
                socket.read(chunk)
            }
        }
    }

    fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.consumed);
        self.buffer.clear();
        self.consumed = 0;
        rest
    }

    pub fn call(&mut self, command: &[Vec<u8>]) -> Reply {
        self.send(command);
        self.read_reply()
    }

    /// Calls with words separated by blanks and takes the value; panics when no reply comes.
    pub fn ask(&mut self, line: &str) -> Value {
        match self.call(&words(line)) {
            Ok(frame) => frame.value,
            Err(none) => panic!("{line}: {none}"),
        }
    }

    /// Sends all commands in one write and reads as many replies.
    pub fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> Vec<Reply> {
        let mut bytes = Vec::new();
        for command in commands {
            encode_into(&mut bytes, command);
        }
        self.send_raw(&bytes);
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            let reply = self.read_reply();
            let over = reply.is_err();
            replies.push(reply);
            if over {
                break;
            }
        }
        replies
    }

    /// Waits until the server has closed the connection; what it sent before that.
    pub fn read_to_close(&mut self) -> Result<Vec<u8>, NoReply> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.fill(1, deadline) {
                Ok(()) => {}
                Err(NoReply::Closed(rest)) => return Ok(rest),
                Err(other) => return Err(other),
            }
        }
    }

    /// Whether nothing arrives within `wait`; for asserting that a server stays silent.
    pub fn is_silent_for(&mut self, wait: Duration) -> bool {
        if self.consumed < self.buffer.len() {
            return false;
        }
        !matches!(self.fill(1, Instant::now() + wait), Ok(()) | Err(NoReply::Closed(_)))
    }
}

/// A request as an array of bulk strings.
pub fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, command);
    bytes
}

fn encode_into(bytes: &mut Vec<u8>, command: &[Vec<u8>]) {
    bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
}
