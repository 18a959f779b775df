//! CLUSTER MIGRATESLOTS, CANCELSLOTMIGRATIONS, GETSLOTMIGRATIONS and SYNCSLOTS.

use std::sync::Arc;

use skuld::commands::context::CommandError;
use skuld::migration::arguments::{Refusal, View, migrate_slots};
use skuld::migration::messages::{self, Finish, From, Message, Signal};
use skuld::session::Origin;

use super::cluster;
use super::export::MigrationExport;
use super::import::{self, MigrationImport};
use super::{ImportLink, Job};
use crate::batch::Batch;
use crate::envelope::tell;
use crate::server_commands::{Outcome, Request};

fn refused(refusal: &Refusal) -> CommandError {
    CommandError::text(format!("ERR {refusal}"))
}

const DISABLED: CommandError = CommandError::fixed("ERR This instance has cluster support disabled");

/// Whether this is one of the four.
pub fn is_one(name: &str) -> bool {
    matches!(
        name,
        "cluster|migrateslots"
            | "cluster|cancelslotmigrations"
            | "cluster|getslotmigrations"
            | "cluster|syncslots"
    )
}

/// Runs one of the four.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    if request.server.config.load().cluster_enabled {
        match request.command.name {
            "cluster|migrateslots" => migrate(request, batch),
            "cluster|cancelslotmigrations" => cancel(request).await,
            "cluster|getslotmigrations" => list(request),
            _ => sync_slots(request, batch).await,
        }
    } else {
        Err(DISABLED)
    }
}

fn migrate(request: &mut Request, batch: &Batch) -> Outcome {
    let server = &request.server;
    let view = cluster::view(server).ok_or(DISABLED)?;
    let args: Vec<&[u8]> = request.args[2..].iter().map(Vec::as_slice).collect();
    let exporting = server.migrations.log().exporting();
    let groups = migrate_slots(&args, &view, &|slot| exporting.contains(slot)).map_err(|r| refused(&r))?;
    let source = view.myself();
    // The last group is started first, so that the first is listed first.
    for group in groups.into_iter().rev() {
        let name = MigrationExport::begin(server, source, group.target, group.ranges);
        let log = server.migrations.log();
        let desc = log.get(&name).map(|job| job.description(&|id| cluster::human_name(server, id)));
        drop(log);
        tracing::info!(
            "Slot migration initiated through CLUSTER MIGRATESLOTS command: {} (user request from 'id={} addr={} \
             user={}')",
            desc.unwrap_or_default(),
            batch.session.id,
            batch.session.peer,
            String::from_utf8_lossy(&batch.session.user.name)
        );
    }
    server.migrations.trim(server);
    request.reply.ok();
    Ok(())
}

async fn cancel(request: &mut Request) -> Outcome {
    let ends = request.server.migrations.cancel_exports();
    if ends.is_empty() {
        return Err(refused(&Refusal::NothingToCancel));
    }
    // In a transaction or a script a job may be on the very thread that would wait for it.
    if !request.is_inside() {
        for end in ends {
            // Dropped with the message.
            let _ = end.await;
        }
    }
    request.reply.ok();
    Ok(())
}

fn list(request: &mut Request) -> Outcome {
    request.server.migrations.trim(&request.server);
    let log = request.server.migrations.log();
    request.reply.array(log.iter().count());
    log.iter().for_each(|job| job.write_row(&mut request.reply));
    Ok(())
}

