//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Queued commands wait in the client's batch. EXEC runs them one after the other on one keyspace: its shard's own if
//! all keys (the watched ones too) live there, else the tables a unit gathered. Either way nobody else's command runs
//! in between, and the clock stands still.
//!
//! Watching: a registry maps keys to the flags of those who watch. Whoever changes a key sets the flags before its
//! own reply leaves; EXEC looks at its flag while it holds the watched slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use dashmap::DashMap;
use skuld::commands::Command;
use skuld::effects::{DatabaseChange, Modified};
use skuld::keyspace::Keyspace;
use skuld::slot::slot_of;

use crate::clients::ClientShared;

/// Most bytes a client may queue; more is refused and aborts the transaction. Valkey counts them against
/// `client-query-buffer-limit` likewise.
pub const QUEUED_BYTES_MAX: usize = 1 << 30;

/// What a word of a queued command takes beside its bytes, as Valkey counts it.
const WORD_BYTES: usize = 8;
/// What a watched key takes beside its name, roughly.
const WATCH_BYTES: usize = size_of::<Watched>() + size_of::<Watcher>() + 64;

/// What a client prepared for EXEC.
#[derive(Default)]
pub struct Transaction {
    /// Queued commands with their words; None outside MULTI.
    pub queue: Option<Queue>,
    pub watched: Vec<Watched>,
    /// There was a MULTI or a WATCH.
    pub used: bool,
    /// Where the watched keys are registered, once there are any.
    registry: Option<Arc<Watches>>,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.unwatch();
    }
}

/// The commands between MULTI and EXEC.
#[derive(Default)]
pub struct Queue {
    pub commands: Vec<(&'static Command, Vec<Vec<u8>>)>,
    pub bytes: usize,
    /// A command could not be queued: EXEC must refuse.
    pub failed: bool,
}

/// One watched key.
pub struct Watched {
    pub db: u32,
    pub key: Vec<u8>,
    stale: Arc<Stale>,
    /// Shared by all keys of one client.
    flag: Arc<Flag>,
}

/// How a client sees deadlines now.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Unix milliseconds.
    pub now: i64,
    /// To this client, an expired key is a live one (as to an import source).
    pub shows_expired: bool,
}

impl Seen {
    fn is_expired(self, entry: &skuld::keyspace::Entry) -> bool {
        !self.shows_expired && entry.expiry().is_some_and(|deadline| self.now > deadline)
    }
}

/// Whether something a client watches has changed.
#[derive(Default)]
struct Flag(AtomicBool);

/// Whether a watched key is one whose deadline had passed already, so that its removal changes nothing.
#[derive(Default)]
struct Stale(AtomicU8);

impl Stale {
    /// It was alive, or there was none.
    const NO: u8 = 0;
    /// Its deadline had passed.
    const YES: u8 = 1;
    /// Its deadline had passed, and it was changed once since: EXEC judges whether that was its removal.
    const CHANGED: u8 = 2;

    fn new(stale: bool) -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(u8::from(stale))))
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }

    /// Takes note of a change; false if it is one that all who watch must hear of.
    fn note_change(&self) -> bool {
        self.0.compare_exchange(Self::YES, Self::CHANGED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

struct Watcher {
    flag: Arc<Flag>,
    /// The key existed when it was watched: then a flush changes it.
    existed: bool,
    stale: Arc<Stale>,
}

impl Watcher {
    /// The key was changed.
    fn tell(&self) {
        if !self.stale.note_change() {
            self.flag.0.store(true, Ordering::Release);
        }
    }

    /// The key's database was emptied, or exchanged with one where the key `exists` or not, and is expired or not.
    fn tell_database(&self, exists: bool, expired: bool) {
        if self.stale.is(Stale::YES) && (!exists || expired) {
            return;
        }
        if !self.existed && expired {
            self.stale.0.store(Stale::YES, Ordering::Release);
        } else if self.existed || exists {
            self.flag.0.store(true, Ordering::Release);
        }
    }
}

/// Who watches what.
#[derive(Default)]
pub struct Watches {
    keys: DashMap<(u32, Vec<u8>), Vec<Watcher>>,
    /// Watched keys, counted once per watcher; read before every batch.
    count: AtomicUsize,
}

impl Watches {
    /// Keys watched by somebody, and clients that watch any.
    pub fn counts(&self) -> (usize, usize) {
        let mut clients: Vec<*const Flag> = self
            .keys
            .iter()
            .flat_map(|e| e.value().iter().map(|w| Arc::as_ptr(&w.flag)).collect::<Vec<_>>())
            .collect();
        clients.sort_unstable();
        clients.dedup();
        (self.keys.len(), clients.len())
    }

    /// Whether anybody watches anything.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Tells the watchers of these keys.
    pub fn tell(&self, modified: &[Modified]) {
        for change in modified {
            if let Some(watchers) = self.keys.get(&(change.db, change.key.to_vec())) {
                watchers.iter().for_each(Watcher::tell);
            }
        }
    }

    /// Tells the watchers of keys that existed in databases that were emptied or exchanged, or exist there now. A key
    /// whose deadline has passed counts as one that does not exist.
    pub fn tell_databases(&self, changes: &[DatabaseChange], keyspace: &Keyspace, seen: Seen) {
        for change in changes {
            let concerns = |db: u32| match *change {
                DatabaseChange::AllFlushed => true,
                DatabaseChange::Flushed(flushed) => flushed == db,
                DatabaseChange::Swapped(a, b) => a == db || b == db,
            };
            for entry in &self.keys {
                let (db, key) = entry.key();
                if !concerns(*db) {
                    continue;
                }
                let now_there = entry_of(keyspace, *db, key);
                let expired = now_there.is_some_and(|there| seen.is_expired(there));
                for watcher in entry.value() {
                    watcher.tell_database(now_there.is_some(), expired);
                }
            }
        }
    }
}

fn entry_of<'k>(keyspace: &'k Keyspace, db: u32, key: &[u8]) -> Option<&'k skuld::keyspace::Entry> {
    let slot = slot_of(key);
    keyspace.part(slot).database(db)?.find(slot, skuld::hash::hash(key), key)
}

