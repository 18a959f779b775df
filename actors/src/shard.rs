//! A shard: owner of the keys of its slots.
//!
//! ```text
//!            ExecuteBatch             own keys            BatchExecuted
//! Connection ------------> [ Shard ] ---------> run -----------------> Connection
//!                              |  keys of one other shard: ExecuteBatch goes there
//!                              |  keys of several shards: a unit
//!                              v
//!          Reserve to all of them --> Granted (slot tables move here) --> run --> Return
//! ```
//!
//! Invariant: the keys of a slot are in this shard's keyspace or in the one unit that reserved the slot.
//! Invariant: `Append` leaves before the replies of the batch that caused it.
//! Invariant: batches that touch reserved slots wait, in order of arrival; no other batch does.

mod exports;
mod held_back;
pub mod migration;
mod moving;
mod names;
mod purge;
mod room;
mod scripts;
mod serving;
pub mod tracked;
mod units;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::spec::{READONLY, WRITE};
use skuld::keyspace::{Database, Keyspace, Part};
use skuld::slot::Slot;

use crate::append_only;
use crate::batch::{Batch, Stop};
use crate::clock::{self, Tick};
use crate::connection::BatchExecuted;
use crate::continue_later::continue_later;
use crate::envelope::{
    ActorId, ActorKind, Receive, Traceable, Traced, TracedActor, measure, next_actor, tell,
};
use crate::executor::admission::may_need_memory;
use crate::executor::{Calm, Executor, RanCalmly, Resolved};
use crate::expiry_scanner::{DeadlineArmed, ScannedExpired};
use crate::names::NamesJob;
use crate::reaper::{self, Reaped};
use crate::replication::Replication;
use crate::replication_log::Append;
use crate::routing::{self, Route};
use crate::server::ServerRef;
use crate::server_commands::debug_keys::{KeysAnswer, KeysJob, run_on_shard};
use crate::stats::CommandStats;

use exports::ShardExports;
pub use exports::{ContinueExports, KeepExporting, ResumeExports, RunOverAll, StartWalk, Task};
pub use held_back::PauseOver;
use migration::{ContinueMigrations, MigrationOrder, ShardMigrations};
pub use moving::{DumpedKey, MoveKeys, MoveStep};
use names::PendingNames;
pub use names::{CollectNames, ContinueNames, NamesCollected};
use purge::{ContinuePurge, Purge};
pub use purge::{CountSlotKeys, DeleteSlots};
pub use room::EvictSome;
use room::Room;
use scripts::Suspended;
pub use scripts::{ContinueScripts, ScriptTimedOut, UnitRefused};
pub use serving::EndWaits;
pub use tracked::{ForgetTracked, RememberDeadlines};
use units::PendingUnit;
pub use units::{Granted, Reserve, Return, Slots, UnitId};

/// Longest a batch runs before other tasks of the arbiter get a turn, microseconds.
const SLICE_US_MAX: u64 = 100;

/// Execute a client's commands and send the batch back.
pub struct ExecuteBatch(pub Box<Batch>);

/// Go on with batches that used up their slice.
pub struct ContinueBatches;

/// Remove keys whose deadline has passed, within the budget.
pub struct ScanExpired {
    /// Longest time to spend, microseconds.
    pub budget_us: u64,
    pub reply: Addr<crate::expiry_scanner::ExpiryScanner>,
}

/// Do something beside the clients' commands, and say when it is done.
pub struct Control {
    pub what: Controlled,
    pub done: tokio::sync::oneshot::Sender<()>,
}

/// What a shard is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Controlled {
    /// Reset this shard's counters (CONFIG RESETSTAT).
    ResetCounters,
    /// Block the thread (DEBUG SLEEP).
    Sleep(std::time::Duration),
    /// Confirm that what runs from now on heeds the flags of [`crate::replication::Replication`].
    ConfirmFlags,
    /// Confirm that no command that the pause holds back is running here.
    ConfirmPause,
    /// The pause is over: go on with the batches it held back.
    EndPause,
}

/// Look at or make keys for DEBUG.
pub struct DebugKeys {
    pub job: KeysJob,
    pub reply: tokio::sync::oneshot::Sender<KeysAnswer>,
}

/// Ask what INFO and others show about this shard.
pub struct DescribeShard {
    pub reply: tokio::sync::oneshot::Sender<ShardDescription>,
}

