//! Commands over several shards: slot tables move to the shard that runs them, and back.

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::keyspace::{Keyspace, Part};
use skuld::slot::Slot;

use super::migration::may_write;
use super::serving::UnitKeys;
use super::{CollectNames, Shard, Task};
use crate::batch::{Batch, Stop};
use crate::clock;
use crate::envelope::{Receive, tell};

/// Move these slots' tables out to a unit as soon as no earlier unit holds any of them.
pub struct Reserve {
    pub unit: UnitId,
    pub slots: Slots,
    pub coordinator: Addr<Shard>,
    /// The unit may be told that it will not get them.
    pub refusable: bool,
}

/// The tables a unit asked one shard for.
pub struct Granted {
    pub unit: UnitId,
    pub part: Part,
    /// The shard exports slots, and wants to know what happens to its tables.
    pub exporting: bool,
    /// It has frozen some of them: nothing may be changed.
    pub frozen: bool,
}

/// The tables come back.
pub struct Return {
    pub unit: UnitId,
    pub part: Part,
    /// The unit was the cut of a KEYS: collect the names as they are now.
    pub names: Option<CollectNames>,
}

/// Names a unit within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(u64);

impl UnitId {
    /// The `count`-th unit of a shard.
    pub(super) fn new(count: u64, shard: u16) -> Self {
        Self(count << 16 | u64::from(shard))
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

/// The slots a unit needs of one shard.
#[derive(Clone, Debug)]
pub enum Slots {
    All,
    Some(Vec<Slot>),
}

impl Slots {
    pub(super) fn overlaps(&self, other: &Slots) -> bool {
        match (self, other) {
            (Slots::All, _) | (_, Slots::All) => true,
            (Slots::Some(a), Slots::Some(b)) => a.iter().any(|s| b.contains(s)),
        }
    }

    pub(super) fn contains_any(&self, slots: &[Slot]) -> bool {
        match self {
            Slots::All => true,
            Slots::Some(own) => slots.iter().any(|s| own.contains(s)),
        }
    }
}

/// A key whose queue of blocked clients is to be looked at when a unit has run.
pub(super) struct Again {
    pub db: u32,
    pub key: Box<[u8]>,
}

/// What a unit is for.
enum Work {
    Command(Box<Batch>, &'static Command),
    Task(Task),
}

/// A unit this shard coordinates, until all its tables are here.
pub(super) struct PendingUnit {
    work: Work,
    slots: Slots,
    /// The unit serves a blocked client: behind it others wait for this key.
    again: Option<Again>,
    parts: Vec<Option<Part>>,
    missing: usize,
    exporting: bool,
    frozen: bool,
}

/// What is left to do when a unit's command has run.
pub(super) struct UnitEnd {
    pub unit: UnitId,
    /// Which shards lent it tables.
    pub involved: Vec<bool>,
    pub slots: Slots,
    pub again: Option<Again>,
    pub batch: Box<Batch>,
}

impl Shard {
    pub(super) fn start_unit(
        &mut self,
        batch: Box<Batch>,
        command: &'static Command,
        slots: Slots,
        ctx: &mut Context<Self>,
    ) {
        self.begin_unit(Work::Command(batch, command), slots, None, ctx);
    }

    /// Like [`Shard::start_unit`] for a blocked client's command that runs again.
    pub(super) fn start_unit_again(
        &mut self,
        batch: Box<Batch>,
        command: &'static Command,
        slots: Slots,
        again: Again,
        ctx: &mut Context<Self>,
    ) -> UnitId {
        self.begin_unit(Work::Command(batch, command), slots, Some(again), ctx)
    }

    /// Runs a task when all slots of all shards are here.
    pub(super) fn start_task(&mut self, task: Task, ctx: &mut Context<Self>) {
        self.begin_unit(Work::Task(task), Slots::All, None, ctx);
    }

    fn begin_unit(
        &mut self,
        work: Work,
        slots: Slots,
        again: Option<Again>,
        ctx: &mut Context<Self>,
    ) -> UnitId {
        self.perform_effects();
        self.next_unit += 1;
        let unit = UnitId::new(self.next_unit, self.index);
        let workers = self.server.workers;
        let mut wanted: Vec<Option<Slots>> = vec![None; usize::from(workers)];
        match &slots {
            Slots::All => wanted.iter_mut().for_each(|w| *w = Some(Slots::All)),
            Slots::Some(slots) => {
                for &slot in slots {
                    match wanted[usize::from(slot.0 % workers)].get_or_insert_with(|| Slots::Some(Vec::new()))
                    {
                        Slots::Some(list) if !list.contains(&slot) => list.push(slot),
                        _ => {}
                    }
                }
            }
        }
        let from_client = matches!(&work, Work::Command(batch, _) if batch.session.origin.is_client());
        let refusable = again.is_none() && from_client;
        let missing = wanted.iter().flatten().count();
        let parts = (0..workers).map(|_| None).collect();
        self.units.insert(
            unit,
            PendingUnit { work, slots, again, parts, missing, exporting: false, frozen: false },
        );
        let server = self.server.clone();
        let _order = server.unit_order.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (shard, slots) in wanted.into_iter().enumerate() {
            if let Some(slots) = slots {
                let reserve = Reserve { unit, slots, coordinator: ctx.address(), refusable };
                tell(server.shard(shard as u16), reserve);
            }
        }
        unit
    }

    /// Grants every waiting reservation that overlaps neither what is held nor an earlier waiting one.
    pub(super) fn grant_waiting(&mut self) {
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
            let Some(Reserve { unit, slots, coordinator, .. }) = self.waiting.remove(index) else { return };
            if let Slots::Some(slots) = &slots {
                self.visit_names(slots);
            }
            let own = &mut self.keyspace.parts_mut()[0];
            let part = match &slots {
                Slots::All => own.detach_all(),
                Slots::Some(slots) => own.detach_slots(slots),
            };
            let frozen = self.has_frozen(&slots);
            self.held.push((unit, slots));
            self.promised.retain(|(promised, _)| *promised != unit);
            let exporting = self.executor.exporting;
            tell(&coordinator, Granted { unit, part, exporting, frozen });
        }
    }

    /// Runs a unit's command on the gathered tables, sends them home, and goes on with the batch.
    fn run_unit(&mut self, unit: UnitId, pending: PendingUnit, ctx: &mut Context<Self>) {
        let PendingUnit { work, slots, again, parts, exporting, frozen, .. } = pending;
        let work = match work {
            Work::Command(batch, command)
                if frozen
                    && again.is_none()
                    && batch.session.origin.is_client()
                    && may_write(&batch, command) =>
            {
                for part in parts.into_iter().flatten() {
                    tell(self.server.shard(part.index()), Return { unit, part, names: None });
                }
                return self.wait_for_thaw(batch, ctx);
            }
            work => work,
        };
        self.executor.exporting_elsewhere = exporting && self.server.workers > 1;
        let workers = self.server.workers;
        let involved: Vec<bool> = parts.iter().map(Option::is_some).collect();
        let parts = parts
            .into_iter()
            .enumerate()
            .map(|(i, p)| p.unwrap_or_else(|| Part::new(i as u16, workers)))
            .collect();
        let mut keyspace = Keyspace::of_unit(parts);
        self.executor.refresh();
        let (batch, command) = match work {
            Work::Command(batch, command) => (batch, command),
            Work::Task(task) => {
                self.executor.run_task(&mut keyspace, task);
                self.serve_ready(Some(UnitKeys { keyspace: &mut keyspace, slots: &slots }), ctx);
                let garbage = std::mem::take(&mut self.executor.effects.garbage);
                self.perform_effects();
                self.executor.exporting_elsewhere = false;
                for (index, part) in keyspace.into_parts().into_iter().enumerate() {
                    tell(self.server.shard(index as u16), Return { unit, part, names: None });
                }
                self.executor.effects.garbage = garbage;
                return self.perform_effects();
            }
        };
        if Some(command.id) == self.keys_command {
            let names = Some(self.names_of(batch, command, involved.len(), ctx));
            for (index, part) in keyspace.into_parts().into_iter().enumerate() {
                tell(self.server.shard(index as u16), Return { unit, part, names: names.clone() });
            }
            return;
        }
        let runs_code = crate::scripting::may_run_code(command, &batch.transaction);
        let end = UnitEnd { unit, involved, slots, again, batch };
        let mut keyspace = Box::new(keyspace);
        if runs_code {
            return self.run_script_in_unit(keyspace, end, command, ctx);
        }
        let mut end = end;
        self.executor.runs_again = end.batch.wait_ends_ms.is_some();
        let ended = self.executor.run(&mut keyspace, &mut end.batch, command, clock::tick());
        self.executor.runs_again = false;
        if self.executor.effects.wait.is_none() {
            self.note_what_is_shown(&mut end.batch, command);
        }
        crate::envelope::set_recent(ended);
        self.end_unit(*keyspace, end, ctx);
    }

    /// Does what follows a unit's command: who waits for its keys is served, the tables go home, the batch goes on.
    pub(super) fn end_unit(&mut self, mut keyspace: Keyspace, end: UnitEnd, ctx: &mut Context<Self>) {
        let UnitEnd { unit, involved, slots, again, mut batch } = end;
        let mut batch = match self.executor.effects.wait.take() {
            Some(wait) => {
                self.block(batch, wait, ctx);
                None
            }
            None => {
                batch.wait_ends_ms = None;
                batch.next += 1;
                Some(batch)
            }
        };
        self.executor.effects.ready.extend(again.map(|again| (again.db, again.key)));
        self.serve_ready(Some(UnitKeys { keyspace: &mut keyspace, slots: &slots }), ctx);
        let garbage = std::mem::take(&mut self.executor.effects.garbage);
        self.perform_effects();
        if let Some(tracking) = batch.take_if(|b| b.session.tracking.on && !b.session.await_reaper) {
            // Once the tables are home, others may change what was read: the reply must be on its way then.
            self.finish(tracking, Stop::Turn);
        }
        self.executor.exporting_elsewhere = false;
        self.send_home(unit, &involved, keyspace);
        self.executor.effects.garbage = garbage;
        match batch.take() {
            Some(mut batch) if batch.session.await_reaper => {
                batch.session.await_reaper = false;
                self.await_reaper(batch, ctx);
            }
            Some(batch) => {
                self.perform_effects();
                self.advance(batch, ctx);
            }
            None => self.perform_effects(),
        }
    }
}

impl Shard {
    /// Gives the tables of a unit back to those who lent them.
    pub(super) fn send_home(&self, unit: UnitId, involved: &[bool], keyspace: Keyspace) {
        for (index, part) in keyspace.into_parts().into_iter().enumerate() {
            if involved[index] {
                tell(self.server.shard(index as u16), Return { unit, part, names: None });
            }
        }
    }

    /// Ends a unit that will not get what it waits for. Gives its batch back, refused.
    pub(super) fn give_up_unit(&mut self, unit: UnitId, error: &CommandError) -> Option<Box<Batch>> {
        let PendingUnit { work, parts, .. } = self.units.remove(&unit)?;
        for part in parts.into_iter().flatten() {
            tell(self.server.shard(part.index()), Return { unit, part, names: None });
        }
        self.confirm_pause();
        // Tasks are not refused.
        let Work::Command(mut batch, command) = work else { return None };
        self.executor.refuse_next(&mut batch, Some(command), error);
        batch.next += 1;
        Some(batch)
    }
}

impl Receive<Reserve> for Shard {
    fn receive(&mut self, reserve: Reserve, _: &mut Context<Self>) {
        self.waiting.push_back(reserve);
        self.grant_waiting();
        self.refuse_waiting();
    }
}

impl Receive<Granted> for Shard {
    fn receive(&mut self, Granted { unit, part, exporting, frozen }: Granted, ctx: &mut Context<Self>) {
        let index = usize::from(part.index());
        let Some(pending) = self.units.get_mut(&unit) else {
            // It was given up meanwhile.
            return tell(self.server.shard(part.index()), Return { unit, part, names: None });
        };
        pending.parts[index] = Some(part);
        pending.exporting |= exporting;
        pending.frozen |= frozen;
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
        self.tell_deadline();
        self.held.retain(|(holder, _)| *holder != unit);
        if let Some(collect) = names {
            self.collect_names(collect, ctx);
        }
        if self.executor.exporting {
            self.forward_arrived();
        }
        self.grant_waiting();
        self.resume_exports(ctx);
        if self.held.is_empty() {
            for job in std::mem::take(&mut self.waiting_debug) {
                self.receive(job, ctx);
            }
            self.run_waiting_tasks(ctx);
        }
        self.retry_parked(ctx);
        if self.executor.migrating {
            self.tables_are_back(ctx);
        }
    }
}
