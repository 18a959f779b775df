//! The connection whose requests are our primary's stream: what was executed of it goes to the log, and it can be made
//! to stand still.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;

use super::{Connection, HoldStream};
use crate::batch::Batch;
use crate::clock;
use crate::envelope::{Receive, tell};

/// What a connection has beside others if its requests are our primary's stream.
pub struct PrimaryEnd {
    /// Told the stream's database when all that was executed of it has been sent to the log.
    pub(super) closed: Option<tokio::sync::oneshot::Sender<u32>>,
    /// Bytes that had arrived before the connection was made.
    first: Vec<u8>,
    /// Bytes of a transaction whose EXEC has not come.
    open: Vec<u8>,
    /// Who wants the stream to stand still, and how many have been told that it does.
    holders: Vec<HoldStream>,
    pub(super) holding: usize,
    /// It will look whether CLIENT PAUSE is over.
    awaits_pause_end: bool,
}

/// How often the stream is looked at while CLIENT PAUSE holds it.
const PAUSE_LOOK: Duration = Duration::from_millis(20);

impl PrimaryEnd {
    pub fn new(closed: tokio::sync::oneshot::Sender<u32>, first: Vec<u8>) -> Self {
        Self {
            closed: Some(closed),
            first,
            open: Vec::new(),
            holders: Vec::new(),
            holding: 0,
            awaits_pause_end: false,
        }
    }
}

impl Connection {
    /// Makes it the connection of our primary's stream.
    pub fn of_primary(mut self, mut end: PrimaryEnd) -> Self {
        self.input = std::mem::take(&mut end.first);
        self.server.replication.unexecuted.store(self.input.len() as i64, Ordering::Relaxed);
        self.primary = Some(Box::new(end));
        self
    }

    /// Passes on to the log what a batch of the primary's stream has executed. A transaction counts as a whole: it
    /// comes again if the link is lost before its end.
    pub(super) fn relay(&mut self, batch: &mut Batch) {
        batch.output.clear();
        batch.finished.clear();
        let Some(end) = &mut self.primary else { return };
        let executed = if batch.next == batch.requests.len() {
            batch.input.len()
        } else {
            batch.bytes_before(batch.next)
        };
        let mut bytes = std::mem::take(&mut end.open);
        bytes.extend_from_slice(&batch.input[..executed]);
        if batch.transaction.is_queueing() {
            let begun = (0..batch.next).rev().find(|&n| batch.arg(n, 0).eq_ignore_ascii_case(b"multi"));
            let whole = bytes.len() - executed;
            let before = begun.map_or(0, |n| whole + batch.bytes_before(n));
            end.open = bytes.split_off(before);
        }
        if !bytes.is_empty() {
            let replication = &self.server.replication;
            replication.executed.fetch_add(bytes.len() as i64, Ordering::Relaxed);
            replication.unexecuted.fetch_sub(bytes.len() as i64, Ordering::Relaxed);
            tell(self.server.replication_log(), crate::replication_log::Relay { bytes });
        }
    }

    /// Whether CLIENT PAUSE keeps what the primary sent from being executed; then it goes on when that is over.
    pub(super) fn waits_for_pause_end(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(end) = &mut self.primary else { return false };
        if !self.server.pause.freezes_keys() {
            return false;
        }
        if !std::mem::replace(&mut end.awaits_pause_end, true) {
            clock::after(ctx, PAUSE_LOOK, |connection, ctx| {
                if let Some(end) = &mut connection.primary {
                    end.awaits_pause_end = false;
                }
                connection.dispatch(ctx);
            });
        }
        true
    }

    /// Tells those who want the primary's stream to stand still that it does.
    pub(super) fn hold_stream(&mut self, ctx: &mut Context<Self>) {
        let Some(db) = self.batch.as_ref().map(|batch| batch.session.db) else { return };
        while let Some(hold) = self.primary.as_mut().and_then(|end| end.holders.pop()) {
            let HoldStream { held, release } = hold;
            if held.send(db).is_err() {
                continue;
            }
            if let Some(end) = &mut self.primary {
                end.holding += 1;
            }
            let released = release.into_actor(self).map(|_, connection: &mut Self, ctx| {
                if let Some(end) = &mut connection.primary {
                    end.holding -= 1;
                }
                connection.dispatch(ctx);
            });
            ctx.spawn(released);
        }
    }
}

impl Receive<HoldStream> for Connection {
    fn receive(&mut self, hold: HoldStream, ctx: &mut Context<Self>) {
        // Dropping it says that there is no stream here any more.
        if let Some(end) = self.primary.as_mut().filter(|_| !self.closed) {
            end.holders.push(hold);
            self.hold_stream(ctx);
        }
    }
}
