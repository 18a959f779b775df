//! Keys that a writable replica must expire itself: those whose deadline one of its own clients has set (spec page
//! key-lifetime.md, section 3.4). Everything else goes when the primary says so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// Databases with higher numbers are not tracked.
const DATABASES_MAX: u32 = 64;

/// A deadline (Unix milliseconds), and the key that had it when it was set.
type Due = Reverse<(i64, u32, Arc<[u8]>)>;

/// A name and the databases (a bit each) it is tracked in.
#[derive(Debug)]
struct Tracked {
    name: Arc<[u8]>,
    databases: u64,
}

/// What is known of a tracked key when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is no such key any more, or it has no deadline.
    Gone,
    /// Its deadline, which has not passed; Unix milliseconds.
    Later(i64),
    /// It has expired and was removed.
    Expired,
}

/// The names, found by name and by deadline, and visited one after the other to forget what has changed.
#[derive(Debug, Default)]
pub struct TrackedKeys {
    names: HashMap<Arc<[u8]>, usize>,
    list: Vec<Tracked>,
    due: BinaryHeap<Due>,
    visited: usize,
}

impl TrackedKeys {
    /// A client has set this deadline (Unix milliseconds).
    pub fn remember(&mut self, db: u32, name: &[u8], deadline: i64) {
        if db >= DATABASES_MAX {
            return;
        }
        let name = match self.names.get_key_value(name) {
            Some((known, &at)) => {
                self.list[at].databases |= 1 << db;
                known.clone()
            }
            None => {
                let name: Arc<[u8]> = name.into();
                self.names.insert(name.clone(), self.list.len());
                self.list.push(Tracked { name: name.clone(), databases: 1 << db });
                name
            }
        };
        self.due.push(Reverse((deadline, db, name)));
    }

    /// Names, each counted once however many databases it is tracked in.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The earliest deadline anybody may have to look at, Unix milliseconds.
    pub fn next_deadline(&self) -> Option<i64> {
        self.due.peek().map(|Reverse((deadline, _, _))| *deadline)
    }

    fn is_tracked(&self, db: u32, name: &[u8]) -> bool {
        self.names.get(name).is_some_and(|&at| self.list[at].databases & 1 << db != 0)
    }

    fn forget(&mut self, db: u32, name: &[u8]) {
        let Some(&at) = self.names.get(name) else { return };
        self.list[at].databases &= !(1 << db);
        if self.list[at].databases == 0 {
            self.names.remove(name);
            self.list.swap_remove(at);
            if let Some(moved) = self.list.get(at) {
                self.names.insert(moved.name.clone(), at);
            }
        }
    }

    fn settle(&mut self, db: u32, name: &[u8], look: Look) {
        match look {
            Look::Gone | Look::Expired => self.forget(db, name),
            Look::Later(_) => {}
        }
    }

    /// Looks at one key whose deadline has passed at `now` (Unix milliseconds). False if there is none.
    pub fn look_at_due(&mut self, now: i64, look: &mut dyn FnMut(u32, &[u8]) -> Look) -> bool {
        let due = self.due.peek().is_some_and(|Reverse((deadline, _, _))| *deadline < now);
        if !due {
            return false;
        }
        let Some(Reverse((_, db, name))) = self.due.pop() else { return false };
        if self.is_tracked(db, &name) {
            let found = look(db, &name);
            self.settle(db, &name, found);
            if let Look::Later(deadline) = found {
                self.due.push(Reverse((deadline, db, name)));
            }
        }
        true
    }

    /// Looks at the next few names, due or not.
    pub fn look_around(&mut self, names: usize, look: &mut dyn FnMut(u32, &[u8]) -> Look) {
        for _ in 0..names.min(self.list.len()) {
            if self.visited >= self.list.len() {
                self.visited = 0;
            }
            let Some(Tracked { name, databases }) = self.list.get(self.visited) else { return };
            let (name, databases, before) = (name.clone(), *databases, self.list.len());
            for db in (0..DATABASES_MAX).filter(|db| databases & 1 << db != 0) {
                let found = look(db, &name);
                self.settle(db, &name, found);
            }
            // Where one was forgotten another one has moved to.
            self.visited += usize::from(self.list.len() == before);
        }
        // What was overwritten again and again is in the heap once each time.
        if self.due.len() > 2 * self.list.len() + 1024 {
            let kept = std::mem::take(&mut self.due).into_vec();
            let mut seen = std::collections::HashSet::new();
            self.due = kept
                .into_iter()
                .filter(|Reverse((deadline, db, name))| {
                    self.is_tracked(*db, name) && seen.insert((*deadline, *db, name.clone()))
                })
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_once_and_high_databases_not_at_all() {
        let mut tracked = TrackedKeys::default();
        tracked.remember(0, b"a", 10);
        tracked.remember(3, b"a", 20);
        tracked.remember(64, b"b", 20);
        assert_eq!((tracked.len(), tracked.next_deadline()), (1, Some(10)));
    }

    #[test]
    fn due_keys_are_looked_at_in_order_and_forgotten() {
        let mut tracked = TrackedKeys::default();
        for (name, deadline) in [(b"c", 30), (b"a", 10), (b"b", 20)] {
            tracked.remember(0, name, deadline);
        }
        let mut seen = Vec::new();
        let mut look = |_: u32, name: &[u8]| {
            seen.push(name[0]);
            if name == b"b" { Look::Later(50) } else { Look::Expired }
        };
        while tracked.look_at_due(31, &mut look) {}
        assert_eq!(seen, b"abc");
        assert_eq!((tracked.len(), tracked.next_deadline()), (1, Some(50)));
    }

    #[test]
    fn going_around_forgets_what_has_no_deadline_any_more() {
        let mut tracked = TrackedKeys::default();
        for n in 0..100u32 {
            tracked.remember(0, &n.to_be_bytes(), 1000);
        }
        let mut look =
            |_: u32, name: &[u8]| if name[3].is_multiple_of(2) { Look::Gone } else { Look::Later(1000) };
        for _ in 0..10 {
            tracked.look_around(20, &mut look);
        }
        assert_eq!(tracked.len(), 50);
        assert!(tracked.is_tracked(0, &1u32.to_be_bytes()) && !tracked.is_tracked(0, &2u32.to_be_bytes()));
    }

    #[test]
    fn setting_the_same_deadline_for_ever_takes_no_memory() {
        let mut tracked = TrackedKeys::default();
        for n in 0..100_000 {
            tracked.remember(0, b"a", 1000 + n % 7);
            tracked.look_around(1, &mut |_, _| Look::Later(1000));
        }
        assert!(tracked.due.len() < 2048);
    }
}
