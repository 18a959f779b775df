//! Sorted sets: a listpack of member, score, member, score ... in order while small, else [`Sorted`]. Everything is
//! addressed by rank; score and lexical ranges are turned into ranges of ranks first.

use super::item::Item;
use super::listpack::{Listpack, Pos};
use super::number::{F64Buffer, f64_as_i64, parse_f64};
use super::zset_sorted::Sorted;
use super::{Collection, Payload};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

/// The directives that choose a sorted set's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZSetLimits {
    /// `zset-max-listpack-entries`
    pub listpack_entries_max: usize,
    /// `zset-max-listpack-value`, bytes
    pub listpack_value_max: usize,
}

impl Default for ZSetLimits {
    fn default() -> Self {
        ZSetLimits { listpack_entries_max: 128, listpack_value_max: 64 }
    }
}

/// A range of scores, as in ZRANGEBYSCORE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    pub min_exclusive: bool,
    pub max: f64,
    pub max_exclusive: bool,
}

impl ScoreRange {
    /// Whether a score is too low.
    pub fn is_below(&self, score: f64) -> bool {
        if self.min_exclusive { score <= self.min } else { score < self.min }
    }

    /// Whether a score is too high.
    pub fn is_above(&self, score: f64) -> bool {
        if self.max_exclusive { score >= self.max } else { score > self.max }
    }

    fn is_void(&self) -> bool {
        self.min > self.max || (self.min == self.max && (self.min_exclusive || self.max_exclusive))
    }
}

/// One end of a lexical range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`
    Lowest,
    /// `[text`
    Inclusive(&'a [u8]),
    /// `(text`
    Exclusive(&'a [u8]),
    /// `+`
    Highest,
}

/// A range of members, as in ZRANGEBYLEX. Meant for sets whose scores are all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member is too low.
    pub fn is_below(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => false,
            LexBound::Inclusive(min) => member < min,
            LexBound::Exclusive(min) => member <= min,
            LexBound::Highest => true,
        }
    }

    /// Whether a member is too high.
    pub fn is_above(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => true,
            LexBound::Inclusive(max) => member > max,
            LexBound::Exclusive(max) => member >= max,
            LexBound::Highest => false,
        }
    }

    fn is_void(&self) -> bool {
        use LexBound::{Exclusive, Highest, Inclusive, Lowest};
        match (self.min, self.max) {
            (Highest, _) | (_, Lowest) => true,
            (Lowest, _) | (_, Highest) => false,
            (Inclusive(min), Inclusive(max)) => min > max,
            (Inclusive(min) | Exclusive(min), Inclusive(max) | Exclusive(max)) => min >= max,
        }
    }
}

/// The value of a sorted-set key. Ranks count from the lowest score, starting at 0. Scores are never NaN.
pub enum ZSet {
    Listpack(Listpack),
    Sorted(Box<Sorted>),
}

impl Default for ZSet {
    fn default() -> Self {
        Self::new()
    }
}

/// The score an entry holds. Text that is no number, which only a foreign listpack can hold, counts as 0.
#[inline]
fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(v) => v as f64,
        Item::Str(s) => parse_f64(s).unwrap_or(0.0),
    }
}

