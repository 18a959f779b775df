//! Cadence and budget of active expiry. The scanner sleeps until the next deadline any shard knows of, then lets the
//! shards remove what is due, slice by slice; it never looks at keys itself.
//!
//! ```text
//!                 ImportModeChanged { on }              the last shard has nothing due
//!   [ Active ] ---------------------------> [ Importing ]        |
//!       ^ ^                                      |               |
//!       | |                  ImportModeChanged { off }           |
//!       | |                                      v               |
//!       | +------------------------------- [ Sweeping ] <--------+
//!
//!   of each shard:  [ Asleep until a deadline ] --ScanDue--> [ Scanning ] --ScannedExpired--> [ Asleep ... ]
//!                        ^ DeadlineArmed: an earlier one was set, sleep less
//! ```

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;

use crate::clock::{self, Tick};
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::import_mode;
use crate::server::ServerRef;
use crate::shard::ScanExpired;

/// While something keeps keys from being removed (a pause, being a replica, DEBUG SET-ACTIVE-EXPIRE 0), look this often whether it is
/// over, milliseconds.
const OBSTACLE_LOOK_MS: i64 = 100;
/// Between two slices of one shard while keys are due, milliseconds: the time of others.
const BETWEEN_SLICES_MS: u64 = 1;
/// While import mode may end by itself, look this often whether it has a source, milliseconds.
const SOURCES_LOOK_MS: u64 = 100;

/// What a shard did with a [`ScanExpired`].
pub struct ScannedExpired {
    pub shard: u16,
    /// Keys and fields that were removed.
    pub removed: u64,
    /// The budget ended before the due keys did.
    pub more_due: bool,
    /// A unit holds the slots of something that is due.
    pub some_held: bool,
    /// Earliest deadline left, Unix milliseconds.
    pub next_deadline: Option<i64>,
    pub spent_us: u64,
}

/// A deadline was set that is earlier than all that the shard has told of.
pub struct DeadlineArmed {
    pub shard: u16,
    /// Unix milliseconds.
    pub deadline: i64,
}

/// Time to look at a shard again.
pub struct ScanDue {
    pub shard: u16,
}

/// Import mode was turned on or off.
pub struct ImportModeChanged {
    pub on: bool,
}

/// Time to look whether import mode still has a source.
pub struct LookForSources;

crate::receives!(ExpiryScanner:
    ScannedExpired = 0,
    ScanDue = 1,
    DeadlineArmed = 2,
    ImportModeChanged = 3,
    LookForSources = 4,
);

/// Time one scan of one shard may take, microseconds, by `active-expire-effort` (1 to 10).
fn slice_us(effort: u32) -> u64 {
    150 + 30 * u64::from(effort.clamp(1, 10) - 1)
}

/// What the scanner does in general.
#[derive(Debug)]
enum Mode {
    Active,
    /// Nothing is removed.
    Importing {
        /// There has been an import source since the mode began.
        had_source: bool,
        /// Since when there is none any more, Unix milliseconds.
        gone_since_ms: Option<i64>,
    },
    /// Import mode has just ended: what expired meanwhile is being removed.
    Sweeping {
        began: Tick,
        removed: u64,
    },
}

/// What the scanner knows of one shard.
#[derive(Debug)]
enum Watched {
    Scanning,
    /// Until a moment, Unix milliseconds; None: until it tells of a deadline.
    Asleep {
        until_ms: Option<i64>,
        timer: Option<SpawnHandle>,
    },
}

/// The actor.
pub struct ExpiryScanner {
    id: ActorId,
    server: ServerRef,
    mode: Mode,
    shards: Vec<Watched>,
    /// Shards that still have something to remove since import mode ended.
    unswept: Vec<bool>,
    /// Keeps the actor alive: nobody else may hold its address, and an actor without one ends.
    own_address: Option<Addr<Self>>,
}

impl ExpiryScanner {
    pub fn new(server: ServerRef) -> Self {
        let workers = usize::from(server.workers);
        Self {
            id: next_actor(ActorKind::ExpiryScanner),
            server,
            mode: Mode::Active,
            shards: (0..workers).map(|_| Watched::Asleep { until_ms: None, timer: None }).collect(),
            unswept: vec![false; workers],
            own_address: None,
        }
    }

    /// Until when nothing may be removed, for reasons other than import mode; Unix milliseconds.
    fn obstacle_ms(&self) -> Option<i64> {
        let look = clock::unix_ms() + OBSTACLE_LOOK_MS;
        if let Some((_, left_ms)) = self.server.pause.state() {
            return Some(look.min(clock::unix_ms() + left_ms));
        }
        // On a replica keys go when the primary says so; what is being loaded is shown whole.
        // What clients of a writable replica wrote is its own business.
        let read_only = self.server.config.load().replica_read_only;
        let kept =
            (self.server.replication.is_replica() && read_only) || self.server.persistence.is_loading();
        (kept || !self.server.active_expire.load(Ordering::Relaxed)).then_some(look)
    }

    fn scan(&mut self, shard: u16, ctx: &mut Context<Self>) {
        if matches!(self.mode, Mode::Importing { .. }) {
            return self.sleep(shard, None, ctx);
        }
        if let Some(until_ms) = self.obstacle_ms() {
            return self.sleep(shard, Some(until_ms), ctx);
        }
        let budget_us = slice_us(self.server.config.load().active_expire_effort);
        self.shards[usize::from(shard)] = Watched::Scanning;
        tell(self.server.shard(shard), ScanExpired { budget_us, reply: ctx.address() });
    }

