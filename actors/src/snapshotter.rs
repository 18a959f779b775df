//! The snapshotter: decides when a snapshot is saved, and has it saved by a thread of its own.
//!
//! ```text
//!            BGSAVE, save point                thread ends
//!   idle ----------------------> saving -------------------------> idle
//!              cancel, FLUSHALL: the export is stopped, the thread ends
//! ```

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::clock;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::export::Stopper;
use crate::memory;
use crate::persistence::rdb_stream::{RdbOptions, RdbStream};
use crate::persistence::save::{SaveError, save_stream};
use crate::scheduling::{Role, take_turns_as};
use crate::server::ServerRef;

/// Save a snapshot.
pub struct SaveSnapshot {
    /// Whether the asker waits for the end (SAVE) or for the beginning (BGSAVE).
    pub wait: Wait,
    pub reply: oneshot::Sender<Answer>,
}

/// What the asker of a snapshot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    End,
    Beginning,
    /// As [`Wait::Beginning`], but put off if something else is in the way.
    Turn,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Saved,
    Failed,
    Started,
    Scheduled,
    AlreadyInProgress,
    /// BGSAVE CANCEL: what was under way, or planned, is not any more.
    Cancelled,
    ScheduledCancelled,
    NothingToCancel,
    RewriteInProgress,
}

/// Stop the snapshot being saved, or the one that is planned.
pub struct CancelSnapshot {
    pub reply: oneshot::Sender<Answer>,
}

/// Everything was flushed: with save points, the file on disk should say so.
pub struct SaveAfterFlush;

/// The cut is made: changes from now on are not in the file.
struct SaveBegan {
    dirty: u64,
    keys: u64,
    stopper: Stopper,
}

/// The thread has ended.
struct SaveEnded {
    result: Result<(), SaveError>,
    held_bytes_max: u64,
}

/// Time to look whether a save point is reached.
struct Beat;

crate::receives!(Snapshotter:
    SaveSnapshot = 0,
    CancelSnapshot = 1,
    SaveAfterFlush = 2,
    SaveBegan = 3,
    SaveEnded = 4,
    Beat = 5,
);

const BEAT: Duration = Duration::from_millis(100);
/// After a failure, a save point waits this long, milliseconds.
const RETRY_MS: i64 = 5_000;

struct Saving {
    started_ms: i64,
    dirty: u64,
    stopper: Option<Stopper>,
    cancelled: bool,
    /// SAVE and saves after FLUSHALL are in no field of INFO about background saves.
    in_background: bool,
    /// Who is told when it is done, and who when the cut is made: what a client does after the answer to BGSAVE is not
    /// in the file.
    waiting: Vec<oneshot::Sender<Answer>>,
    beginning: Option<oneshot::Sender<Answer>>,
}

/// The actor.
pub struct Snapshotter {
    id: ActorId,
    server: ServerRef,
    saving: Option<Saving>,
    last_attempt_ms: i64,
    /// A flush came while another save was being stopped.
    flushed: bool,
}

impl Snapshotter {
    pub fn new(server: ServerRef) -> Self {
        Self {
            id: next_actor(ActorKind::Snapshotter),
            server,
            saving: None,
            last_attempt_ms: 0,
            flushed: false,
        }
    }

