//! The longest waits and runs of messages, and what they waited behind: always on, at the cost of one comparison a
//! message. A thread runs one message at a time, so a message that waited long met either another long run of its
//! thread, or a lack of processors.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{self, Tick};
use crate::envelope::{ActorId, Meta};
use crate::telemetry;

/// Shorter waits and runs are never kept.
pub const WORTH_A_LOOK_NANOS: u64 = 1_000_000;
/// Commands that take at least this long are remembered by name, for whoever waited behind them.
pub const LONG_COMMAND_NANOS: u64 = 200_000;
/// Entries of each kind kept per thread.
const KEPT: usize = 32;
/// Long runs of a thread remembered as possible causes of waits.
const RECENT_RUNS: usize = 16;

/// A message that was handled, and how long that took.
pub struct Handled {
    pub receiver: ActorId,
    pub message: &'static str,
    pub meta: Meta,
    pub start: Tick,
    pub end: Tick,
    pub waited: u64,
    pub ran: u64,
}

/// A run that others may have waited for.
#[derive(Clone, Debug)]
pub struct LongRun {
    pub receiver: ActorId,
    pub message: &'static str,
    pub ran_ns: u64,
    /// The command that took most of it, if there was one.
    pub command: Option<(&'static str, u64)>,
    start: Tick,
    end: Tick,
}

/// One entry of ACTOR SLOW.
#[derive(Clone, Debug)]
pub struct Slow {
    pub waited_ns: u64,
    pub ran_ns: u64,
    pub sender: ActorId,
    pub receiver: ActorId,
    pub message: &'static str,
    pub trace: u64,
    /// When it was handled, Unix microseconds.
    pub handled_unix_us: i64,
    /// The command that took longest while it ran.
    pub command: Option<(&'static str, u64)>,
    /// The longest other run of the thread while it waited.
    pub behind: Option<LongRun>,
}

/// The entries of one thread.
#[derive(Debug, Default)]
pub struct SlowList {
    waits: Vec<Slow>,
    runs: Vec<Slow>,
}

impl SlowList {
    fn keep(list: &mut Vec<Slow>, entry: &Slow, figure: fn(&Slow) -> u64) {
        if figure(entry) < WORTH_A_LOOK_NANOS {
            return;
        }
        let place = list.partition_point(|e| figure(e) >= figure(entry));
        if place < KEPT {
            list.insert(place, entry.clone());
            list.truncate(KEPT);
        }
    }
}

#[derive(Default)]
struct Recent {
    runs: VecDeque<LongRun>,
    command: Option<(&'static str, u64)>,
}

/// `watchdog-period`: runs of so many nanoseconds are written to the log.
static WATCHED_NANOS: AtomicU64 = AtomicU64::new(u64::MAX);

/// From now on runs of at least so many milliseconds are written to the log; none if that is 0.
pub fn watch(period_ms: u32) {
    let nanos = if period_ms == 0 { u64::MAX } else { u64::from(period_ms) * 1_000_000 };
    WATCHED_NANOS.store(nanos, Ordering::Relaxed);
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// Takes note of a command of at least [`LONG_COMMAND_NANOS`].
#[cold]
pub fn note_command(name: &'static str, nanos: u64) {
    RECENT.with_borrow_mut(|recent| {
        if recent.command.is_none_or(|(_, longest)| nanos > longest) {
            recent.command = Some((name, nanos));
        }
    });
}

/// Takes note of a message that waited or ran at least [`WORTH_A_LOOK_NANOS`].
#[cold]
pub fn note(handled: &Handled) {
    let Handled { receiver, message, meta, start, end, waited, ran } = *handled;
    let (command, behind) = RECENT.with_borrow_mut(|recent| {
        let command = recent.command.take().filter(|(_, nanos)| *nanos <= ran + LONG_COMMAND_NANOS);
        let behind = recent
            .runs
            .iter()
            .filter(|run| run.end > meta.sent && run.start < start)
            .max_by_key(|run| run.ran_ns)
            .cloned();
        if ran >= WORTH_A_LOOK_NANOS {
            if recent.runs.len() == RECENT_RUNS {
                recent.runs.pop_front();
            }
            recent.runs.push_back(LongRun { receiver, message, ran_ns: ran, command, start, end });
        }
        (command, behind)
    });
    if ran >= WATCHED_NANOS.load(Ordering::Relaxed) {
        let command = command.map_or_else(String::new, |(name, _)| format!(", command {name}"));
        tracing::warn!(
            "--- WATCHDOG TIMER EXPIRED --- {receiver} was held up by {message} for {} ms{command}",
            ran / 1_000_000
        );
    }
    let entry = Slow {
        waited_ns: waited,
        ran_ns: ran,
        sender: meta.sender,
        receiver,
        message,
        trace: meta.trace,
        handled_unix_us: clock::unix_us(start),
        command,
        behind,
    };
    telemetry::with_local(|t| {
        let mut list = t.slow.lock().unwrap_or_else(PoisonError::into_inner);
        SlowList::keep(&mut list.waits, &entry, |e| e.waited_ns);
        SlowList::keep(&mut list.runs, &entry, |e| e.ran_ns);
    });
}

/// The longest waits and the longest runs of all threads, longest first, at most `count` of each.
pub fn longest(count: usize) -> (Vec<Slow>, Vec<Slow>) {
    let (mut waits, mut runs) = (Vec::new(), Vec::new());
    for thread in telemetry::threads() {
        let list = thread.slow.lock().unwrap_or_else(PoisonError::into_inner);
        waits.extend(list.waits.iter().cloned());
        runs.extend(list.runs.iter().cloned());
    }
    waits.sort_by_key(|e| std::cmp::Reverse(e.waited_ns));
    runs.sort_by_key(|e| std::cmp::Reverse(e.ran_ns));
    waits.truncate(count);
    runs.truncate(count);
    (waits, runs)
}

/// Forgets all entries.
pub fn reset() {
    for thread in telemetry::threads() {
        *thread.slow.lock().unwrap_or_else(PoisonError::into_inner) = SlowList::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::ActorKind;

    fn id(number: u32) -> ActorId {
        ActorId { kind: ActorKind::Shard, number }
    }

    /// Ticks are some fraction of a nanosecond; the order is what matters here.
    fn handled(message: &'static str, sent: u64, start: u64, end: u64, waited: u64, ran: u64) -> Handled {
        let meta = Meta { trace: 7, cause: 0, sender: id(1), sent: Tick(sent) };
        Handled { receiver: id(2), message, meta, start: Tick(start), end: Tick(end), waited, ran }
    }

    #[test]
    fn a_long_wait_names_the_run_it_waited_behind() {
        std::thread::spawn(|| {
            let ms = WORTH_A_LOOK_NANOS;
            note_command("sort", 8 * ms);
            note(&handled("Long", 0, 1, 100, 0, 9 * ms));
            note(&handled("Unrelated", 200, 201, 300, 0, 5 * ms));
            note(&handled("Waited", 50, 101, 102, 8 * ms, 0));
            let (waits, runs) = longest(usize::MAX);
            let wait = waits.iter().find(|e| e.message == "Waited").expect("it waited long");
            let behind = wait.behind.as_ref().expect("a long run overlaps");
            assert_eq!((behind.message, behind.command), ("Long", Some(("sort", 8 * ms))));
            let of_this_test: Vec<_> =
                runs.iter().map(|e| e.message).filter(|m| ["Long", "Unrelated"].contains(m)).collect();
            assert_eq!(of_this_test, ["Long", "Unrelated"]);
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn only_the_longest_are_kept() {
        let mut list = Vec::new();
        let base = handled("M", 0, 0, 0, 0, 0);
        for n in 0..100u64 {
            let entry = Slow {
                waited_ns: WORTH_A_LOOK_NANOS + (n * 37) % 100,
                ran_ns: 0,
                sender: base.receiver,
                receiver: base.receiver,
                message: "M",
                trace: 0,
                handled_unix_us: 0,
                command: None,
                behind: None,
            };
            SlowList::keep(&mut list, &entry, |e| e.waited_ns);
        }
        let figures: Vec<u64> = list.iter().map(|e| e.waited_ns - WORTH_A_LOOK_NANOS).collect();
        assert_eq!(figures, (100 - KEPT as u64..100).rev().collect::<Vec<_>>());
    }
}
