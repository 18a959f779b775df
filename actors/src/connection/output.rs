//! What goes to the client: replies and what others send it, kept while the socket takes no more, limited, and held back
//! until the disk has what it shows.

use std::io;
use std::sync::atomic::Ordering;
use std::task::Poll;

use actix::prelude::*;

use super::{CheckOutput, Connection, Deliver, Durable, Feed, Fence, Invalidate, KEEP_BYTES, Waits};
use crate::batch::Batch;
use crate::client_eviction;
use crate::clock;
use crate::envelope::Receive;
use crate::output_limit;
use crate::server_commands;

/// Most bytes written to one socket before other tasks of the arbiter get a turn. A reader that keeps up would
/// otherwise hold the thread for as long as there is something to send.
const WRITE_TURN_BYTES: usize = 64 * 1024;

/// Waiting replies are put together up to this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// Places kept for messages that wait to be written together.
const KEEP_DELIVERED: usize = 16;

/// Unwritten bytes above which whoever feeds a connection waits.
const FED_BYTES_MAX: usize = 1 << 20;

impl Connection {
    /// Queues bytes for the socket, writing what it takes at once, up to a turn's worth.
    pub(super) fn send(&mut self, bytes: &mut Vec<u8>, ctx: &mut Context<Self>) {
        let mut turn = WRITE_TURN_BYTES;
        self.send_within(&mut turn, bytes, ctx);
    }

    /// Likewise, of several pieces in one turn.
    pub(super) fn send_all(&mut self, pieces: impl IntoIterator<Item = Vec<u8>>, ctx: &mut Context<Self>) {
        let mut turn = WRITE_TURN_BYTES;
        for mut bytes in pieces {
            self.send_within(&mut turn, &mut bytes, ctx);
        }
    }

