//! Manual failover: primary and replica change places without losing a write (spec page cluster-bus.md, section 15).
//!
//! ```text
//!  replica: MFSTART ------------------------------> primary: holds writers back
//!           <------- PING PAUSED, frozen offset ---          (every tick)
//!           has executed up to that offset: election with FORCEACK
//! ```

use super::*;
use crate::cluster::packet::Body;

/// The primary holds its clients back for so many times the timeout.
const PAUSE_FACTOR: i64 = 2;

/// A manual failover under way, on either side.
#[derive(Clone, Debug, Default)]
pub(super) struct ManualFailover {
    /// When it is given up; 0: there is none.
    pub(super) end: i64,
    /// The replica that asked, on the primary.
    pub(super) replica: Option<NodeIndex>,
    /// Clients are held back and the offset stands still, on the primary.
    frozen: bool,
    /// Where MFSTART came in.
    asked_on: Option<LinkId>,
    /// The primary's frozen offset, on the replica.
    offset: Option<u64>,
    /// The election may start, on the replica.
    pub(super) can_start: bool,
}

impl ManualFailover {
    /// Whether this primary tells its peers that it has paused.
    pub(super) fn is_pausing(&self) -> bool {
        self.end != 0 && self.replica.is_some() && self.frozen
    }
}

impl Machine {
    /// CLUSTER FAILOVER without options, on the replica.
    pub(super) fn start_manual_failover(&mut self, primary: NodeIndex) {
        self.reset_manual_failover();
        self.manual.end = self.facts.now + self.settings.manual_failover_timeout;
        self.restart_election();
        self.send_to(primary, Kind::ManualFailoverStart, Body::Empty);
    }

    /// CLUSTER FAILOVER FORCE: no talk with the primary.
    pub(super) fn force_manual_failover(&mut self) {
        self.reset_manual_failover();
        self.manual.end = self.facts.now + self.settings.manual_failover_timeout;
        self.manual.can_start = true;
        self.restart_election();
        self.todo.handle_manual = true;
    }

    pub(super) fn reset_manual_failover(&mut self) {
        if std::mem::take(&mut self.manual).replica.is_some() {
            self.out.push(Output::Unpause);
        }
    }

    /// Gives up what takes too long.
    pub(super) fn check_manual_failover_timeout(&mut self) {
        if self.manual.end != 0 && self.manual.end < self.facts.now {
            self.log(Level::Warning, "Manual failover timed out.".to_owned());
            self.reset_manual_failover();
        }
    }

    /// MFSTART: one of this node's replicas wants to take its place.
    pub(super) fn process_manual_failover_start(&mut self, link: LinkId, sender: NodeIndex) {
        if self.node(sender).primary != Some(self.me) || !self.me().is_primary() {
            return;
        }
        self.reset_manual_failover();
        let (now, timeout) = (self.facts.now, self.settings.manual_failover_timeout);
        self.manual.end = now + timeout;
        self.manual.replica = Some(sender);
        self.manual.asked_on = Some(link);
        self.out.push(Output::Pause { until: now + PAUSE_FACTOR * timeout });
        let text = format!("Manual failover requested by replica {}.", self.name(sender));
        self.notice(text);
    }

    /// The clients are held back and the offset of `facts` is final: the replica may know it.
    pub fn paused(&mut self, facts: Facts) {
        self.facts = facts;
        if self.manual.end != 0 && self.manual.replica.is_some() {
            self.manual.frozen = true;
            if let Some(link) = self.manual.asked_on {
                self.send_ping(link, Kind::Ping);
            }
        }
        self.finish();
    }

    /// The replica hears where its primary stopped.
    pub(super) fn note_paused_offset(&mut self, offset: u64) {
        if self.manual.end != 0 && self.manual.offset.is_none() && !self.manual.can_start {
            self.manual.offset = Some(offset);
            self.todo.handle_manual = true;
            self.notice(format!("Received replication offset for paused primary manual failover: {offset}"));
        }
    }

    /// Starts the election once everything up to the primary's last write is executed here.
    pub(super) fn handle_manual_failover(&mut self) {
        if self.manual.end == 0 || self.manual.can_start || self.manual.offset != Some(self.facts.offset) {
            return;
        }
        self.manual.can_start = true;
        self.todo.handle_failover = true;
        self.notice("All primary replication stream processed, manual failover can start.".to_owned());
    }

    /// Goes on with a manual failover between two ticks.
    pub fn look_after_manual_failover(&mut self, facts: Facts) {
        self.facts = facts;
        self.todo.handle_manual = true;
        self.finish();
    }

    /// Whether the replica waits for the offset: then the actor calls `tick` more often.
    pub fn awaits_offset(&self) -> bool {
        self.manual.offset.is_some() && !self.manual.can_start
    }
}
