//! One export: the actor around [`skuld::migration::export`].
//!
//! Invariant: everything about one shard's slots comes from that shard in one message type, in order: keys, effects, and
//! that the slots are frozen. So PAUSED, sent when all shards have frozen, is behind every effect.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use skuld::config::CLASS_REPLICA;
use skuld::effects::encode_command;
use skuld::migration::export::{Auth, Backlog, ExportAction, ExportEvent, NewOwner, Withdrawal, step};
use skuld::migration::job::Figures;
use skuld::migration::messages::{Establish as EstablishMessage, Message, Signal};
use skuld::migration::{ExportState, Id40, Job as JobRecord, JobName, JobState, SlotRanges, SlotSet, Step};
use skuld::resp::decode::{DecodeLimits, Decoder, Requests};

use super::cluster::{self, Change};
use super::link::{LOW_WATER, Link};
use super::{Gauge, Job, import};
use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, outside_event, tell};
use crate::server::ServerRef;
use crate::shard::migration::MigrationOrder;

/// How often a job looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How often it says that it is alive.
const ACK_MS: i64 = 1000;
/// A handshake reply may be so long.
const REPLY_BYTES_MAX: usize = 16 * 1024;
/// What a granted pause lasts at least, milliseconds.
const GRANTED_PAUSE_MS: i64 = 2000;
/// How long a claim takes to reach the other nodes, milliseconds, at the most: links of the bus are idle mostly.
const CLAIM_SPREADS_MS: i64 = 20;
/// What a shard may send before it is asked to go on, bytes.
const CREDIT_BYTES: u64 = 256 * 1024;

// What the target says, each a message of its own.
/// It is alive.
pub struct Ack;
/// It has all keys.
pub struct RequestPause;
/// It has everything up to the pause.
pub struct RequestFailover;
/// Only a source says this.
pub struct SnapshotEof;
/// Only a source says this.
pub struct Paused;
/// Only a source says this.
pub struct FailoverGranted;
/// Only a source says this.
pub struct Establish;
/// Only a primary says this, to its replicas.
pub struct Finish;
/// A SYNCSLOTS that nobody knows.
pub struct UnknownSubcommand;
/// It sent something that is no SYNCSLOTS, or no request at all.
pub struct CommandFailed {
    pub why: String,
}

// What happens here.
/// The connection stands.
pub struct LinkConnected;
/// There is no connection.
pub struct LinkFailed {
    pub error: String,
}
/// The connection is closed.
pub struct LinkLost;
/// Bytes from the target.
pub struct BytesReceived {
    pub bytes: Vec<u8>,
}
/// The link has taken most of what was given to it.
pub struct Drained;
/// What a shard has for the target, in the order of execution.
pub struct ShardSent {
    pub shard: u16,
    /// Commands with their database.
    pub pieces: Vec<(u32, Vec<u8>)>,
    /// Keys among them, and effects.
    pub keys: u64,
    pub effects: u64,
    pub then: Then,
}
/// What a shard says behind its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// It has more keys, and waits for credit.
    WantsMore,
    /// All its keys are sent.
    KeysSent,
    /// Its slots are frozen.
    Frozen,
}
/// Look at the clock.
pub struct Tick;
/// Something in the cluster changed.
pub struct ClusterChanged(pub Change);
/// Keys were flushed.
pub struct Flushed;
/// An operator wants the job to end.
pub struct CancelRequested {
    /// Dropped when it has.
    pub done: tokio::sync::oneshot::Sender<()>,
}
/// The target has answered what became of the job.
pub struct TargetAnswered {
    pub gave_up: bool,
}
/// An operator steers the job.
pub struct Steer(pub super::steering::Wish);