    /// Queues bytes for the socket, writing what it takes at once, but no more than is left of the turn.
    fn send_within(&mut self, turn: &mut usize, bytes: &mut Vec<u8>, ctx: &mut Context<Self>) {
        if bytes.is_empty() || self.closed {
            return;
        }
        // What a replica is fed with waits to be taken, however large its pieces are.
        let waiting = self.unwritten + bytes.len();
        if waiting > output_limit::FREE_BYTES && !self.shared.is_replica() {
            if self.unwritten == 0 {
                // It has read everything before.
                self.over_soft_since_s = None;
            }
            self.check_output_limit(waiting, ctx);
            if self.closed {
                return;
            }
        }
        crate::stats::bump(&self.shared.net_out, bytes.len() as u64);
        let stats = &self.server.stats;
        stats.total_net_output_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if self.shared.is_replica() {
            stats.net_repl_output_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let mut done = 0;
        if self.output.is_empty() {
            stats.total_writes_processed.fetch_add(1, Ordering::Relaxed);
            while done < bytes.len() && *turn > 0 {
                let end = bytes.len().min(done + *turn);
                match self.stream.try_write(&bytes[done..end]) {
                    Ok(n) => {
                        done += n;
                        *turn -= n;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return self.close(ctx),
                }
            }
        }
        if self.stream.has_unsent()
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
        if done < bytes.len() {
            self.unwritten += bytes.len() - done;
            self.queue(bytes, done);
            self.note_waiting_output();
            if self.shared.is_replica() {
                self.check_output_limit(self.unwritten, ctx);
            }
            // The future that watches the socket must start to watch for writability.
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
        bytes.clear();
        if bytes.capacity() > KEEP_BYTES {
            *bytes = Vec::new();
        }
    }

    /// Keeps what the socket did not take: small replies share a chunk, large ones are not copied.
    pub(super) fn queue(&mut self, bytes: &mut Vec<u8>, done: usize) {
        if let Some(last) = self.output.back_mut()
            && last.capacity() - last.len() >= bytes.len()
        {
            return last.extend_from_slice(bytes);
        }
        let mut chunk = std::mem::take(bytes);
        if self.output.is_empty() {
            self.written = done;
        } else if chunk.len() <= CHUNK_BYTES / 2 {
            // More will come.
            let mut shared = Vec::with_capacity(CHUNK_BYTES);
            shared.extend_from_slice(&chunk);
            chunk = shared;
        }
        self.output_memory += chunk.capacity();
        self.output.push_back(chunk);
    }

    /// Looks whether so many bytes of waiting output are too many, or have been for too long; then it is over.
    pub(super) fn check_output_limit(&mut self, waiting: usize, ctx: &mut Context<Self>) {
        let config = self.server.config.load();
        let limit = output_limit::of(&config, &self.shared);
        let counted = output_limit::counted(waiting);
        let now_s = clock::unix_ms() / 1000;
        let over_soft = limit.soft > 0 && counted > limit.soft;
        let seconds = i64::try_from(limit.soft_seconds).unwrap_or(i64::MAX);
        if !over_soft {
            self.over_soft_since_s = None;
        } else if self.over_soft_since_s.is_none() {
            self.over_soft_since_s = Some(now_s);
            // Nothing more may come that would have it looked at.
            let due_ms = now_s.saturating_add(seconds).saturating_add(1).saturating_mul(1000);
            let look = clock::at_unix_ms(ctx, due_ms, |connection, ctx| connection.receive(CheckOutput, ctx));
            if let Some(before) = self.soft_limit_look.replace(look) {
                ctx.cancel_future(before);
            }
        }
        // Whole seconds of the clock count, as users of Valkey know it.
        let too_long = self.over_soft_since_s.is_some_and(|since| now_s - since > seconds);
        if (limit.hard > 0 && counted > limit.hard) || too_long {
            self.shared.output_bytes.store(waiting as u64, Ordering::Relaxed);
            output_limit::note_disconnection(&self.server, &self.shared);
            self.close(ctx);
        }
    }

    /// Lets others see how much output waits.
    pub(super) fn note_waiting_output(&mut self) {
        self.shared.output_bytes.store(self.unwritten as u64, Ordering::Relaxed);
        self.shared.output_memory.store(self.output_memory as u64, Ordering::Relaxed);
        self.note_unsent(self.output_memory);
        client_eviction::note(&self.server, &self.shared);
    }

    /// Memory of a replica's connection does not count against `maxmemory`.
    pub(super) fn note_unsent(&mut self, bytes: usize) {
        let bytes = if self.shared.is_replica() { bytes } else { 0 };
        if bytes != self.not_counted {
            self.server.eviction.note_unsent(bytes as i64 - self.not_counted as i64);
            self.not_counted = bytes;
        }
    }

    pub(super) fn output_is_empty(&self) -> bool {
        self.output.is_empty() && !self.stream.has_unsent()
    }

    /// Writes what the socket takes, up to a turn's worth.
    pub(super) fn flush(&mut self, ctx: &mut Context<Self>, task: &mut std::task::Context<'_>) {
        let mut turn = WRITE_TURN_BYTES;
        while let Some(chunk) = self.output.front().filter(|_| !self.closed) {
            if turn == 0 {
                // Registers this task to be polled again once the arbiter has looked at its other sockets.
                let _ = std::pin::pin!(tokio::task::yield_now()).poll(task);
                break;
            }
            let end = chunk.len().min(self.written + turn);
            match self.stream.poll_write(task, &chunk[self.written..end]) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => self.close(ctx),
                Poll::Ready(Ok(n)) => {
                    turn -= n;
                    self.written += n;
                    self.unwritten -= n;
                    if self.written == chunk.len() {
                        self.written = 0;
                        let sent = self.output.pop_front().map_or(0, |chunk| chunk.capacity());
                        self.output_memory -= sent;
                    }
                }
            }
        }
        if !self.closed && matches!(self.stream.poll_flush(task), Poll::Ready(Err(_))) {
            self.close(ctx);
        }
        if self.unwritten == 0 {
            self.over_soft_since_s = None;
        }
        if self.unwritten < FED_BYTES_MAX {
            for room in self.feeders.drain(..) {
                // Who feeds may have gone.
                let _ = room.send(());
            }
        }
        if self.shared.output_bytes.load(Ordering::Relaxed) != self.unwritten as u64 {
            self.note_waiting_output();
        }
    }

    /// Queues the replies so far, then what was delivered meanwhile.
    pub(super) fn send_replies(&mut self, batch: &mut Batch, ctx: &mut Context<Self>) {
        if self.shared.is_replica()
            && batch.session.replica.as_ref().is_some_and(|peer| peer.attached)
            && !(batch.output.is_empty() && batch.finished.is_empty())
        {
            return self.refuse_reply_to_replica(batch, ctx);
        }
        if !batch.finished.is_empty() {
            // They count together: the first of them is not sent if all are too much.
            let waiting = self.unwritten + batch.reply_bytes();
            if waiting > output_limit::FREE_BYTES && !self.closed {
                self.check_output_limit(waiting, ctx);
            }
            self.send_all(std::mem::take(&mut batch.finished), ctx);
        }
        let mut output = std::mem::take(&mut batch.output);
        self.send(&mut output, ctx);
        batch.output = output;
        self.release_held(ctx);
    }

    /// What goes to a replica is the stream: a reply in it would be taken for a command.
    pub(super) fn refuse_reply_to_replica(&mut self, batch: &mut Batch, ctx: &mut Context<Self>) {
        let words = batch.words(batch.next.saturating_sub(1));
        let name = self.server.table.resolve(&words).map_or("<unknown>", |command| command.name);
        let by = server_commands::client::short_line(&self.server, &self.shared);
        tracing::warn!("Replica generated a reply to command '{name}', disconnecting it: {by}");
        if let Some(error) = batch.output.strip_prefix(b"-") {
            let line = String::from_utf8_lossy(error.split(|b| *b == b'\r').next().unwrap_or_default());
            let text = line.split_once(' ').map_or(&*line, |(_, text)| text);
            tracing::warn!(
                "== CRITICAL == This primary is sending an error to its replica: '{text}' after processing the command \
                 '{name}'"
            );
        }
        batch.output.clear();
        batch.finished.clear();
        self.close(ctx);
    }

    /// Whether what was executed up to this `Append` is not on the disk yet; then [`Durable`] comes when it is.
    pub(super) fn waits_for_disk(&self, sequence: u64, ctx: &Context<Self>) -> bool {
        !self.server.persistence.aof.pass_or_wait(&self.server, sequence, &ctx.address())
    }

    /// Queues what was delivered while the batch was away.
    pub(super) fn release_held(&mut self, ctx: &mut Context<Self>) {
        if !self.held.is_empty()
            && self.server.persistence.aof.is_always()
            && self.waits_for_disk(self.held_until, ctx)
        {
            return;
        }
        if !self.held.is_empty() {
            let mut bytes = self.held.concat();
            self.held.clear();
            self.held.shrink_to(KEEP_DELIVERED);
            self.send(&mut bytes, ctx);
        }
    }
}

impl Receive<Durable> for Connection {
    fn receive(&mut self, _: Durable, ctx: &mut Context<Self>) {
        if let Some(waits) = self.undurable_replies.take() {
            self.receive(waits, ctx);
            if self.undurable_replies.is_some() {
                return;
            }
        }
        if let Some((batch, stop)) = self.undurable.take() {
            if self.server.persistence.aof.is_always() && self.waits_for_disk(batch.appended, ctx) {
                self.undurable = Some((batch, stop));
            } else {
                self.resume(batch, stop, ctx);
            }
        }
        if self.undurable.is_none() && !self.behind_undurable.is_empty() && !self.closed {
            let mut bytes = std::mem::take(&mut self.behind_undurable);
            self.send(&mut bytes, ctx);
        }
        if self.batch.is_some() {
            self.release_held(ctx);
        }
    }
}

impl Receive<Deliver> for Connection {
    fn receive(&mut self, Deliver { bytes }: Deliver, _: &mut Context<Self>) {
        // Written once the mailbox is empty, together with what else is in it.
        if !self.closed {
            self.held.push(bytes);
            if self.server.persistence.aof.is_always() {
                self.held_until = self.server.replication.issued();
            }
        }
    }
}

impl Receive<Invalidate> for Connection {
    fn receive(&mut self, Invalidate { body, letter }: Invalidate, ctx: &mut Context<Self>) {
        drop(letter);
        if self.undurable.is_some() || self.undurable_replies.is_some() {
            // Behind the replies that wait for the disk.
            self.behind_undurable.extend_from_slice(&body.bytes);
        } else if !self.closed {
            self.send(&mut body.bytes.clone(), ctx);
        }
    }
}

impl Receive<Waits> for Connection {
    fn receive(&mut self, Waits { replies, appended }: Waits, ctx: &mut Context<Self>) {
        if self.server.persistence.aof.is_always() && self.waits_for_disk(appended, ctx) {
            self.undurable_replies = Some(Waits { replies, appended });
            return;
        }
        self.send_all(replies, ctx);
        self.release_held(ctx);
        self.settle(ctx);
    }
}

impl Receive<Feed> for Connection {
    fn receive(&mut self, Feed { bytes, room }: Feed, ctx: &mut Context<Self>) {
        if self.closed {
            return;
        }
        self.release_held(ctx);
        self.send(&mut bytes.to_vec(), ctx);
        if self.unwritten < FED_BYTES_MAX {
            // Who feeds may have gone.
            let _ = room.send(());
        } else if !self.closed {
            self.feeders.push(room);
        }
    }
}

impl Receive<Fence> for Connection {
    fn receive(&mut self, Fence { done }: Fence, ctx: &mut Context<Self>) {
        self.release_held(ctx);
        // Who asked may have gone.
        let _ = done.send(());
    }
}

impl Receive<CheckOutput> for Connection {
    fn receive(&mut self, _: CheckOutput, ctx: &mut Context<Self>) {
        if !self.output.is_empty() && !self.closed {
            self.check_output_limit(self.unwritten, ctx);
        }
    }
}
