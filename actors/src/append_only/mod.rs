//! The append-only file: an actor that owns the manifest, decides about rewrites, and a thread that writes.
//!
//! ```text
//!   off --CONFIG SET appendonly yes--> waiting for the first rewrite --ended--> on
//!    ^                                        |                                  |
//!    +------------- CONFIG SET appendonly no -+----------------------------------+
//!
//!   a rewrite (on): new incremental file in the manifest --> cut: the log's commands go there from now on
//!     --> thread writes the base --> base and manifest in place, older parts are history and deleted
//! ```
//!
//! Invariant: at any time the files named by the manifest on the disk make the data set (up to what is not forced to the
//! disk yet): a base is put in its place only after the commands that follow its cut are on the disk.

pub mod files;
pub mod load;
mod rewrite;
mod shown;
pub mod state;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use actix::prelude::*;
use skuld::aof::manifest::Manifest;
use skuld::config::AppendFsync;
use tokio::sync::oneshot;

use crate::clock;
use crate::configure::os_text;
use crate::envelope::{ActorId, ActorKind, Receive, TracedActor, next_actor, tell};
use crate::export::Stopper;
use crate::migration::restore;
use crate::replication::{self, bit};
use crate::replication_log::{AttachCommands, DescribePosition, DetachCommands};
use crate::server::ServerRef;
use files::Directory;
use rewrite::{Rewritten, Target};
pub use shown::shown_by;
use state::Progress;
use writer::ToWriter;

/// Begin to append (`appendonly yes` at run time). Answered when the first rewrite has begun.
pub struct EnableAof {
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Append no more. Answered when everything is on the disk.
pub struct DisableAof {
    pub reply: oneshot::Sender<()>,
}

/// BGREWRITEAOF.
pub struct RewriteAof {
    pub reply: oneshot::Sender<RewriteAnswer>,
}

/// What becomes of a BGREWRITEAOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteAnswer {
    Started,
    Scheduled,
    InProgress,
}

/// Force everything that was executed so far to the disk (the end of the process, DEBUG LOADAOF).
pub struct SyncAof {
    pub reply: oneshot::Sender<()>,
}

/// Load everything again from the files (DEBUG LOADAOF).
pub struct ReloadAof {
    pub reply: oneshot::Sender<Result<(), load::Refused>>,
}

/// Append again, with this file, which holds all that is in memory, as the base. Answers whether that could be done.
pub struct AdoptBase {
    pub file: PathBuf,
    pub reply: oneshot::Sender<bool>,
}

/// Delete what rewrites have left behind (`aof-disable-auto-gc no`).
pub struct DeleteHistory {
    pub reply: oneshot::Sender<()>,
}

/// The parts as they are after the start; appending begins.
pub struct Opened {
    pub manifest: Manifest,
    pub reply: oneshot::Sender<()>,
}

/// A rewrite has made its cut.
struct RewriteBegan {
    stopper: Stopper,
}

/// A rewrite is over.
struct RewriteEnded {
    result: Result<Rewritten, rewrite::Failed>,
    held_bytes_max: u64,
}

/// Time to look whether the file has grown too large.
struct Beat;

crate::receives!(AppendOnlyFile:
    EnableAof = 0,
    DisableAof = 1,
    RewriteAof = 2,
    SyncAof = 3,
    Opened = 4,
    RewriteBegan = 5,
    RewriteEnded = 6,
    Beat = 7,
    ReloadAof = 8,
    DeleteHistory = 9,
    AdoptBase = 10,
);

const BEAT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    /// Commands go to a file that is not in the manifest yet.
    WaitingForBase,
    On,
}

struct Rewrite {
    started_ms: i64,
    stopper: Option<Stopper>,
    cancelled: bool,
}

/// The actor.
pub struct AppendOnlyFile {
    id: ActorId,
    server: ServerRef,
    state: State,
    manifest: Manifest,
    writer: Option<Sender<ToWriter>>,
    /// What the writer has on the disk.
    progress: Arc<Progress>,
    rewrite: Option<Rewrite>,
    /// Size after the last rewrite or the start, bytes: growth is measured against it.
    measured_bytes: u64,
    /// After failures: not before this time, Unix milliseconds.
    retry_ms: i64,
}

impl AppendOnlyFile {
    pub fn new(server: ServerRef) -> Self {
        Self {
            id: next_actor(ActorKind::AppendOnlyFile),
            server,
            state: State::Off,
            manifest: Manifest::default(),
            writer: None,
            progress: Arc::default(),
            rewrite: None,
            measured_bytes: 0,
            retry_ms: 0,
        }
    }