crate::receives!(MigrationExport:
    Ack = 0,
    RequestPause = 1,
    RequestFailover = 2,
    SnapshotEof = 3,
    Paused = 4,
    FailoverGranted = 5,
    Establish = 6,
    Finish = 7,
    UnknownSubcommand = 8,
    CommandFailed = 9,
    LinkConnected = 10,
    LinkFailed = 11,
    LinkLost = 12,
    BytesReceived = 13,
    Drained = 14,
    ShardSent = 15,
    Tick = 16,
    ClusterChanged = 17,
    Flushed = 18,
    CancelRequested = 19,
    TargetAnswered = 20,
    Steer = 21,
);

/// The actor.
pub struct MigrationExport {
    id: ActorId,
    server: ServerRef,
    name: JobName,
    source: Id40,
    target: Id40,
    ranges: SlotRanges,
    slots: Arc<SlotSet>,
    state: ExportState,
    link: Option<Link>,
    gauge: Arc<Gauge>,
    decoder: Decoder,
    input: Vec<u8>,
    /// The database the target is in, as far as we have told it.
    wire_db: Option<u32>,
    figures: Figures,
    acked_ms: i64,
    ack_sent_ms: i64,
    pause_until_ms: i64,
    granted_ms: i64,
    asking: bool,
    /// The grant was taken back because the pause was over.
    withdrawal: Withdrawal,
    /// Since when more waits than the soft limit of the link's class allows, Unix milliseconds.
    over_soft_since_ms: Option<i64>,
    /// Shards that wait for credit, that have sent all keys, that have frozen.
    wanting: Vec<u16>,
    keys_sent: usize,
    frozen: usize,
    /// Bytes the rate still allows in this tick.
    allowance: u64,
}

impl MigrationExport {
    /// Creates the job and its actor on this thread, and starts to connect.
    pub fn begin(server: &ServerRef, source: Id40, target: Id40, ranges: SlotRanges) -> JobName {
        let name = Id40::new(crate::start::random_hex(20).as_bytes()).expect("20 bytes are 40 digits");
        let now = clock::unix_ms();
        let state = ExportState::Connecting;
        let mut record = JobRecord::new(name, ranges.clone(), JobState::Export(state.clone()), now);
        (record.source, record.target) = (Some(source), Some(target));
        server.migrations.log().add(record);
        let mut slots = SlotSet::default();
        ranges.slots().for_each(|slot| {
            slots.insert(slot);
        });
        let job = Self {
            id: next_actor(ActorKind::MigrationExport),
            server: server.clone(),
            name,
            source,
            target,
            ranges,
            slots: Arc::new(slots),
            state,
            link: None,
            gauge: Arc::default(),
            decoder: Decoder::default(),
            input: Vec::new(),
            wire_db: None,
            figures: Figures::default(),
            acked_ms: now,
            ack_sent_ms: 0,
            pause_until_ms: 0,
            granted_ms: 0,
            asking: false,
            withdrawal: Withdrawal::None,
            over_soft_since_ms: None,
            wanting: Vec::new(),
            keys_sent: 0,
            frozen: 0,
            allowance: 0,
        };
        let address = job.start();
        server.migrations.began(name, Job::Export(address));
        cluster::count_jobs(server);
        name
    }

    fn describe(&self) -> String {
        let log = self.server.migrations.log();
        log.get(&self.name)
            .map(|job| job.description(&|id| cluster::human_name(&self.server, id)))
            .unwrap_or_default()
    }

