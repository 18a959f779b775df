//! Unions, intersections and differences: ZUNION, ZINTER, ZDIFF, ZINTERCARD, and the forms that store. The sources may
//! be sorted sets or sets, whose members count as having score 1.

use super::{Form, limits, store};
use crate::commands::argument_values::integer_in;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::entry::Ref;
use crate::keyspace::{Entry, Type, Value, ValueRef};
use crate::types::number::parse_f64;
use crate::types::set::Set;
use crate::types::zset::{ZSet, ZSetLimits};
use crate::types::{Item, ItemBuffer};
use std::ops::ControlFlow;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

impl Operation {
    /// The event of storing the result.
    fn event(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Intersection => "zinterstore",
            Operation::Difference => "zdiffstore",
        }
    }
}

/// How the scores of one member in several sources become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"sum" => Some(Aggregate::Sum),
            b"min" => Some(Aggregate::Min),
            b"max" => Some(Aggregate::Max),
            _ => None,
        }
    }

    /// The sum of opposite infinities counts as 0. A `score` that is no number never replaces one.
    fn join(self, so_far: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(so_far + score),
            Aggregate::Min if score < so_far => score,
            Aggregate::Max if score > so_far => score,
            Aggregate::Min | Aggregate::Max => so_far,
        }
    }
}

/// Zero times infinity counts as 0.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A value that takes part.
enum Source<'a> {
    Sorted(Ref<'a, ZSet>),
    Plain(Ref<'a, Set>),
    Missing,
}

impl<'a> Source<'a> {
    fn of(entry: Option<&'a Entry>) -> Self {
        match entry.map(Entry::value) {
            Some(ValueRef::ZSet(zset)) => Source::Sorted(zset),
            Some(ValueRef::Set(set)) => Source::Plain(set),
            _ => Source::Missing,
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::Sorted(zset) => zset.len(),
            Source::Plain(set) => set.len(),
            Source::Missing => 0,
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Sorted(zset) => zset.score(member),
            Source::Plain(set) => set.contains(member).then_some(1.0),
            Source::Missing => None,
        }
    }

    fn visit(&self, mut f: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let mut call = |member: Item<'_>, score| f(member.text(&mut ItemBuffer::new()), score);
        match self {
            Source::Sorted(zset) => zset.visit(0..zset.len(), false, call),
            Source::Plain(set) => set.visit(|member| call(member, 1.0)),
            Source::Missing => {}
        }
    }
}

/// The options behind the keys.
struct Options {
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Of ZINTERCARD; 0: none.
    limit: u64,
}

/// What the client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The result itself.
    Replied,
    /// The number of members stored.
    Stored,
    /// The number of members there would be.
    Counted,
}

