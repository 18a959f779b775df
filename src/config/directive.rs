//! One directive: its name, its kind with bounds, where its value lives, and what may be done with it.

use super::split::quote;
use super::table::Config;
use super::text::Text;
use super::values::*;
use std::borrow::Cow;

/// Why a value was refused, in Valkey's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Cow<'static, str>);

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Refusal {
        Refusal(Cow::Borrowed(reason))
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal(Cow::Owned(reason))
    }
}

/// Properties of a directive; combined as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    pub const NONE: Flags = Flags(0);
    /// CONFIG SET refuses it.
    pub const IMMUTABLE: Flags = Flags(1);
    /// The value is a secret: never in logs.
    pub const SENSITIVE: Flags = Flags(1 << 1);
    /// Part of a crash report.
    pub const DEBUG: Flags = Flags(1 << 2);
    /// Takes any number of arguments.
    pub const MULTI: Flags = Flags(1 << 3);
    /// Shown only when asked for by its exact name.
    pub const HIDDEN: Flags = Flags(1 << 4);
    /// CONFIG SET needs `enable-protected-configs`.
    pub const PROTECTED: Flags = Flags(1 << 5);
    /// CONFIG SET is refused while data is being loaded.
    pub const DENY_LOADING: Flags = Flags(1 << 6);
    /// Setting it to the value it has still has an effect (the file behind it may have changed).
    pub const VOLATILE: Flags = Flags(1 << 7);
    /// Valkey does not have it.
    pub const OURS: Flags = Flags(1 << 8);

    /// The flags of both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of the other's flags are here.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Whether a directive does something in this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    /// Accepted, kept and shown, but nothing here could depend on it: the reason.
    NoEffect(&'static str),
}

/// What values given earlier mean to a directive that accumulates (`save`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    Keep,
    Replace,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberForm {
    Plain,
    Octal,
    /// Bytes, with units.
    Memory,
    /// Bytes with units, or a share of `maxmemory` written `5%` and kept as -5.
    MemoryOrPercent,
    /// Bytes with units, or a negative plain number with a meaning of its own.
    SignedMemory,
}

/// A rule for a text.
pub type Check = fn(&[u8]) -> Result<(), Refusal>;

/// Sets a value from the words behind the directive's name.
pub type SetWords = fn(&mut Config, &[&[u8]], Earlier) -> Result<(), Refusal>;

/// How a value of a directive is checked, read and written.
pub enum Kind {
    Bool {
        get: fn(&Config) -> bool,
        set: fn(&mut Config, bool),
    },
    Number {
        form: NumberForm,
        low: i128,
        high: i128,
        get: fn(&Config) -> i128,
        /// Called with a number within the bounds.
        set: fn(&mut Config, i128),
    },
    Choice {
        names: fn() -> Vec<&'static str>,
        get: fn(&Config) -> &'static str,
        /// False if the word is unknown.
        set: fn(&mut Config, &[u8]) -> bool,
    },
    Text {
        get: fn(&Config) -> &Text,
        set: fn(&mut Config, &[u8]),
        check: Option<Check>,
        /// Being empty is the same as not being configured.
        optional: bool,
    },
    Special(&'static Special),
}

/// A directive with rules of its own.
pub struct Special {
    /// What a value looks like, for people.
    pub syntax: &'static str,
    pub get: fn(&Config) -> Vec<u8>,
    pub set: SetWords,
    /// The lines CONFIG REWRITE writes.
    pub rewrite: fn(&Config, &Config) -> Rewrite,
}

/// What CONFIG REWRITE does with a directive.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Removes every line about it.
    Remove,
    /// Writes these lines, each over an old line about it; if none is left, at the end when `true`, else not at all.
    Lines(Vec<(Vec<u8>, bool)>),
}

impl Rewrite {
    /// One line that is written whether or not there was one.
    pub fn always(line: Vec<u8>) -> Rewrite {
        Rewrite::Lines(vec![(line, true)])
    }
}

/// A row of the table of directives.
pub struct Directive {
    pub name: &'static str,
    pub alias: Option<&'static str>,
    /// The heading it stands under in `valkey.conf`.
    pub topic: &'static str,
    /// What it does, line by line.
    pub about: &'static [&'static str],
    pub flags: Flags,
    pub kind: Kind,
    pub effect: Effect,
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Directive({})", self.name)
    }
}

impl Directive {
    /// The value as CONFIG GET shows it.
    pub fn get(&self, config: &Config) -> Vec<u8> {
        match &self.kind {
            Kind::Bool { get, .. } => yes_no(get(config)).as_bytes().to_vec(),
            Kind::Number { form, get, .. } => format_number(*form, get(config)).into_bytes(),
            Kind::Choice { get, .. } => get(config).as_bytes().to_vec(),
            Kind::Text { get, .. } => get(config).as_bytes().to_vec(),
            Kind::Special(special) => (special.get)(config),
        }
    }

