//! What commands cost, by slot: CLUSTER SLOT-STATS. Nothing is counted, and nothing allocated, unless
//! `cluster-slot-stats-enabled` says so.
//!
//! A command counts for the slot of its first key. Its request counts when it has run, or is queued by MULTI, or is
//! refused for another reason than where its keys are; its reply counts when it has run. Inside EXEC the reply so far
//! counts with every command and again at the end, and the replies that scripts' commands get count beside that of the
//! script: that is how the reference server counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use skuld::commands::Command;
use skuld::commands::keys::{KeyList, keys_of};
use skuld::slot::{SLOTS, Slot, slot_of};

use crate::server::Server;

/// MULTI as a client sends it: counted with its EXEC.
pub const MULTI_BYTES: u64 = 15;
/// What MULTI and EXEC around commands add to the stream.
const WRAPPER_BYTES: u64 = MULTI_BYTES + 14;

/// The figures of one slot.
#[derive(Debug, Default)]
struct Figures {
    nanos: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// The figures of one slot, as they are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub cpu_usec: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// The figures of all slots.
#[derive(Debug, Default)]
pub struct SlotStats(OnceLock<Box<[Figures]>>);

impl SlotStats {
    fn of(&self, slot: Slot) -> &Figures {
        &self.0.get_or_init(|| (0..SLOTS).map(|_| Figures::default()).collect())[slot.index()]
    }

    /// A command has run for so long.
    pub fn add_time(&self, slot: Slot, nanos: u64) {
        self.of(slot).nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// So many bytes came for the slot.
    pub fn add_in(&self, slot: Slot, bytes: u64) {
        self.of(slot).bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were sent on behalf of the slot.
    pub fn add_out(&self, slot: Slot, bytes: u64) {
        self.of(slot).bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The figures of now.
    pub fn shown(&self, slot: Slot) -> Shown {
        let Some(all) = self.0.get() else { return Shown::default() };
        let figures = &all[slot.index()];
        Shown {
            cpu_usec: figures.nanos.load(Ordering::Relaxed) / 1000,
            bytes_in: figures.bytes_in.load(Ordering::Relaxed),
            bytes_out: figures.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// The slot has another owner: what was counted is of no interest any more.
    pub fn reset_slot(&self, slot: Slot) {
        let Some(all) = self.0.get() else { return };
        let Figures { nanos, bytes_in, bytes_out } = &all[slot.index()];
        [nanos, bytes_in, bytes_out].iter().for_each(|figure| figure.store(0, Ordering::Relaxed));
    }

    /// CONFIG RESETSTAT
    pub fn reset(&self) {
        (0..SLOTS as u16).for_each(|slot| self.reset_slot(Slot(slot)));
    }
}

/// The slot of a command's first key, or of its first channel.
pub fn slot_of_words(command: &Command, words: &[&[u8]]) -> Option<Slot> {
    if command.keys.is_empty() {
        return None;
    }
    let mut keys = KeyList::new();
    // What cannot be told is refused by the command itself.
    let _ = keys_of(command, words, &mut keys);
    keys.first().map(|key| slot_of(words[key.position as usize]))
}

/// Counts what a command put into the stream, once for every replica. `commands` beyond one are sent in MULTI and EXEC.
pub fn add_replicated(server: &Server, stats: &SlotStats, slot: Slot, commands: usize, bytes: usize) {
    let replicas = u64::from(server.replication.followers.load(Ordering::Relaxed));
    if commands > 0 && replicas > 0 {
        let wrapper = if commands > 1 { WRAPPER_BYTES } else { 0 };
        stats.add_out(slot, (bytes as u64 + wrapper) * replicas);
    }
}

/// Counts a message that subscribers of a shard channel got.
pub fn add_message(server: &Server, channel: &[u8], message: &[u8], receivers: usize) {
    if let Some(cluster) = server.cluster.as_ref().filter(|_| receivers > 0)
        && server.config.load().cluster_slot_stats_enabled
    {
        let words = [b"smessage".as_slice(), channel, message];
        cluster
            .slot_stats
            .add_out(slot_of(channel), array_bytes(words.iter().map(|w| w.len())) * receivers as u64);
    }
}

/// Bytes of an array of bulk strings of these lengths.
pub fn array_bytes(lengths: impl ExactSizeIterator<Item = usize>) -> u64 {
    let digits = |n: usize| u64::from(n.checked_ilog10().unwrap_or(0)) + 1;
    let head = 3 + digits(lengths.len());
    head + lengths.map(|length| 5 + digits(length) + length as u64).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_long_as_they_were_sent() {
        assert_eq!(array_bytes([3, 3, 5].into_iter()), 33);
        assert_eq!(array_bytes([3, 3, 40_000].into_iter()), 40_032);
        assert_eq!(array_bytes([5, 0].into_iter()), b"*2\r\n$5\r\nhello\r\n$0\r\n\r\n".len() as u64);
        assert_eq!(array_bytes([5].into_iter()), MULTI_BYTES);
    }

    #[test]
    fn figures_end_with_the_ownership() {
        let stats = SlotStats::default();
        assert_eq!(stats.shown(Slot(7)), Shown::default());
        stats.add_time(Slot(7), 1999);
        stats.add_in(Slot(7), 5);
        stats.add_out(Slot(8), 6);
        assert_eq!(stats.shown(Slot(7)), Shown { cpu_usec: 1, bytes_in: 5, bytes_out: 0 });
        stats.reset_slot(Slot(7));
        assert_eq!(stats.shown(Slot(7)), Shown::default());
        stats.reset();
        assert_eq!(stats.shown(Slot(8)), Shown::default());
    }
}