/// Figures of one database of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatabaseFigures {
    pub keys: u64,
    pub expires: u64,
    /// Average time to live, milliseconds.
    pub avg_ttl: i64,
    /// Keys whose items have deadlines of their own.
    pub volatile_items: u64,
    /// Bytes of slot tables without entries.
    pub table_bytes: u64,
}

/// Figures of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardDescription {
    pub index: u16,
    pub databases: Vec<DatabaseFigures>,
    /// Bytes of slot tables without entries.
    pub table_bytes: u64,
    pub wheel_items: u64,
    /// Batches taken from the mailbox and not run yet, and those that used up their slice.
    pub arrived: u64,
    pub preempted: u64,
    pub parked: u64,
    /// Batches that CLIENT PAUSE holds back.
    pub paused: u64,
    pub units: u64,
}

/// Run the batches that arrived since the last one.
struct RunArrived;

crate::receives!(Shard:
    Reserve = 1,
    Granted = 2,
    Return = 3,
    ContinueBatches = 4,
    ScanExpired = 5,
    DescribeShard = 6,
    Reaped = 7,
    NamesCollected = 8,
    ContinueNames = 9,
    RunArrived = 10,
    Control = 11,
    PauseOver = 12,
    DebugKeys = 13,
    EvictSome = 14,
    EndWaits = 15,
    ContinueScripts = 16,
    ScriptTimedOut = 17,
    UnitRefused = 18,
    RunOverAll = 24,
    StartWalk = 25,
    ContinueExports = 26,
    ResumeExports = 27,
    KeepExporting = 28,
    MigrationOrder = 22,
    ContinueMigrations = 23,
    DeleteSlots = 40,
    ContinuePurge = 41,
    CountSlotKeys = 42,
    MoveKeys = 43,
    RememberDeadlines = 32,
    ForgetTracked = 33,
);

impl Traceable for ExecuteBatch {
    const NAME: &'static str = "ExecuteBatch";
    const INDEX: usize = 0;
}

/// Batches are not run as they are taken from the mailbox, but once it is empty: then the keys of all that arrived
/// are loaded together, and their waits for memory overlap even if each client sent a single command.
impl Handler<Traced<ExecuteBatch>> for Shard {
    type Result = ();

    fn handle(&mut self, traced: Traced<ExecuteBatch>, ctx: &mut Context<Self>) {
        self.arrived.push(traced);
        if self.arrived.len() == 1 {
            // Actix polls what was notified after the mailbox.
            ctx.notify(Traced { message: RunArrived, meta: crate::envelope::current_meta() });
        }
    }
}

/// The actor.
pub struct Shard {
    id: ActorId,
    index: u16,
    server: ServerRef,
    executor: Box<Executor>,
    keyspace: Box<Keyspace>,
    /// Commands that run scripts and have handed the thread back.
    suspended: Vec<Suspended>,
    /// What units hold of this shard's slots.
    held: Vec<(UnitId, Slots)>,
    /// Reservations not granted yet, in the order all shards see.
    waiting: VecDeque<Reserve>,
    /// Units coordinated here.
    units: HashMap<UnitId, PendingUnit>,
    next_unit: u64,
    /// Slots on which nobody else's command runs until these units, which serve blocked clients, hold them.
    promised: Vec<(UnitId, Slot)>,
    /// When the timer goes off that ends waits (Unix milliseconds), and the timer.
    waits_end_at: Option<i64>,
    waits_timer: Option<SpawnHandle>,
    /// Slots whose keys are being deleted.
    purges: VecDeque<Purge>,
    /// Batches whose next command needs reserved slots.
    parked: VecDeque<Box<Batch>>,
    /// Batches held back by CLIENT PAUSE, and who waits for units to end because of it.
    paused: VecDeque<Box<Batch>>,
    confirmations: Vec<tokio::sync::oneshot::Sender<()>>,
    /// DEBUG's looks at keys, waiting until no unit holds any.
    waiting_debug: Vec<DebugKeys>,
    /// Batches that used up their slice.
    preempted: VecDeque<Box<Batch>>,
    /// Batches whose next command waits for memory that is being freed.
    waiting_for_room: VecDeque<Box<Batch>>,
    /// The scanner looks at this shard no later than this, Unix milliseconds.
    alarm_ms: i64,
    /// Batches waiting for the reaper to finish what they dropped (FLUSHALL SYNC).
    awaiting_reaper: HashMap<u64, Box<Batch>>,
    next_reap: u64,
    /// The table's KEYS, which is collected in slices.
    keys_command: Option<u16>,
    /// Names this shard is collecting.
    collecting: Vec<(CollectNames, NamesJob)>,
    /// KEYS commands this shard answers.
    pending_names: HashMap<u64, PendingNames>,
    next_names: u64,
    /// Keys that a writable replica expires itself.
    tracked: skuld::expiry::tracked::TrackedKeys,
    /// Batches taken from the mailbox and not run yet.
    arrived: Vec<Traced<ExecuteBatch>>,
    exports: ShardExports,
    running: Vec<Traced<ExecuteBatch>>,
    migrations: ShardMigrations,
}

