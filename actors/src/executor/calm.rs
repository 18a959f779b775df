//! A short way for plain commands while nothing is going on.
//!
//! Before a command runs, many things are asked: whether its user may, whether somebody monitors, tracks, migrates or
//! pauses. For most servers and clients nothing stands in the way, from one request of a batch to the next. That is found
//! once per slice ([`Executor::is_calm`]), and requests for plain commands ([`Command::is_plain`]) then skip the questions,
//! except for what other threads may change at any moment. They run and are counted as all others are; what is not plain,
//! or would be refused, takes the long way.

use skuld::commands::{Command, Handler};
use skuld::effects::Grouping;
use skuld::keyspace::Keyspace;
use skuld::resp::Reply;
use skuld::session::{Debugging, ReplyMode};
use skuld::slot::Slot;

use super::{Executor, Moment, borrow_args};
use crate::batch::Batch;
use crate::clock::{self, Tick};
use crate::output_limit;

/// The plain command that was asked for last, by the bytes of its name: clients repeat themselves.
#[derive(Default)]
pub(super) struct Latest {
    name: [u8; Self::NAME_MAX],
    len: usize,
    command: Option<&'static Command>,
}

impl Latest {
    const NAME_MAX: usize = 16;

    #[inline]
    fn get(&self, name: &[u8]) -> Option<&'static Command> {
        self.command.filter(|_| self.name.get(..self.len) == Some(name))
    }

    #[cold]
    fn set(&mut self, name: &[u8], command: &'static Command) {
        if let Some(kept) = self.name.get_mut(..name.len()) {
            kept.copy_from_slice(name);
            self.len = name.len();
            self.command = Some(command);
        }
    }
}

/// What a calm slice has worked out once.
#[derive(Clone, Copy)]
pub struct Calm {
    /// Of now; the clock of each command and the place of its key come in.
    moment: Moment,
    reply_bytes_max: usize,
}

/// What became of a request on the short way.
pub enum RanCalmly {
    /// The command has run, until then.
    Yes(&'static Command, Tick),
    /// It may run at once on the shard of this slot, which is another one.
    Elsewhere(Slot),
    /// It takes the long way.
    No,
}

impl Executor {
    /// What plain commands of this batch need, if neither the server nor the client is in a state in which more than
    /// [`Executor::run_calmly`] asks must be asked. Holds until a command runs that is not plain, within one slice.
    pub fn is_calm(&self, batch: &Batch) -> Option<Calm> {
        let server_is = !(self.tracks
            || self.gates_closed
            || self.monitoring
            || self.runs_again
            || self.migrating
            || self.frozen
            || self.effects.exports.active
            || self.slot_stats.is_some()
            || self.config.maxmemory_clients != 0);
        let session = &batch.session;
        let client_is = server_is
            && session.origin.is_client()
            && session.authenticated
            && session.user.is_unrestricted()
            && session.reply_mode == ReplyMode::On
            && session.debugging == Debugging::Off
            && session.subscriptions == 0
            && !session.tracking.on
            && !session.monitoring
            && !session.capa_redirect
            && !session.asking
            && session.replica.is_none()
            && batch.import.is_none()
            && !batch.transaction.is_queueing();
        client_is.then(|| Calm {
            moment: self.moment(session, clock::unix_us(clock::tick())),
            reply_bytes_max: output_limit::reply_bytes_max(&self.config, session),
        })
    }

    /// Runs the batch's next request if it is for a plain command that this shard may run at once. `at` is when the
    /// command before it ended.
    #[inline]
    pub fn run_calmly(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &mut Batch,
        calm: Calm,
        at: Tick,
    ) -> RanCalmly {
        if self.server.pause.is_set() || !self.users.are_of_now(&self.server, &batch.session) {
            return RanCalmly::No;
        }
        let Some(hint) = batch.hint() else { return RanCalmly::No };
        let slot = hint.place().slot;
        if self.cluster.is_on() && !self.cluster.serves_without_question(slot) {
            return RanCalmly::No;
        }
        let mut store = std::mem::take(&mut self.args);
        let args = borrow_args(&mut store, &batch.input, batch.requests.args(batch.next));
        let command = self.plain_command(args);
        let is_here = keyspace.parts()[0].owns(slot);
        let (Some(command), Some(Handler::Engine(function)), true) =
            (command, command.map(|command| command.spec.handler), is_here)
        else {
            store.clear();
            self.args = store;
            return if command.is_some() && !is_here { RanCalmly::Elsewhere(slot) } else { RanCalmly::No };
        };
        let from = batch.output.len();
        let mut reply = Reply::with_buffer(std::mem::take(&mut batch.output), batch.session.protocol);
        reply.limit_to(calm.reply_bytes_max);
        let moment = Moment { now_us: clock::unix_us(at), hint: Some(hint), ..calm.moment };
        self.invoke(keyspace, &mut batch.session, &mut reply, (command, function), args, moment);
        store.clear();
        self.args = store;
        self.effects.propagation.close_group(Grouping::Together);
        let errors = reply.take_errors();
        batch.output = reply.into_bytes();
        let (end, _) = self.count(batch, command, (from, errors, false), at);
        RanCalmly::Yes(command, end)
    }

    /// The plain command that a request asks for, if it has as many words as that wants.
    #[inline]
    fn plain_command(&mut self, args: &[&[u8]]) -> Option<&'static Command> {
        let name = args[0];
        if let Some(command) = self.latest.get(name) {
            return command.accepts(args.len()).then_some(command);
        }
        let command = self.server.table.resolve(args).ok().filter(|command| command.is_plain())?;
        self.latest.set(name, command);
        Some(command)
    }
}
