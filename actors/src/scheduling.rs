//! How threads share a processor when there are fewer processors than busy threads: on a machine of one or two, an export
//! keeps a worker and a writer of files busy, and whoever waits for the worker, or for the processor it is on, would
//! wait until the kernel's next tick (4 ms at 250 Hz).
//!
//! Linux 6.12 and later let a thread name the length of its turn without privileges: a thread with a shorter turn that
//! wakes takes the processor from one with a longer turn at once, and all get the same share in the end. Older kernels
//! ignore the wish.

use std::time::Duration;

/// What a thread is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Somebody waits for what it does next.
    Serving,
    /// It works in the background for a long time.
    Background,
}

impl Role {
    /// The turn it asks for. The kernel's own default is 0.7 to 2.8 ms, by number of processors.
    fn turn(self) -> Duration {
        match self {
            Self::Serving => Duration::from_micros(500),
            Self::Background => Duration::from_millis(10),
        }
    }

    /// By how much it is nicer than the process: where there are too few processors, what works in the background gets a
    /// quarter of what a worker gets, which is enough to come to an end beside a worker that is never idle.
    fn extra_niceness(self) -> i32 {
        match self {
            Self::Serving => 0,
            Self::Background => 6,
        }
    }
}

/// The niceness the process was started with: that of its first thread, which serves.
fn process_niceness() -> i32 {
    // SAFETY: a plain call; the first thread's number is that of the process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, libc::getpid() as libc::id_t) }
}

/// How the kernel schedules this thread, if it says so.
fn attributes() -> Option<libc::sched_attr> {
    // SAFETY: all-zero bytes are a valid value of this plain structure.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: the kernel writes at most `size` bytes to the structure, which outlives the call; 0 is this thread.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    attributes.size = size;
    (known == 0).then_some(attributes)
}

/// Asks for the turn that suits the role of this thread, and for less where that is enough. A thread that somebody gave
/// another policy than the usual one keeps it.
pub fn take_turns_as(role: Role) {
    let Some(mut attributes) = attributes().filter(|a| a.sched_policy == libc::SCHED_OTHER as u32) else {
        return;
    };
    attributes.sched_runtime = role.turn().as_nanos() as u64;
    attributes.sched_nice = (process_niceness() + role.extra_niceness()).min(19);
    // A container may forbid it: then the kernel's own turns hold.
    // SAFETY: the structure is whole and only read; 0 is this thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Lets other threads that are ready have the processor: between two pieces of background work, so that a client beside a
/// busy worker does not wait for the kernel's tick.
pub fn give_way() {
    std::thread::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_thread() -> libc::sched_attr {
        attributes().expect("a thread may ask about itself")
    }

    /// The length of the turn changes, where the kernel lets it, and how nice the thread is; not the policy.
    #[test]
    fn a_role_changes_turns_and_niceness_and_nothing_else() {
        let before = of_this_thread();
        for role in [Role::Serving, Role::Background] {
            take_turns_as(role);
            let after = of_this_thread();
            assert_eq!(after.sched_policy, before.sched_policy);
            assert_eq!(after.sched_nice, (before.sched_nice + role.extra_niceness()).min(19));
            // Kernels before 6.12 say 0.
            let wanted = role.turn().as_nanos() as u64;
            assert!(
                [0, wanted, before.sched_runtime].contains(&after.sched_runtime),
                "{}",
                after.sched_runtime
            );
        }
    }

    /// What was given to it from outside is the administrator's.
    #[test]
    fn another_policy_is_kept() {
        std::thread::spawn(|| {
            // SAFETY: an all-zero structure is valid (SCHED_BATCH wants priority 0); 0 is this thread.
            let given = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &std::mem::zeroed()) };
            assert_eq!(given, 0, "any thread may take less");
            let before = of_this_thread();
            take_turns_as(Role::Serving);
            assert_eq!(of_this_thread().sched_policy, libc::SCHED_BATCH as u32);
            assert_eq!(of_this_thread().sched_runtime, before.sched_runtime);
        })
        .join()
        .expect("it ends");
    }
}
