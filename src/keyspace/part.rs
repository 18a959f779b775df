//! The slot tables of one shard, or those of them that a unit has reserved.

use super::entry::Entry;
use super::slots::DenseSlots;
use super::table::Table;
use crate::expiry::wheel::Wheel;
use crate::export::{LANES, Lane, Lanes};
use crate::migration::SlotSet;
use crate::rng::Rng;
use crate::slot::{SLOTS, Slot};

/// Slots whose key counts are summed, so that finding the n-th key skips most empty ones.
const GROUP: usize = 128;

/// The keys of one slot of one database.
#[derive(Default)]
pub struct SlotTable {
    pub(super) table: Table<Entry>,
    /// Entries with a deadline.
    pub(super) expires: u32,
    /// Hashes with fields that have deadlines of their own.
    pub(super) volatile: u32,
    /// Which running exports have not finished with it.
    pub(super) lanes: Lanes,
}

impl SlotTable {
    /// The marks of running exports.
    pub fn lanes(&self) -> Lanes {
        self.lanes
    }

    /// A step of an export: hands the entries of one bucket that are due to `put`, and marks those of which it says that
    /// they are through. Returns the cursor of the next step; 0 when all have been visited.
    pub(crate) fn export_step(
        &mut self,
        lane: Lane,
        cursor: u64,
        put: &mut dyn FnMut(&Entry) -> bool,
    ) -> u64 {
        let lanes = self.lanes;
        let bit = 1 << lane.index();
        self.table.scan_mut(cursor, &mut |entry| {
            if lanes.due(entry.marks()) & bit != 0 && put(entry) {
                entry.set_marks(entry.marks() ^ bit);
            }
        })
    }

    /// [`SlotTable::export_step`] for one entry that was not through; true if it is, or is not due any more.
    pub(crate) fn export_one(&mut self, lane: Lane, key: &[u8], put: &mut dyn FnMut(&Entry) -> bool) -> bool {
        let lanes = self.lanes;
        let bit = 1 << lane.index();
        let Some(entry) = self.table.find_mut(crate::hash::hash(key), key) else { return true };
        if lanes.due(entry.marks()) & bit == 0 {
            return true;
        }
        let is_through = put(entry);
        if is_through {
            entry.set_marks(entry.marks() ^ bit);
        }
        is_through
    }

    /// Every entry is marked.
    pub(crate) fn export_ends(&mut self, lane: Lane) {
        self.lanes.close(lane);
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Entries with a deadline.
    pub fn expires(&self) -> u32 {
        self.expires
    }

    pub fn table(&self) -> &Table<Entry> {
        &self.table
    }

    /// The entries, for whoever frees them.
    pub fn into_table(self) -> Table<Entry> {
        self.table
    }
}

enum Slots {
    /// All slots of a shard, by `slot / workers`.
    Dense(DenseSlots),
    /// The few that a unit holds, by slot.
    Sparse(Vec<(Slot, SlotTable)>),
}

/// One database of one part.
pub struct Database {
    slots: Slots,
    workers: u16,
    keys: u64,
    expires: u64,
    volatile: u64,
    /// Keys per [`GROUP`] consecutive dense slots; unused when sparse.
    groups: Vec<u32>,
    /// Never reused within a part.
    id: u32,
    /// The database's number at the cut of each running export.
    pub(super) export_names: [u32; LANES],
    /// Exports whose walk has not finished with it, a bit per lane.
    walks: u8,
    /// Slots whose keys count as absent; see [`Part::hide_slot`].
    hidden: Option<Box<SlotSet>>,
}

impl Database {
    fn dense(workers: u16, id: u32) -> Self {
        let n = SLOTS.div_ceil(usize::from(workers));
        Self {
            slots: Slots::Dense(DenseSlots::new(n)),
            workers,
            keys: 0,
            expires: 0,
            volatile: 0,
            groups: vec![0; n.div_ceil(GROUP)],
            id,
            export_names: [0; LANES],
            walks: 0,
            hidden: None,
        }
    }

