use super::*;
use crate::slot::Slot;

/// A node that owns 0..=8190; slot 8191 is unowned; the rest belongs to another.
pub(crate) struct Known {
    pub primary: bool,
    pub importing: bool,
    pub migrating: bool,
}

pub(crate) fn me() -> Id40 {
    Id40([b'a'; 40])
}

pub(crate) fn other() -> Id40 {
    Id40([b'b'; 40])
}

pub(crate) const USUAL: Known = Known { primary: true, importing: false, migrating: false };

impl Owners for Known {
    fn owner(&self, slot: Slot) -> Option<Id40> {
        match slot.0 {
            0..=8190 => Some(me()),
            8191 => None,
            _ => Some(other()),
        }
    }
}

impl View for Known {
    fn myself(&self) -> Id40 {
        me()
    }
    fn is_known(&self, node: &Id40) -> bool {
        *node == me() || *node == other()
    }
    fn is_primary(&self) -> bool {
        self.primary
    }
    fn has_manual_imports(&self) -> bool {
        self.importing
    }
    fn has_manual_migrations(&self) -> bool {
        self.migrating
    }
}

/// The answer to MIGRATESLOTS with these words, `B` standing for the other node and `A` for this one.
fn answer(words: &str) -> String {
    answer_of(&USUAL, words)
}

fn answer_of(view: &Known, words: &str) -> String {
    let (a, b) = (me(), other());
    let args: Vec<&[u8]> = words
        .split(' ')
        .map(|word| match word {
            "A" => a.as_bytes(),
            "B" => b.as_bytes(),
            word => word.as_bytes(),
        })
        .collect();
    match migrate_slots(&args, view, &|slot| slot.0 == 7000) {
        Ok(groups) => format!("{} jobs", groups.len()),
        Err(refusal) => refusal.to_string(),
    }
}

/// Every line was observed on a Valkey 9.1.2 with the same ownership.
#[test]
fn errors_are_those_of_the_reference() {
    let unknown = "x".repeat(40);
    for (words, expected) in [
        ("SLOTSRANGE 0", "No end slot for final slot range"),
        ("SLOTSRANGE 0 1", "syntax error"),
        ("FOO 0 0 NODE B", "syntax error"),
        ("SLOTSRANGE NODE B", "No slot ranges specified"),
        ("SLOTSRANGE 0 0 NODE", "syntax error"),
        ("SLOTSRANGE -1 0 NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 16384 0 NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 5 x NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 5 4 NODE B", "Start slot number 5 is greater than end slot number 4."),
        ("SLOTSRANGE 0 NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 0 1 2 NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 0 1 2", "No end slot for final slot range"),
        ("SLOTSRANGE 0 1 2 3", "syntax error"),
        ("SLOTSRANGE 8190 8192 NODE B", "Slot 8191 has no node served."),
        ("SLOTSRANGE 0 1 8192 8192 NODE B", "Requested slots span multiple shards"),
        ("SLOTSRANGE 8192 8193 NODE B", "Slots are not served by this node."),
        ("SLOTSRANGE 0 5 5 6 NODE B", "Slot range 5-6 overlaps with previous range 0-5."),
        ("SLOTSRANGE 0 5 NODE B SLOTSRANGE 5 6 NODE B", "Slot ranges in migrations overlap"),
        ("SLOTSRANGE 0 5 NOD B", "syntax error"),
        ("SLOTSRANGE 0 5 NODE abc", "Invalid node name: abc"),
        (&format!("SLOTSRANGE 0 5 NODE {unknown}"), &format!("Unknown node name: {unknown}")),
        (&format!("SLOTSRANGE 0 5 NODE {unknown}y"), &format!("Invalid node name: {unknown}y")),
        ("SLOTSRANGE 0 5 NODE A", "Target node can not be this node."),
        ("SLOTSRANGE 0 5 NODE B X", "syntax error"),
        ("SLOTSRANGE 0 5 NODE B SLOTSRANGE", "No slot ranges specified"),
        ("SLOTSRANGE 0 5 NODE B SLOTSRANGE 7", "No end slot for final slot range"),
        ("SLOTSRANGE 1.5 5 NODE B", "No slot ranges specified"),
        ("SLOTSRANGE +1 5 NODE B", "No slot ranges specified"),
        ("SLOTSRANGE 01 5 NODE B", "No slot ranges specified"),
        ("SLOTSRANGE 99999999999999999999 5 NODE B", "No slot ranges specified"),
        ("SLOTSRANGE 9999999999 5 NODE B", "Invalid or out of range slot"),
        ("SLOTSRANGE 6999 7001 NODE B", "I am already migrating slot 7000."),
        ("slotsrange 0 5 9 9 node B SlotsRange 6 6 Node B", "2 jobs"),
    ] {
        assert_eq!(answer(words), expected, "{words}");
    }
}

#[test]
fn the_node_is_tested_before_the_arguments() {
    assert_eq!(
        answer_of(&Known { primary: false, importing: true, migrating: true }, "FOO"),
        "Slot migration can only be used on primary nodes."
    );
    assert_eq!(
        answer_of(&Known { importing: true, migrating: true, ..USUAL }, "FOO"),
        "Slots are being manually imported"
    );
    assert_eq!(answer_of(&Known { migrating: true, ..USUAL }, "FOO"), "Slots are being manually migrated");
}
