//! The keys of moving slots, sent in slices while they go on changing, and what has to be sent about the changes.
//!
//! The keys of a slot are sent in the order in which a scan meets them, and a scan meets them in the order of their hashes
//! with the bits reversed, whatever the table does meanwhile. So whether a key was sent needs no mark: it was if its slot
//! is done, or if it lies below the cursor of the slot under way. Effects on keys that were sent are passed on; effects
//! on keys that were not are withheld, because the value that will be sent contains them. An effect that touches both
//! kinds (RENAME over the cursor, say) is replaced by all its keys as they are now, after the slice of execution it is
//! from: `DEL key` and the key anew. Such a key counts as sent from then on.
//!
//! A key with many elements leaves in pieces over several slices. While it is in flight clients that would change it wait
//! ([`SlotSnapshot::has_in_flight`]); if something else does change it (expiry, a script that named no keys), it is sent
//! anew as a whole.
//!
//! Invariant: what is sent, applied in order to empty slots, makes them what they are here.
//! Invariant: a key is made by commands that expect none of that name, and none is there.

use std::collections::HashSet;
use std::sync::Arc;

use super::log::SlotSet;
use crate::aof::rewrite::{self, Progress};
use crate::commands::keys::{KeyList, keys_of};
use crate::commands::spec::WRITE;
use crate::commands::table::original_table;
use crate::commands::{Command, Handler};
use crate::effects::{Propagation, encode_command};
use crate::hash::hash;
use crate::keyspace::{Keyspace, Part};
use crate::slot::{Slot, slot_of};

/// Commands to send, each run of them with its database.
pub type Pieces = Vec<(u32, Vec<u8>)>;

/// One slice's worth of keys.
#[derive(Debug, Default)]
pub struct Slice {
    pub pieces: Pieces,
    pub keys: u64,
    pub bytes: usize,
    /// That was the last key.
    pub is_last: bool,
}

/// How far one export is with the slots of one shard.
pub struct SlotSnapshot {
    slots: Arc<SlotSet>,
    /// Slots still to be sent, last first.
    left: Vec<Slot>,
    done: SlotSet,
    cursor: Cursor,
    /// Keys ahead of the cursor that were sent early.
    early: HashSet<(u32, Box<[u8]>)>,
    /// Keys of the slot under way, behind the cursor, of which only the beginning was sent.
    in_flight: Vec<InFlight>,
    /// Keys that were in flight and no longer are.
    landed: u64,
    is_finished: bool,
}

struct InFlight {
    db: u32,
    key: Box<[u8]>,
    progress: Progress,
}

/// What a key may take of one slice before it is sent in pieces, bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// How far the slot under way is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    slot: Option<Slot>,
    db: u32,
    /// The scan's; 0 at the start of a database.
    place: u64,
}

/// One command of the stream, with what it touches.
pub struct Effect<'p> {
    db: u32,
    bytes: &'p [u8],
    slot: Slot,
    keys: Vec<(u32, Box<[u8]>)>,
    /// HDEL: means the same before and after the field is sent, and comes by itself as fields expire.
    is_removal_of_fields: bool,
}

impl Effect<'_> {
    pub fn db(&self) -> u32 {
        self.db
    }

    /// The command as it is sent.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Of its keys; the first one's.
    pub fn slot(&self) -> Slot {
        self.slot
    }
}

impl SlotSnapshot {
    /// Of `slots`, those in `own` are here.
    pub fn new(slots: Arc<SlotSet>, own: impl DoubleEndedIterator<Item = Slot>) -> Self {
        Self {
            slots,
            left: own.rev().collect(),
            done: SlotSet::default(),
            cursor: Cursor::default(),
            early: HashSet::new(),
            in_flight: Vec::new(),
            landed: 0,
            is_finished: false,
        }
    }

    /// The slots of the whole export, those of other shards included.
    pub fn slots(&self) -> &Arc<SlotSet> {
        &self.slots
    }

    /// All keys are sent.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether some key's value is being sent in pieces.
    pub fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// How many keys have been sent in pieces, to the last one or as far as was of use.
    pub fn landed(&self) -> u64 {
        self.landed
    }

    /// The slot of such keys, if there are any.
    pub fn slot_in_flight(&self) -> Option<Slot> {
        self.cursor.slot.filter(|_| self.has_in_flight())
    }

