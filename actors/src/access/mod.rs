//! Who may do what: the users of now, their log of refusals, and what a change means to connected clients.
//!
//! ```text
//!  ACL SETUSER ... --change--> [ Access: Arc<Acl>, epoch ] <--epoch differs?-- shard, before every command
//!                                   |                                            |
//!                                   +-- clients of users that are gone: killed   +-- session.user looked up again
//! ```
//!
//! Invariant: the epoch is counted up after the new users are in place and before the change is confirmed, and shards
//! look at it before every command: nobody's command is judged by rules that were changed before it was sent.

mod change;
pub mod gate;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use skuld::acl::log::Log;
use skuld::acl::{Acl, Fresh, User, file};
use skuld::config::{AclPubsubDefault, Config};

pub use change::consequences;

/// Users and rights of the process.
pub struct Access {
    acl: ArcSwap<Acl>,
    epoch: AtomicU64,
    /// Held while the users are being changed: each change is made to the outcome of the one before.
    turn: Mutex<()>,
    log: Mutex<Log>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            acl: ArcSwap::from_pointee(Acl::new()),
            // Sessions begin with 0 and so look their user up at once.
            epoch: AtomicU64::new(1),
            turn: Mutex::default(),
            log: Mutex::default(),
        }
    }
}

/// What new users and selectors get.
pub fn fresh(config: &Config) -> Fresh {
    match config.acl_pubsub_default {
        AclPubsubDefault::AllChannels => Fresh::AllChannels,
        AclPubsubDefault::ResetChannels => Fresh::NoChannels,
    }
}

impl Access {
    /// Changes with every change of the users.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The users of now.
    pub fn current(&self) -> Arc<Acl> {
        self.acl.load_full()
    }

    /// An epoch, and users that are at least as new.
    pub fn with_epoch(&self) -> (u64, Arc<Acl>) {
        let epoch = self.epoch();
        (epoch, self.current())
    }

    /// Whether clients need not authenticate.
    pub fn is_open(&self) -> bool {
        self.acl.load().is_open()
    }

    /// Whether the default user has no password, which protected mode takes for an open door.
    pub fn default_has_no_password(&self) -> bool {
        self.acl.load().default_user().nopass
    }

    /// Changes the users. Returns what `edit` says, and the users before and after.
    pub fn change<T>(&self, edit: impl FnOnce(&mut Acl) -> T) -> (T, Arc<Acl>, Arc<Acl>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let mut acl = (*before).clone();
        let said = edit(&mut acl);
        let after = Arc::new(acl);
        self.acl.store(after.clone());
        self.epoch.fetch_add(1, Ordering::Release);
        (said, before, after)
    }

    /// `requirepass` is another one now.
    pub fn set_default_password(&self, password: &[u8]) {
        self.change(|acl| {
            let mut user: User = (**acl.default_user()).clone();
            user.set_only_password(password);
            acl.insert(user);
        });
    }

    /// Loads the users of the configuration or of its file, before anybody is connected.
    ///
    /// # Errors
    /// The line to log before the process ends.
    pub fn load(&self, config: &Config) -> Result<(), String> {
        let fresh = fresh(config);
        let declarations: Vec<Vec<&[u8]>> =
            config.users.iter().map(|words| words.iter().map(|word| word.as_bytes()).collect()).collect();
        if !config.aclfile.is_empty() && !declarations.is_empty() {
            return Err("Configuring Valkey with users defined in valkey.conf and at the same setting an ACL file path \
                        is invalid. This setup is very likely to lead to configuration errors and security holes, \
                        please define either an ACL file or declare users directly in your valkey.conf, but not both."
                .to_owned());
        }
        self.set_default_password(config.requirepass.as_bytes());
        let (loaded, _, after) = self.change(|acl| file::load_declarations(acl, &declarations, fresh));
        if let Err(line) = loaded {
            tracing::warn!("{line}");
            return Err("Critical error while loading ACLs. Exiting.".to_owned());
        }
        for words in &declarations {
            let name = words.first().copied().unwrap_or_default();
            if after.get(name).is_some_and(|user| !user.enabled) {
                tracing::info!(
                    "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is \
                     not a configuration error.",
                    String::from_utf8_lossy(name)
                );
            }
        }
        if !config.aclfile.is_empty() {
            let acl = read_file(config).map_err(|errors| {
                format!("Aborting Valkey startup because of ACL errors: {}", String::from_utf8_lossy(&errors))
            })?;
            self.change(|all| *all = acl);
        }
        Ok(())
    }

    /// The log of refusals.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the file of `aclfile`.
///
/// # Errors
/// All that is wrong with it, in one line.
pub fn read_file(config: &Config) -> Result<Acl, Vec<u8>> {
    let path = config.aclfile.to_str();
    let text = std::fs::read(&*path).map_err(|e| {
        let reason = crate::configure::os_text(&e);
        format!("Error loading ACLs, opening file '{path}': {reason}").into_bytes()
    })?;
    file::parse(&text, &path, fresh(config))
}

/// Replaces the file of `aclfile` in one step.
///
/// # Errors
/// The line to log.
pub fn write_file(config: &Config, acl: &Acl) -> Result<(), String> {
    use std::io::Write;
    let path = config.aclfile.to_str();
    let text = |e: &std::io::Error| crate::configure::os_text(e);
    let temporary = format!("{path}.tmp-{}-{}", std::process::id(), crate::clock::unix_ms());
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)
            .map_err(|e| format!("Opening temp ACL file for ACL SAVE: {}", text(&e)))?;
        let lines: Vec<u8> =
            acl.lines().into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
        file.write_all(&lines).map_err(|e| format!("Writing ACL file for ACL SAVE: {}", text(&e)))?;
        file.sync_all().map_err(|e| format!("Syncing ACL file for ACL SAVE: {}", text(&e)))?;
        std::fs::rename(&temporary, &*path)
            .map_err(|e| format!("Renaming ACL file for ACL SAVE: {}", text(&e)))?;
        let directory = std::path::Path::new(&*path).parent().filter(|d| !d.as_os_str().is_empty());
        let directory = directory.unwrap_or(std::path::Path::new("."));
        std::fs::File::open(directory)
            .and_then(|d| d.sync_all())
            .map_err(|e| format!("Syncing ACL directory for ACL SAVE: {}", text(&e)))
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
