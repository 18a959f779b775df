//! What migrations ask of the cluster, in one place. There is no cluster mode yet, so nobody owns anything.

use actix::Addr;
use skuld::migration::arguments::View;
use skuld::migration::ranges::Owners;
use skuld::migration::{Id40, JobName, SlotRanges, SlotSet};
use skuld::slot::Slot;

use super::export::MigrationExport;
use super::import::{Claimed, MigrationImport};
use crate::envelope::tell;
use crate::server::ServerRef;

/// A change that concerns jobs.
#[derive(Clone, Debug)]
pub enum Change {
    /// Some slots changed hands.
    Ownership,
    Demoted,
    Promoted,
    NodeFailed(Id40),
    Reset,
}

pub struct TopologyView;

impl Owners for TopologyView {
    fn owner(&self, _: Slot) -> Option<Id40> {
        None
    }
}

impl View for TopologyView {
    fn myself(&self) -> Id40 {
        Id40([b'0'; 40])
    }
    fn is_known(&self, _: &Id40) -> bool {
        false
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

pub fn view(_: &ServerRef) -> Option<TopologyView> {
    None
}
pub fn myself(_: &ServerRef) -> Option<Id40> {
    None
}
pub fn human_name(_: &ServerRef, _: &Id40) -> String {
    String::new()
}
pub fn address_of(_: &ServerRef, _: &Id40) -> Option<String> {
    None
}
pub fn owner_of_all(_: &ServerRef, _: &SlotRanges) -> Option<Id40> {
    None
}
pub fn not_mine(_: &ServerRef, slots: &SlotSet) -> Vec<Slot> {
    slots.iter().collect()
}
pub fn grant(_: &ServerRef, _: &SlotSet, _: Option<Id40>) {}
pub fn claim(_: &ServerRef, _: &SlotSet, job: Addr<MigrationImport>) {
    tell(&job, Claimed { result: Err("cluster support is disabled".into()) });
}
pub fn count_jobs(_: &ServerRef) {}
pub fn ask_target(_: &ServerRef, _: Id40, _: JobName, _: SlotRanges, _: Addr<MigrationExport>) {}
