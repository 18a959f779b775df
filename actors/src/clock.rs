//! Time. One clock for all actors: ticks of the processor's counter for durations, and wall time derived from them,
//! so that a command costs one counter read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A reading of the processor's counter; only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

/// What the clock is, as the log and INFO name it.
pub const DESCRIPTION: &str = "CPU time-stamp counter, calibrated at start";

struct Base {
    clock: quanta::Clock,
    /// Wall time in microseconds at `tick`, set anew by [`resync`].
    wall_us: AtomicI64,
    tick: AtomicU64,
    /// Ticks are converted by `ticks * mul >> 32` microseconds.
    mul: u64,
}

static BASE: OnceLock<Base> = OnceLock::new();

fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

fn base() -> &'static Base {
    BASE.get_or_init(|| {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        // How many nanoseconds a million ticks are: quanta calibrated that when the clock was made.
        let nanos = clock.delta_as_nanos(start, start + 1_000_000_000);
        let mul = ((u128::from(nanos) << 32) / 1000 / 1_000_000_000) as u64;
        Base { wall_us: AtomicI64::new(wall_us()), tick: AtomicU64::new(clock.raw()), mul, clock }
    })
}

/// Reads the counter.
#[inline]
pub fn tick() -> Tick {
    Tick(base().clock.raw())
}

/// Microseconds from one tick to a later one; 0 if the counter seems to have gone back.
#[inline]
pub fn micros_between(from: Tick, to: Tick) -> u64 {
    ((u128::from(to.0.saturating_sub(from.0)) * u128::from(base().mul)) >> 32) as u64
}

/// Nanoseconds from one tick to a later one.
#[inline]
pub fn nanos_between(from: Tick, to: Tick) -> u64 {
    base().clock.delta_as_nanos(from.0, to.0.max(from.0))
}

/// Wall time in Unix microseconds at a tick.
#[inline]
pub fn unix_us(at: Tick) -> i64 {
    let base = base();
    let tick = base.tick.load(Ordering::Relaxed);
    base.wall_us.load(Ordering::Relaxed) + micros_between(Tick(tick), at) as i64
}

/// Wall time in Unix milliseconds, now.
pub fn unix_ms() -> i64 {
    unix_us(tick()) / 1000
}

/// Follows steps and drift of the system's clock; called by a timer every 100 ms and after SIGCONT.
pub fn resync() {
    let base = base();
    base.wall_us.store(wall_us(), Ordering::Relaxed);
    base.tick.store(base.clock.raw(), Ordering::Relaxed);
}
