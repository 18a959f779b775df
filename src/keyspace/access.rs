//! How commands reach keys: every lookup decides there and then what an expired key is to this client.

use super::entry::{Entry, NewValue, Type, Value};
use super::part::pack_deadline;
use super::{Database, Keyspace};
use crate::effects::{Effects, Freeing, Garbage, class};
use crate::hash::hash;
use crate::rng::Rng;
use crate::slot::{Slot, slot_of};

/// What becomes of an expired key that a command meets (spec key-lifetime.md, 0.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Treatment {
    /// Missing, and removed now, with event, counter and propagation.
    #[default]
    Delete,
    /// Missing, but left in place.
    Hide,
    /// A live key.
    Show,
}

/// The treatments that hold for one command of one client (spec key-lifetime.md, 0.3 and 0.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryRules {
    pub read: Treatment,
    pub write: Treatment,
    /// Whether a deadline argument that has passed is stored instead of deleting the key at once.
    pub store_past: bool,
}

/// How a lookup updates access times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Touch {
    /// LRU: the clock in seconds, 24 bits. LFU: minutes, 16 bits.
    pub clock: u32,
    pub lfu: bool,
    pub lfu_log_factor: u32,
    pub lfu_decay_minutes: u32,
    /// LFU: a random number of this command, from which each key's chance to count follows.
    pub draw: u64,
}

/// Options of [`Access::lookup`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    /// Treat expiry as a write does.
    pub write: bool,
    /// Leave the access time alone (TTL, EXISTS, TYPE, OBJECT ...).
    pub no_touch: bool,
    /// Count neither hit nor miss.
    pub no_stats: bool,
    /// Publish no `keymiss`.
    pub no_notify: bool,
}

impl Lookup {
    /// GET and its like: touches, counts, announces misses.
    pub const READ: Self = Self { write: false, no_touch: false, no_stats: false, no_notify: false };
    /// EXISTS, TTL, TYPE: as [`Lookup::READ`] without touching.
    pub const READ_NO_TOUCH: Self = Self { no_touch: true, ..Self::READ };
    /// OBJECT: counts, but neither touches nor announces misses.
    pub const QUIET: Self = Self { no_touch: true, no_stats: false, no_notify: true, write: false };
    /// SET, INCR and their like: touches, counts nothing.
    pub const WRITE: Self = Self { write: true, no_touch: false, no_stats: true, no_notify: true };
}

/// The deadline of a key being set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// None from now on.
    Drop,
    /// Whatever the key had.
    Keep,
    /// Unix milliseconds.
    At(i64),
}

/// A command's hold on the keyspace: one database selected, time frozen, effects recorded.
pub struct Access<'a> {
    pub keyspace: &'a mut Keyspace,
    pub effects: &'a mut Effects,
    /// The selected database.
    pub db: u32,
    /// Unix milliseconds; frozen for the command (or transaction, or script).
    pub now: i64,
    pub rules: ExpiryRules,
    pub touch: Touch,
    /// Deletions by expiry are propagated as UNLINK rather than DEL (`lazyfree-lazy-expire`).
    pub lazy_expire: bool,
    /// What commands overwrite or empty counts as freed in the background (`lazyfree-lazy-server-del`).
    pub lazy_server_del: bool,
    /// The client asked not to touch access times (CLIENT NO-TOUCH).
    pub client_no_touch: bool,
    /// A key of the command whose place was worked out beforehand.
    pub hint: Option<PlaceHint>,
}

/// The place of a key, worked out while its batch was prefetched.
#[derive(Clone, Copy, Debug)]
pub struct PlaceHint {
    key: *const u8,
    len: usize,
    place: Place,
}

impl PlaceHint {
    /// For a key whose place has been worked out before.
    #[inline]
    pub fn new(key: &[u8], place: Place) -> Self {
        Self { key: key.as_ptr(), len: key.len(), place }
    }

    #[inline]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether it was made of these very bytes.
    #[inline]
    pub fn is_of(&self, key: &[u8]) -> bool {
        std::ptr::eq(self.key, key.as_ptr()) && self.len == key.len()
    }
}

