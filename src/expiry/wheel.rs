//! The time-ordered index of deadlines: a hierarchical timing wheel (Varghese and Lauck, 1987).
//!
//! It stores opaque items of 64 bits and gives each back once its deadline has passed. It holds no clock: the time
//! comes with every call. Removing an item early is not possible; it stays, *stale*, until it is popped or swept, and
//! the caller tests each item against what it stands for.
//!
//! ```text
//!   bits of a deadline:  | 63 ......... 32 | 31 .. 24 | 23 .. 16 | 15 ... 8 | 7 .... 0 |
//!   where it waits:          far (a map)     level 3    level 2    level 1    level 0
//!   one bucket spans:         49.7 days      4.7 hours    65 s      256 ms     1 ms
//! ```
//!
//! An item waits at the highest group of bits in which its deadline differs from `current`, the last millisecond
//! already looked at. When `current` enters a bucket, its items move to lower levels, at most four times in all.
//! Everything in the levels shares the upper half of `current`, so that an item needs only the lower half of its
//! deadline: 12 bytes, exact to the millisecond.
//!
//! Invariants: whatever is in the levels or far is not before `current`; a bucket above level 0 that `current` is in
//! is empty. Hence the first bucket of the lowest level in use is the earliest.
//!
//! Should the clock go backwards, `current` stays, and items whose deadline is before it wait in a heap.

use super::bucket::Bucket;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const LEVELS: usize = 4;
const LEVEL_BITS: u32 = 8;
const BUCKETS: usize = 1 << LEVEL_BITS;

/// Items that one call of [`Wheel::pop_due`] may move from one level to a lower one, about 10 us.
const MOVES_PER_POP: usize = 256;

/// Stale items below which sweeping is not worth it.
const STALE_MIN: i64 = 512;

/// How many more pops than reports there may be at a time; beyond that, reports are assumed to be missing.
const STALE_FLOOR: i64 = -128;

/// What [`Wheel::pop_due`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popped {
    /// The deadline of this item (in ms since the epoch) has passed.
    Item { deadline: i64, item: u64 },
    /// Nothing yet: items were moved between levels, and the budget for that is spent. Call again, soon.
    Working,
    /// Nothing is due.
    Nothing,
}

/// Items by deadline. See the module's documentation.
#[derive(Debug, Default)]
pub struct Wheel {
    current: i64,
    levels: [Level; LEVELS],
    /// By the upper half of the deadline.
    far: BTreeMap<i64, Bucket>,
    /// Items that were inserted when `current` was past their deadline, or that came out when the clock was behind.
    late: BinaryHeap<Reverse<(i64, u64)>>,
    /// A bucket whose time has come: all of it has passed.
    due: Detached,
    /// A bucket on its way to lower levels.
    moving: Detached,
    sweep: Option<Sweep>,
    len: usize,
    /// The earliest deadline inserted since it was last asked for.
    armed: Option<i64>,
    /// How many items are stale: one less for each that is popped, since popping ends it anyway, one more for each
    /// report. Not exact, and negative between a pop and the report it causes.
    stale: i64,
}

#[derive(Debug, Default)]
struct Level {
    used: [u64; BUCKETS / 64],
    /// Made when first used: an idle server has no wheel.
    buckets: Option<Box<[Bucket; BUCKETS]>>,
}

/// A bucket that was taken out, with the upper half of its items' deadlines.
#[derive(Debug, Default)]
struct Detached {
    upper: i64,
    items: Bucket,
}

#[derive(Debug)]
struct Sweep {
    place: Place,
    /// The first deadline the bucket below can hold.
    start: i64,
    unchecked: Detached,
}

/// Which bucket a sweep looks at next.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The first one of at least this upper half.
    Far(i64),
    Level(usize, usize),
}

impl Level {
    /// The first bucket in use at or behind `from`.
    fn first_from(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = *self.used.get(word)? & (!0 << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.used.get(word)?;
        }
    }