impl Shard {
    pub fn new(index: u16, server: ServerRef, commands: Arc<[CommandStats]>, seed: u64) -> Self {
        let workers = server.workers;
        Self {
            id: next_actor(ActorKind::Shard),
            index,
            executor: Box::new(Executor::new(server.clone(), commands, seed)),
            server,
            keyspace: Box::new(Keyspace::of_shard(Part::new(index, workers))),
            suspended: Vec::new(),
            held: Vec::new(),
            waiting: VecDeque::new(),
            units: HashMap::new(),
            next_unit: 0,
            promised: Vec::new(),
            waits_end_at: None,
            waits_timer: None,
            purges: VecDeque::new(),
            parked: VecDeque::new(),
            paused: VecDeque::new(),
            confirmations: Vec::new(),
            waiting_debug: Vec::new(),
            preempted: VecDeque::new(),
            waiting_for_room: VecDeque::new(),
            alarm_ms: i64::MAX,
            awaiting_reaper: HashMap::new(),
            next_reap: 0,
            keys_command: skuld::commands::table().lookup(b"keys").map(|c| c.id),
            collecting: Vec::new(),
            pending_names: HashMap::new(),
            next_names: 0,
            tracked: Default::default(),
            arrived: Vec::new(),
            exports: ShardExports::default(),
            running: Vec::new(),
            migrations: ShardMigrations::default(),
        }
    }

    fn finish(&mut self, mut batch: Box<Batch>, stop: Stop) {
        let most = &self.server.stats.batch_commands_max;
        if u64::from(batch.commands_run) > most.load(std::sync::atomic::Ordering::Relaxed) {
            most.fetch_max(u64::from(batch.commands_run), std::sync::atomic::Ordering::Relaxed);
        }
        batch.publish();
        self.executor.take_window(&mut batch);
        self.perform_effects();
        if self.executor.effects.listening.propagation {
            let only_reads = batch.plain_reads > 0 && batch.reported + batch.plain_reads == batch.next;
            let seen = if only_reads { batch.shown } else { self.server.replication.issued() };
            batch.appended = batch.appended.max(seen);
        }
        (batch.reported, batch.shown, batch.plain_reads) = (batch.next, 0, 0);
        if batch.session.close_after_reply {
            batch.next = batch.requests.len();
        }
        if let Some(feeder) = &batch.feeder {
            let feeder = feeder.clone();
            return feeder.do_send(Traced {
                message: BatchExecuted { batch, stop },
                meta: crate::envelope::current_meta(),
            });
        }
        let connection = batch.connection.clone();
        tell(&connection, BatchExecuted { batch, stop });
    }

