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

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::spec::WRITE;
use skuld::config::MaxmemoryPolicy;
use skuld::keyspace::{Keyspace, Part, Treatment};
use skuld::slot::Slot;

use crate::batch::{Batch, Stop};
use crate::clock::{self, Tick};
use crate::connection::BatchExecuted;
use crate::continue_later::continue_later;
use crate::envelope::{
    ActorId, ActorKind, Receive, Traceable, Traced, TracedActor, measure, next_actor, tell,
};
use crate::executor::{Executor, Resolved};
use crate::memory;
use crate::names::{NamesJob, NamesWanted};
use crate::reaper::{Reap, Reaped};
use crate::replication_log::Append;
use crate::routing::{self, Route};
use crate::server::ServerRef;
use crate::server_commands::debug_keys::{KeysAnswer, KeysJob, run_on_shard};
use crate::stats::CommandStats;

/// Longest a batch runs before other tasks of the arbiter get a turn, microseconds.
const SLICE_US_MAX: u64 = 100;

/// Execute a client's commands and send the batch back.
pub struct ExecuteBatch(pub Box<Batch>);

/// Move these slots' tables out to a unit as soon as no earlier unit holds any of them.
pub struct Reserve {
    pub unit: UnitId,
    pub slots: Slots,
    pub coordinator: Addr<Shard>,
}

/// The tables a unit asked one shard for.
pub struct Granted {
    pub unit: UnitId,
    pub part: Part,
}

/// The tables come back.
pub struct Return {
    pub unit: UnitId,
    pub part: Part,
    /// The unit was the cut of a KEYS: collect the names as they are now.
    pub names: Option<CollectNames>,
}

/// Whom to send the names of a KEYS, and which.
#[derive(Clone)]
pub struct CollectNames {
    pub coordinator: Addr<Shard>,
    pub ticket: u64,
    pub wanted: NamesWanted,
}

/// One shard's names, encoded as bulk strings, in chunks.
pub struct NamesCollected {
    pub ticket: u64,
    pub names: Vec<Vec<u8>>,
    pub count: usize,
}

/// Go on collecting names.
pub struct ContinueNames;

/// Go on with batches that used up their slice.
pub struct ContinueBatches;

/// Remove keys whose deadline has passed, within the budget.
pub struct ScanExpired {
    /// Longest time to spend, microseconds.
    pub budget_us: u64,
    pub reply: Addr<crate::expiry_scanner::ExpiryScanner>,
}

/// Evict keys while memory is full.
pub struct EvictSome;

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

/// The pause's time is over.
pub struct PauseOver;

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

/// Names a unit within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(u64);

/// The slots a unit needs of one shard.
#[derive(Clone, Debug)]
pub enum Slots {
    All,
    Some(Vec<Slot>),
}

impl Slots {
    fn overlaps(&self, other: &Slots) -> bool {
        match (self, other) {
            (Slots::All, _) | (_, Slots::All) => true,
            (Slots::Some(a), Slots::Some(b)) => a.iter().any(|s| b.contains(s)),
        }
    }

    fn contains_any(&self, slots: &[Slot]) -> bool {
        match self {
            Slots::All => true,
            Slots::Some(own) => slots.iter().any(|s| own.contains(s)),
        }
    }
}

/// A unit this shard coordinates, until all its tables are here.
struct PendingUnit {
    batch: Box<Batch>,
    command: &'static Command,
    parts: Vec<Option<Part>>,
    missing: usize,
}

/// A KEYS whose names are being collected.
struct PendingNames {
    batch: Box<Batch>,
    command: &'static Command,
    names: Vec<Vec<u8>>,
    count: usize,
    missing: usize,
}

/// The actor.
pub struct Shard {
    id: ActorId,
    index: u16,
    server: ServerRef,
    executor: Executor,
    keyspace: Keyspace,
    /// What units hold of this shard's slots.
    held: Vec<(UnitId, Slots)>,
    /// Reservations not granted yet, in the order all shards see.
    waiting: VecDeque<Reserve>,
    /// Units coordinated here.
    units: HashMap<UnitId, PendingUnit>,
    next_unit: u64,
    /// Batches whose next command needs reserved slots.
    parked: VecDeque<Box<Batch>>,
    /// Batches held back by CLIENT PAUSE, and who waits for units to end because of it.
    paused: VecDeque<Box<Batch>>,
    confirmations: Vec<tokio::sync::oneshot::Sender<()>>,
    /// DEBUG's looks at keys, waiting until no unit holds any.
    waiting_debug: Vec<DebugKeys>,
    /// Batches that used up their slice.
    preempted: VecDeque<Box<Batch>>,
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
    /// Batches taken from the mailbox and not run yet.
    arrived: Vec<Traced<ExecuteBatch>>,
    running: Vec<Traced<ExecuteBatch>>,
}

