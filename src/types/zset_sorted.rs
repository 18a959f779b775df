//! The large form of a sorted set: a table finds members, a ranked tree keeps them in order, and both share one record
//! per member.
//!
//! Invariant: the tree holds exactly one alias for each record of the table, with the record's score. So whatever the
//! tree gives out is alive as long as the table is not changed.

use super::extrapolated;
use super::ranktree::RankTree;
use super::record::{Scored, ScoredAlias};
use crate::hash::hash;
use crate::keyspace::table::Table;
use std::cmp::Ordering;
use std::ops::Range;

/// Scores are repeated next to the aliases, so that searching by score touches no record.
#[derive(Clone, Copy)]
struct Place {
    score: f64,
    record: ScoredAlias,
}

impl Place {
    /// The member, for as long as the set that holds this place is borrowed.
    #[inline]
    fn member<'a>(self) -> &'a [u8] {
        // SAFETY: by the module's invariant the record is in the table; no function of this module lets the slice
        // outlive its borrow of the set, or uses it after removing the record.
        unsafe { self.record.member() }
    }

    fn cmp(self, score: f64, member: &[u8]) -> Ordering {
        // Scores are never NaN.
        match self.score.partial_cmp(&score) {
            Some(Ordering::Equal) | None => self.member().cmp(member),
            Some(order) => order,
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Sorted {
    members: Table<Scored>,
    order: RankTree<Place>,
}

impl Sorted {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.find(hash(member), member).map(Scored::score)
    }

    fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.order.partition_point(|place| place.cmp(score, member) == Ordering::Less)
    }

    /// Rank from the lowest, and score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.rank_of(score, member), score))
    }

    /// Sets a member's score and returns the one it had.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let mut had = None;
        self.update(member, |old| {
            had = old;
            Some(score)
        });
        had
    }

    /// Gives `decide` the score a member has, if it is there, and sets the one it answers, if any.
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let hash = hash(member);
        let Some(record) = self.members.find_mut(hash, member) else {
            let Some(score) = decide(None) else { return };
            let record = Scored::new(member, score);
            let place = Place { score, record: record.alias() };
            self.members.insert_new(hash, record);
            self.order.insert(place, |other| other.cmp(score, member));
            return;
        };
        let old = record.score();
        let Some(score) = decide(Some(old)) else { return };
        if old == score && old.is_sign_negative() == score.is_sign_negative() {
            return;
        }
        record.set_score(score);
        let place = Place { score, record: record.alias() };
        let rank = self.rank_of(old, member);
        if self.stays_at(rank, score, member) {
            self.order.replace_at(rank, place);
        } else {
            self.order.remove_at(rank);
            self.order.insert(place, |other| other.cmp(score, member));
        }
    }

    /// Whether the item at `rank` would be there with the new score too. Its neighbours decide that.
    fn stays_at(&self, rank: usize, score: f64, member: &[u8]) -> bool {
        let ordered = |rank: usize, want: Ordering| {
            self.order.get(rank).is_none_or(|place| place.cmp(score, member) == want)
        };
        ordered(rank + 1, Ordering::Greater) && (rank == 0 || ordered(rank - 1, Ordering::Less))
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (rank, score) = self.rank(member)?;
        self.order.remove_at(rank);
        self.members.remove(hash(member), member);
        Some(score)
    }

    /// Removes the member at `rank` and gives it to `f`.
    pub fn remove_at<R>(&mut self, rank: usize, f: impl FnOnce(&[u8], f64) -> R) -> Option<R> {
        let place = self.order.remove_at(rank)?;
        let record = self.members.remove(hash(place.member()), place.member())?;
        Some(f(record.member(), record.score()))
    }

    /// The number of members whose score satisfies `below`, which must hold for the lowest ones only.
    pub fn count_scores(&self, mut below: impl FnMut(f64) -> bool) -> usize {
        self.order.partition_point(|place| below(place.score))
    }

    /// The number of members that satisfy `below`, which must hold for the first ones only.
    pub fn count_members(&self, mut below: impl FnMut(&[u8]) -> bool) -> usize {
        self.order.partition_point(|place| below(place.member()))
    }

    /// Members and scores of a range of ranks, ascending.
    pub fn iter(&self, ranks: Range<usize>) -> impl Iterator<Item = (&[u8], f64)> {
        self.order.iter_from(ranks.start).take(ranks.len()).map(|place| (place.member(), place.score))
    }

    /// Members and scores of a range of ranks, descending.
    pub fn iter_back(&self, ranks: Range<usize>) -> impl Iterator<Item = (&[u8], f64)> {
        let start = ranks.end.wrapping_sub(1);
        self.order.iter_back_from(start).take(ranks.len()).map(|place| (place.member(), place.score))
    }

    /// The table, for scans and random picks.
    pub fn members(&self) -> &Table<Scored> {
        &self.members
    }

    /// Drops up to `budget` members; true when nothing is left. The order is dropped first.
    pub fn drop_some(&mut self, budget: usize) -> bool {
        self.order = RankTree::new();
        !self.members.take_some(budget, &mut drop)
    }

    pub fn heap_bytes_sampled(&self, samples: usize) -> usize {
        self.members.heap_bytes()
            + self.order.heap_bytes()
            + extrapolated(self.members.iter().map(Scored::heap_bytes), self.len(), samples)
    }
}