impl Options {
    fn parse(
        mut words: &[&[u8]],
        keys: usize,
        operation: Operation,
        wanted: Wanted,
    ) -> Result<Self, CommandError> {
        let mut options =
            Self { weights: vec![1.0; keys], aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let weighted = operation != Operation::Difference && wanted != Wanted::Counted;
        while let [word, rest @ ..] = words {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if weighted && rest.len() >= keys && is("weights") {
                for (weight, word) in options.weights.iter_mut().zip(rest) {
                    *weight =
                        parse_f64(word).ok_or(CommandError::fixed("ERR weight value is not a float"))?;
                }
                words = &rest[keys..];
            } else if weighted && !rest.is_empty() && is("aggregate") {
                options.aggregate = Aggregate::parse(rest[0]).ok_or(CommandError::Syntax)?;
                words = &rest[1..];
            } else if wanted == Wanted::Replied && is("withscores") {
                options.with_scores = true;
                words = rest;
            } else if wanted == Wanted::Counted && !rest.is_empty() && is("limit") {
                let limit = integer_in(rest[0], 0, i64::MAX);
                options.limit = limit.ok_or(CommandError::fixed("ERR LIMIT can't be negative"))? as u64;
                words = &rest[1..];
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// `ZUNION numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...] [WITHSCORES]`
pub fn zunion(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Union, Wanted::Replied)
}

/// `ZINTER numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...] [WITHSCORES]`
pub fn zinter(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Intersection, Wanted::Replied)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`
pub fn zdiff(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Difference, Wanted::Replied)
}

/// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...]`
pub fn zunionstore(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Union, Wanted::Stored)
}

/// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...]`
pub fn zinterstore(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Intersection, Wanted::Stored)
}

/// `ZDIFFSTORE destination numkeys key [key ...]`
pub fn zdiffstore(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Difference, Wanted::Stored)
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
pub fn zintercard(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Operation::Intersection, Wanted::Counted)
}

fn run(ctx: &mut Context<'_>, operation: Operation, wanted: Wanted) -> Outcome {
    let at = if wanted == Wanted::Stored { 2 } else { 1 };
    let count = ctx.integer(at)?;
    if count < 1 {
        let name = ctx.spec.name;
        return Err(CommandError::text(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let words = &ctx.args[at + 1..];
    let (keys, words) = usize::try_from(count)
        .ok()
        .and_then(|count| words.split_at_checked(count))
        .ok_or(CommandError::Syntax)?;
    let mut present = Vec::with_capacity(keys.len());
    for key in keys {
        let kind = ctx.db.read(key).map(Entry::kind);
        if kind.is_some_and(|kind| kind != Type::ZSet && kind != Type::Set) {
            return Err(CommandError::WrongType);
        }
        present.push(kind.is_some());
    }
    let options = Options::parse(words, keys.len(), operation, wanted)?;
    let db = &ctx.db;
    let found = keys.iter().zip(present).map(|(key, is)| Source::of(db.peek(db.db, key).filter(|_| is)));
    let mut sources: Vec<(Source<'_>, f64)> = found.zip(options.weights.iter().copied()).collect();
    if operation != Operation::Difference {
        // From the smallest on: fewest searches, and the order in which scores are added up.
        sources.sort_by_key(|(source, _)| source.len());
    }
    if wanted == Wanted::Counted {
        let count = intersection_count(&sources, options.limit);
        ctx.reply.integer(count as i64);
        return Ok(());
    }
    let limits = limits(ctx.config);
    // Collected in the large form, and stored in the small one if it fits.
    let mut result = ZSet::for_members(usize::MAX, 0, &limits);
    match operation {
        Operation::Union => union(&sources, options.aggregate, &mut result, &limits),
        Operation::Intersection => intersection(&sources, options.aggregate, &mut result, &limits),
        Operation::Difference => difference(&sources, &mut result, &limits),
    }
    drop(sources);
    if wanted == Wanted::Stored {
        let count = result.len();
        result.convert_to_listpack_if_small(&limits);
        store(ctx, ctx.arg(1), result, operation.event(), 1);
        ctx.reply.integer(count as i64);
    } else {
        let form = Form::with_scores(ctx.reply, options.with_scores);
        form.ranks(ctx.reply, &result, 0..result.len(), false);
        ctx.db.discard(Value::ZSet(result));
    }
    Ok(())
}

fn union(sources: &[(Source<'_>, f64)], aggregate: Aggregate, result: &mut ZSet, limits: &ZSetLimits) {
    for (source, weight) in sources {
        source.visit(|member, score| {
            let score = number_or_zero(weight * score);
            result.update(member, limits, |so_far| {
                Some(so_far.map_or(score, |so_far| aggregate.join(so_far, score)))
            });
            ControlFlow::Continue(())
        });
    }
}

fn intersection(sources: &[(Source<'_>, f64)], aggregate: Aggregate, result: &mut ZSet, limits: &ZSetLimits) {
    let [(smallest, weight), others @ ..] = sources else { return };
    smallest.visit(|member, score| {
        let joined = others.iter().try_fold(number_or_zero(weight * score), |so_far, (other, weight)| {
            other.score(member).map(|score| aggregate.join(so_far, score * weight))
        });
        if let Some(score) = joined {
            result.set(member, score, limits);
        }
        ControlFlow::Continue(())
    });
}

fn intersection_count(sources: &[(Source<'_>, f64)], limit: u64) -> u64 {
    let [(smallest, _), others @ ..] = sources else { return 0 };
    let mut count = 0;
    smallest.visit(|member, _| {
        count += u64::from(others.iter().all(|(other, _)| other.score(member).is_some()));
        if limit > 0 && count >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    count
}

fn difference(sources: &[(Source<'_>, f64)], result: &mut ZSet, limits: &ZSetLimits) {
    let [(first, _), others @ ..] = sources else { return };
    first.visit(|member, score| {
        if !others.iter().any(|(other, _)| other.score(member).is_some()) {
            result.set(member, score, limits);
        }
        ControlFlow::Continue(())
    });
}
