//! One import: the actor around [`skuld::migration::import`]. The link itself is the connection over which ESTABLISH
//! came; it runs the source's commands and hands on what SYNCSLOTS says, after everything before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use skuld::config::AppendFsync;
use skuld::effects::Propagation;
use skuld::migration::import::{Claim, ImportAction, ImportEvent, step};
use skuld::migration::job::Figures;
use skuld::migration::messages::{Establish as EstablishMessage, Finish as FinishMessage, Signal};
use skuld::migration::{Id40, ImportState, Job as JobRecord, JobName, JobState, SlotRanges, SlotSet, Step};
use skuld::slot::Slot;
use tokio::sync::oneshot;

use super::cluster::{self, Change};
use super::export::log_end;
use super::{ImportLink, Job};
use crate::append_only::SyncAof;
use crate::clients::ClientShared;
use crate::clock;
use crate::connection::{Deliver, Kill};
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, outside_event, tell};
use crate::replication_log::Append;
use crate::server::ServerRef;
use crate::shard::DeleteSlots;
use crate::shard::migration::{MigrationOrder, Strays};

/// How often a job looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How often it says that it is alive.
const ACK_MS: i64 = 1000;

// What the source says, each a message of its own.
/// It is alive.
pub struct Ack;
/// All keys are sent.
pub struct SnapshotEof;
/// Nothing more will change.
pub struct Paused;
/// The slots are ours to claim.
pub struct FailoverGranted;
/// Only a target says this.
pub struct RequestPause;
/// Only a target says this.
pub struct RequestFailover;
/// A second ESTABLISH on the same link.
pub struct Establish;
/// A SYNCSLOTS that nobody knows.
pub struct UnknownSubcommand;
/// A command of the source's was refused.
pub struct CommandFailed {
    pub error: Vec<u8>,
    pub command: String,
}
/// Our primary, or the append-only file, says how the job ended.
pub struct Finish {
    pub failure: Option<Vec<u8>>,
    /// Dropped when the job is over.
    pub done: oneshot::Sender<()>,
}

// What happens here.
/// The connection is closed.
pub struct LinkLost;
/// Look at the clock.
pub struct Tick;
/// Something in the cluster changed.
pub struct ClusterChanged(pub Change);
/// Keys were flushed.
pub struct Flushed;
/// The claim is made, or was not possible.
pub struct Claimed {
    pub result: Result<u64, String>,
}
/// What was imported is deleted.
pub struct KeysDeleted;
/// The slots are visible again.
pub struct SlotsShown;
/// How many keys the slots hold.
pub struct KeysCounted {
    pub keys: u64,
}
/// The data set is replaced by another.
pub struct DataReplaced {
    pub full_sync: bool,
    /// Dropped when the job is over.
    pub done: oneshot::Sender<()>,
}
/// The server has started, with this job in its files.
pub struct Restarted;

crate::receives!(MigrationImport:
    Ack = 0,
    SnapshotEof = 1,
    Paused = 2,
    FailoverGranted = 3,
    RequestPause = 4,
    RequestFailover = 5,
    Establish = 6,
    UnknownSubcommand = 7,
    CommandFailed = 8,
    Finish = 9,
    LinkLost = 10,
    Tick = 11,
    ClusterChanged = 12,
    Flushed = 13,
    Claimed = 14,
    KeysDeleted = 15,
    SlotsShown = 16,
    DataReplaced = 17,
    Restarted = 18,
    KeysCounted = 19,
);

/// The actor.
pub struct MigrationImport {
    id: ActorId,
    server: ServerRef,
    name: JobName,
    source: Option<Id40>,
    ranges: SlotRanges,
    slots: Arc<SlotSet>,
    state: ImportState,
    link: Option<(Arc<ClientShared>, Arc<ImportLink>)>,
    /// Bytes the link had brought when it was last looked at, and when they last grew.
    heard: (u64, i64),
    figures: Figures,
    ack_sent_ms: i64,
    /// Who waits for the end of the job.
    waiting: Vec<oneshot::Sender<()>>,
}

impl MigrationImport {
    /// Follows a job that another node runs, found in a data set whose slots are hidden already.
    pub fn follow(server: &ServerRef, establish: EstablishMessage) {
        if server.migrations.log().running_mut(&establish.name).is_none() {
            Self::create_job(server, &establish, None);
        }
    }