    /// One event: step, record, act.
    fn happen(&mut self, event: ExportEvent, ctx: &mut Context<Self>) {
        let what = format!("{event:?}");
        let old = self.state.clone();
        match step(old.clone(), event) {
            Step::Refused(state) => {
                tracing::debug!("Slot migration {} refuses {what} in state {}", self.name, state.name());
            }
            Step::Taken { state, actions } => {
                self.state = state;
                let now = clock::unix_ms();
                // That the peer is alive is shown by its time, not in the list.
                let is_worth_a_record = actions.iter().any(|action| *action != ExportAction::NoteAck);
                if (self.state != old || is_worth_a_record)
                    && let Some(job) = self.server.migrations.log().get_mut(&self.name)
                {
                    job.moved(what, JobState::Export(self.state.clone()), now);
                    job.figures = self.figures;
                }
                if self.state.name() != old.name() {
                    let desc = self.describe();
                    tracing::info!(
                        "Slot migration {desc} state transition: {} -> {}",
                        old.name(),
                        self.state.name()
                    );
                    if self.state.is_finished() {
                        log_end(&self.server, &self.name, &desc);
                    }
                }
                for action in actions {
                    self.act(action, ctx);
                }
                if self.state.is_finished() && !old.is_finished() {
                    self.note_waiting();
                    self.server.migrations.ended(&self.server, &self.name);
                    cluster::count_jobs(&self.server);
                    ctx.stop();
                }
            }
        }
    }

    fn act(&mut self, action: ExportAction, ctx: &mut Context<Self>) {
        let now = clock::unix_ms();
        match action {
            ExportAction::SendAuth => {
                let config = self.server.config.load();
                let mut words: Vec<&[u8]> = vec![b"AUTH"];
                if !config.primaryuser.is_empty() {
                    words.push(config.primaryuser.as_bytes());
                }
                words.push(config.primaryauth.as_bytes());
                let mut out = Vec::new();
                encode_command(&mut out, &words);
                self.send(out);
                self.happen(ExportEvent::AuthSent, ctx);
            }
            ExportAction::SendEstablish => {
                let mut out = Vec::new();
                let source = Some(self.source);
                EstablishMessage { source, name: self.name, ranges: self.ranges.clone() }.encode(&mut out);
                self.send(out);
                self.happen(ExportEvent::EstablishSent, ctx);
            }
            ExportAction::NoteAck => self.heard(now),
            ExportAction::SendAck => {
                self.ack_sent_ms = now;
                self.signal(Signal::Ack);
            }
            ExportAction::BeginSnapshot => {
                tracing::info!("Beginning snapshot of slot migration {}.", self.describe());
                self.allowance = self.rate_per_tick();
                let (server, slots) = (self.server.clone(), self.slots.clone());
                ctx.spawn(
                    async move {
                        import::order_all(&server, |done| MigrationOrder::Count {
                            slots: slots.clone(),
                            done,
                        })
                        .await
                    }
                    .into_actor(self)
                    .map(|keys, job, _| job.figures.keys_total = keys),
                );
                for shard in self.server.shards() {
                    let slots = self.slots.clone();
                    let (gauge, to) = (self.gauge.clone(), ctx.address());
                    tell(
                        shard,
                        MigrationOrder::Begin { job: self.name, slots, gauge, to, credit: CREDIT_BYTES },
                    );
                }
            }
            ExportAction::FreezeSlots => {
                tracing::info!(
                    "Pausing writes (remaining_repl_size is {}) to allow slot migration {} to finalize failover.",
                    self.gauge.waiting(),
                    self.describe()
                );
                self.frozen = 0;
                self.figures.frozen_at_ms = now;
                self.server.migrations.frozen.fetch_add(1, Ordering::Relaxed);
                for shard in self.server.shards() {
                    tell(shard, MigrationOrder::Freeze { job: self.name });
                }
            }
            ExportAction::ThawSlots => {
                self.server.migrations.frozen.fetch_sub(1, Ordering::Relaxed);
                self.figures.frozen_ms = (now - self.figures.frozen_at_ms).max(0) as u64;
                for shard in self.server.shards() {
                    tell(shard, MigrationOrder::Thaw { job: self.name });
                }
            }
            ExportAction::StartPauseTimer => {
                let timeout = i64::from(self.server.config.load().cluster_manual_failover_timeout);
                self.pause_at_least_until(now + 2 * timeout);
            }
            ExportAction::ExtendPauseTimer => self.pause_at_least_until(now + GRANTED_PAUSE_MS),
            ExportAction::SendPaused => self.signal(Signal::Paused),
            ExportAction::Grant => cluster::grant(&self.server, &self.slots, Some(self.target)),
            ExportAction::EndGrant => cluster::grant(&self.server, &self.slots, None),
            ExportAction::SendFailoverGranted => self.signal(Signal::FailoverGranted),
            ExportAction::StartGrantTimer => self.granted_ms = now,
            ExportAction::AskTarget => self.asking = true,
            ExportAction::StopExport => {
                for shard in self.server.shards() {
                    tell(shard, MigrationOrder::End { job: self.name });
                }
            }
            ExportAction::CloseLink => self.link = None,
            ExportAction::WarnOfWriteLoss => tracing::warn!(
                "Write loss risk! During slot migration {}, new owner was not found before we unpaused ourselves. If the \
                 target takes the slots over later, what is written here until then is lost.",
                self.describe()
            ),
        }
        if let Some(job) = self.server.migrations.log().get_mut(&self.name) {
            job.figures = self.figures;
        }
    }

