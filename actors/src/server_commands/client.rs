//! CLIENT LIST, INFO, KILL, PAUSE, UNPAUSE, UNBLOCK: the commands about clients other than one's own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;

use super::client_filter::{self, Filter};
use super::{Outcome, Request, ask_all_shards, tracking};
use crate::batch::Batch;
use crate::blocked::{self, Ended, UNBLOCKED_BY_CLIENT};
use crate::clients::{ClientShared, flag};
use crate::clock;
use crate::connection::Kill;
use crate::envelope::tell;
use crate::output_limit;
use crate::pause::Paused;
use crate::server::Server;
use crate::shard::Controlled;

/// Runs the subcommand.
pub async fn run(request: &mut Request, batch: &mut Batch) -> Outcome {
    match request.command.spec.name {
        "client|list" => list(request, batch),
        "client|info" => {
            let line = line(&batch.shared, clock::unix_ms()) + "\n";
            request.reply.verbatim("txt", line.as_bytes());
            Ok(())
        }
        "client|kill" => kill(request, batch),
        "client|tracking" => tracking::tracking(request, batch),
        "client|trackinginfo" => tracking::info(request, batch),
        "client|pause" => pause(request).await,
        "client|unpause" => {
            request.server.pause.end();
            ask_all_shards(request, Controlled::EndPause).await;
            request.reply.ok();
            Ok(())
        }
        "client|trace" => trace(request, batch),
        "client|unblock" => unblock(request),
        name => Err(CommandError::text(format!("ERR unknown subcommand '{name}'"))),
    }
}

/// CLIENT TRACE: ours; records what the client's own requests cause.
fn trace(request: &mut Request, batch: &Batch) -> Outcome {
    let on = match request.args[2].to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return Err(CommandError::Syntax),
    };
    match (batch.shared.traced.swap(on, Ordering::Relaxed), on) {
        (false, true) => crate::trace::client_began(),
        (true, false) => crate::trace::client_ended(),
        _ => {}
    }
    request.reply.ok();
    Ok(())
}

/// The letters of CLIENT LIST's `flags`.
pub fn letters(client: &ClientShared) -> String {
    let flags = client.flags.load(Ordering::Relaxed);
    let mut out = String::new();
    for (set, letter) in [
        (client.is_replica(), 'S'),
        (client.is_primary(), 'M'),
        (client.monitoring.load(Ordering::Relaxed), 'O'),
        (client.is_subscriber(), 'P'),
        (client.in_transaction.load(Ordering::Relaxed), 'x'),
        (client.is_waiting(), 'b'),
        (client.tracks(), 't'),
        (client.redirect_broken.load(Ordering::Relaxed), 'R'),
        (flags & flag::TRACKING_BROADCAST != 0, 'B'),
        (client.dirty.load(Ordering::Relaxed), 'd'),
        (client.killed.load(Ordering::Relaxed), 'A'),
        (flags & flag::CLOSE_AFTER_REPLY != 0, 'c'),
        (client.unix_socket, 'U'),
        (flags & flag::READONLY != 0, 'r'),
        (flags & flag::NO_EVICT != 0, 'e'),
        (flags & flag::NO_TOUCH != 0, 'T'),
        (flags & flag::IMPORT_SOURCE != 0, 'I'),
        (flags & flag::SLOT_IMPORT != 0, 'i'),
        (flags & flag::SLOT_EXPORT != 0, 'E'),
    ] {
        if set {
            out.push(letter);
        }
    }
    if out.is_empty() { "N".to_owned() } else { out }
}

fn last_command(client: &ClientShared) -> &'static str {
    let id = client.last_command.load(Ordering::Relaxed);
    u16::try_from(id).ok().and_then(Command::by_id).map_or("NULL", |c| c.spec.name)
}

/// Stands for what users chose where `hide-user-data-from-log` hides it.
pub const REDACTED: &str = "*redacted*";

/// One line of CLIENT LIST, without its line end.
pub fn line(client: &ClientShared, now_ms: i64) -> String {
    described(client, now_ms, false)
}

/// The same for the log, which may not show what users chose.
pub fn line_for_log(server: &Server, client: &ClientShared) -> String {
    described(client, clock::unix_ms(), server.config.load().hide_user_data_from_log)
}

/// Whose connection it is, in short, for the log.
pub fn short_line(server: &Server, client: &ClientShared) -> String {
    let hidden = server.config.load().hide_user_data_from_log;
    let names = client.names();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let private = |bytes: &[u8]| if hidden { REDACTED.to_owned() } else { text(bytes) };
    format!(
        "id={} addr={} laddr={} fd={} name={} user={} lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        client.fd,
        private(&names.name),
        private(&names.user),
        text(&names.lib_name),
        text(&names.lib_ver),
    )
}

