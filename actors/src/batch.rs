//! A client's pipeline as a resumable program: everything one read brought, with the client's session as a value. It
//! travels from the connection to a shard, between shards in program order, and back once.

use std::sync::Arc;

use actix::Addr;
use skuld::resp::decode::{ProtocolError, Requests};
use skuld::session::Session;

use crate::clients::ClientShared;
use crate::connection::Connection;

/// The commands of one read, how far they have been executed, and the replies so far.
pub struct Batch {
    pub session: Session,
    pub shared: Arc<ClientShared>,
    pub connection: Addr<Connection>,
    /// The bytes the requests' spans point into.
    pub input: Vec<u8>,
    pub requests: Requests,
    /// The next request to execute.
    pub next: usize,
    /// Encoded replies.
    pub output: Vec<u8>,
    /// What ended the requests, to be answered after them.
    pub protocol_error: Option<ProtocolError>,
}

/// Why a batch came back to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All requests are executed, or the session asked to be closed.
    Done,
    /// Request `next` needs server state; the connection runs it and sends the batch on.
    NeedsServer,
    /// The client was killed meanwhile.
    Killed,
}

impl Batch {
    /// Argument `arg` of request `request`.
    pub fn arg(&self, request: usize, arg: usize) -> &[u8] {
        let span = self.requests.args(request)[arg];
        &self.input[span.start..span.start + span.len]
    }

    /// The arguments of request `request`, copied.
    pub fn owned_args(&self, request: usize) -> Vec<Vec<u8>> {
        self.requests.args(request).iter().map(|s| self.input[s.start..s.start + s.len].to_vec()).collect()
    }
}
