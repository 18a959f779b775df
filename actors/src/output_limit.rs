//! `client-output-buffer-limit`: a client whose unread replies take too much, or too much for too long, is disconnected.
//!
//! Replies count when they are made, before the socket is tried: one reply beyond the hard limit is not sent at all.

use std::sync::atomic::Ordering;

use skuld::config::{BufferLimit, CLASS_NORMAL, CLASS_PUBSUB, CLASS_REPLICA, Config};

use crate::clients::ClientShared;
use crate::server::Server;
use crate::server_commands::client;

/// So many bytes of waiting output do not count, since Valkey keeps them in a buffer that every client has.
pub const FREE_BYTES: usize = 16 * 1024;

/// What of so many bytes of waiting output counts against the limits (`omem`).
pub fn counted(waiting: usize) -> u64 {
    waiting.saturating_sub(FREE_BYTES) as u64
}

/// The limit of a client's class.
pub fn of(config: &Config, client: &ClientShared) -> BufferLimit {
    if client.is_replica() {
        let mut limit = config.client_output_buffer_limit[CLASS_REPLICA];
        // What the backlog holds anyway costs nothing.
        for bytes in [&mut limit.hard, &mut limit.soft] {
            *bytes = if *bytes == 0 { 0 } else { (*bytes).max(config.repl_backlog_size) };
        }
        return limit;
    }
    let class = if client.is_subscriber() { CLASS_PUBSUB } else { CLASS_NORMAL };
    config.client_output_buffer_limit[class]
}

/// Whether so many bytes of waiting output are more than the client may have at any time.
pub fn is_beyond_hard(config: &Config, client: &ClientShared, waiting: usize) -> bool {
    let hard = of(config, client).hard;
    hard > 0 && counted(waiting) > hard
}

/// Counts and logs that a client is disconnected for it.
pub fn note_disconnection(server: &Server, shared: &ClientShared) {
    server.stats.client_output_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(
        "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
        client::line_for_log(server, shared)
    );
}
