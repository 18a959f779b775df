//! `--healthcheck`: asks the configured server whether it is alive, or ready to serve, without a shell or another program.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use skuld::config::Config;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::tls;

/// Longest wait for each step.
const PATIENCE: Duration = Duration::from_secs(3);
/// No answer is longer, bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the process lives: for whoever restarts it.
    Alive,
    /// Whether it has its data and, in a cluster, the cluster is ok: for whoever sends clients to it.
    Ready,
}

/// Sends PING, and what else the question needs, and judges the answers.
///
/// # Errors
/// Why the server is not healthy.
pub fn check(config: &Config, question: Question) -> Result<(), String> {
    let ask = |socket: &mut dyn Socket| match question {
        Question::Alive => ping(socket),
        Question::Ready => ready(socket, config),
    };
    if config.port == 0 && !config.unixsocket.is_empty() {
        let path = config.unixsocket.to_str();
        let socket = UnixStream::connect(&*path).map_err(|e| format!("{path}: {e}"))?;
        let patient = socket.set_read_timeout(Some(PATIENCE)).and(socket.set_write_timeout(Some(PATIENCE)));
        patient.map_err(|e| e.to_string())?;
        return ask(&mut { socket });
    }
    let encrypted = config.port == 0 && config.tls_port != 0;
    let port = if encrypted { config.tls_port } else { config.port };
    let address = SocketAddr::new(address_of(config), port);
    let socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| format!("{address}: {e}"))?;
    let patient = socket.set_read_timeout(Some(PATIENCE)).and(socket.set_write_timeout(Some(PATIENCE)));
    patient.map_err(|e| e.to_string())?;
    if !encrypted {
        return ask(&mut { socket });
    }
    let settings = Arc::new(tls::client_settings(config)?);
    let session =
        ClientConnection::new(settings, ServerName::from(address.ip())).map_err(|e| e.to_string())?;
    ask(&mut StreamOwned::new(session, socket))
}

trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

/// An address of this machine that the server listens on.
fn address_of(config: &Config) -> IpAddr {
    let addresses: Vec<String> =
        config.bind.iter().map(|a| a.to_str().trim_start_matches('-').to_owned()).collect();
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    if addresses.is_empty() || addresses.iter().any(|a| a == "*" || a == "0.0.0.0") {
        return v4;
    }
    addresses
        .iter()
        .find_map(|a| match a.as_str() {
            "::*" | "::" => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            "localhost" => Some(v4),
            other => other.parse().ok(),
        })
        .unwrap_or(v4)
}

fn ping(socket: &mut dyn Socket) -> Result<(), String> {
    let line = line(&call(socket, &[b"PING"])?);
    // A server that wants a password, loads its data or runs a long script is alive.
    let alive = ["+PONG", "-NOAUTH", "-LOADING", "-BUSY"].iter().any(|head| line.starts_with(head));
    if alive { Ok(()) } else { Err(format!("unexpected answer to PING: {line}")) }
}

fn ready(socket: &mut dyn Socket, config: &Config) -> Result<(), String> {
    let password = config.requirepass.as_bytes();
    if !password.is_empty() {
        let answer = line(&call(socket, &[b"AUTH", password])?);
        if answer != "+OK" {
            return Err(format!("unexpected answer to AUTH: {answer}"));
        }
    }
    let mut expect = |words: &[&[u8]], wanted: &str| {
        let answer = call(socket, words)?;
        let text = String::from_utf8_lossy(&answer);
        match text.lines().any(|line| line.trim_end() == wanted) {
            true => Ok(()),
            false if text.starts_with('-') => Err(line(&answer)),
            false => Err(format!("not ready: no {wanted}")),
        }
    };
    expect(&[b"PING"], "+PONG")?;
    expect(&[b"INFO", b"persistence"], "loading:0")?;
    if config.cluster_enabled {
        expect(&[b"CLUSTER", b"INFO"], "cluster_state:ok")?;
    }
    Ok(())
}

/// Sends a request and reads its reply: a line, or a bulk string with its length line.
fn call(socket: &mut dyn Socket, words: &[&[u8]]) -> Result<Vec<u8>, String> {
    let name = String::from_utf8_lossy(words[0]).into_owned();
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    socket.write_all(&request).map_err(|e| format!("sending {name}: {e}"))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !is_complete(&answer) && answer.len() < ANSWER_BYTES_MAX {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) => return Err(format!("waiting for the answer to {name}: {e}")),
        }
    }
    Ok(answer)
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = answer.iter().position(|&b| b == b'\n') else { return false };
    match answer.strip_prefix(b"$") {
        None => true,
        Some(_) => {
            let length = std::str::from_utf8(&answer[1..end]).ok().and_then(|n| n.trim_end().parse().ok());
            length.is_none_or(|length: usize| answer.len() >= end + 1 + length + 2)
        }
    }
}

/// The first line.
fn line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static [u8]);

    impl Read for Fake {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn answers_are_judged() {
        assert!(ping(&mut Fake(b"+PONG\r\n")).is_ok());
        assert!(ping(&mut Fake(b"-NOAUTH Authentication required.\r\n")).is_ok());
        assert!(ping(&mut Fake(b"-ERR max number of clients reached\r\n")).is_err());
        assert!(ping(&mut Fake(b"")).is_err());
        let mut config = Config::default();
        let is_ready = |answers: &'static [u8]| ready(&mut OneByOne(answers), &config);
        assert_eq!(is_ready(b"+PONG\r\n$23\r\n# Persistence\nloading:0\r\n"), Ok(()));
        assert!(is_ready(b"+PONG\r\n$23\r\n# Persistence\nloading:1\r\n").is_err());
        assert_eq!(is_ready(b"-LOADING not yet\r\n"), Err("-LOADING not yet".to_owned()));
        config.cluster_enabled = true;
        let answers = b"+PONG\r\n$9\r\nloading:0\r\n$16\r\ncluster_state:ok\r\n";
        assert_eq!(ready(&mut OneByOne(answers), &config), Ok(()));
    }

    /// Gives a byte at a time, as a slow network might.
    struct OneByOne(&'static [u8]);

    impl Read for OneByOne {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    impl Write for OneByOne {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