fn described(client: &ClientShared, now_ms: i64, hidden: bool) -> String {
    let load = |cell: &std::sync::atomic::AtomicU64| cell.load(Ordering::Relaxed);
    let names = client.names();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let private = |bytes: &[u8]| if hidden { REDACTED.to_owned() } else { text(bytes) };
    let output = load(&client.output_bytes);
    let counted = output_limit::counted(output as usize);
    let (query, free) = (load(&client.query_bytes), load(&client.query_free));
    let arguments = load(&client.argv_bytes);
    // What the primary sends is nobody's, and may be anything.
    let user: &[u8] = if client.is_primary() { b"(superuser)" } else { &names.user };
    let capa = if client.flags.load(Ordering::Relaxed) & flag::CAPA_REDIRECT != 0 { "r" } else { "" };
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={capa} db={} sub={} psub={} ssub={} \
         multi={} watch={} qbuf={query} qbuf-free={free} argv-mem={arguments} multi-mem={} rbs=0 rbp=0 obl={} oll={} \
         omem={counted} tot-mem={} events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        client.id,
        client.peer,
        client.local,
        client.fd,
        private(&names.name),
        (now_ms - client.connected_ms) / 1000,
        (now_ms - client.last_interaction_ms.load(Ordering::Relaxed)).max(0) / 1000,
        letters(client),
        client.db.load(Ordering::Relaxed),
        client.subscriptions[0].load(Ordering::Relaxed),
        client.subscriptions[1].load(Ordering::Relaxed),
        client.subscriptions[2].load(Ordering::Relaxed),
        client.queued.load(Ordering::Relaxed),
        client.watched.load(Ordering::Relaxed),
        load(&client.queued_bytes),
        output - counted,
        u8::from(counted > 0),
        client.memory_bytes(),
        if output > 0 { "rw" } else { "r" },
        last_command(client),
        private(user),
        if client.tracks() { client.redirect.load(Ordering::Relaxed) as i64 } else { -1 },
        client.resp.load(Ordering::Relaxed),
        text(&names.lib_name),
        text(&names.lib_ver),
        load(&client.net_in),
        load(&client.net_out),
        load(&client.commands),
    )
}

/// CLIENT LIST for a crash report: whatever can be had without asking anybody.
pub fn list_for_crash_report(server: &Server) -> String {
    server.clients.all().iter().map(|client| line_for_log(server, client) + "\n").collect()
}

fn list(request: &mut Request, batch: &Batch) -> Outcome {
    let mut filter = Filter::default();
    match request.args.len() {
        2 => {}
        // A filter has a name and a value, or several.
        3 => return Err(CommandError::Syntax),
        _ => {
            filter = client_filter::parse(
                &request.args[2..],
                databases(request),
                &request.server.access.current(),
            )?
        }
    }
    let now_ms = clock::unix_ms();
    let mut text = String::new();
    for client in request.server.clients.all() {
        let skipped = filter.skip_me == Some(true) && client.id == batch.session.id;
        if !skipped && filter.matches(&client, now_ms) {
            text += &line(&client, now_ms);
            text.push('\n');
        }
    }
    request.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn databases(request: &Request) -> u32 {
    request.server.config.load().database_count()
}

fn kill(request: &mut Request, batch: &mut Batch) -> Outcome {
    let old_form = request.args.len() == 3;
    let filter = if old_form {
        let mut filter = Filter { skip_me: Some(false), ..Filter::default() };
        filter.addr = Some(request.args[2].clone());
        filter
    } else {
        client_filter::parse(&request.args[2..], databases(request), &request.server.access.current())?
    };
    let now_ms = clock::unix_ms();
    let mut killed = 0;
    for client in request.server.clients.all() {
        let is_me = client.id == batch.session.id;
        if (is_me && filter.skip_me != Some(false)) || !filter.matches(&client, now_ms) {
            continue;
        }
        killed += 1;
        if is_me {
            // The killer learns that it was heard.
            batch.session.close_after_reply = true;
        } else {
            end(&client);
        }
    }
    if !old_form {
        request.reply.integer(killed);
        return Ok(());
    }
    if killed == 0 {
        return Err(CommandError::fixed("ERR No such client"));
    }
    request.reply.ok();
    Ok(())
}

/// Disconnects a client.
pub fn end(client: &Arc<ClientShared>) {
    // From now on no shard runs a command of it; then its connection closes.
    client.killed.store(true, Ordering::SeqCst);
    tell(&client.connection, Kill { after_replies: false });
}

async fn pause(request: &mut Request) -> Outcome {
    let what = match request.args.get(3) {
        None => Paused::All,
        Some(word) if word.eq_ignore_ascii_case(b"write") => Paused::Writes,
        Some(word) if word.eq_ignore_ascii_case(b"all") => Paused::All,
        Some(_) => return Err(CommandError::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let Some(ms) = parse_integer(&request.args[2]) else {
        return Err(CommandError::fixed("ERR timeout is not an integer or out of range"));
    };
    if ms < 0 {
        return Err(CommandError::fixed("ERR timeout is negative"));
    }
    let Some(until) = ms.checked_add(clock::unix_ms()) else {
        return Err(CommandError::fixed("ERR timeout is out of range"));
    };
    request.server.pause.begin(what, until);
    ask_all_shards(request, Controlled::ConfirmPause).await;
    request.reply.ok();
    Ok(())
}

/// Ends another client's wait, as its own timeout would or with an error.
fn unblock(request: &mut Request) -> Outcome {
    // As in Valkey, a request with more words than that has no reason to check.
    let reason = request.args.get(3).filter(|_| request.args.len() == 4);
    let how = match reason {
        None => Ended::TimedOut,
        Some(word) if word.eq_ignore_ascii_case(b"timeout") => Ended::TimedOut,
        Some(word) if word.eq_ignore_ascii_case(b"error") => Ended::Refused(UNBLOCKED_BY_CLIENT.to_owned()),
        Some(_) => {
            return Err(CommandError::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = parse_integer(&request.args[2]).ok_or(CommandError::NotInteger)?;
    let server = &request.server;
    let waiter = u64::try_from(id).ok().and_then(|id| server.blocked.of_client(id));
    let ended = waiter.is_some_and(|waiter| blocked::end(server, &waiter, how));
    request.reply.integer(i64::from(ended));
    Ok(())
}
