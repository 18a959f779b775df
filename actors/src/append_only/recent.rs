//! Which `Append` last changed what, by slot: with `appendfsync always` a reply that shows no more than keys of some slots
//! waits for what was last written there, and not for everybody's writes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use skuld::commands::Command;
use skuld::commands::keys::{KeyList, keys_of};
use skuld::commands::spec::{READONLY, Scope};
use skuld::commands::table::original_table;
use skuld::effects::Propagation;
use skuld::slot::{SLOTS, Slot, slot_of};

use crate::batch::Batch;
use crate::routing::{self, Route};
use crate::scripting::{self, Scripts};

/// The last `Append` for each slot, and the last one for all. Written by whoever performs effects, before anybody else
/// can see them: a slot's tables change hands by messages, which carry these numbers along.
#[derive(Default)]
pub struct RecentWrites {
    /// Made when they are first needed: most servers never are.
    slots: OnceLock<Box<[AtomicU64]>>,
    everything: AtomicU64,
}

impl RecentWrites {
    /// `Append` number `sequence` says these commands.
    pub fn note(&self, sequence: u64, propagation: &Propagation) {
        let slots = self.slots.get_or_init(|| {
            // What was written before is not known by slot.
            self.everything.store(sequence, Ordering::Relaxed);
            std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect()
        });
        propagation.for_each_request(|_, _, words| match slots_changed(words) {
            Changed::Keys(keys) => {
                for key in &keys {
                    let slot = slot_of(words[key.position as usize]);
                    slots[slot.index()].fetch_max(sequence, Ordering::Relaxed);
                }
            }
            Changed::Nothing => {}
            Changed::Anything => self.note_everything(sequence),
        });
    }

    /// `Append` number `sequence` may change what any key shows.
    pub fn note_everything(&self, sequence: u64) {
        self.everything.fetch_max(sequence, Ordering::Relaxed);
    }

    /// The last `Append` that may have changed something in the slot.
    pub fn last(&self, slot: Slot) -> u64 {
        let here = self.slots.get().map_or(0, |slots| slots[slot.index()].load(Ordering::Relaxed));
        here.max(self.everything.load(Ordering::Relaxed))
    }

    /// The last `Append` that the reply to the batch's next request may show something of, if that is known: a command
    /// that only reads the keys it names has just run.
    pub fn shown_by(&self, command: &'static Command, batch: &Batch, scripts: &Scripts) -> Option<u64> {
        let reads_keys = command.flags.has(READONLY)
            && command.spec.scope == Scope::Keys
            && batch.session.origin.is_client()
            && !scripting::runs_code(command);
        // Two workers: with one, nobody needs to know where SORT's patterns lead.
        match reads_keys.then(|| routing::route(command, batch, 2, scripts)) {
            Some(Route::Slots(slots)) => slots.iter().map(|slot| self.last(*slot)).max(),
            _ => None,
        }
    }
}

enum Changed {
    Keys(KeyList),
    Nothing,
    Anything,
}

fn slots_changed(words: &[&[u8]]) -> Changed {
    let known = (!words.is_empty()).then(|| original_table().lookup_request(words));
    let Some(Ok(command)) = known else { return Changed::Anything };
    if matches!(command.name, "multi" | "exec" | "select") {
        return Changed::Nothing;
    }
    let mut keys = KeyList::new();
    if keys_of(command, words, &mut keys).is_err() || keys.is_empty() {
        return Changed::Anything;
    }
    Changed::Keys(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(commands: &[&[&[u8]]]) -> RecentWrites {
        let recent = RecentWrites::default();
        // From here on writes are known by slot.
        recent.note(1, &Propagation::default());
        for (sequence, words) in (2..).zip(commands) {
            let mut propagation = Propagation::default();
            propagation.push(0, words);
            recent.note(sequence, &propagation);
        }
        recent
    }

    #[test]
    fn a_slot_knows_its_last_write() {
        let recent = noted(&[&[b"SET", b"a", b"1"], &[b"MSET", b"b", b"1", b"c", b"2"], &[b"DEL", b"a"]]);
        let last = [b"a", b"b", b"c", b"d"].map(|key| recent.last(slot_of(key)));
        assert_eq!(last, [4, 3, 3, 1]);
    }

    #[test]
    fn what_names_no_keys_may_have_changed_any() {
        for words in [&[b"FLUSHALL".as_slice()] as &[&[u8]], &[b"SWAPDB", b"0", b"1"], &[b"NEVERHEARD", b"a"]]
        {
            assert_eq!(noted(&[words]).last(slot_of(b"z")), 2, "{words:?}");
        }
        assert_eq!(noted(&[&[b"MULTI"], &[b"SELECT", b"3"], &[b"EXEC"]]).last(slot_of(b"z")), 1);
    }
}