    fn push(&mut self, index: usize, low: u32, item: u64) {
        self.used[index / 64] |= 1 << (index % 64);
        let buckets = self.buckets.get_or_insert_with(|| Box::new([const { Bucket::new() }; BUCKETS]));
        buckets[index].push(low, item);
    }

    fn take(&mut self, index: usize) -> Bucket {
        self.used[index / 64] &= !(1 << (index % 64));
        self.buckets.as_mut().map_or_else(Bucket::new, |buckets| std::mem::take(&mut buckets[index]))
    }
}

impl Detached {
    fn pop(&mut self) -> Option<(i64, u64)> {
        let (low, item) = self.items.pop()?;
        Some((join(self.upper, low), item))
    }
}

fn upper(deadline: i64) -> i64 {
    deadline >> 32
}

fn join(upper: i64, low: u32) -> i64 {
    upper << 32 | i64::from(low)
}

impl Wheel {
    /// An empty wheel that expects times around `now` (ms). Allocates nothing.
    pub fn new(now: i64) -> Self {
        Wheel { current: now, ..Default::default() }
    }

    /// How many items there are, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item that is due once the time is past `deadline`, in ms since the epoch. Any value is fine.
    pub fn insert(&mut self, deadline: i64, item: u64) {
        self.len += 1;
        self.armed = Some(self.armed.map_or(deadline, |armed| armed.min(deadline)));
        self.place(deadline, item);
    }

    /// The earliest deadline inserted since [`Wheel::forget_armed`]: whoever sleeps until some deadline is woken if this
    /// one is earlier.
    #[inline]
    pub fn armed(&self) -> Option<i64> {
        self.armed
    }

    /// Somebody has taken note of all deadlines.
    #[inline]
    pub fn forget_armed(&mut self) {
        self.armed = None;
    }

    /// Gives back an item that was popped but could not be dealt with.
    pub fn put_back(&mut self, deadline: i64, item: u64) {
        self.stale += 1;
        self.insert(deadline, item);
    }

    /// Reports that what an item stands for is gone or has another deadline. Also to be called when that happens
    /// because the item was popped.
    pub fn note_stale(&mut self) {
        self.stale += 1;
    }

    /// [`Wheel::note_stale`] for many items, as when a database is flushed.
    pub fn note_stale_many(&mut self, items: u64) {
        self.stale = self.stale.saturating_add_unsigned(items);
    }

    /// How many items are known to be stale.
    pub fn stale(&self) -> u64 {
        self.stale.max(0) as u64
    }

    /// Whether [`Wheel::sweep`] should be called: one is unfinished, or stale items outnumber the others.
    pub fn wants_sweep(&self) -> bool {
        self.sweep.is_some() || (self.stale > STALE_MIN && self.stale as u64 > self.len as u64 / 2)
    }

    /// The next item whose deadline is before `now` (ms), in no particular order among those. At most
    /// [`MOVES_PER_POP`] items are moved between levels in one call.
    pub fn pop_due(&mut self, now: i64) -> Popped {
        let popped = self.next_due(now);
        if let Popped::Item { .. } = popped {
            self.len -= 1;
            self.stale = (self.stale - 1).max(STALE_FLOOR);
        }
        popped
    }