    fn sparse(workers: u16) -> Self {
        Self {
            slots: Slots::Sparse(Vec::new()),
            workers,
            keys: 0,
            expires: 0,
            volatile: 0,
            groups: Vec::new(),
            id: 0,
            export_names: [0; LANES],
            walks: 0,
            hidden: None,
        }
    }

    pub fn keys(&self) -> u64 {
        self.keys
    }

    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Hashes with fields that have deadlines.
    pub fn volatile(&self) -> u64 {
        self.volatile
    }

    #[inline]
    pub fn slot(&self, slot: Slot) -> Option<&SlotTable> {
        match &self.slots {
            Slots::Dense(tables) => tables.get(local(slot, self.workers)),
            Slots::Sparse(tables) => tables.iter().find(|(s, _)| *s == slot).map(|(_, t)| t),
        }
    }

    /// The number this database had at the cut of an export.
    pub fn export_name(&self, lane: Lane) -> u32 {
        self.export_names[lane.index()]
    }

    /// Begins an export of all its keys, as database `number`.
    fn open_lane(&mut self, lane: Lane, number: u32) {
        self.export_names[lane.index()] = number;
        self.walks |= 1 << lane.index();
        match &mut self.slots {
            Slots::Dense(tables) => tables.used().for_each(|t| t.lanes.open(lane)),
            Slots::Sparse(tables) => tables.iter_mut().for_each(|(_, t)| t.lanes.open(lane)),
        }
    }

    /// Whether an export has not finished with it.
    pub fn is_exporting(&self) -> bool {
        self.walks != 0
    }

    /// An export has finished with it.
    pub(crate) fn walked(&mut self, lane: Lane) {
        self.walks &= !(1 << lane.index());
    }

    /// Never reused within a part; what the wheel and exports call it.
    pub fn id(&self) -> u32 {
        self.id
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: Slot) -> Option<&mut SlotTable> {
        match &mut self.slots {
            Slots::Dense(tables) => tables.get_mut(local(slot, self.workers)),
            Slots::Sparse(tables) => tables.iter_mut().find(|(s, _)| *s == slot).map(|(_, t)| t),
        }
    }

    /// The keys of a slot, whose table's words are being loaded from now on.
    #[inline]
    pub fn prefetch_slot(&self, slot: Slot) -> Option<&Table<Entry>> {
        let table = self.slot(slot)?;
        super::table::prefetch(std::ptr::from_ref(table).cast());
        Some(&table.table)
    }

    #[inline]
    pub fn find(&self, slot: Slot, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.slot(slot)?.table.find(hash, key)
    }

    #[inline]
    pub fn find_mut(&mut self, slot: Slot, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.slot_mut(slot)?.table.find_mut(hash, key)
    }