    /// Runs a batch until it is done, must go elsewhere, or has used up its slice.
    fn advance(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        self.executor.refresh();
        let started = clock::tick();
        let mut at = started;
        self.executor.prefetch(&self.keyspace, &mut batch);
        let mut calm = self.is_calm(&batch);
        loop {
            if batch.shared.killed.load(std::sync::atomic::Ordering::Relaxed) {
                return self.finish(batch, Stop::Killed);
            }
            if batch.next == batch.requests.len() || batch.session.close_after_reply {
                return self.finish(batch, Stop::Done);
            }
            let takes_turns = batch.session.subscriptions > 0 || batch.session.tracking.on;
            if takes_turns && !(batch.output.is_empty() && batch.finished.is_empty()) {
                return self.finish(batch, Stop::Turn);
            }
            if self.waits_for_tables(&batch) {
                self.perform_effects();
                return self.parked.push_back(batch);
            }
            if clock::micros_between(started, at) > SLICE_US_MAX && at != started {
                self.perform_effects();
                self.preempted.push_back(batch);
                return continue_later(self, ContinueBatches, ctx);
            }
            if !batch.is_in_window() {
                self.executor.prefetch(&self.keyspace, &mut batch);
            }
            let room = if self.executor.minds_memory() { self.make_room(ctx) } else { Room::Enough };
            self.executor.out_of_memory = room == Room::None;
            // Serving those who waited for the last command may have begun a unit.
            if let Some(calm) = calm.filter(|_| self.held.is_empty() && self.promised.is_empty())
                && room == Room::Enough
            {
                match self.executor.run_calmly(&mut self.keyspace, &mut batch, calm, at) {
                    RanCalmly::Yes(command, end) => {
                        at = end;
                        if self.is_too_much_after(&mut batch, command, at, ctx) {
                            return self.finish(batch, Stop::Done);
                        }
                        continue;
                    }
                    RanCalmly::Elsewhere(slot) => {
                        self.perform_effects();
                        let home = slot.0 % self.server.workers;
                        return tell(self.server.shard(home), ExecuteBatch(batch));
                    }
                    RanCalmly::No => {}
                }
            }
            if self.executor.cluster.has_open_slots()
                && let Some(slot) = crate::gate::cluster::slot_of_next(&self.server, &batch)
            {
                // Whether it runs here depends on which keys are there.
                let home = slot.0 % self.server.workers;
                if home != self.index {
                    self.perform_effects();
                    return tell(self.server.shard(home), ExecuteBatch(batch));
                }
                if self.held.iter().any(|(_, held)| held.contains_any(&[slot])) {
                    self.perform_effects();
                    return self.parked.push_back(batch);
                }
            }
            let command = match self.executor.resolve(&self.keyspace, &mut batch) {
                Resolved::Run(command) | Resolved::Server(command)
                    if batch.session.origin.is_client()
                        && self.server.pause.holds(|| self.may_write(&batch, command)) =>
                {
                    return self.hold_back(batch, ctx);
                }
                Resolved::Run(command)
                    if room == Room::Soon
                        && batch.session.origin.obeys_memory_limit()
                        && may_need_memory(command, &batch.transaction) =>
                {
                    return self.wait_for_room(batch, ctx);
                }
                Resolved::Run(command) => command,
                Resolved::Server(command) if !self.executor.import_admits_server(&mut batch, command) => {
                    batch.next += 1;
                    continue;
                }
                Resolved::Server(_) => return self.finish(batch, Stop::NeedsServer),
                Resolved::Refused => {
                    batch.next += 1;
                    at = clock::tick();
                    continue;
                }
            };
            if self.server.workers > 1 {
                let workers = self.server.workers;
                let route = match routing::route(command, &batch, workers, &self.server.scripts) {
                    // What monitors were shown cannot be begun again.
                    Route::Script(_) if self.executor.monitoring => Route::All,
                    route => route,
                };
                let is_script = matches!(route, Route::Script(_));
                match route {
                    Route::Anywhere => {}
                    Route::Slots(slots) | Route::Script(slots) => {
                        let home = slots.first().map_or(self.index, |slot| slot.0 % workers);
                        if slots.iter().any(|slot| slot.0 % workers != home) {
                            let needed = if is_script { Slots::All } else { Slots::Some(slots.into_vec()) };
                            return self.start_unit(batch, command, needed, ctx);
                        }
                        if home != self.index {
                            self.perform_effects();
                            return tell(self.server.shard(home), ExecuteBatch(batch));
                        }
                        if self.held.iter().any(|(_, held)| held.contains_any(&slots))
                            || self.promised.iter().any(|(_, slot)| slots.contains(slot))
                        {
                            if self.refuse_if_busy(&mut batch, command, &Slots::Some(slots.into_vec())) {
                                continue;
                            }
                            self.perform_effects();
                            return self.parked.push_back(batch);
                        }
                        if is_script {
                            self.executor.scripting.confined = Some(slots.into_vec());
                        }
                    }
                    Route::Shard(home) => {
                        if home != self.index {
                            self.perform_effects();
                            return tell(self.server.shard(home), ExecuteBatch(batch));
                        }
                        if !self.held.is_empty() || !self.promised.is_empty() {
                            if self.refuse_if_busy(&mut batch, command, &Slots::All) {
                                continue;
                            }
                            self.perform_effects();
                            return self.parked.push_back(batch);
                        }
                    }
                    Route::All => return self.start_unit(batch, command, Slots::All, ctx),
                }
            }
            if self.executor.migrating {
                if self.waits_for_migration(&batch, command) {
                    return self.wait_for_migration(batch);
                }
                self.settle_purges(&batch, command);
            }
            if Some(command.id) == self.keys_command {
                return self.start_names(batch, command, ctx);
            }
            if !self.collecting.is_empty()
                && (command.flags.has(WRITE)
                    || command.name == "exec"
                    || crate::scripting::runs_code(command))
                && !self.visit_before(&batch, command)
            {
                self.perform_effects();
                return self.parked.push_back(batch);
            }
            if self.must_wait_for_export(&batch, command)
                || self.must_wait_for_large_value(&batch, command, ctx)
            {
                self.perform_effects();
                return self.parked.push_back(batch);
            }
            if batch.import.is_some() && !self.executor.import_admits(&mut batch, command) {
                batch.next += 1;
                continue;
            }
            if crate::scripting::may_run_code(command, &batch.transaction) {
                match self.run_script(batch, command, at, ctx) {
                    Some((back, ended)) => (batch, at) = (back, ended),
                    None => return,
                }
            } else {
                at = self.executor.run(&mut self.keyspace, &mut batch, command, at);
            }
            if let Some(wait) = self.executor.effects.wait.take() {
                crate::envelope::set_recent(at);
                return self.block(batch, wait, ctx);
            }
            if self.is_too_much_after(&mut batch, command, at, ctx) {
                return self.finish(batch, Stop::Done);
            }
            if batch.session.await_reaper {
                batch.session.await_reaper = false;
                return self.await_reaper(batch, ctx);
            }
            if calm.is_none() || !command.flags.has_any(READONLY | WRITE) {
                calm = self.is_calm(&batch);
            }
        }
    }

