//! What happens every 100 milliseconds (spec page cluster-bus.md, section 9.3).

use super::*;

/// Between two ticks, milliseconds.
pub const TICK_MS: i64 = 100;
/// In a calm cluster so many ticks are one.
pub const CALM_TICKS: u64 = 5;
/// A cluster whose times are shorter is never calm, milliseconds.
const CALM_MS: i64 = 10 * TICK_MS * CALM_TICKS as i64;
/// A random node is pinged every so many ticks, chosen among so many.
const TICKS_PER_RANDOM_PING: u64 = 10;
const RANDOM_CANDIDATES: usize = 5;

impl Machine {
    pub(super) fn handshake_timeout(&self) -> i64 {
        self.settings.node_timeout.max(1000)
    }

    /// Whether nothing is to be looked at before [`CALM_TICKS`] ticks have passed: all nodes are connected and answer,
    /// nobody is under suspicion, and no time in the settings is so short that it would be noticed.
    pub fn is_calm(&self) -> bool {
        let Settings { node_timeout, ping_interval, debug, .. } = &self.settings;
        let (now, half) = (self.facts.now, node_timeout / 2);
        let is_long = |ms: i64| ms >= CALM_MS;
        let settled = |node: &Node| {
            let waits = node.ping_sent != 0 && now - node.ping_sent > half;
            node.has(flag::MYSELF)
                || node.outbound.is_some()
                    && !waits
                    && !node.has(flag::HANDSHAKE | flag::MEET | flag::PFAIL | flag::FAIL)
        };
        is_long(*node_timeout)
            && (*ping_interval == 0 || is_long(*ping_interval))
            && *debug == DebugHooks::default()
            && self.state == ClusterState::Ok
            && self.manual.end == 0
            && self.nodes().all(|(_, node)| settled(node))
    }

    /// A tick that comes in the place of so many before it.
    pub fn tick_after(&mut self, facts: Facts, left_out: u64) {
        // A random node is pinged as often as otherwise.
        let (before, after) = (self.ticks, self.ticks + left_out);
        let due = before / TICKS_PER_RANDOM_PING != after / TICKS_PER_RANDOM_PING;
        self.ticks = if due { after / TICKS_PER_RANDOM_PING * TICKS_PER_RANDOM_PING - 1 } else { after };
        self.tick(facts);
    }

    /// A tick.
    pub fn tick(&mut self, facts: Facts) {
        self.facts = facts;
        self.ticks += 1;
        self.remove_stale_handshakes();
        self.reconnect();
        if self.ticks.is_multiple_of(TICKS_PER_RANDOM_PING) && !self.settings.debug.no_random_ping {
            self.ping_somebody();
        }
        for index in self.indices() {
            if self.nodes[index].is_some() {
                self.watch(index);
            }
        }
        self.check_manual_failover_timeout();
        if self.me().is_replica() {
            self.handle_manual_failover();
            if self.manual.end == 0 || self.manual.can_start {
                self.handle_failover();
            }
            self.handle_replica_migration();
        }
        if self.state == ClusterState::Fail {
            self.todo.update_state = true;
        }
        self.finish();
    }

    fn remove_stale_handshakes(&mut self) {
        let (now, timeout) = (self.facts.now, self.handshake_timeout());
        for index in self.indices() {
            let node = self.node(index);
            if node.in_handshake() && now - node.created > timeout {
                let text = format!("Clusterbus handshake timeout {}:{}", node.ip, node.cport);
                self.log(Level::Warning, text);
                self.remove_node(index);
            }
        }
    }

    /// Calls whoever is not connected.
    fn reconnect(&mut self) {
        if self.settings.debug.no_reconnection {
            return;
        }
        let (now, timeout) = (self.facts.now, self.settings.node_timeout);
        let half = (timeout / 2).max(1);
        let mut budget = 10 * (self.known_nodes() as i64 * TICK_MS / half);
        for index in self.indices() {
            let node = self.node(index);
            if node.has(flag::MYSELF | flag::NOADDR) || node.outbound.is_some() || node.ip.is_empty() {
                continue;
            }
            let recent = now - node.last_attempt < timeout / 20;
            if recent && node.inbound.is_none() {
                if budget <= 0 {
                    continue;
                }
                budget -= 1;
            }
            self.dial(index);
        }
    }

