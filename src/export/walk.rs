//! One shard's way through the tables of an export, in slices.

use super::{Hastened, InFlight, Lane, Staged, Walk, Walked};
use crate::keyspace::{Database, Entry, Part, SlotTable};
use crate::slot::{SLOTS, Slot};

/// Closed tables passed between two questions whether to go on.
const TABLES_PER_LOOK: u32 = 256;

/// What a walk needs of its surroundings.
pub struct Ground<'a> {
    pub part: &'a mut Part,
    /// Databases that were flushed while an export had not finished with them.
    pub orphans: &'a mut [Database],
    /// Whether a unit holds the slot now.
    pub is_held: &'a dyn Fn(Slot) -> bool,
    /// Takes a slice of an entry; with the number its database had at the cut, and what was encoded of it before. True if
    /// the entry is through.
    pub put: &'a mut Put<'a>,
    /// Hears of a slot whose keys come next, with the number of its database at the cut.
    pub announce: &'a mut dyn FnMut(u32, Slot, &SlotTable),
    /// Whether there is time and room for more.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

type Put<'a> = dyn FnMut(u32, &Entry, &mut Staged) -> bool + 'a;

impl Walk {
    /// Over the databases with these identities.
    pub fn new(lane: Lane, databases: Vec<u32>) -> Self {
        Self {
            lane,
            all: databases.clone(),
            databases,
            next: 0,
            cursor: 0,
            scanned: false,
            in_flight: Vec::new(),
            hastened: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Takes this entry next, of the database with this identity: somebody waits for it.
    pub fn hasten(&mut self, database: u32, slot: Slot, key: &[u8]) {
        if self.hastened.iter().any(|h| h.database == database && *h.entry.key == *key) {
            return;
        }
        let is_here = self.databases.last() == Some(&database) && self.next == slot.0;
        let begun = self.in_flight.iter().position(|one| is_here && *one.key == *key);
        let entry = match begun {
            Some(at) => self.in_flight.swap_remove(at),
            None => InFlight { key: key.into(), staged: Staged::default() },
        };
        self.hastened.push(Hastened { database, slot, entry });
    }

    /// Whether somebody waits for an entry.
    pub fn is_hastened(&self) -> bool {
        !self.hastened.is_empty()
    }

    /// Entries that somebody waits for, and nothing else. What a unit holds or what is on its way here is not waited for.
    fn advance_hastened(&mut self, ground: &mut Ground<'_>) {
        while let Some(Hastened { database, slot, entry }) = self.hastened.last_mut() {
            let is_held = (ground.is_held)(*slot);
            let found =
                find(ground.part, ground.orphans, *database).filter(|(_, flushed)| *flushed || !is_held);
            let is_through = found.is_none_or(|(database, _)| {
                let name = database.export_name(self.lane);
                let InFlight { key, staged } = entry;
                let put = &mut |entry: &Entry| (ground.put)(name, entry, staged);
                let table = database.slot_mut(*slot).filter(|table| table.lanes().is_open(self.lane));
                table.is_none_or(|table| table.export_one(self.lane, key, put))
            });
            if is_through {
                self.hastened.pop();
            }
            if !(ground.go_on)() {
                return;
            }
        }
    }

    /// Goes on where it stopped.
    pub fn advance(&mut self, ground: &mut Ground<'_>) -> Walked {
        if self.is_hastened() {
            self.advance_hastened(ground);
            return Walked::More;
        }
        while let Some(&id) = self.databases.last() {
            let workers = ground.part.workers();
            self.next = self.next.max(ground.part.index());
            let Some((database, flushed)) = find(ground.part, ground.orphans, id) else {
                return Walked::Waiting;
            };
            let name = database.export_name(self.lane);
            let mut passed = 0;
            while usize::from(self.next) < SLOTS {
                let slot = Slot(self.next);
                let open = database.slot(slot).is_some_and(|t| t.lanes().is_open(self.lane));
                if open {
                    let Some(table) = database.slot_mut(slot) else { continue };
                    if self.cursor == 0 && !self.scanned {
                        (ground.announce)(name, slot, table);
                    }
                    if !self.advance_in(table, name, ground.put, ground.go_on) {
                        return Walked::More;
                    }
                    self.next += workers;
                    if !(ground.go_on)() {
                        return Walked::More;
                    }
                    continue;
                }
                // What a unit holds looks closed: its tables are not here.
                if !flushed && (ground.is_held)(slot) {
                    self.left_out.push((id, slot.0));
                }
                self.start_over();
                self.next += workers;
                passed += 1;
                if passed % TABLES_PER_LOOK == 0 && !(ground.go_on)() {
                    return Walked::More;
                }
            }
            self.databases.pop();
            self.next = 0;
            self.start_over();
        }
        self.catch_up(ground)
    }

    /// Goes on in the table under way until it is finished, or `go_on` says no; whether it is finished.
    fn advance_in(
        &mut self,
        table: &mut SlotTable,
        name: u32,
        put: &mut Put<'_>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        loop {
            if let Some(InFlight { key, staged }) = self.in_flight.last_mut() {
                if table.export_one(self.lane, key, &mut |entry| put(name, entry, staged)) {
                    self.in_flight.pop();
                }
            } else if !self.scanned {
                let in_flight = &mut self.in_flight;
                self.cursor = table.export_step(self.lane, self.cursor, &mut |entry| {
                    let mut staged = Staged::default();
                    let is_through = put(name, entry, &mut staged);
                    if !is_through {
                        in_flight.push(InFlight { key: entry.key().into(), staged });
                    }
                    is_through
                });
                self.scanned = self.cursor == 0;
            }
            if self.scanned && self.in_flight.is_empty() {
                table.export_ends(self.lane);
                self.scanned = false;
                return true;
            }
            if !go_on() {
                return false;
            }
        }
    }

    /// There is no table under way any more. What was encoded of its entries in flight is not needed: those that are not
    /// marked will be met again.
    fn start_over(&mut self) {
        (self.cursor, self.scanned) = (0, false);
        self.in_flight.clear();
    }

    /// The slots that were held when the walk came by. The one under way, if one is, is the first.
    fn catch_up(&mut self, ground: &mut Ground<'_>) -> Walked {
        let mut at = 0;
        while at < self.left_out.len() {
            let (id, slot) = self.left_out[at];
            let slot = Slot(slot);
            let Some((database, flushed)) = find(ground.part, ground.orphans, id) else {
                return Walked::Waiting;
            };
            if !flushed && (ground.is_held)(slot) {
                self.start_over();
                at += 1;
                continue;
            }
            let name = database.export_name(self.lane);
            let open = database.slot_mut(slot).filter(|table| table.lanes().is_open(self.lane));
            if let Some(table) = open
                && !self.advance_in(table, name, ground.put, ground.go_on)
            {
                self.left_out.swap(0, at);
                return Walked::More;
            }
            self.start_over();
            self.left_out.swap_remove(at);
        }
        if !self.left_out.is_empty() {
            return Walked::Waiting;
        }
        while let Some(&id) = self.all.last() {
            let Some((database, _)) = find(ground.part, ground.orphans, id) else { return Walked::Waiting };
            database.walked(self.lane);
            self.all.pop();
        }
        Walked::Done
    }
}

/// The database of this identity, and whether it was flushed.
fn find<'d>(part: &'d mut Part, orphans: &'d mut [Database], id: u32) -> Option<(&'d mut Database, bool)> {
    if let Some(number) = part.database_named(id) {
        return part.database_mut(number).map(|d| (d, false));
    }
    orphans.iter_mut().find(|d| d.id() == id).map(|d| (d, true))
}
