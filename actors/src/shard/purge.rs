//! Deleting the keys of slots that belong to other nodes now, in slices.

use std::sync::Arc;

use actix::prelude::*;
use skuld::effects::{Freeing, Grouping};
use skuld::migration::SlotSet;
use skuld::slot::Slot;

use super::{SLICE_US_MAX, Shard};
use crate::clock;
use crate::continue_later::continue_later;
use crate::envelope::Receive;

/// Keys of a slot that are deleted between two looks at the clock.
const KEYS_PER_LOOK: usize = 32;

/// Delete all keys of these slots, in all databases; the deletions are propagated.
pub struct DeleteSlots {
    pub slots: Arc<[Slot]>,
    pub done: Option<tokio::sync::oneshot::Sender<()>>,
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
pub(super) struct Purge {
    /// Those of this shard, last first.
    slots: Vec<Slot>,
    done: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Shard {
    /// One slice.
    fn purge_some(&mut self, ctx: &mut Context<Self>) {
        let started = clock::tick();
        self.executor.refresh();
        while let Some(purge) = self.purges.front_mut() {
            let Some(&slot) = purge.slots.last() else {
                if let Some(done) = self.purges.pop_front().and_then(|purge| purge.done) {
                    // Who asked may have gone.
                    let _ = done.send(());
                }
                continue;
            };
            // A unit has the tables: they come back soon.
            let is_held = self.held.iter().any(|(_, held)| held.contains_any(&[slot]));
            if !is_held && !self.purge_keys(slot) {
                self.purges.front_mut().expect("just seen").slots.pop();
            }
            if is_held || clock::micros_between(started, clock::tick()) > SLICE_US_MAX {
                break;
            }
        }
        self.perform_effects();
        if !self.purges.is_empty() {
            continue_later(self, ContinuePurge, ctx);
        }
    }

    /// Leaves these slots to whoever imports them.
    pub(super) fn forget_purges(&mut self, slots: &SlotSet) {
        self.purges.iter_mut().for_each(|purge| purge.slots.retain(|slot| !slots.contains(*slot)));
    }

    /// Deletes some keys of a slot; false if there are none left.
    fn purge_keys(&mut self, slot: Slot) -> bool {
        let part = &self.keyspace.parts()[0];
        let found = (0..part.databases()).find_map(|db| {
            let table = part.database(db)?.slot(slot).filter(|table| !table.is_empty())?;
            let keys: Vec<Box<[u8]>> =
                table.table().iter().take(KEYS_PER_LOOK).map(|entry| entry.key().into()).collect();
            Some((db, keys))
        });
        let Some((db, keys)) = found else { return false };
        self.visit_names(&[slot]);
        let lazy = self.executor.config.lazyfree_lazy_server_del;
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
        true
    }
}

impl Receive<DeleteSlots> for Shard {
    fn receive(&mut self, DeleteSlots { slots, done }: DeleteSlots, ctx: &mut Context<Self>) {
        let (index, workers) = (self.index, self.server.workers);
        let slots: Vec<Slot> = slots.iter().rev().copied().filter(|slot| slot.0 % workers == index).collect();
        let is_first = self.purges.is_empty();
        self.purges.push_back(Purge { slots, done });
        if is_first {
            self.purge_some(ctx);
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
        let keys = |slot: Slot| -> u64 {
            (0..part.databases())
                .filter_map(|db| part.database(db)?.slot(slot))
                .map(|table| table.len() as u64)
                .sum()
        };
        let counts = slots.iter().filter(|slot| part.owns(**slot)).map(|slot| (*slot, keys(*slot))).collect();
        // Who asked may have gone.
        let _ = reply.send(counts);
    }
}
