//! SORT and SORT_RO.
//!
//! BY and GET name keys by a pattern: its first `*` stands for the element, and `key->field` for a field of a hash.

use crate::acl::check::{Place, may_read_all_keys};
use crate::commands::context::Outcome;
use crate::commands::list::{limits, reply_item};
use crate::commands::{CommandError, Context};
use crate::effects::class;
use crate::keyspace::access::Expiry;
use crate::keyspace::{NewValue, Value, ValueRef};
use crate::resp::Reply;
use crate::slot::{SLOTS, Slot, slot_of};
use crate::types::list::{End, List};
use crate::types::number::parse_f64;
use crate::types::quicklist::Quicklist;
use crate::types::zset::ZSet;
use crate::types::{ItemBuffer, OwnedItem};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

pub fn sort(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Store::Allowed)
}

pub fn sort_ro(ctx: &mut Context<'_>) -> Outcome {
    run(ctx, Store::Unknown)
}

/// Whether a SORT with these arguments looks at keys that its arguments do not name.
pub fn follows_patterns(args: &[&[u8]]) -> bool {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    args.windows(2).skip(1).any(|pair| (is(pair[0], "by") || is(pair[0], "get")) && pair[1].contains(&b'*'))
}

/// Whether the option STORE exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Allowed,
    Unknown,
}

