//! Finding places: GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.

use std::ops::ControlFlow;

use super::search_options::{Kind, Order, Search, Target};
use super::{check_type, hash_of, limits, place};
use crate::commands::Context;
use crate::commands::context::Outcome;
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, Value, ValueRef};
use crate::types::geohash::{Point, Shape};
use crate::types::number::{fixed4_text, human_text};
use crate::types::partial_sort::sort_range;
use crate::types::zset::{ScoreRange, ZSet};

/// GEORADIUS key longitude latitude radius unit [options]
pub fn georadius(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::Around { may_store: true })
}

/// GEORADIUS_RO key longitude latitude radius unit [options]
pub fn georadius_ro(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::Around { may_store: false })
}

/// GEORADIUSBYMEMBER key member radius unit [options]
pub fn georadiusbymember(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::AroundMember { may_store: true })
}

/// GEORADIUSBYMEMBER_RO key member radius unit [options]
pub fn georadiusbymember_ro(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::AroundMember { may_store: false })
}

/// GEOSEARCH key from by [options]
pub fn geosearch(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::Search)
}

/// GEOSEARCHSTORE destination source from by [options]
pub fn geosearchstore(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Kind::SearchStore)
}

/// A member inside the area.
struct Found {
    member: Vec<u8>,
    score: f64,
    point: Point,
    /// Metres.
    distance: f64,
}

fn run(ctx: &mut Context<'_>, kind: Kind) -> Outcome {
    let source = ctx.args[if kind == Kind::SearchStore { 2 } else { 1 }];
    let exists = match ctx.db.read(source) {
        Some(entry) => check_type(entry).map(|()| true)?,
        None => false,
    };
    let search = Search::parse(ctx, kind, source, exists)?;
    let mut found = match &search.shape {
        Some(shape) => find(ctx, source, shape, if search.any { search.count } else { 0 }),
        None => Vec::new(),
    };
    sort(&mut found, &search);
    match search.target {
        Some(target) => {
            let event = if kind == Kind::SearchStore { "geosearchstore" } else { "georadiusstore" };
            store(ctx, target, event, found, search.unit);
        }
        None => reply(ctx, &search, &found),
    }
    Ok(())
}

/// Puts what is wanted in front, in order, and cuts the rest off. The order of members at the same distance is Valkey's.
fn sort(found: &mut Vec<Found>, search: &Search<'_>) {
    let wanted = if search.count > 0 { search.count.min(found.len()) } else { found.len() };
    let by_distance = |a: &Found, b: &Found| match search.order {
        Order::Farthest => b.distance.total_cmp(&a.distance),
        Order::Nearest | Order::Unsorted => a.distance.total_cmp(&b.distance),
    };
    if search.order != Order::Unsorted {
        if wanted == found.len() {
            found.sort_by(by_distance);
        } else {
            sort_range(found, 0..wanted, &mut |a, b| by_distance(a, b));
        }
    }
    found.truncate(wanted);
}

/// Members inside the shape in the order of the cells that cover it; at most `enough` if that is not 0.
fn find(ctx: &Context<'_>, key: &[u8], shape: &Shape, enough: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(ValueRef::ZSet(zset)) = ctx.db.visible(key).map(|entry| entry.value()) else {
        return found;
    };
    let is_enough = |found: &Vec<Found>| enough > 0 && found.len() >= enough;
    for (from, to) in shape.score_ranges() {
        if is_enough(&found) {
            break;
        }
        let range =
            ScoreRange { min: from as f64, min_exclusive: false, max: to as f64, max_exclusive: true };
        zset.visit(zset.ranks_by_score(&range), false, |member, score| {
            let point = place(score);
            if let Some(distance) = shape.distance_inside(point) {
                let mut digits = itoa::Buffer::new();
                found.push(Found { member: member.text(&mut digits).to_vec(), score, point, distance });
            }
            if is_enough(&found) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    found
}

fn reply(ctx: &mut Context<'_>, search: &Search<'_>, found: &[Found]) {
    let details = [search.with_distance, search.with_hash, search.with_coordinates];
    let details = details.into_iter().filter(|wanted| *wanted).count();
    ctx.reply.array(found.len());
    for one in found {
        if details > 0 {
            ctx.reply.array(1 + details);
        }
        ctx.reply.bulk(&one.member);
        if search.with_distance {
            ctx.reply.bulk(&fixed4_text(one.distance / search.unit));
        }
        if search.with_hash {
            ctx.reply.integer(hash_of(one.score) as i64);
        }
        if search.with_coordinates {
            ctx.reply.array(2);
            ctx.reply.double_text(&human_text(one.point.longitude));
            ctx.reply.double_text(&human_text(one.point.latitude));
        }
    }
}

fn store(ctx: &mut Context<'_>, target: Target<'_>, event: &'static str, found: Vec<Found>, unit: f64) {
    let stored = found.len();
    if stored > 0 {
        let limits = limits(ctx.config);
        let mut zset = ZSet::new();
        zset.convert_to_sorted();
        for one in found {
            zset.set(&one.member, if target.distances { one.distance / unit } else { one.score }, &limits);
        }
        zset.convert_to_listpack_if_small(&limits);
        ctx.db.write_and_set(target.key, NewValue::Owned(Value::ZSet(zset)), Expiry::Drop);
        ctx.db.changed(class::ZSET, event, target.key);
        ctx.db.effects.dirty += stored as u64 - 1;
    } else if ctx.db.remove(target.key) {
        ctx.db.changed(class::GENERIC, "del", target.key);
    }
    ctx.reply.integer(stored as i64);
}