    /// Whether a command that may write, about keys of [`SlotSnapshot::slot_in_flight`], may change a key in flight. `db` is
    /// the selected database.
    pub fn may_change_in_flight(&self, db: u32, command: &Command, words: &[&[u8]]) -> bool {
        if !command.flags.has(WRITE) || matches!(command.spec.handler, Handler::Script) {
            // EXEC and scripts: what they do with which keys is not looked into.
            return true;
        }
        let mut keys = KeyList::new();
        // What is wrong with the request is found when it runs.
        let _ = keys_of(command, words, &mut keys);
        let in_all = reaches_other_databases(command);
        let concerned = |one: &InFlight, word: &[u8]| (in_all || one.db == db) && *one.key == *word;
        keys.iter().any(|key| self.in_flight.iter().any(|one| concerned(one, words[key.position as usize])))
    }

    /// Whether this key's value is being sent in pieces.
    fn is_in_flight(&self, db: u32, key: &[u8]) -> bool {
        self.in_flight.iter().any(|one| one.db == db && *one.key == *key)
    }

    /// Whether the key's value, or an earlier one, was sent; or at least begun.
    fn was_sent(&self, db: u32, slot: Slot, key: &[u8]) -> bool {
        if self.done.contains(slot) {
            return true;
        }
        let cursor = self.cursor;
        let behind =
            cursor.slot == Some(slot) && (db < cursor.db || (db == cursor.db && is_below(key, cursor.place)));
        behind || (!self.early.is_empty() && self.early.contains(&(db, key.into())))
    }

    /// Takes keys until `go_on` says no; it is asked with the bytes so far after each bucket of a table. `is_held` are
    /// slots whose tables are elsewhere for the moment: the slice ends there.
    pub fn advance(
        &mut self,
        part: &Part,
        is_held: &dyn Fn(Slot) -> bool,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Slice {
        let mut slice = Slice::default();
        while !self.is_finished {
            let slot = match self.cursor.slot {
                Some(slot) => slot,
                None => match self.left.pop() {
                    Some(slot) => {
                        self.cursor = Cursor { slot: Some(slot), db: 0, place: 0 };
                        slot
                    }
                    None => {
                        (self.is_finished, slice.is_last) = (true, true);
                        break;
                    }
                },
            };
            if is_held(slot) {
                break;
            }
            if self.has_in_flight() {
                slice.bytes += self.go_on_with_in_flight(slot, part, &mut slice.pieces);
                if !go_on(slice.bytes) {
                    break;
                }
                continue;
            }
            let Cursor { db, place, .. } = self.cursor;
            if db >= part.databases() {
                self.done.insert(slot);
                self.cursor.slot = None;
                self.early.retain(|(_, key)| slot_of(key) != slot);
                continue;
            }
            let table = part.database(db).and_then(|database| database.slot(slot));
            let Some(table) = table.filter(|table| !table.is_empty()) else {
                (self.cursor.db, self.cursor.place) = (db + 1, 0);
                continue;
            };
            let out = piece_of(&mut slice.pieces, db);
            let before = out.len();
            let (early, in_flight) = (&mut self.early, &mut self.in_flight);
            let mut keys = 0;
            let next = table.table().scan(place, &mut |entry| {
                let key = entry.key();
                // After a merge of buckets a scan may meet again what lies below the cursor.
                let is_sent = is_below(key, place) || (!early.is_empty() && early.remove(&(db, key.into())));
                if !is_sent {
                    let mut progress = Progress::default();
                    if !progress.step(out, entry, PIECE_BYTES) {
                        in_flight.push(InFlight { db, key: key.into(), progress });
                    }
                    keys += 1;
                }
            });
            slice.bytes += out.len() - before;
            slice.keys += keys;
            self.cursor.place = next;
            if next == 0 {
                self.cursor.db = db + 1;
            }
            if !go_on(slice.bytes) {
                break;
            }
        }
        slice.pieces.retain(|(_, bytes)| !bytes.is_empty());
        slice
    }

    /// Appends the next piece of a key in flight; the bytes of it.
    fn go_on_with_in_flight(&mut self, slot: Slot, part: &Part, pieces: &mut Pieces) -> usize {
        let Some(InFlight { db, key, progress }) = self.in_flight.last_mut() else { return 0 };
        let entry = part.database(*db).and_then(|database| database.find(slot, hash(key), key));
        let out = piece_of(pieces, *db);
        let before = out.len();
        // What is gone was told of as a change.
        let is_done = entry.is_none_or(|entry| progress.step(out, entry, PIECE_BYTES));
        let bytes = out.len() - before;
        if is_done {
            self.in_flight.pop();
            self.landed += 1;
        }
        bytes
    }

    /// What to send of commands that were executed since the last call. `keyspace` is as they left it.
    pub fn forward<'e, 'p: 'e>(
        &mut self,
        keyspace: &Keyspace,
        effects: impl IntoIterator<Item = &'e Effect<'p>>,
    ) -> (Pieces, u64) {
        let mut pieces: Pieces = Vec::new();
        let mut again: Vec<(u32, Box<[u8]>)> = Vec::new();
        let mut count = 0;
        let slots = self.slots.clone();
        for effect in effects.into_iter().filter(|effect| slots.contains(effect.slot)) {
            let sent = effect.keys.iter().filter(|(db, key)| self.was_sent(*db, effect.slot, key)).count();
            // Keys that will be sent anew as they are now contain this effect already.
            let mut is_outdated = effect.keys.iter().any(|key| again.contains(key));
            // What of a key in flight is not sent yet may contain it or not.
            is_outdated |= effect.keys.iter().any(|(db, key)| self.is_in_flight(*db, key))
                && !(effect.is_removal_of_fields && effect.keys.len() == 1);
            if sent == effect.keys.len() && !is_outdated {
                count += 1;
                piece_of(&mut pieces, effect.db).extend_from_slice(effect.bytes);
            } else if sent > 0 || is_outdated {
                for key in &effect.keys {
                    if !again.contains(key) {
                        again.push(key.clone());
                    }
                }
            }
        }
        for (db, key) in again {
            let before = self.in_flight.len();
            self.in_flight.retain(|one| one.db != db || one.key != key);
            self.landed += (before - self.in_flight.len()) as u64;
            let slot = slot_of(&key);
            let out = piece_of(&mut pieces, db);
            if self.was_sent(db, slot, &key) {
                encode_command(out, &[b"DEL", &key]);
            }
            if let Some(entry) = keyspace.part(slot).database(db).and_then(|d| d.find(slot, hash(&key), &key))
            {
                rewrite::entry(out, entry);
            }
            if !self.was_sent(db, slot, &key) {
                self.early.insert((db, key));
            }
            count += 1;
        }
        (pieces, count)
    }
}