/// The slot and hash of a key.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub slot: Slot,
    pub hash: u64,
}

impl Place {
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self { slot: slot_of(key), hash: hash(key) }
    }
}

impl<'a> Access<'a> {
    /// Slot and hash of a key: from the hint if the key is the very bytes the hint was made of.
    #[inline]
    fn place(&self, key: &[u8]) -> Place {
        match self.hint {
            Some(hint) if hint.is_of(key) => hint.place,
            _ => Place::of(key),
        }
    }

    fn find_mut(&mut self, db: u32, place: Place, key: &[u8]) -> Option<&mut Entry> {
        self.keyspace.part_mut(place.slot).database_mut(db)?.find_mut(place.slot, place.hash, key)
    }

    /// To be called before a key is changed or removed: exports that have not come to it yet get it as it is now.
    #[inline]
    fn before_write(&mut self, db: u32, place: Place, key: &[u8]) {
        if self.effects.exports.active {
            self.export_old(db, place, key);
        }
    }

    #[cold]
    fn export_old(&mut self, db: u32, place: Place, key: &[u8]) {
        let touch = self.touch;
        let Some(database) = self.keyspace.part_mut(place.slot).database_mut(db) else { return };
        let names = database.export_names;
        let Some(table) = database.slot_mut(place.slot).filter(|t| t.lanes.any_open()) else { return };
        let lanes = table.lanes;
        let Some(entry) = table.table.find_mut(place.hash, key) else { return };
        let due = lanes.due(entry.marks());
        if due != 0 {
            self.effects.exports.put(due, &names, entry, touch);
            entry.set_marks(entry.marks() ^ due);
        }
    }

    /// The entry as it lies there, expired or not; changes nothing.
    pub fn peek(&self, db: u32, key: &[u8]) -> Option<&Entry> {
        let place = self.place(key);
        self.keyspace.part(place.slot).database(db)?.find(place.slot, place.hash, key)
    }

    /// Whether the entry's deadline has passed (strictly: a key lives through its last millisecond).
    #[inline]
    pub fn is_expired(&self, entry: &Entry) -> bool {
        entry.expiry().is_some_and(|deadline| self.now > deadline)
    }

    /// Looks a key up in the selected database.
    #[inline]
    pub fn lookup(&mut self, key: &[u8], how: Lookup) -> Option<&mut Entry> {
        self.lookup_in(self.db, key, how)
    }

    /// Looks a key up in any database.
    pub fn lookup_in(&mut self, db: u32, key: &[u8], how: Lookup) -> Option<&mut Entry> {
        let place = self.place(key);
        let (now, touch) = (self.now, self.touch);
        let treatment = if how.write { self.rules.write } else { self.rules.read };
        let no_touch = how.no_touch || self.client_no_touch;
        if self.effects.exports.active && (how.write || self.effects.exports.writing) {
            self.export_old(db, place, key);
        }
        let found: Option<*mut Entry> = self.find_mut(db, place, key).map(|e| e as *mut Entry);
        if let Some(found) = found {
            // SAFETY: the pointer was just made from an exclusive borrow of self, and nothing was changed since.
            let entry = unsafe { &mut *found };
            let expired =
                entry.expiry().is_some_and(|deadline| now > deadline) && treatment != Treatment::Show;
            if !expired {
                if !no_touch {
                    touch_entry(entry, touch, place);
                }
                if !how.no_stats {
                    self.effects.counters.keyspace_hits += 1;
                }
                return Some(entry);
            }
            if treatment == Treatment::Delete {
                self.expire_key(db, key);
            }
        }
        if !how.no_stats {
            self.effects.counters.keyspace_misses += 1;
        }
        if !how.no_notify {
            self.effects.notify(class::KEY_MISS, "keymiss", db, key);
        }
        None
    }

