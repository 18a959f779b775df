//! Which shard a command belongs to, with several workers.

use skuld::commands::Command;
use skuld::commands::keys::{KeyList, KeyShape, keys_of};
use skuld::commands::spec::{MAY_REPLICATE, Scope, WRITE};
use skuld::session::Debugging;
use skuld::slot::{Slot, slot_of};
use smallvec::{SmallVec, smallvec};

use crate::batch::Batch;
use crate::scripting::Scripts;

/// Slots of a command's keys, each once: rarely more than one.
pub type SlotList = SmallVec<[Slot; 4]>;

/// Where a command runs.
pub enum Route {
    /// It touches no keys.
    Anywhere,
    /// It touches keys of these slots (not empty).
    Slots(SlotList),
    /// It walks one shard (SCAN with its cursor).
    Shard(u16),
    /// It runs a script that has kept to its declared keys so far: those of these slots (may be none).
    Script(SlotList),
    /// It needs everything.
    All,
}

/// Routes the batch's next request.
pub fn route(command: &'static Command, batch: &Batch, workers: u16, scripts: &Scripts) -> Route {
    if command.name == "exec" {
        return route_exec(batch, workers);
    }
    if crate::scripting::runs_code(command) {
        return route_script(command, batch, scripts);
    }
    match command.spec.scope {
        Scope::AllSlots => Route::All,
        Scope::Cursor => {
            let cursor = skuld::commands::check::cursor_of(batch.arg(batch.next, 1)).unwrap_or(0);
            Route::Shard((cursor % skuld::slot::SLOTS as u64) as u16 % workers)
        }
        Scope::SlotArgument => slot_argument(batch.arg(batch.next, 2)),
        Scope::SlotWalk => slot_walk(&batch.words(batch.next), workers),
        Scope::Session => Route::Anywhere,
        Scope::Keys => {
            if command.shape == KeyShape::First {
                return Route::Slots(smallvec![slot_of(batch.arg(batch.next, 1))]);
            }
            let words = batch.words(batch.next);
            if reads_undeclared_keys(command, &words) {
                return Route::All;
            }
            let slots = slots_of(command, &words);
            if slots.is_empty() { Route::Anywhere } else { Route::Slots(slots) }
        }
    }
}

/// A slot that is no slot is refused wherever the command runs.
fn slot_argument(word: &[u8]) -> Route {
    slot_named(word).map_or(Route::Anywhere, |slot| Route::Slots(smallvec![slot]))
}

fn slot_named(word: &[u8]) -> Option<Slot> {
    skuld::resp::decode::parse_integer(word).and_then(skuld::commands::cluster::slot_number)
}

/// The slots of the keys that a request names, each once. Keys that could be told before an error route a request that
/// will be refused there.
fn slots_of(command: &'static Command, words: &[&[u8]]) -> SlotList {
    let mut keys = KeyList::new();
    let _ = keys_of(command, words, &mut keys);
    let mut slots = SlotList::new();
    for key in &keys {
        let slot = slot_of(words[key.position as usize]);
        if !slots.contains(&slot) {
            slots.push(slot);
        }
    }
    slots
}

fn route_script(command: &'static Command, batch: &Batch, scripts: &Scripts) -> Route {
    let words = batch.words(batch.next);
    if batch.session.debugging != Debugging::Off || scripts.roams(command, &words) {
        Route::All
    } else {
        Route::Script(slots_of(command, &words))
    }
}

/// Whether a command that a script calls needs more than the keys of these slots, or would change something: a script
/// that reserved no more than its declared keys cannot go on with it.
pub fn leaves(command: &'static Command, words: &[&[u8]], slots: &[Slot]) -> bool {
    if command.flags.has_any(WRITE | MAY_REPLICATE) {
        return true;
    }
    match command.spec.scope {
        _ if command.name == "debug" || needs_all_shards(command) => true,
        Scope::AllSlots | Scope::Cursor | Scope::SlotArgument | Scope::SlotWalk => true,
        Scope::Session => false,
        Scope::Keys => {
            reads_undeclared_keys(command, words)
                || slots_of(command, words).iter().any(|slot| !slots.contains(slot))
        }
    }
}

/// Whether the command's data name further keys it reads (SORT with BY or GET).
fn reads_undeclared_keys(command: &'static Command, words: &[&[u8]]) -> bool {
    matches!(command.spec.name, "sort" | "sort_ro") && skuld::commands::sort::follows_patterns(words)
}

/// Where a walk through slots (CLUSTERSCAN) runs: it goes on behind the slot that its cursor names, whose neighbours
/// other workers have, unless it is told one slot or has not begun.
fn slot_walk(words: &[&[u8]], workers: u16) -> Route {
    let one_slot = words.iter().skip(2).step_by(2).any(|word| word.eq_ignore_ascii_case(b"slot"));
    if workers > 1 && !one_slot && words[1] != b"0" {
        return Route::All;
    }
    Route::Slots(smallvec![slot_of(words[1])])
}

/// Whether the command goes by figures of all shards, which inside a transaction or a script must be at hand.
fn needs_all_shards(command: &Command) -> bool {
    matches!(
        command.name,
        "info"
            | "memory|stats"
            | "memory|doctor"
            | "cluster|flushslots"
            | "cluster|replicate"
            | "cluster|reset"
            | "cluster|setslot"
            | "cluster|slot-stats"
    )
}

/// Routes EXEC: the keys of all queued commands and all watched keys.
fn route_exec(batch: &Batch, workers: u16) -> Route {
    let Some(queue) = &batch.transaction.queue else { return Route::Anywhere };
    let mut slots = SlotList::new();
    let mut add = |slot: Slot| {
        if !slots.contains(&slot) {
            slots.push(slot);
        }
    };
    for (command, words) in &queue.commands {
        // DEBUG may look at, or replace, any key.
        if crate::scripting::runs_code(command)
            || command.name == "debug"
            || (workers > 1 && needs_all_shards(command))
        {
            return Route::All;
        }
        match command.spec.scope {
            Scope::AllSlots | Scope::Cursor if workers > 1 => return Route::All,
            Scope::AllSlots => return Route::All,
            Scope::Cursor | Scope::Session => {}
            Scope::SlotWalk => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                match slot_walk(&words, workers) {
                    Route::Slots(slots) => slots.into_iter().for_each(&mut add),
                    _ => return Route::All,
                }
            }
            Scope::SlotArgument => {
                if let Some(slot) = words.get(2).and_then(|word| slot_named(word)) {
                    add(slot);
                }
            }
            Scope::Keys => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                if reads_undeclared_keys(command, &words) {
                    return Route::All;
                }
                let mut keys = KeyList::new();
                // Keys that could be told before an error are enough: the command will be refused.
                let _ = keys_of(command, &words, &mut keys);
                keys.iter().for_each(|key| add(slot_of(words[key.position as usize])));
            }
        }
    }
    batch.transaction.watched.iter().for_each(|w| add(slot_of(&w.key)));
    if slots.is_empty() { Route::Anywhere } else { Route::Slots(slots) }
}
