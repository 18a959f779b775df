//! `maxmemory-clients`: clients are disconnected, those that take most first, while all of them together take more.
//!
//! Each connection keeps its own share of the sum up to date when its buffers change; nothing of this runs while there is
//! no limit. Who finds the sum above the limit evicts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clients::{ClientShared, flag};
use crate::connection::Kill;
use crate::envelope::tell;
use crate::server::Server;
use crate::server_commands::client;

/// Brings the sum in line with what a client takes now.
pub fn note(server: &Server, client: &ClientShared) {
    let limit = server.config.load().client_memory_limit();
    if limit == 0 || client.killed.load(Ordering::Relaxed) {
        return;
    }
    count(server, client, client.memory_bytes());
    if server.clients.memory_bytes() > limit {
        enforce(server);
    }
}

/// Like [`note`] while the client's batch is under way and its replies, so many bytes, wait there.
pub fn note_batch(server: &Server, client: &ClientShared, replies: usize) {
    client.batch_output.store(replies as u64, Ordering::Relaxed);
    note(server, client);
}

/// The client is gone, or about to be.
pub fn forget(server: &Server, client: &ClientShared) {
    count(server, client, 0);
}

/// The client's connection has ended, and with it what its buffers took.
pub fn gone(server: &Server, client: &ClientShared) {
    let bytes = client.leaving.swap(0, Ordering::SeqCst);
    server.clients.leaving.fetch_sub(bytes, Ordering::SeqCst);
}

fn count(server: &Server, client: &ClientShared, bytes: u64) {
    let before = client.counted_bytes.swap(bytes, Ordering::AcqRel);
    server.clients.memory.fetch_add(bytes as i64 - before as i64, Ordering::AcqRel);
}

/// Counts all clients anew and evicts while they take more than the limit. Called when the limit changes, too.
pub fn enforce(server: &Server) {
    let limit = server.config.load().client_memory_limit();
    if limit == 0 {
        return;
    }
    let mut clients: Vec<(u64, Arc<ClientShared>)> = server
        .clients
        .all()
        .into_iter()
        .filter(|client| !client.killed.load(Ordering::Relaxed))
        .map(|client| (client.memory_bytes(), client))
        .collect();
    for (bytes, client) in &clients {
        count(server, client, *bytes);
    }
    clients.retain(|(_, client)| client.flags.load(Ordering::Relaxed) & flag::NO_EVICT == 0);
    clients.sort_by_key(|(bytes, _)| *bytes);
    while server.clients.memory_bytes() > limit {
        let Some((bytes, client)) = clients.pop() else {
            tracing::warn!("Over client maxmemory after evicting all evictable clients");
            return;
        };
        client.leaving.store(bytes, Ordering::SeqCst);
        server.clients.leaving.fetch_add(bytes, Ordering::SeqCst);
        if client.killed.swap(true, Ordering::SeqCst) {
            // Its connection may have ended before.
            gone(server, &client);
            continue;
        }
        tracing::info!("Evicting client: {}", client::line_for_log(server, &client));
        forget(server, &client);
        server.stats.evicted_clients.fetch_add(1, Ordering::Relaxed);
        tell(&client.connection, Kill { after_replies: false });
    }
}