    /// Whether the slot's keys count as absent.
    #[inline]
    fn is_hidden(&self, slot: Slot) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden.contains(slot))
    }

    /// Adds to the counts of what is visible.
    fn count(&mut self, slot: Slot, keys: i64, expires: i64) {
        if self.is_hidden(slot) {
            return;
        }
        self.keys = self.keys.wrapping_add_signed(keys);
        self.expires = self.expires.wrapping_add_signed(expires);
        if let Some(group) = self.groups.get_mut(local(slot, self.workers) / GROUP) {
            *group = group.wrapping_add_signed(keys as i32);
        }
    }

    /// Adds an entry whose key is not in the slot.
    pub fn insert(&mut self, slot: Slot, hash: u64, entry: Entry) -> &mut Entry {
        let expires = i64::from(entry.expiry().is_some());
        let is_volatile = entry.field_deadline().is_some();
        self.count(slot, 1, expires);
        self.count_volatile_fields(slot, i64::from(is_volatile));
        let table = match &mut self.slots {
            Slots::Dense(tables) => tables.for_adding(local(slot, self.workers), 1),
            Slots::Sparse(tables) => {
                let at = tables.iter().position(|(s, _)| *s == slot).unwrap_or_else(|| {
                    tables.push((slot, SlotTable::default()));
                    tables.len() - 1
                });
                &mut tables[at].1
            }
        };
        let born = table.lanes.born();
        let mut entry = entry;
        if born != entry.marks() {
            entry.set_marks(born);
        }
        table.expires += expires as u32;
        table.volatile += u32::from(is_volatile);
        table.table.insert_new(hash, entry)
    }

    pub fn remove(&mut self, slot: Slot, hash: u64, key: &[u8]) -> Option<Entry> {
        let table = self.slot_mut(slot)?;
        let entry = table.table.remove(hash, key)?;
        let expires = i64::from(entry.expiry().is_some());
        table.expires -= expires as u32;
        let is_volatile = entry.field_deadline().is_some();
        table.volatile -= u32::from(is_volatile);
        self.give_back(slot, 1);
        self.count_volatile_fields(slot, -i64::from(is_volatile));
        self.count(slot, -1, -expires);
        Some(entry)
    }

    /// So many entries have left the slot's table.
    #[inline]
    fn give_back(&mut self, slot: Slot, keys: usize) {
        if let Slots::Dense(tables) = &mut self.slots {
            tables.removed(local(slot, self.workers), keys);
        }
    }

    /// Accounts for a deadline that was added to (`+1`) or removed from (`-1`) an entry of the slot.
    pub fn count_deadline(&mut self, slot: Slot, by: i64) {
        if let Some(table) = self.slot_mut(slot) {
            table.expires = table.expires.wrapping_add_signed(by as i32);
        }
        self.count(slot, 0, by);
    }

    /// Accounts for an entry of the slot whose fields got their first deadline (`+1`) or lost the last (`-1`).
    pub fn count_volatile(&mut self, slot: Slot, by: i64) {
        if let Some(table) = self.slot_mut(slot) {
            table.volatile = table.volatile.wrapping_add_signed(by as i32);
        }
        self.count_volatile_fields(slot, by);
    }

    fn count_volatile_fields(&mut self, slot: Slot, by: i64) {
        if by != 0 && !self.is_hidden(slot) {
            self.volatile = self.volatile.wrapping_add_signed(by);
        }
    }

    /// Takes a slot's keys out of all counts, and out of walks and random choices, or puts them back.
    fn set_hidden(&mut self, slot: Slot, hide: bool) {
        if self.is_hidden(slot) == hide {
            return;
        }
        let (keys, expires, volatile) = self
            .slot(slot)
            .map_or((0, 0, 0), |t| (t.len() as i64, i64::from(t.expires), i64::from(t.volatile)));
        if hide {
            self.count(slot, -keys, -expires);
            self.count_volatile_fields(slot, -volatile);
            self.hidden.get_or_insert_default().insert(slot);
        } else {
            if let Some(hidden) = &mut self.hidden {
                hidden.remove(slot);
            }
            self.count(slot, keys, expires);
            self.count_volatile_fields(slot, volatile);
        }
        self.hidden.take_if(|hidden| hidden.is_empty());
    }

    /// Moves a slot's table out, leaving an empty one.
    pub fn take_slot(&mut self, slot: Slot) -> SlotTable {
        let table = self.slot_mut(slot).map(std::mem::take).unwrap_or_default();
        self.give_back(slot, table.len());
        self.count(slot, -(table.len() as i64), -i64::from(table.expires));
        self.count_volatile_fields(slot, -i64::from(table.volatile));
        table
    }

    /// Puts a table that was taken back; the slot must be empty.
    fn put_slot(&mut self, slot: Slot, table: SlotTable) {
        self.count(slot, table.len() as i64, i64::from(table.expires));
        self.count_volatile_fields(slot, i64::from(table.volatile));
        match &mut self.slots {
            Slots::Dense(tables) => {
                let place = tables.for_adding(local(slot, self.workers), table.len());
                debug_assert!(place.is_empty());
                *place = table;
            }
            Slots::Sparse(tables) => tables.push((slot, table)),
        }
    }

    /// The first slot at or after `from` (in this part's order) that holds keys. Hidden slots are passed over.
    pub fn next_used_slot(&self, from: Slot, index: u16) -> Option<Slot> {
        self.next_slot(from, index, false)
    }

    /// Like [`Database::next_used_slot`], hidden slots included: for saving, digests and full synchronisation.
    pub fn next_used_or_hidden_slot(&self, from: Slot, index: u16) -> Option<Slot> {
        self.next_slot(from, index, self.hidden.is_some())
    }

    fn next_slot(&self, from: Slot, index: u16, with_hidden: bool) -> Option<Slot> {
        let workers = usize::from(self.workers);
        match &self.slots {
            Slots::Sparse(tables) => {
                tables.iter().filter(|(s, t)| *s >= from && !t.is_empty()).map(|(s, _)| *s).min()
            }
            Slots::Dense(tables) => {
                let mut local = from.index().saturating_sub(usize::from(index)).div_ceil(workers);
                while local < tables.len() {
                    let slot = Slot((local * workers + usize::from(index)) as u16);
                    if local % GROUP == 0 && self.groups[local / GROUP] == 0 && !with_hidden {
                        local += GROUP;
                    } else if tables.get(local).is_none_or(SlotTable::is_empty)
                        || (!with_hidden && self.is_hidden(slot))
                    {
                        local += 1;
                    } else {
                        return Some(slot);
                    }
                }
                None
            }
        }
    }

    /// The slot that holds the `n`-th key in slot order; `n` is below [`Database::keys`].
    pub fn slot_of_nth(&self, mut n: u64, index: u16) -> Option<Slot> {
        match &self.slots {
            Slots::Sparse(tables) => tables.iter().find_map(|(s, t)| {
                let len = t.len() as u64;
                if n < len {
                    return Some(*s);
                }
                n -= len;
                None
            }),
            Slots::Dense(tables) => {
                let group = self.groups.iter().position(|&g| {
                    let here = n < u64::from(g);
                    if !here {
                        n -= u64::from(g);
                    }
                    here
                })?;
                (group * GROUP..tables.len()).find_map(|local| {
                    let slot = Slot((local * usize::from(self.workers) + usize::from(index)) as u16);
                    let hidden = self.is_hidden(slot);
                    let len = tables.get(local).filter(|_| !hidden).map_or(0, |t| t.len() as u64);
                    if n < len {
                        return Some(slot);
                    }
                    n -= len;
                    None
                })
            }
        }
    }

    /// A random entry, each about as likely as any other.
    pub fn random(&self, index: u16, rng: &mut Rng) -> Option<&Entry> {
        if self.keys == 0 {
            return None;
        }
        let slot = self.slot_of_nth(rng.below(self.keys), index)?;
        self.slot(slot)?.table.random(&mut || rng.next_u64())
    }

    /// All tables, for whoever frees them in slices.
    pub fn into_tables(self) -> Vec<Table<Entry>> {
        match self.slots {
            Slots::Dense(tables) => tables.into_used().map(SlotTable::into_table).collect(),
            Slots::Sparse(tables) => tables.into_iter().map(|(_, t)| t.table).collect(),
        }
    }

    /// Bytes of the tables' own allocations, without the entries.
    pub fn table_bytes(&self) -> usize {
        let own = |t: &SlotTable| std::mem::size_of::<SlotTable>() + t.table.heap_bytes();
        match &self.slots {
            Slots::Dense(tables) => tables.heap_bytes(),
            Slots::Sparse(tables) => tables.iter().map(|(_, t)| own(t)).sum(),
        }
    }
}

