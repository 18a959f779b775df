//! Ranges of slots as the migration commands carry them: in the order given, never merged.

use std::fmt;

use super::ids::Id40;
use crate::resp::decode::parse_integer;
use crate::slot::{SLOTS, Slot};

/// Slots `start..=end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRange {
    pub start: u16,
    pub end: u16,
}

impl SlotRange {
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    pub fn contains(self, slot: Slot) -> bool {
        (self.start..=self.end).contains(&slot.0)
    }

    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (self.start..=self.end).map(Slot)
    }
}

/// Ranges that do not overlap, in the order of the command. Displays as `0-5 7-7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct SlotRanges(pub Vec<SlotRange>);

impl SlotRanges {
    pub fn contains(&self, slot: Slot) -> bool {
        self.0.iter().any(|range| range.contains(slot))
    }

    /// Whether any slot is in both, whichever ranges it is in.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.overlaps(*b)))
    }

    /// All slots, in the order of the ranges.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().flat_map(|range| range.slots())
    }

    /// How many slots.
    pub fn len(&self) -> usize {
        self.0.iter().map(|range| usize::from(range.end - range.start) + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SlotRanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(formatter, "{gap}{}-{}", range.start, range.end)?;
        }
        Ok(())
    }
}

/// What validating ranges needs to know of the cluster.
pub trait Owners {
    /// The node that serves the slot, in this node's view.
    fn owner(&self, slot: Slot) -> Option<Id40>;
}

/// Why ranges are refused; the texts are Valkey's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("Invalid or out of range slot")]
    InvalidSlot,
    #[error("No end slot for final slot range")]
    NoEnd,
    #[error("Start slot number {0} is greater than end slot number {1}.")]
    Reversed(u16, u16),
    #[error("Slot {0} has no node served.")]
    Unowned(u16),
    #[error("Requested slots span multiple shards")]
    SeveralOwners,
    #[error("Slot range {}-{} overlaps with previous range {}-{}.", .0.start, .0.end, .1.start, .1.end)]
    Overlap(SlotRange, SlotRange),
    #[error("No slot ranges specified")]
    Nothing,
}

/// Ranges, who owns all of them, and how many arguments they took.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedRanges {
    pub ranges: SlotRanges,
    pub owner: Id40,
    pub used: usize,
}

fn slot_number(word: &[u8]) -> Result<u16, RangeError> {
    match parse_integer(word) {
        Some(n) if (0..SLOTS as i64).contains(&n) => Ok(n as u16),
        _ => Err(RangeError::InvalidSlot),
    }
}

/// Reads pairs of slots up to the first word in start position that is no integer, testing pair by pair (spec
/// slot-migration.md, 1.1 rows 6a to 6h).
pub fn parse_ranges(args: &[&[u8]], owners: &dyn Owners) -> Result<ParsedRanges, RangeError> {
    let mut ranges: Vec<SlotRange> = Vec::new();
    let mut common: Option<Id40> = None;
    let mut used = 0;
    while let Some(word) = args.get(used) {
        if parse_integer(word).is_none() {
            break;
        }
        let start = slot_number(word)?;
        let end = slot_number(args.get(used + 1).ok_or(RangeError::NoEnd)?)?;
        if start > end {
            return Err(RangeError::Reversed(start, end));
        }
        let range = SlotRange { start, end };
        for slot in range.slots() {
            let owner = owners.owner(slot).ok_or(RangeError::Unowned(slot.0))?;
            if *common.get_or_insert(owner) != owner {
                return Err(RangeError::SeveralOwners);
            }
        }
        if let Some(earlier) = ranges.iter().find(|earlier| earlier.overlaps(range)) {
            return Err(RangeError::Overlap(range, *earlier));
        }
        ranges.push(range);
        used += 2;
    }
    let owner = common.ok_or(RangeError::Nothing)?;
    Ok(ParsedRanges { ranges: SlotRanges(ranges), owner, used })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_between_all_pairs() {
        let ranges = |list: &[(u16, u16)]| {
            SlotRanges(list.iter().map(|&(start, end)| SlotRange { start, end }).collect())
        };
        let a = ranges(&[(0, 5), (10, 12)]);
        assert!(a.overlaps(&ranges(&[(100, 100), (12, 13)])));
        assert!(!a.overlaps(&ranges(&[(6, 9), (13, 13)])));
        assert_eq!(ranges(&[(7, 7), (0, 5)]).to_string(), "7-7 0-5");
        assert_eq!(a.len(), 9);
        assert_eq!(a.slots().count(), 9);
    }
}
