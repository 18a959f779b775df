use super::*;
use crate::config::RdbVersionCheck;
use crate::effects::{Effects, Freeing, Garbage};
use crate::keyspace::access::Expiry;
use crate::keyspace::{Access, Database, ExpiryRules, Keyspace, Lookup, NewValue, Part, Value};
use crate::rdb::Limits;
use crate::rdb::file::{FileItem, FileReader, FileWriter};
use crate::rng::Rng;
use crate::slot::{Slot, slot_of};
use crate::types::set::{Set, SetLimits};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Database and key to value and deadline.
type Model = BTreeMap<(u32, Vec<u8>), (i64, Option<i64>)>;

struct Running {
    lane: Lane,
    walk: Walk,
    at_cut: Model,
    received: Vec<Chunk>,
}

struct World {
    keyspace: Keyspace,
    effects: Effects,
    model: Model,
    orphans: Vec<Database>,
    running: Vec<Running>,
    finished: usize,
    /// Keys that were received in pieces.
    in_pieces: usize,
    /// What a unit holds: slots, part.
    held: Option<(Vec<Slot>, Part)>,
}

const FORMAT: Format =
    Format::Rdb { compression: Compression::On, use_of_keys: UseOfKeys::Unsaid, slot_hints: true };

fn access<'a>(keyspace: &'a mut Keyspace, effects: &'a mut Effects, db: u32) -> Access<'a> {
    Access {
        keyspace,
        effects,
        db,
        now: 0,
        rules: ExpiryRules::default(),
        touch: Touch::default(),
        lazy_expire: true,
        lazy_server_del: true,
        client_no_touch: false,
        hint: None,
    }
}

/// Few names in few slots, many of them in one.
fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.below(3) {
        0 => format!("{{tag}}{}", rng.below(400)),
        _ => format!("key:{}", rng.below(60)),
    }
    .into_bytes()
}