    /// Creates the job, hides its slots on every shard, empties them, and tells replicas and the append-only file.
    /// `link` is None for a job that another node runs.
    pub async fn begin(
        server: &ServerRef,
        establish: EstablishMessage,
        link: Option<Arc<ClientShared>>,
    ) -> Arc<ImportLink> {
        let is_ours = link.is_some();
        let link = Self::create_job(server, &establish, link);
        let strays = if is_ours { Strays::Delete } else { Strays::Keep };
        order_all(server, |done| MigrationOrder::Hide { slots: link.slots.clone(), strays, done }).await;
        if is_ours {
            let mut out = Vec::new();
            establish.encode(&mut out);
            replicate(server, &out);
            let desc = describe(server, &establish.name);
            tracing::info!("New slot import job created: {desc}.");
        }
        link
    }

    /// The record of a job and its actor.
    fn create_job(
        server: &ServerRef,
        establish: &EstablishMessage,
        link: Option<Arc<ClientShared>>,
    ) -> Arc<ImportLink> {
        let now = clock::unix_ms();
        let EstablishMessage { source, name, ranges } = establish.clone();
        let is_ours = link.is_some();
        let state = if is_ours { ImportState::WaitingForAck } else { ImportState::OccurringOnPrimary };
        let mut record = JobRecord::new(name, ranges.clone(), JobState::Import(state.clone()), now);
        if is_ours {
            (record.source, record.target) = (source, cluster::myself(server));
        }
        server.migrations.log().add(record);
        let mut set = SlotSet::default();
        ranges.slots().for_each(|slot| {
            set.insert(slot);
        });
        let slots = Arc::new(set);
        let own = slots.clone();
        let mut shared_link = None;
        let server_of_job = server.clone();
        let address = Self::create(|ctx| {
            let carried = Arc::new(ImportLink {
                job: ctx.address(),
                slots: own.clone(),
                closed: AtomicBool::new(false),
            });
            shared_link = Some(carried.clone());
            Self {
                id: next_actor(ActorKind::MigrationImport),
                server: server_of_job,
                name,
                source,
                ranges,
                slots: own,
                state,
                link: link.map(|client| (client, carried)),
                heard: (0, now),
                figures: Figures { heard_ms: now, ..Figures::default() },
                ack_sent_ms: 0,
                waiting: Vec::new(),
            }
        });
        server.migrations.began(name, Job::Import(address));
        cluster::count_jobs(server);
        shared_link.expect("made when the actor was created")
    }

    /// One event: step, record, act.
    fn happen(&mut self, event: ImportEvent, ctx: &mut Context<Self>) {
        let what = format!("{event:?}");
        let old = self.state.clone();
        match step(old.clone(), event) {
            Step::Refused(state) => {
                tracing::debug!("Slot migration {} refuses {what} in state {}", self.name, state.name());
            }
            Step::Taken { state, actions } => {
                self.state = state;
                // That the peer is alive is shown by its time, not in the list.
                if self.state != old || actions.iter().any(|action| *action != ImportAction::NoteAck) {
                    let now = clock::unix_ms();
                    if let Some(job) = self.server.migrations.log().running_mut(&self.name) {
                        job.moved(what, JobState::Import(self.state.clone()), now);
                    }
                }
                if self.state.name() != old.name() {
                    self.log_transition(&old);
                }
                for action in actions {
                    self.act(action, ctx);
                }
            }
        }
    }

    fn log_transition(&self, old: &ImportState) {
        let desc = describe(&self.server, &self.name);
        tracing::info!("Slot migration {desc} state transition: {} -> {}", old.name(), self.state.name());
        match &self.state {
            ImportState::CleaningUp(_) => tracing::info!("Cleaning up slot migration {desc} after failed"),
            ImportState::WaitingForPaused => tracing::info!(
                "Slot migration {desc} successfully received slot snapshot. Beginning incremental stream..."
            ),
            ImportState::Success if matches!(old, ImportState::FailoverGranted(_)) => tracing::info!(
                "Slot migration {desc} completed successfully. This node is now the owner of the slots"
            ),
            _ => {}
        }
        if self.state.is_finished() {
            log_end(&self.server, &self.name, &desc);
        }
    }