    /// A read: [`Lookup::READ`].
    #[inline]
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        self.lookup(key, Lookup::READ).map(|e| &*e)
    }

    /// A write lookup: [`Lookup::WRITE`]. The caller changes the value through the entry and records what it did with
    /// [`Access::changed`]; deadlines change only through [`Access::set_expiry`].
    #[inline]
    pub fn write(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.lookup(key, Lookup::WRITE)
    }

    /// The entry as a read lookup of this command has just seen it, for holding several at a time.
    pub fn visible(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.peek(self.db, key)?;
        (self.rules.read == Treatment::Show || !self.is_expired(entry)).then_some(entry)
    }

    /// The entry that a lookup of this command has just found, without touching or counting it once more.
    pub fn again(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let place = self.place(key);
        self.before_write(self.db, place, key);
        self.find_mut(self.db, place, key)
    }

    /// Whether the key exists for a reader, leaving access times alone.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.lookup(key, Lookup::READ_NO_TOUCH).is_some()
    }

    /// Adds a key that is not there. Publishes `new`.
    pub fn insert(&mut self, key: &[u8], value: NewValue<'_>, expiry: Option<i64>) -> &mut Entry {
        self.insert_in(self.db, key, value, expiry)
    }

    /// Like [`Access::insert`], in any database.
    pub fn insert_in(&mut self, db: u32, key: &[u8], value: NewValue<'_>, expiry: Option<i64>) -> &mut Entry {
        let place = self.place(key);
        self.insert_at(db, place, key, value, expiry)
    }

    fn insert_at(
        &mut self,
        db: u32,
        place: Place,
        key: &[u8],
        value: NewValue<'_>,
        expiry: Option<i64>,
    ) -> &mut Entry {
        if let Some(deadline) = expiry {
            self.effects.deadline_set(db, key, deadline);
        }
        let mut entry = Entry::new(key, value, expiry);
        entry.set_access_word(self.touch.fresh());
        self.effects.notify(class::NEW, "new", db, key);
        if self.effects.listening.waiting && matches!(entry.kind(), Type::List | Type::ZSet | Type::Stream) {
            self.effects.ready(db, key);
        }
        let part = self.keyspace.part_mut(place.slot);
        part.database_or_new(db);
        for deadline in [expiry, entry.field_deadline()].into_iter().flatten() {
            let name = part.wheel_name(db);
            part.wheel.insert(deadline, pack_deadline(name, place.slot, place.hash));
        }
        part.database_or_new(db).insert(place.slot, place.hash, entry)
    }

    /// Sets a key to a value whatever it was before, as SET does after its conditions: the lookup that tested them has
    /// touched the key and removed it if it was expired. The old value goes to the reaper. Publishes `new` if there
    /// was no key; the command publishes its own event.
    pub fn set(&mut self, key: &[u8], value: NewValue<'_>, expiry: Expiry) {
        self.store(key, value, expiry, false);
    }

    /// [`Access::write`] and [`Access::set`] in one search, for commands without conditions.
    pub fn write_and_set(&mut self, key: &[u8], value: NewValue<'_>, expiry: Expiry) {
        self.store(key, value, expiry, true);
    }

    #[inline]
    fn store(&mut self, key: &[u8], value: NewValue<'_>, expiry: Expiry, is_lookup: bool) {
        let place = self.place(key);
        let (db, now, touch, treatment) = (self.db, self.now, self.touch, self.rules.write);
        let no_touch = self.client_no_touch;
        let fresh = match expiry {
            Expiry::At(t) => Some(t),
            Expiry::Drop | Expiry::Keep => None,
        };
        self.before_write(db, place, key);
        let Some(entry) = self.find_mut(db, place, key) else {
            self.insert_at(db, place, key, value, fresh);
            return;
        };
        let had = entry.expiry();
        let expired = had.is_some_and(|deadline| now > deadline) && treatment != Treatment::Show;
        if expired && is_lookup && treatment == Treatment::Delete {
            self.expire_key(db, key);
            self.insert_at(db, place, key, value, fresh);
            return;
        }
        if is_lookup && !no_touch {
            touch_entry(entry, touch, place);
        }
        let deadline = if expiry == Expiry::Keep && !expired { had } else { fresh };
        let old = entry.overwrite(value, deadline);
        let fields = (old.as_ref().and_then(Entry::field_deadline), entry.field_deadline());
        if had != deadline {
            self.note_deadline(db, place, had, deadline);
        }
        if let Some(deadline) = fresh {
            self.effects.deadline_set(db, key, deadline);
        }
        if fields.0 != fields.1 {
            self.note_fields_at(db, place, fields.0, fields.1);
        }
        self.effects.lost(db, key);
        if let Some(old) = old {
            self.discard_entry(old);
        }
    }

    /// Brings the counts and the time index in line with a key's changed deadline.
    fn note_deadline(&mut self, db: u32, place: Place, had: Option<i64>, deadline: Option<i64>) {
        let part = self.keyspace.part_mut(place.slot);
        let name = part.wheel_name(db);
        if let Some(database) = part.database_mut(db) {
            database.count_deadline(place.slot, i64::from(deadline.is_some()) - i64::from(had.is_some()));
        }
        if had.is_some() {
            part.wheel.note_stale();
        }
        if let Some(deadline) = deadline {
            part.wheel.insert(deadline, pack_deadline(name, place.slot, place.hash));
        }
    }

    /// Brings counts and the time index in line with a hash whose earliest deadline of a field was `had` and is now
    /// `has` (Unix milliseconds). The index always has an item at the earliest deadline.
    #[inline]
    pub fn note_fields(&mut self, key: &[u8], had: Option<i64>, has: Option<i64>) {
        if had != has {
            self.note_fields_at(self.db, self.place(key), had, has);
        }
    }

    fn note_fields_at(&mut self, db: u32, place: Place, had: Option<i64>, has: Option<i64>) {
        let part = self.keyspace.part_mut(place.slot);
        let name = part.wheel_name(db);
        if let Some(database) = part.database_mut(db) {
            database.count_volatile(place.slot, i64::from(has.is_some()) - i64::from(had.is_some()));
        }
        if had.is_some() {
            part.wheel.note_stale();
        }
        if let Some(deadline) = has {
            part.wheel.insert(deadline, pack_deadline(name, place.slot, place.hash));
        }
    }

    /// Removes up to `max` expired fields of a hash, earliest first, and the hash if none is left; returns how many.
    /// That is the background's doing: its event is of the class of expired keys. Spec page key-lifetime.md, 2.5.
    pub fn expire_fields(&mut self, db: u32, key: &[u8], max: usize) -> usize {
        let (place, now) = (self.place(key), self.now);
        self.before_write(db, place, key);
        let Some(entry) = self.find_mut(db, place, key) else { return 0 };
        let had = entry.field_deadline();
        let Some(mut hash) = entry.hash_mut() else { return 0 };
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let removed = hash.remove_due(now, max, |name| names.push(name.into()));
        let (has, emptied) = (hash.earliest_deadline_ms(), hash.is_empty());
        drop(hash);
        if removed == 0 {
            return 0;
        }
        self.note_fields_at(db, place, had, has);
        self.effects.counters.expired_fields += removed as u64;
        let words: Vec<&[u8]> =
            [b"HDEL" as &[u8], key].into_iter().chain(names.iter().map(|n| &**n)).collect();
        self.effects.also_propagate(db, &words);
        self.effects.notify(class::EXPIRED, "hexpired", db, key);
        self.effects.modified(db, place.slot, key);
        if emptied && let Some(entry) = self.take_in(db, key) {
            self.propagate_deletion(db, key, self.lazy_expire);
            self.effects.notify(class::GENERIC, "del", db, key);
            self.discard_entry(entry);
        }
        removed
    }

    /// Sets or removes the deadline of a key that is there.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Option<i64>) {
        let place = self.place(key);
        self.set_expiry_at(self.db, place, key, expiry);
    }

    fn set_expiry_at(&mut self, db: u32, place: Place, key: &[u8], expiry: Option<i64>) {
        self.before_write(db, place, key);
        let Some(entry) = self.find_mut(db, place, key) else { return };
        let had = entry.expiry();
        entry.set_expiry(expiry);
        if had != expiry {
            self.note_deadline(db, place, had, expiry);
        }
        if let Some(deadline) = expiry {
            self.effects.deadline_set(db, key, deadline);
        }
    }

    /// Removes a key from the selected database without any check; the value goes to the reaper. The command
    /// publishes and counts.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.take_in(self.db, key).map(|entry| self.discard_entry(entry)).is_some()
    }

    /// Removes a key without any check and hands its entry out (RENAME, MOVE, GETDEL).
    pub fn take(&mut self, key: &[u8]) -> Option<Entry> {
        self.take_in(self.db, key)
    }

    /// Like [`Access::take`], from any database.
    pub fn take_in(&mut self, db: u32, key: &[u8]) -> Option<Entry> {
        let place = self.place(key);
        self.before_write(db, place, key);
        let part = self.keyspace.part_mut(place.slot);
        let entry = part.database_mut(db)?.remove(place.slot, place.hash, key)?;
        for _ in [entry.expiry(), entry.field_deadline()].into_iter().flatten() {
            part.wheel.note_stale();
        }
        self.effects.lost(db, key);
        Some(entry)
    }

    /// Removes an expired key with all that belongs to it: event `expired`, counter, UNLINK or DEL in the stream.
    pub fn expire_key(&mut self, db: u32, key: &[u8]) {
        let Some(entry) = self.take_in(db, key) else { return };
        self.effects.counters.expired_keys += 1;
        self.propagate_deletion(db, key, self.lazy_expire);
        self.effects.notify(class::EXPIRED, "expired", db, key);
        self.effects.modified(db, self.place(key).slot, key);
        self.discard_entry_as(entry, Freeing::counted_if(self.lazy_expire));
    }

    /// Adds `UNLINK key` (or `DEL key`) to the stream.
    pub fn propagate_deletion(&mut self, db: u32, key: &[u8], lazy: bool) {
        let name: &[u8] = if lazy { b"UNLINK" } else { b"DEL" };
        self.effects.also_propagate(db, &[name, key]);
    }

    /// Hands an entry that a command overwrote or emptied to the reaper if it is large, else frees it.
    pub fn discard_entry(&mut self, entry: Entry) {
        self.discard_entry_as(entry, Freeing::counted_if(self.lazy_server_del));
    }

    /// Like [`Access::discard_entry`], saying whether `lazyfreed_objects` counts it.
    pub fn discard_entry_as(&mut self, entry: Entry, freeing: Freeing) {
        if entry.free_effort() > LAZY_FREE_THRESHOLD {
            self.effects.garbage.push(freeing.apply(Garbage::Entry(entry)));
        }
    }

    /// Treats a key that is expired as a command does that looks at nothing but its deadline; true if it was removed.
    pub fn expire_if_due(&mut self, db: u32, key: &[u8], treatment: Treatment) -> bool {
        let due = treatment == Treatment::Delete && self.peek(db, key).is_some_and(|e| self.is_expired(e));
        if due {
            self.expire_key(db, key);
        }
        due
    }

    /// Hands a value that was never a key's, such as a result that is only shown, to the reaper if it is large, else
    /// frees it. Valkey frees those at once, so no counter shows them.
    pub fn discard(&mut self, value: Value) {
        if value.free_effort() > LAZY_FREE_THRESHOLD {
            self.effects.garbage.push(Freeing::Uncounted.apply(Garbage::Value(value)));
        }
    }

    /// Records that a command changed a key: one more change, watchers and trackers told, event published.
    pub fn changed(&mut self, class: u32, event: &'static str, key: &[u8]) {
        self.effects.dirty += 1;
        self.modified(key);
        self.notify(class, event, key);
    }

    /// Records that a key of the selected database was modified, without event or count.
    pub fn modified(&mut self, key: &[u8]) {
        if self.effects.listening.modified {
            self.effects.modified(self.db, self.place(key).slot, key);
        }
    }

    /// Publishes an event about a key of the selected database.
    pub fn notify(&mut self, class: u32, event: &'static str, key: &[u8]) {
        self.effects.notify(class, event, self.db, key);
    }

    /// Replaces the command in the stream; see [`Effects::rewrite`].
    pub fn rewrite(&mut self, args: &[&[u8]]) {
        self.effects.rewrite(self.db, args);
    }

    /// Keys of the selected database, expired ones included.
    pub fn keys(&self) -> u64 {
        self.keyspace.keys(self.db)
    }

    /// A random entry of the selected database, expired or not.
    pub fn random(&self, rng: &mut Rng) -> Option<&Entry> {
        let mut n = match self.keys() {
            0 => return None,
            keys => rng.below(keys),
        };
        for part in self.keyspace.parts() {
            let Some(database) = part.database(self.db) else { continue };
            if n < database.keys() {
                return database.random(part.index(), rng);
            }
            n -= database.keys();
        }
        None
    }

    /// Calls `f` for every entry of the selected database. For commands that are atomic over everything.
    pub fn for_each(&self, f: &mut dyn FnMut(&Entry)) {
        for part in self.keyspace.parts() {
            let Some(database) = part.database(self.db) else { continue };
            let mut at = Slot(0);
            while let Some(slot) = database.next_used_slot(at, part.index()) {
                if let Some(table) = database.slot(slot) {
                    table.table().iter().for_each(&mut *f);
                }
                at = Slot(slot.0 + 1);
            }
        }
    }

    /// Empties one database, handing its tables to the reaper. Returns how many keys it had.
    pub fn flush(&mut self, db: u32, freeing: Freeing) -> u64 {
        let mut keys = 0;
        let mut tables = Vec::new();
        for part in self.keyspace.parts_mut() {
            if let Some(database) = part.take_database(db) {
                keys += database.keys();
                if self.effects.exports.active && database.is_exporting() {
                    let garbage = Garbage::Exporting(part.index(), database);
                    self.effects.garbage.push(freeing.apply(garbage));
                    continue;
                }
                tables.extend(Database::into_tables(*database));
            }
        }
        if !tables.is_empty() {
            self.effects.garbage.push(freeing.apply(Garbage::Tables(tables)));
        }
        keys
    }
}