    /// What plain commands of this batch need, if nothing is going on (`executor/calm.rs`).
    fn is_calm(&self, batch: &Batch) -> Option<Calm> {
        if self.collecting.is_empty() { self.executor.is_calm(batch) } else { None }
    }

    /// A command has run, until `at`: the next may follow, and those who waited for what it did are served. True if the
    /// client has more replies waiting than it may: the connection finds the same and closes, and the rest of the
    /// pipeline is not run.
    #[inline]
    fn is_too_much_after(
        &mut self,
        batch: &mut Batch,
        command: &'static Command,
        at: Tick,
        ctx: &mut Context<Self>,
    ) -> bool {
        crate::envelope::set_recent(at);
        self.note_what_is_shown(batch, command);
        batch.next += 1;
        if !self.executor.effects.ready.is_empty() {
            self.serve_ready(None, ctx);
        }
        batch.output_is_too_much(&self.executor.config)
    }

    /// With `appendfsync always`, what the reply to the command that has just run must wait for, if that can be told.
    #[inline]
    pub(super) fn note_what_is_shown(&self, batch: &mut Batch, command: &'static Command) {
        let aof = &self.server.persistence.aof;
        // What a replica executes is numbered as it comes.
        if !aof.is_always() || self.executor.is_replica {
            return;
        }
        if let Some(sequence) = append_only::shown_by(&aof.recent, command, batch, &self.server.scripts) {
            batch.shown = batch.shown.max(sequence);
            batch.plain_reads += 1;
        }
    }

    fn retry_parked(&mut self, ctx: &mut Context<Self>) {
        self.run_waiting_tasks(ctx);
        for batch in std::mem::take(&mut self.parked) {
            self.advance(batch, ctx);
        }
    }

    /// Sends what commands dropped to the reaper and keeps the batch until it is freed.
    fn await_reaper(&mut self, batch: Box<Batch>, ctx: &mut Context<Self>) {
        self.next_reap += 1;
        let ticket = self.next_reap;
        self.awaiting_reaper.insert(ticket, batch);
        let garbage = std::mem::take(&mut self.executor.effects.garbage);
        self.perform_effects();
        reaper::give(&self.server, garbage, Some((ctx.address(), ticket)));
    }