/// Calls `f` with what a score is stored as: an integer if it is one (which loses the sign of zero), else text.
fn with_stored<R>(score: f64, f: impl FnOnce(Item<'_>) -> R) -> R {
    match f64_as_i64(score) {
        Some(v) => f(Item::Int(v)),
        None => f(Item::Str(F64Buffer::new().format(score))),
    }
}

fn compare(item: Item<'_>, text: &[u8]) -> Ordering {
    item.text(&mut itoa::Buffer::new()).cmp(text)
}

fn insert_into(lp: &mut Listpack, member: &[u8], score: f64) {
    let mut at = lp.first();
    while let Some(pos) = at {
        let Some(score_at) = lp.next(pos) else { break };
        let other = score_of(lp.get(score_at));
        if other > score || (other == score && compare(lp.get(pos), member) == Ordering::Greater) {
            with_stored(score, |stored| lp.insert_all_before(pos, [Item::parse(member), stored].into_iter()));
            return;
        }
        at = lp.next(score_at);
    }
    with_stored(score, |stored| lp.push_all([Item::parse(member), stored].into_iter()));
}

/// Finds a member: position, rank and score.
fn find_in(lp: &Listpack, member: &[u8]) -> Option<(Pos, f64)> {
    let at = lp.find(lp.first(), member, 1)?;
    Some((at, score_of(lp.get(lp.next(at)?))))
}

impl ZSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        ZSet::Listpack(Listpack::new())
    }

    /// Takes over a listpack from a dump; `None` unless it holds pairs of distinct members and numbers.
    pub fn from_listpack(lp: Listpack, limits: &ZSetLimits) -> Option<Self> {
        let is_number = |item| match item {
            Item::Int(_) => true,
            Item::Str(s) => parse_f64(s).is_some(),
        };
        let sound =
            lp.len().is_multiple_of(2) && lp.iter().skip(1).step_by(2).all(is_number) && lp.is_distinct(2);
        if !sound {
            return None;
        }
        let mut set = ZSet::Listpack(lp);
        set.prepare_add(set.len(), 0, limits);
        Some(set)
    }

    /// An empty sorted set in the encoding for `count` members of at most `longest` bytes.
    pub fn for_members(count: usize, longest: usize, limits: &ZSetLimits) -> Self {
        if count <= limits.listpack_entries_max && longest <= limits.listpack_value_max {
            Self::new()
        } else {
            ZSet::Sorted(Box::default())
        }
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            ZSet::Listpack(_) => "listpack",
            ZSet::Sorted(_) => "skiplist",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            ZSet::Listpack(lp) => lp.len() / 2,
            ZSet::Sorted(sorted) => sorted.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes ready for a command that may add `count` members of at most `longest` bytes. As in Valkey this goes over to
    /// the large form even if the members are there already, or are left out in the end.
    pub fn prepare_add(&mut self, count: usize, longest: usize, limits: &ZSetLimits) {
        if count > limits.listpack_entries_max || longest > limits.listpack_value_max {
            self.convert_to_sorted();
        }
    }

    /// Goes over to the large form, which takes any member.
    pub fn convert_to_sorted(&mut self) {
        if let ZSet::Listpack(_) = self {
            let mut sorted = Box::<Sorted>::default();
            self.visit(0..self.len(), false, |member, score| {
                sorted.set(member.text(&mut itoa::Buffer::new()), score);
                ControlFlow::Continue(())
            });
            *self = ZSet::Sorted(sorted);
        }
    }

    /// Goes back to a listpack if the limits allow it: for results that were collected in the large form.
    pub fn convert_to_listpack_if_small(&mut self, limits: &ZSetLimits) {
        let ZSet::Sorted(sorted) = self else { return };
        let max = limits.listpack_value_max;
        if sorted.len() > limits.listpack_entries_max
            || sorted.members().iter().any(|m| m.member().len() > max)
        {
            return;
        }
        let mut lp = Listpack::new();
        for (member, score) in sorted.iter(0..sorted.len()) {
            lp.append(member);
            with_stored(score, |stored| lp.push(stored));
        }
        *self = ZSet::Listpack(lp);
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            ZSet::Listpack(lp) => find_in(lp, member).map(|(_, score)| score),
            ZSet::Sorted(sorted) => sorted.score(member),
        }
    }

    /// Rank from the lowest, and score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZSet::Listpack(lp) => {
                let (wanted, score) = find_in(lp, member)?;
                let (mut at, mut rank) = (lp.first()?, 0);
                while at != wanted {
                    at = lp.next(lp.next(at)?)?;
                    rank += 1;
                }
                Some((rank, score))
            }
            ZSet::Sorted(sorted) => sorted.rank(member),
        }
    }

    /// Sets a member's score and returns the one it had. `score` must not be NaN.
    pub fn set(&mut self, member: &[u8], score: f64, limits: &ZSetLimits) -> Option<f64> {
        let mut had = None;
        self.update(member, limits, |old| {
            had = old;
            Some(score)
        });
        had
    }

    /// Gives `decide` the score a member has, if it is there, and sets the one it answers, if any, which must not be
    /// NaN.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: &ZSetLimits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        let lp = match self {
            ZSet::Listpack(lp) => lp,
            ZSet::Sorted(sorted) => return sorted.update(member, decide),
        };
        if let Some((at, old)) = find_in(lp, member) {
            if let Some(score) = decide(Some(old))
                && old != score
            {
                lp.remove_n(at, 2);
                insert_into(lp, member, score);
            }
            return;
        }
        let Some(score) = decide(None) else { return };
        let fits = lp.len() / 2 < limits.listpack_entries_max
            && member.len() <= limits.listpack_value_max
            && lp.may_grow_by(member.len());
        if fits {
            insert_into(lp, member, score);
            return;
        }
        self.convert_to_sorted();
        if let ZSet::Sorted(sorted) = self {
            sorted.set(member, score);
        }
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            ZSet::Listpack(lp) => {
                let (at, score) = find_in(lp, member)?;
                lp.remove_n(at, 2);
                Some(score)
            }
            ZSet::Sorted(sorted) => sorted.remove(member),
        }
    }

    /// Removes the members of a range of ranks, giving each to `f`, lowest first. To remove a large range in slices,
    /// pass a part of it at a time.
    pub fn remove_ranks(&mut self, ranks: Range<usize>, mut f: impl FnMut(Item<'_>, f64)) {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return;
        }
        match self {
            ZSet::Listpack(_) => {
                self.visit(ranks.clone(), false, |member, score| {
                    f(member, score);
                    ControlFlow::Continue(())
                });
                if let ZSet::Listpack(lp) = self {
                    lp.remove_range(2 * ranks.start as i64, 2 * ranks.len());
                }
            }
            ZSet::Sorted(sorted) => {
                for _ in ranks.clone() {
                    sorted.remove_at(ranks.start, |member, score| f(Item::Str(member), score));
                }
            }
        }
    }

    /// Calls `f` with the members of a range of ranks and their scores, ascending or (`reverse`) descending, until it
    /// breaks. The range must lie within the set.
    pub fn visit(
        &self,
        ranks: Range<usize>,
        reverse: bool,
        mut f: impl FnMut(Item<'_>, f64) -> ControlFlow<()>,
    ) {
        if ranks.is_empty() {
            return;
        }
        match self {
            ZSet::Listpack(lp) => {
                if reverse {
                    let mut at = lp.seek(2 * (ranks.end - 1) as i64);
                    for _ in ranks {
                        let Some((member, score)) = at.and_then(|pos| Some((pos, lp.next(pos)?))) else {
                            return;
                        };
                        if f(lp.get(member), score_of(lp.get(score))).is_break() {
                            return;
                        }
                        at = lp.prev(member).and_then(|pos| lp.prev(pos));
                    }
                    return;
                }
                let Some(first) = lp.seek(2 * ranks.start as i64) else { return };
                let mut items = lp.iter_from(first);
                for _ in ranks {
                    let (Some(member), Some(score)) = (items.next(), items.next()) else { return };
                    if f(member, score_of(score)).is_break() {
                        return;
                    }
                }
            }
            ZSet::Sorted(sorted) => {
                let mut call = |(member, score)| f(Item::Str(member), score);
                _ = if reverse {
                    sorted.iter_back(ranks).try_for_each(call)
                } else {
                    sorted.iter(ranks).try_for_each(&mut call)
                };
            }
        }
    }

    /// The ranks of the members whose score is in the range.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        if range.is_void() {
            return 0..0;
        }
        match self {
            ZSet::Listpack(_) => {
                let (mut start, mut end) = (0, 0);
                self.visit(0..self.len(), false, |_, score| {
                    if range.is_above(score) {
                        return ControlFlow::Break(());
                    }
                    start += usize::from(range.is_below(score));
                    end += 1;
                    ControlFlow::Continue(())
                });
                start..end
            }
            ZSet::Sorted(sorted) => {
                let start = sorted.count_scores(|score| range.is_below(score));
                let end = sorted.count_scores(|score| !range.is_above(score));
                start..end.max(start)
            }
        }
    }

    /// The ranks of the members in a lexical range. Should scores differ, which leaves the result open, small sets
    /// answer as Valkey's do: from the first member not below (or, in `reverse`, the last not above) as far as the
    /// other end allows.
    pub fn ranks_by_lex(&self, range: &LexRange<'_>, reverse: bool) -> Range<usize> {
        if range.is_void() {
            return 0..0;
        }
        match self {
            ZSet::Listpack(lp) => {
                let members: Vec<(bool, bool)> = lp
                    .iter()
                    .step_by(2)
                    .map(|member| {
                        let mut buffer = itoa::Buffer::new();
                        let text = member.text(&mut buffer);
                        (range.is_below(text), range.is_above(text))
                    })
                    .collect();
                lex_ranks(&members, reverse)
            }
            ZSet::Sorted(sorted) => {
                let start = sorted.count_members(|member| range.is_below(member));
                let end = sorted.count_members(|member| !range.is_above(member));
                start..end.max(start)
            }
        }
    }

    /// One step of ZSCAN from `cursor`; a listpack gives all members at once. Returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(Item<'_>, f64)) -> u64 {
        match self {
            ZSet::Listpack(_) => {
                self.visit(0..self.len(), false, |member, score| {
                    f(member, score);
                    ControlFlow::Continue(())
                });
                0
            }
            ZSet::Sorted(sorted) => {
                sorted.members().scan(cursor, &mut |record| f(Item::Str(record.member()), record.score()))
            }
        }
    }

    /// A random member with its score; `rng` gives random words.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<(Item<'_>, f64)> {
        match self {
            ZSet::Listpack(lp) => {
                let index = rng() % (self.len().max(1) as u64);
                let at = lp.seek(2 * index as i64)?;
                Some((lp.get(at), score_of(lp.get(lp.next(at)?))))
            }
            ZSet::Sorted(sorted) => {
                let record = sorted.members().random(rng)?;
                Some((Item::Str(record.member()), record.score()))
            }
        }
    }
}