/// Values that take more steps than this to free go to the reaper.
pub const LAZY_FREE_THRESHOLD: usize = 64;

impl Touch {
    /// The access word of an entry made now. A new key starts with an LFU counter of 5, or it would be evicted
    /// before it had a chance.
    #[inline]
    pub fn fresh(self) -> u32 {
        const LFU_INITIAL: u32 = 5;
        if self.lfu { ((self.clock & 0xffff) << 8) | LFU_INITIAL } else { self.clock & 0xff_ffff }
    }
}

#[inline]
fn touch_entry(entry: &mut Entry, touch: Touch, place: Place) {
    let word = entry.access_word();
    let lanes = word & 0xff00_0000;
    let new =
        if touch.lfu { lfu_touch(word & 0xff_ffff, touch, place.hash) } else { touch.clock & 0xff_ffff };
    if lanes | new != word {
        entry.set_access_word(lanes | new);
    }
}

/// The counter after decay: one less for every `lfu_decay_minutes` since the last access.
pub fn lfu_decayed(word: u32, touch: Touch) -> u32 {
    let (last, counter) = ((word >> 8) & 0xffff, word & 0xff);
    if touch.lfu_decay_minutes == 0 {
        return counter;
    }
    let elapsed = (touch.clock & 0xffff).wrapping_sub(last) & 0xffff;
    counter.saturating_sub(elapsed / touch.lfu_decay_minutes)
}

/// Decays, then increments with probability `1 / ((counter - 5) * factor + 1)`. The draw is the command's random
/// number mixed with the key's hash, so that the keys of one command have chances of their own.
fn lfu_touch(word: u32, touch: Touch, hash: u64) -> u32 {
    let mut counter = lfu_decayed(word, touch);
    if counter < 255 {
        let mixed = (touch.draw ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let draw =
            ((mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 11) as f64 / (1u64 << 53) as f64;
        let base = f64::from(counter.saturating_sub(5));
        if draw < 1.0 / (base * f64::from(touch.lfu_log_factor) + 1.0) {
            counter += 1;
        }
    }
    ((touch.clock & 0xffff) << 8) | counter
}
