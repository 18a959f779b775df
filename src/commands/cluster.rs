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
        _ => return Err(CommandError::Syntax),
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

/// The shortest texts that hash to each slot, three letters and digits each: cursors of CLUSTERSCAN carry them, so that
/// clients find the node by the cursor as they do by a key.
fn tags() -> &'static [[u8; 3]] {
    static TAGS: OnceLock<Vec<[u8; 3]>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let letters: Vec<u8> = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z').collect();
        let mut tags = vec![[0; 3]; SLOTS];
        for &a in &letters {
            for &b in &letters {
                for &c in &letters {
                    let tag = &mut tags[slot_of(&[a, b, c]).index()];
                    if tag[0] == 0 {
                        *tag = [a, b, c];
                    }
                }
            }
        }
        debug_assert!(tags.iter().all(|tag| tag[0] != 0));
        tags
    })
}

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
        if tag.is_empty() || tag.len() > 3 || !(print == b"0" || print.len() == 6) {
            return None;
        }
        let local: u64 = std::str::from_utf8(local).ok()?.parse().ok()?;
        let place = if print == fingerprint() { local } else { 0 };
        Some(Self::At(slot_of(tag), place))
    }

    fn write(slot: Slot, place: u64) -> Vec<u8> {
        let tag = &tags()[slot.index()];
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
    let (slot, place) = match cursor {
        Cursor::Begin => {
            let first = only.or(fixed).unwrap_or(Slot(0));
            return write_result(ctx, &Cursor::write(first, 0), &[]);
        }
        Cursor::At(slot, _) if only.is_some_and(|only| only != slot) => {
            return Err(CommandError::fixed("ERR Cursor slot mismatch with SLOT argument"));
        }
        Cursor::At(slot, place) => (slot, place),
    };
    let (found, next) = scan_slot(ctx, slot, place, count, pattern, kind);
    let cursor = if next != 0 {
        Cursor::write(slot, next)
    } else if only.is_some() || fixed == Some(slot) || slot.index() + 1 == SLOTS {
        b"0".to_vec()
    } else {
        Cursor::write(Slot(slot.0 + 1), 0)
    };
    write_result(ctx, &cursor, &found)
}

fn write_result(ctx: &mut Context<'_>, cursor: &[u8], keys: &[Box<[u8]>]) -> Outcome {
    ctx.reply.array(2);
    ctx.reply.bulk(cursor);
    ctx.reply.array(keys.len());
    keys.iter().for_each(|key| ctx.reply.bulk(key));
    Ok(())
}

/// Keys of a slot from `place` on, about `count` of them, and where to go on; 0 at the end of the slot.
fn scan_slot(
    ctx: &mut Context<'_>,
    slot: Slot,
    mut place: u64,
    count: u64,
    pattern: Option<&[u8]>,
    kind: Option<Type>,
) -> (Vec<Box<[u8]>>, u64) {
    let (mut found, mut expired, mut seen) = (Vec::new(), Vec::new(), 0);
    let access = &ctx.db;
    let show_expired = access.rules.read == Treatment::Show;
    let mut steps = count.saturating_mul(10);
    if let Some(table) = table_of(ctx, slot) {
        loop {
            place = table.table().scan(place, &mut |entry: &Entry| {
                seen += 1;
                let wanted = kind.is_none_or(|kind| entry.kind() == kind)
                    && pattern.is_none_or(|pattern| glob::matches(pattern, entry.key()));
                if !wanted {
                } else if show_expired || !access.is_expired(entry) {
                    found.push(entry.key().into());
                } else {
                    expired.push(Box::<[u8]>::from(entry.key()));
                }
            });
            steps = steps.saturating_sub(1);
            if place == 0 || seen >= count || steps == 0 {
                break;
            }
        }
    } else {
        place = 0;
    }
    let (db, treatment) = (ctx.db.db, ctx.db.rules.read);
    for key in expired {
        ctx.db.expire_if_due(db, &key, treatment);
    }
    (found, place)
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
        assert_eq!(Cursor::parse(b"0"), Some(Cursor::Begin));
        assert_eq!(Cursor::parse(b"xxxxxx-{06S}-9"), Some(Cursor::At(Slot(0), 0)));
        for wrong in [b"".as_slice(), b"1", b"0-{}-0", b"0-06S-0", b"0-{06S}-x", b"0-{06S}", b"zzz-{06S}-0"] {
            assert_eq!(Cursor::parse(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