    fn act(&mut self, action: ImportAction, ctx: &mut Context<Self>) {
        let own = ctx.address();
        match action {
            ImportAction::NoteAck => {
                let now = clock::unix_ms();
                if let Some(job) = self.server.migrations.log().running_mut(&self.name) {
                    job.acked_s = now / 1000;
                }
            }
            ImportAction::SendAck => {
                self.ack_sent_ms = clock::unix_ms();
                self.signal(Signal::Ack);
            }
            ImportAction::SendRequestPause => {
                self.signal(Signal::RequestPause);
                self.count_keys(ctx);
            }
            ImportAction::SendRequestFailover => {
                self.figures.frozen_at_ms = clock::unix_ms();
                self.signal(Signal::RequestFailover);
            }
            ImportAction::AskToClaim => {
                // Nothing more may change what we are about to own.
                self.close_gate();
                self.claim_if_allowed(ctx);
            }
            ImportAction::ClaimSlots => {
                let config = self.server.config.load();
                if !(config.appendonly && config.appendfsync == AppendFsync::Always) {
                    return cluster::claim(&self.server, &self.slots, own);
                }
                // The source has promised its clients that their writes are on the disk, and deletes them next.
                let (reply, synced) = oneshot::channel();
                tell(self.server.append_only(), SyncAof { reply });
                ctx.spawn(
                    async move {
                        // The file's actor ends only with the process.
                        let _ = synced.await;
                    }
                    .into_actor(self)
                    .map(|(), job, ctx| cluster::claim(&job.server, &job.slots, ctx.address())),
                );
            }
            ImportAction::ShowSlots => {
                let (server, slots) = (self.server.clone(), self.slots.clone());
                ctx.spawn(
                    async move {
                        order_all(&server, |done| MigrationOrder::Show { slots: slots.clone(), done }).await;
                    }
                    .into_actor(self)
                    .map(move |(), _, ctx| tell(&ctx.address(), SlotsShown)),
                );
            }
            ImportAction::DeleteKeys => {
                let server = self.server.clone();
                let slots: Vec<Slot> = cluster::not_mine(&self.server, &self.slots);
                ctx.spawn(
                    async move { delete_keys(&server, slots).await }
                        .into_actor(self)
                        .map(move |(), _, ctx| tell(&ctx.address(), KeysDeleted)),
                );
            }
            ImportAction::CloseLink => {
                self.close_gate();
                self.note_received();
                if self.figures.frozen_at_ms > 0 {
                    self.figures.frozen_ms = (clock::unix_ms() - self.figures.frozen_at_ms).max(0) as u64;
                }
                self.show_figures();
                if let Some((client, _)) = self.link.take() {
                    client.killed.store(true, Ordering::Relaxed);
                    tell(&client.connection, Kill { after_replies: false });
                }
            }
            ImportAction::ReplicateFinish => {
                let failure = match &self.state {
                    ImportState::Failed(reason) => Some(reason.text().into_owned()),
                    _ => None,
                };
                let mut out = Vec::new();
                FinishMessage { name: self.name, failure }.encode(&mut out);
                replicate(&self.server, &out);
            }
        }
    }

    fn close_gate(&self) {
        if let Some((_, link)) = &self.link {
            link.closed.store(true, Ordering::Release);
        }
    }

    fn claim_if_allowed(&mut self, ctx: &mut Context<Self>) {
        if !self.server.migrations.prevent_failover.load(Ordering::Relaxed) {
            self.happen(ImportEvent::ClaimAllowed, ctx);
        }
    }

    fn signal(&self, signal: Signal) {
        let Some((client, _)) = &self.link else { return };
        let mut out = Vec::new();
        signal.encode(&mut out);
        tell(&client.connection, Deliver { bytes: out.into() });
    }

    /// Takes note of what the link has brought.
    fn note_received(&mut self) {
        let Some((client, _)) = &self.link else { return };
        let bytes = client.net_in.load(Ordering::Relaxed);
        let new = bytes.saturating_sub(self.heard.0);
        if new > 0 {
            self.server.migrations.imported_bytes.fetch_add(new, Ordering::Relaxed);
            self.heard = (bytes, clock::unix_ms());
            self.figures.bytes_received += new;
            self.figures.heard_ms = self.heard.1;
        }
    }

    /// Also those of a job that has just ended: its last bytes came after the last look.
    fn show_figures(&self) {
        if let Some(job) = self.server.migrations.log().get_mut(&self.name) {
            job.figures = self.figures;
        }
    }