impl Shard {
    pub fn new(index: u16, server: ServerRef, commands: Arc<[CommandStats]>, seed: u64) -> Self {
        let workers = server.workers;
        Self {
            id: next_actor(ActorKind::Shard),
            index,
            executor: Executor::new(server.clone(), commands, seed),
            server,
            keyspace: Keyspace::of_shard(Part::new(index, workers)),
            held: Vec::new(),
            waiting: VecDeque::new(),
            units: HashMap::new(),
            next_unit: 0,
            parked: VecDeque::new(),
            paused: VecDeque::new(),
            confirmations: Vec::new(),
            waiting_debug: Vec::new(),
            preempted: VecDeque::new(),
            awaiting_reaper: HashMap::new(),
            next_reap: 0,
            keys_command: skuld::commands::table().lookup(b"keys").map(|c| c.id),
            collecting: Vec::new(),
            pending_names: HashMap::new(),
            next_names: 0,
            arrived: Vec::new(),
            running: Vec::new(),
        }
    }

    fn finish(&mut self, mut batch: Box<Batch>, stop: Stop) {
        batch.publish();
        self.perform_effects();
        let connection = batch.connection.clone();
        if batch.session.close_after_reply {
            batch.next = batch.requests.len();
        }
        tell(&connection, BatchExecuted { batch, stop });
    }

    /// Runs a batch until it is done, must go elsewhere, or has used up its slice.
    fn advance(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        self.executor.refresh();
        let started = clock::tick();
        let mut at = started;
        self.executor.prefetch(&self.keyspace, &batch);
        loop {
            if batch.shared.killed.load(std::sync::atomic::Ordering::Relaxed) {
                return self.finish(batch, Stop::Killed);
            }
            if batch.next == batch.requests.len() || batch.session.close_after_reply {
                return self.finish(batch, Stop::Done);
            }
            if batch.session.subscriptions > 0 && !(batch.output.is_empty() && batch.finished.is_empty()) {
                return self.finish(batch, Stop::Turn);
            }
            if clock::micros_between(started, at) > SLICE_US_MAX && at != started {
                self.perform_effects();
                self.preempted.push_back(batch);
                return continue_later(self, ContinueBatches, ctx);
            }
            if self.executor.wants_prefetch(&batch) {
                self.executor.prefetch(&self.keyspace, &batch);
            }
            self.executor.out_of_memory = self.executor.config.maxmemory != 0 && self.lacks_memory(ctx);
            let command = match self.executor.resolve(&mut batch) {
                Resolved::Run(command) | Resolved::Server(command) if self.server.pause.holds(command) => {
                    return self.hold_back(batch, ctx);
                }
                Resolved::Run(command) => command,
                Resolved::Server(_) => return self.finish(batch, Stop::NeedsServer),
                Resolved::Refused => {
                    batch.next += 1;
                    at = clock::tick();
                    continue;
                }
            };
            if self.server.workers > 1 {
                match routing::route(command, &batch, self.server.workers) {
                    Route::Anywhere => {}
                    Route::Slots(slots) => {
                        let home = slots[0].0 % self.server.workers;
                        if !slots.iter().all(|s| s.0 % self.server.workers == home) {
                            return self.start_unit(batch, command, Slots::Some(slots), ctx);
                        }
                        if home != self.index {
                            self.perform_effects();
                            return tell(self.server.shard(home), ExecuteBatch(batch));
                        }
                        if self.held.iter().any(|(_, held)| held.contains_any(&slots)) {
                            self.perform_effects();
                            return self.parked.push_back(batch);
                        }
                    }
                    Route::Shard(home) => {
                        if home != self.index {
                            self.perform_effects();
                            return tell(self.server.shard(home), ExecuteBatch(batch));
                        }
                        if !self.held.is_empty() {
                            self.perform_effects();
                            return self.parked.push_back(batch);
                        }
                    }
                    Route::All => return self.start_unit(batch, command, Slots::All, ctx),
                }
            }
            if Some(command.id) == self.keys_command {
                return self.start_names(batch, command, ctx);
            }
            if !self.collecting.is_empty()
                && (command.flags.has(WRITE) || command.name == "exec")
                && !self.visit_before(&batch, command)
            {
                self.perform_effects();
                return self.parked.push_back(batch);
            }
            at = self.executor.run(&mut self.keyspace, &mut batch, command, at);
            crate::envelope::set_recent(at);
            batch.next += 1;
            if batch.session.await_reaper {
                batch.session.await_reaper = false;
                return self.await_reaper(batch, ctx);
            }
        }
    }

