//! Blocked clients on a shard: letting a client wait, serving those who wait for what a command has just made ready,
//! ending waits whose time is over.
//!
//! Serving happens right after the command, transaction or unit that made a key ready and before anything else runs on
//! that key's slot, in the order in which the clients came. A client whose command needs keys of other shards is served
//! with the keys that are here; if the command needs all of them (BLMOVE) it runs as a unit, and until that unit holds the
//! key's slot nobody else's command runs on it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use skuld::commands::waiting::restricted;
use skuld::effects::Wait;
use skuld::keyspace::{Keyspace, Type};
use skuld::slot::{Slot, slot_of};

use super::units::{Again, Slots};
use super::{ExecuteBatch, Shard};
use crate::batch::{Batch, Stop};
use crate::blocked::{Claimed, Ended, Waiter, end};
use crate::clock;
use crate::connection::Waits;
use crate::envelope::{Receive, tell};
use crate::executor::Resolved;
use crate::routing::{self, Route};

/// The time of waits on this shard's timer is over.
pub struct EndWaits;

/// What a unit runs on: the tables it gathered, and of which slots they are.
pub(super) struct UnitKeys<'k> {
    pub keyspace: &'k mut Keyspace,
    pub slots: &'k Slots,
}

/// How serving one client went.
enum Served {
    /// The next in the queue may be looked at.
    Done,
    /// A unit will run on this key; it looks at the queue again.
    KeyIsPromised,
}

impl Shard {
    /// Lets the client wait whose command has just found nothing. Whoever holds the slots of its keys calls this before
    /// giving them up.
    pub(super) fn block(&mut self, mut batch: Box<Batch>, mut wait: Wait, ctx: &mut Context<Self>) {
        if let Some(deadline_ms) = batch.wait_ends_ms.take() {
            wait.deadline_ms = deadline_ms;
        }
        let rewritten = std::mem::take(&mut wait.rewritten);
        if !rewritten.is_empty() {
            let mut words = batch.owned_args(batch.next);
            for (place, word) in rewritten {
                words[place] = word;
            }
            batch.set_args(batch.next, &words);
        }
        batch.publish();
        self.executor.take_window(&mut batch);
        self.perform_effects();
        let mut replies = std::mem::take(&mut batch.finished);
        replies.push(std::mem::take(&mut batch.output));
        if self.executor.effects.listening.propagation {
            batch.appended = self.server.replication.issued();
        }
        tell(&batch.connection, Waits { replies, appended: batch.appended });
        let slots = match self
            .command_of(&batch)
            .map(|c| routing::route(c, &batch, self.server.workers, &self.server.scripts))
        {
            Some(Route::Slots(slots)) => slots.into_vec(),
            _ => Vec::new(),
        };
        let shared = batch.shared.clone();
        let deadline_ms = wait.deadline_ms;
        let waiter = self.server.blocked.enter(batch, wait, slots, self.index);
        if shared.killed.load(Ordering::SeqCst) {
            // Its connection closed before it could see that there is a wait to end.
            drop(self.server.blocked.claim(&waiter));
        } else if deadline_ms > 0 {
            self.end_waits_at(deadline_ms, ctx);
        }
    }

