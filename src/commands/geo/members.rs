//! Adding places and looking at those of named members: GEOADD, GEODIST, GEOHASH, GEOPOS.

use super::{arguments, check_type, hash_of, limits, place, score};
use crate::commands::context::Outcome;
use crate::commands::strings::options::is_option;
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, Value};
use crate::types::geohash::{distance, encode, text};
use crate::types::number::{fixed4_text, human_text};
use crate::types::zset::ZSet;

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]
pub fn geoadd(ctx: &mut Context<'_>) -> Outcome {
    let (mut nx, mut xx, mut ch) = (false, false, false);
    let mut at = 2;
    while let Some(word) = ctx.args.get(at) {
        match () {
            () if is_option(word, "nx") => nx = true,
            () if is_option(word, "xx") => xx = true,
            () if is_option(word, "ch") => ch = true,
            () => break,
        }
        at += 1;
    }
    let triples = &ctx.args[at..];
    if !triples.len().is_multiple_of(3) || (nx && xx) {
        return Err(CommandError::Syntax);
    }
    let mut scored = Vec::with_capacity(triples.len() / 3);
    for triple in triples.chunks_exact(3) {
        scored.push((encode(arguments::point(triple[0], triple[1])?), triple[2]));
    }
    let counts = add(ctx, &scored, nx, xx)?;
    if counts.changes() > 0 {
        ctx.db.changed(class::ZSET, "zadd", ctx.args[1]);
        ctx.db.effects.dirty += counts.changes() - 1;
        propagate_zadd(ctx, at, &scored);
    }
    ctx.reply.integer(if ch { counts.changes() } else { counts.added } as i64);
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Counts {
    added: u64,
    moved: u64,
}

impl Counts {
    fn changes(self) -> u64 {
        self.added + self.moved
    }
}

fn add(ctx: &mut Context<'_>, scored: &[(u64, &[u8])], nx: bool, xx: bool) -> Result<Counts, CommandError> {
    let (key, limits) = (ctx.args[1], limits(ctx.config));
    let longest = scored.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
    match ctx.db.write(key) {
        Some(entry) => check_type(entry)?,
        None if xx || scored.is_empty() => return Ok(Counts::default()),
        None => {
            let empty = Value::ZSet(ZSet::for_members(scored.len(), longest, &limits));
            ctx.db.set(key, NewValue::Owned(empty), Expiry::Drop);
        }
    }
    let entry = ctx.db.again(key).expect("found or made above");
    let mut zset = entry.zset_mut().expect("tested or made above");
    zset.prepare_add(scored.len(), longest, &limits);
    let mut counts = Counts::default();
    for (hash, member) in scored {
        let there = (nx || xx).then(|| zset.score(member).is_some());
        if (nx && there == Some(true)) || (xx && there == Some(false)) {
            continue;
        }
        let score = *hash as f64;
        match zset.set(member, score, &limits) {
            None => counts.added += 1,
            Some(old) => counts.moved += u64::from(old != score),
        }
    }
    Ok(counts)
}

/// In the stream a place is its score.
fn propagate_zadd(ctx: &mut Context<'_>, options_end: usize, scored: &[(u64, &[u8])]) {
    if ctx.db.effects.listening.propagation {
        let scores: Vec<String> = scored.iter().map(|(hash, _)| hash.to_string()).collect();
        let mut args: Vec<&[u8]> = vec![b"ZADD"];
        args.extend_from_slice(&ctx.args[1..options_end]);
        for (text, (_, member)) in scores.iter().zip(scored) {
            args.push(text.as_bytes());
            args.push(member);
        }
        ctx.db.rewrite(&args);
    }
}

/// GEODIST key member1 member2 [M | KM | FT | MI]
pub fn geodist(ctx: &mut Context<'_>) -> Outcome {
    let unit = match ctx.args[4..] {
        [] => 1.0,
        [word] => arguments::unit(word)?,
        _ => return Err(CommandError::Syntax),
    };
    let key = ctx.args[1];
    if let Some(entry) = ctx.db.read(key) {
        check_type(entry)?;
    }
    match (score(ctx, key, ctx.args[2]), score(ctx, key, ctx.args[3])) {
        (Some(a), Some(b)) => ctx.reply.bulk(&fixed4_text(distance(place(a), place(b)) / unit)),
        _ => ctx.reply.null(),
    }
    Ok(())
}

/// GEOHASH key [member ...]
pub fn geohash(ctx: &mut Context<'_>) -> Outcome {
    for_members(ctx, |ctx, score| match score {
        Some(score) => ctx.reply.bulk(&text(hash_of(score))),
        None => ctx.reply.null(),
    })
}

/// GEOPOS key [member ...]
pub fn geopos(ctx: &mut Context<'_>) -> Outcome {
    for_members(ctx, |ctx, score| match score {
        Some(score) => {
            let point = place(score);
            ctx.reply.array(2);
            ctx.reply.double_text(&human_text(point.longitude));
            ctx.reply.double_text(&human_text(point.latitude));
        }
        None => ctx.reply.null_array(),
    })
}

fn for_members(ctx: &mut Context<'_>, mut write: impl FnMut(&mut Context<'_>, Option<f64>)) -> Outcome {
    let key = ctx.args[1];
    if let Some(entry) = ctx.db.read(key) {
        check_type(entry)?;
    }
    let members = &ctx.args[2..];
    ctx.reply.array(members.len());
    for member in members {
        let score = score(ctx, key, member);
        write(ctx, score);
    }
    Ok(())
}
