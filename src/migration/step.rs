//! What a step of either state machine gives back.

/// The outcome of an event in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<S, A> {
    /// The job is in a new state (or the same), and this is to be done, in this order.
    Taken { state: S, actions: Vec<A> },
    /// The event comes too late or does not concern this state: nothing happens, and it is counted. Only events that
    /// other actors or timers had under way may be refused; whatever the peer says out of turn fails the job instead.
    Refused(S),
}

impl<S, A> Step<S, A> {
    pub fn to(state: S, actions: impl Into<Vec<A>>) -> Self {
        Self::Taken { state, actions: actions.into() }
    }
}
