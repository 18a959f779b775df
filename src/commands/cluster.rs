//! Commands of cluster mode that need nothing but the keys and the client: READONLY, READWRITE, ASKING, CLUSTERSCAN, and
//! the subcommands of CLUSTER about the keys of a slot. The others are the actors', which have the node.

use std::sync::OnceLock;

use crate::commands::context::{CommandError, Context, Outcome};
use crate::effects::{Freeing, class};
use crate::glob;
use crate::keyspace::{Entry, SlotTable, Treatment, Type};
use crate::slot::{SLOTS, Slot, slot_of};

/// What every command of the cluster answers without one.
pub const DISABLED: CommandError = CommandError::fixed("ERR This instance has cluster support disabled");

fn enabled(ctx: &Context<'_>) -> Outcome {
    if ctx.config.cluster_enabled { Ok(()) } else { Err(DISABLED) }
}

/// `READONLY`
pub fn readonly(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.readonly = true;
    ctx.reply.ok();
    Ok(())
}

/// `READWRITE`
pub fn readwrite(ctx: &mut Context<'_>) -> Outcome {
    ctx.session.readonly = false;
    ctx.reply.ok();
    Ok(())
}

/// `ASKING`
pub fn asking(ctx: &mut Context<'_>) -> Outcome {
    enabled(ctx)?;
    ctx.session.asking = true;
    ctx.reply.ok();
    Ok(())
}

/// `CLUSTER KEYSLOT key`, also without a cluster.
pub fn keyslot(ctx: &mut Context<'_>) -> Outcome {
    ctx.reply.integer(i64::from(slot_of(ctx.arg(2)).0));
    Ok(())
}

/// The slot a number names.
pub fn slot_number(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS).map(Slot)
}

/// `CLUSTER COUNTKEYSINSLOT slot`
pub fn count_keys_in_slot(ctx: &mut Context<'_>) -> Outcome {
    enabled(ctx)?;
    let slot = slot_number(ctx.integer(2)?).ok_or(CommandError::fixed("ERR Invalid slot"))?;
    let count = table_of(ctx, slot).map_or(0, SlotTable::len);
    ctx.reply.integer(count as i64);
    Ok(())
}

fn table_of<'a>(ctx: &'a Context<'_>, slot: Slot) -> Option<&'a SlotTable> {
    ctx.db.keyspace.part(slot).database(ctx.db.db)?.slot(slot)
}

/// `CLUSTER GETKEYSINSLOT slot count`
pub fn get_keys_in_slot(ctx: &mut Context<'_>) -> Outcome {
    const INVALID: CommandError = CommandError::fixed("ERR Invalid slot or number of keys");
    enabled(ctx)?;
    let slot = slot_number(ctx.integer(2)?);
    let count = usize::try_from(ctx.integer(3)?).ok();
    let (Some(slot), Some(count)) = (slot, count) else { return Err(INVALID) };
    let keys: Vec<Box<[u8]>> = table_of(ctx, slot)
        .map(|table| table.table().iter().take(count).map(|entry| entry.key().into()).collect())
        .unwrap_or_default();
    ctx.reply.array(keys.len());
    keys.iter().for_each(|key| ctx.reply.bulk(key));
    Ok(())
}

/// `CLUSTER FLUSHSLOT slot [ASYNC | SYNC]`
pub fn flush_slot(ctx: &mut Context<'_>) -> Outcome {
    const INVALID: CommandError = CommandError::fixed("ERR Invalid or out of range slot");
    enabled(ctx)?;
    let number = crate::resp::decode::parse_integer(ctx.arg(2));
    let slot = number.and_then(slot_number).ok_or(INVALID)?;
    let lazy = match ctx.args.len() {
        3 => ctx.config.lazyfree_lazy_user_flush,
        4 if ctx.is_word(3, "async") => true,
        4 if ctx.is_word(3, "sync") => false,
        4 => return Err(CommandError::Syntax),
        _ => {
            return Err(CommandError::quoting(
                "ERR unknown subcommand or wrong number of arguments for '",
                ctx.arg(1),
                "'. Try CLUSTER HELP.",
            ));
        }
    };
    let databases = ctx.db.keyspace.part(slot).databases();
    for db in 0..databases {
        let keys: Vec<Box<[u8]>> = ctx
            .db
            .keyspace
            .part(slot)
            .database(db)
            .and_then(|database| database.slot(slot))
            .map(|table| table.table().iter().map(|entry| entry.key().into()).collect())
            .unwrap_or_default();
        for key in keys {
            let Some(entry) = ctx.db.take_in(db, &key) else { continue };
            ctx.db.effects.modified(db, slot, &key);
            ctx.db.effects.notify(class::GENERIC, "del", db, &key);
            ctx.db.effects.dirty += 1;
            ctx.db.discard_entry_as(entry, Freeing::counted_if(lazy));
        }
    }
    ctx.db.effects.force();
    ctx.reply.ok();
    Ok(())
}

