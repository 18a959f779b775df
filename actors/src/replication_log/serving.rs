//! The log's other half: serving replicas. Who may continue, who gets which snapshot, who is silent, who has what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::config::Config;
use skuld::effects::encode_command;
use skuld::replication::backlog::Backlog;
use skuld::replication::history::History;
use skuld::replication::peer::Peer;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::two_channels::AwaitedStreams;
use super::{Beat, Fsynced, Position, ReplicationLog};
use crate::clients::ClientShared;
use crate::clock;
use crate::connection::{Connection, Kill};
use crate::envelope::{Receive, tell};
use crate::replication::bit;
use crate::replication::followers::{Follower, Stage};
use crate::replication::full_sync::{self, Job, Target};

/// A connection asks to be a replica's.
pub struct Follow {
    pub shared: Arc<ClientShared>,
    pub peer: Peer,
    pub want: Want,
    pub reply: oneshot::Sender<Following>,
}

/// What it asks for.
#[derive(Clone, Debug)]
pub enum Want {
    /// PSYNC name from
    Continue { name: Vec<u8>, from: i64 },
    /// SYNC
    Snapshot,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// The stream, or a snapshot, is on its way.
    Accepted,
    /// It should ask for the snapshot on another connection.
    DualChannel,
}

/// A replica's connection is closed.
pub struct FollowerLost {
    pub client: u64,
}

/// REPLCONF ACK
pub struct Acknowledged {
    pub client: u64,
    pub offset: i64,
    pub file_offset: Option<i64>,
}

/// The cut of a snapshot is being made: the stream is held for its replicas from here on.
pub struct SnapshotCut {
    pub job: u64,
    /// On a replica, the database of the primary's stream.
    pub db: Option<u32>,
    pub reply: oneshot::Sender<Position>,
}

/// Who gets the snapshot that is about to be sent?
pub struct DescribeSnapshotMembers {
    pub job: u64,
    pub reply: oneshot::Sender<Vec<Member>>,
}

/// One of them.
#[derive(Clone)]
pub struct Member {
    pub connection: Addr<Connection>,
    pub name: String,
}

/// All of it is on its way.
pub struct SnapshotSent {
    pub job: u64,
}

/// Nothing more will come of it.
pub struct SnapshotEnded {
    pub job: u64,
    pub failed: bool,
}

/// What INFO, ROLE and others show.
pub struct DescribeReplication {
    pub reply: oneshot::Sender<Facts>,
}

/// Say when so many replicas have acknowledged what was written up to an `Append`.
pub struct AwaitAcknowledged {
    pub sequence: u64,
    pub replicas: usize,
    /// They must have it on their disks, and so must we if `local`.
    pub on_disk: bool,
    pub local: bool,
    /// Answered at once if it is so, or if nobody is to be waited for.
    pub at_once: bool,
    pub reply: oneshot::Sender<Reached>,
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// It is on our disk.
    pub here: bool,
    /// There is no file any more that it could get into.
    pub no_file: bool,
    /// So many replicas have acknowledged it.
    pub replicas: usize,
}

/// The log's state for INFO.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub history: Option<History>,
    pub followers: Vec<FollowerFacts>,
    pub good_followers: usize,
    pub waiting_psync: usize,
    pub backlog_active: bool,
    pub backlog_first: i64,
    pub backlog_length: u64,
    pub backlog_bytes: u64,
    /// Bytes held for replicas: in the backlog beyond its size, and on their way.
    pub held_bytes: u64,
    /// Those on their way.
    pub unsent_bytes: u64,
}

impl Facts {
    /// Memory of the clients that are replicas: none without replicas, whatever is still held.
    pub fn bytes_of_replicas(&self) -> u64 {
        if self.followers.is_empty() { 0 } else { self.held_bytes }
    }
}

/// One replica.
#[derive(Clone, Debug)]
pub struct FollowerFacts {
    pub ip: String,
    pub port: u16,
    pub state: &'static str,
    pub kind: &'static str,
    pub offset: i64,
    pub lag_s: i64,
    pub online: bool,
    /// As [`Peer::version`].
    pub version: u32,
    /// As [`Peer::node_id`].
    pub node_id: Vec<u8>,
}

