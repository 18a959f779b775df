//! ACTOR MIGRATION: what operators see of a job beyond GETSLOTMIGRATIONS, and how they steer it.

use skuld::commands::context::CommandError;
use skuld::migration::{Id40, Job, JobState};
use skuld::resp::Reply;

use super::Job as Running;
use super::export::Steer;
use crate::clock;
use crate::envelope::tell;
use crate::server::ServerRef;

/// What an operator wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Send no more keys; effects go on.
    Hold,
    Resume,
    /// Bytes of keys a second; 0 lifts the limit.
    Rate(u64),
}

/// `ACTOR MIGRATION [job [HOLD | RESUME | RATE bytes-per-second]]`; `args` begin after the subcommand.
pub fn run(server: &ServerRef, args: &[Vec<u8>], reply: &mut Reply) -> Result<(), CommandError> {
    let Some(name) = args.first() else {
        let names: Vec<Vec<u8>> =
            server.migrations.log().iter().map(|job| job.name.as_bytes().to_vec()).collect();
        reply.array(names.len());
        names.iter().for_each(|name| reply.bulk(name));
        return Ok(());
    };
    let unknown = || CommandError::fixed("ERR No such slot migration job");
    let name = Id40::new(name).ok_or_else(unknown)?;
    let word =
        |index: usize, word: &str| args.get(index).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()));
    let wish = match args.len() {
        1 => {
            let job = server.migrations.log().get(&name).cloned().ok_or_else(unknown)?;
            write(&job, reply);
            return Ok(());
        }
        2 if word(1, "hold") => Wish::Hold,
        2 if word(1, "resume") => Wish::Resume,
        3 if word(1, "rate") => {
            let rate = skuld::resp::decode::parse_integer(&args[2]).and_then(|n| u64::try_from(n).ok());
            Wish::Rate(rate.ok_or(CommandError::NotInteger)?)
        }
        _ => return Err(CommandError::Syntax),
    };
    match server.migrations.job(&name) {
        Some(Running::Export(job)) => tell(&job, Steer(wish)),
        Some(Running::Import(_)) => {
            return Err(CommandError::fixed("ERR A slot migration is steered at its source"));
        }
        None => return Err(unknown()),
    }
    reply.ok();
    Ok(())
}

/// Figures and transitions of a job. How much there is altogether only the source knows.
fn write(job: &Job, reply: &mut Reply) {
    let figures = &job.figures;
    let is_export = matches!(job.state, JobState::Export(_));
    let now = clock::unix_ms();
    let age_ms = ((now - job.created_s * 1000).max(1)) as u64;
    let over = job.state.is_finished();
    let rate = |bytes: u64| if over { 0 } else { bytes * 1000 / age_ms };
    let left = figures.keys_total.saturating_sub(figures.keys_sent);
    let left_ms = match figures.keys_sent {
        _ if over => 0,
        0 => -1,
        sent => (left * age_ms / sent) as i64,
    };
    let frozen_ms = match figures.frozen_ms {
        0 if figures.frozen_at_ms > 0 && !over => (now - figures.frozen_at_ms).max(0) as u64,
        ms => ms,
    };
    let of_source = [
        ("bytes_sent", figures.bytes_sent),
        ("keys_sent", figures.keys_sent),
        ("keys_total", figures.keys_total),
        ("effects_sent", figures.effects_sent),
        ("bytes_per_second", rate(figures.bytes_sent)),
        ("lag_bytes", figures.waiting_bytes),
        ("writers_held_back", figures.paced),
        ("held_back_ms", figures.paced_us / 1000),
        ("frozen_ms", frozen_ms),
        ("rate_limit", figures.rate_limit),
        ("held", u64::from(figures.is_held)),
    ];
    let lag_ms = if over { 0 } else { (now - figures.heard_ms).max(0) as u64 };
    let of_target = [
        ("bytes_received", figures.bytes_received),
        ("keys_received", figures.keys_received),
        ("bytes_per_second", rate(figures.bytes_received)),
        ("lag_ms", lag_ms),
        ("frozen_ms", frozen_ms),
    ];
    let numbers = if is_export { &of_source[..] } else { &of_target[..] };
    reply.map(numbers.len() + 5 + usize::from(is_export));
    let text = |reply: &mut Reply, name: &str, value: &[u8]| {
        reply.bulk(name.as_bytes());
        reply.bulk(value);
    };
    text(reply, "name", job.name.as_bytes());
    text(reply, "operation", if is_export { b"EXPORT" } else { b"IMPORT" });
    text(reply, "state", job.state.name().as_bytes());
    text(reply, "reason", String::from_utf8_lossy(&job.message()).trim_end().as_bytes());
    for (name, value) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*value as i64);
    }
    if is_export {
        reply.bulk(b"milliseconds_left");
        reply.integer(left_ms);
    }
    reply.bulk(b"transitions");
    reply.array(job.records.len());
    for record in &job.records {
        reply.map(5);
        text(reply, "at_ms", record.at_ms.to_string().as_bytes());
        text(reply, "from", record.from.as_bytes());
        text(reply, "event", record.event.as_bytes());
        text(reply, "to", record.to.as_bytes());
        text(reply, "reason", record.reason.as_deref().unwrap_or_default().as_bytes());
    }
}
