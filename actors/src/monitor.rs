//! MONITOR: every command as it is run, as one line to each client that asked.
//!
//! A shard tells of a command right after running it and before its replies leave, so whoever has seen a reply finds the
//! command's line in front of those of later commands. Commands of different shards that nobody orders come in the order in
//! which they reach the monitoring client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skuld::commands::Command;
use skuld::commands::spec::{ADMIN, SKIP_MONITOR};
use skuld::config::split::quote;
use skuld::session::Session;

use crate::clients::ClientShared;
use crate::clock;
use crate::command_log::redacted;
use crate::connection::Deliver;
use crate::envelope::tell;
use crate::server::Server;

/// The clients that asked.
#[derive(Default)]
pub struct Monitors {
    clients: Mutex<Vec<Arc<ClientShared>>>,
    count: AtomicUsize,
}

impl Monitors {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ClientShared>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody asked; read once per batch slice.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub fn add(&self, client: &Arc<ClientShared>) {
        let mut clients = self.lock();
        clients.push(client.clone());
        client.monitoring.store(true, Ordering::Relaxed);
        self.count.store(clients.len(), Ordering::SeqCst);
    }

    pub fn remove(&self, client: &ClientShared) {
        if client.monitoring.swap(false, Ordering::Relaxed) {
            let mut clients = self.lock();
            clients.retain(|other| other.id != client.id);
            self.count.store(clients.len(), Ordering::SeqCst);
        }
    }

    fn send(&self, line: &[u8]) {
        let bytes: Arc<[u8]> = line.into();
        for client in self.lock().iter() {
            tell(&client.connection, Deliver { bytes: bytes.clone() });
        }
    }
}

/// Who ran a command.
#[derive(Clone, Copy)]
pub enum Runner<'a> {
    Client(&'a Session),
    /// A script or function, in this database.
    Script {
        db: u32,
    },
}

/// [`tell_of`] or [`tell_of_any`].
pub type Tell = fn(&Server, Runner<'_>, &Command, &[&[u8]]);

/// Tells of a command, unless it is one that is never shown. Scripts tell of themselves before they run, EXEC behind
/// the commands it ran.
pub fn tell_of(server: &Server, runner: Runner<'_>, command: &Command, args: &[&[u8]]) {
    if !command.flags.has_any(ADMIN | SKIP_MONITOR) {
        tell_of_any(server, runner, command, args);
    }
}

/// Like [`tell_of`] for a command that tells of itself (EVAL and its kin).
pub fn tell_of_any(server: &Server, runner: Runner<'_>, command: &Command, args: &[&[u8]]) {
    let words = redacted(command, args.iter().map(|arg| arg.to_vec()).collect());
    let config = server.config.load();
    server.monitors.send(&line(clock::unix_us(clock::tick()), runner, &config.unixsocket.to_str(), &words));
}

fn line(now_us: i64, runner: Runner<'_>, unix_socket: &str, words: &[Vec<u8>]) -> Vec<u8> {
    let (db, who) = match runner {
        Runner::Client(session) if session.unix_socket => (session.db, format!("unix:{unix_socket}")),
        Runner::Client(session) => (session.db, session.peer.to_string()),
        Runner::Script { db } => (db, "lua".to_owned()),
    };
    let mut line = format!("+{}.{:06} [{db} {who}]", now_us / 1_000_000, now_us % 1_000_000).into_bytes();
    for word in words {
        line.push(b' ');
        line.extend_from_slice(&quote(word));
    }
    line.extend_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_valkey() {
        let mut session = Session::new(1);
        session.peer = "127.0.0.1:5".into();
        session.db = 3;
        let words = vec![b"GET".to_vec(), b"a\"b\\\r\n\t\x01\xff".to_vec()];
        let text = line(1_000_000_000_000_042, Runner::Client(&session), "", &words);
        assert_eq!(
            String::from_utf8_lossy(&text),
            "+1000000000.000042 [3 127.0.0.1:5] \"GET\" \"a\\\"b\\\\\\r\\n\\t\\x01\\xff\"\r\n"
        );
        let text = line(7, Runner::Script { db: 0 }, "", &words[..1]);
        assert_eq!(String::from_utf8_lossy(&text), "+0.000007 [0 lua] \"GET\"\r\n");
    }
}
