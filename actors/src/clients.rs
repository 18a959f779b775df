//! The registry of clients: what others may know about a connection without asking it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use actix::Addr;
use dashmap::DashMap;
use skuld::session::{Origin, Session};

use crate::clock;
use crate::connection::Connection;
use crate::scripting::debugger::conversation::Conversation;

/// What the input of a client is said to take, at least.
const INPUT_BYTES_MIN: u64 = 2048;

/// What CLIENT LIST shows of a client and the client's own thread keeps true.
pub struct ClientShared {
    pub id: u64,
    pub peer: Arc<str>,
    pub local: Arc<str>,
    pub fd: i32,
    pub unix_socket: bool,
    pub tls: bool,
    /// Unix milliseconds.
    pub connected_ms: i64,
    pub last_interaction_ms: AtomicI64,
    pub db: AtomicU32,
    /// Index of the last command in the command table, or `u32::MAX`.
    pub last_command: AtomicU32,
    pub flags: AtomicU32,
    pub resp: AtomicU32,
    /// Bytes of requests read but not executed, and the read buffer's free bytes.
    pub query_bytes: AtomicU64,
    pub query_free: AtomicU64,
    /// What describes requests in them, bytes.
    pub parsed_memory: AtomicU64,
    /// Arguments of the command being executed, bytes.
    pub argv_bytes: AtomicU64,
    /// Replies of the batch under way; kept up to date only while the memory of clients is limited.
    pub batch_output: AtomicU64,
    /// What it has in [`Clients::leaving`].
    pub leaving: AtomicU64,
    /// Replies not yet written to the socket, bytes.
    pub output_bytes: AtomicU64,
    /// What the buffers that hold them take, bytes.
    pub output_memory: AtomicU64,
    pub net_in: AtomicU64,
    pub net_out: AtomicU64,
    pub commands: AtomicU64,
    /// Subscriptions to channels, patterns, shard channels.
    pub subscriptions: [AtomicU32; 3],
    /// Held back by CLIENT PAUSE.
    pub paused: AtomicBool,
    /// Commands queued since MULTI, -1 before the client's first MULTI or WATCH, and the bytes they take.
    pub queued: AtomicI32,
    pub queued_bytes: AtomicU64,
    /// Watched keys, whether one of them has changed, and the bytes that takes.
    pub watched: AtomicU32,
    pub watched_bytes: AtomicU64,
    pub dirty: AtomicBool,
    /// Between MULTI and EXEC.
    pub in_transaction: AtomicBool,
    /// Bytes of the names of channels and patterns.
    pub subscribed_bytes: AtomicU64,
    /// Bytes of the prefixes it tracks.
    pub tracking_bytes: AtomicU64,
    /// What this client adds to [`Clients::memory`] now.
    pub counted_bytes: AtomicU64,
    /// MONITOR.
    pub monitoring: AtomicBool,
    /// Waits for a key or for something else; see `blocked`.
    pub blocked: AtomicBool,
    /// CLIENT TRACE ON.
    pub traced: AtomicBool,
    /// Set by CLIENT KILL and limits; every shard looks before each command.
    pub killed: AtomicBool,
    /// Who gets this client's invalidation messages; 0 for the client itself.
    pub redirect: AtomicU64,
    /// The one who should get them is gone.
    pub redirect_broken: AtomicBool,
    /// What changes rarely.
    pub names: Mutex<ClientNames>,
    /// The connection is over, or nothing more comes from it ([`ClientShared::hang_up`]).
    pub hung_up: AtomicBool,
    /// What it says to the script it debugs.
    pub debugger: OnceLock<Arc<Conversation>>,
    pub connection: Addr<Connection>,
}

/// The rarely changing strings of a session.
#[derive(Clone, Debug, Default)]
pub struct ClientNames {
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub user: Arc<[u8]>,
}

/// Bits of [`ClientShared::flags`].
pub mod flag {
    pub const NO_EVICT: u32 = 1;
    pub const NO_TOUCH: u32 = 2;
    pub const IMPORT_SOURCE: u32 = 4;
    pub const READONLY: u32 = 8;
    pub const CLOSE_AFTER_REPLY: u32 = 16;
    pub const AUTHENTICATED: u32 = 32;
    /// CLIENT CAPA redirect.
    pub const CAPA_REDIRECT: u32 = 64;
    /// CLIENT TRACKING.
    pub const TRACKING: u32 = 128;
    pub const TRACKING_BROADCAST: u32 = 256;
    pub const TRACKING_NO_LOOP: u32 = 512;
    /// The link of a slot import.
    pub const SLOT_IMPORT: u32 = 1 << 16;
    /// The link of a slot export.
    pub const SLOT_EXPORT: u32 = 1 << 17;
    /// The connection of a replica, and of our primary.
    pub const REPLICA: u32 = 1 << 12;
    pub const PRIMARY: u32 = 1 << 13;
}

