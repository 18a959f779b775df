//! The replicas of this server, as its replication log sees them.
//!
//! ```text
//!            PSYNC, nothing to continue             snapshot sent               first REPLCONF ACK
//!  (client) ---------------------------> Waiting -> Snapshot ---------> Sent ---------------------> Online
//!      |     PSYNC, the backlog has it                  (a file: Online at once)                      ^
//!      +----------------------------------------------------------------------------------------------+
//!      |     PSYNC of the main channel while the other one carries the snapshot                       |
//!      +---------------------------------------------------------------------------> MainChannel -----+
//! ```
//! From the cut of its snapshot on the stream is held for a replica until it is online.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::config::CLASS_REPLICA;
use skuld::replication::backlog::Backlog;
use skuld::replication::peer::{Content, Peer, VERSION_OF_OWN_FILES};

use crate::clients::ClientShared;
use crate::clock;
use crate::connection::{Deliver, Kill};
use crate::envelope::tell;
use crate::server::Server;

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its snapshot has not begun.
    Waiting,
    /// The cut is made; a file is being written.
    Writing,
    /// The snapshot is being sent.
    Sending,
    /// It is sent; the stream begins with the first acknowledgement.
    Sent,
    /// It wanted nothing but the snapshot, and has it.
    Served,
    /// It gets the stream, and the snapshot by another connection.
    MainChannel,
    Online,
}

/// A replica.
pub struct Follower {
    pub shared: Arc<ClientShared>,
    pub peer: Peer,
    pub stage: Stage,
    /// It came by PSYNC and acknowledges.
    pub acknowledges: bool,
    /// It has acknowledged before the log heard that its snapshot is sent.
    pub loaded: bool,
    /// The snapshot it gets.
    pub job: u64,
    /// It is sent from a file.
    pub from_file: bool,
    /// Acknowledged offset.
    pub offset: i64,
    /// Acknowledged as synced to its append-only file.
    pub file_offset: i64,
    /// When it asked, and when it was heard last; Unix milliseconds.
    pub since_ms: i64,
    pub heard_ms: i64,
    held: Held,
}

/// The part of the stream that a replica cannot take yet; the backlog keeps it.
#[derive(Clone, Copy, Default)]
pub struct Held {
    /// Offset of its first byte.
    from: i64,
    bytes: u64,
    over_soft_since_ms: Option<i64>,
}

impl Held {
    /// What comes from this offset on.
    pub fn since(from: i64) -> Self {
        Self { from, ..Self::default() }
    }

    pub fn from(&self) -> i64 {
        self.from
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// There is one more piece of so many bytes. False if that is more than the output-buffer limit for replicas allows.
    pub fn add(&mut self, server: &Server, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        let config = server.config.load();
        let limit = &config.client_output_buffer_limit[CLASS_REPLICA];
        // What the backlog holds anyway costs nothing.
        let at_least = |bytes: u64| if bytes == 0 { 0 } else { bytes.max(config.repl_backlog_size) };
        let (hard, soft) = (at_least(limit.hard), at_least(limit.soft));
        let now = clock::unix_ms();
        let over_soft = soft > 0 && self.bytes > soft;
        self.over_soft_since_ms = if over_soft { self.over_soft_since_ms.or(Some(now)) } else { None };
        let too_long =
            self.over_soft_since_ms.is_some_and(|since| (now - since) / 1000 > limit.soft_seconds as i64);
        let over = (hard > 0 && self.bytes > hard) || too_long;
        if over {
            server.stats.client_output_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        }
        !over
    }
}

impl Follower {
    pub fn new(shared: Arc<ClientShared>, peer: Peer, stage: Stage, acknowledges: bool) -> Self {
        let now = clock::unix_ms();
        Self {
            shared,
            peer,
            stage,
            acknowledges,
            loaded: false,
            job: 0,
            from_file: false,
            offset: 0,
            file_offset: 0,
            since_ms: now,
            heard_ms: now,
            held: Held::default(),
        }
    }

    pub fn client(&self) -> u64 {
        self.shared.id
    }

    /// The address as INFO shows it: what it announced, else where its connection comes from.
    pub fn ip(&self) -> String {
        if self.peer.address.is_empty() {
            self.shared.peer.rsplit_once(':').map_or_else(String::new, |(ip, _)| ip.to_owned())
        } else {
            String::from_utf8_lossy(&self.peer.address).into_owned()
        }
    }

