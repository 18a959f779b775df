//! A shard's part in slot migration: sending keys of slots that move, passing on what changes them, and freezing, hiding
//! and showing slots.
//!
//! What is sent when is decided by [`skuld::migration::snapshot`].
//!
//! Invariant: what a job gets from this shard, applied in order, makes the slots what they are here.
//! Invariant: once the slots are frozen nothing more is sent about them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::spec::{MAY_REPLICATE, WRITE};
use skuld::effects::Propagation;
use skuld::keyspace::{Keyspace, Part};
use skuld::migration::snapshot::{Effect, Pieces, SlotSnapshot, effects_of};
use skuld::migration::{JobName, SlotSet};
use skuld::slot::Slot;

use super::{ContinueBatches, SLICE_US_MAX, Shard, Slots};
use crate::batch::Batch;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::{Receive, tell};
use crate::migration::Gauge;
use crate::migration::export::{MigrationExport, ShardSent, Then};
use crate::routing::{self, Route};

/// Bytes gathered before they are sent on.
const PIECE_BYTES: usize = 64 * 1024;

/// What a job has a shard do.
pub enum MigrationOrder {
    /// From now on record what changes these slots, and begin to send their keys.
    Begin { job: JobName, slots: Arc<SlotSet>, gauge: Arc<Gauge>, to: Addr<MigrationExport>, credit: u64 },
    /// Go on sending; also: look whether writers may go on.
    More { job: JobName, bytes: u64 },
    /// Hold back what would change the slots, and say so behind everything that has.
    Freeze { job: JobName },
    /// Let go on what was held back.
    Thaw { job: JobName },
    /// Forget the export.
    End { job: JobName },
    /// Hide these slots, as far as they are ours, and say how many keys they hold. `strays` says what becomes of keys
    /// that are there already.
    Hide { slots: Arc<SlotSet>, strays: Strays, done: tokio::sync::oneshot::Sender<u64> },
    /// Show them again.
    Show { slots: Arc<SlotSet>, done: tokio::sync::oneshot::Sender<u64> },
    /// What a unit on another shard did to slots of ours, which it has until its tables come home.
    Forward { propagation: Propagation },
    /// How many keys they hold.
    Count { slots: Arc<SlotSet>, done: tokio::sync::oneshot::Sender<u64> },
}

/// Keys in slots about to be imported, left over from an earlier owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strays {
    Delete,
    /// They belong to a job that another node runs.
    Keep,
}

/// Go on sending keys.
pub struct ContinueMigrations;

/// What a shard knows of migrations.
#[derive(Default)]
pub struct ShardMigrations {
    exports: Vec<SlotExport>,
    frozen: Vec<(JobName, Arc<SlotSet>)>,
    /// Batches that wait for frozen slots, for keys in flight, or for room in an export's buffer.
    waiting: VecDeque<Waiting>,
    /// A `ContinueMigrations` is on its way.
    continuing: bool,
    /// Freezing waits until units have given these back.
    freezing: Vec<JobName>,
    /// What units on other shards did to slots of ours that are not home yet.
    arrived: Vec<Propagation>,
}

impl ShardMigrations {
    /// Passes effects on slots of this shard on to the exports.
    fn forward(&mut self, shard: u16, workers: u16, keyspace: &Keyspace, effects: &[Effect<'_>]) {
        for export in self.exports.iter_mut().filter(|export| !export.sealed) {
            let own = effects.iter().filter(|effect| effect.slot().0 % workers == shard);
            let (pieces, count) = export.snapshot.forward(keyspace, own);
            if !pieces.is_empty() {
                export.send(shard, pieces, 0, count, Then::Nothing);
            }
        }
    }

    /// Whether the server itself leaves keys of this slot alone: no expiry.
    pub fn is_frozen(&self, slot: Slot) -> bool {
        self.frozen.iter().any(|(_, set)| set.contains(slot))
    }
}

/// A batch that waits.
struct Waiting {
    batch: Box<Batch>,
    since: clock::Tick,
    /// Whose buffer is full, if that is why.
    full: Option<Arc<Gauge>>,
}

/// One export as this shard sees it.
struct SlotExport {
    job: JobName,
    snapshot: SlotSnapshot,
    gauge: Arc<Gauge>,
    to: Addr<MigrationExport>,
    credit: u64,
    sealed: bool,
    /// Until a timer goes off: `rdb-key-save-delay`.
    rests: bool,
    /// What the snapshot said of keys sent in pieces when those who wait for them were last looked at.
    landed: u64,
}

impl SlotExport {
    fn slots(&self) -> &Arc<SlotSet> {
        self.snapshot.slots()
    }