/// What the log keeps about serving.
#[derive(Default)]
pub struct Serving {
    /// The snapshot being made.
    job: Option<Job>,
    next_job: u64,
    /// Where `Append`s are in the stream, for WAIT; the oldest go first.
    marks: VecDeque<(u64, i64)>,
    waiters: Vec<Waiter>,
    /// Replicas that get a snapshot on one connection and have not asked for the stream on the other.
    pub awaiting: AwaitedStreams,
    /// Ask for acknowledgements with the next piece.
    ask: bool,
    /// When the last replica left, Unix milliseconds.
    pub alone_since_ms: i64,
    /// When it was last looked whether a PING is due, milliseconds since the start.
    looked_for_ping_ms: i64,
    next_newline_ms: i64,
    /// What of the stream is in our append-only file on the disk.
    local_file_offset: Option<i64>,
}

struct Waiter {
    offset: i64,
    request: AwaitAcknowledged,
}

/// Most places of `Append`s kept, 16 KiB. They grow while replicas are slow, when memory must not: it would not be counted
/// as theirs, and keys would be evicted for it.
const MARKS_MAX: usize = 1 << 10;

impl Serving {
    /// Takes note that the effects of an `Append` end here.
    pub fn mark(&mut self, sequence: u64, offset: i64) {
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back((sequence, offset));
    }

    /// Where everything up to an `Append` is in the stream.
    fn offset_of(&self, sequence: u64, end: i64) -> i64 {
        // Those of one shard are in order, those of several nearly so: the last one that is not later counts.
        match self.marks.iter().rev().find(|(s, _)| *s <= sequence) {
            Some((_, offset)) => *offset,
            None if self.marks.len() < MARKS_MAX => 0,
            // Forgotten: it ended before the oldest one kept.
            None => self.marks.front().map_or(end, |(_, offset)| *offset),
        }
    }
}

impl ReplicationLog {
    /// Passes a piece of the stream on to every replica.
    pub(super) fn stream_to_followers(&mut self, piece: &Arc<[u8]>) {
        let server = self.server.clone();
        self.followers.retain_mut(|follower| {
            let stays = follower.stream(&server, piece);
            if !stays {
                follower.disconnect();
            }
            stays
        });
        let given_up = self.serving.awaiting.go_on(&server, piece.len());
        if !given_up.is_empty() {
            self.followers.iter().filter(|f| given_up.contains(&f.client())).for_each(Follower::disconnect);
        }
    }

    /// Puts REPLCONF GETACK into the stream if somebody waits for acknowledgements.
    pub(super) fn ask_for_acknowledgements(&mut self) {
        let primary = !self.server.replication.is_replica();
        if std::mem::take(&mut self.serving.ask) && primary && !self.followers.is_empty() && !self.is_quiet()
        {
            self.frame(&[b"REPLCONF", b"GETACK", b"*"]);
        }
    }

    /// Whether the stream must stand still: a failover waits for replicas to have all of it.
    fn is_quiet(&self) -> bool {
        self.server.replication.stream_stands_still.load(Ordering::Relaxed)
    }

    fn frame(&mut self, words: &[&[u8]]) {
        let before = self.framed.len();
        encode_command(&mut self.framed, words);
        self.history.offset += (self.framed.len() - before) as i64;
    }

    /// Stops the snapshot under way if nobody waits for it. A file is worth having where snapshots are kept.
    fn give_up_useless_snapshot(&mut self) {
        let Some(job) = &self.serving.job else { return };
        if self
            .followers
            .iter()
            .any(|f| f.job == job.number && !matches!(f.stage, Stage::Online | Stage::MainChannel))
        {
            return;
        }
        let config = self.server.config.load();
        if job.target == Target::File {
            if job.useless.is_cancelled() || !config.save.is_empty() || config.appendonly {
                return;
            }
            tracing::info!(
                "Background saving, persistence disabled, last replica dropped, killing fork child."
            );
        }
        job.useless.cancel();
    }