    /// Does what the commands run so far recorded: log, counters, garbage.
    fn perform_effects(&mut self) {
        self.tell_deadline();
        let effects = &mut self.executor.effects;
        let stats = &self.server.stats;
        let counters = std::mem::take(&mut effects.counters);
        for (counter, by) in [
            (&stats.keyspace_hits, counters.keyspace_hits),
            (&stats.keyspace_misses, counters.keyspace_misses),
            (&stats.expired_keys, counters.expired_keys),
            (&stats.expired_fields, counters.expired_fields),
            (&stats.evicted_keys, counters.evicted_keys),
        ] {
            if by > 0 {
                counter.fetch_add(by, std::sync::atomic::Ordering::Relaxed);
            }
        }
        if effects.dirty > 0 {
            self.server.dirty.fetch_add(effects.dirty, std::sync::atomic::Ordering::Relaxed);
            effects.dirty = 0;
        }
        if std::mem::take(&mut self.executor.flushed_all) {
            let freeing = skuld::effects::Freeing::counted_if(
                !self.executor.effects.garbage.iter().any(skuld::effects::Garbage::is_uncounted),
            );
            tracked::forget_everywhere(&self.server, freeing);
        }
        let effects = &mut self.executor.effects;
        if effects.is_quiet() {
            return;
        }
        if !effects.deadlines.is_empty() {
            self.track_deadlines();
        }
        let effects = &mut self.executor.effects;
        for (lane, chunk) in effects.exports.drain() {
            self.server.exports.send(lane, chunk);
        }
        if self.executor.exporting || self.executor.exporting_elsewhere {
            self.forward_effects();
        }
        let effects = &mut self.executor.effects;
        if !effects.propagation.is_empty() || !effects.events.is_empty() {
            let propagation = std::mem::take(&mut effects.propagation);
            let events = std::mem::take(&mut effects.events);
            self.server.subscriptions.publish_events(self.executor.config.notify_keyspace_events.0, &events);
            if Replication::records_effects(self.server.replication.flags()) {
                let sequence = self.server.replication.issue();
                if self.server.persistence.aof.is_always() {
                    self.server.persistence.aof.recent.note(sequence, &propagation);
                }
                tell(self.server.replication_log(), Append { sequence, propagation, events });
            }
        }
        self.server.watches.tell(&effects.modified);
        if self.server.tracking.any() {
            self.server.tracking.invalidate(&self.server.clients, &effects.modified);
        }
        effects.modified.clear();
        effects.databases.clear();
        if !effects.garbage.is_empty() {
            let garbage = std::mem::take(&mut effects.garbage);
            reaper::give(&self.server, garbage, None);
        }
    }

    /// Tells the scanner of a deadline that it would sleep over.
    #[inline]
    fn tell_deadline(&mut self) {
        let wheel = self.keyspace.parts_mut()[0].wheel_mut();
        // Forgetting stale deadlines is the scan's business, too, and should not wait for the next one.
        let deadline = if wheel.wants_sweep() { Some(i64::MIN + 1) } else { wheel.armed() };
        let Some(deadline) = deadline else { return };
        // While the server starts there is no scanner; it looks at every shard when it begins.
        let Some(scanner) = self.server.expiry_scanner.get() else { return };
        wheel.forget_armed();
        if deadline < self.alarm_ms {
            self.alarm_ms = deadline;
            tell(scanner, DeadlineArmed { shard: self.index, deadline });
        }
    }

    fn describe(&mut self) -> ShardDescription {
        ShardDescription {
            index: self.index,
            arrived: self.arrived.len() as u64,
            preempted: self.preempted.len() as u64,
            parked: self.parked.len() as u64,
            paused: self.paused.len() as u64,
            units: self.units.len() as u64,
            ..self.executor.describe(&self.keyspace.parts()[0])
        }
    }
}

impl ShardDescription {
    /// What a shard's tables tell by themselves; `average_ttl` knows that of a database.
    pub fn of_part(part: &Part, mut average_ttl: impl FnMut(&Database) -> i64) -> Self {
        Self {
            index: part.index(),
            databases: (0..part.databases())
                .map(|db| {
                    part.database(db).map_or_else(DatabaseFigures::default, |d| DatabaseFigures {
                        keys: d.keys(),
                        expires: d.expires(),
                        avg_ttl: average_ttl(d),
                        volatile_items: d.volatile(),
                        table_bytes: d.table_bytes() as u64,
                    })
                })
                .collect(),
            table_bytes: (0..part.databases())
                .filter_map(|db| part.database(db))
                .map(|d| d.table_bytes() as u64)
                .sum(),
            wheel_items: part.wheel().len() as u64,
            ..Self::default()
        }
    }
}

impl Actor for Shard {
    type Context = Context<Self>;
}

