//! The one envelope around every message, and the one place that measures: when it was sent, how long it waited, how
//! long it ran, and which message caused it.
//!
//! Counters and histograms are always on. They belong to the thread that handles the message and have a single
//! writer, so counting is a plain add; readers on other threads see values at most a message old. Records for traces
//! are made only while tracing is on, which costs one relaxed load when it is off.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

use crate::clock::{self, Tick};
pub use crate::telemetry::{Histogram, Summary, cycles, summaries, totals_of};
use crate::{slow, telemetry, trace};

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
    Snapshotter,
    MigrationExport,
    MigrationImport,
    Gossip,
    AppendOnlyFile,
    ReplicaLink,
}

impl ActorKind {
    pub const ALL: [Self; 15] = [
        Self::Outside,
        Self::Listener,
        Self::Connection,
        Self::Shard,
        Self::Reaper,
        Self::Evictor,
        Self::ExpiryScanner,
        Self::ReplicationLog,
        Self::Janitor,
        Self::Snapshotter,
        Self::MigrationExport,
        Self::MigrationImport,
        Self::Gossip,
        Self::AppendOnlyFile,
        Self::ReplicaLink,
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
            Self::Snapshotter => "snapshotter",
            Self::MigrationExport => "migration-export",
            Self::MigrationImport => "migration-import",
            Self::Gossip => "gossip",
            Self::AppendOnlyFile => "append-only-file",
            Self::ReplicaLink => "replica-link",
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
    /// The number of the message that was being handled when this one was sent; 0 while nothing is recorded.
    pub cause: u64,
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
pub const MESSAGES_MAX: usize = 48;

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
    /// Trace, actor and number of the message being handled.
    static CURRENT: Cell<(u64, ActorId, u64)> = const { Cell::new((0, ActorId::OUTSIDE, 0)) };
    static RECENT: Cell<Tick> = const { Cell::new(Tick(0)) };
}

static NEXT_NUMBER: AtomicU32 = AtomicU32::new(1);

/// A number for a new actor.
pub fn next_actor(kind: ActorKind) -> ActorId {
    ActorId { kind, number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) }
}

/// Takes note of a counter reading made anyway, so that messages sent now need none of their own.
#[inline]
pub fn set_recent(tick: Tick) {
    RECENT.with(|r| r.set(tick));
}

/// Starts a new trace if events like this are recorded: something outside (a timer, an accepted socket) makes actor
/// `id` act now.
pub fn outside_event(id: ActorId, at: Tick) {
    let trace = if trace::is_on() { trace::begin_for_anybody() } else { 0 };
    CURRENT.with(|c| c.set((trace, id, 0)));
    set_recent(at);
}

/// Likewise for requests of a client: `slots` tells the hash slots of their keys, and is called only if it matters.
#[inline]
pub fn client_event(id: ActorId, at: Tick, client: trace::Client, slots: impl FnOnce(&[u16]) -> bool) {
    let trace = if trace::is_on() { trace::begin_for(client, slots) } else { 0 };
    CURRENT.with(|c| c.set((trace, id, 0)));
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
    let (trace, sender, cause) = CURRENT.with(Cell::get);
    // On a thread that handles no messages nobody takes note of the time.
    let sent = if sender.kind == ActorKind::Outside { clock::tick() } else { RECENT.with(Cell::get) };
    Meta { trace, cause, sender, sent }
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
    let number = if trace::is_on() { trace::next_message() } else { 0 };
    CURRENT.with(|c| c.set((meta.trace, id, number)));
    set_recent(start);
    if cfg!(feature = "no-trace") {
        actor.receive(traced.message, ctx);
    } else {
        let span = tracing::trace_span!("message", actor = %id, message = M::NAME, trace = meta.trace);
        span.in_scope(|| actor.receive(traced.message, ctx));
    }
    let end = clock::tick();
    set_recent(end);
    let waited = clock::nanos_between(meta.sent, start);
    let ran = clock::nanos_between(start, end);
    telemetry::with_local(|t| t.record(A::KIND, M::INDEX, M::NAME, waited, ran));
    if waited.max(ran) >= slow::WORTH_A_LOOK_NANOS {
        slow::note(&slow::Handled { receiver: id, message: M::NAME, meta, start, end, waited, ran });
    }
    if number != 0 && trace::is_on() {
        trace::record(trace::Handled { receiver: id, message: M::NAME, meta, number, waited, ran });
    }
}