    /// A replica that is online and has received nothing gets a PING, so that offsets are not zero.
    fn begin_stream_if_empty(&mut self) {
        if self.history.offset == 0 && !self.server.replication.is_replica() {
            self.frame(&[b"ping"]);
            self.hand_out();
        }
    }

    /// Closes the connections of all replicas: they come back and learn what has changed.
    pub(super) fn drop_followers(&mut self) {
        for follower in self.followers.drain(..) {
            follower.disconnect();
        }
        self.give_up_useless_snapshot();
        self.count_good();
    }

    fn covers(&self, follower: &Follower, name: &[u8], from: i64) -> bool {
        if name == b"?" {
            return false;
        }
        if self.serving.awaiting.has(follower.peer.rdb_client, from) && self.history.covers(name, from) {
            return true;
        }
        let shown = String::from_utf8_lossy(name);
        if !self.history.covers(name, from) {
            let (former, end) = self.history.shown_former();
            if name.eq_ignore_ascii_case(former.as_bytes()) {
                tracing::info!(
                    "Partial resynchronization not accepted: Requested offset for second ID was {from}, but I can reply \
                     up to {end}"
                );
            } else {
                tracing::info!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{shown}', my \
                     replication IDs are '{}' and '{former}')",
                    self.history.name
                );
            }
            return false;
        }
        match &self.backlog {
            None => {
                tracing::info!(
                    "Unable to partial resync with replica {} for lack of backlog (Replica request was: {shown}:{from}).",
                    follower.name()
                );
                false
            }
            Some(backlog) if from < backlog.first() || from > backlog.first() + backlog.len() as i64 => {
                tracing::info!(
                    "Unable to partial resync with replica {} for lack of backlog (Replica request was {shown}:{from}, \
                     and I can only reply with the range [{}, {}]).",
                    follower.name(),
                    backlog.first(),
                    backlog.first() + backlog.len() as i64
                );
                if from > self.history.offset + 1 {
                    tracing::warn!(
                        "Warning: replica {} tried to PSYNC with an offset ({from}) that is greater than the primary \
                         replication offset ({})",
                        follower.name(),
                        self.history.offset
                    );
                }
                false
            }
            Some(_) => true,
        }
    }

    fn go_on(&mut self, mut follower: Follower, from: i64) {
        if let Some(client) = follower.peer.rdb_client {
            self.serving.awaiting.asked_for(&self.server, client);
        }
        let missing = self.backlog.as_ref().and_then(|b| b.since(from)).unwrap_or_default();
        tracing::info!(
            "Partial resynchronization request from {} accepted. Sending {} bytes of backlog starting from offset {from}.",
            follower.name(),
            missing.len()
        );
        let line = if follower.peer.psync2 {
            format!("+CONTINUE {}\r\n", self.history.name)
        } else {
            "+CONTINUE\r\n".to_owned()
        };
        follower.send([line.as_bytes(), &missing].concat());
        follower.stage = if follower.peer.rdb_client.is_some() { Stage::MainChannel } else { Stage::Online };
        follower.offset = from - 1;
        self.followers.push(follower);
        self.count_good();
    }

    fn wait_for_snapshot(&mut self, mut follower: Follower, ctx: &mut Context<Self>) {
        self.server.stats.sync_full.fetch_add(1, Ordering::Relaxed);
        if self.backlog.is_none() {
            // Nothing of what happened before is in any stream.
            self.rename(crate::start::random_hex(20));
            self.create_backlog();
            tracing::info!(
                "Replication backlog created, my new replication IDs are '{}' and '{}'",
                self.history.name,
                self.history.shown_former().0
            );
        }
        let config = self.server.config.load_full();
        let diskless = follower.is_diskless(config.repl_diskless_sync);
        let running = self.serving.job.as_ref().map(|job| (job.number, job.target));
        if let Some((number, Target::File)) = running
            && !diskless
            && let Some(other) = self.followers.iter().find(|f| {
                f.job == number && f.stage == Stage::Writing && f.peer.shares_snapshot(&follower.peer)
            })
        {
            follower.join(other);
            let offset = other.offset;
            follower.offset = offset;
            if follower.acknowledges {
                follower.send(format!("+FULLRESYNC {} {offset}\r\n", self.history.name).into_bytes());
            }
            tracing::info!("Waiting for end of BGSAVE for SYNC");
        } else if let Some((number, Target::File)) = running
            && !diskless
            && self.followers.iter().any(|f| {
                f.job == number && f.stage == Stage::Waiting && f.peer.shares_snapshot(&follower.peer)
            })
        {
            // Its cut is still to be made.
            follower.job = number;
            tracing::info!("Waiting for end of BGSAVE for SYNC");
        } else if running.is_some_and(|(_, target)| target == Target::File) {
            tracing::info!(
                "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
            );
        } else if running.is_some() {
            tracing::info!("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC");
        } else if diskless && config.repl_diskless_sync_delay > 0 {
            tracing::info!("Delay next BGSAVE for diskless SYNC");
        }
        self.followers.push(follower);
        self.start_snapshot_if_due(&config, ctx);
    }

    /// Begins a snapshot for those who wait, if none is under way and they have waited long enough.
    fn start_snapshot_if_due(&mut self, config: &Config, ctx: &mut Context<Self>) {
        if self.serving.job.is_some() {
            return;
        }
        let waits = |f: &&Follower| f.stage == Stage::Waiting;
        let Some(first) = self.followers.iter().find(waits) else { return };
        let diskless = first.is_diskless(config.repl_diskless_sync);
        let peer = first.peer.clone();
        let joins = |f: &Follower| {
            f.stage == Stage::Waiting
                && f.is_diskless(config.repl_diskless_sync) == diskless
                && f.peer.shares_snapshot(&peer)
        };
        let group: Vec<&Follower> = self.followers.iter().filter(|f| joins(f)).collect();
        let now = clock::unix_ms();
        let longest_ms = group.iter().map(|f| now - f.since_ms).max().unwrap_or(0);
        let max = config.repl_diskless_sync_max_replicas as usize;
        let delay_ms = i64::from(config.repl_diskless_sync_delay) * 1000;
        if diskless && longest_ms < delay_ms && (max == 0 || group.len() < max) {
            return;
        }
        self.serving.next_job += 1;
        let number = self.serving.next_job;
        // All of them must be able to do without a checksum.
        let skip_checksum = group.iter().all(|f| f.peer.skip_checksum);
        for follower in self.followers.iter_mut().filter(|f| joins(f)) {
            follower.job = number;
        }
        let target = if diskless { Target::Socket } else { Target::File };
        tracing::info!(
            "Starting BGSAVE for SYNC with target: {} using: {}",
            if diskless { "replicas sockets" } else { "disk" },
            if peer.rdb_channel { "dual-channel" } else { "normal sync" }
        );
        let useless = CancellationToken::new();
        let job = Job { number, target, peer: Peer { skip_checksum, ..peer }, useless };
        self.serving.job = Some(job.clone());
        ctx.spawn(full_sync::run(self.server.clone(), job).into_actor(self));
    }

    fn count_good(&mut self) {
        let lag = i64::from(self.server.config.load().min_replicas_max_lag);
        let now = clock::unix_ms();
        let good = self
            .followers
            .iter()
            .filter(|f| f.stage == Stage::Online && (now - f.heard_ms) / 1000 <= lag)
            .count();
        self.server.replication.good_replicas.store(good as u32, Ordering::Relaxed);
        self.server.replication.followers.store(self.followers.len() as u32, Ordering::Relaxed);
        self.server.replication.facts.store(Arc::new(self.facts()));
    }

    /// How many replicas have acknowledged so much, in memory or on disk.
    fn acknowledged(&self, offset: i64, on_disk: bool) -> usize {
        let has = |f: &Follower| if on_disk { f.file_offset } else { f.offset };
        self.followers.iter().filter(|f| f.stage == Stage::Online && has(f) >= offset).count()
    }

    fn answer_waiters(&mut self) {
        if self.serving.waiters.is_empty() {
            return;
        }
        let mut waiters = std::mem::take(&mut self.serving.waiters);
        waiters.retain(|w| !w.request.reply.is_closed());
        let mut left = Vec::new();
        for waiter in waiters {
            let reached = self.state_of(&waiter.request, waiter.offset);
            let request = &waiter.request;
            let enough = reached.replicas >= request.replicas && (reached.here || !request.local);
            if enough || request.at_once || (request.local && reached.no_file) {
                // Who asked may have gone.
                let _ = waiter.request.reply.send(reached);
            } else {
                left.push(waiter);
            }
        }
        self.serving.waiters = left;
    }

    fn state_of(&self, request: &AwaitAcknowledged, offset: i64) -> Reached {
        Reached {
            here: self.serving.local_file_offset.is_some_and(|synced| synced >= offset),
            no_file: !self.server.persistence.aof.enabled.load(Ordering::Relaxed),
            replicas: self.acknowledged(offset, request.on_disk),
        }
    }

    fn look_after_followers(&mut self, config: &Config, ctx: &mut Context<Self>) {
        let now = clock::unix_ms();
        let timeout_ms = i64::from(config.repl_timeout) * 1000;
        self.followers.retain(|f| {
            let silent = f.acknowledges
                && matches!(f.stage, Stage::Online | Stage::Sent | Stage::MainChannel)
                && now - f.heard_ms > timeout_ms;
            if silent {
                tracing::warn!("Disconnecting timedout replica (streaming sync): {}", f.name());
                f.disconnect();
            }
            !silent
        });
        let is_replica = self.server.replication.is_replica();
        if now >= self.serving.next_newline_ms {
            self.serving.next_newline_ms = now + 1000;
            for follower in &self.followers {
                // In the stream it would count.
                if matches!(follower.stage, Stage::Waiting | Stage::Writing) {
                    follower.send(*b"\n");
                }
            }
        }
        // At whole periods since the start, as everybody's timers expect. Nothing was due while nobody looked, and the
        // period may have been changed since.
        let period_ms = i64::from(config.repl_ping_replica_period).max(1) * 1000;
        let running_ms = now - self.server.started_ms;
        let looked_ms = self.serving.looked_for_ping_ms.max(running_ms - 1000);
        self.serving.looked_for_ping_ms = running_ms;
        let due = running_ms / period_ms != looked_ms / period_ms;
        if due && !is_replica && !self.followers.is_empty() && !self.is_quiet() {
            self.frame(&[b"ping"]);
            self.hand_out_soon(ctx);
        }
        self.start_snapshot_if_due(config, ctx);
    }

    fn look_after_backlog(&mut self, config: &Config) {
        let wanted_from = self.wanted_from();
        let Some(backlog) = &mut self.backlog else { return };
        backlog.keep(config.repl_backlog_size, wanted_from);
        let ttl_ms = i64::try_from(config.repl_backlog_ttl).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        let now = clock::unix_ms();
        let alone = self.followers.is_empty() && self.serving.awaiting.is_empty();
        if !alone || self.server.replication.is_replica() {
            self.serving.alone_since_ms = now;
        } else if ttl_ms > 0 && now - self.serving.alone_since_ms > ttl_ms {
            // What is written from now on is in no stream: nobody may continue with what we are called now.
            self.rename(crate::start::random_hex(20));
            self.free_backlog();
            tracing::info!(
                "Replication backlog freed after {} seconds without connected replicas.",
                config.repl_backlog_ttl
            );
        }
    }

    /// From which offset on the stream is still wanted by replicas that cannot take it yet.
    pub(super) fn wanted_from(&self) -> i64 {
        let end = self.history.offset - self.framed.len() as i64;
        let held = self.followers.iter().filter_map(|follower| follower.wants_from(end));
        held.chain(self.serving.awaiting.wanted_from()).min().unwrap_or(i64::MAX)
    }

    /// Bytes on their way to the sockets of replicas.
    fn unsent_bytes(&self) -> u64 {
        self.followers.iter().map(Follower::unsent_bytes).sum()
    }

    fn facts(&self) -> Facts {
        let now = clock::unix_ms();
        let followers: Vec<FollowerFacts> = self
            .followers
            .iter()
            .map(|f| FollowerFacts {
                ip: f.ip(),
                port: f.peer.port,
                state: f.state_text(),
                kind: f.type_text(),
                offset: f.offset,
                lag_s: f.lag_s(now),
                online: matches!(f.stage, Stage::Online | Stage::Sent),
                version: f.peer.version,
                node_id: f.peer.node_id.clone(),
            })
            .collect();
        let backlog = self.backlog.as_ref();
        Facts {
            history: Some(self.history.clone()),
            good_followers: self.server.replication.good_replicas.load(Ordering::Relaxed) as usize,
            waiting_psync: self.serving.awaiting.len(),
            backlog_active: backlog.is_some(),
            backlog_first: backlog.map_or(0, |b| b.first()),
            backlog_length: backlog.map_or(0, |b| b.len() as u64),
            backlog_bytes: backlog.map_or(0, |b| b.memory_bytes() as u64),
            held_bytes: self.held_bytes() + self.unsent_bytes(),
            unsent_bytes: self.unsent_bytes(),
            followers,
        }
    }
}

