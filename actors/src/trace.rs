//! Records of messages, while somebody wants them: which ones (filters), where they are kept (a bounded ring), and how
//! they leave (ACTOR TRACE GET, or a file in the Chrome trace format that ui.perfetto.dev opens).
//!
//! A trace is everything that one outside event caused. Whether an event is traced is decided where it comes in, by
//! client, slot of its keys, and sampling; what of a trace is kept is decided message by message. While nothing is
//! recorded a message costs two relaxed loads of one flag.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::clock;
use crate::envelope::{ActorId, ActorKind, Meta};
use crate::telemetry;

/// Most records kept; older ones are dropped.
pub const RING_MAX: usize = 16_384;
/// Bit of a trace number: a client that asked for it with CLIENT TRACE began it.
const ASKED_FOR: u64 = 1 << 62;

static ON: AtomicBool = AtomicBool::new(false);
static FILTER: ArcSwapOption<Filter> = ArcSwapOption::const_empty();
/// Clients with CLIENT TRACE ON.
static CLIENTS: AtomicUsize = AtomicUsize::new(0);
static NEXT_TRACE: AtomicU64 = AtomicU64::new(1);
static NEXT_MESSAGE: AtomicU64 = AtomicU64::new(1);
static EVENTS_SEEN: AtomicU64 = AtomicU64::new(0);
static RING: Mutex<VecDeque<Record>> = Mutex::new(VecDeque::new());

/// What ACTOR TRACE START asked for. Empty lists and zeros ask for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only messages to actors of these kinds.
    pub kinds: Vec<ActorKind>,
    /// Only messages of these types, by name in any case.
    pub messages: Vec<String>,
    /// Only what these clients caused.
    pub clients: Vec<u64>,
    /// Only what requests with a key of these slots caused.
    pub slots: Vec<u16>,
    /// Only messages that waited and ran at least this long together, microseconds.
    pub slower_than_us: u64,
    /// Only every so many-th outside event; 0 and 1 mean all.
    pub sample: u64,
}

impl Filter {
    /// Whether some outside events are left out.
    fn is_choosy(&self) -> bool {
        !self.clients.is_empty() || !self.slots.is_empty() || self.sample > 1
    }

    fn is_sampled(&self) -> bool {
        self.sample <= 1 || EVENTS_SEEN.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample)
    }

    fn keeps(&self, handled: &Handled) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&handled.receiver.kind))
            && (self.messages.is_empty()
                || self.messages.iter().any(|m| m.eq_ignore_ascii_case(handled.message)))
            && (handled.waited + handled.ran) / 1000 >= self.slower_than_us
            && (handled.meta.trace != 0 || !self.is_choosy())
    }
}

/// Who sent requests.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub id: u64,
    /// CLIENT TRACE ON.
    pub asked: bool,
}

/// A message that was handled while recording is on.
pub struct Handled {
    pub receiver: ActorId,
    pub message: &'static str,
    pub meta: Meta,
    pub number: u64,
    pub waited: u64,
    pub ran: u64,
}

/// One handled message, for people.
#[derive(Clone, Debug)]
pub struct Record {
    pub trace: u64,
    /// Number of the message, and of the message that was being handled when it was sent (0: none that is recorded).
    pub number: u64,
    pub cause: u64,
    pub sender: ActorId,
    pub receiver: ActorId,
    pub message: &'static str,
    pub sent_unix_us: i64,
    pub waited_ns: u64,
    pub ran_ns: u64,
    /// Number of the thread it ran on.
    pub thread: u32,
}

/// Whether anything is recorded.
#[inline]
pub fn is_on() -> bool {
    !cfg!(feature = "no-trace") && ON.load(Ordering::Relaxed)
}

/// A number for a message, in the order of handling.
pub fn next_message() -> u64 {
    NEXT_MESSAGE.fetch_add(1, Ordering::Relaxed)
}

fn next_trace() -> u64 {
    NEXT_TRACE.fetch_add(1, Ordering::Relaxed)
}