struct Options<'a> {
    descending: bool,
    alphabetic: bool,
    offset: i64,
    /// Below 0: to the end.
    count: i64,
    by: Option<&'a [u8]>,
    /// Leave the order as it is: a BY without a `*`.
    unsorted: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Context<'a>, store: Store) -> Result<Self, CommandError> {
        let args = ctx.args;
        let mut options = Options {
            descending: false,
            alphabetic: false,
            offset: 0,
            count: -1,
            by: None,
            unsorted: false,
            get: Vec::new(),
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let value = args.get(at + 1).copied();
            match value {
                _ if ctx.is_word(at, "ASC") => options.descending = false,
                _ if ctx.is_word(at, "DESC") => options.descending = true,
                _ if ctx.is_word(at, "ALPHA") => options.alphabetic = true,
                Some(_) if ctx.is_word(at, "LIMIT") && at + 2 < args.len() => {
                    options.offset = ctx.integer(at + 1)?;
                    options.count = ctx.integer(at + 2)?;
                    at += 2;
                }
                Some(key) if store == Store::Allowed && ctx.is_word(at, "STORE") => {
                    options.store = Some(key);
                    at += 1;
                }
                Some(pattern) if ctx.is_word(at, "BY") => {
                    options.by = Some(pattern);
                    if pattern.contains(&b'*') {
                        check_slot(ctx, pattern, "BY")?;
                        check_rights(ctx, "BY")?;
                    } else {
                        options.unsorted = true;
                    }
                    at += 1;
                }
                Some(pattern) if ctx.is_word(at, "GET") => {
                    if pattern != b"#" {
                        check_slot(ctx, pattern, "GET")?;
                    }
                    check_rights(ctx, "GET")?;
                    options.get.push(pattern);
                    at += 1;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    /// The positions that LIMIT leaves of so many.
    fn window(&self, len: usize) -> Range<usize> {
        let clamp = |value: i64| usize::try_from(value).map_or(0, |value| value.min(len));
        let start = clamp(self.offset);
        let end = if self.count < 0 { len } else { (start + clamp(self.count)).min(len) };
        start..end
    }
}

/// In a cluster the keys of a pattern must all be in the slot of the key that is sorted.
fn check_slot(ctx: &Context<'_>, pattern: &[u8], option: &str) -> Result<(), CommandError> {
    if ctx.config.cluster_enabled && pattern_slot(pattern) != Some(slot_of(ctx.arg(1))) {
        return Err(CommandError::text(format!(
            "ERR {option} option of SORT denied in cluster mode when keys formed by the pattern may be in different \
             slots."
        )));
    }
    Ok(())
}

/// A pattern may lead to any key, so the user must be allowed to read all of them.
fn check_rights(ctx: &Context<'_>, option: &str) -> Result<(), CommandError> {
    let user = &ctx.session.user;
    if user.is_unrestricted() {
        return Ok(());
    }
    let place = Place { db: ctx.session.db, databases: ctx.config.database_count() };
    let command = crate::acl::command_named(ctx.spec.name.as_bytes());
    if command.is_some_and(|command| may_read_all_keys(user, command, ctx.args, place)) {
        return Ok(());
    }
    Err(CommandError::text(format!(
        "ERR {option} option of SORT denied due to insufficient ACL permissions."
    )))
}

/// The slot of all keys that match a pattern, if its wildcards leave no choice.
pub(super) fn pattern_slot(pattern: &[u8]) -> Option<Slot> {
    let mut open: Option<usize> = None;
    let mut tagged = true;
    for (at, byte) in pattern.iter().enumerate() {
        match (byte, open) {
            (b'*' | b'?' | b'[' | b'\\', _) => return None,
            (b'{', None) if tagged => open = Some(at),
            (b'}', Some(start)) if at == start + 1 => {
                (open, tagged) = (None, false);
            }
            (b'}', Some(start)) => {
                let tag = &pattern[start + 1..at];
                return Some(Slot(crc16::State::<crc16::XMODEM>::calculate(tag) % SLOTS as u16));
            }
            _ => {}
        }
    }
    Some(Slot(crc16::State::<crc16::XMODEM>::calculate(pattern) % SLOTS as u16))
}

fn run(ctx: &mut Context<'_>, store: Store) -> Outcome {
    let mut options = Options::parse(ctx, store)?;
    let rows = load(ctx, &mut options)?;
    match options.store {
        None => {
            ctx.reply.array(rows.len() * options.get.len().max(1));
            for row in &rows {
                if options.get.is_empty() {
                    reply_item(ctx.reply, row.as_item());
                }
                for pattern in &options.get {
                    let value = follow(ctx, pattern, row);
                    reply_value(ctx.reply, value);
                }
            }
        }
        Some(target) => {
            let stored = store_rows(ctx, &options, &rows, target);
            ctx.reply.integer(stored as i64);
        }
    }
    Ok(())
}

fn reply_value(reply: &mut Reply, value: Option<OwnedItem>) {
    match value {
        Some(value) => reply_item(reply, value.as_item()),
        None => reply.null(),
    }
}

/// The elements in the order asked for, cut to LIMIT.
fn load(ctx: &mut Context<'_>, options: &mut Options<'_>) -> Result<Vec<OwnedItem>, CommandError> {
    let key = ctx.arg(1);
    let mut items = Vec::new();
    let Some(entry) = ctx.db.lookup(key, crate::keyspace::Lookup::READ) else { return Ok(items) };
    if let Some(mut zset) = entry.zset_mut() {
        // Valkey sorts only that encoding, and OBJECT ENCODING shows it from then on.
        zset.convert_to_sorted();
        if options.unsorted {
            let window = options.window(zset.len());
            return Ok(zset_window(&zset, window, options.descending));
        }
    }
    match entry.value() {
        ValueRef::List(list) => {
            let len = list.len();
            let window = if options.unsorted { options.window(len) } else { 0..len };
            let descending = options.unsorted && options.descending;
            let first = if descending { (len - 1).wrapping_sub(window.start) } else { window.start };
            let mut left = window.len();
            if left > 0 {
                list.visit(first, !descending, |item| {
                    items.push(item.into());
                    left -= 1;
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
            if options.unsorted {
                return Ok(items);
            }
        }
        ValueRef::Set(set) => set.visit(|item| {
            items.push(item.into());
            ControlFlow::Continue(())
        }),
        ValueRef::ZSet(zset) => items = zset_window(&zset, 0..zset.len(), false),
        _ => return Err(CommandError::WrongType),
    }
    // A set has no order of its own that replicas would share.
    if options.unsorted && options.store.is_some() {
        (options.unsorted, options.alphabetic, options.by) = (false, true, None);
    }
    let window = options.window(items.len());
    let mut items = if options.unsorted { items } else { sorted(ctx, options, items)? };
    items.truncate(window.end);
    items.drain(..window.start.min(items.len()));
    Ok(items)
}

fn zset_window(zset: &ZSet, window: Range<usize>, descending: bool) -> Vec<OwnedItem> {
    let ranks = if descending { zset.len() - window.end..zset.len() - window.start } else { window };
    let mut items = Vec::with_capacity(ranks.len());
    zset.visit(ranks, descending, |member, _| {
        items.push(member.into());
        ControlFlow::Continue(())
    });
    items
}

/// An element and what it is sorted by.
struct Row {
    item: OwnedItem,
    score: f64,
    /// With ALPHA and BY: the value found.
    text: Option<Vec<u8>>,
}

fn sorted(
    ctx: &mut Context<'_>,
    options: &Options<'_>,
    items: Vec<OwnedItem>,
) -> Result<Vec<OwnedItem>, CommandError> {
    let mut unreadable = false;
    let mut rows: Vec<Row> = Vec::with_capacity(items.len());
    for item in items {
        let mut row = Row { item, score: 0.0, text: None };
        let found = options.by.map(|pattern| follow(ctx, pattern, &row.item));
        match (found, options.alphabetic) {
            (Some(found), true) => row.text = found.map(OwnedItem::into_vec),
            (None, true) | (Some(None), false) => {}
            (Some(Some(found)), false) => row.score = score(&found).unwrap_or_else(|| set(&mut unreadable)),
            (None, false) => row.score = score(&row.item).unwrap_or_else(|| set(&mut unreadable)),
        }
        rows.push(row);
    }
    if unreadable {
        return Err(CommandError::fixed("ERR One or more scores can't be converted into double"));
    }
    rows.sort_by(|a, b| {
        let order = compare(a, b, options);
        if options.descending { order.reverse() } else { order }
    });
    Ok(rows.into_iter().map(|row| row.item).collect())
}

fn set(unreadable: &mut bool) -> f64 {
    *unreadable = true;
    0.0
}

fn score(item: &OwnedItem) -> Option<f64> {
    match item {
        OwnedItem::Int(n) => Some(*n as f64),
        OwnedItem::Text(text) => parse_f64(before_zero(text)),
    }
}

/// What C takes for the whole string.
fn before_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn compare(a: &Row, b: &Row, options: &Options<'_>) -> Ordering {
    let collate = |a: &[u8], b: &[u8]| match options.store {
        Some(_) => a.cmp(b),
        // As strcoll in the C locale.
        None => before_zero(a).cmp(before_zero(b)),
    };
    if options.alphabetic && options.by.is_some() {
        return match (&a.text, &b.text) {
            (Some(a), Some(b)) => collate(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
    }
    let (mut a_buffer, mut b_buffer) = (ItemBuffer::new(), ItemBuffer::new());
    if options.alphabetic {
        return collate(a.item.as_item().text(&mut a_buffer), b.item.as_item().text(&mut b_buffer));
    }
    // Equal scores come in the order of the elements, so that the result is always the same.
    a.score
        .partial_cmp(&b.score)
        .filter(|order| order.is_ne())
        .unwrap_or_else(|| a.item.as_item().text(&mut a_buffer).cmp(b.item.as_item().text(&mut b_buffer)))
}

/// The value that a pattern names for an element.
fn follow(ctx: &mut Context<'_>, pattern: &[u8], element: &OwnedItem) -> Option<OwnedItem> {
    if pattern == b"#" {
        return Some(element.clone());
    }
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let (suffix, field) = match rest.windows(2).position(|pair| pair == b"->") {
        Some(at) if at + 2 < rest.len() => (&rest[..at], Some(&rest[at + 2..])),
        _ => (rest, None),
    };
    let mut buffer = ItemBuffer::new();
    let key = [prefix, element.as_item().text(&mut buffer), suffix].concat();
    let now = ctx.db.now;
    match (ctx.db.read(&key)?.value(), field) {
        (ValueRef::Int(n), None) => Some(OwnedItem::Int(n)),
        (ValueRef::Str(text), None) => Some(OwnedItem::Text(text.to_vec())),
        (ValueRef::Hash(hash), Some(field)) => hash
            .get(field)
            .filter(|found| found.deadline_ms.is_none_or(|deadline| now <= deadline))
            .map(|found| found.value.into()),
        _ => None,
    }
}

/// Stores the rows as a list, or removes the target if there is none; returns how many were stored.
fn store_rows(ctx: &mut Context<'_>, options: &Options<'_>, rows: &[OwnedItem], target: &[u8]) -> usize {
    let limits = limits(ctx.config);
    let mut list = Quicklist::new(&limits);
    let mut buffer = ItemBuffer::new();
    for row in rows {
        if options.get.is_empty() {
            list.push(row.as_item().text(&mut buffer), End::Tail);
        }
        for pattern in &options.get {
            match follow(ctx, pattern, row) {
                Some(value) => list.push(value.as_item().text(&mut buffer), End::Tail),
                None => list.push(b"", End::Tail),
            }
        }
    }
    let stored = list.len();
    if stored > 0 {
        let mut list = List::Quicklist(Box::new(list));
        list.settle(&limits);
        ctx.db.set(target, NewValue::Owned(Value::List(list)), Expiry::Drop);
        ctx.db.effects.dirty += stored as u64;
        ctx.db.modified(target);
        ctx.db.notify(class::LIST, "sortstore", target);
    } else if ctx.db.remove(target) {
        ctx.db.changed(class::GENERIC, "del", target);
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Bench;

    #[test]
    fn effects_are_those_of_valkey() {
        Bench::new().check_effects(
            "
            RPUSH l 3 1 2 | 3 | RPUSH l 3 1 2 | new l; rpush l
            SORT l | 0 | |
            SORT l STORE m | 3 | SORT l STORE m | new m; sortstore m
            SORT l LIMIT 0 0 STORE m | 1 | SORT l LIMIT 0 0 STORE m | del m
            SORT nope STORE m | 0 | | keymiss nope
            SORT nope | 0 | | keymiss nope
            SORT l BY w* GET # GET o* LIMIT 0 1 | 0 | | keymiss w3; keymiss w1; keymiss w2; keymiss o1
            SORT l STORE l | 3 | SORT l STORE l | sortstore l
            SORT l STORE a STORE b | 3 | SORT l STORE a STORE b | new b; sortstore b
            ",
        );
    }

    #[test]
    fn patterns_of_keys_outside_the_arguments_are_told_apart() {
        let follows = |line: &str| follows_patterns(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert!(!follows("SORT l LIMIT 0 5 ALPHA STORE m"));
        assert!(!follows("SORT l BY nosort GET #"));
        assert!(follows("SORT l by w*"));
        assert!(follows("SORT l BY nosort GET h*->f"));
    }

    #[test]
    fn slots_of_patterns() {
        assert_eq!(pattern_slot(b"{foo}*"), Some(slot_of(b"foo")));
        assert_eq!(pattern_slot(b"a*{foo}"), None);
        assert_eq!(pattern_slot(b"{}{foo}*"), None);
        assert_eq!(pattern_slot(b"foo"), Some(slot_of(b"foo")));
    }

    #[test]
    fn a_cluster_refuses_patterns_over_slots() {
        let mut bench = Bench::new();
        bench.config.cluster_enabled = true;
        bench.say("RPUSH {t}l 1");
        assert_eq!(bench.say("SORT {t}l BY {t}w_* GET {t}*->f GET #"), "*2\r\n$-1\r\n$1\r\n1\r\n");
        for (option, line) in [("BY", "SORT {t}l BY w_*"), ("GET", "SORT {t}l GET w_*")] {
            let error = bench.say(line);
            assert!(
                error.starts_with(&format!("-ERR {option} option of SORT denied in cluster mode")),
                "{error}"
            );
        }
    }
}