impl Receive<Follow> for ReplicationLog {
    fn receive(&mut self, follow: Follow, ctx: &mut Context<Self>) {
        self.hand_out();
        let Follow { shared, peer, want, reply } = follow;
        let acknowledges = matches!(want, Want::Continue { .. });
        let follower = Follower::new(shared, peer, Stage::Waiting, acknowledges);
        // It may come and go between two beats, which else keep this up to date.
        self.serving.alone_since_ms = clock::unix_ms();
        tracing::info!("Replica {} asks for synchronization", follower.name());
        if let Want::Continue { name, from } = &want {
            if self.covers(&follower, name, *from) {
                self.server.stats.sync_partial_ok.fetch_add(1, Ordering::Relaxed);
                self.go_on(follower, *from);
                let _ = reply.send(Following::Accepted);
                return;
            }
            if name == b"?" {
                tracing::info!("Full resync requested by replica {}", follower.name());
            } else {
                self.server.stats.sync_partial_err.fetch_add(1, Ordering::Relaxed);
            }
            if follower.peer.dual_channel {
                tracing::info!(
                    "Dual channel replication: Replica {} is capable of dual channel synchronization, and partial sync \
                     isn't possible. Full sync will continue with dedicated RDB channel.",
                    follower.name()
                );
                let _ = reply.send(Following::DualChannel);
                return;
            }
        }
        self.wait_for_snapshot(follower, ctx);
        // Who asked may have gone; then its connection will say so.
        let _ = reply.send(Following::Accepted);
    }
}