/// A set that takes several slices, and how many members it has.
fn large_set(rng: &mut Rng) -> (NewValue<'static>, i64) {
    let members = 1_500 + rng.below(1_500);
    let mut set = Set::default();
    for _ in 0..members {
        let member: Vec<u8> = (0..8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        set.add(&member, &SetLimits::default());
    }
    (NewValue::Owned(Value::Set(set)), members as i64)
}

fn read(chunks: &[Chunk]) -> Model {
    let mut writer = FileWriter::new(Compression::On, true);
    let mut selected = None;
    for chunk in chunks {
        let mut start = 0;
        for &(db, end) in &chunk.runs {
            // Nothing may come between the pieces of a key.
            if selected.replace(db) != Some(db) {
                writer.reselect(db);
            }
            writer.encoded(&chunk.bytes[start..end]);
            start = end;
        }
    }
    let mut reader = FileReader::new(RdbVersionCheck::Strict, true, Limits::default());
    reader.push(&writer.finish());
    reader.complete();
    let mut found = Model::new();
    let mut db = 0;
    loop {
        match reader.next_item().expect("a sound file").expect("all of it is there") {
            FileItem::Database(number) => db = number as u32,
            FileItem::Key(key) => {
                let n = match key.value {
                    Value::Int(n) => n,
                    Value::Set(members) => members.len() as i64,
                    _ => panic!("only integers and sets are stored here"),
                };
                let twice = found.insert((db, key.key), (n, key.deadline));
                assert!(twice.is_none(), "exported twice");
            }
            FileItem::Aux { name, value } => {
                let numbers: Vec<u64> = std::str::from_utf8(&value)
                    .expect("text")
                    .split(',')
                    .map(|number| number.parse().expect("a number"))
                    .collect();
                assert!(name == SLOT_HINT && numbers.len() == 4, "{numbers:?}");
                assert!(numbers[1] > 0 && numbers[2] <= numbers[1] && numbers[3] == 0, "{numbers:?}");
            }
            FileItem::End => return found,
            _ => {}
        }
    }
}

impl World {
    fn new() -> Self {
        Self {
            keyspace: Keyspace::of_shard(Part::new(0, 1)),
            effects: Effects::default(),
            model: Model::new(),
            orphans: Vec::new(),
            running: Vec::new(),
            finished: 0,
            in_pieces: 0,
            held: None,
        }
    }

    fn cut(&mut self) {
        let Some(lane) = (0..LANES).find(|l| self.running.iter().all(|r| r.lane.index() != *l)) else {
            return;
        };
        let lane = Lane::new(lane);
        self.effects.exports.active = true;
        self.effects.exports.formats[lane.index()] = Some(FORMAT);
        let databases = self.keyspace.parts_mut()[0].open_lane(lane);
        let walk = Walk::new(lane, databases.iter().rev().map(|d| d.id).collect());
        self.running.push(Running { lane, walk, at_cut: self.model.clone(), received: Vec::new() });
    }

    fn deliver(&mut self) {
        for (lane, chunk) in self.effects.exports.drain() {
            if let Some(running) = self.running.iter_mut().find(|r| r.lane == lane) {
                running.received.push(chunk);
            }
        }
        for garbage in self.effects.garbage.drain(..) {
            match garbage {
                Garbage::Exporting(0, database) => self.orphans.push(*database),
                Garbage::Tables(_) | Garbage::Value(_) | Garbage::Entry(_) => {}
                _ => panic!("no other garbage is made here"),
            }
        }
    }

    fn walk(&mut self, rng: &mut Rng, steps: u64) {
        if self.running.is_empty() {
            return;
        }
        let index = rng.below(self.running.len() as u64) as usize;
        let running = &mut self.running[index];
        if rng.below(4) == 0 {
            let (key, db) = (key(rng), rng.below(3) as u32);
            if let Some(database) = self.keyspace.parts()[0].database(db) {
                running.walk.hasten(database.id(), slot_of(&key), &key);
            }
        }
        let (chunk, mut large) = (RefCell::new(Chunk::default()), Vec::new());
        let mut left = steps;
        let held = self.held.as_ref().map(|(slots, _)| slots.clone()).unwrap_or_default();
        let walked = running.walk.advance(&mut Ground {
            part: &mut self.keyspace.parts_mut()[0],
            orphans: &mut self.orphans,
            is_held: &|slot| held.contains(&slot),
            put: &mut |db, entry, staged| {
                let is_through = staged.step(&mut chunk.borrow_mut(), FORMAT, db, entry, Touch::default());
                if is_through {
                    large.extend(staged.take_chunks(db));
                }
                is_through
            },
            announce: &mut |db, slot, table| chunk.borrow_mut().announce(FORMAT, db, slot, table.table()),
            go_on: &mut || {
                left -= 1;
                left > 0
            },
        });
        self.in_pieces += large.iter().filter(|piece| piece.keys > 0).count();
        running.received.push(chunk.into_inner());
        running.received.extend(large);
        if walked == Walked::Done {
            let running = self.running.remove(index);
            let received = read(&running.received);
            assert_eq!(received, running.at_cut);
            self.finished += 1;
            if self.running.is_empty() {
                assert!(self.orphans.iter().all(|d| !d.is_exporting()));
                self.orphans.clear();
                self.effects.exports.active = false;
            }
        }
    }

    /// One command, on the shard's own tables or on those a unit holds.
    fn act(&mut self, rng: &mut Rng) {
        let db = rng.below(3) as u32;
        let key = key(rng);
        let holds = self.held.as_ref().is_some_and(|(slots, _)| slots.contains(&slot_of(&key)));
        let everything = rng.below(60);
        if everything < 2 && self.held.is_some() {
            return;
        }
        let mut unit = None;
        if holds {
            let (slots, part) = self.held.take().expect("just seen");
            unit = Some((slots, Keyspace::of_unit(vec![part])));
        }
        let keyspace = unit.as_mut().map_or(&mut self.keyspace, |(_, k)| k);
        let mut access = access(keyspace, &mut self.effects, db);
        let value = rng.below(1 << 40) as i64;
        let deadline = (rng.below(3) == 0).then(|| 1_000_000 + rng.below(1000) as i64);
        match (everything, rng.below(6)) {
            (0, _) => {
                access.flush(db, Freeing::Counted);
                self.model.retain(|(d, _), _| *d != db);
            }
            (1, _) => {
                let other = (db + 1) % 3;
                access.keyspace.swap_databases(db, other);
                let old = std::mem::take(&mut self.model);
                let swap = |d| {
                    if d == db {
                        other
                    } else if d == other {
                        db
                    } else {
                        d
                    }
                };
                self.model = old.into_iter().map(|((d, k), v)| ((swap(d), k), v)).collect();
            }
            (_, 0) => {
                access.remove(&key);
                self.model.remove(&(db, key));
            }
            (_, 1) => {
                if access.lookup(&key, Lookup::WRITE).is_some() {
                    access.set_expiry(&key, deadline);
                    self.model.get_mut(&(db, key)).expect("modelled").1 = deadline;
                }
            }
            (_, 2) => {
                if let Some(entry) = access.take(&key) {
                    let (value, deadline) = self.model.remove(&(db, key.clone())).expect("modelled");
                    assert_eq!(entry.expiry(), deadline);
                    let renamed = [key, b"'".to_vec()].concat();
                    if !holds && self.held.is_none() {
                        let deadline = deadline.map(Expiry::At).unwrap_or(Expiry::Drop);
                        access.set(&renamed, NewValue::Owned(entry.into_value()), deadline);
                        let deadline = if let Expiry::At(at) = deadline { Some(at) } else { None };
                        self.model.insert((db, renamed), (value, deadline));
                    }
                }
            }
            _ => {
                let expiry = deadline.map_or(Expiry::Drop, Expiry::At);
                let (new, value) = if everything == 2 && value % 4 == 0 {
                    large_set(rng)
                } else {
                    (NewValue::Int(value), value)
                };
                access.write_and_set(&key, new, expiry);
                self.model.insert((db, key), (value, deadline));
            }
        }
        if let Some((slots, keyspace)) = unit {
            self.held = keyspace.into_parts().pop().map(|part| (slots, part));
        }
        self.deliver();
    }

    fn hold_or_return(&mut self, rng: &mut Rng) {
        match self.held.take() {
            Some((_, part)) => self.keyspace.parts_mut()[0].attach(part),
            None => {
                let slots: Vec<Slot> = (0..3)
                    .map(|_| slot_of(&key(rng)))
                    .collect::<std::collections::BTreeSet<_>>()
                    .into_iter()
                    .collect();
                let part = self.keyspace.parts_mut()[0].detach_slots(&slots);
                self.held = Some((slots, part));
            }
        }
    }
}

/// Whatever happens between the slices of any number of exports, each gets exactly the keys of its cut.
#[test]
fn every_export_is_what_there_was_at_its_cut() {
    let (mut finished, mut in_pieces) = (0, 0);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut world = World::new();
        for step in 0..4000 {
            match rng.below(40) {
                0 if world.held.is_none() => world.cut(),
                1 => world.hold_or_return(&mut rng),
                2..8 => world.walk(&mut rng, 1 + step % 7),
                _ => world.act(&mut rng),
            }
        }
        if world.held.is_some() {
            world.hold_or_return(&mut rng);
        }
        while !world.running.is_empty() {
            world.walk(&mut rng, 1000);
        }
        finished += world.finished;
        in_pieces += world.in_pieces;
        // All marks are neutral again: another export finds everything.
        world.cut();
        // More than one step only for what is hastened.
        (0..20).for_each(|_| world.walk(&mut rng, u64::MAX));
        assert!(world.running.is_empty(), "seed {seed}");
    }
    assert!(finished > 300, "only {finished} exports came to their end");
    assert!(in_pieces > 20, "only {in_pieces} keys took several slices");
}

#[test]
fn commands_make_the_keys_again() {
    let mut entry = crate::keyspace::Entry::new(b"k", NewValue::Int(5), Some(77));
    let mut chunk = Chunk::default();
    chunk.put(Format::Commands, 0, &entry, Touch::default());
    entry.set_expiry(None);
    chunk.put(Format::Commands, 2, &entry, Touch::default());
    let first = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n*3\r\n$9\r\nPEXPIREAT\r\n$1\r\nk\r\n$2\r\n77\r\n";
    let second = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n";
    assert_eq!(chunk.bytes, [&first[..], second].concat());
    assert_eq!(chunk.runs, [(0, first.len()), (2, first.len() + second.len())]);
}
