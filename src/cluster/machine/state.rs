//! Whether the cluster takes queries, as this node sees it (spec page cluster-bus.md, section 12).

use super::*;

/// A primary that has just started neither serves nor votes for so long, milliseconds: the others may have elected
/// somebody in its place.
const GRACE_MS: i64 = 2000;
/// Bounds of the time a primary stays out after having been in a minority, milliseconds.
const REJOIN_MS: (i64, i64) = (500, 5000);

/// When what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StateChecks {
    first: i64,
    minority: i64,
    /// Why the cluster is down, as it was last told.
    told: Option<&'static str>,
}

impl Machine {
    /// Whether this node may take part in decisions already.
    pub(super) fn is_safe_to_join(&self) -> bool {
        let first = self.state_checks.first;
        first != 0 && self.facts.now - first >= GRACE_MS
    }

    /// Looks at everything and decides.
    pub(super) fn update_state(&mut self) {
        let now = self.facts.now;
        if self.state_checks.first == 0 {
            self.state_checks.first = now;
        }
        let (mut size, mut reachable, mut served) = (0, 0, 0);
        for (_, node) in self.nodes() {
            if node.votes() {
                size += 1;
                reachable += usize::from(!node.has(flag::PFAIL | flag::FAIL));
            }
            served += if node.failed() { 0 } else { node.slot_count };
        }
        self.size = size;
        if self.me().is_primary() && self.state == ClusterState::Fail && !self.is_safe_to_join() {
            return;
        }
        let mut reason = None;
        if self.settings.require_full_coverage && served < SLOTS {
            reason = Some(
                "At least one hash slot is not served by any available node. Please check the 'cluster-require-full-coverage' configuration.",
            );
        }
        if reachable < self.quorum() {
            self.state_checks.minority = now;
            reason = Some("I am part of a minority partition.");
        }
        let state = if reason.is_none() { ClusterState::Ok } else { ClusterState::Fail };
        if state == self.state {
            // It may be down for another reason than before.
            self.tell_why_down(reason);
            return;
        }
        let rejoin = self.settings.node_timeout.clamp(REJOIN_MS.0, REJOIN_MS.1);
        if state == ClusterState::Ok && self.me().is_primary() && now - self.state_checks.minority < rejoin {
            return;
        }
        let level = if state == ClusterState::Ok { Level::Notice } else { Level::Warning };
        self.log(level, format!("Cluster state changed: {}", state.name()));
        self.tell_why_down(reason);
        self.state = state;
        self.todo.changed = true;
    }

    fn tell_why_down(&mut self, reason: Option<&'static str>) {
        if let Some(reason) = reason.filter(|_| self.state_checks.told != reason) {
            self.log(Level::Warning, format!("Cluster is currently down: {reason}"));
        }
        self.state_checks.told = reason;
    }
}