impl Receive<FollowerLost> for ReplicationLog {
    fn receive(&mut self, FollowerLost { client }: FollowerLost, _: &mut Context<Self>) {
        if let Some(at) = self.followers.iter().position(|f| f.client() == client) {
            let follower = self.followers.remove(at);
            if follower.peer.rdb_channel {
                tracing::info!(
                    "Dual channel replication: Replica {} rdb channel disconnected.",
                    follower.name()
                );
                self.serving.awaiting.begin_grace(&self.server, &[follower.client()]);
            } else {
                tracing::info!("Connection with replica {} lost.", follower.name());
            }
            self.give_up_useless_snapshot();
            self.count_good();
            self.answer_waiters();
        }
    }
}

impl Receive<Acknowledged> for ReplicationLog {
    fn receive(&mut self, acknowledged: Acknowledged, _: &mut Context<Self>) {
        let Acknowledged { client, offset, file_offset } = acknowledged;
        let backlog = self.backlog.as_ref();
        let Some(follower) = self.followers.iter_mut().find(|f| f.client() == client) else { return };
        follower.heard_ms = clock::unix_ms();
        follower.offset = follower.offset.max(offset);
        if let Some(file_offset) = file_offset {
            follower.file_offset = follower.file_offset.max(file_offset);
        }
        match follower.stage {
            Stage::Sent => {
                follower.go_online(backlog);
                tracing::info!("Synchronization with replica {} succeeded", follower.name());
            }
            // The mark has overtaken what the log is told of it.
            Stage::Sending => follower.loaded = true,
            Stage::MainChannel => {
                follower.stage = Stage::Online;
                tracing::info!("Synchronization with replica {} succeeded", follower.name());
            }
            _ => {}
        }
        self.begin_stream_if_empty();
        self.count_good();
        self.answer_waiters();
    }
}

