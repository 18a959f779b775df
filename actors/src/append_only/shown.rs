//! With `appendfsync always`, what a reply must wait for that shows no more than the keys its command names.

use skuld::aof::recent::RecentWrites;
use skuld::commands::Command;
use skuld::commands::spec::{READONLY, Scope};

use crate::batch::Batch;
use crate::routing::{self, Route};
use crate::scripting::{self, Scripts};

/// The last `Append` that the reply to the batch's next request may show something of, if that is known: a command that
/// only reads the keys it names has just run.
pub fn shown_by(
    recent: &RecentWrites,
    command: &'static Command,
    batch: &Batch,
    scripts: &Scripts,
) -> Option<u64> {
    let reads_keys = command.flags.has(READONLY)
        && command.spec.scope == Scope::Keys
        && batch.session.origin.is_client()
        && !scripting::runs_code(command);
    // Two workers: with one, nobody needs to know where SORT's patterns lead.
    match reads_keys.then(|| routing::route(command, batch, 2, scripts)) {
        Some(Route::Slots(slots)) => slots.iter().map(|slot| recent.last(*slot)).max(),
        _ => None,
    }
}
