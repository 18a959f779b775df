//! Commands that run scripts, on stacks of their own.
//!
//! ```text
//!  start --> it ends within its first slice: as any command
//!    |
//!    v  it hands the thread back
//!  its slots are moved out, as for a unit; executor and keyspace stay with it, the shard gets others
//!    |
//!    v  ContinueScripts, slice by slice, other tasks of the arbiter in between
//!  it ends: effects, tables home, next command of its client
//! ```
//!
//! Invariant: what a suspended command refers to (batch, executor, keyspace) lies in boxes that nobody opens until it
//! has ended.

use std::sync::Arc;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::keyspace::{Keyspace, Part};

use super::units::UnitEnd;
use super::{Shard, Slots, UnitId};
use crate::batch::Batch;
use crate::clock::{self, Tick};
use crate::continue_later::continue_later;
use crate::envelope::{Receive, tell};
use crate::executor::Executor;
use crate::scripting::running::Running;
use crate::scripting::suspension::Task;

/// Go on with the scripts that handed their thread back.
pub struct ContinueScripts;

/// A script has run for too long: those who wait for what it holds are refused from now on.
pub struct ScriptTimedOut;

/// A unit will not get this shard's slots: a script holds them for too long.
pub struct UnitRefused {
    pub unit: UnitId,
    pub error: skuld::commands::context::CommandError,
}

/// A command that has handed its thread back.
pub(super) struct Suspended {
    task: Task,
    command: &'static Command,
    executor: Box<Executor>,
    keyspace: Box<Keyspace>,
    running: Option<Arc<Running>>,
    /// Others know that it takes too long.
    announced: bool,
    end: UnitEnd,
}

impl Shard {
    /// Runs a command that may run scripts on the shard's own keyspace. Gives the batch back, and when the command
    /// ended, unless it goes on later.
    pub(super) fn run_script(
        &mut self,
        mut batch: Box<Batch>,
        command: &'static Command,
        at: Tick,
        ctx: &mut Context<Self>,
    ) -> Option<(Box<Batch>, Tick)> {
        let slots = self.executor.scripting.confined.clone().map_or(Slots::All, Slots::Some);
        let mut task = task(&mut self.executor, &mut self.keyspace, &mut batch, command, at);
        if let Some(end) = task.resume() {
            task.recycle();
            // It may have been refused before it asked.
            self.executor.scripting.confined = None;
            if std::mem::take(&mut self.executor.scripting.restart) {
                self.start_unit(batch, command, Slots::All, ctx);
                return None;
            }
            return Some((batch, end));
        }
        // From now on it is a unit that holds slots of this shard.
        self.next_unit += 1;
        let unit = UnitId::new(self.next_unit, self.index);
        let workers = self.server.workers;
        let fresh = Box::new(Keyspace::of_shard(Part::new(self.index, workers)));
        let mut keyspace = std::mem::replace(&mut self.keyspace, fresh);
        std::mem::swap(&mut *self.keyspace, &mut *keyspace);
        let own = &mut self.keyspace.parts_mut()[0];
        let mut own = match &slots {
            Slots::All => Some(own.detach_all()),
            Slots::Some(none) if none.is_empty() => None,
            Slots::Some(slots) => Some(own.detach_slots(slots)),
        };
        let involved = (0..workers).map(|index| index == self.index && own.is_some()).collect();
        if own.is_some() {
            self.held.push((unit, slots.clone()));
        }
        let parts = (0..workers).map(|index| match own.take_if(|part| part.index() == index) {
            Some(part) => part,
            None => Part::new(index, workers),
        });
        *keyspace = Keyspace::of_unit(parts.collect());
        let end = UnitEnd { unit, involved, slots, again: None, batch };
        self.suspend(task, keyspace, command, end, ctx);
        None
    }

    /// Runs a unit's command that may run scripts. True if it goes on later.
    pub(super) fn run_script_in_unit(
        &mut self,
        mut keyspace: Box<Keyspace>,
        mut end: UnitEnd,
        command: &'static Command,
        ctx: &mut Context<Self>,
    ) {
        let mut task = task(&mut self.executor, &mut keyspace, &mut end.batch, command, clock::tick());
        match task.resume() {
            Some(ended) => {
                task.recycle();
                crate::envelope::set_recent(ended);
                self.end_unit(*keyspace, end, ctx);
            }
            None => self.suspend(task, keyspace, command, end, ctx),
        }
    }

    fn suspend(
        &mut self,
        task: Task,
        keyspace: Box<Keyspace>,
        command: &'static Command,
        end: UnitEnd,
        ctx: &mut Context<Self>,
    ) {
        let fresh = Box::new(self.executor.stand_in());
        let executor = std::mem::replace(&mut self.executor, fresh);
        let running = executor.scripting.running.clone();
        if let Some(running) = &running {
            self.server.scripts.set_unit(running, end.unit, &end.slots);
        }
        self.suspended.push(Suspended { task, command, executor, keyspace, running, announced: false, end });
        if self.suspended.len() == 1 {
            continue_later(self, ContinueScripts, ctx);
        }
    }