async fn sync_slots(request: &mut Request, batch: &mut Batch) -> Outcome {
    let owned = request.args.clone();
    let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
    let message = Message::parse(&args);
    match batch.session.origin {
        origin @ (Origin::Primary | Origin::Aof) => return follow(request, origin, message).await,
        Origin::Import | Origin::Client => {}
    }
    match (message, batch.import.clone()) {
        (Message::Capa, _) => Ok(()),
        (message, Some(link)) => {
            if message == Message::Signal(Signal::SnapshotEof) {
                // A real source's snapshot and what follows it come from two processes. The second takes it for granted
                // that the link is in database 0, wherever the first has left it.
                batch.session.db = 0;
            }
            tell_job(&link, message);
            Ok(())
        }
        (Message::Signal(signal), None) => {
            Err(CommandError::text(format!("ERR {}", signal.refused_to_clients())))
        }
        (Message::Establish { rest }, None) => establish(request, batch, rest).await,
        (Message::Finish { rest }, None) => {
            let log = request.server.migrations.log();
            Finish::parse(rest, &|name| log.get(name).is_some()).map_err(|r| refused(&r))?;
            // Valkey obeys anybody here, and then shows the keys of slots that another node owns.
            Err(CommandError::fixed(
                "ERR CLUSTER SYNCSLOTS FINISH should only be used by slot migration clients",
            ))
        }
        (Message::Unknown, None) => Err(CommandError::Syntax),
    }
}

/// Hands what the source said on to the job, as a message of its own type.
fn tell_job(link: &ImportLink, message: Message<'_>) {
    let job = &link.job;
    match message {
        Message::Signal(Signal::Ack) => tell(job, import::Ack),
        Message::Signal(Signal::SnapshotEof) => tell(job, import::SnapshotEof),
        Message::Signal(Signal::Paused) => tell(job, import::Paused),
        Message::Signal(Signal::FailoverGranted) => tell(job, import::FailoverGranted),
        Message::Signal(Signal::RequestPause) => tell(job, import::RequestPause),
        Message::Signal(Signal::RequestFailover) => tell(job, import::RequestFailover),
        Message::Establish { .. } => tell(job, import::Establish),
        Message::Finish { .. } | Message::Unknown => tell(job, import::UnknownSubcommand),
        Message::Capa => {}
    }
}

async fn establish(request: &mut Request, batch: &mut Batch, rest: &[&[u8]]) -> Outcome {
    let server = request.server.clone();
    let view = cluster::view(&server).ok_or(DISABLED)?;
    let importing = server.migrations.log().importing();
    let establish = messages::establish(rest, From::Client, &view, &|slot| importing.contains(slot))
        .map_err(|r| refused(&r))?;
    let link: Arc<ImportLink> = MigrationImport::begin(&server, establish, Some(batch.shared.clone())).await;
    batch.session.origin = Origin::Import;
    batch.session.db = 0;
    batch.import = Some(link);
    request.reply.ok();
    Ok(())
}

/// What our primary or the append-only file says of a job: only its beginning and its end concern us.
async fn follow(request: &mut Request, origin: Origin, message: Message<'_>) -> Outcome {
    let server = request.server.clone();
    match message {
        Message::Establish { rest } => {
            let Some(view) = cluster::view(&server) else { return Err(DISABLED) };
            let importing = server.migrations.log().importing();
            // A full synchronisation may have brought the job before its ESTABLISH comes.
            let known = messages::establish(rest, From::Stream, &view, &|_| false)
                .is_ok_and(|e| server.migrations.log().running_mut(&e.name).is_some());
            if known {
                return Ok(());
            }
            let establish = messages::establish(rest, From::Stream, &view, &|slot| importing.contains(slot))
                .map_err(|r| refused(&r))?;
            let mut line = Vec::new();
            establish.encode(&mut line);
            MigrationImport::begin(&server, establish, None).await;
            keep(request, origin, &line);
        }
        Message::Finish { rest } => {
            // A job that is not known here has nothing to end.
            let finish = Finish::parse(rest, &|_| true).map_err(|r| refused(&r))?;
            let mut line = Vec::new();
            finish.encode(&mut line);
            if let Some(Job::Import(job)) = server.migrations.job(&finish.name) {
                let (done, end) = tokio::sync::oneshot::channel();
                tell(&job, import::Finish { failure: finish.failure, done });
                // What comes behind it in the stream may be about the same slots.
                let _ = end.await;
                keep(request, origin, &line);
            }
        }
        Message::Signal(_) | Message::Capa | Message::Unknown => {}
    }
    Ok(())
}

/// What a primary said belongs into a replica's own append-only file as well.
fn keep(request: &Request, origin: Origin, line: &[u8]) {
    if origin == Origin::Primary {
        import::replicate(&request.server, line);
    }
}