    fn pause_at_least_until(&mut self, until_ms: i64) {
        self.pause_until_ms = self.pause_until_ms.max(until_ms);
        self.server.migrations.frozen_until_ms.fetch_max(self.pause_until_ms as u64, Ordering::Relaxed);
    }

    fn heard(&mut self, now: i64) {
        self.acked_ms = now;
        if let Some(job) = self.server.migrations.log().get_mut(&self.name) {
            job.acked_s = now / 1000;
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.server.migrations.exported_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.figures.bytes_sent += bytes.len() as u64;
        if let Some(link) = &self.link {
            link.send(bytes);
        }
    }

    fn signal(&mut self, signal: Signal) {
        let mut out = Vec::new();
        signal.encode(&mut out);
        self.send(out);
    }

    fn backlog(&self) -> Backlog {
        let limit = self.server.config.load().slot_migration_max_failover_repl_bytes;
        let prevented = self.server.migrations.prevent_pause.load(Ordering::Relaxed);
        // Under a stream of writes something is always on its way; so little of it is gone in a moment.
        let within = limit < 0 || self.gauge.waiting() <= (limit as u64).max(LOW_WATER);
        if within && !prevented { Backlog::WithinLimit } else { Backlog::OverLimit }
    }

    /// Lets others see how much waits. It is not to be evicted for.
    fn note_waiting(&mut self) {
        self.figures.waiting_bytes = self.gauge.waiting();
        (self.figures.paced, self.figures.paced_us) = self.gauge.pacing();
        let mut log = self.server.migrations.log();
        if let Some(job) = log.get_mut(&self.name) {
            job.figures = self.figures;
        }
        let waiting = log.unfinished_exports().map(|job| job.figures.waiting_bytes).sum();
        self.server.eviction.set_held_for_exports(waiting);
    }

    /// Whether the link is within `client-output-buffer-limit replica`, as far as that is stricter than the pacing of
    /// writers at `export-buffer-limit`.
    fn is_within_limits(&mut self, now: i64) -> bool {
        let config = self.server.config.load();
        let limit = &config.client_output_buffer_limit[CLASS_REPLICA];
        let waiting = self.gauge.waiting();
        let is_strict = |bytes: u64| bytes > 0 && bytes < config.export_buffer_limit;
        let over = |bytes: u64| is_strict(bytes) && waiting > bytes.max(config.repl_backlog_size);
        let soft_since = if over(limit.soft) { self.over_soft_since_ms.or(Some(now)) } else { None };
        self.over_soft_since_ms = soft_since;
        let too_long = soft_since.is_some_and(|since| (now - since) / 1000 > limit.soft_seconds as i64);
        if self.state.is_finished() || self.link.is_none() || !(over(limit.hard) || too_long) {
            return true;
        }
        self.server.stats.client_output_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "Client of slot migration {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            self.describe()
        );
        self.link = None;
        false
    }

    fn rate_per_tick(&self) -> u64 {
        match self.figures.rate_limit {
            0 => u64::MAX,
            rate => (rate / 10).max(1),
        }
    }

