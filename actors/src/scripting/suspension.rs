//! Stacks of their own for commands that run scripts, so that a long script can hand its thread back in the middle of
//! whatever it is doing and go on later.

use std::cell::{Cell, RefCell};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::clock::Tick;

/// Address space for one stack; pages are taken as they are touched. Lua limits how deep C functions call each
/// other, and the formats of `cjson` and `cmsgpack` how deep they go: both stay far below.
const STACK_BYTES: usize = 8 << 20;

/// Stacks kept for the next command, per thread.
const SPARE_STACKS: usize = 2;

thread_local! {
    /// The way back from the stack that this thread is on, if it is one of these.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(std::ptr::null()) };
    static SPARE: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A command on a stack of its own.
pub struct Task(Coroutine<(), (), Tick, DefaultStack>);

impl Task {
    /// Prepares `run`, which returns when it ended.
    ///
    /// # Safety
    /// All that `run` refers to must stay where it is until it has returned, and nobody else may use it while it runs.
    pub unsafe fn new(run: impl FnOnce() -> Tick) -> Self {
        let stack = SPARE.with(|spare| spare.borrow_mut().pop()).unwrap_or_else(|| {
            DefaultStack::new(STACK_BYTES).expect("address space for the stack of a script")
        });
        let run = move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            run()
        };
        // SAFETY: the caller vouches for what `run` refers to; a task is never dropped before it has returned, except
        // with the process.
        Self(unsafe { Coroutine::with_stack_unchecked(stack, run) })
    }

    /// Runs until the command has ended, and tells when, or until it hands the thread back.
    pub fn resume(&mut self) -> Option<Tick> {
        let outer = YIELDER.replace(std::ptr::null());
        let result = self.0.resume(());
        YIELDER.set(outer);
        match result {
            CoroutineResult::Return(end) => Some(end),
            CoroutineResult::Yield(()) => None,
        }
    }

    /// Keeps the stack of a command that has ended.
    pub fn recycle(self) {
        let stack = self.0.into_stack();
        SPARE.with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_STACKS {
                spare.push(stack);
            }
        });
    }
}

/// Hands the thread back until the task is resumed. Does nothing outside of tasks.
pub fn suspend() {
    let yielder = YIELDER.get();
    if yielder.is_null() {
        return;
    }
    // SAFETY: the pointer was set by the task whose stack we are on, and is valid as long as that runs.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}

/// Whether this thread is on a task's stack, so that it can be handed back.
pub fn is_possible() -> bool {
    !YIELDER.get().is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn tasks_take_turns() {
        let log = RefCell::new(Vec::new());
        let step = |name: char| {
            let log = &log;
            move || {
                for n in 0..3 {
                    log.borrow_mut().push((name, n));
                    suspend();
                }
                clock::tick()
            }
        };
        // SAFETY: the log outlives both tasks, which this thread runs to their ends.
        let mut tasks = unsafe { [Task::new(step('a')), Task::new(step('b'))] };
        for _ in 0..3 {
            assert!(tasks.iter_mut().all(|task| task.resume().is_none()));
        }
        assert!(tasks.iter_mut().all(|task| task.resume().is_some()));
        let expected: Vec<_> = (0..3).flat_map(|n| [('a', n), ('b', n)]).collect();
        assert_eq!(*log.borrow(), expected);
        tasks.into_iter().for_each(Task::recycle);
        suspend();
    }
}
