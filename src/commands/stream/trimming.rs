//! The trimming options of XADD and XTRIM, and XTRIM.

use super::id::{IdText, NewId, parse_new, parse_strict};
use super::stream_of_mut;
use crate::commands::context::Outcome;
use crate::commands::{CommandError, Context};
use crate::config::Config;
use crate::effects::class;
use crate::types::stream::{StreamData, StreamId, Trim};

/// Which command the options belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Add,
    Trim,
}

/// What XADD and XTRIM read before the fields.
pub(super) struct Options {
    pub trim: Option<Trimming>,
    /// NOMKSTREAM.
    pub create: bool,
    pub id: NewId,
    /// The argument that holds the id; the number of arguments if none does.
    pub id_at: usize,
}

/// A trimming option.
#[derive(Clone, Copy)]
pub(super) struct Trimming {
    pub keep: Trim,
    approximate: bool,
    /// Remove at most so many entries; `None`: any number.
    limit: Option<u64>,
    /// The argument that holds the threshold.
    threshold_at: usize,
}

/// Reads the options from argument 2 on. XADD's end with the id.
pub(super) fn parse(ctx: &Context<'_>, owner: Owner) -> Result<Options, CommandError> {
    let args = ctx.args;
    let mut options = Options { trim: None, create: true, id: NewId::Auto, id_at: args.len() };
    let mut limit = None;
    let mut at = 2;
    while let Some(&word) = args.get(at) {
        let value = args.get(at + 1).copied();
        if owner == Owner::Add && word == b"*" {
            options.id_at = at;
            break;
        }
        match value {
            Some(value) if is_word(word, "maxlen") || is_word(word, "minid") => {
                if options.trim.is_some() {
                    return Err(CommandError::fixed(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                    ));
                }
                let mark = args.get(at + 2).and(Some(value)).filter(|mark| *mark == b"~" || *mark == b"=");
                let threshold_at = at + 1 + usize::from(mark.is_some());
                options.trim = Some(Trimming {
                    keep: parse_threshold(word, args[threshold_at])?,
                    approximate: mark == Some(b"~"),
                    limit: None,
                    threshold_at,
                });
                at = threshold_at + 1;
            }
            Some(value) if is_word(word, "limit") => {
                let value = crate::resp::decode::parse_integer(value).ok_or(CommandError::NotInteger)?;
                let value = u64::try_from(value)
                    .map_err(|_| CommandError::fixed("ERR The LIMIT argument must be >= 0."))?;
                limit = Some(value);
                at += 2;
            }
            _ if owner == Owner::Add && is_word(word, "nomkstream") => {
                options.create = false;
                at += 1;
            }
            _ if owner == Owner::Add => {
                options.id = parse_new(word)?;
                options.id_at = at;
                break;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    let limit = Limit { asked: limit, obeyed: !ctx.session.origin.is_client() };
    apply_limit(&mut options.trim, limit, owner, ctx.config)?;
    Ok(options)
}

fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

fn parse_threshold(strategy: &[u8], text: &[u8]) -> Result<Trim, CommandError> {
    if is_word(strategy, "minid") {
        return parse_strict(text, 0).map(Trim::MinId);
    }
    let len = crate::resp::decode::parse_integer(text).ok_or(CommandError::NotInteger)?;
    u64::try_from(len)
        .map(Trim::MaxLen)
        .map_err(|_| CommandError::fixed("ERR The MAXLEN argument must be >= 0."))
}

/// The value of LIMIT.
struct Limit {
    asked: Option<u64>,
    /// Another node has trimmed already, and made the threshold exact: LIMIT, which it left, means nothing.
    obeyed: bool,
}

/// LIMIT goes only with `~`, which has a limit of its own: 100 full nodes, at most a million entries.
fn apply_limit(
    trim: &mut Option<Trimming>,
    Limit { asked: limit, obeyed }: Limit,
    owner: Owner,
    config: &Config,
) -> Result<(), CommandError> {
    if limit.is_some_and(|limit| limit > 0) && trim.is_none() {
        return Err(CommandError::fixed(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if owner == Owner::Trim && trim.is_none() {
        return Err(CommandError::fixed("ERR syntax error, XTRIM must be called with a trimming strategy"));
    }
    if obeyed {
        return Ok(());
    }
    if limit.is_some() && !trim.is_some_and(|trim| trim.approximate) {
        return Err(CommandError::fixed(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    if let Some(trim) = trim.as_mut().filter(|trim| trim.approximate) {
        let default = match config.stream_node_max_entries.saturating_mul(100) {
            0 => 10_000,
            entries => entries.min(1_000_000),
        };
        trim.limit = Some(limit.unwrap_or(default)).filter(|limit| *limit > 0);
    }
    Ok(())
}

/// What an approximate trimming came to, for replicas to do the same.
pub(super) struct Trimmed {
    pub removed: u64,
    /// The threshold that would have had the same effect, if it was approximate.
    exact: Option<Vec<u8>>,
}

impl Trimming {
    pub fn run(&self, stream: &mut StreamData) -> Trimmed {
        let removed = stream.trim(self.keep, self.approximate, self.limit);
        let exact = self.approximate.then(|| match self.keep {
            Trim::MaxLen(_) => itoa::Buffer::new().format(stream.len()).as_bytes().to_vec(),
            // With nothing left Valkey names the greatest id there is.
            Trim::MinId(_) => {
                IdText::new(stream.first_stored_id().unwrap_or(StreamId::MAX)).as_bytes().to_vec()
            }
        });
        Trimmed { removed, exact }
    }

    /// Puts the exact threshold in the place of the approximate one.
    pub fn make_exact<'a>(&self, trimmed: &'a Trimmed, args: &mut [&'a [u8]]) {
        if let Some(exact) = &trimmed.exact {
            args[self.threshold_at - 1] = b"=";
            args[self.threshold_at] = exact;
        }
    }
}

pub fn xtrim(ctx: &mut Context<'_>) -> Outcome {
    let Some(trim) = parse(ctx, Owner::Trim)?.trim else { return Err(CommandError::Syntax) };
    let key = ctx.arg(1);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.integer(0);
        return Ok(());
    };
    let mut stream = stream_of_mut(entry)?;
    let trimmed = trim.run(&mut stream);
    drop(stream);
    if trimmed.removed > 0 {
        ctx.db.effects.dirty += trimmed.removed;
        ctx.db.modified(key);
        ctx.db.notify(class::STREAM, "xtrim", key);
        if trimmed.exact.is_some() && ctx.db.effects.listening.propagation {
            let mut args = ctx.args.to_vec();
            trim.make_exact(&trimmed, &mut args);
            ctx.db.rewrite(&args);
        }
    }
    ctx.reply.integer(trimmed.removed as i64);
    Ok(())
}
