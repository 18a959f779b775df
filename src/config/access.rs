//! CONFIG GET and CONFIG SET. What a change means beyond the value (opening a port, resizing a backlog) is done by
//! whoever asked, from the list of changed directives.

use super::directive::{Directive, Earlier, Flags};
use super::load::Source;
use super::table::{Config, TABLE, index_of};
use crate::glob;
use std::collections::BTreeMap;

/// The directives that match any of the patterns, with their values, sorted by name. Letters match in either case. A
/// pattern without `*`, `?` and `[` is a name: it finds hidden directives too, and is shown as the client wrote it.
pub fn get(config: &Config, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)> = BTreeMap::new();
    for pattern in patterns {
        if !pattern.iter().any(|byte| b"[*?".contains(byte)) {
            if let Some(index) = index_of(pattern) {
                let value = TABLE[index].get(config);
                found.entry(pattern.to_ascii_lowercase()).or_insert((pattern.to_vec(), value));
            }
            continue;
        }
        for row in TABLE.iter().filter(|row| !row.flags.has(Flags::HIDDEN)) {
            for name in [Some(row.name), row.alias].into_iter().flatten().map(str::as_bytes) {
                if glob::matches_ignore_case(pattern, name) {
                    found.entry(name.to_vec()).or_insert_with(|| (name.to_vec(), row.get(config)));
                }
            }
        }
    }
    let mut pairs: Vec<_> = found.into_values().collect();
    pairs.sort();
    pairs
}

/// What the caller of CONFIG SET may do at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetGuard {
    /// Data is being loaded.
    pub loading: bool,
    /// `enable-protected-configs` allows this client to change protected directives.
    pub protected_allowed: bool,
}

/// A successful CONFIG SET.
#[derive(Debug, Clone)]
pub struct SetOutcome {
    pub config: Config,
    /// The directives whose values changed, in the order of the arguments.
    pub changed: Vec<&'static Directive>,
}

impl SetOutcome {
    /// Whether the directive with this name was changed.
    pub fn changes(&self, name: &str) -> bool {
        self.changed.iter().any(|row| row.name == name)
    }
}

/// Why CONFIG SET was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// A name without a value.
    Syntax,
    /// No such directive.
    Unknown { name: Vec<u8> },
    /// A value or directive is refused, also when putting it into effect failed.
    Refused { name: Vec<u8>, reason: String },
    /// The directive cannot be changed while data is loaded: the client gets the usual `-LOADING` error.
    Loading,
}

impl SetError {
    /// The error line for the client, code word first, without the leading `-` and the line end; `None` for the
    /// `-LOADING` error, whose text belongs to the server.
    pub fn line(&self) -> Option<Vec<u8>> {
        let line = match self {
            SetError::Syntax => b"ERR syntax error".to_vec(),
            SetError::Unknown { name } => {
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", name.as_slice(), b"'"]
                    .concat()
            }
            SetError::Refused { name, reason } => [
                b"ERR CONFIG SET failed (possibly related to argument '",
                name.as_slice(),
                b"') - ",
                reason.as_bytes(),
            ]
            .concat(),
            SetError::Loading => return None,
        };
        // A line end inside would end the reply.
        Some(line.into_iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect())
    }
}

/// CONFIG SET with the arguments behind the word SET: all pairs take effect, or none.
pub fn set(config: &Config, arguments: &[&[u8]], guard: SetGuard) -> Result<SetOutcome, SetError> {
    if !arguments.len().is_multiple_of(2) {
        return Err(SetError::Syntax);
    }
    let refused =
        |name: &[u8], reason: &str| SetError::Refused { name: name.to_vec(), reason: reason.to_string() };
    let mut pairs: Vec<(usize, bool, &[u8])> = Vec::new();
    for pair in arguments.chunks_exact(2) {
        let (name, value) = (pair[0], pair[1]);
        let index = index_of(name).ok_or_else(|| SetError::Unknown { name: name.to_vec() })?;
        let flags = TABLE[index].flags;
        // A name and its alias are different parameters here, as in Valkey.
        let by_alias = is_alias(index, name);
        if flags.has(Flags::IMMUTABLE) {
            // Tools set everything that CONFIG GET shows to what it is, leaving out the immutable ones they know.
            if flags.has(Flags::OURS) && TABLE[index].get(config) == value {
                continue;
            }
            return Err(refused(name, "can't set immutable config"));
        }
        if flags.has(Flags::PROTECTED) && !guard.protected_allowed {
            return Err(refused(name, "can't set protected config"));
        }
        if flags.has(Flags::DENY_LOADING) && guard.loading {
            return Err(SetError::Loading);
        }
        if pairs.iter().any(|(other, alias, _)| (*other, *alias) == (index, by_alias)) {
            return Err(refused(name, "duplicate parameter"));
        }
        pairs.push((index, by_alias, value));
    }
    let mut next = config.clone();
    let mut changed: Vec<&'static Directive> = Vec::new();
    for (index, by_alias, value) in pairs {
        let row = &TABLE[index];
        let shown_name = if by_alias { row.alias.unwrap_or(row.name) } else { row.name };
        // Unlike in files, words are parted by exactly one blank here and quotes mean nothing.
        let words: Vec<&[u8]> = match (row.flags.has(Flags::MULTI), value.is_empty()) {
            (true, true) => Vec::new(),
            (true, false) => value.split(|byte| *byte == b' ').collect(),
            (false, _) => vec![value],
        };
        let before = next.clone_value(row);
        row.set(&mut next, &words, Earlier::Replace)
            .map_err(|refusal| refused(shown_name.as_bytes(), &refusal.0))?;
        next.sources.set(index, Source::Runtime);
        let differs = before != next.clone_value(row) || row.flags.has(Flags::VOLATILE);
        if differs && !changed.iter().any(|known| known.name == row.name) {
            changed.push(row);
        }
    }
    Ok(SetOutcome { config: next, changed })
}

fn is_alias(index: usize, name: &[u8]) -> bool {
    TABLE[index].alias.is_some_and(|alias| alias.as_bytes().eq_ignore_ascii_case(name))
}

impl Config {
    /// A value in a form that can be compared.
    fn clone_value(&self, row: &Directive) -> (Vec<u8>, bool) {
        (row.get(self), row.name == "maxmemory" && self.maxmemory_auto)
    }
}