    fn send(&self, shard: u16, pieces: Pieces, keys: u64, effects: u64, then: Then) {
        pieces.iter().for_each(|(_, bytes)| self.gauge.add(bytes.len()));
        tell(&self.to, ShardSent { shard, pieces, keys, effects, then });
    }

    /// Sends keys for a slice of time, as far as the credit goes.
    fn advance(&mut self, shard: u16, part: &Part, held: &dyn Fn(Slot) -> bool, delay_us: u64) -> GoOn {
        let started = clock::tick();
        if self.snapshot.is_finished() || self.credit == 0 || self.sealed || self.rests {
            return GoOn::No;
        }
        let most = match delay_us {
            0 => PIECE_BYTES.min(usize::try_from(self.credit).unwrap_or(usize::MAX)),
            _ => 1,
        };
        let mut go_on = |bytes| bytes < most && clock::micros_between(started, clock::tick()) < SLICE_US_MAX;
        let slice = self.snapshot.advance(part, held, &mut go_on);
        let wait_us = slice.keys * delay_us;
        self.rests = wait_us > 0;
        self.credit = self.credit.saturating_sub(slice.bytes as u64);
        let then = match () {
            () if slice.is_last => Then::KeysSent,
            () if self.credit == 0 => Then::WantsMore,
            () => Then::Nothing,
        };
        if !slice.pieces.is_empty() || then != Then::Nothing {
            self.send(shard, slice.pieces, slice.keys, 0, then);
        }
        match () {
            () if slice.is_last || self.credit == 0 => GoOn::No,
            () if wait_us > 0 => GoOn::After(wait_us),
            () => GoOn::Now,
        }
    }
}

/// Whether the batch's next command may change keys.
pub(super) fn may_write(batch: &Batch, command: &Command) -> bool {
    let writes = |command: &Command| command.flags.has(WRITE) || command.flags.has(MAY_REPLICATE);
    match &batch.transaction.queue {
        Some(queue) if command.name == "exec" => queue.commands.iter().any(|(command, _)| writes(command)),
        _ => writes(command),
    }
}

/// When an export goes on.
enum GoOn {
    No,
    Now,
    /// In so many microseconds.
    After(u64),
}

impl Shard {
    /// Lets the executor know what it must heed.
    pub(super) fn note_migrations(&mut self) {
        let (exports, frozen) = (&self.migrations.exports, &self.migrations.frozen);
        self.executor.exporting = !exports.is_empty();
        self.executor.frozen = !frozen.is_empty();
        self.executor.migrating = self.executor.exporting || self.executor.frozen || !self.purges.is_empty();
    }

    /// Passes on to the exports what the commands run so far did.
    pub(super) fn forward_effects(&mut self) {
        let propagation = std::mem::take(&mut self.executor.effects.propagation);
        if !propagation.is_empty() {
            let workers = self.server.workers;
            let databases = self.executor.config.database_count();
            let effects = effects_of(&propagation, databases);
            self.migrations.forward(self.index, workers, &self.keyspace, &effects);
            let mut others: Vec<Option<Propagation>> = Vec::new();
            for effect in effects.iter().filter(|effect| effect.slot().0 % workers != self.index) {
                others.resize_with(usize::from(workers), || None);
                let other = &mut others[usize::from(effect.slot().0 % workers)];
                other.get_or_insert_default().push_encoded(effect.db(), effect.bytes());
            }
            for (shard, other) in others.into_iter().enumerate() {
                if let Some(propagation) = other {
                    tell(self.server.shard(shard as u16), MigrationOrder::Forward { propagation });
                }
            }
        }
        self.executor.effects.propagation = propagation;
    }

    /// Passes on what a unit elsewhere did to slots whose tables have just come home.
    pub(super) fn forward_arrived(&mut self) {
        for propagation in std::mem::take(&mut self.migrations.arrived) {
            let effects = effects_of(&propagation, self.executor.config.database_count());
            let held = &self.held;
            let is_held = |slot| held.iter().any(|(_, slots)| slots.contains_any(&[slot]));
            let (later, now): (Vec<_>, Vec<_>) = effects.into_iter().partition(|e| is_held(e.slot()));
            self.migrations.forward(self.index, self.server.workers, &self.keyspace, &now);
            let mut rest = Propagation::default();
            later.iter().for_each(|effect| rest.push_encoded(effect.db(), effect.bytes()));
            if !rest.is_empty() {
                self.migrations.arrived.push(rest);
            }
        }
    }