    /// Has the shards count what is there so far.
    fn count_keys(&self, ctx: &mut Context<Self>) {
        let (server, slots) = (self.server.clone(), self.slots.clone());
        let counted = async move {
            order_all(&server, |done| MigrationOrder::Count { slots: slots.clone(), done }).await
        };
        ctx.spawn(counted.into_actor(self).map(|keys, _, ctx| tell(&ctx.address(), KeysCounted { keys })));
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now = clock::unix_ms();
        self.note_received();
        self.show_figures();
        let limit = i64::from(self.server.config.load().repl_timeout) * 1000;
        if self.state.minds_silence() && now - self.heard.1 > limit {
            tracing::warn!(
                "Timing out slot migration {} after not receiving ack for too long",
                describe(&self.server, &self.name)
            );
            return self.happen(ImportEvent::SourceSilent, ctx);
        }
        if self.state == ImportState::FailoverGranted(Claim::Waiting) {
            self.claim_if_allowed(ctx);
        }
        if self.state.sends_acks() && now - self.ack_sent_ms >= ACK_MS {
            self.ack_sent_ms = now;
            self.signal(Signal::Ack);
            self.count_keys(ctx);
        }
    }
}

fn describe(server: &ServerRef, name: &JobName) -> String {
    let log = server.migrations.log();
    log.get(name).map(|job| job.description(&|id| cluster::human_name(server, id))).unwrap_or_default()
}

/// Adds a command to the stream for replicas and the append-only file.
pub(super) fn replicate(server: &ServerRef, command: &[u8]) {
    if !crate::replication::Replication::records_effects(server.replication.flags()) {
        return;
    }
    let mut propagation = Propagation::default();
    propagation.bytes.extend_from_slice(command);
    propagation.commands.push((0, command.len()));
    let sequence = server.replication.issue();
    // Slots are shown or dropped by it.
    server.persistence.aof.recent.note_everything(sequence);
    tell(server.replication_log(), Append { sequence, propagation, events: Vec::new() });
}

/// Has all shards do something, and adds up what they answer.
pub(super) async fn order_all(
    server: &ServerRef,
    order: impl Fn(tokio::sync::oneshot::Sender<u64>) -> MigrationOrder,
) -> u64 {
    let mut answers = Vec::new();
    for shard in server.shards() {
        let (done, answer) = tokio::sync::oneshot::channel();
        tell(shard, order(done));
        answers.push(answer);
    }
    let mut sum = 0;
    for answer in answers {
        // A shard ends only with the process.
        sum += answer.await.unwrap_or(0);
    }
    sum
}

/// Deletes all keys of the slots, telling replicas and the append-only file.
async fn delete_keys(server: &ServerRef, slots: Vec<Slot>) {
    let slots: Arc<[Slot]> = slots.into();
    let mut ends = Vec::new();
    for shard in server.shards() {
        let (done, end) = oneshot::channel();
        tell(shard, DeleteSlots { slots: slots.clone(), done: Some(done) });
        ends.push(end);
    }
    for end in ends {
        // A shard ends only with the process.
        let _ = end.await;
    }
}

impl Actor for MigrationImport {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(TICK, |job, ctx| {
            outside_event(job.id, clock::tick());
            tell(&ctx.address(), Tick);
        });
    }
}

impl TracedActor for MigrationImport {
    const KIND: ActorKind = ActorKind::MigrationImport;

    fn id(&self) -> ActorId {
        self.id
    }
}

/// Messages that are events as they are.
macro_rules! events {
    ($($ty:ty: $event:expr),+ $(,)?) => {
        $(impl Receive<$ty> for MigrationImport {
            fn receive(&mut self, _: $ty, ctx: &mut Context<Self>) {
                self.happen($event, ctx);
            }
        })+
    };
}

events! {
    Ack: ImportEvent::Ack,
    SnapshotEof: ImportEvent::SnapshotEof,
    Paused: ImportEvent::Paused,
    FailoverGranted: ImportEvent::FailoverGranted,
    RequestPause: ImportEvent::RequestPause,
    RequestFailover: ImportEvent::RequestFailover,
    Establish: ImportEvent::Establish,
    UnknownSubcommand: ImportEvent::UnknownSubcommand,
    Flushed: ImportEvent::Flushed,
    KeysDeleted: ImportEvent::KeysDeleted,
    Restarted: ImportEvent::Restarted,
}

