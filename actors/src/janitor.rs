//! What must be looked at now and then: rates for INFO, idle clients, clients that do not read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;

use crate::clock;
use crate::connection::{CheckOutput, Kill, ShrinkInput};
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::server::ServerRef;

/// Time to look.
pub struct LookAround;

crate::receives!(Janitor: LookAround = 0);

/// Between two looks, milliseconds. Rates are averages over 16 of them.
const PERIOD_MS: u64 = 100;
/// Clients are looked at every so many looks: limits in seconds need no more.
const LOOKS_PER_CLIENT_CHECK: u64 = 10;

/// Room for input that is not used for so long is given back if it is more than so many bytes.
const SHRINK_IDLE_MS: i64 = 2000;
pub const SHRINK_BYTES: u64 = 4 * 1024;

/// The actor.
pub struct Janitor {
    id: ActorId,
    server: ServerRef,
    looks: u64,
}

impl Janitor {
    pub fn new(server: ServerRef) -> Self {
        Self { id: next_actor(ActorKind::Janitor), server, looks: 0 }
    }

    fn look_at_clients(&self) {
        let config = self.server.config.load();
        let soft_limited = config.client_output_buffer_limit.iter().any(|limit| limit.soft > 0);
        let now = clock::unix_ms();
        for client in self.server.clients.all() {
            let idle_ms = now - client.last_interaction_ms.load(Ordering::Relaxed);
            let is_busy = client.is_waiting() || client.is_replica() || client.is_primary();
            if config.timeout > 0 && idle_ms / 1000 > i64::from(config.timeout) && !is_busy {
                tracing::debug!("Closing idle client");
                tell(&client.connection, Kill { after_replies: false });
            } else if soft_limited && client.output_bytes.load(Ordering::Relaxed) > 0 {
                tell(&client.connection, CheckOutput);
            }
            let free =
                client.query_free.load(Ordering::Relaxed) + client.parsed_memory.load(Ordering::Relaxed);
            if idle_ms >= SHRINK_IDLE_MS && free > SHRINK_BYTES {
                tell(&client.connection, ShrinkInput);
            }
        }
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        clock::every(ctx, Duration::from_millis(PERIOD_MS), |_, ctx| tell(&ctx.address(), LookAround));
    }
}

impl TracedActor for Janitor {
    const KIND: ActorKind = ActorKind::Janitor;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<LookAround> for Janitor {
    fn receive(&mut self, _: LookAround, _: &mut Context<Self>) {
        if self.server.periodic_work_paused.load(Ordering::Relaxed) {
            return;
        }
        self.server.stats.sample();
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_CLIENT_CHECK) {
            self.look_at_clients();
            self.server.tls.reload_if_due(&self.server.config.load(), clock::unix_ms());
        }
    }
}
