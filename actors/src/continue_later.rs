//! Yielding for real.
//!
//! An actor that posts itself its next slice, by `do_send` or `notify`, starves every other task of its arbiter:
//! actix polls a context until its mailbox is empty. Here the context itself waits for one turn of the executor first.

use actix::prelude::*;

use crate::envelope::{Traced, TracedActor};

/// Posts `message` to the actor itself, to be handled after the arbiter's other tasks had a turn.
pub fn continue_later<A, M>(actor: &mut A, message: M, ctx: &mut Context<A>)
where
    A: TracedActor<Context = Context<A>> + Handler<Traced<M>>,
    M: Send + 'static,
{
    let _ = actor;
    let trace = crate::envelope::current_meta();
    ctx.notify(Traced { message, meta: trace });
    ctx.wait(yield_now().into_actor(actor));
}

/// One turn: ready when polled the second time.
async fn yield_now() {
    tokio::task::yield_now().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    use crate::envelope::{ActorId, ActorKind, Receive, tell};

    /// An actor that works for `left` slices, each posted by the one before.
    struct Worker {
        left: u32,
        plainly: bool,
        done: Option<tokio::sync::oneshot::Sender<()>>,
    }

    struct Slice;

    crate::receives!(Worker: Slice = 0);

    impl Actor for Worker {
        type Context = Context<Self>;
    }

    impl TracedActor for Worker {
        const KIND: ActorKind = ActorKind::Outside;

        fn id(&self) -> ActorId {
            ActorId::OUTSIDE
        }
    }

    impl Receive<Slice> for Worker {
        fn receive(&mut self, _: Slice, ctx: &mut Context<Self>) {
            self.left -= 1;
            if self.left == 0 {
                if let Some(done) = self.done.take() {
                    let _ = done.send(());
                }
            } else if self.plainly {
                tell(&ctx.address(), Slice);
            } else {
                continue_later(self, Slice, ctx);
            }
        }
    }

    /// How many turns another task of the arbiter gets while the worker does its slices.
    fn turns_of_others(slices: u32, plainly: bool) -> u32 {
        let system = System::new();
        system.block_on(async move {
            let turns = Rc::new(Cell::new(0));
            let counter = turns.clone();
            let (done, finished) = tokio::sync::oneshot::channel();
            let worker = Worker { left: slices, plainly, done: Some(done) }.start();
            tell(&worker, Slice);
            let other = actix::spawn(async move {
                loop {
                    counter.set(counter.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            finished.await.expect("the worker ends");
            other.abort();
            turns.get()
        })
    }

    /// The failure: an actor that merely posts to itself keeps everyone else waiting for all its slices.
    #[test]
    fn plain_posting_starves_the_arbiter_and_yielding_does_not() {
        let slices = 1000;
        let (starved, shared) = (turns_of_others(slices, true), turns_of_others(slices, false));
        assert!(shared >= slices / 2, "others had {shared} turns in {slices} slices");
        assert!(starved < shared / 4, "plain posting left others {starved} turns, yielding {shared}");
    }
}