    /// Lets the shards that wait go on, if the link, the rate and the operator allow.
    fn give_credit(&mut self) {
        if self.figures.is_held || self.allowance == 0 || self.gauge.waiting() >= LOW_WATER {
            return;
        }
        for shard in std::mem::take(&mut self.wanting) {
            let bytes = CREDIT_BYTES.min(self.allowance);
            tell(self.server.shard(shard), MigrationOrder::More { job: self.name, bytes });
        }
    }

    /// Takes what the target sent: replies during the handshake, requests after it.
    fn on_bytes(&mut self, bytes: &[u8], ctx: &mut Context<Self>) {
        self.input.extend_from_slice(bytes);
        if matches!(self.state, ExportState::ReadingAuth | ExportState::ReadingEstablish) {
            let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") else {
                if self.input.len() >= REPLY_BYTES_MAX && self.state == ExportState::ReadingEstablish {
                    self.happen(ExportEvent::EstablishReplyTooLong, ctx);
                }
                return;
            };
            let line: Vec<u8> = self.input.drain(..end + 2).collect();
            let refused = line.first() == Some(&b'-');
            let event = match (self.state == ExportState::ReadingAuth, refused) {
                (true, false) => {
                    tracing::info!("Successfully authenticated slot migration {}", self.describe());
                    ExportEvent::AuthAccepted
                }
                (true, true) => ExportEvent::AuthRefused(line[..end].to_vec()),
                (false, false) => ExportEvent::EstablishAccepted,
                (false, true) => ExportEvent::EstablishRefused(line),
            };
            self.happen(event, ctx);
        }
        if !self.state.is_finished() && !self.input.is_empty() {
            self.on_requests(ctx);
        }
    }

    /// The requests of the target: SYNCSLOTS, each told on as its own message, and nothing else.
    fn on_requests(&mut self, ctx: &mut Context<Self>) {
        let mut requests = Requests::default();
        let limits = DecodeLimits { bulk_max: 64 * 1024, authenticated: true };
        let error = self.decoder.decode(&mut self.input, limits, &mut requests).err();
        let own = ctx.address();
        for index in 0..requests.len() {
            let args: Vec<&[u8]> =
                requests.args(index).iter().map(|s| &self.input[s.start..s.start + s.len]).collect();
            let is_ours = args.len() >= 3
                && args[0].eq_ignore_ascii_case(b"CLUSTER")
                && args[1].eq_ignore_ascii_case(b"SYNCSLOTS");
            if !is_ours {
                let word = args.first().map(|w| w.escape_ascii().to_string()).unwrap_or_default();
                tell(&own, CommandFailed { why: format!("the target sent '{word}'") });
                continue;
            }
            match Message::parse(&args) {
                Message::Signal(Signal::Ack) => tell(&own, Ack),
                Message::Signal(Signal::RequestPause) => tell(&own, RequestPause),
                Message::Signal(Signal::RequestFailover) => tell(&own, RequestFailover),
                Message::Signal(Signal::SnapshotEof) => tell(&own, SnapshotEof),
                Message::Signal(Signal::Paused) => tell(&own, Paused),
                Message::Signal(Signal::FailoverGranted) => tell(&own, FailoverGranted),
                Message::Establish { .. } => tell(&own, Establish),
                Message::Finish { .. } => tell(&own, Finish),
                Message::Capa => {}
                Message::Unknown => tell(&own, UnknownSubcommand),
            }
        }
        if let Some(error) = error {
            tell(&own, CommandFailed { why: format!("Protocol error: {error}") });
        }
        let complete = self.decoder.complete_bytes();
        let mut rest = Requests::default();
        self.decoder.rebase(&mut requests, &mut rest);
        self.input.drain(..complete.min(self.input.len()));
    }

    /// Writers that wait for room look again, if there is some.
    fn let_writers_go_on(&self) {
        if self.gauge.has_room_again() {
            for shard in self.server.shards() {
                tell(shard, MigrationOrder::More { job: self.name, bytes: 0 });
            }
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = clock::unix_ms();
        let config = self.server.config.load_full();
        // The link may have taken everything between a writer's look and its wait.
        self.let_writers_go_on();
        self.allowance = self.rate_per_tick();
        self.note_waiting();
        if !self.is_within_limits(now) {
            return self.happen(ExportEvent::LinkLost, ctx);
        }
        if self.state.minds_silence() && now - self.acked_ms > i64::from(config.repl_timeout) * 1000 {
            tracing::warn!(
                "Timing out slot migration {} after not receiving ack for too long",
                self.describe()
            );
            return self.happen(ExportEvent::AckOverdue, ctx);
        }
        if matches!(self.state, ExportState::FailoverPaused(_)) && now >= self.pause_until_ms {
            return self.happen(ExportEvent::PauseOver, ctx);
        }
        let is_granted = self.state == ExportState::FailoverGranted;
        if is_granted && self.withdrawal == Withdrawal::None && now >= self.pause_until_ms {
            self.withdrawal = Withdrawal::PauseOver;
            self.happen(ExportEvent::PauseOver, ctx);
        }
        let grant_limit = config.slot_migration_grant_timeout;
        if self.state == ExportState::FailoverGranted
            && grant_limit > 0
            && now - self.granted_ms > grant_limit as i64
        {
            return self.happen(ExportEvent::GrantOver, ctx);
        }
        if self.state == ExportState::WaitingToSnapshot && !self.figures.is_held {
            self.happen(ExportEvent::SnapshotMayStart, ctx);
        }
        if self.state == ExportState::WaitingToPause && self.backlog() == Backlog::WithinLimit {
            self.happen(ExportEvent::BacklogShrank, ctx);
        }
        if self.state.sends_acks() && now - self.ack_sent_ms >= ACK_MS {
            self.ack_sent_ms = now;
            self.signal(Signal::Ack);
        }
        if self.asking && self.state == ExportState::FailoverGranted {
            cluster::ask_target(&self.server, self.target, self.name, self.ranges.clone(), ctx.address());
        }
        self.give_credit();
    }
}

