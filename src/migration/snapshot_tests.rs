use super::*;
use crate::commands::testing::Bench;
use crate::expiry::rules::Situation;
use crate::rng::Rng;

/// A source whose slots of two hash tags are exported, and a target that gets what is sent.
struct Pair {
    source: Bench,
    target: Bench,
    snapshot: SlotSnapshot,
}

const TAGS: [&str; 2] = ["a", "b"];

impl Pair {
    fn new() -> Self {
        let mut set = SlotSet::default();
        TAGS.iter().for_each(|tag| {
            set.insert(slot_of(tag.as_bytes()));
        });
        let slots = Arc::new(set);
        let mut target = Bench::new();
        target.rules = Situation { slot_import_link: true, ..Situation::default() }.rules();
        let snapshot = SlotSnapshot::new(slots.clone(), slots.iter().collect::<Vec<_>>().into_iter());
        Self { source: Bench::new(), target, snapshot }
    }

    fn send(&mut self, pieces: Pieces) {
        let limits = DecodeLimits { bulk_max: i64::MAX, authenticated: true };
        for (db, mut bytes) in pieces {
            self.target.session.db = db;
            let mut requests = Requests::default();
            Decoder::default().decode(&mut bytes, limits, &mut requests).unwrap();
            for request in 0..requests.len() {
                let args: Vec<&[u8]> =
                    requests.args(request).iter().map(|s| &bytes[s.start..s.start + s.len]).collect();
                let reply = self.target.run_bytes(&args);
                let text = || args.iter().map(|a| a.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
                assert_ne!(reply[0], b'-', "{}: {}", text(), String::from_utf8_lossy(&reply));
            }
        }
    }

    fn write(&mut self, db: u32, command: &str) {
        self.source.session.db = db;
        self.source.say(command);
    }

    /// Ends a slice of execution.
    fn forward(&mut self) {
        let propagation = std::mem::take(&mut self.source.effects.propagation);
        let effects = effects_of(&propagation, 3);
        let (pieces, _) = self.snapshot.forward(&self.source.keyspace, &effects);
        self.send(pieces);
    }

    fn slice(&mut self) {
        let part = &self.source.keyspace.parts()[0];
        let slice = self.snapshot.advance(part, &|_| false, &mut |_| false);
        self.send(slice.pieces);
    }

    /// Keys of the exported slots, one a line.
    fn keys(bench: &Bench) -> Vec<String> {
        let part = &bench.keyspace.parts()[0];
        let mut lines = Vec::new();
        for db in 0..part.databases() {
            for tag in TAGS {
                let table = part.database(db).and_then(|d| d.slot(slot_of(tag.as_bytes())));
                for entry in table.into_iter().flat_map(|t| t.table().iter()) {
                    let digest = crate::digest::of_value(Some(entry)).text();
                    lines.push(format!("{db} {} {:?} {digest}", entry.key().escape_ascii(), entry.expiry()));
                }
            }
        }
        lines.sort();
        lines
    }
}

/// A command about keys of one tag.
fn command(rng: &mut Rng) -> String {
    const COMMANDS: &[&str] = &[
        "SET K v",
        "SET K v PX 100000",
        "INCR K",
        "APPEND K x",
        "DEL K",
        "DEL K K K",
        "UNLINK K",
        "RENAME K K",
        "RENAMENX K K",
        "COPY K K REPLACE",
        "COPY K K DB 2 REPLACE",
        "MOVE K 2",
        "RPUSH K a b c",
        "LPOP K",
        "LMOVE K K LEFT RIGHT",
        "SADD K a b 1 2",
        "SMOVE K K a",
        "SPOP K",
        "SINTERSTORE K K K",
        "SUNIONSTORE K K K",
        "ZADD K 1 a 2 b",
        "ZUNIONSTORE K 2 K K",
        "ZRANGESTORE K K 0 -1",
        "HSET K f v g w",
        "HDEL K f",
        "HINCRBY K n 3",
        "XADD K * f v",
        "XTRIM K MAXLEN 1",
        "XGROUP CREATE K g 0 MKSTREAM",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS K >",
        "PFADD K a b",
        "PFMERGE K K K",
        "BITOP OR K K K",
        "SETBIT K 7 1",
        "EXPIRE K 1000",
        "PERSIST K",
        "MSET K v K w",
        "SORT K ALPHA STORE K",
        "GETDEL K",
    ];
    let tag = TAGS[rng.below(2) as usize];
    let template = COMMANDS[rng.below(COMMANDS.len() as u64) as usize];
    template
        .split(' ')
        .map(|word| match word {
            "K" => format!("{{{tag}}}{}", rng.below(60)),
            word => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn what_is_sent_makes_the_slots_what_they_are() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut pair = Pair::new();
        let write = |pair: &mut Pair, rng: &mut Rng| {
            let db = rng.below(3) as u32;
            pair.write(db, &command(rng));
        };
        for _ in 0..rng.below(600) {
            write(&mut pair, &mut rng);
        }
        // The export begins: what happened before is in the keys.
        pair.source.effects.propagation.clear();
        while !pair.snapshot.is_finished() {
            // Several commands may run in one slice of execution.
            for _ in 0..rng.below(6) {
                write(&mut pair, &mut rng);
            }
            pair.forward();
            pair.slice();
        }
        for _ in 0..rng.below(50) {
            write(&mut pair, &mut rng);
        }
        pair.forward();
        assert_eq!(Pair::keys(&pair.target), Pair::keys(&pair.source), "seed {seed}");
    }
}

#[test]
fn keys_of_other_slots_are_neither_sent_nor_passed_on() {
    let mut pair = Pair::new();
    pair.write(0, "SET {c}key v");
    pair.write(0, "SET {a}key v");
    pair.source.effects.propagation.clear();
    while !pair.snapshot.is_finished() {
        pair.slice();
    }
    pair.write(0, "SET {c}other v");
    pair.write(1, "SET {b}other v");
    pair.forward();
    assert_eq!(pair.target.keyspace.keys(0) + pair.target.keyspace.keys(1), 2);
    assert_eq!(Pair::keys(&pair.target), Pair::keys(&pair.source));
}
