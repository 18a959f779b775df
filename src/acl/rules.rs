//! The language of rules.

use super::selector::{KeyPattern, READ, Selector, WRITE};
use super::user::{Fresh, User};

/// Why a rule is refused. The texts are those that clients and logs see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error("Syntax error")]
    Syntax,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    #[error("The provided database ID is out of range")]
    DatabaseOutOfRange,
}

/// Whether a text has a byte that may not stand in names and patterns: a blank as C sees it, or NUL.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, 0 | b' ' | b'\t'..=b'\r'))
}

/// Joins the words of selectors that were written as several words: `(+get`, `~a)` are one rule.
///
/// # Errors
/// The position of the opening parenthesis that is never closed.
pub fn merge_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged = Vec::with_capacity(words.len());
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.iter().enumerate() {
        let closes = word.last() == Some(&b')');
        match open.take() {
            Some((start, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if closes {
                    merged.push(selector);
                } else {
                    open = Some((start, selector));
                }
            }
            None if word.first() == Some(&b'(') && !closes => open = Some((at, word.to_vec())),
            None => merged.push(word.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

/// ACL SETUSER: the user after all rules, or the text of the refusal, without its code word. `before` is the user as
/// it is, if there is one.
///
/// # Errors
/// The text for the client.
pub fn set_user(before: Option<&User>, name: &[u8], words: &[&[u8]], fresh: Fresh) -> Result<User, Vec<u8>> {
    let rules = merge_selectors(words).map_err(|start| {
        let head = b"Unmatched parenthesis in acl selector starting at '".as_slice();
        [head, words[start], b"'."].concat()
    })?;
    let mut user = before.cloned().unwrap_or_else(|| User::new(name, fresh));
    for rule in &rules {
        user.apply(rule, fresh).map_err(|error| {
            let (head, text) = (b"Error in ACL SETUSER modifier '".as_slice(), error.to_string());
            [head, rule, b"': ", text.as_bytes()].concat()
        })?;
    }
    Ok(user)
}

impl Selector {
    /// Applies one rule about commands, keys, channels or databases.
    ///
    /// # Errors
    /// Why the rule is refused.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"alldbs" => {
                self.all_databases = true;
                self.databases.clear();
            }
            b"resetdbs" => {
                self.all_databases = false;
                self.databases.clear();
            }
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => return self.apply_longer(rule, &lower),
        }
        Ok(())
    }

    fn apply_longer(&mut self, rule: &[u8], lower: &[u8]) -> Result<(), RuleError> {
        match *rule {
            [b'~' | b'%', ..] => self.add_key_pattern(rule),
            [b'&', ref pattern @ ..] => self.add_channel(pattern),
            [sign @ (b'+' | b'-'), b'@', ..] => self.change_category(&rule[1..], sign == b'+'),
            [b'+', ref name @ ..] if name.contains(&b'|') => self.allow_part(name),
            [sign @ (b'+' | b'-'), ref name @ ..] => self.change_command(name, sign == b'+'),
            _ => match lower.strip_prefix(b"db=") {
                Some(list) => self.set_databases(list),
                None => Err(RuleError::Syntax),
            },
        }
    }

    fn add_key_pattern(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (permissions, pattern) = match rule {
            [b'~', pattern @ ..] => (READ | WRITE, pattern),
            _ => permissions(&rule[1..])?,
        };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => known.permissions |= permissions,
            None => self.keys.push(KeyPattern { pattern: pattern.into(), permissions }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// `db=1,2`: these databases instead of those before.
    fn set_databases(&mut self, list: &[u8]) -> Result<(), RuleError> {
        let mut databases = Vec::new();
        for word in list.split(|&b| b == b',') {
            databases.push(database(word)?);
        }
        databases.sort_unstable();
        databases.dedup();
        self.databases = databases;
        self.all_databases = false;
        Ok(())
    }
}

/// The permissions of `%RW~pattern` (without the `%`), and the pattern. The `~` may be missing with the pattern.
fn permissions(rule: &[u8]) -> Result<(u8, &[u8]), RuleError> {
    let mut permissions = 0;
    for (at, byte) in rule.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if permissions & READ == 0 => permissions |= READ,
            b'W' if permissions & WRITE == 0 => permissions |= WRITE,
            b'~' if permissions != 0 => return Ok((permissions, &rule[at + 1..])),
            _ => return Err(RuleError::Syntax),
        }
    }
    if permissions == 0 { Err(RuleError::Syntax) } else { Ok((permissions, &[])) }
}

/// A database number as C's `strtol` reads it, with nothing behind it.
fn database(word: &[u8]) -> Result<u32, RuleError> {
    let blanks = word.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &word[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RuleError::Syntax);
    }
    let value = digits.iter().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    let too_large = value > i32::MAX as u64 || (negative && value > 0);
    if too_large { Err(RuleError::DatabaseOutOfRange) } else { Ok(value as u32) }
}
