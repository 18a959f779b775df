//! Time. One clock for all actors: ticks of the processor's counter for durations, and wall time derived from them,
//! so that a command costs one counter read. Actors wait by [`after`], [`at_unix_ms`] and [`every`] and in no other
//! way, so that a test that moves the clock ([`move_by`]) moves everything that depends on time.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::prelude::*;
use tokio::sync::Notify;

use crate::envelope::{TracedActor, outside_event};

/// A reading of the processor's counter; only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

/// What the clock is, as the log and INFO name it.
pub const DESCRIPTION: &str = "CPU time-stamp counter, calibrated at start";

struct Base {
    clock: quanta::Clock,
    /// The counter when the clock was made.
    start: Tick,
    /// Wall time in microseconds at `start`, as far as is known now; set anew by [`resync`]. One word, so that nobody
    /// sees half a change.
    wall_us: AtomicI64,
    /// Ticks are converted by `ticks * mul >> 32` microseconds.
    mul: u64,
}

static BASE: OnceLock<Base> = OnceLock::new();
/// What [`move_by`] has added to the system's wall time, microseconds.
static MOVED_US: AtomicI64 = AtomicI64::new(0);
/// What it has added to the time that waits count, microseconds.
static SKIPPED_US: AtomicI64 = AtomicI64::new(0);
/// Wakes whoever waits when the clock was moved.
static MOVED: Notify = Notify::const_new();

fn system_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

fn base() -> &'static Base {
    BASE.get_or_init(|| {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        // How many nanoseconds a million ticks are: quanta calibrated that when the clock was made.
        let nanos = clock.delta_as_nanos(start, start + 1_000_000_000);
        let mul = ((u128::from(nanos) << 32) / 1000 / 1_000_000_000) as u64;
        Base { wall_us: AtomicI64::new(system_us()), start: Tick(clock.raw()), mul, clock }
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
    base.wall_us.load(Ordering::Relaxed) + micros_between(base.start, at) as i64
}

/// Wall time in Unix milliseconds, now.
pub fn unix_ms() -> i64 {
    unix_us(tick()) / 1000
}

/// Follows steps and drift of the system's clock; called by a timer every 100 ms and after SIGCONT.
pub fn resync() {
    /// Further than this the system's clock was set, it did not drift; microseconds.
    const STEP_US: i64 = 2000;
    let base = base();
    let now = tick();
    let step = system_us() + MOVED_US.load(Ordering::Relaxed) - unix_us(now);
    base.wall_us.fetch_add(step, Ordering::Relaxed);
    if step.abs() > STEP_US {
        MOVED.notify_waiters();
    }
}

/// Moves the clock for everybody in the process: later if positive, earlier if negative. For tests (DEBUG MOVE-CLOCK).
/// Moving it forward also ends waits that would have been over by then.
pub fn move_by(ms: i64) {
    let us = ms.saturating_mul(1000);
    MOVED_US.fetch_add(us, Ordering::Relaxed);
    SKIPPED_US.fetch_add(us.max(0), Ordering::Relaxed);
    base().wall_us.fetch_add(us, Ordering::Relaxed);
    MOVED.notify_waiters();
}

/// Time that waits count, microseconds: it never goes back.
fn elapsed_us() -> i64 {
    micros_between(base().start, tick()) as i64 + SKIPPED_US.load(Ordering::Relaxed)
}

/// Ready when `left_us` says that nothing is left.
async fn sleep(left_us: impl Fn() -> i64) {
    loop {
        // Registered before the look, so that no move of the clock falls between the two.
        let mut moved = std::pin::pin!(MOVED.notified());
        moved.as_mut().enable();
        let left = left_us();
        if left <= 0 {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_micros(left as u64)) => {}
            () = moved => {}
        }
    }
}

/// What the actor then does was caused by nothing but time: it begins a trace of its own, and what it sends was sent then.
fn run_when<A, F>(
    ctx: &mut Context<A>,
    ready: F,
    then: impl FnOnce(&mut A, &mut Context<A>) + 'static,
) -> SpawnHandle
where
    A: TracedActor<Context = Context<A>>,
    F: Future<Output = ()> + 'static,
{
    ctx.spawn(actix::fut::wrap_future::<_, A>(ready).map(move |(), actor: &mut A, ctx| {
        outside_event(actor.id(), tick());
        then(actor, ctx);
    }))
}

/// Has the actor do something after `delay`. [`AsyncContext::cancel_future`] takes it back.
pub fn after<A>(
    ctx: &mut Context<A>,
    delay: Duration,
    then: impl FnOnce(&mut A, &mut Context<A>) + 'static,
) -> SpawnHandle
where
    A: TracedActor<Context = Context<A>>,
{
    let due = elapsed_us().saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX));
    run_when(ctx, sleep(move || due.saturating_sub(elapsed_us())), then)
}

/// Has the actor do something once wall time has reached a moment, however the clock is set meanwhile.
pub fn at_unix_ms<A>(
    ctx: &mut Context<A>,
    moment_ms: i64,
    then: impl FnOnce(&mut A, &mut Context<A>) + 'static,
) -> SpawnHandle
where
    A: TracedActor<Context = Context<A>>,
{
    // In pieces, so that a step of the system's clock that nobody noticed is found out.
    const PIECE_US: i64 = 60_000_000;
    let due = moment_ms.saturating_mul(1000);
    run_when(ctx, sleep(move || due.saturating_sub(unix_us(tick())).min(PIECE_US)), then)
}

/// How long until the next moment at which [`every`] calls those who asked for this period.
pub fn until_next(period: Duration) -> Duration {
    let period_us = i64::try_from(period.as_micros()).unwrap_or(i64::MAX).max(1);
    let left = period_us - elapsed_us().rem_euclid(period_us);
    Duration::from_micros(left.unsigned_abs())
}

/// Has the actor do something again and again. Whoever asks for the same period is called at the same moments: one
/// wake-up of the thread for all.
pub fn every<A>(ctx: &mut Context<A>, period: Duration, then: impl Fn(&mut A, &mut Context<A>) + 'static)
where
    A: TracedActor<Context = Context<A>>,
{
    after(ctx, until_next(period), move |actor, ctx| {
        then(actor, ctx);
        every(ctx, period, then);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{ActorId, ActorKind};

    struct Sleeper;

    impl Actor for Sleeper {
        type Context = Context<Self>;
    }

    impl TracedActor for Sleeper {
        const KIND: ActorKind = ActorKind::Outside;

        fn id(&self) -> ActorId {
            ActorId::OUTSIDE
        }
    }

    /// Held by tests that move the clock: it is one for the process.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn moving_the_clock_ends_waits_and_moving_it_back_does_not_lengthen_them() {
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        System::new().block_on(async {
            let before = unix_ms();
            let (done, over) = tokio::sync::oneshot::channel();
            let (woken, awake) = tokio::sync::oneshot::channel();
            Sleeper::create(move |ctx| {
                after(ctx, Duration::from_secs(3600), |_, _| {
                    let _ = done.send(());
                });
                at_unix_ms(ctx, before + 7_200_000, |_, _| {
                    let _ = woken.send(());
                });
                Sleeper
            });
            tokio::task::yield_now().await;
            move_by(-10_000_000);
            move_by(3_700_000);
            over.await.expect("the wait is over");
            move_by(10_000_000 + 3_600_000);
            awake.await.expect("the moment has come");
            assert!(unix_ms() - before >= 7_300_000);
            move_by(-7_300_000);
        });
    }
}