    fn command_of(&self, batch: &Batch) -> Option<&'static skuld::commands::Command> {
        let words = batch.owned_args(batch.next);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.server.table.resolve(&words).ok()
    }

    /// Sets the timer for a deadline (Unix milliseconds) unless it goes off before it anyway.
    fn end_waits_at(&mut self, deadline_ms: i64, ctx: &mut Context<Self>) {
        if self.waits_end_at.is_some_and(|at| at <= deadline_ms) {
            return;
        }
        if let Some(timer) = self.waits_timer.take() {
            ctx.cancel_future(timer);
        }
        self.waits_end_at = Some(deadline_ms);
        let left = (deadline_ms - clock::unix_ms()).max(0) as u64;
        let timer =
            crate::clock::after(ctx, std::time::Duration::from_millis(left), |shard: &mut Self, ctx| {
                shard.waits_end_at = None;
                shard.waits_timer = None;
                tell(&ctx.address(), EndWaits);
            });
        self.waits_timer = Some(timer);
    }

    /// Serves those who wait for keys that what has just run made ready. `unit` is what it ran on if that is not this
    /// shard's own keyspace.
    pub(super) fn serve_ready(&mut self, mut unit: Option<UnitKeys<'_>>, ctx: &mut Context<Self>) {
        while !self.executor.effects.ready.is_empty() {
            let mut ready = std::mem::take(&mut self.executor.effects.ready);
            let mut seen = std::collections::HashSet::new();
            ready.retain(|(db, key)| {
                self.server.blocked.is_awaited(*db, key) && seen.insert((*db, key.clone()))
            });
            for (db, key) in ready {
                self.serve_key(db, &key, &mut unit, ctx);
            }
        }
    }

    /// Serves those who wait for one key. Who comes to wait again meanwhile has had its turn.
    fn serve_key(&mut self, db: u32, key: &[u8], unit: &mut Option<UnitKeys<'_>>, ctx: &mut Context<Self>) {
        let Some(last) = self.server.blocked.last_of(db, key) else { return };
        let mut after = None;
        while let Some(waiter) = self.server.blocked.next_of(db, key, after, last) {
            after = Some(waiter.number);
            let kind = self.kind_of(db, key, unit.as_ref());
            if kind.is_none() && !self.server.blocked.any_on_loss() {
                return;
            }
            if (waiter.until_loss || kind.is_some_and(|kind| waiter.wants(kind)))
                && let Served::KeyIsPromised = self.serve(&waiter, key, unit.as_mut(), ctx)
            {
                return;
            }
        }
    }

    /// The type of a key that is there and has not expired.
    fn kind_of(&self, db: u32, key: &[u8], unit: Option<&UnitKeys<'_>>) -> Option<Type> {
        let keyspace = unit.map_or(&*self.keyspace, |u| &*u.keyspace);
        let slot = slot_of(key);
        let entry = keyspace.part(slot).database(db)?.find(slot, skuld::hash::hash(key), key)?;
        entry.expiry().is_none_or(|deadline| clock::unix_ms() <= deadline).then(|| entry.kind())
    }

    /// Whether a slot's keys are within reach of what runs now.
    fn is_here(&self, slot: Slot, unit: Option<&UnitKeys<'_>>) -> bool {
        match unit {
            Some(unit) => unit.slots.contains_any(&[slot]),
            None => {
                slot.0 % self.server.workers == self.index
                    && !self.held.iter().any(|(_, held)| held.contains_any(&[slot]))
            }
        }
    }

    /// Runs a waiting client's command again.
    fn serve(
        &mut self,
        waiter: &Arc<Waiter>,
        key: &[u8],
        unit: Option<&mut UnitKeys<'_>>,
        ctx: &mut Context<Self>,
    ) -> Served {
        let Some(Claimed::Batch(mut batch)) = self.server.blocked.claim(waiter) else { return Served::Done };
        if batch.shared.killed.load(Ordering::Relaxed) {
            // Its connection is closing and waits for nothing.
            return Served::Done;
        }
        batch.wait_ends_ms = Some(waiter.deadline_ms);
        let keyspace = unit.as_deref().map_or(&*self.keyspace, |unit| &*unit.keyspace);
        let command = match self.executor.resolve(keyspace, &mut batch) {
            Resolved::Run(command) if self.server.pause.holds(|| self.may_write(&batch, command)) => {
                batch.wait_ends_ms = None;
                self.hold_back(batch, ctx);
                return Served::Done;
            }
            Resolved::Run(command) => command,
            Resolved::Server(_) => {
                self.finish(batch, Stop::NeedsServer);
                return Served::Done;
            }
            Resolved::Refused => {
                batch.next += 1;
                self.go_on(batch, ctx);
                return Served::Done;
            }
        };
        let mut original = None;
        if !waiter.slots.iter().all(|&slot| self.is_here(slot, unit.as_deref())) {
            let words = batch.owned_args(batch.next);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let here = |key: &[u8]| self.is_here(slot_of(key), unit.as_deref());
            match restricted(command.spec.name, &words, here) {
                Some(words) => original = Some(batch.set_args(batch.next, &words)),
                None => {
                    let again = Again { db: waiter.db, key: key.into() };
                    let slots = Slots::Some(waiter.slots.clone());
                    let promised = self.start_unit_again(batch, command, slots, again, ctx);
                    if unit.is_none() {
                        self.promised.push((promised, slot_of(key)));
                    }
                    return Served::KeyIsPromised;
                }
            }
        }
        if unit.is_none() && !self.collecting.is_empty() {
            self.visit_before(&batch, command);
        }
        let keyspace = match unit {
            Some(unit) => &mut *unit.keyspace,
            None => &mut self.keyspace,
        };
        let at = clock::tick();
        self.executor.runs_again = true;
        self.executor.run(keyspace, &mut batch, command, at);
        self.executor.runs_again = false;
        let was_restricted = original.is_some();
        if let Some(original) = original {
            batch.restore_args(batch.next, original);
        }
        match self.executor.effects.wait.take() {
            // It is not what this client waits for. While it was not waiting, its other keys may have become ready where
            // nobody could see that it wants them: it looks at all of them once more.
            Some(_) if was_restricted => {
                self.start_unit(batch, command, Slots::Some(waiter.slots.clone()), ctx);
            }
            Some(wait) => self.block(batch, wait, ctx),
            None => {
                batch.next += 1;
                self.go_on(batch, ctx);
            }
        }
        Served::Done
    }

    /// The client is not blocked any more: its reply leaves, and what it has sent behind the command runs in its turn.
    fn go_on(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        batch.wait_ends_ms = None;
        if batch.next == batch.requests.len() || batch.session.close_after_reply {
            self.finish(batch, Stop::Done);
        } else {
            tell(&ctx.address(), ExecuteBatch(batch));
        }
    }
}

impl Receive<EndWaits> for Shard {
    fn receive(&mut self, _: EndWaits, ctx: &mut Context<Self>) {
        for waiter in self.server.blocked.due(self.index, clock::unix_ms()) {
            end(&self.server, &waiter, Ended::TimedOut);
        }
        if let Some(deadline_ms) = self.server.blocked.next_deadline(self.index) {
            self.end_waits_at(deadline_ms, ctx);
        }
    }
}
