//! SRANDMEMBER and SPOP.

use super::{limits, remove, set_of, set_of_mut};
use crate::commands::argument_values::integer_in;
use crate::commands::context::Outcome;
use crate::commands::list::reply_item;
use crate::commands::sampling::{self, Chooser};
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::Value;
use crate::resp::Reply;
use crate::rng::Rng;
use crate::types::listpack::Listpack;
use crate::types::set::{Set, SetLimits};
use crate::types::{Item, ItemBuffer, OwnedItem};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// `SRANDMEMBER key [count]`: a negative count allows a member to come more than once.
pub fn srandmember(ctx: &mut Context<'_>) -> Outcome {
    match ctx.args.len() {
        2 => {}
        3 => return random_members(ctx),
        _ => return Err(CommandError::Syntax),
    }
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        ctx.reply.null();
        return Ok(());
    };
    let (reply, rng) = (&mut *ctx.reply, &mut *ctx.rng);
    set_of(entry)?.visit_random(&mut || rng.next_u64(), |member| reply_item(reply, member));
    Ok(())
}

fn random_members(ctx: &mut Context<'_>) -> Outcome {
    let count = sampling::count(ctx.args[2])?;
    let Some(entry) = ctx.db.read(ctx.args[1]) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let set = set_of(entry)?;
    let (reply, rng) = (&mut *ctx.reply, &mut *ctx.rng);
    if count < 0 {
        reply.array(count.unsigned_abs() as usize);
        repeat(&set, count.unsigned_abs(), rng, |member| {
            reply_item(reply, member);
            if reply.is_in_vain() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        return Ok(());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
    reply.array(count);
    choose(&set, count, rng, |member| reply_item(reply, member));
    Ok(())
}

/// Calls `f` with `count` random members, each independent of the others, unless it breaks off.
fn repeat(set: &Set, count: u64, rng: &mut Rng, mut f: impl FnMut(Item<'_>) -> ControlFlow<()>) {
    if let Set::Listpack(list) = set
        && count > 1
    {
        // Finding a position in a listpack is a walk; one walk serves all.
        let members: Vec<Item<'_>> = list.iter().collect();
        for _ in 0..count {
            let Some(member) = members.get(rng.below(members.len() as u64) as usize) else { return };
            if f(*member).is_break() {
                return;
            }
        }
        return;
    }
    for _ in 0..count {
        let mut flow = ControlFlow::Continue(());
        set.visit_random(&mut || rng.next_u64(), |member| flow = f(member));
        if flow.is_break() {
            return;
        }
    }
}

/// Calls `f` with `count` different members; there are at least as many.
fn choose(set: &Set, count: usize, rng: &mut Rng, mut f: impl FnMut(Item<'_>)) {
    /// Tables at least so many times as large as the count are not walked: hitting a member twice is rare then.
    const SPARSE: usize = 3;
    if let Set::Table(table) = set
        && count.saturating_mul(SPARSE) <= table.len()
    {
        let mut chosen = HashSet::with_capacity(count);
        while chosen.len() < count {
            let Some(member) = table.random(&mut || rng.next_u64()) else { return };
            if chosen.insert(member.text().as_ptr()) {
                f(Item::Str(member.text()));
            }
        }
        return;
    }
    let mut chooser = Chooser::new(count, set.len());
    set.visit(|member| {
        if chooser.is_done() {
            return ControlFlow::Break(());
        }
        if chooser.take(rng) {
            f(member);
        }
        ControlFlow::Continue(())
    });
}

/// `SPOP key [count]`
pub fn spop(ctx: &mut Context<'_>) -> Outcome {
    match ctx.args.len() {
        2 => {}
        3 => return pop_members(ctx),
        _ => return Err(CommandError::Syntax),
    }
    let key = ctx.arg(1);
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.null();
        return Ok(());
    };
    let mut set = set_of_mut(entry)?;
    let popped = set.pop_random(&mut || ctx.rng.next_u64());
    let emptied = set.is_empty();
    drop(set);
    let Some(member) = popped else { return Ok(()) };
    ctx.db.changed(class::SET, "spop", key);
    // Replicas must take away the same member.
    ctx.db.rewrite(&[b"SREM", key, member.as_item().text(&mut ItemBuffer::new())]);
    reply_item(ctx.reply, member.as_item());
    if emptied {
        remove(ctx, key);
    }
    Ok(())
}

/// Members in one propagated SREM, at most.
const SREM_MEMBERS_MAX: usize = 1024;

fn pop_members(ctx: &mut Context<'_>) -> Outcome {
    let key = ctx.arg(1);
    let count = integer_in(ctx.arg(2), 0, i64::MAX).ok_or(CommandError::MustBePositive)?;
    let is_logged = ctx.db.effects.listening.propagation;
    let Some(entry) = ctx.db.write(key) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let mut set = set_of_mut(entry)?;
    if count == 0 {
        ctx.reply.set(0);
        return Ok(());
    }
    let len = set.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(len);
    ctx.reply.set(count);
    let mut popped = Popped { reply: ctx.reply, log: is_logged.then(Vec::new) };
    if count == len {
        popped.log = None;
        popped.put_all(&set);
        drop(set);
        return pop_everything(ctx, key, len);
    }
    let old = pop_some(&mut set, count, &limits(ctx.config), ctx.rng, &mut popped);
    let log = popped.log.unwrap_or_default();
    drop(set);
    ctx.db.effects.dirty += count as u64;
    ctx.db.modified(key);
    ctx.db.notify(class::SET, "spop", key);
    if let Some(old) = old {
        ctx.db.discard(Value::Set(old));
    }
    ctx.db.effects.suppress();
    for members in log.chunks(SREM_MEMBERS_MAX) {
        let mut words: Vec<&[u8]> = vec![b"SREM", key];
        words.extend(members.iter().map(Vec::as_slice));
        ctx.db.rewrite(&words);
    }
    Ok(())
}

/// Removes the key; its members are in the reply already.
fn pop_everything(ctx: &mut Context<'_>, key: &[u8], len: usize) -> Outcome {
    // Valkey reads the key once more, as a client would.
    ctx.db.effects.counters.keyspace_hits += 1;
    ctx.db.effects.dirty += len as u64;
    ctx.db.modified(key);
    ctx.db.notify(class::SET, "spop", key);
    remove(ctx, key);
    let verb: &[u8] = if ctx.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
    ctx.db.rewrite(&[verb, key]);
    Ok(())
}

/// Where popped members go: to the client, and into the stream if somebody listens.
struct Popped<'r> {
    reply: &'r mut Reply,
    log: Option<Vec<Vec<u8>>>,
}

impl Popped<'_> {
    fn put(&mut self, member: Item<'_>) {
        reply_item(self.reply, member);
        if let Some(log) = &mut self.log {
            log.push(member.to_vec());
        }
    }

    fn put_all(&mut self, set: &Set) {
        set.visit(|member| {
            self.put(member);
            ControlFlow::Continue(())
        });
    }
}

/// Takes `count` members, fewer than there are, out of a set. Where only few stay, those are moved to a new set, which
/// so may get another encoding; the old one is then returned.
fn pop_some(
    set: &mut Set,
    count: usize,
    limits: &SetLimits,
    rng: &mut Rng,
    popped: &mut Popped<'_>,
) -> Option<Set> {
    /// A fifth of what is popped, or less, counts as few.
    const FEW: usize = 5;
    let staying = set.len() - count;
    let few_stay = staying.saturating_mul(FEW) <= count;
    if let Set::Listpack(members) = set {
        let mut kept = Set::Listpack(Listpack::new());
        let mut chooser = Chooser::new(count, members.len());
        for member in members.iter() {
            match &mut kept {
                _ if chooser.take(rng) => popped.put(member),
                Set::Listpack(list) if !few_stay => _ = list.push(member),
                kept => _ = kept.add(member.text(&mut ItemBuffer::new()), limits),
            }
        }
        *set = kept;
        return None;
    }
    if !few_stay {
        for _ in 0..count {
            if let Some(member) = set.pop_random(&mut || rng.next_u64()) {
                popped.put(member.as_item());
            }
        }
        return None;
    }
    let mut kept = match set {
        Set::Intset(_) => Set::new(),
        Set::Listpack(_) | Set::Table(_) => Set::Listpack(Listpack::new()),
    };
    for _ in 0..staying {
        if let Some(member) = set.pop_random(&mut || rng.next_u64()) {
            kept.add(&OwnedItem::into_vec(member), limits);
        }
    }
    popped.put_all(set);
    Some(std::mem::replace(set, kept))
}