    /// Makes room if more memory is used than `maxmemory` (which is set), for as long as the configuration allows and
    /// later once more. True if there is no room and nothing left that may give way on any shard.
    fn lacks_memory(&mut self, ctx: &mut Context<Self>) -> bool {
        use std::sync::atomic::Ordering;
        let server = self.server.clone();
        let eviction = &server.eviction;
        let config = &self.executor.config;
        let limit = config.maxmemory;
        if memory::used() <= limit {
            eviction.has_room(&server.stats);
            return false;
        }
        eviction.lacks_room();
        if server.pause.state().is_some() {
            return false;
        }
        if config.maxmemory_policy == MaxmemoryPolicy::NoEviction || config.import_mode {
            return true;
        }
        if !self.collecting.is_empty() {
            // A KEYS under way has not seen all keys yet.
            return false;
        }
        if server.stats.lazyfree_pending_objects.load(Ordering::Relaxed) > 0 {
            // What is being freed may be enough.
            self.evict_soon(ctx);
            return false;
        }
        let budget_us = skuld::eviction::budget_us(config.maxmemory_eviction_tenacity);
        let started = clock::tick();
        loop {
            if !self.executor.evict_one(&mut self.keyspace) {
                let freeing = server.stats.lazyfree_pending_objects.load(Ordering::Relaxed) > 0;
                if freeing || !self.held.is_empty() || !self.executor.effects.garbage.is_empty() {
                    self.perform_effects();
                    return false;
                }
                eviction.set_empty(self.index, true);
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                return eviction.all_empty();
            }
            eviction.set_empty(self.index, false);
            if memory::used() <= limit {
                eviction.has_room(&server.stats);
                return false;
            }
            let over = clock::micros_between(started, clock::tick()) >= budget_us;
            if !self.executor.effects.garbage.is_empty() {
                // A large value is freed elsewhere: memory does not show yet that it is gone.
                self.perform_effects();
                self.evict_soon(ctx);
                return false;
            }
            if over {
                self.perform_effects();
                eviction.ask_others(self.index, |other| tell(server.shard(other), EvictSome));
                if eviction.ask(self.index) {
                    continue_later(self, EvictSome, ctx);
                }
                return false;
            }
        }
    }

    /// Looks at memory again when the reaper has had time.
    fn evict_soon(&self, ctx: &mut Context<Self>) {
        const WAIT: std::time::Duration = std::time::Duration::from_millis(1);
        if self.server.eviction.ask(self.index) {
            ctx.run_later(WAIT, |_, ctx| tell(&ctx.address(), EvictSome));
        }
    }

    /// Lets the running KEYS see the slots a write is about to change. False if it may change all of them.
    fn visit_before(&mut self, batch: &Batch, command: &'static Command) -> bool {
        match routing::route(command, batch, self.server.workers) {
            Route::Slots(slots) => {
                self.visit_names(&slots);
                true
            }
            Route::Anywhere => true,
            Route::Shard(_) | Route::All => false,
        }
    }

    fn visit_names(&mut self, slots: &[Slot]) {
        let part = &self.keyspace.parts()[0];
        for (_, job) in &mut self.collecting {
            slots.iter().for_each(|&slot| job.visit(part, slot));
        }
    }

    /// Begins a KEYS on this shard alone.
    fn start_names(&mut self, batch: Box<Batch>, command: &'static Command, ctx: &mut Context<Self>) {
        self.perform_effects();
        let collect = self.names_of(batch, command, 1, ctx);
        self.collect_names(collect, ctx);
    }

    /// Takes note of a KEYS that `shards` shards will answer.
    fn names_of(
        &mut self,
        batch: Box<Batch>,
        command: &'static Command,
        shards: usize,
        ctx: &mut Context<Self>,
    ) -> CollectNames {
        self.next_names += 1;
        let ticket = self.next_names;
        let wanted = NamesWanted {
            db: batch.session.db,
            pattern: batch.arg(batch.next, 1).to_vec(),
            now: clock::unix_ms(),
            show_expired: self.executor.rules(&batch.session).read == Treatment::Show,
        };
        let pending = PendingNames { batch, command, names: Vec::new(), count: 0, missing: shards };
        self.pending_names.insert(ticket, pending);
        CollectNames { coordinator: ctx.address(), ticket, wanted }
    }