impl TracedActor for Shard {
    const KIND: ActorKind = ActorKind::Shard;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<RunArrived> for Shard {
    fn receive(&mut self, _: RunArrived, ctx: &mut Context<Self>) {
        let mut batches = std::mem::replace(&mut self.arrived, std::mem::take(&mut self.running));
        self.executor.prefetch_first(&self.keyspace, batches.iter_mut().map(|t| &mut *t.message.0));
        for traced in batches.drain(..) {
            measure(self, traced, ctx);
        }
        self.running = batches;
    }
}

impl Receive<ExecuteBatch> for Shard {
    fn receive(&mut self, ExecuteBatch(batch): ExecuteBatch, ctx: &mut Context<Self>) {
        self.advance(batch, ctx);
    }
}

impl Receive<ContinueBatches> for Shard {
    fn receive(&mut self, _: ContinueBatches, ctx: &mut Context<Self>) {
        if let Some(batch) = self.preempted.pop_front() {
            self.advance(batch, ctx);
        }
    }
}

impl Receive<Reaped> for Shard {
    fn receive(&mut self, Reaped { ticket }: Reaped, ctx: &mut Context<Self>) {
        if let Some(batch) = self.awaiting_reaper.remove(&ticket) {
            self.advance(batch, ctx);
        }
    }
}

impl Receive<ScanExpired> for Shard {
    fn receive(&mut self, ScanExpired { budget_us, reply }: ScanExpired, ctx: &mut Context<Self>) {
        let start = clock::tick();
        self.executor.refresh();
        let within = |at: Tick| clock::micros_between(start, at) < budget_us;
        let scanned = if self.executor.is_replica {
            self.scan_tracked(within)
        } else {
            let held = &self.held;
            let frozen = |slot| self.migrations.is_frozen(slot);
            let is_held = |slot| frozen(slot) || held.iter().any(|(_, slots)| slots.contains_any(&[slot]));
            self.executor.scan_expired(&mut self.keyspace, is_held, within)
        };
        self.serve_ready(None, ctx);
        // What has lost its deadline is found by looking around; and the role may change.
        let look_ms = clock::unix_ms() + if self.tracked.is_empty() { 1000 } else { 100 };
        let tracked_deadline = Some(self.tracked.next_deadline().unwrap_or(look_ms).min(look_ms));
        let is_replica = self.executor.is_replica;
        let wheel = self.keyspace.parts_mut()[0].wheel_mut();
        let next_deadline = if is_replica { tracked_deadline } else { wheel.next_deadline_hint() };
        wheel.forget_armed();
        self.alarm_ms = if scanned.more_due { i64::MIN } else { next_deadline.unwrap_or(i64::MAX) };
        self.perform_effects();
        tell(
            &reply,
            ScannedExpired {
                shard: self.index,
                removed: scanned.removed,
                more_due: scanned.more_due,
                some_held: scanned.some_held,
                next_deadline,
                spent_us: clock::micros_between(start, clock::tick()),
            },
        );
    }
}

impl Receive<Control> for Shard {
    fn receive(&mut self, Control { what, done }: Control, ctx: &mut Context<Self>) {
        match what {
            Controlled::ResetCounters => self.executor.commands.iter().for_each(CommandStats::reset),
            Controlled::Sleep(time) => std::thread::sleep(time),
            Controlled::ConfirmFlags => {}
            Controlled::ConfirmPause if self.units.is_empty() && self.suspended.is_empty() => {}
            Controlled::ConfirmPause => return self.confirmations.push(done),
            Controlled::EndPause => self.end_pause(ctx),
        }
        // Who asked may have gone.
        let _ = done.send(());
    }
}

impl Receive<DebugKeys> for Shard {
    fn receive(&mut self, job: DebugKeys, ctx: &mut Context<Self>) {
        if !self.held.is_empty() {
            return self.waiting_debug.push(job);
        }
        self.executor.refresh();
        let workers = self.server.workers;
        let index = self.index;
        let answer = self
            .executor
            .with_access(&mut self.keyspace, |access| run_on_shard(&job.job, access, index, workers));
        self.serve_ready(None, ctx);
        self.perform_effects();
        // Who asked may have gone.
        let _ = job.reply.send(answer);
    }
}

impl Receive<DescribeShard> for Shard {
    fn receive(&mut self, DescribeShard { reply }: DescribeShard, _: &mut Context<Self>) {
        // The asker may have gone; then nobody wants the answer.
        let _ = reply.send(self.describe());
    }
}