    fn start(&mut self, in_background: bool, waiting: Vec<oneshot::Sender<Answer>>, ctx: &mut Context<Self>) {
        let started_ms = clock::unix_ms();
        self.last_attempt_ms = started_ms;
        let state = &self.server.persistence;
        if in_background {
            state.begin_save(started_ms);
            state.saving.store(true, Ordering::Relaxed);
            state.save_scheduled.store(false, Ordering::Relaxed);
        }
        state.saves.fetch_add(1, Ordering::Relaxed);
        self.saving = Some(Saving {
            started_ms,
            dirty: 0,
            stopper: None,
            cancelled: false,
            in_background,
            waiting,
            beginning: None,
        });
        let (server, own) = (self.server.clone(), ctx.address());
        actix::spawn(async move {
            let options = RdbOptions { ends_at_flushall: true, ..RdbOptions::default() };
            let stream = RdbStream::begin_with_history(server.clone(), options).await;
            let facts = stream.facts();
            let began = SaveBegan { dirty: facts.dirty, keys: facts.keys(), stopper: stream.stopper() };
            tell(&own, began);
            let spawned = std::thread::Builder::new().name("save-snapshot".into()).spawn({
                let own = own.clone();
                move || {
                    memory::register_thread();
                    take_turns_as(Role::Background);
                    let mut stream = stream;
                    let result = save_stream(&server, &mut stream);
                    let held_bytes_max = stream.held_bytes_max();
                    drop(stream);
                    tell(&own, SaveEnded { result, held_bytes_max });
                }
            });
            if let Err(error) = spawned {
                tracing::warn!("Can't save in background: {error}");
                tell(&own, SaveEnded { result: Err(SaveError::Failed), held_bytes_max: 0 });
            }
        });
    }

    fn is_rewriting(&self) -> bool {
        self.server.persistence.aof.rewriting.load(Ordering::Relaxed)
    }

    fn begin(&mut self, wait: Wait, reply: oneshot::Sender<Answer>, ctx: &mut Context<Self>) {
        // Who asked may have gone; the snapshot is made all the same.
        let answer = |reply: oneshot::Sender<Answer>, answer| {
            let _ = reply.send(answer);
        };
        if self.saving.is_some() {
            return answer(reply, Answer::AlreadyInProgress);
        }
        match wait {
            Wait::End => self.start(false, vec![reply], ctx),
            Wait::Beginning if self.is_rewriting() => answer(reply, Answer::RewriteInProgress),
            Wait::Turn if self.is_rewriting() => {
                self.server.persistence.save_scheduled.store(true, Ordering::Relaxed);
                answer(reply, Answer::Scheduled);
            }
            Wait::Beginning | Wait::Turn => {
                tracing::info!("Background saving started by pid {}", std::process::id());
                self.start(true, Vec::new(), ctx);
                if let Some(saving) = &mut self.saving {
                    saving.beginning = Some(reply);
                }
            }
        }
    }

    fn look_at_save_points(&mut self, ctx: &mut Context<Self>) {
        if self.saving.is_some() || self.server.persistence.is_loading() {
            return;
        }
        if self.server.persistence.save_scheduled.load(Ordering::Relaxed) && !self.is_rewriting() {
            tracing::info!("Background saving started by pid {}", std::process::id());
            return self.start(true, Vec::new(), ctx);
        }
        let config = self.server.config.load_full();
        let dirty = self.server.dirty.load(Ordering::Relaxed);
        let now = clock::unix_ms();
        let since_save = (now - self.server.last_save_ms.load(Ordering::Relaxed)) / 1000;
        let failed = self.server.persistence.last_save_failed.load(Ordering::Relaxed);
        if failed && now - self.last_attempt_ms <= RETRY_MS {
            return;
        }
        let reached = config
            .save
            .iter()
            .find(|(seconds, changes)| dirty >= (*changes).max(1) && since_save > *seconds as i64);
        if let Some((seconds, changes)) = reached {
            tracing::info!("{changes} changes in {seconds} seconds. Saving...");
            tracing::info!("Background saving started by pid {}", std::process::id());
            self.start(true, Vec::new(), ctx);
        }
    }
}

impl Actor for Snapshotter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        clock::every(ctx, BEAT, |_, ctx| tell(&ctx.address(), Beat));
    }
}