    fn next_due(&mut self, now: i64) -> Popped {
        let Some(limit) = now.checked_sub(1) else { return Popped::Nothing };
        let mut moves = MOVES_PER_POP;
        loop {
            if let Some(&Reverse((deadline, item))) = self.late.peek().filter(|late| late.0.0 <= limit) {
                self.late.pop();
                return Popped::Item { deadline, item };
            }
            while let Some((deadline, item)) = self.due.pop() {
                if deadline <= limit {
                    return Popped::Item { deadline, item };
                }
                // The clock went backwards after the bucket had become due.
                self.late.push(Reverse((deadline, item)));
                moves -= 1;
                if moves == 0 {
                    return Popped::Working;
                }
            }
            while let Some((deadline, item)) = self.moving.pop() {
                self.place(deadline, item);
                moves -= 1;
                if moves == 0 {
                    return Popped::Working;
                }
            }
            if let Some(sweep) = self.sweep.as_mut().filter(|sweep| sweep.start <= limit) {
                // Its bucket has become due before it was swept.
                self.moving = std::mem::take(&mut sweep.unchecked);
                sweep.start = i64::MAX;
                continue;
            }
            if !self.enter_next(limit) {
                self.current = self.current.max(limit);
                return Popped::Nothing;
            }
        }
    }

    /// Takes the next bucket that starts at or before `limit` out, to `due` or to `moving`.
    fn enter_next(&mut self, limit: i64) -> bool {
        let Some((place, start)) = self.first_bucket().filter(|&(_, start)| start <= limit) else {
            return false;
        };
        let (span, upper) = (span_of(place), upper(start));
        let detached = Detached { upper, items: self.take(place) };
        let last = start + (span - 1);
        if last <= limit {
            self.current = last;
            self.due = detached;
        } else {
            self.current = self.current.max(start);
            self.moving = detached;
        }
        true
    }

    /// The bucket with the earliest deadlines, and the first deadline it can hold.
    fn first_bucket(&self) -> Option<(Place, i64)> {
        for (number, level) in self.levels.iter().enumerate() {
            let shift = LEVEL_BITS * number as u32;
            if let Some(index) = level.first_from((self.current >> shift) as usize % BUCKETS) {
                return Some((Place::Level(number, index), self.start_of(number, index)));
            }
        }
        self.far.first_key_value().map(|(&upper, _)| (Place::Far(upper), join(upper, 0)))
    }

    fn start_of(&self, level: usize, index: usize) -> i64 {
        let shift = LEVEL_BITS * level as u32;
        (self.current >> shift & !(BUCKETS as i64 - 1) | index as i64) << shift
    }

    fn take(&mut self, place: Place) -> Bucket {
        match place {
            Place::Level(level, index) => self.levels[level].take(index),
            Place::Far(upper) => self.far.remove(&upper).unwrap_or_default(),
        }
    }

    fn place(&mut self, deadline: i64, item: u64) {
        if deadline < self.current {
            self.late.push(Reverse((deadline, item)));
        } else if upper(deadline) != upper(self.current) {
            self.far.entry(upper(deadline)).or_default().push(deadline as u32, item);
        } else {
            let differing = (deadline ^ self.current) as u32 | 1;
            let level = (differing.ilog2() / LEVEL_BITS) as usize;
            let index = (deadline >> (LEVEL_BITS * level as u32)) as usize % BUCKETS;
            self.levels[level].push(index, deadline as u32, item);
        }
    }

    /// A time (ms) before which [`Wheel::pop_due`] has nothing to do: exact within 256 ms, earlier than the first
    /// deadline otherwise. `None` when the wheel is empty. Due is what is *before* now, so wake up 1 ms later.
    pub fn next_deadline_hint(&self) -> Option<i64> {
        let waiting = !self.due.items.is_empty() || !self.moving.items.is_empty();
        let late = self.late.peek().map(|late| late.0.0);
        let swept = self.sweep.as_ref().filter(|sweep| !sweep.unchecked.items.is_empty()).map(|s| s.start);
        let bucket = self.first_bucket().map(|(_, start)| start);
        let waiting = waiting.then_some(self.current);
        [waiting, late, swept, bucket].into_iter().flatten().min()
    }

