//! KEYS, in slices: the names are those of one point in time, the time is not taken from anybody else.
//!
//! A job remembers which slots it has visited. Before a command writes to a slot it has not, the job visits that slot
//! first, so what the command adds or removes cannot be told from the answer. Commands that replace whole databases
//! wait for the job.
//!
//! Invariant: a slot of the job's database is visited exactly once, in the state it had when the job began (expired
//! keys aside, which are left out in either state).

use skuld::glob;
use skuld::keyspace::{Keyspace, Part};
use skuld::resp::{Protocol, Reply};
use skuld::slot::{SLOTS, Slot};

use crate::clock::{self, Tick};

/// What KEYS asked for.
#[derive(Clone, Debug)]
pub struct NamesWanted {
    pub db: u32,
    pub pattern: Vec<u8>,
    /// Unix milliseconds: keys expired by then are left out.
    pub now: i64,
    /// The asker sees expired keys (an import source).
    pub show_expired: bool,
}

/// One shard's share of a KEYS.
pub struct NamesJob {
    wanted: NamesWanted,
    visited: Vec<u64>,
    next: Slot,
    /// Matching names, encoded as bulk strings: full chunks, and the one being filled.
    chunks: Vec<Vec<u8>>,
    found: Reply,
    pub count: usize,
}

/// Names are collected in chunks of about this size: one growing buffer would be copied again and again.
const CHUNK_BYTES: usize = 64 * 1024;
/// Between two looks at the clock, slots.
const SLOTS_PER_LOOK: usize = 8;

impl NamesJob {
    pub fn new(wanted: NamesWanted) -> Self {
        Self {
            wanted,
            visited: vec![0; SLOTS / 64],
            next: Slot(0),
            chunks: Vec::new(),
            found: Reply::new(Protocol::Resp2),
            count: 0,
        }
    }

    /// The encoded names, in chunks.
    pub fn into_names(mut self) -> Vec<Vec<u8>> {
        self.chunks.push(self.found.into_bytes());
        self.chunks
    }

    /// Visits a slot unless that was done.
    pub fn visit(&mut self, part: &Part, slot: Slot) {
        let (word, bit) = (slot.index() / 64, 1u64 << (slot.index() % 64));
        if self.visited[word] & bit != 0 {
            return;
        }
        self.visited[word] |= bit;
        let visible = part.database(self.wanted.db).filter(|_| !part.is_hidden(slot));
        let Some(table) = visible.and_then(|d| d.slot(slot)) else { return };
        let all = self.wanted.pattern == b"*";
        for entry in table.table().iter() {
            let expired = entry.expiry().is_some_and(|deadline| self.wanted.now > deadline);
            if (expired && !self.wanted.show_expired)
                || !(all || glob::matches(&self.wanted.pattern, entry.key()))
            {
                continue;
            }
            self.found.bulk(entry.key());
            self.count += 1;
        }
        if self.found.len() > CHUNK_BYTES {
            self.chunks.push(std::mem::take(&mut self.found).into_bytes());
        }
    }

    /// Visits slots in order until none is left (true) or the time is over.
    pub fn advance(&mut self, keyspace: &Keyspace, started: Tick, budget_us: u64) -> bool {
        let part = &keyspace.parts()[0];
        loop {
            for _ in 0..SLOTS_PER_LOOK {
                let Some(slot) = part
                    .database(self.wanted.db)
                    .filter(|_| self.next.index() < SLOTS)
                    .and_then(|d| d.next_used_slot(self.next, part.index()))
                else {
                    return true;
                };
                self.visit(part, slot);
                self.next = Slot(slot.0 + 1);
            }
            if clock::micros_between(started, clock::tick()) >= budget_us {
                return false;
            }
        }
    }
}