impl TracedActor for Snapshotter {
    const KIND: ActorKind = ActorKind::Snapshotter;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<SaveSnapshot> for Snapshotter {
    fn receive(&mut self, SaveSnapshot { wait, reply }: SaveSnapshot, ctx: &mut Context<Self>) {
        self.begin(wait, reply, ctx);
    }
}

impl Receive<CancelSnapshot> for Snapshotter {
    fn receive(&mut self, CancelSnapshot { reply }: CancelSnapshot, _: &mut Context<Self>) {
        let scheduled = &self.server.persistence.save_scheduled;
        let answer = match &mut self.saving {
            Some(saving) if saving.in_background => {
                tracing::info!("Background saving will be aborted due to user request");
                saving.cancelled = true;
                if let Some(stopper) = &saving.stopper {
                    stopper.stop();
                }
                // It counts as over at once; its thread notices in a moment.
                self.server.persistence.saving.store(false, Ordering::Relaxed);
                Answer::Cancelled
            }
            _ if scheduled.swap(false, Ordering::Relaxed) => {
                tracing::info!("Scheduled background saving will be cancelled due to user request");
                Answer::ScheduledCancelled
            }
            _ => Answer::NothingToCancel,
        };
        // Who asked may have gone.
        let _ = reply.send(answer);
    }
}

impl Receive<SaveAfterFlush> for Snapshotter {
    fn receive(&mut self, _: SaveAfterFlush, ctx: &mut Context<Self>) {
        match &mut self.saving {
            // FLUSHALL has stopped its export.
            Some(saving) => {
                saving.cancelled = true;
                self.flushed = true;
            }
            None => self.start(false, Vec::new(), ctx),
        }
    }
}

impl Receive<SaveBegan> for Snapshotter {
    fn receive(&mut self, SaveBegan { dirty, keys, stopper }: SaveBegan, _: &mut Context<Self>) {
        let Some(saving) = &mut self.saving else { return };
        saving.dirty = dirty;
        if let Some(beginning) = saving.beginning.take() {
            // Who asked may have gone.
            let _ = beginning.send(Answer::Started);
        }
        self.server.persistence.save_keys_total.store(keys, Ordering::Relaxed);
        if saving.cancelled {
            stopper.stop();
        }
        saving.stopper = Some(stopper);
    }
}

impl Receive<SaveEnded> for Snapshotter {
    fn receive(&mut self, SaveEnded { result, held_bytes_max }: SaveEnded, ctx: &mut Context<Self>) {
        let Some(saving) = self.saving.take() else { return };
        let state = &self.server.persistence;
        let now = clock::unix_ms();
        if saving.in_background {
            state.saving.store(false, Ordering::Relaxed);
            state.last_save_seconds.store((now - saving.started_ms) / 1000, Ordering::Relaxed);
            state.last_save_held.store(held_bytes_max, Ordering::Relaxed);
        }
        match &result {
            Ok(()) => {
                let dirty = &self.server.dirty;
                let before = saving.dirty.min(dirty.load(Ordering::Relaxed));
                dirty.fetch_sub(before, Ordering::Relaxed);
                self.server.last_save_ms.store(now, Ordering::Relaxed);
                state.last_save_failed.store(false, Ordering::Relaxed);
                if saving.in_background {
                    tracing::info!("Background saving terminated with success");
                }
            }
            Err(SaveError::Stopped) => {
                if saving.in_background {
                    tracing::warn!("Background saving terminated by signal 10");
                }
            }
            Err(SaveError::Failed) => {
                state.last_save_failed.store(true, Ordering::Relaxed);
                if saving.in_background {
                    tracing::warn!("Background saving error");
                }
            }
        }
        let answer = if result.is_ok() { Answer::Saved } else { Answer::Failed };
        for waiting in saving.waiting {
            // Who asked may have gone.
            let _ = waiting.send(answer);
        }
        if std::mem::take(&mut self.flushed) {
            self.start(false, Vec::new(), ctx);
        }
    }
}

impl Receive<Beat> for Snapshotter {
    fn receive(&mut self, _: Beat, ctx: &mut Context<Self>) {
        self.look_at_save_points(ctx);
    }
}
