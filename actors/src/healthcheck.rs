//! `--healthcheck`: asks the configured server whether it is alive, without a shell or another program.

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

/// Sends PING and judges the answer.
///
/// # Errors
/// Why the server is not healthy.
pub fn check(config: &Config) -> Result<(), String> {
    if config.port == 0 && !config.unixsocket.is_empty() {
        let path = config.unixsocket.to_str();
        let socket = UnixStream::connect(&*path).map_err(|e| format!("{path}: {e}"))?;
        let patient = socket.set_read_timeout(Some(PATIENCE)).and(socket.set_write_timeout(Some(PATIENCE)));
        patient.map_err(|e| e.to_string())?;
        return ping(socket);
    }
    let encrypted = config.port == 0 && config.tls_port != 0;
    let port = if encrypted { config.tls_port } else { config.port };
    let address = SocketAddr::new(address_of(config), port);
    let socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| format!("{address}: {e}"))?;
    let patient = socket.set_read_timeout(Some(PATIENCE)).and(socket.set_write_timeout(Some(PATIENCE)));
    patient.map_err(|e| e.to_string())?;
    if !encrypted {
        return ping(socket);
    }
    let settings = Arc::new(tls::client_settings(config)?);
    let session =
        ClientConnection::new(settings, ServerName::from(address.ip())).map_err(|e| e.to_string())?;
    ping(StreamOwned::new(session, socket))
}

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

fn ping(mut socket: impl Read + Write) -> Result<(), String> {
    socket.write_all(b"PING\r\n").map_err(|e| format!("sending PING: {e}"))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(e) => return Err(format!("waiting for PONG: {e}")),
        }
    }
    let line = String::from_utf8_lossy(&answer).trim_end().to_owned();
    // A server that wants a password, loads its data or runs a long script is alive.
    let alive = ["+PONG", "-NOAUTH", "-LOADING", "-BUSY"].iter().any(|head| line.starts_with(head));
    if alive { Ok(()) } else { Err(format!("unexpected answer to PING: {line}")) }
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
        assert!(ping(Fake(b"+PONG\r\n")).is_ok());
        assert!(ping(Fake(b"-NOAUTH Authentication required.\r\n")).is_ok());
        assert!(ping(Fake(b"-ERR max number of clients reached\r\n")).is_err());
        assert!(ping(Fake(b"")).is_err());
    }
}