impl Transaction {
    /// Lets others see how many commands are queued and keys watched.
    pub fn publish(&self, shared: &ClientShared) {
        let was_used = shared.queued.load(Ordering::Relaxed) >= 0;
        if self.queue.is_none() && self.watched.is_empty() && !was_used && !self.used {
            return;
        }
        let (commands, bytes) = self.queue.as_ref().map_or((0, 0), |queue| {
            let words: usize = queue.commands.iter().map(|(_, words)| words.len()).sum();
            (queue.commands.len(), queue.bytes + words * WORD_BYTES)
        });
        shared.queued.store(commands as i32, Ordering::Relaxed);
        shared.queued_bytes.store(bytes as u64, Ordering::Relaxed);
        shared.in_transaction.store(self.queue.is_some(), Ordering::Relaxed);
        let watched: usize = self.watched.iter().map(|w| w.key.len() + WATCH_BYTES).sum();
        shared.watched.store(self.watched.len() as u32, Ordering::Relaxed);
        shared.watched_bytes.store(watched as u64, Ordering::Relaxed);
        shared.dirty.store(self.watched.iter().any(|w| w.flag.0.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    pub fn is_queueing(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a command.
    pub fn push(&mut self, command: &'static Command, words: Vec<Vec<u8>>) -> bool {
        let Some(queue) = &mut self.queue else { return false };
        queue.bytes += words.iter().map(Vec::len).sum::<usize>();
        if queue.bytes > QUEUED_BYTES_MAX {
            queue.failed = true;
            return false;
        }
        queue.commands.push((command, words));
        true
    }

    /// Takes note that a command could not be queued.
    pub fn fail(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.failed = true;
        }
    }

    /// Watches a key of a database from now on.
    pub fn watch(&mut self, watches: &Arc<Watches>, keyspace: &Keyspace, db: u32, key: &[u8], seen: Seen) {
        if self.watched.iter().any(|w| w.db == db && w.key == key) {
            return;
        }
        self.used = true;
        let entry = entry_of(keyspace, db, key);
        let expired = entry.is_some_and(|e| seen.is_expired(e));
        let stale = Stale::new(expired);
        let flag = self.watched.first().map_or_else(Arc::default, |w| w.flag.clone());
        self.registry = Some(watches.clone());
        watches.count.fetch_add(1, Ordering::AcqRel);
        watches.keys.entry((db, key.to_vec())).or_default().push(Watcher {
            flag: flag.clone(),
            existed: entry.is_some() && !expired,
            stale: stale.clone(),
        });
        self.watched.push(Watched { db, key: key.to_vec(), stale, flag });
    }

    /// Watches nothing any more.
    pub fn unwatch(&mut self) {
        let Some(watches) = &self.registry else { return };
        for watched in self.watched.drain(..) {
            watches.count.fetch_sub(1, Ordering::AcqRel);
            let place = (watched.db, watched.key);
            if let Some(mut watchers) = watches.keys.get_mut(&place) {
                watchers.retain(|w| !Arc::ptr_eq(&w.flag, &watched.flag));
            }
            watches.keys.remove_if(&place, |_, watchers| watchers.is_empty());
        }
    }

    /// Whether a watched key changed, or has expired since it was watched.
    pub fn is_dirty(&self, keyspace: &Keyspace, seen: Seen) -> bool {
        self.watched.iter().any(|w| {
            let entry = || entry_of(keyspace, w.db, &w.key);
            w.flag.0.load(Ordering::Acquire)
                || match w.stale.0.load(Ordering::Acquire) {
                    Stale::NO => entry().is_some_and(|e| seen.is_expired(e)),
                    // Changed once, and there: it was not its removal.
                    Stale::CHANGED => entry().is_some(),
                    _ => false,
                }
        })
    }
}
