use super::*;
use crate::commands::testing::Bench;
use crate::expiry::rules::Situation;
use crate::resp::decode::{DecodeLimits, Decoder, Requests};
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
            Decoder::default().decode(&mut bytes, limits, &mut requests).expect("whole commands");
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

/// Makes collections that need several slices.
fn make_large(pair: &mut Pair, rng: &mut Rng, count: usize) {
    for n in 0..count {
        let tag = TAGS[rng.below(2) as usize];
        let (name, elements) =
            (["RPUSH", "SADD", "ZADD", "HSET", "XADD", "SET"][n % 6], 600 + rng.below(3000));
        let key = format!("{{{tag}}}large{n}");
        if name == "SET" {
            pair.write(1, &format!("SET {key} {}", "v".repeat(1_500_000)));
        }
        for first in (0..elements).step_by(100) {
            let words = |f: &dyn Fn(u64) -> String| (first..first + 100).map(f).collect::<Vec<_>>().join(" ");
            match name {
                "XADD" => {
                    for _ in 0..20 {
                        let fields =
                            (0..20).map(|f| format!("field{f} value{first}")).collect::<Vec<_>>().join(" ");
                        pair.write(1, &format!("XADD {key} * {fields}"));
                    }
                }
                "SET" => {}
                "ZADD" => {
                    pair.write(1, &format!("ZADD {key} {}", words(&|e| format!("{e} member-number-{e}"))))
                }
                "HSET" => {
                    pair.write(1, &format!("HSET {key} {}", words(&|e| format!("field{e} value-number-{e}"))))
                }
                name => pair.write(1, &format!("{name} {key} {}", words(&|e| format!("element-number-{e}")))),
            }
        }
        match name {
            "HSET" => pair.write(1, &format!("HPEXPIRE {key} 1000000 FIELDS 3 field1 field2 field500")),
            "XADD" => {
                pair.write(1, &format!("XGROUP CREATE {key} g 0"));
                pair.write(1, &format!("XGROUP CREATE {key} h 0"));
                pair.write(1, &format!("XGROUP CREATECONSUMER {key} h nobody"));
                for consumer in ["alice", "bob"] {
                    pair.write(1, &format!("XREADGROUP GROUP g {consumer} COUNT 100 STREAMS {key} >"));
                    pair.write(1, &format!("XREADGROUP GROUP h {consumer} COUNT 40 STREAMS {key} >"));
                }
            }
            _ => pair.write(1, &format!("PEXPIRE {key} 100000000")),
        }
    }
}

/// A change of a key that may be in flight, made by nobody who would wait.
fn change_large(snapshot: &SlotSnapshot, rng: &mut Rng, count: u64) -> String {
    let names = (0..count).flat_map(|n| TAGS.map(|tag| (n, tag, format!("{{{tag}}}large{n}"))));
    let (some, others): (Vec<_>, Vec<_>) =
        names.partition(|(.., key)| snapshot.is_in_flight(1, key.as_bytes()));
    let from = if rng.below(3) == 0 || some.is_empty() { others } else { some };
    let (n, tag, key) = &from[rng.below(from.len() as u64) as usize];
    match rng.below(5) {
        0 => format!("DEL {key}"),
        1 => format!("HDEL {key} field{}", rng.below(600)),
        2 => format!("RENAME {key} {{{tag}}}renamed{n}"),
        3 => format!("COPY {key} {{{tag}}}copied{n}"),
        _ => format!("APPEND {key} x"),
    }
}

#[test]
fn large_keys_go_in_pieces_and_arrive_whole() {
    const COUNT: u64 = 12;
    let (mut in_flight, mut disturbed) = (0, 0);
    for seed in 0..6 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut pair = Pair::new();
        make_large(&mut pair, &mut rng, COUNT as usize);
        for _ in 0..100 {
            let small = command(&mut rng);
            pair.write(0, &small);
        }
        pair.source.effects.propagation.clear();
        let mut largest = 0;
        while !pair.snapshot.is_finished() {
            let part = &pair.source.keyspace.parts()[0];
            let slice = pair.snapshot.advance(part, &|_| false, &mut |_| false);
            largest = largest.max(slice.bytes);
            pair.send(slice.pieces);
            in_flight += u64::from(pair.snapshot.has_in_flight());
            if seed % 3 != 0 && rng.below(4) == 0 {
                let landed = pair.snapshot.landed();
                pair.write(1, &change_large(&pair.snapshot, &mut rng, COUNT));
                pair.forward();
                disturbed += pair.snapshot.landed() - landed;
            }
        }
        // A bucket's keys may all be begun in one slice; a string goes a mebibyte at a time.
        assert!(largest < 16 * (1 << 20), "{largest} bytes at once");
        assert_eq!(Pair::keys(&pair.target), Pair::keys(&pair.source), "seed {seed}");
    }
    assert!(
        in_flight > 100 && disturbed > 3,
        "{in_flight} slices with keys in flight, {disturbed} disturbed"
    );
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
