//! Sets: integers in an intset, few short members in a listpack, anything else in a table. Conversions happen where
//! Valkey's do, and only towards the table.

use super::intset::Intset;
use super::item::{Item, OwnedItem};
use super::listpack::Listpack;
use super::record::Member;
use super::{Collection, Payload, extrapolated};
use crate::hash::hash;
use crate::keyspace::table::Table;
use std::ops::ControlFlow;

/// The directives that choose a set's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    /// `set-max-intset-entries`
    pub intset_entries_max: usize,
    /// `set-max-listpack-entries`
    pub listpack_entries_max: usize,
    /// `set-max-listpack-value`, bytes
    pub listpack_value_max: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        SetLimits { intset_entries_max: 512, listpack_entries_max: 128, listpack_value_max: 64 }
    }
}

/// Members an intset may hold whatever the configuration says.
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// The value of a set key.
pub enum Set {
    Intset(Intset),
    Listpack(Listpack),
    Table(Box<Table<Member>>),
}

/// A member found by position: a copy, since listpacks and intsets have no reference to give out.
pub type AnyMember = OwnedItem;

impl Set {
    /// An empty set in the encoding for about `count` members of which `first` is one.
    pub fn for_members(first: &[u8], count: usize, limits: &SetLimits) -> Self {
        if count <= limits.intset_entries_max && Item::parse(first).as_int().is_some() {
            Set::Intset(Intset::new())
        } else if count <= limits.listpack_entries_max {
            Set::Listpack(Listpack::new())
        } else {
            Set::Table(Box::default())
        }
    }

    /// An empty intset: where results of set algebra start.
    pub fn new() -> Self {
        Set::Intset(Intset::new())
    }

    /// Takes over a listpack from a dump; `None` unless its members are distinct.
    pub fn from_listpack(lp: Listpack, limits: &SetLimits) -> Option<Self> {
        if !lp.is_distinct(1) {
            return None;
        }
        let mut set = Set::Listpack(lp);
        set.prepare_add(set.len(), limits);
        Some(set)
    }

    /// Takes over an intset from a dump.
    pub fn from_intset(intset: Intset, limits: &SetLimits) -> Self {
        let mut set = Set::Intset(intset);
        set.prepare_add(set.len(), limits);
        set
    }

