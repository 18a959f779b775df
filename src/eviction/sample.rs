//! Random samples of a database's entries.

use crate::keyspace::{Database, Entry, SlotTable};
use crate::rng::Rng;
use crate::slot::{SLOTS, Slot};

/// Shows `visit` up to `wanted` different entries, only such with a deadline if `volatile`, starting in a random slot
/// and going on in those that follow. Shows at least one if there is one. Returns how many.
pub fn sample(
    database: &Database,
    index: u16,
    wanted: usize,
    volatile: bool,
    rng: &mut Rng,
    visit: &mut dyn FnMut(&Entry),
) -> usize {
    let candidates = if volatile { database.expires() } else { database.keys() };
    if candidates == 0 {
        return 0;
    }
    // A crowded slot is likelier. Not so for volatile keys: if it has none, its neighbours would always be next.
    let start = if volatile {
        Slot(rng.below(SLOTS as u64) as u16)
    } else {
        database.slot_of_nth(rng.below(database.keys()), index).unwrap_or(Slot(0))
    };
    let (mut seen, mut at, mut wrapped) = (0, start, false);
    while seen < wanted {
        let Some(slot) = database.next_used_slot(at, index) else {
            if wrapped {
                break;
            }
            (at, wrapped) = (Slot(0), true);
            continue;
        };
        if wrapped && slot >= start {
            break;
        }
        if let Some(table) = database.slot(slot) {
            seen += if volatile {
                sample_volatile(table, wanted - seen, rng, visit)
            } else {
                table.table().sample(wanted - seen, &mut || rng.next_u64(), visit)
            };
        }
        at = Slot(slot.0 + 1);
    }
    seen
}

/// Looks at more and more entries of the slot until some have deadlines.
fn sample_volatile(table: &SlotTable, wanted: usize, rng: &mut Rng, visit: &mut dyn FnMut(&Entry)) -> usize {
    const FIRST: usize = 16;
    if table.expires() == 0 {
        return 0;
    }
    let mut size = FIRST.min(table.len());
    loop {
        let mut seen = 0;
        table.table().sample(size, &mut || rng.next_u64(), &mut |entry| {
            if seen < wanted && entry.expiry().is_some() {
                visit(entry);
                seen += 1;
            }
        });
        if seen > 0 || size == table.len() {
            return seen;
        }
        size = (size * 8).min(table.len());
    }
}