    /// Looks at the shard again once a moment has come, or when it tells of a deadline.
    fn sleep(&mut self, shard: u16, until_ms: Option<i64>, ctx: &mut Context<Self>) {
        let wake = move |_: &mut Self, ctx: &mut Context<Self>| tell(&ctx.address(), ScanDue { shard });
        let timer = until_ms.map(|until_ms| clock::at_unix_ms(ctx, until_ms, wake));
        let before =
            std::mem::replace(&mut self.shards[usize::from(shard)], Watched::Asleep { until_ms, timer });
        if let Watched::Asleep { timer: Some(timer), .. } = before {
            ctx.cancel_future(timer);
        }
    }

    /// The shard has removed all that was due when import mode ended.
    fn swept(&mut self, shard: u16) {
        self.unswept[usize::from(shard)] = false;
        if let Mode::Sweeping { began, removed } = self.mode
            && !self.unswept.contains(&true)
        {
            let took_ms = clock::micros_between(began, clock::tick()) / 1000;
            tracing::info!(
                "Import mode is off: {removed} expired keys and fields were removed within {took_ms} ms."
            );
            self.mode = Mode::Active;
        }
    }

    fn look_for_sources_later(&self, ctx: &mut Context<Self>) {
        clock::after(ctx, Duration::from_millis(SOURCES_LOOK_MS), |_, ctx| {
            tell(&ctx.address(), LookForSources)
        });
    }
}

impl Actor for ExpiryScanner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.own_address = Some(ctx.address());
        // What was loaded before this actor began, no shard has told of.
        for shard in 0..self.server.workers {
            tell(&ctx.address(), ScanDue { shard });
        }
    }
}

impl TracedActor for ExpiryScanner {
    const KIND: ActorKind = ActorKind::ExpiryScanner;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<ScanDue> for ExpiryScanner {
    fn receive(&mut self, ScanDue { shard }: ScanDue, ctx: &mut Context<Self>) {
        // A timer that was cancelled too late changes nothing.
        if matches!(self.shards[usize::from(shard)], Watched::Asleep { .. }) {
            self.scan(shard, ctx);
        }
    }
}

impl Receive<DeadlineArmed> for ExpiryScanner {
    fn receive(&mut self, DeadlineArmed { shard, deadline }: DeadlineArmed, ctx: &mut Context<Self>) {
        // While the shard scans, its answer will tell of this deadline too.
        let Watched::Asleep { until_ms, .. } = self.shards[usize::from(shard)] else { return };
        if matches!(self.mode, Mode::Importing { .. }) {
            return;
        }
        // Due is what is before now.
        let wake_ms = deadline.saturating_add(1);
        if until_ms.is_none_or(|until| wake_ms < until) {
            self.sleep(shard, Some(wake_ms), ctx);
        }
    }
}

impl Receive<ScannedExpired> for ExpiryScanner {
    fn receive(&mut self, scanned: ScannedExpired, ctx: &mut Context<Self>) {
        let stats = &self.server.stats;
        stats.expire_cycle_micros.fetch_add(scanned.spent_us, Ordering::Relaxed);
        let threshold_ms = self.server.config.load().latency_monitor_threshold;
        if threshold_ms > 0 && scanned.spent_us / 1000 >= threshold_ms {
            self.server.latency.add("expire-cycle", scanned.spent_us / 1000);
        }
        if let Mode::Sweeping { removed, .. } = &mut self.mode {
            *removed += scanned.removed;
        }
        let shard = scanned.shard;
        let until_ms = if scanned.more_due {
            stats.expired_time_cap_reached.fetch_add(1, Ordering::Relaxed);
            // The rest comes in slices of its own, with as much time for others in between.
            Some(clock::unix_ms() + BETWEEN_SLICES_MS as i64)
        } else {
            if !scanned.some_held {
                self.swept(shard);
            }
            scanned.next_deadline.map(|deadline| deadline.saturating_add(1).max(clock::unix_ms() + 1))
        };
        self.sleep(shard, until_ms, ctx);
    }
}

impl Receive<ImportModeChanged> for ExpiryScanner {
    fn receive(&mut self, ImportModeChanged { on }: ImportModeChanged, ctx: &mut Context<Self>) {
        if on {
            let was_importing = matches!(self.mode, Mode::Importing { .. });
            self.mode = Mode::Importing { had_source: false, gone_since_ms: None };
            if !was_importing {
                self.look_for_sources_later(ctx);
            }
            return;
        }
        self.mode = Mode::Sweeping { began: clock::tick(), removed: 0 };
        self.unswept.fill(true);
        for shard in 0..self.server.workers {
            // A scan that is under way began before the mode and goes on as part of the sweep.
            if matches!(self.shards[usize::from(shard)], Watched::Asleep { .. }) {
                self.scan(shard, ctx);
            }
        }
    }
}

impl Receive<LookForSources> for ExpiryScanner {
    fn receive(&mut self, _: LookForSources, ctx: &mut Context<Self>) {
        let Mode::Importing { had_source, gone_since_ms } = &mut self.mode else { return };
        let now_ms = clock::unix_ms();
        let after_s = self.server.config.load().import_mode_auto_end_seconds;
        if import_mode::sources(&self.server) > 0 {
            (*had_source, *gone_since_ms) = (true, None);
        } else if *had_source {
            let since_ms = *gone_since_ms.get_or_insert(now_ms);
            if after_s > 0 && now_ms - since_ms >= i64::from(after_s) * 1000 {
                *had_source = false;
                ctx.spawn(import_mode::end_by_itself(self.server.clone(), after_s).into_actor(self));
            }
        }
        self.look_for_sources_later(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_effort_is_a_longer_slice() {
        assert!(slice_us(1) < slice_us(5) && slice_us(5) < slice_us(10));
        // No client waits longer than half a millisecond for a slice.
        assert!(slice_us(10) <= 500 && slice_us(99) == slice_us(10));
    }
}