impl ClientShared {
    /// Nothing more comes from the client.
    pub fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Release);
        if let Some(conversation) = self.debugger.get() {
            conversation.hang_up();
        }
    }

    /// What is known of a client that has just connected.
    pub fn new(session: &Session, fd: i32, connection: Addr<Connection>) -> Self {
        let now_ms = clock::unix_ms();
        Self {
            id: session.id,
            peer: session.peer.clone(),
            local: session.local.clone(),
            fd,
            unix_socket: session.unix_socket,
            tls: session.tls,
            connected_ms: now_ms,
            last_interaction_ms: AtomicI64::new(now_ms),
            db: AtomicU32::new(0),
            last_command: AtomicU32::new(u32::MAX),
            flags: AtomicU32::new(if session.authenticated { flag::AUTHENTICATED } else { 0 }),
            resp: AtomicU32::new(2),
            query_bytes: AtomicU64::new(0),
            query_free: AtomicU64::new(0),
            parsed_memory: AtomicU64::new(0),
            argv_bytes: AtomicU64::new(0),
            batch_output: AtomicU64::new(0),
            leaving: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            output_memory: AtomicU64::new(0),
            net_in: AtomicU64::new(0),
            net_out: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            subscriptions: Default::default(),
            paused: AtomicBool::new(false),
            queued: AtomicI32::new(-1),
            queued_bytes: AtomicU64::new(0),
            watched: AtomicU32::new(0),
            watched_bytes: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            in_transaction: AtomicBool::new(false),
            subscribed_bytes: AtomicU64::new(0),
            tracking_bytes: AtomicU64::new(0),
            counted_bytes: AtomicU64::new(0),
            monitoring: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            traced: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            redirect: AtomicU64::new(0),
            redirect_broken: AtomicBool::new(false),
            names: Mutex::new(ClientNames { user: session.user.name.clone(), ..ClientNames::default() }),
            hung_up: AtomicBool::new(false),
            debugger: OnceLock::new(),
            connection,
        }
    }

    /// Publishes what a batch changed in the session.
    pub fn publish(&self, session: &Session) {
        self.db.store(session.db, Ordering::Relaxed);
        self.resp
            .store(if session.protocol == skuld::resp::Protocol::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
        let mut flags = 0;
        for (set, bit) in [
            (session.no_evict, flag::NO_EVICT),
            (session.no_touch, flag::NO_TOUCH),
            (session.import_source, flag::IMPORT_SOURCE),
            (session.readonly, flag::READONLY),
            (session.close_after_reply, flag::CLOSE_AFTER_REPLY),
            (session.authenticated, flag::AUTHENTICATED),
            (session.capa_redirect, flag::CAPA_REDIRECT),
            (session.tracking.on, flag::TRACKING),
            (session.tracking.broadcast, flag::TRACKING_BROADCAST),
            (session.tracking.no_loop, flag::TRACKING_NO_LOOP),
            (session.origin == Origin::Import, flag::SLOT_IMPORT),
            (session.replica.as_ref().is_some_and(|peer| peer.attached), flag::REPLICA),
            (session.origin == Origin::Primary, flag::PRIMARY),
        ] {
            if set {
                flags |= bit;
            }
        }
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// Whether the client's commands wait: for a key, for something else, or for the end of CLIENT PAUSE.
    pub fn is_waiting(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) || self.paused.load(Ordering::Relaxed)
    }

    /// Whether one of the bits of [`flag`] is set.
    pub fn has(&self, bit: u32) -> bool {
        self.flags.load(Ordering::Relaxed) & bit != 0
    }

    /// Whether the client wants to hear when keys it has read change.
    pub fn tracks(&self) -> bool {
        self.has(flag::TRACKING)
    }

    /// Whether the connection is a replica's.
    pub fn is_replica(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & flag::REPLICA != 0
    }

    /// Whether the connection carries our primary's stream.
    pub fn is_primary(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & flag::PRIMARY != 0
    }

    /// Whether the client is subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.iter().any(|n| n.load(Ordering::Relaxed) > 0)
    }

    /// What the client takes, as far as it is known without asking it, bytes.
    pub fn memory_bytes(&self) -> u64 {
        let sum = |cells: &[&AtomicU64]| cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum::<u64>();
        // What a small request takes makes no difference: who compares the limit with the sum would hit it by a few bytes.
        let input = sum(&[&self.query_bytes, &self.query_free, &self.parsed_memory, &self.argv_bytes]);
        let cells = [
            &self.batch_output,
            &self.output_memory,
            &self.queued_bytes,
            &self.watched_bytes,
            &self.subscribed_bytes,
            &self.tracking_bytes,
        ];
        input.max(INPUT_BYTES_MIN) + sum(&cells) + (size_of::<Self>() + size_of::<Connection>()) as u64
    }

    /// Publishes the names; called only when a command changed them.
    pub fn publish_names(&self, names: &ClientNames) {
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(names);
    }

    pub fn names(&self) -> ClientNames {
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// All connected clients by id.
#[derive(Default)]
pub struct Clients {
    map: DashMap<u64, Arc<ClientShared>>,
    next_id: AtomicU64,
    /// Bytes that all clients take, kept only while `maxmemory-clients` limits them.
    pub memory: AtomicI64,
    /// Bytes of clients that were evicted and whose connections have not ended yet.
    pub leaving: AtomicU64,
}

impl Clients {
    /// The sum of [`Clients::memory`], bytes.
    pub fn memory_bytes(&self) -> u64 {
        u64::try_from(self.memory.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// A fresh id; the first client of a process is number 1 or higher.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn insert(&self, client: Arc<ClientShared>) {
        self.map.insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        self.map.remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<ClientShared>> {
        self.map.get(&id).map(|client| client.clone())
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// How many clients are like this.
    pub fn count(&self, is_one: impl Fn(&ClientShared) -> bool) -> usize {
        self.map.iter().filter(|client| is_one(client)).count()
    }

    /// All clients in the order they connected. No guard of the registry is held when this returns.
    pub fn all(&self) -> Vec<Arc<ClientShared>> {
        let mut all: Vec<_> = self.map.iter().map(|c| c.clone()).collect();
        all.sort_by_key(|c| c.id);
        all
    }
}