/// For each slot the first of the shortest texts that hash to it, in the order of [`LETTERS`], and how long it is. Cursors
/// of CLUSTERSCAN carry them, so that clients find the node by the cursor as they do by a key.
fn tags() -> &'static [([u8; TAG_BYTES_MAX], usize)] {
    static TAGS: OnceLock<Vec<([u8; TAG_BYTES_MAX], usize)>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let mut tags = vec![([0; TAG_BYTES_MAX], 0); SLOTS];
        for length in 1..=TAG_BYTES_MAX {
            for number in 0..LETTERS.len().pow(length as u32) {
                let mut text = [0; TAG_BYTES_MAX];
                let mut rest = number;
                for letter in text[..length].iter_mut().rev() {
                    *letter = LETTERS[rest % LETTERS.len()];
                    rest /= LETTERS.len();
                }
                let tag = &mut tags[slot_of(&text[..length]).index()];
                if tag.1 == 0 {
                    *tag = (text, length);
                }
            }
        }
        debug_assert!(tags.iter().all(|(_, length)| *length != 0));
        tags
    })
}

/// What tags are made of.
const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// With so many letters every slot has one.
const TAG_BYTES_MAX: usize = 3;

/// What local cursors are worth: they are of this process, or of one with the same seed.
fn fingerprint() -> [u8; 6] {
    let number = crate::hash::hash(b"cursors of CLUSTERSCAN") as u32;
    std::array::from_fn(|place| b'0' + (number >> (place * 6) & 0x3f) as u8)
}

/// A cursor of CLUSTERSCAN: where in which slot.
#[derive(Debug, PartialEq, Eq)]
enum Cursor {
    /// The slot is not known yet.
    Begin,
    /// It names no slot.
    Nowhere,
    At(Slot, u64),
}

impl Cursor {
    fn parse(word: &[u8]) -> Option<Self> {
        if word == b"0" {
            return Some(Self::Begin);
        }
        let mut parts = word.splitn(3, |&b| b == b'-');
        let (print, tag, local) = (parts.next()?, parts.next()?, parts.next()?);
        let tag = tag.strip_prefix(b"{")?.strip_suffix(b"}")?;
        if tag.len() > TAG_BYTES_MAX {
            return None;
        }
        let local: u64 = std::str::from_utf8(local).ok()?.parse().ok()?;
        // A place in a table of another process, or of none, means nothing here.
        let place = if print == fingerprint() { local } else { 0 };
        Some(if tag.is_empty() { Self::Nowhere } else { Self::At(slot_of(tag), place) })
    }

    fn write(slot: Slot, place: u64) -> Vec<u8> {
        let (text, length) = &tags()[slot.index()];
        let tag = &text[..*length];
        let print = if place == 0 { b"0".to_vec() } else { fingerprint().to_vec() };
        [&print, b"-{".as_slice(), tag, b"}-", place.to_string().as_bytes()].concat()
    }
}

