//! `client-output-buffer-limit`: a client whose unread replies take too much, or too much for too long, is disconnected.
//!
//! Replies count when they are made, before the socket is tried: one reply beyond the hard limit is not sent at all.

use std::sync::atomic::Ordering;

use skuld::config::{BufferLimit, CLASS_NORMAL, CLASS_PUBSUB, CLASS_REPLICA, Config};
use skuld::session::Session;

use crate::clients::ClientShared;
use crate::connection::Kill;
use crate::envelope::tell;
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

/// With more than so many bytes of output nothing is sent to the client any more, so that a command may stop making its
/// reply. 0: any number.
pub fn reply_bytes_max(config: &Config, session: &Session) -> usize {
    let class = if session.subscriptions > 0 { CLASS_PUBSUB } else { CLASS_NORMAL };
    match config.client_output_buffer_limit[class].hard {
        0 => 0,
        _ if !session.origin.is_client() => 0,
        hard => (hard as usize).saturating_add(FREE_BYTES),
    }
}

/// Disconnects a client if so many bytes of one reply are more than it may have waiting: a reply that is made before its
/// length is told goes past the buffer whose bytes do not count.
pub fn enforce_on_collected(server: &Server, config: &Config, client: &ClientShared, bytes: usize) {
    let hard = of(config, client).hard;
    if hard > 0 && bytes as u64 > hard && !client.killed.swap(true, Ordering::SeqCst) {
        note_disconnection(server, client);
        tell(&client.connection, Kill { after_replies: false });
    }
}

/// Counts and logs that a client is disconnected for it.
pub fn note_disconnection(server: &Server, shared: &ClientShared) {
    server.stats.client_output_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(
        "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
        client::line_for_log(server, shared)
    );
}