    fn set_state(&mut self, state: State) {
        self.state = state;
        match state {
            State::On => self.progress.has_base(&self.server),
            State::WaitingForBase => {}
            State::Off => std::mem::take(&mut self.progress).ends(&self.server),
        }
        self.server.persistence.aof.has_base.store(state == State::On, Ordering::Relaxed);
        self.server.persistence.aof.enabled.store(state != State::Off, Ordering::Relaxed);
        self.follow_policy();
    }

    /// `appendfsync` may have been changed.
    fn follow_policy(&self) {
        let always = self.state == State::On && self.server.config.load().appendfsync == AppendFsync::Always;
        let state = &self.server.persistence.aof;
        if always && !state.is_always() {
            // What was issued before is not promised; from here on everything passes the writer.
            state.set_always(true);
        } else if !always {
            state.set_always(false);
        }
    }

    fn writer(&mut self) -> Sender<ToWriter> {
        let (server, progress) = (&self.server, &self.progress);
        self.writer.get_or_insert_with(|| writer::start(server.clone(), progress.clone())).clone()
    }

    /// Begins a rewrite; false if its files cannot be made.
    fn start_rewrite(&mut self, enabling: bool, ctx: &mut Context<Self>) -> Result<(), String> {
        let config = self.server.config.load_full();
        let directory = Directory::of(&config);
        directory.create().map_err(|e| os_text(&e))?;
        let target = if enabling {
            let temporary = format!("temp-{}.incr", directory.name);
            tracing::info!("Creating AOF incr file {temporary} on background rewrite");
            // What an earlier attempt left there is in no manifest.
            let _ = std::fs::remove_file(directory.file(&temporary));
            let (file, bytes) = directory.open(&temporary).map_err(|e| os_text(&e))?;
            let number = self.manifest.incremental_sequence + 1;
            let writer = self.writer();
            let _ = writer.send(ToWriter::Open(number, Box::new(file), bytes));
            Target { number: Some(number), temporary: Some(temporary), writer: Some(writer) }
        } else if self.state == State::On {
            let mut manifest = self.manifest.clone();
            let part = manifest.next_incremental(&directory.name);
            tracing::info!("Creating AOF incr file {} on background rewrite", part.name);
            let (file, bytes) = directory.open(&part.name).map_err(|e| os_text(&e))?;
            directory.write_manifest(&manifest).map_err(|e| os_text(&e))?;
            self.manifest = manifest;
            let writer = self.writer();
            let _ = writer.send(ToWriter::Open(part.sequence, Box::new(file), bytes));
            Target { number: Some(part.sequence), temporary: None, writer: Some(writer) }
        } else {
            Target { number: None, temporary: None, writer: None }
        };
        let shown = &self.server.persistence.aof;
        let started_ms = clock::unix_ms();
        shown.rewriting.store(true, Ordering::Relaxed);
        shown.rewrite_scheduled.store(false, Ordering::Relaxed);
        shown.rewrite_started_ms.store(started_ms, Ordering::Relaxed);
        shown.rewrites.fetch_add(1, Ordering::Relaxed);
        self.server.persistence.exports_begun.fetch_add(1, Ordering::Relaxed);
        tracing::info!("Background append only file rewriting started by pid {}", std::process::id());
        self.rewrite = Some(Rewrite { started_ms, stopper: None, cancelled: false });
        let (server, own, manifest) = (self.server.clone(), ctx.address(), self.manifest.clone());
        actix::spawn(async move {
            if enabling {
                // If appending has just ended, the log may not have come to that, which ends the listening: it answers
                // when it has.
                let (reply, position) = oneshot::channel();
                tell(server.replication_log(), DescribePosition { reply });
                // The log ends only with the process.
                let _ = position.await;
                replication::listen(&server, bit::COMMANDS).await;
            }
            rewrite::run(server, directory, manifest, target, own).await;
        });
        Ok(())
    }

    fn is_saving(&self) -> bool {
        self.server.persistence.saving.load(Ordering::Relaxed)
    }