/// `CLUSTERSCAN cursor [MATCH pattern] [COUNT count] [TYPE type] [SLOT slot]`
pub fn clusterscan(ctx: &mut Context<'_>) -> Outcome {
    enabled(ctx)?;
    let cursor = Cursor::parse(ctx.arg(1)).ok_or(CommandError::fixed("ERR Invalid cursor"))?;
    let (mut count, mut pattern, mut kind, mut only) = (10u64, None, None, None);
    let mut at = 2;
    while at < ctx.args.len() {
        if ctx.is_word(at, "novalues") {
            return Err(CommandError::fixed("ERR NOVALUES option can only be used in HSCAN"));
        }
        if at + 1 == ctx.args.len() {
            return Err(CommandError::Syntax);
        }
        if ctx.is_word(at, "count") {
            let number = ctx.integer(at + 1)?;
            count = u64::try_from(number).ok().filter(|&n| n > 0).ok_or(CommandError::Syntax)?;
        } else if ctx.is_word(at, "match") {
            pattern = Some(ctx.arg(at + 1));
        } else if ctx.is_word(at, "type") {
            kind = Some(super::generic::scan::type_named(ctx.arg(at + 1))?);
        } else if ctx.is_word(at, "slot") {
            if only.is_some() {
                return Err(CommandError::fixed("ERR SLOT option can only be specified once"));
            }
            const INVALID: CommandError = CommandError::fixed("ERR Invalid or out of range slot");
            only = Some(slot_number(ctx.integer(at + 1).map_err(|_| INVALID)?).ok_or(INVALID)?);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    // All keys of a pattern with a tag that is no pattern are in one slot.
    let fixed = pattern.and_then(super::sort::pattern_slot);
    let elsewhere = only.zip(fixed).is_some_and(|(only, fixed)| only != fixed);
    let (slot, place) = match cursor {
        Cursor::Begin if elsewhere => return write_result(ctx, b"0", &[]),
        Cursor::Begin => {
            let first = only.or(fixed).unwrap_or(Slot(0));
            return write_result(ctx, &Cursor::write(first, 0), &[]);
        }
        Cursor::Nowhere => return write_result(ctx, b"0", &[]),
        Cursor::At(slot, _) if only.is_some_and(|only| only != slot) => {
            return Err(CommandError::fixed("ERR Cursor slot mismatch with SLOT argument"));
        }
        Cursor::At(..) if elsewhere => return write_result(ctx, b"0", &[]),
        Cursor::At(slot, place) => (slot, place),
    };
    match fixed {
        Some(fixed) if slot < fixed => return write_result(ctx, &Cursor::write(fixed, 0), &[]),
        Some(fixed) if slot > fixed => return write_result(ctx, b"0", &[]),
        _ => {}
    }
    let single = only.is_some() || fixed.is_some();
    let behind = slot.index() + 1;
    let end = match ctx.node {
        _ if single => behind,
        Some(node) => node.served_until(slot).max(behind),
        None => SLOTS,
    };
    let mut walk = Walk { slot, place, left: count, found: Vec::new() };
    while walk.slot.index() < end && walk.left > 0 && part_at_hand(ctx, walk.slot) {
        scan_slot(ctx, &mut walk, pattern, kind);
    }
    let Walk { slot: next, place, found, .. } = walk;
    let is_over = next.index() == SLOTS || single && next != slot;
    let cursor = if is_over { b"0".to_vec() } else { Cursor::write(next, place) };
    write_result(ctx, &cursor, &found)
}

/// Whether the keys of the slot can be looked at: a shard of several has those of its own slots only.
fn part_at_hand(ctx: &Context<'_>, slot: Slot) -> bool {
    ctx.db.keyspace.part(slot).owns(slot)
}

/// A walk through slots.
struct Walk {
    /// Where it goes on; one behind the last slot at the end.
    slot: Slot,
    place: u64,
    /// About so many keys are still to be looked at.
    left: u64,
    found: Vec<Box<[u8]>>,
}

fn write_result(ctx: &mut Context<'_>, cursor: &[u8], keys: &[Box<[u8]>]) -> Outcome {
    ctx.reply.array(2);
    ctx.reply.bulk(cursor);
    ctx.reply.array(keys.len());
    keys.iter().for_each(|key| ctx.reply.bulk(key));
    Ok(())
}

/// Goes on within a slot, to its end or until enough keys were seen.
fn scan_slot(ctx: &mut Context<'_>, walk: &mut Walk, pattern: Option<&[u8]>, kind: Option<Type>) {
    let (mut expired, mut seen) = (Vec::new(), 0);
    let access = &ctx.db;
    let show_expired = access.rules.read == Treatment::Show;
    let mut steps = walk.left.saturating_mul(10);
    if let Some(table) = table_of(ctx, walk.slot) {
        loop {
            walk.place = table.table().scan(walk.place, &mut |entry: &Entry| {
                seen += 1;
                let wanted = kind.is_none_or(|kind| entry.kind() == kind)
                    && pattern.is_none_or(|pattern| glob::matches(pattern, entry.key()));
                if !wanted {
                } else if show_expired || !access.is_expired(entry) {
                    walk.found.push(entry.key().into());
                } else {
                    expired.push(Box::<[u8]>::from(entry.key()));
                }
            });
            steps = steps.saturating_sub(1);
            if walk.place == 0 || seen >= walk.left || steps == 0 {
                break;
            }
        }
    } else {
        walk.place = 0;
    }
    walk.left = if steps == 0 { 0 } else { walk.left.saturating_sub(seen) };
    if walk.place == 0 {
        walk.slot.0 += 1;
    }
    let (db, treatment) = (ctx.db.db, ctx.db.rules.read);
    for key in expired {
        ctx.db.expire_if_due(db, &key, treatment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_say_where_they_go_on() {
        for (slot, place) in [(0, 0), (5, 77), (16_383, u64::MAX)] {
            let word = Cursor::write(Slot(slot), place);
            assert_eq!(Cursor::parse(&word), Some(Cursor::At(Slot(slot), place)));
            assert_eq!(slot_of(&word), Slot(slot), "a cursor is routed like a key");
        }
        let written = |slot| String::from_utf8(Cursor::write(Slot(slot), 0)).expect("letters");
        assert_eq!([0, 1, 80, 5461].map(written), ["0-{06S}-0", "0-{Qi}-0", "0-{avs}-0", "0-{8M}-0"]);
        assert_eq!(Cursor::parse(b"0"), Some(Cursor::Begin));
        assert_eq!(Cursor::parse(b"xxxxxx-{06S}-9"), Some(Cursor::At(Slot(0), 0)));
        assert_eq!(Cursor::parse(b"1-{06S}-9"), Some(Cursor::At(Slot(0), 0)));
        assert_eq!(Cursor::parse(b"0-{}-0"), Some(Cursor::Nowhere));
        for wrong in [b"".as_slice(), b"1", b"0-06S-0", b"0-{06S}-x", b"0-{06S}"] {
            assert_eq!(Cursor::parse(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
