//! Walks: KEYS, SCAN, RANDOMKEY.
//!
//! SCAN's cursor names a slot and a place in that slot's table: `place << 14 | slot`. The slots of a shard follow each
//! other in ascending order; after the last the cursor names the first slot of the next shard, which is the slot with
//! that shard's number. So every cursor says by itself which shard goes on, and a key that is there during the whole
//! walk is met because it never changes its slot and the table keeps the promise within it.

use crate::commands::check::cursor_of;
use crate::commands::context::{CommandError, Context, Outcome};
use crate::glob;
use crate::keyspace::{Entry, Part, Treatment, Type};
use crate::slot::{SLOTS, Slot};

/// Bits of the cursor that name the slot.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// Table buckets and slots visited per key asked for, at most, so that a sparse table does not make a call long.
const STEPS_PER_KEY: u64 = 10;

/// `KEYS pattern`. Expired keys are left out but not removed.
pub fn keys(ctx: &mut Context<'_>) -> Outcome {
    let pattern = ctx.arg(1);
    let all = pattern == b"*";
    let show_expired = ctx.db.rules.read == Treatment::Show;
    let head = ctx.reply.deferred_array();
    let mut found = 0;
    let (db, reply) = (&ctx.db, &mut *ctx.reply);
    db.for_each(&mut |entry| {
        if (all || glob::matches(pattern, entry.key())) && (show_expired || !db.is_expired(entry)) {
            reply.bulk(entry.key());
            found += 1;
        }
    });
    ctx.reply.finish_array(head, found);
    Ok(())
}

/// What SCAN was asked for.
struct Options<'a> {
    count: u64,
    /// None: all.
    pattern: Option<&'a [u8]>,
    kind: Option<Type>,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Context<'a>) -> Result<Self, CommandError> {
        let mut options = Self { count: 10, pattern: None, kind: None };
        let mut at = 2;
        while at < ctx.args.len() {
            let value = at + 1 < ctx.args.len();
            if ctx.is_word(at, "count") && value {
                let count = ctx.integer(at + 1)?;
                options.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
            } else if ctx.is_word(at, "match") && value {
                options.pattern = Some(ctx.arg(at + 1)).filter(|pattern| *pattern != b"*");
            } else if ctx.is_word(at, "type") && value {
                options.kind = Some(type_named(ctx.arg(at + 1))?);
            } else if ctx.is_word(at, "novalues") {
                return Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
            } else if ctx.is_word(at, "noscores") {
                return Err(CommandError::fixed("ERR NOSCORES option can only be used in ZSCAN"));
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    fn want(&self, entry: &Entry) -> bool {
        self.kind.is_none_or(|kind| entry.kind() == kind)
            && self.pattern.is_none_or(|pattern| glob::matches(pattern, entry.key()))
    }
}

pub(crate) fn type_named(word: &[u8]) -> Result<Type, CommandError> {
    const TYPES: [Type; 6] = [Type::String, Type::List, Type::Set, Type::ZSet, Type::Hash, Type::Stream];
    TYPES
        .into_iter()
        .find(|kind| word.eq_ignore_ascii_case(kind.name().as_bytes()))
        .ok_or_else(|| CommandError::quoting("ERR unknown type name '", word, "'"))
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub fn scan(ctx: &mut Context<'_>) -> Outcome {
    let cursor = cursor_of(ctx.arg(1)).ok_or(CommandError::fixed("ERR invalid cursor"))?;
    let options = Options::parse(ctx)?;
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let mut expired: Vec<Box<[u8]>> = Vec::new();
    let (access, db) = (&ctx.db, ctx.db.db);
    let slot = Slot((cursor % SLOTS as u64) as u16);
    let part = access.keyspace.part(slot);
    let show_expired = access.rules.read == Treatment::Show;
    let next = walk(part, db, cursor, options.count, &mut |entry| {
        if !options.want(entry) {
        } else if show_expired || !access.is_expired(entry) {
            found.push(entry.key().into());
        } else {
            expired.push(entry.key().into());
        }
    });
    for key in expired {
        ctx.db.expire_if_due(db, &key, ctx.db.rules.read);
    }
    ctx.reply.array(2);
    let mut digits = itoa::Buffer::new();
    ctx.reply.bulk(digits.format(next).as_bytes());
    ctx.reply.array(found.len());
    for key in found {
        ctx.reply.bulk(&key);
    }
    Ok(())
}

/// Visits entries of a part from `cursor` on until about `count` were seen; returns where to go on, 0 at the end.
fn walk(part: &Part, db: u32, cursor: u64, count: u64, visit: &mut dyn FnMut(&Entry)) -> u64 {
    let mut slot = Slot((cursor % SLOTS as u64) as u16);
    let mut place = cursor >> SLOT_BITS;
    let next_shard = match part.index() + 1 {
        next if next < part.workers() => u64::from(next),
        _ => 0,
    };
    let Some(database) = part.database(db).filter(|_| part.owns(slot)) else { return next_shard };
    let mut seen = 0;
    let mut steps = count.saturating_mul(STEPS_PER_KEY);
    loop {
        if place == 0 {
            match database.next_used_slot(slot, part.index()) {
                Some(used) => slot = used,
                None => return next_shard,
            }
        }
        if seen >= count || steps == 0 {
            return place << SLOT_BITS | u64::from(slot.0);
        }
        steps -= 1;
        if let Some(table) = database.slot(slot).filter(|_| !part.is_hidden(slot)) {
            place = table.table().scan(place, &mut |entry| {
                seen += 1;
                visit(entry);
            });
        } else {
            place = 0;
        }
        if place == 0 {
            slot.0 += 1;
            if slot.index() >= SLOTS {
                return next_shard;
            }
        }
    }
}

/// `RANDOMKEY`
pub fn randomkey(ctx: &mut Context<'_>) -> Outcome {
    match random_key(ctx) {
        Some(key) => ctx.reply.bulk(&key),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Where expired keys are only hidden, picking until a live one comes up may take long: after some tries either all
/// keys have deadlines, and an expired one is as good an answer as Valkey gives, or a live one is searched for.
fn random_key(ctx: &mut Context<'_>) -> Option<Box<[u8]>> {
    const TRIES: u32 = 100;
    let (db, treatment) = (ctx.db.db, ctx.db.rules.read);
    let mut tries = 0;
    loop {
        let entry = ctx.db.random(ctx.rng)?;
        let key: Box<[u8]> = entry.key().into();
        if treatment == Treatment::Show || !ctx.db.is_expired(entry) {
            return Some(key);
        }
        if ctx.db.expire_if_due(db, &key, treatment) {
            continue;
        }
        tries += 1;
        if tries == TRIES {
            let all_volatile = ctx.db.keyspace.expires(db) == ctx.db.keys();
            return if all_volatile { Some(key) } else { live_key(ctx) };
        }
    }
}

/// One of the keys that are not expired, each as likely as any other.
fn live_key(ctx: &mut Context<'_>) -> Option<Box<[u8]>> {
    let mut chosen = None;
    let mut live = 0;
    let (db, rng) = (&ctx.db, &mut *ctx.rng);
    db.for_each(&mut |entry| {
        if !db.is_expired(entry) {
            live += 1;
            if rng.below(live) == 0 {
                chosen = Some(entry.key().into());
            }
        }
    });
    chosen
}