fn reaches_other_databases(command: &Command) -> bool {
    matches!(command.name, "move" | "copy")
}

/// Whether a scan that has come to `place` has been where the key is.
fn is_below(key: &[u8], place: u64) -> bool {
    place != 0 && hash(key).reverse_bits() < place.reverse_bits()
}

/// The last piece if it is of this database, else a new one.
fn piece_of(pieces: &mut Pieces, db: u32) -> &mut Vec<u8> {
    if pieces.last().is_none_or(|(last, _)| *last != db) {
        pieces.push((db, Vec::new()));
    }
    &mut pieces.last_mut().expect("just pushed").1
}

/// The keys each command of a stream touches; commands without keys are left out, but for CLUSTER FLUSHSLOT.
pub fn effects_of(propagation: &Propagation, databases: u32) -> Vec<Effect<'_>> {
    let mut effects = Vec::with_capacity(propagation.commands.len());
    propagation.for_each_request(|db, bytes, args| effects.extend(effect_of(db, bytes, args, databases)));
    effects
}

fn effect_of<'p>(db: u32, bytes: &'p [u8], args: &[&[u8]], databases: u32) -> Option<Effect<'p>> {
    if args.is_empty() {
        return None;
    }
    let command = original_table().lookup_request(args).ok()?;
    if command.name == "cluster|flushslot" {
        // It empties the slot on the other side, too; keys that were not sent yet are gone before they are.
        let number = args.get(2).and_then(|word| crate::resp::decode::parse_integer(word));
        let slot = number.and_then(|n| u16::try_from(n).ok()).map(Slot)?;
        return Some(Effect { db, bytes, slot, keys: Vec::new(), is_removal_of_fields: false });
    }
    let mut list = KeyList::new();
    // Keys that could be told before an error are enough.
    let _ = keys_of(command, args, &mut list);
    let mut keys: Vec<(u32, Box<[u8]>)> = Vec::with_capacity(list.len());
    for key in &list {
        let key: Box<[u8]> = args[key.position as usize].into();
        if !keys.iter().any(|(_, known)| *known == key) {
            keys.push((db, key));
        }
    }
    let slot = keys.first().map(|(_, key)| slot_of(key))?;
    if reaches_other_databases(command) {
        for (_, key) in keys.clone() {
            keys.extend((0..databases).filter(|other| *other != db).map(|other| (other, key.clone())));
        }
    }
    let is_removal_of_fields = command.name == "hdel";
    Some(Effect { db, bytes, slot, keys, is_removal_of_fields })
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