impl Receive<SnapshotCut> for ReplicationLog {
    fn receive(&mut self, SnapshotCut { job, db, reply }: SnapshotCut, _: &mut Context<Self>) {
        self.hand_out();
        let mut position = self.position();
        if let Some(db) = db {
            position.db = i64::from(db);
        }
        let file = self.serving.job.as_ref().is_some_and(|j| j.target == Target::File);
        for follower in self.followers.iter_mut().filter(|f| f.job == job && f.stage == Stage::Waiting) {
            follower.stage = if file { Stage::Writing } else { Stage::Sending };
            follower.from_file = file;
            follower.hold_from(position.offset);
            if follower.peer.rdb_channel {
                let name = follower.name();
                tracing::info!(
                    "Dual channel replication: Sending to replica {name} RDB end offset {} and client-id {}",
                    position.offset,
                    follower.client()
                );
                let empty = self.backlog.as_ref().is_none_or(Backlog::is_empty);
                tracing::debug!(
                    "Dual channel replication: Add rdb replica {name} to waiting psync, with cid {}, {} ",
                    follower.client(),
                    if empty { "no repl-backlog to track" } else { "tracking repl-backlog tail" }
                );
                let client = super::two_channels::Client::of(&follower.shared, job);
                self.serving.awaiting.keep(&self.server, client, name, position.offset);
                let line = format!(
                    "$ENDOFF:{} {} {} {}\r\n",
                    position.offset,
                    position.replication_id,
                    position.db,
                    follower.client()
                );
                follower.send(line.into_bytes());
            } else if follower.acknowledges {
                let line = format!("+FULLRESYNC {} {}\r\n", position.replication_id, position.offset);
                follower.send(line.into_bytes());
            }
        }
        if !self.server.replication.is_replica() {
            self.framer.set_db(None);
        }
        // Who asked may have gone.
        let _ = reply.send(position);
    }
}