    fn look_at_growth(&mut self, ctx: &mut Context<Self>) {
        self.follow_policy();
        if self.rewrite.is_some() || self.is_saving() || self.server.persistence.is_loading() {
            return;
        }
        let shown = &self.server.persistence.aof;
        if shown.rewrite_scheduled.load(Ordering::Relaxed) {
            if let Err(reason) = self.start_rewrite(self.state == State::WaitingForBase, ctx) {
                tracing::warn!("Can't rewrite append only file in background: {reason}");
                self.server.persistence.aof.rewrite_scheduled.store(false, Ordering::Relaxed);
            }
            return;
        }
        let config = self.server.config.load();
        let now = shown.current_bytes.load(Ordering::Relaxed);
        let percentage = u64::from(config.auto_aof_rewrite_percentage);
        if self.state != State::On
            || percentage == 0
            || now <= config.auto_aof_rewrite_min_size.max(0) as u64
            || clock::unix_ms() < self.retry_ms
        {
            return;
        }
        let growth = (now * 100 / self.measured_bytes.max(1)).saturating_sub(100);
        if growth >= percentage {
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
            if let Err(reason) = self.start_rewrite(false, ctx) {
                tracing::warn!("Can't rewrite append only file in background: {reason}");
                self.count_failure();
            }
        }
    }

    fn count_failure(&mut self) {
        const WAIT_MS_MAX: i64 = 60 * 60_000;
        let shown = &self.server.persistence.aof;
        shown.last_rewrite_failed.store(true, Ordering::Relaxed);
        let failures = shown.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if failures > 2 {
            let wait = (60_000i64 << (failures - 3).min(10)).min(WAIT_MS_MAX);
            self.retry_ms = clock::unix_ms() + wait;
            tracing::warn!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
                wait / 60_000
            );
        }
    }

    /// Gives what was executed so far to the writer and forces it to the disk; a future, since the log must have its turn.
    fn sync(&self) -> impl Future<Output = ()> + use<> {
        let (server, writer) = (self.server.clone(), self.writer.clone());
        async move {
            let Some(writer) = writer else { return };
            let (reply, position) = oneshot::channel();
            tell(server.replication_log(), DescribePosition { reply });
            // Answered behind the hand-out of everything before.
            let _ = position.await;
            sync_writer(writer).await;
        }
    }
}

async fn sync_writer(writer: Sender<ToWriter>) {
    let (done, synced) = channel();
    if writer.send(ToWriter::Sync(done)).is_ok() {
        // The thread answers or has ended, having synchronised.
        let _ = tokio::task::spawn_blocking(move || synced.recv()).await;
    }
}

impl Actor for AppendOnlyFile {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        clock::every(ctx, BEAT, |_, ctx| tell(&ctx.address(), Beat));
    }
}

impl TracedActor for AppendOnlyFile {
    const KIND: ActorKind = ActorKind::AppendOnlyFile;

    fn id(&self) -> ActorId {
        self.id
    }
}

impl Receive<Opened> for AppendOnlyFile {
    fn receive(&mut self, Opened { manifest, reply }: Opened, ctx: &mut Context<Self>) {
        let directory = Directory::of(&self.server.config.load());
        let bytes = directory.bytes(&manifest);
        let shown = &self.server.persistence.aof;
        shown.current_bytes.store(bytes, Ordering::Relaxed);
        shown.base_bytes.store(bytes, Ordering::Relaxed);
        self.measured_bytes = bytes;
        self.manifest = manifest;
        let Some(part) = self.manifest.incremental.last().cloned() else { return };
        let Ok((file, length)) = directory.open(&part.name) else { std::process::exit(1) };
        let writer = self.writer();
        let _ = writer.send(ToWriter::Open(part.sequence, Box::new(file), length));
        self.set_state(State::On);
        let server = self.server.clone();
        let attach = async move {
            replication::listen(&server, bit::COMMANDS).await;
            let consumer = writer::consumer(&server, &writer, part.sequence);
            let (attached, position) = oneshot::channel();
            tell(server.replication_log(), AttachCommands { consumer, reply: attached });
            let _ = position.await;
            // Who asked may have gone.
            let _ = reply.send(());
        };
        ctx.spawn(attach.into_actor(self));
    }
}

