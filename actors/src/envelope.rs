//! The one envelope around every message, and the one place that measures: when it was sent, how long it waited, how
//! long it ran, and which message caused it.
//!
//! Counters and histograms are always on. They belong to the thread that handles the message and have a single
//! writer, so counting is a plain add; readers on other threads see values at most a message old. Records for traces
//! are made only while tracing is on, which costs one relaxed load when it is off.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

use crate::clock::{self, Tick};

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ActorKind {
    Outside,
    Listener,
    Connection,
    Shard,
    Reaper,
    Evictor,
    ExpiryScanner,
    ReplicationLog,
    Janitor,
}

impl ActorKind {
    pub const ALL: [Self; 9] = [
        Self::Outside,
        Self::Listener,
        Self::Connection,
        Self::Shard,
        Self::Reaper,
        Self::Evictor,
        Self::ExpiryScanner,
        Self::ReplicationLog,
        Self::Janitor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Listener => "listener",
            Self::Connection => "connection",
            Self::Shard => "shard",
            Self::Reaper => "reaper",
            Self::Evictor => "evictor",
            Self::ExpiryScanner => "expiry-scanner",
            Self::ReplicationLog => "replication-log",
            Self::Janitor => "janitor",
        }
    }
}

/// Which actor: kind and a number that is not reused within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActorId {
    pub kind: ActorKind,
    pub number: u32,
}

impl ActorId {
    pub const OUTSIDE: Self = Self { kind: ActorKind::Outside, number: 0 };
}

impl std::fmt::Display for ActorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.number)
    }
}

/// What travels with a message.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// All messages that one outside event caused share it.
    pub trace: u64,
    pub sender: ActorId,
    pub sent: Tick,
}

/// A message on its way.
#[derive(Debug)]
pub struct Traced<M> {
    pub message: M,
    pub meta: Meta,
}

impl<M: 'static> Message for Traced<M> {
    type Result = ();
}

/// A message type's name in traces and histograms.
pub trait Traceable: 'static {
    const NAME: &'static str;
    /// Index of the type in its receiver's histograms, below [`MESSAGES_MAX`].
    const INDEX: usize;
}

/// Most message types any one kind of actor receives.
pub const MESSAGES_MAX: usize = 24;

/// An actor whose messages are measured.
pub trait TracedActor: Actor {
    const KIND: ActorKind;

    fn id(&self) -> ActorId;
}

/// Handles one type of message.
pub trait Receive<M>: TracedActor {
    fn receive(&mut self, message: M, ctx: &mut Self::Context);
}

/// Declares the message types an actor receives: their names, their histograms, and the handlers that measure.
#[macro_export]
macro_rules! receives {
    ($actor:ty: $($message:ty = $index:literal),+ $(,)?) => {
        $(
            impl $crate::envelope::Traceable for $message {
                const NAME: &'static str = stringify!($message);
                const INDEX: usize = $index;
            }

            impl actix::Handler<$crate::envelope::Traced<$message>> for $actor {
                type Result = ();

                fn handle(&mut self, traced: $crate::envelope::Traced<$message>, ctx: &mut Self::Context) {
                    $crate::envelope::measure(self, traced, ctx);
                }
            }
        )+
    };
}

thread_local! {
    static CURRENT: Cell<(u64, ActorId)> = const { Cell::new((0, ActorId::OUTSIDE)) };
    static RECENT: Cell<Tick> = const { Cell::new(Tick(0)) };
    static LOCAL: Arc<ThreadTelemetry> = register_thread();
}

static NEXT_TRACE: AtomicU64 = AtomicU64::new(1);
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(1);
static TRACING: AtomicBool = AtomicBool::new(false);
static RING: Mutex<VecDeque<Record>> = Mutex::new(VecDeque::new());
static THREADS: OnceLock<Mutex<Vec<Arc<ThreadTelemetry>>>> = OnceLock::new();

/// Most trace records kept; older ones are dropped.
pub const RING_MAX: usize = 16_384;