/// The trace of an outside event that is nobody's request; 0 if it is not recorded.
#[cold]
pub fn begin_for_anybody() -> u64 {
    let filter = FILTER.load();
    let wanted =
        filter.as_ref().is_some_and(|f| f.clients.is_empty() && f.slots.is_empty() && f.is_sampled());
    if wanted { next_trace() } else { 0 }
}

/// The trace of a client's requests; 0 if they are not recorded. `touches` tells whether a request has a key in one of
/// some slots.
#[cold]
pub fn begin_for(client: Client, touches: impl FnOnce(&[u16]) -> bool) -> u64 {
    if client.asked {
        return next_trace() | ASKED_FOR;
    }
    let filter = FILTER.load();
    let wanted = filter.as_ref().is_some_and(|f| {
        (f.clients.is_empty() || f.clients.contains(&client.id))
            && (f.slots.is_empty() || touches(&f.slots))
            && f.is_sampled()
    });
    if wanted { next_trace() } else { 0 }
}

/// Keeps a handled message if the filter wants it.
#[cold]
pub fn record(handled: Handled) {
    let asked_for = handled.meta.trace & ASKED_FOR != 0;
    if !asked_for && !FILTER.load().as_ref().is_some_and(|f| f.keeps(&handled)) {
        return;
    }
    let Handled { receiver, message, meta, number, waited, ran } = handled;
    let thread = telemetry::with_local(telemetry::ThreadTelemetry::number);
    let record = Record {
        trace: meta.trace & !ASKED_FOR,
        number,
        cause: meta.cause,
        sender: meta.sender,
        receiver,
        message,
        sent_unix_us: clock::unix_us(meta.sent),
        waited_ns: waited,
        ran_ns: ran,
        thread,
    };
    #[cfg(feature = "otlp")]
    crate::otlp::offer(&record);
    let mut ring = RING.lock().unwrap_or_else(PoisonError::into_inner);
    if ring.len() == RING_MAX {
        ring.pop_front();
    }
    ring.push_back(record);
}

/// Forgets old records and records what the filter says from now on.
pub fn start(filter: Filter) {
    RING.lock().unwrap_or_else(PoisonError::into_inner).clear();
    FILTER.store(Some(Arc::new(filter)));
    ON.store(true, Ordering::Relaxed);
}

/// Records no more but what clients ask for themselves; what was recorded stays readable.
pub fn stop() {
    FILTER.store(None);
    ON.store(CLIENTS.load(Ordering::Relaxed) > 0, Ordering::Relaxed);
}

