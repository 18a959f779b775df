//! ZADD, ZINCRBY, and what GEOADD does with its scores.

use super::{changed, limits, reply_score, zset_of_mut};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::keyspace::{NewValue, Value};
use crate::types::number::parse_f64;
use crate::types::zset::{ZSet, ZSetLimits};
use smallvec::SmallVec;

/// Scores and members to add, in the order given.
pub type Pairs<'a> = SmallVec<[(f64, &'a [u8]); 4]>;

/// The words before the pairs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `NX`: leave members alone that are there.
    pub only_new: bool,
    /// `XX`: add none.
    pub only_existing: bool,
    /// `GT`: only to a greater score.
    pub only_greater: bool,
    /// `LT`: only to a lower one.
    pub only_less: bool,
    /// `CH`: reply with the number of changes and not of additions.
    pub count_changes: bool,
    /// `INCR`: the score is added to the one that is there.
    pub increment: bool,
}

impl Options {
    /// Takes in one word; false if it is none of the options.
    fn take(&mut self, word: &[u8]) -> bool {
        // Most words here are scores, and none of them begins like an option.
        if !word.first().is_some_and(u8::is_ascii_alphabetic) {
            return false;
        }
        let option = match word.to_ascii_lowercase().as_slice() {
            b"nx" => &mut self.only_new,
            b"xx" => &mut self.only_existing,
            b"gt" => &mut self.only_greater,
            b"lt" => &mut self.only_less,
            b"ch" => &mut self.count_changes,
            b"incr" => &mut self.increment,
            _ => return false,
        };
        *option = true;
        true
    }

    fn check(&self) -> Outcome {
        if self.only_new && self.only_existing {
            return Err(CommandError::fixed("ERR XX and NX options at the same time are not compatible"));
        }
        if self.only_new && (self.only_greater || self.only_less) || self.only_greater && self.only_less {
            return Err(CommandError::fixed(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        Ok(())
    }

    /// The score a member gets, given the one it has; `None` if it stays as it is.
    fn decide(&self, old: Option<f64>, score: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.only_existing).then_some(score)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { old + score } else { score };
        if score.is_nan() {
            return Err(CommandError::fixed("ERR resulting score is not a number (NaN)"));
        }
        let refused = self.only_less && score >= old || self.only_greater && score <= old;
        Ok((!refused).then_some(score))
    }
}

/// What became of the members.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added {
    pub added: usize,
    pub updated: usize,
    /// The score the last member was meant to have and has; `None` if an option left the member alone.
    pub score: Option<f64>,
}

impl Added {
    fn add(
        &mut self,
        zset: &mut ZSet,
        (score, member): (f64, &[u8]),
        options: &Options,
        limits: &ZSetLimits,
    ) -> Outcome {
        let mut outcome = Ok(());
        zset.update(member, limits, |old| {
            let score = options.decide(old, score).unwrap_or_else(|error| {
                outcome = Err(error);
                None
            });
            self.score = score;
            match (old, score) {
                (None, Some(_)) => self.added += 1,
                // Also between 0 and -0 nothing changes.
                (Some(old), Some(score)) if old != score => self.updated += 1,
                _ => return None,
            }
            score
        });
        outcome
    }

    /// The integer that ZADD replies with.
    pub fn count(&self, options: &Options) -> usize {
        self.added + if options.count_changes { self.updated } else { 0 }
    }
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]`
pub fn zadd(ctx: &mut Context<'_>) -> Outcome {
    add(ctx, Options::default())
}

/// `ZINCRBY key increment member`: ZADD with INCR, whose other words it takes too.
pub fn zincrby(ctx: &mut Context<'_>) -> Outcome {
    add(ctx, Options { increment: true, ..Options::default() })
}

fn add(ctx: &mut Context<'_>, mut options: Options) -> Outcome {
    let mut words = &ctx.args[2..];
    while let [word, rest @ ..] = words
        && options.take(word)
    {
        words = rest;
    }
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    options.check()?;
    if options.increment && words.len() > 2 {
        return Err(CommandError::fixed("ERR INCR option supports a single increment-element pair"));
    }
    let mut pairs = Pairs::new();
    for pair in words.chunks_exact(2) {
        pairs.push((parse_f64(pair[0]).ok_or(CommandError::NotFloat)?, pair[1]));
    }
    let added = add_members(ctx, ctx.arg(1), &options, &pairs)?;
    if !options.increment {
        ctx.reply.integer(added.count(&options) as i64);
    } else if let Some(score) = added.score {
        reply_score(ctx.reply, score);
    } else {
        ctx.reply.null();
    }
    Ok(())
}

/// Adds members or changes their scores, with all effects. With [`Options::increment`] there must
/// be one only.
pub fn add_members(
    ctx: &mut Context<'_>,
    key: &[u8],
    options: &Options,
    pairs: &[(f64, &[u8])],
) -> Result<Added, CommandError> {
    let limits = limits(ctx.config);
    let longest = pairs.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
    let mut added = Added::default();
    if let Some(entry) = ctx.db.write(key) {
        let mut zset = zset_of_mut(entry)?;
        zset.prepare_add(pairs.len(), longest, &limits);
        for pair in pairs {
            added.add(&mut zset, *pair, options, &limits)?;
        }
    } else if !options.only_existing {
        let mut zset = ZSet::for_members(pairs.len(), longest, &limits);
        for pair in pairs {
            added.add(&mut zset, *pair, options, &limits)?;
        }
        ctx.db.insert(key, NewValue::Owned(Value::ZSet(zset)), None);
    }
    let changes = added.added + added.updated;
    if changes > 0 {
        changed(ctx, if options.increment { "zincr" } else { "zadd" }, key, changes);
    }
    Ok(added)
}
