//! CLIENT TRACKING and CLIENT TRACKINGINFO.

use std::sync::atomic::Ordering;

use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;
use skuld::session::Tracking;

use super::{Outcome, Request};
use crate::batch::Batch;

/// `CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub fn tracking(request: &mut Request, batch: &mut Batch) -> Outcome {
    let asked = parse(request)?;
    let new = match request.args[2].to_ascii_lowercase().as_slice() {
        b"on" => checked(asked, &batch.session.tracking)?,
        b"off" => {
            stop(batch);
            request.reply.ok();
            return Ok(());
        }
        _ => return Err(CommandError::Syntax),
    };
    let old = std::mem::take(&mut batch.session.tracking.prefixes);
    let fresh: Vec<Vec<u8>> = match (new.broadcast, new.prefixes.is_empty()) {
        // Without a prefix: every key.
        (true, true) if !old.contains(&Vec::new()) => vec![Vec::new()],
        _ => new.prefixes.clone(),
    };
    let mut prefixes = old;
    prefixes.extend(fresh.iter().cloned());
    prefixes.sort();
    batch.tracked.begin(&request.server.tracking, batch.session.id, &fresh);
    batch.shared.redirect.store(new.redirect, Ordering::Relaxed);
    // In the session and in the registry.
    let bytes: usize = prefixes.iter().map(|prefix| 2 * (prefix.len() + size_of::<Vec<u8>>())).sum();
    batch.shared.tracking_bytes.store(bytes as u64, Ordering::Relaxed);
    batch.session.tracking = Tracking { prefixes, ..new };
    batch.shared.redirect_broken.store(false, Ordering::Relaxed);
    batch.shared.publish(&batch.session);
    request.reply.ok();
    Ok(())
}

/// The client tracks no more.
pub fn stop(batch: &mut Batch) {
    batch.tracked.end();
    batch.session.tracking = Tracking::default();
    batch.shared.tracking_bytes.store(0, Ordering::Relaxed);
    batch.shared.redirect.store(0, Ordering::Relaxed);
    batch.shared.redirect_broken.store(false, Ordering::Relaxed);
    batch.shared.publish(&batch.session);
}

fn parse(request: &Request) -> Result<Tracking, CommandError> {
    let mut asked = Tracking { on: true, ..Tracking::default() };
    let mut at = 3;
    while let Some(word) = request.args.get(at) {
        let value = request.args.get(at + 1);
        match (word.to_ascii_lowercase().as_slice(), value) {
            (b"redirect", Some(id)) => {
                if asked.redirect != 0 {
                    return Err(CommandError::fixed(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                let id = parse_integer(id).ok_or(CommandError::NotInteger)?;
                let exists = u64::try_from(id).ok().filter(|&id| request.server.clients.get(id).is_some());
                asked.redirect = exists
                    .ok_or(CommandError::fixed("ERR The client ID you want redirect to does not exist"))?;
                at += 1;
            }
            (b"prefix", Some(prefix)) => {
                asked.prefixes.push(prefix.clone());
                at += 1;
            }
            (b"bcast", _) => asked.broadcast = true,
            (b"optin", _) => asked.opt_in = true,
            (b"optout", _) => asked.opt_out = true,
            (b"noloop", _) => asked.no_loop = true,
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    Ok(asked)
}

fn checked(asked: Tracking, now: &Tracking) -> Result<Tracking, CommandError> {
    let refuse = |text| Err(CommandError::fixed(text));
    if !asked.broadcast && !asked.prefixes.is_empty() {
        return refuse("ERR PREFIX option requires BCAST mode to be enabled");
    }
    if now.on && now.broadcast != asked.broadcast {
        return refuse(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        );
    }
    if asked.broadcast && (asked.opt_in || asked.opt_out) {
        return refuse("ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    if asked.opt_in && asked.opt_out {
        return refuse("ERR You can't specify both OPTIN mode and OPTOUT mode");
    }
    if (asked.opt_in && now.opt_out) || (asked.opt_out && now.opt_in) {
        return refuse(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
             with a different mode.",
        );
    }
    check_prefixes(&asked.prefixes, &now.prefixes)?;
    Ok(asked)
}

/// No prefix of a client may begin another one: it would be told twice.
fn check_prefixes(asked: &[Vec<u8>], now: &[Vec<u8>]) -> Result<(), CommandError> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let refuse = |new: &[u8], which: &str, old: &[u8]| {
        let parts: [&[u8]; 7] = [
            b"ERR Prefix '",
            new,
            b"' overlaps with ",
            which.as_bytes(),
            b" prefix '",
            old,
            b"'. Prefixes for a single client must not overlap.",
        ];
        Err(CommandError::Bytes(parts.concat()))
    };
    for (at, prefix) in asked.iter().enumerate() {
        if let Some(old) = now.iter().find(|old| overlap(prefix, old)) {
            return refuse(prefix, "an existing", old);
        }
        if let Some(other) = asked[at + 1..].iter().find(|other| overlap(prefix, other)) {
            return refuse(prefix, "another provided", other);
        }
    }
    Ok(())
}

/// `CLIENT TRACKINGINFO`
pub fn info(request: &mut Request, batch: &Batch) -> Outcome {
    let tracking = &batch.session.tracking;
    let broken = batch.shared.redirect_broken.load(Ordering::Relaxed);
    let flags: Vec<&str> = [
        (!tracking.on, "off"),
        (tracking.on, "on"),
        (tracking.broadcast, "bcast"),
        (tracking.opt_in, "optin"),
        (tracking.opt_in && tracking.caching, "caching-yes"),
        (tracking.opt_out, "optout"),
        (tracking.opt_out && tracking.caching, "caching-no"),
        (tracking.no_loop, "noloop"),
        (broken, "broken_redirect"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let reply = &mut request.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(if tracking.on { tracking.redirect as i64 } else { -1 });
    reply.bulk(b"prefixes");
    reply.array(tracking.prefixes.len());
    tracking.prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