    /// Refuses the batch's next request if a script holds what it needs for too long.
    pub(super) fn refuse_if_busy(
        &mut self,
        batch: &mut Batch,
        command: &'static Command,
        slots: &Slots,
    ) -> bool {
        let error = self.busy_with(slots).filter(|_| batch.session.origin.is_client());
        if let Some(error) = &error {
            self.executor.refuse_next(batch, Some(command), error);
            batch.next += 1;
        }
        error.is_some()
    }

    /// Whether commands wait because the tables are away, with one worker: while a script runs all do, as they would
    /// wait for the thread, until it has timed out; then clients are refused instead.
    pub(super) fn waits_for_tables(&self, batch: &Batch) -> bool {
        if self.held.is_empty() || self.server.workers > 1 {
            return false;
        }
        let refused = self.server.scripts.any_timed_out() && batch.session.origin.is_client();
        self.suspended.is_empty() || !refused
    }

    /// The refusal of a command that needs slots which a script holds for too long.
    pub(super) fn busy_with(&self, slots: &Slots) -> Option<skuld::commands::context::CommandError> {
        if !self.server.scripts.any_timed_out() {
            return None;
        }
        let mut holders = self.held.iter().filter(|(_, held)| held.overlaps(slots));
        holders.find_map(|(unit, _)| self.server.scripts.refusal_by(*unit))
    }

    /// Refuses the units that wait for what a script holds for too long.
    pub(super) fn refuse_waiting(&mut self) {
        let mut index = 0;
        while index < self.waiting.len() {
            let reserve = &self.waiting[index];
            match self.busy_with(&reserve.slots).filter(|_| reserve.refusable) {
                Some(error) => {
                    let reserve = self.waiting.remove(index).expect("just looked at");
                    tell(&reserve.coordinator, UnitRefused { unit: reserve.unit, error });
                }
                None => index += 1,
            }
        }
    }

    /// A slice for each suspended command.
    fn continue_scripts(&mut self, ctx: &mut Context<Self>) {
        let mut index = 0;
        while index < self.suspended.len() {
            let suspended = &mut self.suspended[index];
            let Some(ended) = suspended.task.resume() else {
                self.announce(index);
                index += 1;
                continue;
            };
            let Suspended { task, command, executor, keyspace, end, .. } = self.suspended.remove(index);
            task.recycle();
            crate::envelope::set_recent(ended);
            let stand_in = std::mem::replace(&mut self.executor, executor);
            self.executor.heed_like(&stand_in);
            self.executor.scripting.running = None;
            if std::mem::take(&mut self.executor.scripting.restart) {
                self.perform_effects();
                self.send_home(end.unit, &end.involved, *keyspace);
                self.start_unit(end.batch, command, Slots::All, ctx);
            } else {
                self.end_unit(*keyspace, end, ctx);
            }
            self.confirm_pause();
        }
        if !self.suspended.is_empty() {
            continue_later(self, ContinueScripts, ctx);
        }
    }

    /// Tells all shards when a script has taken too long.
    fn announce(&mut self, index: usize) {
        let suspended = &mut self.suspended[index];
        // A transaction may have gone on to its next script.
        suspended.running.clone_from(&suspended.executor.scripting.running);
        if let Some(running) = &suspended.running {
            self.server.scripts.set_unit(running, suspended.end.unit, &suspended.end.slots);
            if running.is_timed_out() && !suspended.announced {
                suspended.announced = true;
                for shard in self.server.shards() {
                    tell(shard, ScriptTimedOut);
                }
            }
        }
    }
}

/// Makes the task of a command.
fn task(
    executor: &mut Box<Executor>,
    keyspace: &mut Box<Keyspace>,
    batch: &mut Box<Batch>,
    command: &'static Command,
    at: Tick,
) -> Task {
    let (executor, keyspace, batch): (*mut Executor, *mut Keyspace, *mut Batch) =
        (&mut **executor, &mut **keyspace, &mut **batch);
    // SAFETY: the boxes stay closed until the task has ended: it is either resumed to its end at once, or goes with them
    // into `Suspended`, which gives the task the only access to what is in them.
    unsafe { Task::new(move || (*executor).run(&mut *keyspace, &mut *batch, command, at)) }
}

impl Receive<ContinueScripts> for Shard {
    fn receive(&mut self, _: ContinueScripts, ctx: &mut Context<Self>) {
        self.continue_scripts(ctx);
    }
}

impl Receive<ScriptTimedOut> for Shard {
    fn receive(&mut self, _: ScriptTimedOut, ctx: &mut Context<Self>) {
        self.refuse_waiting();
        self.retry_parked(ctx);
    }
}

impl Receive<UnitRefused> for Shard {
    fn receive(&mut self, UnitRefused { unit, error }: UnitRefused, ctx: &mut Context<Self>) {
        if let Some(batch) = self.give_up_unit(unit, &error) {
            self.advance(batch, ctx);
        }
    }
}
