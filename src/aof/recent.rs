//! Which part of the log last changed what, by slot: with `appendfsync always` a reply that shows no more than keys of some
//! slots waits for what was last written there, and not for everybody's writes. Parts of the log have ascending numbers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::commands::keys::{KeyList, keys_of};
use crate::commands::table::original_table;
use crate::effects::Propagation;
use crate::slot::{SLOTS, Slot, slot_of};

/// The last part of the log for each slot, and the last one for all. Written by whoever performs effects, before anybody else
/// can see them: a slot's tables change hands by messages, which carry these numbers along.
#[derive(Default)]
pub struct RecentWrites {
    /// Made when they are first needed: most servers never are.
    slots: OnceLock<Box<[AtomicU64]>>,
    everything: AtomicU64,
}

impl RecentWrites {
    /// Part `sequence` says these commands.
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

    /// Part `sequence` may change what any key shows.
    pub fn note_everything(&self, sequence: u64) {
        self.everything.fetch_max(sequence, Ordering::Relaxed);
    }

    /// The last part that may have changed something in the slot.
    pub fn last(&self, slot: Slot) -> u64 {
        let here = self.slots.get().map_or(0, |slots| slots[slot.index()].load(Ordering::Relaxed));
        here.max(self.everything.load(Ordering::Relaxed))
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
