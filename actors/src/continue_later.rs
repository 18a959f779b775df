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