    /// The name OBJECT ENCODING shows.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Set::Intset(_) => "intset",
            Set::Listpack(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Set::Intset(set) => set.len(),
            Set::Listpack(lp) => lp.len(),
            Set::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes ready for a command that adds up to `count` members: goes to a table at once if they would need one.
    pub fn prepare_add(&mut self, count: usize, limits: &SetLimits) {
        let max = match self {
            Set::Intset(_) => limits.intset_entries_max,
            Set::Listpack(_) => limits.listpack_entries_max,
            Set::Table(_) => return,
        };
        if count > max {
            self.convert_to_table();
        }
    }

    /// Goes over to a table, which takes any member.
    pub fn convert_to_table(&mut self) {
        if matches!(self, Set::Table(_)) {
            return;
        }
        let mut table = Box::new(Table::new());
        self.visit(|item| {
            let member = Member::new(item.text(&mut itoa::Buffer::new()));
            table.insert_new(hash(member.text()), member);
            ControlFlow::Continue(())
        });
        *self = Set::Table(table);
    }

    /// Adds a member; false if it was there.
    pub fn add(&mut self, text: &[u8], limits: &SetLimits) -> bool {
        let item = Item::parse(text);
        match self {
            Set::Intset(set) => {
                if let Item::Int(value) = item {
                    let added = set.insert(value);
                    if set.len() > limits.intset_entries_max.min(INTSET_ENTRIES_MAX) {
                        self.convert_to_table();
                    }
                    return added;
                }
                let widest = set.iter().next().into_iter().chain(set.iter().next_back());
                let widest = widest.map(|v| Item::Int(v).text_len()).max().unwrap_or(0);
                let fits = set.len() < limits.listpack_entries_max
                    && text.len().max(widest) <= limits.listpack_value_max;
                if !fits {
                    self.convert_to_table();
                    return self.add(text, limits);
                }
                let mut lp = Listpack::new();
                for value in set.iter() {
                    lp.append_int(value);
                }
                lp.push(item);
                *self = Set::Listpack(lp);
                true
            }
            Set::Listpack(lp) => {
                if lp.find(lp.first(), text, 0).is_some() {
                    return false;
                }
                let fits = lp.len() < limits.listpack_entries_max
                    && text.len() <= limits.listpack_value_max
                    && lp.may_grow_by(text.len());
                if fits {
                    lp.push(item);
                    return true;
                }
                self.convert_to_table();
                self.add(text, limits)
            }
            Set::Table(table) => table.find_or_insert_with(hash(text), text, || Member::new(text)).1,
        }
    }

    /// Removes a member; false if it was not there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        match self {
            Set::Intset(set) => Item::parse(text).as_int().is_some_and(|value| set.remove(value)),
            Set::Listpack(lp) => match lp.find(lp.first(), text, 0) {
                Some(pos) => {
                    lp.remove(pos);
                    true
                }
                None => false,
            },
            Set::Table(table) => table.remove(hash(text), text).is_some(),
        }
    }

    pub fn contains(&self, text: &[u8]) -> bool {
        match self {
            Set::Intset(set) => Item::parse(text).as_int().is_some_and(|value| set.contains(value)),
            Set::Listpack(lp) => lp.find(lp.first(), text, 0).is_some(),
            Set::Table(table) => table.find(hash(text), text).is_some(),
        }
    }

    /// [`Set::contains`] for a member of another set, which may be an integer without a text.
    #[inline]
    pub fn contains_item(&self, item: Item<'_>) -> bool {
        match (self, item) {
            (Set::Intset(set), Item::Int(value)) => set.contains(value),
            _ => self.contains(item.text(&mut itoa::Buffer::new())),
        }
    }

    /// Calls `f` with each member until it breaks.
    pub fn visit<'s>(&'s self, mut f: impl FnMut(Item<'s>) -> ControlFlow<()>) {
        _ = match self {
            Set::Intset(set) => set.iter().try_for_each(|value| f(Item::Int(value))),
            Set::Listpack(lp) => lp.iter().try_for_each(f),
            Set::Table(table) => table.iter().try_for_each(|member| f(Item::Str(member.text()))),
        };
    }

    /// One step of SSCAN from `cursor`; compact encodings give all members at once. Returns the next cursor, 0 at the
    /// end.
    pub fn scan(&self, cursor: u64, mut f: impl FnMut(Item<'_>)) -> u64 {
        if let Set::Table(table) = self {
            return table.scan(cursor, &mut |member| f(Item::Str(member.text())));
        }
        self.visit(|item| {
            f(item);
            ControlFlow::Continue(())
        });
        0
    }

    /// The member at a position, of a compact encoding.
    fn nth(&self, index: usize) -> Option<AnyMember> {
        match self {
            Set::Intset(set) => set.get(index).map(OwnedItem::Int),
            Set::Listpack(lp) => Some(lp.get(lp.seek(index as i64)?).into()),
            Set::Table(_) => None,
        }
    }

    /// Calls `f` with a random member, if there is any; `rng` gives random words.
    pub fn visit_random(&self, rng: &mut dyn FnMut() -> u64, f: impl FnOnce(Item<'_>)) {
        match self {
            Set::Table(table) => {
                if let Some(member) = table.random(rng) {
                    f(Item::Str(member.text()));
                }
            }
            _ => {
                if let Some(member) = self.nth((rng() % (self.len().max(1) as u64)) as usize) {
                    f(member.as_item());
                }
            }
        }
    }

    /// A random member; `rng` gives random words.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<AnyMember> {
        let mut found = None;
        self.visit_random(rng, |member| found = Some(member.into()));
        found
    }

    /// Removes and returns a random member.
    pub fn pop_random(&mut self, rng: &mut dyn FnMut() -> u64) -> Option<AnyMember> {
        let member = self.random(rng)?;
        self.remove(member.as_item().text(&mut itoa::Buffer::new()));
        Some(member)
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Set {
    fn clone(&self) -> Self {
        match self {
            Set::Intset(set) => Set::Intset(set.clone()),
            Set::Listpack(lp) => Set::Listpack(lp.clone()),
            Set::Table(table) => {
                let mut copy = Box::new(Table::new());
                for member in table.iter() {
                    copy.insert_new(hash(member.text()), Member::new(member.text()));
                }
                Set::Table(copy)
            }
        }
    }
}

impl Collection for Set {
    fn free_effort(&self) -> usize {
        if let Set::Table(table) = self { table.len() } else { 1 }
    }

    fn drop_some(&mut self, budget: usize) -> bool {
        match self {
            Set::Table(table) => !table.take_some(budget, &mut drop),
            _ => true,
        }
    }

    fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self {
            Set::Intset(set) => set.heap_bytes(),
            Set::Listpack(lp) => lp.heap_bytes(),
            Set::Table(table) => {
                size_of::<Table<Member>>()
                    + table.heap_bytes()
                    + extrapolated(table.iter().map(Member::heap_bytes), table.len(), samples)
            }
        }
    }
}

impl Payload for Set {
    fn into_raw(self) -> (u8, usize) {
        match self {
            Set::Intset(set) => (0, set.into_word()),
            Set::Listpack(lp) => (1, lp.into_word()),
            Set::Table(table) => (2, Box::into_raw(table).expose_provenance()),
        }
    }

    unsafe fn from_raw(encoding: u8, word: usize) -> Self {
        match encoding {
            // SAFETY: the caller promises a pair from `into_raw`, where this tag goes with an intset's word.
            0 => Set::Intset(unsafe { Intset::from_word(word) }),
            // SAFETY: and this one with a listpack's word.
            1 => Set::Listpack(unsafe { Listpack::from_word(word) }),
            // SAFETY: and any other with a box of a table.
            _ => Set::Table(unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn members(set: &Set) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        set.visit(|item| {
            assert!(all.insert(item.to_vec()));
            ControlFlow::Continue(())
        });
        assert_eq!(all.len(), set.len());
        all
    }

    fn filled(texts: impl IntoIterator<Item = String>) -> Set {
        let (mut set, limits) = (Set::new(), SetLimits::default());
        for text in texts {
            set.add(text.as_bytes(), &limits);
        }
        set
    }

    #[test]
    fn encodings_change_at_the_thresholds() {
        let numbers = |n: usize| (0..n).map(|i| i.to_string());
        assert_eq!(filled(numbers(512)).encoding_name(), "intset");
        assert_eq!(filled(numbers(513)).encoding_name(), "hashtable");
        assert_eq!(filled(numbers(127).chain(["a".into()])).encoding_name(), "listpack");
        assert_eq!(filled(numbers(128).chain(["a".into()])).encoding_name(), "hashtable");
        assert_eq!(filled((0..128).map(|i| format!("a{i}"))).encoding_name(), "listpack");
        assert_eq!(filled((0..129).map(|i| format!("a{i}"))).encoding_name(), "hashtable");
        assert_eq!(filled(["x".repeat(64)]).encoding_name(), "listpack");
        assert_eq!(filled(["x".repeat(65)]).encoding_name(), "hashtable");
        let limits = SetLimits::default();
        for (first, count, want) in
            [("1", 512, "intset"), ("1", 513, "hashtable"), ("a", 128, "listpack"), ("a", 129, "hashtable")]
        {
            assert_eq!(Set::for_members(first.as_bytes(), count, &limits).encoding_name(), want);
        }
        let mut set = filled(["1".into()]);
        set.prepare_add(513, &limits);
        assert_eq!((set.encoding_name(), set.contains(b"1")), ("hashtable", true));
    }

    #[test]
    fn large_sets_are_lean() {
        let set = filled((0..100_000).map(|i| format!("member:{i:08}")));
        let per_member = set.heap_bytes() as f64 / 100_000.0;
        assert!(per_member < 36.0, "{per_member}");
        assert!((set.heap_bytes_sampled(5) as f64 / set.heap_bytes() as f64 - 1.0).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(
            ops in prop::collection::vec((0u8..6, prop_oneof![
                (0i64..50).prop_map(|v| v.to_string().into_bytes()),
                any::<i64>().prop_map(|v| v.to_string().into_bytes()),
                prop::collection::vec(b'a'..b'd', 0..4),
                (60usize..300).prop_map(|n| vec![b'z'; n]),
            ]), 0..120),
            ints in 0usize..40, entries in 0usize..30, value in 5usize..100,
        ) {
            let limits = SetLimits { intset_entries_max: ints, listpack_entries_max: entries, listpack_value_max: value };
            let (mut set, mut model) = (Set::new(), BTreeSet::new());
            let mut word = 7u64;
            let mut rng = || { word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); word >> 20 };
            for (kind, text) in ops {
                match kind {
                    0..=2 => prop_assert_eq!(set.add(&text, &limits), model.insert(text)),
                    3 => prop_assert_eq!(set.remove(&text), model.remove(&text)),
                    4 => {
                        let popped = set.pop_random(&mut rng).map(OwnedItem::into_vec);
                        prop_assert_eq!(popped.is_some(), !model.is_empty());
                        if let Some(popped) = popped {
                            prop_assert!(model.remove(&popped));
                        }
                    }
                    _ => {
                        let (tag, word) = set.into_raw();
                        // SAFETY: the pair comes from `into_raw` just before.
                        set = unsafe { Set::from_raw(tag, word) }.clone();
                    }
                }
            }
            prop_assert_eq!(&members(&set), &model);
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            loop {
                cursor = set.scan(cursor, |item| _ = seen.insert(item.to_vec()));
                if cursor == 0 { break; }
            }
            prop_assert_eq!(seen, model);
            while !set.drop_some(3) {}
        }
    }
}
