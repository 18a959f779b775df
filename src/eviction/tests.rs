//! Policies on a small keyspace.

use std::collections::HashSet;

use super::*;
use crate::effects::Effects;
use crate::keyspace::access::Expiry;
use crate::keyspace::{ExpiryRules, Keyspace, NewValue, Part};

const KEYS: u32 = 100;

struct World {
    keyspace: Keyspace,
    effects: Effects,
    config: Config,
    rng: Rng,
    chooser: Chooser,
}

impl World {
    fn new(policy: MaxmemoryPolicy, seed: u64) -> Self {
        println!("seed {seed}");
        let mut effects = Effects::default();
        effects.listening.propagation = true;
        effects.listening.events = u32::MAX;
        Self {
            keyspace: Keyspace::of_shard(Part::new(0, 1)),
            effects,
            config: Config { maxmemory_policy: policy, maxmemory_samples: 10, ..Config::default() },
            rng: Rng::new(seed),
            chooser: Chooser::default(),
        }
    }

    /// Does something in a database when the LRU clock says `clock`.
    fn at<T>(&mut self, db: u32, clock: u32, act: impl FnOnce(&mut Access<'_>) -> T) -> T {
        act(&mut Access {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            db,
            now: 0,
            rules: ExpiryRules::default(),
            touch: Touch {
                clock,
                lfu: self.config.maxmemory_policy.is_lfu(),
                lfu_log_factor: 0,
                lfu_decay_minutes: 0,
                draw: 0,
            },
            lazy_expire: true,
            lazy_server_del: true,
            client_no_touch: false,
            hint: None,
        })
    }

    fn set(&mut self, db: u32, clock: u32, key: &str, expiry: Expiry) {
        self.at(db, clock, |a| a.set(key.as_bytes(), NewValue::Int(1), expiry));
    }

    /// Evicts one key when the clock says `clock`; its database and name.
    fn evict(&mut self, clock: u32) -> Option<(u32, String)> {
        let (mut chooser, mut rng) = (std::mem::take(&mut self.chooser), self.rng.clone());
        let config = self.config.clone();
        let evicted = self.at(0, clock, |a| chooser.evict_one(a, &config, &mut rng));
        (self.chooser, self.rng) = (chooser, rng);
        let event = self.effects.events.pop().filter(|_| evicted)?;
        assert_eq!((event.class, event.name), (class::EVICTED, "evicted"));
        Some((event.db, String::from_utf8(event.key.into()).expect("test keys are text")))
    }
}

fn number(key: &str) -> u32 {
    key.parse().expect("keys are numbers")
}

#[test]
fn lru_takes_the_longest_unused() {
    let mut w = World::new(MaxmemoryPolicy::AllkeysLru, 1);
    // The clock wraps while the keys are made.
    let clock = |i: u32| (0xff_fff0 + i) & 0xff_ffff;
    (0..KEYS).for_each(|i| w.set(i % 3, clock(i), &i.to_string(), Expiry::Drop));
    for _ in 0..20 {
        let (_, key) = w.evict(clock(KEYS)).expect("there are keys");
        assert!(number(&key) < KEYS / 2, "{key} was used recently");
    }
    assert_eq!(w.effects.counters.evicted_keys, 20);
}

#[test]
fn lfu_takes_the_least_used() {
    let mut w = World::new(MaxmemoryPolicy::AllkeysLfu, 2);
    for i in 0..KEYS {
        w.set(0, 1, &i.to_string(), Expiry::Drop);
        if i >= KEYS / 2 {
            for _ in 0..50 {
                w.at(0, 1, |a| a.read(i.to_string().as_bytes()).is_some());
            }
        }
    }
    for _ in 0..20 {
        let (_, key) = w.evict(1).expect("there are keys");
        assert!(number(&key) < KEYS / 2, "{key} is used a lot");
    }
}

#[test]
fn ttl_takes_the_soonest_and_only_volatile_keys() {
    let mut w = World::new(MaxmemoryPolicy::VolatileTtl, 3);
    for i in 0..KEYS {
        w.set(0, 1, &format!("{{tag}}p{i}"), Expiry::Drop);
        w.set(0, 1, &i.to_string(), Expiry::At(1000 + i64::from(i)));
    }
    for _ in 0..20 {
        let (_, key) = w.evict(1).expect("there are keys");
        assert!(number(&key) < KEYS / 2, "{key} expires late");
    }
}

#[test]
fn volatile_policies_find_the_last_volatile_key_and_then_nothing() {
    for policy in [
        MaxmemoryPolicy::VolatileLru,
        MaxmemoryPolicy::VolatileLfu,
        MaxmemoryPolicy::VolatileTtl,
        MaxmemoryPolicy::VolatileRandom,
    ] {
        let mut w = World::new(policy, 4);
        // One crowded slot and others.
        (0..1000).for_each(|i| w.set(0, 1, &format!("{{tag}}{i}"), Expiry::Drop));
        (0..100).for_each(|i| w.set(0, 1, &i.to_string(), Expiry::Drop));
        w.set(0, 1, "{tag}v", Expiry::At(1000));
        assert_eq!(w.evict(1), Some((0, "{tag}v".into())), "{policy:?}");
        assert_eq!(w.evict(1), None, "{policy:?}");
        assert_eq!(w.keyspace.keys(0), 1100);
    }
}

#[test]
fn every_allkeys_policy_empties_all_databases() {
    for policy in [MaxmemoryPolicy::AllkeysLru, MaxmemoryPolicy::AllkeysLfu, MaxmemoryPolicy::AllkeysRandom] {
        let mut w = World::new(policy, 5);
        (0..KEYS).for_each(|i| w.set(i % 4, 1, &i.to_string(), Expiry::Drop));
        let evicted: HashSet<_> = std::iter::from_fn(|| w.evict(1)).collect();
        assert_eq!(evicted.len(), KEYS as usize, "{policy:?}");
        assert!((0..4).all(|db| w.keyspace.keys(db) == 0));
    }
}

#[test]
fn nothing_is_evicted_without_a_policy() {
    let mut w = World::new(MaxmemoryPolicy::NoEviction, 6);
    w.set(0, 1, "1", Expiry::At(1000));
    assert_eq!(w.evict(1), None);
}

#[test]
fn random_choice_takes_databases_in_turn() {
    let mut w = World::new(MaxmemoryPolicy::AllkeysRandom, 7);
    (0..KEYS).for_each(|i| w.set(i % 2, 1, &i.to_string(), Expiry::Drop));
    let databases: Vec<u32> = (0..4).map(|_| w.evict(1).expect("there are keys").0).collect();
    assert_eq!(databases, [0, 1, 0, 1]);
}

#[test]
fn the_stream_says_unlink_or_del() {
    for (lazy, verb) in [(true, "UNLINK"), (false, "DEL")] {
        let mut w = World::new(MaxmemoryPolicy::AllkeysRandom, 8);
        w.config.lazyfree_lazy_eviction = lazy;
        w.set(3, 1, "1", Expiry::Drop);
        assert_eq!(w.evict(1), Some((3, "1".into())));
        let stream: Vec<_> = w.effects.propagation.iter().collect();
        let expected = format!("*2\r\n${}\r\n{verb}\r\n$1\r\n1\r\n", verb.len());
        assert_eq!(stream, [(3, expected.as_bytes())]);
    }
}

#[test]
fn tenacity_is_a_time() {
    for (tenacity, us) in [(0, 0), (1, 50), (10, 500), (11, 575), (100, u64::MAX)] {
        assert_eq!(budget_us(tenacity), us);
    }
    assert!((100_000_000..150_000_000).contains(&budget_us(99)));
}
