//! KEYS: the names of all shards as they are at one time, collected in slices.

use actix::prelude::*;
use skuld::commands::Command;
use skuld::keyspace::Treatment;
use skuld::slot::Slot;

use super::{SLICE_US_MAX, Shard};
use crate::batch::Batch;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::{Receive, tell};
use crate::names::{NamesJob, NamesWanted};
use crate::output_limit;
use crate::routing::{self, Route};

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

/// A KEYS whose names are being collected.
pub(super) struct PendingNames {
    batch: Box<Batch>,
    command: &'static Command,
    names: Vec<Vec<u8>>,
    count: usize,
    missing: usize,
}

impl Shard {
    /// Lets the running KEYS see the slots a write is about to change. False if it may change all of them.
    pub(super) fn visit_before(&mut self, batch: &Batch, command: &'static Command) -> bool {
        match routing::route(command, batch, self.server.workers, &self.server.scripts) {
            Route::Slots(slots) => {
                self.visit_names(&slots);
                true
            }
            Route::Anywhere => true,
            Route::Shard(_) | Route::Script(_) | Route::All => false,
        }
    }

    pub(super) fn visit_names(&mut self, slots: &[Slot]) {
        let part = &self.keyspace.parts()[0];
        for (_, job) in &mut self.collecting {
            slots.iter().for_each(|&slot| job.visit(part, slot));
        }
    }

    /// Begins a KEYS on this shard alone.
    pub(super) fn start_names(
        &mut self,
        batch: Box<Batch>,
        command: &'static Command,
        ctx: &mut Context<Self>,
    ) {
        self.perform_effects();
        let collect = self.names_of(batch, command, 1, ctx);
        self.collect_names(collect, ctx);
    }

    /// Takes note of a KEYS that `shards` shards will answer.
    pub(super) fn names_of(
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

    pub(super) fn collect_names(&mut self, collect: CollectNames, ctx: &mut Context<Self>) {
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
            if batch.session.origin.is_client() {
                let bytes = names.iter().map(Vec::len).sum();
                let config = &self.executor.config;
                output_limit::enforce_on_collected(&self.server, config, &batch.shared, bytes);
            }
            self.executor.reply_array(&mut batch, command, count, names);
            batch.next += 1;
            self.advance(batch, ctx);
        }
    }
}
