//! One listpack of a stream: a master entry, then entries relative to it (layout: spec page rdb.md, section 4.4).
//!
//! ```text
//! master │ count │ deleted │ field count │ field ... │ 0
//! entry  │ flags │ ms delta │ seq delta │ [field count] │ [field] value ... │ elements before this one in the entry
//! ```
//! The fields of the first entry ever added are the master fields; an entry with the same fields stores only values.

use super::item::Item;
use super::listpack::{Listpack, Pos};
use super::stream::StreamId;
use std::ops::ControlFlow;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// The master entry, decoded.
#[derive(Clone, Copy)]
pub(super) struct Master {
    pub(super) count: i64,
    pub(super) deleted: i64,
    fields: usize,
    first_field: Pos,
    /// Whether the fields end with the 0 that must follow them.
    terminated: bool,
    /// The flags of the first entry, if there is one.
    first_entry: Option<Pos>,
}

/// A decoded entry of a stream: its id and its field-value pairs.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    lp: &'a Listpack,
    pub id: StreamId,
    flags: i64,
    fields: usize,
    /// The master fields if the entry has the same.
    shared: Option<Pos>,
    /// The first value, or the first field.
    body: Pos,
    next: Option<Pos>,
}

impl Entry<'_> {
    /// Number of field-value pairs.
    pub fn len(&self) -> usize {
        self.fields
    }

    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Calls `f` with each field and value, in order.
    pub fn for_each(&self, mut f: impl FnMut(Item<'_>, Item<'_>)) {
        let mut body = self.lp.iter_from(self.body);
        let mut fields = self.shared.map(|first| self.lp.iter_from(first));
        for _ in 0..self.fields {
            let field = match &mut fields {
                Some(fields) => fields.next(),
                None => body.next(),
            };
            let (Some(field), Some(value)) = (field, body.next()) else { return };
            f(field, value);
        }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }
}

/// Moves `count` elements on.
fn skip(lp: &Listpack, mut pos: Pos, count: usize) -> Option<Pos> {
    for _ in 0..count {
        pos = lp.next(pos)?;
    }
    Some(pos)
}

fn integer(lp: &Listpack, pos: Pos) -> Option<i64> {
    lp.get(pos).as_int()
}

pub(super) fn master(lp: &Listpack) -> Option<Master> {
    let count_at = lp.first()?;
    let deleted_at = lp.next(count_at)?;
    let fields_at = lp.next(deleted_at)?;
    let fields = usize::try_from(integer(lp, fields_at)?).ok()?;
    let first_field = lp.next(fields_at)?;
    let end = skip(lp, first_field, fields)?;
    Some(Master {
        count: integer(lp, count_at)?,
        deleted: integer(lp, deleted_at)?,
        fields,
        first_field,
        terminated: integer(lp, end) == Some(0),
        first_entry: lp.next(end),
    })
}

/// The entry whose flags are at `at`.
fn entry<'a>(lp: &'a Listpack, id: StreamId, master: &Master, at: Pos) -> Option<Entry<'a>> {
    let flags = integer(lp, at)?;
    let ms_at = lp.next(at)?;
    let seq_at = lp.next(ms_at)?;
    let id = StreamId {
        ms: id.ms.wrapping_add_signed(integer(lp, ms_at)?),
        seq: id.seq.wrapping_add_signed(integer(lp, seq_at)?),
    };
    let mut body = lp.next(seq_at)?;
    let same = flags & SAME_FIELDS != 0;
    let fields = if same {
        master.fields
    } else {
        let fields = usize::try_from(integer(lp, body)?).ok()?;
        body = lp.next(body)?;
        fields
    };
    let shared = same.then_some(master.first_field);
    Some(Entry { lp, id, flags, fields, shared, body, next: None })
}

impl Entry<'_> {
    /// Finds where the next entry begins, checking the element count at the end of this one.
    fn with_next(mut self) -> Option<Self> {
        let elements = if self.shared.is_some() { self.fields } else { self.fields.checked_mul(2)? };
        let count_at = skip(self.lp, self.body, elements)?;
        let before = if self.shared.is_some() { elements + 3 } else { elements + 4 };
        if integer(self.lp, count_at)? != before as i64 {
            return None;
        }
        self.next = self.lp.next(count_at);
        Some(self)
    }
}

/// Calls `f` with every entry, also deleted ones, first to last.
pub(super) fn walk(
    lp: &Listpack,
    id: StreamId,
    f: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(master) = master(lp) else { return ControlFlow::Continue(()) };
    let mut at = master.first_entry;
    while let Some(pos) = at {
        let Some(entry) = entry(lp, id, &master, pos).and_then(Entry::with_next) else { break };
        f(&entry)?;
        at = entry.next;
    }
    ControlFlow::Continue(())
}