impl Receive<AdoptBase> for AppendOnlyFile {
    fn receive(&mut self, AdoptBase { file, reply }: AdoptBase, ctx: &mut Context<Self>) {
        if self.state != State::Off || self.rewrite.is_some() {
            let _ = reply.send(false);
            return;
        }
        let config = self.server.config.load_full();
        let directory = Directory::of(&config);
        let mut manifest = self.manifest.clone();
        let base = manifest.next_base(&directory.name, "rdb");
        manifest.retire_before(u64::MAX);
        let part = manifest.next_incremental(&directory.name);
        let target = directory.file(&base.name);
        let moved = directory.create().and_then(|()| std::fs::rename(&file, &target)).inspect_err(|e| {
            tracing::warn!(
                "Error trying to rename the RDB file {} into {}: {}",
                file.display(),
                target.display(),
                os_text(e)
            );
        });
        let written = moved.and_then(|()| {
            let written = directory.open(&part.name).and_then(|_| directory.write_manifest(&manifest));
            if written.is_err() {
                // It is what a restart would load. If it cannot go back, a rewrite makes another one soon.
                let _ = std::fs::rename(&target, &file);
            }
            written
        });
        if written.is_err() {
            let _ = reply.send(false);
            return;
        }
        tracing::info!("Reused RDB file from primary sync as AOF base file: {}", base.name);
        if !config.aof_disable_auto_gc {
            // A failure is in the log; the files harm nobody.
            let _ = directory.delete_history(&mut manifest);
        }
        let (opened, is_open) = oneshot::channel();
        tell(&ctx.address(), Opened { manifest, reply: opened });
        let answer = async move {
            // Who asked may have gone.
            let _ = reply.send(is_open.await.is_ok());
        };
        ctx.spawn(answer.into_actor(self));
    }
}

impl Receive<EnableAof> for AppendOnlyFile {
    fn receive(&mut self, EnableAof { reply }: EnableAof, ctx: &mut Context<Self>) {
        let answer = if self.state != State::Off {
            Ok(())
        } else if self.rewrite.is_some() {
            tracing::info!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and \
                 starting a rewrite now."
            );
            if let Some(rewrite) = &mut self.rewrite {
                rewrite.cancelled = true;
                rewrite.stopper.iter().for_each(Stopper::stop);
            }
            self.set_state(State::WaitingForBase);
            self.server.persistence.aof.rewrite_scheduled.store(true, Ordering::Relaxed);
            Ok(())
        } else if self.is_saving() {
            tracing::info!(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled to \
                 start when possible."
            );
            self.set_state(State::WaitingForBase);
            self.server.persistence.aof.rewrite_scheduled.store(true, Ordering::Relaxed);
            Ok(())
        } else {
            let started = self.start_rewrite(true, ctx);
            if started.is_ok() {
                self.set_state(State::WaitingForBase);
            }
            started
        };
        // A transaction that has switched it off again meanwhile has said so itself.
        self.server.persistence.aof.enabling.store(false, Ordering::Relaxed);
        // Who asked may have gone.
        let _ = reply.send(answer);
    }
}

impl Receive<DisableAof> for AppendOnlyFile {
    fn receive(&mut self, DisableAof { reply }: DisableAof, ctx: &mut Context<Self>) {
        if self.state == State::Off {
            let _ = reply.send(());
            return;
        }
        if self.server.persistence.aof.rewrite_scheduled.swap(false, Ordering::Relaxed) {
            tracing::info!("AOF was disabled but there is a scheduled AOF background, cancel it.");
        }
        if let Some(rewrite) = &mut self.rewrite {
            tracing::info!("Killing running AOF rewrite child: {}", std::process::id());
            rewrite.cancelled = true;
            rewrite.stopper.iter().for_each(Stopper::stop);
        }
        let synced = self.sync();
        self.set_state(State::Off);
        self.writer = None;
        let server = self.server.clone();
        let end = async move {
            synced.await;
            tell(server.replication_log(), DetachCommands);
            server.persistence.aof.set_failure(None);
            // Who asked may have gone.
            let _ = reply.send(());
        };
        // Nothing else meanwhile: what is attached by an `EnableAof` that follows must not be detached here.
        ctx.wait(end.into_actor(self));
    }
}

impl Receive<RewriteAof> for AppendOnlyFile {
    fn receive(&mut self, RewriteAof { reply }: RewriteAof, ctx: &mut Context<Self>) {
        let answer = if self.rewrite.is_some() {
            RewriteAnswer::InProgress
        } else if self.is_saving() {
            self.server.persistence.aof.rewrite_scheduled.store(true, Ordering::Relaxed);
            self.server.persistence.aof.failures_in_a_row.store(0, Ordering::Relaxed);
            tracing::info!("Background append only file rewriting scheduled.");
            RewriteAnswer::Scheduled
        } else {
            match self.start_rewrite(self.state == State::WaitingForBase, ctx) {
                Ok(()) => RewriteAnswer::Started,
                Err(reason) => {
                    tracing::warn!("Can't rewrite append only file in background: {reason}");
                    self.count_failure();
                    return;
                }
            }
        };
        // Who asked may have gone.
        let _ = reply.send(answer);
    }
}

