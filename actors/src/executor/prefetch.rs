//! Loading ahead what the next requests need, so that their waits for memory overlap.

use skuld::keyspace::access::{Place, PlaceHint};
use skuld::keyspace::table::Table;
use skuld::keyspace::{Entry, Keyspace, Part};
use skuld::resp::decode::Span;
use smallvec::SmallVec;

use super::Executor;
use crate::batch::Batch;

/// Requests whose keys are loaded ahead together.
const WINDOW_REQUESTS: usize = 32;
/// Windows kept for batches to come.
const SPARE_WINDOWS: usize = 64;

/// Where the keys of a batch's next requests are. Worked out once, by the shard that comes to them first; each shard that the
/// batch visits loads its own of them ahead once.
#[derive(Default)]
pub struct Window {
    /// The first request.
    first: usize,
    /// Of each request the second word, which is taken for its key: where it is not, nothing is lost but the attempt.
    keys: Vec<Option<(Span, Place)>>,
    /// Bit n: nobody has loaded the key of request `first + n` yet.
    unloaded: u32,
}

const _: () = assert!(WINDOW_REQUESTS <= u32::BITS as usize);

impl Window {
    fn covers(&self, request: usize) -> bool {
        request.checked_sub(self.first).is_some_and(|n| n < self.keys.len())
    }

    fn fill(&mut self, batch: &Batch) {
        self.first = batch.next;
        self.unloaded = 0;
        self.keys.clear();
        for request in batch.next..batch.requests.len().min(batch.next + WINDOW_REQUESTS) {
            let key = batch.requests.args(request).get(1).map(|span| {
                self.unloaded |= 1 << self.keys.len();
                (*span, Place::of(&batch.input[span.start..span.start + span.len]))
            });
            self.keys.push(key);
        }
    }

    /// Starts to load the words of the tables of this shard's keys, and puts them into `tables`.
    fn load<'k>(&mut self, part: &'k Part, db: u32, tables: &mut SmallVec<[Wanted<'k>; WINDOW_REQUESTS]>) {
        let Some(database) = part.database(db) else { return };
        let mut left = self.unloaded;
        while left != 0 {
            let n = left.trailing_zeros();
            left &= left - 1;
            if let Some((_, place)) = self.keys[n as usize]
                && part.owns(place.slot)
            {
                self.unloaded &= !(1 << n);
                tables.extend(database.prefetch_slot(place.slot).map(|table| (table, place.hash)));
            }
        }
    }
}

/// A table whose words are on their way, and the hash of an entry.
type Wanted<'k> = (&'k Table<Entry>, u64);

impl Batch {
    /// Whether the next request has been looked at.
    #[inline]
    pub fn is_in_window(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.covers(self.next))
    }

    /// Where the key of the next request is, if it has been worked out and the request is as it was then.
    #[inline]
    pub fn hint(&self) -> Option<PlaceHint> {
        let window = self.window.as_ref()?;
        let (span, place) = (*window.keys.get(self.next.checked_sub(window.first)?)?)?;
        (self.requests.args(self.next).get(1) == Some(&span))
            .then(|| PlaceHint::new(self.arg(self.next, 1), place))
    }
}

impl Executor {
    /// Loads ahead what the next requests of a batch will need. Looking a value up is four loads that each wait for the
    /// one before (slot, bucket, entry, what the entry points to); over a window of requests these waits overlap instead
    /// of adding up.
    #[inline]
    pub fn prefetch(&mut self, keyspace: &Keyspace, batch: &mut Batch) {
        if !batch.is_in_window() {
            self.give_window(batch);
        }
        if batch.window.as_ref().is_some_and(|window| window.unloaded != 0) {
            load_window(keyspace, batch);
        }
    }

    /// Like [`Executor::prefetch`] for the next request of each of several batches with one request left.
    pub fn prefetch_first<'b>(
        &mut self,
        keyspace: &Keyspace,
        batches: impl ExactSizeIterator<Item = &'b mut Batch>,
    ) {
        if batches.len() < 2 {
            return;
        }
        let part = &keyspace.parts()[0];
        let mut tables = SmallVec::new();
        for batch in batches.filter(|batch| batch.requests.len() == batch.next + 1) {
            self.give_window(batch);
            if let Some(window) = &mut batch.window {
                window.load(part, batch.session.db, &mut tables);
            }
        }
        load_entries(&tables);
    }

    /// Has a batch a window that begins with its next request.
    fn give_window(&mut self, batch: &mut Batch) {
        let mut window = batch.window.take().or_else(|| self.windows.pop()).unwrap_or_default();
        window.fill(batch);
        batch.window = Some(window);
    }

    /// The batch needs no window for now: others may.
    #[inline]
    pub fn take_window(&mut self, batch: &mut Batch) {
        if let Some(window) = batch.window.take()
            && self.windows.len() < SPARE_WINDOWS
        {
            self.windows.push(window);
        }
    }
}

fn load_window(keyspace: &Keyspace, batch: &mut Batch) {
    let Some(window) = &mut batch.window else { return };
    let mut tables = SmallVec::new();
    window.load(&keyspace.parts()[0], batch.session.db, &mut tables);
    if tables.len() > 1 {
        load_entries(&tables);
        let candidates = tables.iter().filter_map(|(table, hash)| table.candidate(*hash));
        candidates.for_each(Entry::prefetch_value);
    }
}

/// Loads entries: first all buckets, then what is in them.
fn load_entries(tables: &[Wanted<'_>]) {
    tables.iter().for_each(|(table, hash)| table.prefetch_bucket(*hash));
    tables.iter().for_each(|(table, hash)| table.prefetch_item(*hash));
}