/// Calls `f` with every entry, also deleted ones, last to first.
pub(super) fn walk_back(
    lp: &Listpack,
    id: StreamId,
    f: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(master) = master(lp) else { return ControlFlow::Continue(()) };
    let mut count_at = lp.last();
    while let Some(mut at) = count_at {
        let Some(before) = integer(lp, at).filter(|n| *n > 0) else { break };
        for _ in 0..before {
            let Some(previous) = lp.prev(at) else { return ControlFlow::Continue(()) };
            at = previous;
        }
        let Some(entry) = entry(lp, id, &master, at) else { break };
        f(&entry)?;
        count_at = lp.prev(at);
    }
    ControlFlow::Continue(())
}

/// The id of the last entry, deleted or not.
pub(super) fn last_id(lp: &Listpack, id: StreamId) -> Option<StreamId> {
    let mut last = None;
    _ = walk_back(lp, id, &mut |entry| {
        last = Some(entry.id);
        ControlFlow::Break(())
    });
    last
}

/// A node with one entry, whose id is the node's own (`pairs`: field, value, field, value, ...).
pub(super) fn create<T: AsRef<[u8]>>(pairs: &[T]) -> Listpack {
    let fields = pairs.len() as i64 / 2;
    let texts = |first| pairs.iter().skip(first).step_by(2).map(|text| Item::parse(text.as_ref()));
    let master = [1, 0, fields].into_iter().map(Item::Int).chain(texts(0)).chain([Item::Int(0)]);
    let head = [SAME_FIELDS, 0, 0].into_iter().map(Item::Int);
    let entry = head.chain(texts(1)).chain([Item::Int(fields + 3)]);
    Listpack::from_items(master.chain(entry))
}

/// Adds an entry at the end. The node must be sound.
pub(super) fn append<T: AsRef<[u8]>>(lp: &mut Listpack, master_id: StreamId, id: StreamId, pairs: &[T]) {
    let Some(master) = master(lp) else { return };
    let fields = pairs.len() / 2;
    let same = fields == master.fields && has_fields(lp, &master, pairs);
    set_counts(lp, master.count + 1, master.deleted);
    let head = [
        Item::Int(if same { SAME_FIELDS } else { 0 }),
        Item::Int(id.ms.wrapping_sub(master_id.ms) as i64),
        Item::Int(id.seq.wrapping_sub(master_id.seq) as i64),
        Item::Int(fields as i64),
    ];
    let texts = |skip, step| pairs.iter().skip(skip).step_by(step).map(|text| Item::parse(text.as_ref()));
    if same {
        let elements = Item::Int(fields as i64 + 3);
        lp.push_all(head.into_iter().take(3).chain(texts(1, 2)).chain([elements]));
    } else {
        let elements = Item::Int(2 * fields as i64 + 4);
        lp.push_all(head.into_iter().chain(texts(0, 1)).chain([elements]));
    }
}

fn has_fields<T: AsRef<[u8]>>(lp: &Listpack, master: &Master, pairs: &[T]) -> bool {
    let mut at = Some(master.first_field);
    pairs.iter().step_by(2).all(|field| {
        let same = at.is_some_and(|pos| lp.get(pos).is(field.as_ref()));
        at = at.and_then(|pos| lp.next(pos));
        same
    })
}

fn set_counts(lp: &mut Listpack, count: i64, deleted: i64) {
    let mut at = lp.first();
    for value in [count, deleted] {
        let Some(pos) = at else { return };
        if integer(lp, pos) != Some(value) {
            lp.replace(pos, Item::Int(value));
        }
        at = lp.next(pos);
    }
}

/// Marks the entries as deleted for which `select` says `Some(true)`, until it says `None`; returns how many.
pub(super) fn mark_deleted(
    lp: &mut Listpack,
    master_id: StreamId,
    mut select: impl FnMut(&Entry<'_>) -> Option<bool>,
) -> i64 {
    let Some(master) = master(lp) else { return 0 };
    let (mut at, mut marked) = (master.first_entry, 0);
    while let Some(pos) = at {
        let Some(found) = entry(lp, master_id, &master, pos).and_then(Entry::with_next) else { break };
        let (flags, chosen) = (found.flags, select(&found));
        match chosen {
            None => break,
            Some(false) => at = found.next,
            Some(true) => {
                lp.replace(pos, Item::Int(flags | DELETED));
                marked += 1;
                // Replacing may have moved what follows.
                at = entry(lp, master_id, &master, pos).and_then(Entry::with_next).and_then(|e| e.next);
            }
        }
    }
    if marked > 0 {
        set_counts(lp, master.count - marked, master.deleted + marked);
    }
    marked
}

/// Whether a listpack from outside is a sound node: every entry complete, and the counts right.
pub(super) fn is_sound(lp: &Listpack) -> bool {
    let Some(master) = master(lp) else { return false };
    let (mut live, mut deleted, mut at) = (0, 0, master.first_entry);
    while let Some(pos) = at {
        let Some(entry) = entry(lp, StreamId::MIN, &master, pos).and_then(Entry::with_next) else {
            return false;
        };
        *(if entry.is_deleted() { &mut deleted } else { &mut live }) += 1;
        at = entry.next;
    }
    master.terminated && (live, deleted) == (master.count, master.deleted)
}