impl Receive<DescribeSnapshotMembers> for ReplicationLog {
    fn receive(&mut self, ask: DescribeSnapshotMembers, _: &mut Context<Self>) {
        let mut members = Vec::new();
        for follower in self.followers.iter_mut().filter(|f| f.job == ask.job) {
            if follower.stage == Stage::Writing {
                follower.stage = Stage::Sending;
            }
            members.push(Member { connection: follower.shared.connection.clone(), name: follower.name() });
        }
        // Who asked may have gone.
        let _ = ask.reply.send(members);
    }
}

impl Receive<SnapshotSent> for ReplicationLog {
    fn receive(&mut self, SnapshotSent { job }: SnapshotSent, _: &mut Context<Self>) {
        let file = self.serving.job.as_ref().is_some_and(|j| j.target == Target::File);
        let mut rdb_channels = Vec::new();
        for follower in self.followers.iter_mut().filter(|f| f.job == job && f.stage == Stage::Sending) {
            follower.heard_ms = clock::unix_ms();
            if follower.peer.rdb_only {
                follower.stage = Stage::Served;
                tracing::info!(
                    "RDB transfer completed, rdb only replica ({}) should be disconnected asap",
                    follower.name()
                );
                if follower.peer.rdb_channel {
                    rdb_channels.push(follower.client());
                } else {
                    tell(&follower.shared.connection, Kill { after_replies: true });
                }
            } else if file || !follower.acknowledges || follower.loaded {
                follower.go_online(self.backlog.as_ref());
                tracing::info!("Synchronization with replica {} succeeded", follower.name());
            } else {
                follower.stage = Stage::Sent;
                tracing::info!(
                    "Streamed RDB transfer with replica {} succeeded (socket). Waiting for REPLCONF ACK from replica to \
                     enable streaming",
                    follower.name()
                );
            }
        }
        self.serving.awaiting.begin_grace(&self.server, &rdb_channels);
        if file {
            self.begin_stream_if_empty();
        }
        self.count_good();
    }
}

