//! SAVE, BGSAVE, LASTSAVE, and DEBUG's reloading.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use tokio::sync::oneshot;

use super::{Outcome, Request};
use crate::append_only::{DeleteHistory, DisableAof, EnableAof, ReloadAof, RewriteAnswer, RewriteAof};
use crate::envelope::tell;
use crate::executor::Executor;
use crate::persistence::loader::Install;
use crate::persistence::start::{self, Reload, ReloadError};
use crate::server::ServerRef;
use crate::snapshotter::{Answer, CancelSnapshot, SaveSnapshot, Wait};

const IN_PROGRESS: CommandError = CommandError::fixed("ERR Background save already in progress");

async fn save_snapshot(server: &ServerRef, wait: Wait) -> Answer {
    let (reply, answer) = oneshot::channel();
    tell(server.snapshotter(), SaveSnapshot { wait, reply });
    answer.await.unwrap_or(Answer::Failed)
}

/// `SAVE`
pub async fn save(request: &mut Request) -> Outcome {
    match save_snapshot(&request.server, Wait::End).await {
        Answer::Saved => request.reply.ok(),
        Answer::AlreadyInProgress => return Err(IN_PROGRESS),
        _ => request.reply.error("ERR"),
    }
    Ok(())
}

/// `BGSAVE [SCHEDULE | CANCEL]`
pub async fn background_save(request: &mut Request) -> Outcome {
    if request.inside.is_some() {
        return schedule_save(request);
    }
    let wait = match request.args.len() {
        1 => Wait::Beginning,
        2 if request.is_word(1, "schedule") => Wait::Turn,
        2 if request.is_word(1, "cancel") => {
            let (reply, answer) = oneshot::channel();
            tell(request.server.snapshotter(), CancelSnapshot { reply });
            match answer.await {
                Ok(Answer::Cancelled) => request.reply.simple("Background saving cancelled"),
                Ok(Answer::ScheduledCancelled) => {
                    request.reply.simple("Scheduled background saving cancelled");
                }
                _ => {
                    return Err(CommandError::fixed(
                        "ERR Background saving is currently not in progress or scheduled",
                    ));
                }
            }
            return Ok(());
        }
        _ => return Err(CommandError::Syntax),
    };
    match save_snapshot(&request.server, wait).await {
        Answer::Started => request.reply.simple("Background saving started"),
        Answer::Scheduled => request.reply.simple("Background saving scheduled"),
        Answer::AlreadyInProgress => return Err(IN_PROGRESS),
        Answer::RewriteInProgress => {
            return Err(CommandError::fixed(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
                 schedule a BGSAVE whenever possible.",
            ));
        }
        _ => return Err(CommandError::fixed("ERR")),
    }
    Ok(())
}

/// BGSAVE inside a transaction: what it asks for happens when the transaction is over.
fn schedule_save(request: &mut Request) -> Outcome {
    let state = &request.server.persistence;
    match request.args.len() {
        2 if request.is_word(1, "cancel") => {
            if state.save_scheduled.swap(false, Ordering::Relaxed) {
                request.reply.simple("Scheduled background saving cancelled");
                return Ok(());
            }
            if !state.saving.load(Ordering::Relaxed) {
                return Err(CommandError::fixed(
                    "ERR Background saving is currently not in progress or scheduled",
                ));
            }
            let (reply, _) = oneshot::channel();
            tell(request.server.snapshotter(), CancelSnapshot { reply });
            request.reply.simple("Background saving cancelled");
            return Ok(());
        }
        1 => {}
        2 if request.is_word(1, "schedule") => {}
        _ => return Err(CommandError::Syntax),
    }
    if state.saving.load(Ordering::Relaxed) {
        return Err(IN_PROGRESS);
    }
    state.save_scheduled.store(true, Ordering::Relaxed);
    request.reply.simple("Background saving scheduled");
    Ok(())
}

/// `BGREWRITEAOF`
pub async fn rewrite_aof(request: &mut Request) -> Outcome {
    let (reply, answer) = oneshot::channel();
    if request.inside.is_some() && request.server.persistence.aof.rewriting.load(Ordering::Relaxed) {
        return Err(CommandError::fixed("ERR Background append only file rewriting already in progress"));
    }
    tell(request.server.append_only(), RewriteAof { reply });
    if request.inside.is_some() {
        // It begins when the transaction has given back its slots.
        request.reply.simple("Background append only file rewriting scheduled");
        return Ok(());
    }
    match answer.await {
        Ok(RewriteAnswer::Started) => {
            request.reply.simple("Background append only file rewriting started");
            Ok(())
        }
        Ok(RewriteAnswer::Scheduled) => {
            request.reply.simple("Background append only file rewriting scheduled");
            Ok(())
        }
        Ok(RewriteAnswer::InProgress) => {
            Err(CommandError::fixed("ERR Background append only file rewriting already in progress"))
        }
        Err(_) => Err(CommandError::fixed(
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
        )),
    }
}

