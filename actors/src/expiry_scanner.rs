//! Cadence and budget of active expiry. The scanner sleeps until the next deadline any shard knows of, then lets the
//! shards remove what is due, slice by slice; it never looks at keys itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;

use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::server::ServerRef;
use crate::shard::ScanExpired;

/// Time one scan of one shard may take, microseconds.
const SLICE_US: u64 = 100;
/// Longest sleep: bounds how late a key expires whose deadline was set while the scanner slept.
const SLEEP_MS_MAX: i64 = 5;
/// Sleep while no shard has any deadline.
const IDLE_MS: i64 = 100;

/// What a shard did with a [`ScanExpired`].
pub struct ScannedExpired {
    pub shard: u16,
    /// The budget ended before the due keys did.
    pub more_due: bool,
    /// Earliest deadline left, Unix milliseconds.
    pub next_deadline: Option<i64>,
    pub spent_us: u64,
}

/// Time to look at a shard again.
pub struct ScanDue {
    pub shard: u16,
}

crate::receives!(ExpiryScanner: ScannedExpired = 0, ScanDue = 1);

/// The actor.
pub struct ExpiryScanner {
    id: ActorId,
    server: ServerRef,
    /// Keeps the actor alive: nobody else holds its address between two scans, and an actor without one ends.
    own_address: Option<Addr<Self>>,
}

impl ExpiryScanner {
    pub fn new(server: ServerRef) -> Self {
        Self { id: next_actor(ActorKind::ExpiryScanner), server, own_address: None }
    }

    fn scan(&self, shard: u16, ctx: &mut Context<Self>) {
        let config = self.server.config.load();
        // On a replica keys go when the primary says so.
        let ours = !self.server.replication.is_replica();
        if self.server.active_expire.load(Ordering::Relaxed) && !config.import_mode && ours {
            tell(self.server.shard(shard), ScanExpired { budget_us: SLICE_US, reply: ctx.address() });
        } else {
            self.look_again(shard, IDLE_MS, ctx);
        }
    }

    fn look_again(&self, shard: u16, after_ms: i64, ctx: &mut Context<Self>) {
        let id = self.id;
        ctx.run_later(Duration::from_millis(after_ms.max(1) as u64), move |_, ctx| {
            crate::envelope::outside_event(id, clock::tick());
            tell(&ctx.address(), ScanDue { shard });
        });
    }
}

impl Actor for ExpiryScanner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.own_address = Some(ctx.address());
        for shard in 0..self.server.workers {
            self.look_again(shard, 1, ctx);
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
        // While clients are paused the keys stay as they are.
        if let Some((_, left_ms)) = self.server.pause.state() {
            return self.look_again(shard, left_ms.min(SLEEP_MS_MAX), ctx);
        }
        self.scan(shard, ctx);
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
        if scanned.more_due {
            stats.expired_time_cap_reached.fetch_add(1, Ordering::Relaxed);
            // The rest comes in slices of its own, with as much time for others in between.
            return self.look_again(scanned.shard, 1, ctx);
        }
        let sleep = match scanned.next_deadline {
            None => SLEEP_MS_MAX,
            Some(deadline) => (deadline + 1 - clock::unix_ms()).clamp(1, SLEEP_MS_MAX),
        };
        self.look_again(scanned.shard, sleep, ctx);
    }
}
