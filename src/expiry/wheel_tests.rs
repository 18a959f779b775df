use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const START: i64 = 1_760_000_000_000;

/// Pops everything that is due at `now`, and how many calls did not return an item.
fn pop_all(wheel: &mut Wheel, now: i64) -> Vec<(i64, u64)> {
    let mut popped = Vec::new();
    loop {
        match wheel.pop_due(now) {
            Popped::Item { deadline, item } => popped.push((deadline, item)),
            Popped::Working => {}
            Popped::Nothing => return popped,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Insert with a deadline that is this far from now.
    Insert(i64),
    InsertMany(i64, u64),
    InsertAbsolute(i64),
    /// Move the clock.
    Advance(i64),
    /// Pop a limited number of times.
    Pop(usize),
    Sweep(usize),
    Drain,
}

fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        -1000i64..1000,
        0i64..300_000,
        0i64..100_000_000,
        0i64..(1 << 34),
        (0u32..50).prop_map(|bits| 1i64 << bits),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => distance().prop_map(Step::Insert),
        2 => (distance(), 1u64..1000).prop_map(|(at, count)| Step::InsertMany(at, count)),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1), any::<i64>()]
            .prop_map(Step::InsertAbsolute),
        10 => prop_oneof![0i64..20, 0i64..2000, 0i64..1_000_000, 0i64..(1 << 33), -5000i64..0]
            .prop_map(Step::Advance),
        4 => (1usize..40).prop_map(Step::Pop),
        2 => (1usize..300).prop_map(Step::Sweep),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #[test]
    fn yields_exactly_what_is_due(
        steps in proptest::collection::vec(step(), 1..150),
        start in prop_oneof![Just(START), Just(0), Just(-12345), Just(i64::MIN), Just(i64::MAX - 10_000)],
    ) {
        let mut wheel = Wheel::new(start);
        let mut now = start;
        let mut model: BTreeSet<(i64, u64)> = BTreeSet::new();
        let mut next = 0u64;
        for step in steps {
            let mut insert = |wheel: &mut Wheel, model: &mut BTreeSet<(i64, u64)>, deadline: i64| {
                // The upper half of the item must survive, too.
                let item = next << 40 | next;
                next += 1;
                wheel.insert(deadline, item);
                model.insert((deadline, item));
            };
            match step {
                Step::Insert(distance) => insert(&mut wheel, &mut model, now.saturating_add(distance)),
                Step::InsertMany(distance, count) => {
                    (0..count).for_each(|_| insert(&mut wheel, &mut model, now.saturating_add(distance)));
                }
                Step::InsertAbsolute(deadline) => insert(&mut wheel, &mut model, deadline),
                Step::Advance(by) => {
                    now = now.saturating_add(by);
                    let popped = pop_all(&mut wheel, now);
                    for pair in popped {
                        prop_assert!(pair.0 < now, "too early");
                        prop_assert!(model.remove(&pair), "{:?} is not in the model", pair);
                    }
                    // After a step back, items that were inserted as future ones wait in their buckets all the same.
                    prop_assert!(model.first().is_none_or(|first| first.0 >= now), "an item is late");
                }
                Step::Pop(limit) => {
                    for _ in 0..limit {
                        match wheel.pop_due(now) {
                            Popped::Item { deadline, item } => {
                                prop_assert!(deadline < now);
                                prop_assert!(model.remove(&(deadline, item)));
                            }
                            Popped::Working => {}
                            Popped::Nothing => {
                                prop_assert!(model.first().is_none_or(|first| first.0 >= now));
                            }
                        }
                    }
                }
                Step::Sweep(budget) => {
                    let (mut asked, mut wrong) = (0, 0);
                    wheel.sweep(budget, &mut |deadline, item| {
                        asked += 1;
                        wrong += usize::from(!model.contains(&(deadline, item)));
                        if item % 3 == 0 {
                            model.remove(&(deadline, item));
                        }
                        item % 3 != 0
                    });
                    prop_assert!(asked <= budget);
                    prop_assert_eq!(wrong, 0);
                }
                Step::Drain => {
                    let mut drained = BTreeSet::new();
                    wheel.drain(&mut |deadline, item| { drained.insert((deadline, item)); });
                    prop_assert_eq!(&drained, &model);
                    prop_assert!(wheel.is_empty());
                    drained.into_iter().for_each(|(deadline, item)| wheel.insert(deadline, item));
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            let hint = wheel.next_deadline_hint();
            prop_assert_eq!(hint.is_none(), model.is_empty());
            if let (Some(hint), Some(first)) = (hint, model.first()) {
                prop_assert!(hint <= first.0 || hint <= now, "the hint {} is behind {}", hint, first.0);
            }
        }
    }
}

#[test]
fn following_the_hint_wakes_seldom_and_pops_each_item_in_its_millisecond() {
    for distance in [0, 1, 255, 256, 70_000, 20_000_000, 1 << 32, 1 << 40] {
        let mut wheel = Wheel::new(START);
        pop_all(&mut wheel, START);
        wheel.insert(START + distance, 7);
        let (mut now, mut wakes) = (START, 0);
        let popped = loop {
            let hint = wheel.next_deadline_hint().expect("not empty");
            assert!(hint >= now, "no busy waiting");
            now = hint + 1;
            wakes += 1;
            let popped = pop_all(&mut wheel, now);
            if !popped.is_empty() {
                break popped;
            }
        };
        assert_eq!(popped, [(START + distance, 7)]);
        assert_eq!(now, START + distance + 1, "the first millisecond after the deadline");
        assert!(wakes <= 5, "{wakes} wake-ups");
    }
}

#[test]
fn a_wheel_without_items_follows_the_clock() {
    let mut wheel = Wheel::new(0);
    assert!(pop_all(&mut wheel, START + 10).is_empty());
    wheel.insert(START + 100, 1);
    assert_eq!(wheel.next_deadline_hint(), Some(START + 100), "waits in level 0, not in a coarse bucket");
}

#[test]
fn a_long_sleep_costs_no_work_per_millisecond() {
    let mut wheel = Wheel::new(START);
    (0..1000).for_each(|item| wheel.insert(START + 10_000 * item as i64, item));
    // A hundred years, as if a laptop had slept.
    assert_eq!(pop_all(&mut wheel, START + 100 * 366 * 86_400_000).len(), 1000);
    assert!(wheel.is_empty());
}

#[test]
fn each_call_moves_a_bounded_number_of_items() {
    let mut wheel = Wheel::new(START);
    pop_all(&mut wheel, START);
    let deadline = START + (1 << 30);
    (0..100_000).for_each(|item| wheel.insert(deadline, item));
    let (mut calls, mut items) = (0, 0);
    loop {
        match wheel.pop_due(deadline) {
            Popped::Working => calls += 1,
            Popped::Item { .. } => items += 1,
            Popped::Nothing => break,
        }
    }
    assert_eq!(items, 0, "not due before the deadline has passed");
    let most = 100_000 * (LEVELS - 1) / MOVES_PER_POP;
    assert!((most - 2..=most).contains(&calls), "{calls} calls, not one long one");
    assert_eq!(pop_all(&mut wheel, deadline + 1).len(), 100_000);
}

#[test]
fn a_clock_that_goes_backwards_yields_nothing_early() {
    let mut wheel = Wheel::new(START);
    (0..10).for_each(|item| wheel.insert(START + 100, item));
    assert!(matches!(wheel.pop_due(START + 101), Popped::Item { .. }));
    // Nine are on their way out when the clock steps back by an hour, and a new deadline is set.
    let back = START - 3_600_000;
    wheel.insert(back + 50, 99);
    assert!(pop_all(&mut wheel, back).is_empty());
    assert_eq!(wheel.next_deadline_hint(), Some(back + 50));
    assert_eq!(pop_all(&mut wheel, back + 51), [(back + 50, 99)]);
    assert_eq!(pop_all(&mut wheel, START + 100), []);
    assert_eq!(pop_all(&mut wheel, START + 101).len(), 9);
}

#[test]
fn stale_items_are_swept_in_steps_once_they_are_the_majority() {
    let mut wheel = Wheel::new(START);
    pop_all(&mut wheel, START);
    (0..20_000).for_each(|item| wheel.insert(START + 3_600_000 + item as i64, item));
    (0..10_000).for_each(|_| wheel.note_stale());
    assert!(!wheel.wants_sweep());
    wheel.note_stale();
    assert!(wheel.wants_sweep());
    let mut steps = 1;
    while wheel.sweep(100, &mut |deadline, item| {
        assert_eq!(deadline, START + 3_600_000 + item as i64);
        item > 10_000
    }) {
        assert!(wheel.wants_sweep(), "an unfinished sweep goes on");
        steps += 1;
    }
    assert!(steps >= 200);
    assert_eq!(wheel.len(), 9999);
    assert!(!wheel.wants_sweep());
    assert_eq!(pop_all(&mut wheel, START + 7_200_000).len(), 9999);
}

#[test]
fn popping_settles_a_report_that_came_before_or_comes_after() {
    let mut wheel = Wheel::new(START);
    for item in 0..100_000 {
        wheel.insert(START + 1, item);
        // Half of the items were stale when popped; the others become so by being popped.
        if item % 2 == 0 {
            wheel.note_stale();
        }
    }
    while let Popped::Item { item, .. } = wheel.pop_due(START + 2) {
        if item % 2 == 1 {
            wheel.note_stale();
        }
    }
    assert_eq!(wheel.stale, 0);
    wheel.insert(START + 1, 5);
    let Popped::Item { deadline, item } = wheel.pop_due(START + 2) else { panic!("it is due") };
    wheel.put_back(deadline, item);
    assert_eq!((wheel.stale, wheel.len()), (0, 1));
}

#[test]
fn a_million_items_cost_less_than_16_bytes_each() {
    for (name, spread) in
        [("one deadline", 1), ("a minute", 60_000), ("a day", 86_400_000), ("a year", 31_536_000_000)]
    {
        let mut wheel = Wheel::new(START);
        pop_all(&mut wheel, START);
        let mut random = 1u64;
        for item in 0..1_000_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            wheel.insert(START + 1000 + ((random >> 20) % spread) as i64, item);
        }
        let bytes = wheel.heap_bytes() as f64 / 1e6;
        println!("{name}: {bytes:.2} bytes per item");
        assert!(bytes < 16.0, "{bytes} bytes per item over {name}");
    }
    assert_eq!(Wheel::new(START).heap_bytes(), 0);
}
