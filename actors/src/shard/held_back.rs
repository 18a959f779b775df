//! Batches that CLIENT PAUSE holds back.

use actix::prelude::*;
use skuld::commands::Command;
use skuld::commands::spec::{MAY_REPLICATE, WRITE};
use skuld::scripting::ScriptFlags;

use super::Shard;
use crate::batch::Batch;
use crate::clock;
use crate::envelope::{Receive, tell};
use crate::scripting::runs_code;

/// The pause's time is over.
pub struct PauseOver;

impl Shard {
    /// Whether the batch's next command may change data, or cause a message to replicas. What a script says about itself
    /// counts, and of EXEC what was queued.
    pub(super) fn may_write(&self, batch: &Batch, command: &'static Command) -> bool {
        let scripts = &self.server.scripts;
        let writes = |command: &'static Command, words: &[&[u8]]| {
            command.flags.has_any(WRITE | MAY_REPLICATE)
                && !(runs_code(command)
                    && scripts
                        .declared(command, words)
                        .is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES)))
        };
        fn slices(words: &[Vec<u8>]) -> Vec<&[u8]> {
            words.iter().map(Vec::as_slice).collect()
        }
        match &batch.transaction.queue {
            Some(queue) if command.name == "exec" => {
                queue.commands.iter().any(|(command, words)| writes(command, &slices(words)))
            }
            _ => writes(command, &batch.words(batch.next)),
        }
    }

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
