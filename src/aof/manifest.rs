//! The manifest of an append-only file in several parts (spec page rdb.md, section 7).
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.1.base.rdb seq 1 type h        (history: to be deleted)
//! file appendonly.aof.3.incr.aof seq 3 type i
//! ```

use crate::config::split::split_words;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    History,
    Incremental,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::History => 'h',
            Kind::Incremental => 'i',
        }
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// A name within the directory.
    pub name: String,
    pub sequence: u64,
    pub kind: Kind,
}

/// All files, in the order in which they are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Part>,
    pub history: Vec<Part>,
    pub incremental: Vec<Part>,
    /// The highest numbers given so far.
    pub base_sequence: u64,
    pub incremental_sequence: u64,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (line {line}: '{text}')")]
pub struct ManifestError {
    /// Counted from 1; 0 if it is about the whole file.
    pub line: usize,
    pub text: String,
    pub reason: &'static str,
}

const INVALID: &str = "Invalid AOF manifest file format";
/// Longest line, with its end.
const LINE_MAX: usize = 1024;

impl Manifest {
    /// Reads the text of a manifest file.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let mut manifest = Manifest::default();
        if text.is_empty() {
            return Err(ManifestError {
                line: 0,
                text: String::new(),
                reason: "Found an empty AOF manifest",
            });
        }
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let end = rest.iter().position(|&b| b == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            let refuse = |reason| ManifestError {
                line: number,
                text: String::from_utf8_lossy(line).into_owned(),
                reason,
            };
            let Some(end) = end.filter(|end| *end + 1 < LINE_MAX) else {
                return Err(refuse("The AOF manifest file contains too long line"));
            };
            rest = &rest[end + 1..];
            if line.first() == Some(&b'#') {
                continue;
            }
            let part = parse_line(line).map_err(refuse)?;
            manifest.add(part).map_err(refuse)?;
        }
        Ok(manifest)
    }

    fn add(&mut self, part: Part) -> Result<(), &'static str> {
        match part.kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.base_sequence = part.sequence;
                self.base = Some(part);
            }
            Kind::History => self.history.push(part),
            Kind::Incremental if part.sequence <= self.incremental_sequence => {
                return Err("Found a non-monotonic sequence number");
            }
            Kind::Incremental => {
                self.incremental_sequence = part.sequence;
                self.incremental.push(part);
            }
        }
        Ok(())
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let parts = self.base.iter().chain(&self.history).chain(&self.incremental);
        parts
            .map(|p| format!("file {} seq {} type {}\n", quoted(&p.name), p.sequence, p.kind.letter()))
            .collect()
    }

    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incremental.is_empty()
    }

    /// The files to load, in order.
    pub fn to_load(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incremental)
    }

    /// Adds the next incremental file. `name` is `appendfilename`.
    pub fn next_incremental(&mut self, name: &str) -> Part {
        self.incremental_sequence += 1;
        let sequence = self.incremental_sequence;
        let part = Part { name: format!("{name}.{sequence}.incr.aof"), sequence, kind: Kind::Incremental };
        self.incremental.push(part.clone());
        part
    }

    /// Puts a new base in the place of the old one, which becomes history. `suffix` is `rdb` or `aof`.
    pub fn next_base(&mut self, name: &str, suffix: &str) -> Part {
        self.base_sequence += 1;
        let sequence = self.base_sequence;
        let part = Part { name: format!("{name}.{sequence}.base.{suffix}"), sequence, kind: Kind::Base };
        if let Some(old) = self.base.replace(part.clone()) {
            self.history.insert(0, Part { kind: Kind::History, ..old });
        }
        part
    }

    /// Makes all incremental files before number `sequence` history.
    pub fn retire_before(&mut self, sequence: u64) {
        let (old, kept) = std::mem::take(&mut self.incremental)
            .into_iter()
            .partition(|part: &Part| part.sequence < sequence);
        self.incremental = kept;
        // The latest history comes first.
        let mut history: Vec<Part> =
            old.into_iter().map(|part: Part| Part { kind: Kind::History, ..part }).collect();
        history.append(&mut self.history);
        self.history = history;
    }
}

