//! A user: the switch, the passwords, the selectors.

use std::sync::Arc;

use super::DEFAULT_USER;
use super::password::{self, Hash};
use super::rules::RuleError;
use super::selector::Selector;
use super::selector::split_words;

/// What `acl-pubsub-default` gives to new users and selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fresh {
    /// No channels.
    #[default]
    NoChannels,
    AllChannels,
}

/// A user. Change a copy with [`User::apply`] and put it into the [`super::Acl`].
#[derive(Debug, Clone)]
pub struct User {
    pub name: Arc<[u8]>,
    /// Whether one may log in as this user.
    pub enabled: bool,
    /// Any password will do.
    pub nopass: bool,
    /// RESTORE need not check payloads in depth (it does so all the same).
    pub skip_sanitize_payload: bool,
    pub(super) passwords: Vec<Hash>,
    /// The root selector first.
    pub(super) selectors: Vec<Selector>,
    /// A selector allows everything.
    unrestricted: bool,
}

impl User {
    /// A user without any rights, switched off.
    pub fn new(name: &[u8], fresh: Fresh) -> Self {
        Self {
            name: name.into(),
            enabled: false,
            nopass: false,
            skip_sanitize_payload: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(fresh)],
            unrestricted: false,
        }
    }

    /// The default user of a server without any configuration.
    pub fn initial_default() -> Self {
        let mut user = Self::new(DEFAULT_USER, Fresh::AllChannels);
        for rule in ["+@all", "~*", "&*", "on", "nopass"] {
            user.apply(rule.as_bytes(), Fresh::AllChannels).expect("these rules are valid");
        }
        user
    }

    /// Whether the user may do all: then there is nothing to check.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether the user may come in with this password (if enabled, which is not looked at).
    pub fn accepts_password(&self, password: &[u8]) -> bool {
        if self.nopass {
            return true;
        }
        let hash = password::hash(password);
        self.passwords.iter().fold(false, |found, known| found | password::same(known, &hash))
    }

    /// The hashes of the passwords.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.passwords.iter().map(<[u8; 64]>::as_slice)
    }

    /// Sets the password that `requirepass` states; an empty one is none.
    pub fn set_only_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(password::hash(password));
        }
    }

    /// Applies one rule. `fresh` is what new selectors get.
    ///
    /// # Errors
    /// Why the rule is refused; the user may be changed in part then.
    pub fn apply(&mut self, rule: &[u8], fresh: Fresh) -> Result<(), RuleError> {
        let result = self.apply_unsealed(rule, fresh);
        self.unrestricted = self.selectors.iter().any(Selector::allows_everything);
        result
    }

    fn apply_unsealed(&mut self, rule: &[u8], fresh: Fresh) -> Result<(), RuleError> {
        let Some((&first, rest)) = rule.split_first() else { return Ok(()) };
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skip_sanitize_payload = true,
            b"sanitize-payload" => self.skip_sanitize_payload = false,
            b"nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self { name: self.name.clone(), ..Self::new(&[], fresh) },
            _ => match first {
                b'>' => self.add_password(password::hash(rest)),
                b'#' => self.add_password(password::parse(rest).ok_or(RuleError::BadHash)?),
                b'<' => self.remove_password(password::hash(rest))?,
                b'!' => self.remove_password(password::parse(rest).ok_or(RuleError::BadHash)?)?,
                b'(' if rest.last() == Some(&b')') => {
                    let mut selector = Selector::new(fresh);
                    // With an unbalanced quote there are no words, as in the reference server.
                    for word in split_words(&rest[..rest.len() - 1]) {
                        selector.apply(&word)?;
                    }
                    self.selectors.push(selector);
                }
                _ => self.selectors[0].apply(rule)?,
            },
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }
}
