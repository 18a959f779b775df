//! CLUSTER SLOT-STATS, and the counting of keys by slot.

use std::sync::Arc;

use skuld::commands::cluster::slot_number;
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;
use skuld::slot::{SLOTS, Slot};

use super::{Outcome, Request};
use crate::envelope::tell;
use crate::gossip::ClusterShared;
use crate::shard::CountSlotKeys;

/// Keys of each of these slots, in all databases.
pub async fn key_counts(request: &Request, slots: Vec<Slot>) -> Vec<(Slot, u64)> {
    let slots: Arc<[Slot]> = slots.into();
    let mut waiting = Vec::new();
    for shard in request.server.shards() {
        let (reply, answer) = tokio::sync::oneshot::channel();
        tell(shard, CountSlotKeys { slots: slots.clone(), reply });
        waiting.push(answer);
    }
    let mut counts = Vec::with_capacity(slots.len());
    for answer in waiting {
        // A shard ends only with the process.
        counts.extend(answer.await.unwrap_or_default());
    }
    counts.sort_by_key(|(slot, _)| *slot);
    counts
}

/// `SLOT-STATS SLOTSRANGE start end`, `SLOT-STATS ORDERBY metric [LIMIT n] [ASC | DESC]`
pub async fn run(request: &mut Request, cluster: &Arc<ClusterShared>) -> Outcome {
    const INVALID_SLOT: CommandError = CommandError::fixed("ERR Invalid or out of range slot");
    let topology = cluster.topology();
    let args = &request.args;
    if args.len() == 5 && request.is_word(2, "slotsrange") {
        let slot = |word: &[u8]| parse_integer(word).and_then(slot_number).ok_or(INVALID_SLOT);
        let (start, end) = (slot(&args[3])?, slot(&args[4])?);
        if start > end {
            return Err(CommandError::text(format!(
                "ERR Start slot number {} is greater than end slot number {}",
                start.0, end.0
            )));
        }
        let slots = (start.0..=end.0).map(Slot).filter(|slot| topology.is_of_my_shard(*slot)).collect();
        let counts = key_counts(request, slots).await;
        return write(request, &counts);
    }
    if !request.is_word(2, "orderby") {
        return Err(CommandError::quoting(
            "ERR unknown subcommand or wrong number of arguments for '",
            &args[1],
            "'. Try CLUSTER HELP.",
        ));
    }
    if !request.is_word(3, "key-count") {
        return Err(CommandError::fixed("ERR Unrecognized sort metric for ORDERBY."));
    }
    let (mut limit, mut ascending) = (None, None);
    let mut at = 4;
    while at < args.len() {
        let repeated = CommandError::fixed("ERR Multiple filters of the same type are disallowed.");
        if request.is_word(at, "limit") && at + 1 < args.len() {
            if limit.is_some() {
                return Err(repeated);
            }
            const RANGE: CommandError =
                CommandError::fixed("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
            let number = parse_integer(&args[at + 1]).ok_or(RANGE)?;
            if !(1..=SLOTS as i64).contains(&number) {
                return Err(RANGE);
            }
            limit = Some(number as usize);
            at += 2;
        } else if request.is_word(at, "asc") || request.is_word(at, "desc") {
            if ascending.is_some() {
                return Err(repeated);
            }
            ascending = Some(request.is_word(at, "asc"));
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let slots = (0..SLOTS as u16).map(Slot).filter(|slot| topology.is_of_my_shard(*slot)).collect();
    let mut counts = key_counts(request, slots).await;
    if ascending == Some(true) {
        counts.sort_by_key(|(slot, keys)| (*keys, *slot));
    } else {
        counts.sort_by_key(|(slot, keys)| (std::cmp::Reverse(*keys), *slot));
    }
    counts.truncate(limit.unwrap_or(SLOTS));
    write(request, &counts)
}

fn write(request: &mut Request, counts: &[(Slot, u64)]) -> Outcome {
    let reply = &mut request.reply;
    reply.array(counts.len());
    for (slot, keys) in counts {
        reply.array(2);
        reply.integer(i64::from(slot.0));
        reply.map(1);
        reply.bulk(b"key-count");
        reply.integer(*keys as i64);
    }
    Ok(())
}
