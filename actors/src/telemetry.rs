//! What every thread measures of the messages it handles: counts, waits and runs per kind of actor and message, and the
//! longest of them. Histograms have a single writer, so counting is a plain add; readers on other threads see values at
//! most a message old.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::envelope::{ActorKind, MESSAGES_MAX};
use crate::slow::SlowList;

/// Buckets of a histogram: four per power of two of nanoseconds.
const BUCKETS: usize = 160;

/// A log-linear histogram of nanoseconds with one writer and any number of readers.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    count: AtomicU64,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new(std::array::from_fn(|_| AtomicU64::new(0))),
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < 4 {
        return nanos as usize;
    }
    let log = 63 - nanos.leading_zeros() as usize;
    ((log - 1) * 4 + ((nanos >> (log - 2)) & 3) as usize).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (log, sub) = (bucket / 4 + 1, bucket % 4);
    ((4 + sub as u64 + 1) << (log - 2)) - 1
}

impl Histogram {
    /// Adds a value. Only the owning thread may call this: single-writer adds need no locked instruction.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let add = |cell: &AtomicU64, by: u64| {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        };
        add(&self.buckets[bucket_of(nanos)], 1);
        add(&self.count, 1);
        add(&self.sum, nanos);
        if nanos > self.max.load(Ordering::Relaxed) {
            self.max.store(nanos, Ordering::Relaxed);
        }
    }

    /// Adds a value where several threads may do so at the same time.
    pub fn record_shared(&self, nanos: u64) {
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        self.max.fetch_max(nanos, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> Summary {
        Summary {
            buckets: self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect(),
            count: self.count.load(Ordering::Relaxed),
            sum_ns: self.sum.load(Ordering::Relaxed),
            max_ns: self.max.load(Ordering::Relaxed),
        }
    }

    pub fn reset(&self) {
        self.buckets.iter().for_each(|b| b.store(0, Ordering::Relaxed));
        self.count.store(0, Ordering::Relaxed);
        self.sum.store(0, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
    }
}

/// A histogram's values at one time; can be added up over threads.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    buckets: Vec<u64>,
    pub count: u64,
    pub sum_ns: u64,
    pub max_ns: u64,
}

impl Summary {
    pub fn merge(&mut self, other: &Summary) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (a, b) in self.buckets.iter_mut().zip(&other.buckets) {
            *a += b;
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The value below which `percent` of all values lie, to within a quarter of a power of two.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return bucket_end(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// Upper bound in nanoseconds and count of each bucket that is not empty.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, &n)| (bucket_end(i), n))
    }
}

/// Wait and run times of one message type at one kind of actor on one thread.
#[derive(Debug, Default)]
pub struct MessageStats {
    pub name: OnceLock<&'static str>,
    pub wait: Histogram,
    pub run: Histogram,
}

/// What one thread measured.
#[derive(Debug)]
pub struct ThreadTelemetry {
    messages: Vec<OnceLock<Box<MessageStats>>>,
    /// What the thread is for, as ACTOR LIST and traces name it.
    name: Mutex<String>,
    number: u32,
    /// The longest waits and runs (ACTOR SLOW).
    pub slow: Mutex<SlowList>,
}

thread_local! {
    static LOCAL: Arc<ThreadTelemetry> = register_thread();
}

static THREADS: OnceLock<Mutex<Vec<Arc<ThreadTelemetry>>>> = OnceLock::new();
static NEXT_THREAD: AtomicU32 = AtomicU32::new(1);

/// What this thread measured so far.
#[inline]
pub fn with_local<T>(use_it: impl FnOnce(&ThreadTelemetry) -> T) -> T {
    LOCAL.with(|telemetry| use_it(telemetry))
}

/// Names this thread in ACTOR LIST and in traces.
pub fn name_thread(name: &str) {
    with_local(|t| name.clone_into(&mut t.name.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// All threads that handled messages, with their numbers in traces and their names.
pub fn threads() -> Vec<Arc<ThreadTelemetry>> {
    let threads = THREADS.get_or_init(Default::default);
    threads.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn register_thread() -> Arc<ThreadTelemetry> {
    let telemetry = Arc::new(ThreadTelemetry {
        messages: (0..ActorKind::ALL.len() * MESSAGES_MAX).map(|_| OnceLock::new()).collect(),
        name: Mutex::new(std::thread::current().name().unwrap_or("unnamed").to_owned()),
        number: NEXT_THREAD.fetch_add(1, Ordering::Relaxed),
        slow: Mutex::default(),
    });
    let threads = THREADS.get_or_init(Default::default);
    threads.lock().unwrap_or_else(PoisonError::into_inner).push(telemetry.clone());
    telemetry
}

impl ThreadTelemetry {
    /// The thread's number in traces.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages that actors of a kind handled on this thread, and the nanoseconds they took.
    pub fn totals_of(&self, kind: ActorKind) -> (u64, u64) {
        let first = kind as usize * MESSAGES_MAX;
        self.messages[first..first + MESSAGES_MAX].iter().filter_map(OnceLock::get).fold(
            (0, 0),
            |sums, stats| {
                (
                    sums.0 + stats.run.count.load(Ordering::Relaxed),
                    sums.1 + stats.run.sum.load(Ordering::Relaxed),
                )
            },
        )
    }

    /// Takes note of one message.
    #[inline]
    pub fn record(&self, kind: ActorKind, message: usize, name: &'static str, waited: u64, ran: u64) {
        let stats = self.messages[kind as usize * MESSAGES_MAX + message].get_or_init(Box::default);
        stats.name.get_or_init(|| name);
        stats.wait.record(waited);
        stats.run.record(ran);
    }
}

/// Messages handled and nanoseconds spent on them by all actors of a kind.
pub fn totals_of(kind: ActorKind) -> (u64, u64) {
    threads().iter().map(|t| t.totals_of(kind)).fold((0, 0), |sums, t| (sums.0 + t.0, sums.1 + t.1))
}

/// What stands for the turns of an event loop: messages of shards and of those who look around now and then, and the
/// nanoseconds they took.
pub fn cycles() -> (u64, u64) {
    let (shards, janitor) = (totals_of(ActorKind::Shard), totals_of(ActorKind::Janitor));
    (shards.0 + janitor.0, shards.1 + janitor.1)
}

/// One line of ACTOR HISTOGRAM.
#[derive(Clone, Debug)]
pub struct MessageSummary {
    pub kind: ActorKind,
    pub message: &'static str,
    pub wait: Summary,
    pub run: Summary,
}

/// Everything measured so far, added up over threads, by kind and message.
pub fn summaries() -> Vec<MessageSummary> {
    let threads = threads();
    let mut out: Vec<MessageSummary> = Vec::new();
    for kind in ActorKind::ALL {
        for message in 0..MESSAGES_MAX {
            let mut sum: Option<MessageSummary> = None;
            for thread in &threads {
                let Some(stats) = thread.messages[kind as usize * MESSAGES_MAX + message].get() else {
                    continue;
                };
                let Some(&name) = stats.name.get() else { continue };
                let sum = sum.get_or_insert_with(|| MessageSummary {
                    kind,
                    message: name,
                    wait: Summary::default(),
                    run: Summary::default(),
                });
                sum.wait.merge(&stats.wait.snapshot());
                sum.run.merge(&stats.run.snapshot());
            }
            out.extend(sum);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_their_values() {
        for n in (0..5000u64).chain([1 << 20, (1 << 30) + 12345, 1 << 38]) {
            let b = bucket_of(n);
            assert!(n <= bucket_end(b), "{n} in bucket {b} ending at {}", bucket_end(b));
            assert!(b == 0 || n > bucket_end(b - 1), "{n} above bucket {}", b - 1);
        }
    }

    #[test]
    fn percentiles_are_near() {
        let h = Histogram::default();
        (1..=1000u64).for_each(|n| h.record(n * 1000));
        let s = h.snapshot();
        assert_eq!(s.count, 1000);
        let p50 = s.percentile_ns(50.0);
        assert!((500_000..=640_000).contains(&p50), "{p50}");
        assert_eq!(s.percentile_ns(100.0), 1_000_000);
    }
}