/// Logs how a job ended.
pub(super) fn log_end(server: &ServerRef, name: &JobName, desc: &str) {
    let end = server.migrations.log().get(name).map(|job| (job.state.clone(), job.message()));
    let Some((state, message)) = end else { return };
    let text = String::from_utf8_lossy(&message);
    let text = text.trim_end();
    if state.name() == "failed" {
        tracing::warn!("Slot migration {desc} finished. State: failed, Message: {text}");
    } else {
        tracing::info!("Slot migration {desc} finished. State: {}, Message: {text}", state.name());
    }
}

impl Actor for MigrationExport {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(TICK, |job, ctx| {
            outside_event(job.id, clock::tick());
            tell(&ctx.address(), Tick);
        });
        let Some(address) = cluster::address_of(&self.server, &self.target) else {
            return self.happen(ExportEvent::TargetUnknown, ctx);
        };
        tracing::info!("Connecting slot migration {} ({address})", self.describe());
        let bind = self.server.config.load().bind_source_addr.to_str().into_owned();
        let bind = Some(bind).filter(|b| !b.is_empty());
        self.link = Some(Link::open(&self.server, address, bind, self.gauge.clone(), ctx.address()));
    }
}

impl TracedActor for MigrationExport {
    const KIND: ActorKind = ActorKind::MigrationExport;

    fn id(&self) -> ActorId {
        self.id
    }
}

/// Messages that are events as they are.
macro_rules! events {
    ($($message:pat => $ty:ty: $event:expr),+ $(,)?) => {
        $(impl Receive<$ty> for MigrationExport {
            fn receive(&mut self, _: $ty, ctx: &mut Context<Self>) {
                self.happen($event, ctx);
            }
        })+
    };
}

