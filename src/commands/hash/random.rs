//! HRANDFIELD.

use super::{Sight, hash_of};
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use crate::commands::sampling::{self, Chooser};
use crate::commands::{CommandError, Context};
use crate::resp::Reply;
use crate::rng::Rng;
use crate::types::Item;
use crate::types::hash::{FieldValue, Hash};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// `HRANDFIELD key [count [WITHVALUES]]`: a negative count allows a field to come more than once.
pub fn hrandfield(ctx: &mut Context<'_>) -> Outcome {
    let sight = Sight::of(ctx);
    if ctx.args.len() > 2 {
        return random_fields(ctx, sight);
    }
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        ctx.reply.null();
        return Ok(());
    };
    let hash = hash_of(entry)?;
    let found = random_field(&hash, sight, ctx.rng).or_else(|| one_of(&alive_fields(&hash, sight), ctx.rng));
    match found {
        Some((name, _)) => reply_item(ctx.reply, name),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn random_fields(ctx: &mut Context<'_>, sight: Sight) -> Outcome {
    let count = sampling::count(ctx.arg(2))?;
    let with_values = match &ctx.args[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::fixed("ERR value is out of range"));
    }
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let hash = hash_of(entry)?;
    let deferred = ctx.reply.deferred_array();
    let mut picked = Picked { reply: ctx.reply, with_values, fields: 0 };
    if count < -1 && matches!(&*hash, Hash::Listpack(_)) {
        // Finding a position in a listpack is a walk; one walk serves all.
        let mut all = Vec::with_capacity(hash.len());
        hash.visit(|name, field| {
            all.push((name, field));
            ControlFlow::Continue(())
        });
        for _ in 0..count.unsigned_abs() {
            let Some((name, field)) = all.get(ctx.rng.below(all.len().max(1) as u64) as usize) else { break };
            picked.put(*name, *field);
            if picked.reply.is_in_vain() {
                break;
            }
        }
    } else if count < 0 || count == 1 {
        // Those that are left when nearly all have expired; found by one walk that serves the rest of the count.
        let mut alive: Option<Vec<Named<'_>>> = None;
        for _ in 0..count.unsigned_abs() {
            let tried = if alive.is_none() { random_field(&hash, sight, ctx.rng) } else { None };
            let found =
                tried.or_else(|| one_of(alive.get_or_insert_with(|| alive_fields(&hash, sight)), ctx.rng));
            let Some((name, field)) = found else { break };
            picked.put(name, field);
            if picked.reply.is_in_vain() {
                break;
            }
        }
    } else {
        choose(&hash, usize::try_from(count).unwrap_or(usize::MAX), sight, ctx.rng, &mut picked);
    }
    let Picked { fields, .. } = picked;
    let flat = with_values && !ctx.reply.is_resp3();
    ctx.reply.finish_array(deferred, if flat { fields * 2 } else { fields });
    Ok(())
}

/// The fields that go to the client: pairs are nested in RESP3, flat in RESP2.
struct Picked<'r> {
    reply: &'r mut Reply,
    with_values: bool,
    fields: usize,
}

impl Picked<'_> {
    fn put(&mut self, name: Item<'_>, field: FieldValue<'_>) {
        self.fields += 1;
        if self.with_values && self.reply.is_resp3() {
            self.reply.array(2);
        }
        reply_item(self.reply, name);
        if self.with_values {
            reply_item(self.reply, field.value);
        }
    }
}

type Named<'h> = (Item<'h>, FieldValue<'h>);

/// All fields that have not expired, whoever asks.
fn alive_fields(hash: &Hash, sight: Sight) -> Vec<Named<'_>> {
    let mut alive = Vec::new();
    hash.visit(|name, field| {
        if sight.is_alive(field.deadline_ms) {
            alive.push((name, field));
        }
        ControlFlow::Continue(())
    });
    alive
}

fn one_of<'h>(fields: &[Named<'h>], rng: &mut Rng) -> Option<Named<'h>> {
    fields.get(rng.below(fields.len().max(1) as u64) as usize).copied()
}

/// A random field that has not expired, whoever asks; gives up if it only meets expired ones.
fn random_field<'h>(hash: &'h Hash, sight: Sight, rng: &mut Rng) -> Option<Named<'h>> {
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        let (name, field) = hash.random(&mut || rng.next_u64())?;
        if sight.is_alive(field.deadline_ms) {
            return Some((name, field));
        }
    }
    None
}

/// Picks `count` different fields, or all that there are.
fn choose(hash: &Hash, count: usize, sight: Sight, rng: &mut Rng, picked: &mut Picked<'_>) {
    /// Tables at least so many times as large as the count are not walked: hitting a field twice is rare then.
    const SPARSE: usize = 3;
    /// Tries per field, in case most have expired.
    const TRIES: usize = 10;
    if count.saturating_mul(SPARSE) <= hash.len() && matches!(hash, Hash::Table(_)) {
        let mut known = HashSet::with_capacity(count);
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(TRIES) {
            if chosen.len() == count {
                break;
            }
            let Some((name, field)) = random_field(hash, sight, rng) else { break };
            // Names of a table lie where they are while it is not changed, so their address tells them apart.
            let Item::Str(text) = name else { break };
            if known.insert(text.as_ptr()) {
                chosen.push((name, field));
            }
        }
        if chosen.len() == count {
            chosen.into_iter().for_each(|(name, field)| picked.put(name, field));
            return;
        }
        // Too many have expired to meet enough others by chance: walk.
    }
    let visible = if sight.sees_all(hash) { hash.len() } else { count_visible(hash, sight) };
    let mut chooser = Chooser::new(count.min(visible), visible);
    hash.visit(|name, field| {
        if chooser.is_done() {
            return ControlFlow::Break(());
        }
        if sight.sees(field.deadline_ms) && chooser.take(rng) {
            picked.put(name, field);
        }
        ControlFlow::Continue(())
    });
}

fn count_visible(hash: &Hash, sight: Sight) -> usize {
    let mut visible = 0;
    hash.visit(|_, field| {
        visible += usize::from(sight.sees(field.deadline_ms));
        ControlFlow::Continue(())
    });
    visible
}
