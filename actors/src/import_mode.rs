//! Import mode as a state of the server: since when it is on, who imports, how it begins and ends.
//!
//! What it means to a client is decided by the rules of expiry (`skuld::expiry::rules`). What it means to the server
//! itself is a state of the two actors that would remove keys, the `ExpiryScanner` and the `Evictor`; they are told by
//! message, so that a trace shows when and by whom it was begun and ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::clients::flag;
use crate::clock;
use crate::envelope::tell;
use crate::server::{Server, ServerRef};
use crate::{evictor, expiry_scanner};

/// Since when the mode is on.
#[derive(Debug, Default)]
pub struct ImportMode {
    /// Unix milliseconds; 0 while it is off.
    since_ms: AtomicI64,
}

impl ImportMode {
    /// How long it has been on, seconds.
    pub fn seconds(&self) -> Option<i64> {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => None,
            since => Some((clock::unix_ms() - since).max(0) / 1000),
        }
    }
}

/// Connected clients that are import sources.
pub fn sources(server: &Server) -> usize {
    server.clients.count(|client| client.flags.load(Ordering::Relaxed) & flag::IMPORT_SOURCE != 0)
}

/// Tells everybody concerned that the configuration of now has turned the mode on or off.
pub fn announce(server: &Server, on: bool) {
    let since = if on { clock::unix_ms() } else { 0 };
    server.import_mode.since_ms.store(since, Ordering::Relaxed);
    if on {
        tracing::info!("Import mode is on: expired keys stay, and nothing is evicted.");
    }
    tell(server.expiry_scanner(), expiry_scanner::ImportModeChanged { on });
    tell(server.evictor(), evictor::ImportModeChanged { on });
}

/// Ends the mode as CONFIG SET would, because its last source has been gone for long enough.
pub async fn end_by_itself(server: ServerRef, after_s: u32) {
    let _turn = server.config_change.lock().await;
    let config = server.config.load_full();
    // Somebody may have been faster.
    if config.import_mode && sources(&server) == 0 {
        let mut config = (*config).clone();
        config.import_mode = false;
        server.config.store(Arc::new(config));
        tracing::warn!(
            "Import mode has ended by itself: its last import source has been gone for {after_s} seconds \
             (import-mode-auto-end-seconds)."
        );
        announce(&server, false);
    }
}