/// A database as an export finds it at its cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseAtCut {
    pub number: u32,
    /// See [`Database::id`].
    pub id: u32,
    pub keys: u64,
    pub expires: u64,
}

/// All databases of the slots `s` with `s % workers == index`, or of some of those slots.
pub struct Part {
    index: u16,
    workers: u16,
    sparse: bool,
    databases: Vec<Option<Box<Database>>>,
    next_id: u32,
    /// Everything was replaced, the wheel too (see [`Part::adopt`]), while a unit held it.
    adopted: bool,
    /// Deadlines, newest included; in a unit's part only those the unit set.
    pub(crate) wheel: Wheel,
    hidden: Option<Box<Hidden>>,
}

/// Slots that are being imported.
#[derive(Clone, Default)]
struct Hidden {
    slots: SlotSet,
    /// What the wheel gave out for hidden slots: deadlines that nobody here may act upon yet.
    due: Vec<(i64, u64)>,
}

/// The place of a slot among those of its shard. (A division takes as long as a cached load, and most have one worker.)
#[inline]
fn local(slot: Slot, workers: u16) -> usize {
    if workers == 1 { slot.index() } else { slot.index() / usize::from(workers) }
}

/// What the wheel stores: database (see [`Part::wheel_name`]), slot and the low half of the key's hash, which names
/// its bucket.
pub fn pack_deadline(db: u32, slot: Slot, hash: u64) -> u64 {
    (u64::from(db) << 46) | (u64::from(slot.0) << 32) | u64::from(hash as u32)
}

