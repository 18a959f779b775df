//! Adding places and looking at those of named members: GEOADD, GEODIST, GEOHASH, GEOPOS.

use super::{arguments, check_type, hash_of, place, score};
use crate::commands::context::Outcome;
use crate::commands::sorted_set::add::{Options, Pairs, add_members};
use crate::commands::strings::options::is_option;
use crate::commands::{CommandError, Context};
use crate::types::geohash::{distance, encode, text};
use crate::types::number::{fixed4_text, human_text};

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]
pub fn geoadd(ctx: &mut Context<'_>) -> Outcome {
    let mut options = Options::default();
    let mut at = 2;
    while let Some(word) = ctx.args.get(at) {
        match () {
            () if is_option(word, "nx") => options.only_new = true,
            () if is_option(word, "xx") => options.only_existing = true,
            () if is_option(word, "ch") => options.count_changes = true,
            () => break,
        }
        at += 1;
    }
    let triples = &ctx.args[at..];
    if triples.is_empty() || !triples.len().is_multiple_of(3) || (options.only_new && options.only_existing) {
        return Err(CommandError::Syntax);
    }
    let mut scored = Pairs::new();
    let mut hashes = Vec::with_capacity(triples.len() / 3);
    for triple in triples.chunks_exact(3) {
        let hash = encode(arguments::point(triple[0], triple[1])?);
        // 52 bits, exact as a double; at a longitude of 180 a few more, of which the last may be lost.
        scored.push((hash as f64, triple[2]));
        hashes.push(hash);
    }
    let added = add_members(ctx, ctx.args[1], &options, &scored)?;
    if added.added + added.updated > 0 {
        propagate_zadd(ctx, at, &hashes, &scored);
    }
    ctx.reply.integer(added.count(&options) as i64);
    Ok(())
}

/// In the stream a place is its hash.
fn propagate_zadd(ctx: &mut Context<'_>, options_end: usize, hashes: &[u64], scored: &[(f64, &[u8])]) {
    if ctx.db.effects.listening.propagation {
        let scores: Vec<String> = hashes.iter().map(u64::to_string).collect();
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