/// `DEBUG LOADAOF`
pub async fn load_aof(request: &mut Request) -> Outcome {
    let (reply, answer) = oneshot::channel();
    tell(request.server.append_only(), ReloadAof { reply });
    if answer.await.is_ok_and(|result| result.is_ok()) {
        tracing::info!("Append Only File loaded by DEBUG LOADAOF");
        request.reply.ok();
        return Ok(());
    }
    Err(CommandError::fixed("ERR Error trying to load the AOF files, check server logs."))
}

/// What a changed `appendonly` means; answered when appending has begun or ended.
pub async fn switch_aof(request: &Request, on: bool) -> Result<(), String> {
    let server = &request.server;
    if request.is_inside() {
        // The thread is needed for it: it is done when the transaction is over.
        if on {
            tracing::info!(
                "A transaction enabled AOF. An AOF background was scheduled to start when it is over."
            );
        }
        server.persistence.aof.enabling.store(on, Ordering::Relaxed);
        let server = server.clone();
        actix_rt::spawn(async move {
            if on {
                let (reply, _) = oneshot::channel();
                tell(server.append_only(), EnableAof { reply });
            } else {
                let (reply, _) = oneshot::channel();
                tell(server.append_only(), DisableAof { reply });
            }
        });
        return Ok(());
    }
    if on {
        let (reply, answer) = oneshot::channel();
        tell(server.append_only(), EnableAof { reply });
        let started = answer.await.unwrap_or_else(|_| Err("the append-only file is gone".into()));
        return started.map_err(|reason| {
            tracing::warn!("Unable to turn on AOF: {reason}");
            "Unable to turn on AOF. Check server logs.".into()
        });
    }
    let (reply, answer) = oneshot::channel();
    tell(server.append_only(), DisableAof { reply });
    // The actor ends only with the process.
    let _ = answer.await;
    Ok(())
}

/// What `CONFIG SET aof-disable-auto-gc no` does beside changing the directive.
pub async fn delete_aof_history(request: &Request) {
    let (reply, answer) = oneshot::channel();
    tell(request.server.append_only(), DeleteHistory { reply });
    if !request.is_inside() {
        // The actor ends only with the process.
        let _ = answer.await;
    }
}

/// `LASTSAVE`
pub fn last_save(request: &mut Request) -> Outcome {
    request.reply.integer(request.server.last_save_ms.load(Ordering::Relaxed) / 1000);
    Ok(())
}

/// `DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]`
pub async fn reload(request: &mut Request) -> Outcome {
    let how = how_to_reload(&request.args)?;
    reloaded(start::reload(&request.server, how).await, &mut request.reply)
}

/// The same inside a transaction, where all slots are at hand.
pub fn reload_inside(
    executor: &mut Executor,
    keyspace: &mut Keyspace,
    words: &[Vec<u8>],
    reply: &mut Reply,
) -> Outcome {
    let how = how_to_reload(words)?;
    let server = executor.server.clone();
    reloaded(start::reload_here(&server, keyspace, executor, how), reply)
}

fn how_to_reload(words: &[Vec<u8>]) -> Result<Reload, CommandError> {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for word in &words[2..] {
        match word.to_ascii_lowercase().as_slice() {
            b"merge" => merge = true,
            b"noflush" => flush = false,
            b"nosave" => save = false,
            _ => {
                return Err(CommandError::fixed(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    let how = if flush { Install::Replace } else { Install::Merge { overwrite: merge } };
    Ok(Reload { save, how })
}

fn reloaded(outcome: Result<(), ReloadError>, reply: &mut Reply) -> Outcome {
    match outcome {
        Ok(()) => {}
        Err(ReloadError::Save) => return Err(CommandError::fixed("ERR")),
        Err(ReloadError::Load) => {
            return Err(CommandError::fixed("ERR Error trying to load the RDB dump, check server logs."));
        }
    }
    tracing::info!("DB reloaded by DEBUG RELOAD");
    reply.ok();
    Ok(())
}