/// The inverse of [`pack_deadline`]: database, slot, low half of the hash.
pub fn unpack_deadline(item: u64) -> (u32, Slot, u32) {
    ((item >> 46) as u32, Slot((item >> 32) as u16 & (SLOTS as u16 - 1)), item as u32)
}

impl Part {
    /// The part of shard `index` of `workers`, empty.
    pub fn new(index: u16, workers: u16) -> Self {
        Self {
            index,
            workers,
            sparse: false,
            databases: Vec::new(),
            next_id: 0,
            adopted: false,
            wheel: Wheel::new(0),
            hidden: None,
        }
    }

    pub fn index(&self) -> u16 {
        self.index
    }

    pub fn workers(&self) -> u16 {
        self.workers
    }

    #[inline]
    pub fn owns(&self, slot: Slot) -> bool {
        slot.0 % self.workers == self.index
    }

    pub fn wheel_mut(&mut self) -> &mut Wheel {
        &mut self.wheel
    }

    pub fn wheel(&self) -> &Wheel {
        &self.wheel
    }

    /// Number of databases that have been made so far, empty ones below them included.
    pub fn databases(&self) -> u32 {
        self.databases.len() as u32
    }

    #[inline]
    pub fn database(&self, db: u32) -> Option<&Database> {
        self.databases.get(db as usize)?.as_deref()
    }

    #[inline]
    pub fn database_mut(&mut self, db: u32) -> Option<&mut Database> {
        self.databases.get_mut(db as usize)?.as_deref_mut()
    }

    /// The database, made now if it did not exist.
    #[inline]
    pub fn database_or_new(&mut self, db: u32) -> &mut Database {
        let at = db as usize;
        if at >= self.databases.len() {
            self.databases.resize_with(at + 1, || None);
        }
        let (workers, sparse, next_id) = (self.workers, self.sparse, &mut self.next_id);
        let hidden = &self.hidden;
        self.databases[at].get_or_insert_with(|| {
            *next_id += 1;
            let mut new = if sparse { Database::sparse(workers) } else { Database::dense(workers, *next_id) };
            new.hidden = hidden.as_ref().map(|h| Box::new(h.slots.clone()));
            Box::new(new)
        })
    }

    /// The cut of an export: all keys there are now belong to it. Returns number, identity, keys and deadlines of each
    /// database that has keys.
    pub fn open_lane(&mut self, lane: Lane) -> Vec<DatabaseAtCut> {
        let mut found = Vec::new();
        for (number, database) in self.databases.iter_mut().enumerate() {
            let Some(database) = database.as_mut().filter(|d| d.keys > 0 || d.hidden.is_some()) else {
                continue;
            };
            database.open_lane(lane, number as u32);
            found.push(DatabaseAtCut {
                number: number as u32,
                id: database.id,
                keys: database.keys,
                expires: database.expires,
            });
        }
        found
    }