impl Receive<SnapshotEnded> for ReplicationLog {
    fn receive(&mut self, SnapshotEnded { job, failed }: SnapshotEnded, ctx: &mut Context<Self>) {
        if self.serving.job.as_ref().is_some_and(|j| j.number == job) {
            self.serving.job = None;
        }
        if failed {
            self.followers.retain(|f| {
                let concerned = f.job == job && !matches!(f.stage, Stage::Online | Stage::MainChannel);
                if concerned && f.stage == Stage::Waiting {
                    f.send(*b"-ERR BGSAVE failed, replication can't continue\r\n");
                    tell(&f.shared.connection, Kill { after_replies: true });
                } else if concerned {
                    tracing::warn!("SYNC failed. BGSAVE child returned an error");
                    f.disconnect();
                    if !f.peer.rdb_channel {
                        tracing::info!("Connection with replica {} lost.", f.name());
                    }
                }
                !concerned
            });
            self.serving.awaiting.give_up(&self.server, job);
        }
        let config = self.server.config.load_full();
        self.start_snapshot_if_due(&config, ctx);
    }
}

impl Receive<DescribeReplication> for ReplicationLog {
    fn receive(&mut self, DescribeReplication { reply }: DescribeReplication, _: &mut Context<Self>) {
        // Who asked may have gone.
        let _ = reply.send(self.facts());
    }
}

impl Receive<AwaitAcknowledged> for ReplicationLog {
    fn receive(&mut self, request: AwaitAcknowledged, ctx: &mut Context<Self>) {
        let offset = self.serving.offset_of(request.sequence, self.history.offset);
        self.serving.waiters.push(Waiter { offset, request });
        self.answer_waiters();
        if !self.serving.waiters.is_empty() {
            self.serving.ask = true;
            self.hand_out_soon(ctx);
        }
    }
}

impl Receive<Fsynced> for ReplicationLog {
    fn receive(&mut self, Fsynced { offset }: Fsynced, _: &mut Context<Self>) {
        self.serving.local_file_offset = offset;
        let replication = &self.server.replication;
        replication.file_offset.store(offset.unwrap_or(-1), Ordering::Relaxed);
        if replication.is_replica() && replication.owes_acknowledgement.swap(false, Ordering::Relaxed) {
            crate::replication::link::acknowledge_now(&self.server);
        }
        self.answer_waiters();
    }
}

impl Receive<Beat> for ReplicationLog {
    fn receive(&mut self, _: Beat, ctx: &mut Context<Self>) {
        if self.server.is_asleep() {
            return;
        }
        if self.backlog.is_none()
            && self.followers.is_empty()
            && self.serving.waiters.is_empty()
            && self.serving.awaiting.is_empty()
        {
            return;
        }
        let config = self.server.config.load_full();
        self.look_after_followers(&config, ctx);
        self.serving.awaiting.end_grace(&self.server);
        self.look_after_backlog(&config);
        self.count_good();
        self.answer_waiters();
        let buffers = self.backlog.as_ref().map_or(0, |b| b.memory_bytes() as u64) + self.unsent_bytes();
        self.server.replication.buffer_bytes.store(buffers, Ordering::Relaxed);
        debug_assert!(self.server.replication.flags() & bit::STREAM != 0 || self.backlog.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_taken_to_end_no_earlier_than_it_did() {
        let mut serving = Serving::default();
        assert_eq!(serving.offset_of(7, 50), 0);
        for sequence in 1..=3 * MARKS_MAX as u64 {
            serving.mark(sequence, sequence as i64 * 10);
        }
        let oldest = 2 * MARKS_MAX as i64 * 10 + 10;
        assert_eq!(serving.marks.len(), MARKS_MAX);
        assert_eq!(serving.offset_of(5, i64::MAX), oldest);
        assert_eq!(serving.offset_of(3 * MARKS_MAX as u64 - 1, i64::MAX), 3 * MARKS_MAX as i64 * 10 - 10);
    }
}
