//! What a source may have its target execute: commands on keys of the job's slots, SELECT, and SYNCSLOTS. A real target
//! executes anything, and then overwrites keys of its own.

use std::sync::atomic::Ordering;

use skuld::commands::Command;

use crate::batch::Batch;
use crate::executor::Executor;
use crate::routing::{self, Route};

const OUT_OF_RANGE: &[u8] = b"-ERR the command is not about the slots of this migration";

impl Executor {
    /// Whether the link's next command may run; if not, it is skipped, and unless the link is closed already the job
    /// fails.
    pub fn import_admits(&mut self, batch: &mut Batch, command: &'static Command) -> bool {
        let Some(link) = batch.import.clone() else { return true };
        if link.closed.load(Ordering::Acquire) {
            return false;
        }
        let fits = match routing::route(command, batch, 2, &self.server.scripts) {
            Route::Slots(slots) => slots.iter().all(|slot| link.admits(*slot)),
            Route::Anywhere => true,
            Route::Shard(_) | Route::Script(_) | Route::All => false,
        };
        if !fits && batch.import_error.is_none() {
            batch.import_error = Some(Box::new((OUT_OF_RANGE.to_vec(), command.name.to_owned())));
        }
        fits
    }

    /// The same for commands that the connection runs. Those that wait, subscribe or close would leave the link in a
    /// state no source expects.
    pub fn import_admits_server(&mut self, batch: &mut Batch, command: &'static Command) -> bool {
        if batch.import.is_none() || matches!(command.name, "cluster|syncslots" | "replconf" | "ping") {
            return true;
        }
        if batch.import_error.is_none() {
            batch.import_error = Some(Box::new((OUT_OF_RANGE.to_vec(), command.name.to_owned())));
        }
        false
    }
}
