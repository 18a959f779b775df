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
}

/// Asks for the turn that suits the role of this thread. A thread that somebody gave another policy than the usual one
/// keeps it, and so does its niceness.
pub fn take_turns_as(role: Role) {
    // SAFETY: all-zero bytes are a valid value of this plain structure.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>() as u32;
    attributes.size = size;
    // SAFETY: the kernel writes at most `size` bytes to the structure, which outlives the call; 0 is this thread.
    let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if known != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.size = size;
    attributes.sched_runtime = role.turn().as_nanos() as u64;
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

    fn attributes() -> libc::sched_attr {
        // SAFETY: as in `take_turns_as`.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>() as u32;
        // SAFETY: as in `take_turns_as`.
        let known = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        assert_eq!(known, 0, "a thread may ask about itself");
        attributes
    }

    /// Only the length of the turn changes, where the kernel lets it; not the policy, and not how nice the thread is.
    #[test]
    fn a_role_changes_the_length_of_turns_and_nothing_else() {
        let before = attributes();
        for role in [Role::Background, Role::Serving] {
            take_turns_as(role);
            let after = attributes();
            assert_eq!(after.sched_policy, before.sched_policy);
            assert_eq!(after.sched_nice, before.sched_nice);
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
            let before = attributes();
            take_turns_as(Role::Serving);
            assert_eq!(attributes().sched_policy, libc::SCHED_BATCH as u32);
            assert_eq!(attributes().sched_runtime, before.sched_runtime);
        })
        .join()
        .expect("it ends");
    }
}
