//! The check before a command, where it executes. A user who may do all costs one comparison and one flag.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skuld::acl::log::{Context, Refusal};
use skuld::acl::{Acl, Denial, Denied, Place, check};
use skuld::commands::context::CommandError;
use skuld::commands::{Command, check as admission};
use skuld::resp::decode::parse_integer;
use skuld::session::{Origin, Session};

use crate::clients::{ClientNames, ClientShared};
use crate::clock;
use crate::server::Server;
use crate::server_commands::client;
use crate::stats::bump;
use crate::transaction::Queue;

/// The users a shard knows, brought up to date when their epoch is over.
pub struct Known {
    pub acl: Arc<Acl>,
    epoch: u64,
}

impl Known {
    pub fn new(server: &Server) -> Self {
        let (epoch, acl) = server.access.with_epoch();
        Self { acl, epoch }
    }

    /// Sees to it that the session's user is the one of now. False if there is none of that name any more.
    #[inline]
    pub fn refresh(&mut self, server: &Server, session: &mut Session) -> bool {
        self.are_of_now(server, session) || self.look_up(server, session)
    }

    /// Whether neither these users nor the session's are those of an earlier time.
    #[inline]
    pub fn are_of_now(&self, server: &Server, session: &Session) -> bool {
        let epoch = server.access.epoch();
        epoch == self.epoch && epoch == session.user_epoch
    }

    #[cold]
    fn look_up(&mut self, server: &Server, session: &mut Session) -> bool {
        (self.epoch, self.acl) = server.access.with_epoch();
        session.user_epoch = self.epoch;
        if !matches!(session.origin, Origin::Client | Origin::Import) {
            // The primary, a file: nobody's rights bound what they state. The source of an import is a user like others.
            return true;
        }
        match self.acl.get(&session.user.name) {
            Some(user) => session.user = user.clone(),
            None => return false,
        }
        true
    }
}

/// The client that asks, as far as the check needs it.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    pub server: &'a Server,
    pub session: &'a Session,
    pub shared: &'a Arc<ClientShared>,
}

impl Asker<'_> {
    fn place(&self, db: u32) -> Place {
        Place { db, databases: self.server.config.load().database_count() }
    }

    /// A client's request, to be run now or (if there is a `queue`) by EXEC.
    ///
    /// # Errors
    /// The refusal, which is in the log already.
    #[inline]
    pub fn permit(
        &self,
        command: &'static Command,
        args: &[&[u8]],
        queue: Option<&Queue>,
    ) -> Result<&'static Command, admission::Refused> {
        if self.session.user.is_unrestricted() {
            return Ok(command);
        }
        let context = if queue.is_some() { Context::Multi } else { Context::Toplevel };
        let db = queue.map_or(self.session.db, |queue| self.database_after(queue));
        match check(&self.session.user, command, args, self.place(db)) {
            Ok(()) => Ok(command),
            Err(denied) => {
                self.log(denied, context, command, args);
                let line = denied.line(&self.session.user, command);
                Err((Some(command), CommandError::Bytes(line)))
            }
        }
    }

    /// A queued command that EXEC is about to run.
    ///
    /// # Errors
    /// The line for the client.
    #[inline]
    pub fn permit_queued(&self, command: &'static Command, args: &[&[u8]]) -> Result<(), String> {
        if self.session.user.is_unrestricted() {
            return Ok(());
        }
        check(&self.session.user, command, args, self.place(self.session.db)).map_err(|denied| {
            // What the client is running is EXEC.
            let exec = self.server.table.lookup(b"exec").unwrap_or(command);
            self.shared.last_command.store(u32::from(exec.id), Ordering::Relaxed);
            self.add(
                denied.denial,
                Context::Multi,
                denied.object(command, args).to_vec(),
                self.session.user.name.to_vec(),
            );
            denied.exec_line()
        })
    }

    /// A command that a script calls, which `request` runs.
    ///
    /// # Errors
    /// Why not, without a code word.
    pub fn permit_script(
        &self,
        command: &'static Command,
        args: &[&[u8]],
        request: &[&[u8]],
    ) -> Result<(), Vec<u8>> {
        if self.session.user.is_unrestricted() {
            return Ok(());
        }
        check(&self.session.user, command, args, self.place(self.session.db)).map_err(|denied| {
            let line = denied.line(&self.session.user, command);
            // What the client is running is the script.
            let shown = self.server.table.lookup_request(request).unwrap_or(command);
            self.shared.last_command.store(u32::from(shown.id), Ordering::Relaxed);
            let object = denied.object(command, args).to_vec();
            self.add(denied.denial, Context::Lua, object, self.session.user.name.to_vec());
            line.strip_prefix(b"NOPERM ").unwrap_or(&line).to_vec()
        })
    }

    /// What `redis.acl_check_cmd` tells: nothing is logged.
    pub fn may_run(&self, command: &'static Command, args: &[&[u8]]) -> bool {
        check(&self.session.user, command, args, self.place(self.session.db)).is_ok()
    }

    /// The database a transaction is in after its commands so far.
    fn database_after(&self, queue: &Queue) -> u32 {
        let databases = self.server.config.load().database_count();
        let selected = |words: &Vec<Vec<u8>>| {
            let db = u32::try_from(parse_integer(words.get(1)?)?).ok()?;
            (db < databases).then_some(db)
        };
        let mut selections = queue.commands.iter().rev().filter(|(command, _)| command.name == "select");
        selections.find_map(|(_, words)| selected(words)).unwrap_or(self.session.db)
    }

    #[cold]
    fn log(&self, denied: Denied, context: Context, command: &'static Command, args: &[&[u8]]) {
        self.shared.last_command.store(u32::from(command.id), Ordering::Relaxed);
        let object = denied.object(command, args).to_vec();
        self.add(denied.denial, context, object, self.session.user.name.to_vec());
    }

    /// A login failed. `word` is the command as the client wrote it.
    pub fn login_failed(&self, user: Vec<u8>, word: Vec<u8>, context: Context) {
        self.add(Denial::Login, context, word, user);
    }

    /// A client's certificate names a user that there is not, or that is off.
    pub fn certificate_refused(&self, name: Vec<u8>) {
        self.add(Denial::Certificate, Context::Toplevel, name.clone(), name);
    }

    fn add(&self, denial: Denial, context: Context, object: Vec<u8>, user: Vec<u8>) {
        bump(&self.server.stats.acl_access_denied[denial as usize], 1);
        // The entry shows the client as it is, not as it was after its last batch.
        self.shared.publish(self.session);
        self.shared.publish_names(&ClientNames {
            name: self.session.name.clone(),
            lib_name: self.session.lib_name.clone(),
            lib_ver: self.session.lib_ver.clone(),
            user: self.session.user.name.clone(),
        });
        let now = clock::unix_ms();
        let refusal = Refusal { denial, context, object, user, client: client::line(self.shared, now) };
        let max = usize::try_from(self.server.config.load().acllog_max_len).unwrap_or(usize::MAX);
        self.server.access.log().add(refusal, now, max);
    }
}
