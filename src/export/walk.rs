//! One shard's way through the tables of an export, in slices.

use super::{Lane, Walk, Walked};
use crate::keyspace::{Database, Entry, Part};
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
    /// Takes an entry and the number its database had at the cut.
    pub put: &'a mut dyn FnMut(u32, &Entry),
    /// Whether there is time and room for more.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl Walk {
    /// Over the databases with these identities.
    pub fn new(lane: Lane, databases: Vec<u32>) -> Self {
        Self { lane, all: databases.clone(), databases, next: 0, cursor: 0, left_out: Vec::new() }
    }

    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Goes on where it stopped.
    pub fn advance(&mut self, ground: &mut Ground<'_>) -> Walked {
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
                    loop {
                        self.cursor =
                            table.export_step(self.lane, self.cursor, &mut |entry| (ground.put)(name, entry));
                        let go_on = (ground.go_on)();
                        if self.cursor == 0 {
                            self.next += workers;
                        }
                        if !go_on {
                            return Walked::More;
                        }
                        if self.cursor == 0 {
                            break;
                        }
                    }
                    continue;
                }
                // What a unit holds looks closed: its tables are not here.
                if !flushed && (ground.is_held)(slot) {
                    self.left_out.push((id, slot.0));
                }
                self.cursor = 0;
                self.next += workers;
                passed += 1;
                if passed % TABLES_PER_LOOK == 0 && !(ground.go_on)() {
                    return Walked::More;
                }
            }
            self.databases.pop();
            (self.next, self.cursor) = (0, 0);
        }
        self.catch_up(ground)
    }

    /// The slots that were held when the walk came by.
    fn catch_up(&mut self, ground: &mut Ground<'_>) -> Walked {
        let mut at = 0;
        while at < self.left_out.len() {
            let (id, slot) = self.left_out[at];
            let slot = Slot(slot);
            let Some((database, flushed)) = find(ground.part, ground.orphans, id) else {
                return Walked::Waiting;
            };
            if !flushed && (ground.is_held)(slot) {
                at += 1;
                continue;
            }
            let name = database.export_name(self.lane);
            if let Some(table) = database.slot_mut(slot) {
                let mut cursor = 0;
                while table.lanes().is_open(self.lane) {
                    cursor = table.export_step(self.lane, cursor, &mut |entry| (ground.put)(name, entry));
                    if cursor != 0 && !(ground.go_on)() {
                        // Marked entries are passed quickly the next time.
                        return Walked::More;
                    }
                }
            }
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
