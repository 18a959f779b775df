//! CLUSTER SLOT-STATS.

use std::sync::Arc;

use skuld::commands::cluster::slot_number;
use skuld::commands::context::CommandError;
use skuld::resp::decode::parse_integer;
use skuld::slot::{SLOTS, Slot};

use super::{Outcome, Request};
use crate::gossip::ClusterShared;
use crate::slot_stats::Shown;

/// What slots are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    KeyCount,
    CpuUsec,
    BytesIn,
    BytesOut,
}

impl Metric {
    /// The metric of that name. All but the number of keys must be counted to be ordered by.
    fn named(word: &[u8], counted: bool) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"key-count" => Some(Self::KeyCount),
            b"cpu-usec" if counted => Some(Self::CpuUsec),
            b"network-bytes-in" if counted => Some(Self::BytesIn),
            b"network-bytes-out" if counted => Some(Self::BytesOut),
            _ => None,
        }
    }

    fn of(self, keys: u64, shown: Shown) -> u64 {
        match self {
            Self::KeyCount => keys,
            Self::CpuUsec => shown.cpu_usec,
            Self::BytesIn => shown.bytes_in,
            Self::BytesOut => shown.bytes_out,
        }
    }
}

/// A slot, its keys, and what was counted for it.
type Line = (Slot, u64, Shown);

/// `SLOT-STATS SLOTSRANGE start end`, `SLOT-STATS ORDERBY metric [LIMIT n] [ASC | DESC]`
pub async fn run(request: &mut Request, cluster: &Arc<ClusterShared>) -> Outcome {
    const INVALID_SLOT: CommandError = CommandError::fixed("ERR Invalid or out of range slot");
    let topology = cluster.topology();
    let counted = request.server.config.load().cluster_slot_stats_enabled;
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
        let lines = lines(request, cluster, slots).await;
        return write(request, &lines, counted);
    }
    if !request.is_word(2, "orderby") {
        return Err(CommandError::quoting(
            "ERR unknown subcommand or wrong number of arguments for '",
            &args[1],
            "'. Try CLUSTER HELP.",
        ));
    }
    let metric = Metric::named(&args[3], counted)
        .ok_or(CommandError::fixed("ERR Unrecognized sort metric for ORDERBY."))?;
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
    let mut lines = lines(request, cluster, slots).await;
    let value = |line: &Line| metric.of(line.1, line.2);
    if ascending == Some(true) {
        lines.sort_by_key(|line| (value(line), line.0));
    } else {
        lines.sort_by_key(|line| (std::cmp::Reverse(value(line)), line.0));
    }
    lines.truncate(limit.unwrap_or(SLOTS));
    write(request, &lines, counted)
}

async fn lines(request: &Request, cluster: &ClusterShared, slots: Vec<Slot>) -> Vec<Line> {
    let counts = request.slot_keys(slots).await;
    counts.into_iter().map(|(slot, keys)| (slot, keys, cluster.slot_stats.shown(slot))).collect()
}

fn write(request: &mut Request, lines: &[Line], counted: bool) -> Outcome {
    let reply = &mut request.reply;
    reply.array(lines.len());
    for (slot, keys, shown) in lines {
        reply.array(2);
        reply.integer(i64::from(slot.0));
        reply.map(if counted { 4 } else { 1 });
        reply.bulk(b"key-count");
        reply.integer(*keys as i64);
        if counted {
            let Shown { cpu_usec, bytes_in, bytes_out } = *shown;
            let figures: [(&[u8], u64); 3] =
                [(b"cpu-usec", cpu_usec), (b"network-bytes-in", bytes_in), (b"network-bytes-out", bytes_out)];
            for (name, value) in figures {
                reply.bulk(name);
                reply.integer(value as i64);
            }
        }
    }
    Ok(())
}
