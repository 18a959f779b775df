//! ZRANGE and its older forms, and ZRANGESTORE.

use super::bounds::{lex_range, score_range};
use super::{Form, limits, store, zset_of};
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::resp::decode::parse_integer;
use crate::types::ItemBuffer;
use crate::types::zset::{LexRange, ScoreRange, ZSet};
use std::ops::{ControlFlow, Range};

/// What the two limits of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

/// The limits, read.
enum Span<'a> {
    /// Both included, negative ones counted from the far end.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// Everything behind the source key.
struct Request<'a> {
    span: Span<'a>,
    direction: Direction,
    offset: i64,
    /// Negative: without limit.
    limit: i64,
    with_scores: bool,
}

/// What the command's name leaves open and its words may say.
#[derive(Clone, Copy)]
struct Rules {
    by: Option<By>,
    direction: Option<Direction>,
    may_have_scores: bool,
}

impl<'a> Request<'a> {
    /// Reads `min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`.
    fn parse(words: &'a [&'a [u8]], rules: Rules) -> Result<Self, CommandError> {
        let Rules { mut by, mut direction, may_have_scores } = rules;
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut options = &words[2..];
        while let [word, rest @ ..] = options {
            options = rest;
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if may_have_scores && is("withscores") {
                with_scores = true;
            } else if let [first, count, rest @ ..] = rest
                && is("limit")
            {
                offset = parse_integer(first).ok_or(CommandError::NotInteger)?;
                limit = parse_integer(count).ok_or(CommandError::NotInteger)?;
                options = rest;
            } else if direction.is_none() && is("rev") {
                direction = Some(Direction::Descending);
            } else if by.is_none() && is("bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is("byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let by = by.unwrap_or(By::Rank);
        let direction = direction.unwrap_or(Direction::Ascending);
        if limit != -1 && by == By::Rank {
            return Err(CommandError::fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::fixed(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Descending ranges of scores and members are written highest first.
        let (min, max) = match direction {
            Direction::Descending if by != By::Rank => (words[1], words[0]),
            _ => (words[0], words[1]),
        };
        let span = match by {
            By::Rank => {
                let rank = |word| parse_integer(word).ok_or(CommandError::NotInteger);
                Span::Ranks(rank(min)?, rank(max)?)
            }
            By::Score => Span::Scores(score_range(min, max)?),
            By::Lex => Span::Members(lex_range(min, max)?),
        };
        Ok(Self { span, direction, offset, limit, with_scores })
    }

    fn is_descending(&self) -> bool {
        self.direction == Direction::Descending
    }

    /// The ranks in range, counted from the lowest whatever the direction.
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let ranks = match &self.span {
            Span::Ranks(start, stop) => {
                let ranks = inclusive_ranks(*start, *stop, zset.len());
                return match self.direction {
                    Direction::Ascending => ranks,
                    Direction::Descending => zset.len() - ranks.end..zset.len() - ranks.start,
                };
            }
            Span::Scores(range) => zset.ranks_by_score(range),
            Span::Members(range) => zset.ranks_by_lex(range, self.is_descending()),
        };
        let offset = match zset {
            // In the large form Valkey counts a negative offset from the far end of the range.
            ZSet::Sorted(_) if self.offset < 0 => self.offset.saturating_add(ranks.len() as i64),
            _ => self.offset,
        };
        let Ok(offset) = usize::try_from(offset) else { return 0..0 };
        let left = ranks.len().saturating_sub(offset);
        let count = usize::try_from(self.limit).map_or(left, |limit| limit.min(left));
        match self.direction {
            _ if count == 0 => 0..0,
            Direction::Ascending => ranks.start + offset..ranks.start + offset + count,
            Direction::Descending => ranks.end - offset - count..ranks.end - offset,
        }
    }
}

/// The ranks from `start` to `stop`, both included, negative ones counted from the end.
pub(super) fn inclusive_ranks(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let start = if start < 0 { start.saturating_add(len).max(0) } else { start };
    let stop = if stop < 0 { stop.saturating_add(len) } else { stop.min(len - 1) };
    if start > stop || start >= len { 0..0 } else { start as usize..stop as usize + 1 }
}

/// `ZRANGE key min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, None, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Some(By::Rank), Some(Direction::Descending))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Some(By::Score), Some(Direction::Ascending))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub fn zrevrangebyscore(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Some(By::Score), Some(Direction::Descending))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub fn zrangebylex(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Some(By::Lex), Some(Direction::Ascending))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub fn zrevrangebylex(ctx: &mut Context<'_>) -> Outcome {
    range(ctx, Some(By::Lex), Some(Direction::Descending))
}

fn range(ctx: &mut Context<'_>, by: Option<By>, direction: Option<Direction>) -> Outcome {
    let request = Request::parse(&ctx.args[2..], Rules { by, direction, may_have_scores: true })?;
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let zset = zset_of(entry)?;
    let form = Form::with_scores(ctx.reply, request.with_scores);
    form.ranks(ctx.reply, &zset, request.ranks(&zset), request.is_descending());
    Ok(())
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
pub fn zrangestore(ctx: &mut Context<'_>) -> Outcome {
    let rules = Rules { by: None, direction: None, may_have_scores: false };
    let request = Request::parse(&ctx.args[3..], rules)?;
    let limits = limits(ctx.config);
    let mut result = ZSet::new();
    if let Some(entry) = ctx.db.read(ctx.args[2]) {
        let zset = zset_of(entry)?;
        let ranks = request.ranks(&zset);
        // Of other ranges the length is not known beforehand, which shows in the sign of zero.
        if let Span::Ranks(..) = request.span {
            result.prepare_add(ranks.len(), 0, &limits);
        }
        zset.visit(ranks, request.is_descending(), |member, score| {
            result.set(member.text(&mut ItemBuffer::new()), score, &limits);
            ControlFlow::Continue(())
        });
    }
    let count = result.len();
    store(ctx, ctx.arg(1), result, "zrangestore", 1);
    ctx.reply.integer(count as i64);
    Ok(())
}