    fn collect_names(&mut self, collect: CollectNames, ctx: &mut Context<Self>) {
        let job = NamesJob::new(collect.wanted.clone());
        self.collecting.push((collect, job));
        if self.collecting.len() == 1 {
            self.advance_names(ctx);
        }
    }

    /// Gives each KEYS a share of one slice.
    fn advance_names(&mut self, ctx: &mut Context<Self>) {
        let share = SLICE_US_MAX / self.collecting.len().max(1) as u64;
        let mut index = 0;
        while index < self.collecting.len() {
            if self.collecting[index].1.advance(&self.keyspace, clock::tick(), share) {
                let (collect, job) = self.collecting.remove(index);
                let count = job.count;
                let names = job.into_names();
                tell(&collect.coordinator, NamesCollected { ticket: collect.ticket, names, count });
            } else {
                index += 1;
            }
        }
        if self.collecting.is_empty() {
            self.grant_waiting();
            self.retry_parked(ctx);
        } else {
            continue_later(self, ContinueNames, ctx);
        }
    }

    fn retry_parked(&mut self, ctx: &mut Context<Self>) {
        for batch in std::mem::take(&mut self.parked) {
            self.advance(batch, ctx);
        }
    }

    /// Keeps a batch until CLIENT PAUSE ends.
    fn hold_back(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        batch.publish();
        batch.shared.paused.store(true, std::sync::atomic::Ordering::Relaxed);
        self.perform_effects();
        self.paused.push_back(batch);
        self.wait_for_pause_end(ctx);
    }

    /// Tells who asked that no unit is left that began before the pause.
    fn confirm_pause(&mut self) {
        if self.units.is_empty() {
            for confirmation in self.confirmations.drain(..) {
                // Who asked may have gone.
                let _ = confirmation.send(());
            }
        }
    }

    fn wait_for_pause_end(&self, ctx: &mut Context<Self>) {
        if let Some((_, left_ms)) = self.server.pause.state() {
            let over = std::time::Duration::from_millis(left_ms as u64);
            ctx.run_later(over, |_, ctx| tell(&ctx.address(), PauseOver));
        } else {
            tell(&ctx.address(), PauseOver);
        }
    }

