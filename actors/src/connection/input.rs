//! What comes from the client, before it is a batch: counted, limited, and shown in the log where it makes no sense.

use std::sync::atomic::Ordering;

use actix::prelude::*;

use super::{Connection, READ_AHEAD_BYTES, ShrinkInput};
use crate::client_eviction;
use crate::clock;
use crate::envelope::Receive;
use crate::janitor::SHRINK_BYTES;
use crate::server_commands::client;

impl Connection {
    /// Takes what a read brought.
    pub(super) fn on_bytes(&mut self, bytes: &[u8]) {
        let stats = &self.server.stats;
        stats.total_net_input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        stats.total_reads_processed.fetch_add(1, Ordering::Relaxed);
        crate::stats::bump(&self.shared.net_in, bytes.len() as u64);
        if self.primary.is_some() {
            stats.net_repl_input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.server.replication.unexecuted.fetch_add(bytes.len() as i64, Ordering::Relaxed);
            // It is heard also while nothing of it is executed.
            self.shared.last_interaction_ms.store(clock::unix_ms(), Ordering::Relaxed);
        }
        if let Some(conversation) = self.shared.debugger.get().filter(|talk| talk.is_active()) {
            conversation.hear(bytes);
        } else if !self.closing {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Bytes read that are in no complete argument.
    pub(super) fn unparsed_bytes(&self) -> usize {
        self.input.len().saturating_sub(self.decoder.position())
    }

    /// Lets others see what the client's buffers take, and counts it where that is limited.
    pub(super) fn note_memory(&mut self) {
        let unparsed = self.unparsed_bytes();
        let spare = self.batch.as_ref().map_or(0, |batch| batch.input.capacity());
        self.shared.query_bytes.store(unparsed as u64, Ordering::Relaxed);
        let free = self.input.capacity() - unparsed + spare;
        self.has_own_room |= unparsed > 0 || free as u64 > SHRINK_BYTES;
        let shown = if self.has_own_room { free } else { 0 };
        self.shared.query_free.store(shown as u64, Ordering::Relaxed);
        let of_batch = self.batch.as_ref().map_or(0, |batch| batch.requests.memory_bytes());
        let parsed = self.requests.memory_bytes() + self.spare_requests.memory_bytes() + of_batch;
        self.shared.parsed_memory.store(parsed as u64, Ordering::Relaxed);
        client_eviction::note(&self.server, &self.shared);
    }

    /// What a blocked client sends is kept, up to the limit of its input.
    pub(super) fn limit_waiting_input(&mut self, ctx: &mut Context<Self>) {
        if self.batch.is_none()
            && self.input.len() > READ_AHEAD_BYTES
            && self.input.len() as u64 > self.server.config.load().client_query_buffer_limit
        {
            self.over_query_limit(ctx);
        }
    }

    /// Whether a decoded request has an argument, its key if it has one, in one of these slots.
    pub(super) fn touches(&self, slots: &[u16]) -> bool {
        (0..self.requests.len()).any(|request| {
            self.requests.args(request).get(1).is_some_and(|span| {
                let key = &self.input[span.start..span.start + span.len];
                slots.contains(&skuld::slot::slot_of(key).0)
            })
        })
    }

    pub(super) fn over_query_limit(&mut self, ctx: &mut Context<Self>) {
        self.server.stats.client_query_buffer_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "Closing client that reached max query buffer length: {}",
            client::line_for_log(&self.server, &self.shared)
        );
        self.close(ctx);
    }

    /// What was read and not understood, for the log.
    pub(super) fn shown_input(&self) -> String {
        /// More is shown by its beginning and its end.
        const SHOWN_BYTES: usize = 128;
        if self.server.config.load().hide_user_data_from_log {
            return client::REDACTED.to_owned();
        }
        let printable = |bytes: &[u8]| -> String {
            let shown = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '.' };
            bytes.iter().map(shown).collect()
        };
        match self.input.len() {
            0..SHOWN_BYTES => format!("'{}'", printable(&self.input)),
            len => format!(
                "'{}' (... more {} bytes ...) '{}'",
                printable(&self.input[..SHOWN_BYTES / 2]),
                len - SHOWN_BYTES,
                printable(&self.input[len - SHOWN_BYTES / 2..])
            ),
        }
    }
}

impl Receive<ShrinkInput> for Connection {
    fn receive(&mut self, _: ShrinkInput, _: &mut Context<Self>) {
        if !self.closed {
            self.has_own_room = false;
            self.input.shrink_to_fit();
            self.requests.shrink();
            self.spare_requests.shrink();
            if let Some(batch) = &mut self.batch {
                batch.requests.shrink();
                batch.input.shrink_to_fit();
                batch.output.shrink_to_fit();
            }
            self.note_memory();
        }
    }
}