/// A client began to record its own requests.
pub fn client_began() {
    CLIENTS.fetch_add(1, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

/// A client that recorded its own requests does so no longer.
pub fn client_ended() {
    let left = CLIENTS.fetch_sub(1, Ordering::Relaxed) - 1;
    if left == 0 && FILTER.load().is_none() {
        ON.store(false, Ordering::Relaxed);
    }
}

/// The newest `count` records, oldest first.
pub fn records(count: usize) -> Vec<Record> {
    let ring = RING.lock().unwrap_or_else(PoisonError::into_inner);
    ring.iter().skip(ring.len().saturating_sub(count)).cloned().collect()
}

/// The records in the Chrome trace event format: one slice per message on the thread it ran on, and an arrow from the
/// message that sent it. Times are microseconds. Format: the Trace Event Format document of the Chromium project.
pub fn chrome_json(records: &[Record]) -> String {
    let mut out = String::from("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    let mut first = true;
    let mut add = |event: std::fmt::Arguments<'_>| {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push('\n');
        // Writing to a String cannot fail.
        let _ = out.write_fmt(event);
    };
    for thread in telemetry::threads() {
        // Thread names are ours: letters, digits and dashes.
        add(format_args!(
            "{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":{},\"args\":{{\"name\":\"{}\"}}}}",
            thread.number(),
            thread.name().escape_default()
        ));
    }
    let started = |r: &Record| r.sent_unix_us as f64 + r.waited_ns as f64 / 1000.0;
    for r in records {
        add(format_args!(
            "{{\"ph\":\"X\",\"name\":\"{}\",\"cat\":\"{}\",\"pid\":1,\"tid\":{},\"ts\":{:.3},\"dur\":{:.3},\"args\":{{\"trace\":{},\"number\":{},\"cause\":{},\"sender\":\"{}\",\"receiver\":\"{}\",\"waited_us\":{:.3}}}}}",
            r.message,
            r.receiver.kind.name(),
            r.thread,
            started(r),
            r.ran_ns as f64 / 1000.0,
            r.trace,
            r.number,
            r.cause,
            r.sender,
            r.receiver,
            r.waited_ns as f64 / 1000.0
        ));
    }
    let by_number: HashMap<u64, &Record> = records.iter().map(|r| (r.number, r)).collect();
    for r in records {
        let Some(cause) = by_number.get(&r.cause) else { continue };
        for (phase, thread, at) in [("s", cause.thread, r.sent_unix_us as f64), ("f", r.thread, started(r))] {
            let binding = if phase == "f" { ",\"bp\":\"e\"" } else { "" };
            add(format_args!(
                "{{\"ph\":\"{phase}\",\"name\":\"{}\",\"cat\":\"message\",\"id\":{},\"pid\":1,\"tid\":{thread},\"ts\":{at:.3}{binding}}}",
                r.message, r.number
            ));
        }
    }
    out.push_str("\n]}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    fn handled(kind: ActorKind, message: &'static str, trace: u64, nanos: u64) -> Handled {
        let id = ActorId { kind, number: 1 };
        let meta = Meta { trace, cause: 0, sender: ActorId::OUTSIDE, sent: Tick(0) };
        Handled { receiver: id, message, meta, number: 1, waited: 0, ran: nanos }
    }

    #[test]
    fn filters_choose_by_kind_message_and_time() {
        let all = Filter::default();
        assert!(all.keeps(&handled(ActorKind::Shard, "ExecuteBatch", 0, 0)));
        let shards = Filter { kinds: vec![ActorKind::Shard], ..Filter::default() };
        assert!(shards.keeps(&handled(ActorKind::Shard, "Reserve", 1, 0)));
        assert!(!shards.keeps(&handled(ActorKind::Connection, "Reserve", 1, 0)));
        let named = Filter { messages: vec!["reserve".into()], ..Filter::default() };
        assert!(named.keeps(&handled(ActorKind::Shard, "Reserve", 1, 0)));
        assert!(!named.keeps(&handled(ActorKind::Shard, "Granted", 1, 0)));
        let slow = Filter { slower_than_us: 5, ..Filter::default() };
        assert!(slow.keeps(&handled(ActorKind::Shard, "Reserve", 1, 5_000)));
        assert!(!slow.keeps(&handled(ActorKind::Shard, "Reserve", 1, 4_999)));
        let sampled = Filter { sample: 10, ..Filter::default() };
        assert!(!sampled.keeps(&handled(ActorKind::Shard, "Reserve", 0, 0)), "its event was not chosen");
    }

    #[test]
    fn the_file_is_json_with_an_arrow_per_known_cause() {
        let id = |number| ActorId { kind: ActorKind::Shard, number };
        let record = |number, cause, message| Record {
            trace: 1,
            number,
            cause,
            sender: id(1),
            receiver: id(2),
            message,
            sent_unix_us: 1000,
            waited_ns: 500,
            ran_ns: 250,
            thread: 3,
        };
        let text = chrome_json(&[record(5, 0, "First"), record(6, 5, "Second"), record(9, 4, "Third")]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("well formed");
        let events = json["traceEvents"].as_array().expect("an array");
        let count = |phase: &str| events.iter().filter(|e| e["ph"] == phase).count();
        assert_eq!((count("X"), count("s"), count("f")), (3, 1, 1));
        let second = events.iter().find(|e| e["name"] == "Second" && e["ph"] == "X").expect("there");
        assert_eq!(second["ts"], 1000.5);
        assert_eq!(second["dur"], 0.25);
        assert_eq!(second["args"]["cause"], 5);
    }
}