    /// Replaces everything by what was loaded into `loaded`, a part of the same slots that no shard has used. Returns
    /// what was there before.
    pub fn adopt(&mut self, mut loaded: Part) -> Vec<Box<Database>> {
        debug_assert_eq!((self.index, self.workers), (loaded.index, loaded.workers));
        // What is hidden here stays hidden; what the loaded part hides is hidden from now on.
        for slot in self.hidden.take().iter().flat_map(|hidden| hidden.slots.iter()) {
            loaded.hide_slot(slot);
        }
        self.hidden = loaded.hidden;
        let old = std::mem::replace(&mut self.databases, loaded.databases);
        self.next_id = self.next_id.max(loaded.next_id);
        self.wheel = loaded.wheel;
        self.adopted = true;
        old.into_iter().flatten().collect()
    }

    /// Reserves identities for databases that are loaded elsewhere: the first is the number returned, plus one.
    pub fn reserve_ids(&mut self, count: u32) -> u32 {
        let first = self.next_id;
        self.next_id += count;
        first
    }

    /// An empty part to load into, whose databases get identities above `ids_after`.
    pub fn for_loading(index: u16, workers: u16, ids_after: u32) -> Self {
        Self { next_id: ids_after, ..Self::new(index, workers) }
    }

    /// Adds a key while loading; false if it is there already.
    pub fn load(&mut self, db: u32, slot: Slot, hash: u64, entry: Entry) -> bool {
        let name = {
            let database = self.database_or_new(db);
            if database.find(slot, hash, entry.key()).is_some() {
                return false;
            }
            database.id
        };
        for deadline in [entry.expiry(), entry.field_deadline()].into_iter().flatten() {
            self.wheel.insert(deadline, pack_deadline(name, slot, hash));
        }
        self.database_or_new(db).insert(slot, hash, entry);
        true
    }

    /// Makes the slot's keys count as absent in every database, present and future, until [`Part::show_slot`]: they
    /// are in no count, no walk and no random choice, and nothing but commands that name them touches them. That is what
    /// a slot is while it is being imported (spec slot-migration.md, 6.1).
    pub fn hide_slot(&mut self, slot: Slot) {
        if self.hidden.get_or_insert_default().slots.insert(slot) {
            self.databases.iter_mut().flatten().for_each(|database| database.set_hidden(slot, true));
        }
    }

    /// Ends what [`Part::hide_slot`] began. Doing so twice changes nothing.
    pub fn show_slot(&mut self, slot: Slot) {
        let Some(hidden) = &mut self.hidden else { return };
        if !hidden.slots.remove(slot) {
            return;
        }
        let wheel = &mut self.wheel;
        hidden.due.retain(|&(deadline, item)| {
            let stays = unpack_deadline(item).1 != slot;
            if !stays {
                wheel.insert(deadline, item);
            }
            stays
        });
        self.hidden.take_if(|hidden| hidden.slots.is_empty());
        self.databases.iter_mut().flatten().for_each(|database| database.set_hidden(slot, false));
    }

