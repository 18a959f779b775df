//! Atomic slot migration, pure: the state machines of both ends, what they say to each other, and the record of jobs.
//! The actors that own the links and the timers are in the other crate; the facts are in spec slot-migration.md.
//!
//! ```text
//! arguments, ranges   CLUSTER MIGRATESLOTS          export, import   events in, new state and actions out
//! messages            CLUSTER SYNCSLOTS             reason           why a job failed
//! job, log            CLUSTER GETSLOTMIGRATIONS     step             what a step gives back
//! snapshot            keys sent in slices, and what is sent about their changes
//! ```
//!
//! Invariant: `step` is total: every event is taken, refused, or ends the job, in every state.
//! Invariant: the model checker and the server run the same `step`.

pub mod arguments;
pub mod export;
pub mod ids;
pub mod import;
pub mod job;
pub mod log;
pub mod messages;
#[cfg(test)]
mod model;
pub mod ranges;
pub mod reason;
pub mod snapshot;
pub mod step;

pub use export::ExportState;
pub use ids::{Id40, JobName};
pub use import::ImportState;
pub use job::{Job, JobState};
pub use log::{JobLog, SlotSet};
pub use ranges::{SlotRange, SlotRanges};
pub use reason::Reason;
pub use step::Step;