    /// Sets the value from the words of a line, the directive's name not among them. Leaves the value alone when it
    /// is refused.
    pub fn set(&self, config: &mut Config, words: &[&[u8]], earlier: Earlier) -> Result<(), Refusal> {
        if let Kind::Special(special) = &self.kind {
            if !self.flags.has(Flags::MULTI) && words.len() != 1 {
                return Err("wrong number of arguments".into());
            }
            return (special.set)(config, words, earlier);
        }
        let [word] = words else { return Err("wrong number of arguments".into()) };
        match &self.kind {
            Kind::Bool { set, .. } => match word {
                _ if word.eq_ignore_ascii_case(b"yes") => set(config, true),
                _ if word.eq_ignore_ascii_case(b"no") => set(config, false),
                _ => return Err("argument must be 'yes' or 'no'".into()),
            },
            Kind::Number { form, low, high, set, .. } => {
                set(config, parse_number(word, *form, *low, *high)?);
            }
            Kind::Choice { names, set, .. } => {
                if !set(config, word) {
                    return Err(one_of(&names()));
                }
            }
            Kind::Text { set, check, .. } => {
                if let Some(check) = check {
                    check(word)?;
                }
                set(config, word);
            }
            Kind::Special(_) => {}
        }
        Ok(())
    }

    /// The lines CONFIG REWRITE leaves in the file for the value; `default` holds the built-in values.
    pub fn rewrite(&self, config: &Config, default: &Config) -> Rewrite {
        let value = self.get(config);
        let changed = value != self.get(default);
        let value = match &self.kind {
            Kind::Special(special) => return (special.rewrite)(config, default),
            Kind::Text { optional: true, .. } if value.is_empty() => return Rewrite::Remove,
            Kind::Text { .. } => quote(&value),
            Kind::Number { form, get, .. } => {
                let number = get(config);
                match (form, u64::try_from(number)) {
                    (NumberForm::Plain | NumberForm::Octal, _) | (_, Err(_)) => value,
                    (_, Ok(bytes)) => format_memory(bytes).into_bytes(),
                }
            }
            Kind::Bool { .. } | Kind::Choice { .. } => value,
        };
        Rewrite::Lines(vec![(self.line(&value), changed)])
    }

    /// A line of the configuration file.
    pub fn line(&self, value: &[u8]) -> Vec<u8> {
        [self.name.as_bytes(), b" ", value].concat()
    }

    /// What a value must look like, for people.
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Bool { .. } => "yes or no".to_string(),
            Kind::Number { form, low, high, .. } => {
                let range = match form {
                    NumberForm::Octal => format!("{low:o} to {high:o}"),
                    _ => format!("{low} to {high}"),
                };
                match form {
                    NumberForm::Plain => format!("a number from {range}"),
                    NumberForm::Octal => format!("an octal number from {range}"),
                    NumberForm::Memory => format!("a size such as 100mb, from {range} bytes"),
                    NumberForm::MemoryOrPercent => "a size such as 100mb, or a share such as 5%".to_string(),
                    NumberForm::SignedMemory => format!("a size such as 100mb, or {low}"),
                }
            }
            Kind::Choice { names, .. } => format!("one of {}", names().join(", ")),
            Kind::Text { .. } if self.flags.has(Flags::MULTI) => "words".to_string(),
            Kind::Text { .. } => "one word, quoted if it holds blanks".to_string(),
            Kind::Special(special) => special.syntax.to_string(),
        }
    }
}

/// `yes` or `no`.
pub fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The refusal of a word that is none of the known ones.
pub fn one_of(names: &[&str]) -> Refusal {
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

fn format_number(form: NumberForm, value: i128) -> String {
    match form {
        NumberForm::Octal => format!("{value:o}"),
        NumberForm::MemoryOrPercent if value < 0 => format!("{}%", -value),
        _ => value.to_string(),
    }
}

/// Parses a number of the given form and checks its bounds.
pub fn parse_number(word: &[u8], form: NumberForm, low: i128, high: i128) -> Result<i128, Refusal> {
    let memory = || parse_memory(word).map(i128::from);
    let plain = || parse_integer(word).map(i128::from);
    let percent = || {
        let share = parse_integer(word.strip_suffix(b"%")?)?;
        (share >= 0).then_some(-i128::from(share))
    };
    let (value, complaint) = match form {
        NumberForm::Plain => (plain(), "argument couldn't be parsed into an integer"),
        NumberForm::Octal => {
            (parse_octal(word).map(i128::from), "argument couldn't be parsed as an octal number")
        }
        NumberForm::Memory => (memory(), "argument must be a memory value"),
        NumberForm::SignedMemory => (memory().or_else(plain), "argument must be a memory value"),
        NumberForm::MemoryOrPercent => {
            (memory().or_else(percent), "argument must be a memory or percent value")
        }
    };
    let value = value.ok_or(Refusal::from(complaint))?;
    if form == NumberForm::MemoryOrPercent && value < low {
        return Err(format!("percentage argument must be less or equal to {}", -low).into());
    }
    if !(low..=high).contains(&value) {
        return Err(match form {
            NumberForm::Octal => format!("argument must be between {low:o} and {high:o} inclusive"),
            _ => format!("argument must be between {low} and {high} inclusive"),
        }
        .into());
    }
    Ok(value)
}