    /// Whether the slot is hidden.
    #[inline]
    pub fn is_hidden(&self, slot: Slot) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden.slots.contains(slot))
    }

    /// Keeps an item that the wheel gave out for a hidden slot until the slot is shown.
    pub fn keep_due(&mut self, deadline: i64, item: u64) {
        match &mut self.hidden {
            Some(hidden) => hidden.due.push((deadline, item)),
            None => self.wheel.put_back(deadline, item),
        }
    }

    /// Keys of a slot in all databases, hidden or not.
    pub fn keys_in_slot(&self, slot: Slot) -> u64 {
        self.databases.iter().flatten().filter_map(|d| d.slot(slot)).map(|t| t.len() as u64).sum()
    }

    /// Moves a slot's tables out of all databases, for whoever frees them: in the time of a few words, however many keys
    /// there are. Deadlines of theirs in the wheel are stale from then on.
    pub fn take_slot(&mut self, slot: Slot) -> Vec<(u32, SlotTable)> {
        let mut taken = Vec::new();
        for (db, database) in self.databases.iter_mut().enumerate() {
            let Some(database) = database else { continue };
            if database.slot(slot).is_some_and(|table| !table.is_empty()) {
                let table = database.take_slot(slot);
                self.wheel.note_stale_many(u64::from(table.expires) + u64::from(table.volatile));
                taken.push((db as u32, table));
            }
        }
        taken
    }

    /// Takes a whole database away, leaving none.
    pub fn take_database(&mut self, db: u32) -> Option<Box<Database>> {
        let database = self.databases.get_mut(db as usize)?.take()?;
        self.wheel.note_stale_many(database.expires() + database.volatile());
        Some(database)
    }

    pub(super) fn swap_databases(&mut self, a: u32, b: u32) {
        let needed = a.max(b) as usize + 1;
        if self.databases.len() < needed {
            self.databases.resize_with(needed, || None);
        }
        self.databases.swap(a as usize, b as usize);
    }

    /// What the wheel calls a database: its identity, which SWAPDB moves along and a flush renews, so that neither
    /// has to touch the wheel. A unit's part uses the number and is translated when it is attached.
    #[inline]
    pub fn wheel_name(&self, db: u32) -> u32 {
        if self.sparse { db } else { self.database(db).map_or(u32::MAX, |d| d.id) }
    }

    /// The number of the database the wheel calls `name`, if it still exists.
    pub fn database_named(&self, name: u32) -> Option<u32> {
        self.databases.iter().position(|d| d.as_ref().is_some_and(|d| d.id == name)).map(|i| i as u32)
    }

    /// The key an item of the wheel stands for, if it is there and its deadline is before `now`.
    pub fn due_key(&self, db: u32, item: u64, now: i64) -> Option<Box<[u8]>> {
        let (_, slot, low) = unpack_deadline(item);
        let table = &self.database(db)?.slot(slot)?.table;
        let entry = table
            .find_by_low_hash(low, &mut |entry| entry.expiry().is_some_and(|deadline| deadline < now))?;
        Some(entry.key().into())
    }

    /// The hash an item of the wheel stands for, if it is there and has a field whose deadline is before `now`.
    pub fn due_hash(&self, db: u32, item: u64, now: i64) -> Option<Box<[u8]>> {
        let (_, slot, low) = unpack_deadline(item);
        let table = self.database(db)?.slot(slot)?;
        if table.volatile == 0 {
            return None;
        }
        let is_due = |entry: &Entry| entry.field_deadline().is_some_and(|deadline| deadline < now);
        Some(table.table.find_by_low_hash(low, &mut |entry| is_due(entry))?.key().into())
    }

    /// A step of forgetting items of the wheel that stand for nothing any more: looks at up to `budget` of them.
    /// Items of slots that are held by a unit stay.
    pub fn sweep_deadlines(&mut self, budget: usize, is_held: &dyn Fn(Slot) -> bool) {
        let mut wheel = std::mem::take(&mut self.wheel);
        wheel.sweep(budget, &mut |deadline, item| {
            let (name, slot, low) = unpack_deadline(item);
            let keep_if_same =
                |entry: &Entry| entry.expiry() == Some(deadline) || entry.field_deadline() == Some(deadline);
            is_held(slot)
                || self
                    .database_named(name)
                    .and_then(|db| self.database(db)?.slot(slot))
                    .is_some_and(|t| t.table.find_by_low_hash(low, &mut |e| keep_if_same(e)).is_some())
        });
        self.wheel = wheel;
    }

    /// Moves the tables of some slots, over all databases, out into a part of their own.
    pub fn detach_slots(&mut self, slots: &[Slot]) -> Part {
        let mut out = Part { sparse: true, ..Part::new(self.index, self.workers) };
        for db in 0..self.databases() {
            let Some(database) = self.database_mut(db) else { continue };
            for &slot in slots {
                if database.slot(slot).is_some_and(|t| !t.is_empty() || t.lanes != Lanes::default()) {
                    let table = database.take_slot(slot);
                    let (id, names) = (database.id, database.export_names);
                    let own = out.database_or_new(db);
                    (own.id, own.export_names) = (id, names);
                    own.put_slot(slot, table);
                }
            }
        }
        out
    }

    /// Moves everything out, leaving this part without databases.
    pub fn detach_all(&mut self) -> Part {
        Part {
            databases: std::mem::take(&mut self.databases),
            next_id: self.next_id,
            hidden: self
                .hidden
                .as_ref()
                .map(|h| Box::new(Hidden { slots: h.slots.clone(), due: Vec::new() })),
            ..Part::new(self.index, self.workers)
        }
    }

    /// Takes back what [`Part::detach_slots`] or [`Part::detach_all`] gave away, deadlines set meanwhile included.
    pub fn attach(&mut self, part: Part) {
        let Part { sparse, databases, mut wheel, next_id, adopted, hidden, .. } = part;
        if adopted {
            self.hidden = hidden;
            self.databases = databases;
            self.next_id = next_id;
            self.wheel = wheel;
            return;
        }
        // What the unit did to keys whose deadlines are in our wheel.
        self.wheel.note_stale_many(wheel.stale());
        if !sparse {
            debug_assert!(self.databases.iter().all(Option::is_none));
            self.databases = databases;
            self.next_id = next_id;
            wheel.drain(&mut |deadline, item| self.wheel.insert(deadline, item));
            return;
        }
        for (db, database) in databases.into_iter().enumerate() {
            let Some(database) = database else { continue };
            let Slots::Sparse(tables) = database.slots else { continue };
            for (slot, table) in tables {
                if !table.is_empty() || table.lanes != Lanes::default() {
                    self.database_or_new(db as u32).put_slot(slot, table);
                }
            }
        }
        wheel.drain(&mut |deadline, item| {
            let (db, slot, hash) = unpack_deadline(item);
            let name = self.wheel_name(db);
            self.wheel.insert(deadline, pack_deadline(name, slot, u64::from(hash)));
        });
    }
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
mod hidden_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::wheel::Popped;
    use crate::keyspace::NewValue;

    #[test]
    fn a_sweep_forgets_deadlines_that_changed_and_keeps_the_others() {
        const DAY: i64 = 1_760_000_000_000;
        let mut part = Part::new(0, 1);
        let slot = Slot(5);
        let mut expected = Vec::new();
        for number in 0..1000i64 {
            let key = number.to_string().into_bytes();
            let hash = crate::hash::hash(&key);
            // Of four keys, the first has this deadline, the second another, the third none; the fourth is gone.
            // A unit holds the slot that the fifth is in.
            let (stored, home) = match number % 5 {
                0 => (Some(DAY + number), slot),
                1 => (Some(DAY + number + 1), slot),
                2 => (None, slot),
                3 => (None, Slot(6)),
                _ => (None, Slot(7)),
            };
            if home == slot {
                part.database_or_new(0).insert(home, hash, Entry::new(&key, NewValue::Int(1), stored));
            } else {
                part.database_or_new(0);
            }
            let item = pack_deadline(part.wheel_name(0), home, hash);
            part.wheel.insert(DAY + number, item);
            if number % 5 == 0 || number % 5 == 4 {
                expected.push((DAY + number, item));
            }
        }
        part.wheel.note_stale_many(5000);
        while part.wheel().wants_sweep() {
            part.sweep_deadlines(16, &|slot| slot == Slot(7));
        }
        let mut left = Vec::new();
        loop {
            match part.wheel_mut().pop_due(DAY + 5000) {
                Popped::Item { deadline, item } => left.push((deadline, item)),
                Popped::Working => {}
                Popped::Nothing => break,
            }
        }
        left.sort_unstable();
        assert_eq!(left, expected);
    }
}