impl Receive<SyncAof> for AppendOnlyFile {
    fn receive(&mut self, SyncAof { reply }: SyncAof, ctx: &mut Context<Self>) {
        let synced = self.sync();
        let answer = async move {
            synced.await;
            // Who asked may have gone.
            let _ = reply.send(());
        };
        ctx.spawn(answer.into_actor(self));
    }
}

impl Receive<ReloadAof> for AppendOnlyFile {
    fn receive(&mut self, ReloadAof { reply }: ReloadAof, ctx: &mut Context<Self>) {
        let synced = self.sync();
        let server = self.server.clone();
        let manifest = match self.state {
            State::Off => {
                // What was begun since is not in it: numbers go on from what is there.
                self.manifest = Directory::of(&server.config.load()).read_manifest().unwrap_or_default();
                self.manifest.clone()
            }
            _ => self.manifest.clone(),
        };
        let writer = self.writer.clone();
        let reload = async move {
            server.persistence.begin_loading(0);
            synced.await;
            // What is loaded must not be appended once more.
            tell(server.replication_log(), DetachCommands);
            restore::data_replaced(&server, false).await;
            crate::persistence::loader::clear(&server).await;
            let directory = Directory::of(&server.config.load());
            let result = match manifest.to_load().next() {
                Some(_) => load::load(&server, &directory, &manifest).await,
                // Nothing was ever appended.
                None => Err(load::Refused),
            };
            restore::data_loaded(&server);
            if let (Some(writer), Some(part)) = (writer, manifest.incremental.last()) {
                replication::listen(&server, bit::COMMANDS).await;
                let consumer = writer::consumer(&server, &writer, part.sequence);
                let (attached, position) = oneshot::channel();
                tell(server.replication_log(), AttachCommands { consumer, reply: attached });
                let _ = position.await;
            }
            server.persistence.end_loading();
            // Who asked may have gone.
            let _ = reply.send(result);
        };
        ctx.spawn(reload.into_actor(self));
    }
}

impl Receive<DeleteHistory> for AppendOnlyFile {
    fn receive(&mut self, DeleteHistory { reply }: DeleteHistory, _: &mut Context<Self>) {
        // A rewrite writes a manifest of its own at its end, and deletes what is history then.
        if self.rewrite.is_none() {
            let directory = Directory::of(&self.server.config.load());
            // A failure is in the log; the files harm nobody.
            let _ = directory.delete_history(&mut self.manifest);
        }
        // Who asked may have gone.
        let _ = reply.send(());
    }
}

impl Receive<RewriteBegan> for AppendOnlyFile {
    fn receive(&mut self, RewriteBegan { stopper }: RewriteBegan, _: &mut Context<Self>) {
        let Some(rewrite) = &mut self.rewrite else { return };
        if rewrite.cancelled {
            stopper.stop();
        }
        rewrite.stopper = Some(stopper);
    }
}