fn parse_line(line: &[u8]) -> Result<Part, &'static str> {
    let words = split_words(line).map_err(|_| INVALID)?;
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(INVALID);
    }
    let (mut name, mut sequence, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let value: &[u8] = &pair[1];
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" => {
                // A path could lead out of the directory.
                let text = String::from_utf8(value.to_vec()).map_err(|_| INVALID)?;
                if text.contains('/') || text.contains('\\') {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(text).filter(|name| !name.is_empty());
            }
            b"seq" => {
                sequence = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            }
            b"type" => {
                // The first letter counts.
                kind = match value.first() {
                    Some(b'b') => Some(Kind::Base),
                    Some(b'h') => Some(Kind::History),
                    Some(b'i') => Some(Kind::Incremental),
                    _ => return Err("Unknown AOF file type"),
                }
            }
            _ => {}
        }
    }
    match (name, sequence, kind) {
        (Some(name), Some(sequence), Some(kind)) => Ok(Part { name, sequence, kind }),
        _ => Err(INVALID),
    }
}

/// A name as it stands in the file: quoted if it holds what would end it.
fn quoted(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    if name.bytes().all(plain) {
        return name.to_owned();
    }
    let mut out = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_go_as_in_valkey() {
        let mut manifest = Manifest::default();
        manifest.next_base("appendonly.aof", "rdb");
        manifest.next_incremental("appendonly.aof");
        let text =
            "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        assert_eq!(manifest.text(), text);
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest.clone()));
        manifest.next_incremental("appendonly.aof");
        manifest.next_base("appendonly.aof", "aof");
        manifest.retire_before(2);
        assert_eq!(
            manifest.text(),
            "file appendonly.aof.2.base.aof seq 2 type b\n\
             file appendonly.aof.1.incr.aof seq 1 type h\n\
             file appendonly.aof.1.base.rdb seq 1 type h\n\
             file appendonly.aof.2.incr.aof seq 2 type i\n"
        );
        assert_eq!(Manifest::parse(manifest.text().as_bytes()), Ok(manifest));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let reason = |text: &str| Manifest::parse(text.as_bytes()).map_err(|e| (e.line, e.reason)).err();
        assert_eq!(reason(""), Some((0, "Found an empty AOF manifest")));
        assert_eq!(reason("file a seq 1 type b\n\n"), Some((2, INVALID)));
        assert_eq!(reason("file a seq 1 type b"), Some((1, "The AOF manifest file contains too long line")));
        assert_eq!(reason("file a seq 1 type\n"), Some((1, INVALID)));
        assert_eq!(reason("file a seq 0 type b\n"), Some((1, INVALID)));
        assert_eq!(reason("file a/b seq 1 type b\n"), Some((1, "File can't be a path, just a filename")));
        assert_eq!(reason("file a seq 1 type x\n"), Some((1, "Unknown AOF file type")));
        let twice = "file a seq 1 type b\nfile b seq 2 type b\n";
        assert_eq!(reason(twice), Some((2, "Found duplicate base file information")));
        let back = "file a seq 2 type i\nfile b seq 2 type i\n";
        assert_eq!(reason(back), Some((2, "Found a non-monotonic sequence number")));
        assert_eq!(reason("# comment\nfile \"a b\" seq 1 type b later x\n"), None);
    }

    #[test]
    fn unusual_names_survive() {
        for name in ["a b", "q\"uote", "tab\tnew\nline", "plain.aof"] {
            let mut manifest = Manifest::default();
            manifest.next_base(name, "rdb");
            assert_eq!(Manifest::parse(manifest.text().as_bytes()), Ok(manifest), "{name:?}");
        }
    }
}