    /// How the log calls it.
    pub fn name(&self) -> String {
        if self.peer.port == 0 {
            format!("{}:<unknown-replica-port>", self.ip())
        } else {
            format!("{}:{}", self.ip(), self.peer.port)
        }
    }

    /// Whether its snapshot goes directly to the socket.
    pub fn is_diskless(&self, diskless_sync: bool) -> bool {
        self.peer.eof
            && (diskless_sync
                || self.peer.content != Content::Everything
                || self.peer.version < VERSION_OF_OWN_FILES)
    }

    pub fn state_text(&self) -> &'static str {
        match self.stage {
            // Straight from the data to the socket there is no file that could be sent.
            Stage::Waiting | Stage::Writing => "wait_bgsave",
            Stage::Sending if !self.from_file => "wait_bgsave",
            Stage::Sending => "send_bulk",
            Stage::Served => "rdb_transmitted",
            Stage::MainChannel => "bg_transfer",
            Stage::Sent | Stage::Online => "online",
        }
    }

    pub fn type_text(&self) -> &'static str {
        match self.stage {
            _ if self.peer.rdb_channel => "rdb-channel",
            Stage::MainChannel => "main-channel",
            _ => "replica",
        }
    }

    /// Seconds since it was heard; 0 unless it is online.
    pub fn lag_s(&self, now_ms: i64) -> i64 {
        if self.stage == Stage::Online { (now_ms - self.heard_ms).max(0) / 1000 } else { 0 }
    }

    pub fn send(&self, bytes: impl Into<Arc<[u8]>>) {
        tell(&self.shared.connection, Deliver { bytes: bytes.into() });
    }

    pub fn disconnect(&self) {
        tell(&self.shared.connection, Kill { after_replies: false });
    }

    /// Passes a piece of the stream on, or keeps it until the replica can take it. False if it must be given up.
    pub fn stream(&mut self, server: &Server, piece: &Arc<[u8]>) -> bool {
        match self.stage {
            Stage::Online | Stage::MainChannel => self.send(piece.clone()),
            Stage::Waiting | Stage::Served => {}
            Stage::Writing | Stage::Sending | Stage::Sent => {
                if self.peer.rdb_only {
                    return true;
                }
                let stays = self.held.add(server, piece.len());
                if !stays {
                    tracing::warn!(
                        "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer limits.",
                        self.shared.id,
                        self.shared.peer
                    );
                }
                return stays;
            }
        }
        true
    }

    /// Takes over what is held for another one whose snapshot it shares.
    pub fn join(&mut self, other: &Self) {
        self.stage = other.stage;
        self.job = other.job;
        self.from_file = other.from_file;
        self.held = other.held;
    }

    /// Its snapshot ends at this offset: what comes behind it is kept for it.
    pub fn hold_from(&mut self, offset: i64) {
        self.offset = offset;
        self.held = Held::since(offset + 1);
    }

    /// The replica can take the stream: it gets what was held.
    pub fn go_online(&mut self, backlog: Option<&Backlog>) {
        self.stage = Stage::Online;
        self.heard_ms = clock::unix_ms();
        match backlog.and_then(|backlog| backlog.pieces_since(self.held.from)) {
            Some(pieces) => pieces.into_iter().for_each(|piece| self.send(piece)),
            // The stream is another one by now.
            None => self.disconnect(),
        }
    }

    /// Where the part of the stream begins that is kept for it, if it waits for one; the stream was handed out up to `end`.
    /// While a snapshot is loaded what a replica does not take stays there for others to continue with.
    pub fn wants_from(&self, end: i64) -> Option<i64> {
        if self.stage == Stage::MainChannel {
            return Some(end + 1 - self.unsent_bytes() as i64);
        }
        let waits = matches!(self.stage, Stage::Writing | Stage::Sending | Stage::Sent);
        (waits && !self.peer.rdb_only).then_some(self.held.from)
    }

    /// Bytes on their way to the socket.
    pub fn unsent_bytes(&self) -> u64 {
        self.shared.output_memory.load(Ordering::Relaxed)
    }
}
