//! From silence to the agreement that a node has failed (spec page cluster-bus.md, section 11).

use super::*;
use crate::cluster::packet::{Body, Header};

impl Machine {
    /// How many primaries with slots make a decision.
    pub(super) fn quorum(&self) -> usize {
        self.size / 2 + 1
    }

    pub(super) fn report_failure(&mut self, index: NodeIndex, reporter: NodeIndex) {
        // Whole seconds, rounded up.
        let time = (self.facts.now / 1000 + 1) * 1000;
        if self.node_mut(index).fail_reports.insert(reporter, time).is_none() {
            let text =
                format!("Node {} reported node {} as not reachable.", self.name(reporter), self.name(index));
            self.log(Level::Verbose, text);
        }
    }

    /// Reports about a node that are not too old.
    pub fn failure_reports(&mut self, index: NodeIndex) -> usize {
        let oldest = self.facts.now - 2 * self.settings.node_timeout;
        let reports = &mut self.node_mut(index).fail_reports;
        reports.retain(|_, time| *time >= oldest);
        reports.len()
    }

    /// Marks a suspect as failed if enough primaries agree.
    pub(super) fn mark_failed_if_agreed(&mut self, index: NodeIndex) {
        if !self.node(index).has(flag::PFAIL) || self.node(index).failed() {
            return;
        }
        let votes = self.failure_reports(index) + usize::from(self.me().votes());
        if votes < self.quorum() {
            return;
        }
        let text = format!("Marking node {} as failing (quorum reached).", self.name(index));
        self.notice(text);
        self.mark_failed(index);
        let id = self.node(index).id.0;
        self.broadcast(Kind::Fail, Body::Fail { id });
    }

    pub(super) fn mark_failed(&mut self, index: NodeIndex) {
        let now = self.facts.now;
        let node = self.node_mut(index);
        node.flags &= !flag::PFAIL;
        node.flags |= flag::FAIL;
        node.fail_time = now;
        if self.me().is_replica() && self.me().primary == Some(index) {
            self.me_mut().flags |= flag::MY_PRIMARY_FAIL;
            self.todo.handle_failover = true;
        }
        self.save_later();
        self.update_state_later();
    }

    /// FAIL: another node says that a third one has failed.
    pub(super) fn process_fail(&mut self, sender: Option<NodeIndex>, header: &Header, id: &[u8; 40]) {
        let failing = NodeId::parse(id).and_then(|id| self.find(&id));
        let Some(sender) = sender else {
            let about = String::from_utf8_lossy(id).into_owned();
            let from = String::from_utf8_lossy(header.sender.as_bytes()).into_owned();
            return self.notice(format!("Ignoring FAIL message from unknown node {from} about {about}"));
        };
        let Some(index) = failing.filter(|index| *index != self.me && !self.node(*index).failed()) else {
            return;
        };
        let text = format!("FAIL message received from {} about {}", self.name(sender), self.name(index));
        self.notice(text);
        self.mark_failed(index);
    }

    /// A failed node answers again.
    pub(super) fn clear_failure_if_possible(&mut self, index: NodeIndex) {
        let node = self.node(index);
        let text = if node.is_replica() || node.slot_count == 0 {
            let what = if node.is_replica() { "replica" } else { "primary without slots" };
            format!("Clear FAIL state for node {}: {what} is reachable again.", self.name(index))
        } else if self.facts.now - node.fail_time > 2 * self.settings.node_timeout {
            format!(
                "Clear FAIL state for node {}: is reachable again and nobody is serving its slots after some time.",
                self.name(index)
            )
        } else {
            return;
        };
        self.notice(text);
        self.node_mut(index).flags &= !flag::FAIL;
        if self.me().primary == Some(index) {
            self.me_mut().flags &= !flag::MY_PRIMARY_FAIL;
        }
        self.save_later();
        self.update_state_later();
    }

    /// A node has not answered for too long.
    pub(super) fn suspect(&mut self, index: NodeIndex) {
        self.node_mut(index).flags |= flag::PFAIL;
        let text = format!("NODE {} possibly failing.", self.name(index));
        self.log(Level::Debug, text);
        self.update_state_later();
        if self.me().votes() {
            self.mark_failed_if_agreed(index);
        }
    }
}