    /// Whether the batch's next command must wait because of a migration.
    pub(super) fn waits_for_migration(&self, batch: &Batch, command: &'static Command) -> bool {
        let frozen = &self.migrations.frozen;
        let limit = self.executor.config.export_buffer_limit;
        let mut full = self.migrations.exports.iter().filter(|e| e.gauge.waiting() > limit).peekable();
        let in_flight = self.migrations.exports.iter().filter(|e| e.snapshot.has_in_flight());
        if frozen.is_empty() && full.peek().is_none() && in_flight.clone().next().is_none() {
            return false;
        }
        if !batch.session.origin.is_client() || !may_write(batch, command) {
            return false;
        }
        match routing::route(command, batch, 2, &self.server.scripts) {
            Route::Anywhere | Route::Shard(_) => false,
            // It may write anywhere.
            Route::All => !frozen.is_empty(),
            Route::Script(slots) if slots.is_empty() => !frozen.is_empty(),
            Route::Slots(slots) | Route::Script(slots) => {
                let touches = |set: &SlotSet| slots.iter().any(|slot| set.contains(*slot));
                frozen.iter().any(|(_, set)| touches(set))
                    || full.any(|e| touches(e.slots()))
                    || in_flight.clone().any(|e| {
                        let near = e.snapshot.slot_in_flight().is_some_and(|slot| slots.contains(&slot));
                        near && e.snapshot.may_change_in_flight(
                            batch.session.db,
                            command,
                            &batch.words(batch.next),
                        )
                    })
            }
        }
    }

    /// Whether some of these slots are frozen here.
    pub(super) fn has_frozen(&self, slots: &Slots) -> bool {
        match slots {
            Slots::All => !self.migrations.frozen.is_empty(),
            Slots::Some(slots) => slots.iter().any(|slot| self.migrations.is_frozen(*slot)),
        }
    }

    /// Keeps a batch whose unit was to change slots that another shard has frozen.
    pub(super) fn wait_for_thaw(&mut self, batch: Box<Batch>, ctx: &mut Context<Self>) {
        if self.executor.frozen {
            return self.wait_for_migration(batch);
        }
        // The order to freeze, or to thaw, is on its way here.
        self.preempted.push_back(batch);
        continue_later(self, ContinueBatches, ctx);
    }

    /// Keeps a batch until [`Shard::retry_migrations`].
    pub(super) fn wait_for_migration(&mut self, mut batch: Box<Batch>) {
        batch.publish();
        batch.shared.paused.store(true, std::sync::atomic::Ordering::Relaxed);
        self.perform_effects();
        let limit = self.executor.config.export_buffer_limit;
        let full = match self.executor.frozen {
            true => None,
            false => self.migrations.exports.iter().map(|e| &e.gauge).find(|gauge| gauge.waiting() > limit),
        };
        full.inspect(|gauge| gauge.hold_back(limit));
        let waiting = Waiting { batch, since: clock::tick(), full: full.cloned() };
        self.migrations.waiting.push_back(waiting);
    }

    fn retry_migrations(&mut self, ctx: &mut Context<Self>) {
        for Waiting { batch, since, full } in std::mem::take(&mut self.migrations.waiting) {
            if let Some(gauge) = full {
                gauge.held_back(clock::micros_between(since, clock::tick()));
            }
            batch.shared.paused.store(false, std::sync::atomic::Ordering::Relaxed);
            self.advance(batch, ctx);
        }
    }

    /// Goes on with exports and freezes that waited for tables a unit had.
    pub(super) fn tables_are_back(&mut self, ctx: &mut Context<Self>) {
        for job in std::mem::take(&mut self.migrations.freezing) {
            self.freeze(job);
        }
        self.continue_exports(ctx);
    }

    fn continue_exports(&mut self, ctx: &mut Context<Self>) {
        if !self.migrations.continuing && !self.migrations.exports.is_empty() {
            self.migrations.continuing = true;
            continue_later(self, ContinueMigrations, ctx);
        }
    }

    fn freeze(&mut self, job: JobName) {
        let Some(at) = self.migrations.exports.iter().position(|e| e.job == job) else { return };
        let slots = self.migrations.exports[at].slots().clone();
        if !self.migrations.frozen.iter().any(|(name, _)| *name == job) {
            self.migrations.frozen.push((job, slots.clone()));
            self.note_migrations();
        }
        let held = self.held.iter().any(|(_, held)| slots.iter().any(|slot| held.contains_any(&[slot])));
        if held {
            return self.migrations.freezing.push(job);
        }
        self.perform_effects();
        let export = &mut self.migrations.exports[at];
        export.send(self.index, Vec::new(), 0, 0, Then::Frozen);
        export.sealed = true;
    }

