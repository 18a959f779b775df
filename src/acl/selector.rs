//! A selector: one set of commands, keys, channels and databases.

use super::rules::RuleError;
use super::user::Fresh;
use crate::commands::spec::Categories;
use crate::commands::table::commands;
use crate::commands::{COMMAND_COUNT, Command};

const WORDS: usize = COMMAND_COUNT.div_ceil(64);

/// What a key pattern allows.
pub const READ: u8 = 1;
pub const WRITE: u8 = 2;

/// `~pattern`, `%R~pattern`, `%W~pattern`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    pub pattern: Box<[u8]>,
    /// [`READ`], [`WRITE`] or both.
    pub permissions: u8,
}

/// A rule about commands as it is printed: `+get`, `-@admin`, `+select|0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    pub allow: bool,
    /// In lower case, without the sign.
    pub text: Box<[u8]>,
}

/// One set of rights.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Every command: nothing was taken away since `+@all`.
    pub(super) all_commands: bool,
    /// Began with `+@all`: the description does too.
    pub(super) from_all: bool,
    /// One bit per [`Command::id`].
    allowed: [u64; WORDS],
    /// Commands that are allowed with a certain first argument only, and which.
    first_args: Vec<(u16, Vec<Box<[u8]>>)>,
    pub(super) command_rules: Vec<CommandRule>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Box<[u8]>>,
    pub(super) all_databases: bool,
    /// Sorted.
    pub(super) databases: Vec<u32>,
}

impl Selector {
    /// No commands, no keys, all databases.
    pub fn new(fresh: Fresh) -> Self {
        Self {
            all_commands: false,
            from_all: false,
            allowed: [0; WORDS],
            first_args: Vec::new(),
            command_rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: fresh == Fresh::AllChannels,
            channels: Vec::new(),
            all_databases: true,
            databases: Vec::new(),
        }
    }

    /// Whether nothing is refused.
    pub fn allows_everything(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_databases
    }

    pub fn all_channels(&self) -> bool {
        self.all_channels
    }

    /// The channel patterns, unless all channels are allowed.
    pub fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|pattern| &**pattern)
    }

    /// Whether the command is allowed whatever its arguments.
    pub(super) fn allows(&self, command: &Command) -> bool {
        self.all_commands || self.bit(command.id)
    }

    /// Whether the command is allowed with this first argument.
    pub(super) fn allows_with(&self, command: &Command, first: &[u8]) -> bool {
        let of_command = self.first_args.iter().find(|(id, _)| *id == command.id);
        of_command.is_some_and(|(_, args)| args.iter().any(|arg| arg.eq_ignore_ascii_case(first)))
    }

    fn bit(&self, id: u16) -> bool {
        self.allowed[usize::from(id) / 64] & (1 << (id % 64)) != 0
    }

    fn set_bit(&mut self, id: u16, allow: bool) {
        let (word, bit) = (usize::from(id) / 64, 1 << (id % 64));
        if allow {
            self.allowed[word] |= bit;
        } else {
            self.allowed[word] &= !bit;
            self.all_commands = false;
        }
    }

    /// Allows or forbids a command with its subcommands.
    fn set_command(&mut self, command: &Command, allow: bool) {
        self.set_bit(command.id, allow);
        self.first_args.retain(|(id, _)| *id != command.id);
        if command.is_container() {
            for child in commands().iter().filter(|child| child.parent == Some(command.id)) {
                self.set_bit(child.id, allow);
            }
        }
    }

    /// Every command or none, forgetting all rules before.
    pub(super) fn set_all_commands(&mut self, allow: bool) {
        self.all_commands = allow;
        self.from_all = allow;
        self.allowed = [if allow { u64::MAX } else { 0 }; WORDS];
        self.first_args.clear();
        self.command_rules.clear();
    }

    /// `+command`, `-command`, `-container|subcommand`.
    pub(super) fn change_command(&mut self, name: &[u8], allow: bool) -> Result<(), RuleError> {
        let command = command_named(name).ok_or(RuleError::Unknown)?;
        self.set_command(command, allow);
        self.remember(command.name.as_bytes(), allow);
        Ok(())
    }

    /// `+container|subcommand` and `+command|first-argument`.
    pub(super) fn allow_part(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let bar = rule.iter().rposition(|&b| b == b'|').ok_or(RuleError::Syntax)?;
        let (name, part) = (&rule[..bar], &rule[bar + 1..]);
        let command = command_named(name).ok_or(RuleError::Unknown)?;
        if command.parent.is_some() {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if part.is_empty() {
            return Err(RuleError::Syntax);
        }
        if command.is_container() {
            let child = command_named(rule).ok_or(RuleError::Unknown)?;
            self.set_bit(child.id, true);
        } else {
            let at = self.first_args.iter().position(|(id, _)| *id == command.id).unwrap_or_else(|| {
                self.first_args.push((command.id, Vec::new()));
                self.first_args.len() - 1
            });
            let known = &mut self.first_args[at].1;
            if !known.iter().any(|arg| arg.eq_ignore_ascii_case(part)) {
                known.push(part.into());
            }
        }
        self.remember(&rule.to_ascii_lowercase(), true);
        Ok(())
    }

    /// `+@category`, `-@category`; the name with its `@`.
    pub(super) fn change_category(&mut self, name: &[u8], allow: bool) -> Result<(), RuleError> {
        let category = Categories::by_name(&name[1..]).ok_or(RuleError::Unknown)?;
        self.remember(&name.to_ascii_lowercase(), allow);
        for command in commands() {
            if command.categories.intersects(category) {
                self.set_command(command, allow);
            }
        }
        Ok(())
    }

    /// Adds a rule to the description in place of those about the same thing or a part of it.
    fn remember(&mut self, text: &[u8], allow: bool) {
        self.command_rules.retain(|rule| match rule.text.strip_prefix(text) {
            Some(rest) => !(rest.is_empty() || rest[0] == b'|'),
            None => true,
        });
        self.command_rules.push(CommandRule { allow, text: text.into() });
    }
}

/// The command that a rule names, in any case, by its original name: `get`, `config|get`. Commands that are not built
/// count too: rules about them mean what they say once they are.
pub fn command_named(name: &[u8]) -> Option<&'static Command> {
    let lower = name.to_ascii_lowercase();
    commands().iter().find(|command| command.name.as_bytes() == lower)
}

/// Splits the inside of a selector into its rules: words, or quoted strings.
pub(super) fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    crate::config::split::split_words(text).unwrap_or_default()
}
