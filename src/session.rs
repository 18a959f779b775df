//! The part of a client that commands read and change. It travels with the client's batch as a value, so that the
//! shard executing the batch needs to ask nobody.

use crate::acl::{self, User};
use crate::resp::Protocol;

/// Whether replies are wanted (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The reply of the next command is not wanted (set while CLIENT REPLY SKIP itself runs).
    SkipNext,
    /// The reply of this command is not wanted.
    Skip,
}

/// Where commands come from. What is no client was checked elsewhere already, and must not be refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Origin {
    /// Somebody's connection.
    #[default]
    Client,
    /// The stream of our primary.
    Primary,
    /// The append-only file being loaded.
    Aof,
    /// The link of a slot import.
    Import,
}

impl Origin {
    /// Whether this is a connection that asks and is answered. Everything else is obeyed: no access control, no refusal
    /// because of role, link, replicas, disk errors, loading or redirection, no waiting for CLIENT PAUSE.
    pub fn is_client(self) -> bool {
        self == Self::Client
    }

    /// Whether commands that need memory are refused while there is none. A replica's memory is the primary's business
    /// (`replica-ignore-maxmemory`), and a file must load; an import must stop.
    pub fn obeys_memory_limit(self) -> bool {
        matches!(self, Self::Client | Self::Import)
    }

    /// Whether somebody reads the replies.
    pub fn wants_replies(self) -> bool {
        matches!(self, Self::Client | Self::Import)
    }

    /// Whether an error of a command means that our data is not what the sender believes.
    pub fn errors_are_critical(self) -> bool {
        matches!(self, Self::Primary | Self::Aof)
    }
}

/// What CLIENT TRACKING and CLIENT CACHING asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    pub on: bool,
    /// BCAST: by prefix instead of by what was read.
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    /// CLIENT CACHING: the next command is an exception.
    pub caching: bool,
    /// The client that gets the messages; 0 for this one.
    pub redirect: u64,
    /// Sorted.
    pub prefixes: Vec<Vec<u8>>,
}

/// What SCRIPT DEBUG asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Debugging {
    #[default]
    Off,
    /// While everybody waits, and what is changed is changed (SYNC).
    Sync,
    /// On a copy of the data that is forgotten (YES).
    Apart,
}

/// A client's session.
#[derive(Clone, Debug)]
pub struct Session {
    pub origin: Origin,
    /// The command asked to be answered only when what it dropped is freed (FLUSHALL SYNC).
    pub await_reaper: bool,
    /// Never reused within a process.
    pub id: u64,
    pub db: u32,
    pub protocol: Protocol,
    pub authenticated: bool,
    /// Who the client is. It is looked up again when `user_epoch` is not the epoch of the users of now.
    pub user: std::sync::Arc<User>,
    pub user_epoch: u64,
    /// A login that the command being run has refused, for the log of refusals: the user and the word of the command.
    pub failed_login: Option<(Vec<u8>, Vec<u8>)>,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO lib-name and lib-ver.
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub reply_mode: ReplyMode,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT IMPORT-SOURCE.
    pub import_source: bool,
    /// CLIENT CAPA redirect.
    pub capa_redirect: bool,
    /// MONITOR: the client is shown all commands, and may not touch keys itself.
    pub monitoring: bool,
    pub tracking: Tracking,
    /// READONLY on a cluster replica.
    pub readonly: bool,
    /// ASKING: the next command may use a slot being imported.
    pub asking: bool,
    /// SCRIPT DEBUG: the next script stops at its lines.
    pub debugging: Debugging,
    /// Close the connection once the replies so far are sent (QUIT, protocol errors).
    pub close_after_reply: bool,
    /// `address:port` of the peer or path of the unix socket.
    pub peer: std::sync::Arc<str>,
    /// `address:port` the client connected to.
    pub local: std::sync::Arc<str>,
    pub unix_socket: bool,
    /// The connection is encrypted: addresses of nodes are told with their ports for that.
    pub tls: bool,
    /// Channels, patterns and shard channels the client is subscribed to.
    pub subscriptions: usize,
    /// What a replica said about itself by REPLCONF.
    pub replica: Option<Box<crate::replication::peer::Peer>>,
}

impl Session {
    pub fn new(id: u64) -> Self {
        Self {
            origin: Origin::Client,
            await_reaper: false,
            id,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated: true,
            user: acl::all_powerful(),
            user_epoch: 0,
            failed_login: None,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            reply_mode: ReplyMode::On,
            no_touch: false,
            no_evict: false,
            import_source: false,
            capa_redirect: false,
            monitoring: false,
            tracking: Tracking::default(),
            readonly: false,
            asking: false,
            debugging: Debugging::Off,
            close_after_reply: false,
            peer: "".into(),
            local: "".into(),
            unix_socket: false,
            tls: false,
            subscriptions: 0,
            replica: None,
        }
    }

    /// Back to what a new connection has, except for what describes the client itself (RESET).
    pub fn reset(&mut self, authenticated: bool) {
        *self = Self {
            authenticated,
            lib_name: std::mem::take(&mut self.lib_name),
            lib_ver: std::mem::take(&mut self.lib_ver),
            peer: std::sync::Arc::clone(&self.peer),
            local: std::sync::Arc::clone(&self.local),
            unix_socket: self.unix_socket,
            tls: self.tls,
            ..Self::new(self.id)
        };
    }
}