    fn own_slots<'s>(&self, slots: &'s SlotSet) -> impl Iterator<Item = Slot> + use<'s> {
        let (workers, index) = (self.server.workers, self.index);
        slots.iter().filter(move |slot| slot.0 % workers == index)
    }

    fn keys_of_slots(&self, slots: &SlotSet) -> u64 {
        let part = &self.keyspace.parts()[0];
        self.own_slots(slots).map(|slot| part.keys_in_slot(slot)).sum()
    }
}

impl Receive<MigrationOrder> for Shard {
    fn receive(&mut self, order: MigrationOrder, ctx: &mut Context<Self>) {
        use MigrationOrder::{Count, Hide, Show};
        if matches!(order, Hide { .. } | Show { .. } | Count { .. }) && !self.held.is_empty() {
            // A unit has tables: they come back soon.
            return continue_later(self, order, ctx);
        }
        match order {
            MigrationOrder::Begin { job, slots, gauge, to, credit } => {
                // What ran before belongs to the values about to be sent.
                self.perform_effects();
                let own: Vec<Slot> = self.own_slots(&slots).collect();
                let snapshot = SlotSnapshot::new(slots, own.into_iter());
                self.migrations.exports.push(SlotExport {
                    job,
                    snapshot,
                    gauge,
                    to,
                    credit,
                    sealed: false,
                    rests: false,
                    landed: 0,
                });
                self.note_migrations();
                self.executor.refresh();
                self.continue_exports(ctx);
            }
            MigrationOrder::More { job, bytes } => {
                if let Some(export) = self.migrations.exports.iter_mut().find(|e| e.job == job) {
                    export.credit += bytes;
                }
                self.continue_exports(ctx);
                if !self.migrations.waiting.is_empty() {
                    self.retry_migrations(ctx);
                }
            }
            MigrationOrder::Freeze { job } => self.freeze(job),
            MigrationOrder::Thaw { job } => {
                self.migrations.frozen.retain(|(name, _)| *name != job);
                self.migrations.freezing.retain(|name| *name != job);
                self.note_migrations();
                self.retry_migrations(ctx);
            }
            MigrationOrder::End { job } => {
                self.perform_effects();
                self.migrations.exports.retain(|e| e.job != job);
                self.note_migrations();
                self.retry_migrations(ctx);
            }
            MigrationOrder::Hide { slots, strays, done } => {
                if strays == Strays::Delete {
                    // What an earlier deletion has not told of yet is told now: it must not meet what comes next.
                    self.purge_at_once(&slots);
                }
                for slot in self.own_slots(&slots) {
                    self.keyspace.parts_mut()[0].hide_slot(slot);
                }
                // Who asked may have gone.
                let _ = done.send(self.keys_of_slots(&slots));
            }
            MigrationOrder::Show { slots, done } => {
                for slot in self.own_slots(&slots) {
                    self.keyspace.parts_mut()[0].show_slot(slot);
                }
                let _ = done.send(self.keys_of_slots(&slots));
            }
            MigrationOrder::Forward { propagation } => self.migrations.arrived.push(propagation),
            MigrationOrder::Count { slots, done } => {
                let _ = done.send(self.keys_of_slots(&slots));
            }
        }
    }
}

impl Receive<ContinueMigrations> for Shard {
    fn receive(&mut self, _: ContinueMigrations, ctx: &mut Context<Self>) {
        self.migrations.continuing = false;
        self.perform_effects();
        let part = &self.keyspace.parts()[0];
        let held = &self.held;
        let is_held = |slot: Slot| held.iter().any(|(_, slots)| slots.contains_any(&[slot]));
        let (index, mut more, mut wait_us) = (self.index, false, None::<u64>);
        let delay_us = u64::try_from(self.executor.config.rdb_key_save_delay).unwrap_or(0);
        let mut arrived = false;
        for export in &mut self.migrations.exports {
            let going_on = export.advance(index, part, &is_held, delay_us);
            let landed = export.snapshot.landed();
            arrived |= std::mem::replace(&mut export.landed, landed) != landed;
            match going_on {
                GoOn::No => {}
                GoOn::Now => more = true,
                GoOn::After(us) => wait_us = Some(wait_us.map_or(us, |least| least.min(us))),
            }
        }
        if let Some(us) = wait_us {
            clock::after(ctx, Duration::from_micros(us), |shard: &mut Self, ctx| {
                shard.migrations.exports.iter_mut().for_each(|export| export.rests = false);
                shard.continue_exports(ctx);
            });
        }
        // With tables away it goes on when they are back.
        if more && self.held.is_empty() {
            self.continue_exports(ctx);
        }
        if arrived && !self.migrations.waiting.is_empty() {
            self.retry_migrations(ctx);
        }
    }
}
