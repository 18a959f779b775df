//! Deleting the keys of slots that belong to other nodes now.
//!
//! The tables of a slot are taken out whole, in the time of a few words: from then on its keys are gone. Replicas, the
//! append-only file and clients that watch or track them are told key by key, in slices, from the tables that were taken;
//! then the reaper frees them. A table that an export has not finished with is emptied key by key instead, because the
//! export wants the old values.
//!
//! Invariant: what is told about a slot's old keys is told before anything else is written to the slot.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::spec::WRITE;
use skuld::effects::{Freeing, Garbage, Grouping};
use skuld::keyspace::Entry;
use skuld::keyspace::table::Table;
use skuld::migration::SlotSet;
use skuld::slot::Slot;

use super::{SLICE_US_MAX, Shard};
use crate::batch::Batch;
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::Receive;
use crate::routing::{self, Route};

/// Keys of a slot that are deleted between two looks at the clock.
const KEYS_PER_LOOK: usize = 32;

/// Delete all keys of these slots, in all databases; the deletions are propagated.
pub struct DeleteSlots {
    pub slots: Arc<[Slot]>,
    /// Told how many keys there were, when everybody has been told of them.
    pub done: Option<tokio::sync::oneshot::Sender<u64>>,
}

/// Go on deleting.
pub struct ContinuePurge;

/// Count the keys of these slots, in all databases.
pub struct CountSlotKeys {
    pub slots: Arc<[Slot]>,
    /// Those of this shard.
    pub reply: tokio::sync::oneshot::Sender<Vec<(Slot, u64)>>,
}

/// What is left of one [`DeleteSlots`].
#[derive(Default)]
pub(super) struct Purge {
    /// Those of this shard that still have keys, last first.
    slots: Vec<Slot>,
    taken: VecDeque<Taken>,
    keys: u64,
    done: Option<tokio::sync::oneshot::Sender<u64>>,
}

/// A table that was taken out, and how far telling of its keys is.
struct Taken {
    db: u32,
    slot: Slot,
    table: Table<Entry>,
    place: u64,
}

impl Shard {
    /// One slice.
    fn purge_some(&mut self, ctx: &mut Context<Self>) {
        let started = clock::tick();
        self.executor.refresh();
        while let Some(mut purge) = self.purges.pop_front() {
            let goes_on = self
                .advance_purge(&mut purge, &|| clock::micros_between(started, clock::tick()) <= SLICE_US_MAX);
            if purge.slots.is_empty() && purge.taken.is_empty() {
                self.perform_effects();
                if let Some(done) = purge.done {
                    // Who asked may have gone.
                    let _ = done.send(purge.keys);
                }
            } else {
                self.purges.push_front(purge);
            }
            if !goes_on {
                break;
            }
        }
        self.perform_effects();
        self.note_migrations();
        if !self.purges.is_empty() {
            continue_later(self, ContinuePurge, ctx);
        }
    }

    /// Goes on with one purge; false if the slice is over.
    fn advance_purge(&mut self, purge: &mut Purge, has_time: &dyn Fn() -> bool) -> bool {
        loop {
            if let Some(taken) = purge.taken.pop_front() {
                if let Some(rest) = self.tell_of_taken(taken, has_time) {
                    purge.taken.push_front(rest);
                    return false;
                }
            } else if let Some(&slot) = purge.slots.last() {
                // A unit has the tables: they come back soon.
                if self.is_held(slot) {
                    return false;
                }
                if self.take_or_purge(slot, purge) {
                    purge.slots.pop();
                }
            } else {
                return true;
            }
            if !has_time() {
                return false;
            }
        }
    }

    fn is_held(&self, slot: Slot) -> bool {
        self.held.iter().any(|(_, held)| held.contains_any(&[slot]))
    }

    /// Takes the slot's tables, or deletes some of its keys; true if none is left.
    fn take_or_purge(&mut self, slot: Slot, purge: &mut Purge) -> bool {
        let part = &self.keyspace.parts()[0];
        let in_export = (0..part.databases())
            .filter_map(|db| part.database(db)?.slot(slot))
            .any(|table| !table.is_empty() && table.lanes().any_open());
        if in_export {
            let purged = self.purge_keys(slot);
            purge.keys += purged;
            return purged == 0;
        }
        self.visit_names(&[slot]);
        for (db, table) in self.keyspace.parts_mut()[0].take_slot(slot) {
            let keys = table.len() as u64;
            purge.keys += keys;
            self.executor.effects.dirty += keys;
            purge.taken.push_back(Taken { db, slot, table: table.into_table(), place: 0 });
        }
        true
    }

    /// Tells everybody who listens of keys that are gone, for as long as there is time, and has them freed. Gives back
    /// what is left to tell.
    fn tell_of_taken(&mut self, mut taken: Taken, has_time: &dyn Fn() -> bool) -> Option<Taken> {
        let lazy = self.executor.config.lazyfree_lazy_server_del;
        let name: &[u8] = if lazy { b"UNLINK" } else { b"DEL" };
        let effects = &mut self.executor.effects;
        // A replica's stream is its primary's.
        let propagates = effects.listening.propagation && !self.executor.is_replica;
        while propagates || effects.listening.modified {
            let Taken { db, slot, table, place } = &mut taken;
            *place = table.scan(*place, &mut |entry| {
                if propagates {
                    effects.also_propagate(*db, &[name, entry.key()]);
                }
                effects.modified(*db, *slot, entry.key());
            });
            effects.propagation.close_group(Grouping::Apart);
            if taken.place == 0 {
                break;
            }
            if !has_time() {
                return Some(taken);
            }
        }
        effects.garbage.push(Freeing::counted_if(lazy).apply(Garbage::Tables(vec![taken.table])));
        None
    }

