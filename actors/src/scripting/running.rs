//! Scripts that are running for long: who may see and stop them, and who is refused because of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skuld::commands::Command;
use skuld::commands::context::CommandError;
use skuld::commands::spec::ALLOW_BUSY;
use skuld::resp::Reply;
use skuld::session::Origin;

use super::Scripts;
use super::vm::Purpose;
use crate::clock::{self, Tick};
use crate::shard::{Slots, UnitId};

const BUSY_SCRIPT: CommandError = CommandError::fixed(
    "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const BUSY_FUNCTION: CommandError = CommandError::fixed(
    "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// A script that has handed its thread back at least once.
pub struct Running {
    pub purpose: Purpose,
    /// The script's name (its SHA-1), or the function's.
    pub name: Vec<u8>,
    /// The request that runs it.
    pub words: Vec<Vec<u8>>,
    pub started: Tick,
    /// It came from the primary or a file, whose word is law.
    pub obeyed: bool,
    pub wrote: AtomicBool,
    pub killed: AtomicBool,
    /// Others are refused because of it.
    timed_out: AtomicBool,
    /// It holds all keys, or declared none and so may be about to use any: once it has timed out nobody is served.
    concerns_all: AtomicBool,
    /// The unit whose slots it holds.
    unit: AtomicU64,
}

impl Running {
    pub fn new(
        purpose: Purpose,
        name: Vec<u8>,
        words: Vec<Vec<u8>>,
        started: Tick,
        origin: Origin,
        wrote: bool,
    ) -> Self {
        Self {
            purpose,
            name,
            words,
            started,
            obeyed: !origin.is_client(),
            wrote: AtomicBool::new(wrote),
            killed: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            concerns_all: AtomicBool::new(false),
            unit: AtomicU64::new(u64::MAX),
        }
    }

    /// What those who are refused because of it are told.
    fn busy(&self) -> CommandError {
        match self.purpose {
            Purpose::Scripts => BUSY_SCRIPT,
            Purpose::Functions => BUSY_FUNCTION,
        }
    }

    pub fn is_timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed)
    }

    fn millis(&self) -> u64 {
        clock::micros_between(self.started, clock::tick()) / 1000
    }

    /// The name of the command that stops it.
    pub fn kill_command(&self) -> &'static str {
        match self.purpose {
            Purpose::Scripts => "SCRIPT KILL",
            Purpose::Functions => "FUNCTION KILL",
        }
    }
}

impl Scripts {
    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Running>>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes note of a script that hands its thread back.
    pub fn add_running(&self, running: &Arc<Running>) {
        self.running().push(Arc::clone(running));
    }

    /// The script is over.
    pub fn remove_running(&self, running: &Arc<Running>) {
        self.running().retain(|other| !Arc::ptr_eq(other, running));
        if running.timed_out.load(Ordering::Relaxed) {
            self.timed_out.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// From now on others are refused because of the script, which has run for `busy-reply-threshold`.
    /// False if that was said before.
    pub fn time_out(&self, running: &Running) -> bool {
        if running.timed_out.swap(true, Ordering::Relaxed) {
            return false;
        }
        tracing::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing the script using \
             the {} command. Script name is: {}.",
            running.millis(),
            running.kill_command(),
            String::from_utf8_lossy(&running.name)
        );
        self.timed_out.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Whether any script has run for so long that others are refused.
    #[inline]
    pub fn any_timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed) > 0
    }

    /// The refusal of a command because of a script that concerns everybody, or because every worker is busy.
    #[inline]
    pub fn refusal(&self, command: &Command, workers: u16) -> Option<CommandError> {
        if !self.any_timed_out() || command.flags.has(ALLOW_BUSY) {
            return None;
        }
        self.refusal_of_all(workers)
    }

    #[cold]
    fn refusal_of_all(&self, workers: u16) -> Option<CommandError> {
        let running = self.running();
        let busy = || running.iter().filter(|running| running.is_timed_out());
        let concerns_all = |running: &&Arc<Running>| running.concerns_all.load(Ordering::Relaxed);
        if let Some(running) = busy().find(concerns_all) {
            return Some(running.busy());
        }
        let all_busy = busy().count() >= usize::from(workers);
        busy().next().filter(|_| all_busy).map(|running| running.busy())
    }

    /// Says which unit the script holds its slots by, and whether these are all, or none.
    pub fn set_unit(&self, running: &Running, unit: UnitId, slots: &Slots) {
        running.unit.store(unit.number(), Ordering::Relaxed);
        let concerns_all = match slots {
            Slots::All => true,
            Slots::Some(slots) => slots.is_empty(),
        };
        running.concerns_all.store(concerns_all, Ordering::Relaxed);
    }

    /// The refusal of a command that needs what this unit holds, if a script does for too long.
    pub fn refusal_by(&self, unit: UnitId) -> Option<CommandError> {
        if !self.any_timed_out() {
            return None;
        }
        let holds = |r: &&Arc<Running>| {
            r.timed_out.load(Ordering::Relaxed) && r.unit.load(Ordering::Relaxed) == unit.number()
        };
        self.running().iter().find(holds).map(|running| running.busy())
    }

    /// SCRIPT KILL and FUNCTION KILL.
    pub fn kill(&self, purpose: Purpose) -> Result<(), CommandError> {
        let all = self.running();
        // One of the kind that was asked for, if there are several.
        let running = all.iter().find(|r| r.purpose == purpose).or(all.first()).ok_or(super::NOT_BUSY)?;
        if running.obeyed {
            return Err(CommandError::fixed(
                "UNKILLABLE The busy script was sent by a master instance in the context of replication and cannot \
                 be killed.",
            ));
        }
        if running.wrote.load(Ordering::Acquire) {
            return Err(CommandError::fixed(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either \
                 wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ));
        }
        if running.purpose != purpose {
            return Err(running.busy());
        }
        running.killed.store(true, Ordering::Release);
        Ok(())
    }

    /// The part of FUNCTION STATS about what is running.
    pub fn write_running(&self, reply: &mut Reply) -> Result<(), CommandError> {
        let all = self.running();
        let function = all.iter().find(|r| r.purpose == Purpose::Functions);
        let Some(running) = function.or(all.first()) else {
            reply.map(2);
            reply.bulk(b"running_script");
            reply.null();
            return Ok(());
        };
        if running.purpose == Purpose::Scripts {
            return Err(running.busy());
        }
        reply.map(2);
        reply.bulk(b"running_script");
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&running.name);
        reply.bulk(b"command");
        reply.array(running.words.len());
        running.words.iter().for_each(|word| reply.bulk(word));
        reply.bulk(b"duration_ms");
        reply.integer(running.millis() as i64);
        Ok(())
    }

    /// SHUTDOWN without NOSAVE is refused while a script is busy.
    pub fn shutdown_refusal(&self) -> Option<CommandError> {
        let running = self.running();
        running.iter().find(|r| r.timed_out.load(Ordering::Relaxed)).map(|running| running.busy())
    }
}
