//! Loading ahead what the next requests need, so that their waits for memory overlap.

use skuld::keyspace::access::PlaceHint;
use skuld::keyspace::table::Table;
use skuld::keyspace::{Entry, Keyspace};
use smallvec::SmallVec;

use super::{Executor, PREFETCH_REQUESTS};
use crate::batch::Batch;

impl Executor {
    /// Loads ahead what the next requests of a batch will need. Looking a value up is four loads that each wait for the
    /// one before (slot, bucket, entry, what the entry points to); over a window of requests these waits overlap instead
    /// of adding up.
    ///
    /// The second word of a request is taken for its key: where it is not, nothing is lost but the attempt.
    pub fn prefetch(&mut self, keyspace: &Keyspace, batch: &Batch) {
        self.hints.clear();
        self.window = batch.next;
        let end = batch.requests.len().min(batch.next + PREFETCH_REQUESTS);
        if end - batch.next < 2 {
            self.hints.extend(self.first.take());
            return;
        }
        let db = batch.session.db;
        let part = &keyspace.parts()[0];
        let Some(database) = part.database(db) else { return };
        let mut tables: SmallVec<[(&Table<Entry>, u64); PREFETCH_REQUESTS]> = SmallVec::new();
        for request in batch.next..end {
            let hint = (batch.requests.args(request).len() > 1)
                .then(|| PlaceHint::of(batch.arg(request, 1)))
                .filter(|hint| part.owns(hint.place().slot));
            if let Some(place) = hint.map(|hint| hint.place())
                && let Some(table) = database.prefetch_slot(place.slot)
            {
                tables.push((table, place.hash));
            }
            self.hints.push(hint);
        }
        load_entries(&tables);
        let candidates = tables.iter().filter_map(|(table, hash)| table.candidate(*hash));
        candidates.for_each(Entry::prefetch_value);
    }

    /// Like [`Executor::prefetch`] for the next request of each of several batches.
    pub fn prefetch_first<'b>(&mut self, keyspace: &Keyspace, batches: impl Iterator<Item = &'b Batch>) {
        self.firsts.clear();
        let part = &keyspace.parts()[0];
        let mut tables: SmallVec<[(&Table<Entry>, u64); PREFETCH_REQUESTS]> = SmallVec::new();
        for batch in batches {
            let single = batch.requests.len() == batch.next + 1 && batch.requests.args(batch.next).len() > 1;
            let hint = single
                .then(|| PlaceHint::of(batch.arg(batch.next, 1)))
                .filter(|hint| part.owns(hint.place().slot));
            if let Some(place) = hint.map(|hint| hint.place())
                && let Some(table) =
                    part.database(batch.session.db).and_then(|database| database.prefetch_slot(place.slot))
            {
                tables.push((table, place.hash));
            }
            self.firsts.push(hint);
        }
        if self.firsts.len() > 1 {
            load_entries(&tables);
        }
    }

    /// The next batch to run is number `index` of [`Executor::prefetch_first`].
    #[inline]
    pub fn use_first(&mut self, index: usize) {
        self.first = self.firsts.get(index).copied();
    }

    /// Whether the window of [`Executor::prefetch`] ends before the batch's next request.
    #[inline]
    pub fn wants_prefetch(&self, batch: &Batch) -> bool {
        batch.next >= self.window + PREFETCH_REQUESTS
    }

    /// Forgets the window: another batch's requests come next.
    pub fn forget_window(&mut self) {
        self.first = None;
        self.hints.clear();
        self.window = 0;
    }

    pub(super) fn hint(&self, request: usize) -> Option<PlaceHint> {
        request.checked_sub(self.window).and_then(|i| self.hints.get(i)).copied().flatten()
    }
}

/// Loads the entries with these hashes, whose tables' words are on their way: first all buckets, then what is in them.
fn load_entries(tables: &[(&Table<Entry>, u64)]) {
    tables.iter().for_each(|(table, hash)| table.prefetch_bucket(*hash));
    tables.iter().for_each(|(table, hash)| table.prefetch_item(*hash));
}
