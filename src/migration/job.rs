//! A job's record: what GETSLOTMIGRATIONS shows of it, and every transition it made.

use super::export::ExportState;
use super::ids::{Id40, JobName};
use super::import::ImportState;
use super::ranges::SlotRanges;
use super::reason::Reason;
use crate::resp::Reply;

/// Transitions kept per job; a job makes about a dozen.
pub const RECORDS_MAX: usize = 64;

/// Either machine's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Export(ExportState),
    Import(ImportState),
}

impl JobState {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Export(state) => state.name(),
            Self::Import(state) => state.name(),
        }
    }

    pub fn is_finished(&self) -> bool {
        match self {
            Self::Export(state) => state.is_finished(),
            Self::Import(state) => state.is_finished(),
        }
    }

    pub fn is_export(&self) -> bool {
        matches!(self, Self::Export(_))
    }

    /// Why it failed, or is about to have failed.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Export(ExportState::Failed(reason))
            | Self::Import(ImportState::CleaningUp(reason) | ImportState::Failed(reason)) => Some(reason),
            Self::Export(_) | Self::Import(_) => None,
        }
    }
}

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub from: &'static str,
    /// The event, with what it carried.
    pub event: String,
    pub to: &'static str,
    /// Why, if the job failed by it.
    pub reason: Option<String>,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// What an operator wants to know of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Figures {
    pub bytes_sent: u64,
    pub keys_sent: u64,
    /// Keys in the slots when the snapshot began.
    pub keys_total: u64,
    /// Effects of commands sent behind the keys.
    pub effects_sent: u64,
    /// Bytes recorded or encoded and not taken by the socket yet.
    pub waiting_bytes: u64,
    /// How often writers were held back because the job's buffer was full, and how long altogether, microseconds.
    pub paced: u64,
    pub paced_us: u64,
    /// What an import has got: bytes, keys in its slots when they were last counted, and when the last byte came, Unix
    /// milliseconds.
    pub bytes_received: u64,
    pub keys_received: u64,
    pub heard_ms: i64,
    /// When writes to the slots were frozen, and for how long, Unix milliseconds and milliseconds.
    pub frozen_at_ms: i64,
    pub frozen_ms: u64,
    /// Bytes a second the operator allows; 0: as many as the link takes.
    pub rate_limit: u64,
    /// The operator holds the job.
    pub is_held: bool,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub name: JobName,
    pub ranges: SlotRanges,
    /// Unknown on a node that only follows its primary's job.
    pub source: Option<Id40>,
    pub target: Option<Id40>,
    /// Unix seconds.
    pub created_s: i64,
    pub updated_s: i64,
    pub acked_s: i64,
    pub state: JobState,
    pub records: Vec<Record>,
    pub figures: Figures,
}

impl Job {
    pub fn new(name: JobName, ranges: SlotRanges, state: JobState, now_ms: i64) -> Self {
        let now_s = now_ms / 1000;
        Self {
            name,
            ranges,
            source: None,
            target: None,
            created_s: now_s,
            updated_s: now_s,
            acked_s: now_s,
            state,
            records: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Takes note of a transition.
    pub fn moved(&mut self, event: String, to: JobState, now_ms: i64) {
        if self.records.len() == RECORDS_MAX {
            // The first and the newest tell most.
            self.records.remove(RECORDS_MAX / 2);
        }
        let reason = to.reason().map(|r| String::from_utf8_lossy(&r.text()).trim_end().to_owned());
        self.records.push(Record { from: self.state.name(), event, to: to.name(), reason, at_ms: now_ms });
        if to != self.state {
            self.updated_s = now_ms / 1000;
            if matches!(to, JobState::Import(ImportState::OccurringOnPrimary)) {
                (self.source, self.target) = (None, None);
            }
            self.state = to;
        }
    }

    /// Why it failed; empty unless it did.
    pub fn message(&self) -> Vec<u8> {
        match self.state.reason() {
            Some(reason) => reason.text().into_owned(),
            None => Vec::new(),
        }
    }

    /// How logs name the job. `name_of` gives the human name of a node.
    pub fn description(&self, name_of: &dyn Fn(&Id40) -> String) -> String {
        let (operation, end, node) = if self.state.is_export() {
            ("export", "target", &self.target)
        } else {
            ("import", "source", &self.source)
        };
        let (id, human) = match node {
            None => ("unknown".to_owned(), String::new()),
            Some(id) => (id.to_string(), format!(" {end}_human_name: {},", name_of(id))),
        };
        format!(
            "{{name: {}, operation: {operation}, {end}_node_id: {id},{human} slots: {}}}",
            self.name, self.ranges
        )
    }

    /// The row of GETSLOTMIGRATIONS (spec slot-migration.md, 2.2).
    pub fn write_row(&self, reply: &mut Reply) {
        let nodes = self.source.zip(self.target);
        reply.map(if nodes.is_some() { 12 } else { 10 });
        let text = |reply: &mut Reply, name: &str, value: &[u8]| {
            reply.bulk(name.as_bytes());
            reply.bulk(value);
        };
        text(reply, "name", self.name.as_bytes());
        text(reply, "operation", if self.state.is_export() { b"EXPORT" } else { b"IMPORT" });
        text(reply, "slot_ranges", self.ranges.to_string().as_bytes());
        if let Some((source, target)) = nodes {
            text(reply, "target_node", target.as_bytes());
            text(reply, "source_node", source.as_bytes());
        }
        let number = |reply: &mut Reply, name: &str, value: i64| {
            reply.bulk(name.as_bytes());
            reply.integer(value);
        };
        number(reply, "create_time", self.created_s);
        number(reply, "last_update_time", self.updated_s);
        number(reply, "last_ack_time", self.acked_s);
        text(reply, "state", self.state.name().as_bytes());
        text(reply, "message", &self.message());
        // No memory is copied on write: nothing forks.
        number(reply, "cow_size", 0);
        let waiting =
            if self.state.is_export() && !self.state.is_finished() { self.figures.waiting_bytes } else { 0 };
        number(reply, "remaining_repl_size", waiting as i64);
    }
}
