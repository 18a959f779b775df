//! How a replica becomes the primary of its shard (spec page cluster-bus.md, section 14).

use super::*;
use crate::cluster::packet::{Body, Header, Packet, encode, message_flag};

/// Shortest time to wait for votes, milliseconds.
const AUTH_TIMEOUT_MIN_MS: i64 = 2000;
/// Longest unit of delay, milliseconds.
const DELAY_MAX_MS: i64 = 500;
/// The same reason is logged again after so long, milliseconds.
const RELOG_MS: i64 = 10_000;

/// Why a replica cannot take over now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CannotFailOver {
    #[default]
    NoReason,
    DataAge,
    WaitingDelay,
    Expired,
    WaitingVotes,
}

impl CannotFailOver {
    fn text(self) -> &'static str {
        match self {
            Self::NoReason => "",
            Self::DataAge => {
                "Disconnected from primary for longer than allowed. Please check the 'cluster-replica-validity-factor' configuration option."
            }
            Self::WaitingDelay => "Waiting the delay before I can start a new failover.",
            Self::Expired => "Failover attempt expired.",
            Self::WaitingVotes => "Waiting for votes, but majority still not reached.",
        }
    }
}

/// An attempt to be elected.
#[derive(Clone, Debug, Default)]
pub(super) struct Election {
    /// When votes are asked for, or were; 0: no attempt was made.
    at: i64,
    asked: bool,
    /// Who voted: a vote that arrives twice counts once.
    votes: Vec<NodeIndex>,
    rank: i64,
    primary_rank: i64,
    epoch: u64,
    reason: CannotFailOver,
    logged: i64,
}

impl Election {
    /// The next attempt begins at once.
    pub(super) fn forget(&mut self) {
        *self = Self { reason: self.reason, logged: self.logged, ..Self::default() };
    }

    /// A voter is removed; its place may be given to another node.
    pub(super) fn forget_voter(&mut self, index: NodeIndex) {
        self.votes.retain(|voter| *voter != index);
    }
}

impl Machine {
    /// Somebody else has won an epoch that this node's election cannot reach any more.
    pub(super) fn claim_against_election(&mut self, sender: NodeIndex, epoch: u64) {
        if self.election.at != 0 && self.election.asked && epoch >= self.election.epoch {
            let text = format!(
                "Failover election in progress for epoch {}, but received a claim from node {} with an equal or higher epoch {epoch}. Resetting the election since we cannot win an election in the past.",
                self.election.epoch,
                self.name(sender)
            );
            self.log(Level::Warning, text);
            self.election.forget();
        }
    }

    /// Siblings with newer data: they go first.
    fn replica_rank(&self) -> i64 {
        let Some(primary) = self.me().primary else { return 0 };
        let mine = self.facts.offset;
        let before = |index: &&NodeIndex| {
            let node = self.node(**index);
            **index != self.me
                && !node.has(flag::NOFAILOVER)
                && (node.offset > mine || node.offset == mine && node.id < self.me().id)
        };
        self.node(primary).replicas.iter().filter(before).count() as i64
    }

    /// Failed primaries whose shards go first, so that elections do not steal each other's votes.
    fn failed_primary_rank(&self) -> i64 {
        let Some(primary) = self.me().primary else { return 0 };
        let factor = self.settings.replica_validity_factor;
        let longest = self.settings.node_timeout * factor;
        let before = |(index, node): &(NodeIndex, &Node)| {
            *index != primary
                && node.failed()
                && node.votes()
                && !node.replicas.is_empty()
                && (factor == 0 || self.facts.now - node.fail_time <= longest)
                && node.shard_id < self.me().shard_id
        };
        self.nodes().filter(before).count() as i64
    }

    /// Whether all replicas agree that their primary has failed and this one is the best of them: nobody to wait for.
    fn is_undisputed(&self) -> bool {
        let Some(primary) = self.me().primary else { return false };
        self.facts.offset != 0
            && self.election.rank == 0
            && self.election.primary_rank == 0
            && self.node(primary).replicas.iter().all(|index| self.node(*index).has(flag::MY_PRIMARY_FAIL))
    }

    fn cannot(&mut self, reason: CannotFailOver) {
        let now = self.facts.now;
        if self.election.reason == reason && now - self.election.logged < RELOG_MS {
            return;
        }
        self.election.reason = reason;
        self.election.logged = now;
        if reason == CannotFailOver::NoReason {
            return;
        }
        self.notice(format!("Currently unable to failover: {}", reason.text()));
        if reason == CannotFailOver::WaitingVotes {
            let (needed, votes) = (self.quorum(), self.election.votes.len());
            self.notice(format!("Needed quorum: {needed}. Number of votes received so far: {votes}"));
        }
    }