events! {
    Ack => Ack: ExportEvent::Ack,
    SnapshotEof => SnapshotEof: ExportEvent::SnapshotEof,
    Paused => Paused: ExportEvent::Paused,
    FailoverGranted => FailoverGranted: ExportEvent::FailoverGranted,
    Establish => Establish: ExportEvent::Establish,
    Finish => Finish: ExportEvent::Finish,
    UnknownSubcommand => UnknownSubcommand: ExportEvent::UnknownSubcommand,
    Flushed => Flushed: ExportEvent::Flushed,
}

impl Receive<RequestFailover> for MigrationExport {
    fn receive(&mut self, _: RequestFailover, ctx: &mut Context<Self>) {
        let claimed_ms = self.server.migrations.claimed_ms.load(Ordering::Relaxed) as i64;
        let left_ms = claimed_ms + CLAIM_SPREADS_MS - clock::unix_ms();
        if self.state.is_frozen() && (1..=CLAIM_SPREADS_MS).contains(&left_ms) {
            // What this node has claimed just now, with an epoch it may have raised for that, is on its way to the target
            // together with a claim of the slots it is about to grant. It must not come behind the grant.
            clock::after(ctx, Duration::from_millis(left_ms as u64), |_: &mut Self, ctx| {
                tell(&ctx.address(), RequestFailover);
            });
            return;
        }
        self.happen(ExportEvent::RequestFailover, ctx);
    }
}

impl Receive<CancelRequested> for MigrationExport {
    fn receive(&mut self, CancelRequested { done }: CancelRequested, ctx: &mut Context<Self>) {
        self.happen(ExportEvent::CancelRequested, ctx);
        drop(done);
    }
}

impl Receive<RequestPause> for MigrationExport {
    fn receive(&mut self, _: RequestPause, ctx: &mut Context<Self>) {
        let backlog = self.backlog();
        self.happen(ExportEvent::RequestPause(backlog), ctx);
    }
}

impl Receive<CommandFailed> for MigrationExport {
    fn receive(&mut self, CommandFailed { why }: CommandFailed, ctx: &mut Context<Self>) {
        tracing::warn!("Slot migration {}: {why}", self.describe());
        self.happen(ExportEvent::CommandFailed, ctx);
    }
}

impl Receive<LinkConnected> for MigrationExport {
    fn receive(&mut self, _: LinkConnected, ctx: &mut Context<Self>) {
        tracing::info!("Slot migration {} connection established.", self.describe());
        let needed = !self.server.config.load().primaryauth.is_empty();
        let auth = if needed { Auth::Needed } else { Auth::NotNeeded };
        self.happen(ExportEvent::Connected(auth), ctx);
    }
}

impl Receive<LinkFailed> for MigrationExport {
    fn receive(&mut self, LinkFailed { error }: LinkFailed, ctx: &mut Context<Self>) {
        self.happen(ExportEvent::ConnectFailed(error), ctx);
    }
}

impl Receive<LinkLost> for MigrationExport {
    fn receive(&mut self, _: LinkLost, ctx: &mut Context<Self>) {
        if self.state == ExportState::ReadingAuth {
            return self.happen(ExportEvent::AuthUnanswered, ctx);
        }
        tracing::info!("Slot migration {} connection lost", self.describe());
        self.happen(ExportEvent::LinkLost, ctx);
    }
}

impl Receive<BytesReceived> for MigrationExport {
    fn receive(&mut self, BytesReceived { bytes }: BytesReceived, ctx: &mut Context<Self>) {
        if !self.state.is_finished() {
            self.on_bytes(&bytes, ctx);
        }
    }
}

impl Receive<Drained> for MigrationExport {
    fn receive(&mut self, _: Drained, ctx: &mut Context<Self>) {
        if self.state == ExportState::WaitingToPause && self.backlog() == Backlog::WithinLimit {
            self.happen(ExportEvent::BacklogShrank, ctx);
        }
        self.give_credit();
        self.let_writers_go_on();
    }
}