    /// Empties slots at once, and tells of what was in them, and of what an earlier purge had not told of yet.
    pub(super) fn purge_at_once(&mut self, slots: &SlotSet) -> u64 {
        self.executor.refresh();
        let index = self.index;
        let own = slots.iter().filter(|slot| slot.0 % self.server.workers == index).collect();
        let mut all = Purge { slots: own, ..Purge::default() };
        for purge in &mut self.purges {
            purge.slots.retain(|slot| !slots.contains(*slot));
            let (settled, others): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut purge.taken).into_iter().partition(|taken| slots.contains(taken.slot));
            purge.taken = others;
            all.taken.extend(settled);
        }
        let is_whole = self.advance_purge(&mut all, &|| true);
        // Who calls this has seen to it that no unit has any.
        debug_assert!(is_whole, "a slot that is to be emptied at once is held");
        self.perform_effects();
        all.keys
    }

    /// Whoever writes to a slot whose old keys are being told of has that finished first.
    pub(super) fn settle_purges(&mut self, batch: &Batch, command: &'static Command) {
        let writes = command.flags.has(WRITE) || command.name == "exec";
        if self.purges.is_empty() || !writes || !batch.session.origin.is_client() {
            return;
        }
        let (Route::Slots(slots) | Route::Script(slots)) =
            routing::route(command, batch, 2, &self.server.scripts)
        else {
            return;
        };
        let mut settled = Vec::new();
        for purge in &mut self.purges {
            let (now, later): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut purge.taken).into_iter().partition(|taken| slots.contains(&taken.slot));
            purge.taken = later;
            settled.extend(now);
        }
        for taken in settled {
            let rest = self.tell_of_taken(taken, &|| true);
            debug_assert!(rest.is_none(), "there is no limit of time");
        }
    }

    /// Deletes some keys of a slot, one by one; how many.
    fn purge_keys(&mut self, slot: Slot) -> u64 {
        let part = &self.keyspace.parts()[0];
        let found = (0..part.databases()).find_map(|db| {
            let table = part.database(db)?.slot(slot).filter(|table| !table.is_empty())?;
            let keys: Vec<Box<[u8]>> =
                table.table().iter().take(KEYS_PER_LOOK).map(|entry| entry.key().into()).collect();
            Some((db, keys))
        });
        let Some((db, keys)) = found else { return 0 };
        self.visit_names(&[slot]);
        let lazy = self.executor.config.lazyfree_lazy_server_del;
        let count = keys.len() as u64;
        self.executor.with_access(&mut self.keyspace, |access| {
            for key in keys {
                let Some(entry) = access.take_in(db, &key) else { continue };
                access.propagate_deletion(db, &key, lazy);
                access.effects.modified(db, slot, &key);
                access.effects.dirty += 1;
                access.discard_entry_as(entry, Freeing::counted_if(lazy));
            }
            access.effects.propagation.close_group(Grouping::Apart);
        });
        count
    }
}

impl Receive<DeleteSlots> for Shard {
    fn receive(&mut self, DeleteSlots { slots, done }: DeleteSlots, ctx: &mut Context<Self>) {
        let (index, workers) = (self.index, self.server.workers);
        self.perform_effects();
        let part = &self.keyspace.parts()[0];
        let topology = self.server.cluster.as_ref().map(|cluster| cluster.topology());
        // An import asks to have its own keys deleted, and waits for it. Else the order may be late, and the slot on its way
        // back, or back.
        let is_late = |slot: Slot| {
            done.is_none() && (part.is_hidden(slot) || topology.as_ref().is_some_and(|t| t.is_mine(slot)))
        };
        let slots: Vec<Slot> =
            slots.iter().rev().copied().filter(|slot| slot.0 % workers == index && !is_late(*slot)).collect();
        let mut purge = Purge { done, ..Purge::default() };
        // Whoever learns of the new owner finds nothing here any more.
        for slot in slots {
            if self.is_held(slot) || !self.take_or_purge(slot, &mut purge) {
                purge.slots.push(slot);
            }
        }
        let is_first = self.purges.is_empty();
        self.purges.push_back(purge);
        if is_first {
            self.purge_some(ctx);
        } else {
            self.perform_effects();
        }
    }
}

impl Receive<ContinuePurge> for Shard {
    fn receive(&mut self, _: ContinuePurge, ctx: &mut Context<Self>) {
        self.purge_some(ctx);
    }
}

impl Receive<CountSlotKeys> for Shard {
    fn receive(&mut self, CountSlotKeys { slots, reply }: CountSlotKeys, _: &mut Context<Self>) {
        let part = &self.keyspace.parts()[0];
        let counts = slots
            .iter()
            .filter(|slot| part.owns(**slot))
            .map(|slot| (*slot, part.keys_in_slot(*slot)))
            .collect();
        // Who asked may have gone.
        let _ = reply.send(counts);
    }
}