/// A number for a new actor.
pub fn next_actor(kind: ActorKind) -> ActorId {
    ActorId { kind, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
}

/// Takes note of a counter reading made anyway, so that messages sent now need none of their own.
#[inline]
pub fn set_recent(tick: Tick) {
    RECENT.with(|r| r.set(tick));
}

/// Starts a new trace: something outside (bytes on a socket, a timer) makes actor `id` act now.
pub fn outside_event(id: ActorId, at: Tick) {
    let trace = if TRACING.load(Ordering::Relaxed) { NEXT_TRACE.fetch_add(1, Ordering::Relaxed) } else { 0 };
    CURRENT.with(|c| c.set((trace, id)));
    set_recent(at);
}

/// Sends a message; trace and sender are those of the message being handled on this thread.
#[inline]
pub fn tell<A, M>(to: &Addr<A>, message: M)
where
    A: Actor + Handler<Traced<M>>,
    A::Context: ToEnvelope<A, Traced<M>>,
    M: Send + 'static,
{
    to.do_send(Traced { message, meta: current_meta() });
}

/// The meta data of a message sent now.
pub fn current_meta() -> Meta {
    let (trace, sender) = CURRENT.with(Cell::get);
    Meta { trace, sender, sent: RECENT.with(Cell::get) }
}

/// Runs a handler and measures it. Called by the handlers that [`receives!`] makes, never by hand.
#[inline]
pub fn measure<A, M>(actor: &mut A, traced: Traced<M>, ctx: &mut A::Context)
where
    A: Receive<M>,
    M: Traceable,
{
    let start = clock::tick();
    let id = actor.id();
    let meta = traced.meta;
    CURRENT.with(|c| c.set((meta.trace, id)));
    set_recent(start);
    let span = tracing::trace_span!("message", actor = %id, message = M::NAME, trace = meta.trace);
    span.in_scope(|| actor.receive(traced.message, ctx));
    let end = clock::tick();
    set_recent(end);
    let waited = clock::nanos_between(meta.sent, start);
    let ran = clock::nanos_between(start, end);
    LOCAL.with(|t| t.record(A::KIND, M::INDEX, M::NAME, waited, ran));
    if TRACING.load(Ordering::Relaxed) {
        push_record(Record {
            trace: meta.trace,
            sender: meta.sender,
            receiver: id,
            message: M::NAME,
            sent_unix_us: clock::unix_us(meta.sent),
            waited_ns: waited,
            ran_ns: ran,
        });
    }
}

/// One handled message, for people.
#[derive(Clone, Debug)]
pub struct Record {
    pub trace: u64,
    pub sender: ActorId,
    pub receiver: ActorId,
    pub message: &'static str,
    pub sent_unix_us: i64,
    pub waited_ns: u64,
    pub ran_ns: u64,
}

fn push_record(record: Record) {
    let mut ring = RING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if ring.len() == RING_MAX {
        ring.pop_front();
    }
    ring.push_back(record);
}

/// Switches records on (forgetting old ones) or off (keeping them readable).
pub fn set_tracing(on: bool) {
    if on && !TRACING.load(Ordering::Relaxed) {
        RING.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }
    TRACING.store(on, Ordering::Relaxed);
}

/// The newest `count` records, oldest first.
pub fn records(count: usize) -> Vec<Record> {
    let ring = RING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    ring.iter().skip(ring.len().saturating_sub(count)).cloned().collect()
}

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
}

fn register_thread() -> Arc<ThreadTelemetry> {
    let telemetry = Arc::new(ThreadTelemetry {
        messages: (0..ActorKind::ALL.len() * MESSAGES_MAX).map(|_| OnceLock::new()).collect(),
    });
    let threads = THREADS.get_or_init(Default::default);
    threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(telemetry.clone());
    telemetry
}

impl ThreadTelemetry {
    fn record(&self, kind: ActorKind, message: usize, name: &'static str, waited: u64, ran: u64) {
        let stats = self.messages[kind as usize * MESSAGES_MAX + message].get_or_init(Box::default);
        stats.name.get_or_init(|| name);
        stats.wait.record(waited);
        stats.run.record(ran);
    }
}

/// Messages handled and nanoseconds spent on them by all actors of a kind.
pub fn totals_of(kind: ActorKind) -> (u64, u64) {
    let threads = THREADS.get_or_init(Default::default);
    let threads = threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut sums = (0, 0);
    for thread in threads.iter() {
        let first = kind as usize * MESSAGES_MAX;
        for stats in thread.messages[first..first + MESSAGES_MAX].iter().filter_map(OnceLock::get) {
            sums.0 += stats.run.count.load(Ordering::Relaxed);
            sums.1 += stats.run.sum.load(Ordering::Relaxed);
        }
    }
    sums
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
    let threads = THREADS.get_or_init(Default::default);
    let threads = threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
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