/// The run of members in range that a walk over (below, above) flags finds from the given end.
fn lex_ranks(members: &[(bool, bool)], reverse: bool) -> Range<usize> {
    // Valkey first looks whether the range can hit at all: the last member not below, the first not above.
    let possible = members.last().is_some_and(|m| !m.0) && members.first().is_some_and(|m| !m.1);
    if !possible {
        return 0..0;
    }
    if reverse {
        let end = members.iter().rposition(|m| !m.1).map_or(0, |last| last + 1);
        let start = members[..end].iter().rposition(|m| m.0).map_or(0, |below| below + 1);
        start..end
    } else {
        let start = members.iter().position(|m| !m.0).unwrap_or(members.len());
        let count = members[start..].iter().position(|m| m.1).unwrap_or(members.len() - start);
        start..start + count
    }
}

impl Clone for ZSet {
    fn clone(&self) -> Self {
        match self {
            ZSet::Listpack(lp) => ZSet::Listpack(lp.clone()),
            ZSet::Sorted(sorted) => {
                let mut copy = Box::<Sorted>::default();
                for (member, score) in sorted.iter(0..sorted.len()) {
                    copy.set(member, score);
                }
                ZSet::Sorted(copy)
            }
        }
    }
}

impl Collection for ZSet {
    fn free_effort(&self) -> usize {
        if let ZSet::Sorted(sorted) = self { sorted.len() } else { 1 }
    }

    fn drop_some(&mut self, budget: usize) -> bool {
        if let ZSet::Sorted(sorted) = self { sorted.drop_some(budget) } else { true }
    }

    fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self {
            ZSet::Listpack(lp) => lp.heap_bytes(),
            ZSet::Sorted(sorted) => size_of::<Sorted>() + sorted.heap_bytes_sampled(samples),
        }
    }
}

impl Payload for ZSet {
    fn into_raw(self) -> (u8, usize) {
        match self {
            ZSet::Listpack(lp) => (0, lp.into_word()),
            ZSet::Sorted(sorted) => (1, Box::into_raw(sorted).expose_provenance()),
        }
    }

    unsafe fn from_raw(encoding: u8, word: usize) -> Self {
        match encoding {
            // SAFETY: the caller promises a pair from `into_raw`, where this tag goes with a listpack's word.
            0 => ZSet::Listpack(unsafe { Listpack::from_word(word) }),
            // SAFETY: and any other with a box of the large form.
            _ => ZSet::Sorted(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) }),
        }
    }
}

#[cfg(test)]
#[path = "zset_tests.rs"]
mod tests;