    /// One step of a sweep over items that are not due within a quarter of a second: asks about up to `budget` items
    /// whether to `keep` them, by deadline and item, and forgets the others. Returns whether the sweep is unfinished.
    ///
    /// If `keep` looks at the structure that contains the wheel, take the wheel out of it meanwhile: it is cheap.
    pub fn sweep(&mut self, budget: usize, keep: &mut dyn FnMut(i64, u64) -> bool) -> bool {
        let mut sweep = self.sweep.take().unwrap_or_else(|| {
            self.stale = 0;
            Sweep { place: Place::Far(i64::MIN), start: i64::MAX, unchecked: Detached::default() }
        });
        let mut left = budget;
        loop {
            while let Some((deadline, item)) = sweep.unchecked.pop() {
                if keep(deadline, item) {
                    self.place(deadline, item);
                } else {
                    self.len -= 1;
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    self.sweep = Some(sweep);
                    return true;
                }
            }
            if !self.next_to_sweep(&mut sweep) {
                self.stale = self.stale.max(0);
                return false;
            }
        }
    }

    /// Takes the next bucket out for a sweep: first the far ones, then down to level 1.
    fn next_to_sweep(&mut self, sweep: &mut Sweep) -> bool {
        loop {
            match sweep.place {
                Place::Far(from) => {
                    if let Some((&upper, _)) = self.far.range(from..).next() {
                        sweep.place = Place::Far(upper + 1);
                        sweep.start = join(upper, 0);
                        sweep.unchecked = Detached { upper, items: self.take(Place::Far(upper)) };
                        return true;
                    }
                    sweep.place = Place::Level(LEVELS - 1, 0);
                }
                Place::Level(0, _) => return false,
                Place::Level(level, from) => {
                    if let Some(index) = self.levels[level].first_from(from) {
                        sweep.place = Place::Level(level, index + 1);
                        sweep.start = self.start_of(level, index);
                        let items = self.take(Place::Level(level, index));
                        sweep.unchecked = Detached { upper: upper(sweep.start), items };
                        return true;
                    }
                    sweep.place = Place::Level(level - 1, 0);
                }
            }
        }
    }

    /// Empties the wheel, calling `visit` with the deadline and the item of each. For moving to another wheel.
    pub fn drain(&mut self, visit: &mut dyn FnMut(i64, u64)) {
        let mut emptied = std::mem::replace(self, Wheel::new(self.current));
        if let Some(sweep) = emptied.sweep.take() {
            visit_all(sweep.unchecked, visit);
        }
        visit_all(std::mem::take(&mut emptied.due), visit);
        visit_all(std::mem::take(&mut emptied.moving), visit);
        emptied.late.drain().for_each(|Reverse((deadline, item))| visit(deadline, item));
        while let Some((place, start)) = emptied.first_bucket() {
            let items = emptied.take(place);
            visit_all(Detached { upper: upper(start), items }, visit);
        }
    }

    /// Bytes of heap memory.
    pub fn heap_bytes(&self) -> usize {
        let in_levels: usize = (self.levels.iter().filter_map(|level| level.buckets.as_ref()))
            .map(|buckets| size_of_val(&**buckets) + buckets.iter().map(Bucket::heap_bytes).sum::<usize>())
            .sum();
        let detached = [Some(&self.due), Some(&self.moving), self.sweep.as_ref().map(|s| &s.unchecked)];
        let far = self.far.values().map(|bucket| bucket.heap_bytes() + 2 * size_of::<Bucket>());
        in_levels
            + far.sum::<usize>()
            + detached.into_iter().flatten().map(|detached| detached.items.heap_bytes()).sum::<usize>()
            + self.late.capacity() * size_of::<(i64, u64)>()
    }
}

/// Milliseconds that a bucket spans.
fn span_of(place: Place) -> i64 {
    match place {
        Place::Level(level, _) => 1 << (LEVEL_BITS * level as u32),
        Place::Far(_) => 1 << 32,
    }
}

fn visit_all(mut detached: Detached, visit: &mut dyn FnMut(i64, u64)) {
    while let Some((deadline, item)) = detached.pop() {
        visit(deadline, item);
    }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