impl Receive<RewriteEnded> for AppendOnlyFile {
    fn receive(&mut self, RewriteEnded { result, held_bytes_max }: RewriteEnded, _: &mut Context<Self>) {
        let Some(rewrite) = self.rewrite.take() else { return };
        let shown = &self.server.persistence.aof;
        shown.rewriting.store(false, Ordering::Relaxed);
        let seconds = (clock::unix_ms() - rewrite.started_ms) / 1000;
        shown.last_rewrite_seconds.store(seconds + 1, Ordering::Relaxed);
        shown.last_rewrite_held.store(held_bytes_max, Ordering::Relaxed);
        match result {
            Ok(rewritten) if !rewrite.cancelled => {
                shown.last_rewrite_failed.store(false, Ordering::Relaxed);
                shown.failures_in_a_row.store(0, Ordering::Relaxed);
                self.retry_ms = 0;
                self.manifest = rewritten.manifest;
                let bytes = Directory::of(&self.server.config.load()).bytes(&self.manifest);
                shown.current_bytes.store(bytes, Ordering::Relaxed);
                shown.base_bytes.store(bytes, Ordering::Relaxed);
                self.measured_bytes = bytes;
                tracing::info!("Background AOF rewrite terminated with success");
                tracing::info!("Background AOF rewrite finished successfully");
                if self.state == State::WaitingForBase {
                    self.set_state(State::On);
                }
            }
            ended @ (Ok(_) | Err(rewrite::Failed::Stopped)) => {
                if let Ok(rewritten) = ended {
                    // It was faster than its cancellation: this is what is on the disk.
                    self.manifest = rewritten.manifest;
                }
                if self.state == State::Off {
                    // Its cut may have come after appending ended.
                    tell(self.server.replication_log(), DetachCommands);
                }
                tracing::warn!("Background AOF rewrite terminated by signal 10");
            }
            Err(rewrite::Failed::Logged) => {
                tracing::warn!("Background AOF rewrite terminated with error");
                self.count_failure();
                if self.state == State::WaitingForBase {
                    self.server.persistence.aof.rewrite_scheduled.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Receive<Beat> for AppendOnlyFile {
    fn receive(&mut self, _: Beat, ctx: &mut Context<Self>) {
        self.look_at_growth(ctx);
    }
}

/// Appends no more, for as long as the data set is being replaced: the files keep the old one. [`resume`] goes on.
pub async fn stop(server: &ServerRef) {
    let (reply, stopped) = oneshot::channel();
    tell(server.append_only(), DisableAof { reply });
    // The actor ends only with the process.
    let _ = stopped.await;
}

/// Begins to append again, with a new base, if the configuration says so and it was stopped. The base is this file, if all
/// that is in memory is in it.
pub async fn resume(server: &ServerRef, file: Option<PathBuf>) {
    const ATTEMPTS: u32 = 10;
    if !server.config.load().appendonly || server.persistence.aof.enabled.load(Ordering::Relaxed) {
        return;
    }
    if let Some(file) = file.filter(|_| server.config.load().aof_use_rdb_preamble) {
        let (reply, adopted) = oneshot::channel();
        tell(server.append_only(), AdoptBase { file, reply });
        if adopted.await == Ok(true) {
            return;
        }
    }
    for attempt in 1..=ATTEMPTS {
        let (reply, enabled) = oneshot::channel();
        tell(server.append_only(), EnableAof { reply });
        match enabled.await {
            Ok(Err(reason)) => tracing::warn!(
                "Failed enabling the AOF after successful primary synchronization! Trying it again in one second: \
                 {reason} (attempt {attempt} of {ATTEMPTS})"
            ),
            _ => return,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tracing::warn!(
        "FATAL: this replica instance finished the synchronization with its primary, but the AOF can't be turned on. \
         Exiting now."
    );
    std::process::exit(1);
}

/// Loads or makes the files at the start of the process, if `appendonly` says so. False if it does not.
pub async fn open_at_start(server: &ServerRef) -> bool {
    let config = server.config.load_full();
    if !config.appendonly {
        return false;
    }
    let directory = Directory::of(&config);
    let manifest = match directory.read_manifest() {
        Some(manifest) if !directory.awaits_old_file(&manifest) => Some(manifest),
        // None, or one of a move that was cut off.
        _ => match directory.adopt_old_file(&config) {
            Ok(manifest) => manifest,
            Err(_) => std::process::exit(1),
        },
    };
    let mut manifest = manifest.unwrap_or_default();
    if load::load(server, &directory, &manifest).await.is_err() {
        // The log says why already.
        std::process::exit(1);
    }
    if let Err(e) = make_missing_parts(server, &directory, &mut manifest).await {
        tracing::warn!("Can't open the append-only file: {}", os_text(&e));
        std::process::exit(1);
    }
    let (reply, opened) = oneshot::channel();
    tell(server.append_only(), Opened { manifest, reply });
    let _ = opened.await;
    server.persistence.end_loading();
    true
}

async fn make_missing_parts(
    server: &ServerRef,
    directory: &Directory,
    manifest: &mut Manifest,
) -> std::io::Result<()> {
    directory.create()?;
    let mut changed = false;
    if manifest.is_empty() {
        rewrite::write_empty_base(server, directory, manifest)?;
        changed = true;
    }
    match manifest.incremental.last() {
        Some(part) => tracing::info!("Opening AOF incr file {} on server start", part.name),
        None => {
            let part = manifest.next_incremental(&directory.name);
            tracing::info!("Creating AOF incr file {} on server start", part.name);
            directory.open(&part.name)?;
            changed = true;
        }
    }
    if changed {
        directory.write_manifest(manifest)?;
    }
    if !server.config.load().aof_disable_auto_gc {
        directory.delete_history(manifest)?;
    }
    Ok(())
}
