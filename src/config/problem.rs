//! What is wrong with a configuration, told so that a person can mend it.

use super::load::{FILE_ONLY, Source};
use super::table::TABLE;
use crate::version::VERSION;
use std::fmt;

/// Where a line of configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file with its name.
    File(String),
    Stdin,
    /// An environment variable with its name.
    Environment(String),
    CommandLine,
}

impl Origin {
    /// The layer this origin belongs to.
    pub fn source(&self) -> Source {
        match self {
            Origin::File(_) | Origin::Stdin => Source::File,
            Origin::Environment(_) => Source::Environment,
            Origin::CommandLine => Source::CommandLine,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(name) => out.write_str(name),
            Origin::Stdin => out.write_str("standard input"),
            Origin::Environment(name) => write!(out, "environment variable {name}"),
            Origin::CommandLine => out.write_str("command line"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Nowhere in particular if absent.
    pub origin: Option<Origin>,
    /// Counted from 1. On the command line, counted from the beginning of the file before it, as Valkey does.
    pub line: usize,
    /// The line, without blanks around it.
    pub text: String,
    /// What is wrong, in Valkey's words where it has some.
    pub reason: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// For an unknown directive, the known one with the most similar name.
    pub nearest: Option<&'static str>,
    /// Whether the directive is unknown.
    pub unknown: bool,
}

impl ConfigProblem {
    /// A problem of one line.
    pub fn at(origin: Origin, line: usize, text: &[u8], reason: &str) -> Box<ConfigProblem> {
        let text = String::from_utf8_lossy(text).into_owned();
        Box::new(ConfigProblem { origin: Some(origin), line, text, ..ConfigProblem::whole(reason) })
    }

    /// A problem of the configuration as a whole.
    pub fn whole(reason: &str) -> ConfigProblem {
        ConfigProblem {
            origin: None,
            line: 0,
            text: String::new(),
            reason: reason.to_string(),
            expected: None,
            nearest: None,
            unknown: false,
        }
    }

    /// Keeps a secret that came from the environment or the command line out of messages.
    pub(super) fn hide_value(&mut self, name: &str) {
        if !matches!(self.origin, Some(Origin::File(_))) {
            self.text = format!("{name} (value not shown)");
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin @ Origin::Environment(_)) => write!(out, "{origin}: ")?,
            Some(Origin::CommandLine) => write!(out, "command line, '{}': ", self.text)?,
            Some(origin) => write!(out, "{origin}, line {}, '{}': ", self.line, self.text)?,
            None => {}
        }
        out.write_str(&self.reason)?;
        if let Some(expected) = &self.expected {
            write!(out, "; {expected}")?;
        }
        match self.nearest {
            Some(nearest) => write!(out, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// The message of a server that refuses to start: Valkey's block for the first problem, then the list of all. Meant
/// for standard error; begins with an empty line, as Valkey's does.
pub fn format_fatal(problems: &[ConfigProblem]) -> String {
    let mut out = format!("\n*** FATAL CONFIG FILE ERROR (Version {VERSION}) ***\n");
    if let Some(first) = problems.first() {
        match &first.origin {
            Some(Origin::Environment(name)) => {
                out += &format!("Reading the environment, variable {name}\n>>> '{}'\n", first.text);
            }
            Some(_) => {
                let (line, text) = (first.line, &first.text);
                out += &format!("Reading the configuration file, at line {line}\n>>> '{text}'\n");
            }
            None => {}
        }
        out += &format!("{}\n", first.reason);
    }
    let count = problems.len();
    out += &format!("\n{count} problem{} in the configuration:\n", if count == 1 { "" } else { "s" });
    for problem in problems {
        out += &format!("  {problem}\n");
    }
    out
}

/// The known directive whose name is most like this one, if any is alike at all.
pub fn nearest_name(name: &str) -> Option<&'static str> {
    let tolerance = (name.len() / 3).clamp(1, 5);
    // Long lines of junk are no typing errors, and comparing them costs time.
    if name.len() > 64 {
        return None;
    }
    let known = TABLE.iter().flat_map(|row| [Some(row.name), row.alias]).flatten();
    known
        .chain(FILE_ONLY.iter().map(|(name, ..)| *name))
        .map(|known| (edit_distance(name.as_bytes(), known.as_bytes()), known))
        .min()
        .filter(|(distance, _)| *distance <= tolerance)
        .map(|(_, known)| known)
}

/// How many bytes must be inserted, removed or replaced to turn one name into the other.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
