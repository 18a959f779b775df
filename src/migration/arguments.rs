//! The arguments of CLUSTER MIGRATESLOTS, checked in Valkey's order (spec slot-migration.md, 1.1; each text and its place
//! in the order was observed on a Valkey 9.1.2).

use super::ids::Id40;
use super::ranges::{Owners, RangeError, SlotRanges, parse_ranges};

/// What the commands need to know of this node and its cluster.
pub trait View: Owners {
    fn myself(&self) -> Id40;
    fn is_known(&self, node: &Id40) -> bool;
    fn is_primary(&self) -> bool;
    /// Any slot is in SETSLOT's importing state.
    fn has_manual_imports(&self) -> bool;
    /// Any slot is in SETSLOT's migrating state.
    fn has_manual_migrations(&self) -> bool;
}

/// Why a command is refused; the texts are Valkey's, without `ERR `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Slot migration can only be used on primary nodes.")]
    NotPrimary,
    #[error("Slots are being manually imported")]
    ManualImport,
    #[error("Slots are being manually migrated")]
    ManualMigration,
    #[error("syntax error")]
    Syntax,
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("Slots are not served by this node.")]
    NotServed,
    #[error("I am already migrating slot {0}.")]
    AlreadyMigrating(u16),
    #[error("Slot ranges in migrations overlap")]
    GroupsOverlap,
    #[error("Invalid node name: {}", text(.0))]
    InvalidNode(Vec<u8>),
    #[error("Unknown node name: {}", text(.0))]
    UnknownNode(Vec<u8>),
    #[error("Target node can not be this node.")]
    TargetIsMyself,
    #[error("Target node does not know the source node")]
    UnknownSource,
    #[error("Source node is target node itself")]
    SourceIsMyself,
    #[error("Slot is already being imported on the target by a different migration")]
    AlreadyImporting,
    #[error("Target node does not agree about current slot ownership")]
    Disagreement,
    #[error("No migrations ongoing")]
    NothingToCancel,
    #[error("No such slot migration job")]
    NoSuchJob,
}

/// As C prints a word: up to its first NUL.
fn text(word: &[u8]) -> std::borrow::Cow<'_, str> {
    let end = word.iter().position(|&b| b == 0).unwrap_or(word.len());
    String::from_utf8_lossy(&word[..end])
}

/// One `SLOTSRANGE ... NODE ...` of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub ranges: SlotRanges,
    pub target: Id40,
}

/// The conditions of this node that MIGRATESLOTS and ESTABLISH share.
pub fn check_node(view: &dyn View) -> Result<(), Refusal> {
    if !view.is_primary() {
        Err(Refusal::NotPrimary)
    } else if view.has_manual_imports() {
        Err(Refusal::ManualImport)
    } else if view.has_manual_migrations() {
        Err(Refusal::ManualMigration)
    } else {
        Ok(())
    }
}

/// Reads the groups of MIGRATESLOTS; `args` begins after the subcommand. `exporting` are the slots of unfinished exports.
pub fn migrate_slots(
    args: &[&[u8]],
    view: &dyn View,
    exporting: &dyn Fn(crate::slot::Slot) -> bool,
) -> Result<Vec<Group>, Refusal> {
    check_node(view)?;
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while at < args.len() {
        if !args[at].eq_ignore_ascii_case(b"SLOTSRANGE") {
            return Err(Refusal::Syntax);
        }
        at += 1;
        let parsed = parse_ranges(&args[at..], view)?;
        at += parsed.used;
        if parsed.owner != view.myself() {
            return Err(Refusal::NotServed);
        }
        if let Some(slot) = parsed.ranges.slots().find(|slot| exporting(*slot)) {
            return Err(Refusal::AlreadyMigrating(slot.0));
        }
        if groups.iter().any(|group| group.ranges.overlaps(&parsed.ranges)) {
            return Err(Refusal::GroupsOverlap);
        }
        let (Some(keyword), Some(node)) = (args.get(at), args.get(at + 1)) else {
            return Err(Refusal::Syntax);
        };
        if !keyword.eq_ignore_ascii_case(b"NODE") {
            return Err(Refusal::Syntax);
        }
        at += 2;
        let Some(target) = Id40::new(node) else { return Err(Refusal::InvalidNode(node.to_vec())) };
        if !view.is_known(&target) {
            return Err(Refusal::UnknownNode(node.to_vec()));
        }
        if target == view.myself() {
            return Err(Refusal::TargetIsMyself);
        }
        groups.push(Group { ranges: parsed.ranges, target });
    }
    Ok(groups)
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
pub(super) mod tests;