    /// A step towards taking over, if there is reason to.
    pub(super) fn handle_failover(&mut self) {
        let now = self.facts.now;
        let manual = self.manual.end != 0 && self.manual.can_start;
        let timeout = (2 * self.settings.node_timeout).max(AUTH_TIMEOUT_MIN_MS);
        let Some(primary) = self.me().primary.filter(|_| self.me().is_replica()) else {
            return self.cannot(CannotFailOver::NoReason);
        };
        let failed = self.node(primary).failed();
        let allowed = manual || failed && !self.settings.no_failover;
        if !allowed || self.node(primary).slot_count == 0 {
            return self.cannot(CannotFailOver::NoReason);
        }
        if !manual && self.is_too_old() {
            return self.cannot(CannotFailOver::DataAge);
        }
        if now - self.election.at > 2 * timeout {
            self.schedule_election(manual);
            if self.election.at > now {
                return;
            }
        }
        if !self.election.asked && self.manual.end == 0 {
            self.revise_ranks();
        }
        if now < self.election.at {
            return self.cannot(CannotFailOver::WaitingDelay);
        }
        if now - self.election.at > timeout {
            return self.cannot(CannotFailOver::Expired);
        }
        if !self.election.asked {
            return self.ask_for_votes(manual);
        }
        if self.election.votes.len() >= self.quorum() {
            self.notice("Failover election won: I'm the new primary.".to_owned());
            let epoch = self.election.epoch;
            if self.me().config_epoch < epoch {
                self.me_mut().config_epoch = epoch;
                self.notice(format!("configEpoch set to {epoch} after successful failover"));
            }
            self.take_over();
        } else {
            self.cannot(CannotFailOver::WaitingVotes);
        }
    }

    /// Whether the data here are too old to become the shard's.
    fn is_too_old(&self) -> bool {
        let factor = self.settings.replica_validity_factor;
        // Whoever has never heard its primary has nothing to offer.
        let silent = self.facts.primary_silent_ms.unwrap_or(self.facts.now);
        let mut age = silent / 1000 * 1000;
        if age > self.settings.node_timeout {
            age -= self.settings.node_timeout;
        }
        factor != 0 && age > self.settings.replica_ping_period_s * 1000 + self.settings.node_timeout * factor
    }

    fn delay_unit(&self) -> i64 {
        (self.settings.node_timeout / 30).min(DELAY_MAX_MS)
    }

    fn schedule_election(&mut self, manual: bool) {
        let now = self.facts.now;
        let unit = self.delay_unit();
        let jitter = if unit > 0 { self.rng.below(unit as u64) as i64 } else { 0 };
        let no_data = if self.facts.offset == 0 { 500 } else { 0 };
        let (rank, primary_rank) = (self.replica_rank(), self.failed_primary_rank());
        self.election = Election {
            at: now + unit + jitter + rank * 2 * unit + no_data + primary_rank * unit,
            rank,
            primary_rank,
            reason: self.election.reason,
            logged: self.election.logged,
            ..Election::default()
        };
        if manual {
            self.election.at = now;
            self.election.rank = 0;
            self.election.primary_rank = 0;
        }
        if !manual && self.is_undisputed() {
            self.election.at = now;
            self.notice(
                "This is the best ranked replica and can initiate the election immediately.".to_owned(),
            );
        }
        let delay = self.election.at - now;
        let (rank, primary_rank) = (self.election.rank, self.election.primary_rank);
        let offset = self.facts.offset;
        self.notice(format!(
            "Start of election delayed for {delay} milliseconds (rank #{rank}, primary rank #{primary_rank}, offset {offset})."
        ));
        self.pong_to_siblings();
    }

    /// An operator wants a failover now: an election under way, which may never get its votes, is over.
    pub(super) fn restart_election(&mut self) {
        if self.election.asked {
            let text = format!(
                "Failover election in progress for epoch {}, but received a new manual failover. Resetting the election.",
                self.election.epoch
            );
            self.log(Level::Warning, text);
        }
        self.election.forget();
    }

