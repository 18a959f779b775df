//! The arguments of CLUSTER MIGRATESLOTS and CLUSTER SYNCSLOTS: lines of words.

use skuld::migration::arguments::{View, migrate_slots};
use skuld::migration::messages::{Establish, Finish, From, Message, establish};
use skuld::migration::ranges::{Owners, SlotRanges};
use skuld::migration::{Id40, SlotSet};
use skuld::rng::Rng;
use skuld::slot::{SLOTS, Slot};

const ME: Id40 = Id40([b'a'; 40]);
const OTHER: Id40 = Id40([b'b'; 40]);

/// Owns the lower half; slot 8191 is nobody's.
struct Node(Id40);

impl Owners for Node {
    fn owner(&self, slot: Slot) -> Option<Id40> {
        match slot.0 {
            0..=8190 => Some(ME),
            8191 => None,
            _ => Some(OTHER),
        }
    }
}

impl View for Node {
    fn myself(&self) -> Id40 {
        self.0
    }
    fn is_known(&self, node: &Id40) -> bool {
        *node == ME || *node == OTHER
    }
    fn is_primary(&self) -> bool {
        true
    }
    fn has_manual_imports(&self) -> bool {
        false
    }
    fn has_manual_migrations(&self) -> bool {
        false
    }
}

fn check_ranges(ranges: &SlotRanges) {
    assert!(!ranges.is_empty(), "accepted ranges hold slots");
    let mut seen = SlotSet::default();
    for slot in ranges.slots() {
        assert!(slot.index() < SLOTS);
        assert!(seen.insert(slot), "slot {} twice in {ranges}", slot.0);
    }
    assert_eq!(seen.len(), ranges.len());
}

/// What is accepted is what it says it is, and survives being sent.
pub fn run(data: &[u8]) {
    for line in data.split(|&b| b == b'\n') {
        let args: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        if let Ok(groups) = migrate_slots(&args, &Node(ME), &|slot| slot.0 == 7000) {
            groups.iter().for_each(|group| check_ranges(&group.ranges));
            for (index, group) in groups.iter().enumerate() {
                assert!(groups[..index].iter().all(|other| !other.ranges.overlaps(&group.ranges)));
            }
        }
        for from in [From::Client, From::Stream] {
            let Ok(job) = establish(&args, from, &Node(OTHER), &|slot| slot.0 == 7000) else { continue };
            check_ranges(&job.ranges);
            let mut wire = Vec::new();
            job.encode(&mut wire);
            let words = words_of(&wire);
            let again = words.iter().map(Vec::as_slice).collect::<Vec<_>>();
            let Message::Establish { rest } = Message::parse(&again) else {
                panic!("not ESTABLISH: {again:?}")
            };
            let read: Result<Establish, _> = establish(rest, from, &Node(OTHER), &|_| false);
            assert_eq!(read, Ok(job));
        }
        if let Ok(finish) = Finish::parse(&args, &|_| true) {
            let mut wire = Vec::new();
            finish.encode(&mut wire);
            let words = words_of(&wire);
            let again = words.iter().map(Vec::as_slice).collect::<Vec<_>>();
            let Message::Finish { rest } = Message::parse(&again) else { panic!("not FINISH: {again:?}") };
            assert_eq!(Finish::parse(rest, &|_| true), Ok(finish));
        }
        let mut words = vec![b"CLUSTER" as &[u8], b"SYNCSLOTS"];
        words.extend(args);
        let _ = Message::parse(&words);
    }
}

fn words_of(wire: &[u8]) -> Vec<Vec<u8>> {
    use skuld::resp::decode::{DecodeLimits, Decoder, Requests};
    let mut buffer = wire.to_vec();
    let mut out = Requests::default();
    let limits = DecodeLimits { bulk_max: 1 << 20, authenticated: true };
    Decoder::default().decode(&mut buffer, limits, &mut out).expect("what we encode can be decoded");
    out.args(0).iter().map(|s| buffer[s.start..s.start + s.len].to_vec()).collect()
}

pub fn make(rng: &mut Rng) -> Vec<u8> {
    let words: Vec<&[u8]> = (0..rng.below(14)).map(|_| crate::pick(rng, WORDS)).collect();
    words.join(&b' ')
}

const WORDS: &[&[u8]] = &[
    b"SLOTSRANGE",
    b"NODE",
    b"SOURCE",
    b"NAME",
    b"STATE",
    b"MESSAGE",
    b"success",
    b"FAILED",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    b"ACK",
    b"PAUSED",
    b"CAPA",
    b"0",
    b"5",
    b"6",
    b"100",
    b"7000",
    b"8190",
    b"8191",
    b"16383",
    b"16384",
    b"-1",
    b"x",
    b"",
];

pub fn words() -> Vec<&'static [u8]> {
    WORDS.to_vec()
}
