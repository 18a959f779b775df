//! Replicas that get their snapshot on a connection of its own: the stream from the cut on is kept for them until they ask
//! for it on their main connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clients::ClientShared;
use crate::clock;
use crate::replication::followers::Held;
use crate::server::ServerRef;

/// The streams that replicas have not asked for yet. Connections look up which there are in what is published.
#[derive(Default)]
pub struct AwaitedStreams(Vec<Awaited>);

/// One stream. Its replica is known by the client that carries the snapshot.
struct Awaited {
    rdb_client: u64,
    /// The client as logs show it.
    shown: String,
    name: String,
    /// The snapshot it gets.
    job: u64,
    held: Held,
    /// When the snapshot was sent or its connection closed, Unix milliseconds.
    grace_from_ms: Option<i64>,
}

/// The connection that carries a snapshot.
pub struct Client {
    id: u64,
    shown: String,
    job: u64,
}

impl Client {
    pub fn of(shared: &ClientShared, job: u64) -> Self {
        let shown = format!("id={} addr={} laddr={}", shared.id, shared.peer, shared.local);
        Self { id: shared.id, shown, job }
    }
}

impl AwaitedStreams {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// From which offset on the stream is wanted.
    pub fn wanted_from(&self) -> Option<i64> {
        self.0.iter().map(|awaited| awaited.held.from()).min()
    }

    /// Whether this stream is kept for that replica.
    pub fn has(&self, rdb_client: Option<u64>, from: i64) -> bool {
        self.0.iter().any(|awaited| Some(awaited.rdb_client) == rdb_client && awaited.held.from() == from)
    }

    /// Keeps the stream behind a cut at `offset`.
    pub fn keep(&mut self, server: &ServerRef, client: Client, name: String, offset: i64) {
        let Client { id: rdb_client, shown, job } = client;
        let held = Held::since(offset + 1);
        self.0.push(Awaited { rdb_client, shown, name, job, held, grace_from_ms: None });
        self.publish(server);
    }

    /// The stream goes on by so many bytes. The clients whose replicas are given up because they would hold too much.
    pub fn go_on(&mut self, server: &ServerRef, bytes: usize) -> Vec<u64> {
        let mut given_up = Vec::new();
        self.0.retain_mut(|awaited| {
            let client = awaited.rdb_client;
            if awaited.held.is_empty() {
                tracing::debug!(
                    "Dual channel replication: Attach replica rdb client {client} to repl buf block"
                );
            }
            let stays = awaited.held.add(server, bytes);
            if !stays {
                given_up.push(client);
                tracing::warn!(
                    "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                    awaited.shown
                );
            }
            stays
        });
        if !given_up.is_empty() {
            self.publish(server);
        }
        given_up
    }

    /// The replica has asked for its stream.
    pub fn asked_for(&mut self, server: &ServerRef, rdb_client: u64) {
        let Some(at) = self.0.iter().position(|awaited| awaited.rdb_client == rdb_client) else { return };
        let awaited = self.0.remove(at);
        tracing::debug!(
            "Dual channel replication: Remove psync waiting replica {} with cid {rdb_client}, repl buffer block {}",
            awaited.name,
            if awaited.held.bytes() > 0 { "exists" } else { "doesn't exist" }
        );
        self.publish(server);
    }

    /// The snapshots of these clients are sent, or their connections closed: their replicas have some time left to ask for
    /// the stream. A replica may close the connection before it is known here that all was sent, so the one does not say
    /// that the other failed.
    pub fn begin_grace(&mut self, server: &ServerRef, rdb_clients: &[u64]) {
        let seconds = server.replication.rdb_client_grace_s.load(Ordering::Relaxed);
        let due = |awaited: &&mut Awaited| {
            awaited.grace_from_ms.is_none() && rdb_clients.contains(&awaited.rdb_client)
        };
        for awaited in self.0.iter_mut().filter(due) {
            awaited.grace_from_ms = Some(clock::unix_ms());
            tracing::debug!(
                "Dual channel replication: Postpone RDB client id={} ({}) free for {seconds} seconds",
                awaited.rdb_client,
                awaited.name
            );
        }
    }

    /// Gives up those that nobody has asked for in time.
    pub fn end_grace(&mut self, server: &ServerRef) {
        let seconds = server.replication.rdb_client_grace_s.load(Ordering::Relaxed);
        let now = clock::unix_ms();
        let before = self.0.len();
        self.0.retain(|awaited| {
            let late = awaited.grace_from_ms.is_some_and(|from| now - from > seconds * 1000);
            if late {
                tracing::info!(
                    "Dual channel replication: Replica main channel failed to establish PSYNC within the grace period \
                     ({seconds} seconds). Freeing RDB client {}.",
                    awaited.rdb_client
                );
            }
            !late
        });
        if self.0.len() != before {
            self.publish(server);
        }
    }

    /// The snapshot has failed: its replicas have no use for the stream behind it.
    pub fn give_up(&mut self, server: &ServerRef, job: u64) {
        let before = self.0.len();
        self.0.retain(|awaited| {
            if awaited.job == job {
                tracing::debug!(
                    "Dual channel replication: Remove psync waiting replica client id #{0} with cid {0} from replicas rax.",
                    awaited.rdb_client
                );
            }
            awaited.job != job
        });
        if self.0.len() != before {
            self.publish(server);
        }
    }

    fn publish(&self, server: &ServerRef) {
        let clients = self.0.iter().map(|awaited| awaited.rdb_client).collect();
        server.replication.awaiting_psync.store(Arc::new(clients));
    }
}
