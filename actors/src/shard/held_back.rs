//! Batches that CLIENT PAUSE holds back.

use actix::prelude::*;

use super::Shard;
use crate::batch::Batch;
use crate::clock;
use crate::envelope::{Receive, tell};

/// The pause's time is over.
pub struct PauseOver;

impl Shard {
    /// Keeps a batch until CLIENT PAUSE ends.
    pub(super) fn hold_back(&mut self, mut batch: Box<Batch>, ctx: &mut Context<Self>) {
        batch.publish();
        batch.shared.paused.store(true, std::sync::atomic::Ordering::Relaxed);
        self.perform_effects();
        self.paused.push_back(batch);
        self.wait_for_pause_end(ctx);
    }

    /// Tells who asked that no unit is left that began before the pause.
    pub(super) fn confirm_pause(&mut self) {
        if self.units.is_empty() {
            for confirmation in self.confirmations.drain(..) {
                // Who asked may have gone.
                let _ = confirmation.send(());
            }
        }
    }

    fn wait_for_pause_end(&self, ctx: &mut Context<Self>) {
        if let Some((_, left_ms)) = self.server.pause.state() {
            let over = std::time::Duration::from_millis(left_ms as u64);
            clock::after(ctx, over, |_, ctx| tell(&ctx.address(), PauseOver));
        } else {
            tell(&ctx.address(), PauseOver);
        }
    }

    /// Goes on with what a pause held back, in order of arrival.
    pub(super) fn end_pause(&mut self, ctx: &mut Context<Self>) {
        for batch in std::mem::take(&mut self.paused) {
            batch.shared.paused.store(false, std::sync::atomic::Ordering::Relaxed);
            self.advance(batch, ctx);
        }
    }
}

impl Receive<PauseOver> for Shard {
    fn receive(&mut self, _: PauseOver, ctx: &mut Context<Self>) {
        // The pause may have been made longer meanwhile; then what is still held back waits again.
        self.end_pause(ctx);
    }
}
