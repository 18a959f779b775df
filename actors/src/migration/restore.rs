//! Imports under way in files and full synchronisations: what is written about them, and what becomes of them when a data
//! set is loaded or replaced.
//!
//! A job does not outlive its process. Where one is found in a file, its slots are hidden while the server knows only
//! that much; a primary then deletes what was imported, a replica waits for what its primary says.

use skuld::effects::encode_command;
use skuld::keyspace::Part;
use skuld::migration::messages::Establish;
use skuld::migration::{Id40, ImportState, JobState, SlotRange, SlotRanges};
use skuld::rdb::file::FileWriter;
use skuld::slot::SLOTS;

use super::import::{self, MigrationImport};
use super::{Job, Migrations, export};
use crate::envelope::tell;
use crate::persistence::loader::SlotImport;
use crate::server::ServerRef;

impl Migrations {
    /// The imports that are not finished, for a file. Oldest first.
    pub fn open_imports(&self) -> Vec<Establish> {
        let log = self.log();
        let mut open: Vec<Establish> = log
            .unfinished_imports()
            .map(|job| Establish { source: job.source, name: job.name, ranges: job.ranges.clone() })
            .collect();
        open.reverse();
        open
    }
}

/// Adds imports to the head of a file.
pub fn write(writer: &mut FileWriter, imports: &[Establish]) {
    for import in imports {
        let ranges: Vec<(u16, u16)> = import.ranges.0.iter().map(|r| (r.start, r.end)).collect();
        writer.slot_import(import.name.as_bytes(), &ranges);
    }
}

/// The same as commands, for the base of an append-only file.
pub fn write_commands(out: &mut Vec<u8>, imports: &[Establish]) {
    if !imports.is_empty() {
        encode_command(out, &[b"SELECT", b"0"]);
    }
    imports.iter().for_each(|import| import.encode(out));
}

/// Reads what a file says of its imports. Without cluster mode there are none: the keys are keys like others.
fn read(server: &ServerRef, imports: &[SlotImport]) -> Vec<Establish> {
    if server.cluster.is_none() {
        return Vec::new();
    }
    let slot = |number: u64| u16::try_from(number).ok().filter(|slot| usize::from(*slot) < SLOTS);
    imports
        .iter()
        .filter_map(|(name, ranges)| {
            let ranges = ranges
                .iter()
                .map(|(start, end)| Some(SlotRange { start: slot(*start)?, end: slot(*end)? }))
                .collect::<Option<Vec<_>>>()?;
            Some(Establish { source: None, name: Id40::new(name)?, ranges: SlotRanges(ranges) })
        })
        .collect()
}

/// Hides the slots of imports in a data set that is about to be served.
pub fn hide(server: &ServerRef, parts: &mut [Part], imports: &[SlotImport]) {
    for import in read(server, imports) {
        for slot in import.ranges.slots() {
            parts.iter_mut().filter(|part| part.owns(slot)).for_each(|part| part.hide_slot(slot));
        }
    }
}

/// Follows the imports of a data set that is served now.
pub fn follow(server: &ServerRef, imports: &[SlotImport]) {
    for import in read(server, imports) {
        MigrationImport::follow(server, import);
    }
}

/// Ends all jobs, and forgets those that have ended: another data set is about to be loaded.
pub async fn data_replaced(server: &ServerRef, full_sync: bool) {
    let mut ends = Vec::new();
    for job in server.migrations.jobs() {
        match job {
            Job::Export(job) => tell(&job, export::Flushed),
            Job::Import(job) => {
                let (done, end) = tokio::sync::oneshot::channel();
                tell(&job, import::DataReplaced { full_sync, done });
                ends.push(end);
            }
        }
    }
    for end in ends {
        // The job drops the other end when it is over.
        let _ = end.await;
    }
    server.migrations.log().forget_finished();
}

/// A data set was loaded: a primary gives up the imports it finds in it.
pub fn data_loaded(server: &ServerRef) {
    if !super::cluster::is_primary(server) {
        return;
    }
    let followed: Vec<_> = {
        let log = server.migrations.log();
        let state = JobState::Import(ImportState::OccurringOnPrimary);
        log.unfinished_imports().filter(|job| job.state == state).map(|job| job.name).collect()
    };
    for name in followed {
        if let Some(Job::Import(job)) = server.migrations.job(&name) {
            tell(&job, import::Restarted);
        }
    }
}