    /// Goes on with what a pause held back, in order of arrival.
    fn end_pause(&mut self, ctx: &mut Context<Self>) {
        for batch in std::mem::take(&mut self.paused) {
            batch.shared.paused.store(false, std::sync::atomic::Ordering::Relaxed);
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
        tell(self.server.reaper(), Reap { garbage, done: Some((ctx.address(), ticket)) });
    }

    fn start_unit(
        &mut self,
        batch: Box<Batch>,
        command: &'static Command,
        slots: Slots,
        ctx: &mut Context<Self>,
    ) {
        self.perform_effects();
        self.next_unit += 1;
        let unit = UnitId(self.next_unit << 16 | u64::from(self.index));
        let workers = self.server.workers;
        let mut wanted: Vec<Option<Slots>> = vec![None; usize::from(workers)];
        match slots {
            Slots::All => wanted.iter_mut().for_each(|w| *w = Some(Slots::All)),
            Slots::Some(slots) => {
                for slot in slots {
                    match wanted[usize::from(slot.0 % workers)].get_or_insert_with(|| Slots::Some(Vec::new()))
                    {
                        Slots::Some(list) if !list.contains(&slot) => list.push(slot),
                        _ => {}
                    }
                }
            }
        }
        let missing = wanted.iter().flatten().count();
        let parts = (0..workers).map(|_| None).collect();
        self.units.insert(unit, PendingUnit { batch, command, parts, missing });
        let server = self.server.clone();
        let _order = server.unit_order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (shard, slots) in wanted.into_iter().enumerate() {
            if let Some(slots) = slots {
                let reserve = Reserve { unit, slots, coordinator: ctx.address() };
                tell(server.shard(shard as u16), reserve);
            }
        }
    }

    /// Grants every waiting reservation that overlaps neither what is held nor an earlier waiting one.
    fn grant_waiting(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() {
            let slots = &self.waiting[index].slots;
            let blocked = self.held.iter().any(|(_, held)| held.overlaps(slots))
                || (matches!(slots, Slots::All) && !self.collecting.is_empty())
                || self.waiting.iter().take(index).any(|earlier| earlier.slots.overlaps(slots));
            if blocked {
                index += 1;
                continue;
            }
            let Some(Reserve { unit, slots, coordinator }) = self.waiting.remove(index) else { return };
            if let Slots::Some(slots) = &slots {
                self.visit_names(slots);
            }
            let own = &mut self.keyspace.parts_mut()[0];
            let part = match &slots {
                Slots::All => own.detach_all(),
                Slots::Some(slots) => own.detach_slots(slots),
            };
            self.held.push((unit, slots));
            tell(&coordinator, Granted { unit, part });
        }
    }

    /// Runs a unit's command on the gathered tables, sends them home, and goes on with the batch.
    fn run_unit(&mut self, unit: UnitId, pending: PendingUnit, ctx: &mut Context<Self>) {
        let PendingUnit { mut batch, command, parts, .. } = pending;
        let workers = self.server.workers;
        let involved: Vec<bool> = parts.iter().map(Option::is_some).collect();
        let parts = parts
            .into_iter()
            .enumerate()
            .map(|(i, p)| p.unwrap_or_else(|| Part::new(i as u16, workers)))
            .collect();
        let mut keyspace = Keyspace::of_unit(parts);
        self.executor.refresh();
        if Some(command.id) == self.keys_command {
            let names = Some(self.names_of(batch, command, involved.len(), ctx));
            for (index, part) in keyspace.into_parts().into_iter().enumerate() {
                tell(self.server.shard(index as u16), Return { unit, part, names: names.clone() });
            }
            return;
        }
        self.executor.forget_window();
        let at = clock::tick();
        let end = self.executor.run(&mut keyspace, &mut batch, command, at);
        crate::envelope::set_recent(end);
        batch.next += 1;
        let garbage = std::mem::take(&mut self.executor.effects.garbage);
        self.perform_effects();
        for (index, part) in keyspace.into_parts().into_iter().enumerate() {
            if involved[index] {
                tell(self.server.shard(index as u16), Return { unit, part, names: None });
            }
        }
        self.executor.effects.garbage = garbage;
        if batch.session.await_reaper {
            batch.session.await_reaper = false;
            self.await_reaper(batch, ctx);
        } else {
            self.perform_effects();
            self.advance(batch, ctx);
        }
    }

    /// Does what the commands run so far recorded: log, counters, garbage.
    fn perform_effects(&mut self) {
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
        if effects.is_quiet() {
            return;
        }
        if !effects.propagation.is_empty() || !effects.events.is_empty() {
            let propagation = std::mem::take(&mut effects.propagation);
            let events = std::mem::take(&mut effects.events);
            self.server.subscriptions.publish_events(self.executor.config.notify_keyspace_events.0, &events);
            if effects.listening.propagation {
                tell(self.server.replication_log(), Append { propagation, events });
            }
        }
        self.server.watches.tell(&effects.modified);
        effects.modified.clear();
        effects.databases.clear();
        if !effects.garbage.is_empty() {
            let garbage = std::mem::take(&mut effects.garbage);
            tell(self.server.reaper(), Reap { garbage, done: None });
        }
    }

    fn describe(&self) -> ShardDescription {
        let part = &self.keyspace.parts()[0];
        ShardDescription {
            index: self.index,
            databases: (0..part.databases())
                .map(|db| {
                    part.database(db).map_or_else(DatabaseFigures::default, |d| DatabaseFigures {
                        keys: d.keys(),
                        expires: d.expires(),
                        avg_ttl: d.avg_ttl,
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
            parked: self.parked.len() as u64,
            paused: self.paused.len() as u64,
            units: self.units.len() as u64,
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
        self.executor.prefetch_first(&self.keyspace, batches.iter().map(|t| &*t.message.0));
        for (index, traced) in batches.drain(..).enumerate() {
            self.executor.use_first(index);
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

impl Receive<Reserve> for Shard {
    fn receive(&mut self, reserve: Reserve, _: &mut Context<Self>) {
        self.waiting.push_back(reserve);
        self.grant_waiting();
    }
}

impl Receive<Granted> for Shard {
    fn receive(&mut self, Granted { unit, part }: Granted, ctx: &mut Context<Self>) {
        let pending = self.units.get_mut(&unit).expect("a unit waits until all its tables are granted");
        let index = usize::from(part.index());
        pending.parts[index] = Some(part);
        pending.missing -= 1;
        if pending.missing == 0 {
            let pending = self.units.remove(&unit).expect("just found");
            self.run_unit(unit, pending, ctx);
            self.confirm_pause();
        }
    }
}

impl Receive<Return> for Shard {
    fn receive(&mut self, Return { unit, part, names }: Return, ctx: &mut Context<Self>) {
        self.keyspace.parts_mut()[0].attach(part);
        self.held.retain(|(holder, _)| *holder != unit);
        if let Some(collect) = names {
            self.collect_names(collect, ctx);
        }
        self.grant_waiting();
        if self.held.is_empty() {
            for job in std::mem::take(&mut self.waiting_debug) {
                self.receive(job, ctx);
            }
        }
        self.retry_parked(ctx);
    }
}

impl Receive<ContinueNames> for Shard {
    fn receive(&mut self, _: ContinueNames, ctx: &mut Context<Self>) {
        self.advance_names(ctx);
    }
}

impl Receive<NamesCollected> for Shard {
    fn receive(&mut self, NamesCollected { ticket, names, count }: NamesCollected, ctx: &mut Context<Self>) {
        let pending = self.pending_names.get_mut(&ticket).expect("a KEYS waits for all its shards");
        pending.names.extend(names);
        pending.count += count;
        pending.missing -= 1;
        if pending.missing == 0 {
            let PendingNames { mut batch, command, names, count, .. } =
                self.pending_names.remove(&ticket).expect("just found");
            self.executor.reply_array(&mut batch, command, count, names);
            batch.next += 1;
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
    fn receive(&mut self, ScanExpired { budget_us, reply }: ScanExpired, _: &mut Context<Self>) {
        let start = clock::tick();
        self.executor.refresh();
        let within = |at: Tick| clock::micros_between(start, at) < budget_us;
        let held = &self.held;
        let is_held = |slot| held.iter().any(|(_, slots)| slots.contains_any(&[slot]));
        let scanned = self.executor.scan_expired(&mut self.keyspace, is_held, within);
        self.perform_effects();
        tell(
            &reply,
            crate::expiry_scanner::ScannedExpired {
                shard: self.index,
                more_due: scanned.more_due,
                next_deadline: self.keyspace.parts()[0].wheel().next_deadline_hint(),
                spent_us: clock::micros_between(start, clock::tick()),
            },
        );
    }
}

impl Receive<EvictSome> for Shard {
    fn receive(&mut self, _: EvictSome, ctx: &mut Context<Self>) {
        self.server.eviction.heard(self.index);
        self.executor.refresh();
        if self.executor.config.maxmemory != 0 {
            self.lacks_memory(ctx);
            self.perform_effects();
        }
    }
}

impl Receive<Control> for Shard {
    fn receive(&mut self, Control { what, done }: Control, ctx: &mut Context<Self>) {
        match what {
            Controlled::ResetCounters => self.executor.commands.iter().for_each(CommandStats::reset),
            Controlled::Sleep(time) => std::thread::sleep(time),
            Controlled::ConfirmPause if self.units.is_empty() => {}
            Controlled::ConfirmPause => return self.confirmations.push(done),
            Controlled::EndPause => self.end_pause(ctx),
        }
        // Who asked may have gone.
        let _ = done.send(());
    }
}

impl Receive<DebugKeys> for Shard {
    fn receive(&mut self, job: DebugKeys, _: &mut Context<Self>) {
        if !self.held.is_empty() {
            return self.waiting_debug.push(job);
        }
        self.executor.refresh();
        let workers = self.server.workers;
        let index = self.index;
        let answer = self
            .executor
            .with_access(&mut self.keyspace, |access| run_on_shard(&job.job, access, index, workers));
        self.perform_effects();
        // Who asked may have gone.
        let _ = job.reply.send(answer);
    }
}

impl Receive<PauseOver> for Shard {
    fn receive(&mut self, _: PauseOver, ctx: &mut Context<Self>) {
        // The pause may have been made longer meanwhile; then what is still held back waits again.
        self.end_pause(ctx);
    }
}

impl Receive<DescribeShard> for Shard {
    fn receive(&mut self, DescribeShard { reply }: DescribeShard, _: &mut Context<Self>) {
        // The asker may have gone; then nobody wants the answer.
        let _ = reply.send(self.describe());
    }
}
