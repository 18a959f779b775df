//! The jobs a node knows, newest first: running ones, and finished ones up to `cluster-slot-migration-log-max-len`.

use std::collections::VecDeque;

use super::ids::JobName;
use super::job::{Job, JobState};
use crate::slot::{SLOTS, Slot};

/// The log.
#[derive(Debug, Default)]
pub struct JobLog {
    jobs: VecDeque<Job>,
}

impl JobLog {
    /// Adds a job as the newest.
    pub fn add(&mut self, job: Job) {
        self.jobs.push_front(job);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// The job of that name; the newest if there are several (names are not tested for being new).
    pub fn get(&self, name: &JobName) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name == *name)
    }

    pub fn get_mut(&mut self, name: &JobName) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.name == *name)
    }

    /// An unfinished job of that name.
    pub fn running_mut(&mut self, name: &JobName) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.name == *name && !job.state.is_finished())
    }

    fn unfinished(&self, exports: bool) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| !job.state.is_finished() && job.state.is_export() == exports)
    }

    pub fn unfinished_exports(&self) -> impl Iterator<Item = &Job> {
        self.unfinished(true)
    }

    pub fn unfinished_imports(&self) -> impl Iterator<Item = &Job> {
        self.unfinished(false)
    }

    /// Which slots unfinished exports hold, for checks of many slots.
    pub fn exporting(&self) -> SlotSet {
        SlotSet::of(self.unfinished_exports())
    }

    /// Which slots unfinished imports hold, those cleaning up included.
    pub fn importing(&self) -> SlotSet {
        SlotSet::of(self.unfinished_imports())
    }

    /// Drops finished jobs, oldest first, until there are at most `max` jobs. Unfinished ones stay and count.
    pub fn trim(&mut self, max: usize) {
        let mut excess = self.jobs.len().saturating_sub(max);
        let mut at = self.jobs.len();
        while excess > 0 && at > 0 {
            at -= 1;
            if self.jobs[at].state.is_finished() {
                self.jobs.remove(at);
                excess -= 1;
            }
        }
    }

    /// Drops all finished jobs, as loading a data set does.
    pub fn forget_finished(&mut self) {
        self.jobs.retain(|job| !job.state.is_finished());
    }
}

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    words: Box<[u64; SLOTS / 64]>,
    len: usize,
}

impl Default for SlotSet {
    fn default() -> Self {
        Self { words: Box::new([0; SLOTS / 64]), len: 0 }
    }
}

impl SlotSet {
    fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Self {
        let mut set = Self::default();
        jobs.flat_map(|job| job.ranges.slots()).for_each(|slot| {
            set.insert(slot);
        });
        set
    }

    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.words[slot.index() / 64] & (1 << (slot.index() % 64)) != 0
    }

    /// True if it was not there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let new = !self.contains(slot);
        self.words[slot.index() / 64] |= 1 << (slot.index() % 64);
        self.len += usize::from(new);
        new
    }

    /// True if it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let had = self.contains(slot);
        self.words[slot.index() / 64] &= !(1 << (slot.index() % 64));
        self.len -= usize::from(had);
        had
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..SLOTS as u16).map(Slot).filter(|slot| self.contains(*slot))
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.iter().map(|s| s.0)).finish()
    }
}

/// Whether a state says that its job holds slots hidden here.
pub fn hides_slots(state: &JobState) -> bool {
    !state.is_export() && !state.is_finished()
}

#[cfg(test)]
mod tests {
    use super::super::export::ExportState;
    use super::super::ids::Id40;
    use super::super::import::ImportState;
    use super::super::ranges::{SlotRange, SlotRanges};
    use super::super::reason::Reason;
    use super::*;
    use crate::resp::{Protocol, Reply};

    fn job(name: u8, slot: u16, state: JobState) -> Job {
        let ranges = SlotRanges(vec![SlotRange { start: slot, end: slot + 1 }]);
        Job::new(Id40([name; 40]), ranges, state, 5_000)
    }

    fn names(log: &JobLog) -> String {
        log.iter().map(|job| job.name.0[0] as char).collect()
    }

    #[test]
    fn trimming_drops_finished_jobs_oldest_first() {
        let mut log = JobLog::default();
        for (name, state) in [
            (b'a', JobState::Export(ExportState::Success)),
            (b'b', JobState::Export(ExportState::Snapshotting)),
            (b'c', JobState::Export(ExportState::Cancelled)),
            (b'd', JobState::Import(ImportState::CleaningUp(Reason::Flushed))),
            (b'e', JobState::Import(ImportState::Failed(Reason::Flushed))),
        ] {
            log.add(job(name, 10, state));
        }
        assert_eq!(names(&log), "edcba");
        log.trim(4);
        assert_eq!(names(&log), "edcb");
        log.trim(0);
        assert_eq!(names(&log), "db");
    }

    #[test]
    fn slots_are_held_until_the_job_is_finished() {
        let mut log = JobLog::default();
        log.add(job(b'a', 10, JobState::Export(ExportState::Replicating)));
        log.add(job(b'b', 20, JobState::Import(ImportState::CleaningUp(Reason::Flushed))));
        log.add(job(b'c', 30, JobState::Export(ExportState::Success)));
        let (exporting, importing) = (log.exporting(), log.importing());
        assert_eq!(exporting.iter().map(|s| s.0).collect::<Vec<_>>(), [10, 11]);
        assert_eq!(importing.iter().map(|s| s.0).collect::<Vec<_>>(), [20, 21]);
        assert_eq!((exporting.len(), importing.is_empty()), (2, false));
    }

    #[test]
    fn a_job_keeps_its_transitions_and_shows_its_row() {
        let mut job = job(b'a', 10, JobState::Export(ExportState::Connecting));
        job.source = Some(Id40([b's'; 40]));
        job.target = Some(Id40([b't'; 40]));
        let lost = JobState::Export(ExportState::Failed(Reason::ConnectFailed("Connection refused".into())));
        job.moved("ConnectFailed".into(), lost, 9_000);
        assert_eq!(job.records[0].from, "connecting");
        assert_eq!(
            job.records[0].reason.as_deref(),
            Some("Unable to connect to target node: Connection refused")
        );
        assert_eq!((job.created_s, job.updated_s), (5, 9));
        let mut reply = Reply::with_buffer(Vec::new(), Protocol::Resp3);
        job.write_row(&mut reply);
        let row = String::from_utf8(reply.into_bytes()).expect("a row of text");
        assert!(row.starts_with("%12\r\n$4\r\nname\r\n$40\r\naaaa"), "{row}");
        assert!(
            row.contains("$11\r\nslot_ranges\r\n$5\r\n10-11\r\n$11\r\ntarget_node\r\n$40\r\ntttt"),
            "{row}"
        );
        assert!(row.ends_with("$8\r\ncow_size\r\n:0\r\n$19\r\nremaining_repl_size\r\n:0\r\n"), "{row}");
        job.source = None;
        let mut reply = Reply::with_buffer(Vec::new(), Protocol::Resp2);
        job.write_row(&mut reply);
        assert!(reply.into_bytes().starts_with(b"*20\r\n"));
    }
}