impl Receive<CommandFailed> for MigrationImport {
    fn receive(&mut self, CommandFailed { error, command }: CommandFailed, ctx: &mut Context<Self>) {
        let text = String::from_utf8_lossy(&error);
        let text = text.trim_end();
        tracing::warn!(
            "== CRITICAL == This slot-import-target is sending an error to its slot-import-source: '{text}' after \
             processing the command '{command}'"
        );
        if text.starts_with("-OOM") {
            tracing::warn!("Slot migration {} failed due to OOM", describe(&self.server, &self.name));
            return self.happen(ImportEvent::OutOfMemory, ctx);
        }
        self.happen(ImportEvent::CommandFailed, ctx);
    }
}

impl Receive<Finish> for MigrationImport {
    fn receive(&mut self, Finish { failure, done }: Finish, ctx: &mut Context<Self>) {
        self.waiting.push(done);
        let event = match failure {
            None => ImportEvent::FinishedWithSuccess,
            Some(text) => ImportEvent::FinishedWithFailure(text),
        };
        self.happen(event, ctx);
    }
}

impl Receive<LinkLost> for MigrationImport {
    fn receive(&mut self, _: LinkLost, ctx: &mut Context<Self>) {
        if self.link.is_some() {
            tracing::info!("Slot migration {} connection lost", describe(&self.server, &self.name));
            self.happen(ImportEvent::LinkLost, ctx);
        }
    }
}

impl Receive<Tick> for MigrationImport {
    fn receive(&mut self, _: Tick, ctx: &mut Context<Self>) {
        if !self.state.is_finished() {
            self.tick(ctx);
        }
    }
}

impl Receive<ClusterChanged> for MigrationImport {
    fn receive(&mut self, ClusterChanged(change): ClusterChanged, ctx: &mut Context<Self>) {
        match change {
            Change::Ownership if self.state == ImportState::OccurringOnPrimary => {}
            Change::Ownership => {
                let owner = cluster::owner_of_all(&self.server, &self.ranges);
                if owner.is_some() && owner == cluster::myself(&self.server) {
                    self.happen(ImportEvent::AssignedToMyself, ctx);
                } else if owner != self.source {
                    self.happen(ImportEvent::SourceNotOwner, ctx);
                }
            }
            Change::Demoted => self.happen(ImportEvent::Demoted, ctx),
            Change::Promoted => self.happen(ImportEvent::Promoted, ctx),
            Change::NodeFailed(_) => {}
        }
    }
}

impl Receive<Claimed> for MigrationImport {
    fn receive(&mut self, Claimed { result }: Claimed, ctx: &mut Context<Self>) {
        match result {
            Ok(epoch) => {
                tracing::debug!("Slot migration {}: claimed in epoch {epoch}", self.name);
                self.server.migrations.claimed_ms.store(clock::unix_ms() as u64, Ordering::Relaxed);
                self.happen(ImportEvent::Claimed, ctx);
            }
            Err(error) => {
                tracing::warn!("Slot migration {}: {error}", describe(&self.server, &self.name));
                self.happen(ImportEvent::ClaimFailed, ctx);
            }
        }
    }
}

impl Receive<KeysCounted> for MigrationImport {
    fn receive(&mut self, KeysCounted { keys }: KeysCounted, _: &mut Context<Self>) {
        // What is being deleted was received all the same.
        if !matches!(self.state, ImportState::CleaningUp(_) | ImportState::Failed(_)) {
            self.figures.keys_received = keys;
            self.show_figures();
        }
    }
}

impl Receive<SlotsShown> for MigrationImport {
    fn receive(&mut self, _: SlotsShown, ctx: &mut Context<Self>) {
        if self.state.is_finished() {
            self.server.migrations.ended(&self.server, &self.name);
            cluster::count_jobs(&self.server);
            ctx.stop();
        }
    }
}

impl Receive<DataReplaced> for MigrationImport {
    fn receive(&mut self, DataReplaced { full_sync, done }: DataReplaced, ctx: &mut Context<Self>) {
        self.waiting.push(done);
        self.happen(if full_sync { ImportEvent::FullSync } else { ImportEvent::Loading }, ctx);
    }
}