    /// Pings the one of a few random nodes that was heard of least recently.
    fn ping_somebody(&mut self) {
        let indices = self.indices();
        let mut oldest: Option<NodeIndex> = None;
        for _ in 0..RANDOM_CANDIDATES {
            let index = indices[self.rng.below(indices.len() as u64) as usize];
            let node = self.node(index);
            if node.outbound.is_none() || node.ping_sent != 0 || node.has(flag::MYSELF | flag::HANDSHAKE) {
                continue;
            }
            if oldest.is_none_or(|oldest| self.node(oldest).pong_received > node.pong_received) {
                oldest = Some(index);
            }
        }
        if let Some(link) = oldest.and_then(|index| self.node(index).outbound) {
            self.send_ping(link, Kind::Ping);
        }
    }

    /// Looks after one node: pings it, renews its connection, suspects it.
    fn watch(&mut self, index: NodeIndex) {
        let (now, timeout) = (self.facts.now, self.settings.node_timeout);
        let node = self.node(index);
        if node.has(flag::MYSELF | flag::NOADDR | flag::HANDSHAKE) {
            return;
        }
        self.repeat_meet(index);
        let node = self.node(index);
        let age = |time: i64| now - time;
        if let Some(link) = node.outbound
            && let Some(state) = self.links.get(&link)
            && age(state.created) > timeout
            && node.ping_sent != 0
            && age(node.ping_sent) > timeout / 2
            && age(node.data_received) > timeout / 2
        {
            self.close_link(link);
        }
        let node = self.node(index);
        let interval = match self.settings.ping_interval {
            0 => timeout / 2,
            interval => interval,
        };
        if let Some(link) = node.outbound
            && node.ping_sent == 0
            && age(node.pong_received) > interval
        {
            return self.send_ping(link, Kind::Ping);
        }
        if let Some(link) = node.outbound
            && self.manual.is_pausing()
            && self.me().is_primary()
            && self.manual.replica == Some(index)
        {
            return self.send_ping(link, Kind::Ping);
        }
        if node.ping_sent == 0 {
            return;
        }
        let silence = age(node.ping_sent).min(age(node.data_received));
        if silence > timeout && !node.has(flag::PFAIL | flag::FAIL) {
            self.suspect(index);
        }
    }

    /// A node that is known and called, yet never calls back, may not know this one: it is introduced again.
    fn repeat_meet(&mut self, index: NodeIndex) {
        let (now, timeout) = (self.facts.now, self.handshake_timeout());
        let node = self.node(index);
        if let Some(link) = node.outbound
            && node.has(flag::LIGHT_MODULE)
            && !node.has(flag::MEET | flag::PFAIL | flag::FAIL)
            && node.inbound.is_none()
            && now - node.inbound_gone > timeout
            && now - node.meet_sent > timeout
        {
            self.node_mut(index).flags |= flag::MEET;
            let text = format!(
                "Sending MEET packet to node {} because there is no inbound link for it",
                self.name(index)
            );
            self.notice(text);
            self.send_ping(link, Kind::Meet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_are_left_out_leave_no_random_ping_out() {
        for first in 1..10 {
            let mut machine = Machine::new(Settings::default(), Facts::default(), 1);
            (0..first).for_each(|_| machine.tick(Facts::default()));
            let hits = (0..20).filter(|_| {
                machine.tick_after(Facts::default(), CALM_TICKS - 1);
                machine.ticks.is_multiple_of(TICKS_PER_RANDOM_PING)
            });
            assert_eq!(hits.count(), 10, "100 ticks after {first}");
        }
    }

    #[test]
    fn who_has_a_node_to_call_is_not_calm() {
        let facts = Facts { now: 1_760_000_000_000, ..Facts::default() };
        let mut machine = Machine::new(Settings::default(), facts, 1);
        assert!(!machine.is_calm(), "no slot is served");
        let slots: Vec<Slot> = (0..SLOTS as u16).map(Slot).collect();
        machine.add_slots(facts, &slots).expect("nobody has them");
        let later = Facts { now: facts.now + 10_000, ..facts };
        machine.tick(later);
        assert!(machine.is_calm());
        assert!(machine.meet(later, "10.0.0.2", 6379, 16379));
        assert!(!machine.is_calm());
    }
}