    fn revise_ranks(&mut self) {
        let unit = self.delay_unit();
        let (rank, primary_rank) = (self.replica_rank(), self.failed_primary_rank());
        if rank != self.election.rank {
            let added = (rank - self.election.rank) * 2 * unit;
            self.election.at += added;
            self.election.rank = rank;
            self.notice(format!("Replica rank updated to #{rank}, added {added} milliseconds of delay."));
        }
        if primary_rank != self.election.primary_rank {
            let added = (primary_rank - self.election.primary_rank) * unit;
            self.election.at += added;
            self.election.primary_rank = primary_rank;
            self.notice(format!(
                "Failed primary rank updated to #{primary_rank}, added {added} milliseconds of delay."
            ));
        }
        if self.election.at > self.facts.now && self.is_undisputed() {
            self.election.at = self.facts.now;
            self.notice(
                "Myself become the best ranked replica, initiate the election immediately.".to_owned(),
            );
        }
    }

    fn ask_for_votes(&mut self, manual: bool) {
        self.current_epoch += 1;
        self.election.epoch = self.current_epoch;
        self.election.asked = true;
        self.election.votes.clear();
        let text = format!(
            "Starting a failover election for epoch {}, node config epoch is {}",
            self.election.epoch,
            self.effective_epoch(self.me)
        );
        self.notice(text);
        let mut header = self.header(Kind::AuthRequest);
        if manual || self.is_undisputed() {
            header.message_flags |= message_flag::FORCE_ACK;
        }
        let packet = Packet { kind: Kind::AuthRequest, header: Some(Box::new(header)), body: Body::Empty };
        let bytes: Arc<[u8]> = encode(&packet).into();
        self.broadcast_bytes(Kind::AuthRequest, &bytes);
        self.save_safely();
        self.update_state_later();
    }

    /// Becomes the primary of the slots of its own.
    pub(super) fn take_over(&mut self) {
        let Some(old) = self.me().primary.filter(|_| self.me().is_replica()) else { return };
        let text = format!(
            "Setting myself to primary in shard {} after failover; my old primary is {}",
            self.me().shard_id,
            self.name(old)
        );
        self.notice(text);
        self.make_primary(self.me);
        self.out.push(Output::StopReplicating);
        for slot in self.node(old).slots.clone().iter() {
            self.set_owner(slot, Some(self.me));
        }
        self.update_state();
        self.save_safely();
        self.todo.broadcast = true;
        self.reset_manual_failover();
        self.election.forget();
    }

    /// A replica wants to be elected: decides whether it gets this node's only vote of the epoch.
    pub(super) fn process_auth_request(&mut self, sender: NodeIndex, header: &Header) {
        if !self.me().votes() {
            return;
        }
        let name = self.name(sender);
        let requested = header.current_epoch;
        let denied = |machine: &mut Self, reason: String| {
            machine.log(Level::Warning, format!("Failover auth denied to {name}{reason}"));
        };
        if !self.is_safe_to_join() {
            return denied(self, ": it is not safe to vote in this moment)".to_owned());
        }
        let current = self.current_epoch;
        if requested < current {
            return denied(self, format!(": reqEpoch ({requested}) < curEpoch({current})"));
        }
        if self.last_vote_epoch == current {
            return denied(self, format!(": already voted for epoch {current}"));
        }
        let primary = self.node(sender).primary;
        let forced = header.message_flags & message_flag::FORCE_ACK != 0;
        if self.node(sender).is_primary() {
            return denied(self, format!(" for epoch {requested}: it is a primary node"));
        }
        let Some(primary) = primary else {
            return denied(self, format!(" for epoch {requested}: I don't know its primary"));
        };
        if !self.node(primary).failed() && !forced {
            return denied(self, format!(" for epoch {requested}: its primary is up"));
        }
        let newer = header.slots.iter().find_map(|slot| {
            let owner = self.owners.of(slot).filter(|_| !self.unclaimed.contains(slot))?;
            (self.node(owner).config_epoch > header.config_epoch).then_some((slot, owner))
        });
        if let Some((Slot(slot), owner)) = newer {
            let (theirs, known) = (header.config_epoch, self.node(owner).config_epoch);
            denied(self, format!(": slot {slot} epoch ({known}) > reqConfigEpoch ({theirs})"));
            return self.send_update(sender, owner);
        }
        self.last_vote_epoch = current;
        self.save_safely();
        self.send_to(sender, Kind::AuthAck, Body::Empty);
        self.notice(format!("Failover auth granted to {name} for epoch {current}"));
    }

    /// A vote.
    pub(super) fn process_auth_ack(&mut self, sender: NodeIndex, header: &Header) {
        if self.election.asked && self.node(sender).votes() && header.current_epoch >= self.election.epoch {
            if !self.election.votes.contains(&sender) {
                self.election.votes.push(sender);
            }
            self.todo.handle_failover = true;
        }
    }
}
