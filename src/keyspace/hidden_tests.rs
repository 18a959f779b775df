use super::*;
use crate::keyspace::NewValue;

fn put(part: &mut Part, db: u32, slot: Slot, key: &str, deadline: Option<i64>) {
    let hash = crate::hash::hash(key.as_bytes());
    let entry = Entry::new(key.as_bytes(), NewValue::Int(1), deadline);
    part.database_or_new(db).insert(slot, hash, entry);
    if let Some(deadline) = deadline {
        let item = pack_deadline(part.wheel_name(db), slot, hash);
        part.wheel.insert(deadline, item);
    }
}

fn counts(part: &Part, db: u32) -> (u64, u64) {
    part.database(db).map_or((0, 0), |d| (d.keys(), d.expires()))
}

#[test]
fn hidden_keys_are_in_no_count_and_no_walk_until_they_are_shown() {
    let mut part = Part::new(0, 1);
    put(&mut part, 0, Slot(4), "before", None);
    put(&mut part, 0, Slot(5), "old", Some(1000));
    part.hide_slot(Slot(5));
    part.hide_slot(Slot(5));
    assert_eq!(counts(&part, 0), (1, 0));
    // Keys that come and go while hidden, also in a database made meanwhile.
    put(&mut part, 0, Slot(5), "new", None);
    put(&mut part, 3, Slot(5), "elsewhere", Some(2000));
    put(&mut part, 0, Slot(6), "after", None);
    assert_eq!((counts(&part, 0), counts(&part, 3)), ((2, 0), (0, 0)));
    assert_eq!(part.keys_in_slot(Slot(5)), 3);
    let database = part.database(0).expect("it was filled");
    assert_eq!(database.next_used_slot(Slot(0), 0), Some(Slot(4)));
    assert_eq!(database.next_used_slot(Slot(5), 0), Some(Slot(6)));
    assert_eq!(database.next_used_or_hidden_slot(Slot(5), 0), Some(Slot(5)));
    assert_eq!(
        (0..2).map(|n| database.slot_of_nth(n, 0)).collect::<Vec<_>>(),
        [Some(Slot(4)), Some(Slot(6))]
    );
    assert_eq!(part.database(3).expect("it was filled").next_used_or_hidden_slot(Slot(0), 0), Some(Slot(5)));
    let mut rng = Rng::new(1);
    for _ in 0..50 {
        assert_ne!(
            part.database(0).expect("it was filled").random(0, &mut rng).expect("a key is shown").key(),
            b"new"
        );
    }
    part.database_mut(0)
        .expect("it was filled")
        .remove(Slot(5), crate::hash::hash(b"old"), b"old")
        .expect("it is there");
    part.show_slot(Slot(5));
    part.show_slot(Slot(5));
    assert_eq!((counts(&part, 0), counts(&part, 3)), ((3, 0), (1, 1)));
    assert!(!part.is_hidden(Slot(5)));
}

#[test]
fn deadlines_of_hidden_keys_wait_for_the_slot_to_be_shown() {
    use crate::expiry::wheel::Popped;
    let mut part = Part::new(0, 1);
    part.hide_slot(Slot(5));
    part.hide_slot(Slot(6));
    put(&mut part, 0, Slot(5), "a", Some(1000));
    put(&mut part, 0, Slot(6), "b", Some(1000));
    let pop = |part: &mut Part| {
        loop {
            match part.wheel_mut().pop_due(100_000) {
                Popped::Item { deadline, item } => return Some((deadline, item)),
                Popped::Working => {}
                Popped::Nothing => return None,
            }
        }
    };
    while let Some((deadline, item)) = pop(&mut part) {
        part.keep_due(deadline, item);
    }
    part.show_slot(Slot(5));
    let (deadline, item) = pop(&mut part).expect("the deadline is back");
    assert_eq!((deadline, unpack_deadline(item).1), (1000, Slot(5)));
    assert_eq!(pop(&mut part), None);
}

#[test]
fn a_unit_over_everything_leaves_hidden_slots_hidden() {
    let mut part = Part::new(0, 1);
    put(&mut part, 0, Slot(5), "a", None);
    part.hide_slot(Slot(5));
    let mut unit = part.detach_all();
    put(&mut unit, 1, Slot(5), "b", None);
    assert_eq!((counts(&unit, 0), counts(&unit, 1)), ((0, 0), (0, 0)));
    part.attach(unit);
    let unit = part.detach_slots(&[Slot(5)]);
    part.attach(unit);
    assert_eq!((counts(&part, 0), counts(&part, 1)), ((0, 0), (0, 0)));
    part.show_slot(Slot(5));
    assert_eq!((counts(&part, 0), counts(&part, 1)), ((1, 0), (1, 0)));
}

#[test]
fn a_slot_is_taken_out_of_all_databases_at_once() {
    let mut part = Part::new(0, 1);
    put(&mut part, 0, Slot(5), "a", Some(1000));
    put(&mut part, 2, Slot(5), "b", None);
    put(&mut part, 0, Slot(6), "c", None);
    let taken = part.take_slot(Slot(5));
    assert_eq!(taken.iter().map(|(db, table)| (*db, table.len())).collect::<Vec<_>>(), [(0, 1), (2, 1)]);
    assert_eq!((counts(&part, 0), counts(&part, 2)), ((1, 0), (0, 0)));
    assert!(part.take_slot(Slot(5)).is_empty());
}