impl Receive<ShardSent> for MigrationExport {
    fn receive(&mut self, sent: ShardSent, ctx: &mut Context<Self>) {
        let mut out = Vec::new();
        for (db, bytes) in sent.pieces {
            self.gauge.remove(bytes.len());
            if self.wire_db != Some(db) {
                self.wire_db = Some(db);
                encode_command(&mut out, &[b"SELECT", db.to_string().as_bytes()]);
            }
            if out.is_empty() { out = bytes } else { out.extend_from_slice(&bytes) }
        }
        self.figures.keys_sent += sent.keys;
        self.figures.effects_sent += sent.effects;
        if self.state.is_finished() {
            return;
        }
        if !out.is_empty() {
            self.note_waiting();
            if !self.is_within_limits(clock::unix_ms()) {
                return self.happen(ExportEvent::LinkLost, ctx);
            }
            if sent.keys > 0 {
                self.allowance = self.allowance.saturating_sub(out.len() as u64);
            }
            self.send(out);
        }
        match sent.then {
            Then::Nothing => {}
            Then::WantsMore => {
                self.wanting.push(sent.shard);
                self.give_credit();
            }
            Then::KeysSent => {
                self.keys_sent += 1;
                if self.keys_sent == usize::from(self.server.workers) {
                    // A peer may keep a database of its own for what follows.
                    self.wire_db = None;
                    self.signal(Signal::SnapshotEof);
                    tracing::info!(
                        "Slot migration {} snapshot finished, starting streaming.",
                        self.describe()
                    );
                    self.happen(ExportEvent::SnapshotSent, ctx);
                }
            }
            Then::Frozen => {
                self.frozen += 1;
                if self.frozen == usize::from(self.server.workers) {
                    self.happen(ExportEvent::SlotsFrozen, ctx);
                }
            }
        }
    }
}

impl Receive<Tick> for MigrationExport {
    fn receive(&mut self, _: Tick, ctx: &mut Context<Self>) {
        if !self.state.is_finished() {
            self.tick(ctx);
        }
    }
}

impl Receive<ClusterChanged> for MigrationExport {
    fn receive(&mut self, ClusterChanged(change): ClusterChanged, ctx: &mut Context<Self>) {
        match change {
            Change::Ownership => match cluster::owner_of_all(&self.server, &self.ranges) {
                Some(owner) if owner == self.source => {}
                Some(owner) if owner == self.target => {
                    tracing::info!("Slot migration {} slots are now owned by target node.", self.describe());
                    self.happen(ExportEvent::OwnerChanged(NewOwner::Target), ctx);
                }
                _ => self.happen(ExportEvent::OwnerChanged(NewOwner::Other), ctx),
            },
            Change::Demoted => self.happen(ExportEvent::Demoted, ctx),
            Change::Promoted => {}
            Change::NodeFailed(node) if node == self.target => self.happen(ExportEvent::TargetFailed, ctx),
            Change::NodeFailed(_) => {}
        }
    }
}

impl Receive<TargetAnswered> for MigrationExport {
    fn receive(&mut self, TargetAnswered { gave_up }: TargetAnswered, ctx: &mut Context<Self>) {
        if gave_up {
            self.happen(ExportEvent::TargetGaveUp(self.withdrawal), ctx);
        }
    }
}

impl Receive<Steer> for MigrationExport {
    fn receive(&mut self, Steer(wish): Steer, _: &mut Context<Self>) {
        use super::steering::Wish;
        match wish {
            Wish::Hold => self.figures.is_held = true,
            Wish::Resume => self.figures.is_held = false,
            Wish::Rate(bytes) => self.figures.rate_limit = bytes,
        }
        self.allowance = self.rate_per_tick();
        if let Some(job) = self.server.migrations.log().get_mut(&self.name) {
            job.figures = self.figures;
        }
        self.give_credit();
    }
}
